//! Fixed cases for callgrind: `benches/instructions` counts what each costs and compares
//! with the figures kept in `instructions.txt`. Run without an argument it does nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a benchmark")]
use std::hint::black_box;
use std::sync::Arc;

use k2p_core::cache::{CacheConfig, Now, Outcome, PartitionCache};
use k2p_core::envelope::RawRecord;
use k2p_core::exposition::{Format, to_bytes};
use k2p_core::merge::Sources;

const NODE: &[u8] = include_bytes!("../../../tests/dumps/node.01.txt");
const NODE_LATER: &[u8] = include_bytes!("../../../tests/dumps/node.02.txt");
const DRIVER: &[u8] = include_bytes!("../../../tests/dumps/spark_driver.01.txt");
const DRIVER_LATER: &[u8] = include_bytes!("../../../tests/dumps/spark_driver.02.txt");

fn cache() -> PartitionCache {
    let mut cache = PartitionCache::new(Arc::from("t"), 0, 0, CacheConfig::default());
    cache.set_live(true);
    cache
}

fn apply(cache: &mut PartitionCache, origin: usize, dump: &[u8]) {
    let key = format!("cluster=\"acme\",instance=\"10.0.0.{origin}:9100\",job=\"node\"");
    let headers: [(&str, &[u8]); 1] = [("content-type", b"text/plain; version=0.0.4")];
    let record = RawRecord {
        key: Some(key.as_bytes()),
        value: Some(dump),
        headers: &headers,
        timestamp: Some(1_700_000_000_000),
        offset: cache.position(),
    };
    let applied = cache.apply(&record, Now { unix: 1_700_000_000_000, mono: 1000 });
    assert!(matches!(applied.outcome, Outcome::Accepted(_)));
    black_box(cache.view());
}

/// What callgrind counts.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}

fn fleet() -> PartitionCache {
    let mut cache = cache();
    (0..20).for_each(|i| apply(&mut cache, i, if i % 4 == 3 { DRIVER } else { NODE }));
    cache
}

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    match case.as_str() {
        "ingest-repeated-node" => {
            let mut cache = fleet();
            measured(|| (0..10).for_each(|i| apply(&mut cache, i, if i % 4 == 3 { DRIVER_LATER } else { NODE_LATER })));
        }
        "ingest-new-node" => measured(|| apply(&mut cache(), 0, NODE)),
        "ingest-new-driver" => measured(|| apply(&mut cache(), 0, DRIVER)),
        "ingest-changed-family" => {
            let mut cache = fleet();
            let text = std::str::from_utf8(NODE).unwrap();
            let changed = text.replace(
                "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}",
                "node_cpu_seconds_total{cpu=\"9\",mode=\"idle\"}",
            );
            assert_ne!(changed, text);
            measured(|| apply(&mut cache, 0, changed.as_bytes()));
        }
        "scrape-text" | "scrape-openmetrics" => {
            let openmetrics = Format::OpenMetrics100 { utf8: true };
            let format = if case == "scrape-text" { Format::Text004 } else { openmetrics };
            let cache = fleet();
            measured(|| drop(black_box(to_bytes(&Sources::collect(None, &[cache.view()], None), format))));
        }
        _ => {}
    }
}
