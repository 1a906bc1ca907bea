//! Many origins, one exposition: which families there are, of what type, and whose
//! samples they hold.
//!
//! The rules, where origins disagree. The exposition stays valid and every sample
//! stays readable in each case:
//!
//! - **Type.** Two origins declare different types for a family: it is written
//!   `untyped` (OpenMetrics: `unknown`), each of its sample names as a family of its
//!   own, since `foo_bucket` is no sample of an untyped `foo`. Gauge, info and stateset
//!   together are a gauge: the text format writes all three so, and which one an origin
//!   declares depends only on the format in which it was scraped.
//! - **Help.** The first one counts, by the order of the origins' keys; the bridge's
//!   own metrics come before all origins. A UNIT is written only where nobody disagrees.
//! - **Name.** One origin's histogram `foo` has a sample `foo_count`, another origin's
//!   counter is called `foo_count`: the histogram is cut into its sample names as above,
//!   and where one of them is the other family's name, that has no type either. Counted
//!   once for each family that is cut.
//! - **Series.** The first one counts, and in a histogram or summary the first one's
//!   whole label set, so that no scrape sees a mix. Two origins with different values
//!   of one injected label cannot have a series in common, so that only the others
//!   are compared: origins whose sets of label names differ, and samples for which a
//!   body's label won (`honor_labels`).
//!
//! OpenMetrics cannot say everything that the text format can: a counter without
//! `_total`, a NaN counter, a histogram without `+Inf`; a counter `foo_total` beside a
//! gauge `foo` (Go's `go_memstats_alloc_bytes`), since the counter is called `foo` there
//! and takes `foo_created`, too. Such a family is `unknown`: that is no conflict of
//! origins and not counted.
mod conflict;
mod merged;
mod plan;
mod suspects;

use std::sync::Arc;

pub use conflict::{Conflict, ConflictKind, Conflicts};
pub(crate) use merged::origin_name;
pub(crate) use plan::{Compare, Output, Part, Plan, Select};

use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::model::UnixMs;
use crate::store::StoredDump;
use crate::view::{Origin, PartitionView};

/// One dump to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The bridge's own metrics.
    pub(crate) own: bool,
    /// The origin's key.
    pub(crate) key: Arc<str>,
    /// The labels injected.
    pub(crate) labels: Labels,
    pub(crate) dump: Arc<StoredDump>,
    /// The time to write on samples that have none.
    pub(crate) stamp: Option<UnixMs>,
}

/// What one scrape shows: dumps in the order in which they win conflicts. Holds the
/// dumps, so that it can be written at a slow client's pace.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub(crate) all: Vec<Source>,
    /// Which sources may have a series in common with another one.
    pub(crate) suspects: Vec<bool>,
}

impl Sources {
    /// The bridge's own metrics (built without origin labels), and every origin of the
    /// views that has a dump and that the filter matches.
    pub fn collect(own: Option<Arc<StoredDump>>, views: &[Arc<PartitionView>], filter: Option<&Matcher>) -> Sources {
        let mut all: Vec<Source> = views
            .iter()
            .flat_map(|view| view.origins.values())
            .filter(|origin| filter.is_none_or(|m| m.matches(&origin.labels)))
            .filter_map(|origin| source(origin))
            .collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        if let Some(dump) = own {
            all.insert(0, Source { own: true, key: Arc::from(""), labels: Labels::default(), dump, stamp: None });
        }
        let suspects = suspects::find(&all);
        Sources { all, suspects }
    }

    /// One origin alone; empty if it has no dump.
    pub fn one(origin: &Origin) -> Sources {
        let all: Vec<Source> = source(origin).into_iter().collect();
        let suspects = vec![false; all.len()];
        Sources { all, suspects }
    }

    /// The number of dumps.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The number of samples of all dumps.
    pub fn series(&self) -> usize {
        self.all.iter().map(|s| s.dump.series()).sum()
    }
}

fn source(origin: &Origin) -> Option<Source> {
    let dump = origin.dump.clone()?;
    Some(Source {
        own: false,
        key: origin.key.clone(),
        labels: origin.labels.clone(),
        dump,
        stamp: origin.stamp.then_some(origin.dump_time),
    })
}
