//! Whether a family that was read from any format may be written with its type in
//! OpenMetrics, whose rules are narrower than the text format's: a text counter may
//! be NaN, a text histogram may lack `+Inf` or mix the lines of two label sets.
//!
//! A family that does not fit is written as `unknown` there: same samples, no type
//! (OpenMetrics 1.0.0, "Overall Structure" and "Metric types").
use std::borrow::Cow;
use std::collections::HashSet;

use super::StoredSample;
use super::pairs::{identity, pairs, spelled};
use crate::model::{MetricType, UnixMs};

/// What the rules look at.
pub(super) struct Line<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: &'a str,
    pub(super) value: &'a str,
    pub(super) timestamp: Option<UnixMs>,
}

impl<'a> From<StoredSample<'a>> for Line<'a> {
    fn from(sample: StoredSample<'a>) -> Line<'a> {
        Line { name: sample.name, labels: sample.labels, value: sample.value, timestamp: sample.timestamp }
    }
}

/// Whether the samples keep OpenMetrics' rules for the type.
pub(super) fn fits(kind: MetricType, family: &str, lines: &[Line<'_>]) -> bool {
    match kind {
        MetricType::Gauge | MetricType::Unknown => true,
        MetricType::Info => lines.iter().all(|l| number(l.value) == Some(1.0)),
        MetricType::StateSet => stateset(family, lines),
        // No series twice, so that every line is a label set of its own.
        MetricType::Counter if lines.iter().all(|l| l.name == family) => {
            lines.iter().all(|l| number(l.value).is_some_and(|v| v >= 0.0))
        }
        _ => composite(kind, family, lines),
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn stateset(family: &str, lines: &[Line<'_>]) -> bool {
    let mut seen = Groups::default();
    let own = spelled(family);
    lines.iter().all(|l| {
        let state = pairs(l.labels).any(|p| p.raw_name == own);
        let value = matches!(number(l.value), Some(v) if v == 0.0 || v == 1.0);
        state && value && seen.enter(identity("", &[l.labels], Some(&own)))
    })
}

/// The label sets met so far: the lines of one set must stand together.
#[derive(Default)]
struct Groups {
    seen: HashSet<Box<str>>,
    current: Option<Box<str>>,
}

impl Groups {
    /// Whether the line belongs to the current group or opens a new one.
    fn enter(&mut self, group: Box<str>) -> bool {
        if self.current.as_ref() == Some(&group) {
            return true;
        }
        self.current = Some(group.clone());
        self.seen.insert(group)
    }
}

/// The sums of one label set of a histogram or summary.
#[derive(Default)]
struct Point {
    timestamp: Option<UnixMs>,
    last_bound: Option<f64>,
    last_bucket: Option<f64>,
    negative_bound: bool,
    count: Option<f64>,
    sum: Option<f64>,
    main: bool,
}

fn composite(kind: MetricType, family: &str, lines: &[Line<'_>]) -> bool {
    let base = match kind {
        MetricType::Counter => family.strip_suffix("_total").unwrap_or(family),
        _ => family,
    };
    let mut groups = Groups::default();
    let mut point: Option<Point> = None;
    for line in lines {
        let Some(suffix) = line.name.strip_prefix(base) else {
            return false;
        };
        let own = own_label(kind, suffix);
        let group = identity("", &[line.labels], own);
        if groups.current.as_ref() != Some(&group) {
            if point.take().is_some_and(|p| !p.complete(kind)) || !groups.enter(group) {
                return false;
            }
            point = Some(Point { timestamp: line.timestamp, ..Point::default() });
        }
        let Some(current) = point.as_mut() else {
            return false;
        };
        if current.timestamp != line.timestamp || !current.take(kind, suffix, own, line) {
            return false;
        }
    }
    point.is_none_or(|p| p.complete(kind))
}

/// The label that tells apart the samples of one label set.
fn own_label(kind: MetricType, suffix: &str) -> Option<&'static str> {
    match (kind, suffix) {
        (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => Some("le"),
        (MetricType::Summary, "") => Some("quantile"),
        _ => None,
    }
}

impl Point {
    fn take(&mut self, kind: MetricType, suffix: &str, own: Option<&str>, line: &Line) -> bool {
        let Some(value) = number(line.value) else {
            return false;
        };
        let bound = match own {
            None => None,
            Some(name) => match pairs(line.labels).find(|p| p.name() == name) {
                // Infinity has one spelling.
                Some(pair) if pair.raw_value == "+Inf" => Some(f64::INFINITY),
                Some(pair) => number(&pair.value()).filter(|b| b.is_finite()),
                None => None,
            },
        };
        let counted = !value.is_nan() && value >= 0.0;
        let whole = counted && value.is_finite() && value.fract() == 0.0;
        match (kind, suffix) {
            (MetricType::Counter, "_total") => {
                self.main = true;
                counted
            }
            (MetricType::Summary, "") => {
                let negative = value < 0.0;
                !negative && bound.is_some_and(|b| (0.0..=1.0).contains(&b))
            }
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => {
                bound.is_some_and(|b| whole && self.bucket(b, value))
            }
            (MetricType::Histogram | MetricType::Summary, "_count") | (MetricType::GaugeHistogram, "_gcount") => {
                self.count = Some(value);
                whole
            }
            (MetricType::Histogram | MetricType::Summary, "_sum") => {
                self.sum = Some(value);
                counted
            }
            (MetricType::GaugeHistogram, "_gsum") => {
                self.sum = Some(value);
                !value.is_nan()
            }
            (MetricType::Counter | MetricType::Histogram | MetricType::Summary, "_created") => counted,
            _ => false,
        }
    }

    fn bucket(&mut self, bound: f64, value: f64) -> bool {
        let ordered =
            self.last_bound.is_none_or(|last| last < bound) && self.last_bucket.is_none_or(|last| last <= value);
        self.negative_bound |= bound < 0.0;
        self.last_bound = Some(bound);
        self.last_bucket = Some(value);
        ordered
    }

    fn complete(&self, kind: MetricType) -> bool {
        match kind {
            MetricType::Counter => self.main,
            MetricType::Summary => true,
            MetricType::Histogram => self.buckets_agree() && self.sum.is_none_or(|_| !self.negative_bound),
            MetricType::GaugeHistogram => {
                let negative_sum = self.sum.is_some_and(|sum| sum < 0.0);
                self.buckets_agree() && (!negative_sum || self.negative_bound)
            }
            _ => true,
        }
    }

    /// `+Inf` is there, equals the count, and count and sum come together.
    fn buckets_agree(&self) -> bool {
        self.last_bound == Some(f64::INFINITY)
            && self.sum.is_some() == self.count.is_some()
            && self.count.is_none_or(|count| Some(count) == self.last_bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as `name{labels} value[ timestamp]`.
    fn check(kind: MetricType, family: &str, text: &str) -> bool {
        let mut lines = Vec::new();
        for line in text.lines() {
            let (head, tail) = line.split_once(' ').unwrap_or((line, ""));
            let (name, labels) = head.split_once('{').unwrap_or((head, ""));
            let (value, timestamp) = tail.split_once(' ').unwrap_or((tail, ""));
            lines.push(Line {
                name: name.into(),
                labels: labels.trim_end_matches('}'),
                value,
                timestamp: timestamp.parse().ok(),
            });
        }
        fits(kind, family, &lines)
    }

    #[test]
    fn types_that_openmetrics_allows() {
        use MetricType::*;
        for (good, kind, family, text) in [
            (true, Counter, "a_total", "a_total 1\na_created 5"),
            (true, Counter, "a_total", "a_total{x=\"1\"} 1\na_total{x=\"2\"} 0"),
            (false, Counter, "a_total", "a_total -1"),
            (false, Counter, "a_total", "a_total NaN"),
            (false, Counter, "a_total", "a_created 1"),
            (false, Counter, "a_total", "a_total{x=\"1\"} 1\na_total{x=\"2\"} 0\na_created{x=\"1\"} 3"),
            (true, Gauge, "a", "a NaN"),
            (true, Info, "a_info", "a_info{v=\"1\"} 1"),
            (false, Info, "a_info", "a_info{v=\"1\"} 2"),
            (true, StateSet, "a", "a{a=\"x\"} 1\na{a=\"y\"} 0"),
            (false, StateSet, "a", "a{b=\"x\"} 1"),
            (false, StateSet, "a", "a{a=\"x\"} 3"),
            (true, Histogram, "h", "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2"),
            (false, Histogram, "h", "h_bucket{le=\"1\"} 1\nh_sum 3\nh_count 2"),
            (false, Histogram, "h", "h_sum 3\nh_count 2"),
            (false, Histogram, "h", "h_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 3"),
            (false, Histogram, "h", "h_bucket{le=\"+Inf\"} 2\nh_sum 3"),
            (false, Histogram, "h", "h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2"),
            (false, Histogram, "h", "h_bucket 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2"),
            (false, Histogram, "h", "h_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2"),
            (true, GaugeHistogram, "g", "g_bucket{le=\"-1\"} 2\ng_bucket{le=\"+Inf\"} 2\ng_gcount 2\ng_gsum -1"),
            (true, Summary, "s", "s{quantile=\"0.5\"} NaN\ns_sum 1\ns_count 2"),
            (false, Summary, "s", "s{quantile=\"2\"} 1\ns_sum 1\ns_count 2"),
            (false, Summary, "s", "s{quantile=\"0.5\"} 1\ns_sum -1\ns_count 2"),
            (false, Summary, "s", "s{quantile=\"0.5\"} 1 1000\ns_sum 1\ns_count 2"),
            (true, Summary, "s", "s{quantile=\"0.5\"} 1 1000\ns_sum 1 1000\ns_count 2 1000"),
        ] {
            assert_eq!(check(kind, family, text), good, "{kind:?} {text}");
        }
    }
}
