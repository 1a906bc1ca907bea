//! A partition under test: its state, and what people see of it as text.
use std::sync::Arc;

use k2p_core::labels::Labels;
use k2p_pipelines::runs::{RunLimits, RunState};
use k2p_pipelines::state::{AppendedRecord, Applied, EventConfig, EventState, Outcome};
use k2p_pipelines::template::TemplateSet;

use super::Record;

pub const TEMPLATES: &str = include_str!("../../../../tests/reference/templates.yaml");

pub fn templates(text: &str) -> Arc<TemplateSet> {
    Arc::new(TemplateSet::load(&[("templates.yaml".to_owned(), text.to_owned())]).unwrap())
}

/// Runs and series are never forgotten, silence is a matter of minutes.
pub fn roomy() -> Arc<EventConfig> {
    let most = 10_000_000;
    let runs = RunLimits {
        lost_after_ms: 120_000,
        open_runs: most,
        open_runs_per_pipeline: most,
        unknown_runs_per_pipeline: most,
        closed_runs: most,
        closed_runs_per_pipeline: most,
        recent_per_pipeline: most,
        ..RunLimits::default()
    };
    Arc::new(EventConfig { runs, ..EventConfig::default() })
}

pub fn fresh() -> EventState {
    EventState::new(roomy(), 3, templates(TEMPLATES))
}

pub fn apply(state: &mut EventState, record: &Record) -> Applied {
    record.lend(|raw| state.apply(raw, &|_| None)).unwrap()
}

pub fn apply_all(state: &mut EventState, log: &[Record]) {
    for record in log {
        apply(state, record);
    }
}

/// The record of an owner, put into the log.
pub fn appended(record: AppendedRecord, offset: i64, timestamp: i64) -> Record {
    let headers = record.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Record { offset, timestamp, key: record.key, headers, value: record.value }
}

/// The log with what a live owner appends to it: every so many records it judges, by a
/// clock that is right. Returns the state that it ended up with.
pub fn judged(log: &[Record], every: usize) -> (Vec<Record>, EventState) {
    let mut state = fresh();
    let mut whole = Vec::with_capacity(log.len());
    for (at, record) in log.iter().enumerate() {
        apply(&mut state, record);
        whole.push(record.clone());
        if at % every > 0 {
            continue;
        }
        for (n, judgement) in state.due(record.timestamp).into_iter().enumerate() {
            // Some judgements have no offset left before the next record: later, then.
            if n as i64 + 1 >= super::STRIDE / 2 {
                break;
            }
            let appended = appended(judgement.to_record(), record.offset + 1 + n as i64, record.timestamp);
            let applied = apply(&mut state, &appended);
            assert!(matches!(applied.outcome, Outcome::Judged { held: true, .. }), "{:?}", applied.outcome);
            whole.push(appended);
        }
    }
    (whole, state)
}

/// Every series and every run, one line each, sorted.
pub fn lines(state: &mut EventState) -> Vec<String> {
    let view = state.publish(0);
    let mut lines = Vec::new();
    for origin in view.origins.values() {
        let dump = origin.dump.as_ref().unwrap();
        for family in dump.families() {
            for sample in family.samples() {
                let labels = Labels::parse(&format!("{},{}", sample.injected, sample.labels)).unwrap();
                lines.push(format!("{}{{{}}} {}", sample.name, labels, sample.value));
            }
        }
    }
    for run in state.runs().runs(None) {
        let attempts: Vec<String> = run
            .attempts
            .iter()
            .map(|a| {
                let ended = a.status.is_terminal().then(|| RunState::from(a.status).as_str());
                format!("{}:{}", a.retry_count, ended.unwrap_or("-"))
            })
            .collect();
        let (status, missed) = (run.status.as_str(), u8::from(run.sla_missed));
        lines.push(format!("run {} {} {status} {missed} {}", run.pipeline_id, run.run_id, attempts.join(",")));
    }
    lines.sort();
    lines
}

/// What must be the same to the byte: the exposition, each origin's place in the log,
/// the runs, the pipelines' figures.
pub fn face(state: &mut EventState) -> String {
    let mut face = told(state);
    for origin in state.publish(0).origins.values() {
        face.push_str(&format!("\n{} {} {}", origin.key, origin.offset, origin.dump_time));
    }
    face
}

/// The same without the places in the log, which judgements of others shift.
pub fn told(state: &mut EventState) -> String {
    let mut face = lines(state).join("\n");
    let runs = state.runs();
    for run in runs.runs(None) {
        face.push('\n');
        face.push_str(&serde_json::to_string(&run).unwrap());
    }
    for pipeline in runs.pipelines(state.time()) {
        face.push('\n');
        face.push_str(&serde_json::to_string(&pipeline).unwrap());
    }
    face
}
