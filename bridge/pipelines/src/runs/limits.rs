//! What the tracker may keep, and what it counts when something does not fit.
use std::fmt;

use crate::event::UnixNs;
use k2p_core::model::UnixMs;

/// Bounds of one partition's run tracker. Nothing beyond them is dropped from the
/// counters of events: what goes is detail, each time counted as a [`RunCount`].
///
/// All of them shape replayed state: bridges of one group must agree on them, and a
/// change of one holds from the next snapshot on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLimits {
    /// Milliseconds of silence (append time) after which an open run is `LOST`.
    pub lost_after_ms: i64,
    /// Open runs in the partition.
    pub open_runs: usize,
    /// Open runs of one pipeline: none can take the room of all others.
    pub open_runs_per_pipeline: usize,
    /// Runs of one pipeline of which only log or lineage events were seen.
    pub unknown_runs_per_pipeline: usize,
    /// Closed runs that stay known, so that a late or repeated event is recognised.
    pub closed_runs: usize,
    /// The same, for one pipeline.
    pub closed_runs_per_pipeline: usize,
    /// How long, in milliseconds of append time.
    pub remember_ms: i64,
    /// Closed runs of a pipeline that keep their steps, errors and lineage.
    pub recent_per_pipeline: usize,
    /// Attempts of a run; the highest numbers stay.
    pub attempts: usize,
    /// Steps of a run.
    pub steps: usize,
    /// Datasets that a run read, and as many that it wrote.
    pub datasets: usize,
    /// Correlation ids of a run.
    pub correlation_ids: usize,
    /// Fields of compensation state of a run.
    pub compensation: usize,
    /// Bytes of a name, an id, an owner.
    pub name_bytes: usize,
    /// Bytes of an error message.
    pub message_bytes: usize,
    /// Bytes of a stack trace.
    pub stack_bytes: usize,
}

impl Default for RunLimits {
    fn default() -> RunLimits {
        RunLimits {
            lost_after_ms: 3_600_000,
            open_runs: 20_000,
            open_runs_per_pipeline: 1_000,
            unknown_runs_per_pipeline: 100,
            closed_runs: 100_000,
            closed_runs_per_pipeline: 500,
            remember_ms: 7 * 86_400_000,
            recent_per_pipeline: 50,
            attempts: 16,
            steps: 64,
            datasets: 64,
            correlation_ids: 8,
            compensation: 16,
            name_bytes: 256,
            message_bytes: 1024,
            stack_bytes: 8 * 1024,
        }
    }
}

/// What the tracker left out or ignored: the bounded `reason` of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunCount {
    /// A terminal event of an attempt that had ended so already.
    EndRepeated,
    /// A terminal event that contradicts the attempt's first one.
    EndContradicted,
    /// QUEUED or RUNNING of an attempt that was further already.
    StatusLate,
    /// An event of an attempt below the highest that are kept.
    AttemptForgotten,
    /// An end before its start: the duration is left out.
    DurationNegative,
    /// An event of a run above the limit of open runs: only a terminal one counts.
    RunUntracked,
    /// A log or lineage event of an unknown run above the limit of those.
    DetailUntracked,
    /// A closed run forgotten before its time, for want of room.
    ClosedForgotten,
    /// A step above the limit.
    StepLeftOut,
    /// A dataset above the limit.
    DatasetLeftOut,
    /// A correlation id or a field of compensation state above the limit.
    FieldLeftOut,
    /// A text that was cut to its limit.
    TextCut,
}

impl RunCount {
    /// Every reason, for metrics that must exist before the first count.
    pub const ALL: [RunCount; 12] = [
        RunCount::EndRepeated,
        RunCount::EndContradicted,
        RunCount::StatusLate,
        RunCount::AttemptForgotten,
        RunCount::DurationNegative,
        RunCount::RunUntracked,
        RunCount::DetailUntracked,
        RunCount::ClosedForgotten,
        RunCount::StepLeftOut,
        RunCount::DatasetLeftOut,
        RunCount::FieldLeftOut,
        RunCount::TextCut,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            RunCount::EndRepeated => "end_repeated",
            RunCount::EndContradicted => "end_contradicted",
            RunCount::StatusLate => "status_late",
            RunCount::AttemptForgotten => "attempt_forgotten",
            RunCount::DurationNegative => "duration_negative",
            RunCount::RunUntracked => "run_untracked",
            RunCount::DetailUntracked => "detail_untracked",
            RunCount::ClosedForgotten => "closed_forgotten",
            RunCount::StepLeftOut => "step_left_out",
            RunCount::DatasetLeftOut => "dataset_left_out",
            RunCount::FieldLeftOut => "field_left_out",
            RunCount::TextCut => "text_cut",
        }
    }
}

impl fmt::Display for RunCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How often each [`RunCount`] happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunCounts([u64; RunCount::ALL.len()]);

impl RunCounts {
    /// Counts one.
    pub fn add(&mut self, reason: RunCount) {
        self.0[reason as usize] += 1;
    }

    /// How often.
    pub fn get(&self, reason: RunCount) -> u64 {
        self.0[reason as usize]
    }

    /// The reasons that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (RunCount, u64)> + '_ {
        RunCount::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, n)| *n > 0)
    }
}

/// Where in the log an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its record's offset.
    pub offset: i64,
    /// Its record's append time: the only clock of replayed state.
    pub time: UnixMs,
}

impl Place {
    /// The append time in nanoseconds.
    pub fn nanos(self) -> UnixNs {
        self.time.saturating_mul(1_000_000)
    }
}

/// The text, cut at a character's boundary to at most `max` bytes.
pub(super) fn cut<'a>(text: &'a str, max: usize, counts: &mut RunCounts) -> &'a str {
    if text.len() <= max {
        return text;
    }
    counts.add(RunCount::TextCut);
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// As [`cut`], to be kept.
pub(super) fn clip(text: &str, max: usize, counts: &mut RunCounts) -> Box<str> {
    Box::from(cut(text, max, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_their_own_index() {
        for (at, reason) in RunCount::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{reason}");
        }
        let mut counts = RunCounts::default();
        counts.add(RunCount::TextCut);
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(RunCount::TextCut, 1)]);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, max, expected, cut) in
            [("abc", 3, "abc", 0), ("abcd", 3, "abc", 1), ("aä", 2, "a", 1), ("ä", 1, "", 1)]
        {
            let mut counts = RunCounts::default();
            assert_eq!(&*clip(text, max, &mut counts), expected, "{text}");
            assert_eq!(counts.get(RunCount::TextCut), cut, "{text}");
        }
    }
}
