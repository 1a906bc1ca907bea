//! The state written down and read back: exact, and the same state gives the same bytes.
//!
//! ```text
//! magic "K2PU" · version u16 · zstd frame with checksum of:
//!     topic · partition · position · time · groups · the window of applied ids
//! ```
//! Numbers are little-endian. Anything that an older reader would misread needs a new
//! version; what it does not know it refuses, and its owner replays the log.
use std::io::{Read, Write};
use std::sync::Arc;

use imbl::OrdMap;
use k2p_core::dedup::{Dedup, DedupWindow};

use super::{PushConfig, PushState};
use crate::bytes::{Cut, Reader, Writer};
use crate::group::Group;

const MAGIC: [u8; 4] = *b"K2PU";
const VERSION: u16 = 1;
/// Bytes of a snapshot, decompressed: far above what a partition should hold.
const MAX_BYTES: u64 = 8 << 30;

/// Why a snapshot cannot be used. None of it harms: the log can be replayed without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are no snapshot.
    #[error("no snapshot of pushes: it does not begin with K2PU; another record was read in its place")]
    Magic,
    /// Written by a newer bridge.
    #[error("the snapshot has version {0}, this bridge reads {VERSION}: upgrade it, or replay the log")]
    Version(u16),
    /// Damaged or cut off.
    #[error("the snapshot is damaged: {0}; use an older one, or replay the log")]
    Corrupt(String),
    /// Taken of another partition.
    #[error("the snapshot is of {found}, not of {wanted}: a manifest names the wrong parts")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

impl From<Cut> for SnapshotError {
    fn from(_: Cut) -> SnapshotError {
        SnapshotError::Corrupt("it ends too early, or says what cannot be".to_owned())
    }
}

impl PushState {
    /// The state up to the position.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut body = Writer::default();
        body.text(&self.config.topic);
        body.signed(i64::from(self.partition));
        body.signed(self.position);
        body.signed(self.time);
        body.count(self.groups.len());
        for group in self.groups.values() {
            group.save(&mut body);
        }
        body.bytes(&self.dedup.save());
        let mut out = Vec::with_capacity(body.0.len() / 8 + 64);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        // Writing to memory fails only when there is none: a reader refuses what is missing.
        out.extend_from_slice(&compress(&body.0).unwrap_or_default());
        out
    }

    /// The state that was written down.
    ///
    /// # Errors
    /// [`SnapshotError`]: what is wrong with the bytes.
    pub fn restore(bytes: &[u8], config: Arc<PushConfig>, partition: i32) -> Result<PushState, SnapshotError> {
        let frame = bytes.strip_prefix(&MAGIC).ok_or(SnapshotError::Magic)?;
        let (version, frame) = frame.split_first_chunk::<2>().ok_or(Cut)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let body = decompress(frame).map_err(SnapshotError::Corrupt)?;
        let mut from = Reader(&body);
        let (topic, found) = (from.text()?, from.signed()?);
        if *topic != *config.topic || found != i64::from(partition) {
            let wanted = format!("{}/{partition}", config.topic);
            return Err(SnapshotError::Foreign { found: format!("{topic}/{found}"), wanted });
        }
        let mut state = PushState::new(config, partition);
        state.position = from.signed()?;
        state.time = from.signed()?;
        let mut groups = OrdMap::new();
        for _ in 0..from.count()? {
            let group = Group::load(&mut from)?;
            state.expiring.extend(group.expires().map(|at| (at, group.key.shared())));
            groups.insert(group.key.shared(), Arc::new(group));
        }
        state.dirty = groups.keys().cloned().collect();
        state.groups = groups;
        state.dedup = Dedup::restore(DedupWindow::default(), from.bytes()?)
            .map_err(|error| SnapshotError::Corrupt(error.to_string()))?;
        if !from.0.is_empty() {
            return Err(Cut.into());
        }
        Ok(state)
    }
}

fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::with_capacity(body.len() / 8), 3)?;
    encoder.include_checksum(true)?;
    encoder.write_all(body)?;
    encoder.finish()
}

fn decompress(frame: &[u8]) -> Result<Vec<u8>, String> {
    if frame.is_empty() {
        return Err("nothing follows the header".to_owned());
    }
    let decoder = zstd::stream::read::Decoder::new(frame).map_err(|e| e.to_string())?;
    let mut body = Vec::new();
    decoder.take(MAX_BYTES + 1).read_to_end(&mut body).map_err(|e| e.to_string())?;
    if body.len() as u64 > MAX_BYTES {
        return Err(format!("more than {MAX_BYTES} bytes decompressed"));
    }
    Ok(body)
}
