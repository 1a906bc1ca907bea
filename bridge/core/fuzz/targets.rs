//! What must hold of any bytes. Shared by the fuzzers and by `tests/fuzz_bounded.rs`; each
//! function panics where it does not hold.
#![allow(dead_code, clippy::unwrap_used, reason = "a fuzzer uses one of them, and panics are its findings")]
use std::sync::Arc;

use k2p_core::cache::{CacheConfig, Now, Outcome, PartitionCache};
use k2p_core::codec::{self, ParseOptions};
use k2p_core::compress::{Encoding, compress, decompress};
use k2p_core::decode::normalized;
use k2p_core::envelope::RawRecord;
use k2p_core::exposition::{Format, to_bytes};
use k2p_core::merge::Sources;

/// What separates the records of a sequence.
const NEXT: u8 = 0xff;
const FORMATS: [Format; 4] = [
    Format::Text004,
    Format::Text100 { utf8: true },
    Format::OpenMetrics100 { utf8: false },
    Format::OpenMetrics100 { utf8: true },
];

/// Text: what strict reading accepts, lenient reading accepts whole; what was accepted,
/// written as text, is accepted again and means the same.
pub(crate) fn text(data: &[u8]) {
    codec_laws(codec::Format::Text, data);
}

/// The same of OpenMetrics.
pub(crate) fn openmetrics(data: &[u8]) {
    codec_laws(codec::Format::OpenMetrics, data);
}

fn codec_laws(format: codec::Format, data: &[u8]) {
    let options = ParseOptions { max_series: 1000, ..ParseOptions::default() };
    let strict = codec::parse_strict(format, data, &options);
    let Ok((parsed, lines)) = codec::parse_counted(format, data, &options) else {
        assert!(strict.is_err(), "strict takes what lenient refuses");
        return;
    };
    assert_eq!(parsed.rejected_total(), lines.rejected);
    if let Ok(strict) = strict {
        assert_eq!(strict, parsed);
        assert_eq!(lines.rejected, 0);
    }
    let written = normalized(&parsed);
    let again = codec::parse(codec::Format::Text, written.as_bytes(), &options).unwrap();
    assert_eq!(again.rejected_total(), 0, "{written}");
    assert_eq!(again.series(), parsed.series());
}

/// Any sequence of records through the shapes shows what the plain path shows.
pub(crate) fn shape_delta(data: &[u8]) {
    let mut fast = cache();
    let mut plain = cache().without_shapes();
    for (offset, dump) in data.split(|b| *b == NEXT).take(12).enumerate() {
        let key = format!("i=\"{}\"", offset % 2);
        assert_eq!(apply(&mut fast, &key, dump, offset), apply(&mut plain, &key, dump, offset));
    }
    for format in FORMATS {
        let write = |cache: &PartitionCache| to_bytes(&Sources::collect(None, &[cache.view()], None), format).0;
        let (fast, plain) = (write(&fast), write(&plain));
        assert_eq!(String::from_utf8_lossy(&fast), String::from_utf8_lossy(&plain), "{format:?}");
    }
}

/// What is written is valid, strictly, and written again it is the same.
pub(crate) fn exposition(data: &[u8]) {
    for format in FORMATS {
        let mut cache = cache();
        if !apply(&mut cache, "", data, 0).starts_with("accepted") {
            return;
        }
        let (first, summary) = to_bytes(&Sources::collect(None, &[cache.view()], None), format);
        let read_as = if format.is_openmetrics() { codec::Format::OpenMetrics } else { codec::Format::Text };
        let parsed = codec::parse_strict(read_as, &first, &ParseOptions::default());
        let parsed = parsed.unwrap_or_else(|e| panic!("{format:?}: {e:?}\n{}", String::from_utf8_lossy(&first)));
        assert_eq!(parsed.series() as u64, summary.samples);
    }
}

/// No stream makes more bytes than the limit; what was compressed comes back.
pub(crate) fn decompress_any(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Snappy] {
        if let Ok(body) = decompress(encoding, data, LIMIT) {
            assert!(body.len() <= LIMIT);
        }
        let packed = compress(encoding, data).unwrap();
        assert_eq!(&*decompress(encoding, &packed, LIMIT.max(data.len())).unwrap(), data);
    }
}

fn cache() -> PartitionCache {
    let mut cache = PartitionCache::new(Arc::from("t"), 0, 0, CacheConfig::default());
    cache.set_live(true);
    cache
}

/// What became of a record, in words.
fn apply(cache: &mut PartitionCache, key: &str, dump: &[u8], offset: usize) -> String {
    let time = 1_700_000_000_000 + offset as i64;
    let record = RawRecord {
        key: Some(key.as_bytes()),
        value: Some(dump),
        headers: &[],
        timestamp: Some(time),
        offset: offset as i64,
    };
    let applied = cache.apply(&record, Now { unix: time, mono: 1000 + offset as i64 });
    match applied.outcome {
        Outcome::Accepted(a) => format!("accepted {} {:?} {:?} {}", a.series, a.rejected, a.rejections, a.duplicates),
        other => format!("{other:?}"),
    }
}
