//! Runs and pipelines as JSON: `/api/v1/runs`, `/api/v1/runs/{id}`, `/api/v1/pipelines`.
//!
//! Any bridge answers for all: it asks the owners of the partitions of events. What it
//! cannot know all of, it does not answer (503): a run that is not listed is none.
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_pipelines::runs::{FinishedRun, PipelineSummary};
use k2p_runtime::http::{BoxBody, Query, json};
use serde::Serialize;

use super::api::not_a_peer;
use super::gather::{EVENTS, Incomplete, Told, Whom, blocking, gather};
use super::history::{Found, Here, newest_first};
use super::paging::{Slice, given};
use super::runlogs::{self, RunLogs};
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
        let text = |name: &str| given(query, name).map(str::to_owned);
        let number = |name: &str| match text(name) {
            None => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(Some(n)),
                _ => Err(format!("The parameter {name} must be Unix seconds.")),
            },
        };
        let Slice { offset, limit } = Slice::of(query, DEFAULT_LIMIT, MAX_OFFSET, MAX_LIMIT)?;
        let status = text("status").map(|s| s.to_ascii_uppercase());
        Ok(Filter {
            pipeline: text("pipeline"),
            status,
            owner: text("owner"),
            since: number("since")?,
            until: number("until")?,
            offset,
            limit,
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

    pub(super) fn holds(&self, run: &FinishedRun) -> bool {
        let status = serde_json::to_value(run.status).ok();
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
        is(&self.pipeline, Some(&run.pipeline_id))
            && is(&self.status, status.as_ref().and_then(|s| s.as_str()))
            && is(&self.owner, run.owner.as_deref())
            && self.since.is_none_or(|at| run.last_seen_seconds >= at)
            && self.until.is_none_or(|at| run.first_seen_seconds <= at)
    }
}

/// A page of runs.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RunsPage {
    /// How many match …
    pub(super) total: usize,
    /// … at least: the log store was read only as far as this page needs it.
    pub(super) at_least: bool,
    pub(super) offset: usize,
    pub(super) limit: usize,
    pub(super) has_more: bool,
    /// Where runs come from that are no longer in the replayed state.
    pub(super) history: History,
    pub(super) runs: Vec<FinishedRun>,
}

/// Which finished runs are found beside those of the replayed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum History {
    /// All of the retention: the bridges share a log store.
    Shared,
    /// Those that closed while the bridge that shows their partition held it.
    Own,
    /// None: there is no log store.
    None,
}

impl History {
    pub(super) fn of(exposer: &Exposer) -> History {
        match &exposer.state.logs {
            Some(logs) if logs.shared => History::Shared,
            Some(_) => History::Own,
            None => History::None,
        }
    }
}

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
    let here = found_here(exposer, filter, filter.offset + filter.limit).await;
    let path = format!("/internal/v1/runs?{}", filter.whole_page());
    let all: Vec<Found> =
        gather(exposer, parts, &path, here, EVENTS, Whom::Owners).await?.into_iter().map(|(_, found)| found).collect();
    let (total, at_least) = (all.iter().map(|f| f.total).sum(), all.iter().any(|f| f.at_least));
    let runs = newest_first(all.into_iter().flat_map(|f| f.runs).collect());
    let runs: Vec<FinishedRun> = runs.into_iter().skip(filter.offset).take(filter.limit).collect();
    let has_more = filter.offset + runs.len() < total;
    let history = History::of(exposer);
    Ok(RunsPage { total, at_least, offset: filter.offset, limit: filter.limit, has_more, history, runs })
}

async fn found_here(exposer: &Exposer, filter: &Filter, limit: usize) -> Told<Found> {
    let (here, filter) = (Here::of(exposer), filter.clone());
    Told { exposed: here.exposed(), told: blocking(move || here.found(&filter, limit)).await }
}

/// A run with a page of its log events.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RunWithLogs {
    #[serde(flatten)]
    pub(super) run: FinishedRun,
    pub(super) logs: RunLogs,
}

/// What is told of one run id.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RunsOfId {
    pub(super) history: History,
    /// Of different pipelines.
    pub(super) runs: Vec<RunWithLogs>,
}

/// `GET /api/v1/runs/{id}?pipeline=&logs_limit=&logs_level=&logs_cursor=`: pipelines may use
/// the same id, so it is a list.
pub(super) async fn run(exposer: &Exposer, parts: &Parts, query: &Query, id: &str) -> Response<BoxBody> {
    match find_run(exposer, parts, query, id).await {
        Ok(found) => json(StatusCode::OK, &found),
        Err(response) => *response,
    }
}

/// Every run of that id, with its log events; an answer for the client where there is none.
pub(super) async fn find_run(
    exposer: &Exposer,
    parts: &Parts,
    query: &Query,
    id: &str,
) -> Result<RunsOfId, Box<Response<BoxBody>>> {
    let wanted = runlogs::Wanted::of(query).map_err(|detail| Box::new(respond::bad_request(&detail)))?;
    let pipeline = query.get("pipeline");
    let pipeline_query = pipeline.map(|p| format!("&pipeline={}", segment(p))).unwrap_or_default();
    let path = format!("/internal/v1/run?id={}{pipeline_query}", segment(id));
    let here = run_here(exposer, pipeline, id).await;
    let all =
        gather(exposer, parts, &path, here, EVENTS, Whom::Owners).await.map_err(|why| Box::new(incomplete(&why)))?;
    let found = newest_first(all.into_iter().flat_map(|(_, runs)| runs).collect());
    if found.is_empty() {
        let detail = "No pipeline has a run of that id, or it was forgotten.";
        return Err(Box::new(respond::missing("run", detail)));
    }
    if found.len() > 1 && wanted.cursor.is_some() {
        let detail = "Several pipelines have a run of that id: name one (pipeline) to page through its log events.";
        return Err(Box::new(respond::bad_request(detail)));
    }
    let mut runs = Vec::with_capacity(found.len());
    for run in found {
        let logs = runlogs::of_run(exposer, parts, &run, &wanted)
            .await
            .map_err(|detail| Box::new(respond::bad_request(&detail)))?;
        runs.push(RunWithLogs { run, logs });
    }
    Ok(RunsOfId { history: History::of(exposer), runs })
}

async fn run_here(exposer: &Exposer, pipeline: Option<&str>, id: &str) -> Told<Vec<FinishedRun>> {
    let (here, pipeline, id) = (Here::of(exposer), pipeline.map(str::to_owned), id.to_owned());
    Told { exposed: here.exposed(), told: blocking(move || here.run(pipeline.as_deref(), &id)).await }
}

/// The pipelines of the group.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Pipelines {
    /// By name.
    pipelines: Vec<PipelineSummary>,
}

/// `GET /api/v1/pipelines`.
pub(super) async fn pipelines(exposer: &Exposer, parts: &Parts) -> Response<BoxBody> {
    match find_pipelines(exposer, parts).await {
        Ok(pipelines) => json(StatusCode::OK, &Pipelines { pipelines }),
        Err(why) => incomplete(&why),
    }
}

/// Every pipeline of the group, by name.
pub(super) async fn find_pipelines(exposer: &Exposer, parts: &Parts) -> Result<Vec<PipelineSummary>, Incomplete> {
    let all = gather(exposer, parts, "/internal/v1/pipelines", pipelines_here(exposer), EVENTS, Whom::Owners).await?;
    let mut pipelines: Vec<PipelineSummary> = all.into_iter().flat_map(|(_, pipelines)| pipelines).collect();
    pipelines.sort_by(|a, b| a.pipeline_id.cmp(&b.pipeline_id));
    Ok(pipelines)
}

fn pipelines_here(exposer: &Exposer) -> Told<Vec<PipelineSummary>> {
    let here = Here::of(exposer);
    Told { exposed: here.exposed(), told: Ok(here.pipelines((exposer.state.clocks.wall)())) }
}

/// `GET /internal/v1/runs`, `/internal/v1/run`, `/internal/v1/pipelines`: what this bridge
/// exposes.
pub(super) async fn internal(exposer: &Exposer, parts: &Parts, query: &Query, what: Internal) -> Response<BoxBody> {
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
            json(StatusCode::OK, &found_here(exposer, &filter, limit.min(MAX_OFFSET + MAX_LIMIT)).await)
        }
        Internal::Run => {
            let told = run_here(exposer, query.get("pipeline"), query.get("id").unwrap_or_default()).await;
            json(StatusCode::OK, &told)
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

pub(super) fn incomplete(why: &str) -> Response<BoxBody> {
    respond::unavailable("Not all runs are known", &format!("An answer would not be whole: {why}."))
}
