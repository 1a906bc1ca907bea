//! What topics of events need: `state`, `templates`, `runs`.
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k2p_logs::StoreConfig;
use k2p_logs::objects::{Timing, is_object_url};
use k2p_runtime::config::Section;

use super::topic_name;
use crate::consume::SnapshotPace;

/// The state topic if nothing is said.
pub const DEFAULT_STATE: &str = "k2p.state";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipelines {
    /// Where snapshots of replayed state are.
    pub state: Arc<str>,
    /// How often they are written.
    pub pace: SnapshotPace,
    /// Where templates are read from; `None`: the shipped ones.
    pub templates: Option<PathBuf>,
    /// Where logs and finished runs are kept; `None`: nowhere.
    pub logs: Option<Logs>,
    /// What shapes the replayed state: the same on all bridges of a group.
    pub runs: Runs,
}

/// Where logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// A directory.
    Dir(PathBuf),
    /// An object store, which all bridges share.
    Objects {
        /// `s3://…`, `az://…`, `gs://…` or `objects:///…`.
        url: String,
        /// For its client.
        options: Options,
        /// When entries are written.
        timing: Timing,
    },
}

/// Options of an object store's client: shown without their values, which may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(pub BTreeMap<String, String>);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The log store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// Where.
    pub place: LogPlace,
    /// All bridges of the group write into it.
    pub shared: bool,
    /// How long entries are kept.
    pub retention: Duration,
    /// Bytes of the whole store.
    pub max_bytes: u64,
    /// Bytes of one job on one day.
    pub job_bytes: u64,
    /// Bytes of the reports of one pipeline's finished runs.
    pub reports_bytes: u64,
}

/// Reads the section; `None` without a place.
fn logs(section: &Section<'_>) -> Option<Logs> {
    let day = Duration::from_secs(86_400);
    let default = StoreConfig::default();
    let remedy = "write file:///DIR, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX or objects:///DIR";
    let url = section.parsed("url", "a place of logs", remedy, |text| match text.strip_prefix("file://") {
        Some(dir) if dir.starts_with('/') => Ok(Some(text.to_owned())),
        _ if text.is_empty() => Ok(None),
        _ if is_object_url(text) => Ok(Some(text.to_owned())),
        _ => Err(String::new()),
    });
    let options = Options(section.string_map("options").unwrap_or_default());
    let usual = Timing::default();
    let timing = Timing {
        flush: section.duration_in("flush", Duration::from_secs(1)..=Duration::from_secs(600)).unwrap_or(usual.flush),
        buffer_bytes: section
            .bytes_in("buffer_bytes", 1 << 20..=1 << 40)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(usual.buffer_bytes),
    };
    let shared = section.bool("shared").unwrap_or(false);
    let retention = section.duration_in("retention", day..=day * 3650).unwrap_or(day * 30);
    let bytes = |key: &str, default: u64| section.bytes_in(key, 1 << 20..=1 << 50).unwrap_or(default);
    let (max_bytes, job_bytes) = (bytes("max_bytes", default.max_bytes), bytes("job_bytes", default.job_bytes));
    let reports_bytes = bytes("reports_bytes", default.reports_bytes);
    let url = url.flatten()?;
    let (place, shared) = match url.strip_prefix("file://") {
        Some(dir) => {
            if !options.0.is_empty() {
                section.error("options", "they are an object store's", "leave them out, or choose one in url");
            }
            (LogPlace::Dir(PathBuf::from(dir)), shared)
        }
        None => (LogPlace::Objects { url, options, timing }, true),
    };
    Some(Logs { place, shared, retention, max_bytes, job_bytes, reports_bytes })
}

/// What shapes the replayed state of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// After this silence an open run is lost.
    pub lost_after: Duration,
    /// Pipelines and jobs of a partition with metrics of their own.
    pub subjects: usize,
}

/// Reads the sections.
pub(super) fn read(root: &Section<'_>) -> Pipelines {
    let second = Duration::from_secs(1);
    let day = second * 86_400;
    let state = root.section("state");
    let default = SnapshotPace::default();
    let remedy = "use letters, digits, '.', '_' and '-'";
    let records = state.integer("snapshot_records", 100..=100_000_000).and_then(|n| u64::try_from(n).ok());
    let pace = SnapshotPace {
        records: records.unwrap_or(default.records),
        interval: state.duration_in("snapshot_interval", second..=day).unwrap_or(default.interval),
    };
    let runs = root.section("runs");
    let count = |key: &str, default: usize| {
        runs.integer(key, 1..=10_000_000).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    Pipelines {
        state: state.parsed("topic", "a topic's name", remedy, topic_name).unwrap_or_else(|| DEFAULT_STATE.into()),
        pace,
        templates: root.section("templates").string("dir").filter(|d| !d.is_empty()).map(PathBuf::from),
        logs: logs(&root.section("logs")),
        runs: Runs {
            lost_after: runs.duration_in("lost_after", second..=day * 365).unwrap_or(second * 3600),
            subjects: count("subjects", 5_000),
        },
    }
}
