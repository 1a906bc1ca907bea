//! Grafana's classic dashboard as far as ours use it, from its own schema: the generated types
//! in packages/grafana-schema (raw/dashboard/x, raw/composable/*/panelcfg/x, common) of 12.x and
//! kinds/dashboard/dashboard_kind.cue. A key that Grafana has and we do not use is unknown here,
//! on purpose: it is added when it is first used.
use super::schema::Key;
use super::schema::Kind::{self, Any, Bool, Count, Either, List, Map, Null, Number, Of, One, Text};

const TEXTS: Kind = List(&Text);
const DATASOURCE: &[Key] = &[("type", true, One(&["prometheus", "grafana"])), ("uid", true, Text)];

/// The dashboard itself. Panels are checked one by one.
pub(crate) const DASHBOARD: Kind = Of(&[
    ("annotations", true, Of(&[("list", true, List(&Of(ANNOTATION)))])),
    ("description", true, Text),
    ("editable", true, Bool),
    ("fiscalYearStartMonth", true, Count),
    ("graphTooltip", true, Count),
    ("id", true, Null),
    ("links", true, List(&Of(LINK))),
    ("panels", true, List(&Any)),
    ("refresh", true, Text),
    ("schemaVersion", true, Count),
    ("tags", true, TEXTS),
    ("templating", true, Of(&[("list", true, List(&Of(VARIABLE)))])),
    ("time", true, Of(&[("from", true, Text), ("to", true, Text)])),
    ("timepicker", true, Of(&[])),
    ("timezone", true, One(&["browser", "utc"])),
    ("title", true, Text),
    ("uid", true, Text),
    ("version", true, Count),
    ("weekStart", true, One(&["", "monday", "saturday", "sunday"])),
]);

const ANNOTATION: &[Key] = &[
    ("builtIn", false, Count),
    ("datasource", true, Of(DATASOURCE)),
    ("enable", true, Bool),
    // Prometheus' own keys stand beside: the schema leaves the object open for them.
    ("expr", false, Text),
    ("hide", false, Bool),
    ("iconColor", true, Text),
    ("name", true, Text),
    ("step", false, Text),
    ("tagKeys", false, Text),
    ("textFormat", false, Text),
    ("titleFormat", false, Text),
    ("type", false, One(&["dashboard"])),
];

const LINK: &[Key] = &[
    ("asDropdown", true, Bool),
    ("icon", true, Text),
    ("includeVars", true, Bool),
    ("keepTime", true, Bool),
    ("tags", true, TEXTS),
    ("targetBlank", true, Bool),
    ("title", true, Text),
    ("tooltip", true, Text),
    ("type", true, One(&["dashboards", "link"])),
    ("url", false, Text),
];

const ONE_OR_MORE: Kind = Either(&[Text, TEXTS]);
const OPTION: &[Key] = &[("selected", false, Bool), ("text", true, ONE_OR_MORE), ("value", true, ONE_OR_MORE)];
const VARIABLE: &[Key] = &[
    ("allValue", false, Text),
    ("current", false, Of(OPTION)),
    ("datasource", false, Of(DATASOURCE)),
    ("description", true, Text),
    ("hide", true, Count),
    ("includeAll", true, Bool),
    ("label", true, Text),
    ("multi", true, Bool),
    ("name", true, Text),
    ("options", true, List(&Of(OPTION))),
    (
        "query",
        true,
        Either(&[One(&["prometheus"]), Of(&[("qryType", true, Count), ("query", true, Text), ("refId", true, Text)])]),
    ),
    ("refresh", true, Count),
    ("regex", true, Text),
    ("skipUrlSync", true, Bool),
    ("sort", false, Count),
    ("type", true, One(&["query", "datasource"])),
];

const GRID: Kind = Of(&[("h", true, Count), ("w", true, Count), ("x", true, Count), ("y", true, Count)]);

/// A row: its panels follow it, as it is open.
pub(crate) const ROW: Kind = Of(&[
    ("collapsed", true, Bool),
    ("gridPos", true, GRID),
    ("id", true, Count),
    ("panels", true, List(&Any)),
    ("title", true, Text),
    ("type", true, One(&["row"])),
]);

const TARGET: &[Key] = &[
    ("datasource", true, Of(DATASOURCE)),
    ("editorMode", true, One(&["code", "builder"])),
    ("expr", true, Text),
    ("format", true, One(&["time_series", "table", "heatmap"])),
    ("instant", true, Bool),
    ("interval", false, Text),
    ("legendFormat", true, Text),
    ("range", true, Bool),
    ("refId", true, Text),
];

const TRANSFORMATION: &[Key] =
    &[("id", true, One(&["merge", "filterFieldsByName", "organize"])), ("options", true, Map(&Any))];

const THRESHOLDS: Kind = Of(&[
    ("mode", true, One(&["absolute", "percentage"])),
    ("steps", true, List(&Of(&[("color", true, Text), ("value", true, Either(&[Number, Null]))]))),
]);
const MAPPING: &[Key] = &[
    ("options", true, Map(&Of(&[("color", true, Text), ("index", true, Count), ("text", false, Text)]))),
    ("type", true, One(&["value"])),
];
const DATA_LINK: &[Key] = &[("targetBlank", true, Bool), ("title", true, Text), ("url", true, Text)];
const COLOR: &[Key] = &[("fixedColor", false, Text), ("mode", true, One(&["thresholds", "palette-classic", "fixed"]))];

const LEGEND: &[Key] = &[
    ("calcs", false, TEXTS),
    ("displayMode", true, One(&["list", "table", "hidden"])),
    ("placement", true, One(&["bottom", "right"])),
    ("showLegend", true, Bool),
];
const TOOLTIP: &[Key] = &[
    ("hideZeros", true, Bool),
    ("mode", true, One(&["single", "multi", "none"])),
    ("sort", true, One(&["asc", "desc", "none"])),
];
const HIDE_FROM: &[Key] = &[("legend", true, Bool), ("tooltip", true, Bool), ("viz", true, Bool)];
const REDUCE: &[Key] = &[("calcs", true, TEXTS), ("fields", true, Text), ("values", true, Bool)];
const ORIENTATION: Kind = One(&["auto", "horizontal", "vertical"]);
const PLACEMENT: Kind = One(&["auto", "left", "right", "hidden"]);

const STAT: &[Key] = &[
    ("colorMode", true, One(&["background", "background_solid", "none", "value"])),
    ("graphMode", true, One(&["area", "line", "none"])),
    ("justifyMode", true, One(&["auto", "center"])),
    ("orientation", true, ORIENTATION),
    ("percentChangeColorMode", true, One(&["standard", "inverted", "same_as_value"])),
    ("reduceOptions", true, Of(REDUCE)),
    ("showPercentChange", true, Bool),
    ("textMode", true, One(&["auto", "name", "none", "value", "value_and_name"])),
    ("wideLayout", true, Bool),
];
const TIMESERIES: &[Key] = &[("legend", true, Of(LEGEND)), ("tooltip", true, Of(TOOLTIP))];
const GRAPH: &[Key] = &[
    ("axisBorderShow", true, Bool),
    ("axisCenteredZero", true, Bool),
    ("axisColorMode", true, One(&["text", "series"])),
    ("axisLabel", true, Text),
    ("axisPlacement", true, PLACEMENT),
    ("axisSoftMin", true, Number),
    ("barAlignment", true, Number),
    ("drawStyle", true, One(&["line", "bars", "points"])),
    ("fillOpacity", true, Count),
    ("gradientMode", true, One(&["none", "opacity", "hue", "scheme"])),
    ("hideFrom", true, Of(HIDE_FROM)),
    ("lineInterpolation", true, One(&["linear", "smooth", "stepBefore", "stepAfter"])),
    ("lineWidth", true, Count),
    ("pointSize", true, Count),
    ("scaleDistribution", true, Of(&[("type", true, One(&["linear", "log", "symlog"]))])),
    ("showPoints", true, One(&["auto", "always", "never"])),
    ("spanNulls", true, Bool),
    ("stacking", true, Of(&[("group", true, Text), ("mode", true, One(&["none", "normal", "percent"]))])),
    ("thresholdsStyle", true, Of(&[("mode", true, One(&["off", "line", "dashed", "area", "series"]))])),
];
const STATE_TIMELINE: &[Key] = &[
    ("alignValue", true, One(&["left", "center", "right"])),
    ("legend", true, Of(LEGEND)),
    ("mergeValues", true, Bool),
    ("rowHeight", true, Number),
    ("showValue", true, One(&["auto", "always", "never"])),
    ("tooltip", true, Of(TOOLTIP)),
];
const STATES: &[Key] = &[
    ("axisPlacement", true, PLACEMENT),
    ("fillOpacity", true, Count),
    ("hideFrom", true, Of(HIDE_FROM)),
    ("lineWidth", true, Count),
];
const BARS: &[Key] = &[
    ("displayMode", true, One(&["basic", "gradient", "lcd"])),
    ("legend", true, Of(LEGEND)),
    ("maxVizHeight", true, Count),
    ("minVizHeight", true, Count),
    ("minVizWidth", true, Count),
    ("namePlacement", true, One(&["auto", "hidden", "left", "top"])),
    ("orientation", true, ORIENTATION),
    ("reduceOptions", true, Of(REDUCE)),
    ("showUnfilled", true, Bool),
    ("sizing", true, One(&["auto", "manual"])),
    ("valueMode", true, One(&["color", "hidden", "text"])),
];
const SORTED: &[Key] = &[("desc", true, Bool), ("displayName", true, Text)];
const TABLE: &[Key] = &[
    ("cellHeight", true, One(&["sm", "md", "lg"])),
    ("frameIndex", true, Count),
    ("showHeader", true, Bool),
    ("sortBy", true, List(&Of(SORTED))),
];
const CELL: &[Key] = &[("type", true, One(&["auto", "color-text", "color-background"]))];
const CELLS: &[Key] = &[
    ("align", true, One(&["auto", "left", "center", "right"])),
    ("cellOptions", true, Of(CELL)),
    ("filterable", true, Bool),
    ("inspect", true, Bool),
];

/// Types of panels: the name, its options, its part of the field configuration.
pub(crate) const PANELS: [(&str, Kind, Option<Kind>); 5] = [
    ("stat", Of(STAT), None),
    ("timeseries", Of(TIMESERIES), Some(Of(GRAPH))),
    ("state-timeline", Of(STATE_TIMELINE), Some(Of(STATES))),
    ("bargauge", Of(BARS), None),
    ("table", Of(TABLE), Some(Of(CELLS))),
];

/// Any panel but a row; what depends on its type is checked by [`PANELS`].
pub(crate) const PANEL: Kind = Of(&[
    ("datasource", true, Of(DATASOURCE)),
    ("description", true, Text),
    ("fieldConfig", true, Of(&[("defaults", true, Of(FIELD)), ("overrides", true, List(&Of(OVERRIDE)))])),
    ("gridPos", true, GRID),
    ("id", true, Count),
    ("maxDataPoints", false, Count),
    ("options", true, Any),
    ("targets", true, List(&Of(TARGET))),
    ("title", true, Text),
    ("transformations", false, List(&Of(TRANSFORMATION))),
    ("type", true, Text),
]);

const FIELD: &[Key] = &[
    ("color", true, Of(COLOR)),
    ("custom", false, Any),
    ("decimals", false, Count),
    ("links", false, List(&Of(DATA_LINK))),
    ("mappings", true, List(&Of(MAPPING))),
    ("max", false, Number),
    ("min", false, Number),
    ("noValue", false, Text),
    ("thresholds", true, THRESHOLDS),
    ("unit", true, Text),
];
const OVERRIDE: &[Key] = &[
    ("matcher", true, Of(&[("id", true, One(&["byName", "byFrameRefID"])), ("options", true, Text)])),
    ("properties", true, List(&Of(&[("id", true, Text), ("value", true, Any)]))),
];

/// What an override may set.
pub(crate) const PROPERTIES: [(&str, Kind); 8] = [
    ("unit", Text),
    ("decimals", Count),
    ("mappings", List(&Of(MAPPING))),
    ("thresholds", THRESHOLDS),
    ("links", List(&Of(DATA_LINK))),
    ("color", Of(COLOR)),
    ("custom.cellOptions", Of(CELL)),
    ("custom.lineStyle", Of(&[("dash", true, List(&Count)), ("fill", true, One(&["solid", "dash", "dot", "square"]))])),
];
/// Further ones, by the type that has them.
pub(crate) const MORE_PROPERTIES: [(&str, &str, Kind); 1] = [("timeseries", "custom.fillOpacity", Count)];

/// Units that we use, of packages/grafana-data/src/valueFormats/categories.ts.
pub(crate) const UNITS: [&str; 11] =
    ["none", "short", "percentunit", "s", "bytes", "Bps", "ops", "reqps", "rps", "rowsps", "dateTimeFromNow"];
