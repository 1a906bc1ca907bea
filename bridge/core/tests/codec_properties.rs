//! Laws of the parsers, over any bytes and over bytes that are almost expositions.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use k2p_core::codec::{DumpError, Format, ParseOptions, parse, parse_counted, parse_strict};
use k2p_core::decode::normalized;
use k2p_core::labels::{Labels, push_label};
use k2p_core::model::{Family, MetricType, Parsed, Sample};
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::Text, Format::OpenMetrics];

/// Pieces that expositions are made of, put together without sense: most lines are
/// wrong, many only by a little.
fn almost_a_dump() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "a", "b_total", "c_bucket", "c", "c_sum", "c_count", "d_info", "{", "}", "\"", "=", ",", " ", "\n",
            "\n", "1", "2.5", "NaN", "-1", "+Inf", "1e3", "# ", "#", "# TYPE c histogram\n", "# TYPE a gauge\n",
            "# TYPE b counter\n", "# HELP a x\n", "# TYPE d info\n", "# EOF\n", "le=\"1\"", "le=\"+Inf\"",
            "x=\"y\"", "\\", "\\n", "a 1\n", "b_total 2\n", "c_bucket{le=\"+Inf\"} 3\n", "{\"a\"}", "\t", "\r", "ä",
            " # {x=\"y\"} 1\n", "\"q.r\"=\"s\"", "a{x=\"y\"} 1\n", "a{x=\"z\"} 1 5\n",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn any_dump() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => almost_a_dump(),
        3 => almost_a_dump().prop_map(|mut dump| { dump.extend(b"\n# EOF\n"); dump }),
        1 => prop::collection::vec(any::<u8>(), 0..400),
    ]
}

/// What must hold of everything that was parsed: no family and no series twice, values
/// that both output formats take, labels in canonical spelling.
fn check_parsed(parsed: &Parsed<'_>) -> Result<(), TestCaseError> {
    let (mut names, mut series) = (BTreeSet::new(), BTreeSet::new());
    for family in &parsed.families {
        prop_assert!(names.insert(family.name.to_string()), "{} twice", family.name);
        for sample in &family.samples {
            let labels = Labels::parse(&sample.labels).unwrap();
            let mut canonical = String::new();
            for label in split(&sample.labels) {
                let one = Labels::parse(label).unwrap();
                if let Some((name, value)) = one.iter().next() {
                    canonical.push_str(if canonical.is_empty() { "" } else { "," });
                    push_label(&mut canonical, name, value);
                } else {
                    canonical.push_str(if canonical.is_empty() { "" } else { "," });
                    canonical.push_str(label);
                }
            }
            prop_assert_eq!(&canonical, &sample.labels);
            prop_assert!(series.insert((sample.name.to_string(), labels.canonical().to_owned())));
            let plain = sample.value.parse::<f64>().is_ok_and(f64::is_finite);
            prop_assert!(plain || ["+Inf", "-Inf", "NaN"].contains(&sample.value));
        }
    }
    let rejected: u64 = parsed.rejected.iter().map(|(_, n)| n).sum();
    let kept = usize::try_from(rejected).unwrap().min(Parsed::KEPT_REJECTIONS);
    prop_assert_eq!(parsed.rejections.len(), kept);
    Ok(())
}

/// `a="b",c="d"` at the commas between labels.
fn split(labels: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in labels.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&labels[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < labels.len() {
        parts.push(&labels[start..]);
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_line_is_lost_silently(dump in any_dump()) {
        for format in FORMATS {
            let Ok((parsed, lines)) = parse_counted(format, &dump, &ParseOptions::default()) else {
                continue;
            };
            check_parsed(&parsed)?;
            let all = dump.split(|b| *b == b'\n').count() - usize::from(dump.is_empty() || dump.ends_with(b"\n"));
            prop_assert_eq!(lines.total, all as u64);
            let told = lines.blank + lines.comments + lines.metadata + lines.samples + lines.rejected;
            if format == Format::Text {
                prop_assert_eq!(told, lines.total);
            } else {
                prop_assert!(told >= lines.total);
            }
            prop_assert_eq!(lines.rejected, parsed.rejected_total());
            prop_assert!(lines.samples >= parsed.series() as u64);
        }
    }

    #[test]
    fn what_strict_accepts_lenient_reads_the_same(dump in any_dump()) {
        for format in FORMATS {
            let options = ParseOptions::default();
            let lenient = parse(format, &dump, &options);
            match parse_strict(format, &dump, &options) {
                Ok(strict) => prop_assert_eq!(lenient.unwrap(), strict),
                Err(rejection) => {
                    prop_assert!(rejection.line >= 1);
                    let clean = lenient.is_ok_and(|p| p.rejected.is_empty());
                    prop_assert!(format == Format::OpenMetrics || !clean, "{:?}", rejection);
                }
            }
        }
    }

    #[test]
    fn written_samples_are_read_back(dump in any_dump()) {
        for format in FORMATS {
            let Ok(parsed) = parse(format, &dump, &ParseOptions::default()) else { continue };
            let written = normalized(&parsed);
            let again = parse_strict(Format::Text, written.as_bytes(), &ParseOptions::default()).unwrap();
            let (mut one, mut two) = (written.lines().collect::<Vec<_>>(), Vec::new());
            let rewritten = normalized(&again);
            two.extend(rewritten.lines());
            one.sort_unstable();
            two.sort_unstable();
            prop_assert_eq!(one, two);
        }
    }

    #[test]
    fn a_bad_line_costs_nothing_but_itself(before in 0usize..4, bad in "!\\PC{0,30}", bytes in prop::collection::vec(any::<u8>(), 0..6)) {
        let good = ["# TYPE a counter\n", "a 1\n", "a{b=\"c\"} 2\n", "d 3\n"];
        let mut dump = good[..before].concat().into_bytes();
        dump.extend(bad.as_bytes());
        dump.extend(bytes.iter().filter(|b| **b != b'\n'));
        dump.push(b'\n');
        dump.extend(good[before..].concat().into_bytes());
        let whole = good.concat();
        let expected = parse(Format::Text, whole.as_bytes(), &ParseOptions::default()).unwrap();
        let parsed = parse(Format::Text, &dump, &ParseOptions::default()).unwrap();
        prop_assert_eq!(&parsed.families, &expected.families);
        prop_assert_eq!(parsed.rejected_total(), 1);
    }

    #[test]
    fn limits_hold(dump in any_dump(), max_series in 0usize..5) {
        let options = ParseOptions { max_series, max_label_name: 3, max_label_value: 8 };
        for format in FORMATS {
            match parse(format, &dump, &options) {
                Ok(parsed) => prop_assert!(parsed.series() <= max_series),
                Err(DumpError::TooManySeries { limit, .. }) => prop_assert_eq!(limit, max_series),
                Err(_) => {}
            }
        }
    }
}

fn any_sample() -> impl Strategy<Value = (String, Vec<(String, String)>, &'static str, Option<i64>)> {
    let name = prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", "\\PC{1,6}", "[\"\\\\\n{},= ]{1,4}"];
    let label = prop_oneof!["[a-zA-Z_][a-zA-Z0-9_]{0,5}", "\\PC{1,4}", "[\"\\\\\n{},= ]{1,3}"];
    let value = prop_oneof!["\\PC{0,10}", "[\"\\\\\n{},= n]{0,6}"];
    let labels = prop::collection::btree_map(label, value, 0..20)
        .prop_map(|map| map.into_iter().filter(|(n, _)| n != "__name__").collect());
    let number = prop::sample::select(vec!["0", "-1.5", "1e9", "+Inf", "-Inf", "NaN", "007", "0.1"]);
    (name, labels, number, any::<Option<i64>>())
}

proptest! {
    #[test]
    fn any_names_and_values_survive(samples in prop::collection::vec(any_sample(), 0..12)) {
        let mut written = Parsed::default();
        let mut seen = BTreeSet::new();
        for (name, pairs, value, timestamp) in &samples {
            let set: Vec<_> = pairs.iter().filter(|(_, v)| !v.is_empty()).collect();
            if !seen.insert((name, set)) {
                continue;
            }
            let mut labels = String::new();
            for (n, v) in pairs {
                labels.push_str(if labels.is_empty() { "" } else { "," });
                push_label(&mut labels, n, v);
            }
            let sample = Sample { name: name.into(), labels: labels.into(), value, timestamp: *timestamp, exemplar: None };
            match written.families.iter_mut().find(|f| f.name == *name) {
                Some(family) => family.samples.push(sample),
                None => written.families.push(Family {
                    name: name.into(), kind: MetricType::Unknown, help: None, unit: None, samples: vec![sample],
                }),
            }
        }
        let text = normalized(&written);
        let read = parse_strict(Format::Text, text.as_bytes(), &ParseOptions::default());
        prop_assert_eq!(read.unwrap(), written);
    }
}
