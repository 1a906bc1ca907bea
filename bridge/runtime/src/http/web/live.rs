//! The web configuration that is in force, and how a changed file takes its place.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::config::WebConfig;
use super::users::Logins;
use crate::http::ratelimit::{Limiter, Rate};
use crate::metrics::HttpMetrics;
use crate::shutdown::Shutdown;

/// Between two looks at the files: a change is in force about a second later.
const LOOK: Duration = Duration::from_secs(1);

/// What requests and handshakes read.
pub(super) struct Live {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) users: BTreeMap<String, String>,
    pub(super) limiter: Option<Limiter>,
    authenticates: bool,
}

/// TLS, passwords and headers of a listener, kept up with their files.
pub struct Web {
    path: PathBuf,
    pub(super) live: ArcSwap<Live>,
    pub(super) logins: Logins,
    metrics: HttpMetrics,
    seen: Mutex<Seen>,
}

/// A file's looks: enough to tell that it was written, or replaced.
type Stamp = Option<(SystemTime, u64, u64)>;

#[derive(Default)]
struct Seen {
    files: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    /// What was wrong at the last look, and whether it was said.
    fault: Option<(String, bool)>,
}

impl Web {
    /// Reads the file and puts it in force.
    ///
    /// # Errors
    /// Everything that is wrong with it, one line each.
    pub fn open(path: &Path, metrics: &HttpMetrics) -> Result<Arc<Web>, Vec<String>> {
        let config = WebConfig::load(path)?;
        let stamps = stamps(&config.files);
        let files = config.files.clone();
        let live = Live::new(config, None).map_err(|fault| vec![format!("{}: {fault}", path.display())])?;
        metrics.certificate_expiry.set(live.1);
        for result in ["ok", "failed"] {
            metrics.web_reloads.with_label_values(&[result]);
        }
        Ok(Arc::new(Web {
            path: path.to_owned(),
            live: ArcSwap::from_pointee(live.0),
            logins: Logins::new().map_err(|fault| vec![fault])?,
            metrics: metrics.clone(),
            seen: Mutex::new(Seen { files, stamps, fault: None }),
        }))
    }

    /// Whether TLS is spoken; that does not change while the process lives.
    pub fn is_tls(&self) -> bool {
        self.live.load().tls.is_some()
    }

    /// Whether nobody comes in without a password or a certificate that is checked.
    pub fn authenticates(&self) -> bool {
        self.live.load().authenticates
    }

    pub(in crate::http) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.live.load().tls.clone()
    }

    /// Reads the files again, whether they changed or not. Blocks.
    ///
    /// # Errors
    /// What is wrong; then all stays as it was.
    pub fn reload(&self) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.take(&mut seen);
        self.tell(&mut seen, taken.clone(), true);
        taken
    }

    /// Looks whether a file changed, and takes it if so. Blocks.
    pub(in crate::http) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.fault.is_none() && stamps(&seen.files) == seen.stamps {
            return;
        }
        let taken = self.take(&mut seen);
        // Certificate and key are seldom replaced in one step: what does not go together now
        // may do so at the next look.
        let again = seen.fault.is_some();
        self.tell(&mut seen, taken, again);
    }

    fn take(&self, seen: &mut Seen) -> Result<(), String> {
        let before = stamps(&seen.files);
        let read = WebConfig::load(&self.path).map_err(|faults| faults.join("\n"));
        let known = self.live.load();
        let made = read.and_then(|config| {
            let files = config.files.clone();
            // Their looks from before they were read: a write meanwhile is seen next time.
            let stamps = if files == seen.files { before } else { stamps(&files) };
            Live::new(config, Some(&known)).map(|live| (live, files, stamps))
        });
        let ((live, expires), files, stamps) = made?;
        self.logins.retain(&live.users);
        self.metrics.certificate_expiry.set(expires);
        self.live.store(Arc::new(live));
        (seen.files, seen.stamps) = (files, stamps);
        Ok(())
    }

    fn tell(&self, seen: &mut Seen, taken: Result<(), String>, sure: bool) {
        let file = self.path.display();
        let Err(fault) = taken else {
            seen.fault = None;
            self.metrics.web_reloads.with_label_values(&["ok"]).inc();
            tracing::info!(%file, "the web configuration and its certificates were read again");
            return;
        };
        let said = seen.fault.as_ref().is_some_and(|(known, said)| *said && *known == fault);
        if sure && !said {
            self.metrics.web_reloads.with_label_values(&["failed"]).inc();
            tracing::error!(%file, fault, "the web configuration cannot be used; the former one stays in force");
        }
        seen.fault = Some((fault, sure || said));
    }

    /// Follows the files until the shutdown.
    pub(in crate::http) async fn watch(self: Arc<Web>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let web = self.clone();
            if tokio::task::spawn_blocking(move || web.look()).await.is_err() {
                tracing::error!("looking at the web configuration panicked; it is followed no more");
                return;
            }
        }
    }
}

impl Live {
    /// What a configuration comes to, and until when its certificate is valid (0: none).
    fn new(config: WebConfig, known: Option<&Live>) -> Result<(Live, i64), String> {
        let authenticates = config.authenticates();
        if let Some(known) = known {
            if config.is_tls() != known.tls.is_some() {
                return Err("TLS cannot be switched on or off while the process runs; restart it".to_owned());
            }
            // A file that is just being written can look like one that asks nobody.
            if known.authenticates && !authenticates {
                return Err("a reload cannot take the authentication away; restart the process".to_owned());
            }
        }
        let expires = config.tls.as_ref().and_then(super::tls::Tls::expires).unwrap_or(0);
        let tls = match &config.tls {
            Some(tls) => Some(TlsAcceptor::from(Arc::new(tls.server(config.http2)?))),
            None => None,
        };
        let limiter = config.rate.map(|(interval, burst)| {
            let rate = Rate { per_second: 1.0 / interval.as_secs_f64(), burst: f64::from(burst) };
            Limiter::new(rate, Instant::now())
        });
        let live = Live { tls, headers: config.headers, users: config.users, limiter, authenticates };
        Ok((live, expires))
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files.iter().map(stamp).collect()
}
