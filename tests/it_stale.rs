//! What becomes of origins that fall silent, and of those that disagree.
use crate::support::bridge::{configured, segment, sum};
use crate::support::compare;
use crate::support::dumps::TEXT;
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::oracle::{self, Syntax};
use crate::support::parts::Generation;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::prometheus;
use crate::support::skip::require;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LONG: Duration = Duration::from_secs(60);

/// A bridge on a new topic of one partition, with settings of the topic.
fn bridge_with(kafka: &Kafka, settings: &str) -> (String, Service) {
    let topic = unique("stale");
    kafka.create_topic(&topic, 1, &[]);
    let rest = format!("topics: [{{name: {topic}, {settings}}}]\n");
    let bridge = configured(kafka, &unique("bridge"), "", &rest, &[]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    (topic, bridge)
}

/// Nobody scrapes, nothing comes from Kafka: the timer alone removes a silent origin.
#[test]
fn a_silent_origin_goes_unscraped_with_kafka_idle_and_is_forgotten_later() {
    const KEY: &str = r#"cluster="acme",job="silent""#;
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = bridge_with(kafka, "staleness: 2s, forget_after: 6s");
    let taken = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() - 1500;
    let record = Record::new(KEY, "up 1\nother 2\n").header("k2p-time", taken.to_string());
    kafka.produce(&topic, &[record]);
    let route = format!("/origins/{}/metrics", segment(KEY));
    eventually("the dump is shown", LONG, || {
        (bridge.get(&route).unwrap().status == 200).then(|| bridge.scrape()).filter(|s| s.contains("other{"))
    });
    // From here on nobody asks: the log says when it went.
    let gone = |log: &str| log.lines().any(|line| line.contains("origin is stale")).then_some(());
    bridge.process().wait_log(LONG, gone).unwrap();

    let labels = [("cluster", "acme"), ("job", "silent")];
    let scrape = bridge.scrape();
    assert_eq!(sum(&scrape, "up", &labels).or(sum(&scrape, "other", &labels)), None, "{scrape}");
    assert_eq!(sum(&scrape, "kafka2prom_origin_up", &labels), Some(0.0), "{scrape}");
    assert_eq!(sum(&scrape, "kafka2prom_origin_series", &labels), Some(0.0), "{scrape}");
    let last = sum(&scrape, "kafka2prom_origin_last_dump_timestamp_seconds", &labels);
    #[allow(clippy::cast_precision_loss, reason = "milliseconds are far below 2^52")]
    let expected = taken as f64 / 1000.0;
    assert_eq!(last, Some(expected), "{scrape}");
    assert_eq!(sum(&scrape, "kafka2prom_origins", &[("topic", &topic)]), Some(0.0));
    assert_eq!(bridge.get(&route).unwrap().status, 410);
    assert_eq!(bridge.explain(KEY)["verdict"], "stale");
    assert!(bridge.get("/").unwrap().text().contains("stale"));

    eventually("it is forgotten", LONG, || {
        sum(&bridge.scrape(), "kafka2prom_origin_up", &labels).is_none().then_some(())
    });
    let scrape = bridge.scrape();
    assert_eq!(sum(&scrape, "kafka2prom_origin_last_dump_timestamp_seconds", &labels), None, "{scrape}");
    assert_eq!(bridge.get(&route).unwrap().status, 404);
    assert_eq!(bridge.explain(KEY)["verdict"], "unknown");
    assert_eq!(bridge.own("kafka2prom_records_consumed_total", &[]), 1.0, "Kafka was not idle");
}

/// An origin that comes back after it went is shown at once.
#[test]
fn a_stale_origin_comes_back_with_its_next_dump() {
    const KEY: &str = r#"job="returns""#;
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = bridge_with(kafka, "staleness: 1s");
    let up = |value: f64| {
        eventually_ok("the origin's up", LONG, || {
            let found = sum(&bridge.scrape(), "kafka2prom_origin_up", &[("job", "returns")]);
            if found == Some(value) { Ok(()) } else { Err(format!("{found:?}, not {value}")) }
        });
    };
    for value in ["1", "2"] {
        kafka.produce(&topic, &[Record::new(KEY, format!("number {value}\n"))]);
        up(1.0);
        up(0.0);
    }
    assert!(!bridge.scrape().contains("number{"));
}

/// Two origins that say of a family what cannot both be written.
const DISAGREE: [(&str, &str); 2] = [
    (
        "first",
        "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total 3\n\
         # HELP depth Of the queue.\n# TYPE depth gauge\ndepth 1\n\
         # HELP wait_seconds Waiting.\n# TYPE wait_seconds histogram\nwait_seconds_bucket{le=\"0.5\"} 1\n\
         wait_seconds_bucket{le=\"+Inf\"} 2\nwait_seconds_sum 1.5\nwait_seconds_count 2\n",
    ),
    (
        "second",
        "# HELP jobs_total Jobs done.\n# TYPE jobs_total gauge\njobs_total 4\n\
         # HELP depth Of the other queue.\n# TYPE depth gauge\ndepth 2\n\
         # HELP wait_seconds Waiting.\n# TYPE wait_seconds summary\nwait_seconds{quantile=\"0.5\"} 1\n\
         wait_seconds_sum 7\nwait_seconds_count 9\n",
    ),
];

#[test]
fn origins_that_disagree_on_a_family_are_both_readable_and_the_conflict_is_told() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bodies = DISAGREE.map(|(_, body)| (Syntax::Text, body.as_bytes()));
    let Some(readings) = require(oracle::read_all(&bodies)) else { return };
    for generation in Generation::ALL {
        let Some(_) = require(prometheus::check_metrics(generation, b"")) else { return };
    }
    let (topic, bridge) = bridge_with(kafka, "staleness: auto");
    let mut expected = compare::Values::new();
    for ((job, body), reading) in DISAGREE.iter().zip(&readings) {
        kafka.produce(&topic, &[Record::new(&format!("job=\"{job}\""), *body).header("content-type", TEXT)]);
        expected.extend(compare::expected(reading.as_ref().unwrap(), &[("job", job)]));
    }
    eventually("both are shown", LONG, || {
        let scrape = bridge.scrape();
        (scrape.contains("depth{job=\"first\"}") && scrape.contains("depth{job=\"second\"}")).then_some(())
    });
    for (syntax, accept) in [
        (Syntax::Text, "text/plain;version=0.0.4"),
        (Syntax::OpenMetrics, "application/openmetrics-text;version=1.0.0"),
    ] {
        let answer = http::get(&bridge.url("/metrics"), &[("accept", accept)]).unwrap();
        let reading = require(oracle::read(syntax, &answer.body)).unwrap();
        let reading = reading.unwrap_or_else(|e| panic!("{syntax:?} is refused: {e}\n{}", answer.text()));
        compare::same(&expected, &compare::exposed(&reading)).unwrap_or_else(|e| panic!("{syntax:?}: {e}"));
    }
    let only = bridge.get("/metrics?origin=%7Bjob%3D~%22.%2B%22%7D").unwrap();
    for (what, exposition) in [("all", bridge.scrape().into_bytes()), ("the origins", only.body)] {
        for generation in Generation::ALL {
            let checked = require(prometheus::check_metrics(generation, &exposition));
            let text = String::from_utf8_lossy(&exposition);
            assert_eq!(checked, Some(Ok(())), "{what} of {generation:?}\n{text}");
        }
    }
    let scrape = bridge.scrape();
    let conflicts = |kind| sum(&scrape, "kafka2prom_family_conflicts", &[("kind", kind)]);
    assert_eq!(conflicts("type"), Some(2.0), "{scrape}");
    assert_eq!(conflicts("help"), Some(1.0), "{scrape}");
    assert_eq!(conflicts("series"), Some(0.0), "{scrape}");
    let status = bridge.get("/api/v1/status").unwrap().json();
    let told: Vec<&str> =
        status["conflicts"].as_array().unwrap().iter().filter_map(|conflict| conflict["family"].as_str()).collect();
    for family in ["depth", "jobs_total", "wait_seconds"] {
        assert!(told.contains(&family), "{family} is not in {told:?}");
        assert!(bridge.get("/").unwrap().text().contains(family));
    }
}
