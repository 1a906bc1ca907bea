//! Where each line of a dump went: what a shape is made of.

/// The lines that hold metadata or samples, in the order of the dump. Only a *regular*
/// dump has one: nothing was rejected, and no point replaced an earlier one of its
/// series, so that each sample line is one sample.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) lines: Vec<TracedLine>,
    pub(super) regular: bool,
}

/// One of them. A body has less than 4 GB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedLine {
    /// Where it begins in the body.
    pub(crate) start: u32,
    /// The family's place in [`crate::model::Parsed::families`].
    pub(crate) family: u32,
    /// `None` for metadata.
    pub(crate) sample: Option<TracedSample>,
}

/// A sample's line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedSample {
    /// Where its value begins in the body.
    pub(crate) value: u32,
    /// Its place in the family.
    pub(crate) index: u32,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { lines: Vec::new(), regular: true }
    }
}

impl Trace {
    pub(super) fn metadata(&mut self, start: usize, family: u32) {
        let start = self.narrow(start);
        self.lines.push(TracedLine { start, family, sample: None });
    }

    /// `value_at` counts from the line's beginning.
    pub(super) fn sample(&mut self, start: usize, value_at: usize, family: u32, index: usize) {
        let value = self.narrow(start + value_at);
        let (start, index) = (self.narrow(start), self.narrow(index));
        self.lines.push(TracedLine { start, family, sample: Some(TracedSample { value, index }) });
    }

    /// What does not fit has no trace.
    fn narrow(&mut self, offset: usize) -> u32 {
        u32::try_from(offset).unwrap_or_else(|_| {
            self.regular = false;
            0
        })
    }
}
