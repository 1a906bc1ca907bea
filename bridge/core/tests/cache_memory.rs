//! What a topic's caches may take: who is let in, who goes on, what is given back.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;

use std::fmt::Write;

use cache_util::{Rec, apply, cache, now, word};
use k2p_core::cache::{CacheConfig, Limits, PartitionCache};
use proptest::prelude::*;

/// A dump of so many series whose names nobody else has.
fn dump(mark: &str, series: usize) -> String {
    let mut text = String::new();
    for i in 0..series {
        writeln!(text, "service_{mark}_operations{{handler=\"/api/{i}\"}} {i}").unwrap();
    }
    text
}

fn key(mark: &str) -> String {
    format!("job=\"{mark}\"")
}

fn limited(limits: Limits) -> CacheConfig {
    CacheConfig { limits, ..CacheConfig::default() }
}

/// Bytes that one origin of 100 series takes.
fn hundred() -> usize {
    let mut cache = cache(CacheConfig::default());
    apply(&mut cache, &Rec::new(0, &key("xx"), 0, &dump("xx", 100)), 0);
    usize::try_from(cache.used_bytes()).unwrap()
}

/// Records that follow one another.
struct Log {
    cache: PartitionCache,
    offset: i64,
}

impl Log {
    fn new(config: CacheConfig) -> Log {
        Log { cache: cache(config), offset: 0 }
    }

    fn apply(&mut self, rec: &Rec) -> String {
        self.offset += 1;
        word(&apply(&mut self.cache, rec, self.offset))
    }

    /// A dump of an origin; of no series: its deletion.
    fn send(&mut self, mark: &str, series: usize) -> String {
        let rec = Rec::new(self.offset, &key(mark), self.offset, &dump(mark, series));
        self.apply(&rec)
    }

    fn check(&mut self, steps: &[(&str, usize, &str)]) {
        for (mark, series, expected) in steps {
            assert_eq!(self.send(mark, *series), *expected, "{mark} {series}: {}", self.cache.used_bytes());
        }
    }
}

const NO: &str = "refused memory_limit";

#[test]
fn who_came_first_goes_on_and_who_does_not_fit_is_refused() {
    let cache_bytes = hundred() * 7 / 2;
    let mut log = Log::new(limited(Limits { cache_bytes, ..Limits::default() }));
    log.check(&[
        ("a", 100, "accepted 100"),
        ("b", 100, "accepted 100"),
        ("c", 100, "accepted 100"),
        ("d", 100, NO),
        // There is room for less.
        ("d", 20, "accepted 20"),
        ("d", 100, NO),
        // Who is shown goes on, smaller or hardly larger.
        ("a", 100, "accepted 100"),
        ("a", 110, "accepted 110"),
        ("b", 60, "accepted 60"),
        ("c", 300, NO),
        // And what it gave up is there for others.
        ("d", 40, "accepted 40"),
        ("c", 1, "accepted 1"),
        ("d", 100, "accepted 100"),
        ("a", 0, "deleted"),
        ("c", 100, "accepted 100"),
    ]);
}

#[test]
fn nobody_creeps_past_the_limit() {
    let cache_bytes = hundred() * 2;
    let mut log = Log::new(limited(Limits { cache_bytes, ..Limits::default() }));
    log.check(&[("a", 100, "accepted 100"), ("b", 95, "accepted 95")]);
    let mut series = 100;
    while log.send("a", series) != NO {
        series += 5;
        assert!(series < 130, "{} bytes of {cache_bytes}", log.cache.used_bytes());
    }
    assert!(log.cache.used_bytes() as usize <= cache_bytes + cache_bytes / 8);
}

#[test]
fn a_flood_of_one_partition_leaves_the_others_their_part() {
    let config = limited(Limits { cache_bytes: hundred() * 8, ..Limits::default() });
    let (mut flooded, mut other) = (Log::new(config.clone()), Log::new(config));
    let taken = (0..50).filter(|i| flooded.send(&format!("x{i}"), 100) != NO).count();
    assert_eq!(taken, 6, "a quarter is its part, a half is the pool");
    other.check(&[("a", 100, "accepted 100"), ("b", 95, "accepted 95"), ("c", 100, NO)]);
    // What the flood leaves is everybody's again.
    drop(flooded);
    let taken = (0..50).filter(|i| other.send(&format!("y{i}"), 100) != NO).count();
    assert_eq!(taken, 6);
}

#[test]
fn an_origin_may_take_no_more_than_its_limit() {
    let mut log = Log::new(limited(Limits { origin_bytes: hundred() * 3 / 2, ..Limits::default() }));
    log.check(&[
        ("a", 100, "accepted 100"),
        ("a", 200, NO),
        ("b", 200, NO),
        ("b", 100, "accepted 100"),
        ("a", 90, "accepted 90"),
    ]);
    let told = log.cache.refusals().next().unwrap();
    assert!(told.detail.contains("origin_bytes"), "{told:?}");
}

#[test]
fn parts_of_unfinished_dumps_count() {
    let cache_bytes = hundred() * 4;
    let mut log = Log::new(limited(Limits { cache_bytes, ..Limits::default() }));
    log.check(&[("a", 100, "accepted 100")]);
    let before = log.cache.used_bytes();
    let part = |mark: &str, i: usize, series: usize| {
        Rec::new(i as i64, &key(mark), 10, &dump(&format!("{mark}{i}"), series)).part(&format!("{i}/2;x"))
    };
    assert_eq!(log.apply(&part("b", 1, 10)), "pending");
    assert!(log.cache.used_bytes() > before + 400);
    assert_eq!(log.apply(&part("b", 2, 10)), "accepted 20");
    // No room for a newcomer's parts; who is shown goes on by parts too.
    assert_eq!(log.apply(&part("c", 1, 1000)), "pending");
    assert_eq!(log.apply(&part("c", 2, 1000)), NO);
    log.check(&[("d", 100, "accepted 100"), ("e", 165, "accepted 165")]);
    let full = log.cache.used_bytes();
    assert_eq!(log.apply(&part("a", 1, 50)), "pending");
    assert_eq!(log.apply(&part("a", 2, 45)), "accepted 95");
    assert!(log.cache.used_bytes() <= full);
    // What never came to its end is given back.
    assert_eq!(log.apply(&part("a", 1, 50)), "pending");
    assert!(log.cache.used_bytes() > full - hundred() as u64 / 10);
    assert_eq!(log.cache.expire(now(3_600_000)).incomplete, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes: the limit holds, and in the end nothing is owed.
    #[test]
    fn accounts_are_true(steps in proptest::collection::vec((0..2_usize, 0..6_usize, 0..120_usize), 1..80)) {
        let (hundred, limit) = (hundred(), hundred() * 5);
        let config = limited(Limits { cache_bytes: limit, ..Limits::default() });
        let mut logs = [Log::new(config.clone()), Log::new(config)];
        for (partition, origin, series) in steps {
            logs[partition].send(&format!("o{origin}"), series);
            let used: u64 = logs.iter().map(|log| log.cache.used_bytes()).sum();
            prop_assert!(used as usize <= limit + limit / 8 + hundred, "{} of {}", used, limit);
        }
        for log in &mut logs {
            log.cache.expire(now(1_000_000_000));
            log.cache.expire(now(2_000_000_000));
            prop_assert_eq!(log.cache.used_bytes(), 0);
        }
        let taken = (0..50).filter(|i| logs[0].send(&format!("y{i}"), 100) != NO).count();
        prop_assert_eq!(taken, 3);
    }
}
