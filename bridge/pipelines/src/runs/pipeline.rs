//! The runs of one pipeline, and what is known of it as a whole.
use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdSet, Vector};
use serde::{Deserialize, Serialize};

use k2p_core::model::UnixMs;

use super::derived::{Derived, Values};
use super::limits::{Place, RunCount, RunLimits};
use super::map::{Map, sorted};
use super::report::FinishedRun;
use super::run::{Run, RunState};
use super::stats::Stats;
use super::view::LastFailure;
use super::{Output, Sentence, Totals, Verdict};
use crate::event::{Subject, UnixNs};
use crate::fact::FactKind;
use crate::snapshot::optional_bits;

/// One pipeline. Cheap to clone: it shares what did not change.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(super) subject: Arc<Subject>,
    pub(super) runs: Map<Run>,
    pub(super) tally: Tally,
}

/// What is known beside the runs themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Runs that the clock may decide about.
    pub(super) watched: OrdSet<Arc<str>>,
    /// Starts of the running ones, and how many have each.
    active: BTreeMap<UnixNs, u32>,
    runs_active: u32,
    open: usize,
    unknown: usize,
    /// Closings, oldest first; one is void if its run has closed again since.
    closings: Vector<Closing>,
    /// The number of the next closing.
    next_closing: u64,
    pub(super) sla_target_ms: Option<f64>,
    /// Its state as it was last told as a fact; from its first run event on.
    told: Option<Gauges>,
    pub(super) stats: Arc<Stats>,
    pub(super) last_failure: Option<Arc<LastFailure>>,
}

/// Running runs, the start of the oldest, the bits of the SLA in milliseconds.
type Gauges = (u32, Option<UnixNs>, Option<u64>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closing {
    #[serde(with = "crate::snapshot::shared_text")]
    run_id: Arc<str>,
    number: u64,
    time: UnixMs,
}

/// A run as it stood before an event, for what follows from the change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    state: RunState,
    attempt: u32,
    active: Option<UnixNs>,
    watched: bool,
    known: bool,
}

impl Before {
    pub(super) fn of(run: Option<&Run>) -> Before {
        Before {
            state: run.map_or(RunState::Unknown, |r| r.state),
            attempt: run.map_or(0, |r| r.attempt),
            active: run.and_then(Run::active_since),
            watched: run.is_some_and(Run::is_watched),
            known: run.is_some(),
        }
    }

    pub(super) fn state(self) -> RunState {
        self.state
    }

    pub(super) fn is_known(self) -> bool {
        self.known
    }

    /// Whether a run event was seen, not only what others tell of it.
    pub(super) fn is_tracked(self) -> bool {
        self.state != RunState::Unknown
    }
}

impl Pipeline {
    pub(super) fn new(name: &str) -> Pipeline {
        Pipeline {
            subject: Arc::new(Subject::Pipeline(Box::from(name))),
            runs: Map::default(),
            tally: Tally::default(),
        }
    }

    /// Whether there is room for a run that was not open before.
    pub(super) fn has_room(&self, limits: &RunLimits, totals: Totals) -> bool {
        totals.open < limits.open_runs && self.tally.open < limits.open_runs_per_pipeline
    }

    /// Whether there is room for a run of which only details are known.
    pub(super) fn has_room_for_unknown(&self, limits: &RunLimits) -> bool {
        self.tally.unknown < limits.unknown_runs_per_pipeline
    }

    /// Forgets what there is no room for, after a run closed.
    pub(super) fn make_room(
        &mut self,
        now: UnixMs,
        limits: &RunLimits,
        totals: &mut Totals,
        counts: &mut super::RunCounts,
    ) {
        let length = self.tally.closings.len();
        if length > limits.recent_per_pipeline {
            self.strip(length - 1 - limits.recent_per_pipeline);
        }
        self.forget(now, limits, totals, counts);
    }

    /// An old run keeps only what recognises its late events.
    fn strip(&mut self, at: usize) {
        let Some(closing) = self.tally.closings.get(at) else {
            return;
        };
        let Some(run) = self.runs.get_mut(&closing.run_id) else {
            return;
        };
        if run.closing == closing.number && run.state.is_closed() {
            Arc::make_mut(run).detail = None;
        }
    }

    /// Forgets closed runs: those past their time, and the oldest where there is no room.
    fn forget(&mut self, now: UnixMs, limits: &RunLimits, totals: &mut Totals, counts: &mut super::RunCounts) {
        while let Some(oldest) = self.tally.closings.front().cloned() {
            let old = now.saturating_sub(oldest.time) > limits.remember_ms;
            let crowded = self.tally.closings.len() > limits.closed_runs_per_pipeline
                || (totals.closed > limits.closed_runs && self.tally.closings.len() > 1);
            if !old && !crowded {
                return;
            }
            self.tally.closings.pop_front();
            let Some(run) = self.runs.get(&oldest.run_id) else {
                continue;
            };
            if run.closing != oldest.number || !run.state.is_closed() {
                continue;
            }
            self.runs.remove(&oldest.run_id);
            self.tally.watched.remove(&oldest.run_id);
            totals.closed -= 1;
            if !old {
                counts.add(RunCount::ClosedForgotten);
            }
        }
    }

    /// See [`Tracker::due`](super::Tracker::due).
    pub(super) fn due(&self, name: &str, now: UnixMs, limits: &RunLimits, due: &mut Vec<Sentence>) {
        for run_id in &self.tally.watched {
            let Some(run) = self.runs.get(run_id) else {
                continue;
            };
            for (verdict, lost_after_ms) in [(Verdict::Sla, None), (Verdict::Lost, Some(limits.lost_after_ms))] {
                if !holds(run, verdict, run.attempt, lost_after_ms, now) {
                    continue;
                }
                let (pipeline_id, run_id) = (Box::from(name), Box::from(&**run_id));
                due.push(Sentence { verdict, pipeline_id, run_id, retry_count: run.attempt, lost_after_ms });
            }
        }
    }

    /// See [`Tracker::judge`](super::Tracker::judge).
    pub(super) fn judge(
        &mut self,
        sentence: &Sentence,
        place: Place,
        limits: &RunLimits,
        totals: &mut Totals,
        out: &mut Output,
    ) -> bool {
        let Pipeline { subject, runs, tally } = self;
        let run_id: Arc<str> = Arc::from(&*sentence.run_id);
        let Some(run) = runs.get_mut(&run_id) else {
            return false;
        };
        if !holds(run, sentence.verdict, sentence.retry_count, sentence.lost_after_ms, place.time) {
            return false;
        }
        let before = Before::of(Some(run));
        let run = Arc::make_mut(run);
        match sentence.verdict {
            Verdict::Sla => {
                run.sla_missed = true;
                out.facts.push(sla_missed(subject, run));
            }
            Verdict::Lost => {
                run.state = RunState::Lost;
                let owner = run.detail.as_ref().and_then(|d| d.owner.clone());
                let values = Values { owner, ..Values::default() };
                out.facts.push(Derived { kind: FactKind::RunLost, subject: subject.clone(), values });
                Arc::make_mut(&mut tally.stats).lost(place.time);
            }
        }
        if tally.settle(subject, &run_id, run, before, place, totals, out) {
            self.make_room(place.time, limits, totals, &mut out.counts);
        }
        true
    }

    /// Whether its state was told as a fact.
    pub(super) fn is_told(&self) -> bool {
        self.tally.told.is_some()
    }

    /// The pipeline's state as a fact.
    pub(super) fn state_fact(&self) -> Derived {
        self.tally.state_fact(&self.subject)
    }
}

impl Tally {
    /// Draws the consequences of what an event did to a run: indices, gauges, the list
    /// of closed runs, the finished run. Answers whether the run closed: then
    /// [`Pipeline::make_room`].
    #[allow(clippy::too_many_arguments, reason = "the run is borrowed from the pipeline that this is a part of")]
    pub(super) fn settle(
        &mut self,
        subject: &Arc<Subject>,
        run_id: &Arc<str>,
        run: &mut Run,
        before: Before,
        place: Place,
        totals: &mut Totals,
        out: &mut Output,
    ) -> bool {
        self.count(before, run, totals);
        if run.is_watched() != before.watched {
            if run.is_watched() {
                self.watched.insert(run_id.clone());
            } else {
                self.watched.remove(run_id);
            }
        }
        let changed = (run.state, run.attempt) != (before.state, before.attempt);
        let closed = changed && run.state.is_closed();
        if closed {
            run.closing = self.next_closing;
            self.next_closing += 1;
            self.closings.push_back(Closing { run_id: run_id.clone(), number: run.closing, time: place.time });
            out.finished.push(FinishedRun::new(subject.value(), run_id, run));
        }
        let gauges = Some(self.gauges());
        if run.state != RunState::Unknown && self.told != gauges {
            self.told = gauges;
            out.facts.push(self.state_fact(subject));
        }
        closed
    }

    fn state_fact(&self, subject: &Arc<Subject>) -> Derived {
        let (runs_active, oldest, sla) = self.gauges();
        let values = Values {
            runs_active: Some(f64::from(runs_active)),
            oldest_active_start_seconds: oldest.map(seconds),
            sla_target_seconds: sla.map(|bits| f64::from_bits(bits) / 1000.0),
            ..Values::default()
        };
        Derived { kind: FactKind::PipelineState, subject: subject.clone(), values }
    }

    fn gauges(&self) -> Gauges {
        let oldest = self.active.first_key_value().map(|(start, _)| *start);
        (self.runs_active, oldest, self.sla_target_ms.map(f64::to_bits))
    }

    /// Keeps the numbers of open, unknown, closed and running runs.
    fn count(&mut self, before: Before, run: &Run, totals: &mut Totals) {
        if before.known {
            self.number(before.state, before.active, totals, false);
        }
        self.number(run.state, run.active_since(), totals, true);
    }

    fn number(&mut self, state: RunState, active: Option<UnixNs>, totals: &mut Totals, one_more: bool) {
        let step = |n: &mut usize| if one_more { *n += 1 } else { *n -= 1 };
        if state.is_open() {
            step(&mut self.open);
            step(&mut totals.open);
        } else if state.is_closed() {
            step(&mut totals.closed);
        } else {
            step(&mut self.unknown);
        }
        let Some(start) = active else {
            return;
        };
        if one_more {
            self.runs_active += 1;
            *self.active.entry(start).or_insert(0) += 1;
            return;
        }
        self.runs_active -= 1;
        if let Some(count) = self.active.get_mut(&start) {
            *count -= 1;
            if *count == 0 {
                self.active.remove(&start);
            }
        }
    }
}

/// Whether a sentence on an attempt is true of a run by a clock.
fn holds(run: &Run, verdict: Verdict, attempt: u32, lost_after_ms: Option<i64>, now: UnixMs) -> bool {
    if !run.is_watched() || run.attempt != attempt {
        return false;
    }
    match verdict {
        Verdict::Sla => !run.sla_missed && run.over_sla(now.saturating_mul(1_000_000)),
        Verdict::Lost => {
            let silence = now.saturating_sub(run.last_seen);
            run.state.is_open() && lost_after_ms.is_some_and(|allowed| silence > allowed)
        }
    }
}

pub(super) fn sla_missed(subject: &Arc<Subject>, run: &Run) -> Derived {
    let owner = run.detail.as_ref().and_then(|d| d.owner.clone());
    let values = Values { owner, ..Values::default() };
    Derived { kind: FactKind::SlaMissed, subject: subject.clone(), values }
}

/// Unix nanoseconds as seconds.
pub(super) fn seconds(nanos: UnixNs) -> f64 {
    // Microseconds first: what the division by 1e9 of a 19-digit number would lose.
    (nanos / 1000) as f64 / 1e6
}

/// What a snapshot keeps of a pipeline; [`Loaded`] is the same, read back.
#[derive(Debug, Serialize)]
pub(crate) struct Saved<'a> {
    name: &'a str,
    runs: Vec<(&'a str, &'a Run)>,
    closings: Vec<&'a Closing>,
    next_closing: u64,
    #[serde(with = "optional_bits")]
    sla_target_ms: Option<f64>,
    told: bool,
    stats: &'a Stats,
    last_failure: Option<&'a LastFailure>,
}

/// A pipeline as a snapshot holds it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Loaded {
    name: Box<str>,
    runs: Vec<(Box<str>, Run)>,
    closings: Vec<Closing>,
    next_closing: u64,
    #[serde(with = "optional_bits")]
    sla_target_ms: Option<f64>,
    told: bool,
    stats: Stats,
    last_failure: Option<LastFailure>,
}

impl Pipeline {
    pub(super) fn save<'a>(&'a self, name: &'a str) -> Saved<'a> {
        let tally = &self.tally;
        Saved {
            name,
            runs: sorted(&self.runs).into_iter().map(|(id, run)| (&**id, &**run)).collect(),
            closings: tally.closings.iter().collect(),
            next_closing: tally.next_closing,
            sla_target_ms: tally.sla_target_ms,
            told: tally.told.is_some(),
            stats: &tally.stats,
            last_failure: tally.last_failure.as_deref(),
        }
    }

    pub(super) fn load(saved: Loaded, totals: &mut Totals) -> (Arc<str>, Pipeline) {
        let mut pipeline = Pipeline::new(&saved.name);
        let tally = &mut pipeline.tally;
        tally.closings = saved.closings.into_iter().collect();
        tally.next_closing = saved.next_closing;
        tally.sla_target_ms = saved.sla_target_ms;
        tally.stats = Arc::new(saved.stats);
        tally.last_failure = saved.last_failure.map(Arc::new);
        for (run_id, run) in saved.runs {
            let run_id: Arc<str> = Arc::from(run_id);
            tally.number(run.state, run.active_since(), totals, true);
            if run.is_watched() {
                tally.watched.insert(run_id.clone());
            }
            pipeline.runs.insert(run_id, Arc::new(run));
        }
        // After every event that was the state.
        pipeline.tally.told = saved.told.then(|| pipeline.tally.gauges());
        (Arc::from(saved.name), pipeline)
    }
}
