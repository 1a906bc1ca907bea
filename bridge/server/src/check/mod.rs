//! `kafka2prom check kafka`: proves on a live cluster what the ownership protocol
//! assumes (design §1, kafka.md "The argument").
//!
//! Nothing is produced and no topic is changed. A consumer group of its own is used; it
//! must not be in use by anybody.
mod group;
mod versions;

use std::time::Duration;

use k2p_runtime::kafka::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether an assumption holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was seen to hold.
    Holds,
    /// It was seen not to hold: the promise is not kept on this cluster.
    Fails,
    /// It could not be tried; the finding says why.
    Unknown,
}

impl Verdict {
    /// One word for a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Holds => "ok",
            Verdict::Fails => "FAIL",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One assumption and what was found about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the protocol assumes.
    pub assumption: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was seen, and what follows if that is not what is assumed.
    pub found: String,
}

impl Finding {
    fn new(assumption: &'static str, verdict: Verdict, found: impl Into<String>) -> Finding {
        Finding { assumption, verdict, found: found.into() }
    }

    fn failed(assumption: &'static str, error: &KafkaError, asked: Asked<'_>) -> Finding {
        match error.rdkafka_error_code().and_then(|code| asked.permission(code)) {
            Some(missing) => Finding::new(assumption, Verdict::Unknown, format!("not permitted: grant {missing}")),
            None => Finding::new(assumption, Verdict::Fails, format!("{error}")),
        }
    }
}

/// What was asked for, to name the permission that it takes.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The operation on the topic.
    operation: &'static str,
    topic: &'a str,
    group: &'a str,
}

impl Asked<'_> {
    /// The permission that is missing, if that is what the error says.
    fn permission(&self, code: RDKafkaErrorCode) -> Option<String> {
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => Some(format!("{} on topic {}", self.operation, self.topic)),
            RDKafkaErrorCode::GroupAuthorizationFailed => Some(format!("Read on group {}", self.group)),
            RDKafkaErrorCode::ClusterAuthorizationFailed => Some("Describe on the cluster".to_owned()),
            _ => None,
        }
    }
}

/// Tries every assumption, in order; `said` is told each finding as it is made. Takes
/// about half a minute, most of it waiting for the coordinator to give up on a silent
/// member.
pub fn run(kafka: &KafkaConfig, topic: &str, mut said: impl FnMut(&Finding)) -> Vec<Finding> {
    let describe = Asked { operation: "Describe", topic, group: kafka.group().unwrap_or_default() };
    let mut findings = Vec::new();
    let mut note = |finding: Finding| {
        said(&finding);
        let goes_on = finding.verdict == Verdict::Holds;
        findings.push(finding);
        goes_on
    };
    let side: BaseConsumer = match kafka.watch_config().create() {
        Ok(client) => client,
        Err(error) => {
            note(Finding::failed("the client starts", &error, describe));
            return findings;
        }
    };
    if !note(reaches(&side)) {
        return findings;
    }
    note(versions::check(kafka, describe));
    let (finding, partitions) = topic_exists(&side, describe);
    if !note(finding) {
        return findings;
    }
    note(end_is_right(&side, describe));
    for finding in group::check(kafka, Asked { operation: "Read", ..describe }, partitions) {
        note(finding);
    }
    findings
}

fn reaches(client: &BaseConsumer) -> Finding {
    const WHAT: &str = "the brokers answer";
    match client.fetch_metadata(None, TIMEOUT) {
        Ok(metadata) => {
            let brokers = metadata.brokers().len();
            Finding::new(WHAT, Verdict::Holds, format!("{brokers} brokers"))
        }
        Err(error) => Finding::new(
            WHAT,
            Verdict::Fails,
            format!("{error}: check --kafka.brokers, the network, and security.protocol"),
        ),
    }
}

fn topic_exists(client: &BaseConsumer, asked: Asked<'_>) -> (Finding, usize) {
    let topic = asked.topic;
    const WHAT: &str = "the topic is there and may be described";
    let metadata = match client.fetch_metadata(Some(topic), TIMEOUT) {
        Ok(metadata) => metadata,
        Err(error) => return (Finding::failed(WHAT, &error, asked), 0),
    };
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else {
        return (Finding::new(WHAT, Verdict::Unknown, "no answer about it"), 0);
    };
    if let Some(error) = found.error() {
        let error = KafkaError::MetadataFetch(error.into());
        let mut finding = Finding::failed(WHAT, &error, asked);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            finding.found = format!("{topic} does not exist: kafka2prom topics create");
        }
        return (finding, 0);
    }
    let partitions = found.partitions().len();
    (Finding::new(WHAT, Verdict::Holds, format!("{topic} has {partitions} partitions")), partitions)
}

/// The end that a leader tells is where a reader of the same isolation level arrives.
fn end_is_right(client: &BaseConsumer, asked: Asked<'_>) -> Finding {
    const WHAT: &str = "the end of a partition is where its last record ends";
    let topic = asked.topic;
    let mut ask = TopicPartitionList::new();
    // The end is a symbol of this request, always valid.
    let _ = ask.add_partition_offset(topic, 0, Offset::End);
    let end = match client.offsets_for_times(ask, TIMEOUT) {
        Ok(list) => list.find_partition(topic, 0).map(|e| e.offset()),
        Err(error) => return Finding::failed(WHAT, &error, asked),
    };
    let (low, high) = match client.fetch_watermarks(topic, 0, TIMEOUT) {
        Ok(marks) => marks,
        Err(error) => return Finding::failed(WHAT, &error, asked),
    };
    let Some(Offset::Offset(end)) = end else {
        return Finding::new(
            WHAT,
            Verdict::Fails,
            "ListOffsets did not give an end: the catch-up barrier cannot be read",
        );
    };
    if end > high {
        return Finding::new(WHAT, Verdict::Fails, format!("the end is {end}, the high watermark only {high}"));
    }
    Finding::new(WHAT, Verdict::Holds, format!("partition 0 holds {low} to {high}"))
}
