"""What comes in from outside (origins, agents, posts and logs), and what goes out to people."""
from bridges import HERE, TOPICS, here, of, share
from fleet import OURS
from model import (GREEN, NONE_WANTED, OF_MANY, OF_THRESHOLD, RED, SOME_MATTER, UP_DOWN, Column, Dashboard, Q, Row, Variable, added, bars,
                   limit, quantile, rate, series, stat, steps, table, threshold, timeline, value_map)
from pipelines import MINE, PIPELINE, WINDOW_NOTE

ORIGIN = '{cluster=~"$cluster",instance=~"$instance"}'
AGENT = "empty unless Prometheus gets the agents' own metrics: let each agent scrape itself"
AGE = f"time() - max by (cluster, job, instance) (kafka2prom_origin_last_dump_timestamp_seconds{ORIGIN})"


def agents(metric, by):
    return Q(f"sum by ({by}) (rate({metric}[$__rate_interval]))", "{{instance}}" + "".join(f" {{{{{b}}}}}" for b in by.split(", ")[1:]))


ORIGINS = Dashboard(
    uid="k2p-origins",
    title="Kafka2Prom / Origins",
    description="Where dumps come from: who is silent, whose dumps are old, refused or too large.",
    variables=[
        Variable("cluster", "Cluster", "Clusters of the origins. An origin without one is in no panel but \"Without a cluster\".",
                 "label_values(kafka2prom_origin_up, cluster)"),
        Variable("instance", "Instance", "Instances of the origins of these clusters.",
                 'label_values(kafka2prom_origin_up{cluster=~"$cluster"}, instance)'),
        TOPICS,
    ],
    rows=[
        Row("Is it all right?", [
            stat("Stale origins", "Origins that have sent no dump for longer than their staleness: their series are gone.", "none",
                 f"sum(1 - kafka2prom_origin_up{ORIGIN})", SOME_MATTER),
            stat("Clusters all stale", "Clusters without any origin that is not stale: an agent or its network.", "none",
                 f"count(max by (cluster) (kafka2prom_origin_up{ORIGIN}) == 0) or vector(0)", NONE_WANTED),
            stat("Origins", "Origins with a dump that is not stale.", "none", f"sum(kafka2prom_origin_up{ORIGIN})"),
            stat("Oldest dump", "Age of the last dump of the living origin that is most behind.", "s",
                 f"max(time() - (kafka2prom_origin_last_dump_timestamp_seconds{ORIGIN} and kafka2prom_origin_up{ORIGIN} == 1))"),
            stat("Dumps refused, 1 h", "Records refused whole.", "none",
                 'sum(increase(kafka2prom_records_rejected_total{topic=~"$topic"}[1h]))', SOME_MATTER, decimals=0),
            stat("Without a cluster", "Origins that bear no label cluster: the variables above do not find them.", "none",
                 'count(kafka2prom_origin_up{cluster=""}) or vector(0)'),
        ]),
        Row("Which one?", [
            table("Origins that are stale", "The longest silent first.", Column("Cluster", label="cluster"), Column("Job", label="job"),
                  Column("Instance", label="instance"),
                  Column("Last dump", Q(f"max by (cluster, job, instance) ((kafka2prom_origin_last_dump_timestamp_seconds{ORIGIN} "
                                        f"and kafka2prom_origin_up{ORIGIN} == 0) * 1000)"), unit="dateTimeFromNow"),
                  width=12, sort="Last dump", descending=False, empty="no origin is stale on a good day"),
            table("All origins", "Every origin that a bridge knows.", Column("Cluster", label="cluster"), Column("Job", label="job"),
                  Column("Instance", label="instance"),
                  Column("State", Q(f"max by (cluster, job, instance) (kafka2prom_origin_up{ORIGIN})"),
                         mappings=tuple(value_map(_0=("stale", RED), _1=("up", GREEN)))),
                  Column("Series", Q(f"max by (cluster, job, instance) (kafka2prom_origin_series{ORIGIN})"), unit="short"),
                  Column("Age", Q(AGE), unit="s"), width=12, sort="Age"),
            series("Stale by cluster", "Origins that are stale; and those in quarantine, by topic: their dumps are refused one after "
                   "another.", "none", Q(f"sum by (cluster) (1 - kafka2prom_origin_up{ORIGIN})", "{{cluster}}"),
                   Q('sum by (topic) (kafka2prom_origins_quarantined{topic=~"$topic"})', "{{topic}} in quarantine"), width=6, points=OF_MANY),
            series("Age of last dumps", "Of the ten that are most behind.", "s", Q(f"topk(10, {AGE})",
                   "{{cluster}} {{job}} {{instance}}"), width=6, points=OF_MANY),
            bars("Largest origins", "Origins with the most series.", "short",
                 Q(f"topk(10, max by (cluster, job, instance) (kafka2prom_origin_series{ORIGIN}))", "{{cluster}} {{job}} {{instance}}"), width=6),
            bars("Heaviest origins", "Origins that take the most of a bridge's memory, by estimate.", "bytes",
                 Q(f"topk(10, max by (cluster, job, instance) (kafka2prom_origin_bytes{ORIGIN}))", "{{cluster}} {{job}} {{instance}}"), width=6),
        ]),
        Row("Their dumps", [
            series("Refused", "Records refused whole, by reason.", "rps",
                   Q(rate("kafka2prom_records_rejected_total", '{topic=~"$topic"}', "topic, reason"), "{{topic}} {{reason}}")),
            series("Older ones", "Dumps that came after a newer one of their origin: clocks, or records out of order.", "rps",
                   Q(rate("kafka2prom_records_dropped_total", '{topic=~"$topic",reason="older"}', "topic"), "{{topic}}")),
            series("Lines refused", "Lines of accepted dumps that were no valid sample.", "ops",
                   Q(rate("kafka2prom_samples_rejected_total", '{topic=~"$topic"}', "topic, reason"), "{{topic}} {{reason}}")),
        ]),
        Row("Agents", [
            timeline("Sources", "Whether the last scrape of a target, or read of a file, gave a dump.",
                     Q("max by (instance, source) (kafka2prom_agent_source_up)", "{{instance}} {{source}}"), UP_DOWN, width=8, empty=AGENT),
            series("Dumps sent", "Dumps and records that Kafka has acknowledged.", "ops",
                   agents("kafka2prom_agent_dumps_produced_total", "instance"),
                   Q("sum by (instance) (rate(kafka2prom_agent_records_produced_total[$__rate_interval]))", "{{instance}} records"),
                   empty=AGENT),
            series("Dumps lost", "Dumps taken that did not reach Kafka whole, and records that Kafka did not take.", "ops",
                   agents("kafka2prom_agent_dumps_dropped_total", "instance, reason"),
                   agents("kafka2prom_agent_produce_errors_total", "instance, reason"), empty=AGENT),
            series("Since the last delivery", "Since Kafka last acknowledged a record.", "s",
                   Q("time() - max by (instance) (kafka2prom_agent_last_delivery_timestamp_seconds > 0)", "{{instance}}"), width=6, empty=AGENT),
            series("Queue to Kafka", "Bytes that wait for Kafka, of those that may: what does not fit is dropped.", "percentunit",
                   Q("max by (instance) (kafka2prom_agent_queue_bytes / on (job, instance) kafka2prom_agent_queue_capacity_bytes)",
                     "{{instance}}"), width=6, empty=AGENT, top=1),
            series("Scrapes and reads", "Of targets and files, by result.", "ops",
                   agents("kafka2prom_agent_scrapes_total", "instance, result"),
                   agents("kafka2prom_agent_file_reads_total", "instance, result"), width=6, empty=AGENT),
            series("Bytes sent", "Bytes of acknowledged records, as the agents compressed them.", "Bps",
                   agents("kafka2prom_agent_record_bytes_total", "instance"), width=6, empty=AGENT),
            series("Scrape time of targets", "95th percentile of the scrapes of 10 minutes.", "s",
                   Q(quantile(0.95, "rate(kafka2prom_agent_scrape_seconds_bucket[10m])", "instance, le"), "{{instance}}"), width=24,
                   empty=AGENT),
        ]),
    ],
)

STORE = "empty without a log store (logs.url)"
REJECTED = here('result="rejected"')
BULK = "pipeline:pipeline_es_bulk_requests:max"
BULK_BAD = MINE.replace("}", ',result!~"success|retried"}')
POSTED = "empty while nobody posts events by HTTP"
PUSHED = "empty while nobody pushes groups as to a Pushgateway"

LOGS = Dashboard(
    uid="k2p-logs",
    title="Kafka2Prom / Pushes and log pipeline",
    description="Events that are posted, logs that are kept, and what pipelines say of their own log buffers. Outputs that push "
                "are not there yet and have no panels.",
    variables=[
        PIPELINE,
        Variable("instance", "Bridge", "Bridges that Prometheus scrapes.", 'label_values(up{job="kafka2prom"}, instance)'),
    ],
    rows=[
        Row("Is it all right?", [
            stat("Store not writable", "Bridges whose log store could not keep what it was last given.", "none",
                 f"sum(1 - kafka2prom_logs_writable{HERE})", NONE_WANTED, none="no store", empty=STORE),
            stat("Entries refused, 1 h", "Log entries that the store did not keep; the metrics made of them are not touched.", "none",
                 f"sum(increase(kafka2prom_logs_entries_refused_total{HERE}[1h]))", SOME_MATTER, decimals=0, none="no store",
                 empty=STORE),
            stat("Lines refused, 1 h", "Lines of posted events that were refused to the client.", "none",
                 f"sum(increase(kafka2prom_event_post_lines_total{REJECTED}[1h])) or vector(0)",
                 SOME_MATTER, decimals=0),
            stat("Dropped by buffers", "Log events that pipelines' own buffers dropped in 24 hours." + WINDOW_NOTE, "none",
                 f'sum({added("pipeline:pipeline_log_buffer_dropped:max", MINE, "1d")}) or vector(0)', NONE_WANTED),
            stat("Fullest buffer", "Of the pipelines' log buffers, as a part of what the alert allows.", "percentunit",
                 f'max(pipeline:pipeline_log_buffer_utilization_ratio:max{MINE}) / {limit("log_buffer_ratio")}', OF_THRESHOLD, decimals=0,
                 none="none", empty="empty while no pipeline reports a buffer"),
            stat("Bulk errors", "Elasticsearch bulk requests of the pipelines that failed in 24 hours, of all." + WINDOW_NOTE,
                 "percentunit",
                 f'(sum({added(BULK, BULK_BAD, "1d")}) or vector(0)) / (sum({added(BULK, MINE, "1d")}) > 0)', SOME_MATTER, decimals=1,
                 none="none",
                 empty="empty while no pipeline writes to Elasticsearch"),
        ]),
        Row("Posted events", [
            series("Posts", "Requests with events, by status code.", "reqps",
                   Q(rate("kafka2prom_event_posts_total", HERE, "code"), "{{code}}"), empty=POSTED),
            series("Lines", "Events that came by HTTP: acknowledged by Kafka, or refused.", "ops",
                   Q(rate("kafka2prom_event_post_lines_total", HERE, "result"), "{{result}}"), empty=POSTED),
            series("Log events", "Log events of the pipelines, by level.", "ops",
                   Q(f"sum by (level) (rate(pipeline:pipeline_log_events:max{MINE}[$__rate_interval]))", "{{level}}"), stacked=True),
        ]),
        Row("Pushed groups", [
            series("Pushes", "Requests of the Pushgateway's clients, by what became of them.", "reqps",
                   Q(rate("kafka2prom_pushes_total", HERE, "result"), "{{result}}"), width=12, empty=PUSHED),
            series("Records of pushes", "Applied by the owners, by kind; those replayed after a handover count again.", "ops",
                   Q(rate("kafka2prom_pushes_applied_total", HERE, "kind"), "{{kind}}"), width=12, empty=PUSHED),
        ]),
        Row("Log store", [
            series("Kept", "Log entries kept, and those that came again and were there already.", "ops",
                   Q(rate("kafka2prom_logs_entries_written_total", HERE, "instance"), "{{instance}} kept"),
                   Q(rate("kafka2prom_logs_entries_duplicate_total", HERE, "instance"), "{{instance}} again"), empty=STORE),
            series("Not kept", "Log entries that the store refused, by reason.", "ops",
                   Q(rate("kafka2prom_logs_entries_refused_total", HERE, "instance, reason"), "{{instance}} {{reason}}"), empty=STORE),
            series("Masked", "Values that were masked or hashed, by rule.", "ops",
                   Q(rate("kafka2prom_logs_masked_total", HERE, "rule"), "{{rule}}"), empty=STORE),
            series("Size of the store", "As of its last maintenance.", "bytes", Q(of("kafka2prom_logs_bytes"), "{{instance}}"), width=6,
                   empty=STORE),
            series("Files", "A job's day is a file.", "none", Q(of("kafka2prom_logs_files"), "{{instance}}"), width=6, empty=STORE),
            series("Written and removed", "Bytes of lines kept, and bytes removed by retention.", "Bps",
                   Q(rate("kafka2prom_logs_bytes_written_total", HERE, "instance"), "{{instance}} written"),
                   Q(rate("kafka2prom_logs_removed_bytes_total", HERE, "instance, reason"), "{{instance}} removed: {{reason}}"), width=6,
                   empty=STORE),
            series("Compressed", "Files of closed days that were compressed, in an hour.", "none",
                   Q(f"sum by (instance) (increase(kafka2prom_logs_files_compressed_total{HERE}[1h]))", "{{instance}}"), width=6, empty=STORE),
            series("Waiting for the object store", "Entries that wait to be written, of the bytes that may; above it entries are refused (away).",
                   "percentunit", Q(share("kafka2prom_logs_buffer_bytes", "kafka2prom_logs_buffer_capacity_bytes"), "{{instance}}"), width=6,
                   empty="empty where logs are kept in a directory", top=1),
            series("Hot jobs", "Memory of the jobs that are read, of what they may take.", "percentunit",
                   Q(share("kafka2prom_logs_hot_bytes", "kafka2prom_logs_hot_capacity_bytes"), "{{instance}}"), width=6, empty=STORE, top=1),
            series("Reads", "Blocks served from memory, or from the store.", "ops",
                   Q(rate("kafka2prom_logs_hot_hits_total", HERE, "instance"), "{{instance}} memory"),
                   Q(rate("kafka2prom_logs_hot_misses_total", HERE, "instance"), "{{instance}} store"), width=6, empty=STORE),
            series("Time of a read", "95th percentile of a page, over an hour.", "s",
                   Q(quantile(0.95, f"rate(kafka2prom_logs_read_seconds_bucket{HERE}[1h])", "instance, le") + " >= 0", "{{instance}}"), width=6,
                   empty="empty while nobody reads logs"),
        ]),
        Row("The pipelines' log buffers", [
            series("Fill", "How full a pipeline's log buffer is, as it last reported; the dashed line is the alert's threshold.",
                   "percentunit", Q(f"pipeline:pipeline_log_buffer_utilization_ratio:max{MINE}", "{{pipeline_id}}"),
                   threshold("log_buffer_ratio"), empty="empty while no pipeline reports a buffer", top=1),
            series("Flushes", "Flushes of the buffers in an hour.", "none",
                   Q(f"sum by (pipeline_id) (increase(pipeline_log_buffer_flushes_total{MINE}[1h]))", "{{pipeline_id}}"),
                   empty="empty while no pipeline reports a buffer"),
            series("Dropped, 15 min", "Log events that a buffer dropped, by reason.", "none",
                   Q(f"sum by (pipeline_id, reason) (pipeline:pipeline_log_buffer_dropped:delta15m{MINE})", "{{pipeline_id}} {{reason}}"),
                   empty="empty while no pipeline reports a buffer"),
        ]),
    ],
)

TO = '{integration=~"$integration"}'
SENT, FAILED = "alertmanager_notifications_total", "alertmanager_notifications_failed_total"

DELIVERY = Dashboard(
    uid="k2p-delivery",
    title="Kafka2Prom / Alert delivery",
    description="Does anybody hear of the alerts? Needs Alertmanager's own metrics.",
    variables=[Variable("integration", "Integration", "Kinds of receivers that Alertmanager knows.",
                        f"label_values({SENT}, integration)")],
    rows=[
        Row("Is it all right?", [
            stat("Watchdog", "Fires as long as rules are evaluated and thresholds are there: the dead man's switch hears it.", "none",
                 'count(ALERTS{alertname="Watchdog",alertstate="firing"}) or vector(0)', steps(RED, (1, GREEN)), width=6,
                 mappings=value_map(_0=("silent", RED), _1=("firing", GREEN))),
            stat("Notifications that fail", "Of 5 minutes, as a part of what the alert allows; the worst integration.", "percentunit",
                 f'max((sum by (integration) (rate({FAILED}{TO}[5m])) / sum by (integration) (rate({SENT}{TO}[5m]))) >= 0) '
                 f'/ {limit("notification_error_ratio")} or vector(0)', OF_THRESHOLD, width=6, decimals=0),
            stat("Sent, 1 hour", "Notifications that Alertmanager tried to send in an hour.", "none", f"sum(increase({SENT}{TO}[1h]))",
                 width=6, decimals=0),
            stat("Failed, 1 hour", "Notifications that did not arrive at the first try.", "none", f"sum(increase({FAILED}{TO}[1h]))",
                 NONE_WANTED, width=6, decimals=0),
        ]),
        Row("To whom?", [
            series("Sent", "Notifications by integration.", "ops", Q(rate(SENT, TO, "integration"), "{{integration}}"), width=12),
            series("Failed", "Notifications that failed, by integration.", "ops", Q(rate(FAILED, TO, "integration"), "{{integration}}"),
                   width=12),
        ]),
        Row("What about?", [
            series("Firing by team", "Alerts of ours that fire, by team.", "none",
                   Q(f"count by (team, severity) (ALERTS{{{OURS}}})", "{{team}} ({{severity}})"), width=12, stacked=True,
                   empty="no alert fires on a good day"),
            series("Watchdog over time", "A gap is a time in which nobody would have been told.", "none",
                   Q('count(ALERTS{alertname="Watchdog",alertstate="firing"})', "Watchdog"), width=12),
        ]),
    ],
)
