//! The labels of a sample in core's canonical spelling, pair by pair.
use std::borrow::Cow;

use k2p_core::labels::unescape_value;

/// One label of a canonical text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    /// `name="value"`, as it stands.
    pub(crate) text: &'a str,
    name: &'a str,
    /// Between the quotes, escaped.
    pub(crate) raw_value: &'a str,
}

impl<'a> Pair<'a> {
    /// The name without quotes.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        match self.name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
            Some(quoted) => unescape_value(quoted).unwrap_or(Cow::Borrowed(quoted)),
            None => Cow::Borrowed(self.name),
        }
    }
}

/// The pairs of a text `a="b",c="d"`; ends early at what is not canonical.
pub(crate) fn pairs(text: &str) -> Pairs<'_> {
    Pairs(text)
}

/// See [`pairs`].
pub(crate) struct Pairs<'a>(&'a str);

impl<'a> Pairs<'a> {
    /// What follows the last pair; empty if the text was canonical.
    pub(crate) fn rest(&self) -> &'a str {
        self.0
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let text = self.0;
        let name = match text.starts_with('"') {
            true => quoted(text)?,
            false => &text[..text.find('=')?],
        };
        let after = text[name.len()..].strip_prefix('=')?;
        let value = quoted(after)?;
        let end = name.len() + 1 + value.len();
        let rest = &text[end..];
        self.0 = match rest.strip_prefix(',') {
            // A comma stands between two pairs only.
            Some("") => rest,
            Some(next) => next,
            None => rest,
        };
        Some(Pair { text: &text[..end], name, raw_value: &value[1..value.len() - 1] })
    }
}

/// The quoted text that `text` begins with, quotes included.
fn quoted(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(&text[..=at]),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_told_apart() {
        let text = r#"a="b",c="d\",e=\"",f="","g.h"="i""#;
        let all: Vec<(String, &str)> = pairs(text).map(|p| (p.name().into_owned(), p.raw_value)).collect();
        let expected = [("a", "b"), ("c", r#"d\",e=\""#), ("f", ""), ("g.h", "i")];
        assert_eq!(all, expected.map(|(n, v)| (n.to_owned(), v)));
        assert_eq!(pairs("").count(), 0);
        for bad in ["a", "a=", "a=\"", "a=\"\\\"", "\"a=\"b\""] {
            assert_eq!(pairs(bad).count(), 0, "{bad}");
        }
        let mut left = pairs("a=\"b\",");
        assert_eq!((left.by_ref().count(), left.rest()), (1, ","));
    }
}
