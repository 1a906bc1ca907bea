//! What HTTP reads of the runs: immutable, shared with the tracker as far as nothing
//! changed.

use serde::{Deserialize, Serialize};

use k2p_core::model::UnixMs;

use super::limits::{Place, RunCounts, clip};
use super::map::{Map, sorted};
use super::pipeline::{Pipeline, seconds};
use super::report::FinishedRun;
use super::run::{Run, RunState};
use super::stats::Summary;
use crate::event::RunEvent;

/// The runs of a partition as of a moment.
#[derive(Debug, Clone, Default)]
pub struct RunsView {
    pipelines: Map<Pipeline>,
}

/// The last failed attempt of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LastFailure {
    /// Its run.
    pub run_id: Box<str>,
    /// Its number.
    pub retry_count: u32,
    /// Its end, else the append time; Unix seconds.
    pub time_seconds: f64,
    /// Where.
    pub step: Option<Box<str>>,
    /// The error's type.
    pub error_type: Option<Box<str>>,
    /// The error's message, cut to 1 KB.
    pub message: Option<Box<str>>,
}

impl LastFailure {
    pub(super) fn new(event: &RunEvent, place: Place) -> LastFailure {
        // What is cut here is counted where the run keeps it.
        let mut uncounted = RunCounts::default();
        let mut cut = |text: Option<&str>, max| text.map(|t| clip(t, max, &mut uncounted));
        let error = event.last_error.as_ref();
        LastFailure {
            run_id: event.run_id.clone(),
            retry_count: event.retry_count,
            time_seconds: seconds(event.end.unwrap_or(place.nanos())),
            step: cut(event.current_step.as_deref(), 256),
            error_type: cut(error.and_then(|e| e.kind.as_deref()), 256),
            message: cut(error.and_then(|e| e.message.as_deref()), 1024),
        }
    }
}

/// How a pipeline does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PipelineSummary {
    /// Which.
    pub pipeline_id: Box<str>,
    /// Runs that are running.
    pub running: usize,
    /// Runs that wait.
    pub queued: usize,
    /// Success rates and durations, of attempts, by append time.
    #[serde(flatten)]
    pub summary: Summary,
    /// The SLA last told.
    pub sla_target_seconds: Option<f64>,
    /// The last attempt that failed.
    pub last_failure: Option<LastFailure>,
}

impl RunsView {
    pub(super) fn new(pipelines: Map<Pipeline>) -> RunsView {
        RunsView { pipelines }
    }

    /// The runs of one pipeline, or of all: open ones and those that closed lately and
    /// still have their details. By pipeline, then by run id.
    pub fn runs<'a>(&'a self, pipeline_id: Option<&'a str>) -> impl Iterator<Item = FinishedRun> + 'a {
        self.select(pipeline_id).flat_map(|(name, pipeline)| {
            let shown = |run: &Run| run.state().is_open() || (run.state().is_closed() && run.detail.is_some());
            let runs = sorted(&pipeline.runs).into_iter().filter(move |(_, run)| shown(run));
            runs.map(move |(id, run)| FinishedRun::new(name, id, run))
        })
    }

    /// The runs with that id: different pipelines may use the same.
    pub fn run(&self, pipeline_id: Option<&str>, run_id: &str) -> Vec<FinishedRun> {
        let mut found = Vec::new();
        for (name, pipeline) in self.select(pipeline_id) {
            let run = pipeline.runs.get(run_id).filter(|run| run.state() != RunState::Unknown);
            found.extend(run.map(|run| FinishedRun::new(name, run_id, run)));
        }
        found
    }

    /// Every pipeline that was seen, by name; windows end at `now`.
    pub fn pipelines(&self, now: UnixMs) -> Vec<PipelineSummary> {
        sorted(&self.pipelines).into_iter().map(|(name, pipeline)| summary(name, pipeline, now)).collect()
    }

    fn select<'a>(&'a self, pipeline_id: Option<&str>) -> impl Iterator<Item = (&'a str, &'a Pipeline)> + use<'a> {
        let one = pipeline_id.and_then(|id| self.pipelines.get_key_value(id));
        let all = pipeline_id.is_none().then(|| sorted(&self.pipelines));
        one.into_iter().chain(all.into_iter().flatten()).map(|(name, pipeline)| (&**name, &**pipeline))
    }
}

fn summary(name: &str, pipeline: &Pipeline, now: UnixMs) -> PipelineSummary {
    let open = pipeline.tally.watched.iter().filter_map(|id| pipeline.runs.get(id));
    let (mut running, mut queued) = (0, 0);
    for run in open {
        running += usize::from(run.state() == RunState::Running);
        queued += usize::from(run.state() == RunState::Queued);
    }
    PipelineSummary {
        pipeline_id: Box::from(name),
        running,
        queued,
        summary: pipeline.tally.stats.summary(now),
        sla_target_seconds: pipeline.tally.sla_target_ms.map(|ms| ms / 1000.0),
        last_failure: pipeline.tally.last_failure.as_deref().cloned(),
    }
}
