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
//! - **5 nothing is released outside of a generation** costs nothing and is no longer
//!   needed: a marker of no generation is a stranger's to whoever reads it.
//! - **10 added partitions** needs two of them: `grown`.
use k2p_core::ownership::Rules;

use super::world::{Bounds, Env, Step};
use super::{Check, SMALL, run_after};

/// Another owner comes while a release is under way.
const RELEASE_UNDER_WAY: &[Step] =
    &[Step::Revoke(0), Step::Arrive(0, 0), Step::Kick { to: Some(1) }, Step::Time, Step::Answer(0, 0), Step::Lost(0)];

struct Case {
    name: &'static str,
    rules: Rules,
    env: Env,
    bounds: Bounds,
    /// Where the search begins: what every run may do first.
    prefix: &'static [Step],
}

/// What is taken away, in the smallest space that shows it.
fn case(name: &'static str, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case { name, rules: Rules::ALL, env: Env::SOUND, bounds: SMALL, prefix: &[] };
    change(&mut case);
    case
}

fn cases() -> Vec<Case> {
    vec![
        case("1 lease", |c| c.rules.lease = false),
        case("1 lease from the send time", |c| c.rules.lease_from_send = false),
        case("1 same generation", |c| {
            c.rules.same_generation = false;
            c.prefix = &[Step::Kick { to: Some(1) }, Step::Produce, Step::Arrive(1, 0)];
            (c.bounds.generations, c.bounds.empty) = (3, true);
        }),
        case("3 wait", |c| c.rules.wait = false),
        case("3 a new marker restarts", |c| {
            c.rules.watch_restarts = false;
            c.bounds.time = 2;
            c.prefix = &[Step::Arrive(0, 0), Step::Watch(1), Step::Time];
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
            c.prefix = &[Step::Apply(0, 0), Step::Watch(1), Step::Time];
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
            // A release is sent, and nobody has taken it when its bridge hears that it is lost.
            c.prefix = RELEASE_UNDER_WAY;
        }),
        case("2 only H does for being shown", |c| {
            c.rules.claim_held = false;
            (c.bounds.lease, c.bounds.time, c.bounds.generations) = (2, 4, 3);
            (c.bounds.fails, c.bounds.planned) = (false, false);
            c.prefix = &[Step::Arrive(0, 0), Step::Kick { to: Some(1) }, Step::Time];
        }),
        case("5 what is left of a wait", |c| {
            c.rules.claim_left = false;
            c.bounds.generations = 3;
            c.prefix = &[Step::Arrive(0, 0), Step::Kick { to: Some(1) }, Step::Answer(0, 0), Step::Revoke(1)];
        }),
        case("10 topic id", |c| {
            c.rules.topic_id = false;
            c.bounds.remakes = 1;
        }),
        case("G2 H carries what was shown", |c| c.rules.held_shown = false),
        case("the release is fenced", |c| {
            c.env.fenced_release = false;
            c.prefix = &[Step::Revoke(0), Step::Arrive(0, 0), Step::Kick { to: Some(1) }, Step::Time];
            c.bounds.generations = 3;
            (c.bounds.fails, c.bounds.watch) = (false, false);
        }),
        case("no rejoin with a commit under way", |c| {
            (c.env.rejoin_waits, c.env.restamps) = (false, true);
            c.prefix = &[Step::Produce, Step::Arrive(0, 0), Step::Answer(0, 0), Step::Revoke(0), Step::RevokeDone(0)];
            (c.bounds.generations, c.bounds.resend) = (3, true);
            (c.bounds.fails, c.bounds.watch) = (false, false);
        }),
        case("a failed commit is not applied", |c| {
            c.env.failed_is_final = false;
            c.bounds.resend = true;
            c.prefix = &[Step::Apply(0, 0), Step::Watch(1), Step::Time];
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
        let r = run_after(case.prefix, case.rules, case.env, case.bounds, Check::Safety, 1);
        let Some((broken, steps)) = r.found.first() else {
            println!("{:34} HOLDS in {} states {:.1?}", case.name, r.unique, r.took);
            holding.push(case.name);
            continue;
        };
        println!("{:34} {broken} after {:>2} steps ({} states, {:.1?})", case.name, steps.len(), r.unique, r.took);
        println!("    {:?} {steps:?}", case.prefix);
    }
    assert!(holding.is_empty(), "taken away without a violation: {holding:?}");
}
