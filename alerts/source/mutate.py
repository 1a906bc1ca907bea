"""Changes each comparison, number, window, `for`, severity, label matcher and grouping label
of the rules in turn, and each threshold: some test must fail.

    python3 alerts/source/mutate.py --promtool PATH [--jobs 2] [--sample N]

With `--sample N` only every Nth mutant is tried, the same ones in each run. Prints one line
for each survivor and at the end `mutants M killed K survived S`. alerts/survivors.txt lists
the survivors that are known, with the reason why no test can tell; others are an error.
"""
import argparse
import copy
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import records
import render
import tables
from model import Record, num

HERE = Path(__file__).resolve().parent.parent
FLIPS = {">": (">=", "<"), "<": ("<=", ">"), ">=": (">", "<="), "<=": ("<", ">="), "==": ("!=",), "!=": ("==",)}
SET_OPERATORS = {"and": "unless", "unless": "and", "or": "and"}


@dataclass(frozen=True)
class Mutant:
    group: str
    index: int
    what: str
    rule: object

    def line(self):
        rule = self.rule
        name = rule.name if isinstance(rule, Record) else rule.key
        if isinstance(rule, Record) and rule.labels and rule.labels[0][0] == "name":
            name += "/" + rule.labels[0][1]
        return f"{name}: {self.what}"


def masked(expr):
    """The expression with strings and braces blanked, to look for operators and numbers."""
    return re.sub(r"{[^}]*}", lambda m: " " * len(m.group()), expr)


def swap(expr, start, end, text):
    return expr[:start] + text + expr[end:]


def variants(expr):
    """(what, changed expression) for each change."""
    plain = masked(expr)
    for m in re.finditer(r"(?<![=!<>~])(==|!=|>=|<=|>|<)(?![=~])", plain):
        for other in FLIPS[m[1]]:
            yield f"{m[1]} -> {other} at {m.start()}", swap(expr, *m.span(1), other)
    for m in re.finditer(r"(?<=[\[ ])(\d+)([smhd])\b", plain):
        longer = f"{int(m[1]) * 2}{m[2]}"
        seconds = int(m[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[m[2]]
        for other in (longer, f"{seconds // 2}s"):
            yield f"window {m[0]} -> {other} at {m.start()}", swap(expr, *m.span(), other)
    for m in re.finditer(r"(?<![\w.:\[])(\d+(?:\.\d+)?)(?![\w.:\]])", plain):
        value = float(m[1])
        for other in ([value * 1.25, value * 0.8] if value else [1]):
            yield f"number {m[1]} -> {num(other)} at {m.start()}", swap(expr, *m.span(), num(round(other, 6)))
    for m in re.finditer(r"\b(and|or|unless)\b", plain):
        yield f"{m[1]} -> {SET_OPERATORS[m[1]]} at {m.start()}", swap(expr, *m.span(), SET_OPERATORS[m[1]])
    yield from matchers(expr)
    for m in re.finditer(r"\b(by|without|on|ignoring) \(([^)]+)\)", plain):
        labels = [label.strip() for label in m[2].split(",")]
        for label in labels:
            rest = ", ".join(l for l in labels if l != label)
            yield f"{m[1]} without {label} at {m.start()}", swap(expr, *m.span(2), rest)


def matchers(expr):
    for braces in re.finditer(r"{([^}]*)}", expr):
        found = list(re.finditer(r'(\w+)(=~|!~|!=|=)"([^"]*)"', braces[1]))
        for m in found:
            at = braces.start(1) + m.start()
            others = [f.group() for f in found if f is not m]
            if m[1] == "__name__":
                # Without it, it would be no selector at all.
                yield from alternatives(expr, braces.start(1), m)
                continue
            yield f"no matcher {m[0]} at {at}", swap(expr, *braces.span(1), ",".join(others))
            opposite = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[m[2]]
            yield f"matcher {m[0]} -> {opposite} at {at}", swap(expr, braces.start(1) + m.start(2), braces.start(1) + m.end(2), opposite)
            yield from alternatives(expr, braces.start(1), m)


def alternatives(expr, begin, m):
    """Each of a|b|c taken out of a matcher."""
    parts = m[3].split("|")
    for part in parts if len(parts) > 1 else []:
        rest = "|".join(p for p in parts if p != part)
        yield f"matcher {m[1]} without {part} at {begin + m.start()}", swap(expr, begin + m.start(3), begin + m.end(3), rest)


def mutants():
    for groups in tables.FILES.values():
        for group, _, rules in groups:
            for index, rule in enumerate(rules):
                if group == "kafka2prom-links":
                    continue
                for what, expr in variants(rule.expr):
                    changed = copy.copy(rule) if not isinstance(rule, Record) else replace(rule, expr=expr)
                    if not isinstance(rule, Record):
                        changed.expr = expr
                    yield Mutant(group, index, what, changed)
                if not isinstance(rule, Record):
                    changed = copy.copy(rule)
                    changed.severity = "info"
                    yield Mutant(group, index, f"severity {rule.severity} -> info", changed)
                if not isinstance(rule, Record) and rule.for_ != "0m":
                    n = int(rule.for_[:-1])
                    for other in ("0m", f"{n * 2}m"):
                        changed = copy.copy(rule)
                        changed.for_ = other
                        yield Mutant(group, index, f"for {rule.for_} -> {other}", changed)


# --- which tests can tell --------------------------------------------------------------

EVERY = [(group, i, rule) for groups in tables.FILES.values() for group, _, rules in groups for i, rule in enumerate(rules)]


def rests_on(text):
    """Records that an expression or template names, and what those name."""
    found, open_ = [], [text]
    while open_:
        said = open_.pop()
        for group, i, rule in EVERY:
            if not isinstance(rule, Record) or (group, i) in found or rule.name not in said:
                continue
            label = dict(rule.labels).get("name")
            if label is not None and f'name="{label}"' not in said and "group(" not in said:
                continue
            found.append((group, i))
            open_.append(rule.expr)
    return found


def closures():
    """alert → the rules that its tests need."""
    made = {}
    for file, alert in tables.alerts():
        needs = set(rests_on(alert.expr + " " + " ".join(render.annotations(alert).values()) + render.PIPELINE_TEAM))
        for case in alert.tests:
            for check in case.checks:
                for firing in check.firing:
                    if firing.of is not None:
                        needs |= set(rests_on(firing.of.expr))
        for other_file, other in tables.alerts():
            if other.name == alert.name:
                needs |= set(rests_on(other.expr)) | {(g, i) for g, i, r in EVERY if r is other}
        # Others of their kind, or a matcher on `name` could be left out unnoticed.
        needs |= {("kafka2prom-thresholds", 0), ("kafka2prom-thresholds", 1)}
        if any(group == "kafka2prom-pipeline-thresholds" for group, _ in needs):
            needs |= {("kafka2prom-pipeline-thresholds", 0), ("kafka2prom-pipeline-thresholds", 1)}
        made[alert.key] = (alert, needs)
    return made


CLOSURES = closures()


def written(needs, mutant):
    groups, order = [], []
    for group in dict.fromkeys(g for g, _, _ in EVERY):
        rules = []
        for g, i, rule in EVERY:
            if g == group and (g, i) in needs:
                rules.append(mutant.rule if mutant and (g, i) == (mutant.group, mutant.index) else rule)
        if rules:
            groups.append((group, None, rules))
            order.append(group)
    return render.rules_yaml(groups), order


def fails(promtool, key, mutant):
    """Whether the tests of an alert fail with the mutant (None: without any)."""
    alert, needs = CLOSURES[key]
    return told(promtool, key, needs, mutant, lambda order: render.tests_yaml(alert, alert.tests, ["rules.yml"], order))


def record_fails(promtool, mutant):
    """Whether the tests of a recording rule fail with the mutant."""
    needs = set(rests_on(mutant.rule.name))
    for step in records.STEPS:
        cases = [case for case in records.CASES if case.record == mutant.rule.name and case.step == step]
        tests = lambda order: render.records_yaml(cases, ["rules.yml"], order, step)
        if cases and told(promtool, mutant.rule.name, needs, mutant, tests)[0]:
            return True
    return False


def told(promtool, name, needs, mutant, tests):
    """Whether the tests of a rule fail with the mutant (None: without any), and what promtool says."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as dir_:
        rules, order = written(needs, mutant)
        Path(dir_, "rules.yml").write_text(rules)
        Path(dir_, "test.yml").write_text(tests(order))
        done = subprocess.run([promtool, "test", "rules", f"{dir_}/test.yml"], capture_output=True, text=True,
                              env={**os.environ, "TMPDIR": dir_, "GOMAXPROCS": "1"}, check=False)
        said = done.stdout + done.stderr
        if "could not parse" in said:
            raise SystemExit(f"{mutant.line() if mutant else name} is no rule:\n{said}")
        return done.returncode != 0, said


def killed(promtool, mutant):
    own = mutant.rule if isinstance(mutant.rule, Record) else None
    if own is not None and record_fails(promtool, mutant):
        return True
    keys = [k for k, (_, needs) in CLOSURES.items() if (mutant.group, mutant.index) in needs]
    if own is None:
        keys = [mutant.rule.key]
    # The shortest first: most mutants fall at once.
    keys.sort(key=lambda k: sum(len(c.series) for c in CLOSURES[k][0].tests))
    return any(fails(promtool, key, mutant)[0] for key in keys)


def known():
    path = HERE / "survivors.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    return {line.split("  # ")[0].strip() for line in lines if line and not line.startswith("#")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--promtool", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, default=1)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    total = sum(1 for _ in mutants())
    every = [m for m in mutants() if arguments.only in m.line()][:: arguments.sample]
    for key in sorted({k for m in every for k, (_, n) in CLOSURES.items() if (m.group, m.index) in n} if arguments.only else []):
        bad, said = fails(arguments.promtool, key, None)
        if bad:
            sys.exit(f"{key} fails without any mutant:\n{said}")
    survivors = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(lambda m: killed(arguments.promtool, m), every)
        for number, (mutant, dead) in enumerate(zip(every, results), 1):
            if number % 50 == 0:
                print(f"tried {number} of {len(every)}", flush=True)
            if not dead:
                survivors.append(mutant.line())
                print("survived", mutant.line(), flush=True)
    print(f"mutants {len(every)} killed {len(every) - len(survivors)} survived {len(survivors)}")
    unknown = [s for s in survivors if s not in known()]
    if unknown:
        sys.exit(f"{len(unknown)} of them are not in alerts/survivors.txt")
    if len(known()) * 50 > total:
        sys.exit(f"alerts/survivors.txt lists {len(known())} of {total} mutants: more than 2 %")
    dead = known() - set(survivors)
    if dead and len(every) == total:
        print(f"these no longer survive, take them out of alerts/survivors.txt: {sorted(dead)}")


if __name__ == "__main__":
    main()
