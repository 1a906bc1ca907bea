//! The alerting rules: they are what their tables say, their tests pass in both
//! generations of promtool and catch changes, they name only metrics that exist, and
//! each has its runbook and its way through Alertmanager.
use crate::contract;
use crate::contract::promql::uses;
use crate::support::parts::{self, Generation};
use crate::support::process;
use crate::support::prometheus::promtool;
use crate::support::repo::{read, root, text};
use crate::support::skip::{Missing, require};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What every alert is tested for.
const KINDS: [&str; 8] = ["fires", "below", "boundary", "for", "resolves", "missing_scrape", "moves", "reset"];
/// Kinds that may be left out, all alerts together: `up` and the like know no boundary,
/// Watchdog compares nothing.
const LEFT_OUT: usize = 9;
/// Of the alerts that issue 6 names.
const ALERTS: usize = 41;
const SECTIONS: [&str; 5] = ["Meaning", "Impact", "How to check", "How to fix", "How to silence"];

fn python(arguments: &[&str]) -> Result<Output, Missing> {
    let interpreter = env::var("K2P_PYTHON").unwrap_or_else(|_| "python3".into());
    let run =
        Command::new(interpreter).args(arguments).current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1").output();
    run.map_err(|_| Missing::Part("python3 is missing (apt-get install python3)".into()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// The tables, as `alerts/source` lists them.
fn tables() -> Result<&'static Value, Missing> {
    static TABLES: OnceLock<Result<Value, Missing>> = OnceLock::new();
    let ask = || {
        let output = python(&["alerts/source", "--list"])?;
        assert!(output.status.success(), "{}", said(&output));
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    };
    TABLES.get_or_init(ask).as_ref().map_err(Clone::clone)
}

fn alerts() -> Result<&'static [Value], Missing> {
    Ok(tables()?["alerts"].as_array().expect("a list"))
}

fn files(dir: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn alerts_are_what_their_tables_say() {
    let Some(output) = require(python(&["alerts/source", "--check"])) else { return };
    assert!(output.status.success(), "{}", said(&output));
}

fn rules_and_tests_pass(generation: Generation) {
    let paths = |dir| files(dir).iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
    for (words, dir) in [(["check", "rules"], "alerts/rules"), (["test", "rules"], "alerts/tests")] {
        let paths = paths(dir);
        let arguments: Vec<&str> = words.into_iter().chain(paths.iter().map(String::as_str)).collect();
        let Some(result) = require(promtool(generation, &arguments, b"")) else { return };
        assert_eq!(result, Ok(()), "{generation:?}");
    }
}

#[test]
fn alerts_pass_their_tests_in_bookworm() {
    rules_and_tests_pass(Generation::Bookworm);
}

#[test]
fn alerts_pass_their_tests_in_sid() {
    rules_and_tests_pass(Generation::Sid);
}

#[test]
fn alerts_are_tested_for_every_kind() {
    let Some(alerts) = require(alerts()) else { return };
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut left_out = 0;
    for alert in alerts {
        let tested = kinds.entry(text(alert, "name")).or_default();
        tested.extend(KINDS.iter().filter(|kind| alert["kinds"][**kind].as_u64() > Some(0)));
        let without = alert["without"].as_object().unwrap();
        left_out += without.len();
        for (kind, why) in without {
            let of_ours = KINDS.iter().find(|k| *k == kind).unwrap_or_else(|| panic!("no such kind: {kind}"));
            assert!(why.as_str().is_some_and(|why| why.len() > 10), "{}: {kind} without a reason", text(alert, "name"));
            assert!(tested.insert(*of_ours), "{}: {kind} is tested and left out", text(alert, "name"));
        }
        // Several rules of one alert: each has at least those that its own windows decide.
        for kind in ["fires", "below", "for", "resolves"] {
            let there = alert["kinds"][kind].as_u64() > Some(0) || without.contains_key(kind);
            assert!(there, "{} is not tested for {kind}", text(alert, "key"));
        }
    }
    assert_eq!(kinds.len(), ALERTS, "{:?}", kinds.keys());
    for (name, tested) in &kinds {
        let missing: Vec<_> = KINDS.iter().filter(|kind| !tested.contains(**kind)).collect();
        assert!(missing.is_empty(), "{name} is not tested for {missing:?}");
    }
    assert!(left_out <= LEFT_OUT, "{left_out} kinds are left out");
}

/// A tenth of the mutants in each run, always the same; all of them in the long one
/// (about 1000, half a second of CPU each).
#[test]
fn alerts_tests_catch_changes_of_the_rules() {
    let Some(tool) = require(parts::prometheus_tool(Generation::Sid, "promtool")) else { return };
    let every = if env::var("K2P_LONG").as_deref() == Ok("1") { "1" } else { "10" };
    let tool = tool.display().to_string();
    let arguments = ["alerts/source/mutate.py", "--promtool", &tool, "--jobs", "2", "--sample", every];
    let Some(output) = require(python(&arguments)) else { return };
    assert!(output.status.success(), "{}", said(&output));
}

// --- contract -----------------------------------------------------------------------

#[test]
fn the_reading_of_expressions_finds_metrics_and_labels() {
    let read = |expr: &str| {
        uses(expr).into_iter().map(|u| format!("{}{:?}", u.metric, u.labels)).collect::<Vec<_>>().join(" ")
    };
    for (expr, expected) in [
        ("up", "up[]"),
        (r#"up{job="a",x=~"b,c"} == 0"#, r#"up["job", "x"]"#),
        (
            r#"sum by (a, b) (rate(x_total{a!="1"}[5m] offset 1h)) / on (a) group_left () y:z:w"#,
            r#"x_total["a"] y:z:w[]"#,
        ),
        (r#"time() - max without (i) (t) > scalar(k{n="a b"}) and vector(1)"#, r#"t[] k["n"]"#),
        ("1 - a unless ignoring (x) b >= 3.5", "a[] b[]"),
    ] {
        assert_eq!(read(expr), expected, "{expr}");
    }
}

/// Everything that rules and runbooks ask: where, and the expression.
fn questions(tables: &Value) -> Vec<(String, String)> {
    let rules = tables["rules"].as_array().unwrap().iter();
    let mut found: Vec<_> = rules.map(|r| (text(r, "name").to_owned(), text(r, "expr").to_owned())).collect();
    for path in files("alerts/runbooks") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let runbook = fs::read_to_string(&path).unwrap();
        for block in blocks(&runbook, "promql") {
            found.extend(block.lines().map(|line| (name.clone(), line.to_owned())));
        }
        // Names in prose and in what a request asks for.
        let words = runbook.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let metrics = words.filter(|w| w.starts_with("kafka2prom_") || w.starts_with("pipeline_") && !is_label(w));
        found.extend(metrics.filter(|w| !w.starts_with("kafka2prom:")).map(|w| (name.clone(), w.to_owned())));
    }
    found
}

fn is_label(word: &str) -> bool {
    word == "pipeline_id"
}

fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    markdown.split(open.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn alerts_name_only_metrics_and_labels_that_exist() {
    let Some(tables) = require(tables()) else { return };
    let (ours, others) = (contract::ours(), contract::others());
    let both: Vec<_> = others.iter().filter(|one| ours.contains_key(&one.name)).map(|one| &one.name).collect();
    assert!(both.is_empty(), "made by us by now, take them out of other-metrics.txt: {both:?}");
    let all = contract::everything(tables);
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    // Read by an annotation's template.
    used.insert("pipeline_alert_team".to_owned());
    for (place, expr) in questions(tables) {
        for one in uses(&expr) {
            // A word of prose names a histogram as a whole.
            let whole = all.get_key_value(&one.metric).filter(|_| expr == one.metric).map(|(n, m)| (n.as_str(), m, ""));
            let Some((name, metric, suffix)) = contract::known(&all, &one.metric).or(whole) else {
                wrong.push(format!("{place}: no metric {}", one.metric));
                continue;
            };
            used.insert(name.to_owned());
            wrong
                .extend(contract::strange_labels(&one, metric, suffix).iter().map(|fault| format!("{place}: {fault}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let idle: Vec<_> = others.iter().filter(|one| !used.contains(&one.name)).map(|one| &one.name).collect();
    assert!(idle.is_empty(), "nothing needs these lines of other-metrics.txt: {idle:?}");
}

// --- conventions ----------------------------------------------------------------------

#[test]
fn alerts_follow_the_conventions() {
    let Some(tables) = require(tables()) else { return };
    for rule in tables["rules"].as_array().unwrap() {
        let (name, recording) = (text(rule, "name"), rule["recording"] == true);
        let parts: Vec<&str> = name.split(':').collect();
        let good = if recording { parts.len() == 3 && parts.iter().all(|p| !p.is_empty()) } else { parts.len() == 1 };
        assert!(good, "level:metric:operations for a recording rule, a name for an alert: {name}");
    }
    for alert in tables["alerts"].as_array().unwrap() {
        let (name, annotations, labels) = (text(alert, "name"), &alert["annotations"], &alert["all_labels"]);
        assert!(["critical", "warning", "none"].contains(&text(labels, "severity")), "{name}");
        assert!(!text(labels, "team").is_empty(), "{name}");
        for key in ["summary", "description", "runbook_url", "dashboard_url"] {
            assert!(!text(annotations, key).is_empty(), "{name} has no {key}");
        }
        assert!(text(annotations, "runbook_url").ends_with(&format!("/{name}.md")), "{name}");
        assert!(text(annotations, "summary").len() < 140 && !text(annotations, "summary").ends_with('.'), "{name}");
        assert!(text(annotations, "description").ends_with('.'), "{name}");
        // A bare number says nothing to a person.
        let bare = ["summary", "description"].iter().any(|key| text(annotations, key).contains("{{ $value }}"));
        assert!(!bare, "{name} shows a value without a unit");
        let own_variables = text(annotations, "dashboard_url").matches("var-").count();
        assert_eq!(text(annotations, "dashboard_url").matches("| urlquery }}").count(), own_variables, "{name}");
    }
}

#[test]
fn alerts_have_runbooks_that_work() {
    let Some(alerts) = require(alerts()) else { return };
    let names: BTreeSet<String> = alerts.iter().map(|a| text(a, "name").to_owned()).collect();
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    assert_eq!(files("alerts/runbooks").iter().map(stem).collect::<BTreeSet<_>>(), names);
    let commands = String::from_utf8(process::run(&["--help"], b"").stdout).unwrap();
    for name in &names {
        let runbook = read(format!("alerts/runbooks/{name}.md"));
        let headings: Vec<&str> = runbook.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        assert_eq!(headings, SECTIONS, "{name}");
        assert!(runbook.starts_with(&format!("# {name}\n")), "{name}");
        let sections = runbook.split("\n## ").skip(1);
        assert!(sections.clone().all(|s| s.lines().skip(1).any(|l| l.len() > 20)), "{name} has an empty section");
        let check = sections.clone().find(|s| s.starts_with("How to check")).unwrap();
        assert!(check.contains("```"), "{name}: nothing to run");
        if name != "Watchdog" {
            assert!(runbook.contains(&format!("amtool silence add alertname={name} ")), "{name}");
        }
        for block in blocks(&runbook, "sh") {
            block.lines().for_each(|line| assert_command(name, line, &commands));
        }
        for used in runbook.split('`').filter(|span| span.starts_with("kafka2prom ")) {
            assert_command(name, used, &commands);
        }
    }
}

fn assert_command(place: &str, line: &str, commands: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["curl" | "amtool", ..] => {}
        ["kafka2prom", command, ..] => {
            assert!(commands.contains(&format!("\n  {command} ")), "{place}: kafka2prom has no {command}");
            let flags = words.iter().filter(|word| word.starts_with("--"));
            let below = words.get(2).filter(|word| ["check", "topics"].contains(&command) && !word.starts_with('-'));
            let mut help = vec![command];
            help.extend(below);
            help.push("--help");
            let help = process::run(&help, b"");
            assert!(help.status.success(), "{place}: {line}");
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            flags.for_each(|flag| assert!(help.contains(flag), "{place}: {line}: no {flag}"));
        }
        _ => panic!("{place}: an unknown command: {line}"),
    }
}

#[test]
fn runbooks_of_alerts_ask_what_prometheus_understands() {
    for generation in Generation::ALL {
        let mut rules = String::from("groups:\n  - name: runbooks\n    rules:\n");
        for (i, path) in files("alerts/runbooks").iter().enumerate() {
            let runbook = fs::read_to_string(path).unwrap();
            for (j, line) in blocks(&runbook, "promql").iter().flat_map(|block| block.lines()).enumerate() {
                rules.push_str(&format!("      - {{record: 'runbook:q{i}:r{j}', expr: {line:?}}}\n"));
            }
        }
        let file = crate::support::supervise::new_dir("runbooks").join("rules.yml");
        fs::write(&file, rules).unwrap();
        let Some(result) = require(promtool(generation, &["check", "rules", &file.display().to_string()], b"")) else {
            return;
        };
        assert_eq!(result, Ok(()), "{generation:?}");
    }
}

// --- Alertmanager -------------------------------------------------------------------

fn amtool(generation: Generation, arguments: &[&str]) -> Result<Output, Missing> {
    let program = parts::prometheus_tool(generation, "amtool")?;
    Ok(Command::new(program).args(arguments).current_dir(root()).output().expect("amtool runs"))
}

#[test]
fn alerts_all_have_a_route() {
    let Some(alerts) = require(alerts()) else { return };
    for generation in Generation::ALL {
        let Some(checked) = require(amtool(generation, &["check-config", "alerts/alertmanager.yml"])) else { return };
        assert!(checked.status.success(), "{}", said(&checked));
        for alert in alerts {
            let (name, severity) = (text(alert, "name"), text(alert, "severity"));
            for team in [text(alert, "team"), "checkout"] {
                let slack = if ["platform", "data"].contains(&team) {
                    format!("slack-{team}")
                } else {
                    "slack-pipelines".into()
                };
                let wanted = match (name, severity) {
                    ("Watchdog", _) => "deadman".to_owned(),
                    (_, "critical") => format!("pagerduty,{slack}"),
                    _ => slack.clone(),
                };
                let labels = [format!("alertname={name}"), format!("severity={severity}"), format!("team={team}")];
                let mut arguments = vec!["config", "routes", "test", "--config.file=alerts/alertmanager.yml"];
                arguments.extend(labels.iter().map(String::as_str));
                let Some(found) = require(amtool(generation, &arguments)) else { return };
                assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), wanted, "{name} of {team}");
            }
        }
    }
}

#[test]
fn alerts_secrets_come_from_files() {
    let config = read("alerts/alertmanager.yml");
    for line in config.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        for key in ["routing_key:", "service_key:", "api_url:", "credentials:", "password:", "bearer_token:"] {
            assert!(!line.contains(key), "{line}");
        }
    }
    assert!(
        config.contains("routing_key_file:")
            && config.contains("api_url_file:")
            && config.contains("credentials_file:")
    );
}
