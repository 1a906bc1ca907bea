//! Gauges that restate the table of live partitions, computed when gathered.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::State;
use k2p_runtime::metrics::{MetricDef, MetricsError};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Registry};

use super::{
    CACHE_BYTES, Clocks, GROUP_COMPLETE, GROUP_UNOWNED, LEASE_REMAINING, ORIGINS, ORIGINS_QUARANTINED,
    PARTITION_CACHE_BYTES, PARTITION_LAG_RECORDS, PARTITION_LAG_SECONDS, PARTITION_QUEUE_BYTES,
    PARTITION_QUEUE_CAPACITY, PARTITION_STATE, REPLAY_BLOCKED, SERIES, SNAPSHOT_BEHIND, SNAPSHOT_BYTES, SNAPSHOT_TIME,
    WAIT_REMAINING,
};
use crate::live::{BlockReason, Exposed, GroupMap, LivePartition, LivePartitions, Marker};

/// Gathers the state of the live partitions. Every gathering fills gauges of its own,
/// so that concurrent scrapes cannot tear each other's and a partition that is gone
/// leaves no series behind.
pub struct StateCollector {
    live: Arc<LivePartitions>,
    clocks: Clocks,
    descs: Vec<Desc>,
}

impl StateCollector {
    /// A collector over `live`, to be registered.
    pub fn new(live: Arc<LivePartitions>, clocks: Clocks) -> Result<StateCollector, MetricsError> {
        let gauges = Gauges::new(&Registry::new())?;
        Ok(StateCollector { live, clocks, descs: gauges.descs() })
    }

    fn gather(&self) -> Result<Vec<MetricFamily>, MetricsError> {
        let registry = Registry::new();
        let gauges = Gauges::new(&registry)?;
        let exposed = self.live.snapshot(self.clocks.mono);
        let (now, wall) = ((self.clocks.mono)(), (self.clocks.wall)());
        for partition in self.live.all() {
            gauges.fill_partition(&partition, now, wall);
        }
        gauges.fill_topics(&self.live, &exposed);
        gauges.fill_group(&self.live.group());
        Ok(registry.gather())
    }
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gather().unwrap_or_else(|error| {
            tracing::error!(%error, "the state of the partitions could not be gathered");
            Vec::new()
        })
    }
}

struct Gauges {
    state: IntGaugeVec,
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    queue_bytes: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    cache_bytes: IntGaugeVec,
    lease: GaugeVec,
    wait: GaugeVec,
    origins: IntGaugeVec,
    series: IntGaugeVec,
    bytes: IntGaugeVec,
    quarantined: IntGaugeVec,
    complete: IntGauge,
    unowned: IntGauge,
    snapshot_time: GaugeVec,
    snapshot_bytes: IntGaugeVec,
    snapshot_behind: IntGaugeVec,
    blocked: IntGaugeVec,
}

impl Gauges {
    fn new(registry: &Registry) -> Result<Gauges, MetricsError> {
        let int = |def: &MetricDef| def.int_gauge_vec(registry);
        Ok(Gauges {
            state: int(&PARTITION_STATE)?,
            lag_records: int(&PARTITION_LAG_RECORDS)?,
            lag_seconds: PARTITION_LAG_SECONDS.gauge_vec(registry)?,
            queue_bytes: int(&PARTITION_QUEUE_BYTES)?,
            queue_capacity: int(&PARTITION_QUEUE_CAPACITY)?,
            cache_bytes: int(&PARTITION_CACHE_BYTES)?,
            lease: LEASE_REMAINING.gauge_vec(registry)?,
            wait: WAIT_REMAINING.gauge_vec(registry)?,
            origins: int(&ORIGINS)?,
            series: int(&SERIES)?,
            bytes: int(&CACHE_BYTES)?,
            quarantined: int(&ORIGINS_QUARANTINED)?,
            complete: GROUP_COMPLETE.int_gauge(registry)?,
            unowned: GROUP_UNOWNED.int_gauge(registry)?,
            snapshot_time: SNAPSHOT_TIME.gauge_vec(registry)?,
            snapshot_bytes: int(&SNAPSHOT_BYTES)?,
            snapshot_behind: int(&SNAPSHOT_BEHIND)?,
            blocked: int(&REPLAY_BLOCKED)?,
        })
    }

    fn descs(&self) -> Vec<Desc> {
        let all: [&dyn Collector; 18] = [
            &self.state,
            &self.lag_records,
            &self.lag_seconds,
            &self.queue_bytes,
            &self.queue_capacity,
            &self.cache_bytes,
            &self.lease,
            &self.wait,
            &self.origins,
            &self.series,
            &self.bytes,
            &self.quarantined,
            &self.complete,
            &self.unowned,
            &self.snapshot_time,
            &self.snapshot_bytes,
            &self.snapshot_behind,
            &self.blocked,
        ];
        all.into_iter().flat_map(|c| c.desc().into_iter().cloned()).collect()
    }

    fn fill_partition(&self, p: &LivePartition, now: MonoMs, wall: UnixMs) {
        let number = p.partition.to_string();
        let labels = [&*p.topic, number.as_str()];
        let current = p.state();
        for state in State::ALL {
            let cell = self.state.with_label_values(&[&*p.topic, &number, state.as_str()]);
            cell.set(i64::from(state == current));
        }
        if let Some(lag) = p.lag_records() {
            self.lag_records.with_label_values(&labels).set(clamp(lag));
        }
        if let Some(ms) = p.lag_ms(wall) {
            self.lag_seconds.with_label_values(&labels).set(seconds(ms));
        }
        let queued = p.queue_bytes.load(Ordering::Relaxed);
        self.queue_bytes.with_label_values(&labels).set(clamp(queued));
        self.queue_capacity.with_label_values(&labels).set(clamp(p.queue_capacity));
        self.cache_bytes.with_label_values(&labels).set(clamp(p.view.load().bytes));
        let lease = p.lease_remaining(now).max(0);
        self.lease.with_label_values(&labels).set(seconds(lease));
        self.wait.with_label_values(&labels).set(seconds(p.wait_remaining(now)));
        if p.replay.is_replayed() {
            self.fill_replay(p, &labels);
        }
    }

    fn fill_replay(&self, p: &LivePartition, labels: &[&str; 2]) {
        let blocked = p.replay.blocked();
        for reason in BlockReason::ALL {
            let cell = self.blocked.with_label_values(&[labels[0], labels[1], reason.as_str()]);
            cell.set(i64::from(blocked.as_ref().is_some_and(|b| b.reason == reason)));
        }
        let position = p.position.load(Ordering::Relaxed).max(0);
        let facts = p.replay.snapshot_facts();
        let behind = position.saturating_sub(facts.map_or(0, |(_, offset, _)| offset));
        self.snapshot_behind.with_label_values(labels).set(behind.max(0));
        if let Some((written, _, bytes)) = facts {
            self.snapshot_time.with_label_values(labels).set(seconds(written));
            self.snapshot_bytes.with_label_values(labels).set(clamp(bytes));
        }
    }

    fn fill_topics(&self, live: &LivePartitions, exposed: &[Exposed]) {
        let mut sums: BTreeMap<Arc<str>, (u64, u64, u64, u64)> =
            live.topics().into_iter().map(|(topic, _)| (topic, (0, 0, 0, 0))).collect();
        for Exposed { view, .. } in exposed {
            let sum = sums.entry(view.topic.clone()).or_default();
            sum.0 += view.origins.values().filter(|o| o.dump.is_some()).count() as u64;
            sum.1 += view.series;
            sum.2 += view.bytes;
            sum.3 += view.quarantined as u64;
        }
        for (topic, (origins, series, bytes, quarantined)) in sums {
            self.origins.with_label_values(&[&*topic]).set(clamp(origins));
            self.series.with_label_values(&[&*topic]).set(clamp(series));
            self.bytes.with_label_values(&[&*topic]).set(clamp(bytes));
            self.quarantined.with_label_values(&[&*topic]).set(clamp(quarantined));
        }
    }

    fn fill_group(&self, group: &GroupMap) {
        let unowned = group.partitions.values().filter(|o| o.marker != Marker::Held).count();
        self.complete.set(i64::from(group.complete));
        self.unowned.set(clamp(unowned as u64));
    }
}

/// Exact below 2^53 ms.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
