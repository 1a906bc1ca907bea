//! `POST /api/v1/events`: events by HTTP, for emitters without a Kafka client.
//!
//! Answered 200 only when Kafka has acknowledged every record that was made of them. A
//! client that names its request (`k2p-id: INCARNATION;SEQUENCE`, or `Idempotency-Key`)
//! may repeat it after any other answer: it counts once.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::compress::{DecompressError, Encoding, decompress_measured};
use k2p_core::envelope;
use k2p_pipelines::event::{EventLimits, ParsedEvents, parse_record};
use k2p_runtime::http::{BoxBody, BoxError, Query, json, problem, read_body, text};
use serde::Serialize;

use super::{Exposer, respond};
use crate::append::{Append, Appender};

/// What a request may weigh as it comes, and decompressed.
const MAX_BODY: usize = 16 << 20;
const MAX_PLAIN: usize = 16 << 20;
/// Lines of one key go into one record up to this size, below brokers' usual 1 MiB.
const RECORD_BYTES: usize = 768 << 10;
/// Rejections that an answer names.
const NAMED: usize = 100;
/// How long Kafka has to acknowledge.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where posted events go.
pub struct EventSink {
    /// The producer.
    pub(crate) appender: Appender,
    /// The topics of events, the default one first.
    pub(crate) topics: Vec<Arc<str>>,
    /// What a line may hold.
    pub(crate) limits: EventLimits,
}

#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Answer {
    /// Events that Kafka has acknowledged.
    accepted: usize,
    /// Lines that are none.
    rejected: usize,
    /// The first of them.
    rejections: Vec<Rejected>,
}

#[derive(Serialize, schemars::JsonSchema)]
struct Rejected {
    /// 1-based.
    line: u32,
    reason: &'static str,
    detail: String,
}

/// A record to be made.
struct Ready {
    key: Box<str>,
    value: Vec<u8>,
    id: Option<String>,
}

pub(super) async fn answer<B>(exposer: &Exposer, parts: &Parts, body: B) -> Response<BoxBody>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = post(exposer, parts, body).await;
    let code = response.status();
    exposer.state.metrics.event_posts.with_label_values(&[code.as_str()]).inc();
    response
}

async fn post<B>(exposer: &Exposer, parts: &Parts, body: B) -> Response<BoxBody>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let Some(sink) = &exposer.state.events else {
        let detail = "This bridge consumes no topic of events; configure one (kind: events).";
        return respond::missing("route", detail);
    };
    let topic = match topic(sink, parts) {
        Ok(topic) => topic,
        Err(response) => return *response,
    };
    // Each holds a body: bounded like scrapes.
    let Ok(_permit) = exposer.posts.try_acquire() else {
        return respond::unavailable("Too many posts", "Other requests are being taken; send it again.");
    };
    let body = match read_body(body, MAX_BODY).await {
        Ok(body) => body,
        Err(error) => return error.response(),
    };
    let header = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}").to_owned());
    let request = match request_id(header(envelope::ID), header("idempotency-key")) {
        Ok(id) => id,
        Err(detail) => return respond::bad_request(&detail),
    };
    let kind = header("k2p-kind");
    let (headers, limits, named) = (parts.headers.clone(), sink.limits.clone(), kind.clone());
    // A body of megabytes would keep the other requests of its thread waiting.
    let read = tokio::task::spawn_blocking(move || {
        let plain = plain(&headers, &body)?;
        let mut parsed = ParsedEvents::default();
        parse_record(&plain, None, named.as_deref(), &limits, &mut parsed);
        let records = records(&plain, &parsed, request.as_ref());
        Ok((parsed, records, request.is_some()))
    });
    let (parsed, records, is_named) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err::<_, Box<Response<BoxBody>>>(response)) => return *response,
        Err(_) => return respond::unavailable("Not read", "The body could not be read; see the bridge's log."),
    };
    let lines = &exposer.state.metrics.event_post_lines;
    if let Err(why) = append(sink, &topic, kind.as_deref(), &records).await {
        let named = if is_named { "it counts once." } else { "name it (k2p-id) so that it counts once." };
        let detail = format!("Not every event is known to be in Kafka: {why}. Send the request again; {named}");
        return respond::unavailable("Not acknowledged", &detail);
    }
    lines.with_label_values(&["accepted"]).inc_by(parsed.events.len() as u64);
    lines.with_label_values(&["rejected"]).inc_by(parsed.rejections.len() as u64);
    let nothing = parsed.events.is_empty() && !parsed.rejections.is_empty();
    let said = said(&parsed);
    if nothing { none_accepted(&said) } else { json(StatusCode::OK, &said) }
}

/// A problem with the answer's members beside its own (RFC 9457, extension members).
fn none_accepted(said: &Answer) -> Response<BoxBody> {
    let mut body = serde_json::json!(said);
    body["type"] = "about:blank".into();
    body["title"] = "No event".into();
    body["status"] = 400.into();
    body["detail"] = "No line is an event; `rejections` says why, line by line.".into();
    text(StatusCode::BAD_REQUEST, "application/problem+json", body.to_string())
}

fn said(parsed: &ParsedEvents) -> Answer {
    let rejected = |r: &k2p_pipelines::event::Rejection| Rejected {
        line: r.line,
        reason: r.reason.as_str(),
        detail: r.detail.to_string(),
    };
    Answer {
        accepted: parsed.events.len(),
        rejected: parsed.rejections.len(),
        rejections: parsed.rejections.iter().take(NAMED).map(rejected).collect(),
    }
}

fn topic(sink: &EventSink, parts: &Parts) -> Result<Arc<str>, Box<Response<BoxBody>>> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let query = query.map_err(|error| Box::new(respond::bad_request(&error.to_string())))?;
    let named = query.get("topic");
    let found = sink.topics.iter().find(|t| named.is_none_or(|name| ***t == *name));
    let unknown = || Box::new(respond::missing("topic", "The parameter topic names no topic of events."));
    found.cloned().ok_or_else(unknown)
}

fn plain(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Box<Response<BoxBody>>> {
    let unsupported =
        |detail: &str| Box::new(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail, None));
    let header = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let kind = header(CONTENT_TYPE).map_or("", |t| t.split(';').next().unwrap_or_default().trim());
    let known =
        ["", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "text/plain"];
    if !known.iter().any(|k| kind.eq_ignore_ascii_case(k)) {
        return Err(unsupported("Send one JSON object a line as application/x-ndjson."));
    }
    let Some(encoding) = Encoding::from_header(header(CONTENT_ENCODING).unwrap_or_default()) else {
        return Err(unsupported("Send it plain, or compressed with gzip, zstd or snappy."));
    };
    match decompress_measured(encoding, body, MAX_PLAIN) {
        Ok(Cow::Borrowed(_)) => Ok(body.clone()),
        Ok(Cow::Owned(plain)) => Ok(plain.into()),
        Err(DecompressError::TooLarge { limit }) => {
            let detail = format!("More than {limit} bytes decompressed. Send less at once.");
            Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", &detail, None)))
        }
        Err(error) => Err(Box::new(respond::bad_request(&format!("The body cannot be decompressed: {error}.")))),
    }
}

/// The client's name of its request, and its place among the client's requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    name: String,
    sequence: u64,
}

pub(super) fn request_id(id: Option<String>, key: Option<String>) -> Result<Option<RequestId>, String> {
    if let Some(id) = id {
        let read = id.rsplit_once(';').and_then(|(name, n)| Some((name, n.trim().parse().ok()?)));
        let Some((name, sequence)) = read.filter(|(name, _)| !name.is_empty() && !name.contains('\u{fffd}')) else {
            return Err("The header k2p-id must be INCARNATION;SEQUENCE, e.g. \"pod-7-1732190400;42\".".to_owned());
        };
        return Ok(Some(RequestId { name: format!("id {name}"), sequence }));
    }
    match key {
        Some(key) if key.is_empty() || key.len() > 1024 || key.contains('\u{fffd}') => {
            Err("The header Idempotency-Key must be 1 to 1024 characters of ASCII.".to_owned())
        }
        Some(key) => Ok(Some(RequestId { name: format!("key {key}"), sequence: 0 })),
        None => Ok(None),
    }
}

/// The good lines by key, each key's in their order; the same for the same body.
fn records(plain: &[u8], parsed: &ParsedEvents, request: Option<&RequestId>) -> Vec<Ready> {
    let lines: Vec<&[u8]> = plain.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    let mut open: BTreeMap<Box<str>, (u64, Vec<u8>)> = BTreeMap::new();
    let mut ready = Vec::new();
    let finish = |key: &str, number: u64, value: Vec<u8>| Ready {
        key: key.into(),
        value,
        id: request.map(|r| record_id(r, key, number)),
    };
    for (number, event) in &parsed.events {
        let Some(line) = usize::try_from(*number).ok().and_then(|n| lines.get(n.checked_sub(1)?)) else { continue };
        let key: Box<str> = event.subject().value().into();
        let (chunk, value) = open.entry(key.clone()).or_default();
        if !value.is_empty() && value.len() + line.len() >= RECORD_BYTES {
            ready.push(finish(&key, *chunk, std::mem::take(value)));
            *chunk += 1;
        }
        value.extend_from_slice(line);
        value.push(b'\n');
    }
    ready.extend(open.into_iter().map(|(key, (chunk, value))| finish(&key, chunk, value)));
    ready
}

/// The records of one request must differ, also where two keys share a partition; and the
/// same request makes the same ones.
pub(super) fn record_id(request: &RequestId, key: &str, number: u64) -> String {
    let half = |seed: u8| {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for part in [&[seed][..], request.name.as_bytes(), key.as_bytes(), &number.to_be_bytes()[..]] {
            hash.write(&(part.len() as u64).to_be_bytes());
            hash.write(part);
        }
        hash.finish()
    };
    format!("http-{:016x}{:016x};{}", half(1), half(2), request.sequence)
}

/// FNV-1a: the same in every process, unlike the standard library's.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Appends all; an error says why not all are known to be there.
async fn append(sink: &EventSink, topic: &str, kind: Option<&str>, records: &[Ready]) -> Result<(), String> {
    let mut under_way = Vec::with_capacity(records.len());
    for record in records {
        let mut headers: Vec<(&str, &[u8])> = vec![(envelope::CONTENT_TYPE, b"application/x-ndjson")];
        headers.extend(record.id.as_ref().map(|id| (envelope::ID, id.as_bytes())));
        headers.extend(kind.map(|kind| ("k2p-kind", kind.as_bytes())));
        let append = Append {
            topic,
            partition: None,
            key: Some(record.key.as_bytes()),
            value: Some(&record.value),
            headers: &headers,
        };
        under_way.push(sink.appender.hand_over(&append).map_err(|error| error.to_string())?);
    }
    let all = async {
        for record in under_way {
            record.acknowledged().await?;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| Err("Kafka does not answer in time".to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> ParsedEvents {
        let mut parsed = ParsedEvents::default();
        parse_record(text.as_bytes(), None, None, &EventLimits::default(), &mut parsed);
        parsed
    }

    fn line(pipeline: &str, message: &str) -> String {
        format!(
            "{{\"timestamp\":1732190400,\"pipeline_id\":\"{pipeline}\",\"level\":\"INFO\",\"message\":\"{message}\"}}\n"
        )
    }

    #[test]
    fn lines_go_to_the_record_of_their_key_in_their_order() {
        let text = [line("b", "1"), "nonsense\n".to_owned(), line("a", "2"), "\n".to_owned(), line("b", "3")].concat();
        let parsed = parse(&text);
        assert_eq!((parsed.events.len(), parsed.rejections.len()), (3, 1));
        let made = records(text.as_bytes(), &parsed, None);
        let texts: Vec<(&str, String)> =
            made.iter().map(|r| (&*r.key, String::from_utf8(r.value.clone()).unwrap())).collect();
        assert_eq!(texts, [("a", line("a", "2")), ("b", line("b", "1") + &line("b", "3"))]);
        assert!(made.iter().all(|r| r.id.is_none()));
    }

    #[test]
    fn a_repeated_request_makes_the_same_ids_and_no_two_records_share_one() {
        let long = "x".repeat(200 << 10);
        let text: String = ["a", "b", "a", "a", "a"].iter().map(|p| line(p, &long)).collect();
        let parsed = parse(&text);
        let ids = |name: &str, sequence| -> Vec<String> {
            let request = RequestId { name: name.to_owned(), sequence };
            records(text.as_bytes(), &parsed, Some(&request)).into_iter().map(|r| r.id.unwrap()).collect()
        };
        let first = ids("id pod", 7);
        assert_eq!(first, ids("id pod", 7));
        assert_eq!(first.len(), 3, "two records of a, one of b");
        let distinct: std::collections::BTreeSet<_> =
            [ids("id pod", 7), ids("id pod", 8), ids("key pod", 7)].concat().into_iter().collect();
        assert_eq!(distinct.len(), 9);
        assert!(first.iter().all(|id| id.ends_with(";7")));
    }

    #[test]
    fn a_request_is_named_by_either_header() {
        let named = |id: Option<&str>, key: Option<&str>| request_id(id.map(str::to_owned), key.map(str::to_owned));
        let id = |name: &str, sequence| Ok(Some(RequestId { name: name.to_owned(), sequence }));
        assert_eq!(named(None, None), Ok(None));
        assert_eq!(named(Some("pod;42"), Some("other")), id("id pod", 42));
        assert_eq!(named(None, Some("k")), id("key k", 0));
        for bad in ["", "pod", ";1", "pod;x", "pod;-1"] {
            assert!(named(Some(bad), None).is_err(), "{bad}");
        }
        assert!(named(None, Some("")).is_err());
    }

    #[test]
    fn bodies_are_plain_or_compressed_lines() {
        let plain_of = |kind: &str, encoding: &str, body: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            plain(&headers, &Bytes::copy_from_slice(body)).map_err(|response| response.status().as_u16())
        };
        let packed = |encoding| k2p_core::compress::compress(encoding, b"{}").unwrap();
        assert_eq!(plain_of("application/x-ndjson", "", b"{}"), Ok(Bytes::from_static(b"{}")));
        assert_eq!(
            plain_of("application/json; charset=utf-8", "gzip", &packed(Encoding::Gzip)),
            Ok(Bytes::from_static(b"{}"))
        );
        assert_eq!(plain_of("", "zstd", &packed(Encoding::Zstd)), Ok(Bytes::from_static(b"{}")));
        assert_eq!(plain_of("application/x-ndjson", "gzip", b"{}"), Err(400));
        assert_eq!(plain_of("application/x-ndjson", "br", b"{}"), Err(415));
        assert_eq!(plain_of("application/x-protobuf", "", b"{}"), Err(415));
        let bomb = k2p_core::compress::compress(Encoding::Gzip, &vec![b' '; MAX_PLAIN + 1]).unwrap();
        assert_eq!(plain_of("", "gzip", &bomb), Err(413));
    }
}
