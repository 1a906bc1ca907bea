//! Protobuf written is what text written is: the same series, read back by prost.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;
mod messages;
mod random_dumps;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use cache_util::{view, write};
use k2p_core::cache::CacheConfig;
use k2p_core::codec::{self, ParseOptions};
use k2p_core::exposition::{self, CHUNK_BYTES, Format, Summary};
use k2p_core::merge::{ConflictKind, Sources};
use k2p_core::model::MetricType;
use k2p_core::native::{Buckets, Native, Span};
use k2p_core::view::PartitionView;
use messages::{MetricFamily, decode, number, series, told};
use proptest::prelude::*;
use random_dumps::{dump, openmetrics_dump};

const PROTO: Format = Format::Protobuf { utf8: true };
const TEXT: Format = Format::Text100 { utf8: true };

fn protobuf(views: &[Arc<PartitionView>], format: Format) -> (Vec<MetricFamily>, Summary) {
    let (bytes, summary) = exposition::to_bytes(&Sources::collect(None, views, None), format);
    assert_eq!(bytes.len() as u64, summary.bytes);
    let families = decode(&bytes);
    assert_eq!(families.len() as u64, summary.families);
    let mut names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), families.len(), "a family twice");
    (families, summary)
}

/// What Prometheus makes of a text exposition: bounds and quantiles as numbers.
fn series_of_text(text: &str) -> Vec<messages::Series> {
    let parsed = codec::parse_strict(codec::Format::Text, text.as_bytes(), &ParseOptions::default()).unwrap();
    let mut all = Vec::new();
    for (family, sample) in parsed.families.iter().flat_map(|f| f.samples.iter().map(move |s| (f, s))) {
        let own = match family.kind {
            MetricType::Histogram if sample.name.ends_with("_bucket") => "le",
            MetricType::Summary if sample.name == family.name => "quantile",
            _ => "",
        };
        let mut labels = BTreeMap::from([("__name__".to_owned(), sample.name.to_string())]);
        for (name, value) in k2p_core::labels::Labels::parse(&sample.labels).unwrap().iter() {
            let value = if name == own { number(value.parse().unwrap()) } else { value.to_owned() };
            if !value.is_empty() {
                labels.insert(name.to_owned(), value);
            }
        }
        all.push((labels, number(sample.value.parse().unwrap()), sample.timestamp));
    }
    all.sort();
    all
}

/// Bounds of families without a type stay text on both sides.
fn with_numbers(mut all: Vec<messages::Series>) -> Vec<messages::Series> {
    for (labels, _, _) in &mut all {
        for own in ["le", "quantile"] {
            if let Some(value) = labels.get_mut(own)
                && let Ok(bound) = value.parse()
            {
                *value = number(bound);
            }
        }
    }
    all.sort();
    all
}

fn is_created(series: &messages::Series) -> bool {
    series.0["__name__"].ends_with("_created")
}

#[test]
fn families() {
    for (dump, expected) in [
        ("# HELP a One \\\\ \\n two\n# TYPE a counter\na{x=\"1\"} 2\n", "a counter help=One \\ \n two\n {o=1,x=1} 2\n"),
        ("# TYPE a counter\na -1\n", "a counter\n {o=1} -1\n"),
        ("# TYPE a gauge\na NaN 5\n", "a gauge\n {o=1} NaN @5\n"),
        ("a +Inf\n", "a untyped\n {o=1} +Inf\n"),
        ("a{x=\"\",y=\"\\\"\\\\\\n\"} 1\n", "a untyped\n {o=1,y=\"\\\n} 1\n"),
        ("{\"a.b\",\"x.y\"=\"1\"} 1\n", "a.b untyped\n {o=1,x.y=1} 1\n"),
        (
            "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
            "h histogram\n {o=1} 2/3 0.5:1 +Inf:2\n",
        ),
        // Two label sets; what readers disagree on is kept as it is.
        (
            "# TYPE h histogram\nh_bucket{le=\"+Inf\",x=\"1\"} 7\nh_sum{x=\"1\"} -1\nh_count{x=\"1\"} 2\n\
             h_count{x=\"2\"} 1e3\nh_sum{x=\"2\"} NaN\nh_bucket{x=\"2\",le=\"+Inf\"} 4\n",
            "h histogram\n {o=1,x=1} 2/-1 +Inf:7\n {o=1,x=2} 1000/NaN +Inf:4\n",
        ),
        (
            "# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns{quantile=\"0.9\"} 2\ns_sum 1\ns_count 2\n",
            "s summary\n {o=1} 2/1 0.5:NaN 0.9:2\n",
        ),
        ("# TYPE s summary\ns_sum 1\ns_count 2\n", "s summary\n {o=1} 2/1\n"),
        // Without complete structure there is no type.
        (
            "# HELP h One\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 3\nh_count 2\n",
            "h_bucket untyped help=One\n {le=1,o=1} 1\nh_count untyped help=One\n {o=1} 2\nh_sum untyped help=One\n {o=1} 3\n",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n",
            "h_bucket untyped\n {le=+Inf,o=1} 1\nh_count untyped\n {o=1} 1\n",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1.5\nh_sum 1\nh_count 1.5\n",
            "h_bucket untyped\n {le=+Inf,o=1} 1.5\nh_count untyped\n {o=1} 1.5\nh_sum untyped\n {o=1} 1\n",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
            "h_bucket untyped\n {le=+Inf,o=1} 1\n {le=1,o=1} 1\n {le=1.0,o=1} 1\nh_count untyped\n {o=1} 1\nh_sum untyped\n {o=1} 1\n",
        ),
        (
            "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 2\n",
            "s untyped\n {o=1,quantile=0.5} 1\ns_count untyped\n {o=1} 2\n",
        ),
        (
            "# TYPE s summary\ns{quantile=\"0.5\"} 1 7\ns_sum 1 7\ns_count 2 8\n",
            "s untyped\n {o=1,quantile=0.5} 1 @7\ns_count untyped\n {o=1} 2 @8\ns_sum untyped\n {o=1} 1 @7\n",
        ),
        // OpenMetrics' own.
        (
            "# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1 # {t=\"} \"} 0.5 1600000000.123\na_seconds_created 5.25\n# EOF\n",
            "a_seconds_total counter unit=seconds\n {o=1} 1 created=5.25 #{t=} } 0.5 @1600000000.123\n",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {t=\"1\"} 0.5\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 1\nh_created 5\n# EOF\n",
            "h histogram\n {o=1} 2/1 1:1#{t=1} 0.5 +Inf:2 created=5\n",
        ),
        ("# TYPE s summary\ns_count 2\ns_sum 1\ns_created 7\n# EOF\n", "s summary\n {o=1} 2/1 created=7\n"),
        ("# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n", "i_info gauge\n {o=1,v=1} 1\n"),
        ("# TYPE a stateset\na{a=\"x\"} 1\na{a=\"y\"} 0\n# EOF\n", "a gauge\n {a=x,o=1} 1\n {a=y,o=1} 0\n"),
        (
            "# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 2\ng_gcount 2\ng_gsum 3\n# EOF\n",
            "g_bucket gauge\n {le=+Inf,o=1} 2\ng_gcount gauge\n {o=1} 2\ng_gsum gauge\n {o=1} 3\n",
        ),
        // A creation time without its counter.
        (
            "# TYPE a counter\na_total{x=\"1\"} 1\na_created{x=\"2\"} 5\n# EOF\n",
            "a_created untyped\n {o=1,x=2} 5\na_total untyped\n {o=1,x=1} 1\n",
        ),
    ] {
        let (families, summary) = protobuf(&[view(CacheConfig::default(), &[("o=\"1\"", dump)])], PROTO);
        assert_eq!(told(&families), expected, "{dump}");
        assert!(summary.conflicts.is_empty(), "{dump}");
    }
}

#[test]
fn names_are_escaped_for_who_does_not_take_them() {
    let dump = "# TYPE \"a.b\" counter\n{\"a.b\",\"x.y\"=\"1\",x_y=\"2\"} 1\n{\"a.b\",\"x.y\"=\"1\"} 2\n";
    let (families, summary) =
        protobuf(&[view(CacheConfig::default(), &[("o=\"1\"", dump)])], Format::Protobuf { utf8: false });
    assert_eq!(told(&families), "a_b counter\n {o=1,x_y=1} 2\n");
    assert_eq!(summary.conflicts.count(ConflictKind::Series), 1);
    assert_eq!(summary.samples, 1);
}

/// What is counted while a family's type is tried does not count once more without it.
#[test]
fn a_type_that_cannot_be_kept_counts_nothing_twice() {
    let half = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 3\nh_count 2\n";
    let view = view(CacheConfig::default(), &[("o=\"1\"", half), ("o=\"1\",p=\"\"", half)]);
    let (families, summary) = protobuf(std::slice::from_ref(&view), PROTO);
    let (_, as_text) = write(&[view], TEXT);
    assert_eq!(families.len(), 3);
    assert_eq!((summary.samples, &summary.conflicts), (3, &as_text.conflicts));
}

#[test]
fn real_dumps_are_the_same_series() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/dumps");
    let mut dumps = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let key = format!("instance=\"{}\"", path.file_name().unwrap().to_string_lossy());
        dumps.push((key, std::fs::read_to_string(&path).unwrap()));
    }
    assert!(dumps.len() >= 8);
    let origins: Vec<(&str, &str)> = dumps.iter().map(|(k, d)| (k.as_str(), d.as_str())).collect();
    let view = view(CacheConfig::default(), &origins);
    let (text, as_text) = write(std::slice::from_ref(&view), TEXT);
    let (families, summary) = protobuf(&[view], PROTO);
    assert!(series(&families) == series_of_text(&text));
    assert_eq!((summary.families, summary.samples), (as_text.families, as_text.samples));
    let kinds = |kind| families.iter().filter(|f| f.kind() == kind).count();
    for kind in ["counter", "gauge", "histogram", "summary"] {
        assert!(kinds(kind) > 3, "{kind}");
    }
}

/// Scrapes of real programs in protobuf (`$K2P_SHARED/dumps`), through text and back.
#[test]
fn real_protobuf_scrapes_come_back() {
    let Some(shared) = std::env::var_os("K2P_SHARED") else { return };
    for program in ["node", "prometheus", "alertmanager", "pushgateway"] {
        let path = std::path::Path::new(&shared).join(format!("dumps/{program}.pb"));
        let scraped = decode(&std::fs::read(path).unwrap());
        let text = messages::to_text(&scraped);
        let (families, _) = protobuf(&[view(CacheConfig::default(), &[("", &text)])], PROTO);
        assert!(series(&families) == series(&scraped), "{program}");
        let kinds = |all: &[MetricFamily]| -> BTreeMap<String, &'static str> {
            all.iter().map(|f| (f.name().to_owned(), f.kind())).collect()
        };
        assert_eq!(kinds(&families), kinds(&scraped), "{program}");
    }
}

#[test]
fn large_families_go_out_in_pieces_and_a_reader_may_leave() {
    let body: String = (0..20_000).map(|i| format!("m{{n=\"{i:060}\"}} {i}\n")).collect();
    let view = view(CacheConfig::default(), &[("i=\"a\"", &body)]);
    let sources = Sources::collect(None, std::slice::from_ref(&view), None);
    let mut sizes = Vec::new();
    let summary = exposition::write(&sources, PROTO, &mut |chunk| {
        sizes.push(chunk.len());
        ControlFlow::Continue(())
    });
    assert!(sizes.len() > 10 && sizes.iter().all(|s| *s < CHUNK_BYTES + 300), "{sizes:?}");
    assert_eq!((sizes.iter().sum::<usize>() as u64, summary.samples), (summary.bytes, 20_000));
    let (families, _) = protobuf(&[view], PROTO);
    assert_eq!(families[0].metric.len(), 20_000);
    let mut chunks = 0;
    let summary = exposition::write(&sources, PROTO, &mut |_| {
        chunks += 1;
        ControlFlow::Break(())
    });
    assert!(summary.stopped && chunks == 1);
}

/// A native form rides on the count; text does not show it.
#[test]
fn native_histograms() {
    let native = Native {
        schema: -3,
        zero_threshold: 1e-128,
        zero_count: 2,
        negative: Buckets { spans: vec![Span { offset: -300, length: 1 }], deltas: vec![1], counts: vec![] },
        positive: Buckets {
            spans: vec![Span { offset: 0, length: 2 }, Span { offset: 5, length: 1 }],
            deltas: vec![3, -2, 300],
            counts: vec![],
        },
        ..Native::default()
    };
    let floats = Native {
        zero_count_float: 0.5,
        positive: Buckets { spans: vec![Span { offset: 1, length: 1 }], deltas: vec![], counts: vec![0.25] },
        ..Native::default()
    };
    let classic = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let alone = "h_bucket{le=\"+Inf\"} 0.75\nh_sum 3\nh_count 0.75\n";
    for (lines, native, expected) in [
        (classic, native, "h histogram\n {} 2/3 1:1 +Inf:2 schema=-3 zero=1e-128:2 -300+1 0+2,5+1 [1] [3, -2, 300]\n"),
        (alone, floats, "h histogram\n {} 0.75/3 schema=0 zero=0:0.5  1+1 [] [] [] [0.25]\n"),
    ] {
        let text = format!("# TYPE h histogram\n{lines}");
        let mut parsed = codec::parse(codec::Format::Text, text.as_bytes(), &ParseOptions::default()).unwrap();
        let ride = native.to_text();
        parsed.families[0].samples.last_mut().unwrap().exemplar = Some(&ride);
        let none = k2p_core::labels::Labels::default();
        let dump = Arc::new(k2p_core::store::StoredDump::build(&parsed, &none, false, &none));
        let sources = Sources::collect(Some(dump), &[], None);
        let (bytes, summary) = exposition::to_bytes(&sources, PROTO);
        assert_eq!(told(&decode(&bytes)), expected);
        assert_eq!(summary.samples as usize, lines.lines().count());
        assert_eq!(exposition::to_bytes(&sources, TEXT).0, text.as_bytes());
        let (openmetrics, _) = exposition::to_bytes(&sources, Format::OpenMetrics100 { utf8: true });
        assert!(!String::from_utf8(openmetrics).unwrap().contains("schema"));
    }
}

proptest! {
    #![proptest_config(cache_util::cases(4))]

    /// Any origins: what text shows, protobuf shows, but for creation times, which are fields.
    #[test]
    fn the_same_series_as_text(
        one in dump(),
        two in dump(),
        three in openmetrics_dump(),
        wide in any::<bool>(),
        utf8 in any::<bool>(),
        honor in any::<bool>(),
    ) {
        let keys = ["i=\"1\"", if wide { "i=\"1\",j=\"1\"" } else { "i=\"2\"" }, "i=\"1\",m=\"4\""];
        let config = CacheConfig { honor_labels: honor, ..CacheConfig::default() };
        let origins: Vec<(&str, &str)> = keys.into_iter().zip([one.as_str(), two.as_str(), three]).collect();
        let view = view(config, &origins);
        let (text, _) = write(std::slice::from_ref(&view), Format::Text100 { utf8 });
        let (families, summary) = protobuf(&[view], Format::Protobuf { utf8 });
        let lost = summary.conflicts.count(ConflictKind::Series);
        let mut written = with_numbers(series(&families));
        let mut expected = with_numbers(series_of_text(&text));
        written.retain(|s| !is_created(s));
        expected.retain(|s| !is_created(s));
        // Where two origins have a histogram's or a counter's label set in common, a set
        // that has a creation time is one unit here and two there.
        if lost == 0 {
            prop_assert_eq!(written, expected);
        } else {
            prop_assert!(written.iter().all(|s| expected.contains(s)), "{:?}\n{:?}", written, expected);
        }
    }
}
