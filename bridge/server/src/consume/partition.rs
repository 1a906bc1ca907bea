//! One partition in the hands of its worker: records in, views out.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k2p_core::cache::{Applied, CacheConfig, Now, Outcome, PartitionCache};
use k2p_core::conflate::{Conflator, OwnedRecord};
use k2p_core::envelope::RawRecord;
use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::Tp;
use k2p_core::reason::{DropReason, RecordReason, Refusal as RecordRefusal};
use k2p_runtime::clock::{mono_ms, unix_ms};

use super::catalogue::Catalogue;
use super::context::GroupContext;
use super::counters::Counters;
use super::deadletter::DeadLetter;
use super::ffi::{self, PartitionQueue, Polled, Record};
use super::worker::Shared;
use crate::live::{LivePartition, Policy, Refusal};

/// Stale origins are looked for this often.
const EXPIRE_EVERY: MonoMs = 1000;
/// What is known of the origins is written this often.
const CATALOGUE_EVERY: MonoMs = 60_000;
/// Unparsed records are held up to this many bytes while catching up.
const PENDING_BYTES: usize = 64 << 20;
/// Under `drop_oldest` this many of the newest records are kept.
const KEPT_RECORDS: i64 = 1000;

pub(super) struct Partition {
    teller: Teller,
    shared: Arc<Shared>,
    cache: PartitionCache,
    /// What is held back unread: while catching up, or by policy.
    conflator: Conflator,
    /// The newest timestamp among what is held back.
    newest: Option<UnixMs>,
    /// The next offset to take from the queue; at least the published position.
    next: i64,
    /// Where a successor has to begin; looked up once a second, because it costs a walk
    /// over all origins. An older one only makes a successor read more.
    low_water: i64,
    /// How many partitions the topic had when that was last looked at; 0: unknown.
    partitions: i32,
    /// How many it had before (rule 10).
    former: Arc<[i32]>,
    expire_at: MonoMs,
    catalogue: Option<Arc<Catalogue>>,
    /// When to write what is known of the origins; none while another may be the owner.
    catalogue_at: Option<MonoMs>,
}

impl Partition {
    pub(super) fn new(
        live: Arc<LivePartition>,
        shared: Arc<Shared>,
        config: CacheConfig,
        counters: Counters,
        deadletter: Option<Arc<DeadLetter>>,
        catalogue: Option<Arc<Catalogue>>,
    ) -> Partition {
        let next = shared.position.load(Ordering::SeqCst);
        let partitions = shared.partitions.load(Ordering::SeqCst);
        let cache = PartitionCache::new(live.topic.clone(), live.partition, next, config);
        let conflator = Conflator::new(DropReason::Superseded);
        let teller = Teller { live, counters, deadletter };
        Partition {
            teller,
            shared,
            cache,
            conflator,
            newest: None,
            next,
            low_water: next,
            partitions,
            former: [].into(),
            expire_at: 0,
            catalogue,
            catalogue_at: None,
        }
    }

    /// Works until told to stop. `former`: how many partitions the topic had before.
    pub(super) fn run(mut self, queue: &PartitionQueue<GroupContext>, former: Arc<[i32]>) {
        self.former = former;
        self.cache.repartitioned(self.former.clone(), self.partitions);
        if let Some(catalogue) = &self.catalogue {
            let known = catalogue.of(&self.teller.tp());
            if !known.is_empty() {
                self.cache.seed(known, now());
                // It may be long until the first record.
                self.publish(None);
            }
        }
        while !self.shared.stop.load(Ordering::SeqCst) {
            let live = self.shared.live.load(Ordering::SeqCst);
            self.cache.set_live(live);
            self.keep_catalogue(live);
            match queue.poll(self.patience()) {
                Some(Polled::Record(record)) => self.record(queue, &record),
                Some(Polled::End(offset)) => self.end(offset),
                Some(Polled::Error(error)) => tracing::debug!(%error, "partition error; the client retries"),
                None => self.flush(),
            }
            self.expire();
        }
        // Told to go dark and to end between two looks.
        self.keep_catalogue(false);
    }

    /// How long it may wait for a record: whoever wants something of it wakes it.
    fn patience(&self) -> Duration {
        if !self.conflator.is_empty() {
            return Duration::ZERO;
        }
        let left = self.expire_at.saturating_sub(mono_ms()).clamp(0, EXPIRE_EVERY);
        Duration::from_millis(left.unsigned_abs())
    }

    /// The live owner writes what it knows of the origins once a minute, and when it goes
    /// dark: a successor reads it before its first record.
    fn keep_catalogue(&mut self, live: bool) {
        let now = mono_ms();
        let due = match self.catalogue_at {
            None => false,
            Some(at) => !live || now >= at,
        };
        if due && let Some(catalogue) = &self.catalogue {
            catalogue.write(&self.teller.tp(), self.cache.catalogue());
        }
        if due || live != self.catalogue_at.is_some() {
            self.catalogue_at = live.then_some(now + CATALOGUE_EVERY);
        }
    }

    fn record(&mut self, queue: &PartitionQueue<GroupContext>, record: &Record) {
        let value = record.value();
        self.teller.counters.consumed(value.map_or(0, <[u8]>::len));
        if record.offset() < self.next {
            // A rewound fetch may begin below what was asked for: already seen.
            return;
        }
        let next = record.offset() + 1;
        let policy = self.teller.live.policy();
        if policy == Policy::DropOldest && self.is_far_behind(queue) {
            self.flush();
            self.next = next;
            self.teller.counters.dropped(DropReason::DropOldest, 1);
            self.publish(record.timestamp());
            return;
        }
        let headers = record.headers();
        let raw = RawRecord {
            key: record.key(),
            value,
            headers: &headers,
            timestamp: record.timestamp(),
            offset: record.offset(),
        };
        let catching_up = !self.shared.live.load(Ordering::SeqCst);
        if catching_up || policy == Policy::Conflate {
            self.hold_back(&raw, if catching_up { DropReason::Superseded } else { DropReason::Conflated });
            return;
        }
        self.flush();
        self.next = next;
        let applied = self.apply(&raw);
        self.teller.settle(&applied, &raw);
        self.publish(record.timestamp());
    }

    fn hold_back(&mut self, raw: &RawRecord<'_>, reason: DropReason) {
        if self.conflator.is_empty() {
            self.conflator = Conflator::new(reason);
        }
        self.newest = raw.timestamp.or(self.newest);
        self.conflator.push(OwnedRecord::copy(raw));
        self.next = raw.offset + 1;
        if self.conflator.pending_bytes() > PENDING_BYTES {
            self.flush();
        }
    }

    /// A record must not take its partition down: whatever a codec does with it.
    fn apply(&mut self, raw: &RawRecord<'_>) -> Applied {
        let now = now();
        let cache = &mut self.cache;
        let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.apply(raw, now)));
        applied.unwrap_or_else(|_| failed(raw.offset))
    }

    /// Applies what was held back, newest first.
    fn flush(&mut self) {
        if self.conflator.is_empty() {
            return;
        }
        let Partition { conflator, cache, teller, .. } = self;
        let mut report = |record: &OwnedRecord, applied: Applied| {
            record.with_raw(|raw| teller.settle(&applied, raw));
        };
        let flush = std::panic::AssertUnwindSafe(|| conflator.flush(cache, now(), &mut report));
        if std::panic::catch_unwind(flush).is_err() {
            // The records are gone; their origins send newer dumps at their next interval.
            teller.settle(&failed(self.next - 1), &RawRecord::default());
        }
        let newest = self.newest.take();
        self.publish(newest);
    }

    /// The end of the log: whatever lies below and was not delivered never will be.
    fn end(&mut self, offset: i64) {
        self.flush();
        if offset > self.next {
            self.next = offset;
            self.publish(None);
        }
    }

    fn expire(&mut self) {
        let now = now();
        if now.mono < self.expire_at {
            return;
        }
        // A position must never pass records that are held back unread (G2).
        self.flush();
        self.expire_at = now.mono + EXPIRE_EVERY;
        self.low_water = self.cache.low_water(now);
        self.shared.low_water.store(self.low_water, Ordering::SeqCst);
        self.repartition();
        let expired = self.cache.expire(now);
        self.teller.counters.dropped(DropReason::IncompleteParts, expired.incomplete);
        if expired.changed() {
            for key in &expired.stale {
                tracing::info!(topic = %self.teller.live.topic, partition = self.teller.live.partition, origin = %key, "origin is stale: no dump for longer than its staleness");
            }
            self.publish(None);
        }
    }

    /// Rule 10: origins whose newer dumps go to another partition now are not shown here.
    fn repartition(&mut self) {
        let now = self.shared.partitions.load(Ordering::SeqCst);
        let before = std::mem::replace(&mut self.partitions, now);
        if before == 0 || now <= before {
            return;
        }
        self.former = self.former.iter().copied().chain([before]).collect();
        let moved = self.cache.repartitioned(self.former.clone(), now);
        tracing::warn!(topic = %self.teller.live.topic, partition = self.teller.live.partition, before, now, moved, "the topic gained partitions: origins that moved away are not shown here any more");
        self.publish(None);
    }

    /// First the view, then the position: what is below a position can be scraped (G2).
    fn publish(&mut self, timestamp: Option<UnixMs>) {
        self.cache.skip_to(self.next);
        self.teller.live.view.store(self.cache.view());
        self.teller.live.position.store(self.next, Ordering::SeqCst);
        if let Some(at) = timestamp {
            self.teller.live.position_time.store(at, Ordering::Relaxed);
        }
        self.shared.low_water.store(self.low_water, Ordering::SeqCst);
        self.shared.position.store(self.next, Ordering::SeqCst);
    }

    fn is_far_behind(&self, queue: &PartitionQueue<GroupContext>) -> bool {
        ffi::cached_end(queue.consumer(), &self.teller.tp()).is_some_and(|end| end - self.next >= KEPT_RECORDS)
    }
}

/// Says what became of records: to the counters, the status page, the dead letters.
struct Teller {
    live: Arc<LivePartition>,
    counters: Counters,
    deadletter: Option<Arc<DeadLetter>>,
}

impl Teller {
    fn tp(&self) -> Tp {
        Tp { topic: self.live.topic.clone(), partition: self.live.partition }
    }

    /// Counts what became of a record, and says why it was refused.
    fn settle(&self, applied: &Applied, raw: &RawRecord<'_>) {
        self.counters.applied(applied, unix_ms());
        let Outcome::Refused(refusal) = &applied.outcome else { return };
        let reason = refusal.reason.as_str();
        self.live.refuse(Refusal {
            time: unix_ms(),
            offset: applied.offset,
            origin: applied.origin.clone().unwrap_or_else(|| "".into()),
            reason,
            detail: refusal.detail.as_str().into(),
        });
        tracing::debug!(
            topic = %self.live.topic,
            partition = self.live.partition,
            offset = applied.offset,
            reason,
            detail = %refusal.detail,
            "record refused"
        );
        if let Some(deadletter) = &self.deadletter {
            deadletter.send(raw, &self.live.topic, self.live.partition, reason, &refusal.detail);
        }
    }
}

/// A record that made the program fail.
fn failed(offset: i64) -> Applied {
    let detail = "reading it made the program fail; please report it with the record".to_owned();
    let outcome = Outcome::Refused(RecordRefusal::new(RecordReason::Internal, detail));
    Applied { offset, origin: None, outcome, incomplete: 0 }
}

fn now() -> Now {
    Now { unix: unix_ms(), mono: mono_ms() }
}
