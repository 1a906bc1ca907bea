//! One record value, read as the bridge would read it, and told to a person
//! (`kafka2prom decode`; issue 3 point 7).
use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use crate::codec::{self, Format, Lines, ParseOptions};
use crate::compress::{Encoding, decompress};
use crate::labels::{escape_value, is_legacy_metric_name};
use crate::model::{Family, Parsed, Rejection};
use crate::reason::{RecordReason, Refusal};

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions<'a> {
    /// The header `content-type`.
    pub content_type: Option<&'a str>,
    /// The header `content-encoding`.
    pub content_encoding: Option<&'a str>,
    /// The topic's format, for values that neither header nor content tells.
    pub default_format: Option<Format>,
    /// Refuse the whole at the first fault.
    pub strict: bool,
    /// Bytes of a decompressed dump.
    pub dump_bytes: usize,
    /// The other limits.
    pub limits: ParseOptions,
}

impl Default for DecodeOptions<'_> {
    fn default() -> Self {
        DecodeOptions {
            content_type: None,
            content_encoding: None,
            default_format: None,
            strict: false,
            dump_bytes: 64 * 1024 * 1024,
            limits: ParseOptions::default(),
        }
    }
}

/// What became of a value. Every field is filled as far as reading came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DecodeReport {
    /// The format it was read as.
    pub format: Option<Format>,
    /// Its compression.
    pub encoding: Encoding,
    /// Bytes of the value.
    pub value_bytes: usize,
    /// Bytes of the decompressed dump.
    pub dump_bytes: usize,
    /// Accepted series.
    pub series: usize,
    /// In the order of the dump.
    pub families: Vec<FamilyReport>,
    /// The account of the lines; absent in strict mode.
    pub lines: Option<Lines>,
    /// Rejections by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The first rejections.
    pub rejections: Vec<RejectionReport>,
    /// Why the bridge would refuse the whole, if it would.
    pub refused: Option<RefusalReport>,
}

/// A family of a [`DecodeReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FamilyReport {
    /// Its text-format name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its series.
    pub series: usize,
    /// Its HELP.
    pub help: Option<String>,
    /// Its UNIT.
    pub unit: Option<String>,
}

/// A rejected line of a [`DecodeReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectionReport {
    /// 1-based.
    pub line: u32,
    /// 1-based bytes; 0: the whole line.
    pub column: u32,
    /// The bounded reason.
    pub reason: &'static str,
    /// What, an excerpt, the remedy.
    pub detail: String,
}

/// Why a whole value is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct RefusalReport {
    /// The bounded reason of a record, or `strict`: a fault that would have cost only its
    /// line otherwise.
    pub reason: &'static str,
    /// What, where, remedy.
    pub detail: String,
}

impl From<Refusal> for RefusalReport {
    fn from(refusal: Refusal) -> RefusalReport {
        RefusalReport { reason: refusal.reason.as_str(), detail: refusal.detail }
    }
}

impl DecodeReport {
    /// Whether the value was accepted, and nothing of it was rejected.
    pub fn is_clean(&self) -> bool {
        self.refused.is_none() && self.rejected.is_empty()
    }
}

/// Reads a value and reports.
pub fn report(value: &[u8], options: &DecodeOptions<'_>) -> DecodeReport {
    let mut report = DecodeReport { value_bytes: value.len(), ..DecodeReport::default() };
    report.refused = with_parsed(value, options, &mut report, |_| ()).err();
    report
}

/// The accepted samples of a value as text 1.0.0, see [`normalized`].
///
/// # Errors
/// As the bridge refuses the value.
pub fn samples(value: &[u8], options: &DecodeOptions<'_>) -> Result<String, RefusalReport> {
    with_parsed(value, options, &mut DecodeReport::default(), normalized)
}

fn with_parsed<T>(
    value: &[u8],
    options: &DecodeOptions<'_>,
    report: &mut DecodeReport,
    then: impl FnOnce(&Parsed<'_>) -> T,
) -> Result<T, RefusalReport> {
    if value.is_empty() && !options.strict {
        let detail = "the value is empty: such a record deletes its origin";
        return Err(Refusal::new(RecordReason::NotADump, detail).into());
    }
    report.encoding = encoding(options.content_encoding)?;
    let body = decompress(report.encoding, value, options.dump_bytes).map_err(Refusal::from)?;
    report.dump_bytes = body.len();
    let format = codec::detect(options.content_type, &body, options.default_format).map_err(Refusal::from)?;
    report.format = Some(format);
    let parsed = if options.strict {
        let strict = codec::parse_strict(format, &body, &options.limits);
        strict.map_err(|rejection| refuse(report, &rejection))?
    } else {
        let (parsed, lines) = codec::parse_counted(format, &body, &options.limits).map_err(Refusal::from)?;
        report.lines = Some(lines);
        parsed
    };
    report.fill(&parsed);
    Ok(then(&parsed))
}

fn encoding(header: Option<&str>) -> Result<Encoding, Refusal> {
    let text = header.unwrap_or_default();
    Encoding::from_header(text).ok_or_else(|| {
        let detail = format!("content-encoding {text:?}: gzip, zstd, snappy or none is read");
        Refusal::new(RecordReason::BadEncoding, detail)
    })
}

/// Strict reading: the first fault is the report's only rejection, and refuses all.
fn refuse(report: &mut DecodeReport, rejection: &Rejection) -> RefusalReport {
    report.rejected.insert(rejection.reason.as_str(), 1);
    report.rejections.push(rejection_report(rejection));
    let place = match rejection.column {
        0 => format!("line {}", rejection.line),
        column => format!("line {}, column {column}", rejection.line),
    };
    let detail = format!("{place}: {}: {}", rejection.reason, rejection.detail);
    RefusalReport { reason: "strict", detail }
}

fn rejection_report(rejection: &Rejection) -> RejectionReport {
    RejectionReport {
        line: rejection.line,
        column: rejection.column,
        reason: rejection.reason.as_str(),
        detail: rejection.detail.clone(),
    }
}

impl DecodeReport {
    fn fill(&mut self, parsed: &Parsed<'_>) {
        self.series = parsed.series();
        self.families = parsed.families.iter().map(family_report).collect();
        let rejected = parsed.rejected.iter().map(|(r, n)| (r.as_str(), *n));
        self.rejected = rejected.collect();
        self.rejections = parsed.rejections.iter().map(rejection_report).collect();
    }
}

fn family_report(family: &Family<'_>) -> FamilyReport {
    FamilyReport {
        name: family.name.to_string(),
        kind: family.kind.as_str(),
        series: family.samples.len(),
        help: family.help.as_ref().map(ToString::to_string),
        unit: family.unit.as_ref().map(ToString::to_string),
    }
}

/// The samples as lines of text 1.0.0, with their own timestamps in milliseconds and
/// without metadata: what another parser's reading is compared with. Exemplars have no
/// place in text.
pub fn normalized(parsed: &Parsed<'_>) -> String {
    let mut out = String::new();
    for sample in parsed.families.iter().flat_map(|f| &f.samples) {
        if is_legacy_metric_name(&sample.name) {
            out.push_str(&sample.name);
            if !sample.labels.is_empty() {
                out.extend(["{", &sample.labels, "}"]);
            }
        } else {
            out.extend(["{\"", &escape_value(&sample.name), "\""]);
            if !sample.labels.is_empty() {
                out.extend([",", &sample.labels]);
            }
            out.push('}');
        }
        out.extend([" ", sample.value]);
        if let Some(ms) = sample.timestamp {
            out.extend([" ", &ms.to_string()]);
        }
        out.push('\n');
    }
    out
}

impl fmt::Display for DecodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format.map_or("unknown", Format::as_str);
        write!(f, "format    {format}, {} bytes", self.dump_bytes)?;
        match self.encoding {
            Encoding::Identity => writeln!(f)?,
            encoding => writeln!(f, " ({} as {})", self.value_bytes, encoding.as_str())?,
        }
        if let Some(refused) = &self.refused {
            writeln!(f, "refused   {}: {}", refused.reason, printable(&refused.detail))?;
            return Ok(());
        }
        writeln!(f, "series    {} in {} families", self.series, self.families.len())?;
        if let Some(lines) = &self.lines {
            writeln!(
                f,
                "lines     {}: {} samples, {} metadata, {} comments, {} blank, {} rejected",
                lines.total, lines.samples, lines.metadata, lines.comments, lines.blank, lines.rejected
            )?;
        }
        for family in &self.families {
            let name = printable(&family.name);
            writeln!(f, "  {:>7}  {:<14} {name}", family.series, family.kind)?;
        }
        self.write_rejections(f)
    }
}

impl DecodeReport {
    fn write_rejections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rejected.is_empty() {
            return writeln!(f, "rejected  nothing");
        }
        let counts: Vec<_> = self.rejected.iter().map(|(r, n)| format!("{n} {r}")).collect();
        writeln!(f, "rejected  {}", counts.join(", "))?;
        for rejection in &self.rejections {
            let place = match rejection.column {
                0 => format!("line {}", rejection.line),
                column => format!("line {}:{column}", rejection.line),
            };
            writeln!(f, "  {place}: {}: {}", rejection.reason, rejection.detail)?;
        }
        let total: u64 = self.rejected.values().sum();
        let more = total - self.rejections.len() as u64;
        if more > 0 {
            writeln!(f, "  … and {more} more")?;
        }
        Ok(())
    }
}

/// A stranger's text for a terminal: control characters escaped.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
