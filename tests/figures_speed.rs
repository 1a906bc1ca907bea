//! Rows of the README's table that need real processes: scrapes and memory beside a real
//! Pushgateway that holds the same series, the first byte, record to visible at half load,
//! and many partitions on one bridge. `tests/speed` runs them; no assertion on time.
//!
//! ```sh
//! cargo test --release --test integration figures_speed -- --ignored --nocapture --test-threads=1
//! ```
//! `K2P_SCALE` (1) is a part of every size, to see that all of it runs.
use crate::figures::{cpu, live_bridge, now_ms, own_metric, resident};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::kafka_clients::{Producer, Record};
use crate::support::parts::Generation;
use crate::support::poll::eventually;
use crate::support::process::Service;
use crate::support::pushgateway::Pushgateway;
use crate::support::skip::require;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(900);
const PER_ORIGIN: usize = 370;

/// A line of the table, as `tests/speed` gathers them.
pub(crate) fn row(figure: &str, ours: &str, alternative: &str, ratio: f64, asked: &str) {
    println!("row\t{figure}\t{ours}\t{alternative}\t{ratio:.3}\t{asked}");
}

fn scaled(count: usize) -> usize {
    let scale = std::env::var("K2P_SCALE").ok().and_then(|s| s.parse().ok()).unwrap_or(1.0);
    ((count as f64 * scale) as usize).max(1)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Of one origin: families of one to twelve series, values of one to nine digits. `mark`: its
/// labels are its own.
fn dump(origin: usize, mark: &str) -> String {
    let mut text = String::new();
    let (mut written, mut family) = (0, 0);
    while written < PER_ORIGIN {
        let name = format!("service_component_{family}_operations_total");
        writeln!(text, "# HELP {name} Operations of the component number {family}.\n# TYPE {name} counter").unwrap();
        for i in 0..[1, 1, 2, 4, 8, 12][family % 6].min(PER_ORIGIN - written) {
            let value = (origin * 7919 + family * 31 + i) % 10_usize.pow(1 + (family % 9) as u32);
            writeln!(text, "{name}{{code=\"200\",handler=\"/api/v1/{i}\"{mark}}} {value}").unwrap();
            written += 1;
        }
        family += 1;
    }
    text
}

fn key(origin: usize) -> String {
    let (cluster, host, port) = (origin % 7, origin / 250, origin % 250);
    format!("cluster=\"acme-{cluster}\",instance=\"10.0.{host}.{port}:9100\",job=\"bench\"")
}

/// Seconds until the body's first byte, and the answer's bytes. Nothing is kept.
fn drain(host_port: &str, path: &str, encoding: &str) -> (f64, usize) {
    let mut stream = TcpStream::connect(host_port).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let begun = Instant::now();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host_port}\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut chunk = vec![0; 1 << 16];
    let mut head = Vec::new();
    let mut first = None;
    let mut bytes = 0;
    loop {
        let read = stream.read(&mut chunk).unwrap();
        if read == 0 {
            return (first.expect("an answer has a body"), bytes);
        }
        bytes += read;
        if first.is_none() {
            head.extend_from_slice(&chunk[..read]);
            let ends = head.windows(4).position(|w| w == b"\r\n\r\n");
            first = ends.filter(|at| head.len() > at + 4).map(|_| begun.elapsed().as_secs_f64());
        }
    }
}

/// A bridge that shows `origins` dumps.
fn filled(kafka: &Kafka, origins: usize, mark: impl Fn(usize) -> String) -> (Service, f64) {
    let (topic, bridge) = live_bridge(kafka, 4);
    let before = resident(bridge.process().pid());
    let producer = kafka.producer("none");
    for from in (0..origins).step_by(200) {
        let until = (from + 200).min(origins);
        let records: Vec<Record> = (from..until).map(|i| Record::new(&key(i), dump(i, &mark(i)))).collect();
        producer.send(&topic, &records);
    }
    let series = (origins * PER_ORIGIN) as f64;
    eventually("every series is there", LONG, || (own_metric(&bridge, "kafka2prom_series") >= series).then_some(()));
    (bridge, before)
}

/// CPU milliseconds of one scrape.
fn scrape(pid: u32, host_port: &str, encoding: &str, times: usize) -> f64 {
    let used = cpu(pid);
    for _ in 0..times {
        let (_, bytes) = drain(host_port, "/metrics", encoding);
        assert!(bytes > 1000, "{bytes} bytes");
    }
    (cpu(pid) - used) * 1000.0 / times as f64
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_speed_scrape_beside_a_pushgateway() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(real) = require(Pushgateway::start(Generation::Sid, &["--push.disable-consistency-check"])) else {
        return;
    };
    let origins = scaled(2700);
    let series = (origins * PER_ORIGIN) as f64;
    let theirs = real.process().pid();
    let before = resident(theirs);
    for origin in 0..origins {
        let labels = key(origin);
        let value = |name: &str| {
            let rest = labels.split_once(&format!("{name}=\"")).unwrap().1;
            rest.split('"').next().unwrap().to_owned()
        };
        let path = format!("/metrics/job/bench/cluster/{}/instance/{}", value("cluster"), value("instance"));
        let answer = http::request("PUT", &real.url(&path), &[], dump(origin, "").as_bytes()).unwrap();
        assert!(answer.status < 300, "{}", answer.text());
    }
    let pushed = (resident(theirs) - before) / series;
    let (bridge, before) = filled(kafka, origins, |_| String::new());
    let ours = bridge.process().pid();
    let shared = (resident(ours) - before) / series;
    let address = real.url("").trim_start_matches("http://").to_owned();
    for (encoding, asked) in [("identity", "≥ 100 ×"), ("gzip", "≥ 12 ×")] {
        let (mine, other) = (scrape(ours, bridge.listen(), encoding, 10), scrape(theirs, &address, encoding, 2));
        let per_million = 1e6 / series;
        row(
            &format!("CPU of a scrape per 1M series, {encoding}"),
            &format!("{:.0} ms", mine * per_million),
            &format!("pushgateway {:.0} ms", other * per_million),
            other / mine,
            asked,
        );
    }
    let first = median((0..20).map(|_| drain(bridge.listen(), "/metrics", "identity").0 * 1e3).collect());
    row(
        &format!("first byte of a scrape of {series} series, over HTTP"),
        &format!("{first:.2} ms"),
        "–",
        f64::NAN,
        "≤ 1 ms",
    );
    bridge.stop();
    let (bridge, before) = filled(kafka, origins, |i| format!(",shard=\"shard-{i:05}\""));
    let private = (resident(bridge.process().pid()) - before) / series;
    for (what, bytes, asked) in [("shared", shared, "≤ 10 B"), ("private", private, "≤ 120 B")] {
        row(
            &format!("resident memory per series of a whole bridge, {what} shapes"),
            &format!("{bytes:.1} B"),
            &format!("pushgateway {pushed:.0} B"),
            pushed / bytes,
            asked,
        );
    }
    bridge.stop();
}

/// Waits until so many records were consumed.
fn read(bridge: &Service, records: usize) {
    eventually("the bridge has read everything", LONG, || {
        (own_metric(bridge, "kafka2prom_records_consumed_total") >= records as f64).then_some(())
    });
}

/// Real dumps of a node exporter, so many records of `origins` origins.
fn load(producer: &Producer, topic: &str, origins: usize, records: usize) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps");
    let dumps = ["node.01.txt", "node.02.txt"].map(|name| fs::read(dir.join(name)).unwrap());
    let mut bytes = 0;
    for from in (0..records).step_by(200) {
        let batch: Vec<Record> = (from..(from + 200).min(records))
            .map(|i| {
                let body = dumps[(i / origins) % 2].clone();
                bytes += body.len();
                Record::new(&key(i % origins), body).header("k2p-time", now_ms().to_string())
            })
            .collect();
        producer.send(topic, &batch);
    }
    bytes
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_speed_visible_at_half_load() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = live_bridge(kafka, 4);
    let producer = kafka.producer("none");
    // What a core of the bridge does, by its own CPU time.
    let used = cpu(bridge.process().pid());
    let records = scaled(20_000);
    let bytes = load(&producer, &topic, 500, records);
    read(&bridge, records);
    let full = bytes as f64 / (cpu(bridge.process().pid()) - used);
    let half = full / 2.0;
    let ends = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let loader = scope.spawn(|| {
            let (begun, mut bytes) = (Instant::now(), 0);
            while !ends.load(Ordering::Relaxed) {
                bytes += load(&producer, &topic, 500, 200);
                let due = Duration::from_secs_f64(bytes as f64 / half);
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            bytes as f64 / begun.elapsed().as_secs_f64()
        });
        let millis = probe(kafka, &topic, &bridge, scaled(1000).max(20));
        ends.store(true, Ordering::Relaxed);
        (millis, loader.join().unwrap())
    });
    let (millis, rate) = sent;
    let at = |part: usize| millis[(millis.len() - 1) * part / 100];
    row(
        &format!(
            "record → visible, p99, with {:.0} MB/s beside it (half of what a core does is {:.0})",
            rate / 1e6,
            half / 1e6
        ),
        &format!("{:.1} ms (p50 {:.1} ms)", at(99), at(50)),
        "–",
        f64::NAN,
        "≤ 5 ms",
    );
    bridge.stop();
}

/// Milliseconds from a record's acknowledgement to the first scrape that shows it, sorted;
/// each includes a scrape's round trip.
fn probe(kafka: &Kafka, topic: &str, bridge: &Service, times: usize) -> Vec<f64> {
    let producer = kafka.producer("none");
    let path = "/metrics?origin=%7Binstance%3D%22probe%22%7D";
    let mut millis = Vec::new();
    for n in 0..times {
        producer.send(topic, &[Record::new("instance=\"probe\"", format!("probe {n}\n"))]);
        let begun = Instant::now();
        let wanted = format!("}} {n}\n");
        while !bridge.get(path).is_ok_and(|a| a.text().contains(&wanted)) {
            assert!(begun.elapsed() < LONG, "dump {n} was never shown");
        }
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(10));
    }
    millis.sort_by(f64::total_cmp);
    millis
}

/// Context switches of all threads so far, and how many threads there are.
fn switches(pid: u32) -> (f64, usize) {
    let tasks: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().collect();
    let of = |path: &Path| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let lines = status.lines().filter(|l| l.contains("ctxt_switches"));
        lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>()
    };
    (tasks.iter().map(|t| of(&t.path())).sum(), tasks.len())
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_speed_many_partitions() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let mut base = None;
    for partitions in [1, 64, 512] {
        let (topic, bridge) = live_bridge(kafka, partitions);
        let pid = bridge.process().pid();
        let (before, used, begun) = (switches(pid).0, cpu(pid), Instant::now());
        thread::sleep(Duration::from_secs(10));
        let seconds = begun.elapsed().as_secs_f64();
        let (after, threads) = switches(pid);
        let (idle, idle_cpu) = ((after - before) / seconds, (cpu(pid) - used) / seconds);
        let memory = resident(pid) / 1e6;
        // Every origin is known, and its shape, before anything is measured.
        let producer = kafka.producer("none");
        load(&producer, &topic, 1000, 1000);
        read(&bridge, 1000);
        let (used, before) = (cpu(pid), switches(pid).0);
        let records = scaled(10_000);
        let bytes = load(&producer, &topic, 1000, records);
        read(&bridge, 1000 + records);
        let cost = (cpu(pid) - used) / (bytes as f64 / 1e9);
        let first = *base.get_or_insert(cost);
        println!(
            "figures: {partitions} partitions: {threads} threads, {memory:.0} MB; idle {:.0} switches/s, {:.1} % of a core; \
             {cost:.2} CPU s/GB, {:.1} switches per record",
            idle,
            idle_cpu * 100.0,
            (switches(pid).0 - before) / records as f64,
        );
        row(
            &format!(
                "CPU per GB with {partitions} partitions on one bridge ({threads} threads, {memory:.0} MB, idle {:.1} % of a core)",
                idle_cpu * 100.0
            ),
            &format!("{cost:.2} s"),
            &format!("1 partition {first:.2} s"),
            first / cost,
            "near linear",
        );
        bridge.stop();
        kafka.delete_topic(&topic);
    }
}
