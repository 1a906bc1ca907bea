//! Bytes per series: as the cache accounts them, and as the system sees them. Each in a
//! process of its own: what an earlier table gave back would be taken again unseen.
use std::process::Command;

use k2p_core::cache::PartitionCache;
use k2p_core::exposition::{Format, to_bytes};
use k2p_core::merge::Sources;

use crate::cases::Case;
use crate::clock::row;
use crate::ingest::{apply, cache};
use crate::synthetic;

/// Names of the cases, and what is asked of each.
const CASES: [(&str, &str); 3] = [("shared", "≤ 10 B"), ("private", "≤ 120 B"), ("plain", "–")];

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

pub(crate) fn table() {
    for (name, _) in CASES {
        let program = std::env::current_exe().unwrap();
        assert!(Command::new(program).args(["memory-of", name]).status().unwrap().success());
    }
}

/// One of [`CASES`].
pub(crate) fn one(name: &str) {
    let (name, asked) = CASES.into_iter().find(|(known, _)| *known == name).unwrap();
    let case = synthetic::million(name != "shared");
    let mut cache = if name == "plain" { cache().without_shapes() } else { cache() };
    // What reading needs once is no memory of the series.
    warm(&mut cache, &case);
    let before = (resident(), cache.used_bytes());
    (0..2).for_each(|n| _ = apply(&mut cache, &case, n, None));
    let view = cache.view();
    let series = view.series as f64;
    let accounted = (cache.used_bytes() - before.1) as f64 / series;
    let seen = resident().saturating_sub(before.0) as f64 / series;
    println!("{name:<10} {:>9} series: accounted {accounted:>6.1} B each, resident {seen:>6.1} B each", view.series);
    let (text, _) = to_bytes(&Sources::collect(None, &[view], None), Format::Text004);
    println!("{:<10} {:>9.1} MB of exposition", "", text.len() as f64 / 1e6);
    row(
        &format!("memory per series, {name} shapes: accounted"),
        &format!("{accounted:.1} B"),
        &format!("resident set of the same {seen:.1} B"),
        accounted / seen,
        asked,
    );
}

fn warm(cache: &mut PartitionCache, case: &Case) {
    let few = |origin: &crate::cases::Origin| crate::cases::Origin {
        key: origin.key.replace("bench", "warm"),
        dumps: origin.dumps.clone(),
    };
    let case = Case { name: case.name.clone(), origins: case.origins.iter().take(3).map(few).collect() };
    apply(cache, &case, 0, None);
}
