//! A label's value, made from a fact.
use std::borrow::Cow;

use super::identifier::Identifier;
use crate::fact::{Fact, Scalar};

/// What stands for every value that may not be a label, and for what is beyond a cap.
pub(crate) const OTHER: &str = "other";

/// How a label gets its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LabelSpec {
    /// Always the same.
    Constant(Box<str>),
    /// From a field of the fact.
    Field(FieldLabel),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldLabel {
    pub(super) field: Box<str>,
    pub(super) take: Take,
    /// Known values and what they become, sorted.
    pub(super) values: Box<[(Box<str>, Box<str>)]>,
    /// What any other becomes.
    pub(super) rest: Option<Box<str>>,
    /// Where the field is absent.
    pub(super) default: Option<Box<str>>,
}

/// Which part of a text counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    Whole,
    /// What precedes the first `.`, `/`, `:` or `$`.
    First,
    /// What follows the last one.
    Last,
}

impl Take {
    pub(super) fn of(self, text: &str) -> &str {
        let separator = |c: char| matches!(c, '.' | '/' | ':' | '$');
        match self {
            Take::Whole => text,
            Take::First => text.trim_start_matches(separator).split(separator).next().unwrap_or(text),
            Take::Last => text.trim_end_matches(separator).rsplit(separator).next().unwrap_or(text),
        }
    }
}

impl LabelSpec {
    /// The label's value for a fact, empty for none, and what was hidden behind `other`.
    pub(crate) fn value<'a>(&'a self, fact: &'a dyn Fact) -> (Cow<'a, str>, Option<Identifier>) {
        match self {
            LabelSpec::Constant(value) => (Cow::Borrowed(value), None),
            LabelSpec::Field(label) => label.value(fact.field(&label.field)),
        }
    }
}

impl FieldLabel {
    fn value<'a>(&'a self, found: Option<Scalar<'a>>) -> (Cow<'a, str>, Option<Identifier>) {
        let text = match found {
            Some(Scalar::Text(text)) if !text.is_empty() => Cow::Borrowed(self.take.of(text)),
            Some(Scalar::Number(number)) => Cow::Owned(number.to_string()),
            Some(Scalar::Bool(truth)) => Cow::Borrowed(if truth { "true" } else { "false" }),
            _ => return (Cow::Borrowed(self.default.as_deref().unwrap_or_default()), None),
        };
        if let Ok(at) = self.values.binary_search_by(|(from, _)| (**from).cmp(&text)) {
            return (Cow::Borrowed(&self.values[at].1), None);
        }
        if let Some(rest) = &self.rest {
            return (Cow::Borrowed(rest), None);
        }
        match Identifier::of(&text) {
            Some(identifier) => (Cow::Borrowed(OTHER), Some(identifier)),
            None => (text, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(take: Take, values: &[(&str, &str)], rest: Option<&str>, default: Option<&str>) -> FieldLabel {
        let values = values.iter().map(|(from, to)| (Box::from(*from), Box::from(*to))).collect();
        FieldLabel { field: "f".into(), take, values, rest: rest.map(Box::from), default: default.map(Box::from) }
    }

    #[test]
    fn values_are_taken_mapped_and_guarded() {
        let text = |label: &FieldLabel, sent: Option<Scalar<'_>>, expected: &str, hidden: bool| {
            let (value, identifier) = label.value(sent);
            assert_eq!((&*value, identifier.is_some()), (expected, hidden), "{label:?} of {sent:?}");
        };
        let plain = label(Take::Whole, &[], None, Some("none"));
        text(&plain, Some(Scalar::Text("extract")), "extract", false);
        text(&plain, Some(Scalar::Text("")), "none", false);
        text(&plain, None, "none", false);
        text(&plain, Some(Scalar::Number(3.0)), "3", false);
        text(&plain, Some(Scalar::Number(1e12)), "other", true);
        text(&plain, Some(Scalar::Bool(true)), "true", false);
        text(&plain, Some(Scalar::Text("a1b2c3d4e5f6")), "other", true);
        let bare = label(Take::Whole, &[], None, None);
        text(&bare, None, "", false);
        let last = label(Take::Last, &[], None, None);
        text(&last, Some(Scalar::Text("java.lang.Outer$Inner")), "Inner", false);
        text(&last, Some(Scalar::Text("ValueError")), "ValueError", false);
        text(&last, Some(Scalar::Text("a.b.")), "b", false);
        text(&last, Some(Scalar::Text("...")), "", false);
        let first = label(Take::First, &[], None, None);
        text(&first, Some(Scalar::Text("bronze.orders")), "bronze", false);
        text(&first, Some(Scalar::Text("/silver/orders")), "silver", false);
        let closed = label(Take::Whole, &[("20261121", "today"), ("ok", "success")], Some("failure"), Some("unknown"));
        text(&closed, Some(Scalar::Text("ok")), "success", false);
        text(&closed, Some(Scalar::Text("20261121")), "today", false);
        text(&closed, Some(Scalar::Text("123e4567-e89b-12d3-a456-426614174000")), "failure", false);
        text(&closed, None, "unknown", false);
    }
}
