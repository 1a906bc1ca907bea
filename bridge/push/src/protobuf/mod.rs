//! Delimited `io.prometheus.client.MetricFamily` as text 0.0.4, so that one reader checks
//! all formats.
//!
//! Read field by field from the wire and written at once: what a small body can blow up in
//! memory is the text, and that has a bound. What has no place in the text rides beside it:
//! exemplars, and the native part of histograms ([`k2p_core::native`]). Creation times are
//! left out.
mod exemplar;
mod histogram;
mod wire;

use std::fmt::Write;

use k2p_core::labels::{escape_value, is_legacy_metric_name, push_label};
use k2p_core::model::Parsed;

use crate::body::{BodyError, MAX_PLAIN};
use histogram::write_histogram;
use wire::{Value, Wire, two_doubles, utf8};

type Fault = BodyError;

/// A body as text, and what rides beside it.
#[derive(Default)]
pub(crate) struct Text {
    /// Text 0.0.4.
    pub(crate) text: String,
    /// Where in the text a value begins, and what stands in its sample where an exemplar
    /// would; sorted.
    carried: Vec<(usize, String)>,
    carried_bytes: usize,
    /// Spans and buckets of native histograms so far.
    buckets: usize,
    /// Native histograms are not looked at.
    classic: bool,
}

impl Text {
    /// For a place that holds text only.
    pub(crate) fn classic() -> Text {
        Text { classic: true, ..Text::default() }
    }

    fn carry(&mut self, at: usize, what: Option<String>) {
        if let Some(what) = what {
            self.carried_bytes += what.len();
            self.carried.push((at, what));
        }
    }

    /// Gives it to the samples that were read from the text.
    pub(crate) fn hand_over<'a>(&'a self, parsed: &mut Parsed<'a>) {
        if self.carried.is_empty() {
            return;
        }
        let begin = self.text.as_ptr().addr();
        for sample in parsed.families.iter_mut().flat_map(|family| &mut family.samples) {
            // A value is a part of the text, never a copy.
            let at = sample.value.as_ptr().addr().wrapping_sub(begin);
            if let Ok(found) = self.carried.binary_search_by_key(&at, |(at, _)| *at) {
                sample.exemplar = Some(&self.carried[found].1);
            }
        }
    }
}

/// A body as text.
pub(crate) fn to_text(body: &[u8]) -> Result<Text, Fault> {
    let mut out = Text::default();
    let mut wire = Wire(body);
    while !wire.0.is_empty() {
        let family = wire.bytes()?;
        write_family(&mut out, family)?;
    }
    Ok(out)
}

/// A family without its metrics.
#[derive(Default)]
struct Head<'a> {
    name: &'a str,
    help: Option<&'a str>,
    kind: u64,
}

/// The text of one family, its message without the length before it.
pub(crate) fn write_family(out: &mut Text, family: &[u8]) -> Result<(), Fault> {
    // Fields may come in any order: name and type first.
    let mut head = Head::default();
    let mut wire = Wire(family);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => head.name = utf8(bytes)?,
            (2, Value::Bytes(bytes)) => head.help = Some(utf8(bytes)?),
            (3, Value::Varint(kind)) => head.kind = kind,
            _ => {}
        }
    }
    if head.name.is_empty() {
        return Err(BodyError::Protobuf("a family has no name"));
    }
    write_head(&mut out.text, &head);
    let mut wire = Wire(family);
    while let Some((number, value)) = wire.field()? {
        if let (4, Value::Bytes(metric)) = (number, value) {
            write_metric(out, &head, metric)?;
        }
    }
    Ok(())
}

fn write_head(out: &mut String, head: &Head<'_>) {
    let name = match is_legacy_metric_name(head.name) {
        true => head.name.to_owned(),
        false => format!("\"{}\"", escape_value(head.name)),
    };
    let kind = match head.kind {
        0 => "counter",
        1 => "gauge",
        2 => "summary",
        4 | 5 => "histogram",
        _ => "untyped",
    };
    if let Some(help) = head.help {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _written = writeln!(out, "# HELP {name} {help}");
    }
    let _written = writeln!(out, "# TYPE {name} {kind}");
}

/// What a metric holds, of whatever type.
#[derive(Default)]
struct Metric<'a> {
    labels: String,
    value: Option<&'a [u8]>,
    timestamp: Option<u64>,
}

fn write_metric(out: &mut Text, head: &Head<'_>, metric: &[u8]) -> Result<(), Fault> {
    let wanted = match head.kind {
        0 => 3,
        1 => 2,
        2 => 4,
        4 | 5 => 7,
        _ => 5,
    };
    let mut found = Metric::default();
    let mut wire = Wire(metric);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Bytes(label)) => push_pair(&mut found.labels, label)?,
            (6, Value::Varint(ms)) => found.timestamp = Some(ms),
            (n, Value::Bytes(bytes)) if n == wanted => found.value = Some(bytes),
            _ => {}
        }
    }
    let Some(value) = found.value else {
        return Err(BodyError::Protobuf("a metric holds no value of its family's type"));
    };
    match wanted {
        4 => write_summary(out, head.name, &found, value),
        7 => write_histogram(out, head.name, &found, value),
        _ => {
            let (mut number, mut carried) = (0.0, None);
            let mut wire = Wire(value);
            while let Some((field, value)) = wire.field()? {
                match (field, value) {
                    (1, Value::Fixed(bits)) => number = f64::from_bits(bits),
                    (2, Value::Bytes(bytes)) if wanted == 3 => carried = exemplar::to_text(bytes)?,
                    _ => {}
                }
            }
            let at = line(out, head.name, "", &found, None, &float(number))?;
            out.carry(at, carried);
            Ok(())
        }
    }
}

fn push_pair(labels: &mut String, label: &[u8]) -> Result<(), Fault> {
    let (mut name, mut text) = ("", "");
    let mut wire = Wire(label);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = utf8(bytes)?,
            (2, Value::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    if !labels.is_empty() {
        labels.push(',');
    }
    push_label(labels, name, text);
    Ok(())
}

fn write_summary(out: &mut Text, name: &str, metric: &Metric<'_>, summary: &[u8]) -> Result<(), Fault> {
    let (mut count, mut sum) = (0, 0.0);
    let mut wire = Wire(summary);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => count = n,
            (2, Value::Fixed(bits)) => sum = f64::from_bits(bits),
            (3, Value::Bytes(quantile)) => {
                let (rank, value) = two_doubles(quantile)?;
                line(out, name, "", metric, Some(("quantile", &float(rank))), &float(value))?;
            }
            _ => {}
        }
    }
    line(out, name, "_sum", metric, None, &float(sum))?;
    line(out, name, "_count", metric, None, &count.to_string())?;
    Ok(())
}

/// Appends a sample; where its value begins.
fn line(
    out: &mut Text,
    name: &str,
    suffix: &str,
    metric: &Metric<'_>,
    extra: Option<(&str, &str)>,
    value: &str,
) -> Result<usize, Fault> {
    if out.text.len() + out.carried_bytes > MAX_PLAIN {
        return Err(BodyError::TooLarge);
    }
    let out = &mut out.text;
    let legacy = is_legacy_metric_name(name);
    let mut labels = String::new();
    if legacy {
        out.push_str(name);
        out.push_str(suffix);
    } else {
        let _written = write!(labels, "\"{}{suffix}\"", escape_value(name));
    }
    if !metric.labels.is_empty() {
        labels.push_str(if labels.is_empty() { "" } else { "," });
        labels.push_str(&metric.labels);
    }
    if let Some((label, text)) = extra {
        labels.push_str(if labels.is_empty() { "" } else { "," });
        push_label(&mut labels, label, text);
    }
    if !labels.is_empty() {
        let _written = write!(out, "{{{labels}}}");
    }
    out.push(' ');
    let at = out.len();
    out.push_str(value);
    if let Some(ms) = metric.timestamp {
        let _written = write!(out, " {}", ms.cast_signed());
    }
    out.push('\n');
    Ok(at)
}

/// The shortest text that is this number.
fn float(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else if number == 0.0 || (1e-5..1e21).contains(&size) {
        format!("{number}")
    } else {
        format!("{number:e}")
    }
}
