//! `GET /api/v1/explain?origin=&metric=`: why is it there, or missing?
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::labels::Labels;
use k2p_core::store::{FamilyRef, StoredDump};
use k2p_runtime::http::{BoxBody, Query, json};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::api::not_a_peer;
use super::list::OriginInfo;
use super::sd::segment;
use super::{Exposer, respond};
use crate::live::{LivePartition, Marker, Refusal};

/// How many series of a metric an explanation shows.
const SHOWN_SERIES: usize = 10;
/// How many refusals of the origin.
const SHOWN_REFUSALS: usize = 10;

/// What a bridge knows of an origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub(super) struct Explanation {
    /// The key asked for, in canonical form where it is a label set.
    origin: String,
    /// `exposed`, `stale`, `hidden` (its partition is not exposed now) or `unknown`.
    verdict: String,
    /// The address of the bridge that says so.
    bridge: String,
    /// What there is to say, one sentence each, the most important first.
    explanation: Vec<String>,
    found: Option<OriginInfo>,
    metric: Option<MetricInfo>,
    refusals: Vec<RefusalInfo>,
}

/// A metric of the origin's dump.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
struct MetricInfo {
    name: String,
    /// The family that holds it, if the dump has it.
    family: Option<String>,
    r#type: Option<String>,
    series: usize,
    /// The first of them, as in the text format.
    examples: Vec<String>,
}

/// A refused record or line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub(super) struct RefusalInfo {
    pub(super) time_seconds: f64,
    pub(super) offset: i64,
    pub(super) origin: String,
    pub(super) reason: String,
    pub(super) detail: String,
}

impl RefusalInfo {
    pub(super) fn new(refusal: &Refusal) -> RefusalInfo {
        RefusalInfo {
            time_seconds: super::list::seconds(refusal.time),
            offset: refusal.offset,
            origin: refusal.origin.to_string(),
            reason: refusal.reason.to_owned(),
            detail: refusal.detail.to_string(),
        }
    }
}

/// The canonical spelling of a key: labels in any order, or any other text as it is.
pub(super) fn canonical(key: &str) -> String {
    match Labels::parse(key) {
        Ok(labels) if !labels.is_empty() => labels.canonical().to_owned(),
        _ => key.to_owned(),
    }
}

/// `GET /api/v1/explain`: what this bridge knows; if it knows nothing, what a peer does.
pub(super) async fn answer(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    let Some(key) = query.get("origin").filter(|k| !k.is_empty()) else {
        return respond::bad_request("The parameter origin must hold an origin's key or labels.");
    };
    let (key, metric) = (canonical(key), query.get("metric"));
    let here = here(exposer, &key, metric);
    if here.verdict == "exposed" || here.verdict == "stale" {
        return json(StatusCode::OK, &here);
    }
    let mut silent = Vec::new();
    let metric = metric.map(|m| format!("&metric={}", segment(m))).unwrap_or_default();
    let path = format!("/internal/v1/explain?origin={}{metric}", segment(&key));
    let patience = exposer.deadline(parts).left();
    for peer in exposer.state.live.group().peers() {
        if *peer == *exposer.config.advertise_address {
            continue;
        }
        match exposer.peers.ask::<Explanation>(&peer, &path, patience).await {
            Ok(told) if told.verdict != "unknown" => return json(StatusCode::OK, &told),
            Ok(_) => {}
            Err(error) => silent.push(format!("Not asked: {error}.")),
        }
    }
    let mut here = here;
    here.explanation.extend(silent);
    json(StatusCode::OK, &here)
}

/// `GET /internal/v1/explain`: what this bridge knows.
pub(super) fn internal(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    if !exposer.peers.authentic(&parts.headers) {
        return not_a_peer();
    }
    let key = canonical(query.get("origin").unwrap_or_default());
    json(StatusCode::OK, &here(exposer, &key, query.get("metric")))
}

fn here(exposer: &Exposer, key: &str, metric: Option<&str>) -> Explanation {
    let mut told = Explanation {
        origin: key.to_owned(),
        verdict: "unknown".to_owned(),
        bridge: exposer.config.advertise_address.clone(),
        explanation: Vec::new(),
        found: None,
        metric: None,
        refusals: Vec::new(),
    };
    for partition in exposer.state.live.all() {
        told.look(exposer, &partition, metric);
    }
    if told.verdict == "unknown" {
        told.say_unknown(exposer);
    }
    told
}

impl Explanation {
    /// Adds what one partition knows.
    fn look(&mut self, exposer: &Exposer, partition: &Arc<LivePartition>, metric: Option<&str>) {
        let refusals = partition.refusals();
        let theirs = refusals.iter().filter(|r| *r.origin == *self.origin);
        let room = SHOWN_REFUSALS.saturating_sub(self.refusals.len());
        self.refusals.extend(theirs.take(room).map(|r| RefusalInfo::new(r)));
        let view = partition.view.load_full();
        let Some(origin) = view.origins.get(self.origin.as_str()) else {
            return;
        };
        let clocks = exposer.state.clocks;
        let (now, wall) = ((clocks.mono)(), (clocks.wall)());
        let info = OriginInfo::new(&partition.topic, partition.partition, origin, wall);
        let place = format!("{}/{}", partition.topic, partition.partition);
        let exposed = partition.may_expose(now);
        self.verdict = verdict(exposed, info.up).to_owned();
        self.explanation.insert(0, headline(exposed, &info, partition, now));
        self.explanation.push(format!(
            "Its record came by partition {place}, offset {}, which this bridge ({}) owns.",
            info.offset, self.bridge
        ));
        if let Some(refusal) = &info.last_refusal {
            self.explanation.push(format!("A newer dump was refused: {refusal}"));
        }
        self.say_memory(&info, partition);
        self.say_lag(partition, wall);
        self.say_limits(exposer, &partition.topic);
        if let (Some(metric), Some(dump)) = (metric, origin.dump.as_deref()) {
            let found = MetricInfo::find(dump, metric);
            self.explanation.push(found.sentence());
            self.metric = Some(found);
        }
        self.found = Some(info);
    }

    fn say_lag(&mut self, partition: &LivePartition, wall: i64) {
        let lag = partition.lag_records().filter(|lag| *lag > 0);
        let Some(records) = lag else {
            return;
        };
        let age = partition
            .lag_ms(wall)
            .map_or(String::new(), |ms| format!(", the last one processed is {:.1} s old", super::list::seconds(ms)));
        let policy = partition.policy().as_str();
        self.explanation.push(format!("The partition is {records} records behind{age}; its policy is {policy}."));
    }

    fn say_memory(&mut self, info: &OriginInfo, partition: &LivePartition) {
        if info.up {
            let all = partition.view.load().bytes;
            let text = format!("It takes {} bytes of memory, its whole partition {all}.", info.cache_bytes);
            self.explanation.push(text);
        }
    }

    fn say_limits(&mut self, exposer: &Exposer, topic: &str) {
        let Some(info) = exposer.config.topics.iter().find(|t| t.name == topic) else {
            return;
        };
        let limits: Vec<String> = info.limits.iter().map(|(n, v)| format!("{n} {v}")).collect();
        let staleness = &info.staleness;
        self.explanation.push(format!(
            "An origin of this topic is removed after a silence of {staleness}; limits: {}.",
            if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
        ));
    }

    fn say_unknown(&mut self, exposer: &Exposer) {
        let live = &exposer.state.live;
        self.explanation.push(match self.refusals.first() {
            Some(r) => {
                format!("No dump of this origin was accepted; the last one was refused ({}): {}", r.reason, r.detail)
            }
            None => "No bridge that was asked has a dump of this origin, and none was refused \
                     lately: look at the agent, and at how it spells the key."
                .to_owned(),
        });
        let now = (exposer.state.clocks.mono)();
        let hidden = live.all().iter().filter(|p| !p.may_expose(now)).count();
        if hidden > 0 {
            let text = "partitions of this bridge are not exposed yet; it may be in one of them.";
            self.explanation.push(format!("{hidden} {text}"));
        }
        let group = live.group();
        let free = group.partitions.values().filter(|o| o.marker != Marker::Held).count();
        if free > 0 || !group.complete {
            let more = if group.complete { "" } else { " (the map is incomplete)" };
            self.explanation.push(format!("{free} partitions are held by no bridge{more}."));
        }
    }
}

fn verdict(exposed: bool, up: bool) -> &'static str {
    match (exposed, up) {
        (true, true) => "exposed",
        (true, false) => "stale",
        (false, _) => "hidden",
    }
}

fn headline(exposed: bool, info: &OriginInfo, partition: &LivePartition, now: i64) -> String {
    let age = format!("{:.1} s old", info.age_seconds);
    if !exposed {
        let state = partition.state().as_str();
        let wait = super::list::seconds(partition.wait_remaining(now));
        return format!(
            "Hidden: its partition cannot be scraped now (state {state}, {wait:.1} s left to \
             wait); the dump is {age}."
        );
    }
    match info.up {
        true => format!("Exposed: {} series, the dump is {age}.", info.series),
        false => format!("Stale: it sent no dump for too long; the last one is {age}."),
    }
}

impl MetricInfo {
    fn find(dump: &StoredDump, metric: &str) -> MetricInfo {
        let mut info =
            MetricInfo { name: metric.to_owned(), family: None, r#type: None, series: 0, examples: Vec::new() };
        let holds = |f: &FamilyRef<'_>| f.name == metric || f.sample_names().any(|n| n == metric);
        let Some(family) = dump.families().find(holds) else {
            return info;
        };
        info.family = Some(family.name.to_string());
        info.r#type = Some(format!("{:?}", family.kind).to_lowercase());
        let matches = family.samples().filter(|s| family.name == metric || s.name == metric);
        for sample in matches {
            info.series += 1;
            if info.examples.len() < SHOWN_SERIES {
                let comma = if sample.injected.is_empty() || sample.labels.is_empty() { "" } else { "," };
                let labels = format!("{}{comma}{}", sample.injected, sample.labels);
                info.examples.push(format!("{}{{{labels}}} {}", sample.name, sample.value));
            }
        }
        info
    }

    fn sentence(&self) -> String {
        match (&self.family, &self.r#type) {
            (Some(family), Some(kind)) => {
                let (name, n) = (&self.name, self.series);
                format!("{name} is in its dump: {n} series of the {kind} family {family}.")
            }
            _ => format!("{} is not in its dump: the origin did not write it, or its lines were rejected.", self.name),
        }
    }
}
