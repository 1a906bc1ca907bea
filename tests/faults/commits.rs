//! A watch on the group's commits.
use super::record::Recorder;
use crate::checker::CommitRead;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Reads the group's commits as an outsider, until it is dropped.
pub struct CommitWatch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CommitWatch {
    pub fn start(brokers: &str, group: &str, topic: &str, partitions: i32, recorder: &Arc<Recorder>) -> CommitWatch {
        let stop = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group).set("log_level", "0");
        let client: BaseConsumer = config.create().expect("a client");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let (told, recorder) = (Arc::clone(&stop), Arc::clone(recorder));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(200));
                let Ok(found) = client.committed_offsets(asked.clone(), Duration::from_secs(2)) else { continue };
                let read = recorder.now();
                let commits = found.elements().into_iter().filter_map(|e| match e.offset() {
                    Offset::Offset(offset) => Some(CommitRead { read, partition: e.partition(), offset }),
                    _ => None,
                });
                recorder.history().commits.extend(commits);
            }
        });
        CommitWatch { stop, thread: Some(thread) }
    }
}

impl Drop for CommitWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
