//! What a reader made of an exposition, in terms that both share.
use std::collections::BTreeMap;
use std::process::Command;

use k2p_core::codec::Format;
use k2p_core::labels::Labels;
use k2p_core::model::{Family, MetricType, Parsed};
use serde_json::Value;

use crate::bodies::Body;

/// Name and labels.
type Series = (String, BTreeMap<String, String>);
/// The value's bits (every NaN is one), the timestamp in ms.
type Point = (u64, Option<i64>);

/// Points by series. The order of a series' points counts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Samples(BTreeMap<Series, Vec<Point>>);

/// Families are named OpenMetrics' way; those without a type and help are left out, python
/// makes one of each sample.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) families: BTreeMap<String, (String, String)>,
    pub(crate) samples: Samples,
}

impl Samples {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, series: Series, value: f64, ms: Option<i64>) {
        // Python reads `-0` as an integer, which has no sign.
        let value = if value == 0.0 { 0.0 } else { value };
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        // Python's timestamps are floats.
        let ms = ms.map(|ms| ms as f64 as i64);
        self.0.entry(series).or_default().push((bits, ms));
    }

    /// A point that they do not have: of a series that is there twice we take one.
    pub(crate) fn unknown_to(&self, theirs: &Samples) -> Option<String> {
        let knows = |series: &Series, point: &Point| theirs.0.get(series).is_some_and(|all| all.contains(point));
        let odd = self.0.iter().find(|(series, points)| !points.iter().all(|point| knows(series, point)));
        odd.map(|(series, points)| format!("only ours: {series:?} {:?}", shown(points)))
    }

    /// What is here and not, or otherwise, there.
    fn beyond(&self, theirs: &Samples) -> Option<String> {
        let odd = self.0.iter().find(|(series, points)| theirs.0.get(*series) != Some(points));
        odd.map(|(series, points)| {
            let told = theirs.0.get(series).map(|p| shown(p));
            format!("ours {series:?} {:?}, theirs {told:?}", shown(points))
        })
    }

    pub(crate) fn difference(&self, theirs: &Samples) -> Option<String> {
        let missing = || theirs.0.keys().find(|series| !self.0.contains_key(*series));
        self.beyond(theirs).or_else(|| Some(format!("only theirs: {:?}", missing()?)))
    }
}

fn shown(points: &[Point]) -> Vec<(f64, Option<i64>)> {
    points.iter().map(|(bits, ms)| (f64::from_bits(*bits), *ms)).collect()
}

/// OpenMetrics' name of a family.
fn family_name(family: &Family<'_>) -> String {
    let suffix = match family.kind {
        MetricType::Counter => "_total",
        MetricType::Info => "_info",
        _ => "",
    };
    family.name.strip_suffix(suffix).unwrap_or(&family.name).to_owned()
}

pub(crate) fn ours(format: Format, parsed: &Parsed<'_>) -> Reading {
    let mut reading = Reading::default();
    for family in &parsed.families {
        let help = family.help.as_deref().unwrap_or_default();
        if family.kind != MetricType::Unknown || !help.is_empty() {
            let kind = if family.kind == MetricType::Unknown { "unknown" } else { family.kind.as_str() };
            reading.families.insert(family_name(family), (kind.to_owned(), help.to_owned()));
        }
        for sample in &family.samples {
            let labels = Labels::parse(&sample.labels).unwrap();
            let labels = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            // Python gives every counter of a text its suffix.
            let bare = format == Format::Text && family.kind == MetricType::Counter && !family.name.ends_with("_total");
            let name = format!("{}{}", sample.name, if bare { "_total" } else { "" });
            reading.samples.add((name, labels), sample.value.parse().unwrap(), sample.timestamp);
        }
    }
    reading
}

/// What python makes of the bodies, an `Err` where it refuses one; `None` where there is no
/// python.
pub(crate) fn theirs(bodies: &[Body]) -> Option<Vec<Result<Reading, String>>> {
    let libraries = std::env::var_os("K2P_PYTHON_LIBS")?;
    let dir = std::env::temp_dir().join(format!("k2p-against-python-{}-{}", std::process::id(), bodies.len()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut readings = Vec::new();
    for (chunk, bodies) in bodies.chunks(500).enumerate() {
        let program = std::env::var("K2P_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut python = Command::new(program);
        python.env("PYTHONPATH", &libraries);
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracle/parse.py"));
        for (i, body) in bodies.iter().enumerate() {
            let path = dir.join(format!("{chunk}-{i}"));
            std::fs::write(&path, &body.text).unwrap();
            python.arg(if body.format == Format::Text { "text" } else { "openmetrics" }).arg(path);
        }
        let output = python.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        readings.extend(text.lines().map(|line| reading(&serde_json::from_str(line).unwrap())));
    }
    std::fs::remove_dir_all(dir).unwrap();
    assert_eq!(readings.len(), bodies.len());
    Some(readings)
}

fn reading(told: &Value) -> Result<Reading, String> {
    if let Some(error) = told["error"].as_str() {
        return Err(error.to_owned());
    }
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let mut reading = Reading::default();
    for family in told["families"].as_array().unwrap() {
        let (name, kind, help) = (text(&family[0]), text(&family[1]), text(&family[2]));
        if !matches!(kind.as_str(), "unknown" | "untyped") || !help.is_empty() {
            let kind = if kind == "untyped" { "unknown".to_owned() } else { kind };
            reading.families.insert(name, (kind, help));
        }
    }
    for sample in told["samples"].as_array().unwrap() {
        let labels = sample[1].as_object().unwrap().iter();
        // A label without a value is none.
        let labels = labels.map(|(n, v)| (n.clone(), text(v))).filter(|(_, v)| !v.is_empty()).collect();
        let ms = sample[3].as_f64().map(|seconds| (seconds * 1000.0).round() as i64);
        reading.samples.add((text(&sample[0]), labels), text(&sample[2]).parse().unwrap(), ms);
    }
    Ok(reading)
}
