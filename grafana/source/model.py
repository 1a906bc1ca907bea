"""What dashboards are made of: queries, panels, rows, variables, and Grafana's classic JSON
of them (schemaVersion 42)."""
import re
from dataclasses import dataclass, field

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
# How often recording rules are evaluated: what is asked of them by $__rate_interval needs it.
RECORDED_STEP = "1m"
# Points of a graph that asks for much: at a million series no query may take a second
# (tests/figures_rules.rs). What looks back over a day or a month moves little between two of them.
# (Fewer points save what is made of the samples, not the reading of them.)
OF_WINDOWS = 48
# … over 30 days.
OF_A_MONTH = 24
OF_MANY = 200
GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"


@dataclass(frozen=True)
class Q:
    """A query. `{{label}}` of its legend must be on what it returns: a test holds it to that."""

    expr: str
    legend: str = ""
    # A line to hold the others against: dashed.
    limit: bool = False
    # Labels of its series without a legend, as columns of a table.
    labels: tuple = ()


@dataclass
class Panel:
    kind: str
    title: str
    description: str
    unit: str
    queries: list
    width: int
    height: int
    # Why it is empty as long as nothing is wrong, or nothing of its kind is in use.
    empty: str = ""
    options: dict = field(default_factory=dict)
    defaults: dict = field(default_factory=dict)
    overrides: list = field(default_factory=list)
    transformations: list = field(default_factory=list)
    # At most so many points over time; without, as many as the screen shows.
    points: int | None = None


@dataclass
class Row:
    title: str
    panels: list


@dataclass
class Variable:
    """A label's values: of a metric that is always there."""

    name: str
    label: str
    description: str
    query: str
    # Without: one value at a time, as in a drill-down.
    all: bool = True
    hidden: bool = False


@dataclass
class Dashboard:
    uid: str
    title: str
    description: str
    variables: list
    rows: list
    span: str = "6h"


# --- queries ----------------------------------------------------------------------------


def threshold(name, legend="threshold"):
    """The alerts' threshold as a dashed line."""
    return Q(f'kafka2prom:threshold:value{{name="{name}"}}', legend, limit=True)


def limit(name):
    """The same as a number in an expression."""
    return f'scalar(kafka2prom:threshold:value{{name="{name}"}})'


def latest(metric, selector=""):
    """A pipeline's metric without a recording rule, whichever bridge shows it."""
    return f"max without (instance, job) ({metric}{selector})"


def added(metric, selector, window):
    """What a counter of pipelines has gained in a window, exact: the difference, not
    increase(), which cannot see the event that a series is born with. What was not there at the
    window's beginning, or began anew since, counts with all that it has. `metric` with a `:`
    is a recording rule; any other is read as the maximum over the bridges."""
    if ":" in metric:
        return since(metric, selector, window)
    now, then = latest(metric, selector), latest(metric, f"{selector} offset {window}")
    return f"({now} - {then} >= 0 or {now})"


def added_by(by, metric, selector, window):
    """The same, summed first: far cheaper where there are many series. What began anew of a sum
    that grew all the same is not seen."""
    if ":" in metric:
        now, then = metric + selector, f"{metric}{selector} offset {window}"
    else:
        now, then = latest(metric, selector), latest(metric, f"{selector} offset {window}")
    now, then = f"sum by ({by}) ({now})", f"sum by ({by}) ({then})"
    return f"({now} - {then} >= 0 or {now})"


def since(metric, selector, window):
    """The same of a bridge's own counter whose series are born with their first event: a bridge
    that began anew counts with all it has."""
    now = metric + selector
    return f"({now} - {now} offset {window} >= 0 or {now})"


def quantile(q, buckets, by="le"):
    return f"histogram_quantile({q}, sum by ({by}) ({buckets}))"


def rate(metric, selector="", by=""):
    inner = f"rate({metric}{selector}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


# --- panels -----------------------------------------------------------------------------


def steps(*pairs):
    """(colour, (value, colour), …)"""
    first, rest = pairs[0], pairs[1:]
    found = [{"color": first, "value": None}] + [{"color": colour, "value": value} for value, colour in rest]
    return {"mode": "absolute", "steps": found}


PLAIN = steps(BLUE)
# Any is one too many.
NONE_WANTED = steps(GREEN, (1e-9, RED))
SOME_MATTER = steps(GREEN, (1e-9, YELLOW))
# A ratio of a threshold: 1 is where the alert begins.
OF_THRESHOLD = steps(GREEN, (0.8, YELLOW), (1, RED))
ONE_IS_GOOD = steps(RED, (1, GREEN))


def value_map(**texts):
    """value_map(_0=("down", RED), _1=("up", GREEN))"""
    options = {key[1:]: {"color": colour, "index": i, "text": text} for i, (key, (text, colour)) in enumerate(texts.items())}
    return [{"options": options, "type": "value"}]


UP_DOWN = value_map(_0=("down", RED), _1=("up", GREEN))


def data_link(title, url):
    return {"targetBlank": not url.startswith("/d/"), "title": title, "url": url}


def reduce():
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(title, description, unit, expr, thresholds=PLAIN, width=4, legend="", mappings=(), empty="", none="–", decimals=None, link=()):
    defaults = {"color": {"mode": "thresholds"}, "mappings": list(mappings), "noValue": none, "thresholds": thresholds}
    if decimals is not None:
        defaults["decimals"] = decimals
    if link:
        defaults["links"] = [data_link(*link)]
    options = {
        "colorMode": "none" if thresholds is PLAIN else "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": reduce(),
        "showPercentChange": False,
        "textMode": "value",
        "wideLayout": True,
    }
    return Panel("stat", title, description, unit, [Q(expr, legend)], width, 4, empty, options, defaults)


def series(title, description, unit, *queries, width=8, empty="", stacked=False, bars=False, top=None, points=None):
    """Lines over time."""
    custom = {
        "axisBorderShow": False, "axisCenteredZero": False, "axisColorMode": "text", "axisLabel": "", "axisPlacement": "auto",
        "axisSoftMin": 0, "barAlignment": 0, "drawStyle": "bars" if bars else "line", "fillOpacity": 60 if bars else 10,
        "gradientMode": "none", "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        "lineInterpolation": "linear", "lineWidth": 1, "pointSize": 5,
        "scaleDistribution": {"type": "linear"}, "showPoints": "auto", "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"}, "thresholdsStyle": {"mode": "off"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom, "mappings": [], "thresholds": PLAIN}
    if top is not None:
        defaults |= {"min": 0, "max": top}
    options = {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"hideZeros": False, "mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, unit, list(queries), width, 8, empty, options, defaults, points=points)


def timeline(title, description, query, mappings, width=12, empty="", unit="none"):
    """States over time."""
    custom = {"axisPlacement": "auto", "fillOpacity": 80, "hideFrom": {"legend": False, "tooltip": False, "viz": False},
              "lineWidth": 0}
    defaults = {"color": {"mode": "thresholds"}, "custom": custom, "mappings": mappings, "thresholds": ONE_IS_GOOD}
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"hideZeros": False, "mode": "single", "sort": "none"},
    }
    return Panel("state-timeline", title, description, unit, [query], width, 8, empty, options, defaults)


def bars(title, description, unit, query, width=8, empty="", thresholds=PLAIN):
    """The largest ones now."""
    defaults = {"color": {"mode": "thresholds"}, "mappings": [], "min": 0, "noValue": "none", "thresholds": thresholds}
    options = {
        "displayMode": "basic", "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 300, "minVizHeight": 16, "minVizWidth": 8, "namePlacement": "left", "orientation": "horizontal",
        "reduceOptions": reduce(), "showUnfilled": True, "sizing": "auto", "valueMode": "text",
    }
    return Panel("bargauge", title, description, unit, [query], width, 8, empty, options, defaults)


@dataclass(frozen=True)
class Column:
    """A table's column: of a query (its value) or a label."""

    title: str
    query: Q | None = None
    label: str = ""
    unit: str = ""
    thresholds: dict | None = None
    decimals: int | None = None
    link: tuple = ()
    mappings: tuple = ()


def table(title, description, *columns, width=24, height=8, empty="", sort=None, descending=True):
    """What its queries say now, joined by the labels that have a column."""
    columns, kept, overrides = list(columns), [], []
    queries = [c.query for c in columns if c.query]
    labels = tuple(c.label for c in columns if c.label)
    names, order, value = {}, {}, 0
    for i, column in enumerate(columns):
        if column.query:
            source = "Value" if len(queries) == 1 else f"Value #{chr(ord('A') + value)}"
            value += 1
        else:
            source = column.label
        names[source], order[source] = column.title, i
        kept.append(source)
        properties = []
        if column.unit:
            properties.append({"id": "unit", "value": column.unit})
        if column.decimals is not None:
            properties.append({"id": "decimals", "value": column.decimals})
        if column.mappings:
            properties.append({"id": "mappings", "value": list(column.mappings)})
        if column.thresholds:
            properties.append({"id": "thresholds", "value": column.thresholds})
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        if column.link:
            properties.append({"id": "links", "value": [data_link(*column.link)]})
        if properties:
            overrides.append({"matcher": {"id": "byName", "options": column.title}, "properties": properties})
    queries = [Q(q.expr, q.legend, q.limit, labels) for q in queries]
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": kept}}},
        {"id": "organize", "options": {"excludeByName": {}, "includeByName": {}, "indexByName": order, "renameByName": names}},
    ]
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False, "inspect": False}
    defaults = {"color": {"mode": "thresholds"}, "custom": custom, "mappings": [], "noValue": "none", "thresholds": PLAIN}
    options = {"cellHeight": "sm", "frameIndex": 0, "showHeader": True,
               "sortBy": [{"desc": descending, "displayName": sort}] if sort else []}
    return Panel("table", title, description, "short", queries, width, height, empty, options, defaults, overrides, transformations)


# --- JSON -------------------------------------------------------------------------------


def target(panel, query, ref):
    found = {
        "datasource": PROMETHEUS, "editorMode": "code", "expr": query.expr, "legendFormat": query.legend or "__auto",
        "refId": ref,
    }
    now = panel.kind in ("stat", "bargauge", "table")
    found |= {"format": "table" if panel.kind == "table" else "time_series", "instant": now, "range": not now}
    if "$__rate_interval" in query.expr and re.search(r"[a-z0-9]:\w", query.expr):
        found["interval"] = RECORDED_STEP
    return found


def panel_json(panel, at, number):
    x, y = at
    overrides = list(panel.overrides)
    targets = []
    for i, query in enumerate(panel.queries):
        ref = chr(ord("A") + i)
        targets.append(target(panel, query, ref))
        if query.limit:
            dashed = [
                {"id": "custom.lineStyle", "value": {"dash": [10, 10], "fill": "dash"}},
                {"id": "custom.fillOpacity", "value": 0},
                {"id": "color", "value": {"fixedColor": RED, "mode": "fixed"}},
            ]
            overrides.append({"matcher": {"id": "byFrameRefID", "options": ref}, "properties": dashed})
    return {
        "datasource": PROMETHEUS,
        "description": panel.description,
        "fieldConfig": {"defaults": {**panel.defaults, "unit": panel.unit}, "overrides": overrides},
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "id": number,
        **({"maxDataPoints": panel.points} if panel.points else {}),
        "options": panel.options,
        "targets": targets,
        "title": panel.title,
        **({"transformations": panel.transformations} if panel.transformations else {}),
        "type": panel.kind,
    }


def row_json(row, y, number):
    return {"collapsed": False, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}, "id": number, "panels": [],
            "title": row.title, "type": "row"}


def panels_json(rows):
    """Panels from left to right, a new line where one is full."""
    found, y, number = [], 0, 1
    for row in rows:
        found.append(row_json(row, y, number))
        y, number, x, height = y + 1, number + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            found.append(panel_json(panel, (x, y), number))
            x, number, height = x + panel.width, number + 1, max(height, panel.height)
        y += height
    return found


def variable_json(variable):
    found = {
        "datasource": PROMETHEUS, "description": variable.description, "hide": 2 if variable.hidden else 0,
        "includeAll": variable.all, "label": variable.label, "multi": variable.all, "name": variable.name, "options": [],
        "query": {"qryType": 1, "query": variable.query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2, "regex": "", "skipUrlSync": False, "sort": 1, "type": "query",
    }
    if variable.all:
        found |= {"allValue": ".+", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return found


DATASOURCE = {
    "description": "The Prometheus that scrapes the bridges and evaluates alerts/rules.", "hide": 0, "includeAll": False,
    "label": "Data source", "multi": False, "name": "datasource", "options": [], "query": "prometheus", "refresh": 1,
    "regex": "", "skipUrlSync": False, "type": "datasource",
}


def annotations(alerts):
    """Grafana's own, and the alerts that lead to this dashboard."""
    own = {
        "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
    }
    names = "|".join(alerts)
    firing = {
        "datasource": PROMETHEUS, "enable": True, "expr": f'ALERTS{{alertstate="firing",alertname=~"{names}"}}', "hide": False,
        "iconColor": RED, "name": "Alerts", "step": "60s", "tagKeys": "alertname,severity",
        "textFormat": "{{pipeline_id}} {{topic}} {{partition}} {{cluster}} {{instance}}", "titleFormat": "{{alertname}}",
    }
    return {"list": [own, firing]}


def dashboard_json(dashboard, alerts):
    """`alerts`: names of those whose dashboard_url leads here."""
    link = {
        "asDropdown": True, "icon": "external link", "includeVars": False, "keepTime": True, "tags": ["kafka2prom"],
        "targetBlank": False, "title": "Kafka2Prom", "tooltip": "The other dashboards of Kafka2Prom", "type": "dashboards",
        "url": "",
    }
    return {
        "annotations": annotations(alerts),
        "description": dashboard.description,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [link],
        "panels": panels_json(dashboard.rows),
        "refresh": "30s",
        "schemaVersion": 42,
        "tags": ["kafka2prom"],
        "templating": {"list": [DATASOURCE] + [variable_json(v) for v in dashboard.variables]},
        "time": {"from": f"now-{dashboard.span}", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": dashboard.title,
        "uid": dashboard.uid,
        "version": 1,
        "weekStart": "",
    }
