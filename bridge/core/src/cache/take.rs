//! The way of a record from its envelope to a verdict.
use std::sync::Arc;

use super::{Applied, Dump, Identity, Now, Outcome, PartitionCache, REFUSED_IN_A_ROW, Taken, applied};
use crate::envelope::{Envelope, Op};
use crate::model::UnixMs;
use crate::parts::{Assembly, Piece, Progress, Step};
use crate::reason::{DropReason, Refusal};

impl PartitionCache {
    pub(super) fn take(&mut self, identity: &Identity, envelope: &Envelope<'_>, log_time: UnixMs, now: Now) -> Applied {
        let key = &identity.key;
        let at =
            Taken { dump_time: envelope.dump_time, offset: envelope.offset, first_offset: envelope.offset, log_time };
        if envelope.op == Op::Delete {
            let incomplete = self.drop_unfinished(key);
            return Applied { incomplete, ..self.delete(key, envelope.offset) };
        }
        if envelope.part.is_some() {
            return self.take_part(identity, envelope, at, now);
        }
        let incomplete = self.drop_unfinished(key);
        let dump = Dump {
            content_type: envelope.content_type,
            pieces: vec![Piece { encoding: envelope.encoding, body: envelope.body }],
            at,
        };
        Applied { incomplete, ..self.complete(identity, &dump, now) }
    }

    fn take_part(&mut self, identity: &Identity, envelope: &Envelope<'_>, at: Taken, now: Now) -> Applied {
        let key = &identity.key;
        let Some(part) = &envelope.part else {
            return applied(key, at.offset, Outcome::Pending);
        };
        let current = self.unfinished.get(key).map(|a| &a.progress);
        let mut incomplete = 0;
        match Progress::step(current, part) {
            Step::Repeat => {
                return applied(key, at.offset, Outcome::Dropped(DropReason::Duplicate));
            }
            step @ (Step::Stray | Step::Gap) => {
                if step == Step::Gap {
                    incomplete = self.drop_unfinished(key);
                }
                let outcome = Outcome::Dropped(DropReason::IncompleteParts);
                return Applied { incomplete, ..applied(key, at.offset, outcome) };
            }
            Step::Begin => {
                incomplete = self.drop_unfinished(key);
                if !self.admits(key) {
                    let refused = self.refuse(Some(key), at.offset, self.too_many(), now);
                    return Applied { incomplete, ..refused };
                }
                let assembly = Assembly::begin(part, envelope, now.mono, self.parts_limit(key, envelope));
                self.parts_bytes += assembly.held() as u64;
                self.unfinished.insert(key.clone(), assembly);
                self.settle_memory();
            }
            Step::Next => {
                let limit = self.parts_limit(key, envelope);
                if let Some(assembly) = self.unfinished.get_mut(key) {
                    self.parts_bytes -= assembly.held() as u64;
                    assembly.next(envelope, limit);
                    self.parts_bytes += assembly.held() as u64;
                }
                self.settle_memory();
            }
        }
        let unfinished = self.unfinished.get(key);
        let finished = unfinished.is_some_and(|a| a.progress.finished());
        let assembly = finished.then(|| self.take_unfinished(key)).flatten();
        let Some(assembly) = assembly else {
            return Applied { incomplete, ..applied(key, at.offset, Outcome::Pending) };
        };
        Applied { incomplete, ..self.finish_parts(identity, &assembly, at, now) }
    }

    /// How many bytes the parts of an unfinished dump may have, this one included: the
    /// topic's limit; where its memory is full, hardly more than the origin's last dump had.
    fn parts_limit(&self, key: &str, envelope: &Envelope<'_>) -> usize {
        let limit = self.config.dump_bytes();
        if self.has_memory_for(envelope.body.len()) {
            return limit;
        }
        let last = self.slots.get(key).map_or(0, |slot| slot.origin.dump_bytes);
        limit.min(usize::try_from(last + last / 8).unwrap_or(limit))
    }

    /// Takes an unfinished dump out, and its bytes off the account.
    pub(super) fn take_unfinished(&mut self, key: &str) -> Option<Assembly> {
        let assembly = self.unfinished.remove(key)?;
        self.parts_bytes -= assembly.held() as u64;
        self.settle_memory();
        Some(assembly)
    }

    /// Lets go of unfinished dumps whose next part did not come for too long; returns how
    /// many records they were.
    pub(super) fn expire_parts(&mut self, now: Now) -> u64 {
        let (rewind, bytes) = (self.config.rewind, &mut self.parts_bytes);
        let mut records = 0;
        self.unfinished.retain(|_, assembly| {
            let keep = now.mono.saturating_sub(assembly.started) <= rewind;
            if !keep {
                records += assembly.records();
                *bytes -= assembly.held() as u64;
            }
            keep
        });
        records
    }

    fn finish_parts(&mut self, identity: &Identity, assembly: &Assembly, at: Taken, now: Now) -> Applied {
        let at = Taken { first_offset: assembly.first_offset, ..at };
        match assembly.pieces() {
            Ok(pieces) => {
                let dump = Dump { content_type: assembly.content_type.as_deref(), pieces, at };
                self.complete(identity, &dump, now)
            }
            Err(bytes) => {
                self.observe(&identity.key, at.dump_time);
                if self.is_older(&identity.key, at.dump_time) {
                    let outcome = Outcome::Dropped(DropReason::Older);
                    return applied(&identity.key, at.offset, outcome);
                }
                let refusal = match bytes > self.config.dump_bytes() {
                    true => self.parts_too_large(bytes),
                    false => self.no_memory(bytes as u64),
                };
                self.refuse(Some(&identity.key), at.offset, refusal, now)
            }
        }
    }

    /// Judges a complete dump: rule 8, then the limits, then its content.
    fn complete(&mut self, identity: &Identity, dump: &Dump<'_>, now: Now) -> Applied {
        let key = &identity.key;
        self.observe(key, dump.at.dump_time);
        if self.is_older(key, dump.at.dump_time) {
            return applied(key, dump.at.offset, Outcome::Dropped(DropReason::Older));
        }
        if self.live && self.quarantine.holds(key, now.mono) {
            return applied(key, dump.at.offset, Outcome::Dropped(DropReason::Quarantined));
        }
        if !self.admits(key) {
            return self.refuse(Some(key), dump.at.offset, self.too_many(), now);
        }
        match self.read(identity, dump) {
            Ok(prepared) => {
                self.quarantine.accepted(key);
                self.accept(identity, dump.at, prepared, &[], now)
            }
            Err(refusal) => {
                let refusal = self.note_refused(key, refusal, now);
                self.refuse(Some(key), dump.at.offset, refusal, now)
            }
        }
    }

    /// Counts a dump that was read in vain; the one that begins a quarantine says so.
    fn note_refused(&mut self, key: &Arc<str>, mut refusal: Refusal, now: Now) -> Refusal {
        let most = self.most_known();
        if self.live && self.quarantine.refused(key, now.mono, most) {
            let why = format!("; {REFUSED_IN_A_ROW} of its dumps in a row were refused: now one a minute is read");
            refusal.detail.push_str(&why);
        }
        refusal
    }
}
