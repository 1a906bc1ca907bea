//! Names that a metric may have: promlint's rules, as `promtool check metrics` has them,
//! and ours.
use super::MetricKind;

/// What is wrong with a name, and what to do.
pub(super) type Complaint = (String, String);

/// Words for units that are no base units, and the base unit.
const UNIT_WORDS: [(&str, &str); 32] = [
    ("ms", "seconds"),
    ("us", "seconds"),
    ("ns", "seconds"),
    ("s", "seconds"),
    ("sec", "seconds"),
    ("m", "seconds"),
    ("h", "seconds"),
    ("d", "seconds"),
    ("milliseconds", "seconds"),
    ("microseconds", "seconds"),
    ("nanoseconds", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("b", "bytes"),
    ("kb", "bytes"),
    ("mb", "bytes"),
    ("gb", "bytes"),
    ("tb", "bytes"),
    ("pb", "bytes"),
    ("kilobytes", "bytes"),
    ("megabytes", "bytes"),
    ("gigabytes", "bytes"),
    ("terabytes", "bytes"),
    ("kibibytes", "bytes"),
    ("mebibytes", "bytes"),
    ("gibibytes", "bytes"),
    ("bits", "bytes"),
    ("percent", "ratio"),
    ("percentage", "ratio"),
    ("permille", "ratio"),
];

/// Everything that is wrong with a metric's name.
pub(super) fn metric(name: &str, kind: &MetricKind) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    let mut complain = |message: String, remedy: &str| found.push((message, remedy.to_owned()));
    if !is_snake_case(name) {
        complain(
            format!("the name {name:?} is not in snake case"),
            "write lower-case words, joined by single underscores",
        );
        return found;
    }
    if name.starts_with("kafka2prom_") {
        complain("the prefix kafka2prom_ belongs to the bridge's own metrics".to_owned(), "choose another prefix");
    }
    let counter = *kind == MetricKind::Counter;
    if counter != name.ends_with("_total") {
        let message =
            if counter { "a counter's name must end in _total" } else { "only a counter's name ends in _total" };
        complain(message.to_owned(), if counter { "append _total" } else { "leave _total out, or make it a counter" });
    }
    for suffix in ["_bucket", "_count", "_sum", "_info", "_created"] {
        if name.ends_with(suffix) {
            complain(format!("the suffix {suffix} means something else in the exposition"), "choose another last word");
        }
    }
    for word in name.split('_') {
        if ["counter", "gauge", "histogram", "summary"].contains(&word) {
            complain(format!("the name holds the metric's type, {word}"), "leave the type out");
        }
        if let Some((_, base)) = UNIT_WORDS.iter().find(|(unit, _)| *unit == word) {
            complain(format!("{word} is no base unit"), &format!("use {base} and convert the value with from:"));
        }
    }
    if *kind == MetricKind::LastTimestamp && !name.ends_with("_timestamp_seconds") {
        complain("the name of a last_timestamp must end in _timestamp_seconds".to_owned(), "append _timestamp_seconds");
    }
    found
}

/// What is wrong with a label's name.
pub(super) fn label(name: &str) -> Option<Complaint> {
    if !is_snake_case(name) {
        let remedy = "write lower-case words, joined by single underscores";
        return Some((format!("the label name {name:?} is not in snake case"), remedy.to_owned()));
    }
    let reserved = ["le", "quantile", "partition", "job", "instance"];
    if reserved.contains(&name) {
        return Some((format!("the label {name} has a meaning of its own"), "choose another name".to_owned()));
    }
    super::allowed::is_identifier(name).then(|| {
        let message = format!("a label {name} promises an identifier: such a label never stops growing");
        (message, "leave it out, or name it after what it holds".to_owned())
    })
}

/// Whether `name` ends in `unit`, before a counter's `_total`.
pub(super) fn ends_in_unit(name: &str, unit: &str) -> bool {
    let name = name.strip_suffix("_total").unwrap_or(name);
    name.strip_suffix(unit).is_some_and(|before| before.ends_with('_'))
}

fn is_snake_case(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.contains("__")
        && !name.ends_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_promlint() {
        let case = |name: &str, kind: &MetricKind, complaint: &str| {
            let found = metric(name, kind);
            match complaint {
                "" => assert_eq!(found, [], "{name}"),
                _ => assert!(found.iter().any(|(message, _)| message.contains(complaint)), "{name}: {found:?}"),
            }
        };
        let (counter, gauge, timestamp) = (&MetricKind::Counter, &MetricKind::Gauge, &MetricKind::LastTimestamp);
        case("pipeline_runs_total", counter, "");
        case("pipeline_rows_written_total", counter, "");
        case("pipeline_runs", counter, "must end in _total");
        case("pipeline_runs_total", gauge, "only a counter's");
        case("pipeline_runs_count", gauge, "_count");
        case("pipeline_run_info", gauge, "_info");
        case("pipeline_runs_created", gauge, "_created");
        case("pipeline_runs_gauge", gauge, "type, gauge");
        case("pipeline_histogram_seconds", gauge, "type, histogram");
        case("pipeline_duration_ms", gauge, "ms is no base unit");
        case("pipeline_duration_minutes", gauge, "minutes is no base unit");
        case("pipeline_used_percent", gauge, "percent is no base unit");
        case("pipeline_duration_seconds", gauge, "");
        case("Pipeline_runs", gauge, "snake case");
        case("pipelineRuns", gauge, "snake case");
        case("pipeline:runs", gauge, "snake case");
        case("pipeline__runs", gauge, "snake case");
        case("1_runs", gauge, "snake case");
        case("", gauge, "snake case");
        case("kafka2prom_runs", gauge, "bridge's own");
        case("pipeline_last_run", timestamp, "_timestamp_seconds");
        case("pipeline_last_run_timestamp_seconds", timestamp, "");
    }

    #[test]
    fn labels_have_no_reserved_names() {
        let case = |name: &str, allowed: bool| assert_eq!(label(name).is_none(), allowed, "{name}");
        case("step", true);
        case("dataset_class", true);
        case("pipeline_id", true);
        case("le", false);
        case("partition", false);
        case("__name__", false);
        case("run_id", false);
        case("jobRunId", false);
        case("Step", false);
    }
}
