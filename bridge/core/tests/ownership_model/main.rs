//! The ownership machine under the model checker: work in progress.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests; the table is printed")]
mod world;

use k2p_core::ownership::{Config, Rules};
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{Bounds, Broken, Env, Step, World};

#[derive(Clone)]
struct Protocol {
    cfg: Config,
    env: Env,
    bounds: Bounds,
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.bounds.bridges, &self.cfg)]
    }

    fn actions(&self, w: &World, out: &mut Vec<Step>) {
        if w.broken.is_none() {
            w.steps(&self.bounds, self.env, out);
        }
    }

    fn next_state(&self, w: &World, step: Step) -> Option<World> {
        let mut next = w.clone();
        next.take(step, &self.cfg, self.env);
        next.seen = Default::default();
        Some(next)
    }

    fn within_boundary(&self, w: &World) -> bool {
        w.bridges.iter().all(|b| b.flying.len() <= 2)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("G1", |_, w: &World| w.broken != Some(Broken::G1)),
            Property::always("G2", |_, w: &World| w.broken != Some(Broken::G2)),
            Property::always("one commit", |m: &Protocol, w: &World| {
                !m.cfg.rules.one_commit || w.bridges.iter().all(|b| b.flying.len() <= 1)
            }),
            Property::always("table", |_, w: &World| w.table_agrees()),
        ]
    }
}

#[test]
fn probe() {
    let env = |k: &str, d: i64| std::env::var(k).ok().map_or(d, |v| v.parse().unwrap());
    let l = env("L", 1);
    let cfg = Config { lease: l, wait: l, renew: 1, retry: 1, rules: Rules::ALL };
    let bounds = Bounds {
        bridges: 2,
        time: env("T", 2),
        generations: env("G", 3) as i32,
        log: env("H", 1),
        restarts: env("R", 0) as u8,
        empty: env("E", 0) > 0,
        slow_watch: env("S", 0) > 0,
    };
    let t = std::time::Instant::now();
    let model = Protocol { cfg, env: Env::SOUND, bounds };
    let ch = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(std::time::Duration::from_secs(env("TO", 60) as u64))
        .spawn_bfs()
        .join();
    println!(
        "states {} unique {} depth {} {:?}",
        ch.state_count(),
        ch.unique_state_count(),
        ch.max_depth(),
        t.elapsed()
    );
    for (name, path) in ch.discoveries() {
        println!("{name}: {:?}", path.into_actions());
    }
}

#[test]
fn table() {
    let env = |k: &str, d: i64| std::env::var(k).ok().map_or(d, |v| v.parse().unwrap());
    let only = std::env::var("ONLY").unwrap_or_default();
    let all = Rules::ALL;
    let sound = Env::SOUND;
    let cases: Vec<(&str, Rules, Env)> = vec![
        ("lease", Rules { lease: false, ..all }, sound),
        ("lease_from_send", Rules { lease_from_send: false, ..all }, sound),
        ("same_generation", Rules { same_generation: false, ..all }, sound),
        ("claim", Rules { claim: false, ..all }, sound),
        ("wait", Rules { wait: false, ..all }, sound),
        ("watch_restarts", Rules { watch_restarts: false, ..all }, sound),
        ("barrier", Rules { barrier: false, ..all }, sound),
        ("barrier_after_wait", Rules { barrier_after_wait: false, ..all }, sound),
        ("evict_first", Rules { evict_first: false, ..all }, sound),
        ("release_only_live", Rules { release_only_live: false, ..all }, sound),
        ("one_commit", Rules { one_commit: false, ..all }, sound),
        ("release_processed", Rules { release_processed: false, ..all }, sound),
        ("give_back_after_wait", Rules { give_back_after_wait: false, ..all }, sound),
        ("release_as_member", Rules { release_as_member: false, ..all }, sound),
        ("fresh_proof", Rules { fresh_proof: false, ..all }, sound),
        ("held_shown", Rules { held_shown: false, ..all }, sound),
        ("env rejoin_waits", all, Env { rejoin_waits: false, ..sound }),
        ("env no_resend_outside", all, Env { no_resend_outside: false, ..sound }),
        ("env failed_is_final", all, Env { failed_is_final: false, ..sound }),
        ("env fenced_release", all, Env { fenced_release: false, ..sound }),
        ("env dark_then_sample", all, Env { dark_then_sample: false, ..sound }),
        ("env fresh_end", all, Env { fresh_end: false, ..sound }),
    ];
    for (name, rules, e) in cases {
        if !name.contains(&only) {
            continue;
        }
        let l = env("L", 1);
        let cfg = Config { lease: l, wait: l, renew: 1, retry: 1, rules };
        let bounds = Bounds {
            bridges: 2,
            time: env("T", 2),
            generations: env("G", 3) as i32,
            log: env("H", 1),
            restarts: env("R", 0) as u8,
            empty: env("E", 0) > 0,
            slow_watch: env("S", 0) > 0,
        };
        let t = std::time::Instant::now();
        let model = Protocol { cfg, env: e, bounds };
        let ch = model
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .timeout(std::time::Duration::from_secs(env("TO", 25) as u64))
            .spawn_bfs()
            .join();
        println!(
            "{name:22} states {:8} unique {:8} depth {} {:.1?}",
            ch.state_count(),
            ch.unique_state_count(),
            ch.max_depth(),
            t.elapsed()
        );
        for (name, path) in ch.discoveries() {
            let a = path.into_actions();
            println!("      {name}: {} {:?}", a.len(), a);
        }
    }
}
