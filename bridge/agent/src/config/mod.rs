//! The agent's configuration: from flags ([`Config::validate`]) or from the section
//! `agent` of the file ([`Config::from_section`]). Everything wrong is said at once.
mod file;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k2p_core::labels::Labels;
use k2p_runtime::config::format_duration;
use k2p_runtime::kafka::{KafkaConfig, KafkaConfigErrors, KafkaTimings, Subject};

use source::Fault;

/// Time between two scrapes of a target.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// How long a scrape may take.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at a file.
pub const DEFAULT_POLL: Duration = Duration::from_secs(1);
/// The topic of dumps (design §2).
pub const DEFAULT_TOPIC: &str = "k2p.metrics";
/// The largest dump that is taken, decompressed.
pub const DEFAULT_DUMP_BYTES: u64 = 64 << 20;
/// The largest value of a record: with key and headers it stays below Kafka's default
/// `message.max.bytes`, and below what Event Hubs takes.
pub const DEFAULT_RECORD_BYTES: u64 = 900_000;
/// How long the end waits for Kafka's acknowledgements.
pub const DEFAULT_FLUSH: Duration = Duration::from_secs(5);
/// The `job` of a target that is given none.
pub const DEFAULT_JOB: &str = "agent";

/// A target to scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// `http` or `https`, complete.
    pub url: String,
    /// All labels of the origin: the key of its records.
    pub origin: Labels,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long a scrape may take; at most the interval.
    pub timeout: Duration,
    /// Whether the target may answer with gzip.
    pub compression: bool,
}

/// A file into which a service writes its dumps.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSource {
    /// Where it is.
    pub path: PathBuf,
    /// All labels of the origin: the key of its records.
    pub origin: Labels,
    /// Time between two looks at it.
    pub poll: Duration,
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Brokers and properties.
    pub kafka: KafkaConfig,
    /// The topic that dumps go to.
    pub topic: String,
    /// At least one target or file.
    pub targets: Vec<Target>,
    /// At least one target or file.
    pub files: Vec<FileSource>,
    /// The largest dump that is taken, in bytes, decompressed.
    pub dump_bytes: u64,
    /// The largest value of a record, in bytes, compressed; larger dumps are cut.
    pub record_bytes: u64,
    /// Where the agent's own `/metrics` and `/-/healthy` are served; `None`: nowhere.
    pub listen_address: Option<String>,
    /// TLS and passwords there: a file in exporter-toolkit's format.
    pub web_config: Option<PathBuf>,
    /// How long the end may wait for Kafka's acknowledgements.
    pub flush_timeout: Duration,
}

/// What the flags say, word for word.
#[derive(Debug, Clone)]
pub struct RawConfig {
    /// `--kafka.brokers`.
    pub brokers: String,
    /// librdkafka's properties.
    pub properties: BTreeMap<String, String>,
    /// `--kafka.topic`.
    pub topic: String,
    /// `--label name=value`, for all origins.
    pub labels: Vec<String>,
    /// `--scrape URL` or `URL;name=value,name=value`.
    pub scrape: Vec<String>,
    /// `--file PATH` or `PATH;name=value,name=value`.
    pub files: Vec<String>,
    /// `--interval`.
    pub interval: Duration,
    /// `--timeout`; default: 10 s, at most the interval.
    pub timeout: Option<Duration>,
    /// Between two looks at a file.
    pub poll: Duration,
    /// `--web.listen-address`, as [`k2p_runtime::config::parse_listen_address`] makes it.
    pub listen_address: Option<String>,
}

impl Default for RawConfig {
    fn default() -> RawConfig {
        RawConfig {
            brokers: String::new(),
            properties: BTreeMap::new(),
            topic: DEFAULT_TOPIC.to_owned(),
            labels: Vec::new(),
            scrape: Vec::new(),
            files: Vec::new(),
            interval: DEFAULT_INTERVAL,
            timeout: None,
            poll: DEFAULT_POLL,
            listen_address: None,
        }
    }
}

impl Config {
    /// Makes a configuration of the flags.
    ///
    /// # Errors
    /// Everything that is wrong, one line each: the flag, what is wrong with its value,
    /// and what to write instead.
    pub fn validate(raw: RawConfig) -> Result<Config, Vec<String>> {
        let mut errors = Errors::default();
        let common = errors.common_labels(&raw.labels);
        let timeout = raw.timeout.unwrap_or(DEFAULT_TIMEOUT.min(raw.interval));
        errors.pace(raw.interval, timeout);
        let mut targets = Vec::new();
        for text in &raw.scrape {
            let (url, labels) = source::split_labels(text);
            match target(url, labels, &common) {
                Ok((url, origin)) => {
                    targets.push(Target { url, origin, interval: raw.interval, timeout, compression: true });
                }
                Err(fault) => errors.note("--scrape", text, &fault),
            }
        }
        let mut files = Vec::new();
        for text in &raw.files {
            let (path, labels) = source::split_labels(text);
            match file_source(path, labels, &common) {
                Ok((path, origin)) => files.push(FileSource { path, origin, poll: raw.poll }),
                Err(fault) => errors.note("--file", text, &fault),
            }
        }
        errors.whole(&raw, &targets, &files);
        let kafka = kafka(&raw.brokers, raw.properties).map_err(|faults| errors.kafka(&faults));
        match kafka {
            Ok(kafka) if errors.0.is_empty() => Ok(Config {
                kafka,
                topic: raw.topic,
                targets,
                files,
                dump_bytes: DEFAULT_DUMP_BYTES,
                record_bytes: DEFAULT_RECORD_BYTES,
                listen_address: raw.listen_address,
                web_config: None,
                flush_timeout: DEFAULT_FLUSH,
            }),
            _ => Err(errors.0),
        }
    }
}

/// The lines that say what is wrong with the flags.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn note(&mut self, flag: &str, value: &str, fault: &Fault) {
        self.0.push(format!("{flag} {value}: {}; {}", fault.what, fault.remedy));
    }

    /// The same rules as those of the file.
    fn pace(&mut self, interval: Duration, timeout: Duration) {
        if interval < MIN_INTERVAL {
            let what = format!("it is shorter than {}", format_duration(MIN_INTERVAL));
            let remedy = "write a longer one: a scrape costs its target";
            self.note("--interval", &format_duration(interval), &Fault { what, remedy });
        } else if timeout < MIN_INTERVAL || timeout > interval {
            let (least, most) = (format_duration(MIN_INTERVAL), format_duration(interval));
            let what = format!("it is not between {least} and the interval of {most}");
            let remedy = "a scrape must end before the next begins: change one of the two";
            self.note("--timeout", &format_duration(timeout), &Fault { what, remedy });
        }
    }

    fn common_labels(&mut self, flags: &[String]) -> Labels {
        let mut pairs = Vec::new();
        for text in flags {
            match source::pairs(text).and_then(|p| source::labels(&p).map(|_| p)) {
                Ok(some) => pairs.extend(some),
                Err(fault) => self.note("--label", text, &fault),
            }
        }
        source::labels(&pairs).unwrap_or_else(|fault| {
            self.note("--label", &flags.join(" --label "), &fault);
            Labels::default()
        })
    }

    /// What only shows when all flags are seen together.
    fn whole(&mut self, raw: &RawConfig, targets: &[Target], files: &[FileSource]) {
        if raw.scrape.is_empty() && raw.files.is_empty() {
            self.0.push("nothing to ship; give --scrape URL or --file PATH".to_owned());
        }
        if let Some(fault) = topic_fault(&raw.topic) {
            self.note("--kafka.topic", &raw.topic, &fault);
        }
        for (first, second) in duplicates(targets, files) {
            let remedy = "give one of them another instance or job";
            self.0.push(format!("{second}: it has the same labels as {first}; {remedy}"));
        }
    }

    fn kafka(&mut self, faults: &KafkaConfigErrors) {
        self.0.extend(faults.0.iter().map(|e| match &e.subject {
            Subject::Property(name) => format!("--kafka.property {name}: {}; {}", e.message, e.remedy),
            _ => format!("--kafka.{e}"),
        }));
    }
}

/// Scrapes cost the target: not ten a second.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The agent's client settings. Values are compressed by the agent, each on its own:
/// Kafka's compression of whole batches would cost twice and gain nothing.
fn kafka(brokers: &str, mut properties: BTreeMap<String, String>) -> Result<KafkaConfig, KafkaConfigErrors> {
    if !properties.contains_key("compression.type") {
        properties.entry("compression.codec".to_owned()).or_insert_with(|| "none".to_owned());
    }
    let kafka = KafkaConfig::new(brokers, None, properties, KafkaTimings::default())?;
    Ok(kafka.with_client_id("kafka2prom-agent"))
}

fn target(url: &str, labels: &str, common: &Labels) -> Result<(String, Labels), Fault> {
    let own = source::labels(&source::pairs(labels)?)?;
    target_with(url, &own, common)
}

fn target_with(url: &str, own: &Labels, common: &Labels) -> Result<(String, Labels), Fault> {
    let uri = source::target_url(url)?;
    let origin = source::origin(DEFAULT_JOB, &source::instance(&uri), common, own)?;
    Ok((uri.to_string(), origin))
}

fn file_source(path: &str, labels: &str, common: &Labels) -> Result<(PathBuf, Labels), Fault> {
    let own = source::labels(&source::pairs(labels)?)?;
    file_with(path, &own, common)
}

/// A file's job is its name without the ending, its instance the machine.
fn file_with(path: &str, own: &Labels, common: &Labels) -> Result<(PathBuf, Labels), Fault> {
    let path = PathBuf::from(path);
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let Some(stem) = stem else {
        return Err(Fault { what: "it names no file".to_owned(), remedy: "write the path of a file" });
    };
    let origin = source::origin(&stem, &hostname(), common, own)?;
    Ok((path, origin))
}

/// The machine's name, as the kernel knows it.
fn hostname() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = kernel.ok().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty());
    name.unwrap_or_else(|| "localhost".to_owned())
}

/// Kafka's rule for topic names.
fn topic_fault(topic: &str) -> Option<Fault> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=249).contains(&topic.len()) && topic.bytes().all(valid) && topic != "." && topic != ".." {
        return None;
    }
    let what = "it is no topic name".to_owned();
    Some(Fault { what, remedy: "use up to 249 letters, digits, dots, underscores and hyphens" })
}

/// Pairs of sources that would overwrite each other on the bridge.
fn duplicates(targets: &[Target], files: &[FileSource]) -> Vec<(String, String)> {
    let name = |path: &Path| path.display().to_string();
    let all = targets.iter().map(|t| (t.url.clone(), &t.origin));
    let all = all.chain(files.iter().map(|f| (name(&f.path), &f.origin)));
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    let mut out = Vec::new();
    for (source, origin) in all {
        match seen.get(origin.canonical()) {
            Some(first) => out.push((first.clone(), source)),
            None => {
                seen.insert(origin.canonical(), source);
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
