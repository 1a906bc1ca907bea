//! What replayed state costs. No assertion on time: these print.
//!
//! ```sh
//! cargo test --release -p k2p-pipelines --test figures -- --ignored --nocapture --test-threads=1
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints")]
mod stream;

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use k2p_pipelines::event::{EventLimits, ParsedEvents, parse_record};
use k2p_pipelines::state::EventState;
use serde::Deserialize;

use stream::{Record, Shape, bed};

/// A log event as a program would declare it that wants nothing else.
#[derive(Deserialize)]
#[allow(dead_code, reason = "parsed, as it is in a program that uses it")]
struct Plain {
    timestamp: Option<serde_json::Value>,
    pipeline_id: Option<String>,
    run_id: Option<String>,
    step: Option<String>,
    component: Option<String>,
    level: Option<String>,
    message: Option<String>,
    status: Option<String>,
    operation: Option<String>,
    dataset: Option<String>,
    correlation_id: Option<String>,
    retry_count: Option<u32>,
    start_ts: Option<serde_json::Value>,
    end_ts: Option<serde_json::Value>,
    error: Option<PlainError>,
    metrics: Option<PlainMetrics>,
    tags: Option<PlainTags>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "as above")]
struct PlainError {
    r#type: Option<String>,
    message: Option<String>,
    stack: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "as above")]
struct PlainMetrics {
    rows_read: Option<f64>,
    rows_written: Option<f64>,
    duration_ms: Option<f64>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "as above")]
struct PlainTags {
    owner: Option<String>,
    dataset: Option<String>,
}

fn lines(log: &[Record]) -> usize {
    log.iter().map(|r| r.value.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count()).sum()
}

fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

/// CPU seconds of this process: the machine is shared.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn serde_alone(log: &[Record]) -> f64 {
    let begin = cpu();
    for record in log {
        for line in record.value.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            black_box(serde_json::from_slice::<Plain>(line).ok());
        }
    }
    cpu() - begin
}

fn parse_alone(log: &[Record]) -> f64 {
    let begin = cpu();
    for record in log {
        let mut parsed = ParsedEvents::default();
        parse_record(&record.value, None, None, &EventLimits::default(), &mut parsed);
        black_box(parsed);
    }
    cpu() - begin
}

fn whole(log: &[Record], every: usize) -> (f64, EventState) {
    let mut state = bed::fresh();
    let begin = cpu();
    for (at, record) in log.iter().enumerate() {
        black_box(bed::apply(&mut state, record));
        if every > 0 && at % every == 0 {
            black_box((state.publish(0), state.runs()));
        }
    }
    (cpu() - begin, state)
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_events_per_second() {
    let log = stream::log(&Shape { seed: 1, events: 200_000, pipelines: 100, duplicates: 50, malformed: 0 });
    let events = lines(&log) as f64;
    let bytes: usize = log.iter().map(|r| r.value.len()).sum();
    println!("{events} events, {:.0} bytes each, {:.1} a record", bytes as f64 / events, events / log.len() as f64);
    for round in 0..5 {
        let alone = serde_alone(&log);
        let parsed = parse_alone(&log);
        let (state, _) = whole(&log, 0);
        let (published, _) = whole(&log, 1000);
        println!(
            "round {round}: serde_json into a struct {:.0} events/s; parse_record {:.0} ({:.2}); EventState {:.0} ({:.2}); published every 1000 records {:.0} ({:.2})",
            events / alone,
            events / parsed,
            alone / parsed,
            events / state,
            alone / state,
            events / published,
            alone / published
        );
    }
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_memory_per_open_run() {
    let runs = 50_000;
    let mut state = bed::fresh();
    let before = resident();
    for n in 0..runs {
        let name = format!("pipeline_{}", n % 100);
        let head = format!(r#""pipeline_id":"{name}","run_id":"scheduled__2026-01-01T00:00:00+00:00-{n}""#);
        let mut value = format!(
            r#"{{{head},"status":"RUNNING","start_ts":1760000000,"sla_target_ms":60000,"owner":"ann","triggered_by":"cron","current_step":"load","correlation_id":"c-{n}","dag_version":"0123456789abcdef","trigger_type":"schedule"}}"#
        );
        for step in ["extract", "transform", "load"] {
            value.push_str(&format!("\n{{\"timestamp\":1760000001,{head},\"step\":\"{step}\",\"level\":\"INFO\",\"message\":\"done\",\"metrics\":{{\"rows_read\":5,\"duration_ms\":7}},\"correlation_id\":\"c-{n}\"}}"));
        }
        let key = Some(name.into_bytes());
        bed::apply(
            &mut state,
            &Record { offset: n, timestamp: 1_760_000_000_000, key, headers: Vec::new(), value: value.into_bytes() },
        );
    }
    assert_eq!(state.open_runs(), runs as usize);
    println!(
        "{:.0} bytes of memory for each of {runs} open runs with three steps",
        (resident() - before) / runs as f64
    );
    let begin = cpu();
    black_box(state.due(1_760_000_000_000));
    println!("due over {runs} open runs: {:.1} ms", (cpu() - begin) * 1000.0);
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_snapshot_of_a_million_updates() {
    let log = stream::log(&Shape { seed: 2, events: 400_000, pipelines: 200, duplicates: 50, malformed: 0 });
    let mut config = (*bed::roomy()).clone();
    config.runs = Default::default();
    let templates = bed::shipped();
    let mut state = EventState::new(config.clone().into(), 3, templates.clone());
    let begin = Instant::now();
    bed::apply_all(&mut state, &log);
    println!("replay of {} events: {:.2} s", lines(&log), begin.elapsed().as_secs_f64());
    let begin = cpu();
    let bytes = state.snapshot();
    println!("snapshot: {} bytes, {:.0} ms of CPU", bytes.len(), (cpu() - begin) * 1000.0);
    let begin = cpu();
    let mut back = EventState::restore(&bytes, config.into(), 3, &|_| Some(templates.clone())).unwrap();
    println!("restore: {:.0} ms of CPU", (cpu() - begin) * 1000.0);
    let begin = cpu();
    let view = back.publish(0);
    println!(
        "first publish: {:.0} ms of CPU, {} series of {} subjects",
        (cpu() - begin) * 1000.0,
        view.series,
        view.origins.len()
    );
    assert_eq!(bed::told(&mut back), bed::told(&mut state));
}
