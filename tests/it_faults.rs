//! Faults on real Kafka with real processes, under the checker of design §1's promise.
//!
//! Each test is one fault. It prints what was seen (`FAULTS …`): samples, moves of
//! partitions, and how long they were dark.
use crate::checker::Micros;
use crate::faults::bed::{Bed, Run, Setup};
use crate::support::chaos::{Mode, api};
use crate::support::kafka::Kafka;
use crate::support::skip::require;
use std::thread;
use std::time::Duration;

/// Beside a bound that the design promises: this machine has two cores, and the tests
/// share them.
const SLACK: Micros = 6_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// G4: a crash costs at most L_wait + 3 s.
#[track_caller]
fn assert_crash_hole(run: &Run, setup: &Setup) {
    let worst = run.moves().into_iter().max_by_key(|hole| hole.took);
    let bound = setup.wait_ms * 1000 + 3_000_000 + SLACK;
    assert!(worst.is_some_and(|hole| hole.took <= bound), "no move, or {worst:?} is above {bound} µs");
}

#[test]
fn a_bridge_is_killed() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup::short();
    let bed = Bed::new(kafka, "kill", setup.clone());
    let (a, b, c) = (bed.bridge(), bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b, &c]);
    thread::sleep(seconds(2));
    bed.kill(&b);
    bed.wait_shown(&[&a, &c]);
    let run = bed.finish(&[&a, &c]);
    run.assert_sound();
    assert_crash_hole(&run, &setup);
}

/// The restarted bridge joins while the coordinator still believes in the dead one:
/// every commit of the others waits behind that.
#[test]
fn a_bridge_is_killed_and_started_at_once() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup::short();
    let bed = Bed::new(kafka, "restart", setup.clone());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.kill(&b);
    let again = bed.bridge();
    bed.wait_shown(&[&a, &again]);
    let run = bed.finish(&[&a, &again]);
    run.assert_sound();
    assert_crash_hole(&run, &setup);
    let fenced = a.counter("kafka2prom_fences_total", "lease_lapsed");
    assert_eq!(fenced, 0.0, "the other bridge lost its leases\n{}", a.service().process().log_tail());
}

#[test]
fn a_bridge_is_frozen_for_longer_than_every_timeout() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    frozen(kafka, Setup::short()).assert_sound();
}

fn frozen(kafka: &Kafka, setup: Setup) -> Run {
    let bed = Bed::new(kafka, "freeze", setup.clone());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.freeze(&b, Duration::from_millis(setup.session_ms + setup.wait_ms + 4000));
    bed.wait_shown(&[&a, &b]);
    bed.finish(&[&a, &b])
}

/// Two bridges, of which the second reaches the brokers through the proxy; `mode` for
/// `time`, while both are scraped.
fn cut(kafka: &Kafka, name: &str, setup: Setup, mode: Mode, time: Duration) -> Run {
    let bed = Bed::new(kafka, name, setup);
    let (a, b) = (bed.bridge(), bed.bridge_at(&kafka.chaos_bootstrap()));
    bed.wait_shown(&[&a, &b]);
    bed.note(format!("bridge {}: {mode:?}", b.number));
    kafka.chaos().set(&b.client_id, mode);
    thread::sleep(time);
    bed.note(format!("bridge {}: passes again", b.number));
    kafka.chaos().set(&b.client_id, Mode::Pass);
    bed.wait_shown(&[&a, &b]);
    bed.finish(&[&a, &b])
}

#[test]
fn a_bridge_loses_the_brokers_and_not_its_scrapers() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    cut(kafka, "blackhole", Setup::short(), Mode::Blackhole, seconds(11)).assert_sound();
}

#[test]
fn only_heartbeats_are_lost() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    cut(kafka, "heartbeats", Setup::short(), Mode::Drop(vec![api::HEARTBEAT]), seconds(11)).assert_sound();
}

#[test]
fn only_commits_are_lost() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    cut(kafka, "commits", Setup::short(), Mode::Drop(vec![api::OFFSET_COMMIT]), seconds(8)).assert_sound();
}

#[test]
fn only_fetches_are_lost() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    cut(kafka, "fetches", Setup::short(), Mode::Drop(vec![api::FETCH]), seconds(8)).assert_sound();
}

/// A bridge joins and leaves again and again; every second time it dies instead.
#[test]
fn a_storm_of_rebalances() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "storm", Setup::short());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    for round in 0..6 {
        let guest = bed.bridge();
        thread::sleep(Duration::from_millis(500 + 300 * round));
        if round % 3 == 2 {
            bed.kill(&guest);
        } else {
            bed.stop(&guest);
        }
    }
    bed.wait_shown(&[&a, &b]);
    bed.finish(&[&a, &b]).assert_sound();
}

#[test]
fn every_bridge_is_killed_and_started_together() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup::short();
    let bed = Bed::new(kafka, "restart-all", setup.clone());
    let first = [bed.bridge(), bed.bridge()];
    bed.wait_shown(&[&first[0], &first[1]]);
    for bridge in &first {
        bed.kill(bridge);
    }
    let second = [bed.bridge(), bed.bridge()];
    let living = [&second[0], &second[1]];
    bed.wait_shown(&living);
    let run = bed.finish(&living);
    run.assert_sound();
}

/// Bridges leave in good order, one after the other, and others come.
#[test]
fn bridges_are_replaced_in_good_order() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "planned", Setup::short());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    thread::sleep(seconds(1));
    bed.stop(&a);
    bed.wait_shown(&[&b]);
    thread::sleep(seconds(1));
    let c = bed.bridge();
    bed.wait_shown(&[&b, &c]);
    thread::sleep(seconds(2));
    bed.stop(&b);
    bed.wait_shown(&[&c]);
    let run = bed.finish(&[&c]);
    run.assert_sound();
    let worst = run.moves().into_iter().max_by_key(|hole| hole.took);
    assert!(worst.is_some_and(|hole| hole.took < 2_000_000 + SLACK), "no move, or too long a hole: {worst:?}");
}
