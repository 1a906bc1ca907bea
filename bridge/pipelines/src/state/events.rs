//! Records of events: each good line counts once, under its own pipeline or job.
use k2p_core::envelope::RawRecord;

use super::{Applied, EventState, KIND, LogEntry, header};
use crate::event::{Event, EventFact, EventReason, ParsedEvents, Rejection, Subject, parse_record};
use crate::fact::Fact;
use crate::runs::{Derived, Output, Place, Sentence};
use crate::state::Outcome;
use crate::template::TemplateSet;

/// The subjects of one record's key, each made when its first event comes.
struct Names<'a> {
    key: &'a str,
    pipeline: Option<Subject>,
    job: Option<Subject>,
}

impl EventState {
    /// Counts a record's events.
    pub(super) fn events(
        &mut self,
        record: &RawRecord<'_>,
        body: &[u8],
        content_type: Option<&str>,
        place: Place,
    ) -> Applied {
        let mut parsed = ParsedEvents::default();
        parse_record(body, content_type, header(record, KIND), &self.config.limits, &mut parsed);
        let mut applied = Applied { unknown_levels: parsed.unknown_levels, ..Applied::default() };
        // A key that is no text is no pipeline's.
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let mut names = Names { key, pipeline: None, job: None };
        let mut out = Output::default();
        let logged = parsed.events.iter().filter(|(_, event)| is_logged(event)).count();
        applied.log_entries.reserve_exact(logged);
        for (line, event) in parsed.events {
            if named(&event) != key {
                parsed.rejections.push(miskeyed(line));
                continue;
            }
            self.event(&event, place, &mut names, &mut out, &mut applied);
            if is_logged(&event) {
                applied.log_entries.push(LogEntry { line, event });
            }
        }
        for subject in [&names.pipeline, &names.job].into_iter().flatten() {
            self.subjects.touch(subject, place);
        }
        parsed.rejections.sort_by_key(|rejection| rejection.line);
        applied.rejections = parsed.rejections;
        applied.finished = out.finished;
        applied.run_counts = out.counts;
        applied
    }

    fn event(&mut self, event: &Event, place: Place, names: &mut Names<'_>, out: &mut Output, applied: &mut Applied) {
        self.counted = true;
        applied.accepted += 1;
        let (name, make) = match event {
            Event::Job(_) => (&mut names.job, Subject::Job as fn(Box<str>) -> Subject),
            _ => (&mut names.pipeline, Subject::Pipeline as fn(Box<str>) -> Subject),
        };
        let subject = &*name.get_or_insert_with(|| self.subjects.admit(make(names.key.into())));
        applied.overflowing += u64::from(subject.value() != names.key);
        self.series.count(&self.templates, &EventFact::under(event, subject), &mut applied.changes);
        match event {
            Event::Log(event) => self.tracker.log_event(subject, event, place, out),
            Event::Run(event) => self.tracker.run_event(subject, event, place, out),
            Event::Lineage(event) => self.tracker.lineage_event(subject, event, place, out),
            Event::Job(_) => return,
        }
        for fact in out.facts.drain(..) {
            self.series.count(&self.templates, &fact, &mut applied.changes);
        }
    }

    /// Carries out a sentence, if it holds.
    pub(super) fn judge(&mut self, sentence: &Sentence, place: Place) -> Applied {
        let mut out = Output::default();
        let held = self.tracker.judge(sentence, place, &mut out);
        let mut applied =
            Applied { outcome: Outcome::Judged { verdict: sentence.verdict, held }, ..Applied::default() };
        self.derived(&out.facts, place, &mut applied);
        applied.finished = out.finished;
        applied.run_counts = out.counts;
        applied
    }

    fn derived(&mut self, facts: &[Derived], place: Place, applied: &mut Applied) {
        for fact in facts {
            self.subjects.touch(fact.subject(), place);
            self.series.count(&self.templates, fact, &mut applied.changes);
        }
    }

    /// Puts other templates in force. A gauge of a pipeline's state that is new begins
    /// with the state that there is.
    pub(super) fn switch(&mut self, new: std::sync::Arc<TemplateSet>, place: Place, applied: &mut Applied) {
        applied.changes.dropped_series += self.series.adopt(&new);
        self.templates = new;
        let mut facts = Vec::new();
        self.tracker.states(&mut facts);
        self.derived(&facts, place, applied);
    }
}

/// Whether the log store keeps it.
fn is_logged(event: &Event) -> bool {
    matches!(event, Event::Log(_) | Event::Job(_))
}

/// What its record must be keyed by.
fn named(event: &Event) -> &str {
    match event {
        Event::Log(event) => &event.pipeline_id,
        Event::Run(event) => &event.pipeline_id,
        Event::Lineage(event) => &event.pipeline_id,
        Event::Job(entry) => entry.job_label.as_ref().unwrap_or(&entry.job_id),
    }
}

fn miskeyed(line: u32) -> Rejection {
    let detail = "the record's key is not the event's pipeline_id (a job entry's job_label, else job_id): \
                  key records by it, so that a pipeline is one order";
    Rejection { line, reason: EventReason::Miskeyed, detail: detail.into() }
}
