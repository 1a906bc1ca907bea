//! Whether a record of a replayed partition can be scraped: asked here, or of the bridge that
//! holds the partition.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_runtime::http::{BoxBody, Query, json};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::api::not_a_peer;
use super::{Exposer, respond};
use crate::append::Place;
use crate::live::Marker;

/// A view is published within this of its record, mostly.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long until it is asked again where a partition is that nobody shows.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// What is asked of a peer at most: the map may say by then that another one has it.
const LONGEST: Duration = Duration::from_secs(2);

/// A peer's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    shown: bool,
}

/// Waits until the record can be scraped somewhere, at most `patience`; whether it can.
pub(super) async fn shown(exposer: &Exposer, topic: &Arc<str>, place: Place, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        if shown_here(exposer, topic, place, until).await {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        if let Some(peer) = owner(exposer, topic, place.partition) {
            let Place { partition, offset } = place;
            let path = format!("/internal/v1/shown?topic={topic}&partition={partition}&offset={offset}");
            if exposer.peers.ask::<Shown>(&peer, &path, left).await.is_ok_and(|answer| answer.shown) {
                return true;
            }
        }
        sleep(ASK_AGAIN.min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// Waits as long as this bridge exposes the partition.
async fn shown_here(exposer: &Exposer, topic: &str, place: Place, until: Instant) -> bool {
    loop {
        let here = exposer.state.live.get(topic, place.partition);
        let Some(here) = here.filter(|p| p.may_expose((exposer.state.clocks.mono)())) else { return false };
        if here.position.load(Ordering::SeqCst) > place.offset {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The other bridge that holds it, if one does.
fn owner(exposer: &Exposer, topic: &Arc<str>, partition: i32) -> Option<Arc<str>> {
    let group = exposer.state.live.group();
    let ownership = group.partitions.get(&(topic.clone(), partition))?;
    let own = &exposer.config.advertise_address;
    ownership.owner.clone().filter(|owner| ownership.marker == Marker::Held && **owner != **own)
}

/// `GET /internal/v1/shown?topic=&partition=&offset=`: answers when this bridge shows it, or
/// when the one who asks will not wait longer.
pub(super) async fn internal(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<i64>().ok());
    let partition = number("partition").and_then(|n| i32::try_from(n).ok());
    let (Some(topic), Some(partition), Some(offset)) = (query.get("topic"), partition, number("offset")) else {
        return respond::bad_request("The parameters topic, partition and offset name a record.");
    };
    let until = Instant::now() + exposer.deadline(parts).left().min(LONGEST);
    let shown = shown_here(exposer, topic, Place { partition, offset }, until).await;
    json(StatusCode::OK, &Shown { shown })
}
