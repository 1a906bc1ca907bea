//! The bounded queues between the process and its exporters.
use std::time::Duration;

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prometheus::IntGauge;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::TelemetryMetrics;

/// Spans, and log records, that may wait for their export; what comes when so many
/// wait is dropped and counted (`reason="queue_full"`).
pub(super) const QUEUE_ITEMS: usize = 4096;
/// The most that goes out in one export.
pub(super) const BATCH_ITEMS: usize = 512;
/// How long the first of a batch waits for more.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A log record with the scope that it was made in.
pub(super) type LogItem = (SdkLogRecord, InstrumentationScope);

/// The ends that the exporters read from.
pub(super) struct Queues {
    pub(super) spans: Outlet<SpanData>,
    pub(super) logs: Outlet<LogItem>,
}

/// Makes both queues and the processors that fill them.
pub(super) fn queues(metrics: &TelemetryMetrics) -> (Queues, SpanQueue, LogQueue) {
    let (spans, span_outlet) = pair(metrics, "traces");
    let (logs, log_outlet) = pair(metrics, "logs");
    (Queues { spans: span_outlet, logs: log_outlet }, SpanQueue(spans), LogQueue(logs))
}

fn pair<T>(metrics: &TelemetryMetrics, signal: &'static str) -> (Inlet<T>, Outlet<T>) {
    let (tx, rx) = channel(QUEUE_ITEMS);
    let queued = metrics.queue.with_label_values(&[signal]);
    let capacity = i64::try_from(QUEUE_ITEMS).unwrap_or(i64::MAX);
    metrics.capacity.with_label_values(&[signal]).set(capacity);
    let inlet = Inlet { tx, queued: queued.clone(), metrics: metrics.clone(), signal };
    (inlet, Outlet { rx, queued })
}

/// The end that is written to; never waits.
#[derive(Debug)]
struct Inlet<T> {
    tx: Sender<T>,
    queued: IntGauge,
    metrics: TelemetryMetrics,
    signal: &'static str,
}

impl<T> Inlet<T> {
    fn put(&self, item: T) {
        // Before the send: the reader must not take it out of a gauge that lacks it.
        self.queued.inc();
        let reason = match self.tx.try_send(item) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "queue_full",
            Err(TrySendError::Closed(_)) => "closed",
        };
        self.queued.dec();
        self.metrics.dropped.with_label_values(&[self.signal, reason]).inc();
    }
}

/// The end that is read from.
pub(super) struct Outlet<T> {
    rx: Receiver<T>,
    queued: IntGauge,
}

impl<T> Outlet<T> {
    /// The next batch: at most [`BATCH_ITEMS`], its first item waited at most [`LINGER`].
    /// After `stop` nothing more is taken in, and what is left comes without waiting;
    /// an empty batch is the end.
    pub(super) async fn batch(&mut self, stop: &CancellationToken) -> Vec<T> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => self.rx.close(),
            _ = self.rx.recv_many(&mut batch, BATCH_ITEMS) => {}
        }
        let deadline = Instant::now() + LINGER;
        while !stop.is_cancelled() && batch.len() < BATCH_ITEMS {
            let room = BATCH_ITEMS - batch.len();
            let more = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(deadline) => break,
                more = self.rx.recv_many(&mut batch, room) => more,
            };
            if more == 0 {
                break;
            }
        }
        if stop.is_cancelled() {
            self.rx.close();
            while batch.len() < BATCH_ITEMS {
                let Some(item) = self.rx.recv().await else {
                    break;
                };
                batch.push(item);
            }
        }
        self.queued.sub(i64::try_from(batch.len()).unwrap_or(i64::MAX));
        batch
    }
}

/// Puts ended spans into their queue.
#[derive(Debug)]
pub(super) struct SpanQueue(Inlet<SpanData>);

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.put(span);
        }
    }

    // The exporters' guard flushes and ends them; a provider has nothing to do here.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Puts log records into their queue.
#[derive(Debug)]
pub(super) struct LogQueue(Inlet<LogItem>);

impl LogProcessor for LogQueue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.put((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::metrics::RuntimeMetrics;

    fn metrics() -> TelemetryMetrics {
        RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap().telemetry
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_what_came_within_the_linger() {
        let metrics = metrics();
        let (inlet, mut outlet) = pair::<u32>(&metrics, "traces");
        let stop = CancellationToken::new();
        inlet.put(1);
        inlet.put(2);
        assert_eq!(metrics.queue.with_label_values(&["traces"]).get(), 2);
        assert_eq!(outlet.batch(&stop).await, [1, 2]);
        assert_eq!(metrics.queue.with_label_values(&["traces"]).get(), 0);
        for n in 0..600 {
            inlet.put(n);
        }
        assert_eq!(outlet.batch(&stop).await.len(), BATCH_ITEMS);
        assert_eq!(outlet.batch(&stop).await.len(), 88);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let metrics = metrics();
        let (inlet, mut outlet) = pair::<u32>(&metrics, "logs");
        for n in 0..4100 {
            inlet.put(n);
        }
        let dropped = |reason| metrics.dropped.with_label_values(&["logs", reason]).get();
        assert_eq!(dropped("queue_full"), 4);
        let stop = CancellationToken::new();
        stop.cancel();
        let mut taken = 0;
        loop {
            let batch = outlet.batch(&stop).await;
            if batch.is_empty() {
                break;
            }
            taken += batch.len();
        }
        assert_eq!(taken, QUEUE_ITEMS);
        inlet.put(0);
        assert_eq!(dropped("closed"), 1);
        assert_eq!(metrics.queue.with_label_values(&["logs"]).get(), 0);
        assert_eq!(metrics.capacity.with_label_values(&["logs"]).get(), 4096);
    }
}
