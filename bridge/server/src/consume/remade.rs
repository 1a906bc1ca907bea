//! A topic that was deleted and made again under its owner (rule 10). The client goes on
//! at the old offset and skips what lies below; so the partition is read anew, from the
//! beginning, into an empty cache.
use std::sync::Arc;
use std::time::Duration;

use k2p_core::ownership::{Event, Found, State, Tp};
use k2p_runtime::clock::mono_ms;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::GroupConsumer;
use super::ffi::PartitionQueue;
use super::handover::Handover;
use super::owner::{Owned, Owner};
use super::side::Start;
use super::worker::Begins;
use crate::live::NewPartition;

const SEEK: Duration = Duration::from_secs(2);

/// Begins anew wherever the id that was last seen is another one.
pub(super) fn look(owner: &mut Owner, consumer: &Arc<GroupConsumer>) {
    let mut changed = Vec::new();
    for (tp, part) in &mut owner.parts {
        let id = owner.side.topic_id(&tp.topic);
        if id == part.topic_id || id.is_empty() {
            continue;
        }
        // An id that was not known yet says nothing about the log.
        if !part.topic_id.is_empty() {
            changed.push(tp.clone());
        }
        part.topic_id = id;
    }
    for tp in changed {
        begin_anew(owner, consumer, &tp);
    }
}

fn begin_anew(owner: &mut Owner, consumer: &Arc<GroupConsumer>, tp: &Tp) {
    tracing::warn!(topic = %tp.topic, partition = tp.partition, "the topic was deleted and made again: its partition is read anew");
    owner.metrics.fences.with_label_values(&["topic_remade"]).inc();
    if owner.machine.state(tp) == State::Lost {
        owner.let_go(tp);
    } else {
        read_anew(owner, consumer, tp);
    }
    let topic_id = owner.side.topic_id(&tp.topic);
    owner.handle(Event::Remade { tp: tp.clone(), topic_id, start: Start::Beginning.position() });
}

/// Dark, then a new entry, queue position and worker; the lease goes on.
fn read_anew(owner: &mut Owner, consumer: &Arc<GroupConsumer>, tp: &Tp) {
    let Some(Owned { live, lease, worker, topic_id, .. }) = owner.parts.remove(tp) else { return };
    live.set_live(false);
    owner.ends_asked.remove(tp);
    // What it takes from the queue after the seek would be lost to its successor.
    worker.stop();
    worker.join();
    let mut list = TopicPartitionList::with_capacity(1);
    // A symbol is always valid.
    let _ = list.add_partition_offset(&tp.topic, tp.partition, Offset::Beginning);
    match consumer.seek_partitions(list, SEEK) {
        Err(error) => {
            tracing::error!(%error, topic = %tp.topic, partition = tp.partition, "the partition cannot be read from its beginning: what the client skips is missing");
        }
        // Refused, while a commit keeps the partition from being fetched: it would be fetched
        // from where the topic before had ended.
        Ok(found) if found.elements().iter().any(|elem| elem.error().is_err()) => {
            owner.fatal = Some("a topic was made again, and its partition cannot be read from the beginning");
        }
        Ok(_) => {}
    }
    // The name held no NUL when the queue was split for the first time.
    let Some(queue) = PartitionQueue::split(consumer.clone(), tp) else { return };
    let live = owner.live.insert(NewPartition {
        topic: tp.topic.clone(),
        partition: tp.partition,
        lease_until: lease.clone(),
        queue_capacity: owner.workers.queue_capacity(),
    });
    let begins = Begins {
        first: Start::Beginning.position(),
        found: &Found::Nothing,
        partitions: owner.side.partition_count(&tp.topic),
        former: [].into(),
        predecessor: None,
    };
    let worker = owner.workers.spawn(tp, live.clone(), queue, begins);
    let handover = Handover::remade(mono_ms());
    owner.parts.insert(tp.clone(), Owned { live, lease, worker, handover, topic_id });
}
