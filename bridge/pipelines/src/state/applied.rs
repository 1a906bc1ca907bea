//! What became of a record: the caller counts it and writes the log entries.
use k2p_core::reason::Refusal;

use crate::event::{Event, Rejection};
use crate::runs::{FinishedRun, RunCounts, Verdict};

/// What became of one record.
#[derive(Debug, Default)]
pub struct Applied {
    /// What became of it.
    pub outcome: Outcome,
    /// Events that count.
    pub accepted: u64,
    /// Lines that do not, in order.
    pub rejections: Vec<Rejection>,
    /// Accepted events whose level was none that is known.
    pub unknown_levels: u64,
    /// Events of pipelines and jobs above the limit: their metrics are those of `other`.
    pub overflowing: u64,
    /// For the log store: log events and job entries, each with its 1-based line. Offset
    /// and line are the identity of an entry.
    pub log_entries: Vec<LogEntry>,
    /// Runs that closed.
    pub finished: Vec<FinishedRun>,
    /// What the run tracker left out or ignored.
    pub run_counts: RunCounts,
    /// What the templates left out or replaced.
    pub changes: crate::series::Changes,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Its good lines count; there may be none.
    #[default]
    Accepted,
    /// Its `k2p-id` was applied already.
    Duplicate,
    /// It stands below the position: it was applied already.
    Passed,
    /// It has no value; a tombstone means nothing in an events topic.
    Empty,
    /// It was refused whole.
    Refused(Refusal),
    /// A judgement; `held` if it was true at its place in the log, and not yet known.
    Judged {
        /// Which.
        verdict: Verdict,
        /// Whether it counts.
        held: bool,
    },
    /// A change of templates; `held` if it named the ones that were in force.
    Templates {
        /// The new ones' hash.
        hash: Box<str>,
        /// Whether it counts.
        held: bool,
    },
}

/// An entry for the log store. Its text is unmasked.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its 1-based line in the record.
    pub line: u32,
    /// [`Event::Log`] or [`Event::Job`].
    pub event: Event,
}

/// A record cannot be applied before its templates are at hand. Nothing has changed:
/// fetch them and apply the same record again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("templates {hash} are needed at this place of the log: read their text from the state topic")]
pub struct NeedsTemplates {
    /// Their hash.
    pub hash: Box<str>,
    /// The log says that it was counted with these from its beginning, and this state
    /// began with others: make a new one with them and replay from the beginning.
    pub from_the_beginning: bool,
}
