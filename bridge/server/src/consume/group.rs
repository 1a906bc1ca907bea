//! The group's map, made of its markers.
use std::collections::BTreeMap;
use std::sync::Arc;

use k2p_core::ownership::{Found, MarkerKind, Tp, Watch};

use crate::live::{GroupMap, Marker, Ownership};

/// Every partition of `topics` with what its marker says. Complete when every topic's
/// partitions are known and each one's marker was read.
pub(super) fn map(watch: &Watch, counts: BTreeMap<Arc<str>, i32>, topics: &[Arc<str>]) -> GroupMap {
    let mut map = GroupMap { complete: topics.iter().all(|t| counts.contains_key(t)), partitions: BTreeMap::new() };
    for (topic, count) in counts {
        for partition in 0..count {
            let seen = watch.get(&Tp { topic: topic.clone(), partition });
            map.complete &= seen.is_some();
            let Some((found, since)) = seen else { continue };
            let ownership = Ownership { marker: marker(found), owner: owner(found), since };
            map.partitions.insert((topic.clone(), partition), ownership);
        }
    }
    map
}

fn marker(found: &Found) -> Marker {
    match found.marker().map(|m| m.kind) {
        Some(MarkerKind::Held | MarkerKind::Claimed { .. }) => Marker::Held,
        Some(MarkerKind::Released | MarkerKind::ReleasedNoPosition) => Marker::Released,
        None => Marker::Unknown,
    }
}

fn owner(found: &Found) -> Option<Arc<str>> {
    found.marker().filter(|m| found.is_held() && !m.peer.is_empty()).map(|m| m.peer.clone())
}
