//! The log events of a run: those that name the run, then those that name only one of its
//! correlation ids.
use hyper::http::request::Parts;
use k2p_logs::{Level, StoredEntry};
use k2p_pipelines::runs::FinishedRun;
use k2p_runtime::http::Query;
use serde::Serialize;
use serde_json::Value;

use super::Exposer;
use super::jobs::{self, NoPage};
use super::paging::{given, number};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// How often one answer reads on, where it finds only what other pipelines said under the
/// same run id.
const READS: usize = 20;

/// What is asked of a run's log events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    limit: usize,
    level: Level,
    /// Which of the run's ids, and where in its log.
    pub(super) cursor: Option<(usize, Option<String>)>,
}

/// A page of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(super) struct RunLogs {
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub(super) entries: Vec<StoredEntry>,
    /// There is more: the parameter `logs_cursor` of the next page.
    pub(super) cursor: Option<String>,
    /// Why they are not known, or not all.
    pub(super) unknown: Option<String>,
}

impl Wanted {
    /// Reads the query; the error is for the client.
    pub(super) fn of(query: &Query) -> Result<Wanted, String> {
        let limit = number(query, "logs_limit", DEFAULT_LIMIT, 0, MAX_LIMIT)?;
        let place = |text: &str| {
            let (number, cursor) = text.split_once('~')?;
            Some((number.parse().ok()?, (!cursor.is_empty()).then(|| cursor.to_owned())))
        };
        let cursor = match given(query, "logs_cursor") {
            None => None,
            Some(text) => Some(place(text).ok_or("The parameter logs_cursor is none of a run's log events.")?),
        };
        Ok(Wanted { limit, level: jobs::level(query.get("logs_level"), "logs_level")?, cursor })
    }
}

/// A page of a run's log events; the error is for the client.
pub(super) async fn of_run(
    exposer: &Exposer,
    parts: &Parts,
    run: &FinishedRun,
    wanted: &Wanted,
) -> Result<RunLogs, String> {
    let mut found = RunLogs::default();
    let Some(logs) = exposer.state.logs.as_ref() else {
        found.unknown = Some("no logs are kept: configure logs.url".to_owned());
        return Ok(found);
    };
    let ids = ids(run);
    let (mut number, mut cursor) = wanted.cursor.clone().unwrap_or_default();
    let mut reads = 0;
    while found.entries.len() < wanted.limit && reads < READS {
        let Some(id) = ids.get(number) else { return Ok(found) };
        let limit = wanted.limit - found.entries.len();
        let query = k2p_logs::Query { since: None, level: wanted.level, limit, cursor: cursor.take() };
        let page = match jobs::page(exposer, logs, parts, id, query).await {
            Ok(page) => page,
            Err(NoPage::Asked(detail)) => return Err(detail),
            Err(NoPage::Incomplete(why)) => {
                found.unknown = Some(why);
                return Ok(found);
            }
        };
        found.entries.extend(page.entries.into_iter().filter(|entry| number > 0 || is_of(entry, run)));
        match page.has_more {
            true => cursor = Some(page.cursor),
            false => number += 1,
        }
        reads += 1;
    }
    if number < ids.len() && wanted.limit > 0 {
        found.cursor = Some(format!("{number}~{}", cursor.unwrap_or_default()));
    }
    Ok(found)
}

/// The jobs under which its log events are kept.
fn ids(run: &FinishedRun) -> Vec<&str> {
    let mut ids = vec![&*run.run_id];
    ids.extend(run.correlation_ids.iter().map(|id| &**id).filter(|id| **id != *run.run_id));
    ids
}

/// Pipelines may use the same run ids.
fn is_of(entry: &StoredEntry, run: &FinishedRun) -> bool {
    let pipeline = text_of(entry, "pipeline_id");
    pipeline.is_none_or(|pipeline| *pipeline == *run.pipeline_id)
}

/// A text of an entry.
pub(super) fn text_of(entry: &StoredEntry, field: &str) -> Option<String> {
    let value: Value = serde_json::from_str(&entry.line).ok()?;
    value.get(field)?.as_str().map(str::to_owned)
}
