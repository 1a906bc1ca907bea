//! Dumps cut into several records (`k2p-part: i/n;id`, design §2).
//!
//! - Parts come in order, 1 to n, in one partition; each holds whole families. The dump
//!   is applied when part n is there, with the time of part n.
//! - Part 1 of another dump, a whole dump or a deletion of the same origin drops an
//!   unfinished one; so does a gap. A part that was there already (a producer's repeat)
//!   is a duplicate, one without a beginning is dropped alone.
//! - Each part may be compressed by itself. In OpenMetrics each part may end in `# EOF`,
//!   or only the last.
//! - An unfinished dump holds at most the topic's `dump_bytes`, as they came, and hardly
//!   more than its origin's last dump where the topic's memory is full; beyond that its parts are let go and the whole is refused when the last one comes.
use crate::compress::Encoding;
use crate::envelope::{Envelope, Part};
use crate::model::MonoMs;

/// How far an unfinished dump has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    id: String,
    of: u32,
    have: u32,
}

/// What a part means beside the unfinished dump of its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new dump begins; an unfinished one is dropped.
    Begin,
    /// The next part of the unfinished one.
    Next,
    /// A part that is there already.
    Repeat,
    /// A part whose predecessor never came: the unfinished dump is dropped with it.
    Gap,
    /// A part of a dump whose beginning is unknown.
    Stray,
}

impl Progress {
    /// Judges a part; the same for a cache and for a conflator.
    pub(crate) fn step(current: Option<&Progress>, part: &Part) -> Step {
        match current {
            Some(p) if p.id == part.id && p.of == part.of => {
                if part.index <= p.have {
                    Step::Repeat
                } else if part.index == p.have + 1 {
                    Step::Next
                } else {
                    Step::Gap
                }
            }
            _ if part.index == 1 => Step::Begin,
            _ => Step::Stray,
        }
    }

    pub(crate) fn begin(part: &Part) -> Progress {
        Progress { id: part.id.clone(), of: part.of, have: 1 }
    }

    /// A dump in one record.
    pub(crate) fn whole() -> Progress {
        Progress { id: String::new(), of: 1, have: 1 }
    }

    pub(crate) fn advance(&mut self) {
        self.have += 1;
    }

    pub(crate) fn finished(&self) -> bool {
        self.have == self.of
    }
}

/// A part's body, as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) body: &'a [u8],
}

/// An unfinished dump.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) progress: Progress,
    /// The first part's header.
    pub(crate) content_type: Option<Box<str>>,
    /// Where a new owner would have to begin to read it.
    pub(crate) first_offset: i64,
    pub(crate) started: MonoMs,
    bodies: Vec<(Encoding, Box<[u8]>)>,
    bytes: usize,
    overflow: bool,
}

impl Assembly {
    pub(crate) fn begin(part: &Part, envelope: &Envelope<'_>, now: MonoMs, limit: usize) -> Self {
        let mut assembly = Assembly {
            progress: Progress::begin(part),
            content_type: envelope.content_type.map(Into::into),
            first_offset: envelope.offset,
            started: now,
            bodies: Vec::new(),
            bytes: 0,
            overflow: false,
        };
        assembly.keep(envelope, limit);
        assembly
    }

    pub(crate) fn next(&mut self, envelope: &Envelope<'_>, limit: usize) {
        self.progress.advance();
        self.keep(envelope, limit);
    }

    fn keep(&mut self, envelope: &Envelope<'_>, limit: usize) {
        self.bytes = self.bytes.saturating_add(envelope.body.len());
        if self.bytes > limit {
            self.overflow = true;
            self.bodies = Vec::new();
        }
        if !self.overflow {
            self.bodies.push((envelope.encoding, envelope.body.into()));
        }
    }

    /// The parts, or the bytes that they would have had.
    pub(crate) fn pieces(&self) -> Result<Vec<Piece<'_>>, usize> {
        if self.overflow {
            return Err(self.bytes);
        }
        let bodies = self.bodies.iter();
        Ok(bodies.map(|(encoding, body)| Piece { encoding: *encoding, body }).collect())
    }

    /// Bytes of the parts held.
    pub(crate) fn held(&self) -> usize {
        self.bodies.iter().map(|(_, body)| body.len() + 32).sum()
    }

    /// The number of records held.
    pub(crate) fn records(&self) -> u64 {
        u64::from(self.progress.have)
    }
}

/// Appends a decompressed part to those before it: what was the last part's end is no
/// end any more.
pub(crate) fn join(whole: &mut Vec<u8>, part: &[u8]) {
    let end = without_end(whole).len();
    whole.truncate(end);
    if whole.last().is_some_and(|b| *b != b'\n') {
        whole.push(b'\n');
    }
    whole.extend_from_slice(part);
}

/// The text without a last line `# EOF`.
fn without_end(text: &[u8]) -> &[u8] {
    let trimmed = text.trim_ascii_end();
    match trimmed.strip_suffix(b"# EOF") {
        Some(rest) if rest.is_empty() || rest.ends_with(b"\n") => rest,
        _ => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn part(index: u32, of: u32, id: &str) -> Part {
        Part { index, of, id: id.to_owned() }
    }

    #[test]
    fn steps() {
        let mut two = Progress::begin(&part(1, 3, "a"));
        two.advance();
        for (current, next, expected) in [
            (None, part(1, 3, "a"), Step::Begin),
            (None, part(2, 3, "a"), Step::Stray),
            (Some(&two), part(3, 3, "a"), Step::Next),
            (Some(&two), part(2, 3, "a"), Step::Repeat),
            (Some(&two), part(1, 3, "a"), Step::Repeat),
            (Some(&two), part(1, 3, "b"), Step::Begin),
            (Some(&two), part(1, 2, "a"), Step::Begin),
            (Some(&two), part(2, 3, "b"), Step::Stray),
        ] {
            assert_eq!(Progress::step(current, &next), expected, "{next:?}");
        }
        let one = Progress::begin(&part(1, 3, "a"));
        assert_eq!(Progress::step(Some(&one), &part(3, 3, "a")), Step::Gap);
        assert!(!two.finished());
        two.advance();
        assert!(two.finished());
    }

    #[test]
    fn parts_become_one_text() {
        for (parts, expected) in [
            (vec!["a 1\n", "b 2\n"], "a 1\nb 2\n"),
            (vec!["a 1", "b 2"], "a 1\nb 2"),
            (vec!["a 1\n# EOF\n", "b 2\n# EOF\n"], "a 1\nb 2\n# EOF\n"),
            (vec!["a 1\n# EOF", "b 2\n# EOF"], "a 1\nb 2\n# EOF"),
            (vec!["# EOF\n", "b 2\n# EOF\n"], "b 2\n# EOF\n"),
            (vec!["a 1\nx # EOF\n", "b 2\n"], "a 1\nx # EOF\nb 2\n"),
        ] {
            let mut whole = Vec::new();
            parts.iter().for_each(|p| join(&mut whole, p.as_bytes()));
            assert_eq!(String::from_utf8(whole).unwrap(), expected, "{parts:?}");
        }
    }
}
