//! How long a request may wait.
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use k2p_runtime::http::scrape_timeout;
use tokio::sync::watch;

use super::peers::{DEADLINE, HOP};

/// What a hop keeps back so that its answer arrives before the one who asked gives up.
const HOP_MARGIN: Duration = Duration::from_millis(100);

/// Until when a request is to be answered, and whether another bridge passed it on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    /// The request came from another bridge: it must not be passed on again.
    pub(super) hop: bool,
}

impl Deadline {
    /// From the headers: what the peer left, else the scrape's timeout without
    /// `margin`, else `default` without it.
    pub(super) fn of(headers: &HeaderMap, default: Duration, margin: Duration) -> Deadline {
        let hop = headers.contains_key(HOP);
        let left = headers.get(DEADLINE).and_then(|v| v.to_str().ok()?.parse().ok());
        let patience = match left.filter(|_| hop) {
            Some(ms) => Duration::from_millis(ms).saturating_sub(HOP_MARGIN),
            None => scrape_timeout(headers).unwrap_or(default).saturating_sub(margin),
        };
        // A client may ask for any time, but not hold a place for ever.
        let patience = patience.min(Duration::from_secs(300));
        Deadline { at: Instant::now() + patience, hop }
    }

    /// What is left.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Sleeps until something changed or `again` has passed (a lease that is renewed
    /// wakes nobody); `false` once the deadline has passed.
    pub(super) async fn wait(&self, wake: &mut watch::Receiver<u64>, again: Duration) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        // Whatever ended the sleep, the caller looks again.
        let _woken = tokio::time::timeout(left.min(again), wake.changed()).await;
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Seconds, rounded up, of a request with these headers.
    fn left(headers: &[(&'static str, &'static str)]) -> u64 {
        let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        let (default, margin) = (Duration::from_secs(10), Duration::from_millis(500));
        let deadline = Deadline::of(&headers.collect(), default, margin);
        u64::try_from(deadline.left().as_millis().div_ceil(500)).unwrap()
    }

    #[test]
    fn the_tightest_word_counts() {
        let timeout = "x-prometheus-scrape-timeout-seconds";
        assert_eq!(left(&[]), 19);
        assert_eq!(left(&[(timeout, "3")]), 5);
        assert_eq!(left(&[(timeout, "0.1")]), 0);
        assert_eq!(left(&[(timeout, "nonsense")]), 19);
        assert_eq!(left(&[(timeout, "3"), ("x-kafka2prom-deadline-ms", "1000")]), 5, "no hop");
        let hop = ("x-kafka2prom-hop", "1");
        assert_eq!(left(&[(timeout, "3"), hop, ("x-kafka2prom-deadline-ms", "1000")]), 2);
        assert_eq!(left(&[hop]), 19);
        assert_eq!(left(&[(timeout, "1e9")]), 600);
    }
}
