//! The bridge's configuration: what the file and the flags say, validated (design §5).
//!
//! Defaults run as they are: a broker, a group and a topic are all that is needed.
//! Everything that is wrong is reported at once.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k2p_core::cache::{CacheConfig, Limits, Staleness};
use k2p_core::codec::Format;
use k2p_core::labels::Labels;
use k2p_core::ownership;
use k2p_push::ttl::TtlRules;
use k2p_runtime::config::{Section, format_duration};
use k2p_runtime::kafka::{KafkaConfig, KafkaConfigError, KafkaTimings, Subject};

use crate::consume::{Topic, TopicKind};
use crate::live::Policy;
pub use masking::Masking;
pub use pipelines::{DEFAULT_STATE, LogPlace, Logs, Options, Pipelines, Runs};
pub use web::{DEFAULT_LISTEN, DEFAULT_LISTEN_GUARDED, Scheme, Web};

mod masking;
mod pipelines;
mod push;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
mod web;

/// What the command line says; what is set wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--kafka.brokers`
    pub brokers: Option<String>,
    /// `--kafka.group`
    pub group: Option<String>,
    /// `--kafka.property NAME=VALUE`
    pub properties: Vec<String>,
    /// `--kafka.topic NAME[:metrics|events|push]`; given once, the file's topics do not count.
    pub topics: Vec<String>,
    /// `--web.listen-address`
    pub listen: Option<String>,
    /// `--web.advertise-address`
    pub advertise: Option<String>,
    /// `--web.external-address`
    pub external: Option<String>,
    /// `--web.route`
    pub route: Option<String>,
    /// `--web.enable-admin-api`
    pub admin_api: bool,
    /// `--web.config.file`
    pub web_config: Option<PathBuf>,
}

/// A bridge's validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Brokers, group, properties.
    pub kafka: KafkaConfig,
    /// At least one, no name twice.
    pub topics: Vec<Topic>,
    /// The protocol's timers.
    pub ownership: ownership::Config,
    /// At most this far back a partition is read when it is taken over.
    pub rewind: Duration,
    /// Where refused records are copied.
    pub deadletter: Option<Arc<str>>,
    /// What topics of events need.
    pub pipelines: Pipelines,
    /// After which silence pushed groups go.
    pub push_ttl: TtlRules,
    /// What is masked before it is written or shown.
    pub masking: Masking,
    /// The HTTP side.
    pub web: Web,
}

/// The consumer group if nothing is said.
pub const DEFAULT_GROUP: &str = "kafka2prom";

/// Reads the file's root section under the flags. Faults of the file are noted in its
/// reader, faults of the flags and of the whole are pushed to `errors`; with any of
/// either there is no configuration.
pub fn read(root: &Section<'_>, flags: &Flags, errors: &mut Vec<String>) -> Option<Config> {
    let before = errors.len();
    let kafka = kafka(root, flags, errors);
    let (mut masking, key_named) = masking::root(root);
    let mut topics = file_topics(root, &mut masking, key_named);
    if !flags.topics.is_empty() {
        topics = flag_topics(&flags.topics, errors);
    }
    if topics.is_empty() && !root.has("topics") && flags.topics.is_empty() {
        errors.push("no topic: name one with --kafka.topic NAME, or under `topics:` in the file".to_owned());
    }
    let (ownership, rewind) = ownership(&root.section("ownership"), kafka.as_ref());
    let deadletter = root.section("state").string("deadletter").filter(|t| !t.is_empty()).map(Arc::from);
    let pipelines = pipelines::read(root);
    let push_ttl = push::ttl(&root.section("push"));
    let web = web::read(&root.section("web"), flags, errors);
    if errors.len() > before {
        return None;
    }
    Some(Config {
        kafka: kafka?,
        topics,
        ownership: ownership?,
        rewind,
        deadletter,
        pipelines,
        push_ttl,
        masking,
        web: web?,
    })
}

fn kafka(root: &Section<'_>, flags: &Flags, errors: &mut Vec<String>) -> Option<KafkaConfig> {
    let section = root.section("kafka");
    let group = section.string("group");
    let group = flags.group.clone().or(group).unwrap_or_else(|| DEFAULT_GROUP.to_owned());
    let mut properties = section.string_map("properties").unwrap_or_default();
    for property in &flags.properties {
        match property.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                properties.insert(name.to_owned(), value.to_owned());
            }
            _ => errors.push("--kafka.property: expected NAME=VALUE, e.g. security.protocol=SSL".to_owned()),
        }
    }
    let in_file = section.string("brokers");
    let Some(brokers) = flags.brokers.clone().or(in_file.clone()) else {
        if !section.has("brokers") {
            errors.push(
                "no broker: name one with --kafka.brokers HOST:PORT, or under `kafka.brokers` in the file".to_owned(),
            );
        }
        return None;
    };
    match KafkaConfig::new(&brokers, Some(&group), properties, KafkaTimings::default()) {
        Ok(config) => Some(config),
        Err(faults) => {
            for fault in faults.0 {
                report(&section, flags.brokers.is_some(), &fault, errors);
            }
            None
        }
    }
}

fn report(section: &Section<'_>, by_flag: bool, fault: &KafkaConfigError, errors: &mut Vec<String>) {
    let (key, name, flag) = match &fault.subject {
        Subject::Property(name) => ("properties", name.as_str(), "--kafka.property"),
        Subject::Brokers => ("brokers", "", "--kafka.brokers"),
        Subject::Group => ("group", "", "--kafka.group"),
    };
    if section.has(key) && !(by_flag && key == "brokers") {
        let (at, key) = if name.is_empty() { (section.clone(), key) } else { (section.section(key), name) };
        at.error(key, &fault.message, &fault.remedy);
    } else {
        let found = fault.found.as_ref().map(|f| format!(" (found {f:?})")).unwrap_or_default();
        let flag = if name.is_empty() { flag.to_owned() } else { format!("{flag} {name}") };
        errors.push(format!("{flag}: {}{found}; {}", fault.message, fault.remedy));
    }
}

fn file_topics(root: &Section<'_>, masking: &mut Masking, key_named: bool) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    let sections = root.sections("topics");
    if root.has("topics") && sections.is_empty() {
        root.error("topics", "the list holds no topic", "configure at least one topic");
    }
    for section in sections {
        let own = masking::topic(&section, masking.key.as_ref(), key_named);
        let Some(topic) = file_topic(&section) else { continue };
        if topics.iter().any(|t| t.name == topic.name) {
            section.error("name", "this topic is configured twice", "keep one of them");
            continue;
        }
        masking.topics.extend(own.map(|own| (topic.name.to_string(), own)));
        topics.push(topic);
    }
    topics
}

fn file_topic(section: &Section<'_>) -> Option<Topic> {
    let kinds = [("metrics", TopicKind::Metrics), ("events", TopicKind::Events), ("push", TopicKind::Push)];
    let kind = section.choice("kind", &kinds).unwrap_or_default();
    match kind {
        TopicKind::Events | TopicKind::Push => of_dumps_only(section, kind),
        TopicKind::Metrics => {}
    }
    match kind {
        TopicKind::Events => {}
        _ if section.has("masking") => {
            section.error(
                "masking",
                "this belongs to topics of kind events",
                "dumps and pushes are shown as they are: remove it",
            );
        }
        _ => {}
    }
    let format = section
        .choice("format", &[("auto", None), ("text", Some(Format::Text)), ("openmetrics", Some(Format::OpenMetrics))]);
    let labels = labels(section);
    let honor_labels = section.bool("honor_labels").unwrap_or(false);
    let stamp = section.choice("timestamps", &[("scrape", false), ("dump", true)]).unwrap_or(false);
    let policies: Vec<(&str, Policy)> = Policy::ALL.into_iter().map(|p| (p.as_str(), p)).collect();
    let policy = section.choice("policy", &policies).unwrap_or_default();
    let staleness = staleness(section);
    let forget_after = section.duration_in("forget_after", Duration::ZERO..=Duration::MAX);
    let limits = limits(&section.section("limits"));
    if !section.required("name") {
        return None;
    }
    let name = section.parsed("name", "a topic's name", "use letters, digits, '.', '_' and '-'", topic_name)?;
    let default = CacheConfig::default();
    let cache = CacheConfig {
        format: format.flatten(),
        fixed: labels?,
        honor_labels,
        stamp,
        staleness,
        forget_after: forget_after.map_or(default.forget_after, millis),
        limits,
        ..default
    };
    Some(Topic { name, policy, cache, kind })
}

/// What is replayed is never dropped, does not go stale and says its format itself.
fn of_dumps_only(section: &Section<'_>, kind: TopicKind) {
    let remedy = format!("remove it from this topic of kind {}", kind.as_str());
    for key in ["format", "honor_labels", "timestamps", "policy", "staleness", "forget_after", "limits"] {
        if section.has(key) {
            section.error(key, "this belongs to topics of kind metrics", &remedy);
        }
    }
}

/// Kafka's own rule for topic names.
fn topic_name(text: &str) -> Result<Arc<str>, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 249 || text == "." || text == ".." || !text.chars().all(legal) {
        return Err("Kafka allows letters, digits, '.', '_' and '-', at most 249 of them".to_owned());
    }
    Ok(text.into())
}

fn labels(section: &Section<'_>) -> Option<Labels> {
    let map = section.string_map("labels").unwrap_or_default();
    // As in record keys: injected into a bucket they would rename its bound.
    if let Some(name) = map.keys().find(|name| matches!(name.as_str(), "__name__" | "le" | "quantile")) {
        let message = format!("the label {name:?} is reserved: it belongs to the sample itself");
        section.error("labels", &message, "choose another name");
        return None;
    }
    match Labels::from_pairs(map) {
        Ok(labels) => Some(labels),
        Err(error) => {
            section.error("labels", &error.to_string(), "use label names of letters, digits and '_'");
            None
        }
    }
}

fn staleness(section: &Section<'_>) -> Staleness {
    if section.string("staleness").as_deref() == Some("auto") {
        return Staleness::Auto;
    }
    let shortest = Duration::from_secs(1);
    section.duration_in("staleness", shortest..=Duration::MAX).map_or(Staleness::Auto, |d| Staleness::After(millis(d)))
}

fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let count = |key: &str, default: usize| {
        section.integer(key, 1..=i64::MAX).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let bytes = |key: &str, default: usize| {
        section.bytes_in(key, 1..=1 << 40).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    Limits {
        dump_bytes: bytes("dump_bytes", default.dump_bytes),
        series_per_origin: count("series_per_origin", default.series_per_origin),
        origins: count("origins", default.origins),
        origin_bytes: bytes("origin_bytes", default.origin_bytes),
        cache_bytes: bytes("cache_bytes", default.cache_bytes),
        label_name_bytes: bytes("label_name_bytes", default.label_name_bytes),
        label_value_bytes: bytes("label_value_bytes", default.label_value_bytes),
    }
}

fn flag_topics(flags: &[String], errors: &mut Vec<String>) -> Vec<Topic> {
    let mut topics: BTreeMap<Arc<str>, Topic> = BTreeMap::new();
    for flag in flags {
        let (name, kind) = flag.split_once(':').unwrap_or((flag, "metrics"));
        let kind = match kind {
            "metrics" => TopicKind::Metrics,
            "events" => TopicKind::Events,
            "push" => TopicKind::Push,
            _ => {
                errors.push(format!(
                    "--kafka.topic {flag}: no kind {kind:?}; write NAME, NAME:metrics, NAME:events or NAME:push"
                ));
                continue;
            }
        };
        match topic_name(name) {
            Ok(name) => {
                let topic =
                    Topic { name: name.clone(), policy: Policy::default(), cache: CacheConfig::default(), kind };
                topics.insert(name, topic);
            }
            Err(why) => errors.push(format!("--kafka.topic {flag}: {why}")),
        }
    }
    topics.into_values().collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Rule 1's check: a lease must outlast what a commit can wait for.
fn ownership(section: &Section<'_>, kafka: Option<&KafkaConfig>) -> (Option<ownership::Config>, Duration) {
    let second = Duration::from_secs(1);
    let hour = second * 3600;
    let lease = section.duration_in("lease", second..=hour).unwrap_or(second * 20);
    let wait = section.duration_in("wait", second..=hour).unwrap_or(lease * 6 / 5);
    let rewind = section.duration_in("rewind", Duration::ZERO..=hour * 24).unwrap_or(second * 600);
    let mut safe = true;
    if wait * 100 < lease * 105 {
        let message = format!("{} is no safe wait for a lease of {}", format_duration(wait), format_duration(lease));
        section.error("wait", &message, "make it at least 1.05 × the lease (the margin covers clock drift)");
        safe = false;
    }
    // In a KIP-848 group the broker ends sessions, and no commit waits for that.
    if let Some(session) = kafka.and_then(KafkaConfig::session_timeout)
        && session + lease / 5 + second > lease
    {
        let message = format!(
            "a lease of {} is too short for session.timeout.ms = {}: one crash would fence every bridge",
            format_duration(lease),
            format_duration(session)
        );
        section.error(
            "lease",
            &message,
            "session + lease/5 + 1s must not exceed the lease: raise it, or lower session.timeout.ms",
        );
        safe = false;
    }
    (safe.then(|| timers(lease, wait)), rewind)
}

#[cfg(not(feature = "faults"))]
fn timers(lease: Duration, wait: Duration) -> ownership::Config {
    ownership::Config::new(millis(lease), millis(wait))
}

#[cfg(feature = "faults")]
fn timers(lease: Duration, wait: Duration) -> ownership::Config {
    ownership::Config { rules: crate::faults::rules(), ..ownership::Config::new(millis(lease), millis(wait)) }
}
