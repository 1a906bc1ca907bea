//! What waits to be written: runs of entries by job, day and partition. Pure.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::segment::{Position, SEGMENT, Segment};
use crate::entry::Entry;
use crate::files::index::Span;

/// Whose lines lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// `topic@partition`.
    pub(crate) origin: Arc<str>,
    /// UTC date.
    pub(crate) day: String,
    pub(crate) job: String,
}

/// An entry of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    position: Position,
    at: i64,
    bit: u64,
    /// Where its line ends.
    end: usize,
}

/// Entries of a key that followed each other: nothing between them is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Run {
    items: Vec<Item>,
    lines: Vec<u8>,
}

/// A run as far as the store does not have it yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fitted {
    /// `None`: it has everything.
    pub(crate) segment: Option<Segment>,
    pub(crate) lines: Vec<u8>,
    pub(crate) duplicates: u64,
}

impl Run {
    fn push(&mut self, entry: &Entry<'_>) -> usize {
        let before = self.lines.len();
        entry.write_line(&mut self.lines);
        let end = self.lines.len();
        self.items.push(Item { position: entry.source.position(), at: entry.at, bit: entry.level.bit(), end });
        end - before
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() + self.items.len() * size_of::<Item>()
    }

    /// What is behind `mark`, cut where `room` bytes of lines end.
    pub(crate) fn fit(&self, mark: Option<Position>, room: u64) -> Fitted {
        let (mut fitted, mut start) = (Fitted::default(), 0);
        for item in &self.items {
            let line = &self.lines[start..item.end];
            start = item.end;
            if mark.is_some_and(|mark| item.position <= mark) {
                fitted.duplicates += 1;
                continue;
            }
            let empty =
                Segment { first: item.position, last: item.position, entries: 0, cut: 0, bytes: 0, span: Span::EMPTY };
            let segment = fitted.segment.get_or_insert(empty);
            segment.last = item.position;
            if segment.bytes + line.len() as u64 > room {
                segment.cut += 1;
                continue;
            }
            segment.entries += 1;
            segment.bytes += line.len() as u64;
            segment.span.add(item.at, item.bit);
            fitted.lines.extend_from_slice(line);
        }
        fitted
    }
}

#[derive(Debug, Default)]
struct Waiting {
    last: Option<Position>,
    runs: VecDeque<Run>,
    /// Something was left out: what comes next begins a run.
    broken: bool,
}

/// What became of an offered entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    Taken,
    Duplicate,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    waiting: BTreeMap<Key, Waiting>,
    bytes: usize,
    entries: usize,
    /// A run became complete since the last look.
    full: bool,
}

impl Buffer {
    /// Bytes in memory, those being written included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    pub(crate) fn push(&mut self, key: Key, entry: &Entry<'_>) -> Offered {
        let position = entry.source.position();
        let waiting = self.waiting.entry(key).or_default();
        if waiting.last.is_some_and(|last| position <= last) {
            return Offered::Duplicate;
        }
        let full = waiting.runs.back().is_none_or(|run| run.lines.len() >= SEGMENT);
        if full || waiting.broken {
            self.full |= !waiting.runs.is_empty();
            waiting.runs.push_back(Run::default());
        }
        waiting.broken = false;
        waiting.last = Some(position);
        if let Some(run) = waiting.runs.back_mut() {
            self.bytes += run.push(entry) + size_of::<Item>();
            self.entries += 1;
        }
        Offered::Taken
    }

    /// An entry of this key was left out.
    pub(crate) fn skip(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.broken = true;
        }
    }

    /// Whether a run became complete since the last look at what is due.
    pub(crate) fn has_full(&self) -> bool {
        self.full
    }

    /// The keys with something to write: all, those of `origins`, those with a complete run.
    pub(crate) fn due(&mut self, all: bool, origins: &BTreeSet<Arc<str>>) -> Vec<Key> {
        self.full = false;
        let due = |key: &Key, waiting: &Waiting| {
            !waiting.runs.is_empty() && (all || origins.contains(&key.origin) || waiting.runs.len() > 1)
        };
        self.waiting.iter().filter(|(key, waiting)| due(key, waiting)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether something of this partition waits.
    pub(crate) fn has(&self, origin: &str) -> bool {
        self.waiting.iter().any(|(key, waiting)| *key.origin == *origin && !waiting.runs.is_empty())
    }

    /// The oldest run of a key; it counts until it is settled.
    pub(crate) fn take(&mut self, key: &Key) -> Option<Run> {
        self.waiting.get_mut(key)?.runs.pop_front()
    }

    /// A run that was taken is written.
    pub(crate) fn settle(&mut self, key: &Key, run: &Run) {
        self.bytes = self.bytes.saturating_sub(run.bytes());
        self.entries = self.entries.saturating_sub(run.len());
        if self.waiting.get(key).is_some_and(|waiting| waiting.runs.is_empty()) {
            self.waiting.remove(key);
        }
    }

    /// A run that was taken is not written.
    pub(crate) fn put_back(&mut self, key: &Key, run: Run) {
        let waiting = self.waiting.entry(key.clone()).or_default();
        waiting.runs.push_front(run);
        // What was tried to be written may be there in spite of the error: it must not grow.
        waiting.broken = true;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::entry::{Level, Source};

    fn key() -> Key {
        Key { origin: "t@0".into(), day: "2026-11-21".to_owned(), job: "j".to_owned() }
    }

    fn push(buffer: &mut Buffer, offset: i64) -> Offered {
        let source = Source { topic: "t", partition: 0, offset, line: 0 };
        let line = Cow::Borrowed(&b"{}"[..]);
        buffer.push(key(), &Entry { job_run_id: "j", at: 0, level: Level::None, line, source })
    }

    fn firsts(buffer: &mut Buffer) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        while let Some(run) = buffer.take(&key()) {
            let segment = run.fit(None, u64::MAX).segment.unwrap();
            found.push((segment.first.0, segment.last.0));
            buffer.settle(&key(), &run);
        }
        found
    }

    #[test]
    fn what_is_left_out_ends_a_run() {
        let mut buffer = Buffer::default();
        for offset in [3, 4] {
            assert_eq!(push(&mut buffer, offset), Offered::Taken);
        }
        assert_eq!(push(&mut buffer, 4), Offered::Duplicate);
        buffer.skip(&key());
        push(&mut buffer, 9);
        assert!(buffer.has_full() && buffer.due(false, &BTreeSet::new()) == [key()]);
        assert_eq!(firsts(&mut buffer), [(3, 4), (9, 9)]);
        assert_eq!((buffer.bytes(), buffer.entries()), (0, 0));
    }

    #[test]
    fn what_was_tried_does_not_grow() {
        let mut buffer = Buffer::default();
        push(&mut buffer, 1);
        let tried = buffer.take(&key()).unwrap();
        push(&mut buffer, 2);
        buffer.put_back(&key(), tried);
        push(&mut buffer, 3);
        assert!(buffer.has("t@0") && !buffer.has("t@1"));
        assert_eq!(firsts(&mut buffer), [(1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn a_run_fits_behind_what_is_there_and_into_what_is_left() {
        let mut buffer = Buffer::default();
        (0..10).for_each(|offset| assert_eq!(push(&mut buffer, offset), Offered::Taken));
        let run = buffer.take(&key()).unwrap();
        let line = run.lines.len() as u64 / 10;
        let fit = |mark: Option<u64>, room: u64| {
            let fitted = run.fit(mark.map(|offset| (offset, 0)), room);
            let segment =
                fitted.segment.map(|s| (s.first.0, s.last.0, s.entries, s.cut, s.bytes == fitted.lines.len() as u64));
            (segment, fitted.duplicates)
        };
        assert_eq!(fit(None, u64::MAX), (Some((0, 9, 10, 0, true)), 0));
        assert_eq!(fit(Some(3), u64::MAX), (Some((4, 9, 6, 0, true)), 4));
        assert_eq!(fit(Some(3), 2 * line), (Some((4, 9, 2, 4, true)), 4));
        assert_eq!(fit(None, 0), (Some((0, 9, 0, 10, true)), 0));
        assert_eq!(fit(Some(9), u64::MAX), (None, 10));
    }
}
