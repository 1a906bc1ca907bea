//! A cluster with an authorizer: what a bridge and an agent need, no more (the table in
//! `deploy/docs/operations.md`), and what is said where one of it is missing.
use crate::support::kafka::{Kafka, Setup, unique};
use crate::support::kafka_clients::Record;
use crate::support::parts::{self, KafkaVersion};
use crate::support::poll::eventually;
use crate::support::process::{self, Service};
use crate::support::skip::require;
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
const PASSWORD: &str = "for-this-test";
/// Each user, and what it is allowed beside nothing: operations on the topic, on the group.
const USERS: [(&str, &[&str], &[&str]); 5] = [
    ("bridge", &["Read"], &["Read"]),
    ("describes", &["Describe"], &["Read"]),
    ("sees-no-topic", &[], &["Read"]),
    ("sees-the-group", &["Read"], &["Describe"]),
    ("sees-no-group", &["Read"], &[]),
];

/// Clients of the proxied listener log in; the other one is the administrator's.
fn secured() -> Setup {
    let users: Vec<String> = USERS.iter().map(|(user, ..)| format!("user_{user}=\"{PASSWORD}\"")).collect();
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    Setup::new(KafkaVersion::V4, 1)
        .with("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CHAOS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT")
        .with("sasl.enabled.mechanisms", "PLAIN")
        .with("listener.name.chaos.plain.sasl.jaas.config", &format!("{login} {};", users.join(" ")))
        .with("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .with("super.users", "User:ANONYMOUS")
}

/// Kafka's own tool: rdkafka has none.
fn allow(kafka: &Kafka, user: &str, kind: &str, name: &str, operations: &[&str]) {
    if operations.is_empty() {
        return;
    }
    let libs = parts::kafka_libs(KafkaVersion::V4).expect("the broker was started with them");
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-cp"]).arg(format!("{}/*", libs.display()));
    command.args(["org.apache.kafka.tools.AclCommand", "--bootstrap-server", &kafka.bootstrap(), "--add"]);
    command.args(["--allow-principal", &format!("User:{user}"), kind, name]);
    for operation in operations {
        command.args(["--operation", operation]);
    }
    let output = command.output().expect("java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// The flags of a client that logs in.
fn login(user: &str) -> Vec<String> {
    let properties = [
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        "sasl.mechanism=PLAIN".to_owned(),
        format!("sasl.username={user}"),
        format!("sasl.password={PASSWORD}"),
    ];
    properties.into_iter().flat_map(|p| ["--kafka.property".to_owned(), p]).collect()
}

fn check(kafka: &Kafka, user: &str, topic: &str, group: &str) -> (Option<i32>, String) {
    let brokers = kafka.chaos_bootstrap();
    let mut arguments = vec!["check", "kafka", "--kafka.brokers", &brokers];
    arguments.extend(["--kafka.topic", topic, "--kafka.group", group]);
    let login = login(user);
    arguments.extend(login.iter().map(String::as_str));
    let output = process::run(&arguments, b"");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_bridge_runs_with_what_the_check_asks_for_and_each_missing_permission_is_named() {
    let Some(kafka) = require(Kafka::start(&secured())) else { return };
    let (topic, group) = (unique("secured"), unique("group"));
    kafka.create_topic(&topic, 1, &[]);
    for (user, on_topic, on_group) in USERS {
        allow(&kafka, user, "--topic", &topic, on_topic);
        allow(&kafka, user, "--group", &group, on_group);
    }
    let (code, said) = check(&kafka, "bridge", &topic, &group);
    assert_eq!(code, Some(0), "{said}");

    let missing = [
        ("describes", format!("grant Read on topic {topic}")),
        ("sees-no-topic", format!("grant Describe on topic {topic}")),
        ("sees-the-group", format!("grant Read on group {group}")),
        ("sees-no-group", format!("grant Read on group {group}")),
    ];
    for (user, expected) in missing {
        let (code, said) = check(&kafka, user, &topic, &group);
        assert_eq!(code, Some(1), "{user}: {said}");
        let named: Vec<&str> = said.lines().filter(|line| line.contains("grant ")).collect();
        assert!(!named.is_empty() && named.iter().all(|line| line.ends_with(&expected)), "{user}: {said}");
    }

    kafka.produce(&topic, &[Record::new("job=\"secured\"", "up 1\n")]);
    let login = login("bridge");
    let flags: Vec<&str> = login.iter().map(String::as_str).collect();
    let bridge = Service::bridge_at(&kafka.chaos_bootstrap(), &group, &topic, &flags);
    eventually("the dump is shown", LONG, || bridge.scrape().contains("up{job=\"secured\"} 1\n").then_some(()));
    assert_eq!(bridge.stop(), 0);
}
