//! Walks over label text in canonical spelling (`a="b","x.y"="z"`), as
//! [`Sample::labels`](crate::model::Sample) carries it.
use std::borrow::Cow;

use crate::labels::{escape_value, is_legacy_label_name, unescape_value};

/// One label, still in the spelling of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    /// The whole label, `a="b"`.
    pub(crate) text: &'a str,
    /// The name; with its quotes where the legacy grammar does not hold it.
    pub(crate) raw_name: &'a str,
    /// The value without its quotes, escaped.
    pub(crate) raw_value: &'a str,
}

impl<'a> Pair<'a> {
    /// Whether the name needs quotes.
    pub(crate) fn quoted(&self) -> bool {
        self.raw_name.starts_with('"')
    }

    /// The name itself.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        match self.raw_name.strip_prefix('"') {
            None => Cow::Borrowed(self.raw_name),
            Some(rest) => {
                let inner = rest.strip_suffix('"').unwrap_or(rest);
                unescape_value(inner).unwrap_or(Cow::Borrowed(inner))
            }
        }
    }

    /// The value itself.
    pub(crate) fn value(&self) -> Cow<'a, str> {
        unescape_value(self.raw_value).unwrap_or(Cow::Borrowed(self.raw_value))
    }
}

/// The labels of a text in canonical spelling. Text that is not canonical ends the
/// walk early; it cannot come out of a codec.
pub(crate) fn pairs(text: &str) -> Pairs<'_> {
    Pairs { rest: text }
}

/// See [`pairs`].
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let rest = self.rest;
        let name_end = match rest.as_bytes().first()? {
            b'"' => closing_quote(rest, 1)? + 1,
            _ => memchr::memchr(b'=', rest.as_bytes())?,
        };
        let value_start = name_end + 2;
        let value_end = closing_quote(rest, value_start)?;
        let end = value_end + 1;
        self.rest = rest.get(end + 1..).unwrap_or("");
        Some(Pair { text: &rest[..end], raw_name: &rest[..name_end], raw_value: &rest[value_start..value_end] })
    }
}

/// A label name as canonical text spells it.
pub(crate) fn spelled(name: &str) -> Cow<'_, str> {
    match is_legacy_label_name(name) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("\"{}\"", escape_value(name))),
    }
}

fn closing_quote(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// What makes a series the same series: its labels sorted by name, empty ones left
/// out (Prometheus' data model). `parts` are canonical texts that share no name; a
/// label spelled `skip` is left out too.
pub(crate) fn identity(name: &str, parts: &[&str], skip: Option<&str>) -> Box<str> {
    let mut all: Vec<&str> = Vec::new();
    for part in parts {
        for pair in pairs(part) {
            if !pair.raw_value.is_empty() && Some(pair.raw_name) != skip {
                all.push(pair.text);
            }
        }
    }
    all.sort_unstable();
    let length = name.len() + all.iter().map(|t| t.len() + 1).sum::<usize>();
    let mut out = String::with_capacity(length);
    out.push_str(name);
    for text in all {
        out.push('\0');
        out.push_str(text);
    }
    out.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_over_every_label() {
        for (text, expected) in [
            ("", vec![]),
            (r#"a="b""#, vec![("a", "b")]),
            (r#"a="","b.c"="d,e=\"f\"""#, vec![("a", ""), ("b.c", "d,e=\"f\"")]),
            (r#"a="\\",b="\\\"",c="\n""#, vec![("a", "\\"), ("b", "\\\""), ("c", "\n")]),
            (r#""q\"=\\"="x",b="Ä""#, vec![("q\"=\\", "x"), ("b", "Ä")]),
        ] {
            let read: Vec<_> = pairs(text).map(|p| (p.name().into_owned(), p.value().into_owned())).collect();
            let expected: Vec<_> = expected.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn order_and_empty_labels_do_not_tell_series_apart() {
        let one = identity("m", &[r#"a="1",b="2""#], None);
        assert_eq!(one, identity("m", &[r#"b="2""#, r#"c="",a="1""#], None));
        assert_eq!(one, identity("m", &[r#"b="2""#, r#"c="3",a="1""#], Some("c")));
        assert_ne!(one, identity("m", &[r#"a="1""#], None));
        assert_ne!(one, identity("n", &[r#"a="1",b="2""#], None));
    }
}
