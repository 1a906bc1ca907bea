//! What pushes cost, beside a real Pushgateway in the same run. No assertion on time: these
//! print.
//!
//! ```sh
//! cargo test --release --test integration figures_push -- --ignored --nocapture --test-threads=1
//! ```
use crate::events::bed::kill;
use crate::figures::{cpu, resident};
use crate::push::bed::{Bed, LONG};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::parts::Generation;
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::pushgateway::Pushgateway;
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;

/// Otherwise the Pushgateway gathers all groups at each push, and thousands of them are never
/// in. It is what its users with many groups set; its pushes a second are measured without.
const NO_CHECK: &str = "--push.disable-consistency-check";

/// One of the two that are compared.
struct Side {
    name: &'static str,
    base: String,
    pid: u32,
}

fn sides<'s>(bridge: &'s Service, real: &'s Pushgateway) -> [Side; 2] {
    [
        Side { name: "bridge", base: bridge.url(""), pid: bridge.process().pid() },
        Side { name: "pushgateway", base: real.url(""), pid: real.process().pid() },
    ]
}

/// A body of that many series, about 35 bytes each.
fn body(series: usize) -> String {
    let mut body = "# TYPE figures_rows_total counter\n".to_owned();
    for n in 0..series {
        writeln!(body, "figures_rows_total{{table=\"t{n}\"}} {n}").unwrap();
    }
    body
}

/// Pushes of `count` groups by several clients at once: how long each took.
fn pushes(side: &Side, count: usize, body: &str) -> Vec<Duration> {
    let next = AtomicUsize::new(0);
    let times = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let url = format!("{}/metrics/job/figures/instance/i{number}", side.base);
                    let begun = Instant::now();
                    let answer = http::request("PUT", &url, &[], body.as_bytes()).unwrap();
                    // A Pushgateway that checks nothing answers before it has stored it: 202.
                    assert!([200, 202].contains(&answer.status), "{}", answer.text());
                    times.lock().unwrap().push(begun.elapsed());
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    times
}

/// Waits until so many groups are scrapable.
fn wait_groups(side: &Side, count: usize) {
    eventually_ok("every group is shown", LONG, || {
        let text = http::get(&format!("{}/metrics", side.base), &[])?.text();
        let found = text.matches("\npush_time_seconds{").count();
        if found == count { Ok(()) } else { Err(format!("{found} groups")) }
    });
}

fn bed(kafka: &'static Kafka, flags: &[&str]) -> Option<(Bed, Service, Arc<Pushgateway>)> {
    let real = require(Pushgateway::start(Generation::Sid, flags))?;
    let bed = Bed::new(kafka, 4);
    let bridge = bed.bridge(50_000, &[]);
    bed.wait_whole(&[&bridge]);
    Some((bed, bridge, Arc::new(real)))
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_push_per_second() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for (what, series, count, flags) in [
        ("1 KB", 28, 500, &[][..]),
        ("1 KB, Pushgateway unchecked", 28, 2000, &[NO_CHECK][..]),
        ("1 MB", 27_000, 24, &[][..]),
        ("1 MB, Pushgateway unchecked", 27_000, 60, &[NO_CHECK][..]),
    ] {
        let Some((_bed, bridge, real)) = bed(kafka, flags) else { return };
        let body = body(series);
        for side in sides(&bridge, &real) {
            let (before, begun) = (cpu(side.pid), Instant::now());
            let times = pushes(&side, count, &body);
            let (took, used) = (begun.elapsed().as_secs_f64(), cpu(side.pid) - before);
            println!(
                "figures: {what} ({} bytes), {CLIENTS} clients: {:11} {:7.0} pushes/s, {:.2} ms CPU each, answered after p50 {:?} p99 {:?}",
                body.len(),
                side.name,
                count as f64 / took,
                used * 1000.0 / count as f64,
                times[count / 2],
                times[count * 99 / 100]
            );
        }
    }
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_push_scrape_of_a_million_series() {
    const SCRAPES: usize = 5;
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some((_bed, bridge, real)) = bed(kafka, &[NO_CHECK]) else { return };
    let body = body(1000);
    for side in sides(&bridge, &real) {
        let before = resident(side.pid);
        pushes(&side, 1000, &body);
        wait_groups(&side, 1000);
        let held = resident(side.pid) - before;
        for encoding in ["identity", "gzip"] {
            let (before, begun) = (cpu(side.pid), Instant::now());
            let mut bytes = 0;
            for _ in 0..SCRAPES {
                let answer = http::get(&format!("{}/metrics", side.base), &[("accept-encoding", encoding)]).unwrap();
                assert_eq!(answer.status, 200);
                bytes = answer.body.len();
            }
            let each = |seconds: f64| seconds / SCRAPES as f64;
            println!(
                "figures: 1,000 groups of 1,000 series: {:11} scrape {encoding:8} {:.3} s, {:.3} CPU s, {bytes} bytes; memory +{:.0} MB",
                side.name,
                each(begun.elapsed().as_secs_f64()),
                each(cpu(side.pid) - before),
                held / 1e6
            );
        }
    }
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_push_ten_thousand_groups() {
    const GROUPS: usize = 10_000;
    let file = new_dir("pushgateway").join("groups");
    let flags = ["--persistence.file", file.to_str().unwrap(), "--persistence.interval", "1s", NO_CHECK];
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some((bed, bridge, real)) = bed(kafka, &flags) else { return };
    let body = body(10);
    for side in sides(&bridge, &real) {
        pushes(&side, GROUPS, &body);
        wait_groups(&side, GROUPS);
        // Debian's binary finds the template of its page only where it is installed; both make
        // theirs of this.
        let paths = if side.name == "bridge" { &["/groups", "/api/v1/metrics"][..] } else { &["/api/v1/metrics"][..] };
        for path in paths {
            let begun = Instant::now();
            let page = http::get(&format!("{}{path}", side.base), &[]).unwrap();
            println!(
                "figures: {path} of {GROUPS} groups: {:11} {:?}, {} bytes",
                side.name,
                begun.elapsed(),
                page.body.len()
            );
        }
    }
    kill(&bridge);
    let begun = Instant::now();
    let again = bed.bridge(50_000, &[]);
    eventually_ok("every group is back", LONG, || {
        let total = again.get("/api/v1/groups?limit=1")?.json()["total"].as_u64().unwrap_or(0);
        if total == GROUPS as u64 { Ok(()) } else { Err(format!("{total} groups")) }
    });
    println!("figures: {GROUPS} groups back after kill -9, session and lease included: bridge {:?}", begun.elapsed());
    again.stop();
    let begun = Instant::now();
    let last = bed.bridge(50_000, &[]);
    eventually_ok("every group is back", LONG, || {
        let total = last.get("/api/v1/groups?limit=1")?.json()["total"].as_u64().unwrap_or(0);
        if total == GROUPS as u64 { Ok(()) } else { Err(format!("{total} groups")) }
    });
    println!("figures: {GROUPS} groups back after an orderly restart: bridge {:?}", begun.elapsed());
    drop(real);
    let begun = Instant::now();
    let Some(back) = require(Pushgateway::start(Generation::Sid, &flags)) else { return };
    let groups = http::get(&back.url("/metrics"), &[]).unwrap().text().matches("\npush_time_seconds{").count();
    println!("figures: {groups} groups back after a restart: pushgateway {:?}", begun.elapsed());
}
