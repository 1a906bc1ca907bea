//! How names and texts are spelled in a line.
use std::borrow::Cow;

use crate::labels::{escape_value, is_legacy_label_name, is_legacy_metric_name};
use crate::store::pairs::pairs;

/// A metric name with every character that the legacy grammar lacks as `_`
/// (Prometheus' `escaping=underscores`).
pub(crate) fn metric_name(name: &str) -> Cow<'_, str> {
    if is_legacy_metric_name(name) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(underscores(name, true))
}

fn label_name(name: &str) -> Cow<'_, str> {
    if is_legacy_label_name(name) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(underscores(name, false))
}

fn underscores(name: &str, colon: bool) -> String {
    let keep = |(i, c): (usize, char)| match c {
        'a'..='z' | 'A'..='Z' | '_' => c,
        '0'..='9' if i > 0 => c,
        ':' if colon => c,
        _ => '_',
    };
    name.chars().enumerate().map(keep).collect()
}

/// Label texts with escaped names; `None` if two names become one.
pub(crate) fn label_texts(parts: [&str; 2]) -> Option<[String; 2]> {
    let mut names: Vec<String> = Vec::new();
    let mut out = [String::new(), String::new()];
    for (part, text) in parts.iter().zip(&mut out) {
        for pair in pairs(part) {
            let name = pair.name();
            let name = label_name(&name);
            if names.iter().any(|n| *n == name) {
                return None;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&name);
            text.push_str("=\"");
            text.push_str(pair.raw_value);
            text.push('"');
            names.push(name.into_owned());
        }
    }
    Some(out)
}

/// HELP in the text format: backslash and newline.
pub(crate) fn text_help(help: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\\', b'\n', help.as_bytes()).is_none() {
        return Cow::Borrowed(help);
    }
    Cow::Owned(help.replace('\\', "\\\\").replace('\n', "\\n"))
}

/// HELP in OpenMetrics: quotes too.
pub(crate) fn openmetrics_help(help: &str) -> Cow<'_, str> {
    escape_value(help)
}

/// Appends a metric name for a metadata line: quoted where it must be.
pub(crate) fn push_metadata_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(escape_value(name).as_bytes());
    out.push(b'"');
}
