//! The figures of the ownership protocol: what moving, dying and merely owning cost. No
//! assertion on time: these print. Written down in `deploy/docs/operations.md`.
//!
//! ```sh
//! cargo test --test integration figures_ownership -- --ignored --nocapture --test-threads=1
//! ```
use crate::checker::{History, Hole, moves};
use crate::faults::bed::{Bed, Bridge, Setup};
use crate::faults::service::Balancer;
use crate::figures::cpu;
use crate::it_faults::assert_no_fence;
use crate::support::chaos::api;
use crate::support::kafka::Kafka;
use crate::support::parts::Generation;
use crate::support::poll::eventually;
use crate::support::prometheus::{Found, Prometheus};
use crate::support::skip::require;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// Of scrapes, in seconds.
const INTERVAL: f64 = 3.0;

/// p50, p99 and the longest in milliseconds, and how many.
fn spread(holes: &[Hole]) -> String {
    let mut took: Vec<u64> = holes.iter().map(|hole| hole.took / 1000).collect();
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).or(took.last()).copied().unwrap_or(0);
    format!("p50 {} ms, p99 {} ms, longest {} ms of {}", at(50), at(99), at(100), took.len())
}

/// The moves that began at a time.
fn since(history: &History, begun: u64) -> Vec<Hole> {
    moves(history).into_iter().filter(|hole| hole.begun >= begun).collect()
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_ownership_planned_handover() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for (partitions, pad_bytes) in [(8, 0), (8, 256 << 10), (8, 2 << 20), (64, 0), (64, 256 << 10), (64, 2 << 20)] {
        let origins = u32::try_from(partitions).unwrap() * 4;
        let setup = Setup { partitions, pad_bytes, origins, ..Setup::default_timers() };
        let bed = Bed::new(kafka, "planned", setup);
        let (a, mut b) = (bed.bridge(), bed.bridge());
        bed.wait_shown(&[&a, &b]);
        let begun = bed.recorder.now();
        for _ in 0..4 {
            bed.stop(&b);
            bed.wait_shown(&[&a]);
            b = bed.bridge();
            bed.wait_shown(&[&a, &b]);
        }
        let run = bed.finish(&[&a, &b]);
        run.assert_sound();
        let found = spread(&since(&run.history, begun));
        println!("figures: planned handover, {partitions} partitions of {} KiB: {found}", pad_bytes >> 10);
    }
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_ownership_kill() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for at_once in [false, true] {
        let bed = Bed::new(kafka, "kill", Setup::default_timers());
        let (a, mut b) = (bed.bridge(), bed.bridge());
        bed.wait_shown(&[&a, &b]);
        let mut holes = Vec::new();
        for _ in 0..4 {
            let begun = bed.recorder.now().saturating_sub(1_000_000);
            bed.kill(&b);
            if !at_once {
                bed.wait_shown(&[&a]);
            }
            b = bed.bridge();
            bed.wait_shown(&[&a, &b]);
            // Of each partition the first move: the next one is a planned one.
            let mut first: BTreeMap<i32, Hole> = BTreeMap::new();
            for hole in since(&bed.recorder.history(), begun).into_iter().filter(|hole| hole.from != a.number) {
                first.entry(hole.partition).or_insert(hole);
            }
            holes.extend(first.into_values());
        }
        assert_no_fence(&[&a]);
        bed.finish(&[&a, &b]).assert_sound();
        println!("figures: kill -9, started again at once: {at_once}: {}; no fence", spread(&holes));
    }
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_ownership_time_to_live() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for partitions in [1, 8, 64] {
        let origins = u32::try_from(partitions).unwrap() * 8;
        let bed = Bed::new(kafka, "live", Setup { partitions, origins, ..Setup::default_timers() });
        let mut told = Vec::new();
        for kind in ["without a marker", "after a release", "after a release"] {
            let bridge = bed.bridge();
            bed.wait_shown(&[&bridge]);
            told.push(format!("{kind} {} ms", slowest(&bridge)));
            bed.stop(&bridge);
        }
        println!("figures: assigned -> all live, {partitions} partitions: {}", told.join(", "));
    }
}

/// The longest that a partition took from its assignment until it was live, by the log.
fn slowest(bridge: &Bridge) -> u64 {
    let log = bridge.service().process().stdout() + &bridge.service().process().stderr();
    let times = log.lines().filter_map(|line| line.split_once(" total_ms=")?.1.split(' ').next()?.parse().ok());
    times.max().expect("partitions became live")
}

/// Without traffic, so that nothing but the protocol and the fetches is left.
#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_ownership_steady_cost() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    for partitions in [1, 64] {
        let origins = u32::try_from(partitions).unwrap() * 8;
        let bed = Bed::new(kafka, "steady", Setup { partitions, origins, ..Setup::default_timers() });
        let bridge = bed.bridge_at(&kafka.chaos_bootstrap());
        bed.wait_shown(&[&bridge]);
        bed.pause(true);
        bed.quiet(&bridge);
        thread::sleep(Duration::from_secs(3));
        let pid = bridge.service().process().pid();
        let count = || kafka.chaos().requests_by_api(&bridge.client_id);
        let (before, used, begun) = (count(), cpu(pid), Instant::now());
        thread::sleep(Duration::from_secs(30));
        let (after, used, took) = (count(), cpu(pid) - used, begun.elapsed().as_secs_f64());
        let rate = |api: i16| {
            let of = |counts: &BTreeMap<i16, u64>| counts.get(&api).copied().unwrap_or(0);
            (of(&after) - of(&before)) as f64 / took
        };
        let known = [
            ("commits", api::OFFSET_COMMIT),
            ("markers", api::OFFSET_FETCH),
            ("heartbeats", api::HEARTBEAT),
            ("fetches", api::FETCH),
            ("metadata", api::METADATA),
        ];
        let rates: Vec<String> = known.iter().map(|(name, api)| format!("{name} {:.2}/s", rate(*api))).collect();
        let cpu = used * 100.0 / took;
        println!("figures: steady, {partitions} partitions: {}; {cpu:.1} % of a core", rates.join(", "));
    }
}

/// What Prometheus misses while bridges are replaced one after the other: by a target
/// per bridge, whose address stays, and by a target per partition.
#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_ownership_two_ways_to_scrape() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (service, slots) = (Balancer::start(), [Balancer::start(), Balancer::start()]);
    let setup = Setup { external: Some(service.address().to_owned()), ..Setup::default_timers() };
    let bed = Bed::new(kafka, "ways", setup.clone());
    let mut bridges = [bed.bridge(), bed.bridge()];
    let listen = |bridge: &Bridge| bridge.service().listen().to_owned();
    service.set(bridges.iter().map(listen).collect());
    for (slot, bridge) in slots.iter().zip(&bridges) {
        slot.set(vec![listen(bridge)]);
    }
    bed.wait_shown(&[&bridges[0], &bridges[1]]);
    let config = format!(
        "global: {{scrape_interval: {INTERVAL}s, scrape_timeout: {INTERVAL}s}}\nscrape_configs:\n\
         - job_name: bridges\n  honor_labels: true\n  static_configs: [{{targets: [\"{}\", \"{}\"]}}]\n  \
         metric_relabel_configs: [{{target_label: way, replacement: bridges}}]\n\
         - job_name: partitions\n  honor_labels: true\n  \
         http_sd_configs: [{{url: \"http://{}/sd?by=partition\", refresh_interval: 5s}}]\n  \
         metric_relabel_configs: [{{target_label: way, replacement: partitions}}]\n",
        slots[0].address(),
        slots[1].address(),
        service.address()
    );
    let Some(prometheus) = require(Prometheus::start(Generation::Sid, &config)) else { return };
    let series = 4 * usize::try_from(setup.origins).unwrap();
    eventually("Prometheus has every series both ways", Duration::from_secs(60), || {
        (prometheus.query("seq").len() == series).then_some(())
    });
    for round in 0..6 {
        let place = round % 2;
        let other = listen(&bridges[1 - place]);
        service.set(vec![other.clone()]);
        bed.stop(&bridges[place]);
        bridges[place] = bed.bridge();
        slots[place].set(vec![listen(&bridges[place])]);
        service.set(vec![other, listen(&bridges[place])]);
        bed.wait_shown(&[&bridges[0], &bridges[1]]);
        thread::sleep(Duration::from_secs(10));
    }
    println!("figures: six restarts: {}", spread(&moves(&bed.recorder.history())));
    for way in ["bridges", "partitions"] {
        let found = prometheus.query(&format!("seq{{way=\"{way}\"}}[10m]"));
        println!("figures: six restarts, a target per one of the {way}: {}", missing(&found));
    }
}

fn missing(found: &[Found]) -> String {
    let (mut missing, mut longest, mut hit): (f64, f64, usize) = (0.0, 0.0, 0);
    for one in found {
        let gaps = one.points.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let lost: f64 = gaps.clone().map(|gap| (gap / INTERVAL).round() - 1.0).sum();
        missing += lost;
        hit += usize::from(lost > 0.0);
        longest = gaps.fold(longest, f64::max);
    }
    let count = found.len();
    format!(
        "{hit} of {count} series miss samples, {:.1} intervals of {INTERVAL} s each, longest hole {longest:.1} s",
        missing / count as f64
    )
}
