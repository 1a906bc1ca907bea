//! From views to the bytes of an answer.
use std::hint::black_box;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use flate2::write::GzEncoder;
use k2p_core::exposition::{self, Format};
use k2p_core::merge::Sources;
use k2p_core::view::PartitionView;

use crate::clock::{cpu, median, row};
use crate::ingest::{apply, cache};
use crate::synthetic;

const ROUNDS: usize = 7;

enum To {
    Identity,
    Gzip,
    Zstd,
}

/// Seconds until the first chunk, seconds in all, bytes of the answer.
fn scrape(views: &[Arc<PartitionView>], format: Format, to: &To) -> (f64, f64, usize) {
    let start = cpu();
    let sources = Sources::collect(None, views, None);
    let mut first = None;
    let mut bytes = 0;
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    exposition::write(&sources, format, &mut |chunk| {
        first.get_or_insert_with(|| cpu() - start);
        match to {
            To::Identity => bytes += black_box(&chunk).len(),
            To::Gzip => {
                gzip.write_all(&chunk).unwrap();
                bytes += gzip.get_ref().len();
                gzip.get_mut().clear();
            }
            To::Zstd => {
                zstd.write_all(&chunk).unwrap();
                bytes += zstd.get_ref().len();
                zstd.get_mut().clear();
            }
        }
        ControlFlow::Continue(())
    });
    (first.unwrap_or(0.0), cpu() - start, bytes)
}

/// Over and over, for a profiler.
pub(crate) fn profile() {
    let case = synthetic::million(std::env::var("CASE").is_ok_and(|c| c == "private"));
    let mut cache = cache();
    apply(&mut cache, &case, 0, None);
    let (start, mut times) = (cpu(), Vec::new());
    while cpu() - start < 5.0 {
        times.push(scrape(&[cache.view()], Format::Text004, &To::Identity).1 * 1e3);
    }
    println!("{:.1} ms", median(&mut times));
}

pub(crate) fn tables() {
    for case in [synthetic::million(false), synthetic::million(true)] {
        let mut cache = cache();
        (0..2).for_each(|n| _ = apply(&mut cache, &case, n, None));
        println!("{}", case.name);
        let text = Format::Text004;
        let openmetrics = Format::OpenMetrics100 { utf8: true };
        for (name, format, to) in [
            ("text, identity", text, To::Identity),
            ("text, gzip", text, To::Gzip),
            ("text, zstd", text, To::Zstd),
            ("OpenMetrics, identity", openmetrics, To::Identity),
        ] {
            let (mut firsts, mut totals, mut bytes) = (Vec::new(), Vec::new(), 0);
            for n in 0..ROUNDS {
                // New dumps each time: nothing that is worked out once per dump is known.
                apply(&mut cache, &case, n, None);
                let (first, total, size) = scrape(&[cache.view()], format, &to);
                firsts.push(first * 1e3);
                totals.push(total * 1e3);
                bytes = size;
            }
            println!(
                "  {name:<24} {:>8.1} ms CPU, first byte {:>7.2} ms, {:>7.1} MB",
                median(&mut totals),
                median(&mut firsts),
                bytes as f64 / 1e6
            );
            if name == "text, identity" {
                let first = median(&mut firsts);
                let figure = format!("first byte of a scrape, {}", case.name);
                row(&figure, &format!("{first:.2} ms"), "–", f64::NAN, "≤ 1 ms");
            }
        }
    }
}
