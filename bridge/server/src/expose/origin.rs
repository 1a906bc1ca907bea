//! `GET /origins/{key}/metrics`: one origin, from any bridge.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::merge::Sources;
use k2p_core::view::Origin;
use k2p_runtime::http::{BoxBody, problem};

use super::api::PeerOrigins;
use super::explain::canonical;
use super::forward::{Forwarded, forward};
use super::list::OriginInfo;
use super::render::{self, Collect};
use super::scrape::full;
use super::sd::segment;
use super::{Exposer, respond};

/// Looking means asking every bridge: less often than for a partition.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn answer(exposer: &Arc<Exposer>, parts: &Parts, key: &str) -> Response<BoxBody> {
    let key = canonical(key);
    let Some(mut hold) = exposer.hold("origin") else {
        return full(exposer);
    };
    let deadline = exposer.deadline(parts);
    let mut wake = exposer.state.live.subscribe();
    loop {
        wake.mark_unchanged();
        if let Some(origin) = here(exposer, &key) {
            if origin.dump.is_none() {
                return stale(&key);
            }
            let collect: Collect = Box::new(move || Sources::one(&origin));
            return render::answer(exposer, parts, deadline, hold, collect, None).await;
        }
        let place = match deadline.hop {
            true => Place::Moving("this bridge does not hold it (any more)".to_owned()),
            false => find(exposer, &key, deadline.left()).await,
        };
        let why = match place {
            Place::Nowhere => return unknown(&key),
            Place::Moving(why) => why,
            Place::Elsewhere(peer) => match forward(exposer, parts, &peer, deadline, hold).await {
                Forwarded::Answer(response) => return response,
                Forwarded::Moving(why, back) => {
                    hold = back;
                    why
                }
            },
        };
        // A hop is not waited for: whoever asked will ask the right one next time.
        if deadline.hop || !deadline.wait(&mut wake, LOOK_AGAIN).await {
            return moving(&key, &why);
        }
    }
}

/// The origin on this bridge, one with a dump before one without.
fn here(exposer: &Exposer, key: &str) -> Option<Arc<Origin>> {
    let exposed = exposer.state.live.snapshot(exposer.state.clocks.mono);
    let found = exposed.iter().filter_map(|e| e.view.origins.get(key));
    found.max_by_key(|o| (o.dump.is_some(), o.dump_time)).cloned()
}

enum Place {
    /// Every partition of the group was looked at.
    Nowhere,
    Elsewhere(String),
    /// Not every partition could be looked at, and why.
    Moving(String),
}

/// What the group knows of an origin.
pub(super) struct Looked {
    /// What each bridge that has it knows of it, with the bridge's address.
    pub(super) holders: Vec<(OriginInfo, String)>,
    /// Why another one may have it; `None`: every partition was looked at.
    pub(super) unseen: Option<String>,
}

/// Where it is, if not here.
async fn find(exposer: &Exposer, key: &str, patience: Duration) -> Place {
    let Looked { holders, unseen } = look(exposer, key, patience).await;
    let own = exposer.config.advertise_address.as_str();
    let elsewhere = holders.into_iter().filter(|(_, peer)| peer != own);
    match (elsewhere.map(|(origin, peer)| (origin.up, peer)).max(), unseen) {
        (Some((_, peer)), _) => Place::Elsewhere(peer),
        (None, Some(why)) => Place::Moving(why),
        (None, None) => Place::Nowhere,
    }
}

/// Asks all bridges of the group what they know of it.
pub(super) async fn look(exposer: &Exposer, key: &str, patience: Duration) -> Looked {
    let group = exposer.state.live.group();
    let own = exposer.config.advertise_address.as_str();
    let path = format!("/internal/v1/origins?key={}", segment(key));
    let peers = group.peers();
    let others: Vec<&Arc<str>> = peers.iter().filter(|p| &***p != own).collect();
    let asked = others.iter().map(|p| exposer.peers.ask::<PeerOrigins>(p, &path, patience));
    let answers = join_all(asked).await;
    let mut seen: BTreeSet<(String, i32)> = BTreeSet::new();
    let here = PeerOrigins::here(exposer, Some(key));
    seen.extend(here.exposed);
    let mut why = None;
    let mut holders: Vec<_> = here.origins.into_iter().map(|o| (o, own.to_owned())).collect();
    for (peer, answer) in others.iter().zip(answers) {
        match answer {
            Ok(told) => {
                seen.extend(told.exposed);
                holders.extend(told.origins.into_iter().map(|o| (o, peer.to_string())));
            }
            Err(error) => why = Some(error.to_string()),
        }
    }
    if !group.complete {
        return Looked { holders, unseen: Some("the group's map is incomplete".to_owned()) };
    }
    let hidden = group.partitions.keys().find(|(t, p)| !seen.contains(&(t.to_string(), *p)));
    let unseen = hidden.map(|(topic, n)| why.unwrap_or_else(|| format!("{topic}/{n} changes hands")));
    Looked { holders, unseen }
}

fn stale(key: &str) -> Response<BoxBody> {
    let detail = format!(
        "The origin {} sent no dump for longer than its topic's staleness. /api/v1/explain says \
         more.",
        key.escape_debug()
    );
    problem(StatusCode::GONE, "Stale origin", &detail, None)
}

pub(super) fn unknown(key: &str) -> Response<BoxBody> {
    let detail = format!(
        "No bridge of the group has a dump of the origin {}. /api/v1/origins lists those of a \
         bridge.",
        key.escape_debug()
    );
    respond::missing("origin", &detail)
}

pub(super) fn moving(key: &str, why: &str) -> Response<BoxBody> {
    let detail =
        format!("The origin {} was not found, and not every partition could be looked at: {why}.", key.escape_debug());
    respond::unavailable("The origin's partition may be changing hands", &detail)
}
