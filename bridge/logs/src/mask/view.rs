//! A text as others will read it: with URL and JSON escapes undone, and for each byte
//! where it stood before.
use std::ops::Range;

/// How often a text is decoded: once, and what was encoded twice or three times.
pub(super) const ROUNDS: usize = 3;

/// A decoded text.
pub(super) struct View {
    pub(super) text: String,
    /// For each byte of `text` where its source begins, and at the end the source's length.
    starts: Vec<usize>,
}

impl View {
    /// Where a range of the decoded text came from.
    pub(super) fn source(&self, range: &Range<usize>) -> Range<usize> {
        self.starts[range.start]..self.starts[range.end]
    }

    /// Decodes a text once; `None` where there is nothing to decode.
    pub(super) fn of(text: &str) -> Option<View> {
        memchr::memchr2_iter(b'%', b'\\', text.as_bytes()).find(|at| escape(&text[*at..]).is_some())?;
        let mut view = View { text: String::with_capacity(text.len()), starts: Vec::with_capacity(text.len() + 1) };
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let (c, length) = escape(&text[at..]).unwrap_or((c, c.len_utf8()));
            view.text.push(c);
            view.starts.resize(view.text.len(), at);
            at += length;
        }
        view.starts.push(text.len());
        Some(view)
    }

    /// Decodes once more.
    pub(super) fn again(&self) -> Option<View> {
        let mut view = View::of(&self.text)?;
        for start in &mut view.starts {
            *start = self.starts[*start];
        }
        Some(view)
    }
}

/// The character that an escape at the start of `text` stands for, and its length.
fn escape(text: &str) -> Option<(char, usize)> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'%' => {
            let code = hex(bytes.get(1..3)?)?;
            // Beyond ASCII nothing is looked for, and half a character is none.
            (code < 0x80).then(|| char::from_u32(code).map(|c| (c, 3)))?
        }
        b'\\' => match bytes.get(1)? {
            b'u' => char::from_u32(hex(bytes.get(2..6)?)?).map(|c| (c, 6)),
            b'x' => char::from_u32(hex(bytes.get(2..4)?)?).map(|c| (c, 4)),
            c @ (b'"' | b'\'' | b'/' | b'\\') => Some((char::from(*c), 2)),
            b'n' => Some(('\n', 2)),
            b't' => Some(('\t', 2)),
            _ => None,
        },
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let value = |sum: u32, d: &u8| char::from(*d).to_digit(16).map(|d| sum * 16 + d);
    digits.iter().try_fold(0, value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_range_leads_back_to_its_source() {
        let text = "ä a%2540b\\u002ecom z";
        let first = View::of(text).unwrap();
        assert_eq!(first.text, "ä a%40b.com z");
        let second = first.again().unwrap();
        assert_eq!(second.text, "ä a@b.com z");
        let at = second.text.find("a@b.com").unwrap();
        assert_eq!(&text[second.source(&(at..at + 7))], "a%2540b\\u002ecom");
        assert!(second.again().is_none());
        assert!(View::of("plain 100% \\d").is_none());
    }
}
