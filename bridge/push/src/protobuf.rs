//! Delimited `io.prometheus.client.MetricFamily` as text 0.0.4, so that one reader checks
//! all formats.
//!
//! Read field by field from the wire and written at once: what a small body can blow up in
//! memory is the text, and that has a bound. Exemplars, creation times and the native part
//! of histograms have no place in the text: they are left out (a native histogram without
//! classic buckets keeps its count and sum, as the Pushgateway's own text shows it).
use std::fmt::Write;

use k2p_core::labels::{escape_value, is_legacy_metric_name, push_label};

use crate::body::{BodyError, MAX_PLAIN};

type Fault = BodyError;

const SHORT: Fault = BodyError::Protobuf("it ends too early");

/// The text of a body.
pub(crate) fn to_text(body: &[u8]) -> Result<String, Fault> {
    let mut out = String::new();
    let mut wire = Wire(body);
    while !wire.0.is_empty() {
        let family = wire.bytes()?;
        write_family(&mut out, family)?;
    }
    Ok(out)
}

/// The bytes of a message, field by field.
struct Wire<'a>(&'a [u8]);

enum Value<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    /// Of 32 bits: no field here has it.
    Other,
}

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(SHORT)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BodyError::Protobuf("a number has more than ten bytes"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(SHORT)?;
                self.0 = rest;
                Value::Fixed(u64::from_le_bytes(*bytes))
            }
            2 => Value::Bytes(self.bytes()?),
            5 => {
                self.0 = self.0.get(4..).ok_or(SHORT)?;
                Value::Other
            }
            _ => return Err(BodyError::Protobuf("a field has an unknown wire type")),
        };
        Ok(Some((tag >> 3, value)))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| BodyError::Protobuf("a text is not UTF-8"))
}

/// A family without its metrics.
#[derive(Default)]
struct Head<'a> {
    name: &'a str,
    help: Option<&'a str>,
    kind: u64,
}

/// The text of one family, its message without the length before it.
pub(crate) fn write_family(out: &mut String, family: &[u8]) -> Result<(), Fault> {
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
    write_head(out, &head);
    let mut wire = Wire(family);
    while let Some((number, value)) = wire.field()? {
        if let (4, Value::Bytes(metric)) = (number, value) {
            write_metric(out, &head, metric)?;
        }
        if out.len() > MAX_PLAIN {
            return Err(BodyError::TooLarge);
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

fn write_metric(out: &mut String, head: &Head<'_>, metric: &[u8]) -> Result<(), Fault> {
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
            let mut number = 0.0;
            let mut wire = Wire(value);
            while let Some((field, value)) = wire.field()? {
                if let (1, Value::Fixed(bits)) = (field, value) {
                    number = f64::from_bits(bits);
                }
            }
            line(out, head.name, "", &found, None, &float(number));
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

fn write_summary(out: &mut String, name: &str, metric: &Metric<'_>, summary: &[u8]) -> Result<(), Fault> {
    let (mut count, mut sum) = (0, 0.0);
    let mut wire = Wire(summary);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => count = n,
            (2, Value::Fixed(bits)) => sum = f64::from_bits(bits),
            (3, Value::Bytes(quantile)) => {
                let (rank, value) = two_doubles(quantile)?;
                line(out, name, "", metric, Some(("quantile", &float(rank))), &float(value));
            }
            _ => {}
        }
    }
    line(out, name, "_sum", metric, None, &float(sum));
    line(out, name, "_count", metric, None, &count.to_string());
    Ok(())
}

fn two_doubles(bytes: &[u8]) -> Result<(f64, f64), Fault> {
    let (mut one, mut two) = (0.0, 0.0);
    let mut wire = Wire(bytes);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Fixed(bits)) => one = f64::from_bits(bits),
            (2, Value::Fixed(bits)) => two = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((one, two))
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric<'_>, histogram: &[u8]) -> Result<(), Fault> {
    let (mut count, mut sum, mut infinite) = ("0".to_owned(), 0.0, false);
    let mut wire = Wire(histogram);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => count = n.to_string(),
            (4, Value::Fixed(bits)) if f64::from_bits(bits) > 0.0 => count = float(f64::from_bits(bits)),
            (2, Value::Fixed(bits)) => sum = f64::from_bits(bits),
            (3, Value::Bytes(bucket)) => {
                let (bound, below) = read_bucket(bucket)?;
                infinite |= bound == f64::INFINITY;
                line(out, name, "_bucket", metric, Some(("le", &float(bound))), &below);
            }
            _ => {}
        }
    }
    if !infinite {
        line(out, name, "_bucket", metric, Some(("le", "+Inf")), &count);
    }
    line(out, name, "_sum", metric, None, &float(sum));
    line(out, name, "_count", metric, None, &count);
    Ok(())
}

/// Its upper bound, and how many lie below.
fn read_bucket(bucket: &[u8]) -> Result<(f64, String), Fault> {
    let (mut bound, mut below) = (0.0, "0".to_owned());
    let mut wire = Wire(bucket);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => below = n.to_string(),
            (4, Value::Fixed(bits)) if f64::from_bits(bits) > 0.0 => below = float(f64::from_bits(bits)),
            (2, Value::Fixed(bits)) => bound = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((bound, below))
}

fn line(out: &mut String, name: &str, suffix: &str, metric: &Metric<'_>, extra: Option<(&str, &str)>, value: &str) {
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
    let _written = write!(out, " {value}");
    if let Some(ms) = metric.timestamp {
        let _written = write!(out, " {}", ms.cast_signed());
    }
    out.push('\n');
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
