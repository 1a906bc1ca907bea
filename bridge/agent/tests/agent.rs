//! The agent as a whole: a fake target, librdkafka's mock cluster as Kafka, and the
//! reading side of the record contract as the judge.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::{HeaderMap, Response, StatusCode};
use k2p_agent::{Config, RawConfig};
use k2p_core::compress::Encoding;
use k2p_core::envelope::{OriginKey, Part, ProducerId, RawRecord, open};
use k2p_runtime::clock::unix_ms;
use k2p_runtime::http::{self, HttpLimits};
use k2p_runtime::metrics::RuntimeMetrics;
use k2p_runtime::shutdown::Shutdown;
use prometheus::{Registry, TextEncoder};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::net::TcpListener;

const TOPIC: &str = "k2p.metrics";
const PARTITIONS: i32 = 3;
/// Long for a loaded machine; nothing waits that long when things are well.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a record says, owned.
#[derive(Debug, Clone)]
struct Record {
    key: String,
    body: String,
    value_bytes: usize,
    content_type: Option<String>,
    time: i64,
    producer: ProducerId,
    part: Option<Part>,
}

/// Kafka, and a reader of all that is in it.
struct Kafka {
    /// Ends before its cluster does: a consumer without Kafka is slow to close.
    consumer: BaseConsumer,
    cluster: MockCluster<'static, DefaultProducerContext>,
    records: Vec<Record>,
}

impl Kafka {
    fn start() -> Kafka {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "judge")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut all = rdkafka::TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(TOPIC, partition, rdkafka::Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        Kafka { consumer, cluster, records: Vec::new() }
    }

    /// Reads until `enough` of the records so far.
    async fn until(&mut self, enough: impl Fn(&[Record]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.records) {
            assert!(Instant::now() < deadline, "not enough: {:?}", self.records);
            match self.consumer.poll(Duration::from_millis(5)) {
                Some(message) => self.records.push(read(&message.unwrap())),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

fn read(message: &impl Message<Headers = rdkafka::message::BorrowedHeaders>) -> Record {
    let headers: Vec<(&str, &[u8])> =
        message.headers().unwrap().iter().map(|h| (h.key, h.value.unwrap_or_default())).collect();
    let raw = RawRecord {
        key: message.key(),
        value: message.payload(),
        headers: &headers,
        timestamp: None,
        offset: message.offset(),
    };
    let envelope = open(&raw).unwrap();
    assert_eq!(envelope.encoding, Encoding::Zstd);
    let OriginKey::Labels(labels) = &envelope.origin else { panic!("the key is no label set") };
    assert_eq!(labels.canonical().as_bytes(), message.key().unwrap(), "the key is canonical");
    Record {
        key: labels.canonical().to_owned(),
        body: String::from_utf8(zstd::decode_all(envelope.body).unwrap()).unwrap(),
        value_bytes: envelope.body.len(),
        content_type: envelope.content_type.map(str::to_owned),
        time: envelope.dump_time,
        producer: envelope.producer.unwrap(),
        part: envelope.part,
    }
}

/// What the fake target answers, and what it was asked.
#[derive(Debug, Clone)]
struct Play {
    status: u16,
    content_type: &'static str,
    gzip: bool,
    encoding: Option<&'static str>,
    body: String,
    asked: Vec<HeaderMap>,
}

#[derive(Clone)]
struct Target {
    url: String,
    play: Arc<Mutex<Play>>,
}

impl Target {
    async fn start(shutdown: &Shutdown, body: &str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let play = Play {
            status: 200,
            content_type: "text/plain; version=0.0.4",
            gzip: false,
            encoding: None,
            body: body.to_owned(),
            asked: Vec::new(),
        };
        let play = Arc::new(Mutex::new(play));
        let state = Arc::clone(&play);
        let service = http::service(move |request| {
            let mut play = state.lock().unwrap();
            play.asked.push(request.headers().clone());
            let play = play.clone();
            async move { answer(&play) }
        });
        let metrics = RuntimeMetrics::new(&Registry::new(), "0", "").unwrap();
        tokio::spawn(http::serve(listener, service, HttpLimits::default(), shutdown.clone(), metrics.http));
        Target { url, play }
    }

    fn set(&self, change: impl FnOnce(&mut Play)) {
        change(&mut self.play.lock().unwrap());
    }
}

fn answer(play: &Play) -> Response<http::BoxBody> {
    let mut body = play.body.clone().into_bytes();
    if play.gzip {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).unwrap();
        body = encoder.finish().unwrap();
    }
    let mut response = http::text(StatusCode::from_u16(play.status).unwrap(), play.content_type, body);
    if let Some(encoding) = play.encoding.or(play.gzip.then_some("gzip")) {
        response.headers_mut().insert("content-encoding", encoding.parse().unwrap());
    }
    response
}

/// A running agent.
struct Agent {
    registry: Registry,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), k2p_agent::AgentError>>,
}

impl Agent {
    fn start(config: Config) -> Agent {
        let (registry, shutdown) = (Registry::new(), Shutdown::new());
        let runtime = RuntimeMetrics::new(&registry, "0", "").unwrap();
        let (own, ending) = (registry.clone(), shutdown.clone());
        let task = tokio::spawn(async move { k2p_agent::run(config, ending, &own, &runtime).await });
        Agent { registry, shutdown, task }
    }

    /// The value of one series of the agent's own metrics, 0 if it is not there.
    fn metric(&self, series: &str) -> f64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn until(&self, series: &str, enough: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self.metric(series)) {
            assert!(Instant::now() < deadline, "{series} is {}", self.metric(series));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> Registry {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
        self.registry
    }
}

fn config(brokers: &str, scrape: &[&Target], files: &[String]) -> Config {
    Config::validate(RawConfig {
        brokers: brokers.to_owned(),
        labels: vec!["cluster=acme".to_owned()],
        scrape: scrape.iter().map(|t| format!("{};instance=i", t.url)).collect(),
        files: files.to_vec(),
        interval: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        ..RawConfig::default()
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_becomes_a_record_by_the_contract() {
    let mut kafka = Kafka::start();
    let serving = Shutdown::new();
    let target = Target::start(&serving, "a 1\n").await;
    target.set(|p| p.gzip = true);
    let before = unix_ms();
    let agent = Agent::start(config(&kafka.cluster.bootstrap_servers(), &[&target], &[]));
    kafka.until(|r| r.len() >= 2).await;
    let after = unix_ms();
    for record in &kafka.records {
        assert_eq!(record.key, "cluster=\"acme\",instance=\"i\",job=\"agent\"");
        assert_eq!(record.body, "a 1\n");
        assert_eq!(record.content_type.as_deref(), Some("text/plain; version=0.0.4"));
        assert!((before..=after).contains(&record.time), "{} {before} {after}", record.time);
        assert_eq!(record.part, None);
    }
    let [first, second] = [&kafka.records[0], &kafka.records[1]];
    assert_eq!(first.producer.incarnation, second.producer.incarnation);
    assert_eq!(first.producer.sequence + 1, second.producer.sequence);
    assert!(second.time > first.time);
    let asked = target.play.lock().unwrap().asked[0].clone();
    let header = |name: &str| asked.get(name).unwrap().to_str().unwrap().to_owned();
    let accept = header("accept");
    assert!(accept.starts_with("application/openmetrics-text;version=1.0.0") && accept.contains("version=0.0.4"));
    assert_eq!(header("accept-encoding"), "gzip");
    assert_eq!(header("x-prometheus-scrape-timeout-seconds"), "0.2");
    assert!(header("user-agent").starts_with("kafka2prom-agent/"));
    agent.until("kafka2prom_agent_dumps_produced_total", |n| n >= 2.0).await;
    assert!(agent.metric("kafka2prom_agent_scrapes_total{result=\"ok\"}") >= 2.0);
    agent.stop().await;
    serving.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_dump_becomes_parts_of_whole_families() {
    let mut kafka = Kafka::start();
    let serving = Shutdown::new();
    let mut body = String::new();
    for i in 0..400_u64 {
        let value = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        body.push_str(&format!("# TYPE f{i} gauge\nf{i}{{x=\"1\"}} {value}\n"));
    }
    body.push_str("# EOF\n");
    let target = Target::start(&serving, &body).await;
    target.set(|p| p.content_type = "application/openmetrics-text; version=1.0.0");
    let mut config = config(&kafka.cluster.bootstrap_servers(), &[&target], &[]);
    config.record_bytes = 1500;
    let agent = Agent::start(config);
    let last = |r: &[Record]| r.last().and_then(|r| r.part.clone()).is_some_and(|p| p.index == p.of);
    kafka.until(last).await;
    let of = kafka.records[0].part.clone().unwrap().of;
    assert!(of > 2, "{of} parts");
    let parts = &kafka.records[..of as usize];
    let mut joined = String::new();
    for (index, record) in (1..).zip(parts) {
        let part = record.part.clone().unwrap();
        assert_eq!((part.index, part.of), (index, of));
        assert_eq!(part.id, parts[0].part.clone().unwrap().id);
        assert_eq!(record.time, parts[0].time);
        assert_eq!(record.producer.sequence, parts[0].producer.sequence + u64::from(index) - 1);
        assert!(record.value_bytes <= 1500);
        joined.push_str(record.body.strip_suffix("# EOF\n").unwrap());
    }
    assert_eq!(joined + "# EOF\n", body);
    agent.until("kafka2prom_agent_dumps_produced_total", |n| n >= 1.0).await;
    agent.stop().await;
    serving.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_gives_no_dump_is_counted_and_comes_back() {
    let mut kafka = Kafka::start();
    let serving = Shutdown::new();
    let target = Target::start(&serving, "a 1\n").await;
    let mut config = config(&kafka.cluster.bootstrap_servers(), &[&target], &[]);
    config.dump_bytes = 1000;
    let up = format!("kafka2prom_agent_source_up{{source=\"{}\"}}", target.url);
    let agent = Agent::start(config);
    type Fault = fn(&mut Play);
    let faults: [(&str, Fault); 5] = [
        ("status", |p| p.status = 500),
        ("not_a_dump", |p| p.content_type = "text/html"),
        ("too_large", |p| p.body = "x".repeat(1001)),
        ("too_large", |p| {
            p.gzip = true;
            p.body = "x".repeat(1001);
        }),
        ("encoding", |p| p.encoding = Some("br")),
    ];
    let good = target.play.lock().unwrap().clone();
    for (result, fault) in faults {
        let series = format!("kafka2prom_agent_scrapes_total{{result=\"{result}\"}}");
        let before = agent.metric(&series);
        target.set(fault);
        agent.until(&series, |n| n > before).await;
        agent.until(&up, |n| n == 0.0).await;
        target.set(|p| *p = good.clone());
        agent.until(&up, |n| n == 1.0).await;
    }
    kafka.until(|r| r.len() > 1).await;
    assert!(kafka.records.iter().all(|r| r.body == "a 1\n"));
    serving.trigger();
    agent.until("kafka2prom_agent_scrapes_total{result=\"connect\"}", |n| n > 0.0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_file_is_shipped_once_per_version() {
    let mut kafka = Kafka::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.prom");
    let write = |text: &str, seconds: u64| {
        let fresh = dir.path().join("orders.prom.tmp");
        std::fs::write(&fresh, text).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().append(true).open(&fresh).unwrap().set_modified(time).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    };
    let file = format!("{};instance=h", path.display());
    let agent = Agent::start(config(&kafka.cluster.bootstrap_servers(), &[], &[file]));
    agent.until("kafka2prom_agent_file_reads_total{result=\"missing\"}", |n| n == 1.0).await;
    write("a 1\n", 1_700_000_000);
    kafka.until(|r| r.len() == 1).await;
    write("a 2", 1_700_000_030);
    agent.until("kafka2prom_agent_file_reads_total{result=\"unfinished\"}", |n| n > 0.0).await;
    write("a 3\n# EOF\n", 1_700_000_060);
    kafka.until(|r| r.len() == 2).await;
    // Enough polls for a second copy of a version to show.
    write("a 4\n# EOF\n", 1_700_000_090);
    kafka.until(|r| r.len() == 3).await;
    let seen: Vec<(&str, i64)> = kafka.records.iter().map(|r| (r.body.as_str(), r.time)).collect();
    let (a, b, c) = (1_700_000_000_000, 1_700_000_060_000, 1_700_000_090_000);
    assert_eq!(seen, [("a 1\n", a), ("a 3\n# EOF\n", b), ("a 4\n# EOF\n", c)]);
    assert_eq!(kafka.records[0].key, "cluster=\"acme\",instance=\"h\",job=\"orders\"");
    let formats: Vec<&str> = kafka.records.iter().filter_map(|r| r.content_type.as_deref()).collect();
    assert_eq!(agent.metric("kafka2prom_agent_file_reads_total{result=\"missing\"}"), 1.0);
    assert!(formats[0].starts_with("text/plain; version=0.0.4"));
    assert!(formats[1].starts_with("application/openmetrics-text; version=1.0.0"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_the_queue_is_bounded_and_every_loss_counted() {
    let serving = Shutdown::new();
    // Two megabytes that zstd cannot shorten much: the third dump finds 4 MB full.
    let mut body = String::new();
    let mut x: u64 = 88_172_645_463_325_252;
    while body.len() < 4_000_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        body.push_str(&format!("f{} {x}\n", body.len()));
    }
    let target = Target::start(&serving, &body).await;
    let mut raw = RawConfig {
        // A port that the test holds, and where nobody answers.
        brokers: String::new(),
        scrape: vec![target.url.clone()],
        interval: Duration::from_secs(1),
        ..RawConfig::default()
    };
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    raw.brokers = deaf.local_addr().unwrap().to_string();
    raw.properties.insert("queue.buffering.max.kbytes".to_owned(), "4096".to_owned());
    let agent = Agent::start(Config::validate(raw).unwrap());
    agent.until("kafka2prom_agent_dumps_dropped_total{reason=\"queue_full\"}", |n| n >= 2.0).await;
    let (queued, capacity) =
        (agent.metric("kafka2prom_agent_queue_bytes"), agent.metric("kafka2prom_agent_queue_capacity_bytes"));
    assert_eq!(capacity, 4096.0 * 1024.0);
    assert!(queued > 0.0 && queued <= capacity, "{queued} of {capacity}");
    let scraped = agent.metric("kafka2prom_agent_scrapes_total{result=\"ok\"}");
    assert!(scraped >= 3.0);
    let registry = agent.stop().await;
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("kafka2prom_agent_queue_bytes 0\n"), "{text}");
    assert!(!text.contains("dumps_dropped_total{reason=\"shutdown\"} 0\n"), "{text}");
    assert!(text.contains("kafka2prom_agent_dumps_produced_total 0\n"));
    serving.trigger();
}
