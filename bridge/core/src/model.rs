//! The vocabulary between codecs, cache and exposition.
//!
//! A codec turns the bytes of one dump into a [`Parsed`]: families of borrowed
//! [`Sample`]s, plus what was rejected. Numbers stay text: what a target wrote is
//! what a scrape shows, digit for digit.
//!
//! **Names are text-format names.** Whatever the input format, a family carries
//! the name that Prometheus' text format 0.0.4 gives it, so that the same metric
//! from a text and an OpenMetrics origin is one family: a counter's name includes
//! `_total` (OpenMetrics family `foo` → `foo_total`), an info's `_info`. Only the
//! OpenMetrics writer strips those suffixes again. Counters' `_created` samples
//! stay inside their family.
use std::borrow::Cow;
use std::fmt;

/// Milliseconds since the Unix epoch, wall clock. Never compared with [`MonoMs`].
pub type UnixMs = i64;

/// Milliseconds of a monotonic clock that also counts suspended time
/// (`CLOCK_BOOTTIME`), from an arbitrary origin.
pub type MonoMs = i64;

/// The type of a family, over all formats. `Unknown` is text's `untyped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricType {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
    /// OpenMetrics: a histogram of current values.
    GaugeHistogram,
    /// Quantiles, sum and count.
    Summary,
    /// OpenMetrics: labels as information, value 1.
    Info,
    /// OpenMetrics: one boolean sample per state.
    StateSet,
    /// `untyped` (text) or `unknown` (OpenMetrics).
    Unknown,
}

impl MetricType {
    /// Its name for people and JSON: as in text 0.0.4, and as in OpenMetrics where only that has
    /// it.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
            MetricType::Unknown => "untyped",
        }
    }
}

/// One sample line, borrowed from the dump where its spelling is already canonical.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The sample's full name as text 0.0.4 writes it (`foo_bucket`, `foo_total`);
    /// any UTF-8 where the input quoted it.
    pub name: Cow<'a, str>,
    /// Labels without braces, canonical spelling: `a="b",le="0.5"`: escaped as in
    /// exposition, no blanks, no trailing comma, in the order of the input, names
    /// quoted only where the legacy grammar does not hold them. Empty: none.
    pub labels: Cow<'a, str>,
    /// The value's text, valid for both output formats (`+Inf`, `-Inf`, `NaN`, else a
    /// decimal number as written).
    pub value: &'a str,
    /// The sample's own timestamp in milliseconds, if it carried one.
    pub timestamp: Option<UnixMs>,
    /// OpenMetrics exemplar, the text after `# `: `{trace_id="x"} 0.5 1600000000.000`.
    pub exemplar: Option<&'a str>,
}

/// A family: everything between two metric names.
#[derive(Debug, Clone, PartialEq)]
pub struct Family<'a> {
    /// The text-format name (see the module's documentation).
    pub name: Cow<'a, str>,
    /// Its type; `Unknown` if none was declared.
    pub kind: MetricType,
    /// HELP, *unescaped*.
    pub help: Option<Cow<'a, str>>,
    /// OpenMetrics UNIT.
    pub unit: Option<Cow<'a, str>>,
    /// The samples, in the order of the input.
    pub samples: Vec<Sample<'a>>,
}

/// Why a sample (a line) was rejected: the bounded `reason` label of
/// `kafka2prom_samples_rejected_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SampleReason {
    /// The line follows neither a sample's, a comment's nor a metadata line's grammar.
    Syntax,
    /// Not UTF-8.
    Utf8,
    /// A metric or label name that the format does not allow.
    Name,
    /// A value that is no number.
    Value,
    /// A timestamp that is no number or out of range.
    Timestamp,
    /// A label twice in one sample.
    DuplicateLabel,
    /// The same series twice in one dump; the first one counts.
    DuplicateSeries,
    /// A metadata line that contradicts an earlier one, or comes after its samples.
    Metadata,
    /// An exemplar that follows no grammar or is too long (the sample goes with it).
    Exemplar,
    /// Well written, but against the format's structural rules for its type
    /// (bucket without `le`, negative counter in OpenMetrics, …).
    Structure,
    /// A label name or value longer than the topic's limit.
    LabelTooLong,
}

impl SampleReason {
    /// Every reason, for metrics that must exist before the first rejection.
    pub const ALL: [SampleReason; 11] = [
        SampleReason::Syntax,
        SampleReason::Utf8,
        SampleReason::Name,
        SampleReason::Value,
        SampleReason::Timestamp,
        SampleReason::DuplicateLabel,
        SampleReason::DuplicateSeries,
        SampleReason::Metadata,
        SampleReason::Exemplar,
        SampleReason::Structure,
        SampleReason::LabelTooLong,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            SampleReason::Syntax => "syntax",
            SampleReason::Utf8 => "utf8",
            SampleReason::Name => "name",
            SampleReason::Value => "value",
            SampleReason::Timestamp => "timestamp",
            SampleReason::DuplicateLabel => "duplicate_label",
            SampleReason::DuplicateSeries => "duplicate_series",
            SampleReason::Metadata => "metadata",
            SampleReason::Exemplar => "exemplar",
            SampleReason::Structure => "structure",
            SampleReason::LabelTooLong => "label_too_long",
        }
    }
}

impl fmt::Display for SampleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One rejected line: where, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// 1-based line of the decompressed dump.
    pub line: u32,
    /// 1-based byte column, 0 where the whole line is meant.
    pub column: u32,
    /// The bounded reason.
    pub reason: SampleReason,
    /// One sentence for a person: what is wrong, an excerpt (at most 120 bytes,
    /// control characters escaped), and the remedy.
    pub detail: String,
}

/// What a codec made of one dump: the good rows, and the bad ones as data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed<'a> {
    /// The families in the order of their first appearance; no name twice.
    pub families: Vec<Family<'a>>,
    /// The first [`Parsed::KEPT_REJECTIONS`] rejections, in order.
    pub rejections: Vec<Rejection>,
    /// All rejections, counted by reason (only reasons that occurred).
    pub rejected: Vec<(SampleReason, u64)>,
}

impl Parsed<'_> {
    /// How many rejections are kept with their text; the rest is only counted.
    pub const KEPT_REJECTIONS: usize = 20;

    /// The number of samples accepted.
    pub fn series(&self) -> usize {
        self.families.iter().map(|f| f.samples.len()).sum()
    }

    /// The number of rejected lines.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().map(|(_, n)| n).sum()
    }
}
