//! One line of JSON as a tree that borrows its text, with a bound on its depth.
//!
//! Every kind of event is made from this tree: the kind of a line is known only after
//! its fields are. Objects keep the order of their keys; of equal keys the last counts,
//! as in every JSON reader.
use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// A whole number below 2⁶⁴.
    Whole(u64),
    /// A whole number below zero.
    Negative(i64),
    /// Any other number.
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// Keys and values in the order of the line.
pub(super) type Object<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// What a line's depth ran over; the text that serde carries it in.
pub(super) const TOO_DEEP: &str = "nested too deep";

/// Reads one line.
///
/// # Errors
/// What serde_json says of the syntax, or [`TOO_DEEP`].
pub(super) fn parse(line: &str, nesting: usize) -> Result<Node<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(line);
    let node = Seed { left: nesting, fields: TOP_FIELDS }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(node)
}

impl Node<'_> {
    /// What it is, for a message.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "true or false",
            Node::Whole(_) | Node::Negative(_) | Node::Float(_) => "a number",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Object(_) => "an object",
        }
    }

    /// A number as `f64`.
    #[allow(clippy::cast_precision_loss, reason = "a JSON number is a double to most producers")]
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Node::Whole(n) => Some(*n as f64),
            Node::Negative(n) => Some(*n as f64),
            Node::Float(n) => Some(*n),
            _ => None,
        }
    }

    /// The same value, owned.
    pub(super) fn into_value(self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Node::Null => Value::Null,
            Node::Bool(b) => Value::Bool(b),
            Node::Whole(n) => Value::from(n),
            Node::Negative(n) => Value::from(n),
            Node::Float(n) => Value::from(n),
            Node::Text(text) => Value::String(text.into_owned()),
            Node::List(items) => items.into_iter().map(Node::into_value).collect(),
            Node::Object(fields) => Value::Object(into_map(fields)),
        }
    }
}

/// An object, owned.
pub(super) fn into_map(fields: Object<'_>) -> serde_json::Map<String, serde_json::Value> {
    fields.into_iter().map(|(key, value)| (key.into_owned(), value.into_value())).collect()
}

/// Reads a value that may hold `left` more levels.
#[derive(Clone, Copy)]
struct Seed {
    left: usize,
    /// Fields that an object has room for at first.
    fields: usize,
}

/// Fields of an event: room for them is made once.
const TOP_FIELDS: usize = 16;
/// Fields of an object in it.
const INNER_FIELDS: usize = 4;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed {
    fn below<E: Error>(self) -> Result<Seed, E> {
        self.left.checked_sub(1).map(|left| Seed { left, fields: INNER_FIELDS }).ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Whole(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Negative(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
        let below = self.below()?;
        let mut fields = Vec::with_capacity(self.fields);
        while let Some(key) = entries.next_key_seed(Key)? {
            fields.push((key, entries.next_value_seed(below)?));
        }
        Ok(Node::Object(fields))
    }
}

/// Reads a key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
