//! Origins whose dumps are refused again and again are not read any more, for a while
//! (design §1, G5): what one of them costs must not grow with what it sends.
//!
//! **The rule.** After [`REFUSED_IN_A_ROW`] complete dumps that were read and refused, the
//! origin's dumps are dropped unread for [`PERIOD`]; then one is tried. If that is refused,
//! too, the next period begins; the first good one ends it.
//!
//! **It holds only while the partition is live.** An owner that catches up reads everything:
//! what an earlier owner tried and showed, it must not pass over, and when those trials were
//! cannot be known to it. So a quarantine never makes anything older visible; it is forgotten
//! with its owner, whose successor begins to count anew.
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::model::MonoMs;

/// Dumps.
pub const REFUSED_IN_A_ROW: u32 = 8;
/// Milliseconds.
pub const PERIOD: i64 = 60_000;
/// Offenders whose last refusal is older are forgotten: the next one counts as the first.
const REMEMBERED: i64 = 10 * PERIOD;

#[derive(Debug)]
struct Offender {
    refused: u32,
    last: MonoMs,
}

/// The origins of one partition whose last dump was refused.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    offenders: HashMap<Arc<str>, Offender, RandomState>,
}

impl Quarantine {
    /// Whether the origin's dump is to be dropped unread.
    pub(super) fn holds(&self, key: &str, now: MonoMs) -> bool {
        let offender = self.offenders.get(key);
        offender.is_some_and(|o| o.refused >= REFUSED_IN_A_ROW && now.saturating_sub(o.last) < PERIOD)
    }

    /// A dump was read and refused. Above `most` offenders nobody new is remembered: origins
    /// that were never shown are as many as a producer likes. Says whether a quarantine begins.
    pub(super) fn refused(&mut self, key: &Arc<str>, now: MonoMs, most: usize) -> bool {
        if !self.offenders.contains_key(key) && self.offenders.len() >= most {
            return false;
        }
        let offender = self.offenders.entry(key.clone()).or_insert(Offender { refused: 0, last: now });
        offender.refused = offender.refused.saturating_add(1);
        offender.last = now;
        offender.refused == REFUSED_IN_A_ROW
    }

    /// A dump was taken.
    pub(super) fn accepted(&mut self, key: &str) {
        if !self.offenders.is_empty() {
            self.offenders.remove(key);
        }
    }

    /// Forgets who was not heard of for long.
    pub(super) fn expire(&mut self, now: MonoMs) {
        self.offenders.retain(|_, offender| now.saturating_sub(offender.last) <= REMEMBERED);
    }

    /// Origins whose dumps are not read, until they are tried again and taken.
    pub(super) fn len(&self) -> usize {
        self.offenders.values().filter(|o| o.refused >= REFUSED_IN_A_ROW).count()
    }
}
