//! Files: `DIR/YYYY-MM-DD/{job}.jsonl`, by the UTC date of the entry.
//!
//! `{job}` is the id by [`crate::file_name`]. A line is the event's own JSON object with
//! `k2p_at` (Unix nanoseconds), `k2p_level` and `k2p_source`
//! (`topic/partition/offset/line`) before its members. Beside it lies `{job}.jsonl.idx`:
//! how far the lines are good, the newest offset of each partition in them, a sparse index.
//! Closed days are packed: `{job}.jsonl.zst`, a frame per block of 128 KiB (`zstd -d` reads
//! it); a late entry unpacks it again.
//!
//! **Once.** An entry at or before its partition's newest offset in that file is a
//! duplicate. The offsets are written after the lines; where a process dies between, the
//! next one takes the whole lines behind the known end with their offsets and cuts the
//! torn one, which its source brings again.
//!
//! **Several writers.** Each call locks the index (`flock`) and sees what others wrote, so
//! owners of other partitions, a successor and a zombie may share a tree, on one machine or
//! on a network file system with working locks (NFSv4; not with `nolock`).
//!
//! **fsync.** [`crate::LogStore::sync`] runs `fdatasync` on each file written since, and syncs
//! new names' directories; `fsync: false` leaves that to the system: then the death of a
//! process loses nothing, a loss of power what it had not written yet. After a loss of power
//! what was not synced is checked line by line, and cut at the first that is not whole.
//!
//! **Clock.** An entry older than the retention, or more than a day ahead, is refused
//! (`bad_time`): a wrong clock must not make a directory per day of history.
pub(crate) mod disk;
pub(crate) mod index;
pub(crate) mod job;
pub(crate) mod upkeep;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::entry::{Entry, day_of};
use crate::metrics::{LogMetrics, Refused};
use crate::name::file_name;
use crate::store::{Appended, LogError, Maintained, StoreConfig};
pub use disk::{Disk, SystemDisk};
use job::{JobFile, Paths};

/// Files kept open between calls; two descriptors each.
const OPEN_FILES: usize = 256;

type Slot = Arc<Mutex<Option<JobFile>>>;

/// The writer's side of a directory tree.
#[derive(Debug)]
pub(crate) struct FileStore {
    dir: PathBuf,
    config: StoreConfig,
    disk: Arc<dyn Disk>,
    open: Mutex<LruCache<(String, String), Slot>>,
    metrics: LogMetrics,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in another thread leaves at worst lines that the next call settles.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileStore {
    pub(crate) fn open(
        dir: &Path,
        config: StoreConfig,
        disk: Arc<dyn Disk>,
        metrics: LogMetrics,
    ) -> Result<FileStore, LogError> {
        fs::create_dir_all(dir).map_err(|source| LogError::Directory { dir: dir.to_owned(), source })?;
        let open = Mutex::new(LruCache::unbounded());
        Ok(FileStore { dir: dir.to_owned(), config, disk, open, metrics })
    }

    pub(crate) fn append(&self, batch: &[Entry<'_>], now: i64) -> Appended {
        let mut tally = Appended::default();
        let mut files: BTreeMap<(String, &str), Vec<&Entry<'_>>> = BTreeMap::new();
        for entry in batch {
            match self.config.refuses(entry, now) {
                Some(reason) => tally.refuse(reason, 1),
                None => files.entry((day_of(entry.at), entry.job_run_id)).or_default().push(entry),
            }
        }
        for ((day, job), entries) in files {
            if let Err(error) = self.append_file(&day, job, &entries, &mut tally) {
                tally.refuse(Refused::of(&error), entries.len() as u64);
                tally.error = Some(format!("{}/{day}: {error}", self.dir.display()));
            }
        }
        if lock(&self.open).len() >= 2 * OPEN_FILES {
            // Errors stay with the files, which stay open: the caller's own sync meets them.
            let _later = self.sync();
        }
        tally
    }

    fn append_file(&self, day: &str, job: &str, entries: &[&Entry<'_>], tally: &mut Appended) -> io::Result<()> {
        let slot = Arc::clone(lock(&self.open).get_or_insert((day.to_owned(), job.to_owned()), Slot::default));
        let mut file = lock(&slot);
        loop {
            if file.is_none() {
                *file = Some(self.open_file(day, job)?);
            }
            let Some(open) = file.as_mut() else { continue };
            match open.append(entries, &self.config, tally) {
                Ok(Ok(())) => return Ok(()),
                // Retention of another process took it.
                Ok(Err(job::Gone)) => *file = None,
                Err(error) => return Err(error),
            }
        }
    }

    fn open_file(&self, day: &str, job: &str) -> io::Result<JobFile> {
        let name = file_name(job).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let dir = self.dir.join(day);
        fs::create_dir_all(&dir)?;
        JobFile::open(Paths::new(&dir, &name), job, Arc::clone(&self.disk))
    }

    pub(crate) fn sync(&self) -> Result<(), LogError> {
        let slots: Vec<Slot> = lock(&self.open).iter().map(|(_, slot)| Arc::clone(slot)).collect();
        let mut failed = None;
        for slot in &slots {
            if !self.config.fsync {
                break;
            }
            if let Some(file) = lock(slot).as_mut() {
                failed = file.sync().err().or(failed);
            }
        }
        drop(slots);
        if let Some(source) = failed {
            return Err(LogError::Sync { dir: self.dir.clone(), source });
        }
        self.trim();
        Ok(())
    }

    /// Closes what was not used for longest. What is in use, by another thread, stays.
    fn trim(&self) {
        let mut open = lock(&self.open);
        while open.len() > OPEN_FILES {
            match open.peek_lru() {
                Some((_, slot)) if Arc::strong_count(slot) == 1 => drop(open.pop_lru()),
                _ => break,
            }
        }
    }

    pub(crate) fn maintain(&self, now: i64) -> Result<Maintained, LogError> {
        let mut done = Maintained::default();
        upkeep::run(&self.dir, &self.config, &self.disk, now, &mut done)
            .map_err(|source| LogError::Maintain { dir: self.dir.clone(), source })?;
        self.metrics.maintained(&done);
        Ok(done)
    }
}
