//! Follows runs from their events, in whatever order these come.
//!
//! **A run** is a pipeline and a run id; **an attempt** is a run with one `retry_count`.
//! The run stands where its latest attempt (the highest number seen) stands:
//!
//! - QUEUED → RUNNING → SUCCEEDED | FAILED | PARTIAL, never back. An attempt's first
//!   terminal event counts; others of it, and QUEUED or RUNNING that come late, are
//!   counted ([`RunCount`]) and fill in what was missing, nothing else.
//! - An attempt of a lower number is finished by its own late events, without changing
//!   where the run stands. A higher one reopens a closed run: steps, errors and lineage
//!   stay (resume).
//! - `attempt_started` is derived once per attempt: by the first RUNNING, or by a
//!   terminal event that carries `start_ts`. `attempt_ended` once, by the first terminal
//!   event, with a duration if `start_ts` (of any event of the attempt so far) and
//!   `end_ts` are known. `retried` once, by the first event of an attempt above 0,
//!   whatever its status. `retries_exhausted` with the end of a FAILED attempt whose
//!   number is `max_retries`.
//! - **SLA**: a run is measured from the earliest `start_ts` of its attempts (else the
//!   append time of its first event that is not QUEUED) to `end_ts` (else the append
//!   time). The target is that of the latest event that is not late. It is missed once:
//!   by a judgement while it runs, or when its end shows it.
//! - **LOST**: an open run without an event of any kind for `lost_after_ms` of append
//!   time, by a judgement. Any later event of the run revives it. A lost run's SLA is
//!   still watched.
//! - A run of which only log or lineage events were seen is `UNKNOWN`: not open, not
//!   counted, not lost; its details wait for a run event.
//!
//! What a limit ([`RunLimits`]) keeps out is counted; the end of a run that is not
//! tracked for want of room still counts, but twice if it is told twice.
mod derived;
mod detail;
mod limits;
mod map;
mod pipeline;
mod report;
mod run;
mod stats;
mod take;
mod view;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use k2p_core::model::UnixMs;

use crate::event::{LineageEvent, LogEvent, RunEvent, Subject};

use detail::Told;
use map::{Map, sorted};
use pipeline::{Pipeline, Saved};

pub(crate) use pipeline::Loaded;

pub use derived::Derived;
pub use limits::{Place, RunCount, RunCounts, RunLimits};
pub use report::{AttemptReport, DatasetReport, ErrorReport, FinishedRun, StepReport};
pub use run::RunState;
pub use stats::{Rate, Summary};
pub use view::{LastFailure, PipelineSummary, RunsView};

/// What the clock decides about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It has taken longer than its SLA allows.
    Sla,
    /// It was silent for too long.
    Lost,
}

/// A verdict on one attempt of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sentence {
    /// Which.
    pub verdict: Verdict,
    /// The run's pipeline, as the tracker knows it.
    pub pipeline_id: Box<str>,
    /// The run.
    pub run_id: Box<str>,
    /// Its latest attempt as of the judgement.
    pub retry_count: u32,
    /// Lost: the silence, in milliseconds, that the judge was told to allow. It stands
    /// here and not in the configuration of whoever replays it, so that every bridge
    /// comes to the same end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_after_ms: Option<i64>,
}

/// What comes out of one event.
#[derive(Debug, Default)]
pub struct Output {
    /// Facts for the templates, in the order in which they became true.
    pub facts: Vec<Derived>,
    /// Runs that closed, or closed again otherwise.
    pub finished: Vec<FinishedRun>,
    /// What was left out or ignored.
    pub counts: RunCounts,
}

/// The runs of one partition.
#[derive(Debug, Clone)]
pub struct Tracker {
    limits: RunLimits,
    pipelines: Map<Pipeline>,
    totals: Totals,
}

/// Runs over all pipelines, for the partition's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    open: usize,
    closed: usize,
}

impl Tracker {
    /// Without runs.
    pub fn new(limits: RunLimits) -> Tracker {
        Tracker { limits, pipelines: Map::default(), totals: Totals::default() }
    }

    /// Takes a run event. `subject` is the pipeline that it is counted under.
    pub fn run_event(&mut self, subject: &Subject, event: &RunEvent, place: Place, out: &mut Output) {
        if let Some(pipeline) = pipeline_of(&mut self.pipelines, subject.value()) {
            pipeline.run_event(event, place, &self.limits, &mut self.totals, out);
        }
    }

    /// Takes a log event; one without a run id changes nothing.
    pub fn log_event(&mut self, subject: &Subject, event: &LogEvent, place: Place, out: &mut Output) {
        if let Some(run_id) = event.run_id.as_deref() {
            self.detail_event(subject, run_id, Told::Log(event), place, out);
        }
    }

    /// Takes a lineage event; one without a run id changes nothing.
    pub fn lineage_event(&mut self, subject: &Subject, event: &LineageEvent, place: Place, out: &mut Output) {
        if let Some(run_id) = event.run_id.as_deref() {
            self.detail_event(subject, run_id, Told::Lineage(event), place, out);
        }
    }

    fn detail_event(&mut self, subject: &Subject, run_id: &str, told: Told<'_>, place: Place, out: &mut Output) {
        if let Some(pipeline) = pipeline_of(&mut self.pipelines, subject.value()) {
            pipeline.detail_event(run_id, told, place, &self.limits, &mut self.totals, out);
        }
    }

    /// What the clock decides as of `now`, in a fixed order. Nothing changes: a sentence
    /// is passed on as a record, and counts when that is read back.
    pub fn due(&self, now: UnixMs) -> Vec<Sentence> {
        let mut due = Vec::new();
        for (name, pipeline) in sorted(&self.pipelines) {
            pipeline.due(name, now, &self.limits, &mut due);
        }
        due
    }

    /// Carries out a sentence if it holds at its place in the log: the run stands as it
    /// says, and the append time, not the judge's clock, is past the deadline. Returns
    /// whether it did.
    pub fn judge(&mut self, sentence: &Sentence, place: Place, out: &mut Output) -> bool {
        let Some(pipeline) = self.pipelines.get_mut(&*sentence.pipeline_id) else {
            return false;
        };
        Arc::make_mut(pipeline).judge(sentence, place, &self.limits, &mut self.totals, out)
    }

    /// The state of every pipeline that had a run event as a fact: for templates that are
    /// new.
    pub fn states(&self, facts: &mut Vec<Derived>) {
        let told = sorted(&self.pipelines).into_iter().filter(|(_, pipeline)| pipeline.is_told());
        facts.extend(told.map(|(_, pipeline)| pipeline.state_fact()));
    }

    /// What HTTP reads; costs two reference counts.
    pub fn view(&self) -> RunsView {
        RunsView::new(self.pipelines.clone())
    }

    /// Open runs.
    pub fn open(&self) -> usize {
        self.totals.open
    }

    /// Everything that a snapshot must keep, by pipeline and run.
    pub(crate) fn save(&self) -> Vec<Saved<'_>> {
        sorted(&self.pipelines).into_iter().map(|(name, p)| p.save(name)).collect()
    }

    /// The tracker that was saved; what follows from the runs is made anew.
    pub(crate) fn restore(limits: RunLimits, saved: Vec<Loaded>) -> Tracker {
        let mut tracker = Tracker::new(limits);
        for one in saved {
            let (name, pipeline) = Pipeline::load(one, &mut tracker.totals);
            tracker.pipelines.insert(name, Arc::new(pipeline));
        }
        tracker
    }
}

fn pipeline_of<'a>(all: &'a mut Map<Pipeline>, name: &str) -> Option<&'a mut Pipeline> {
    if !all.contains_key(name) {
        all.insert(Arc::from(name), Arc::new(Pipeline::new(name)));
    }
    all.get_mut(name).map(Arc::make_mut)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
