//! The steps of applying a record, one by one: a conflator takes the same ones.
use std::sync::Arc;

use super::interval::Interval;
use super::{
    Accepted, Applied, Dump, Identity, KEPT_REFUSALS, Now, Outcome, PartitionCache, Prepared, RefusedRecord, Slot,
    Taken, applied, older, read,
};
use crate::envelope::{self, OriginKey};
use crate::labels::Labels;
use crate::model::UnixMs;
use crate::reason::{RecordReason, Refusal};
use crate::view::Origin;

impl PartitionCache {
    /// Whose record it is, and what labels its samples get.
    pub(crate) fn identity(&self, record_key: &[u8]) -> Result<Identity, Refusal> {
        if let Some(known) = self.known_identity(record_key) {
            return Ok(known);
        }
        let key = OriginKey::read(record_key)?;
        let text: Arc<str> = match &key {
            OriginKey::Labels(labels) => labels.canonical().into(),
            OriginKey::Opaque(_) => {
                let bare = envelope::origin_labels(&key, &Labels::default());
                bare.canonical().into()
            }
        };
        Ok(Identity {
            key: text,
            record_key: record_key.into(),
            labels: envelope::origin_labels(&key, &self.config.fixed),
        })
    }

    /// That of an origin whose key is written in canonical form, as its last record's was,
    /// under the labels that the topic fixed then.
    fn known_identity(&self, record_key: &[u8]) -> Option<Identity> {
        let slot = self.slots.get(std::str::from_utf8(record_key).ok()?)?;
        let origin = &slot.origin;
        (slot.configured == self.configured && *origin.record_key == *record_key).then(|| Identity {
            key: origin.key.clone(),
            record_key: origin.record_key.clone(),
            labels: origin.labels.clone(),
        })
    }

    /// Everything below the next offset is in the cache, or accounted for.
    pub(crate) fn passed(&mut self, offset: i64) {
        self.position = self.position.max(offset.saturating_add(1));
    }

    /// The newest record timestamp so far; what lies in the future counts as now.
    pub(crate) fn log_reaches(&mut self, timestamp: Option<UnixMs>, now: Now) -> UnixMs {
        let timestamp = timestamp.unwrap_or(UnixMs::MIN).min(now.unix);
        self.log_time = self.log_time.max(timestamp);
        self.log_time
    }

    /// Whether a whole dump of that time would be dropped by rule 8.
    pub(crate) fn is_older(&self, key: &str, dump_time: UnixMs) -> bool {
        let newest = self.newest_time(key);
        newest.is_some_and(|newest| older(dump_time, newest))
    }

    /// When the newest accepted dump of an origin was taken.
    pub(crate) fn newest_time(&self, key: &str) -> Option<UnixMs> {
        Some(self.slots.get(key)?.origin.dump_time)
    }

    pub(crate) fn has_unfinished(&self, key: &str) -> bool {
        self.unfinished.contains_key(key)
    }

    pub(crate) fn is_living(&self, key: &str) -> bool {
        self.slots.get(key).is_some_and(|s| s.origin.dump.is_some())
    }

    /// Whether so many origins more may come to life, in any order, without a limit
    /// being reached.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        let unfinished = self.unfinished.len();
        self.living + unfinished + more <= self.config.limits.origins && self.slots.len() + more <= self.most_known()
    }

    /// Takes note of a complete dump's time, whatever becomes of it.
    pub(crate) fn observe(&mut self, key: &str, dump_time: UnixMs) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.interval.observe(dump_time);
        }
    }

    /// Reads a complete dump without changing anything.
    pub(crate) fn read(&self, identity: &Identity, dump: &Dump<'_>) -> Result<Prepared, Refusal> {
        let slot = self.slots.get(&identity.key);
        let last = slot.and_then(|slot| slot.origin.dump.as_deref());
        let shapes = self.shapes.as_ref();
        let prepared = read::read(&self.config, shapes, last, &identity.labels, dump.content_type, &dump.pieces)?;
        let entitled = self.admit_memory(slot, &prepared.dump)?;
        Ok(Prepared { entitled, ..prepared })
    }

    pub(crate) fn parts_too_large(&self, bytes: usize) -> Refusal {
        let limit = self.config.dump_bytes();
        let detail = format!(
            "its parts have {bytes} bytes, at most {limit} are taken: drop series at the target, or raise the topic's dump_bytes"
        );
        Refusal::new(RecordReason::TooLarge, detail)
    }

    /// The most bytes of a dump.
    pub(crate) fn dump_bytes(&self) -> usize {
        self.config.dump_bytes()
    }

    /// Shows a dump. `earlier`: times of dumps before it that were not looked at.
    pub(crate) fn accept(
        &mut self,
        identity: &Identity,
        at: Taken,
        prepared: Prepared,
        earlier: &[UnixMs],
        now: Now,
    ) -> Applied {
        let mut interval = match self.slots.get(&identity.key) {
            Some(slot) => slot.interval.clone(),
            None => {
                self.make_room();
                Interval::default()
            }
        };
        earlier.iter().for_each(|time| interval.observe(*time));
        interval.observe(at.dump_time);
        let age = match self.live || at.log_time == UnixMs::MIN {
            true => 0,
            false => now.unix.saturating_sub(at.log_time).max(0),
        };
        let accepted = Accepted {
            series: prepared.dump.series() as u64,
            bytes: prepared.bytes,
            format: prepared.format,
            dump_time: at.dump_time,
            rejected: prepared.rejected,
            rejections: prepared.rejections,
            duplicates: prepared.dump.duplicates(),
        };
        self.show(Slot {
            origin: Arc::new(Origin {
                key: identity.key.clone(),
                record_key: identity.record_key.clone(),
                labels: identity.labels.clone(),
                dump: Some(Arc::new(prepared.dump)),
                dump_time: at.dump_time,
                seen: now.mono,
                offset: at.first_offset,
                dump_bytes: prepared.bytes,
                stamp: self.config.stamp,
                last_refusal: None,
            }),
            interval,
            fresh: now.mono.saturating_sub(age),
            configured: self.configured,
            entitled: prepared.entitled,
        });
        applied(&identity.key, at.offset, Outcome::Accepted(accepted))
    }

    /// Notes a refusal, at the origin too if it is known.
    pub(crate) fn refuse(&mut self, key: Option<&Arc<str>>, offset: i64, refusal: Refusal, now: Now) -> Applied {
        let detail: Arc<str> = refusal.detail.as_str().into();
        if let Some(slot) = key.and_then(|key| self.slots.get_mut(key)) {
            let origin = Arc::new(Origin { last_refusal: Some(detail.clone()), ..Origin::clone(&slot.origin) });
            slot.origin = origin.clone();
            self.origins.insert(origin.key.clone(), origin);
        }
        if self.refusals.len() == KEPT_REFUSALS {
            self.refusals.pop_front();
        }
        self.refusals.push_back(RefusedRecord {
            offset,
            origin: key.cloned(),
            reason: refusal.reason,
            detail,
            time: now.unix,
        });
        Applied { offset, origin: key.cloned(), outcome: Outcome::Refused(refusal), incomplete: 0 }
    }

    /// Takes an origin away: unlike one that fell silent, it is not missed. Its slot stays,
    /// so that an older dump that comes late does not bring it back.
    pub(crate) fn delete(&mut self, key: &Arc<str>, offset: i64) -> Applied {
        self.hide(key);
        self.origins.remove(key);
        applied(key, offset, Outcome::Deleted)
    }

    pub(super) fn drop_unfinished(&mut self, key: &str) -> u64 {
        self.take_unfinished(key).map_or(0, |a| a.records())
    }
}
