//! Watching the markers of the whole group (rule 3).
use std::collections::BTreeMap;

use super::{Found, Tp};
use crate::model::MonoMs;

/// For every partition of the group: what its marker was at the last look, and since
/// when it has been exactly that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    seen: BTreeMap<Tp, (Found, MonoMs)>,
}

impl Watch {
    /// Takes a look's result; `now` is the arrival of the answer. Any changed byte of
    /// a marker or its offset restarts the count, unless `restart` was taken away.
    pub(super) fn look(&mut self, tp: &Tp, found: Found, now: MonoMs, restart: bool) {
        match self.seen.get_mut(tp) {
            Some((old, _)) if *old == found => {}
            Some((old, _)) if !restart => *old = found,
            _ => {
                self.seen.insert(tp.clone(), (found, now));
            }
        }
    }

    /// Since when this very marker has been seen, by the arrival of the first answer
    /// that showed it.
    pub(super) fn since(&self, tp: &Tp, found: &Found) -> Option<MonoMs> {
        self.seen.get(tp).filter(|(f, _)| f == found).map(|(_, at)| *at)
    }

    /// The last look at a partition and since when it has been so.
    pub fn get(&self, tp: &Tp) -> Option<&(Found, MonoMs)> {
        self.seen.get(tp)
    }

    /// All partitions seen, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Tp, &Found, MonoMs)> {
        self.seen.iter().map(|(tp, (found, at))| (tp, found, *at))
    }

    /// Forgets what is no partition of the group's topics any more.
    pub fn retain(&mut self, mut keep: impl FnMut(&Tp) -> bool) {
        self.seen.retain(|tp, _| keep(tp));
    }
}
