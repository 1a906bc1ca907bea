//! `GET /partitions/{topic}/{partition}/metrics`: one partition, from any bridge.
//!
//! A scrape of a partition that changes hands waits, inside its time, until somebody
//! holds it again: seen from Prometheus the target never fails and never moves.
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::http::request::Parts;
use k2p_core::merge::Sources;
use k2p_runtime::http::BoxBody;

use super::deadline::Deadline;
use super::forward::{Forwarded, forward};
use super::render::{self, Collect};
use super::scrape::{Hold, full};
use super::{Exposer, respond};
use crate::live::{Exposed, LivePartitions, Marker};

/// How long until a waiting request looks again when nothing told it to.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn answer(exposer: &Arc<Exposer>, parts: &Parts, topic: &str, partition: i32) -> Response<BoxBody> {
    let Some(mut hold) = exposer.hold("partition") else {
        return full(exposer);
    };
    let deadline = exposer.deadline(parts);
    let live = &exposer.state.live;
    let mut wake = live.subscribe();
    loop {
        wake.mark_unchanged();
        if let Some(exposed) = live.snapshot_of(topic, partition, exposer.state.clocks.mono) {
            return show(exposer, parts, deadline, hold, exposed).await;
        }
        let why = match place(exposer, topic, partition) {
            Place::Unknown => return unknown(topic, partition),
            Place::Moving(why) => why,
            Place::Elsewhere(peer) if deadline.hop => {
                // The map of the one who asked is older than ours: it will look again.
                return moving(topic, partition, &format!("{peer} holds it now"));
            }
            Place::Elsewhere(peer) => {
                let asked = forward(exposer, parts, &peer, deadline, hold);
                tokio::select! {
                    forwarded = asked => match forwarded {
                        Forwarded::Answer(response) => return response,
                        Forwarded::Moving(why, back) => { hold = back; why }
                    },
                    // Whoever was asked no longer holds it and may never answer.
                    () = leaves(live, topic, partition, &peer) => {
                        match exposer.hold("partition") {
                            Some(again) => hold = again,
                            None => return full(exposer),
                        }
                        continue;
                    }
                }
            }
        };
        if !deadline.wait(&mut wake, LOOK_AGAIN).await {
            return moving(topic, partition, &why);
        }
    }
}

/// Where a partition is that this bridge does not expose.
enum Place {
    /// The group has no such partition.
    Unknown,
    /// Another bridge holds it.
    Elsewhere(Arc<str>),
    /// Nobody exposes it at the moment, and why.
    Moving(String),
}

fn place(exposer: &Exposer, topic: &str, partition: i32) -> Place {
    let live = &exposer.state.live;
    if let Some(here) = live.get(topic, partition) {
        if let Some(blocked) = here.replay.blocked() {
            return Place::Moving(format!("it stands still: {}", blocked.detail));
        }
        return Place::Moving(format!("this bridge is taking it over ({})", here.state().as_str()));
    }
    let group = live.group();
    let Some(ownership) = group.partitions.get(&(Arc::from(topic), partition)) else {
        return match group.complete {
            true => Place::Unknown,
            false => Place::Moving("the group's map is incomplete".to_owned()),
        };
    };
    match (&ownership.owner, ownership.marker) {
        (Some(owner), Marker::Held) if **owner == *exposer.config.advertise_address => {
            Place::Moving("this bridge gave it back a moment ago".to_owned())
        }
        (Some(owner), Marker::Held) => Place::Elsewhere(owner.clone()),
        (_, Marker::Released) => Place::Moving("it was released and not claimed yet".to_owned()),
        _ => Place::Moving("its marker names no owner".to_owned()),
    }
}

/// Resolves when the group's map no longer names `peer`, or the partition came here.
async fn leaves(live: &LivePartitions, topic: &str, partition: i32, peer: &str) {
    let mut wake = live.subscribe();
    let key = (Arc::from(topic), partition);
    loop {
        wake.mark_unchanged();
        let group = live.group();
        let owner = group.partitions.get(&key).and_then(|o| o.owner.as_deref());
        if owner != Some(peer) || live.get(topic, partition).is_some_and(|p| p.live()) {
            return;
        }
        if wake.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn show(
    exposer: &Arc<Exposer>,
    parts: &Parts,
    deadline: Deadline,
    hold: Hold,
    exposed: Exposed,
) -> Response<BoxBody> {
    let collect: Collect = Box::new(move || Sources::collect(None, &[exposed.view], None));
    render::answer(exposer, parts, deadline, hold, collect, None).await
}

fn unknown(topic: &str, partition: i32) -> Response<BoxBody> {
    let detail = format!(
        "The group has no partition {}/{partition}. /api/v1/partitions lists those it has.",
        topic.escape_debug()
    );
    respond::missing("partition", &detail)
}

fn moving(topic: &str, partition: i32, why: &str) -> Response<BoxBody> {
    let detail = format!("{}/{partition} is exposed by no bridge: {why}.", topic.escape_debug());
    respond::unavailable("The partition changes hands", &detail)
}
