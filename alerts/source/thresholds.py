"""Every threshold, with its default and why. Windows are in the recording rules' names."""
from model import Threshold as T

THRESHOLDS = [
    # pipelines
    T("repeated_failures", 3, "runs", "failed runs within 6 hours that page", True),
    T("sla_risk_ratio", 0.8, "ratio", "part of its SLA that a run may use up before it is at risk", True),
    T("overdue_ratio", 2, "ratio", "times its usual interval that a pipeline may go without a run", True),
    T("not_succeeded_seconds", 93600, "seconds", "longest time without a success (26 h: a daily run and 2 h)", True),
    T("error_ratio", 0.05, "ratio", "errors among the log events of an hour", True),
    T("error_spike_factor", 3, "ratio", "errors of the last hour against those of the day before"),
    T("error_min_events", 100, "events", "log events of an hour below which their errors say nothing"),
    T("run_objective", 0.99, "ratio", "part of the runs that must succeed", True),
    T("run_budget_min_runs", 10, "runs", "runs in the long window below which the budget says nothing"),
    T("step_slow_factor", 2, "ratio", "mean duration of a step, last day against the week before", True),
    T("step_slow_min_seconds", 60, "seconds", "mean duration below which a step is never slow"),
    T("es_error_ratio", 0.05, "ratio", "Elasticsearch bulk requests that fail"),
    T("es_min_requests_per_second", 0.01, "requests/s", "bulk requests below which their errors say nothing"),
    T("log_buffer_ratio", 0.9, "ratio", "fill of a log buffer"),
    # backlog
    T("lag_seconds", 120, "seconds", "age of the last record processed while others wait"),
    T("lag_growth_per_second", 1, "records/s", "growth of a partition's backlog"),
    T("lag_growth_min_records", 1000, "records", "backlog below which growth is no matter"),
    T("stalled_slope", 0.9, "s/s", "growth of the lag at which nothing is processed at all (1 is standstill)"),
    # bridge
    T("rebalances_per_window", 20, "rebalances", "of one bridge in 10 minutes"),
    T("release_seconds", 2, "seconds", "99th percentile of giving a partition away (design G4)"),
    T("commit_error_ratio", 0.1, "ratio", "offset commits that fail"),
    T("parse_error_ratio", 0.01, "ratio", "records refused because they cannot be read"),
    T("memory_limit_bytes", 4 * 1024**3, "bytes", "memory that a bridge may use: set it to the container's limit"),
    T("memory_ratio", 0.9, "ratio", "of memory_limit_bytes"),
    T("scrape_seconds", 5, "seconds", "99th percentile of a scrape (Prometheus gives up after 10 s)"),
    T("freshness_objective", 0.99, "ratio", "part of the dumps that a scrape can see within 30 s"),
    T("older_dumps", 10, "dumps", "older than the one shown, in 15 minutes"),
    T("snapshot_seconds", 1800, "seconds", "age of a partition's newest snapshot"),
    # origins
    T("clock_ahead_seconds", 30, "seconds", "an origin's dumps come from the future"),
    T("clock_behind_seconds", 900, "seconds", "a living origin's dumps come from the past"),
    T("fleet_stale_ratio", 0.5, "ratio", "stale origins of one cluster"),
    T("fleet_stale_min", 5, "origins", "stale origins below which they are reported one by one"),
    # delivery
    T("notification_error_ratio", 0.01, "ratio", "notifications that fail, by integration"),
]

# Where alerts lead to: one place, to be changed to yours.
LINKS = {
    "grafana": "https://grafana.example.com",
    "runbooks": "https://runbooks.example.com/kafka2prom",
    "bridge": "https://kafka2prom.example.com",
}
