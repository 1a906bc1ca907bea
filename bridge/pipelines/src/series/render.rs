//! A subject's series as families of samples.
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use k2p_core::model::{Family, MetricType, Sample};

use super::cell::{Cell, Classic};
use super::cells;
use super::native::NativeHistogram;
use crate::template::{Metric, MetricKind};

/// Text of a subject's values, and where each stands in it. A [`Family`] borrows its
/// values' text, which the series themselves do not keep.
#[derive(Debug, Default)]
pub struct Rendered<'a> {
    text: String,
    families: Vec<RenderedFamily<'a>>,
}

#[derive(Debug)]
struct RenderedFamily<'a> {
    metric: &'a Metric,
    /// The metric's name with the suffix that a sample has: none, or a histogram's three.
    names: [String; 3],
    samples: Vec<RenderedSample<'a>>,
}

#[derive(Debug)]
struct RenderedSample<'a> {
    name: usize,
    labels: Cow<'a, str>,
    value: Range<usize>,
    /// Of a count: the histogram's native form.
    native: Option<Range<usize>>,
}

impl<'a> Rendered<'a> {
    pub(super) fn add(&mut self, metric: &'a Metric, cells: cells::Family<'a>) {
        let bounds: &[f64] = match &metric.kind {
            MetricKind::Histogram(bounds) | MetricKind::NativeHistogram { bounds, .. } => bounds,
            _ => &[],
        };
        let names = match &metric.kind {
            MetricKind::Histogram(_) | MetricKind::NativeHistogram { .. } => {
                ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.name))
            }
            _ => [metric.name.to_string(), String::new(), String::new()],
        };
        let mut family = RenderedFamily { metric, names, samples: Vec::with_capacity(cells.len()) };
        for (labels, cell) in cells.iter() {
            match cell {
                Cell::Number(number) => {
                    let value = self.write(number);
                    family.samples.push(RenderedSample { name: 0, labels: Cow::Borrowed(labels), value, native: None });
                }
                Cell::Classic(classic) => self.histogram(&mut family, labels, bounds, classic, None),
                Cell::Native(both) => self.histogram(&mut family, labels, bounds, &both.1, Some(&both.0)),
            }
        }
        self.families.push(family);
    }

    fn histogram(
        &mut self,
        family: &mut RenderedFamily<'a>,
        labels: &'a str,
        bounds: &[f64],
        classic: &Classic,
        native: Option<&NativeHistogram>,
    ) {
        let mut below = 0;
        let comma = if labels.is_empty() { "" } else { "," };
        for (at, count) in classic.counts.iter().enumerate() {
            below += count;
            let le = bounds.get(at).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            let labels = Cow::Owned(format!("{labels}{comma}le=\"{le}\""));
            let value = self.write(&below);
            family.samples.push(RenderedSample { name: 0, labels, value, native: None });
        }
        let sum = self.write(&classic.sum);
        let labels = Cow::Borrowed(labels);
        family.samples.push(RenderedSample { name: 1, labels: labels.clone(), value: sum, native: None });
        let count = self.write(&below);
        let native = native.map(|native| self.write(&native.form().to_text()));
        family.samples.push(RenderedSample { name: 2, labels, value: count, native });
    }

    fn write(&mut self, value: &dyn std::fmt::Display) -> Range<usize> {
        let start = self.text.len();
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
        start..self.text.len()
    }

    /// The families, sorted by name; labels without the subject's own.
    ///
    /// A native histogram's buckets ride on its count ([`k2p_core::native`]): protobuf shows
    /// them, text its classic form alone.
    pub fn families(&self) -> Vec<Family<'_>> {
        self.families.iter().map(|family| self.family(family)).collect()
    }

    fn family<'s>(&'s self, family: &'s RenderedFamily<'_>) -> Family<'s> {
        let samples = family.samples.iter().map(|sample| Sample {
            name: Cow::Borrowed(family.names[sample.name].as_str()),
            labels: Cow::Borrowed(&*sample.labels),
            value: &self.text[sample.value.clone()],
            timestamp: None,
            exemplar: sample.native.clone().map(|native| &self.text[native]),
        });
        Family {
            name: Cow::Borrowed(&*family.metric.name),
            kind: match family.metric.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge | MetricKind::LastTimestamp => MetricType::Gauge,
                MetricKind::Histogram(_) | MetricKind::NativeHistogram { .. } => MetricType::Histogram,
            },
            help: Some(Cow::Borrowed(&*family.metric.help)),
            unit: family.metric.unit.as_deref().map(Cow::Borrowed),
            samples: samples.collect(),
        }
    }
}
