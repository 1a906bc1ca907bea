//! An independent reading of expositions: Python's `prometheus_client`, which
//! shares no code with the product.
use super::parts;
use super::skip::Missing;
use super::supervise::new_dir;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// Prometheus text 0.0.4 and 1.0.0.
    Text,
    /// OpenMetrics 1.0.0, strict.
    OpenMetrics,
}

/// Labels of a series, its name under `__name__`.
pub type Series = BTreeMap<String, String>;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name and labels.
    pub series: Series,
    /// Its value; NaN is `None`, so that two readings can be compared.
    pub value: Option<f64>,
    /// Its own timestamp, seconds.
    pub timestamp: Option<f64>,
}

/// One family's metadata, as the reader names it (OpenMetrics' way: a counter's
/// name has no `_total`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// `counter gauge histogram summary unknown …`.
    pub kind: String,
    /// Unescaped HELP, empty if there was none.
    pub help: String,
}

/// What the reference reader made of a body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// In the order of the body.
    pub families: Vec<Family>,
    /// In the order of the body.
    pub samples: Vec<Sample>,
}

impl Reading {
    /// Value by series. A series that occurs twice keeps its last value: ask
    /// [`Reading::duplicates`].
    pub fn values(&self) -> BTreeMap<Series, Option<f64>> {
        self.samples.iter().map(|s| (s.series.clone(), s.value)).collect()
    }

    /// Series that occur more than once.
    pub fn duplicates(&self) -> Vec<Series> {
        let mut seen = BTreeMap::<&Series, usize>::new();
        for sample in &self.samples {
            *seen.entry(&sample.series).or_default() += 1;
        }
        seen.into_iter().filter(|(_, n)| *n > 1).map(|(series, _)| series.clone()).collect()
    }
}

/// Reads a body; `Err` inside is the reference reader's refusal.
///
/// # Panics
/// Where the reader itself fails.
pub fn read(syntax: Syntax, body: &[u8]) -> Result<Result<Reading, String>, Missing> {
    Ok(read_all(&[(syntax, body)])?.remove(0))
}

/// Reads many bodies with one start of Python.
///
/// # Panics
/// Where the reader itself fails.
pub fn read_all(bodies: &[(Syntax, &[u8])]) -> Result<Vec<Result<Reading, String>>, Missing> {
    let mut python = parts::python()?;
    let dir = new_dir("oracle");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/parse.py"));
    for (i, (syntax, body)) in bodies.iter().enumerate() {
        let path = dir.join(i.to_string());
        fs::write(&path, body).expect("the run's directory can be written");
        python.arg(match syntax {
            Syntax::Text => "text",
            Syntax::OpenMetrics => "openmetrics",
        });
        python.arg(path);
    }
    let output = python.output().expect("python runs");
    let _ = fs::remove_dir_all(dir);
    assert!(output.status.success(), "the oracle failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("the oracle writes UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("the oracle writes JSON"));
    Ok(lines.map(|line: Value| to_reading(&line)).collect())
}

fn to_reading(line: &Value) -> Result<Reading, String> {
    if let Some(error) = line["error"].as_str() {
        return Err(error.to_owned());
    }
    let list = |key: &str| line[key].as_array().expect("the oracle writes lists").clone();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let families = list("families");
    let families = families.iter().map(|f| Family { name: text(&f[0]), kind: text(&f[1]), help: text(&f[2]) });
    Ok(Reading { families: families.collect(), samples: list("samples").iter().map(to_sample).collect() })
}

fn to_sample(sample: &Value) -> Sample {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let labels = sample[1].as_object().expect("labels are an object");
    let mut series: Series = labels.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    series.insert("__name__".into(), text(&sample[0]));
    let value = text(&sample[2]).parse::<f64>().expect("a Python float");
    Sample { series, value: (!value.is_nan()).then_some(value), timestamp: sample[3].as_f64() }
}
