//! Label sets and their canonical text, the record key of an origin.
//!
//! The canonical text is `a="b",c="d"`: sorted by name (bytes), values escaped as in
//! exposition, no blanks, no braces (design §2). A name that the legacy grammar
//! `[a-zA-Z_][a-zA-Z0-9_]*` does not hold is quoted, as text format 1.0.0 does it.
//!
//! A label with an empty value is the same as no label (Prometheus' data model), so
//! it is left out: two spellings of one origin have one key.
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Why a text or a list of pairs is no label set. Columns are 1-based bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The text does not follow `name="value",…`.
    #[error("column {column}: {what}")]
    Syntax {
        /// Where.
        column: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// An empty name, or one that is reserved.
    #[error("label name {name:?} is not allowed: it is empty or the reserved __name__")]
    Name {
        /// The name.
        name: String,
    },
    /// A name twice.
    #[error("label {name:?} is given twice")]
    Duplicate {
        /// The name.
        name: String,
    },
}

struct Inner {
    pairs: Vec<(Box<str>, Box<str>)>,
    canonical: Box<str>,
}

/// A set of labels: sorted by name, names unique, no empty values. A clone costs a
/// reference count. Equality, order and hash are those of the canonical text.
#[derive(Clone)]
pub struct Labels(Arc<Inner>);

impl Labels {
    /// Reads `a="b",c="d"` in any order; blanks around the parts and one trailing
    /// comma are tolerated, names may be quoted UTF-8. The empty text is the empty set.
    ///
    /// # Errors
    /// [`LabelError`] names the column, or the name that is wrong or double.
    pub fn parse(text: &str) -> Result<Labels, LabelError> {
        let mut reader = Reader { text, at: 0 };
        let mut pairs = Vec::new();
        loop {
            reader.blanks();
            if reader.peek().is_none() {
                break;
            }
            pairs.push(reader.pair()?);
            reader.blanks();
            match reader.peek() {
                None => break,
                Some(b',') => reader.at += 1,
                Some(_) => return Err(reader.fault("expected `,` or the end")),
            }
        }
        Labels::from_pairs(pairs)
    }

    /// Builds a set from pairs in any order.
    ///
    /// # Errors
    /// A name that is empty, `__name__`, or given twice.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Labels, LabelError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut all: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in pairs {
            let (name, value): (String, String) = (name.into(), value.into());
            if name.is_empty() || name == "__name__" {
                return Err(LabelError::Name { name });
            }
            all.push((name.into_boxed_str(), value.into_boxed_str()));
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = all.windows(2).find(|w| w[0].0 == w[1].0) {
            let name = twice[0].0.to_string();
            return Err(LabelError::Duplicate { name });
        }
        Ok(Labels::from_sorted(all))
    }

    fn from_sorted(mut pairs: Vec<(Box<str>, Box<str>)>) -> Labels {
        pairs.retain(|(_, value)| !value.is_empty());
        let mut canonical = String::new();
        for (name, value) in &pairs {
            if !canonical.is_empty() {
                canonical.push(',');
            }
            push_label(&mut canonical, name, value);
        }
        Labels(Arc::new(Inner { pairs, canonical: canonical.into_boxed_str() }))
    }

    /// The canonical text: the record key of an origin, and what is injected into
    /// its samples.
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pairs = &self.0.pairs;
        let at = pairs.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        Some(&pairs[at].1)
    }

    /// Name and unescaped value of each label, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.pairs.is_empty()
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.0.pairs.len()
    }

    /// Both sets in one; where a name is in both, `winner`'s value counts.
    pub fn with(&self, winner: &Labels) -> Labels {
        if winner.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return winner.clone();
        }
        let mut pairs = winner.0.pairs.clone();
        for (name, value) in &self.0.pairs {
            if winner.get(name).is_none() {
                pairs.push((name.clone(), value.clone()));
            }
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Labels::from_sorted(pairs)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::from_sorted(Vec::new())
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0.canonical == other.0.canonical
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.canonical.hash(state);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.canonical.cmp(&other.0.canonical)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.canonical())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.canonical())
    }
}

impl Serialize for Labels {
    /// As a map from name to value.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Appends `name="value"`, the name quoted where the legacy grammar does not hold it.
pub fn push_label(out: &mut String, name: &str, value: &str) {
    if is_legacy_label_name(name) {
        out.push_str(name);
    } else {
        out.push('"');
        out.push_str(&escape_value(name));
        out.push('"');
    }
    out.push_str("=\"");
    out.push_str(&escape_value(value));
    out.push('"');
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_legacy_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|b| !b.is_ascii_digit()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_legacy_metric_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|b| !b.is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

/// A value as it stands between the quotes: backslash, quote and newline escaped.
pub fn escape_value(value: &str) -> Cow<'_, str> {
    if memchr::memchr3(b'\\', b'"', b'\n', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The value behind what stands between the quotes; `None` if a backslash is
/// followed by anything but `\`, `"` or `n`.
pub fn unescape_value(text: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => out.push('\\'),
            Some('"') => out.push('"'),
            Some('n') => out.push('\n'),
            _ => return None,
        }
    }
    Some(Cow::Owned(out))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault(&self, what: &'static str) -> LabelError {
        LabelError::Syntax { column: self.at + 1, what }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn pair(&mut self) -> Result<(Cow<'a, str>, Cow<'a, str>), LabelError> {
        let name = match self.peek() {
            Some(b'"') => self.quoted_name()?,
            _ => Cow::Borrowed(self.legacy_name()?),
        };
        self.blanks();
        if self.peek() != Some(b'=') {
            return Err(self.fault("expected `=` after the label name"));
        }
        self.at += 1;
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(self.fault("expected `\"` before the label value"));
        }
        Ok((name, self.quoted()?))
    }

    fn legacy_name(&mut self) -> Result<&'a str, LabelError> {
        let start = self.at;
        while let Some(b) = self.peek() {
            let first = self.at == start;
            if !(b.is_ascii_alphabetic() || b == b'_' || (b.is_ascii_digit() && !first)) {
                break;
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fault("expected a label name"));
        }
        Ok(&self.text[start..self.at])
    }

    /// Prometheus' lexer takes a NUL for the end: such a name would break every scrape.
    fn quoted_name(&mut self) -> Result<Cow<'a, str>, LabelError> {
        let start = self.at;
        let name = self.quoted()?;
        if name.contains('\0') {
            self.at = start;
            return Err(self.fault("a name may not hold a NUL"));
        }
        Ok(name)
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, LabelError> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut end = start;
        loop {
            match bytes.get(end) {
                None => return Err(self.fault("a quoted text without its closing `\"`")),
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        let inner = &self.text[start..end];
        let Some(value) = unescape_value(inner) else {
            return Err(self.fault("a backslash that is not followed by `\\`, `\"` or `n`"));
        };
        self.at = end + 1;
        Ok(value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_any_order_and_writes_one() {
        for (text, canonical) in [
            ("", ""),
            (" ", ""),
            (r#"a="b""#, r#"a="b""#),
            (r#"c="d",a="b""#, r#"a="b",c="d""#),
            (r#" c = "d" , a="b" , "#, r#"a="b",c="d""#),
            (r#"a="",b="x""#, r#"b="x""#),
            (r#"a="\\\"\n""#, r#"a="\\\"\n""#),
            (r#""a"="b""#, r#"a="b""#),
            (r#""a.b"="c""#, r#""a.b"="c""#),
            (r#""a\"b"="c""#, r#""a\"b"="c""#),
            (r#"z="1",A="2",_="3""#, r#"A="2",_="3",z="1""#),
            ("a=\"raw\nnewline\"", r#"a="raw\nnewline""#),
            (r#"a="Ä,}=""#, r#"a="Ä,}=""#),
        ] {
            let labels = Labels::parse(text).unwrap();
            assert_eq!(labels.canonical(), canonical, "{text}");
            assert_eq!(Labels::parse(canonical).unwrap(), labels, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_label_set() {
        for (text, message) in [
            ("10.0.0.7:4040", "column 1: expected a label name"),
            ("a", "column 2: expected `=` after the label name"),
            ("a=b", "column 3: expected `\"` before the label value"),
            ("a=\"b", "column 3: a quoted text without its closing `\"`"),
            ("\"a\0b\"=\"c\"", "column 1: a name may not hold a NUL"),
            ("a=\"\\", "column 3: a quoted text without its closing `\"`"),
            ("a=\"\\x\"", "column 3: a backslash that is not followed by `\\`, `\"` or `n`"),
            ("a=\"b\" c=\"d\"", "column 7: expected `,` or the end"),
            (",a=\"b\"", "column 1: expected a label name"),
            ("{a=\"b\"}", "column 1: expected a label name"),
            ("a=\"b\",a=\"c\"", "label \"a\" is given twice"),
            ("a=\"\",a=\"c\"", "label \"a\" is given twice"),
            ("__name__=\"b\"", "label name \"__name__\" is not allowed: it is empty or the reserved __name__"),
            ("\"\"=\"b\"", "label name \"\" is not allowed: it is empty or the reserved __name__"),
        ] {
            assert_eq!(Labels::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_winner_of_with_counts() {
        let base = Labels::parse(r#"a="1",b="2""#).unwrap();
        let over = Labels::parse(r#"b="3",c="4""#).unwrap();
        assert_eq!(base.with(&over).canonical(), r#"a="1",b="3",c="4""#);
        assert_eq!(over.with(&base).canonical(), r#"a="1",b="2",c="4""#);
        assert_eq!(base.with(&Labels::default()), base);
        assert_eq!(base.get("b"), Some("2"));
        assert_eq!(base.get("c"), None);
        assert_eq!((base.len(), base.is_empty()), (2, false));
        assert_eq!(serde_json::to_string(&base).unwrap(), r#"{"a":"1","b":"2"}"#);
    }
}
