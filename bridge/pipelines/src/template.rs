//! Templates: the one place where a metric made of events is defined (issue 5, point 2).
//!
//! A file holds a list of metrics. The same name may stand several times, each with its
//! own `match` and `value`: together they feed one metric, so they must agree in all that
//! the metric is.
//!
//! ```yaml
//! metrics:
//!   - name: pipeline_step_duration_seconds
//!     type: histogram              # counter gauge histogram native_histogram last_timestamp
//!     help: Time that a step took.
//!     unit: seconds                # optional: the name's last word (before _total)
//!     match:
//!       kind: log                  # log run lineage job, or a derived fact
//!       where:                     # all of them; each with equals, one_of or present
//!         - {field: step, present: true}
//!     labels:                      # beside the subject's own, which is always there
//!       - {name: step, field: step}
//!     value: {field: metrics.duration_ms, from: milliseconds}
//!     buckets: [1, 10, 60, 600]
//!     max_series: 100              # of a subject; what is beyond has "other" in every label
//! ```
//!
//! - **Label**: `field`, or a constant `value`; `take: first_segment | last_segment`
//!   (of a dotted or slashed name); `values: {from: to}` and `rest` for what is not in it;
//!   `default` where the field is absent (else the label is).
//! - **Value**: `constant`, or `field`, `minus` another one, `from` a unit that is no base
//!   unit. A fact without the field changes nothing, but `absent: remove` takes a gauge
//!   away. A counter without `value` counts facts; a `last_timestamp` keeps the largest.
//! - **Identifiers** are never labels: fields that are one are refused at load, values that
//!   look like one ([`Identifier`]) become `other` and are counted. A value that stands in
//!   `values` is known and stays.
mod allowed;
mod build;
mod catalogue;
mod identifier;
mod key;
mod label;
mod names;
mod rule;
mod value;

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use catalogue::{CatalogueEntry, catalogue, catalogue_json, catalogue_markdown, native_notice};
pub use identifier::Identifier;
pub(crate) use label::OTHER;
pub(crate) use rule::Rule;

use crate::fact::{Fact, FactKind};
use key::KeyPart;

/// What is wrong with a template: where, what, what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// 1-based; 0 is the whole file.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    /// `FILE:LINE: message; remedy`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}

/// What a metric is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricKind {
    /// The sum of the values.
    Counter,
    /// The last value.
    Gauge,
    /// The largest value: a Unix time in seconds.
    LastTimestamp,
    /// Observations in classic buckets: their upper bounds, ascending, without `+Inf`.
    Histogram(Box<[f64]>),
    /// Observations in exponential buckets; a format that has none shows the classic
    /// ones of these bounds.
    NativeHistogram {
        /// Bounds of the classic form.
        bounds: Box<[f64]>,
        /// The resolution to begin with: a bucket grows by 2^(2^-schema).
        schema: i8,
        /// At most so many buckets; beyond, the resolution is halved.
        max_buckets: u16,
    },
}

impl MetricKind {
    /// The word in a template.
    pub fn as_str(&self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::LastTimestamp => "last_timestamp",
            MetricKind::Histogram(_) => "histogram",
            MetricKind::NativeHistogram { .. } => "native_histogram",
        }
    }
}

/// A metric: everything that one name stands for.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub kind: MetricKind,
    /// Its help.
    pub help: Box<str>,
    /// Its unit, where the name ends in one.
    pub unit: Option<Box<str>>,
    /// Names of its labels, sorted, without the subject's.
    pub labels: Box<[Box<str>]>,
    /// `pipeline_id` or `job_label`.
    pub subject_label: &'static str,
    /// Label sets that one subject may have, beside the one of `other`.
    pub max_series: u32,
    /// What feeds it.
    pub(crate) rules: Box<[Rule]>,
    file: Arc<str>,
    line: u32,
}

impl Metric {
    /// Whether its series mean the same as the other's: all but help, cap and place is equal.
    pub fn same_series(&self, other: &Metric) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && self.unit == other.unit
            && self.labels == other.labels
            && self.rules == other.rules
    }

    /// Where it is defined (first): file and line.
    pub fn place(&self) -> (&str, u32) {
        (&self.file, self.line)
    }

    /// The kinds of fact that feed it, in the order of its rules.
    pub fn kinds(&self) -> Vec<FactKind> {
        let mut kinds: Vec<FactKind> = self.rules.iter().map(|rule| rule.kind).collect();
        kinds.dedup();
        kinds
    }
}

/// All templates of a bridge: immutable, shared, named by the hash of its texts.
#[derive(Debug)]
pub struct TemplateSet {
    pub(crate) metrics: Arc<[Metric]>,
    /// By kind of fact: which rule of which metric.
    by_kind: [Vec<(u16, u16)>; FactKind::ALL.len()],
    /// By kind of fact: what decides which rules are met and which labels they give.
    keys: [Box<[KeyPart]>; FactKind::ALL.len()],
    texts: Vec<(String, String)>,
    hash: String,
}

impl TemplateSet {
    /// Reads the files, `(name, text)`, in any order: they are taken by name.
    ///
    /// # Errors
    /// Everything that is wrong with them, by file and line.
    pub fn load(files: &[(String, String)]) -> Result<TemplateSet, Vec<Fault>> {
        let mut texts = files.to_vec();
        texts.sort();
        let metrics = build::build(&texts)?;
        let mut by_kind: [Vec<(u16, u16)>; FactKind::ALL.len()] = Default::default();
        for (at, metric) in (0..).zip(&metrics) {
            for (rule_at, rule) in (0..).zip(&metric.rules) {
                by_kind[rule.kind as usize].push((at, rule_at));
            }
        }
        let keys = FactKind::ALL.map(|kind| {
            let of_kind = |rule: &&Rule| rule.kind == kind;
            key::parts(metrics.iter().flat_map(|metric| &metric.rules).filter(of_kind))
        });
        Ok(TemplateSet { metrics: metrics.into(), by_kind, keys, hash: hash(&texts), texts })
    }

    /// SHA-256 of names and texts, in hexadecimal: equal hash, equal metrics.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The files it was read from, sorted by name.
    pub fn texts(&self) -> &[(String, String)] {
        &self.texts
    }

    /// The metrics, sorted by name.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The rules of a kind of fact: the metric's place, the rule's place in it.
    pub(crate) fn rules(&self, kind: FactKind) -> impl Iterator<Item = (u16, u16, &Rule)> {
        let places = self.by_kind[kind as usize].iter();
        places.map(|(at, rule)| (*at, *rule, &self.metrics[usize::from(*at)].rules[usize::from(*rule)]))
    }

    /// Writes what decides which rules a fact meets and which labels they give it: facts
    /// of one kind with equal keys are alike in both. `false` if it is too long to keep.
    pub(crate) fn key(&self, fact: &dyn Fact, out: &mut Vec<u8>) -> bool {
        key::write(&self.keys[fact.kind() as usize], fact, out)
    }
}

fn hash(texts: &[(String, String)]) -> String {
    let mut hasher = Sha256::new();
    for (name, text) in texts {
        // Lengths first: no two lists of files have one stream of bytes.
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
