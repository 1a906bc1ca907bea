//! The logs of jobs: `/api/v1/jobs`, `/api/v1/jobs/{id}/logs`, `/api/v1/jobs/{id}/metrics`.
//!
//! Read from the log store of this bridge. Where bridges keep stores of their own, this
//! one cannot know all unless it holds every partition of events: it then says so (503).
use std::io;

use hyper::{Response, StatusCode};
use k2p_logs::{Level, LogReader, MAX_LIMIT, parse_time};
use k2p_runtime::http::{BoxBody, Query, json, problem, text};

use super::{Exposer, respond};
use crate::live::Marker;

/// The log store as the HTTP side reads it.
#[derive(Clone)]
pub struct JobLogs {
    /// The store.
    pub reader: LogReader,
    /// All bridges of the group write into it.
    pub shared: bool,
}

const DEFAULT_LIMIT: usize = 1000;

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

pub(super) async fn answer(exposer: &Exposer, query: &Query, job: Job) -> Response<BoxBody> {
    let Some(logs) = &exposer.state.logs else {
        return respond::missing("route", "This bridge keeps no logs; configure logs.url.");
    };
    if !logs.shared && !holds_everything(exposer) {
        let detail = "This bridge keeps logs of its own partitions only, and does not hold all of them: let all \
                      bridges write into one store (logs.shared), or ask the other ones too.";
        return respond::unavailable("Not all logs are known", detail);
    }
    let reader = logs.reader.clone();
    let asked = match job {
        Job::All => all(reader, query),
        Job::Logs(id) => entries(reader, query, id),
        Job::Metrics(id) => Ok(tokio::task::spawn_blocking(move || {
            reader.metrics(&id).map(|body| text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body))
        })),
    };
    match asked {
        Err(detail) => respond::bad_request(&detail),
        Ok(asked) => match asked.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => unreadable(&error),
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "Reading failed", "See the bridge's log.", None),
        },
    }
}

type Asked = Result<tokio::task::JoinHandle<io::Result<Response<BoxBody>>>, String>;

fn all(reader: LogReader, query: &Query) -> Asked {
    let (limit, cursor) = (limit(query)?, query.get("cursor").map(str::to_owned));
    Ok(tokio::task::spawn_blocking(move || {
        reader.jobs(cursor.as_deref(), limit).map(|jobs| json(StatusCode::OK, &jobs))
    }))
}

fn entries(reader: LogReader, query: &Query, id: String) -> Asked {
    let since = match query.get("since") {
        None => None,
        Some(text) => {
            let read = parse_time(text);
            Some(read.ok_or("The parameter since must be RFC 3339, or Unix seconds, milliseconds or nanoseconds.")?)
        }
    };
    let level = match query.get("level") {
        None => Level::None,
        Some(text) => {
            Level::parse(text).ok_or("The parameter level must be trace, debug, info, warn, error or fatal.")?
        }
    };
    let cursor = query.get("cursor").map(str::to_owned);
    let query = k2p_logs::Query { since, level, limit: limit(query)?, cursor };
    Ok(tokio::task::spawn_blocking(move || reader.read(&id, &query).map(|page| json(StatusCode::OK, &page))))
}

fn limit(query: &Query) -> Result<usize, String> {
    match query.get("limit").map_or(Ok(DEFAULT_LIMIT), str::parse) {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => Err(format!("The parameter limit must be a number from 1 to {MAX_LIMIT}.")),
    }
}

fn unreadable(error: &io::Error) -> Response<BoxBody> {
    match error.kind() {
        io::ErrorKind::NotFound => respond::missing("job", "The log store has no entry of that job."),
        io::ErrorKind::InvalidInput => respond::bad_request(&format!("It cannot be read: {error}.")),
        _ => {
            tracing::error!(%error, "the log store cannot be read");
            let detail = "The log store cannot be read; the bridge's log says why.";
            problem(StatusCode::INTERNAL_SERVER_ERROR, "Reading failed", detail, None)
        }
    }
}

/// Whether every partition of events is this bridge's, by the markers.
fn holds_everything(exposer: &Exposer) -> bool {
    let group = exposer.state.live.group();
    let own = exposer.config.advertise_address.as_str();
    let replayed = |topic: &str| exposer.config.topics.iter().any(|t| t.is_replayed() && t.name == topic);
    let mut events = group.partitions.iter().filter(|((topic, _), _)| replayed(topic));
    group.complete && events.all(|(_, o)| o.marker == Marker::Held && o.owner.as_deref() == Some(own))
}
