//! Job log entries as protobuf: `templates/schemas/job_log_entry.proto`.
//!
//! The content type is `application/x-protobuf` for one message a record, and
//! `application/x-protobuf; encoding=delimited` for messages that are each preceded by
//! their length as a varint. What holds for the JSON form holds here, an empty text
//! standing for an absent one.
use std::collections::BTreeMap;

use prost::Message;

use super::reason::{EventReason, Refusal};
use super::{EventLimits, JobContent, JobEntry, Level, take, time};

/// `kafka2prom.v1.JobLogEntry`.
#[derive(Clone, PartialEq, Message)]
pub struct JobLogEntryMessage {
    /// RFC 3339, or a Unix number's digits.
    #[prost(string, tag = "1")]
    pub timestamp: String,
    /// The job run.
    #[prost(string, tag = "2")]
    pub job_id: String,
    /// The job.
    #[prost(string, tag = "3")]
    pub job_label: String,
    /// What sort of job it is.
    #[prost(string, tag = "4")]
    pub job_type: String,
    /// What it makes.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<OutputMessage>,
    /// Counts the entries of a run.
    #[prost(uint64, optional, tag = "6")]
    pub sequence_number: Option<u64>,
    /// What is said.
    #[prost(oneof = "job_log_entry::Content", tags = "7, 8, 9")]
    pub content: Option<job_log_entry::Content>,
}

/// The oneof of [`JobLogEntryMessage`].
pub mod job_log_entry {
    /// What an entry holds.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Content {
        /// A log line.
        #[prost(message, tag = "7")]
        Log(super::LogMessage),
        /// A metric point.
        #[prost(message, tag = "8")]
        Metric(super::MetricPointMessage),
        /// Something that happened to the job.
        #[prost(message, tag = "9")]
        JobEvent(super::JobEventMessage),
    }
}

/// `kafka2prom.v1.Output`.
#[derive(Clone, PartialEq, Message)]
pub struct OutputMessage {
    /// Its path or reference.
    #[prost(string, tag = "1")]
    pub path: String,
}

/// `kafka2prom.v1.LogMessage`.
#[derive(Clone, PartialEq, Message)]
pub struct LogMessage {
    /// A level's name.
    #[prost(string, tag = "1")]
    pub level: String,
    /// What is said.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Whatever the producer adds.
    #[prost(btree_map = "string, string", tag = "3")]
    pub fields: BTreeMap<String, String>,
}

/// `kafka2prom.v1.MetricPoint`.
#[derive(Clone, PartialEq, Message)]
pub struct MetricPointMessage {
    /// The point's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "3")]
    pub labels: BTreeMap<String, String>,
    /// The value's unit.
    #[prost(string, tag = "4")]
    pub unit: String,
}

/// `kafka2prom.v1.JobEvent`.
#[derive(Clone, PartialEq, Message)]
pub struct JobEventMessage {
    /// What happened.
    #[prost(string, tag = "1")]
    pub event_type: String,
    /// Whatever the producer adds.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
}

/// Cuts the first message off `rest`: its length is its varint prefix.
pub(super) fn next_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let broken = |what: &str| Refusal::new(EventReason::Protobuf, what);
    let length = prost::decode_length_delimiter(&mut *rest).map_err(|_| broken("no length before the message"))?;
    let (message, after) = rest.split_at_checked(length).ok_or_else(|| broken("the message is cut off"))?;
    *rest = after;
    Ok(message)
}

/// Makes an entry of one message; the second is whether its level was a known one.
pub(super) fn job(bytes: &[u8], limits: &EventLimits) -> Result<(JobEntry, bool), Refusal> {
    // Decoding errors name tags and wire types, never contents.
    let message =
        JobLogEntryMessage::decode(bytes).map_err(|error| Refusal::new(EventReason::Protobuf, error.to_string()))?;
    let mut entry = JobEntry {
        timestamp: timestamp(&message.timestamp)?,
        job_id: required("job_id", message.job_id, limits)?,
        job_label: name("job_label", message.job_label, limits)?,
        job_type: name("job_type", message.job_type, limits)?,
        outputs: Vec::with_capacity(message.outputs.len()),
        sequence_number: message.sequence_number,
        ..JobEntry::default()
    };
    for output in message.outputs {
        entry.outputs.push(required("outputs.path", output.path, limits)?);
    }
    let content = message.content.ok_or_else(|| Refusal::missing("content"))?;
    let known_level;
    (entry.content, known_level) = self::content(content, limits)?;
    Ok((entry, known_level))
}

fn timestamp(text: &str) -> Result<super::UnixNs, Refusal> {
    if text.is_empty() {
        return Err(Refusal::missing("timestamp"));
    }
    time::text(text).ok_or_else(|| take::bad_time("timestamp", "text"))
}

fn name(field: &str, text: String, limits: &EventLimits) -> Result<Option<Box<str>>, Refusal> {
    take::check_length(field, &text, limits.name_bytes)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

fn required(field: &str, text: String, limits: &EventLimits) -> Result<Box<str>, Refusal> {
    take::required(field, name(field, text, limits)?)
}

fn content(content: job_log_entry::Content, limits: &EventLimits) -> Result<(JobContent, bool), Refusal> {
    match content {
        job_log_entry::Content::Log(log) => {
            if log.level.is_empty() {
                return Err(Refusal::missing("content.log.level"));
            }
            let level = Level::from_name(&log.level);
            take::check_length("content.log.message", &log.message, limits.text_bytes)?;
            let content = JobContent::Log {
                level: level.unwrap_or_default(),
                message: log.message.into(),
                fields: map(log.fields),
            };
            Ok((content, level.is_some()))
        }
        job_log_entry::Content::Metric(point) => Ok((metric(point, limits)?, true)),
        job_log_entry::Content::JobEvent(event) => {
            let event_type = required("content.job_event.event_type", event.event_type, limits)?;
            Ok((JobContent::Event { event_type, metadata: map(event.metadata) }, true))
        }
    }
}

fn metric(point: MetricPointMessage, limits: &EventLimits) -> Result<JobContent, Refusal> {
    if !point.value.is_finite() {
        return Err(Refusal::bad("content.metric.value", "a finite number", "another one"));
    }
    take::check_count("labels in content.metric.labels", point.labels.len(), limits)?;
    let mut labels = Vec::with_capacity(point.labels.len());
    for (key, value) in point.labels {
        take::check_length("content.metric.labels", &value, limits.name_bytes)?;
        labels.push((key.into(), value.into()));
    }
    Ok(JobContent::Metric {
        name: required("content.metric.name", point.name, limits)?,
        value: point.value,
        labels,
        unit: name("content.metric.unit", point.unit, limits)?,
    })
}

fn map(texts: BTreeMap<String, String>) -> serde_json::Map<String, serde_json::Value> {
    texts.into_iter().map(|(key, value)| (key, value.into())).collect()
}
