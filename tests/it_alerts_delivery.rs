//! Alerts through a real Alertmanager of either generation to receivers on loopback:
//! what Slack and PagerDuty would get. Golden messages stand in `tests/golden/alerts`;
//! `K2P_UPDATE_GOLDEN=1` writes them anew, to be read in the diff.
use crate::grafana::story::fast_rules;
use crate::support::alertmanager::{Alertmanager, DEADMAN_TOKEN, EXTERNAL_URL, ROUTING_KEY, Timings};
use crate::support::parts::Generation;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::prometheus::Prometheus;
use crate::support::receiver::{Post, Receiver};
use crate::support::repo::root;
use crate::support::skip::require;
use crate::support::target::Target;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const PACE: Timings = Timings { group_interval: "2s", repeat_interval: "4h" };
/// Breaks out of markdown, of a link and of a mention where it is not escaped.
const NASTY: &str = r#"*</a>|<@U1> & "x" \ 100%"#;

/// An alert as Prometheus sends it, since 10:00.
fn alert(name: &str, severity: &str, team: &str, labels: &[(&str, &str)]) -> Value {
    let mut all = json!({"alertname": name, "severity": severity, "team": team});
    for (key, value) in labels {
        all[*key] = json!(value);
    }
    let of = labels.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(" ");
    json!({
        "labels": all,
        "annotations": {
            "summary": format!("{name} of {of}"),
            "description": format!("{name}: something is wrong with {of}."),
            "value": "12m 3s",
            "threshold": "10m 0s",
            "runbook_url": format!("https://runbooks.example.com/kafka2prom/{name}.md"),
            "dashboard_url": "https://grafana.example.com/d/k2p-pipelines?var-pipeline_id=x%26y",
            "run_url": "https://kafka2prom.example.com/runs?pipeline_id=x%26y",
        },
        "startsAt": "2026-11-21T10:00:00Z",
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=x",
    })
}

/// The same alert, over since 10:20.
fn resolved(alert: &Value) -> Value {
    let mut over = alert.clone();
    over["endsAt"] = json!("2026-11-21T10:20:00Z");
    over
}

fn assert_golden(file: &str, found: &Value) {
    let path = root().join("tests/golden/alerts").join(file);
    let text = serde_json::to_string_pretty(found).unwrap() + "\n";
    if env::var("K2P_UPDATE_GOLDEN").as_deref() == Ok("1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "{file} is not as it was (K2P_UPDATE_GOLDEN=1 writes it anew)");
}

fn title(post: &Post) -> String {
    post.json["attachments"][0]["title"].as_str().unwrap_or_default().to_owned()
}

/// The first post to a path whose title or summary holds `what`.
fn wait_post(receiver: &Receiver, path: &str, what: &str, log: &Alertmanager) -> Post {
    let holds = |post: &Post| title(post).contains(what) || post.json["payload"]["summary"].to_string().contains(what);
    let found = || receiver.posts(path).into_iter().find(holds);
    eventually_ok(&format!("{path} gets {what:?}"), LONG, || {
        found().ok_or_else(|| {
            format!("{:?}\n{}", receiver.posts(path).iter().map(title).collect::<Vec<_>>(), log.log_tail())
        })
    })
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn absolute(url: &Value) -> Result<(), String> {
    let text = url.as_str().unwrap_or_default();
    let good = text.starts_with("http://") || text.starts_with("https://");
    let clean = text.chars().all(|c| c.is_ascii_graphic() && !r#"<>"\`"#.contains(c));
    if good && clean && text.len() <= 2000 { Ok(()) } else { Err(format!("{text:?} is no URL")) }
}

/// Slack reads `<`, `>` and `&` as control characters wherever they stand.
fn escaped(text: &str) -> bool {
    let entities = ["&amp;", "&lt;", "&gt;"];
    !text.contains(['<', '>'])
        && text.match_indices('&').all(|(at, _)| entities.iter().any(|e| text[at..].starts_with(e)))
}

/// What Slack documents for a message with one attachment, and what we want of ours.
fn slack_fault(message: &Value) -> Result<(), String> {
    let known = BTreeSet::from(["channel", "username", "icon_emoji", "icon_url", "link_names", "text", "attachments"]);
    let unknown: Vec<_> = keys(message).difference(&known).copied().collect();
    if !unknown.is_empty() {
        return Err(format!("unknown keys {unknown:?}"));
    }
    let [attachment] = message["attachments"].as_array().map_or(&[][..], Vec::as_slice) else {
        return Err("not one attachment".into());
    };
    for (key, limit) in [("title", 1024), ("text", 8000), ("fallback", 1024), ("footer", 300)] {
        let text = attachment[key].as_str().ok_or_else(|| format!("no {key}"))?;
        if text.trim().is_empty() || text.chars().count() > limit || !escaped(text) {
            return Err(format!("{key} is empty, too long or not escaped: {text:?}"));
        }
    }
    if attachment["mrkdwn_in"] != json!(["pretext"]) {
        return Err("markdown where names of others stand".into());
    }
    let fields = attachment["fields"].as_array().ok_or("no fields")?;
    for field in fields {
        if !escaped(field["value"].as_str().unwrap_or("<")) || field["short"] != json!(true) {
            return Err(format!("field {field}"));
        }
    }
    let actions = attachment["actions"].as_array().ok_or("no buttons")?;
    if actions.len() > 5 {
        return Err("more than 5 buttons".into());
    }
    for action in actions {
        absolute(&action["url"])?;
        if action["type"] != "button" || action["text"].as_str().is_none_or(|t| t.is_empty() || t.len() > 75) {
            return Err(format!("button {action}"));
        }
    }
    absolute(&attachment["title_link"])
}

/// What PagerDuty documents for an event of its Events API v2.
fn pagerduty_fault(post: &Post) -> Result<(), String> {
    let (event, payload) = (&post.json, &post.json["payload"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if event["routing_key"] != ROUTING_KEY || post.bytes > 512 * 1024 {
        return Err("routing key or size".into());
    }
    if !["trigger", "resolve"].contains(&text(&event["event_action"]).as_str()) {
        return Err(format!("event_action {}", event["event_action"]));
    }
    let dedup = text(&event["dedup_key"]);
    if dedup.is_empty() || dedup.len() > 255 {
        return Err(format!("dedup_key {dedup:?}"));
    }
    let summary = text(&payload["summary"]);
    if summary.is_empty() || summary.chars().count() > 1024 || text(&payload["source"]).is_empty() {
        return Err(format!("summary or source of {payload}"));
    }
    if !["critical", "warning", "error", "info"].contains(&text(&payload["severity"]).as_str()) {
        return Err(format!("severity {}", payload["severity"]));
    }
    absolute(&event["client_url"])?;
    let links = event["links"].as_array().ok_or("no links")?;
    links.iter().try_for_each(|link| absolute(&link["href"]))
}

#[test]
fn the_checks_of_messages_can_refuse() {
    for (text, expected) in
        [("a &amp; b", true), ("&lt;x&gt;", true), ("<@U1>", false), ("a & b", false), ("&#34;", false), ("*b*", true)]
    {
        assert_eq!(escaped(text), expected, "{text}");
    }
    assert!(slack_fault(&json!({"attachments": []})).is_err());
    assert!(slack_fault(&json!({"blocks": [], "attachments": [{}]})).is_err());
    assert!(absolute(&json!("/d/x")).is_err() && absolute(&json!("https://x/a b")).is_err());
}

/// Every post so far follows what its receiver documents.
fn assert_documented_formats(receiver: &Receiver) {
    for path in ["/slack/platform", "/slack/data", "/slack/pipelines"] {
        for post in receiver.posts(path) {
            assert_eq!(slack_fault(&post.json), Ok(()), "{path}: {:#}", post.json);
        }
    }
    for post in receiver.posts("/pagerduty") {
        assert_eq!(pagerduty_fault(&post), Ok(()), "{:#}", post.json);
    }
}

fn a_story_is_told(generation: Generation) {
    let receiver = Receiver::start();
    let Some(alertmanager) = require(Alertmanager::start(generation, &receiver, PACE)) else { return };
    let missed = alert("PipelineSlaMissed", "critical", "checkout", &[("pipeline_id", NASTY)]);
    let warned = alert("LogBufferSaturated", "warning", "data", &[("pipeline_id", "orders")]);
    let fleet = alert("FleetStale", "critical", "platform", &[("cluster", "acme")]);
    let of_cluster = |cluster: &str, i: i32| {
        alert("OriginStale", "warning", "platform", &[("cluster", cluster), ("instance", &format!("10.0.0.{i}:1"))])
    };
    // Before what it silences: on a busy machine Alertmanager 0.33 may speak of an alert before it
    // has looked at one of the same request that inhibits it.
    alertmanager.send(&[fleet]);
    wait_post(&receiver, "/pagerduty", "FleetStale", &alertmanager);
    let mut all = vec![missed.clone(), warned.clone(), alert("Watchdog", "none", "platform", &[])];
    all.extend((0..8).map(|i| of_cluster("acme", i)));
    all.extend((0..25).map(|i| of_cluster("beta", i)));
    alertmanager.send(&all);

    // Critical: a page and a message; the team has no channel of its own.
    let slack = wait_post(&receiver, "/slack/pipelines", "PipelineSlaMissed", &alertmanager);
    assert_golden("slack-firing.json", &slack.json);
    let page = wait_post(&receiver, "/pagerduty", "PipelineSlaMissed", &alertmanager);
    assert_golden(&format!("pagerduty-firing-{generation:?}.json").to_lowercase(), &page.json);
    // Warning: only a message.
    wait_post(&receiver, "/slack/data", "LogBufferSaturated", &alertmanager);
    // One broken cluster is one message, its origins are silent.
    wait_post(&receiver, "/slack/platform", "FleetStale", &alertmanager);
    // On a busy machine Alertmanager may speak before it has heard of all; it then says so again.
    let group = wait_post(&receiver, "/slack/platform", "[FIRING 25] OriginStale", &alertmanager);
    let text = group.json["attachments"][0]["text"].as_str().unwrap();
    assert_eq!(text.matches("something is wrong with beta").count(), 10, "{text}");
    assert!(text.ends_with("The first 10 of 25.\n"), "{text}");
    // The dead man's switch hears it again and again, with its token.
    let beats = eventually("two heartbeats", LONG, || Some(receiver.posts("/deadman")).filter(|posts| posts.len() > 1));
    assert_eq!(beats[0].authorization, format!("Bearer {DEADMAN_TOKEN}"));
    assert_eq!(beats[0].json["commonLabels"]["alertname"], "Watchdog");

    alertmanager.send(&[resolved(&missed), resolved(&warned)]);
    let over = wait_post(&receiver, "/slack/pipelines", "[RESOLVED]", &alertmanager);
    assert_golden("slack-resolved.json", &over.json);
    let closed = eventually("PagerDuty's event is resolved", LONG, || {
        receiver.posts("/pagerduty").into_iter().find(|post| post.json["event_action"] == "resolve")
    });
    assert_eq!(closed.json["dedup_key"], page.json["dedup_key"]);
    assert_golden(&format!("pagerduty-resolved-{generation:?}.json").to_lowercase(), &closed.json);

    assert_documented_formats(&receiver);
    let everything: Vec<Post> =
        ["platform", "data", "pipelines"].iter().flat_map(|team| receiver.posts(&format!("/slack/{team}"))).collect();
    assert!(everything.iter().all(|post| !post.json.to_string().contains("something is wrong with acme 10.0.0.")));
    assert!(receiver.posts("/pagerduty").iter().all(|post| !post.json.to_string().contains("LogBufferSaturated")));
    assert!(everything.iter().all(|post| !title(post).contains("Watchdog")));
}

#[test]
fn alerts_a_story_is_told_by_bookworm() {
    a_story_is_told(Generation::Bookworm);
}

#[test]
fn alerts_a_story_is_told_by_sid() {
    a_story_is_told(Generation::Sid);
}

/// As each receiver is treated: PagerDuty's 429 and everybody's 500 are tried again at
/// once; Slack's 429 is not, its message is lost until the group's next turn.
fn receivers_that_fail(generation: Generation) {
    let receiver = Receiver::start();
    receiver.answer("/pagerduty", &[429, 500]);
    receiver.answer("/slack/data", &[500, 503]);
    receiver.answer("/slack/platform", &[429]);
    let slow = Timings { group_interval: "1m", repeat_interval: "4h" };
    let Some(alertmanager) = require(Alertmanager::start(generation, &receiver, slow)) else { return };
    alertmanager.send(&[
        alert("PipelineSlaMissed", "critical", "data", &[("pipeline_id", "orders")]),
        alert("OriginStale", "warning", "platform", &[("cluster", "beta")]),
    ]);
    let statuses = |path: &str| receiver.posts(path).iter().map(|post| post.status).collect::<Vec<_>>();
    for (path, expected) in [("/pagerduty", vec![429, 500, 200]), ("/slack/data", vec![500, 503, 200])] {
        eventually_ok(path, LONG, || {
            if statuses(path) == expected { Ok(()) } else { Err(format!("{:?}", statuses(path))) }
        });
    }
    assert_eq!(statuses("/slack/platform"), [429]);
    let failed = || {
        let lines = alertmanager.metrics();
        let of_slack =
            |line: &&str| line.starts_with("alertmanager_notifications_failed_total") && line.contains("\"slack\"");
        lines.lines().filter(of_slack).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    eventually("NotificationsFailing can see it", LONG, || (failed() >= 1.0).then_some(()));
    let repeats = receiver.posts("/pagerduty");
    assert!(repeats.iter().all(|post| post.json["dedup_key"] == repeats[0].json["dedup_key"]));
}

#[test]
fn alerts_survive_failing_receivers_in_bookworm() {
    receivers_that_fail(Generation::Bookworm);
}

#[test]
fn alerts_survive_failing_receivers_in_sid() {
    receivers_that_fail(Generation::Sid);
}

fn repeated(generation: Generation) {
    let receiver = Receiver::start();
    receiver.answer("/slack/platform", &[429]);
    let quick = Timings { group_interval: "1s", repeat_interval: "3s" };
    let Some(alertmanager) = require(Alertmanager::start(generation, &receiver, quick)) else { return };
    alertmanager.send(&[alert("OriginStale", "warning", "platform", &[("cluster", "beta")])]);
    let posts = eventually("refused, delivered, repeated", LONG, || {
        Some(receiver.posts("/slack/platform")).filter(|posts| posts.len() > 2)
    });
    let statuses: Vec<u16> = posts.iter().take(3).map(|post| post.status).collect();
    assert_eq!(statuses, [429, 200, 200]);
    assert_eq!(posts[1].json, posts[2].json);
}

#[test]
fn alerts_are_repeated_and_a_lost_one_comes_with_the_next_turn() {
    for generation in Generation::ALL {
        repeated(generation);
    }
}

/// Who silences whom, and the traps: labels that are missing on both sides are equal.
fn inhibited(generation: Generation) {
    let receiver = Receiver::start();
    let Some(alertmanager) = require(Alertmanager::start(generation, &receiver, PACE)) else { return };
    let mut expected = BTreeMap::new();
    let mut all = Vec::new();
    let mut add = |silent: bool, name: &str, severity: &str, labels: &[(&str, &str)]| {
        let mut labels = labels.to_vec();
        let case = format!("{name} {labels:?}");
        labels.push(("case", &case));
        all.push(alert(name, severity, "platform", &labels));
        expected.insert(case.clone(), silent);
    };
    add(false, "PipelineJobFailed", "warning", &[("pipeline_id", "a")]);
    add(true, "PipelineSlaMissed", "critical", &[("pipeline_id", "a")]);
    add(true, "PipelineSlaAtRisk", "warning", &[("pipeline_id", "a")]);
    add(false, "PipelineStepSlow", "warning", &[("pipeline_id", "a")]);
    add(false, "PipelineSlaMissed", "critical", &[("pipeline_id", "b")]);
    add(false, "PipelineSlaMissed", "critical", &[("pipeline_id", "a"), ("prometheus", "other")]);
    // Without the label on either side.
    add(false, "PipelineJobFailed", "warning", &[]);
    add(false, "PipelineSlaMissed", "critical", &[]);
    add(true, "PipelineJobFailed", "warning", &[("pipeline_id", "c")]);
    add(false, "PipelineFailingRepeatedly", "critical", &[("pipeline_id", "c")]);
    add(false, "FleetStale", "critical", &[("cluster", "acme")]);
    add(true, "OriginStale", "warning", &[("cluster", "acme"), ("instance", "1")]);
    add(false, "OriginStale", "warning", &[("cluster", "beta"), ("instance", "1")]);
    // A fleet of origins without a cluster does not silence those without a cluster.
    add(false, "FleetStale", "critical", &[]);
    add(false, "OriginStale", "warning", &[("instance", "2")]);
    add(false, "BridgeDown", "warning", &[("instance", "bridge-0"), ("bridge", "bridge-0")]);
    add(true, "BridgeNotReady", "warning", &[("instance", "bridge-0")]);
    add(false, "BridgeNotReady", "warning", &[("instance", "bridge-1")]);
    // The origins that say that only this bridge shows them; not those that say nothing.
    add(true, "OriginStale", "warning", &[("cluster", "gamma"), ("bridge", "bridge-0")]);
    add(false, "OriginStale", "warning", &[("cluster", "gamma"), ("bridge", "bridge-1")]);
    add(false, "KafkaDisconnected", "critical", &[("instance", "bridge-2")]);
    add(true, "CommitFailing", "warning", &[("instance", "bridge-2")]);
    add(true, "LeaseLost", "critical", &[("instance", "bridge-2")]);
    add(false, "LeaseLost", "critical", &[("instance", "bridge-3")]);
    add(false, "PipelineErrorBudgetBurn", "critical", &[("pipeline_id", "d"), ("burn", "1h")]);
    add(true, "PipelineErrorBudgetBurn", "warning", &[("pipeline_id", "d"), ("burn", "3d")]);
    add(false, "PipelineErrorBudgetBurn", "warning", &[("pipeline_id", "e"), ("burn", "3d")]);
    alertmanager.send(&all);
    eventually_ok("who is silent", LONG, || {
        let found: BTreeMap<String, bool> = alertmanager
            .alerts()
            .iter()
            .map(|a| {
                let by = a["status"]["inhibitedBy"].as_array().map_or(0, Vec::len);
                (a["labels"]["case"].as_str().unwrap_or_default().to_owned(), by > 0)
            })
            .collect();
        let wrong: Vec<_> = expected.iter().filter(|(case, silent)| found.get(*case) != Some(*silent)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:#?}")) }
    });

    // No bridge at all: everything that is seen through one is silent.
    alertmanager.send(&[alert("BridgeAllDown", "critical", "platform", &[("case", "all down")])]);
    eventually_ok("all but what does not need a bridge is silent", LONG, || {
        let loud: BTreeSet<String> = alertmanager
            .alerts()
            .iter()
            .filter(|a| a["status"]["inhibitedBy"].as_array().is_none_or(Vec::is_empty))
            .map(|a| a["labels"]["alertname"].as_str().unwrap_or_default().to_owned())
            .collect();
        // Of another Prometheus, whose bridges are others.
        let wanted = BTreeSet::from(["BridgeAllDown", "KafkaDisconnected", "PipelineSlaMissed"].map(str::to_owned));
        if loud == wanted { Ok(()) } else { Err(format!("{loud:?}")) }
    });
}

#[test]
fn alerts_silence_those_that_follow_from_them_and_no_others() {
    for generation in Generation::ALL {
        inhibited(generation);
    }
}

/// From a scrape through the shipped rules to Slack: a pipeline whose name is an attack.
fn from_a_scrape_to_slack(generation: Generation) {
    let receiver = Receiver::start();
    let Some(alertmanager) = require(Alertmanager::start(generation, &receiver, PACE)) else { return };
    let name = NASTY.replace('\\', r"\\").replace('"', "\\\"");
    let page = format!(
        "# TYPE pipeline_last_run_timestamp_seconds gauge\n\
         pipeline_last_run_timestamp_seconds{{pipeline_id=\"{name}\",status=\"FAILED\"}} 1700000000\n"
    );
    let target = Target::start(&page);
    let rules = fast_rules().join("*.yml");
    let config = Prometheus::scrape_config("kafka2prom", &[target.address()], "1s").replacen(
        "global: {",
        "global: {evaluation_interval: 1s, external_labels: {prometheus: eu-1}, ",
        1,
    ) + &format!(
        "rule_files: [{:?}]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: [{:?}]}}]}}]}}\n",
        rules.display().to_string(),
        alertmanager.listen()
    );
    let prometheus = require(Prometheus::start(generation, &config)).unwrap();
    prometheus.wait_query("ALERTS{alertname='PipelineJobFailed',alertstate='firing'}", Duration::from_secs(150));
    let post = wait_post(&receiver, "/slack/data", "PipelineJobFailed", &alertmanager);
    assert_eq!(slack_fault(&post.json), Ok(()), "{:#}", post.json);
    let attachment = &post.json["attachments"][0];
    assert_eq!(
        attachment["title"],
        r#"[FIRING] PipelineJobFailed: Pipeline *&lt;/a&gt;|&lt;@U1&gt; &amp; "x" \ 100% failed"#
    );
    assert_eq!(attachment["footer"], "eu-1");
    let runs = "https://kafka2prom.example.com/runs?pipeline_id=%2A%3C%2Fa%3E%7C%3C%40U1%3E+%26+%22x%22+%5C+100%25&status=FAILED";
    assert_eq!(attachment["actions"][0]["url"], runs);
    let silence = attachment["actions"][3]["url"].as_str().unwrap();
    assert!(
        silence.starts_with(&format!("{EXTERNAL_URL}/#/silences/new?filter=%7Balertname%3D%22PipelineJobFailed%22")),
        "{silence}"
    );
    wait_post(&receiver, "/deadman", "", &alertmanager);
}

#[test]
fn alerts_go_from_a_scrape_to_slack_in_bookworm() {
    from_a_scrape_to_slack(Generation::Bookworm);
}

#[test]
fn alerts_go_from_a_scrape_to_slack_in_sid() {
    from_a_scrape_to_slack(Generation::Sid);
}
