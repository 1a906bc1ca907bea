//! Why a line is refused.
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a line of an event record is refused: a bounded label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventReason {
    /// A content type that holds no events. Costs the record.
    ContentType,
    /// Not UTF-8.
    Utf8,
    /// Longer than the limit.
    LineTooLong,
    /// No JSON.
    Syntax,
    /// Objects and lists inside each other beyond the limit.
    TooDeep,
    /// JSON, but no object.
    NotAnObject,
    /// Neither the header nor the fields tell the kind.
    UnknownKind,
    /// A required field is absent, null or empty.
    MissingField,
    /// A known field of the wrong type, or with a value that it may not have.
    BadField,
    /// A timestamp that is none.
    BadTimestamp,
    /// A text longer than the limit of its field.
    FieldTooLong,
    /// More unknown fields than the limit.
    TooManyFields,
    /// Bytes that are no protobuf message of the schema.
    Protobuf,
    /// The record's key is not the pipeline (the job) of the event (design §3).
    Miskeyed,
}

impl EventReason {
    /// Every reason, for metrics that must exist before the first rejection.
    pub const ALL: [EventReason; 14] = [
        EventReason::ContentType,
        EventReason::Utf8,
        EventReason::LineTooLong,
        EventReason::Syntax,
        EventReason::TooDeep,
        EventReason::NotAnObject,
        EventReason::UnknownKind,
        EventReason::MissingField,
        EventReason::BadField,
        EventReason::BadTimestamp,
        EventReason::FieldTooLong,
        EventReason::TooManyFields,
        EventReason::Protobuf,
        EventReason::Miskeyed,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            EventReason::ContentType => "content_type",
            EventReason::Utf8 => "utf8",
            EventReason::LineTooLong => "line_too_long",
            EventReason::Syntax => "syntax",
            EventReason::TooDeep => "too_deep",
            EventReason::NotAnObject => "not_an_object",
            EventReason::UnknownKind => "unknown_kind",
            EventReason::MissingField => "missing_field",
            EventReason::BadField => "bad_field",
            EventReason::BadTimestamp => "bad_timestamp",
            EventReason::FieldTooLong => "field_too_long",
            EventReason::TooManyFields => "too_many_fields",
            EventReason::Protobuf => "protobuf",
            EventReason::Miskeyed => "miskeyed",
        }
    }
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refused line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its 1-based number (protobuf: the message's).
    pub line: u32,
    /// The bounded reason.
    pub reason: EventReason,
    /// What is wrong and what would be right. Names fields, never quotes a value: the
    /// line is not masked yet. Empty beyond [`ParsedEvents::KEPT_DETAILS`](super::ParsedEvents).
    pub detail: Box<str>,
}

impl fmt::Display for Rejection {
    /// `line 3: missing_field: run_id`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// A rejection whose line is not known yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: EventReason,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(reason: EventReason, detail: impl Into<String>) -> Refusal {
        Refusal { reason, detail: detail.into() }
    }

    pub(super) fn missing(field: &str) -> Refusal {
        Refusal::new(EventReason::MissingField, field)
    }

    pub(super) fn bad(field: &str, expected: &str, found: &str) -> Refusal {
        Refusal::new(EventReason::BadField, format!("{field}: expected {expected}, found {found}"))
    }
}
