//! Faults at random, for as long as asked, from a printed seed.
//!
//! ```sh
//! K2P_SOAK=3600 K2P_SEED=7 cargo test --test integration soak -- --ignored --nocapture
//! ```
//!
//! | variable | |
//! |---|---|
//! | `K2P_SOAK` | for so many seconds (120) |
//! | `K2P_SAMPLES` | and until so many values were seen (0) |
//! | `K2P_SEED` | the seed (by chance) |
//! | `K2P_FAULT` | only these kinds of [`KINDS`], with commas between (all) |
//! | `K2P_ORIGINS`, `K2P_SERIES` | how many origins (24), and series of each (2) |
use crate::faults::bed::{Bed, Bridge, Setup};
use crate::support::chaos::{Mode, api};
use crate::support::kafka::Kafka;
use crate::support::skip::require;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

/// The kinds of faults.
const KINDS: [&str; 9] =
    ["kill", "stop", "freeze", "blackhole", "heartbeats", "commits", "fetches", "held_commits", "delay"];

#[test]
#[ignore = "long: K2P_SOAK=SECONDS K2P_SEED=N"]
fn soak() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let small = |name: &str, default| number(name).map_or(default, |n| u32::try_from(n).expect("a small number"));
    let seed = number("K2P_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let (time, samples) = (number("K2P_SOAK").unwrap_or(120), number("K2P_SAMPLES").unwrap_or(0));
    let (origins, series) = (small("K2P_ORIGINS", 24), small("K2P_SERIES", 2));
    let kinds = kinds();
    eprintln!(
        "SOAK K2P_SOAK={time} K2P_SAMPLES={samples} K2P_SEED={seed} K2P_FAULT={} K2P_ORIGINS={origins} \
         K2P_SERIES={series}",
        kinds.join(",")
    );
    let bed = Bed::new(kafka, "soak", Setup { socket_ms: 10_000, origins, series, ..Setup::short() });
    let mut dice = Dice(seed);
    let start = || bed.bridge_at(&kafka.chaos_bootstrap());
    let mut bridges: Vec<Bridge> = (0..3).map(|_| start()).collect();
    let end = Instant::now() + Duration::from_secs(time);
    while Instant::now() < end || bed.samples() < samples {
        thread::sleep(Duration::from_millis(dice.below(6000)));
        let victim = usize::try_from(dice.below(3)).expect("one of three");
        let for_a_while = Duration::from_millis(500 + dice.below(12_000));
        let kind = kinds[usize::try_from(dice.below(kinds.len() as u64)).expect("one of few")];
        befall(kafka, &bed, &bridges[victim], kind, for_a_while);
        if bridges[victim].service().process().exit_code().is_some() {
            bridges[victim] = start();
        }
    }
    let living: Vec<&Bridge> = bridges.iter().collect();
    bed.wait_shown(&living);
    let run = bed.finish(&living);
    assert!(run.report.violations.is_empty(), "K2P_SEED={seed}: {}", run.report);
    run.assert_sound();
}

fn kinds() -> Vec<&'static str> {
    let Ok(wanted) = env::var("K2P_FAULT") else { return KINDS.to_vec() };
    let known = |name: &str| KINDS.into_iter().find(|kind| *kind == name);
    wanted.split(',').map(|name| known(name).unwrap_or_else(|| panic!("no fault {name:?} in {KINDS:?}"))).collect()
}

fn befall(kafka: &Kafka, bed: &Bed, bridge: &Bridge, kind: &str, time: Duration) {
    let mode = match kind {
        "kill" => return bed.kill(bridge),
        "stop" => return bed.stop(bridge),
        "freeze" => return bed.freeze(bridge, time),
        "blackhole" => Mode::Blackhole,
        "heartbeats" => Mode::Drop(vec![api::HEARTBEAT]),
        "commits" => Mode::Drop(vec![api::OFFSET_COMMIT]),
        "fetches" => Mode::Drop(vec![api::FETCH]),
        "held_commits" => Mode::HoldAnswers(vec![api::OFFSET_COMMIT]),
        _ => Mode::Delay(Duration::from_millis(200)),
    };
    bed.note(format!("{}: {mode:?} for {time:?}", bridge.client_id));
    kafka.chaos().set(&bridge.client_id, mode);
    thread::sleep(time);
    kafka.chaos().set(&bridge.client_id, Mode::Pass);
}

/// Repeatable chance: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}
