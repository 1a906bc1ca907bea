//! The HTTP side of the bridge: scrapes, service discovery, the peer API, JSON and
//! the status page.
//!
//! It reads views and never reaches into consuming: all that it shares with it is
//! [`crate::live`]. A request arrives in [`Exposer::handle`], is routed by a pure
//! function, and what it may see is taken in one step (design §1.6).
mod admin;
mod api;
mod deadline;
mod events;
mod explain;
mod forward;
mod gather;
mod groups;
mod history;
mod joblog;
mod jobs;
mod list;
mod manage;
mod openapi;
mod origin;
mod own;
mod page;
mod paging;
mod partition;
mod peers;
mod push;
mod render;
mod respond;
mod route;
mod runlogs;
mod runs;
mod scrape;
mod sd;
mod shown;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use k2p_core::merge::Conflicts;
use k2p_core::model::UnixMs;
use k2p_logs::mask::Maskers;
use k2p_runtime::http::client::HttpClient;
use k2p_runtime::http::ratelimit::{PerClient, Rate};
use k2p_runtime::http::{BoxBody, BoxError, BoxFuture, Peer, Query, problem, security_headers};
use prometheus::{IntCounter, Registry};
use tokio::sync::Semaphore;

use crate::live::LivePartitions;
use crate::metrics::{Clocks, ServerMetrics};
pub use admin::Eraser;
use deadline::Deadline;
pub use events::EventSink;
pub use jobs::JobLogs;
use peers::Peers;
pub use push::PushSink;
use route::{Route, RouteError};

/// Requests with events that are read and produced at the same time: each holds a body.
const MAX_POSTS: usize = 16;

/// The methods of the Pushgateway's clients.
const PUSHES: [Method; 3] = [Method::PUT, Method::POST, Method::DELETE];

/// How a request for a partition that is elsewhere reaches it (`web.route`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteMode {
    /// This bridge asks the owner and passes its answer on.
    #[default]
    Proxy,
    /// The client is sent to the owner with 307.
    Redirect,
}

/// What `explain` and the status page say of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct TopicInfo {
    /// The topic.
    pub name: String,
    /// `metrics`, `events` or `push`.
    pub kind: &'static str,
    /// After which silence an origin is removed, as configured (`auto`, `90s`).
    pub staleness: String,
    /// The limits in force, by name: what `limits` of the configuration holds.
    pub limits: Vec<(String, u64)>,
}

impl TopicInfo {
    /// Whether its partitions are replayed: their origins are no dumps.
    pub fn is_replayed(&self) -> bool {
        self.kind != "metrics"
    }
}

/// The configuration of the HTTP side.
#[derive(Debug, Clone)]
pub struct ExposeConfig {
    /// The address that this bridge writes into its markers (`web.advertise_address`).
    pub advertise_address: String,
    /// The service in front of all bridges (`web.external_address`); service discovery
    /// needs it.
    pub external_address: Option<String>,
    /// See [`RouteMode`].
    pub route: RouteMode,
    /// Which advertised addresses may be asked (`web.peers`): patterns with `*`, on
    /// `host:port` or on the host alone.
    pub peers: Vec<String>,
    /// The token that bridges share; without one the peer API is open.
    pub peer_token: Option<String>,
    /// How the bridges speak to each other: `http` or `https`.
    pub peer_scheme: &'static str,
    /// The scheme that service discovery names; `None`: none.
    pub external_scheme: Option<&'static str>,
    /// What one client may push.
    pub push_limit: Option<PushLimit>,
    /// `--web.enable-admin-api`.
    pub admin_api: bool,
    /// Scrapes that are rendered at the same time.
    pub max_rendering: usize,
    /// Scrapes that are rendered, wait for their turn, or wait for a partition; more
    /// get 503.
    pub max_scrapes: usize,
    /// The time a scrape has if it does not say (`X-Prometheus-Scrape-Timeout-Seconds`).
    pub default_timeout: Duration,
    /// What is left of a scrape's time for the answer's way back.
    pub margin: Duration,
    /// How long an answer may be read by its client before it is broken off.
    pub send_timeout: Duration,
    /// The topics, for `explain` and the status page.
    pub topics: Vec<TopicInfo>,
}

impl Default for ExposeConfig {
    fn default() -> ExposeConfig {
        ExposeConfig {
            advertise_address: String::new(),
            external_address: None,
            route: RouteMode::Proxy,
            peers: vec!["*".to_owned()],
            peer_token: None,
            peer_scheme: "http",
            external_scheme: None,
            push_limit: None,
            admin_api: false,
            max_rendering: 16,
            max_scrapes: 256,
            default_timeout: Duration::from_secs(10),
            margin: Duration::from_millis(500),
            send_timeout: Duration::from_secs(120),
            topics: Vec::new(),
        }
    }
}

/// What one client may push, and where it is counted what was more.
#[derive(Debug, Clone)]
pub struct PushLimit {
    /// For each client address.
    pub rate: Rate,
    /// Pushes answered 429.
    pub refused: IntCounter,
}

/// Something that the founder of the process does when asked; an error's text is for
/// the client.
pub type Hook = Arc<dyn Fn() -> BoxFuture<Result<(), String>> + Send + Sync>;

/// A question to another part of the process.
pub type Probe = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the HTTP side may ask or tell the rest of the process.
#[derive(Clone)]
pub struct Hooks {
    /// Reads the configuration again; resolves when that is done.
    pub reload: Hook,
    /// Hands every partition over; resolves when nothing is owned any more.
    pub drain: Hook,
    /// Whether the process is sound (the consumer thread ticks).
    pub healthy: Probe,
    /// Whether a broker answered lately.
    pub kafka_up: Probe,
}

/// What this program is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct BuildInfo {
    /// Its version.
    pub version: String,
    /// The commit that it was built from.
    pub revision: String,
}

/// Everything that requests read.
pub struct State {
    /// The live partitions and the group's map.
    pub live: Arc<LivePartitions>,
    /// The registry with all of the process' metrics.
    pub registry: Registry,
    /// The server's own among them.
    pub metrics: ServerMetrics,
    /// Where the time comes from.
    pub clocks: Clocks,
    /// When the process started.
    pub started: UnixMs,
    /// What it is.
    pub build: BuildInfo,
    /// For requests to other bridges.
    pub client: HttpClient,
    /// See [`Hooks`].
    pub hooks: Hooks,
    /// What is masked before it is shown.
    pub maskers: Arc<ArcSwap<Maskers>>,
    /// The logs of jobs; `None`: no store is configured.
    pub logs: Option<JobLogs>,
    /// Where posted events go; `None`: no topic of events is consumed.
    pub events: Option<EventSink>,
    /// Removes origins; `None`: the admin API is off.
    pub eraser: Option<Eraser>,
    /// Where pushes go; `None`: no topic of pushes is consumed.
    pub pushes: Option<PushSink>,
}

/// Answers requests. Cheap to share: everything in it is.
pub struct Exposer {
    config: ExposeConfig,
    state: Arc<State>,
    peers: Peers,
    scrapes: Arc<Semaphore>,
    rendering: Arc<Semaphore>,
    /// Posts whose body is held.
    posts: Semaphore,
    /// Pushes whose body is held.
    pushes: Semaphore,
    /// What each client may still push.
    push_rates: Option<PerClient>,
    /// What the origins disagreed on, as of the last whole scrape.
    conflicts: ArcSwap<Conflicts>,
}

impl Exposer {
    /// Makes the service; `state.metrics` gets the series of its routes.
    pub fn new(config: ExposeConfig, state: Arc<State>) -> Arc<Exposer> {
        let metrics = &state.metrics;
        metrics.scrapes_capacity.set(i64::try_from(config.max_scrapes).unwrap_or(i64::MAX));
        for route in Route::SCRAPES {
            metrics.scrape_seconds.with_label_values(&[route]);
            metrics.scrapes_aborted.with_label_values(&[route]);
            metrics.scrapes.with_label_values(&[route, "200"]);
        }
        for result in push::RESULTS {
            metrics.pushes.with_label_values(&[result]);
        }
        for result in peers::RESULTS {
            metrics.peer_requests.with_label_values(&[result]);
        }
        let peers = Peers {
            client: state.client.clone(),
            allowed: config.peers.clone(),
            token: config.peer_token.clone(),
            scheme: config.peer_scheme,
            requests: metrics.peer_requests.clone(),
        };
        Arc::new(Exposer {
            scrapes: Arc::new(Semaphore::new(config.max_scrapes)),
            rendering: Arc::new(Semaphore::new(config.max_rendering)),
            posts: Semaphore::new(MAX_POSTS),
            pushes: Semaphore::new(push::AT_ONCE),
            push_rates: config.push_limit.as_ref().map(|limit| PerClient::new(limit.rate, tokio::time::Instant::now())),
            conflicts: ArcSwap::default(),
            peers,
            config,
            state,
        })
    }

    /// Answers one request; its body is read only where events are posted or groups pushed.
    pub async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Response<BoxBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let head = parts.method == Method::HEAD;
        let mut response = if changes(&parts) && from_another_site(&parts) {
            respond::forbidden("A page of another site may change nothing here.")
        } else if let Some(refusal) = self.too_fast(&parts) {
            refusal
        } else {
            self.routed(&parts, body).await
        };
        security_headers(response.headers_mut());
        if head {
            *response.body_mut() = k2p_runtime::http::empty();
        }
        response
    }

    async fn routed<B>(self: &Arc<Self>, parts: &Parts, body: B) -> Response<BoxBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        match Route::find(parts.uri.path()) {
            Ok(Route::PostEvents) if parts.method == Method::POST => events::answer(self, parts, body).await,
            Ok(Route::DeleteGroup(key)) if parts.method == Method::POST => {
                page::groups::delete(self, parts, &key, body).await
            }
            Ok(Route::Push(path)) if PUSHES.contains(&parts.method) => push::answer(self, parts, &path, body).await,
            _ => self.answer(parts).await,
        }
    }

    /// The refusal of a push whose client has used up its rate (`web.push_rate`).
    fn too_fast(&self, parts: &Parts) -> Option<Response<BoxBody>> {
        let pushes = self.push_rates.as_ref().filter(|_| is_push(parts))?;
        let Peer(client) = parts.extensions.get::<Peer>()?;
        let wait = pushes.take(client.ip(), tokio::time::Instant::now()).err()?;
        if let Some(limit) = &self.config.push_limit {
            limit.refused.inc();
        }
        let detail = "This client pushes more often than web.push_rate allows. Send it again, later.";
        Some(problem(StatusCode::TOO_MANY_REQUESTS, "Too many pushes", detail, Some(wait)))
    }

    async fn answer(self: &Arc<Self>, parts: &Parts) -> Response<BoxBody> {
        let route = match Route::find(parts.uri.path()) {
            Ok(route) => route,
            Err(RouteError::NotFound) => return respond::not_found(),
            Err(RouteError::Malformed(detail)) => return respond::bad_request(&detail),
        };
        if !route.allows(parts.method.as_str()) {
            return not_allowed(&route);
        }
        let Some(name) = route.scrape() else {
            return self.dispatch(route, parts).await;
        };
        let response = self.dispatch(route, parts).await;
        let code = response.status();
        self.state.metrics.scrapes.with_label_values(&[name, code.as_str()]).inc();
        response
    }

    async fn dispatch(self: &Arc<Self>, route: Route, parts: &Parts) -> Response<BoxBody> {
        let query = match Query::parse(parts.uri.query().unwrap_or_default()) {
            Ok(query) => query,
            Err(error) => return respond::bad_request(&error.to_string()),
        };
        match route {
            Route::Metrics => scrape::all(self, parts, &query).await,
            Route::MetricsSelf => scrape::own(self, parts).await,
            Route::Origin(key) => origin::answer(self, parts, &key).await,
            Route::Partition(topic, n) => partition::answer(self, parts, &topic, n).await,
            Route::Sd => sd::answer(self, parts, &query).await,
            Route::InternalOrigins => api::internal_origins(self, parts, &query),
            Route::InternalExplain => explain::internal(self, parts, &query),
            Route::Status => api::status(self),
            Route::Origins => api::origins(self, &query),
            Route::Partitions => api::partitions(self, &query),
            Route::Explain => explain::answer(self, parts, &query).await,
            Route::ForgetOrigin(key) => admin::forget(self, parts, &key).await,
            Route::AdminPolicy => admin::policy(self, parts, &query),
            Route::Groups => groups::groups(self, parts, &query).await,
            Route::Group(key) => groups::group(self, parts, &key).await,
            Route::GroupMetrics => groups::metrics(self, parts, &query).await,
            Route::InternalGroups(what) => groups::internal(self, parts, &query, what),
            Route::GroupsPage => page::groups::groups(self, parts, &query).await,
            Route::GroupPage(key) => page::groups::group(self, parts, &key).await,
            Route::DeleteGroup(_) => not_allowed(&route),
            Route::OpenApi => openapi::answer(&self.state.build),
            Route::Healthy => manage::healthy(self),
            Route::Ready => manage::ready(self),
            Route::Reload => manage::reload(self, parts).await,
            Route::Drain => manage::drain(self, parts).await,
            Route::Runs => runs::runs(self, parts, &query).await,
            Route::Run(id) => runs::run(self, parts, &query, &id).await,
            Route::Pipelines => runs::pipelines(self, parts).await,
            Route::InternalRuns(what) => runs::internal(self, parts, &query, what).await,
            Route::RunsPage => page::runs::runs(self, parts, &query).await,
            Route::RunPage(id) => page::runs::run(self, parts, &query, &id).await,
            Route::PipelinesPage => page::runs::pipelines(self, parts).await,
            Route::Jobs(job) => jobs::answer(self, parts, &query, job).await,
            Route::InternalJobs(what) => jobs::internal(self, parts, &query, what).await,
            // Those with a body never come here.
            Route::PostEvents | Route::Push(_) => not_allowed(&route),
            Route::InternalShown => shown::internal(self, parts, &query).await,
            Route::AdminWipe => push::wipe(self, parts).await,
            Route::Page => page::answer(self, &query),
            Route::Style => page::style(),
            Route::Script => page::script(),
        }
    }

    /// Until when a request has to be answered.
    fn deadline(&self, parts: &Parts) -> Deadline {
        Deadline::of(&parts.headers, self.config.default_timeout, self.config.margin)
    }
}

fn changes(parts: &Parts) -> bool {
    !matches!(parts.method.as_str(), "GET" | "HEAD" | "OPTIONS")
}

/// A form on a foreign page can POST here in the name of whoever reads it. Browsers
/// say where a request comes from; other clients say nothing and pass.
fn from_another_site(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !matches!(site, None | Some(b"same-origin" | b"none"))
}

/// What makes a record for Kafka: a push of metrics, or events.
fn is_push(parts: &Parts) -> bool {
    let path = parts.uri.path();
    match parts.method.as_str() {
        "POST" => path.starts_with("/metrics/job") || path == "/api/v1/events",
        "PUT" | "DELETE" => path.starts_with("/metrics/job"),
        _ => false,
    }
}

fn not_allowed(route: &Route) -> Response<BoxBody> {
    let detail = format!("This path answers {}.", route.allow());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = problem(status, "Method not allowed", &detail, None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.allow()));
    response
}
