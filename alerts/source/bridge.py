"""Alerts on the bridges themselves."""
from dataclasses import replace

from model import Alert, Case, Check, Firing, gap, jumps
from recording import BURNS
from story import A, B, Counter, Gauge, cases, scene

JOB = 'job="kafka2prom"'
HERE = f'{JOB},instance="@"'
BRIDGE = {"job": "kafka2prom", "instance": A}
OF_BRIDGE = "k2p-bridge?var-instance={instance}"
OF_TOPIC = "k2p-bridge?var-topic={topic}"


def threshold(name):
    return f'scalar(kafka2prom:threshold:value{{name="{name}"}})'


def topic_counter(metric, reason, **states):
    return Counter(f'{metric}{{{HERE},topic="k2p.metrics",reason="{reason}"}}', **states)


DOWN = Alert(
    name="BridgeDown",
    expr='up{job="kafka2prom"} == 0',
    for_="2m",
    severity="warning",
    summary="Bridge {instance} cannot be scraped",
    description="Prometheus has not reached bridge {instance} for 2 minutes. The others have taken its partitions over; "
    "one more and there may be none.",
    dashboard=OF_BRIDGE,
    labels={"bridge": "{{ $labels.instance }}"},
    tests=cases(
        [Gauge(f"up{{{HERE}}}", good=1, bad=0, zero=1)],
        Firing(BRIDGE, 0, summary="Bridge bridge-0:9527 cannot be scraped"),
        for_=2,
        moves="stays",
    )
    + [Case("below", {'up{job="node",instance="bridge-0:9100"}': "0+0x8"}, (Check(7),), name="another job's target")],
    without={"boundary": "up is 0 or 1"},
)
ALL_DOWN = Alert(
    name="BridgeAllDown",
    expr='sum without (instance) (up{job="kafka2prom"}) == 0\nor absent(up{job="kafka2prom"})',
    for_="1m",
    severity="critical",
    summary="No bridge can be scraped",
    description="Prometheus reaches no bridge: everything behind Kafka is unseen, and every other alert on it is blind.",
    dashboard="k2p-bridge",
    tests=cases(
        [Gauge(f"up{{{HERE}}}", good=1, bad=0, zero=1)], Firing({"job": "kafka2prom"}, 0), for_=1, gauge_text=True
    )
    + [
        Case("fires", {'up{job="node",instance="x"}': "1+0x8"}, (Check(5, (Firing({"job": "kafka2prom"}, 1),)),),
             name="no target at all"),
        Case("below", {f'up{{{JOB},instance="{A}"}}': "0+0x8", f'up{{{JOB},instance="{B}"}}': "1+0x8"}, (Check(7),),
             name="one of two is up"),
        Case("below", {f'up{{{JOB},instance="{A}"}}': "1+0x8", 'up{job="node",instance="x"}': "0+0x8"}, (Check(7),),
             name="all of another job are down"),
    ],
    without={"boundary": "up is 0 or 1"},
)
STATE = f'kafka2prom_partition_state{{{HERE},topic="k2p.metrics",partition="@@",state="%s"}}'


def state(name, partition, **states):
    return Gauge((STATE % name).replace("@@", partition), **states)


NOT_READY = Alert(
    name="BridgeNotReady",
    expr='sum without (topic, partition, state) (\n'
    '  kafka2prom_partition_state{state=~"assigned|waiting|catching_up|fenced|draining"}\n'
    ") > 0\n"
    "or kafka2prom_group_map_complete == 0",
    for_="3m",
    severity="warning",
    summary="Bridge {instance} is not ready",
    description="Bridge {instance} has had partitions for 3 minutes that no scrape can see, or has not learned who owns "
    "what.",
    dashboard=OF_BRIDGE,
    tests=cases(
        [
            state("live", "0", good=1, bad=1),
            state("catching_up", "0", good=0, bad=0),
            state("live", "1", good=1, bad=0),
            state("waiting", "1", good=0, bad=1, edge=0, over=1, zero=0),
        ],
        Firing(BRIDGE, 1),
        for_=3,
        moves="stays",
    )
    + [
        Case("fires", scene([state(s, "1", good=0, bad=1)], [("bad", 6)]), (Check(2), Check(3, (Firing(BRIDGE, 1),))), name=s)
        for s in ("assigned", "catching_up", "fenced", "draining")
    ]
    + [
        Case("fires", {f'kafka2prom_group_map_complete{{{JOB},instance="{A}"}}': "0+0x5"},
             (Check(2), Check(3, (Firing(BRIDGE, 0),))), name="it does not know the group"),
        Case("below", {f'kafka2prom_group_map_complete{{{JOB},instance="{A}"}}': "1+0x5"}, (Check(4),), name="it knows"),
        Case("below", scene([state("gone", "1", good=0, bad=1)], [("bad", 6)]), (Check(5),), name="a partition that is gone"),
    ],
)
STORM = Alert(
    name="RebalanceStorm",
    expr="max without (instance) (increase(kafka2prom_rebalances_total[10m]))\n  > " + threshold("rebalances_per_window"),
    for_="5m",
    severity="warning",
    unit="count",
    threshold="rebalances_per_window",
    summary="The group rebalances all the time",
    description="{value} assignments and revocations in 10 minutes at one bridge (threshold {threshold}): members come and "
    "go.",
    dashboard="k2p-bridge",
    tests=cases(
        [Counter(f"kafka2prom_rebalances_total{{{HERE}}}", good=0, bad=6, under=1.9, edge=2, over=2.1)],
        Firing({"job": "kafka2prom"}, 60,
               description="60 assignments and revocations in 10 minutes at one bridge (threshold 20): members come and go."),
        for_=5,
        window=10,
        onset=3,
    ),
)
RELEASE = 'kafka2prom_handover_seconds_bucket{%s,kind="planned",phase="release",le="%s"}'
EVICTION = Alert(
    name="EvictionSlow",
    expr='histogram_quantile(0.99, sum without (instance) (\n'
    '  rate(kafka2prom_handover_seconds_bucket{kind="planned",phase="release"}[1h])\n'
    ")) > " + threshold("release_seconds"),
    severity="warning",
    unit="seconds",
    threshold="release_seconds",
    summary="Bridges give partitions away slowly: {value}",
    description="The slowest hundredth of the planned handovers of the last hour took {value} from dark to released "
    "(threshold {threshold}): scrapes wait for it.",
    dashboard="k2p-bridge",
    tests=cases(
        [
            Counter(RELEASE % (HERE, "1.0"), good=10, bad=0, under=10, edge=0, over=0),
            Counter(RELEASE % (HERE, "2.0"), good=10, bad=0, under=10, edge=991, over=989),
            Counter(RELEASE % (HERE, "5.0"), good=10, bad=10, under=10, edge=1000, over=1000),
            Counter(RELEASE % (HERE, "+Inf"), good=10, bad=10, under=10, edge=1000, over=1000),
        ],
        Firing({"job": "kafka2prom", "kind": "planned", "phase": "release"}, 4.97),
        window=12,
        interval=5,
    )
    + [
        Case("below", {(RELEASE % (JOB, le)).replace("release", "catch_up"): f"0+{step}x16"
                       for le, step in (("2.0", 0), ("5.0", 10), ("+Inf", 10))}, (Check(70),), name="another phase"),
        Case("below", {(RELEASE % (JOB, le)).replace("planned", "crash"): f"0+{step}x16"
                       for le, step in (("2.0", 0), ("5.0", 10), ("+Inf", 10))}, (Check(70),), name="a crash"),
        Case("boundary", scene([Counter(RELEASE % (HERE, le), good=0, bad=slow) for le, slow in
                                (("1.0", 0), ("2.0", 99 * 3), ("5.0", 300), ("+Inf", 300))], [("bad", 16)]), (Check(75),),
             name="exactly the threshold"),
        Case("fires", scene([Counter(RELEASE % (HERE, le), good=0, bad=slow) for le, slow in
                             (("2.0", 0), ("5.0", 10), ("+Inf", 10))], [("good", 14), ("bad", 3), ("good", 9)]),
             (Check(125, (Firing({"job": "kafka2prom", "kind": "planned", "phase": "release"}, None),)),),
             name="in the older half of the window"),
    ],
)
EVICTION.interval = 5


def commits(result, **states):
    return Counter(f'kafka2prom_commits_total{{{HERE},result="{result}"}}', **states)


COMMITS = Alert(
    name="CommitFailing",
    expr='sum without (result) (rate(kafka2prom_commits_total{result=~"failed|timeout"}[5m]))\n'
    "  / sum without (result) (rate(kafka2prom_commits_total[5m]))\n"
    "  > " + threshold("commit_error_ratio"),
    for_="2m",
    severity="warning",
    unit="ratio",
    threshold="commit_error_ratio",
    summary="{value} of the commits of {instance} fail",
    description="{value} of the offset commits of bridge {instance} fail (threshold {threshold}). Commits prove that it "
    "owns its partitions: when none succeeds for a lease, they go dark.",
    dashboard=OF_BRIDGE,
    tests=cases(
        [
            commits("ok", good=100, bad=40, under=181, edge=180.1, over=179),
            commits("failed", good=0, bad=40, under=19, edge=10, over=11),
            commits("timeout", good=0, bad=20, under=0, edge=10, over=10),
            commits("illegal_generation", good=5, bad=0, under=0, edge=0, over=0),
        ],
        Firing(BRIDGE, 0.6),
        for_=2,
        window=5,
        moves="stays",
    ) + [
        Case("fires", scene([commits("ok", good=10_000, bad=40), commits("failed", good=0, bad=60)], [("good", 12), ("bad", 9)]),
             (Check(20, (Firing(BRIDGE, None),)),), name="few commits after many"),
        # A tenth that is one in binary floats, too.
        Case("boundary", scene([commits("ok", good=0, bad=270), commits("failed", good=0, bad=30)], [("bad", 12)]), (Check(10),),
             name="exactly the threshold"),
    ],
)
KAFKA = Alert(
    name="KafkaDisconnected",
    expr="kafka2prom_kafka_up == 0",
    for_="1m",
    severity="critical",
    summary="{instance} reaches no broker",
    description="{instance} ({client}) reaches none of its Kafka brokers. A lease after the last commit its partitions go "
    "dark: without Kafka nobody knows whether newer values were shown elsewhere.",
    dashboard=OF_BRIDGE,
    tests=cases(
        [Gauge(f'kafka2prom_kafka_up{{{HERE},client="consumer"}}', good=1, bad=0, zero=1)],
        Firing({**BRIDGE, "client": "consumer"}, 0,
               summary="bridge-0:9527 reaches no broker"),
        for_=1,
        moves="stays",
    ),
    without={"boundary": "kafka2prom_kafka_up is 0 or 1"},
)
UNREADABLE = ("bad_header", "bad_key", "bad_encoding", "truncated", "not_a_dump", "unknown_format", "internal")
CONSUMED = f'kafka2prom_records_consumed_total{{{HERE},topic="k2p.metrics"}}'
REJECTED = "kafka2prom_records_rejected_total"
PARSE = Alert(
    name="ParseErrors",
    expr="sum without (instance, reason) (\n"
    f'  rate(kafka2prom_records_rejected_total{{reason=~"{"|".join(UNREADABLE)}"}}[15m])\n'
    ") / sum without (instance) (rate(kafka2prom_records_consumed_total[15m]))\n"
    "  > " + threshold("parse_error_ratio"),
    for_="5m",
    severity="warning",
    unit="ratio",
    threshold="parse_error_ratio",
    summary="{value} of the records of {topic} cannot be read",
    description="{value} of the records of {topic} were refused because they cannot be read (threshold {threshold}). Their "
    "origins show their last good dump until that is stale.",
    dashboard=OF_TOPIC,
    tests=cases(
        [
            topic_counter(REJECTED, "not_a_dump", good=0, bad=60, under=4, edge=5, over=6),
            topic_counter(REJECTED, "truncated", good=0, bad=40, under=5, edge=5, over=5),
            topic_counter(REJECTED, "too_large", good=200, bad=0, under=0, edge=0, over=0),
            Counter(CONSUMED, good=1000, bad=1000),
        ],
        Firing({"job": "kafka2prom", "topic": "k2p.metrics"}, 0.1),
        for_=5,
        window=15,
        onset=1,
    )
    + [
        Case("fires", scene([topic_counter(REJECTED, reason, good=0, bad=50), Counter(CONSUMED, 100, 100)], [("bad", 24)]),
             (Check(22, (Firing({"job": "kafka2prom", "topic": "k2p.metrics"}, 0.5),)),), name=reason)
        for reason in UNREADABLE
    ]
    # 2 of 100 a minute, then 2 of 250: of the whole window still more than a hundredth.
    + [
        Case("fires", scene([topic_counter(REJECTED, "not_a_dump", good=2, bad=2), Counter(CONSUMED, good=100, bad=250)],
                            [("good", 25), ("bad", 9)]),
             (Check(31, (Firing({"job": "kafka2prom", "topic": "k2p.metrics"}, None),)),), name="fewer records in the older half"),
    ],
)
QUARANTINE = Alert(
    name="OriginQuarantined",
    expr="sum without (instance) (kafka2prom_origins_quarantined) > 0",
    for_="5m",
    severity="warning",
    unit="count",
    summary="{value} origins of {topic} are in quarantine",
    description="{value} origins of {topic} send dumps that are refused one after another. One a minute of each is read, so that "
    "they cost the others nothing.",
    dashboard="k2p-origins?var-topic={topic}",
    tests=cases(
        [Gauge(f'kafka2prom_origins_quarantined{{{HERE},topic="k2p.metrics"}}', good=0, bad=2, under=0, edge=0, over=1)],
        Firing({"job": "kafka2prom", "topic": "k2p.metrics"}, 2),
        for_=5,
    ),
)
LIMITS = ("too_many_series", "too_many_origins", "too_large", "label_too_long", "memory_limit")
SERIES = Alert(
    name="SeriesLimitHit",
    expr="sum without (instance) (\n"
    f'  increase(kafka2prom_records_rejected_total{{reason=~"{"|".join(LIMITS)}"}}[15m])\n'
    ") > 0",
    severity="warning",
    unit="count",
    summary="Dumps of {topic} are over a limit: {reason}",
    description="{value} dumps of {topic} were refused whole in 15 minutes ({reason}). Their origins show their last good "
    "dump until that is stale.",
    dashboard=OF_TOPIC,
    tests=cases(
        [topic_counter(REJECTED, "too_many_series", good=0, bad=4, under=0, edge=0, over=0.001)],
        Firing({"job": "kafka2prom", "topic": "k2p.metrics", "reason": "too_many_series"}, 60),
        window=15,
    )
    + [
        Case("fires", scene([topic_counter(REJECTED, reason, good=0, bad=2)], [("bad", 18)]),
             (Check(17, (Firing({"job": "kafka2prom", "topic": "k2p.metrics", "reason": reason}, 30),)),), name=reason)
        for reason in LIMITS
    ]
    + [Case("below", scene([topic_counter(REJECTED, "not_a_dump", good=0, bad=2)], [("bad", 18)]), (Check(17),),
            name="another reason")],
)
GIB = 1024**3
HELD = f'kafka2prom_partition_cache_bytes{{{HERE},topic="k2p.metrics",partition="%d"}}'
TOPIC_MEMORY = [
    Gauge(HELD % 0, good=GIB, bad=GIB),
    Gauge(HELD % 1, good=0.7 * GIB, bad=0.9 * GIB),
    Gauge(f'kafka2prom_cache_limit_bytes{{{HERE},topic="k2p.metrics"}}', good=2 * GIB, bad=2 * GIB),
]
MEMORY = Alert(
    name="MemoryNearLimit",
    expr="(\n"
    "  kafka2prom_process_resident_memory_bytes\n    / " + threshold("memory_limit_bytes") + "\n"
    "  or sum without (partition) (kafka2prom_partition_cache_bytes)\n    / kafka2prom_cache_limit_bytes\n"
    ") > " + threshold("memory_ratio"),
    for_="5m",
    severity="warning",
    unit="ratio",
    threshold="memory_ratio",
    summary="{instance} uses {value} of its memory",
    description="{instance} uses {value} of the memory that it, or one topic on it ({topic}), may (threshold {threshold}). "
    "At its limit it is killed, and its partitions move to bridges that have no more. A topic at its limit takes no "
    "origins any more.",
    dashboard=OF_BRIDGE,
    tests=cases(
        [Gauge(f"kafka2prom_process_resident_memory_bytes{{{HERE}}}", good=GIB, bad=3.8 * GIB, under=3.59 * GIB,
               edge=0.9 * 4 * GIB, over=3.61 * GIB)],
        Firing(BRIDGE, 0.95),
        for_=5,
        moves="stays",
    )
    + [
        Case("fires", scene(TOPIC_MEMORY, [("bad", 8)]), (Check(7, (Firing({**BRIDGE, "topic": "k2p.metrics"}, 0.95),)),),
             name="a topic's limit"),
        Case("below", scene(TOPIC_MEMORY, [("good", 8)]), (Check(7),), name="a topic's limit"),
        Case("below", scene(TOPIC_MEMORY[:2], [("bad", 8)]), (Check(7),), name="a topic without a limit"),
    ],
)
SCRAPE = 'kafka2prom_scrape_seconds_bucket{%s,route="%s",le="%s"}'
SLOW = Alert(
    name="ScrapeSlow",
    expr="histogram_quantile(0.99, rate(kafka2prom_scrape_seconds_bucket[10m]))\n  > " + threshold("scrape_seconds"),
    for_="10m",
    severity="warning",
    unit="seconds",
    threshold="scrape_seconds",
    summary="Scrapes of {instance} take {value}",
    description="The slowest hundredth of the scrapes of {instance}{route} takes {value} (threshold {threshold}); "
    "Prometheus gives up after its scrape timeout, 10 s by default.",
    dashboard=OF_BRIDGE,
    tests=cases(
        [
            Counter(SCRAPE % (HERE, "/metrics", "2.5"), good=100, bad=0, under=100, edge=0, over=0),
            Counter(SCRAPE % (HERE, "/metrics", "5.0"), good=100, bad=0, under=100, edge=99, over=98),
            Counter(SCRAPE % (HERE, "/metrics", "10.0"), good=100, bad=100),
            Counter(SCRAPE % (HERE, "/metrics", "+Inf"), good=100, bad=100),
        ],
        Firing({**BRIDGE, "route": "/metrics"}, 9.95),
        for_=10,
        window=10,
        moves="stays",
    ),
)
AGE = "kafka2prom_exposure_age_seconds_%s{%s,topic=\"k2p.metrics\"%s}"
TOPIC_LABELS = {"job": "kafka2prom", "topic": "k2p.metrics"}


def freshness(long, short, rate, severity):
    ratio = "topic:kafka2prom_late_dumps:ratio_rate"
    return Alert(
        name="FreshnessSloBurn",
        variant="-" + long,
        expr=f"{ratio}{long} > {rate} * (1 - {threshold('freshness_objective')})\n"
        f"and {ratio}{short} > {rate} * (1 - {threshold('freshness_objective')})",
        severity=severity,
        unit="ratio",
        labels={"burn": long},
        summary="{value} of the dumps of {topic} come late",
        description="{value} of the dumps of {topic} in the last " + long + " were not shown within 30 s of being taken, "
        f"and the last {short} was no better. At this rate the month's budget lasts {round(30 / rate, 1):g} days.",
        dashboard="k2p-slo?var-topic={topic}",
        tests=[],
    )


FRESH = [freshness(*burn) for burn in BURNS]


def burn_tests(alerts, specs_of, labels, value_of, omit_min=None):
    """One story for each window, sampled at a tenth of the short one or so."""
    for i, (alert, (long, short, rate, severity)) in enumerate(zip(alerts, BURNS)):
        alert.interval, window, brief = {"1h": (1, 60, 5), "6h": (6, 60, 5), "1d": (24, 60, 5), "3d": (72, 60, 5)}[long]
        specs = specs_of(rate)
        ratio = value_of(rate)
        one = Firing(labels, ratio)

        def at(k, *what, step=alert.interval):
            return Check(k * step, tuple(what))

        quiet = replace(one, value=None)
        n = window + 4
        # Slower burns are exceeded too; only in the steady state are all their windows alike.
        slower = [replace(one, of=other) for other in alerts[i + 1 :]]
        alert.tests = [
            Case("fires", scene(specs, [("bad", n)]), (at(n - 1, one, *slower),), name="and the slower burns with it"),
            Case("below", scene(specs, [("under", n)]), (at(n - 1),)),
            Case("boundary", scene(specs, [("over", n)]), (at(n - 1, quiet),), name="just above"),
            Case("for", scene(specs, [("good", window + 4), ("worst", 2 + window)]),
                 (at(window + 3), at(window + 4 + onset_of(rate), quiet)), name="at once, as both windows burn"),
            Case("resolves", scene(specs, [("bad", n), ("good", brief + 2)]), (at(n - 1, quiet), at(n + brief + 1)),
                 name="as soon as the short window is good"),
            Case("below", scene(specs, [("good", window + 4), ("brief", 1), ("good", 3)]),
                 (at(window + 3), at(window + 7)), name="the short window alone"),
            # Eight samples of 6.75 times the burn rate are 0.9 of it in 60.
            Case("boundary", scene(specs, [("good", window + 4), ("peak", 8)]), (at(window + 11),),
                 name="the short window, and nearly the long one"),
            # All the short window's rates look at the same time, also when nothing came for a while.
            Case("boundary", scene(specs, [("bad", n), ("idle", brief - 2), ("over", 2)]), (at(n + brief - 1, quiet),),
                 name="after a pause"),
            Case("boundary", scene(specs, [("bad", n), ("calm", brief + 1)]), (at(n - 1, quiet), at(n + brief)),
                 name="the long window, and nearly the short one"),
        ]
        if i:
            continue
        # What the windows have in common is tested with the first.
        alert.tests += [
            Case("missing_scrape", scene(specs, [("bad", n), ("gap", 2), ("bad", 3)]), (at(n + 4, quiet),)),
            Case("moves", scene(specs, [("bad", n), ("stale", 1)], [("off", n), ("bad", brief + 4)]),
                 (at(n - 1, quiet), at(n + brief + 3, quiet))),
            Case("reset", scene(specs, [("good", n), ("zero", 1), ("good", n)]), (at(n), at(n + 1), at(2 * n)),
                 name="without trouble"),
            Case("reset", scene(specs, [("bad", n), ("zero", 1), ("bad", brief + 3)]), (at(n + brief + 2, quiet),),
                 name="amid trouble"),
        ]


def onset_of(rate):
    """Samples of nothing but trouble until the long window of 60 has `rate` per cent of it."""
    return -int(-rate * 60 // 100) + 1


def late(rate):
    # Of 1000 dumps a sample; the bound is inclusive for `le`.
    def on_time(part):
        return round(1000 * (1 - part), 3)

    bad, under, over = rate / 100 * 1.2, rate / 100 * 0.99, rate / 100 * 1.01
    # From nothing on, so that extrapolation stretches all alike where a window is not full.
    count = Worst(AGE % ("count", HERE, ""), good=1000, bad=1000, under=1000, over=1000)
    bucket = Worst(AGE % ("bucket", HERE, ',le="30.0"'), good=1000, bad=on_time(bad), under=on_time(under),
                   over=on_time(over), worst=0, brief=on_time(min(1, rate / 5)),
                   peak=on_time(rate / 100 * 6.75), calm=on_time(rate / 100 * 0.9))
    other = Counter(AGE % ("bucket", HERE, ',le="300.0"'), good=1000, bad=1000, start=0)
    return [count, bucket, other]


class Worst(Counter):
    """A counter with more states: all of it is bad, very bad for a short while, and those in
    which one window alone burns (`peak`: the short one, `calm` after `bad`: the long one)."""

    def __init__(self, series, good, bad, under, over, **more):
        super().__init__(series, good=good, bad=bad, under=under, over=over, start=0)
        for state in ("worst", "brief", "peak", "calm"):
            object.__setattr__(self, state, more.get(state, good))
        object.__setattr__(self, "idle", 0)


burn_tests(FRESH, late, TOPIC_LABELS, lambda rate: rate / 100 * 1.2)


def jumped(old, new, start=1_000_000):
    """A counter of 121 samples that grows 20 samples before its end, and 2 before: in the long
    window of 60, and in the short one of 5, too. Far from zero, which rates do not look beyond."""
    return jumps(120, (20, old), (2, new), start=start)


# Of so many dumps on time and late, 1 - the rate of one window is the same binary number as the
# threshold, in both Prometheus; in the other window all are late.
for _alert, _on_time, _late in zip(FRESH, (856 * 1357, 94 * 13, 97 * 51, 99 * 39), (144 * 1357, 6 * 13, 3 * 51, 39)):
    _count, _bucket = AGE % ("count", HERE, ""), AGE % ("bucket", HERE, ',le="30.0"')
    _all = _on_time + _late
    _alert.tests += [
        Case("boundary", {_count.replace("@", A): jumped(_on_time, _late), _bucket.replace("@", A): jumped(_on_time, 0)},
             (Check(120 * _alert.interval),), name="exactly its objective in the long window"),
        Case("boundary", {_count.replace("@", A): jumped(_all, _all), _bucket.replace("@", A): jumped(0, _on_time)},
             (Check(120 * _alert.interval),), name="exactly its objective in the short window"),
    ]

OLDER = Alert(
    name="OlderDumpsRefused",
    expr='sum without (instance) (increase(kafka2prom_records_dropped_total{reason="older"}[15m]))\n'
    "  > " + threshold("older_dumps"),
    for_="5m",
    severity="warning",
    unit="count",
    threshold="older_dumps",
    summary="Dumps of {topic} come out of order",
    description="{value} dumps of {topic} in 15 minutes were older than what was shown already (threshold {threshold}), "
    "and were dropped: two producers with one origin, or a replay.",
    dashboard=OF_TOPIC,
    tests=cases(
        [
            topic_counter("kafka2prom_records_dropped_total", "older", good=0, bad=4, under=0.6, edge=0.66666, over=0.7),
            topic_counter("kafka2prom_records_dropped_total", "superseded", good=9, bad=0, under=9, edge=9),
        ],
        Firing({"job": "kafka2prom", "topic": "k2p.metrics", "reason": "older"}, 60),
        for_=5,
        window=15,
        onset=2,
    )
    # Began from zero, and so not extrapolated.
    + [Case("boundary", {topic_counter("kafka2prom_records_dropped_total", "older", good=0, bad=0).series.replace("@", A):
                         "0+0x10 10+0x12"}, (Check(20),), name="exactly the threshold")],
)
LEASE = Alert(
    name="LeaseLost",
    expr='sum without (reason) (increase(kafka2prom_fences_total{reason=~"lease_lapsed|foreign_marker"}[10m])) > 0',
    severity="critical",
    unit="count",
    summary="Bridge {instance} lost its lease",
    description="In 10 minutes {value} partitions of {instance} went dark because it could not prove in time that they "
    "are its own.",
    dashboard=OF_BRIDGE,
    tests=cases(
        [
            Counter(f'kafka2prom_fences_total{{{HERE},reason="lease_lapsed"}}', good=0, bad=2, under=0, edge=0, over=0.001),
            Counter(f'kafka2prom_fences_total{{{HERE},reason="foreign_marker"}}', good=0, bad=1, under=0, edge=0, over=0),
            Counter(f'kafka2prom_fences_total{{{HERE},reason="assignment_lost"}}', good=3, bad=3, under=3, edge=3, over=3),
        ],
        Firing(BRIDGE, 30),
        window=10,
        moves="stays",
    ),
)
SNAPSHOT = Alert(
    name="SnapshotOld",
    expr="time() - max without (instance) (kafka2prom_snapshot_timestamp_seconds) > " + threshold("snapshot_seconds"),
    for_="5m",
    severity="warning",
    unit="seconds",
    threshold="snapshot_seconds",
    summary="The snapshot of {topic}/{partition} is {value} old",
    description="The newest snapshot of {topic}/{partition} is {value} old (threshold {threshold}): its next owner has "
    "to replay that much before it shows anything.",
    dashboard="k2p-backlog?var-topic={topic}&var-partition={partition}",
    tests=[],
)
SNAP = 'kafka2prom_snapshot_timestamp_seconds{job="kafka2prom",instance="@",topic="k2p.events",partition="1"}'
EVENTS = {"job": "kafka2prom", "topic": "k2p.events", "partition": "1"}
SNAPSHOT.tests = [
    Case("fires", {SNAP.replace("@", A): "0+0x40"}, (Check(40, (Firing(EVENTS, 2400),)),)),
    Case("below", {SNAP.replace("@", A): "0+60x40"}, (Check(40),)),
    Case("boundary", {SNAP.replace("@", A): "0+0x40"}, (Check(35), Check(36, (Firing(EVENTS, 2160),))), name="30 min are not old"),
    Case("for", {SNAP.replace("@", A): "0+0x40"}, (Check(31), Check(35), Check(36, (Firing(EVENTS, 2160),)))),
    Case("resolves", {SNAP.replace("@", A): "0+0x40 2460+0x4"}, (Check(40, (Firing(EVENTS, 2400),)), Check(41))),
    Case("missing_scrape", {SNAP.replace("@", A): "0+0x37 " + gap(3) + " 0+0x4"},
         (Check(39, (Firing(EVENTS, 2340),)), Check(42, (Firing(EVENTS, 2520),)))),
    Case("moves", {SNAP.replace("@", A): "0+0x37 stale", SNAP.replace("@", B): gap(38) + " 0+0x6"},
         (Check(37, (Firing(EVENTS, 2220),)), Check(38, (Firing(EVENTS, 2280),)), Check(41, (Firing(EVENTS, 2460),)))),
    Case("moves", {SNAP.replace("@", A): "0+0x45", SNAP.replace("@", B): "0+60x45"}, (Check(45),), name="the newer one counts"),
    Case("reset", {SNAP.replace("@", A): "0+0x20 stale _ 1320+0x20"}, (Check(40),), name="a new owner makes one"),
]

ALERTS = [DOWN, ALL_DOWN, NOT_READY, STORM, EVICTION, COMMITS, KAFKA, PARSE, QUARANTINE, SERIES, MEMORY, SLOW, *FRESH, OLDER, LEASE, SNAPSHOT]
