//! The grammar that a sample has in both text formats: `name{a="b",…}`.
//!
//! One pass over the bytes of one line. Where the spelling is canonical (see
//! [`crate::model::Sample::labels`]) what comes out is borrowed from it.
//!
//! Two tolerances, both of Prometheus' own parser: a backslash before any other
//! character than `\`, `"` or `n` stands for itself (`domain\user`; written out as
//! `domain\\user`), and a comma may follow the last label.
use std::borrow::Cow;

use crate::labels::{escape_value, is_legacy_label_name};
use crate::model::SampleReason;

/// Why a line is no exposition; `at` is the byte in the line, 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: SampleReason,
    pub(super) what: &'static str,
}

pub(super) type Scan<T> = Result<T, Fault>;

/// A label in canonical spelling: the name with its quotes where it needs them, the
/// value escaped, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Cow<'a, str>,
}

/// What stands between braces.
pub(super) struct Braces<'a> {
    /// A quoted metric name, unescaped.
    pub(super) name: Option<Cow<'a, str>>,
    /// The labels, canonical.
    pub(super) labels: Cow<'a, str>,
    /// Where a comma stands after the last label.
    pub(super) trailing_comma: Option<usize>,
}

/// A series: metric name (unescaped) and labels (canonical).
pub(super) struct Head<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: Cow<'a, str>,
    pub(super) trailing_comma: Option<usize>,
}

/// Labels of one sample: a line of a million would take a hundred times its bytes.
const MAX_LABELS: usize = 1000;

const FIRST: u8 = 1;
const DIGIT: u8 = 2;
const COLON: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut b = 0usize;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphabetic() || c == b'_' {
            class[b] = FIRST;
        } else if c.is_ascii_digit() {
            class[b] = DIGIT;
        } else if c == b':' {
            class[b] = COLON;
        }
        b += 1;
    }
    class
};

/// A place in a line.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    pub(super) line: &'a str,
    pub(super) at: usize,
    /// Whether blanks may stand around the parts (text), or nowhere (OpenMetrics).
    blanks: bool,
}

struct Quoted<'a> {
    /// Between the quotes, escapes canonical.
    text: Cow<'a, str>,
    escaped: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str, blanks: bool) -> Cursor<'a> {
        Cursor { line, at: 0, blanks }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    pub(super) fn fault(&self, reason: SampleReason, what: &'static str) -> Fault {
        let at = self.at;
        Fault { at, reason, what }
    }

    pub(super) fn syntax(&self, what: &'static str) -> Fault {
        self.fault(SampleReason::Syntax, what)
    }

    /// Skips blanks and tabs where they are allowed; whether there were any.
    pub(super) fn skip_blanks(&mut self) -> bool {
        let start = self.at;
        while self.blanks && matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        self.at > start
    }

    /// Everything up to the next blank (or tab, in text).
    pub(super) fn token(&mut self) -> &'a str {
        let start = self.at;
        while let Some(b) = self.peek() {
            if b == b' ' || (b == b'\t' && self.blanks) {
                break;
            }
            self.at += 1;
        }
        &self.line[start..self.at]
    }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`; empty if there is none.
    fn legacy(&mut self, first: u8, then: u8) -> &'a str {
        let start = self.at;
        let bytes = self.line.as_bytes();
        let mut at = start;
        if at < bytes.len() && CLASS[bytes[at] as usize] & first != 0 {
            at += 1;
            while at < bytes.len() && CLASS[bytes[at] as usize] & then != 0 {
                at += 1;
            }
        }
        self.at = at;
        &self.line[start..at]
    }

    /// A metric name in a metadata line, legacy or quoted.
    pub(super) fn metric_name(&mut self) -> Scan<Cow<'a, str>> {
        if self.peek() == Some(b'"') {
            let start = self.at;
            let quoted = self.quoted_name("a quoted metric name without its closing `\"`")?;
            return match unescape(&quoted) {
                name if name.is_empty() => {
                    Err(Fault { at: start, reason: SampleReason::Name, what: "an empty metric name" })
                }
                name => Ok(name),
            };
        }
        let name = self.legacy(FIRST | COLON, FIRST | COLON | DIGIT);
        if name.is_empty() {
            return Err(self.fault(SampleReason::Name, "expected a metric name"));
        }
        Ok(Cow::Borrowed(name))
    }

    /// `name`, `name{…}` or `{"name",…}`. The labels are left in `pairs`.
    pub(super) fn head(&mut self, pairs: &mut Vec<Pair<'a>>) -> Scan<Head<'a>> {
        pairs.clear();
        let start = self.at;
        let legacy = self.legacy(FIRST | COLON, FIRST | COLON | DIGIT);
        let after_name = self.at;
        let gap = self.skip_blanks();
        if self.peek() != Some(b'{') {
            if legacy.is_empty() {
                return Err(self.fault(SampleReason::Name, "expected a metric name"));
            }
            if !gap && !matches!(self.peek(), None | Some(b' ')) {
                let what = "a character that no metric name may hold unquoted";
                return Err(self.fault(SampleReason::Name, what));
            }
            return Ok(Head { name: Cow::Borrowed(legacy), labels: Cow::Borrowed(""), trailing_comma: None });
        }
        let braces = self.braces(pairs)?;
        let name = match (legacy.is_empty(), braces.name) {
            (false, None) => Cow::Borrowed(legacy),
            (true, Some(name)) => name,
            (true, None) => {
                return Err(Fault { at: start, reason: SampleReason::Name, what: "labels without a metric name" });
            }
            (false, Some(_)) => {
                return Err(Fault {
                    at: after_name,
                    reason: SampleReason::Name,
                    what: "a second metric name between the braces",
                });
            }
        };
        Ok(Head { name, labels: braces.labels, trailing_comma: braces.trailing_comma })
    }

    /// `{…}`, the cursor on the opening brace.
    pub(super) fn braces(&mut self, pairs: &mut Vec<Pair<'a>>) -> Scan<Braces<'a>> {
        pairs.clear();
        self.at += 1;
        let start = self.at;
        let mut name = None;
        let mut canonical = true;
        let mut comma = None;
        let end = loop {
            canonical &= !self.skip_blanks();
            if self.peek() == Some(b'}') {
                break self.at;
            }
            let entry = self.at;
            let quoted = match self.peek() {
                Some(b'"') => Some(self.quoted_name("a quoted name without its closing `\"`")?),
                _ => None,
            };
            let legacy = match &quoted {
                Some(_) => "",
                None => self.label_name()?,
            };
            canonical &= !self.skip_blanks();
            if self.peek() == Some(b'=') {
                let label = self.label_text(entry, quoted, legacy, &mut canonical)?;
                if pairs.len() >= MAX_LABELS {
                    return Err(self.syntax("more than 1000 labels"));
                }
                pairs.push(label);
            } else {
                name = Some(self.name_entry(entry, quoted, name.is_some())?);
                canonical = false;
            }
            canonical &= !self.skip_blanks();
            match self.peek() {
                Some(b',') => {
                    comma = Some(self.at);
                    self.at += 1;
                }
                Some(b'}') => {
                    comma = None;
                    break self.at;
                }
                _ => return Err(self.syntax("expected `,` or `}` after a label")),
            }
        };
        self.at = end + 1;
        unique(pairs, start)?;
        let labels =
            if canonical && comma.is_none() { Cow::Borrowed(&self.line[start..end]) } else { Cow::Owned(join(pairs)) };
        Ok(Braces { name, labels, trailing_comma: comma })
    }

    fn label_name(&mut self) -> Scan<&'a str> {
        let name = self.legacy(FIRST, FIRST | DIGIT);
        if name.is_empty() {
            let reason = match self.peek() {
                None | Some(b',' | b'=') => SampleReason::Syntax,
                Some(_) => SampleReason::Name,
            };
            return Err(self.fault(reason, "expected a label name or `}`"));
        }
        Ok(name)
    }

    /// The cursor on `=`.
    fn label_text(
        &mut self,
        entry: usize,
        quoted: Option<Quoted<'a>>,
        legacy: &'a str,
        canonical: &mut bool,
    ) -> Scan<Pair<'a>> {
        let name = match quoted {
            None => Cow::Borrowed(legacy),
            Some(quoted) if is_legacy_label_name(&quoted.text) => {
                *canonical = false;
                quoted.text
            }
            Some(quoted) => match quoted.text {
                // With its quotes.
                Cow::Borrowed(text) => Cow::Borrowed(&self.line[entry..entry + text.len() + 2]),
                Cow::Owned(text) => {
                    *canonical = false;
                    Cow::Owned(format!("\"{text}\""))
                }
            },
        };
        if name == "__name__" || name == "\"\"" {
            return Err(Fault {
                at: entry,
                reason: SampleReason::Name,
                what: "a label name that is empty or reserved",
            });
        }
        self.at += 1;
        *canonical &= !self.skip_blanks();
        if self.peek() != Some(b'"') {
            return Err(self.syntax("expected `\"` before the label value"));
        }
        let value = self.quoted("a label value without its closing `\"`")?.text;
        *canonical &= matches!(value, Cow::Borrowed(_));
        Ok(Pair { name, value })
    }

    fn name_entry(&mut self, entry: usize, quoted: Option<Quoted<'a>>, twice: bool) -> Scan<Cow<'a, str>> {
        let Some(quoted) = quoted else {
            return Err(self.syntax("expected `=` after the label name"));
        };
        if !matches!(self.peek(), Some(b',' | b'}')) {
            return Err(self.syntax("expected `=`, `,` or `}` after a quoted name"));
        }
        let name = unescape(&quoted);
        if twice || name.is_empty() {
            return Err(Fault {
                at: entry,
                reason: SampleReason::Name,
                what: "a second or an empty metric name between the braces",
            });
        }
        Ok(name)
    }

    /// [`Cursor::quoted`], of a name.
    fn quoted_name(&mut self, unclosed: &'static str) -> Scan<Quoted<'a>> {
        let start = self.at;
        let quoted = self.quoted(unclosed)?;
        if memchr::memchr(0, quoted.text.as_bytes()).is_some() {
            // Prometheus' lexer takes it for the end: one such name would break the whole scrape.
            return Err(Fault { at: start, reason: SampleReason::Name, what: "a name that holds a NUL" });
        }
        Ok(quoted)
    }

    /// The cursor on the opening quote; afterwards behind the closing one.
    fn quoted(&mut self, unclosed: &'static str) -> Scan<Quoted<'a>> {
        let bytes = self.line.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let (mut escaped, mut odd) = (false, false);
        loop {
            match bytes.get(at) {
                None => return Err(self.syntax(unclosed)),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    odd |= !matches!(bytes.get(at + 1), Some(b'\\' | b'"' | b'n'));
                    // Behind the escaped character's first byte: its others are neither
                    // quote nor backslash.
                    at += 2;
                }
                Some(_) => at += 1,
            }
        }
        let inner = &self.line[start..at];
        self.at = at + 1;
        let text = if odd { Cow::Owned(escape_value(&literal(inner)).into_owned()) } else { Cow::Borrowed(inner) };
        Ok(Quoted { text, escaped })
    }
}

fn unescape<'a>(quoted: &Quoted<'a>) -> Cow<'a, str> {
    if quoted.escaped {
        return Cow::Owned(literal(&quoted.text));
    }
    quoted.text.clone()
}

/// What an escaped text stands for; an unknown escape for itself.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn join(pairs: &[Pair<'_>]) -> String {
    let bytes: usize = pairs.iter().map(|p| p.name.len() + p.value.len() + 4).sum();
    let mut out = String::with_capacity(bytes);
    for pair in pairs {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&pair.name);
        out.push_str("=\"");
        out.push_str(&pair.value);
        out.push('"');
    }
    out
}

fn unique(pairs: &[Pair<'_>], at: usize) -> Scan<()> {
    let fault = Fault { at, reason: SampleReason::DuplicateLabel, what: "a label name twice in one sample" };
    // Quadratic is faster for as many labels as samples have, and only for those.
    if pairs.len() <= 16 {
        for (i, pair) in pairs.iter().enumerate() {
            if pairs[..i].iter().any(|other| other.name == pair.name) {
                return Err(fault);
            }
        }
        return Ok(());
    }
    let mut names: Vec<&str> = pairs.iter().map(|p| p.name.as_ref()).collect();
    names.sort_unstable();
    if names.windows(2).any(|w| w[0] == w[1]) {
        return Err(fault);
    }
    Ok(())
}
