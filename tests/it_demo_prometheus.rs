//! `kafka2prom demo --prometheus`: the story in the person's own Prometheus, with the rules and
//! the scrape configuration that ship, and nothing of it left at the end.
use crate::it_demo::{Demo, descendants, is_running};
use crate::it_deploy::{rules_well, shipped_rules, targets_up};
use crate::support::http;
use crate::support::parts::{self, Generation};
use crate::support::poll::{eventually, eventually_ok};
use crate::support::skip::require;
use crate::support::supervise::{Signal, new_dir};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(180);

/// The address in the line that says where the alerts are.
fn address(demo: &Demo) -> String {
    let found = demo.process.wait_log(LONG, |log| {
        let line = log.lines().find_map(|line| line.trim_start().strip_prefix("alerts   http://"))?;
        Some(line.split('/').next()?.to_owned())
    });
    found.unwrap_or_else(|e| panic!("{e}"))
}

fn json(address: &str, path: &str) -> Result<Value, String> {
    http::get(&format!("http://{address}{path}"), &[]).map(|answer| answer.json())
}

/// Everything of a demo that starts the Prometheus at `flag`.
fn shows_the_story(flag: &[&str], environment: &[(&str, &Path)]) {
    let temporary = new_dir("demo-tmp");
    let environment = [environment, &[("TMPDIR", temporary.as_path())]].concat();
    let arguments = [&["demo", "--ports", "0", "0"], flag].concat();
    let demo = Demo::start_with(&arguments, &environment);
    let prometheus = address(&demo);
    // Both bridges; eight partitions of dumps, two of events, two of pushes.
    let expected = [("kafka2prom", 2), ("kafka2prom-partitions", 12), ("prometheus", 1)];
    let expected: BTreeMap<String, usize> = expected.map(|(job, n)| (job.to_owned(), n)).into();
    eventually_ok("every target is up", LONG, || {
        let up = targets_up(&prometheus)?;
        if up == expected { Ok(()) } else { Err(format!("{up:?}")) }
    });
    eventually_ok("every rule is evaluated", LONG, || {
        let rules = rules_well(&prometheus)?;
        if rules == shipped_rules() { Ok(()) } else { Err(format!("{rules} rules")) }
    });
    eventually_ok("a metric of a simulated cluster is there", LONG, || {
        let found = json(&prometheus, "/api/v1/query?query=jobs_processed_total")?;
        let cluster = &found["data"]["result"][0]["metric"]["cluster"];
        if cluster == "hooli-batch" { Ok(()) } else { Err(found.to_string()) }
    });
    eventually_ok("the pipeline that fails is an alert", LONG, || {
        let alerts = json(&prometheus, "/api/v1/alerts")?;
        let all = alerts["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let fires = |alert: &&Value| {
            let labels = &alert["labels"];
            labels["alertname"] == "PipelineJobFailed" && labels["pipeline_id"] == "customers_sync"
        };
        let found = all.iter().find(fires).ok_or_else(|| alerts.to_string())?;
        let run = found["annotations"]["run_url"].as_str().unwrap_or_default();
        assert!(run.starts_with("http://127.0.0.1:"), "its link leads to the demo's bridge: {run}");
        Ok(())
    });
    demo.end();
    assert!(http::get(&format!("http://{prometheus}/-/ready"), &[]).is_err(), "Prometheus still answers");
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} are left behind");
}

#[test]
fn the_demo_shows_its_story_in_prometheus_of_sid() {
    let Some(program) = require(parts::prometheus_tool(Generation::Sid, "prometheus")) else { return };
    shows_the_story(&["--prometheus", program.to_str().unwrap()], &[]);
}

/// The one that the shell finds.
#[test]
fn the_demo_shows_its_story_in_prometheus_of_bookworm() {
    let Some(program) = require(parts::prometheus_tool(Generation::Bookworm, "prometheus")) else { return };
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    shows_the_story(&["--prometheus"], &[("PATH", Path::new(&path))]);
}

/// A demo that is killed cannot end what it started; that ends by itself.
#[test]
fn a_killed_demo_leaves_no_prometheus_behind() {
    let Some(program) = require(parts::prometheus_tool(Generation::Sid, "prometheus")) else { return };
    let demo = Demo::start_with(&["demo", "--ports", "0", "0", "--prometheus", program.to_str().unwrap()], &[]);
    address(&demo);
    let all = descendants(demo.process.pid());
    assert!(all.len() >= 4, "two bridges, a shell and Prometheus: {all:?}");
    demo.process.signal(Signal::Kill);
    eventually("all of them end", LONG, || all.iter().all(|pid| !is_running(*pid)).then_some(()));
}

/// A program that is none: said with its own words.
#[test]
fn a_prometheus_that_does_not_start_is_said() {
    let program = new_dir("no-prometheus").join("prometheus");
    fs::write(&program, "#!/bin/sh\necho it is broken >&2\nexit 3\n").unwrap();
    std::process::Command::new("chmod").arg("+x").arg(&program).status().unwrap();
    let arguments = ["demo", "--ports", "0", "0", "--prometheus", program.to_str().unwrap()];
    let output = crate::support::process::run(&arguments, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ended") && said.contains("it is broken"), "{said}");
}
