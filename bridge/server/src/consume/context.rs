//! Where librdkafka calls back: always on the thread that polls the consumer.
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use k2p_runtime::kafka::KafkaLog;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::Timeout;
use rdkafka_sys::types::RDKafkaRespErr;

use super::owner::Owner;
use super::{POLL, rebalance};

/// The group consumer.
pub(super) type GroupConsumer = BaseConsumer<GroupContext>;

/// The group consumer's context. The owner's lock is never contended: the poll loop
/// takes it between polls, the callbacks inside of them, all on one thread.
pub(super) struct GroupContext {
    owner: Mutex<Owner>,
    events: Arc<KafkaLog>,
    me: OnceLock<Weak<GroupConsumer>>,
}

impl GroupContext {
    pub(super) fn new(owner: Owner, events: Arc<KafkaLog>) -> GroupContext {
        GroupContext { owner: Mutex::new(owner), events, me: OnceLock::new() }
    }

    /// Tells the context its consumer: queues need a handle that keeps it alive.
    pub(super) fn bind(&self, consumer: &Arc<GroupConsumer>) {
        let _first = self.me.set(Arc::downgrade(consumer));
    }

    /// The owner. Must not be held while the consumer is polled.
    pub(super) fn owner(&self) -> MutexGuard<'_, Owner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consumer(&self) -> Option<Arc<GroupConsumer>> {
        self.me.get()?.upgrade()
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.events.stats(&statistics);
        self.owner().queue_sizes(&statistics);
    }
}

impl ConsumerContext for GroupContext {
    /// Replaces rdkafka's own handling: the markers are read, the queues split and the
    /// start offsets chosen before the assign; hidden, released and answered before the
    /// unassign (design §1, rules 3, 5, 7).
    fn rebalance(&self, base: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let Some(consumer) = self.consumer() else { return };
        let mut owner = self.owner();
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => rebalance::assign(&mut owner, &consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => rebalance::revoke(&mut owner, &consumer, list),
            other => {
                tracing::error!(error = ?other, "rebalance failed: letting every partition go");
                rebalance::revoke(&mut owner, &consumer, list);
            }
        }
        drop(owner);
        // `base` is the very client of `consumer`, which must not be the last handle here:
        // dropping it inside its own callback would wait for this callback.
        debug_assert!(Arc::strong_count(&consumer) > 1 || std::ptr::eq(base, &raw const *consumer));
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(POLL)
    }
}
