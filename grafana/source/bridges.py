"""The bridges, and what waits in front of them."""
from fleet import UP
from model import (GREEN, NONE_WANTED, OF_MANY, OF_THRESHOLD, RED, SOME_MATTER, UP_DOWN, Column, Dashboard, Q, Row, Variable, limit, quantile,
                   rate, series, since, stat, table, threshold, timeline, value_map)

PART = '{topic=~"$topic",partition=~"$partition"}'
TOPICS = Variable("topic", "Topic", "Topics that the bridges read.", "label_values(kafka2prom_records_consumed_total, topic)")
SHOWN = 'max by (topic, partition) (kafka2prom_partition_state{topic=~"$topic",partition=~"$partition",state="live"})'
TOTAL = '{phase="total"}'
LIVE = value_map(_0=("dark", RED), _1=("live", GREEN))


def part(metric, by="topic, partition", how="max"):
    return f"{how} by ({by}) ({metric}{PART})"


BACKLOG = Dashboard(
    uid="k2p-backlog",
    title="Kafka2Prom / Backlog and partitions",
    description="Is what the scrapes show up to date, and does somebody show each partition?",
    variables=[
        TOPICS,
        Variable("partition", "Partition", "Partitions of these topics.",
                 'label_values(kafka2prom_partition_state{topic=~"$topic"}, partition)'),
    ],
    rows=[
        Row("Is it all right?", [
            stat("Lag, of threshold", "Age of the last record processed while others wait, as a part of what the alert allows; the worst "
                 "partition.", "percentunit", f'max(partition:kafka2prom_partition_lag_seconds:max{PART}) / {limit("lag_seconds")}',
                 OF_THRESHOLD, decimals=0),
            stat("Records waiting", "Between the positions and the ends of the logs.", "short",
                 f"sum(partition:kafka2prom_partition_lag_records:max{PART})"),
            stat("Unowned partitions", "Partitions that no bridge holds: what lies in them is on no scrape.", "none",
                 "max(kafka2prom_group_unowned_partitions and kafka2prom_group_map_complete == 1)", NONE_WANTED, none="unknown"),
            stat("Dark partitions", "Partitions that their owner does not show: it waits, catches up or lost its proof.", "none",
                 f"sum(1 - {SHOWN})", SOME_MATTER),
            stat("Replay stands still", "Replayed partitions that are blocked. The bridge's status page says what to do.", "none",
                 f"sum(kafka2prom_replay_blocked{PART}) or vector(0)", NONE_WANTED),
            stat("Dropped, 1 hour", "Records passed over by the policy drop_oldest. The other reasons lose nothing that a scrape "
                 "could still have seen.", "none",
                 'sum(increase(kafka2prom_records_dropped_total{topic=~"$topic",reason="drop_oldest"}[1h]))', NONE_WANTED,
                 decimals=0),
        ]),
        Row("Which one is behind?", [
            series("Lag in seconds", "Age of the last record processed while others wait, else 0; the dashed line is the alert's "
                   "threshold.", "s", Q(f"partition:kafka2prom_partition_lag_seconds:max{PART}", "{{topic}}/{{partition}}"),
                   threshold("lag_seconds"), width=12),
            series("Lag in records", "Records between the position and the end of the log.", "short",
                   Q(f"partition:kafka2prom_partition_lag_records:max{PART}", "{{topic}}/{{partition}}"), width=12),
            series("Growth of the backlog", "Records a second that come faster than they are processed, over a quarter of an hour; "
                   "below 0 it is being worked off.", "rps",
                   Q(f"max by (topic, partition) (deriv(kafka2prom_partition_lag_records{PART}[15m]))", "{{topic}}/{{partition}}"),
                   threshold("lag_growth_per_second"), width=8),
            series("Queue fill", "Bytes that wait in a partition's queue, of its bound: full, only that partition waits.",
                   "percentunit",
                   Q(f"max by (topic, partition) (kafka2prom_partition_queue_bytes{PART} / "
                     f"on (job, instance, topic, partition) kafka2prom_partition_queue_capacity_bytes{PART})",
                     "{{topic}}/{{partition}}"), width=8, top=1),
            series("Dropped", "Good records that were left out, by reason.", "rps",
                   Q(rate("kafka2prom_records_dropped_total", '{topic=~"$topic"}', "topic, reason"), "{{topic}} {{reason}}"), width=8),
        ]),
        Row("Who shows it?", [
            timeline("Shown", "Whether any bridge shows the partition.",
                     Q(SHOWN, "{{topic}}/{{partition}}"), LIVE),
            series("Partitions by state", "States of the ownership protocol.", "none",
                   Q(part("kafka2prom_partition_state", "state", "sum"), "{{state}}"), stacked=True, width=12),
            series("Lease left", "What is left of the lease that proves ownership: at 0 the partition is hidden.", "s",
                   Q(part("kafka2prom_lease_remaining_seconds"), "{{topic}}/{{partition}}"), width=8),
            series("Wait left", "What is left of the wait for an earlier owner's lease: until then it is dark.", "s",
                   Q(part("kafka2prom_wait_remaining_seconds"), "{{topic}}/{{partition}}"), width=8),
            series("Handovers, 1 hour", "Handovers of partitions in the hour before, by kind: planned ones are short, after a crash a "
                   "lease must run out.", "none",
                   Q(f"sum by (kind) ({since('kafka2prom_handover_seconds_count', TOTAL, '1h')})", "{{kind}}"), width=8),
        ]),
        Row("Replayed partitions (events)", [
            table("Snapshots", "How much a new owner would have to replay, and since when.", Column("Topic", label="topic"),
                  Column("Partition", label="partition"),
                  Column("Age", Q(f"time() - {part('kafka2prom_snapshot_timestamp_seconds')}"), unit="s"),
                  Column("Records behind", Q(part("kafka2prom_snapshot_behind_records")), unit="short"),
                  Column("Size", Q(part("kafka2prom_snapshot_bytes")), unit="bytes"), width=12, sort="Age"),
            series("Snapshots by result", "Written and read back (ok), or not.", "none",
                   Q("sum by (result) (increase(kafka2prom_snapshots_total[$__rate_interval]))", "{{result}}"), width=6, bars=True,
                   stacked=True),
            series("Standing still", "Blocked partitions, by reason.", "none",
                   Q(part("kafka2prom_replay_blocked", "topic, partition, reason") + " > 0", "{{topic}}/{{partition}} {{reason}}"),
                   width=6, empty="nothing stands still on a good day"),
            series("Events", "Events applied by kind; those replayed after a handover count again.", "ops",
                   Q(rate("kafka2prom_events_applied_total", '{topic=~"$topic"}', "kind"), "{{kind}}"), width=8),
            series("Events refused or reduced", "Refused events, and what was cut from others on their way into metrics and runs.", "ops",
                   Q(rate("kafka2prom_events_rejected_total", '{topic=~"$topic"}', "reason"), "refused: {{reason}}"),
                   Q(rate("kafka2prom_events_reduced_total", '{topic=~"$topic"}', "reason"), "reduced: {{reason}}"), width=8,
                   empty="empty until an event is refused or reduced"),
            series("Appended", "Records that owners append to what they judged (SLA, silence, templates).", "ops",
                   Q(rate("kafka2prom_appended_records_total", '{topic=~"$topic"}', "op, result"), "{{op}} {{result}}"), width=8),
        ]),
    ],
)

HERE = '{instance=~"$instance"}'


def of(metric, by="instance", how="max"):
    return f"{how} by ({by}) ({metric}{HERE})"


def share(used, capacity):
    return f"max by (instance) ({used}{HERE} / on (job, instance) {capacity}{HERE})"


def here(*more):
    return "{" + ",".join(('instance=~"$instance"', *more)) + "}"


BAD_COMMITS = here('result=~"failed|timeout"')
AGE = rate("kafka2prom_exposure_age_seconds_bucket", here('topic=~"$topic"'), "topic, le")

BRIDGE = Dashboard(
    uid="k2p-bridge",
    title="Kafka2Prom / Bridge operations",
    description="The bridges themselves: their group, what they read and refuse, their scrapes, their memory.",
    variables=[
        Variable("instance", "Bridge", "Bridges that Prometheus scrapes.", f"label_values({UP}, instance)"),
        TOPICS,
    ],
    rows=[
        Row("Is it all right?", [
            stat("Bridges down", "Of those chosen, that Prometheus cannot scrape.", "none",
                 'sum(1 - up{job="kafka2prom",instance=~"$instance"})', NONE_WANTED),
            stat("Without Kafka", "Connections to Kafka of bridges that reach no broker.", "none", f"sum(1 - kafka2prom_kafka_up{HERE})",
                 NONE_WANTED),
            stat("Commits that fail", "Of the offset commits of 5 minutes, as a part of what the alert allows; the worst bridge.",
                 "percentunit",
                 f"max((sum by (instance) (rate(kafka2prom_commits_total{BAD_COMMITS}[5m])) / sum by (instance) "
                 f"(rate(kafka2prom_commits_total{HERE}[5m]))) >= 0) / {limit('commit_error_ratio')}", OF_THRESHOLD, decimals=0),
            stat("Memory, of limit", "Resident memory, of memory_limit_bytes; the largest bridge.", "percentunit",
                 f'max(kafka2prom_process_resident_memory_bytes{HERE}) / {limit("memory_limit_bytes")}', decimals=0),
            stat("Slow scrapes", "99th percentile of the scrapes of 10 minutes, as a part of what the alert allows; the worst "
                 "bridge.", "percentunit",
                 "max(" + quantile(0.99, f"rate(kafka2prom_scrape_seconds_bucket{HERE}[10m])", "instance, le") + " >= 0) / "
                 + limit("scrape_seconds"), OF_THRESHOLD, decimals=0),
            stat("Went dark, 1 hour", "Partitions hidden because ownership was no longer proven.", "none",
                 f"sum(increase(kafka2prom_fences_total{HERE}[1h]))", NONE_WANTED, decimals=0),
        ]),
        Row("Group", [
            timeline("Bridge up", "When Prometheus could scrape which bridge.",
                     Q('max by (instance) (up{job="kafka2prom",instance=~"$instance"})', "{{instance}}"), UP_DOWN, width=8),
            series("Rebalances", "Assignments and revocations by bridge, and places in the group that were lost.", "none",
                   Q(f"sum by (instance) (increase(kafka2prom_rebalances_total{HERE}[$__rate_interval]))", "{{instance}}"),
                   Q(f"sum by (instance) (increase(kafka2prom_group_rejoins_total{HERE}[$__rate_interval]))", "{{instance}} rejoined"),
                   bars=True),
            series("Fences", "Partitions made invisible because ownership was no longer proven, by reason.", "none",
                   Q(f"sum by (instance, reason) (increase(kafka2prom_fences_total{HERE}[$__rate_interval]))", "{{instance}} {{reason}}"),
                   bars=True),
            series("Commits", "Offset commits by result: one that is acknowledged extends the lease.", "ops",
                   Q(rate("kafka2prom_commits_total", HERE, "result"), "{{result}}")),
            series("Handover time", "Median of an hour's handovers, by kind and phase.", "s",
                   Q(quantile(0.5, since("kafka2prom_handover_seconds_bucket", HERE, "1h"), "kind, phase, le"), "{{kind}} {{phase}}"),
                   empty="empty while nothing has moved for an hour", points=OF_MANY),
            series("Group as seen", "Partitions without an owner, as far as each bridge can tell.", "none",
                   Q(of("kafka2prom_group_unowned_partitions") + f" and on (instance) {of('kafka2prom_group_map_complete')} == 1",
                     "{{instance}}")),
        ]),
        Row("What it reads", [
            series("Exposure age", "From the moment a dump was taken to the moment a scrape could see it.", "s",
                   Q(f"histogram_quantile(0.5, {AGE})", "{{topic}} median"), Q(f"histogram_quantile(0.99, {AGE})", "{{topic}} 99 %")),
            series("Records", "Records read from Kafka.", "rps",
                   Q(rate("kafka2prom_records_consumed_total", here('topic=~"$topic"'), "instance, topic"), "{{instance}} {{topic}}")),
            series("Refused", "Records refused whole, by reason: the origin keeps its last good dump until that is stale.", "rps",
                   Q(rate("kafka2prom_records_rejected_total", here('topic=~"$topic"'), "topic, reason"), "{{topic}} {{reason}}")),
            series("Lines refused", "Lines of accepted dumps that were no valid sample.", "ops",
                   Q(rate("kafka2prom_samples_rejected_total", here('topic=~"$topic"'), "topic, reason"), "{{topic}} {{reason}}")),
            series("Left out", "Good records that were left out: superseded, older, or by the policy.", "rps",
                   Q(rate("kafka2prom_records_dropped_total", here('topic=~"$topic"'), "topic, reason"), "{{topic}} {{reason}}")),
            series("Dead letters", "Refused records copied to the dead-letter topic, or not.", "rps",
                   Q(rate("kafka2prom_dead_letters_total", here('topic=~"$topic"'), "result"), "{{result}}")),
        ]),
        Row("Scrapes", [
            series("Scrape time", "99th percentile from a scrape's arrival to its last byte; the dashed line is the alert's threshold.",
                   "s", Q(quantile(0.99, f"rate(kafka2prom_scrape_seconds_bucket{HERE}[10m])", "instance, route, le") + " >= 0",
                          "{{instance}} {{route}}"), threshold("scrape_seconds")),
            series("Scrapes", "Scrapes answered, by route and status code.", "reqps",
                   Q(rate("kafka2prom_scrapes_total", HERE, "route, code"), "{{route}} {{code}}")),
            series("Aborted", "Scrapes whose client went away before the end.", "reqps",
                   Q(rate("kafka2prom_scrapes_aborted_total", HERE, "instance, route"), "{{instance}} {{route}}")),
            series("Scrapes at once", "Scrapes being answered, of those that may be: more get 503.", "percentunit",
                   Q(share("kafka2prom_scrapes_in_flight", "kafka2prom_scrapes_capacity"), "{{instance}}"), top=1),
            series("Connections", "Open connections, of those that are served.", "percentunit",
                   Q(share("kafka2prom_http_connections", "kafka2prom_http_connections_capacity"), "{{instance}}"), top=1),
            series("Connections lost", "Refused because there were too many, or not ended well.", "ops",
                   Q(rate("kafka2prom_http_connections_refused_total", HERE, "instance"), "{{instance}} refused"),
                   Q(rate("kafka2prom_http_connections_failed_total", HERE, "instance, reason"), "{{instance}} {{reason}}"),
                   empty="by reason it is empty until a connection ends badly"),
        ]),
        Row("Memory and machine", [
            series("Memory", "Resident memory, and what the dumps take of it by estimate.", "bytes",
                   Q(of("kafka2prom_process_resident_memory_bytes"), "{{instance}}"),
                   Q(of("kafka2prom_cache_bytes", how="sum"), "{{instance}} dumps"), width=6),
            series("Dumps, of limit", "What topics with a limit (limits.cache_bytes) take of it; at 1 new origins are refused.",
                   "percentunit",
                   Q("sum by (instance, topic) (kafka2prom_partition_cache_bytes" + here('topic=~"$topic"') + ") / "
                     "max by (instance, topic) (kafka2prom_cache_limit_bytes" + here('topic=~"$topic"') + ")",
                     "{{instance}} {{topic}}"), width=6, top=1, empty="empty while no topic has a limit of memory"),
            series("Processor", "Processor time used, in cores.", "none", Q(rate("kafka2prom_process_cpu_seconds_total", HERE, "instance"),
                   "{{instance}}"), width=4),
            series("Open files", "Open file descriptors, of those allowed.", "percentunit",
                   Q(share("kafka2prom_process_open_fds", "kafka2prom_process_max_fds"), "{{instance}}"), width=4, top=1),
            series("Time since start", "Of each bridge: back to 0 is a restart.", "s",
                   Q(f"time() - {of('kafka2prom_process_start_time_seconds')}", "{{instance}}"), width=4),
        ]),
        Row("Around it", [
            series("Kafka client", "Errors that librdkafka reported outside of requests, and log lines of it that were too many.", "ops",
                   Q(rate("kafka2prom_kafka_client_errors_total", HERE, "instance, client, reason"), "{{instance}} {{client}} {{reason}}"),
                   Q(rate("kafka2prom_kafka_log_lines_suppressed_total", HERE, "instance, client"), "{{instance}} {{client}} suppressed"),
                   width=6, empty="by reason it is empty until librdkafka reports an error"),
            series("Peers", "Requests to other bridges, by result.", "reqps",
                   Q(rate("kafka2prom_peer_requests_total", HERE, "result"), "{{result}}"), width=6),
            series("Own telemetry", "Spans and log records that wait for the OTLP endpoint, of those that may, and what was dropped.",
                   "percentunit",
                   Q(f"max by (instance, signal) (kafka2prom_telemetry_queue_items{HERE} / on (job, instance, signal) "
                     f"kafka2prom_telemetry_queue_capacity_items{HERE})", "{{instance}} {{signal}}"), width=6, top=1,
                   empty="empty without --otel.endpoint"),
            series("Telemetry dropped", "Own spans, log records and metric points that did not reach the OTLP endpoint.", "ops",
                   Q(rate("kafka2prom_telemetry_dropped_total", HERE, "instance, signal, reason"), "{{instance}} {{signal}} {{reason}}"),
                   width=6, empty="empty without --otel.endpoint"),
            series("Conflicts", "Families that two origins describe differently, by what differs.", "none",
                   Q(of("kafka2prom_family_conflicts", "instance, kind"), "{{instance}} {{kind}}"), width=12),
            series("Catalogues", "What is known of a partition's origins, in the state topic: written, or why it was not, or could not "
                   "be read.", "none",
                   Q(f"sum by (result) (increase(kafka2prom_catalogues_total{HERE}[$__rate_interval]))", "{{result}}"), width=12,
                   bars=True),
        ]),
    ],
)
