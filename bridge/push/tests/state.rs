//! The groups of a partition are a function of its log's prefix: against a tiny reference,
//! through snapshots, repeats and garbage.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k2p_core::envelope::{ID, RawRecord};
use k2p_push::record::{self, JUDGED, OP, Op};
use k2p_push::state::{Expiry, Issued, Outcome, PushConfig, SnapshotError};
use k2p_push::{GroupingKey, PushState};
use proptest::prelude::*;

/// A record as it lies in a log.
#[derive(Debug, Clone, Default)]
struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    time: i64,
    offset: i64,
}

impl Record {
    fn new(op: Op, key: &str, body: &str, ttl: Option<i64>) -> Record {
        let headers = record::headers(op, None, None, ttl);
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Record { key: key.into(), value: body.into(), headers, ..Record::default() }
    }

    fn with(mut self, name: &str, value: &str) -> Record {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn at(mut self, offset: i64, time: i64) -> Record {
        (self.offset, self.time) = (offset, time);
        self
    }
}

fn config() -> Arc<PushConfig> {
    Arc::new(PushConfig { topic: "k2p.push".into(), ..PushConfig::default() })
}

fn fresh() -> PushState {
    PushState::new(config(), 3)
}

fn apply(state: &mut PushState, record: &Record) -> Outcome {
    let headers: Vec<(&str, &[u8])> = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let (key, value) = (Some(record.key.as_slice()), Some(record.value.as_slice()));
    state.apply(&RawRecord { key, value, headers: &headers, timestamp: Some(record.time), offset: record.offset })
}

/// What a reader sees: of each group its text and its times, by key.
fn face(state: &mut PushState) -> BTreeMap<String, String> {
    let view = state.publish(0);
    let groups = state.groups();
    assert_eq!(view.position, groups.position);
    let shown: BTreeSet<&str> = view.origins.keys().map(|k| &**k).collect();
    assert_eq!(shown, groups.groups.keys().map(|k| &**k).collect());
    let one = |group: &k2p_push::Group| {
        let dump = view.origins[group.key().canonical()].dump.clone().unwrap();
        assert_eq!(dump.series(), group.series() + 2);
        format!("{:?} {:?} {:?}\n{}", group.expires(), group.failure(), group.last_push_succeeded(), group.text())
    };
    groups.groups.iter().map(|(key, group)| (key.to_string(), one(group))).collect()
}

const A: &str = "job=\"a\"";
const B: &str = "instance=\"i\",job=\"a\"";
const C: &str = "instance=\"\",job=\"a\",x=\"1\"";

/// Families (name to line), when pushed, when failed, when it goes.
type Group = (BTreeMap<String, String>, i64, i64, Option<i64>);
/// The same, as told: the lines alone.
type Told = BTreeMap<String, (Vec<String>, i64, i64, Option<i64>)>;

/// The semantics, said once more as plainly as possible: of each key its families (name to
/// line), when pushed, when failed, and when it goes.
#[derive(Default)]
struct Reference {
    groups: BTreeMap<String, Group>,
    ids: BTreeSet<Vec<u8>>,
}

impl Reference {
    fn apply(&mut self, r: &Record) {
        let header = |name: &str| r.headers.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        if header(ID).is_some_and(|id| !self.ids.insert(id)) {
            return;
        }
        let text = |name: &str| header(name).map(|v| String::from_utf8(v).unwrap());
        let (op, key) = (text(OP).unwrap_or_default(), String::from_utf8_lossy(&r.key).into_owned());
        let expires = text("k2p-ttl").map(|ttl| r.time + ttl.parse::<i64>().unwrap());
        let body = String::from_utf8_lossy(&r.value).into_owned();
        let bad = body.contains("garbage") || GroupingKey::from_record(key.as_bytes()).is_err();
        let lines = || body.lines().map(|l| (l.split(' ').next().unwrap().to_owned(), l.to_owned()));
        match op.as_str() {
            "wipe" => self.groups.clear(),
            _ if bad => {}
            "put" | "post" => {
                let group = self.groups.entry(key).or_default();
                if op == "put" {
                    group.0.clear();
                }
                group.0.extend(lines());
                (group.1, group.3) = (r.time, expires);
            }
            "delete" => drop(self.groups.remove(&key)),
            "refuse" => {
                let group = self.groups.entry(key).or_insert((BTreeMap::new(), 0, 0, expires));
                group.2 = r.time;
            }
            _ => {}
        }
    }

    fn face(&self) -> Told {
        let one = |(families, pushed, failed, expires): &Group| {
            (families.values().cloned().collect(), *pushed, *failed, *expires)
        };
        self.groups.iter().map(|(key, group)| (key.clone(), one(group))).collect()
    }
}

fn told(state: &PushState) -> Told {
    let one = |group: &k2p_push::Group| {
        let line = |s: k2p_push::PushedSample<'_>| format!("{} {}", s.name, s.value);
        let lines = group.families().flat_map(|f| f.samples().map(line).collect::<Vec<_>>()).collect();
        (lines, group.pushed().unwrap_or(0), group.failed().unwrap_or(0), group.expires())
    };
    state.groups().groups.iter().map(|(key, group)| (key.to_string(), one(group))).collect()
}

prop_compose! {
    fn any_record()(
        op in prop::sample::select(vec![Op::Put, Op::Put, Op::Post, Op::Post, Op::Delete, Op::Refuse, Op::Wipe]),
        key in prop::sample::select(vec![A, A, B, C, "job=\"\"", "nonsense"]),
        families in prop::collection::btree_map("[m-p]", 0..100u32, 0..4),
        ttl in prop::option::of(1..50i64),
        id in prop::option::of(0..30u32),
        bad in prop::sample::select(vec!["", "", "", "", "garbage{\n", "headless"]),
        step in 0..20i64,
    ) -> (Record, i64) {
        let body: String = families.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        let body = if bad == "garbage{\n" && matches!(op, Op::Put | Op::Post) { body + bad } else { body };
        let mut record = Record::new(op, key, &body, ttl);
        if let Some(id) = id {
            record = record.with(ID, &format!("client;{id}"));
        }
        if bad == "headless" {
            record.headers.retain(|(name, _)| name != OP);
        }
        (record, step)
    }
}

fn log() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(any_record(), 1..60).prop_map(|records| {
        let mut time = 1_700_000_000_000;
        let place = |(at, (record, step)): (usize, (Record, i64))| {
            time += step;
            record.at(i64::try_from(at).unwrap() * 2, time)
        };
        records.into_iter().enumerate().map(place).collect()
    })
}

proptest! {
    #[test]
    fn it_does_what_the_reference_says(log in log()) {
        let (mut state, mut reference) = (fresh(), Reference::default());
        for record in &log {
            apply(&mut state, record);
            reference.apply(record);
            prop_assert_eq!(told(&state), reference.face(), "{:?}", record);
        }
    }

    /// Stopped anywhere, written down, read back and gone on with: the same to the byte.
    #[test]
    fn a_snapshot_anywhere_changes_nothing(log in log(), cuts in prop::collection::vec(0..60usize, 1..4)) {
        let (mut straight, mut state) = (fresh(), fresh());
        for (at, record) in log.iter().enumerate() {
            if cuts.contains(&at) {
                state.publish(0);
                state = PushState::restore(&state.snapshot(), config(), 3).unwrap();
            }
            prop_assert_eq!(apply(&mut state, record), apply(&mut straight, record));
        }
        prop_assert_eq!(state.snapshot(), straight.snapshot());
        prop_assert_eq!(face(&mut state), face(&mut straight));
        let now = log.last().unwrap().time + 20;
        prop_assert_eq!(state.due(now, 100), straight.due(now, 100));
    }

    /// How often it is published has no influence on what is published in the end.
    #[test]
    fn publishing_changes_nothing(log in log(), every in 1..10usize) {
        let (mut straight, mut state) = (fresh(), fresh());
        for (at, record) in log.iter().enumerate() {
            apply(&mut straight, record);
            apply(&mut state, record);
            if at % every == 0 {
                state.publish(0);
            }
        }
        let (bit, whole) = (state.publish(0), straight.publish(0));
        prop_assert_eq!((bit.series, bit.bytes, bit.origins.len()), (whole.series, whole.bytes, whole.origins.len()));
        prop_assert_eq!(face(&mut state), face(&mut straight));
    }

    /// Owners and zombies with any clock append expiries: a group goes once, never before its
    /// time by the log's clock, never when it was pushed since.
    #[test]
    fn expiries_hold_by_the_logs_clock_alone(log in log(), skew in -40..40i64, late in any::<bool>()) {
        let mut state = fresh();
        let mut waiting: Vec<Expiry> = Vec::new();
        for record in &log {
            let mut due = std::mem::take(&mut waiting);
            if late {
                waiting = state.due(record.time + skew, 100);
            } else {
                due.extend(state.due(record.time + skew, 100));
            }
            for expiry in due {
                let before = state.groups().groups.get(&expiry.key).cloned();
                let mut appended = Record { key: expiry.key.as_bytes().to_vec(), ..Record::default() };
                appended.headers = expiry.headers().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
                let offset = state.position();
                let held = apply(&mut state, &appended.at(offset, record.time)) == Outcome::Applied(Op::Expire);
                let over = before.is_some_and(|g| g.expires().is_some_and(|at| at <= record.time));
                prop_assert!(!held || over, "{expiry:?}");
                prop_assert_eq!(state.groups().groups.contains_key(&expiry.key) && held, false);
            }
            let offset = state.position();
            apply(&mut state, &record.clone().at(offset, record.time));
        }
    }

    /// Damage is refused, never misread and never a panic.
    #[test]
    fn a_damaged_snapshot_is_refused(log in log(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut state = fresh();
        for record in &log {
            apply(&mut state, record);
        }
        let good = state.snapshot();
        let mut bad = good.clone();
        bad[at.index(good.len())] ^= 1 << bit;
        if let Ok(mut read) = PushState::restore(&bad, config(), 3) {
            prop_assert_eq!(face(&mut read), face(&mut state));
        }
        prop_assert!(PushState::restore(&good[..at.index(good.len())], config(), 3).is_err());
    }
}

#[test]
fn a_group_shows_what_the_pushgateway_shows() {
    let mut state = fresh();
    let body = "# HELP m some\\nhelp\n# TYPE m gauge\nm{job=\"x\",l=\"1\"} 1\n";
    assert_eq!(
        apply(&mut state, &Record::new(Op::Put, A, body, None).at(0, 1_732_190_400_123)),
        Outcome::Applied(Op::Put)
    );
    let expected = "# HELP m some\\nhelp\n# TYPE m gauge\nm{job=\"a\",l=\"1\",instance=\"\"} 1\n\
        # HELP push_time_seconds Last Unix time when changing this group in the Pushgateway succeeded.\n\
        # TYPE push_time_seconds gauge\npush_time_seconds{job=\"a\",instance=\"\"} 1732190400.123\n\
        # HELP push_failure_time_seconds Last Unix time when changing this group in the Pushgateway failed.\n\
        # TYPE push_failure_time_seconds gauge\npush_failure_time_seconds{job=\"a\",instance=\"\"} 0\n";
    assert_eq!(state.groups().groups[A].text(), expected);
    // What a scrape is written from says the same.
    let view = state.publish(0);
    let dump = view.origins[A].dump.clone().unwrap();
    let line = |s: k2p_core::store::StoredSample<'_>| format!("{}{{{},{}}} {}", s.name, s.injected, s.labels, s.value);
    let lines: Vec<String> = dump.families().flat_map(|f| f.samples().map(line).collect::<Vec<_>>()).collect();
    assert!(expected.contains(&lines[0]) && lines.len() == 3, "{lines:?}");
    // A failure is noted beside the last success, and a later success takes the lead again.
    apply(&mut state, &Record::new(Op::Refuse, A, "timestamps", None).at(1, 1_732_190_500_000));
    let group = state.groups().groups[A].clone();
    assert!(!group.last_push_succeeded() && group.failure() == Some("timestamps") && group.series() == 1);
    assert!(group.text().contains("push_failure_time_seconds{job=\"a\",instance=\"\"} 1732190500.000\n"));
    apply(&mut state, &Record::new(Op::Post, A, "n 2\n", None).at(2, 1_732_190_600_000));
    let group = state.groups().groups[A].clone();
    assert!(group.last_push_succeeded() && group.series() == 2);
    assert!(group.text().contains("1732190500.000\n") && group.text().contains("1732190600.000\n"));
    assert_eq!(group.family("n").unwrap().pushed(), 1_732_190_600_000);
    assert_eq!(group.family("m").unwrap().pushed(), 1_732_190_400_123);
}

#[test]
fn a_ttl_begins_with_each_push_and_ends_with_a_record() {
    let mut state = fresh();
    let judged = |state: &PushState, now| state.due(now, 10).first().map(|e| (e.key.to_string(), e.judged));
    apply(&mut state, &Record::new(Op::Put, A, "m 1\n", Some(100)).at(0, 1000));
    apply(&mut state, &Record::new(Op::Put, B, "m 1\n", None).at(1, 1000));
    assert_eq!(judged(&state, 1099), None);
    assert_eq!(judged(&state, 1100), Some((A.to_owned(), 0)));
    let expire = |judged: i64| Record::new(Op::Expire, A, "", None).with(JUDGED, &judged.to_string());
    // Too early by the log's clock, then pushed since, then it holds, then it is gone.
    assert_eq!(apply(&mut state, &expire(0).at(2, 1099)), Outcome::Void(Op::Expire));
    apply(&mut state, &Record::new(Op::Post, A, "n 1\n", Some(100)).at(3, 1150));
    assert_eq!(apply(&mut state, &expire(0).at(4, 2000)), Outcome::Void(Op::Expire));
    // A refused push is no life sign.
    apply(&mut state, &Record::new(Op::Refuse, A, "", Some(5)).at(5, 1200));
    assert_eq!(judged(&state, 1250), Some((A.to_owned(), 3)));
    assert_eq!(apply(&mut state, &expire(3).at(6, 1250)), Outcome::Applied(Op::Expire));
    assert_eq!(apply(&mut state, &expire(3).at(7, 1300)), Outcome::Void(Op::Expire));
    assert_eq!((judged(&state, i64::MAX), state.groups().groups.len()), (None, 1));
    // The last push decides: without a ttl it stays for ever.
    apply(&mut state, &Record::new(Op::Put, A, "m 1\n", Some(1)).at(8, 1400));
    apply(&mut state, &Record::new(Op::Put, A, "m 1\n", None).at(9, 1400));
    assert_eq!(judged(&state, i64::MAX), None);
}

#[test]
fn an_expiry_on_its_way_is_not_repeated_at_once() {
    let mut issued = Issued::default();
    let due = |judged| vec![Expiry { key: A.into(), judged }];
    let mut at = Vec::new();
    for second in 0..25 {
        if !issued.fresh(due(1), second * 1000).is_empty() {
            at.push(second);
        }
    }
    assert_eq!(at, [0, 10, 20]);
    assert_eq!(issued.fresh(due(7), 24_001).len(), 1, "pushed and due again");
    assert_eq!(issued.fresh(due(7), -1_000_000).len(), 1, "a clock that was set back");
    assert!(issued.fresh(Vec::new(), 0).is_empty());
}

#[test]
fn strangers_records_are_refused() {
    let mut state = fresh();
    let put = |key: &str, body: &str| Record::new(Op::Put, key, body, None);
    for (record, reason) in [
        (Record { key: A.into(), value: b"m 1\n".to_vec(), ..Record::default() }, "bad_header"),
        (put(A, "m 1\n").with(OP, "replace"), "bad_header"),
        (put(A, "m 1\n").with("k2p-ttl", "1d"), "bad_header"),
        (put(A, "m 1\n").with(ID, "nonsense"), "bad_header"),
        (put("a", "m 1\n"), "bad_key"),
        (put("job=\"a\",instance=\"i\"", "m 1\n"), "bad_key"),
        (put(A, "m 1 5\n"), "not_a_dump"),
        (put(A, "m 1\n").with("content-encoding", "gzip"), "truncated"),
        (put(A, "m 1\n").with("content-encoding", "br"), "bad_encoding"),
    ] {
        let offset = state.position();
        let Outcome::Refused(refusal) = apply(&mut state, &record.clone().at(offset, 0)) else { panic!("{record:?}") };
        assert_eq!(refusal.reason.as_str(), reason, "{record:?}");
    }
    assert!(state.groups().groups.is_empty());
    assert_eq!(apply(&mut state, &put(A, "").at(0, 0)), Outcome::Passed);
}

#[test]
fn another_partitions_snapshot_and_a_newer_one_are_refused() {
    let state = fresh();
    let bytes = state.snapshot();
    assert!(matches!(PushState::restore(&bytes, config(), 4), Err(SnapshotError::Foreign { .. })));
    let other = Arc::new(PushConfig { topic: "other".into(), ..PushConfig::default() });
    assert!(matches!(PushState::restore(&bytes, other, 3), Err(SnapshotError::Foreign { .. })));
    let newer = [b"K2PU\x02\x00", &bytes[6..]].concat();
    assert_eq!(PushState::restore(&newer, config(), 3).unwrap_err(), SnapshotError::Version(2));
    assert_eq!(PushState::restore(b"K2PE", config(), 3).unwrap_err(), SnapshotError::Magic);
}
