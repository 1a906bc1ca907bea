//! The HTTP side as a client sees it: a bridge whose state is made by hand.
#![allow(clippy::unwrap_used, reason = "tests")]
mod group;
mod page;
mod routes;
mod scrapes;
mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, Response, StatusCode};
use k2p_core::codec::{self, Format, ParseOptions};
use k2p_core::labels::Labels;
use k2p_core::ownership;
use k2p_core::store::StoredDump;
use k2p_core::view::{Origin, PartitionView};
use k2p_runtime::http::client::{ClientConfig, HttpClient};
use k2p_runtime::http::{BoxBody, HttpLimits, serve, service};
use k2p_runtime::metrics::RuntimeMetrics;
use k2p_runtime::shutdown::Shutdown;
use prometheus::Registry;
use tokio::net::TcpListener;

use super::*;
use crate::live::{GroupMap, LivePartition, Marker, NewPartition, Ownership, Policy};

const NOW: i64 = 1_000_000;
const WALL: i64 = 1_700_000_000_000;
const TOPIC: &str = "k2p.metrics";
const A: &str = "cluster=\"acme\",instance=\"a:1\"";
const B: &str = "cluster=\"acme\",instance=\"b:1\"";

/// A bridge without a consumer.
struct Bridge {
    live: Arc<LivePartitions>,
    lease: Arc<AtomicI64>,
    healthy: Arc<AtomicBool>,
    registry: Registry,
    exposer: Arc<Exposer>,
}

impl Bridge {
    fn new() -> Bridge {
        Bridge::with(|_| ())
    }

    fn with(configure: impl FnOnce(&mut ExposeConfig)) -> Bridge {
        Bridge::with_logs(None, configure)
    }

    /// A bridge that reads a log store.
    fn with_logs(logs: Option<JobLogs>, configure: impl FnOnce(&mut ExposeConfig)) -> Bridge {
        let live = Arc::new(LivePartitions::default());
        live.add_topic(TOPIC.into(), Policy::Backpressure);
        live.set_joined(true);
        let clocks = Clocks { mono: || NOW, wall: || WALL };
        let registry = Registry::new();
        let metrics = ServerMetrics::new(&registry, live.clone(), clocks).unwrap();
        metrics.add_topic(TOPIC);
        let healthy = Arc::new(AtomicBool::new(true));
        let probe = healthy.clone();
        let drained = live.clone();
        let state = State {
            live: live.clone(),
            registry: registry.clone(),
            metrics,
            clocks,
            started: WALL - 90_000,
            events: None,
            eraser: None,
            pushes: None,
            logs,
            maskers: Arc::new(ArcSwap::from_pointee(
                Maskers::new(&Default::default(), &Default::default(), None).unwrap(),
            )),
            build: BuildInfo { version: "1.2.3".to_owned(), revision: "abc".to_owned() },
            client: HttpClient::new(&ClientConfig::default()).unwrap(),
            hooks: Hooks {
                reload: Arc::new(|| Box::pin(async { Err("line 3: no such key".to_owned()) })),
                drain: Arc::new(move || {
                    drained.set_draining();
                    Box::pin(async { Ok(()) })
                }),
                healthy: Arc::new(move || probe.load(Ordering::SeqCst)),
                kafka_up: Arc::new(|| true),
            },
        };
        let mut config = ExposeConfig {
            advertise_address: "self:1".to_owned(),
            external_address: Some("bridge:9527".to_owned()),
            default_timeout: Duration::from_millis(300),
            margin: Duration::ZERO,
            ..ExposeConfig::default()
        };
        configure(&mut config);
        let lease = Arc::new(AtomicI64::new(NOW + 10_000));
        let exposer = Exposer::new(config, Arc::new(state));
        Bridge { live, lease, healthy, registry, exposer }
    }

    /// A bridge that really listens, under the address that it advertises.
    async fn listening(configure: impl FnOnce(&mut ExposeConfig)) -> Bridge {
        Bridge::listening_with_logs(None, configure).await
    }

    async fn listening_with_logs(logs: Option<JobLogs>, configure: impl FnOnce(&mut ExposeConfig)) -> Bridge {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bridge = Bridge::with_logs(logs, |config| {
            config.advertise_address = address;
            configure(config);
        });
        let exposer = bridge.exposer.clone();
        let service = service(move |request| exposer.clone().handle(request));
        let http = RuntimeMetrics::new(&bridge.registry, "", "").unwrap().http;
        tokio::spawn(serve(listener, service, HttpLimits::default(), Shutdown::new(), http));
        bridge
    }

    fn address(&self) -> &str {
        &self.exposer.config.advertise_address
    }

    /// An assigned partition with these origins, not live yet.
    fn assign(&self, partition: i32, origins: &[(&str, Option<&str>)]) -> Arc<LivePartition> {
        let entry = self.live.insert(NewPartition {
            topic: TOPIC.into(),
            partition,
            lease_until: self.lease.clone(),
            queue_capacity: 1 << 20,
        });
        entry.view.store(Arc::new(view(partition, origins)));
        entry
    }

    /// The same, live.
    fn hold(&self, partition: i32, origins: &[(&str, Option<&str>)]) -> Arc<LivePartition> {
        let entry = self.assign(partition, origins);
        entry.set_state(ownership::State::Live);
        entry.set_live(true);
        entry
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[]).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        Answer::of(self.exposer.clone().handle(request(method, path, headers)).await).await
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<BoxBody> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(k2p_runtime::http::empty()).unwrap()
}

/// A whole response.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` if it was broken off.
    body: Option<Vec<u8>>,
}

impl Answer {
    async fn of(response: Response<BoxBody>) -> Answer {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok().map(|b| b.to_bytes().to_vec());
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap()).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body.as_deref().unwrap()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The sample lines that hold this text.
    fn lines(&self, part: &str) -> Vec<String> {
        let text = self.text();
        text.lines().filter(|l| l.contains(part) && !l.starts_with('#')).map(str::to_owned).collect()
    }
}

/// A view of these origins; `None`: stale.
fn view(partition: i32, origins: &[(&str, Option<&str>)]) -> PartitionView {
    let origins: Vec<Origin> = origins.iter().map(|(key, dump)| origin(key, *dump)).collect();
    let series = origins.iter().filter_map(|o| o.dump.as_ref()).map(|d| d.series() as u64).sum();
    PartitionView {
        topic: TOPIC.into(),
        partition,
        position: 7,
        origins: origins.into_iter().map(|o| (o.key.clone(), Arc::new(o))).collect(),
        series,
        bytes: 1000,
        quarantined: 0,
    }
}

fn origin(key: &str, dump: Option<&str>) -> Origin {
    let labels = Labels::parse(key).unwrap_or_else(|_| Labels::from_pairs([("instance", key)]).unwrap());
    let build = |text: &str| {
        let parsed = codec::parse(Format::Text, text.as_bytes(), &ParseOptions::default()).unwrap();
        Arc::new(StoredDump::build(&parsed, &labels, false, &Labels::default()))
    };
    Origin {
        key: key.into(),
        record_key: key.as_bytes().into(),
        labels: labels.clone(),
        dump: dump.map(build),
        dump_time: WALL - 12_000,
        seen: NOW,
        offset: 6,
        dump_bytes: 321,
        stamp: false,
        last_refusal: None,
    }
}

/// A complete map: partition, owner or released.
fn map(partitions: &[(i32, Option<&str>)]) -> GroupMap {
    let entry = |(partition, owner): &(i32, Option<&str>)| {
        let marker = if owner.is_some() { Marker::Held } else { Marker::Released };
        let owner = owner.map(Arc::from);
        ((TOPIC.into(), *partition), Ownership { marker, owner, since: 0 })
    };
    GroupMap { complete: true, partitions: partitions.iter().map(entry).collect() }
}
