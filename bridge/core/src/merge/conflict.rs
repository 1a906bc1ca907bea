//! What origins may disagree on, counted and kept for a person to read.
use std::fmt;

use serde::Serialize;

/// The bounded `kind` label of `kafka2prom_family_conflicts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// Two origins declare different types: the family is written without one.
    Type,
    /// Two origins declare different HELP or UNIT: the first origin's is written.
    Help,
    /// Two families have a sample name in common: both are written without a type.
    Name,
    /// Two origins have the same series: the first origin's is written.
    Series,
}

impl ConflictKind {
    /// Every kind, for metrics that must exist before the first conflict.
    pub const ALL: [ConflictKind; 4] =
        [ConflictKind::Type, ConflictKind::Help, ConflictKind::Name, ConflictKind::Series];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            ConflictKind::Type => "type",
            ConflictKind::Help => "help",
            ConflictKind::Name => "name",
            ConflictKind::Series => "series",
        }
    }
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One conflict, for the status page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Conflict {
    /// What kind.
    pub kind: ConflictKind,
    /// The family, as it is written.
    pub family: String,
    /// One sentence: who says what.
    pub detail: String,
}

/// The conflicts of one exposition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts {
    counts: [u64; 4],
    first: Vec<Conflict>,
}

impl Conflicts {
    /// How many conflicts are kept with their text; the rest is only counted.
    pub const KEPT: usize = 50;

    /// The number of families (`Series`: of series left out) in conflict.
    pub fn count(&self, kind: ConflictKind) -> u64 {
        self.counts[kind as usize]
    }

    /// The first [`Conflicts::KEPT`] conflicts, families in the order of the output.
    pub fn first(&self) -> &[Conflict] {
        &self.first
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|n| *n == 0)
    }

    /// What there is so far, for [`Conflicts::back_to`].
    pub(crate) fn mark(&self) -> ([u64; 4], usize) {
        (self.counts, self.first.len())
    }

    /// Forgets what was added since.
    pub(crate) fn back_to(&mut self, (counts, first): ([u64; 4], usize)) {
        self.counts = counts;
        self.first.truncate(first);
    }

    pub(crate) fn add(&mut self, kind: ConflictKind, family: &str, detail: impl FnOnce() -> String) {
        self.counts[kind as usize] += 1;
        if self.first.len() < Conflicts::KEPT {
            self.first.push(Conflict { kind, family: family.to_owned(), detail: detail() });
        }
    }
}
