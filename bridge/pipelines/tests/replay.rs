//! Replayed state is a function of the log's prefix: snapshots, repeats, zombies and
//! clocks change nothing.
#![allow(clippy::unwrap_used, reason = "tests")]
mod stream;

use std::sync::Arc;

use k2p_pipelines::runs::Verdict;
use k2p_pipelines::snapshot::SnapshotError;
use k2p_pipelines::state::{EventConfig, EventState, Issued, Judgement, Outcome};
use k2p_pipelines::template::TemplateSet;
use proptest::prelude::*;

use stream::{Dice, Record, STRIDE, Shape, bed};

fn shape(seed: u64, events: usize) -> Shape {
    Shape { seed, events, pipelines: 4, duplicates: 15, malformed: 20 }
}

fn restore(bytes: &[u8], config: Arc<EventConfig>) -> Result<EventState, SnapshotError> {
    let templates = bed::templates(bed::TEMPLATES);
    EventState::restore(bytes, config, 3, &|hash| (hash == templates.hash()).then(|| templates.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Stopped at any place, written down, read back and gone on with: the same to the
    /// byte, the next snapshot included.
    #[test]
    fn a_snapshot_anywhere_changes_nothing(
        seed in any::<u64>(), cuts in prop::collection::vec(0.0..1.0f64, 1..4)
    ) {
        let (log, mut straight) = bed::judged(&stream::log(&shape(seed, 400)), 5);
        let mut cuts: Vec<usize> = cuts.iter().map(|c| (c * log.len() as f64) as usize).collect();
        cuts.sort_unstable();
        let mut state = bed::fresh();
        for (at, record) in log.iter().enumerate() {
            for _ in cuts.iter().filter(|cut| **cut == at) {
                state.publish(0);
                state = restore(&state.snapshot(), bed::roomy()).unwrap();
            }
            bed::apply(&mut state, record);
        }
        prop_assert_eq!(state.snapshot(), straight.snapshot());
        prop_assert_eq!(state.position(), straight.position());
        prop_assert_eq!(bed::face(&mut state), bed::face(&mut straight));
    }

    /// A record that comes again with its id, at once or later, is as if it had not.
    #[test]
    fn a_repeated_id_changes_nothing(seed in any::<u64>(), often in 1..5u64) {
        let clean = stream::log(&Shape { duplicates: 0, ..shape(seed, 400) });
        let mut dice = Dice::new(seed ^ 1);
        let (mut once, mut again) = (bed::fresh(), bed::fresh());
        for (at, record) in clean.iter().enumerate() {
            bed::apply(&mut once, record);
            bed::apply(&mut again, record);
            for n in 1..STRIDE {
                if !dice.one_in(often) {
                    break;
                }
                let earlier = &clean[dice.roll(at as u64 + 1) as usize];
                let repeat = Record { offset: record.offset + n, timestamp: record.timestamp, ..earlier.clone() };
                prop_assert_eq!(bed::apply(&mut again, &repeat).outcome, Outcome::Duplicate);
            }
        }
        prop_assert_eq!(bed::face(&mut again), bed::face(&mut once));
    }

    /// Beside the owner a zombie judges: from an older state, by a clock that is ahead or
    /// behind, before or after the owner. Every verdict counts once, none too early.
    #[test]
    fn a_zombies_judgements_change_nothing(
        seed in any::<u64>(), lag in 0..60usize, skew in -400_000..400_000i64, first in any::<bool>()
    ) {
        let clean = stream::log(&shape(seed, 400));
        let (mut owner, mut both, mut zombie) = (bed::fresh(), bed::fresh(), bed::fresh());
        for (at, record) in clean.iter().enumerate() {
            bed::apply(&mut owner, record);
            bed::apply(&mut both, record);
            if at >= lag {
                bed::apply(&mut zombie, &clean[at - lag]);
            }
            let due = owner.due(record.timestamp);
            // The owner alone.
            append(&mut owner, &due, record);
            // The owner and a zombie.
            let strange = zombie.due(record.timestamp + skew);
            let (one, two) = if first { (&strange, &due) } else { (&due, &strange) };
            append(&mut both, one, record);
            append(&mut both, two, record);
        }
        prop_assert_eq!(bed::told(&mut both), bed::told(&mut owner));
    }

    /// How often it is published has no influence, and what is published bit by bit is
    /// what is published at once.
    #[test]
    fn publishing_changes_nothing(seed in any::<u64>(), every in 1..40usize) {
        let (log, mut straight) = bed::judged(&stream::log(&shape(seed, 400)), 5);
        let mut state = bed::fresh();
        for (at, record) in log.iter().enumerate() {
            bed::apply(&mut state, record);
            if at % every == 0 {
                state.publish(at as i64);
                state.runs();
            }
        }
        prop_assert_eq!(state.snapshot(), straight.snapshot());
        prop_assert_eq!(bed::face(&mut state), bed::face(&mut straight));
        let (bit, whole) = (state.publish(0), restore(&state.snapshot(), bed::roomy()).unwrap().publish(0));
        prop_assert_eq!((bit.series, bit.bytes), (whole.series, whole.bytes));
        prop_assert_eq!(bit.origins.len(), whole.origins.len());
    }
}

/// Appends judgements as records after another one.
fn append(state: &mut EventState, judgements: &[Judgement], after: &Record) {
    for judgement in judgements {
        assert!(state.position() < after.offset + STRIDE, "no offset is left before the next record");
        bed::apply(state, &bed::appended(judgement.to_record(), state.position(), after.timestamp));
    }
}

fn event(offset: i64, seconds: i64, line: &str) -> Record {
    let key = Some(b"p".to_vec());
    Record { offset, timestamp: seconds * 1000, key, headers: Vec::new(), value: line.into() }
}

fn value(state: &mut EventState, name: &str) -> String {
    let found: Vec<String> = bed::lines(state).into_iter().filter(|line| line.starts_with(name)).collect();
    found.join("; ")
}

#[test]
fn an_sla_is_missed_across_a_failover() {
    let mut owner = bed::fresh();
    bed::apply(
        &mut owner,
        &event(0, 100, r#"{"run_id":"r","pipeline_id":"p","status":"RUNNING","start_ts":100,"sla_target_ms":60000}"#),
    );
    let snapshot = owner.snapshot();
    assert!(owner.due(160_000).is_empty());
    let due = owner.due(160_001);
    assert_eq!((due.len(), due[0].sentence.verdict, due[0].judged), (1, Verdict::Sla, 0));
    // The owner dies with its judgement on the way; the next one judges again.
    let mut next = restore(&snapshot, bed::roomy()).unwrap();
    let again = next.due(161_000);
    assert_eq!(again, due);
    let records = [(1, 160_050), (2, 161_020)].map(|(offset, time)| bed::appended(due[0].to_record(), offset, time));
    let outcomes = records.each_ref().map(|record| bed::apply(&mut next, record).outcome);
    let judged = |held| Outcome::Judged { verdict: Verdict::Sla, held };
    assert_eq!(outcomes, [judged(true), judged(false)]);
    assert_eq!(value(&mut next, "pipeline_sla_missed_total"), r#"pipeline_sla_missed_total{pipeline_id="p"} 1"#);
    assert!(next.due(999_000).iter().all(|j| j.sentence.verdict == Verdict::Lost));
}

#[test]
fn a_judge_ahead_of_the_brokers_clock_is_not_believed_and_does_not_flood() {
    let mut state = bed::fresh();
    bed::apply(
        &mut state,
        &event(0, 100, r#"{"run_id":"r","pipeline_id":"p","status":"RUNNING","start_ts":100,"sla_target_ms":60000}"#),
    );
    let (mut issued, mut appended) = (Issued::default(), 0);
    // An hour ahead, for a minute of the broker's time.
    for second in 100..=160 {
        let now = second * 1000 + 3_600_000;
        for judgement in issued.fresh(state.due(now), now) {
            appended += 1;
            let record = bed::appended(judgement.to_record(), appended, second * 1000);
            assert!(matches!(bed::apply(&mut state, &record).outcome, Outcome::Judged { held: false, .. }));
        }
    }
    assert_eq!(appended, 12, "six of each: after 0, 1, 3, 7, 15, 31 s");
    assert_eq!(value(&mut state, "pipeline_sla_missed_total"), "");
}

#[test]
fn what_is_no_event_is_refused_or_passed_over() {
    let mut state = bed::fresh();
    let good = r#"{"level":"INFO","timestamp":1,"pipeline_id":"p"}"#;
    let with =
        |name: &str, text: &str, line: &str| Record { headers: vec![(name.into(), text.into())], ..event(0, 1, line) };
    let mut offset = 10;
    let mut outcome = |record: Record| {
        offset += 1;
        let applied = bed::apply(&mut state, &Record { offset, ..record });
        let reasons: Vec<&str> = applied.rejections.iter().map(|r| r.reason.as_str()).collect();
        format!("{:?} {} {}", applied.outcome, applied.accepted, reasons.join(",")).chars().take(60).collect::<String>()
    };
    for (record, expected) in [
        (event(0, 1, good), "Accepted 1 "),
        (event(0, 1, ""), "Empty 0 "),
        (event(0, 1, &format!("{good}\nno\n{good}")), "Accepted 2 syntax"),
        (event(0, 1, r#"{"level":"INFO","timestamp":1,"pipeline_id":"q"}"#), "Accepted 0 miskeyed"),
        (Record { key: None, ..event(0, 1, good) }, "Accepted 0 miskeyed"),
        (with("k2p-id", "a;1", good), "Accepted 1 "),
        (with("k2p-id", "a;1", good), "Duplicate 0 "),
        (with("k2p-id", "a", good), "Refused(Refusal { reason: BadHeader"),
        (with("content-encoding", "gzip", good), "Refused(Refusal { reason: BadEncoding"),
        (with("k2p-op", "sla", good), "Refused(Refusal { reason: BadHeader"),
        (with("k2p-op", "dance", good), "Refused(Refusal { reason: BadHeader"),
    ] {
        let found = outcome(record);
        assert!(found.starts_with(expected), "{found:?} instead of {expected:?}");
    }
    let late = bed::apply(&mut state, &Record { offset: 3, ..event(0, 1, good) });
    assert_eq!(late.outcome, Outcome::Passed);
    assert_eq!(value(&mut state, "pipeline_log"), r#"pipeline_log_events_total{level="INFO",pipeline_id="p"} 4"#);
}

const SMALL: &str = "metrics:\n  - {name: lines_total, type: counter, help: Lines., match: {kind: log}}\n";
const LARGE: &str = "metrics:\n  - {name: lines_total, type: counter, help: Lines., match: {kind: log}}\n  - {name: runs_active, type: gauge, help: Runs., match: {kind: pipeline_state}, value: {field: runs_active}}\n";

/// Applies a change of templates with both at hand.
fn change(state: &mut EventState, record: &Record, at_hand: &[&Arc<TemplateSet>]) -> Result<bool, (String, bool)> {
    let library = |hash: &str| at_hand.iter().find(|t| t.hash() == hash).map(|t| Arc::clone(t));
    match record.lend(|raw| state.apply(raw, &library)) {
        Ok(applied) => Ok(matches!(applied.outcome, Outcome::Templates { held: true, .. })),
        Err(needs) => Err((needs.hash.into(), needs.from_the_beginning)),
    }
}

#[test]
fn a_change_of_templates_is_a_record() {
    let (small, large) = (bed::templates(SMALL), bed::templates(LARGE));
    let mut state = EventState::new(bed::roomy(), 3, small.clone());
    let log = r#"{"level":"INFO","timestamp":1,"pipeline_id":"p"}"#;
    bed::apply(
        &mut state,
        &event(0, 1, &format!("{log}\n{{\"run_id\":\"r\",\"pipeline_id\":\"p\",\"status\":\"RUNNING\"}}")),
    );
    assert!(state.wants_templates(small.hash()), "the log does not say yet which ones");
    let first = bed::appended(state.template_change(small.hash()), 1, 1000);
    assert_eq!(change(&mut state, &first, &[]), Ok(true));
    assert!(!state.wants_templates(small.hash()) && state.wants_templates(large.hash()));

    // Not at hand: nothing changes, the same record again.
    let second = bed::appended(state.template_change(large.hash()), 2, 1000);
    assert_eq!(change(&mut state, &second, &[&small]), Err((large.hash().to_owned(), false)));
    assert_eq!(state.position(), 2);
    assert_eq!(change(&mut state, &second, &[&small, &large]), Ok(true));
    assert_eq!(state.templates().hash(), large.hash());
    // A metric that means the same goes on; a new gauge begins with the state there is.
    bed::apply(&mut state, &event(4, 2, log));
    assert_eq!(value(&mut state, "lines_total"), r#"lines_total{pipeline_id="p"} 2"#);
    assert_eq!(value(&mut state, "runs_active"), r#"runs_active{pipeline_id="p"} 1"#);

    // Another owner that did not know of it.
    let zombie = bed::appended(EventState::new(bed::roomy(), 3, small.clone()).template_change(small.hash()), 5, 1000);
    assert_eq!(change(&mut state, &zombie, &[&small, &large]), Ok(false));
    assert_eq!(state.templates().hash(), large.hash());

    // The next owner has other templates, and neither snapshot nor these at hand.
    let mut next = EventState::new(bed::roomy(), 3, large.clone());
    bed::apply(&mut next, &event(0, 1, log));
    assert_eq!(change(&mut next, &first, &[&small, &large]), Err((small.hash().to_owned(), true)));
    let bytes = state.snapshot();
    let missing = EventState::restore(&bytes, bed::roomy(), 3, &|_| None).unwrap_err();
    assert_eq!(missing, SnapshotError::NeedsTemplates(large.hash().to_owned()));
}

#[test]
fn a_snapshot_that_cannot_be_used_says_why() {
    let (_, state) = bed::judged(&stream::log(&shape(1, 100)), 5);
    let good = state.snapshot();
    let fails = |bytes: &[u8], config: EventConfig, expected: &str| {
        let text = restore(bytes, Arc::new(config)).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    let config = || (*bed::roomy()).clone();
    fails(&good, EventConfig { topic: "other".into(), ..config() }, "is of k2p.events/3, not of other/3");
    fails(&good, EventConfig { snapshot_bytes: 100, ..config() }, "more than 100 bytes");
    fails(&good[..good.len() / 2], config(), "damaged in body");
    let mut newer = good.clone();
    newer[4] = 9;
    fails(&newer, config(), "version 9, this bridge reads up to 1");
    fails(b"{}", config(), "does not begin with K2PE");
}

#[test]
fn pipelines_above_the_limit_share_one_subject() {
    let config = EventConfig { max_subjects: 2, ..(*bed::roomy()).clone() };
    let mut state = EventState::new(Arc::new(config), 3, bed::templates(bed::TEMPLATES));
    let mut overflowing = 0;
    for (offset, name) in (0..).zip(["a", "b", "c", "d", "other/9", "a"]) {
        let line = format!(r#"{{"run_id":"r","pipeline_id":"{name}","status":"RUNNING","retry_count":1}}"#);
        let record = Record { key: Some(name.as_bytes().to_vec()), ..event(offset, 1, &line) };
        overflowing += bed::apply(&mut state, &record).overflowing;
    }
    assert_eq!(overflowing, 3);
    assert_eq!(
        value(&mut state, "pipeline_retries_total"),
        "pipeline_retries_total{pipeline_id=\"a\"} 1; pipeline_retries_total{pipeline_id=\"b\"} 1; \
         pipeline_retries_total{pipeline_id=\"other/3\"} 1"
    );
}
