//! The bridge's own metrics as one more dump of the exposition.
//!
//! Those of the registry are written by the prometheus crate, those with an origin's
//! labels from the views; both are read by our own codec, so that merging, formats and
//! escaping are the same for all.
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use k2p_core::codec::{self, ParseOptions};
use k2p_core::labels::Labels;
use k2p_core::store::StoredDump;
use k2p_core::view::{Origin, PartitionView};
use k2p_runtime::metrics::MetricDef;
use prometheus::TextEncoder;

use super::Exposer;
use super::list::seconds;
use crate::metrics::{ORIGIN_BYTES, ORIGIN_LAST_DUMP, ORIGIN_SERIES, ORIGIN_UP};

/// The own metrics of this moment, about these views.
pub(super) fn dump(exposer: &Exposer, views: &[Arc<PartitionView>]) -> Arc<StoredDump> {
    let mut text = String::new();
    if let Err(error) = TextEncoder::new().encode_utf8(&exposer.state.registry.gather(), &mut text) {
        tracing::error!(%error, "own metrics could not be written");
    }
    let replayed = |topic: &str| exposer.config.topics.iter().any(|t| t.is_replayed() && t.name == topic);
    let dumps: Vec<_> = views.iter().filter(|v| !replayed(&v.topic)).cloned().collect();
    push_origins(&mut text, &dumps);
    let none = Labels::default();
    // Our own text needs no limits: many origins must not cost all own metrics.
    let options = ParseOptions { max_label_name: usize::MAX, max_label_value: usize::MAX, max_series: usize::MAX };
    match codec::parse(codec::Format::Text, text.as_bytes(), &options) {
        Ok(parsed) => Arc::new(StoredDump::build(&parsed, &none, false, &none)),
        Err(error) => {
            tracing::error!(%error, "own metrics could not be read back");
            Arc::new(StoredDump::build(&Default::default(), &none, false, &none))
        }
    }
}

/// The families with an origin's labels.
fn push_origins(text: &mut String, views: &[Arc<PartitionView>]) {
    push_family(text, &ORIGIN_UP, views, |o| f64::from(u8::from(o.dump.is_some())));
    push_family(text, &ORIGIN_LAST_DUMP, views, |o| seconds(o.dump_time));
    push_family(text, &ORIGIN_SERIES, views, |o| o.dump.as_ref().map_or(0.0, |d| d.series() as f64));
    let mut shares = HashMap::new();
    push_family(text, &ORIGIN_BYTES, views, |o| o.dump.as_ref().map_or(0.0, |d| bytes(d, &mut shares) as f64));
}

/// Memory of a dump. Its share of a shape is a walk over the shape, made once for all dumps
/// that have it.
fn bytes(dump: &StoredDump, shares: &mut HashMap<usize, usize>) -> usize {
    let own = dump.own_bytes();
    let share = || dump.bytes() - own;
    own + dump.shape_id().map_or(0, |(id, _)| *shares.entry(id).or_insert_with(share))
}

fn push_family(
    text: &mut String,
    def: &MetricDef,
    views: &[Arc<PartitionView>],
    mut value: impl FnMut(&Origin) -> f64,
) {
    let name = def.name;
    let _infallible = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", def.help);
    for origin in views.iter().flat_map(|v| v.origins.values()) {
        let labels = origin.labels.canonical();
        let _infallible = writeln!(text, "{name}{{{labels}}} {}", value(origin));
    }
}
