//! Lineage events.
use super::json::{Node, Object};
use super::reason::Refusal;
use super::take::{self, Other};
use super::{EventLimits, LineageEvent, Operation};

pub(super) fn lineage(fields: Object<'_>, limits: &EventLimits) -> Result<LineageEvent, Refusal> {
    let mut event = LineageEvent::default();
    let mut other = Other::new(limits);
    let (mut timestamp, mut pipeline, mut operation, mut dataset) = (None, None, None, None);
    for (key, node) in fields {
        match &*key {
            "timestamp" => timestamp = take::time("timestamp", &node)?,
            "pipeline_id" => pipeline = take::name("pipeline_id", node, limits)?,
            "run_id" => event.run_id = take::name("run_id", node, limits)?,
            "correlation_id" => event.correlation_id = take::name("correlation_id", node, limits)?,
            "operation" => operation = self::operation(&node)?,
            "dataset" => dataset = take::name("dataset", node, limits)?,
            "version" => event.version = version(node, limits)?,
            "partition" => event.partition = take::name("partition", node, limits)?,
            "rows" => event.rows = take::number("rows", &node)?,
            _ => other.push(&key, node)?,
        }
    }
    event.timestamp = timestamp.ok_or_else(|| Refusal::missing("timestamp"))?;
    event.pipeline_id = take::required("pipeline_id", pipeline)?;
    event.operation = operation.ok_or_else(|| Refusal::missing("operation"))?;
    event.dataset = take::required("dataset", dataset)?;
    event.other = other.fields;
    Ok(event)
}

fn operation(node: &Node<'_>) -> Result<Option<Operation>, Refusal> {
    let found = match node {
        Node::Null => return Ok(None),
        Node::Text(name) => match Operation::from_name(name) {
            Some(operation) => return Ok(Some(operation)),
            None => "another text",
        },
        other => other.describe(),
    };
    Err(Refusal::bad("operation", "read or write", found))
}

/// A table format's version is often a number.
fn version(node: Node<'_>, limits: &EventLimits) -> Result<Option<Box<str>>, Refusal> {
    match node {
        Node::Whole(n) => Ok(Some(n.to_string().into())),
        node => take::name("version", node, limits),
    }
}
