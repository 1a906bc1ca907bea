//! What of a fact decides which rules it meets and which labels they give it: facts of
//! one kind with equal keys need that worked out once.
use super::label::{LabelSpec, Take};
use super::rule::{Rule, Test};
use crate::fact::{Fact, Scalar};

/// Bytes of a key that is worth keeping.
const MAX_KEY_BYTES: usize = 512;

/// One part of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyPart {
    field: Box<str>,
    of: PartOf,
}

/// How much of a field counts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum PartOf {
    /// Whether it is there.
    Presence,
    /// Its value; of a text, this part.
    Value(Take),
}

/// The key's parts, of all rules of one kind of fact.
pub(super) fn parts<'r>(rules: impl Iterator<Item = &'r Rule> + Clone) -> Box<[KeyPart]> {
    let mut parts: Vec<KeyPart> = Vec::new();
    let mut add = |field: &str, of: PartOf| {
        let part = KeyPart { field: field.into(), of };
        if !parts.contains(&part) {
            parts.push(part);
        }
    };
    for rule in rules {
        for condition in &rule.conditions {
            match condition.test {
                Test::OneOf(_) => add(&condition.field, PartOf::Value(Take::Whole)),
                Test::Present(_) => add(&condition.field, PartOf::Presence),
            }
        }
        for label in &rule.labels {
            if let LabelSpec::Field(label) = label {
                add(&label.field, PartOf::Value(label.take));
            }
        }
    }
    parts.into()
}

/// Writes a fact's key to `out`; `false` if it is too long to be kept.
pub(super) fn write(parts: &[KeyPart], fact: &dyn Fact, out: &mut Vec<u8>) -> bool {
    for part in parts {
        match (part.of, fact.field(&part.field)) {
            (_, None) => out.push(0),
            (PartOf::Presence, Some(_)) => out.push(1),
            (PartOf::Value(take), Some(Scalar::Text(text))) => {
                let taken = take.of(text);
                let Some(length) = u16::try_from(taken.len()).ok().filter(|n| usize::from(*n) <= MAX_KEY_BYTES) else {
                    return false;
                };
                // No text is no value, a text of separators alone is an empty one.
                out.push(if text.is_empty() { 2 } else { 3 });
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(taken.as_bytes());
            }
            (PartOf::Value(_), Some(Scalar::Number(number))) => {
                out.push(4);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            (PartOf::Value(_), Some(Scalar::Bool(truth))) => out.push(5 + u8::from(truth)),
        }
    }
    out.len() <= MAX_KEY_BYTES
}
