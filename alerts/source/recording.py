"""Recording rules: `level:metric:operations`. Their windows are in their names."""
from model import Record as R
from thresholds import THRESHOLDS

WINDOWS = {"5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200, "7d": 604800}

# (long window, short window, burn rate, severity): the whole budget of 30 days is gone in
# 2, 5, 10 and 30 days. Both windows must burn: the long one for weight, the short one so
# that the alert ends soon after the trouble.
BURNS = [
    ("1h", "5m", 14.4, "critical"),
    ("6h", "30m", 6, "critical"),
    ("1d", "2h", 3, "warning"),
    ("3d", "6h", 1, "warning"),
]
BURN_WINDOWS = sorted({w for burn in BURNS for w in burn[:2]}, key=WINDOWS.get)


def of_pipelines(kind, metric):
    """A pipeline's metric, whichever bridge shows it: its counters go on from bridge to
    bridge, so a handover must neither hide an event nor invent one."""
    level, name = kind, metric.removesuffix("_total")
    return R(f"{level}:{name}:max", f"max without (instance, job) ({metric})")


def delta(level, metric, window, warm=True):
    """Events in a window, exact: no extrapolation. A series without a past in that window
    was born in it or has begun anew, if its pipeline was known before; then all of it counts
    (increase() would lose the first event). `warm`: where nothing is known of that time, as
    after Prometheus' own start, what was seen to be added counts."""
    base = f"{level}:{metric}:max"
    expr = (
        f"({base} - {base} offset {window} >= 0)\nor\n"
        f"({base} and on (pipeline_id) pipeline:seen:group offset {window})"
    )
    if warm:
        expr += f"\nor\n{base} - min_over_time({base}[{window}])"
    return R(f"{level}:{metric}:delta{window}", expr)


LAST = "pipeline:pipeline_last_run_timestamp_seconds:max"

PIPELINES = [
    R("pipeline:seen:group", 'group by (pipeline_id) ({__name__=~"pipeline_runs_active|pipeline_log_events_total"})'),
    of_pipelines("pipeline", "pipeline_last_run_timestamp_seconds"),
    of_pipelines("pipeline", "pipeline_runs_active"),
    of_pipelines("pipeline", "pipeline_oldest_active_run_start_timestamp_seconds"),
    of_pipelines("pipeline", "pipeline_sla_target_seconds"),
    of_pipelines("pipeline", "pipeline_sla_missed_total"),
    of_pipelines("pipeline", "pipeline_retries_exhausted_total"),
    of_pipelines("pipeline", "pipeline_runs_lost_total"),
    of_pipelines("pipeline", "pipeline_runs_total"),
    of_pipelines("pipeline", "pipeline_log_events_total"),
    of_pipelines("pipeline", "pipeline_es_bulk_requests_total"),
    of_pipelines("pipeline", "pipeline_log_buffer_dropped_total"),
    of_pipelines("pipeline", "pipeline_log_buffer_utilization_ratio"),
    of_pipelines("pipeline_step", "pipeline_rows_total"),
    of_pipelines("pipeline_step", "pipeline_step_duration_seconds_sum"),
    of_pipelines("pipeline_step", "pipeline_step_duration_seconds_count"),
    delta("pipeline", "pipeline_sla_missed", "1h"),
    delta("pipeline", "pipeline_retries_exhausted", "1h"),
    delta("pipeline", "pipeline_runs_lost", "1h"),
    delta("pipeline", "pipeline_log_buffer_dropped", "15m"),
    delta("pipeline_step", "pipeline_rows", "1d", warm=False),
    # The time of the last failure changes with each; the oldest one seen in the window
    # counts if it happened in it.
    R(
        "pipeline:pipeline_failures:count6h",
        f'changes({LAST}{{status="FAILED"}}[6h])\n'
        f"+ (min_over_time({LAST}[6h]) > bool (time() - 21600))",
    ),
    R("pipeline:pipeline_log_events:rate1h", "rate(pipeline:pipeline_log_events:max[1h])"),
    R(
        "pipeline:pipeline_errors:ratio_rate1h",
        'sum without (level) (pipeline:pipeline_log_events:rate1h{level=~"ERROR|FATAL"})\n'
        "/ sum without (level) (pipeline:pipeline_log_events:rate1h)",
    ),
]

# Long windows change slowly: evaluated every few minutes.
PIPELINES_SLOW = [
    R(
        "pipeline:pipeline_errors:ratio_rate1d",
        'sum without (level) (rate(pipeline:pipeline_log_events:max{level=~"ERROR|FATAL"}[1d]))\n'
        "/ sum without (level) (rate(pipeline:pipeline_log_events:max[1d]))",
    ),
    R(
        "pipeline:run_interval_seconds:delta7d",
        "604800 / (sum by (pipeline_id) (clamp_min(pipeline:pipeline_runs:max - pipeline:pipeline_runs:max offset 7d, 0)) >= 4)",
    ),
    R(
        "pipeline_step:pipeline_step_duration_seconds:mean1d",
        "rate(pipeline_step:pipeline_step_duration_seconds_sum:max[1d])\n"
        "/ rate(pipeline_step:pipeline_step_duration_seconds_count:max[1d])",
    ),
    R(
        "pipeline_step:pipeline_step_duration_seconds:mean7d",
        "rate(pipeline_step:pipeline_step_duration_seconds_sum:max[7d])\n"
        "/ rate(pipeline_step:pipeline_step_duration_seconds_count:max[7d])",
    ),
]


def run_budget(window):
    """Runs of a window, and the part of them that failed."""
    rate = f"rate(pipeline:pipeline_runs:max%s[{window}])"
    return [
        R(f"pipeline:pipeline_runs:rate{window}", f"sum without (status, trigger_type) ({rate % ''})"),
        R(
            f"pipeline:pipeline_run_failures:ratio_rate{window}",
            "sum without (status, trigger_type) (" + rate % '{status="FAILED"}' + f")\n/ pipeline:pipeline_runs:rate{window}",
        ),
    ]


def freshness(window):
    """The part of the dumps that took longer than 30 s to be shown. Prometheus 3 writes the
    bound as 30.0."""
    bucket = 'kafka2prom_exposure_age_seconds_bucket{le=~"30([.]0)?"}'
    count = "kafka2prom_exposure_age_seconds_count"
    return R(
        f"topic:kafka2prom_late_dumps:ratio_rate{window}",
        f"1 - sum without (instance, le) (rate({bucket}[{window}]))\n"
        f"/ sum without (instance) (rate({count}[{window}]))",
    )


BUDGETS = [rule for window in BURN_WINDOWS for rule in run_budget(window)]
FRESHNESS = [freshness(window) for window in BURN_WINDOWS]

PARTITIONS = [
    R("partition:kafka2prom_partition_lag_seconds:max", "max without (instance) (kafka2prom_partition_lag_seconds)"),
    R("partition:kafka2prom_partition_lag_records:max", "max without (instance) (kafka2prom_partition_lag_records)"),
]


def threshold_of_pipelines(threshold):
    """What pipeline_alert_threshold says about a pipeline, else the default."""
    return R(
        "pipeline:threshold:value",
        f'max by (pipeline_id) (pipeline_alert_threshold{{name="{threshold.name}"}})\n'
        f'or pipeline:seen:group * scalar(kafka2prom:threshold:value{{name="{threshold.name}"}})',
        (("name", threshold.name),),
    )


# Groups by name: how often they are evaluated, and their rules. Their order is the one in
# which the tests evaluate them; Prometheus evaluates groups side by side.
GROUPS = {
    "kafka2prom-pipelines-recording": ("1m", PIPELINES),
    "kafka2prom-pipelines-recording-slow": ("5m", PIPELINES_SLOW),
    "kafka2prom-run-budget": ("1m", BUDGETS),
    "kafka2prom-freshness": ("1m", FRESHNESS),
    "kafka2prom-partitions": ("1m", PARTITIONS),
    "kafka2prom-pipeline-thresholds": ("1m", [threshold_of_pipelines(t) for t in THRESHOLDS if t.per_pipeline]),
}
