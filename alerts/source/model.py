"""What an alert, a threshold and a test case are, and how texts are formatted.

Everything under alerts/rules and alerts/tests is written from the tables beside this
file (`python3 alerts/source`); a test compares. Standard library only.
"""
from dataclasses import dataclass, field

# What every alert is tested for. A kind that makes no sense for an alert is left out
# with a reason (Alert.without); the gate in tests/it_alerts.rs counts both.
KINDS = ("fires", "below", "boundary", "for", "resolves", "missing_scrape", "moves", "reset")


@dataclass(frozen=True)
class Threshold:
    """One number that alerts compare with: a recording rule, hence changed in one place."""

    name: str
    value: float
    unit: str
    doc: str
    # May be overridden by the metric pipeline_alert_threshold{pipeline_id, name}.
    per_pipeline: bool = False


@dataclass(frozen=True)
class Record:
    """A recording rule; `labels` are added."""

    name: str
    expr: str
    labels: tuple = ()


@dataclass(frozen=True)
class Firing:
    """One alert that must be firing: its own labels, and the value that its text shows."""

    labels: dict
    value: float
    # Where the rule's threshold is overridden for a pipeline.
    threshold: float | None = None
    # Labels as the rule must set them, where they are not the usual ones (team).
    set_labels: dict = field(default_factory=dict)
    # The rule, if it is another one of the same name.
    of: object = None
    # Text written out, to compare with what the placeholders give.
    summary: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Check:
    """At `at` (minutes) these alerts are firing and no others of that name."""

    at: float
    firing: tuple = ()


@dataclass(frozen=True)
class Case:
    """One promtool test. `series` maps a series to its values, one every `interval`."""

    kind: str
    series: dict
    checks: tuple
    name: str = ""
    # Rule groups left out, to see what happens without them.
    omit: tuple = ()


@dataclass
class Alert:
    """One alerting rule with its text, runbook and tests.

    In `summary`, `description` and `dashboard`: {label} is the label's value, {value} the
    value and {threshold} the threshold, both in human units.
    """

    name: str
    expr: str
    severity: str
    summary: str
    description: str
    dashboard: str
    tests: list
    for_: str = "0m"
    team: str = "platform"
    # How {value} is shown: seconds, ratio, number, count, bytes, or None if it says nothing.
    unit: str | None = None
    # The threshold that {value} is held against.
    threshold: str | None = None
    # A further link, such as the page of the pipeline's runs.
    run_page: str | None = None
    labels: dict = field(default_factory=dict)
    # Sampling and evaluation of the tests, minutes.
    interval: int = 1
    without: dict = field(default_factory=dict)
    # Tells several rules of one alert apart, in file names.
    variant: str = ""

    @property
    def key(self):
        return self.name + self.variant


# --- values of a series, in promtool's notation ----------------------------------------


def hold(value, n):
    """`n` times the same."""
    return f"{num(value)}+0x{n - 1}" if n > 1 else num(value)


def grow(start, step, n):
    """`n` samples, each `step` above the one before."""
    sign = "-" if step < 0 else "+"
    return f"{num(start)}{sign}{num(abs(step))}x{n - 1}" if n > 1 else num(start)


def jumps(n, *steps_up, start):
    """`n` samples and one, from `start` on; for each (before, by): it grows by `by`, `before`
    samples before the last."""
    found, value, at = [], start, 0
    for before, by in sorted(steps_up, reverse=True):
        found.append(hold(value, n - before - at))
        value, at = value + by, n - before
    return " ".join([*found, hold(value, n + 1 - at)])


def gap(n):
    """`n` scrapes that are missing."""
    return " ".join("_" for _ in range(n))


STALE = "stale"


def num(value):
    """A number as a rule or a test file writes it."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


# --- values in human units, as Prometheus' own template functions print them -----------


def go_float(value, digits=4):
    """Go's %.4g."""
    return f"{value:.{digits}g}"


def human_duration(value):
    """humanizeDuration, for values of a second and more."""
    if value < 1:
        return "0s" if value == 0 else f"{go_float(value * 1000)}ms"
    seconds = int(value)
    s, m, h, d = seconds % 60, seconds // 60 % 60, seconds // 3600 % 24, seconds // 86400
    if d:
        return f"{d}d {h}h {m}m {s}s"
    if h:
        return f"{h}h {m}m {s}s"
    return f"{m}m {s}s" if m else f"{go_float(value)}s"


def human_ratio(value):
    """humanizePercentage."""
    return go_float(value * 100) + "%"


def human_number(value):
    """humanize: SI prefixes from a thousand, and below 1."""
    if 0 < abs(value) < 1:
        return go_float(value * 1000) + "m"
    for prefix in ("", "k", "M", "G", "T"):
        if abs(value) < 1000:
            return go_float(value) + prefix
        value /= 1000
    return go_float(value) + "P"


def human_bytes(value):
    """humanize1024 with its unit."""
    for prefix in ("", "ki", "Mi", "Gi"):
        if abs(value) < 1024:
            return go_float(value) + prefix + "B"
        value /= 1024
    return go_float(value) + "TiB"


UNITS = {
    "seconds": ("humanizeDuration", "", human_duration),
    "ratio": ("humanizePercentage", "", human_ratio),
    "number": ("humanize", "", human_number),
    "count": ('printf "%.0f"', "", lambda v: f"{v:.0f}"),
    "bytes": ("humanize1024", "B", human_bytes),
}
