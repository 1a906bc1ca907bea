//! `io.prometheus.client.Exemplar` as OpenMetrics writes it.
use std::fmt::Write;

use k2p_core::codec::is_exemplar;

use super::wire::{Value, Wire};
use super::{Fault, float, push_pair};

/// `{trace_id="x"} 0.5 1600000000.123`; `None`: it is none in OpenMetrics, whose exposition it
/// would break (too long, a label twice, a name that is none).
pub(super) fn to_text(bytes: &[u8]) -> Result<Option<String>, Fault> {
    let (mut labels, mut value, mut time) = (String::new(), 0.0, None);
    let mut wire = Wire(bytes);
    while let Some((number, field)) = wire.field()? {
        match (number, field) {
            (1, Value::Bytes(pair)) => push_pair(&mut labels, pair)?,
            (2, Value::Fixed(bits)) => value = f64::from_bits(bits),
            (3, Value::Bytes(moment)) => time = seconds(moment)?,
            _ => {}
        }
    }
    let mut out = format!("{{{labels}}} {}", float(value));
    if let Some((seconds, nanos)) = time {
        let _written = write!(out, " {seconds}.{nanos:09}");
    }
    Ok(is_exemplar(&out).then_some(out))
}

/// `google.protobuf.Timestamp`; `None` before 1970.
fn seconds(bytes: &[u8]) -> Result<Option<(u64, u64)>, Fault> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut wire = Wire(bytes);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (1, Value::Varint(n)) => seconds = n,
            (2, Value::Varint(n)) => nanos = n,
            _ => {}
        }
    }
    Ok((seconds.cast_signed() >= 0 && nanos < 1_000_000_000).then_some((seconds, nanos)))
}
