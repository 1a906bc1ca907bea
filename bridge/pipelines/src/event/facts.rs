//! Events as facts: their fields under the names of design §6.
use std::borrow::Cow;

use serde_json::Value;

use super::{ErrorInfo, Event, JobContent, JobEntry, LineageEvent, LogEvent, RunEvent, Subject, UnixNs};
use crate::fact::{Fact, FactKind, Scalar};

/// An event as a template sees it.
///
/// Times (`timestamp`, `start_ts`, `end_ts`) are Unix seconds, however they were sent.
/// Of a job's entry, the content has its fields under `content.log`, `content.metric`
/// and `content.job_event`.
#[derive(Debug)]
pub struct EventFact<'a> {
    event: &'a Event,
    subject: Cow<'a, Subject>,
}

impl<'a> EventFact<'a> {
    /// The fact of an event.
    pub fn new(event: &'a Event) -> EventFact<'a> {
        EventFact { event, subject: Cow::Owned(event.subject()) }
    }

    /// The fact of an event that is counted under a subject.
    pub fn under(event: &'a Event, subject: &'a Subject) -> EventFact<'a> {
        EventFact { event, subject: Cow::Borrowed(subject) }
    }
}

impl Fact for EventFact<'_> {
    fn kind(&self) -> FactKind {
        match self.event {
            Event::Log(_) => FactKind::Log,
            Event::Run(_) => FactKind::Run,
            Event::Lineage(_) => FactKind::Lineage,
            Event::Job(_) => FactKind::Job,
        }
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn field(&self, path: &str) -> Option<Scalar<'_>> {
        match self.event {
            Event::Log(event) => log(event, path),
            Event::Run(event) => run(event, path),
            Event::Lineage(event) => lineage(event, path),
            Event::Job(entry) => job(entry, path),
        }
    }
}

fn log<'a>(event: &'a LogEvent, path: &str) -> Option<Scalar<'a>> {
    match path {
        "level" => Some(Scalar::Text(event.level.as_str())),
        "step" => text(&event.step),
        "component" => text(&event.component),
        "metrics.rows_read" => number(event.rows_read),
        "metrics.rows_written" => number(event.rows_written),
        "metrics.duration_ms" => number(event.duration_ms),
        "tags.owner" => text(&event.owner),
        "tags.dataset" => text(&event.dataset),
        "env" => text(&event.env),
        "pipeline_id" => Some(Scalar::Text(&event.pipeline_id)),
        "run_id" => text(&event.run_id),
        "correlation_id" => text(&event.correlation_id),
        "message" => text(&event.message),
        "timestamp" => Some(seconds(event.timestamp)),
        _ => error(event.error.as_ref(), path.strip_prefix("error.")).or_else(|| other(&event.other, path)),
    }
}

fn run<'a>(event: &'a RunEvent, path: &str) -> Option<Scalar<'a>> {
    match path {
        "run_id" => Some(Scalar::Text(&event.run_id)),
        "pipeline_id" => Some(Scalar::Text(&event.pipeline_id)),
        "trigger_type" => text(&event.trigger_type),
        "start_ts" => event.start.map(seconds),
        "end_ts" => event.end.map(seconds),
        "status" => Some(Scalar::Text(event.status.as_str())),
        "current_step" => text(&event.current_step),
        "retry_count" => Some(Scalar::Number(f64::from(event.retry_count))),
        "max_retries" => number(event.max_retries.map(f64::from)),
        "sla_target_ms" => number(event.sla_target_ms),
        "owner" => text(&event.owner),
        "triggered_by" => text(&event.triggered_by),
        "correlation_id" => text(&event.correlation_id),
        "dag_version" => text(&event.dag_version),
        _ => error(event.last_error.as_ref(), path.strip_prefix("last_error.")).or_else(|| other(&event.other, path)),
    }
}

fn lineage<'a>(event: &'a LineageEvent, path: &str) -> Option<Scalar<'a>> {
    match path {
        "timestamp" => Some(seconds(event.timestamp)),
        "pipeline_id" => Some(Scalar::Text(&event.pipeline_id)),
        "run_id" => text(&event.run_id),
        "correlation_id" => text(&event.correlation_id),
        "operation" => Some(Scalar::Text(event.operation.as_str())),
        "dataset" => Some(Scalar::Text(&event.dataset)),
        "version" => text(&event.version),
        "partition" => text(&event.partition),
        "rows" => number(event.rows),
        _ => other(&event.other, path),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a metric's value is a double")]
fn job<'a>(entry: &'a JobEntry, path: &str) -> Option<Scalar<'a>> {
    match path {
        "timestamp" => Some(seconds(entry.timestamp)),
        "job_id" => Some(Scalar::Text(&entry.job_id)),
        "job_label" => text(&entry.job_label),
        "job_type" => text(&entry.job_type),
        "sequence_number" => number(entry.sequence_number.map(|n| n as f64)),
        _ => content(&entry.content, path).or_else(|| other(&entry.other, path)),
    }
}

fn content<'a>(content: &'a JobContent, path: &str) -> Option<Scalar<'a>> {
    match content {
        JobContent::Log { level, message, fields } => match path.strip_prefix("content.log.")? {
            "level" => Some(Scalar::Text(level.as_str())),
            "message" => Some(Scalar::Text(message)),
            path => below(fields, path.strip_prefix("fields.")?),
        },
        JobContent::Metric { name, value, labels, unit } => match path.strip_prefix("content.metric.")? {
            "name" => Some(Scalar::Text(name)),
            "value" => Some(Scalar::Number(*value)),
            "unit" => text(unit),
            path => {
                let name = path.strip_prefix("labels.")?;
                labels.iter().find(|(known, _)| **known == *name).map(|(_, value)| Scalar::Text(value))
            }
        },
        JobContent::Event { event_type, metadata } => match path.strip_prefix("content.job_event.")? {
            "event_type" => Some(Scalar::Text(event_type)),
            path => below(metadata, path.strip_prefix("metadata.")?),
        },
    }
}

fn error<'a>(error: Option<&'a ErrorInfo>, path: Option<&str>) -> Option<Scalar<'a>> {
    let error = error?;
    match path? {
        "type" => text(&error.kind),
        "message" => text(&error.message),
        "stack" => text(&error.stack),
        _ => None,
    }
}

fn text(text: &Option<Box<str>>) -> Option<Scalar<'_>> {
    text.as_deref().map(Scalar::Text)
}

fn number(number: Option<f64>) -> Option<Scalar<'static>> {
    number.map(Scalar::Number)
}

#[allow(clippy::cast_precision_loss, reason = "a metric's value is a double; 1 µs is kept until 2255")]
fn seconds(time: UnixNs) -> Scalar<'static> {
    Scalar::Number((time / 1_000) as f64 / 1e6)
}

/// A field without a place of its own; of equal keys the last counts.
fn other<'a>(fields: &'a [(Box<str>, Value)], path: &str) -> Option<Scalar<'a>> {
    fields.iter().rev().find_map(|(key, value)| {
        let rest = path.strip_prefix(&**key)?;
        if rest.is_empty() { scalar(value) } else { walk(value, rest.strip_prefix('.')?) }
    })
}

fn walk<'a>(value: &'a Value, path: &str) -> Option<Scalar<'a>> {
    below(value.as_object()?, path)
}

/// Keys may hold dots themselves, so every way of cutting the path is tried.
fn below<'a>(fields: &'a serde_json::Map<String, Value>, path: &str) -> Option<Scalar<'a>> {
    if let Some(found) = fields.get(path).and_then(scalar) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(dot, _)| walk(fields.get(&path[..dot])?, &path[dot + 1..]))
}

/// A JSON value as a scalar; `None` for objects, lists and null.
pub(crate) fn scalar(value: &Value) -> Option<Scalar<'_>> {
    match value {
        Value::String(text) => Some(Scalar::Text(text)),
        Value::Number(number) => number.as_f64().map(Scalar::Number),
        Value::Bool(truth) => Some(Scalar::Bool(*truth)),
        _ => None,
    }
}
