//! The lines of one label set, until they make one metric.
use super::wire::{close, open, push_bytes, push_double, push_number, push_varint, zigzag};
use super::{number, push_labels};
use crate::model::UnixMs;
use crate::native::{Buckets, Native};
use crate::store::StoredSample;

/// Numbers of fields.
mod field {
    pub(super) const COUNTER_VALUE: u8 = 1;
    pub(super) const COUNTER_EXEMPLAR: u8 = 2;
    pub(super) const COUNTER_CREATED: u8 = 3;
    /// Of summaries and histograms.
    pub(super) const COUNT: u8 = 1;
    pub(super) const SUM: u8 = 2;
    /// A summary's quantiles, a histogram's buckets.
    pub(super) const PART: u8 = 3;
    pub(super) const SUMMARY_CREATED: u8 = 4;
    pub(super) const COUNT_FLOAT: u8 = 4;
    pub(super) const SCHEMA: u8 = 5;
    pub(super) const ZERO_THRESHOLD: u8 = 6;
    pub(super) const ZERO_COUNT: u8 = 7;
    pub(super) const ZERO_COUNT_FLOAT: u8 = 8;
    /// Spans; deltas and counts follow.
    pub(super) const NEGATIVE: u8 = 9;
    pub(super) const POSITIVE: u8 = 12;
    pub(super) const HISTOGRAM_CREATED: u8 = 15;
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Point {
    open: bool,
    labels: Vec<u8>,
    timestamp: Option<UnixMs>,
    /// A counter's.
    total: Option<f64>,
    count: Option<Count>,
    sum: Option<f64>,
    created: Option<Moment>,
    /// Quantiles or buckets, written.
    parts: Vec<u8>,
    bounds: Vec<f64>,
    /// A counter's.
    exemplar: Vec<u8>,
    native: Option<Native>,
    /// A bucket's count is no whole number.
    fractions: bool,
}

/// How many there were.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Count {
    Whole(u64),
    Float(f64),
}

/// `google.protobuf.Timestamp`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment {
    seconds: i64,
    nanos: u32,
}

impl Point {
    /// Forgets what was gathered, not the room for it.
    pub(super) fn clear(&mut self) {
        let (labels, parts, bounds) = (&mut self.labels, &mut self.parts, &mut self.bounds);
        labels.clear();
        parts.clear();
        bounds.clear();
        self.exemplar.clear();
        self.open = false;
        (self.total, self.count, self.sum, self.created) = (None, None, None, None);
        self.native = None;
        self.fractions = false;
    }

    /// Begins a label set; takes the labels' bytes and leaves room for others.
    pub(super) fn begin(&mut self, labels: &mut Vec<u8>, timestamp: Option<UnixMs>) {
        std::mem::swap(&mut self.labels, labels);
        self.timestamp = timestamp;
        self.open = true;
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn is_of(&self, labels: &[u8], timestamp: Option<UnixMs>) -> bool {
        self.open && self.timestamp == timestamp && self.labels == labels
    }

    pub(super) fn labels(&self) -> &[u8] {
        &self.labels
    }

    pub(super) fn timestamp(&self) -> Option<UnixMs> {
        self.timestamp
    }

    pub(super) fn total(&mut self, sample: &StoredSample<'_>) -> Option<()> {
        if let Some(exemplar) = sample.exemplar {
            push_exemplar(&mut self.exemplar, field::COUNTER_EXEMPLAR, exemplar);
        }
        first(&mut self.total, number(sample.value))
    }

    pub(super) fn sum(&mut self, sample: &StoredSample<'_>) -> Option<()> {
        first(&mut self.sum, number(sample.value))
    }

    pub(super) fn count(&mut self, sample: &StoredSample<'_>) -> Option<()> {
        self.native = sample.exemplar.and_then(Native::parse);
        first(&mut self.count, Count::parse(sample.value)?)
    }

    pub(super) fn created(&mut self, sample: &StoredSample<'_>) -> Option<()> {
        first(&mut self.created, Moment::parse(sample.value)?)
    }

    pub(super) fn quantile(&mut self, rank: &str, sample: &StoredSample<'_>) -> Option<()> {
        let rank: f64 = rank.parse().ok()?;
        if rank.is_nan() || self.bounds.contains(&rank) {
            return None;
        }
        self.bounds.push(rank);
        let part = open(&mut self.parts, field::PART);
        push_double(&mut self.parts, 1, rank);
        push_double(&mut self.parts, 2, number(sample.value));
        close(&mut self.parts, part);
        Some(())
    }

    pub(super) fn bucket(&mut self, bound: &str, sample: &StoredSample<'_>) -> Option<()> {
        let bound: f64 = bound.parse().ok()?;
        // A NaN is above nothing.
        let above = self.bounds.last().is_none_or(|last| bound > *last);
        if !above || bound.is_nan() {
            return None;
        }
        self.bounds.push(bound);
        let part = open(&mut self.parts, field::PART);
        match Count::parse(sample.value)? {
            Count::Whole(count) => push_number(&mut self.parts, 1, count),
            Count::Float(count) => {
                self.fractions = true;
                push_double(&mut self.parts, 4, count);
            }
        }
        push_double(&mut self.parts, 2, bound);
        if let Some(exemplar) = sample.exemplar {
            push_exemplar(&mut self.parts, 3, exemplar);
        }
        close(&mut self.parts, part);
        Some(())
    }

    /// Appends the fields of a counter; `None`: something is missing (so for the others).
    pub(super) fn push_counter(&self, out: &mut Vec<u8>) -> Option<()> {
        push_double(out, field::COUNTER_VALUE, self.total?);
        out.extend_from_slice(&self.exemplar);
        push_created(out, field::COUNTER_CREATED, self.created);
        Some(())
    }

    /// Appends the fields of a summary. Without its sum or count, readers would make them up.
    pub(super) fn push_summary(&self, out: &mut Vec<u8>) -> Option<()> {
        let Count::Whole(count) = self.count? else {
            return None;
        };
        push_number(out, field::COUNT, count);
        push_double(out, field::SUM, self.sum?);
        out.extend_from_slice(&self.parts);
        push_created(out, field::SUMMARY_CREATED, self.created);
        Some(())
    }

    /// Appends the fields of a histogram. Only one of floats, which is native, has fractions.
    pub(super) fn push_histogram(&self, out: &mut Vec<u8>) -> Option<()> {
        let (count, sum) = (self.count?, self.sum?);
        if self.bounds.last() != Some(&f64::INFINITY) {
            return None;
        }
        match (count, self.native.as_ref().is_some_and(Native::is_float)) {
            (_, true) => push_double(out, field::COUNT_FLOAT, count.as_f64()),
            (Count::Whole(count), false) if !self.fractions => push_number(out, field::COUNT, count),
            _ => return None,
        }
        push_double(out, field::SUM, sum);
        // `+Inf` alone is what a histogram without classic buckets looks like as text.
        if self.native.is_none() || self.bounds.len() > 1 {
            out.extend_from_slice(&self.parts);
        }
        if let Some(native) = &self.native {
            push_native(out, native);
        }
        push_created(out, field::HISTOGRAM_CREATED, self.created);
        Some(())
    }
}

/// Sets what may be said once.
fn first<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

impl Count {
    fn parse(text: &str) -> Option<Count> {
        if let Ok(count) = text.parse() {
            return Some(Count::Whole(count));
        }
        let float: f64 = text.parse().ok()?;
        // 2^64: all whole numbers below it are exact.
        match float >= 0.0 && float.fract() == 0.0 && float < 18_446_744_073_709_551_616.0 {
            true => Some(Count::Whole(float as u64)),
            false => float.is_finite().then_some(Count::Float(float)),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Count::Whole(count) => count as f64,
            Count::Float(count) => count,
        }
    }
}

impl Moment {
    /// Seconds since 1970 as text: exact where it is a plain decimal.
    fn parse(text: &str) -> Option<Moment> {
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if digits(whole) && digits(fraction) {
            let nanos = format!("{fraction:0<9.9}");
            return Some(Moment { seconds: whole.parse().ok()?, nanos: nanos.parse().ok()? });
        }
        let seconds: f64 = text.parse().ok()?;
        // The protocol's own range ends with the year 9999.
        if !(0.0..253_402_300_800.0).contains(&seconds) {
            return None;
        }
        // A double of today has no more than microseconds.
        let micros = (seconds * 1e6).round() as i64;
        Some(Moment { seconds: micros / 1_000_000, nanos: (micros % 1_000_000) as u32 * 1000 })
    }
}

fn push_created(out: &mut Vec<u8>, field: u8, created: Option<Moment>) {
    if let Some(Moment { seconds, nanos }) = created {
        let moment = open(out, field);
        push_number(out, 1, seconds.cast_unsigned());
        push_number(out, 2, u64::from(nanos));
        close(out, moment);
    }
}

/// Appends an exemplar, `{labels} value[ timestamp]`; nothing of what is none.
fn push_exemplar(out: &mut Vec<u8>, field: u8, text: &str) {
    let Some((labels, rest)) = text.strip_prefix('{').and_then(|t| t.rsplit_once("} ")) else {
        return;
    };
    let (value, timestamp) = rest.split_once(' ').unwrap_or((rest, ""));
    let exemplar = open(out, field);
    push_labels(out, labels, None);
    push_double(out, 2, number(value));
    push_created(out, 3, Moment::parse(timestamp));
    close(out, exemplar);
}

fn push_native(out: &mut Vec<u8>, native: &Native) {
    push_number(out, field::SCHEMA, zigzag(native.schema.into()));
    push_double(out, field::ZERO_THRESHOLD, native.zero_threshold);
    match native.is_float() {
        true => push_double(out, field::ZERO_COUNT_FLOAT, native.zero_count_float),
        false => push_number(out, field::ZERO_COUNT, native.zero_count),
    }
    push_buckets(out, field::NEGATIVE, &native.negative);
    push_buckets(out, field::POSITIVE, &native.positive);
}

fn push_buckets(out: &mut Vec<u8>, spans: u8, buckets: &Buckets) {
    for span in &buckets.spans {
        let at = open(out, spans);
        push_number(out, 1, zigzag(span.offset.into()));
        push_number(out, 2, span.length.into());
        close(out, at);
    }
    if !buckets.deltas.is_empty() {
        let mut packed = Vec::with_capacity(buckets.deltas.len());
        buckets.deltas.iter().for_each(|delta| push_varint(&mut packed, zigzag(*delta)));
        push_bytes(out, spans + 1, &packed);
    }
    if !buckets.counts.is_empty() {
        let packed: Vec<u8> = buckets.counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        push_bytes(out, spans + 2, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let moment = |seconds, nanos| Some(Moment { seconds, nanos });
        for (text, expected) in [
            ("0", moment(0, 0)),
            ("1600000000", moment(1_600_000_000, 0)),
            ("1600000000.123", moment(1_600_000_000, 123_000_000)),
            ("1600000000.1234567891", moment(1_600_000_000, 123_456_789)),
            ("1.7e9", moment(1_700_000_000, 0)),
            ("1.7000000001234e+09", moment(1_700_000_000, 123_400_000)),
            ("-1", None),
            ("NaN", None),
            ("+Inf", None),
            ("1e300", None),
            ("", None),
        ] {
            assert_eq!(Moment::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn counts() {
        for (text, expected) in [
            ("0", Some(Count::Whole(0))),
            ("18446744073709551615", Some(Count::Whole(u64::MAX))),
            ("1e3", Some(Count::Whole(1000))),
            ("2.0", Some(Count::Whole(2))),
            ("0.5", Some(Count::Float(0.5))),
            ("-1", Some(Count::Float(-1.0))),
            ("1e30", Some(Count::Float(1e30))),
            ("NaN", None),
            ("+Inf", None),
        ] {
            assert_eq!(Count::parse(text), expected, "{text}");
        }
    }
}
