//! Output in pieces, never one String.
use std::ops::ControlFlow;

use bytes::Bytes;

/// About how many bytes a chunk has; a single line may make it longer.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Collects lines and hands them on, a chunk at a time.
pub(crate) struct Chunks<'k> {
    buffer: Vec<u8>,
    sink: &'k mut dyn FnMut(Bytes) -> ControlFlow<()>,
    handed_on: u64,
}

impl<'k> Chunks<'k> {
    pub(crate) fn new(sink: &'k mut dyn FnMut(Bytes) -> ControlFlow<()>) -> Chunks<'k> {
        Chunks { buffer: Vec::new(), sink, handed_on: 0 }
    }

    /// Where lines are appended; call [`Chunks::line_done`] after each.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(CHUNK_BYTES + CHUNK_BYTES / 16);
        }
        &mut self.buffer
    }

    /// Hands the chunk on if it is full. Break: the reader has gone.
    pub(crate) fn line_done(&mut self) -> ControlFlow<()> {
        match self.buffer.len() < CHUNK_BYTES {
            true => ControlFlow::Continue(()),
            false => self.flush(),
        }
    }

    /// Hands on what is there.
    pub(crate) fn flush(&mut self) -> ControlFlow<()> {
        if self.buffer.is_empty() {
            return ControlFlow::Continue(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.hand_on(chunk)
    }

    /// Hands on what was written elsewhere; call [`Chunks::flush`] before.
    pub(crate) fn hand_on(&mut self, chunk: Bytes) -> ControlFlow<()> {
        self.handed_on += chunk.len() as u64;
        (self.sink)(chunk)
    }

    /// Bytes handed on so far.
    pub(crate) fn handed_on(&self) -> u64 {
        self.handed_on
    }
}
