//! The exporters: one thread with a small runtime of its own, three tasks in it.
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use opentelemetry_http::{HttpClient as OtelHttpClient, HttpError, Response};
use opentelemetry_otlp::{LogExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _};
use opentelemetry_sdk::trace::SpanExporter as _;
use prometheus::Registry;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tracing::Dispatch;

use super::queue::{LogItem, Queues};
use super::{EXPORTING, OtelProtocol, TelemetryConfig, TelemetryError, registry};
use crate::clock::mono_ms;
use crate::http::client::{ClientConfig, HttpClient, parse_url};
use crate::http::full;
use crate::metrics::TelemetryMetrics;

/// The longest that one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a connection to the endpoint may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 1 << 20;
/// At most one complaint about a signal in this time, in milliseconds.
const COMPLAINT_MS: i64 = 60_000;

/// What the exporters take their work from.
pub(super) struct Source {
    pub(super) queues: Queues,
    pub(super) registry: Registry,
    pub(super) metrics: TelemetryMetrics,
    pub(super) resource: Resource,
    /// Where the exporters' own complaints go.
    pub(super) dispatch: Dispatch,
}

/// The running thread.
#[derive(Debug)]
pub(super) struct Exporters {
    stop: CancellationToken,
    ended: mpsc::Receiver<()>,
}

impl Exporters {
    /// Sends what is queued, at most for `timeout`.
    pub(super) fn shutdown(self, timeout: Duration) {
        self.stop.cancel();
        // The thread drops its end of the channel; later than that it is left alone.
        let _ = self.ended.recv_timeout(timeout);
    }
}

/// Checks the settings and starts the thread. Nothing is connected to yet.
pub(super) fn start(config: &TelemetryConfig, endpoint: &str, source: Source) -> Result<Exporters, TelemetryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TelemetryError::Thread)?;
    let sender = {
        let _context = runtime.enter();
        Sender::new(config, endpoint, &source.resource)?
    };
    let interval = config.metrics_interval;
    let stop = CancellationToken::new();
    let (alive, ended) = mpsc::channel();
    let stopping = stop.clone();
    std::thread::Builder::new()
        .name("telemetry".to_owned())
        .spawn(move || {
            EXPORTING.set(true);
            let dispatch = source.dispatch.clone();
            tracing::dispatcher::with_default(&dispatch, || {
                runtime.block_on(sender.run(source, interval, stopping));
            });
            // A name that is still being looked up must not keep the end.
            runtime.shutdown_background();
            drop(alive);
        })
        .map_err(TelemetryError::Thread)?;
    Ok(Exporters { stop, ended })
}

/// The three ways out, over one protocol.
struct Sender {
    spans: SpanExporter,
    logs: LogExporter,
    metrics: MetricsSender,
}

/// How metrics leave; see [`registry`].
enum MetricsSender {
    Http { client: Box<HttpClient>, url: hyper::Uri, headers: HeaderMap },
    Grpc { client: MetricsServiceClient<Channel>, metadata: MetadataMap },
}

impl Sender {
    fn new(config: &TelemetryConfig, endpoint: &str, resource: &Resource) -> Result<Self, TelemetryError> {
        let wrong = |error: &dyn std::fmt::Display| TelemetryError::Endpoint(error.to_string());
        parse_url(endpoint).map_err(|error| wrong(&error))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.otel_headers {
            let bad = || wrong(&format!("{name:?} with its value is no header"));
            let header: HeaderName = name.parse().map_err(|_| bad())?;
            headers.insert(header, HeaderValue::from_str(value).map_err(|_| bad())?);
        }
        let mut sender = match config.otel_protocol {
            OtelProtocol::Http => Self::http(endpoint, headers, config)?,
            OtelProtocol::Grpc => Self::grpc(endpoint, headers)?,
        };
        sender.spans.set_resource(resource);
        sender.logs.set_resource(resource);
        Ok(sender)
    }

    fn http(endpoint: &str, mut headers: HeaderMap, config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let wrong = |error: &dyn std::fmt::Display| TelemetryError::Endpoint(error.to_string());
        let base = endpoint.trim_end_matches('/');
        let settings = ClientConfig { connect_timeout: CONNECT_TIMEOUT, ..ClientConfig::default() };
        let client = HttpClient::new(&settings).map_err(|error| wrong(&error))?;
        let pairs = || config.otel_headers.iter().cloned().collect();
        let spans = SpanExporter::builder()
            .with_http()
            .with_http_client(Adapter(client.clone()))
            .with_endpoint(format!("{base}/v1/traces"))
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers(pairs())
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| wrong(&error))?;
        let logs = LogExporter::builder()
            .with_http()
            .with_http_client(Adapter(client.clone()))
            .with_endpoint(format!("{base}/v1/logs"))
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers(pairs())
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| wrong(&error))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let url = parse_url(&format!("{base}/v1/metrics")).map_err(|error| wrong(&error))?;
        Ok(Self { spans, logs, metrics: MetricsSender::Http { client: Box::new(client), url, headers } })
    }

    fn grpc(endpoint: &str, headers: HeaderMap) -> Result<Self, TelemetryError> {
        let wrong = |error: &dyn std::fmt::Display| TelemetryError::Endpoint(error.to_string());
        let mut remote = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| wrong(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXPORT_TIMEOUT);
        if endpoint.starts_with("https:") {
            let tls = ClientTlsConfig::new().with_native_roots();
            remote = remote.tls_config(tls).map_err(|error| wrong(&error))?;
        }
        let channel = remote.connect_lazy();
        let metadata = MetadataMap::from_headers(headers);
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_timeout(EXPORT_TIMEOUT)
            .with_metadata(metadata.clone())
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| wrong(&error))?;
        let logs = LogExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_timeout(EXPORT_TIMEOUT)
            .with_metadata(metadata.clone())
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| wrong(&error))?;
        let client = MetricsServiceClient::new(channel);
        Ok(Self { spans, logs, metrics: MetricsSender::Grpc { client, metadata } })
    }

    async fn run(self, source: Source, interval: Duration, stop: CancellationToken) {
        let Source { mut queues, registry, metrics, resource, .. } = source;
        let loss = |signal| Loss { signal, metrics: metrics.clone(), complaint: Complaint::default() };
        let (span_exporter, log_exporter) = (self.spans, self.logs);
        let spans = async {
            let mut loss = loss("traces");
            loop {
                let batch = queues.spans.batch(&stop).await;
                if batch.is_empty() {
                    return;
                }
                let items = batch.len() as u64;
                loss.note(items, limited(span_exporter.export(batch)).await);
            }
        };
        let logs = async {
            let mut loss = loss("logs");
            loop {
                let batch = queues.logs.batch(&stop).await;
                if batch.is_empty() {
                    return;
                }
                let records: Vec<_> = batch.iter().map(|item: &LogItem| (&item.0, &item.1)).collect();
                let sent = limited(log_exporter.export(LogBatch::new(&records))).await;
                loss.note(batch.len() as u64, sent);
            }
        };
        let own_metrics = async {
            let mut loss = loss("metrics");
            let start = unix_nanos();
            loop {
                let last = tokio::select! {
                    () = stop.cancelled() => true,
                    () = tokio::time::sleep(interval) => false,
                };
                let families = registry.gather();
                let (request, points) = registry::request(&families, &resource, start, unix_nanos());
                loss.note(points, limited(self.metrics.send(request)).await);
                if last {
                    return;
                }
            }
        };
        tokio::join!(spans, logs, own_metrics);
    }
}

/// No export outlasts its time, whatever the transport thinks of it.
async fn limited<E: std::fmt::Display>(export: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match tokio::time::timeout(EXPORT_TIMEOUT * 2, export).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

impl MetricsSender {
    async fn send(&self, message: ExportMetricsServiceRequest) -> Result<(), String> {
        match self {
            Self::Http { client, url, headers } => {
                let mut request = Request::new(full(message.encode_to_vec()));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = url.clone();
                *request.headers_mut() = headers.clone();
                let answer = client.fetch(request, EXPORT_TIMEOUT, ANSWER_BYTES).await;
                let status = answer.map_err(|error| error.to_string())?.status;
                if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
            }
            Self::Grpc { client, metadata } => {
                let mut request = tonic::Request::new(message);
                *request.metadata_mut() = metadata.clone();
                let sent = client.clone().export(request).await;
                sent.map(drop).map_err(|status| status.to_string())
            }
        }
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts what did not arrive, and complains now and then.
struct Loss {
    signal: &'static str,
    metrics: TelemetryMetrics,
    complaint: Complaint,
}

impl Loss {
    fn note(&mut self, items: u64, sent: Result<(), String>) {
        let Err(error) = sent else {
            return;
        };
        let lost = self.metrics.dropped.with_label_values(&[self.signal, "export_failed"]);
        lost.inc_by(items);
        if let Some(dropped) = self.complaint.due(items, mono_ms()) {
            tracing::warn!(
                signal = self.signal,
                dropped,
                error,
                "own telemetry does not reach the OTLP endpoint; it is dropped and counted"
            );
        }
    }
}

/// Lets one complaint through in [`COMPLAINT_MS`], with all that was lost since the last.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<i64>,
    lost: u64,
}

impl Complaint {
    fn due(&mut self, lost: u64, now: i64) -> Option<u64> {
        self.lost += lost;
        if self.last.is_some_and(|last| now - last < COMPLAINT_MS) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.lost))
    }
}

/// The house's HTTP client as the exporters want it.
#[derive(Debug)]
struct Adapter(HttpClient);

#[async_trait::async_trait]
impl OtelHttpClient for Adapter {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.fetch(request.map(full), EXPORT_TIMEOUT, ANSWER_BYTES).await?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_a_minute_sums_up_what_was_lost() {
        let mut complaint = Complaint::default();
        assert_eq!(complaint.due(5, 10), Some(5));
        assert_eq!(complaint.due(5, 11), None);
        assert_eq!(complaint.due(7, 10 + COMPLAINT_MS - 1), None);
        assert_eq!(complaint.due(1, 10 + COMPLAINT_MS), Some(13));
        assert_eq!(complaint.due(1, 11 + COMPLAINT_MS), None);
    }
}
