//! What metrics there are, and whether an expression asks for them as their type wants.
pub(crate) mod promql;

use crate::support::process;
use crate::support::repo::{read, root, text};
use crate::support::skip::Missing;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use promql::{Use, uses};

/// What a scrape adds, and `le` of a histogram's buckets.
const ADDED: [&str; 2] = ["job", "instance"];
/// What may be labels of an origin: whatever its agent gives it. We ask for this one.
const OF_ORIGINS: [&str; 1] = ["cluster"];
/// Where each event is counted by comparing with before, for want of a first value.
const GROWING: [&str; 4] = ["rate", "increase", "irate", "resets"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) type_: Type,
    pub(crate) labels: BTreeSet<String>,
}

/// By name; a histogram by the name without its suffixes.
pub(crate) type Metrics = BTreeMap<String, Metric>;

fn metric(type_: &str, labels: impl Iterator<Item = String>) -> Metric {
    let type_ = match type_.split(' ').next() {
        Some("counter") => Type::Counter,
        Some("gauge") => Type::Gauge,
        Some("histogram") => Type::Histogram,
        _ => panic!("no type of metrics: {type_}"),
    };
    Metric { type_, labels: labels.collect() }
}

/// The program's own.
pub(crate) fn catalogue() -> Metrics {
    let output = process::run(&["metrics", "--format", "json"], b"");
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let one = |m: &Value| {
        let labels = m["labels"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned());
        (text(m, "name").to_owned(), metric(text(m, "type"), labels))
    };
    list.as_array().unwrap().iter().map(one).collect()
}

/// Of the shipped templates, from the table that `check templates` prints.
fn templates() -> Metrics {
    let directory = root().join("templates").display().to_string();
    let output = process::run(&["check", "templates", &directory], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = Metrics::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels = columns[3].split('`').skip(1).step_by(2).map(str::to_owned);
        found.insert(columns[1].trim_matches('`').to_owned(), metric(columns[2], labels));
    }
    assert!(found.len() > 10, "the table of check templates is read no more");
    found
}

/// A line of `alerts/other-metrics.txt`: KIND NAME TYPE LABELS  # why.
pub(crate) struct Other {
    pub(crate) name: String,
    metric: Metric,
    /// The program is to have it one day: nothing shows it yet.
    pending: bool,
}

/// `alerts/other-metrics.txt`: what is not made by us.
pub(crate) fn others() -> Vec<Other> {
    let text = read("alerts/other-metrics.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all: Vec<Other> = lines.map(other).collect();
    let names: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "other-metrics.txt names one twice");
    all
}

fn other(line: &str) -> Other {
    let words: Vec<&str> = line.split("  # ").next().unwrap().split(' ').collect();
    let [kind, name, type_, labels] = words[..] else { panic!("not KIND NAME TYPE LABELS: {line}") };
    assert!(["pending", "input", "outside"].contains(&kind), "{line}");
    assert!(kind != "pending" || line.contains("  # "), "pending without a reason: {line}");
    let mut metric = metric(type_, labels.split(',').map(str::to_owned));
    if name == "ALERTS" {
        // Of whatever it is about.
        let of_alerts = ["severity", "team", "pipeline_id", "topic", "partition", "cluster"];
        metric.labels.extend(of_alerts.map(str::to_owned));
    }
    Other { name: name.to_owned(), metric, pending: kind == "pending" }
}

/// What the program and the shipped templates make.
pub(crate) fn ours() -> Metrics {
    catalogue().into_iter().chain(templates()).collect()
}

/// The alerts' tables.
pub(crate) fn alert_tables() -> Result<Value, Missing> {
    let interpreter = env::var("K2P_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(interpreter);
    command.args(["alerts/source", "--list"]).current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().map_err(|_| Missing::Part("python3 is missing (apt-get install python3)".into()))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Every metric that may be asked for. A recording rule `level:metric:max` has the type and
/// labels of what it is the maximum of; the others are gauges.
pub(crate) fn all(tables: &Value) -> Metrics {
    with_recorded(tables, others().into_iter().filter(|one| !one.pending))
}

/// The same with what the program is to have one day, which alerts may wait for.
pub(crate) fn everything(tables: &Value) -> Metrics {
    with_recorded(tables, others().into_iter())
}

fn with_recorded(tables: &Value, others: impl Iterator<Item = Other>) -> Metrics {
    let mut found: Metrics = ours().into_iter().chain(others.map(|one| (one.name, one.metric))).collect();
    let mut recorded = Metrics::new();
    for rule in tables["rules"].as_array().unwrap().iter().filter(|rule| rule["recording"] == true) {
        recorded.insert(text(rule, "name").to_owned(), of_rule(text(rule, "name"), &found));
    }
    found.append(&mut recorded);
    found
}

fn of_rule(name: &str, metrics: &Metrics) -> Metric {
    let parts: Vec<&str> = name.split(':').collect();
    let [level, base, operation] = parts[..] else { panic!("not level:metric:operation: {name}") };
    let labels: &[&str] = match level {
        "pipeline" => &["pipeline_id", "name"],
        "pipeline_step" => &["pipeline_id", "step"],
        "topic" => &["topic"],
        "partition" => &["topic", "partition"],
        "kafka2prom" => &["name", "grafana", "runbooks", "bridge"],
        _ => panic!("{name}: an unknown level"),
    };
    let total = format!("{base}_total");
    let asked = [base, total.as_str()].into_iter().find_map(|n| known(metrics, n));
    let labels = labels.iter().map(|l| (*l).to_owned());
    let labels = labels.chain(asked.iter().flat_map(|(_, m, _)| m.labels.iter().cloned())).collect();
    let counter = operation == "max" && asked.is_some_and(|(_, m, _)| m.type_ != Type::Gauge);
    Metric { type_: if counter { Type::Counter } else { Type::Gauge }, labels }
}

/// A metric as a selector names it: its own name, what it is, and the suffix of a histogram.
pub(crate) fn known<'a>(metrics: &'a Metrics, name: &str) -> Option<(&'a str, &'a Metric, &'static str)> {
    if let Some((name, found)) = metrics.get_key_value(name).filter(|(_, m)| m.type_ != Type::Histogram) {
        return Some((name.as_str(), found, ""));
    }
    for suffix in ["_bucket", "_sum", "_count"] {
        let base = name.strip_suffix(suffix).and_then(|base| metrics.get_key_value(base));
        if let Some((name, found)) = base.filter(|(_, m)| m.type_ == Type::Histogram) {
            return Some((name.as_str(), found, suffix));
        }
    }
    None
}

/// Everything that is wrong with an expression.
pub(crate) fn faults(metrics: &Metrics, expr: &str) -> Vec<String> {
    let all = uses(expr);
    let mut found = Vec::new();
    for one in &all {
        match known(metrics, &one.metric) {
            None => found.push(format!("no metric {}", one.metric)),
            Some((_, metric, suffix)) => {
                found.extend(strange_labels(one, metric, suffix));
                found.extend(used_as(one, metric, suffix, &all));
            }
        }
    }
    found.extend(groupings(metrics, &all));
    found
}

fn has(label: &str, name: &str, metric: &Metric) -> bool {
    let of_origin = name.starts_with("kafka2prom_origin_") && OF_ORIGINS.contains(&label);
    of_origin || ADDED.contains(&label) || metric.labels.contains(label)
}

/// Labels that a selector asks for and its metric has not.
pub(crate) fn strange_labels(one: &Use, metric: &Metric, suffix: &str) -> Vec<String> {
    let good = |label: &&String| has(label, &one.metric, metric) || (suffix == "_bucket" && *label == "le");
    one.labels.iter().filter(|l| !good(l)).map(|l| format!("{} has no label {l}", one.metric)).collect()
}

/// Labels of `by`: some metric inside must have them.
fn groupings(metrics: &Metrics, all: &[Use]) -> Vec<String> {
    let mut asked: BTreeMap<&[String], Vec<&Use>> = BTreeMap::new();
    for one in all {
        one.by.iter().for_each(|by| asked.entry(by).or_default().push(one));
    }
    let mut found = Vec::new();
    for (by, inside) in asked {
        let knows = |label: &&String| {
            let one = |u: &&Use| {
                known(metrics, &u.metric).is_some_and(|(_, m, suffix)| {
                    has(label, &u.metric, m) || (suffix == "_bucket" && label.as_str() == "le")
                })
            };
            inside.iter().any(one)
        };
        found.extend(by.iter().filter(|l| !knows(l)).map(|l| format!("by ({l}): nothing inside has it")));
    }
    found
}

fn used_as(one: &Use, metric: &Metric, suffix: &str, all: &[Use]) -> Vec<String> {
    let mut found = Vec::new();
    let mut want = |good: bool, what: &str| {
        if !good {
            found.push(format!("{}: {what}", one.metric));
        }
    };
    if metric.type_ == Type::Gauge {
        want(!one.is_inside(&GROWING), "a gauge in a rate");
        return found;
    }
    // Or it is held against itself, some time ago.
    let twin = |other: &Use| other.metric == one.metric && other.matchers == one.matchers && other.offset;
    let growing = one.inside.last().is_some_and(|f| GROWING.contains(&f.as_str())) && one.ranged;
    let lists = one.inside.iter().any(|f| f == "count") && one.by.len() == 1;
    want(growing || all.iter().any(twin) || lists, "a counter without rate, increase or an earlier value");
    let apart = suffix != "_bucket" || one.is_inside(&["histogram_quantile"]);
    want(apart, "buckets without histogram_quantile");
    let quantile = one.is_inside(&["histogram_quantile"]);
    want(!quantile || suffix == "_bucket", "histogram_quantile of what are no buckets");
    want(!quantile || one.by.iter().all(|by| by.contains(&"le".to_owned())), "histogram_quantile without le");
    found
}
