//! What a topic may take of a bridge's memory: a flood costs the one who sends it.
use crate::support::bridge::configured;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::skip::require;
use std::fmt::Write as _;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const LIMIT: f64 = 400.0 * 1024.0;
/// Sent by the flood, each some 10 KB in memory: of two partitions, one may take three
/// quarters of the limit.
const FLOOD: usize = 120;

struct Bench {
    kafka: &'static Kafka,
    topic: String,
    bridge: Service,
}

fn key(tenant: &str, origin: usize) -> String {
    format!("instance=\"{origin}\",job=\"{tenant}\"")
}

/// A dump of names that only this origin has.
fn dump(tenant: &str, origin: usize, series: usize, value: usize) -> String {
    let mut body = format!("steady {value}\n");
    for i in 0..series {
        writeln!(body, "{tenant}_{origin}_requests{{handler=\"/api/v1/handlers/{i}\"}} {i}").unwrap();
    }
    body
}

impl Bench {
    fn start() -> Option<Bench> {
        let kafka = require(Kafka::shared())?;
        let (topic, group) = (unique("memory"), unique("bridge"));
        kafka.create_topic(&topic, 2, &[]);
        let rest = format!("topics: [{{name: {topic}, limits: {{cache_bytes: 400KiB, origin_bytes: 100KiB}}}}]\n");
        let bridge = configured(kafka, &group, "", &rest, &[]);
        eventually_ok("the bridge is ready", LONG, || bridge.ready());
        Some(Bench { kafka, topic, bridge })
    }

    fn send(&self, partition: i32, tenant: &str, origins: std::ops::Range<usize>, series: usize, value: usize) {
        let record = |origin| Record {
            partition: Some(partition),
            ..Record::new(&key(tenant, origin), dump(tenant, origin, series, value))
        };
        let records: Vec<Record> = origins.map(record).collect();
        self.kafka.produce(&self.topic, &records);
    }

    fn own(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.bridge.own(name, &[&[("topic", self.topic.as_str())], labels].concat())
    }

    fn refused(&self) -> f64 {
        self.own("kafka2prom_records_rejected_total", &[("reason", "memory_limit")])
    }

    /// How many origins of the tenant show this value.
    fn showing(&self, tenant: &str, value: usize) -> usize {
        let text = self.bridge.scrape();
        let wanted = |line: &&str| line.starts_with("steady{") && line.contains(&format!("job=\"{tenant}\""));
        text.lines().filter(wanted).filter(|line| line.ends_with(&format!("}} {value}"))).count()
    }

    fn shows(&self, tenant: &str, value: usize, origins: usize) {
        eventually_ok(&format!("{origins} of {tenant} show {value}"), LONG, || match self.showing(tenant, value) {
            count if count == origins => Ok(()),
            count => Err(format!("{count}; refused {}\n{}", self.refused(), self.bridge.process().log_tail())),
        });
    }
}

#[test]
fn a_flood_is_refused_and_nobody_else_is() {
    let Some(bench) = Bench::start() else { return };
    bench.send(0, "steady", 0..5, 20, 1);
    bench.send(1, "away", 0..3, 20, 1);
    bench.shows("steady", 1, 5);
    bench.shows("away", 1, 3);
    assert_eq!(bench.own("kafka2prom_cache_limit_bytes", &[]), LIMIT);

    bench.send(0, "flood", 0..FLOOD, 100, 1);
    eventually_ok("the flood is over", LONG, || match (bench.refused(), bench.showing("flood", 1)) {
        (refused, shown) if refused > 0.0 && refused + shown as f64 == FLOOD as f64 => Ok(()),
        told => Err(format!("refused and shown: {told:?}")),
    });
    let held = |partition| bench.own("kafka2prom_partition_cache_bytes", &[("partition", partition)]);
    assert!(held("0") > LIMIT / 2.0 && held("0") < LIMIT * 0.85, "{} of {LIMIT}", held("0"));
    assert!(held("1") > 1000.0, "{}", held("1"));

    // Who was there goes on, in the flooded partition too; newcomers have the other one.
    bench.send(0, "steady", 0..5, 20, 22);
    bench.send(1, "away", 0..10, 20, 22);
    bench.shows("steady", 22, 5);
    bench.shows("away", 22, 10);

    let last = key("flood", FLOOD - 1);
    let told = bench.bridge.explain(&last);
    assert_eq!(
        (&told["verdict"], &told["refusals"][0]["reason"]),
        (&"unknown".into(), &"memory_limit".into()),
        "{told}"
    );
    let detail = told["refusals"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("cache_bytes"), "{detail}");
    let page = bench.bridge.get("/").unwrap().text();
    assert!(page.contains("memory limit") && page.contains("Memory"), "{page}");

    // It is taken as soon as it is small enough, and a large one as soon as others go.
    bench.send(0, "flood", FLOOD - 1..FLOOD, 0, 333);
    bench.shows("flood", 333, 1);
    bench.send(0, "flood", 0..FLOOD - 1, 0, 333);
    bench.shows("flood", 333, FLOOD);
    bench.send(0, "flood", FLOOD - 1..FLOOD, 100, 4444);
    bench.shows("flood", 4444, 1);
}

#[test]
fn an_origin_has_a_limit_of_its_own() {
    let Some(bench) = Bench::start() else { return };
    bench.send(0, "large", 0..1, 100, 1);
    bench.shows("large", 1, 1);
    let labels = [("instance", "0"), ("job", "large")];
    let bytes = bench.bridge.own("kafka2prom_origin_bytes", &labels);
    assert!(bytes > 5_000.0 && bytes < 50_000.0, "{bytes}");
    bench.send(0, "large", 0..1, 2000, 2);
    eventually_ok("it is refused", LONG, || match bench.refused() {
        1.0 => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(bench.showing("large", 1), 1, "the last good dump stays");
    let told = bench.bridge.explain(&key("large", 0));
    assert!(told["found"]["last_refusal"].as_str().unwrap().contains("origin_bytes"), "{told}");
    assert_eq!(told["found"]["cache_bytes"].as_f64(), Some(bytes), "{told}");
    bench.send(0, "large", 0..1, 90, 3);
    bench.shows("large", 3, 1);
}
