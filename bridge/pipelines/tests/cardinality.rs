//! Attacks on the number of series: very many distinct values in each field of each kind of
//! event. Series stay bounded, another pipeline's are as if nothing had happened, and what
//! could not be told apart is counted. `K2P_LONG=1`: a million values in each field.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that prints what it measured")]
mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use k2p_core::labels::Labels;
use k2p_pipelines::state::{EventConfig, EventState, Outcome};
use k2p_pipelines::template::TemplateSet;

use stream::{Record, bed};

/// Lines of one record, where all have one key.
const BATCH: u64 = 500;
const SUBJECTS: usize = 100;
/// What one subject may have over all shipped templates: each is capped, the largest at a few
/// hundred label sets, some of them histograms.
const SERIES_OF_ONE: u64 = 8_000;

fn values() -> u64 {
    if std::env::var("K2P_LONG").is_ok_and(|v| v == "1") { 1_000_000 } else { 20_000 }
}

/// Every template that ships.
fn shipped() -> Arc<TemplateSet> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    Arc::new(TemplateSet::load(&files).unwrap())
}

/// A partition under attack.
struct Attacked {
    state: EventState,
    offset: i64,
    losses: BTreeMap<String, u64>,
}

impl Attacked {
    fn new() -> Attacked {
        let config = EventConfig { max_subjects: SUBJECTS, ..EventConfig::default() };
        Attacked { state: EventState::new(Arc::new(config), 3, shipped()), offset: 0, losses: BTreeMap::new() }
    }

    fn apply(&mut self, key: &str, value: String) {
        let record = Record {
            offset: self.offset,
            timestamp: 1_760_000_000_000 + self.offset,
            key: Some(key.as_bytes().to_vec()),
            headers: Vec::new(),
            value: value.into_bytes(),
        };
        let applied = bed::apply(&mut self.state, &record);
        assert_eq!(applied.outcome, Outcome::Accepted);
        assert!(applied.rejections.is_empty(), "{:?}", applied.rejections[0]);
        let mut lose = |reason: &str, n: u64| *self.losses.entry(reason.to_owned()).or_default() += n;
        applied.changes.losses().for_each(|(loss, n)| lose(loss.as_str(), u64::from(n)));
        applied.run_counts.iter().for_each(|(count, n)| lose(count.as_str(), n));
        if applied.overflowing > 0 {
            lose("subject_overflow", applied.overflowing);
        }
        self.offset += 1;
    }

    /// A pipeline and a job that behave.
    fn quiet(&mut self, n: u32) {
        let run = format!(r#""pipeline_id":"quiet","run_id":"r{n}""#);
        self.apply("quiet", format!(
            "{{{run},\"status\":\"RUNNING\",\"trigger_type\":\"schedule\",\"start_ts\":1760000000}}\n\
             {{\"timestamp\":1760000001,{run},\"level\":\"ERROR\",\"step\":\"load\",\"component\":\"c\",\"error\":{{\"type\":\"E\"}},\"metrics\":{{\"rows_read\":1,\"duration_ms\":5}}}}\n\
             {{\"timestamp\":1760000002,{run},\"dataset\":\"bronze.x\",\"operation\":\"read\"}}\n\
             {{{run},\"status\":\"SUCCEEDED\",\"trigger_type\":\"schedule\",\"end_ts\":1760000005}}"
        ));
        let head = r#"{"timestamp":1760000001,"job_id":"quiet job","job_type":"spark","content":"#;
        self.apply("quiet job", format!(
            "{head}{{\"log\":{{\"level\":\"INFO\",\"message\":\"m\"}}}}}}\n{head}{{\"metric\":{{\"name\":\"rows\",\"value\":3}}}}}}"
        ));
    }

    /// The series of the quiet ones, and how many there are of all.
    fn shown(&mut self) -> (Vec<String>, u64) {
        let view = self.state.publish(0);
        let mut quiet = Vec::new();
        for origin in view.origins.values().filter(|o| o.labels.canonical().contains("\"quiet")) {
            for family in origin.dump.as_ref().unwrap().families() {
                for sample in family.samples() {
                    let labels = Labels::parse(&format!("{},{}", sample.injected, sample.labels)).unwrap();
                    quiet.push(format!("{}{{{labels}}} {}", sample.name, sample.value));
                }
            }
        }
        quiet.sort();
        (quiet, view.series)
    }
}

/// What a field's many values must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is a label: what does not fit is counted for this reason.
    Counted(&'static str),
    /// No template makes a label of it: a few series, as of one value.
    Nothing,
}
use Then::{Counted, Nothing};

/// `line` makes the key and the event of the n-th value.
#[track_caller]
fn attack(field: &str, then: Then, line: impl Fn(&str) -> (String, String)) {
    let (mut attacked, mut alone) = (Attacked::new(), Attacked::new());
    attacked.quiet(0);
    alone.quiet(0);
    let (mut key, mut batch) = (String::new(), String::new());
    for n in 0..values() {
        // A word, no identifier: identifiers never become labels in the first place.
        let (next, event) = line(&format!("v{n}"));
        if next != key || n % BATCH == 0 {
            if !batch.is_empty() {
                attacked.apply(&key, std::mem::take(&mut batch));
            }
            key = next;
        }
        batch.push_str(&event);
        batch.push('\n');
    }
    attacked.apply(&key, batch);
    attacked.quiet(1);
    alone.quiet(1);
    let ((quiet, series), (expected, least)) = (attacked.shown(), alone.shown());
    let snapshot = attacked.state.snapshot().len();
    println!("{field}: {series} series, {snapshot} bytes of snapshot, {:?}", attacked.losses);
    assert_eq!(quiet, expected, "{field}: another pipeline was harmed");
    let most = match then {
        Counted("subject_cap" | "subject_overflow") => (SUBJECTS as u64 + 1) * 40 + least,
        Counted(_) => SERIES_OF_ONE,
        Nothing => 2 * least,
    };
    assert!(series <= most, "{field}: {series} series, at most {most}");
    // One subject's share of the state: a million values must not become a million entries.
    assert!(snapshot < 8 << 20, "{field}: a snapshot of {snapshot} bytes");
    match then {
        Counted(reason) => assert!(attacked.losses.contains_key(reason), "{field}: {:?}", attacked.losses),
        Nothing => {
            let labels: Vec<_> =
                attacked.losses.keys().filter(|r| r.contains("cap") || r.contains("identifier")).collect();
            assert!(labels.is_empty(), "{field}: {labels:?}");
        }
    }
}

fn log(members: &str) -> String {
    format!("{{\"timestamp\":1760000001,\"level\":\"ERROR\",\"message\":\"m\",{members}}}")
}

#[test]
fn fields_of_log_events() {
    let loud = |members: String| ("loud".to_owned(), log(&format!("\"pipeline_id\":\"loud\",{members}")));
    attack("log.pipeline_id", Counted("subject_overflow"), |v| {
        (v.to_owned(), log(&format!("\"pipeline_id\":\"{v}\"")))
    });
    attack("log.run_id", Counted("detail_untracked"), |v| loud(format!("\"run_id\":\"{v}\"")));
    attack("log.step", Counted("series_cap"), |v| {
        loud(format!("\"step\":\"{v}\",\"metrics\":{{\"duration_ms\":1,\"rows_read\":1}}"))
    });
    attack("log.component", Counted("series_cap"), |v| loud(format!("\"component\":\"{v}\"")));
    attack("log.error.type", Counted("series_cap"), |v| loud(format!("\"error\":{{\"type\":\"{v}\"}}")));
    attack("log.error.message", Nothing, |v| loud(format!("\"error\":{{\"type\":\"E\",\"message\":\"{v}\"}}")));
    attack("log.correlation_id", Nothing, |v| loud(format!("\"run_id\":\"r\",\"correlation_id\":\"{v}\"")));
    attack("log.tags.owner", Counted("series_cap"), |v| {
        loud(format!(
            "\"step\":\"load\",\"tags\":{{\"owner\":\"{v}\"}},\"metrics\":{{\"rows_read\":1,\"rows_written\":1}}"
        ))
    });
    attack("log.tags.dataset", Nothing, |v| loud(format!("\"tags\":{{\"dataset\":\"{v}\"}}")));
    attack("a log field without a name of ours", Nothing, |v| loud(format!("\"extra\":\"{v}\"")));
    attack("the name of a log field", Nothing, |v| loud(format!("\"{v}\":1")));
    attack("log.level", Nothing, |v| {
        ("loud".to_owned(), format!("{{\"timestamp\":1,\"pipeline_id\":\"loud\",\"level\":\"{v}\",\"message\":\"m\"}}"))
    });
    attack("log.message", Nothing, |v| {
        (
            "loud".to_owned(),
            format!("{{\"timestamp\":1,\"pipeline_id\":\"loud\",\"level\":\"INFO\",\"message\":\"{v}\"}}"),
        )
    });
}

#[test]
fn fields_of_run_events() {
    let event = |pipeline: &str, run: &str, members: String| {
        format!("{{\"pipeline_id\":\"{pipeline}\",\"run_id\":\"{run}\",\"start_ts\":1760000000,{members}}}")
    };
    let running = || "\"status\":\"RUNNING\"".to_owned();
    let ended = |members: String| format!("\"status\":\"SUCCEEDED\",\"end_ts\":1760000009,{members}");
    let loud = |run: &str, members: String| ("loud".to_owned(), event("loud", run, members));
    attack("run.pipeline_id", Counted("subject_overflow"), |v| (v.to_owned(), event(v, "r", running())));
    attack("run.run_id, open", Counted("run_untracked"), |v| loud(v, running()));
    attack("run.run_id, ended", Counted("closed_forgotten"), |v| loud(v, ended("\"retry_count\":0".to_owned())));
    attack("run.trigger_type", Counted("series_cap"), |v| loud(v, ended(format!("\"trigger_type\":\"{v}\""))));
    attack("run.triggered_by", Nothing, |v| loud("r", format!("\"status\":\"RUNNING\",\"triggered_by\":\"{v}\"")));
    attack("run.current_step", Nothing, |v| loud("r", format!("\"status\":\"RUNNING\",\"current_step\":\"{v}\"")));
    attack("run.dag_version", Nothing, |v| loud("r", format!("\"status\":\"RUNNING\",\"dag_version\":\"{v}\"")));
    attack("run.last_error.type", Nothing, |v| {
        loud("r", format!("\"status\":\"RUNNING\",\"last_error\":{{\"type\":\"{v}\"}}"))
    });
    attack("a member of the compensation state", Nothing, |v| {
        loud("r", format!("\"status\":\"RUNNING\",\"compensation\":{{\"{v}\":1}}"))
    });
    attack("the name of a compensation field", Counted("field_left_out"), |v| {
        loud("r", format!("\"status\":\"RUNNING\",\"compensation_{v}\":1"))
    });
}

#[test]
fn fields_of_lineage_events() {
    let event = |pipeline: &str, members: String| {
        format!("{{\"timestamp\":1760000001,\"pipeline_id\":\"{pipeline}\",\"operation\":\"read\",{members}}}")
    };
    let loud = |members: String| ("loud".to_owned(), event("loud", members));
    attack("lineage.pipeline_id", Counted("subject_overflow"), |v| {
        (v.to_owned(), event(v, "\"dataset\":\"a.b\"".to_owned()))
    });
    attack("lineage.dataset, its class", Counted("series_cap"), |v| loud(format!("\"dataset\":\"{v}.x\"")));
    attack("lineage.dataset, its name", Counted("dataset_left_out"), |v| {
        loud(format!("\"run_id\":\"r\",\"dataset\":\"gold.{v}\""))
    });
    attack("lineage.version", Counted("dataset_left_out"), |v| {
        loud(format!("\"run_id\":\"r\",\"dataset\":\"a.b\",\"version\":\"{v}\""))
    });
    attack("lineage.partition", Nothing, |v| loud(format!("\"dataset\":\"a.b\",\"partition\":\"{v}\"")));
}

#[test]
fn fields_of_job_entries() {
    let event = |job: &str, members: &str, content: String| {
        format!("{{\"timestamp\":1760000001,\"job_id\":\"{job}\",{members}\"content\":{content}}}")
    };
    let metric = |name: &str, members: String| format!("{{\"metric\":{{\"name\":\"{name}\",\"value\":1{members}}}}}");
    let info = || "{\"log\":{\"level\":\"INFO\",\"message\":\"m\"}}".to_owned();
    attack("job.job_id", Counted("subject_cap"), |v| (v.to_owned(), event(v, "", info())));
    attack("job.job_label", Counted("subject_cap"), |v| {
        (v.to_owned(), event("j", &format!("\"job_label\":\"{v}\","), info()))
    });
    attack("job.job_id under one label", Nothing, |v| ("loud".to_owned(), event(v, "\"job_label\":\"loud\",", info())));
    let loud = |members: String, content: String| ("loud".to_owned(), event("loud", &members, content));
    attack("job.job_type", Counted("series_cap"), |v| loud(format!("\"job_type\":\"{v}\","), info()));
    attack("job.metric.name", Nothing, |v| loud(String::new(), metric(v, String::new())));
    attack("job.metric.labels", Nothing, |v| {
        loud(String::new(), metric("rows", format!(",\"labels\":{{\"a\":\"{v}\"}}")))
    });
    attack("the name of a label of a metric", Nothing, |v| {
        loud(String::new(), metric("rows", format!(",\"labels\":{{\"{v}\":\"a\"}}")))
    });
    attack("job.outputs", Nothing, |v| loud(format!("\"outputs\":[{{\"path\":\"{v}\"}}],"), info()));
    attack("job.job_event.event_type", Nothing, |v| {
        loud(String::new(), format!("{{\"job_event\":{{\"event_type\":\"{v}\"}}}}"))
    });
}
