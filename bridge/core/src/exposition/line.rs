//! One sample, one line: the grammar that text and OpenMetrics share.
use std::io::Write;

use crate::labels::{escape_value, is_legacy_metric_name};
use crate::store::shape::Name;

/// Appends `name{injected,labels} value`, or `{"näme",injected,labels} value`.
pub(super) fn push_series(out: &mut Vec<u8>, name: &str, injected: &str, labels: &str, value: &str) {
    let legacy = is_legacy_metric_name(name);
    if legacy {
        out.extend_from_slice(name.as_bytes());
    }
    if !legacy || !injected.is_empty() || !labels.is_empty() {
        out.push(b'{');
        let mut comma = false;
        if !legacy {
            out.push(b'"');
            out.extend_from_slice(escape_value(name).as_bytes());
            out.push(b'"');
            comma = true;
        }
        for part in [injected, labels] {
            if part.is_empty() {
                continue;
            }
            if comma {
                out.push(b',');
            }
            out.extend_from_slice(part.as_bytes());
            comma = true;
        }
        out.push(b'}');
    }
    out.push(b' ');
    out.extend_from_slice(value.as_bytes());
}

/// Appends a line, `name{injected,labels} value`, where the rest of the template is
/// `{labels} `, or `name{injected} value` where it is one blank.
#[inline]
pub(super) fn push_template(out: &mut Vec<u8>, name: Name<'_>, injected: &[u8], rest: &[u8], value: &[u8]) {
    // One check of the room for all the pieces.
    out.reserve(name.len() + injected.len() + rest.len() + value.len() + 4);
    out.extend_from_slice(name.head.as_bytes());
    if !name.id.is_empty() {
        out.extend_from_slice(name.id.as_bytes());
        out.extend_from_slice(name.tail.as_bytes());
    }
    if injected.is_empty() {
        out.extend_from_slice(rest);
    } else {
        out.push(b'{');
        out.extend_from_slice(injected);
        match rest {
            [b'{', labels @ ..] => {
                out.push(b',');
                out.extend_from_slice(labels);
            }
            _ => out.extend_from_slice(b"} "),
        }
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends an integer.
pub(super) fn push_integer(out: &mut Vec<u8>, number: i64) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// Appends milliseconds as seconds: exact, without trailing zeros.
pub(super) fn push_seconds(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let (seconds, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    let _ = write!(out, "{seconds}");
    if rest == 0 {
        return;
    }
    let text = format!(".{rest:03}");
    out.extend_from_slice(text.trim_end_matches('0').as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (name, injected, labels, expected) in [
            ("a", "", "", "a 1"),
            ("a", "x=\"1\"", "", "a{x=\"1\"} 1"),
            ("a", "", "y=\"2\"", "a{y=\"2\"} 1"),
            ("a", "x=\"1\"", "y=\"2\"", "a{x=\"1\",y=\"2\"} 1"),
            ("a.b", "", "", "{\"a.b\"} 1"),
            ("a\"b", "x=\"1\"", "y=\"2\"", "{\"a\\\"b\",x=\"1\",y=\"2\"} 1"),
        ] {
            let mut out = Vec::new();
            push_series(&mut out, name, injected, labels, "1");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn templates() {
        for (name, injected, rest, expected) in [
            ("a", "", " ", "a "),
            ("a", "x=\"1\"", " ", "a{x=\"1\"} "),
            ("a", "", "{y=\"2\"} ", "a{y=\"2\"} "),
            ("a", "x=\"1\"", "{y=\"2\"} ", "a{x=\"1\",y=\"2\"} "),
        ]
        .map(|(name, injected, rest, start)| (name, injected, rest, format!("{start}7\n")))
        {
            let mut out = Vec::new();
            push_template(&mut out, Name::from(name), injected.as_bytes(), rest.as_bytes(), b"7");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn seconds() {
        for (ms, expected) in [
            (0, "0"),
            (1, "0.001"),
            (1000, "1"),
            (1500, "1.5"),
            (-1, "-0.001"),
            (-2500, "-2.5"),
            (1_700_000_000_123, "1700000000.123"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            let mut out = Vec::new();
            push_seconds(&mut out, ms);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
