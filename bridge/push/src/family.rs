//! One family of a group, compact: a contiguous text and a span for each sample.
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use k2p_core::labels::{escape_value, is_legacy_metric_name};
use k2p_core::model::{Family, MetricType, Sample, UnixMs};

use crate::body::BodyError;
use crate::bytes::{Cut, Reader, Writer};
use crate::key::GroupingKey;
use crate::pairs::pairs;

/// The families that every group has, with the Pushgateway's words for them.
pub(crate) const STAMPS: [(&str, &str); 2] = [
    ("push_time_seconds", "Last Unix time when changing this group in the Pushgateway succeeded."),
    ("push_failure_time_seconds", "Last Unix time when changing this group in the Pushgateway failed."),
];

/// A family as it was pushed, immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct PushedFamily {
    name: Arc<str>,
    kind: MetricType,
    help: Option<Box<str>>,
    unit: Option<Box<str>>,
    /// The append time of its push.
    pub(crate) time: UnixMs,
    /// Distinct sample names.
    names: Vec<Box<str>>,
    text: String,
    rows: Vec<Row>,
}

/// Where a sample's parts end in the text; they begin where the one before ended.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    labels: u32,
    value: u32,
    exemplar: u32,
    name: u16,
}

/// A sample of a pushed family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushedSample<'a> {
    /// Its name as text 0.0.4 writes it (`a_bucket`).
    pub name: &'a str,
    /// The labels beside the group's, canonical spelling, no braces.
    pub labels: &'a str,
    /// The value's text.
    pub value: &'a str,
    /// An OpenMetrics exemplar, the text after `# `.
    pub exemplar: Option<&'a str>,
}

impl PushedSample<'_> {
    /// Name and unescaped value of each label beside the group's.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let unescaped = |raw| k2p_core::labels::unescape_value(raw).unwrap_or(Cow::Borrowed(raw));
        pairs(self.labels).map(move |pair| (pair.name(), unescaped(pair.raw_value)))
    }
}

impl PushedFamily {
    /// Takes a family of a body into the group `key`. `room`: bytes of text that may still be
    /// written.
    pub(crate) fn of(family: &Family<'_>, key: &GroupingKey, room: &mut usize) -> Result<PushedFamily, BodyError> {
        let mut taken = PushedFamily::empty(&family.name, family.kind);
        taken.help = family.help.as_deref().map(Box::from);
        taken.unit = family.unit.as_deref().map(Box::from);
        let mut overwritten = false;
        for sample in &family.samples {
            let before = taken.text.len();
            overwritten |= taken.push(sample, key);
            *room = room.checked_sub(taken.text.len() - before).ok_or(BodyError::TooLarge)?;
        }
        if overwritten {
            taken.check_series()?;
        }
        taken.text.shrink_to_fit();
        Ok(taken)
    }

    /// One of [`STAMPS`]; `None`: it has not happened.
    pub(crate) fn stamp(which: usize, at: Option<UnixMs>, time: UnixMs, key: &GroupingKey) -> PushedFamily {
        let (name, help) = STAMPS[which];
        let mut family = PushedFamily::empty(name, MetricType::Gauge);
        family.help = Some(Box::from(help));
        family.time = time;
        let value = at.map_or("0".to_owned(), seconds);
        let (labels, timestamp, exemplar) = (Cow::Borrowed(""), None, None);
        family.push(&Sample { name: name.into(), labels, value: &value, timestamp, exemplar }, key);
        family
    }

    fn empty(name: &str, kind: MetricType) -> PushedFamily {
        let (help, unit, time) = (None, None, 0);
        PushedFamily { name: name.into(), kind, help, unit, time, names: vec![], text: String::new(), rows: vec![] }
    }

    /// Whether a label was overwritten.
    fn push(&mut self, sample: &Sample<'_>, key: &GroupingKey) -> bool {
        let overwritten = push_labels(&mut self.text, &sample.labels, key);
        let labels = end(&self.text);
        self.text.push_str(sample.value);
        let value = end(&self.text);
        self.text.push_str(sample.exemplar.unwrap_or_default());
        let exemplar = end(&self.text);
        let known = self.names.iter().position(|name| **name == *sample.name);
        let name = known.unwrap_or_else(|| {
            self.names.push(sample.name.as_ref().into());
            self.names.len() - 1
        });
        // A family has at most five: its own and four suffixes.
        let name = u16::try_from(name).unwrap_or(u16::MAX);
        self.rows.push(Row { labels, value, exemplar, name });
        overwritten
    }

    /// Labels that were overwritten may have told two series apart.
    fn check_series(&self) -> Result<(), BodyError> {
        let mut seen = HashSet::with_capacity(self.rows.len());
        for sample in self.samples() {
            let mut all: Vec<&str> = pairs(sample.labels).filter(|p| !p.raw_value.is_empty()).map(|p| p.text).collect();
            all.sort_unstable();
            if !seen.insert((sample.name, all.join(","))) {
                return Err(BodyError::Duplicate(format!("{}{{{}}}", sample.name, sample.labels)));
            }
        }
        Ok(())
    }

    /// Its text-format name (see [`k2p_core::model`]).
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Its type.
    pub fn kind(&self) -> MetricType {
        self.kind
    }

    /// HELP, unescaped.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// OpenMetrics UNIT.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// The append time of the push that it came with, Unix ms.
    pub fn pushed(&self) -> UnixMs {
        self.time
    }

    /// The number of its samples.
    pub fn series(&self) -> usize {
        self.rows.len()
    }

    /// Estimated bytes of memory.
    pub fn bytes(&self) -> usize {
        let words = self.help.as_ref().map_or(0, |t| t.len()) + self.unit.as_ref().map_or(0, |t| t.len());
        let names: usize = self.names.iter().map(|n| n.len() + 16).sum();
        size_of::<PushedFamily>()
            + self.name.len()
            + words
            + names
            + self.text.len()
            + self.rows.len() * size_of::<Row>()
    }

    /// Its samples, in the order of the body.
    pub fn samples(&self) -> impl Iterator<Item = PushedSample<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let (labels, value, exemplar) = (row.labels as usize, row.value as usize, row.exemplar as usize);
            let sample = PushedSample {
                name: self.names.get(usize::from(row.name)).map_or("", AsRef::as_ref),
                labels: &self.text[start..labels],
                value: &self.text[labels..value],
                exemplar: (exemplar > value).then(|| &self.text[value..exemplar]),
            };
            start = exemplar;
            sample
        })
    }

    /// It as a codec would have read it, without the group's labels.
    pub(crate) fn as_family(&self) -> Family<'_> {
        let samples = self.samples().map(|PushedSample { name, labels, value, exemplar }| Sample {
            name: Cow::Borrowed(name),
            labels: Cow::Borrowed(labels),
            value,
            timestamp: None,
            exemplar,
        });
        let samples = samples.collect();
        let (help, unit) = (self.help.as_deref().map(Cow::Borrowed), self.unit.as_deref().map(Cow::Borrowed));
        Family { name: Cow::Borrowed(&self.name), kind: self.kind, help, unit, samples }
    }

    /// Writes it in text format 1.0.0, `injected` (the group's labels) in every sample.
    pub(crate) fn write_text(&self, out: &mut String, injected: &str) {
        let kind = match self.kind {
            MetricType::Counter => "counter",
            MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Summary => "summary",
            MetricType::GaugeHistogram | MetricType::Unknown => "untyped",
        };
        let name = quoted(&self.name);
        if let Some(help) = &self.help {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            let _written = writeln!(out, "# HELP {name} {help}");
        }
        let _written = writeln!(out, "# TYPE {name} {kind}");
        for sample in self.samples() {
            let legacy = is_legacy_metric_name(sample.name);
            if legacy {
                out.push_str(sample.name);
            }
            let name = if legacy { Cow::Borrowed("") } else { quoted(sample.name) };
            let parts = [&*name, injected, sample.labels];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let _written = writeln!(out, "{{{}}} {}", parts.join(","), sample.value);
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.text(&self.name);
        out.byte(kind_code(self.kind));
        out.optional_text(self.help.as_deref());
        out.optional_text(self.unit.as_deref());
        out.signed(self.time);
        out.count(self.names.len());
        for name in &self.names {
            out.text(name);
        }
        out.text(&self.text);
        out.count(self.rows.len());
        for row in &self.rows {
            for end in [row.labels, row.value, row.exemplar, u32::from(row.name)] {
                out.number(end);
            }
        }
    }

    /// What [`PushedFamily::save`] wrote; whatever else it is, it can be read afterwards.
    pub(crate) fn load(from: &mut Reader<'_>) -> Result<PushedFamily, Cut> {
        let name = from.text()?;
        let kind = KINDS.get(usize::from(from.byte()?)).copied().ok_or(Cut)?;
        let mut family = PushedFamily::empty(name, kind);
        family.help = from.optional_text()?.map(Box::from);
        family.unit = from.optional_text()?.map(Box::from);
        family.time = from.signed()?;
        for _ in 0..from.count()? {
            family.names.push(from.text()?.into());
        }
        family.text = from.text()?.to_owned();
        let mut at = 0;
        for _ in 0..from.count()? {
            let (labels, value, exemplar) = (from.number()?, from.number()?, from.number()?);
            let name = u16::try_from(from.number()?).map_err(|_| Cut)?;
            for end in [labels, value, exemplar] {
                if end < at || !family.text.is_char_boundary(end as usize) {
                    return Err(Cut);
                }
                at = end;
            }
            if usize::from(name) >= family.names.len() {
                return Err(Cut);
            }
            family.rows.push(Row { labels, value, exemplar, name });
        }
        Ok(family)
    }
}

const KINDS: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

fn kind_code(kind: MetricType) -> u8 {
    KINDS.iter().position(|k| *k == kind).and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

fn quoted(name: &str) -> Cow<'_, str> {
    match is_legacy_metric_name(name) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("\"{}\"", escape_value(name))),
    }
}

fn end(text: &str) -> u32 {
    // `room` bounds what one push may write.
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

fn seconds(ms: UnixMs) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// Appends a sample's labels without those that the key has, with the key's empty ones, and
/// with an empty `instance` where there is none: an exposed empty `instance` keeps
/// Prometheus from attaching the bridge's own. Whether one was overwritten.
fn push_labels(out: &mut String, labels: &str, key: &GroupingKey) -> bool {
    let (start, mut overwritten, mut instance) = (out.len(), false, key.get("instance").is_some());
    let mut push = |text: &str| {
        if out.len() > start {
            out.push(',');
        }
        out.push_str(text);
    };
    for pair in pairs(labels) {
        let name = pair.name();
        instance |= name == "instance";
        match key.get(&name) {
            Some(_) => overwritten = true,
            None => push(pair.text),
        }
    }
    for (name, _) in key.iter().filter(|(_, value)| value.is_empty()) {
        push(&format!("{name}=\"\""));
    }
    if !instance {
        push("instance=\"\"");
    }
    overwritten
}
