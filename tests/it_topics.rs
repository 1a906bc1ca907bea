//! `kafka2prom topics create|check` on real Kafka.
use crate::support::kafka::{Kafka, unique};
use crate::support::process;
use crate::support::skip::require;

/// Runs the command on these topics; its exit code and what it said.
fn topics(kafka: &Kafka, command: &str, names: [&str; 5], extra: &[&str]) -> (i32, String) {
    let brokers = kafka.bootstrap();
    let [metrics, deadletter, state, events, pushes] = names;
    let mut arguments = vec!["topics", command, "--kafka.brokers", &brokers, "--kafka.topic", metrics];
    arguments.extend(["--deadletter", deadletter, "--state", state, "--events", events, "--push", pushes]);
    arguments.extend(extra);
    let output = process::run(&arguments, b"");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn topics_are_created_with_their_settings_and_pass_the_check() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let names = ["metrics", "deadletter", "state", "events", "push"].map(unique);
    let names = names.each_ref().map(String::as_str);

    let (code, said) = topics(kafka, "check", names, &[]);
    assert_eq!(code, 1, "{said}");
    for name in names {
        assert!(said.contains(&format!("{name}: does not exist; create it with `kafka2prom topics create`")), "{said}");
    }
    let (code, said) = topics(kafka, "create", names, &["--partitions", "3", "--replicas", "1"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches(" created (").count(), 5, "{said}");

    let hour = "3600000";
    for (name, wanted) in [
        (names[0], [("cleanup.policy", "delete"), ("retention.ms", hour), ("max.message.bytes", "16777216")]),
        (names[1], [("cleanup.policy", "delete"), ("retention.ms", "604800000"), ("max.message.bytes", "16777216")]),
        (names[2], [("cleanup.policy", "compact"), ("unclean.leader.election.enable", "false"), ("retention.ms", "")]),
        (
            names[3],
            [("cleanup.policy", "delete"), ("message.timestamp.type", "LogAppendTime"), ("retention.ms", "604800000")],
        ),
        (
            names[4],
            [
                ("cleanup.policy", "delete"),
                ("message.timestamp.type", "LogAppendTime"),
                ("max.message.bytes", "16777216"),
            ],
        ),
    ] {
        let found = kafka.topic_settings(name);
        for (key, value) in wanted.iter().filter(|(_, value)| !value.is_empty()) {
            assert_eq!(found.get(*key).map(String::as_str), Some(*value), "{name} {key}");
        }
    }
    // Again: what is there is left as it is.
    for command in ["create", "check"] {
        let (code, said) = topics(kafka, command, names, &["--partitions", "3"]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.matches(" ok (").count(), 5, "{said}");
        assert!(
            said.contains(&format!("{} ok (3 partitions)", names[0])) || said.contains(" ok (3 partitions)"),
            "{said}"
        );
    }
}

#[test]
fn each_wrong_setting_is_found_with_its_remedy() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let good = [("cleanup.policy", "delete"), ("retention.ms", "3600000"), ("max.message.bytes", "16777216")];
    let cases: [(&str, &str, i32, &str); 5] = [
        ("cleanup.policy", "compact", 2, "cleanup.policy is \"compact\"; set it to delete"),
        ("cleanup.policy", "compact,delete", 2, "; set it to delete"),
        ("retention.ms", "60000", 2, "retention.ms is 60000; keep at least 30 minutes"),
        ("max.message.bytes", "1048588", 2, "max.message.bytes is 1048588; set it to 16777216"),
        ("retention.ms", "3600000", 1, "has 1 partitions, 2 were asked for"),
    ];
    for (key, value, partitions, expected) in cases {
        let topic = unique("wrong");
        let settings: Vec<(&str, &str)> =
            good.iter().map(|(k, v)| if *k == key { (key, value) } else { (*k, *v) }).collect();
        kafka.create_topic(&topic, partitions, &settings);
        let (code, said) = topics(kafka, "check", [&topic, "", "", "", ""], &["--partitions", "2"]);
        assert_eq!(code, 1, "{key}={value}: {said}");
        assert!(said.contains(expected), "{key}={value}: {said}");
        assert_eq!(said.lines().count(), 2, "one fault, and nothing else: {said}");
    }
}

#[test]
fn a_topic_that_kafka_refuses_is_said_with_the_remedy() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("refused");
    let (code, said) = topics(kafka, "create", [&topic, "", "", "", ""], &["--replicas", "7"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ask for fewer replicas with --replicas"), "{said}");
}
