//! Whether Prometheus would take a native histogram.
use super::{Buckets, Native};

const NEGATIVE: &str = "a native histogram has a negative count";
const MIXED: &str = "a native histogram has counts of integers and of floats, or no count of its kind";

/// At the finest resolution all numbers are in buckets below 2^19.
const MAX_INDEX: i64 = 1 << 20;

impl Buckets {
    /// How many are in them; of floats 0.
    fn check(&self, is_float: bool) -> Result<u64, &'static str> {
        let mut index = 0;
        for (at, span) in self.spans.iter().enumerate() {
            if at > 0 && span.offset < 0 {
                return Err("a native histogram's spans overlap");
            }
            index += i64::from(span.offset) + i64::from(span.length);
            // Whoever compacts empty spans adds up offsets in 32 bits.
            if index.abs() > MAX_INDEX {
                return Err("a native histogram has a bucket beyond all numbers");
            }
        }
        let spanned: u64 = self.spans.iter().map(|span| u64::from(span.length)).sum();
        let (used, other) = match is_float {
            true => (self.counts.len(), self.deltas.len()),
            false => (self.deltas.len(), self.counts.len()),
        };
        if other > 0 {
            return Err(MIXED);
        }
        if spanned != used as u64 {
            return Err("a native histogram's spans have not as many buckets as are counted");
        }
        if !self.counts.iter().all(|count| *count >= 0.0) {
            return Err(NEGATIVE);
        }
        let (mut count, mut total) = (0i64, 0u64);
        for delta in &self.deltas {
            count = count.checked_add(*delta).filter(|count| *count >= 0).ok_or(NEGATIVE)?;
            total = total.checked_add(count.cast_unsigned()).ok_or("a native histogram counts beyond 64 bits")?;
        }
        Ok(total)
    }
}

impl Native {
    /// Whether it is one: a histogram without buckets has a zero bucket's width at least (as
    /// Prometheus tells native histograms from classic ones).
    pub fn is_there(&self) -> bool {
        self.has_spans() || self.zero_threshold > 0.0 || self.zero_count > 0 || self.zero_count_float > 0.0
    }

    /// Whether it names buckets beside the one at zero.
    pub fn has_spans(&self) -> bool {
        !(self.negative.spans.is_empty() && self.positive.spans.is_empty())
    }

    /// What Prometheus checks when it scrapes one (`histogram.Validate`), of a histogram with
    /// this sum and these counts of integers and of floats, of which one is 0.
    ///
    /// # Errors
    /// What is wrong with it: a scrape that has it in it would fail as a whole.
    pub fn check(&self, count: u64, float_count: f64, sum: f64) -> Result<(), &'static str> {
        if !(-4..=8).contains(&self.schema) {
            return Err("a native histogram's schema is not between -4 and 8");
        }
        if !(self.zero_threshold >= 0.0 && self.zero_count_float >= 0.0) {
            return Err("a native histogram's zero bucket has a negative width or count");
        }
        // Prometheus tells by the counts, whoever reads the buckets by those.
        let is_float = float_count > 0.0 || self.zero_count_float > 0.0;
        if is_float != self.is_float() || (is_float && count > 0) {
            return Err(MIXED);
        }
        let mut total = Some(self.zero_count);
        for side in [&self.negative, &self.positive] {
            let in_buckets = side.check(is_float)?;
            total = total.and_then(|total| total.checked_add(in_buckets));
        }
        // Observations that are NaN are in no bucket.
        let agrees = total.is_some_and(|total| total == count || (sum.is_nan() && total < count));
        if is_float || agrees { Ok(()) } else { Err("a native histogram's count is not that of its buckets") }
    }

    /// Whether its counts are floats.
    pub fn is_float(&self) -> bool {
        self.zero_count_float != 0.0 || !self.negative.counts.is_empty() || !self.positive.counts.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_would_not_take_is_told() {
        let of = |text: &str, count, sum| {
            let native = Native::parse(text).unwrap();
            // A count of integers, or the same of floats.
            let (whole, float) = if native.is_float() { (0, count as f64) } else { (count, 0.0) };
            native.check(whole, float, sum).err().unwrap_or_default()
        };
        for (text, count, sum, expected) in [
            ("{schema:0,zero_threshold:1e-128}", 0, 0.0, ""),
            ("{schema:8,zero_count:2,positive_spans:[0:2,3:1],positive_deltas:[1,1,-2]}", 5, 1.0, ""),
            (
                "{schema:8,negative_spans:[-9:1],negative_deltas:[7],positive_spans:[0:1],positive_deltas:[1]}",
                8,
                1.0,
                "",
            ),
            ("{schema:-4,positive_spans:[0:1],positive_deltas:[2]}", 3, f64::NAN, ""),
            ("{schema:-4,positive_spans:[0:1],positive_deltas:[2]}", 1, f64::NAN, "count"),
            ("{schema:-4,positive_spans:[0:1],positive_deltas:[2]}", 3, 1.0, "count"),
            ("{schema:-4,positive_spans:[0:1],positive_deltas:[2]}", 1, 1.0, "count"),
            ("{schema:1,positive_spans:[0:2],positive_counts:[0.5,0]}", 99, 1.0, ""),
            ("{schema:1,positive_spans:[0:1],positive_counts:[-0.5]}", 1, 1.0, "negative count"),
            ("{schema:1,positive_spans:[0:1],positive_counts:[NaN]}", 1, 1.0, "negative count"),
            (
                "{schema:1,positive_spans:[0:1],positive_counts:[1],negative_spans:[0:1],negative_deltas:[1]}",
                2,
                1.0,
                "integers and",
            ),
            ("{schema:-5,zero_count:1}", 1, 1.0, "schema"),
            ("{schema:9,zero_count:1}", 1, 1.0, "schema"),
            ("{schema:0,zero_threshold:-1,zero_count:1}", 1, 1.0, "zero bucket"),
            ("{schema:0,zero_threshold:NaN,zero_count:1}", 1, 1.0, "zero bucket"),
            ("{schema:0,zero_count_float:-1}", 1, 1.0, "zero bucket"),
            ("{schema:0,positive_spans:[0:1,-1:1],positive_deltas:[1,0]}", 2, 1.0, "overlap"),
            ("{schema:0,positive_spans:[0:2],positive_deltas:[1]}", 1, 1.0, "as many buckets"),
            ("{schema:0,positive_spans:[0:4294967295],positive_deltas:[1]}", 1, 1.0, "beyond all numbers"),
            ("{schema:0,positive_deltas:[1]}", 1, 1.0, "as many buckets"),
            ("{schema:0,positive_spans:[0:1,2147483647:0,1:1],positive_deltas:[1,0]}", 2, 1.0, "beyond all numbers"),
            ("{schema:0,negative_spans:[-2147483648:1],negative_deltas:[1]}", 1, 1.0, "beyond all numbers"),
            ("{schema:8,negative_spans:[-274944:1],negative_deltas:[1]}", 1, 1.0, ""),
            ("{schema:0,positive_spans:[0:2],positive_deltas:[1,-2]}", 0, 1.0, "negative count"),
            ("{schema:0,positive_spans:[0:2],positive_deltas:[9223372036854775807,1]}", 0, 1.0, "negative count"),
            ("{schema:0,positive_spans:[0:3],positive_deltas:[9223372036854775807,0,0]}", 0, 1.0, "beyond 64 bits"),
        ] {
            let said = of(text, count, sum);
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{text}: {said:?}");
        }
        // A float histogram is told by its counts: one without them is read as another thing.
        let buckets = Native::parse("{schema:1,positive_spans:[0:1],positive_counts:[1]}").unwrap();
        assert_eq!(buckets.check(0, 1.0, 1.0), Ok(()));
        assert!(buckets.check(0, 0.0, 1.0).is_err() && buckets.check(1, 1.0, 1.0).is_err());
        let empty = Native::parse("{schema:1,zero_threshold:1}").unwrap();
        assert_eq!(empty.check(0, 0.0, 0.0), Ok(()));
        assert!(empty.check(0, 7.0, 1.0).is_err());
        let there = |text: &str| Native::parse(text).unwrap().is_there();
        assert!(!there("{schema:3}"));
        for text in
            ["zero_threshold:1", "zero_count:1", "zero_count_float:1", "positive_spans:[0:0]", "negative_spans:[0:0]"]
        {
            assert!(there(&format!("{{schema:3,{text}}}")), "{text}");
        }
    }
}
