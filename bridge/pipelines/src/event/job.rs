//! Job log entries as JSON.
use super::json::{Node, Object, into_map};
use super::reason::Refusal;
use super::take::{self, Other};
use super::{EventLimits, JobContent, JobEntry};

/// Makes an entry of a line's fields; the second is whether its level was a known one.
pub(super) fn job(fields: Object<'_>, limits: &EventLimits) -> Result<(JobEntry, bool), Refusal> {
    let mut entry = JobEntry::default();
    let mut other = Other::new(limits);
    let (mut timestamp, mut job, mut content) = (None, None, None);
    for (key, node) in fields {
        match &*key {
            "timestamp" => timestamp = take::time("timestamp", &node)?,
            "job_id" => job = take::name("job_id", node, limits)?,
            "job_label" => entry.job_label = take::name("job_label", node, limits)?.filter(|label| !label.is_empty()),
            "job_type" => entry.job_type = take::name("job_type", node, limits)?,
            "outputs" => entry.outputs = outputs(node, limits)?,
            "sequence_number" => entry.sequence_number = take::whole("sequence_number", &node)?,
            "content" if node != Node::Null => content = Some(node),
            "content" => content = None,
            _ => other.push(&key, node)?,
        }
    }
    entry.timestamp = timestamp.ok_or_else(|| Refusal::missing("timestamp"))?;
    entry.job_id = take::required("job_id", job)?;
    let content = content.ok_or_else(|| Refusal::missing("content"))?;
    let mut beside = Beside { limits, other: &mut other, known_level: true };
    entry.content = self::content(content, &mut beside)?;
    let known_level = beside.known_level;
    entry.other = other.fields;
    Ok((entry, known_level))
}

/// `[{path}]`, or texts.
fn outputs(node: Node<'_>, limits: &EventLimits) -> Result<Vec<Box<str>>, Refusal> {
    let items = match node {
        Node::Null => return Ok(Vec::new()),
        Node::List(items) => items,
        other => return Err(Refusal::bad("outputs", "a list", other.describe())),
    };
    let mut outputs = Vec::with_capacity(items.len());
    for item in items {
        let path = match item {
            Node::Object(fields) => fields.into_iter().rev().find(|(key, _)| key == "path").map(|(_, node)| node),
            text => Some(text),
        };
        let path = path.map_or(Ok(None), |node| take::name("outputs.path", node, limits))?;
        outputs.push(take::required("outputs.path", path)?);
    }
    Ok(outputs)
}

const ONE_OF: &str = "an object with one of log, metric and job_event";

/// What is read of a line beside the content itself.
struct Beside<'a, 'l> {
    limits: &'l EventLimits,
    other: &'a mut Other<'l>,
    known_level: bool,
}

fn content(node: Node<'_>, beside: &mut Beside<'_, '_>) -> Result<JobContent, Refusal> {
    let mut found = take::object("content", node)?;
    found.retain(|(_, node)| *node != Node::Null);
    let (Some((key, node)), true) = (found.pop(), found.is_empty()) else {
        return Err(Refusal::bad("content", ONE_OF, "none or several"));
    };
    match &*key {
        "log" => log(take::object("content.log", node)?, beside),
        "metric" => metric(take::object("content.metric", node)?, beside),
        "job_event" => event(take::object("content.job_event", node)?, beside),
        _ => Err(Refusal::bad("content", ONE_OF, "another key")),
    }
}

fn log(object: Object<'_>, beside: &mut Beside<'_, '_>) -> Result<JobContent, Refusal> {
    let (mut level, mut message, mut fields) = (None, None, serde_json::Map::new());
    for (key, node) in object {
        match &*key {
            "level" => level = take::level(&node),
            "message" => message = take::text("content.log.message", node, beside.limits)?,
            "fields" => fields = into_map(take::object("content.log.fields", node)?),
            _ => beside.other.push(&format!("content.log.{key}"), node)?,
        }
    }
    let level = level.ok_or_else(|| Refusal::missing("content.log.level"))?;
    let message = message.ok_or_else(|| Refusal::missing("content.log.message"))?;
    beside.known_level = level.is_some();
    Ok(JobContent::Log { level: level.unwrap_or_default(), message, fields })
}

fn metric(object: Object<'_>, beside: &mut Beside<'_, '_>) -> Result<JobContent, Refusal> {
    let (mut name, mut value, mut labels, mut unit) = (None, None, Vec::new(), None);
    for (key, node) in object {
        match &*key {
            "name" => name = take::name("content.metric.name", node, beside.limits)?,
            "value" => value = take::number("content.metric.value", &node)?,
            "labels" => labels = metric_labels(take::object("content.metric.labels", node)?, beside.limits)?,
            "unit" => unit = take::name("content.metric.unit", node, beside.limits)?,
            _ => beside.other.push(&format!("content.metric.{key}"), node)?,
        }
    }
    let name = take::required("content.metric.name", name)?;
    let value = value.ok_or_else(|| Refusal::missing("content.metric.value"))?;
    Ok(JobContent::Metric { name, value, labels, unit })
}

/// Names and values, as sent.
type TextPairs = Vec<(Box<str>, Box<str>)>;

fn metric_labels(object: Object<'_>, limits: &EventLimits) -> Result<TextPairs, Refusal> {
    take::check_count("labels in content.metric.labels", object.len(), limits)?;
    let mut labels = TextPairs::with_capacity(object.len());
    for (key, node) in object {
        let Some(value) = take::name("content.metric.labels", node, limits)? else {
            continue;
        };
        labels.retain(|(known, _)| **known != *key);
        labels.push((key.into(), value));
    }
    Ok(labels)
}

fn event(object: Object<'_>, beside: &mut Beside<'_, '_>) -> Result<JobContent, Refusal> {
    let (mut event_type, mut metadata) = (None, serde_json::Map::new());
    for (key, node) in object {
        match &*key {
            "event_type" => event_type = take::name("content.job_event.event_type", node, beside.limits)?,
            "metadata" => metadata = into_map(take::object("content.job_event.metadata", node)?),
            _ => beside.other.push(&format!("content.job_event.{key}"), node)?,
        }
    }
    let event_type = take::required("content.job_event.event_type", event_type)?;
    Ok(JobContent::Event { event_type, metadata })
}
