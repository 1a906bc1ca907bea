//! Any sequence of events over several partitions, judged by a second, much simpler
//! account of the rules: whatever happens, nothing is exposed without a proof.
#![allow(clippy::unwrap_used, reason = "tests")]
mod ownership_support;

use std::collections::BTreeMap;

use k2p_core::ownership::{Action, Event, Found, MarkerKind, State};
use ownership_support::{LEASE, OTHER, Rig, WAIT, found, tp};
use proptest::prelude::*;

const PARTITIONS: i32 = 3;

#[derive(Debug, Clone)]
enum Op {
    Wait(i64),
    Tick,
    Answer { accepted: bool },
    Generation(i32),
    Assign(i32, Found),
    Revoke(i32, bool),
    RevokeDone,
    Watch(i32, Found),
    End(i32, i64),
    Progress(i32, i64),
}

fn any_found() -> impl Strategy<Value = Found> {
    prop_oneof![
        Just(Found::Nothing),
        Just(Found::unreadable()),
        (0..3_i64, 1..4_u64).prop_map(|(offset, seq)| found(MarkerKind::Held, offset, OTHER, seq)),
        (0..3_i64, 1..9_u64).prop_map(|(offset, seq)| found(MarkerKind::Held, offset, ownership_support::ME, seq)),
        (0..3_i64).prop_map(|offset| found(MarkerKind::Released, offset, OTHER, 9)),
        (0..3_i64).prop_map(|offset| found(MarkerKind::ReleasedNoPosition, offset, OTHER, 9)),
        (1..WAIT, 1..4_u64).prop_map(|(left, seq)| found(MarkerKind::Claimed { left }, 0, OTHER, seq)),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let p = || 0..PARTITIONS;
    prop_oneof![
        3 => prop_oneof![Just(0), Just(500), Just(3_000), Just(LEASE), 1..WAIT].prop_map(Op::Wait),
        6 => Just(Op::Tick),
        6 => prop::bool::weighted(0.8).prop_map(|accepted| Op::Answer { accepted }),
        1 => (-1..4_i32).prop_map(Op::Generation),
        3 => (p(), any_found()).prop_map(|(p, f)| Op::Assign(p, f)),
        2 => (p(), any::<bool>()).prop_map(|(p, lost)| Op::Revoke(p, lost)),
        1 => Just(Op::RevokeDone),
        2 => (p(), any_found()).prop_map(|(p, f)| Op::Watch(p, f)),
        4 => (p(), 0..3_i64).prop_map(|(p, end)| Op::End(p, end)),
        5 => (p(), 0..4_i64).prop_map(|(p, position)| Op::Progress(p, position)),
    ]
}

/// What the account knows of an owned partition.
#[derive(Default)]
struct Owned {
    /// Commits sent up to here prove nothing for it.
    after: u64,
    /// End of the proof; none yet.
    proven: Option<i64>,
    /// An `H` was acknowledged.
    held: bool,
    dark_until: i64,
    /// The last position told.
    position: i64,
    live: bool,
}

/// The simple account.
#[derive(Default)]
struct Account {
    owned: BTreeMap<i32, Owned>,
    /// Until when a partition is shown that is lost.
    lost: BTreeMap<i32, i64>,
    seen: BTreeMap<i32, (Found, i64)>,
    /// Send time and generation of the commit under way.
    sent: (i64, i32),
    /// The generation that the machine was told last.
    told: i32,
}

impl Account {
    fn look(&mut self, p: i32, found: &Found, now: i64) -> i64 {
        if self.seen.get(&p).is_none_or(|(f, _)| f != found) {
            self.seen.insert(p, (found.clone(), now));
        }
        self.seen[&p].1
    }

    /// Runs one operation on both, then compares.
    fn play(&mut self, rig: &mut Rig, op: Op) {
        let now = rig.now;
        let before = rig.flying.as_ref().map(|c| c.seq);
        let actions = match op {
            Op::Wait(ms) => {
                rig.now += ms;
                Vec::new()
            }
            Op::Tick => {
                self.told = rig.generation;
                rig.tick()
            }
            Op::Answer { accepted } => self.answer(rig, accepted),
            // A generation never comes back: a member that left gets a higher one.
            Op::Generation(by) => {
                rig.generation = if by < 0 { -1 } else { rig.generation.max(self.told) + by };
                Vec::new()
            }
            Op::Assign(p, found) => self.assign(rig, p, found),
            Op::Revoke(p, lost) => {
                let (shown, was_lost) = (rig.shows(p), self.lost.contains_key(&p));
                if let Some(until) = self.owned.remove(&p).and_then(|o| o.proven).filter(|_| lost && shown) {
                    self.lost.insert(p, until);
                }
                let actions = rig.revoke(p, lost);
                assert_eq!(rig.shows(p), shown && (lost || was_lost), "dark unless it is lost: then its lease ends it");
                actions
            }
            Op::RevokeDone => rig.event(Event::RevokeDone),
            Op::Watch(p, found) => {
                self.look(p, &found, now);
                rig.watch(p, found)
            }
            Op::End(p, end) => rig.end(p, end),
            Op::Progress(p, position) => {
                if let Some(owned) = self.owned.get_mut(&p) {
                    owned.position = position;
                }
                rig.progress(p, position);
                Vec::new()
            }
        };
        if rig.flying.as_ref().map(|c| c.seq) != before {
            self.sent = (rig.now, self.told);
        }
        self.compare(rig, &actions);
    }

    fn assign(&mut self, rig: &mut Rig, p: i32, found: Found) -> Vec<Action> {
        if !matches!(rig.state(p), State::Gone | State::Lost) {
            // The client never does that; an unassign comes first.
            rig.event(Event::RevokeDone);
            rig.revoke(p, true);
        }
        self.lost.remove(&p);
        let now = rig.now;
        let was_held = self.seen.get(&p).is_some_and(|(f, _)| f.is_held());
        let since = self.look(p, &found, now);
        let outdated = found.marker().is_some_and(|m| !(m.generation..=m.generation + 2).contains(&self.told));
        let dark_until = if outdated {
            now + WAIT
        } else if let Some(MarkerKind::Claimed { left }) = found.marker().map(|m| m.kind) {
            since + left
        } else if found.is_held() {
            since + WAIT
        } else if found == Found::Nothing && was_held {
            now + WAIT
        } else {
            now
        };
        let after = rig.flying.as_ref().map_or(0, |c| c.seq);
        self.owned.insert(p, Owned { after, dark_until, ..Owned::default() });
        rig.assign(p, found)
    }

    fn answer(&mut self, rig: &mut Rig, accepted: bool) -> Vec<Action> {
        let Some(commit) = rig.flying.clone() else { return Vec::new() };
        let (sent, generation) = self.sent;
        self.told = rig.generation;
        if accepted && generation >= 0 && generation == rig.generation && !commit.release {
            for entry in &commit.entries {
                if let Some(owned) = self.owned.get_mut(&entry.tp.partition).filter(|o| commit.seq > o.after) {
                    owned.proven = owned.proven.max(Some(sent + LEASE));
                    owned.held |= entry.marker.kind == MarkerKind::Held;
                }
            }
        }
        rig.answer(rig.generation, accepted)
    }

    fn compare(&mut self, rig: &Rig, actions: &[Action]) {
        for p in 0..PARTITIONS {
            if !rig.shows(p) {
                continue;
            }
            if let Some(until) = self.lost.get(&p) {
                assert!(rig.now < *until, "{p}: lost, and shown past its lease");
                continue;
            }
            let owned = self.owned.get_mut(&p).expect("shown, and not owned");
            assert!(owned.held, "{p}: shown, and whoever comes next does not know");
            assert!(owned.proven.is_some_and(|until| rig.now < until), "{p}: shown without a proof");
            assert!(rig.now >= owned.dark_until, "{p}: shown before its wait was over");
            owned.live = true;
        }
        for action in actions {
            let Action::Commit(commit) = action else { continue };
            assert!(self.told >= 0, "a commit outside of a generation");
            for entry in &commit.entries {
                let owned = self.owned.get(&entry.tp.partition);
                assert_eq!(owned.is_none(), commit.release, "{}: released and owned, or claimed and not", entry.tp);
                match entry.marker.kind {
                    MarkerKind::Held => assert!(!commit.release),
                    MarkerKind::Released | MarkerKind::ReleasedNoPosition => assert!(commit.release),
                    MarkerKind::Claimed { left } => assert!((1..=WAIT).contains(&left)),
                }
            }
        }
    }
}

/// Nothing fails any more: every partition becomes live.
fn settle(rig: &mut Rig) {
    rig.generation = rig.generation.max(0) + 10;
    rig.event(Event::RevokeDone);
    for _ in 0..4 {
        for _ in 0..3 {
            rig.tick();
            let mine = rig.machine.owned().cloned().collect::<Vec<_>>();
            if let Some(commit) = rig.flying.clone() {
                rig.accept();
                for e in commit.entries {
                    rig.watch(e.tp.partition, Found::Marker { offset: e.offset, marker: e.marker });
                }
            }
            for tp in mine {
                rig.end(tp.partition, 3);
                rig.progress(tp.partition, 3);
            }
            rig.now += 1_000;
        }
        rig.now += LEASE - 4_000;
    }
    rig.tick();
    rig.flying.is_some().then(|| rig.accept());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_exposed_without_proof_and_everything_becomes_live(ops in prop::collection::vec(any_op(), 1..80)) {
        let mut rig = Rig::new();
        let mut account = Account { told: 1, ..Account::default() };
        for op in ops {
            account.play(&mut rig, op);
        }
        settle(&mut rig);
        for p in 0..PARTITIONS {
            let expected = if account.owned.contains_key(&p) { State::Live } else { State::Gone };
            prop_assert_eq!(rig.machine.state(&tp(p)), expected);
            prop_assert_eq!(rig.shows(p), expected == State::Live);
        }
    }
}
