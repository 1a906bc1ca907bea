//! The fuzz targets on stable and for a bounded time: the corpus, and so many mutations of
//! it, the same in every run (`K2P_LONG=1`: a hundred times as many).
#![allow(clippy::unwrap_used, reason = "tests")]
#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const MUTATIONS: usize = 1500;

/// Pieces that grammars turn on.
const WORDS: &[&str] = &[
    "\n",
    " ",
    "{",
    "}",
    "\"",
    ",",
    "=",
    "\\",
    "# TYPE ",
    "# HELP ",
    "# UNIT ",
    "# EOF\n",
    "counter\n",
    "histogram\n",
    "summary\n",
    "gauge\n",
    "_bucket",
    "_sum",
    "_count",
    "_total",
    "_created",
    "_info",
    "le=\"",
    "quantile=\"",
    "+Inf",
    "NaN",
    "-1",
    "1e999",
    "0",
    " 1700000000000",
    " # {a=\"b\"} 1",
    "exported_",
    "i=\"x\"",
    "\u{e9}",
    "\t",
    "\r",
    "local_1700000000000",
    "_app_20240101120000_0001_",
    "K2pVarId",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(5) {
        let at = random.below(data.len() + 1);
        match random.below(7) {
            0 if !data.is_empty() => {
                let at = at.min(data.len() - 1);
                data[at] = random.below(256) as u8;
            }
            1 => data.truncate(at),
            2 => drop(data.drain(at..(at + random.below(40)).min(data.len()))),
            3 => {
                let word = WORDS[random.below(WORDS.len())];
                data.splice(at..at, word.bytes());
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(200)).min(other.len())].to_vec();
                data.splice(at..at, piece);
            }
            5 => {
                let piece = data[at..(at + random.below(80)).min(data.len())].to_vec();
                data.splice(at..at, piece);
            }
            _ => {
                // The same dump again, as the next record.
                let whole = data.clone();
                data.push(0xff);
                data.extend(whole);
                data.truncate(1 << 16);
            }
        }
    }
    data
}

fn run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() >= 3, "{target} has a corpus");
    corpus.iter().for_each(|data| check(data));
    let long = std::env::var("K2P_LONG").is_ok_and(|v| v == "1");
    let mut random = Random(target.len() as u64);
    for n in 0..MUTATIONS * if long { 100 } else { 1 } {
        let data = mutated(&corpus, &mut random);
        if catch_unwind(AssertUnwindSafe(|| check(&data))).is_err() {
            panic!("{target}, mutation {n}: put this into fuzz/corpus/{target}: {:?}", String::from_utf8_lossy(&data));
        }
    }
}

#[test]
fn text() {
    run("text", targets::text);
}

#[test]
fn openmetrics() {
    run("openmetrics", targets::openmetrics);
}

#[test]
fn shape_delta() {
    run("shape_delta", targets::shape_delta);
}

#[test]
fn exposition() {
    run("exposition", targets::exposition);
}

#[test]
fn decompression() {
    run("decompress", targets::decompress_any);
}
