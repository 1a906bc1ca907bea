//! A run of lines without their values.
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;

use super::Context;
use super::variable::{Name, PLACEHOLDER};
use crate::model::MetricType;

/// Lines, and the families that they are. Immutable.
#[derive(Debug)]
pub(super) struct Block {
    /// The segments one after the other, what follows the last value, then templates and
    /// names that no segment spells canonically.
    pub(super) text: Box<str>,
    /// Where the segments end, and where what follows the last value ends.
    pub(super) segments: u32,
    pub(super) tail: u32,
    /// Where the text has the placeholder of an id (module `variable`).
    pub(super) holes: Box<[u32]>,
    pub(super) lines: Box<[Line]>,
    pub(super) families: Box<[FamilyShape]>,
    /// What a plan sees of its families; see [`Block::heads`].
    pub(super) heads: Heads,
    /// Where a body's label met one of the origin's.
    pub(super) context: Option<Arc<Context>>,
    /// Sums up the blocks that live; see [`super::Shapes::bytes`].
    pub(super) account: Option<Arc<AtomicUsize>>,
}

/// Stands for names, types and metadata: equal where those are. 128 bits under keys of this
/// process, so that nobody makes two that are equal, by chance or on purpose.
pub(super) type Heads = [u64; 2];

/// [`Heads`] of bytes.
pub(super) fn heads(of: &[u8]) -> Heads {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::default(), RandomState::default()]);
    [KEYS[0].hash_one(of), KEYS[1].hash_one(of)]
}

/// Text with its length in front, so that no two lists of texts are the same bytes.
fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A value's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Line {
    /// The length of the segment that ends at the value.
    pub(super) segment: u32,
    /// `name{labels} ` in canonical spelling, or `name `: where in the text, and how long.
    pub(super) template: u32,
    pub(super) length: u32,
    /// The length of the name in it.
    pub(super) name: u16,
    pub(super) flags: u16,
}

impl Line {
    /// An exemplar may stand behind the value.
    pub(super) const EXEMPLAR: u16 = 1;
    /// No timestamp may: the shape would be another one.
    pub(super) const TIMELESS: u16 = 2;
    /// The value must be able to be a time: else the shape would be another one.
    pub(super) const TIME: u16 = 4;
}

/// A piece of the block's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    pub(super) at: u32,
    pub(super) length: u32,
}

/// A family without its values.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FamilyShape {
    pub(super) name: Piece,
    pub(super) help: Option<Piece>,
    pub(super) unit: Option<Piece>,
    pub(super) kind: MetricType,
    pub(super) utf8: bool,
    /// Its lines in the block: so many from the first, or these.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) order: Option<Box<[u32]>>,
    /// Distinct sample names in the order of appearance; empty: there is one, that of the
    /// first line.
    pub(super) names: Box<[Piece]>,
}

impl Block {
    pub(super) fn piece(&self, piece: Piece) -> &str {
        &self.text[piece.at as usize..(piece.at + piece.length) as usize]
    }

    /// A name that is a piece of the text, with an id for the placeholder.
    pub(super) fn name<'a>(&'a self, piece: Piece, id: &'a str) -> Name<'a> {
        let hole = match self.holes.is_empty() {
            true => None,
            false => {
                let next = self.holes.partition_point(|hole| *hole < piece.at);
                let end = (piece.at + piece.length) as usize;
                let hole = self.holes.get(next).filter(|hole| **hole as usize + PLACEHOLDER.len() <= end);
                hole.map(|hole| (*hole - piece.at) as usize)
            }
        };
        Name::new(self.piece(piece), hole, id)
    }

    /// What a plan of an exposition looks at, of each family: all but labels, lines and values.
    pub(super) fn heads(&self) -> Heads {
        let mut all = Vec::with_capacity(self.text.len() / 2);
        for family in &self.families {
            let given = u8::from(family.help.is_some()) | u8::from(family.unit.is_some()) << 1;
            let rest = u8::from(family.utf8) << 2 | u8::from(family.count > 0) << 3;
            all.extend([family.kind as u8, given | rest]);
            let metadata = [Some(family.name), family.help, family.unit];
            let names = family.sample_names(self);
            all.extend((names.clone().count() as u32).to_le_bytes());
            for piece in metadata.into_iter().flatten().chain(names) {
                push_text(&mut all, self.piece(piece));
            }
        }
        heads(&all)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let families = self.families.iter().map(FamilyShape::bytes).sum::<usize>();
        size_of::<Block>()
            + 16
            + self.text.len()
            + size_of_val(self.holes.as_ref())
            + size_of_val(self.lines.as_ref())
            + families
    }

    /// Whether another block may stand in its place.
    pub(super) fn is_same(&self, other: &Block) -> bool {
        self.text == other.text
            && (self.segments, self.tail) == (other.segments, other.tail)
            && self.holes == other.holes
            && self.lines == other.lines
            && self.families == other.families
            && self.context == other.context
    }

    /// The beginning of its first line, by which the block is found in a body: the line
    /// if it holds no value, else what stands before the value.
    pub(super) fn probe(&self, id: &str) -> Cow<'_, str> {
        let first = self.lines.first().map_or(self.tail, |l| l.segment) as usize;
        let segment = &self.text[..first];
        let line = match segment.find('\n') {
            Some(end) => &segment[..=end],
            None => segment,
        };
        match self.holes.first() {
            Some(hole) if (*hole as usize) < line.len() => Cow::Owned(line.replacen(PLACEHOLDER, id, 1)),
            _ => Cow::Borrowed(line),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.fetch_sub(self.bytes(), Ordering::Relaxed);
        }
    }
}

impl FamilyShape {
    pub(super) fn name<'b>(&self, block: &'b Block, id: &'b str) -> Name<'b> {
        block.name(self.name, id)
    }

    /// The lines in the order of the samples.
    pub(super) fn line(&self, index: u32) -> u32 {
        match &self.order {
            None => self.first + index,
            Some(order) => order[index as usize],
        }
    }

    /// Whether each of its samples has the family's name.
    pub(super) fn is_single(&self, block: &Block) -> bool {
        let own = block.piece(self.name);
        self.names.is_empty() && self.sample_names(block).all(|name| block.piece(name) == own)
    }

    /// The distinct names of its samples.
    pub(super) fn sample_names<'b>(&'b self, block: &'b Block) -> impl Iterator<Item = Piece> + Clone + use<'b> {
        let single = (self.names.is_empty() && self.count > 0).then(|| {
            let line = &block.lines[self.line(0) as usize];
            Piece { at: line.template, length: u32::from(line.name) }
        });
        self.names.iter().copied().chain(single)
    }

    fn bytes(&self) -> usize {
        size_of::<FamilyShape>() + self.order.as_ref().map_or(0, |o| o.len() * 4) + size_of_val(self.names.as_ref())
    }
}
