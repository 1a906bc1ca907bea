//! A histogram's native form: exponential buckets, which only protobuf has.
//!
//! The model has no place of its own for it. It rides along where an exemplar would, on the
//! histogram's `_count` (where no format allows an exemplar), as [`Native::to_text`]: every
//! text format leaves it out, the protobuf exposition reads it back. Count and sum are those
//! of the classic samples. The fields are those of `io.prometheus.client.Histogram`.
mod buckets;
mod check;

use std::fmt::Write as _;

pub use buckets::{Bucket, go};

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
