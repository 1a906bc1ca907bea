//! When a scrape may see a partition.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;

const NOW: MonoMs = 1_000;

fn topic() -> Arc<str> {
    Arc::from("t")
}

fn insert(live: &LivePartitions, partition: i32, lease: &Arc<AtomicI64>) -> Arc<LivePartition> {
    live.insert(NewPartition { topic: topic(), partition, lease_until: lease.clone(), queue_capacity: 1 })
}

fn lease(until: MonoMs) -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(until))
}

fn seen(live: &LivePartitions, now: MonoMs) -> Vec<i32> {
    live.snapshot(|| now).iter().map(|e| e.partition.partition).collect()
}

#[test]
fn only_live_partitions_under_a_lease_are_seen() {
    let live = LivePartitions::default();
    let (long, short) = (lease(NOW + 10), lease(NOW));
    insert(&live, 2, &long).set_live(true);
    insert(&live, 1, &long).set_live(true);
    insert(&live, 3, &long);
    insert(&live, 4, &short).set_live(true);
    assert_eq!(seen(&live, NOW), [1, 2]);
    assert_eq!(seen(&live, NOW - 1), [1, 2, 4]);
    assert_eq!(seen(&live, NOW + 10), [] as [i32; 0]);
    long.store(NOW + 11, Ordering::SeqCst);
    assert_eq!(seen(&live, NOW + 10), [1, 2]);
}

/// What happens between the taking of the views and the look at the leases.
fn seen_after(change: impl FnOnce(&LivePartitions, &Arc<LivePartition>)) -> usize {
    let live = LivePartitions::default();
    let entry = insert(&live, 0, &lease(NOW + 10));
    entry.set_live(true);
    let clock = || {
        change(&live, &entry);
        NOW
    };
    live.snapshot(clock).len()
}

#[test]
fn a_change_during_the_snapshot_hides_the_partition() {
    assert_eq!(seen_after(|_, _| ()), 1);
    assert_eq!(seen_after(|_, p| p.set_live(true)), 1, "no change");
    assert_eq!(seen_after(|_, p| p.set_live(false)), 0);
    assert_eq!(seen_after(LivePartitions::evict), 0);
    let again = |_: &LivePartitions, p: &Arc<LivePartition>| {
        p.set_live(false);
        p.set_live(true);
    };
    assert_eq!(seen_after(again), 0, "the view may be from before the interruption");
}

#[test]
fn a_partition_that_turns_live_during_the_snapshot_waits_for_the_next() {
    let live = LivePartitions::default();
    let entry = insert(&live, 0, &lease(NOW + 10));
    let turn_live = || {
        entry.set_live(true);
        NOW
    };
    assert!(live.snapshot(turn_live).is_empty());
    assert_eq!(seen(&live, NOW), [0]);
}

#[test]
fn an_assignment_replaces_the_one_before() {
    let live = LivePartitions::default();
    let old = insert(&live, 0, &lease(NOW + 10));
    old.set_live(true);
    let new = insert(&live, 0, &lease(NOW + 10));
    assert!(!old.live() && old.state() == State::Gone);
    assert!(!new.live() && new.state() == State::Assigned);
    assert!(seen(&live, NOW).is_empty());
}

/// Lost, given back and let go in any order: the new ownership stays in the table.
#[test]
fn who_lets_go_of_an_old_assignment_leaves_the_new_one_alone() {
    let live = LivePartitions::default();
    let old = insert(&live, 0, &lease(NOW + 10));
    let new = insert(&live, 0, &lease(NOW + 10));
    new.set_live(true);
    live.evict(&old);
    assert_eq!(seen(&live, NOW), [0]);
    assert!(new.live() && new.state() == State::Assigned);
    live.evict(&new);
    assert!(seen(&live, NOW).is_empty() && live.get("t", 0).is_none());
}

#[test]
fn eviction_waits_for_no_reader() {
    let live = LivePartitions::default();
    let entry = insert(&live, 0, &lease(NOW + 10));
    entry.set_live(true);
    let held = live.snapshot(|| NOW);
    live.evict(&entry);
    assert!(seen(&live, NOW).is_empty());
    assert_eq!(held[0].view.partition, 0, "the reader's view stays its own");
}

#[test]
fn a_switched_policy_reaches_present_and_later_partitions() {
    let live = LivePartitions::default();
    live.add_topic(topic(), Policy::Backpressure);
    let before = insert(&live, 0, &lease(0));
    assert_eq!(live.switch_policy("t", Policy::Conflate), Some(Policy::Backpressure));
    assert_eq!(before.policy(), Policy::Conflate);
    assert_eq!(insert(&live, 1, &lease(0)).policy(), Policy::Conflate);
    live.add_topic(topic(), Policy::DropOldest);
    assert_eq!(before.policy(), Policy::DropOldest);
    assert_eq!(live.switch_policy("other", Policy::Conflate), None);
    for policy in Policy::ALL {
        assert_eq!(Policy::parse(policy.as_str()), Some(policy));
    }
}

#[test]
fn lag_is_known_only_with_the_logs_end() {
    let live = LivePartitions::default();
    let p = insert(&live, 0, &lease(0));
    assert_eq!((p.lag_records(), p.lag_ms(9_000)), (None, None));
    p.log_end.store(10, Ordering::Relaxed);
    p.position.store(4, Ordering::Relaxed);
    assert_eq!((p.lag_records(), p.lag_ms(9_000)), (Some(6), None));
    p.position_time.store(7_000, Ordering::Relaxed);
    assert_eq!(p.lag_ms(9_000), Some(2_000));
    p.position.store(11, Ordering::Relaxed);
    assert_eq!((p.lag_records(), p.lag_ms(9_000)), (Some(0), Some(0)));
}

#[test]
fn refusals_are_bounded_and_newest_first() {
    let live = LivePartitions::default();
    let p = insert(&live, 0, &lease(0));
    for offset in 0..100 {
        let (origin, detail) = (Arc::from("o"), Arc::from("d"));
        p.refuse(Refusal { time: 0, offset, origin, reason: "bad_key", detail });
    }
    let offsets: Vec<i64> = p.refusals().iter().map(|r| r.offset).collect();
    assert_eq!(offsets.len(), LivePartition::KEPT_REFUSALS);
    assert_eq!(offsets[..2], [99, 98]);
}

#[test]
fn changes_wake_those_who_wait() {
    let live = LivePartitions::default();
    let mut wake = live.subscribe();
    let mut woken = || {
        let changed = wake.has_changed().unwrap();
        wake.mark_unchanged();
        changed
    };
    let p = insert(&live, 0, &lease(0));
    assert!(woken());
    assert!(!woken());
    p.set_live(true);
    assert!(woken());
    live.publish_group(GroupMap::default());
    assert!(woken());
}

#[test]
fn peers_are_the_holders() {
    let owned = |marker, owner: Option<&str>| Ownership { marker, owner: owner.map(Arc::from), since: 0 };
    let partitions = [
        ((topic(), 0), owned(Marker::Held, Some("b:1"))),
        ((topic(), 1), owned(Marker::Held, Some("a:1"))),
        ((topic(), 2), owned(Marker::Released, Some("c:1"))),
        ((topic(), 3), owned(Marker::Held, Some("a:1"))),
        ((topic(), 4), owned(Marker::Unknown, None)),
    ];
    let map = GroupMap { complete: true, partitions: partitions.into_iter().collect() };
    assert_eq!(map.peers(), [Arc::from("a:1"), Arc::from("b:1")]);
}
