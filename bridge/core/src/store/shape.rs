//! Shapes: all that stands between the values of a dump, kept once for all origins that
//! have it.
//!
//! Successive dumps of an origin differ in some values only. So a regular dump (each
//! sample line became one sample) is taken apart into *segments*, the bytes between two
//! values, and the values. The next dump is compared with the segments, each value is
//! checked by the parser's own grammar and copied; nothing else is looked at.
//!
//! - A `Block` is a run of whole lines that holds every line of its families, and is
//!   what origins share. A `DumpShape` is a sequence of blocks.
//! - Where a block differs, only the lines up to the next block that fits are parsed
//!   (module `mend`); the parser's judgement of them is that of the whole dump only if
//!   they hold the same families as before, else all of it is parsed anew.
//! - What depends on values is never part of a shape: whether a family keeps OpenMetrics'
//!   rules is worked out when a scrape asks, once per dump.
//! - The samples' order in a family, renamed labels and canonical spellings are part of
//!   the shape. The origin's labels are not; only which *names* they have, where one of
//!   them met a body's label.
//!
//! No shape is made of a dump with rejected lines, with a point of a series that replaced
//! another, with `honor_labels` at work: those take the plain path each time.
mod block;
mod build;
mod fits;
mod mend;
mod shaped;
mod shapes;
mod take;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::StoredDump;
use crate::codec::{Format, ParseOptions, Trace};
use crate::labels::{Labels, is_legacy_label_name};
use crate::model::Parsed;
use block::Block;
pub(crate) use shaped::{Shaped, ShapedFamily, Stage};
pub use shapes::Shapes;

/// What a dump is read by: the same for each dump of an origin until the topic's
/// configuration changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) format: Format,
    pub(crate) options: &'a ParseOptions,
    /// All labels to inject.
    pub(crate) labels: &'a Labels,
    pub(crate) honor_labels: bool,
    pub(crate) fixed: &'a Labels,
}

/// The part of the rules that shapes depend on.
#[derive(Debug, PartialEq, Eq)]
struct Context {
    format: Format,
    options: ParseOptions,
    /// Names of the injected labels, and whether a body's label wins over each.
    names: Box<[(Box<str>, bool)]>,
    /// One of them is beyond the legacy grammar.
    utf8: bool,
}

impl Context {
    fn of(rules: &Rules<'_>) -> Context {
        let honored = |name: &str| rules.honor_labels && rules.fixed.get(name).is_none();
        let names = rules.labels.iter().map(|(name, _)| (name.into(), honored(name))).collect();
        let utf8 = rules.labels.iter().any(|(name, _)| !is_legacy_label_name(name));
        Context { format: rules.format, options: *rules.options, names, utf8 }
    }

    fn admits(&self, rules: &Rules<'_>) -> bool {
        let honored = |name: &str| rules.honor_labels && rules.fixed.get(name).is_none();
        self.format == rules.format
            && self.options == *rules.options
            && self.names.len() == rules.labels.len()
            && self.names.iter().zip(rules.labels.iter()).all(|((a, h), (b, _))| a.as_ref() == b && *h == honored(b))
    }
}

/// A dump without its values.
#[derive(Debug)]
struct DumpShape {
    context: Arc<Context>,
    blocks: Box<[Arc<Block>]>,
    /// What stands behind the last block: comments, `# EOF`.
    tail: Box<str>,
    /// Every family, sorted by name.
    places: Box<[Place]>,
    lines: u32,
    /// Sums up the shapes that live, as [`Block::account`].
    account: Option<Arc<AtomicUsize>>,
}

impl Drop for DumpShape {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.fetch_sub(self.own_bytes(), Ordering::Relaxed);
        }
    }
}

/// Where a family is.
#[derive(Debug, Clone, Copy)]
struct Place {
    block: u32,
    /// In its block.
    family: u32,
    /// The block's first value line in the dump.
    line: u32,
}

impl DumpShape {
    fn new(context: Arc<Context>, blocks: Vec<Arc<Block>>, tail: &str) -> DumpShape {
        let mut places = Vec::new();
        let mut lines = 0;
        for (at, block) in blocks.iter().enumerate() {
            for family in 0..block.families.len() {
                places.push(Place { block: at as u32, family: family as u32, line: lines });
            }
            lines += block.lines.len() as u32;
        }
        let name = |place: &Place| {
            let block = &blocks[place.block as usize];
            block.families[place.family as usize].name(block)
        };
        places.sort_by(|a, b| name(a).cmp(name(b)));
        DumpShape {
            context,
            places: places.into_boxed_slice(),
            blocks: blocks.into_boxed_slice(),
            tail: tail.into(),
            lines,
            account: None,
        }
    }

    /// Estimated bytes of memory without its blocks.
    fn own_bytes(&self) -> usize {
        size_of::<DumpShape>()
            + 16
            + size_of_val(self.blocks.as_ref())
            + size_of_val(self.places.as_ref())
            + self.tail.len()
    }

    /// An origin's part of what it shares with others.
    fn share(&self) -> usize {
        self.blocks.iter().map(|b| b.bytes() / Arc::strong_count(b).max(1)).sum()
    }
}

impl Shapes {
    /// Takes a dump whose shape is known: that of the origin's last dump, or of another
    /// origin. `None`: it must be parsed.
    pub(crate) fn take(&self, rules: &Rules<'_>, body: &[u8], last: Option<&StoredDump>) -> Option<StoredDump> {
        if let Some(last) = last.and_then(StoredDump::shaped)
            && last.shape.context.admits(rules)
        {
            let room = last.room();
            let taken =
                take::take(&last.shape, body, room).or_else(|| mend::mend(self, rules, &last.shape, body, room));
            return taken.map(|(shape, harvest)| Shaped::new(shape, rules.labels, harvest).into());
        }
        self.candidates(rules, body).iter().find_map(|shape| {
            let (shape, harvest) = take::take(shape, body, body.len() / 8)?;
            Some(Shaped::new(shape, rules.labels, harvest).into())
        })
    }

    /// Keeps a dump that was parsed; `None` if it is not regular: it is stored plainly.
    pub(crate) fn store(
        &self,
        rules: &Rules<'_>,
        body: &[u8],
        parsed: &Parsed<'_>,
        trace: &Trace,
    ) -> Option<StoredDump> {
        let text = std::str::from_utf8(body).ok()?;
        let context = Arc::new(Context::of(rules));
        let (blocks, rest) = build::blocks(text, parsed, trace, rules, &context)?;
        let blocks = blocks.into_iter().map(|b| self.block(b)).collect();
        let shape = self.dump(DumpShape::new(context, blocks, &text[rest..]), body);
        let (shape, harvest) = take::take(&shape, body, body.len() / 8)?;
        Some(Shaped::new(shape, rules.labels, harvest).into())
    }
}
