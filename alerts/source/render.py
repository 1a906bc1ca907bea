"""Rules and promtool tests as YAML."""
import re
from urllib.parse import quote_plus

from model import KINDS, UNITS, Alert, Record, num
from thresholds import LINKS, THRESHOLDS

HEAD = "# Written by `python3 alerts/source` from the tables there; a test compares.\n"
BY_NAME = {t.name: t for t in THRESHOLDS}
PIPELINE_TEAM = (
    '{{ with printf `pipeline_alert_team{pipeline_id=%q}` $labels.pipeline_id | query }}'
    '{{ . | first | label "team" }}{{ else }}data{{ end }}'
)


def text(value):
    """A YAML string."""
    return "'" + value.replace("'", "''") + "'"


def block(expr, indent):
    if "\n" not in expr:
        return " " + text(expr) if re.search(r"[:#{}\[\]&*!|>'\"%@`]", expr[0]) or ": " in expr or " #" in expr else " " + expr
    pad = " " * indent
    return " |-\n" + "\n".join(pad + line for line in expr.split("\n"))


# --- what a rule says ------------------------------------------------------------------


def show(expr, unit):
    function, suffix, _ = UNITS[unit]
    return "{{ " + expr + " | " + function + " }}" + suffix


def threshold_template(alert):
    threshold = BY_NAME[alert.threshold]
    unit = alert.unit
    if threshold.per_pipeline:
        ask = f'printf `pipeline:threshold:value{{name="{threshold.name}",pipeline_id=%q}}` $labels.pipeline_id | query'
    else:
        ask = f'query `kafka2prom:threshold:value{{name="{threshold.name}"}}`'
    return "{{ with " + ask + " }}" + show(". | first | value", unit) + "{{ end }}"


def template(alert, words, for_url=False):
    """Our placeholders as Prometheus' templates."""

    def one(found):
        name = found.group(1)
        if name == "value":
            return show("$value", alert.unit)
        if name == "threshold":
            return threshold_template(alert)
        return "{{ $labels." + name + (" | urlquery" if for_url else "") + " }}"

    return re.sub(r"{(\w+)}", one, words)


def link(name):
    return '{{ with query `kafka2prom:links:info` }}{{ . | first | label "' + name + '" }}{{ end }}'


def annotations(alert):
    found = {"summary": template(alert, alert.summary), "description": template(alert, alert.description)}
    if alert.unit:
        found["value"] = show("$value", alert.unit)
    if alert.threshold:
        found["threshold"] = threshold_template(alert)
    found["runbook_url"] = link("runbooks") + f"/{alert.name}.md"
    found["dashboard_url"] = link("grafana") + "/d/" + template(alert, alert.dashboard, for_url=True)
    if alert.run_page:
        found["run_url"] = link("bridge") + template(alert, alert.run_page, for_url=True)
    return found


def rule_labels(alert):
    team = PIPELINE_TEAM if alert.team == "pipeline" else alert.team
    return {"severity": alert.severity, "team": team, **alert.labels}


def record_yaml(record):
    lines = [f"      - record: {record.name}", "        expr:" + block(record.expr, 10)]
    if record.labels:
        lines.append("        labels:")
        lines += [f"          {k}: {text(v)}" for k, v in record.labels]
    return "\n".join(lines) + "\n"


def alert_yaml(alert):
    lines = [f"      - alert: {alert.name}", "        expr:" + block(alert.expr, 10)]
    if alert.for_ != "0m":
        lines.append(f"        for: {alert.for_}")
    lines.append("        labels:")
    lines += [f"          {k}: {text(v)}" for k, v in rule_labels(alert).items()]
    lines.append("        annotations:")
    lines += [f"          {k}: {text(v)}" for k, v in annotations(alert).items()]
    return "\n".join(lines) + "\n"


def rules_yaml(groups):
    """`groups`: (name, interval or None, rules, comment or None)."""
    out = [HEAD, "groups:\n"]
    for name, interval, rules in groups:
        out.append(f"  - name: {name}\n")
        if interval:
            out.append(f"    interval: {interval}\n")
        out.append("    rules:\n")
        for rule in rules:
            out.append(record_yaml(rule) if isinstance(rule, Record) else alert_yaml(rule))
    return "".join(out)


# --- what a test expects ---------------------------------------------------------------


def expected_text(alert, firing, words, for_url=False):
    """Our placeholders as the text that Prometheus must make of them."""

    def one(found):
        name = found.group(1)
        if name == "value":
            return UNITS[alert.unit][2](firing.value)
        if name == "threshold":
            own = firing.threshold if firing.threshold is not None else BY_NAME[alert.threshold].value
            return UNITS[alert.unit][2](own)
        value = firing.labels.get(name, "")
        return quote_plus(value) if for_url else value

    return re.sub(r"{(\w+)}", one, words)


def expected_annotations(alert, firing):
    made = {
        "summary": expected_text(alert, firing, alert.summary),
        "description": expected_text(alert, firing, alert.description),
    }
    for name in ("summary", "description"):
        written = getattr(firing, name)
        if written is not None and written != made[name]:
            raise SystemExit(f"{alert.key}: its {name} would be\n  {made[name]}\nbut its test says\n  {written}")
    if alert.unit:
        made["value"] = expected_text(alert, firing, "{value}")
    if alert.threshold:
        made["threshold"] = expected_text(alert, firing, "{threshold}")
    made["runbook_url"] = f"{LINKS['runbooks']}/{alert.name}.md"
    made["dashboard_url"] = f"{LINKS['grafana']}/d/" + expected_text(alert, firing, alert.dashboard, for_url=True)
    if alert.run_page:
        made["run_url"] = LINKS["bridge"] + expected_text(alert, firing, alert.run_page, for_url=True)
    return made


def expected_labels(alert, firing):
    team = "data" if alert.team == "pipeline" else alert.team
    static = {k: re.sub(r"{{ \$labels\.(\w+) }}", lambda m: firing.labels[m.group(1)], v) for k, v in alert.labels.items()}
    return {**firing.labels, "severity": alert.severity, "team": team, **static, **firing.set_labels}


def given_yaml(title, interval, series):
    lines = [f"  - name: {text(title)}", f"    interval: {interval}m", "    input_series:"]
    for name, values in series.items():
        lines += [f"      - series: {text(name)}", f"        values: {text(values)}"]
    return lines


def case_yaml(alert, case):
    def when(minutes):
        return f"{num(minutes)}m"

    title = f"{case.kind}: {case.name}" if case.name else case.kind
    lines = given_yaml(title, alert.interval, case.series)
    texts, states = [], []
    for check in case.checks:
        with_text = check.firing and all(f.value is not None for f in check.firing)
        (texts if with_text else states).append(check)
    if texts:
        lines.append("    alert_rule_test:")
    for check in texts:
        lines += [f"      - eval_time: {when(check.at)}", f"        alertname: {alert.name}", "        exp_alerts:"]
        for firing in check.firing:
            own = firing.of or alert
            lines.append("          - exp_labels:")
            lines += [f"              {k}: {text(v)}" for k, v in expected_labels(own, firing).items()]
            lines.append("            exp_annotations:")
            lines += [f"              {k}: {text(v)}" for k, v in expected_annotations(own, firing).items()]
    if states:
        lines.append("    promql_expr_test:")
    for check in states:
        selector = f'ALERTS{{alertname="{alert.name}",alertstate="firing"' + (
            "".join(f',{k}="{v}"' for k, v in alert.labels.items()) if alert.variant else "") + "}"
        lines += [f"      - expr: {text(selector)}", f"        eval_time: {when(check.at)}"]
        if not check.firing:
            lines.append("        exp_samples: []")
            continue
        lines.append("        exp_samples:")
        for firing in check.firing:
            labels = {"alertname": alert.name, "alertstate": "firing", **expected_labels(alert, firing)}
            inner = ",".join(k + "=" + quoted(v) for k, v in sorted(labels.items()) if v != "")
            lines += [f"          - labels: {text('ALERTS{' + inner + '}')}", "            value: 1"]
    return "\n".join(lines) + "\n"


def quoted(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def tests_head(rule_files, group_order, step):
    lines = [HEAD, "rule_files:\n"]
    lines += [f"  - {f}\n" for f in rule_files]
    lines += [f"evaluation_interval: {step}m\n", "group_eval_order:\n"]
    lines += [f"  - {g}\n" for g in group_order]
    return "".join(lines) + "tests:\n"


def tests_yaml(alert, cases, rule_files, group_order):
    return tests_head(rule_files, group_order, alert.interval) + "".join(case_yaml(alert, c) for c in cases)


def records_yaml(cases, rule_files, group_order, step):
    """Tests of recording rules: records.Given."""
    return tests_head(rule_files, group_order, step) + "".join(record_case_yaml(c, step) for c in cases)


def record_case_yaml(case, step):
    lines = given_yaml(f"{case.record}: {case.name}", step, case.series)
    lines += ["    promql_expr_test:", f"      - expr: {text(case.record)}", f"        eval_time: {case.at}m"]
    lines.append("        exp_samples:" if case.samples else "        exp_samples: []")
    for labels, value in case.samples.items():
        lines += [f"          - labels: {text(case.record + labels)}", f"            value: {num(value)}"]
    return "\n".join(lines) + "\n"
