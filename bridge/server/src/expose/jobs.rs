//! The logs of jobs: `/api/v1/jobs`, `/api/v1/jobs/{id}/logs`, `/api/v1/jobs/{id}/metrics`.
//!
//! Any bridge answers for any job: from the store that all write into (`logs.shared`), else
//! from its own and those of all bridges that hold a partition of events. Where one of
//! these does not answer, a partition is nobody's, or the stores together lack offsets that
//! may matter (a bridge that is gone kept them), it says so (503).
use std::io;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_logs::{Jobs, Kept, Level, LogReader, MAX_LIMIT, Page, Points, parse_time};
use k2p_runtime::http::{BoxBody, Query, json, text};
use serde::{Deserialize, Serialize};

use super::api::not_a_peer;
use super::gather::{EVENTS, Incomplete, Told, Whom, blocking, exposed_here, gather, unreadable};
use super::joblog::{Cursors, Part, merge, merge_jobs};
use super::paging::{given, number};
use super::sd::segment;
use super::{Exposer, respond};

/// The log store as the HTTP side reads it.
#[derive(Clone)]
pub struct JobLogs {
    /// The store.
    pub reader: LogReader,
    /// All bridges of the group write into it.
    pub shared: bool,
    /// How long entries are kept, nanoseconds.
    pub retention: i64,
}

const DEFAULT_LIMIT: usize = 1000;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// What is asked of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// `GET /api/v1/jobs?cursor=&limit=`
    All,
    /// `GET /api/v1/jobs/{id}/logs?since=&level=&limit=&cursor=`
    Logs(String),
    /// `GET /api/v1/jobs/{id}/metrics`
    Metrics(String),
}

/// What peers ask each other; the id is a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InternalJobs {
    /// The list.
    All,
    /// A page of a job's log.
    Logs,
    /// A job's metric points.
    Points,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum NoPage {
    /// The request is wrong: how.
    Asked(String),
    /// It would not be whole: why.
    Incomplete(Incomplete),
}

pub(super) async fn answer(exposer: &Exposer, parts: &Parts, query: &Query, job: Job) -> Response<BoxBody> {
    let Some(logs) = &exposer.state.logs else {
        return respond::missing("route", "This bridge keeps no logs; configure logs.url.");
    };
    let answer = match job {
        Job::All => list(exposer, logs, parts, query).await.map(|jobs| json(StatusCode::OK, &jobs)),
        Job::Logs(id) => match wanted(query) {
            Err(detail) => Err(NoPage::Asked(detail)),
            Ok(asked) => page(exposer, logs, parts, &id, asked).await.map(|page| json(StatusCode::OK, &page)),
        },
        Job::Metrics(id) => points(exposer, logs, parts, &id)
            .await
            .map(|points| text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", points.exposition())),
    };
    answer.unwrap_or_else(|no| match no {
        NoPage::Asked(detail) => respond::bad_request(&detail),
        NoPage::Incomplete(why) => {
            respond::unavailable("Not all logs are known", &format!("An answer would not be whole: {why}."))
        }
    })
}

/// A part of one bridge, and which offsets its store has.
#[derive(Debug, Serialize, Deserialize)]
struct Stored<T> {
    kept: Kept,
    part: T,
}

async fn list(exposer: &Exposer, logs: &JobLogs, parts: &Parts, query: &Query) -> Result<Jobs, NoPage> {
    let (limit, cursor) = (limit(query).map_err(NoPage::Asked)?, given(query, "cursor").map(str::to_owned));
    let here = read_list(logs, cursor.clone(), limit).await;
    if logs.shared {
        return here.map_err(NoPage::Incomplete);
    }
    let after = cursor.map(|c| format!("&cursor={}", segment(&c))).unwrap_or_default();
    let all = everywhere(exposer, parts, &format!("/internal/v1/jobs?limit={limit}{after}"), here, None).await?;
    Ok(merge_jobs(all.into_iter().map(|(_, jobs)| jobs).collect(), limit))
}

/// A page of a job's log, from every store that may have a part of it.
pub(super) async fn page(
    exposer: &Exposer,
    logs: &JobLogs,
    parts: &Parts,
    id: &str,
    query: k2p_logs::Query,
) -> Result<Page, NoPage> {
    if logs.shared {
        return match read_page(logs, id.to_owned(), query).await {
            Ok(page) => page.map_err(NoPage::Asked),
            Err(why) => Err(NoPage::Incomplete(why)),
        };
    }
    let cursors = match query.cursor.as_deref().map(Cursors::parse) {
        None => Cursors::default(),
        Some(Some(cursors)) => cursors,
        Some(None) => return Err(NoPage::Asked("The parameter cursor is none of these bridges'.".to_owned())),
    };
    let mut path =
        format!("/internal/v1/job/logs?id={}&limit={}&level={}", segment(id), query.limit, query.level.as_str());
    path.extend(query.since.map(|since| format!("&since={since}")));
    path.extend(query.cursor.as_deref().map(|cursor| format!("&cursor={}", segment(cursor))));
    let (limit, since) = (query.limit, query.since);
    let own = cursors.of(&exposer.config.advertise_address).map(str::to_owned);
    let here = match read_page(logs, id.to_owned(), k2p_logs::Query { cursor: own, ..query }).await {
        Ok(Err(detail)) => return Err(NoPage::Asked(detail)),
        Ok(Ok(page)) => Ok(Part::from(page)),
        Err(why) => Err(why),
    };
    let all = everywhere(exposer, parts, &path, here, since).await?;
    Ok(merge(all, limit, cursors))
}

async fn points(exposer: &Exposer, logs: &JobLogs, parts: &Parts, id: &str) -> Result<Points, NoPage> {
    let here = read_points(logs, id.to_owned()).await;
    if logs.shared {
        return here.map_err(NoPage::Incomplete);
    }
    let path = format!("/internal/v1/job/points?id={}", segment(id));
    let mut all = everywhere(exposer, parts, &path, here, None).await?;
    let (_, mut points) = all.remove(0);
    for (_, more) in all {
        points.merge(more);
    }
    Ok(points)
}

/// The parts of all bridges, if together they have everything since then.
async fn everywhere<T: serde::de::DeserializeOwned>(
    exposer: &Exposer,
    parts: &Parts,
    path: &str,
    here: Result<T, Incomplete>,
    since: Option<i64>,
) -> Result<Vec<(String, T)>, NoPage> {
    let here = Told { exposed: exposed_here(exposer), told: stored(exposer, here).await };
    let all = gather::<Stored<T>>(exposer, parts, path, here, EVENTS, Whom::All).await.map_err(NoPage::Incomplete)?;
    let (mut kept, mut told) = (Kept::default(), Vec::new());
    for (bridge, stored) in all {
        kept.merge(stored.kept);
        told.push((bridge, stored.part));
    }
    match lacking(exposer, &kept, since) {
        Some(why) => Err(NoPage::Incomplete(why)),
        None => Ok(told),
    }
}

async fn stored<T>(exposer: &Exposer, part: Result<T, Incomplete>) -> Result<Stored<T>, Incomplete> {
    let part = part?;
    let Some(logs) = &exposer.state.logs else { return Err("it keeps no logs (logs.url)".to_owned()) };
    let reader = logs.reader.clone();
    let kept = blocking(move || reader.kept().map_err(|e| unreadable(&e))).await?;
    Ok(Stored { kept, part })
}

/// What no store has although it may be asked for.
fn lacking(exposer: &Exposer, kept: &Kept, since: Option<i64>) -> Option<Incomplete> {
    let retention = exposer.state.logs.as_ref().map_or(0, |logs| logs.retention);
    // An entry may be dated up to a day after it came.
    let asked = since.map_or(i64::MIN, |since| since.saturating_sub(DAY_NANOS));
    let oldest = (exposer.state.clocks.wall)().saturating_mul(1_000_000).saturating_sub(retention).max(asked);
    let group = exposer.state.live.group();
    let events: Vec<&str> =
        exposer.config.topics.iter().filter(|t| t.kind == EVENTS).map(|t| t.name.as_str()).collect();
    for (topic, partition) in group.partitions.keys().filter(|(topic, _)| events.contains(&&**topic)) {
        let Some(gap) = kept.gap(topic, *partition, oldest) else { continue };
        let from = gap.from.map_or("the beginning".to_owned(), |from| from.to_string());
        let to = gap.to.map_or("now".to_owned(), |to| format!("{}", to - 1));
        return Some(format!(
            "what the offsets of {topic}/{partition} from {from} to {to} left lies with no bridge that holds a partition now; give all bridges one store (logs.url of an object store, or logs.shared)"
        ));
    }
    None
}

/// `GET /internal/v1/jobs`, `/internal/v1/job/logs`, `/internal/v1/job/points`: what this
/// bridge's own store has.
pub(super) async fn internal(exposer: &Exposer, parts: &Parts, query: &Query, what: InternalJobs) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    let Some(logs) = &exposer.state.logs else {
        return told(exposer, Err::<(), _>("it keeps no logs (logs.url)".to_owned())).await;
    };
    let id = query.get("id").unwrap_or_default().to_owned();
    match what {
        InternalJobs::All => {
            let limit = limit(query).unwrap_or(MAX_LIMIT);
            let list = read_list(logs, query.get("cursor").map(str::to_owned), limit).await;
            told(exposer, list).await
        }
        InternalJobs::Points => told(exposer, read_points(logs, id).await).await,
        InternalJobs::Logs => {
            let own = |cursor: &str| Cursors::parse(cursor)?.of(&exposer.config.advertise_address).map(str::to_owned);
            let cursor = query.get("cursor").and_then(own);
            let part = match wanted(query) {
                Err(detail) => Err(detail),
                Ok(asked) => match read_page(logs, id, k2p_logs::Query { cursor, ..asked }).await {
                    Ok(page) => page.map(Part::from),
                    Err(why) => Err(why),
                },
            };
            told(exposer, part).await
        }
    }
}

async fn told<T: Serialize>(exposer: &Exposer, told: Result<T, Incomplete>) -> Response<BoxBody> {
    let told = stored(exposer, told).await;
    json(StatusCode::OK, &Told { exposed: exposed_here(exposer), told })
}

async fn read_list(logs: &JobLogs, cursor: Option<String>, limit: usize) -> Result<Jobs, Incomplete> {
    let reader = logs.reader.clone();
    blocking(move || reader.jobs(cursor.as_deref(), limit).map_err(|e| unreadable(&e))).await
}

async fn read_points(logs: &JobLogs, id: String) -> Result<Points, Incomplete> {
    let reader = logs.reader.clone();
    blocking(move || reader.points(&id).map_err(|e| unreadable(&e))).await
}

/// A page of this bridge's store; inside, what is wrong with the request.
async fn read_page(logs: &JobLogs, id: String, query: k2p_logs::Query) -> Result<Result<Page, String>, Incomplete> {
    let reader = logs.reader.clone();
    blocking(move || match reader.read(&id, &query) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Err(format!("It cannot be read: {error}."))),
        Err(error) => Err(unreadable(&error)),
        Ok(page) => Ok(Ok(page)),
    })
    .await
}

/// What is asked of a log; the error is for the client.
fn wanted(query: &Query) -> Result<k2p_logs::Query, String> {
    let since = match given(query, "since") {
        None => None,
        Some(text) => {
            let read = parse_time(text);
            Some(read.ok_or("The parameter since must be RFC 3339, or Unix seconds, milliseconds or nanoseconds.")?)
        }
    };
    let cursor = given(query, "cursor").map(str::to_owned);
    Ok(k2p_logs::Query { since, level: level(query.get("level"), "level")?, limit: limit(query)?, cursor })
}

/// A level by its name; the error is for the client.
pub(super) fn level(text: Option<&str>, parameter: &str) -> Result<Level, String> {
    let said = |text| {
        let detail = format!("The parameter {parameter} must be trace, debug, info, warn, error or fatal.");
        Level::parse(text).ok_or(detail)
    };
    text.map_or(Ok(Level::None), said)
}

fn limit(query: &Query) -> Result<usize, String> {
    number(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
}
