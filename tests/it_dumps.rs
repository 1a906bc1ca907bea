//! Real dumps go through real Kafka and the real binary; what a scrape shows is
//! compared, sample by sample, with the reference reader's reading of the input.
use crate::support::compare::{self, Values};
use crate::support::dumps::{self, Dump, Encoding, OPENMETRICS, TEXT};
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::oracle::{self, Reading, Syntax};
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::skip::{Missing, require};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Each content-encoding with one of Kafka's own compressions.
const TRAVEL: [(Encoding, &str); 5] = [
    (Encoding::Identity, "none"),
    (Encoding::Gzip, "lz4"),
    (Encoding::Zstd, "zstd"),
    (Encoding::SnappyRaw, "snappy"),
    (Encoding::SnappyFramed, "gzip"),
];

/// An origin's labels. `version` is also a label of some dumps: it collides.
type Origin = Vec<(&'static str, String)>;

fn borrowed(origin: &Origin) -> Vec<(&str, &str)> {
    origin.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The canonical key: sorted by name (no value here needs escaping).
fn key(origin: &Origin) -> String {
    let mut labels: Vec<String> = origin.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    labels.sort();
    labels.join(",")
}

fn record(origin: &Origin, body: &[u8], encoding: Encoding) -> Record {
    let record = Record::new(&key(origin), encoding.encode(body)).header("content-type", TEXT);
    match encoding.header() {
        Some(value) => record.header("content-encoding", value),
        None => record,
    }
}

fn read_texts(bodies: &[&[u8]]) -> Result<Vec<Result<Reading, String>>, Missing> {
    oracle::read_all(&bodies.iter().map(|body| (Syntax::Text, *body)).collect::<Vec<_>>())
}

/// What the bridge shows of its origins, in one format.
fn scrape(bridge: &Service, syntax: Syntax) -> Result<Values, String> {
    let accept = match syntax {
        Syntax::Text => "text/plain;version=0.0.4",
        Syntax::OpenMetrics => "application/openmetrics-text;version=1.0.0",
    };
    let answer = http::get(&bridge.url("/metrics"), &[("accept", accept)])?;
    if answer.status != 200 {
        return Err(format!("status {}: {}", answer.status, answer.text()));
    }
    let is_openmetrics = answer.header("content-type").starts_with("application/openmetrics-text");
    assert_eq!(is_openmetrics, syntax == Syntax::OpenMetrics, "{}", answer.header("content-type"));
    let reading = oracle::read(syntax, &answer.body).expect("python was there a moment ago");
    let reading = reading.unwrap_or_else(|e| panic!("the reference reader refuses the scrape as {syntax:?}: {e}"));
    Ok(compare::exposed(&reading))
}

/// Waits until a text scrape shows exactly this, and an OpenMetrics scrape too.
#[track_caller]
fn wait_shown(bridge: &Service, expected: &Values) {
    eventually_ok("the scrape shows what went in", LONG, || compare::same(expected, &scrape(bridge, Syntax::Text)?));
    let openmetrics = scrape(bridge, Syntax::OpenMetrics).unwrap();
    compare::same(expected, &openmetrics).unwrap_or_else(|e| panic!("as OpenMetrics: {e}"));
}

/// A topic, and a bridge that consumes it alone.
fn bridge_on(kafka: &Kafka) -> (String, Service) {
    let topic = unique("dumps");
    kafka.create_topic(&topic, 4, &[]);
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &[]);
    (topic, bridge)
}

#[test]
fn real_dumps_come_out_as_they_went_in_by_every_codec() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let dumps = dumps::valid(1);
    let bodies: Vec<&[u8]> = dumps.iter().map(|dump| dump.body.as_slice()).collect();
    let Some(readings) = require(read_texts(&bodies)) else { return };
    let (topic, bridge) = bridge_on(kafka);
    let mut expected = Values::new();
    for (encoding, compression) in TRAVEL {
        let mut records = Vec::new();
        for (dump, reading) in dumps.iter().zip(&readings) {
            let origin: Origin = vec![
                ("cluster", "acme".into()),
                ("encoding", format!("{encoding:?}-{compression}")),
                ("job", dump.name.clone()),
                ("version", "of-the-origin".into()),
            ];
            records.push(record(&origin, &dump.body, encoding));
            expected.extend(compare::expected(reading.as_ref().unwrap(), &borrowed(&origin)));
        }
        kafka.producer(compression).send(&topic, &records);
    }
    wait_shown(&bridge, &expected);
}

#[test]
fn the_next_dump_replaces_the_whole_of_the_last() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (first, second) = (dumps::valid(1), dumps::valid(2));
    let bodies: Vec<&[u8]> = first.iter().chain(&second).map(|dump| dump.body.as_slice()).collect();
    let Some(readings) = require(read_texts(&bodies)) else { return };
    let (topic, bridge) = bridge_on(kafka);
    let show = |dumps: &[Dump], readings: &[Result<Reading, String>]| {
        let mut expected = Values::new();
        for (dump, reading) in dumps.iter().zip(readings) {
            let origin: Origin = vec![("instance", "10.0.0.7:4040".into()), ("job", dump.name.clone())];
            kafka.produce(&topic, &[record(&origin, &dump.body, Encoding::Zstd)]);
            expected.extend(compare::expected(reading.as_ref().unwrap(), &borrowed(&origin)));
        }
        wait_shown(&bridge, &expected);
    };
    show(&first, &readings[..first.len()]);
    show(&second, &readings[first.len()..]);
}

#[test]
fn an_empty_value_deletes_its_origin_alone() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(reading) = require(oracle::read(Syntax::Text, b"up 1\n")) else { return };
    let (topic, bridge) = bridge_on(kafka);
    let origins: [Origin; 2] = [vec![("job", "stays".into())], vec![("job", "goes".into())]];
    let values = |origin| compare::expected(reading.as_ref().unwrap(), &borrowed(origin));
    kafka.produce(&topic, &origins.clone().map(|origin| record(&origin, b"up 1\n", Encoding::Identity)));
    let mut both = values(&origins[0]);
    both.extend(values(&origins[1]));
    wait_shown(&bridge, &both);
    kafka.produce(&topic, &[Record { value: None, ..record(&origins[1], b"", Encoding::Identity) }]);
    wait_shown(&bridge, &values(&origins[0]));
}

#[test]
fn an_openmetrics_dump_keeps_its_names_in_both_formats() {
    let body = b"# TYPE requests counter\n# HELP requests All.\nrequests_total{code=\"200\"} 12\n\
        # TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\nlatency_seconds_bucket{le=\"0.5\"} 1\n\
        latency_seconds_bucket{le=\"+Inf\"} 2\nlatency_seconds_count 2\nlatency_seconds_sum 1.25\n\
        # TYPE odd unknown\nodd{quoted=\"\\\\ \\\" \\n\"} NaN\n# EOF\n";
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(reading) = require(oracle::read(Syntax::OpenMetrics, body)) else { return };
    let (topic, bridge) = bridge_on(kafka);
    let origin: Origin = vec![("job", "service".into())];
    let record = Record::new(&key(&origin), &body[..]).header("content-type", OPENMETRICS);
    kafka.produce(&topic, &[record]);
    wait_shown(&bridge, &compare::expected(&reading.unwrap(), &borrowed(&origin)));
}

/// A dump of Spark with invalid lines costs those lines: the reference reader,
/// asked line by line, says which.
#[test]
fn an_invalid_line_costs_the_line_and_not_the_dump() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, bridge) = {
        // Nothing is started where the reader is missing.
        let Some(_) = require(read_texts(&[])) else { return };
        bridge_on(kafka)
    };
    let mut expected = Values::new();
    let mut refused = 0;
    for dump in dumps::nasty() {
        let lines: Vec<&[u8]> = dump.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        let origin: Origin = vec![("job", dump.name.clone())];
        kafka.produce(&topic, &[record(&origin, &dump.body, Encoding::Gzip)]);
        for reading in require(read_texts(&lines)).unwrap() {
            match reading {
                Ok(reading) => expected.extend(compare::expected(&reading, &borrowed(&origin))),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0 && !expected.is_empty(), "{refused} lines refused, {} series", expected.len());
    wait_shown(&bridge, &expected);
    let own = bridge.get("/metrics/self").unwrap().text();
    let counted: f64 = own
        .lines()
        .filter(|line| line.starts_with("kafka2prom_samples_rejected_total{") && line.contains(&topic))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(counted, f64::from(refused), "{own}");
}

/// What is no dump at all is refused, counted and committed past; the others go on.
#[test]
fn a_record_that_is_no_dump_is_refused_and_passed() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(reading) = require(oracle::read(Syntax::Text, b"up 1\n")) else { return };
    let topic = unique("dumps");
    kafka.create_topic(&topic, 1, &[]);
    let group = unique("bridge");
    let bridge = Service::bridge(kafka, &group, &topic, &[]);
    let origin: Origin = vec![("job", "good".into())];
    let mut truncated = Encoding::Gzip.encode(&b"up 1\n".repeat(100));
    truncated.truncate(truncated.len() / 2);
    kafka.produce(
        &topic,
        &[
            Record::new("job=\"binary\"", [0_u8, 159, 146, 150, 255, 0].repeat(50)),
            Record::new("job=\"truncated\"", truncated).header("content-encoding", "gzip"),
            Record::new("job=\"unknown encoding\"", "up 1\n").header("content-encoding", "rot13"),
            record(&origin, b"up 1\n", Encoding::Identity),
        ],
    );
    wait_shown(&bridge, &compare::expected(&reading.unwrap(), &borrowed(&origin)));
    let own = bridge.get("/metrics/self").unwrap().text();
    let rejected: f64 = own
        .lines()
        .filter(|line| line.starts_with("kafka2prom_records_rejected_total{") && line.contains(&topic))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(rejected, 3.0, "{own}");
    eventually_ok("the offset behind all four is committed", LONG, || {
        let committed = kafka.committed(&group, &topic, 1);
        let offset = committed.get(&0).map(|c| c.offset);
        if offset == Some(4) { Ok(()) } else { Err(format!("{committed:?}")) }
    });
}
