//! What a fault run is made of.
use std::path::PathBuf;

/// The group's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Members set the session.
    Classic,
    /// KIP-848: the broker sets it ([`crate::support::kafka::Setup::new`]).
    Consumer,
}

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Of the topic, at the beginning.
    pub partitions: i32,
    /// Origins that send one growing value.
    pub origins: u32,
    /// Series of each, all of that value.
    pub series: u32,
    /// Of dumps that are there from the beginning, in each partition: answers are as large.
    pub pad_bytes: usize,
    /// `session.timeout.ms`; of a KIP-848 group the broker's, which is not set by a client.
    pub session_ms: u64,
    /// `group.protocol`.
    pub protocol: Protocol,
    /// L.
    pub lease_ms: u64,
    /// L_wait.
    pub wait_ms: u64,
    /// Of the topic; also how long a silent origin may stay.
    pub staleness_s: u64,
    /// `socket.timeout.ms`: how long a request whose answer was lost is waited for.
    pub socket_ms: u64,
    /// `fetch.message.max.bytes`.
    pub fetch_bytes: Option<u32>,
    /// `web.external_address`.
    pub external: Option<String>,
    /// Another binary.
    pub program: Option<PathBuf>,
    /// The rule that is switched off, of a binary that can.
    pub broken: Option<&'static str>,
}

impl Setup {
    /// Short timers: session 2 s, L = 4 s, L_wait = 5 s.
    pub fn short() -> Setup {
        Setup {
            partitions: 8,
            origins: 24,
            series: 2,
            pad_bytes: 0,
            session_ms: 2000,
            protocol: Protocol::Classic,
            lease_ms: 4000,
            wait_ms: 5000,
            staleness_s: 90,
            socket_ms: 60_000,
            fetch_bytes: None,
            external: None,
            program: None,
            broken: None,
        }
    }

    /// [`Setup::short`] of a KIP-848 group; its session is that of the shared broker.
    pub fn kip848() -> Setup {
        Setup { protocol: Protocol::Consumer, ..Setup::short() }
    }

    /// The defaults.
    pub fn default_timers() -> Setup {
        Setup { session_ms: 15_000, lease_ms: 20_000, wait_ms: 24_000, ..Setup::short() }
    }
}
