//! The text formats 0.0.4 and 1.0.0.
use super::escape;
use super::line::{push_integer, push_series};
use crate::merge::Output;
use crate::model::MetricType;
use crate::store::StoredSample;

/// The TYPE keyword. Info, stateset and gaugehistogram never come here: the plan makes
/// gauges of them.
fn keyword(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        MetricType::GaugeHistogram | MetricType::Unknown => "untyped",
    }
}

pub(super) fn push_header(out: &mut Vec<u8>, family: &Output<'_>) {
    if let Some(help) = family.help {
        out.extend_from_slice(b"# HELP ");
        escape::push_metadata_name(out, &family.name);
        out.push(b' ');
        out.extend_from_slice(escape::text_help(help).as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"# TYPE ");
    escape::push_metadata_name(out, &family.name);
    out.push(b' ');
    out.extend_from_slice(keyword(family.kind).as_bytes());
    out.push(b'\n');
}

/// Timestamps are milliseconds; an exemplar has no place in this format.
pub(super) fn push_sample(out: &mut Vec<u8>, sample: &StoredSample<'_>) {
    push_series(out, &sample.name, sample.injected, sample.labels, sample.value);
    if let Some(ms) = sample.timestamp {
        out.push(b' ');
        push_integer(out, ms);
    }
    out.push(b'\n');
}
