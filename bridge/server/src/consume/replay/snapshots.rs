//! Writing snapshots: parts, then the manifest, all acknowledged; then read back; then
//! the marker may name it, and what it supersedes is cleared away.
//!
//! One thread for all partitions of a bridge. Serialising is the worker's: only it may
//! look at the state.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use k2p_core::ownership::Tp;
use k2p_runtime::clock::{mono_ms, unix_ms};
use k2p_runtime::shutdown::Shutdown;
use prometheus::IntCounterVec;

use super::plan::Manifest;
use super::statelog::{StateLog, crc, place, snapshot_id};
use crate::live::LivePartition;

/// A part of a snapshot: below the 1 MiB that brokers take by default.
const PART_BYTES: usize = 512 << 10;
/// Snapshots that wait to be written; a worker that finds no place tries again later.
const WAITING: usize = 4;
/// How soon it is seen that the bridge ends.
const LOOK: Duration = Duration::from_millis(100);

/// The results that `snapshots_total` knows.
pub(crate) const RESULTS: [&str; 4] = ["ok", "failed", "unread", "no_lease"];

/// A snapshot to be written.
pub(crate) struct Job {
    pub(crate) live: Arc<LivePartition>,
    /// The next offset to apply.
    pub(crate) offset: i64,
    /// Append time of the record before it.
    pub(crate) last_time: Option<i64>,
    pub(crate) bytes: Vec<u8>,
    /// Cleared when all is done, whatever came of it.
    pub(crate) busy: Arc<AtomicBool>,
}

/// The writer of snapshots.
pub(crate) struct Snapshots {
    jobs: Sender<Job>,
    results: IntCounterVec,
}

impl Snapshots {
    /// Starts the thread; it ends after `shutdown`, with what is under way.
    pub(crate) fn start(
        state: Arc<StateLog>,
        nonce: u64,
        results: &IntCounterVec,
        shutdown: &Shutdown,
    ) -> (Arc<Snapshots>, JoinHandle<()>) {
        let (jobs, waiting) = bounded(WAITING);
        let writer = Writer { state, nonce, results: results.clone(), shutdown: shutdown.clone() };
        let thread = std::thread::Builder::new()
            .name("k2p-snapshots".to_owned())
            .spawn(move || writer.run(&waiting))
            .expect("the system refuses a thread at start: nothing can run");
        (Arc::new(Snapshots { jobs, results: results.clone() }), thread)
    }

    /// Whether a snapshot would find a place now: serialising one costs.
    pub(crate) fn has_room(&self) -> bool {
        !self.jobs.is_full()
    }

    /// Hands a snapshot over. One that finds no place is settled as failed.
    pub(crate) fn write(&self, job: Job) {
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.jobs.try_send(job) {
            self.results.with_label_values(&["failed"]).inc();
            settle(&job);
        }
    }
}

fn settle(job: &Job) {
    job.busy.store(false, Ordering::SeqCst);
}

struct Writer {
    state: Arc<StateLog>,
    nonce: u64,
    results: IntCounterVec,
    shutdown: Shutdown,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while !self.shutdown.is_triggered() {
            let job = match jobs.recv_timeout(LOOK) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let result = self.write(&job);
            self.results.with_label_values(&[result]).inc();
            settle(&job);
        }
    }

    fn write(&mut self, job: &Job) -> &'static str {
        let tp = Tp { topic: job.live.topic.clone(), partition: job.live.partition };
        self.nonce = self.nonce.wrapping_add(1);
        let id = snapshot_id(job.offset, self.nonce);
        let parts: Vec<&[u8]> = job.bytes.chunks(PART_BYTES).collect();
        let manifest = Manifest {
            version: Manifest::VERSION,
            offset: job.offset,
            parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            bytes: job.bytes.len() as u64,
            crc: crc(&job.bytes),
            last_time: job.last_time,
            written: unix_ms(),
        };
        // Under the lease only: after a hand-over it is the next owner's to write.
        if job.live.lease_remaining(mono_ms()) <= 0 {
            return "no_lease";
        }
        let records: Vec<(String, Option<&[u8]>)> =
            parts.iter().enumerate().map(|(n, part)| (format!("{}/{id}/{n}", place(&tp)), Some(*part))).collect();
        let spots = match self.state.put_all(&place(&tp), &records) {
            Ok(spots) => spots,
            Err(error) => return failed(&tp, &id, &error.to_string()),
        };
        let body = serde_json::to_vec(&manifest).unwrap_or_default();
        let key = format!("{}/{id}/manifest", place(&tp));
        if let Err(error) = self.state.put(&place(&tp), &key, Some(&body)) {
            return failed(&tp, &id, &error.to_string());
        }
        let Some(read) = self.state.read_spots(&tp, &id, &manifest, &spots) else {
            tracing::error!(topic = %tp.topic, partition = tp.partition, snapshot = id, "a snapshot was written and cannot be read back: the one before it is kept");
            return "unread";
        };
        debug_assert_eq!(read.len(), job.bytes.len());
        job.live.replay.set_snapshot(&id, job.offset, manifest.written, manifest.bytes);
        tracing::debug!(topic = %tp.topic, partition = tp.partition, offset = job.offset, bytes = manifest.bytes, "snapshot written");
        self.clear(&tp, &id, job.offset);
        "ok"
    }

    /// Tombstones what the new one supersedes, manifests first: what has none is no
    /// snapshot, and its parts are cleared by the next one if this ends here.
    fn clear(&self, tp: &Tp, id: &str, offset: i64) {
        let keys = self.state.superseded(tp, id, offset);
        let tombstones: Vec<(String, Option<&[u8]>)> = keys.into_iter().map(|key| (key, None)).collect();
        if let Err(error) = self.state.put_all(&place(tp), &tombstones) {
            tracing::warn!(%error, "superseded snapshots are left until the next one");
        }
    }
}

fn failed(tp: &Tp, id: &str, why: &str) -> &'static str {
    tracing::warn!(topic = %tp.topic, partition = tp.partition, snapshot = id, why, "a snapshot was not written");
    "failed"
}
