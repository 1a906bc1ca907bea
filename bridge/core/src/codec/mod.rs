//! Reading dumps: bytes in, families of borrowed samples and rejected lines out.
//!
//! # Lenient and strict
//! [`parse`] is what the bridge does with a dump: a line that is no exposition costs
//! that line, counted by reason. [`parse_strict`] (pushes, `decode --strict`) refuses
//! the whole at the first fault. Both run the same code; a dump is strict exactly
//! if [`parse`] rejects nothing of it, and, for OpenMetrics, the structural rules of
//! the specification hold as well (module `structure`).
//!
//! # Choices where the reference parsers disagree
//! The promise is that a cluster looks as if Prometheus had scraped it, so text is
//! read as Prometheus' own parser reads it: an unknown escape stands for itself
//! (`\s` is backslash, s), the last line needs no newline, a comma may follow the last
//! label, NUL is a character like another, families need not be contiguous, negative
//! counters and fractional buckets are values like others, `# TYPEx` is a comment.
//! Beyond it, where a merged exposition could not be valid otherwise:
//! * a raw newline ends a line, also between quotes: each piece costs itself;
//! * the label `__name__` and empty quoted names are refused;
//! * a comma must stand between two labels;
//! * a second TYPE, HELP or UNIT that contradicts the first, a TYPE after the family's
//!   samples, are refused and the first stays; the same line again is harmless;
//! * a bucket needs an `le` that is a number, a `quantile` must be one, and a histogram
//!   has no sample under its bare name;
//! * a negative timestamp in text and `gauge_histogram` are accepted, as `expfmt` does;
//! * a carriage return is no blank: dumps with CRLF line ends are refused line by line.
//!
//! The same series twice: the first counts, the rest is `duplicate_series`, whatever the
//! order of labels; a label with an empty value is no label. With *another timestamp*
//! it is a later point of the series, and the last point counts (both formats; the
//! reference parsers accept it).
//!
//! OpenMetrics, lenient: an exemplar where none may stand (anything but a bucket or a
//! counter) is left out and counted, its sample stays. A dump without `# EOF` was
//! truncated and is refused whole. Strict takes the side of the specification and of
//! `client_python` wherever Prometheus is more tolerant. Native histograms in text
//! form (`{count:…}`, no part of 1.0.0) are no values.
mod collect;
mod families;
mod number;
mod openmetrics;
mod reject;
mod scan;
mod seen;
mod structure;
mod text;
mod trace;

use std::fmt;

use serde::Serialize;

use crate::compress::Encoding;
use crate::model::{Parsed, Rejection, UnixMs};
use crate::reason::{RecordReason, Refusal};

use collect::{Collector, Stop};
pub(crate) use trace::Trace;

/// A format of dumps. Others join later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Prometheus text 0.0.4 and 1.0.0 (which adds quoted UTF-8 names).
    Text,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

impl Format {
    /// A word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::OpenMetrics => "openmetrics",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why no format could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The header names a format that is not read.
    #[error("content-type {0:?} is not read: send text/plain or application/openmetrics-text")]
    Unknown(String),
    /// No header says so, but the body is compressed.
    #[error("the body is {}, but no content-encoding says so: send that header", encoding.as_str())]
    Compressed {
        /// What its magic says.
        encoding: Encoding,
    },
    /// No header, and the body is no text.
    #[error("the body is binary and has no content-type: send that header, and text")]
    Binary,
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Refusal {
        let reason = match error {
            FormatError::Unknown(_) => RecordReason::UnknownFormat,
            FormatError::Compressed { .. } => RecordReason::BadEncoding,
            FormatError::Binary => RecordReason::NotADump,
        };
        Refusal::new(reason, error.to_string())
    }
}

/// The format of a decompressed body: what the header says, else what the body shows
/// beyond doubt, else the topic's default, else text (design §2: sniffed, then default).
///
/// # Errors
/// A header that names another format; a body that is no text and has no header.
pub fn detect(content_type: Option<&str>, body: &[u8], default: Option<Format>) -> Result<Format, FormatError> {
    if let Some(header) = content_type.map(str::trim).filter(|h| !h.is_empty()) {
        return named(header, body, default);
    }
    sniff(body, default)
}

fn named(header: &str, body: &[u8], default: Option<Format>) -> Result<Format, FormatError> {
    let mut parts = header.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    match media.as_str() {
        "text/plain" => Ok(Format::Text),
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        // What an HTTP client or a file says that knows nothing better.
        "application/octet-stream" | "*/*" => sniff(body, default),
        _ => {
            let mut end = header.len().min(100);
            while !header.is_char_boundary(end) {
                end -= 1;
            }
            Err(FormatError::Unknown(header[..end].to_owned()))
        }
    }
}

fn sniff(body: &[u8], default: Option<Format>) -> Result<Format, FormatError> {
    let trimmed = body.trim_ascii_end();
    if trimmed == b"# EOF" || trimmed.ends_with(b"\n# EOF") {
        return Ok(Format::OpenMetrics);
    }
    if let Some(encoding) = Encoding::by_magic(body) {
        return Err(FormatError::Compressed { encoding });
    }
    if binary(&body[..body.len().min(1024)]) {
        return Err(FormatError::Binary);
    }
    Ok(default.unwrap_or(Format::Text))
}

/// Control characters that no line of an exposition holds outside of quotes, or bytes
/// that are no UTF-8, in more than one of ten.
fn binary(head: &[u8]) -> bool {
    let mut odd = 0usize;
    for chunk in head.utf8_chunks() {
        odd += chunk.invalid().len();
        let control = |b: &&u8| **b < 0x20 && !matches!(**b, b'\t' | b'\n' | b'\r');
        odd += chunk.valid().as_bytes().iter().filter(control).count();
    }
    odd * 10 > head.len()
}

/// What is read of a dump at most. Over a limit the dump is refused whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseOptions {
    /// Bytes of a label name, unescaped.
    pub max_label_name: usize,
    /// Bytes of a label value, unescaped, and of a metric name (which is the value of
    /// `__name__`).
    pub max_label_value: usize,
    /// Series of one dump.
    pub max_series: usize,
}

impl Default for ParseOptions {
    fn default() -> Self {
        ParseOptions { max_label_name: 1024, max_label_value: 64 * 1024, max_series: 200_000 }
    }
}

/// Why a dump is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// An OpenMetrics dump without its `# EOF`.
    #[error("the OpenMetrics dump does not end with `# EOF`: it was cut off, or is of another format")]
    Truncated,
    /// More series than allowed.
    #[error(
        "line {line}: more than {limit} series in one dump: drop series at the target, or raise the topic's series_per_origin"
    )]
    TooManySeries {
        /// The limit.
        limit: usize,
        /// The line of the first series too many.
        line: u32,
    },
    /// A label name or value that is too long.
    #[error(
        "line {line}: a {what} of {bytes} bytes, at most {limit} are allowed: shorten it at the target, or raise the topic's limit"
    )]
    LabelTooLong {
        /// 1-based.
        line: u32,
        /// `label name`, `label value` or `metric name`.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Nothing of it is an exposition; `first` is the first rejected line.
    #[error("no line of it is an exposition; line {line}: {first}")]
    NotADump {
        /// The line of the first rejection.
        line: u32,
        /// Its text.
        first: String,
    },
}

impl From<DumpError> for Refusal {
    fn from(error: DumpError) -> Refusal {
        let reason = match error {
            DumpError::Truncated => RecordReason::Truncated,
            DumpError::TooManySeries { .. } => RecordReason::TooManySeries,
            DumpError::LabelTooLong { .. } => RecordReason::LabelTooLong,
            DumpError::NotADump { .. } => RecordReason::NotADump,
        };
        Refusal::new(reason, error.to_string())
    }
}

/// What became of the lines of a dump. Their sum is at least the number of lines:
/// a line counts twice only where a sample stayed and its exemplar did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// All of them.
    pub total: u64,
    /// Empty, or blanks only.
    pub blank: u64,
    /// Comments that are no metadata.
    pub comments: u64,
    /// HELP, TYPE, UNIT and EOF.
    pub metadata: u64,
    /// Accepted samples, earlier points of a series included.
    pub samples: u64,
    /// Rejections.
    pub rejected: u64,
}

/// Reads a dump leniently: what is no exposition is counted and skipped, line by line.
///
/// # Errors
/// [`DumpError`]: the dump is refused whole.
pub fn parse<'a>(format: Format, body: &'a [u8], options: &ParseOptions) -> Result<Parsed<'a>, DumpError> {
    parse_counted(format, body, options).map(|(parsed, _)| parsed)
}

/// As [`parse`], with the account of the lines.
///
/// # Errors
/// As [`parse`].
pub fn parse_counted<'a>(
    format: Format,
    body: &'a [u8],
    options: &ParseOptions,
) -> Result<(Parsed<'a>, Lines), DumpError> {
    read(format, body, Collector::new(format, false, body, options)).map(|(parsed, lines, _)| (parsed, lines))
}

/// As [`parse`], with the places of its lines if the dump is regular.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_traced<'a>(
    format: Format,
    body: &'a [u8],
    options: &ParseOptions,
) -> Result<(Parsed<'a>, Option<Trace>), DumpError> {
    let collector = Collector::new(format, false, body, options).traced();
    read(format, body, collector).map(|(parsed, _, trace)| (parsed, trace))
}

fn read<'a>(format: Format, body: &'a [u8], collector: Collector<'a, '_>) -> Result<Read<'a>, DumpError> {
    match run(format, body, collector) {
        Ok(done) => Ok(done),
        Err(Stop::Dump(error)) => Err(error),
        // Lenient collectors keep rejections and go on.
        Err(Stop::Fault(rejection)) => Err(DumpError::NotADump { line: rejection.line, first: rejection.detail }),
    }
}

/// What stands behind the series of a sample line, read as the parser reads it.
#[derive(Debug, PartialEq)]
pub(crate) struct Tail<'a> {
    /// The value's canonical text.
    pub(crate) value: &'a str,
    pub(crate) timestamp: Option<UnixMs>,
    pub(crate) exemplar: Option<&'a str>,
}

/// Reads the rest of a sample's line, from the value's first byte on; `None` where the
/// parser would reject it.
pub(crate) fn tail(format: Format, text: &str) -> Option<Tail<'_>> {
    match format {
        Format::Text => text::tail(text).map(|(value, timestamp)| Tail { value, timestamp, exemplar: None }),
        Format::OpenMetrics => {
            openmetrics::tail(text).map(|(value, timestamp, exemplar)| Tail { value, timestamp, exemplar })
        }
    }
}

/// Whether a text may stand behind a sample's `# ` in OpenMetrics.
pub fn is_exemplar(text: &str) -> bool {
    openmetrics::is_exemplar(text)
}

/// Reads a dump strictly.
///
/// # Errors
/// The first fault, with its place; also a limit that is exceeded.
pub fn parse_strict<'a>(format: Format, body: &'a [u8], options: &ParseOptions) -> Result<Parsed<'a>, Rejection> {
    match run(format, body, Collector::new(format, true, body, options)) {
        Ok((parsed, _, _)) => Ok(parsed),
        Err(Stop::Fault(rejection)) => Err(rejection),
        Err(Stop::Dump(error)) => Err(reject::as_rejection(&error, body)),
    }
}

type Read<'a> = (Parsed<'a>, Lines, Option<Trace>);

fn run<'a>(format: Format, body: &'a [u8], mut collector: Collector<'a, '_>) -> Result<Read<'a>, Stop> {
    match format {
        Format::Text => text::read(body, &mut collector)?,
        Format::OpenMetrics => openmetrics::read(body, &mut collector)?,
    }
    collector.finish()
}
