//! The pages in a real browser: desktop, phone, dark, without JavaScript, and for those who
//! do not see them (axe-core). On the demo, which has something of everything.
use crate::it_demo::Demo;
use crate::support::http;
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
