//! Faults on real Kafka with real processes, under the checker of design §1's promise.
//!
//! Each test is one fault. It prints what was seen (`FAULTS …`): samples, moves of
//! partitions, and how long they were dark.
use crate::checker::{Micros, Rule};
use crate::faults::bed::{Bed, Bridge, Protocol, Run, Setup};
use crate::faults::broken;
use crate::support::chaos::{Mode, api};
use crate::support::kafka::{self, Kafka};
use crate::support::kafka_clients::Committed;
use crate::support::parts::KafkaVersion;
use crate::support::poll::eventually;
use crate::support::skip::require;
use std::thread;
use std::time::Duration;

/// Beside a bound that the design promises: this machine has two cores, and the tests
/// share them.
const SLACK: Micros = 6_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// G4: a crash costs at most L_wait + 3 s, and a session that is longer than that wait.
#[track_caller]
fn assert_crash_hole(run: &Run, setup: &Setup) {
    let worst = run.moves().into_iter().max_by_key(|hole| hole.took);
    let bound = setup.wait_ms.max(setup.session_ms) * 1000 + 3_000_000 + SLACK;
    assert!(worst.is_some_and(|hole| hole.took <= bound), "no move, or {worst:?} is above {bound} µs");
}

#[test]
fn a_bridge_is_killed() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup::short();
    let run = killed(kafka, "kill", &setup);
    run.assert_sound();
    assert_crash_hole(&run, &setup);
}

fn killed(kafka: &Kafka, name: &str, setup: &Setup) -> Run {
    let bed = Bed::new(kafka, name, setup.clone());
    let (a, b, c) = (bed.bridge(), bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b, &c]);
    thread::sleep(seconds(2));
    bed.kill(&b);
    bed.wait_shown(&[&a, &c]);
    bed.finish(&[&a, &c])
}

/// The restarted bridge joins while the coordinator still believes in the dead one:
/// every commit of the others waits behind that.
#[test]
fn a_bridge_is_killed_and_started_at_once() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    killed_and_started(kafka, "restart", &Setup::short());
}

pub(crate) fn killed_and_started(kafka: &Kafka, name: &str, setup: &Setup) {
    let bed = Bed::new(kafka, name, setup.clone());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.kill(&b);
    let again = bed.bridge();
    bed.wait_shown(&[&a, &again]);
    thread::sleep(seconds(2));
    let run = bed.finish(&[&a, &again]);
    run.assert_sound();
    assert_crash_hole(&run, setup);
    assert_no_fence(&[&a]);
}

/// None of these bridges ever lost a lease.
#[track_caller]
pub(crate) fn assert_no_fence(bridges: &[&Bridge]) {
    for bridge in bridges {
        let fenced = bridge.counter("kafka2prom_fences_total", "lease_lapsed");
        let log = || bridge.service().process().log_tail();
        assert_eq!(fenced, 0.0, "bridge {} lost its leases\n{}", bridge.number, log());
    }
}

#[test]
fn a_bridge_is_frozen_for_longer_than_every_timeout() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    frozen(kafka, "freeze", &Setup::short()).assert_sound();
}

fn frozen(kafka: &Kafka, name: &str, setup: &Setup) -> Run {
    let bed = Bed::new(kafka, name, setup.clone());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    let time = Duration::from_millis(setup.session_ms + setup.wait_ms + 3000);
    bed.freeze(&b, time);
    bed.wait_shown(&[&a, &b]);
    bed.freeze_quietly(&b, time);
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

/// The group takes all partitions from a bridge that is not heard, and gives them back while
/// it still shows them under their leases.
#[test]
fn an_assignment_is_lost_and_given_back_before_its_leases_lapse() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup { lease_ms: 8000, wait_ms: 9000, ..Setup::short() };
    let bed = Bed::new(kafka, "givenback", setup);
    let (a, b) = (bed.bridge(), bed.bridge_at(&kafka.chaos_bootstrap()));
    bed.wait_shown(&[&a, &b]);
    bed.note(format!("bridge {} is not heard", b.number));
    kafka.chaos().set(&b.client_id, Mode::Drop(vec![api::HEARTBEAT]));
    let lost = || b.counter("kafka2prom_fences_total", "assignment_lost") > 0.0;
    eventually("the assignment is lost", seconds(60), || lost().then_some(()));
    kafka.chaos().set(&b.client_id, Mode::Pass);
    bed.wait_fresh(&[&a, &b]);
    bed.finish(&[&a, &b]).assert_sound();
    assert_no_fence(&[&a, &b]);
}

#[test]
fn only_commits_are_lost() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup { socket_ms: 10_000, ..Setup::short() };
    cut(kafka, "commits", setup, Mode::Drop(vec![api::OFFSET_COMMIT]), seconds(8)).assert_sound();
}

#[test]
fn only_fetches_are_lost() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup { socket_ms: 10_000, ..Setup::short() };
    cut(kafka, "fetches", setup, Mode::Drop(vec![api::FETCH]), seconds(8)).assert_sound();
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
    thread::sleep(seconds(3));
    bed.finish(&living).assert_sound();
}

/// Bridges leave in good order, one after the other, and others come.
#[test]
fn bridges_are_replaced_in_good_order() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    replaced(kafka, "planned", Setup::short(), 2_000_000);
}

/// A handover costs at most `hole`.
fn replaced(kafka: &Kafka, name: &str, setup: Setup, hole: Micros) {
    let bed = Bed::new(kafka, name, setup);
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
    assert!(worst.is_some_and(|found| found.took < hole + SLACK), "no move, or too long a hole: {worst:?}");
}

#[test]
fn kip848_bridges_are_replaced_in_good_order() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    replaced(kafka, "kip848-planned", Setup::kip848(), 2_000_000);
}

#[test]
fn kip848_a_bridge_is_killed_and_started_at_once() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    killed_and_started(kafka, "kip848-kill", &Setup::kip848());
}

#[test]
fn kip848_a_bridge_is_frozen_for_longer_than_every_timeout() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    frozen(kafka, "kip848-freeze", &Setup::kip848()).assert_sound();
}

/// As users have it: the broker's session is 45 s and its heartbeat 5 s, both also the
/// least that it grants. A crash costs the session then, not L_wait.
#[test]
#[ignore = "long: sessions of 45 s"]
fn kip848_with_the_brokers_own_minima() {
    let setup = kafka::Setup::new(KafkaVersion::V4, 1).with_default_minima();
    let Some(kafka) = require(Kafka::start(&setup)) else { return };
    let setup = Setup { protocol: Protocol::Consumer, session_ms: 45_000, ..Setup::default_timers() };
    // One heartbeat to learn of the revocation, one to have it acknowledged, one to be assigned.
    replaced(&kafka, "minima-planned", setup.clone(), 15_000_000);
    let run = killed(&kafka, "minima-kill", &setup);
    run.assert_sound();
    assert_crash_hole(&run, &setup);
    killed_and_started(&kafka, "minima-restart", &setup);
    frozen(&kafka, "minima-freeze", &setup).assert_sound();
}

/// The committed offsets lose their markers: nobody can know who showed what.
#[test]
fn an_operator_resets_the_offsets() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let setup = Setup::short();
    let bed = Bed::new(kafka, "reset", setup.clone());
    let a = bed.bridge();
    bed.wait_shown(&[&a]);
    bed.stop(&a);
    bed.note("offsets are reset to the beginning".into());
    for partition in 0..setup.partitions {
        kafka.commit(&bed.group, &bed.topic, partition, &Committed { offset: 0, metadata: String::new() });
    }
    let (b, c) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&b, &c]);
    thread::sleep(seconds(3));
    bed.finish(&[&b, &c]).assert_sound();
}

/// Origins go, staleness is kept while bridges change, and a pause of the producer
/// takes nothing back.
#[test]
fn silent_origins_go_and_a_pause_ends() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "silent", Setup { staleness_s: 6, ..Setup::short() });
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.silence(6);
    thread::sleep(seconds(2));
    bed.stop(&b);
    let c = bed.bridge();
    bed.pause(true);
    thread::sleep(seconds(9));
    bed.pause(false);
    bed.wait_shown(&[&a, &c]);
    bed.finish(&[&a, &c]).assert_sound();
}

/// Everybody loses Kafka for longer than a lease, and has it back.
#[test]
fn the_broker_is_stopped_and_started() {
    let Some(mut kafka) = require(Kafka::own(KafkaVersion::V4)) else { return };
    let bed = Bed::new(&kafka, "broker", Setup::short());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.note("the broker is stopped".into());
    kafka.stop();
    thread::sleep(seconds(6));
    bed.note("the broker is started".into());
    kafka.start_again();
    bed.wait_shown(&[&a, &b]);
    let run = bed.finish(&[&a, &b]);
    drop(bed);
    run.assert_sound();
}

/// Keys move to other partitions (rule 10): with the default timers, because owners
/// look at the topic every 10 s.
#[test]
fn partitions_are_added() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "grow", Setup { partitions: 4, ..Setup::default_timers() });
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.note("four partitions are added".into());
    kafka.grow_topic(&bed.topic, 8);
    bed.new_producer(kafka);
    thread::sleep(seconds(25));
    bed.wait_shown(&[&a, &b]);
    bed.finish(&[&a, &b]).assert_sound();
}

/// Who takes over reads again what origins sent before they moved, and must not show it.
#[test]
fn partitions_are_added_and_an_owner_dies() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "grow-kill", Setup { partitions: 4, ..Setup::default_timers() });
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.note("four partitions are added".into());
    kafka.grow_topic(&bed.topic, 8);
    bed.new_producer(kafka);
    // Its markers are renewed every 4 s: they still tell of a beginning before that.
    thread::sleep(seconds(1));
    bed.kill(&a);
    let c = bed.bridge();
    bed.wait_shown(&[&b, &c]);
    thread::sleep(seconds(5));
    bed.finish(&[&b, &c]).assert_sound();
}

/// Each run of a fault fails when the rule that it tests is switched off.
#[test]
#[ignore = "long: builds the binary again, with the feature `faults`"]
fn without_its_rule_each_fault_is_a_violation() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let program = Some(broken::program());
    let without = |rule| Setup { broken: Some(rule), program: program.clone(), ..Setup::short() };
    let long_lease = |setup| Setup { lease_ms: 8000, wait_ms: 10_000, ..setup };
    // Its session ends, its lease does not: only the wait keeps the other one dark.
    nap(kafka, long_lease(Setup { program: program.clone(), ..Setup::short() })).assert_sound();
    caught("wait", || nap(kafka, long_lease(without("wait"))));
    caught("lease", || frozen(kafka, "freeze", &without("lease")));
    // What the dead one showed last lies before what its successor reads last.
    killed_and_read_slowly(kafka, &Setup { program: program.clone(), ..Setup::short() }).assert_sound();
    caught("barrier", || killed_and_read_slowly(kafka, &without("barrier")));
}

/// The successor is assigned and has waited before it reads the first record, and then
/// reads one batch after the other: it would show what is old.
fn killed_and_read_slowly(kafka: &Kafka, setup: &Setup) -> Run {
    let bed = Bed::new(kafka, "kill-slow", Setup { fetch_bytes: Some(1), ..setup.clone() });
    let (a, b) = (bed.bridge(), bed.bridge_at(&kafka.chaos_bootstrap()));
    bed.wait_shown(&[&a, &b]);
    kafka.chaos().set(&b.client_id, Mode::HoldAnswers(vec![api::FETCH]));
    thread::sleep(seconds(1));
    bed.kill(&a);
    bed.pause(true);
    thread::sleep(Duration::from_millis(setup.session_ms + setup.wait_ms + 2000));
    bed.note("the other one reads, slowly".into());
    kafka.chaos().set(&b.client_id, Mode::Delay(Duration::from_millis(150)));
    thread::sleep(seconds(4));
    kafka.chaos().set(&b.client_id, Mode::Pass);
    bed.pause(false);
    bed.wait_shown(&[&b]);
    bed.finish(&[&b])
}

/// Some run shows something older. When a frozen bridge goes on, its scrapes race with
/// its client, which sees in milliseconds that its session has ended: not every run can
/// see what the missing rule would have let through.
#[track_caller]
fn caught(rule: &str, run: impl Fn() -> Run) {
    let older = |_: &u32| {
        let run = run();
        run.print();
        run.broke(Rule::Older)
    };
    let tries = (1..=6).find(older);
    eprintln!("CAUGHT without {rule}: in try {tries:?}");
    assert!(tries.is_some(), "no run without the rule {rule} was a violation");
}

/// Frozen for longer than the session and shorter than the lease.
fn nap(kafka: &Kafka, setup: Setup) -> Run {
    let bed = Bed::new(kafka, "nap", setup);
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.freeze_quietly(&b, Duration::from_millis(4500));
    bed.wait_shown(&[&a, &b]);
    bed.finish(&[&a, &b])
}
