//! What feeds a metric: which facts, with which labels and which value.
use super::label::LabelSpec;
use super::value::ValueSpec;
use crate::fact::{Fact, FactKind, Scalar};

/// One way of feeding a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) kind: FactKind,
    pub(crate) conditions: Box<[Condition]>,
    /// In the order of the metric's label names.
    pub(crate) labels: Box<[LabelSpec]>,
    pub(crate) value: ValueSpec,
    /// A fact without the value's field takes the gauge away.
    pub(crate) absent_removes: bool,
}

/// One condition on a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) field: Box<str>,
    pub(crate) test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// Its text is one of these.
    OneOf(Box<[Box<str>]>),
    /// It is there, or is not.
    Present(bool),
}

impl Rule {
    /// Whether a fact of the rule's kind meets all conditions.
    pub(crate) fn matches(&self, fact: &dyn Fact) -> bool {
        self.conditions.iter().all(|condition| condition.holds(fact.field(&condition.field)))
    }
}

impl Condition {
    fn holds(&self, found: Option<Scalar<'_>>) -> bool {
        match (&self.test, found) {
            (Test::Present(wanted), found) => found.is_some() == *wanted,
            (Test::OneOf(_), None) => false,
            (Test::OneOf(texts), Some(Scalar::Text(text))) => texts.iter().any(|t| **t == *text),
            (Test::OneOf(texts), Some(Scalar::Bool(truth))) => {
                texts.iter().any(|t| **t == *if truth { "true" } else { "false" })
            }
            (Test::OneOf(texts), Some(Scalar::Number(number))) => {
                texts.iter().any(|t| t.parse::<f64>().is_ok_and(|wanted| wanted == number))
            }
        }
    }
}
