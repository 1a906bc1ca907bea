//! What a series could not hold.
use crate::template::Identifier;

/// Why a fact's value was merged, hidden or left out: a bounded label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// The subject has `max_series` of this metric: the fact counts under `other`.
    SeriesCap,
    /// The partition has its most subjects: the fact counts under `other/<partition>`.
    SubjectCap,
    /// A label's value held a UUID and is `other`.
    Uuid,
    /// A label's value held a long hexadecimal number and is `other`.
    Hex,
    /// A label's value held a long number and is `other`.
    Number,
    /// A label's value held an opaque token and is `other`.
    Token,
    /// A label's value was a path and is `other`.
    Path,
    /// A label's value was a partition's reference and is `other`.
    Partition,
    /// A label's value was too long and is `other`.
    Long,
    /// A value that is no number, not finite, or negative where nothing goes down: the
    /// metric did not change.
    Value,
}

impl Loss {
    /// Every reason, for metrics that must exist before the first loss.
    pub const ALL: [Loss; 10] = [
        Loss::SeriesCap,
        Loss::SubjectCap,
        Loss::Uuid,
        Loss::Hex,
        Loss::Number,
        Loss::Token,
        Loss::Path,
        Loss::Partition,
        Loss::Long,
        Loss::Value,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Loss::SeriesCap => "series_cap",
            Loss::SubjectCap => "subject_cap",
            Loss::Uuid => "identifier_uuid",
            Loss::Hex => "identifier_hex",
            Loss::Number => "identifier_number",
            Loss::Token => "identifier_token",
            Loss::Path => "identifier_path",
            Loss::Partition => "identifier_partition",
            Loss::Long => "identifier_long",
            Loss::Value => "value",
        }
    }

    pub(super) fn of(identifier: Identifier) -> Loss {
        match identifier {
            Identifier::Uuid => Loss::Uuid,
            Identifier::Hex => Loss::Hex,
            Identifier::Number => Loss::Number,
            Identifier::Token => Loss::Token,
            Identifier::Path => Loss::Path,
            Identifier::Partition => Loss::Partition,
            Identifier::Long => Loss::Long,
        }
    }
}

/// What a fact could not do as it was meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    losses: [u32; Loss::ALL.len()],
    /// Series that were dropped because the templates changed.
    pub dropped_series: u64,
}

impl Changes {
    pub(super) fn add(&mut self, loss: Loss) {
        self.losses[loss as usize] += 1;
    }

    /// Adds what another fact could not do.
    pub fn merge(&mut self, other: &Changes) {
        for (mine, others) in self.losses.iter_mut().zip(other.losses) {
            *mine = mine.saturating_add(others);
        }
        self.dropped_series += other.dropped_series;
    }

    /// How often it happened.
    pub fn count(&self, loss: Loss) -> u32 {
        self.losses[loss as usize]
    }

    /// The losses that happened, with their counts.
    pub fn losses(&self) -> impl Iterator<Item = (Loss, u32)> {
        Loss::ALL.into_iter().map(|loss| (loss, self.count(loss))).filter(|(_, count)| *count > 0)
    }
}
