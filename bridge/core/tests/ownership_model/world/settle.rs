//! The continuation in which nothing fails.
use k2p_core::ownership::{Config, State};

use super::{Env, Step, TP, World};

impl World {
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
}
