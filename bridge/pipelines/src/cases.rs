//! Templates run over lines, as `kafka2prom check templates` does (issue 5, point 2).
//!
//! A case's input is NDJSON: events as a record holds them, and derived facts written out,
//! `{"k2p_fact": "attempt_ended", "pipeline_id": "daily", "status": "SUCCEEDED"}`, which no
//! producer can send. Its output is the exposition of all subjects (text 0.0.4), followed by
//! comments that say what was refused and what was lost: nothing is dropped silently.
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use imbl::OrdMap;
use k2p_core::exposition::{self, Format};
use k2p_core::labels::Labels;
use k2p_core::merge::Sources;
use k2p_core::model::Parsed;
use k2p_core::store::StoredDump;
use k2p_core::view::{Origin, PartitionView};
use serde_json::{Map, Value};

use crate::event::{EventFact, EventLimits, ParsedEvents, Subject, parse_record, scalar};
use crate::fact::{Fact, FactKind, Scalar};
use crate::series::{Loss, Series, SeriesLimits};
use crate::template::TemplateSet;

/// The key of a line that holds a derived fact.
const FACT_KEY: &str = "k2p_fact";

/// Runs the templates over a case's input; answers its output.
pub fn run(templates: &TemplateSet, input: &str) -> String {
    let mut series = Series::new(SeriesLimits { subjects: 10_000, partition: 0 });
    let mut losses = [0u64; Loss::ALL.len()];
    let mut refused = String::new();
    let mut apply = |series: &mut Series, fact: &dyn Fact| {
        for (loss, count) in series.apply(templates, fact).losses() {
            losses[loss as usize] += u64::from(count);
        }
    };
    for (number, line) in (1u32..).zip(input.lines()) {
        match literal(line) {
            Some(Ok(fact)) => apply(&mut series, &fact),
            Some(Err(what)) => refused.push_str(&format!("# refused line {number}: {what}\n")),
            None => {
                let mut parsed = ParsedEvents::default();
                parse_record(line.as_bytes(), None, None, &EventLimits::default(), &mut parsed);
                for (_, event) in &parsed.events {
                    apply(&mut series, &EventFact::new(event));
                }
                for rejection in parsed.rejections {
                    refused.push_str(&format!("# refused line {number}: {}: {}\n", rejection.reason, rejection.detail));
                }
            }
        }
    }
    let mut out = expose(&series);
    out.push_str(&refused);
    for (loss, count) in Loss::ALL.into_iter().zip(losses).filter(|(_, count)| *count > 0) {
        out.push_str(&format!("# lost {}: {count}\n", loss.as_str()));
    }
    out
}

/// A derived fact as a line of a case.
struct LiteralFact {
    kind: FactKind,
    subject: Subject,
    fields: Map<String, Value>,
}

impl Fact for LiteralFact {
    fn kind(&self) -> FactKind {
        self.kind
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn field(&self, path: &str) -> Option<Scalar<'_>> {
        self.fields.get(path).and_then(scalar)
    }
}

/// The derived fact of a line; `None`: it holds none.
fn literal(line: &str) -> Option<Result<LiteralFact, String>> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else {
        return None;
    };
    let name = fields.get(FACT_KEY)?;
    let derived = name.as_str().and_then(FactKind::from_name);
    let Some(kind) = derived.filter(|kind| *kind >= FactKind::AttemptStarted) else {
        return Some(Err(format!("{FACT_KEY}: expected the name of a derived fact")));
    };
    let Some(pipeline) = fields.get("pipeline_id").and_then(Value::as_str) else {
        return Some(Err("pipeline_id is missing".to_owned()));
    };
    let subject = Subject::Pipeline(pipeline.into());
    Some(Ok(LiteralFact { kind, subject, fields }))
}

/// What a scrape would show of the series.
fn expose(series: &Series) -> String {
    let mut view = PartitionView {
        topic: "case".into(),
        partition: 0,
        position: 0,
        origins: OrdMap::new(),
        series: 0,
        bytes: 0,
        quarantined: 0,
    };
    for subject in series.subjects() {
        let origin = origin(series, subject);
        view.origins.insert(Arc::clone(&origin.key), Arc::new(origin));
    }
    let mut out = Vec::new();
    let sources = Sources::collect(None, &[Arc::new(view)], None);
    exposition::write(&sources, Format::Text004, &mut |chunk| {
        out.extend_from_slice(&chunk);
        ControlFlow::Continue(())
    });
    String::from_utf8_lossy(&out).into_owned()
}

fn origin(series: &Series, subject: &Subject) -> Origin {
    let rendered = series.render(subject);
    let parsed = Parsed { families: rendered.families(), ..Parsed::default() };
    // A subject's label is a plain name, given once.
    let labels = Labels::from_pairs([(subject.label(), subject.value())]).unwrap_or_default();
    let dump = StoredDump::build(&parsed, &labels, false, &Labels::default());
    Origin {
        key: labels.canonical().into(),
        record_key: subject.value().as_bytes().into(),
        labels,
        dump: Some(Arc::new(dump)),
        dump_time: 0,
        seen: 0,
        offset: 0,
        dump_bytes: 0,
        stamp: false,
        last_refusal: None,
    }
}

/// The lines that only one of two outputs has: `- expected`, then `+ given`.
pub fn difference(expected: &str, given: &str) -> Vec<String> {
    let only = |here: &str, there: &str, sign: char| {
        let known: HashSet<&str> = there.lines().collect();
        let lines = here.lines().filter(|line| !known.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut lines = only(expected, given, '-');
    lines.extend(only(given, expected, '+'));
    if lines.is_empty() && expected != given {
        lines.push("! the same lines in another order or number".to_owned());
    }
    lines
}
