//! A body of which only some blocks differ from a known shape.
use std::borrow::Cow;
use std::sync::Arc;

use super::block::Block;
use super::take::Harvest;
use super::{DumpShape, Rules, Shapes, build, variable};
use crate::codec::{self, Format};
use crate::model::MetricType;

/// More places than this are not mended: the whole is parsed.
const MOST_MENDS: usize = 16;
/// A block that differs ends where one of so many that follow it begins.
const LOOK_AHEAD: usize = 4;

/// Takes the values of a body with this id that differs from the shape in some blocks, each of which
/// still holds the same families.
pub(super) fn mend<'i>(
    shapes: &Shapes,
    rules: &Rules<'_>,
    shape: &DumpShape,
    id: &'i str,
    body: &[u8],
    room: usize,
) -> Option<(Arc<DumpShape>, Harvest<'i>)> {
    let mut harvest = Harvest::with_room(room, shape.lines as usize, id);
    let mut blocks: Vec<Arc<Block>> = Vec::with_capacity(shape.blocks.len());
    let (mut at, mut index, mut mends) = (0, 0, 0);
    while index < shape.blocks.len() {
        let mark = harvest.mark();
        if let Some(end) = harvest.block(&shape.blocks[index], body, at, rules.format) {
            blocks.push(shape.blocks[index].clone());
            (at, index) = (end, index + 1);
            continue;
        }
        harvest.back_to(mark);
        mends += 1;
        if mends > MOST_MENDS {
            return None;
        }
        let (next, end) = next_known(shape, id, body, at, index)?;
        for block in region(shapes, rules, shape, id, &body[at..end], &shape.blocks[index..next])? {
            at = harvest.block(&block, body, at, rules.format)?;
            blocks.push(block);
        }
        if at != end {
            return None;
        }
        index = next;
    }
    if &body[at..] != shape.tail.as_bytes() || harvest.lengths.len() > rules.options.max_series {
        return None;
    }
    let shape = DumpShape::new(shape.context.clone(), blocks, &shape.tail, id);
    Some((shapes.dump(shape, body), harvest))
}

/// The next block behind `index` that the body holds behind `at`, and where it begins.
fn next_known(shape: &DumpShape, id: &str, body: &[u8], at: usize, index: usize) -> Option<(usize, usize)> {
    let rest = &body[at..];
    for next in index + 1..shape.blocks.len().min(index + 1 + LOOK_AHEAD) {
        let probe = shape.blocks[next].probe(id);
        let found = memchr::memmem::find_iter(rest, probe.as_bytes()).find(|f| *f == 0 || rest[*f - 1] == b'\n');
        if let Some(found) = found {
            return Some((next, at + found));
        }
    }
    let end = body.len().checked_sub(shape.tail.len()).filter(|end| *end >= at)?;
    let last = index + LOOK_AHEAD >= shape.blocks.len();
    (last && &body[end..] == shape.tail.as_bytes()).then_some((shape.blocks.len(), end))
}

/// Parses lines that stand for known blocks. What they are does not depend on the rest of
/// the dump only if they are the same families with the same sample names as before:
/// which lines belong to which family is decided by those.
fn region(
    shapes: &Shapes,
    rules: &Rules<'_>,
    shape: &DumpShape,
    id: &str,
    lines: &[u8],
    known: &[Arc<Block>],
) -> Option<Vec<Arc<Block>>> {
    let mut text = match id {
        "" => Cow::Borrowed(lines),
        id => Cow::Owned(variable::substituted(lines, id)?),
    };
    let length = text.len();
    if rules.format == Format::OpenMetrics {
        text.to_mut().extend_from_slice(b"# EOF\n");
    }
    let (parsed, trace) = codec::parse_traced(rules.format, &text, &variable::options(rules.options, id)).ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    let (blocks, end) = build::blocks(text, &parsed, &trace?, rules, &shape.context, !id.is_empty())?;
    if end != length || signature(blocks.iter()) != signature(known.iter().map(AsRef::as_ref)) {
        return None;
    }
    Some(blocks.into_iter().map(|block| shapes.block(block)).collect())
}

/// What decides where other lines of the dump belong.
type Signature<'b> = Vec<(&'b str, MetricType, Option<&'b str>, Option<&'b str>, Vec<&'b str>)>;

fn signature<'b>(blocks: impl Iterator<Item = &'b Block>) -> Signature<'b> {
    let mut all = Vec::new();
    for block in blocks {
        for family in &block.families {
            let text = |piece: Option<_>| piece.map(|p| block.piece(p));
            let mut names: Vec<&str> = family.sample_names(block).map(|name| block.piece(name)).collect();
            names.sort_unstable();
            all.push((block.piece(family.name), family.kind, text(family.help), text(family.unit), names));
        }
    }
    all.sort();
    all
}
