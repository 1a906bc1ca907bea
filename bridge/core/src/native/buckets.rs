//! The buckets of a native histogram one by one, as Prometheus' API tells them.
use super::{Buckets, Native};

/// One bucket of [`Native::buckets`].
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Which bounds belong to it: 0 the upper, 1 the lower, 3 both.
    pub boundaries: u8,
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
    /// How many are in it, as text.
    pub count: String,
}

/// A number as Go prints it (`%v`).
pub fn go(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if number.is_nan() || number == 0.0 || (1e-4..1e21).contains(&number.abs()) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// The upper bound of a bucket above zero: 2^(index · 2^-schema).
fn bound(schema: i32, index: i64) -> f64 {
    (index as f64 * f64::from(-schema).exp2()).exp2()
}

impl Buckets {
    /// Index and count of each bucket that is not empty.
    fn counted(&self) -> Vec<(i64, String)> {
        let (mut index, mut at, mut whole) = (0i64, 0, 0i64);
        let mut out = Vec::new();
        for span in &self.spans {
            index += i64::from(span.offset);
            for _ in 0..span.length {
                let text = match (self.deltas.get(at), self.counts.get(at)) {
                    (Some(delta), _) => {
                        whole = whole.saturating_add(*delta);
                        (whole != 0).then(|| whole.to_string())
                    }
                    (None, Some(count)) => (*count != 0.0).then(|| go(*count)),
                    (None, None) => return out,
                };
                out.extend(text.map(|text| (index, text)));
                (index, at) = (index + 1, at + 1);
            }
        }
        out
    }
}

impl Native {
    /// The buckets that hold something, from the lowest up, as Prometheus' API has them. Of one
    /// that [`Native::check`] passed.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut all: Vec<Bucket> = Vec::new();
        for (index, count) in self.negative.counted() {
            let (lower, upper) = (-bound(self.schema, index), -bound(self.schema, index - 1));
            all.push(Bucket { boundaries: 1, lower, upper, count });
        }
        all.reverse();
        let zero = match self.is_float() {
            true => Some(self.zero_count_float).filter(|count| *count > 0.0).map(go),
            false => Some(self.zero_count).filter(|count| *count > 0).map(|count| count.to_string()),
        };
        let (lower, upper) = (-self.zero_threshold, self.zero_threshold);
        all.extend(zero.map(|count| Bucket { boundaries: 3, lower, upper, count }));
        for (index, count) in self.positive.counted() {
            let (lower, upper) = (bound(self.schema, index - 1), bound(self.schema, index));
            all.push(Bucket { boundaries: 0, lower, upper, count });
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_prometheus() {
        let of = |text: &str| {
            let all = Native::parse(text).unwrap().buckets();
            let all: Vec<_> =
                all.iter().map(|b| format!("{} {} {} {}", b.boundaries, b.lower, b.upper, b.count)).collect();
            all.join(", ")
        };
        for (text, expected) in [
            // api_test.go of the Pushgateway.
            (
                "{schema:1,negative_spans:[0:2],negative_deltas:[1,1],positive_spans:[0:2],positive_deltas:[1,1]}",
                "1 -1.4142135623730951 -1 2, 1 -1 -0.7071067811865476 1, 0 0.7071067811865476 1 1, 0 1 1.4142135623730951 2",
            ),
            (
                "{schema:0,zero_threshold:0.5,zero_count:3,positive_spans:[1:2,1:1],positive_deltas:[4,-4,2]}",
                "3 -0.5 0.5 3, 0 1 2 4, 0 8 16 2",
            ),
            (
                "{schema:-2,zero_count_float:0.5,positive_spans:[-1:2],positive_counts:[0,2.5]}",
                "3 -0 0 0.5, 0 0.0625 1 2.5",
            ),
            ("{schema:0,positive_spans:[0:0]}", ""),
            ("{schema:0,positive_spans:[0:9],positive_deltas:[1]}", "0 0.5 1 1"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_printed_as_go_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-1.5, "-1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e300, "-2.5e+300"),
            (0.0001, "0.0001"),
            (3.0517578125e-5, "3.0517578125e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(go(number), expected);
        }
    }
}
