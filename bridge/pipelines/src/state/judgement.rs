//! What a live owner appends to its own partition: judgements of the clock, and changes
//! of templates. They count when they are read back.
//!
//! ```text
//! k2p-op: sla | lost     key: the pipeline   value: the Sentence as JSON
//! k2p-op: templates      key: none           value: {"from":"<hash>","to":"<hash>"}
//! k2p-judged: the offset of the last record that the judge had applied (-1: none)
//! ```
//!
//! A sentence holds if it is true at its place in the log by the record's append time
//! (the judge's clock is not believed), and is void if its run moved on in between. A
//! change of templates holds if `from` is in force. So nothing that two owners, or one
//! owner twice, append can count twice.
use std::collections::HashMap;

use k2p_core::model::UnixMs;
use k2p_core::reason::{RecordReason, Refusal};
use serde::{Deserialize, Serialize};

use crate::runs::{Sentence, Verdict};

/// The header that makes a record one of these. Whoever takes records from strangers
/// (`POST /api/v1/events`) must not let it through.
pub const OP: &str = "k2p-op";
/// The header that names the last offset that was judged.
pub const JUDGED: &str = "k2p-judged";

/// What the clock decided, to be appended to the partition it was decided for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// About which run, and what.
    pub sentence: Sentence,
    /// The offset of the last record that the judge had applied.
    pub judged: i64,
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendedRecord {
    /// The key; the partition is given, not hashed from it.
    pub key: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The value.
    pub value: Vec<u8>,
}

impl Judgement {
    /// The record that says it.
    pub fn to_record(&self) -> AppendedRecord {
        let op = match self.sentence.verdict {
            Verdict::Sla => "sla",
            Verdict::Lost => "lost",
        };
        let key = Some(self.sentence.pipeline_id.as_bytes().to_vec());
        appended(op, key, self.judged, &self.sentence)
    }
}

/// A change of templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TemplateChange {
    pub(super) from: Box<str>,
    pub(super) to: Box<str>,
}

impl TemplateChange {
    pub(super) fn to_record(&self, judged: i64) -> AppendedRecord {
        appended("templates", None, judged, self)
    }
}

fn appended(op: &str, key: Option<Vec<u8>>, judged: i64, value: &impl Serialize) -> AppendedRecord {
    // Structs of text and numbers: nothing that JSON cannot say.
    let value = serde_json::to_vec(value).unwrap_or_default();
    let headers = vec![(OP, op.as_bytes().to_vec()), (JUDGED, judged.to_string().into_bytes())];
    AppendedRecord { key, headers, value }
}

/// A record of an owner, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Sentence(Sentence),
    Templates(TemplateChange),
}

impl Said {
    /// Reads the value of a record with the header `k2p-op`.
    pub(super) fn read(op: &str, value: &[u8]) -> Result<Said, Refusal> {
        let fault = |error: serde_json::Error| {
            let detail = format!("the value of a record with {OP}: {op} is not what a bridge writes: {error}");
            Refusal::new(RecordReason::BadHeader, detail)
        };
        match op {
            "sla" | "lost" => {
                let sentence: Sentence = serde_json::from_slice(value).map_err(fault)?;
                if (op == "sla") == (sentence.verdict == Verdict::Sla) {
                    return Ok(Said::Sentence(sentence));
                }
                let detail = format!("{OP} and the value of the record contradict each other");
                Err(Refusal::new(RecordReason::BadHeader, detail))
            }
            "templates" => Ok(Said::Templates(serde_json::from_slice(value).map_err(fault)?)),
            _ => {
                let detail = format!("{OP} is none of sla, lost, templates: a newer bridge wrote it, upgrade this one");
                Err(Refusal::new(RecordReason::BadHeader, detail))
            }
        }
    }
}

/// What was appended lately, so that a judgement is not appended again while it is on its
/// way, nor once a second by a bridge whose clock runs ahead of the broker's. No part of
/// the replayed state.
#[derive(Debug, Default)]
pub struct Issued {
    next: HashMap<Sentence, (UnixMs, i64)>,
}

impl Issued {
    const FIRST_PAUSE_MS: i64 = 1_000;
    const LONGEST_PAUSE_MS: i64 = 60_000;

    /// Those of `due` that are to be appended now. Each comes again after a second, then
    /// after two, four, … at most sixty, for as long as it is due.
    pub fn fresh(&mut self, due: Vec<Judgement>, now: UnixMs) -> Vec<Judgement> {
        let mut next = HashMap::with_capacity(due.len());
        let mut fresh = Vec::new();
        for judgement in due {
            let (at, pause) = match self.next.remove(&judgement.sentence) {
                // A clock that was set back must not silence a judgement.
                Some((at, pause)) if now < at && at - now <= pause => {
                    next.insert(judgement.sentence, (at, pause));
                    continue;
                }
                Some((_, pause)) => (now, (pause * 2).min(Issued::LONGEST_PAUSE_MS)),
                None => (now, Issued::FIRST_PAUSE_MS),
            };
            next.insert(judgement.sentence.clone(), (at + pause, pause));
            fresh.push(judgement);
        }
        self.next = next;
        fresh
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn judgement() -> Judgement {
        let sentence = Sentence {
            verdict: Verdict::Lost,
            pipeline_id: "p".into(),
            run_id: "r".into(),
            retry_count: 2,
            lost_after_ms: Some(5),
        };
        Judgement { sentence, judged: 41 }
    }

    #[test]
    fn a_judgement_comes_back_as_it_was() {
        let record = judgement().to_record();
        assert_eq!(record.key.as_deref(), Some(&b"p"[..]));
        assert_eq!(record.headers, [(OP, b"lost".to_vec()), (JUDGED, b"41".to_vec())]);
        assert_eq!(Said::read("lost", &record.value), Ok(Said::Sentence(judgement().sentence)));
    }

    #[test]
    fn what_no_bridge_writes_is_refused() {
        let value = judgement().to_record().value;
        for (op, value, expected) in [
            ("sla", value.as_slice(), "contradict each other"),
            ("lost", b"{}", "is not what a bridge writes"),
            ("templates", b"", "is not what a bridge writes"),
            ("later", b"", "a newer bridge wrote it"),
        ] {
            let refusal = Said::read(op, value).unwrap_err();
            assert!(refusal.detail.contains(expected), "{op}: {refusal}");
        }
    }

    #[test]
    fn a_judgement_on_its_way_is_not_repeated_at_once() {
        let mut issued = Issued::default();
        let mut at = Vec::new();
        for second in 0..200 {
            if !issued.fresh(vec![judgement()], second * 1000).is_empty() {
                at.push(second);
            }
        }
        assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert!(issued.fresh(Vec::new(), 200_000).is_empty());
        assert_eq!(issued.fresh(vec![judgement()], 200_001).len(), 1);
        // A clock set back by an hour.
        assert_eq!(issued.fresh(vec![judgement()], -3_600_000).len(), 1);
    }
}
