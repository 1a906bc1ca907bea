"""The way in: is everything all right, and where is it not?"""
from model import (GREEN, GREY, NONE_WANTED, RED, SOME_MATTER, UP_DOWN, YELLOW, Column, Dashboard, Q, Row, added, rate, series, stat,
                   steps, table, timeline)

# @ALERTS@: the names of the shipped alerts, without Watchdog.
OURS = 'alertstate="firing",alertname=~"@ALERTS@"'
LAST = "pipeline:pipeline_last_run_timestamp_seconds:max"
# Pipelines whose last run failed, as PipelineJobFailed sees it.
FAILED_NOW = f'{LAST}{{status="FAILED"}} unless on (pipeline_id) ' \
             f'({LAST}{{status="SUCCEEDED"}} >= on (pipeline_id) {LAST}{{status="FAILED"}})'
SUCCEEDED = '{status="SUCCEEDED"}'
UP = 'up{job="kafka2prom"}'
SEVERITY = ({"options": {"critical": {"color": RED, "index": 0}, "warning": {"color": YELLOW, "index": 1}}, "type": "value"},)

FLEET = Dashboard(
    uid="k2p-fleet",
    title="Kafka2Prom / Fleet overview",
    description="Is it all right? Bridges, origins and pipelines at a glance; each line leads to the dashboard that knows more.",
    variables=[],
    rows=[
        Row("Is it all right?", [
            stat("Critical alerts", "Alerts of severity critical that fire now: each of them pages.", "none",
                 f'count(ALERTS{{{OURS},severity="critical"}}) or vector(0)', NONE_WANTED),
            stat("Warnings", "Alerts of severity warning that fire now.", "none",
                 f'count(ALERTS{{{OURS},severity="warning"}}) or vector(0)', SOME_MATTER),
            stat("Bridges down", "Bridges that Prometheus cannot scrape. The others have taken their partitions over.", "none",
                 f"sum(1 - {UP})", NONE_WANTED),
            stat("Unowned partitions", "Partitions that no bridge holds: what lies in them is on no scrape. Asked of bridges that "
                 "know the whole group.", "none",
                 "max(kafka2prom_group_unowned_partitions and kafka2prom_group_map_complete == 1)", NONE_WANTED, none="unknown"),
            stat("Stale origins", "Origins that have sent no dump for longer than their staleness.", "none",
                 "sum(1 - kafka2prom_origin_up)", SOME_MATTER),
            stat("Failing pipelines", "Pipelines whose last run failed, without a success since.", "none",
                 f"count({FAILED_NOW}) or vector(0)", NONE_WANTED),
        ]),
        Row("How well does it go?", [
            stat("Bridges up", "Bridges that Prometheus can scrape.", "none", f"sum({UP})", steps(RED, (1, GREEN))),
            stat("Late dumps, 1 h", "The part of the dumps of the last hour that took longer than 30 s to be shown; the worst "
                 "topic.", "percentunit", "max(topic:kafka2prom_late_dumps:ratio_rate1h >= 0)", SOME_MATTER, decimals=2),
            stat("Largest lag", "Age of the last record processed while others wait, of the partition that is most behind.", "s",
                 "max(partition:kafka2prom_partition_lag_seconds:max)"),
            stat("Origins", "Origins with a dump that is not stale.", "none", "sum(kafka2prom_origin_up)"),
            stat("Series", "Series of dumps and pipelines on the scrapes of all bridges.", "short", "sum(kafka2prom_series)"),
            stat("Run success, 24 h", "The part of the runs of all pipelines that ended in the last 24 hours with SUCCEEDED.",
                 "percentunit", f'sum({added("pipeline:pipeline_runs:max", SUCCEEDED, "1d")}) '
                 f'/ sum({added("pipeline:pipeline_runs:max", "", "1d")})', decimals=1),
        ]),
        Row("Alerts", [
            table("Firing now", "Every alert of ours that fires, with what it is about. Its message has the links.",
                  Column("Alert", label="alertname"), Column("Severity", label="severity", mappings=SEVERITY, thresholds=steps(GREY)),
                  Column("Pipeline", label="pipeline_id",
                         link=("Its runs", "/d/k2p-pipelines?var-pipeline_id=${__value.text:percentencode}")),
                  Column("Topic", label="topic"), Column("Partition", label="partition"), Column("Cluster", label="cluster"),
                  Column("Instance", label="instance"),
                  Column("Alerts", Q(f"count by (alertname, severity, pipeline_id, topic, partition, cluster, instance) (ALERTS{{{OURS}}})")),
                  width=12, empty="no alert fires on a good day", sort="Severity", descending=False),
            series("Alerts over time", "How many of each alert fire.", "none",
                   Q(f"count by (alertname, severity) (ALERTS{{{OURS}}})", "{{alertname}} ({{severity}})"), width=12,
                   empty="no alert fires on a good day", stacked=True, bars=True),
        ]),
        Row("Bridges", [
            timeline("Bridge up", "When Prometheus could scrape which bridge.", Q(f"max by (instance) ({UP})", "{{instance}}"), UP_DOWN,
                     width=8),
            series("Live partitions by bridge", "Partitions that each bridge shows: they move when one comes or goes, and add up to "
                   "all.", "none", Q('sum by (instance) (kafka2prom_partition_state{state="live"})', "{{instance}}"), stacked=True),
            table("Versions", "What runs where: a mix lasts as long as a rolling update.", Column("Bridge", label="instance",
                  link=("Bridge operations", "/d/k2p-bridge?var-instance=${__value.text:percentencode}")),
                  Column("Version", label="version"), Column("Revision", label="revision"),
                  Column("Up since", Q("max by (instance, version, revision) (kafka2prom_build_info * on (job, instance) group_left () "
                                       "kafka2prom_process_start_time_seconds * 1000)"), unit="dateTimeFromNow"), width=8),
        ]),
        Row("What flows", [
            series("Records", "Records read from Kafka, by topic.", "rps", Q(rate("kafka2prom_records_consumed_total", by="topic"),
                   "{{topic}}"), width=6),
            series("Bytes", "Bytes of those records as they came, compressed.", "Bps",
                   Q(rate("kafka2prom_record_bytes_total", by="topic"), "{{topic}}"), width=6),
            series("Series by topic", "Series of the partitions shown.", "short",
                   Q("sum by (topic) (kafka2prom_series)", "{{topic}}"), width=6, stacked=True),
            series("Origins by topic", "Origins with a dump; for events, pipelines and jobs.", "none",
                   Q("sum by (topic) (kafka2prom_origins)", "{{topic}}"), width=6, stacked=True),
        ]),
        Row("Clusters and pipelines", [
            table("Clusters", "Origins by cluster: all stale at once is an agent or its network, not its targets.",
                  Column("Cluster", label="cluster",
                         link=("Its origins", "/d/k2p-origins?var-cluster=${__value.text:percentencode}")),
                  Column("Origins", Q("count by (cluster) (kafka2prom_origin_up)"), unit="none"),
                  Column("Stale", Q("sum by (cluster) (1 - kafka2prom_origin_up)"), unit="none", thresholds=SOME_MATTER),
                  Column("Series", Q("sum by (cluster) (kafka2prom_origin_series)"), unit="short"),
                  Column("Newest dump", Q("max by (cluster) (kafka2prom_origin_last_dump_timestamp_seconds) * 1000"),
                         unit="dateTimeFromNow"), width=12, sort="Stale"),
            table("Failing pipelines, since when", "Pipelines whose last run failed, the longest first.",
                  Column("Pipeline", label="pipeline_id",
                         link=("Its runs", "/d/k2p-run?var-pipeline_id=${__value.text:percentencode}")),
                  Column("Failed", Q(f"max by (pipeline_id) (({FAILED_NOW}) * 1000)"), unit="dateTimeFromNow"), width=12,
                  empty="no pipeline has failed on a good day", sort="Failed", descending=False),
        ]),
    ],
)
