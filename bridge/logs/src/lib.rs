//! The log store: entries of jobs, masked, each kept once, read again by job.
//!
//! # How it is called
//!
//! 1. [`mask::Maskers::of`]`(topic).line(bytes, &mut counts)` on every line **before** it is
//!    parsed for anything that is written or shown; [`LogMetrics::masked`] takes the counts.
//! 2. [`LogStore::begin`] when a partition is begun, then [`LogStore::append`] with the entries of a record or of many. It never fails as a
//!    whole: what is not kept is counted by a bounded [`Refused`] reason, and the caller
//!    goes on (a full disk stops the log, not the metrics).
//! 3. [`LogStore::sync_of`] **before** an offset is committed, or a snapshot written, beyond
//!    those entries. What was synced survives a loss of power; what was appended survives
//!    the death of the process. A successor that replays from there appends each entry
//!    again, and the store drops what it has.
//! 4. [`LogStore::maintain`] now and then (a minute is often enough) with the time: age,
//!    size, compression.
//! 5. [`LogReader`] answers `read`, `jobs` and `points`, in the service and in
//!    `kafka2prom logs` alike. It needs no store and takes no lock.
//!
//! Nothing here reads a clock; times are Unix nanoseconds, given by the caller. All calls
//! block: an async caller uses `spawn_blocking`.
//!
//! # What makes an entry unique
//!
//! Its [`Source`]: topic, partition, offset, line of the record. The topic's name must
//! change when the topic is recreated (append its id), because offsets then begin anew.
//! Entries of one partition must come in their order; several partitions may come from
//! several processes at once, also from an owner that does not know yet that it is none.
//!
//! # Where entries lie
//!
//! [`files`]: `DIR/YYYY-MM-DD/{job}.jsonl`, for one bridge or several that share a file
//! system. [`objects`]: segments in an object store that all bridges share. The modules say
//! how they are laid out and what they promise; a reader gives the same answers of both.
#![forbid(unsafe_code)]

mod entry;
pub mod files;
mod history;
mod hot;
mod kept;
pub mod mask;
mod metrics;
mod name;
pub mod objects;
mod points;
mod read;
mod store;

pub use entry::{Entry, Level, Source, day_of, parse_time, rfc3339};
pub use history::{FIRST_REPORT, StoredLine, runs_of};
pub use kept::{Gap, Kept, Range};
pub use metrics::{LOG_METRICS, LogMetrics, Refused};
pub use name::{MAX_ID, file_name, job_of};
pub use points::{Points, exposition};
pub use read::{Job, Jobs, LogReader, MAX_LIMIT, Page, Query, ReadConfig, StoredEntry};
pub use store::{Appended, LogError, LogStore, Maintained, StoreConfig};

/// Reads the key of [`mask::Action::Hash`] from a file.
///
/// # Errors
/// A text that names the file, what is wrong with it and what to do.
pub fn read_hash_key(path: &std::path::Path) -> Result<mask::HashKey, String> {
    let bytes = std::fs::read(path)
        .map_err(|error| format!("the masking key {} cannot be read: {error}; name a readable file", path.display()))?;
    mask::HashKey::new(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}
