//! Lists of origins and partitions, for the API, the peers, discovery and the page.
use std::collections::BTreeMap;
use std::sync::Arc;

use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::State;
use k2p_core::view::Origin;
use serde::{Deserialize, Serialize};

use super::Exposer;
use super::paging::Slice;
use crate::live::{Exposed, GroupMap, LivePartition, Marker};

/// One origin as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub(super) struct OriginInfo {
    /// Its key in canonical form.
    pub(super) key: String,
    /// The key of its records, where that is another text; what is no UTF-8 in it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) record_key: Option<String>,
    /// The labels on its samples.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) topic: String,
    pub(super) partition: i32,
    /// It has a dump that is not stale.
    pub(super) up: bool,
    /// Unix seconds.
    pub(super) last_dump_timestamp_seconds: f64,
    pub(super) age_seconds: f64,
    pub(super) series: u64,
    /// Of the dump, decompressed.
    pub(super) dump_bytes: u64,
    /// Estimated memory.
    pub(super) cache_bytes: u64,
    /// Of the last accepted dump's record.
    pub(super) offset: i64,
    /// Why a newer dump was refused, if it was.
    pub(super) last_refusal: Option<String>,
}

impl OriginInfo {
    pub(super) fn new(topic: &str, partition: i32, origin: &Origin, wall: UnixMs) -> OriginInfo {
        let labels = origin.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
        let dump = origin.dump.as_deref();
        OriginInfo {
            key: origin.key.to_string(),
            record_key: (*origin.record_key != *origin.key.as_bytes())
                .then(|| String::from_utf8_lossy(&origin.record_key).into_owned()),
            labels: labels.collect(),
            topic: topic.to_owned(),
            partition,
            up: dump.is_some(),
            last_dump_timestamp_seconds: seconds(origin.dump_time),
            age_seconds: seconds(wall.saturating_sub(origin.dump_time)),
            series: dump.map_or(0, |d| d.series() as u64),
            dump_bytes: dump.map_or(0, |_| origin.dump_bytes),
            cache_bytes: dump.map_or(0, |d| d.bytes() as u64),
            offset: origin.offset,
            last_refusal: origin.last_refusal.as_deref().map(str::to_owned),
        }
    }
}

/// Milliseconds as seconds, exact below 2^53.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A page of a longer list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Page<T> {
    /// All that match.
    pub(super) total: usize,
    /// The place of the first one here.
    pub(super) offset: usize,
    /// At most this many are here.
    pub(super) limit: usize,
    pub(super) items: Vec<T>,
}

/// Which origins are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'q> {
    /// In the key, case ignored.
    pub(super) search: &'q str,
    pub(super) topic: Option<&'q str>,
    /// With a dump, or without.
    pub(super) up: Option<bool>,
}

/// The origins of these views that are wanted, by key.
pub(super) fn origins(views: &[Exposed], wanted: Wanted<'_>, slice: Slice, wall: UnixMs) -> Page<OriginInfo> {
    let search = wanted.search.to_lowercase();
    let Slice { offset, limit } = slice;
    let mut found: Vec<(&Exposed, &Arc<Origin>)> = views
        .iter()
        .flat_map(|e| e.view.origins.values().map(move |o| (e, o)))
        .filter(|(e, _)| wanted.topic.is_none_or(|topic| *e.view.topic == *topic))
        .filter(|(_, o)| wanted.up.is_none_or(|up| o.dump.is_some() == up))
        .filter(|(_, o)| search.is_empty() || o.key.to_lowercase().contains(&search))
        .collect();
    found.sort_by(|a, b| {
        let place = |e: &Exposed| (e.view.topic.clone(), e.view.partition);
        (&a.1.key, place(a.0)).cmp(&(&b.1.key, place(b.0)))
    });
    let info = |(e, o): &(&Exposed, &Arc<Origin>)| OriginInfo::new(&e.view.topic, e.view.partition, o, wall);
    let items = found.iter().skip(offset).take(limit).map(info).collect();
    Page { total: found.len(), offset, limit, items }
}

/// One partition of the group as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub(super) struct PartitionInfo {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// By the markers: who holds it.
    pub(super) owner: Option<String>,
    /// By the markers: held, released or unknown.
    pub(super) marker: Option<Marker>,
    /// What only its owner knows; absent for partitions of other bridges.
    pub(super) here: Option<Here>,
}

/// What this bridge knows of a partition that it was assigned.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub(super) struct Here {
    pub(super) state: State,
    /// A scrape sees it now.
    pub(super) exposed: bool,
    /// Of a replayed partition: why it stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocked: Option<String>,
    pub(super) position: i64,
    pub(super) lag_records: Option<u64>,
    pub(super) lag_seconds: Option<f64>,
    pub(super) queue_bytes: u64,
    pub(super) queue_capacity_bytes: u64,
    pub(super) lease_remaining_seconds: f64,
    pub(super) wait_remaining_seconds: f64,
    pub(super) policy: crate::live::Policy,
    pub(super) origins: usize,
    pub(super) series: u64,
    pub(super) cache_bytes: u64,
}

impl Here {
    fn new(p: &LivePartition, now: MonoMs, wall: UnixMs) -> Here {
        use std::sync::atomic::Ordering::Relaxed;
        let view = p.view.load();
        Here {
            state: p.state(),
            exposed: p.may_expose(now),
            blocked: p.replay.blocked().map(|b| b.detail.clone()),
            position: p.position.load(Relaxed),
            lag_records: p.lag_records(),
            lag_seconds: p.lag_ms(wall).map(seconds),
            queue_bytes: p.queue_bytes.load(Relaxed),
            queue_capacity_bytes: p.queue_capacity,
            lease_remaining_seconds: seconds(p.lease_remaining(now).max(0)),
            wait_remaining_seconds: seconds(p.wait_remaining(now)),
            policy: p.policy(),
            origins: view.origins.values().filter(|o| o.dump.is_some()).count(),
            series: view.series,
            cache_bytes: view.bytes,
        }
    }
}

/// All partitions that the group's map or this bridge knows, by topic and partition.
pub(super) fn partitions(exposer: &Exposer) -> Vec<PartitionInfo> {
    let state = &exposer.state;
    let (now, wall) = ((state.clocks.mono)(), (state.clocks.wall)());
    let group = state.live.group();
    let mut all = from_group(&group);
    for p in state.live.all() {
        let key = (p.topic.to_string(), p.partition);
        let info = all.entry(key).or_insert_with(|| PartitionInfo {
            topic: p.topic.to_string(),
            partition: p.partition,
            owner: None,
            marker: None,
            here: None,
        });
        info.here = Some(Here::new(&p, now, wall));
    }
    all.into_values().collect()
}

fn from_group(group: &GroupMap) -> BTreeMap<(String, i32), PartitionInfo> {
    let info = |((topic, partition), o): (&(Arc<str>, i32), &crate::live::Ownership)| {
        let info = PartitionInfo {
            topic: topic.to_string(),
            partition: *partition,
            owner: o.owner.as_deref().map(str::to_owned),
            marker: Some(o.marker),
            here: None,
        };
        ((topic.to_string(), *partition), info)
    };
    group.partitions.iter().map(info).collect()
}
