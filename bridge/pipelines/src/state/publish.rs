//! What a scrape reads: one origin for each subject, made anew when its metrics changed.
use std::sync::Arc;

use imbl::OrdMap;
use k2p_core::labels::Labels;
use k2p_core::model::{MonoMs, Parsed};
use k2p_core::store::StoredDump;
use k2p_core::view::{Origin, PartitionView};

use super::EventState;
use super::subjects::Changed;
use crate::event::Subject;

/// What was published last.
#[derive(Debug, Clone, Default)]
pub(super) struct Published {
    origins: OrdMap<Arc<str>, Arc<Origin>>,
    series: u64,
    bytes: u64,
}

impl EventState {
    /// The view as of the position. Only subjects whose metrics changed since the last
    /// call are written anew; `now` is when this bridge publishes them. Origins made of
    /// events never go stale: a counter stays until its log is gone.
    pub fn publish(&mut self, now: MonoMs) -> Arc<PartitionView> {
        for subject in self.series.dirty() {
            let origin = self.origin(&subject, now);
            self.published.put(origin);
        }
        Arc::new(PartitionView {
            topic: self.config.topic.clone(),
            partition: self.partition,
            position: self.position,
            origins: self.published.origins.clone(),
            series: self.published.series,
            bytes: self.published.bytes,
            quarantined: 0,
        })
    }

    fn origin(&self, subject: &Subject, now: MonoMs) -> Origin {
        // A label's name that is fixed, and a value that is not empty: always a label set.
        let own = Labels::from_pairs([(subject.label(), subject.value())]).unwrap_or_default();
        let labels = own.with(&self.config.labels);
        let rendered = self.series.render(subject);
        let parsed = Parsed { families: rendered.families(), ..Parsed::default() };
        let dump = StoredDump::build(&parsed, &labels, false, &self.config.labels);
        let latest = Changed { offset: self.position - 1, time: self.time };
        let changed = self.subjects.get(subject).unwrap_or(latest);
        Origin {
            key: Arc::from(own.canonical()),
            record_key: Arc::from(subject.value().as_bytes()),
            labels,
            dump_time: changed.time,
            seen: now,
            offset: changed.offset,
            dump_bytes: dump.bytes() as u64,
            dump: Some(Arc::new(dump)),
            stamp: false,
            last_refusal: None,
        }
    }
}

impl Published {
    fn put(&mut self, origin: Origin) {
        let (series, bytes) = size(&origin);
        self.series += series;
        self.bytes += bytes;
        let before = self.origins.insert(origin.key.clone(), Arc::new(origin));
        if let Some((series, bytes)) = before.map(|origin| size(&origin)) {
            self.series -= series;
            self.bytes -= bytes;
        }
    }
}

fn size(origin: &Origin) -> (u64, u64) {
    origin.dump.as_ref().map_or((0, 0), |dump| (dump.series() as u64, dump.bytes() as u64))
}
