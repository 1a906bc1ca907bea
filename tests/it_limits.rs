//! Everything that a record can be refused for: the whole record is, the last good dump
//! stays, and counters, page, `explain` and dead letter say so.
use crate::support::bridge::configured;
use crate::support::dumps::{Encoding, OPENMETRICS, TEXT};
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::{Read, Record};
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const LIMITS: &str =
    "{dump_bytes: 64KiB, series_per_origin: 100, origins: 3, label_name_bytes: 32, label_value_bytes: 64}";
/// The origin whose good dump must survive.
const GOOD: &str = r#"cluster="acme",job="good""#;

struct Bench {
    kafka: &'static Kafka,
    topic: String,
    letters: String,
    group: String,
    bridge: Service,
}

impl Bench {
    /// A bridge with [`LIMITS`] that shows the good dump.
    fn start() -> Option<Bench> {
        let kafka = require(Kafka::shared())?;
        let (topic, letters, group) = (unique("limits"), unique("letters"), unique("bridge"));
        kafka.create_topic(&topic, 1, &[]);
        kafka.create_topic(&letters, 1, &[]);
        let rest = format!("topics: [{{name: {topic}, limits: {LIMITS}}}]\nstate: {{deadletter: {letters}}}\n");
        let bridge = configured(kafka, &group, "", &rest, &[]);
        eventually_ok("the bridge is ready", LONG, || bridge.ready());
        let bench = Bench { kafka, topic, letters, group, bridge };
        bench.produce(good("steady 1\n"));
        eventually_ok("the good dump is shown", LONG, || {
            if bench.shows_good() { Ok(()) } else { Err(bench.bridge.get("/metrics/self")?.text()) }
        });
        Some(bench)
    }

    fn produce(&self, record: Record) -> i64 {
        self.kafka.produce(&self.topic, &[record])[0].1
    }

    fn shows_good(&self) -> bool {
        self.bridge.scrape().contains("steady{cluster=\"acme\",job=\"good\"} 1\n")
    }

    fn rejected(&self, reason: &str) -> f64 {
        self.bridge.own("kafka2prom_records_rejected_total", &[("topic", &self.topic), ("reason", reason)])
    }

    /// Produces a record that must be refused for this reason, and checks all that is
    /// said of it. `key` is the origin's, if it can be read.
    fn refused(&self, reason: &str, key: Option<&str>, record: Record) {
        let before = (self.rejected(reason), self.bridge.own("kafka2prom_records_rejected_total", &[]));
        let offset = self.produce(record);
        eventually_ok(&format!("the record at {offset} is refused"), LONG, || {
            let now = (self.rejected(reason), self.bridge.own("kafka2prom_records_rejected_total", &[]));
            if now == (before.0 + 1.0, before.1 + 1.0) {
                return Ok(());
            }
            Err(format!("{reason} {before:?}, now {now:?}\n{}", self.bridge.process().log_tail()))
        });
        assert!(self.shows_good(), "{reason}: the last good dump is gone\n{}", self.bridge.scrape());
        let page = self.bridge.get("/").unwrap().text();
        let row = page.split("<tr>").find(|row| row.contains(&format!("offset {offset}</small>")));
        let row = row.unwrap_or_else(|| panic!("{reason}: offset {offset} is not on the page: {page}"));
        assert!(row.contains(&reason.replace('_', " ")), "{row}");
        let Some(key) = key else { return };
        let told = self.bridge.explain(key);
        let newest = &told["refusals"][0];
        assert_eq!((newest["reason"].as_str(), newest["offset"].as_i64()), (Some(reason), Some(offset)), "{told}");
        assert!(!newest["detail"].as_str().unwrap().is_empty());
        if key == GOOD {
            assert_eq!(told["verdict"], "exposed");
            assert_eq!(told["found"]["last_refusal"], newest["detail"]);
            // Too many in a row, and none would be read.
            self.produce(good("steady 1\n"));
        } else {
            assert_eq!(told["verdict"], "unknown");
            assert!(told["explanation"][0].as_str().unwrap().contains(reason), "{told}");
        }
    }
}

fn good(body: impl Into<Vec<u8>>) -> Record {
    Record::new(GOOD, body)
}

fn series(count: usize) -> String {
    let mut body = String::new();
    for i in 0..count {
        writeln!(body, "many{{number=\"{i}\"}} {i}").unwrap();
    }
    body
}

/// A text that must be refused, under headers.
fn with(headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Record {
    headers.iter().fold(good(body), |record, (name, value)| record.header(name, *value))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    Encoding::Gzip.encode(body)
}

/// Reason, and a record of the good origin that is refused for it.
fn faults() -> Vec<(&'static str, Record)> {
    let encoded = |name, body: Vec<u8>| with(&[("content-encoding", name)], body);
    let half = |mut body: Vec<u8>| {
        body.truncate(body.len() / 2);
        body
    };
    let mut damaged = gzip(series(90).as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0xff);
    let long = |length: usize| "x".repeat(length);
    vec![
        ("bad_header", with(&[("k2p-time", "yesterday")], "steady 2\n")),
        ("bad_header", with(&[("k2p-id", "no sequence")], "steady 2\n")),
        ("bad_header", with(&[("k2p-part", "3/2;x")], "steady 2\n")),
        ("bad_header", good("steady 2\n").header("content-type", [0xff, 0xfe])),
        ("bad_encoding", encoded("rot13", b"steady 2\n".to_vec())),
        ("bad_encoding", encoded("gzip", series(90).into_bytes())),
        ("bad_encoding", encoded("zstd", series(90).into_bytes())),
        ("bad_encoding", encoded("gzip", damaged)),
        ("bad_encoding", good(gzip(b"steady 2\n"))),
        ("truncated", encoded("gzip", half(gzip(series(90).as_bytes())))),
        ("truncated", encoded("zstd", half(Encoding::Zstd.encode(series(90).as_bytes())))),
        ("truncated", encoded("snappy", half(Encoding::SnappyRaw.encode(series(90).as_bytes())))),
        ("truncated", with(&[("content-type", OPENMETRICS)], "# TYPE steady gauge\nsteady 2\n")),
        ("too_large", good(format!("steady 2\n# {}\n", long(64 << 10)))),
        ("too_large", encoded("snappy", Encoding::SnappyRaw.encode(&vec![b'\n'; (64 << 10) + 1]))),
        ("not_a_dump", good([0_u8, 159, 146, 150, 255, 0].repeat(50))),
        ("not_a_dump", with(&[("content-type", TEXT)], [0_u8, 159, 146, 150, 255, 0].repeat(50))),
        ("not_a_dump", with(&[("content-type", TEXT)], "{\"level\": \"info\", \"message\": \"the wrong topic\"}\n")),
        ("unknown_format", with(&[("content-type", "application/json")], "{}")),
        ("too_many_series", good(series(101))),
        ("label_too_long", good(format!("steady{{{}=\"x\"}} 2\n", long(33)))),
        ("label_too_long", good(format!("steady{{name=\"{}\"}} 2\n", long(65)))),
    ]
}

#[test]
fn a_fault_refuses_the_whole_record_and_is_told_everywhere() {
    let Some(bench) = Bench::start() else { return };
    let mut sent = Vec::new();
    for (reason, record) in faults() {
        bench.refused(reason, Some(GOOD), record.clone());
        sent.push((reason, record));
    }
    for key in [r#"job="x",le="1""#.to_owned(), format!("job=\"{}\"", "x".repeat(9000))] {
        let record = Record::new(&key, "up 1\n");
        bench.refused("bad_key", None, record.clone());
        sent.push(("bad_key", record));
    }
    for job in ["second", "third"] {
        bench.produce(Record::new(&format!("job=\"{job}\""), "up 1\n"));
        eventually("an origin within the limit is taken", LONG, || {
            bench.bridge.scrape().contains(&format!("up{{job=\"{job}\"}} 1\n")).then_some(())
        });
    }
    let fourth = Record::new(r#"job="fourth""#, "up 1\n");
    bench.refused("too_many_origins", Some(r#"job="fourth""#), fourth.clone());
    sent.push(("too_many_origins", fourth));

    every_letter_is_there(&bench, &sent);
    let (_, end) = bench.kafka.watermarks(&bench.topic, 0);
    eventually_ok("what was refused is committed past", LONG, || {
        let committed = bench.kafka.committed(&bench.group, &bench.topic, 1);
        if committed.get(&0).map(|c| c.offset) == Some(end) { Ok(()) } else { Err(format!("{end}: {committed:?}")) }
    });
    // The origin is none the worse: its next good dump is taken.
    bench.produce(good("steady 3\n"));
    eventually("the next good dump is shown", LONG, || {
        bench.bridge.scrape().contains("steady{cluster=\"acme\",job=\"good\"} 3\n").then_some(())
    });
    assert_eq!(bench.bridge.explain(GOOD)["found"]["last_refusal"], serde_json::Value::Null);
}

/// The dead letters: the records as they were, with the reason and where they lay.
fn every_letter_is_there(bench: &Bench, sent: &[(&str, Record)]) {
    eventually_ok("all dead letters are acknowledged", LONG, || {
        let ok = bench.bridge.own("kafka2prom_dead_letters_total", &[("topic", &bench.topic), ("result", "ok")]);
        if ok == f64::from(u32::try_from(sent.len()).unwrap()) { Ok(()) } else { Err(format!("{ok}")) }
    });
    let letters = bench.kafka.read_all(&bench.letters, 0);
    assert_eq!(letters.len(), sent.len());
    let sources = bench.kafka.read_all(&bench.topic, 0);
    for (letter, (reason, record)) in letters.iter().zip(sent) {
        let header = |name: &str| letter.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice());
        let text = |name: &str| String::from_utf8(header(name).unwrap().to_vec()).unwrap();
        assert_eq!(text("k2p-reason"), *reason);
        assert!(!text("k2p-detail").is_empty());
        let offset = text("k2p-source").strip_prefix(&format!("{}/0/", bench.topic)).unwrap().parse::<i64>().unwrap();
        let source: &Read = sources.iter().find(|read| read.offset == offset).unwrap();
        assert_eq!((&letter.key, &letter.value), (&source.key, &source.value), "{reason}");
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value), "{reason}");
        for (name, value) in &record.headers {
            assert_eq!(header(name), Some(value.as_slice()), "{reason}: {name}");
        }
    }
}

/// A megabyte that would be a gigabyte: the limit is checked while decompressing.
#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    const UNPACKED: usize = 1 << 30;
    let Some(bench) = Bench::start() else { return };
    // The fastest level would give ten megabytes, more than Kafka takes.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    let member = encoder.finish().unwrap();
    let gzip_bomb = member.repeat(UNPACKED >> 20);
    // A member of zstd's is far smaller: a larger one keeps the number of frames down.
    let zstd_bomb = Encoding::Zstd.encode(&vec![b'\n'; 16 << 20]).repeat(UNPACKED >> 24);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", bench.bridge.process().pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
        line.strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    };
    let before = peak();
    for (encoding, bomb) in [("gzip", gzip_bomb), ("zstd", zstd_bomb)] {
        assert!(bomb.len() < 8 << 20, "{} bytes", bomb.len());
        bench.refused("too_large", Some(GOOD), with(&[("content-encoding", encoding)], bomb));
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < UNPACKED / 8, "the process has grown by {grown} bytes");
}

/// An origin that sends nothing but what is refused is not read any more; the others are.
#[test]
fn an_origin_whose_dumps_are_refused_again_and_again_is_in_quarantine() {
    let Some(bench) = Bench::start() else { return };
    let other = |n: u32| Record::new("cluster=\"acme\",job=\"other\"", format!("other {n}\n"));
    for _ in 0..20 {
        bench.produce(good("{{{\n"));
    }
    bench.produce(good("steady 2\n"));
    bench.produce(other(1));
    eventually_ok("the other origin is shown", LONG, || {
        let text = bench.bridge.scrape();
        if text.contains("other{cluster=\"acme\",job=\"other\"} 1\n") { Ok(()) } else { Err(text) }
    });
    let topic = ("topic", bench.topic.as_str());
    let dropped = bench.bridge.own("kafka2prom_records_dropped_total", &[topic, ("reason", "quarantined")]);
    assert_eq!((bench.rejected("not_a_dump"), dropped), (8.0, 13.0));
    assert_eq!(bench.bridge.own("kafka2prom_origins_quarantined", &[topic]), 1.0);
    assert!(bench.shows_good(), "the last good dump stays");
    let told = bench.bridge.explain(GOOD);
    assert!(told["found"]["last_refusal"].as_str().unwrap().contains("one a minute is read"), "{told}");
}

/// Parts of one dump are bounded together.
#[test]
fn parts_that_are_too_large_together_are_refused() {
    let Some(bench) = Bench::start() else { return };
    let part = |n: usize| with(&[("k2p-part", &format!("{n}/2;big"))], format!("steady 2\n# {}\n", "x".repeat(40_000)));
    bench.produce(part(1));
    bench.refused("too_large", Some(GOOD), part(2));
}
