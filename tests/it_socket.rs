//! What `socket.timeout.ms` costs: prints, asserts nothing on time. Not part of a run:
//! `cargo test --test integration figures_of_one_lost_commit -- --ignored --nocapture`.
use crate::support::bridge::sum;
use crate::support::chaos::{Mode, api};
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::poll::eventually;
use crate::support::process::Service;
use crate::support::skip::require;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(150);

/// With session 10 s and lease 15 s: how long a partition is dark after one
/// commit was lost, by the timeout of requests.
#[test]
#[ignore = "figures, minutes"]
fn figures_of_one_lost_commit() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for socket_ms in [60_000, 20_000, 11_000] {
        let (topic, group, client) = (unique("socket"), unique("group"), unique("client"));
        kafka.create_topic(&topic, 1, &[]);
        let properties = [format!("client.id={client}"), format!("socket.timeout.ms={socket_ms}")];
        let flags = ["--kafka.property", &properties[0], "--kafka.property", &properties[1]];
        let bridge = Service::bridge_at(&kafka.chaos_bootstrap(), &group, &topic, &flags);
        kafka.produce(&topic, &[Record::new("job=\"a\"", "steady 1\n")]);
        let shown = || bridge.scrape().contains("steady{job=\"a\"} 1\n").then_some(());
        eventually("the dump is shown", LONG, shown);
        let before = kafka.chaos().requests(&client, api::OFFSET_COMMIT);
        kafka.chaos().set(&client, Mode::Drop(vec![api::OFFSET_COMMIT]));
        eventually("one commit is lost", LONG, || {
            (kafka.chaos().requests(&client, api::OFFSET_COMMIT) > before).then_some(())
        });
        kafka.chaos().set(&client, Mode::Pass);
        let lost = Instant::now();
        let mut dark = None;
        eventually("the next one proves it", LONG, || {
            let scrape = bridge.scrape();
            if !scrape.contains("steady{") {
                dark = dark.or(Some(lost.elapsed()));
            }
            let proven = sum(&scrape, "kafka2prom_lease_remaining_seconds", &[]).is_some_and(|s| s > 12.5);
            (scrape.contains("steady{") && lost.elapsed() > Duration::from_secs(3) && proven).then_some(())
        });
        let rebalances = bridge.own("kafka2prom_rebalances_total", &[]);
        eprintln!(
            "FIGURES socket.timeout.ms {socket_ms}: one commit lost; dark from {dark:?}, proven again after {:?}, {rebalances} rebalances",
            lost.elapsed()
        );
        assert_eq!(bridge.stop(), 0);
    }
}
