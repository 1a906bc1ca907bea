//! The pages in a real browser: desktop, phone, dark, without JavaScript, and for those who
//! do not see them (axe-core). On the demo, which has something of everything.
use crate::it_demo::Demo;
use crate::push::bed::{Bed, push, taken};
use crate::support::bridge::segment;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::parts;
use crate::support::poll::eventually;
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(180);

/// A run of the demo with steps, an error and log events.
fn failed_run(bridge: &str) -> String {
    eventually("a run has failed", LONG, || {
        let runs = http::get(&format!("{bridge}api/v1/runs?status=failed"), &[]).ok()?;
        let id = runs.json()["runs"].get(0)?["run_id"].as_str()?.to_owned();
        Some(format!("{bridge}runs/{id}"))
    })
}

#[test]
fn the_pages_are_fit_to_be_read_by_everybody() {
    let Some(mut browser) = require(parts::browser()) else { return };
    let demo = Demo::start_with(&["demo", "--ports", "0", "0"], &[]);
    let bridge = demo.bridges()[0].clone();
    let run = failed_run(&bridge);
    let pages = [bridge.clone(), format!("{bridge}?search=acme"), format!("{bridge}pipelines")];
    let output = browser
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pages.py"))
        .arg(new_dir("screenshots"))
        .args(pages.iter().chain([&format!("{bridge}runs"), &run]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("25 looks, 0 faults"), "{said}");
}

#[test]
fn groups_are_listed_searched_shown_and_deleted() {
    let Some(mut browser) = require(parts::browser()) else { return };
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, 2);
    let bridge = bed.bridge(1000, &["--web.enable-admin-api"]);
    bed.wait_whole(&[&bridge]);
    let body = "# HELP rows_total Rows <b>written</b>.\n# TYPE rows_total counter\nrows_total{table=\"a<b>\"} 7\n";
    for number in 0..120 {
        taken(&bridge, "PUT", &format!("job/nightly_{number:03}"), body);
    }
    // A name that would be a script, and one that nothing breaks.
    taken(&bridge, "PUT", "job/hostile/x@base64/PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", body);
    taken(&bridge, "PUT", &format!("job/long/path/{}", "very_long_name".repeat(20)), body);
    assert_eq!(push(&bridge, "PUT", "job/nightly_007", "m 1\nm 2\n").status, 400);
    let group = format!("/groups/{}", segment("job=\"nightly_007\""));
    let pages = ["/groups", "/groups?search=NIGHTLY_00", "/groups?failed=true", "/groups?offset=100", &group];
    let output = browser
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pages.py"))
        .arg(new_dir("screenshots"))
        .args(pages.map(|page| bridge.url(page)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("25 looks, 0 faults"), "{said}");

    let list = |query: &str| bridge.get(&format!("/api/v1/groups{query}")).unwrap().json();
    assert_eq!((&list("")["total"], list("")["groups"].as_array().unwrap().len()), (&122.into(), 100));
    assert_eq!(list("?search=NIGHTLY_00")["total"], 10);
    assert_eq!(list("?failed=true")["groups"][0]["labels"]["job"], "nightly_007");
    assert_eq!(list("?job=long")["total"], 1);
    let page = bridge.get("/groups?search=hostile").unwrap().text();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script>alert"), "{page}");

    let delete = |body: &str| {
        http::request("POST", &bridge.url(&format!("{group}/delete")), &[], body.as_bytes()).expect("it answers")
    };
    assert_eq!(delete("").status, 400, "without the box");
    assert_eq!(list("")["total"], 122);
    assert_eq!(delete("sure=yes").status, 303);
    assert_eq!(list("")["total"], 121);
    assert_eq!(bridge.get(&group).unwrap().status, 404);
    assert_eq!(delete("sure=yes").status, 404);
    let log = bridge.process().stderr();
    assert!(log.lines().any(|line| line.contains("group deleted by the admin API") && line.contains("nightly_007")));
}
