//! The law of conflation: through a conflator or in order, the view is the same.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;

use cache_util::{Rec, apply, cache, now, word, write};
use k2p_core::cache::{CacheConfig, Limits, PartitionCache};
use k2p_core::conflate::{Conflator, OwnedRecord};
use k2p_core::exposition::Format;
use k2p_core::reason::DropReason;
use proptest::prelude::*;

const MIN: i64 = 60_000;

/// What a record of a random log is.
#[derive(Debug, Clone)]
enum Step {
    Good,
    Refused,
    TooManySeries,
    BadHeader,
    Tombstone,
    /// Index and number, id.
    Part(u32, u32, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Good),
        3 => Just(Step::Refused),
        1 => Just(Step::TooManySeries),
        1 => Just(Step::BadHeader),
        1 => Just(Step::Tombstone),
        4 => (1..4u32, 1..4u32, 0..2u8).prop_map(|(i, n, id)| Step::Part(i.min(n), n, id)),
    ]
}

/// Time moves on by these, mostly forward.
fn jump() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => 0..2 * MIN,
        1 => -3 * MIN..0,
        1 => -30 * MIN..-10 * MIN,
    ]
}

fn log(origins: u8) -> impl Strategy<Value = Vec<Rec>> {
    let record = (0..origins, step(), jump());
    prop::collection::vec(record, 0..40).prop_map(|records| {
        let mut time = 0;
        let all = records.into_iter().enumerate();
        all.map(|(i, (origin, step, jump))| {
            time += jump;
            record_of(i as i64, &format!("i=\"{origin}\""), time, &step)
        })
        .collect()
    })
}

fn record_of(offset: i64, key: &str, time: i64, step: &Step) -> Rec {
    let good = format!("m {offset}\nm_{offset} 1\n");
    match step {
        Step::Good => Rec::new(offset, key, time, &good),
        Step::Refused => Rec::new(offset, key, time, "{ no dump\n"),
        Step::TooManySeries => Rec::new(offset, key, time, "a 1\nb 1\nc 1\nd 1\ne 1\nf 1\ng 1\nh 1\n"),
        Step::BadHeader => Rec::new(offset, key, time, &good).header("k2p-part", "nonsense"),
        Step::Tombstone => Rec::new(offset, key, time, ""),
        Step::Part(i, n, id) => Rec::new(offset, key, time, &format!("p{i} {offset}\n")).part(&format!("{i}/{n};{id}")),
    }
}

/// All that readers and successors see.
fn seen(cache: &PartitionCache) -> String {
    let view = cache.view();
    let (text, _) = write(std::slice::from_ref(&view), Format::Text004);
    let mut out = format!(
        "{text}position {} low water {} series {} living {}\n",
        view.position,
        cache.low_water(now(0)),
        view.series,
        cache.living()
    );
    for origin in view.origins.values() {
        out.push_str(&format!(
            "{} dump {} time {} offset {} bytes {} refusal {:?} interval {:?}\n",
            origin.key,
            origin.dump.is_some(),
            origin.dump_time,
            origin.offset,
            origin.dump_bytes,
            origin.last_refusal,
            cache.interval(&origin.key),
        ));
    }
    out
}

fn in_order(config: &CacheConfig, log: &[Rec]) -> PartitionCache {
    let mut all = cache(config.clone());
    for rec in log {
        apply(&mut all, rec, 0);
    }
    all
}

/// Applies the first `head` records one by one, the others in flushes of `size`.
fn conflated(config: &CacheConfig, log: &[Rec], head: usize, size: usize) -> (PartitionCache, Vec<String>) {
    let mut words = Vec::new();
    let (first, rest) = log.split_at(head.min(log.len()));
    let mut cache = in_order(config, first);
    let mut conflator = Conflator::new(DropReason::Conflated);
    for chunk in rest.chunks(size) {
        for rec in chunk {
            rec.with_raw(|raw| conflator.push(OwnedRecord::copy(raw)));
        }
        conflator.flush(&mut cache, now(0), &mut |record, applied| {
            assert_eq!(record.offset, applied.offset);
            words.push(word(&applied));
        });
        assert!(conflator.is_empty() && conflator.pending_bytes() == 0);
    }
    assert_eq!(words.len(), rest.len());
    (cache, words)
}

fn limits(origins: usize) -> CacheConfig {
    CacheConfig {
        limits: Limits { series_per_origin: 6, origins, dump_bytes: 60, ..Limits::default() },
        ..CacheConfig::default()
    }
}

/// The interval of an origin that was not known before may count a dump that in-order
/// application would have refused: everything else is equal.
fn without_interval(text: &str) -> String {
    let lines = text.lines().map(|l| l.split(" interval ").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(cache_util::cases(4))]

    #[test]
    fn conflation_is_in_order_application(
        log in log(3),
        origins in 1..6usize,
        head in 0..20usize,
        size in 1..40usize,
    ) {
        let config = limits(origins);
        let straight = seen(&in_order(&config, &log));
        let (cache, _) = conflated(&config, &log, head, size);
        prop_assert_eq!(without_interval(&seen(&cache)), without_interval(&straight));
    }
}

#[test]
fn what_is_skipped_is_counted() {
    let key = |i: i64| format!("i=\"{i}\"");
    let good = |offset, origin, time| record_of(offset, &key(origin), time, &Step::Good);
    let bad = |offset, origin, time| record_of(offset, &key(origin), time, &Step::Refused);
    let part = |offset, time, i| record_of(offset, &key(0), time, &Step::Part(i, 2, 0));
    for (log, expected) in [
        (vec![good(0, 0, 0), good(1, 1, 0), good(2, 0, 1)], vec!["dropped conflated", "accepted 2", "accepted 2"]),
        (
            vec![good(0, 0, 0), good(1, 0, 1), bad(2, 0, 2)],
            vec!["dropped conflated", "accepted 2", "refused not_a_dump"],
        ),
        (vec![bad(0, 0, 0), bad(1, 0, 1)], vec!["refused not_a_dump"; 2]),
        // A clock that goes back: in order.
        (vec![good(0, 0, 5), good(1, 0, 3), good(2, 0, 6)], vec!["accepted 2", "dropped older", "accepted 2"]),
        (
            vec![part(0, 0, 1), part(1, 0, 2), good(2, 0, 3)],
            vec!["dropped conflated", "dropped conflated", "accepted 2"],
        ),
        (vec![good(0, 0, 0), part(1, 1, 1), part(2, 1, 2)], vec!["dropped conflated", "pending", "accepted 2"]),
        (vec![good(0, 0, 0), part(1, 1, 1)], vec!["accepted 2", "pending"]),
        (vec![part(0, 1, 1), good(1, 0, 2)], vec!["dropped incomplete_parts", "accepted 2"]),
        (vec![good(0, 0, 0), record_of(1, &key(0), 1, &Step::Tombstone)], vec!["accepted 2", "deleted"]),
        (vec![record_of(0, &key(0), 1, &Step::Tombstone), good(1, 0, 2)], vec!["dropped conflated", "accepted 2"]),
        (vec![record_of(0, "le=\"1\"", 0, &Step::Good)], vec!["refused bad_key"]),
    ] {
        let (_, words) = conflated(&limits(5), &log, 0, 10);
        assert_eq!(words, expected, "{log:?}");
    }
}

#[test]
fn older_dumps_of_a_rewind_are_not_read() {
    // The newest dump is known already: what lies before it costs nothing.
    let log: Vec<Rec> = (0..5).map(|i| record_of(i, "i=\"0\"", i * MIN, &Step::Good)).collect();
    let mut cache = in_order(&limits(5), &log[4..]);
    let mut conflator = Conflator::new(DropReason::Superseded);
    log.iter().for_each(|rec| rec.with_raw(|raw| conflator.push(OwnedRecord::copy(raw))));
    let mut words = Vec::new();
    conflator.flush(&mut cache, now(0), &mut |_, applied| {
        words.push(word(&applied));
    });
    let older = ["dropped older"; 4].map(str::to_owned);
    assert_eq!(words[..4], older);
    assert_eq!(words[4], "accepted 2");
}
