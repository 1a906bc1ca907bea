//! The replayed state against `tests/reference/pipelines.py`, which computes the same from
//! the same records in another language and without a line of ours.
#![allow(clippy::unwrap_used, reason = "tests")]
mod stream;

use stream::{Shape, bed};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Sums of floats may differ in their last digits: all else is text.
fn same(ours: &str, theirs: &str) -> bool {
    let (Some((our_name, our_value)), Some((their_name, their_value))) =
        (ours.rsplit_once(' '), theirs.rsplit_once(' '))
    else {
        return false;
    };
    if our_name != their_name {
        return false;
    }
    match (our_value.parse::<f64>(), their_value.parse::<f64>()) {
        (Ok(a), Ok(b)) if !our_name.starts_with("run ") => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => our_value == their_value,
    }
}

fn compare(ours: &[String], theirs: &[String]) {
    let differing: Vec<_> = ours.iter().zip(theirs).filter(|(a, b)| !same(a, b)).take(10).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn a_hundred_thousand_events_add_up_as_the_reference_says() {
    let long = std::env::var("K2P_LONG").is_ok_and(|v| v == "1");
    let events = if long { 1_000_000 } else { 100_000 };
    let shape = Shape { seed: 7, events, pipelines: 40, duplicates: 20, malformed: 30 };
    let log = stream::log(&shape);
    let (log, mut state) = bed::judged(&log, 20);
    let ours = bed::lines(&mut state);
    let theirs = stream::reference(REPOSITORY, log.iter().cloned());
    let theirs: Vec<String> = theirs.lines().map(str::to_owned).collect();
    compare(&ours, &theirs);
    // The stream has in it what it is meant to have.
    for word in
        ["pipeline_runs_lost_total", "pipeline_sla_missed_total", "pipeline_retries_exhausted_total", " PARTIAL "]
    {
        assert!(ours.iter().any(|line| line.contains(word)), "no {word}");
    }
    assert!(log.iter().filter(|r| r.headers.iter().any(|(n, _)| n == "k2p-op")).count() > 100);
}

#[test]
fn the_comparison_can_fail() {
    for (ours, theirs, expected) in [
        ("a{} 1", "a{} 1.0", true),
        ("a{} 0.30000000000000004", "a{} 0.3", true),
        ("a{} 1", "a{} 2", false),
        ("a{} 1", "b{} 1", false),
        ("run p r FAILED 0 0:FAILED", "run p r LOST 0 0:FAILED", false),
        ("run p r FAILED 0 0:FAILED", "run p r FAILED 0 0:FAILED", true),
    ] {
        assert_eq!(same(ours, theirs), expected, "{ours} {theirs}");
    }
}
