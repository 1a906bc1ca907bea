//! Tables: what is refused, with which words.
use k2p_runtime::config::{Document, Reader};

use super::*;

fn raw() -> RawConfig {
    RawConfig { brokers: "127.0.0.1:9092".to_owned(), ..RawConfig::default() }
}

fn list(all: &[&str]) -> Vec<String> {
    all.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn flags_make_a_configuration() {
    let config = Config::validate(RawConfig {
        labels: list(&["cluster=acme", "region=eu"]),
        scrape: list(&["http://10.0.0.7:4040/m;job=spark,region=us", "http://10.0.0.8:9100"]),
        files: list(&["/var/lib/orders.prom;instance=h1"]),
        ..raw()
    })
    .unwrap();
    let keys: Vec<&str> = config.targets.iter().map(|t| t.origin.canonical()).collect();
    assert_eq!(
        keys,
        [
            "cluster=\"acme\",instance=\"10.0.0.7:4040\",job=\"spark\",region=\"us\"",
            "cluster=\"acme\",instance=\"10.0.0.8:9100\",job=\"agent\",region=\"eu\"",
        ]
    );
    assert_eq!(config.targets[1].url, "http://10.0.0.8:9100/metrics");
    let file = config.files[0].origin.canonical();
    assert_eq!(file, "cluster=\"acme\",instance=\"h1\",job=\"orders\",region=\"eu\"");
    assert_eq!((config.topic.as_str(), config.dump_bytes), ("k2p.metrics", 64 << 20));
    assert_eq!((config.targets[0].interval, config.targets[0].timeout), (DEFAULT_INTERVAL, DEFAULT_TIMEOUT));
}

#[test]
fn a_short_interval_shortens_the_timeout() {
    let raw = RawConfig { scrape: list(&["http://a"]), interval: Duration::from_secs(2), ..raw() };
    assert_eq!(Config::validate(raw).unwrap().targets[0].timeout, Duration::from_secs(2));
}

#[test]
fn flags_are_refused_with_what_where_and_remedy() {
    let target = || list(&["http://a"]);
    let cases: Vec<(RawConfig, &str)> = vec![
        (raw(), "nothing to ship; give --scrape URL or --file PATH"),
        (RawConfig { scrape: list(&["a:9100"]), ..raw() }, "--scrape a:9100: it has no scheme; write a URL"),
        (
            RawConfig { scrape: list(&["http://a;x"]), ..raw() },
            "--scrape http://a;x: \"x\" is no name=value; write name=value",
        ),
        (
            RawConfig { scrape: target(), labels: list(&["9=x"]), ..raw() },
            "--label 9=x: \"9\" is no label name; use letters",
        ),
        (RawConfig { scrape: target(), labels: list(&["a=1", "a=2"]), ..raw() }, "label \"a\" is given twice"),
        (RawConfig { files: list(&["/"]), ..raw() }, "--file /: it names no file"),
        (RawConfig { scrape: target(), topic: "a b".to_owned(), ..raw() }, "--kafka.topic a b: it is no topic name"),
        (RawConfig { scrape: target(), brokers: "nowhere".to_owned(), ..raw() }, "--kafka.brokers"),
        (
            RawConfig { scrape: list(&["http://a", "http://a/metrics"]), ..raw() },
            "http://a/metrics: it has the same labels as http://a/metrics; give one",
        ),
        (
            RawConfig { scrape: target(), timeout: Some(Duration::from_secs(31)), ..raw() },
            "--timeout 31s: it is not between 100ms and the interval of 30s; a scrape must end before",
        ),
        (RawConfig { scrape: target(), interval: Duration::ZERO, ..raw() }, "--interval 0s: it is shorter than 100ms"),
    ];
    for (raw, part) in cases {
        let errors = Config::validate(raw).unwrap_err();
        assert!(errors.iter().any(|e| e.contains(part)), "{part:?} is not in {errors:?}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let raw = RawConfig {
        brokers: "nowhere".to_owned(),
        labels: list(&["9=x"]),
        scrape: list(&["ftp://a", "http://b"]),
        files: list(&["/"]),
        ..RawConfig::default()
    };
    assert_eq!(Config::validate(raw).unwrap_err().len(), 4);
}

fn read(yaml: &str) -> (Option<Config>, String) {
    let document = Document::parse("k2p.yml", yaml, &|_| None, &|_| Ok(String::new()));
    let reader = Reader::new(document);
    let config = Config::from_section(&reader.root());
    (config, reader.finish().map_or_else(|e| e.to_string(), |()| String::new()))
}

#[test]
fn the_file_makes_a_configuration() {
    let (config, errors) = read(
        "\
kafka: {brokers: \"a:9092\", group: g, properties: {}}
agent:
  topic: t
  labels: {cluster: acme}
  interval: 15s
  scrape:
    - {url: \"http://10.0.0.7:4040/m\", labels: {job: spark}, interval: 5s, timeout: 4s, compression: false}
    - {url: \"http://10.0.0.8\"}
  files:
    - {path: /var/lib/orders.prom, labels: {instance: h1}, poll: 2s}
  limits: {dump_bytes: 1MiB, record_bytes: 100KB}
web: {listen_address: \"127.0.0.1:9527\"}
",
    );
    assert_eq!(errors, "");
    let config = config.unwrap();
    let spark = &config.targets[0];
    assert_eq!(spark.origin.canonical(), "cluster=\"acme\",instance=\"10.0.0.7:4040\",job=\"spark\"");
    assert_eq!((spark.interval.as_secs(), spark.timeout.as_secs(), spark.compression), (5, 4, false));
    assert_eq!((config.targets[1].interval.as_secs(), config.targets[1].timeout.as_secs()), (15, 10));
    assert_eq!(config.files[0].poll.as_secs(), 2);
    assert_eq!((config.dump_bytes, config.record_bytes), (1 << 20, 100_000));
    assert_eq!(config.listen_address.as_deref(), Some("127.0.0.1:9527"));
}

#[test]
fn the_file_is_refused_with_line_and_remedy() {
    let head = "kafka: {brokers: \"a:9092\"}\nagent:\n";
    let cases = [
        ("  topic: t\n", "nothing to ship"),
        ("  scrape: [{url: \"a:1\"}]\n", "k2p.yml:3:18: agent.scrape[0].url: it has no scheme"),
        (
            "  labels: {le: x}\n  scrape: [{url: \"http://a\"}]\n",
            "k2p.yml:3:11: agent.labels: the label \"le\" is reserved",
        ),
        ("  scrape: [{labels: {}}]\n", "agent.scrape[0].url is missing"),
        ("  files: [{path: /}]\n", "agent.files[0].path: it names no file"),
        ("  scrape: [{url: \"http://a\", interval: 1s, timeout: 2s}]\n", "the timeout is longer than the interval"),
        ("  scrape: [{url: \"http://a\", intervall: 1s}]\n", "intervall"),
        ("  scrape: [{url: \"http://a\"}, {url: \"http://a\"}]\n", "the same labels as http://a/metrics"),
        ("  scrape: [{url: \"http://a\"}]\n  limits: {record_bytes: 5}\n", "agent.limits.record_bytes"),
        ("  topic: \"a b\"\n  scrape: [{url: \"http://a\"}]\n", "agent.topic: it is no topic name"),
    ];
    for (yaml, part) in cases {
        let (_, errors) = read(&format!("{head}{yaml}"));
        assert!(errors.contains(part), "{part:?} is not in {errors:?}");
    }
    let (config, errors) = read("agent: {scrape: [{url: \"http://a\"}]}\n");
    assert!(config.is_none() && errors.contains("kafka.brokers is missing"), "{errors}");
}

const REFERENCE: &str = include_str!("../../../../deploy/agent.yaml");
const LEAST: &str = "kafka: {brokers: \"127.0.0.1:9092\"}\nagent:\n  \
                     scrape: [{url: \"http://127.0.0.1:9100/metrics\"}]\n  \
                     files: [{path: /var/lib/kafka2prom/service.prom}]\n";

/// Every default that stands in a comment: `# key: value`.
fn shown_default(line: &str) -> Option<String> {
    let (indent, comment) = line.split_once("# ")?;
    let (key, _) = comment.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (indent.trim().is_empty() && is_key).then(|| format!("{indent}{comment}"))
}

#[test]
fn the_annotated_defaults_are_the_defaults() {
    let lines = REFERENCE.lines();
    let uncommented: Vec<String> = lines.map(|line| shown_default(line).unwrap_or_else(|| line.to_owned())).collect();
    assert!(REFERENCE.lines().filter_map(shown_default).count() >= 12);
    let (least, errors) = read(LEAST);
    let least = least.unwrap_or_else(|| panic!("{errors}"));
    for text in [REFERENCE, &uncommented.join("\n")] {
        let (config, errors) = read(text);
        assert_eq!(errors, "", "{text}");
        assert_eq!(format!("{:#?}", config.unwrap()), format!("{least:#?}"));
    }
}

/// A key that the reader knows and the reference does not show would be found by nobody.
#[test]
fn every_key_is_in_the_reference() {
    let (_, errors) = read(
        "kafka: {unknown: 1}\nagent: {unknown: 1, limits: {unknown: 1}, scrape: [{unknown: 1}],\n  \
                            files: [{unknown: 1}]}\nweb: {unknown: 1}\nunknown: 1\n",
    );
    let known: Vec<&str> = errors.lines().filter_map(|f| Some(f.split_once("known here: ")?.1)).collect();
    assert!(known.len() >= 6, "{errors}");
    // The bridge's: an agent has no group, but one file may be both.
    for key in known.iter().flat_map(|keys| keys.split(", ")).filter(|key| *key != "group") {
        let mentioned = REFERENCE.lines().any(|line| {
            let line = line.trim_start_matches([' ', '-', '#']).trim_start_matches("e.g. ");
            line.starts_with(&format!("{key}:"))
        });
        assert!(mentioned, "deploy/agent.yaml does not show {key}");
    }
}
