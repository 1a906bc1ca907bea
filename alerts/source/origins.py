"""Alerts on what the bridges show: the origins."""
from model import Alert, Case, Check, Firing
from story import Gauge, cases, scene


def threshold(name):
    return f'scalar(kafka2prom:threshold:value{{name="{name}"}})'


ORIGIN = 'cluster="acme",instance="10.0.0.7:4040",job="spark"'
LABELS = {"cluster": "acme", "instance": "10.0.0.7:4040", "job": "spark"}
OF_ORIGIN = "k2p-origins?var-cluster={cluster}&var-instance={instance}"

STALE = Alert(
    name="OriginStale",
    expr="kafka2prom_origin_up == 0",
    for_="1m",
    severity="warning",
    summary="{job} {instance} of {cluster} sends no dumps",
    description="Origin {job} {instance} (cluster {cluster}) has sent no dump for longer than its staleness: its series "
    "are gone.",
    dashboard=OF_ORIGIN,
    tests=cases(
        [Gauge(f"kafka2prom_origin_up{{{ORIGIN}}}", good=1, bad=0, zero=1)],
        Firing(LABELS, 0, summary="spark 10.0.0.7:4040 of acme sends no dumps"),
        for_=1,
    ),
    without={"boundary": "kafka2prom_origin_up is 0 or 1"},
)
SKEW = Alert(
    name="OriginClockSkew",
    expr="kafka2prom_origin_last_dump_timestamp_seconds - time() > " + threshold("clock_ahead_seconds") + "\n"
    "or time() - kafka2prom_origin_last_dump_timestamp_seconds > " + threshold("clock_behind_seconds") + "\n"
    "  and kafka2prom_origin_up == 1",
    for_="5m",
    severity="warning",
    unit="seconds",
    summary="The clock of {job} {instance} is off by {value}",
    description="Dumps of {job} {instance} (cluster {cluster}) bear a time that is {value} away from ours: its ages "
    "mean nothing, and a clock set back makes its dumps look old.",
    dashboard=OF_ORIGIN,
    tests=[],
)
STAMP = f"kafka2prom_origin_last_dump_timestamp_seconds{{{ORIGIN}}}"
UP = f"kafka2prom_origin_up{{{ORIGIN}}}"
SKEW.tests = [
    Case("fires", {STAMP: "60+60x10", UP: "1+0x10"}, (Check(8, (Firing(LABELS, 60, summary="The clock of spark 10.0.0.7:4040 is off by 1m 0s"),)),),
         name="ahead"),
    Case("fires", {STAMP: "-1000+60x10", UP: "1+0x10"}, (Check(8, (Firing(LABELS, 1000),)),), name="behind"),
    Case("below", {STAMP: "29+60x10", UP: "1+0x10"}, (Check(8),), name="ahead"),
    Case("below", {STAMP: "-899+60x10", UP: "1+0x10"}, (Check(8),), name="behind"),
    Case("below", {STAMP: "-5000+0x10", UP: "0+0x10"}, (Check(8),), name="a stale origin is not behind"),
    Case("boundary", {STAMP: "30+60x10", UP: "1+0x10"}, (Check(8),), name="ahead"),
    Case("boundary", {STAMP: "31+60x10", UP: "1+0x10"}, (Check(8, (Firing(LABELS, 31),)),), name="just ahead"),
    Case("boundary", {STAMP: "-900+60x10", UP: "1+0x10"}, (Check(8),), name="behind"),
    Case("boundary", {STAMP: "-901+60x10", UP: "1+0x10"}, (Check(8, (Firing(LABELS, 901),)),), name="just behind"),
    Case("for", {STAMP: "0+60x3 340+60x10", UP: "1+0x15"}, (Check(4), Check(8), Check(9, (Firing(LABELS, 100),)))),
    Case("resolves", {STAMP: "60+60x8 540+60x5", UP: "1+0x15"}, (Check(8, (Firing(LABELS, 60),)), Check(9))),
    # The stamp stays while nothing is scraped: it comes nearer to the present.
    Case("missing_scrape", {STAMP: "600+60x7 _ _ 1200+60x5", UP: "1+0x7 _ _ 1+0x5"},
         (Check(9, (Firing(LABELS, 480),)), Check(11, (Firing(LABELS, 600),)))),
    Case("moves", {STAMP: "60+60x20", UP: "1+0x20"}, (Check(12, (Firing(LABELS, 60),)),), name="its labels are its own"),
    Case("reset", {STAMP: "60+60x8 stale 660+60x9", UP: "1+0x8 stale 1+0x9"},
         (Check(8, (Firing(LABELS, 60),)), Check(9), Check(14), Check(15, (Firing(LABELS, 60),)))),
]


def fleet(up, down, cluster="acme", n=4):
    """`up` and `down` origins of a cluster, `n` samples."""
    series = {}
    for i in range(up + down):
        series[f'kafka2prom_origin_up{{cluster="{cluster}",instance="10.0.0.{i}:1",job="spark"}}'] = f"{1 if i < up else 0}+0x{n}"
    return series


ACME = Firing({"cluster": "acme"}, 0.6)


def turning(first, then, n=4):
    """A fleet of ten of which `first` are down, later `then`."""
    return {
        f'kafka2prom_origin_up{{cluster="acme",instance="10.0.0.{i}:1",job="spark"}}':
        f"{0 if i < first else 1}+0x{n - 1} {0 if i < then else 1}+0x{n}"
        for i in range(10)
    }


FLEET = Alert(
    name="FleetStale",
    expr="sum by (cluster) (1 - kafka2prom_origin_up) / count by (cluster) (kafka2prom_origin_up)\n"
    "  >= " + threshold("fleet_stale_ratio") + "\n"
    "and sum by (cluster) (1 - kafka2prom_origin_up) >= " + threshold("fleet_stale_min"),
    for_="1m",
    severity="critical",
    unit="ratio",
    threshold="fleet_stale_ratio",
    summary="{value} of the origins of cluster {cluster} are stale",
    description="{value} of the origins of cluster {cluster} send no dumps any more (threshold {threshold}): its agent, its "
    "network or its way to Kafka is broken, not its targets.",
    dashboard="k2p-origins?var-cluster={cluster}",
    tests=[
        Case("fires", fleet(4, 6), (Check(3, (Firing({"cluster": "acme"}, 0.6, summary="60% of the origins of cluster acme are stale"),)),)),
        Case("fires", {**fleet(4, 6), **fleet(0, 7, "beta"), **fleet(9, 1, "good")},
             (Check(3, (ACME, Firing({"cluster": "beta"}, 1))),), name="one for each broken cluster"),
        Case("below", fleet(6, 5), (Check(3),), name="less than half"),
        Case("below", fleet(0, 4), (Check(3),), name="fewer than five"),
        Case("boundary", fleet(5, 5), (Check(3, (Firing({"cluster": "acme"}, 0.5),)),), name="half, and five"),
        Case("for", turning(0, 6), (Check(4), Check(5, (ACME,)))),
        Case("resolves", turning(6, 1), (Check(3, (ACME,)), Check(4))),
        Case("missing_scrape", {s: f"{v[0]}+0x2 _ _ {v[0]}+0x2" for s, v in fleet(4, 6).items()}, (Check(4, (ACME,)), Check(6, (ACME,)))),
        Case("moves", {**fleet(4, 6, n=8)}, (Check(6, (ACME,)),), name="origins bear no bridge's name"),
        Case("moves", {s: (f"{v[0]}+0x4 stale {v[0]}+0x4" if i % 2 else f"{v[0]}+0x9") for i, (s, v) in enumerate(fleet(4, 6).items())},
             (Check(4, (ACME,)), Check(8, (ACME,))), name="half of them are dark for a minute"),
        Case("reset", {s: "1+0x4 stale stale 1+0x5" for s in fleet(4, 6)}, (Check(4), Check(5), Check(6), Check(9)),
             name="nothing at all is no stale fleet"),
    ],
)
ALERTS = [STALE, SKEW, FLEET]
