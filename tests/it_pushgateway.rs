//! The Pushgateway's API beside real Pushgateways of both generations: the same requests to
//! all, answers and what is shown compared. Where ours differs stands in the table, with the
//! reason; a difference that is none any more fails too.
use crate::push::bed::{Bed, LONG};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::parts::{self, Generation};
use crate::support::poll::{eventually_ok, within};
use crate::support::prometheus::Prometheus;
use crate::support::pushgateway::{Pushgateway, delimited, double, field, whole};
use crate::support::skip::require;
use k2p_push::GroupingKey;
use k2p_push::body::{self, Body};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TEXT: &str = "text/plain; version=0.0.4";
const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// How long the states may differ after a request.
const SETTLED: Duration = Duration::from_secs(2);

/// A request, and how the answers may differ.
struct Step {
    method: &'static str,
    path: &'static str,
    content_type: &'static str,
    gzip: bool,
    /// The older one does not know it.
    newer: bool,
    body: Vec<u8>,
    /// Why ours is another answer, or leaves another state, than every Pushgateway's.
    differs: &'static str,
}

fn step(method: &'static str, path: &'static str, body: impl Into<Vec<u8>>) -> Step {
    Step { method, path, content_type: TEXT, gzip: false, newer: false, body: body.into(), differs: "" }
}

impl Step {
    fn differs(self, why: &'static str) -> Step {
        Step { differs: why, ..self }
    }

    fn of_type(self, content_type: &'static str) -> Step {
        Step { content_type, ..self }
    }

    fn gzip(self) -> Step {
        Step { gzip: true, ..self }
    }

    fn newer(self) -> Step {
        Step { newer: true, ..self }
    }

    fn send(&self, base: &str) -> Answer {
        let mut headers = vec![("content-type", self.content_type)];
        let mut body = self.body.clone();
        if self.gzip {
            headers.push(("content-encoding", "gzip"));
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&body).unwrap();
            body = encoder.finish().unwrap();
        }
        http::request(self.method, &format!("{base}{}", self.path), &headers, &body).unwrap()
    }
}

fn label(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

/// A gauge and a histogram, delimited.
fn protobuf() -> Vec<u8> {
    let gauge = field(4, &[label("l", "v"), field(2, &double(1, 1.5))].concat());
    let gauge = [field(1, b"pg"), field(2, b"A gauge."), whole(3, 1), gauge].concat();
    let bucket = |count: u64, bound: f64| field(3, &[whole(1, count), double(2, bound)].concat());
    let histogram = [whole(1, 3), double(2, 4.5), bucket(1, 1.0), bucket(3, f64::INFINITY)].concat();
    let histogram = [field(1, b"ph"), field(2, b"A histogram."), whole(3, 4), field(4, &field(7, &histogram))].concat();
    [delimited(&gauge), delimited(&histogram)].concat()
}

/// A histogram of 1, 2, 4, … 512 in buckets that double, without classic ones; an exemplar on
/// a counter.
fn native() -> Vec<u8> {
    let zigzag = |number: i64| ((number << 1) ^ (number >> 63)).cast_unsigned();
    let span = field(12, &[whole(1, 0), whole(2, 10)].concat());
    let deltas: Vec<Vec<u8>> = (0..10).map(|at| whole(13, zigzag(i64::from(at == 0)))).collect();
    let threshold = double(6, 2f64.powi(-128));
    let histogram = [vec![whole(1, 10), double(2, 1023.0), whole(5, 0), threshold, span], deltas].concat().concat();
    let histogram = [field(1, b"nh"), whole(3, 4), field(4, &field(7, &histogram))].concat();
    let exemplar = field(2, &[label("trace_id", "abc"), double(2, 1.0)].concat());
    let counter = field(4, &field(3, &[double(1, 5.0), exemplar].concat()));
    let counter = [field(1, b"nc_total"), whole(3, 0), counter].concat();
    [delimited(&histogram), delimited(&counter)].concat()
}

/// In this order: each meets what those before have left.
fn steps() -> Vec<Step> {
    const WORDS: &str = "# HELP a Some words.\n# TYPE a gauge\na 1\na{l=\"x\"} 2.5e3\n";
    const PARTS: &str = "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.25\nh_count 3\n\
        # TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 9\ns_count 4\n# TYPE c_total counter\nc_total 7\n";
    vec![
        step("PUT", "/metrics/job/one", WORDS),
        step("PUT", "/metrics/job/one/instance/i", PARTS),
        step("POST", "/metrics/job/one", "a 3\n# TYPE b counter\nb 4\n"),
        step("PUT", "/metrics/job/one", "b 5\n"),
        step("POST", "/metrics/job/labels/env/prod", "m{job=\"mine\",env=\"dev\",instance=\"kept\",z=\"1\"} 1\n"),
        step("POST", "/metrics/job@base64/Zm9vL2Jhcg==", "slash 1\n"),
        step("POST", "/metrics/job@base64/Zm9vL2Jhcg", "slash 2\n"),
        step("POST", "/metrics/job/e/empty@base64/=", "e 1\n"),
        step("POST", "/metrics/job/e/utf8/%C3%A9t%C3%A9", "e 2\n"),
        step("POST", "/metrics/job/e/space/a%20b", "e 3\n"),
        step("POST", "/metrics/job/e/path@base64/L3Zhci90bXA", "e 4\n"),
        step("PUT", "/metrics/job/nothing", ""),
        step("POST", "/metrics/job/nothing", ""),
        step(
            "PUT",
            "/metrics/job/values",
            "v{n=\"1\"} NaN\nv{n=\"2\"} +Inf\nv{n=\"3\"} -Inf\nv{n=\"4\"} -1\nv{n=\"5\"} 1e-9\n",
        ),
        step("PUT", "/metrics/job/zero", "zero -0\n").differs("values stay as they were written"),
        step("PUT", "/metrics/job/escapes", "# HELP x a\\\\b\\nc\nx{l=\"a\\\\b\\\"c\\nd\"} 1\n"),
        step("PUT", "/metrics/job/comments", "# a comment\n\ny 1\n"),
        step("PUT", "/metrics/job/proto", protobuf()).of_type(PROTOBUF),
        step("PUT", "/metrics/job/native", native()).of_type(PROTOBUF).newer(),
        step("POST", "/metrics/job/times", "m 1\npush_time_seconds 5\n"),
        step("PUT", "/metrics/job/gzip", "m 1\n").gzip().newer(),
        // Refused.
        step("PUT", "/metrics/job/one", "b 1 1700000000000\n"),
        step("PUT", "/metrics/job/one", "not an exposition\n"),
        step("PUT", "/metrics/job/one", "b{l=\"x} 1\n"),
        step("PUT", "/metrics/job/one", "b 1\nb 2\n"),
        step("PUT", "/metrics/job/fresh", "b 1\nb 2\n"),
        step("PUT", "/metrics/job/one", "# TYPE b gauge\n# TYPE b counter\nb 1\n"),
        step("PUT", "/metrics/job/one", "# TYPE h histogram\nh_bucket{le=\"x\"} 1\n"),
        step("PUT", "/metrics/job/one", protobuf()[..20].to_vec()).of_type(PROTOBUF),
        step("PUT", "/metrics/job/one", "b{__name__=\"x\"} 1\n"),
        step("PUT", "/metrics/job/one/odd", "b 1\n"),
        step("PUT", "/metrics/job/one/9x/y", "b 1\n"),
        step("PUT", "/metrics/job/one/__x/y", "b 1\n"),
        step("PUT", "/metrics/job/one/x@base64/%%%", "b 1\n"),
        step("PUT", "/metrics/job/one/x@base64/!!!", "b 1\n"),
        step("PUT", "/metrics/job/one/x/1/x/2", "b 1\n").differs("one of the two labels was not meant: refused"),
        step("PUT", "/metrics/job/one/le/1", "b 1\n").differs("it would overwrite every bucket's bound: refused"),
        step("PUT", "/metrics/job@base64/%%%", "b 1\n"),
        step("PUT", "/metrics/job@base64/=", "b 1\n"),
        step("PUT", "/metrics/jobs/one", "b 1\n"),
        step("PATCH", "/metrics/job/one", "b 1\n"),
        step("PUT", "/metrics", "b 1\n"),
        step("PUT", "/metrics//job/one", "b 1\n").differs("no redirect, which clients do not follow: refused"),
        step("PUT", "/metrics/job/same", "m{l=\"\"} 1\nm 2\n").differs("an empty label is none: a series twice"),
        step("PUT", "/metrics/job/om", "# TYPE om counter\nom_total 1\n# EOF\n")
            .of_type(OPENMETRICS)
            .differs("OpenMetrics is read as such: the family is om_total, a counter"),
        step("PUT", "/metrics/job/last", "last 1").differs("the last line needs no newline"),
        step("PUT", "/metrics/job/other", "# TYPE b counter\nb 1\n")
            .differs("what conflicts with other groups is resolved at exposure: b of job one has no type"),
        step("DELETE", "/metrics/job/other", ""),
        // Taken away.
        step("DELETE", "/metrics/job/one/instance/i", ""),
        step("DELETE", "/metrics/job/never", ""),
        step("DELETE", "/metrics/job@base64/Zm9vL2Jhcg", ""),
        step("PUT", "/api/v1/admin/wipe", ""),
        step("POST", "/metrics/job/after", "m 1\n"),
    ]
}

/// What a scrape shows of pushes: value by series, labels sorted; times only as whether.
fn shown(base: &str) -> Result<BTreeMap<String, String>, String> {
    let answer = http::get(&format!("{base}/metrics"), &[("accept", TEXT)])?;
    if answer.status != 200 {
        return Err(answer.text());
    }
    let own = ["go_", "process_", "promhttp_", "pushgateway_", "kafka2prom_"];
    let mut all = BTreeMap::new();
    for line in answer.text().lines().filter(|line| !own.iter().any(|p| line.starts_with(p))) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if let ["#", what @ ("TYPE" | "HELP"), name, text] = words[..] {
            if !own.iter().any(|p| name.starts_with(p)) {
                all.insert(format!("{what} {name}"), text.to_owned());
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').ok_or(line)?;
        let number: f64 = value.parse().map_err(|_| line)?;
        let value = match series.starts_with("push_") {
            true => (number > 0.0).to_string(),
            false => number.to_string(),
        };
        all.insert(crate::events::bed::canonical(series), value);
    }
    Ok(all)
}

/// `GET /api/v1/metrics`, by group: times only as whether, values as numbers.
fn told(base: &str) -> Result<BTreeMap<String, Value>, String> {
    let answer = http::get(&format!("{base}/api/v1/metrics"), &[])?;
    let mut json = answer.json();
    if json["status"] != "success" {
        return Err(json.to_string());
    }
    let mut groups = BTreeMap::new();
    for group in json["data"].as_array_mut().ok_or("no data")? {
        for (name, family) in group.as_object_mut().ok_or("no group")? {
            if let Some(family) = family.as_object_mut().filter(|_| name != "labels") {
                let stamped = family.remove("time_stamp").is_some_and(|t| t.as_str().is_some_and(|t| t.len() > 18));
                family.insert("stamped".to_owned(), stamped.into());
                let mut metrics = family["metrics"].as_array().cloned().unwrap_or_default();
                metrics.iter_mut().for_each(|metric| numbers(metric, name.starts_with("push_")));
                metrics.sort_by_key(Value::to_string);
                family["metrics"] = metrics.into();
            }
        }
        groups.insert(group["labels"].to_string(), group.clone());
    }
    Ok(groups)
}

fn numbers(metric: &mut Value, time: bool) {
    for (name, value) in metric.as_object_mut().into_iter().flatten().filter(|(name, _)| *name != "labels") {
        match value {
            Value::String(text) => {
                let number: f64 = text.parse().unwrap_or(f64::NAN);
                *text = if time { (number > 0.0).to_string() } else { number.to_string() };
            }
            Value::Object(bounds) => {
                let read = |(bound, count): (&String, &Value)| {
                    let bound = bound.parse::<f64>().map_or_else(|_| bound.clone(), |b| b.to_string());
                    (bound, count.as_str().and_then(|t| t.parse::<f64>().ok()).into())
                };
                *bounds = bounds.iter().map(read).collect();
            }
            // Of a native histogram: which bounds belong to the bucket, the bounds, the count.
            Value::Array(buckets) => {
                for part in buckets.iter_mut().flat_map(|bucket| bucket.as_array_mut().into_iter().flatten()) {
                    let number = part.as_str().and_then(|text| text.parse::<f64>().ok());
                    *part = number.map_or(part.clone(), Value::from);
                }
            }
            other => panic!("{name}: {other}"),
        }
    }
}

/// The lines in which two states differ.
fn differences<T: PartialEq + std::fmt::Debug>(
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
) -> Vec<String> {
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differ = keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key));
    differ.map(|key| format!("{key}: ours {:?}, theirs {:?}", ours.get(key), theirs.get(key))).collect()
}

fn compare(ours: &str, theirs: &str) -> Result<Vec<String>, String> {
    let mut found = differences(&shown(ours)?, &shown(theirs)?);
    found.extend(differences(&told(ours)?, &told(theirs)?));
    Ok(found)
}

fn beside(generation: Generation) {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(real) = require(Pushgateway::start(generation, &[])) else { return };
    let bed = Bed::new(kafka, 2);
    let bridge = bed.bridge(1000, &["--web.enable-admin-api"]);
    bed.wait_whole(&[&bridge]);
    let (ours, theirs) = (bridge.url(""), real.url(""));
    let mut wrong = Vec::new();
    // What an allowed difference has left is no difference of the next step.
    let mut known: BTreeSet<String> = BTreeSet::new();
    let known_there = |step: &Step| !step.newer || generation == Generation::Sid;
    for (number, step) in steps().iter().filter(|step| known_there(step)).enumerate() {
        let what = format!("{number}: {} {} {:?}", step.method, step.path, String::from_utf8_lossy(&step.body));
        let (a, b) = (step.send(&ours), step.send(&theirs));
        let mut found = Vec::new();
        if a.status != b.status {
            let said = (a.text(), b.text());
            found.push(format!("answers: ours {} {:?}, theirs {} {:?}", a.status, said.0, b.status, said.1));
        }
        // A deletion is answered there before it is done.
        let states = within(SETTLED, || match compare(&ours, &theirs) {
            Ok(lines) if lines.iter().all(|line| known.contains(line)) => Ok(()),
            Ok(lines) => Err(lines),
            Err(why) => Err(vec![why]),
        });
        found.extend(states.err().into_iter().flatten().filter(|line| !known.contains(line)));
        match (found.is_empty(), step.differs.is_empty()) {
            (true, true) => {}
            (false, true) => wrong.push(format!("{what}\n    {}", found.join("\n    "))),
            (true, false) => wrong.push(format!("{what}\n    does not differ any more: {}", step.differs)),
            (false, false) => known.extend(found),
        }
    }
    assert!(wrong.is_empty(), "{generation:?}: {} of {} steps:\n{}", wrong.len(), steps().len(), wrong.join("\n"));
}

/// What a scrape of protobuf says of the families that [`native`] pushes.
fn scraped(base: &str) -> Vec<String> {
    let accept = format!("{PROTOBUF};q=1").replace(' ', "");
    let answer = http::get(&format!("{base}/metrics"), &[("accept", &accept)]).unwrap();
    assert!(answer.header("content-type").replace(' ', "").starts_with(&PROTOBUF.replace(' ', "")));
    let key = GroupingKey::from_path("job/native").unwrap();
    let body = Body { content_type: Some(PROTOBUF), bytes: &answer.body, ..Body::default() };
    let families = body::read(&key, &body).unwrap();
    let ours = families.iter().filter(|family| ["nh", "nc_total"].contains(&family.name()));
    let lines = ours.flat_map(|family| {
        let kind = family.kind();
        family.samples().map(move |s| {
            let series = crate::events::bed::canonical(&format!("{}{{{}}}", s.name, s.labels));
            format!("{kind:?} {series} {} {:?}", s.value, s.exemplar)
        })
    });
    lines.collect()
}

/// What only protobuf can say is pushed in it and scraped in it: the same as there, and
/// Prometheus computes with it.
#[test]
fn native_histograms_and_exemplars_of_protobuf_come_through() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(real) = require(Pushgateway::start(Generation::Sid, &[])) else { return };
    let bed = Bed::new(kafka, 1);
    let bridge = bed.bridge(1000, &[]);
    bed.wait_whole(&[&bridge]);
    let step = step("PUT", "/metrics/job/native", native()).of_type(PROTOBUF);
    for base in [bridge.url(""), real.url("")] {
        let answer = step.send(&base);
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    }
    let (ours, theirs) = (scraped(&bridge.url("")), scraped(&real.url("")));
    assert_eq!(ours, theirs);
    let rides = ours.iter().filter(|line| line.contains("schema:0") || line.contains("trace_id"));
    assert_eq!(rides.count(), 2, "{ours:#?}");
    let config = Prometheus::scrape_config("bridge", &[bridge.listen()], "1s");
    let prometheus = require(Prometheus::start_featured(Generation::Sid, &config, "native-histograms")).unwrap();
    // Half of them are up to 16, in the bucket that ends there.
    prometheus.wait_query("histogram_count(nh) == 10 and histogram_quantile(0.5, nh) == 16", LONG);
}

#[test]
fn beside_the_pushgateway_of_bookworm() {
    beside(Generation::Bookworm);
}

#[test]
fn beside_the_pushgateway_of_sid() {
    beside(Generation::Sid);
}

#[test]
fn the_status_has_what_a_pushgateways_has() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(real) = require(Pushgateway::start(Generation::Sid, &[])) else { return };
    let bridge = Bed::new(kafka, 1).bridge(1000, &[]);
    eventually_ok("it answers", LONG, || bridge.get("/api/v1/status").map(drop));
    let ours = bridge.get("/api/v1/status").unwrap().json();
    let theirs = http::get(&real.url("/api/v1/status"), &[]).unwrap().json();
    assert_eq!(ours["status"], theirs["status"]);
    for (name, value) in theirs["data"].as_object().unwrap() {
        let here = &ours["data"][name];
        assert!(here.is_string() == value.is_string() && here.is_object() == value.is_object(), "{name}: {here}");
    }
    let text = [("accept", "text/plain")];
    let exposition = http::get(&bridge.url("/api/v1/metrics"), &text).unwrap();
    assert!(exposition.header("content-type").starts_with("text/plain"), "{}", exposition.header("content-type"));
    for path in ["/-/healthy", "/-/ready"] {
        eventually_ok("it is ready", LONG, || bridge.ready());
        assert_eq!(bridge.get(path).unwrap().status, http::get(&real.url(path), &[]).unwrap().status);
    }
}

/// Runs a client to its end.
fn run(mut client: Command) {
    let output = client.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{client:?}: {said}");
}

#[test]
fn the_official_clients_push_unchanged() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(real) = require(Pushgateway::start(Generation::Sid, &[])) else { return };
    let Some((go, jars)) = require(parts::push_clients()) else { return };
    let bed = Bed::new(kafka, 2);
    let bridge = bed.bridge(1000, &[]);
    bed.wait_whole(&[&bridge]);
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let urls = [bridge.url(""), real.url("")];
    for url in &urls {
        let address = url.trim_start_matches("http://");
        let Some(mut python) = require(parts::python()) else { return };
        python.arg(support.join("push.py")).arg(address);
        let mut program = Command::new(&go);
        program.arg(url);
        let mut java = Command::new("java");
        java.arg("-cp").arg(jars.join("*")).arg("groovy.ui.GroovyMain").arg(support.join("push.groovy")).arg(address);
        [python, program, java].into_iter().for_each(run);
    }
    // Some clients say when they made a series.
    let stable = |url: &str| {
        shown(url)
            .map(|all| all.into_iter().filter(|(series, _)| !series.contains("_created")).collect::<BTreeMap<_, _>>())
    };
    eventually_ok("both show the same", LONG, || {
        let (ours, theirs) = (stable(&urls[0])?, stable(&urls[1])?);
        let differ = differences(&ours, &theirs);
        if differ.is_empty() && ours.len() > 70 {
            Ok(())
        } else {
            Err(format!("{}: {}", ours.len(), differ.join("\n")))
        }
    });
}
