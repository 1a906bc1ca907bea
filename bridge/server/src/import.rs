//! `kafka2prom push import`: a Pushgateway's groups as records of a topic of pushes.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k2p_core::envelope;
use k2p_push::gob::Stored;
use k2p_push::record::{self, FAILED, Op, PUSHED};
use k2p_runtime::kafka::{KafkaConfig, KafkaLog};
use k2p_runtime::metrics::RuntimeMetrics;
use prometheus::Registry;

use crate::append::{Append, Appender};

/// How long each record has.
const PATIENCE: Duration = Duration::from_secs(20);

/// Puts each group into the topic, one after the other. The same groups again are the same
/// records: within the window of ids they count once, also if the first attempt broke off.
///
/// # Errors
/// At the first group that is not acknowledged; those before it are there.
pub fn import(kafka: &KafkaConfig, topic: &str, groups: &[Stored]) -> Result<(), String> {
    let runtime = RuntimeMetrics::new(&Registry::new(), "", "").map_err(|e| e.to_string())?;
    let log: Arc<KafkaLog> = KafkaLog::new("push-import", &runtime);
    let appender = Appender::within(kafka, &log, PATIENCE).map_err(|e| e.to_string())?;
    let name = name(groups);
    for (number, group) in groups.iter().enumerate() {
        let time = |at: Option<i64>| at.unwrap_or(0).to_string().into_bytes();
        let mut headers = record::headers(Op::Put, Some("text/plain; version=0.0.4"), None, None);
        headers.push((PUSHED, time(group.pushed)));
        headers.push((FAILED, time(group.failed)));
        headers.push((envelope::ID, format!("{name};{number}").into_bytes()));
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_slice())).collect();
        let append = Append {
            topic,
            partition: None,
            key: Some(group.key.canonical().as_bytes()),
            value: Some(group.body.as_bytes()),
            headers: &headers,
        };
        let place = appender.send_and_wait(&append, PATIENCE + Duration::from_secs(2));
        place.map_err(|why| format!("{}: {why}; {number} groups are there, run it again", group.key.canonical()))?;
    }
    Ok(())
}

/// The same for the same groups, in every process of this version.
fn name(groups: &[Stored]) -> String {
    let mut hash = DefaultHasher::new();
    for group in groups {
        (group.key.canonical(), group.pushed, group.failed, &group.body).hash(&mut hash);
    }
    format!("import-{:016x}", hash.finish())
}
