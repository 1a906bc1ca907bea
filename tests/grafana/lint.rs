//! The linter: Grafana's model and our conventions.
use super::schema::check;
use super::shapes::{DASHBOARD, MORE_PROPERTIES, PANEL, PANELS, PROPERTIES, ROW, UNITS};
use super::{Board, label_values, layout};
use crate::contract::promql;
use crate::support::repo::{list, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TAG: &str = "kafka2prom";
/// What Grafana itself fills in.
const BUILT_IN: [&str; 4] = ["__rate_interval", "__value", "__range", "__interval"];
/// How often the recording rules are evaluated.
const RECORDED: &str = "1m";
/// A title of up to so many characters is one.
const TITLE: usize = 40;

/// Everything that is wrong with a dashboard.
pub(crate) fn faults(board: &Board) -> Vec<String> {
    let json = &board.json;
    let mut found = check(json, DASHBOARD, "dashboard");
    found.extend(head(board));
    found.extend(variables(board));
    let panels = list(json, "panels");
    found.extend(layout::faults(panels));
    found.extend(unique("id", panels.iter().map(|p| p["id"].to_string())));
    let mut row = String::new();
    let mut titles = Vec::new();
    for panel in panels {
        let title = text(panel, "title");
        if panel["type"] == "row" {
            found.extend(check(panel, ROW, &format!("row {title}")));
            row = title.to_owned();
            continue;
        }
        titles.push(title.to_owned());
        found.extend(check(panel, PANEL, &format!("panel {title}")));
        found.extend(by_type(panel));
        found.extend(one_panel(panel));
        if row.is_empty() {
            found.push(format!("{title}: stands above the first row"));
        }
    }
    // Within a dashboard people speak of a panel by its title.
    found.extend(unique("title", titles.into_iter()));
    found.extend(names_of_variables(board));
    found
}

fn unique(what: &str, values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    values.filter(|value| !seen.insert(value.clone())).map(|value| format!("{what} {value} is there twice")).collect()
}

fn head(board: &Board) -> Vec<String> {
    let json = &board.json;
    let mut found = Vec::new();
    let mut want = |good: bool, what: &str| {
        if !good {
            found.push(what.to_owned());
        }
    };
    want(json["schemaVersion"] == 42, "schemaVersion is not 42");
    want(text(json, "uid") == board.file, "the uid is not the file's name");
    // The schema's comment says 8 to 40; the server refuses only what is longer.
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let uid = text(json, "uid");
    want(uid.len() <= 40 && uid.chars().all(letters), "a uid has at most 40 letters, digits, - and _");
    want(text(json, "title").starts_with("Kafka2Prom / "), "the title does not begin with Kafka2Prom /");
    want(sentence(text(json, "description")), "the description is no sentence");
    want(json["tags"] == json!([TAG]), "the tag is not kafka2prom");
    let link = |l: &&Value| l["type"] == "dashboards" && l["tags"] == json!([TAG]) && l["asDropdown"] == true;
    want(list(json, "links").iter().filter(link).count() == 1, "no link to the other dashboards by tag");
    let annotations = list(&json["annotations"], "list");
    want(annotations.iter().any(|a| a["builtIn"] == 1), "Grafana's own annotations are missing");
    let alerts = |a: &&Value| text(a, "expr").starts_with(r#"ALERTS{alertstate="firing",alertname=~""#);
    want(annotations.iter().filter(alerts).count() == 1, "no annotations of the alerts");
    let shown = |a: &&Value| a["builtIn"] == 1 || (a["enable"] == true && a["datasource"]["uid"] == "${datasource}");
    want(annotations.iter().all(|a| shown(&a)), "annotations are off, or of another data source");
    let first = list(json, "panels").first();
    want(first.is_some_and(|p| text(p, "title") == "Is it all right?"), "the first row does not ask: Is it all right?");
    let stats = list(json, "panels").iter().skip(1).take_while(|p| p["type"] != "row");
    want(stats.clone().count() >= 4 && stats.clone().all(|p| p["type"] == "stat"), "the first row is not of stats");
    found
}

fn sentence(text: &str) -> bool {
    text.len() > 15 && text.ends_with(['.', '?']) && text.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit())
}

fn variables(board: &Board) -> Vec<String> {
    let mut found = Vec::new();
    let first = board.variables().first().unwrap_or(&Value::Null);
    if first["type"] != "datasource" || first["name"] != "datasource" || first["query"] != "prometheus" {
        found.push("the first variable is not the data source".to_owned());
    }
    for variable in board.variables().iter().filter(|v| v["type"] == "query") {
        let name = text(variable, "name");
        let mut want = |good: bool, what: &str| {
            if !good {
                found.push(format!("${name}: {what}"));
            }
        };
        want(sentence(text(variable, "description")), "the description is no sentence");
        want(variable["datasource"]["uid"] == "${datasource}", "not of $datasource");
        want(label_values(text(&variable["query"], "query")).is_some(), "not label_values(METRIC, LABEL)");
        want(variable["refresh"] == 2, "not refreshed with the time range");
        let all = variable["includeAll"] == true;
        want(variable["multi"] == all, "multi without All, or All without multi");
        want(!all || variable["allValue"] == ".+", "All is not .+");
        want(!all || variable["current"]["value"] == json!(["$__all"]), "does not begin with All");
        want(all || variable.get("allValue").is_none(), "a value for All that is not there");
    }
    found
}

fn by_type(panel: &Value) -> Vec<String> {
    let (title, kind) = (text(panel, "title"), text(panel, "type"));
    let Some((_, options, custom)) = PANELS.iter().find(|(name, _, _)| *name == kind) else {
        return vec![format!("panel {title}: unknown type {kind}")];
    };
    let mut found = check(&panel["options"], *options, &format!("panel {title}.options"));
    let field = &panel["fieldConfig"]["defaults"]["custom"];
    match custom {
        Some(shape) => found.extend(check(field, *shape, &format!("panel {title}.custom"))),
        None if field.is_null() => {}
        None => found.push(format!("panel {title}: {kind} has no custom field options")),
    }
    for property in list(&panel["fieldConfig"], "overrides").iter().flat_map(|o| list(o, "properties")) {
        let id = text(property, "id");
        let of_kind =
            MORE_PROPERTIES.iter().find(|(of, name, _)| *of == kind && *name == id).map(|(_, _, shape)| shape);
        match of_kind.or(PROPERTIES.iter().find(|(name, _)| *name == id).map(|(_, shape)| shape)) {
            Some(shape) => found.extend(check(&property["value"], *shape, &format!("panel {title}.{id}"))),
            None => found.push(format!("panel {title}: unknown property {id}")),
        }
    }
    let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps");
    let values: Vec<_> = steps.iter().map(|s| s["value"].as_f64()).collect();
    if values.first() != Some(&None) || !values[1..].is_sorted() || values[1..].contains(&None) {
        found.push(format!("panel {title}: thresholds do not begin without a value, or do not rise"));
    }
    found
}

fn one_panel(panel: &Value) -> Vec<String> {
    let (title, targets) = (text(panel, "title"), list(panel, "targets"));
    let mut found = Vec::new();
    let mut want = |good: bool, what: &str| {
        if !good {
            found.push(format!("panel {title}: {what}"));
        }
    };
    want(
        !title.is_empty() && title.chars().count() <= TITLE && !title.ends_with('.'),
        "the title is empty or too long",
    );
    want(sentence(text(panel, "description")), "the description is no sentence");
    want(UNITS.contains(&text(&panel["fieldConfig"]["defaults"], "unit")), "an unknown unit");
    want(panel["datasource"]["uid"] == "${datasource}", "not of $datasource");
    want(!targets.is_empty(), "asks nothing");
    let now = ["stat", "bargauge", "table"].contains(&text(panel, "type"));
    for (i, target) in targets.iter().enumerate() {
        let expr = text(target, "expr");
        want(target["datasource"]["uid"] == "${datasource}", "a query is not of $datasource");
        want(text(target, "refId") == ref_of(i), "refIds are not A, B, …");
        want(target["instant"] == now && target["range"] == !now, "a query is of the wrong kind: now, or over time");
        want((target["format"] == "table") == (panel["type"] == "table"), "the format is not the panel's");
        let lines = ["timeseries", "state-timeline"].contains(&text(panel, "type"));
        want(!lines || target["legendFormat"] != "__auto", "a line without a legend");
        let windows = expr.match_indices('[').map(|(at, _)| &expr[at + 1..]);
        let fixed = |w: &str| w.starts_with(|c: char| c.is_ascii_digit()) || w.starts_with("$__rate_interval]");
        want(windows.clone().all(fixed), "a window that is neither fixed nor $__rate_interval");
        let recorded = promql::uses(expr).iter().any(|u| u.ranged && u.metric.contains(':'));
        let needs = recorded && expr.contains("$__rate_interval");
        want(!needs || target["interval"] == RECORDED, "a rate of a recording rule without its interval as step");
    }
    found
}

fn ref_of(i: usize) -> String {
    char::from(b'A' + u8::try_from(i).expect("few queries")).to_string()
}

/// Every `$name` is a variable, and every variable is used.
fn names_of_variables(board: &Board) -> Vec<String> {
    let known: BTreeSet<&str> = board.variables().iter().map(|v| text(v, "name")).collect();
    let mut used = BTreeSet::new();
    let mut without = board.json.clone();
    if let Some(list) = without["templating"]["list"].as_array_mut() {
        list.iter_mut().for_each(|v| v["name"] = Value::Null);
    }
    let everything = without.to_string();
    for (at, _) in everything.match_indices('$') {
        let rest = everything[at + 1..].trim_start_matches('{');
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
        used.insert(name.to_owned());
    }
    used.remove("__all");
    let strange =
        used.iter().filter(|n| !n.is_empty() && !known.contains(n.as_str()) && !BUILT_IN.contains(&n.as_str()));
    let mut found: Vec<_> = strange.map(|name| format!("${name} is no variable of this dashboard")).collect();
    found.extend(known.iter().filter(|n| !used.contains(**n)).map(|n| format!("${n} is not used")));
    found
}
