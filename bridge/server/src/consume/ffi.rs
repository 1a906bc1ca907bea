//! The few librdkafka calls that rdkafka does not wrap, or wraps without what the
//! ownership protocol needs. The only `unsafe` of this crate.
//!
//! - commits whose answers come to a queue of ours, with an error per partition
//!   (`commit_callback` never fires for an async commit: rust-rdkafka #856);
//! - committed offsets with their metadata as bytes (rdkafka panics on metadata that
//!   is not UTF-8, and anybody may have written it);
//! - the member's generation;
//! - the ids of topics (DescribeTopics, which rdkafka has not);
//! - a partition's own queue whose end-of-partition carries its offset (rdkafka drops
//!   it, and rule 4 must not take an old EOF for the barrier).
#![allow(unsafe_code, reason = "librdkafka calls without a safe wrapper; each block says why it is sound")]

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use k2p_core::ownership::{Found, Tp};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataBroker;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// librdkafka's timeouts are `int` milliseconds.
fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// The member's generation (KIP-848: its epoch); -1 while it is in none.
pub(crate) fn generation<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> i32 {
    // SAFETY: the client outlives the call; the metadata is ours and destroyed once.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return -1;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation
    }
}

/// The committed offsets of the consumer's group with their metadata; `None` for a
/// partition whose own answer was an error.
///
/// # Errors
/// When the group's coordinator did not answer within `timeout`.
pub(crate) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
    timeout: Duration,
) -> Result<Vec<(Tp, Option<Found>)>, RDKafkaErrorCode> {
    let list = partitions.ptr();
    // SAFETY: client and list outlive the call; the list is filled in place, and only
    // read here before it is dropped by its owner. Its metadata is freed here and the
    // fields cleared, so that rdkafka's accessors (which demand UTF-8) never see it.
    unsafe {
        let err = sys::rd_kafka_committed(consumer.client().native_ptr(), list, millis(timeout));
        if err != RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(err.into());
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let mut found = Vec::with_capacity(count);
        for i in 0..count {
            let elem = &*(*list).elems.add(i);
            let tp = Tp::new(CStr::from_ptr(elem.topic).to_string_lossy(), elem.partition);
            let metadata: &[u8] = if elem.metadata.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(elem.metadata.cast::<u8>(), elem.metadata_size)
            };
            let readable = elem.err == RD_KAFKA_RESP_ERR_NO_ERROR;
            found.push((tp, readable.then(|| Found::read(elem.offset, metadata))));
        }
        Ok(found)
    }
}

/// The newest end of a partition that a fetch response has told the client, without
/// asking anybody; `None` before the first one. For lag only, never for a barrier.
pub(crate) fn cached_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, tp: &Tp) -> Option<i64> {
    let topic = CString::new(&*tp.topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and strings outlive the call; the results are plain integers.
    let err = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            tp.partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (err == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// What the cluster says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// Tells it from others of the same name; empty of brokers before 2.8.
    pub(crate) id: Arc<str>,
    /// How many it has.
    pub(crate) partitions: i32,
}

/// An id that is none: sixteen bytes of zero.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Describes each topic, in this order; `None` for one that does not exist or may not be
/// described.
///
/// # Errors
/// When no broker answered within `timeout`.
pub(crate) fn describe_topics<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topics: &[Arc<str>],
    timeout: Duration,
) -> Result<Vec<Option<Described>>, RDKafkaErrorCode> {
    let Some(first) = topics.first() else { return Ok(Vec::new()) };
    // Asked of the broker that answers, not of the controller, as librdkafka would: any
    // broker knows, and one cluster names no controller (librdkafka's mock).
    let alive = any_broker(client, first, timeout)?;
    let names: Vec<CString> = topics.iter().map(|t| CString::new(&**t).unwrap_or_default()).collect();
    let mut pointers: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
    // SAFETY: the names outlive the call, which copies them; collection, options and queue
    // are ours, each destroyed once, the queue last; the event and all that it holds live
    // until it is destroyed, after everything was copied out of it.
    unsafe {
        let native = client.client().native_ptr();
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options =
            sys::rd_kafka_AdminOptions_new(native, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let mut text = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), text.as_mut_ptr(), text.len());
        if alive >= 0 {
            sys::rd_kafka_AdminOptions_set_broker(options, alive, text.as_mut_ptr(), text.len());
        }
        let queue = sys::rd_kafka_queue_new(native);
        sys::rd_kafka_DescribeTopics(native, collection, options, queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(collection);
        let event = sys::rd_kafka_queue_poll(queue, millis(timeout));
        let mut answer = Err(RDKafkaErrorCode::OperationTimedOut);
        if !event.is_null() {
            answer = match code(sys::rd_kafka_event_error(event)) {
                Some(error) => Err(error),
                None => Ok(described(event, topics)),
            };
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// The id of a broker that answers; -1 if none tells it.
fn any_broker<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<i32, RDKafkaErrorCode> {
    let metadata = client
        .fetch_metadata(Some(topic), timeout)
        .map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::OperationTimedOut))?;
    match metadata.orig_broker_id() {
        // It was reached by an address of the configuration and has no name yet.
        -1 => Ok(metadata.brokers().first().map_or(-1, MetadataBroker::id)),
        id => Ok(id),
    }
}

/// # Safety
/// `event` is the answer to DescribeTopics.
unsafe fn described(event: *mut sys::rd_kafka_event_t, topics: &[Arc<str>]) -> Vec<Option<Described>> {
    let mut found = vec![None; topics.len()];
    // SAFETY: by the caller's promise; everything read here belongs to the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return found;
        }
        let mut count = 0;
        let list = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for i in 0..count {
            let topic = *list.add(i);
            let error = sys::rd_kafka_TopicDescription_error(topic);
            if !error.is_null() && code(sys::rd_kafka_error_code(error)).is_some() {
                continue;
            }
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_bytes();
            let id = sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(topic));
            let id = if id.is_null() { "".into() } else { CStr::from_ptr(id).to_string_lossy() };
            let mut partitions = 0;
            sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
            let id = Arc::from(if id == NO_ID { "" } else { &*id });
            let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
            if let Some(at) = topics.iter().position(|t| t.as_bytes() == name) {
                found[at] = Some(Described { id, partitions });
            }
        }
    }
    found
}

/// The answer to one commit.
pub(crate) struct CommitAnswer {
    /// The number that the commit was sent with.
    pub(crate) seq: u64,
    /// The partitions whose offsets were accepted.
    pub(crate) accepted: Vec<Tp>,
    /// The error of the whole, or of the first partition refused.
    pub(crate) error: Option<RDKafkaErrorCode>,
}

/// Where the answers to commits arrive.
pub(crate) struct CommitQueue<C: ConsumerContext + 'static> {
    queue: *mut sys::rd_kafka_queue_t,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be polled and sent to from any thread; the handle
// has one owner.
unsafe impl<C: ConsumerContext + 'static> Send for CommitQueue<C> {}

impl<C: ConsumerContext> CommitQueue<C> {
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>) -> CommitQueue<C> {
        // SAFETY: the client lives at least as long as `self`, which holds it.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        CommitQueue { queue, consumer }
    }

    /// Sends a commit and returns at once.
    ///
    /// # Errors
    /// When the client refuses it without sending (it is closing, say).
    pub(crate) fn send(&self, offsets: &TopicPartitionList, seq: u64) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: the list is copied by the call; `opaque` is a number, never followed.
        let err = unsafe {
            let opaque = ptr::without_provenance_mut::<c_void>(usize::try_from(seq).unwrap_or(usize::MAX));
            sys::rd_kafka_commit_queue(self.consumer.client().native_ptr(), offsets.ptr(), self.queue, None, opaque)
        };
        if err == RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(err.into()) }
    }

    /// The next answer, waiting for at most `timeout`.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<CommitAnswer> {
        // SAFETY: the queue is ours; the event, its list and their strings live until
        // the event is destroyed, after everything was copied out of them.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, millis(timeout));
            if event.is_null() {
                return None;
            }
            let mut answer = CommitAnswer {
                seq: sys::rd_kafka_event_opaque(event).addr() as u64,
                accepted: Vec::new(),
                error: code(sys::rd_kafka_event_error(event)),
            };
            let list = sys::rd_kafka_event_topic_partition_list(event);
            if !list.is_null() && answer.error.is_none() {
                for i in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                    let elem = &*(*list).elems.add(i);
                    match code(elem.err) {
                        Some(err) => answer.error = answer.error.or(Some(err)),
                        None => {
                            let topic = CStr::from_ptr(elem.topic).to_string_lossy();
                            answer.accepted.push(Tp::new(topic, elem.partition));
                        }
                    }
                }
            }
            sys::rd_kafka_event_destroy(event);
            Some(answer)
        }
    }
}

impl<C: ConsumerContext> Drop for CommitQueue<C> {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed once, before the client it belongs to.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

fn code(err: sys::rd_kafka_resp_err_t) -> Option<RDKafkaErrorCode> {
    (err != RD_KAFKA_RESP_ERR_NO_ERROR).then(|| err.into())
}

/// The queue of one partition, cut off from the consumer's: its owner worker polls it,
/// and when it is full only this partition stops fetching (kafka.md).
pub(crate) struct PartitionQueue<C: ConsumerContext + 'static> {
    queue: *mut sys::rd_kafka_queue_t,
    /// Keeps the client alive for as long as its queue is used.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be polled and woken from any thread, and are locked inside.
unsafe impl<C: ConsumerContext + 'static> Send for PartitionQueue<C> {}
// SAFETY: as above.
unsafe impl<C: ConsumerContext + 'static> Sync for PartitionQueue<C> {}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Cuts the partition's queue off. Has to be done before each assign of the
    /// partition (rust-rdkafka #535); `None` if the topic's name holds a NUL.
    pub(crate) fn split(consumer: Arc<BaseConsumer<C>>, tp: &Tp) -> Option<PartitionQueue<C>> {
        let topic = CString::new(&*tp.topic).ok()?;
        // SAFETY: the client lives as long as `self`; forwarding to null is how a
        // queue is cut off.
        unsafe {
            let native = consumer.client().native_ptr();
            let queue = sys::rd_kafka_queue_get_partition(native, topic.as_ptr(), tp.partition);
            if queue.is_null() {
                return None;
            }
            sys::rd_kafka_queue_forward(queue, ptr::null_mut());
            Some(PartitionQueue { queue, consumer })
        }
    }

    /// The consumer that the queue belongs to.
    pub(crate) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Ends the wait of whoever polls, or the next one's before it begins.
    pub(crate) fn wake(&self) {
        // SAFETY: the queue is ours until it is dropped.
        unsafe { sys::rd_kafka_queue_yield(self.queue) };
    }

    /// The next record, end or error, waiting for at most `timeout`.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Polled> {
        // SAFETY: the queue is ours; the message is owned by `Record`, which destroys it.
        let message = unsafe { sys::rd_kafka_consume_queue(self.queue, millis(timeout)) };
        if message.is_null() {
            return None;
        }
        let record = Record { message };
        // SAFETY: not null, and alive as long as `record`.
        let (err, offset) = unsafe { ((*message).err, (*message).offset) };
        match code(err) {
            None => Some(Polled::Record(record)),
            Some(RDKafkaErrorCode::PartitionEOF) => Some(Polled::End(offset)),
            Some(err) => Some(Polled::Error(err)),
        }
    }
}

impl<C: ConsumerContext> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: created in `split`, destroyed once, before the client it belongs to.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// What a partition's queue gives.
pub(crate) enum Polled {
    /// A record.
    Record(Record),
    /// The end of the partition: everything below this offset was delivered, control
    /// records and aborted transactions included (they never are).
    End(i64),
    /// An error of this partition; the client goes on by itself.
    Error(RDKafkaErrorCode),
}

/// A record, borrowed from librdkafka's buffers until it is dropped.
pub(crate) struct Record {
    message: *mut sys::rd_kafka_message_t,
}

impl Record {
    /// Its offset.
    pub(crate) fn offset(&self) -> i64 {
        // SAFETY: the message lives as long as `self`.
        unsafe { (*self.message).offset }
    }

    /// Its key.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        // SAFETY: pointer and length are librdkafka's own, alive as long as `self`.
        unsafe { bytes((*self.message).key, (*self.message).key_len) }
    }

    /// Its value; `None` is a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        // SAFETY: as for the key.
        unsafe { bytes((*self.message).payload, (*self.message).len) }
    }

    /// Its timestamp in Unix milliseconds (create or append time, as the topic says).
    pub(crate) fn timestamp(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives as long as `self`.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.message, &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && at >= 0).then_some(at)
    }

    /// Its headers in order. A header whose name is not UTF-8 is left out: no name of
    /// the record contract is.
    pub(crate) fn headers(&self) -> Vec<(&str, &[u8])> {
        let mut headers = ptr::null_mut();
        let mut out = Vec::new();
        // SAFETY: headers, names and values belong to the message and live as long as
        // `self`; the call ends the list with an error when the index is past its end.
        unsafe {
            if sys::rd_kafka_message_headers(self.message, &raw mut headers) != RD_KAFKA_RESP_ERR_NO_ERROR {
                return out;
            }
            for i in 0.. {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let err = sys::rd_kafka_header_get_all(headers, i, &raw mut name, &raw mut value, &raw mut size);
                if err != RD_KAFKA_RESP_ERR_NO_ERROR {
                    break;
                }
                if let Ok(name) = CStr::from_ptr(name).to_str() {
                    out.push((name, bytes(value, size).unwrap_or_default()));
                }
            }
        }
        out
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that live as long as `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: owned by `self`, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.message) };
    }
}

/// A marker's text becomes the metadata of its offset.
pub(crate) fn commit_list(commit: &k2p_core::ownership::Commit) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(commit.entries.len());
    for entry in &commit.entries {
        let mut elem = list.add_partition(&entry.tp.topic, entry.tp.partition);
        // An offset of at least 0 is always valid.
        let _ = elem.set_offset(rdkafka::Offset::Offset(entry.offset.max(0)));
        elem.set_metadata(entry.marker.encode());
    }
    list
}
