//! Faults of the cluster: what moves or vanishes there, and another generation of it.
use crate::checker;
use crate::faults::bed::{Bed, Bridge, Run, Setup};
use crate::it_faults::{assert_no_fence, killed_and_started};
use crate::support::kafka::Kafka;
use crate::support::poll::eventually;
use crate::support::skip::require;
use std::thread;
use std::time::{Duration, Instant};

/// What a busy machine may delay two scrapes of the same bridge by. A fence would
/// make the hole longer than this: it ends with a claim that the coordinator answers.
const NO_HOLE: u64 = 3_000_000;

#[test]
fn kafka_3_9_a_bridge_is_killed_and_started_at_once() {
    let Some(kafka) = require(Kafka::shared_v3()) else { return };
    killed_and_started(kafka, "v3-restart", &Setup::short());
}

/// Two bridges, while `fault` befalls the cluster and a node is away for 13 s: more than
/// the brokers' own session of 9 s.
fn node_away(name: &str, setup: Setup, fault: impl FnOnce(&mut Kafka, &Bed)) {
    let Some(mut kafka) = require(Kafka::shared_three()) else { return };
    let bed = Bed::new(&kafka, name, setup);
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    thread::sleep(Duration::from_secs(1));
    let since = bed.recorder.now();
    fault(&mut kafka, &bed);
    thread::sleep(Duration::from_secs(13));
    bed.note("the node is started".into());
    kafka.start_missing();
    bed.wait_shown(&[&a, &b]);
    let run = bed.finish(&[&a, &b]);
    run.assert_sound();
    assert_no_hole(&run, since, &[&a, &b]);
}

/// Nobody was fenced, nothing moved, and nothing was dark.
#[track_caller]
fn assert_no_hole(run: &Run, since: u64, bridges: &[&Bridge]) {
    assert_no_fence(bridges);
    let mut after = run.history.clone();
    after.scrapes.retain(|scrape| scrape.start >= since);
    let moves = checker::moves(&after);
    assert!(moves.is_empty(), "partitions moved: {moves:?}");
    let longest = checker::longest_dark(&after).into_values().max().unwrap_or(u64::MAX);
    assert!(longest < NO_HOLE, "a partition was dark for {longest} µs");
}

#[test]
fn the_coordinator_moves_in_good_order() {
    node_away("coordinator", Setup::default_timers(), |kafka, bed| {
        let id = kafka.coordinator(&bed.group).expect("the group is in use");
        bed.note(format!("the coordinator, node {id}, is stopped"));
        kafka.node_with_id(id).stop();
    });
}

#[test]
fn the_coordinator_dies() {
    node_away("coordinator-dies", Setup::default_timers(), |kafka, bed| {
        let id = kafka.coordinator(&bed.group).expect("the group is in use");
        bed.note(format!("the coordinator, node {id}, is killed"));
        kafka.node_with_id(id).kill();
    });
}

/// How long a commit waits for the next coordinator: what the session must outlast.
#[test]
#[ignore = "a benchmark: prints how long a coordinator's hard death lasts for a bridge"]
fn figures_coordinator_dies() {
    let Some(mut kafka) = require(Kafka::shared_three()) else { return };
    let patient = Setup { session_ms: 40_000, lease_ms: 60_000, wait_ms: 70_000, ..Setup::short() };
    for round in 0..8 {
        let bed = Bed::new(&kafka, "dies", patient.clone());
        let a = bed.bridge();
        bed.wait_shown(&[&a]);
        let ok = || a.counter("kafka2prom_commits_total", "ok");
        let id = kafka.coordinator(&bed.group).expect("the group is in use");
        let controls = kafka.controller() == Some(id);
        thread::sleep(Duration::from_millis(700 * round));
        kafka.node_with_id(id).kill();
        let (died, before) = (Instant::now(), ok());
        eventually("a commit is acknowledged", Duration::from_secs(60), || (ok() > before).then_some(()));
        println!("figures: coordinator dies (controller too: {controls}): {:.1} s", died.elapsed().as_secs_f64());
        kafka.start_missing();
    }
}

#[test]
fn a_leader_moves() {
    node_away("leader", Setup::default_timers(), |kafka, bed| {
        let coordinator = kafka.coordinator(&bed.group);
        let leads = |partition| kafka.leader(&bed.topic, partition).filter(|id| Some(*id) != coordinator);
        let id = (0..8).find_map(leads).expect("one node leads partitions and not the group");
        bed.note(format!("node {id}, a leader and not the coordinator, is killed"));
        kafka.node_with_id(id).kill();
    });
}

/// Under the same name there is another log, whose offsets begin again.
#[test]
fn the_topic_is_deleted_and_made_again_at_once() {
    topic_made_again("again", Duration::ZERO);
}

/// Long enough for every bridge to see that it is gone.
#[test]
fn the_topic_is_deleted_and_made_again_later() {
    topic_made_again("later", Duration::from_secs(12));
}

fn topic_made_again(name: &str, away: Duration) {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, name, Setup::short());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    thread::sleep(Duration::from_secs(3));
    bed.make_topic_again(kafka, away);
    bed.wait_fresh(&[&a, &b]);
    // Whoever takes over finds offsets of the log before, or of this one.
    bed.stop(&a);
    let c = bed.bridge();
    bed.wait_fresh(&[&b, &c]);
    bed.kill(&b);
    bed.wait_fresh(&[&c]);
    bed.finish(&[&c]).assert_sound();
}
