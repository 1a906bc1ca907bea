//! What a step does.
use k2p_core::ownership::{Action, Assignment, Commit, Config, Event, Found, MarkerKind, Progress, State};

use super::{Bridge, Broken, Env, Flying, Step, TP, World, id};

impl World {
    /// Takes a step; `None` if it leads nowhere.
    pub(crate) fn take(&mut self, step: Step, cfg: &Config, env: Env) {
        match step {
            Step::Time => self.now += 1,
            Step::Produce => self.end += 1,
            Step::Remake => (self.made, self.end) = (self.made + 1, 0),
            Step::Learn(b) => self.learn(b, env),
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
                self.end_arrives(b, env);
            }
            Step::Process(b) => {
                let made = self.made;
                let bridge = self.bridge(b);
                (bridge.content, bridge.position) = (made, bridge.position + 1);
            }
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

    pub(super) fn assign(&mut self, b: usize, env: Env) {
        let made = self.made;
        let bridge = self.bridge(b);
        (bridge.known, bridge.content, bridge.position) = (made, made, 0);
        bridge.lease = i64::MIN;
        if env.fresh_end {
            bridge.end_read = None;
        }
        let generation = bridge.generation;
        let found = self.found.clone();
        let same_log = found.marker().is_none_or(|m| m.topic_id == id(made));
        self.bridge(b).inherited = if same_log { found.offset().max(0) } else { 0 };
        let held = found.is_held();
        self.event(b, Event::Generation(generation), env);
        let assignment =
            Assignment { tp: TP.clone(), found, start: 0, partitions: 1, former: [].into(), topic_id: id(made) };
        self.event(b, Event::Assigned(vec![assignment]), env);
        let over = self.bridges[b].machine.wait_until(&TP).is_some_and(|until| until <= self.now);
        self.seen.shortened |= held && over;
        self.seen.waited |= held && !over;
    }

    fn learn(&mut self, b: usize, env: Env) {
        let made = self.made;
        let bridge = self.bridge(b);
        (bridge.known, bridge.content, bridge.position, bridge.inherited) = (made, made, 0, 0);
        bridge.end_read = None;
        self.event(b, Event::Remade { tp: TP.clone(), topic_id: id(made), start: 0 }, env);
    }

    fn end_arrives(&mut self, b: usize, env: Env) {
        if let Some((end, made)) = self.bridge(b).end_read.take() {
            self.event(b, Event::EndRead { tp: TP.clone(), end, topic_id: id(made) }, env);
        }
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
    pub(super) fn stamp(&self, b: usize, flying: &Flying, env: Env) -> i32 {
        let now = self.bridges[b].generation;
        if now < 0 || env.restamps { now } else { flying.generation }
    }

    /// The coordinator takes a commit of the current generation from any member for any
    /// partition, and one outside of any generation if the group is empty.
    pub(super) fn accepts(&self, b: usize, generation: i32, commit: &Commit, env: Env) -> bool {
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
        if env.fresh_end {
            self.end_arrives(b, env);
        }
    }

    pub(super) fn act(&mut self, b: usize, action: Action) {
        let (mut shown, end, now) = (self.shown, (self.end, self.made), self.now);
        let bridge = self.bridge(b);
        if bridge.scrapeable(now) {
            // Made visible by an action before this one.
            shown = shown.max((bridge.content, bridge.position));
        }
        match action {
            Action::Expose { visible, .. } => bridge.visible = visible,
            Action::Lease { until, .. } => bridge.lease = bridge.lease.max(until),
            Action::Commit(mut commit) => {
                // An offset is one of the log that its marker names.
                let shown = match shown.0.cmp(&bridge.known) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => shown.1,
                    std::cmp::Ordering::Greater => i64::MAX,
                };
                let broken = commit.entries.iter().any(|e| match e.marker.kind {
                    MarkerKind::Held | MarkerKind::Claimed { .. } => e.offset > shown.max(bridge.inherited),
                    MarkerKind::Released | MarkerKind::ReleasedNoPosition => {
                        e.offset > bridge.position.max(bridge.inherited)
                    }
                });
                // Only for people: left out, so that fewer states differ.
                for entry in &mut commit.entries {
                    entry.marker.sent = 0;
                    entry.marker.claim = 0;
                    // Nothing rests on an offset under `H`; checked above, then left out.
                    if matches!(entry.marker.kind, MarkerKind::Held | MarkerKind::Claimed { .. }) {
                        entry.offset = 0;
                    }
                }
                let generation = bridge.generation;
                bridge.flying.push(Flying { commit, generation, applied: false, answer: None });
                if broken {
                    self.broken = Some(Broken::G2);
                }
            }
            // Of a topic that it does not know yet the end is thrown away, and asked for again.
            Action::ReadEnd(_) if bridge.known != end.1 => {}
            Action::ReadEnd(_) => bridge.end_read = bridge.end_read.or(Some(end)),
            Action::Changed { from: State::Fenced, to: State::Live, .. } => self.seen.fenced_and_back = true,
            Action::Changed { .. } | Action::ForeignMarker(_) => {}
        }
    }
}
