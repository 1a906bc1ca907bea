//! Whose metrics there are, and as of which record.
use std::collections::BTreeMap;

use k2p_core::model::UnixMs;
use serde::{Deserialize, Serialize};

use crate::event::Subject;
use crate::runs::Place;

/// The last record that changed a subject's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) offset: i64,
    pub(super) time: UnixMs,
}

/// The subjects of a partition, bounded.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    known: BTreeMap<Subject, Changed>,
    most: usize,
    partition: i32,
}

/// What the names of all overflow subjects begin with. A pipeline of such a name is
/// counted there: two partitions must never have one series.
const OTHER: &str = "other/";

impl Subjects {
    pub(super) fn new(partition: i32, most: usize) -> Subjects {
        Subjects { known: BTreeMap::new(), most, partition }
    }

    /// The subject that counts for this one: itself, or that of the overflow.
    pub(super) fn admit(&self, subject: Subject) -> Subject {
        let full = self.known.len() >= self.most && !self.known.contains_key(&subject);
        if !full && !subject.value().starts_with(OTHER) {
            return subject;
        }
        let other = format!("{OTHER}{}", self.partition).into_boxed_str();
        match subject {
            Subject::Pipeline(_) => Subject::Pipeline(other),
            Subject::Job(_) => Subject::Job(other),
        }
    }

    /// Notes that a record changed a subject's metrics.
    pub(super) fn touch(&mut self, subject: &Subject, place: Place) {
        let changed = Changed { offset: place.offset, time: place.time };
        if let Some(known) = self.known.get_mut(subject) {
            *known = changed;
            return;
        }
        self.known.insert(subject.clone(), changed);
    }

    pub(super) fn get(&self, subject: &Subject) -> Changed {
        self.known.get(subject).copied().unwrap_or_default()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Subject> {
        self.known.keys()
    }

    pub(super) fn save(&self) -> Vec<(&Subject, &Changed)> {
        self.known.iter().collect()
    }

    pub(super) fn load(&mut self, saved: Vec<(Subject, Changed)>) {
        self.known = saved.into_iter().collect();
    }
}
