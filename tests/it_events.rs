//! Events through real Kafka: what bridges show, through kills and handovers, is what an
//! independent reference computes from the log.
use crate::events::bed::{Bed, LONG, Watcher, differences, kill, samples, send, together};
use crate::events::stream::{self, Shape};
use crate::faults::service::Balancer;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::parts::Generation;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::{self, Service};
use crate::support::prometheus::Prometheus;
use crate::support::skip::require;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs as a bridge lists them: `pipeline run` and what the reference says of it.
fn runs(bridge: &Service) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    loop {
        let answer = bridge.get(&format!("/api/v1/runs?limit=1000&offset={}", found.len()))?;
        if answer.status != 200 {
            return Err(answer.text());
        }
        let page = answer.json();
        for run in page["runs"].as_array().unwrap() {
            let attempts: Vec<String> = run["attempts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| {
                    let status = a["status"].as_str().unwrap();
                    let ended = ["SUCCEEDED", "FAILED", "PARTIAL"].contains(&status);
                    format!("{}:{}", a["retry_count"], if ended { status } else { "-" })
                })
                .collect();
            let name = format!("{} {}", run["pipeline_id"].as_str().unwrap(), run["run_id"].as_str().unwrap());
            let missed = u8::from(run["sla_missed"].as_bool().unwrap());
            found.insert(name, format!("{} {missed} {}", run["status"].as_str().unwrap(), attempts.join(",")));
        }
        if page["has_more"] != true {
            return Ok(found);
        }
    }
}

/// The events of the stream: `K2P_LONG=1` for the long tier.
fn events() -> usize {
    if std::env::var("K2P_LONG").is_ok_and(|v| v == "1") { 1_000_000 } else { 100_000 }
}

#[test]
fn counters_histograms_and_runs_equal_the_reference_through_kills() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let service = Balancer::start();
    let bed = Bed::new(kafka, 3);
    let flags = ["--web.external-address", service.address()];
    let bridge = || bed.bridge(3000, &flags);
    let serve = |bridges: &[&Service]| service.set(bridges.iter().map(|b| b.listen().to_owned()).collect());
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n- job_name: events\n  honor_labels: true\n  \
         http_sd_configs: [{{url: \"http://{}/sd?by=partition\", refresh_interval: 2s}}]\n",
        service.address()
    );
    let watcher = Watcher::start();
    let mut bridges = [bridge(), bridge()];
    serve(&[&bridges[0], &bridges[1]]);
    watcher.watch(&[&bridges[0], &bridges[1]]);
    let prometheus = require(Prometheus::start(Generation::Sid, &config));

    let shape = Shape { seed: 11, events: events(), pipelines: 40, duplicates: 20, malformed: 30 };
    let log = stream::log(&shape);
    let chunk = log.len() / 150 + 1;
    let sending = send(&bed, log, chunk, Duration::from_millis(300));
    let mut round = 0;
    while !sending.is_finished() {
        // A partition is dark for about 7 s after a kill: what is counted must be seen between.
        thread::sleep(Duration::from_secs(15));
        let place = round % 2;
        kill(&bridges[place]);
        bridges[place] = bridge();
        serve(&[&bridges[0], &bridges[1]]);
        watcher.watch(&[&bridges[0], &bridges[1]]);
        round += 1;
    }
    sending.join().unwrap();
    assert!(round >= 2, "only {round} kills: the stream was too short");
    let shown = bed.wait_equal(&[&bridges[0], &bridges[1]]);
    let bytes: f64 = bridges.iter().map(|b| b.own("kafka2prom_snapshot_bytes", &[])).sum();
    assert!(bytes > 0.0, "no snapshot was written: this test replayed from the beginning");

    eventually_ok("the runs are what the reference says", LONG, || {
        let (_, expected) = bed.reference();
        for bridge in &bridges {
            let listed = runs(bridge)?;
            let wrong: Vec<_> = listed.iter().filter(|(name, run)| expected.get(*name) != Some(*run)).take(3).collect();
            let open = |run: &&String| run.starts_with("RUNNING") || run.starts_with("QUEUED");
            let (opened, wanted) = (listed.values().filter(open).count(), expected.values().filter(open).count());
            if !wrong.is_empty() || listed.is_empty() || opened != wanted {
                return Err(format!("{} listed, {opened} of {wanted} open, wrong: {wrong:?}", listed.len()));
            }
        }
        Ok(())
    });

    if let Some(prometheus) = prometheus {
        in_prometheus(&prometheus, &bed, &bridges);
    }

    // All down, and again from nothing: exact.
    kill(&bridges[0]);
    kill(&bridges[1]);
    let alone = bridge();
    serve(&[&alone]);
    watcher.watch(&[&alone]);
    let again = bed.wait_equal(&[&alone]);
    let grown = shown.iter().filter(|(series, _)| series.contains("_total{"));
    for (series, value) in grown {
        assert!(again[series] >= *value, "{series} went from {value} to {}", again[series]);
    }
    // A handover in good order leaves a snapshot behind.
    assert_eq!(alone.stop(), 0, "{}", alone.process().log_tail());
    let successor = bridge();
    watcher.watch(&[&successor]);
    bed.wait_equal(&[&successor]);
    let scrapes = watcher.end();
    eprintln!("EVENTS {} events, {round} kills, {scrapes} scrapes, {} series", events(), again.len());
}

/// No counter went back, and the last samples are what the bridges show: from 0, that is
/// what increased.
fn in_prometheus(prometheus: &Prometheus, bed: &Bed, bridges: &[Service; 2]) {
    let expression = "{__name__=~\"pipeline_.*(_total|_count|_bucket)\"}[30m]";
    eventually_ok("Prometheus has what the reference says", LONG, || {
        let found = prometheus.query(expression);
        let (expected, _) = bed.reference();
        let mut last = BTreeMap::new();
        for one in &found {
            for pair in one.points.windows(2) {
                let [(_, old), (at, new)] = [pair[0], pair[1]];
                assert!(new >= old, "{:?} went from {old} to {new} at {at}", one.series);
            }
            let labels: Vec<String> = one
                .series
                .iter()
                .filter(|(name, _)| !["__name__", "job", "instance"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            let series = format!("{}{{{}}}", one.series["__name__"], labels.join(","));
            last.insert(crate::events::bed::canonical(&series), one.points.last().unwrap().1);
        }
        let counters = |name: &str| ["_total{", "_count{", "_bucket{"].iter().any(|end| name.contains(end));
        let expected = expected.into_iter().filter(|(name, _)| counters(name)).collect();
        let _alive = together(&[&bridges[0], &bridges[1]])?;
        differences(&last, &expected)
    });
    for name in ["pipeline_log_events_total", "pipeline_runs_total", "pipeline_step_duration_seconds_count"] {
        let resets = prometheus.query(&format!("sum(resets({name}[30m]))"));
        assert_eq!(resets[0].points[0].1, 0.0, "{name}");
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn an_sla_that_is_missed_across_a_failover_counts_once() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 1);
    let first = bed.bridge(3000, &[]);
    let running = |run: &str, target_ms: u32| {
        let line = format!(
            r#"{{"run_id":"{run}","pipeline_id":"daily","trigger_type":"manual","status":"RUNNING","start_ts":{},"sla_target_ms":{target_ms}}}"#,
            now()
        );
        bed.record("daily", line)
    };
    kafka.produce(&bed.topic, &[running("short", 1000)]);
    let missed =
        |bridge: &Service| samples(&bridge.scrape()).get("pipeline_sla_missed_total{pipeline_id=\"daily\"}").copied();
    eventually("the SLA is missed while the run goes on", LONG, || (missed(&first) == Some(1.0)).then_some(()));
    // The next one is missed while nobody is there to see it.
    kafka.produce(&bed.topic, &[running("long", 2000)]);
    kill(&first);
    let second = bed.bridge(3000, &[]);
    eventually("the second SLA is seen to be missed", LONG, || (missed(&second) == Some(2.0)).then_some(()));
    let end = format!(
        r#"{{"run_id":"long","pipeline_id":"daily","trigger_type":"manual","status":"SUCCEEDED","end_ts":{}}}"#,
        now()
    );
    kafka.produce(&bed.topic, &[bed.record("daily", end)]);
    let shown = bed.wait_equal(&[&second]);
    assert_eq!(shown["pipeline_sla_missed_total{pipeline_id=\"daily\"}"], 2.0);
    let run = second.get("/api/v1/runs/long").unwrap().json();
    assert_eq!(
        (run["runs"][0]["status"].as_str(), run["runs"][0]["sla_missed"].as_bool()),
        (Some("SUCCEEDED"), Some(true))
    );
    for page in ["/runs", "/runs/long?pipeline=daily", "/pipelines"] {
        let answer = second.get(page).unwrap();
        assert!(answer.status == 200 && answer.text().contains("daily"), "{page}: {}", answer.text());
    }
    assert_eq!(second.get("/api/v1/runs/nothing").unwrap().status, 404);
}

#[test]
fn changed_templates_count_from_their_place_in_the_log_on_whoever_replays_it() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let dir = crate::support::supervise::new_dir("templates");
    let old = std::fs::read_to_string(format!("{}/templates/logs.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    std::fs::write(dir.join("templates.yaml"), &old).unwrap();
    let mut bed = Bed::new(kafka, 1);
    bed.templates = dir.to_str().unwrap().to_owned();
    let bridge = bed.bridge(1_000_000, &[]);
    let line = |level: &str| format!(r#"{{"timestamp":{},"pipeline_id":"p","level":"{level}","message":"m"}}"#, now());
    let send = |level: &str| kafka.produce(&bed.topic, &[bed.record("p", line(level))]);
    let shown = |bridge: &Service| samples(&bridge.scrape());
    let levels = "pipeline_log_events_total{level=\"INFO\",pipeline_id=\"p\"}";
    send("INFO");
    eventually("the event is counted", LONG, || (shown(&bridge).get(levels) == Some(&1.0)).then_some(()));
    let more = "  - {name: pipeline_warnings_total, type: counter, help: Warnings., match: {kind: log, where: [{field: level, equals: WARN}]}}\n";
    std::fs::write(dir.join("templates.yaml"), old.clone() + more).unwrap();
    assert_eq!(bridge.send("POST", "/-/reload").status, 200);
    let warnings = "pipeline_warnings_total{pipeline_id=\"p\"}";
    eventually_ok("the new metric counts", LONG, || {
        send("WARN");
        let now = shown(&bridge);
        now.get(warnings).map(|_| ()).ok_or_else(|| format!("{now:?}"))
    });
    std::fs::write(dir.join("templates.yaml"), "metrics: [{name: 5}]\n").unwrap();
    let refused = bridge.send("POST", "/-/reload");
    assert!(refused.status >= 400 && refused.text().contains("templates.yaml"), "{}", refused.text());
    let before = eventually_ok("nothing is under way", LONG, || {
        let before = shown(&bridge);
        let all = kafka.read_all(&bed.topic, 0).iter().filter(|r| r.headers.is_empty()).count() as f64;
        let counted: f64 =
            before.iter().filter(|(s, _)| s.starts_with("pipeline_log_events_total")).map(|(_, v)| v).sum();
        if counted == all { Ok(before) } else { Err(format!("{counted} of {all}")) }
    });
    kill(&bridge);
    // Without a snapshot, with the new templates: the old ones still count what was theirs.
    std::fs::write(dir.join("templates.yaml"), old + more).unwrap();
    let next = bed.bridge(1_000_000, &[]);
    eventually_ok("a replay comes to the same", LONG, || {
        let after = shown(&next);
        if after == before { Ok(()) } else { Err(format!("{before:?} and then {after:?}")) }
    });
    assert_eq!(next.own("kafka2prom_snapshots_total", &[("result", "ok")]), 0.0);
}

#[test]
fn posted_events_count_once_however_often_a_client_repeats_them() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 3);
    let bridge = bed.bridge(3000, &[]);
    let line =
        |pipeline: &str| format!("{{\"timestamp\":{},\"pipeline_id\":\"{pipeline}\",\"level\":\"INFO\"}}\n", now());
    let body: String = (0..50).map(|n| line(&format!("p{}", n % 5))).collect::<String>() + "nonsense\n";
    let post = |id: &str, body: &[u8]| {
        let headers = [("content-type", "application/x-ndjson"), ("k2p-id", id)];
        http::request("POST", &bridge.url("/api/v1/events"), &headers, body).unwrap()
    };
    for id in ["client;1", "client;1", "client;2"] {
        let answer = post(id, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        assert_eq!((said["accepted"].as_u64(), said["rejected"].as_u64()), (Some(50), Some(1)), "{said}");
        assert_eq!(
            (said["rejections"][0]["line"].as_u64(), said["rejections"][0]["reason"].as_str()),
            (Some(51), Some("syntax"))
        );
    }
    assert_eq!(post("client;3", b"nonsense").status, 400);
    assert_eq!(post("client", b"").status, 400);
    let shown = bed.wait_equal(&[&bridge]);
    let counted: f64 = shown.iter().filter(|(s, _)| s.starts_with("pipeline_log_events_total")).map(|(_, v)| v).sum();
    assert_eq!(counted, 100.0);
    assert_eq!(bridge.own("kafka2prom_event_post_lines_total", &[("result", "accepted")]), 150.0);
    let origin = bridge.get("/origins/pipeline_id%3D%22p1%22/metrics").unwrap();
    assert!(origin.status == 200 && origin.text().contains("pipeline_log_events_total"), "{}", origin.text());
    assert!(!bridge.scrape().contains("kafka2prom_origin_up{pipeline_id"), "events are no dumps");
}

#[test]
fn identifiers_in_every_field_do_not_become_series() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 1);
    let bridge = bed.bridge(50_000, &[]);
    let attacks = if std::env::var("K2P_LONG").is_ok_and(|v| v == "1") { 1_000_000 } else { 10_000 };
    let line = |pipeline: &str, n: u32| {
        format!(
            "{{\"timestamp\":{},\"pipeline_id\":\"{pipeline}\",\"level\":\"ERROR\",\"step\":\"s{n}\",\"component\":\"c{n}\",\
             \"error\":{{\"type\":\"E{n}\"}},\"metrics\":{{\"rows_read\":1,\"duration_ms\":5}}}}\n",
            now()
        )
    };
    let producer = kafka.producer("zstd");
    for first in (0..attacks).step_by(1000) {
        let value: String = (first..first + 1000).map(|n| line("loud", n)).collect();
        producer.send(&bed.topic, &[bed.record("loud", value)]);
    }
    producer.send(&bed.topic, &[bed.record("quiet", line("quiet", 1))]);
    let shown = eventually_ok("everything is counted", LONG, || {
        let shown = samples(&bridge.scrape());
        let loud: f64 = shown
            .iter()
            .filter(|(s, _)| s.starts_with("pipeline_errors_total") && s.contains("\"loud\""))
            .map(|(_, v)| v)
            .sum();
        let quiet = shown.keys().any(|s| s.starts_with("pipeline_errors_total") && s.contains("\"quiet\""));
        if loud == f64::from(attacks) && quiet { Ok(shown) } else { Err(format!("{loud}, {}", shown.len())) }
    });
    assert!(shown.len() < 5000, "{} series", shown.len());
    assert!(shown.contains_key("pipeline_errors_total{component=\"c1\",error_type=\"E1\",pipeline_id=\"quiet\"}"));
    assert!(bridge.own("kafka2prom_events_reduced_total", &[("reason", "series_cap")]) > 0.0);
}

#[test]
fn a_partition_without_its_prefix_stands_still_until_the_loss_is_accepted() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 1);
    let line = || format!("{{\"timestamp\":{},\"pipeline_id\":\"p\",\"level\":\"INFO\"}}\n", now());
    let send = |n: usize| kafka.produce(&bed.topic, &(0..n).map(|_| bed.record("p", line())).collect::<Vec<_>>());
    send(10);
    let bridge = bed.bridge(1_000_000, &[]);
    let counted = |bridge: &Service| {
        samples(&bridge.scrape()).get("pipeline_log_events_total{level=\"INFO\",pipeline_id=\"p\"}").copied()
    };
    eventually("ten are counted", LONG, || (counted(&bridge) == Some(10.0)).then_some(()));
    kill(&bridge);
    kafka.delete_records(&bed.topic, 0, 5);
    let next = bed.bridge(1_000_000, &[]);
    let blocked = |reason: &str| next.own("kafka2prom_replay_blocked", &[("reason", reason)]);
    eventually("the partition stands still", LONG, || (blocked("missing_prefix") == 1.0).then_some(()));
    assert_eq!(counted(&next), None);
    assert!(next.ready().is_err());
    let brokers = kafka.bootstrap();
    let accept = || {
        let arguments = ["topics", "accept-loss", &bed.topic, "0", "--state", &bed.state, "--kafka.brokers", &brokers];
        process::run(&arguments, b"")
    };
    let accepted = accept();
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    // What is left are five events and the record that named the templates.
    eventually_ok("what is left is counted", LONG, || match counted(&next) {
        Some(5.0) => Ok(()),
        other => Err(format!("{other:?} {:?}", next.ready())),
    });
    assert_eq!(blocked("missing_prefix"), 0.0);
    let refused = accept();
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));

    // And another number of partitions stops it for good.
    kafka.grow_topic(&bed.topic, 2);
    eventually("the topic stands still", LONG, || (blocked("pinned") >= 1.0).then_some(()));
    eventually("it shows nothing", LONG, || counted(&next).is_none().then_some(()));
}
