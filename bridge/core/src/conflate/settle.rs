//! From the events of one origin to the cache.
use super::events::Event;
use crate::cache::{Applied, Identity, Now, Outcome, PartitionCache, Prepared, applied};
use crate::envelope::RawRecord;
use crate::model::UnixMs;
use crate::reason::{DropReason, Refusal};

/// One origin's way into the cache.
pub(super) struct Settling<'c, 'r> {
    pub(super) cache: &'c mut PartitionCache,
    pub(super) identity: &'c Identity,
    pub(super) reason: DropReason,
    pub(super) now: Now,
    pub(super) raws: &'r [RawRecord<'r>],
    pub(super) results: &'r mut [Option<Applied>],
}

impl Settling<'_, '_> {
    /// The newest dump that can be shown, by its place among the events. Those after it
    /// then hold their refusal.
    pub(super) fn find_newest(&mut self, events: &mut [Event<'_>]) -> Option<(usize, Prepared)> {
        for (i, event) in events.iter_mut().enumerate().rev() {
            let Event::Dump { dump, overflow, refusal, .. } = event else {
                continue;
            };
            if dump.pieces.is_empty() {
                continue;
            }
            let read = match overflow {
                Some(bytes) => Err(self.cache.parts_too_large(*bytes)),
                None => self.cache.read(self.identity, dump),
            };
            match read {
                Ok(prepared) => return Some((i, prepared)),
                Err(why) => *refusal = Some(why),
            }
        }
        None
    }

    pub(super) fn replay(&mut self, events: Vec<Event<'_>>, newest: Option<(usize, Prepared)>) {
        let (counts, mut prepared) = match newest {
            Some((at, prepared)) => (Some(at), Some(prepared)),
            None => (None, None),
        };
        let mut earlier: Vec<UnixMs> = Vec::new();
        for (i, event) in events.into_iter().enumerate() {
            let before = counts.is_some_and(|at| i < at);
            match event {
                Event::Dump { records, dump, refusal, .. } => {
                    let last = self.settle_parts(&records);
                    if dump.pieces.is_empty() {
                        self.cache.observe(&self.identity.key, dump.at.dump_time);
                        self.set(&records, DropReason::Older);
                    } else if before {
                        earlier.push(dump.at.dump_time);
                        self.set(&records, self.reason);
                    } else if let Some(prepared) = prepared.take_if(|_| counts == Some(i)) {
                        let done = self.cache.accept(self.identity, dump.at, prepared, &earlier, self.now);
                        self.results[last] = Some(done);
                    } else if let Some(refusal) = refusal {
                        self.cache.observe(&self.identity.key, dump.at.dump_time);
                        self.refuse(last, refusal);
                    }
                }
                Event::Bad { record, refusal } => self.refuse(record, refusal),
                Event::Delete { record } if before => self.set(&[record], self.reason),
                Event::Delete { record } => {
                    let done = self.cache.delete(&self.identity.key, self.raws[record].offset);
                    self.results[record] = Some(done);
                }
                Event::Nothing { record, reason } => self.set(&[record], reason),
                Event::Unfinished { records } => {
                    for record in records {
                        self.results[record] = Some(self.cache.apply(&self.raws[record], self.now));
                    }
                }
            }
        }
    }

    /// All records of a dump but the last are parts; that one tells what became of it.
    fn settle_parts(&mut self, records: &[usize]) -> usize {
        for record in records {
            self.results[*record] = Some(applied(&self.identity.key, self.raws[*record].offset, Outcome::Pending));
        }
        records.last().copied().unwrap_or_default()
    }

    fn set(&mut self, records: &[usize], reason: DropReason) {
        for record in records {
            let outcome = Outcome::Dropped(reason);
            self.results[*record] = Some(applied(&self.identity.key, self.raws[*record].offset, outcome));
        }
    }

    fn refuse(&mut self, record: usize, refusal: Refusal) {
        let (key, offset) = (Some(&self.identity.key), self.raws[record].offset);
        let done = self.cache.refuse(key, offset, refusal, self.now);
        self.results[record] = Some(done);
    }
}
