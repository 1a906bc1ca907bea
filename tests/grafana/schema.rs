//! A little language for the shape of JSON, and the check against it.
use serde_json::Value;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Number,
    /// A whole number from 0.
    Count,
    Bool,
    Null,
    Any,
    /// One of these texts.
    One(&'static [&'static str]),
    /// One of these kinds.
    Either(&'static [Kind]),
    List(&'static Kind),
    /// Any key, of that kind.
    Map(&'static Kind),
    Of(&'static [Key]),
}

/// A key of an object: its name, whether it must be there, what it is.
pub(crate) type Key = (&'static str, bool, Kind);

/// Everything that is wrong with a value, by place.
pub(crate) fn check(value: &Value, kind: Kind, place: &str) -> Vec<String> {
    let fault = |what: &str| vec![format!("{place}: {what}, not {value}")];
    match kind {
        Kind::Any => Vec::new(),
        Kind::Text if value.is_string() => Vec::new(),
        Kind::Text => fault("a text is wanted"),
        Kind::Number if value.is_number() => Vec::new(),
        Kind::Number => fault("a number is wanted"),
        Kind::Count if value.is_u64() => Vec::new(),
        Kind::Count => fault("a whole number is wanted"),
        Kind::Bool if value.is_boolean() => Vec::new(),
        Kind::Bool => fault("true or false is wanted"),
        Kind::Null if value.is_null() => Vec::new(),
        Kind::Null => fault("null is wanted"),
        Kind::One(allowed) if value.as_str().is_some_and(|text| allowed.contains(&text)) => Vec::new(),
        Kind::One(allowed) => fault(&format!("one of {allowed:?} is wanted")),
        Kind::Either(kinds) => {
            let all: Vec<_> = kinds.iter().map(|kind| check(value, *kind, place)).collect();
            if all.iter().any(Vec::is_empty) { Vec::new() } else { all.into_iter().min_by_key(Vec::len).unwrap() }
        }
        Kind::List(kind) => {
            let Some(items) = value.as_array() else { return fault("a list is wanted") };
            let one = |(i, item)| check(item, *kind, &format!("{place}[{i}]"));
            items.iter().enumerate().flat_map(one).collect()
        }
        Kind::Map(kind) => {
            let Some(map) = value.as_object() else { return fault("an object is wanted") };
            map.iter().flat_map(|(key, value)| check(value, *kind, &format!("{place}.{key}"))).collect()
        }
        Kind::Of(keys) => object(value, keys, place),
    }
}

fn object(value: &Value, keys: &[Key], place: &str) -> Vec<String> {
    let Some(map) = value.as_object() else { return vec![format!("{place}: an object is wanted, not {value}")] };
    let mut faults = Vec::new();
    for (key, value) in map {
        match keys.iter().find(|(name, _, _)| name == key) {
            Some((_, _, kind)) => faults.extend(check(value, *kind, &format!("{place}.{key}"))),
            None => faults.push(format!("{place}: unknown key {key}")),
        }
    }
    let missing = keys.iter().filter(|(name, required, _)| *required && !map.contains_key(*name));
    faults.extend(missing.map(|(name, _, _)| format!("{place}: {name} is missing")));
    faults
}
