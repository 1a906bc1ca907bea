//! The container of a snapshot: compressed, versioned, checked.
//!
//! ```text
//! magic "K2PE" · version u16 · zstd frame with checksum of:
//!     section*  = tag [u8; 4] · length u64 · bytes
//! ```
//! Numbers are little-endian.
//!
//! **What may change without a new version**: a section with a lower-case first letter
//! may appear: a reader that does not know it skips it. Fields may join a section's JSON
//! with a default. **What needs one**: anything that an older reader would misread. A
//! section with an upper-case first letter that a reader does not know is refused, as is
//! a version above its own; an owner then replays from the log's beginning or from an
//! older snapshot, it never guesses.
use std::fmt;
use std::io::{Read, Write};

/// What begins every snapshot.
const MAGIC: [u8; 4] = *b"K2PE";
/// The newest version that is read, and the one that is written.
pub const VERSION: u16 = 1;
const HEADER: usize = 6;

/// Why a snapshot cannot be used. None of it harms: the log can be replayed without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are no snapshot.
    #[error("no snapshot: it does not begin with K2PE; another record was read in its place")]
    Magic,
    /// Written by a newer bridge.
    #[error("the snapshot has version {found}, this bridge reads up to {known}: upgrade it, or replay the log")]
    Version {
        /// Its version.
        found: u16,
        /// The newest known.
        known: u16,
    },
    /// Damaged, cut off, or larger than `limit`.
    #[error("the snapshot is damaged in {section}: {detail}; use an older one, or replay the log")]
    Corrupt {
        /// Where.
        section: String,
        /// What.
        detail: String,
    },
    /// It holds something that must not be skipped and is not known.
    #[error("the snapshot has the section {0:?}, which this bridge does not know: upgrade it, or replay the log")]
    Section(String),
    /// Taken of another partition.
    #[error("the snapshot is of {found}, not of {wanted}: a manifest names the wrong parts")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The text of its templates is not at hand.
    #[error("the snapshot was made with the templates {0}: read their text from the state topic first")]
    NeedsTemplates(String),
}

impl SnapshotError {
    /// Damage in a section.
    pub(crate) fn corrupt(section: &str, detail: &dyn fmt::Display) -> SnapshotError {
        SnapshotError::Corrupt { section: section.to_owned(), detail: format!("{detail}") }
    }
}

/// A snapshot under construction.
#[derive(Debug, Default)]
pub struct Writer {
    body: Vec<u8>,
}

impl Writer {
    /// Adds a section: four letters, the first one upper-case if no reader may skip it.
    pub fn section(&mut self, tag: &[u8; 4], bytes: &[u8]) {
        self.body.extend_from_slice(tag);
        self.body.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.body.extend_from_slice(bytes);
    }

    /// The snapshot's bytes.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.body.len() / 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        match compress(&self.body) {
            Ok(compressed) => out.extend_from_slice(&compressed),
            // Writing to memory fails only when there is none: nothing to fall back on,
            // and a reader refuses the empty frame.
            Err(_) => out.truncate(HEADER),
        }
        out
    }
}

fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::with_capacity(body.len() / 4), 3)?;
    encoder.include_checksum(true)?;
    encoder.write_all(body)?;
    encoder.finish()
}

/// The sections of a snapshot, decompressed.
#[derive(Debug)]
pub struct Reader {
    sections: Vec<([u8; 4], Vec<u8>)>,
}

impl Reader {
    /// Reads the container: at most `limit` bytes decompressed, only sections that are
    /// `known` or may be skipped.
    ///
    /// # Errors
    /// [`SnapshotError`], without `Foreign` and `NeedsTemplates`.
    pub fn open(bytes: &[u8], known: &[&[u8; 4]], limit: u64) -> Result<Reader, SnapshotError> {
        let Some(rest) = bytes.strip_prefix(&MAGIC) else {
            return Err(SnapshotError::Magic);
        };
        let Some((version, frame)) = rest.split_first_chunk::<2>() else {
            return Err(SnapshotError::corrupt("header", &"it ends after the magic"));
        };
        let found = u16::from_le_bytes(*version);
        if found == 0 || found > VERSION {
            return Err(SnapshotError::Version { found, known: VERSION });
        }
        let body = decompress(frame, limit).map_err(|detail| SnapshotError::corrupt("body", &detail))?;
        let mut reader = Reader { sections: Vec::new() };
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (tag, bytes) = next_section(&mut rest)?;
            if known.contains(&&tag) {
                reader.sections.push((tag, bytes.to_vec()));
            } else if !tag[0].is_ascii_lowercase() {
                return Err(SnapshotError::Section(String::from_utf8_lossy(&tag).into_owned()));
            }
        }
        Ok(reader)
    }

    /// A section's bytes.
    ///
    /// # Errors
    /// It is missing.
    pub fn get(&self, tag: &[u8; 4]) -> Result<&[u8], SnapshotError> {
        let found = self.sections.iter().find(|(t, _)| t == tag);
        let name = String::from_utf8_lossy(tag);
        found.map(|(_, bytes)| bytes.as_slice()).ok_or_else(|| SnapshotError::corrupt(&name, &"the section is missing"))
    }
}

fn next_section<'a>(rest: &mut &'a [u8]) -> Result<([u8; 4], &'a [u8]), SnapshotError> {
    let short = || SnapshotError::corrupt("body", &"a section ends too early");
    let (tag, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (length, after) = after.split_first_chunk::<8>().ok_or_else(short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
    let (bytes, after) = after.split_at_checked(length).ok_or_else(short)?;
    *rest = after;
    Ok((*tag, bytes))
}

fn decompress(frame: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    if frame.is_empty() {
        return Err("nothing follows the header".into());
    }
    let decoder = zstd::stream::read::Decoder::new(frame).map_err(|e| e.to_string())?;
    let mut body = Vec::new();
    let mut bounded = decoder.take(limit.saturating_add(1));
    bounded.read_to_end(&mut body).map_err(|e| e.to_string())?;
    if body.len() as u64 > limit {
        return Err(format!("more than {limit} bytes decompressed"));
    }
    Ok(body)
}

/// A float in JSON as its bits: exact, also where it is no number.
pub(crate) mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to_bits())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// The same for a float that may be missing.
pub(crate) mod optional_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(f64::to_bits).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Option::<u64>::deserialize(from).map(|bits| bits.map(f64::from_bits))
    }
}

/// A shared text as a plain one.
pub(crate) mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        Box::<str>::deserialize(from).map(Arc::from)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.section(b"META", b"one");
        writer.section(b"more", b"optional");
        writer.finish()
    }

    fn fails(bytes: &[u8], known: &[&[u8; 4]], expected: &str) {
        let text = Reader::open(bytes, known, LIMIT).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_skipped_or_refused() {
        let reader = Reader::open(&sample(), &[b"META"], LIMIT).unwrap();
        assert_eq!(reader.get(b"META").unwrap(), b"one");
        assert!(reader.get(b"more").unwrap_err().to_string().contains("the section is missing"));
        fails(&sample(), &[b"more"], "the section \"META\", which this bridge does not know");
    }

    #[test]
    fn damage_is_told_and_never_read() {
        let good = sample();
        fails(b"", &[b"META"], "no snapshot");
        fails(b"K2PX\x01\x00", &[b"META"], "no snapshot");
        fails(b"K2PE\x01", &[b"META"], "damaged in header");
        fails(b"K2PE\x01\x00", &[b"META"], "nothing follows the header");
        fails(b"K2PE\x02\x00", &[b"META"], "version 2, this bridge reads up to 1");
        for cut in HEADER..good.len() {
            assert!(Reader::open(&good[..cut], &[b"META"], LIMIT).is_err(), "cut at {cut}");
        }
        for at in HEADER..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let read = Reader::open(&bad, &[b"META"], LIMIT);
            assert!(read.is_err() || read.unwrap().get(b"META") == Ok(b"one"), "flipped at {at}");
        }
        let tight = Reader::open(&good, &[b"META"], 10).unwrap_err().to_string();
        assert!(tight.contains("more than 10 bytes decompressed"), "{tight}");
    }
}
