//! From a record to the view that holds it.
use std::hint::black_box;
use std::sync::Arc;

use k2p_core::cache::{CacheConfig, Limits, Now, Outcome, PartitionCache};
use k2p_core::codec::{self, ParseOptions};
use k2p_core::compress::{self, Encoding, compress};
use k2p_core::envelope::RawRecord;

use crate::cases::{Case, Origin, real_cases};
use crate::clock::{contender, cpu, gigabytes, median, others, row, throughput};
use crate::synthetic;

pub(crate) fn cache() -> PartitionCache {
    let limits = Limits { origins: 100_000, series_per_origin: 300_000, ..Limits::default() };
    let mut cache =
        PartitionCache::new(Arc::from("k2p.metrics"), 0, 0, CacheConfig { limits, ..CacheConfig::default() });
    cache.set_live(true);
    cache
}

/// Applies round `n` of every origin, with a view published behind each record, as a
/// worker does. Bytes applied.
pub(crate) fn apply(cache: &mut PartitionCache, case: &Case, n: usize, encoding: Option<&str>) -> usize {
    let mut bytes = 0;
    for origin in &case.origins {
        let body = &origin.dumps[n % origin.dumps.len()];
        let mut headers: Vec<(&str, &[u8])> = vec![("content-type", b"text/plain; version=0.0.4")];
        headers.extend(encoding.map(|e| ("content-encoding", e.as_bytes())));
        let record = RawRecord {
            key: Some(origin.key.as_bytes()),
            value: Some(body),
            headers: &headers,
            timestamp: Some(1_700_000_000_000),
            offset: cache.position(),
        };
        let now = Now { unix: 1_700_000_000_000, mono: 1_000_000 };
        let applied = cache.apply(&record, now);
        assert!(matches!(applied.outcome, Outcome::Accepted(_)), "{}: {applied:?}", case.name);
        black_box(cache.view());
        bytes += body.len();
    }
    bytes
}

fn parse_only(case: &Case) -> usize {
    let options = ParseOptions { max_series: 300_000, ..ParseOptions::default() };
    for body in case.origins.iter().flat_map(|o| &o.dumps) {
        black_box(codec::parse(codec::Format::Text, body, &options).unwrap());
    }
    case.bytes()
}

/// Every dump of the case, round by round.
fn apply_all(cache: &mut PartitionCache, case: &Case, encoding: Option<&str>) -> usize {
    (0..case.rounds()).map(|n| apply(cache, case, n, encoding)).sum()
}

/// The crate as its documentation says, on the first 20 MB.
fn prometheus_parse(case: &Case) -> usize {
    let mut read = 0;
    for body in case.origins.iter().flat_map(|o| &o.dumps) {
        if read > 20_000_000 {
            break;
        }
        read += body.len();
        let text = std::str::from_utf8(body).unwrap();
        let lines = text.lines().map(|l| Ok(l.to_owned()));
        black_box(prometheus_parse::Scrape::parse(lines).unwrap());
    }
    read
}

/// Dumps of origins that are known, in their shape.
pub(crate) fn repeated() {
    let mut cases = real_cases();
    cases.push(synthetic::million(false));
    cases.push(synthetic::million(true));
    for case in &cases {
        let mut cache = cache();
        apply_all(&mut cache, case, None);
        let mut contenders = [
            contender("ingest", || apply_all(&mut cache, case, None)),
            contender("prometheus-parse", || prometheus_parse(case)),
        ];
        let rates = throughput(&case.name, &mut contenders, rounds(case));
        rows("ingest of repeated dumps", case, &rates, "≥ 300 GB/min or ≥ 100 × expfmt");
    }
}

/// The table's rows of a case, against each alternative: ours is the first rate, the crate of
/// this process the last.
fn rows(figure: &str, case: &Case, rates: &[f64], asked: &str) {
    let corpus = match case.name.as_str() {
        "all real targets" => "real",
        "hostile mix" => "hostile",
        name if name.starts_with("1M") => "synthetic",
        _ => return,
    };
    let (ours, crate_rate) = (rates[0], rates[rates.len() - 1]);
    let all = [("prometheus-parse".to_owned(), crate_rate)].into_iter().chain(others(corpus));
    for (name, rate) in all {
        let figure = format!("{figure}, {}", case.name);
        row(&figure, &gigabytes(ours), &format!("{name} {}", gigabytes(rate)), ours / rate, asked);
    }
}

/// A few rounds more where a round is short.
fn rounds(case: &Case) -> usize {
    if case.bytes() > 50_000_000 { 3 } else { 7 }
}

/// Every dump met for the first time.
pub(crate) fn cold() {
    let mut cases = real_cases();
    cases.push(synthetic::million(true));
    cases.push(synthetic::hostile());
    for case in &cases {
        let cold = || {
            let mut bytes = 0;
            for origin in &case.origins {
                for dump in &origin.dumps {
                    let alone = Case {
                        name: case.name.clone(),
                        origins: vec![Origin { key: origin.key.clone(), dumps: vec![dump.clone()] }],
                    };
                    bytes += apply(&mut cache(), &alone, 0, None);
                }
            }
            bytes
        };
        let mut contenders = [
            contender("ingest, each dump a new shape", cold),
            contender("ingest, a restarted bridge", || {
                (0..case.rounds()).map(|n| apply(&mut cache(), case, n, None)).sum()
            }),
            contender("parse alone", || parse_only(case)),
            contender("prometheus-parse", || prometheus_parse(case)),
        ];
        let rates = throughput(&case.name, &mut contenders, rounds(case));
        rows("cold start, each dump a new shape", case, &rates, "≥ 20 × the fastest");
    }
}

/// With zstd, as a batch compresses its records, beside the decompression alone.
pub(crate) fn compressed() {
    for mut case in [real_cases().pop().unwrap(), synthetic::million(false)] {
        let bytes = case.bytes();
        for body in case.origins.iter_mut().flat_map(|o| &mut o.dumps) {
            *body = compress(Encoding::Zstd, body).unwrap();
        }
        let mut cache = cache();
        apply_all(&mut cache, &case, Some("zstd"));
        let mut contenders = [
            contender("ingest, zstd", || {
                apply_all(&mut cache, &case, Some("zstd"));
                bytes
            }),
            contender("zstd alone", || {
                for body in case.origins.iter().flat_map(|o| &o.dumps) {
                    black_box(compress::decompress(Encoding::Zstd, body, 64 << 20).unwrap());
                }
                bytes
            }),
        ];
        let rates = throughput(&case.name, &mut contenders, 5);
        let (ours, alone) = (rates[0], rates[1]);
        let figure = format!("ingest including Kafka's zstd, {}", case.name);
        row(&figure, &gigabytes(ours), &format!("zstd alone {}", gigabytes(alone)), ours / alone, "≥ 0.75");
    }
}

/// One thing over and over, for a profiler.
pub(crate) fn profile() {
    let case = match std::env::var("CASE").as_deref() {
        Ok("million") => synthetic::million(false),
        Ok("private") => synthetic::million(true),
        Ok(name) => real_cases().into_iter().find(|c| c.name == name).unwrap(),
        Err(_) => real_cases().pop().unwrap(),
    };
    let mut warm = cache();
    apply_all(&mut warm, &case, None);
    let cold = std::env::var("COLD").is_ok();
    let (start, mut bytes) = (cpu(), 0);
    while cpu() - start < 4.0 {
        bytes += match cold {
            true => apply(&mut cache(), &case, 0, None),
            false => apply_all(&mut warm, &case, None),
        };
    }
    println!("{:.0} MB/s", bytes as f64 / (cpu() - start) / 1e6);
}

/// From one to ten million series, from one to 64 partitions, from one thread to two.
pub(crate) fn scaling() {
    let mut first = None;
    for (name, origins, partitions) in [
        ("1M series, 1 partition", 2700, 1),
        ("1M series, 64 partitions", 2700, 64),
        ("10M series, 1 partition", 27_000, 1),
        ("10M series, 64 partitions", 27_000, 64),
    ] {
        let origins = synthetic::scaled(origins);
        let case = synthetic::fleet(name, origins, 370, false);
        let mut parts: Vec<Case> =
            (0..partitions).map(|_| Case { name: name.to_owned(), origins: Vec::new() }).collect();
        for (i, origin) in case.origins.into_iter().enumerate() {
            parts[i % partitions].origins.push(origin);
        }
        let mut caches: Vec<PartitionCache> = parts.iter().map(|_| cache()).collect();
        let mut times = Vec::new();
        let mut bytes = 0;
        for n in 0..6 {
            let start = cpu();
            bytes = caches.iter_mut().zip(&parts).map(|(cache, part)| apply(cache, part, n, None)).sum();
            times.push(cpu() - start);
        }
        let rate = bytes as f64 / median(&mut times[2..]) / 1e6;
        println!("{name:<28} {rate:>9.0} MB/s");
        let base = *first.get_or_insert(rate);
        let (ours, alone) = (gigabytes(rate), format!("1M series, 1 partition {}", gigabytes(base)));
        row(&format!("scaling: {name}"), &ours, &alone, rate / base, "near linear");
    }
    threads();
}

fn threads() {
    let case = synthetic::million(false);
    let mut halves = [0, 1].map(|_| Case { name: String::new(), origins: Vec::new() });
    for (i, origin) in case.origins.into_iter().enumerate() {
        halves[i % 2].origins.push(origin);
    }
    let mut first = None;
    for threads in [1, 2] {
        let mut caches: Vec<PartitionCache> = halves.iter().map(|_| cache()).collect();
        let round = |caches: &mut [PartitionCache], n: usize| -> usize {
            if threads == 1 {
                return caches.iter_mut().zip(&halves).map(|(cache, half)| apply(cache, half, n, None)).sum();
            }
            std::thread::scope(|scope| {
                let work = caches.iter_mut().zip(&halves);
                let running: Vec<_> =
                    work.map(|(cache, half)| scope.spawn(move || apply(cache, half, n, None))).collect();
                running.into_iter().map(|r| r.join().unwrap()).sum()
            })
        };
        (0..2).for_each(|n| _ = round(&mut caches, n));
        let mut times = Vec::new();
        let mut bytes = 0;
        for n in 2..9 {
            let start = std::time::Instant::now();
            bytes = round(&mut caches, n);
            times.push(start.elapsed().as_secs_f64());
        }
        let rate = bytes as f64 / median(&mut times) / 1e6;
        println!("{threads} thread(s), 2 partitions      {rate:>9.0} MB/s wall");
        let base = *first.get_or_insert(rate);
        if threads == 2 {
            let alone = format!("1 thread {}", gigabytes(base));
            row("scaling: 2 threads (wall clock)", &gigabytes(rate), &alone, rate / base, "near 2 ×");
        }
    }
}
