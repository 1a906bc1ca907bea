//! Run events.
use super::json::{Node, Object};
use super::reason::Refusal;
use super::take::{self, Other};
use super::{EventLimits, RunEvent, RunStatus};

pub(super) fn run(fields: Object<'_>, limits: &EventLimits) -> Result<RunEvent, Refusal> {
    let mut event = RunEvent::default();
    let mut other = Other::new(limits);
    let (mut run, mut pipeline, mut status) = (None, None, None);
    for (key, node) in fields {
        match &*key {
            "run_id" => run = take::name("run_id", node, limits)?,
            "pipeline_id" => pipeline = take::name("pipeline_id", node, limits)?,
            "trigger_type" => event.trigger_type = take::name("trigger_type", node, limits)?,
            "start_ts" => event.start = take::time("start_ts", &node)?,
            "end_ts" => event.end = take::time("end_ts", &node)?,
            "status" => status = self::status(&node)?,
            "current_step" => event.current_step = take::name("current_step", node, limits)?,
            "last_error" => event.last_error = take::error("last_error", node, limits, &mut other)?,
            "retry_count" => event.retry_count = take::count("retry_count", &node)?.unwrap_or(0),
            "max_retries" => event.max_retries = take::count("max_retries", &node)?,
            "sla_target_ms" => event.sla_target_ms = take::number("sla_target_ms", &node)?,
            "owner" => event.owner = take::name("owner", node, limits)?,
            "triggered_by" => event.triggered_by = take::name("triggered_by", node, limits)?,
            "correlation_id" => event.correlation_id = take::name("correlation_id", node, limits)?,
            "dag_version" => event.dag_version = take::name("dag_version", node, limits)?,
            _ => other.push(&key, node)?,
        }
    }
    event.run_id = take::required("run_id", run)?;
    event.pipeline_id = take::required("pipeline_id", pipeline)?;
    event.status = status.ok_or_else(|| Refusal::missing("status"))?;
    event.other = other.fields;
    Ok(event)
}

fn status(node: &Node<'_>) -> Result<Option<RunStatus>, Refusal> {
    let found = match node {
        Node::Null => return Ok(None),
        Node::Text(name) => match RunStatus::from_name(name) {
            Some(status) => return Ok(Some(status)),
            None => "another text",
        },
        other => other.describe(),
    };
    Err(Refusal::bad("status", "QUEUED, RUNNING, SUCCEEDED, FAILED or PARTIAL", found))
}
