//! One accepted dump, compact and immutable.
//!
//! This is the seam that the shape cache (issue 8) replaces: nobody outside this
//! module knows how a dump is kept. It is written once, by [`StoredDump::build`], and
//! read family by family, sample by sample.
//!
//! The plain form: of each family one contiguous text (labels, value and exemplar of
//! sample after sample), and a span of three `u32` for each. Names are kept once per
//! family, the origin's labels once per dump.
pub(crate) mod pairs;

mod collide;
mod created;
mod structure;

use std::collections::HashSet;

use crate::labels::{Labels, is_legacy_metric_name};
use crate::model::{Family, MetricType, Parsed, Sample, UnixMs};
use collide::Collider;
use structure::Line;

/// The most bytes of a dump that a [`StoredDump`] can hold: its spans are 32 bits, and
/// renamed labels make a text longer. A topic's limit is cut to this.
pub const MAX_DUMP_BYTES: usize = 1 << 30;

/// One accepted dump, its labels already reconciled with its origin's.
#[derive(Debug)]
pub struct StoredDump {
    families: Box<[StoredFamily]>,
    injected: Box<[Box<str>]>,
    series: usize,
    duplicates: u64,
    bytes: usize,
}

#[derive(Debug)]
struct StoredFamily {
    name: Box<str>,
    kind: MetricType,
    help: Option<Box<str>>,
    unit: Option<Box<str>>,
    traits: FamilyTraits,
    /// Distinct sample names, in order of appearance.
    names: Box<[Box<str>]>,
    text: Box<str>,
    spans: Box<[Span]>,
    /// Empty where no sample carries one.
    timestamps: Box<[Option<UnixMs>]>,
}

/// Where a sample's labels, value and exemplar end in the family's text; they begin
/// where the sample before ended.
#[derive(Debug, Clone, Copy)]
struct Span {
    labels: u32,
    value: u32,
    exemplar: u32,
    name: u16,
    injected: u32,
}

/// What a writer wants to know of a family before it looks at its samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyTraits {
    /// A metric or label name that the legacy grammar does not hold.
    pub utf8: bool,
    /// A sample into which not all of the origin's labels are injected
    /// (`honor_labels`): another origin may have the same series.
    pub overridden: bool,
    /// The samples keep OpenMetrics' rules for the family's type.
    pub openmetrics: bool,
}

/// A family of a stored dump.
#[derive(Debug, Clone, Copy)]
pub struct FamilyRef<'a> {
    /// The text-format name (see [`crate::model`]).
    pub name: &'a str,
    /// Its type.
    pub kind: MetricType,
    /// HELP, unescaped.
    pub help: Option<&'a str>,
    /// OpenMetrics UNIT.
    pub unit: Option<&'a str>,
    /// What holds for its samples.
    pub traits: FamilyTraits,
    family: &'a StoredFamily,
    injected: &'a [Box<str>],
}

/// A sample of a stored dump. `injected` and `labels` share no name: written one after
/// the other they are the series' labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredSample<'a> {
    /// The sample's name as text 0.0.4 writes it.
    pub name: &'a str,
    /// The origin's labels for this sample, canonical spelling, no braces.
    pub injected: &'a str,
    /// The body's labels, canonical spelling, no braces.
    pub labels: &'a str,
    /// The value's text.
    pub value: &'a str,
    /// The sample's own timestamp.
    pub timestamp: Option<UnixMs>,
    /// OpenMetrics exemplar, the text after `# `.
    pub exemplar: Option<&'a str>,
}

impl StoredDump {
    /// Keeps a dump for an origin.
    ///
    /// `origin` are all labels to inject (the key's and the topic's); a label of the
    /// body that collides is renamed `exported_<name>`, unless `honor_labels`: then the
    /// body's wins, but never over a label that `fixed` (the topic's configuration)
    /// holds. Two series of the dump that thereby become one are one: the first stays,
    /// [`StoredDump::duplicates`] counts the others. The dump must not be larger than
    /// [`MAX_DUMP_BYTES`].
    pub fn build(parsed: &Parsed<'_>, origin: &Labels, honor_labels: bool, fixed: &Labels) -> StoredDump {
        let mut collider = Collider::new(origin, honor_labels, fixed);
        let utf8_origin = pairs::pairs(origin.canonical()).any(|p| p.quoted());
        let mut duplicates = 0;
        let mut families: Vec<StoredFamily> = created::bring_home(&parsed.families)
            .iter()
            .map(|family| store_family(family, &mut collider, utf8_origin, &mut duplicates))
            .collect();
        families.sort_by(|a, b| a.name.cmp(&b.name));
        let injected = collider.into_variants().into_boxed_slice();
        let series = families.iter().map(|f| f.spans.len()).sum();
        let bytes = size_of::<StoredDump>()
            + families.iter().map(StoredFamily::bytes).sum::<usize>()
            + injected.iter().map(|t| t.len() + 16).sum::<usize>();
        StoredDump { families: families.into_boxed_slice(), injected, series, duplicates, bytes }
    }

    /// The families, sorted by name; no name twice.
    pub fn families(&self) -> impl ExactSizeIterator<Item = FamilyRef<'_>> {
        self.families.iter().map(|f| self.reference(f))
    }

    /// The family at a place of that order.
    pub fn family(&self, index: usize) -> Option<FamilyRef<'_>> {
        self.families.get(index).map(|f| self.reference(f))
    }

    /// The family of that name.
    pub fn find(&self, name: &str) -> Option<FamilyRef<'_>> {
        let at = self.families.binary_search_by(|f| f.name.as_ref().cmp(name));
        self.family(at.ok()?)
    }

    /// The number of samples.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Samples left out because renaming made them the same series as an earlier one.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Estimated bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn reference<'a>(&'a self, family: &'a StoredFamily) -> FamilyRef<'a> {
        FamilyRef {
            name: &family.name,
            kind: family.kind,
            help: family.help.as_deref(),
            unit: family.unit.as_deref(),
            traits: family.traits,
            family,
            injected: &self.injected,
        }
    }
}

impl StoredFamily {
    fn bytes(&self) -> usize {
        size_of::<StoredFamily>()
            + self.name.len()
            + self.help.as_ref().map_or(0, |t| t.len())
            + self.unit.as_ref().map_or(0, |t| t.len())
            + self.names.iter().map(|n| n.len() + 16).sum::<usize>()
            + self.text.len()
            + size_of_val(self.spans.as_ref())
            + size_of_val(self.timestamps.as_ref())
    }
}

impl<'a> FamilyRef<'a> {
    /// The samples, in the order of the dump.
    pub fn samples(&self) -> impl Iterator<Item = StoredSample<'a>> + use<'a> {
        let (family, injected) = (self.family, self.injected);
        let mut start = 0;
        family.spans.iter().enumerate().map(move |(i, span)| {
            let (labels, value, exemplar) = (span.labels as usize, span.value as usize, span.exemplar as usize);
            let sample = StoredSample {
                name: &family.names[usize::from(span.name)],
                injected: &injected[span.injected as usize],
                labels: &family.text[start..labels],
                value: &family.text[labels..value],
                timestamp: family.timestamps.get(i).copied().flatten(),
                exemplar: (exemplar > value).then(|| &family.text[value..exemplar]),
            };
            start = exemplar;
            sample
        })
    }

    /// The distinct names of its samples, in the order of their first appearance.
    pub fn sample_names(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.family.names.iter().map(AsRef::as_ref)
    }

    /// The number of its samples.
    pub fn len(&self) -> usize {
        self.family.spans.len()
    }

    /// Whether it has no sample.
    pub fn is_empty(&self) -> bool {
        self.family.spans.is_empty()
    }
}

/// A family under construction.
#[derive(Default)]
struct Builder {
    names: Vec<Box<str>>,
    text: String,
    spans: Vec<Span>,
    timestamps: Vec<Option<UnixMs>>,
}

impl Builder {
    fn with_room_for(family: &Family<'_>) -> Builder {
        let exemplar = |s: &Sample<'_>| s.exemplar.map_or(0, str::len);
        let samples = family.samples.iter();
        let text = samples.map(|s| s.labels.len() + s.value.len() + exemplar(s));
        Builder {
            text: String::with_capacity(text.sum()),
            spans: Vec::with_capacity(family.samples.len()),
            timestamps: Vec::with_capacity(family.samples.len()),
            ..Builder::default()
        }
    }

    fn push(&mut self, sample: &Sample<'_>, labels: &str, injected: u32) {
        let name = self.name(&sample.name);
        self.text.push_str(labels);
        let labels = self.end();
        self.text.push_str(sample.value);
        let value = self.end();
        self.text.push_str(sample.exemplar.unwrap_or(""));
        let exemplar = self.end();
        self.spans.push(Span { labels, value, exemplar, name, injected });
        self.timestamps.push(sample.timestamp);
    }

    /// A family has at most five sample names: its own and four suffixes.
    fn name(&mut self, name: &str) -> u16 {
        let at = self.names.iter().position(|n| n.as_ref() == name);
        let at = at.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn end(&self) -> u32 {
        u32::try_from(self.text.len()).expect("a dump has at most MAX_DUMP_BYTES")
    }
}

fn store_family(
    family: &Family<'_>,
    collider: &mut Collider<'_>,
    utf8_origin: bool,
    duplicates: &mut u64,
) -> StoredFamily {
    let mut builder = Builder::with_room_for(family);
    let mut traits =
        FamilyTraits { utf8: utf8_origin || !is_legacy_metric_name(&family.name), ..FamilyTraits::default() };
    let mets: Vec<_> = family.samples.iter().map(|s| collider.meet(&s.labels)).collect();
    let mut seen = mets.iter().any(|m| m.collided).then(HashSet::new);
    for (sample, met) in family.samples.iter().zip(&mets) {
        if let Some(seen) = &mut seen
            && !seen.insert(collider.identity(&sample.name, met))
        {
            *duplicates += 1;
            continue;
        }
        traits.overridden |= met.injected != 0;
        traits.utf8 |= met.quoted;
        builder.push(sample, &met.labels, met.injected);
    }
    let stored = finish(family, builder, traits);
    stored.with_structure()
}

fn finish(family: &Family<'_>, builder: Builder, traits: FamilyTraits) -> StoredFamily {
    let timestamps = match builder.timestamps.iter().any(Option::is_some) {
        true => builder.timestamps,
        false => Vec::new(),
    };
    StoredFamily {
        name: family.name.as_ref().into(),
        kind: family.kind,
        help: family.help.as_deref().map(Into::into),
        unit: family.unit.as_deref().map(Into::into),
        traits,
        names: builder.names.into_boxed_slice(),
        text: builder.text.into_boxed_str(),
        spans: builder.spans.into_boxed_slice(),
        timestamps: timestamps.into_boxed_slice(),
    }
}

impl StoredFamily {
    /// Judges the samples as they will be written, renamed labels and all.
    fn with_structure(mut self) -> StoredFamily {
        let reference = FamilyRef {
            name: &self.name,
            kind: self.kind,
            help: None,
            unit: None,
            traits: self.traits,
            family: &self,
            injected: &[],
        };
        let fits = match self.kind {
            MetricType::Gauge | MetricType::Unknown => true,
            kind => structure::fits(kind, &self.name, &reference.lines()),
        };
        self.traits.openmetrics = fits;
        self
    }
}

impl<'a> FamilyRef<'a> {
    fn lines(&self) -> Vec<Line<'a>> {
        let family = self.family;
        let mut start = 0;
        let mut lines = Vec::with_capacity(family.spans.len());
        for (i, span) in family.spans.iter().enumerate() {
            lines.push(Line {
                name: &family.names[usize::from(span.name)],
                labels: &family.text[start..span.labels as usize],
                value: &family.text[span.labels as usize..span.value as usize],
                timestamp: family.timestamps.get(i).copied().flatten(),
            });
            start = span.exemplar as usize;
        }
        lines
    }
}
