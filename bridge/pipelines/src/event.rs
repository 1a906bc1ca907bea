//! The four kinds of event (design §6), as they are after parsing.
//!
//! Times are Unix nanoseconds, whatever the producer wrote (RFC 3339, or Unix seconds,
//! milliseconds or nanoseconds, told apart by size). Text is what was sent, unmasked:
//! whoever stores or shows it masks it first.
//!
//! [`parse_record`] makes events of a record's value: one line, one event, or one
//! rejection. JSON `null` is an absent field. Unknown fields are kept; a known one of
//! the wrong type refuses the line, and the refusal names it.
mod facts;
mod job;
mod json;
mod level;
mod lineage;
mod lines;
mod log;
mod protobuf;
mod reason;
mod run;
mod take;
mod time;

use serde::{Deserialize, Serialize};

pub use facts::EventFact;
pub(crate) use facts::scalar;
pub use lines::parse_record;
pub use protobuf::{JobEventMessage, JobLogEntryMessage, LogMessage, MetricPointMessage, OutputMessage, job_log_entry};
pub use reason::{EventReason, Rejection};

/// Unix time in nanoseconds.
pub type UnixNs = i64;

/// What one record may hold; the record's own size is bounded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLimits {
    /// Bytes of a line (of a message, in protobuf).
    pub line_bytes: usize,
    /// Levels of objects and lists inside each other.
    pub nesting: usize,
    /// Bytes of a name or an id: everything but the texts below.
    pub name_bytes: usize,
    /// Bytes of `message` and `stack`.
    pub text_bytes: usize,
    /// Unknown fields of one event, `metrics.*` and `tags.*` included.
    pub unknown_fields: usize,
}

impl Default for EventLimits {
    fn default() -> EventLimits {
        EventLimits { line_bytes: 1 << 20, nesting: 32, name_bytes: 1024, text_bytes: 256 << 10, unknown_fields: 256 }
    }
}

/// What was made of one record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParsedEvents {
    /// The good lines, in order, each with its 1-based number (protobuf: the message's).
    pub events: Vec<(u32, Event)>,
    /// The refused lines, in order: all of them.
    pub rejections: Vec<Rejection>,
    /// Accepted events whose level was none that is known; they count as `INFO`.
    pub unknown_levels: u64,
}

impl ParsedEvents {
    /// How many rejections of a record carry their detail; the others have the reason only.
    pub const KEPT_DETAILS: usize = 20;
}

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

impl Event {
    /// Whose metrics it belongs to: what its record must be keyed by.
    pub fn subject(&self) -> Subject {
        match self {
            Event::Log(event) => Subject::Pipeline(event.pipeline_id.clone()),
            Event::Run(event) => Subject::Pipeline(event.pipeline_id.clone()),
            Event::Lineage(event) => Subject::Pipeline(event.pipeline_id.clone()),
            Event::Job(entry) => Subject::Job(entry.job_label.as_ref().unwrap_or(&entry.job_id).clone()),
        }
    }
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
    /// When it happened. Required.
    pub timestamp: UnixNs,
    /// `env`: the environment (`prod`).
    pub env: Option<Box<str>>,
    /// Required, not empty.
    pub pipeline_id: Box<str>,
    /// Its run. Never a label.
    pub run_id: Option<Box<str>>,
    /// The step that it belongs to.
    pub step: Option<Box<str>>,
    /// The part of the program that speaks.
    pub component: Option<Box<str>>,
    /// Required.
    pub level: Level,
    /// What is said.
    pub message: Option<Box<str>>,
    /// `error{type,message,stack}`; text alone is its message.
    pub error: Option<ErrorInfo>,
    /// `metrics.rows_written`.
    pub rows_written: Option<f64>,
    /// `metrics.rows_read`.
    pub rows_read: Option<f64>,
    /// `metrics.duration_ms`: milliseconds.
    pub duration_ms: Option<f64>,
    /// What ties events of one run together. Never a label.
    pub correlation_id: Option<Box<str>>,
    /// `tags.owner`.
    pub owner: Option<Box<str>>,
    /// `tags.dataset`.
    pub dataset: Option<Box<str>>,
    /// `raw` and every field without a place of its own (`metrics.*` and `tags.*`
    /// included), under its dotted path.
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorInfo {
    #[serde(rename = "type")]
    /// `type`: the class of the error, usually with its package.
    pub kind: Option<Box<str>>,
    /// What it says.
    pub message: Option<Box<str>>,
    /// The stack trace, lines as sent.
    pub stack: Option<Box<str>>,
}

/// A log level; what is no known one is `Info` and counted by the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// `TRACE`.
    Trace,
    /// `DEBUG`.
    Debug,
    /// `INFO`.
    #[default]
    Info,
    /// `WARN`, `WARNING`.
    Warn,
    /// `ERROR`.
    Error,
    /// `FATAL`, `CRITICAL`.
    Fatal,
}

/// A run's change of state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunEvent {
    /// Required, not empty. Never a label.
    pub run_id: Box<str>,
    /// Required, not empty.
    pub pipeline_id: Box<str>,
    /// What started it: `schedule`, `manual`, …
    pub trigger_type: Option<Box<str>>,
    /// `start_ts`.
    pub start: Option<UnixNs>,
    /// `end_ts`.
    pub end: Option<UnixNs>,
    /// Required.
    pub status: RunStatus,
    /// The step that it is at.
    pub current_step: Option<Box<str>>,
    /// An object as in a log event, or text.
    pub last_error: Option<ErrorInfo>,
    /// Together with the run id: the attempt.
    pub retry_count: u32,
    /// How often it may be tried again.
    pub max_retries: Option<u32>,
    /// Milliseconds that a run may take.
    pub sla_target_ms: Option<f64>,
    /// Who is to be called.
    pub owner: Option<Box<str>>,
    /// Who or what triggered it. Never a label.
    pub triggered_by: Option<Box<str>>,
    /// As in its log events.
    pub correlation_id: Option<Box<str>>,
    /// The git sha of the graph, where the producer gives one.
    pub dag_version: Option<Box<str>>,
    /// Compensation state and every other field, by dotted path.
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// A run's status as it is sent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    #[default]
    /// It waits.
    Queued,
    /// It began.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It ended with a part of its work done.
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
    /// When it happened. Required.
    pub timestamp: UnixNs,
    /// Required, not empty.
    pub pipeline_id: Box<str>,
    /// Its run. Never a label.
    pub run_id: Option<Box<str>>,
    /// As in the log events of the run.
    pub correlation_id: Option<Box<str>>,
    /// Required.
    pub operation: Operation,
    /// Required, not empty.
    pub dataset: Box<str>,
    /// The version of the dataset.
    pub version: Option<Box<str>>,
    /// The partition of the dataset. Never a label.
    pub partition: Option<Box<str>>,
    /// How many rows.
    pub rows: Option<f64>,
    /// Every other field, by dotted path.
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// What was done to a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It was read.
    #[default]
    Read,
    /// It was written.
    Write,
}

/// An entry of a job's log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobEntry {
    /// When it happened. Required.
    pub timestamp: UnixNs,
    /// The job run: names the file of the log store. Never a label.
    pub job_id: Box<str>,
    /// The job: what its metrics are of.
    pub job_label: Option<Box<str>>,
    /// What sort of job it is.
    pub job_type: Option<Box<str>>,
    /// What it makes: `outputs[{path}]`.
    pub outputs: Vec<Box<str>>,
    /// Counts the entries of a run.
    pub sequence_number: Option<u64>,
    /// Required.
    pub content: JobContent,
    /// Every other field, by dotted path.
    pub other: Vec<(Box<str>, serde_json::Value)>,
}

/// What a job's log entry holds.
#[derive(Debug, Clone, PartialEq)]
pub enum JobContent {
    /// A log line.
    Log {
        /// How grave it is.
        level: Level,
        /// What is said.
        message: Box<str>,
        /// Whatever the producer adds.
        fields: serde_json::Map<String, serde_json::Value>,
    },
    /// A metric point.
    Metric {
        /// The point's name.
        name: Box<str>,
        /// Its value: finite.
        value: f64,
        /// Its labels, as sent.
        labels: Vec<(Box<str>, Box<str>)>,
        /// The value's unit, as sent.
        unit: Option<Box<str>>,
    },
    /// `job_event`: something that happened to the job.
    Event {
        /// What happened.
        event_type: Box<str>,
        /// Whatever the producer adds.
        metadata: serde_json::Map<String, serde_json::Value>,
    },
}

impl Default for JobContent {
    fn default() -> JobContent {
        JobContent::Event { event_type: Box::from(""), metadata: serde_json::Map::new() }
    }
}
