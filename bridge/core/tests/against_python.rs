//! Random expositions, valid and damaged, read by us and by Python's `prometheus_client`,
//! which shares no code with us: families, samples, values and timestamps must be the same.
//! Where the two may differ, [`EXCUSES`] says why.
//!
//! Needs `K2P_PYTHON_LIBS` (`tests/fetch/python`); `K2P_LONG=1` reads twenty times as much.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#[path = "against_python/bodies.rs"]
mod bodies;
#[path = "against_python/excuses.rs"]
mod excuses;
#[path = "against_python/reading.rs"]
mod reading;

use std::collections::BTreeMap;

use bodies::{Body, damaged, valid};
use excuses::excuse;
use k2p_core::codec::{Format, ParseOptions, parse, parse_strict};
use reading::{Reading, ours, theirs};

/// How many bodies of each kind.
fn many() -> u64 {
    match std::env::var("K2P_LONG").as_deref() {
        Ok("1") => 10_000,
        _ => 500,
    }
}

/// What python makes of the bodies; `None`, and said, where there is no python.
fn read_by_python(bodies: &[Body]) -> Option<Vec<Result<Reading, String>>> {
    let read = theirs(bodies);
    if read.is_none() {
        let why = "prometheus_client is missing: run tests/fetch/python, set K2P_PYTHON_LIBS";
        assert!(std::env::var("K2P_REQUIRE_ALL").as_deref() != Ok("1"), "{why}");
        eprintln!("SKIPPED: {why}");
        if let Some(path) = std::env::var_os("K2P_SKIP_LOG") {
            let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            std::io::Write::write_all(&mut log, format!("against_python\t{why}\n").as_bytes()).unwrap();
        }
    }
    read
}

#[test]
fn valid_expositions_are_read_alike() {
    let bodies: Vec<Body> =
        (0..many()).flat_map(|seed| [Format::Text, Format::OpenMetrics].map(|f| valid(f, seed))).collect();
    let Some(theirs) = read_by_python(&bodies) else { return };
    for (body, theirs) in bodies.iter().zip(theirs) {
        let parsed = parse_strict(body.format, body.text.as_bytes(), &ParseOptions::default());
        let parsed = parsed.unwrap_or_else(|e| panic!("we refuse: {e:?}\n{}", body.text));
        let theirs = theirs.unwrap_or_else(|e| panic!("they refuse: {e}\n{}", body.text));
        let ours = ours(body.format, &parsed);
        assert!(!ours.samples.is_empty(), "{}", body.text);
        assert_eq!(ours.families, theirs.families, "{}", body.text);
        assert_eq!(ours.samples, theirs.samples, "{}", body.text);
    }
}

#[test]
fn damaged_expositions_differ_only_where_there_is_an_excuse() {
    let bodies: Vec<Body> =
        (0..many() * 2).flat_map(|seed| [Format::Text, Format::OpenMetrics].map(|f| damaged(f, seed))).collect();
    let Some(theirs) = read_by_python(&bodies) else { return };
    let (mut wrong, mut excused, mut agreed) = (BTreeMap::new(), BTreeMap::<&str, usize>::new(), [0, 0]);
    for (body, theirs) in bodies.iter().zip(theirs) {
        let options = ParseOptions::default();
        let strict = parse_strict(body.format, body.text.as_bytes(), &options);
        let difference = match (&strict, theirs) {
            (Err(_), Err(_)) => {
                agreed[0] += 1;
                continue;
            }
            (Ok(parsed), Ok(theirs)) => ours(body.format, parsed).samples.difference(&theirs.samples),
            (Ok(_), Err(error)) => Some(format!("only they refuse: {error}")),
            (Err(rejection), Ok(theirs)) => {
                // What we refuse costs a line: the others must be theirs too.
                let lenient = parse(body.format, body.text.as_bytes(), &options);
                let rest =
                    lenient.ok().and_then(|parsed| ours(body.format, &parsed).samples.unknown_to(&theirs.samples));
                Some(rest.unwrap_or_else(|| format!("only we refuse: {}: {}", rejection.reason, rejection.detail)))
            }
        };
        match difference {
            None => agreed[1] += 1,
            Some(difference) => match excuse(body, &difference) {
                Some(why) => *excused.entry(why).or_default() += 1,
                None => {
                    let kind: String = difference.chars().take(40).collect();
                    let told = format!("{:?}: {difference}\n{}", body.format, body.text);
                    wrong.entry(kind).or_insert((0, told)).0 += 1;
                }
            },
        }
    }
    eprintln!("both refuse {}, both accept {}, excused {excused:#?}", agreed[0], agreed[1]);
    let shown: Vec<String> = wrong.values().map(|(count, one)| format!("{count} such:\n{one}")).collect();
    assert!(wrong.is_empty(), "of {} differ\n{}", bodies.len(), shown.join("\n"));
    assert!(agreed.iter().all(|n| *n > bodies.len() / 20), "both verdicts must be frequent: {agreed:?}");
}
