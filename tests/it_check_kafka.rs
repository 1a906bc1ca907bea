//! `kafka2prom check kafka` on real Kafka: each assumption of the ownership protocol, and
//! what is said where one cannot be tried.
use crate::support::kafka::{Kafka, unique};
use crate::support::process;
use crate::support::skip::require;

fn check(kafka: &Kafka, topic: &str) -> (Option<i32>, String) {
    let (brokers, group) = (kafka.bootstrap(), unique("check"));
    let arguments = ["check", "kafka", "--kafka.brokers", &brokers, "--kafka.topic", topic, "--kafka.group", &group];
    let output = process::run(&arguments, b"");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn every_assumption_holds_on(kafka: &Kafka) {
    let topic = unique("check");
    kafka.create_topic(&topic, 2, &[]);
    let (code, said) = check(kafka, &topic);
    assert_eq!(code, Some(0), "{said}");
    for assumption in [
        "new enough",
        "may be described",
        "the end of a partition",
        "comes back whole",
        "stale generation is refused",
        "becomes empty",
    ] {
        let line = said.lines().find(|line| line.contains(assumption)).unwrap_or_default();
        assert!(line.starts_with("ok "), "{assumption}: {line:?} in\n{said}");
    }
}

#[test]
fn every_assumption_holds_on_kafka_4() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    every_assumption_holds_on(kafka);
}

#[test]
fn every_assumption_holds_on_kafka_3() {
    let Some(kafka) = require(Kafka::shared_v3()) else { return };
    every_assumption_holds_on(kafka);
}

#[test]
fn a_topic_that_is_not_there_is_named_with_the_remedy() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("absent");
    let (code, said) = check(kafka, &topic);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{topic} does not exist: kafka2prom topics create")), "{said}");
}
