//! The section `agent` of the configuration file.
use std::time::Duration;

use k2p_core::labels::Labels;
use k2p_runtime::config::{Section, parse_listen_address};
use k2p_runtime::kafka::{KafkaConfig, Subject};

use super::source::{self, Fault};
use super::{
    Config, DEFAULT_DUMP_BYTES, DEFAULT_FLUSH, DEFAULT_INTERVAL, DEFAULT_POLL, DEFAULT_RECORD_BYTES, DEFAULT_TIMEOUT,
    DEFAULT_TOPIC, FileSource, MIN_INTERVAL, Target,
};

/// The longest interval and poll: beyond it somebody mistook the unit.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

impl Config {
    /// Reads the sections `kafka`, `agent` and `web` of a file:
    ///
    /// ```yaml
    /// kafka: {brokers: "a:9092,b:9092", properties: {}}
    /// agent:
    ///   topic: k2p.metrics
    ///   labels: {cluster: acme}
    ///   interval: 30s
    ///   timeout: 10s
    ///   scrape:
    ///     - {url: "http://10.0.0.7:4040/metrics/prometheus", labels: {job: spark}, interval: 15s, timeout: 5s, compression: true}
    ///   files:
    ///     - {path: /var/lib/orders/metrics.prom, labels: {job: orders}, poll: 1s}
    ///   limits: {dump_bytes: 64MiB, record_bytes: 900KB}
    /// web: {listen_address: "127.0.0.1:9527", config_file: /etc/kafka2prom/web.yml}
    /// ```
    ///
    /// What is wrong is noted in the section's reader, whose `finish` has the last
    /// word; `None` if no configuration could be made of the rest.
    pub fn from_section(root: &Section<'_>) -> Option<Config> {
        let mut valid = true;
        let kafka = kafka(&root.section("kafka"), &mut valid);
        let agent = root.section("agent");
        let topic = agent.string("topic").unwrap_or_else(|| DEFAULT_TOPIC.to_owned());
        if let Some(fault) = super::topic_fault(&topic) {
            note(&agent, "topic", &fault, &mut valid);
        }
        let common = labels(&agent, &mut valid);
        let interval = agent.duration_in("interval", MIN_INTERVAL..=MAX_INTERVAL);
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        let timeout = agent.duration_in("timeout", MIN_INTERVAL..=MAX_INTERVAL);
        let mut targets = Vec::new();
        for section in agent.sections("scrape") {
            targets.extend(target(&section, &common, interval, timeout, &mut valid));
        }
        let mut files = Vec::new();
        for section in agent.sections("files") {
            files.extend(file(&section, &common, &mut valid));
        }
        if valid && targets.is_empty() && files.is_empty() {
            let what = "nothing to ship".to_owned();
            note(&agent, "scrape", &Fault { what, remedy: "add entries to scrape or files" }, &mut valid);
        }
        let duplicates = if valid { super::duplicates(&targets, &files) } else { Vec::new() };
        for (first, second) in duplicates {
            let what = format!("{second} has the same labels as {first}");
            let remedy = "give one of them another instance or job";
            note(&agent, "scrape", &Fault { what, remedy }, &mut valid);
        }
        let limits = agent.section("limits");
        let dump_bytes = limits.bytes_in("dump_bytes", 1024..=4 << 30).unwrap_or(DEFAULT_DUMP_BYTES);
        let record_bytes = limits.bytes_in("record_bytes", 1024..=512 << 20).unwrap_or(DEFAULT_RECORD_BYTES);
        let listen_address = root.section("web").parsed(
            "listen_address",
            "a listen address",
            "write one such as 127.0.0.1:9527",
            |text| parse_listen_address(text).map_err(|e| e.to_string()),
        );
        let web_config = root.section("web").string("config_file").filter(|path| !path.is_empty());
        let kafka = kafka?;
        valid.then_some(Config {
            kafka,
            topic,
            targets,
            files,
            dump_bytes,
            record_bytes,
            listen_address,
            web_config: web_config.map(Into::into),
            flush_timeout: DEFAULT_FLUSH,
        })
    }
}

fn note(section: &Section<'_>, key: &str, fault: &Fault, valid: &mut bool) {
    *valid = false;
    section.error(key, &fault.what, fault.remedy);
}

fn kafka(section: &Section<'_>, valid: &mut bool) -> Option<KafkaConfig> {
    // The bridge's: known, and of no use here.
    let _ = section.string("group");
    let properties = section.string_map("properties").unwrap_or_default();
    if !section.required("brokers") {
        *valid = false;
        return None;
    }
    let brokers = section.string("brokers")?;
    match super::kafka(&brokers, properties) {
        Ok(kafka) => Some(kafka),
        Err(faults) => {
            for fault in &faults.0 {
                let (key, message) = match &fault.subject {
                    Subject::Brokers | Subject::Group => ("brokers", fault.message.clone()),
                    Subject::Property(name) => ("properties", format!("{name}: {}", fault.message)),
                };
                section.error(key, &message, &fault.remedy);
            }
            *valid = false;
            None
        }
    }
}

fn labels(section: &Section<'_>, valid: &mut bool) -> Labels {
    let pairs: Vec<_> = section.string_map("labels").unwrap_or_default().into_iter().collect();
    source::labels(&pairs).unwrap_or_else(|fault| {
        note(section, "labels", &fault, valid);
        Labels::default()
    })
}

fn target(
    section: &Section<'_>,
    common: &Labels,
    interval: Duration,
    timeout: Option<Duration>,
    valid: &mut bool,
) -> Option<Target> {
    let own = labels(section, valid);
    let interval = section.duration_in("interval", MIN_INTERVAL..=MAX_INTERVAL).unwrap_or(interval);
    let timeout = section.duration_in("timeout", MIN_INTERVAL..=MAX_INTERVAL).or(timeout);
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT.min(interval));
    let compression = section.bool("compression").unwrap_or(true);
    if timeout > interval {
        let what = "the timeout is longer than the interval".to_owned();
        let remedy = "a scrape must end before the next begins: shorten it";
        note(section, "timeout", &Fault { what, remedy }, valid);
    }
    if !section.required("url") {
        *valid = false;
        return None;
    }
    match super::target_with(&section.string("url")?, &own, common) {
        Ok((url, origin)) => Some(Target { url, origin, interval, timeout, compression }),
        Err(fault) => {
            note(section, "url", &fault, valid);
            None
        }
    }
}

fn file(section: &Section<'_>, common: &Labels, valid: &mut bool) -> Option<FileSource> {
    let own = labels(section, valid);
    let poll = section.duration_in("poll", MIN_INTERVAL..=MAX_INTERVAL).unwrap_or(DEFAULT_POLL);
    if !section.required("path") {
        *valid = false;
        return None;
    }
    match super::file_with(&section.string("path")?, &own, common) {
        Ok((path, origin)) => Some(FileSource { path, origin, poll }),
        Err(fault) => {
            note(section, "path", &fault, valid);
            None
        }
    }
}
