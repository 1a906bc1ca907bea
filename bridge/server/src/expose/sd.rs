//! Prometheus HTTP service discovery for the whole group, the same from any bridge.
//!
//! A list that lacks a target makes Prometheus forget it and mark its series stale.
//! So the answer is whole or it is 503, at which Prometheus keeps what it has.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_runtime::http::{BoxBody, Query, json};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::api::PeerOrigins;
use super::list::OriginInfo;
use super::paging::given;
use super::{Exposer, respond};
use crate::live::GroupMap;

/// What stays as it is in one segment of a path: RFC 3986, unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A segment of a path, percent-encoded.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The path of an origin's dump on any bridge.
pub(super) fn origin_path(key: &str) -> String {
    format!("/origins/{}/metrics", segment(key))
}

/// The path of a partition on any bridge.
pub(super) fn partition_path(topic: &str, partition: i32) -> String {
    format!("/partitions/{}/{partition}/metrics", segment(topic))
}

/// A group of targets, here always one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(super) struct Target {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// `GET /sd?by=partition|origin`.
pub(super) async fn answer(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    let Some(address) = &exposer.config.external_address else {
        return respond::unavailable(
            "No external address",
            "Discovery needs the address of a service in front of all bridges: start them with \
             --web.external-address.",
        );
    };
    let group = exposer.state.live.group();
    if !group.complete || group.partitions.is_empty() {
        return incomplete("not every partition's marker was read yet");
    }
    match given(query, "by").unwrap_or("partition") {
        "partition" => json(StatusCode::OK, &with_scheme(exposer, by_partition(&group, address))),
        "origin" => match all_origins(exposer, &group, exposer.deadline(parts).left()).await {
            Ok(origins) if origins.is_empty() => incomplete("no origin sent a dump yet"),
            Ok(origins) => json(StatusCode::OK, &with_scheme(exposer, by_origin(&origins, address))),
            Err(detail) => incomplete(&detail),
        },
        _ => respond::bad_request("The parameter by must be partition or origin."),
    }
}

fn incomplete(detail: &str) -> Response<BoxBody> {
    respond::unavailable("The group's map is incomplete", &format!("No list: {detail}."))
}

/// Where TLS is spoken, the targets say so: it wins over the job's own `scheme`.
fn with_scheme(exposer: &Exposer, mut targets: Vec<Target>) -> Vec<Target> {
    if let Some(scheme) = exposer.config.external_scheme {
        for target in &mut targets {
            target.labels.insert("__scheme__".to_owned(), scheme.to_owned());
        }
    }
    targets
}

fn by_partition(group: &GroupMap, address: &str) -> Vec<Target> {
    let target = |(topic, partition): &(std::sync::Arc<str>, i32)| {
        let labels = [
            ("__metrics_path__", partition_path(topic, *partition)),
            ("instance", format!("{topic}/{partition}")),
            ("__meta_kafka2prom_topic", topic.to_string()),
            ("__meta_kafka2prom_partition", partition.to_string()),
        ];
        let labels = labels.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        Target { targets: [address.to_owned()], labels }
    };
    group.partitions.keys().map(target).collect()
}

fn by_origin(origins: &[OriginInfo], address: &str) -> Vec<Target> {
    let target = |origin: &OriginInfo| {
        let own = [
            ("__metrics_path__", origin_path(&origin.key)),
            ("__meta_kafka2prom_origin", origin.key.clone()),
            ("__meta_kafka2prom_topic", origin.topic.clone()),
            ("__meta_kafka2prom_partition", origin.partition.to_string()),
        ];
        // What begins with two underscores steers Prometheus: an origin must not.
        let theirs = origin.labels.iter().filter(|(name, _)| !name.starts_with("__"));
        let mut labels: BTreeMap<String, String> = theirs.map(|(n, v)| (n.clone(), v.clone())).collect();
        labels.extend(own.into_iter().map(|(n, v)| (n.to_owned(), v)));
        labels.entry("instance".to_owned()).or_insert_with(|| origin.key.clone());
        Target { targets: [address.to_owned()], labels }
    };
    origins.iter().map(target).collect()
}

/// The origins of every partition of the group, each from its owner; an error says
/// which part is missing.
async fn all_origins(exposer: &Exposer, group: &GroupMap, patience: Duration) -> Result<Vec<OriginInfo>, String> {
    let own = exposer.config.advertise_address.as_str();
    let mut answers = vec![PeerOrigins::here(exposer, None)];
    let peers = group.peers();
    let asked = peers.iter().filter(|p| &***p != own).map(|peer| async move {
        let answer = exposer.peers.ask(peer, "/internal/v1/origins", patience).await;
        answer.map_err(|e| e.to_string())
    });
    for answer in join_all(asked).await {
        answers.push(answer?);
    }
    let seen: BTreeSet<(&str, i32)> = answers.iter().flat_map(|a| &a.exposed).map(|(t, p)| (t.as_str(), *p)).collect();
    if let Some((topic, n)) = group.partitions.keys().find(|(t, p)| !seen.contains(&(&**t, *p))) {
        return Err(format!("{topic}/{n} is exposed by no bridge at the moment"));
    }
    let mut origins: Vec<OriginInfo> = answers.into_iter().flat_map(|a| a.origins).collect();
    // One target for each key, wherever it was seen: a living one before a stale one.
    let place = |o: &OriginInfo| (o.key.clone(), !o.up, o.topic.clone(), o.partition);
    origins.sort_by_cached_key(place);
    origins.dedup_by(|later, first| later.key == first.key);
    Ok(origins)
}
