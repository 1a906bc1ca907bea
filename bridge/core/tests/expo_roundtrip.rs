//! What is written is what was read: real dumps, and random ones.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;
mod random_dumps;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use cache_util::{view, write};
use k2p_core::cache::CacheConfig;
use k2p_core::codec::{self, ParseOptions};
use k2p_core::exposition::{self, CHUNK_BYTES, Format};
use k2p_core::labels::Labels;
use k2p_core::matcher::Matcher;
use k2p_core::merge::{ConflictKind, Sources};
use k2p_core::model::{Family, Parsed};
use k2p_core::store::StoredDump;
use proptest::prelude::*;
use random_dumps::{dump, openmetrics_dump};

const TEXT: Format = Format::Text100 { utf8: true };
const OM: Format = Format::OpenMetrics100 { utf8: true };

fn strict(format: Format, text: &str) -> Parsed<'_> {
    let read_as = match format.is_openmetrics() {
        true => codec::Format::OpenMetrics,
        false => codec::Format::Text,
    };
    codec::parse_strict(read_as, text.as_bytes(), &ParseOptions::default()).unwrap_or_else(|e| {
        panic!("line {}: {}: {}\n{text}", e.line, e.detail, text.lines().nth(e.line as usize - 1).unwrap_or(""))
    })
}

/// A series as a set of labels with `__name__`, its value and timestamp.
type Series = (BTreeMap<String, String>, String, Option<i64>);

fn series(parsed: &Parsed<'_>, origin: &str) -> Vec<Series> {
    let origin = Labels::parse(origin).unwrap();
    let mut all = Vec::new();
    for sample in parsed.families.iter().flat_map(|f| &f.samples) {
        let body = Labels::parse(&sample.labels).unwrap();
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in origin.iter() {
            labels.insert(name.to_owned(), value.to_owned());
        }
        for (name, value) in body.iter() {
            let mut name = name.to_owned();
            while labels.contains_key(&name)
                || (name.starts_with("exported_")
                    && origin.get(&name[9..]).is_some()
                    && body.get(&name[9..]).is_some()
                    && body.get(&name).is_some_and(|v| v != value))
            {
                name.insert_str(0, "exported_");
            }
            labels.insert(name, value.to_owned());
        }
        labels.insert("__name__".to_owned(), sample.name.to_string());
        all.push((labels, sample.value.to_owned(), sample.timestamp));
    }
    all.sort();
    all
}

fn dumps() -> Vec<(String, String)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/dumps");
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 8);
    all
}

#[test]
fn real_dumps_merge_into_valid_expositions() {
    let dumps = dumps();
    let keys: Vec<String> = dumps.iter().map(|(name, _)| format!("cluster=\"acme\",instance=\"{name}\"")).collect();
    let origins: Vec<(&str, &str)> = keys.iter().zip(&dumps).map(|(k, (_, t))| (k.as_str(), t.as_str())).collect();
    let view = view(CacheConfig::default(), &origins);
    let mut expected = Vec::new();
    for (key, text) in &origins {
        let parsed = codec::parse(codec::Format::Text, text.as_bytes(), &ParseOptions::default()).unwrap();
        expected.extend(series(&parsed, key));
    }
    expected.sort();
    for format in [Format::Text004, TEXT, OM, Format::OpenMetrics001] {
        let (text, summary) = write(std::slice::from_ref(&view), format);
        let parsed = strict(format, &text);
        assert!(series(&parsed, "") == expected, "{format:?}: another set of samples");
        assert_eq!(summary.samples as usize, expected.len());
        assert_eq!(summary.conflicts.count(ConflictKind::Series), 0);
        let names: BTreeSet<_> = parsed.families.iter().map(|f| &f.name).collect();
        assert_eq!(names.len(), parsed.families.len());
    }
    // Types survive: node_exporter's counters are counters in OpenMetrics.
    let (text, _) = write(&[view], OM);
    assert!(text.contains("# TYPE node_cpu_seconds counter\n"));
    assert!(text.contains("# TYPE prometheus_http_request_duration_seconds histogram\n"));
}

#[test]
fn chunks_are_bounded_and_a_reader_may_leave() {
    let body: String = (0..5000).map(|i| format!("m{{n=\"{i:060}\"}} {i}\n")).collect();
    let view = view(CacheConfig::default(), &[("i=\"a\"", &body)]);
    let sources = Sources::collect(None, &[view], None);
    let mut sizes = Vec::new();
    let summary = exposition::write(&sources, TEXT, &mut |chunk| {
        sizes.push(chunk.len());
        ControlFlow::Continue(())
    });
    assert!(sizes.len() > 3 && !summary.stopped);
    assert_eq!(sizes.iter().sum::<usize>() as u64, summary.bytes);
    assert!(sizes.iter().all(|s| *s < CHUNK_BYTES + 200), "{sizes:?}");
    let mut chunks = 0;
    let summary = exposition::write(&sources, TEXT, &mut |_| {
        chunks += 1;
        ControlFlow::Break(())
    });
    assert!(summary.stopped);
    assert_eq!((chunks, summary.bytes as usize), (1, sizes[0]));
}

#[test]
fn own_metrics_stand_beside_the_origins_and_filters_select() {
    let own =
        codec::parse(codec::Format::Text, b"# TYPE kafka2prom_x gauge\nkafka2prom_x 1\n", &ParseOptions::default())
            .unwrap();
    let own = Arc::new(StoredDump::build(&own, &Labels::default(), false, &Labels::default()));
    let view = view(
        CacheConfig::default(),
        &[
            ("i=\"a\"", "# TYPE kafka2prom_x gauge\nkafka2prom_x 2\n"),
            ("", "# TYPE kafka2prom_x gauge\nkafka2prom_x 3\n"),
        ],
    );
    let views = [view];
    let (text, summary) = exposition::to_bytes(&Sources::collect(Some(own), &views, None), TEXT);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "# TYPE kafka2prom_x gauge\nkafka2prom_x 1\nkafka2prom_x{i=\"a\"} 2\n"
    );
    assert_eq!(summary.conflicts.count(ConflictKind::Series), 1);
    let only = Matcher::parse("{i=~\"[a-c]\"}").unwrap();
    let sources = Sources::collect(None, &views, Some(&only));
    assert_eq!((sources.len(), sources.series()), (1, 1));
    let one = Sources::one(&views[0].origins["i=\"a\""]);
    let (text, _) = exposition::to_bytes(&one, TEXT);
    assert_eq!(String::from_utf8(text).unwrap(), "# TYPE kafka2prom_x gauge\nkafka2prom_x{i=\"a\"} 2\n");
}

fn sorted<'a>(parsed: &Parsed<'a>) -> Vec<Family<'a>> {
    let mut families = parsed.families.clone();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    families
}

proptest! {
    #![proptest_config(cache_util::cases(4))]

    /// Text written is text read, family by family, sample by sample.
    #[test]
    fn text_round_trip(dump in dump()) {
        let parsed = strict(TEXT, &dump);
        let (text, summary) = write(&[view(CacheConfig::default(), &[("", &dump)])], TEXT);
        prop_assert_eq!(sorted(&strict(TEXT, &text)), sorted(&parsed));
        prop_assert!(summary.conflicts.is_empty());
    }

    /// OpenMetrics written again from OpenMetrics read is the same text.
    #[test]
    fn openmetrics_round_trip(dump in dump()) {
        let (first, summary) = write(&[view(CacheConfig::default(), &[("", &dump)])], OM);
        let parsed = strict(OM, &first);
        let before = strict(TEXT, &dump);
        prop_assert_eq!(series(&parsed, ""), series(&before, ""));
        prop_assert_eq!(summary.conflicts.count(ConflictKind::Series), 0);
        let (second, _) = write(&[view(CacheConfig::default(), &[("", &first)])], OM);
        prop_assert_eq!(first, second);
    }

    /// Any origins, any format: valid, and every series of the input exactly once.
    #[test]
    fn merged_expositions(
        one in dump(),
        two in dump(),
        three in dump(),
        four in openmetrics_dump(),
        wide in any::<bool>(),
        dotted in any::<bool>(),
        honor in any::<bool>(),
    ) {
        let keys = [
            "i=\"1\"",
            if wide { "i=\"1\",j=\"1\"" } else { "i=\"2\"" },
            if dotted { "\"x.y\"=\"3\"" } else { "k=\"3\"" },
            "i=\"1\",m=\"4\"",
        ];
        let texts = [one.as_str(), two.as_str(), three.as_str(), four];
        let config = CacheConfig { honor_labels: honor, ..CacheConfig::default() };
        let origins: Vec<(&str, &str)> = keys.into_iter().zip(texts).collect();
        let view = view(config, &origins);
        for format in [Format::Text004, TEXT, OM, Format::OpenMetrics001] {
            let (text, summary) = write(std::slice::from_ref(&view), format);
            let parsed = strict(format, &text);
            let written = series(&parsed, "");
            prop_assert_eq!(written.len() as u64, summary.samples);
            let lost = summary.conflicts.count(ConflictKind::Series);
            prop_assert_eq!(summary.samples + lost, view.series);
            let identities: BTreeSet<_> = written.iter().map(|s| &s.0).collect();
            prop_assert_eq!(identities.len(), written.len());
            if format.utf8() && !honor && lost == 0 {
                let mut expected = Vec::new();
                for (key, text) in &origins {
                    let read_as = if text.ends_with("# EOF\n") { OM } else { TEXT };
                    expected.extend(series(&strict(read_as, text), key));
                }
                let expected: BTreeSet<Series> = expected.into_iter().collect();
                prop_assert!(written.iter().all(|s| expected.contains(s)), "{:?}\n{:?}", written, expected);
            }
        }
    }
}
