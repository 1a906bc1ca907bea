//! What happens inside librdkafka's rebalance callback.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use k2p_core::model::MonoMs;
use k2p_core::ownership::{Assignment, Event, Found, State, Tp, former_counts};
use k2p_runtime::clock::mono_ms;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::context::GroupConsumer;
use super::ffi::{self, PartitionQueue};
use super::handover::Handover;
use super::owner::{Owned, Owner};
use super::side::Start;
use super::worker::{Begins, WorkerHandle};
use crate::live::NewPartition;

/// How long the markers may take to be read: past it every partition is treated as
/// held by a stranger, which is safe and slow.
const READ_MARKERS: Duration = Duration::from_secs(5);
/// How long the workers of an assignment before may take to end.
const RETIRE: Duration = Duration::from_millis(500);
/// How long a release waits for its answer (rule 5).
const RELEASE: Duration = Duration::from_secs(2);

pub(super) fn assign(owner: &mut Owner, consumer: &Arc<GroupConsumer>, list: &TopicPartitionList) {
    owner.metrics.rebalances.inc();
    owner.take_answers(consumer, Duration::ZERO);
    let outstanding = owner.machine.outstanding().map(|(seq, _)| seq);
    if !list.elements().is_empty() && outstanding.is_some() && outstanding == owner.left_behind {
        // The forbidden case of rule 5: librdkafka may send that commit again under this
        // generation. Nothing is taken; the process ends.
        owner.fatal = Some("a commit outlived the assignment that it was sent under");
        return;
    }
    if outstanding != owner.left_behind {
        owner.left_behind = None;
    }
    let tps = partitions(list);
    let mut assignments = Vec::with_capacity(tps.len());
    let mut offsets = TopicPartitionList::with_capacity(tps.len());
    let mut arrived = mono_ms();
    if !tps.is_empty() {
        // What the topics are is read after the assignment, like the markers of all
        // partitions: rule 10 judges one without a marker by its neighbours.
        owner.side.refresh(&owner.topics);
        let all = read_markers(consumer, &owner.side.all_partitions(), &tps);
        // The wait counts from the answer's arrival, never from the request (rule 3).
        arrived = mono_ms();
        let read = all.iter().filter_map(|(tp, found)| Some((tp.clone(), found.clone()?))).collect();
        owner.handle_at(Event::Watched(read), arrived);
        let markers: Vec<(Tp, Found)> = tps
            .iter()
            .map(|tp| (tp.clone(), all.get(tp).cloned().flatten().unwrap_or_else(Found::unreadable)))
            .collect();
        let (replayed, by_marker): (Vec<_>, Vec<_>) =
            markers.iter().cloned().partition(|(tp, _)| owner.workers.is_replayed(&tp.topic));
        // Read once: a topic that is made again meanwhile is told by its id later.
        let ids = owner.side.topic_ids();
        let mut starts = owner.side.start_offsets(&by_marker, &ids);
        starts.extend(replayed.into_iter().map(|(tp, _)| (tp, Start::Later)));
        let mut formers: BTreeMap<Arc<str>, Arc<[i32]>> = BTreeMap::new();
        retire(owner, &tps);
        for (tp, found) in markers {
            let start = starts.get(&tp).copied().unwrap_or(Start::Beginning);
            let (partitions, topic_id) =
                (owner.side.partition_count(&tp.topic), ids.get(&tp.topic).cloned().unwrap_or_default());
            let former = formers.entry(tp.topic.clone()).or_insert_with(|| {
                let known = all.iter().filter_map(|(tp, found)| Some((tp, found.as_ref()?)));
                former_counts(&tp.topic, &topic_id, partitions, known)
            });
            let former = former.clone();
            let assignment = Assignment { tp, found, start: start.position(), partitions, former, topic_id };
            let Some(assignment) = take(owner, consumer, assignment, arrived) else { continue };
            // An explicit offset of at least 0 or a symbol is always valid.
            let _ = offsets.add_partition_offset(&assignment.tp.topic, assignment.tp.partition, start.offset());
            assignments.push(assignment);
        }
    }
    // After the partitions are in the table: a bridge that has joined and has none is ready.
    owner.live.set_joined(true);
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Eager => consumer.assign(&offsets),
        _ => consumer.incremental_assign(&offsets),
    };
    if let Err(error) = done {
        tracing::error!(%error, "assign failed: the next rebalance tries again");
    }
    tracing::info!(partitions = tps.len(), generation = ffi::generation(consumer), "partitions assigned");
    // No tick since `take`: of a lease that lapsed meanwhile the machine would say that the
    // partition is gone, and mean the assignment before.
    owner.handle(Event::Generation(ffi::generation(consumer)));
    owner.handle_at(Event::Assigned(assignments), arrived);
}

/// The markers of the whole group, the assigned partitions among them.
fn read_markers(consumer: &GroupConsumer, known: &TopicPartitionList, tps: &[Tp]) -> BTreeMap<Tp, Option<Found>> {
    let mut list = known.clone();
    for tp in tps {
        if list.find_partition(&tp.topic, tp.partition).is_none() {
            list.add_partition(&tp.topic, tp.partition);
        }
    }
    match ffi::committed(consumer, &list, READ_MARKERS) {
        Ok(found) => found.into_iter().collect(),
        Err(error) => {
            tracing::warn!(%error, "the group's markers could not be read: waiting as if another bridge held every partition");
            BTreeMap::new()
        }
    }
}

/// What was lost before and is still shown ends now. Its workers are waited for, before anything
/// is fetched for the new assignment: they share its queue, and what one of them took would be
/// missing to its successor. One that stands still elsewhere looks whether it is to end before it
/// takes anything, and its successor waits for it.
fn retire(owner: &mut Owner, tps: &[Tp]) {
    let begun = Instant::now();
    for tp in tps {
        owner.let_go(tp);
    }
    let ended = |tp: &Tp| owner.retired.get(tp).is_none_or(WorkerHandle::is_finished);
    while !tps.iter().all(ended) && begun.elapsed() < RETIRE {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Takes one partition: an invisible entry, a queue of its own, a worker on it.
fn take(owner: &mut Owner, consumer: &Arc<GroupConsumer>, assignment: Assignment, now: MonoMs) -> Option<Assignment> {
    let Assignment { tp, found, start: first, partitions, former, topic_id } = &assignment;
    let queue = PartitionQueue::split(consumer.clone(), tp)?;
    let predecessor = owner.retired.remove(tp);
    let lease = Arc::new(AtomicI64::new(MonoMs::MIN));
    let live = owner.live.insert(NewPartition {
        topic: tp.topic.clone(),
        partition: tp.partition,
        lease_until: lease.clone(),
        queue_capacity: owner.workers.queue_capacity(),
    });
    live.position.store(*first, Ordering::SeqCst);
    let begins = Begins { first: *first, found, partitions: *partitions, former: former.clone(), predecessor };
    let worker = owner.workers.spawn(tp, live.clone(), queue, begins);
    let handover = Handover::begin(found, now);
    owner.parts.insert(tp.clone(), Owned { live, lease, worker, handover, topic_id: topic_id.clone() });
    Some(assignment)
}

pub(super) fn revoke(owner: &mut Owner, consumer: &Arc<GroupConsumer>, list: &TopicPartitionList) {
    let begun = Instant::now();
    owner.metrics.rebalances.inc();
    let lost = consumer.assignment_lost();
    let tps: Vec<Tp> = partitions(list).into_iter().filter(|tp| owner.parts.contains_key(tp)).collect();
    // First dark, then the position: nothing exposed can be newer than what is released.
    // What is lost releases nothing, and stays as it is until its lease lapses.
    for tp in tps.iter().filter(|_| !lost) {
        if let Some(part) = owner.parts.get(tp) {
            part.live.set_live(false);
            part.want_snapshot();
        }
    }
    owner.report_progress(consumer);
    owner.handle(Event::Generation(ffi::generation(consumer)));
    owner.handle(Event::Revoked { partitions: tps.clone(), lost });
    if lost {
        owner.metrics.fences.with_label_values(&["assignment_lost"]).inc_by(tps.len() as u64);
        owner.metrics.group_rejoins.inc();
        // Until the group gives something again, even if that is nothing.
        owner.live.set_joined(false);
    } else {
        await_release(owner, consumer, begun);
        while !owner.is_settled(&tps) && begun.elapsed() < RELEASE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let mut gone = TopicPartitionList::with_capacity(tps.len());
    for tp in &tps {
        gone.add_partition(&tp.topic, tp.partition);
        if owner.machine.state(tp) != State::Lost {
            owner.let_go(tp);
        }
    }
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Eager => consumer.unassign(),
        _ => consumer.incremental_unassign(&gone),
    };
    if let Err(error) = done {
        tracing::error!(%error, "unassign failed: the next rebalance tries again");
    }
    owner.handle(Event::RevokeDone);
    owner.left_behind = owner.machine.outstanding().map(|(seq, _)| seq);
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    owner.metrics.handover.with_label_values(&["planned", "release"]).observe(begun.elapsed().as_secs_f64());
    tracing::info!(partitions = tps.len(), lost, took_ms, "partitions revoked");
}

/// Waits until the release (and a commit that was before it) is answered.
fn await_release(owner: &mut Owner, consumer: &Arc<GroupConsumer>, begun: Instant) {
    while owner.machine.outstanding().is_some() {
        let left = RELEASE.saturating_sub(begun.elapsed());
        if left.is_zero() {
            tracing::warn!("the release was not answered in time: the successor will wait");
            return;
        }
        owner.take_answers(consumer, left.min(Duration::from_millis(100)));
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Tp> {
    // Interned, so that the many partitions of a topic share its name.
    let mut names: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut out = Vec::with_capacity(list.count());
    for elem in list.elements() {
        let name = names.entry(elem.topic().to_owned()).or_insert_with(|| elem.topic().into()).clone();
        out.push(Tp { topic: name, partition: elem.partition() });
    }
    out
}
