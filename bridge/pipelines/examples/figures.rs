//! What an event costs, beside `serde_json` into a plain struct:
//! `cargo run --release -p k2p-pipelines --example figures`.
//!
//! Prints medians of interleaved rounds over the same lines, in the thread's CPU time (a busy
//! machine's wall clock says little); asserts nothing on time.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example that prints figures")]
use std::hint::black_box;
use std::time::Instant;

use k2p_pipelines::event::{EventFact, EventLimits, ParsedEvents, parse_record};
use k2p_pipelines::series::{Series, SeriesLimits};
use k2p_pipelines::template::TemplateSet;
use serde::Deserialize;

const EVENTS: usize = 20_000;
const PER_RECORD: usize = 100;
const ROUNDS: usize = 15;

/// The plain struct: owned text, unknown fields left out, nothing checked.
#[derive(Deserialize)]
#[allow(dead_code, reason = "only made, never read")]
struct PlainLog {
    timestamp: String,
    env: Option<String>,
    pipeline_id: String,
    run_id: Option<String>,
    step: Option<String>,
    component: Option<String>,
    level: String,
    message: Option<String>,
    error: Option<PlainError>,
    metrics: Option<PlainMetrics>,
    correlation_id: Option<String>,
    tags: Option<PlainTags>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only made, never read")]
struct PlainError {
    r#type: Option<String>,
    message: Option<String>,
    stack: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only made, never read")]
struct PlainMetrics {
    rows_written: Option<f64>,
    rows_read: Option<f64>,
    duration_ms: Option<f64>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only made, never read")]
struct PlainTags {
    owner: Option<String>,
    dataset: Option<String>,
}

fn line(n: usize) -> String {
    let (pipeline, step) = (n % 200, n % 7);
    let head = format!(
        r#"{{"timestamp":"2026-11-21T06:{:02}:{:02}.{:03}Z","env":"prod","pipeline_id":"pipeline_{pipeline}","run_id":"123e4567-e89b-12d3-a456-{n:012}","step":"step_{step}","component":"spark","correlation_id":"corr-{n}""#,
        n / 60 % 60,
        n % 60,
        n % 1000,
    );
    if n.is_multiple_of(20) {
        return format!(
            r#"{head},"level":"ERROR","message":"stage {n} failed","error":{{"type":"org.apache.spark.SparkException","message":"Job aborted","stack":"at a.b.C\n\tat d.e.F\n\tat g.h.I"}},"tags":{{"owner":"sales","dataset":"bronze.orders"}}}}"#
        );
    }
    format!(
        r#"{head},"level":"INFO","message":"wrote partition {n} of the day","metrics":{{"rows_written":{n},"rows_read":{},"duration_ms":{}.5}},"tags":{{"owner":"sales","dataset":"bronze.orders"}}}}"#,
        n + 17,
        n % 9000,
    )
}

fn shipped() -> TemplateSet {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<(String, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect();
    TemplateSet::load(&files).unwrap()
}

fn plain(records: &[String]) {
    for record in records {
        for line in record.lines() {
            black_box(serde_json::from_str::<PlainLog>(line).unwrap());
        }
    }
}

fn parse(records: &[String], mut each: impl FnMut(&ParsedEvents)) {
    let limits = EventLimits::default();
    for record in records {
        let mut parsed = ParsedEvents::default();
        parse_record(record.as_bytes(), None, None, &limits, &mut parsed);
        assert!(parsed.rejections.is_empty());
        each(&parsed);
    }
}

fn apply(records: &[String], templates: &TemplateSet, series: &mut Series) {
    parse(records, |parsed| {
        for (_, event) in &parsed.events {
            black_box(series.apply(templates, &EventFact::new(event)));
        }
    });
}

/// What this thread has used of a core (Linux).
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    let lines: Vec<String> = (0..EVENTS).map(line).collect();
    let records: Vec<String> = lines.chunks(PER_RECORD).map(|chunk| chunk.join("\n")).collect();
    let bytes: usize = records.iter().map(String::len).sum();
    let templates = shipped();
    let mut series = Series::new(SeriesLimits { subjects: 10_000, partition: 0 });
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let mut clock = cpu_seconds();
        let mut lap = |place: usize| {
            let now = cpu_seconds();
            times[place].push(now - clock);
            clock = now;
        };
        plain(&records);
        lap(0);
        parse(&records, |parsed| {
            black_box(parsed.events.len());
        });
        lap(1);
        apply(&records, &templates, &mut series);
        lap(2);
    }
    let [plain, parsed, applied] = times.map(median);
    let show = |what: &str, seconds: f64| {
        let (events, megabytes) = (EVENTS as f64 / seconds, bytes as f64 / seconds / 1e6);
        println!("{what:<34} {events:>10.0} events/s {megabytes:>6.0} MB/s  {:.2} x serde_json", plain / seconds);
    };
    println!("{EVENTS} log events of {} bytes, {} templates, one core", bytes / EVENTS, templates.metrics().len());
    show("serde_json into a plain struct", plain);
    show("parse_record", parsed);
    show("parse_record and Series::apply", applied);
    snapshot(&series, &templates);
}

fn snapshot(series: &Series, templates: &TemplateSet) {
    let clock = Instant::now();
    let bytes = series.encode();
    let encoded = clock.elapsed();
    let clock = Instant::now();
    let limits = SeriesLimits { subjects: 10_000, partition: 0 };
    let read = Series::decode(&bytes, templates, limits).unwrap();
    println!(
        "snapshot of {} label sets: {} bytes, written in {encoded:?}, read in {:?}",
        read.len(),
        bytes.len(),
        clock.elapsed()
    );
    let clock = Instant::now();
    for subject in read.subjects() {
        black_box(read.render(subject).families().len());
    }
    println!("rendered {} subjects in {:?}", read.subjects().len(), clock.elapsed());
}
