//! The four kinds of event (design §6), as they are after parsing.
//!
//! Times are Unix nanoseconds, whatever the producer wrote (RFC 3339, or Unix seconds,
//! milliseconds or nanoseconds, told apart by size). Text is what was sent, unmasked:
//! whoever stores or shows it masks it first.
use serde::{Deserialize, Serialize};

/// Unix time in nanoseconds.
pub type UnixNs = i64;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A structured log event.
    Log(LogEvent),
    /// A run's change of state.
    Run(RunEvent),
    /// A dataset read or written.
    Lineage(LineageEvent),
    /// An entry of a job's log.
    Job(JobEntry),
}

/// Whose metrics an event belongs to: the value that the records are keyed by, so that
/// one partition sees all of it, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// `pipeline_id` of log, run and lineage events.
    Pipeline(Box<str>),
    /// `job_label`, else `job_id`, of job log entries.
    Job(Box<str>),
}

impl Subject {
    /// The label that every metric of the subject carries: its first, put there by the
    /// engine and not by the template.
    pub fn label(&self) -> &'static str {
        match self {
            Subject::Pipeline(_) => "pipeline_id",
            Subject::Job(_) => "job_label",
        }
    }

    /// The label's value.
    pub fn value(&self) -> &str {
        match self {
            Subject::Pipeline(value) | Subject::Job(value) => value,
        }
    }
}

/// A structured log event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogEvent {
    pub timestamp: UnixNs,
    pub env: Option<Box<str>>,
    pub pipeline_id: Box<str>,
    pub run_id: Option<Box<str>>,
    pub step: Option<Box<str>>,
    pub component: Option<Box<str>>,
    pub level: Level,
    pub message: Option<Box<str>>,
    pub error: Option<ErrorInfo>,
    pub rows_written: Option<f64>,
    pub rows_read: Option<f64>,
    pub duration_ms: Option<f64>,
    pub correlation_id: Option<Box<str>>,
    pub owner: Option<Box<str>>,
    pub dataset: Option<Box<str>>,
    /// `raw` and every field without a place of its own (`metrics.*` and `tags.*`
    /// included), under its dotted path.
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorInfo {
    #[serde(rename = "type")]
    pub kind: Option<Box<str>>,
    pub message: Option<Box<str>>,
    pub stack: Option<Box<str>>,
}

/// A log level; what is no known one is `Info` and counted by the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
}

/// A run's change of state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunEvent {
    pub run_id: Box<str>,
    pub pipeline_id: Box<str>,
    pub trigger_type: Option<Box<str>>,
    pub start: Option<UnixNs>,
    pub end: Option<UnixNs>,
    pub status: RunStatus,
    pub current_step: Option<Box<str>>,
    pub last_error: Option<ErrorInfo>,
    /// Together with the run id: the attempt.
    pub retry_count: u32,
    pub max_retries: Option<u32>,
    pub sla_target_ms: Option<f64>,
    pub owner: Option<Box<str>>,
    pub triggered_by: Option<Box<str>>,
    pub correlation_id: Option<Box<str>>,
    /// The git sha of the graph, where the producer gives one.
    pub dag_version: Option<Box<str>>,
    /// Compensation state and every other field, by dotted path.
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// A run's status as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    #[default]
    Queued,
    Running,
    Succeeded,
    Failed,
    Partial,
}

impl RunStatus {
    /// True for a status that ends an attempt.
    pub fn is_terminal(self) -> bool {
        matches!(self, RunStatus::Succeeded | RunStatus::Failed | RunStatus::Partial)
    }
}

/// A dataset read or written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LineageEvent {
    pub timestamp: UnixNs,
    pub pipeline_id: Box<str>,
    pub run_id: Option<Box<str>>,
    pub correlation_id: Option<Box<str>>,
    pub operation: Operation,
    pub dataset: Box<str>,
    pub version: Option<Box<str>>,
    pub partition: Option<Box<str>>,
    pub rows: Option<f64>,
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// What was done to a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    #[default]
    Read,
    Write,
}

/// An entry of a job's log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobEntry {
    pub timestamp: UnixNs,
    /// The job run: names the file of the log store. Never a label.
    pub job_id: Box<str>,
    pub job_label: Option<Box<str>>,
    pub job_type: Option<Box<str>>,
    pub outputs: Vec<Box<str>>,
    pub sequence_number: Option<u64>,
    pub content: JobContent,
}

/// What a job's log entry holds.
#[derive(Debug, Clone, PartialEq)]
pub enum JobContent {
    /// A log line.
    Log { level: Level, message: Box<str>, fields: serde_json::Map<String, serde_json::Value> },
    /// A metric point.
    Metric { name: Box<str>, value: f64, labels: Vec<(Box<str>, Box<str>)>, unit: Option<Box<str>> },
    /// Something that happened to the job.
    Event { event_type: Box<str>, metadata: serde_json::Map<String, serde_json::Value> },
}

impl Default for JobContent {
    fn default() -> JobContent {
        JobContent::Event { event_type: Box::from(""), metadata: serde_json::Map::new() }
    }
}
