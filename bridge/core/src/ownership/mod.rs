//! Who may show a partition, and since when: the ownership protocol (design §1).
//!
//! [`Machine`] is the whole protocol of one bridge as a pure state machine:
//! `(event, now) → actions`, plus [`Machine::may_expose`]. It does no I/O and reads
//! no clock, so the very same code runs in the bridge, in the model checker and in
//! the property tests.
//!
//! ```text
//! Assigned ─► Waiting ─► CatchingUp ─► Live ─► Draining ─► Gone
//!                                      │ │
//!                                      │ └─► Lost ──(its lease lapses)──► Gone
//!                                      └─► Fenced ──(fresh proof)──► Live
//! ```
//!
//! The rules keep their numbers from the design; [`Rules`] names each of them, so
//! that a test can take one away and see the promise break (`tests/ownership_model`).
//!
//! # What the caller must do
//!
//! The proof holds for a caller that keeps to these; those marked (m) break G1 in the
//! model when they are not kept.
//!
//! 1. A scrape shows a partition if the last [`Action::Expose`] said so *and* the time,
//!    read at the scrape, is before the last [`Action::Lease`] of this ownership. A new
//!    assignment starts dark and without a lease.
//! 2. `now` is never before the arrival of what an event tells, nor after the sending of
//!    a commit that comes out of it: read the clock after the answer, before `handle`.
//! 3. On a planned revoke, in this order: make the partitions dark; then sample their
//!    positions ([`Event::Progress`]) (m); then [`Event::Generation`], read anew (m);
//!    then [`Event::Revoked`]. `Progress` and `Generation` only take note, they never
//!    cause an action: what became dark stays dark. No tick in between: its renewal
//!    would have to be answered before the release.
//! 4. A position is sampled after it is published: everything below can be scraped from
//!    the view that a scrape takes.
//! 5. The positions of all partitions before each tick, and a tick whenever
//!    [`Machine::next_deadline`] has come; with the member's generation read then, before
//!    anything that comes out of the tick is sent. [`Event::Generation`] with the new one
//!    right before [`Event::Assigned`]: else the claim proves nothing. No tick from when the
//!    caller makes its own entry of the new assignment: a lease of the one before that lapses
//!    then would be told as the end of the new one.
//! 6. Every commit is answered exactly once, also one that could not be sent, and what
//!    was answered with an error is not applied afterwards (m). So `socket.timeout.ms` is
//!    not below `session.timeout.ms`: a request that timed out must be of a generation
//!    that is over.
//! 7. After an unassign no generation is entered while a commit is outstanding (m);
//!    librdkafka sees to it. A caller that is assigned anything with a commit still
//!    outstanding from before its last unassign ends the process: it must not just
//!    forget that it had been waiting. (A commit that is sent again outside of any
//!    generation, where an empty group takes it, does no harm: markers tell their
//!    generation, and a group that becomes empty begins a new one.)
//! 8. The marker in [`Assignment`] is read after the assignment, and so is the number of
//!    partitions. All markers of the topic are read and told ([`Event::Watched`]) before
//!    [`Event::Assigned`], at least once in the life of the process and best each time:
//!    rule 10 judges a partition without a marker by its neighbours.
//! 9. [`Event::EndRead`] answers a question that was asked under the present assignment
//!    and since the last [`Event::Remade`]: an answer to an older one is thrown away (m).
//! 10. [`Event::RevokeDone`] after the release was answered or 2 s have passed; a revoke
//!     whose assignment is lost needs none.
//! 11. An owner whose topic gained partitions drops the origins that moved away within
//!     L_wait of the first assignment of a new one, or is not scrapeable (rule 10). It shows
//!     none of them again, nor does a later owner: [`former_counts`] of all markers, passed
//!     on in [`Assignment`], tell it which those are.
//!     A topic that was made anew is told ([`Event::Remade`]) when its id is seen, of all
//!     partitions that are owned and of those that are lost and still shown.
//! 12. [`Event::Watched`] carries what was read; what could not be read is left out. Only
//!     an assignment needs [`Found::unreadable`].
mod machine;
mod marker;
mod partition;
mod watch;

use std::sync::Arc;

pub use machine::Machine;
pub use marker::{Found, Marker, MarkerKind, former_counts};
pub use partition::State;
pub use watch::Watch;

use crate::model::MonoMs;

/// A topic's partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tp {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl Tp {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Tp {
        Tp { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for Tp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The timers of the protocol. All in milliseconds of the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// L: an acknowledged commit proves ownership until its send time + `lease`.
    pub lease: MonoMs,
    /// L_wait: how long a partition stays dark after a marker that is not a release.
    /// Exceeds `lease` by the margin for clock-rate drift.
    pub wait: MonoMs,
    /// A commit of all owned partitions is sent this often (L/5).
    pub renew: MonoMs,
    /// After a commit that proved nothing, the next one is not sent sooner than this.
    pub retry: MonoMs,
    /// Which rules hold; all of them, except in tests.
    pub rules: Rules,
}

impl Config {
    /// Renewed every fifth of the lease (rule 1).
    pub fn new(lease: MonoMs, wait: MonoMs) -> Config {
        Config { lease, wait, renew: lease / 5, retry: (lease / 30).max(1), rules: Rules::ALL }
    }
}

/// The rules that can be taken away, to see that each is needed. A bridge runs with
/// [`Rules::ALL`]; nothing in the product can build another value, only tests do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Rule 1: exposure ends with the lease.
    pub lease: bool,
    /// Rule 1: the lease counts from the commit's send time, not from its answer.
    pub lease_from_send: bool,
    /// Rule 1: an answer counts only if the generation did not change meanwhile.
    pub same_generation: bool,
    /// Rule 2: nothing is exposed before a claim was acknowledged.
    pub claim: bool,
    /// Rule 3: an unreleased marker makes its successor wait.
    pub wait: bool,
    /// Rule 3: a changed marker restarts the count.
    pub watch_restarts: bool,
    /// Rule 4: nothing is exposed before the catch-up barrier is reached.
    pub barrier: bool,
    /// Rule 4: the barrier is read after the wait, not at assignment.
    pub barrier_after_wait: bool,
    /// Rule 5: evicted before released.
    pub evict_first: bool,
    /// Rule 5: only a bridge that was live releases with its position.
    pub release_only_live: bool,
    /// Rule 5: one commit at a time, and none outstanding when a partition is let go.
    pub one_commit: bool,
    /// Rule 5: a release carries the processed position, not the one last known exposed.
    pub release_processed: bool,
    /// Rule 5: `R` without position only after the own wait has ended.
    pub give_back_after_wait: bool,
    /// Rule 1: after a fence only a proof begun since counts, read back.
    pub fresh_proof: bool,
    /// G2: `H` carries what a scrape could see, not what was processed.
    pub held_shown: bool,
    /// Rule 5: what is left of a wait is passed on, not forgotten.
    pub claim_left: bool,
    /// Rule 2: `C` does not do for being shown, only `H`.
    pub claim_held: bool,
    /// Rule 5: a marker of long ago says no more than that somebody may hold it.
    pub old_is_stranger: bool,
    /// Rule 10: a partition that a topic gained waits.
    pub added_waits: bool,
    /// Rule 10: a marker passes on how many partitions the topic had.
    pub former_counts: bool,
    /// Rule 10: an offset of another topic of the same name is no barrier.
    pub topic_id: bool,
}

impl Rules {
    /// The protocol as it is.
    pub const ALL: Rules = Rules {
        lease: true,
        lease_from_send: true,
        same_generation: true,
        claim: true,
        wait: true,
        watch_restarts: true,
        barrier: true,
        barrier_after_wait: true,
        evict_first: true,
        release_only_live: true,
        one_commit: true,
        release_processed: true,
        give_back_after_wait: true,
        fresh_proof: true,
        held_shown: true,
        claim_left: true,
        claim_held: true,
        old_is_stranger: true,
        added_waits: true,
        former_counts: true,
        topic_id: true,
    };
}

/// Who this bridge is, as its markers say it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Chosen anew at each start of a bridge; tells its own markers from another's.
    pub incarnation: u64,
    /// `HOST:PORT` at which other bridges reach this one.
    pub peer: Arc<str>,
}

/// How far a partition's owner worker is. Sampled by the caller before each tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The next offset to process: everything below was published, refused,
    /// superseded or dropped (G2).
    pub position: i64,
    /// Where a successor has to begin so that its cache is whole (rule 7).
    pub low_water: i64,
}

/// A partition as the coordinator assigned it, with what was read about it then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Which one.
    pub tp: Tp,
    /// Its marker, read after the assignment.
    pub found: Found,
    /// The offset at which consumption starts.
    pub start: i64,
    /// How many partitions the topic has.
    pub partitions: i32,
    /// How many it had before ([`former_counts`] of all markers read).
    pub former: Arc<[i32]>,
    /// Identifies the topic over its deletion and re-creation; empty if unknown.
    pub topic_id: Arc<str>,
}

impl Assignment {
    /// True if the marker tells of another topic of the same name (rule 10).
    fn remade(&self) -> bool {
        self.found.marker().is_some_and(|m| remade(&m.topic_id, &self.topic_id))
    }
}

/// Two topic ids that are known and differ.
fn remade(then: &str, now: &str) -> bool {
    !then.is_empty() && !now.is_empty() && then != now
}

/// What happens to the machine. `now` comes beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Partitions were assigned. `now` is the arrival of the markers' answer, never
    /// the time of its request (rule 3).
    Assigned(Vec<Assignment>),
    /// Partitions are taken away; `lost` if they may belong to another already.
    Revoked {
        /// Which ones.
        partitions: Vec<Tp>,
        /// Nothing may be committed for them any more.
        lost: bool,
    },
    /// The caller stops waiting for the release (answered, or 2 s have passed) and
    /// unassigns: the draining partitions are gone.
    RevokeDone,
    /// The outstanding commit was answered.
    CommitAnswered {
        /// Its sequence.
        seq: u64,
        /// The member's generation now, after the answer; -1 if it is in none.
        generation: i32,
        /// The partitions whose offsets the coordinator accepted.
        accepted: Vec<Tp>,
    },
    /// All markers of the group as read by the watcher; `now` is the answer's arrival.
    Watched(Vec<(Tp, Found)>),
    /// The end of a partition, read from its leader after [`Action::ReadEnd`].
    EndRead {
        /// Which one.
        tp: Tp,
        /// Its end at the same isolation level.
        end: i64,
        /// The topic's id, read after the end; empty if unknown.
        topic_id: Arc<str>,
    },
    /// The topic of an owned partition is another one of the same name (rule 10). The
    /// caller has thrown its cache away and reads on from the beginning.
    Remade {
        /// Which one.
        tp: Tp,
        /// The id of the topic that is there now.
        topic_id: Arc<str>,
        /// The offset at which consumption starts again.
        start: i64,
    },
    /// How far the worker of a partition is.
    Progress(Tp, Progress),
    /// The member's generation as it is now; nothing else happens. To be told right
    /// before [`Event::Revoked`] (a tick there could send a renewal, and the release
    /// would have to wait for its answer) and right before [`Event::Assigned`].
    Generation(i32),
    /// Time passes. `generation` is the member's generation now.
    Tick {
        /// -1 if the member is in no generation: nothing is committed then.
        generation: i32,
    },
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make the partition visible or invisible, synchronously, before anything else.
    Expose {
        /// Which one.
        tp: Tp,
        /// Exposed until its lease ends, or not at all.
        visible: bool,
    },
    /// The lease of a partition now ends at `until`.
    Lease {
        /// Which one.
        tp: Tp,
        /// End of the lease.
        until: MonoMs,
    },
    /// Send one OffsetCommit, without waiting for it.
    Commit(Commit),
    /// Read the partition's end from its leader and answer with [`Event::EndRead`].
    /// Repeated until answered; the caller keeps at most one under way.
    ReadEnd(Tp),
    /// The partition went from one state to another (for metrics and logs).
    Changed {
        /// Which one.
        tp: Tp,
        /// Before.
        from: State,
        /// After.
        to: State,
    },
    /// The bridge's own partition carries another bridge's marker (rule 5: it commits
    /// again, and counts it).
    ForeignMarker(Tp),
}

/// One OffsetCommit: offsets with markers in their metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit {
    /// Its number; the answer names it.
    pub seq: u64,
    /// True if it releases (the caller waits for its answer before it unassigns).
    pub release: bool,
    /// What is committed.
    pub entries: Vec<CommitEntry>,
}

/// One partition of a [`Commit`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitEntry {
    /// Which one.
    pub tp: Tp,
    /// The offset: under `H` no promise to anybody, under `R` the successor's barrier.
    pub offset: i64,
    /// The metadata.
    pub marker: Marker,
}
