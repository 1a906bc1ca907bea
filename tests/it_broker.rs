//! Kafka goes away and comes back: what is proven stays, what is not goes dark, and
//! everything recovers by itself.
use crate::support::bridge::{SHORT_TIMERS, configured, sum};
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::parts::KafkaVersion;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);

struct Look {
    shown: bool,
    kafka_up: f64,
    lease: f64,
}

/// One scrape: its dumps and its own metrics.
fn look(bridge: &Service, partitions: &[&str]) -> Look {
    let scrape = bridge.scrape();
    let shown = scrape.contains("steady{job=\"j0\"} 1\n") && scrape.contains("steady{job=\"j1\"} 1\n");
    assert_eq!(shown, scrape.contains("steady{"), "one of two partitions with one lease: {scrape}");
    let lease = |partition: &&str| sum(&scrape, "kafka2prom_lease_remaining_seconds", &[("partition", partition)]);
    let lease = partitions.iter().filter_map(lease).fold(0.0, f64::max);
    Look { shown, kafka_up: sum(&scrape, "kafka2prom_kafka_up", &[]).unwrap(), lease }
}

#[test]
fn a_broker_that_stops_and_starts_again_costs_only_the_time_without_proof() {
    let Some(mut kafka) = require(Kafka::own(KafkaVersion::V4)) else { return };
    let (topic, group) = (unique("broker"), unique("bridge"));
    kafka.create_topic(&topic, 2, &[]);
    let (properties, ownership) = SHORT_TIMERS;
    let rest = format!("topics: [{{name: {topic}}}]\n{ownership}");
    let bridge = configured(&kafka, &group, properties, &rest, &[]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    let dump = |n: i32| Record::new(&format!("job=\"j{n}\""), "steady 1\n").on_partition(n);
    kafka.produce(&topic, &[dump(0), dump(1)]);
    let partitions = ["0", "1"];
    eventually("the dumps are shown and Kafka is up", LONG, || {
        let look = look(&bridge, &partitions);
        (look.shown && look.kafka_up == 1.0).then_some(())
    });

    // Without warning: the lease has just been renewed, or will be for the most part.
    kafka.node(0).kill();
    eventually("its own metrics say that Kafka is away while the dumps stay", LONG, || {
        let look = look(&bridge, &partitions);
        assert!(look.shown || look.lease == 0.0, "dark with {} s left of the lease", look.lease);
        assert!(look.shown, "the lease ended before the bridge said that Kafka is away");
        (look.kafka_up == 0.0).then_some(())
    });
    let route = format!("/partitions/{topic}/1/metrics");
    assert_eq!(bridge.get(&route).unwrap().status, 200);
    eventually("the partitions go dark when the lease has run out", LONG, || {
        let look = look(&bridge, &partitions);
        assert!(look.shown || look.lease == 0.0, "dark with {} s left of the lease", look.lease);
        (!look.shown).then_some(())
    });
    let dark = http::get(&bridge.url(&route), &[("x-prometheus-scrape-timeout-seconds", "1")]).unwrap();
    assert_eq!(dark.status, 503, "{}", dark.text());
    assert!(!dark.header("retry-after").is_empty(), "{:?}", dark.headers);
    assert!(bridge.ready().is_err());
    assert_eq!(bridge.get("/-/healthy").unwrap().status, 200);
    assert_eq!(bridge.get("/").unwrap().status, 200);
    eventually("the fence is counted", LONG, || {
        (bridge.own("kafka2prom_fences_total", &[("reason", "lease_lapsed")]) == 2.0).then_some(())
    });

    kafka.start_again();
    eventually_ok("the bridge is ready again", LONG, || bridge.ready());
    eventually("the dumps are shown again and Kafka is up", LONG, || {
        let look = look(&bridge, &partitions);
        (look.shown && look.kafka_up == 1.0).then_some(())
    });
    assert_eq!(bridge.get(&route).unwrap().status, 200);
    let next = |n: i32| Record::new(&format!("job=\"j{n}\""), "steady 2\n").on_partition(n);
    kafka.produce(&topic, &[next(0), next(1)]);
    eventually("new dumps are shown", LONG, || {
        let scrape = bridge.scrape();
        (scrape.contains("steady{job=\"j0\"} 2\n") && scrape.contains("steady{job=\"j1\"} 2\n")).then_some(())
    });
    eventually_ok("and committed", LONG, || {
        let committed = kafka.committed(&group, &topic, 2);
        if committed.values().all(|c| c.offset == 2) { Ok(()) } else { Err(format!("{committed:?}")) }
    });
    assert_eq!(bridge.process().exit_code(), None);
}
