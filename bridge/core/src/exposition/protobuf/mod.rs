//! Prometheus' protobuf format: delimited `io.prometheus.client.MetricFamily`.
//!
//! A family is one message, written sample by sample into a buffer; the lines of a
//! histogram or summary are gathered until their label set ends. What a message of the
//! family's type cannot say without adding or losing a series (a histogram without `+Inf`,
//! `_sum` or `_count`, a count that is no whole number, buckets out of order) makes the
//! family [`Unfit`]: its sample names are then untyped families each, as the OpenMetrics
//! writer makes them unknown. What only OpenMetrics forbids (a negative counter) is kept.
//!
//! Written by hand: messages are nested in place and values go from text to wire without
//! structures between, which prost would build for every sample.
mod point;
mod wire;

use std::borrow::Cow;

use bytes::Bytes;

use super::chunks::CHUNK_BYTES;
use crate::labels::unescape_value;
use crate::merge::Output;
use crate::model::MetricType;
use crate::store::StoredSample;
use crate::store::pairs::pairs;
use point::Point;
use wire::{close, open, push_bytes, push_double, push_number};

/// Numbers of fields, by message.
mod field {
    pub(super) const NAME: u8 = 1;
    pub(super) const HELP: u8 = 2;
    pub(super) const TYPE: u8 = 3;
    pub(super) const METRIC: u8 = 4;
    pub(super) const UNIT: u8 = 5;
    pub(super) const LABEL: u8 = 1;
    pub(super) const GAUGE: u8 = 2;
    pub(super) const COUNTER: u8 = 3;
    pub(super) const SUMMARY: u8 = 4;
    pub(super) const UNTYPED: u8 = 5;
    pub(super) const TIMESTAMP_MS: u8 = 6;
    pub(super) const HISTOGRAM: u8 = 7;
    /// In a gauge, a counter, an untyped value.
    pub(super) const VALUE: u8 = 1;
}

/// What Go takes for a NaN that is no staleness marker.
const NAN: u64 = 0x7ff8_0000_0000_0001;

/// The family's samples cannot be said with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit;

/// The message of one family, and the room that the next one uses again.
#[derive(Default)]
pub(super) struct Message {
    kind: Kind,
    name: String,
    /// A sample's creation time has this name.
    created: String,
    /// Full pieces, handed on as they are: a large family is not copied once more.
    pieces: Vec<Bytes>,
    bytes: Vec<u8>,
    /// The labels of the sample at hand, without its bucket's or quantile's.
    labels: Vec<u8>,
    injected: Injected,
    point: Point,
    metrics: u64,
    unfit: bool,
}

/// How samples become metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    #[default]
    Untyped,
}

/// An origin's labels, encoded once for all its samples.
#[derive(Default)]
struct Injected {
    text: String,
    bytes: Vec<u8>,
}

impl Message {
    /// Begins the message of a family.
    pub(super) fn begin(&mut self, family: &Output<'_>) {
        self.kind = match family.kind {
            MetricType::Counter => Kind::Counter,
            MetricType::Gauge | MetricType::Info | MetricType::StateSet => Kind::Gauge,
            MetricType::Histogram => Kind::Histogram,
            MetricType::Summary => Kind::Summary,
            // The plan cuts a gaugehistogram.
            MetricType::GaugeHistogram | MetricType::Unknown => Kind::Untyped,
        };
        self.name.clear();
        self.name.push_str(&family.name);
        self.created = format!("{}_created", base(&family.name, self.kind));
        self.pieces.clear();
        self.bytes.clear();
        self.point.clear();
        self.metrics = 0;
        self.unfit = false;
        push_bytes(&mut self.bytes, field::NAME, family.name.as_bytes());
        if let Some(help) = family.help {
            push_bytes(&mut self.bytes, field::HELP, help.as_bytes());
        }
        let kind = match self.kind {
            Kind::Counter => 0,
            Kind::Gauge => 1,
            Kind::Summary => 2,
            Kind::Untyped => 3,
            Kind::Histogram => 4,
        };
        push_number(&mut self.bytes, field::TYPE, kind);
        if let Some(unit) = self.unit(family) {
            push_bytes(&mut self.bytes, field::UNIT, unit.as_bytes());
        }
    }

    /// Readers refuse a unit that does not end the name.
    fn unit<'a>(&self, family: &Output<'a>) -> Option<&'a str> {
        let unit = family.unit?;
        let stem = base(&self.name, self.kind).strip_suffix(unit)?.strip_suffix('_')?;
        (!stem.is_empty()).then_some(unit)
    }

    /// Takes a sample of the family.
    pub(super) fn take(&mut self, sample: &StoredSample<'_>) {
        if self.unfit {
            return;
        }
        match self.kind {
            Kind::Gauge | Kind::Untyped => self.simple(sample),
            Kind::Counter | Kind::Histogram | Kind::Summary => {
                let fits = self.composite(sample);
                self.unfit |= fits.is_none();
            }
        }
    }

    fn simple(&mut self, sample: &StoredSample<'_>) {
        if sample.name != self.name {
            self.unfit = true;
            return;
        }
        let own = match self.kind {
            Kind::Gauge => field::GAUGE,
            _ => field::UNTYPED,
        };
        let metric = open(&mut self.bytes, field::METRIC);
        self.injected.of(sample.injected);
        self.bytes.extend_from_slice(&self.injected.bytes);
        push_labels(&mut self.bytes, sample.labels, None);
        let value = open(&mut self.bytes, own);
        push_double(&mut self.bytes, field::VALUE, number(sample.value));
        close(&mut self.bytes, value);
        push_timestamp(&mut self.bytes, sample.timestamp);
        close(&mut self.bytes, metric);
        self.metric_done();
    }

    /// `None`: it cannot be said.
    fn composite(&mut self, sample: &StoredSample<'_>) -> Option<()> {
        let suffix = match sample.name == self.created {
            true => "_created",
            false => sample.name.strip_prefix(self.name.as_str())?,
        };
        let own = match (self.kind, suffix) {
            (Kind::Histogram, "_bucket") => Some("le"),
            (Kind::Summary, "") => Some("quantile"),
            _ => None,
        };
        self.injected.of(sample.injected);
        self.labels.clear();
        self.labels.extend_from_slice(&self.injected.bytes);
        let bound = push_labels(&mut self.labels, sample.labels, own);
        if !self.point.is_of(&self.labels, sample.timestamp) {
            self.flush()?;
            self.point.begin(&mut self.labels, sample.timestamp);
        }
        match (self.kind, suffix) {
            (Kind::Counter, "") => self.point.total(sample),
            (Kind::Histogram, "_bucket") => self.point.bucket(&bound?, sample),
            (Kind::Summary, "") => self.point.quantile(&bound?, sample),
            (Kind::Histogram | Kind::Summary, "_sum") => self.point.sum(sample),
            (Kind::Histogram | Kind::Summary, "_count") => self.point.count(sample),
            (_, "_created") => self.point.created(sample),
            _ => None,
        }
    }

    /// Writes the point gathered so far; `None`: it is not complete.
    fn flush(&mut self) -> Option<()> {
        if !self.point.is_open() {
            return Some(());
        }
        let metric = open(&mut self.bytes, field::METRIC);
        self.bytes.extend_from_slice(self.point.labels());
        let own = match self.kind {
            Kind::Counter => field::COUNTER,
            Kind::Summary => field::SUMMARY,
            _ => field::HISTOGRAM,
        };
        let value = open(&mut self.bytes, own);
        match self.kind {
            Kind::Counter => self.point.push_counter(&mut self.bytes)?,
            Kind::Summary => self.point.push_summary(&mut self.bytes)?,
            _ => self.point.push_histogram(&mut self.bytes)?,
        }
        close(&mut self.bytes, value);
        push_timestamp(&mut self.bytes, self.point.timestamp());
        close(&mut self.bytes, metric);
        self.point.clear();
        self.metric_done();
        Some(())
    }

    fn metric_done(&mut self) {
        self.metrics += 1;
        if self.bytes.len() >= CHUNK_BYTES {
            let room = self.bytes.len() + self.bytes.len() / 16;
            let piece = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
            self.pieces.push(Bytes::from(piece));
        }
    }

    /// Ends the message. Its pieces are [`Message::pieces`], then [`Message::rest`].
    ///
    /// # Errors
    /// The family must be written as untyped ones.
    pub(super) fn end(&mut self) -> Result<(), Unfit> {
        let complete = !self.unfit && self.flush().is_some();
        match complete {
            true => Ok(()),
            false => Err(Unfit),
        }
    }

    /// Whether it has no metric: readers differ on such a family, it is not written.
    pub(super) fn is_empty(&self) -> bool {
        self.metrics == 0
    }

    /// Appends the length that stands before the message.
    pub(super) fn push_length(&self, out: &mut Vec<u8>) {
        let length = self.pieces.iter().map(Bytes::len).sum::<usize>() + self.bytes.len();
        wire::push_varint(out, length as u64);
    }

    /// Its first pieces, which then belong to the caller.
    pub(super) fn pieces(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.pieces)
    }

    /// Its last piece.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes
    }
}

impl Injected {
    fn of(&mut self, text: &str) {
        if self.text == text {
            return;
        }
        self.text.clear();
        self.text.push_str(text);
        self.bytes.clear();
        push_labels(&mut self.bytes, text, None);
    }
}

/// A counter's name without `_total`, which its `_created` does not have.
fn base(name: &str, kind: Kind) -> &str {
    match kind {
        Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    }
}

/// Appends label pairs; those without a value are none. The value of the label `own` is
/// returned, not written.
fn push_labels<'a>(out: &mut Vec<u8>, text: &'a str, own: Option<&str>) -> Option<Cow<'a, str>> {
    let mut found = None;
    for pair in pairs(text) {
        if own == Some(pair.raw_name) {
            found = Some(pair.value());
            continue;
        }
        if pair.raw_value.is_empty() {
            continue;
        }
        let label = open(out, field::LABEL);
        match pair.quoted() {
            true => push_bytes(out, 1, pair.name().as_bytes()),
            false => push_bytes(out, 1, pair.raw_name.as_bytes()),
        }
        match unescape_value(pair.raw_value) {
            Some(value) => push_bytes(out, 2, value.as_bytes()),
            None => push_bytes(out, 2, pair.raw_value.as_bytes()),
        }
        close(out, label);
    }
    found
}

fn push_timestamp(out: &mut Vec<u8>, timestamp: Option<i64>) {
    if let Some(ms) = timestamp {
        push_number(out, field::TIMESTAMP_MS, ms.cast_unsigned());
    }
}

/// The number of a value's text, which the codec has checked.
fn number(text: &str) -> f64 {
    match text.parse::<f64>() {
        Ok(number) if !number.is_nan() => number,
        _ => f64::from_bits(NAN),
    }
}
