//! Fields of an object, with the type that they must have. `null` is absent.
use super::json::{Node, Object};
use super::reason::{EventReason, Refusal};
use super::time::timestamp;
use super::{ErrorInfo, EventLimits, Level, UnixNs};

/// A name or an id.
pub(super) fn name(field: &str, node: Node<'_>, limits: &EventLimits) -> Result<Option<Box<str>>, Refusal> {
    bounded(field, node, limits.name_bytes)
}

/// A message or a stack.
pub(super) fn text(field: &str, node: Node<'_>, limits: &EventLimits) -> Result<Option<Box<str>>, Refusal> {
    bounded(field, node, limits.text_bytes)
}

fn bounded(field: &str, node: Node<'_>, most: usize) -> Result<Option<Box<str>>, Refusal> {
    let text = match node {
        Node::Null => return Ok(None),
        Node::Text(text) => text,
        other => return Err(Refusal::bad(field, "text", other.describe())),
    };
    check_length(field, &text, most)?;
    Ok(Some(text.into()))
}

pub(super) fn check_length(field: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() <= most {
        return Ok(());
    }
    Err(Refusal::new(EventReason::FieldTooLong, format!("{field}: {} bytes, at most {most}", text.len())))
}

/// The bound on what a producer may add of its own.
pub(super) fn check_count(what: &str, count: usize, limits: &EventLimits) -> Result<(), Refusal> {
    let most = limits.unknown_fields;
    if count <= most {
        return Ok(());
    }
    Err(Refusal::new(EventReason::TooManyFields, format!("more than {most} {what}")))
}

/// A field that must be there and not be empty.
pub(super) fn required(field: &str, value: Option<Box<str>>) -> Result<Box<str>, Refusal> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| Refusal::missing(field))
}

pub(super) fn number(field: &str, node: &Node<'_>) -> Result<Option<f64>, Refusal> {
    match node {
        Node::Null => Ok(None),
        node => node.number().map(Some).ok_or_else(|| Refusal::bad(field, "a number", node.describe())),
    }
}

/// A whole number of at least 0.
pub(super) fn whole(field: &str, node: &Node<'_>) -> Result<Option<u64>, Refusal> {
    match node {
        Node::Null => Ok(None),
        Node::Whole(n) => Ok(Some(*n)),
        node => Err(Refusal::bad(field, "a whole number of at least 0", node.describe())),
    }
}

/// A whole number that counts tries.
pub(super) fn count(field: &str, node: &Node<'_>) -> Result<Option<u32>, Refusal> {
    let Some(n) = whole(field, node)? else {
        return Ok(None);
    };
    u32::try_from(n).map(Some).map_err(|_| Refusal::bad(field, "a whole number below 2^32", "a larger one"))
}

pub(super) fn time(field: &str, node: &Node<'_>) -> Result<Option<UnixNs>, Refusal> {
    if *node == Node::Null {
        return Ok(None);
    }
    timestamp(node).map(Some).ok_or_else(|| bad_time(field, node.describe()))
}

pub(super) fn bad_time(field: &str, found: &str) -> Refusal {
    let expected = "expected RFC 3339 text or a Unix number of s, ms, µs or ns, from 1970 to 2262";
    Refusal::new(EventReason::BadTimestamp, format!("{field}: {expected}, found {found} that is none"))
}

/// A level; `None` inside is a level that is none of the known ones.
pub(super) fn level(node: &Node<'_>) -> Option<Option<Level>> {
    match node {
        Node::Null => None,
        Node::Text(name) => Some(Level::from_name(name)),
        _ => Some(None),
    }
}

pub(super) fn object<'a>(field: &str, node: Node<'a>) -> Result<Object<'a>, Refusal> {
    match node {
        Node::Null => Ok(Vec::new()),
        Node::Object(fields) => Ok(fields),
        other => Err(Refusal::bad(field, "an object", other.describe())),
    }
}

/// `error{type,message,stack}`, or text, which is its message.
pub(super) fn error(
    field: &str,
    node: Node<'_>,
    limits: &EventLimits,
    other: &mut Other<'_>,
) -> Result<Option<ErrorInfo>, Refusal> {
    let fields = match node {
        Node::Null => return Ok(None),
        Node::Text(_) => return Ok(Some(ErrorInfo { message: text(field, node, limits)?, ..ErrorInfo::default() })),
        Node::Object(fields) => fields,
        found => return Err(Refusal::bad(field, "an object or text", found.describe())),
    };
    let mut error = ErrorInfo::default();
    for (key, node) in fields {
        match &*key {
            "type" => error.kind = name(&format!("{field}.type"), node, limits)?,
            "message" => error.message = text(&format!("{field}.message"), node, limits)?,
            "stack" => error.stack = text(&format!("{field}.stack"), node, limits)?,
            _ => other.push(&format!("{field}.{key}"), node)?,
        }
    }
    Ok(Some(error))
}

/// The fields without a place of their own.
pub(super) struct Other<'l> {
    pub(super) fields: Vec<(Box<str>, serde_json::Value)>,
    limits: &'l EventLimits,
}

impl<'l> Other<'l> {
    pub(super) fn new(limits: &'l EventLimits) -> Other<'l> {
        Other { fields: Vec::new(), limits }
    }

    pub(super) fn push(&mut self, path: &str, node: Node<'_>) -> Result<(), Refusal> {
        check_count("unknown fields", self.fields.len() + 1, self.limits)?;
        check_length("a field's name", path, self.limits.name_bytes)?;
        self.fields.push((path.into(), node.into_value()));
        Ok(())
    }
}
