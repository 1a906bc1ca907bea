//! The metrics of one partition: of each subject, what the templates made of its facts.
//!
//! Bounded in every direction: a subject has at most `max_series` label sets of a metric
//! (further ones are one series, `other` in every label), the partition has at most
//! [`SeriesLimits::subjects`] subjects (further ones are one, `other/<partition>`). What
//! is merged that way is counted: [`Changes`].
//!
//! Pure replayed state: the same facts in the same order give the same series, and the
//! same snapshot.
mod bytes;
mod cell;
mod cells;
mod loss;
mod native;
mod plan;
mod render;
mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use loss::{Changes, Loss};
pub use native::NativeHistogram;
pub use render::Rendered;
pub use snapshot::SnapshotError;

use crate::event::Subject;
use crate::fact::Fact;
use crate::template::{Identifier, Metric, TemplateSet};
use cell::Cell;
use cells::{Cells, LabelSet};
use plan::Plans;

/// How much a partition may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Subjects with a name of their own.
    pub subjects: usize,
    /// The partition: names the subject of all others, so that two partitions never
    /// show one series.
    pub partition: i32,
}

/// The metrics of one partition.
#[derive(Debug)]
pub struct Series {
    limits: SeriesLimits,
    /// The templates that the series are of.
    templates: String,
    metrics: Arc<[Metric]>,
    index: HashMap<Subject, usize, foldhash::fast::RandomState>,
    subjects: Vec<Entry>,
    /// Places of the subjects that changed since they were last asked for.
    dirty: Vec<usize>,
    plans: Plans,
}

/// A subject's series, by metric and canonical label set.
#[derive(Debug)]
struct Entry {
    subject: Subject,
    cells: Cells,
    dirty: bool,
}

impl Series {
    /// No series yet.
    pub fn new(limits: SeriesLimits) -> Series {
        Series {
            limits,
            templates: String::new(),
            metrics: Arc::new([]),
            index: HashMap::default(),
            subjects: Vec::new(),
            dirty: Vec::new(),
            plans: Plans::default(),
        }
    }

    /// Lets a fact have its effect. Templates other than the last ones are adopted first.
    pub fn apply(&mut self, templates: &TemplateSet, fact: &dyn Fact) -> Changes {
        let mut changes = Changes::default();
        self.count(templates, fact, &mut changes);
        changes
    }

    /// [`Series::apply`], adding to what other facts could not do.
    pub(crate) fn count(&mut self, templates: &TemplateSet, fact: &dyn Fact, changes: &mut Changes) {
        if !Arc::ptr_eq(&self.metrics, &templates.metrics) && self.templates != templates.hash() {
            changes.dropped_series += self.adopt(templates);
        }
        let mut place = None;
        for step in &*self.plans.of(templates, fact) {
            let metric = &templates.metrics[usize::from(step.metric)];
            let rule = &metric.rules[usize::from(step.rule)];
            let value = match rule.value.admissible(fact, &metric.kind) {
                Ok(Some(value)) => Some(value),
                Ok(None) if rule.absent_removes => None,
                Ok(None) => continue,
                Err(()) => {
                    changes.add(Loss::Value);
                    continue;
                }
            };
            let place = *place.get_or_insert_with(|| self.place(fact.subject(), changes));
            for loss in &step.losses {
                changes.add(*loss);
            }
            let changed = match value {
                Some(value) => self.update(place, step.metric, metric, &step.labels, value, changes),
                None => self.subjects[place].cells.remove(step.metric, &step.labels),
            };
            if changed {
                self.mark(place);
            }
        }
    }

    /// Goes over to other templates: metrics that mean the same keep their series, the
    /// others lose them. Answers how many series were lost.
    pub fn adopt(&mut self, templates: &TemplateSet) -> u64 {
        let mut moved: BTreeMap<u16, u16> = BTreeMap::new();
        for (old_at, old) in (0..).zip(self.metrics.iter()) {
            let found = templates.metrics.binary_search_by(|new| new.name.cmp(&old.name));
            if let Ok(new_at) = found
                && templates.metrics[new_at].same_series(old)
            {
                moved.insert(old_at, u16::try_from(new_at).unwrap_or(u16::MAX));
            }
        }
        let mut lost = 0;
        for place in 0..self.subjects.len() {
            let cells = std::mem::take(&mut self.subjects[place].cells);
            for (at, labels, cell) in cells.into_all() {
                match moved.get(&at) {
                    Some(new) => self.subjects[place].cells.insert(*new, labels, cell),
                    None => lost += 1,
                }
            }
            self.mark(place);
        }
        self.plans.clear();
        self.metrics = Arc::clone(&templates.metrics);
        templates.hash().clone_into(&mut self.templates);
        lost
    }

    /// The hash of the templates that the series are of; empty before the first fact.
    pub fn templates(&self) -> &str {
        &self.templates
    }

    /// The subjects that changed since the last call.
    pub fn dirty(&mut self) -> Vec<Subject> {
        let places = std::mem::take(&mut self.dirty);
        let mut subjects = Vec::with_capacity(places.len());
        for place in places {
            self.subjects[place].dirty = false;
            subjects.push(self.subjects[place].subject.clone());
        }
        subjects
    }

    /// Every subject that has series, in the order of their first facts.
    pub fn subjects(&self) -> impl ExactSizeIterator<Item = &Subject> {
        self.subjects.iter().map(|entry| &entry.subject)
    }

    /// Label sets over all subjects and metrics (a histogram's buckets are not counted).
    pub fn len(&self) -> usize {
        self.subjects.iter().map(|entry| entry.cells.len()).sum()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The subject's metrics, as text, ready to be read as families.
    pub fn render(&self, subject: &Subject) -> Rendered<'_> {
        let mut rendered = Rendered::default();
        if let Some(place) = self.index.get(subject) {
            for (at, family) in self.subjects[*place].cells.families() {
                rendered.add(&self.metrics[usize::from(at)], family);
            }
        }
        rendered
    }

    /// Where the subject's series are; a new one gets a place, or shares that of the others.
    fn place(&mut self, subject: &Subject, changes: &mut Changes) -> usize {
        let overflow = subject.value().starts_with("other/");
        if !overflow && let Some(place) = self.index.get(subject) {
            return *place;
        }
        let identifier = match subject {
            Subject::Pipeline(_) => None,
            Subject::Job(value) => Identifier::of_job(value),
        };
        if let Some(identifier) = identifier {
            changes.add(Loss::of(identifier));
        } else if overflow || self.subjects.len() >= self.limits.subjects {
            changes.add(Loss::SubjectCap);
        } else {
            return self.insert(subject.clone());
        }
        let value: Box<str> = format!("other/{}", self.limits.partition).into();
        let shared = match subject {
            Subject::Pipeline(_) => Subject::Pipeline(value),
            Subject::Job(_) => Subject::Job(value),
        };
        let known = self.index.get(&shared).copied();
        known.unwrap_or_else(|| self.insert(shared))
    }

    fn insert(&mut self, subject: Subject) -> usize {
        let place = self.subjects.len();
        self.index.insert(subject.clone(), place);
        self.subjects.push(Entry { subject, cells: Cells::default(), dirty: false });
        place
    }

    fn update(
        &mut self,
        place: usize,
        at: u16,
        metric: &Metric,
        labels: &LabelSet,
        value: f64,
        changes: &mut Changes,
    ) -> bool {
        let cells = &mut self.subjects[place].cells;
        if let Some(cell) = cells.get_mut(at, labels) {
            return cell.update(&metric.kind, value);
        }
        let mut labels = labels.clone();
        if cells.count(at) >= metric.max_series as usize {
            changes.add(Loss::SeriesCap);
            labels = self.plans.overflow(metric);
            if let Some(cell) = cells.get_mut(at, &labels) {
                cell.update(&metric.kind, value);
                return true;
            }
        }
        let mut cell = Cell::new(&metric.kind);
        cell.update(&metric.kind, value);
        cells.insert(at, labels, cell);
        true
    }

    fn mark(&mut self, place: usize) {
        if !self.subjects[place].dirty {
            self.subjects[place].dirty = true;
            self.dirty.push(place);
        }
    }
}
