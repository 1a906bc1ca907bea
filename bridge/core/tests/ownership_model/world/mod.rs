//! The world around the machines: a coordinator, one partition's log, the clients.
mod look;
mod play;
mod settle;
mod steps;

use std::sync::{Arc, LazyLock};

use k2p_core::ownership::{Commit, Config, Found, Identity, Machine, State, Tp};

/// The one partition.
pub(crate) static TP: LazyLock<Tp> = LazyLock::new(|| Tp::new("t", 0));
static PEER: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
/// The ids of the topic, one for each time that it was made.
static IDS: LazyLock<[Arc<str>; 3]> = LazyLock::new(|| ["0", "1", "2"].map(Arc::from));

fn id(made: u8) -> Arc<str> {
    IDS[usize::from(made)].clone()
}

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
    /// L and L_wait, in moments.
    pub(crate) lease: i64,
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
    /// How often the topic may be deleted and made again.
    pub(crate) remakes: u8,
    /// The group may be empty for a while. Then what a client has in hands may be taken
    /// outside of any generation, also what was taken before.
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
    /// The topic that it takes it for.
    pub(crate) known: u8,
    /// The worker's position: everything below is published; and the topic whose log it
    /// read last.
    pub(crate) position: i64,
    pub(crate) content: u8,
    /// The committed offset that was found at the assignment.
    pub(crate) inherited: i64,
    /// The table that a scrape consults, as the actions said.
    pub(crate) visible: bool,
    pub(crate) lease: i64,
    pub(crate) flying: Vec<Flying>,
    /// The answer to [`Action::ReadEnd`] on its way. The value is taken at the request:
    /// the log only grows, so a later reading is only safer.
    pub(crate) end_read: Option<(i64, u8)>,
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
    /// Which topic of the name it is, and its log's end.
    pub(crate) made: u8,
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
    /// The newest topic and its highest position that a scrape could be shown so far. Scrapes change nothing
    /// else, so the worst case is that every bridge is scraped after every step.
    pub(crate) shown: (u8, i64),
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
    /// The topic is deleted and made again, empty; its commits stay (the worst case).
    Remake,
    /// The bridge notices it.
    Learn(usize),
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
            made: 0,
            end: 0,
            generation: 1,
            members: vec![true; bridges],
            owner: Some(0),
            found: Found::Nothing,
            bridges: (0..bridges).map(|b| Arc::new(Bridge::new(cfg, b as u64 + 1, 1))).collect(),
            orphans: Vec::new(),
            restarts: 0,
            shown: (0, 0),
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
            known: 0,
            position: 0,
            content: 0,
            inherited: 0,
            visible: false,
            lease: i64::MIN,
            flying: Vec::new(),
            end_read: None,
            watch: None,
        }
    }

    pub(crate) fn owns(&self) -> bool {
        !matches!(self.machine.state(&TP), State::Lost | State::Gone)
    }

    pub(crate) fn scrapeable(&self, now: i64) -> bool {
        self.visible && now < self.lease
    }
}
