//! The task of one dump file.
use std::sync::Arc;

use k2p_runtime::shutdown::Shutdown;

use crate::config::FileSource;
use crate::cut::ends_with_eof;
use crate::file::{self, FileError, Version, Watch};
use crate::metrics::AgentMetrics;
use crate::produce::{Dump, Shipper};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Looks at one file, and ships each version of it once.
pub(crate) struct Watcher {
    pub(crate) source: FileSource,
    pub(crate) shipper: Arc<Shipper>,
    pub(crate) metrics: AgentMetrics,
    pub(crate) dump_bytes: u64,
}

impl Watcher {
    /// Runs until the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut watch = Watch::default();
        let mut last = "";
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(self.source.poll) => {}
            }
            let path = self.source.path.clone();
            let limit = self.dump_bytes;
            // Disks block: not on the threads of the sockets.
            let work = tokio::task::spawn_blocking(move || {
                let found = poll(&path, &mut watch, limit);
                (found, watch)
            });
            let Ok((found, back)) = work.await else {
                tracing::error!(path = %self.source.path.display(), "reading the file failed, it is given up");
                return;
            };
            watch = back;
            self.note(&found, &mut last);
            if let Ok(Some((version, body))) = found {
                let format = if ends_with_eof(&body) { OPEN_METRICS } else { TEXT };
                let content_type = Some(format.to_owned());
                let dump = Dump { body, content_type, taken: version.modified() };
                self.shipper.ship(self.source.origin.clone(), dump).await;
            }
        }
    }

    /// Counts each new version once, and logs when the result changes.
    fn note(&self, found: &Found, last: &mut &'static str) {
        let path = self.source.path.display().to_string();
        let result = match found {
            Ok(None) => return,
            Ok(Some(_)) => "ok",
            Err(FileError::Changed) => return,
            Err(error) => error.result(),
        };
        // What is no version of the file (not there, a directory, no permission) comes
        // with each poll and is counted when it begins.
        let persists = matches!(found, Err(FileError::Missing | FileError::NotAFile | FileError::Io(_)));
        if !(persists && *last == result) {
            self.metrics.file_reads.with_label_values(&[result]).inc();
        }
        self.metrics.up(&path, found.is_ok());
        if let Err(error) = found
            && *last != result
        {
            tracing::warn!(path, result, %error, "the file gives no dump");
        }
        *last = result;
    }
}

type Found = Result<Option<(Version, Vec<u8>)>, FileError>;

fn poll(path: &std::path::Path, watch: &mut Watch, limit: u64) -> Found {
    let version = file::look(path).inspect_err(|_| watch.gone())?;
    if !watch.is_due(version) {
        return Ok(None);
    }
    let body = file::read(path, version, watch, limit)?;
    Ok(Some((version, body)))
}
