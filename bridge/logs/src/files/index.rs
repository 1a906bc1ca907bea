//! The file beside a job's lines: how far they are good, which offsets they hold, and a
//! sparse index over them.
//!
//! ```text
//! 0     slot A ┐ written in turn, in place: the newest whole one counts
//! 1536  slot B ┘
//! 3072  what never changes: magic, generation, job id
//! 4096  one record of 40 bytes per block of lines
//! ```
//!
//! A slot is written after the lines that it speaks of. All of it can be made anew from
//! the lines, which carry time, level and source themselves.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::entry::{Head, fnv};

/// A block is closed after the line that reaches this many bytes.
pub(crate) const BLOCK: u64 = 128 * 1024;

/// The most partitions that may write into one file.
pub(crate) const MAX_SOURCES: usize = 48;

const MAGIC: &[u8; 8] = b"K2PLOGS1";
const SLOT: usize = 1536;
const FIXED: usize = 2 * SLOT;
pub(crate) const HEADER: usize = 4096;
pub(crate) const RECORD: usize = 40;

/// Times and levels of a stretch of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) min_at: i64,
    pub(crate) max_at: i64,
    pub(crate) levels: u64,
}

impl Span {
    pub(crate) const EMPTY: Span = Span { min_at: i64::MAX, max_at: i64::MIN, levels: 0 };

    pub(crate) fn add(&mut self, head_at: i64, bit: u64) {
        self.min_at = self.min_at.min(head_at);
        self.max_at = self.max_at.max(head_at);
        self.levels |= bit;
    }
}

/// A closed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where its first line begins, among the lines.
    pub(crate) start: u64,
    /// Where its frame begins in the compressed file.
    pub(crate) stored: u64,
    pub(crate) span: Span,
}

/// The newest position of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) origin: u64,
    pub(crate) position: (u64, u64),
}

/// What a slot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) seq: u64,
    /// Bytes of lines.
    pub(crate) len: u64,
    /// Bytes of lines that survive a loss of power.
    pub(crate) synced: u64,
    pub(crate) entries: u64,
    /// Entries that the quota cut.
    pub(crate) cut: u64,
    /// Over the whole file.
    pub(crate) span: Span,
    /// Closed blocks.
    pub(crate) blocks: u64,
    /// Where the open block begins.
    pub(crate) open_start: u64,
    pub(crate) open: Span,
    pub(crate) compressed: bool,
    /// Bytes of the compressed file.
    pub(crate) stored_len: u64,
    pub(crate) marks: Vec<Mark>,
}

impl Default for State {
    fn default() -> Self {
        State {
            seq: 0,
            len: 0,
            synced: 0,
            entries: 0,
            cut: 0,
            span: Span::EMPTY,
            blocks: 0,
            open_start: 0,
            open: Span::EMPTY,
            compressed: false,
            stored_len: 0,
            marks: Vec::new(),
        }
    }
}

impl State {
    pub(crate) fn mark(&self, origin: u64) -> Option<(u64, u64)> {
        self.marks.iter().find(|mark| mark.origin == origin).map(|mark| mark.position)
    }

    /// Moves a partition's position on; false if there is no room for one more partition.
    #[must_use]
    pub(crate) fn advance(&mut self, origin: u64, position: (u64, u64)) -> bool {
        if let Some(mark) = self.marks.iter_mut().find(|mark| mark.origin == origin) {
            mark.position = mark.position.max(position);
            return true;
        }
        let room = self.marks.len() < MAX_SOURCES;
        if room {
            self.marks.push(Mark { origin, position });
        }
        room
    }

    /// Notes a line of `length` bytes (with its newline) at the end; the block that it closes.
    pub(crate) fn push(&mut self, at: i64, bit: u64, length: u64) -> Option<Block> {
        self.len += length;
        self.entries += 1;
        self.span.add(at, bit);
        self.open.add(at, bit);
        (self.len - self.open_start >= BLOCK).then(|| self.close_block())
    }

    /// Closes the open block, which is not empty.
    pub(crate) fn close_block(&mut self) -> Block {
        let block = Block { start: self.open_start, stored: 0, span: self.open };
        self.blocks += 1;
        self.open_start = self.len;
        self.open = Span::EMPTY;
        block
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SLOT);
        let fields = [
            self.seq,
            self.len,
            self.synced,
            self.entries,
            self.cut,
            self.span.min_at.cast_unsigned(),
            self.span.max_at.cast_unsigned(),
            self.span.levels,
            self.blocks,
            self.open_start,
            self.open.min_at.cast_unsigned(),
            self.open.max_at.cast_unsigned(),
            self.open.levels,
            u64::from(self.compressed),
            self.stored_len,
            self.marks.len() as u64,
        ];
        let marks = self.marks.iter().flat_map(|m| [m.origin, m.position.0, m.position.1]);
        for field in fields.into_iter().chain(marks) {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let sum = fnv(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(slot: &[u8]) -> Option<State> {
        let field = |i: usize| Some(u64::from_le_bytes(slot.get(i * 8..i * 8 + 8)?.try_into().ok()?));
        let marks = usize::try_from(field(15)?).ok().filter(|n| *n <= MAX_SOURCES)?;
        let sum_at = 16 + 3 * marks;
        if field(sum_at)? != fnv(slot.get(..sum_at * 8)?) {
            return None;
        }
        let mut state = State {
            seq: field(0)?,
            len: field(1)?,
            synced: field(2)?,
            entries: field(3)?,
            cut: field(4)?,
            span: span(field(5)?, field(6)?, field(7)?),
            blocks: field(8)?,
            open_start: field(9)?,
            open: span(field(10)?, field(11)?, field(12)?),
            compressed: field(13)? == 1,
            stored_len: field(14)?,
            marks: Vec::with_capacity(marks),
        };
        for i in 0..marks {
            let at = 16 + 3 * i;
            state.marks.push(Mark { origin: field(at)?, position: (field(at + 1)?, field(at + 2)?) });
        }
        Some(state)
    }

    /// Where its slot is.
    pub(crate) fn slot_at(&self) -> u64 {
        (self.seq % 2) * SLOT as u64
    }
}

fn span(min_at: u64, max_at: u64, levels: u64) -> Span {
    Span { min_at: min_at.cast_signed(), max_at: max_at.cast_signed(), levels }
}

impl Block {
    pub(crate) fn encode(&self) -> [u8; RECORD] {
        let mut out = [0; RECORD];
        let fields = [
            self.start,
            self.stored,
            self.span.min_at.cast_unsigned(),
            self.span.max_at.cast_unsigned(),
            self.span.levels,
        ];
        for (place, field) in out.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    fn decode(record: &[u8]) -> Option<Block> {
        let field = |i: usize| Some(u64::from_le_bytes(record.get(i * 8..i * 8 + 8)?.try_into().ok()?));
        Some(Block { start: field(0)?, stored: field(1)?, span: span(field(2)?, field(3)?, field(4)?) })
    }

    pub(crate) fn record_at(number: u64) -> u64 {
        HEADER as u64 + number * RECORD as u64
    }
}

/// What an index file holds, but for its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// Made when the file was: another one means other lines.
    pub(crate) generation: u64,
    pub(crate) job: String,
    pub(crate) state: State,
}

impl Index {
    /// Reads the header; `None` where it is not whole (never written, or lost with the power).
    pub(crate) fn read(file: &File) -> io::Result<Option<Index>> {
        let mut header = vec![0; HEADER];
        let read = read_up_to(file, &mut header, 0)?;
        Ok(Index::decode(&header[..read]))
    }

    fn decode(header: &[u8]) -> Option<Index> {
        let fixed = header.get(FIXED..)?;
        let number = |at: usize| Some(u64::from_le_bytes(fixed.get(at..at + 8)?.try_into().ok()?));
        if fixed.get(..8)? != MAGIC {
            return None;
        }
        let (generation, length) = (number(8)?, usize::try_from(number(16)?).ok()?);
        let end = 24usize.checked_add(length)?;
        if number(end)? != fnv(fixed.get(..end)?) {
            return None;
        }
        let job = String::from_utf8(fixed.get(24..end)?.to_vec()).ok()?;
        let slots = [State::decode(&header[..SLOT]), State::decode(&header[SLOT..FIXED])];
        let state = slots.into_iter().flatten().max_by_key(|state| state.seq)?;
        Some(Index { generation, job, state })
    }

    /// The whole header.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut fixed = MAGIC.to_vec();
        fixed.extend_from_slice(&self.generation.to_le_bytes());
        fixed.extend_from_slice(&(self.job.len() as u64).to_le_bytes());
        fixed.extend_from_slice(self.job.as_bytes());
        let sum = fnv(&fixed);
        fixed.extend_from_slice(&sum.to_le_bytes());
        let mut header = vec![0; HEADER];
        let slot = self.state.encode();
        let at = if self.state.seq.is_multiple_of(2) { 0 } else { SLOT };
        header[at..at + slot.len()].copy_from_slice(&slot);
        header[FIXED..FIXED + fixed.len()].copy_from_slice(&fixed);
        header
    }
}

/// The closed blocks from `from` on.
pub(crate) fn read_blocks(file: &File, from: u64, count: u64) -> io::Result<Vec<Block>> {
    let wanted = usize::try_from(count.saturating_sub(from)).unwrap_or(0).saturating_mul(RECORD);
    let mut bytes = vec![0; wanted];
    let read = read_up_to(file, &mut bytes, Block::record_at(from))?;
    Ok(bytes[..read].chunks_exact(RECORD).filter_map(Block::decode).collect())
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Adds the whole lines at the start of `bytes` to a state, with the blocks that they
/// close. Ends at the first line that is not whole or not one of ours, and says how many
/// bytes were good.
pub(crate) fn scan(state: &mut State, blocks: &mut Vec<Block>, bytes: &[u8]) -> usize {
    let mut good = 0;
    while let Some(length) = memchr::memchr(b'\n', &bytes[good..]) {
        let line = &bytes[good..good + length];
        let origin = Head::parse(line).and_then(|head| Some((head, head.origin()?)));
        let Some((head, (origin, position))) = origin else { break };
        // What a loss of power leaves of a page that was not written is zeros.
        if line.iter().any(|b| *b < 0x20) || !state.advance(fnv(origin.as_bytes()), position) {
            break;
        }
        good += length + 1;
        blocks.extend(state.push(head.at, head.level.bit(), length as u64 + 1));
    }
    good
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_full_header_fits_and_comes_back() {
        let mut state = State { seq: 7, len: 3, cut: 9, compressed: true, ..State::default() };
        for i in 0..MAX_SOURCES as u64 {
            assert!(state.advance(i, (i, 1)));
        }
        assert!(!state.advance(1000, (0, 0)) && state.advance(3, (9, 9)));
        assert!(state.encode().len() <= SLOT);
        let index = Index { generation: 5, job: "j".repeat(crate::MAX_ID), state };
        let mut header = index.encode();
        assert_eq!(header.len(), HEADER);
        assert_eq!(Index::decode(&header).unwrap(), index);
        header[SLOT + 3] ^= 1;
        assert_eq!(Index::decode(&header), None);
    }
}
