//! Scrapes a target as Prometheus does, and ships what it answers.
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use k2p_core::compress::{DecompressError, Encoding, decompress};
use k2p_runtime::clock::unix_ms;
use k2p_runtime::http::client::{ClientError, Fetched, HttpClient};
use k2p_runtime::shutdown::Shutdown;
use tokio::time::Instant;

use crate::config::Target;
use crate::metrics::AgentMetrics;
use crate::produce::{Dump, Shipper};

/// What Prometheus offers, without protobuf: the formats that the bridge reads.
const FORMATS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
const AGENT: &str = concat!("kafka2prom-agent/", env!("CARGO_PKG_VERSION"));

/// The results of scrapes beside the client's reasons.
pub(crate) const RESULTS: [&str; 4] = ["ok", "status", "not_a_dump", "encoding"];

/// Why a scrape made no dump.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it answered {0:?}: that is a page for people, is the path right?")]
    NotADump(String),
    #[error("its content-encoding {0:?} is unknown")]
    Encoding(String),
    #[error("its answer: {0}")]
    Decompress(#[from] DecompressError),
    #[error("the decoder failed")]
    Decoder,
}

impl ScrapeError {
    /// The bounded `result`.
    fn result(&self) -> &'static str {
        match self {
            ScrapeError::Client(error) => error.reason(),
            ScrapeError::Status(_) => "status",
            ScrapeError::NotADump(_) => "not_a_dump",
            ScrapeError::Decompress(DecompressError::TooLarge { .. }) => "too_large",
            ScrapeError::Encoding(_) | ScrapeError::Decompress(_) | ScrapeError::Decoder => "encoding",
        }
    }
}

/// One target's task: a scrape each interval, one at a time.
pub(crate) struct Scraper {
    pub(crate) target: Target,
    pub(crate) client: HttpClient,
    pub(crate) shipper: Arc<Shipper>,
    pub(crate) metrics: AgentMetrics,
    pub(crate) dump_bytes: u64,
}

impl Scraper {
    /// Runs until the shutdown: a scrape under way is given up then, a dump that was
    /// taken is still queued.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut was_up = None;
        let mut next = Instant::now() + first_delay(&self.target, unix_ms());
        loop {
            let dump = tokio::select! {
                () = shutdown.triggered() => return,
                dump = self.turn(next, was_up) => dump,
            };
            was_up = Some(dump.is_some());
            if let Some(dump) = dump {
                self.shipper.ship(self.target.origin.clone(), dump).await;
            }
            // What a slow scrape has overrun is skipped, not made up for.
            while next <= Instant::now() {
                next += self.target.interval;
            }
        }
    }

    /// Waits for its time and scrapes once. Logs changes only: a target that is down
    /// must not fill the log.
    async fn turn(&self, at: Instant, was_up: Option<bool>) -> Option<Dump> {
        tokio::time::sleep_until(at).await;
        let url = self.target.url.as_str();
        let (start, taken) = (Instant::now(), unix_ms());
        let scraped = self.scrape().await;
        self.metrics.scrape_seconds.observe(start.elapsed().as_secs_f64());
        let result = scraped.as_ref().map_or_else(ScrapeError::result, |_| "ok");
        self.metrics.scrapes.with_label_values(&[result]).inc();
        self.metrics.up(url, scraped.is_ok());
        match scraped {
            Err(error) => {
                if was_up != Some(false) {
                    tracing::warn!(url, result, %error, "the target gives no dump");
                }
                None
            }
            Ok((body, content_type)) => {
                if was_up == Some(false) {
                    tracing::info!(url, "the target answers again");
                }
                Some(Dump { body, content_type, taken })
            }
        }
    }

    async fn scrape(&self) -> Result<(Vec<u8>, Option<String>), ScrapeError> {
        let limit = usize::try_from(self.dump_bytes).unwrap_or(usize::MAX);
        let headers = request_headers(&self.target);
        let fetched = self.client.get(&self.target.url, headers, self.target.timeout, limit).await?;
        if fetched.status != StatusCode::OK {
            return Err(ScrapeError::Status(fetched.status));
        }
        let content_type = header(&fetched, CONTENT_TYPE);
        let media = content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        if media.starts_with("text/html") || media.starts_with("application/json") {
            return Err(ScrapeError::NotADump(media));
        }
        let body = decode(fetched, limit).await?;
        Ok((body, content_type))
    }
}

fn request_headers(target: &Target) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(FORMATS));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let coding = if target.compression { "gzip" } else { "identity" };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
    let seconds = target.timeout.as_secs_f64().to_string();
    if let Ok(value) = HeaderValue::from_str(&seconds) {
        headers.insert(SCRAPE_TIMEOUT, value);
    }
    headers
}

fn header(fetched: &Fetched, name: HeaderName) -> Option<String> {
    let value = fetched.headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Undoes the content-encoding; the limit holds while it does.
async fn decode(fetched: Fetched, limit: usize) -> Result<Vec<u8>, ScrapeError> {
    let coding = header(&fetched, CONTENT_ENCODING).unwrap_or_default();
    let Some(encoding) = Encoding::from_header(&coding) else {
        return Err(ScrapeError::Encoding(coding));
    };
    if encoding == Encoding::Identity {
        return Ok(fetched.body.to_vec());
    }
    let work = tokio::task::spawn_blocking(move || {
        decompress(encoding, &fetched.body, limit).map(std::borrow::Cow::into_owned)
    });
    Ok(work.await.map_err(|_| ScrapeError::Decoder)??)
}

/// How long to wait before a target's first scrape: its place within the interval
/// follows from its name, so that many targets are spread evenly, and an agent that
/// restarts keeps the pace.
fn first_delay(target: &Target, now_unix_ms: i64) -> Duration {
    let interval = i64::try_from(target.interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let name = target.url.bytes().chain(target.origin.canonical().bytes());
    // FNV-1a: the same on every machine and in every version.
    let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let place = (hash % interval.unsigned_abs()).cast_signed();
    let delay = (place - now_unix_ms.rem_euclid(interval)).rem_euclid(interval);
    Duration::from_millis(delay.unsigned_abs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use k2p_core::labels::Labels;

    fn target(url: &str) -> Target {
        Target {
            url: url.to_owned(),
            origin: Labels::parse("job=\"agent\"").unwrap(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            compression: true,
        }
    }

    #[test]
    fn a_target_keeps_its_place_within_the_interval() {
        let place = |url: &str, now: i64| {
            let delay = first_delay(&target(url), now).as_millis() as i64;
            assert!((0..30_000).contains(&delay));
            (now + delay).rem_euclid(30_000)
        };
        let first = place("http://a/metrics", 1_700_000_000_123);
        for now in [1_700_000_000_124, 1_700_000_029_999, 0, -5] {
            assert_eq!(place("http://a/metrics", now), first);
        }
    }

    #[test]
    fn targets_are_spread_evenly() {
        let mut sixths = [0; 6];
        for i in 0..600 {
            let delay = first_delay(&target(&format!("http://10.0.0.{i}:9100/metrics")), 0);
            sixths[usize::try_from(delay.as_secs()).unwrap() / 5] += 1;
        }
        assert!(sixths.iter().all(|n| (60..140).contains(n)), "{sixths:?}");
    }
}
