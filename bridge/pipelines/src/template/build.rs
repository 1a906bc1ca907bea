//! Template files → metrics, with everything that is wrong with them.
use std::collections::BTreeMap;
use std::sync::Arc;

use k2p_config::{Document, Reader, Section};

use super::label::{FieldLabel, LabelSpec, Take};
use super::rule::{Condition, Rule, Test};
use super::value::{Scale, UNITS, ValueSpec};
use super::{Fault, Metric, MetricKind, allowed, names};
use crate::fact::FactKind;

/// Metrics that all templates together may define: rules are numbered in 16 bits.
const MAX_METRICS: usize = 10_000;

/// Reads the files; the metrics are sorted by name.
pub(super) fn build(files: &[(String, String)]) -> Result<Vec<Metric>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut metrics: BTreeMap<Box<str>, Metric> = BTreeMap::new();
    for (name, text) in files {
        // A template means the same on every bridge, so nothing of this one is in it.
        let no_env = |_: &str| None;
        let no_file = |_: &str| Err(std::io::ErrorKind::Unsupported.into());
        let reader = Reader::new(Document::parse(name, text, &no_env, &no_file));
        let file: Arc<str> = name.as_str().into();
        let mut clashes = Vec::new();
        for section in reader.root().sections("metrics") {
            if let Some(metric) = metric(&section, &file) {
                join(&mut metrics, metric, &mut clashes);
            }
        }
        if let Err(errors) = reader.finish() {
            faults.extend(errors.0.into_iter().map(|error| Fault {
                file: error.file,
                line: error.position.line,
                message: error.message,
                remedy: error.remedy,
            }));
        }
        faults.append(&mut clashes);
    }
    if metrics.len() > MAX_METRICS {
        let message = format!("{} metrics, at most {MAX_METRICS}", metrics.len());
        faults.push(Fault { file: "templates".into(), line: 0, message, remedy: "define fewer".to_owned() });
    }
    faults.sort();
    if faults.is_empty() { Ok(metrics.into_values().collect()) } else { Err(faults) }
}

/// Adds a definition to those of its name, which must agree with it.
fn join(metrics: &mut BTreeMap<Box<str>, Metric>, metric: Metric, clashes: &mut Vec<Fault>) {
    let Some(first) = metrics.get_mut(&metric.name) else {
        metrics.insert(metric.name.clone(), metric);
        return;
    };
    let differs = [
        ("type", first.kind.as_str() != metric.kind.as_str()),
        ("buckets", first.kind.as_str() == metric.kind.as_str() && first.kind != metric.kind),
        ("help", first.help != metric.help),
        ("unit", first.unit != metric.unit),
        ("labels", first.labels != metric.labels),
        ("subject", first.subject_label != metric.subject_label),
        ("max_series", first.max_series != metric.max_series),
    ];
    let differs: Vec<&str> = differs.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    if differs.is_empty() {
        let mut rules = std::mem::take(&mut first.rules).into_vec();
        rules.extend(metric.rules);
        first.rules = rules.into();
        return;
    }
    let message = format!("{} has another {} at {}:{}", metric.name, differs.join(" and "), first.file, first.line);
    let remedy = "definitions of one name feed one metric: make them agree, or rename one".to_owned();
    clashes.push(Fault { file: metric.file, line: metric.line, message, remedy });
}

/// One definition; `None` if so much is wrong with it that nothing can be said of the rest.
fn metric(section: &Section<'_>, file: &Arc<str>) -> Option<Metric> {
    section.required("name");
    section.required("help");
    section.required("type");
    let name = section.string("name");
    let help = section.string("help").unwrap_or_default();
    let unit = section.string("unit");
    let max_series = section.integer("max_series", 1..=10_000).unwrap_or(100);
    let kind = kind(section);
    let (fact, conditions) = matching(&section.section("match"));
    let value = value(section, kind.as_ref(), name.as_deref());
    let labels = labels(section, fact);
    let absent_removes = section.choice("absent", &[("keep", false), ("remove", true)]);
    if let (Some(_), Some(kind)) = (absent_removes, &kind)
        && *kind != MetricKind::Gauge
    {
        section.error("absent", "only a gauge can go away", "leave it out: other types never lose a series");
    }
    let (name, kind) = (name?, kind?);
    for (message, remedy) in names::metric(&name, &kind) {
        section.error("name", &message, &remedy);
    }
    if let Some(unit) = &unit
        && !names::ends_in_unit(&name, unit)
    {
        section.error("unit", &format!("the name {name} does not end in {unit}"), "append the unit, before _total");
    }
    let fact = fact?;
    let (label_names, specs) = labels.into_iter().unzip();
    let label_names: Vec<Box<str>> = label_names;
    let specs: Vec<LabelSpec> = specs;
    let rule = Rule {
        kind: fact,
        conditions: conditions.into(),
        labels: specs.into(),
        value: value?,
        absent_removes: absent_removes == Some(true),
    };
    Some(Metric {
        name: name.into(),
        kind,
        help: help.into(),
        unit: unit.map(Into::into),
        labels: label_names.into(),
        subject_label: fact.subject_label(),
        max_series: u32::try_from(max_series).unwrap_or(100),
        rules: Box::new([rule]),
        file: Arc::clone(file),
        line: section.position().line,
    })
}

fn kind(section: &Section<'_>) -> Option<MetricKind> {
    let words = ["counter", "gauge", "last_timestamp", "histogram", "native_histogram"].map(|word| (word, word));
    let word = section.choice("type", &words);
    let histogram = matches!(word, Some("histogram" | "native_histogram"));
    if !histogram && word.is_some() && section.has("buckets") {
        section.error("buckets", "only histograms have buckets", "leave them out, or make it a histogram");
    }
    let bounds = if histogram || word.is_none() { buckets(section) } else { Box::default() };
    let native = section.section("native");
    let factor = native.float("factor", 1.002..=16.0).unwrap_or(1.1);
    let max_buckets = native.integer("max_buckets", 4..=10_000).unwrap_or(160);
    if native.present() && word.is_some_and(|word| word != "native_histogram") {
        section.error("native", "only a native_histogram has it", "leave it out, or make it a native_histogram");
    }
    match word? {
        "counter" => Some(MetricKind::Counter),
        "gauge" => Some(MetricKind::Gauge),
        "last_timestamp" => Some(MetricKind::LastTimestamp),
        "histogram" => {
            if bounds.is_empty() && !section.has("buckets") {
                section.required("buckets");
            }
            Some(MetricKind::Histogram(bounds))
        }
        _ => {
            let max_buckets = u16::try_from(max_buckets).unwrap_or(160);
            Some(MetricKind::NativeHistogram { bounds, schema: schema(factor), max_buckets })
        }
    }
}

/// The coarsest schema whose buckets grow by at most `factor`, as client_golang picks it.
fn schema(factor: f64) -> i8 {
    let mut schema = 8;
    while schema > -4 && (-f64::from(schema - 1)).exp2().exp2() <= factor {
        schema -= 1;
    }
    schema
}

fn buckets(section: &Section<'_>) -> Box<[f64]> {
    let texts = section.string_list("buckets").unwrap_or_default();
    let bounds: Vec<f64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if bounds.len() < texts.len() || bounds.iter().any(|bound| !bound.is_finite()) {
        section.error("buckets", "an upper bound that is no finite number", "write numbers; +Inf is always there");
    } else if !ascending {
        section.error("buckets", "not ascending", "sort the upper bounds, each once");
    } else if bounds.len() > 200 {
        section.error("buckets", "more than 200", "write fewer: each is a series of its own");
    }
    bounds.into()
}

fn matching(section: &Section<'_>) -> (Option<FactKind>, Vec<Condition>) {
    section.required("kind");
    let kinds = FactKind::ALL.map(|kind| (kind.as_str(), kind));
    let mut conditions = Vec::new();
    for section in section.sections("where") {
        section.required("field");
        let field = section.string("field");
        let equals = section.string("equals").map(|text| vec![text]);
        let one_of = section.string_list("one_of");
        let present = section.bool("present");
        let test = match (equals, one_of, present) {
            (Some(texts), None, None) | (None, Some(texts), None) if !texts.is_empty() => {
                Test::OneOf(texts.into_iter().map(Into::into).collect())
            }
            (None, None, Some(present)) => Test::Present(present),
            _ => {
                section.error("field", "expected one of equals, one_of and present", "write exactly one of them");
                continue;
            }
        };
        if let Some(field) = field {
            conditions.push(Condition { field: field.into(), test });
        }
    }
    (section.choice("kind", &kinds), conditions)
}

fn value(section: &Section<'_>, kind: Option<&MetricKind>, name: Option<&str>) -> Option<ValueSpec> {
    let value = section.section("value");
    let constant = value.float("constant", f64::MIN..=f64::MAX);
    let field = value.string("field");
    let minus = value.string("minus");
    let units = UNITS.map(|(unit, base, scale)| (unit, (base, scale)));
    let from = value.choice("from", &units);
    if let (Some((base, _)), Some(name)) = (from, name)
        && !names::ends_in_unit(name, base)
    {
        value.error(
            "from",
            &format!("becomes {base}, which the name {name} does not end in"),
            "rename the metric, or leave it out",
        );
    }
    if !section.has("value") {
        if kind == Some(&MetricKind::Counter) {
            return Some(ValueSpec::Constant(1.0));
        }
        section.required("value");
        return None;
    }
    match (constant, field) {
        (Some(constant), None) => {
            if minus.is_some() || from.is_some() {
                value.error("constant", "a constant is neither subtracted from nor converted", "write the result");
            }
            if constant < 0.0 && kind != Some(&MetricKind::Gauge) {
                value.error("constant", "below 0", "write a positive one: only a gauge goes down");
            }
            Some(ValueSpec::Constant(constant))
        }
        (None, Some(field)) => {
            let scale = from.map_or(Scale::None, |(_, scale)| scale);
            Some(ValueSpec::Field { field: field.into(), minus: minus.map(Into::into), scale })
        }
        _ => {
            section.error("value", "expected either constant or field", "write exactly one of them");
            None
        }
    }
}

/// Names and makings of the labels, sorted by name, without the subject's own.
fn labels(section: &Section<'_>, fact: Option<FactKind>) -> Vec<(Box<str>, LabelSpec)> {
    let mut labels: Vec<(Box<str>, LabelSpec)> = Vec::new();
    for label in section.sections("labels") {
        label.required("name");
        let name = label.string("name");
        let spec = label_spec(&label);
        let (Some(name), Some(spec)) = (name, spec) else {
            continue;
        };
        if fact.is_some_and(|fact| fact.subject_label() == name) {
            // The engine puts it there anyway.
            continue;
        }
        if let Some((message, remedy)) = names::label(&name) {
            label.error("name", &message, &remedy);
        }
        if labels.iter().any(|(known, _)| **known == *name) {
            label.error("name", &format!("the label {name} stands here a second time"), "keep one of the two");
        }
        labels.push((name.into(), spec));
    }
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    labels
}

fn label_spec(label: &Section<'_>) -> Option<LabelSpec> {
    let constant = label.string("value");
    let field = label.string("field");
    let takes = [("first_segment", Take::First), ("last_segment", Take::Last)];
    let take = label.choice("take", &takes).unwrap_or(Take::Whole);
    let values = label.string_map("values").unwrap_or_default();
    let rest = label.string("rest");
    let default = label.string("default");
    let field = match (constant, field) {
        (Some(constant), None) => {
            if take != Take::Whole || !values.is_empty() || rest.is_some() || default.is_some() {
                label.error("value", "a constant has neither take nor values, rest or default", "leave them out");
            }
            return Some(LabelSpec::Constant(constant.into()));
        }
        (None, Some(field)) => field,
        _ => {
            label.error("name", "expected either field or value", "write exactly one of them");
            return None;
        }
    };
    if values.is_empty() && rest.is_some() {
        label.error("rest", "stands for what is not in values, and there are none", "add values, or write value:");
    }
    let closed = !values.is_empty() && rest.is_some();
    if field != "pipeline_id"
        && field != "job_label"
        && let Some((message, remedy)) = allowed::refusal(&field, take != Take::Whole, closed)
    {
        label.error("field", &message, &remedy);
    }
    Some(LabelSpec::Field(FieldLabel {
        field: field.into(),
        take,
        values: values.into_iter().map(|(from, to)| (from.into(), to.into())).collect(),
        rest: rest.map(Into::into),
        default: default.map(Into::into),
    }))
}
