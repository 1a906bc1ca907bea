//! What is kept of events through real Kafka: logs of jobs and runs over several bridges, in
//! directories and in an object store; masked, also after a reload.
use crate::events::bed::{Bed, LONG, kill};
use crate::support::kafka::Kafka;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::{self, Service};
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// Entries of four jobs, one after the other.
fn send(bed: &Bed, numbers: Range<u32>) {
    let records: Vec<_> = numbers
        .map(|n| {
            let content = format!("{{\"log\":{{\"level\":\"INFO\",\"message\":\"m{n}\"}}}}");
            let job = format!("job-{}", n % 4);
            bed.record(&job, format!("{{\"timestamp\":{},\"job_id\":\"{job}\",\"content\":{content}}}\n", now()))
        })
        .collect();
    bed.kafka.produce(&bed.topic, &records);
}

fn message(line: &serde_json::Value) -> String {
    line["content"]["log"]["message"].as_str().unwrap().to_owned()
}

/// The messages of a job as a bridge tells them, page by page; `Err`: what it says instead.
fn told(bridge: &Service, job: &str) -> Result<Vec<String>, String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = bridge.get(&format!("/api/v1/jobs/{job}/logs?limit=97{cursor}"))?;
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
        let page = answer.json();
        found.extend(page["entries"].as_array().unwrap().iter().map(message));
        if page["has_more"] != true {
            return Ok(found);
        }
        cursor = format!("&cursor={}", crate::support::bridge::segment(page["cursor"].as_str().unwrap()));
    }
}

fn expected(job: u32, numbers: Range<u32>) -> Vec<String> {
    numbers.filter(|n| n % 4 == job).map(|n| format!("m{n}")).collect()
}

/// Waits until a bridge tells each entry of each job once, in order.
#[track_caller]
fn wait_told(bridge: &Service, numbers: Range<u32>) {
    eventually_ok("each entry is told once", LONG, || {
        for job in 0..4 {
            let (found, wanted) = (told(bridge, &format!("job-{job}"))?, expected(job, numbers.clone()));
            if found != wanted {
                let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
                found.iter().for_each(|m| *counts.entry(m).or_default() += 1);
                let twice = counts.values().filter(|n| **n > 1).count();
                return Err(format!("job-{job}: {} of {}, {twice} more than once", found.len(), wanted.len()));
            }
        }
        Ok(())
    });
}

fn held(bridge: &Service) -> usize {
    let text = bridge.get("/metrics/self").map(|a| a.text()).unwrap_or_default();
    let live = |line: &&str| {
        line.starts_with("kafka2prom_partition_state{") && line.contains("state=\"live\"") && line.ends_with(" 1")
    };
    text.lines().filter(live).count()
}

#[test]
fn bridges_that_share_an_object_store_tell_each_entry_once_through_a_kill() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let dir = new_dir("objects");
    let mut bed = Bed::new(kafka, 3);
    let url = format!("objects://{}", dir.display());
    bed.rest = format!("runs: {{lost_after: 1h}}\nlogs: {{url: '{url}', flush: 1s}}\n");
    let bridges = [bed.bridge(100, &[]), bed.bridge(100, &[])];
    eventually("both have a share", LONG, || bridges.iter().all(|b| held(b) > 0).then_some(()));
    send(&bed, 0..600);
    eventually("a snapshot is written", LONG, || {
        let total = |b: &Service| b.own("kafka2prom_snapshots_total", &[("result", "ok")]);
        (total(&bridges[0]) > 0.0).then_some(())
    });
    // Some wait in memory: its successor reads them again.
    send(&bed, 600..1000);
    kill(&bridges[0]);
    send(&bed, 1000..1400);
    wait_told(&bridges[1], 0..1400);
    let third = bed.bridge(100, &[]);
    eventually("the new one has a share", LONG, || (held(&third) > 0).then_some(()));
    send(&bed, 1400..1500);
    for bridge in [&bridges[1], &third] {
        wait_told(bridge, 0..1500);
    }
    let output = process::run(&["logs", "job-2", "--logs.url", &url], b"");
    let lines = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<String> = lines.lines().map(|line| message(&serde_json::from_str(line).unwrap())).collect();
    assert_eq!(printed, expected(2, 0..1500), "the command tells the same");
}

#[test]
fn what_a_killed_bridge_kept_alone_is_asked_of_it_or_said_to_be_missing() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let dirs = [new_dir("logs"), new_dir("logs")];
    let bed = Bed::new(kafka, 2);
    let bridge = |dir: usize| {
        let rest = format!("runs: {{lost_after: 1h}}\nlogs: {{url: 'file://{}'}}\n", dirs[dir].display());
        Bed { rest, ..bed.clone() }.bridge(100, &[])
    };
    let (first, second) = (bridge(0), bridge(1));
    eventually("both have a share", LONG, || (held(&first) == 1 && held(&second) == 1).then_some(()));
    send(&bed, 0..1000);
    for bridge in [&first, &second] {
        wait_told(bridge, 0..1000);
    }
    eventually("a snapshot is written", LONG, || {
        (first.own("kafka2prom_snapshots_total", &[("result", "ok")]) > 0.0).then_some(())
    });
    kill(&first);
    eventually_ok("the other says what it cannot know", LONG, || match told(&second, "job-0") {
        Err(why) if why.starts_with("503") && why.contains("logs.url") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // The killed one comes back, with its directory.
    let back = bridge(0);
    eventually("it has a share", LONG, || (held(&back) == 1).then_some(()));
    for bridge in [&back, &second] {
        wait_told(bridge, 0..1000);
    }
}

#[test]
fn a_run_shows_its_log_events_masked_by_its_topics_rules_as_of_the_last_reload() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (dir, secret) = (new_dir("logs"), new_dir("masking").join("key"));
    fs::write(&secret, "customer").unwrap();
    let mut bed = Bed::new(kafka, 1);
    bed.of_topic = format!(", masking: {{keys: ['${{file:{}}}']}}", secret.display());
    bed.rest = format!("runs: {{lost_after: 1h}}\nlogs: {{url: 'file://{}'}}\n", dir.display());
    let bridge = bed.bridge(100_000, &[]);
    let log = |n: u32| {
        format!(
            "{{\"timestamp\":{},\"pipeline_id\":\"daily\",\"run_id\":\"r1\",\"level\":\"INFO\",\"message\":\"of a{n}@b.de\",\
             \"n\":{n},\"customer\":\"alice{n}\",\"account\":\"acme{n}\"}}\n",
            now()
        )
    };
    let run = |status: &str| format!("{{\"pipeline_id\":\"daily\",\"run_id\":\"r1\",\"status\":\"{status}\"}}\n");
    let event = |value: String| kafka.produce(&bed.topic, &[bed.record("daily", value)]);
    // The members of the run's n-th log event.
    let shown = |n: usize| {
        eventually("the log event is shown", LONG, || {
            let answer = bridge.get("/api/v1/runs/r1?pipeline=daily").ok().filter(|a| a.status == 200)?;
            let answer = answer.json();
            Some(answer["runs"][0]["logs"]["entries"].get(n)?.clone())
        })
    };
    event(run("RUNNING"));
    event(log(0));
    event(run("SUCCEEDED"));
    let first = shown(0);
    assert_eq!((&first["customer"], &first["account"]), (&"[masked:key]".into(), &"acme0".into()), "{first}");
    assert_eq!(first["message"], "of [masked:email]");
    let page = bridge.get("/runs/r1?pipeline=daily").unwrap().text();
    assert!(page.contains("of [masked:email]") && !page.contains("b.de"), "{page}");

    fs::write(&secret, "ab").unwrap();
    let refused = bridge.send("POST", "/-/reload");
    assert!(refused.status == 500 && refused.text().contains("too short"), "{}", refused.text());
    event(log(1));
    assert_eq!(shown(1)["customer"], "[masked:key]", "what is wrong changes nothing");

    fs::write(&secret, "account").unwrap();
    let done = bridge.send("POST", "/-/reload");
    assert_eq!(done.status, 200, "{}", done.text());
    event(log(2));
    let last = shown(2);
    assert_eq!((&last["customer"], &last["account"]), (&"alice2".into(), &"[masked:key]".into()), "{last}");

    fs::write(&secret, "customer").unwrap();
    bridge.process().signal(crate::support::supervise::Signal::Hup);
    bridge.process().wait_log(Duration::from_secs(60), |log| log.contains("msg=reloaded").then_some(())).unwrap();
    event(log(3));
    assert_eq!(shown(3)["customer"], "[masked:key]");
}
