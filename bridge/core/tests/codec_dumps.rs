//! Real dumps: what a plain reading of their lines says is what the parser says.
#![allow(clippy::unwrap_used, reason = "tests")]

use k2p_core::codec::{Format, ParseOptions, detect, parse, parse_counted, parse_strict};
use k2p_core::compress::{Encoding, compress};
use k2p_core::decode::{DecodeOptions, normalized, report, samples};
use k2p_core::model::SampleReason;

const NODE: &str = include_str!("dumps/node.01.txt");
const DRIVER: &str = include_str!("dumps/spark_driver.01.txt");
const EXECUTORS: &str = include_str!("dumps/spark_exec_cl.02.txt");
const NEWLINE: &str = include_str!("dumps/spark_exec_nasty_newline.01.txt");
const QUOTE: &str = include_str!("dumps/spark_exec_nasty_quote.01.txt");

/// The sample lines, sorted, with Spark's blanks behind commas taken out.
fn plain(dump: &str, keep: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = dump.lines().filter(|l| !l.starts_with('#') && !l.is_empty() && keep(l));
    let mut all: Vec<_> = lines.map(|l| l.trim_end().replace("\", ", "\",")).collect();
    all.sort();
    all
}

fn sorted(text: &str) -> Vec<&str> {
    let mut all: Vec<_> = text.lines().collect();
    all.sort_unstable();
    all
}

#[test]
fn good_dumps_are_read_whole() {
    for (dump, least) in [(NODE, 500), (DRIVER, 400), (EXECUTORS, 30)] {
        let format = detect(None, dump.as_bytes(), None).unwrap();
        assert_eq!(format, Format::Text);
        let options = ParseOptions::default();
        let parsed = parse_strict(format, dump.as_bytes(), &options).unwrap();
        assert_eq!(sorted(&normalized(&parsed)), plain(dump, |_| true));
        assert!(parsed.series() >= least, "{}", parsed.series());
        assert_eq!(parse(format, dump.as_bytes(), &options).unwrap(), parsed);
    }
}

#[test]
fn spark_breaks_lines_and_quotes_and_keeps_the_rest() {
    let good = |line: &str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let pieces = line.matches('"').count().is_multiple_of(2) && line.contains(' ');
        !name.contains('"') && pieces && !line.contains("said \"hi\"") && !line.starts_with("lines\"")
    };
    for (dump, per_series) in [(NEWLINE, 2), (QUOTE, 1)] {
        let (parsed, lines) = parse_counted(Format::Text, dump.as_bytes(), &ParseOptions::default()).unwrap();
        assert_eq!(sorted(&normalized(&parsed)), plain(dump, good));
        assert!(lines.samples > 0);
        assert!(lines.rejected >= 20 && lines.rejected % per_series == 0, "{lines:?}");
        assert_eq!(lines.samples + lines.rejected + lines.blank + lines.comments + lines.metadata, lines.total);
        let strict = parse_strict(Format::Text, dump.as_bytes(), &ParseOptions::default());
        let rejection = strict.unwrap_err();
        assert_eq!((rejection.line, rejection.reason), (2, SampleReason::Syntax));
    }
}

#[test]
fn a_report_tells_what_happened() {
    let report = report(QUOTE.as_bytes(), &DecodeOptions::default());
    assert!(!report.is_clean());
    let text = report.to_string();
    for part in [
        "format    text, ",
        "series    1 in 1 families\n",
        " syntax\n",
        "  line 2:",
        "… and ",
        "        1  untyped        spark_info\n",
        "he said \"hi\"",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["format"], "text");
    assert_eq!(json["encoding"], "identity");
    assert_eq!(json["families"][0]["name"], "spark_info");
    assert_eq!(json["rejections"].as_array().unwrap().len(), 20);
    assert_eq!(json["refused"], serde_json::Value::Null);
}

#[test]
fn a_report_of_what_is_refused() {
    let packed = compress(Encoding::Gzip, NODE.as_bytes()).unwrap();
    let gzip = DecodeOptions { content_encoding: Some("gzip"), ..DecodeOptions::default() };
    let strict = DecodeOptions { strict: true, ..DecodeOptions::default() };
    let openmetrics = DecodeOptions { content_type: Some("application/openmetrics-text"), ..DecodeOptions::default() };
    let small = DecodeOptions { dump_bytes: 1000, ..gzip };
    let protobuf = DecodeOptions { content_type: Some("application/x-protobuf"), ..DecodeOptions::default() };
    let brotli = DecodeOptions { content_encoding: Some("br"), ..DecodeOptions::default() };
    for (value, options, reason, detail) in [
        (b"".as_slice(), gzip, "not_a_dump", "the value is empty"),
        (&packed, DecodeOptions::default(), "bad_encoding", "the body is gzip"),
        (&packed[..packed.len() / 2], gzip, "truncated", "the gzip stream ends too early"),
        (&packed, small, "too_large", "more than 1000 bytes"),
        (&packed, brotli, "bad_encoding", "\"br\""),
        (NODE.as_bytes(), protobuf, "unknown_format", "application/x-protobuf"),
        (NODE.as_bytes(), openmetrics, "truncated", "does not end with `# EOF`"),
        (QUOTE.as_bytes(), strict, "strict", "line 2, column 93: syntax: "),
        (b"\x00\x01\x02", DecodeOptions::default(), "not_a_dump", "binary"),
        (b"hello world", DecodeOptions::default(), "not_a_dump", "no line of it"),
    ] {
        let refused = report(value, &options).refused.unwrap();
        assert_eq!(refused.reason, reason, "{refused}");
        assert!(refused.detail.contains(detail), "{refused}");
        assert_eq!(samples(value, &options).unwrap_err(), refused);
    }
    let good = report(&packed, &gzip);
    assert!(good.is_clean(), "{good}");
    assert_eq!(good.series, plain(NODE, |_| true).len());
    assert_eq!(sorted(&samples(&packed, &gzip).unwrap()), plain(NODE, |_| true));
    assert!(good.to_string().contains("as gzip)\n"), "{good}");
}
