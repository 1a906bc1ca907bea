//! What a run recorded. All times are microseconds of one monotonic clock.
use std::collections::BTreeSet;
use std::fmt;

/// Microseconds since the run began.
pub type Micros = u64;

/// A dump that a producer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Whose.
    pub origin: u32,
    /// Its value; an origin's values only grow.
    pub seq: u64,
    /// Before it was handed to the producer.
    pub begun: Micros,
    /// After its acknowledgement.
    pub acked: Micros,
    /// Where it lies.
    pub partition: i32,
    /// Where it lies.
    pub offset: i64,
    /// A committed offset above it says that it can be scraped. Not so if it may be
    /// refused, or if another log of the topic's name has such offsets too.
    pub promised: bool,
}

/// Which question a scrape asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/metrics`: what this bridge shows.
    Metrics,
    /// `/partitions/…`: any bridge answers, whoever shows it.
    Partition,
}

/// One origin in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Whose.
    pub origin: u32,
    /// Its value (the least, if there are several).
    pub seq: u64,
    /// All its series in this answer had this value, each once.
    pub whole: bool,
    /// How many series that were.
    pub samples: u32,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// The process that was asked; one that was started again is another.
    pub bridge: u32,
    /// What was asked.
    pub route: Route,
    /// Before the connection was made.
    pub start: Micros,
    /// When its first byte was there: what it shows was looked at before.
    pub head: Micros,
    /// What it showed.
    pub shown: Vec<Sighting>,
}

impl fmt::Display for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of bridge {} at {}–{} µs", self.route, self.bridge, self.start, self.head)
    }
}

/// A committed offset of the group, read from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRead {
    /// When its answer was there.
    pub read: Micros,
    /// Whose.
    pub partition: i32,
    /// The next offset to read: everything below was to be scrapable.
    pub offset: i64,
}

/// A bridge that was stopped and went on: it accepts as late as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// Which.
    pub bridge: u32,
    /// From just before the signal …
    pub from: Micros,
    /// … until after the one that ended it.
    pub to: Micros,
}

/// Everything that a run recorded.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What producers sent.
    pub sent: Vec<Sending>,
    /// Origins that stopped sending for good.
    pub silent: BTreeSet<u32>,
    /// What scrapes showed.
    pub scrapes: Vec<Scrape>,
    /// What was committed.
    pub commits: Vec<CommitRead>,
    /// Stopped processes.
    pub frozen: Vec<Frozen>,
    /// Faults, for people.
    pub faults: Vec<(Micros, String)>,
    /// From here on a partition is shown whole or not at all.
    pub whole_since: Option<Micros>,
    /// From here on nothing new was sent and no fault happened.
    pub settled: Option<Micros>,
}
