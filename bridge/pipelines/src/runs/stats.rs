//! How a pipeline did lately: aggregates by hour and by day, bounded, so that success
//! rates and durations survive a failover with the rest of the replayed state.
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use k2p_core::model::UnixMs;

use crate::event::RunStatus;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The running hour and 24 whole ones.
const HOURS: usize = 25;
/// The running day and 30 whole ones.
const DAYS: usize = 31;

/// Attempts that ended, by append time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    hours: VecDeque<Bucket>,
    days: VecDeque<Day>,
}

/// Ends in one hour, or one day.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Bucket {
    /// Hours, or days, since the epoch.
    at: i64,
    ended: u64,
    succeeded: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Day {
    ends: Bucket,
    lost: u64,
    timed: u64,
    sum_ms: u64,
    /// Slot (see [`slot`]) and count, by slot.
    durations: Vec<(u16, u32)>,
}

/// The rate of attempts that succeeded, of all that ended.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rate {
    /// Attempts that ended.
    pub ended: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// `succeeded / ended`; `None` if none ended.
    pub ratio: Option<f64>,
}

/// What the aggregates say as of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Summary {
    /// The running hour and the 24 before it.
    pub last_24h: Rate,
    /// The running day (UTC) and the 7 before it.
    pub last_7d: Rate,
    /// The running day and the 30 before it.
    pub last_30d: Rate,
    /// Runs that were lost in the days of `last_30d`.
    pub lost_30d: u64,
    /// Over the days of `last_30d`.
    pub average_duration_seconds: Option<f64>,
    /// Over the days of `last_30d`; off by at most 1/32.
    pub p95_duration_seconds: Option<f64>,
}

impl Stats {
    /// An attempt ended.
    pub(super) fn ended(&mut self, time: UnixMs, status: RunStatus, duration_ns: Option<i64>) {
        let succeeded = u64::from(status == RunStatus::Succeeded);
        if let Some(hour) = slot_of(&mut self.hours, time.div_euclid(HOUR_MS), HOURS, |b| &mut b.at) {
            hour.ended += 1;
            hour.succeeded += succeeded;
        }
        let Some(day) = self.day(time) else {
            return;
        };
        day.ends.ended += 1;
        day.ends.succeeded += succeeded;
        let Some(ms) = duration_ns.and_then(|ns| u64::try_from(ns / 1_000_000).ok()) else {
            return;
        };
        day.timed += 1;
        day.sum_ms = day.sum_ms.saturating_add(ms);
        let slot = slot(ms);
        match day.durations.binary_search_by_key(&slot, |(s, _)| *s) {
            Ok(at) => day.durations[at].1 = day.durations[at].1.saturating_add(1),
            Err(at) => day.durations.insert(at, (slot, 1)),
        }
    }

    /// A run was lost.
    pub(super) fn lost(&mut self, time: UnixMs) {
        if let Some(day) = self.day(time) {
            day.lost += 1;
        }
    }

    fn day(&mut self, time: UnixMs) -> Option<&mut Day> {
        slot_of(&mut self.days, time.div_euclid(DAY_MS), DAYS, |d| &mut d.ends.at)
    }

    /// The figures as of `now`.
    pub(super) fn summary(&self, now: UnixMs) -> Summary {
        let today = now.div_euclid(DAY_MS);
        let hour = now.div_euclid(HOUR_MS);
        let month: Vec<&Day> = self.days.iter().filter(|d| d.ends.at >= today - 30).collect();
        let timed: u64 = month.iter().map(|d| d.timed).sum();
        let sum: f64 = month.iter().map(|d| d.sum_ms as f64).sum();
        Summary {
            last_24h: rate(self.hours.iter().filter(|b| b.at >= hour - 24)),
            last_7d: rate(month.iter().map(|d| &d.ends).filter(|b| b.at >= today - 7)),
            last_30d: rate(month.iter().map(|d| &d.ends)),
            lost_30d: month.iter().map(|d| d.lost).sum(),
            average_duration_seconds: (timed > 0).then(|| sum / timed as f64 / 1000.0),
            p95_duration_seconds: percentile_95(&month, timed),
        }
    }
}

/// The entry of an hour or a day, made if it is not older than all that are kept.
fn slot_of<T: Default>(
    all: &mut VecDeque<T>,
    at: i64,
    most: usize,
    number: impl Fn(&mut T) -> &mut i64,
) -> Option<&mut T> {
    let mut place = all.len();
    while place > 0 && *number(&mut all[place - 1]) > at {
        place -= 1;
    }
    if place > 0 && *number(&mut all[place - 1]) == at {
        return all.get_mut(place - 1);
    }
    if all.len() == most {
        if place == 0 {
            return None;
        }
        all.pop_front();
        place -= 1;
    }
    let mut fresh = T::default();
    *number(&mut fresh) = at;
    all.insert(place, fresh);
    all.get_mut(place)
}

fn rate<'a>(buckets: impl Iterator<Item = &'a Bucket>) -> Rate {
    let (mut ended, mut succeeded) = (0, 0);
    for bucket in buckets {
        ended += bucket.ended;
        succeeded += bucket.succeeded;
    }
    Rate { ended, succeeded, ratio: (ended > 0).then(|| succeeded as f64 / ended as f64) }
}

fn percentile_95(days: &[&Day], timed: u64) -> Option<f64> {
    if timed == 0 {
        return None;
    }
    let mut all: Vec<(u16, u32)> = days.iter().flat_map(|d| d.durations.iter().copied()).collect();
    all.sort_unstable();
    let rank = (timed * 95).div_ceil(100);
    let mut below = 0;
    for (slot, count) in all {
        below += u64::from(count);
        if below >= rank {
            return Some(middle(slot) / 1000.0);
        }
    }
    None
}

/// Sixteen slots to a power of two, in integers so that it is the same everywhere.
fn slot(ms: u64) -> u16 {
    if ms < 16 {
        return ms as u16;
    }
    let exponent = 63 - ms.leading_zeros();
    let within = (ms >> (exponent - 4)) & 15;
    ((exponent - 3) * 16) as u16 + within as u16
}

/// The middle of a slot, in milliseconds.
fn middle(slot: u16) -> f64 {
    if slot < 16 {
        return f64::from(slot);
    }
    let width = 2f64.powi(i32::from(slot / 16) - 1);
    (16.5 + f64::from(slot % 16)) * width
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_slot_is_off_by_a_thirty_second_at_most() {
        let mut before = 0;
        for ms in [0, 1, 15, 16, 17, 31, 32, 33, 1000, 59_999, 3_600_000, 86_400_000, u64::MAX / 2] {
            let slot = slot(ms);
            assert!(slot >= before, "{ms}");
            before = slot;
            let off = (middle(slot) - ms as f64).abs();
            assert!(off <= ms as f64 / 32.0 + 0.5, "{ms}: {}", middle(slot));
        }
    }

    #[test]
    fn windows_count_by_append_time() {
        let mut stats = Stats::default();
        let now = 100 * DAY_MS + 5 * HOUR_MS;
        for (age, status) in [
            (0, RunStatus::Succeeded),
            (24 * HOUR_MS, RunStatus::Failed),
            (25 * HOUR_MS, RunStatus::Failed),
            (8 * DAY_MS, RunStatus::Partial),
            (30 * DAY_MS, RunStatus::Succeeded),
            (31 * DAY_MS, RunStatus::Succeeded),
        ] {
            stats.ended(now - age, status, Some(10 * SECOND));
        }
        let summary = stats.summary(now);
        assert_eq!((summary.last_24h.ended, summary.last_24h.succeeded), (2, 1));
        assert_eq!((summary.last_7d.ended, summary.last_7d.succeeded), (3, 1));
        assert_eq!((summary.last_30d.ended, summary.last_30d.succeeded), (5, 2));
        assert_eq!(summary.average_duration_seconds, Some(10.0));
        assert!((summary.p95_duration_seconds.unwrap() - 10.0).abs() <= 10.0 / 32.0);
        assert_eq!(stats.summary(now + 60 * DAY_MS), Summary::default());
    }

    #[test]
    fn the_oldest_goes_and_the_number_stays_bounded() {
        let mut stats = Stats::default();
        for day in 0..100 {
            stats.ended(day * DAY_MS, RunStatus::Succeeded, None);
        }
        assert_eq!((stats.days.len(), stats.hours.len()), (DAYS, HOURS));
        // A record whose append time jumped back far: older than all that is kept.
        stats.ended(0, RunStatus::Failed, None);
        assert_eq!(stats.days.front().unwrap().ends.at, 69);
        stats.ended(90 * DAY_MS, RunStatus::Failed, None);
        assert_eq!(stats.days[21].ends, Bucket { at: 90, ended: 2, succeeded: 1 });
    }

    #[test]
    fn the_95th_percentile_is_the_rank_it_says() {
        let mut stats = Stats::default();
        for seconds in 1..=100 {
            stats.ended(0, RunStatus::Succeeded, Some(seconds * SECOND));
        }
        let p95 = stats.summary(0).p95_duration_seconds.unwrap();
        assert!((p95 - 95.0).abs() <= 3.0, "{p95}");
    }
}
