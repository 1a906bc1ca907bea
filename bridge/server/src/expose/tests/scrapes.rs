//! What scrapes of one bridge show.
use std::io::Read;

use k2p_runtime::metrics::Catalogue;

use super::*;
use crate::metrics::SERVER_METRICS;

#[tokio::test]
async fn metrics_merges_origins_and_its_own() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("# TYPE up gauge\nup 1\n"))]);
    bridge.hold(1, &[(B, Some("# TYPE up gauge\nup 0\n"))]);
    let answer = bridge.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
    let up = ["up{cluster=\"acme\",instance=\"a:1\"} 1", "up{cluster=\"acme\",instance=\"b:1\"} 0"];
    assert_eq!(answer.lines("up{cl").into_iter().filter(|l| l.starts_with("up")).collect::<Vec<_>>(), up);
    assert_eq!(answer.text().matches("# TYPE up gauge").count(), 1);
    let origin_up = answer.lines("kafka2prom_origin_up");
    assert_eq!(origin_up[0], "kafka2prom_origin_up{cluster=\"acme\",instance=\"a:1\"} 1");
    assert_eq!(answer.lines("kafka2prom_series{topic"), ["kafka2prom_series{topic=\"k2p.metrics\"} 2"]);
}

#[tokio::test]
async fn formats_and_codings_are_negotiated() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("# TYPE c_total counter\nc_total 1\n"))]);
    let plain = bridge.get("/partitions/k2p.metrics/0/metrics").await.body.unwrap();
    let coded = async |coding: &str| {
        let headers = [("accept-encoding", coding)];
        let answer = bridge.send("GET", "/partitions/k2p.metrics/0/metrics", &headers).await;
        (answer.header("content-encoding").to_owned(), answer.body.unwrap())
    };
    let (name, body) = coded("gzip").await;
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text).unwrap();
    assert_eq!((name.as_str(), &text), ("gzip", &plain));
    let (name, body) = coded("gzip, zstd").await;
    assert_eq!((name.as_str(), zstd::decode_all(&body[..]).unwrap()), ("zstd", plain.clone()));
    assert_eq!(coded("br").await, (String::new(), plain));
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let answer = bridge.send("GET", "/metrics", &accept).await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let text = answer.text();
    assert!(text.contains("# TYPE c counter\n") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn a_large_exposition_comes_whole_in_every_coding() {
    let bridge = Bridge::new();
    let dump: String = (0..20_000).map(|i| format!("load{{i=\"{i}\"}} {i}\n")).collect();
    bridge.hold(0, &[(A, Some(&dump))]);
    for coding in ["identity", "gzip", "zstd"] {
        let headers = [("accept-encoding", coding)];
        let answer = bridge.send("GET", "/partitions/k2p.metrics/0/metrics", &headers).await;
        let body = answer.body.unwrap();
        let text = match coding {
            "gzip" => {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
                text
            }
            "zstd" => String::from_utf8(zstd::decode_all(&body[..]).unwrap()).unwrap(),
            _ => String::from_utf8(body).unwrap(),
        };
        assert_eq!(text.lines().filter(|l| l.starts_with("load{")).count(), 20_000, "{coding}");
    }
}

#[tokio::test]
async fn selectors_choose_origins_and_leave_out_its_own() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("up 1\n")), (B, Some("up 1\n"))]);
    let lines = async |query: &str| bridge.get(&format!("/metrics?{query}")).await.lines("up");
    let a = "up{cluster=\"acme\",instance=\"a:1\"} 1";
    let b = "up{cluster=\"acme\",instance=\"b:1\"} 1";
    assert_eq!(lines("origin=%7Binstance%3D%22a:1%22%7D").await, [a]);
    assert_eq!(lines("origin=instance%3D~%22b.*%22").await, [b]);
    assert_eq!(lines("origin=instance%3D%22a:1%22&origin=instance%3D%22b:1%22").await, [a, b]);
    assert_eq!(lines("origin=instance%3D%22c:1%22").await, [] as [&str; 0]);
}

#[tokio::test]
async fn its_own_metrics_stand_alone_and_keep_the_catalogue() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("up 1\n")), (B, None)]);
    let answer = bridge.get("/metrics/self").await;
    assert_eq!(answer.lines("up{").len(), 2, "only kafka2prom_origin_up");
    assert!(answer.text().lines().all(|l| l.starts_with('#') || l.starts_with("kafka2prom_")));
    let state = "kafka2prom_partition_state{topic=\"k2p.metrics\",partition=\"0\",state=\"live\"} 1";
    let unordered = answer.lines("state=\"live\"");
    assert_eq!(unordered.len(), 1);
    assert!(unordered[0].ends_with(" 1") && state.len() == unordered[0].len(), "{unordered:?}");
    let series = answer.lines("kafka2prom_origin_series");
    assert_eq!(series[1], "kafka2prom_origin_series{cluster=\"acme\",instance=\"b:1\"} 0");
    let last = answer.lines("kafka2prom_origin_last_dump_timestamp_seconds");
    assert!(last[1].ends_with(" 1699999988"), "{last:?}");
    let catalogue = Catalogue(vec![SERVER_METRICS]);
    assert_eq!(catalogue.lint(), [] as [&str; 0]);
    assert_eq!(catalogue.check(&bridge.registry), [] as [&str; 0]);
}

#[tokio::test]
async fn reasons_exist_before_their_first_event() {
    let bridge = Bridge::new();
    let answer = bridge.get("/metrics/self").await;
    for name in ["records_rejected_total", "samples_rejected_total", "records_dropped_total"] {
        let lines = answer.lines(name);
        assert!(lines.len() > 3 && lines.iter().all(|l| l.ends_with(" 0")), "{lines:?}");
    }
}

#[tokio::test]
async fn a_lapsed_lease_hides_partitions_and_keeps_its_own_metrics() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("up 1\n"))]);
    assert_eq!(bridge.get("/metrics").await.lines("instance=\"a:1\"").len(), 5);
    bridge.lease.store(NOW, Ordering::SeqCst);
    let answer = bridge.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.lines("instance=\"a:1\""), [] as [&str; 0]);
    assert!(!answer.lines("kafka2prom_lease_remaining_seconds").is_empty());
    let answer = bridge.get("/partitions/k2p.metrics/0/metrics").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(bridge.get("/internal/v1/origins").await.json()["origins"], serde_json::json!([]));
}

#[tokio::test]
async fn conflicts_are_counted_and_shown() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("# TYPE x gauge\nx 1\n")), (B, Some("# TYPE x counter\nx 1\n"))]);
    bridge.get("/metrics").await;
    let count = bridge.get("/metrics/self").await.lines("family_conflicts{kind=\"type\"}");
    assert_eq!(count, ["kafka2prom_family_conflicts{kind=\"type\"} 1"]);
    assert!(bridge.get("/").await.text().contains("Conflicts between origins"));
    assert_eq!(bridge.get("/api/v1/status").await.json()["conflicts"][0]["family"], "x");
}

#[tokio::test]
async fn too_many_scrapes_are_refused_and_counted() {
    let bridge = Bridge::with(|config| config.max_scrapes = 1);
    let dump: String = (0..50_000).map(|i| format!("load{{i=\"{i}\"}} {i}\n")).collect();
    bridge.hold(0, &[(A, Some(&dump))]);
    // Its body is not read: it keeps its place.
    let slow = bridge.exposer.clone().handle(request("GET", "/metrics", &[])).await;
    let refused = bridge.get("/metrics").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    assert_eq!(bridge.get("/metrics/self").await.status, 503);
    assert_eq!(bridge.get("/-/ready").await.status, 200, "management is no scrape");
    drop(slow);
    let metrics = &bridge.exposer.state.metrics;
    while bridge.exposer.scrapes.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    let answer = bridge.get("/metrics/self").await;
    let refused = "kafka2prom_scrapes_total{code=\"503\",route=\"metrics\"} 1";
    assert_eq!(answer.lines("code=\"503\",route=\"metrics\""), [refused]);
    assert_eq!(metrics.scrapes_aborted.with_label_values(&["metrics"]).get(), 1);
}

#[tokio::test]
async fn a_slow_reader_neither_delays_eviction_nor_sees_it() {
    let bridge = Bridge::new();
    let dump: String = (0..50_000).map(|i| format!("load{{i=\"{i}\"}} {i}\n")).collect();
    bridge.hold(0, &[(A, Some(&dump))]);
    let slow = bridge.exposer.clone().handle(request("GET", "/metrics", &[])).await;
    bridge.live.evict(&bridge.live.get(TOPIC, 0).unwrap());
    assert_eq!(bridge.get("/metrics").await.lines("load{"), [] as [&str; 0]);
    assert_eq!(Answer::of(slow).await.lines("load{").len(), 50_000);
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_broken_off_and_never_looks_whole() {
    let bridge = Bridge::with(|config| config.send_timeout = Duration::from_millis(50));
    let dump: String = (0..50_000).map(|i| format!("load{{i=\"{i}\"}} {i}\n")).collect();
    bridge.hold(0, &[(A, Some(&dump))]);
    let slow = bridge.exposer.clone().handle(request("GET", "/metrics", &[])).await;
    let metrics = &bridge.exposer.state.metrics;
    while metrics.scrapes_in_flight.get() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(Answer::of(slow).await.body.is_none());
}
