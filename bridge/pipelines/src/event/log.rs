//! Log events.
use super::json::Object;
use super::reason::Refusal;
use super::take::{self, Other};
use super::{EventLimits, LogEvent};

/// Makes a log event of a line's fields; the second is whether its level was a known one.
pub(super) fn log(fields: Object<'_>, limits: &EventLimits) -> Result<(LogEvent, bool), Refusal> {
    let mut event = LogEvent::default();
    let mut other = Other::new(limits);
    let (mut timestamp, mut pipeline, mut level) = (None, None, None);
    for (key, node) in fields {
        match &*key {
            "timestamp" => timestamp = take::time("timestamp", &node)?,
            "env" => event.env = take::name("env", node, limits)?,
            "pipeline_id" => pipeline = take::name("pipeline_id", node, limits)?,
            "run_id" => event.run_id = take::name("run_id", node, limits)?,
            "step" => event.step = take::name("step", node, limits)?,
            "component" => event.component = take::name("component", node, limits)?,
            "level" => level = take::level(&node),
            "message" => event.message = take::text("message", node, limits)?,
            "error" => event.error = take::error("error", node, limits, &mut other)?,
            "metrics" => metrics(take::object("metrics", node)?, &mut event, &mut other)?,
            "correlation_id" => event.correlation_id = take::name("correlation_id", node, limits)?,
            "tags" => tags(take::object("tags", node)?, &mut event, limits, &mut other)?,
            _ => other.push(&key, node)?,
        }
    }
    event.timestamp = timestamp.ok_or_else(|| Refusal::missing("timestamp"))?;
    event.pipeline_id = take::required("pipeline_id", pipeline)?;
    let level = level.ok_or_else(|| Refusal::missing("level"))?;
    event.level = level.unwrap_or_default();
    event.other = other.fields;
    Ok((event, level.is_some()))
}

fn metrics(fields: Object<'_>, event: &mut LogEvent, other: &mut Other<'_>) -> Result<(), Refusal> {
    for (key, node) in fields {
        match &*key {
            "rows_written" => event.rows_written = take::number("metrics.rows_written", &node)?,
            "rows_read" => event.rows_read = take::number("metrics.rows_read", &node)?,
            "duration_ms" => event.duration_ms = take::number("metrics.duration_ms", &node)?,
            _ => other.push(&format!("metrics.{key}"), node)?,
        }
    }
    Ok(())
}

fn tags(fields: Object<'_>, event: &mut LogEvent, limits: &EventLimits, other: &mut Other<'_>) -> Result<(), Refusal> {
    for (key, node) in fields {
        match &*key {
            "owner" => event.owner = take::name("tags.owner", node, limits)?,
            "dataset" => event.dataset = take::name("tags.dataset", node, limits)?,
            _ => other.push(&format!("tags.{key}"), node)?,
        }
    }
    Ok(())
}
