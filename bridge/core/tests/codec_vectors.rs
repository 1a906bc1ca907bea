//! The vectors of other projects' test suites, as far as their reference parsers agree:
//! each verdict of the strict reader, and the series of what is accepted.
//!
//! They stay where they are (issue 3): the test runs where `vectors.tgz` is, in
//! `$K2P_SHARED` or `../shared` beside the workspace, and is skipped by name elsewhere.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use k2p_core::codec::{Format, ParseOptions, detect, parse, parse_strict};
use k2p_core::labels::{Labels, unescape_value};
use k2p_core::model::{MetricType, Parsed, Sample};
use serde_json::Value;

const SUITES: [&str; 12] = [
    "client-python-openmetrics",
    "client-python-text",
    "common-expfmt-create",
    "common-expfmt-parse",
    "openmetrics-official",
    "prom-fuzz-seeds",
    "prom-testdata",
    "prom-textparse-openmetrics",
    "prom-textparse-text",
    "telegraf",
    "vector-text",
    "victoriametrics-text",
];

fn archive() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("K2P_SHARED").map_or(root.join("../shared"), PathBuf::from);
    let file = shared.join("vectors.tgz");
    if file.exists() {
        return Some(file);
    }
    let reason = "no vectors.tgz in ../shared";
    eprintln!("SKIPPED codec_vectors: {reason}");
    // Counted by `tests/run`, as the skips of the integration tests are.
    if let Some(log) = std::env::var_os("K2P_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        writeln!(log, "codec_vectors\t{reason}").unwrap();
    }
    None
}

struct Vector {
    name: String,
    body: Vec<u8>,
    expect: Value,
}

fn vectors(file: &PathBuf) -> Vec<Vector> {
    let packed = std::fs::File::open(file).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut files = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(path, content);
    }
    let mut all = Vec::new();
    for (path, content) in &files {
        let Some(stem) = path.strip_suffix(".expect.json") else {
            continue;
        };
        let name = stem.trim_start_matches("./").trim_start_matches("vectors/");
        if !SUITES.iter().any(|s| name.starts_with(&format!("{s}/"))) {
            continue;
        }
        let expect: Value = serde_json::from_slice(content).unwrap();
        if expect["content_type"].as_str().unwrap().contains("protobuf") {
            continue;
        }
        let own =
            |p: &&String| p.starts_with(&format!("{stem}.")) && !p.ends_with(".json") && !p.ends_with(".textproto");
        let body = files.keys().find(own).unwrap();
        all.push(Vector { name: name.to_owned(), body: files[body].clone(), expect });
    }
    all
}

/// `name{labels}` with sorted labels, no empty ones, and bounds as numbers: references
/// write `le="1"` where the input has `1.0`.
fn series_key(name: &str, labels: impl Iterator<Item = (String, String)>) -> String {
    let mut all: BTreeMap<String, String> = labels.filter(|(_, v)| !v.is_empty()).collect();
    for bound in ["le", "quantile"] {
        if let Some(value) = all.get_mut(bound)
            && let Ok(number) = value.parse::<f64>()
        {
            *value = format!("{number:?}");
        }
    }
    format!("{name}{all:?}")
}

fn same_number(a: &str, b: &str) -> bool {
    let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
    a == b || a.is_nan() && b.is_nan()
}

fn key_of(sample: &Sample<'_>) -> String {
    let labels = Labels::parse(&sample.labels).unwrap();
    series_key(&sample.name, labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())))
}

/// What differs between our reading and the reference's. Of several points of one
/// series we keep the last.
fn differences(parsed: &Parsed<'_>, expect: &Value) -> Vec<String> {
    let mut ours = BTreeMap::new();
    for sample in parsed.families.iter().flat_map(|f| &f.samples) {
        let twice = ours.insert(key_of(sample), sample);
        assert!(twice.is_none(), "a series twice: {sample:?}");
    }
    let mut reference = BTreeMap::new();
    for series in expect["reference_series"].as_array().into_iter().flatten() {
        let labels = series["labels"].as_object().unwrap().iter();
        let labels = labels.map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()));
        reference.insert(series_key(series["name"].as_str().unwrap(), labels), series);
    }
    let mut wrong = Vec::new();
    // Prometheus' parser takes OpenMetrics' `_created` for a start time, not a series; and
    // the reference lists no more than 500 series, but says how many there are.
    let unknown =
        ours.iter().filter(|(key, sample)| !reference.contains_key(*key) && !sample.name.ends_with("_created"));
    if reference.len() < 500 {
        wrong.extend(unknown.map(|(key, _)| format!("not in the reference: {key}")));
    } else if Some(ours.len() as u64) != expect["oracles"]["prom_textparse_head"]["n_series"].as_u64() {
        wrong.push(format!("{} series", ours.len()));
    }
    wrong.extend(other_types(parsed, expect));
    for (key, series) in reference {
        let Some(sample) = ours.get(&key) else {
            wrong.push(format!("missing: {key}"));
            continue;
        };
        if !same_number(sample.value, series["v"].as_str().unwrap()) {
            wrong.push(format!("{key}: {} is not {}", sample.value, series["v"]));
        }
        // Beyond an i64 the reference has its smallest number.
        let ts = series["ts_ms"].as_i64();
        if sample.timestamp != ts && !(sample.timestamp == Some(i64::MAX) && ts == Some(i64::MIN)) {
            wrong.push(format!("{key}: timestamp {:?} is not {ts:?}", sample.timestamp));
        }
        if sample.exemplar.is_some() != (series["exemplars"].as_u64() > Some(0)) {
            wrong.push(format!("{key}: exemplar {:?}", sample.exemplar));
        }
    }
    wrong
}

/// The reference knows families by the name in their metadata lines, escaped as there.
fn other_types(parsed: &Parsed<'_>, expect: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, kind) in expect["reference_types"].as_object().into_iter().flatten() {
        let kind = kind.as_str().unwrap();
        let name = unescape_value(name).unwrap();
        let ours = parsed.families.iter().find(|f| {
            let declared = match f.kind {
                MetricType::Counter => f.name.strip_suffix("_total").unwrap_or(&f.name),
                MetricType::Info => f.name.strip_suffix("_info").unwrap_or(&f.name),
                _ => &f.name,
            };
            f.name == name || declared == name
        });
        let ours = ours.map(|f| format!("{:?}", f.kind).to_lowercase());
        let untyped = ours.as_deref() == Some("unknown") && matches!(kind, "untyped" | "unknown");
        if ours.as_deref() != Some(kind) && !untyped {
            wrong.push(format!("{name} is a {kind}, not {ours:?}"));
        }
    }
    wrong
}

#[test]
fn every_consensus_verdict_and_series() {
    let Some(file) = archive() else { return };
    let options = ParseOptions::default();
    let (mut wrong, mut scored, mut split) = (Vec::new(), 0, (0, 0));
    for vector in vectors(&file) {
        let format = detect(vector.expect["content_type"].as_str(), &vector.body, None).unwrap();
        let strict = parse_strict(format, &vector.body, &options);
        let head = String::from_utf8_lossy(&vector.body[..vector.body.len().min(200)]).into_owned();
        let mut fail = |what: String| wrong.push(format!("{} {what}\n    {head:?}", vector.name));
        match (vector.expect["consensus"].as_str().unwrap(), &strict) {
            ("split", Ok(_)) => split.0 += 1,
            ("split", Err(_)) => split.1 += 1,
            ("accept", Err(rejection)) => fail(format!("must be accepted: {rejection:?}")),
            ("reject", Ok(_)) => fail("must be rejected".to_owned()),
            ("accept", Ok(parsed)) => {
                scored += 1;
                for difference in differences(parsed, &vector.expect) {
                    fail(difference);
                }
                let lenient = parse(format, &vector.body, &options).unwrap();
                if lenient != *parsed {
                    fail("lenient reads it differently".to_owned());
                }
            }
            ("reject", Err(_)) => scored += 1,
            (other, _) => fail(format!("unknown consensus {other}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(scored > 280, "only {scored} vectors were scored");
    // The choices of the module's documentation: a change of one is to be deliberate.
    eprintln!("{scored} scored; split: {} accepted, {} refused", split.0, split.1);
}

#[test]
fn formats_are_told_by_their_content_type() {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(detect(Some(text), b"", None), Ok(Format::Text));
}
