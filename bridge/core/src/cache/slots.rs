//! Who is in the cache: places, their limit, and the sums over them.
use std::sync::Arc;

use super::memory::weight;
use super::{PartitionCache, Slot};
use crate::reason::{RecordReason, Refusal};
use crate::view::Origin;

impl PartitionCache {
    /// Whether the origin has a dump, or may have one beside the others.
    pub(super) fn admits(&self, key: &str) -> bool {
        if self.is_living(key) {
            return true;
        }
        let limit = self.config.limits.origins;
        if self.living + self.unfinished.len() < limit {
            return true;
        }
        // Unfinished dumps of origins that have none yet hold a place as well.
        let waiting = self.unfinished.keys();
        let waiting = waiting.filter(|k| k.as_ref() != key && !self.is_living(k));
        self.living + waiting.count() < limit
    }

    pub(super) fn too_many(&self) -> Refusal {
        let detail = format!(
            "the partition has {} origins already, its share of the topic's limit: raise the topic's origins, or add partitions",
            self.config.limits.origins
        );
        Refusal::new(RecordReason::TooManyOrigins, detail)
    }

    /// Origins with and without a dump together.
    pub(super) fn most_known(&self) -> usize {
        self.config.limits.origins.saturating_mul(2)
    }

    /// Forgets the origin that has been without a dump for longest, if there are too
    /// many; `false` if nobody can go.
    pub(super) fn make_room(&mut self) -> bool {
        if self.slots.len() < self.most_known() {
            return true;
        }
        let gone = self.slots.values().filter(|s| s.origin.dump.is_none());
        let oldest = gone.min_by_key(|s| (s.fresh, s.origin.key.clone()));
        match oldest.map(|s| s.origin.key.clone()) {
            Some(key) => {
                self.forget(&key);
                true
            }
            None => false,
        }
    }

    pub(super) fn show(&mut self, slot: Slot) {
        if let Some(dump) = &slot.origin.dump {
            self.living += 1;
            self.series += dump.series() as u64;
        }
        self.bytes += weight(&slot.origin);
        let origin = slot.origin.clone();
        if let Some(before) = self.slots.insert(origin.key.clone(), slot) {
            self.bytes -= weight(&before.origin);
            if let Some(dump) = &before.origin.dump {
                self.living -= 1;
                self.series -= dump.series() as u64;
            }
        }
        self.origins.insert(origin.key.clone(), origin);
        self.settle_memory();
    }

    pub(super) fn hide(&mut self, key: &Arc<str>) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(dump) = slot.origin.dump.clone() else {
            return;
        };
        self.living -= 1;
        self.series -= dump.series() as u64;
        self.bytes -= dump.own_bytes() as u64;
        let origin = Arc::new(Origin { dump: None, dump_bytes: 0, ..Origin::clone(&slot.origin) });
        slot.origin = origin.clone();
        self.origins.insert(key.clone(), origin);
        self.settle_memory();
    }

    pub(super) fn forget(&mut self, key: &Arc<str>) {
        self.hide(key);
        if let Some(slot) = self.slots.remove(key) {
            self.bytes -= weight(&slot.origin);
        }
        self.origins.remove(key);
        self.settle_memory();
    }
}
