"""Pipelines: all of them, and one."""
from fleet import FAILED_NOW, LAST
from model import (BLUE, GREEN, NONE_WANTED, OF_MANY, RED, SOME_MATTER, YELLOW, Column, Dashboard, Q, Row, Variable, added, added_by, bars, latest,
                   quantile, series, stat, steps, table, threshold, value_map)

RUNS = "pipeline:pipeline_runs:max"
MINE = '{pipeline_id=~"$pipeline_id"}'
DURATION = "pipeline_run_duration_seconds"


def mine(**labels):
    """The selector of the chosen pipelines, with more labels; a value may be a regular expression."""
    more = "".join(f',{k}{"=~" if any(c in v for c in "|.*+$") else "="}"{v}"' for k, v in labels.items())
    return f'{{pipeline_id=~"$pipeline_id"{more}}}'


def ended(window, by="", **labels):
    gained_in = added(RUNS, mine(**labels), window)
    return f"sum by (pipeline_id) ({gained_in})" if by else f"sum({gained_in})"


def success(window, by=""):
    return f'{ended(window, by, status="SUCCEEDED")} / ({ended(window, by)} > 0)'


def mean_runtime(window, by=""):
    by = " by (pipeline_id)" if by else ""
    return f'sum{by} ({added(DURATION + "_sum", MINE, window)}) / (sum{by} ({added(DURATION + "_count", MINE, window)}) > 0)'


def runtime(q, window):
    return f'histogram_quantile({q}, {added_by("pipeline_id, le", DURATION + "_bucket", MINE, window)})'


def gained(metric, by, **labels):
    """Events of a counter over time, in bars as wide as the step."""
    return f"sum by ({by}) (increase({metric}{mine(**labels)}[$__rate_interval]))"


PIPELINE = Variable("pipeline_id", "Pipeline", "Pipelines that any bridge knows.", "label_values(pipeline:seen:group, pipeline_id)")
GOOD_RATE = steps(RED, (0.9, YELLOW), (0.99, GREEN))
WINDOW_NOTE = " A counter that was not there at the window's beginning counts with all it has."

OVERVIEW = Dashboard(
    uid="k2p-pipelines",
    title="Kafka2Prom / Pipeline overview",
    description="Do the pipelines succeed, in time? Success rates need Prometheus to keep as many days as they look back.",
    variables=[PIPELINE],
    span="24h",
    rows=[
        Row("Is it all right?", [
            stat("Failing now", "Pipelines whose last run failed, without a success since.", "none",
                 f'count(({FAILED_NOW}) and on (pipeline_id) pipeline:seen:group{MINE}) or vector(0)', NONE_WANTED),
            stat("Success, 24 h", "Runs that ended with SUCCEEDED among those that ended in 24 hours." + WINDOW_NOTE, "percentunit",
                 success("1d"), GOOD_RATE, decimals=1, none="no runs"),
            stat("Success, 7 days", "The same over 7 days." + WINDOW_NOTE, "percentunit", success("7d"), GOOD_RATE, decimals=1,
                 none="no runs"),
            stat("Success, 30 days", "The same over 30 days." + WINDOW_NOTE, "percentunit", success("30d"), GOOD_RATE, decimals=2,
                 none="no runs"),
            stat("SLA missed, 24 h", "Runs that missed their SLA in 24 hours, while running or at their end." + WINDOW_NOTE, "none",
                 f'sum({added("pipeline:pipeline_sla_missed:max", MINE, "1d")}) or vector(0)', NONE_WANTED),
            stat("Runs lost, 24 h", "Runs that fell silent without an end." + WINDOW_NOTE, "none",
                 f'sum({added("pipeline:pipeline_runs_lost:max", MINE, "1d")}) or vector(0)', SOME_MATTER),
        ]),
        Row("How is it going?", [
            stat("Active runs", "Runs that began and did not end.", "none", f"sum(pipeline:pipeline_runs_active:max{MINE})"),
            stat("Runs, 24 h", "Attempts that ended in 24 hours." + WINDOW_NOTE, "none", ended("1d")),
            stat("Average run, 24 h", "Mean time from an attempt's start to its end, over those that ended in 24 hours.", "s",
                 mean_runtime("1d")),
            stat("Average run, 7 d", "The same over 7 days.", "s", mean_runtime("7d")),
            stat("Average run, 30 d", "The same over 30 days.", "s", mean_runtime("30d")),
            stat("Retries, 24 h", "Attempts that repeated a failed one." + WINDOW_NOTE, "none",
                 f'sum({added("pipeline_retries_total", MINE, "1d")}) or vector(0)'),
        ]),
        Row("Which one?", [
            table("Pipelines", "Every pipeline with its runs. A click leads to its drill-down.",
                  Column("Pipeline", label="pipeline_id",
                         link=("Drill down", "/d/k2p-run?var-pipeline_id=${__value.text:percentencode}")),
                  Column("Last success", Q(f'max by (pipeline_id) ({LAST}{mine(status="SUCCEEDED")}) * 1000'), unit="dateTimeFromNow"),
                  Column("Last failure", Q(f'max by (pipeline_id) ({LAST}{mine(status="FAILED")}) * 1000'), unit="dateTimeFromNow"),
                  Column("Active", Q(f"max by (pipeline_id) (pipeline:pipeline_runs_active:max{MINE})"), unit="none"),
                  Column("Success 24 h", Q(success("1d", "pipeline")), unit="percentunit", thresholds=GOOD_RATE, decimals=1),
                  Column("Success 7 d", Q(success("7d", "pipeline")), unit="percentunit", thresholds=GOOD_RATE, decimals=1),
                  Column("Success 30 d", Q(success("30d", "pipeline")), unit="percentunit", thresholds=GOOD_RATE, decimals=1),
                  Column("Runs 24 h", Q(ended("1d", "pipeline")), unit="none"),
                  Column("Failed 24 h", Q(ended("1d", "pipeline", status="FAILED")), unit="none", thresholds=NONE_WANTED),
                  Column("Average run", Q(mean_runtime("1d", "pipeline")), unit="s"),
                  Column("Usual interval", Q(f"max by (pipeline_id) (pipeline:run_interval_seconds:delta7d{MINE})"), unit="s"),
                  height=10, sort="Failed 24 h"),
        ]),
        Row("Failures", [
            bars("Failures, 24 h", "Attempts that failed in 24 hours, by pipeline; the ten worst." + WINDOW_NOTE, "none",
                 Q(f'topk(10, {ended("1d", "pipeline", status="FAILED")} > 0)', "{{pipeline_id}}"), thresholds=steps(RED),
                 empty="no run has failed on a good day"),
            series("Runs that ended", "Attempts that ended, by how they ended.", "none", Q(gained(RUNS, "status"), "{{status}}"),
                   stacked=True, bars=True, points=OF_MANY),
            series("Failures over time", "Attempts that failed, by pipeline.", "none",
                   Q(gained(RUNS, "pipeline_id", status="FAILED"), "{{pipeline_id}}"), stacked=True, bars=True, points=OF_MANY),
            bars("Errors, 24 h", "Log events of level ERROR by component and type of error; the ten most frequent." + WINDOW_NOTE,
                 "none", Q(f'topk(10, sum by (component, error_type) ({added("pipeline_errors_total", MINE, "1d")}) > 0)',
                           "{{component}} {{error_type}}"), width=12, thresholds=steps(YELLOW),
                 empty="nothing has logged an error on a good day"),
            series("Errors among log events", "The part of the log events of the last hour that are errors, where the dashed line "
                   "is the alert's threshold.", "percentunit",
                   Q(f"max by (pipeline_id) (pipeline:pipeline_errors:ratio_rate1h{MINE} >= 0)", "{{pipeline_id}}"),
                   threshold("error_ratio"), width=12, empty="the ratio is of an hour in which a pipeline logged"),
        ]),
        Row("Time", [
            series("Running now", "How long the oldest active run of each pipeline has been running.", "s",
                   Q(f"time() - max by (pipeline_id) (pipeline:pipeline_oldest_active_run_start_timestamp_seconds:max{MINE})",
                     "{{pipeline_id}}"), empty="empty while nothing runs"),
            # Not over time: of all pipelines that would read a day of every bucket. Of one it is on the drill-down.
            bars("Median run, 24 h", "Median time of the runs that ended in 24 hours, by pipeline; the ten slowest.", "s",
                 Q(f'topk(10, {runtime(0.5, "1d")} >= 0)', "{{pipeline_id}}"), empty="empty while no run ended in 24 hours"),
            bars("Slow runs, 24 h", "95th percentile of the same.", "s",
                 Q(f'topk(10, {runtime(0.95, "1d")} >= 0)', "{{pipeline_id}}"), empty="empty while no run ended in 24 hours"),
            series("SLA missed", "Runs that missed their SLA, in the moment they did.", "none",
                   Q(gained("pipeline:pipeline_sla_missed:max", "pipeline_id"), "{{pipeline_id}}"), width=8, stacked=True, bars=True),
            series("Part of the SLA used up", "The oldest active run's time against the pipeline's SLA target: over 1 it is missed.",
                   "percentunit",
                   Q(f"(time() - max by (pipeline_id) (pipeline:pipeline_oldest_active_run_start_timestamp_seconds:max{MINE})) "
                     f"/ on (pipeline_id) max by (pipeline_id) (pipeline:pipeline_sla_target_seconds:max{MINE})", "{{pipeline_id}}"),
                   threshold("sla_risk_ratio", "at risk"), empty="empty while no run with an SLA is active"),
            series("Retries and lost runs", "Attempts that repeated a failed one, runs whose last attempt failed, and runs that fell "
                   "silent.", "none",
                   Q(f"sum(increase(pipeline_retries_total{MINE}[$__rate_interval]))", "retried"),
                   Q(f"sum(increase(pipeline:pipeline_retries_exhausted:max{MINE}[$__rate_interval]))", "exhausted"),
                   Q(f"sum(increase(pipeline:pipeline_runs_lost:max{MINE}[$__rate_interval]))", "lost"), bars=True),
        ]),
        Row("What they process", [
            series("Rows", "Rows read and written.", "rowsps",
                   Q(f"sum by (direction) (rate(pipeline_step:pipeline_rows:max{MINE}[$__rate_interval]))", "{{direction}}"), points=OF_MANY),
            bars("Rows by owner, 24 h", "Rows read and written, by the owner of the dataset." + WINDOW_NOTE, "short",
                 Q(f'topk(10, sum by (owner, direction) ({added("pipeline_owner_rows_total", MINE, "1d")}) > 0)',
                   "{{owner}} {{direction}}"), empty="empty where no log event names an owner (tags.owner)"),
            bars("Datasets by class, 24 h", "Datasets read and written, by the first part of their names." + WINDOW_NOTE, "short",
                 Q(f'topk(10, sum by (dataset_class, operation) ({added("pipeline_lineage_class_total", MINE, "1d")}) > 0)',
                   "{{dataset_class}} {{operation}}"), empty="empty where no pipeline sends lineage"),
        ]),
    ],
)

ONE = '{pipeline_id="$pipeline_id"}'
FAILED = '{pipeline_id="$pipeline_id",status="FAILED"}'
STEPS = '{pipeline_id="$pipeline_id",step=~"$step"}'


def one(status):
    return f'{LAST}{{pipeline_id="$pipeline_id",status="{status}"}}'


# 2 running, 1 the last run succeeded, 0 it failed.
STATE = (
    f'2 * (max(pipeline:pipeline_runs_active:max{ONE}) > bool 0) > 0'
    f' or max({one("SUCCEEDED")}) >= bool (max({one("FAILED")}) or vector(0)) or 0 * max({one("FAILED")})'
)
STATES = value_map(_0=("failed", RED), _1=("succeeded", GREEN), _2=("running", BLUE))

RUN = Dashboard(
    uid="k2p-run",
    title="Kafka2Prom / Run drill-down",
    description="One pipeline: its steps, rows and errors. Single runs are on the bridge's page of runs, which the first row "
                "links to: a run's id is no label.",
    variables=[
        Variable("pipeline_id", "Pipeline", "The pipeline to look at.", "label_values(pipeline:seen:group, pipeline_id)", all=False),
        Variable("step", "Step", "Steps of this pipeline.",
                 'label_values(pipeline_step:pipeline_step_duration_seconds_count:max{pipeline_id="$pipeline_id"}, step)'),
        Variable("bridge", "Bridge", "Where the bridges' page of runs is: of kafka2prom:links:info.",
                 "label_values(kafka2prom:links:info, bridge)", all=False, hidden=True),
    ],
    span="24h",
    rows=[
        Row("Is it all right?", [
            stat("State", "Of its last run; running while any is active. A click leads to its runs.", "none", STATE,
                 mappings=STATES, thresholds=steps(RED, (1, GREEN), (2, BLUE)),
                 link=("Its runs, on the bridge", "${bridge}/runs?pipeline_id=${pipeline_id:percentencode}")),
            stat("Running for", "How long the oldest active run has been running.", "s",
                 f"time() - max(pipeline:pipeline_oldest_active_run_start_timestamp_seconds:max{ONE})", none="not running",
                 empty="empty while nothing runs"),
            stat("SLA target", "The time that a run may take.", "s", f"max(pipeline:pipeline_sla_target_seconds:max{ONE})",
                 none="none", empty="empty for a pipeline without an SLA"),
            stat("Last success", "When a run last ended with SUCCEEDED.", "dateTimeFromNow", f'max({one("SUCCEEDED")}) * 1000',
                 none="never"),
            stat("Failed, 24 h", "Attempts that failed in 24 hours." + WINDOW_NOTE, "none",
                 f'sum({added(RUNS, FAILED, "1d")}) or vector(0)', NONE_WANTED),
            stat("Errors, 24 h", "Log events of level ERROR in 24 hours." + WINDOW_NOTE, "none",
                 f'sum({added("pipeline_errors_total", ONE, "1d")}) or vector(0)', SOME_MATTER),
        ]),
        Row("Runs", [
            series("Runs that ended", "Attempts of this pipeline, by how they ended.", "none",
                   Q(f"sum by (status, trigger_type) (increase({RUNS}{ONE}[$__rate_interval]))", "{{status}} ({{trigger_type}})"),
                   stacked=True, bars=True),
            series("Time of a run", "Mean, median and 95th percentile of the runs that ended in the 24 hours before; the dashed line "
                   "is the SLA.", "s",
                   Q(f'sum({added(DURATION + "_sum", ONE, "1d")}) / (sum({added(DURATION + "_count", ONE, "1d")}) > 0)', "mean"),
                   Q(quantile(0.5, added(DURATION + "_bucket", ONE, "1d")), "median"),
                   Q(quantile(0.95, added(DURATION + "_bucket", ONE, "1d")), "95 %"),
                   Q(f"max(pipeline:pipeline_sla_target_seconds:max{ONE})", "SLA", limit=True)),
            series("Active, retried, lost", "Runs active; attempts retried, retries exhausted and runs lost in 24 hours.", "none",
                   Q(f"max(pipeline:pipeline_runs_active:max{ONE})", "active"),
                   Q(f'sum({added("pipeline_retries_total", ONE, "1d")})', "retried"),
                   Q(f'sum({added("pipeline:pipeline_retries_exhausted:max", ONE, "1d")})', "exhausted"),
                   Q(f'sum({added("pipeline:pipeline_runs_lost:max", ONE, "1d")})', "lost")),
        ]),
        Row("Steps", [
            table("Steps", "Each step's mean time of the last day against the week before, and its rows of the last day.",
                  Column("Step", label="step"),
                  Column("Mean, 1 day", Q(f"max by (step) (pipeline_step:pipeline_step_duration_seconds:mean1d{STEPS})"), unit="s"),
                  Column("Mean, 7 days", Q(f"max by (step) (pipeline_step:pipeline_step_duration_seconds:mean7d{STEPS})"), unit="s"),
                  Column("Times run, 1 day", Q(f'sum by (step) ({added("pipeline_step:pipeline_step_duration_seconds_count:max", STEPS, "1d")})'),
                         unit="none"), width=12, sort="Mean, 1 day"),
            series("Time by step", "95th percentile of the day before, by step.", "s",
                   Q(quantile(0.95, added("pipeline_step_duration_seconds_bucket", STEPS, "1d"), "step, le"), "{{step}}"), width=12),
            series("Rows by step", "Rows read and written.", "rowsps",
                   Q(f"sum by (step, direction) (rate(pipeline_step:pipeline_rows:max{STEPS}[$__rate_interval]))",
                     "{{step}} {{direction}}"), width=12),
            bars("Rows by step, 24 h", "Rows of 24 hours." + WINDOW_NOTE, "short",
                 Q(f'sum by (step, direction) ({added("pipeline_step:pipeline_rows:max", STEPS, "1d")})', "{{step}} {{direction}}"),
                 width=12),
        ]),
        Row("Errors", [
            table("Problems, 24 h", "Log events of level WARN and above, by component and type of error." + WINDOW_NOTE,
                  Column("Level", label="level"), Column("Component", label="component"), Column("Error", label="error_type"),
                  Column("Events", Q(f'sum by (level, component, error_type) ({added("pipeline_problem_events_total", ONE, "1d")})'),
                         unit="none"), width=12, sort="Events", empty="nothing has logged a problem on a good day"),
            series("Log events", "Log events of this pipeline, by level.", "none",
                   Q(f"sum by (level) (increase(pipeline:pipeline_log_events:max{ONE}[$__rate_interval]))", "{{level}}"),
                   width=12, stacked=True, bars=True),
        ]),
        Row("What it reports of itself", [
            series("Elasticsearch", "Bulk requests by result.", "reqps",
                   Q(f"sum by (result) (rate(pipeline:pipeline_es_bulk_requests:max{ONE}[$__rate_interval]))", "{{result}}"), width=6,
                   empty="empty for a pipeline that does not write to Elasticsearch"),
            series("Elasticsearch time", "95th percentile of a bulk request, of the day before.", "s",
                   Q(quantile(0.95, added("pipeline_es_bulk_duration_seconds_bucket", ONE, "1d")), "95 %"), width=6,
                   empty="empty for a pipeline that does not write to Elasticsearch"),
            series("Its own consumer's lag", "Records that the pipeline's consumer is behind, as it last reported.", "short",
                   Q(latest("pipeline_consumer_lag_records", ONE), "records"), width=6,
                   empty="empty for a pipeline that reports no lag"),
            series("Datasets", "Datasets read and written in 24 hours.", "none",
                   Q(f'sum by (operation) ({added("pipeline_lineage_total", ONE, "1d")})', "{{operation}}"), width=6,
                   empty="empty where no pipeline sends lineage"),
        ]),
    ],
)
