//! What every bridge shows a part of: the parts of all, or why an answer would not be whole.
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Exposer;

/// The kind of topics whose runs and logs are gathered.
pub(super) const EVENTS: &str = "events";

/// Why no answer is whole, for the client.
pub(super) type Incomplete = String;

/// What a bridge tells another of the replayed partitions that it exposes: of these, and
/// only these, it is whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told<T> {
    pub(super) exposed: Vec<(String, i32)>,
    /// `Err`: why it cannot tell.
    pub(super) told: Result<T, Incomplete>,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// The owners of partitions that are not exposed here.
    Owners,
    /// Every bridge that holds a partition: what it had before may lie with it.
    All,
}

/// This bridge's part and every owner's, each with its bridge's address; its own first. An
/// error says what is missing. `kind`: of which topics, as configured.
pub(super) async fn gather<T: DeserializeOwned>(
    exposer: &Exposer,
    parts: &Parts,
    path: &str,
    here: Told<T>,
    kind: &str,
    whom: Whom,
) -> Result<Vec<(String, T)>, Incomplete> {
    let own = exposer.config.advertise_address.as_str();
    let group = exposer.state.live.group();
    let topics: BTreeSet<&str> =
        exposer.config.topics.iter().filter(|t| t.kind == kind).map(|t| t.name.as_str()).collect();
    let wanted: Vec<(&str, i32)> =
        group.partitions.keys().map(|(t, p)| (&**t, *p)).filter(|(t, _)| topics.contains(t)).collect();
    if !topics.is_empty() && !group.complete {
        return Err("the group's map is incomplete".to_owned());
    }
    let missing = |seen: &BTreeSet<(String, i32)>| {
        wanted.iter().find(|(t, p)| !seen.contains(&((*t).to_owned(), *p))).map(|(t, p)| format!("{t}/{p}"))
    };
    let mut seen: BTreeSet<(String, i32)> = here.exposed.into_iter().collect();
    let mut all = vec![(own.to_owned(), here.told?)];
    if whom == Whom::All || missing(&seen).is_some() {
        let patience: Duration = exposer.deadline(parts).left();
        let peers = group.peers();
        let asked = peers.iter().filter(|p| &***p != own).map(|peer| async move {
            let answer = exposer.peers.ask::<Told<T>>(peer, path, patience).await;
            answer.map(|told| (peer.to_string(), told)).map_err(|e| e.to_string())
        });
        for answer in join_all(asked).await {
            let (peer, Told { exposed, told }) = answer?;
            let told = told.map_err(|why| format!("{peer}: {why}"))?;
            seen.extend(exposed);
            all.push((peer, told));
        }
    }
    match missing(&seen) {
        Some(place) => Err(format!("{place} is exposed by no bridge at the moment")),
        None => Ok(all),
    }
}

/// The partitions of events exposed here.
pub(super) fn exposed_here(exposer: &Exposer) -> Vec<(String, i32)> {
    let exposed = exposer.state.live.snapshot(exposer.state.clocks.mono);
    let replayed = exposed.iter().filter(|e| e.partition.replay.runs().is_some());
    replayed.map(|e| (e.partition.topic.to_string(), e.partition.partition)).collect()
}

/// Reads on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Incomplete> + Send + 'static,
) -> Result<T, Incomplete> {
    let failed = |_| Err("reading the log store made the program fail".to_owned());
    tokio::task::spawn_blocking(read).await.unwrap_or_else(failed)
}

/// What a client is told of a log store that cannot be read; the log has the error.
pub(super) fn unreadable(error: &std::io::Error) -> Incomplete {
    tracing::error!(%error, "the log store cannot be read");
    "the log store cannot be read; the bridge's log says why".to_owned()
}
