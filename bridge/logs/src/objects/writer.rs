//! The writer's side: entries into the buffer, one thread that writes it out.
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::buffer::{Buffer, Key, Offered};
use super::flush::Flush;
use super::{Objects, Timing, origin, upkeep};
use crate::entry::{Entry, day_of};
use crate::metrics::{LogMetrics, Refused};
use crate::store::{Appended, LogError, Maintained, StoreConfig};

/// A store that is away is tried again this often.
const AGAIN: Duration = Duration::from_secs(2);
/// How soon the thread sees that nobody writes any more.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than everything that is under way may take: then the thread is gone.
const GONE: Duration = Duration::from_secs(60);

/// What appending threads and the writing one share.
#[derive(Debug, Default)]
struct Inner {
    buffer: Buffer,
    /// Why the store did not take what it was last given.
    away: Option<String>,
    /// Partitions whose entries are to be written now; `all`: everything.
    asked: BTreeSet<Arc<str>>,
    all: bool,
    /// Counts the requests to write, and those that are done.
    wanted: u64,
    done: u64,
    /// Partitions whose place in the store is to be looked up anew.
    begun: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// There is something to do.
    work: Condvar,
    /// Something was done.
    progress: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in another thread leaves at worst what is read again.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes entries; the thread ends with the last clone.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    objects: Objects,
    config: StoreConfig,
    timing: Timing,
    metrics: LogMetrics,
}

impl Writer {
    pub(crate) fn start(
        objects: Objects,
        config: StoreConfig,
        timing: Timing,
        metrics: LogMetrics,
    ) -> io::Result<Writer> {
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            shared: Arc::downgrade(&shared),
            flush: Flush::new(objects.clone(), config.clone()),
            every: timing.flush,
            metrics: metrics.clone(),
        };
        std::thread::Builder::new().name("k2p-logs".to_owned()).spawn(move || thread.run())?;
        Ok(Writer { shared, objects, config, timing, metrics })
    }

    /// Takes what is sound into the buffer: it is kept once it is written. Waits for room as
    /// long as the store answers.
    pub(crate) fn append(&self, batch: &[Entry<'_>], now: i64) -> Appended {
        let mut tally = Appended::default();
        let mut inner = self.shared.lock();
        for entry in batch {
            if let Some(reason) = self.config.refuses(entry, now) {
                tally.refuse(reason, 1);
                continue;
            }
            let key = Key {
                origin: origin(entry.source.topic, entry.source.partition).into(),
                day: day_of(entry.at),
                job: entry.job_run_id.to_owned(),
            };
            let has_room;
            (inner, has_room) = self.room(inner);
            if !has_room {
                inner.buffer.skip(&key);
                tally.refuse(Refused::Away, 1);
                continue;
            }
            match inner.buffer.push(key, entry) {
                Offered::Taken => tally.waiting += 1,
                Offered::Duplicate => tally.duplicates += 1,
            }
        }
        if tally.refused_for(Refused::Away) > 0 {
            tally.error.clone_from(&inner.away);
        }
        if inner.buffer.has_full() {
            self.shared.work.notify_all();
        }
        self.metrics.buffered(inner.buffer.bytes());
        tally
    }

    fn room<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> (MutexGuard<'a, Inner>, bool) {
        let begun = Instant::now();
        while inner.buffer.bytes() >= self.timing.buffer_bytes {
            if inner.away.is_some() || begun.elapsed() > GONE {
                return (inner, false);
            }
            inner.all = true;
            self.shared.work.notify_all();
            inner = self.shared.progress.wait_timeout(inner, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        (inner, true)
    }

    /// A partition is begun: somebody else may have written of it.
    pub(crate) fn begin(&self, topic: &str, partition: i32) {
        self.shared.lock().begun.insert(origin(topic, partition).into());
    }

    /// Waits until everything is written that was appended, of one partition or of all. Where
    /// the store is known to be away nobody waits.
    pub(crate) fn sync(&self, partition: Option<(&str, i32)>) -> Result<(), LogError> {
        let of = partition.map(|(topic, partition)| Arc::<str>::from(origin(topic, partition)));
        let waits = |inner: &Inner| match &of {
            Some(origin) => inner.buffer.has(origin),
            None => inner.buffer.entries() > 0,
        };
        let mut inner = self.shared.lock();
        inner.wanted += 1;
        let ticket = inner.wanted;
        match &of {
            Some(origin) => drop(inner.asked.insert(origin.clone())),
            None => inner.all = true,
        }
        let begun = Instant::now();
        self.shared.work.notify_all();
        while inner.done < ticket && inner.away.is_none() && begun.elapsed() < GONE {
            inner = self.shared.progress.wait_timeout(inner, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.done >= ticket && inner.away.is_none() {
            return Ok(());
        }
        if !waits(&inner) {
            return Ok(());
        }
        let why = inner.away.clone().unwrap_or_else(|| format!("nothing was written within {GONE:?}"));
        Err(LogError::Sync { dir: PathBuf::from(self.objects.place()), source: io::Error::other(why) })
    }

    pub(crate) fn maintain(&self, now: i64) -> Result<Maintained, LogError> {
        let mut done = Maintained::default();
        let kept = self.objects.wait(upkeep::run(&self.objects, &self.config, now, &mut done));
        self.metrics.maintained(&done);
        kept.map_err(|source| LogError::Maintain { dir: PathBuf::from(self.objects.place()), source })?;
        Ok(done)
    }
}

/// Writes what is due, until nobody holds the writer.
struct Thread {
    shared: Weak<Shared>,
    flush: Flush,
    every: Duration,
    metrics: LogMetrics,
}

impl Thread {
    fn run(mut self) {
        let mut written = Instant::now();
        while let Some(shared) = self.shared.upgrade() {
            let mut inner = shared.lock();
            let pause = if inner.away.is_some() { AGAIN } else { self.every };
            let due = written.elapsed() >= pause;
            // A store that is away is not asked more often because somebody asks.
            let asked = inner.away.is_none() && (inner.all || !inner.asked.is_empty() || inner.buffer.has_full());
            if !due && !asked {
                let left = pause.saturating_sub(written.elapsed()).min(LOOK);
                drop(shared.work.wait_timeout(inner, left));
                continue;
            }
            let (all, ticket) = (due || inner.all, inner.wanted);
            let origins = std::mem::take(&mut inner.asked);
            let mut keys = inner.buffer.due(all, &origins);
            if inner.away.is_some() {
                keys.truncate(1);
            }
            inner.all = false;
            self.flush.forget(&std::mem::take(&mut inner.begun));
            drop(inner);
            let tried_all = self.write(&shared, &keys);
            if all {
                written = Instant::now();
            }
            let mut inner = shared.lock();
            if tried_all {
                inner.done = ticket;
            }
            self.metrics.buffered(inner.buffer.bytes());
            drop(inner);
            shared.progress.notify_all();
        }
    }

    /// Writes these keys; false where the store is away.
    fn write(&mut self, shared: &Shared, keys: &[Key]) -> bool {
        let was_away = shared.lock().away.is_some();
        for some in keys.chunks(super::AT_ONCE) {
            let runs = {
                let mut inner = shared.lock();
                let mut runs = Vec::new();
                for key in some {
                    while let Some(run) = inner.buffer.take(key) {
                        runs.push((key.clone(), run));
                    }
                }
                runs
            };
            let (tally, left, error) = self.flush.write(&runs);
            self.metrics.appended(&tally);
            let mut inner = shared.lock();
            // Backwards: the oldest comes to the front last.
            for (i, (key, run)) in runs.into_iter().enumerate().rev() {
                if left.contains(&i) {
                    inner.buffer.put_back(&key, run);
                } else {
                    inner.buffer.settle(&key, &run);
                }
            }
            shared.progress.notify_all();
            if let Some(error) = error {
                if inner.away.is_none() {
                    tracing::error!(error, "the log store is away: entries wait, metrics go on");
                }
                inner.away = Some(error);
                self.metrics.set_writable(false);
                return false;
            }
        }
        if was_away && !keys.is_empty() {
            tracing::info!("the log store answers again");
            self.metrics.set_writable(true);
            let mut inner = shared.lock();
            inner.away = None;
            // The rest, at once.
            inner.all = true;
            return false;
        }
        true
    }
}
