//! Native (exponential) histograms, as Prometheus has them.
//!
//! Bucket `i` of schema `s` holds the values in `(2^((i-1)·2^-s), 2^(i·2^-s)]`. Values up
//! to [`ZERO_THRESHOLD`] are in the zero bucket. What is observed is never negative.
//!
//! Only roots and products are used to find a bucket (IEEE 754 gives both exactly), never
//! a logarithm of the system's library: two bridges must come to the same buckets.
use std::collections::BTreeMap;

use k2p_core::native::{Buckets, Native, Span};

/// Values up to this are in the zero bucket: client_golang's default.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// The coarsest resolution.
const LOWEST_SCHEMA: i8 = -4;

/// Observations in exponential buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeHistogram {
    /// The resolution: a bucket grows by 2^(2^-schema).
    pub schema: i8,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// Observations by bucket.
    pub buckets: BTreeMap<i32, u64>,
    /// All observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl NativeHistogram {
    /// No observation yet.
    pub fn new(schema: i8) -> NativeHistogram {
        NativeHistogram { schema, zero_count: 0, buckets: BTreeMap::new(), count: 0, sum: 0.0 }
    }

    /// Adds an observation, finite and at least 0; halves the resolution while there are
    /// more than `max_buckets`.
    pub fn observe(&mut self, value: f64, max_buckets: u16) {
        self.count += 1;
        self.sum += value;
        if value <= ZERO_THRESHOLD {
            self.zero_count += 1;
            return;
        }
        *self.buckets.entry(index(value, self.schema)).or_default() += 1;
        while self.buckets.len() > usize::from(max_buckets) && self.schema > LOWEST_SCHEMA {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.schema -= 1;
        for (at, count) in std::mem::take(&mut self.buckets) {
            *self.buckets.entry(at.div_euclid(2) + at.rem_euclid(2)).or_default() += count;
        }
    }

    /// What an exposition adds to the classic samples.
    pub fn form(&self) -> Native {
        let (spans, deltas) = self.spans();
        Native {
            schema: self.schema.into(),
            zero_threshold: ZERO_THRESHOLD,
            zero_count: self.zero_count,
            positive: Buckets { spans, deltas, counts: Vec::new() },
            ..Native::default()
        }
    }

    /// The buckets as spans and deltas, as the protobuf exposition has them.
    pub fn spans(&self) -> (Vec<Span>, Vec<i64>) {
        let (mut spans, mut deltas): (Vec<Span>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut next = 0;
        let mut before = 0;
        for (at, count) in &self.buckets {
            match spans.last_mut() {
                Some(span) if *at == next => span.length += 1,
                _ => spans.push(Span { offset: at - next, length: 1 }),
            }
            next = at + 1;
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            deltas.push(count - before);
            before = count;
        }
        (spans, deltas)
    }
}

/// The bucket of a value above 0.
fn index(value: f64, schema: i8) -> i32 {
    let (fraction, exponent) = split(value);
    if schema > 0 {
        let steps = 1 << schema;
        let mut at = 0;
        // The least step whose bound holds the fraction, bit by bit.
        for bit in (0..schema).rev() {
            let higher = at | (1 << bit);
            if bound(higher - 1, schema) < fraction {
                at = higher;
            }
        }
        if bound(at, schema) < fraction {
            at += 1;
        }
        return at + (exponent - 1) * steps;
    }
    let at = if fraction == 0.5 { exponent - 1 } else { exponent };
    let below = -i32::from(schema);
    (at + (1 << below) - 1) >> below
}

/// 2^(step / 2^schema) / 2.
fn bound(step: i32, schema: i8) -> f64 {
    let mut bound = 0.5;
    let mut root = 2.0f64;
    for bit in (0..schema).rev() {
        root = root.sqrt();
        if step & (1 << bit) != 0 {
            bound *= root;
        }
    }
    bound
}

/// C's `frexp`: a fraction in [0.5, 1) and the power of two. `value` is finite and above 0.
fn split(value: f64) -> (f64, i32) {
    const SUBNORMAL: f64 = 18_014_398_509_481_984.0; // 2^54
    if value < f64::MIN_POSITIVE {
        let (fraction, exponent) = split(value * SUBNORMAL);
        return (fraction, exponent - 54);
    }
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1022;
    (f64::from_bits(bits & !(0x7ff << 52) | (1022 << 52)), exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_prometheus_buckets() {
        let case =
            |value: f64, schema: i8, expected: i32| assert_eq!(index(value, schema), expected, "{value} at {schema}");
        // Bounds belong to the bucket that they close.
        for schema in -4..=8 {
            case(1.0, schema, 0);
        }
        case(2.0, 0, 1);
        case(2.0, 1, 2);
        case(2.0, 3, 8);
        case(2.0, 8, 256);
        case(1.5, 0, 1);
        case(1.4, 1, 1);
        case(1.5, 1, 2);
        case(0.5, 0, -1);
        case(0.75, 0, 0);
        case(4.0, -1, 1);
        case(4.1, -1, 2);
        case(16.0, -2, 1);
        case(17.0, -2, 2);
        case(1.0 + f64::EPSILON, 8, 1);
        case(3.0, 2, 7);
        case(f64::MIN_POSITIVE / 2.0, 0, -1023);
        case(f64::MAX, 0, 1024);
    }

    #[test]
    fn every_value_is_within_its_bucket() {
        let mut value = 1e-30;
        while value < 1e30 {
            for schema in -4i8..=8 {
                let at = f64::from(index(value, schema));
                let width = (-f64::from(schema)).exp2();
                let (low, high) = (((at - 1.0) * width).exp2(), (at * width).exp2());
                assert!(
                    low * (1.0 - 1e-12) < value && value <= high * (1.0 + 1e-12),
                    "{value} at {schema}: {low} {high}"
                );
            }
            value *= 1.37;
        }
    }

    #[test]
    fn too_many_buckets_halve_the_resolution() {
        let mut histogram = NativeHistogram::new(8);
        for n in 1..=10_000u32 {
            histogram.observe(f64::from(n), 40);
        }
        assert!(histogram.buckets.len() <= 40, "{}", histogram.buckets.len());
        let mut coarse = NativeHistogram::new(histogram.schema);
        for n in 1..=10_000u32 {
            coarse.observe(f64::from(n), u16::MAX);
        }
        assert_eq!(histogram, coarse);
        histogram.observe(0.0, 40);
        assert_eq!((histogram.zero_count, histogram.count), (1, 10_001));
    }

    #[test]
    fn spans_skip_empty_buckets() {
        let mut histogram = NativeHistogram::new(0);
        for (value, times) in [(1.0, 3), (2.0, 1), (32.0, 4)] {
            for _ in 0..times {
                histogram.observe(value, 100);
            }
        }
        let spans = vec![Span { offset: 0, length: 2 }, Span { offset: 3, length: 1 }];
        assert_eq!(histogram.spans(), (spans, vec![3, -2, 3]));
        assert_eq!(NativeHistogram::new(0).spans(), (vec![], vec![]));
    }
}
