//! One partition's way through the protocol.
use std::sync::Arc;

use serde::Serialize;

use super::{CommitEntry, Config, Found, Identity, Marker, MarkerKind, Progress, Tp};
use crate::model::MonoMs;

/// Where a partition is on its way (design §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
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
    /// Taken away without a release, because the group may have given it to another
    /// already: shown until its lease lapses, as by an owner that does not know it yet.
    Lost,
    /// Revoked: dark, its release is on the way.
    Draining,
    /// No longer this bridge's.
    Gone,
}

impl State {
    /// Every state, for metrics.
    pub const ALL: [State; 8] = [
        State::Assigned,
        State::Waiting,
        State::CatchingUp,
        State::Live,
        State::Fenced,
        State::Lost,
        State::Draining,
        State::Gone,
    ];

    /// The state as label value.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Assigned => "assigned",
            State::Waiting => "waiting",
            State::CatchingUp => "catching_up",
            State::Live => "live",
            State::Fenced => "fenced",
            State::Lost => "lost",
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
    /// What was found may be of a time before others owned the partition: no more is
    /// known than that somebody may hold it.
    pub outdated: bool,
    /// Claim number of this ownership.
    pub claim: u64,
    /// Dark before this moment (rule 3).
    pub wait_until: MonoMs,
    /// The newest sequence committed for it under this assignment that was
    /// acknowledged; `None`: not claimed.
    pub claimed: Option<u64>,
    /// One of these was an `H`: whoever comes next knows that it may have been shown.
    pub held: bool,
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
    pub former: Arc<[i32]>,
    pub topic_id: Arc<str>,
}

impl Part {
    /// Rules 2, 3 and 4 for a partition that is not fenced or draining.
    pub(super) fn next_state(&self, cfg: &Config, now: MonoMs) -> State {
        if !self.is_owned() {
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
        if !self.held && cfg.rules.claim && cfg.rules.claim_held {
            return State::CatchingUp;
        }
        if self.proven(cfg, now) {
            return State::Live;
        }
        // Never shown yet: an old claim whose lease has lapsed is only not renewed
        // yet. Shown before: that is what fencing means.
        if self.was_live { State::Fenced } else { State::CatchingUp }
    }

    /// It is this bridge's, as far as it knows.
    pub(super) fn is_owned(&self) -> bool {
        !matches!(self.state, State::Lost | State::Draining | State::Gone)
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
        let remade = cfg.rules.topic_id && super::remade(&marker.topic_id, &self.topic_id);
        let usable = !remade && !self.outdated;
        (marker.kind == MarkerKind::Released && usable).then_some(*offset)
    }

    /// The entry of a claim or renewal: `H`, or `C` while nothing may be shown anyway.
    pub(super) fn held(&self, cfg: &Config, tp: &Tp, stamp: Stamp<'_>) -> CommitEntry {
        // G2: nothing above what a scrape could see. Before the partition is live, and
        // while it is fenced, the committed offset stays what it was.
        let waits = stamp.now < self.wait_until;
        self.entry(tp, stamp, if waits { self.waiting(cfg, stamp.now) } else { MarkerKind::Held }, self.shown)
    }

    /// What a bridge says that still waits.
    fn waiting(&self, cfg: &Config, now: MonoMs) -> MarkerKind {
        MarkerKind::Claimed { left: if cfg.rules.claim_left { self.wait_until - now } else { 0 } }
    }

    /// The topic was deleted and made again while this bridge owned it (rule 10): nothing
    /// of the old one counts, and nobody else has shown anything of the new one.
    pub(super) fn remade(&mut self, topic_id: Arc<str>, start: i64) {
        self.former = Arc::new([]);
        self.topic_id = topic_id;
        self.barrier = Barrier::Unasked;
        self.was_live = false;
        self.outdated = true;
        self.progress = Progress { position: start, low_water: start };
        self.shown = Progress { position: 0, low_water: -1 };
        if self.state != State::Fenced {
            self.state = State::Assigned;
        }
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
            (marker.incarnation, marker.seq, marker.generation) = (0, 0, 0);
        }
        if self.state == State::Lost {
            (self.claimed, self.proof_above) = (None, None);
            (self.progress, self.shown) =
                (Progress { position: 0, low_water: 0 }, Progress { position: 0, low_water: 0 });
            (self.found, self.barrier) = (Found::Nothing, Barrier::At(0));
        }
        if self.state == State::Draining && !release_due {
            (self.progress, self.shown) =
                (Progress { position: 0, low_water: 0 }, Progress { position: 0, low_water: 0 });
            (self.found, self.barrier) = (Found::Nothing, Barrier::At(0));
        }
    }

    /// The entry of a release (rule 5).
    pub(super) fn released(&self, cfg: &Config, tp: &Tp, stamp: Stamp<'_>) -> CommitEntry {
        if self.was_live || !cfg.rules.release_only_live {
            let at = if cfg.rules.release_processed { self.progress } else { self.shown };
            return self.entry(tp, stamp, MarkerKind::Released, at);
        }
        let kind = if self.released_at(cfg).is_some() {
            MarkerKind::Released
        } else if stamp.now < self.wait_until && cfg.rules.give_back_after_wait {
            self.waiting(cfg, stamp.now)
        } else {
            MarkerKind::ReleasedNoPosition
        };
        self.entry(tp, stamp, kind, self.shown)
    }

    fn entry(&self, tp: &Tp, stamp: Stamp<'_>, kind: MarkerKind, at: Progress) -> CommitEntry {
        let Progress { position: offset, low_water } = at;
        let marker = Marker {
            kind,
            claim: self.claim,
            incarnation: stamp.me.incarnation,
            seq: stamp.seq,
            sent: stamp.now,
            generation: stamp.generation,
            low_water,
            partitions: self.partitions,
            former: self.former.clone(),
            topic_id: self.topic_id.clone(),
            snapshot: "".into(),
            peer: stamp.me.peer.clone(),
        };
        CommitEntry { tp: tp.clone(), offset, marker }
    }
}

/// What all entries of one commit have in common.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub me: &'a Identity,
    pub seq: u64,
    pub now: MonoMs,
    pub generation: i32,
}
