//! What every long-lived command does first: a runtime, telemetry, signals.
use std::sync::Arc;
use std::time::Duration;

use k2p_runtime::metrics::RuntimeMetrics;
use k2p_runtime::shutdown::Shutdown;
use k2p_runtime::telemetry::{self, TelemetryConfig, TelemetryGuard};
use prometheus::Registry;

use super::Failure;
use crate::cli::{LogArgs, LogFormat, OtelProtocol};

/// The version that the binary says it is.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, where the build says so.
pub(crate) const REVISION: &str = match option_env!("K2P_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// A process that serves: its registry, its switch, its telemetry.
pub(crate) struct Process {
    pub(crate) registry: Registry,
    pub(crate) runtime: RuntimeMetrics,
    pub(crate) shutdown: Shutdown,
    /// Dropped last: it sends what is still to be sent.
    _telemetry: TelemetryGuard,
}

/// The async runtime of a long-lived command.
pub(crate) fn tokio_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format_args!("the async runtime cannot start: {e}")))
}

/// Begins a process; to be called inside the runtime.
pub(crate) fn begin(log: &LogArgs, service: &str) -> Result<Process, Failure> {
    let registry = Registry::new();
    let runtime = RuntimeMetrics::new(&registry, VERSION, REVISION).map_err(Failure::failed)?;
    let config = TelemetryConfig {
        level: log.level.clone(),
        format: match log.format {
            LogFormat::Logfmt => telemetry::LogFormat::Logfmt,
            LogFormat::Json => telemetry::LogFormat::Json,
        },
        otel_endpoint: log.otel_endpoint.clone(),
        otel_protocol: match log.otel_protocol {
            OtelProtocol::Http => telemetry::OtelProtocol::Http,
            OtelProtocol::Grpc => telemetry::OtelProtocol::Grpc,
        },
        otel_headers: Vec::new(),
        sample_ratio: 1.0,
        metrics_interval: Duration::from_secs(15),
        service_name: service.to_owned(),
        service_version: VERSION.to_owned(),
        service_instance: String::new(),
    };
    let telemetry =
        telemetry::init(&config, &registry, &runtime.telemetry).map_err(|e| Failure::Usage(vec![e.to_string()]))?;
    let shutdown = Shutdown::new();
    shutdown.on_signals(impatient).map_err(Failure::failed)?;
    Ok(Process { registry, runtime, shutdown, _telemetry: telemetry })
}

/// How long a process whose parent is gone may take to end in good order. Its Kafka may
/// have been in the parent, and librdkafka waits for it.
const ORPHANED: Duration = Duration::from_secs(5);

/// Triggers `shutdown` when the standard input ends, as it does with the process at its
/// other end, however that ended.
#[allow(clippy::exit, reason = "the binary decides how a process ends")]
pub(crate) fn end_with_stdin(shutdown: &Shutdown) {
    let shutdown = shutdown.clone();
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        shutdown.trigger();
        std::thread::sleep(ORPHANED);
        std::process::exit(1);
    });
}

/// A second signal ends the process at once; its partitions' successors wait out the
/// lease, as after a crash.
#[allow(clippy::exit, reason = "the binary decides how a process ends")]
fn impatient() {
    std::process::exit(130);
}

/// Ends a process whose consumer thread has stalled: what supervises it starts a new one.
#[allow(clippy::exit, reason = "the binary decides how a process ends")]
pub(crate) fn stalled() -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(|| std::process::exit(70))
}
