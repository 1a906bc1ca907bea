//! The catalogue of metrics that templates define.
use serde::Serialize;

use super::{Metric, MetricKind, TemplateSet};

/// One metric of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogueEntry {
    /// Its name.
    pub name: String,
    /// Its type in the exposition: counter, gauge or histogram.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its help.
    pub help: String,
    /// Its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its labels, the subject's first.
    pub labels: Vec<String>,
    /// The kinds of fact that feed it.
    pub from: Vec<&'static str>,
    /// Label sets that one subject may have, beside the one of `other`.
    pub max_series: u32,
    /// Upper bounds of classic buckets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<f64>,
    /// Whether it has exponential buckets too, which a scrape in protobuf shows.
    pub native: bool,
}

/// The metrics of a set, sorted by name.
pub fn catalogue(templates: &TemplateSet) -> Vec<CatalogueEntry> {
    templates.metrics().iter().map(entry).collect()
}

fn entry(metric: &Metric) -> CatalogueEntry {
    let (kind, buckets, native) = match &metric.kind {
        MetricKind::Counter => ("counter", Vec::new(), false),
        MetricKind::Gauge | MetricKind::LastTimestamp => ("gauge", Vec::new(), false),
        MetricKind::Histogram(bounds) => ("histogram", bounds.to_vec(), false),
        MetricKind::NativeHistogram { bounds, .. } => ("histogram", bounds.to_vec(), true),
    };
    let mut labels = vec![metric.subject_label.to_owned()];
    labels.extend(metric.labels.iter().map(ToString::to_string));
    let mut from: Vec<&str> = metric.kinds().iter().map(|kind| kind.as_str()).collect();
    from.dedup();
    CatalogueEntry {
        name: metric.name.to_string(),
        kind,
        help: metric.help.to_string(),
        unit: metric.unit.as_deref().map(str::to_owned),
        labels,
        from,
        max_series: metric.max_series,
        buckets,
        native,
    }
}

/// The catalogue as a table.
pub fn catalogue_markdown(templates: &TemplateSet) -> String {
    let mut out = String::from("| metric | type | labels | made of | meaning |\n|---|---|---|---|---|\n");
    for entry in catalogue(templates) {
        let labels: Vec<String> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = if entry.native { "histogram (native too)" } else { entry.kind };
        let help = entry.help.replace('|', "\\|").replace('\n', " ");
        let (name, labels, from) = (entry.name, labels.join(" "), entry.from.join(", "));
        out.push_str(&format!("| `{name}` | {kind} | {labels} | {from} | {help} |\n"));
    }
    out
}

/// What must be known of the native histograms of a set; `None` without one.
pub fn native_notice(templates: &TemplateSet) -> Option<String> {
    let entries = catalogue(templates);
    let names: Vec<&str> = entries.iter().filter(|e| e.native).map(|e| e.name.as_str()).collect();
    let (first, count) = (names.first()?, names.len());
    let which = if count == 1 { (*first).to_owned() } else { format!("{count} metrics ({first}, …)") };
    Some(format!(
        "{which}: Prometheus sees the exponential buckets of a native_histogram only if it scrapes protobuf (feature \
         native-histograms, or scrape_protocols: [PrometheusProto, …]), else the classic `buckets` alone"
    ))
}

/// The catalogue as a JSON list.
pub fn catalogue_json(templates: &TemplateSet) -> serde_json::Value {
    serde_json::json!(catalogue(templates))
}
