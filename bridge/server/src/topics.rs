//! The topics: what is sane for each, creating and checking them (design §2).
use std::collections::BTreeMap;
use std::time::Duration;

use k2p_runtime::kafka::KafkaConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

const TIMEOUT: Duration = Duration::from_secs(10);
/// A topic that was just created is not known to every broker at once.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// What our producers may send in one record (`message.max.bytes`, runtime's `kafka`):
/// a topic that takes less would refuse it.
const MAX_MESSAGE_BYTES: i64 = 16 << 20;

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Dumps: only the newest record of an origin counts.
    Metrics,
    /// Events: every record counts, in order, by the time of its append.
    Events,
    /// Pushes: the same, and groups may be pushed once and wanted for ever.
    Push,
    /// What was refused, to be looked at.
    DeadLetter,
    /// Snapshots and catalogues: compacted.
    State,
}

/// A topic as it should be.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// At least this many partitions.
    pub partitions: i32,
    /// Replicas of each; 0: the cluster's default.
    pub replicas: i32,
}

impl TopicSpec {
    fn is_replayed(&self) -> bool {
        matches!(self.purpose, Purpose::Events | Purpose::Push)
    }

    /// The settings it is created with.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = match self.purpose {
            // Far above the rewind of 10 minutes, far below what dumps would fill.
            Purpose::Metrics => {
                vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", (60 * MINUTE_MS).to_string())]
            }
            // Far above the interval of snapshots: what is gone before one stands for it is lost.
            Purpose::Events | Purpose::Push => vec![
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", (7 * DAY_MS).to_string()),
                ("message.timestamp.type", "LogAppendTime".to_owned()),
            ],
            Purpose::DeadLetter => {
                vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", (7 * DAY_MS).to_string())]
            }
            // Small segments: what is superseded goes soon, and a starting bridge reads little.
            Purpose::State => vec![
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", (64 << 20).to_string()),
                ("segment.ms", (60 * MINUTE_MS).to_string()),
                ("min.cleanable.dirty.ratio", "0.2".to_owned()),
            ],
        };
        if self.purpose != Purpose::State {
            settings.push(("max.message.bytes", MAX_MESSAGE_BYTES.to_string()));
        }
        if self.replicas >= 3 {
            settings.push(("min.insync.replicas", "2".to_owned()));
        }
        settings
    }

    /// What is wrong with a topic's settings as they are.
    fn faults(&self, found: &BTreeMap<String, String>) -> Vec<String> {
        let name = &self.name;
        let mut faults = Vec::new();
        let policy = found.get("cleanup.policy").map_or("", String::as_str);
        let wanted = if self.purpose == Purpose::State { "compact" } else { "delete" };
        if policy != wanted {
            faults.push(format!("{name}: cleanup.policy is {policy:?}; set it to {wanted}"));
        }
        let retention: i64 = found.get("retention.ms").and_then(|v| v.parse().ok()).unwrap_or(-1);
        if self.purpose == Purpose::Metrics && (0..30 * MINUTE_MS).contains(&retention) {
            faults.push(format!(
                "{name}: retention.ms is {retention}; keep at least 30 minutes, three times the rewind of a new owner"
            ));
        }
        let stamps = found.get("message.timestamp.type").map_or("", String::as_str);
        if self.is_replayed() && stamps != "LogAppendTime" {
            faults.push(format!(
                "{name}: message.timestamp.type is {stamps:?}; set it to LogAppendTime, or producers' clocks would decide what is counted"
            ));
        }
        if self.is_replayed() && (0..DAY_MS).contains(&retention) {
            faults.push(format!(
                "{name}: retention.ms is {retention}; keep at least a day, far above the interval of snapshots"
            ));
        }
        let largest: i64 = found.get("max.message.bytes").and_then(|v| v.parse().ok()).unwrap_or(MAX_MESSAGE_BYTES);
        if self.purpose != Purpose::State && largest < MAX_MESSAGE_BYTES {
            faults.push(format!(
                "{name}: max.message.bytes is {largest}; set it to {MAX_MESSAGE_BYTES}, which is what producers may send"
            ));
        }
        let unclean = found.get("unclean.leader.election.enable").map_or("", String::as_str);
        if unclean == "true" {
            faults.push(format!(
                "{name}: unclean.leader.election.enable is true; set it to false, or acknowledged dumps can be lost"
            ));
        }
        faults
    }
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// Its name.
    pub name: String,
    /// It was created just now.
    pub created: bool,
    /// Partitions found; 0: it does not exist.
    pub partitions: usize,
    /// What is wrong, each with its remedy.
    pub faults: Vec<String>,
}

/// Why topics could not be created or checked.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// The cluster did not answer.
    #[error("Kafka does not answer: {}; check --kafka.brokers and the network", cause(.0))]
    Kafka(#[from] KafkaError),
    /// The cluster refused a topic.
    #[error("{topic} was refused: {code}; {}", remedy(*.code))]
    Refused {
        /// Which one.
        topic: String,
        /// Why.
        code: RDKafkaErrorCode,
    },
}

/// librdkafka's own words, without the wrapper's names for them.
fn cause(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

fn remedy(code: RDKafkaErrorCode) -> &'static str {
    match code {
        RDKafkaErrorCode::InvalidReplicationFactor => "ask for fewer replicas with --replicas",
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "grant Create and DescribeConfigs on it"
        }
        _ => "see the broker's log",
    }
}

/// The admin side of a cluster.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// When the settings are none.
    pub fn new(kafka: &KafkaConfig) -> Result<Topics, TopicsError> {
        Ok(Topics { admin: kafka.watch_config().create()? })
    }

    /// Creates what is missing. Existing topics are left as they are.
    ///
    /// # Errors
    /// At the first topic that is refused.
    pub async fn create(&self, specs: &[TopicSpec]) -> Result<Vec<String>, TopicsError> {
        let settings: Vec<Vec<(&str, String)>> = specs.iter().map(TopicSpec::settings).collect();
        let mut wanted = Vec::new();
        for (spec, settings) in specs.iter().zip(&settings) {
            let replicas = if spec.replicas == 0 { -1 } else { spec.replicas };
            let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(replicas));
            for (name, value) in settings {
                topic = topic.set(name, value);
            }
            wanted.push(topic);
        }
        let mut created = Vec::new();
        for result in self.admin.create_topics(&wanted, &options()).await? {
            match result {
                Ok(name) => created.push(name),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(TopicsError::Refused { topic, code }),
            }
        }
        Ok(created)
    }

    /// Looks at each topic and says what is wrong with it.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn check(&self, specs: &[TopicSpec], created: &[String]) -> Result<Vec<TopicReport>, TopicsError> {
        let mut reports = Vec::with_capacity(specs.len());
        for spec in specs {
            let mut partitions = self.partitions(&spec.name)?;
            let mut looks = if created.contains(&spec.name) { LOOKS } else { 0 };
            while partitions == 0 && looks > 0 {
                looks -= 1;
                tokio::time::sleep(LOOK_AGAIN).await;
                partitions = self.partitions(&spec.name)?;
            }
            let mut report = TopicReport {
                name: spec.name.clone(),
                created: created.contains(&spec.name),
                partitions,
                faults: Vec::new(),
            };
            if partitions == 0 {
                report.faults.push(format!("{}: does not exist; create it with `kafka2prom topics create`", spec.name));
            } else {
                let found = self.settings(&spec.name).await?;
                report.faults = spec.faults(&found);
                let few = i32::try_from(partitions).is_ok_and(|n| n < spec.partitions);
                if few && spec.purpose == Purpose::Metrics {
                    report.faults.push(format!(
                        "{}: has {partitions} partitions, {} were asked for; more of them spread over more bridges",
                        spec.name, spec.partitions
                    ));
                }
            }
            reports.push(report);
        }
        Ok(reports)
    }

    fn partitions(&self, topic: &str) -> Result<usize, TopicsError> {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), TIMEOUT)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        Ok(found.map_or(0, |t| t.partitions().len()))
    }

    pub(crate) async fn settings(&self, topic: &str) -> Result<BTreeMap<String, String>, TopicsError> {
        let mut found = BTreeMap::new();
        for result in self.admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options()).await? {
            let resource = result.map_err(|code| TopicsError::Refused { topic: topic.to_owned(), code })?;
            for entry in resource.entries {
                found.insert(entry.name, entry.value.unwrap_or_default());
            }
        }
        Ok(found)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(purpose: Purpose, replicas: i32) -> TopicSpec {
        TopicSpec { name: "t".to_owned(), purpose, partitions: 8, replicas }
    }

    fn found(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_we_create_passes_our_own_check() {
        for purpose in [Purpose::Metrics, Purpose::Events, Purpose::Push, Purpose::DeadLetter, Purpose::State] {
            let spec = spec(purpose, 3);
            let as_created = spec.settings().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            assert_eq!(spec.faults(&as_created), Vec::<String>::new(), "{purpose:?}");
        }
    }

    #[test]
    fn each_bad_setting_is_named_with_its_remedy() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("cleanup.policy", "compact"), ("retention.ms", "-1")], "set it to delete"),
            (&[("cleanup.policy", "delete"), ("retention.ms", "60000")], "keep at least 30 minutes"),
            (
                &[("cleanup.policy", "delete"), ("unclean.leader.election.enable", "true")],
                "unclean.leader.election.enable is true",
            ),
            (&[("cleanup.policy", "delete"), ("max.message.bytes", "1048588")], "set it to 16777216"),
        ];
        for (settings, expected) in cases {
            let faults = spec(Purpose::Metrics, 0).faults(&found(settings));
            assert_eq!(faults.len(), 1, "{settings:?}: {faults:?}");
            assert!(faults[0].contains(expected), "{settings:?}: {faults:?}");
        }
    }

    #[test]
    fn an_events_topic_needs_append_times_and_a_long_memory() {
        let faults = spec(Purpose::Events, 0).faults(&found(&[
            ("cleanup.policy", "delete"),
            ("message.timestamp.type", "CreateTime"),
            ("retention.ms", "3600000"),
        ]));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("LogAppendTime") && faults[1].contains("at least a day"), "{faults:?}");
    }

    #[test]
    fn in_sync_replicas_are_asked_for_only_where_there_are_enough() {
        let has =
            |replicas| spec(Purpose::Metrics, replicas).settings().iter().any(|(k, _)| *k == "min.insync.replicas");
        assert_eq!([0, 1, 2, 3].map(has), [false, false, false, true]);
    }
}
