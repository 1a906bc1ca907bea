//! What is replayed of a topic of pushes: the groups of each partition.
use std::sync::Arc;

use k2p_core::envelope::RawRecord;
use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::ownership::Tp;
use k2p_push::PushState;
use k2p_push::record::Op;
use k2p_push::state::{Expiry, Issued, Outcome, PushConfig};
use k2p_runtime::clock::{mono_ms, unix_ms};
use prometheus::IntCounter;

use super::statelog::StateLog;
use super::{Due, Kind, Replayed};
use crate::live::{Blocked, LivePartition, Refusal};
use crate::metrics::ServerMetrics;

/// Whoever pushed waits for it; a group that changed is made anew, the others are not.
const PUBLISH_EVERY: MonoMs = 5;
/// Expiries that are under way at once: the rest follows as they are read back.
const EXPIRIES: usize = 1000;

/// A topic of pushes.
pub(crate) struct Pushes {
    pub(crate) config: Arc<PushConfig>,
    pub(crate) metrics: ServerMetrics,
}

impl Pushes {
    fn replayed(&self, state: PushState) -> Box<dyn Replayed> {
        let counters = Counters::new(&self.config.topic, &self.metrics);
        Box::new(PushesOf { state, counters, issued: Issued::default() })
    }
}

impl Kind for Pushes {
    /// What a push means is a matter of the program alone: there is nothing to name.
    fn prepare(&self, _: &StateLog) -> Result<String, Blocked> {
        Ok(String::new())
    }

    fn fresh(&self, tp: &Tp, _: i64, _: &str) -> Result<Box<dyn Replayed>, Blocked> {
        Ok(self.replayed(PushState::new(self.config.clone(), tp.partition)))
    }

    fn restore(&self, tp: &Tp, bytes: &[u8]) -> Result<Option<Box<dyn Replayed>>, Blocked> {
        match PushState::restore(bytes, self.config.clone(), tp.partition) {
            Ok(state) => Ok(Some(self.replayed(state))),
            Err(error) => {
                tracing::error!(topic = %tp.topic, partition = tp.partition, %error, "snapshot");
                Ok(None)
            }
        }
    }
}

/// What records did that are no operation of their own.
const OTHERS: [&str; 3] = ["void", "duplicate", "refused"];

/// The counters of one topic, looked up once.
struct Counters {
    ops: [IntCounter; Op::ALL.len()],
    others: [IntCounter; OTHERS.len()],
}

impl Counters {
    fn new(topic: &str, metrics: &ServerMetrics) -> Counters {
        let of = |kind| metrics.pushes_applied.with_label_values(&[topic, kind]);
        Counters { ops: Op::ALL.map(|op| of(op.as_str())), others: OTHERS.map(of) }
    }

    fn count(&self, outcome: &Outcome) {
        let [void, duplicate, refused] = &self.others;
        match outcome {
            Outcome::Applied(op) => {
                if let Some(at) = Op::ALL.iter().position(|known| known == op) {
                    self.ops[at].inc();
                }
            }
            Outcome::Void(_) => void.inc(),
            Outcome::Duplicate => duplicate.inc(),
            Outcome::Refused(_) => refused.inc(),
            Outcome::Passed => {}
        }
    }
}

/// One partition.
struct PushesOf {
    state: PushState,
    counters: Counters,
    issued: Issued,
}

impl Replayed for PushesOf {
    fn apply(&mut self, record: &RawRecord<'_>) -> Result<Vec<Refusal>, Blocked> {
        let outcome = self.state.apply(record);
        self.counters.count(&outcome);
        let Outcome::Refused(refused) = outcome else { return Ok(Vec::new()) };
        Ok(vec![Refusal {
            time: unix_ms(),
            offset: record.offset,
            origin: String::from_utf8_lossy(record.key.unwrap_or_default()).into(),
            reason: refused.reason.as_str(),
            detail: refused.detail.into(),
        }])
    }

    fn publish_every(&self) -> MonoMs {
        PUBLISH_EVERY
    }

    fn publish(&mut self, live: &LivePartition) {
        live.view.store(self.state.publish(mono_ms()));
        live.replay.set_groups(self.state.groups());
    }

    fn due(&mut self, now: UnixMs) -> Vec<Due> {
        let expiries = self.issued.fresh(self.state.due(now, EXPIRIES), now);
        expiries.iter().map(to_due).collect()
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.state.snapshot()
    }
}

fn to_due(expiry: &Expiry) -> Due {
    let key = expiry.key.as_bytes().to_vec();
    Due { op: Op::Expire.as_str(), key, value: Vec::new(), headers: expiry.headers() }
}
