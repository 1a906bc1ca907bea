//! What a topic's configuration says about its caches.
use std::sync::Arc;

use super::memory::{TopicMemory, UNLIMITED};
use crate::codec::{Format, ParseOptions};
use crate::labels::Labels;
use crate::model::{MonoMs, UnixMs};
use crate::store::MAX_DUMP_BYTES;

/// The two clocks, read by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock.
    pub unix: UnixMs,
    /// Monotonic clock.
    pub mono: MonoMs,
}

/// When an origin that sends no dump any more is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// Three times its observed interval, at least 90 s.
    Auto,
    /// After so many milliseconds.
    After(i64),
}

impl std::fmt::Display for Staleness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Staleness::Auto => f.write_str("auto"),
            Staleness::After(ms) => write!(f, "{}s", ms / 1000),
        }
    }
}

/// What one origin, or one partition's share of the topic, may take. A dump that is
/// over a limit is refused whole; the last good one stays until it is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a decompressed dump, checked while decompressing; also what the parts
    /// of an unfinished one may take. At most [`MAX_DUMP_BYTES`].
    pub dump_bytes: usize,
    /// Series of one origin.
    pub series_per_origin: usize,
    /// Origins with a dump in this partition: the topic's limit, shared out by the
    /// caller. As many again may be known without one.
    pub origins: usize,
    /// Estimated bytes of memory of one origin, its share of a shape that others have too
    /// included; [`UNLIMITED`]: none.
    pub origin_bytes: usize,
    /// Estimated bytes of memory of the topic's caches on this bridge (the rule: module
    /// `memory`); [`UNLIMITED`]: none.
    pub cache_bytes: usize,
    /// Bytes of a label name.
    pub label_name_bytes: usize,
    /// Bytes of a label value.
    pub label_value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            dump_bytes: 64 << 20,
            series_per_origin: 200_000,
            origins: 20_000,
            origin_bytes: UNLIMITED,
            cache_bytes: UNLIMITED,
            label_name_bytes: 1024,
            label_value_bytes: 64 * 1024,
        }
    }
}

/// The part of a topic's configuration that its caches need.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// Labels that the topic fixes: they win over the key's and the body's.
    pub fixed: Labels,
    /// The format of a dump that neither says nor shows its own.
    pub format: Option<Format>,
    /// A body's label wins over the key's.
    pub honor_labels: bool,
    /// `timestamps: dump`: samples without a timestamp get the dump's time.
    pub stamp: bool,
    /// When a silent origin is removed.
    pub staleness: Staleness,
    /// How long an origin without a dump stays known, in ms.
    pub forget_after: i64,
    /// How far back a new owner reads at most, in ms.
    pub rewind: i64,
    /// The limits.
    pub limits: Limits,
    /// What the topic's partitions on this bridge share; a clone of the configuration is of
    /// the same topic.
    pub memory: Arc<TopicMemory>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig {
            fixed: Labels::default(),
            format: None,
            honor_labels: false,
            stamp: false,
            staleness: Staleness::Auto,
            forget_after: 24 * 3_600_000,
            rewind: 600_000,
            limits: Limits::default(),
            memory: Arc::default(),
        }
    }
}

impl CacheConfig {
    pub(super) fn parse_options(&self) -> ParseOptions {
        ParseOptions {
            max_label_name: self.limits.label_name_bytes,
            max_label_value: self.limits.label_value_bytes,
            max_series: self.limits.series_per_origin,
        }
    }

    pub(super) fn dump_bytes(&self) -> usize {
        self.limits.dump_bytes.min(MAX_DUMP_BYTES)
    }
}
