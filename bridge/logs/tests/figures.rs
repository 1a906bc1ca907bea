//! What the log store costs. No assertion on time: these print.
//!
//! ```sh
//! cargo test --release -p k2p-logs --test figures -- --ignored --nocapture --test-threads=1
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "figures")]

mod support;

use std::fs;
use std::time::Instant;

use k2p_logs::mask::{MaskConfig, MaskCounts, Masker};
use k2p_logs::{Entry, Level, LogReader, Query, ReadConfig, StoreConfig};
use support::{Made, NOON, metrics, store};

/// An event of the usual size: 350 bytes.
fn event(i: i64) -> Made {
    let mut made = Made::new("big", 0, i, NOON + i * 10_000);
    made.line = format!(
        r#"{{"timestamp":"2026-11-21T12:00:{:02}.{:06}Z","env":"prod","pipeline_id":"orders","run_id":"big","step":"load","level":"INFO","component":"org.example.etl.Loader","message":"wrote partition {i} of orders_daily to the lake in {} attempts","metrics":{{"rows_written":{},"duration_ms":{}}},"correlation_id":"c-{:08x}"}}"#,
        i / 1_000_000 % 60,
        i % 1_000_000,
        i % 3,
        i * 7919 % 100_003,
        i * 31 % 977,
        i * 2_654_435_761 % 0xffff_ffff
    );
    made
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_of_a_job_of_one_gigabyte() {
    let dir = tempfile::tempdir().unwrap();
    let log = store(dir.path(), StoreConfig::default());
    let (mut bytes, mut count, mut raw) = (0, 0_i64, 0);
    let mut seconds = 0.0;
    while bytes < 1 << 30 {
        let made: Vec<Made> = (count..count + 500).map(event).collect();
        let entries: Vec<Entry<'_>> = made.iter().map(Made::entry).collect();
        raw += made.iter().map(|m| m.line.len()).sum::<usize>();
        let start = Instant::now();
        bytes += log.append(&entries, NOON).bytes;
        seconds += start.elapsed().as_secs_f64();
        count += 500;
    }
    let start = Instant::now();
    log.sync().unwrap();
    println!(
        "append, batches of 500: {:.0} events/s, {:.0} MB/s",
        count as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    println!("sync of 1 GB: {:.2} s", start.elapsed().as_secs_f64());
    let reader = || LogReader::open(dir.path(), ReadConfig::default(), metrics());
    let middle = NOON + count / 2 * 10_000;
    let queries = [
        ("first page", Query::default()),
        ("since the middle", Query { since: Some(middle), ..Query::default() }),
        ("level error", Query { level: Level::Error, ..Query::default() }),
        ("nothing as grave", Query { level: Level::Fatal, ..Query::default() }),
    ];
    let measure = |when: &str| {
        for (name, query) in &queries {
            let mut times: Vec<f64> = (0..20)
                .map(|_| {
                    let start = Instant::now();
                    let page = reader().read("big", query).unwrap();
                    assert_eq!(page.entries.len(), if query.level == Level::Fatal { 0 } else { 1000 });
                    start.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{when}, page of 1000, {name}: median {:.2} ms, worst {:.2} ms", times[10], times[19]);
        }
    };
    measure("plain");
    let start = Instant::now();
    let (mut query, mut read) = (Query { limit: 10_000, ..Query::default() }, 0);
    let all = reader();
    loop {
        let page = all.read("big", &query).unwrap();
        read += page.entries.len();
        query.cursor = Some(page.cursor);
        if !page.has_more {
            break;
        }
    }
    println!("read all: {:.0} events/s", read as f64 / start.elapsed().as_secs_f64());
    let size = |end: &str| fs::metadata(dir.path().join(format!("2026-11-21/big.jsonl{end}"))).unwrap().len() as f64;
    let per = |bytes: f64| bytes / count as f64;
    println!(
        "bytes an event: {:.0} as it came, {:.0} stored, {:.2} index",
        per(raw as f64),
        per(size("")),
        per(size(".idx"))
    );
    let start = Instant::now();
    log.maintain(NOON + support::DAY).unwrap();
    println!("packed in {:.1} s: {:.1} bytes an event", start.elapsed().as_secs_f64(), per(size(".zst")));
    measure("packed");
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_of_small_appends_and_masking() {
    let dir = tempfile::tempdir().unwrap();
    let log = store(dir.path(), StoreConfig::default());
    let made: Vec<Made> = (0..20_000).map(event).collect();
    let start = Instant::now();
    for one in &made {
        log.append(&[one.entry()], NOON);
    }
    println!("append, one by one: {:.0} events/s", made.len() as f64 / start.elapsed().as_secs_f64());
    let masker = Masker::new(&MaskConfig::default(), None).unwrap();
    let mut counts = MaskCounts::default();
    // By turns, and the best of many: others may use the machine too.
    let (mut mask, mut parse) = (f64::MAX, f64::MAX);
    for some in made.chunks(500) {
        let start = Instant::now();
        for one in some {
            std::hint::black_box(masker.line(one.line.as_bytes(), &mut counts));
        }
        mask = mask.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for one in some {
            std::hint::black_box(serde_json::from_str::<serde_json::Value>(&one.line).unwrap());
        }
        parse = parse.min(start.elapsed().as_secs_f64());
    }
    println!("mask: {:.0} events/s ({} masked)", 500.0 / mask, counts.total());
    println!("beside it, serde_json into a Value: {:.0} events/s; ratio {:.2}", 500.0 / parse, parse / mask);
}
