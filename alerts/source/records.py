"""What recording rules give, value by value: alerts that rest on them would not tell each
window and matcher from another one."""
from dataclasses import dataclass

from model import gap, grow, hold, jumps
from recording import BURN_WINDOWS, PIPELINES, WINDOWS

# Minutes between two samples, and between two evaluations: of windows of minutes, of others
# below six hours, and of the rest.
FINE, SHORT, LONG = 1, 5, 60
STEPS = (FINE, SHORT, LONG)
P = '{pipeline_id="p"}'


@dataclass(frozen=True)
class Given:
    """One test of a recording rule: at `at` (minutes) it gives `samples`, value by labels."""

    record: str
    name: str
    series: dict
    at: int
    samples: dict
    step: int = SHORT


def step_of(minutes):
    return LONG if minutes >= 360 else SHORT if minutes >= 3 * SHORT else FINE


def maxima():
    """A pipeline is shown by two bridges for a moment: the larger value, and no bridge's label."""
    for rule in PIPELINES:
        if not rule.name.endswith(":max"):
            continue
        metric = rule.expr.split("(")[-1].rstrip(")")
        series = {
            f'{metric}{{pipeline_id="p",instance="{bridge}",job="{job}"}}': hold(value, 3)
            for bridge, job, value in (("a", "x", 3), ("b", "y", 5))
        }
        yield Given(rule.name, "two bridges", series, 2 * SHORT, {P: 5})


def deltas(level, metric, window, minutes, warm=True):
    record = f"{level}:{metric}:delta{window}"
    counter = f"{metric}_total{P}"
    seen = f"pipeline_runs_active{P}"
    end = 4 * minutes
    third = minutes // 3
    step = step_of(minutes)
    steps = lambda minutes: minutes // step
    yield Given(record, "grows", {counter: grow(0, 1, steps(end) + 1)}, end, {P: steps(minutes)}, step)

    def born(since):
        """The counter is born a third of the window ago with 2; its pipeline is older."""
        return {
            counter: gap(steps(end - third)) + " " + grow(2, 1, steps(third) + 1),
            seen: gap(steps(end - since)) + " " + hold(1, steps(since) + 1),
        }

    yield Given(record, "born in a pipeline that was known a window ago", born(minutes + third), end, {P: 2 + steps(third)}, step)
    added = {P: steps(third)} if warm else {}
    yield Given(record, "born in a pipeline that was not known then", born(minutes - third), end, added, step)
    if warm:
        # Nothing is known of the moment a window ago, but of one before it.
        part = minutes // 15
        values = " ".join([hold(5, steps(35 * part) + 1), gap(steps(15 * part) - 1), grow(7, 1, steps(10 * part) + 1)])
        yield Given(record, "away a window ago", {counter: values}, 60 * part, {P: steps(10 * part)}, step)


def failures():
    last = "pipeline_last_run_timestamp_seconds"
    hours = lambda n: n * 60 // LONG
    record = "pipeline:pipeline_failures:count6h"
    one = '{pipeline_id="p",status="FAILED"}'

    def ended(status, values):
        return {f'{last}{{pipeline_id="p",status="{status}"}}': " ".join(values)}

    changing = [hold(100, hours(4)), hold(14_400, hours(4)), hold(28_800, hours(5) + 1)]
    yield Given(record, "each change of the time", {**ended("FAILED", changing), **ended("SUCCEEDED", changing)}, 13 * 60, {one: 1}, LONG)
    away = [hold(100, hours(5)), gap(hours(3)), hold(28_800, hours(5) + 1)]
    yield Given(record, "the oldest time seen is in the window", {**ended("FAILED", away), **ended("SUCCEEDED", away)}, 13 * 60, {one: 1}, LONG)


def ratios():
    for window, minutes in (("1h", 60), ("1d", 1440)):
        n = minutes // step_of(minutes) + 13
        of = lambda level: f'pipeline_log_events_total{{pipeline_id="p",level="{level}"}}'
        series = {of("INFO"): grow(0, 2, n), of("ERROR"): grow(0, 1, n), of("FATAL"): grow(0, 1, n)}
        yield Given(f"pipeline:pipeline_errors:ratio_rate{window}", "both levels", series, minutes + 60, {P: 0.5}, step_of(minutes))


def intervals():
    n = 7 * 1440 // LONG
    of = lambda pipeline, status: f'pipeline_runs_total{{pipeline_id="{pipeline}",status="{status}"}}'
    grown = lambda before, now: hold(before, n) + " " + hold(now, 1)
    series = {
        of("p", "SUCCEEDED"): grown(10, 14), of("p", "FAILED"): grown(3, 3), of("p", "PARTIAL"): grown(9, 2),
        of("q", "SUCCEEDED"): grown(10, 13),
    }
    yield Given("pipeline:run_interval_seconds:delta7d", "four runs in a week, a status that began anew, one too few",
                series, 7 * 1440, {P: 151_200}, LONG)


def two_windows(minutes, *steps_up, start=1000):
    """`jumps` in minutes, two windows long; from far from zero, which rate() would not look beyond."""
    step = step_of(minutes)
    return jumps(2 * minutes // step, *((before // step, by) for before, by in steps_up), start=start)


def windows():
    """Three bad events in the first half of the window, a good one in the second, two before it:
    no other window, of both or of one, gives as much."""
    for window in BURN_WINDOWS:
        minutes = WINDOWS[window] // 60
        bad, good, before = (2 * minutes // 3, 3), (minutes // 3, 1), (3 * minutes // 2, 2)
        run = lambda status: f'pipeline_runs_total{{pipeline_id="p",status="{status}",trigger_type="schedule"}}'
        # Two runs in a second, in its first half; one that began from zero is not extrapolated.
        series = {run("SUCCEEDED"): two_windows(minutes, (2 * minutes // 3, 120 * minutes), start=0)}
        yield Given(f"pipeline:pipeline_runs:rate{window}", "all in the older half of a window", series, 2 * minutes, {P: 2}, step_of(minutes))
        series = {run("SUCCEEDED"): two_windows(minutes, good, before), run("FAILED"): two_windows(minutes, bad)}
        yield Given(f"pipeline:pipeline_run_failures:ratio_rate{window}", "three of four", series, 2 * minutes, {P: 0.75}, step_of(minutes))
        of = lambda metric, le, bridge: f'kafka2prom_exposure_age_seconds_{metric}{{topic="t",instance="{bridge}"{le}}}'
        series = {
            of("bucket", ',le="30"', "a"): two_windows(minutes, good, before),
            of("bucket", ',le="60"', "a"): two_windows(minutes, good, bad, before),
            of("count", "", "a"): two_windows(minutes, good, bad, before),
            of("bucket", ',le="30"', "b"): two_windows(minutes),
            of("count", "", "b"): two_windows(minutes),
        }
        yield Given(f"topic:kafka2prom_late_dumps:ratio_rate{window}", "three of four", series, 2 * minutes, {'{topic="t"}': 0.75}, step_of(minutes))


CASES = [
    *maxima(),
    *deltas("pipeline", "pipeline_sla_missed", "1h", 60),
    *deltas("pipeline", "pipeline_retries_exhausted", "1h", 60),
    *deltas("pipeline", "pipeline_runs_lost", "1h", 60),
    *deltas("pipeline", "pipeline_log_buffer_dropped", "15m", 15),
    *deltas("pipeline_step", "pipeline_rows", "1d", 1440, warm=False),
    *failures(),
    *ratios(),
    *intervals(),
    *windows(),
]
