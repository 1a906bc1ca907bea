//! What is replayed of a topic of events: runs and the metrics that templates make.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use k2p_core::envelope::RawRecord;
use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::Tp;
use k2p_pipelines::snapshot::SnapshotError;
use k2p_pipelines::state::{AppendedRecord, Applied, EventConfig, EventState, Issued, NeedsTemplates, Outcome};
use k2p_pipelines::template::TemplateSet;
use k2p_runtime::clock::{mono_ms, unix_ms};

use super::begin::of_state;
use super::logs::{LogSink, PartitionLog};
use super::statelog::StateLog;
use super::{Due, Kind, Replayed, blocked};
use crate::live::{BlockReason, Blocked, LivePartition, Refusal};
use crate::metrics::ServerMetrics;

/// Rejections of one record that the status page may show.
const SHOWN: usize = 5;
/// Rendering is by subject, and thousands of events a second change the same ones.
const PUBLISH_EVERY: MonoMs = 100;
/// A change of templates is appended again after this, if it was not read back.
const CHANGE_AGAIN_MS: UnixMs = 10_000;
/// Sets of templates kept at hand.
const SETS: usize = 64;

/// The templates of this bridge, and all others that records name.
pub(crate) struct Templates {
    own: Arc<ArcSwap<TemplateSet>>,
    state: Arc<StateLog>,
    sets: Mutex<HashMap<String, Arc<TemplateSet>>>,
}

impl Templates {
    pub(crate) fn new(own: Arc<ArcSwap<TemplateSet>>, state: Arc<StateLog>) -> Templates {
        Templates { own, state, sets: Mutex::default() }
    }

    fn get(&self, hash: &str) -> Option<Arc<TemplateSet>> {
        let own = self.own.load_full();
        if own.hash() == hash {
            return Some(own);
        }
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(hash) {
            return Some(set.clone());
        }
        let text = self.state.text(hash)?;
        let files: Vec<(String, String)> = serde_json::from_str(&text).ok()?;
        // An older version may have refused nothing of what this one refuses.
        let set = TemplateSet::load(&files).inspect_err(|faults| {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            tracing::error!(hash, first, "templates that the log names are none for this version");
        });
        let set = Arc::new(set.ok().filter(|set| set.hash() == hash)?);
        if sets.len() >= SETS {
            sets.clear();
        }
        sets.insert(hash.to_owned(), set.clone());
        Some(set)
    }

    /// Sees to it that the text of this bridge's own is in the state topic.
    fn store(&self) -> Result<String, Blocked> {
        let own = self.own.load_full();
        if self.state.text(own.hash()).is_none() {
            let text = serde_json::to_string(own.texts()).unwrap_or_default();
            let key = format!("text/{}", own.hash());
            self.state.put(&key, &key, Some(text.as_bytes())).map_err(|e| of_state(&e))?;
        }
        Ok(own.hash().to_owned())
    }
}

/// A topic of events.
pub(crate) struct Events {
    pub(crate) config: Arc<EventConfig>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) metrics: ServerMetrics,
    /// `None`: no logs are kept.
    pub(crate) logs: Option<LogSink>,
}

impl Events {
    fn replayed(&self, partition: i32, state: EventState) -> Box<dyn Replayed> {
        let topic = &self.config.topic;
        let logs = self.logs.as_ref().map(|sink| PartitionLog::new(sink.clone(), topic.clone(), partition));
        let counters = Counters::new(&self.config.topic, &self.metrics);
        let templates = self.templates.clone();
        Box::new(EventsOf { state, logs, templates, counters, issued: Issued::default(), changed: UnixMs::MIN / 2 })
    }
}

fn lacking(hash: &str) -> Blocked {
    let detail = format!(
        "the log was counted with the templates {hash}, whose text is not in the state topic (or not read yet); restore that topic, or run a version that knows them"
    );
    blocked(BlockReason::MissingText, detail)
}

impl Kind for Events {
    fn prepare(&self, _: &StateLog) -> Result<String, Blocked> {
        self.templates.store()
    }

    fn fresh(&self, tp: &Tp, _: i64, with: &str) -> Result<Box<dyn Replayed>, Blocked> {
        let templates = self.templates.get(with).ok_or_else(|| lacking(with))?;
        Ok(self.replayed(tp.partition, EventState::new(self.config.clone(), tp.partition, templates)))
    }

    fn restore(&self, tp: &Tp, bytes: &[u8]) -> Result<Option<Box<dyn Replayed>>, Blocked> {
        let library = |hash: &str| self.templates.get(hash);
        match EventState::restore(bytes, self.config.clone(), tp.partition, &library) {
            Ok(state) => Ok(Some(self.replayed(tp.partition, state))),
            Err(SnapshotError::NeedsTemplates(hash)) => Err(lacking(&hash)),
            Err(error) => {
                tracing::error!(topic = %tp.topic, partition = tp.partition, %error, "snapshot");
                Ok(None)
            }
        }
    }
}

/// The counters of one topic, looked up once.
struct Counters {
    topic: Arc<str>,
    metrics: ServerMetrics,
    kinds: [prometheus::IntCounter; 4],
}

impl Counters {
    fn new(topic: &Arc<str>, metrics: &ServerMetrics) -> Counters {
        let of = |kind| metrics.events_applied.with_label_values(&[&**topic, kind]);
        Counters {
            topic: topic.clone(),
            metrics: metrics.clone(),
            kinds: ["accepted", "duplicate", "judged", "other"].map(of),
        }
    }

    fn count(&self, applied: &Applied) {
        let [accepted, duplicate, judged, other] = &self.kinds;
        accepted.inc_by(applied.accepted);
        match &applied.outcome {
            Outcome::Accepted => {}
            Outcome::Duplicate => duplicate.inc(),
            Outcome::Judged { .. } | Outcome::Templates { .. } => judged.inc(),
            Outcome::Passed | Outcome::Empty | Outcome::Refused(_) => other.inc(),
        }
        if let Outcome::Refused(refusal) = &applied.outcome {
            self.metrics.events_rejected.with_label_values(&[&*self.topic, refusal.reason.as_str()]).inc();
        }
        for rejection in &applied.rejections {
            self.metrics.events_rejected.with_label_values(&[&*self.topic, rejection.reason.as_str()]).inc();
        }
        self.reduced("unknown_level", applied.unknown_levels);
        self.reduced("subject_overflow", applied.overflowing);
        self.reduced("templates_changed", applied.changes.dropped_series);
        for (loss, count) in applied.changes.losses() {
            self.reduced(loss.as_str(), u64::from(count));
        }
        for (reason, count) in applied.run_counts.iter() {
            self.reduced(reason.as_str(), count);
        }
    }

    fn reduced(&self, reason: &str, count: u64) {
        if count > 0 {
            self.metrics.events_reduced.with_label_values(&[&*self.topic, reason]).inc_by(count);
        }
    }
}

/// One partition.
struct EventsOf {
    state: EventState,
    logs: Option<PartitionLog>,
    templates: Arc<Templates>,
    counters: Counters,
    issued: Issued,
    /// When a change of templates was last appended.
    changed: UnixMs,
}

impl Replayed for EventsOf {
    fn apply(&mut self, record: &RawRecord<'_>) -> Result<Vec<Refusal>, Blocked> {
        let templates = &self.templates;
        let library = |hash: &str| templates.get(hash);
        let applied = self.state.apply(record, &library).map_err(|needs: NeedsTemplates| lacking(&needs.hash))?;
        self.counters.count(&applied);
        if let Some(logs) = &mut self.logs {
            logs.take(record, &applied);
        }
        Ok(refusals(record, &applied))
    }

    fn publish_every(&self) -> MonoMs {
        PUBLISH_EVERY
    }

    fn publish(&mut self, live: &LivePartition) {
        if let Some(logs) = &mut self.logs {
            logs.flush();
        }
        live.view.store(self.state.publish(mono_ms()));
        live.replay.set_runs(self.state.runs());
    }

    fn due(&mut self, now: UnixMs) -> Vec<Due> {
        let judgements = self.issued.fresh(self.state.due(now), now);
        let mut due: Vec<Due> = judgements.iter().map(|j| to_due(j.to_record())).collect();
        let own = self.templates.own.load().hash().to_owned();
        if self.state.wants_templates(&own) && now - self.changed >= CHANGE_AGAIN_MS {
            match self.templates.store() {
                Ok(hash) => due.push(to_due(self.state.template_change(&hash))),
                Err(why) => tracing::warn!(detail = %why.detail, "the templates cannot be changed yet"),
            }
            self.changed = now;
        }
        due
    }

    fn begun(&mut self, next: i64, first: bool) {
        if let Some(logs) = &mut self.logs {
            logs.begin(next, first);
        }
    }

    fn before_snapshot(&mut self, next: i64) {
        if let Some(logs) = &mut self.logs {
            logs.sync(next);
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.state.snapshot()
    }
}

fn to_due(record: AppendedRecord) -> Due {
    let op = record.headers.iter().find(|(name, _)| *name == k2p_pipelines::state::OP).map(|(_, value)| &value[..]);
    let ops = ["sla", "lost", "templates"];
    let op = ops.into_iter().find(|known| op == Some(known.as_bytes())).unwrap_or("other");
    Due { op, key: record.key.unwrap_or_default(), value: record.value, headers: record.headers }
}

/// What was refused, for the status page and the dead letters.
fn refusals(record: &RawRecord<'_>, applied: &Applied) -> Vec<Refusal> {
    let refusal = |reason: &'static str, detail: String| Refusal {
        time: unix_ms(),
        offset: record.offset,
        origin: String::from_utf8_lossy(record.key.unwrap_or_default()).into(),
        reason,
        detail: detail.into(),
    };
    if let Outcome::Refused(refused) = &applied.outcome {
        return vec![refusal(refused.reason.as_str(), refused.detail.clone())];
    }
    let lines = applied.rejections.iter().take(SHOWN);
    lines.map(|r| refusal(r.reason.as_str(), format!("line {}: {}", r.line, r.detail))).collect()
}
