//! One run, as it is kept.
use serde::{Deserialize, Serialize};

use k2p_core::model::UnixMs;

use crate::event::{RunStatus, UnixNs};
use crate::snapshot::{bits, optional_bits};

/// Where a run stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunState {
    /// Only log or lineage events were seen: no run yet, but what it did is kept for
    /// the run event that may come late.
    #[default]
    Unknown,
    /// Its latest attempt waits.
    Queued,
    /// Its latest attempt runs.
    Running,
    /// Its latest attempt ended well.
    Succeeded,
    /// Its latest attempt failed.
    Failed,
    /// Its latest attempt ended with a part of the work done.
    Partial,
    /// Silent for too long. Any later event of the run revives it.
    Lost,
}

impl RunState {
    /// The text of design §6.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Unknown => "UNKNOWN",
            RunState::Queued => "QUEUED",
            RunState::Running => "RUNNING",
            RunState::Succeeded => "SUCCEEDED",
            RunState::Failed => "FAILED",
            RunState::Partial => "PARTIAL",
            RunState::Lost => "LOST",
        }
    }

    /// Queued or running.
    pub fn is_open(self) -> bool {
        matches!(self, RunState::Queued | RunState::Running)
    }

    /// Ended or lost.
    pub fn is_closed(self) -> bool {
        !self.is_open() && self != RunState::Unknown
    }
}

impl From<RunStatus> for RunState {
    fn from(status: RunStatus) -> RunState {
        match status {
            RunStatus::Queued => RunState::Queued,
            RunStatus::Running => RunState::Running,
            RunStatus::Succeeded => RunState::Succeeded,
            RunStatus::Failed => RunState::Failed,
            RunStatus::Partial => RunState::Partial,
        }
    }
}

/// A run. What identifies it (pipeline, run id) is the key it is kept under.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) state: RunState,
    /// The highest `retry_count` seen.
    pub(super) attempt: u32,
    /// By number, rising.
    pub(super) attempts: Vec<Attempt>,
    pub(super) max_retries: Option<u32>,
    /// Append time of its first and its last event, of any kind.
    pub(super) first_seen: UnixMs,
    pub(super) last_seen: UnixMs,
    /// Offset of its last event.
    pub(super) last_offset: i64,
    /// The earliest `start_ts` of any attempt.
    pub(super) start: Option<UnixNs>,
    /// Append time of its first run event that was not QUEUED: what counts as start
    /// where none is given.
    pub(super) began: Option<UnixNs>,
    /// When its latest attempt ended: `end_ts`, else the append time.
    pub(super) end: Option<UnixNs>,
    #[serde(with = "optional_bits")]
    pub(super) sla_target_ms: Option<f64>,
    pub(super) sla_missed: bool,
    /// Which of its pipeline's closings was its last one.
    pub(super) closing: u64,
    /// `None` once the run is old: only what recognises its late events stays.
    pub(super) detail: Option<Box<Detail>>,
}

/// An attempt: a run id with one `retry_count`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) number: u32,
    /// Seen running, or ended with a known start.
    pub(super) started: bool,
    /// Its first terminal status.
    pub(super) ended: Option<RunStatus>,
    /// The earliest `start_ts`.
    pub(super) start: Option<UnixNs>,
    /// `end_ts` of the terminal event.
    pub(super) end: Option<UnixNs>,
}

/// What people read of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    pub(super) trigger_type: Option<Box<str>>,
    pub(super) triggered_by: Option<Box<str>>,
    pub(super) owner: Option<Box<str>>,
    pub(super) dag_version: Option<Box<str>>,
    pub(super) current_step: Option<Box<str>>,
    pub(super) steps: Vec<Step>,
    pub(super) last_error: Option<RunError>,
    pub(super) reads: Vec<Dataset>,
    pub(super) writes: Vec<Dataset>,
    pub(super) correlation_ids: Vec<Box<str>>,
    /// Dotted path and value.
    pub(super) compensation: Vec<(Box<str>, Box<str>)>,
    /// What did not fit, over all limits.
    pub(super) left_out: u64,
}

/// A step, as its log events tell.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) name: Box<str>,
    /// Earliest and latest time of an event of it.
    pub(super) first: UnixNs,
    pub(super) last: UnixNs,
    /// The last `duration_ms`: a step that gave one has finished.
    #[serde(with = "optional_bits")]
    pub(super) duration_ms: Option<f64>,
    #[serde(with = "bits")]
    pub(super) rows_read: f64,
    #[serde(with = "bits")]
    pub(super) rows_written: f64,
    pub(super) events: u64,
    pub(super) errors: u64,
}

/// The last error of a run, from a run event or from a log event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RunError {
    pub(super) time: UnixNs,
    pub(super) step: Option<Box<str>>,
    pub(super) kind: Option<Box<str>>,
    pub(super) message: Option<Box<str>>,
    pub(super) stack: Option<Box<str>>,
}

/// A dataset read or written; told again with the same version and partition, it is one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Dataset {
    pub(super) name: Box<str>,
    pub(super) version: Option<Box<str>>,
    pub(super) partition: Option<Box<str>>,
    #[serde(with = "optional_bits")]
    pub(super) rows: Option<f64>,
    pub(super) time: UnixNs,
}

impl Run {
    /// Where it stands.
    pub(super) fn state(&self) -> RunState {
        self.state
    }

    /// When it began: the earliest `start_ts`, else when it was first seen to have left
    /// the queue.
    pub(super) fn begin(&self) -> Option<UnixNs> {
        self.start.or(self.began)
    }

    /// What the pipeline's gauges count: running, and since when.
    pub(super) fn active_since(&self) -> Option<UnixNs> {
        if self.state == RunState::Running { self.begin() } else { None }
    }

    /// Whether it has taken longer than its SLA allows by `now`.
    pub(super) fn over_sla(&self, now: UnixNs) -> bool {
        let (Some(begin), Some(target)) = (self.begin(), self.sla_target_ms) else {
            return false;
        };
        // `as` saturates: a target of centuries is never missed.
        now > begin.saturating_add((target * 1e6) as UnixNs)
    }

    /// Whether the clock may still decide something about it.
    pub(super) fn is_watched(&self) -> bool {
        let sla_open = !self.sla_missed && self.sla_target_ms.is_some();
        self.state.is_open() || (self.state == RunState::Lost && sla_open)
    }

    /// The state that its latest attempt says.
    pub(super) fn settle(&mut self) {
        let Some(latest) = self.attempts.last() else {
            return;
        };
        self.state = match latest.ended {
            Some(status) => status.into(),
            None if latest.started => RunState::Running,
            None => RunState::Queued,
        };
    }

    /// Notes a sign of life.
    pub(super) fn touch(&mut self, time: UnixMs, offset: i64) {
        self.last_seen = time;
        self.last_offset = offset;
    }
}
