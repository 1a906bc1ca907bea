use super::*;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

use crate::http::{BoxBody, HttpLimits, read_body, serve, service, text};
use crate::metrics::RuntimeMetrics;
use crate::shutdown::Shutdown;

/// What a receiver was sent.
#[derive(Debug, Clone, Default)]
struct Received {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    logs: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Received {
    fn span_names(&self) -> Vec<String> {
        let requests = self.traces.lock().unwrap();
        let resources = requests.iter().flat_map(|r| &r.resource_spans);
        let scopes = resources.flat_map(|r| &r.scope_spans);
        scopes.flat_map(|s| &s.spans).map(|span| span.name.clone()).collect()
    }

    fn log_bodies(&self) -> Vec<String> {
        let requests = self.logs.lock().unwrap();
        let resources = requests.iter().flat_map(|r| &r.resource_logs);
        let records = resources.flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records);
        records.map(|record| string(record.body.as_ref().and_then(|b| b.value.as_ref()))).collect()
    }

    fn metric_names(&self) -> Vec<String> {
        let requests = self.metrics.lock().unwrap();
        let resources = requests.iter().flat_map(|r| &r.resource_metrics);
        let metrics = resources.flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
        metrics.map(|metric| metric.name.clone()).collect()
    }

    fn service_name(&self) -> String {
        let requests = self.traces.lock().unwrap();
        let resource = requests[0].resource_spans[0].resource.clone().unwrap();
        let name = resource.attributes.iter().find(|a| a.key == "service.name").unwrap();
        string(name.value.as_ref().and_then(|v| v.value.as_ref()))
    }
}

fn string(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// An OTLP receiver over HTTP: every body must decode as the protocol's message.
async fn http_receiver(received: Received) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = service(move |request: Request<Incoming>| {
        let received = received.clone();
        async move { receive(request, &received).await }
    });
    let metrics = RuntimeMetrics::new(&Registry::new(), "0", "").unwrap().http;
    tokio::spawn(serve(listener, answer, HttpLimits::default(), Shutdown::new(), metrics));
    address
}

async fn receive(request: Request<Incoming>, received: &Received) -> Response<BoxBody> {
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    if let Some(token) = request.headers().get("x-token") {
        received.tokens.lock().unwrap().push(token.to_str().unwrap().to_owned());
    }
    let path = request.uri().path().to_owned();
    let body = read_body(request.into_body(), 1 << 20).await.unwrap();
    match path.as_str() {
        "/v1/traces" => received.traces.lock().unwrap().push(Message::decode(body).unwrap()),
        "/v1/logs" => received.logs.lock().unwrap().push(Message::decode(body).unwrap()),
        "/v1/metrics" => received.metrics.lock().unwrap().push(Message::decode(body).unwrap()),
        other => panic!("{other}"),
    }
    text(StatusCode::OK, "application/x-protobuf", "")
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.note_token(&request);
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        self.note_token(&request);
        self.logs.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.note_token(&request);
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Received {
    fn note_token<T>(&self, request: &tonic::Request<T>) {
        if let Some(token) = request.metadata().get("x-token") {
            self.tokens.lock().unwrap().push(token.to_str().unwrap().to_owned());
        }
    }
}

/// An OTLP receiver over gRPC.
async fn grpc_receiver(received: Received) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(received.clone()))
        .add_service(LogsServiceServer::new(received.clone()))
        .add_service(MetricsServiceServer::new(received));
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

/// Lines that were written instead of going to standard error.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn writer(&self) -> BoxMakeWriter {
        let lines = self.clone();
        BoxMakeWriter::new(move || lines.clone())
    }
}

/// Telemetry that is not the process' own.
struct Bench {
    dispatch: Dispatch,
    guard: Option<TelemetryGuard>,
    lines: Lines,
    metrics: RuntimeMetrics,
}

fn bench(config: &TelemetryConfig) -> Bench {
    let registry = Registry::new();
    let metrics = RuntimeMetrics::new(&registry, "1.2.3", "").unwrap();
    let lines = Lines::default();
    let (dispatch, guard) = build(config, &registry, &metrics.telemetry, lines.writer()).unwrap();
    Bench { dispatch, guard: Some(guard), lines, metrics }
}

impl Bench {
    fn run(&self, f: impl FnOnce()) {
        tracing::dispatcher::with_default(&self.dispatch, f);
    }

    fn dropped(&self, signal: &str, reason: &str) -> u64 {
        self.metrics.telemetry.dropped.with_label_values(&[signal, reason]).get()
    }

    async fn shutdown(&mut self) {
        let guard = self.guard.take().unwrap();
        // The receiver runs on this test's runtime: do not block it.
        tokio::task::spawn_blocking(|| guard.shutdown(Duration::from_secs(60))).await.unwrap();
    }
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All three signals over `protocol`, with what each must carry.
async fn all_signals_arrive(protocol: OtelProtocol, received: Received, address: SocketAddr) {
    let mut bench = bench(&TelemetryConfig {
        otel_endpoint: Some(format!("http://{address}")),
        otel_protocol: protocol,
        otel_headers: vec![("x-token".to_owned(), "t1".to_owned())],
        metrics_interval: Duration::from_millis(20),
        service_name: "bridge".to_owned(),
        service_version: "1.2.3".to_owned(),
        ..TelemetryConfig::default()
    });
    bench.run(|| {
        let batch = tracing::info_span!("batch", topic = "k2p.metrics");
        batch.in_scope(|| tracing::info!(records = 3, "a batch was applied"));
        tracing::debug!("below the level");
    });
    until(|| received.metric_names().iter().any(|name| name == "kafka2prom_build_info")).await;
    until(|| !received.span_names().is_empty() && !received.log_bodies().is_empty()).await;
    bench.run(|| tracing::info!("the last words"));
    bench.shutdown().await;
    assert_eq!(received.span_names(), ["batch"]);
    assert_eq!(received.log_bodies(), ["a batch was applied", "the last words"]);
    assert_eq!(received.service_name(), "bridge");
    let names = received.metric_names();
    assert!(names.iter().any(|name| name == "kafka2prom_process_cpu_seconds_total"), "{names:?}");
    let tokens = received.tokens.lock().unwrap();
    assert!(tokens.len() >= 3 && tokens.iter().all(|token| token == "t1"), "{tokens:?}");
    for signal in ["traces", "logs", "metrics"] {
        assert_eq!(bench.dropped(signal, "export_failed"), 0, "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_arrive_by_http() {
    let received = Received::default();
    let address = http_receiver(received.clone()).await;
    all_signals_arrive(OtelProtocol::Http, received, address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_arrive_by_grpc() {
    let received = Received::default();
    let address = grpc_receiver(received.clone()).await;
    all_signals_arrive(OtelProtocol::Grpc, received, address).await;
}

/// An address where nothing listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn an_endpoint_that_is_away_costs_a_counter(protocol: OtelProtocol) {
    let mut bench = bench(&TelemetryConfig {
        otel_endpoint: Some(nowhere()),
        otel_protocol: protocol,
        metrics_interval: Duration::from_millis(5),
        level: "trace".to_owned(),
        ..TelemetryConfig::default()
    });
    bench.run(|| {
        for n in 0..10 {
            tracing::info_span!("work").in_scope(|| tracing::info!(n, "said"));
        }
    });
    until(|| bench.dropped("metrics", "export_failed") > 100).await;
    until(|| bench.dropped("traces", "export_failed") == 10).await;
    until(|| bench.dropped("logs", "export_failed") == 10).await;
    bench.shutdown().await;
    // What the exporters said about it was not exported in its turn.
    assert_eq!(bench.dropped("logs", "export_failed"), 10);
    let lines = bench.lines.text();
    for signal in ["traces", "logs", "metrics"] {
        let complaints =
            |line: &&str| line.contains("own telemetry does not reach") && line.contains(&format!("signal={signal} "));
        assert_eq!(lines.lines().filter(complaints).count(), 1, "{signal}: {lines}");
    }
    assert_eq!(lines.lines().filter(|line| line.contains("msg=said")).count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_endpoint_that_is_away_costs_a_counter() {
    an_endpoint_that_is_away_costs_a_counter(OtelProtocol::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_endpoint_that_is_away_costs_a_counter() {
    an_endpoint_that_is_away_costs_a_counter(OtelProtocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_is_a_loss() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refuse = service(|_| async { text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "") });
    let metrics = RuntimeMetrics::new(&Registry::new(), "0", "").unwrap().http;
    tokio::spawn(serve(listener, refuse, HttpLimits::default(), Shutdown::new(), metrics));
    let mut bench =
        bench(&TelemetryConfig { otel_endpoint: Some(format!("http://{address}/")), ..TelemetryConfig::default() });
    bench.run(|| tracing::info_span!("work").in_scope(|| tracing::info!("said")));
    bench.shutdown().await;
    assert_eq!(bench.dropped("traces", "export_failed"), 1);
    assert_eq!(bench.dropped("logs", "export_failed"), 1);
    assert!(bench.dropped("metrics", "export_failed") > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn sampling_takes_none_or_all_and_logs_stay() {
    let received = Received::default();
    let address = http_receiver(received.clone()).await;
    let mut bench = bench(&TelemetryConfig {
        otel_endpoint: Some(format!("http://{address}")),
        sample_ratio: 0.0,
        ..TelemetryConfig::default()
    });
    bench.run(|| tracing::info_span!("work").in_scope(|| tracing::info!("said")));
    bench.shutdown().await;
    assert_eq!(received.span_names(), Vec::<String>::new());
    assert_eq!(received.log_bodies(), ["said"]);
}

#[test]
fn lines_carry_the_fields_of_their_spans() {
    let bench = bench(&TelemetryConfig::default());
    bench.run(|| {
        let outer = tracing::info_span!("outer", topic = "t", partition = 1, late = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("late", "now");
        let _inner = tracing::info_span!("inner", partition = 2).entered();
        let error = io::Error::other("broken");
        tracing::warn!(target: "k2p", error = &error as &dyn std::error::Error, "it\nfailed");
        tracing::debug!("not heard");
        tracing::info!(target: "hyper::proto", "not heard either");
    });
    let text = bench.lines.text();
    let (ts, rest) = text.split_once(' ').unwrap();
    assert!(ts.starts_with("ts=20"), "{text}");
    assert_eq!(rest, "level=warn target=k2p msg=\"it\\nfailed\" error=broken partition=2 topic=t late=now\n");
}

#[test]
fn json_lines_have_the_same_fields() {
    let bench = bench(&TelemetryConfig {
        format: LogFormat::Json,
        level: "warn,k2p=debug".to_owned(),
        ..TelemetryConfig::default()
    });
    bench.run(|| {
        tracing::info!(target: "other", "not heard");
        tracing::debug!(target: "k2p", share = 0.5, count = 3_u64, "heard");
    });
    let line: serde_json::Value = serde_json::from_str(&bench.lines.text()).unwrap();
    assert_eq!(line["level"], "debug");
    assert_eq!(line["target"], "k2p");
    assert_eq!(line["msg"], "heard");
    assert_eq!(line["share"], 0.5);
    assert_eq!(line["count"], 3);
    assert!(line["ts"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn wrong_settings_are_refused_with_a_remedy() {
    let refused = |config: TelemetryConfig| {
        let registry = Registry::new();
        let metrics = RuntimeMetrics::new(&registry, "0", "").unwrap();
        match build(&config, &registry, &metrics.telemetry, Lines::default().writer()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    let base = TelemetryConfig::default;
    assert_eq!(refused(base()), "");
    for level in ["debug", "off", "info,k2p_server=trace", "warn,rdkafka=off"] {
        assert_eq!(refused(TelemetryConfig { level: level.to_owned(), ..base() }), "", "{level}");
    }
    for level in ["", "loud", "info,k2p=loud", "a=b=c"] {
        let error = refused(TelemetryConfig { level: level.to_owned(), ..base() });
        assert!(error.contains("write one of these"), "{level}: {error}");
    }
    for ratio in [-0.1, 1.1, f64::NAN] {
        let error = refused(TelemetryConfig { sample_ratio: ratio, ..base() });
        assert!(error.contains("from 0 to 1"), "{error}");
    }
    for protocol in [OtelProtocol::Http, OtelProtocol::Grpc] {
        for endpoint in ["", "localhost:4317", "ftp://a:1", "http://u:p@a:1"] {
            let otel_endpoint = Some(endpoint.to_owned());
            let error = refused(TelemetryConfig { otel_endpoint, otel_protocol: protocol, ..base() });
            assert!(error.contains("OTLP endpoint"), "{endpoint}: {error}");
        }
        let otel_headers = vec![("a b".to_owned(), "hunter2".to_owned())];
        let otel_endpoint = Some(nowhere());
        let config = TelemetryConfig { otel_endpoint, otel_headers, otel_protocol: protocol, ..base() };
        assert!(!format!("{config:?}").contains("hunter2"));
        let error = refused(config);
        assert!(error.contains("is no header") && !error.contains("hunter2"), "{error}");
    }
}
