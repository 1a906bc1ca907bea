//! Masking of plain text.
use std::borrow::Cow;
use std::ops::Range;

use super::rules::Hit;
use super::view::{ROUNDS, View};
use super::{MaskCounts, Masker, is_mark};

/// Words between `Authorization:` and the secret.
const SCHEMES: [&str; 7] = ["basic", "bearer", "digest", "negotiate", "apikey", "token", "sharedkey"];

/// How far back from `=` or `:` a key is looked for, in bytes.
const MAX_KEY: usize = 128;

/// Masks a text: as it is, and as it reads after undoing its escapes.
pub(super) fn mask<'a>(masker: &Masker, text: &'a str, counts: &mut MaskCounts) -> Cow<'a, str> {
    let mut hits = Vec::new();
    search(masker, text, &mut hits);
    let mut view = View::of(text);
    for _ in 0..ROUNDS {
        let Some(decoded) = view else { break };
        let mut found = Vec::new();
        search(masker, &decoded.text, &mut found);
        hits.extend(found.into_iter().map(|hit| Hit { at: decoded.source(&hit.at), rule: hit.rule }));
        view = decoded.again();
    }
    if hits.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(replace(masker, text, hits, counts))
}

fn search(masker: &Masker, text: &str, hits: &mut Vec<Hit>) {
    masker.rules.find(text, hits);
    if !masker.rules.keys().is_empty() {
        let rule = masker.rules.key_rule();
        key_values(masker, text, &mut |at| hits.push(Hit { at, rule }));
    }
    hits.retain(|hit| !is_mark(&text[hit.at.clone()]));
}

/// Replaces what was found; overlapping places become one, under the rule of the first.
fn replace(masker: &Masker, text: &str, mut hits: Vec<Hit>, counts: &mut MaskCounts) -> String {
    hits.sort_by(|a, b| (a.at.start, b.at.end, a.rule).cmp(&(b.at.start, a.at.end, b.rule)));
    let mut merged: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match merged.last_mut() {
            Some(last) if hit.at.start < last.at.end => last.at.end = last.at.end.max(hit.at.end),
            _ => merged.push(hit),
        }
    }
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for hit in merged {
        out.push_str(&text[done..hit.at.start]);
        out.push_str(&masker.replacement(hit.rule, &text[hit.at.clone()]));
        counts.add(hit.rule);
        done = hit.at.end;
    }
    out.push_str(&text[done..]);
    out
}

/// `key=value`, `key: value`, `"key":"value"`, `key => value`, `--key value`.
fn key_values(masker: &Masker, text: &str, found: &mut dyn FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    for at in memchr::memchr2_iter(b'=', b':', bytes) {
        let Some(key) = key_before(text, at).filter(|key| masker.rules.keys().is_secret(key)) else { continue };
        let mut after = at + 1;
        if bytes.get(after) == Some(&b'>') || bytes.get(after) == Some(&b'=') {
            after += 1;
        }
        if let Some(value) = value_at(text, after, key) {
            found(value);
        }
    }
    let twice = |at: &usize| bytes.get(at + 1) == Some(&b'-');
    for at in memchr::memchr_iter(b'-', bytes).filter(twice) {
        let name = text[at + 2..].bytes().take_while(|b| is_key_byte(*b)).count();
        let end = at + 2 + name;
        if bytes.get(end) == Some(&b' ')
            && masker.rules.keys().is_secret(&text[at + 2..end])
            && let Some(value) = value_at(text, end, &text[at + 2..end])
        {
            found(value);
        }
    }
}

fn is_key_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

/// The word before a `=` or `:`, past spaces and quotes.
fn key_before(text: &str, at: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let floor = at.saturating_sub(MAX_KEY);
    let mut end = at;
    while end > floor && matches!(bytes[end - 1], b' ' | b'"' | b'\'' | b'\\' | b'\t' | b']') {
        end -= 1;
    }
    let mut start = end;
    while start > floor && is_key_byte(bytes[start - 1]) {
        start -= 1;
    }
    (start < end).then(|| &text[start..end])
}

/// The value from `from` on: quoted, else to the next space or separator.
fn value_at(text: &str, from: usize, key: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut start = from;
    while matches!(bytes.get(start), Some(b' ' | b'\t' | b'\\')) {
        start += 1;
    }
    match bytes.get(start)? {
        quote @ (b'"' | b'\'') => {
            let end = quoted_end(bytes, start + 1, *quote);
            (end > start + 1).then_some(start + 1..end)
        }
        _ => {
            let mut end = bare_end(bytes, start);
            if bytes[start..end].starts_with(b"[") {
                end = text[start..].find(']').map_or(end, |close| end.max(start + close + 1));
            }
            let scheme = SCHEMES.iter().any(|s| text[start..end].eq_ignore_ascii_case(s));
            if scheme && bytes.get(end) == Some(&b' ') {
                end = bare_end(bytes, end + 1);
            }
            if key.to_ascii_lowercase().ends_with("cookie") {
                end = bytes[start..].iter().position(|b| matches!(b, b'\n' | b'"')).map_or(bytes.len(), |n| start + n);
            }
            (end > start).then_some(start..end)
        }
    }
}

fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            // An escaped quote ends the value too where the whole text is escaped.
            b'\\' if bytes.get(at + 1) != Some(&quote) => at += 2,
            b'\\' => return at,
            b if b == quote => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn bare_end(bytes: &[u8], from: usize) -> usize {
    let ends = |b: &u8| b.is_ascii_whitespace() || b",;&\"'<>)}\\".contains(b);
    bytes[from..].iter().position(ends).map_or(bytes.len(), |n| from + n)
}
