//! The rules about the order of things.
use super::{History, Limits, Micros, Route, Rule, Scrape, Violation, violate};
use std::collections::BTreeMap;

/// When the scrape had looked, at the latest.
fn looked(history: &History, scrape: &Scrape, limits: &Limits) -> Micros {
    let frozen = |f: &&super::Frozen| f.bridge == scrape.bridge && f.from <= scrape.head && scrape.start <= f.to;
    if scrape.route == Route::Metrics && !history.frozen.iter().any(|f| frozen(&f)) {
        return scrape.head.min(scrape.start + limits.accept);
    }
    scrape.head
}

/// One sighting or commit from which on nothing older may be shown.
struct Bound<'a> {
    from: Micros,
    origin: u32,
    seq: u64,
    scrape: Option<&'a Scrape>,
}

/// Calls `older` for every sighting below a bound that holds when its scrape starts.
fn sweep<'a>(
    history: &'a History,
    mut bounds: Vec<Bound<'a>>,
    mut older: impl FnMut(&'a Scrape, u32, u64, &Bound<'a>),
) {
    bounds.sort_by_key(|b| b.from);
    let mut scrapes: Vec<&Scrape> = history.scrapes.iter().collect();
    scrapes.sort_by_key(|s| s.start);
    let mut newest: BTreeMap<u32, &Bound<'_>> = BTreeMap::new();
    let mut bounds = bounds.iter().peekable();
    for scrape in scrapes {
        while let Some(bound) = bounds.next_if(|b| b.from < scrape.start) {
            let known = newest.entry(bound.origin).or_insert(bound);
            if bound.seq > known.seq {
                *known = bound;
            }
        }
        for s in &scrape.shown {
            if let Some(bound) = newest.get(&s.origin).filter(|b| s.seq < b.seq) {
                older(scrape, s.origin, s.seq, bound);
            }
        }
    }
}

/// G1: whoever starts after another has looked sees nothing older.
pub(super) fn older(history: &History, limits: &Limits, out: &mut Vec<Violation>) {
    let mut bounds = Vec::new();
    for scrape in &history.scrapes {
        let from = looked(history, scrape, limits);
        bounds.extend(scrape.shown.iter().map(|s| Bound { from, origin: s.origin, seq: s.seq, scrape: Some(scrape) }));
    }
    sweep(history, bounds, |scrape, origin, seq, bound| {
        let before = bound.scrape.map(ToString::to_string).unwrap_or_default();
        violate(out, Rule::Older, format!("origin {origin}: {} in {before}, then {seq} in {scrape}", bound.seq));
    });
}

/// G2: whoever starts after a commit was read sees everything below it.
pub(super) fn committed_early(history: &History, out: &mut Vec<Violation>) {
    let mut log: BTreeMap<i32, Vec<(i64, u32, u64)>> = BTreeMap::new();
    for s in history.sent.iter().filter(|s| s.promised) {
        log.entry(s.partition).or_default().push((s.offset, s.origin, s.seq));
    }
    for records in log.values_mut() {
        records.sort_unstable();
    }
    let mut commits: Vec<_> = history.commits.iter().collect();
    commits.sort_by_key(|c| c.read);
    let mut done: BTreeMap<i32, usize> = BTreeMap::new();
    let mut bounds = Vec::new();
    for commit in commits {
        let Some(records) = log.get(&commit.partition) else { continue };
        let first = done.entry(commit.partition).or_default();
        let below = records.partition_point(|(offset, ..)| *offset < commit.offset);
        // A commit that goes back (an operator's) takes nothing back.
        for &(_, origin, seq) in records.get(*first..below).unwrap_or_default() {
            bounds.push(Bound { from: commit.read, origin, seq, scrape: None });
        }
        *first = below.max(*first);
    }
    sweep(history, bounds, |scrape, origin, seq, bound| {
        let what = format!("origin {origin}: {} was committed by {} µs, then {seq} in {scrape}", bound.seq, bound.from);
        violate(out, Rule::CommittedEarly, what);
    });
}

/// One after the other, X, Y, X, Y: three handovers lie between.
pub(super) fn two_owners(history: &History, limits: &Limits, out: &mut Vec<Violation>) {
    let mut scrapes: Vec<&Scrape> = history.scrapes.iter().filter(|s| s.route == Route::Metrics).collect();
    scrapes.sort_by_key(|s| s.start);
    let mut chains: BTreeMap<u32, Vec<&Scrape>> = BTreeMap::new();
    for scrape in scrapes {
        for s in &scrape.shown {
            let chain = chains.entry(s.origin).or_default();
            let next = match chain.last() {
                None => true,
                Some(last) => last.bridge != scrape.bridge && looked(history, last, limits) < scrape.start,
            };
            if !next {
                continue;
            }
            chain.push(scrape);
            let Some([x, .., y]) = chain.last_chunk::<4>() else { continue };
            let took = y.start - looked(history, x, limits);
            let two = chain[chain.len() - 4].bridge == chain[chain.len() - 2].bridge
                && chain[chain.len() - 3].bridge == chain[chain.len() - 1].bridge;
            if two && took < limits.three_handovers {
                let what =
                    format!("origin {} within {took} µs by bridges {} and {}: {y}", s.origin, x.bridge, y.bridge);
                violate(out, Rule::TwoOwners, what);
            }
        }
    }
}
