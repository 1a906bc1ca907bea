//! Why a record is refused or dropped: the bounded `reason` labels of
//! `kafka2prom_records_rejected_total` and `kafka2prom_records_dropped_total`.
use std::fmt;

use serde::Serialize;

/// Why a record was refused. A refused record changes nothing: the origin's last good
/// dump stays until it is stale, and the offset is committed past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordReason {
    /// A header of the record contract that does not follow it (`k2p-time`, `k2p-id`,
    /// `k2p-part`, a content type that is no text).
    BadHeader,
    /// A key that is too long, or whose labels cannot be an origin's.
    BadKey,
    /// A content-encoding that is unknown, or a body that does not follow it.
    BadEncoding,
    /// A body, compressed stream or OpenMetrics dump that ends too early.
    Truncated,
    /// More bytes, decompressed, than the topic's limit.
    TooLarge,
    /// No exposition at all: binary, or no line of it is one.
    NotADump,
    /// A content type that this bridge does not read, and no default.
    UnknownFormat,
    /// More series than the topic's limit for one origin.
    TooManySeries,
    /// A label name or value longer than the topic's limit.
    LabelTooLong,
    /// A new origin above the topic's limit of origins.
    TooManyOrigins,
    /// More memory than the topic allows an origin, or than its caches have left.
    MemoryLimit,
    /// Reading it made the program fail: a mistake of ours that must not cost more than
    /// this record.
    Internal,
}

impl RecordReason {
    /// Every reason, for metrics that must exist before the first refusal.
    pub const ALL: [RecordReason; 12] = [
        RecordReason::BadHeader,
        RecordReason::BadKey,
        RecordReason::BadEncoding,
        RecordReason::Truncated,
        RecordReason::TooLarge,
        RecordReason::NotADump,
        RecordReason::UnknownFormat,
        RecordReason::TooManySeries,
        RecordReason::LabelTooLong,
        RecordReason::TooManyOrigins,
        RecordReason::MemoryLimit,
        RecordReason::Internal,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordReason::BadHeader => "bad_header",
            RecordReason::BadKey => "bad_key",
            RecordReason::BadEncoding => "bad_encoding",
            RecordReason::Truncated => "truncated",
            RecordReason::TooLarge => "too_large",
            RecordReason::NotADump => "not_a_dump",
            RecordReason::UnknownFormat => "unknown_format",
            RecordReason::TooManySeries => "too_many_series",
            RecordReason::LabelTooLong => "label_too_long",
            RecordReason::TooManyOrigins => "too_many_origins",
            RecordReason::MemoryLimit => "memory_limit",
            RecordReason::Internal => "internal",
        }
    }
}

impl fmt::Display for RecordReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a record that could have been read was not shown: nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Its `k2p-time` lies before that of the cached dump (design §1 rule 8).
    Older,
    /// A newer dump of its origin was already at hand while the worker was behind
    /// (policy `conflate`).
    Conflated,
    /// The emergency valve: policy `drop_oldest`.
    DropOldest,
    /// Parts of a dump whose last part did not come before the next dump began, or
    /// that did not fit into the bound for unfinished dumps.
    IncompleteParts,
    /// While rewinding: a newer dump of its origin was accepted first (rule 7).
    Superseded,
    /// A producer's `k2p-id` that was applied already.
    Duplicate,
    /// Its partition went away before it was processed; the next owner reads it.
    Revoked,
    /// Its key belonged to this partition before the topic gained some, and belongs to
    /// another one now (rule 10): of a producer that has not heard of it, or read again.
    Repartitioned,
    /// Its origin is in quarantine: the dumps before it were refused one after another.
    Quarantined,
}

impl DropReason {
    /// Every reason, for metrics that must exist before the first drop.
    pub const ALL: [DropReason; 9] = [
        DropReason::Older,
        DropReason::Conflated,
        DropReason::DropOldest,
        DropReason::IncompleteParts,
        DropReason::Superseded,
        DropReason::Duplicate,
        DropReason::Revoked,
        DropReason::Repartitioned,
        DropReason::Quarantined,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Older => "older",
            DropReason::Conflated => "conflated",
            DropReason::DropOldest => "drop_oldest",
            DropReason::IncompleteParts => "incomplete_parts",
            DropReason::Superseded => "superseded",
            DropReason::Duplicate => "duplicate",
            DropReason::Revoked => "revoked",
            DropReason::Repartitioned => "repartitioned",
            DropReason::Quarantined => "quarantined",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that is refused whole: the bounded reason for the counter, and one
/// sentence (what, where, remedy) for the log, the status page and the dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// For the counter.
    pub reason: RecordReason,
    /// For a person.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: RecordReason, detail: impl Into<String>) -> Refusal {
        Refusal { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn label_values_are_distinct() {
        let record: BTreeSet<_> = RecordReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(record.len(), RecordReason::ALL.len());
        let drop: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(drop.len(), DropReason::ALL.len());
    }
}
