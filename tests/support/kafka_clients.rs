//! What tests do with a cluster as its clients: topics, records, committed offsets.
use super::kafka::Kafka;
use super::poll;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
/// One answer; a moved leader or coordinator is asked again.
const ANSWER: Duration = Duration::from_secs(5);

const OFFSETS: &str = "__consumer_offsets";

/// A record to produce.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// `None`: by the key's hash, or at random without a key.
    pub partition: Option<i32>,
    /// By the record contract: the origin's canonical labels.
    pub key: Option<Vec<u8>>,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
    /// In this order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Unix milliseconds; `None`: now.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A record with key and value, nothing else.
    pub fn new(key: &str, value: impl Into<Vec<u8>>) -> Record {
        Record { key: Some(key.into()), value: Some(value.into()), ..Record::default() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Record {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends it to this partition, whatever its key.
    pub fn on_partition(mut self, partition: i32) -> Record {
        self.partition = Some(partition);
        self
    }
}

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Where it lies.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// As produced.
    pub key: Option<Vec<u8>>,
    /// As produced.
    pub value: Option<Vec<u8>>,
    /// As produced.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Unix milliseconds.
    pub timestamp: Option<i64>,
}

/// A group's committed offset of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The commit's metadata (the ownership marker).
    pub metadata: String,
}

/// Produces synchronously, by Java's partitioning.
pub struct Producer {
    inner: FutureProducer,
}

impl Producer {
    /// Produces and waits for the acknowledgements; (partition, offset) of each.
    ///
    /// # Panics
    /// Where one is not acknowledged.
    pub fn send(&self, topic: &str, records: &[Record]) -> Vec<(i32, i64)> {
        let sent: Vec<_> = records.iter().map(|record| self.enqueue(topic, record)).collect();
        let done = sent.into_iter().map(|delivery| {
            let answer = block_on(delivery).expect("the producer lives");
            let delivery = answer.unwrap_or_else(|(e, _)| panic!("not produced to {topic}: {e}"));
            (delivery.partition, delivery.offset)
        });
        done.collect()
    }

    fn enqueue(&self, topic: &str, record: &Record) -> rdkafka::producer::DeliveryFuture {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(value) })
        });
        let mut out: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(headers);
        out.partition = record.partition;
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        out.timestamp = record.timestamp;
        self.inner.send_result(out).unwrap_or_else(|(e, _)| panic!("not produced to {topic}: {e}"))
    }
}

impl Kafka {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }

    /// How many brokers the cluster's metadata names, if anybody answers.
    pub fn broker_count(&self) -> Option<usize> {
        let client: BaseConsumer = self.config().set("log_level", "0").create().ok()?;
        let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
        Some(metadata.brokers().len())
    }

    /// Creates a topic, replicated to every broker, and waits until it has leaders.
    ///
    /// # Panics
    /// Where Kafka refuses.
    pub fn create_topic(&self, topic: &str, partitions: i32, properties: &[(&str, &str)]) {
        let replicas = i32::try_from(self.broker_count().unwrap_or(1)).expect("few brokers");
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        for (key, value) in properties {
            new = new.set(key, value);
        }
        let created = block_on(self.admin().create_topics([&new], &options())).expect("Kafka answers");
        created[0].as_ref().unwrap_or_else(|(_, e)| panic!("topic {topic} is not created: {e}"));
        self.wait_leaders(topic, partitions);
    }

    /// [`Kafka::create_topic`] under the name of a topic that was deleted a moment ago,
    /// which Kafka may not have forgotten yet.
    pub fn create_topic_again(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        poll::eventually_ok(&format!("topic {topic} is created again"), TIMEOUT, || {
            let created = block_on(self.admin().create_topics([&new], &options())).map_err(|e| e.to_string())?;
            created[0].as_ref().map_err(|(_, e)| e.to_string()).map(|_| ())
        });
        self.wait_leaders(topic, partitions);
    }

    /// A topic's settings, as the broker tells them.
    ///
    /// # Panics
    /// Where there is no such topic.
    pub fn topic_settings(&self, topic: &str) -> BTreeMap<String, String> {
        let admin = self.admin();
        let asked = [ResourceSpecifier::Topic(topic)];
        let answers = block_on(admin.describe_configs(&asked, &options())).expect("Kafka answers");
        let resource = answers.into_iter().next().expect("one answer").expect("the topic is there");
        resource.entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
    }

    /// Adds partitions until there are `total`.
    pub fn grow_topic(&self, topic: &str, total: usize) {
        let new = NewPartitions::new(topic, total);
        let grown = block_on(self.admin().create_partitions([&new], &options())).expect("Kafka answers");
        grown[0].as_ref().unwrap_or_else(|(_, e)| panic!("topic {topic} does not grow: {e}"));
        self.wait_leaders(topic, i32::try_from(total).expect("few partitions"));
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, topic: &str) {
        let deleted = block_on(self.admin().delete_topics(&[topic], &options())).expect("Kafka answers");
        deleted[0].as_ref().unwrap_or_else(|(_, e)| panic!("topic {topic} is not deleted: {e}"));
    }

    fn wait_leaders(&self, topic: &str, partitions: i32) {
        let client: BaseConsumer = self.config().create().expect("a client");
        poll::eventually(&format!("topic {topic} has its leaders"), TIMEOUT, || {
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(2)).ok()?;
            let found = metadata.topics().first()?.partitions();
            let led = found.iter().filter(|p| p.leader() >= 0).count();
            (led == usize::try_from(partitions).ok()?).then_some(())
        });
    }

    /// The id of the node that leads a partition, as the cluster says now; `None`
    /// while there is none.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let client: BaseConsumer = self.config().create().ok()?;
        let metadata = client.fetch_metadata(Some(topic), ANSWER).ok()?;
        let found = metadata.topics().first()?.partitions().iter().find(|p| p.id() == partition)?;
        (found.leader() >= 0).then(|| found.leader())
    }

    /// The id of the node that coordinates a group, once the group has been used: it
    /// leads the partition of the offsets topic that Java's `String.hashCode` of the
    /// group's name gives.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        let client: BaseConsumer = self.config().create().ok()?;
        let metadata = client.fetch_metadata(Some(OFFSETS), ANSWER).ok()?;
        let partitions = i32::try_from(metadata.topics().first()?.partitions().len()).ok()?;
        let hash = group.encode_utf16().fold(0_i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
        self.leader(OFFSETS, (hash & i32::MAX).checked_rem(partitions)?)
    }

    /// A producer with Kafka's batch compression (`none gzip snappy lz4 zstd`).
    pub fn producer(&self, compression: &str) -> Producer {
        let mut config = self.config();
        config
            .set("compression.type", compression)
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", "8388608")
            .set("linger.ms", "1");
        Producer { inner: config.create().expect("a producer") }
    }

    /// Produces records without compression; (partition, offset) of each.
    pub fn produce(&self, topic: &str, records: &[Record]) -> Vec<(i32, i64)> {
        let producer = self.producer("none");
        let done = producer.send(topic, records);
        producer.inner.flush(TIMEOUT).expect("everything is acknowledged");
        done
    }

    /// What `group` has committed for the partitions of a topic, with metadata.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Committed> {
        let client: BaseConsumer = self.config().set("group.id", group).create().expect("a client");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let answer = poll::eventually_ok("the coordinator answers", TIMEOUT, || {
            client.committed_offsets(asked.clone(), ANSWER).map_err(|e| e.to_string())
        });
        let found = answer.elements().into_iter().filter_map(|e| match e.offset() {
            Offset::Offset(offset) => Some((e.partition(), Committed { offset, metadata: e.metadata().to_owned() })),
            _ => None,
        });
        found.collect()
    }

    /// Commits as an operator would who resets a group that has no members.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, committed: &Committed) {
        let client: BaseConsumer = self.config().set("group.id", group).create().expect("a client");
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(committed.offset)).expect("a valid offset");
        element.set_metadata(&committed.metadata);
        client.commit(&list, rdkafka::consumer::CommitMode::Sync).expect("the commit is accepted");
    }

    /// First and end offset of a partition.
    pub fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let client: BaseConsumer = self.config().create().expect("a client");
        poll::eventually_ok("the leader answers", TIMEOUT, || {
            client.fetch_watermarks(topic, partition, ANSWER).map_err(|e| e.to_string())
        })
    }

    /// Reads a partition from its beginning to its present end.
    pub fn read_all(&self, topic: &str, partition: i32) -> Vec<Read> {
        let mut config = self.config();
        config.set("group.id", "unused").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let client: BaseConsumer = config.create().expect("a client");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        client.assign(&list).expect("an assignment");
        let mut read = Vec::new();
        let mut last = String::new();
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            match client.poll(ANSWER) {
                Some(Ok(message)) => read.push(to_read(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => return read,
                // A dead broker among living ones: librdkafka goes on by itself.
                Some(Err(e)) => last = e.to_string(),
                None => {}
            }
        }
        panic!("{topic}/{partition} is not read to its end within {TIMEOUT:?}: {last}")
    }
}

fn to_read(message: &BorrowedMessage<'_>) -> Read {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers = headers.map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect();
    Read {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp: message.timestamp().to_millis(),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT))
}

/// rdkafka's clients drive themselves: waiting is all that is left to do.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}
