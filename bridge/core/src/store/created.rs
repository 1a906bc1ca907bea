//! One shape for `_created`, whatever the format.
//!
//! In OpenMetrics a counter's, histogram's or summary's creation time is a sample of its
//! family. The same client library writes it in the text format as a gauge family of its
//! own, `foo_created`. Kept apart, that gauge would clash with `foo` in OpenMetrics
//! output and cost both their types. So it is moved home, where that loses nothing: each
//! of its series has its label set in the family, their HELP is the same, its values can
//! be times. The text writer takes it out again.
use std::borrow::Cow;
use std::collections::HashMap;

use super::pairs::identity;
use crate::model::{Family, MetricType, Sample};

/// The families with every `_created` gauge at home that has one.
pub(super) fn bring_home<'p, 'a>(families: &'p [Family<'a>]) -> Vec<Cow<'p, Family<'a>>> {
    let mut all: Vec<Cow<'p, Family<'a>>> = families.iter().map(Cow::Borrowed).collect();
    let strays: Vec<usize> = (0..families.len()).filter(|i| is_stray(&families[*i])).collect();
    if strays.is_empty() {
        return all;
    }
    let places: HashMap<&str, usize> =
        families.iter().enumerate().map(|(i, family)| (family.name.as_ref(), i)).collect();
    let mut moved = Vec::new();
    for stray in strays {
        let created = &families[stray];
        let Some(base) = created.name.strip_suffix("_created") else {
            continue;
        };
        let home = [format!("{base}_total"), base.to_owned()]
            .iter()
            .filter_map(|name| places.get(name.as_str()).copied())
            .find(|home| is_home(&families[*home], base, created));
        let Some(home) = home else {
            continue;
        };
        if let Some(joined) = join(&families[home], created) {
            all[home] = Cow::Owned(joined);
            moved.push(stray);
        }
    }
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        !moved.contains(&(at - 1))
    });
    all
}

fn is_stray(family: &Family<'_>) -> bool {
    family.kind == MetricType::Gauge && family.name.ends_with("_created") && !family.samples.is_empty()
}

/// `foo_created` belongs to the counter `foo_total` or to the histogram or summary `foo`;
/// to a histogram `foo_total` belongs `foo_total_created`.
fn is_home(family: &Family<'_>, base: &str, created: &Family<'_>) -> bool {
    let counts = match family.kind {
        MetricType::Counter => family.name != base,
        MetricType::Histogram | MetricType::Summary => family.name == base,
        _ => false,
    };
    let is_time = |s: &Sample<'_>| matches!(s.value.parse::<f64>(), Ok(v) if v >= 0.0);
    let own = |s: &Sample<'_>| s.name.ends_with("_created");
    counts && family.help == created.help && created.samples.iter().all(is_time) && !family.samples.iter().any(own)
}

/// The family with each `_created` behind the last sample of its label set; `None` if
/// one has no label set there.
fn join<'a>(family: &Family<'a>, created: &Family<'a>) -> Option<Family<'a>> {
    let mut last: HashMap<Box<str>, usize> = HashMap::new();
    for (i, sample) in family.samples.iter().enumerate() {
        last.insert(group(family.kind, sample), i);
    }
    let mut behind: HashMap<usize, &Sample<'a>> = HashMap::new();
    for sample in &created.samples {
        let at = *last.get(&identity("", &[&sample.labels], None))?;
        if family.samples[at].timestamp != sample.timestamp || behind.insert(at, sample).is_some() {
            return None;
        }
    }
    let mut joined =
        Family { samples: Vec::with_capacity(family.samples.len() + created.samples.len()), ..without_samples(family) };
    for (i, sample) in family.samples.iter().enumerate() {
        joined.samples.push(sample.clone());
        joined.samples.extend(behind.get(&i).map(|s| Sample::clone(s)));
    }
    Some(joined)
}

fn without_samples<'a>(family: &Family<'a>) -> Family<'a> {
    Family {
        name: family.name.clone(),
        kind: family.kind,
        help: family.help.clone(),
        unit: family.unit.clone(),
        samples: Vec::new(),
    }
}

fn group(kind: MetricType, sample: &Sample<'_>) -> Box<str> {
    let own = match kind {
        MetricType::Histogram if sample.name.ends_with("_bucket") => Some("le"),
        MetricType::Summary => Some("quantile"),
        _ => None,
    };
    identity("", &[&sample.labels], own)
}
