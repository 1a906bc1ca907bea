//! The plain form of a dump: of each family one contiguous text (labels, value and
//! exemplar of sample after sample), and a span for each. For dumps that are not regular
//! (something was rejected, two series became one) and for the bridge's own metrics; in
//! the tests it says what the shapes must show.
use std::borrow::Cow;
use std::collections::HashSet;

use super::collide::Collider;
use super::structure::Line;
use super::{FamilyTraits, StoredSample, created, pairs, structure};
use crate::labels::{Labels, is_legacy_metric_name};
use crate::model::{Family, MetricType, Parsed, Sample, UnixMs};

/// A dump in the plain form.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) families: Box<[StoredFamily]>,
    pub(super) injected: Box<[Box<str>]>,
    pub(super) series: usize,
    pub(super) duplicates: u64,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct StoredFamily {
    pub(super) name: Box<str>,
    pub(super) kind: MetricType,
    pub(super) help: Option<Box<str>>,
    pub(super) unit: Option<Box<str>>,
    pub(super) traits: FamilyTraits,
    /// Distinct sample names, in order of appearance.
    pub(super) names: Box<[Box<str>]>,
    text: Box<str>,
    pub(super) spans: Box<[Span]>,
    /// Empty where no sample carries one.
    timestamps: Box<[Option<UnixMs>]>,
}

/// Where a sample's labels, value and exemplar end in the family's text; they begin
/// where the sample before ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    labels: u32,
    value: u32,
    exemplar: u32,
    name: u16,
    injected: u32,
}

impl Plain {
    /// See [`super::StoredDump::build`].
    pub(super) fn build(parsed: &Parsed<'_>, origin: &Labels, honor_labels: bool, fixed: &Labels) -> Plain {
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
        let bytes = families.iter().map(StoredFamily::bytes).sum::<usize>()
            + injected.iter().map(|t| t.len() + 16).sum::<usize>();
        Plain { families: families.into_boxed_slice(), injected, series, duplicates, bytes }
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

impl StoredFamily {
    /// The samples, in the order of the dump.
    pub(super) fn samples<'a>(&'a self, injected: &'a [Box<str>]) -> impl Iterator<Item = StoredSample<'a>> + use<'a> {
        let mut start = 0;
        self.spans.iter().enumerate().map(move |(i, span)| {
            let (labels, value, exemplar) = (span.labels as usize, span.value as usize, span.exemplar as usize);
            let sample = StoredSample {
                name: Cow::Borrowed(&self.names[usize::from(span.name)]),
                injected: injected.get(span.injected as usize).map_or("", AsRef::as_ref),
                labels: &self.text[start..labels],
                value: &self.text[labels..value],
                timestamp: self.timestamps.get(i).copied().flatten(),
                exemplar: (exemplar > value).then(|| &self.text[value..exemplar]),
            };
            start = exemplar;
            sample
        })
    }

    /// Judges the samples as they will be written, renamed labels and all.
    fn with_structure(mut self) -> StoredFamily {
        self.traits.openmetrics = match self.kind {
            MetricType::Gauge | MetricType::Unknown => true,
            kind => {
                let lines: Vec<Line<'_>> = self.samples(&[]).map(Line::from).collect();
                structure::fits(kind, &self.name, &lines)
            }
        };
        self
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
