//! Every encoding: what comes out, and that limits, cuts and garbage end in the right
//! refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;

use k2p_core::compress::{DecompressError, Encoding, compress, decompress, decompress_measured};
use k2p_core::reason::{RecordReason, Refusal};
use proptest::prelude::*;

const DUMP: &[u8] = include_bytes!("dumps/node.01.txt");

const ALL: [Encoding; 4] = [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Snappy];

fn framed(body: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(body).unwrap();
    encoder.into_inner().unwrap()
}

fn reason(result: Result<impl Sized, DecompressError>) -> RecordReason {
    Refusal::from(result.err().unwrap()).reason
}

#[test]
fn what_went_in_comes_out() {
    for encoding in ALL {
        let packed = compress(encoding, DUMP).unwrap();
        assert_eq!(decompress(encoding, &packed, DUMP.len()).unwrap(), DUMP);
        assert!(encoding == Encoding::Identity || packed.len() < DUMP.len());
    }
    let packed = framed(DUMP);
    assert_eq!(decompress(Encoding::Snappy, &packed, DUMP.len()).unwrap(), DUMP);
}

#[test]
fn several_members_and_frames_are_one_body() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let mut packed = compress(encoding, b"a 1\n").unwrap();
        packed.extend(compress(encoding, b"").unwrap());
        packed.extend(compress(encoding, b"b 2\n").unwrap());
        assert_eq!(&*decompress(encoding, &packed, 8).unwrap(), b"a 1\nb 2\n");
        assert_eq!(reason(decompress(encoding, &packed, 7)), RecordReason::TooLarge);
    }
}

#[test]
fn the_limit_is_exact() {
    let mut all: Vec<_> = ALL.map(|e| (e, compress(e, DUMP).unwrap())).into();
    all.push((Encoding::Snappy, framed(DUMP)));
    for (encoding, packed) in all {
        assert!(decompress(encoding, &packed, DUMP.len()).is_ok());
        assert_eq!(decompress_measured(encoding, &packed, DUMP.len()).as_deref(), Ok(DUMP));
        assert_eq!(
            reason(decompress_measured(encoding, &packed, DUMP.len() - 1)),
            RecordReason::TooLarge,
            "{encoding:?}"
        );
        let over = decompress(encoding, &packed, DUMP.len() - 1);
        assert_eq!(reason(over), RecordReason::TooLarge, "{encoding:?}");
        assert_eq!(reason(decompress(encoding, &packed, 0)), RecordReason::TooLarge);
    }
}

#[test]
fn a_bomb_costs_its_limit_only() {
    let zeros = vec![0u8; 64 << 20];
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let packed = compress(encoding, &zeros).unwrap();
        assert!(packed.len() < 1 << 20);
        assert_eq!(reason(decompress(encoding, &packed, 1 << 20)), RecordReason::TooLarge);
    }
    // A raw block that declares 4 GiB, and one that declares what its bytes cannot hold.
    let huge = decompress(Encoding::Snappy, b"\xff\xff\xff\xff\x0f\x00a", 1 << 20);
    assert_eq!(reason(huge), RecordReason::TooLarge);
    let lie = decompress(Encoding::Snappy, b"\x80\x80\x40\x00a", 1 << 20);
    assert_eq!(reason(lie), RecordReason::Truncated);
}

#[test]
fn every_cut_is_seen() {
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Snappy] {
        let packed = compress(encoding, DUMP).unwrap();
        for cut in [1, 2, 3, 5, 9, 17, packed.len() / 2, packed.len() - 1] {
            let outcome = decompress(encoding, &packed[..cut], DUMP.len());
            assert_eq!(reason(outcome), RecordReason::Truncated, "{encoding:?} at {cut}");
        }
        assert_eq!(reason(decompress(encoding, b"", 10)), RecordReason::Truncated);
    }
    let packed = framed(DUMP);
    let outcome = decompress(Encoding::Snappy, &packed[..packed.len() - 1], DUMP.len());
    assert_eq!(reason(outcome), RecordReason::Truncated);
}

#[test]
fn garbage_is_named() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let outcome = decompress(encoding, b"# TYPE a counter\na 1\n", 1 << 20);
        assert_eq!(reason(outcome), RecordReason::BadEncoding, "{encoding:?}");
        let mut packed = compress(encoding, DUMP).unwrap();
        packed.extend(b"trailing garbage");
        assert_eq!(reason(decompress(encoding, &packed, 1 << 20)), RecordReason::BadEncoding);
        let mut packed = compress(encoding, DUMP).unwrap();
        let middle = packed.len() / 2;
        packed[middle..middle + 8].copy_from_slice(b"\xff\x00\xff\x00\xff\x00\xff\x00");
        assert!(
            decompress(encoding, &packed, 1 << 20).is_err_and(|e| e != (DecompressError::TooLarge { limit: 1 << 20 }))
        );
    }
    let message = decompress(Encoding::Gzip, b"# TYPE a counter", 99).unwrap_err().to_string();
    assert_eq!(message, "the body is no valid gzip: invalid gzip header");
    let packed = compress(Encoding::Zstd, DUMP).unwrap();
    let message = decompress(Encoding::Zstd, &packed[..40], 1 << 20);
    assert_eq!(
        message.unwrap_err().to_string(),
        "the zstd stream ends too early: the record was cut off before it was produced"
    );
}

#[test]
fn a_window_beyond_the_limit_is_refused() {
    // A frame header that asks for a window of 2 GiB (RFC 8878 §3.1.1.1.2), and a block.
    let frame = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
    assert_eq!(reason(decompress(Encoding::Zstd, frame, 1 << 20)), RecordReason::BadEncoding);
}

#[test]
fn headers_and_magic() {
    for (text, encoding) in [
        ("gzip", Some(Encoding::Gzip)),
        (" GZIP ", Some(Encoding::Gzip)),
        ("x-gzip", Some(Encoding::Gzip)),
        ("zstd", Some(Encoding::Zstd)),
        ("snappy", Some(Encoding::Snappy)),
        ("identity", Some(Encoding::Identity)),
        ("", Some(Encoding::Identity)),
        ("br", None),
        ("gzip, zstd", None),
    ] {
        assert_eq!(Encoding::from_header(text), encoding, "{text}");
    }
    for encoding in ALL {
        assert_eq!(Encoding::from_header(encoding.as_str()), Some(encoding));
    }
    assert_eq!(Encoding::by_magic(&compress(Encoding::Gzip, DUMP).unwrap()), Some(Encoding::Gzip));
    assert_eq!(Encoding::by_magic(&compress(Encoding::Zstd, DUMP).unwrap()), Some(Encoding::Zstd));
    assert_eq!(Encoding::by_magic(&framed(DUMP)), Some(Encoding::Snappy));
    assert_eq!(Encoding::by_magic(DUMP), None);
}

proptest! {
    #[test]
    fn any_body_survives(body in proptest::collection::vec(any::<u8>(), 1..2000)) {
        for encoding in ALL {
            let packed = compress(encoding, &body).unwrap();
            prop_assert_eq!(&*decompress(encoding, &packed, body.len()).unwrap(), &body[..]);
        }
    }

    #[test]
    fn any_bytes_end_within_the_limit(body in proptest::collection::vec(any::<u8>(), 0..300), limit in 0usize..2000) {
        for encoding in ALL {
            if let Ok(out) = decompress(encoding, &body, limit) {
                prop_assert!(out.len() <= limit);
            }
        }
    }

    #[test]
    fn damaged_streams_end_within_the_limit(at in any::<prop::sample::Index>(), byte in any::<u8>(), limit in 0usize..100_000) {
        for encoding in ALL {
            let mut packed = compress(encoding, DUMP).unwrap();
            let at = at.index(packed.len());
            packed[at] = byte;
            if let Ok(out) = decompress(encoding, &packed, limit) {
                prop_assert!(out.len() <= limit);
            }
        }
    }
}
