//! Faults of time: clocks that jump, producers that pause.
use crate::faults::bed::{Bed, Setup};
use crate::faults::clock::{self, Clock};
use crate::support::kafka::Kafka;
use crate::support::skip::require;
use std::process::Command;
use std::thread;
use std::time::Duration;

const HOUR: i64 = 3600;

/// Nothing of the promise rests on the wall clock: each bridge's jumps by hours, another
/// way than the others', through handovers and a crash.
#[test]
fn the_bridges_wall_clocks_jump() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(_) = require(clock::library()) else { return };
    let bed = Bed::new(kafka, "clocks", Setup::short());
    let (ahead, behind, wild) = (Clock::new(), Clock::new(), Clock::new());
    let (a, b) = (bed.bridge_by(&ahead), bed.bridge_by(&behind));
    bed.wait_shown(&[&a, &b]);
    bed.note("one clock jumps 2 h ahead, the other 3 h back".into());
    ahead.set(2 * HOUR);
    behind.set(-3 * HOUR);
    thread::sleep(Duration::from_secs(2));
    bed.wait_fresh(&[&a, &b]);
    wild.set(-HOUR);
    let c = bed.bridge_by(&wild);
    bed.wait_fresh(&[&a, &b, &c]);
    bed.note("every clock jumps".into());
    wild.set(24 * HOUR);
    ahead.set(-2 * HOUR);
    behind.set(0);
    bed.kill(&b);
    bed.wait_fresh(&[&a, &c]);
    bed.stop(&a);
    bed.wait_fresh(&[&c]);
    bed.finish(&[&c]).assert_sound();
}

/// The producer's clock stamps the dumps (`k2p-time`): an hour ahead, an hour behind, and
/// a little back, which looks like older dumps (rule 8).
#[test]
fn the_producers_clock_jumps() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "stamps", Setup::short());
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    for seconds in [HOUR, -HOUR, 0] {
        bed.set_producers_clock(seconds);
        bed.wait_fresh(&[&a, &b]);
    }
    bed.stop(&b);
    bed.set_producers_clock(HOUR);
    bed.wait_fresh(&[&a]);
    let c = bed.bridge();
    bed.set_producers_clock(HOUR - 3);
    bed.wait_fresh(&[&a, &c]);
    bed.finish(&[&a, &c]).assert_sound();
}

/// Every origin goes stale; a bridge that has seen none of them takes over; then all
/// come back with what is newer.
#[test]
fn the_producer_pauses_until_its_origins_are_stale() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bed = Bed::new(kafka, "pause", Setup { staleness_s: 4, ..Setup::short() });
    let (a, b) = (bed.bridge(), bed.bridge());
    bed.wait_shown(&[&a, &b]);
    bed.pause(true);
    bed.wait_dark(&[&a, &b]);
    bed.stop(&b);
    let c = bed.bridge();
    bed.note("a new bridge".into());
    thread::sleep(Duration::from_secs(1));
    bed.wait_dark(&[&a, &c]);
    bed.pause(false);
    bed.wait_fresh(&[&a, &c]);
    bed.kill(&a);
    bed.wait_fresh(&[&c]);
    bed.finish(&[&c]).assert_sound();
}

#[test]
fn a_clock_of_ones_own_is_as_wrong_as_it_was_told() {
    let Some(_) = require(clock::library()) else { return };
    let now = |command: &mut Command| {
        let told = String::from_utf8(command.arg("+%s").output().unwrap().stdout).unwrap();
        told.trim().parse::<i64>().unwrap()
    };
    for seconds in [0, 2 * HOUR, -30 * HOUR] {
        let clock = Clock::new();
        clock.set(seconds);
        let mut date = Command::new("date");
        clock.give(&mut date).unwrap();
        let difference = now(&mut date) - now(&mut Command::new("date"));
        assert!((difference - seconds).abs() <= 5, "{difference} s instead of {seconds} s");
    }
}
