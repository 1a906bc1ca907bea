//! JSON for people's scripts (`/api/v1`) and for other bridges (`/internal/v1`).
use std::collections::BTreeMap;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::merge::Conflict;
use k2p_core::ownership::State;
use k2p_runtime::http::{BoxBody, Query, json};
use serde::{Deserialize, Serialize};

use super::list::{self, OriginInfo, seconds};
use super::paging::{Slice, given, one_of};
use super::{BuildInfo, Exposer, TopicInfo, manage, respond};

/// Origins in one answer of `/api/v1/origins`, unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 100_000;
/// A list may be asked for from any place.
const MAX_OFFSET: usize = i32::MAX as usize;

/// What this bridge is and how it stands. `status` and `data` are the Pushgateway's.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Status<'a> {
    /// Always `success`.
    status: &'static str,
    /// As a Pushgateway says it.
    data: Data<'a>,
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

#[derive(Serialize, schemars::JsonSchema)]
struct Data<'a> {
    build_information: &'a BuildInfo,
    /// The flags that were given, and their defaults; never a secret.
    flags: BTreeMap<&'static str, String>,
    /// RFC 3339.
    start_time: String,
}

/// What is known of the consumer group.
#[derive(Serialize, schemars::JsonSchema)]
struct Group {
    /// Every partition's marker was read.
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
    let flags = BTreeMap::from([
        ("web.advertise-address", exposer.config.advertise_address.clone()),
        ("web.enable-admin-api", exposer.config.admin_api.to_string()),
        ("web.external-address", exposer.config.external_address.clone().unwrap_or_default()),
    ]);
    let start_time = k2p_logs::rfc3339(state.started.saturating_mul(1_000_000));
    let status = Status {
        status: "success",
        data: Data { build_information: &state.build, flags, start_time },
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
            peers: group.peers().iter().map(ToString::to_string).collect(),
        },
        topics: &exposer.config.topics,
        conflicts: conflicts.first(),
    };
    json(StatusCode::OK, &status)
}

/// Origins of this bridge, by key.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Origins {
    /// All that match.
    total: usize,
    offset: usize,
    limit: usize,
    origins: Vec<OriginInfo>,
}

/// `GET /api/v1/origins?search=&topic=&up=&offset=&limit=`: those of this bridge.
pub(super) fn origins(exposer: &Exposer, query: &Query) -> Response<BoxBody> {
    let (slice, wanted) = match (slice(query), wanted_origins(query)) {
        (Ok(slice), Ok(wanted)) => (slice, wanted),
        (Err(detail), _) | (_, Err(detail)) => return respond::bad_request(&detail),
    };
    let clocks = exposer.state.clocks;
    let views = exposer.state.live.snapshot(clocks.mono);
    let page = list::origins(&views, wanted, slice, (clocks.wall)());
    let list::Page { total, offset, limit, items: origins } = page;
    json(StatusCode::OK, &Origins { total, offset, limit, origins })
}

fn wanted_origins(query: &Query) -> Result<list::Wanted<'_>, String> {
    Ok(list::Wanted {
        search: query.get("search").unwrap_or_default(),
        topic: given(query, "topic"),
        up: one_of(query, "up", &["true", "false"])?.map(|text| text == "true"),
    })
}

fn slice(query: &Query) -> Result<Slice, String> {
    Slice::of(query, DEFAULT_LIMIT, MAX_OFFSET, MAX_LIMIT)
}

/// Partitions of the group, by topic and number.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Partitions {
    /// Every partition's marker was read: the list is whole.
    complete: bool,
    /// All that match.
    total: usize,
    offset: usize,
    limit: usize,
    partitions: Vec<list::PartitionInfo>,
}

/// `GET /api/v1/partitions?topic=&owner=&state=&offset=&limit=`: the whole group's, with
/// details of this bridge's.
pub(super) fn partitions(exposer: &Exposer, query: &Query) -> Response<BoxBody> {
    let states = State::ALL.map(State::as_str);
    let (slice, state) = match (slice(query), one_of(query, "state", &states)) {
        (Ok(slice), Ok(state)) => (slice, state),
        (Err(detail), _) | (_, Err(detail)) => return respond::bad_request(&detail),
    };
    let (topic, owner) = (given(query, "topic"), given(query, "owner"));
    let complete = exposer.state.live.group().complete;
    let mut all = list::partitions(exposer);
    all.retain(|p| {
        topic.is_none_or(|t| p.topic == t)
            && owner.is_none_or(|o| p.owner.as_deref() == Some(o))
            && state.is_none_or(|s| p.here.as_ref().is_some_and(|here| here.state.as_str() == s))
    });
    let Slice { offset, limit } = slice;
    let total = all.len();
    let partitions = all.into_iter().skip(offset).take(limit).collect();
    json(StatusCode::OK, &Partitions { complete, total, offset, limit, partitions })
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
pub(super) fn internal_origins(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    json(StatusCode::OK, &PeerOrigins::here(exposer, query.get("key")))
}

pub(super) fn not_a_peer() -> Response<BoxBody> {
    respond::forbidden("The peer API is for bridges that carry the shared token (web.peer_token).")
}
