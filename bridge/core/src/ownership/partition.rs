//! One partition's way through the protocol.
use std::sync::Arc;

use super::{CommitEntry, Config, Found, Identity, Marker, MarkerKind, Progress, Tp};
use crate::model::MonoMs;

/// Where a partition is on its way (design §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Assigned; the claim is not acknowledged yet.
    Assigned,
    /// Claimed, and waiting for an earlier owner's lease to end.
    Waiting,
    /// Claimed and waited; the barrier is not reached yet.
    CatchingUp,
    /// Shown to scrapes.
    Live,
    /// It was live, and its lease lapsed: dark until a fresh proof.
    Fenced,
    /// Revoked: dark, its release is on the way.
    Draining,
    /// No longer this bridge's.
    Gone,
}

impl State {
    /// Every state, for metrics.
    pub const ALL: [State; 7] =
        [State::Assigned, State::Waiting, State::CatchingUp, State::Live, State::Fenced, State::Draining, State::Gone];

    /// The state as label value.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Assigned => "assigned",
            State::Waiting => "waiting",
            State::CatchingUp => "catching_up",
            State::Live => "live",
            State::Fenced => "fenced",
            State::Draining => "draining",
            State::Gone => "gone",
        }
    }
}

/// The barrier of rule 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Barrier {
    /// The end was not asked for yet: the wait runs.
    Unasked,
    /// The end has to be read.
    Asked,
    /// Live when the processed position is here.
    At(i64),
}

/// One owned partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub state: State,
    /// What was found at the assignment.
    pub found: Found,
    /// Claim number of this ownership.
    pub claim: u64,
    /// Dark before this moment (rule 3).
    pub wait_until: MonoMs,
    /// The newest sequence committed for it under this assignment that was
    /// acknowledged; `None`: not claimed.
    pub claimed: Option<u64>,
    /// Exposed before this moment only (rule 1).
    pub lease_until: MonoMs,
    pub barrier: Barrier,
    /// It has been live under this assignment: its position is a promise (rule 5).
    pub was_live: bool,
    /// Fenced: live again only with a claim newer than this, read back.
    pub proof_above: Option<u64>,
    /// The newest own sequence that was read back by the watcher.
    pub read_back: u64,
    pub progress: Progress,
    /// How far it was when it was last live; before that, what was found.
    pub shown: Progress,
    pub partitions: i32,
    pub topic_id: Arc<str>,
}

impl Part {
    /// Rules 2, 3 and 4 for a partition that is not fenced or draining.
    pub(super) fn next_state(&self, cfg: &Config, now: MonoMs) -> State {
        if matches!(self.state, State::Draining | State::Gone) {
            return self.state;
        }
        if cfg.rules.claim && self.claimed.is_none() {
            return State::Assigned;
        }
        if now < self.wait_until {
            return State::Waiting;
        }
        let reached = match self.barrier {
            // Once is enough: a log that is cut under a live owner does not unmake it.
            Barrier::At(barrier) => self.was_live || self.progress.position >= barrier,
            Barrier::Unasked | Barrier::Asked => false,
        };
        if !reached && cfg.rules.barrier {
            return State::CatchingUp;
        }
        if self.proven(cfg, now) {
            return State::Live;
        }
        // Never shown yet: an old claim whose lease has lapsed is only not renewed
        // yet. Shown before: that is what fencing means.
        if self.was_live { State::Fenced } else { State::CatchingUp }
    }

    /// Rule 1: the lease holds, and after a fence a fresh proof was read back.
    fn proven(&self, cfg: &Config, now: MonoMs) -> bool {
        if !cfg.rules.lease {
            return true;
        }
        if now >= self.lease_until {
            return false;
        }
        let Some(above) = self.proof_above.filter(|_| cfg.rules.fresh_proof) else { return true };
        self.claimed.is_some_and(|seq| seq > above) && self.read_back > above
    }

    /// The position at which the predecessor gave the partition up, if it was live then
    /// and its offsets still mean the same.
    pub(super) fn released_at(&self, cfg: &Config) -> Option<i64> {
        let Found::Marker { offset, marker } = &self.found else { return None };
        let usable = !cfg.rules.topic_id || !super::remade(&marker.topic_id, &self.topic_id);
        (marker.kind == MarkerKind::Released && usable).then_some(*offset)
    }

    /// The entry of a renewal: `H`.
    pub(super) fn held(&self, tp: &Tp, me: &Identity, seq: u64, now: MonoMs) -> CommitEntry {
        // G2: nothing above what a scrape could see. Before the partition is live, and
        // while it is fenced, the committed offset stays what it was.
        self.entry(tp, me, seq, now, MarkerKind::Held, self.shown)
    }

    /// See [`super::Machine::forget`].
    pub(super) fn forget(&mut self, release_due: bool) {
        if self.proof_above.is_none() {
            self.claimed = self.claimed.map(|_| 0);
            self.read_back = 0;
        }
        if self.was_live {
            self.barrier = Barrier::At(0);
        }
        // Of what was found only a released position is used again.
        if let Found::Marker { marker, .. } = &mut self.found {
            (marker.incarnation, marker.seq) = (0, 0);
        }
        if self.state == State::Draining && !release_due {
            (self.progress, self.shown) =
                (Progress { position: 0, low_water: 0 }, Progress { position: 0, low_water: 0 });
            (self.found, self.barrier) = (Found::Nothing, Barrier::At(0));
        }
    }

    /// The entry of a release (rule 5), or none: then the successor waits.
    pub(super) fn released(&self, cfg: &Config, tp: &Tp, me: &Identity, seq: u64, now: MonoMs) -> Option<CommitEntry> {
        if self.was_live || !cfg.rules.release_only_live {
            let at = if cfg.rules.release_processed { self.progress } else { self.shown };
            return Some(self.entry(tp, me, seq, now, MarkerKind::Released, at));
        }
        if self.released_at(cfg).is_some() {
            return Some(self.entry(tp, me, seq, now, MarkerKind::Released, self.shown));
        }
        if now < self.wait_until && cfg.rules.give_back_after_wait {
            return None;
        }
        Some(self.entry(tp, me, seq, now, MarkerKind::ReleasedNoPosition, self.shown))
    }

    fn entry(&self, tp: &Tp, me: &Identity, seq: u64, now: MonoMs, kind: MarkerKind, at: Progress) -> CommitEntry {
        let Progress { position: offset, low_water } = at;
        let marker = Marker {
            kind,
            claim: self.claim,
            incarnation: me.incarnation,
            seq,
            sent: now,
            low_water,
            partitions: self.partitions,
            topic_id: self.topic_id.clone(),
            snapshot: "".into(),
            peer: me.peer.clone(),
        };
        CommitEntry { tp: tp.clone(), offset, marker }
    }
}
