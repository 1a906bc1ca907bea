//! Prometheus text 0.0.4, and 1.0.0's quoted UTF-8 names.
use std::borrow::Cow;

use crate::model::{MetricType, Sample, SampleReason};

use super::collect::{Collector, Meta, Stop};
use super::number;
use super::scan::{Cursor, Fault, Pair, Scan};

enum Line<'a> {
    Blank,
    Comment,
    Meta(Cow<'a, str>, Meta<'a>),
    /// A sample, and where in the line its value begins.
    Sample(Sample<'a>, usize),
}

pub(super) fn read<'a>(body: &'a [u8], out: &mut Collector<'a, '_>) -> Result<(), Stop> {
    let mut pairs = Vec::new();
    let mut lines = super::collect::LineReader::new(body);
    while let Some(line) = lines.next(out)? {
        match read_line(line, &mut pairs) {
            Ok(Line::Sample(sample, value_at)) => out.sample(line, sample, value_at, &pairs, None)?,
            Ok(Line::Meta(name, meta)) => out.meta(line, name, meta)?,
            Ok(Line::Comment) => out.lines.comments += 1,
            Ok(Line::Blank) => out.lines.blank += 1,
            Err(fault) => out.reject(line.as_bytes(), fault)?,
        }
    }
    Ok(())
}

fn read_line<'a>(line: &'a str, pairs: &mut Vec<Pair<'a>>) -> Scan<Line<'a>> {
    let mut cursor = Cursor::new(line, true);
    cursor.skip_blanks();
    match cursor.peek() {
        None => Ok(Line::Blank),
        Some(b'#') => comment(cursor),
        Some(_) => sample(cursor, pairs),
    }
}

fn sample<'a>(mut cursor: Cursor<'a>, pairs: &mut Vec<Pair<'a>>) -> Scan<Line<'a>> {
    let head = cursor.head(pairs)?;
    cursor.skip_blanks();
    let value_at = cursor.at;
    let (value, timestamp) = value_and_time(cursor)?;
    Ok(Line::Sample(Sample { name: head.name, labels: head.labels, value, timestamp, exemplar: None }, value_at))
}

/// The cursor on the value: all that is left of a sample's line.
fn value_and_time<'a>(mut cursor: Cursor<'a>) -> Scan<(&'a str, Option<i64>)> {
    let at = cursor.at;
    let Some(value) = number::value(cursor.token()) else {
        let what = "expected a number as value";
        let reason = SampleReason::Value;
        return Err(Fault { at, reason, what });
    };
    cursor.skip_blanks();
    let mut timestamp = None;
    if cursor.peek().is_some() {
        timestamp = Some(timestamp_of(&mut cursor)?);
    }
    Ok((value, timestamp))
}

/// What stands behind the series of a sample: value and timestamp.
pub(super) fn tail(text: &str) -> Option<(&str, Option<i64>)> {
    value_and_time(Cursor::new(text, true)).ok()
}

fn timestamp_of(cursor: &mut Cursor<'_>) -> Scan<i64> {
    let start = cursor.clone();
    if start.peek() == Some(b'#') {
        return Err(start.syntax("text has no exemplars, and no comments behind samples"));
    }
    let Some(ms) = number::milliseconds(cursor.token()) else {
        let what = "expected whole milliseconds as timestamp";
        return Err(start.fault(SampleReason::Timestamp, what));
    };
    cursor.skip_blanks();
    if cursor.peek().is_some() {
        return Err(cursor.syntax("expected the end of the line after the timestamp"));
    }
    Ok(ms)
}

/// The cursor on `#`. What does not begin as HELP or TYPE is a comment.
fn comment(mut cursor: Cursor<'_>) -> Scan<Line<'_>> {
    cursor.at += 1;
    if !cursor.skip_blanks() {
        return Ok(Line::Comment);
    }
    let keyword = cursor.token();
    if !matches!(keyword, "HELP" | "TYPE") || !cursor.skip_blanks() {
        return Ok(Line::Comment);
    }
    if cursor.peek().is_none() {
        return Ok(Line::Comment);
    }
    let name = metadata(cursor.metric_name())?;
    let gap = cursor.skip_blanks();
    if !gap && cursor.peek().is_some() {
        let what = "a character that no metric name may hold unquoted";
        return Err(cursor.fault(SampleReason::Metadata, what));
    }
    if keyword == "HELP" {
        return Ok(Line::Meta(name, Meta::Help(unescape_help(cursor.rest()))));
    }
    let Some(kind) = kind(cursor.rest().trim_ascii_end()) else {
        let what = "expected counter, gauge, histogram, summary or untyped";
        return Err(cursor.fault(SampleReason::Metadata, what));
    };
    Ok(Line::Meta(name, Meta::Type(kind)))
}

/// A fault in a metadata line is one of metadata, whatever its part is.
pub(super) fn metadata<T>(scanned: Scan<T>) -> Scan<T> {
    scanned.map_err(|fault| Fault { reason: SampleReason::Metadata, ..fault })
}

fn kind(word: &str) -> Option<MetricType> {
    match word {
        "counter" => Some(MetricType::Counter),
        "gauge" => Some(MetricType::Gauge),
        "histogram" => Some(MetricType::Histogram),
        "summary" => Some(MetricType::Summary),
        "untyped" => Some(MetricType::Unknown),
        "gauge_histogram" | "gaugehistogram" => Some(MetricType::GaugeHistogram),
        _ => None,
    }
}

/// `\\` and `\n`; anything else stands for itself, a quote needs no escape.
fn unescape_help(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('n')) => {
                out.push('\n');
                chars.next();
            }
            ('\\', Some('\\')) => {
                out.push('\\');
                chars.next();
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}
