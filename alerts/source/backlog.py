"""Alerts on the backlog: partitions that fall behind or that nobody owns."""
from model import Alert, Case, Check, Firing
from story import A, B, Counter, Gauge, cases, scene

JOB = 'job="kafka2prom"'
PARTITION = f'{{{JOB},instance="@",topic="k2p.metrics",partition="3"}}'
LABELS = {"job": "kafka2prom", "topic": "k2p.metrics", "partition": "3"}
BACKLOG = "k2p-backlog?var-topic={topic}&var-partition={partition}"

ALERTS = [
    Alert(
        name="ConsumerLagSecondsHigh",
        expr='partition:kafka2prom_partition_lag_seconds:max > scalar(kafka2prom:threshold:value{name="lag_seconds"})',
        for_="2m",
        severity="warning",
        unit="seconds",
        threshold="lag_seconds",
        summary="Partition {topic}/{partition} is {value} behind",
        description="What scrapes of partition {topic}/{partition} show is {value} old, while newer records wait in Kafka "
        "(threshold {threshold}).",
        dashboard=BACKLOG,
        tests=cases(
            [Gauge("kafka2prom_partition_lag_seconds" + PARTITION, good=0, bad=300, under=119.5, edge=120, over=121)],
            Firing(LABELS, 300, summary="Partition k2p.metrics/3 is 5m 0s behind",
                   description="What scrapes of partition k2p.metrics/3 show is 5m 0s old, while newer records wait in "
                   "Kafka (threshold 2m 0s)."),
            for_=2,
        ),
    ),
    Alert(
        name="LagGrowing",
        expr='max without (instance) (deriv(kafka2prom_partition_lag_records[15m]))\n'
        '  > scalar(kafka2prom:threshold:value{name="lag_growth_per_second"})\n'
        'and partition:kafka2prom_partition_lag_records:max\n'
        '  > scalar(kafka2prom:threshold:value{name="lag_growth_min_records"})',
        for_="15m",
        severity="warning",
        unit="number",
        threshold="lag_growth_per_second",
        summary="The backlog of {topic}/{partition} grows by {value} records/s",
        description="For a quarter of an hour records of {topic}/{partition} have come faster than they are processed: "
        "{value} records/s more (threshold {threshold}).",
        dashboard=BACKLOG,
        tests=[],
    ),
    Alert(
        name="PartitionStalled",
        expr='max without (instance) (deriv(kafka2prom_partition_lag_seconds[5m]))\n'
        '  > scalar(kafka2prom:threshold:value{name="stalled_slope"})\n'
        "and min_over_time(partition:kafka2prom_partition_lag_records:max[5m]) > 0",
        for_="5m",
        severity="critical",
        summary="Partition {topic}/{partition} has come to a standstill",
        description="Records wait in {topic}/{partition} and none has been processed for at least 10 minutes: its owner "
        "is stuck.",
        dashboard=BACKLOG,
        tests=[],
    ),
    Alert(
        name="BacklogDropping",
        expr='sum without (instance) (increase(kafka2prom_records_dropped_total{reason="drop_oldest"}[10m])) > 0',
        severity="warning",
        unit="count",
        summary="{topic} drops records: policy drop_oldest",
        description="{value} records of {topic} were passed over in 10 minutes, because its policy is drop_oldest and it "
        "is behind.",
        dashboard="k2p-backlog?var-topic={topic}",
        tests=cases(
            [Counter(f'kafka2prom_records_dropped_total{{{JOB},instance="@",topic="k2p.metrics",reason="drop_oldest"}}',
                     good=0, bad=60, under=0, edge=0, over=0.001)],
            Firing({"job": "kafka2prom", "topic": "k2p.metrics", "reason": "drop_oldest"}, 600,
                   summary="k2p.metrics drops records: policy drop_oldest",
                   description="600 records of k2p.metrics were passed over in 10 minutes, because its policy is "
                   "drop_oldest and it is behind."),
            window=10,
        )
        + [
            Case(
                "below",
                scene([Counter(f'kafka2prom_records_dropped_total{{{JOB},instance="@",topic="t",reason="conflated"}}', 60, 60)],
                      [("bad", 15)]),
                (Check(14),),
                name="conflated, which loses nothing",
            )
        ],
    ),
    Alert(
        name="PartitionUnowned",
        expr="max without (instance) (kafka2prom_group_unowned_partitions and kafka2prom_group_map_complete == 1) > 0",
        for_="2m",
        severity="critical",
        unit="count",
        summary="{value} partitions have no owner",
        description="No bridge holds {value} partitions of the group: no scrape shows what lies in them.",
        dashboard="k2p-backlog",
        tests=cases(
            [
                Gauge(f'kafka2prom_group_unowned_partitions{{{JOB},instance="@"}}', good=0, bad=3, under=0, edge=0, over=1),
                Gauge(f'kafka2prom_group_map_complete{{{JOB},instance="@"}}', good=1, bad=1, zero=1),
            ],
            Firing({"job": "kafka2prom"}, 3, summary="3 partitions have no owner",
                   description="No bridge holds 3 partitions of the group: no scrape shows what lies in them."),
            for_=2,
        )
        + [
            Case(
                "below",
                scene(
                    [
                        Gauge(f'kafka2prom_group_unowned_partitions{{{JOB},instance="@"}}', 0, 3),
                        Gauge(f'kafka2prom_group_map_complete{{{JOB},instance="@"}}', 1, 0),
                    ],
                    [("bad", 8)],
                ),
                (Check(7),),
                name="a bridge that does not know all partitions says nothing",
            ),
            Case(
                "fires",
                {
                    f'kafka2prom_group_unowned_partitions{{{JOB},instance="{A}"}}': "0+0x8",
                    f'kafka2prom_group_map_complete{{{JOB},instance="{A}"}}': "1+0x8",
                    f'kafka2prom_group_unowned_partitions{{{JOB},instance="{B}"}}': "1+0x8",
                    f'kafka2prom_group_map_complete{{{JOB},instance="{B}"}}': "1+0x8",
                },
                (Check(7, (Firing({"job": "kafka2prom"}, 1),)),),
                name="one of two bridges says so",
            ),
        ],
    ),
]


GROWING = [
    Counter("kafka2prom_partition_lag_records" + PARTITION, good=0, bad=180, under=59.4, edge=60, over=60.6, start=2000)
]
ALERTS[1].tests = [
    c for c in cases(
        GROWING,
        Firing(LABELS, 3, summary="The backlog of k2p.metrics/3 grows by 3 records/s",
               description="For a quarter of an hour records of k2p.metrics/3 have come faster than they are processed: "
               "3 records/s more (threshold 1)."),
        for_=15, window=15, onset=5,
    ) if c.kind not in ("moves", "reset")
] + [
    Case("below", {"kafka2prom_partition_lag_records" + PARTITION.replace("@", A): "0+25x40"}, (Check(38),),
         name="growing slowly"),
    Case("below", {"kafka2prom_partition_lag_records" + PARTITION.replace("@", A): "0+180x3 400+0x3 0+100x3 0+100x3 0+100x40"},
         (Check(13),), name="a small backlog"),
    Case("boundary", {"kafka2prom_partition_lag_records" + PARTITION.replace("@", A): "-6200+180x40"},
         (Check(39), Check(40)), name="a backlog of 1000 is small"),
    Case("boundary", {"kafka2prom_partition_lag_records" + PARTITION.replace("@", A): "-3500+180x60"},
         (Check(40), Check(41, (Firing(LABELS, None),))), name="a backlog of 1000 is small, one above it is not"),
    Case("moves", {
        "kafka2prom_partition_lag_records" + PARTITION.replace("@", A): "2000+180x33 stale",
        "kafka2prom_partition_lag_records" + PARTITION.replace("@", B): " ".join(["_"] * 34) + " 8120+180x10",
    }, (Check(33, (Firing(LABELS, 3),)), Check(34, (Firing(LABELS, 3),)), Check(36, (Firing(LABELS, 3),)))),
    Case("reset", {"kafka2prom_partition_lag_records" + PARTITION.replace("@", A): "2000+180x33 0+0x30"},
         (Check(33, (Firing(LABELS, 3),)), Check(36), Check(60))),
]
LAG = "kafka2prom_partition_lag_seconds" + PARTITION
WAITING = "kafka2prom_partition_lag_records" + PARTITION
STALLED = [
    Counter(LAG, good=0, bad=60, under=53, edge=54, over=55, start=0),
    Gauge(WAITING, good=10, bad=10, zero=10),
]
ALERTS[2].tests = [
    c for c in cases(
        STALLED,
        Firing(LABELS, 1, summary="Partition k2p.metrics/3 has come to a standstill",
               description="Records wait in k2p.metrics/3 and none has been processed for at least 10 minutes: its owner "
               "is stuck."),
        for_=5, window=5, onset=5,
    ) if c.kind not in ("moves", "reset", "for")
] + [
    Case("for", {LAG.replace("@", A): "0+0x10 60+60x15", WAITING.replace("@", A): "5+0x26"},
         (Check(14), Check(18), Check(20, (Firing(LABELS, None),)))),
    Case("below", {LAG.replace("@", A): "0+60x20", WAITING.replace("@", A): "0+0x20"}, (Check(18),), name="nothing waits"),
    Case("fires", {LAG.replace("@", A): "0+60x20", WAITING.replace("@", A): "1+0x20"}, (Check(18, (Firing(LABELS, None),)),),
         name="one record waits"),
    Case("moves", {
        LAG.replace("@", A): "0+60x13 stale", LAG.replace("@", B): " ".join(["_"] * 14) + " 840+60x10",
        WAITING.replace("@", A): "5+0x13 stale", WAITING.replace("@", B): " ".join(["_"] * 14) + " 5+0x10",
    }, (Check(13, (Firing(LABELS, None),)), Check(14, (Firing(LABELS, None),)), Check(16, (Firing(LABELS, None),)))),
    Case("reset", {LAG.replace("@", A): "0+60x13 0+0x10", WAITING.replace("@", A): "5+0x24"},
         (Check(13, (Firing(LABELS, None),)), Check(15), Check(22)), name="its owner begins anew and goes on"),
    # At 15 nothing waits: that is in the window until 20, and five minutes more are waited.
    Case("boundary", {LAG.replace("@", A): "0+60x30", WAITING.replace("@", A): "5+0x14 0 5+0x15"},
         (Check(24), Check(27, (Firing(LABELS, None),))), name="nothing waited for a moment"),
]
