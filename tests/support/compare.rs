//! Comparing what went in with what came out, sample by sample.
use super::oracle::{Reading, Series};
use std::collections::BTreeMap;

/// Value by series; NaN is `None`.
pub type Values = BTreeMap<Series, Option<f64>>;

/// What a scrape must show of a dump (`reading`) of an origin: its labels on every
/// sample; a label of the dump that collides is renamed `exported_*`.
pub fn expected(reading: &Reading, origin: &[(&str, &str)]) -> Values {
    let with_origin = |series: &Series| {
        let mut out = Series::new();
        for (name, value) in series {
            let collides = origin.iter().any(|(label, _)| label == name);
            let name = if collides { format!("exported_{name}") } else { name.clone() };
            out.insert(name, value.clone());
        }
        for (name, value) in origin {
            out.insert((*name).to_owned(), (*value).to_owned());
        }
        out
    };
    reading.samples.iter().map(|s| (with_origin(&s.series), s.value)).collect()
}

/// What a scrape showed of the origins, without the bridge's own metrics.
///
/// # Panics
/// Where a series is there twice.
pub fn exposed(reading: &Reading) -> Values {
    assert_eq!(reading.duplicates(), Vec::<Series>::new(), "series that are exposed twice");
    let own = |series: &Series| series["__name__"].starts_with("kafka2prom_");
    reading.values().into_iter().filter(|(series, _)| !own(series)).collect()
}

/// As Prometheus stores them: no empty labels, bounds in one spelling, no
/// timestamps.
pub fn as_stored(values: &Values) -> Values {
    values.iter().map(|(series, value)| (stored(series), *value)).collect()
}

/// [`as_stored`] of one series.
pub fn stored(series: &Series) -> Series {
    let mut out = series.clone();
    out.retain(|_, value| !value.is_empty());
    for bound in ["le", "quantile"] {
        if let Some(value) = out.get_mut(bound)
            && let Ok(number) = value.parse::<f64>()
        {
            *value = format!("{number:?}");
        }
    }
    out
}

/// What differs, for a person: at most ten of each kind.
///
/// # Errors
/// Where anything does.
pub fn same(expected: &Values, got: &Values) -> Result<(), String> {
    let missing = expected.keys().filter(|series| !got.contains_key(*series));
    let extra = got.keys().filter(|series| !expected.contains_key(*series));
    let other = expected.iter().filter_map(|(series, value)| {
        let found = got.get(series)?;
        (found != value).then(|| format!("{series:?}: {found:?}, not {value:?}"))
    });
    let kinds: [(&str, Vec<String>); 3] = [
        ("missing", missing.map(|s| format!("{s:?}")).collect()),
        ("not expected", extra.map(|s| format!("{s:?}")).collect()),
        ("other value", other.collect()),
    ];
    if kinds.iter().all(|(_, found)| found.is_empty()) {
        return Ok(());
    }
    let mut report = format!("{} series expected, {} found", expected.len(), got.len());
    for (kind, found) in kinds {
        let shown = found.iter().take(10).cloned().collect::<Vec<_>>().join("\n  ");
        report += &format!("\n{kind}: {}\n  {shown}", found.len());
    }
    Err(report)
}
