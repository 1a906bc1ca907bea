//! A group as the Pushgateway's `GET /api/v1/metrics` has it (its `api/v1/api.go`): values are
//! text, types in capitals, buckets and quantiles maps of a metric.
use k2p_core::model::MetricType;
use k2p_core::native::{Native, go};
use k2p_logs::rfc3339;
use k2p_push::group::Group;
use k2p_push::{PushedFamily, PushedSample};
use serde_json::{Map, Value, json};

pub(super) fn group(group: &Group) -> Map<String, Value> {
    let mut out = Map::new();
    for family in group.families().chain(group.stamps()) {
        out.insert(family.name().to_owned(), family_of(group, family));
    }
    // Last: a family of that name loses against what every group has, as there.
    let labels: Map<String, Value> = group.key().iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
    out.insert("labels".to_owned(), labels.into());
    out.insert("last_push_successful".to_owned(), group.last_push_succeeded().into());
    out
}

fn family_of(group: &Group, family: &PushedFamily) -> Value {
    let mut metrics: Vec<(Map<String, Value>, Map<String, Value>)> = Vec::new();
    for sample in family.samples() {
        let (labels, bound) = labels_of(group, family.kind(), &sample);
        // The samples of one histogram or summary follow each other.
        if metrics.last().is_none_or(|(last, values)| *last != labels || is_whole(family.kind(), values)) {
            metrics.push((labels, Map::new()));
        }
        if let Some((_, values)) = metrics.last_mut() {
            add(values, family, &sample, bound);
        }
    }
    let metrics: Vec<Value> = metrics
        .into_iter()
        .map(|(labels, mut metric)| {
            metric.insert("labels".to_owned(), labels.into());
            metric.into()
        })
        .collect();
    let mut out = json!({
        "time_stamp": rfc3339(family.pushed().saturating_mul(1_000_000)),
        "type": kind(family.kind()),
        "metrics": metrics,
    });
    if let Some(help) = family.help().filter(|help| !help.is_empty()) {
        out["help"] = help.into();
    }
    out
}

/// A metric of a family without parts has one sample.
fn is_whole(kind: MetricType, values: &Map<String, Value>) -> bool {
    bound_of(kind).is_none() && !values.is_empty()
}

fn bound_of(kind: MetricType) -> Option<(&'static str, &'static str)> {
    match kind {
        MetricType::Histogram => Some(("le", "buckets")),
        MetricType::Summary => Some(("quantile", "quantiles")),
        _ => None,
    }
}

/// The labels of a sample's metric, the group's among them, and its bound.
fn labels_of(group: &Group, kind: MetricType, sample: &PushedSample<'_>) -> (Map<String, Value>, Option<String>) {
    let mut labels: Map<String, Value> = group.key().iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
    labels.entry("instance").or_insert_with(|| "".into());
    let mut bound = None;
    for (name, value) in sample.pairs() {
        if bound_of(kind).is_some_and(|(label, _)| label == name) {
            bound = Some(value.into_owned());
        } else {
            labels.insert(name.into_owned(), value.into_owned().into());
        }
    }
    (labels, bound)
}

fn add(values: &mut Map<String, Value>, family: &PushedFamily, sample: &PushedSample<'_>, bound: Option<String>) {
    let Some((_, bounds)) = bound_of(family.kind()) else {
        values.insert("value".to_owned(), sample.value.into());
        return;
    };
    let all = values.entry(bounds).or_insert_with(|| json!({}));
    if let (Some(bound), Value::Object(all)) = (bound, all) {
        all.insert(bound, sample.value.into());
        return;
    }
    let part = sample.name.strip_prefix(family.name()).unwrap_or_default();
    if let "_sum" | "_count" = part {
        values.insert(part[1..].to_owned(), sample.value.into());
    }
    // Last: instead of classic buckets, if there are any.
    if let Some(native) = sample.exemplar.and_then(Native::parse).filter(Native::has_spans) {
        let buckets = native.buckets().into_iter();
        let buckets = buckets.map(|b| json!([b.boundaries, go(b.lower), go(b.upper), b.count]));
        values.insert("buckets".to_owned(), buckets.collect());
    }
}

/// The names of its protobuf.
fn kind(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "COUNTER",
        MetricType::Gauge => "GAUGE",
        MetricType::Histogram => "HISTOGRAM",
        MetricType::GaugeHistogram => "GAUGE_HISTOGRAM",
        MetricType::Summary => "SUMMARY",
        MetricType::Info | MetricType::StateSet | MetricType::Unknown => "UNTYPED",
    }
}
