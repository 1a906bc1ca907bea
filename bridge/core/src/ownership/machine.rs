//! The protocol of one bridge.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::partition::{Barrier, Part, Stamp, State};
use super::{Action, Assignment, Commit, Config, Event, Found, Identity, MarkerKind, Tp, Watch};
use crate::model::MonoMs;

/// The next generation is the successor's; or the group is empty in it, and the one after
/// that is the successor's.
const NEXT_OR_EMPTY: i32 = 2;

/// The one commit that may be under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Outstanding {
    seq: u64,
    sent: MonoMs,
    generation: i32,
    /// What it claims, and whether with `H`; a partition assigned again since is not
    /// proven by it.
    tps: Vec<(Tp, bool)>,
}

/// The ownership of all partitions of one bridge (see the module's documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    cfg: Config,
    me: Identity,
    /// Boxed: the model checker clones machines by the million.
    parts: BTreeMap<Tp, Box<Part>>,
    watch: Watch,
    outstanding: Option<Outstanding>,
    /// Sequence of the newest commit sent.
    seq: u64,
    generation: i32,
    /// When the next renewal is due.
    renew_at: MonoMs,
    /// A release waits for the outstanding commit's answer.
    release_due: bool,
}

impl Machine {
    /// A bridge that owns nothing yet.
    pub fn new(cfg: Config, me: Identity) -> Machine {
        Machine {
            cfg,
            me,
            parts: BTreeMap::new(),
            watch: Watch::default(),
            outstanding: None,
            seq: 0,
            generation: -1,
            renew_at: MonoMs::MIN,
            release_due: false,
        }
    }

    /// Takes one event, returns what has to be done, in order.
    pub fn handle(&mut self, event: Event, now: MonoMs) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Assigned(list) => self.assigned(list, now, &mut out),
            Event::Revoked { partitions, lost } => self.revoked(&partitions, lost, now, &mut out),
            Event::RevokeDone => self.revoke_done(now, &mut out),
            Event::CommitAnswered { seq, generation, accepted } => {
                self.answered(seq, generation, &accepted, now, &mut out);
            }
            Event::Watched(list) => self.watched(list, now, &mut out),
            Event::EndRead { tp, end, topic_id } => self.end_read(&tp, end, &topic_id),
            Event::Remade { tp, topic_id, start } => self.remade(&tp, topic_id, start, now, &mut out),
            Event::Progress(tp, progress) => {
                self.progressed(&tp, progress, now);
                // Only noted: the caller, about to let a partition go, has made it dark
                // and then sampled this. Nothing may become visible after the sample.
                return out;
            }
            Event::Generation(generation) => {
                self.generation = generation;
                return out;
            }
            Event::Tick { generation } => self.generation = generation,
        }
        self.advance(now, &mut out);
        self.renew(now, &mut out);
        out
    }

    /// May the partition be shown at `now`? The one question of a scrape (rule 6).
    pub fn may_expose(&self, tp: &Tp, now: MonoMs) -> bool {
        let Some(part) = self.parts.get(tp) else { return false };
        let evicted = part.state == State::Draining && self.cfg.rules.evict_first;
        let draining = part.state == State::Draining && part.was_live;
        let shown = matches!(part.state, State::Live | State::Lost) || draining;
        shown && !evicted && (now < part.lease_until || !self.cfg.rules.lease)
    }

    /// The state of a partition; `Gone` if it is not this bridge's.
    pub fn state(&self, tp: &Tp) -> State {
        self.parts.get(tp).map_or(State::Gone, |p| p.state)
    }

    /// When the wait of a partition ends, if it is this bridge's.
    pub fn wait_until(&self, tp: &Tp) -> Option<MonoMs> {
        self.parts.get(tp).map(|p| p.wait_until)
    }

    /// The barrier of a partition, once it is known.
    pub fn barrier(&self, tp: &Tp) -> Option<i64> {
        match self.parts.get(tp)?.barrier {
            Barrier::At(offset) => Some(offset),
            Barrier::Unasked | Barrier::Asked => None,
        }
    }

    /// The owned partitions, in order.
    pub fn owned(&self) -> impl Iterator<Item = &Tp> {
        self.parts.keys()
    }

    /// What the watcher knows of the whole group.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Sequence and send time of the commit under way.
    pub fn outstanding(&self) -> Option<(u64, MonoMs)> {
        self.outstanding.as_ref().map(|o| (o.seq, o.sent))
    }

    /// When the next event is due even if nothing happens: a wait or a lease ends, a
    /// renewal is to be sent.
    pub fn next_deadline(&self, now: MonoMs) -> Option<MonoMs> {
        let ends = self.parts.values().flat_map(|p| [p.wait_until, p.lease_until]);
        // While nothing may be sent, its being due is no reason to wake up.
        let renew = (!self.parts.is_empty() && self.may_renew()).then_some(self.renew_at.max(now));
        ends.filter(|at| *at > now).chain(renew).min()
    }

    /// Forgets what can make no difference any more, moments that have passed above all:
    /// two machines that differ only in it expose and commit the same from `now` on (the
    /// count of foreign markers may differ). Keeps the states of a model checker few;
    /// the bridge has no use for it.
    #[doc(hidden)]
    pub fn forget(&mut self, now: MonoMs) {
        let past = |at: &mut MonoMs| {
            if *at <= now {
                *at = MonoMs::MIN;
            }
        };
        past(&mut self.renew_at);
        for part in self.parts.values_mut() {
            past(&mut part.wait_until);
            past(&mut part.lease_until);
            part.forget(self.release_due);
        }
        if let Some(o) = self.outstanding.as_mut().filter(|o| o.sent + self.cfg.lease <= now) {
            o.sent = MonoMs::MIN / 2;
        }
        self.watch.forget(now, self.cfg.wait);
    }

    /// The sequences that this machine knows, its own and those of markers, with their
    /// incarnations; and the same machine under other numbers. Only their order within
    /// an incarnation matters (for the model checker, as [`Machine::forget`]).
    #[doc(hidden)]
    pub fn renumber(&mut self, number: &mut dyn FnMut(u64, u64) -> u64) {
        let me = self.me.incarnation;
        self.seq = number(me, self.seq);
        if let Some(o) = &mut self.outstanding {
            o.seq = number(me, o.seq);
        }
        for part in self.parts.values_mut() {
            part.claimed = part.claimed.map(|seq| number(me, seq));
            part.proof_above = part.proof_above.map(|seq| number(me, seq));
            part.read_back = number(me, part.read_back);
            part.found.renumber(number);
        }
        self.watch.renumber(number);
    }

    fn progressed(&mut self, tp: &Tp, progress: super::Progress, now: MonoMs) {
        let rules = self.cfg.rules;
        let Some(part) = self.parts.get_mut(tp) else { return };
        part.progress = progress;
        // G2: what comes while the lease has lapsed unnoticed was never to be seen.
        let scrapeable = part.state == State::Live && (now < part.lease_until || !rules.lease);
        if scrapeable || !rules.held_shown {
            part.shown = progress;
        }
    }

    fn assigned(&mut self, list: Vec<Assignment>, now: MonoMs, out: &mut Vec<Action>) {
        for a in list {
            let mut from = State::Gone;
            if let Some(old) = self.parts.remove(&a.tp) {
                // Lost, and given back before its lease has lapsed: a new ownership.
                from = old.state;
                out.push(Action::Expose { tp: a.tp.clone(), visible: false });
            }
            self.watch.look(&a.tp, a.found.clone(), now, self.cfg.rules.watch_restarts);
            // A claim is a commit issued *after* the assignment (rule 2).
            if let Some(o) = &mut self.outstanding {
                o.tps.retain(|(tp, _)| *tp != a.tp || !self.cfg.rules.claim);
            }
            let claim = a.found.marker().map_or(0, |m| m.claim) + 1;
            let part = Part {
                state: State::Assigned,
                wait_until: self.wait_end(&a, now),
                outdated: self.outdated(&a.found),
                claim,
                claimed: None,
                held: false,
                lease_until: MonoMs::MIN,
                barrier: Barrier::Unasked,
                was_live: false,
                proof_above: None,
                read_back: 0,
                progress: super::Progress { position: a.start, low_water: a.start },
                shown: self.inherited(&a),
                partitions: a.partitions,
                former: if self.cfg.rules.former_counts { a.former } else { Arc::new([]) },
                topic_id: a.topic_id,
                found: a.found,
            };
            out.push(Action::Changed { tp: a.tp.clone(), from, to: State::Assigned });
            self.parts.insert(a.tp, Box::new(part));
            // A claim is what a new partition waits for first.
            self.renew_at = now;
        }
    }

    /// What a claim commits: what was found, so that it promises nothing new (G2) and
    /// does not forget where its predecessor's cache began. Offsets of a topic that was
    /// made anew since mean nothing.
    fn inherited(&self, a: &Assignment) -> super::Progress {
        if a.remade() && self.cfg.rules.topic_id {
            return super::Progress { position: 0, low_water: -1 };
        }
        let low_water = a.found.marker().map_or(-1, |m| m.low_water);
        super::Progress { position: a.found.offset().max(0), low_water }
    }

    /// Rule 3 (and rule 10 for a partition that a topic gained).
    fn wait_end(&self, a: &Assignment, now: MonoMs) -> MonoMs {
        if !self.cfg.rules.wait {
            return now;
        }
        if self.outdated(&a.found) {
            return now + self.cfg.wait;
        }
        if a.found.is_held() {
            // `look` has just taken this answer, so there always is a first sight.
            let since = if self.cfg.rules.watch_restarts {
                self.watch.since(&a.tp, &a.found)
            } else {
                self.watch.get(&a.tp).map(|(_, at)| at)
            };
            return since.unwrap_or(now) + a.found.wait(self.cfg.wait);
        }
        let added = self.cfg.rules.added_waits && self.somebody_knows_fewer(a);
        if a.found == Found::Nothing && added {
            return now + self.cfg.wait;
        }
        self.watch.vanished(&a.tp).map_or(now, |since| now.max(since + self.cfg.wait))
    }

    /// Rule 5: a client may send a commit once more outside of any generation, and an
    /// empty group takes it. Another owner may have been since; but becoming empty is a
    /// generation, so this one is then the third after the marker's at the earliest.
    fn outdated(&self, found: &Found) -> bool {
        let recent = |then: i32| then >= 0 && (then..=then.saturating_add(NEXT_OR_EMPTY)).contains(&self.generation);
        self.cfg.rules.old_is_stranger && found.marker().is_some_and(|m| !recent(m.generation))
    }

    /// Rule 10: a bridge that does not know of this partition yet may still expose
    /// origins whose newer dumps are in it.
    fn somebody_knows_fewer(&self, a: &Assignment) -> bool {
        self.watch.iter().any(|(tp, found, _)| {
            tp.topic == a.tp.topic
                && match found {
                    Found::Nothing => false,
                    Found::Marker { marker, .. } => match marker.kind {
                        MarkerKind::Held => marker.partitions <= a.tp.partition,
                        // Whom it waits for may know fewer than it does itself.
                        MarkerKind::Claimed { .. } => true,
                        MarkerKind::Released | MarkerKind::ReleasedNoPosition => false,
                    },
                    Found::Stranger { .. } => true,
                }
        })
    }

    fn revoked(&mut self, list: &[Tp], lost: bool, now: MonoMs, out: &mut Vec<Action>) {
        for tp in list {
            let Some(part) = self.parts.get_mut(tp) else { continue };
            let from = part.state;
            if from == State::Lost || (from == State::Draining && !lost) {
                continue;
            }
            // Lost and live: its lease is as good a proof as it was, and a successor waits
            // for its end as it would for an owner that has not heard of it.
            if lost && from == State::Live {
                part.state = State::Lost;
                out.push(Action::Changed { tp: tp.clone(), from, to: State::Lost });
                continue;
            }
            if lost || self.cfg.rules.evict_first {
                out.push(Action::Expose { tp: tp.clone(), visible: false });
            }
            if lost {
                self.parts.remove(tp);
                out.push(Action::Changed { tp: tp.clone(), from, to: State::Gone });
            } else {
                part.state = State::Draining;
                self.release_due = true;
                out.push(Action::Changed { tp: tp.clone(), from, to: State::Draining });
            }
        }
        self.release(now, out);
    }

    /// Rule 5. Sent when nothing else is under way: of two commits in flight the later
    /// could be re-sent under a generation in which the partition is another's.
    fn release(&mut self, now: MonoMs, out: &mut Vec<Action>) {
        if !self.release_due || (self.outstanding.is_some() && self.cfg.rules.one_commit) {
            return;
        }
        // Outside of a generation a commit is accepted once the group is empty, whoever
        // sends it: nobody could rely on this release.
        if self.generation < 0 {
            return;
        }
        self.release_due = false;
        let stamp = self.stamp(now);
        let draining = self.parts.iter().filter(|(_, p)| p.state == State::Draining);
        let entries: Vec<_> = draining.map(|(tp, p)| p.released(&self.cfg, tp, stamp)).collect();
        self.send(entries, true, now, out);
    }

    fn revoke_done(&mut self, now: MonoMs, out: &mut Vec<Action>) {
        self.release_due = false;
        // Nothing new goes out while the client lets the partitions go and rejoins.
        self.renew_at = self.renew_at.max(now + self.cfg.retry);
        let gone: Vec<Tp> =
            self.parts.iter().filter(|(_, p)| p.state == State::Draining).map(|(tp, _)| tp.clone()).collect();
        for tp in gone {
            self.parts.remove(&tp);
            if !self.cfg.rules.evict_first {
                out.push(Action::Expose { tp: tp.clone(), visible: false });
            }
            out.push(Action::Changed { tp, from: State::Draining, to: State::Gone });
        }
    }

    fn answered(&mut self, seq: u64, generation: i32, accepted: &[Tp], now: MonoMs, out: &mut Vec<Action>) {
        self.generation = generation;
        let Some(sent) = self.outstanding.take_if(|o| o.seq == seq) else { return };
        let proof = generation >= 0 && generation == sent.generation || !self.cfg.rules.same_generation;
        if !proof || accepted.is_empty() {
            // No proof, and no loss either: asked again soon.
            self.renew_at = self.renew_at.min(now + self.cfg.retry);
        } else {
            let base = if self.cfg.rules.lease_from_send { sent.sent } else { now };
            for (tp, held) in sent.tps.iter().filter(|(tp, _)| accepted.contains(tp)) {
                let Some(part) = self.parts.get_mut(tp).filter(|p| p.state != State::Lost) else { continue };
                part.claimed = part.claimed.max(Some(seq));
                part.held |= held;
                part.lease_until = part.lease_until.max(base + self.cfg.lease);
                out.push(Action::Lease { tp: tp.clone(), until: part.lease_until });
            }
        }
        self.release(now, out);
    }

    fn watched(&mut self, list: Vec<(Tp, Found)>, now: MonoMs, out: &mut Vec<Action>) {
        for (tp, found) in list {
            if let Some(part) = self.parts.get_mut(&tp) {
                match found.marker() {
                    Some(m) if m.incarnation == self.me.incarnation => part.read_back = part.read_back.max(m.seq),
                    _ if part.claimed.is_some() && part.is_owned() => {
                        self.renew_at = now;
                        // An answer older than the claim still shows what was found.
                        if found != part.found {
                            out.push(Action::ForeignMarker(tp.clone()));
                        }
                    }
                    _ => {}
                }
            }
            self.watch.look(&tp, found, now, self.cfg.rules.watch_restarts);
        }
    }

    fn end_read(&mut self, tp: &Tp, end: i64, topic_id: &str) {
        let Some(part) = self.parts.get_mut(tp) else { return };
        // Of a topic made anew the caller will tell, and then it is read again.
        let other = self.cfg.rules.topic_id && super::remade(&part.topic_id, topic_id);
        if part.barrier != Barrier::Asked || other {
            return;
        }
        // A release says exactly how far its bridge had come, unless the log has been
        // cut since (rule 10).
        part.barrier = Barrier::At(part.released_at(&self.cfg).map_or(end, |offset| offset.min(end)));
    }

    fn remade(&mut self, tp: &Tp, topic_id: Arc<str>, start: i64, now: MonoMs, out: &mut Vec<Action>) {
        let Some(part) = self.parts.get_mut(tp) else { return };
        let from = part.state;
        if from == State::Draining {
            return;
        }
        out.push(Action::Expose { tp: tp.clone(), visible: false });
        if from == State::Lost {
            self.parts.remove(tp);
            out.push(Action::Changed { tp: tp.clone(), from, to: State::Gone });
            return;
        }
        part.remade(topic_id, start);
        out.push(Action::Changed { tp: tp.clone(), from, to: part.state });
        self.renew_at = now;
    }

    /// Moves every partition as far as time and answers allow.
    fn advance(&mut self, now: MonoMs, out: &mut Vec<Action>) {
        let lapsed = |p: &Part| p.state == State::Lost && (now >= p.lease_until && self.cfg.rules.lease);
        let over: Vec<Tp> = self.parts.iter().filter(|(_, p)| lapsed(p)).map(|(tp, _)| tp.clone()).collect();
        for tp in over {
            self.parts.remove(&tp);
            out.push(Action::Expose { tp: tp.clone(), visible: false });
            out.push(Action::Changed { tp, from: State::Lost, to: State::Gone });
        }
        for (tp, part) in &mut self.parts {
            if part.barrier == Barrier::Unasked && (now >= part.wait_until || !self.cfg.rules.barrier_after_wait) {
                part.barrier = Barrier::Asked;
            }
            if part.barrier == Barrier::Asked && part.is_owned() {
                out.push(Action::ReadEnd(tp.clone()));
            }
            let to = part.next_state(&self.cfg, now);
            if to == part.state {
                continue;
            }
            let from = std::mem::replace(&mut part.state, to);
            if to == State::Live {
                part.was_live = true;
                part.proof_above = None;
                part.shown = part.progress;
                out.push(Action::Expose { tp: tp.clone(), visible: true });
            }
            if from == State::Waiting {
                // It has only said `C` so far.
                self.renew_at = now;
            }
            if from == State::Live {
                part.proof_above = Some(self.seq);
                out.push(Action::Expose { tp: tp.clone(), visible: false });
            }
            out.push(Action::Changed { tp: tp.clone(), from, to });
        }
    }

    /// Never outside of a generation; with rule 5 never beside another commit, and never
    /// between a revoke and its end.
    fn may_renew(&self) -> bool {
        let draining = || self.parts.values().any(|p| p.state == State::Draining);
        self.generation >= 0 && !(self.cfg.rules.one_commit && (self.outstanding.is_some() || draining()))
    }

    /// Rules 1 and 2: claims and renewals, all partitions in one commit.
    fn renew(&mut self, now: MonoMs, out: &mut Vec<Action>) {
        if now < self.renew_at || !self.may_renew() {
            return;
        }
        let stamp = self.stamp(now);
        let owned = self.parts.iter().filter(|(_, p)| p.is_owned());
        let entries: Vec<_> = owned.map(|(tp, p)| p.held(&self.cfg, tp, stamp)).collect();
        if !entries.is_empty() {
            self.renew_at = now + self.cfg.renew;
        }
        self.send(entries, false, now, out);
    }

    /// For the next commit.
    fn stamp(&self, now: MonoMs) -> Stamp<'_> {
        Stamp { me: &self.me, seq: self.seq + 1, now, generation: self.generation }
    }

    fn send(&mut self, entries: Vec<super::CommitEntry>, release: bool, now: MonoMs, out: &mut Vec<Action>) {
        if entries.is_empty() {
            return;
        }
        self.seq += 1;
        let claims = entries.iter().filter(|_| !release);
        let tps = claims.map(|e| (e.tp.clone(), e.marker.kind == MarkerKind::Held)).collect();
        self.outstanding = Some(Outstanding { seq: self.seq, sent: now, generation: self.generation, tps });
        out.push(Action::Commit(Commit { seq: self.seq, release, entries }));
    }
}
