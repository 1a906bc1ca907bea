//! The grouping key: the labels that name a group.
//!
//! Unlike an origin's labels it keeps empty values: `{job="a"}` and `{job="a",x=""}` are two
//! groups, and the second one overwrites a body's `x`. Its canonical text, sorted by name, is
//! the key of the group's records: one group, one partition, one order.
use std::fmt;
use std::sync::Arc;

use k2p_core::envelope::MAX_KEY_BYTES;
use k2p_core::labels::{Labels, is_legacy_label_name, push_label, unescape_value};

use crate::pairs::pairs;

/// What a segment of a path ends with whose successor is base64.
const BASE64: &str = "@base64";

/// Why a path or a record's key names no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The path does not begin with `job/<name>`.
    #[error("job name is required: the path is /metrics/job/<job>{{/<label>/<value>}}")]
    NoJob,
    /// A label without a value.
    #[error(
        "odd number of components in label string {0:?}: write /<label>/<value>; a value with a slash, or an empty one, needs <label>@base64"
    )]
    Odd(String),
    /// A name that no label has.
    #[error("improper label name {0:?}: use letters, digits and '_', not beginning with a digit or with '__'")]
    Name(String),
    /// A label that belongs to samples.
    #[error("improper label name {0:?}: it belongs to the samples of histograms and summaries; choose another one")]
    OfSamples(String),
    /// A label twice.
    #[error("label name {0:?} is given twice: keep one of them")]
    Twice(String),
    /// A value that is no base64.
    #[error("invalid base64 encoding for label {name}={value:?}: use RFC 4648's URL-safe alphabet")]
    Base64 {
        /// Of which label.
        name: String,
        /// As it came.
        value: String,
    },
    /// A value that is no text.
    #[error("the value of label {0} is not UTF-8: encode it as UTF-8 first")]
    Utf8(String),
    /// More than a record's key may have.
    #[error("the grouping key has {0} bytes, at most {MAX_KEY_BYTES} are taken: shorten its values")]
    TooLong(usize),
    /// The key of a record that no bridge wrote.
    #[error("the record's key is no canonical grouping key (sorted labels, a job among them): push by HTTP")]
    NotCanonical,
}

struct Inner {
    /// Sorted by name; values may be empty.
    pairs: Vec<(Box<str>, Box<str>)>,
    canonical: Arc<str>,
    labels: Labels,
}

/// See the module's documentation. A clone costs a reference count.
#[derive(Clone)]
pub struct GroupingKey(Arc<Inner>);

impl GroupingKey {
    /// Reads what follows `/metrics/` in a request's path, percent-decoded *before* (as the
    /// Pushgateway does it: an encoded slash separates like a plain one).
    ///
    /// # Errors
    /// [`KeyError`] with what the Pushgateway's clients expect to read.
    pub fn from_path(path: &str) -> Result<GroupingKey, KeyError> {
        let (first, rest) = path.split_once('/').ok_or(KeyError::NoJob)?;
        if first.strip_suffix(BASE64).unwrap_or(first) != "job" {
            return Err(KeyError::NoJob);
        }
        let (job, labels) = rest.split_once('/').unwrap_or((rest, ""));
        let job = value(first, job)?;
        if job.is_empty() {
            return Err(KeyError::NoJob);
        }
        let mut pairs = vec![(Box::from("job"), job)];
        let segments: Vec<&str> = if labels.is_empty() { Vec::new() } else { labels.split('/').collect() };
        // The Pushgateway's router would make one slash of two, and odd what was even.
        if !segments.len().is_multiple_of(2) || format!("/{labels}").contains("//") {
            return Err(KeyError::Odd(format!("/{labels}")));
        }
        for pair in segments.chunks_exact(2) {
            let name = pair[0].strip_suffix(BASE64).unwrap_or(pair[0]);
            check_name(name)?;
            pairs.push((Box::from(name), value(pair[0], pair[1])?));
        }
        GroupingKey::new(pairs)
    }

    /// From labels as a persistence file has them.
    ///
    /// # Errors
    /// As [`GroupingKey::from_path`].
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<GroupingKey, KeyError> {
        let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in labels {
            check_name(name)?;
            pairs.push((Box::from(name), Box::from(value)));
        }
        if !pairs.iter().any(|(name, value)| &**name == "job" && !value.is_empty()) {
            return Err(KeyError::NoJob);
        }
        GroupingKey::new(pairs)
    }

    /// Reads the key of a record: the canonical text, nothing else.
    ///
    /// # Errors
    /// [`KeyError::NotCanonical`], [`KeyError::TooLong`].
    pub fn from_record(key: &[u8]) -> Result<GroupingKey, KeyError> {
        let text = std::str::from_utf8(key).map_err(|_| KeyError::NotCanonical)?;
        let mut read = pairs(text);
        let mut labels = Vec::new();
        for pair in read.by_ref() {
            let value = unescape_value(pair.raw_value).ok_or(KeyError::NotCanonical)?;
            labels.push((pair.name().into_owned(), value.into_owned()));
        }
        if !read.rest().is_empty() {
            return Err(KeyError::NotCanonical);
        }
        let borrowed = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        match GroupingKey::from_labels(borrowed) {
            Ok(found) if found.canonical() == text => Ok(found),
            Err(error @ KeyError::TooLong(_)) => Err(error),
            _ => Err(KeyError::NotCanonical),
        }
    }

    fn new(mut pairs: Vec<(Box<str>, Box<str>)>) -> Result<GroupingKey, KeyError> {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(KeyError::Twice(twice[0].0.to_string()));
        }
        let mut canonical = String::new();
        for (name, value) in &pairs {
            if !canonical.is_empty() {
                canonical.push(',');
            }
            push_label(&mut canonical, name, value);
        }
        if canonical.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong(canonical.len()));
        }
        let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (&**n, &**v))).unwrap_or_default();
        Ok(GroupingKey(Arc::new(Inner { pairs, canonical: canonical.into(), labels })))
    }

    /// The text that is a record's key: `instance="",job="a"`.
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// The same, shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.canonical.clone()
    }

    /// Name and value of each label, sorted by name, empty values included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.pairs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// The labels that are not empty.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// The job's name.
    pub fn job(&self) -> &str {
        self.get("job").unwrap_or_default()
    }

    /// The value of a label, `None` where the key has no such label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.pairs.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        Some(&self.0.pairs[at].1)
    }

    /// The path of the group's requests, from `/metrics/job` on, percent-encoded: what
    /// [`GroupingKey::from_path`] reads as this key.
    pub fn path(&self) -> String {
        let others = self.iter().filter(|(name, _)| *name != "job");
        let mut path = String::from("/metrics");
        for (name, value) in std::iter::once(("job", self.job())).chain(others) {
            let plain = !value.is_empty() && !matches!(value, "." | "..") && value.bytes().all(is_plain);
            path.push('/');
            path.push_str(name);
            if plain {
                path.push('/');
                path.push_str(value);
            } else {
                path.push_str(BASE64);
                path.push('/');
                path.push_str(&to_base64(value.as_bytes()));
            }
        }
        path
    }
}

/// Stands for itself in a path.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn check_name(name: &str) -> Result<(), KeyError> {
    if !is_legacy_label_name(name) || name.starts_with("__") {
        return Err(KeyError::Name(name.to_owned()));
    }
    if matches!(name, "le" | "quantile") {
        return Err(KeyError::OfSamples(name.to_owned()));
    }
    Ok(())
}

/// A value as its label's segment says.
fn value(name: &str, value: &str) -> Result<Box<str>, KeyError> {
    let Some(name) = name.strip_suffix(BASE64) else {
        return Ok(Box::from(value));
    };
    let bytes = from_base64(value)
        .ok_or_else(|| KeyError::Base64 { name: name.to_owned(), value: value.chars().take(100).collect() })?;
    String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_| KeyError::Utf8(name.to_owned()))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648's URL-safe alphabet, any padding ignored; like Go's `RawURLEncoding`, bits that
/// are left over may be anything.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let six = ALPHABET.iter().position(|b| *b == byte)?;
        bits = bits << 6 | u32::try_from(six).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    Some(out)
}

/// Without padding; the empty text is `=`, or its segment would vanish.
fn to_base64(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "=".to_owned();
    }
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for chunk in bytes.chunks(3) {
        let three = chunk.iter().enumerate().fold(0u32, |all, (i, byte)| all | u32::from(*byte) << (16 - 8 * i));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(three >> (18 - 6 * i) & 63) as usize]));
        }
    }
    out
}

impl PartialEq for GroupingKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.canonical == other.0.canonical
    }
}

impl Eq for GroupingKey {}

impl fmt::Debug for GroupingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.canonical())
    }
}
