//! Run events.
use std::sync::Arc;

use super::derived::{Derived, Values};
use super::detail::Writer;
use super::limits::{Place, RunCount, RunCounts, RunLimits};
use super::pipeline::{Before, Pipeline, Tally, seconds, sla_missed};
use super::run::{Attempt, Run};
use super::view::LastFailure;
use super::{Output, Totals};
use crate::event::{RunEvent, RunStatus, Subject, UnixNs};
use crate::fact::FactKind;

/// What an event did to its attempt.
struct Step {
    /// The attempt was not known before.
    fresh: bool,
    /// Seen to have started, for the first time.
    started: bool,
    /// Its first terminal event.
    ended: bool,
    /// It came after what it says had passed.
    late: bool,
    /// Start and end, if the attempt ended with both known.
    duration: Option<UnixNs>,
}

impl Pipeline {
    /// See [`Tracker::run_event`](super::Tracker::run_event).
    pub(super) fn run_event(
        &mut self,
        event: &RunEvent,
        place: Place,
        limits: &RunLimits,
        totals: &mut Totals,
        out: &mut Output,
    ) {
        let before = Before::of(self.runs.get(&*event.run_id).map(|run| &**run));
        if !before.is_tracked() && !self.has_room(limits, *totals) {
            out.counts.add(RunCount::RunUntracked);
            self.untracked(event, place, out);
            return;
        }
        if target(event).is_some() {
            self.tally.sla_target_ms = target(event);
        }
        let run_id = self.known_id(&event.run_id);
        let Pipeline { subject, runs, tally } = self;
        let Some(entry) = runs.get_mut(&run_id) else {
            return;
        };
        let run = Arc::make_mut(entry);
        if !before.is_known() {
            run.first_seen = place.time;
        }
        run.touch(place.time, place.offset);
        if let Some(step) = advance(run, event, limits, &mut out.counts) {
            if event.status != RunStatus::Queued && run.began.is_none() {
                run.began = Some(place.nanos());
            }
            describe(run, event, &step, place, limits, &mut out.counts);
            run.settle();
            derive(subject, tally, run, event, &step, place, out);
            settle_sla(subject, run, event, place, out);
        }
        let closed = tally.settle(subject, &run_id, run, before, place, totals, out);
        if closed {
            self.make_room(place.time, limits, totals, &mut out.counts);
        }
    }

    /// The run's id as it is kept; one that was not known has a run then.
    fn known_id(&mut self, run_id: &str) -> Arc<str> {
        if let Some((known, _)) = self.runs.get_key_value(run_id) {
            return known.clone();
        }
        let new: Arc<str> = Arc::from(run_id);
        self.runs.insert(new.clone(), Arc::default());
        new
    }

    /// A run that is not tracked for want of room: its end counts all the same.
    fn untracked(&mut self, event: &RunEvent, place: Place, out: &mut Output) {
        if !event.status.is_terminal() {
            return;
        }
        let attempt = Attempt { start: event.start, end: event.end, ..Attempt::default() };
        let step = Step {
            fresh: false,
            started: false,
            ended: true,
            late: false,
            duration: duration(&attempt, &mut out.counts),
        };
        let mut run = Run { start: event.start, sla_target_ms: target(event), ..Run::default() };
        run.max_retries = event.max_retries;
        derive(&self.subject, &mut self.tally, &run, event, &step, place, out);
        if run.over_sla(event.end.unwrap_or(place.nanos())) {
            out.facts.push(sla_missed(&self.subject, &run));
        }
    }
}

/// The facts of an event that was taken.
fn derive(
    subject: &Arc<Subject>,
    tally: &mut Tally,
    run: &Run,
    event: &RunEvent,
    step: &Step,
    place: Place,
    out: &mut Output,
) {
    let retried = step.fresh && event.retry_count > 0;
    if !retried && !step.started && !step.ended {
        return;
    }
    let detail = run.detail.as_deref();
    let known =
        |own: &Option<Box<str>>, kept: Option<&Option<Box<str>>>| own.clone().or_else(|| kept.and_then(Clone::clone));
    let values = Values {
        trigger_type: known(&event.trigger_type, detail.map(|d| &d.trigger_type)),
        owner: known(&event.owner, detail.map(|d| &d.owner)),
        ..Values::default()
    };
    let mut fact = |kind: FactKind, values: Values| out.facts.push(Derived { kind, subject: subject.clone(), values });
    if retried {
        fact(FactKind::Retried, values.clone());
    }
    if step.started {
        let start_seconds = Some(seconds(event.start.unwrap_or(place.nanos())));
        fact(FactKind::AttemptStarted, Values { start_seconds, ..values.clone() });
    }
    if !step.ended {
        return;
    }
    tally.ended(event, step.duration, place);
    let ended = Values {
        status: Some(event.status),
        end_seconds: Some(seconds(event.end.unwrap_or(place.nanos()))),
        duration_seconds: step.duration.map(seconds),
        ..values.clone()
    };
    fact(FactKind::AttemptEnded, ended);
    let exhausted = run.max_retries.is_some_and(|max| max > 0 && max == event.retry_count);
    if event.status == RunStatus::Failed && exhausted {
        fact(FactKind::RetriesExhausted, values);
    }
}

/// An ended run whose times show that it took too long; whichever of its events came last.
fn settle_sla(subject: &Arc<Subject>, run: &mut Run, event: &RunEvent, place: Place, out: &mut Output) {
    let own_end = event.status.is_terminal().then(|| event.end.unwrap_or(place.nanos()));
    let ended = if run.state.is_closed() { run.end } else { own_end };
    if run.sla_missed || !ended.is_some_and(|end| run.over_sla(end)) {
        return;
    }
    run.sla_missed = true;
    out.facts.push(sla_missed(subject, run));
}

impl Tally {
    /// Aggregates over the pipeline's attempts.
    fn ended(&mut self, event: &RunEvent, duration: Option<UnixNs>, place: Place) {
        Arc::make_mut(&mut self.stats).ended(place.time, event.status, duration);
        if event.status == RunStatus::Failed {
            self.last_failure = Some(Arc::new(LastFailure::new(event, place)));
        }
    }
}

/// Moves the event's attempt on; `None` if that attempt is not kept any more.
fn advance(run: &mut Run, event: &RunEvent, limits: &RunLimits, counts: &mut RunCounts) -> Option<Step> {
    let (at, fresh) = match run.attempts.binary_search_by_key(&event.retry_count, |a| a.number) {
        Ok(at) => (at, false),
        Err(0) if run.attempts.len() >= limits.attempts => {
            counts.add(RunCount::AttemptForgotten);
            return None;
        }
        Err(at) => {
            run.attempts.insert(at, Attempt { number: event.retry_count, ..Attempt::default() });
            (at, true)
        }
    };
    let attempt = &mut run.attempts[at];
    attempt.start = earliest(attempt.start, event.start);
    run.start = earliest(run.start, event.start);
    let terminal = event.status.is_terminal();
    let over = attempt.ended.is_some();
    let late = over || (event.status == RunStatus::Queued && attempt.started);
    let started = !attempt.started && (event.status == RunStatus::Running || (terminal && event.start.is_some()));
    attempt.started |= started;
    let ended = terminal && !over;
    if ended {
        attempt.ended = Some(event.status);
        attempt.end = event.end;
    }
    if late {
        counts.add(match attempt.ended {
            Some(status) if terminal && status == event.status => RunCount::EndRepeated,
            Some(_) if terminal => RunCount::EndContradicted,
            _ => RunCount::StatusLate,
        });
    }
    let duration = if ended { duration(attempt, counts) } else { None };
    if run.attempts.len() > limits.attempts {
        run.attempts.remove(0);
    }
    Some(Step { fresh, started, ended, late, duration })
}

/// What the event says about the run. A late one, and one of an earlier attempt, fill
/// in what is missing; another one replaces what was said before.
fn describe(run: &mut Run, event: &RunEvent, step: &Step, place: Place, limits: &RunLimits, counts: &mut RunCounts) {
    let latest = event.retry_count >= run.attempt;
    if event.retry_count > run.attempt {
        run.attempt = event.retry_count;
        run.end = None;
    }
    if step.ended && latest {
        run.end = Some(event.end.unwrap_or(place.nanos()));
    }
    let replace = latest && !step.late;
    if let Some(new) = target(event).filter(|_| replace || run.sla_target_ms.is_none()) {
        run.sla_target_ms = Some(new);
    }
    if event.max_retries.is_some() && (replace || run.max_retries.is_none()) {
        run.max_retries = event.max_retries;
    }
    let old = run.state.is_closed() && run.detail.is_none() && !replace;
    if old {
        return;
    }
    let detail = run.detail.get_or_insert_default();
    let mut writer = Writer { detail, limits, counts };
    writer.run_event(event, replace, place);
}

fn target(event: &RunEvent) -> Option<f64> {
    event.sla_target_ms.filter(|ms| ms.is_finite() && *ms > 0.0)
}

fn earliest(known: Option<UnixNs>, new: Option<UnixNs>) -> Option<UnixNs> {
    match (known, new) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn duration(attempt: &Attempt, counts: &mut RunCounts) -> Option<UnixNs> {
    let nanos = attempt.end?.saturating_sub(attempt.start?);
    if nanos < 0 {
        counts.add(RunCount::DurationNegative);
        return None;
    }
    Some(nanos)
}
