//! A bridge by its configuration file, and what it says of itself.
use super::http;
use super::kafka::Kafka;
use super::process::Service;
use super::supervise::new_dir;
use std::fs;

/// `kafka` and `ownership` of a configuration with timers as short as a busy machine
/// bears: session + lease/5 + 1 s <= lease.
pub const SHORT_TIMERS: (&str, &str) = ("session.timeout.ms: '3000'", "ownership: {lease: 6s, wait: 6500ms}\n");

/// `kafka2prom serve --config.file`, on a free port: `rest` is the file without its
/// sections `kafka` and `web`, `properties` are librdkafka's.
///
/// # Panics
/// Where it does not become ready.
pub fn configured(kafka: &Kafka, group: &str, properties: &str, rest: &str, extra: &[&str]) -> Service {
    let file = new_dir("bridge").join("bridge.yaml");
    let text = format!(
        "kafka: {{brokers: '{}', group: {group}, properties: {{{properties}}}}}\n\
         web: {{listen_address: '127.0.0.1:0'}}\n{rest}",
        kafka.bootstrap()
    );
    fs::write(&file, text).expect("the run's directory can be written");
    let file = file.to_str().expect("a path of ASCII");
    let arguments = [&["serve", "--config.file", file], extra].concat();
    Service::start("bridge", &arguments).unwrap_or_else(|e| panic!("the bridge does not start: {e}"))
}

/// The sum of the series of that name that have all these labels; `None` where there is
/// none.
pub fn sum(exposition: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let mut found = None;
    for line in exposition.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        if !rest.starts_with(['{', ' ']) || !wanted.iter().all(|label| has_label(rest, label)) {
            continue;
        }
        let (_, value) = rest.rsplit_once(' ').expect("a sample has a value");
        *found.get_or_insert(0.0) += value.parse::<f64>().expect("a value is a number");
    }
    found
}

/// `code="2"` is no label of `{errcode="2"}`.
fn has_label(series: &str, label: &str) -> bool {
    series.match_indices(label).any(|(at, _)| series[..at].ends_with(['{', ',']))
}

impl Service {
    /// [`sum`] of its own metrics; 0 where there is no such series.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn own(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let answer = self.get("/metrics/self").expect("the bridge answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        sum(&answer.text(), name, labels).unwrap_or(0.0)
    }

    /// Its whole scrape as text.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn scrape(&self) -> String {
        let answer = self.get("/metrics").expect("the bridge answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// `/-/ready`: `Err` is why it is not.
    pub fn ready(&self) -> Result<(), String> {
        let answer = self.get("/-/ready")?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    }

    /// A request that changes something.
    pub fn send(&self, method: &str, path: &str) -> http::Answer {
        http::request(method, &self.url(path), &[], b"").expect("the bridge answers")
    }

    /// What `/api/v1/explain` says of an origin.
    pub fn explain(&self, key: &str) -> serde_json::Value {
        let answer = self.get(&format!("/api/v1/explain?origin={}", segment(key))).expect("the bridge answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

/// A key as part of a URL.
pub fn segment(key: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    key.bytes().map(encode).collect()
}
