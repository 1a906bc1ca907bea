//! What a template can match: an event, or what the run tracker derives from events.
use serde::{Deserialize, Serialize};

use crate::event::Subject;

/// What kind of fact. In a template: `match: {kind: attempt_ended}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// A [`LogEvent`](crate::event::LogEvent), once each.
    Log,
    /// A [`RunEvent`](crate::event::RunEvent) as it came, repeated ones included: for
    /// counting events. Metrics of runs are made of the derived kinds.
    Run,
    /// A [`LineageEvent`](crate::event::LineageEvent).
    Lineage,
    /// A [`JobEntry`](crate::event::JobEntry).
    Job,
    /// Derived: an attempt is seen running for the first time (`pipeline_id`,
    /// `trigger_type`, `owner`, `start_seconds`).
    AttemptStarted,
    /// Derived: an attempt's first terminal event (`pipeline_id`, `trigger_type`,
    /// `owner`, `status`, `end_seconds`, `duration_seconds` if both ends are known).
    AttemptEnded,
    /// Derived: an attempt with `retry_count` > 0 began (`pipeline_id`).
    Retried,
    /// Derived: an attempt failed with `retry_count` = `max_retries` > 0.
    RetriesExhausted,
    /// Derived: a run missed its SLA, once per run (`pipeline_id`, `owner`).
    SlaMissed,
    /// Derived: a run was silent for `runs.lost_after`.
    RunLost,
    /// Derived: the pipeline's state after a change of any of its runs: gauges
    /// (`pipeline_id`, `runs_active`, `oldest_active_start_seconds` or absent,
    /// `sla_target_seconds` or absent).
    PipelineState,
}

impl FactKind {
    /// Every kind.
    pub const ALL: [FactKind; 11] = [
        FactKind::Log,
        FactKind::Run,
        FactKind::Lineage,
        FactKind::Job,
        FactKind::AttemptStarted,
        FactKind::AttemptEnded,
        FactKind::Retried,
        FactKind::RetriesExhausted,
        FactKind::SlaMissed,
        FactKind::RunLost,
        FactKind::PipelineState,
    ];

    /// Its name in a template.
    pub fn as_str(self) -> &'static str {
        match self {
            FactKind::Log => "log",
            FactKind::Run => "run",
            FactKind::Lineage => "lineage",
            FactKind::Job => "job",
            FactKind::AttemptStarted => "attempt_started",
            FactKind::AttemptEnded => "attempt_ended",
            FactKind::Retried => "retried",
            FactKind::RetriesExhausted => "retries_exhausted",
            FactKind::SlaMissed => "sla_missed",
            FactKind::RunLost => "run_lost",
            FactKind::PipelineState => "pipeline_state",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<FactKind> {
        FactKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The label that its subject is shown under ([`Subject::label`]).
    pub fn subject_label(self) -> &'static str {
        if self == FactKind::Job { "job_label" } else { "pipeline_id" }
    }
}

/// One value of a fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// Text, as it was sent.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
}

/// A fact: events and derived facts alike, so that a template reads both the same way.
pub trait Fact {
    /// What it is.
    fn kind(&self) -> FactKind;
    /// Whose metrics it belongs to.
    fn subject(&self) -> &Subject;
    /// The value under a dotted path, in the spelling of design §6 (`error.type`,
    /// `metrics.rows_read`, `tags.owner`); `None` where there is none or it is no scalar.
    fn field(&self, path: &str) -> Option<Scalar<'_>>;
}
