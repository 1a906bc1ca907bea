//! Which steps are possible.
use k2p_core::ownership::State;

use super::{Bounds, Bridge, Env, Step, TP, World};

impl World {
    /// Every step that is possible now.
    pub(crate) fn steps(&self, bounds: &Bounds, env: Env, out: &mut Vec<Step>) {
        if self.now < bounds.time {
            out.push(Step::Time);
        }
        if self.end < bounds.log {
            out.push(Step::Produce);
        }
        if self.made < bounds.remakes {
            out.push(Step::Remake);
        }
        self.coordinator_steps(bounds, env, out);
        out.extend((0..self.orphans.len()).map(Step::Orphan));
        for b in 0..self.bridges.len() {
            self.bridge_steps(b, bounds, env, out);
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
        let zombie = !self.members[b] && self.members.contains(&true) && env.fenced_release && !bounds.empty;
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
            // Not between a revoke and its end.
            if bridge.known < self.made && state != State::Draining {
                out.push(Step::Learn(b));
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
}
