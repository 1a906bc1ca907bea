//! What a template may say, and what is said of one that may not; the shipped templates
//! and their cases.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::fs;
use std::path::{Path, PathBuf};

use k2p_pipelines::cases;
use k2p_pipelines::fact::FactKind;
use k2p_pipelines::template::{TemplateSet, catalogue, catalogue_markdown};

fn load(text: &str) -> Result<TemplateSet, Vec<String>> {
    TemplateSet::load(&[("t.yaml".to_owned(), text.to_owned())])
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// A good definition; a case changes or adds lines.
const GOOD: &str = "metrics:
  - name: pipeline_things_total
    type: counter
    help: Things.
    match:
      kind: log
      where:
        - {field: level, one_of: [WARN, ERROR]}
    labels:
      - {name: step, field: step, default: none}
    value: {field: metrics.things}
";

#[test]
fn a_fault_names_its_line_and_a_remedy() {
    load(GOOD).unwrap();
    let case = |from: &str, to: &str, expected: &str| {
        assert!(GOOD.contains(from), "{from}");
        let faults = load(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{to}: {faults:#?}");
    };
    case("    help: Things.\n", "", "t.yaml:2: metrics[0].help is missing");
    case("    type: counter\n", "", "t.yaml:2: metrics[0].type is missing");
    case("kind: log", "kind: logs", "t.yaml:6: metrics[0].match.kind: expected one of log, run,");
    case("kind: log", "kind: null", "match.kind is missing");
    case("help: Things.", "hlep: Things.", "t.yaml:4: metrics[0].hlep: unknown key; did you mean help?");
    case("one_of:", "oneof:", "t.yaml:8: metrics[0].match.where[0].oneof: unknown key");
    case("one_of: [WARN, ERROR]", "one_of: [WARN], equals: ERROR", "exactly one of them");
    case("one_of: [WARN, ERROR]", "present: 1", "expected true or false");
    case("type: counter", "type: sum", "t.yaml:3: metrics[0].type: expected one of counter, gauge");
    case("pipeline_things_total", "pipeline_things", "t.yaml:2: metrics[0].name: a counter's name must end in _total");
    case("pipeline_things_total", "pipeline_things_ms_total", "ms is no base unit; use seconds");
    case("pipeline_things_total", "PipelineThings_total", "snake case");
    case("pipeline_things_total", "kafka2prom_things_total", "bridge's own");
    case("type: counter", "type: gauge", "only a counter's name ends in _total");
    case(
        "help: Things.",
        "help: Things.\n    unit: seconds",
        "t.yaml:5: metrics[0].unit: the name pipeline_things_total does not end in seconds",
    );
    case("help: Things.", "help: Things.\n    buckets: [1]", "only histograms have buckets");
    case("help: Things.", "help: Things.\n    native: {factor: 1.1}", "only a native_histogram");
    case("help: Things.", "help: Things.\n    absent: remove", "only a gauge can go away");
    case("help: Things.", "help: Things.\n    max_series: 0", "a whole number from 1 to 10000");
    case("field: step", "field: run_id", "t.yaml:10: metrics[0].labels[0].field: run_id identifies one thing");
    case("field: step", "field: metrics.correlation_id", "identifies one thing");
    case("field: step", "field: metrics.mood", "none of the fields with few values; use one of env, step,");
    case("field: step", "field: tags.dataset", "take: first_segment");
    case("field: step", "field: step, value: x", "exactly one of them");
    case("field: step, default: none", "value: x, default: none", "a constant has neither");
    case("name: step", "name: run_id", "promises an identifier");
    case("name: step", "name: le", "a meaning of its own");
    case("name: step", "name: partition", "a meaning of its own");
    case("name: step", "name: Step", "snake case");
    case("default: none", "rest: other", "there are none");
    case(
        "default: none}",
        "default: none}\n      - {name: step, field: env}",
        "t.yaml:11: metrics[0].labels[1].name: the label step stands here a second time",
    );
    case("field: metrics.things}", "constant: 1, field: x}", "exactly one of them");
    case("field: metrics.things}", "constant: -1}", "below 0");
    case("field: metrics.things}", "constant: 1, minus: x}", "neither subtracted from");
    case("field: metrics.things}", "field: x, from: milliseconds}", "becomes seconds, which the name");
    case("field: metrics.things}", "field: x, from: ms}", "expected one of milliseconds");
    case("metrics:", "metric:", "t.yaml:1: metric: unknown key; did you mean metrics?");
    case("    type: counter", "   type: counter", "not YAML");
    case("help: Things.", "help: ${HOME}", "no variable HOME");
}

#[test]
fn all_faults_of_all_files_are_said_at_once() {
    let files = [("b.yaml", "metrics:\n  - {name: x}\n"), ("a.yaml", "metrics: [1]\n")];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let faults = TemplateSet::load(&files).unwrap_err();
    let places: Vec<(&str, u32)> = faults.iter().map(|fault| (&*fault.file, fault.line)).collect();
    assert_eq!(places.iter().filter(|(file, _)| *file == "a.yaml").count(), 1, "{faults:#?}");
    assert!(places.iter().filter(|(file, _)| *file == "b.yaml").count() >= 3, "{faults:#?}");
}

#[test]
fn definitions_of_one_name_must_agree() {
    let other = GOOD.replace("metrics:\n", "").replace("{field: metrics.things}", "{constant: 0}");
    let two = load(&format!("{GOOD}{other}")).unwrap();
    assert_eq!((two.metrics().len(), two.metrics()[0].kinds()), (1, vec![FactKind::Log]));
    let clash = |from: &str, to: &str, what: &str| {
        let faults = load(&format!("{GOOD}{}", other.replacen(from, to, 1))).unwrap_err();
        let expected = format!("t.yaml:12: pipeline_things_total has another {what} at t.yaml:2; ");
        assert!(faults.iter().any(|fault| fault.starts_with(&expected)), "{to}: {faults:#?}");
    };
    clash("help: Things.", "help: Other things.", "help");
    clash("name: step", "name: phase", "labels");
    clash("help: Things.", "help: Things.\n    max_series: 7", "max_series");
    clash("help: Things.", "help: Things.\n    unit: things", "unit");
    clash("kind: log", "kind: job", "subject");
    clash("type: counter", "type: gauge", "type");
    // In another file too.
    let files = [("a.yaml", GOOD.to_owned()), ("b.yaml", GOOD.replace("Things.", "Others."))];
    let faults = TemplateSet::load(&files.map(|(name, text)| (name.to_owned(), text))).unwrap_err();
    assert_eq!(
        faults[0].to_string().split(';').next(),
        Some("b.yaml:2: pipeline_things_total has another help at a.yaml:2")
    );
}

#[test]
fn histograms_have_buckets() {
    let text = |kind: &str, rest: &str| {
        format!(
            "metrics:\n  - {{name: x_seconds, type: {kind}, help: H, match: {{kind: log}}, value: {{field: f}}{rest}}}\n"
        )
    };
    let case = |kind: &str, rest: &str, expected: &str| match load(&text(kind, rest)) {
        Ok(_) => assert_eq!(expected, "", "{kind} {rest}"),
        Err(faults) => {
            assert!(!expected.is_empty() && faults.iter().any(|f| f.contains(expected)), "{rest}: {faults:#?}");
        }
    };
    case("histogram", ", buckets: [0.1, 1, 10]", "");
    case("histogram", "", "buckets is missing");
    case("histogram", ", buckets: [1, 1]", "not ascending");
    case("histogram", ", buckets: [2, 1]", "not ascending");
    case("histogram", ", buckets: [1, .inf]", "no finite number");
    case("histogram", ", buckets: [1, x]", "no finite number");
    case("histogram", ", buckets: [1], native: {factor: 1.1}", "only a native_histogram");
    case("native_histogram", "", "");
    case("native_histogram", ", buckets: [1], native: {factor: 1.1, max_buckets: 20}", "");
    case("native_histogram", ", native: {factor: 1}", "a number from 1.002 to 16");
    case("gauge", "", "");
    case("counter", "", "must end in _total");
    case("last_timestamp", "", "_timestamp_seconds");
}

#[test]
fn the_hash_is_of_names_and_texts() {
    let load = |files: &[(&str, &str)]| {
        let files: Vec<(String, String)> = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        TemplateSet::load(&files).unwrap().hash().to_owned()
    };
    let other = GOOD.replace("things_total", "others_total");
    let hash = load(&[("a", GOOD), ("b", &other)]);
    assert_eq!(hash, load(&[("b", &other), ("a", GOOD)]));
    assert_eq!(hash.len(), 64);
    assert_ne!(hash, load(&[("a", GOOD)]));
    assert_ne!(hash, load(&[("a", &other), ("b", GOOD)]));
    assert_ne!(hash, load(&[("a", &GOOD.replace("Things.", "Thing.")), ("b", &other)]));
}

fn shipped_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates")
}

fn shipped() -> TemplateSet {
    let mut files = Vec::new();
    for entry in fs::read_dir(shipped_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    TemplateSet::load(&files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[test]
fn the_shipped_cases_hold() {
    let templates = shipped();
    let mut used: Vec<String> = Vec::new();
    for entry in fs::read_dir(shipped_dir().join("cases")).unwrap() {
        let case = entry.unwrap().path();
        let given = cases::run(&templates, &fs::read_to_string(case.join("in.jsonl")).unwrap());
        let expected = fs::read_to_string(case.join("out.prom")).unwrap();
        assert_eq!(cases::difference(&expected, &given), [""; 0], "{}", case.display());
        used.extend(
            given.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned)),
        );
    }
    let unused: Vec<&str> =
        templates.metrics().iter().map(|m| &*m.name).filter(|name| !used.iter().any(|u| u == name)).collect();
    assert_eq!(unused, [""; 0], "metrics of which no case has a sample");
}

#[test]
fn a_difference_is_shown_both_ways() {
    let case = |expected: &str, given: &str, lines: &[&str]| assert_eq!(cases::difference(expected, given), lines);
    case("a 1\nb 2\n", "a 1\nb 2\n", &[]);
    case("a 1\nb 2\n", "a 1\nb 3\n", &["- b 2", "+ b 3"]);
    case("a 1\n", "a 1\nb 2\n", &["+ b 2"]);
    case("a 1\nb 2\n", "b 2\na 1\n", &["! the same lines in another order or number"]);
}

/// The names and labels that design §5 fixes.
const TREATIES: [&str; 23] = [
    "pipeline_runs_total{pipeline_id,trigger_type,status} counter",
    "pipeline_run_duration_seconds{pipeline_id,trigger_type,status} histogram",
    "pipeline_runs_active{pipeline_id} gauge",
    "pipeline_oldest_active_run_start_timestamp_seconds{pipeline_id} gauge",
    "pipeline_last_run_timestamp_seconds{pipeline_id,status} gauge",
    "pipeline_sla_target_seconds{pipeline_id} gauge",
    "pipeline_sla_missed_total{pipeline_id} counter",
    "pipeline_step_duration_seconds{pipeline_id,step} histogram",
    "pipeline_rows_total{pipeline_id,step,direction} counter",
    "pipeline_errors_total{pipeline_id,component,error_type} counter",
    "pipeline_retries_total{pipeline_id} counter",
    "pipeline_log_events_total{pipeline_id,level} counter",
    "pipeline_es_bulk_requests_total{pipeline_id,result} counter",
    "pipeline_runs_lost_total{pipeline_id} counter",
    "pipeline_retries_exhausted_total{pipeline_id} counter",
    "pipeline_log_buffer_utilization_ratio{pipeline_id} gauge",
    "pipeline_log_buffer_dropped_total{pipeline_id,reason} counter",
    "pipeline_consumer_lag_records{pipeline_id} gauge",
    "pipeline_lineage_total{pipeline_id,operation} counter",
    "job_runtime_seconds{job_label,job_type} histogram",
    "job_memory_peak_bytes{job_label,job_type} gauge",
    "job_cpu_seconds_total{job_label,job_type} counter",
    "job_rows_total{job_label,job_type} counter",
];

#[test]
fn the_shipped_templates_keep_the_treaties() {
    let entries = catalogue(&shipped());
    for treaty in TREATIES {
        let (name, rest) = treaty.split_once('{').unwrap();
        let (labels, kind) = rest.split_once("} ").unwrap();
        let entry = entries.iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name} is not there"));
        let mut expected: Vec<&str> = labels.split(',').collect();
        expected[1..].sort_unstable();
        assert_eq!(
            (&entry.labels[..], entry.kind),
            (&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..], kind),
            "{name}"
        );
    }
}

#[test]
fn the_documented_catalogue_is_the_templates() {
    let readme = fs::read_to_string(shipped_dir().join("README.md")).unwrap();
    let (_, after) = readme.split_once("<!-- catalogue -->\n").unwrap();
    let (table, _) = after.split_once("<!-- end -->").unwrap();
    let expected = catalogue_markdown(&shipped());
    assert_eq!(table.trim(), expected.trim(), "run: kafka2prom check templates templates, and paste its table");
}
