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
//! - An application's id inside metric names is a variable of the shape (module
//!   `variable`): Spark drivers of one version have one shape.
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
mod variable;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::StoredDump;
use crate::codec::{self, Format, ParseOptions, Trace};
use crate::labels::{Labels, is_legacy_label_name};
use crate::model::Parsed;
use block::{Block, Heads};
pub(crate) use shaped::{Shaped, ShapedFamily, Stage};
pub use shapes::Shapes;
pub(crate) use variable::Name;

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
    /// Every family, sorted by name: where names have an id, for the ids of its users.
    places: Box<[Place]>,
    lines: u32,
    /// What a plan sees of its families: those of equal heads under the same id have the same
    /// families at the same places, as names and ids say the order.
    heads: Heads,
    /// An id stands in some of its names.
    variable: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    block: u32,
    /// In its block.
    family: u32,
    /// The block's first value line in the dump.
    line: u32,
}

impl DumpShape {
    fn new(context: Arc<Context>, blocks: Vec<Arc<Block>>, tail: &str, id: &str) -> DumpShape {
        let mut places = Vec::new();
        let mut lines = 0;
        for (at, block) in blocks.iter().enumerate() {
            for family in 0..block.families.len() {
                places.push(Place { block: at as u32, family: family as u32, line: lines });
            }
            lines += block.lines.len() as u32;
        }
        places.sort_by(|a, b| name_at(&blocks, a, id).order(name_at(&blocks, b, id)));
        let heads: Vec<u8> = blocks.iter().flat_map(|block| block.heads).flat_map(u64::to_le_bytes).collect();
        DumpShape {
            context,
            heads: block::heads(&heads),
            variable: blocks.iter().any(|b| !b.holes.is_empty()),
            places: places.into_boxed_slice(),
            blocks: blocks.into_boxed_slice(),
            tail: tail.into(),
            lines,
            account: None,
        }
    }

    /// Whether the families' order is that of their names under another id, too.
    fn is_sorted(&self, id: &str) -> bool {
        let name = |place| name_at(&self.blocks, place, id);
        self.places.windows(2).all(|w| name(&w[0]).order(name(&w[1])).is_lt())
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

fn name_at<'b>(blocks: &'b [Arc<Block>], place: &Place, id: &'b str) -> Name<'b> {
    let block = &blocks[place.block as usize];
    block.families[place.family as usize].name(block, id)
}

impl Shapes {
    /// Takes a dump whose shape is known: that of the origin's last dump, or of another
    /// origin. `None`: it must be parsed.
    pub(crate) fn take(&self, rules: &Rules<'_>, body: &[u8], last: Option<&StoredDump>) -> Option<StoredDump> {
        if let Some(last) = last.and_then(StoredDump::shaped)
            && last.shape.context.admits(rules)
        {
            let room = last.room();
            if let Some(harvest) = take::take(&last.shape, last.id(), body, room) {
                return Some(Shaped::new(last.shape.clone(), rules.labels, harvest).into());
            }
            let id = if last.shape.variable { id_of(body)? } else { "" };
            if id != last.id()
                && let Some(dump) = self.take_as(&last.shape, id, rules, body, room)
            {
                return Some(dump);
            }
            let (shape, harvest) = mend::mend(self, rules, &last.shape, id, body, room)?;
            return Some(Shaped::new(shape, rules.labels, harvest).into());
        }
        let id = id_of(body).unwrap_or_default();
        let candidates = self.candidates(rules, body);
        candidates.iter().find_map(|shape| {
            let id = if shape.variable { id } else { "" };
            self.take_as(shape, id, rules, body, body.len() / 8)
        })
    }

    /// Takes a dump of a known shape under an id that none of its users may have had.
    fn take_as(
        &self,
        shape: &Arc<DumpShape>,
        id: &str,
        rules: &Rules<'_>,
        body: &[u8],
        room: usize,
    ) -> Option<StoredDump> {
        let harvest = take::take(shape, id, body, room)?;
        let shape = match !shape.variable || shape.is_sorted(id) {
            true => shape.clone(),
            false => self.dump(DumpShape::new(shape.context.clone(), shape.blocks.to_vec(), &shape.tail, id), body),
        };
        Some(Shaped::new(shape, rules.labels, harvest).into())
    }

    /// Parses and keeps a dump that has an id in its names, if a shape with a variable can
    /// be made of it; `None`: it is read as any other.
    pub(crate) fn store_variable(&self, rules: &Rules<'_>, body: &[u8]) -> Option<StoredDump> {
        let id = id_of(body)?;
        let text = variable::substituted(body, id)?;
        let (parsed, trace) = codec::parse_traced(rules.format, &text, &variable::options(rules.options, id)).ok()?;
        if !variable::is_clear(&parsed) {
            return None;
        }
        self.keep(rules, body, &text, &parsed, &trace?, id)
    }

    /// Keeps a dump that was parsed; `None` if it is not regular: it is stored plainly.
    pub(crate) fn store(
        &self,
        rules: &Rules<'_>,
        body: &[u8],
        parsed: &Parsed<'_>,
        trace: &Trace,
    ) -> Option<StoredDump> {
        self.keep(rules, body, body, parsed, trace, "")
    }

    /// `text`: what was parsed, the body with placeholders for the id.
    fn keep(
        &self,
        rules: &Rules<'_>,
        body: &[u8],
        text: &[u8],
        parsed: &Parsed<'_>,
        trace: &Trace,
        id: &str,
    ) -> Option<StoredDump> {
        let text = std::str::from_utf8(text).ok()?;
        let context = Arc::new(Context::of(rules));
        let (blocks, rest) = build::blocks(text, parsed, trace, rules, &context, !id.is_empty())?;
        let blocks = blocks.into_iter().map(|b| self.block(b)).collect();
        let shape = self.dump(DumpShape::new(context, blocks, &text[rest..], id), body);
        let harvest = take::take(&shape, id, body, body.len() / 8)?;
        Some(Shaped::new(shape, rules.labels, harvest).into())
    }
}

fn id_of(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(&body[variable::of_body(body)?]).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Whether the second dump is taken by comparing it with the shape of the first one.
    fn compared(one: &str, other: &str) -> bool {
        let (options, labels) = (ParseOptions::default(), Labels::parse("i=\"x\"").unwrap());
        let rules =
            Rules { format: Format::Text, options: &options, labels: &labels, honor_labels: false, fixed: &labels };
        let shapes = Shapes::default();
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let known = shapes.store_variable(&rules, one).or_else(|| {
            let (parsed, trace) = codec::parse_traced(rules.format, one, &options).unwrap();
            shapes.store(&rules, one, &parsed, &trace?)
        });
        known.is_some() && shapes.take(&rules, other, None).is_some()
    }

    #[test]
    fn what_another_id_may_be_compared_with() {
        let ids = ["local_1700000000000", "app_20240101120000_0001"];
        for (expected, dump) in [
            (true, "m_ID_x 1\nm_ID_y 2\n"),
            (true, "# TYPE m_ID_x gauge\nm_ID_x 1\nother 2\n"),
            (true, "ID 1\n"),
            (true, "m:ID:x 1\nm 2\n"),
            // In a label it is text.
            (false, "m_ID_x{app=\"ID\"} 1\n"),
            (false, "# HELP m_ID_x About ID.\nm_ID_x 1\n"),
            // Another id, or the same one twice in a name: names could become one.
            (false, "m_ID_x 1\nm_local_1800000000000_x 2\n"),
            (false, "m_ID_ID 1\n"),
            (false, "m_ID_x 1\n m_ID_y 2\n"),
            // The first line says what is variable.
            (false, "m 1\nm_ID_x 2\n"),
            (false, "m_ID_x 1\nm_K2pVarId_x 1\n"),
        ] {
            let [one, other] = ids.map(|id| dump.replace("ID", id));
            assert!(compared(&one, &one), "{dump}");
            assert_eq!(compared(&one, &other), expected, "{dump}");
        }
    }
}
