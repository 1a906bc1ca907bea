//! librdkafka properties: the house's values, which the protocol owns, which kind of
//! client takes which.
use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::{KafkaConfigError, KafkaTimings, Subject, shown};

/// For every client.
pub(super) const COMMON: [(&str, &str); 4] = [
    // New partitions are seen within 10 s (design §1.1, rule 10).
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    // librdkafka's 10 s would be most of a lease.
    ("reconnect.backoff.max.ms", "1000"),
    ("statistics.interval.ms", "5000"),
];

/// For the consuming member (`kafka.md`); timings are set apart.
pub(super) const CONSUMER: [(&str, &str); 13] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "earliest"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    // Per partition once its queue is split.
    ("queued.max.messages.kbytes", "16384"),
    // Bytes are the limit, not the number of messages.
    ("queued.min.messages", "1000000"),
    ("fetch.queue.backoff.ms", "50"),
    ("fetch.message.max.bytes", "4194304"),
    ("fetch.max.bytes", "52428800"),
    ("receive.message.max.bytes", "100000000"),
    ("fetch.wait.max.ms", "100"),
    ("isolation.level", "read_committed"),
];

/// What a KIP-848 group leaves to the broker: librdkafka refuses these beside
/// `group.protocol=consumer`.
pub(super) const BROKERS_UNDER_KIP848: [(&str, &str); 3] = [
    ("session.timeout.ms", "remove it: the group's `consumer.session.timeout.ms` on the broker counts"),
    ("heartbeat.interval.ms", "remove it: the group's `consumer.heartbeat.interval.ms` on the broker counts"),
    ("partition.assignment.strategy", "remove it: the broker assigns"),
];

/// The session of a KIP-848 group where the broker is not told otherwise
/// (`group.consumer.session.timeout.ms`); it is also the least that it grants.
const KIP848_SESSION: Duration = Duration::from_secs(45);

/// Whether the group is a KIP-848 group.
pub(super) fn is_kip848(properties: &BTreeMap<String, String>) -> bool {
    properties.get("group.protocol").is_some_and(|protocol| protocol == "consumer")
}

/// For consumers that only ask.
pub(super) const READER: [(&str, &str); 3] =
    [("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"), ("isolation.level", "read_committed")];

/// For producers.
pub(super) const PRODUCER: [(&str, &str); 8] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("compression.codec", "zstd"),
    ("linger.ms", "5"),
    // librdkafka compares it with the size before compression; what is really too large
    // the broker refuses (`max.message.bytes` of the topic).
    ("message.max.bytes", "16777216"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// A property with only these values, and why; none: it may not be set at all.
struct Owned {
    name: &'static str,
    allowed: &'static [&'static str],
    remedy: &'static str,
}

const fn owned(name: &'static str, remedy: &'static str) -> Owned {
    Owned { name, allowed: &[], remedy }
}

const fn only(name: &'static str, allowed: &'static [&'static str], remedy: &'static str) -> Owned {
    Owned { name, allowed, remedy }
}

const OWNED: [Owned; 20] = [
    owned("bootstrap.servers", "set brokers instead"),
    owned("metadata.broker.list", "set brokers instead"),
    owned("group.id", "set group instead"),
    owned("group.instance.id", "remove it: members of the ownership protocol are dynamic"),
    owned("enable.auto.commit", "remove it: offsets are committed after their records are exposed"),
    owned("auto.commit.enable", "remove it: offsets are committed after their records are exposed"),
    owned("auto.commit.interval.ms", "remove it: the lease sets the pace of commits"),
    owned("enable.auto.offset.store", "remove it: offsets are committed after their records are exposed"),
    owned("auto.offset.reset", "remove it: the marker of a partition says where reading begins"),
    owned("enable.partition.eof", "remove it: catching up ends at the partition's end"),
    owned("offset.store.method", "remove it: offsets are kept by the broker"),
    owned("topic.metadata.refresh.interval.ms", "remove it: changed topics must be seen within 10 s"),
    owned("transactional.id", "remove it: nothing is produced in transactions"),
    owned("plugin.library.paths", "remove it: plug-ins could change what the protocol rests on"),
    only("group.protocol", &["classic", "consumer"], "write classic (the default) or consumer (KIP-848)"),
    only("partition.assignment.strategy", &["cooperative-sticky"], "remove it, or write cooperative-sticky"),
    only("partitioner", &["murmur2_random"], "remove it: records are partitioned as Java does, murmur2_random"),
    only("enable.idempotence", &["true"], "remove it: an origin's order rests on it"),
    only("acks", &["all", "-1"], "remove it: a record counts once all replicas have it"),
    only("request.required.acks", &["all", "-1"], "remove it: a record counts once all replicas have it"),
];

const CONSUMERS: [&str; 12] = [
    "fetch.",
    "queued.",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "group.",
    "coordinator.query.interval.ms",
    "check.crcs",
    "isolation.level",
    "consume.callback.max.messages",
    "allow.auto.create.topics",
];

const PRODUCERS: [&str; 19] = [
    "acks",
    "request.required.acks",
    "request.timeout.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "message.send.max.retries",
    "retries",
    "retry.backoff.",
    "partitioner",
    "compression.",
    "linger.ms",
    "batch.",
    "queue.buffering.",
    "queuing.strategy",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "delivery.report.only.error",
];

/// Names to suggest for a misspelled one; librdkafka does not give out its list.
const COMMON_NAMES: [&str; 24] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "client.id",
    "client.rack",
    "socket.timeout.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "metadata.max.age.ms",
    "statistics.interval.ms",
    "fetch.wait.max.ms",
    "compression.codec",
    "linger.ms",
    "message.max.bytes",
    "isolation.level",
];

fn listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|entry| *entry == name || entry.ends_with('.') && name.starts_with(entry))
}

/// Whether only consumers take the property.
pub(super) fn is_consumers(name: &str) -> bool {
    listed(&CONSUMERS, name)
}

/// Whether only producers take the property.
pub(super) fn is_producers(name: &str) -> bool {
    listed(&PRODUCERS, name)
}

/// Whether every consumer takes the property, also one that only asks: its answers must
/// be those that the consuming one would get (`isolation.level`, `kafka.md`).
pub(super) fn is_for_all(name: &str) -> bool {
    name == "isolation.level" || !is_consumers(name) && !is_producers(name)
}

/// Whether a property's value must not be shown.
pub fn is_secret(name: &str) -> bool {
    ["password", "secret", "token", ".pem", ".key", "oauthbearer.config", "jaas", "assertion"]
        .iter()
        .any(|part| name.to_ascii_lowercase().contains(part))
}

/// Checks every property: none that the protocol owns, none that librdkafka does not
/// know or whose value it refuses.
pub(super) fn check(properties: &BTreeMap<String, String>, errors: &mut Vec<KafkaConfigError>) {
    for (name, value) in properties {
        let problem = check_owned(name, value).or_else(|| check_native(name, value));
        if let Some((message, remedy)) = problem {
            let subject = Subject::Property(name.clone());
            errors.push(KafkaConfigError { subject, message, remedy, found: None });
        }
    }
}

fn check_owned(name: &str, value: &str) -> Option<(String, String)> {
    let rule = OWNED.iter().find(|rule| rule.name == name)?;
    if rule.allowed.contains(&value) {
        return None;
    }
    Some(("may not be set to this: the process owns it".to_owned(), rule.remedy.to_owned()))
}

fn check_native(name: &str, value: &str) -> Option<(String, String)> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    let (kind, description) = match config.create_native_config() {
        Ok(_) => return None,
        Err(KafkaError::ClientConfig(kind, description, ..)) => (kind, description),
        Err(_) => (RDKafkaConfRes::RD_KAFKA_CONF_INVALID, String::new()),
    };
    if kind == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN {
        let nearest = COMMON_NAMES
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let remedy = match nearest {
            Some((_, known)) => format!("did you mean {known}?"),
            None => "see librdkafka's CONFIGURATION.md for the names".to_owned(),
        };
        // The one reason that is no misspelling: features that are not built in.
        let message = match description.contains("not supported in this build") {
            true => "is not built into this librdkafka".to_owned(),
            false => "is no property of librdkafka".to_owned(),
        };
        return Some((message, remedy));
    }
    // librdkafka's own text may quote the value; its range does not.
    let remedy = match description.split_once("outside allowed range ") {
        Some((_, range)) => format!("write a number in the range {}", range.trim()),
        None => "see librdkafka's CONFIGURATION.md for its values".to_owned(),
    };
    Some(("has a value that librdkafka refuses".to_owned(), remedy))
}

/// The timings after the user's properties, checked against each other.
pub(super) fn timings(
    properties: &BTreeMap<String, String>,
    defaults: KafkaTimings,
    errors: &mut Vec<KafkaConfigError>,
) -> KafkaTimings {
    let read = |name: &str| {
        let milliseconds = properties.get(name)?.parse().ok()?;
        Some(Duration::from_millis(milliseconds))
    };
    let session = read("session.timeout.ms").unwrap_or(defaults.session);
    let heartbeat = read("heartbeat.interval.ms").unwrap_or(defaults.heartbeat);
    let mut refuse = |name: &str, message: String, remedy: String| {
        let subject = Subject::Property(name.to_owned());
        errors.push(KafkaConfigError { subject, message, remedy, found: None });
    };
    if is_kip848(properties) {
        for (name, remedy) in BROKERS_UNDER_KIP848.iter().filter(|(name, _)| properties.contains_key(*name)) {
            refuse(name, "is the broker's under group.protocol=consumer".to_owned(), (*remedy).to_owned());
        }
    }
    if heartbeat * 3 > session {
        refuse(
            "heartbeat.interval.ms",
            format!("leaves less than three heartbeats to a session of {}", shown(session)),
            "make it a third of session.timeout.ms or less".to_owned(),
        );
    }
    if read("max.poll.interval.ms").is_some_and(|poll| poll < session) {
        refuse(
            "max.poll.interval.ms",
            format!("is shorter than the session of {}", shown(session)),
            "remove it: it follows session.timeout.ms".to_owned(),
        );
    }
    let group = if is_kip848(properties) { KIP848_SESSION } else { session };
    if read("socket.timeout.ms").is_some_and(|socket| socket < group) {
        refuse(
            "socket.timeout.ms",
            format!("is shorter than the session of {}", shown(group)),
            "make it at least the group's session timeout: a commit that timed out must be of a generation that is over"
                .to_owned(),
        );
    }
    KafkaTimings { session, heartbeat }
}
