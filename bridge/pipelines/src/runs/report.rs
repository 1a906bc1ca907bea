//! A run as people and programs read it: one JSON line of the log store, one entry of
//! `/api/v1/runs`. Times are Unix seconds. Text is as it was sent: mask it before it is
//! stored or shown.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pipeline::seconds;
use super::run::{Attempt, Dataset, Detail, Run, RunError, RunState, Step};
use crate::event::{RunStatus, UnixNs};

/// A run as of one of its events. A run that closed more than once (another attempt, an
/// end after it was lost) is told once each time; the highest `offset` is the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FinishedRun {
    /// Offset of its last event: with the topic's partition, the identity of the report.
    pub offset: i64,
    /// Its pipeline.
    pub pipeline_id: Box<str>,
    /// The run.
    pub run_id: Box<str>,
    /// Where it stands.
    pub status: RunState,
    /// Its latest attempt.
    pub retry_count: u32,
    /// How many retries it may have.
    pub max_retries: Option<u32>,
    /// What started it.
    pub trigger_type: Option<Box<str>>,
    /// Who started it.
    pub triggered_by: Option<Box<str>>,
    /// Whose it is.
    pub owner: Option<Box<str>>,
    /// The git sha of its graph.
    pub dag_version: Option<Box<str>>,
    /// The step it is in, or ended in.
    pub current_step: Option<Box<str>>,
    /// Append time of its first event.
    pub first_seen_seconds: f64,
    /// Append time of its last event.
    pub last_seen_seconds: f64,
    /// The earliest start of its attempts.
    pub start_seconds: Option<f64>,
    /// When its latest attempt ended.
    pub end_seconds: Option<f64>,
    /// From that start to that end.
    pub duration_seconds: Option<f64>,
    /// Its SLA.
    pub sla_target_seconds: Option<f64>,
    /// Whether it was missed.
    pub sla_missed: bool,
    /// By number, rising.
    pub attempts: Vec<AttemptReport>,
    /// In the order in which they were first seen.
    pub steps: Vec<StepReport>,
    /// The last error.
    pub last_error: Option<ErrorReport>,
    /// Datasets read.
    pub reads: Vec<DatasetReport>,
    /// Datasets written.
    pub writes: Vec<DatasetReport>,
    /// Its correlation ids.
    pub correlation_ids: Vec<Box<str>>,
    /// Fields of compensation state, by dotted path.
    pub compensation: BTreeMap<Box<str>, Box<str>>,
    /// Steps, datasets and fields that did not fit.
    pub left_out: u64,
}

/// An attempt of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AttemptReport {
    /// Its number.
    pub retry_count: u32,
    /// Where it stands.
    pub status: RunStatus,
    /// Its start.
    pub start_seconds: Option<f64>,
    /// Its end.
    pub end_seconds: Option<f64>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepReport {
    /// Its name.
    pub name: Box<str>,
    /// A log event of it gave a duration.
    pub finished: bool,
    /// Time of its earliest event.
    pub first_seconds: f64,
    /// Time of its latest event.
    pub last_seconds: f64,
    /// The duration last given.
    pub duration_seconds: Option<f64>,
    /// Rows read, over its events.
    pub rows_read: f64,
    /// Rows written, over its events.
    pub rows_written: f64,
    /// Log events.
    pub events: u64,
    /// Those of level ERROR and above.
    pub errors: u64,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErrorReport {
    /// When.
    pub time_seconds: f64,
    /// In which step.
    pub step: Option<Box<str>>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<Box<str>>,
    /// Its message.
    pub message: Option<Box<str>>,
    /// Its stack.
    pub stack: Option<Box<str>>,
}

/// A dataset read or written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DatasetReport {
    /// Its name.
    pub dataset: Box<str>,
    /// Its version.
    pub version: Option<Box<str>>,
    /// Its partition.
    pub partition: Option<Box<str>>,
    /// Rows.
    pub rows: Option<f64>,
    /// When, last.
    pub time_seconds: f64,
}

impl FinishedRun {
    pub(super) fn new(pipeline_id: &str, run_id: &str, run: &Run) -> FinishedRun {
        let nothing = Detail::default();
        let detail = run.detail.as_deref().unwrap_or(&nothing);
        FinishedRun {
            offset: run.last_offset,
            pipeline_id: Box::from(pipeline_id),
            run_id: Box::from(run_id),
            status: run.state,
            retry_count: run.attempt,
            max_retries: run.max_retries,
            trigger_type: detail.trigger_type.clone(),
            triggered_by: detail.triggered_by.clone(),
            owner: detail.owner.clone(),
            dag_version: detail.dag_version.clone(),
            current_step: detail.current_step.clone(),
            first_seen_seconds: run.first_seen as f64 / 1000.0,
            last_seen_seconds: run.last_seen as f64 / 1000.0,
            start_seconds: run.start.map(seconds),
            end_seconds: run.end.map(seconds),
            duration_seconds: duration(run.start, run.end),
            sla_target_seconds: run.sla_target_ms.map(|ms| ms / 1000.0),
            sla_missed: run.sla_missed,
            attempts: run.attempts.iter().map(AttemptReport::new).collect(),
            steps: detail.steps.iter().map(StepReport::new).collect(),
            last_error: detail.last_error.as_ref().map(ErrorReport::new),
            reads: detail.reads.iter().map(DatasetReport::new).collect(),
            writes: detail.writes.iter().map(DatasetReport::new).collect(),
            correlation_ids: detail.correlation_ids.clone(),
            compensation: detail.compensation.iter().cloned().collect(),
            left_out: detail.left_out,
        }
    }
}

impl FinishedRun {
    /// Whether it closed and its details were let go since: only what recognises its late
    /// events is left, and the log store knows more.
    pub fn is_bare(&self) -> bool {
        let said = [&self.trigger_type, &self.triggered_by, &self.owner, &self.dag_version, &self.current_step];
        self.status.is_closed()
            && said.iter().all(|text| text.is_none())
            && self.steps.is_empty()
            && self.reads.is_empty()
            && self.writes.is_empty()
            && self.last_error.is_none()
            && self.correlation_ids.is_empty()
            && self.compensation.is_empty()
    }
}

fn duration(start: Option<UnixNs>, end: Option<UnixNs>) -> Option<f64> {
    let nanos = end?.saturating_sub(start?);
    (nanos >= 0).then(|| seconds(nanos))
}

impl AttemptReport {
    fn new(attempt: &Attempt) -> AttemptReport {
        let open = if attempt.started { RunStatus::Running } else { RunStatus::Queued };
        AttemptReport {
            retry_count: attempt.number,
            status: attempt.ended.unwrap_or(open),
            start_seconds: attempt.start.map(seconds),
            end_seconds: attempt.end.map(seconds),
        }
    }
}

impl StepReport {
    fn new(step: &Step) -> StepReport {
        StepReport {
            name: step.name.clone(),
            finished: step.duration_ms.is_some(),
            first_seconds: seconds(step.first),
            last_seconds: seconds(step.last),
            duration_seconds: step.duration_ms.map(|ms| ms / 1000.0),
            rows_read: step.rows_read,
            rows_written: step.rows_written,
            events: step.events,
            errors: step.errors,
        }
    }
}

impl ErrorReport {
    fn new(error: &RunError) -> ErrorReport {
        ErrorReport {
            time_seconds: seconds(error.time),
            step: error.step.clone(),
            kind: error.kind.clone(),
            message: error.message.clone(),
            stack: error.stack.clone(),
        }
    }
}

impl DatasetReport {
    fn new(dataset: &Dataset) -> DatasetReport {
        DatasetReport {
            dataset: dataset.name.clone(),
            version: dataset.version.clone(),
            partition: dataset.partition.clone(),
            rows: dataset.rows,
            time_seconds: seconds(dataset.time),
        }
    }
}
