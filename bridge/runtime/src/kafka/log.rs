//! What librdkafka says on its own: log lines, errors, statistics.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::clock::mono_ms;
use crate::metrics::RuntimeMetrics;

/// How many log lines of one client are written in each [`LOG_WINDOW_MS`].
pub(super) const LOG_LINES: u32 = 20;
/// The window of the above, in milliseconds.
pub(super) const LOG_WINDOW_MS: i64 = 60_000;

/// One client's voice: put it into a client's context and pass on to it what librdkafka
/// says. A broker that is away makes librdkafka talk without end; here it is bounded.
#[derive(Debug)]
pub struct KafkaLog {
    client: &'static str,
    up: AtomicBool,
    up_gauge: IntGauge,
    errors: IntCounterVec,
    suppressed: IntCounter,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<i64>,
    written: u32,
    suppressed: u64,
}

impl Window {
    /// Whether a line may be written at `now`, and how many were not in the window that
    /// has just ended.
    fn admit(&mut self, now: i64) -> (bool, u64) {
        let mut missed = 0;
        if self.began.is_none_or(|began| now - began >= LOG_WINDOW_MS) {
            missed = self.suppressed;
            *self = Self { began: Some(now), written: 0, suppressed: 0 };
        }
        if self.written < LOG_LINES {
            self.written += 1;
            return (true, missed);
        }
        self.suppressed += 1;
        (false, missed)
    }
}

impl KafkaLog {
    /// The voice of the client called `client`, a bounded label value. It counts as down
    /// until something got through.
    pub fn new(client: &'static str, metrics: &RuntimeMetrics) -> Arc<Self> {
        let up_gauge = metrics.kafka_up.with_label_values(&[client]);
        up_gauge.set(0);
        Arc::new(Self {
            client,
            up: AtomicBool::new(false),
            up_gauge,
            errors: metrics.kafka_errors.clone(),
            suppressed: metrics.kafka_logs_suppressed.with_label_values(&[client]),
            window: Mutex::default(),
        })
    }

    /// Whether a broker could be reached when librdkafka last knew.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// A request was answered: a broker can be reached.
    pub fn note_success(&self) {
        self.set_up(true);
    }

    /// For [`ClientContext::log`].
    pub fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let RDKafkaLogLevel::Debug = level {
            // Only there when asked for with the property `debug`.
            tracing::debug!(target: "librdkafka", client = self.client, facility, "{message}");
            return;
        }
        if !self.admit() {
            return;
        }
        let client = self.client;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", client, facility, "{message}");
            }
            // Errors of librdkafka are connections that failed: it tries again by itself.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", client, facility, "{message}");
            }
            _ => tracing::info!(target: "librdkafka", client, facility, "{message}"),
        }
    }

    /// For [`ClientContext::error`].
    pub fn error(&self, error: &KafkaError, reason: &str) {
        let kind = classify(error);
        self.errors.with_label_values(&[self.client, kind]).inc();
        if kind == "all_brokers_down" {
            self.set_up(false);
        }
        if self.admit() {
            let client = self.client;
            tracing::warn!(target: "librdkafka", client, reason = kind, "{reason}");
        }
    }

    /// For [`ClientContext::stats`]: brings `is_up` up to date.
    pub fn stats(&self, statistics: &Statistics) {
        let states = || {
            let outside = statistics.brokers.values().filter(|b| b.source != "internal");
            outside.map(|broker| broker.state.as_str())
        };
        if states().any(|state| matches!(state, "UP" | "UPDATE")) {
            self.set_up(true);
        } else if states().any(|state| matches!(state, "DOWN" | "TRY_CONNECT" | "CONNECT")) {
            self.set_up(false);
        }
    }

    fn set_up(&self, up: bool) {
        self.up_gauge.set(i64::from(up));
        if self.up.swap(up, Ordering::Relaxed) == up {
            return;
        }
        let client = self.client;
        if up {
            tracing::info!(client, "Kafka can be reached");
        } else {
            tracing::warn!(client, "no Kafka broker can be reached; trying again without end");
        }
    }

    fn admit(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (admitted, missed) = window.admit(mono_ms());
        drop(window);
        if missed > 0 {
            tracing::warn!(
                target: "librdkafka",
                client = self.client,
                lines = missed,
                "more log lines of librdkafka were left out in the minute before"
            );
        }
        if !admitted {
            self.suppressed.inc();
        }
        admitted
    }
}

/// The bounded `reason` of an error that librdkafka reports outside of a request.
fn classify(error: &KafkaError) -> &'static str {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => "all_brokers_down",
        Some(RDKafkaErrorCode::BrokerTransportFailure) => "transport",
        Some(RDKafkaErrorCode::Resolve) => "resolve",
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => "authentication",
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => "authorization",
        Some(RDKafkaErrorCode::SSL) => "tls",
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => "timeout",
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => "unknown_topic",
        Some(RDKafkaErrorCode::Fatal) => "fatal",
        _ => "other",
    }
}

/// A context that only passes on what librdkafka says: for side, watch and admin
/// clients.
#[derive(Debug, Clone)]
pub struct PlainContext(pub Arc<KafkaLog>);

impl ClientContext for PlainContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.stats(&statistics);
    }
}

impl ConsumerContext for PlainContext {}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn voice() -> (Arc<KafkaLog>, RuntimeMetrics) {
        let metrics = RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap();
        (KafkaLog::new("consumer", &metrics), metrics)
    }

    #[test]
    fn a_window_admits_so_many_lines_and_tells_what_was_missed() {
        let mut window = Window::default();
        for _ in 0..LOG_LINES {
            assert_eq!(window.admit(-5), (true, 0));
        }
        assert_eq!(window.admit(-5), (false, 0));
        assert_eq!(window.admit(LOG_WINDOW_MS - 6), (false, 0));
        assert_eq!(window.admit(LOG_WINDOW_MS - 5), (true, 2));
        assert_eq!(window.admit(LOG_WINDOW_MS), (true, 0));
    }

    #[test]
    fn lines_beyond_the_bound_are_counted() {
        let (log, metrics) = voice();
        for _ in 0..LOG_LINES + 3 {
            log.log(RDKafkaLogLevel::Error, "FAIL", "connection refused");
        }
        for _ in 0..5 {
            log.log(RDKafkaLogLevel::Debug, "FETCH", "asked for");
        }
        let suppressed = metrics.kafka_logs_suppressed.with_label_values(&["consumer"]);
        assert_eq!(suppressed.get(), 3);
    }

    #[test]
    fn being_up_follows_what_librdkafka_knows() {
        let (log, metrics) = voice();
        let gauge = metrics.kafka_up.with_label_values(&["consumer"]);
        assert!(!log.is_up());
        log.note_success();
        assert_eq!((log.is_up(), gauge.get()), (true, 1));
        log.error(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "one of two");
        assert!(log.is_up());
        log.error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "2/2 brokers are down");
        assert_eq!((log.is_up(), gauge.get()), (false, 0));
        let stats = |states: &[(&str, &str)]| {
            let mut statistics = Statistics::default();
            for (index, (source, state)) in states.iter().enumerate() {
                let broker = rdkafka::statistics::Broker {
                    source: (*source).to_owned(),
                    state: (*state).to_owned(),
                    ..rdkafka::statistics::Broker::default()
                };
                statistics.brokers.insert(index.to_string(), broker);
            }
            log.stats(&statistics);
            log.is_up()
        };
        assert!(!stats(&[("internal", "UP"), ("configured", "INIT")]));
        assert!(stats(&[("configured", "DOWN"), ("learned", "UP")]));
        assert!(stats(&[("configured", "INIT")]), "unknown is no news");
        assert!(!stats(&[("configured", "TRY_CONNECT"), ("learned", "INIT")]));
        let counted = |reason| metrics.kafka_errors.with_label_values(&["consumer", reason]).get();
        assert_eq!((counted("transport"), counted("all_brokers_down")), (1, 1));
    }
}
