//! Histograms: their classic part as lines of text, their native part beside them.
use k2p_core::native::{Buckets, Native, Span};

use super::wire::{Value, Wire};
use super::{Fault, Metric, Text, exemplar, float, line};

/// Buckets or spans on one side of zero; libraries make some hundreds at most.
const MAX_BUCKETS: usize = 10_000;

/// All spans and buckets of a body: each is more in JSON than it is on the wire.
const MAX_BUCKETS_OF_BODY: usize = 400_000;

const TOO_MANY: Fault = Fault::Protobuf("a native histogram has more than 10000 buckets on one side of zero");
const CUT: Fault = Fault::Protobuf("a list of numbers ends too early");

/// A native histogram without classic buckets is shown with its count and sum, as the
/// Pushgateway's own text has it.
pub(super) fn write_histogram(out: &mut Text, name: &str, metric: &Metric<'_>, histogram: &[u8]) -> Result<(), Fault> {
    let (mut whole, mut floating, mut sum, mut infinite) = (0, 0.0, 0.0, false);
    let mut native = Native::default();
    let mut wire = Wire(histogram);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => whole = n,
            (4, Value::Fixed(bits)) => floating = f64::from_bits(bits),
            (2, Value::Fixed(bits)) => sum = f64::from_bits(bits),
            (3, Value::Bytes(bytes)) => {
                let bucket = read_bucket(bytes)?;
                infinite |= bucket.bound == f64::INFINITY;
                let at = line(out, name, "_bucket", metric, Some(("le", &float(bucket.bound))), &bucket.below)?;
                out.carry(at, bucket.exemplar);
            }
            (5..=14, value) if !out.classic => read_native(&mut native, number, &value)?,
            _ => {}
        }
    }
    let count = if floating > 0.0 { float(floating) } else { whole.to_string() };
    if !infinite {
        line(out, name, "_bucket", metric, Some(("le", "+Inf")), &count)?;
    }
    line(out, name, "_sum", metric, None, &float(sum))?;
    let at = line(out, name, "_count", metric, None, &count)?;
    if native.is_there() {
        native.check(whole, floating, sum).map_err(Fault::Protobuf)?;
        out.buckets += size(&native.negative) + size(&native.positive);
        if out.buckets > MAX_BUCKETS_OF_BODY {
            return Err(Fault::Protobuf("its native histograms have more than 400000 buckets: push less at once"));
        }
        out.carry(at, Some(native.to_text()));
    }
    Ok(())
}

fn size(buckets: &Buckets) -> usize {
    buckets.spans.len() + buckets.deltas.len() + buckets.counts.len()
}

/// A classic bucket.
struct Bucket {
    bound: f64,
    /// How many lie below it.
    below: String,
    exemplar: Option<String>,
}

fn read_bucket(bytes: &[u8]) -> Result<Bucket, Fault> {
    let mut bucket = Bucket { bound: 0.0, below: "0".to_owned(), exemplar: None };
    let mut wire = Wire(bytes);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => bucket.below = n.to_string(),
            (4, Value::Fixed(bits)) if f64::from_bits(bits) > 0.0 => bucket.below = float(f64::from_bits(bits)),
            (2, Value::Fixed(bits)) => bucket.bound = f64::from_bits(bits),
            (3, Value::Bytes(bytes)) => bucket.exemplar = exemplar::to_text(bytes)?,
            _ => {}
        }
    }
    Ok(bucket)
}

/// One of the fields 5 to 14. Lists come packed (as Prometheus writes them) or number by
/// number (as client_golang does).
fn read_native(native: &mut Native, number: u64, value: &Value<'_>) -> Result<(), Fault> {
    match (number, value) {
        (5, Value::Varint(n)) => native.schema = narrow(*n)?,
        (6, Value::Fixed(bits)) => native.zero_threshold = f64::from_bits(*bits),
        (7, Value::Varint(n)) => native.zero_count = *n,
        (8, Value::Fixed(bits)) => native.zero_count_float = f64::from_bits(*bits),
        (9..=11, value) => read_buckets(&mut native.negative, number - 9, value)?,
        (12..=14, value) => read_buckets(&mut native.positive, number - 12, value)?,
        _ => {}
    }
    Ok(())
}

fn read_buckets(buckets: &mut Buckets, list: u64, value: &Value<'_>) -> Result<(), Fault> {
    match (list, value) {
        (0, Value::Bytes(span)) => buckets.spans.push(read_span(span)?),
        (1, Value::Varint(n)) => buckets.deltas.push(zigzag(*n)),
        (1, Value::Bytes(packed)) => {
            let mut wire = Wire(packed);
            while !wire.0.is_empty() && buckets.deltas.len() <= MAX_BUCKETS {
                buckets.deltas.push(zigzag(wire.varint()?));
            }
        }
        (2, Value::Fixed(bits)) => buckets.counts.push(f64::from_bits(*bits)),
        (2, Value::Bytes(packed)) => {
            let (doubles, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(CUT);
            }
            buckets.counts.extend(doubles.iter().take(MAX_BUCKETS + 1).map(|d| f64::from_le_bytes(*d)));
        }
        _ => {}
    }
    let most = buckets.spans.len().max(buckets.deltas.len()).max(buckets.counts.len());
    if most > MAX_BUCKETS { Err(TOO_MANY) } else { Ok(()) }
}

fn read_span(bytes: &[u8]) -> Result<Span, Fault> {
    let mut span = Span { offset: 0, length: 0 };
    let mut wire = Wire(bytes);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => span.offset = narrow(n)?,
            (2, Value::Varint(n)) => span.length = u32::try_from(n).map_err(|_| TOO_MANY)?,
            _ => {}
        }
    }
    Ok(span)
}

/// `sint64`.
fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// `sint32`.
fn narrow(number: u64) -> Result<i32, Fault> {
    i32::try_from(zigzag(number)).map_err(|_| Fault::Protobuf("a number has more than 32 bits"))
}
