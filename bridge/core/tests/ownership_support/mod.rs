//! One machine with a clock, a table of what a scrape would show, and the commit under
//! way: what a caller keeps.
#![allow(dead_code, reason = "each test binary uses a part of it")]
use std::collections::BTreeMap;

use k2p_core::ownership::{
    Action, Assignment, Commit, Config, Event, Found, Identity, Machine, Marker, MarkerKind, Progress, State, Tp,
};

pub(crate) const LEASE: i64 = 15_000;
pub(crate) const WAIT: i64 = 18_000;
/// Incarnation of the machine under test, and another's.
pub(crate) const ME: u64 = 1;
pub(crate) const OTHER: u64 = 2;

pub(crate) fn tp(partition: i32) -> Tp {
    Tp::new("t", partition)
}

pub(crate) fn marker(kind: MarkerKind, incarnation: u64, seq: u64) -> Marker {
    Marker {
        kind,
        claim: 1,
        incarnation,
        seq,
        sent: 0,
        generation: 1,
        low_water: 0,
        partitions: 4,
        former: [].into(),
        topic_id: "id".into(),
        snapshot: "".into(),
        peer: "".into(),
    }
}

pub(crate) fn found(kind: MarkerKind, offset: i64, incarnation: u64, seq: u64) -> Found {
    Found::Marker { offset, marker: marker(kind, incarnation, seq) }
}

pub(crate) fn held(offset: i64, seq: u64) -> Found {
    found(MarkerKind::Held, offset, OTHER, seq)
}

pub(crate) fn released(offset: i64) -> Found {
    found(MarkerKind::Released, offset, OTHER, 9)
}

/// A bridge of one machine.
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) now: i64,
    pub(crate) generation: i32,
    /// The commit under way.
    pub(crate) flying: Option<Commit>,
    visible: BTreeMap<Tp, bool>,
    lease: BTreeMap<Tp, i64>,
}

impl Rig {
    /// A member of generation 1 that owns nothing.
    pub(crate) fn new() -> Rig {
        let cfg = Config::new(LEASE, WAIT);
        let machine = Machine::new(cfg, Identity { incarnation: ME, peer: "me:1".into() });
        let mut rig =
            Rig { machine, now: 0, generation: 1, flying: None, visible: BTreeMap::new(), lease: BTreeMap::new() };
        rig.tick();
        rig
    }

    /// Runs one event as the caller does, and checks what must hold after each.
    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        let actions = self.machine.handle(event, self.now);
        for action in &actions {
            match action {
                Action::Expose { tp, visible } => {
                    self.visible.insert(tp.clone(), *visible);
                }
                Action::Lease { tp, until } => {
                    self.lease.insert(tp.clone(), *until);
                }
                Action::Commit(commit) => {
                    assert!(self.flying.is_none(), "two commits outstanding: {:?} and {commit:?}", self.flying);
                    self.flying = Some(commit.clone());
                }
                Action::Changed { tp, to: State::Assigned, .. } => {
                    // A new ownership, a new entry in the table.
                    self.lease.remove(tp);
                }
                _ => {}
            }
        }
        self.check_table();
        actions
    }

    fn check_table(&self) {
        for partition in 0..8 {
            let tp = tp(partition);
            assert_eq!(self.shows(partition), self.machine.may_expose(&tp, self.now), "{tp}: table and machine differ");
        }
    }

    /// Would a scrape show it?
    pub(crate) fn shows(&self, partition: i32) -> bool {
        let tp = tp(partition);
        self.visible.get(&tp) == Some(&true) && self.lease.get(&tp).is_some_and(|until| self.now < *until)
    }

    pub(crate) fn state(&self, partition: i32) -> State {
        self.machine.state(&tp(partition))
    }

    pub(crate) fn at(&mut self, now: i64) -> &mut Rig {
        self.now = now;
        self
    }

    pub(crate) fn tick(&mut self) -> Vec<Action> {
        let generation = self.generation;
        self.event(Event::Tick { generation })
    }

    pub(crate) fn progress(&mut self, partition: i32, position: i64) -> &mut Rig {
        self.event(Event::Progress(tp(partition), Progress { position, low_water: 0 }));
        self
    }

    pub(crate) fn assign(&mut self, partition: i32, found: Found) -> Vec<Action> {
        self.assign_as(partition, found, 4, "id")
    }

    pub(crate) fn assign_as(&mut self, partition: i32, found: Found, partitions: i32, id: &str) -> Vec<Action> {
        let assignment =
            Assignment { tp: tp(partition), found, start: 0, partitions, former: [].into(), topic_id: id.into() };
        self.event(Event::Assigned(vec![assignment]))
    }

    pub(crate) fn revoke(&mut self, partition: i32, lost: bool) -> Vec<Action> {
        self.event(Event::Revoked { partitions: vec![tp(partition)], lost })
    }

    pub(crate) fn watch(&mut self, partition: i32, found: Found) -> Vec<Action> {
        self.event(Event::Watched(vec![(tp(partition), found)]))
    }

    pub(crate) fn end(&mut self, partition: i32, end: i64) -> Vec<Action> {
        self.event(Event::EndRead { tp: tp(partition), end, topic_id: "".into() })
    }

    /// The commit under way is accepted whole.
    pub(crate) fn accept(&mut self) -> Vec<Action> {
        let generation = self.generation;
        self.answer(generation, true)
    }

    pub(crate) fn answer(&mut self, generation: i32, accepted: bool) -> Vec<Action> {
        let commit = self.flying.take().expect("no commit under way");
        let accepted = if accepted { commit.entries.iter().map(|e| e.tp.clone()).collect() } else { Vec::new() };
        self.event(Event::CommitAnswered { seq: commit.seq, generation, accepted })
    }

    /// What the commit under way says of a partition.
    pub(crate) fn commits(&self, partition: i32) -> Option<(MarkerKind, i64)> {
        let commit = self.flying.as_ref()?;
        commit.entries.iter().find(|e| e.tp == tp(partition)).map(|e| (e.marker.kind, e.offset))
    }

    /// The marker of the commit under way as the watcher reads it back.
    pub(crate) fn committed(&self, partition: i32) -> Found {
        let commit = self.flying.as_ref().expect("no commit under way");
        let entry = commit.entries.iter().find(|e| e.tp == tp(partition)).expect("not in the commit");
        Found::Marker { offset: entry.offset, marker: entry.marker.clone() }
    }

    /// Assigned with `found`, claimed, at the end `end`: live if nothing has to be waited for.
    pub(crate) fn take(&mut self, partition: i32, found: Found, end: i64) -> &mut Rig {
        self.assign(partition, found);
        self.accept();
        self.end(partition, end);
        self.progress(partition, end).tick();
        self
    }
}
