//! Watching the markers of the whole group (rule 3).
use std::collections::BTreeMap;

use super::{Found, Tp};
use crate::model::MonoMs;

/// For every partition of the group: what its marker was at the last look, and since
/// when it has been exactly that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    seen: BTreeMap<Tp, Box<Seen>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    found: Found,
    since: MonoMs,
    /// There is no marker, and there was one that held: offsets that are deleted (with
    /// their topic, say) do not end the lease of whom they named.
    vanished: bool,
}

impl Watch {
    /// Takes a look's result; `now` is the arrival of the answer. Any changed byte of
    /// a marker or its offset restarts the count, unless `restart` was taken away.
    pub(super) fn look(&mut self, tp: &Tp, found: Found, now: MonoMs, restart: bool) {
        match self.seen.get_mut(tp) {
            Some(seen) if seen.found == found => {}
            Some(seen) if !restart => seen.found = found,
            before => {
                let held = before.is_some_and(|seen| seen.found.is_held());
                let vanished = held && found == Found::Nothing;
                self.seen.insert(tp.clone(), Box::new(Seen { found, since: now, vanished }));
            }
        }
    }

    /// Counts that are over are all the same (see [`super::Machine::forget`]).
    pub(super) fn forget(&mut self, now: MonoMs, wait: MonoMs) {
        for seen in self.seen.values_mut() {
            if !seen.found.is_held() && !seen.vanished {
                (seen.found, seen.since) = (Found::Nothing, MonoMs::MIN / 2);
            }
            if seen.since + wait <= now {
                seen.since = MonoMs::MIN / 2;
            }
        }
    }

    pub(super) fn renumber(&mut self, number: &mut dyn FnMut(u64, u64) -> u64) {
        for seen in self.seen.values_mut() {
            seen.found.renumber(number);
        }
    }

    /// Since when this very marker has been seen, by the arrival of the first answer
    /// that showed it.
    pub(super) fn since(&self, tp: &Tp, found: &Found) -> Option<MonoMs> {
        self.seen.get(tp).filter(|seen| seen.found == *found).map(|seen| seen.since)
    }

    /// Since when a marker that held is gone, if it is.
    pub(super) fn vanished(&self, tp: &Tp) -> Option<MonoMs> {
        self.seen.get(tp).filter(|seen| seen.vanished).map(|seen| seen.since)
    }

    /// The last look at a partition and since when it has been so.
    pub fn get(&self, tp: &Tp) -> Option<(&Found, MonoMs)> {
        self.seen.get(tp).map(|seen| (&seen.found, seen.since))
    }

    /// All partitions seen, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Tp, &Found, MonoMs)> {
        self.seen.iter().map(|(tp, seen)| (tp, &seen.found, seen.since))
    }

    /// Forgets what is no partition of the group's topics any more.
    pub fn retain(&mut self, mut keep: impl FnMut(&Tp) -> bool) {
        self.seen.retain(|tp, _| keep(tp));
    }
}
