//! Scraping without a hole (design §5): a real Prometheus scrapes the partitions behind one
//! address, found by `/sd?by=partition` and as static targets, while bridges are replaced one
//! by one.
use crate::faults::bed::{Bed, Bridge, Setup};
use crate::faults::kept::Kept;
use crate::faults::service::Balancer;
use crate::support::kafka::Kafka;
use crate::support::parts::Generation;
use crate::support::poll::eventually;
use crate::support::prometheus::{self, Prometheus};
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::path::Path;
use std::time::Duration;

/// Of scrapes, and their timeout.
const INTERVAL: f64 = 5.0;
const REPLACEMENTS: usize = 3;

#[test]
fn prometheus_sees_no_hole_while_bridges_are_replaced() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(_) = require(prometheus::check_metrics(Generation::Sid, b"")) else { return };
    let service = Balancer::start();
    let setup = Setup { external: Some(service.address().to_owned()), ..Setup::default_timers() };
    let bed = Bed::new(kafka, "hole", setup.clone());
    let mut bridges = [bed.bridge(), bed.bridge()];
    let serve = |bridges: &[&Bridge]| service.set(bridges.iter().map(|b| b.service().listen().to_owned()).collect());
    serve(&[&bridges[0], &bridges[1]]);
    bed.wait_shown(&[&bridges[0], &bridges[1]]);
    let failures = new_dir("hole").join("failures");
    let config = config(service.address(), &bed.topic, setup.partitions, &failures);
    let prometheus = require(Prometheus::start(Generation::Sid, &config)).unwrap();
    // Two of each origin, in two ways.
    let series = 4 * usize::try_from(setup.origins).unwrap();
    let samples = |expression: &str| eventually_some(&prometheus, expression, series);
    samples("seq");
    let paths: Vec<_> = (0..setup.partitions).map(|n| format!("/partitions/{}/{n}/metrics", bed.topic)).collect();
    // Prometheus asks seldom: these ask within the moments in which a bridge ends.
    let kept = Kept::start(service.address(), &paths);
    for round in 0..REPLACEMENTS {
        let place = round % 2;
        let new = bed.bridge();
        bed.wait_shown(&[&bridges[0], &bridges[1], &new]);
        // As a service does with a pod that is about to end: no new connections.
        serve(&[&bridges[1 - place], &new]);
        bed.stop(&bridges[place]);
        bridges[place] = new;
        bed.wait_shown(&[&bridges[0], &bridges[1]]);
        std::thread::sleep(Duration::from_secs(4));
    }
    let unanswered = kept.end();
    assert!(unanswered.is_empty(), "kept connections: {unanswered:?}");
    bed.finish(&[&bridges[0], &bridges[1]]).assert_sound();
    let up = prometheus.query("min_over_time(up[5m])");
    let failed: Vec<_> = up.iter().filter(|found| found.points[0].1 < 1.0).collect();
    let all = up.len() == 2 * usize::try_from(setup.partitions).unwrap() && failed.is_empty();
    let why = std::fs::read_to_string(&failures).unwrap_or_default();
    assert!(all, "{} targets, scrapes failed: {failed:?}\n{why}", up.len());
    let found = prometheus.query("seq[5m]");
    assert_eq!(found.len(), series);
    let mut longest: f64 = 0.0;
    for one in &found {
        for pair in one.points.windows(2) {
            let [(before, old), (after, new)] = [pair[0], pair[1]];
            assert!(new >= old, "{:?} went from {old} to {new} at {after}", one.series);
            longest = longest.max(after - before);
        }
    }
    eprintln!(
        "HOLE {} samples of {series} series, longest interval {longest} s of {INTERVAL} s",
        found[0].points.len()
    );
    assert!(longest < 1.5 * INTERVAL, "a sample is missing: {longest} s between two");
}

/// A job that finds its targets, and one for each partition that is told them.
fn config(address: &str, topic: &str, partitions: i32, failures: &Path) -> String {
    let via = |way: &str| format!("metric_relabel_configs: [{{target_label: via, replacement: {way}}}]");
    let mut config = format!(
        "global: {{scrape_interval: {INTERVAL}s, scrape_timeout: {INTERVAL}s, scrape_failure_log_file: {}}}\n\
         scrape_configs:\n\
         - job_name: found\n  honor_labels: true\n  {}\n  \
         http_sd_configs: [{{url: \"http://{address}/sd?by=partition\", refresh_interval: 5s}}]\n",
        failures.display(),
        via("sd")
    );
    for partition in 0..partitions {
        config += &format!(
            "- job_name: told-{partition}\n  honor_labels: true\n  {}\n  \
             metrics_path: /partitions/{topic}/{partition}/metrics\n  \
             static_configs: [{{targets: [\"{address}\"]}}]\n",
            via("static")
        );
    }
    config
}

fn eventually_some(prometheus: &Prometheus, expression: &str, count: usize) {
    eventually(&format!("Prometheus has {count} of {expression}"), Duration::from_secs(60), || {
        (prometheus.query(expression).len() == count).then_some(())
    });
}
