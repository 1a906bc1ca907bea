//! The writer's side, whatever lies behind it.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::files::{Disk, FileStore, SystemDisk};
use crate::kept::{Ledger, Range};
use crate::metrics::{LogMetrics, Refused};
use crate::name::{MAX_ID, RUNS};
use crate::objects::writer::Writer;
use crate::objects::{Objects, Timing};

pub(crate) const DAY_NANOS: i64 = 86_400_000_000_000;

/// A day is packed this long after its end, when what was on its way has come.
pub(crate) const QUIET: i64 = 3_600_000_000_000;

/// How much is kept, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long entries are kept, nanoseconds; whole UTC days go.
    pub retention: i64,
    /// Bytes of the whole store; the oldest files go first.
    pub max_bytes: u64,
    /// Bytes of lines of one job on one day; what comes then is cut.
    pub job_bytes: u64,
    /// Bytes of the reports of one pipeline's runs, over all days; the oldest days go first.
    pub reports_bytes: u64,
    /// Bytes of one entry's line.
    pub line_bytes: usize,
    /// Whether closed days are compressed.
    pub compress: bool,
    /// Whether `sync` waits for the disk.
    pub fsync: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            retention: 30 * DAY_NANOS,
            max_bytes: 10 << 30,
            job_bytes: 2 << 30,
            reports_bytes: 64 << 20,
            line_bytes: 1 << 20,
            compress: true,
            fsync: true,
        }
    }
}

impl StoreConfig {
    /// Bytes of lines of a job on one day.
    pub(crate) fn day_bytes(&self, job: &str) -> u64 {
        if job.starts_with(RUNS) { self.job_bytes.min(self.reports_bytes) } else { self.job_bytes }
    }

    /// Why an entry is not taken, before any state is looked at.
    pub(crate) fn refuses(&self, entry: &Entry<'_>, now: i64) -> Option<Refused> {
        if !(1..=MAX_ID).contains(&entry.job_run_id.len()) || !entry.source.is_valid() {
            return Some(Refused::BadEntry);
        }
        if entry.line.len() > self.line_bytes {
            return Some(Refused::TooLarge);
        }
        let early = now.saturating_sub(self.retention).saturating_sub(DAY_NANOS);
        if entry.at < early || entry.at > now.saturating_add(DAY_NANOS) {
            return Some(Refused::BadTime);
        }
        None
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// Entries kept.
    pub written: u64,
    /// Their bytes, as stored lines.
    pub bytes: u64,
    /// Entries that wait to be kept; written and refused for the quota are known later.
    pub waiting: u64,
    /// Entries that were there already.
    pub duplicates: u64,
    /// By [`Refused`], in the order of [`Refused::ALL`].
    pub refused: [u64; Refused::ALL.len()],
    /// What the system said of the last failure, for the log.
    pub error: Option<String>,
}

impl Appended {
    /// How many were refused for one reason.
    pub fn refused_for(&self, reason: Refused) -> u64 {
        self.refused[reason as usize]
    }

    /// How many the store could not take although nothing is wrong with them.
    pub fn failed(&self) -> u64 {
        [Refused::DiskFull, Refused::Io, Refused::Away].iter().map(|reason| self.refused_for(*reason)).sum()
    }

    pub(crate) fn refuse(&mut self, reason: Refused, n: u64) {
        self.refused[reason as usize] += n;
    }

    pub(crate) fn add(&mut self, other: &Appended) {
        self.written += other.written;
        self.bytes += other.bytes;
        self.waiting += other.waiting;
        self.duplicates += other.duplicates;
        for (sum, n) in self.refused.iter_mut().zip(other.refused) {
            *sum += n;
        }
    }
}

/// What a round of maintenance did and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Files (a job's day) removed.
    pub removed: u64,
    /// Their bytes, those too old.
    pub aged_bytes: u64,
    /// Their bytes, those above the size.
    pub sized_bytes: u64,
    /// Their bytes, reports of runs above their pipeline's cap.
    pub report_bytes: u64,
    /// Files compressed.
    pub packed: u64,
    /// Files left.
    pub files: u64,
    /// Bytes left.
    pub bytes: u64,
}

/// What fails as a whole. The texts say what, where, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The thread that writes to an object store cannot be started.
    #[error("the log store {place} cannot be written: {source}; the system refuses a thread")]
    Thread {
        /// As configured.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// The directory cannot be made.
    #[error("the log directory {dir} cannot be made: {source}; name one that this user may write")]
    Directory {
        /// As configured.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Entries may not survive a loss of power: no offset may be committed beyond them.
    #[error("the logs in {dir} cannot be synced: {source}; offsets stay where they are until it works")]
    Sync {
        /// As configured.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Retention or compression stopped half-way; it goes on with the next round.
    #[error("the logs in {dir} cannot be cleaned up: {source}; is there room, and may this user write?")]
    Maintain {
        /// As configured.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Takes entries. Clones share it; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct LogStore {
    place: Place,
    metrics: LogMetrics,
}

/// What lies behind it.
#[derive(Debug, Clone)]
enum Place {
    Files(Arc<FileStore>, Arc<Ledger>),
    Objects(Arc<Writer>),
}

impl LogStore {
    /// A store in a directory, made if need be.
    ///
    /// # Errors
    /// [`LogError::Directory`].
    pub fn open(dir: &Path, config: StoreConfig, metrics: LogMetrics) -> Result<LogStore, LogError> {
        LogStore::open_on(Arc::new(SystemDisk), dir, config, metrics)
    }

    /// [`LogStore::open`] on a disk of the caller's, which may fail.
    ///
    /// # Errors
    /// [`LogError::Directory`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: StoreConfig,
        metrics: LogMetrics,
    ) -> Result<LogStore, LogError> {
        let ledger = Arc::new(Ledger::new(dir));
        let place = Place::Files(Arc::new(FileStore::open(dir, config, disk, metrics.clone())?), ledger);
        Ok(LogStore { place, metrics })
    }

    /// A store of objects. What is appended is kept once it was written: after the time of
    /// `timing`, or a sync.
    ///
    /// # Errors
    /// [`LogError::Thread`].
    pub fn open_objects(
        objects: Objects,
        config: StoreConfig,
        timing: Timing,
        metrics: LogMetrics,
    ) -> Result<LogStore, LogError> {
        let place = objects.place().to_owned();
        metrics.buffer_capacity(timing.buffer_bytes);
        let writer = Writer::start(objects, config, timing, metrics.clone());
        let writer = writer.map_err(|source| LogError::Thread { place, source })?;
        Ok(LogStore { place: Place::Objects(Arc::new(writer)), metrics })
    }

    /// A partition is begun here: another bridge may have kept entries of it meanwhile.
    ///
    /// # Errors
    /// What the system says: then [`crate::LogReader::kept`] does not tell of it, and nobody takes
    /// what is here for the whole.
    pub fn begin(&self, topic: &str, partition: i32, begun: Range) -> io::Result<()> {
        match &self.place {
            Place::Files(_, ledger) => ledger.begin(topic, partition, begun),
            Place::Objects(writer) => {
                writer.begin(topic, partition);
                Ok(())
            }
        }
    }

    /// What a partition left below an offset was appended, and synced.
    ///
    /// # Errors
    /// As [`LogStore::begin`].
    pub fn reached(&self, topic: &str, partition: i32, offset: i64) -> io::Result<()> {
        match &self.place {
            Place::Files(_, ledger) => ledger.reached(topic, partition, offset),
            Place::Objects(_) => Ok(()),
        }
    }

    /// How often it needs [`LogStore::maintain`]: a list of a whole object store costs.
    pub fn upkeep(&self) -> Duration {
        match &self.place {
            Place::Files(..) => Duration::from_secs(60),
            Place::Objects(_) => Duration::from_secs(900),
        }
    }

    /// Appends. `now` is Unix nanoseconds, for what is too old or too far ahead.
    ///
    /// Entries of one partition come in their order. What fails is counted; the next call
    /// tries anew, so that a disk with room again is used again.
    pub fn append(&self, batch: &[Entry<'_>], now: i64) -> Appended {
        let appended = match &self.place {
            Place::Files(files, _) => files.append(batch, now),
            Place::Objects(writer) => writer.append(batch, now),
        };
        self.metrics.appended(&appended);
        appended
    }

    /// Makes what was appended survive a loss of power.
    ///
    /// # Errors
    /// [`LogError::Sync`]: offsets must not be committed beyond the last good one.
    pub fn sync(&self) -> Result<(), LogError> {
        match &self.place {
            Place::Files(files, _) => files.sync(),
            Place::Objects(writer) => writer.sync(None),
        }
    }

    /// [`LogStore::sync`] of the entries of one partition, at least. Waits for an object store
    /// to take them; not where it is known to be away.
    ///
    /// # Errors
    /// As [`LogStore::sync`].
    pub fn sync_of(&self, topic: &str, partition: i32) -> Result<(), LogError> {
        match &self.place {
            Place::Files(files, _) => files.sync(),
            Place::Objects(writer) => writer.sync(Some((topic, partition))),
        }
    }

    /// Removes what is too old or too much, compresses closed days. `now` is Unix nanoseconds.
    ///
    /// # Errors
    /// [`LogError::Maintain`].
    pub fn maintain(&self, now: i64) -> Result<Maintained, LogError> {
        match &self.place {
            Place::Files(files, _) => files.maintain(now),
            Place::Objects(writer) => writer.maintain(now),
        }
    }
}
