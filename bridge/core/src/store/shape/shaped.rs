//! A dump as its shape and its values, and how its samples are read.
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::block::{Block, FamilyShape, Heads, Piece};
use super::take::Harvest;
use super::variable::Name;
use super::{DumpShape, fits};
use crate::labels::Labels;
use crate::model::{MetricType, UnixMs};
use crate::store::StoredSample;

/// Where every so many lines' values begin is kept; between them lengths are added up.
const STRIDE: usize = 16;

/// One dump.
#[derive(Debug)]
pub(crate) struct Shaped {
    pub(super) shape: Arc<DumpShape>,
    labels: Labels,
    /// What stands for the placeholder in names; empty where there is none.
    id: Box<str>,
    /// The values, line after line.
    values: Box<str>,
    lengths: Box<[u8]>,
    /// Where the value of each [`STRIDE`]th line begins.
    marks: Box<[u32]>,
    /// Sorted by line.
    timestamps: Box<[(u32, UnixMs)]>,
    exemplars: Box<[(u32, Box<str>)]>,
    /// Per family, in the order of the places: whether OpenMetrics allows its type. Worked
    /// out when it is first asked for.
    fits: std::sync::OnceLock<Box<[AtomicU8]>>,
}

/// What is read ahead, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Dump,
    Marks,
    Values,
}

/// A family of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShapedFamily<'a> {
    dump: &'a Shaped,
    block: &'a Block,
    shape: &'a FamilyShape,
    /// The block's first line in the dump.
    line: u32,
    place: u32,
}

impl Shaped {
    pub(super) fn new(shape: Arc<DumpShape>, labels: &Labels, harvest: Harvest<'_>) -> Shaped {
        // What a value's grammar allows is ASCII.
        let values: Box<str> = std::str::from_utf8(harvest.values()).unwrap_or_default().into();
        let mut marks = Vec::with_capacity(harvest.lengths.len() / STRIDE + 1);
        let mut at = 0u32;
        for lengths in harvest.lengths.chunks(STRIDE) {
            marks.push(at);
            at += lengths.iter().map(|l| u32::from(*l)).sum::<u32>();
        }
        Shaped {
            shape,
            labels: labels.clone(),
            id: harvest.id.into(),
            values,
            lengths: harvest.lengths.into_boxed_slice(),
            marks: marks.into_boxed_slice(),
            timestamps: harvest.timestamps.into_boxed_slice(),
            exemplars: harvest.exemplars.into_boxed_slice(),
            fits: std::sync::OnceLock::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// How many bytes of values the next dump may have.
    pub(super) fn room(&self) -> usize {
        self.values.len() + self.values.len() / 16
    }

    pub(crate) fn families(&self) -> usize {
        self.shape.places.len()
    }

    pub(crate) fn family(&self, index: usize) -> ShapedFamily<'_> {
        let place = self.shape.places[index];
        let block = &self.shape.blocks[place.block as usize];
        ShapedFamily {
            dump: self,
            block,
            shape: &block.families[place.family as usize],
            line: place.line,
            place: index as u32,
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let places = &self.shape.places;
        let at = places.binary_search_by(|place| {
            let block = &self.shape.blocks[place.block as usize];
            block.families[place.family as usize].name(block, &self.id).order(Name::from(name))
        });
        at.ok()
    }

    pub(crate) fn series(&self) -> usize {
        self.lengths.len()
    }

    /// What tells dumps of one shape and the same names.
    pub(crate) fn shape_id(&self) -> (usize, &str) {
        (Arc::as_ptr(&self.shape) as usize, &self.id)
    }

    /// What tells dumps whose families have the same names, types and metadata at the same
    /// places: those of one shape, and of shapes that differ in labels, also of other partitions.
    pub(crate) fn heads(&self) -> (Heads, &str) {
        (self.shape.heads, &self.id)
    }

    pub(crate) fn own_bytes(&self) -> usize {
        let exemplars = self.exemplars.iter().map(|(_, e)| e.len() + 16);
        size_of::<Shaped>()
            + self.id.len()
            + self.values.len()
            + self.lengths.len()
            + size_of_val(self.marks.as_ref())
            + size_of_val(self.timestamps.as_ref())
            + size_of_val(self.exemplars.as_ref())
            + exemplars.sum::<usize>()
            // Whether or not OpenMetrics was asked for yet: sums must not drift.
            + self.families()
    }

    /// Reads ahead what reading a family will need, so that it is in the processor's caches
    /// by then. In stages, because each place is only known when the one before is there:
    /// a load that waits for another one would stop the writing in between.
    pub(crate) fn touch(&self, family: usize, stage: Stage) -> u32 {
        if stage == Stage::Dump {
            return self.series() as u32;
        }
        let line = self.shape.places.get(family).map_or(0, |p| p.line as usize);
        let mark = self.marks.get(line / STRIDE).copied().unwrap_or(0);
        match stage {
            Stage::Dump | Stage::Marks => mark + u32::from(self.lengths.get(line).copied().unwrap_or(0)),
            Stage::Values => self.values.as_bytes().get(mark as usize).copied().map_or(0, u32::from),
        }
    }

    pub(crate) fn share_of_shape(&self) -> usize {
        self.shape.own_bytes() / Arc::strong_count(&self.shape).max(1) + self.shape.share()
    }

    fn value_at(&self, line: usize) -> usize {
        let mark = line / STRIDE;
        let before = self.lengths[mark * STRIDE..line].iter().map(|l| usize::from(*l)).sum::<usize>();
        self.marks[mark] as usize + before
    }

    fn timestamp(&self, line: u32) -> Option<UnixMs> {
        if self.timestamps.is_empty() {
            return None;
        }
        let at = self.timestamps.binary_search_by_key(&line, |(l, _)| *l).ok()?;
        Some(self.timestamps[at].1)
    }

    fn exemplar(&self, line: u32) -> Option<&str> {
        if self.exemplars.is_empty() {
            return None;
        }
        let at = self.exemplars.binary_search_by_key(&line, |(l, _)| *l).ok()?;
        Some(&self.exemplars[at].1)
    }
}

/// Name and labels of a template, `name{labels} ` or `name `.
pub(super) fn parts(template: &str, name: usize) -> (&str, &str) {
    (&template[..name], labels(&template[name..]))
}

fn labels(rest: &str) -> &str {
    if rest.len() > 3 { &rest[1..rest.len() - 2] } else { "" }
}

/// One line of a family.
pub(crate) struct ShapedLine<'a> {
    pub(crate) name: Name<'a>,
    /// `{labels} ` or a blank.
    pub(crate) rest: &'a str,
    pub(crate) value: &'a str,
    /// The line in the dump.
    line: u32,
}

impl<'a> ShapedFamily<'a> {
    pub(crate) fn name(&self) -> Cow<'a, str> {
        self.shape.name(self.block, &self.dump.id).text()
    }

    pub(crate) fn kind(&self) -> MetricType {
        self.shape.kind
    }

    pub(crate) fn help(&self) -> Option<&'a str> {
        self.shape.help.map(|p| self.block.piece(p))
    }

    pub(crate) fn unit(&self) -> Option<&'a str> {
        self.shape.unit.map(|p| self.block.piece(p))
    }

    /// Of the family's own; the origin's labels may be beyond the legacy grammar too.
    pub(crate) fn is_utf8(&self) -> bool {
        self.shape.utf8 || self.dump.shape.context.utf8
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.count as usize
    }

    pub(crate) fn is_single(&self) -> bool {
        self.shape.is_single(self.block)
    }

    /// Whether a sample of this dump carries more than its value.
    pub(crate) fn is_bare(&self) -> bool {
        self.dump.timestamps.is_empty() && self.dump.exemplars.is_empty()
    }

    pub(crate) fn injected(&self) -> &'a str {
        self.dump.labels.canonical()
    }

    pub(crate) fn sample_names(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let ShapedFamily { dump, block, .. } = *self;
        self.shape.sample_names(block).map(|name| block.name(name, &dump.id).text())
    }

    /// Its lines in the order of the samples.
    pub(crate) fn lines(&self) -> impl Iterator<Item = ShapedLine<'a>> + use<'a> {
        let ShapedFamily { dump, block, line: base, .. } = *self;
        self.values().map(move |(line, value)| {
            let kept = &block.lines[(line - base) as usize];
            let name = Piece { at: kept.template, length: u32::from(kept.name) };
            let rest = &block.text[(name.at + name.length) as usize..(kept.template + kept.length) as usize];
            ShapedLine { name: block.name(name, &dump.id), rest, value, line }
        })
    }

    /// Its lines' numbers and values alone, which touches nothing of the block.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u32, &'a str)> + use<'a> {
        let ShapedFamily { dump, shape, line: base, .. } = *self;
        let mut next = u32::MAX;
        let mut at = 0;
        (0..shape.count).map(move |index| {
            let line = base + shape.line(index);
            if line != next {
                at = dump.value_at(line as usize);
            }
            let length = usize::from(dump.lengths[line as usize]);
            let value = &dump.values[at..at + length];
            at += length;
            next = line + 1;
            (line, value)
        })
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = StoredSample<'a>> + use<'a> {
        let dump = self.dump;
        self.lines().map(move |line| StoredSample {
            name: line.name.text(),
            injected: dump.labels.canonical(),
            labels: labels(line.rest),
            value: line.value,
            timestamp: dump.timestamp(line.line),
            exemplar: dump.exemplar(line.line),
        })
    }

    /// Whether the samples keep OpenMetrics' rules for the family's type.
    pub(crate) fn fits_openmetrics(&self) -> bool {
        const UNKNOWN: u8 = 0;
        if matches!(self.shape.kind, MetricType::Gauge | MetricType::Unknown) {
            return true;
        }
        let all = self.dump.fits.get_or_init(|| (0..self.dump.families()).map(|_| AtomicU8::new(UNKNOWN)).collect());
        let known = &all[self.place as usize];
        match known.load(Ordering::Relaxed) {
            UNKNOWN => {
                let fits = fits::fits(self);
                known.store(1 + u8::from(fits), Ordering::Relaxed);
                fits
            }
            answer => answer == 2,
        }
    }
}
