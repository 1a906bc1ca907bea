//! A map by name that shares what did not change with its clones.
//!
//! Found by hash: an event looks its pipeline and its run up, and an ordered map would
//! compare a dozen names each time. What leaves the tracker leaves it [`sorted`].
use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

/// Values by name, in no order.
pub(super) type Map<V> = GenericHashMap<Arc<str>, Arc<V>, RandomState, DefaultSharedPtr>;

/// The map's entries by name.
pub(super) fn sorted<V>(map: &Map<V>) -> Vec<(&Arc<str>, &Arc<V>)> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}
