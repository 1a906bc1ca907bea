//! From the bytes of a dump to its stored form: no state, so that a conflator may try.
use std::borrow::Cow;

use super::config::CacheConfig;
use crate::codec::{self, Format};
use crate::compress::decompress;
use crate::labels::Labels;
use crate::model::{Parsed, Rejection, SampleReason};
use crate::parts::{Piece, join};
use crate::reason::{RecordReason, Refusal};
use crate::store::StoredDump;
use crate::store::shape::{Rules, Shapes};

/// A dump that may be shown.
pub(crate) struct Prepared {
    pub(crate) dump: StoredDump,
    pub(crate) bytes: u64,
    pub(crate) format: Format,
    pub(crate) rejected: Vec<(SampleReason, u64)>,
    pub(crate) rejections: Vec<Rejection>,
    /// See [`Slot`](super::Slot).
    pub(super) entitled: u64,
}

/// Decompresses, reads and stores a dump. `last` is the origin's dump before it, whose
/// shape it may have; without `shapes` every dump is parsed and stored plainly.
pub(crate) fn read(
    config: &CacheConfig,
    shapes: Option<&Shapes>,
    last: Option<&StoredDump>,
    labels: &Labels,
    content_type: Option<&str>,
    pieces: &[Piece<'_>],
) -> Result<Prepared, Refusal> {
    check_labels(config, labels)?;
    let body = body(config.dump_bytes(), pieces)?;
    let format = codec::detect(content_type, &body, config.format)?;
    let bytes = body.len() as u64;
    let options = config.parse_options();
    let rules = Rules { format, options: &options, labels, honor_labels: config.honor_labels, fixed: &config.fixed };
    let Some(shapes) = shapes else {
        let parsed = codec::parse(format, &body, &options)?;
        let dump = StoredDump::build(&parsed, labels, config.honor_labels, &config.fixed);
        return Ok(prepared(dump, bytes, format, parsed));
    };
    if let Some(dump) = shapes.take(&rules, &body, last).or_else(|| shapes.store_variable(&rules, &body)) {
        return Ok(Prepared { dump, bytes, format, rejected: Vec::new(), rejections: Vec::new(), entitled: 0 });
    }
    let (parsed, trace) = codec::parse_traced(format, &body, &options)?;
    let dump = trace.and_then(|trace| shapes.store(&rules, &body, &parsed, &trace));
    let dump = dump.unwrap_or_else(|| StoredDump::build(&parsed, labels, config.honor_labels, &config.fixed));
    Ok(prepared(dump, bytes, format, parsed))
}

fn prepared(dump: StoredDump, bytes: u64, format: Format, parsed: Parsed<'_>) -> Prepared {
    Prepared { dump, bytes, format, rejected: parsed.rejected, rejections: parsed.rejections, entitled: 0 }
}

fn body<'a>(limit: usize, pieces: &[Piece<'a>]) -> Result<Cow<'a, [u8]>, Refusal> {
    if let [only] = pieces {
        return Ok(decompress(only.encoding, only.body, limit)?);
    }
    let mut whole = Vec::new();
    for piece in pieces {
        let left = limit.saturating_sub(whole.len());
        join(&mut whole, &decompress(piece.encoding, piece.body, left)?);
    }
    Ok(Cow::Owned(whole))
}

/// An origin's labels keep the same limits as a body's.
fn check_labels(config: &CacheConfig, labels: &Labels) -> Result<(), Refusal> {
    let limits = &config.limits;
    for (name, value) in labels.iter() {
        let (what, bytes, limit) = if name.len() > limits.label_name_bytes {
            ("name", name.len(), limits.label_name_bytes)
        } else if value.len() > limits.label_value_bytes {
            ("value", value.len(), limits.label_value_bytes)
        } else {
            continue;
        };
        let detail = format!(
            "a label {what} in the record's key has {bytes} bytes, at most {limit} are allowed: shorten it, or raise the topic's limit"
        );
        return Err(Refusal::new(RecordReason::LabelTooLong, detail));
    }
    Ok(())
}
