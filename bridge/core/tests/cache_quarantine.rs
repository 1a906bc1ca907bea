//! Origins whose dumps are refused again and again: read once a minute, and never while an owner
//! catches up.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;

use cache_util::{Rec, apply, cache, word};
use k2p_core::cache::{CacheConfig, Limits, PartitionCache, QUARANTINE, REFUSED_IN_A_ROW};

const A: &str = r#"i="a""#;
const B: &str = r#"i="b""#;
const GOOD: &str = "m 1\n";
const BAD: &str = "{{{\n";

/// A live cache in which origin A has been refused so often.
fn refused(times: u32, live: bool) -> (PartitionCache, i64) {
    let mut cache = cache(CacheConfig::default());
    cache.set_live(live);
    let mut offset = 0;
    assert_eq!(word(&apply(&mut cache, &Rec::new(offset, A, 0, GOOD), 0)), "accepted 1");
    for _ in 0..times {
        offset += 1;
        assert_eq!(word(&apply(&mut cache, &Rec::new(offset, A, offset, BAD), 0)), "refused not_a_dump");
    }
    (cache, offset)
}

/// What becomes of a good dump after so many refusals, so many ms after the last.
fn next(times: u32, live: bool, after: i64) -> String {
    let (mut cache, offset) = refused(times, live);
    word(&apply(&mut cache, &Rec::new(offset + 1, A, offset + 1, GOOD), after))
}

#[test]
fn a_quarantine_begins_and_ends() {
    for (times, live, after, expected) in [
        (REFUSED_IN_A_ROW - 1, true, 0, "accepted 1"),
        (REFUSED_IN_A_ROW, true, 0, "dropped quarantined"),
        (REFUSED_IN_A_ROW, true, QUARANTINE - 1, "dropped quarantined"),
        (REFUSED_IN_A_ROW, true, QUARANTINE, "accepted 1"),
        // An owner that catches up must not pass over what an earlier one may have shown.
        (REFUSED_IN_A_ROW, false, 0, "accepted 1"),
    ] {
        assert_eq!(next(times, live, after), expected, "{times} {live} {after}");
    }
}

#[test]
fn the_one_that_is_tried_decides() {
    let (mut cache, mut at) = refused(REFUSED_IN_A_ROW, true);
    let mut say = |cache: &mut PartitionCache, text: &str, ms: i64| {
        at += 1;
        word(&apply(cache, &Rec::new(at, A, at, text), ms))
    };
    assert_eq!(say(&mut cache, BAD, QUARANTINE), "refused not_a_dump");
    assert_eq!(say(&mut cache, GOOD, 2 * QUARANTINE - 1), "dropped quarantined");
    assert_eq!(cache.view().quarantined, 1);
    assert_eq!(say(&mut cache, GOOD, 2 * QUARANTINE), "accepted 1");
    assert_eq!(cache.view().quarantined, 0);
    // It counts from the beginning again.
    assert_eq!(say(&mut cache, BAD, 2 * QUARANTINE), "refused not_a_dump");
    assert_eq!(say(&mut cache, GOOD, 2 * QUARANTINE), "accepted 1");
}

#[test]
fn a_good_dump_between_breaks_the_row() {
    let (mut cache, mut offset) = refused(REFUSED_IN_A_ROW - 1, true);
    for text in [GOOD, BAD, GOOD] {
        offset += 1;
        let said = word(&apply(&mut cache, &Rec::new(offset, A, offset, text), 0));
        assert!(!said.contains("quarantined"), "{said}");
    }
}

#[test]
fn others_are_not_touched_and_a_deletion_holds() {
    let (mut cache, offset) = refused(REFUSED_IN_A_ROW, true);
    assert_eq!(word(&apply(&mut cache, &Rec::new(offset + 1, B, 0, GOOD), 0)), "accepted 1");
    assert_eq!(word(&apply(&mut cache, &Rec::new(offset + 2, A, 0, ""), 0)), "deleted");
    assert_eq!(cache.view().series, 1);
}

#[test]
fn what_is_remembered_is_bounded_and_forgotten() {
    let limits = Limits { origins: 2, ..Limits::default() };
    let mut cache = cache(CacheConfig { limits, ..CacheConfig::default() });
    cache.set_live(true);
    // Twice as many as the limit may be known; the rest is refused each time, and read.
    for round in 0..i64::from(REFUSED_IN_A_ROW) + 1 {
        for origin in 0..6 {
            let key = format!("i=\"{origin}\"");
            let said = word(&apply(&mut cache, &Rec::new(round * 6 + origin, &key, round, BAD), 0));
            let held = round == i64::from(REFUSED_IN_A_ROW) && origin < 4;
            assert_eq!(said, if held { "dropped quarantined" } else { "refused not_a_dump" }, "{round} {origin}");
        }
    }
    assert_eq!(cache.view().quarantined, 4);
    cache.expire(cache_util::now(10 * QUARANTINE + 1));
    assert_eq!(cache.view().quarantined, 0);
}
