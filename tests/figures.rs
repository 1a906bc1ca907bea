//! The figures of the documentation, measured in one run beside their alternatives. No
//! assertion on time: these print.
//!
//! ```sh
//! cargo test --release --test integration figures -- --ignored --nocapture --test-threads=1
//! ```
use crate::figures_speed::row;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::poll::eventually;
use crate::support::process::Service;
use crate::support::skip::require;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 4;

/// How much is read, by the table's scale.
fn volume() -> usize {
    let scale = std::env::var("K2P_SCALE").ok().and_then(|s| s.parse().ok()).unwrap_or(1.0);
    (scale * f64::from(1 << 30)) as usize
}

/// User and system CPU time of a process in seconds.
pub(crate) fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn key(origin: usize) -> String {
    format!("cluster=\"figures\",instance=\"host-{origin}:9100\",job=\"node\"")
}

pub(crate) fn own_metric(bridge: &Service, name: &str) -> f64 {
    let text = bridge.get("/metrics/self").map(|a| a.text()).unwrap_or_default();
    let lines = text.lines().filter(|l| l.starts_with(name) && !l.starts_with('#'));
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// A bridge that owns every partition of a new topic.
pub(crate) fn live_bridge(kafka: &Kafka, partitions: i32) -> (String, Service) {
    let topic = unique("figures");
    kafka.create_topic(&topic, partitions, &[("max.message.bytes", "16777216")]);
    let bridge = Service::bridge(kafka, &topic, &topic, &[]);
    eventually("every partition is live", LONG, || bridge.get("/-/ready").is_ok_and(|a| a.status == 200).then_some(()));
    (topic, bridge)
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_cpu_per_gigabyte() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let dumps: Vec<Vec<u8>> = ["node.01.txt", "node.02.txt"]
        .iter()
        .map(|n| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps").join(n)).unwrap())
        .collect();
    for compression in ["none", "zstd"] {
        let (topic, bridge) = live_bridge(kafka, PARTITIONS);
        let before = cpu(bridge.process().pid());
        let producer = kafka.producer(compression);
        let (mut bytes, mut records) = (0_usize, 0_usize);
        while bytes < volume() {
            let batch: Vec<Record> = (0..200)
                .map(|i| {
                    Record::new(&key(i), dumps[(records / 200) % 2].clone()).header("k2p-time", now_ms().to_string())
                })
                .collect();
            bytes += batch.iter().map(|r| r.value.as_ref().unwrap().len()).sum::<usize>();
            records += batch.len();
            producer.send(&topic, &batch);
        }
        eventually("the bridge has read everything", LONG, || {
            (own_metric(&bridge, "kafka2prom_records_consumed_total") >= records as f64).then_some(())
        });
        let ours = cpu(bridge.process().pid()) - before;
        let bare = bare_consumer(kafka, &topic, records);
        let gigabytes = bytes as f64 / 1e9;
        println!(
            "figures: kafka {compression:4}: bridge {:.2} CPU s/GB, bare librdkafka consumer {:.2} CPU s/GB, ratio {:.2}",
            ours / gigabytes,
            bare / gigabytes,
            ours / bare
        );
        row(
            &format!("CPU per GB end to end from a real Kafka, {compression}"),
            &format!("{:.2} s", ours / gigabytes),
            &format!("bare librdkafka consumer {:.2} s", bare / gigabytes),
            ours / bare,
            "≤ 1.25",
        );
        bridge.stop();
        kafka.delete_topic(&topic);
    }
}

pub(crate) fn now_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
}

/// CPU seconds of this process while it reads the topic and does nothing with it.
fn bare_consumer(kafka: &Kafka, topic: &str, records: usize) -> f64 {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", unique("bare"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let before = cpu(std::process::id());
    let (mut seen, mut sum) = (0, 0_usize);
    let begun = Instant::now();
    while seen < records && begun.elapsed() < LONG {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            seen += 1;
            sum += message.payload().map_or(0, <[u8]>::len);
        }
    }
    assert!(seen == records && sum > 0, "the bare consumer read {seen} of {records}");
    cpu(std::process::id()) - before
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_scrape_and_memory() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = live_bridge(kafka, PARTITIONS);
    let pid = bridge.process().pid();
    let before = resident(pid);
    let (origins, families, per_family) = (100, 50, 20);
    let producer = kafka.producer("none");
    for origin in 0..origins {
        let mut text = String::new();
        for family in 0..families {
            text.push_str(&format!(
                "# HELP app_metric_{family}_total A counter.\n# TYPE app_metric_{family}_total counter\n"
            ));
            for series in 0..per_family {
                text.push_str(&format!(
                    "app_metric_{family}_total{{path=\"/v1/{series}\",code=\"200\"}} {}\n",
                    origin * series
                ));
            }
        }
        producer.send(&topic, &[Record::new(&key(origin), text)]);
    }
    let series = (origins * families * per_family) as f64;
    eventually("every series is there", LONG, || (own_metric(&bridge, "kafka2prom_series") >= series).then_some(()));
    let memory = resident(pid) - before;
    for (name, headers) in [("identity", vec![]), ("gzip", vec![("Accept-Encoding", "gzip")])] {
        let (used, begun, scrapes) = (cpu(pid), Instant::now(), 20);
        for _ in 0..scrapes {
            assert_eq!(crate::support::http::get(&bridge.url("/metrics"), &headers).unwrap().status, 200);
        }
        println!(
            "figures: scrape of {series} series, {name}: {:.0} ms CPU, {:.0} ms",
            (cpu(pid) - used) * 1000.0 / f64::from(scrapes),
            begun.elapsed().as_secs_f64() * 1000.0 / f64::from(scrapes)
        );
    }
    println!("figures: memory per series: {:.0} bytes (resident set)", memory / series);
    bridge.stop();
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_taken_to_scrapable() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = live_bridge(kafka, PARTITIONS);
    let producer = kafka.producer("none");
    let path = "/metrics?origin=%7Binstance%3D%22host-1%3A9100%22%7D";
    let mut millis = Vec::new();
    for n in 0..300 {
        let begun = Instant::now();
        producer.send(&topic, &[Record::new(&key(1), format!("probe {n}\n"))]);
        let wanted = format!("}} {n}\n");
        while !bridge.get(path).is_ok_and(|a| a.text().contains(&wanted)) {
            assert!(begun.elapsed() < LONG, "dump {n} was never shown");
        }
        millis.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    millis.sort_by(f64::total_cmp);
    println!(
        "figures: dump taken -> scrapable: p50 {:.1} ms, p99 {:.1} ms (produce with acks=all and the polling scrape included)",
        millis[millis.len() / 2],
        millis[millis.len() * 99 / 100]
    );
    bridge.stop();
}
