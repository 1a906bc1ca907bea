//! The JSON API: what it changes, and whether it is as its own OpenAPI description says.
use crate::support::bridge::{self, segment};
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::parts;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
const KEY: &str = "cluster=\"acme\",instance=\"a:1\"";

/// A bridge with everything that the API speaks of: dumps, events, pushes, logs.
fn whole_bridge(kafka: &Kafka) -> (String, Service) {
    let (metrics, events, pushes, state) = (unique("metrics"), unique("events"), unique("push"), unique("state"));
    kafka.create_topic(&metrics, 2, &[]);
    kafka.create_topic(&events, 1, &[("message.timestamp.type", "LogAppendTime")]);
    kafka.create_topic(&pushes, 1, &[("message.timestamp.type", "LogAppendTime")]);
    kafka.create_topic(&state, 1, &[("cleanup.policy", "compact")]);
    let (properties, timers) = bridge::SHORT_TIMERS;
    let rest = format!(
        "{timers}topics: [{{name: {metrics}}}, {{name: {events}, kind: events}}, {{name: {pushes}, kind: push}}]\nstate: {{topic: {state}}}\n\
         templates: {{dir: '{}/templates'}}\nlogs: {{url: 'file://{}'}}\n",
        env!("CARGO_MANIFEST_DIR"),
        new_dir("logs").display()
    );
    let extra = ["--web.enable-admin-api", "--web.external-address", "bridge:9527"];
    let bridge = bridge::configured(kafka, &unique("bridge"), properties, &rest, &extra);
    kafka.produce(&metrics, &[Record::new(KEY, "up 1\n"), Record::new("job=\"b\"", "up 2\n")]);
    let event = r#"{"run_id":"r1","pipeline_id":"p","start_ts":1795262400,"status":"RUNNING"}"#;
    kafka.produce(&events, &[Record::new("p", event)]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    let pushed = http::request("PUT", &bridge.url("/metrics/job/a"), &[], b"m 1\n").unwrap();
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    eventually("everything is shown", LONG, || {
        let runs = bridge.get("/api/v1/runs").ok()?.json();
        (runs["total"] == 1 && bridge.scrape().matches("\nup{").count() == 2).then_some(())
    });
    (metrics, bridge)
}

#[test]
fn an_origin_is_removed_by_its_key() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (metrics, bridge) = whole_bridge(kafka);
    let removed = bridge.send("DELETE", &format!("/api/v1/origins/{}", segment(KEY)));
    assert_eq!(removed.status, 200, "{}", removed.text());
    let records = removed.json()["records"].as_array().unwrap().clone();
    assert_eq!((records.len(), &records[0]["topic"]), (1, &metrics.clone().into()));
    eventually("the origin is gone", LONG, || (!bridge.scrape().contains("cluster=\"acme\"")).then_some(()));
    assert!(bridge.scrape().contains("up{job=\"b\"} 2\n"));
    let log = bridge.process().stderr();
    assert!(log.lines().any(|line| line.contains("origin removed by the admin API") && line.contains("127.0.0.1")));
    assert_eq!(bridge.send("DELETE", "/api/v1/origins/job%3D%22nobody%22").status, 404);
    kafka.produce(&metrics, &[Record::new(KEY, "up 3\n")]);
    eventually("an origin that sends again is back", LONG, || {
        bridge.scrape().contains("up{cluster=\"acme\",instance=\"a:1\"} 3\n").then_some(())
    });
}

#[test]
fn the_api_is_as_it_is_described() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(mut schemathesis) = require(parts::schemathesis()) else { return };
    let (_, bridge) = whole_bridge(kafka);
    let home = new_dir("schemathesis");
    // Draining ends what is to be tested. Matchers, cursors and events have grammars of their
    // own, which a schema does not tell: valid by the schema, they may be refused.
    let output = schemathesis
        .args(["run", &bridge.url("/api/v1/openapi.json"), "--url", &bridge.url("")])
        .args(["--exclude-path", "/-/drain", "--phases", "examples,coverage,fuzzing", "--seed", "20261121"])
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", "20", "--no-color"])
        .args(["--continue-on-failure", "--request-timeout", "20", "--warnings", "off"])
        .current_dir(&home)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "{said}");
    assert_eq!(bridge.get("/-/healthy").unwrap().status, 200);
}
