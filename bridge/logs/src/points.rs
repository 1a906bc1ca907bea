//! A job's metric points as an exposition.
use std::collections::BTreeMap;

use k2p_core::labels::{is_legacy_label_name, is_legacy_metric_name, push_label};
use serde_json::Value;

/// The most series of one job that are shown.
const MAX_SERIES: usize = 10_000;

/// The last value of each series.
#[derive(Debug, Default)]
pub(crate) struct Points {
    families: BTreeMap<String, BTreeMap<String, f64>>,
    series: usize,
    /// Series above the limit.
    left_off: u64,
}

impl Points {
    /// Takes a stored line, if it is a metric point.
    pub(crate) fn add(&mut self, line: &str) {
        // Most lines are not, and this is cheaper than reading them.
        if memchr::memmem::find(line.as_bytes(), b"\"metric\"").is_none() {
            return;
        }
        let Ok(entry) = serde_json::from_str::<Value>(line) else { return };
        let metric = &entry["content"]["metric"];
        let (Some(name), Some(value)) = (metric["name"].as_str(), metric["value"].as_f64()) else { return };
        let labels = labels(&metric["labels"]);
        let family = self.families.entry(metric_name(name)).or_default();
        if let Some(known) = family.get_mut(&labels) {
            *known = value;
        } else if self.series < MAX_SERIES {
            self.series += 1;
            family.insert(labels, value);
        } else {
            self.left_off += 1;
        }
    }

    pub(crate) fn exposition(&self) -> String {
        let mut out = String::new();
        for (name, series) in self.families.iter().filter(|(_, series)| !series.is_empty()) {
            out.push_str(&format!("# TYPE {name} untyped\n"));
            for (labels, value) in series {
                let value = match value {
                    v if v.is_nan() => "NaN".to_owned(),
                    v if v.is_infinite() => if *v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
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
        points.add(line);
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
}
