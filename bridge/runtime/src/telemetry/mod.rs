//! Logs on stderr, and with an OTLP endpoint traces, logs and own metrics by
//! OpenTelemetry (issue 3, point 9).
//!
//! What leaves by OTLP passes bounded queues into one thread of its own. An endpoint
//! that is away costs a counter and one log line a minute; nothing waits for it.
mod line;
mod otlp;
mod queue;
mod registry;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::Registry;
use tracing::{Dispatch, Metadata};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter};

use self::line::LineLayer;
use self::otlp::Exporters;
use self::queue::{LogQueue, SpanQueue};
use crate::metrics::TelemetryMetrics;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `ts=… level=info target=… msg="…" key=value`.
    #[default]
    Logfmt,
    /// The same fields as one JSON object a line.
    Json,
}

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtelProtocol {
    /// Protobuf by HTTP/1.1, `…/v1/traces` and so on below the endpoint.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}

/// What the telemetry of a process is made of.
#[derive(Clone)]
pub struct TelemetryConfig {
    /// A level, or directives as `info,k2p_server=debug`.
    pub level: String,
    /// The lines on stderr.
    pub format: LogFormat,
    /// `http(s)://HOST:PORT` of an OTLP receiver; none: nothing leaves.
    pub otel_endpoint: Option<String>,
    /// How it leaves.
    pub otel_protocol: OtelProtocol,
    /// Headers (HTTP) or metadata (gRPC) of each export, for authentication.
    pub otel_headers: Vec<(String, String)>,
    /// The share of traces that are taken, 0 to 1.
    pub sample_ratio: f64,
    /// How often own metrics leave.
    pub metrics_interval: Duration,
    /// `service.name`.
    pub service_name: String,
    /// `service.version`.
    pub service_version: String,
    /// `service.instance.id`; empty: left out.
    pub service_instance: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Logfmt,
            otel_endpoint: None,
            otel_protocol: OtelProtocol::Http,
            otel_headers: Vec::new(),
            sample_ratio: 1.0,
            metrics_interval: Duration::from_secs(30),
            service_name: "kafka2prom".to_owned(),
            service_version: String::new(),
            service_instance: String::new(),
        }
    }
}

impl fmt::Debug for TelemetryConfig {
    /// Without the headers' values, which authenticate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.otel_headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TelemetryConfig")
            .field("level", &self.level)
            .field("format", &self.format)
            .field("otel_endpoint", &self.otel_endpoint)
            .field("otel_protocol", &self.otel_protocol)
            .field("otel_headers", &headers)
            .field("sample_ratio", &self.sample_ratio)
            .finish_non_exhaustive()
    }
}

/// Why telemetry cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level follows no grammar.
    #[error(
        "log level {0:?} is neither error, warn, info, debug, trace, off nor a list of \
         TARGET=LEVEL; write one of these"
    )]
    Level(String),
    /// The endpoint is no URL, or a header no header.
    #[error("OTLP endpoint: {0}; write http://HOST:PORT or https://HOST:PORT")]
    Endpoint(String),
    /// The share is no number from 0 to 1.
    #[error("sample ratio {0} is not a number from 0 to 1; write for example 0.1")]
    Ratio(f64),
    /// The exporter's thread cannot be started.
    #[error("the exporter's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// Telemetry began already in this process.
    #[error("logging was initialised before in this process")]
    Twice,
}

/// Keeps the exporters; ends them when it is dropped, after at most two seconds.
#[derive(Debug)]
#[must_use = "dropping the guard ends the telemetry"]
pub struct TelemetryGuard {
    exporters: Option<Exporters>,
}

impl TelemetryGuard {
    /// Sends what is queued, waiting at most `timeout`, and ends the exporters.
    pub fn shutdown(mut self, timeout: Duration) {
        if let Some(exporters) = self.exporters.take() {
            exporters.shutdown(timeout);
        }
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(exporters) = self.exporters.take() {
            exporters.shutdown(Duration::from_secs(2));
        }
    }
}

thread_local! {
    /// Set in the exporters' thread: what it says itself must not be exported, or each
    /// export would bring forth the next.
    static EXPORTING: Cell<bool> = const { Cell::new(false) };
}

/// Targets that talk about every request; they are heard only when the level names them.
const QUIET: [&str; 7] = ["h2", "hyper", "hyper_util", "opentelemetry", "rustls", "tonic", "tower"];

/// Begins logging to stderr and, with an endpoint, the export of traces, logs and the
/// metrics of `registry`. Once per process; outside or inside an async runtime.
///
/// # Errors
/// See [`TelemetryError`]. An endpoint that is away is none.
pub fn init(
    config: &TelemetryConfig,
    registry: &Registry,
    metrics: &TelemetryMetrics,
) -> Result<TelemetryGuard, TelemetryError> {
    let stderr = BoxMakeWriter::new(std::io::stderr);
    let (dispatch, guard) = build(config, registry, metrics, stderr)?;
    // Also takes in what libraries say through the `log` crate.
    dispatch.try_init().map_err(|_| TelemetryError::Twice)?;
    Ok(guard)
}

/// The subscriber and its exporters, without making it the process' own.
fn build(
    config: &TelemetryConfig,
    registry: &Registry,
    metrics: &TelemetryMetrics,
    writer: BoxMakeWriter,
) -> Result<(Dispatch, TelemetryGuard), TelemetryError> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(TelemetryError::Ratio(config.sample_ratio));
    }
    let lines = LineLayer::new(config.format, writer).with_filter(level_filter(&config.level)?);
    let subscriber = tracing_subscriber::registry().with(lines);
    let Some(endpoint) = &config.otel_endpoint else {
        return Ok((subscriber.into(), TelemetryGuard { exporters: None }));
    };
    let resource = resource(config);
    let (queues, spans, logs) = queue::queues(metrics);
    let subscriber = subscriber.with(span_layer(spans, config, &resource)).with(log_layer(logs, config, &resource)?);
    let dispatch = Dispatch::from(subscriber);
    let source = otlp::Source {
        queues,
        registry: registry.clone(),
        metrics: metrics.clone(),
        resource,
        dispatch: dispatch.clone(),
    };
    let exporters = otlp::start(config, endpoint, source)?;
    Ok((dispatch, TelemetryGuard { exporters: Some(exporters) }))
}

fn level_filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = || TelemetryError::Level(level.to_owned());
    // A bare word would be taken for a target, with all its events: a misspelled level
    // must not turn everything else off.
    let bare = |part: &&str| !part.contains(['=', '[']);
    let mut words = level.split(',').map(str::trim).filter(bare);
    if !words.all(|word| !word.is_empty() && word.parse::<filter::LevelFilter>().is_ok()) {
        return Err(wrong());
    }
    let mut filter = EnvFilter::builder().parse(level).map_err(|_| wrong())?;
    for target in QUIET.iter().filter(|target| !level.contains(*target)) {
        let directive = format!("{target}=warn").parse().map_err(|_| wrong())?;
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

fn resource(config: &TelemetryConfig) -> Resource {
    let mut resource = Resource::builder().with_service_name(config.service_name.clone());
    let more = [("service.version", &config.service_version), ("service.instance.id", &config.service_instance)];
    for (name, value) in more.into_iter().filter(|(_, value)| !value.is_empty()) {
        resource = resource.with_attribute(KeyValue::new(name, value.clone()));
    }
    resource.build()
}

/// Whether something may be exported: nothing that exporting itself says.
fn exportable(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let quiet = QUIET.iter().any(|quiet| target.starts_with(quiet));
    !quiet && !EXPORTING.get()
}

fn span_layer<S>(queue: SpanQueue, config: &TelemetryConfig, resource: &Resource) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let ratio = Sampler::TraceIdRatioBased(config.sample_ratio);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_resource(resource.clone())
        .build();
    // Spans are sampled, not filtered by the level of the log; trace-level ones are too
    // many to ask the sampler for.
    tracing_opentelemetry::layer().with_tracer(provider.tracer("kafka2prom")).with_filter(filter::dynamic_filter_fn(
        |metadata, _| metadata.is_span() && *metadata.level() <= tracing::Level::DEBUG && exportable(metadata),
    ))
}

fn log_layer<S>(
    queue: LogQueue,
    config: &TelemetryConfig,
    resource: &Resource,
) -> Result<impl Layer<S> + use<S>, TelemetryError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let provider = SdkLoggerProvider::builder().with_log_processor(queue).with_resource(resource.clone()).build();
    let allowed = filter::dynamic_filter_fn(|metadata, _| exportable(metadata));
    Ok(OpenTelemetryTracingBridge::new(&provider).with_filter(allowed).with_filter(level_filter(&config.level)?))
}
