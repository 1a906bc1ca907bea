//! The ownership protocol, case by case (design §1; the numbers are its rules).
#![allow(clippy::unwrap_used, reason = "tests")]
mod ownership_support;

use k2p_core::ownership::{Action, Event, Found, MarkerKind, State};
use ownership_support::{LEASE, ME, OTHER, Rig, WAIT, found, held, marker, released, tp};

fn live() -> Rig {
    let mut rig = Rig::new();
    rig.take(0, Found::Nothing, 5);
    assert!(rig.shows(0));
    rig
}

fn asks_end(actions: &[Action]) -> bool {
    actions.iter().any(|a| matches!(a, Action::ReadEnd(_)))
}

#[test]
fn a_fresh_partition_is_shown_once_claimed_and_caught_up() {
    let mut rig = Rig::new();
    assert!(asks_end(&rig.assign(0, Found::Nothing)), "no wait: the end is asked for at once");
    assert_eq!(rig.commits(0), Some((MarkerKind::Held, 0)));
    rig.end(0, 5);
    rig.progress(0, 5).tick();
    assert_eq!((rig.state(0), rig.shows(0)), (State::Assigned, false), "rule 2: not before the claim");
    rig.accept();
    assert!(rig.shows(0));
}

#[test]
fn a_planned_handover_needs_no_wait_and_ends_at_the_released_position() {
    let mut rig = Rig::new();
    rig.assign(0, released(5));
    rig.accept();
    rig.end(0, 9);
    assert_eq!(rig.machine.barrier(&tp(0)), Some(5));
    rig.progress(0, 4).tick();
    assert!(!rig.shows(0));
    rig.progress(0, 5).tick();
    assert!(rig.shows(0));
}

#[test]
fn the_wait_counts_from_the_first_sight_of_the_very_marker() {
    let cases = [
        ("never seen before", vec![], 11_000 + WAIT),
        ("seen since 1 s", vec![(1_000, held(5, 7)), (2_000, held(5, 7))], 1_000 + WAIT),
        ("renewed at 3 s", vec![(1_000, held(5, 6)), (3_000, held(5, 7))], 3_000 + WAIT),
        ("renewed after the last look", vec![(1_000, held(5, 6))], 11_000 + WAIT),
        ("another offset under the same marker", vec![(1_000, held(4, 7))], 11_000 + WAIT),
    ];
    for (what, looks, until) in cases {
        let mut rig = Rig::new();
        for (at, found) in looks {
            rig.at(at).watch(0, found);
        }
        rig.at(11_000).assign(0, held(5, 7));
        assert_eq!(rig.machine.wait_until(&tp(0)), Some(until), "{what}");
        rig.accept();
        let asked = asks_end(&rig.at(until - 1).tick());
        assert!(!asked, "{what}: the end is not read before the wait is over");
        assert!(asks_end(&rig.at(until).tick()), "{what}");
    }
}

#[test]
fn its_own_marker_makes_a_bridge_wait_too() {
    for incarnation in [ME, OTHER] {
        let mut rig = Rig::new();
        rig.take(0, found(MarkerKind::Held, 5, incarnation, 3), 5);
        assert_eq!((rig.state(0), rig.shows(0)), (State::Waiting, false));
    }
}

#[test]
fn what_is_not_understood_is_held_by_a_stranger() {
    let cases = [
        ("an operator's reset", Found::read(7, b""), 7),
        ("an unknown version", Found::read(7, b"k2p9;H"), 7),
        ("unreadable", Found::unreadable(), 0),
    ];
    for (what, found, offset) in cases {
        let mut rig = Rig::new();
        rig.assign(0, found);
        assert_eq!(rig.machine.wait_until(&tp(0)), Some(WAIT), "{what}");
        let claim = MarkerKind::Claimed { left: WAIT };
        assert_eq!(rig.commits(0), Some((claim, offset)), "{what}: promises nothing new");
    }
}

#[test]
fn a_holder_whose_offsets_were_deleted_still_has_its_lease() {
    for (what, seen, until) in [("held", held(5, 7), 1_000 + WAIT), ("released", released(5), 2_000)] {
        let mut rig = Rig::new();
        rig.watch(0, seen);
        rig.at(1_000).watch(0, Found::Nothing);
        rig.at(1_500).watch(0, Found::Nothing);
        rig.at(2_000).assign(0, Found::Nothing);
        assert_eq!(rig.machine.wait_until(&tp(0)), Some(until), "{what}");
    }
    let mut unseen = Rig::new();
    unseen.watch(0, held(5, 7));
    unseen.at(2_000).assign(0, Found::Nothing);
    assert_eq!(unseen.machine.wait_until(&tp(0)), Some(2_000 + WAIT), "by the assignment itself");
}

#[test]
fn a_lapsed_lease_is_dark_until_a_fresh_proof_was_read_back() {
    let mut rig = live();
    rig.at(3_000).tick();
    rig.at(LEASE);
    assert!(!rig.shows(0), "dark without an event: the process may have been frozen");
    rig.tick();
    assert_eq!(rig.state(0), State::Fenced);
    rig.accept();
    assert_eq!(rig.state(0), State::Fenced, "a commit sent before the fence is no fresh proof");
    rig.at(LEASE + 500).tick();
    let back = rig.committed(0);
    rig.accept();
    assert_eq!(rig.state(0), State::Fenced, "accepted, not read back yet");
    rig.watch(0, back);
    assert!(rig.shows(0));
}

#[test]
fn an_answer_that_comes_late_extends_from_the_send_time() {
    let mut rig = live();
    rig.at(3_000).tick();
    rig.at(14_000).accept();
    rig.at(3_000 + LEASE - 1);
    assert!(rig.shows(0));
    rig.at(3_000 + LEASE);
    assert!(!rig.shows(0));
}

#[test]
fn a_commit_of_another_generation_is_no_proof_and_no_loss() {
    for (generation, accepted) in [(1, false), (2, true), (-1, true)] {
        let mut rig = live();
        rig.at(3_000).tick();
        let actions = rig.answer(generation, accepted);
        assert!(!actions.iter().any(|a| matches!(a, Action::Lease { .. })), "({generation}, {accepted})");
        assert!(rig.shows(0), "still shown until the lease ends");
        rig.at(LEASE - 1);
        assert!(rig.shows(0));
        rig.at(3_500).tick();
        assert!(rig.flying.is_some(), "asked again soon");
    }
}

#[test]
fn a_claim_is_a_commit_sent_after_the_assignment() {
    let mut rig = live();
    rig.at(3_000).tick();
    rig.revoke(0, true);
    rig.assign(0, released(5));
    rig.accept();
    rig.end(0, 5);
    rig.progress(0, 5).tick();
    assert_eq!(rig.state(0), State::Assigned, "the commit of the earlier ownership proves nothing");
    assert!(rig.flying.is_some(), "the claim goes out as soon as it may");
    rig.accept();
    assert!(rig.shows(0));
}

#[test]
fn a_revoke_makes_dark_and_releases_the_processed_position() {
    let mut rig = live();
    rig.progress(0, 8);
    let actions = rig.revoke(0, false);
    assert_eq!(actions.first(), Some(&Action::Expose { tp: tp(0), visible: false }), "dark before anything else");
    assert_eq!(rig.commits(0), Some((MarkerKind::Released, 8)));
    rig.accept();
    rig.event(Event::RevokeDone);
    assert_eq!(rig.state(0), State::Gone);
}

#[test]
fn a_release_waits_for_the_commit_under_way_and_nothing_else_goes_out() {
    let mut rig = live();
    rig.at(3_000).tick();
    let under_way = rig.flying.clone();
    assert!(under_way.is_some());
    rig.revoke(0, false);
    assert_eq!(rig.flying, under_way);
    rig.accept();
    assert_eq!(rig.commits(0), Some((MarkerKind::Released, 5)));
    rig.accept();
    rig.at(9_000).tick();
    assert!(rig.flying.is_none(), "no claim while it drains");
}

#[test]
fn a_release_that_is_given_up_leaves_nothing_behind() {
    let mut rig = live();
    rig.at(3_000).tick();
    rig.revoke(0, false);
    rig.at(5_000).event(Event::RevokeDone);
    rig.accept();
    assert!(rig.flying.is_none(), "too late for a release");
    rig.at(60_000).tick();
    assert_eq!((rig.flying.is_none(), rig.state(0)), (true, State::Gone));
}

#[test]
fn other_partitions_are_not_renewed_while_one_drains() {
    let mut rig = live();
    rig.take(1, Found::Nothing, 3);
    rig.revoke(1, false);
    rig.accept();
    rig.at(4_000).tick();
    assert!(rig.flying.is_none());
    rig.event(Event::RevokeDone);
    rig.at(5_000).tick();
    assert_eq!((rig.commits(0).map(|c| c.0), rig.commits(1)), (Some(MarkerKind::Held), None));
}

#[test]
fn what_was_not_shown_yet_is_given_back_as_it_was_found() {
    let cases = [
        ("a release", released(5), 0, Some((MarkerKind::Released, 5))),
        ("nothing", Found::Nothing, 0, Some((MarkerKind::ReleasedNoPosition, 0))),
        ("a holder, the wait still runs", held(5, 1), WAIT - 1, Some((MarkerKind::Claimed { left: 1 }, 5))),
        ("a holder, the wait is over", held(5, 1), WAIT, Some((MarkerKind::ReleasedNoPosition, 5))),
    ];
    for (what, found, at, expected) in cases {
        let mut rig = Rig::new();
        rig.assign(0, found);
        rig.accept();
        rig.at(at).revoke(0, false);
        assert_eq!(rig.commits(0), expected, "{what}");
    }
}

#[test]
fn a_lost_assignment_commits_nothing() {
    let mut rig = live();
    rig.at(2_000).revoke(0, true);
    rig.at(9_000).tick();
    assert!(rig.flying.is_none());
    let mut dark = Rig::new();
    dark.assign(0, held(5, 1));
    dark.accept();
    dark.revoke(0, true);
    assert_eq!((dark.state(0), dark.flying.is_none()), (State::Gone, true));
}

#[test]
fn a_lost_partition_is_shown_until_its_lease_lapses() {
    let mut rig = live();
    rig.at(2_000).revoke(0, true);
    assert_eq!((rig.state(0), rig.shows(0)), (State::Lost, true));
    rig.at(LEASE - 1).tick();
    assert!(rig.shows(0));
    rig.at(LEASE);
    assert!(!rig.shows(0));
    rig.tick();
    assert_eq!(rig.state(0), State::Gone);
}

#[test]
fn a_lost_partition_that_comes_back_starts_in_the_dark() {
    let mut rig = live();
    rig.at(3_000).tick();
    let mine = rig.committed(0);
    rig.accept();
    rig.at(4_000).revoke(0, true);
    assert!(rig.shows(0));
    rig.generation = 2;
    rig.tick();
    rig.at(5_000).assign(0, mine);
    assert!(!rig.shows(0));
    assert_eq!(rig.machine.wait_until(&tp(0)), Some(5_000 + WAIT), "its own marker makes it wait, too");
}

#[test]
fn no_answer_extends_the_lease_of_what_is_lost() {
    let mut rig = live();
    rig.at(3_000).tick();
    rig.revoke(0, true);
    rig.accept();
    rig.at(LEASE);
    assert!(!rig.shows(0));
}

#[test]
fn a_wait_is_handed_on_and_not_begun_anew() {
    let mut rig = Rig::new();
    rig.assign(0, held(5, 1));
    rig.accept();
    rig.at(10_000).revoke(0, false);
    assert_eq!(rig.commits(0).map(|c| c.0), Some(MarkerKind::Claimed { left: WAIT - 10_000 }));
    let left_behind = rig.committed(0);
    let mut next = Rig::new();
    next.at(10_050).assign(0, left_behind);
    assert_eq!(next.machine.wait_until(&tp(0)), Some(10_050 + WAIT - 10_000));
    for (what, left, until) in [("nothing is left", -5, 100), ("more than there is", 10 * WAIT, 100 + WAIT)] {
        let mut rig = Rig::new();
        rig.at(100).assign(0, found(MarkerKind::Claimed { left }, 5, OTHER, 1));
        assert_eq!(rig.machine.wait_until(&tp(0)), Some(until), "{what}");
    }
}

#[test]
fn what_was_only_claimed_with_c_is_not_shown_before_an_h() {
    let mut rig = Rig::new();
    rig.assign(0, held(5, 1));
    rig.accept();
    rig.at(WAIT - 100).tick();
    assert_eq!(rig.commits(0).map(|c| c.0), Some(MarkerKind::Claimed { left: 100 }));
    rig.at(WAIT).accept();
    assert_eq!(rig.commits(0).map(|c| c.0), Some(MarkerKind::Held), "said as soon as it is true");
    rig.end(0, 5);
    rig.progress(0, 5).tick();
    assert_eq!(rig.state(0), State::CatchingUp);
    rig.accept();
    assert!(rig.shows(0));
}

#[test]
fn a_marker_of_long_ago_says_no_more_than_that_somebody_may_hold_it() {
    let cases = [(1, 1, 0), (1, 2, 0), (1, 3, 0), (1, 4, WAIT), (3, 2, WAIT), (-1, 1, WAIT), (i32::MAX, i32::MAX, 0)];
    for (then, now, until) in cases {
        let mut rig = Rig::new();
        rig.generation = now;
        rig.tick();
        rig.assign(0, of_generation(released(5), then));
        assert_eq!(rig.machine.wait_until(&tp(0)), Some(until), "{then}, then {now}");
        rig.accept();
        rig.at(until).tick();
        rig.end(0, 9);
        assert_eq!(rig.machine.barrier(&tp(0)), Some(if until == 0 { 5 } else { 9 }), "{then}, then {now}");
    }
}

fn of_generation(mut found: Found, generation: i32) -> Found {
    if let Found::Marker { marker, .. } = &mut found {
        marker.generation = generation;
    }
    found
}

fn made_again(rig: &mut Rig) -> Vec<Action> {
    rig.event(Event::Remade { tp: tp(0), topic_id: "new".into(), start: 0 })
}

#[test]
fn an_owner_begins_anew_when_its_topic_was_made_again() {
    let mut rig = live();
    rig.at(1_000);
    made_again(&mut rig);
    assert_eq!((rig.state(0), rig.shows(0)), (State::CatchingUp, false), "dark, and nobody else has to be waited for");
    assert_eq!(rig.commits(0), Some((MarkerKind::Held, 0)), "the old offset is not carried on");
    rig.accept();
    rig.event(Event::EndRead { tp: tp(0), end: 7, topic_id: "id".into() });
    assert_eq!(rig.machine.barrier(&tp(0)), None, "the end of the old topic is none");
    rig.event(Event::EndRead { tp: tp(0), end: 2, topic_id: "new".into() });
    rig.progress(0, 1).tick();
    assert!(!rig.shows(0));
    rig.progress(0, 2).tick();
    assert!(rig.shows(0));
}

#[test]
fn a_topic_made_again_ends_what_is_lost_and_fenced_stays_fenced() {
    let mut lost = live();
    lost.at(1_000).revoke(0, true);
    made_again(&mut lost);
    assert_eq!((lost.state(0), lost.shows(0)), (State::Gone, false));
    let mut fenced = live();
    fenced.at(LEASE).tick();
    assert_eq!(fenced.state(0), State::Fenced);
    made_again(&mut fenced);
    fenced.accept();
    fenced.end(0, 0);
    assert!(!fenced.shows(0), "a fresh proof is still to be read back");
    let mut never_live = Rig::new();
    never_live.assign(0, released(5));
    never_live.accept();
    made_again(&mut never_live);
    never_live.accept();
    never_live.revoke(0, false);
    assert_eq!(never_live.commits(0), Some((MarkerKind::ReleasedNoPosition, 0)), "the found release is of another log");
}

#[test]
fn nothing_is_released_outside_of_a_generation() {
    let mut rig = live();
    rig.generation = -1;
    rig.tick();
    rig.revoke(0, false);
    assert!(rig.flying.is_none(), "an empty group would take it from anybody");
}

#[test]
fn a_foreign_marker_is_answered_by_a_commit() {
    for foreign in [held(5, 1), Found::Nothing, Found::read(0, b"")] {
        let mut rig = live();
        // What was found at the assignment is an old answer, not a foreign marker.
        let expected = foreign != Found::Nothing;
        let actions = rig.at(1_000).watch(0, foreign);
        assert_eq!(actions.contains(&Action::ForeignMarker(tp(0))), expected);
        assert_eq!(rig.commits(0).map(|c| c.0), Some(MarkerKind::Held));
    }
}

#[test]
fn the_barrier_of_a_log_that_was_cut_or_made_anew_is_its_end() {
    for (what, id, end, barrier) in
        [("whole", "id", 9, 5), ("cut", "id", 3, 3), ("made anew", "new", 9, 9), ("id unknown", "", 9, 5)]
    {
        let mut rig = Rig::new();
        rig.assign_as(0, released(5), 4, id);
        rig.accept();
        rig.end(0, end);
        assert_eq!(rig.machine.barrier(&tp(0)), Some(barrier), "{what}");
    }
}

#[test]
fn offsets_of_a_topic_that_was_made_anew_are_not_carried_on() {
    let mut rig = Rig::new();
    rig.assign_as(0, released(5), 4, "new");
    assert_eq!(rig.commits(0), Some((MarkerKind::Held, 0)));
    rig.accept();
    rig.revoke(0, false);
    assert_eq!(rig.commits(0), Some((MarkerKind::ReleasedNoPosition, 0)));
}

#[test]
fn a_partition_that_a_topic_gained_waits_for_who_does_not_know_it() {
    let mut fewer = marker(MarkerKind::Held, OTHER, 1);
    fewer.partitions = 1;
    let gone = marker(MarkerKind::Released, OTHER, 1);
    let cases = [
        ("an owner that knows one partition", Found::Marker { offset: 5, marker: fewer }, WAIT),
        ("an owner that knows them all", held(5, 1), 0),
        ("nobody", Found::Marker { offset: 5, marker: gone }, 0),
        ("a stranger", Found::read(5, b""), WAIT),
        ("one that waits for whom it does not know", found(MarkerKind::Claimed { left: 5 }, 5, OTHER, 1), WAIT),
    ];
    for (what, neighbour, until) in cases {
        let mut rig = Rig::new();
        rig.watch(0, neighbour);
        rig.assign(1, Found::Nothing);
        assert_eq!(rig.machine.wait_until(&tp(1)), Some(until), "{what}");
    }
}

#[test]
fn a_position_alone_makes_nothing_visible() {
    let mut rig = Rig::new();
    rig.assign(0, Found::Nothing);
    rig.accept();
    rig.end(0, 5);
    let actions =
        rig.machine.handle(Event::Progress(tp(0), k2p_core::ownership::Progress { position: 5, low_water: 0 }), 0);
    assert_eq!(actions, [], "between going dark and the revoke a position is sampled: nothing may light up then");
}

#[test]
fn what_was_processed_in_the_dark_is_not_committed_as_shown() {
    let mut rig = live();
    rig.at(LEASE);
    rig.progress(0, 9);
    rig.tick();
    assert_eq!(rig.commits(0), Some((MarkerKind::Held, 5)), "G2");
}

#[test]
fn a_second_assignment_without_a_revoke_starts_in_the_dark() {
    let mut rig = live();
    let actions = rig.at(1_000).assign(0, held(5, 1));
    assert!(actions.contains(&Action::Expose { tp: tp(0), visible: false }));
    assert!(!rig.shows(0));
}

#[test]
fn a_log_that_is_cut_under_a_live_owner_leaves_it_live() {
    let mut rig = live();
    rig.progress(0, 1).tick();
    assert!(rig.shows(0));
}

#[test]
fn a_second_revoke_changes_nothing() {
    let mut rig = live();
    rig.revoke(0, false);
    rig.accept();
    assert_eq!(rig.revoke(0, false), []);
}

#[test]
fn a_renewal_that_may_not_be_sent_wakes_nobody() {
    let mut rig = live();
    rig.at(3_000).tick();
    assert_eq!(rig.machine.next_deadline(7_000), Some(LEASE));
    rig.accept();
    rig.generation = -1;
    rig.tick();
    assert_eq!(rig.machine.next_deadline(7_000), Some(3_000 + LEASE));
}

#[test]
fn a_storm_of_rebalances_ends_live() {
    let mut rig = live();
    for round in 0..50 {
        rig.at(100 * round + 1_000);
        rig.generation += 1;
        rig.tick();
        rig.revoke(0, round % 3 == 0);
        rig.event(Event::RevokeDone);
        rig.assign(0, of_generation(released(5), rig.generation));
        if round % 2 == 0 && rig.flying.is_some() {
            rig.answer(rig.generation, round % 4 == 0);
        }
    }
    for _ in 0..3 {
        rig.now += 500;
        rig.tick();
        if rig.flying.is_some() {
            rig.accept();
        }
        rig.end(0, 5);
        rig.progress(0, 5).tick();
    }
    assert!(rig.shows(0));
}
