//! One line, one verdict: what each format takes, and how it comes out.
//!
//! A case is read leniently and strictly; in text both must agree, line by line.
#![allow(clippy::unwrap_used, reason = "tests")]

use k2p_core::codec::{DumpError, Format, FormatError, ParseOptions, detect, parse, parse_counted, parse_strict};
use k2p_core::compress::Encoding;
use k2p_core::decode::normalized;
use k2p_core::model::{MetricType, Parsed, SampleReason};

fn options() -> ParseOptions {
    ParseOptions::default()
}

fn text(body: &str) -> Parsed<'_> {
    parse(Format::Text, body.as_bytes(), &options()).unwrap()
}

/// `line` among good lines comes out as `expected`, and is accepted strictly.
fn accepts(line: &str, expected: &str) {
    let body = format!("before 1\n{line}\nafter 2\n");
    let parsed = text(&body);
    let expected = format!("before 1\n{expected}\nafter 2\n");
    assert_eq!(normalized(&parsed), expected, "{line:?} {:?}", parsed.rejections);
    assert_eq!(parsed.rejected, [], "{line:?}");
    let strict = parse_strict(Format::Text, body.as_bytes(), &options());
    assert_eq!(strict.unwrap(), parsed, "{line:?}");
}

/// `line` costs itself, for `reason`, at `column`; strictly it costs all.
fn rejects(line: &str, reason: SampleReason, column: u32) {
    let body = format!("before 1\n{line}\nafter 2\n");
    let parsed = text(&body);
    assert_eq!(normalized(&parsed), "before 1\nafter 2\n", "{line:?}");
    let [rejection] = parsed.rejections.as_slice() else {
        panic!("{line:?}: {:?}", parsed.rejections);
    };
    let place = (rejection.line, rejection.reason, rejection.column);
    assert_eq!(place, (2, reason, column), "{line:?}: {}", rejection.detail);
    assert_eq!(parsed.rejected, [(reason, 1)]);
    let strict = parse_strict(Format::Text, body.as_bytes(), &options());
    assert_eq!(strict.unwrap_err(), *rejection, "{line:?}");
}

#[test]
fn text_samples_that_count() {
    for (line, expected) in [
        ("a 1", "a 1"),
        ("  a 1", "a 1"),
        ("\ta\t1\t", "a 1"),
        ("a   1   2  ", "a 1 2"),
        ("a 1 -2", "a 1 -2"),
        ("a 1 +2", "a 1 2"),
        ("a:b_C9 1", "a:b_C9 1"),
        ("_ 1", "_ 1"),
        (": 1", ": 1"),
        ("a{} 1", "a 1"),
        ("a{ } 1", "a 1"),
        ("a {b=\"c\"} 1", "a{b=\"c\"} 1"),
        ("a{b=\"c\"}1", "a{b=\"c\"} 1"),
        ("a{b=\"c\",} 1", "a{b=\"c\"} 1"),
        ("a{b=\"c\" , } 1", "a{b=\"c\"} 1"),
        ("a{ b = \"c\" , d = \"e\" } 1", "a{b=\"c\",d=\"e\"} 1"),
        ("a{b=\"c\", d=\"e\"} 1", "a{b=\"c\",d=\"e\"} 1"),
        ("a{d=\"e\",b=\"c\"} 1", "a{d=\"e\",b=\"c\"} 1"),
        ("a{b=\"\"} 1", "a{b=\"\"} 1"),
        ("a{b=\"x}y{,=# \"} 1", "a{b=\"x}y{,=# \"} 1"),
        ("a{b=\"\\\\ \\\" \\n\"} 1", "a{b=\"\\\\ \\\" \\n\"} 1"),
        ("a{b=\"c:\\dir\\x\"} 1", "a{b=\"c:\\\\dir\\\\x\"} 1"),
        ("a{b=\"\\ä\"} 1", "a{b=\"\\\\ä\"} 1"),
        ("a{b=\"ü 温度\"} 1", "a{b=\"ü 温度\"} 1"),
        ("a{b=\"\0\"} 1", "a{b=\"\0\"} 1"),
        ("a{b=\"\ttab\"} 1", "a{b=\"\ttab\"} 1"),
        ("a{\"b\"=\"c\"} 1", "a{b=\"c\"} 1"),
        ("a{\"b.c\"=\"d\"} 1", "a{\"b.c\"=\"d\"} 1"),
        ("a{\"b\\\"c\"=\"d\"} 1", "a{\"b\\\"c\"=\"d\"} 1"),
        ("a{\"b\\qc\"=\"d\"} 1", "a{\"b\\\\qc\"=\"d\"} 1"),
        ("a{\"b:c\"=\"d\"} 1", "a{\"b:c\"=\"d\"} 1"),
        ("{\"a\"} 1", "a 1"),
        ("{\"a\",b=\"c\"} 1", "a{b=\"c\"} 1"),
        ("{b=\"c\",\"a\"} 1", "a{b=\"c\"} 1"),
        ("{\"a.b\"} 1", "{\"a.b\"} 1"),
        ("{\"a.b\", c=\"d\"} 1 5", "{\"a.b\",c=\"d\"} 1 5"),
        ("{\"a\\\"b\\n\\\\\"} 1", "{\"a\\\"b\\n\\\\\"} 1"),
        ("{\"温度{房间\"} 1", "{\"温度{房间\"} 1"),
        ("{\"0a\"} 1", "{\"0a\"} 1"),
        ("a inf", "a +Inf"),
        ("a -INF", "a -Inf"),
        ("a Infinity", "a +Inf"),
        ("a nan", "a NaN"),
        ("a +1", "a +1"),
        ("a 1.", "a 1."),
        ("a .5", "a .5"),
        ("a 1E-05", "a 1E-05"),
        ("a 0.30000000000000004", "a 0.30000000000000004"),
        ("a_bucket 1", "a_bucket 1"),
        ("a{quantile=\"x\"} 1", "a{quantile=\"x\"} 1"),
    ] {
        accepts(line, expected);
    }
}

#[test]
fn text_lines_that_are_no_samples() {
    for line in [
        "",
        " ",
        "\t \t",
        "#",
        "# ",
        "#comment",
        "  # indented",
        "# a comment",
        "#HELP x y",
        "# HELP",
        "# HELP ",
        "# TYPE",
        "# TYPEx counter",
        "# UNIT x seconds",
        "# EOF",
        "# help x y",
        "# HELP x",
        "# HELP x ",
        "# HELP x some text \\\\ \\n \\q",
        "# TYPE x counter",
        "#\tTYPE\tx\tgauge",
        "#   TYPE   x   gauge  ",
        "# TYPE x untyped",
        "# TYPE x gauge_histogram",
        "# TYPE \"x.y\" summary",
        "# HELP \"x.y\" text",
    ] {
        let body = format!("a 1\n{line}\nb 2\n");
        let parsed = text(&body);
        assert_eq!(normalized(&parsed), "a 1\nb 2\n", "{line:?}");
        assert_eq!(parsed.rejected, [], "{line:?}");
        assert!(parse_strict(Format::Text, body.as_bytes(), &options()).is_ok());
    }
}

#[test]
fn text_lines_that_cost_themselves() {
    use SampleReason::{DuplicateLabel, Metadata, Name, Structure, Syntax, Timestamp, Value};
    for (line, reason, column) in [
        ("a", Value, 2),
        ("a ", Value, 3),
        ("a b", Value, 3),
        ("a 1_2", Value, 3),
        ("a 0x1p-3", Value, 3),
        ("a 1e400", Value, 3),
        ("a 1\r", Value, 3),
        ("a 1,5", Value, 3),
        ("a true", Value, 3),
        ("a{b=\"c\"}", Value, 9),
        ("a 1 2.5", Timestamp, 5),
        ("a 1 x", Timestamp, 5),
        ("a 1 99999999999999999999", Timestamp, 5),
        ("a 1 2 3", Syntax, 7),
        ("a 1 # {x=\"y\"} 1", Syntax, 5),
        ("a 1 2 # {x=\"y\"} 1", Syntax, 7),
        ("0a 1", Name, 1),
        ("-a 1", Name, 1),
        ("a-b 1", Name, 2),
        ("a.b 1", Name, 2),
        ("ä 1", Name, 1),
        ("\u{feff}a 1", Name, 1),
        ("\"a\" 1", Name, 1),
        ("1", Name, 1),
        ("{} 1", Name, 1),
        ("{a=\"b\"} 1", Name, 1),
        ("{\"a\"=\"b\"} 1", Name, 1),
        ("{\"\"} 1", Name, 2),
        ("{\"a\0\"} 1", Name, 2),
        ("a{\"b\0\"=\"c\"} 1", Name, 3),
        ("{\"a\",\"b\"} 1", Name, 6),
        ("a{\"b\"} 1", Name, 2),
        ("a{__name__=\"b\"} 1", Name, 3),
        ("a{\"__name__\"=\"b\"} 1", Name, 3),
        ("a{\"\"=\"b\"} 1", Name, 3),
        ("a{1=\"b\"} 1", Name, 3),
        ("a{b:c=\"d\"} 1", Syntax, 4),
        ("a{ä=\"b\"} 1", Name, 3),
        ("a{b-c=\"d\"} 1", Syntax, 4),
        ("a{=\"b\"} 1", Syntax, 3),
        ("a{b} 1", Syntax, 4),
        ("a{b=} 1", Syntax, 5),
        ("a{b=c} 1", Syntax, 5),
        ("a{b='c'} 1", Syntax, 5),
        ("a{b=\"c} 1", Syntax, 5),
        ("a{b=\"c\\\"} 1", Syntax, 5),
        ("a{b=\"c\" d=\"e\"} 1", Syntax, 9),
        ("a{b=\"c\"d=\"e\"} 1", Syntax, 8),
        ("a{,b=\"c\"} 1", Syntax, 3),
        ("a{b=\"c\",,} 1", Syntax, 9),
        ("a{b=\"c\"", Syntax, 8),
        ("a{b=\"c\",", Syntax, 9),
        ("a{", Syntax, 3),
        ("a{b", Syntax, 4),
        ("a{b=", Syntax, 5),
        ("a{b=\"", Syntax, 5),
        ("a{b=\"c\"b=\"d\"} 1", Syntax, 8),
        ("a{b=\"c\",b=\"d\"} 1", DuplicateLabel, 3),
        ("a{b=\"c\",\"b\"=\"d\"} 1", DuplicateLabel, 3),
        ("a{b=\"\",b=\"d\"} 1", DuplicateLabel, 3),
        ("{\"x\",b=\"c\",b=\"d\"} 1", DuplicateLabel, 2),
        ("# TYPE x", Metadata, 9),
        ("# TYPE x ", Metadata, 10),
        ("# TYPE x meh", Metadata, 10),
        ("# TYPE x Counter", Metadata, 10),
        ("# TYPE x counter 2", Metadata, 10),
        ("# TYPE x-y counter", Metadata, 9),
        ("# TYPE 0x counter", Metadata, 8),
        ("# HELP \"x", Metadata, 8),
        ("# HELP \"\" x", Metadata, 8),
        ("# TYPE before gauge", Metadata, 0),
        ("<html>", Name, 1),
        ("lines\", executor_id=\"driver\"} 0", Name, 6),
        ("{\"json\":1}", Syntax, 8),
    ] {
        rejects(line, reason, column);
    }
    let family = "# TYPE h histogram\n";
    for (line, reason) in [
        ("h 1", Structure),
        ("h_bucket 1", Structure),
        ("h_bucket{x=\"y\"} 1", Structure),
        ("h_bucket{le=\"\"} 1", Structure),
        ("h_bucket{le=\"x\"} 1", Structure),
        ("h_bucket{le=\"NaN\"} 1", Structure),
    ] {
        let body = format!("{family}h_sum 1\n{line}\n");
        let parsed = text(&body);
        assert_eq!(parsed.rejected, [(reason, 1)], "{line:?}");
        assert_eq!(parsed.series(), 1, "{line:?}");
    }
}

#[test]
fn bytes_that_are_no_utf8_cost_their_line() {
    let body = b"a 1\nb{x=\"\xff\"} 2\n# HELP c \xe4\nd{x=\"\xc3\xa4\"} 4";
    let parsed = parse(Format::Text, body, &options()).unwrap();
    assert_eq!(normalized(&parsed), "a 1\nd{x=\"ä\"} 4\n");
    assert_eq!(parsed.rejected, [(SampleReason::Utf8, 2)]);
    assert_eq!((parsed.rejections[0].line, parsed.rejections[0].column), (2, 6));
    assert!(parsed.rejections[0].detail.contains("b{x=\"\\xff\"} 2"));
    assert!(parse_strict(Format::Text, body, &options()).is_err());
}

#[test]
fn the_same_series_twice() {
    use SampleReason::DuplicateSeries as Twice;
    for (body, kept, rejected) in [
        ("a 1\na 2\n", "a 1\n", 1),
        ("a{b=\"c\"} 1\na{b=\"c\"} 1\na{b=\"c\"} 1\n", "a{b=\"c\"} 1\n", 2),
        ("a{b=\"c\",d=\"e\"} 1\na{d=\"e\",b=\"c\"} 2\n", "a{b=\"c\",d=\"e\"} 1\n", 1),
        ("a{b=\"c\"} 1\na{\"b\"=\"c\"} 2\n", "a{b=\"c\"} 1\n", 1),
        ("a{b=\"\"} 1\na 2\n", "a{b=\"\"} 1\n", 1),
        ("a 1\na{b=\"\",c=\"\"} 2\n", "a 1\n", 1),
        ("a{b=\"\\x\"} 1\na{b=\"\\\\x\"} 2\n", "a{b=\"\\\\x\"} 1\n", 1),
        ("a 1\n{\"a\"} 2\n", "a 1\n", 1),
        ("a 1 5\na 2 5\n", "a 1 5\n", 1),
        ("a 1 5\na 2 6\n", "a 2 6\n", 0),
        ("a 1 6\na 2 5\n", "a 2 5\n", 0),
        ("a 1\na 2 5\n", "a 2 5\n", 0),
        ("a{b=\"c\"} 1\na{c=\"b\"} 2\n", "a{b=\"c\"} 1\na{c=\"b\"} 2\n", 0),
        ("a{b=\"c\"} 1\na{b=\"cd\"} 2\n", "a{b=\"c\"} 1\na{b=\"cd\"} 2\n", 0),
        ("a{b=\"c\",d=\"e\"} 1\na{b=\"e\",d=\"c\"} 2\n", "a{b=\"c\",d=\"e\"} 1\na{b=\"e\",d=\"c\"} 2\n", 0),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 2\n",
            "h_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 2\n",
            0,
        ),
    ] {
        let parsed = text(body);
        assert_eq!(normalized(&parsed), kept, "{body}");
        let expected = if rejected > 0 { vec![(Twice, rejected)] } else { vec![] };
        assert_eq!(parsed.rejected, expected, "{body}");
    }
}

/// `name kind samples` of each family.
fn families(parsed: &Parsed<'_>) -> Vec<String> {
    let all = parsed.families.iter();
    all.map(|f| format!("{} {:?} {}", f.name, f.kind, f.samples.len())).collect()
}

#[test]
fn text_families() {
    for (body, expected) in [
        ("a 1\nb 2\na{x=\"y\"} 3\n", vec!["a Unknown 2", "b Unknown 1"]),
        ("# TYPE a counter\n", vec!["a Counter 0"]),
        ("# HELP a b\n", vec!["a Unknown 0"]),
        ("# TYPE a_total counter\na_total 1\na_created 2\n", vec!["a_total Counter 1", "a_created Unknown 1"]),
        (
            "# TYPE a summary\na_sum 1\na_count 1\na{quantile=\"0.5\"} 1\na_bucket 1\n",
            vec!["a Summary 3", "a_bucket Unknown 1"],
        ),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n", vec!["a Histogram 3"]),
        ("# TYPE a gauge\na_sum 1\n", vec!["a Gauge 0", "a_sum Unknown 1"]),
        ("# TYPE a summary\n# TYPE a_sum gauge\na_sum 1\n", vec!["a Summary 0", "a_sum Gauge 1"]),
        ("# TYPE a gaugehistogram\na_bucket{le=\"1\"} 1\na_gsum 1\na_gcount 1\n", vec!["a GaugeHistogram 3"]),
        ("# TYPE a gauge\nb 1\n# TYPE c gauge\na 1\n", vec!["a Gauge 1", "b Unknown 1", "c Gauge 0"]),
        ("# TYPE \"a.b\" gauge\n{\"a.b\"} 1\n", vec!["a.b Gauge 1"]),
        ("# TYPE \"a\" gauge\na 1\n", vec!["a Gauge 1"]),
        ("# TYPE \"a.b\" histogram\n{\"a.b_bucket\",le=\"1\"} 1\n", vec!["a.b Histogram 1"]),
    ] {
        let parsed = text(body);
        assert_eq!(families(&parsed), expected, "{body}");
        assert_eq!(parsed.rejected, [], "{body}");
    }
}

#[test]
fn text_metadata() {
    for (body, kept, rejected) in [
        ("# TYPE a counter\n# TYPE a counter\na 1\n", MetricType::Counter, 0),
        ("# TYPE a counter\n# TYPE a gauge\na 1\n", MetricType::Counter, 1),
        ("# TYPE a untyped\n# TYPE a gauge\na 1\n", MetricType::Unknown, 1),
        ("a 1\n# TYPE a gauge\n", MetricType::Unknown, 1),
        ("# TYPE a gauge\na 1\n# TYPE a gauge\n", MetricType::Gauge, 0),
        ("# HELP a x\n# HELP a x\na 1\n", MetricType::Unknown, 0),
        ("# HELP a x\n# HELP a y\na 1\n", MetricType::Unknown, 1),
        ("a 1\n# HELP a y\n", MetricType::Unknown, 0),
    ] {
        let parsed = text(body);
        assert_eq!(parsed.families[0].kind, kept, "{body}");
        assert_eq!(parsed.rejected_total(), rejected, "{body}");
        let strict = parse_strict(Format::Text, body.as_bytes(), &options());
        assert_eq!(strict.is_ok(), rejected == 0, "{body}");
    }
    for (line, help) in [
        ("# HELP a plain", "plain"),
        ("# HELP a", ""),
        ("# HELP a   spaced  out ", "spaced  out "),
        (r"# HELP a back\\slash \n newline \q other \", "back\\slash \n newline \\q other \\"),
        (r#"# HELP a "quoted" \" "#, "\"quoted\" \\\" "),
        (r"# HELP a \\n", "\\n"),
    ] {
        assert_eq!(text(line).families[0].help.as_deref(), Some(help), "{line}");
    }
}

/// Lenient and strict verdict of an OpenMetrics body (without its EOF).
fn openmetrics(body: &str) -> (Vec<(SampleReason, u64)>, Result<(), SampleReason>) {
    let body = format!("{body}# EOF\n");
    let lenient = parse(Format::OpenMetrics, body.as_bytes(), &options());
    let lenient = lenient.map(|p| p.rejected).unwrap_or_else(|_| vec![(SampleReason::Syntax, 99)]);
    let strict = parse_strict(Format::OpenMetrics, body.as_bytes(), &options());
    (lenient, strict.map(|_| ()).map_err(|r| r.reason))
}

#[test]
fn openmetrics_that_both_accept() {
    for body in [
        "",
        "a 1\n",
        "a{} 1\n",
        "a{b=\"c\"} 1 2.5\n",
        "a 1 1e3\n",
        "a 1 -1.5\n",
        "{\"a.b\",c=\"d\"} 1\n",
        "# TYPE a counter\na_total 1\n",
        "# TYPE a counter\na_total 1\na_created 2\n",
        "# TYPE a counter\na_total 1 # {} 1\n",
        "# TYPE a counter\na_total 1 5 # {b=\"c\"} 1 5.5\n",
        "# TYPE a counter\na_total 1 # {b=\"} # {\\\"\"} 1\n",
        "# TYPE a_s gauge\n# UNIT a_s s\n# HELP a_s x\na_s 1\n",
        "# TYPE a_s counter\n# UNIT a_s s\na_s_total 1\n",
        "# HELP a \n# UNIT a \n",
        "# TYPE a unknown\na 1\n",
        "# TYPE a info\na_info{b=\"c\"} 1\n",
        "# TYPE a stateset\na{a=\"x\"} 0\na{a=\"y\"} 1\n",
        "# TYPE \"a.b\" stateset\n{\"a.b\",\"a.b\"=\"x\"} 0\n",
        "# TYPE a summary\na_sum 1\na_count 1\n",
        "# TYPE a summary\na{quantile=\"0\"} NaN\na{quantile=\"1\"} 1\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 0\na_bucket{le=\"+Inf\"} 0\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 3 # {x=\"y\"} 1\na_count 3\na_sum 2\n",
        "# TYPE a gaugehistogram\na_bucket{le=\"-1\"} 0\na_bucket{le=\"+Inf\"} 2\na_gcount 2\na_gsum -2\n",
        "# TYPE a gauge\na 1 1\na 2 2\n",
        "# TYPE a gauge\na 1 0.00001\na 2 0.00002\n",
        "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\n",
        "# TYPE a histogram\na_bucket{x=\"1\",le=\"+Inf\"} 0\na_bucket{x=\"2\",le=\"+Inf\"} 0\n",
    ] {
        assert_eq!(openmetrics(body), (vec![], Ok(())), "{body}");
    }
}

#[test]
fn openmetrics_that_costs_a_line_or_all() {
    use SampleReason::{DuplicateSeries, Exemplar, Metadata, Name, Structure, Syntax, Timestamp, Value};
    let long = "x".repeat(128);
    for (line, reason) in [
        (" a 1", Name),
        ("a  1", Value),
        ("a\t1", Name),
        ("a 1 ", Timestamp),
        ("a 1  2", Timestamp),
        ("a 1 2 ", Syntax),
        ("a{b=\"c\"}1", Syntax),
        ("a {b=\"c\"} 1", Value),
        ("a{ b=\"c\"} 1", Name),
        ("a{b=\"c\", d=\"e\"} 1", Name),
        ("a 1 2 3", Syntax),
        ("a x", Value),
        ("a 1 NaN", Timestamp),
        ("a 1 +Inf", Timestamp),
        ("a 1 0x1", Timestamp),
        ("a 1 #", Timestamp),
        ("a 1 # x", Syntax),
        ("#a", Syntax),
        ("# a", Syntax),
        ("# FOO a b", Syntax),
        ("#EOF", Syntax),
        ("# EOF ", Syntax),
        ("# HELP", Syntax),
        ("# HELP ", Metadata),
        ("# HELP a", Metadata),
        ("# TYPE a", Metadata),
        ("# TYPE a untyped", Metadata),
        ("# TYPE a gauge ", Metadata),
        ("# TYPE  a gauge", Metadata),
        ("# UNIT a s", Metadata),
        ("# UNIT as s", Metadata),
        ("a{b=\"c\"} {count:1}", Value),
        ("c_total 1 # {b=\"c\"}", Exemplar),
        ("c_total 1 # {b=\"c\"} x", Exemplar),
        ("c_total 1 # {b=\"c\"} 1 NaN", Exemplar),
        ("c_total 1 # {b=\"c\"} 1 1 ", Exemplar),
        ("c_total 1 # {b=\"c\"} 1 1 1", Exemplar),
        ("c_total 1 # {b} 1", Exemplar),
        ("c_total 1 # {\"b\"} 1", Exemplar),
        ("c_total 1 # {b=\"c\",} 1", Exemplar),
        ("c_total 1 # {b=\"c\",b=\"d\"} 1", Exemplar),
        (&format!("c_total 1 # {{b=\"{long}\"}} 1"), Exemplar),
    ] {
        let body = format!("# TYPE c counter\n{line}\n");
        let (lenient, strict) = openmetrics(&body);
        assert_eq!(lenient, [(reason, 1)], "{line}");
        assert_eq!(strict, Err(reason), "{line}");
    }
    let (lenient, strict) = openmetrics("a 1\na 2\n");
    assert_eq!((lenient, strict), (vec![(DuplicateSeries, 1)], Err(DuplicateSeries)));
    for body in
        ["# TYPE h histogram\nh_bucket 1\n", "# TYPE h histogram\nh 1\n", "# TYPE s summary\ns{quantile=\"x\"} 1\n"]
    {
        assert_eq!(openmetrics(body), (vec![(Structure, 1)], Err(Structure)), "{body}");
    }
}

#[test]
fn openmetrics_that_only_strict_refuses() {
    use SampleReason::{Metadata, Structure, Syntax};
    for (body, reason) in [
        ("\na 1\n", Structure),
        ("a{b=\"c\",} 1\n", Syntax),
        ("# TYPE a gauge\n# TYPE a gauge\n", Metadata),
        ("# HELP a x\n# HELP a x\n", Metadata),
        ("# TYPE a counter\na_total -1\n", Structure),
        ("# TYPE a counter\na_total NaN\n", Structure),
        ("# TYPE a counter\na 1\n", Structure),
        ("# TYPE a counter\nb 1\na_total 1\n", Structure),
        ("# TYPE a gauge\n# TYPE b gauge\na 1\n", Structure),
        ("# TYPE a_created gauge\n# TYPE a counter\n", Structure),
        ("# TYPE a summary\n# TYPE a_sum gauge\n", Structure),
        ("# TYPE a_u info\n# UNIT a_u u\n", Structure),
        ("# TYPE a info\na_info 2\n", Structure),
        ("# TYPE a stateset\na{a=\"x\"} 2\n", Structure),
        ("# TYPE a stateset\na 1\n", Structure),
        ("# TYPE a summary\na 1\n", Structure),
        ("# TYPE a summary\na{quantile=\"1.1\"} 1\n", Structure),
        ("# TYPE a summary\na{quantile=\"0.5\"} -1\n", Structure),
        ("# TYPE a summary\na_count 0.5\n", Structure),
        ("# TYPE a summary\na_sum -1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\n", Structure),
        ("# TYPE a histogram\na_sum 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1.5\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"Inf\"} 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\na_sum 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n", Structure),
        ("# TYPE a histogram\na_bucket{le=\"-1\"} 1\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n", Structure),
        ("# TYPE a gaugehistogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_gcount 1\na_gsum -1\n", Structure),
        ("# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\na{x=\"1\"} 1\n", Structure),
        ("# TYPE a gauge\na 1 2\na 1 1\n", Structure),
        ("# TYPE a gauge\na 1\na 1 1\n", Structure),
    ] {
        let (lenient, strict) = openmetrics(body);
        assert_eq!(strict, Err(reason), "{body}");
        let twice = lenient.iter().all(|(r, _)| *r == SampleReason::DuplicateSeries);
        assert!(twice, "{body}: {lenient:?}");
    }
}

#[test]
fn openmetrics_names_are_those_of_text() {
    for (body, expected) in [
        ("# HELP a x\n# TYPE a counter\na_total 1\na_created 2\n", vec!["a_total Counter 2"]),
        ("# TYPE a_total counter\na_total 1\n", vec!["a_total Counter 1"]),
        ("# TYPE a info\na_info 1\n", vec!["a_info Info 1"]),
        ("# TYPE a counter\na 1\n", vec!["a_total Counter 0", "a Unknown 1"]),
        ("a_total 1\n", vec!["a_total Unknown 1"]),
        ("# TYPE a summary\na{quantile=\"1\"} 1\na_sum 1\na_count 1\na_created 1\n", vec!["a Summary 4"]),
        (
            "# TYPE a gaugehistogram\na_bucket{le=\"+Inf\"} 1\na_gsum 1\na_count 1\n",
            vec!["a GaugeHistogram 2", "a_count Unknown 1"],
        ),
        ("# TYPE \"a.b\" counter\n{\"a.b_total\"} 1\n", vec!["a.b_total Counter 1"]),
    ] {
        let body = format!("{body}# EOF\n");
        let parsed = parse(Format::OpenMetrics, body.as_bytes(), &options()).unwrap();
        assert_eq!(families(&parsed), expected, "{body}");
        assert_eq!(parsed.rejected, [], "{body}");
    }
    for body in [
        "a_total 1\n# TYPE a counter\n# EOF\n",
        "# TYPE a counter\n# TYPE a_total gauge\n# EOF\n",
        "# TYPE a_total gauge\n# TYPE a counter\n# EOF\n",
        "# TYPE a_total gauge\n# HELP a x\n# TYPE a counter\n# EOF\n",
    ] {
        let parsed = parse(Format::OpenMetrics, body.as_bytes(), &options()).unwrap();
        assert_eq!(parsed.rejected, [(SampleReason::Metadata, 1)], "{body}");
        let mut names: Vec<_> = parsed.families.iter().map(|f| &f.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), parsed.families.len(), "{body}");
    }
}

#[test]
fn openmetrics_samples_come_out_whole() {
    let body = "# TYPE a counter\n# UNIT a \na_total{b=\"\\x\"} 1 1.5 # {t=\"u\"} 0.5 2\ng 2 # {t=\"u\"} 1\n# EOF\n";
    let parsed = parse(Format::OpenMetrics, body.as_bytes(), &options()).unwrap();
    let sample = &parsed.families[0].samples[0];
    assert_eq!(sample.labels, "b=\"\\\\x\"");
    assert_eq!(sample.timestamp, Some(1500));
    assert_eq!(sample.exemplar, Some("{t=\"u\"} 0.5 2"));
    // Where no exemplar may stand it is left out, and counted; the sample stays.
    let sample = &parsed.families[1].samples[0];
    assert_eq!((sample.value, sample.exemplar), ("2", None));
    assert_eq!(parsed.rejected, [(SampleReason::Exemplar, 1)]);
    assert_eq!(parsed.rejections[0].column, 7);
}

#[test]
fn openmetrics_ends_with_eof() {
    for body in ["", "a 1\n", "a 1\n# EO", "a 1\n#EOF\n", "\n", "a 1\n# EOF x\n"] {
        let lenient = parse(Format::OpenMetrics, body.as_bytes(), &options());
        assert_eq!(lenient.unwrap_err(), DumpError::Truncated, "{body:?}");
        assert!(parse_strict(Format::OpenMetrics, body.as_bytes(), &options()).is_err());
    }
    for (body, rejected) in [("# EOF", 0), ("a 1\n# EOF", 0), ("# EOF\n\n", 0), ("a 1\n# EOF\nb 2\n", 1)] {
        let lenient = parse(Format::OpenMetrics, body.as_bytes(), &options()).unwrap();
        assert_eq!(lenient.rejected_total(), rejected, "{body:?}");
        let strict = parse_strict(Format::OpenMetrics, body.as_bytes(), &options());
        assert_eq!(strict.is_ok(), !body.contains("EOF\n\n") && rejected == 0, "{body:?}");
    }
}

#[test]
fn what_is_no_dump_is_refused() {
    for body in [
        "<html><body>503 Service Unavailable</body></html>\n",
        "{\"level\":\"info\",\"msg\":\"hello\"}\n{\"level\":\"warn\"}\n",
        "hello world\n",
        "# a comment\nnot\nan\nexposition\n",
    ] {
        let outcome = parse(Format::Text, body.as_bytes(), &options());
        assert!(matches!(outcome, Err(DumpError::NotADump { .. })), "{body}");
    }
    let binary: Vec<u8> = (0..=255u8).cycle().take(2000).collect();
    assert!(matches!(parse(Format::Text, &binary, &options()), Err(DumpError::NotADump { .. })));
    for body in ["", "\n", "# only a comment\n", "# TYPE a counter\nbad line here\n"] {
        assert!(parse(Format::Text, body.as_bytes(), &options()).is_ok(), "{body}");
    }
}

#[test]
fn limits_refuse_the_whole() {
    let limits = ParseOptions { max_label_name: 4, max_label_value: 6, max_series: 2 };
    for (body, expected) in [
        ("a 1\nb 2\n", "ok"),
        ("a 1\nb 2\nb 3\n", "ok"),
        ("a 1\nb 2\nc 3\n", "line 3: more than 2 series"),
        ("a{long=\"sixsix\"} 1\n", "ok"),
        ("a{long=\"\\n\\n\\n\\n\\n\\n\"} 1\n", "ok"),
        ("a{long=\"sevense\"} 1\n", "line 1: a label value of 7 bytes"),
        ("a{longs=\"a\"} 1\n", "line 1: a label name of 5 bytes"),
        ("a{\"lo.g\"=\"a\"} 1\n", "ok"),
        ("a{\"lo.gs\"=\"a\"} 1\n", "line 1: a label name of 5 bytes"),
        ("sixsix 1\n", "ok"),
        ("sevense 1\n", "line 1: a metric name of 7 bytes"),
        ("# HELP sevense x\n", "line 1: a metric name of 7 bytes"),
    ] {
        let said = match parse(Format::Text, body.as_bytes(), &limits) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(said.starts_with(expected), "{body}: {said}");
        let strict = parse_strict(Format::Text, body.as_bytes(), &limits);
        assert_eq!(strict.is_ok(), expected == "ok" && !body.contains("b 3"), "{body}");
    }
}

#[test]
fn rejections_are_bounded_and_readable() {
    let body = "ok 1\n".to_owned() + &"bad\n".repeat(1000);
    let parsed = text(&body);
    assert_eq!(parsed.rejected, [(SampleReason::Value, 1000)]);
    assert_eq!(parsed.rejections.len(), Parsed::KEPT_REJECTIONS);
    assert_eq!(parsed.rejections[19].line, 21);
    let long = format!("ok 1\na{{b=\"{}\u{1b}[31m\u{202e}\" x}} 1\n", "ä".repeat(5000));
    let parsed = text(&long);
    let detail = &parsed.rejections[0].detail;
    assert!(detail.len() < 450, "{}", detail.len());
    assert!(!detail.contains('\u{1b}') && !detail.contains('\u{202e}'), "{detail}");
    assert!(detail.contains("\\u{1b}[31m\\u{202e}"), "{detail}");
}

#[test]
fn lines_are_accounted_for() {
    let body = b"# HELP a b\n\n# comment\na 1\na 2\nbad\n \n# TYPE a gauge\n";
    let (_, lines) = parse_counted(Format::Text, body, &options()).unwrap();
    let counted = (lines.total, lines.blank, lines.comments, lines.metadata, lines.samples, lines.rejected);
    assert_eq!(counted, (8, 2, 1, 1, 1, 3));
}

#[test]
fn formats_are_detected() {
    let text = Ok(Format::Text);
    let openmetrics = Ok(Format::OpenMetrics);
    for (header, body, default, expected) in [
        (Some("text/plain; version=0.0.4; charset=utf-8"), "", None, &text),
        (Some("text/plain;version=1.0.0;escaping=allow-utf-8"), "# EOF\n", None, &text),
        (Some("TEXT/PLAIN"), "", None, &text),
        (Some("application/openmetrics-text; version=1.0.0"), "", None, &openmetrics),
        (Some(""), "a 1\n", None, &text),
        (Some("application/octet-stream"), "a 1\n# EOF\n", None, &openmetrics),
        (None, "a 1\n", None, &text),
        (None, "a 1\n", Some(Format::OpenMetrics), &openmetrics),
        (None, "a 1\n# EOF\n", Some(Format::Text), &openmetrics),
        (None, "# EOF", None, &openmetrics),
        (None, "a 1 # EOF", None, &text),
        (None, "", None, &text),
    ] {
        let found = detect(header, body.as_bytes(), default);
        assert_eq!(&found, expected, "{header:?} {body:?}");
    }
    let header = "application/vnd.google.protobuf";
    let unknown = Err(FormatError::Unknown(header.to_owned()));
    assert_eq!(detect(Some(header), b"", Some(Format::Text)), unknown);
    assert_eq!(detect(None, b"\0\x01\x02\xff\xfe", Some(Format::Text)), Err(FormatError::Binary));
    let encoding = Encoding::Gzip;
    assert_eq!(detect(None, b"\x1f\x8b\x08\0", None), Err(FormatError::Compressed { encoding }));
}
