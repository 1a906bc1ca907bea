//! One running bridge: consuming and exposing put together, started and ended in order.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use k2p_core::cache::UNLIMITED;
use k2p_core::ownership::Identity;
use k2p_logs::mask::Maskers;
use k2p_logs::objects::Objects;
use k2p_logs::{LogMetrics, LogReader, LogStore, ReadConfig, StoreConfig};
use k2p_pipelines::runs::RunLimits;
use k2p_pipelines::state::EventConfig;
use k2p_pipelines::template::TemplateSet;
use k2p_push::state::PushConfig;
use k2p_runtime::clock::{mono_ms, unix_ms};
use k2p_runtime::http::client::{ClientConfig, ClientError, HttpClient};
use k2p_runtime::http::web::Web as WebGuard;
use k2p_runtime::http::{BoxFuture, HttpLimits, service};
use k2p_runtime::kafka::KafkaLog;
use k2p_runtime::metrics::{MetricsError, RuntimeMetrics};
use k2p_runtime::shutdown::Shutdown;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::append::Appender;
use crate::config::{Config, LogPlace, Scheme, Web};
use crate::consume::{self, ConsumeError, LogSink, Switches, TopicKind};
use crate::expose::{
    BuildInfo, Eraser, EventSink, ExposeConfig, Exposer, Hook, Hooks, JobLogs, PushLimit, PushSink, State, TopicInfo,
};
use crate::live::LivePartitions;
use crate::metrics::{Clocks, ServerMetrics};
use crate::templates;

/// How long `/-/drain` waits for the group to take everything over.
const DRAIN: Duration = Duration::from_secs(10);
/// At the end: how long for everything to be released.
const LEAVE: Duration = Duration::from_secs(5);
/// Closing the client waits for its commits, and those for a coordinator that may be
/// away for good.
const CLOSE: Duration = Duration::from_secs(10);
/// How soon it is seen that consuming ended by itself.
const FAILED: Duration = Duration::from_millis(200);
/// How often a drain looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// Why a bridge cannot start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Kafka.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// The listener.
    #[error("the web listener failed: {0}")]
    Listener(#[from] io::Error),
    /// A metric is registered twice: a mistake of the program.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The log store cannot be used.
    #[error("{0}")]
    Logs(String),
    /// Masking rules that cannot be used.
    #[error("{0}")]
    Masking(String),
    /// Templates that are none; one fault a line.
    #[error("{0}")]
    Templates(String),
    /// A producer cannot be made of its settings.
    #[error("the Kafka producer cannot be created: {0}; check `kafka.properties`")]
    Producer(#[source] rdkafka::error::KafkaError),
    /// The client for other bridges.
    #[error("the client for other bridges cannot be made: {0}")]
    Client(#[from] ClientError),
}

/// What the process gives to a bridge.
pub struct Setup {
    /// Already bound: the address is known before anything is advertised.
    pub listener: TcpListener,
    /// Takes the bridge's own metrics; exposed by it.
    pub registry: Registry,
    /// The process' own metrics, registered on `registry`.
    pub runtime: RuntimeMetrics,
    /// TLS and passwords of the listener; `None`: neither.
    pub web: Option<Arc<WebGuard>>,
    /// Version and revision.
    pub build: BuildInfo,
    /// Reads the configuration again (`/-/reload`); `None`: there is no file.
    pub reload: Option<Reload>,
    /// Called when the consumer thread has stalled for good: ends the process.
    pub on_stall: Arc<dyn Fn() + Send + Sync>,
}

/// Reads and validates the configuration; the error is for people.
pub type Reload = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Runs a bridge until `shutdown`: then everything is handed over while scrapes are
/// still answered; those under way end, then the threads that follow the group.
///
/// # Errors
/// When it cannot start, or when consuming ended by itself.
pub async fn run(config: Config, setup: Setup, shutdown: Shutdown) -> Result<(), BridgeError> {
    let live = Arc::new(LivePartitions::default());
    let metrics = ServerMetrics::new(&setup.registry, live.clone(), Clocks { mono: mono_ms, wall: unix_ms })?;
    let listen = setup.listener.local_addr()?;
    let advertise = advertised(&config.web, listen.port(), &listen.ip().to_string());
    let log = KafkaLog::new("bridge", &setup.runtime);
    // Two switches: a drain leaves the group, and the process goes on.
    let switches = Switches { leave: Shutdown::new(), end: Shutdown::new() };
    let maskers = Arc::new(ArcSwap::from_pointee(maskers_of(&config).map_err(BridgeError::Masking)?));
    let logs = log_store(&config, &setup.registry, &maskers)?;
    let healthy = Arc::new(AtomicBool::new(true));
    let set = templates::load(config.pipelines.templates.as_deref()).map_err(BridgeError::Templates)?;
    let templates = Arc::new(ArcSwap::from_pointee(set));
    let consuming = consume::start(
        &consume::Config {
            kafka: config.kafka.clone(),
            topics: config.topics.clone(),
            ownership: config.ownership.clone(),
            rewind: config.rewind,
            identity: Identity { incarnation: incarnation(), peer: advertise.as_str().into() },
            deadletter: config.deadletter.clone(),
            replay: replay(&config, templates.clone(), logs.as_ref().map(|l| l.sink.clone())),
            state_topic: Some(config.pipelines.state.clone()),
        },
        &live,
        &metrics,
        &log,
        &switches,
        {
            let (healthy, on_stall) = (healthy.clone(), setup.on_stall.clone());
            move || {
                healthy.store(false, Ordering::SeqCst);
                on_stall();
            }
        },
    )?;
    if let Some(logs) = &logs {
        keep_house(logs.sink.store.clone(), switches.end.clone());
    }
    let events = event_sink(&config, &log)?;
    let eraser = eraser(&config, &log)?;
    let pushes = push_sink(&config, &log)?;
    let reload = reload_hook(setup.reload, setup.web.clone(), live.clone(), templates, maskers.clone());
    let hangups = tokio::spawn(reload_on_hangup(reload.clone()));
    let state = Arc::new(State {
        live: live.clone(),
        registry: setup.registry.clone(),
        metrics,
        clocks: Clocks { mono: mono_ms, wall: unix_ms },
        started: unix_ms(),
        build: setup.build,
        client: HttpClient::new(&ClientConfig {
            authentication: config.web.peer_http.clone(),
            ..ClientConfig::default()
        })?,
        hooks: Hooks {
            reload,
            drain: drain_hook(live.clone(), switches.leave.clone()),
            healthy: Arc::new(move || healthy.load(Ordering::SeqCst)),
            kafka_up: Arc::new(move || log.is_up()),
        },
        events,
        eraser,
        pushes,
        maskers,
        logs: logs.as_ref().map(|l| l.reader.clone()),
    });
    let mut exposed = expose_config(&config, advertise.clone(), setup.web.as_ref().is_some_and(|web| web.is_tls()));
    let refused = setup.runtime.http.requests_refused.with_label_values(&["client_rate"]);
    exposed.push_limit = config.web.push_rate.map(|rate| PushLimit { rate, refused });
    let exposer = Exposer::new(exposed, state);
    let answer = service(move |request| exposer.clone().handle(request));
    let web_end = Shutdown::new();
    let web = tokio::spawn(k2p_runtime::http::serve_web(
        setup.listener,
        answer,
        HttpLimits {
            connections: config.web.connections,
            connections_per_client: config.web.connections_per_client,
            ..HttpLimits::default()
        },
        setup.web,
        web_end.clone(),
        setup.runtime.http.clone(),
    ));
    tracing::info!(listen = %listen, advertise, group = config.kafka.group(), "ready");

    while !shutdown.is_triggered() && !consuming.is_finished() {
        tokio::select! {
            () = shutdown.triggered() => {}
            () = tokio::time::sleep(FAILED) => {}
        }
    }
    hangups.abort();
    hand_over(&live, &switches.leave, LEAVE).await;
    // The web side ends before the threads that follow the group: a scrape that waits here
    // for a partition must learn who has it now, and none may be taken on that never will.
    web_end.trigger();
    if web.await.is_err() {
        tracing::error!("the web side panicked");
    }
    switches.end.trigger();
    let joined = tokio::time::timeout(CLOSE, tokio::task::spawn_blocking(move || consuming.join())).await;
    match joined {
        Ok(ended) => ended.unwrap_or_else(|e| Err(ConsumeError::Fatal(e.to_string())))?,
        Err(_) => tracing::warn!("the Kafka client does not close, as when Kafka is away: ending without it"),
    }
    Ok(())
}

/// Leaves the group, and waits for it to take everything over; whether it has in that time.
async fn hand_over(live: &LivePartitions, leave: &Shutdown, patience: Duration) -> bool {
    live.set_draining();
    leave.trigger();
    let begun = tokio::time::Instant::now();
    while !live.all().is_empty() {
        if begun.elapsed() >= patience {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

fn expose_config(config: &Config, advertise: String, tls: bool) -> ExposeConfig {
    let spoken = if tls { Scheme::Https } else { Scheme::Http };
    // Prometheus' own default is http: nothing is said where nothing else is meant.
    let external_scheme = config.web.external_scheme.or(tls.then_some(Scheme::Https));
    ExposeConfig {
        peer_scheme: config.web.peer_scheme.unwrap_or(spoken).as_str(),
        external_scheme: external_scheme.map(Scheme::as_str),
        advertise_address: advertise,
        external_address: config.web.external.clone(),
        route: config.web.route,
        peers: config.web.peers.clone(),
        peer_token: config.web.peer_token.as_ref().map(|token| token.expose().to_owned()),
        admin_api: config.web.admin_api,
        max_scrapes: config.web.max_scrapes,
        topics: config.topics.iter().map(topic_info).collect(),
        ..ExposeConfig::default()
    }
}

/// What replayed topics need.
fn replay(config: &Config, templates: Arc<ArcSwap<TemplateSet>>, logs: Option<LogSink>) -> consume::ReplayConfig {
    let (pipelines, default) = (&config.pipelines, EventConfig::default());
    let runs = &pipelines.runs;
    let of = |topic: &consume::Topic| {
        Arc::new(EventConfig {
            topic: topic.name.clone(),
            labels: topic.cache.fixed.clone(),
            max_subjects: runs.subjects,
            runs: RunLimits {
                lost_after_ms: i64::try_from(runs.lost_after.as_millis()).unwrap_or(i64::MAX),
                ..default.runs.clone()
            },
            ..default.clone()
        })
    };
    let pushes =
        |topic: &consume::Topic| Arc::new(PushConfig { topic: topic.name.clone(), labels: topic.cache.fixed.clone() });
    consume::ReplayConfig {
        state: pipelines.state.clone(),
        pace: pipelines.pace,
        templates,
        events: config.topics.iter().filter(|t| t.kind == TopicKind::Events).map(of).collect(),
        push: config.topics.iter().filter(|t| t.kind == TopicKind::Push).map(pushes).collect(),
        logs,
    }
}

/// The log store, opened.
struct Logs {
    sink: LogSink,
    reader: JobLogs,
}

fn log_store(
    config: &Config,
    registry: &Registry,
    maskers: &Arc<ArcSwap<Maskers>>,
) -> Result<Option<Logs>, BridgeError> {
    let Some(wanted) = &config.pipelines.logs else { return Ok(None) };
    let metrics = LogMetrics::new(registry)?;
    let store = StoreConfig {
        retention: i64::try_from(wanted.retention.as_nanos()).unwrap_or(i64::MAX),
        max_bytes: wanted.max_bytes,
        job_bytes: wanted.job_bytes,
        reports_bytes: wanted.reports_bytes,
        ..StoreConfig::default()
    };
    let retention = store.retention;
    let (store, reader) = match &wanted.place {
        LogPlace::Dir(dir) => {
            let reader = LogReader::open(dir, ReadConfig::default(), metrics.clone());
            (LogStore::open(dir, store, metrics.clone()), reader)
        }
        LogPlace::Objects { url, options, timing } => {
            let objects = Objects::open(url, &options.0, tokio::runtime::Handle::current());
            let objects = objects.map_err(|e| BridgeError::Logs(e.to_string()))?;
            let reader = LogReader::open_objects(objects.clone(), ReadConfig::default(), metrics.clone());
            (LogStore::open_objects(objects, store, *timing, metrics.clone()), reader)
        }
    };
    let store = store.map_err(|e| BridgeError::Logs(e.to_string()))?;
    let sink = LogSink { store: Arc::new(store), maskers: maskers.clone(), metrics };
    Ok(Some(Logs { sink, reader: JobLogs { reader, shared: wanted.shared, retention } }))
}

/// Age, size and compression of the store, now and then.
fn keep_house(store: Arc<LogStore>, end: Shutdown) {
    tokio::task::spawn_blocking(move || {
        while !end.wait_timeout(store.upkeep()) {
            if let Err(error) = store.maintain(unix_ms().saturating_mul(1_000_000)) {
                tracing::warn!(%error, "the log store is not kept in bounds");
            }
        }
    });
}

/// A producer of its own: many posts must not fill the queue of the judgements.
fn event_sink(config: &Config, log: &Arc<KafkaLog>) -> Result<Option<EventSink>, BridgeError> {
    let topics: Vec<Arc<str>> =
        config.topics.iter().filter(|t| t.kind == TopicKind::Events).map(|t| t.name.clone()).collect();
    if topics.is_empty() {
        return Ok(None);
    }
    let appender = Appender::new(&config.kafka, log).map_err(BridgeError::Producer)?;
    Ok(Some(EventSink { appender, topics, limits: EventConfig::default().limits }))
}

fn eraser(config: &Config, log: &Arc<KafkaLog>) -> Result<Option<Eraser>, BridgeError> {
    if !config.web.admin_api {
        return Ok(None);
    }
    Ok(Some(Eraser(Appender::new(&config.kafka, log).map_err(BridgeError::Producer)?)))
}

fn push_sink(config: &Config, log: &Arc<KafkaLog>) -> Result<Option<PushSink>, BridgeError> {
    let topics: Vec<Arc<str>> =
        config.topics.iter().filter(|t| t.kind == TopicKind::Push).map(|t| t.name.clone()).collect();
    if topics.is_empty() {
        return Ok(None);
    }
    let appender = Appender::within(&config.kafka, log, PushSink::DELIVERY).map_err(BridgeError::Producer)?;
    Ok(Some(PushSink { appender, topics, ttl: config.push_ttl.clone() }))
}

fn topic_info(topic: &consume::Topic) -> TopicInfo {
    let limits = &topic.cache.limits;
    let all = [
        ("dump_bytes", limits.dump_bytes),
        ("series_per_origin", limits.series_per_origin),
        ("origins", limits.origins),
        ("origin_bytes", limits.origin_bytes),
        ("cache_bytes", limits.cache_bytes),
        ("label_name_bytes", limits.label_name_bytes),
        ("label_value_bytes", limits.label_value_bytes),
    ];
    TopicInfo {
        name: topic.name.to_string(),
        kind: topic.kind.as_str(),
        // A counter made of events stays until its log is gone, a group by its own ttl.
        staleness: match topic.kind {
            TopicKind::Metrics => topic.cache.staleness.to_string(),
            TopicKind::Events | TopicKind::Push => "never".to_owned(),
        },
        limits: all
            .iter()
            .filter(|(_, value)| *value != UNLIMITED)
            .map(|(name, value)| ((*name).to_owned(), *value as u64))
            .collect(),
    }
}

/// The advertised address: as configured, else the bound one, else this host's name
/// where every address is listened on.
fn advertised(web: &Web, port: u16, ip: &str) -> String {
    if let Some(address) = &web.advertise {
        return address.clone();
    }
    let host = match ip {
        "0.0.0.0" | "::" => k2p_runtime::clock::host_name(),
        ip if ip.contains(':') => format!("[{ip}]"),
        ip => ip.to_owned(),
    };
    format!("{host}:{port}")
}

/// Another number at each start, and another one on each machine.
fn incarnation() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((unix_ms(), mono_ms(), std::process::id()))
}

fn drain_hook(live: Arc<LivePartitions>, leave: Shutdown) -> Hook {
    Arc::new(move || -> BoxFuture<Result<(), String>> {
        let (live, leave) = (live.clone(), leave.clone());
        Box::pin(async move {
            match hand_over(&live, &leave, DRAIN).await {
                true => Ok(()),
                false => Err("partitions are still held: Kafka does not answer; ask again".to_owned()),
            }
        })
    })
}

fn maskers_of(config: &Config) -> Result<Maskers, String> {
    let masking = &config.masking;
    Maskers::new(&masking.default, &masking.topics, masking.key.as_ref()).map_err(|e| e.to_string())
}

/// SIGHUP does what `POST /-/reload` does; what is wrong with the file is logged.
async fn reload_on_hangup(reload: Hook) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be listened for; /-/reload works");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        match reload().await {
            Ok(()) => tracing::info!("reloaded"),
            Err(error) => tracing::error!(error, "not reloaded: everything stays as it was"),
        }
    }
}

/// Takes over what a reload changes, all of it or, where something is wrong, nothing.
fn reload_hook(
    reload: Option<Reload>,
    web: Option<Arc<WebGuard>>,
    live: Arc<LivePartitions>,
    templates: Arc<ArcSwap<TemplateSet>>,
    maskers: Arc<ArcSwap<Maskers>>,
) -> Hook {
    Arc::new(move || -> BoxFuture<Result<(), String>> {
        let (reload, web, live) = (reload.clone(), web.clone(), live.clone());
        let (templates, maskers) = (templates.clone(), maskers.clone());
        Box::pin(async move {
            let again = web.is_some();
            if let Some(web) = web {
                tokio::task::spawn_blocking(move || web.reload()).await.map_err(|e| e.to_string())??;
            }
            let Some(reload) = reload else {
                let nothing = || "this bridge runs without a configuration file: nothing to reload".to_owned();
                return again.then_some(()).ok_or_else(nothing);
            };
            let read = move || {
                let config = reload()?;
                let set = templates::load(config.pipelines.templates.as_deref())?;
                let masking = maskers_of(&config)?;
                Ok::<_, String>((config, set, masking))
            };
            let (config, set, masking) = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())??;
            templates.store(Arc::new(set));
            maskers.store(Arc::new(masking));
            for topic in &config.topics {
                live.add_topic(topic.name.clone(), topic.policy);
            }
            Ok(())
        })
    })
}
