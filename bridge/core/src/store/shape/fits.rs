//! Whether a family's values keep OpenMetrics' rules for its type.
use super::shaped::ShapedFamily;
use crate::model::MetricType;
use crate::store::structure::{self, Line};

/// The judgement of [`structure::fits`], by a shorter way for plain counters.
pub(super) fn fits(family: &ShapedFamily<'_>) -> bool {
    if family.kind() == MetricType::Counter && family.is_single() {
        return family.values().all(|(_, value)| counts(value));
    }
    let lines: Vec<Line<'_>> = family.samples().map(Line::from).collect();
    structure::fits(family.kind(), &family.name(), &lines)
}

/// Whether a value is a number of at least 0.
fn counts(value: &str) -> bool {
    match value.as_bytes().first() {
        Some(b'0'..=b'9' | b'.') => true,
        _ => value.parse::<f64>().is_ok_and(|v| v >= 0.0),
    }
}
