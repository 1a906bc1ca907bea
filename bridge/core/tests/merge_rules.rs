//! The rules of merging, as tables: origins in, exposition out.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;

use cache_util::{view, write};
use k2p_core::cache::CacheConfig;
use k2p_core::codec::{self, ParseOptions};
use k2p_core::exposition::Format;
use k2p_core::labels::Labels;
use k2p_core::merge::ConflictKind;

const TEXT: Format = Format::Text004;
const TEXT_UTF8: Format = Format::Text100 { utf8: true };
const OM: Format = Format::OpenMetrics100 { utf8: false };
const OM_UTF8: Format = Format::OpenMetrics100 { utf8: true };

fn honoring(fixed: &str) -> CacheConfig {
    CacheConfig { honor_labels: true, fixed: Labels::parse(fixed).unwrap(), ..CacheConfig::default() }
}

/// Checks the exposition, that our own strict parser takes it, and the conflicts as
/// `type help name series`.
fn check(config: CacheConfig, origins: &[(&str, &str)], format: Format, expected: &str, conflicts: [u64; 4]) {
    let (text, summary) = write(&[view(config, origins)], format);
    assert_eq!(text, expected, "\n--- is\n{text}--- expected\n{expected}");
    let counts = ConflictKind::ALL.map(|kind| summary.conflicts.count(kind));
    assert_eq!(counts, conflicts, "{:?}", summary.conflicts.first());
    assert_eq!(summary.bytes, text.len() as u64);
    let read_as = match format.is_openmetrics() {
        true => codec::Format::OpenMetrics,
        false => codec::Format::Text,
    };
    let read = codec::parse_strict(read_as, text.as_bytes(), &ParseOptions::default());
    assert_eq!(read.unwrap().series() as u64, summary.samples);
}

fn plain(origins: &[(&str, &str)], format: Format, expected: &str, conflicts: [u64; 4]) {
    check(CacheConfig::default(), origins, format, expected, conflicts);
}

const A: &str = r#"i="a""#;
const B: &str = r#"i="b""#;

#[test]
fn families_are_grouped_and_labels_injected_first() {
    let a = "# HELP z Last \\\\ one\\n.\n# TYPE z gauge\nz 1\n# HELP m Mid\n# TYPE m counter\nm{x=\"1\"} 2 1500\n";
    let b = "# HELP m Mid\n# TYPE m counter\nm{x=\"1\"} 3\nm 4\n";
    let expected = "# HELP m Mid\n# TYPE m counter\nm{i=\"a\",x=\"1\"} 2 1500\nm{i=\"b\",x=\"1\"} 3\nm{i=\"b\"} 4\n# HELP z Last \\\\ one\\n.\n# TYPE z gauge\nz{i=\"a\"} 1\n";
    plain(&[(B, b), (A, a)], TEXT, expected, [0; 4]);
    let expected = "# HELP m Mid\n# TYPE m unknown\nm{i=\"a\",x=\"1\"} 2 1.5\nm{i=\"b\",x=\"1\"} 3\nm{i=\"b\"} 4\n# HELP z Last \\\\ one\\n.\n# TYPE z gauge\nz{i=\"a\"} 1\n# EOF\n";
    plain(&[(B, b), (A, a)], OM, expected, [0; 4]);
}

#[test]
fn nothing_is_an_exposition_too() {
    plain(&[], TEXT, "", [0; 4]);
    plain(&[], OM, "# EOF\n", [0; 4]);
}

#[test]
fn colliding_labels() {
    let cases = [
        ("m{i=\"x\"} 1\n", "m{i=\"a\",exported_i=\"x\"} 1\n"),
        ("m{i=\"\",j=\"2\"} 1\n", "m{i=\"a\",j=\"2\"} 1\n"),
        ("m{i=\"x\",exported_i=\"y\"} 1\n", "m{i=\"a\",exported_exported_i=\"x\",exported_i=\"y\"} 1\n"),
        ("m{i=\"x\",exported_i=\"\"} 1\n", "m{i=\"a\",exported_i=\"x\"} 1\n"),
        ("m{i=\"x\"} 1\nm{exported_i=\"x\"} 2\n", "m{i=\"a\",exported_i=\"x\"} 1\n"),
    ];
    for (body, line) in cases {
        let expected = format!("# TYPE m untyped\n{line}");
        plain(&[(A, body)], TEXT, &expected, [0; 4]);
    }
    let both = r#"exported_i="k",i="a""#;
    plain(
        &[(both, "m{i=\"x\",exported_i=\"y\"} 1\n")],
        TEXT,
        "# TYPE m untyped\nm{exported_i=\"k\",i=\"a\",exported_exported_i=\"x\",exported_exported_exported_i=\"y\"} 1\n",
        [0; 4],
    );
}

#[test]
fn honored_labels() {
    for (fixed, body, line) in [
        ("", "m{i=\"x\"} 1\n", "m{i=\"x\"} 1\n"),
        ("", "m{i=\"\"} 1\n", "m{i=\"\"} 1\n"),
        ("", "m 1\n", "m{i=\"a\"} 1\n"),
        ("", "m{i=\"a\"} 1\nm 2\n", "m{i=\"a\"} 1\n"),
        ("t=\"1\"", "m{t=\"9\",i=\"x\"} 1\n", "m{t=\"1\",exported_t=\"9\",i=\"x\"} 1\n"),
        ("i=\"f\"", "m{i=\"x\"} 1\n", "m{i=\"f\",exported_i=\"x\"} 1\n"),
    ] {
        let expected = format!("# TYPE m untyped\n{line}");
        check(honoring(fixed), &[(A, body)], TEXT, &expected, [0; 4]);
    }
}

const HISTOGRAM: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";

#[test]
fn types_that_disagree() {
    let counter = "# TYPE m_total counter\nm_total 1\n";
    let gauge = "# TYPE m_total gauge\nm_total 2\n";
    let lines = "m_total{i=\"a\"} 1\nm_total{i=\"b\"} 2\n";
    plain(&[(A, counter), (B, gauge)], TEXT, &format!("# TYPE m_total untyped\n{lines}"), [1, 0, 0, 0]);
    plain(&[(A, counter), (B, gauge)], OM, &format!("# TYPE m_total unknown\n{lines}# EOF\n"), [1, 0, 0, 0]);
    // An untyped one disagrees as well; the buckets cannot stay under `h`.
    let expected = "# TYPE h untyped\nh{i=\"b\"} 9\n# TYPE h_bucket untyped\nh_bucket{i=\"a\",le=\"1\"} 1\nh_bucket{i=\"a\",le=\"+Inf\"} 2\n# TYPE h_count untyped\nh_count{i=\"a\"} 2\n# TYPE h_sum untyped\nh_sum{i=\"a\"} 3\n";
    plain(&[(A, HISTOGRAM), (B, "h 9\n")], TEXT, expected, [1, 0, 0, 0]);
    let expected = format!("{}# EOF\n", expected.replace("untyped", "unknown"));
    plain(&[(A, HISTOGRAM), (B, "h 9\n")], OM, &expected, [1, 0, 0, 0]);
}

#[test]
fn help_that_disagrees() {
    let one = "# HELP m One\n# TYPE m gauge\nm 1\n";
    let two = "# HELP m Two\n# TYPE m gauge\nm 2\n";
    let none = "# TYPE m gauge\nm 3\n";
    let c = r#"i="c""#;
    let expected = "# HELP m One\n# TYPE m gauge\nm{i=\"a\"} 1\nm{i=\"b\"} 2\nm{i=\"c\"} 3\n";
    plain(&[(B, two), (A, one), (c, none)], TEXT, expected, [0, 1, 0, 0]);
    let expected = "# HELP m One\n# TYPE m gauge\nm{i=\"a\"} 3\nm{i=\"b\"} 1\n";
    plain(&[(A, none), (B, one)], TEXT, expected, [0; 4]);
}

#[test]
fn names_that_clash() {
    let counter = "# TYPE h_count counter\nh_count 7\n";
    let expected = "# TYPE h_bucket untyped\nh_bucket{i=\"a\",le=\"1\"} 1\nh_bucket{i=\"a\",le=\"+Inf\"} 2\n# TYPE h_count untyped\nh_count{i=\"a\"} 2\nh_count{i=\"b\"} 7\n# TYPE h_sum untyped\nh_sum{i=\"a\"} 3\n";
    plain(&[(A, HISTOGRAM), (B, counter)], TEXT, expected, [0, 0, 1, 0]);
    let expected = format!("{}# EOF\n", expected.replace("untyped", "unknown"));
    plain(&[(A, HISTOGRAM), (B, counter)], OM, &expected, [0, 0, 1, 0]);
    // Only OpenMetrics: counter m_total is called m there.
    let counter = "# TYPE m_total counter\nm_total 1\n";
    let gauge = "# TYPE m gauge\nm 2\n";
    plain(
        &[(A, counter), (B, gauge)],
        TEXT,
        "# TYPE m gauge\nm{i=\"b\"} 2\n# TYPE m_total counter\nm_total{i=\"a\"} 1\n",
        [0; 4],
    );
    plain(
        &[(A, counter), (B, gauge)],
        OM,
        "# TYPE m gauge\nm{i=\"b\"} 2\n# TYPE m_total unknown\nm_total{i=\"a\"} 1\n# EOF\n",
        [0; 4],
    );
}

#[test]
fn series_that_two_origins_have() {
    let wide = r#"i="a",j="b""#;
    let body = "# TYPE m gauge\nm{j=\"b\"} 1\nm{j=\"c\"} 2\n";
    let other = "# TYPE m gauge\nm 3\n";
    let expected = "# TYPE m gauge\nm{i=\"a\",j=\"b\"} 1\nm{i=\"a\",j=\"c\"} 2\n";
    plain(&[(A, body), (wide, other)], TEXT, expected, [0, 0, 0, 1]);
    // Of a histogram the first one's label set, whole.
    let second = HISTOGRAM.replace("le=\"1\"", "le=\"2\"");
    let first = HISTOGRAM
        .replace("h_bucket{", "h_bucket{j=\"b\",")
        .replace("h_sum", "h_sum{j=\"b\"}")
        .replace("h_count", "h_count{j=\"b\"}");
    let expected = "# TYPE h histogram\nh_bucket{i=\"a\",j=\"b\",le=\"1\"} 1\nh_bucket{i=\"a\",j=\"b\",le=\"+Inf\"} 2\nh_sum{i=\"a\",j=\"b\"} 3\nh_count{i=\"a\",j=\"b\"} 2\n";
    plain(&[(A, &first), (wide, &second)], TEXT, expected, [0, 0, 0, 4]);
    // Honored labels make the same series out of different origins.
    let group = "m{i=\"x\"} 1\n";
    check(
        honoring(""),
        &[(A, group), (B, "m{i=\"x\"} 2\nm 3\n")],
        TEXT,
        "# TYPE m untyped\nm{i=\"x\"} 1\nm{i=\"b\"} 3\n",
        [0, 0, 0, 1],
    );
}

#[test]
fn one_origin_in_two_topics_is_shown_once() {
    let one = view(CacheConfig::default(), &[(A, "m 1\n")]);
    let two = view(CacheConfig::default(), &[(A, "m 2\nn 3\n")]);
    let (text, summary) = write(&[one, two], TEXT);
    assert_eq!(text, "# TYPE m untyped\nm{i=\"a\"} 1\n# TYPE n untyped\nn{i=\"a\"} 3\n");
    assert_eq!(summary.conflicts.count(ConflictKind::Series), 1);
}

const ALL_TYPES: &str = "# HELP c Counts\n# TYPE c counter\nc_total 5 # {t=\"x\"} 1 1.5\nc_created 10\n\
# TYPE g_seconds gauge\n# UNIT g_seconds seconds\ng_seconds 1 2.5\n\
# TYPE gh gaugehistogram\ngh_bucket{le=\"+Inf\"} 2 # {t=\"y\"} 1\ngh_gcount 2\ngh_gsum 3\n\
# TYPE i info\ni_info{v=\"1\"} 1\n\
# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n\
# TYPE u unknown\nu 1\n# EOF\n";

#[test]
fn openmetrics_types_in_both_formats() {
    let key = r#"k="1""#;
    let expected = "# HELP c Counts\n# TYPE c counter\nc_total{k=\"1\"} 5 # {t=\"x\"} 1 1.5\nc_created{k=\"1\"} 10\n\
# TYPE g_seconds gauge\n# UNIT g_seconds seconds\ng_seconds{k=\"1\"} 1 2.5\n\
# TYPE gh gaugehistogram\ngh_bucket{k=\"1\",le=\"+Inf\"} 2 # {t=\"y\"} 1\ngh_gcount{k=\"1\"} 2\ngh_gsum{k=\"1\"} 3\n\
# TYPE i info\ni_info{k=\"1\",v=\"1\"} 1\n\
# TYPE s stateset\ns{k=\"1\",s=\"on\"} 1\ns{k=\"1\",s=\"off\"} 0\n\
# TYPE u unknown\nu{k=\"1\"} 1\n# EOF\n";
    plain(&[(key, ALL_TYPES)], OM, expected, [0; 4]);
    let expected = "# HELP c_created Counts\n# TYPE c_created gauge\nc_created{k=\"1\"} 10\n\
# HELP c_total Counts\n# TYPE c_total counter\nc_total{k=\"1\"} 5\n\
# TYPE g_seconds gauge\ng_seconds{k=\"1\"} 1 2500\n\
# TYPE gh_bucket gauge\ngh_bucket{k=\"1\",le=\"+Inf\"} 2\n\
# TYPE gh_gcount gauge\ngh_gcount{k=\"1\"} 2\n\
# TYPE gh_gsum gauge\ngh_gsum{k=\"1\"} 3\n\
# TYPE i_info gauge\ni_info{k=\"1\",v=\"1\"} 1\n\
# TYPE s gauge\ns{k=\"1\",s=\"on\"} 1\ns{k=\"1\",s=\"off\"} 0\n\
# TYPE u untyped\nu{k=\"1\"} 1\n";
    plain(&[(key, ALL_TYPES)], TEXT, expected, [0; 4]);
}

#[test]
fn what_openmetrics_cannot_say_is_unknown_there() {
    for (body, expected) in [
        ("# TYPE m counter\nm 1\n", "# TYPE m unknown\nm{i=\"a\"} 1\n"),
        ("# TYPE m_total counter\nm_total NaN\n", "# TYPE m_total unknown\nm_total{i=\"a\"} NaN\n"),
        ("# TYPE _total counter\n_total 1\n", "# TYPE _total unknown\n_total{i=\"a\"} 1\n"),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
            "# TYPE h_bucket unknown\nh_bucket{i=\"a\",le=\"1\"} 1\n# TYPE h_count unknown\nh_count{i=\"a\"} 1\n# TYPE h_sum unknown\nh_sum{i=\"a\"} 1\n",
        ),
        (
            "# TYPE s summary\ns{quantile=\"0.5\"} -1\ns_sum 1\ns_count 1\n",
            "# TYPE s unknown\ns{i=\"a\",quantile=\"0.5\"} -1\n# TYPE s_count unknown\ns_count{i=\"a\"} 1\n# TYPE s_sum unknown\ns_sum{i=\"a\"} 1\n",
        ),
    ] {
        plain(&[(A, body)], OM, &format!("{expected}# EOF\n"), [0; 4]);
    }
}

/// What client_python writes in text for its `_created` samples: a gauge of its own.
#[test]
fn created_gauges_find_home() {
    let text = "# HELP c_total C\n# TYPE c_total counter\nc_total{x=\"1\"} 1\nc_total{x=\"2\"} 2\n# HELP c_created C\n# TYPE c_created gauge\nc_created{x=\"2\"} 1.7e+09\nc_created{x=\"1\"} 1.6e+09\n";
    let om = "# HELP c C\n# TYPE c counter\nc_total{i=\"a\",x=\"1\"} 1\nc_created{i=\"a\",x=\"1\"} 1.6e+09\nc_total{i=\"a\",x=\"2\"} 2\nc_created{i=\"a\",x=\"2\"} 1.7e+09\n# EOF\n";
    plain(&[(A, text)], OM, om, [0; 4]);
    let again = "# HELP c_created C\n# TYPE c_created gauge\nc_created{i=\"a\",x=\"1\"} 1.6e+09\nc_created{i=\"a\",x=\"2\"} 1.7e+09\n# HELP c_total C\n# TYPE c_total counter\nc_total{i=\"a\",x=\"1\"} 1\nc_total{i=\"a\",x=\"2\"} 2\n";
    plain(&[(A, text)], TEXT, again, [0; 4]);
    // One that does not fit stays apart: in OpenMetrics the names clash.
    let alone = "# TYPE c_total counter\nc_total 1\n# TYPE c_created gauge\nc_created{y=\"3\"} 4\n";
    plain(
        &[(A, alone)],
        OM,
        "# TYPE c_created gauge\nc_created{i=\"a\",y=\"3\"} 4\n# TYPE c_total unknown\nc_total{i=\"a\"} 1\n# EOF\n",
        [0; 4],
    );
    // `c_created` is no sample of a histogram `c_total`, whose own would be `c_total_created`.
    let other = "# TYPE c_created gauge\nc_created{i=\"a\"} 4\n# TYPE c_total histogram\nc_total_bucket{i=\"a\",le=\"+Inf\"} 0\nc_total_sum{i=\"a\"} 0\nc_total_count{i=\"a\"} 0\n";
    plain(&[("", other)], TEXT, other, [0; 4]);
    // Nor is it one of a counter that is called `c`; a histogram `c` has it.
    let counter = "# TYPE c counter\nc{i=\"a\"} 1\n# TYPE c_created gauge\nc_created{i=\"a\"} 4\n";
    plain(&[("", counter)], TEXT, counter, [0; 4]);
    let histogram = "# TYPE c histogram\nc_bucket{i=\"a\",le=\"+Inf\"} 0\nc_sum{i=\"a\"} 0\nc_count{i=\"a\"} 0\n# TYPE c_created gauge\nc_created{i=\"a\"} 4\n";
    let home = "# TYPE c histogram\nc_bucket{i=\"a\",le=\"+Inf\"} 0\nc_sum{i=\"a\"} 0\nc_count{i=\"a\"} 0\nc_created{i=\"a\"} 4\n# EOF\n";
    plain(&[("", histogram)], OM, home, [0; 4]);
}

#[test]
fn names_beyond_the_legacy_grammar() {
    let body = "# HELP \"a.b\" Dots\n# TYPE \"a.b\" gauge\n{\"a.b\",\"x.y\"=\"1\"} 1\n";
    plain(
        &[(A, body)],
        TEXT_UTF8,
        "# HELP \"a.b\" Dots\n# TYPE \"a.b\" gauge\n{\"a.b\",i=\"a\",\"x.y\"=\"1\"} 1\n",
        [0; 4],
    );
    plain(&[(A, body)], TEXT, "# HELP a_b Dots\n# TYPE a_b gauge\na_b{i=\"a\",x_y=\"1\"} 1\n", [0; 4]);
    plain(
        &[(A, body)],
        OM_UTF8,
        "# HELP \"a.b\" Dots\n# TYPE \"a.b\" gauge\n{\"a.b\",i=\"a\",\"x.y\"=\"1\"} 1\n# EOF\n",
        [0; 4],
    );
    plain(&[(A, body)], OM, "# HELP a_b Dots\n# TYPE a_b gauge\na_b{i=\"a\",x_y=\"1\"} 1\n# EOF\n", [0; 4]);
    // Names that become one: the first series of each stays.
    let twins = "{\"a.b\"} 1\n{\"a-b\"} 2\n{\"a-b\",c=\"1\"} 3\n";
    plain(&[(A, twins)], TEXT, "# TYPE a_b untyped\na_b{i=\"a\"} 2\na_b{i=\"a\",c=\"1\"} 3\n", [0, 0, 1, 1]);
    let labels = "m{\"a.b\"=\"1\",a_b=\"2\"} 1\nm{\"a.b\"=\"3\"} 2\nm{\"a-b\"=\"3\"} 3\n";
    plain(&[(A, labels)], TEXT, "# TYPE m untyped\nm{i=\"a\",a_b=\"3\"} 2\n", [0, 0, 0, 2]);
    plain(&[(r#""o.k"="1""#, "m 1\n")], TEXT, "# TYPE m untyped\nm{o_k=\"1\"} 1\n", [0; 4]);
}

#[test]
fn stamped_samples() {
    let config = CacheConfig { stamp: true, ..CacheConfig::default() };
    check(
        config.clone(),
        &[(A, "m 1\nn 2 5\n")],
        TEXT,
        "# TYPE m untyped\nm{i=\"a\"} 1 1700000000000\n# TYPE n untyped\nn{i=\"a\"} 2 5\n",
        [0; 4],
    );
    check(
        config,
        &[(A, "m 1\nn 2 5\n")],
        OM,
        "# TYPE m unknown\nm{i=\"a\"} 1 1700000000\n# TYPE n unknown\nn{i=\"a\"} 2 0.005\n# EOF\n",
        [0; 4],
    );
}

#[test]
fn units() {
    let of = |name: &str, unit: &str| format!("# TYPE {name} gauge\n# UNIT {name} {unit}\n{name} 1\n# EOF\n");
    let seconds = of("m_seconds", "seconds");
    plain(
        &[(A, &seconds), (B, "# TYPE m_seconds gauge\nm_seconds 2\n")],
        OM,
        "# TYPE m_seconds gauge\n# UNIT m_seconds seconds\nm_seconds{i=\"a\"} 1\nm_seconds{i=\"b\"} 2\n# EOF\n",
        [0; 4],
    );
}
