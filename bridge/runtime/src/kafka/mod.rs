//! Kafka client settings: what the user says, checked, and what the house sets.
//!
//! The values are those of `kafka.md` ("Consumer settings that were measured or
//! argued") and design §1.1. What the ownership protocol rests on cannot be changed by
//! a property; everything else of librdkafka can.
mod log;
mod properties;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;

use crate::config::{format_duration, parse_host_port};
pub use log::{KafkaLog, PlainContext};
pub use properties::is_secret;

/// What an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The list of brokers.
    Brokers,
    /// The consumer group.
    Group,
    /// A librdkafka property, by name.
    Property(String),
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfigError {
    /// Which one.
    pub subject: Subject,
    /// What is wrong. Never contains a value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// What was found, where it is no secret: for messages about flags. Not for
    /// configuration files, whose values may come from `${…}`.
    pub found: Option<String>,
}

impl fmt::Display for KafkaConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Brokers => f.write_str("brokers: ")?,
            Subject::Group => f.write_str("group: ")?,
            Subject::Property(name) => write!(f, "property {name}: ")?,
        }
        f.write_str(&self.message)?;
        if let Some(found) = &self.found {
            write!(f, " (found {found:?})")?;
        }
        write!(f, "; {}", self.remedy)
    }
}

/// All settings that cannot be used; one a line when displayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct KafkaConfigErrors(pub Vec<KafkaConfigError>);

impl fmt::Display for KafkaConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The pace of the group protocol. `session.timeout.ms` and `max.poll.interval.ms` are
/// one value (design §1.1, rule 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaTimings {
    /// After this long without a heartbeat a member is dead to its group.
    pub session: Duration,
    /// The pace of heartbeats, and of a handover.
    pub heartbeat: Duration,
}

impl Default for KafkaTimings {
    fn default() -> Self {
        Self { session: Duration::from_secs(15), heartbeat: Duration::from_millis(300) }
    }
}

/// Checked settings of all Kafka clients of a process. `Debug` shows names, no values.
#[derive(Clone)]
pub struct KafkaConfig {
    brokers: String,
    group: Option<String>,
    client_id: String,
    properties: BTreeMap<String, String>,
    timings: KafkaTimings,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

impl KafkaConfig {
    /// Checks `HOST:PORT[,HOST:PORT…]`, the group (none for a pure producer) and the
    /// user's librdkafka properties; `timings` are the defaults that
    /// `session.timeout.ms` and `heartbeat.interval.ms` among the properties replace.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn new(
        brokers: &str,
        group: Option<&str>,
        properties: BTreeMap<String, String>,
        timings: KafkaTimings,
    ) -> Result<Self, KafkaConfigErrors> {
        let mut errors = Vec::new();
        let brokers = check_brokers(brokers, &mut errors);
        if let Some(group) = group {
            check_group(group, &mut errors);
        }
        properties::check(&properties, &mut errors);
        let timings = properties::timings(&properties, timings, &mut errors);
        if !errors.is_empty() {
            return Err(KafkaConfigErrors(errors));
        }
        let group = group.map(str::to_owned);
        let client_id = "kafka2prom".to_owned();
        Ok(Self { brokers, group, client_id, properties, timings })
    }

    /// The same under another `client.id`, which brokers show in their logs.
    #[must_use]
    pub fn with_client_id(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.client_id);
        self
    }

    /// The brokers, `HOST:PORT[,…]`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The consumer group.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// How long the group waits for a silent member; `None` in a KIP-848 group, where
    /// the broker decides it.
    pub fn session_timeout(&self) -> Option<Duration> {
        (!properties::is_kip848(&self.properties)).then_some(self.timings.session)
    }

    /// For the member of the group that consumes. The caller commits, positions and
    /// splits; partition EOFs are delivered.
    pub fn consumer_config(&self) -> ClientConfig {
        let mut config = self.grouped();
        let session = self.timings.session.as_millis().to_string();
        let heartbeat = self.timings.heartbeat.as_millis().to_string();
        set(&mut config, &properties::CONSUMER);
        config.set("session.timeout.ms", &session);
        config.set("max.poll.interval.ms", &session);
        config.set("heartbeat.interval.ms", heartbeat);
        if properties::is_kip848(&self.properties) {
            for (name, _) in properties::BROKERS_UNDER_KIP848 {
                config.remove(name);
            }
        }
        self.add_properties(&mut config, |name| !properties::is_producers(name));
        config
    }

    /// For a consumer of the same group that never subscribes: it reads the group's
    /// committed offsets and their metadata as a non-member (`kafka.md`).
    pub fn side_config(&self) -> ClientConfig {
        let mut config = self.grouped();
        set(&mut config, &properties::READER);
        self.add_properties(&mut config, properties::is_for_all);
        config
    }

    /// For a consumer without a group: ends, offsets by time, metadata. On a client of
    /// its own these do not wait behind a long fetch (`kafka.md`).
    pub fn watch_config(&self) -> ClientConfig {
        let mut config = self.base();
        set(&mut config, &properties::READER);
        self.add_properties(&mut config, properties::is_for_all);
        config
    }

    /// For a producer: idempotent, Java's partitioning (design §2).
    pub fn producer_config(&self) -> ClientConfig {
        let mut config = self.base();
        set(&mut config, &properties::PRODUCER);
        self.add_properties(&mut config, |name| !properties::is_consumers(name));
        config
    }

    /// For an admin client: topics, configurations.
    pub fn admin_config(&self) -> ClientConfig {
        let mut config = self.base();
        self.add_properties(&mut config, |name| !properties::is_consumers(name) && !properties::is_producers(name));
        config
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", &self.client_id);
        set(&mut config, &properties::COMMON);
        let own_ca = self.properties.keys().any(|name| name.starts_with("ssl.ca."));
        if self.uses_tls() && !own_ca {
            // OpenSSL is built in: its compiled-in directory is no system's.
            config.set("ssl.ca.location", "probe");
        }
        config
    }

    fn grouped(&self) -> ClientConfig {
        let mut config = self.base();
        if let Some(group) = &self.group {
            config.set("group.id", group);
        }
        config
    }

    fn uses_tls(&self) -> bool {
        let protocol = self.properties.get("security.protocol");
        protocol.is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"))
    }

    fn add_properties(&self, config: &mut ClientConfig, wanted: impl Fn(&str) -> bool) {
        for (name, value) in self.properties.iter().filter(|(name, _)| wanted(name)) {
            config.set(name, value);
        }
    }
}

fn set(config: &mut ClientConfig, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        config.set(*name, *value);
    }
}

/// Checks a list of brokers and writes it without blanks.
fn check_brokers(brokers: &str, errors: &mut Vec<KafkaConfigError>) -> String {
    let mut checked = Vec::new();
    for (index, broker) in brokers.split(',').map(str::trim).enumerate() {
        if let Err(error) = parse_host_port(broker) {
            errors.push(KafkaConfigError {
                subject: Subject::Brokers,
                message: format!("entry {} is no broker's address HOST:PORT", index + 1),
                remedy: error.remedy.to_owned(),
                found: Some(broker.to_owned()),
            });
        }
        checked.push(broker);
    }
    checked.join(",")
}

fn check_group(group: &str, errors: &mut Vec<KafkaConfigError>) {
    if group.trim().is_empty() || group.chars().any(char::is_control) || group.len() > 255 {
        errors.push(KafkaConfigError {
            subject: Subject::Group,
            message: "no name of a consumer group".to_owned(),
            remedy: "write a name of 1 to 255 bytes without control characters".to_owned(),
            found: Some(group.to_owned()),
        });
    }
}

/// Milliseconds of a property, as a duration for messages.
fn shown(duration: Duration) -> String {
    format_duration(duration)
}
