//! Whose metrics there are, and as of which record.
use std::collections::HashMap;

use foldhash::fast::RandomState;
use k2p_core::model::UnixMs;
use serde::{Deserialize, Serialize};

use crate::event::Subject;
use crate::runs::Place;

/// The last record that changed a subject's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) offset: i64,
    pub(super) time: UnixMs,
}

/// The subjects of a partition, bounded.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    known: HashMap<Subject, Changed, RandomState>,
    /// How many of them are pipelines.
    pipelines: usize,
    most: usize,
    partition: i32,
}

/// What the names of all overflow subjects begin with. A pipeline of such a name is
/// counted there: two partitions must never have one series.
const OTHER: &str = "other/";

impl Subjects {
    pub(super) fn new(partition: i32, most: usize) -> Subjects {
        Subjects { known: HashMap::default(), pipelines: 0, most, partition }
    }

    /// The subject that a pipeline's runs are followed under: itself, or that of the
    /// overflow. A job has no runs: its series know their own limit.
    pub(super) fn admit(&self, subject: Subject) -> Subject {
        let Subject::Pipeline(name) = &subject else {
            return subject;
        };
        let full = self.pipelines >= self.most && !self.known.contains_key(&subject);
        if !full && !name.starts_with(OTHER) {
            return subject;
        }
        Subject::Pipeline(format!("{OTHER}{}", self.partition).into())
    }

    /// Notes that a record changed a subject's metrics. Of jobs above the limit nothing
    /// is noted: their series are those of the overflow.
    pub(super) fn touch(&mut self, subject: &Subject, place: Place) {
        let changed = Changed { offset: place.offset, time: place.time };
        if let Some(known) = self.known.get_mut(subject) {
            *known = changed;
            return;
        }
        let pipeline = matches!(subject, Subject::Pipeline(_));
        if pipeline || self.known.len() - self.pipelines < self.most {
            self.pipelines += usize::from(pipeline);
            self.known.insert(subject.clone(), changed);
        }
    }

    /// The last record that changed a subject, if that was noted.
    pub(super) fn get(&self, subject: &Subject) -> Option<Changed> {
        self.known.get(subject).copied()
    }

    pub(super) fn save(&self) -> Vec<(&Subject, &Changed)> {
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort();
        known
    }

    pub(super) fn load(&mut self, saved: Vec<(Subject, Changed)>) {
        self.known = saved.into_iter().collect();
        self.pipelines = self.known.keys().filter(|s| matches!(s, Subject::Pipeline(_))).count();
    }
}
