//! Pushed groups: `/api/v1/groups`, and `/api/v1/metrics` as a Pushgateway has it.
//!
//! Any bridge answers for all: it asks the owners of the partitions of pushes. What it cannot
//! know all of, it does not answer (503).
mod pushgateway;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::ACCEPT;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_push::group::{Group, GroupsView};
use k2p_runtime::http::{BoxBody, Query, json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::api::not_a_peer;
use super::gather::{Incomplete, Told, Whom, gather};
use super::list::seconds;
use super::paging::{Slice, given, one_of};
use super::sd::segment;
use super::{Exposer, respond, scrape};

/// The kind of topics whose groups are gathered.
const PUSH: &str = "push";
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// How far a page may begin: each owner sends everything before it.
const MAX_OFFSET: usize = 100_000;

/// Which groups are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// In the grouping key, case ignored.
    pub(super) search: String,
    /// Of this job.
    pub(super) job: Option<String>,
    /// Whose last push failed, or did not.
    pub(super) failed: Option<bool>,
    pub(super) slice: Slice,
}

impl Filter {
    /// Reads the query; the error is for the client.
    pub(super) fn of(query: &Query) -> Result<Filter, String> {
        Ok(Filter {
            search: query.get("search").unwrap_or_default().to_owned(),
            job: given(query, "job").map(str::to_owned),
            failed: one_of(query, "failed", &["true", "false"])?.map(|text| text == "true"),
            slice: Slice::of(query, DEFAULT_LIMIT, MAX_OFFSET, MAX_LIMIT)?,
        })
    }

    /// The filter as a query, without the place.
    pub(super) fn query(&self) -> String {
        let mut out = format!("search={}", segment(&self.search));
        out.extend(self.job.as_ref().map(|job| format!("&job={}", segment(job))));
        out.extend(self.failed.map(|failed| format!("&failed={failed}")));
        out
    }

    fn holds(&self, group: &Group) -> bool {
        let search = self.search.to_lowercase();
        self.job.as_deref().is_none_or(|job| group.key().job() == job)
            && self.failed.is_none_or(|failed| group.last_push_succeeded() != failed)
            && (search.is_empty() || group.key().canonical().to_lowercase().contains(&search))
    }
}

/// A pushed group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct GroupInfo {
    /// Its grouping key in canonical form.
    pub(super) key: String,
    /// Where its pushes go.
    pub(super) path: String,
    /// The labels of the grouping key.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Of its last push that succeeded, Unix seconds.
    pub(super) push_time_seconds: Option<f64>,
    /// Of its last push that was refused.
    pub(super) push_failure_time_seconds: Option<f64>,
    pub(super) last_push_successful: bool,
    /// Why that push was refused.
    pub(super) failure: Option<String>,
    /// So long after its last push it goes.
    pub(super) ttl_seconds: Option<f64>,
    /// When that is, Unix seconds.
    pub(super) expires_seconds: Option<f64>,
    pub(super) series: u64,
    /// Estimated memory.
    pub(super) bytes: u64,
    pub(super) families: Vec<FamilyInfo>,
}

/// A family of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct FamilyInfo {
    pub(super) name: String,
    /// As in the text format.
    pub(super) r#type: String,
    pub(super) help: Option<String>,
    pub(super) series: u64,
    /// Of the push that it came with, Unix seconds.
    pub(super) push_time_seconds: f64,
}

impl GroupInfo {
    fn new(view: &GroupsView, group: &Group) -> GroupInfo {
        let family = |f: &k2p_push::PushedFamily| FamilyInfo {
            name: f.name().to_owned(),
            r#type: f.kind().as_str().to_owned(),
            help: f.help().map(str::to_owned),
            series: f.series() as u64,
            push_time_seconds: seconds(f.pushed()),
        };
        let key = group.key();
        GroupInfo {
            key: key.canonical().to_owned(),
            path: key.path(),
            labels: key.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            topic: view.topic.to_string(),
            partition: view.partition,
            push_time_seconds: group.pushed().map(seconds),
            push_failure_time_seconds: group.failed().map(seconds),
            last_push_successful: group.last_push_succeeded(),
            failure: group.failure().map(str::to_owned),
            ttl_seconds: group.ttl().map(seconds),
            expires_seconds: group.expires().map(seconds),
            series: group.series() as u64,
            bytes: group.bytes() as u64,
            families: group.families().map(family).collect(),
        }
    }
}

/// Groups, by key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Groups {
    /// All that match.
    pub(super) total: usize,
    pub(super) offset: usize,
    pub(super) limit: usize,
    pub(super) has_more: bool,
    pub(super) groups: Vec<GroupInfo>,
}

/// One group and what it holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct GroupText {
    #[serde(flatten)]
    pub(super) group: GroupInfo,
    /// Everything that it holds, in the text format.
    pub(super) text: String,
}

/// The Pushgateway's answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Metrics {
    /// Always `success`.
    status: &'static str,
    /// A group each: its labels, whether its last push succeeded, its families by name.
    data: Vec<Map<String, Value>>,
}

/// What peers ask each other here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Internal {
    /// Some groups.
    Groups,
    /// One.
    Group,
    /// All, as the Pushgateway says them.
    Metrics,
}

/// `GET /api/v1/groups?search=&job=&failed=&offset=&limit=`.
pub(super) async fn groups(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    let filter = match Filter::of(query) {
        Ok(filter) => filter,
        Err(detail) => return respond::bad_request(&detail),
    };
    match find(exposer, parts, &filter).await {
        Ok(groups) => json(StatusCode::OK, &groups),
        Err(why) => incomplete(&why),
    }
}

/// `GET /api/v1/groups/{key}`.
pub(super) async fn group(exposer: &Exposer, parts: &Parts, key: &str) -> Response<BoxBody> {
    match find_group(exposer, parts, key).await {
        Ok(found) => json(StatusCode::OK, &found),
        Err(response) => *response,
    }
}

/// `GET /api/v1/metrics`: JSON, or the exposition where text is preferred.
pub(super) async fn metrics(exposer: &Arc<Exposer>, parts: &Parts, query: &Query) -> Response<BoxBody> {
    if wants_text(parts) {
        return scrape::all(exposer, parts, query).await;
    }
    let here = told(exposer, metrics_here(exposer));
    match gather(exposer, parts, "/internal/v1/groups/metrics", here, PUSH, Whom::Owners).await {
        Ok(all) => {
            let data = all.into_iter().flat_map(|(_, groups)| groups).collect();
            json(StatusCode::OK, &Metrics { status: "success", data })
        }
        Err(why) => incomplete(&why),
    }
}

/// The first type that is named decides: programs that want JSON say nothing, or `*/*`.
fn wants_text(parts: &Parts) -> bool {
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = accept.split([',', ';']).next().unwrap_or_default().trim();
    first == "text/plain" || first == "application/openmetrics-text"
}

/// The groups of all bridges, by key.
pub(super) async fn find(exposer: &Exposer, parts: &Parts, filter: &Filter) -> Result<Groups, Incomplete> {
    let Slice { offset, limit } = filter.slice;
    let path = format!("/internal/v1/groups?{}&whole={}", filter.query(), offset + limit);
    let here = told(exposer, groups_here(exposer, filter, offset + limit));
    let all = gather(exposer, parts, &path, here, PUSH, Whom::Owners).await?;
    let total = all.iter().map(|(_, (total, _))| total).sum();
    let mut groups: Vec<GroupInfo> = all.into_iter().flat_map(|(_, (_, groups))| groups).collect();
    groups.sort_by(|a, b| (&a.key, &a.topic).cmp(&(&b.key, &b.topic)));
    let groups: Vec<GroupInfo> = groups.into_iter().skip(offset).take(limit).collect();
    Ok(Groups { total, offset, limit, has_more: offset + groups.len() < total, groups })
}

/// A group by its canonical key; an answer for the client where there is none.
pub(super) async fn find_group(
    exposer: &Exposer,
    parts: &Parts,
    key: &str,
) -> Result<GroupText, Box<Response<BoxBody>>> {
    let path = format!("/internal/v1/group?key={}", segment(key));
    let here = told(exposer, group_here(exposer, key));
    let all =
        gather(exposer, parts, &path, here, PUSH, Whom::Owners).await.map_err(|why| Box::new(incomplete(&why)))?;
    let found = all.into_iter().find_map(|(_, group)| group);
    let unknown = || {
        let detail = "No group has that key: it was never pushed, or it was deleted. /api/v1/groups lists them.";
        Box::new(respond::missing("group", detail))
    };
    found.ok_or_else(unknown)
}

/// `GET /internal/v1/groups`, `/internal/v1/group`, `/internal/v1/groups/metrics`.
pub(super) fn internal(exposer: &Exposer, parts: &Parts, query: &Query, what: Internal) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    match what {
        Internal::Groups => {
            let filter = Filter::of(query).unwrap_or_default();
            let whole = query.get("whole").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_LIMIT);
            let found = groups_here(exposer, &filter, whole.min(MAX_OFFSET + MAX_LIMIT));
            json(StatusCode::OK, &told(exposer, found))
        }
        Internal::Group => {
            json(StatusCode::OK, &told(exposer, group_here(exposer, query.get("key").unwrap_or_default())))
        }
        Internal::Metrics => json(StatusCode::OK, &told(exposer, metrics_here(exposer))),
    }
}

/// The views of the partitions of pushes that are exposed here.
fn views(exposer: &Exposer) -> Vec<Arc<GroupsView>> {
    let exposed = exposer.state.live.snapshot(exposer.state.clocks.mono);
    exposed.iter().filter_map(|e| e.partition.replay.groups()).collect()
}

fn told<T>(exposer: &Exposer, here: T) -> Told<T> {
    let exposed = views(exposer).iter().map(|view| (view.topic.to_string(), view.partition)).collect();
    Told { exposed, told: Ok(here) }
}

/// How many match, and the first of them by key.
fn groups_here(exposer: &Exposer, filter: &Filter, limit: usize) -> (usize, Vec<GroupInfo>) {
    let views = views(exposer);
    let mut found: Vec<(&GroupsView, &Group)> = Vec::new();
    for view in &views {
        found.extend(view.groups.values().filter(|group| filter.holds(group)).map(|group| (&**view, &**group)));
    }
    found.sort_by(|a, b| a.1.key().canonical().cmp(b.1.key().canonical()));
    let groups = found.iter().take(limit).map(|(view, group)| GroupInfo::new(view, group)).collect();
    (found.len(), groups)
}

fn group_here(exposer: &Exposer, key: &str) -> Option<GroupText> {
    views(exposer).iter().find_map(|view| {
        let group = view.groups.get(key)?;
        Some(GroupText { group: GroupInfo::new(view, group), text: group.text() })
    })
}

fn metrics_here(exposer: &Exposer) -> Vec<Map<String, Value>> {
    views(exposer)
        .iter()
        .flat_map(|view| view.groups.values().map(|g| pushgateway::group(g)).collect::<Vec<_>>())
        .collect()
}

pub(super) fn incomplete(why: &str) -> Response<BoxBody> {
    respond::unavailable("Not all groups are known", &format!("An answer would not be whole: {why}."))
}
