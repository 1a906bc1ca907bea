//! What a partition of events leaves in the log store: log events, job entries, and runs
//! that closed. Masked before anything is kept.
//!
//! No replayed state: written as records are applied, also again by who replays them; the
//! store knows each entry by its offset and line and keeps it once. Before a snapshot the
//! store is synced: what the snapshot stands for is never replayed again.
use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use k2p_core::compress::{Encoding, decompress};
use k2p_core::envelope::{self, RawRecord};
use k2p_logs::mask::{MaskCounts, Maskers};
use k2p_logs::{Entry, FIRST_REPORT, Level, LogMetrics, LogStore, Range, Source, runs_of};
use k2p_pipelines::event::{Event, JobContent, JobEntry};
use k2p_pipelines::runs::FinishedRun;
use k2p_pipelines::state::{Applied, LogEntry};
use k2p_runtime::clock::unix_ms;
use serde_json::json;

/// Entries are appended when so many wait, or when the view is published.
const BATCH: usize = 1000;
/// As the partition's own bound of a record's value, decompressed.
const RECORD_BYTES: usize = 16 << 20;

/// The log store of this bridge, with what is masked.
#[derive(Clone)]
pub struct LogSink {
    /// Where entries go.
    pub store: Arc<LogStore>,
    /// Applied first; as of the last reload.
    pub maskers: Arc<ArcSwap<Maskers>>,
    /// Counts what was masked.
    pub metrics: LogMetrics,
}

/// An entry that waits.
struct Waiting {
    job: String,
    at: i64,
    level: Level,
    line: Vec<u8>,
    offset: i64,
    number: u32,
}

/// The entries of one partition.
pub(crate) struct PartitionLog {
    sink: LogSink,
    topic: Arc<str>,
    partition: i32,
    waiting: Vec<Waiting>,
}

impl PartitionLog {
    pub(crate) fn new(sink: LogSink, topic: Arc<str>, partition: i32) -> PartitionLog {
        PartitionLog { sink, topic, partition, waiting: Vec::new() }
    }

    /// Takes what a record leaves.
    pub(crate) fn take(&mut self, record: &RawRecord<'_>, applied: &Applied) {
        if applied.log_entries.is_empty() && applied.finished.is_empty() {
            return;
        }
        let body = lines_of(record);
        let lines: Vec<&[u8]> = body.as_deref().map(|b| b.split(|byte| *byte == b'\n').collect()).unwrap_or_default();
        for entry in &applied.log_entries {
            let line = usize::try_from(entry.line).ok().and_then(|n| lines.get(n.checked_sub(1)?).copied());
            self.entry(record.offset, entry, line);
        }
        // After all lines of their record.
        for (number, run) in (FIRST_REPORT..).zip(&applied.finished) {
            self.report(record.offset, number, run);
        }
        if self.waiting.len() >= BATCH {
            self.flush();
        }
    }

    fn entry(&mut self, offset: i64, entry: &LogEntry, line: Option<&[u8]>) {
        let (job, at, level) = match &entry.event {
            Event::Log(log) => {
                let job = log.run_id.as_deref().or(log.correlation_id.as_deref()).unwrap_or(&log.pipeline_id);
                (job.to_owned(), log.timestamp, level_of(log.level))
            }
            Event::Job(job) => (job.job_id.to_string(), job.timestamp, job_level(job)),
            Event::Run(_) | Event::Lineage(_) => return,
        };
        let own;
        let line = match (line, &entry.event) {
            (Some(line), _) => line.trim_ascii(),
            (None, Event::Job(job)) => {
                own = job_line(job);
                own.as_bytes()
            }
            (None, _) => return,
        };
        let line = self.masked(line);
        self.waiting.push(Waiting { job, at, level, line, offset, number: entry.line.saturating_sub(1) });
    }

    /// The report of a run is an entry of a log that its pipeline's runs share.
    fn report(&mut self, offset: i64, number: u32, run: &FinishedRun) {
        let Ok(line) = serde_json::to_vec(run) else { return };
        let at = (run.last_seen_seconds * 1e9) as i64;
        let line = self.masked(&line);
        self.waiting.push(Waiting { job: runs_of(&run.pipeline_id), at, level: Level::None, line, offset, number });
    }

    fn masked(&self, line: &[u8]) -> Vec<u8> {
        let maskers = self.sink.maskers.load();
        let (masker, mut counts) = (maskers.of(&self.topic), MaskCounts::default());
        let line = masker.line(line, &mut counts).into_owned();
        self.sink.metrics.masked(masker, &counts);
        line
    }

    /// Hands everything to the store. What it refuses it counts.
    pub(crate) fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let entries: Vec<Entry<'_>> = self
            .waiting
            .iter()
            .map(|w| Entry {
                job_run_id: &w.job,
                at: w.at,
                level: w.level,
                line: Cow::Borrowed(&w.line),
                source: Source { topic: &self.topic, partition: self.partition, offset: w.offset, line: w.number },
            })
            .collect();
        let appended = self.sink.store.append(&entries, unix_ms().saturating_mul(1_000_000));
        if let Some(error) = &appended.error {
            tracing::warn!(topic = %self.topic, partition = self.partition, error, "log entries were not kept; they are counted");
        }
        self.waiting.clear();
    }

    /// Before the first record, which is the one at `next`.
    pub(crate) fn begin(&self, next: i64, first: bool) {
        let since = unix_ms().saturating_mul(1_000_000);
        let begun = Range { from: next, to: next, since, first };
        if let Err(error) = self.sink.store.begin(&self.topic, self.partition, begun) {
            self.untold(&error);
        }
    }

    /// Before a snapshot of what is below `next`.
    pub(crate) fn sync(&mut self, next: i64) {
        self.flush();
        if let Err(error) = self.sink.store.sync_of(&self.topic, self.partition) {
            tracing::warn!(%error, "the log store is not synced: what waits is lost if this process dies");
        }
        if let Err(error) = self.sink.store.reached(&self.topic, self.partition, next) {
            self.untold(&error);
        }
    }

    fn untold(&self, error: &std::io::Error) {
        tracing::warn!(topic = %self.topic, partition = self.partition, %error, "what this log store has is not written down: answers may be refused as not whole");
    }
}

/// The record's value as lines of text; `None` where it is none.
fn lines_of<'a>(record: &RawRecord<'a>) -> Option<Cow<'a, [u8]>> {
    let header = |name: &str| {
        let found = record.headers.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.1).ok()
    };
    if header(envelope::CONTENT_TYPE).is_some_and(|t| t.to_ascii_lowercase().contains("protobuf")) {
        return None;
    }
    let encoding = Encoding::from_header(header(envelope::CONTENT_ENCODING).unwrap_or_default())?;
    decompress(encoding, record.value?, RECORD_BYTES).ok()
}

fn level_of(level: k2p_pipelines::event::Level) -> Level {
    use k2p_pipelines::event::Level as From;
    match level {
        From::Trace => Level::Trace,
        From::Debug => Level::Debug,
        From::Info => Level::Info,
        From::Warn => Level::Warn,
        From::Error => Level::Error,
        From::Fatal => Level::Fatal,
    }
}

fn job_level(job: &JobEntry) -> Level {
    match &job.content {
        JobContent::Log { level, .. } => level_of(*level),
        JobContent::Metric { .. } | JobContent::Event { .. } => Level::None,
    }
}

/// An entry that came as protobuf, in the spelling of design §6.
fn job_line(job: &JobEntry) -> String {
    let content = match &job.content {
        JobContent::Log { level, message, fields } => {
            json!({"log": {"level": level, "message": message, "fields": fields}})
        }
        JobContent::Metric { name, value, labels, unit } => {
            let labels: serde_json::Map<String, serde_json::Value> =
                labels.iter().map(|(k, v)| (k.to_string(), v.to_string().into())).collect();
            json!({"metric": {"name": name, "value": value, "labels": labels, "unit": unit}})
        }
        JobContent::Event { event_type, metadata } => {
            json!({"job_event": {"event_type": event_type, "metadata": metadata}})
        }
    };
    let outputs: Vec<_> = job.outputs.iter().map(|path| json!({"path": path})).collect();
    json!({
        "timestamp": job.timestamp, "job_id": job.job_id, "job_label": job.job_label, "job_type": job.job_type,
        "outputs": outputs, "sequence_number": job.sequence_number, "content": content,
    })
    .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use k2p_logs::{LogReader, Query, ReadConfig, StoreConfig, StoredLine, day_of};
    use k2p_pipelines::state::{EventConfig, EventState};
    use prometheus::Registry;

    /// What the HTTP side rests on: which job an entry is kept under, and how a report is told
    /// from any other line.
    #[test]
    fn entries_and_reports_are_found_where_they_are_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = LogMetrics::new(&Registry::new()).unwrap();
        let store = Arc::new(LogStore::open(dir.path(), StoreConfig::default(), metrics.clone()).unwrap());
        let maskers = Maskers::new(&Default::default(), &Default::default(), None).unwrap();
        let maskers = Arc::new(ArcSwap::from_pointee(maskers));
        let mut log = PartitionLog::new(LogSink { store, maskers, metrics: metrics.clone() }, "t".into(), 3);
        let templates = Arc::new(crate::templates::load(None).unwrap());
        let mut state = EventState::new(Arc::new(EventConfig::default()), 3, templates);
        let now = unix_ms();
        let event = |members: &str| format!(r#"{{"timestamp":{now},"pipeline_id":"p","level":"INFO",{members}}}"#);
        let lines = [
            event(r#""run_id":"r","correlation_id":"c","message":"of the run""#),
            event(r#""correlation_id":"c","message":"a@b.de""#),
            event(r#""message":"of the pipeline""#),
            r#"{"pipeline_id":"p","run_id":"r","status":"FAILED","last_error":{"message":"a@b.de"}}"#.to_owned(),
        ];
        let value = lines.join("\n");
        let (key, value) = (Some(&b"p"[..]), Some(value.as_bytes()));
        let record = RawRecord { key, value, headers: &[], timestamp: Some(now), offset: 7 };
        let applied = state.apply(&record, &|_| None).unwrap();
        log.take(&record, &applied);
        log.sync(8);
        let reader = LogReader::open(dir.path(), ReadConfig::default(), metrics);
        for (job, message) in [("r", "of the run"), ("c", "[masked:email]"), ("p", "of the pipeline")] {
            let entries = reader.read(job, &Query::default()).unwrap().entries;
            assert!(
                entries.len() == 1 && entries[0].line.contains(&format!("\"message\":\"{message}\"")),
                "{entries:?}"
            );
        }
        let mut reports = Vec::new();
        let mut take = |line: StoredLine<'_>| {
            assert_eq!(line.reported(), Some(("t", 3)));
            reports.push(serde_json::from_slice::<FinishedRun>(line.line).unwrap());
        };
        reader.lines_on(&runs_of("p"), &day_of(now * 1_000_000), &mut take).unwrap();
        assert!(reports.len() == 1 && *reports[0].run_id == *"r", "{reports:?}");
        assert_eq!(reports[0].last_error.as_ref().unwrap().message.as_deref(), Some("[masked:email]"));
    }
}
