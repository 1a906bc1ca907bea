//! What only a member of a group can find out.
use std::sync::Arc;
use std::time::{Duration, Instant};

use k2p_core::ownership::Tp;
use k2p_runtime::kafka::KafkaConfig;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Asked, Finding, TIMEOUT, Verdict};
use crate::consume::ffi::{self, CommitQueue, PartitionQueue};

const METADATA: &str = "commit metadata comes back whole, to a member and to others";
const EMPTIED: &str = "a group that becomes empty begins a new generation";
const FENCE: &str = "a commit of a stale generation is refused";
/// As long as a marker gets (kafka.md: stay below 1 KB).
const MARKER_BYTES: usize = 900;
/// Kafka's own minimum for both timeouts.
const SESSION_MS: u64 = 6000;
const JOIN: Duration = Duration::from_secs(20);

type Member = Arc<BaseConsumer<DefaultConsumerContext>>;

pub(super) fn check(kafka: &KafkaConfig, asked: Asked<'_>, partitions: usize) -> Vec<Finding> {
    let Asked { topic, group, .. } = asked;
    let member = match join(kafka, topic) {
        Ok(member) => member,
        Err(error) => return vec![Finding::failed("the group can be joined", &error, asked)],
    };
    let mut findings = vec![Finding::new(
        "the group can be joined",
        Verdict::Holds,
        format!("{group}, {partitions} partitions assigned"),
    )];
    let commits = CommitQueue::new(member.clone());
    findings.push(metadata(kafka, &member, &commits, topic).unwrap_or_else(|e| Finding::failed(METADATA, &e, asked)));
    findings.push(fence(kafka, &member, &commits, topic).unwrap_or_else(|e| Finding::failed(FENCE, &e, asked)));
    // In this order: the queue belongs to the client.
    drop(commits);
    drop(member);
    findings.push(emptied(kafka, topic).unwrap_or_else(|e| Finding::failed(EMPTIED, &e, asked)));
    findings
}

/// The last member leaves, and one comes back: that is two generations.
fn emptied(kafka: &KafkaConfig, topic: &str) -> Result<Finding, KafkaError> {
    // Dropped at once, which leaves the group.
    let generation = || join(kafka, topic).map(|member| ffi::generation(&*member));
    let (before, after) = (generation()?, generation()?);
    if after >= before.saturating_add(2) {
        return Ok(Finding::new(EMPTIED, Verdict::Holds, format!("generation {before}, then {after}")));
    }
    let found = format!(
        "generation {before}, then {after}: a release that was sent twice could pass for a new one when all bridges were gone"
    );
    Ok(Finding::new(EMPTIED, Verdict::Fails, found))
}

fn config(kafka: &KafkaConfig) -> ClientConfig {
    let mut config = kafka.consumer_config();
    config
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", SESSION_MS.to_string())
        .set("max.poll.interval.ms", SESSION_MS.to_string());
    config
}

fn join(kafka: &KafkaConfig, topic: &str) -> Result<Member, KafkaError> {
    let member: Member = Arc::new(config(kafka).create()?);
    member.subscribe(&[topic])?;
    let begun = Instant::now();
    while member.assignment()?.count() == 0 {
        if let Some(Err(error)) = member.poll(Duration::from_millis(100))
            && error.rdkafka_error_code().is_some_and(is_denied)
        {
            return Err(error);
        }
        if begun.elapsed() > JOIN {
            return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut));
        }
    }
    Ok(member)
}

fn is_denied(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(code, ClusterAuthorizationFailed | GroupAuthorizationFailed | TopicAuthorizationFailed)
}

fn list(topic: &str, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let mut elem = list.add_partition(topic, 0);
    // Offset 0 is always valid.
    let _ = elem.set_offset(Offset::Offset(0));
    elem.set_metadata(metadata);
    list
}

fn metadata(
    kafka: &KafkaConfig,
    member: &Member,
    commits: &CommitQueue<DefaultConsumerContext>,
    topic: &str,
) -> Result<Finding, KafkaError> {
    let marker = "m".repeat(MARKER_BYTES);
    let begun = Instant::now();
    commits.send(&list(topic, &marker), 1).map_err(KafkaError::ConsumerCommit)?;
    let Some(answer) = commits.poll(TIMEOUT) else {
        return Ok(Finding::new(METADATA, Verdict::Fails, "the commit was not answered"));
    };
    if let Some(error) = answer.error {
        return Err(KafkaError::ConsumerCommit(error));
    }
    let took = begun.elapsed().as_millis();
    let outsider: BaseConsumer = kafka.side_config().create()?;
    let mut ask = TopicPartitionList::new();
    ask.add_partition(topic, 0);
    for (who, client) in [("a member", &**member), ("another client", &outsider)] {
        let found = ffi::committed(client, &ask, TIMEOUT).map_err(KafkaError::ConsumerCommit)?;
        let same = found.first().is_some_and(|(_, found)| match found {
            Some(k2p_core::ownership::Found::Stranger { raw, .. }) => **raw == *marker.as_bytes(),
            _ => false,
        });
        if !same {
            let what = format!("{who} reads other metadata than was committed: bridges cannot see who owns what");
            return Ok(Finding::new(METADATA, Verdict::Fails, what));
        }
    }
    Ok(Finding::new(METADATA, Verdict::Holds, format!("{MARKER_BYTES} bytes, acknowledged after {took} ms")))
}

/// The member goes silent towards its group (its heartbeats go on): a second one makes
/// the coordinator start a generation without it. Its own commit then is a zombie's.
fn fence(
    kafka: &KafkaConfig,
    member: &Member,
    commits: &CommitQueue<DefaultConsumerContext>,
    topic: &str,
) -> Result<Finding, KafkaError> {
    // Polling a split queue keeps the client from leaving by itself (kafka.md), while
    // the rebalance waits unserved in the queue that nobody polls.
    let Some(queue) = PartitionQueue::split(member.clone(), &Tp::new(topic, 0)) else {
        return Ok(Finding::new(FENCE, Verdict::Unknown, "the topic's name cannot be used"));
    };
    let before = ffi::generation(member);
    let second: BaseConsumer = config(kafka).create()?;
    second.subscribe(&[topic])?;
    let begun = Instant::now();
    while second.assignment()?.count() == 0 {
        let _unread = queue.poll(Duration::from_millis(50));
        let _none = second.poll(Duration::from_millis(50));
        if begun.elapsed() > JOIN {
            return Ok(Finding::new(FENCE, Verdict::Unknown, "no new generation was made in time"));
        }
    }
    commits.send(&list(topic, "zombie"), 2).map_err(KafkaError::ConsumerCommit)?;
    let answer = commits.poll(TIMEOUT);
    Ok(match answer {
        None => Finding::new(FENCE, Verdict::Unknown, "the commit was not answered"),
        Some(answer) => match answer.error {
            Some(error) => {
                Finding::new(FENCE, Verdict::Holds, format!("generation {before} was answered with {error}"))
            }
            None => Finding::new(
                FENCE,
                Verdict::Fails,
                "it was acknowledged: an evicted bridge could renew its lease, and show older values than its successor",
            ),
        },
    })
}
