//! OpenMetrics text 1.0.0.
//!
//! Nothing here is optional white space: exactly one space between the parts, no blank
//! lines, no comments other than HELP, TYPE, UNIT and the final `# EOF`.
use std::borrow::Cow;

use crate::model::{MetricType, Sample, SampleReason};

use super::DumpError;
use super::collect::{Collector, Meta, Stop};
use super::number;
use super::scan::{Cursor, Fault, Pair, Scan, literal};
use super::text::metadata;

/// OpenMetrics 1.0.0, "Exemplars": names and values of its labels together.
const MAX_EXEMPLAR_CHARS: usize = 128;

/// A sample, and what only the strict rules look at.
struct Point<'a> {
    sample: Sample<'a>,
    value_at: usize,
    seconds: Option<f64>,
    trailing_comma: Option<usize>,
}

pub(super) fn read<'a>(body: &'a [u8], out: &mut Collector<'a, '_>) -> Result<(), Stop> {
    let (mut pairs, mut exemplar_pairs) = (Vec::new(), Vec::new());
    let mut lines = super::collect::LineReader::new(body);
    let mut ended = false;
    while let Some(line) = lines.next(out)? {
        if line.is_empty() && !out.strict {
            out.lines.blank += 1;
            continue;
        }
        if ended || line.is_empty() {
            let what = match ended {
                true => "a line after `# EOF`",
                false => "a blank line, which OpenMetrics does not allow",
            };
            out.reject(line.as_bytes(), structure(0, what))?;
            continue;
        }
        if line == "# EOF" {
            ended = true;
            out.lines.metadata += 1;
            continue;
        }
        if line.starts_with('#') {
            match meta_line(line) {
                Ok((name, meta)) => out.meta(line, name, meta)?,
                Err(fault) => out.reject(line.as_bytes(), fault)?,
            }
            continue;
        }
        match point(line, &mut pairs, &mut exemplar_pairs) {
            Ok(point) => accept(line, point, &pairs, out)?,
            Err(fault) => out.reject(line.as_bytes(), fault)?,
        }
    }
    if !ended {
        return Err(Stop::Dump(DumpError::Truncated));
    }
    Ok(())
}

fn structure(at: usize, what: &'static str) -> Fault {
    let reason = SampleReason::Structure;
    Fault { at, reason, what }
}

fn accept<'a>(line: &'a str, point: Point<'a>, pairs: &[Pair<'a>], out: &mut Collector<'a, '_>) -> Result<(), Stop> {
    if let (true, Some(at)) = (out.strict, point.trailing_comma) {
        let what = "a comma after the last label, which OpenMetrics does not allow";
        let reason = SampleReason::Syntax;
        return out.reject(line.as_bytes(), Fault { at, reason, what });
    }
    out.sample(line, point.sample, point.value_at, pairs, point.seconds)
}

fn point<'a>(line: &'a str, pairs: &mut Vec<Pair<'a>>, exemplar_pairs: &mut Vec<Pair<'a>>) -> Scan<Point<'a>> {
    let mut cursor = Cursor::new(line, false);
    let head = cursor.head(pairs)?;
    space(&mut cursor)?;
    let value_at = cursor.at;
    let tail = tail_at(cursor, exemplar_pairs)?;
    let sample = Sample {
        name: head.name,
        labels: head.labels,
        value: tail.value,
        timestamp: tail.seconds.as_ref().map(|s| s.ms),
        exemplar: tail.exemplar,
    };
    let seconds = tail.seconds.map(|s| s.exact);
    Ok(Point { sample, value_at, seconds, trailing_comma: head.trailing_comma })
}

/// What stands behind the series of a sample.
struct Tail<'a> {
    value: &'a str,
    seconds: Option<number::Seconds>,
    exemplar: Option<&'a str>,
}

/// The cursor on the value.
fn tail_at<'a>(mut cursor: Cursor<'a>, exemplar_pairs: &mut Vec<Pair<'a>>) -> Scan<Tail<'a>> {
    let at = cursor.at;
    let Some(value) = number::value(cursor.token()) else {
        let what = "expected a number as value";
        let reason = SampleReason::Value;
        return Err(Fault { at, reason, what });
    };
    let mut seconds = None;
    if cursor.peek().is_some() && !cursor.rest().starts_with(" # ") {
        space(&mut cursor)?;
        seconds = Some(seconds_of(&mut cursor)?);
    }
    let mut exemplar = None;
    if cursor.peek().is_some() {
        if !cursor.rest().starts_with(" # {") {
            return Err(cursor.syntax("expected the end of the line or an exemplar, ` # {…}`"));
        }
        cursor.at += 3;
        exemplar = Some(exemplar_of(cursor, exemplar_pairs)?);
    }
    Ok(Tail { value, seconds, exemplar })
}

/// Value, timestamp in milliseconds and exemplar of a sample whose series was read.
pub(super) fn tail(text: &str) -> Option<(&str, Option<i64>, Option<&str>)> {
    let tail = tail_at(Cursor::new(text, false), &mut Vec::new()).ok()?;
    Some((tail.value, tail.seconds.map(|s| s.ms), tail.exemplar))
}

/// Whether it may stand behind `# `, and any reader of OpenMetrics takes it.
pub(super) fn is_exemplar(text: &str) -> bool {
    let whole = text.starts_with('{') && exemplar_of(Cursor::new(text, false), &mut Vec::new()).is_ok();
    whole && !text.contains('\0')
}

fn space(cursor: &mut Cursor<'_>) -> Scan<()> {
    if cursor.peek() != Some(b' ') {
        return Err(cursor.syntax("expected one space"));
    }
    cursor.at += 1;
    Ok(())
}

fn seconds_of(cursor: &mut Cursor<'_>) -> Scan<number::Seconds> {
    let start = cursor.clone();
    number::seconds(cursor.token()).ok_or_else(|| {
        let what = "expected seconds as timestamp, a finite decimal number";
        start.fault(SampleReason::Timestamp, what)
    })
}

/// The cursor on the opening brace; the exemplar is the rest of the line.
fn exemplar_of<'a>(mut cursor: Cursor<'a>, pairs: &mut Vec<Pair<'a>>) -> Scan<&'a str> {
    let start = cursor.clone();
    let fault = |cursor: &Cursor<'_>, what| cursor.fault(SampleReason::Exemplar, what);
    let braces = cursor.braces(pairs).map_err(|f| Fault { reason: SampleReason::Exemplar, ..f })?;
    if braces.name.is_some() || braces.trailing_comma.is_some() {
        return Err(fault(&start, "an exemplar has labels only"));
    }
    let chars = |text: &str| match memchr::memchr(b'\\', text.as_bytes()) {
        None => text.chars().count(),
        Some(_) => literal(text).chars().count(),
    };
    let length: usize = pairs.iter().map(|p| chars(p.name.trim_matches('"')) + chars(&p.value)).sum();
    if length > MAX_EXEMPLAR_CHARS {
        let what = "the exemplar's labels have more than 128 characters";
        return Err(fault(&start, what));
    }
    if space(&mut cursor).is_err() || number::value(cursor.token()).is_none() {
        return Err(fault(&cursor, "expected a number as the exemplar's value"));
    }
    if cursor.peek().is_some() {
        let what = "expected the exemplar's timestamp in seconds, or the end of the line";
        if space(&mut cursor).is_err() || number::seconds(cursor.token()).is_none() || cursor.peek().is_some() {
            return Err(fault(&cursor, what));
        }
    }
    Ok(start.rest())
}

fn meta_line(line: &str) -> Scan<(Cow<'_, str>, Meta<'_>)> {
    let mut cursor = Cursor::new(line, false);
    let keyword = line.get(..7).unwrap_or_default();
    if !matches!(keyword, "# HELP " | "# TYPE " | "# UNIT ") {
        return Err(cursor.syntax("a comment, which OpenMetrics does not allow"));
    }
    cursor.at = keyword.len();
    let name = metadata(cursor.metric_name())?;
    metadata(space(&mut cursor))?;
    let rest = cursor.rest();
    match keyword {
        "# HELP " => Ok((name, Meta::Help(unescape(rest)))),
        "# UNIT " => Ok((name, Meta::Unit(rest))),
        _ => match kind(rest) {
            Some(kind) => Ok((name, Meta::Type(kind))),
            None => {
                let what = "expected counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown";
                Err(cursor.fault(SampleReason::Metadata, what))
            }
        },
    }
}

fn kind(word: &str) -> Option<MetricType> {
    match word {
        "counter" => Some(MetricType::Counter),
        "gauge" => Some(MetricType::Gauge),
        "histogram" => Some(MetricType::Histogram),
        "gaugehistogram" => Some(MetricType::GaugeHistogram),
        "summary" => Some(MetricType::Summary),
        "info" => Some(MetricType::Info),
        "stateset" => Some(MetricType::StateSet),
        "unknown" => Some(MetricType::Unknown),
        _ => None,
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    match memchr::memchr(b'\\', text.as_bytes()) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(literal(text)),
    }
}
