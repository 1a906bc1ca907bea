//! A double of the series, until they are merged: counts facts by kind.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use k2p_core::model::{Family, MetricType, Sample};

use crate::event::Subject;
use crate::fact::{Fact, FactKind};
use crate::template::TemplateSet;

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Changes(u64);

impl Changes {
    pub fn add(&mut self, other: Changes) {
        self.0 += other.0;
    }
}

#[derive(Debug, Default)]
pub struct Series {
    all: BTreeMap<Subject, BTreeMap<FactKind, String>>,
    dirty: BTreeSet<Subject>,
}

impl Series {
    pub fn new() -> Series {
        Series::default()
    }

    pub fn apply(&mut self, _: &TemplateSet, fact: &dyn Fact) -> Changes {
        self.dirty.insert(fact.subject().clone());
        let count = self.all.entry(fact.subject().clone()).or_default().entry(fact.kind()).or_default();
        *count = (count.parse::<u64>().unwrap_or(0) + 1).to_string();
        Changes::default()
    }

    pub fn change(&mut self, _: &TemplateSet, _: &TemplateSet) -> Changes {
        Changes::default()
    }

    pub fn dirty(&mut self) -> Vec<Subject> {
        std::mem::take(&mut self.dirty).into_iter().collect()
    }

    pub fn families(&self, subject: &Subject) -> Vec<Family<'_>> {
        let mut families = Vec::new();
        for (kind, value) in self.all.get(subject).into_iter().flatten() {
            let name = format!("{kind:?}_total");
            let sample = Sample {
                name: Cow::Owned(name.clone()),
                labels: Cow::Borrowed(""),
                value,
                timestamp: None,
                exemplar: None,
            };
            let samples = vec![sample];
            families.push(Family {
                name: Cow::Owned(name),
                kind: MetricType::Counter,
                help: None,
                unit: None,
                samples,
            });
        }
        families
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.all.iter().map(|(s, m)| (s, m.iter().collect::<Vec<_>>())).collect::<Vec<_>>())
            .unwrap_or_default()
    }

    pub fn decode(bytes: &[u8], _: &TemplateSet) -> Result<Series, String> {
        let all: Vec<(Subject, Vec<(FactKind, String)>)> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let all = all.into_iter().map(|(s, m)| (s, m.into_iter().collect())).collect();
        Ok(Series { all, dirty: BTreeSet::new() })
    }
}
