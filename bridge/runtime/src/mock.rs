//! An in-process Kafka for the demo: librdkafka's mock cluster. Good for showing and for
//! fault injection, not for load and not as the only truth (kafka.md, "Test beds").
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A running mock cluster; it ends when it is dropped.
pub struct MockKafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl MockKafka {
    /// Starts a cluster of one broker with these topics.
    ///
    /// # Errors
    /// When librdkafka cannot listen on loopback.
    pub fn start(topics: &[(&str, i32)]) -> KafkaResult<MockKafka> {
        let cluster = MockCluster::new(1)?;
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1)?;
        }
        Ok(MockKafka { cluster })
    }

    /// `HOST:PORT`, on loopback.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}
