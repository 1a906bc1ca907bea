//! The S3 protocol as the store speaks it, by this program's HTTP client: against a small server
//! that knows just enough of it, and can be away.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use k2p_logs::objects::{Objects, Timing};
use k2p_logs::{Entry, LogReader, LogStore, Query, ReadConfig, Refused, StoreConfig};
use k2p_runtime::http::{BoxBody, HttpLimits, decode_path_segment, serve, service, text};
use k2p_runtime::metrics::RuntimeMetrics;
use k2p_runtime::shutdown::Shutdown;
use prometheus::Registry;
use support::{Made, NOON, metrics};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A bucket named `bucket`.
#[derive(Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Bucket {
    async fn answer(self: Arc<Bucket>, request: Request<Incoming>) -> Response<BoxBody> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let header =
            |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let (signed, create) = (header("authorization"), header("if-none-match"));
        if self.away.load(Ordering::SeqCst) || !signed.starts_with("AWS4-HMAC-SHA256 Credential=id/") {
            return say(StatusCode::SERVICE_UNAVAILABLE, "");
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let key = decode_path_segment(uri.path().strip_prefix("/bucket").unwrap()).unwrap();
        let key = key.trim_start_matches('/').to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes().to_vec();
        let mut objects = self.objects.lock().unwrap();
        match method {
            Method::PUT if create != "*" => say(StatusCode::BAD_REQUEST, "only new objects are written"),
            Method::PUT if objects.contains_key(&key) => say(StatusCode::PRECONDITION_FAILED, ""),
            Method::PUT => {
                objects.insert(key, body);
                say(StatusCode::OK, "")
            }
            Method::GET if key.is_empty() => say(StatusCode::OK, &list(&objects, uri.query().unwrap_or_default())),
            Method::GET => match objects.get(&key) {
                Some(bytes) => bytes_of(bytes),
                None => say(StatusCode::NOT_FOUND, ""),
            },
            // Many at once: the keys stand in the body.
            Method::POST => {
                let body = String::from_utf8(body).unwrap();
                let keys = body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap());
                let deleted: String = keys
                    .map(|key| {
                        objects.remove(key).unwrap();
                        format!("<Deleted><Key>{key}</Key></Deleted>")
                    })
                    .collect();
                say(StatusCode::OK, &format!("<DeleteResult>{deleted}</DeleteResult>"))
            }
            _ => say(StatusCode::METHOD_NOT_ALLOWED, ""),
        }
    }
}

fn say(status: StatusCode, body: &str) -> Response<BoxBody> {
    let mut response = text(status, "application/xml", body.to_owned());
    response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
    response
}

fn bytes_of(bytes: &[u8]) -> Response<BoxBody> {
    let mut response = text(StatusCode::OK, "application/octet-stream", bytes.to_vec());
    response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
    response.headers_mut().insert("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT".parse().unwrap());
    response
}

fn list(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let query = k2p_runtime::http::Query::parse(query).unwrap();
    let (prefix, delimiter) = (query.get("prefix").unwrap_or_default(), query.get("delimiter").unwrap_or_default());
    let (mut below, mut contents) = (std::collections::BTreeSet::new(), String::new());
    for (key, bytes) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        match key[prefix.len()..].split_once('/') {
            Some((next, _)) if !delimiter.is_empty() => drop(below.insert(format!("{prefix}{next}/"))),
            _ => contents.push_str(&format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-11-21T12:00:00.000Z</LastModified><ETag>\"1\"</ETag></Contents>",
                bytes.len()
            )),
        }
    }
    let below: String =
        below.iter().map(|p| format!("<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>")).collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{below}</ListBucketResult>")
}

struct Bed {
    bucket: Arc<Bucket>,
    objects: Objects,
    _runtime: Runtime,
}

fn bed() -> Bed {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bucket = Arc::new(Bucket::default());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answering = bucket.clone();
    let answer = service(move |request| answering.clone().answer(request));
    let counts = RuntimeMetrics::new(&Registry::new(), "0", "").unwrap().http;
    runtime.spawn(serve(listener, answer, HttpLimits::default(), Shutdown::new(), counts));
    let options = [
        ("aws_endpoint", endpoint.as_str()),
        ("aws_allow_http", "true"),
        ("aws_region", "somewhere"),
        ("aws_access_key_id", "id"),
        ("aws_secret_access_key", "secret"),
    ];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let objects = Objects::open("s3://bucket/logs/of us", &options, runtime.handle().clone()).unwrap();
    Bed { bucket, objects, _runtime: runtime }
}

fn made(numbers: std::ops::Range<i64>) -> Vec<Made> {
    numbers.map(|i| Made::new("run/ä", 0, i, NOON + i)).collect()
}

fn append(store: &LogStore, made: &[Made]) -> k2p_logs::Appended {
    let entries: Vec<Entry<'_>> = made.iter().map(Made::entry).collect();
    store.append(&entries, NOON)
}

fn told(bed: &Bed) -> Vec<String> {
    let reader = LogReader::open_objects(bed.objects.clone(), ReadConfig::default(), metrics());
    let page = reader.read("run/ä", &Query { limit: 10_000, ..Query::default() }).unwrap();
    page.entries.into_iter().map(|entry| entry.source).collect()
}

#[test]
fn segments_are_written_listed_read_and_removed() {
    let bed = bed();
    let store = |config| LogStore::open_objects(bed.objects.clone(), config, Timing::default(), metrics()).unwrap();
    let first = store(StoreConfig::default());
    append(&first, &made(0..100));
    first.sync().unwrap();
    // A replay by another one.
    let second = store(StoreConfig::default());
    append(&second, &made(50..150));
    second.sync().unwrap();
    assert_eq!(told(&bed), made(0..150).iter().map(Made::name).collect::<Vec<_>>());
    assert_eq!(bed.bucket.objects.lock().unwrap().len(), 2);
    let done = second.maintain(NOON + 3 * support::DAY).unwrap();
    assert_eq!((done.packed, bed.bucket.objects.lock().unwrap().len()), (1, 1));
    assert_eq!(told(&bed).len(), 150);
    let reader = LogReader::open_objects(bed.objects.clone(), ReadConfig::default(), metrics());
    let jobs = reader.jobs(None, 10).unwrap().jobs;
    assert_eq!((jobs.len(), jobs[0].job_run_id.as_str(), jobs[0].entries), (1, "run/ä", 150));
    assert_eq!(second.maintain(NOON + 40 * support::DAY).unwrap().removed, 1);
    assert!(told(&bed).is_empty());
}

#[test]
fn a_store_that_is_away_is_said_to_be_and_gets_everything_that_found_room() {
    let bed = bed();
    let registry = Registry::new();
    let metrics = k2p_logs::LogMetrics::new(&registry).unwrap();
    let value = |name: &str| {
        let families = registry.gather();
        let metric = families.iter().find(|f| f.name() == name).unwrap().get_metric()[0].clone();
        metric.get_gauge().get_value()
    };
    let timing = Timing { flush: Duration::from_millis(200), buffer_bytes: 20_000 };
    let store = LogStore::open_objects(bed.objects.clone(), StoreConfig::default(), timing, metrics).unwrap();
    append(&store, &made(0..20));
    store.sync().unwrap();
    bed.bucket.away.store(true, Ordering::SeqCst);
    assert_eq!(append(&store, &made(20..40)).waiting, 20);
    let why = store.sync().unwrap_err().to_string();
    assert!(why.contains("s3://bucket/logs/of us") && !why.contains("secret"), "{why}");
    assert!(value("kafka2prom_logs_writable") < 0.5 && value("kafka2prom_logs_buffer_bytes") > 1000.0);
    // Nobody waits any more, and what finds no room is counted.
    let appended = append(&store, &made(40..500));
    assert!(appended.waiting > 20 && appended.refused_for(Refused::Away) > 100, "{appended:?}");
    assert_eq!(appended.waiting + appended.refused_for(Refused::Away), 460);
    assert!(store.sync().is_err());
    assert!(value("kafka2prom_logs_buffer_bytes") <= 21_000.0);
    bed.bucket.away.store(false, Ordering::SeqCst);
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while value("kafka2prom_logs_writable") < 0.5 || value("kafka2prom_logs_buffer_bytes") > 0.0 {
        assert!(std::time::Instant::now() < end, "it does not recover");
        std::thread::sleep(Duration::from_millis(10));
    }
    let kept = i64::try_from(appended.waiting).unwrap();
    let later = made(500..520);
    append(&store, &later);
    store.sync().unwrap();
    let expected = [made(0..40 + kept), later].concat();
    assert_eq!(told(&bed), expected.iter().map(Made::name).collect::<Vec<_>>());
    assert!(bed.bucket.asked.load(Ordering::SeqCst) < 200, "a store that is away is left in peace");
}
