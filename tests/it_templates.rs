//! `kafka2prom check templates` as a person meets it.
use crate::support::parts::Generation;
use crate::support::process;
use crate::support::prometheus;
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")
}

/// Exit code, what is printed, what is said beside it.
fn check(dir: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut arguments = vec!["check", "templates", "."];
    arguments.extend(options);
    let output = process::command(&arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const TEMPLATE: &str = "metrics:\n  - {name: x_total, type: counter, help: X., match: {kind: log}}\n";
const EVENT: &str = "{\"timestamp\":1,\"pipeline_id\":\"p\",\"level\":\"INFO\"}\n";

#[test]
fn the_shipped_templates_are_well() {
    let (code, catalogue, said) = check(&shipped(), &["--catalogue", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let catalogue: serde_json::Value = serde_json::from_str(&catalogue).unwrap();
    let names: Vec<&str> = catalogue.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"pipeline_sla_missed_total"), "{names:?}");
    assert!(said.contains("ok, ") && said.contains(" cases"), "{said}");
    let native: Vec<&serde_json::Value> =
        catalogue.as_array().unwrap().iter().filter(|entry| entry["native"] == true).collect();
    assert!(!native.is_empty(), "{catalogue:?}");
    assert!(said.contains("pipeline_run_duration_seconds: Prometheus sees the exponential buckets"), "{said}");
}

#[test]
fn a_case_that_differs_is_shown_and_accepted_by_update() {
    let dir = new_dir("templates");
    let case = dir.join("cases/one");
    fs::create_dir_all(&case).unwrap();
    fs::write(dir.join("a.yaml"), TEMPLATE).unwrap();
    fs::write(case.join("in.jsonl"), EVENT).unwrap();
    let (code, _, said) = check(&dir, &[]);
    assert!(code == Some(1) && said.contains("out.prom"), "{code:?} {said}");
    let (code, catalogue, said) = check(&dir, &["--update"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(catalogue.contains("| `x_total` | counter | `pipeline_id` | log | X. |"), "{catalogue}");
    let expected = "# HELP x_total X.\n# TYPE x_total counter\nx_total{pipeline_id=\"p\"} 1\n";
    assert_eq!(fs::read_to_string(case.join("out.prom")).unwrap(), expected);
    let (code, _, said) = check(&dir, &[]);
    assert!(code == Some(0) && !said.contains("native"), "{said}");
    fs::write(case.join("in.jsonl"), EVENT.repeat(2)).unwrap();
    let (code, _, said) = check(&dir, &[]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("- x_total{pipeline_id=\"p\"} 1") && said.contains("+ x_total{pipeline_id=\"p\"} 2"),
        "{said}"
    );
    assert!(said.contains("1 of 1 cases differ"), "{said}");
}

#[test]
fn a_faulty_template_is_named_with_its_line() {
    let dir = new_dir("templates");
    let (code, _, said) = check(&dir, &[]);
    assert!(code == Some(2) && said.contains("no *.yaml there"), "{code:?} {said}");
    fs::write(dir.join("a.yaml"), TEMPLATE.replace("x_total", "x_ms")).unwrap();
    let (code, _, said) = check(&dir, &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("a.yaml:2: metrics[0].name: ms is no base unit; use seconds"), "{said}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_cases() {
    for entry in fs::read_dir(shipped().join("cases")).unwrap() {
        let out = fs::read(entry.unwrap().path().join("out.prom")).unwrap();
        let checked = require(prometheus::check_metrics(Generation::Sid, &out));
        let Some(said) = checked else { return };
        said.unwrap_or_else(|error| panic!("{}\n{error}", String::from_utf8_lossy(&out)));
    }
}
