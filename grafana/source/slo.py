"""Objectives and what is left of their budgets."""
from model import (NONE_WANTED, OF_A_MONTH, OF_WINDOWS, SOME_MATTER, GREEN, RED, YELLOW, Column, Dashboard, Q, Row, Variable, added, added_by, limit, series, stat,
                   steps, table, threshold)
from pipelines import MINE, PIPELINE, RUNS, WINDOW_NOTE, mine, success

OBJECTIVE = 'max by (pipeline_id) (pipeline:threshold:value{pipeline_id=~"$pipeline_id",name="run_objective"})'
FRESH = f'(1 - {limit("freshness_objective")})'
TOPIC = '{topic=~"$topic"}'
# Of a budget: what is left, and times as fast as it may go.
LEFT = steps(RED, (0, YELLOW), (0.25, GREEN))
BURN = steps(GREEN, (1, YELLOW), (3, RED))
FAILED = added_by("pipeline_id", RUNS, mine(status="FAILED"), "30d")
ENDED = f'({added_by("pipeline_id", RUNS, MINE, "30d")} > 0)'
REMAINING = f"1 - ({FAILED} / {ENDED}) / on (pipeline_id) (1 - {OBJECTIVE})"


def burn(window):
    ratio = f"max by (pipeline_id) (pipeline:pipeline_run_failures:ratio_rate{window}{MINE} >= 0)"
    return f"{ratio} / on (pipeline_id) (1 - {OBJECTIVE})"


def late(window):
    return f"max by (topic) (topic:kafka2prom_late_dumps:ratio_rate{window}{TOPIC} >= 0)"


BURNS = ("1h", "6h", "1d", "3d")
IDLE = "empty while no run ended in the window"

SLO = Dashboard(
    uid="k2p-slo",
    title="Kafka2Prom / SLO and error budget",
    description="How much of the objectives is used up, and how fast. The objectives are thresholds of the alerts: "
                "run_objective (per pipeline) and freshness_objective.",
    variables=[
        PIPELINE,
        Variable("topic", "Topic", "Topics that the bridges read.", "label_values(kafka2prom_records_consumed_total, topic)"),
    ],
    span="7d",
    rows=[
        Row("Is it all right?", [
            stat("Smallest budget", "What is left of the 30 days' error budget, of the pipeline with the least. Below 0 the objective "
                 "is missed." + WINDOW_NOTE, "percentunit", f"min({REMAINING})", LEFT, decimals=0, none="no runs"),
            stat("Runs burn, 1 day", "How many times as fast as it may the run budget goes, over a day: at 1 it is gone in 30 days. "
                 "The worst pipeline.", "none", f"max({burn('1d')})", BURN, decimals=1, none="no runs", empty=IDLE),
            stat("Success, 30 days", "Runs that ended with SUCCEEDED in 30 days." + WINDOW_NOTE, "percentunit", success("30d"),
                 decimals=2, none="no runs"),
            stat("SLA missed, 7 d", "Runs that missed their SLA in 7 days." + WINDOW_NOTE, "none",
                 f'sum({added("pipeline:pipeline_sla_missed:max", MINE, "7d")}) or vector(0)', NONE_WANTED),
            stat("Late dumps, 1 day", "Dumps of the day that took longer than 30 s to be shown; the worst topic.", "percentunit",
                 f"max({late('1d')})", SOME_MATTER, decimals=2),
            stat("Freshness burn", "How many times as fast as it may the freshness budget goes, over a day; the worst topic.", "none",
                 f"max({late('1d')}) / {FRESH}", BURN, decimals=1),
        ]),
        Row("Runs", [
            table("Error budgets", "Of each pipeline: its objective, what it reached in 30 days, what is left, and how fast it burns.",
                  Column("Pipeline", label="pipeline_id",
                         link=("Drill down", "/d/k2p-run?var-pipeline_id=${__value.text:percentencode}")),
                  Column("Objective", Q(OBJECTIVE), unit="percentunit", decimals=2),
                  Column("Runs, 30 d", Q(ENDED), unit="none"),
                  Column("Failed, 30 d", Q(FAILED), unit="none"),
                  Column("Success, 30 d", Q(success("30d", "pipeline")), unit="percentunit", decimals=2),
                  Column("Budget left", Q(REMAINING), unit="percentunit", decimals=0, thresholds=LEFT),
                  Column("Burn, 1 day", Q(burn("1d")), unit="none", decimals=1, thresholds=BURN),
                  Column("SLA missed, 30 d", Q(f'sum by (pipeline_id) ({added("pipeline:pipeline_sla_missed:max", MINE, "30d")})'),
                         unit="none", thresholds=NONE_WANTED), sort="Budget left", descending=False),
            series("Budget left", "Of 30 days, by pipeline.", "percentunit", Q(REMAINING, "{{pipeline_id}}"), width=12, points=OF_A_MONTH),
            series("Burn rate, 1 day", "Over a day: at 1 the budget of 30 days is gone in 30 days. The alert has four windows.", "none",
                   Q(burn("1d"), "{{pipeline_id}}"), width=12, empty=IDLE),
            *[series(f"Failed runs, {window}", f"The part of the runs that failed, over {window}.", "percentunit",
                     Q(f"max by (pipeline_id) (pipeline:pipeline_run_failures:ratio_rate{window}{MINE} >= 0)", "{{pipeline_id}}"),
                     width=6, empty=IDLE) for window in BURNS],
        ]),
        Row("Freshness", [
            *[series(f"Late dumps, {window}", f"The part of the dumps that took longer than 30 s to be shown, over {window}.",
                     "percentunit", Q(late(window), "{{topic}}"), width=6) for window in BURNS],
            series("Freshness burn rate", "Over an hour and over a day, the worst topic.", "none",
                   Q(f"max({late('1h')}) / {FRESH}", "1 hour"), Q(f"max({late('1d')}) / {FRESH}", "1 day"), width=12),
            series("SLA missed, 24 h", "Runs that missed their SLA in the 24 hours before." + WINDOW_NOTE, "none",
                   Q(f'sum by (pipeline_id) ({added("pipeline:pipeline_sla_missed:max", MINE, "1d")})', "{{pipeline_id}}"), width=12, points=OF_WINDOWS),
        ]),
        Row("Errors in logs", [
            series("Errors, last hour", "The part of a pipeline's log events of an hour that are errors; the dashed line is the "
                   "alert's threshold.", "percentunit",
                   Q(f"max by (pipeline_id) (pipeline:pipeline_errors:ratio_rate1h{MINE} >= 0)", "{{pipeline_id}}"),
                   threshold("error_ratio"), width=12, empty="empty while nothing logs"),
            series("Errors, last day", "The same over a day: what the alert takes for usual.", "percentunit",
                   Q(f"max by (pipeline_id) (pipeline:pipeline_errors:ratio_rate1d{MINE} >= 0)", "{{pipeline_id}}"), width=12,
                   empty="empty while nothing logs"),
        ]),
    ],
)
