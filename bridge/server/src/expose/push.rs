//! The Pushgateway's API: `PUT POST DELETE /metrics/job/<job>{/<label>/<value>}`, and
//! `PUT /api/v1/admin/wipe`.
//!
//! A push is answered when all in-sync replicas have its record, and once the owner of its
//! partition shows it, or after two seconds. The producer gives a record up before the
//! request's own time is over, so whatever the answer says, nothing is written after it: 503
//! says that nobody knows whether the push counts, and that it may be sent again.
//!
//! Refusals are plain text: the Pushgateway's clients print the body as it is.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use k2p_core::compress::Encoding;
use k2p_core::envelope;
use k2p_push::GroupingKey;
use k2p_push::body::{Body, BodyError, read};
use k2p_push::record::{self, Headers, Op};
use k2p_push::ttl::{self, TtlRules};
use k2p_runtime::http::{BoxBody, BoxError, Query, empty, read_body, text};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::events::{record_id, request_id};
use super::shown::shown;
use super::{Exposer, admin, respond};
use crate::append::{Append, Appender, Place};

/// Pushes whose body is held at the same time; the others wait for their turn.
pub(super) const AT_ONCE: usize = 32;
/// How long they wait: the Pushgateway's clients do not try again.
const TURN: Duration = Duration::from_secs(5);
/// What a body may weigh as it comes: one record holds it (`message.max.bytes` is 16 MiB).
const MAX_BODY: usize = 15 << 20;
/// How long a request waits for Kafka; above [`PushSink::DELIVERY`].
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits, after that, until its record is shown.
const SHOWN: Duration = Duration::from_secs(2);

/// The results that `pushes_total` knows.
pub(super) const RESULTS: [&str; 6] = ["ok", "refused", "malformed", "too_large", "busy", "unacknowledged"];

/// Where pushes go.
pub struct PushSink {
    /// The producer, its records given up after [`PushSink::DELIVERY`].
    pub(crate) appender: Appender,
    /// The topics of pushes, the default one first.
    pub(crate) topics: Vec<Arc<str>>,
    /// When groups go that do not say it.
    pub(crate) ttl: TtlRules,
}

impl PushSink {
    /// How long the producer tries.
    pub(crate) const DELIVERY: Duration = Duration::from_secs(8);
}

/// Why a request is refused.
struct Refused {
    result: &'static str,
    status: StatusCode,
    why: String,
}

fn refused(result: &'static str, status: StatusCode, why: impl Into<String>) -> Refused {
    Refused { result, status, why: why.into() }
}

fn malformed(why: impl Into<String>) -> Refused {
    refused("malformed", StatusCode::BAD_REQUEST, why)
}

/// A push or a deletion. `path`: what follows `/metrics/`, percent-decoded.
pub(super) async fn answer<B>(exposer: &Exposer, parts: &Parts, path: &str, body: B) -> Response<BoxBody>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let Some(sink) = &exposer.state.pushes else {
        return respond::missing("route", "This bridge consumes no topic of pushes; configure one (kind: push).");
    };
    let taken = take(exposer, sink, parts, path, body).await;
    respond_to(exposer, taken)
}

fn respond_to(exposer: &Exposer, taken: Result<StatusCode, Refused>) -> Response<BoxBody> {
    let result = taken.as_ref().map_or_else(|refused| refused.result, |_| "ok");
    exposer.state.metrics.pushes.with_label_values(&[result]).inc();
    match taken {
        Ok(status) => {
            let mut response = Response::new(empty());
            *response.status_mut() = status;
            response
        }
        Err(Refused { status, why, .. }) => {
            let mut response = text(status, "text/plain; charset=utf-8", format!("{why}\n"));
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

async fn take<B>(exposer: &Exposer, sink: &PushSink, parts: &Parts, path: &str, body: B) -> Result<StatusCode, Refused>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let asked = Asked::read(sink, parts, path)?;
    if parts.method == Method::DELETE {
        let place = append(sink, &asked, record::headers(Op::Delete, None, None, None), &[]).await?;
        shown(exposer, &asked.topic, place, SHOWN).await;
        return Ok(StatusCode::ACCEPTED);
    }
    let permit = turn(exposer).await?;
    let body = read_body(body, MAX_BODY).await.map_err(|error| {
        let status = error.response().status();
        let result = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "malformed" };
        refused(result, status, error.to_string())
    })?;
    let place = push(exposer, sink, parts, &asked, body).await?;
    drop(permit);
    shown(exposer, &asked.topic, place, SHOWN).await;
    Ok(StatusCode::OK)
}

async fn turn(exposer: &Exposer) -> Result<SemaphorePermit<'_>, Refused> {
    let busy = || refused("busy", StatusCode::SERVICE_UNAVAILABLE, "other pushes are being taken; send it again");
    timeout(TURN, exposer.pushes.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
}

/// Checks a body and appends it; what cannot be taken is noted where the Pushgateway would.
async fn push(exposer: &Exposer, sink: &PushSink, parts: &Parts, asked: &Asked, body: Bytes) -> Result<Place, Refused> {
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (content_type, coded) = (header(CONTENT_TYPE), header(CONTENT_ENCODING).unwrap_or_default());
    let Some(encoding) = Encoding::from_header(coded) else {
        let why = "send the body plain, or compressed with gzip, zstd or snappy";
        return Err(refused("malformed", StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    };
    let checked = check(&asked.key, content_type, encoding, body.clone()).await?;
    if let Err(error) = checked {
        let why = error.to_string();
        if !error.is_recorded() {
            let result = if error.is_too_large() { "too_large" } else { "malformed" };
            let large = error.is_too_large();
            let status = if large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            return Err(refused(result, status, why));
        }
        let headers = record::headers(Op::Refuse, None, None, asked.ttl);
        // The client is told the same, noted or not.
        if let Ok(place) = append(sink, asked, headers, record::reason(&why)).await {
            shown(exposer, &asked.topic, place, SHOWN).await;
        }
        return Err(refused("refused", StatusCode::BAD_REQUEST, why));
    }
    let op = if parts.method == Method::PUT { Op::Put } else { Op::Post };
    let coded = (encoding != Encoding::Identity).then_some(encoding.as_str());
    let mut headers = record::headers(op, content_type, coded, asked.ttl);
    headers.extend(asked.id.iter().map(|id| (envelope::ID, id.as_bytes().to_vec())));
    append(sink, asked, headers, &body).await
}

/// Parsing may take a second: not on a thread that others wait for.
async fn check(
    key: &GroupingKey,
    content_type: Option<&str>,
    encoding: Encoding,
    bytes: Bytes,
) -> Result<Result<(), BodyError>, Refused> {
    let (key, content_type) = (key.clone(), content_type.map(str::to_owned));
    let checked = tokio::task::spawn_blocking(move || {
        read(&key, &Body { content_type: content_type.as_deref(), encoding, bytes: &bytes }).map(drop)
    });
    let failed = |_| refused("malformed", StatusCode::BAD_REQUEST, "reading the body made the program fail");
    checked.await.map_err(failed)
}

/// What a request asks for, but for its body.
struct Asked {
    topic: Arc<str>,
    key: GroupingKey,
    ttl: Option<i64>,
    /// The record's `k2p-id`.
    id: Option<String>,
}

impl Asked {
    fn read(sink: &PushSink, parts: &Parts, path: &str) -> Result<Asked, Refused> {
        let query = Query::parse(parts.uri.query().unwrap_or_default()).map_err(|e| malformed(e.to_string()))?;
        let named = query.get("topic");
        let topic = sink.topics.iter().find(|t| named.is_none_or(|name| ***t == *name)).cloned();
        let topic = topic.ok_or_else(|| malformed("the parameter topic names no topic of pushes"))?;
        let key = GroupingKey::from_path(path).map_err(|error| malformed(error.to_string()))?;
        let header = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}").to_owned());
        let said = header(record::TTL).or_else(|| query.get("ttl").map(str::to_owned));
        let ttl = said.map(|text| ttl::asked(&text)).transpose();
        let ttl = ttl.map_err(|why| malformed(format!("ttl: {why}")))?;
        let request = request_id(header(envelope::ID), header("idempotency-key")).map_err(malformed)?;
        let id = request.map(|request| record_id(&request, key.canonical(), 0));
        Ok(Asked { topic, ttl: sink.ttl.decide(key.job(), ttl), key, id })
    }
}

async fn append(sink: &PushSink, asked: &Asked, headers: Headers, value: &[u8]) -> Result<Place, Refused> {
    let to = (&*asked.topic, None);
    produce(sink, to, Some(asked.key.canonical().as_bytes()), &headers, value).await
}

/// Appends a record to a topic, and to a partition if one is named.
async fn produce(
    sink: &PushSink,
    (topic, partition): (&str, Option<i32>),
    key: Option<&[u8]>,
    headers: &Headers,
    value: &[u8],
) -> Result<Place, Refused> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_slice())).collect();
    let append = Append { topic, partition, key, value: Some(value), headers: &headers };
    let unknown = |why: String| {
        let why = format!("Kafka has not acknowledged it ({why}): it may count or not; send it again");
        refused("unacknowledged", StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let under_way = sink.appender.hand_over(&append).map_err(|error| {
        let why = format!("it was not written: {error}; send it again");
        refused("busy", StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    under_way.acknowledged_within(PATIENCE).await.map_err(unknown)
}

/// Removes a group, as its page does: answered when it is shown no more, or after two seconds.
pub(super) async fn remove(exposer: &Exposer, topic: &str, key: &GroupingKey) -> Result<(), Box<Response<BoxBody>>> {
    let sink = exposer.state.pushes.as_ref();
    let Some((sink, topic)) = sink.and_then(|s| Some((s, s.topics.iter().find(|t| ***t == *topic)?))) else {
        return Err(Box::new(respond::missing("topic", "This bridge consumes no such topic of pushes.")));
    };
    let headers = record::headers(Op::Delete, None, None, None);
    let removed = produce(sink, (topic, None), Some(key.canonical().as_bytes()), &headers, &[]).await;
    let place = removed.map_err(|Refused { why, .. }| Box::new(respond::unavailable("Not deleted", &why)))?;
    shown(exposer, topic, place, SHOWN).await;
    Ok(())
}

/// `PUT /api/v1/admin/wipe`: every group of every topic of pushes.
pub(super) async fn wipe(exposer: &Exposer, parts: &Parts) -> Response<BoxBody> {
    if let Err(refused) = admin::allowed(exposer) {
        return *refused;
    }
    let Some(sink) = &exposer.state.pushes else {
        return respond::missing("route", "This bridge consumes no topic of pushes; configure one (kind: push).");
    };
    let group = exposer.state.live.group();
    let known = group.partitions.keys().filter(|(topic, _)| sink.topics.contains(topic));
    let places: Vec<(Arc<str>, i32)> = known.cloned().collect();
    if !group.complete || places.is_empty() {
        return respond::unavailable("Not wiped", "The group's map is incomplete: nothing was done; try again.");
    }
    tracing::warn!(
        client = admin::client(parts),
        partitions = places.len(),
        "all pushed groups are wiped by the admin API"
    );
    let headers = record::headers(Op::Wipe, None, None, None);
    let wiped = places.iter().map(|(topic, partition)| {
        let headers = &headers;
        async move {
            let place = produce(sink, (topic, Some(*partition)), None, headers, &[]).await?;
            shown(exposer, topic, place, SHOWN).await;
            Ok(())
        }
    });
    let all: Result<Vec<()>, Refused> = join_all(wiped).await.into_iter().collect();
    respond_to(exposer, all.map(|_| StatusCode::ACCEPTED))
}
