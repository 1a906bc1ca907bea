"""Builds an alert's tests from what its series look like on good and on bad days.

A series has a level (Gauge) or a step per sample (Counter) for each state: `good`, `under`
(just below the threshold), `edge` (on it), `over` (just above), `bad`. An `@` in it is the
bridge that shows it.
"""
from dataclasses import dataclass, replace

from model import Case, Check, Firing, num

A, B = "bridge-0:9527", "bridge-1:9527"


@dataclass(frozen=True)
class Gauge:
    series: str
    good: float
    bad: float
    under: float | None = None
    edge: float | None = None
    over: float | None = None
    # What it shows right after a restart.
    zero: float | None = None
    counter = False

    def at(self, state):
        found = getattr(self, state, None)
        return found if found is not None else self.good


@dataclass(frozen=True)
class Counter(Gauge):
    start: float = 100
    counter = True


def values(spec, segments):
    """The samples of one series over [(state, n)]."""
    parts, level, last = [], spec.start if spec.counter else 0, None
    for state, n in segments:
        if state in ("gap", "off"):
            parts += ["_"] * n
            # Nobody looked, but it went on.
            if spec.counter and last:
                level = round(level + n * spec.at(last), 6)
        elif state == "stale":
            parts += ["stale"] * n
        elif spec.counter and state == "zero":
            level = 0
            parts += ["0"] * n
        else:
            for _ in range(n):
                if spec.counter:
                    level = round(level + spec.at(state), 6)
                parts.append(num(level if spec.counter else spec.at(state)))
            last = state
    return compress(parts)


def compress(parts):
    """Runs of equal steps as `a+bxn`."""
    out, i = [], 0
    while i < len(parts):
        j = i + 1
        if parts[i] in ("_", "stale"):
            out.append(parts[i])
            i = j
            continue
        first = float(parts[i])
        step = None
        while j < len(parts) and parts[j] not in ("_", "stale"):
            this = round(float(parts[j]) - float(parts[j - 1]), 6)
            if step is None:
                step = this
            if this != step:
                break
            j += 1
        if j - i < 3:
            j = i + 1
        count = j - i
        if count == 1:
            out.append(num(first))
        else:
            out.append(f"{num(first)}{'-' if step < 0 else '+'}{num(abs(step))}x{count - 1}")
        i = j
    return " ".join(out)


def scene(specs, a, b=()):
    """Series of two bridges. What no bridge's name is part of goes on from one to the other."""
    found = {}
    for spec in specs:
        if "@" not in spec.series:
            length = sum(n for _, n in a if _ != "stale")
            rest = skip(b, length)
            found[spec.series] = values(spec, [s for s in a if s[0] != "stale"] + rest)
            continue
        found[spec.series.replace("@", A)] = values(spec, a)
        if b:
            found[spec.series.replace("@", B)] = values(spec, b)
    return found


plain_scene = scene


def skip(segments, n):
    rest = []
    for state, count in segments:
        cut = min(count, n)
        n -= cut
        if count > cut:
            rest.append((state, count - cut))
    return rest


def cases(specs, firing, for_=0, window=0, interval=1, onset=0, edge_fires=False, moves="follows", omit=(),
          lead=0, gauge_text=True):
    """All kinds for one alert.

    `for_` and `window` in samples; `onset`: samples from the first bad one until the
    condition holds. `moves`: `follows` when the alert is about what moves, `stays` when it is
    about the bridge. `lead`: samples of good days before it all begins.
    """
    n, w, f = window + for_ + 3, window, for_

    def at(k, *what):
        return Check((k + lead) * interval, tuple(what))

    def scene(specs, a, b=()):
        return plain_scene(specs, [("good", lead)] + a, [("off", lead)] + b if b else ()) if lead else plain_scene(specs, a, b)

    # A value inside a window that is not all bad differs between Prometheus 2 and 3.
    quiet = replace(firing, value=None)
    shown = firing if not w and gauge_text else quiet
    found = [
        Case("fires", scene(specs, [("bad", n + 2)]), (at(n - 1, firing),)),
        Case("below", scene(specs, [("under", n + 4)]), (at(n - 1), at(n + 3))),
    ]
    has_edge = any(s.edge is not None for s in specs)
    if has_edge:
        if edge_fires:
            found.append(Case("boundary", scene(specs, [("edge", n + 2)]), (at(n - 1, quiet),), name="at the threshold"))
        else:
            found.append(Case("boundary", scene(specs, [("edge", n + 4)]), (at(n - 1), at(n + 3)), name="at the threshold"))
            found.append(Case("boundary", scene(specs, [("over", n + 2)]), (at(n - 1, quiet),), name="just above"))
    begin = w + 3 + onset
    waits = [at(begin - 1)] + ([at(begin + f - 1)] if f else []) + [at(begin + f, quiet)]
    found.append(Case("for", scene(specs, [("good", w + 3), ("bad", onset + f + 3)]), tuple(waits)))
    found.append(
        Case("resolves", scene(specs, [("bad", n), ("good", w + 4)]), (at(n - 1, shown if not w else firing), at(n + w + 2)))
    )
    gaps = [at(n + 1, shown)] if interval == 1 else []
    found.append(
        Case("missing_scrape", scene(specs, [("bad", n), ("gap", 3), ("bad", f + 3)]), tuple(gaps + [at(n + 3 + f, shown)]))
    )
    if moves == "follows":
        scenery = scene(specs, [("bad", n), ("stale", 1)], [("off", n), ("bad", w + f + 4)])
        found.append(Case("moves", scenery, (at(n - 1, firing), at(n, shown), at(n + 1, shown), at(n + w + 2, shown))))
    elif moves == "stays":
        scenery = scene(specs, [("good", n), ("stale", 1)], [("off", n), ("good", w + f + 4)])
        found.append(Case("moves", scenery, (at(n - 1), at(n), at(n + 1), at(n + w + 2))))
    if any(s.counter for s in specs):
        calm = scene(specs, [("good", n), ("zero", 1), ("good", n)])
        found.append(Case("reset", calm, (at(n), at(n + 1), at(n + 4), at(2 * n)), name="without trouble"))
        trouble = scene(specs, [("bad", n), ("zero", 1), ("bad", w + f + 3)])
        found.append(Case("reset", trouble, (at(n + w + f + 2, quiet),), name="amid trouble"))
    else:
        restart = scene(specs, [("bad", n), ("zero", 1), ("bad", f + 3)])
        ends = [] if any(s.zero is not None for s in specs) else [at(n)]
        found.append(Case("reset", restart, tuple(ends + [at(n + 1 + f, shown)])))
    return [replace(c, omit=omit) for c in found]
