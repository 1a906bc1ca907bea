//! What people read of a run: steps, errors, lineage, from log and lineage events and
//! from what run events carry beside the state.
use std::sync::Arc;

use super::limits::{Place, RunCount, RunCounts, RunLimits, clip, cut};
use super::pipeline::{Before, Pipeline};
use super::run::{Dataset, Detail, RunError, Step};
use super::{Output, Totals};
use crate::event::{ErrorInfo, Level, LineageEvent, LogEvent, Operation, RunEvent, UnixNs};

/// An event that tells of a run without saying how it stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told<'a> {
    Log(&'a LogEvent),
    Lineage(&'a LineageEvent),
}

impl Pipeline {
    /// See [`Tracker::log_event`](super::Tracker::log_event).
    pub(super) fn detail_event(
        &mut self,
        run_id: &str,
        told: Told<'_>,
        place: Place,
        limits: &RunLimits,
        totals: &mut Totals,
        out: &mut Output,
    ) {
        let known = self.runs.get_key_value(run_id);
        let before = Before::of(known.map(|(_, run)| &**run));
        let fresh = known.is_none();
        let run_id = match known {
            Some((run_id, _)) => run_id.clone(),
            None if !self.has_room_for_unknown(limits) => {
                out.counts.add(RunCount::DetailUntracked);
                return;
            }
            None => {
                let run_id: Arc<str> = Arc::from(run_id);
                self.runs.insert(run_id.clone(), Arc::default());
                run_id
            }
        };
        let Pipeline { subject, runs, tally } = self;
        let Some(entry) = runs.get_mut(&run_id) else {
            return;
        };
        let run = Arc::make_mut(entry);
        if fresh {
            run.first_seen = place.time;
        }
        run.touch(place.time, place.offset);
        run.settle();
        // A closed run without details is old: they are not begun anew.
        if run.detail.is_some() || !run.state.is_closed() {
            let detail = run.detail.get_or_insert_default();
            let mut writer = Writer { detail, limits, counts: &mut out.counts };
            match told {
                Told::Log(event) => writer.log_event(event),
                Told::Lineage(event) => writer.lineage_event(event),
            }
        }
        let moved = fresh || run.state != before.state();
        if moved && tally.settle(subject, &run_id, run, before, place, totals, out) {
            self.make_room(place.time, limits, totals, &mut out.counts);
        }
    }
}

/// Writes into a run's details, within the limits.
pub(super) struct Writer<'a> {
    pub(super) detail: &'a mut Detail,
    pub(super) limits: &'a RunLimits,
    pub(super) counts: &'a mut RunCounts,
}

impl Writer<'_> {
    /// What a run event says; without `replace` it only fills in what is missing.
    pub(super) fn run_event(&mut self, event: &RunEvent, replace: bool, place: Place) {
        let (max, counts) = (self.limits.name_bytes, &mut *self.counts);
        let detail = &mut *self.detail;
        for (kept, new) in [
            (&mut detail.trigger_type, &event.trigger_type),
            (&mut detail.triggered_by, &event.triggered_by),
            (&mut detail.owner, &event.owner),
            (&mut detail.dag_version, &event.dag_version),
            (&mut detail.current_step, &event.current_step),
        ] {
            let Some(new) = new else {
                continue;
            };
            if kept.is_none() || (replace && kept.as_ref() != Some(new)) {
                *kept = Some(clip(new, max, counts));
            }
        }
        if let Some(error) = &event.last_error {
            self.error(error, event.end.unwrap_or(place.nanos()), event.current_step.as_deref());
        }
        self.correlation_id(event.correlation_id.as_deref());
        for (path, value) in &event.other {
            if path.starts_with("compensation") {
                self.compensation(path, value, replace);
            }
        }
    }

    fn compensation(&mut self, path: &str, value: &serde_json::Value, replace: bool) {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let all = &mut self.detail.compensation;
        let full = all.len() >= self.limits.compensation;
        let known = all.iter_mut().find(|(p, _)| **p == *path);
        match known {
            Some((_, kept)) if replace && **kept != text => *kept = clip(&text, self.limits.message_bytes, self.counts),
            Some(_) => {}
            None if full => self.left_out(RunCount::FieldLeftOut),
            None => {
                let path = clip(path, self.limits.name_bytes, self.counts);
                let text = clip(&text, self.limits.message_bytes, self.counts);
                all.push((path, text));
            }
        }
    }

    fn log_event(&mut self, event: &LogEvent) {
        let failed = event.level >= Level::Error;
        if let Some(name) = event.step.as_deref() {
            self.step(name, event, failed);
        }
        self.correlation_id(event.correlation_id.as_deref());
        if let Some(error) = &event.error {
            self.error(error, event.timestamp, event.step.as_deref());
        } else if failed {
            let error = ErrorInfo { message: event.message.clone(), ..ErrorInfo::default() };
            self.error(&error, event.timestamp, event.step.as_deref());
        }
    }

    fn step(&mut self, name: &str, event: &LogEvent, failed: bool) {
        // Names are compared as they are kept: two that are one when cut are one step.
        let kept = cut(name, self.limits.name_bytes, self.counts);
        let steps = &mut self.detail.steps;
        let at = match steps.iter().position(|s| *s.name == *kept) {
            Some(at) => at,
            None if steps.len() >= self.limits.steps => return self.left_out(RunCount::StepLeftOut),
            None => {
                steps.push(Step {
                    name: kept.into(),
                    first: event.timestamp,
                    last: event.timestamp,
                    ..Step::default()
                });
                steps.len() - 1
            }
        };
        let step = &mut steps[at];
        step.first = step.first.min(event.timestamp);
        step.last = step.last.max(event.timestamp);
        step.duration_ms = event.duration_ms.or(step.duration_ms);
        step.rows_read += event.rows_read.unwrap_or(0.0);
        step.rows_written += event.rows_written.unwrap_or(0.0);
        step.events += 1;
        step.errors += u64::from(failed);
    }

    /// Keeps the latest error by its own time.
    fn error(&mut self, error: &ErrorInfo, time: UnixNs, step: Option<&str>) {
        if self.detail.last_error.as_ref().is_some_and(|kept| kept.time > time) {
            return;
        }
        let limits = self.limits;
        let mut cut = |text: Option<&str>, max| text.map(|t| clip(t, max, self.counts));
        self.detail.last_error = Some(RunError {
            time,
            step: cut(step, limits.name_bytes),
            kind: cut(error.kind.as_deref(), limits.name_bytes),
            message: cut(error.message.as_deref(), limits.message_bytes),
            stack: cut(error.stack.as_deref(), limits.stack_bytes),
        });
    }

    fn lineage_event(&mut self, event: &LineageEvent) {
        self.correlation_id(event.correlation_id.as_deref());
        let limits = self.limits;
        let mut cut = |text| cut(text, limits.name_bytes, self.counts);
        let name = cut(&event.dataset);
        let version = event.version.as_deref().map(&mut cut);
        let partition = event.partition.as_deref().map(&mut cut);
        let all = match event.operation {
            Operation::Read => &mut self.detail.reads,
            Operation::Write => &mut self.detail.writes,
        };
        let same =
            |d: &&mut Dataset| (&*d.name, d.version.as_deref(), d.partition.as_deref()) == (name, version, partition);
        let full = all.len() >= limits.datasets;
        match all.iter_mut().find(same) {
            Some(kept) => {
                kept.rows = event.rows.or(kept.rows);
                kept.time = kept.time.max(event.timestamp);
            }
            None if full => self.left_out(RunCount::DatasetLeftOut),
            None => all.push(Dataset {
                name: name.into(),
                version: version.map(Into::into),
                partition: partition.map(Into::into),
                rows: event.rows,
                time: event.timestamp,
            }),
        }
    }

    fn correlation_id(&mut self, id: Option<&str>) {
        let Some(id) = id else {
            return;
        };
        let all = &mut self.detail.correlation_ids;
        if all.iter().any(|kept| **kept == *id) {
            return;
        }
        if all.len() >= self.limits.correlation_ids {
            return self.left_out(RunCount::FieldLeftOut);
        }
        let kept = clip(id, self.limits.name_bytes, self.counts);
        if !all.contains(&kept) {
            all.push(kept);
        }
    }

    fn left_out(&mut self, reason: RunCount) {
        self.counts.add(reason);
        self.detail.left_out += 1;
    }
}
