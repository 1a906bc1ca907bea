//! Runs and pipelines as JSON: `/api/v1/runs`, `/api/v1/runs/{id}`, `/api/v1/pipelines`.
//!
//! Any bridge answers for all: it asks the owners of the partitions of events. What it
//! cannot know all of, it does not answer (503): a run that is not listed is none.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::model::UnixMs;
use k2p_logs::mask::MaskCounts;
use k2p_pipelines::runs::{FinishedRun, PipelineSummary, RunsView};
use k2p_runtime::http::{BoxBody, Query, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::api::not_a_peer;
use super::sd::segment;
use super::{Exposer, respond};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// How far a page may begin: each owner sends everything before it.
const MAX_OFFSET: usize = 100_000;

/// Which runs are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filter {
    pub(super) pipeline: Option<String>,
    pub(super) status: Option<String>,
    pub(super) owner: Option<String>,
    /// Unix seconds: last seen not before …
    pub(super) since: Option<f64>,
    /// … and first seen not after.
    pub(super) until: Option<f64>,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Filter {
    /// Reads the query; the error is for the client.
    pub(super) fn of(query: &Query) -> Result<Filter, String> {
        let text = |name: &str| query.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
        let number = |name: &str| match text(name) {
            None => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(Some(n)),
                _ => Err(format!("The parameter {name} must be Unix seconds.")),
            },
        };
        let count = |name: &str, default: usize, max: usize| match text(name) {
            None => Ok(default),
            Some(text) => match text.parse::<usize>() {
                Ok(n) if n <= max => Ok(n),
                _ => Err(format!("The parameter {name} must be a number of at most {max}.")),
            },
        };
        let status = text("status").map(|s| s.to_ascii_uppercase());
        Ok(Filter {
            pipeline: text("pipeline"),
            status,
            owner: text("owner"),
            since: number("since")?,
            until: number("until")?,
            offset: count("offset", 0, MAX_OFFSET)?,
            limit: count("limit", DEFAULT_LIMIT, MAX_LIMIT)?,
        })
    }

    /// The same as a query, for a peer: everything up to the end of the page.
    fn whole_page(&self) -> String {
        let mut out = format!("offset=0&limit={}", self.offset + self.limit);
        let texts = [("pipeline", &self.pipeline), ("status", &self.status), ("owner", &self.owner)];
        for (name, value) in texts {
            out.extend(value.as_ref().map(|v| format!("&{name}={}", segment(v))));
        }
        for (name, value) in [("since", self.since), ("until", self.until)] {
            out.extend(value.map(|v| format!("&{name}={v}")));
        }
        out
    }

    fn holds(&self, run: &FinishedRun) -> bool {
        let status = serde_json::to_value(run.status).ok();
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
        is(&self.pipeline, Some(&run.pipeline_id))
            && is(&self.status, status.as_ref().and_then(|s| s.as_str()))
            && is(&self.owner, run.owner.as_deref())
            && self.since.is_none_or(|at| run.last_seen_seconds >= at)
            && self.until.is_none_or(|at| run.first_seen_seconds <= at)
    }
}

/// What a bridge tells another of the partitions that it exposes: of these, and only
/// these, it is whole.
#[derive(Debug, Serialize, Deserialize)]
struct Told<T> {
    exposed: Vec<(String, i32)>,
    told: T,
}

/// Some of a longer list, the newest first.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    total: usize,
    runs: Vec<FinishedRun>,
}

/// A page of runs.
#[derive(Debug, Serialize)]
pub(super) struct RunsPage {
    pub(super) total: usize,
    pub(super) offset: usize,
    pub(super) limit: usize,
    pub(super) has_more: bool,
    pub(super) runs: Vec<FinishedRun>,
}

/// Why no answer is whole, for the client.
pub(super) type Incomplete = String;

/// `GET /api/v1/runs?pipeline=&status=&owner=&since=&until=&offset=&limit=`.
pub(super) async fn runs(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    let filter = match Filter::of(query) {
        Ok(filter) => filter,
        Err(detail) => return respond::bad_request(&detail),
    };
    match find(exposer, parts, &filter).await {
        Ok(page) => json(StatusCode::OK, &page),
        Err(why) => incomplete(&why),
    }
}

/// The runs of the whole group, the last seen first.
pub(super) async fn find(exposer: &Exposer, parts: &Parts, filter: &Filter) -> Result<RunsPage, Incomplete> {
    let here = found_here(exposer, filter, filter.offset + filter.limit);
    let path = format!("/internal/v1/runs?{}", filter.whole_page());
    let all = gather(exposer, parts, &path, here).await?;
    let total = all.iter().map(|f| f.total).sum();
    let runs = newest_first(all.into_iter().flat_map(|f| f.runs).collect());
    let runs: Vec<FinishedRun> = runs.into_iter().skip(filter.offset).take(filter.limit).collect();
    let has_more = filter.offset + runs.len() < total;
    Ok(RunsPage { total, offset: filter.offset, limit: filter.limit, has_more, runs })
}

fn found_here(exposer: &Exposer, filter: &Filter, limit: usize) -> Told<Found> {
    let mut runs = Vec::new();
    let mut total = 0;
    let exposed = each_view(exposer, |topic, view| {
        let found = newest_first(view.runs(filter.pipeline.as_deref()).filter(|run| filter.holds(run)).collect());
        total += found.len();
        runs.extend(found.iter().take(limit).filter_map(|run| masked(exposer, topic, run)));
    });
    let mut runs = newest_first(runs);
    runs.truncate(limit);
    Told { exposed, told: Found { total, runs } }
}

/// Ties by name, so that pages do not overlap.
fn newest_first(mut runs: Vec<FinishedRun>) -> Vec<FinishedRun> {
    runs.sort_by(|a, b| {
        let names = |r: &FinishedRun| (r.pipeline_id.clone(), r.run_id.clone());
        b.last_seen_seconds.total_cmp(&a.last_seen_seconds).then_with(|| names(a).cmp(&names(b)))
    });
    runs
}

/// `GET /api/v1/runs/{id}?pipeline=`: pipelines may use the same id, so it is a list.
pub(super) async fn run(exposer: &Exposer, parts: &Parts, query: &Query, id: &str) -> Response<BoxBody> {
    match find_run(exposer, parts, query.get("pipeline"), id).await {
        Ok(runs) if runs.is_empty() => {
            respond::missing("run", "No pipeline has a run of that id, or it was forgotten.")
        }
        Ok(runs) => json(StatusCode::OK, &BTreeMap::from([("runs", runs)])),
        Err(why) => incomplete(&why),
    }
}

/// Every run of that id.
pub(super) async fn find_run(
    exposer: &Exposer,
    parts: &Parts,
    pipeline: Option<&str>,
    id: &str,
) -> Result<Vec<FinishedRun>, Incomplete> {
    let pipeline_query = pipeline.map(|p| format!("&pipeline={}", segment(p))).unwrap_or_default();
    let path = format!("/internal/v1/run?id={}{pipeline_query}", segment(id));
    let all = gather(exposer, parts, &path, run_here(exposer, pipeline, id)).await?;
    Ok(newest_first(all.into_iter().flatten().collect()))
}

fn run_here(exposer: &Exposer, pipeline: Option<&str>, id: &str) -> Told<Vec<FinishedRun>> {
    let mut runs = Vec::new();
    let exposed = each_view(exposer, |topic, view| {
        runs.extend(view.run(pipeline, id).iter().filter_map(|run| masked(exposer, topic, run)));
    });
    Told { exposed, told: runs }
}

/// `GET /api/v1/pipelines`.
pub(super) async fn pipelines(exposer: &Exposer, parts: &Parts) -> Response<BoxBody> {
    match find_pipelines(exposer, parts).await {
        Ok(pipelines) => json(StatusCode::OK, &BTreeMap::from([("pipelines", pipelines)])),
        Err(why) => incomplete(&why),
    }
}

/// Every pipeline of the group, by name.
pub(super) async fn find_pipelines(exposer: &Exposer, parts: &Parts) -> Result<Vec<PipelineSummary>, Incomplete> {
    let all = gather(exposer, parts, "/internal/v1/pipelines", pipelines_here(exposer)).await?;
    let mut pipelines: Vec<PipelineSummary> = all.into_iter().flatten().collect();
    pipelines.sort_by(|a, b| a.pipeline_id.cmp(&b.pipeline_id));
    Ok(pipelines)
}

fn pipelines_here(exposer: &Exposer) -> Told<Vec<PipelineSummary>> {
    let now: UnixMs = (exposer.state.clocks.wall)();
    let mut pipelines = Vec::new();
    let exposed = each_view(exposer, |topic, view| {
        pipelines.extend(view.pipelines(now).iter().filter_map(|pipeline| masked(exposer, topic, pipeline)));
    });
    Told { exposed, told: pipelines }
}

/// `GET /internal/v1/runs`, `/internal/v1/run`, `/internal/v1/pipelines`: what this bridge
/// exposes.
pub(super) fn internal(exposer: &Exposer, parts: &Parts, query: &Query, what: Internal) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    match what {
        Internal::Runs => {
            let limit = query.get("limit").and_then(|n| n.parse().ok()).unwrap_or(MAX_LIMIT);
            let filter = Filter {
                pipeline: query.get("pipeline").map(str::to_owned),
                status: query.get("status").map(str::to_owned),
                owner: query.get("owner").map(str::to_owned),
                since: query.get("since").and_then(|n| n.parse().ok()),
                until: query.get("until").and_then(|n| n.parse().ok()),
                offset: 0,
                limit,
            };
            json(StatusCode::OK, &found_here(exposer, &filter, limit.min(MAX_OFFSET + MAX_LIMIT)))
        }
        Internal::Run => {
            json(StatusCode::OK, &run_here(exposer, query.get("pipeline"), query.get("id").unwrap_or_default()))
        }
        Internal::Pipelines => json(StatusCode::OK, &pipelines_here(exposer)),
    }
}

/// What peers ask each other here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Internal {
    /// Some runs.
    Runs,
    /// One.
    Run,
    /// The pipelines.
    Pipelines,
}

/// Hands over the runs of each partition exposed here; which these are.
fn each_view(exposer: &Exposer, mut take: impl FnMut(&str, &RunsView)) -> Vec<(String, i32)> {
    let mut exposed = Vec::new();
    for e in exposer.state.live.snapshot(exposer.state.clocks.mono) {
        if let Some(runs) = e.partition.replay.runs() {
            take(&e.partition.topic, &runs);
            exposed.push((e.partition.topic.to_string(), e.partition.partition));
        }
    }
    exposed
}

/// This bridge's part and every owner's. An error says what is missing.
async fn gather<T: DeserializeOwned>(
    exposer: &Exposer,
    parts: &Parts,
    path: &str,
    here: Told<T>,
) -> Result<Vec<T>, Incomplete> {
    let own = exposer.config.advertise_address.as_str();
    let group = exposer.state.live.group();
    let events: BTreeSet<&str> =
        exposer.config.topics.iter().filter(|t| t.is_replayed()).map(|t| t.name.as_str()).collect();
    let wanted: Vec<(&str, i32)> =
        group.partitions.keys().map(|(t, p)| (&**t, *p)).filter(|(t, _)| events.contains(t)).collect();
    if !events.is_empty() && !group.complete {
        return Err("the group's map is incomplete".to_owned());
    }
    let missing = |seen: &BTreeSet<(String, i32)>| {
        wanted.iter().find(|(t, p)| !seen.contains(&((*t).to_owned(), *p))).map(|(t, p)| format!("{t}/{p}"))
    };
    let mut seen: BTreeSet<(String, i32)> = here.exposed.into_iter().collect();
    let mut all = vec![here.told];
    if missing(&seen).is_some() {
        let patience: Duration = exposer.deadline(parts).left();
        let peers = group.peers();
        let asked = peers.iter().filter(|p| &***p != own).map(|peer| async move {
            exposer.peers.ask::<Told<T>>(peer, path, patience).await.map_err(|e| e.to_string())
        });
        for answer in join_all(asked).await {
            let Told { exposed, told } = answer?;
            seen.extend(exposed);
            all.push(told);
        }
    }
    match missing(&seen) {
        Some(place) => Err(format!("{place} is exposed by no bridge at the moment")),
        None => Ok(all),
    }
}

pub(super) fn incomplete(why: &str) -> Response<BoxBody> {
    respond::unavailable("Not all runs are known", &format!("An answer would not be whole: {why}."))
}

/// What people wrote into it, masked: value by value, as JSON. What cannot be masked is not
/// shown.
fn masked<T: Serialize + DeserializeOwned>(exposer: &Exposer, topic: &str, shown: &T) -> Option<T> {
    let text = serde_json::to_vec(shown).ok()?;
    let masked = exposer.state.maskers.of(topic).line(&text, &mut MaskCounts::default());
    serde_json::from_slice(&masked).ok()
}
