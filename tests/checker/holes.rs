//! How long partitions were dark, as scrapes of `/metrics` saw it.
use super::{History, Micros, Route, Scrape};
use std::collections::BTreeMap;

/// A partition that was shown by one bridge, then by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Which.
    pub partition: i32,
    /// The bridge before.
    pub from: u32,
    /// The bridge after.
    pub to: u32,
    /// When it was last seen at the one.
    pub begun: Micros,
    /// From the last sight at the one to the first at the other: the hole and at most
    /// two pauses between scrapes.
    pub took: Micros,
}

fn sights(history: &History) -> BTreeMap<i32, Vec<&Scrape>> {
    let of_origin: BTreeMap<u32, i32> = history.sent.iter().map(|s| (s.origin, s.partition)).collect();
    let mut scrapes: Vec<&Scrape> = history.scrapes.iter().filter(|s| s.route == Route::Metrics).collect();
    scrapes.sort_by_key(|s| s.start);
    let mut out: BTreeMap<i32, Vec<&Scrape>> = BTreeMap::new();
    for scrape in scrapes {
        for partition in scrape.shown.iter().filter_map(|s| of_origin.get(&s.origin)) {
            let seen = out.entry(*partition).or_default();
            if seen.last().is_none_or(|last| !std::ptr::eq(*last, scrape)) {
                seen.push(scrape);
            }
        }
    }
    out
}

/// Every move of a partition from one bridge to another.
pub fn moves(history: &History) -> Vec<Hole> {
    let mut out = Vec::new();
    for (partition, seen) in sights(history) {
        for pair in seen.windows(2).filter(|pair| pair[0].bridge != pair[1].bridge) {
            let took = pair[1].head.saturating_sub(pair[0].head);
            out.push(Hole { partition, from: pair[0].bridge, to: pair[1].bridge, begun: pair[0].head, took });
        }
    }
    out
}

/// The longest time that each partition was shown by nobody.
pub fn longest_dark(history: &History) -> BTreeMap<i32, Micros> {
    let longest = |seen: Vec<&Scrape>| {
        let gaps = seen.windows(2).map(|pair| pair[1].head.saturating_sub(pair[0].head));
        gaps.max().unwrap_or(0)
    };
    sights(history).into_iter().map(|(partition, seen)| (partition, longest(seen))).collect()
}
