//! A partition that cannot keep up, under each policy: it slows no other, and every
//! record is accounted for.
use crate::support::bridge::configured;
use crate::support::dumps::{Encoding, TEXT};
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use crate::support::supervise::Signal;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
const DROPPED: &str = "kafka2prom_records_dropped_total";
/// More than `drop_oldest` keeps (1000).
const BACKLOG: u64 = 3000;

/// A bridge on a new topic, ready.
fn bridge_with(kafka: &Kafka, policy: &str, partitions: i32, extra: &[&str]) -> (String, Service) {
    let topic = unique("policy");
    kafka.create_topic(&topic, partitions, &[]);
    let rest = format!("topics: [{{name: {topic}, policy: {policy}}}]\n");
    let bridge = configured(kafka, &unique("bridge"), "", &rest, extra);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    (topic, bridge)
}

fn dropped(bridge: &Service, reason: &str) -> f64 {
    bridge.own(DROPPED, &[("reason", reason)])
}

/// Every record that was read was shown, refused or dropped countably (G6).
#[track_caller]
fn all_accounted_for(bridge: &Service, topic: &str, produced: u64) {
    let counted = |name: &str| bridge.own(name, &[("topic", topic)]);
    #[allow(clippy::cast_precision_loss, reason = "few records")]
    let produced = produced as f64;
    eventually_ok("every record is accounted for", LONG, || {
        let shown = counted("kafka2prom_exposure_age_seconds_count");
        let sum = shown + counted(DROPPED) + counted("kafka2prom_records_rejected_total");
        let consumed = counted("kafka2prom_records_consumed_total");
        if sum == produced && consumed == produced {
            return Ok(());
        }
        Err(format!("{produced} produced, {consumed} consumed, {sum} accounted for, {shown} of them shown"))
    });
}

/// A backlog that is there all at once: the bridge is frozen while it grows.
fn backlog_under(policy: &str, expected: Option<&str>) {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = bridge_with(kafka, policy, 1, &[]);
    let origins = ["a", "b", "c"];
    let records: Vec<Record> = (1..=BACKLOG)
        .map(|number| {
            let origin = origins[usize::try_from(number).unwrap() % origins.len()];
            Record::new(&format!("job=\"{origin}\""), format!("number {number}\n"))
        })
        .collect();
    bridge.process().signal(Signal::Stop);
    kafka.produce(&topic, &records);
    bridge.process().signal(Signal::Cont);
    eventually("the newest dump of each origin is shown", LONG, || {
        let scrape = bridge.scrape();
        let newest = BACKLOG - 2..=BACKLOG;
        newest.into_iter().all(|n| scrape.contains(&format!("}} {n}\n"))).then_some(())
    });
    all_accounted_for(&bridge, &topic, BACKLOG);
    let all = bridge.own(DROPPED, &[("topic", &topic)]);
    match expected {
        None => assert_eq!(all, 0.0),
        Some(reason) => {
            assert!(all > 0.0, "nothing was dropped: this test saw no backlog");
            assert_eq!(dropped(&bridge, reason), all, "dropped for another reason than {reason}");
        }
    }
}

#[test]
fn backpressure_applies_every_record() {
    backlog_under("backpressure", None);
}

#[test]
fn conflate_reads_the_newest_dumps_and_counts_the_others() {
    backlog_under("conflate", Some("conflated"));
}

#[test]
fn drop_oldest_counts_what_it_leaves_out() {
    backlog_under("drop_oldest", Some("drop_oldest"));
}

/// One enormous dump after another on partition 0, as long as this lives.
struct Flood {
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn start(kafka: &'static Kafka, topic: &str) -> Flood {
        let mut body = "flood 1\n".to_owned();
        for i in 0..60_000 {
            writeln!(body, "flood_series{{number=\"{i}\",path=\"/a/rather/long/path/{i}\"}} {i}").unwrap();
        }
        let body = Encoding::Zstd.encode(body.as_bytes());
        let topic = topic.to_owned();
        let (stop, produced) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let thread = {
            let (stop, produced) = (stop.clone(), produced.clone());
            thread::spawn(move || {
                let record = Record::new("job=\"flood\"", body).on_partition(0);
                let record = record.header("content-type", TEXT).header("content-encoding", "zstd");
                let producer = kafka.producer("none");
                while !stop.load(Ordering::SeqCst) {
                    producer.send(&topic, &vec![record.clone(); 5]);
                    produced.fetch_add(5, Ordering::SeqCst);
                }
            })
        };
        Flood { stop, produced, thread: Some(thread) }
    }

    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.produced.load(Ordering::SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn lag(bridge: &Service, partition: &str) -> f64 {
    bridge.own("kafka2prom_partition_lag_records", &[("partition", partition)])
}

#[test]
fn one_partition_that_lags_slows_no_other_and_its_policy_is_switched_at_run_time() {
    const SHOWN: usize = 5;
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = bridge_with(kafka, "backpressure", 2, &["--web.enable-admin-api"]);
    let switch = |policy: &str| bridge.send("PUT", &format!("/api/v1/admin/policy?topic={topic}&policy={policy}"));
    let fresh = |number: usize| {
        let record = Record::new("job=\"fresh\"", format!("fresh {number}\n")).on_partition(1);
        kafka.produce(&topic, &[record]);
        eventually("the other partition's dump is shown", LONG, || {
            bridge.scrape().contains(&format!("fresh{{job=\"fresh\"}} {number}\n")).then_some(())
        });
    };
    let flood = Flood::start(kafka, &topic);
    eventually("partition 0 lags", LONG, || (lag(&bridge, "0") >= 20.0).then_some(()));
    for number in 1..=SHOWN {
        fresh(number);
        assert!(lag(&bridge, "0") > 0.0, "partition 0 has caught up: nothing was stalled");
        assert_eq!(lag(&bridge, "1"), 0.0);
    }
    assert_eq!(bridge.own(DROPPED, &[("topic", &topic)]), 0.0, "backpressure drops nothing");

    assert_eq!(switch("faster").status, 400);
    assert_eq!(bridge.send("PUT", "/api/v1/admin/policy?topic=other&policy=conflate").status, 404);
    let switched = switch("conflate");
    assert_eq!(switched.status, 200, "{}", switched.text());
    assert_eq!((&switched.json()["before"], &switched.json()["policy"]), (&"backpressure".into(), &"conflate".into()));
    eventually("conflating drops, counted", LONG, || (dropped(&bridge, "conflated") > 0.0).then_some(()));
    fresh(SHOWN + 1);
    let produced = flood.end();
    // An end that is told apart from all before it.
    kafka.produce(&topic, &[Record::new("job=\"flood\"", "flood 2\n").on_partition(0)]);
    eventually("the newest dump of the flood is shown", LONG, || {
        bridge.scrape().contains("flood{job=\"flood\"} 2\n").then_some(())
    });
    all_accounted_for(&bridge, &topic, produced + 1 + SHOWN as u64 + 1);
    assert_eq!(dropped(&bridge, "conflated"), bridge.own(DROPPED, &[("topic", &topic)]));

    assert_eq!(switch("drop_oldest").json()["before"], "conflate");
    let policies = bridge.get("/api/v1/partitions").unwrap().json();
    let policies = policies["partitions"].as_array().unwrap().iter().map(|p| &p["here"]["policy"]);
    assert!(policies.clone().count() == 2 && policies.clone().all(|policy| policy == "drop_oldest"), "{policies:?}");
    fresh(SHOWN + 2);
}

#[test]
fn without_the_admin_api_a_policy_stays() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = bridge_with(kafka, "backpressure", 1, &[]);
    let refused = bridge.send("PUT", &format!("/api/v1/admin/policy?topic={topic}&policy=conflate"));
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("--web.enable-admin-api"), "{}", refused.text());
    let partitions = bridge.get("/api/v1/partitions").unwrap().json();
    assert_eq!(partitions["partitions"][0]["here"]["policy"], "backpressure", "{partitions}");
}
