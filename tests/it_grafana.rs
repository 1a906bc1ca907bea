//! The dashboards: they are what their tables say, keep Grafana's model and our conventions,
//! name only what exists, and are where the alerts lead to.
use crate::contract::promql::uses;
use crate::contract::{self, Metrics};
use crate::grafana::{Board, empty_panels, lint};
use crate::support::repo::{list, read, root, text};
use crate::support::skip::{Missing, require};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

const BOARDS: [&str; 9] = [
    "k2p-backlog",
    "k2p-bridge",
    "k2p-delivery",
    "k2p-fleet",
    "k2p-logs",
    "k2p-origins",
    "k2p-pipelines",
    "k2p-run",
    "k2p-slo",
];

#[test]
fn dashboards_are_what_their_tables_say() {
    let interpreter = env::var("K2P_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(interpreter);
    command.args(["grafana/source", "--check"]).current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1");
    let missing = || Missing::Part("python3 is missing (apt-get install python3)".into());
    let Some(output) = require(command.output().map_err(|_| missing())) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn dashboards_keep_grafanas_model_and_our_conventions() {
    let boards = Board::all();
    assert_eq!(boards.iter().map(|b| b.file.as_str()).collect::<Vec<_>>(), BOARDS);
    for board in &boards {
        let faults = lint::faults(board);
        assert!(faults.is_empty(), "{}: {faults:#?}", board.file);
    }
    let titles: BTreeSet<&str> = boards.iter().map(|b| text(&b.json, "title")).collect();
    assert_eq!(titles.len(), boards.len(), "two dashboards of one title");
}

#[test]
fn empty_panels_are_panels_with_a_reason() {
    let boards = Board::all();
    for (uid, title, why) in empty_panels() {
        let board = boards.iter().find(|b| b.file == uid).unwrap_or_else(|| panic!("no dashboard {uid}"));
        assert!(board.panels().any(|p| text(p, "title") == title), "{uid} has no panel {title}");
        assert!(why.len() > 15, "{uid}/{title} without a reason");
    }
}

// --- the linter itself ----------------------------------------------------------------

/// What a fault does to a sound dashboard.
enum Fault {
    Set(&'static str, Value),
    Remove(&'static str),
}

fn planted(board: &Board, fault: &Fault) -> Board {
    let mut broken = board.clone();
    let (path, value) = match fault {
        Fault::Set(path, value) => (path, Some(value.clone())),
        Fault::Remove(path) => (path, None),
    };
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = broken.json.pointer_mut(parent).unwrap_or_else(|| panic!("no {path}"));
    match (parent, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(key.to_owned(), value)),
        (Value::Object(map), None) => drop(map.remove(key).unwrap_or_else(|| panic!("no {path}"))),
        (Value::Array(list), Some(value)) => list[key.parse::<usize>().unwrap()] = value,
        (Value::Array(list), None) => drop(list.remove(key.parse().unwrap())),
        _ => panic!("no {path}"),
    }
    broken
}

/// Panel 0 is the first row, 1 to 6 its stats, 15 the first table, 16 the first lines.
#[test]
fn the_linter_finds_planted_faults() {
    use Fault::{Remove, Set};
    let board = Board::all().into_iter().find(|b| b.file == "k2p-fleet").unwrap();
    let bridge = Board::all().into_iter().find(|b| b.file == "k2p-bridge").unwrap();
    assert_eq!(board.json["panels"][15]["type"], "table");
    assert_eq!(board.json["panels"][16]["type"], "timeseries");
    let expr = "/panels/16/targets/0/expr";
    for (fault, said) in [
        // the model
        (Set("/style", json!("dark")), "unknown key style"),
        (Remove("/timezone"), "timezone is missing"),
        (Set("/editable", json!("yes")), "true or false is wanted"),
        (Set("/id", json!(7)), "null is wanted"),
        (Set("/schemaVersion", json!(41)), "schemaVersion is not 42"),
        (Set("/panels/1/id", json!(3)), "id 3 is there twice"),
        (Set("/panels/1/span", json!(4)), "unknown key span"),
        (Remove("/panels/1/gridPos"), "gridPos is missing"),
        (Set("/panels/1/type", json!("graph")), "unknown type graph"),
        (Set("/panels/1/options/colorMode", json!("blink")), "one of"),
        (Remove("/panels/1/options/reduceOptions"), "reduceOptions is missing"),
        (Set("/panels/1/options/legend", json!({})), "unknown key legend"),
        (Set("/panels/1/fieldConfig/defaults/custom", json!({"lineWidth": 1})), "no custom field options"),
        (Set("/panels/16/fieldConfig/defaults/custom/lineWidth", json!("1")), "a whole number is wanted"),
        (Set("/panels/16/fieldConfig/defaults/custom/inspect", json!(true)), "unknown key inspect"),
        (Remove("/panels/16/options/tooltip"), "tooltip is missing"),
        (Set("/panels/15/options/sortBy/0/displayName", json!(1)), "a text is wanted"),
        (Set("/panels/15/fieldConfig/overrides/0/properties/0/id", json!("custom.glow")), "unknown property"),
        (Set("/panels/15/fieldConfig/overrides/0/matcher/id", json!("byMood")), "one of"),
        (Set("/panels/15/transformations/0/id", json!("joinByMood")), "one of"),
        (Set("/panels/1/fieldConfig/defaults/thresholds/steps/0/value", json!(0)), "thresholds do not begin"),
        (Set("/panels/1/targets/0/query", json!("up")), "unknown key query"),
        (Remove("/panels/1/targets/0/expr"), "expr is missing"),
        (Remove("/annotations/list/1/iconColor"), "iconColor is missing"),
        (Remove("/links/0/tooltip"), "tooltip is missing"),
        // places
        (Set("/panels/1/gridPos/x", json!(2)), "overlap"),
        (Set("/panels/6/gridPos/w", json!(5)), "outside of the 24 columns"),
        (Set("/panels/6/gridPos/h", json!(3)), "a gap at column 20"),
        (Remove("/panels/6"), "a gap at column 20"),
        (Set("/panels/0/gridPos/h", json!(2)), "a row is a whole line"),
        (Set("/panels/2/title", json!("Warnings of all the bridges")), "too narrow for the title"),
        (Set("/panels/2/gridPos", json!({"h": 4, "w": 4, "x": 8, "y": 1})), "is below it"),
        // conventions
        (Set("/uid", json!("k2p-other")), "the uid is not the file's name"),
        (Set("/title", json!("Fleet")), "the title does not begin"),
        (Set("/tags", json!(["mine"])), "the tag is not kafka2prom"),
        (Set("/links", json!([])), "no link to the other dashboards"),
        (Remove("/annotations/list/1"), "no annotations of the alerts"),
        (Set("/annotations/list/1/enable", json!(false)), "annotations are off"),
        (Remove("/annotations/list/0"), "Grafana's own annotations are missing"),
        (Set("/panels/0/title", json!("Overview")), "the first row does not ask"),
        (Set("/panels/1/title", json!("")), "the title is empty"),
        (Set("/panels/1/title", json!("Warnings")), "title Warnings is there twice"),
        (Set("/panels/1/description", json!("alerts")), "the description is no sentence"),
        (Set("/panels/1/fieldConfig/defaults/unit", json!("furlongs")), "an unknown unit"),
        (Set("/panels/1/fieldConfig/defaults/unit", json!("")), "an unknown unit"),
        (Set("/panels/1/datasource/uid", json!("prom-1")), "not of $datasource"),
        (Set("/panels/1/targets/0/datasource/uid", json!("prom-1")), "a query is not of $datasource"),
        (Set("/panels/1/targets", json!([])), "asks nothing"),
        (Set("/panels/1/targets/0/instant", json!(false)), "a query is of the wrong kind"),
        (Set("/panels/16/targets/0/instant", json!(true)), "a query is of the wrong kind"),
        (Set("/panels/16/targets/0/refId", json!("B")), "refIds are not A, B"),
        (Set("/panels/15/targets/0/format", json!("time_series")), "the format is not the panel's"),
        (Set("/panels/16/targets/0/legendFormat", json!("__auto")), "a line without a legend"),
        (Set(expr, json!("sum(rate(a[$__interval]))")), "neither fixed nor $__rate_interval"),
        (Set(expr, json!("sum(rate(a:b:max[$__rate_interval]))")), "without its interval as step"),
        (Set(expr, json!("up{job=~\"$nobody\"}")), "$nobody is no variable"),
        (Set("/templating/list/0/type", json!("query")), "the first variable is not the data source"),
    ] {
        assert_found(&board, &fault, said);
    }
    for (fault, said) in [
        (Set("/templating/list/1/allValue", json!(".*")), "All is not .+"),
        (Set("/templating/list/1/includeAll", json!(false)), "multi without All"),
        (Set("/templating/list/1/refresh", json!(1)), "not refreshed"),
        (Set("/templating/list/1/current/value", json!(["x"])), "does not begin with All"),
        (Set("/templating/list/1/datasource/uid", json!("x")), "not of $datasource"),
        (Set("/templating/list/1/query/query", json!("query_result(up)")), "not label_values"),
        (Set("/templating/list/1/description", json!("")), "the description is no sentence"),
        (Set("/templating/list/1/name", json!("bridges")), "$bridges is not used"),
        (Set("/templating/list/1/definition", json!("x")), "unknown key definition"),
    ] {
        assert_found(&bridge, &fault, said);
    }
}

#[track_caller]
fn assert_found(board: &Board, fault: &Fault, said: &str) {
    let found = lint::faults(&planted(board, fault));
    assert!(found.iter().any(|f| f.contains(said)), "{said:?} is not among {found:#?}");
}

// --- contract -------------------------------------------------------------------------

fn metrics() -> Option<(Value, Metrics)> {
    let tables = require(contract::alert_tables())?;
    let all = contract::all(&tables);
    Some((tables, all))
}

#[test]
fn dashboards_name_only_metrics_and_labels_that_exist() {
    let Some((_, metrics)) = metrics() else { return };
    let mut wrong = Vec::new();
    for board in Board::all() {
        for (place, expr) in board.questions() {
            wrong.extend(contract::faults(&metrics, &expr).iter().map(|fault| format!("{place}: {fault}\n  {expr}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A metric that is renamed, loses a label or becomes another type is found, wherever a
/// dashboard uses it.
#[test]
fn a_renamed_metric_a_lost_label_and_another_type_are_found() {
    let Some((_, metrics)) = metrics() else { return };
    let questions: Vec<String> = Board::all().iter().flat_map(Board::questions).map(|(_, expr)| expr).collect();
    let fails = |metrics: &Metrics| questions.iter().any(|expr| !contract::faults(metrics, expr).is_empty());
    assert!(!fails(&metrics));
    let used: BTreeSet<String> = questions.iter().flat_map(|expr| uses(expr)).map(|u| u.metric).collect();
    for name in used.iter().filter_map(|name| contract::known(&metrics, name)).map(|(name, _, _)| name) {
        let mut renamed = metrics.clone();
        let moved = renamed.remove(name).unwrap();
        renamed.insert(format!("{name}_new"), moved);
        assert!(fails(&renamed), "{name} may be renamed");
    }
    for (name, label) in [
        ("kafka2prom_partition_state", "state"),
        ("kafka2prom_records_dropped_total", "reason"),
        ("pipeline_errors_total", "component"),
        ("pipeline:pipeline_runs:max", "status"),
    ] {
        let mut lost = metrics.clone();
        assert!(lost.get_mut(name).unwrap().labels.remove(label));
        assert!(fails(&lost), "{name} may lose {label}");
    }
    for (name, type_) in [
        ("kafka2prom_records_consumed_total", contract::Type::Gauge),
        ("kafka2prom_origin_up", contract::Type::Counter),
        ("kafka2prom_exposure_age_seconds", contract::Type::Counter),
    ] {
        let mut other = metrics.clone();
        other.get_mut(name).unwrap().type_ = type_;
        assert!(fails(&other), "{name} may be of another type");
    }
}

#[test]
fn metrics_are_asked_for_as_their_type_wants() {
    let Some((_, metrics)) = metrics() else { return };
    for (expr, said) in [
        ("up", ""),
        ("sum by (topic) (rate(kafka2prom_records_consumed_total[5m]))", ""),
        ("kafka2prom_records_consumed_total - kafka2prom_records_consumed_total offset 1d", ""),
        ("histogram_quantile(0.9, sum by (le) (rate(kafka2prom_scrape_seconds_bucket[5m])))", ""),
        ("rate(kafka2prom_scrape_seconds_sum[5m]) / rate(kafka2prom_scrape_seconds_count[5m])", ""),
        ("deriv(kafka2prom_partition_lag_records[5m])", ""),
        ("kafka2prom_nothing", "no metric kafka2prom_nothing"),
        ("kafka2prom_records_consumed", "no metric"),
        ("kafka2prom_scrape_seconds", "no metric"),
        ("kafka2prom_origins_bucket", "no metric"),
        ("kafka2prom_records_consumed_total", "a counter without rate"),
        ("rate(sum(kafka2prom_records_consumed_total)[5m:])", "a counter without rate"),
        ("increase(kafka2prom_origins[5m])", "a gauge in a rate"),
        ("rate(kafka2prom_scrape_seconds_bucket[5m])", "buckets without histogram_quantile"),
        ("histogram_quantile(0.9, sum by (route) (rate(kafka2prom_scrape_seconds_bucket[5m])))", "without le"),
        ("histogram_quantile(0.9, rate(kafka2prom_scrape_seconds_sum[5m]))", "no buckets"),
        ("kafka2prom_origins{reason=\"x\"}", "has no label reason"),
        ("sum by (reason) (kafka2prom_origins)", "by (reason): nothing inside has it"),
        ("kafka2prom_origins{cluster=\"x\"}", "has no label cluster"),
        ("kafka2prom_origin_up{cluster=\"x\"}", ""),
        ("pipeline:pipeline_runs:max", "a counter without rate"),
        ("pipeline:pipeline_runs_active:max", ""),
    ] {
        let found = contract::faults(&metrics, expr);
        let good = if said.is_empty() { found.is_empty() } else { found.iter().any(|f| f.contains(said)) };
        assert!(good, "{expr}: {found:?}, not {said:?}");
    }
}

/// What neither a panel nor an alert asks for stands in grafana/unused.txt, with a reason.
#[test]
fn every_metric_of_the_catalogue_is_used_or_said_not_to_be() {
    let Some((tables, metrics)) = metrics() else { return };
    let mut used = BTreeSet::new();
    let boards: Vec<String> = Board::all().iter().flat_map(Board::questions).map(|(_, expr)| expr).collect();
    let rules = tables["rules"].as_array().unwrap().iter().map(|rule| text(rule, "expr").to_owned());
    for one in rules.chain(boards).flat_map(|expr| uses(&expr)) {
        used.extend(contract::known(&metrics, &one.metric).map(|(name, _, _)| name.to_owned()));
    }
    let unused: BTreeMap<String, String> = read("grafana/unused.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once("  # ").unwrap_or_else(|| panic!("not METRIC  # WHY: {line}")))
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
        .collect();
    let own = contract::catalogue();
    let missing: Vec<_> = own.keys().filter(|n| !used.contains(*n) && !unused.contains_key(*n)).collect();
    assert!(missing.is_empty(), "neither used nor in unused.txt: {missing:#?}");
    let idle: Vec<_> = unused.keys().filter(|n| used.contains(*n) || !own.contains_key(*n)).collect();
    assert!(idle.is_empty(), "used, or not in the catalogue: take them out of unused.txt: {idle:?}");
}

/// Links of alerts and of other dashboards: `k2p-run?var-step={step}` names a dashboard and its variables.
#[test]
fn links_lead_to_dashboards_and_their_variables() {
    let Some((tables, _)) = metrics() else { return };
    let boards = Board::all();
    let mut links: Vec<(String, String)> = Vec::new();
    for alert in list(&tables, "alerts") {
        links.push((text(alert, "name").to_owned(), text(alert, "dashboard").to_owned()));
        let url = text(&alert["annotations"], "dashboard_url");
        assert!(url.contains(&format!("/d/{}", text(alert, "dashboard").split('?').next().unwrap())), "{url}");
    }
    for board in &boards {
        let all = board.json.to_string();
        for rest in all.split("\"/d/").skip(1) {
            links.push((board.file.clone(), rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(links.len() > 45, "{}", links.len());
    for (from, link) in links {
        let (uid, query) = link.split_once('?').unwrap_or((&link, ""));
        let board =
            boards.iter().find(|b| b.file == uid).unwrap_or_else(|| panic!("{from} leads to {uid}, which is not"));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap().strip_prefix("var-").unwrap_or_else(|| panic!("{from}: {link}"));
            let known = board.variables().iter().any(|v| text(v, "name") == name);
            assert!(known, "{from}: {uid} has no variable {name}");
        }
    }
}

#[test]
fn provisioning_names_what_is_there() {
    let sources = read("grafana/provisioning/datasources/kafka2prom.yaml");
    let boards = read("grafana/provisioning/dashboards/kafka2prom.yaml");
    for (file, wanted) in [
        (&sources, &["apiVersion: 1", "type: prometheus", "timeInterval: ", "isDefault: true", "editable: false"][..]),
        (
            &boards,
            &["apiVersion: 1", "type: file", "path: /var/lib/grafana/dashboards/kafka2prom", "folder: Kafka2Prom"],
        ),
    ] {
        for line in wanted {
            assert!(file.lines().any(|l| l.trim().trim_start_matches("- ").starts_with(line)), "{line} is missing");
        }
    }
}
