//! A job's metric points as an exposition.
use std::collections::BTreeMap;

use k2p_core::labels::{is_legacy_label_name, is_legacy_metric_name, push_label};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most series of one job that are shown.
const MAX_SERIES: usize = 10_000;

/// The last point of each series of a job. Bridges that hold parts of one put them together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Points {
    families: BTreeMap<String, BTreeMap<String, Point>>,
    series: usize,
    /// Points of series above the limit.
    left_off: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    /// Unix nanoseconds.
    at: i64,
    /// As text: JSON has no NaN and no infinity.
    #[serde(with = "number")]
    value: f64,
}

mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Points {
    /// Takes a stored line of that time, if it is a metric point; of two at the same time, the
    /// later call counts.
    pub(crate) fn add(&mut self, at: i64, line: &str) {
        // Most lines are not, and this is cheaper than reading them.
        if memchr::memmem::find(line.as_bytes(), b"\"metric\"").is_none() {
            return;
        }
        let Ok(entry) = serde_json::from_str::<Value>(line) else { return };
        let metric = &entry["content"]["metric"];
        let (Some(name), Some(value)) = (metric["name"].as_str(), metric["value"].as_f64()) else { return };
        self.put(metric_name(name), labels(&metric["labels"]), Point { at, value });
    }

    fn put(&mut self, name: String, labels: String, point: Point) {
        let known = self.families.get_mut(&name).and_then(|family| family.get_mut(&labels));
        if let Some(known) = known {
            if point.at >= known.at {
                *known = point;
            }
        } else if self.series < MAX_SERIES {
            self.series += 1;
            self.families.entry(name).or_default().insert(labels, point);
        } else {
            self.left_off += 1;
        }
    }

    /// Adds what another bridge has of the same job.
    pub fn merge(&mut self, other: Points) {
        self.left_off += other.left_off;
        for (name, family) in other.families {
            for (labels, point) in family {
                self.put(name.clone(), labels, point);
            }
        }
    }

    /// In the text format, with a line that says what was left off.
    pub fn exposition(&self) -> String {
        let mut out = String::new();
        for (name, series) in &self.families {
            out.push_str(&format!("# TYPE {name} untyped\n"));
            for (labels, point) in series {
                let value = match point.value {
                    v if v.is_nan() => "NaN".to_owned(),
                    v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
                    v => v.to_string(),
                };
                let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                out.push_str(&format!("{name}{braces} {value}\n"));
            }
        }
        if self.left_off > 0 {
            out.push_str(&format!(
                "# {} points of series above the limit of {MAX_SERIES} are left off\n",
                self.left_off
            ));
        }
        out
    }
}

/// The exposition of the metric points among stored lines.
pub fn exposition<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut points = Points::default();
    for line in lines {
        points.add(0, line);
    }
    points.exposition()
}

fn labels(value: &Value) -> String {
    let mut sorted = BTreeMap::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        sorted.entry(label_name(name)).or_insert(text);
    }
    let mut out = String::new();
    for (name, value) in &sorted {
        if !out.is_empty() {
            out.push(',');
        }
        push_label(&mut out, name, value);
    }
    out
}

fn metric_name(name: &str) -> String {
    if is_legacy_metric_name(name) { name.to_owned() } else { underscores(name) }
}

fn label_name(name: &str) -> String {
    if is_legacy_label_name(name) { name.to_owned() } else { underscores(name) }
}

fn underscores(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let plain: String = name.chars().map(keep).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() { format!("_{plain}") } else { plain }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_last_point_of_each_series_is_shown() {
        let lines = [
            r#"{"content":{"metric":{"name":"rows.read","value":1,"labels":{"b":"x\"y","a-b":2}}}}"#,
            r#"{"content":{"metric":{"name":"rows.read","value":2.5,"labels":{"a-b":2,"b":"x\"y"}}}}"#,
            r#"{"content":{"metric":{"name":"peak","value":3}}}"#,
            r#"{"content":{"log":{"message":"\"metric\""}}}"#,
            r#"{"content":{"metric":{"name":"no_value"}}}"#,
        ];
        let expected = "# TYPE peak untyped\npeak 3\n# TYPE rows_read untyped\nrows_read{a_b=\"2\",b=\"x\\\"y\"} 2.5\n";
        assert_eq!(exposition(lines), expected);
    }

    #[test]
    fn parts_of_two_bridges_are_one_whichever_comes_first() {
        let point = |at: i64, name: &str, value: f64| {
            let mut points = Points::default();
            points.add(at, &format!(r#"{{"content":{{"metric":{{"name":"{name}","value":{value}}}}}}}"#));
            points
        };
        let parts = [point(2, "rows", 5.0), point(1, "rows", 7.0), point(1, "peak", 3.0)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut all = Points::default();
            for part in order {
                let text = serde_json::to_string(&parts[part]).unwrap();
                all.merge(serde_json::from_str(&text).unwrap());
            }
            assert_eq!(all.exposition(), "# TYPE peak untyped\npeak 3\n# TYPE rows untyped\nrows 5\n");
        }
        let text = serde_json::to_string(&Point { at: 0, value: f64::NAN }).unwrap();
        assert!(serde_json::from_str::<Point>(&text).unwrap().value.is_nan());
    }
}
