//! What one owner knew of origins, the next one knows: by the state topic.
use crate::support::bridge::{configured, sum};
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
const VANISHED: [(&str, &str); 1] = [("job", "vanished")];
const LAST: &str = "kafka2prom_origin_last_dump_timestamp_seconds";

fn owner(kafka: &Kafka, group: &str, topic: &str, state: &str) -> Service {
    let rest = format!("topics: [{{name: {topic}, staleness: 2s}}]\nstate: {{topic: {state}}}\n");
    let bridge = configured(kafka, group, "", &rest, &[]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    bridge
}

/// An origin falls silent; the group goes on to a log that begins behind its last dump.
fn last_dump_before_a_restart(kafka: &Kafka, state: &str) -> (Option<f64>, Service) {
    let (topic, group) = (unique("catalogue"), unique("bridge"));
    kafka.create_topic(&topic, 1, &[]);
    let first = owner(kafka, &group, &topic, state);
    kafka.produce(&topic, &[Record::new("job=\"vanished\"", "up 1\n").on_partition(0)]);
    eventually("the origin is stale", LONG, || {
        (sum(&first.scrape(), "kafka2prom_origin_up", &VANISHED) == Some(0.0)).then_some(())
    });
    let before = sum(&first.scrape(), LAST, &VANISHED);
    kafka.produce(&topic, &[Record::new("job=\"next\"", "up 1\n").on_partition(0)]);
    let beyond = || kafka.committed(&group, &topic, 1).remove(&0).filter(|c| c.offset == 2);
    eventually("a successor begins behind it", LONG, || {
        let low = beyond()?.metadata.split(';').nth(7)?.parse::<i64>().ok()?;
        (low >= 1).then_some(())
    });
    assert_eq!(first.stop(), 0);
    (before, owner(kafka, &group, &topic, state))
}

#[test]
fn a_vanished_origin_stays_known_to_the_next_owner() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let state = unique("state");
    kafka.create_topic(&state, 2, &[("cleanup.policy", "compact")]);
    let (before, bridge) = last_dump_before_a_restart(kafka, &state);
    assert!(before.is_some());
    eventually("the origin is known, as it was", LONG, || {
        (sum(&bridge.scrape(), LAST, &VANISHED) == before).then_some(())
    });
    let key = kafka.read_all(&state, 0).into_iter().chain(kafka.read_all(&state, 1)).find_map(|r| r.key);
    assert!(key.is_some_and(|key| key.ends_with(b"/0/origins")));
    assert_eq!(bridge.stop(), 0);
}

#[test]
fn without_a_state_topic_it_goes_on_and_says_so_once() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (before, bridge) = last_dump_before_a_restart(kafka, &unique("absent"));
    assert!(before.is_some());
    assert_eq!(sum(&bridge.scrape(), LAST, &VANISHED), None);
    eventually("it is counted", LONG, || {
        (bridge.own("kafka2prom_catalogues_total", &[("result", "no_topic")]) >= 1.0).then_some(())
    });
    assert_eq!(bridge.stop(), 0);
    let log = bridge.process().log_tail();
    assert_eq!(log.matches("the state topic is not there").count(), 1, "{log}");
}
