//! The checker: was the promise of design §1 kept over a recorded history?
//!
//! A history holds what was seen from outside, on one monotonic clock. Nothing is
//! assumed of a bridge but this: what a scrape shows was looked at once, after its
//! request began and before the first byte of its answer came. Every rule is sound:
//! a bridge that keeps the promise cannot break it, however slow the machine is.
//!
//! What cannot be seen from outside: that an `H` marker committed while its partition
//! is dark promises nothing new (the release of the owner before may have carried
//! records that no scrape ever had a chance to see). The model checker proves that
//! one; here a committed offset is held against every scrape that follows.
#![allow(unreachable_pub, reason = "the modules are private to one test crate")]

mod history;
mod holes;
mod order;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use history::{CommitRead, Frozen, History, Micros, Route, Scrape, Sending, Sighting};
pub use holes::{Hole, longest_dark, moves};

/// What the promise is, in the terms of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A value that nobody sent, or not yet.
    Invented,
    /// An older value after a newer one, whichever bridges showed them (G1).
    Older,
    /// Two dumps of one origin in one answer (G3).
    Torn,
    /// A part of a partition's origins in one answer: some of it another owner's.
    Partial,
    /// An origin shown by two bridges over and over within less than handovers take.
    TwoOwners,
    /// An origin that was silent for long is still there.
    Stale,
    /// The last value of a living origin is not shown in the end, or by two bridges.
    Lost,
    /// After an offset was read as committed, something older than it was shown (G2).
    CommittedEarly,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where, for a person.
    pub what: String,
}

/// Bounds that a history does not carry.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A living process looks at its views within this after a request for `/metrics`
    /// began: the order of starts, which is Prometheus', is checked up to it.
    pub accept: Micros,
    /// An origin that was silent for this long must be gone; its slack included.
    pub stale_after: Micros,
    /// Three handovers of one partition need more than this.
    pub three_handovers: Micros,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { accept: 2_000_000, stale_after: Micros::MAX, three_handovers: 300_000 }
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Values that were looked at.
    pub samples: usize,
    /// Answers that were looked at.
    pub scrapes: usize,
    /// In no special order; [`Report::broken`] counts them.
    pub violations: Vec<Violation>,
}

impl Report {
    /// The rules that were broken.
    pub fn broken(&self) -> BTreeSet<Rule> {
        self.violations.iter().map(|v| v.rule).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples in {} scrapes, {} violations", self.samples, self.scrapes, self.violations.len())?;
        let mut of_rule: BTreeMap<Rule, Vec<&str>> = BTreeMap::new();
        for violation in &self.violations {
            of_rule.entry(violation.rule).or_default().push(&violation.what);
        }
        for (rule, found) in of_rule {
            write!(f, "\n{rule:?}: {}\n  {}", found.len(), found[..found.len().min(8)].join("\n  "))?;
        }
        Ok(())
    }
}

/// Checks every rule over a whole history.
pub fn check(history: &History, limits: &Limits) -> Report {
    let mut report = Report {
        samples: history.scrapes.iter().flat_map(|s| &s.shown).map(|s| s.samples as usize).sum(),
        scrapes: history.scrapes.len(),
        violations: Vec::new(),
    };
    let out = &mut report.violations;
    invented(history, out);
    torn(history, out);
    partial(history, out);
    order::older(history, limits, out);
    order::committed_early(history, out);
    order::two_owners(history, limits, out);
    stale(history, limits, out);
    lost(history, out);
    report
}

fn violate(out: &mut Vec<Violation>, rule: Rule, what: String) {
    out.push(Violation { rule, what });
}

fn invented(history: &History, out: &mut Vec<Violation>) {
    let mut begun: BTreeMap<(u32, u64), Micros> = BTreeMap::new();
    for s in &history.sent {
        let first = begun.entry((s.origin, s.seq)).or_insert(s.begun);
        *first = s.begun.min(*first);
    }
    for scrape in &history.scrapes {
        for &Sighting { origin, seq, .. } in &scrape.shown {
            match begun.get(&(origin, seq)) {
                None => violate(out, Rule::Invented, format!("origin {origin} never sent {seq}: {scrape}")),
                Some(&at) if at > scrape.head => {
                    violate(out, Rule::Invented, format!("origin {origin} sent {seq} at {at} µs only: {scrape}"));
                }
                Some(_) => {}
            }
        }
    }
}

fn torn(history: &History, out: &mut Vec<Violation>) {
    for scrape in &history.scrapes {
        for s in scrape.shown.iter().filter(|s| !s.whole) {
            violate(
                out,
                Rule::Torn,
                format!("origin {} with several values, {} among them: {scrape}", s.origin, s.seq),
            );
        }
    }
}

/// Once everything was shown and nothing falls silent or moves to another partition, a
/// partition is in an answer with all its origins or with none.
fn partial(history: &History, out: &mut Vec<Violation>) {
    let Some(since) = history.whole_since else { return };
    let of_origin: BTreeMap<u32, i32> = history.sent.iter().map(|s| (s.origin, s.partition)).collect();
    let mut all: BTreeMap<i32, usize> = BTreeMap::new();
    for partition in of_origin.values() {
        *all.entry(*partition).or_default() += 1;
    }
    for scrape in history.scrapes.iter().filter(|s| s.start >= since) {
        let mut found: BTreeMap<i32, usize> = BTreeMap::new();
        for partition in scrape.shown.iter().filter_map(|s| of_origin.get(&s.origin)) {
            *found.entry(*partition).or_default() += 1;
        }
        for (partition, count) in found.into_iter().filter(|(partition, count)| all[partition] != *count) {
            let what = format!("{count} of {} origins of partition {partition}: {scrape}", all[&partition]);
            violate(out, Rule::Partial, what);
        }
    }
}

fn stale(history: &History, limits: &Limits, out: &mut Vec<Violation>) {
    for &origin in &history.silent {
        let last = history.sent.iter().filter(|s| s.origin == origin).map(|s| s.acked).max().unwrap_or(0);
        let gone = last.saturating_add(limits.stale_after);
        for scrape in history.scrapes.iter().filter(|s| s.start > gone) {
            if scrape.shown.iter().any(|s| s.origin == origin) {
                violate(out, Rule::Stale, format!("origin {origin}, silent since {last} µs: {scrape}"));
            }
        }
    }
}

fn lost(history: &History, out: &mut Vec<Violation>) {
    let Some(settled) = history.settled else { return };
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for s in history.sent.iter().filter(|s| !history.silent.contains(&s.origin)) {
        let seq = last.entry(s.origin).or_insert(s.seq);
        *seq = s.seq.max(*seq);
    }
    let ends: Vec<&Scrape> =
        history.scrapes.iter().filter(|s| s.route == Route::Metrics && s.start >= settled).collect();
    for (origin, seq) in last {
        let shows = |s: &&Scrape| s.shown.iter().any(|o| o.origin == origin && o.seq == seq);
        let bridges: BTreeSet<u32> = ends.iter().copied().filter(shows).map(|s| s.bridge).collect();
        if bridges.len() != 1 {
            violate(out, Rule::Lost, format!("the end of origin {origin}, {seq}, is shown by {bridges:?}"));
        }
    }
}
