//! What a fact does, worked out once for all facts that are alike.
//!
//! Nothing of it is state: without it the same facts have the same effects, later.
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use k2p_core::labels::push_label;

use super::cells::LabelSet;
use super::loss::Loss;
use crate::fact::Fact;
use crate::template::{Metric, OTHER, Rule, TemplateSet};

/// Plans that are kept; with one more all are forgotten, and those in use come again.
const MAX_PLANS: usize = 16_384;

/// The rules that a fact meets, in order.
pub(super) type Plan = Arc<[Step]>;

/// A rule that is met, and the labels that it gives.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) metric: u16,
    pub(super) rule: u16,
    pub(super) labels: LabelSet,
    /// What was hidden in the labels.
    pub(super) losses: Box<[Loss]>,
}

/// The plans of one partition's templates, bounded.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: HashMap<Box<[u8]>, Plan, RandomState>,
    hasher: RandomState,
    /// The key at hand.
    key: Vec<u8>,
}

impl Plans {
    /// What the fact does.
    pub(super) fn of(&mut self, templates: &TemplateSet, fact: &dyn Fact) -> Plan {
        self.key.clear();
        self.key.push(fact.kind() as u8);
        if !templates.key(fact, &mut self.key) {
            return self.make(templates, fact);
        }
        if let Some(plan) = self.known.get(&*self.key) {
            return Arc::clone(plan);
        }
        let plan = self.make(templates, fact);
        if self.known.len() >= MAX_PLANS {
            self.known.clear();
        }
        self.known.insert(self.key.as_slice().into(), Arc::clone(&plan));
        plan
    }

    /// Forgets the plans: the templates are others.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// A canonical label set with its hash.
    pub(super) fn label_set(&self, text: Arc<str>) -> LabelSet {
        LabelSet { hash: self.hasher.hash_one(&*text), text }
    }

    /// The label set of everything beyond a metric's cap.
    pub(super) fn overflow(&self, metric: &Metric) -> LabelSet {
        let mut text = String::new();
        for name in &metric.labels {
            push(&mut text, name, OTHER);
        }
        self.label_set(text.into())
    }

    fn make(&self, templates: &TemplateSet, fact: &dyn Fact) -> Plan {
        let rules = templates.rules(fact.kind()).filter(|(_, _, rule)| rule.matches(fact));
        rules
            .map(|(at, rule_at, rule)| {
                let (labels, losses) = self.labels(&templates.metrics[usize::from(at)], rule, fact);
                Step { metric: at, rule: rule_at, labels, losses }
            })
            .collect()
    }

    fn labels(&self, metric: &Metric, rule: &Rule, fact: &dyn Fact) -> (LabelSet, Box<[Loss]>) {
        let mut text = String::new();
        let mut losses = Vec::new();
        for (name, spec) in metric.labels.iter().zip(&rule.labels) {
            let (value, hidden) = spec.value(fact);
            losses.extend(hidden.map(Loss::of));
            push(&mut text, name, &value);
        }
        (self.label_set(text.into()), losses.into())
    }
}

/// Appends a label; an empty value is no label.
fn push(text: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push(',');
    }
    push_label(text, name, value);
}
