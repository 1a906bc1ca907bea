//! The world around the machines: a coordinator, one partition's log, the clients.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use k2p_core::ownership::{
    Action, Assignment, Commit, Config, Event, Found, Identity, Machine, MarkerKind, Progress, State, Tp,
};

/// The one partition.
pub(crate) static TP: LazyLock<Tp> = LazyLock::new(|| Tp::new("t", 0));
static PEER: LazyLock<Arc<str>> = LazyLock::new(|| "".into());

/// What the machine may rely on and does not do itself: the coordinator's fencing,
/// librdkafka's behaviour, the caller's duties. Each can be taken away as a rule can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Env {
    /// A member that has let its partitions go rejoins only when its commits are
    /// answered.
    pub(crate) rejoin_waits: bool,
    /// A commit that is sent (again) carries the generation of that moment: what
    /// librdkafka does. Makes a difference only to a member that rejoined with one.
    pub(crate) restamps: bool,
    /// A commit that the coordinator may have taken already, or a release, is not sent
    /// (again) outside of any generation: an empty group accepts that. Others may be.
    pub(crate) no_resend_outside: bool,
    /// A commit that was answered with an error is not applied afterwards.
    pub(crate) failed_is_final: bool,
    /// The coordinator accepts a release only under its own generation.
    pub(crate) fenced_release: bool,
    /// The caller makes a revoked partition dark *before* it samples the position that
    /// the release carries.
    pub(crate) dark_then_sample: bool,
    /// The caller drops the end of a partition that was asked for under an earlier
    /// assignment of it.
    pub(crate) fresh_end: bool,
}

impl Env {
    pub(crate) const SOUND: Env = Env {
        rejoin_waits: true,
        restamps: false,
        no_resend_outside: true,
        failed_is_final: true,
        fenced_release: true,
        dark_then_sample: true,
        fresh_end: true,
    };
}

/// The bounds of a run.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) bridges: usize,
    /// Last moment.
    pub(crate) time: i64,
    /// Last generation: the number of ownership epochs.
    pub(crate) generations: i32,
    /// Last offset of the log.
    pub(crate) log: i64,
    /// How often a bridge may be killed and started again.
    pub(crate) restarts: u8,
    /// Commits may fail, bridges watch, partitions are revoked as planned: left out only
    /// where a counterexample is searched for that is deep and needs none of it.
    pub(crate) fails: bool,
    pub(crate) watch: bool,
    pub(crate) planned: bool,
    /// The group may be empty for a while.
    pub(crate) empty: bool,
    /// An accepted commit may be sent again and again. It changes nothing where a
    /// commit cannot outlive its generation and is the only one.
    pub(crate) resend: bool,
    /// The watcher's answers may be delayed.
    pub(crate) slow_watch: bool,
}

/// A commit in the client's hands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Flying {
    pub(crate) commit: Commit,
    /// The client's generation when it was sent.
    pub(crate) generation: i32,
    /// The coordinator has taken it, and its answer was lost: the client sends it again.
    pub(crate) applied: bool,
    /// The coordinator's answer, on its way back.
    pub(crate) answer: Option<bool>,
}

/// One bridge: its machine, its client, its worker and what a scrape of it consults.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Bridge {
    pub(crate) machine: Machine,
    pub(crate) incarnation: u64,
    /// The client's generation; -1: none.
    pub(crate) generation: i32,
    /// The worker's position: everything below is published.
    pub(crate) position: i64,
    /// The committed offset that was found at the assignment.
    pub(crate) inherited: i64,
    /// The table that a scrape consults, as the actions said.
    pub(crate) visible: bool,
    pub(crate) lease: i64,
    pub(crate) flying: Vec<Flying>,
    /// The answer to [`Action::ReadEnd`] on its way. The value is taken at the request:
    /// the log only grows, so a later reading is only safer.
    pub(crate) end_read: Option<i64>,
    /// The watcher's answer on its way.
    pub(crate) watch: Option<Found>,
}

/// Which promise broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// An older value after a newer one.
    G1,
    /// `H` above what anybody could scrape so far and what was committed before; `R`
    /// above what its bridge had published or found committed.
    G2,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: i64,
    /// The log's end.
    pub(crate) end: i64,
    /// The group's generation, its members and who has the partition in it.
    pub(crate) generation: i32,
    pub(crate) members: Vec<bool>,
    pub(crate) owner: Option<usize>,
    /// The committed offset and its metadata.
    pub(crate) found: Found,
    /// Shared between states: a step changes one.
    pub(crate) bridges: Vec<Arc<Bridge>>,
    /// Commits that nobody waits for any more and that may still arrive.
    pub(crate) orphans: Vec<(usize, Flying)>,
    pub(crate) restarts: u8,
    /// The highest position that a scrape could be shown so far. Scrapes change nothing
    /// else, so the worst case is that every bridge is scraped after every step.
    pub(crate) shown: i64,
    pub(crate) broken: Option<Broken>,
    /// Marks of what this run has seen, for the reachability properties.
    pub(crate) seen: Seen,
}

/// What has happened on the way (only kept when asked for: it multiplies the states).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) fenced_and_back: bool,
    pub(crate) shortened: bool,
    pub(crate) waited: bool,
    pub(crate) kicked: bool,
    pub(crate) released: bool,
}

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A moment passes, for everybody; who does nothing in it was frozen.
    Time,
    /// A record is appended.
    Produce,
    /// The coordinator evicts the owner, and everybody else as well if there is no heir.
    Kick {
        to: Option<usize>,
    },
    /// After the owner has let go (or there is none): the next generation. The markers
    /// are read and the machine is told at once: nothing can be committed in between,
    /// so a late assignment is the same as a late rebalance.
    Rebalance {
        to: usize,
    },
    /// A planned revocation reaches it: at any time, also when it has been evicted since
    /// (`assignment_lost()` can be missed).
    Revoke(usize),
    /// It stops waiting for the release and unassigns.
    RevokeDone(usize),
    /// The client learns that it is no member any more (the bridge not yet).
    ClientLost(usize),
    /// The bridge learns it.
    Lost(usize),
    /// A commit reaches the coordinator.
    Arrive(usize, usize),
    /// The same, but the answer is lost and the client sends it again.
    Apply(usize, usize),
    /// Its answer reaches the bridge.
    Answer(usize, usize),
    /// It is lost, or refused, or timed out: the bridge is told that it failed.
    Fail(usize, usize),
    /// A commit that nobody waits for reaches the coordinator.
    Orphan(usize),
    /// The watcher reads the markers; the answer arrives later.
    WatchRead(usize),
    WatchArrive(usize),
    /// Both at once.
    Watch(usize),
    /// The end that was asked for arrives.
    EndArrive(usize),
    /// The worker publishes one more record.
    Process(usize),
    /// The bridge samples its position, then ticks.
    Tick(usize),
    /// It is killed and started again.
    Restart(usize),
}

impl World {
    pub(crate) fn new(bridges: usize, cfg: &Config, env: Env) -> World {
        let mut world = World {
            now: 0,
            end: 0,
            generation: 1,
            members: vec![true; bridges],
            owner: Some(0),
            found: Found::Nothing,
            bridges: (0..bridges).map(|b| Arc::new(Bridge::new(cfg, b as u64 + 1, 1))).collect(),
            orphans: Vec::new(),
            restarts: 0,
            shown: 0,
            broken: None,
            seen: Seen::default(),
        };
        world.assign(0, env);
        world.look(cfg);
        world
    }

    fn bridge(&mut self, b: usize) -> &mut Bridge {
        Arc::make_mut(&mut self.bridges[b])
    }

    /// May this member get the partition in the next generation? It has let it go, and
    /// nothing of it is under way.
    fn eligible(&self, b: usize, env: Env) -> bool {
        let bridge = &self.bridges[b];
        !bridge.owns() && (bridge.flying.is_empty() || !env.rejoin_waits)
    }

    /// Every step that is possible now.
    pub(crate) fn steps(&self, bounds: &Bounds, env: Env, out: &mut Vec<Step>) {
        if self.now < bounds.time {
            out.push(Step::Time);
        }
        if self.end < bounds.log {
            out.push(Step::Produce);
        }
        self.coordinator_steps(bounds, env, out);
        out.extend((0..self.orphans.len()).map(Step::Orphan));
        for b in 0..self.bridges.len() {
            self.bridge_steps(b, bounds, env, out);
        }
    }

    /// Does the partition become live when nothing fails any more? Plays the fault-free
    /// continuation, in which everybody does what is due, for `moments`.
    pub(crate) fn settles(&self, cfg: &Config, env: Env, moments: i64) -> bool {
        let mut w = self.clone();
        for _ in 0..moments {
            for _ in 0..4 {
                w.settle(cfg, env);
            }
            if w.owner.is_some_and(|o| w.bridges[o].scrapeable(w.now)) {
                return true;
            }
            w.take(Step::Time, cfg, env);
        }
        false
    }

    fn settle(&mut self, cfg: &Config, env: Env) {
        for b in 0..self.bridges.len() {
            while let Some(flying) = self.bridges[b].flying.first() {
                let step = match flying.answer {
                    Some(_) => Step::Answer(b, 0),
                    None if self.accepts(b, self.stamp(b, flying, env), &flying.commit, env) => Step::Arrive(b, 0),
                    None => Step::Fail(b, 0),
                };
                self.take(step, cfg, env);
                if self.bridges[b].flying.len() == 1 && matches!(step, Step::Answer(..) | Step::Fail(..)) {
                    break;
                }
            }
            if self.bridges[b].machine.state(&TP) == State::Draining {
                self.take(Step::RevokeDone(b), cfg, env);
            }
            if self.bridges[b].owns() && !self.members[b] {
                self.take(Step::Lost(b), cfg, env);
            }
        }
        let served = self.owner.is_some_and(|o| self.members[o] && self.bridges[o].owns());
        if !served && let Some(to) = (0..self.bridges.len()).find(|b| self.eligible(*b, env)) {
            self.take(Step::Rebalance { to }, cfg, env);
        }
        for b in 0..self.bridges.len() {
            self.take(if self.bridges[b].watch.is_some() { Step::WatchArrive(b) } else { Step::Watch(b) }, cfg, env);
            while self.bridges[b].owns() && self.bridges[b].position < self.end {
                self.take(Step::Process(b), cfg, env);
            }
            self.take(Step::Tick(b), cfg, env);
        }
    }

    fn coordinator_steps(&self, bounds: &Bounds, env: Env, out: &mut Vec<Step>) {
        if self.generation >= bounds.generations {
            return;
        }
        let heirs = (0..self.bridges.len()).filter(|b| Some(*b) != self.owner && self.eligible(*b, env));
        match self.owner {
            Some(o) if self.members[o] && !self.eligible(o, env) => {
                out.extend(heirs.map(|to| Step::Kick { to: Some(to) }));
                if bounds.empty {
                    out.push(Step::Kick { to: None });
                }
            }
            _ => {
                let all = (0..self.bridges.len()).filter(|b| self.eligible(*b, env));
                out.extend(all.map(|to| Step::Rebalance { to }));
            }
        }
    }

    fn bridge_steps(&self, b: usize, bounds: &Bounds, env: Env, out: &mut Vec<Step>) {
        let bridge = &self.bridges[b];
        let state = bridge.machine.state(&TP);
        // Nothing that an evicted bridge sends is taken while the group has members: all
        // it can do is to expose until its lease ends.
        let zombie = !self.members[b] && self.members.contains(&true) && env.fenced_release && env.no_resend_outside;
        if bridge.owns() {
            if !zombie && bounds.planned {
                out.push(if state == State::Draining { Step::RevokeDone(b) } else { Step::Revoke(b) });
            }
            if !self.members[b] {
                out.push(Step::Lost(b));
                // It makes a difference only to an empty group.
                if bridge.generation >= 0 && !self.members.contains(&true) {
                    out.push(Step::ClientLost(b));
                }
            }
        }
        for (i, flying) in bridge.flying.iter().enumerate() {
            if flying.answer.is_some() {
                out.push(Step::Answer(b, i));
                continue;
            }
            // Without failures the commit of an evicted member ends like this, too.
            if !zombie && (bounds.fails || bridge.generation < 0) {
                out.push(Step::Fail(b, i));
            }
            // Arriving only to be refused is failing.
            if self.accepts(b, self.stamp(b, flying, env), &flying.commit, env) {
                out.push(Step::Arrive(b, i));
                if bounds.resend {
                    out.push(Step::Apply(b, i));
                }
            }
        }
        match &bridge.watch {
            Some(_) => out.push(Step::WatchArrive(b)),
            None if bounds.watch && self.worth_a_look(bridge) => {
                out.push(if bounds.slow_watch { Step::WatchRead(b) } else { Step::Watch(b) });
            }
            None => {}
        }
        if bridge.end_read.is_some() {
            out.push(Step::EndArrive(b));
        }
        if bridge.owns() {
            // Before that, what is processed later will do as well.
            let begun = matches!(state, State::CatchingUp | State::Live | State::Fenced);
            if begun && bridge.position < self.end {
                out.push(Step::Process(b));
            }
            if !zombie || state != State::Live {
                out.push(Step::Tick(b));
            }
        }
        if self.restarts < bounds.restarts {
            out.push(Step::Restart(b));
        }
    }

    /// Would the watcher's look change anything? For who owns nothing: a held marker not
    /// seen yet. For an owner: a foreign marker, or its own after a fence.
    fn worth_a_look(&self, bridge: &Bridge) -> bool {
        let seen = bridge.machine.watch().get(&TP).is_some_and(|(found, _)| *found == self.found);
        if seen || !self.found.is_held() {
            return false;
        }
        let own = self.found.marker().is_some_and(|m| m.incarnation == bridge.incarnation);
        !bridge.owns() || !own || bridge.machine.state(&TP) == State::Fenced
    }

    /// Takes a step; `None` if it leads nowhere.
    pub(crate) fn take(&mut self, step: Step, cfg: &Config, env: Env) {
        match step {
            Step::Time => self.now += 1,
            Step::Produce => self.end += 1,
            Step::Kick { to } => self.kick(to, env),
            Step::Rebalance { to } => self.next_generation(Some(to), env),
            Step::Revoke(b) => self.revoke(b, env),
            Step::RevokeDone(b) => self.event(b, Event::RevokeDone, env),
            Step::ClientLost(b) => self.bridge(b).generation = -1,
            Step::Lost(b) => {
                self.bridge(b).generation = -1;
                self.event(b, Event::Revoked { partitions: vec![TP.clone()], lost: true }, env);
            }
            Step::Arrive(b, i) => self.arrive(b, i, env, true),
            Step::Apply(b, i) => self.arrive(b, i, env, false),
            Step::Answer(b, i) => self.answer(b, i, env),
            Step::Fail(b, i) => self.fail(b, i, env),
            Step::Orphan(i) => {
                let (b, flying) = self.orphans.remove(i);
                self.accept(b, flying.generation, &flying.commit, env);
            }
            Step::WatchRead(b) => {
                let found = self.found.clone();
                self.bridge(b).watch = Some(found);
            }
            Step::Watch(b) => {
                let found = self.found.clone();
                self.event(b, Event::Watched(vec![(TP.clone(), found)]), env);
            }
            Step::WatchArrive(b) => {
                if let Some(found) = self.bridge(b).watch.take() {
                    self.event(b, Event::Watched(vec![(TP.clone(), found)]), env);
                }
            }
            Step::EndArrive(b) => {
                if let Some(end) = self.bridge(b).end_read.take() {
                    self.event(b, Event::EndRead { tp: TP.clone(), end }, env);
                }
            }
            Step::Process(b) => self.bridge(b).position += 1,
            Step::Tick(b) => {
                self.sample(b, env);
                let generation = self.bridges[b].generation;
                self.event(b, Event::Tick { generation }, env);
            }
            Step::Restart(b) => self.restart(b, cfg),
        }
        self.look(cfg);
    }

    fn kick(&mut self, to: Option<usize>, env: Env) {
        let Some(o) = self.owner else { return };
        self.seen.kicked = true;
        self.members[o] = false;
        if to.is_none() {
            self.members.fill(false);
        }
        self.next_generation(to, env);
    }

    /// Everybody who has nothing to let go joins it, if anybody does.
    fn next_generation(&mut self, to: Option<usize>, env: Env) {
        self.generation += 1;
        self.owner = to;
        let Some(to) = to else { return };
        for b in 0..self.bridges.len() {
            if self.eligible(b, env) {
                self.members[b] = true;
                self.bridge(b).generation = self.generation;
            }
        }
        self.assign(to, env);
    }

    fn assign(&mut self, b: usize, env: Env) {
        let bridge = self.bridge(b);
        bridge.position = 0;
        bridge.lease = i64::MIN;
        if env.fresh_end {
            bridge.end_read = None;
        }
        let generation = bridge.generation;
        let found = self.found.clone();
        self.bridge(b).inherited = found.offset().max(0);
        let held = found.is_held();
        self.event(b, Event::Tick { generation }, env);
        let assignment = Assignment { tp: TP.clone(), found, start: 0, partitions: 1, topic_id: PEER.clone() };
        self.event(b, Event::Assigned(vec![assignment]), env);
        let over = self.bridges[b].machine.wait_until(&TP).is_some_and(|until| until <= self.now);
        self.seen.shortened |= held && over;
        self.seen.waited |= held && !over;
    }

    /// As the caller does it: dark, then the position, then the event.
    fn revoke(&mut self, b: usize, env: Env) {
        if env.dark_then_sample {
            self.sample(b, env);
        }
        let generation = self.bridges[b].generation;
        self.event(b, Event::Generation(generation), env);
        self.event(b, Event::Revoked { partitions: vec![TP.clone()], lost: false }, env);
    }

    fn sample(&mut self, b: usize, env: Env) {
        let position = self.bridges[b].position;
        self.event(b, Event::Progress(TP.clone(), Progress { position, low_water: 0 }), env);
    }

    fn arrive(&mut self, b: usize, i: usize, env: Env, answered: bool) {
        let flying = &self.bridges[b].flying[i];
        let generation = self.stamp(b, flying, env);
        let commit = flying.commit.clone();
        let accepted = self.accept(b, generation, &commit, env);
        let flying = &mut self.bridge(b).flying[i];
        flying.applied = true;
        flying.answer = answered.then_some(accepted);
    }

    /// The generation that a commit carries when it arrives: that of its first sending,
    /// or, sent again, the one of that moment.
    fn stamp(&self, b: usize, flying: &Flying, env: Env) -> i32 {
        let now = self.bridges[b].generation;
        let first = !flying.applied && !flying.commit.release;
        let again = if now < 0 { first || !env.no_resend_outside } else { env.restamps };
        if again { now } else { flying.generation }
    }

    /// The coordinator takes a commit of the current generation from any member for any
    /// partition, and one outside of any generation if the group is empty.
    fn accepts(&self, b: usize, generation: i32, commit: &Commit, env: Env) -> bool {
        let member = self.members[b] && generation == self.generation;
        let empty = generation < 0 && !self.members.contains(&true);
        member || empty || (commit.release && !env.fenced_release)
    }

    fn accept(&mut self, b: usize, generation: i32, commit: &Commit, env: Env) -> bool {
        let accepted = self.accepts(b, generation, commit, env);
        if accepted && let Some(entry) = commit.entries.first() {
            self.seen.released |= entry.marker.kind == MarkerKind::Released;
            self.found = Found::Marker { offset: entry.offset, marker: entry.marker.clone() };
        }
        accepted
    }

    fn answer(&mut self, b: usize, i: usize, env: Env) {
        let flying = self.bridge(b).flying.remove(i);
        let generation = self.bridges[b].generation;
        let accepted = if flying.answer == Some(true) { vec![TP.clone()] } else { Vec::new() };
        self.event(b, Event::CommitAnswered { seq: flying.commit.seq, generation, accepted }, env);
    }

    fn fail(&mut self, b: usize, i: usize, env: Env) {
        let flying = self.bridge(b).flying.remove(i);
        let (seq, generation) = (flying.commit.seq, self.bridges[b].generation);
        if !env.failed_is_final {
            self.orphans.push((b, flying));
        }
        self.event(b, Event::CommitAnswered { seq, generation, accepted: Vec::new() }, env);
    }

    /// The group does not know that it is gone; what it has sent may still arrive.
    fn restart(&mut self, b: usize, cfg: &Config) {
        self.restarts += 1;
        let incarnation = 10 * u64::from(self.restarts) + b as u64;
        let old = std::mem::replace(self.bridge(b), Bridge::new(cfg, incarnation, -1));
        self.orphans.extend(old.flying.into_iter().filter(|f| f.answer.is_none()).map(|f| (b, f)));
    }

    fn event(&mut self, b: usize, event: Event, env: Env) {
        let now = self.now;
        for action in self.bridge(b).machine.handle(event, now) {
            self.act(b, action);
        }
        // An end read at its request and told at once is the worst case; only a caller
        // that mixes up its requests can do worse.
        if env.fresh_end
            && let Some(end) = self.bridge(b).end_read.take()
        {
            self.event(b, Event::EndRead { tp: TP.clone(), end }, env);
        }
    }

    fn act(&mut self, b: usize, action: Action) {
        let (mut shown, end, now) = (self.shown, self.end, self.now);
        let bridge = self.bridge(b);
        if bridge.scrapeable(now) {
            // Made visible by an action before this one.
            shown = shown.max(bridge.position);
        }
        match action {
            Action::Expose { visible, .. } => bridge.visible = visible,
            Action::Lease { until, .. } => bridge.lease = bridge.lease.max(until),
            Action::Commit(mut commit) => {
                let broken = commit.entries.iter().any(|e| match e.marker.kind {
                    MarkerKind::Held => e.offset > shown.max(bridge.inherited),
                    MarkerKind::Released | MarkerKind::ReleasedNoPosition => {
                        e.offset > bridge.position.max(bridge.inherited)
                    }
                });
                // Only for people: left out, so that fewer states differ.
                for entry in &mut commit.entries {
                    entry.marker.sent = 0;
                    entry.marker.claim = 0;
                    // Nothing rests on an offset under `H`; checked above, then left out.
                    if entry.marker.kind == MarkerKind::Held {
                        entry.offset = 0;
                    }
                }
                let generation = bridge.generation;
                bridge.flying.push(Flying { commit, generation, applied: false, answer: None });
                if broken {
                    self.broken = Some(Broken::G2);
                }
            }
            Action::ReadEnd(_) => bridge.end_read = bridge.end_read.or(Some(end)),
            Action::Changed { from: State::Fenced, to: State::Live, .. } => self.seen.fenced_and_back = true,
            Action::Changed { .. } | Action::ForeignMarker(_) => {}
        }
    }

    /// Everything that can be scraped now is; then what makes no difference is dropped.
    fn look(&mut self, cfg: &Config) {
        let now = self.now;
        let positions = || self.bridges.iter().filter(|b| b.scrapeable(now)).map(|b| b.position);
        self.shown = self.shown.max(positions().max().unwrap_or(0));
        if positions().any(|p| p < self.shown) {
            self.broken = Some(Broken::G1);
        }
        for b in 0..self.bridges.len() {
            let bridge = self.bridge(b);
            if !cfg.rules.lease {
                bridge.lease = i64::MAX;
            } else if bridge.lease <= now {
                bridge.lease = i64::MIN;
            }
            if !bridge.owns() {
                bridge.position = 0;
                bridge.inherited = 0;
                if bridge.flying.is_empty() {
                    let generation = bridge.generation;
                    bridge.machine.handle(Event::Tick { generation }, now);
                }
            }
            bridge.machine.forget(now);
        }
        self.renumber();
    }

    /// Sequences as ranks within their incarnation: only their order matters.
    fn renumber(&mut self) {
        let mut all = BTreeSet::new();
        self.number(&mut |incarnation, seq| {
            all.insert((incarnation, seq));
            seq
        });
        let mut ranks = BTreeMap::new();
        let (mut rank, mut last) = (0, None);
        for (incarnation, seq) in all {
            rank = if last == Some(incarnation) { rank + 1 } else { 0 };
            last = Some(incarnation);
            ranks.insert((incarnation, seq), rank);
        }
        self.number(&mut |incarnation, seq| ranks[&(incarnation, seq)]);
    }

    fn number(&mut self, number: &mut dyn FnMut(u64, u64) -> u64) {
        self.found.renumber(number);
        let marked = |flying: &mut Flying, number: &mut dyn FnMut(u64, u64) -> u64| {
            for entry in &mut flying.commit.entries {
                entry.marker.seq = number(entry.marker.incarnation, entry.marker.seq);
                flying.commit.seq = entry.marker.seq;
            }
        };
        for (_, flying) in &mut self.orphans {
            marked(flying, number);
        }
        for bridge in &mut self.bridges {
            let bridge = Arc::make_mut(bridge);
            bridge.machine.renumber(number);
            if let Some(found) = &mut bridge.watch {
                found.renumber(number);
            }
            for flying in &mut bridge.flying {
                marked(flying, number);
            }
        }
    }

    /// The table that a scrape consults says the same as the machine.
    pub(crate) fn table_agrees(&self) -> bool {
        self.bridges.iter().all(|b| b.scrapeable(self.now) == b.machine.may_expose(&TP, self.now))
    }
}

impl Bridge {
    fn new(cfg: &Config, incarnation: u64, generation: i32) -> Bridge {
        Bridge {
            machine: Machine::new(cfg.clone(), Identity { incarnation, peer: PEER.clone() }),
            incarnation,
            generation,
            position: 0,
            inherited: 0,
            visible: false,
            lease: i64::MIN,
            flying: Vec::new(),
            end_read: None,
            watch: None,
        }
    }

    pub(crate) fn owns(&self) -> bool {
        self.machine.state(&TP) != State::Gone
    }

    pub(crate) fn scrapeable(&self, now: i64) -> bool {
        self.visible && now < self.lease
    }
}
