"""Alerts on pipelines: what their owners want to know."""
from dataclasses import replace

from bridge import Worst, burn_tests, jumped
from model import Alert, Case, Check, Firing, gap
from recording import BURNS, LAST
from story import A, B, Counter, Gauge, cases, scene

ID = "orders"
LABELS = {"pipeline_id": ID}
RUNS = "/runs?pipeline_id={pipeline_id}"
OF_PIPELINE = "k2p-pipelines?var-pipeline_id={pipeline_id}"
# A name that tries to break out of queries, URLs and messages.
NASTY = '*</a>|<@U1> "x" \\ 100%'
NASTY_LABEL = NASTY.replace("\\", "\\\\").replace('"', '\\"')


def default(name):
    return f'scalar(kafka2prom:threshold:value{{name="{name}"}})'


def own(name):
    return f'on (pipeline_id) group_left () pipeline:threshold:value{{name="{name}"}}'


def series(metric, more="", who="@", pipeline=ID):
    return f'{metric}{{job="kafka2prom",instance="{who}",pipeline_id="{pipeline}"{"," + more if more else ""}}}'


def at(minute, *firing):
    return Check(minute, tuple(firing))


def threshold_is(name, value, pipeline=ID):
    # Beside it one of another name, which must not count.
    return {
        f'pipeline_alert_threshold{{name="{name}",pipeline_id="{pipeline}"}}': f"{value}+0x1500",
        f'pipeline_alert_threshold{{name="of_another_alert",pipeline_id="{pipeline}"}}': "1000000000+0x1500",
    }


ACTIVE = series("pipeline_runs_active")
SEEN = Gauge(ACTIVE, good=0, bad=0)
OTHER = series("pipeline_runs_active", who=A, pipeline="other")


def stamp(status, who=A, pipeline=ID):
    return series("pipeline_last_run_timestamp_seconds", f'status="{status}"', who, pipeline)


FAILED_LABELS = {**LABELS, "status": "FAILED"}


def failed(age, **more):
    return Firing(FAILED_LABELS, age, **more)


JOB_FAILED = Alert(
    name="PipelineJobFailed",
    expr=f'time() - ({LAST}{{status="FAILED"}}\n'
    f'  unless ignoring (status) {LAST}{{status="SUCCEEDED"}} >= ignoring (status) {LAST}{{status="FAILED"}})',
    severity="warning",
    team="pipeline",
    unit="seconds",
    summary="Pipeline {pipeline_id} failed",
    description="The last run of pipeline {pipeline_id} failed {value} ago, and none has succeeded since.",
    dashboard=OF_PIPELINE,
    run_page=RUNS + "&status=FAILED",
    tests=[
        Case("fires", {stamp("FAILED"): "_ 60+0x9"}, (at(5, failed(240, summary="Pipeline orders failed",
             description="The last run of pipeline orders failed 4m 0s ago, and none has succeeded since.")),), name="its first run ever"),
        Case("fires", {stamp("SUCCEEDED"): "30+0x9", stamp("FAILED"): "_ 60+0x9"}, (at(5, failed(240)),), name="after a success"),
        Case("fires", {stamp("FAILED"): "60+0x9", 'pipeline_alert_team{pipeline_id="orders",team="checkout"}': "1+0x9"},
             (at(5, failed(240, set_labels={"team": "checkout"})),), name="routed to the team that owns it"),
        Case("fires", {stamp("FAILED", pipeline=NASTY_LABEL): "60+0x9",
                       f'pipeline_alert_team{{pipeline_id="{NASTY_LABEL}",team="checkout"}}': "1+0x9"},
             (at(5, Firing({"pipeline_id": NASTY, "status": "FAILED"}, 240, set_labels={"team": "checkout"})),), name="whatever its name is"),
        Case("below", {stamp("SUCCEEDED"): "_ 60+0x9", stamp("FAILED"): "30+0x9"}, (at(5),), name="a success after the failure"),
        Case("below", {stamp("PARTIAL"): "60+0x9"}, (at(5),), name="partial is no failure"),
        Case("boundary", {stamp("SUCCEEDED"): "60+0x9", stamp("FAILED"): "60+0x9"}, (at(5),), name="in the same second"),
        Case("boundary", {stamp("SUCCEEDED"): "59+0x9", stamp("FAILED"): "60+0x9"}, (at(5, failed(240)),), name="a second later"),
        Case("for", {stamp("FAILED"): "_ _ 120+0x9"}, (at(1), at(2, failed(0))), name="at once"),
        Case("resolves", {stamp("FAILED"): "60+0x9", stamp("SUCCEEDED"): "_ _ _ _ _ _ 360+0x3"}, (at(5, failed(240)), at(6))),
        Case("missing_scrape", {stamp("FAILED"): "60+0x3 _ _ 60+0x3"}, (at(4, failed(180)), at(5, failed(240)), at(6, failed(300)))),
        Case("moves", {stamp("FAILED"): "60+0x3 stale", stamp("FAILED", B): "_ _ _ _ 60+0x5"},
             (at(3, failed(120)), at(4, failed(180)), at(6, failed(300)))),
        Case("moves", {stamp("SUCCEEDED"): "_ 60+0x2 stale", stamp("FAILED", B): "_ _ _ _ 30+0x5", stamp("SUCCEEDED", B): "_ _ _ _ 60+0x5"},
             (at(4), at(6)), name="a success that the other bridge saw"),
        Case("reset", {stamp("FAILED"): "60+0x3 stale _ _ _ _", stamp("SUCCEEDED"): "50+0x3 stale 420+0x4"}, (at(3, failed(120)), at(4), at(7)),
             name="state begins anew"),
    ],
)

FAILURES = Alert(
    name="PipelineFailingRepeatedly",
    expr=f"pipeline:pipeline_failures:count6h >= {own('repeated_failures')}",
    severity="critical",
    team="pipeline",
    unit="count",
    threshold="repeated_failures",
    summary="Pipeline {pipeline_id} fails again and again",
    description="{value} runs of pipeline {pipeline_id} failed within 6 hours (threshold {threshold}).",
    dashboard=OF_PIPELINE,
    run_page=RUNS + "&status=FAILED",
    interval=5,
    tests=[],
)
# Failures at 30, 60 and 90 minutes; a sample every 5.
THRICE = "_ _ _ _ _ _ 1800+0x5 3600+0x5 5400+0x%d"


def thrice(more=60, who=A):
    return {stamp("FAILED", who): THRICE % more, ACTIVE.replace("@", who): f"0+0x{more + 20}"}


def times(n, **more):
    return Firing(FAILED_LABELS, n, **more)


FAILURES.tests = [
    Case("fires", thrice(), (at(100, times(3, description="3 runs of pipeline orders failed within 6 hours (threshold 3).")),),
         name="the first ever counted"),
    Case("fires", {**thrice(), **threshold_is("repeated_failures", 2)}, (at(55), at(60, times(2, threshold=2))), name="its own threshold"),
    Case("below", {**thrice(), **threshold_is("repeated_failures", 4)}, (at(100),), name="its own threshold"),
    Case("below", thrice(), (at(85),), name="two"),
    Case("below", {stamp("FAILED"): "_ " + " ".join(f"{60 * (5 + 200 * (i // 40))}" for i in range(120)), ACTIVE.replace("@", A): "0+0x130"},
         (at(300), at(405), at(500)), name="more than three hours apart"),
    Case("boundary", thrice(), (at(85), at(90, times(3))), name="the third"),
    Case("for", thrice(), (at(85), at(90, times(3))), name="at once"),
    Case("resolves", thrice(80), (at(385, times(3)), at(390))),
    Case("missing_scrape", {stamp("FAILED"): "_ _ _ _ _ _ 1800+0x3 _ _ 3600+0x5 5400+0x9", ACTIVE.replace("@", A): "0+0x30"}, (at(85), at(95, times(3)))),
    Case("moves", {stamp("FAILED"): "_ _ _ _ _ _ 1800+0x5 stale", ACTIVE.replace("@", A): "0+0x11 stale",
                   stamp("FAILED", B): gap(12) + " 3600+0x5 5400+0x9", ACTIVE.replace("@", B): gap(12) + " 0+0x20"},
         (at(85), at(95, times(3))), name="a failure while it moves"),
    Case("moves", {stamp("FAILED"): "_ _ _ _ _ _ 1800+0x5 3600+0x1 stale", ACTIVE.replace("@", A): "0+0x13 stale",
                   stamp("FAILED", B): gap(14) + " 3600+0x9", ACTIVE.replace("@", B): gap(14) + " 0+0x9"},
         (at(65), at(80), at(100)), name="a move is no failure"),
    Case("reset", {stamp("FAILED"): "_ _ _ _ _ _ 1800+0x5 3600+0x1 stale _ _ 3600+0x9", ACTIVE.replace("@", A): "0+0x40"},
         (at(65), at(90), at(100)), name="a gap is no failure"),
    Case("reset", {stamp("FAILED"): "30000+0x9", ACTIVE.replace("@", A): "0+0x9"}, (at(0), at(40)), name="Prometheus begins anew"),
]

OLDEST = "pipeline_oldest_active_run_start_timestamp_seconds"
OLD = "pipeline:pipeline_oldest_active_run_start_timestamp_seconds:max"
SLA = "pipeline_sla_target_seconds"
SLA_REC = "pipeline:pipeline_sla_target_seconds:max"
MISSED = "pipeline_sla_missed_total"

SLA_MISSED = Alert(
    name="PipelineSlaMissed",
    expr=f"{SLA_REC}\nand (\n  time() - {OLD} > {SLA_REC}\n  or pipeline:pipeline_sla_missed:delta1h > 0\n)",
    severity="critical",
    team="pipeline",
    unit="seconds",
    summary="Pipeline {pipeline_id} missed its SLA of {value}",
    description="A run of pipeline {pipeline_id} takes, or took within the last hour, longer than its SLA of {value}.",
    dashboard="k2p-slo?var-pipeline_id={pipeline_id}",
    run_page=RUNS,
    tests=[],
)


def running(oldest, sla, who=A, missed=None, active=None):
    found = {series(OLDEST, who=who): oldest, series(SLA, who=who): sla, ACTIVE.replace("@", who): active or sla.replace("600", "1")}
    if missed:
        found[series(MISSED, who=who)] = missed
    return {k: v for k, v in found.items() if v}


def sla(value=600, **more):
    return Firing(LABELS, value, **more)


SLA_MISSED.tests = [
    Case("fires", running("60+0x20", "600+0x20"), (at(15, sla(summary="Pipeline orders missed its SLA of 10m 0s")),), name="while it runs"),
    Case("fires", running(None, "600+0x90", missed="2+0x5 3+0x80"), (at(5), at(10, sla()), at(55, sla())), name="at its end"),
    Case("fires", running(None, "600+0x90", missed=gap(65) + " 1+0x20"), (at(64), at(65, sla()), at(70, sla())), name="its first miss ever"),
    Case("below", running("60+0x8", "600+0x8", missed="4+0x8"), (at(8),)),
    Case("below", {series(OLDEST, who=A): "60+0x20"}, (at(20),), name="no SLA"),
    Case("below", running(None, "600+0x20", missed="4+0x20", active="0+0x20"), (at(0), at(15)), name="misses from before Prometheus looked"),
    Case("below", {**running(None, gap(65) + " 600+0x20", missed=gap(65) + " 4+0x20"), OTHER: "0+0x85"}, (at(65), at(70)),
         name="a pipeline that Prometheus sees for the first time"),
    Case("boundary", running("0+0x20", "600+0x20"), (at(10), at(11, sla())), name="as long as its SLA"),
    Case("for", running("0+0x20", "600+0x20"), (at(10), at(11, sla())), name="at once"),
    Case("resolves", running("0+0x12 _ stale", "600+0x20"), (at(12, sla()), at(14)), name="it ended, and no miss is counted"),
    Case("resolves", running(None, "600+0x90", missed="2+0x5 3+0x80"), (at(65, sla()), at(66)), name="an hour after"),
    Case("missing_scrape", running("0+0x11 _ _ 0+0x5", "600+0x11 _ _ 600+0x5"), (at(12, sla()), at(13, sla()), at(15, sla()))),
    Case("missing_scrape", running(None, "600+0x90", missed="2+0x3 _ _ 3+0x80"), (at(4), at(7, sla())), name="the miss falls into it"),
    Case("moves", {**running("0+0x11 stale", "600+0x11 stale"), **running(gap(12) + " 0+0x5", gap(12) + " 600+0x5", B)},
         (at(11, sla()), at(12, sla()), at(15, sla()))),
    Case("moves", {**running(None, "600+0x8 stale", missed="2+0x8 stale"), **running(None, gap(9) + " 600+0x5", B, missed=gap(9) + " 3+0x5")},
         (at(8), at(9, sla()), at(12, sla())), name="the miss falls into the move"),
    Case("moves", {**running(None, "600+0x8 stale", missed="2+0x8 stale"), **running(None, gap(9) + " 600+0x5", B, missed=gap(9) + " 2+0x5")},
         (at(8), at(9), at(12)), name="a move is no miss"),
    Case("reset", running(None, "600+0x120", missed="5+0x70 0+0x20"), (at(71), at(80)), name="state begins anew"),
    Case("reset", running(None, "600+0x120", missed="5+0x70 0+0x5 1+0x20"), (at(75), at(78, sla())), name="and a miss after that"),
]

AT_RISK = Alert(
    name="PipelineSlaAtRisk",
    expr=f"(time() - {OLD}) / {SLA_REC} > {own('sla_risk_ratio')}\nunless time() - {OLD} > {SLA_REC}",
    severity="warning",
    team="pipeline",
    unit="ratio",
    threshold="sla_risk_ratio",
    summary="Pipeline {pipeline_id} has used {value} of its SLA",
    description="A run of pipeline {pipeline_id} is going on and has used {value} of the time that its SLA gives it "
    "(threshold {threshold}).",
    dashboard="k2p-slo?var-pipeline_id={pipeline_id}",
    run_page=RUNS + "&status=RUNNING",
    tests=[
        Case("fires", running("0+0x20", "600+0x20"), (at(9, sla(0.9, summary="Pipeline orders has used 90% of its SLA")),)),
        Case("fires", {**running("0+0x20", "600+0x20"), **threshold_is("sla_risk_ratio", 0.5)}, (at(5), at(6, sla(0.6, threshold=0.5))), name="its own threshold"),
        Case("below", running("0+0x20", "600+0x20"), (at(7),)),
        Case("boundary", running("0+0x20", "600+0x20"), (at(8), at(9, sla(0.9)))),
        Case("boundary", running("0+0x20", "600+0x20"), (at(10, sla(1)), at(11)), name="missed is no risk any more"),
        Case("for", running("0+0x20", "600+0x20"), (at(8), at(9, sla(0.9))), name="at once"),
        Case("resolves", running("0+0x9 600+0x5", "600+0x20"), (at(9, sla(0.9)), at(10)), name="the next run"),
        Case("missing_scrape", running("0+0x8 _ 0+0x5", "600+0x8 _ 600+0x5"), (at(9, sla(0.9)), at(10, sla(1)))),
        Case("moves", {**running("0+0x8 stale", "600+0x8 stale"), **running(gap(9) + " 0+0x5", gap(9) + " 600+0x5", B)},
             (at(8), at(9, sla(0.9)), at(10, sla(1)))),
        Case("reset", running("0+0x8 stale stale stale", "600+0x8 stale stale stale"), (at(9), at(10)), name="state begins anew"),
    ],
)

LAST_ANY = f"max without (status) ({LAST})"
INTERVAL = (
    '(\n    max by (pipeline_id) (pipeline_alert_threshold{name="run_interval_seconds"})\n'
    "    or pipeline:run_interval_seconds:delta7d\n  )"
)
OVERDUE = Alert(
    name="PipelineRunOverdue",
    expr=f"time() - {LAST_ANY}\n> on (pipeline_id) group_left () (\n  {INTERVAL}\n"
    '  * on (pipeline_id) pipeline:threshold:value{name="overdue_ratio"}\n)\n'
    "unless on (pipeline_id) pipeline:pipeline_runs_active:max > 0",
    for_="30m",
    severity="warning",
    team="pipeline",
    unit="seconds",
    summary="Pipeline {pipeline_id} should have run",
    description="Pipeline {pipeline_id} last began or ended a run {value} ago and is not running; by its schedule, or by its habit of "
    "the last 7 days, it should have.",
    dashboard=OF_PIPELINE,
    run_page=RUNS,
    interval=30,
    tests=[],
)


def minutes(hours):
    return hours * 60


def every(hours, days, stop=None, who=A, from_=0, total=None, active="0"):
    """A run at each multiple of `hours`, until `stop`: samples every 30 minutes."""
    n = (total or days * 48) + 1
    ends, counts = [], []
    for i in range(n):
        t = i / 2
        last = (min(t, stop) if stop is not None else t) // hours
        ends.append(str(int(last * hours * 3600)))
        counts.append(str(int(last)))
    cut = from_
    return {
        stamp("SUCCEEDED", who): " ".join(["_"] * cut + ends[cut:]),
        series("pipeline_runs_total", 'status="SUCCEEDED",trigger_type="schedule"', who): " ".join(["_"] * cut + counts[cut:]),
        ACTIVE.replace("@", who): " ".join(["_"] * cut + [active] * (n - cut)),
    }


def late(seconds):
    return Firing(LABELS, seconds)


# A run every 12 hours for 8 days; then none. At hour h after 192 its usual interval is 7 d / runs of 7 d.
FAIR = every(12, 12, stop=192)
SCHEDULE = {**threshold_is("run_interval_seconds", 43200)}
OVERDUE.tests = [
    # 7 d / 12 runs = 14 h; twice that is 28 h, reached between 220 and 220.5; and 30 minutes more.
    Case("fires", {**FAIR, **SCHEDULE}, (at(minutes(220), Firing(LABELS, 28 * 3600)),), name="its schedule is known"),
    Case("fires", every(12, 12, stop=192), (at(minutes(216)), at(minutes(228), late(36 * 3600)),), name="by habit"),
    Case("fires", {**FAIR, **SCHEDULE, **threshold_is("overdue_ratio", 1.5)},
         (at(minutes(210.5)), at(minutes(211), late(19 * 3600))), name="its own patience"),
    # Four runs in 7 d: every 42 h. The last at 167.5 h; 84 h and 30 minutes after it is overdue.
    Case("fires", {stamp("SUCCEEDED"): gap(332) + " 597600 599400 601200 603000+0x180",
                   series("pipeline_runs_total", 'status="SUCCEEDED",trigger_type="schedule"', A): "0+0x331 1 2 3 4+0x180",
                   ACTIVE.replace("@", A): "0+0x515"}, (at(minutes(252)), at(minutes(252.5), late(306000))), name="four runs are a habit"),
    Case("fires", {**FAIR, **{s.replace('"orders"', '"other"'): v for s, v in every(12, 12).items()}},
         (at(minutes(228), late(36 * 3600)),), name="another one has its own habit"),
    Case("below", {**FAIR, **SCHEDULE}, (at(minutes(192)), at(minutes(215))), name="not long enough"),
    Case("below", every(60, 12, stop=180), (at(minutes(280)),), name="fewer than four runs are no habit"),
    Case("below", every(12, 12, stop=192, active="1"), (at(minutes(240)),), name="it is running"),
    Case("boundary", {**FAIR, **SCHEDULE}, (at(minutes(216)), at(minutes(216.5)), at(minutes(217), late(25 * 3600))), name="twice its interval"),
    Case("boundary", every(42, 14, stop=168), (at(minutes(168 + 42 * 2 - 0.5)), ), name="four runs are a habit, whose time has not come"),
    Case("for", {**FAIR, **SCHEDULE}, (at(minutes(216.5)), at(minutes(217), late(25 * 3600)))),
    Case("resolves", {**every(12, 12, stop=192), **SCHEDULE,
                      stamp("FAILED"): " ".join(["_"] * 440 + ["792000"] * 20)}, (at(minutes(219.5), late(27.5 * 3600)), at(minutes(220))),
         name="a run, even a failed one"),
    Case("missing_scrape", {s: " ".join(v.split()[:436] + ["_"] + v.split()[437:]) if "+" not in v else v for s, v in {**FAIR, **SCHEDULE}.items()},
         (at(minutes(219), late(27 * 3600)),)),
    Case("moves", {**{s: " ".join(v.split()[:440] + ["stale"]) for s, v in FAIR.items()}, **every(12, 12, stop=192, who=B, from_=440), **SCHEDULE},
         (at(minutes(219.5), late(27.5 * 3600)), at(minutes(220), late(28 * 3600)), at(minutes(221), late(29 * 3600)))),
    Case("reset", {**{s: " ".join(v.split()[:440] + ["stale"]) if "+" not in v else v for s, v in FAIR.items()}, **SCHEDULE},
         (at(minutes(219.5), late(27.5 * 3600)), at(minutes(220))), name="state is lost"),
]

SUCCESS_AGE = Alert(
    name="PipelineNotSucceededRecently",
    expr=f'time() - {LAST}{{status="SUCCEEDED"}} > {own("not_succeeded_seconds")}',
    for_="5m",
    severity="warning",
    team="pipeline",
    unit="seconds",
    threshold="not_succeeded_seconds",
    summary="Pipeline {pipeline_id} has not succeeded for {value}",
    description="The last success of pipeline {pipeline_id} was {value} ago (threshold {threshold}).",
    dashboard=OF_PIPELINE,
    run_page=RUNS,
    tests=[],
)


def succeeded(value, who=A, n=20, pipeline=ID):
    return {stamp("SUCCEEDED", who, pipeline): f"{value}+0x{n}", ACTIVE.replace("@", who).replace(ID, pipeline): f"0+0x{n}"}


def aged(age, **more):
    return Firing({**LABELS, "status": "SUCCEEDED"}, age, **more)


SUCCESS_AGE.tests = [
    Case("fires", succeeded(-93600), (at(10, aged(94200, summary="Pipeline orders has not succeeded for 1d 2h 10m 0s")),)),
    Case("fires", {**succeeded(0), **threshold_is("not_succeeded_seconds", 300)}, (at(10), at(11, aged(660, threshold=300))), name="its own threshold"),
    Case("fires", {**succeeded(0, pipeline=NASTY_LABEL), **threshold_is("not_succeeded_seconds", 300, NASTY_LABEL)},
         (at(11, Firing({"pipeline_id": NASTY, "status": "SUCCEEDED"}, 660, threshold=300)),), name="its own threshold, whatever its name is"),
    Case("below", {**succeeded(-93600), **threshold_is("not_succeeded_seconds", 99999)}, (at(15),), name="its own threshold"),
    Case("below", succeeded(-93000), (at(10),)),
    Case("below", {stamp("FAILED"): "-99999+0x20", ACTIVE.replace("@", A): "0+0x20"}, (at(15),), name="another status"),
    Case("boundary", succeeded(-93000), (at(10), at(15), at(16, aged(93960)))),
    Case("for", succeeded(-93000), (at(11), at(15), at(16, aged(93960)))),
    Case("resolves", {stamp("SUCCEEDED"): "-93600+0x9 600+0x5", ACTIVE.replace("@", A): "0+0x20"}, (at(9, aged(94140)), at(10))),
    Case("missing_scrape", {stamp("SUCCEEDED"): "-93600+0x7 _ _ -93600+0x5", ACTIVE.replace("@", A): "0+0x7 _ _ 0+0x5"},
         (at(9, aged(94140)), at(12, aged(94320)))),
    Case("moves", {stamp("SUCCEEDED"): "-93600+0x7 stale", ACTIVE.replace("@", A): "0+0x7 stale",
                   stamp("SUCCEEDED", B): gap(8) + " -93600+0x5", ACTIVE.replace("@", B): gap(8) + " 0+0x5"},
         (at(7, aged(94020)), at(8, aged(94080)), at(12, aged(94320)))),
    Case("reset", {stamp("SUCCEEDED"): "-93600+0x7 stale", ACTIVE.replace("@", A): "0+0x20"}, (at(7, aged(94020)), at(8)), name="state is lost"),
]

RATIO = "pipeline:pipeline_errors:ratio_rate"
SPIKE = Alert(
    name="PipelineErrorRateSpike",
    expr=f"{RATIO}1h > {own('error_ratio')}\n"
    f"unless {RATIO}1h <= {RATIO}1d offset 1h * {default('error_spike_factor')}\n"
    f"unless sum without (level) (pipeline:pipeline_log_events:rate1h) * 3600 < {default('error_min_events')}",
    for_="5m",
    severity="warning",
    team="pipeline",
    unit="ratio",
    threshold="error_ratio",
    summary="{value} of the log events of pipeline {pipeline_id} are errors",
    description="{value} of the log events of pipeline {pipeline_id} in the last hour are errors (threshold {threshold}), "
    "more than three times what it was in the day before.",
    dashboard=OF_PIPELINE,
    run_page=RUNS,
    interval=5,
    tests=[],
)


def events(level, **states):
    return Counter(series("pipeline_log_events_total", f'level="{level}"'), **states)


LOUD = [
    events("INFO", good=1000, bad=880, under=952, edge=950, over=940),
    events("ERROR", good=0, bad=100, under=48, edge=40, over=50),
    events("FATAL", good=0, bad=20, under=0, edge=10, over=10),
]
SPIKE.tests = cases(LOUD, Firing(LABELS, 0.12, summary="12% of the log events of pipeline orders are errors"),
                    for_=1, window=12, interval=5, lead=60)
SPIKE.tests = [c for c in SPIKE.tests if c.kind != "for"] + [
    Case("fires", {**scene(LOUD, [("good", 60), ("over", 16)]), **threshold_is("error_ratio", 0.055)}, (at(370, Firing(LABELS, 0.06, threshold=0.055)),),
         name="its own threshold"),
    Case("below", {**scene(LOUD, [("good", 60), ("bad", 16)]), **threshold_is("error_ratio", 0.2)}, (at(370),), name="its own threshold"),
    Case("for", scene(LOUD, [("good", 15), ("bad", 12)]), (at(95), at(105, Firing(LABELS, None)))),
    # 3.3 % as a habit; 12 % is more than three times that, 9.6 % is not.
    Case("below", scene([events("INFO", good=967, bad=905), events("ERROR", good=33, bad=95)], [("good", 100), ("bad", 16)]),
         (at(570),), name="a pipeline that always errs, thrice as much is needed"),
    Case("fires", scene([events("INFO", good=967, bad=880), events("ERROR", good=33, bad=120)], [("good", 100), ("bad", 16)]),
         (at(570, Firing(LABELS, None)),), name="more than thrice its habit"),
    # 10.5 % is more than thrice that; an hour later it is in what is usual itself.
    Case("below", scene([events("INFO", good=967, bad=895), events("ERROR", good=33, bad=105)], [("good", 100), ("bad", 24)]),
         (at(615),), name="a habit since more than an hour"),
    # 8 events in 5 minutes are 96 in an hour.
    Case("below", scene([events("INFO", good=8, bad=4), events("ERROR", good=0, bad=4)], [("good", 40), ("bad", 16)]), (at(275),),
         name="too few events"),
    Case("boundary", scene([events("INFO", good=8.5, bad=4.5), events("ERROR", good=0, bad=4)], [("good", 40), ("bad", 16)]),
         (at(275, Firing(LABELS, None)),), name="just enough events"),
    # They began from zero, and so are not extrapolated.
    Case("boundary", {events("ERROR", good=0, bad=0).series.replace("@", A): "0+0x39 100+0x12"}, (at(240, Firing(LABELS, None)),),
         name="exactly enough events"),
    # A quarter of the day before, three quarters of the last hour.
    Case("boundary", {events(level, good=0, bad=0).series.replace("@", A): f"100000+0x199 {100000 + day}+0x124 {100000 + day + hour}+0x6"
                      for level, day, hour in (("INFO", 300, 100), ("ERROR", 100, 300))}, (at(1650),), name="exactly thrice its habit"),
]

BUDGET = [
    Alert(
        name="PipelineErrorBudgetBurn",
        variant="-" + long,
        expr=f"pipeline:pipeline_run_failures:ratio_rate{long}\n"
        f'  > on (pipeline_id) group_left () ({rate} * (1 - pipeline:threshold:value{{name="run_objective"}}))\n'
        f"and pipeline:pipeline_run_failures:ratio_rate{short}\n"
        f'  > on (pipeline_id) group_left () ({rate} * (1 - pipeline:threshold:value{{name="run_objective"}}))\n'
        f"unless pipeline:pipeline_runs:rate{long} * {seconds} < {default('run_budget_min_runs')}",
        severity=severity,
        team="pipeline",
        unit="ratio",
        labels={"burn": long},
        summary="{value} of the runs of pipeline {pipeline_id} fail",
        description="{value} of the runs of pipeline {pipeline_id} in the last " + long + " failed, and the last " + short
        + f" was no better. At this rate the month's budget lasts {round(30 / rate, 1):g} days.",
        dashboard="k2p-slo?var-pipeline_id={pipeline_id}",
        run_page=RUNS + "&status=FAILED",
        tests=[],
    )
    for (long, short, rate, severity), seconds in zip(BURNS, (3600, 21600, 86400, 259200))
]


def runs(status, **states):
    return Worst(series("pipeline_runs_total", f'status="{status}",trigger_type="schedule"'), **states)


def failing(rate):
    part = {"bad": rate / 100 * 1.2, "under": rate / 100 * 0.99, "over": rate / 100 * 1.01, "brief": min(1, rate / 5),
            "peak": rate / 100 * 6.75, "calm": rate / 100 * 0.9}
    ok = {k: round(1000 * (1 - v), 3) for k, v in part.items()}
    wrong = {k: round(1000 * v, 3) for k, v in part.items()}
    return [
        runs("SUCCEEDED", good=1000, worst=0, **ok),
        runs("FAILED", good=0, worst=1000, **wrong),
        SEEN,
    ]


burn_tests(BUDGET, failing, LABELS, lambda rate: rate / 100 * 1.2)
for _alert, (_long, _short, _rate, _) in zip(BUDGET, BURNS):
    _step = _alert.interval
    _few = [runs("FAILED", good=0, worst=0, bad=0.16, under=0.1, over=0.17, brief=0), SEEN]
    _alert.tests += [
        Case("below", scene(_few, [("bad", 64)]), (at(63 * _step),), name="fewer than ten runs"),
        Case("boundary", scene(_few, [("over", 64)]), (at(63 * _step, Firing(LABELS, None)),), name="ten runs"),
        Case("below", {**scene(failing(_rate), [("bad", 64)]), **threshold_is("run_objective", 0.9)}, (at(63 * _step),), name="its own objective"),
    ]

def ended(failed, succeeded):
    """Runs of both ends, and a pipeline that is seen."""
    found = {series("pipeline_runs_total", f'status="{status}",trigger_type="schedule"', A): values
             for status, values in (("FAILED", failed), ("SUCCEEDED", succeeded))}
    return found | {ACTIVE.replace("@", A): "0+0x120"}


# With an objective of 15/16 a threshold is a binary number that a rate can be, in both Prometheus:
# so many runs fail, so many do not.
for _alert, _failed, _succeeded in zip(BUDGET, (27, 6, 3, 1), (3, 10, 13, 15)):
    _end, _objective = 120 * _alert.interval, threshold_is("run_objective", 0.9375)
    _alert.tests += [
        Case("boundary", {**ended(jumped(0, _failed), jumped(_succeeded, 0)), **_objective}, (at(_end),),
             name="exactly its objective in the long window"),
        Case("boundary", {**ended(jumped(1000, _failed), jumped(0, _succeeded)), **_objective}, (at(_end),),
             name="exactly its objective in the short window"),
        # They began from zero, and so are not extrapolated.
        Case("boundary", ended(jumped(0, 10, start=0), "0+0x120"), (at(_end, Firing(LABELS, None)),), name="exactly ten runs"),
    ]

STEP = "pipeline_step_duration_seconds_%s"


def step(total, count):
    return [Counter(series(STEP % "sum", 'step="load"'), **total), Counter(series(STEP % "count", 'step="load"'), **count), SEEN]


STEP_LABELS = {**LABELS, "step": "load"}
MEAN = "pipeline_step:pipeline_step_duration_seconds:mean"
STEP_SLOW = Alert(
    name="PipelineStepSlow",
    expr=f"{MEAN}1d > {default('step_slow_min_seconds')}\n"
    f'and {MEAN}1d / ({MEAN}7d offset 1d) > {own("step_slow_factor")}',
    severity="warning",
    team="pipeline",
    unit="seconds",
    summary="Step {step} of pipeline {pipeline_id} takes {value}",
    description="Step {step} of pipeline {pipeline_id} took {value} on average in the last day, more than twice what it took "
    "in the week before.",
    dashboard="k2p-run?var-pipeline_id={pipeline_id}&var-step={step}",
    run_page=RUNS,
    interval=60,
    tests=[],
)
ONCE = {"good": 1, "bad": 1, "under": 1, "edge": 1, "over": 1}
WEEK = 24 * 8
SLOWER = step({"good": 100, "bad": 300, "under": 190, "edge": 200, "over": 202}, ONCE)
SHORT = step({"good": 10, "bad": 60, "over": 61}, ONCE)


def slow(value=None, **more):
    return Firing(STEP_LABELS, value, **more)


def hours(n, *firing):
    return Check(n * 60, tuple(firing))


STEP_SLOW.tests = [
    Case("fires", scene(SLOWER, [("good", WEEK), ("bad", 26)]), (hours(WEEK + 25, slow(300, summary="Step load of pipeline orders takes 5m 0s")),)),
    Case("fires", {**scene(SLOWER, [("good", WEEK), ("under", 26)]), **threshold_is("step_slow_factor", 1.5)}, (hours(WEEK + 24, slow()),),
         name="its own factor"),
    Case("below", scene(SLOWER, [("good", WEEK), ("under", 26)]), (hours(WEEK + 24),)),
    Case("below", scene(step({"good": 64, "bad": 130}, ONCE), [("good", WEEK), ("bad", 50)]), (hours(WEEK + 47),),
         name="the first slow day is in what is usual"),
    # Powers of two: both means and their ratio are exact.
    Case("boundary", scene(step({"good": 64, "bad": 128}, ONCE), [("good", WEEK), ("bad", 26)]), (hours(WEEK + 23),), name="exactly twice"),
    Case("below", {**scene(SLOWER, [("edge", 108), ("good", 84), ("bad", 26)]), **threshold_is("step_slow_factor", 2.5)},
         (hours(WEEK + 24),), name="the whole week counts"),
    # Sum and count look at the same window: nothing ran in the first half of the week, or of the day.
    Case("below", {series(STEP % "sum", 'step="load"', A): "0+100x24 2400+0x83 2500+100x83 11100+300x26",
                   series(STEP % "count", 'step="load"', A): "0+1x24 24+0x83 25+1x83 109+1x26",
                   **threshold_is("step_slow_factor", 4), ACTIVE.replace("@", A): "0+0x240"}, (hours(WEEK + 25),), name="after half a week's pause"),
    Case("fires", {series(STEP % "sum", 'step="load"', A): f"0+100x{WEEK} {100 * WEEK}+0x11 {100 * WEEK + 300}+300x14",
                   series(STEP % "count", 'step="load"', A): f"0+1x{WEEK} {WEEK}+0x11 {WEEK + 1}+1x14",
                   ACTIVE.replace("@", A): "0+0x240"}, (hours(WEEK + 25, slow()),), name="after half a day's pause"),
    Case("below", scene(SHORT, [("good", WEEK), ("bad", 25)]), (hours(WEEK + 24),), name="a minute is not slow"),
    Case("below", scene(SLOWER, [("bad", WEEK)]), (hours(WEEK - 1),), name="as slow as ever"),
    Case("below", {**scene(SLOWER, [("good", WEEK), ("bad", 26)]), **threshold_is("step_slow_factor", 4)}, (hours(WEEK + 24),), name="its own factor"),
    Case("boundary", scene(SLOWER, [("good", WEEK), ("edge", 25)]), (hours(WEEK + 24),), name="twice"),
    Case("boundary", scene(SLOWER, [("good", WEEK), ("over", 26)]), (hours(WEEK + 24, slow()),), name="more than twice"),
    Case("boundary", scene(SHORT, [("good", WEEK), ("over", 26)]), (hours(WEEK + 24, slow()),), name="more than a minute"),
    Case("for", scene(SLOWER, [("good", WEEK), ("bad", 26)]), (hours(WEEK + 10), hours(WEEK + 14, slow())), name="at once"),
    Case("resolves", scene(SLOWER, [("good", WEEK), ("bad", 26), ("good", 26)]), (hours(WEEK + 25, slow(300)), hours(WEEK + 51))),
    Case("missing_scrape", scene(SLOWER, [("good", WEEK), ("bad", 20), ("gap", 1), ("bad", 6)]), (hours(WEEK + 26, slow()),)),
    Case("moves", scene(SLOWER, [("good", WEEK), ("bad", 26), ("stale", 1)], []) | {
        k.replace(A, B): " ".join(["_"] * (WEEK + 26)) + " " + v for k, v in {
            series(STEP % "sum", 'step="load"', A): f"{100 + 100 * WEEK + 27 * 300}+300x4",
            series(STEP % "count", 'step="load"', A): f"{100 + WEEK + 27}+1x4",
            ACTIVE.replace("@", A): "0+0x4"}.items()},
         (hours(WEEK + 25, slow(300)), hours(WEEK + 26, slow()), hours(WEEK + 28, slow(300)))),
    Case("reset", scene(SLOWER, [("good", WEEK), ("bad", 12), ("zero", 1), ("bad", 14)]), (hours(WEEK + 26, slow()),), name="amid trouble"),
    Case("reset", scene(SLOWER, [("good", WEEK), ("zero", 1), ("good", 26)]), (hours(WEEK), hours(WEEK + 2), hours(WEEK + 26)), name="without trouble"),
]

ROWS = "pipeline_rows_total"
NO_ROWS = Alert(
    name="PipelineNoRowsProcessed",
    expr='sum without (step) (pipeline_step:pipeline_rows:delta1d{direction="write"}) == 0\n'
    f'and ignoring (direction) sum without (status) ({LAST}{{status="SUCCEEDED"}}) > time() - 86400',
    for_="15m",
    severity="warning",
    team="pipeline",
    summary="Pipeline {pipeline_id} succeeds without writing a row",
    description="Pipeline {pipeline_id} succeeded within the last day, and wrote no row in it: empty input, or a filter that "
    "lets nothing through.",
    dashboard=OF_PIPELINE,
    run_page=RUNS + "&status=SUCCEEDED",
    interval=15,
    tests=[],
)


def rows(written, last, who=A, n=110, read="0+10x110", begin=0):
    # Written by two steps; the time of the last success.
    pad = " ".join(["_"] * begin) + " " if begin else ""
    return {
        series(ROWS, 'direction="write",step="load"', who): pad + written,
        series(ROWS, 'direction="write",step="audit"', who): f"{pad}7+0x{n}",
        series(ROWS, 'direction="read",step="load"', who): pad + read,
        stamp("SUCCEEDED", who): pad + last,
        ACTIVE.replace("@", who): f"{pad}0+0x{n}",
    }


EMPTY = Firing({**LABELS, "direction": "write"}, 0)
DAY = 96
NO_ROWS.tests = [
    Case("fires", rows("50+0x110", "60000+0x110"), (at(DAY * 15 + 30, EMPTY),)),
    Case("below", rows("50+1x110", "60000+0x110"), (at(DAY * 15 + 30),), name="some"),
    Case("below", rows("50+1x110", "60000+0x110", read="9+0x110"), (at(DAY * 15 + 30),), name="it reads none"),
    Case("below", rows("50+0x110", "50+0x110"), (at(DAY * 15 + 30),), name="it has not succeeded"),
    Case("below", {**rows("50+0x110", "50+0x110"), stamp("FAILED"): "60000+0x110"}, (at(DAY * 15 + 30),), name="it has failed"),
    Case("below", {**{k: v.replace("7+0x", "0+0x") for k, v in rows("0+0x9", "60000+0x9", n=9, begin=99).items()}, OTHER: "0+0x110"},
         (at(103 * 15),), name="a pipeline that Prometheus sees for the first time"),
    Case("boundary", rows("50+0x97 51+0x13", "60000+0x110"), (at(DAY * 15 + 30),), name="one row"),
    Case("boundary", rows("50+0x110", "900+0x110"), (at((DAY - 1) * 15), at(DAY * 15), at((DAY + 1) * 15)), name="a success of a day ago"),
    Case("boundary", rows("50+0x110", "2700+0x110"), (at(DAY * 15), at((DAY + 1) * 15, EMPTY), at((DAY + 2) * 15, EMPTY), at((DAY + 3) * 15)),
         name="until a success is a day old"),
    Case("for", rows("50+0x110", "60000+0x110"), (at(DAY * 15), at((DAY + 1) * 15, EMPTY))),
    Case("resolves", rows("50+0x100 60+0x10", "60000+0x110"), (at(DAY * 15 + 60, EMPTY), at(DAY * 15 + 75))),
    Case("missing_scrape", rows("50+0x99 _ 50+0x10", "60000+0x110"), (at(102 * 15, EMPTY),)),
    Case("moves", {**rows("50+0x98 stale", "60000+0x98 stale", n=98), **rows("50+0x10", "60000+0x10", B, n=10, read="990+10x10", begin=99)},
         (at(98 * 15, EMPTY), at(99 * 15, EMPTY), at(101 * 15, EMPTY))),
    Case("moves", {**rows("50+0x98 stale", "60000+0x98 stale", n=98), **rows("60+0x10", "60000+0x10", B, n=10, read="990+10x10", begin=99)},
         (at(98 * 15, EMPTY), at(99 * 15)), name="the rows fall into the move"),
    Case("reset", rows("50+0x99 0+0x10", "60000+0x110"), (at(103 * 15, EMPTY),), name="amid trouble"),
    Case("reset", rows("50+9x99 0+9x10", "60000+0x110"), (at(98 * 15), at(101 * 15), at(104 * 15)), name="without trouble"),
]


def counted(name, metric, window, samples, severity, summary, description, run_page, more="", labels=(), by=""):
    """An alert on each event that a counter counts, within a window after it."""
    recorded = f"pipeline:{metric.removesuffix('_total')}:delta{window}"
    alert = Alert(
        name=name, expr=f"{recorded} > 0", severity=severity, team="pipeline", unit="count", summary=summary,
        description=description, dashboard=OF_PIPELINE, run_page=run_page, tests=[],
    )
    own_series = lambda who: series(metric, more, who)
    w = samples
    f = lambda n, **x: Firing({**LABELS, **dict(labels)}, n, **x)

    def shown(values, who=A, active=None):
        return {own_series(who): values, ACTIVE.replace("@", who): active or f"0+0x{w + 30}"}

    alert.tests = [
        Case("fires", shown(f"4+0x3 6+0x{w}"), (at(3), at(5, f(2)), at(w - 2, f(2)))),
        Case("fires", shown(gap(w + 2) + " 1+0x9"), (at(w + 1), at(w + 2, f(1)), at(w + 5, f(1))), name="the first ever"),
        Case("below", shown(f"4+0x{w + 9}"), (at(0), at(w + 8),)),
        Case("below", shown("4+0x9", active="0+0x9"), (at(0), at(8)), name="counted before Prometheus looked"),
        Case("below", {**shown(gap(w + 2) + " 4+0x9", active=gap(w + 2) + " 0+0x9"), OTHER: f"0+0x{w + 12}"}, (at(w + 2), at(w + 6)),
             name="a pipeline that Prometheus sees for the first time"),
        Case("boundary", shown(f"4+0x3 5+0x{w}"), (at(3), at(4, f(1))), name="one"),
        Case("for", shown(f"4+0x3 5+0x{w}"), (at(3), at(4, f(1))), name="at once"),
        Case("resolves", shown(f"4+0x3 5+0x{w + 9}"), (at(w + 3, f(1)), at(w + 4))),
        Case("missing_scrape", shown(f"4+0x3 _ _ 5+0x{w}"), (at(5), at(6, f(1)))),
        Case("moves", {**shown("4+0x8 stale", active="0+0x8 stale"), **shown(gap(9) + " 5+0x9", B, active=gap(9) + " 0+0x9")},
             (at(8), at(9, f(1)), at(12, f(1))), name="one in between"),
        Case("moves", {**shown("4+0x8 stale", active="0+0x8 stale"), **shown(gap(9) + " 4+0x9", B, active=gap(9) + " 0+0x9")},
             (at(8), at(9), at(12)), name="none in between"),
        Case("reset", shown(f"4+0x{w + 1} 0+0x9"), (at(w + 2), at(w + 5)), name="state begins anew"),
        Case("reset", shown(f"4+0x{w + 1} 0+0x3 1+0x9"), (at(w + 5), at(w + 6, f(1))), name="and one after that"),
    ]
    return alert


EXHAUSTED = counted(
    "PipelineRetriesExhausted", "pipeline_retries_exhausted_total", "1h", 60, "critical",
    "Pipeline {pipeline_id} has no retries left",
    "{value} runs of pipeline {pipeline_id} failed in the last hour with their last retry: nobody will try again.",
    RUNS + "&status=FAILED",
)
LOST = counted(
    "PipelineRunLost", "pipeline_runs_lost_total", "1h", 60, "warning",
    "A run of pipeline {pipeline_id} went silent",
    "{value} runs of pipeline {pipeline_id} have sent nothing for so long that they were given up in the last hour: no end was "
    "ever reported.",
    RUNS + "&status=LOST",
)
BUFFER_DROPS = counted(
    "LogEventsDropped", "pipeline_log_buffer_dropped_total", "15m", 15, "warning",
    "Pipeline {pipeline_id} drops log events",
    "The log buffer of pipeline {pipeline_id} dropped {value} events in 15 minutes ({reason}): what is counted from logs is too low.",
    RUNS, more='reason="overflow"', labels=(("reason", "overflow"),),
)

BULK = "pipeline_es_bulk_requests_total"


def bulk(result, **states):
    return Counter(series(BULK, f'result="{result}"'), **states)


ES = Alert(
    name="EsBulkErrorRateHigh",
    expr='sum without (result) (rate(pipeline:pipeline_es_bulk_requests:max{result!~"success|retried"}[15m]))\n'
    "  / sum without (result) (rate(pipeline:pipeline_es_bulk_requests:max[15m]))\n"
    f"  > {default('es_error_ratio')}\n"
    "unless sum without (result) (rate(pipeline:pipeline_es_bulk_requests:max[15m]))\n"
    f"  < {default('es_min_requests_per_second')}",
    for_="5m",
    severity="warning",
    team="pipeline",
    unit="ratio",
    threshold="es_error_ratio",
    summary="{value} of the bulk requests of pipeline {pipeline_id} fail",
    description="{value} of the Elasticsearch bulk requests of pipeline {pipeline_id} fail (threshold {threshold}).",
    dashboard="k2p-logs?var-pipeline_id={pipeline_id}",
    run_page=RUNS,
    tests=cases(
        [
            bulk("success", good=1000, bad=700, under=852, edge=850.5, over=848),
            bulk("retried", good=0, bad=100, under=100, edge=100, over=100),
            bulk("error", good=0, bad=120, under=38, edge=30, over=32),
            bulk("timeout", good=0, bad=80, under=10, edge=20, over=20),
        ],
        Firing(LABELS, 0.2),
        for_=5,
        window=15,
        onset=3,
    )
    + [
        # Numerator and denominator look at the same window: the requests began 12 minutes ago.
        Case("fires", scene([bulk("success", good=0, bad=94), bulk("error", good=0, bad=6)], [("good", 20), ("bad", 12)]),
             (at(31, Firing(LABELS, None)),), name="after a pause"),
        Case("below", scene([bulk("success", good=0, bad=96), bulk("error", good=0, bad=4)], [("good", 20), ("bad", 12)]),
             (at(31),), name="after a pause"),
        # 0.55 a minute is less than 0.01 a second, 0.65 is more.
        Case("below", scene([bulk("success", good=0, bad=0.05), bulk("error", good=0, bad=0.5)], [("bad", 26)]), (at(25),), name="too few requests"),
        Case("boundary", scene([bulk("success", good=0, bad=0.05), bulk("error", good=0, bad=0.6)], [("bad", 26)]),
             (at(25, Firing(LABELS, None)),), name="just enough requests"),
        # A twentieth that is one in binary floats, too.
        Case("boundary", scene([bulk("success", good=0, bad=19 * 64), bulk("error", good=0, bad=64)], [("bad", 27)]), (at(22), at(26)),
             name="exactly the threshold"),
        # 9 in 15 minutes, which began from 0 and so are not extrapolated.
        Case("boundary", {series(BULK, 'result="error"').replace("@", A): "0+0x19 9+0x8"}, (at(27, Firing(LABELS, None)),),
             name="exactly enough requests"),
        # 12.5 requests of five minutes, nearly ten minutes ago.
        Case("fires", scene([bulk("error", good=0, bad=2.5)], [("good", 20), ("bad", 5), ("good", 12)]),
             (at(33, Firing(LABELS, None)),), name="all requests in the older half of the window"),
    ],
)
BUFFER = Alert(
    name="LogBufferSaturated",
    expr=f"pipeline:pipeline_log_buffer_utilization_ratio:max > {default('log_buffer_ratio')}",
    for_="5m",
    severity="warning",
    team="pipeline",
    unit="ratio",
    threshold="log_buffer_ratio",
    summary="The log buffer of pipeline {pipeline_id} is {value} full",
    description="The log buffer of pipeline {pipeline_id} is {value} full (threshold {threshold}): when it is full, events are dropped.",
    dashboard="k2p-logs?var-pipeline_id={pipeline_id}",
    run_page=RUNS,
    tests=cases(
        [Gauge(series("pipeline_log_buffer_utilization_ratio"), good=0.1, bad=0.95, under=0.89, edge=0.9, over=0.91)],
        Firing(LABELS, 0.95),
        for_=5,
    ),
)

ALERTS = [JOB_FAILED, FAILURES, SLA_MISSED, AT_RISK, OVERDUE, SUCCESS_AGE, SPIKE, STEP_SLOW, NO_ROWS, EXHAUSTED, LOST, ES, BUFFER, BUFFER_DROPS]

# Another pipeline with thresholds of its own: each must be held against its own.
for _alert in ALERTS + BUDGET:
    if "pipeline:threshold:value" in _alert.expr:
        _first = _alert.tests[0]
        _alert.tests[0] = replace(_first, series={**_first.series, OTHER: "1+0x600"})
