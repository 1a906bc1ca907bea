//! The structural rules of OpenMetrics 1.0.0 that only a strict reader applies.
//!
//! They are the specification's ("Overall Structure", "MetricPoint", the sections of
//! the types), in `client_python`'s reading where it is silent. One walk along the
//! lines: families must not interleave, nor the groups (label sets without `le`,
//! `quantile` and the state) within one.
use std::collections::HashSet;

use crate::model::{Family, MetricType, Sample};

use super::number;
use super::scan::Pair;
use super::seen::sorted;

type Rule = Result<(), &'static str>;

#[derive(Default)]
pub(super) struct Structure {
    current: Option<u32>,
    closed: HashSet<u32>,
    /// Sample names that families have taken.
    claimed: HashSet<String>,
    /// Groups of the current family that are complete.
    groups: HashSet<String>,
    group: Option<Group>,
}

/// The label set that is being read.
struct Group {
    key: String,
    seconds: Option<f64>,
    buckets: Option<Buckets>,
}

/// A histogram's parts as far as they came.
#[derive(Default)]
struct Buckets {
    bound: Option<f64>,
    value: f64,
    count: Option<f64>,
    sum: bool,
    negative_sum: bool,
    negative_bound: bool,
    gauge: bool,
}

impl Structure {
    pub(super) fn meta(&mut self, at: u32, families: &[Family<'_>]) -> Rule {
        self.enter(at, families)?;
        let family = &families[at as usize];
        let unitless = matches!(family.kind, MetricType::Info | MetricType::StateSet);
        if unitless && family.unit.is_some() {
            return Err("a UNIT of an info or a stateset");
        }
        Ok(())
    }

    pub(super) fn sample(
        &mut self,
        at: u32,
        families: &[Family<'_>],
        sample: &Sample<'_>,
        pairs: &[Pair<'_>],
        seconds: Option<f64>,
    ) -> Rule {
        self.enter(at, families)?;
        let family = &families[at as usize];
        let value = number::as_f64(sample.value).ok_or("a value that is no number")?;
        let part = part(family, &sample.name);
        check_exemplar(family.kind, part, sample)?;
        check_value(family, part, value, pairs)?;
        self.group_of(family.kind, group_key(family, part, pairs), seconds)?;
        match self.group.as_mut().and_then(|g| g.buckets.as_mut()) {
            Some(buckets) => buckets.add(part, value, pairs),
            None => Ok(()),
        }
    }

    pub(super) fn finish(&mut self, families: &[Family<'_>]) -> Rule {
        self.leave(families)
    }

    fn enter(&mut self, at: u32, families: &[Family<'_>]) -> Rule {
        if self.current == Some(at) {
            return Ok(());
        }
        self.leave(families)?;
        if self.closed.contains(&at) {
            return Err("a family in several places: all its lines must stand together");
        }
        self.current = Some(at);
        Ok(())
    }

    fn leave(&mut self, families: &[Family<'_>]) -> Rule {
        self.end_group()?;
        self.groups.clear();
        let Some(at) = self.current.take() else {
            return Ok(());
        };
        self.closed.insert(at);
        let family = &families[at as usize];
        for name in claimed_names(family) {
            if !self.claimed.insert(name) {
                return Err("a family whose name is that of another one's samples");
            }
        }
        Ok(())
    }

    fn end_group(&mut self) -> Rule {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        self.groups.insert(group.key);
        match group.buckets {
            Some(buckets) => buckets.complete(),
            None => Ok(()),
        }
    }

    fn group_of(&mut self, kind: MetricType, key: String, seconds: Option<f64>) -> Rule {
        let mut fresh = true;
        if let Some(group) = &self.group
            && group.key == key
        {
            if group.seconds.is_some() != seconds.is_some() {
                return Err("samples with and without timestamp in one group");
            }
            if group.seconds > seconds && kind != MetricType::Info {
                return Err("a timestamp before that of the sample above");
            }
            fresh = group.seconds != seconds;
        }
        if !fresh {
            return Ok(());
        }
        self.change_group(&key)?;
        let gauge = kind == MetricType::GaugeHistogram;
        let buckets = (gauge || kind == MetricType::Histogram).then(|| Buckets { gauge, ..Buckets::default() });
        self.group = Some(Group { key, seconds, buckets });
        Ok(())
    }

    fn change_group(&mut self, next: &str) -> Rule {
        let same = self.group.as_ref().is_some_and(|g| g.key == next);
        self.end_group()?;
        if !same && self.groups.contains(next) {
            return Err("samples of one label set in several places of their family");
        }
        Ok(())
    }
}

impl Buckets {
    fn add(&mut self, part: Part, value: f64, pairs: &[Pair<'_>]) -> Rule {
        match part {
            Part::Bucket => {
                let le = label(pairs, "le").and_then(number::as_f64);
                let bound = le.ok_or("a bucket without a number as le")?;
                if self.bound.is_some_and(|b| bound <= b) {
                    return Err("buckets that are not in the order of le");
                }
                if value < self.value {
                    return Err("buckets whose values are not cumulative");
                }
                self.negative_bound |= bound < 0.0;
                (self.bound, self.value) = (Some(bound), value);
            }
            Part::Count => self.count = Some(value),
            Part::Sum => {
                self.sum = true;
                self.negative_sum = value < 0.0;
            }
            Part::Created | Part::Other => {}
        }
        Ok(())
    }

    fn complete(&self) -> Rule {
        if self.bound != Some(f64::INFINITY) {
            return Err("a histogram above without its bucket le=\"+Inf\"");
        }
        if self.count.is_some_and(|c| c != self.value) {
            return Err("a histogram above whose count is not the value of its +Inf bucket");
        }
        if self.sum != self.count.is_some() {
            return Err("a histogram above with only one of count and sum");
        }
        if !self.gauge && self.negative_bound && self.sum {
            return Err("a histogram above with a negative bucket and a sum");
        }
        if self.gauge && self.negative_sum && !self.negative_bound {
            return Err("a gauge histogram above with a negative sum, but no negative bucket");
        }
        Ok(())
    }
}

/// What a sample is of its family.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Bucket,
    Count,
    Sum,
    Created,
    /// The value itself.
    Other,
}

fn part(family: &Family<'_>, name: &str) -> Part {
    let base = match family.kind {
        MetricType::Counter => family.name.strip_suffix("_total").unwrap_or(&family.name),
        _ => &family.name,
    };
    match name.strip_prefix(base) {
        Some("_bucket") => Part::Bucket,
        Some("_count" | "_gcount") => Part::Count,
        Some("_sum" | "_gsum") => Part::Sum,
        Some("_created") => Part::Created,
        _ => Part::Other,
    }
}

fn check_exemplar(kind: MetricType, part: Part, sample: &Sample<'_>) -> Rule {
    let allowed = match kind {
        MetricType::Counter => part == Part::Other,
        MetricType::Histogram | MetricType::GaugeHistogram => part == Part::Bucket,
        _ => false,
    };
    if sample.exemplar.is_some() && !allowed {
        return Err("an exemplar on a sample that is neither bucket nor counter");
    }
    Ok(())
}

fn check_value(family: &Family<'_>, part: Part, value: f64, pairs: &[Pair<'_>]) -> Rule {
    let whole = |v: f64| v.is_finite() && v.fract() == 0.0;
    match (family.kind, part) {
        (_, Part::Created) => Ok(()),
        (MetricType::Counter, _) => growing(value),
        (MetricType::Histogram | MetricType::GaugeHistogram, Part::Bucket) => {
            let le = label(pairs, "le").unwrap_or_default();
            if number::as_f64(le) == Some(f64::INFINITY) && le != "+Inf" {
                return Err("an le that is not spelled +Inf");
            }
            if !whole(value) {
                return Err("a bucket whose value is no whole number");
            }
            growing(value)
        }
        (MetricType::Histogram | MetricType::Summary | MetricType::GaugeHistogram, Part::Count) => {
            if !whole(value) {
                return Err("a count that is no whole number");
            }
            growing(value)
        }
        (MetricType::GaugeHistogram, Part::Sum) if value.is_nan() => Err("a sum that is NaN"),
        (MetricType::Histogram | MetricType::Summary, Part::Sum) => growing(value),
        (MetricType::Summary, _) => check_quantile(value, pairs),
        (MetricType::Info, _) if value != 1.0 => Err("an info whose value is not 1"),
        (MetricType::StateSet, _) => check_state(family, value, pairs),
        _ => Ok(()),
    }
}

fn growing(value: f64) -> Rule {
    if value.is_nan() || value < 0.0 {
        return Err("a counter, count, sum or bucket that is negative or NaN");
    }
    Ok(())
}

fn check_quantile(value: f64, pairs: &[Pair<'_>]) -> Rule {
    let quantile = label(pairs, "quantile").and_then(number::as_f64);
    if !quantile.is_some_and(|q| (0.0..=1.0).contains(&q)) {
        return Err("a summary's sample without a quantile from 0 to 1");
    }
    if value < 0.0 {
        return Err("a quantile's value that is negative");
    }
    Ok(())
}

fn check_state(family: &Family<'_>, value: f64, pairs: &[Pair<'_>]) -> Rule {
    if state_label(family, pairs).is_none() {
        return Err("a stateset's sample without the label of its family's name");
    }
    if value != 0.0 && value != 1.0 {
        return Err("a stateset's value that is neither 0 nor 1");
    }
    Ok(())
}

fn label<'p>(pairs: &'p [Pair<'_>], name: &str) -> Option<&'p str> {
    pairs.iter().find(|p| p.name == name).map(|p| p.value.as_ref())
}

fn state_label<'p>(family: &Family<'_>, pairs: &'p [Pair<'_>]) -> Option<&'p Pair<'p>> {
    let quoted = format!("\"{}\"", crate::labels::escape_value(&family.name));
    pairs.iter().find(|p| p.name == family.name || *p.name == *quoted)
}

/// The labels that tell groups apart.
fn group_key(family: &Family<'_>, part: Part, pairs: &[Pair<'_>]) -> String {
    let point = match (family.kind, part) {
        (MetricType::Histogram | MetricType::GaugeHistogram, Part::Bucket) => Some("le"),
        (MetricType::Summary, Part::Other) => Some("quantile"),
        (MetricType::StateSet, _) => state_label(family, pairs).map(|p| p.name.as_ref()),
        _ => None,
    };
    let mut key = String::new();
    for (name, value) in sorted(pairs) {
        if Some(name) != point {
            key.extend([name, "=\"", value, "\","]);
        }
    }
    key
}

/// The sample names that no other family may use: those of its type, and its own.
fn claimed_names(family: &Family<'_>) -> Vec<String> {
    let own = |suffix: &str, base: &str| format!("{base}{suffix}");
    let (base, suffixes): (&str, &[&str]) = match family.kind {
        MetricType::Counter => {
            let base = family.name.strip_suffix("_total").unwrap_or(&family.name);
            (base, &["", "_total", "_created"])
        }
        MetricType::Info => {
            let base = family.name.strip_suffix("_info").unwrap_or(&family.name);
            (base, &["", "_info"])
        }
        MetricType::Summary => (&family.name, &["", "_count", "_sum", "_created"]),
        MetricType::Histogram => (&family.name, &["", "_count", "_sum", "_bucket", "_created"]),
        MetricType::GaugeHistogram => (&family.name, &["", "_gcount", "_gsum", "_bucket"]),
        _ => (&family.name, &[""]),
    };
    suffixes.iter().map(|suffix| own(suffix, base)).collect()
}
