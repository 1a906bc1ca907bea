//! Every query of every dashboard, asked of a real Prometheus of both generations that scrapes
//! real bridges: it has data on a good day, and shows the trouble when there is some.
use crate::grafana::story::{FAILED, PAST, SUCCEEDED, Story, now};
use crate::grafana::{Board, empty_panels, sent};
use crate::support::kafka::Kafka;
use crate::support::parts::Generation;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::prometheus::{Found, Prometheus};
use crate::support::repo::{list, text};
use crate::support::skip::require;
use std::collections::BTreeSet;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(180);
/// Queries that only what cannot be had here would answer, and why.
const NEVER: [(&str, &str); 2] = [
    ("k2p-bridge/Kafka client/A", "librdkafka reports errors when a broker goes: the shared one stays"),
    ("k2p-origins/Dumps lost/B", "an agent's records are refused when a broker goes, likewise"),
];
/// What Grafana would make of a scrape every 4 s.
const RATE_INTERVAL: &str = "16s";

/// Dashboards whose alerts fire in the story for certain; those of the others wait for minutes.
const ANNOTATED: [&str; 4] = ["k2p-fleet", "k2p-pipelines", "k2p-run", "k2p-delivery"];

/// Labels that the answer must have: those of the legend, or the columns of a table.
fn wanted_labels(panel: &serde_json::Value, target: &serde_json::Value) -> Vec<String> {
    if panel["type"] != "table" {
        return text(target, "legendFormat")
            .split("{{")
            .skip(1)
            .map(|p| p.split("}}").next().unwrap().to_owned())
            .collect();
    }
    let transformations = list(panel, "transformations");
    let organize = transformations.iter().find(|t| t["id"] == "organize").expect("columns");
    let names = organize["options"]["renameByName"].as_object().unwrap().keys();
    names.filter(|name| !name.starts_with("Value")).cloned().collect()
}

/// One query of a panel or variable.
struct Question {
    place: String,
    expr: String,
    labels: Vec<String>,
    /// Whether each series must have all of the labels: alerts differ in theirs.
    each: bool,
    may_be_empty: bool,
    /// Over time, as Grafana asks for it.
    range: bool,
}

fn questions() -> Vec<Question> {
    let empty: BTreeSet<(String, String)> = empty_panels().into_iter().map(|(uid, title, _)| (uid, title)).collect();
    let mut found = Vec::new();
    for board in Board::all() {
        for panel in board.panels() {
            let title = text(panel, "title");
            for target in list(panel, "targets") {
                found.push(Question {
                    place: format!("{}/{title}/{}", board.file, text(target, "refId")),
                    expr: sent(text(target, "expr"), RATE_INTERVAL, "orders"),
                    labels: wanted_labels(panel, target),
                    each: !text(target, "expr").contains("ALERTS{"),
                    range: target["range"] == true,
                    // A table has lines by its first query; a column may have nothing to say.
                    may_be_empty: empty.contains(&(board.file.clone(), title.to_owned()))
                        || (panel["type"] == "table" && text(target, "refId") != "A"),
                });
            }
        }
        let shown = ANNOTATED.contains(&board.file.as_str());
        let annotations = board.questions().into_iter().filter(|(place, _)| shown && place.ends_with("/annotation"));
        for (place, expr) in annotations {
            let labels = vec!["alertname".to_owned()];
            found.push(Question { place, expr, labels, each: true, may_be_empty: true, range: true });
        }
        for (place, expr) in board.questions().into_iter().filter(|(place, _)| place.contains("/$")) {
            let label = expr.split(['(', ')']).nth(1).unwrap().to_owned();
            found.push(Question {
                place,
                expr: sent(&expr, RATE_INTERVAL, "orders"),
                labels: vec![label],
                each: true,
                may_be_empty: false,
                range: false,
            });
        }
    }
    found
}

fn answered(question: &Question, answer: &[Found]) -> Result<(), String> {
    let numbers = |found: &Found| found.points.iter().any(|(_, value)| !value.is_nan());
    if !answer.iter().any(numbers) {
        return Err(format!("{}: no data\n  {}", question.place, question.expr));
    }
    for label in &question.labels {
        let has = |found: &Found| found.series.get(label).is_some_and(|value| !value.is_empty());
        let good = if question.each { answer.iter().all(has) } else { answer.iter().any(|f| !f.series.is_empty()) };
        if !good {
            return Err(format!("{}: a series without {label}\n  {}", question.place, question.expr));
        }
    }
    Ok(())
}

/// Asks until all of these have been answered.
fn all_answered(prometheus: &Prometheus, what: &str, mut open: Vec<Question>) {
    eventually_ok(what, LONG, || {
        open.retain(|question| answered(question, &prometheus.query(&question.expr)).is_err());
        let faults: Vec<String> = open.iter().filter_map(|q| answered(q, &prometheus.query(&q.expr)).err()).collect();
        if faults.is_empty() { Ok(()) } else { Err(format!("{} of them: {}", faults.len(), faults.join("\n"))) }
    });
}

/// A panel's query by board, title and letter.
fn query_of(board: &str, title: &str, letter: &str) -> String {
    let place = format!("{board}/{title}/{letter}");
    questions().into_iter().find(|q| q.place == place).unwrap_or_else(|| panic!("no query {place}")).expr
}

/// Waits until a panel shows a value that is right.
fn shows(prometheus: &Prometheus, board: &str, title: &str, letter: &str, right: impl Fn(f64) -> bool) {
    let expr = query_of(board, title, letter);
    eventually_ok(&format!("{board}/{title} shows it"), LONG, || {
        let found = prometheus.query(&expr);
        let values: Vec<f64> = found.iter().map(|f| f.points[0].1).collect();
        if values.iter().any(|v| right(*v)) { Ok(()) } else { Err(format!("{values:?} of {expr}")) }
    });
}

/// What Grafana's graphs ask: over time.
#[allow(clippy::cast_precision_loss, reason = "a time")]
fn over_time(prometheus: &Prometheus, expr: &str, since: u64) -> Vec<Found> {
    prometheus.query_range(expr, since as f64, now() as f64, "2s")
}

/// Waits until a line of the graph was `before` before the trouble, and is `after` now.
#[allow(clippy::cast_precision_loss, reason = "a time")]
fn turned(prometheus: &Prometheus, panel: (&str, &str), times: (u64, u64), before: f64, after: f64) {
    let (begun, trouble) = times;
    let expr = query_of(panel.0, panel.1, "A");
    eventually_ok(&format!("{panel:?} turns at its time"), LONG, || {
        let found = over_time(prometheus, &expr, begun);
        let good = |line: &Found| {
            let mut early = line.points.iter().filter(|(at, _)| *at < trouble as f64);
            early.any(|(_, value)| *value == before) && line.points.last().is_some_and(|(_, value)| *value == after)
        };
        if found.iter().any(good) { Ok(()) } else { Err(format!("{found:?} of {expr}")) }
    });
}

#[allow(clippy::cast_precision_loss, reason = "a few runs")]
fn success_since(days: u64) -> f64 {
    let (_, succeeded, failed) = PAST.into_iter().find(|past| past.0 == days).unwrap();
    let (good, bad) = ((SUCCEEDED - succeeded) as f64, (FAILED - failed) as f64);
    good / (good + bad)
}

fn trouble_is_shown(prometheus: &Prometheus) {
    let at_least_one = |v: f64| v >= 1.0;
    let is = |wanted: f64| move |v: f64| (v - wanted).abs() < 1e-9;
    for (board, title) in [
        ("k2p-fleet", "Bridges down"),
        ("k2p-fleet", "Stale origins"),
        ("k2p-fleet", "Failing pipelines"),
        ("k2p-fleet", "Warnings"),
        ("k2p-pipelines", "Failing now"),
        ("k2p-pipelines", "SLA missed, 24 h"),
        ("k2p-backlog", "Replay stands still"),
        ("k2p-backlog", "Standing still"),
        ("k2p-bridge", "Bridges down"),
        ("k2p-origins", "Stale origins"),
        ("k2p-origins", "Dumps refused, 1 h"),
        ("k2p-origins", "Stale by cluster"),
        ("k2p-run", "Failed, 24 h"),
        ("k2p-run", "Errors, 24 h"),
        ("k2p-logs", "Lines refused, 1 h"),
        ("k2p-logs", "Dropped by buffers"),
        ("k2p-delivery", "Watchdog"),
        ("k2p-delivery", "Firing by team"),
    ] {
        shows(prometheus, board, title, "A", at_least_one);
    }
    shows(prometheus, "k2p-pipelines", "Success, 24 h", "A", |v| v < 1.0);
    let orders = |window: &str| {
        let expr = query_of("k2p-pipelines", "Pipelines", window);
        move |prometheus: &Prometheus| {
            let found = prometheus.query(&expr);
            found
                .into_iter()
                .find(|f| f.series.get("pipeline_id").is_some_and(|p| p == "orders"))
                .map(|f| f.points[0].1)
        }
    };
    for (letter, days) in [("D", 1), ("E", 7), ("F", 30)] {
        let (ask, wanted) = (orders(letter), success_since(days));
        eventually_ok(&format!("the success of {days} days is right"), LONG, || match ask(prometheus) {
            Some(value) if (value - wanted).abs() < 1e-9 => Ok(()),
            other => Err(format!("{other:?}, not {wanted}")),
        });
    }
    shows(prometheus, "k2p-run", "State", "A", is(2.0));
    // 9 of 10 log events: far above the threshold that the panel shows beside.
    shows(prometheus, "k2p-pipelines", "Errors among log events", "A", |v| v > 0.05);
    shows(prometheus, "k2p-pipelines", "Errors among log events", "B", |v| v < 0.9);
    shows(prometheus, "k2p-slo", "Smallest budget", "A", |v| v < 0.0);
}

#[test]
fn every_query_has_data_and_shows_the_trouble() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let begun = now();
    let Some(mut story) = require(Story::start(kafka)) else { return };
    let started: Result<Vec<_>, _> = Generation::ALL.into_iter().map(|g| story.prometheus(g)).collect();
    let Some(both) = require(started) else { return };
    story.good_day();
    for bridge in &story.bridges {
        story.talk_to(bridge);
    }
    for prometheus in &both {
        // What has to be empty on a good day is asked for below.
        let always = questions().into_iter().filter(|q| !q.may_be_empty).collect();
        all_answered(prometheus, "every query has data on a good day", always);
        for title in ["Failing pipelines", "Bridges down", "Stale origins"] {
            shows(prometheus, "k2p-fleet", title, "A", |v| v == 0.0);
        }
    }
    let times = (begun, now());
    story.trouble();
    for bridge in &story.bridges {
        story.talk_to(bridge);
    }
    for prometheus in &both {
        trouble_is_shown(prometheus);
        // Whether or not they have something to tell: Prometheus takes all of them.
        let every = Board::all().into_iter().flat_map(|board| board.questions());
        every.filter(|(place, _)| place.ends_with("/annotation")).for_each(|(_, expr)| drop(prometheus.query(&expr)));
        turned(prometheus, ("k2p-origins", "Stale by cluster"), times, 0.0, 1.0);
        turned(prometheus, ("k2p-fleet", "Bridge up"), times, 1.0, 0.0);
        let can_be = questions().into_iter().filter(|q| NEVER.iter().all(|(place, _)| *place != q.place)).collect();
        all_answered(prometheus, "every query has data when all has happened", can_be);
        for question in questions().iter().filter(|q| q.range && NEVER.iter().all(|(place, _)| *place != q.place)) {
            // What has just come to be may lie between two steps still.
            eventually_ok(&question.place, LONG, || answered(question, &over_time(prometheus, &question.expr, begun)));
        }
    }
    // What was sent before Prometheus knew its Alertmanager comes again after a minute.
    eventually("the dead man's switch hears it", LONG, || {
        story.receiver.posts("/deadman").into_iter().find(|post| post.status == 200)
    });
}
