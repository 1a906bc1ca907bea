//! What a fault run left.
use crate::checker::{self, History, Hole, Report, Rule};

/// A run that has ended.
pub struct Run {
    pub(super) name: String,
    pub history: History,
    pub report: Report,
}

impl Run {
    /// Fails if a rule was broken.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn assert_sound(&self) {
        self.print();
        let faults: Vec<String> = self.history.faults.iter().map(|(at, what)| format!("{at} µs: {what}")).collect();
        assert!(self.report.violations.is_empty(), "{}: {}\n{}", self.name, self.report, faults.join("\n"));
        assert!(self.report.samples > 500, "{}: only {} samples", self.name, self.report.samples);
    }

    /// Says what was seen.
    pub fn print(&self) {
        let moves = self.moves();
        let mut took: Vec<u64> = moves.iter().map(|h| h.took / 1000).collect();
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied();
        let dark = checker::longest_dark(&self.history).into_values().max().unwrap_or(0) / 1000;
        eprintln!(
            "FAULTS {}: {}; {} moves, hole p50 {:?} p99 {:?} ms; longest dark {dark} ms",
            self.name,
            self.report,
            moves.len(),
            at(50),
            at(99),
        );
    }

    /// Every move of a partition.
    pub fn moves(&self) -> Vec<Hole> {
        checker::moves(&self.history)
    }

    /// Something that a test cannot go without.
    pub fn broke(&self, rule: Rule) -> bool {
        self.report.broken().contains(&rule)
    }
}
