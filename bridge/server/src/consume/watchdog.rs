//! Polling split queues switches librdkafka's `max.poll.interval.ms` off; this is what
//! stands in for it (design §1, rule 9). Safety does not rest on it, the lease does.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k2p_runtime::shutdown::Shutdown;

/// The watchdog looks this often …
const TICK: Duration = Duration::from_secs(1);
/// … and barks after this many of its *own* ticks without a beat: a process that was
/// stopped and goes on must not kill itself for the time it was stopped.
const PATIENCE: u32 = 30;

/// Beaten by the consumer thread once a poll.
#[derive(Debug, Clone, Default)]
pub(super) struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the watchdog's ticks since the last beat.
#[derive(Debug, Default)]
struct Patience {
    last: u64,
    ticks: u32,
}

impl Patience {
    /// True when the consumer thread has stalled.
    fn tick(&mut self, beats: u64) -> bool {
        if beats != self.last {
            *self = Patience { last: beats, ticks: 0 };
        }
        self.ticks += 1;
        self.ticks > PATIENCE
    }
}

/// Watches until `end`; a stall calls `on_stall` (health fails, the process ends).
pub(super) fn start(heartbeat: Heartbeat, end: Shutdown, on_stall: impl Fn() + Send + 'static) {
    let body = move || {
        let mut patience = Patience::default();
        while !end.wait_timeout(TICK) {
            if patience.tick(heartbeat.0.load(Ordering::Relaxed)) {
                tracing::error!(seconds = PATIENCE, "the consumer thread has stalled");
                on_stall();
                return;
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("k2p-watchdog".to_owned()).spawn(body) {
        tracing::error!(%error, "no watchdog: the system refuses a thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_barks_after_thirty_ticks_of_its_own_without_a_beat() {
        let mut patience = Patience::default();
        assert!((0..PATIENCE).all(|_| !patience.tick(1)));
        assert!(patience.tick(1));
    }

    #[test]
    fn a_beat_makes_it_patient_again() {
        let mut patience = Patience::default();
        assert!((0..1000).all(|i| !patience.tick(i / u64::from(PATIENCE))));
    }
}
