//! Makes the record values of one dump: compressed, and cut where one record would
//! be larger than Kafka takes.
use crate::cut;

/// zstd's fast end: on dumps it is within a few per cent of level 3 in size.
const LEVEL: i32 = 1;
/// Parts are aimed a little below the limit: families compress unevenly.
const AIM: f64 = 0.9;

/// What can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Prometheus text: lines.
    Text,
    /// Lines, with `# EOF` at the end.
    OpenMetrics,
    /// Anything else is shipped whole or not at all.
    Opaque,
}

impl Shape {
    /// What a content type says, or without one the dump's end.
    pub(crate) fn of(content_type: Option<&str>, dump: &[u8]) -> Shape {
        let media = content_type.map(|t| t.split(';').next().unwrap_or(t).trim());
        match media.map(str::to_ascii_lowercase).as_deref() {
            Some("application/openmetrics-text") => Shape::OpenMetrics,
            Some("text/plain") => Shape::Text,
            Some(_) => Shape::Opaque,
            None if cut::ends_with_eof(dump) => Shape::OpenMetrics,
            None => Shape::Text,
        }
    }
}

/// Why a dump makes no records.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PackError {
    /// Cutting by family was not enough, or is not possible.
    #[error("{what} has {bytes} bytes compressed, a record may have {limit}")]
    TooLarge { what: String, bytes: usize, limit: usize },
    /// The compressor failed (out of memory).
    #[error("zstd: {0}")]
    Zstd(String),
}

/// The zstd-compressed values of a dump, in order: one, or several parts of at most
/// `limit` bytes each. Never an empty value, which would delete the origin.
pub(crate) fn pack(dump: &[u8], shape: Shape, limit: usize) -> Result<Vec<Vec<u8>>, PackError> {
    let whole = compress(dump)?;
    if whole.len() <= limit {
        return Ok(vec![whole]);
    }
    if shape == Shape::Opaque {
        let what = "a dump of a format that cannot be cut".to_owned();
        let bytes = whole.len();
        return Err(PackError::TooLarge { what, bytes, limit });
    }
    let pieces = cut::pieces(dump);
    let aim = dump.len() as f64 * AIM * limit as f64 / whole.len() as f64;
    let mut out = Vec::new();
    for group in cut::groups(&pieces, aim as usize) {
        pack_group(dump, group, shape, limit, &mut out)?;
    }
    Ok(out)
}

/// Halves a group until its parts fit.
fn pack_group(
    dump: &[u8],
    group: &[cut::Piece],
    shape: Shape,
    limit: usize,
    out: &mut Vec<Vec<u8>>,
) -> Result<(), PackError> {
    let part = compress(&cut::assemble(dump, group, shape == Shape::OpenMetrics))?;
    if part.len() <= limit {
        out.push(part);
        return Ok(());
    }
    if let [piece] = group {
        let what = format!("the family of the line {:?}", cut::describe(dump, piece));
        let bytes = part.len();
        return Err(PackError::TooLarge { what, bytes, limit });
    }
    let (left, right) = group.split_at(group.len() / 2);
    pack_group(dump, left, shape, limit, out)?;
    pack_group(dump, right, shape, limit, out)
}

fn compress(body: &[u8]) -> Result<Vec<u8>, PackError> {
    zstd::bulk::compress(body, LEVEL).map_err(|e| PackError::Zstd(e.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Families of numbers that no compressor shortens much.
    fn dump(families: usize, series: usize) -> String {
        let mut out = String::new();
        let mut x: u64 = 88_172_645_463_325_252;
        for family in 0..families {
            out.push_str(&format!("# TYPE f{family} gauge\n"));
            for i in 0..series {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                out.push_str(&format!("f{family}{{i=\"{i}\"}} {x}\n"));
            }
        }
        out
    }

    fn open(parts: &[Vec<u8>]) -> Vec<String> {
        let text = |p: &Vec<u8>| String::from_utf8(zstd::decode_all(p.as_slice()).unwrap());
        parts.iter().map(|p| text(p).unwrap()).collect()
    }

    #[test]
    fn a_small_dump_is_one_value_as_it_came() {
        for text in ["", "a 1\n", "a 1\n# EOF\n"] {
            let parts = pack(text.as_bytes(), Shape::Text, 100).unwrap();
            assert!(!parts[0].is_empty());
            assert_eq!(open(&parts), [text]);
        }
    }

    #[test]
    fn a_large_dump_is_cut_and_nothing_is_lost() {
        let text = dump(60, 40);
        let parts = pack(text.as_bytes(), Shape::Text, 4000).unwrap();
        assert!(parts.len() > 3, "{} parts", parts.len());
        assert!(parts.iter().all(|p| p.len() <= 4000));
        assert_eq!(open(&parts).concat(), text);
        let text = text + "# EOF\n";
        let parts = open(&pack(text.as_bytes(), Shape::OpenMetrics, 4000).unwrap());
        assert!(parts.len() > 3 && parts.iter().all(|p| cut::ends_with_eof(p.as_bytes())));
        let joined = parts.concat().replace("# EOF\n", "");
        assert_eq!(joined + "# EOF\n", text);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_by_name() {
        let text = dump(2, 400);
        let error = pack(text.as_bytes(), Shape::Text, 1000).unwrap_err();
        assert!(error.to_string().contains("# TYPE f0 gauge"), "{error}");
        let error = pack(text.as_bytes(), Shape::Opaque, 1000).unwrap_err();
        assert!(error.to_string().contains("cannot be cut"), "{error}");
    }

    #[test]
    fn the_shape_follows_the_content_type() {
        let cases = [
            (Some("text/plain; version=0.0.4"), "", Shape::Text),
            (Some("Text/Plain"), "a 1\n# EOF\n", Shape::Text),
            (Some("application/openmetrics-text;version=1.0.0"), "", Shape::OpenMetrics),
            (Some("application/vnd.google.protobuf"), "", Shape::Opaque),
            (None, "a 1\n# EOF\n", Shape::OpenMetrics),
            (None, "a 1\n", Shape::Text),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(Shape::of(content_type, body.as_bytes()), expected, "{content_type:?}");
        }
    }
}
