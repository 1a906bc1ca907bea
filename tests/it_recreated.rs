//! What the group and the log do under an owner's feet: a topic that is deleted and made
//! again, an assignment that is lost because Kafka is away.
use crate::support::bridge::{SHORT_TIMERS, configured, sum};
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::parts::KafkaVersion;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
/// Where a marker says the topic's id (`core/ownership/marker.rs`).
const TOPIC_ID: usize = 9;

fn bridge(kafka: &Kafka, group: &str, topic: &str) -> Service {
    let (properties, ownership) = SHORT_TIMERS;
    let bridge = configured(kafka, group, properties, &format!("topics: [{{name: {topic}}}]\n{ownership}"), &[]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    bridge
}

/// `count` dumps of one origin.
fn produce(kafka: &Kafka, topic: &str, job: &str, count: u32) {
    let dump = |n: u32| Record::new(&format!("job=\"{job}\""), format!("steady {n}\n")).on_partition(0);
    let records: Vec<Record> = (1..=count).map(dump).collect();
    kafka.produce(topic, &records);
}

/// Exactly these origins are shown, each with its value.
fn shows(bridge: &Service, expected: &[(&str, u32)]) {
    eventually_ok("the origins are shown", LONG, || {
        let scrape = bridge.scrape();
        let mut shown: Vec<&str> = scrape.lines().filter(|line| line.starts_with("steady{")).collect();
        shown.sort_unstable();
        let wanted: Vec<String> = expected.iter().map(|(job, n)| format!("steady{{job=\"{job}\"}} {n}")).collect();
        if shown == wanted { Ok(()) } else { Err(format!("{shown:?}, not {wanted:?}")) }
    });
}

/// The topic's id in the committed marker, once the offset is this one.
fn committed_id(kafka: &Kafka, group: &str, topic: &str, offset: i64) -> String {
    eventually_ok("it is committed", LONG, || {
        let committed = kafka.committed(group, topic, 1).remove(&0).ok_or("nothing")?;
        let id = committed.metadata.split(';').nth(TOPIC_ID).unwrap_or_default().to_owned();
        if committed.offset == offset && !id.is_empty() { Ok(id) } else { Err(format!("{committed:?}")) }
    })
}

/// The new log is longer than the old one was: a client that goes on at its old offset
/// would never read its beginning.
#[test]
fn topic_made_again() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, group) = (unique("remade"), unique("bridge"));
    kafka.create_topic(&topic, 1, &[]);
    let owner = bridge(kafka, &group, &topic);
    produce(kafka, &topic, "old", 40);
    shows(&owner, &[("old", 40)]);
    let first = committed_id(kafka, &group, &topic, 40);

    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    produce(kafka, &topic, "begins", 10);
    produce(kafka, &topic, "goes_on", 50);
    shows(&owner, &[("begins", 10), ("goes_on", 50)]);
    let second = committed_id(kafka, &group, &topic, 60);
    assert_ne!(first, second);

    // The same while nobody owns it; and a marker that outlived its topic.
    let marker = kafka.committed(&group, &topic, 1).remove(&0).expect("a marker");
    assert_eq!(owner.stop(), 0);
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    kafka.commit(&group, &topic, 0, &marker);
    produce(kafka, &topic, "begins", 7);
    produce(kafka, &topic, "goes_on", 90);
    let owner = bridge(kafka, &group, &topic);
    shows(&owner, &[("begins", 7), ("goes_on", 90)]);
    let third = committed_id(kafka, &group, &topic, 97);
    assert!(third != second && third != first);
    assert_eq!(owner.stop(), 0);
}

/// A client gives its assignment up when its session ends, which is before the lease does:
/// the dumps stay for as long as ownership is proven.
#[test]
fn what_is_lost_stays_until_its_lease_lapses() {
    let Some(mut kafka) = require(Kafka::own(KafkaVersion::V4)) else { return };
    let (topic, group) = (unique("lost"), unique("bridge"));
    kafka.create_topic(&topic, 1, &[]);
    let owner = bridge(&kafka, &group, &topic);
    produce(&kafka, &topic, "steady", 3);
    shows(&owner, &[("steady", 3)]);
    kafka.node(0).kill();
    let mut shown_while_lost = 0;
    eventually("the partition goes dark", LONG, || {
        let scrape = owner.scrape();
        let shown = scrape.contains("steady{job=\"steady\"} 3\n");
        let lost = sum(&scrape, "kafka2prom_partition_state", &[("state", "lost")]) == Some(1.0);
        shown_while_lost += u32::from(shown && lost);
        (!shown).then_some(())
    });
    assert!(shown_while_lost > 0, "dark as soon as the assignment was lost");
    kafka.start_again();
    shows(&owner, &[("steady", 3)]);
    assert_eq!(owner.stop(), 0);
}
