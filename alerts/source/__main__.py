"""`python3 alerts/source` writes alerts/rules, alerts/tests and alerts/defaults.md;
`--check` says what is not as it would write it; `--list` prints every alert as JSON."""
import json
import re
import sys
from pathlib import Path

import records
import render
import tables
from model import KINDS, Record, num
from thresholds import THRESHOLDS

HERE = Path(__file__).resolve().parent.parent


def files():
    """Every file, by its path below alerts/."""
    made = {f"rules/{name}.yml": render.rules_yaml(groups) for name, groups in tables.FILES.items()}
    for file, alert in tables.alerts():
        made[f"tests/{alert.key}.test.yml"] = render.tests_yaml(alert, alert.tests, *needed(file))
    for file, groups in tables.FILES.items():
        names = {rule.name for _, _, rules in groups for rule in rules if isinstance(rule, Record)}
        for step in records.STEPS:
            cases = [case for case in records.CASES if case.record in names and case.step == step]
            if cases:
                made[f"tests/records-{file}-{step}m.test.yml"] = render.records_yaml(cases, *needed(file), step)
    made["defaults.md"] = defaults()
    return made


def needed(file):
    """The rule files that a test of rules of `file` reads, and the order of their groups."""
    names = ["thresholds", *tables.NEEDS.get(file, []), file]
    return [f"../rules/{name}.yml" for name in names], [group for name in names for group, _, _ in tables.FILES[name]]


def defaults():
    """Thresholds, windows and waits, for people."""
    out = ["# Thresholds and waits of the alerts\n\n", "Written by `python3 alerts/source`; a test compares.\n\n"]
    out.append("| threshold | default | per pipeline | meaning |\n|---|---|---|---|\n")
    for t in THRESHOLDS:
        out.append(f"| `{t.name}` | {num(t.value)} {t.unit if t.unit != 'ratio' else ''}".rstrip()
                   + f" | {'yes' if t.per_pipeline else ''} | {t.doc} |\n")
    out.append("\n| alert | severity | team | for | windows | thresholds |\n|---|---|---|---|---|---|\n")
    for _, alert in tables.alerts():
        windows = sorted(set(re.findall(r"\[(\d+[mhd])\]|(?:rate|delta|count|mean|increase)(\d+[mhd])", alert.expr)))
        windows = ", ".join(w for pair in windows for w in pair if w)
        names = ", ".join(dict.fromkeys(f"`{n}`" for n in re.findall(r'value{name="(\w+)"}', alert.expr)))
        team = "the pipeline's, else data" if alert.team == "pipeline" else alert.team
        name = f"[{alert.name}](runbooks/{alert.name}.md)" + (f" {alert.variant[1:]}" if alert.variant else "")
        out.append(f"| {name} | {alert.severity} | {team} | {alert.for_ if alert.for_ != '0m' else ''} | {windows} | {names} |\n")
    return "".join(out)


def listing():
    """Every alerting rule as the Rust tests read it."""
    found = []
    for file, alert in tables.alerts():
        kinds = {kind: sum(c.kind == kind for c in alert.tests) for kind in KINDS}
        found.append({
            "name": alert.name, "key": alert.key, "file": file, "severity": alert.severity,
            "team": "data" if alert.team == "pipeline" else alert.team, "labels": alert.labels,
            "kinds": kinds, "without": alert.without, "dashboard": alert.dashboard, "unit": alert.unit, "for": alert.for_,
            "annotations": render.annotations(alert), "all_labels": render.rule_labels(alert),
        })
    rules = [
        {"name": rule.name, "expr": rule.expr, "recording": isinstance(rule, Record)}
        for groups in tables.FILES.values() for _, _, rules in groups for rule in rules
    ]
    return {"alerts": found, "rules": rules}


def main():
    if "--list" in sys.argv:
        print(json.dumps(listing(), indent=1))
        return
    made = files()
    if "--check" in sys.argv:
        stale = [name for name, text in made.items() if not (HERE / name).is_file() or (HERE / name).read_text() != text]
        found = {str(p.relative_to(HERE)) for d in ("rules", "tests") for p in (HERE / d).glob("*.yml")}
        stale += sorted(found - set(made))
        if stale:
            sys.exit("not what python3 alerts/source writes: " + ", ".join(stale))
        return
    for name, text in made.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text)


main()
