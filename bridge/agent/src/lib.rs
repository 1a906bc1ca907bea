//! The in-cluster agent: scrapes targets and picks up dump files, and ships each dump
//! whole to Kafka, one record per dump, by the record contract (design §2).
//!
//! Bridge and agent share that contract and nothing else. A target that does not
//! answer, a file that is half written, a broker that is away: counted, said once in
//! the log, and gone on from.
#![forbid(unsafe_code)]
mod config;
mod cut;
mod file;
mod metrics;
mod pack;
mod produce;
mod scrape;
mod watch;
mod web;

use std::io;
use std::sync::Arc;

use k2p_runtime::http::client::{ClientConfig, ClientError, HttpClient};
use k2p_runtime::http::web::Web;
use k2p_runtime::http::{self, HttpLimits};
use k2p_runtime::kafka::KafkaLog;
use k2p_runtime::metrics::{MetricsError, RuntimeMetrics};
use k2p_runtime::shutdown::Shutdown;
use prometheus::Registry;
use rdkafka::error::KafkaError;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use produce::Shipper;

pub use config::{
    Config, DEFAULT_DUMP_BYTES, DEFAULT_FLUSH, DEFAULT_INTERVAL, DEFAULT_JOB, DEFAULT_POLL, DEFAULT_RECORD_BYTES,
    DEFAULT_TIMEOUT, DEFAULT_TOPIC, FileSource, RawConfig, Target,
};
pub use metrics::{AGENT_METRICS, AgentMetrics, DropReason};

/// Why an agent cannot start. Afterwards it does not fail, it counts.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The own listener cannot be opened.
    #[error("cannot listen on {address}: {source}; choose another --web.listen-address")]
    Listen {
        /// As configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// librdkafka refuses the settings.
    #[error("the Kafka client does not start: {0}; check the properties")]
    Kafka(#[from] KafkaError),
    /// The web configuration file cannot be used; one fault a line.
    #[error("{0}")]
    Web(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client does not start: {0}")]
    Client(#[from] ClientError),
    /// The registry holds an agent's metrics already.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Runs an agent until the shutdown: then scraping stops at once, and what is queued
/// has [`Config::flush_timeout`] to reach Kafka. Needs a tokio runtime with time and I/O.
///
/// `registry` receives the agent's metrics and is what its `/metrics` shows; `runtime`
/// are the plumbing's metrics, registered by whoever started the process.
///
/// # Errors
/// Only at the start: see [`AgentError`].
pub async fn run(
    config: Config,
    shutdown: Shutdown,
    registry: &Registry,
    runtime: &RuntimeMetrics,
) -> Result<(), AgentError> {
    let metrics = AgentMetrics::new(registry)?;
    let log = KafkaLog::new("agent", runtime);
    let client = HttpClient::new(&ClientConfig::default())?;
    let shipper = Arc::new(Shipper::new(&config, metrics.clone(), log)?);
    let mut tasks = JoinSet::new();
    if let Some(address) = &config.listen_address {
        let open = |path| Web::open(path, &runtime.http).map_err(|faults| AgentError::Web(faults.join("\n")));
        let guard = config.web_config.as_deref().map(open).transpose()?;
        let listener = listen(address, guard.as_deref()).await?;
        let service = web::service(registry.clone());
        let limits = HttpLimits::default();
        tasks.spawn(http::serve_web(listener, service, limits, guard, shutdown.clone(), runtime.http.clone()));
    }
    for target in config.targets {
        let (client, shipper, metrics) = (client.clone(), Arc::clone(&shipper), metrics.clone());
        let dump_bytes = config.dump_bytes;
        let scraper = scrape::Scraper { target, client, shipper, metrics, dump_bytes };
        tasks.spawn(scraper.run(shutdown.clone()));
    }
    for source in config.files {
        let (shipper, metrics) = (Arc::clone(&shipper), metrics.clone());
        let dump_bytes = config.dump_bytes;
        let watcher = watch::Watcher { source, shipper, metrics, dump_bytes };
        tasks.spawn(watcher.run(shutdown.clone()));
    }
    shutdown.triggered().await;
    while tasks.join_next().await.is_some() {}
    let end = tokio::task::spawn_blocking(move || shipper.finish(config.flush_timeout));
    if end.await.is_err() {
        tracing::error!("the Kafka client did not end in order");
    }
    Ok(())
}

async fn listen(address: &str, guard: Option<&Web>) -> Result<TcpListener, AgentError> {
    let failed = |source| AgentError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    http::warn_if_open(local, guard);
    tracing::info!(listen = %local, "ready");
    Ok(listener)
}
