//! A histogram's native form: exponential buckets, which only protobuf has.
//!
//! The model has no place of its own for it. It rides along where an exemplar would, on the
//! histogram's `_count` (where no format allows an exemplar), as [`Native::to_text`]: every
//! text format leaves it out, the protobuf exposition reads it back. Count and sum are those
//! of the classic samples. The fields are those of `io.prometheus.client.Histogram`.
use std::fmt::Write as _;

const NEGATIVE: &str = "a native histogram has a negative count";
const MIXED: &str = "a native histogram has counts of integers and of floats, or no count of its kind";

/// At the finest resolution all numbers are in buckets below 2^19.
const MAX_INDEX: i64 = 1 << 20;

/// What begins its text; no exemplar can begin so.
const BEGIN: &str = "{schema:";

/// Buckets in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Empty buckets since the last span (the first: the index of its first bucket).
    pub offset: i32,
    /// Buckets in it.
    pub length: u32,
}

/// Exponential buckets on one side of zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Where they are.
    pub spans: Vec<Span>,
    /// Of a histogram of integers: each bucket's count less the one before it.
    pub deltas: Vec<i64>,
    /// Of a histogram of floats: each bucket's count.
    pub counts: Vec<f64>,
}

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

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Native {
    /// The resolution: a bucket grows by 2^(2^-schema).
    pub schema: i32,
    /// Values up to this, on both sides, are in the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// The same, of a histogram of floats.
    pub zero_count_float: f64,
    /// Below zero.
    pub negative: Buckets,
    /// Above zero.
    pub positive: Buckets,
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

    /// As text, one line: `{schema:0,zero_threshold:1e-128,zero_count:2,positive_spans:[0:2],positive_deltas:[1,-1]}`;
    /// what is zero or empty is left out, except the schema.
    pub fn to_text(&self) -> String {
        let mut out = format!("{BEGIN}{}", self.schema);
        let mut number = |name: &str, text: String| {
            if text != "0" {
                // Writing to a String cannot fail.
                let _infallible = write!(out, ",{name}:{text}");
            }
        };
        number("zero_threshold", float(self.zero_threshold));
        number("zero_count", self.zero_count.to_string());
        number("zero_count_float", float(self.zero_count_float));
        for (side, buckets) in [("negative", &self.negative), ("positive", &self.positive)] {
            let spans = buckets.spans.iter().map(|s| format!("{}:{}", s.offset, s.length));
            list(&mut out, side, "spans", spans);
            list(&mut out, side, "deltas", buckets.deltas.iter().map(i64::to_string));
            list(&mut out, side, "counts", buckets.counts.iter().map(|c| float(*c)));
        }
        out.push('}');
        out
    }

    /// Reads [`Native::to_text`]; `None`: it is something else (an exemplar).
    pub fn parse(text: &str) -> Option<Native> {
        let rest = text.strip_prefix(BEGIN)?.strip_suffix('}')?;
        let (schema, mut rest) = rest.split_once(',').unwrap_or((rest, ""));
        let mut native = Native { schema: schema.parse().ok()?, ..Native::default() };
        while !rest.is_empty() {
            let (name, after) = rest.split_once(':')?;
            let (value, next) = match after.strip_prefix('[') {
                Some(list) => {
                    let (list, next) = list.split_once(']')?;
                    (list, next.strip_prefix(',').unwrap_or(next))
                }
                None => after.split_once(',').unwrap_or((after, "")),
            };
            native.set(name, value)?;
            rest = next;
        }
        Some(native)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "zero_threshold" => self.zero_threshold = value.parse().ok()?,
            "zero_count" => self.zero_count = value.parse().ok()?,
            "zero_count_float" => self.zero_count_float = value.parse().ok()?,
            _ => {
                let (side, what) = name.split_once('_')?;
                let buckets = match side {
                    "negative" => &mut self.negative,
                    "positive" => &mut self.positive,
                    _ => return None,
                };
                let values = value.split(',');
                match what {
                    "spans" => buckets.spans = values.map(span).collect::<Option<_>>()?,
                    "deltas" => buckets.deltas = values.map(|v| v.parse().ok()).collect::<Option<_>>()?,
                    "counts" => buckets.counts = values.map(|v| v.parse().ok()).collect::<Option<_>>()?,
                    _ => return None,
                }
            }
        }
        Some(())
    }
}

fn span(text: &str) -> Option<Span> {
    let (offset, length) = text.split_once(':')?;
    Some(Span { offset: offset.parse().ok()?, length: length.parse().ok()? })
}

/// The shortest text that is this number.
fn float(number: f64) -> String {
    match number == 0.0 {
        true => "0".to_owned(),
        false => format!("{number:e}"),
    }
}

fn list(out: &mut String, side: &str, what: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    if !items.is_empty() {
        let _infallible = write!(out, ",{side}_{what}:[{}]", items.join(","));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let span = |offset, length| Span { offset, length };
        let whole = Native {
            schema: -4,
            zero_threshold: 2.938735877055719e-39,
            zero_count: u64::MAX,
            negative: Buckets { spans: vec![span(-7, 1)], deltas: vec![i64::MIN], counts: vec![] },
            positive: Buckets { spans: vec![span(0, 2), span(3, 1)], deltas: vec![3, -2, 3], counts: vec![] },
            ..Native::default()
        };
        let floats = Native {
            schema: 8,
            zero_count_float: 0.1,
            positive: Buckets { spans: vec![span(i32::MAX, u32::MAX)], deltas: vec![], counts: vec![1e300, 0.25] },
            ..Native::default()
        };
        for (native, is_float, expected) in [
            (Native::default(), false, "{schema:0}"),
            (
                whole,
                false,
                "{schema:-4,zero_threshold:2.938735877055719e-39,zero_count:18446744073709551615,negative_spans:[-7:1],\
                 negative_deltas:[-9223372036854775808],positive_spans:[0:2,3:1],positive_deltas:[3,-2,3]}",
            ),
            (
                floats,
                true,
                "{schema:8,zero_count_float:1e-1,positive_spans:[2147483647:4294967295],positive_counts:[1e300,2.5e-1]}",
            ),
        ] {
            assert_eq!(native.to_text(), expected);
            assert_eq!(Native::parse(expected), Some(native.clone()), "{expected}");
            assert_eq!(native.is_float(), is_float);
        }
    }

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

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "{trace_id=\"x\"} 0.5",
            "{schema=\"x\"} 0.5",
            "{schema:}",
            "{schema:1",
            "{schema:1,x:2}",
            "{schema:1,positive_spans:[1]}",
            "{schema:1,positive_deltas:[a]}",
            "{schema:1,positive_deltas:[1}",
            "{schema:1,both_deltas:[1]}",
        ] {
            assert_eq!(Native::parse(text), None, "{text}");
        }
    }
}
