//! The status page: server-rendered, readable without JavaScript, refreshed by a
//! little of it. Everything that comes from outside goes through [`html::esc`].
mod format;
pub(super) mod groups;
mod html;
pub(super) mod runs;
mod sections;

use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use k2p_core::merge::Conflicts;
use k2p_runtime::http::{BoxBody, Query, text};

use super::list::{self, OriginInfo, Page, PartitionInfo};
use super::paging::Slice;
use super::{Exposer, manage};
use crate::live::{LivePartitions, Refusal};
use std::sync::Arc;

/// Origins on one page.
const ORIGINS_PER_PAGE: usize = 200;
/// Recent rejections shown.
const REFUSALS_SHOWN: usize = 30;

/// What the page shows, taken at one moment.
struct Status<'a> {
    address: &'a str,
    uptime_ms: i64,
    unready: Option<String>,
    kafka_up: bool,
    group_complete: bool,
    partitions: Vec<PartitionInfo>,
    origins: Page<OriginInfo>,
    search: &'a str,
    series: u64,
    cache_bytes: u64,
    /// With the place that they come from.
    refusals: Vec<(String, Arc<Refusal>)>,
    /// As of the last whole scrape.
    conflicts: Arc<Conflicts>,
    wall: i64,
}

/// `GET /?search=&page=`.
pub(super) fn answer(exposer: &Exposer, query: &Query) -> Response<BoxBody> {
    let state = &exposer.state;
    let views = state.live.snapshot(state.clocks.mono);
    let wall = (state.clocks.wall)();
    let search = query.get("search").unwrap_or_default();
    // A page number that is none, or 0, is the first page: a person typed it.
    let page = query.get("page").and_then(|p| p.parse::<usize>().ok()).unwrap_or(1).max(1);
    let slice = Slice { offset: (page - 1).saturating_mul(ORIGINS_PER_PAGE), limit: ORIGINS_PER_PAGE };
    let status = Status {
        address: &exposer.config.advertise_address,
        uptime_ms: wall.saturating_sub(state.started).max(0),
        unready: manage::unreadiness(exposer),
        kafka_up: (state.hooks.kafka_up)(),
        group_complete: state.live.group().complete,
        partitions: list::partitions(exposer),
        origins: list::origins(&views, list::Wanted { search, ..Default::default() }, slice, wall),
        search,
        series: views.iter().map(|e| e.view.series).sum(),
        cache_bytes: views.iter().map(|e| e.view.bytes).sum(),
        refusals: recent(&state.live),
        conflicts: exposer.conflicts.load_full(),
        wall,
    };
    shown(sections::document(exposer, &exposer.config.advertise_address, &sections::render(&status)))
}

/// Now, Unix seconds.
fn wall(exposer: &Exposer) -> f64 {
    list::seconds((exposer.state.clocks.wall)())
}

/// A page as it is sent.
fn shown(html: String) -> Response<BoxBody> {
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", html);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The last refusals over all partitions, the newest first.
fn recent(live: &LivePartitions) -> Vec<(String, Arc<Refusal>)> {
    let mut all = Vec::new();
    for p in live.all() {
        let place = format!("{}/{}", p.topic, p.partition);
        all.extend(p.refusals().iter().map(|r| (place.clone(), r.clone())));
    }
    all.sort_by_key(|(_, r)| std::cmp::Reverse((r.time, r.offset)));
    all.truncate(REFUSALS_SHOWN);
    all
}

/// `GET /static/status.css`.
pub(super) fn style() -> Response<BoxBody> {
    asset("text/css; charset=utf-8", include_str!("status.css"))
}

/// `GET /static/status.js`.
pub(super) fn script() -> Response<BoxBody> {
    asset("text/javascript; charset=utf-8", include_str!("status.js"))
}

fn asset(content_type: &'static str, body: &'static str) -> Response<BoxBody> {
    let mut response = text(StatusCode::OK, content_type, body);
    // Revalidated: an upgraded bridge must not be shown with its predecessor's style.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
