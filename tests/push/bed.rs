//! A topic of pushes with its state topic, and bridges that replay it.
use crate::support::bridge;
use crate::support::http::{self, Answer};
use crate::support::kafka::{Kafka, unique};
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) struct Bed {
    pub(crate) kafka: &'static Kafka,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    /// Of the configuration, after the topics.
    pub(crate) rest: String,
    state: String,
    group: String,
}

impl Bed {
    pub(crate) fn new(kafka: &'static Kafka, partitions: i32) -> Bed {
        let (topic, state, group) = (unique("push"), unique("state"), unique("bridges"));
        kafka.create_topic(&topic, partitions, &[("message.timestamp.type", "LogAppendTime")]);
        kafka.create_topic(&state, 2, &[("cleanup.policy", "compact")]);
        Bed { kafka, topic, partitions, rest: String::new(), state, group }
    }

    /// A bridge that writes snapshots after `records`.
    pub(crate) fn bridge(&self, records: u32, extra: &[&str]) -> Service {
        let (properties, timers) = bridge::SHORT_TIMERS;
        let rest = format!(
            "{timers}topics: [{{name: {}, kind: push}}]\n\
             state: {{topic: {}, snapshot_records: {records}, snapshot_interval: 1h}}\n{}",
            self.topic, self.state, self.rest
        );
        bridge::configured(self.kafka, &self.group, properties, &rest, extra)
    }

    /// Waits until these bridges together show every partition.
    #[track_caller]
    pub(crate) fn wait_whole(&self, bridges: &[&Service]) {
        eventually_ok("every partition is shown", LONG, || {
            for partition in 0..self.partitions {
                let answer = bridges[0].get(&format!("/partitions/{}/{partition}/metrics", self.topic))?;
                if answer.status != 200 {
                    return Err(answer.text());
                }
            }
            bridges.iter().try_for_each(|bridge| bridge.ready())
        });
    }
}

/// A request of a Pushgateway's client; `path` from `job` on.
#[track_caller]
pub(crate) fn push(bridge: &Service, method: &str, path: &str, body: &str) -> Answer {
    let url = bridge.url(&format!("/metrics/{path}"));
    http::request(method, &url, &[], body.as_bytes()).expect("the bridge answers")
}

/// The same, taken.
#[track_caller]
pub(crate) fn taken(bridge: &Service, method: &str, path: &str, body: &str) {
    let answer = push(bridge, method, path, body);
    let expected = if method == "DELETE" { 202 } else { 200 };
    assert_eq!((answer.status, answer.text().as_str()), (expected, ""), "{method} {path}");
}

/// What the bridges together show of pushes: value by series as it is written; an error if two
/// show one series.
pub(crate) fn pushed(bridges: &[&Service]) -> Result<BTreeMap<String, f64>, String> {
    let mut all = BTreeMap::new();
    for bridge in bridges {
        let answer = bridge.get("/metrics")?;
        let text = answer.text();
        let own =
            |line: &&str| !line.starts_with('#') && !line.starts_with("kafka2prom_") && !line.starts_with("process_");
        for line in text.lines().filter(own) {
            let (series, value) = line.rsplit_once(' ').ok_or(line)?;
            if all.insert(series.to_owned(), value.parse().map_err(|_| line)?).is_some() {
                return Err(format!("two bridges show {series}"));
            }
        }
    }
    Ok(all)
}
