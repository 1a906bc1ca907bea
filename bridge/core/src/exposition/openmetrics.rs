//! OpenMetrics 1.0.0 (and 0.0.1, which differs only in the header's version).
use super::escape;
use super::line::{push_seconds, push_series};
use crate::merge::Output;
use crate::model::MetricType;
use crate::store::StoredSample;

/// What ends every exposition.
pub(super) const END: &[u8] = b"# EOF\n";

/// The TYPE keyword.
pub(crate) fn keyword(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Unknown => "unknown",
        other => other.as_str(),
    }
}

pub(super) fn push_header(out: &mut Vec<u8>, family: &Output<'_>) {
    if let Some(help) = family.help {
        push_metadata(out, "HELP", &family.name, &escape::openmetrics_help(help));
    }
    push_metadata(out, "TYPE", &family.name, keyword(family.kind));
    if let Some(unit) = unit(family) {
        push_metadata(out, "UNIT", &family.name, unit);
    }
}

/// A unit must be the end of the name, and an info or a stateset has none.
fn unit<'a>(family: &Output<'a>) -> Option<&'a str> {
    let unit = family.unit?;
    if matches!(family.kind, MetricType::Info | MetricType::StateSet) {
        return None;
    }
    let base = family.name.strip_suffix(unit)?.strip_suffix('_')?;
    (!base.is_empty()).then_some(unit)
}

fn push_metadata(out: &mut Vec<u8>, keyword: &str, name: &str, text: &str) {
    out.extend_from_slice(b"# ");
    out.extend_from_slice(keyword.as_bytes());
    out.push(b' ');
    escape::push_metadata_name(out, name);
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Timestamps are seconds. An exemplar is written where the format has a place for it:
/// at a counter's total and at buckets.
pub(super) fn push_sample(out: &mut Vec<u8>, family: &Output<'_>, sample: &StoredSample<'_>, utf8: bool) {
    push_series(out, &sample.name, sample.injected, sample.labels, sample.value);
    if let Some(ms) = sample.timestamp {
        out.push(b' ');
        push_seconds(out, ms);
    }
    if let Some(exemplar) = sample.exemplar.filter(|e| has_place(family, sample, e, utf8)) {
        out.extend_from_slice(b" # ");
        out.extend_from_slice(exemplar.as_bytes());
    }
    out.push(b'\n');
}

fn has_place(family: &Output<'_>, sample: &StoredSample<'_>, exemplar: &str, utf8: bool) -> bool {
    let place = match family.kind {
        MetricType::Counter => sample.name.ends_with("_total"),
        MetricType::Histogram | MetricType::GaugeHistogram => sample.name.ends_with("_bucket"),
        _ => false,
    };
    // Prometheus' lexer ends at a NUL, and with it the scrape.
    let place = place && !exemplar.contains('\0');
    // Escaped names are for clients that do not know quoted ones at all.
    place && (utf8 || !(exemplar.starts_with("{\"") || exemplar.contains(",\"")))
}
