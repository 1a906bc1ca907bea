//! A segment: lines of one job, day and partition in one object, whose name says everything
//! that a list must tell.
//!
//! ```text
//! FIRST_LAST_ENTRIES_CUT_BYTES_MINAT_MAXAT_LEVELS.jsonl.zst
//! FIRST, LAST  OFFSET.LINE of the first and last entry that it stands for, 20 and 10 digits
//! BYTES        of the lines, uncompressed
//! MINAT, MAXAT Unix nanoseconds
//! LEVELS       a bit for each level, hexadecimal
//! ```
//!
//! Inside: zstd of `{"k2p_job":"…"}` and the stored lines.
use std::io;

use crate::entry::Head;
use crate::files::index::Span;

/// Offset and line of an entry.
pub(crate) type Position = (u64, u64);

/// A segment has so many bytes of lines, or one line more.
pub(crate) const SEGMENT: usize = 2 << 20;

const END: &str = ".jsonl.zst";
const LEVEL: i32 = 3;
/// A segment that claims more is none of ours.
const MAX_BYTES: usize = 256 << 20;

/// What a segment's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) entries: u64,
    /// Entries that the quota cut.
    pub(crate) cut: u64,
    pub(crate) bytes: u64,
    pub(crate) span: Span,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        let (first, last, span) = (self.first, self.last, self.span);
        format!(
            "{:020}.{:010}_{:020}.{:010}_{}_{}_{}_{}_{}_{:x}{END}",
            first.0, first.1, last.0, last.1, self.entries, self.cut, self.bytes, span.min_at, span.max_at, span.levels
        )
    }

    /// `None` for names that are none.
    pub(crate) fn parse(name: &str) -> Option<Segment> {
        let mut parts = name.strip_suffix(END)?.split('_');
        let mut part = || parts.next();
        let (first, last) = (parse_position(part()?)?, parse_position(part()?)?);
        let (entries, cut, bytes) = (part()?.parse().ok()?, part()?.parse().ok()?, part()?.parse().ok()?);
        let (min_at, max_at) = (part()?.parse().ok()?, part()?.parse().ok()?);
        let span = Span { min_at, max_at, levels: u64::from_str_radix(part()?, 16).ok()? };
        let segment = Segment { first, last, entries, cut, bytes, span };
        (part().is_none() && first <= last).then_some(segment)
    }

    /// Whether nothing of `other` is missing here.
    pub(crate) fn covers(&self, other: &Segment) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// `OFFSET.LINE`
pub(crate) fn parse_position(text: &str) -> Option<Position> {
    let (offset, line) = text.split_once('.')?;
    Some((offset.parse().ok()?, line.parse().ok()?))
}

/// The bytes of a segment's object.
pub(crate) fn pack(job: &str, lines: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = serde_json::json!({ "k2p_job": job }).to_string().into_bytes();
    text.push(b'\n');
    text.extend_from_slice(lines);
    zstd::bulk::compress(&text, LEVEL)
}

/// The lines of an object, that of the job first.
pub(crate) fn unpack(object: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(object, MAX_BYTES.min(bound(object)))
}

/// What the frame says of its length.
fn bound(object: &[u8]) -> usize {
    let said = zstd::zstd_safe::get_frame_content_size(object).ok().flatten();
    said.and_then(|n| usize::try_from(n).ok()).unwrap_or(MAX_BYTES)
}

/// The job of unpacked lines.
pub(crate) fn job_in(lines: &[u8]) -> Option<String> {
    let first = lines.split(|b| *b == b'\n').next()?;
    let value: serde_json::Value = serde_json::from_slice(first).ok()?;
    value.get("k2p_job")?.as_str().map(str::to_owned)
}

/// The position of a stored line.
pub(crate) fn position_of(head: &Head<'_>) -> Option<Position> {
    head.origin().map(|(_, position)| position)
}

/// Segments, each with what it is of.
pub(crate) type Segments<T> = Vec<(Segment, T)>;

/// Of the segments of one partition those that stand for something that no other does, in
/// order; and the others.
pub(crate) fn visible<T>(mut segments: Segments<T>) -> (Segments<T>, Segments<T>) {
    // The longest of those that begin together comes first.
    segments.sort_by_key(|(s, _)| (s.first, std::cmp::Reverse(s.last)));
    let (mut kept, mut covered): (Segments<T>, Segments<T>) = (Vec::new(), Vec::new());
    for segment in segments {
        let is_covered = kept.last().is_some_and(|(known, _)| known.covers(&segment.0));
        if is_covered { covered.push(segment) } else { kept.push(segment) }
    }
    (kept, covered)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn segment(first: u64, last: u64) -> Segment {
        let span = Span { min_at: 5, max_at: 9, levels: 0b101 };
        Segment { first: (first, 3), last: (last, 0), entries: 7, cut: 1, bytes: 700, span }
    }

    #[test]
    fn a_name_says_everything_and_is_in_order() {
        for segment in [segment(1, 2), Segment { entries: 0, span: Span::EMPTY, ..segment(9, u64::MAX) }] {
            assert_eq!(Segment::parse(&segment.name()), Some(segment));
            assert!(segment.name().len() < 200);
        }
        assert!(segment(99, 100).name() < segment(100, 101).name());
        let good = segment(1, 2).name();
        for bad in ["", "x.jsonl.zst", &good.replace(".zst", ""), &good.replace("_7_", "_"), &segment(3, 2).name()] {
            assert_eq!(Segment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_another_segment_stands_for_is_not_visible() {
        let check = |given: &[(u64, u64)], expected: &[(u64, u64)]| {
            let all = given.iter().map(|(a, b)| (segment(*a, *b), ())).collect();
            let (kept, covered) = visible(all);
            let kept: Vec<_> = kept.iter().map(|(s, ())| (s.first.0, s.last.0)).collect();
            assert_eq!((kept.as_slice(), covered.len()), (expected, given.len() - expected.len()), "{given:?}");
        };
        check(&[], &[]);
        check(&[(5, 9), (1, 4)], &[(1, 4), (5, 9)]);
        check(&[(1, 4), (1, 9), (5, 9)], &[(1, 9)]);
        check(&[(1, 4), (3, 9), (5, 8)], &[(1, 4), (3, 9)]);
        check(&[(1, 4), (1, 4)], &[(1, 4)]);
    }

    #[test]
    fn lines_come_back_with_their_job() {
        let lines = b"{\"a\":1}\n{\"a\":2}\n".repeat(1000);
        let unpacked = unpack(&pack("a \"job\"", &lines).unwrap()).unwrap();
        assert_eq!(job_in(&unpacked).as_deref(), Some("a \"job\""));
        assert!(unpacked.ends_with(&lines));
        assert!(unpack(b"no zstd").is_err());
    }
}
