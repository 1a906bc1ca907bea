//! The test bed itself: a test that rests on it must be able to trust it.
use crate::support::chaos::{Mode, api};
use crate::support::compare;
use crate::support::dumps;
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::{Committed, Record};
use crate::support::oracle::{self, Reading, Sample, Syntax};
use crate::support::parts::{Generation, KafkaVersion};
use crate::support::poll::eventually;
use crate::support::prometheus::{self, Prometheus};
use crate::support::skip::require;
use crate::support::supervise::{Signal, Supervised};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(1500);

fn round_trip(kafka: &Kafka) {
    let topic = unique("round-trip");
    kafka.create_topic(&topic, 2, &[]);
    let record = Record {
        timestamp: Some(1_700_000_000_123),
        ..Record::new("key", "value").header("content-type", "text/plain").on_partition(1)
    };
    assert_eq!(kafka.produce(&topic, &[record, Record::new("key", "2").on_partition(1)]), [(1, 0), (1, 1)]);
    let read = kafka.read_all(&topic, 1);
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].key.as_deref(), Some(&b"key"[..]));
    assert_eq!(read[0].value.as_deref(), Some(&b"value"[..]));
    assert_eq!(read[0].headers, [("content-type".to_owned(), b"text/plain".to_vec())]);
    assert_eq!(read[0].timestamp, Some(1_700_000_000_123));
    assert_eq!((kafka.watermarks(&topic, 0), kafka.watermarks(&topic, 1)), ((0, 0), (0, 2)));

    let group = unique("group");
    let committed = Committed { offset: 1, metadata: "H;1;marker \"x\"".into() };
    kafka.commit(&group, &topic, 1, &committed);
    assert_eq!(kafka.committed(&group, &topic, 2).into_iter().collect::<Vec<_>>(), [(1, committed)]);
}

#[test]
fn kafka_4_keeps_records_and_commit_metadata() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    round_trip(kafka);
}

#[test]
fn kafka_3_keeps_records_and_commit_metadata() {
    let Some(kafka) = require(Kafka::shared_v3()) else { return };
    round_trip(kafka);
}

#[test]
fn every_batch_compression_comes_back() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("compressed");
    kafka.create_topic(&topic, 1, &[]);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        kafka.producer(codec).send(&topic, &[Record::new(codec, codec.repeat(1000))]);
    }
    let read: Vec<_> = kafka.read_all(&topic, 0).into_iter().map(|r| r.value.unwrap()).collect();
    assert_eq!(read, codecs.map(|codec| codec.repeat(1000).into_bytes()));
}

#[test]
fn a_broker_of_ones_own_stops_freezes_and_comes_back_with_its_data() {
    let Some(mut kafka) = require(Kafka::own(KafkaVersion::V4)) else { return };
    kafka.create_topic("t", 1, &[]);
    kafka.produce("t", &[Record::new("k", "before")]);
    kafka.stop();
    assert_eq!(kafka.broker_count(), None);
    kafka.start_again();
    kafka.produce("t", &[Record::new("k", "after")]);
    assert_eq!(kafka.read_all("t", 0).len(), 2);

    kafka.node(0).signal(Signal::Stop);
    assert_eq!(kafka.broker_count(), None);
    kafka.node(0).signal(Signal::Cont);
    eventually("the thawed broker answers", LONG, || kafka.broker_count());

    kafka.node(0).kill();
    kafka.start_again();
    assert_eq!(kafka.read_all("t", 0).len(), 2);
}

#[test]
fn three_nodes_survive_the_death_of_one() {
    let Some(mut kafka) = require(Kafka::three_nodes(KafkaVersion::V4)) else { return };
    kafka.create_topic("t", 3, &[("min.insync.replicas", "2")]);
    let to_all = [0, 1, 2].map(|p| Record::new("k", "v").on_partition(p));
    kafka.produce("t", &to_all);
    kafka.node(1).kill();
    kafka.produce("t", &to_all);
    let counts: Vec<usize> = (0..3).map(|p| kafka.read_all("t", p).len()).collect();
    assert_eq!(counts, [2, 2, 2]);
}

/// A client of the shared broker behind the proxy, and its id.
fn behind_chaos(kafka: &Kafka) -> (BaseConsumer, String) {
    let id = unique("client");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.chaos_bootstrap()).set("client.id", &id).set("log_level", "0");
    (config.create().unwrap(), id)
}

fn answers(client: &BaseConsumer, topic: &str) -> bool {
    client.fetch_watermarks(topic, 0, SHORT).is_ok()
}

#[test]
fn chaos_blackholes_one_client_and_lets_it_go_on() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("chaos");
    kafka.create_topic(&topic, 1, &[]);
    let ((victim, id), (bystander, _)) = (behind_chaos(kafka), behind_chaos(kafka));
    assert!(answers(&victim, &topic) && answers(&bystander, &topic));
    for mode in [Mode::Blackhole, Mode::Cut, Mode::Drop(vec![api::LIST_OFFSETS])] {
        kafka.chaos().set(&id, mode.clone());
        assert!(!answers(&victim, &topic), "{mode:?}");
        assert!(answers(&bystander, &topic), "{mode:?}");
        kafka.chaos().set(&id, Mode::Pass);
        eventually(&format!("the client recovers from {mode:?}"), LONG, || answers(&victim, &topic).then_some(()));
    }
    assert!(kafka.chaos().requests(&id, api::LIST_OFFSETS) >= 4);
}

#[test]
fn chaos_drops_only_what_it_is_told() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("chaos");
    kafka.create_topic(&topic, 1, &[]);
    let (client, id) = behind_chaos(kafka);
    kafka.chaos().set(&id, Mode::Drop(vec![api::OFFSET_COMMIT, api::HEARTBEAT]));
    assert!(answers(&client, &topic));
    kafka.chaos().set(&id, Mode::HoldAnswers(vec![api::OFFSET_COMMIT]));
    assert!(answers(&client, &topic));
    kafka.chaos().set(&id, Mode::Delay(Duration::from_millis(50)));
    assert!(answers(&client, &topic));
}

#[test]
fn chaos_holds_answers_until_told_otherwise() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("chaos");
    kafka.create_topic(&topic, 1, &[]);
    let (client, id) = behind_chaos(kafka);
    kafka.chaos().set(&id, Mode::HoldAnswers(vec![api::LIST_OFFSETS]));
    assert!(!answers(&client, &topic));
    kafka.chaos().set(&id, Mode::Pass);
    eventually("the client recovers", LONG, || answers(&client, &topic).then_some(()));
}

#[test]
fn a_supervised_process_ends_with_its_handle() {
    let mut command = Command::new("sleep");
    command.arg("1000");
    let process = Supervised::start("sleep", &command, None);
    let alive = format!("/proc/{}", process.pid());
    assert!(Path::new(&alive).exists());
    process.signal(Signal::Stop);
    drop(process);
    assert!(!Path::new(&alive).exists());
}

#[test]
fn a_supervised_process_is_read_signalled_and_waited_for() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'echo bye; exit 7' TERM; echo hello; echo oops >&2; while :; do sleep 0.05; done"]);
    let process = Supervised::start("shell", &command, None);
    process.wait_log(LONG, |log| log.contains("hello\noops").then_some(())).unwrap();
    assert_eq!(process.exit_code(), None);
    process.signal(Signal::Term);
    assert_eq!(process.wait_exit(LONG), 7);
    assert_eq!((process.stdout().as_str(), process.stderr().as_str()), ("hello\nbye\n", "oops\n"));
    let early = process.wait_log(LONG, |log| log.contains("never").then_some(()));
    assert!(early.unwrap_err().contains("ended with code 7"));
}

fn prometheus_scrapes_itself(generation: Generation) {
    let config = Prometheus::scrape_config("self", &["@SELF@"], "1s");
    let Some(prometheus) = require(Prometheus::start(generation, &config)) else { return };
    let up = prometheus.wait_query("up{job='self'} == 1", LONG);
    assert_eq!((up.len(), up[0].points[0].1), (1, 1.0));
    assert_eq!(up[0].series["job"], "self");
    let now = prometheus.query("time()")[0].points[0].1;
    let range = prometheus.query_range("up", now - 60.0, now + 60.0, "1s");
    assert!(!range.is_empty() && range[0].points.iter().all(|(_, value)| *value == 1.0));
    let itself = http::get(&prometheus.url("/metrics"), &[]).unwrap();
    assert!(itself.header("content-type").starts_with("text/plain"));
    let check = |body: &[u8]| require(prometheus::check_metrics(generation, body)).unwrap();
    assert_eq!(check(b"# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"), Ok(()));
    assert!(check(b"# TYPE a counter\na{b=c} 1\n").is_err());
}

#[test]
fn prometheus_of_bookworm_scrapes_itself() {
    prometheus_scrapes_itself(Generation::Bookworm);
}

#[test]
fn prometheus_of_sid_scrapes_itself() {
    prometheus_scrapes_itself(Generation::Sid);
}

#[test]
fn the_oracle_reads_a_known_exposition() {
    let text =
        b"# HELP a_total Help \\\\ it.\n# TYPE a_total counter\na_total{x=\"q\\\"\\n\"} 1.5 1600000000123\nb NaN\n";
    let om = b"# TYPE a counter\na_total{le=\"1.0\"} 2\nb +Inf\n# EOF\n";
    let bodies: [(Syntax, &[u8]); 3] = [(Syntax::Text, text), (Syntax::OpenMetrics, om), (Syntax::OpenMetrics, text)];
    let Some(read) = require(oracle::read_all(&bodies)) else { return };
    let sample = |labels: &[(&str, &str)], value, timestamp| Sample {
        series: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        value,
        timestamp,
    };
    let Reading { families, samples } = read[0].clone().unwrap();
    assert_eq!((families[0].name.as_str(), families[0].kind.as_str()), ("a", "counter"));
    assert_eq!(families[0].help, "Help \\ it.");
    let first = sample(&[("__name__", "a_total"), ("x", "q\"\n")], Some(1.5), Some(1_600_000_000.123));
    assert_eq!(samples, [first, sample(&[("__name__", "b")], None, None)]);
    let first = sample(&[("__name__", "a_total"), ("le", "1.0")], Some(2.0), None);
    let second = sample(&[("__name__", "b")], Some(f64::INFINITY), None);
    assert_eq!(read[1].clone().unwrap().samples, [first, second]);
    assert!(read[2].is_err(), "no # EOF: OpenMetrics must refuse it");
}

#[test]
fn the_slow_reader_takes_its_time_and_gets_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 14];
        stream.read_exact(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        head
    });
    let read = http::get_slowly(&address, "/slow", Duration::from_millis(1), usize::MAX);
    assert_eq!(&server.join().unwrap(), b"GET /slow HTTP");
    // The server closes with the request half unread: a reset may follow the answer.
    if let Ok(read) = read {
        assert!(read.ends_with(b"\r\n\r\nok"));
    }
}

#[test]
fn comparing_finds_every_kind_of_difference() {
    let body = b"a{job=\"inner\"} 1\nb NaN\nb{le=\"1\",x=\"\"} 3\n";
    let Some(read) = require(oracle::read(Syntax::Text, body)) else { return };
    let expected = compare::expected(&read.unwrap(), &[("job", "outer")]);
    let text = b"a{exported_job=\"inner\",job=\"outer\"} 1\nb{job=\"outer\"} NaN\nkafka2prom_x 1\nb{job=\"outer\",le=\"1\",x=\"\"} 3\n";
    let shown = require(oracle::read(Syntax::Text, text)).unwrap().unwrap();
    let got = compare::exposed(&shown);
    assert_eq!(compare::same(&expected, &got), Ok(()));
    let stored = compare::as_stored(&got);
    assert!(stored.keys().any(|s| s.get("le").is_some_and(|le| le == "1.0") && !s.contains_key("x")));

    let first = got.keys().next().unwrap().clone();
    let mut changed = got.clone();
    changed.insert(first.clone(), Some(2.0));
    assert!(compare::same(&expected, &changed).unwrap_err().contains("other value: 1"));
    changed.remove(&first);
    assert!(compare::same(&expected, &changed).unwrap_err().contains("missing: 1"));
    assert!(compare::same(&changed, &got).unwrap_err().contains("not expected: 1"));
}

#[test]
fn the_dumps_are_there_and_the_oracle_reads_them() {
    let dumps = dumps::valid(1);
    let bodies: Vec<_> = dumps.iter().map(|d| (Syntax::Text, d.body.as_slice())).collect();
    let Some(read) = require(oracle::read_all(&bodies)) else { return };
    let samples: usize = read.iter().map(|r| r.as_ref().unwrap().samples.len()).sum();
    assert_eq!((dumps.len(), dumps::nasty().len(), samples), (10, 2, 2693));
    assert!(dumps::Encoding::ALL.iter().all(|encoding| !encoding.encode(&dumps[0].body).is_empty()));
}
