//! Keeps a series from being written twice, where that can happen at all.
use std::collections::HashMap;

use super::Format;
use crate::merge::{Compare, Output};
use crate::model::MetricType;
use crate::store::StoredSample;
use crate::store::pairs::{identity, spelled};

/// The series of one family written so far. Of a histogram, summary or stateset the unit
/// is the whole label set: half of one origin's and half of another's would be a mix (G3).
pub(super) struct Seen {
    compare: Compare,
    kind: MetricType,
    /// A stateset's states are told apart by this label.
    state: String,
    grouped: bool,
    owners: HashMap<Box<str>, Owner>,
}

/// Whose label set it is: source, and the spelling before names were escaped.
#[derive(PartialEq)]
struct Owner {
    source: u32,
    original: Option<Box<str>>,
}

impl Seen {
    pub(super) fn new(output: &Output<'_>, format: Format) -> Seen {
        let grouped = match output.kind {
            MetricType::Histogram | MetricType::GaugeHistogram => true,
            MetricType::Summary | MetricType::StateSet => true,
            MetricType::Counter => format.keeps_created(),
            _ => false,
        };
        Seen {
            compare: output.compare,
            kind: output.kind,
            state: spelled(&output.name).into_owned(),
            grouped,
            owners: HashMap::new(),
        }
    }

    /// Whether the sample may be written. `original` is the sample before escaping.
    pub(super) fn admits(
        &mut self,
        sample: &StoredSample<'_>,
        original: Option<&StoredSample<'_>>,
        source: u32,
        suspect: bool,
    ) -> bool {
        match self.compare {
            Compare::Nobody => return true,
            Compare::Suspects if !suspect => return true,
            _ => {}
        }
        if !self.grouped {
            let key = identity(&sample.name, &[sample.injected, sample.labels], None);
            let owner = Owner { source, original: None };
            return self.owners.insert(key, owner).is_none();
        }
        let own = self.own_label(&sample.name);
        let group = |s: &StoredSample<'_>| identity("", &[s.injected, s.labels], own);
        let (key, original) = (group(sample), original.map(group));
        let owner = Owner { source, original };
        match self.owners.get(&key) {
            Some(known) => *known == owner,
            None => {
                self.owners.insert(key, owner);
                true
            }
        }
    }

    fn own_label(&self, name: &str) -> Option<&str> {
        match self.kind {
            MetricType::Summary => Some("quantile"),
            MetricType::StateSet => Some(&self.state),
            MetricType::Histogram | MetricType::GaugeHistogram if name.ends_with("_bucket") => Some("le"),
            _ => None,
        }
    }
}
