//! Random dumps, of families that may clash between origins.
use std::collections::BTreeSet;

use k2p_core::model::MetricType;
use proptest::prelude::*;

/// Names whose families may clash: a base, the suffixes of every type, and one beyond
/// the legacy grammar.
fn name() -> impl Strategy<Value = String> {
    let base = prop::sample::select(vec!["a", "a_b", "a.b", "b", "a_total", "ä"]);
    let suffix = prop::sample::select(vec!["", "", "", "_total", "_count", "_bucket", "_sum", "_created", "_info"]);
    (base, suffix).prop_map(|(b, s)| format!("{b}{s}"))
}

fn label_sets() -> impl Strategy<Value = Vec<String>> {
    let one = prop::sample::select(vec![
        "",
        "x=\"1\"",
        "x=\"2\"",
        "y=\"\\\"\\\\\\n\"",
        "x=\"1\",y=\"1\"",
        "i=\"1\"",
        "j=\"1\"",
        "\"x.y\"=\"1\"",
        "x_y=\"1\"",
        "exported_i=\"1\"",
    ]);
    prop::collection::btree_set(one, 1..4).prop_map(|set| set.into_iter().map(str::to_owned).collect())
}

fn kind() -> impl Strategy<Value = MetricType> {
    prop::sample::select(vec![
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Histogram,
        MetricType::Summary,
        MetricType::Unknown,
    ])
}

/// A family in the text format.
fn family() -> impl Strategy<Value = (String, String)> {
    let help = prop::option::of(prop::sample::select(vec!["One", "Two \\\\ \\n \"three\""]));
    (name(), kind(), label_sets(), help, 0..3u8, prop::option::of(1..3i64)).prop_map(
        |(name, kind, sets, help, value, time)| {
            let quoted = if name.contains('.') || !name.is_ascii() { format!("\"{name}\"") } else { name.clone() };
            let mut text = help.map_or_else(String::new, |h| format!("# HELP {quoted} {h}\n"));
            let word = match kind {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
                MetricType::Summary => "summary",
                _ => "untyped",
            };
            text.push_str(&format!("# TYPE {quoted} {word}\n"));
            let time = time.map_or_else(String::new, |t| format!(" {t}"));
            for set in &sets {
                let mut line = |suffix: &str, own: &str, value: &str| {
                    let parts: Vec<&str> = [set.as_str(), own].into_iter().filter(|p| !p.is_empty()).collect();
                    text.push_str(&format!("{{\"{name}{suffix}\",{}}} {value}{time}\n", parts.join(",")));
                };
                let value = value.to_string();
                match kind {
                    MetricType::Histogram => {
                        line("_bucket", "le=\"1\"", "0");
                        line("_bucket", "le=\"+Inf\"", &value);
                        line("_sum", "", "0.5");
                        line("_count", "", &value);
                    }
                    MetricType::Summary => {
                        line("", "quantile=\"0.5\"", "NaN");
                        line("_sum", "", "1e3");
                        line("_count", "", &value);
                    }
                    _ => line("", "", &value),
                }
            }
            (name, text)
        },
    )
}

/// A dump whose families do not take each other's names.
pub(crate) fn dump() -> impl Strategy<Value = String> {
    prop::collection::vec(family(), 1..5).prop_map(|families| {
        let mut text = String::new();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for (name, family) in families {
            let all = ["", "_bucket", "_sum", "_count"].map(|s| format!("{name}{s}"));
            if all.iter().any(|n| taken.contains(n)) {
                continue;
            }
            taken.extend(all);
            text.push_str(&family);
        }
        text
    })
}

/// What only OpenMetrics has, under names that the random families have too.
pub(crate) fn openmetrics_dump() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "# EOF\n",
        "# TYPE a info\na_info{x=\"1\"} 1\na_info{x=\"2\"} 1\n# EOF\n",
        "# TYPE a stateset\na{a=\"x\"} 1\na{a=\"y\"} 0\n# TYPE b gauge\nb 1\n# EOF\n",
        "# TYPE a gaugehistogram\na_bucket{le=\"+Inf\"} 2 # {t=\"1\"} 1\na_gcount 2\na_gsum 3\n# EOF\n",
        "# HELP a One\n# TYPE a counter\na_total 1 # {t=\"1\"} 1\na_created 5\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 1 # {\"t.u\"=\"1\"} 1\na_bucket{le=\"+Inf\"} 2\na_count 2\na_sum 1\na_created 5\n# EOF\n",
        "# TYPE a_b summary\na_b{quantile=\"0.5\"} 1\na_b_count 2\na_b_sum 1\na_b_created 7\n# EOF\n",
        "# TYPE \"a.b\" stateset\n{\"a.b\",\"a.b\"=\"x\"} 1\n# TYPE b_total gauge\nb_total 1\n# EOF\n",
    ])
}
