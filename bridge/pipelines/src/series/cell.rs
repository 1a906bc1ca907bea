//! The value of one label set.
use super::native::NativeHistogram;
use crate::template::MetricKind;

/// A value, by the metric's type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// Of a counter, a gauge, a last timestamp.
    Number(f64),
    Classic(Classic),
    Native(Box<(NativeHistogram, Classic)>),
}

/// Observations in classic buckets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Classic {
    /// Of each bucket alone; the last one is `+Inf`'s.
    pub(super) counts: Box<[u64]>,
    pub(super) sum: f64,
}

impl Classic {
    pub(super) fn new(bounds: &[f64]) -> Classic {
        Classic { counts: vec![0; bounds.len() + 1].into(), sum: 0.0 }
    }

    fn observe(&mut self, bounds: &[f64], value: f64) {
        self.counts[bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }
}

impl Cell {
    pub(super) fn new(kind: &MetricKind) -> Cell {
        match kind {
            MetricKind::Counter | MetricKind::Gauge | MetricKind::LastTimestamp => Cell::Number(0.0),
            MetricKind::Histogram(bounds) => Cell::Classic(Classic::new(bounds)),
            MetricKind::NativeHistogram { bounds, schema, .. } => {
                Cell::Native(Box::new((NativeHistogram::new(*schema), Classic::new(bounds))))
            }
        }
    }

    /// Lets a value have its effect; false if nothing changed.
    pub(super) fn update(&mut self, kind: &MetricKind, value: f64) -> bool {
        match (self, kind) {
            (Cell::Number(number), MetricKind::Counter) => {
                *number += value;
                value > 0.0
            }
            (Cell::Number(number), MetricKind::LastTimestamp) => {
                let before = std::mem::replace(number, number.max(value));
                before < value
            }
            (Cell::Number(number), _) => std::mem::replace(number, value) != value,
            (Cell::Classic(classic), MetricKind::Histogram(bounds)) => {
                classic.observe(bounds, value);
                true
            }
            (Cell::Native(both), MetricKind::NativeHistogram { bounds, max_buckets, .. }) => {
                both.0.observe(value, *max_buckets);
                both.1.observe(bounds, value);
                true
            }
            // A metric's cells are of its kind: made by `new`, checked by the snapshot's reader.
            _ => false,
        }
    }

    /// Whether it is what `new` makes for that kind.
    pub(super) fn is_of(&self, kind: &MetricKind) -> bool {
        match (self, kind) {
            (Cell::Number(_), MetricKind::Counter | MetricKind::Gauge | MetricKind::LastTimestamp) => true,
            (Cell::Classic(classic), MetricKind::Histogram(bounds)) => classic.counts.len() == bounds.len() + 1,
            (Cell::Native(both), MetricKind::NativeHistogram { bounds, .. }) => both.1.counts.len() == bounds.len() + 1,
            _ => false,
        }
    }
}
