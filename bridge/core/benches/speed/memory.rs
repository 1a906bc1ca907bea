//! Bytes per series: as the cache accounts them, and as the system sees them.
use k2p_core::exposition::{Format, to_bytes};
use k2p_core::merge::Sources;

use crate::ingest::{apply, cache};
use crate::synthetic;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

pub(crate) fn table() {
    for case in [synthetic::million(false), synthetic::million(true), synthetic::drivers(1000)] {
        let mut cache = cache();
        let before = resident();
        apply(&mut cache, &case, 0, None);
        let view = cache.view();
        let after = resident();
        let series = view.series as f64;
        println!(
            "{:<30} {:>9} series: accounted {:>6.1} B each, resident {:>6.1} B each",
            case.name,
            view.series,
            view.bytes as f64 / series,
            after.saturating_sub(before) as f64 / series
        );
        let (text, _) = to_bytes(&Sources::collect(None, &[view], None), Format::Text004);
        println!("{:<30} {:>9.1} MB of exposition", "", text.len() as f64 / 1e6);
    }
}
