//! JSON for people's scripts (`/api/v1`) and for other bridges (`/internal/v1`).
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::merge::Conflict;
use k2p_runtime::http::{BoxBody, Query, json};
use serde::{Deserialize, Serialize};

use super::list::{self, OriginInfo, seconds};
use super::{BuildInfo, Exposer, TopicInfo, manage, respond};

/// Origins in one answer of `/api/v1/origins`, unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 100_000;

#[derive(Serialize)]
struct Status<'a> {
    build: &'a BuildInfo,
    address: &'a str,
    external_address: Option<&'a str>,
    start_time_seconds: f64,
    uptime_seconds: f64,
    ready: bool,
    /// Why it is not ready.
    unready_because: Option<String>,
    kafka_up: bool,
    joined: bool,
    draining: bool,
    partitions: usize,
    partitions_exposed: usize,
    origins: usize,
    series: u64,
    cache_bytes: u64,
    group: Group,
    topics: &'a [TopicInfo],
    /// What the origins disagree on, as of the last whole scrape.
    conflicts: &'a [Conflict],
}

#[derive(Serialize)]
struct Group {
    complete: bool,
    partitions: usize,
    peers: Vec<String>,
}

/// `GET /api/v1/status`.
pub(super) fn status(exposer: &Exposer) -> Response<BoxBody> {
    let state = &exposer.state;
    let views = state.live.snapshot(state.clocks.mono);
    let group = state.live.group();
    let conflicts = exposer.conflicts.load();
    let unready_because = manage::unreadiness(exposer);
    let origins = views.iter().flat_map(|e| e.view.origins.values());
    let uptime = (state.clocks.wall)().saturating_sub(state.started).max(0);
    let status = Status {
        build: &state.build,
        address: &exposer.config.advertise_address,
        external_address: exposer.config.external_address.as_deref(),
        start_time_seconds: seconds(state.started),
        uptime_seconds: seconds(uptime),
        ready: unready_because.is_none(),
        unready_because,
        kafka_up: (state.hooks.kafka_up)(),
        joined: state.live.joined(),
        draining: state.live.draining(),
        partitions: state.live.all().len(),
        partitions_exposed: views.len(),
        origins: origins.filter(|o| o.dump.is_some()).count(),
        series: views.iter().map(|e| e.view.series).sum(),
        cache_bytes: views.iter().map(|e| e.view.bytes).sum(),
        group: Group {
            complete: group.complete,
            partitions: group.partitions.len(),
            peers: group.peers().iter().map(|p| p.to_string()).collect(),
        },
        topics: &exposer.config.topics,
        conflicts: conflicts.first(),
    };
    json(StatusCode::OK, &status)
}

#[derive(Serialize)]
struct Origins {
    total: usize,
    offset: usize,
    limit: usize,
    origins: Vec<OriginInfo>,
}

/// `GET /api/v1/origins?search=&offset=&limit=`: those of this bridge.
pub(super) fn origins(exposer: &Exposer, query: &Query) -> Response<BoxBody> {
    let (offset, limit) = match (number(query, "offset", 0), number(query, "limit", DEFAULT_LIMIT))
    {
        (Ok(offset), Ok(limit)) => (offset, limit.min(MAX_LIMIT)),
        (Err(name), _) | (_, Err(name)) => {
            return respond::bad_request(&format!("The parameter {name} must be a number."));
        }
    };
    let clocks = exposer.state.clocks;
    let views = exposer.state.live.snapshot(clocks.mono);
    let search = query.get("search").unwrap_or_default();
    let page = list::origins(&views, search, offset, limit, (clocks.wall)());
    let list::Page { total, offset, limit, items: origins } = page;
    json(StatusCode::OK, &Origins { total, offset, limit, origins })
}

fn number(query: &Query, name: &'static str, default: usize) -> Result<usize, &'static str> {
    query.get(name).map_or(Ok(default), |text| text.parse().map_err(|_| name))
}

#[derive(Serialize)]
struct Partitions {
    complete: bool,
    partitions: Vec<list::PartitionInfo>,
}

/// `GET /api/v1/partitions`: the whole group's, with details of this bridge's.
pub(super) fn partitions(exposer: &Exposer) -> Response<BoxBody> {
    let complete = exposer.state.live.group().complete;
    json(StatusCode::OK, &Partitions { complete, partitions: list::partitions(exposer) })
}

/// What a bridge tells another one of what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PeerOrigins {
    /// The partitions that it exposes now: of these, and only these, the list is whole.
    pub(super) exposed: Vec<(String, i32)>,
    pub(super) origins: Vec<OriginInfo>,
}

impl PeerOrigins {
    /// What this bridge holds; with a key, only the origin of that key.
    pub(super) fn here(exposer: &Exposer, key: Option<&str>) -> PeerOrigins {
        let clocks = exposer.state.clocks;
        let views = exposer.state.live.snapshot(clocks.mono);
        let wall = (clocks.wall)();
        let mut origins = Vec::new();
        for e in &views {
            let info = |o| OriginInfo::new(&e.view.topic, e.view.partition, o, wall);
            match key {
                Some(key) => origins.extend(e.view.origins.get(key).map(|o| info(o))),
                None => origins.extend(e.view.origins.values().map(|o| info(o))),
            }
        }
        let place = |e: &crate::live::Exposed| (e.view.topic.to_string(), e.view.partition);
        PeerOrigins { exposed: views.iter().map(place).collect(), origins }
    }
}

/// `GET /internal/v1/origins?key=`.
pub(super) fn internal_origins(
    exposer: &Exposer,
    parts: &Parts,
    query: &Query,
) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    json(StatusCode::OK, &PeerOrigins::here(exposer, query.get("key")))
}

pub(super) fn not_a_peer() -> Response<BoxBody> {
    respond::forbidden("The peer API is for bridges that carry the shared token (web.peer_token).")
}
