//! A real Prometheus of either generation scrapes the bridge; its API answers with
//! the values that went in.
use crate::events::bed::{Bed, kill};
use crate::support::compare::{self, Values};
use crate::support::dumps::{self, TEXT};
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::oracle::{self, Syntax};
use crate::support::parts::Generation;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::prometheus::{self, Prometheus};
use crate::support::skip::require;
use crate::support::target::Target;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// All series of an instant query, NaN as `None`.
fn query(prometheus: &Prometheus, expression: &str) -> Values {
    let value = |v: f64| (!v.is_nan()).then_some(v);
    prometheus.query(expression).into_iter().map(|found| (found.series, value(found.points[0].1))).collect()
}

/// How Prometheus is had to scrape.
struct Scraping {
    generation: Generation,
    features: &'static str,
    /// Of the scrape configuration.
    more: &'static str,
    /// What it is answered.
    content_type: &'static str,
}

impl Scraping {
    fn text(generation: Generation) -> Scraping {
        Scraping { generation, features: "", more: "", content_type: "application/openmetrics-text; version=1.0.0" }
    }

    fn config(&self, targets: &[&str]) -> String {
        let config = Prometheus::scrape_config("bridge", targets, "1s");
        format!("{config}{}", self.more)
    }
}

fn prometheus_gives_what_went_in(scraping: &Scraping) {
    let generation = scraping.generation;
    let Some(kafka) = require(Kafka::shared()) else { return };
    let rounds = [dumps::valid(1), dumps::valid(2)];
    let bodies: Vec<_> = rounds.iter().flatten().map(|dump| (Syntax::Text, dump.body.as_slice())).collect();
    let Some(readings) = require(oracle::read_all(&bodies)) else { return };
    // Nothing is started where Prometheus is missing.
    let Some(_) = require(prometheus::check_metrics(generation, b"")) else { return };
    let topic = unique("scraped");
    kafka.create_topic(&topic, 3, &[]);
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &[]);
    // Says how this Prometheus asks.
    let asked = Target::start("x 1\n");
    let config = scraping.config(&[bridge.listen(), asked.address()]);
    let prometheus = require(Prometheus::start_featured(generation, &config, scraping.features)).unwrap();
    let up = format!("up{{instance='{}'}} == 1", bridge.listen());
    prometheus.wait_query(&up, LONG);

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
    let up = format!("min_over_time(up{{instance='{}'}}[5m])", bridge.listen());
    assert_eq!(query(&prometheus, &up).values().copied().next(), Some(Some(1.0)));
    let accept = eventually("a scrape of the other target", LONG, || asked.accept());
    let answer = http::get(&bridge.url("/metrics"), &[("accept", &accept)]).unwrap();
    let content_type = answer.header("content-type");
    assert!(content_type.starts_with(scraping.content_type), "{accept}: {content_type}");
}

#[test]
fn prometheus_of_bookworm_gives_the_values_that_went_in() {
    prometheus_gives_what_went_in(&Scraping::text(Generation::Bookworm));
}

#[test]
fn prometheus_of_sid_gives_the_values_that_went_in() {
    prometheus_gives_what_went_in(&Scraping::text(Generation::Sid));
}

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[test]
fn prometheus_of_bookworm_gives_the_same_of_protobuf() {
    let features = "native-histograms";
    let scraping = Scraping { features, content_type: PROTOBUF, ..Scraping::text(Generation::Bookworm) };
    prometheus_gives_what_went_in(&scraping);
}

#[test]
fn prometheus_of_sid_gives_the_same_of_protobuf() {
    let more = "  scrape_protocols: [PrometheusProto]\n  fallback_scrape_protocol: PrometheusText0.0.4\n";
    prometheus_gives_what_went_in(&Scraping { more, content_type: PROTOBUF, ..Scraping::text(Generation::Sid) });
}

/// A template's native histogram arrives as one: its quantile comes out of its exponential
/// buckets, its classic form stands beside it, and a bridge that takes over from the snapshot
/// shows the same.
#[test]
fn a_native_histogram_of_a_template_is_native_in_prometheus() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(_) = require(prometheus::check_metrics(Generation::Sid, b"")) else { return };
    let bed = Bed::new(kafka, 1);
    let bridge = bed.bridge(100, &[]);
    let config = |bridge: &Service| {
        let config = Prometheus::scrape_config("bridge", &[bridge.listen()], "1s");
        format!("{config}  always_scrape_classic_histograms: true\n")
    };
    let prometheus =
        require(Prometheus::start_featured(Generation::Sid, &config(&bridge), "native-histograms")).unwrap();
    prometheus.wait_query("up{job='bridge'} == 1", LONG);
    // Runs of 3 s, 6 s, … 300 s.
    for run in 1..=100 {
        let (start, end) = (1_700_000_000_000i64, 1_700_000_000_000i64 + run * 3000);
        let lines = format!(
            "{{\"run_id\":\"run-{run}\",\"pipeline_id\":\"p\",\"status\":\"SUCCEEDED\",\"start_ts\":{start},\"end_ts\":{end}}}\n"
        );
        kafka.produce(&bed.topic, &[bed.record("p", lines)]);
    }
    let number = |expression: &str| query(&prometheus, expression).into_values().next().flatten();
    let series = "pipeline_run_duration_seconds";
    let judged = || {
        let classic = number(&format!("sum({series}_count)"));
        let native = number(&format!("sum(histogram_count({series}))"));
        let (low, half) = (
            number(&format!("histogram_quantile(0, {series})")),
            number(&format!("histogram_quantile(0.5, {series})")),
        );
        // Of buckets that grow by less than 1.1; classic ones would begin at 0.
        let good = classic == Some(100.0)
            && native == Some(100.0)
            && half.is_some_and(|half| (139.0..153.0).contains(&half))
            && low.is_some_and(|low| (2.7..=3.0).contains(&low));
        if good { Ok(()) } else { Err(format!("{classic:?} {native:?} {low:?} {half:?}")) }
    };
    eventually_ok("the native histogram answers", LONG, judged);
    let spans = |bridge: &Service| {
        let accept = format!("{PROTOBUF};q=1").replace(' ', "");
        let answer =
            http::get(&bridge.url("/metrics?origin=%7Bpipeline_id%3D%22p%22%7D"), &[("accept", &accept)]).unwrap();
        assert!(answer.header("content-type").starts_with(PROTOBUF));
        answer.body
    };
    let before = spans(&bridge);
    kill(&bridge);
    let successor = bed.bridge(100, &[]);
    prometheus.reload(&config(&successor));
    eventually("the successor shows the same bytes", LONG, || (spans(&successor) == before).then_some(()));
    eventually_ok("the native histogram answers again", LONG, judged);
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
