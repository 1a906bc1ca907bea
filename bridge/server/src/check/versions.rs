//! Whether the brokers are new enough. librdkafka negotiates versions and tells nobody
//! but its debug log; that is where they are read from.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k2p_runtime::kafka::KafkaConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::{Asked, Finding, Verdict};

const WHAT: &str = "the brokers are new enough (2.2)";
/// Kafka 2.2 introduced OffsetCommit v6 (and with KIP-207 an end that never goes back).
const OFFSET_COMMIT: (&str, i16) = ("OffsetCommit", 6);

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Option<i16>>>);

impl ClientContext for Listener {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, message: &str) {
        if let Some(version) = highest(message, OFFSET_COMMIT.0) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        }
    }
}

impl ConsumerContext for Listener {}

/// `…: ApiKey OffsetCommit (8) Versions 0..9` → 9.
fn highest(message: &str, api: &str) -> Option<i16> {
    let (_, rest) = message.split_once(&format!("ApiKey {api} ("))?;
    rest.rsplit_once("..")?.1.trim().parse().ok()
}

pub(super) fn check(kafka: &KafkaConfig, asked: Asked<'_>) -> Finding {
    let listener = Listener::default();
    let mut config = kafka.watch_config();
    config.set("debug", "feature,broker");
    config.set_log_level(RDKafkaLogLevel::Debug);
    let client: BaseConsumer<Listener> = match config.create_with_context(listener.clone()) {
        Ok(client) => client,
        Err(error) => return Finding::failed(WHAT, &error, asked),
    };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let _asked = client.fetch_metadata(None, Duration::from_secs(1));
        let _none = client.poll(Duration::from_millis(20));
        let found = *listener.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = found {
            return judge(version);
        }
    }
    Finding::new(WHAT, Verdict::Unknown, "the brokers did not say which versions they speak")
}

fn judge(version: i16) -> Finding {
    let (api, wanted) = OFFSET_COMMIT;
    if version >= wanted {
        return Finding::new(WHAT, Verdict::Holds, format!("{api} up to version {version}"));
    }
    let found = format!("{api} only up to version {version}, {wanted} is needed: upgrade the brokers");
    Finding::new(WHAT, Verdict::Fails, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_debug_log() {
        let cases = [
            ("[thrd:x]: x/1:   ApiKey OffsetCommit (8) Versions 0..9", Some(9)),
            ("[thrd:x]: x/1:   ApiKey OffsetFetch (9) Versions 0..9", None),
            ("something else", None),
            ("ApiKey OffsetCommit (8) Versions", None),
        ];
        for (line, expected) in cases {
            assert_eq!(highest(line, "OffsetCommit"), expected, "{line}");
        }
    }

    #[test]
    fn an_old_broker_is_told_so() {
        assert_eq!(judge(9).verdict, Verdict::Holds);
        assert_eq!(judge(6).verdict, Verdict::Holds);
        assert_eq!(judge(5).verdict, Verdict::Fails);
    }
}
