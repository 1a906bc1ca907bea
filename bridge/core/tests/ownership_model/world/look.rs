//! The scrape after every step, and what keeps the states few.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k2p_core::ownership::{Config, Event, State};

use super::{Broken, Flying, TP, World};

impl World {
    /// Everything that can be scraped now is; then what makes no difference is dropped.
    pub(super) fn look(&mut self, cfg: &Config) {
        let now = self.now;
        let positions = || self.bridges.iter().filter(|b| b.scrapeable(now)).map(|b| (b.content, b.position));
        self.shown = self.shown.max(positions().max().unwrap_or_default());
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
            if !bridge.owns() && bridge.flying.is_empty() {
                let generation = bridge.generation;
                for action in bridge.machine.handle(Event::Tick { generation }, now) {
                    self.act(b, action);
                }
            }
            let bridge = self.bridge(b);
            if bridge.machine.state(&TP) == State::Gone {
                (bridge.known, bridge.content, bridge.position, bridge.inherited) = (0, 0, 0, 0);
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
}
