//! How often an origin dumps, observed from its dumps' own times.
use crate::model::UnixMs;

/// How far back a time may go before it means that the clock was set (design §1.8), ms.
pub(crate) const CLOCK_SET_BACK: i64 = 600_000;
/// Staleness is never shorter, in ms.
const LEAST_STALENESS: i64 = 90_000;
const KEPT: usize = 5;

/// The last five gaps between dumps. Their median is the interval: one outage or one
/// extra dump does not move it. All complete dumps count, refused ones too: an origin
/// that sends rubbish in time is not silent, and a conflator need not read it to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    last: Option<UnixMs>,
    gaps: Vec<i64>,
}

impl Interval {
    /// What an earlier owner knew.
    pub(crate) fn known(last: UnixMs, interval: Option<i64>) -> Interval {
        Interval { last: Some(last), gaps: interval.into_iter().collect() }
    }

    pub(crate) fn observe(&mut self, time: UnixMs) {
        let Some(last) = self.last else {
            self.last = Some(time);
            return;
        };
        let gap = time.saturating_sub(last);
        if gap > 0 {
            if self.gaps.len() == KEPT {
                self.gaps.remove(0);
            }
            self.gaps.push(gap);
            self.last = Some(time);
        } else if gap < -CLOCK_SET_BACK {
            self.last = Some(time);
        }
    }

    /// The median gap in ms (of an even number the longer of the middle two).
    pub(crate) fn get(&self) -> Option<i64> {
        let mut sorted = self.gaps.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// Three intervals, at least 90 s.
    pub(crate) fn staleness(&self) -> i64 {
        let three = self.get().unwrap_or(0).saturating_mul(3);
        three.max(LEAST_STALENESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (times, interval, staleness) in [
            (vec![], None, 90_000),
            (vec![5], None, 90_000),
            (vec![0, 30_000], Some(30_000), 90_000),
            (vec![0, 60_000, 120_000], Some(60_000), 180_000),
            // One outage of an hour does not count.
            (vec![0, 60_000, 3_660_000, 3_720_000], Some(60_000), 180_000),
            // A repeat and a late dump do not count.
            (vec![0, 60_000, 60_000, 50_000, 120_000], Some(60_000), 180_000),
            // The clock was set back by an hour.
            (vec![3_600_000, 0, 60_000], Some(60_000), 180_000),
            // A new pace is taken over.
            (vec![0, 1000, 2000, 3000, 63_000, 123_000, 183_000], Some(60_000), 180_000),
        ] {
            let mut observed = Interval::default();
            times.iter().for_each(|t| observed.observe(*t));
            assert_eq!(observed.get(), interval, "{times:?}");
            assert_eq!(observed.staleness(), staleness, "{times:?}");
        }
    }
}
