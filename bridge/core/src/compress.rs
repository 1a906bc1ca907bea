//! The `content-encoding` of a record: decompressed under a limit that is checked
//! while decompressing, so that a small record cannot become a large memory.
use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;

use crate::reason::{RecordReason, Refusal};

/// How the body of a record is compressed, beside Kafka's own batch compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// Snappy's raw block format, or its framing format (told apart by the magic).
    Snappy,
}

impl Encoding {
    /// The encoding that a header names, case-insensitively; `None` if unknown.
    pub fn from_header(text: &str) -> Option<Encoding> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "zstd" => Some(Encoding::Zstd),
            "snappy" | "x-snappy-framed" => Some(Encoding::Snappy),
            _ => None,
        }
    }

    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Snappy => "snappy",
        }
    }

    /// The encoding whose magic a body begins with: for the hint that a header is
    /// missing, never for reading it. Raw snappy has none.
    pub fn by_magic(body: &[u8]) -> Option<Encoding> {
        let magics: [(&[u8], Encoding); 3] = [
            (b"\x1f\x8b\x08", Encoding::Gzip),
            (b"\x28\xb5\x2f\xfd", Encoding::Zstd),
            (SNAPPY_FRAMED, Encoding::Snappy),
        ];
        let found = magics.iter().find(|(magic, _)| body.starts_with(magic));
        found.map(|(_, encoding)| *encoding)
    }
}

/// The stream identifier of snappy's framing format.
const SNAPPY_FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// The largest expansion that snappy's block format can express: a copy of 64 bytes in
/// 3 bytes.
const SNAPPY_RATIO: usize = 22;

/// A zstd frame may ask for a window of 8 MiB (RFC 8878 §3.1.1.1.2 recommends that
/// decoders support it), and for more only as far as the limit allows.
const ZSTD_MIN_WINDOW_LOG: u32 = 23;
const ZSTD_MAX_WINDOW_LOG: u32 = 27;

/// Why a body cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// More than `limit` bytes.
    #[error("the dump has more than {limit} bytes decompressed: send less, or raise the topic's dump_bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stream ends too early.
    #[error("the {0} stream ends too early: the record was cut off before it was produced", encoding.as_str())]
    Truncated {
        /// What it was to be.
        encoding: Encoding,
    },
    /// The stream is no such stream, or damaged.
    #[error("the body is no valid {0}: {detail}", encoding.as_str())]
    Corrupt {
        /// What it was to be.
        encoding: Encoding,
        /// The decoder's word.
        detail: String,
    },
}

impl From<DecompressError> for Refusal {
    fn from(error: DecompressError) -> Refusal {
        let reason = match error {
            DecompressError::TooLarge { .. } => RecordReason::TooLarge,
            DecompressError::Truncated { .. } => RecordReason::Truncated,
            DecompressError::Corrupt { .. } => RecordReason::BadEncoding,
        };
        Refusal::new(reason, error.to_string())
    }
}

/// The body behind its encoding, at most `limit` bytes of it.
///
/// A framed snappy stream that is cut between two chunks is not seen to be cut: the
/// format has no end mark.
///
/// # Errors
/// [`DecompressError`].
pub fn decompress(encoding: Encoding, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    match encoding {
        Encoding::Identity if body.len() > limit => Err(DecompressError::TooLarge { limit }),
        Encoding::Identity => Ok(Cow::Borrowed(body)),
        Encoding::Gzip => read(encoding, flate2::bufread::MultiGzDecoder::new(body), body, limit),
        Encoding::Zstd => {
            let decoder = zstd_decoder(body, limit).map_err(|e| fault(encoding, &e))?;
            read(encoding, decoder, body, limit)
        }
        Encoding::Snappy if body.starts_with(SNAPPY_FRAMED) => {
            read(encoding, snap::read::FrameDecoder::new(body), body, limit)
        }
        Encoding::Snappy => snappy_raw(body, limit),
    }
}

/// [`decompress`] for bodies from strangers: what does not say its size is measured first, so that
/// a bomb costs its time and no memory.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_measured(encoding: Encoding, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let measure = |decoder: &mut dyn Read| {
        let counted = io::copy(&mut decoder.take(bound), &mut io::sink()).map_err(|e| fault(encoding, &e))?;
        if counted < bound { Ok(()) } else { Err(DecompressError::TooLarge { limit }) }
    };
    match encoding {
        Encoding::Gzip => measure(&mut flate2::bufread::MultiGzDecoder::new(body))?,
        Encoding::Zstd => measure(&mut zstd_decoder(body, limit).map_err(|e| fault(encoding, &e))?)?,
        Encoding::Snappy if body.starts_with(SNAPPY_FRAMED) => measure(&mut snap::read::FrameDecoder::new(body))?,
        Encoding::Identity | Encoding::Snappy => {}
    }
    decompress(encoding, body, limit)
}

fn zstd_decoder(body: &[u8], limit: usize) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    let needed = limit.checked_ilog2().unwrap_or(0) + 1;
    decoder.window_log_max(needed.clamp(ZSTD_MIN_WINDOW_LOG, ZSTD_MAX_WINDOW_LOG))?;
    Ok(decoder)
}

fn read<'a>(
    encoding: Encoding,
    decoder: impl Read,
    body: &[u8],
    limit: usize,
) -> Result<Cow<'a, [u8]>, DecompressError> {
    if body.is_empty() {
        return Err(DecompressError::Truncated { encoding });
    }
    // Expositions shrink to a tenth and less; what is really needed, shows.
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let outcome = decoder.take(bound).read_to_end(&mut out);
    if out.len() > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    match outcome {
        Ok(_) => Ok(Cow::Owned(out)),
        Err(error) => Err(fault(encoding, &error)),
    }
}

fn fault(encoding: Encoding, error: &io::Error) -> DecompressError {
    if error.kind() == ErrorKind::UnexpectedEof {
        return DecompressError::Truncated { encoding };
    }
    let detail = error.to_string();
    DecompressError::Corrupt { encoding, detail }
}

fn snappy_raw<'a>(body: &[u8], limit: usize) -> Result<Cow<'a, [u8]>, DecompressError> {
    let encoding = Encoding::Snappy;
    let corrupt = |error: snap::Error| match error {
        snap::Error::Empty | snap::Error::Literal { .. } | snap::Error::CopyRead { .. } => {
            DecompressError::Truncated { encoding }
        }
        // The length that a block begins with takes at most five bytes.
        snap::Error::Header if body.len() < 5 => DecompressError::Truncated { encoding },
        snap::Error::HeaderMismatch { expected_len, got_len } if got_len < expected_len => {
            DecompressError::Truncated { encoding }
        }
        other => DecompressError::Corrupt { encoding, detail: other.to_string() },
    };
    let declared = snap::raw::decompress_len(body).map_err(corrupt)?;
    if declared > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    // The block format wants its whole output at once: believe its size only as far as
    // the bytes that are there could make it true.
    if declared > body.len().saturating_mul(SNAPPY_RATIO) {
        return Err(DecompressError::Truncated { encoding });
    }
    let out = snap::raw::Decoder::new().decompress_vec(body).map_err(corrupt)?;
    Ok(Cow::Owned(out))
}

/// A body in an encoding, as a producer of dumps sends it: levels that cost little CPU
/// (gzip 1, zstd 3), snappy raw.
///
/// # Errors
/// Only what the compressor itself reports (out of memory).
pub fn compress(encoding: Encoding, body: &[u8]) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Identity => Ok(body.to_vec()),
        Encoding::Gzip => {
            let room = Vec::with_capacity(body.len() / 8);
            let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
        Encoding::Zstd => zstd::bulk::compress(body, 3),
        Encoding::Snappy => snap::raw::Encoder::new().compress_vec(body).map_err(io::Error::other),
    }
}
