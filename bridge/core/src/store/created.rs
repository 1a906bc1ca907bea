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

/// A family, and the `_created` gauge that belongs to it.
pub(super) struct Joined {
    pub(super) home: usize,
    pub(super) created: usize,
    /// Family and sample of each line of the joined family.
    pub(super) order: Vec<(usize, usize)>,
}

/// Which families become one.
#[derive(Default)]
pub(super) struct Homes {
    pub(super) joined: Vec<Joined>,
    /// A gauge stays apart only for what its values and timestamps are in this dump.
    pub(super) undecided: bool,
}

/// Finds the home of every `_created` gauge that has one.
pub(super) fn homes(families: &[Family<'_>]) -> Homes {
    let mut homes = Homes::default();
    let strays: Vec<usize> = (0..families.len()).filter(|i| is_stray(&families[*i])).collect();
    if strays.is_empty() {
        return homes;
    }
    let places: HashMap<&str, usize> =
        families.iter().enumerate().map(|(i, family)| (family.name.as_ref(), i)).collect();
    for created in strays {
        let stray = &families[created];
        let Some(base) = stray.name.strip_suffix("_created") else {
            continue;
        };
        let home = [format!("{base}_total"), base.to_owned()]
            .iter()
            .filter_map(|name| places.get(name.as_str()).copied())
            .find(|home| is_home(&families[*home], base, stray));
        let Some(home) = home else {
            continue;
        };
        let order = stray.samples.iter().all(is_time).then(|| join(families, home, created)).flatten();
        match order {
            Some(order) => homes.joined.push(Joined { home, created, order }),
            None => homes.undecided = true,
        }
    }
    homes
}

/// The families with every `_created` gauge at home that has one.
pub(super) fn bring_home<'p, 'a>(families: &'p [Family<'a>]) -> Vec<Cow<'p, Family<'a>>> {
    let mut all: Vec<Option<Cow<'p, Family<'a>>>> = families.iter().map(|f| Some(Cow::Borrowed(f))).collect();
    for joined in homes(families).joined {
        let samples = joined.order.iter().map(|(f, i)| families[*f].samples[*i].clone()).collect();
        all[joined.home] = Some(Cow::Owned(Family { samples, ..without_samples(&families[joined.home]) }));
        all[joined.created] = None;
    }
    all.into_iter().flatten().collect()
}

/// Whether a sample's value can be a time.
pub(super) fn is_time(sample: &Sample<'_>) -> bool {
    matches!(sample.value.parse::<f64>(), Ok(v) if v >= 0.0)
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
    let own = |s: &Sample<'_>| s.name.ends_with("_created");
    counts && family.help == created.help && !family.samples.iter().any(own)
}

/// The samples of the family with each `_created` behind the last one of its label set;
/// `None` if one has no label set there.
fn join(families: &[Family<'_>], home: usize, created: usize) -> Option<Vec<(usize, usize)>> {
    let (family, strays) = (&families[home], &families[created].samples);
    let mut last: HashMap<Box<str>, usize> = HashMap::new();
    for (i, sample) in family.samples.iter().enumerate() {
        last.insert(group(family.kind, sample), i);
    }
    let mut behind: HashMap<usize, usize> = HashMap::new();
    for (i, sample) in strays.iter().enumerate() {
        let at = *last.get(&identity("", &[&sample.labels], None))?;
        if family.samples[at].timestamp != sample.timestamp || behind.insert(at, i).is_some() {
            return None;
        }
    }
    let mut order = Vec::with_capacity(family.samples.len() + strays.len());
    for i in 0..family.samples.len() {
        order.push((home, i));
        order.extend(behind.get(&i).map(|stray| (created, *stray)));
    }
    Some(order)
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
