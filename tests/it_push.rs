//! The Pushgateway over real Kafka: pushes to any bridge, shown by the owner, kept through
//! everything.
use crate::checker::{Limits, Route, check};
use crate::events::bed::kill;
use crate::faults::record::Recorder;
use crate::faults::scraper::{Scraper, Target};
use crate::faults::service::Balancer;
use crate::push::bed::{Bed, LONG, push, pushed, taken};
use crate::push::clients::{Clients, SERIES};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::{self, Service};
use crate::support::skip::require;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The value of a series, wherever it is shown.
fn value(bridges: &[&Service], series: &str) -> Option<f64> {
    pushed(bridges).unwrap_or_default().get(series).copied()
}

#[test]
fn a_push_to_any_bridge_is_shown_by_its_owner_when_it_is_answered() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 4);
    let bridges = [bed.bridge(1000, &[]), bed.bridge(1000, &[])];
    let [one, two] = &bridges;
    bed.wait_whole(&[one, two]);
    for job in 0..12 {
        let (taker, series) = (&bridges[job % 2], format!("m{{job=\"j{job}\",instance=\"\"}}"));
        taken(taker, "PUT", &format!("job/j{job}"), &format!("m{{job=\"other\"}} {job}\n"));
        assert_eq!(value(&[one, two], &series), Some(job as f64), "{series}, right after the answer");
    }
    let all = [one, two];
    let shown = pushed(&all).unwrap();
    for own in ["push_time_seconds", "push_failure_time_seconds"] {
        assert_eq!(shown.keys().filter(|s| s.starts_with(&format!("{own}{{"))).count(), 12, "{shown:#?}");
    }
    let time = shown["push_time_seconds{job=\"j0\",instance=\"\"}"];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 120.0..now + 1.0).contains(&time), "{time} is no time of a push at {now}");
    // Both bridges own some of it, or nobody was asked over the other.
    for bridge in all {
        assert!(!pushed(&[bridge]).unwrap().is_empty(), "one bridge owns everything");
    }
    // PUT replaces the group, POST the families of the same names, DELETE the group.
    taken(one, "PUT", "job/a/instance/i", "m 1\nn 1\n");
    taken(two, "POST", "job/a/instance/i", "n 2\no 2\n");
    let of = |name: &str| value(&all, &format!("{name}{{instance=\"i\",job=\"a\"}}"));
    assert_eq!((of("m"), of("n"), of("o")), (Some(1.0), Some(2.0), Some(2.0)));
    taken(one, "PUT", "job@base64/YQ/instance/i", "o 3\n");
    assert_eq!((of("m"), of("n"), of("o")), (None, None, Some(3.0)));
    taken(two, "DELETE", "job/a/instance/i", "");
    assert_eq!((of("o"), of("push_time_seconds")), (None, None));
    assert_eq!(value(&all, "m{job=\"j1\",instance=\"\"}"), Some(1.0), "another group");
}

#[test]
fn what_is_refused_says_why_and_moves_the_time_of_failure() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 2);
    let bridge = bed.bridge(1000, &[]);
    bed.wait_whole(&[&bridge]);
    taken(&bridge, "PUT", "job/a", "m 1\n");
    let failed = || value(&[&bridge], "push_failure_time_seconds{job=\"a\",instance=\"\"}").unwrap();
    assert_eq!(failed(), 0.0);
    // What is no exposition is not noted, as there.
    for (path, body, why) in [
        ("job/a", "<html>\n", "text format parsing error in line 1"),
        ("job/a/x", "m 1\n", "odd number of components in label string \"/x\""),
        ("job/a/__x/y", "m 1\n", "improper label name \"__x\""),
        ("job/", "m 1\n", "job name is required"),
        ("job/a?ttl=5", "m 1\n", "ttl:"),
    ] {
        let answer = push(&bridge, "POST", path, body);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(
            answer.text().contains(why) && answer.header("content-type").starts_with("text/plain"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(failed(), 0.0);
    let answer = push(&bridge, "PUT", "job/a", "m 2 1700000000000\n");
    assert!(answer.status == 400 && answer.text().contains("must not have timestamps"), "{}", answer.text());
    assert!(failed() > 1_700_000_000.0);
    assert_eq!(value(&[&bridge], "m{job=\"a\",instance=\"\"}"), Some(1.0), "the last good push stays");
    assert_eq!(push(&bridge, "GET", "job/a", "").status, 405);
    let gzip = [("content-encoding", "gzip")];
    let answer = http::request("PUT", &bridge.url("/metrics/job/a"), &gzip, b"m 1\n").unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let bomb = k2p_bomb();
    let answer = http::request("PUT", &bridge.url("/metrics/job/a"), &gzip, &bomb).unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(bridge.own("kafka2prom_pushes_total", &[("result", "refused")]), 1.0);
    assert_eq!(bridge.own("kafka2prom_pushes_total", &[("result", "too_large")]), 1.0);
    // The wipe belongs to the admin API.
    assert_eq!(bridge.send("PUT", "/api/v1/admin/wipe").status, 403);
    assert_eq!(value(&[&bridge], "m{job=\"a\",instance=\"\"}"), Some(1.0));
}

/// 100 MiB of newlines, in 100 KB.
fn k2p_bomb() -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for _ in 0..100 {
        encoder.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn every_group_is_back_after_every_bridge_was_killed() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 2);
    let first = bed.bridge(100, &[]);
    bed.wait_whole(&[&first]);
    for n in 0..400 {
        taken(&first, "PUT", &format!("job/j{}/n@base64/Lw", n % 60), &format!("m {n}\n"));
    }
    taken(&first, "DELETE", "job/j7/n@base64/Lw", "");
    assert_eq!(push(&first, "POST", "job/j8/n@base64/Lw", "m 1\nm 2\n").status, 400);
    eventually("snapshots were written", LONG, || {
        (first.own("kafka2prom_snapshots_total", &[("result", "ok")]) >= 1.0).then_some(())
    });
    let before = pushed(&[&first]).unwrap();
    assert_eq!(before.keys().filter(|series| series.starts_with("m{")).count(), 59);
    kill(&first);
    let again = [bed.bridge(100, &[]), bed.bridge(100, &[])];
    let same = |bridges: &[&Service]| {
        eventually_ok("everything is back, to the digit", LONG, || {
            let shown = pushed(bridges)?;
            let differ = before.iter().filter(|(series, value)| shown.get(*series) != Some(value)).count();
            if shown.len() == before.len() && differ == 0 {
                return Ok(());
            }
            Err(format!("{differ} of {} differ, {} shown", before.len(), shown.len()))
        });
    };
    same(&[&again[0], &again[1]]);
    // A handover in good order, too.
    assert_eq!(again[0].stop(), 0);
    same(&[&again[1]]);
}

#[test]
fn groups_that_disagree_break_nobodys_scrape_and_a_clock_of_producers_stops_the_topic() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 1);
    let bridge = bed.bridge(1000, &[]);
    bed.wait_whole(&[&bridge]);
    taken(&bridge, "PUT", "job/a", "# TYPE m counter\nm 1\n# TYPE h_count gauge\nh_count 1\n");
    taken(&bridge, "PUT", "job/b", "# TYPE m gauge\n# HELP m other\nm 2\n");
    taken(&bridge, "POST", "job/a", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n");
    taken(&bridge, "PUT", "job/c/instance@base64/=", "m 3\n");
    taken(&bridge, "PUT", "job/c", "m 4\n");
    let text = bridge.scrape();
    let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE m ")).collect();
    assert_eq!(types.len(), 1, "one type: {types:?}");
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("m{instance=\"\",job=\"c\"}") + series("m{job=\"c\",instance=\"\"}"), 1, "{text}");
    assert!(series("m{job=\"a\"") == 1 && series("m{job=\"b\"") == 1, "{text}");
    assert!(bridge.own("kafka2prom_family_conflicts", &[]) >= 1.0);

    let mut other = Bed::new(kafka, 1);
    other.topic += "-other";
    kafka.create_topic(&other.topic, 1, &[]);
    let bridge = other.bridge(1000, &[]);
    eventually("it stands still", LONG, || {
        let blocked = [("topic", other.topic.as_str()), ("reason", "timestamps")];
        (bridge.own("kafka2prom_replay_blocked", &blocked) == 1.0).then_some(())
    });
    assert!(bridge.ready().unwrap_err().contains("LogAppendTime"));
}

#[test]
fn a_group_goes_when_its_ttl_is_over_and_a_wipe_takes_all() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let mut bed = Bed::new(kafka, 2);
    bed.rest = "push: {ttl: [{job: 'nightly_.*', ttl: 2s}]}\n".to_owned();
    let bridges = [bed.bridge(1000, &["--web.enable-admin-api"]), bed.bridge(1000, &["--web.enable-admin-api"])];
    let all = [&bridges[0], &bridges[1]];
    bed.wait_whole(&all);
    let there = |series: &str| value(&all, series).is_some();
    taken(all[0], "PUT", "job/kept", "m 1\n");
    taken(all[0], "PUT", "job/nightly_kept?ttl=0", "m 1\n");
    taken(all[0], "PUT", "job/nightly_x", "m 1\n");
    taken(all[1], "PUT", "job/asked?ttl=2s", "m 1\n");
    let header = [("k2p-ttl", "2s")];
    let answer = http::request("PUT", &all[0].url("/metrics/job/header"), &header, b"m 1\n").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    for job in ["nightly_x", "asked", "header"] {
        eventually("it goes by itself", LONG, || (!there(&format!("m{{job=\"{job}\",instance=\"\"}}"))).then_some(()));
    }
    for job in ["kept", "nightly_kept"] {
        assert!(there(&format!("m{{job=\"{job}\",instance=\"\"}}")), "{job}");
    }
    // The end of each is a record, once.
    let log: Vec<_> = (0..2).flat_map(|partition| kafka.read_all(&bed.topic, partition)).collect();
    let op = |wanted: &str| {
        log.iter().filter(|r| r.headers.iter().any(|(n, v)| n == "k2p-op" && v == wanted.as_bytes())).count()
    };
    assert_eq!((op("put"), op("expire")), (5, 3));
    let answer = all[1].send("PUT", "/api/v1/admin/wipe");
    assert_eq!((answer.status, answer.text().as_str()), (202, ""));
    assert!(pushed(&all).unwrap().is_empty());
}

#[test]
fn a_pushgateways_file_is_taken_over_with_its_times() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 2);
    let bridge = bed.bridge(1000, &[]);
    bed.wait_whole(&[&bridge]);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/bridge/push/tests/pushgateway-1.5.1.store");
    let brokers = kafka.bootstrap();
    let arguments = ["push", "import", file, "--kafka.brokers", &brokers, "--kafka.topic", &bed.topic];
    let said = |extra: &[&str]| {
        let output = process::run(&[&arguments[..], extra].concat(), b"");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, text) = said(&["--dry-run"]);
    assert!(code == Some(0) && text.contains("job=\"one\"\n") && text.contains("3 groups could"), "{text}");
    for _ in 0..2 {
        assert_eq!(said(&[]), (Some(0), format!("3 groups are in {}\n", bed.topic)));
    }
    let last = "push_failure_time_seconds{job=\"failed\",instance=\"\"}";
    let shown = eventually("the groups are shown", LONG, || {
        let shown = pushed(&[&bridge]).ok()?;
        let all = shown.keys().filter(|series| series.starts_with("push_time_seconds")).count() == 3;
        (all && shown.contains_key(last)).then_some(shown)
    });
    assert_eq!(shown["g{job=\"one\",instance=\"\"}"], 2.0);
    assert_eq!(shown["h_bucket{instance=\"i\",job=\"a/b\",le=\"+Inf\",x=\"\"}"], 2.0);
    let minute = |series: &str| (shown[series] / 60.0).floor();
    assert_eq!(minute("push_time_seconds{job=\"one\",instance=\"\"}"), minute(last), "as it was there");
    assert_eq!(shown["push_time_seconds{job=\"failed\",instance=\"\"}"], 0.0);
    eventually("the second import counts as repeats", LONG, || {
        let repeats = bridge.own("kafka2prom_pushes_applied_total", &[("kind", "duplicate")]);
        (repeats == 3.0).then_some(())
    });
    let (code, text) = said(&["/dev/null"]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn no_push_is_lost_doubled_or_turned_back_through_kills() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 3);
    let service = Balancer::start();
    let recorder = Arc::new(Recorder::new());
    let mut number = 0;
    let mut begin = || {
        let bridge = bed.bridge(200, &[]);
        number += 1;
        let listen = bridge.listen().to_owned();
        let target =
            Target { bridge: number, listen, topic: bed.topic.clone(), partitions: 3, series: SERIES, padded: false };
        let scraper = Scraper::start(target, &recorder);
        (bridge, scraper)
    };
    let mut bridges = [begin(), begin()];
    let serve =
        |bridges: &[(Service, Scraper)]| service.set(bridges.iter().map(|(b, _)| b.listen().to_owned()).collect());
    serve(&bridges);
    bed.wait_whole(&[&bridges[0].0, &bridges[1].0]);
    let clients = Clients::start(4, service.address(), &recorder);
    for round in 0..4 {
        // Dark for about 7 s after a kill: what is pushed must be seen between.
        thread::sleep(Duration::from_secs(10));
        kill(&bridges[round % 2].0);
        bridges[round % 2] = begin();
        serve(&bridges);
    }
    thread::sleep(Duration::from_secs(3));
    let last = clients.end();
    let all = [&bridges[0].0, &bridges[1].0];
    bed.wait_whole(&all);
    eventually_ok("the last push of every group is shown", LONG, || {
        let shown = pushed(&all)?;
        let missing = last.iter().find(|(origin, seq)| {
            shown.get(&format!("seq{{instance=\"{origin}\",job=\"push\",part=\"0\"}}")) != Some(&(**seq as f64))
        });
        missing.map_or(Ok(()), |(origin, seq)| Err(format!("{origin} {seq}")))
    });
    let settled = recorder.now();
    eventually("they are scraped to the end", LONG, || {
        let history = recorder.history();
        let ends = history.scrapes.iter().filter(|s| s.route == Route::Metrics && s.start >= settled);
        let seen: BTreeSet<u32> = ends.map(|s| s.bridge).collect();
        (seen.len() == 2).then_some(())
    });
    drop(bridges);
    let history = std::mem::take(&mut *recorder.history());
    let history = crate::checker::History { settled: Some(settled), ..history };
    let report = check(&history, &Limits::default());
    assert!(report.violations.is_empty(), "{report}");
    assert!(history.sent.len() > 200, "only {} pushes", history.sent.len());
    in_the_log(&bed, &last);
    let mut took: Vec<u64> = history.sent.iter().map(|s| (s.acked - s.begun) / 1000).collect();
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    eprintln!("PUSH {} pushes, answered after {p50} ms (p50), {p99} ms (p99); {report}", took.len());
}

/// Of each group every push, each once but for repeats of the same id, in the order of the
/// client.
fn in_the_log(bed: &Bed, last: &BTreeMap<u32, u64>) {
    let mut found: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for record in (0..bed.partitions).flat_map(|partition| bed.kafka.read_all(&bed.topic, partition)) {
        let id = record.headers.iter().find(|(name, _)| name == "k2p-id").map(|(_, id)| id.clone()).unwrap();
        if !ids.insert(id) {
            continue;
        }
        let body = String::from_utf8(record.value.unwrap()).unwrap();
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        let origin = key.split('"').nth(1).and_then(|text| text.parse().ok()).unwrap();
        let seq = body.lines().next().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap();
        found.entry(origin).or_default().push(seq);
    }
    for (origin, seq) in last {
        assert_eq!(found[origin], (1..=*seq).collect::<Vec<_>>(), "origin {origin}");
    }
}
