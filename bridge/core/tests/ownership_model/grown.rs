//! A topic that gains a partition (rule 10): an origin whose dumps went to partition 0
//! goes to partition 1 from then on, and whoever shows it by the old one is behind.
//!
//! Two bridges with their machines; commits arrive and are answered at once, because what
//! may happen to them is the other model's matter. Partition 0 may change hands by a
//! kick, so that a bridge waits there for one that knows less than it does itself.
use k2p_core::ownership::{
    Action, Assignment, Commit, Config, Event, Found, Identity, Machine, Progress, Rules, Tp, former_counts,
};

use stateright::{Checker, Model, Property};

const BRIDGES: usize = 2;
const TIME: i64 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Bridge {
    machine: Machine,
    /// How many partitions it knows; origins that moved are dropped when it learns.
    knows: i32,
    /// It knows that partition 0 was the only one once.
    before: bool,
    visible: [bool; 2],
    lease: [i64; 2],
    /// How much of each partition's log it has read.
    position: [i64; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: i64,
    bridges: Vec<Bridge>,
    generation: i32,
    /// Who the group thinks has them.
    owners: [Option<usize>; 2],
    markers: [Found; 2],
    partitions: i32,
    /// The origin's newer dump is in partition 1.
    moved: bool,
    /// When partition 1 was first assigned.
    assigned: Option<i64>,
    shown: bool,
    broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Not to L_wait from the first assignment while somebody who owns anything has
    /// not learned (duty 11).
    Time,
    Grow,
    Move,
    Learn(usize),
    /// Partition 0 goes to the other bridge; its owner has not heard of it.
    Kick,
    /// Partition 1 is given to this one, which reads how many there are.
    Assign(usize),
    Read(usize),
    Tick(usize),
}

struct Growing(Config);

fn tp(partition: usize) -> Tp {
    Tp::new("t", i32::try_from(partition).unwrap())
}

impl World {
    fn new(cfg: &Config) -> World {
        let bridge = |b: usize| Bridge {
            machine: Machine::new(cfg.clone(), Identity { incarnation: b as u64 + 1, peer: "".into() }),
            knows: 1,
            before: true,
            visible: [false; 2],
            lease: [i64::MIN; 2],
            position: [0; 2],
        };
        let mut world = World {
            now: 0,
            bridges: (0..BRIDGES).map(bridge).collect(),
            generation: 1,
            owners: [None; 2],
            markers: [Found::Nothing, Found::Nothing],
            partitions: 1,
            moved: false,
            assigned: None,
            shown: false,
            broken: false,
        };
        world.assign(0, 0);
        world
    }

    fn end(&self, p: usize) -> i64 {
        i64::from(p == 0 || self.moved)
    }

    fn scraped(&self, b: usize, p: usize) -> bool {
        self.bridges[b].visible[p] && self.now < self.bridges[b].lease[p]
    }

    fn assign(&mut self, b: usize, p: usize) {
        self.owners[p] = Some(b);
        self.bridges[b].knows = self.partitions;
        let (tps, markers) = ([tp(0), tp(1)], self.markers.clone());
        let former = former_counts("t", "", self.partitions, tps.iter().zip(&markers));
        if p == 0 {
            self.bridges[b].before = self.partitions == 1 || former.contains(&1);
        }
        (self.bridges[b].position[p], self.bridges[b].lease[p]) = (0, i64::MIN);
        let generation = self.generation;
        let markers = (0..2).map(|p| (tp(p), self.markers[p].clone())).collect();
        let assignment = Assignment {
            tp: tp(p),
            found: self.markers[p].clone(),
            start: 0,
            partitions: self.partitions,
            former,
            topic_id: "".into(),
        };
        self.event(b, Event::Watched(markers));
        self.event(b, Event::Generation(generation));
        self.event(b, Event::Assigned(vec![assignment]));
    }

    fn event(&mut self, b: usize, event: Event) {
        let now = self.now;
        for action in self.bridges[b].machine.handle(event, now) {
            match action {
                Action::Expose { tp, visible } => self.bridges[b].visible[at(&tp)] = visible,
                Action::Lease { tp, until } => self.bridges[b].lease[at(&tp)] = until,
                Action::Commit(commit) => self.commit(b, &commit),
                Action::ReadEnd(tp) => {
                    let end = self.end(at(&tp));
                    self.event(b, Event::EndRead { tp, end, topic_id: "".into() });
                }
                Action::Changed { .. } | Action::ForeignMarker(_) => {}
            }
        }
    }

    /// Taken of a member that the group thinks has a partition; the others are not any more.
    fn commit(&mut self, b: usize, commit: &Commit) {
        let member = commit.entries.iter().all(|e| self.owners[at(&e.tp)] == Some(b));
        let mut accepted = Vec::new();
        for entry in commit.entries.iter().filter(|_| member) {
            let mut marker = entry.marker.clone();
            marker.sent = 0;
            self.markers[at(&entry.tp)] = Found::Marker { offset: entry.offset, marker };
            accepted.push(entry.tp.clone());
        }
        let generation = self.generation;
        self.event(b, Event::CommitAnswered { seq: commit.seq, generation, accepted });
    }

    fn steps(&self, out: &mut Vec<Step>) {
        // L_wait is one moment: the next one is too late.
        let late = self.assigned.is_some_and(|at| self.now >= at);
        let idle = |b: &Bridge| b.machine.owned().next().is_none();
        let all_know = || self.bridges.iter().all(|b| b.knows == 2 || idle(b));
        if self.now < TIME && (!late || all_know()) {
            out.push(Step::Time);
        }
        if self.partitions == 1 {
            out.push(Step::Grow);
        }
        if self.partitions == 2 && !self.moved {
            out.push(Step::Move);
        }
        if self.generation <= 2 {
            out.push(Step::Kick);
        }
        for b in 0..BRIDGES {
            if self.bridges[b].knows < self.partitions {
                out.push(Step::Learn(b));
            }
            if self.partitions == 2 && self.owners[1].is_none() {
                out.push(Step::Assign(b));
            }
            let reads = |p: usize| self.owners[p] == Some(b) && self.bridges[b].position[p] < self.end(p);
            if reads(0) || reads(1) {
                out.push(Step::Read(b));
            }
            out.push(Step::Tick(b));
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Time => self.now += 1,
            Step::Grow => self.partitions = 2,
            Step::Move => self.moved = true,
            Step::Learn(b) => self.bridges[b].knows = 2,
            Step::Kick => {
                let next = usize::from(self.owners[0] == Some(0));
                self.generation += 1;
                self.assign(next, 0);
            }
            Step::Assign(b) => {
                self.assigned = self.assigned.or(Some(self.now));
                self.assign(b, 1);
            }
            Step::Read(b) => {
                for p in 0..2 {
                    if self.owners[p] == Some(b) {
                        self.bridges[b].position[p] = self.end(p);
                    }
                }
            }
            Step::Tick(b) => {
                for p in 0..2 {
                    let position = self.bridges[b].position[p];
                    self.event(b, Event::Progress(tp(p), Progress { position, low_water: 0 }));
                }
                let generation = self.generation;
                self.event(b, Event::Tick { generation });
            }
        }
        self.look();
    }

    /// The new partition shows the newer dump, and nobody the older one by the old
    /// partition any more; who knows of the new one has dropped it there.
    fn look(&mut self) {
        let new = |b: usize| self.scraped(b, 1) && self.bridges[b].position[1] == 1;
        let drops = |b: usize| self.bridges[b].knows == 2 && self.bridges[b].before;
        let old = |b: usize| self.scraped(b, 0) && self.bridges[b].position[0] == 1 && !drops(b);
        let (newer, older) = ((0..BRIDGES).any(new), (0..BRIDGES).any(old));
        self.shown |= newer;
        self.broken |= self.shown && older;
        for bridge in &mut self.bridges {
            bridge.machine.forget(self.now);
        }
    }
}

fn at(tp: &Tp) -> usize {
    usize::try_from(tp.partition).unwrap()
}

impl Model for Growing {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, w: &World, out: &mut Vec<Step>) {
        if !w.broken {
            w.steps(out);
        }
    }

    fn next_state(&self, w: &World, step: Step) -> Option<World> {
        let mut next = w.clone();
        next.take(step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("G1", |_, w: &World| !w.broken), Property::sometimes("shown", |_, w: &World| w.shown)]
    }
}

fn check(rules: Rules) -> (usize, Option<Vec<Step>>, bool) {
    let model = Growing(Config { lease: 1, wait: 1, renew: 1, retry: 1, rules });
    let checker = model.checker().spawn_bfs().join();
    let steps = checker.discovery("G1").map(stateright::Path::into_actions);
    (checker.unique_state_count(), steps, checker.discovery("shown").is_some())
}

#[test]
fn a_topic_that_grows_keeps_the_promise() {
    let (states, broken, shown) = check(Rules::ALL);
    println!("a topic that grows: {states} states");
    assert_eq!((broken, shown), (None, true));
}

#[test]
fn without_rule_10_a_topic_that_grows_breaks_it() {
    let (states, broken, _) = check(Rules { added_waits: false, ..Rules::ALL });
    println!("10 added partitions wait           G1 after {broken:?} ({states} states)");
    assert!(broken.is_some());
    let (states, broken, _) = check(Rules { former_counts: false, ..Rules::ALL });
    println!("10 former counts are passed on     G1 after {broken:?} ({states} states)");
    assert!(broken.is_some());
}
