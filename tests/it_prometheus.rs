//! A real Prometheus of either generation scrapes the bridge; its API answers with
//! the values that went in.
use crate::support::compare::{self, Values};
use crate::support::dumps::{self, TEXT};
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::oracle::{self, Syntax};
use crate::support::parts::Generation;
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::prometheus::{self, Prometheus};
use crate::support::skip::require;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// All series of an instant query, NaN as `None`.
fn query(prometheus: &Prometheus, expression: &str) -> Values {
    let value = |v: f64| (!v.is_nan()).then_some(v);
    prometheus.query(expression).into_iter().map(|found| (found.series, value(found.points[0].1))).collect()
}

fn prometheus_gives_what_went_in(generation: Generation) {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let rounds = [dumps::valid(1), dumps::valid(2)];
    let bodies: Vec<_> = rounds.iter().flatten().map(|dump| (Syntax::Text, dump.body.as_slice())).collect();
    let Some(readings) = require(oracle::read_all(&bodies)) else { return };
    // Nothing is started where Prometheus is missing.
    let Some(_) = require(prometheus::check_metrics(generation, b"")) else { return };
    let topic = unique("scraped");
    kafka.create_topic(&topic, 3, &[]);
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &[]);
    let config = Prometheus::scrape_config("bridge", &[bridge.listen()], "1s");
    let prometheus = require(Prometheus::start(generation, &config)).unwrap();
    prometheus.wait_query("up{job='bridge'} == 1", LONG);

    let mut readings = readings.iter();
    for round in &rounds {
        let mut expected = Values::new();
        for dump in round {
            // The bridge's job and instance win: honor_labels.
            let origin = [("cluster", "acme"), ("instance", "10.0.0.7:4040"), ("job", dump.name.as_str())];
            let key = format!(r#"cluster="acme",instance="10.0.0.7:4040",job="{}""#, dump.name);
            kafka.produce(&topic, &[Record::new(&key, dump.body.clone()).header("content-type", TEXT)]);
            let reading = readings.next().unwrap().as_ref().unwrap();
            expected.extend(compare::expected(reading, &origin));
        }
        let expected = compare::as_stored(&expected);
        eventually_ok("Prometheus' API gives the dumps' values", LONG, || {
            let own = query(&prometheus, "{cluster=\"acme\",__name__!~\"kafka2prom_.*\"}");
            compare::same(&expected, &compare::as_stored(&own))
        });
    }
    assert_eq!(query(&prometheus, "min_over_time(up{job='bridge'}[5m])").values().copied().next(), Some(Some(1.0)));
}

#[test]
fn prometheus_of_bookworm_gives_the_values_that_went_in() {
    prometheus_gives_what_went_in(Generation::Bookworm);
}

#[test]
fn prometheus_of_sid_gives_the_values_that_went_in() {
    prometheus_gives_what_went_in(Generation::Sid);
}

/// The bridge's own metrics keep Prometheus' rules for names, types and help.
#[test]
fn promtool_finds_nothing_wrong_with_the_own_metrics() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for generation in Generation::ALL {
        let Some(_) = require(prometheus::check_metrics(generation, b"")) else { return };
    }
    let topic = unique("own");
    kafka.create_topic(&topic, 2, &[]);
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &[]);
    let own = bridge.get("/metrics/self").unwrap();
    assert_eq!(own.status, 200);
    assert!(own.text().contains("kafka2prom_build_info{"), "{}", own.text());
    for generation in Generation::ALL {
        assert_eq!(require(prometheus::check_metrics(generation, &own.body)), Some(Ok(())), "{generation:?}");
    }
}
