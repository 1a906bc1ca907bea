//! The replayed state of one partition of an events topic: everything that its log's
//! prefix says, and nothing else.
//!
//! The clock of it is the append time of its records. Whoever applies the same records
//! to it, from the beginning or from a snapshot, has the same counters, the same runs
//! and the same exposition, byte for byte. What it must never depend on: the wall clock,
//! the order of a hash map, how records are batched, when it was published or written
//! down.
mod applied;
mod config;
mod events;
mod judgement;
mod publish;
mod save;
mod subjects;

use std::sync::Arc;

use k2p_core::compress::decompress;
use k2p_core::dedup::Dedup;
use k2p_core::envelope::{self, RawRecord};
use k2p_core::model::UnixMs;
use k2p_core::reason::Refusal;

use crate::runs::{Place, RunsView, Tracker};
use crate::series::{Series, SeriesLimits};
use crate::template::TemplateSet;

use judgement::{Said, TemplateChange};
use publish::Published;
use subjects::Subjects;

pub use applied::{Applied, LogEntry, NeedsTemplates, Outcome};
pub use config::EventConfig;
pub use judgement::{AppendedRecord, Issued, JUDGED, Judgement, OP};

/// The header that tells the kind of a record's events.
pub const KIND: &str = "k2p-kind";

/// Finds templates by their hash.
pub type Library<'a> = &'a dyn Fn(&str) -> Option<Arc<TemplateSet>>;

/// The replayed state of one partition.
#[derive(Debug)]
pub struct EventState {
    config: Arc<EventConfig>,
    partition: i32,
    /// The next offset to apply.
    position: i64,
    /// The append time of the last record.
    time: UnixMs,
    templates: Arc<TemplateSet>,
    /// The log has said with which templates it was counted from its beginning.
    recorded: bool,
    /// An event has been counted.
    counted: bool,
    dedup: Dedup,
    subjects: Subjects,
    series: Series,
    tracker: Tracker,
    published: Published,
}

impl EventState {
    /// The state of an empty log. `templates` are this bridge's own; the log says if it
    /// was counted with others ([`NeedsTemplates::from_the_beginning`]).
    pub fn new(config: Arc<EventConfig>, partition: i32, templates: Arc<TemplateSet>) -> EventState {
        EventState {
            partition,
            position: 0,
            time: 0,
            templates,
            recorded: false,
            counted: false,
            dedup: Dedup::new(config.dedup),
            subjects: Subjects::new(partition, config.max_subjects),
            series: Series::new(series_limits(&config, partition)),
            tracker: Tracker::new(config.runs.clone()),
            published: Published::default(),
            config,
        }
    }

    /// Applies the next record. Records come in the order of the log; one below the
    /// position is passed over.
    ///
    /// # Errors
    /// [`NeedsTemplates`]: the log changes to templates that are not at hand. Nothing has
    /// changed.
    pub fn apply(&mut self, record: &RawRecord<'_>, library: Library<'_>) -> Result<Applied, NeedsTemplates> {
        if record.offset < self.position {
            return Ok(Applied { outcome: Outcome::Passed, ..Applied::default() });
        }
        let place = Place { offset: record.offset, time: record.timestamp.unwrap_or(self.time) };
        let applied = self.take(record, place, library)?;
        self.position = record.offset.saturating_add(1);
        self.time = place.time;
        Ok(applied)
    }

    fn take(&mut self, record: &RawRecord<'_>, place: Place, library: Library<'_>) -> Result<Applied, NeedsTemplates> {
        let envelope = match envelope::open(record) {
            Ok(envelope) => envelope,
            Err(refusal) => return Ok(refused(refusal)),
        };
        if envelope.producer.as_ref().is_some_and(|id| self.dedup.contains(id)) {
            return Ok(Applied { outcome: Outcome::Duplicate, ..Applied::default() });
        }
        let applied = match header(record, OP) {
            Some(op) => match Said::read(op, envelope.body) {
                Ok(Said::Sentence(sentence)) => self.judge(&sentence, place),
                Ok(Said::Templates(change)) => self.change(change, place, library)?,
                Err(refusal) => refused(refusal),
            },
            None if envelope.body.is_empty() => Applied { outcome: Outcome::Empty, ..Applied::default() },
            None => match decompress(envelope.encoding, envelope.body, self.config.record_bytes) {
                Ok(body) => self.events(record, &body, envelope.content_type, place),
                Err(error) => refused(error.into()),
            },
        };
        if let Some(id) = &envelope.producer {
            self.dedup.insert(id, place.time);
        }
        Ok(applied)
    }

    /// A change of templates: holds if it names the ones in force. The first one in the
    /// log says with which the log was counted before it.
    fn change(
        &mut self,
        change: TemplateChange,
        place: Place,
        library: Library<'_>,
    ) -> Result<Applied, NeedsTemplates> {
        let first = !self.recorded;
        let foreign = *change.from != *self.templates.hash();
        if first && foreign && self.counted {
            return Err(NeedsTemplates { hash: change.from, from_the_beginning: true });
        }
        let held = !foreign || (first && !self.counted);
        let mut applied = Applied::default();
        if held && *change.to != *self.templates.hash() {
            let Some(new) = library(&change.to) else {
                return Err(NeedsTemplates { hash: change.to, from_the_beginning: false });
            };
            self.switch(new, place, &mut applied);
        }
        self.recorded = true;
        applied.outcome = Outcome::Templates { hash: change.to, held };
        Ok(applied)
    }

    /// What the clock decides as of `now`: to be appended to this partition by its live
    /// owner. See [`Issued`].
    pub fn due(&self, now: UnixMs) -> Vec<Judgement> {
        let judged = self.position - 1;
        self.tracker.due(now).into_iter().map(|sentence| Judgement { sentence, judged }).collect()
    }

    /// The record that changes this partition's templates from those in force.
    pub fn template_change(&self, hash: &str) -> AppendedRecord {
        let change = TemplateChange { from: Box::from(self.templates.hash()), to: Box::from(hash) };
        change.to_record(self.position - 1)
    }

    /// Whether a live owner with these templates must append that record: they are not
    /// in force, or the log does not say yet which ones are.
    pub fn wants_templates(&self, hash: &str) -> bool {
        !self.recorded || hash != self.templates.hash()
    }

    /// The templates in force.
    pub fn templates(&self) -> &Arc<TemplateSet> {
        &self.templates
    }

    /// The next offset to apply.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The append time of the last record that was applied.
    pub fn time(&self) -> UnixMs {
        self.time
    }

    /// What HTTP reads of the runs.
    pub fn runs(&self) -> Arc<RunsView> {
        Arc::new(self.tracker.view())
    }

    /// Runs that are open.
    pub fn open_runs(&self) -> usize {
        self.tracker.open()
    }
}

fn series_limits(config: &EventConfig, partition: i32) -> SeriesLimits {
    SeriesLimits { subjects: config.max_subjects, partition }
}

fn refused(refusal: Refusal) -> Applied {
    Applied { outcome: Outcome::Refused(refusal), ..Applied::default() }
}

/// A header's text; the last one counts, as in the rest of the record contract.
fn header<'a>(record: &RawRecord<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    // No text is no name that anything here knows: refused further down.
    Some(std::str::from_utf8(value).unwrap_or("(not UTF-8)"))
}
