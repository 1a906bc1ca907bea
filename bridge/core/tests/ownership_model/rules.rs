//! Each rule, and each thing that the machine relies on, taken away breaks a promise.
//!
//! Not in the table, and why:
//! - **2 claim**: a commit is acknowledged under the assignment that it was sent under,
//!   because of rule 1 (same generation) and rule 5 (no rejoin with a commit under way).
//!   Even with both of those gone and no re-sending, four epochs in two moments (1.4 M
//!   states) hold without it: what a successor finds unheld was held for longer than the
//!   old commit's lease. It stays, as a second wall that costs nothing;
//!   `ownership_scenarios` and `ownership_props` fail without it.
//! - **fresh proof** after a fence: a proof in the same generation already says that the
//!   partition was nobody else's; the stricter form is a second wall against answers
//!   that a client invents, and no space here has a counterexample.
//! - **10 added partitions, topic ids** need several partitions: cases in
//!   `ownership_scenarios.rs`, argued in the design, not model-checked.
use k2p_core::ownership::Rules;

use super::world::{Bounds, Env};
use super::{Check, SMALL, run};

struct Case {
    name: &'static str,
    rules: Rules,
    env: Env,
    bounds: Bounds,
}

/// What is taken away, in the smallest space that shows it.
fn case(name: &'static str, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case { name, rules: Rules::ALL, env: Env::SOUND, bounds: SMALL };
    change(&mut case);
    case
}

fn cases() -> Vec<Case> {
    vec![
        case("1 lease", |c| c.rules.lease = false),
        case("1 lease from the send time", |c| c.rules.lease_from_send = false),
        case("1 same generation", |c| {
            c.rules.same_generation = false;
            (c.bounds.generations, c.bounds.empty) = (3, true);
        }),
        case("3 wait", |c| c.rules.wait = false),
        case("3 a new marker restarts", |c| {
            c.rules.watch_restarts = false;
            c.bounds.time = 2;
        }),
        case("4 barrier", |c| c.rules.barrier = false),
        case("4 barrier after the wait", |c| c.rules.barrier_after_wait = false),
        case("5 dark before released", |c| c.rules.evict_first = false),
        case("5 only who was live releases", |c| {
            c.rules.release_only_live = false;
            (c.bounds.generations, c.bounds.time) = (3, 0);
        }),
        case("5 one commit", |c| {
            c.rules.one_commit = false;
            c.bounds.resend = true;
        }),
        case("5 releases what was processed", |c| c.rules.release_processed = false),
        case("5 gives back after its wait", |c| {
            c.rules.give_back_after_wait = false;
            (c.bounds.generations, c.bounds.time) = (3, 0);
        }),
        case("5 an old marker is a stranger's", |c| {
            c.rules.old_is_stranger = false;
            (c.bounds.generations, c.bounds.empty) = (4, true);
            (c.bounds.fails, c.bounds.watch) = (false, false);
        }),
        case("2 only H does for being shown", |c| {
            c.rules.claim_held = false;
            (c.bounds.lease, c.bounds.time, c.bounds.generations) = (2, 3, 3);
        }),
        case("5 what is left of a wait", |c| {
            c.rules.claim_left = false;
            c.bounds.generations = 3;
        }),
        case("10 topic id", |c| {
            c.rules.topic_id = false;
            c.bounds.remakes = 1;
        }),
        case("G2 H carries what was shown", |c| c.rules.held_shown = false),
        case("the release is fenced", |c| {
            c.env.fenced_release = false;
            c.bounds.generations = 3;
            (c.bounds.fails, c.bounds.watch) = (false, false);
        }),
        case("no rejoin with a commit under way", |c| {
            (c.env.rejoin_waits, c.env.restamps) = (false, true);
            (c.bounds.generations, c.bounds.resend) = (3, true);
            (c.bounds.fails, c.bounds.watch) = (false, false);
        }),
        case("a failed commit is not applied", |c| {
            c.env.failed_is_final = false;
            c.bounds.resend = true;
        }),
        case("dark before the position is read", |c| {
            c.env.dark_then_sample = false;
            c.bounds.time = 0;
        }),
        case("the end is of this assignment", |c| {
            c.env.fresh_end = false;
            (c.bounds.generations, c.bounds.time) = (3, 0);
        }),
    ]
}

#[test]
fn each_rule_is_needed() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut holding = Vec::new();
    for case in cases().into_iter().filter(|c| c.name.contains(&only)) {
        let r = run(case.rules, case.env, case.bounds, Check::Safety, 1);
        let Some((broken, steps)) = r.found.first() else {
            println!("{:34} HOLDS in {} states {:.1?}", case.name, r.unique, r.took);
            holding.push(case.name);
            continue;
        };
        println!("{:34} {broken} after {:>2} steps ({} states, {:.1?})", case.name, steps.len(), r.unique, r.took);
        println!("    {steps:?}");
    }
    assert!(holding.is_empty(), "taken away without a violation: {holding:?}");
}
