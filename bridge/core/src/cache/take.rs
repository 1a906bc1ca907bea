//! The way of a record from its envelope to a verdict.
use super::{Applied, Dump, Identity, Now, Outcome, PartitionCache, Taken, applied};
use crate::envelope::{Envelope, Op};
use crate::model::UnixMs;
use crate::parts::{Assembly, Piece, Progress, Step};
use crate::reason::DropReason;

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
        let (key, limit) = (&identity.key, self.config.dump_bytes());
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
                let assembly = Assembly::begin(part, envelope, now.mono, limit);
                self.unfinished.insert(key.clone(), assembly);
            }
            Step::Next => {
                if let Some(assembly) = self.unfinished.get_mut(key) {
                    assembly.next(envelope, limit);
                }
            }
        }
        let unfinished = self.unfinished.get(key);
        let finished = unfinished.is_some_and(|a| a.progress.finished());
        let assembly = finished.then(|| self.unfinished.remove(key)).flatten();
        let Some(assembly) = assembly else {
            return Applied { incomplete, ..applied(key, at.offset, Outcome::Pending) };
        };
        Applied { incomplete, ..self.finish_parts(identity, &assembly, at, now) }
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
                let refusal = self.parts_too_large(bytes);
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
        if !self.admits(key) {
            return self.refuse(Some(key), dump.at.offset, self.too_many(), now);
        }
        match self.read(identity, dump) {
            Ok(prepared) => self.accept(identity, dump.at, prepared, &[], now),
            Err(refusal) => self.refuse(Some(key), dump.at.offset, refusal, now),
        }
    }
}
