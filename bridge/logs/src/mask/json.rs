//! Masking of JSON: the text is read into places, and only what is replaced changes.
use std::borrow::Cow;
use std::ops::Range;

use super::{MaskCounts, Masker, card, is_mark};

/// How deep a value may nest; deeper it is masked as text.
const MAX_DEPTH: usize = 128;

/// Numbers that are times and amounts by the event schemas, whatever their digits say.
const PLAIN_NUMBERS: [&str; 12] = [
    "timestamp",
    "start_ts",
    "end_ts",
    "sequence_number",
    "rows",
    "rows_read",
    "rows_written",
    "duration_ms",
    "sla_target_ms",
    "retry_count",
    "max_retries",
    "offset",
];

/// The two halves of a pair: what it is called, and what it holds.
const PAIR_NAMES: [&str; 5] = ["name", "key", "field", "header", "k"];
const PAIR_VALUES: [&str; 4] = ["value", "val", "v", "data"];

enum Node {
    /// A string: the place between its quotes.
    Text(Range<usize>),
    /// A number, `true`, `false` or `null`.
    Plain(Range<usize>),
    List(Range<usize>, Vec<Node>),
    Object(Range<usize>, Vec<(Range<usize>, Node)>),
}

/// `None` where the text is no JSON.
pub(super) fn mask<'a>(
    masker: &Masker,
    text: &'a str,
    nesting: usize,
    counts: &mut MaskCounts,
) -> Option<Cow<'a, str>> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    let node = reader.value(0)?;
    reader.space();
    if reader.at != text.len() {
        return None;
    }
    let mut walk = Walk { masker, text, nesting, counts, edits: Vec::new() };
    walk.node(&node, None);
    let edits = walk.edits;
    if edits.is_empty() {
        return Some(Cow::Borrowed(text));
    }
    let (mut out, mut done) = (String::with_capacity(text.len() + 32), 0);
    for (at, with) in edits {
        out.push_str(&text[done..at.start]);
        out.push_str(&with);
        done = at.end;
    }
    out.push_str(&text[done..]);
    Some(Cow::Owned(out))
}

struct Walk<'a, 'c> {
    masker: &'a Masker,
    text: &'a str,
    nesting: usize,
    counts: &'c mut MaskCounts,
    /// In the order of the text.
    edits: Vec<(Range<usize>, String)>,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &Node, key: Option<&str>) {
        match node {
            Node::Text(at) => self.string(at),
            Node::Plain(at) => self.number(at, key),
            Node::List(_, items) => {
                for item in items {
                    self.node(item, key);
                }
            }
            Node::Object(_, members) => self.object(members),
        }
    }

    fn object(&mut self, members: &[(Range<usize>, Node)]) {
        let names: Vec<Cow<'_, str>> = members.iter().map(|(key, _)| unescape(&self.text[key.clone()])).collect();
        let is_pair = |name: &str, of: &[&str]| of.iter().any(|n| name.eq_ignore_ascii_case(n));
        let secret_pair = members.iter().zip(&names).any(|((_, node), name)| {
            let Node::Text(at) = node else { return false };
            is_pair(name, &PAIR_NAMES) && self.masker.rules.keys().is_secret(&unescape(&self.text[at.clone()]))
        });
        for ((key, node), name) in members.iter().zip(&names) {
            self.string(key);
            if self.masker.rules.keys().is_secret(name) || (secret_pair && is_pair(name, &PAIR_VALUES)) {
                self.secret(node);
            } else {
                self.node(node, Some(name));
            }
        }
    }

    /// The value of a secret key, whatever it is made of.
    fn secret(&mut self, node: &Node) {
        let at = match node {
            Node::Text(at) if at.is_empty() || is_mark(&self.text[at.clone()]) => return,
            Node::Text(at) => at.start - 1..at.end + 1,
            Node::Plain(at) if matches!(&self.text[at.clone()], "true" | "false" | "null") => return,
            Node::Plain(at) => at.clone(),
            Node::List(at, items) if !items.is_empty() => at.clone(),
            Node::Object(at, members) if !members.is_empty() => at.clone(),
            Node::List(..) | Node::Object(..) => return,
        };
        let found = match node {
            Node::Text(at) => unescape(&self.text[at.clone()]),
            _ => Cow::Borrowed(&self.text[at.clone()]),
        };
        self.replace(at, self.masker.rules.key_rule(), &found);
    }

    fn string(&mut self, at: &Range<usize>) {
        let text = unescape(&self.text[at.clone()]);
        if let Cow::Owned(masked) = self.masker.nested(&text, self.nesting + 1, self.counts) {
            self.edits.push((at.start - 1..at.end + 1, quoted(&masked)));
        }
    }

    fn number(&mut self, at: &Range<usize>, key: Option<&str>) {
        let Some(rule) = self.masker.rules.card_rule() else { return };
        if key.is_some_and(|key| PLAIN_NUMBERS.contains(&key)) {
            return;
        }
        let found = &self.text[at.clone()];
        if card::is_card(whole_number(found).as_bytes()) {
            self.replace(at.clone(), rule, found);
        }
    }

    fn replace(&mut self, at: Range<usize>, rule: usize, found: &str) {
        self.edits.push((at, quoted(&self.masker.replacement(rule, found))));
        self.counts.add(rule);
    }
}

/// The digits of a number that is whole, also where it is written `4.1e15`; else nothing.
fn whole_number(found: &str) -> Cow<'_, str> {
    if found.bytes().all(|b| b.is_ascii_digit()) {
        return Cow::Borrowed(found);
    }
    match found.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && (1e12..1e19).contains(&value) => Cow::Owned(format!("{value:.0}")),
        _ => Cow::Borrowed(""),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON string's meaning; an escape that means nothing becomes U+FFFD.
fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let (mut out, mut rest) = (String::with_capacity(raw.len()), raw);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (c, length) = escape(&rest[at..]);
        out.push(c);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn escape(text: &str) -> (char, usize) {
    let unit = |at: usize| u32::from_str_radix(text.get(at..at + 4)?, 16).ok();
    match text.as_bytes().get(1) {
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'u') => match (unit(2), text.get(6..8).filter(|u| *u == "\\u").and_then(|_| unit(8))) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).unwrap_or('\u{fffd}'), 12)
            }
            (Some(code), _) => (char::from_u32(code).unwrap_or('\u{fffd}'), 6),
            (None, _) => ('\u{fffd}', 2),
        },
        Some(b'"') => ('"', 2),
        Some(b'/') => ('/', 2),
        Some(b'\\') => ('\\', 2),
        _ => ('\u{fffd}', 1),
    }
}

/// Reads values into places. Lax where it does not matter for masking: any bare word of
/// number characters is a number.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.bytes.get(self.at)? {
            b'"' => self.string().map(Node::Text),
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            _ => self.plain(),
        }
    }

    fn string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.bytes.get(self.at..)?)?;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Some(start..self.at - 1);
            }
            self.at += 2;
        }
    }

    fn plain(&mut self) -> Option<Node> {
        let start = self.at;
        let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let length = self.bytes[start..].iter().take_while(|b| part(b)).count();
        self.at += length;
        let word = &self.bytes[start..self.at];
        let number = word.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-')
            && word.iter().all(|b| b.is_ascii_digit() || b"+-.eE".contains(b));
        (number || matches!(word, b"true" | b"false" | b"null")).then_some(Node::Plain(start..self.at))
    }

    fn list(&mut self, depth: usize) -> Option<Node> {
        let start = self.at;
        self.take(b'[')?;
        let mut items = Vec::new();
        self.space();
        if self.take(b']').is_some() {
            return Some(Node::List(start..self.at, items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']').is_some() {
                return Some(Node::List(start..self.at, items));
            }
            self.take(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node> {
        let start = self.at;
        self.take(b'{')?;
        let mut members = Vec::new();
        self.space();
        if self.take(b'}').is_some() {
            return Some(Node::Object(start..self.at, members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.take(b':')?;
            members.push((key, self.value(depth + 1)?));
            self.space();
            if self.take(b'}').is_some() {
                return Some(Node::Object(start..self.at, members));
            }
            self.take(b',')?;
        }
    }
}
