//! Blocks out of a dump that was parsed.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::block::{Block, FamilyShape, Line, Piece};
use super::{Context, Rules, variable};
use crate::codec::Trace;
use crate::labels::is_legacy_metric_name;
use crate::model::{Family, MetricType, Parsed, Sample};
use crate::store::collide::Collider;
use crate::store::created::{Homes, Joined, homes};
use crate::store::pairs::identity;

/// A family of so many lines begins a block of its own.
const LARGE: u32 = 16;
/// A block ends when it has so many.
const FULL: u32 = 64;

/// The blocks of a regular dump, and where what stands behind them begins. `variable`: it
/// has placeholders for an id. `None`: no shape can be made of it.
pub(super) fn blocks(
    body: &str,
    parsed: &Parsed<'_>,
    trace: &Trace,
    rules: &Rules<'_>,
    context: &Arc<Context>,
    variable: bool,
) -> Option<(Vec<Block>, usize)> {
    let dump = Dump { variable, ..Dump::new(body, parsed, trace)? };
    let mut collider = Collider::new(rules.labels, rules.honor_labels, rules.fixed);
    let mut places = vec![NOWHERE; parsed.families.len()];
    let mut blocks = Vec::new();
    let mut start = 0;
    for (first, end) in dump.runs() {
        let last = trace.lines[end - 1].start as usize;
        let stop = last + memchr::memchr(b'\n', &body.as_bytes()[last..])? + 1;
        let mut builder = Builder {
            dump: &dump,
            collider: &mut collider,
            places: &mut places,
            start,
            text: String::with_capacity(stop - start),
            extra: String::new(),
            segments: Vec::with_capacity(end - first + 1),
            lines: Vec::with_capacity(end - first),
            collided: false,
        };
        blocks.push(builder.block(first, end, stop, context)?);
        start = stop;
    }
    (!blocks.is_empty()).then_some((blocks, start))
}

/// A parsed dump, and which lines belong together.
struct Dump<'d, 'a> {
    body: &'d str,
    parsed: &'d Parsed<'a>,
    trace: &'d Trace,
    homes: Homes,
    /// The family that a parsed family is stored in.
    stored_in: Vec<u32>,
    /// The number of samples of each stored family.
    counts: Vec<u32>,
    /// Where each stored family's last line is in the trace.
    last: Vec<usize>,
    variable: bool,
}

impl<'d, 'a> Dump<'d, 'a> {
    fn new(body: &'d str, parsed: &'d Parsed<'a>, trace: &'d Trace) -> Option<Dump<'d, 'a>> {
        let homes = homes(&parsed.families);
        if homes.undecided || !body.ends_with('\n') && !body.ends_with("# EOF") {
            return None;
        }
        let mut stored_in: Vec<u32> = (0..parsed.families.len() as u32).collect();
        for joined in &homes.joined {
            let timed = |i: usize| parsed.families[i].samples.iter().any(|s| s.timestamp.is_some());
            if timed(joined.home) || timed(joined.created) {
                return None;
            }
            stored_in[joined.created] = joined.home as u32;
        }
        let mut counts = vec![0; parsed.families.len()];
        let mut last = vec![0; parsed.families.len()];
        for (at, line) in trace.lines.iter().enumerate() {
            let family = stored_in[line.family as usize] as usize;
            counts[family] += u32::from(line.sample.is_some());
            last[family] = at;
        }
        Some(Dump { body, parsed, trace, homes, stored_in, counts, last, variable: false })
    }

    fn family_at(&self, at: usize) -> u32 {
        self.stored_in[self.trace.lines[at].family as usize]
    }

    /// Ranges of the trace that hold every line of their families. Small families share a
    /// block; where it ends depends on their names alone, so that one family more moves
    /// no other block's ends.
    fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let (mut first, mut reach, mut samples) = (0, 0, 0);
        for (at, line) in self.trace.lines.iter().enumerate() {
            reach = reach.max(self.last[self.family_at(at) as usize]);
            samples += u32::from(line.sample.is_some());
            if at < reach {
                continue;
            }
            let next_is_large = match at + 1 < self.trace.lines.len() {
                true => self.counts[self.family_at(at + 1) as usize] >= LARGE,
                false => true,
            };
            let name = &self.parsed.families[self.family_at(at) as usize].name;
            if next_is_large || samples >= FULL || samples >= LARGE && ends_here(name) {
                runs.push((first, at + 1));
                (first, samples) = (at + 1, 0);
            }
        }
        runs
    }
}

/// A quarter of all names, the same in every dump (FNV-1a).
fn ends_here(name: &str) -> bool {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    name.bytes().fold(0x811c_9dc5, mix) & 3 == 0
}

/// A block under construction.
struct Builder<'b, 'd, 'a, 'o> {
    dump: &'b Dump<'d, 'a>,
    collider: &'b mut Collider<'o>,
    /// Of each stored family, its place in its block.
    places: &'b mut [u32],
    /// Where it begins in the body.
    start: usize,
    text: String,
    /// Spellings that the segments do not hold; they follow the text.
    extra: String,
    /// Where in the body and in the text each segment begins.
    segments: Vec<(usize, usize)>,
    lines: Vec<Line>,
    collided: bool,
}

/// A family that is in no block yet.
const NOWHERE: u32 = u32::MAX;

/// The lines of a family in the order of its samples.
struct Members {
    family: u32,
    first: u32,
    count: u32,
    /// Empty while they follow each other.
    order: Vec<u32>,
}

impl Members {
    fn push(&mut self, line: u32) {
        if self.count == 0 {
            self.first = line;
        }
        let follows = line == self.first + self.count;
        if !follows && self.order.is_empty() {
            self.order = self.all().collect();
        }
        if !self.order.is_empty() {
            self.order.push(line);
        }
        self.count += 1;
    }

    fn all(&self) -> impl Iterator<Item = u32> + use<'_> {
        let run = if self.order.is_empty() { self.first..self.first + self.count } else { 0..0 };
        run.chain(self.order.iter().copied())
    }
}

/// A piece that is in the text, or in what will follow it.
enum Found {
    Text(Piece),
    Extra(Piece),
}

impl Builder<'_, '_, '_, '_> {
    fn block(&mut self, first: usize, end: usize, stop: usize, context: &Arc<Context>) -> Option<Block> {
        let trace = &self.dump.trace.lines[first..end];
        let body = self.dump.body;
        let mut at = self.start;
        // Of each parsed family, the lines of its samples in order.
        let mut order: Vec<(u32, u32)> = Vec::with_capacity(trace.len());
        for line in trace {
            let Some(sample) = line.sample else { continue };
            let value = sample.value as usize;
            self.segment(&body[at..value], at);
            let family = &self.dump.parsed.families[line.family as usize];
            self.line(&body[line.start as usize..value], value - at, family, &family.samples[sample.index as usize])?;
            order.push((line.family, sample.index));
            at = value + memchr::memchr(b'\n', &body.as_bytes()[value..])? + 1;
        }
        let segments = self.text.len();
        self.segment(&body[at..stop], at);
        let tail = self.text.len();
        let families = self.families(first, end, &order)?;
        let moved = |piece: Piece| Piece { at: piece.at + tail as u32, length: piece.length };
        let settle = |found: Found| match found {
            Found::Text(piece) => piece,
            Found::Extra(piece) => moved(piece),
        };
        let families = families.into_iter().map(|f| f.settled(settle)).collect();
        for line in &mut self.lines {
            if line.flags & EXTRA != 0 {
                line.template += tail as u32;
            }
            line.flags &= !(EXTRA | QUOTED);
        }
        let mut text = std::mem::take(&mut self.text);
        text.push_str(&self.extra);
        let holes = match self.dump.variable {
            true => memchr::memmem::find_iter(text.as_bytes(), variable::PLACEHOLDER).map(|at| at as u32).collect(),
            false => Box::default(),
        };
        Some(Block {
            holes,
            text: text.into_boxed_str(),
            segments: u32::try_from(segments).ok()?,
            tail: u32::try_from(tail).ok()?,
            lines: std::mem::take(&mut self.lines).into_boxed_slice(),
            families,
            context: self.collided.then(|| context.clone()),
            heads: [0; 2],
            account: None,
        })
    }

    fn segment(&mut self, segment: &str, at: usize) {
        self.segments.push((at, self.text.len()));
        self.text.push_str(segment);
    }

    /// `written` is the line up to its value, which ends the segment of that length.
    fn line(&mut self, written: &str, segment: usize, family: &Family<'_>, sample: &Sample<'_>) -> Option<()> {
        let met = self.collider.meet(&sample.labels);
        if met.injected != 0 {
            return None;
        }
        self.collided |= met.collided;
        let name = u16::try_from(sample.name.len()).ok()?;
        let mut flags = if met.quoted { QUOTED } else { 0 };
        let bucket = matches!(family.kind, MetricType::Histogram | MetricType::GaugeHistogram)
            && sample.name.strip_suffix("_bucket") == Some(&family.name);
        if bucket || family.kind == MetricType::Counter && sample.name == family.name {
            flags |= Line::EXEMPLAR;
        }
        let (template, length) = if is_canonical(written, &sample.name, &met.labels) {
            (self.text.len() - written.len(), written.len())
        } else {
            flags |= EXTRA;
            let at = self.extra.len();
            self.extra.push_str(&sample.name);
            if !met.labels.is_empty() {
                self.extra.extend(["{", &met.labels, "}"]);
            }
            self.extra.push(' ');
            (at, self.extra.len() - at)
        };
        let narrow = |n: usize| u32::try_from(n).ok();
        let segment = narrow(segment)?;
        self.lines.push(Line { segment, template: narrow(template)?, length: narrow(length)?, name, flags });
        Some(())
    }

    /// The families of the block in the order of their first line.
    fn families(&mut self, first: usize, end: usize, order: &[(u32, u32)]) -> Option<Vec<Raw>> {
        let dump = self.dump;
        let mut all: Vec<Members> = Vec::new();
        for at in first..end {
            let family = dump.family_at(at);
            let place = &mut self.places[family as usize];
            if *place == NOWHERE {
                *place = all.len() as u32;
                all.push(Members { family, first: 0, count: 0, order: Vec::new() });
            }
        }
        for (line, (family, _)) in order.iter().enumerate() {
            let place = self.places[dump.stored_in[*family as usize] as usize];
            all[place as usize].push(line as u32);
        }
        for joined in &dump.homes.joined {
            // Each family is in one block: this one, or another.
            let home = joined.home as u32;
            let Some(members) = all.iter_mut().find(|m| m.family == home) else { continue };
            self.rearrange(members, joined, order)?;
        }
        all.into_iter().map(|members| self.family(members)).collect()
    }

    /// Brings the lines of a family and its `_created` gauge into the order in which they
    /// are stored.
    fn rearrange(&mut self, members: &mut Members, joined: &Joined, order: &[(u32, u32)]) -> Option<()> {
        let by_sample: HashMap<(u32, u32), u32> = members.all().map(|line| (order[line as usize], line)).collect();
        let mut arranged = Members { family: members.family, first: 0, count: 0, order: Vec::new() };
        for (family, sample) in &joined.order {
            let line = *by_sample.get(&(*family as u32, *sample as u32))?;
            self.lines[line as usize].flags |= Line::TIMELESS;
            if *family == joined.created {
                self.lines[line as usize].flags |= Line::TIME;
            }
            arranged.push(line);
        }
        *members = arranged;
        Some(())
    }

    fn family(&mut self, members: Members) -> Option<Raw> {
        let family = &self.dump.parsed.families[members.family as usize];
        let mut quoted = false;
        let mut one: Option<Piece> = None;
        let mut names: Vec<Piece> = Vec::new();
        let mut seen = self.collided.then(HashSet::new);
        for line in members.all() {
            let line = self.lines[line as usize];
            let (template, length) = (line.template as usize, line.length as usize);
            let text = match line.flags & EXTRA == 0 {
                true => &self.text[template..template + length],
                false => &self.extra[template..template + length],
            };
            let (name, labels) = super::shaped::parts(text, usize::from(line.name));
            quoted |= line.flags & QUOTED != 0;
            if let Some(seen) = &mut seen
                && !seen.insert(identity(name, &[labels], None))
            {
                return None;
            }
            let at = line.template | if line.flags & EXTRA != 0 { IN_EXTRA } else { 0 };
            let piece = Piece { at, length: u32::from(line.name) };
            let first = *one.get_or_insert(piece);
            let known = |p: &Piece| self.name_of(*p) == name;
            if known(&first) || names.iter().any(known) {
                continue;
            }
            if names.is_empty() {
                names.push(first);
            }
            names.push(piece);
        }
        Some(Raw {
            name: self.find(&family.name),
            help: family.help.as_deref().map(|t| self.find(t)),
            unit: family.unit.as_deref().map(|t| self.find(t)),
            kind: family.kind,
            utf8: quoted || !is_legacy_metric_name(&family.name),
            first: members.first,
            count: members.count,
            order: (!members.order.is_empty()).then(|| members.order.into_boxed_slice()),
            names: names.into_iter().map(found).collect(),
        })
    }

    fn name_of(&self, piece: Piece) -> &str {
        let at = (piece.at & !IN_EXTRA) as usize;
        let text = if piece.at & IN_EXTRA == 0 { &self.text } else { &self.extra };
        &text[at..at + piece.length as usize]
    }

    /// The piece of the block's text that a part of the body became; what is not there is
    /// added.
    fn find(&mut self, text: &str) -> Found {
        if let Some(piece) = self.find_in_segments(text) {
            return Found::Text(piece);
        }
        let at = self.extra.len() as u32;
        self.extra.push_str(text);
        Found::Extra(Piece { at, length: text.len() as u32 })
    }
}

impl Builder<'_, '_, '_, '_> {
    fn find_in_segments(&self, text: &str) -> Option<Piece> {
        let offset = (text.as_ptr() as usize).checked_sub(self.dump.body.as_ptr() as usize)?;
        let at = self.segments.partition_point(|(body, _)| *body <= offset).checked_sub(1)?;
        let (body, kept) = self.segments[at];
        let from = kept.checked_add(offset - body)?;
        let end = from.checked_add(text.len())?;
        let found = self.text.get(from..end) == Some(text);
        found.then_some(Piece { at: from as u32, length: text.len() as u32 })
    }
}

/// While a block is built: the template is in the extra text.
const EXTRA: u16 = 1 << 15;
/// While a block is built: a label's name is beyond the legacy grammar.
const QUOTED: u16 = 1 << 14;
/// As [`EXTRA`], of a piece.
const IN_EXTRA: u32 = 1 << 31;

fn found(piece: Piece) -> Found {
    match piece.at & IN_EXTRA {
        0 => Found::Text(piece),
        _ => Found::Extra(Piece { at: piece.at & !IN_EXTRA, ..piece }),
    }
}

fn is_canonical(written: &str, name: &str, labels: &str) -> bool {
    let Some(rest) = written.strip_prefix(name) else { return false };
    if labels.is_empty() {
        return rest == " ";
    }
    let inner = rest.strip_prefix('{').and_then(|r| r.strip_suffix("} "));
    inner == Some(labels)
}

/// A [`FamilyShape`] whose pieces are not at their places yet.
struct Raw {
    name: Found,
    help: Option<Found>,
    unit: Option<Found>,
    kind: MetricType,
    utf8: bool,
    first: u32,
    count: u32,
    order: Option<Box<[u32]>>,
    names: Vec<Found>,
}

impl Raw {
    fn settled(self, settle: impl Fn(Found) -> Piece) -> FamilyShape {
        FamilyShape {
            name: settle(self.name),
            help: self.help.map(&settle),
            unit: self.unit.map(&settle),
            kind: self.kind,
            utf8: self.utf8,
            first: self.first,
            count: self.count,
            order: self.order,
            names: self.names.into_iter().map(settle).collect(),
        }
    }
}
