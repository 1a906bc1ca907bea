//! Compares a body with a shape and takes its values.
use super::DumpShape;
use super::block::{Block, Line};
use super::value;
use super::variable::PLACEHOLDER;
use crate::codec::{self, Format};
use crate::model::UnixMs;

/// What a body has beside its shape.
#[derive(Debug, Default)]
pub(super) struct Harvest<'i> {
    /// What stands for the placeholder.
    pub(super) id: &'i str,
    /// The values' text; only the first [`Harvest::used`] bytes count.
    values: Vec<u8>,
    used: usize,
    pub(super) lengths: Vec<u8>,
    /// Line and timestamp, line and exemplar.
    pub(super) timestamps: Vec<(u32, UnixMs)>,
    pub(super) exemplars: Vec<(u32, Box<str>)>,
}

/// How far a harvest had come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    used: usize,
    lines: usize,
    timestamps: usize,
    exemplars: usize,
}

/// Takes the values of a body that has exactly this shape, with this id in its names.
/// `room`: how many bytes of values are expected.
pub(super) fn take<'i>(shape: &DumpShape, id: &'i str, body: &[u8], room: usize) -> Option<Harvest<'i>> {
    if shape.variable == id.is_empty() {
        return None;
    }
    let mut harvest = Harvest::with_room(room, shape.lines as usize, id);
    let mut at = 0;
    for block in &shape.blocks {
        at = harvest.block(block, body, at, shape.context.format)?;
    }
    (&body[at..] == shape.tail.as_bytes()).then_some(harvest)
}

/// Whether two texts of the same length are the same. Segments are short: sixteen bytes at
/// a time, the last ones twice, are cheaper than a call of `memcmp`.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    const STEP: usize = 16;
    let (Some(last_a), Some(last_b)) = (a.last_chunk::<STEP>(), b.last_chunk::<STEP>()) else {
        return match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
            (Some(last_a), Some(last_b)) => a.first_chunk::<8>() == b.first_chunk::<8>() && last_a == last_b,
            _ => a == b,
        };
    };
    let mut steps = a.as_chunks::<STEP>().0.iter().zip(b.as_chunks::<STEP>().0);
    steps.all(|(a, b)| a == b) && last_a == last_b
}

impl<'i> Harvest<'i> {
    pub(super) fn with_room(bytes: usize, lines: usize, id: &'i str) -> Harvest<'i> {
        Harvest { id, values: vec![0; bytes + 64], lengths: Vec::with_capacity(lines), ..Harvest::default() }
    }

    /// The values' text.
    pub(super) fn values(&self) -> &[u8] {
        &self.values[..self.used]
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            used: self.used,
            lines: self.lengths.len(),
            timestamps: self.timestamps.len(),
            exemplars: self.exemplars.len(),
        }
    }

    /// Forgets what came since.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.used = mark.used;
        self.lengths.truncate(mark.lines);
        self.timestamps.truncate(mark.timestamps);
        self.exemplars.truncate(mark.exemplars);
    }

    /// Takes a block's values from the body at `at`; where the block ends, or `None` if
    /// the body differs (the harvest then holds a part of it).
    pub(super) fn block(&mut self, block: &Block, body: &[u8], mut at: usize, format: Format) -> Option<usize> {
        let text = block.text.as_bytes();
        let mut from = 0;
        let mut holes: &[u32] = &block.holes;
        for line in &block.lines {
            let segment = &text[from..from + line.segment as usize];
            let value = match holes {
                [] => {
                    let value = at + segment.len();
                    same(body.get(at..value)?, segment).then_some(value)?
                }
                _ => self.behind(segment, from, &mut holes, body, at)?,
            };
            from += segment.len();
            let length = match value::plain(&body[value..]) {
                Some(length) if line.flags & Line::TIME == 0 => length,
                _ => {
                    at = self.odd(line, body, value, format)?;
                    continue;
                }
            };
            self.put(body, value, length);
            at = value + length + 1;
        }
        let tail = &text[from..block.tail as usize];
        self.behind(tail, from, &mut holes, body, at)
    }

    /// Where the body goes on behind a segment, if it has it at `at`. `holes` are those of
    /// the text from `from` on, where the segment begins.
    fn behind(&self, segment: &[u8], from: usize, holes: &mut &[u32], body: &[u8], mut at: usize) -> Option<usize> {
        let mut rest = segment;
        while let Some((hole, others)) = holes.split_first()
            && (*hole as usize) < from + segment.len()
        {
            let before = *hole as usize - from - (segment.len() - rest.len());
            for piece in [&rest[..before], self.id.as_bytes()] {
                let end = at + piece.len();
                if !same(body.get(at..end)?, piece) {
                    return None;
                }
                at = end;
            }
            rest = &rest[before + PLACEHOLDER.len()..];
            *holes = others;
        }
        let end = at + rest.len();
        same(body.get(at..end)?, rest).then_some(end)
    }

    /// Appends the value at `value`.
    fn put(&mut self, body: &[u8], value: usize, length: usize) {
        // Plain values have at most 40 bytes; most have at most 16, for which two words
        // are moved whatever their length.
        match (body.get(value..).and_then(<[u8]>::first_chunk::<16>), self.values.get_mut(self.used..self.used + 16)) {
            (Some(chunk), Some(room)) if length <= 16 => room.copy_from_slice(chunk),
            _ => self.append(&body[value..value + length]),
        }
        self.used += length;
        self.lengths.push(length as u8);
    }

    #[cold]
    fn append(&mut self, value: &[u8]) {
        let end = self.used + value.len();
        if self.values.len() < end + 64 {
            self.values.resize((end + 64) * 2, 0);
        }
        self.values[self.used..end].copy_from_slice(value);
    }

    /// A line whose end is not simply a number: read as the parser reads it. Where the
    /// next line begins.
    #[cold]
    fn odd(&mut self, line: &Line, body: &[u8], value: usize, format: Format) -> Option<usize> {
        let end = value + memchr::memchr(b'\n', &body[value..])?;
        let tail = codec::tail(format, std::str::from_utf8(&body[value..end]).ok()?)?;
        let refused = |flag| line.flags & flag != 0;
        if tail.timestamp.is_some() && refused(Line::TIMELESS)
            || tail.exemplar.is_some() && !refused(Line::EXEMPLAR)
            || refused(Line::TIME) && !matches!(tail.value.parse::<f64>(), Ok(v) if v >= 0.0)
        {
            return None;
        }
        let at = u32::try_from(self.lengths.len()).ok()?;
        let length = u8::try_from(tail.value.len()).ok()?;
        self.timestamps.extend(tail.timestamp.map(|t| (at, t)));
        self.exemplars.extend(tail.exemplar.map(|e| (at, e.into())));
        self.append(tail.value.as_bytes());
        self.used += usize::from(length);
        self.lengths.push(length);
        Some(end + 1)
    }
}
