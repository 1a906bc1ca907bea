//! Scrapes while partitions move: slow ones, and many at once. Nobody waits for a
//! reader, and no answer mixes owners.
use crate::checker::Micros;
use crate::faults::bed::{Bed, Bridge, Run, Setup};
use crate::faults::scraper::SlowScrape;
use crate::support::kafka::Kafka;
use crate::support::poll::eventually_ok;
use crate::support::skip::require;
use std::time::Duration;

/// A planned handover's 2 s, and what two busy cores add.
const BOUND: Micros = 2_000_000 + 6_000_000;
/// More in each partition than the kernel keeps for a slow reader (4 MB and its own buffer).
const LARGE: usize = 3 << 20;

#[track_caller]
fn assert_no_delay(run: &Run) {
    run.assert_sound();
    let worst = run.moves().into_iter().max_by_key(|hole| hole.took);
    assert!(worst.is_some_and(|hole| hole.took < BOUND), "no move, or a hole above {BOUND} µs: {worst:?}");
}

/// Scrapers that take one byte a second hold views of what moves away under them, and
/// then of a bridge that ends.
#[test]
fn slow_scrapers_delay_no_rebalance_and_see_one_owner() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "slow", Setup { pad_bytes: LARGE, ..Setup::short() });
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.expect_whole();
    let early: Vec<SlowScrape> = (0..20).map(|n| bed.scrape_slowly([&a, &b][n % 2])).collect();
    let under_way = |bridge: &Bridge| bridge.service().own("kafka2prom_scrapes_in_flight", &[]);
    eventually_ok("the slow scrapes are being answered", Duration::from_secs(20), || {
        let seen = (under_way(&a), under_way(&b));
        if seen.0 >= 10.0 && seen.1 >= 10.0 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let c = bed.bridge();
    bed.wait_shown(&[&a, &b, &c]);
    let late: Vec<SlowScrape> = (0..5).map(|_| bed.scrape_slowly(&a)).collect();
    bed.stop(&b);
    bed.wait_shown(&[&a, &c]);
    assert!(under_way(&a) >= 5.0, "nobody was slow: {}", under_way(&a));
    let whole = late.into_iter().map(SlowScrape::finish).filter(Result::is_ok).count();
    assert_eq!(whole, 5, "an answer that began after the handover is whole");
    for scrape in early {
        // A connection that stalls for long is closed, and those of a bridge that ends:
        // an answer that was cut was none.
        let _ = scrape.finish();
    }
    assert_no_delay(&bed.finish(&[&a, &c]));
}

#[test]
fn a_hundred_scrapes_at_once_see_one_owner_each() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "hundred", Setup::short());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.expect_whole();
    let mut answered = 0;
    let c = std::thread::scope(|scope| {
        let joins = scope.spawn(|| bed.bridge());
        while !joins.is_finished() {
            answered += bed.scrape_at_once(&[&a, &b], 50);
        }
        joins.join().expect("it starts")
    });
    for _ in 0..3 {
        answered += bed.scrape_at_once(&[&a, &b, &c], 34);
    }
    std::thread::scope(|scope| {
        let leaves = scope.spawn(|| bed.stop(&b));
        while !leaves.is_finished() {
            answered += bed.scrape_at_once(&[&a, &c], 50);
        }
    });
    bed.wait_shown(&[&a, &c]);
    assert!(answered >= 700, "only {answered} scrapes were answered");
    assert_no_delay(&bed.finish(&[&a, &c]));
}
