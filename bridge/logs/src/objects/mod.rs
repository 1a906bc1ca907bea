//! An object store: S3, Azure, GCS, or a directory, shared by all bridges.
//!
//! `PREFIX/YYYY-MM-DD/{job}/{topic}@{partition}/{segment}`. `{job}` is the id by
//! [`crate::file_name`] with `=` for `%` and `=-` for `~`; `segment.rs` says what lies there.
//! Objects are made whole ([`PutMode::Create`]) and never changed, so that nobody overwrites
//! what another bridge wrote.
//!
//! **Once.** Before a writer's first segment of a job, day and partition it lists what is
//! there, and goes on behind it. Where an owner and its zombie write at the same time, two
//! segments stand for the same offsets: a reader takes each offset once, in order, and what a
//! closed day's packing leaves has it once. A segment has no gap: where something had to be
//! left out, the next one begins.
//!
//! **Kept** is what was written. Entries wait in memory until [`Timing::flush`] has passed, a
//! segment is full, or [`crate::LogStore::sync_of`] asks. A process that dies loses what waits;
//! its successor replays from the last snapshot, before which everything was synced. Only
//! what waits while the store is away longer than that is lost with the process.
//!
//! **Away.** Entries wait up to [`Timing::buffer_bytes`]; then they are refused and counted
//! (`away`), and nobody waits. Every two seconds one segment is tried.
//!
//! **Quota.** [`crate::StoreConfig::job_bytes`] counts by job, day *and partition*.
pub(crate) mod buffer;
mod flush;
mod http;
mod open;
mod pack;
pub(crate) mod read;
pub(crate) mod segment;
mod upkeep;
pub(crate) mod writer;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Handle;

use crate::entry::parse_day;
use crate::name::file_name;
pub use open::{OpenError, is_object_url};
use segment::{Segment, visible};

/// How many requests are under way at once.
const AT_ONCE: usize = 16;
/// One operation, with what the crate tries again.
const PATIENCE: Duration = Duration::from_secs(15);

/// When segments are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long entries wait at most.
    pub flush: Duration,
    /// How many bytes may wait, lines and what is kept beside them.
    pub buffer_bytes: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { flush: Duration::from_secs(10), buffer_bytes: 64 << 20 }
    }
}

/// A place in an object store. Clones share it.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// For people: without credentials.
    place: Arc<str>,
    /// Where requests run; who asks waits.
    runtime: Handle,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.place)
    }
}

/// A segment in the store.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The name of its job, as in the store.
    pub(crate) job: String,
    /// `topic@partition`.
    pub(crate) origin: Arc<str>,
    pub(crate) segment: Segment,
    pub(crate) path: Path,
    /// Bytes of the object.
    pub(crate) stored: u64,
    /// When it was written, Unix nanoseconds.
    pub(crate) modified: i64,
}

impl Objects {
    /// A store of the caller's (a test's, one in memory).
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, runtime: Handle) -> Objects {
        Objects { place: format!("{store}/{prefix}").into(), store, prefix: Path::from(prefix), runtime }
    }

    /// For messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Waits for an answer; not to be called on a thread of the runtime.
    pub(crate) fn wait<T>(&self, asked: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        self.runtime.block_on(asked)
    }

    async fn in_time<T>(&self, asked: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(|e| io_error(&e)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"))),
        }
    }

    fn day(&self, day: &str) -> Path {
        self.prefix.clone().join(day)
    }

    fn job(&self, day: &str, job_name: &str) -> Path {
        self.day(day).join(job_name)
    }

    /// The last parts of what lies directly below a path.
    async fn names(&self, below: &Path) -> io::Result<Vec<String>> {
        let found = self.in_time(self.store.list_with_delimiter(Some(below))).await?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        Ok(found.common_prefixes.iter().filter_map(name).collect())
    }

    /// The UTC dates, ascending.
    pub(crate) async fn days(&self) -> io::Result<Vec<(i64, String)>> {
        let names = self.names(&self.prefix).await?.into_iter();
        let mut days: Vec<(i64, String)> = names.filter_map(|name| Some((parse_day(&name)?, name))).collect();
        days.sort_unstable();
        Ok(days)
    }

    /// The segments below a path; other objects are not ours.
    async fn segments(&self, below: &Path) -> io::Result<Vec<Found>> {
        let found = |meta: object_store::ObjectMeta| {
            let mut parts = meta.location.as_ref().rsplit('/');
            let (name, origin, job) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Found {
                segment: Segment::parse(name)?,
                origin: origin.into(),
                job: job.to_owned(),
                stored: meta.size,
                modified: meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
                path: meta.location,
            })
        };
        let mut all = Vec::new();
        let mut pages = self.store.list(Some(below));
        // Each page has its time, the list as a whole none: a store may be large.
        while let Some(meta) = self.in_time(pages.try_next()).await? {
            all.extend(found(meta));
        }
        Ok(all)
    }

    async fn get(&self, path: &Path) -> io::Result<Vec<u8>> {
        let whole = async { self.store.get(path).await?.bytes().await };
        segment::unpack(&self.in_time(whole).await?)
    }

    /// Makes an object; true also where it is there already, which is the same one: names say
    /// what is in it.
    async fn create(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(path, PutPayload::from(bytes), options);
        let put = async {
            match put.await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.in_time(put).await
    }

    async fn delete(&self, path: &Path) -> io::Result<()> {
        match self.in_time(self.store.delete(path)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

fn io_error(error: &object_store::Error) -> io::Error {
    let kind = match error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

/// The name of a job in the store; `None` for an id that cannot be.
pub(crate) fn object_name(job: &str) -> Option<String> {
    file_name(job).map(|name| to_object(&name))
}

fn to_object(file_name: &str) -> String {
    match file_name.strip_prefix('~') {
        Some(hash) => format!("=-{hash}"),
        None => file_name.replace('%', "="),
    }
}

/// The name of a job's file, of which [`crate::job_of`] makes the id.
pub(crate) fn to_file(object_name: &str) -> String {
    match object_name.strip_prefix("=-") {
        Some(hash) => format!("~{hash}"),
        None => object_name.replace('=', "%"),
    }
}

/// `topic@partition` as in paths and cursors.
pub(crate) fn origin(topic: &str, partition: i32) -> String {
    format!("{}@{partition}", topic.replace('~', "="))
}

/// What was found, by partition.
pub(crate) type ByOrigin = Vec<(Arc<str>, Vec<Found>)>;

/// By partition, what is visible, in order; and what is covered.
pub(crate) fn by_origin(found: Vec<Found>) -> (ByOrigin, Vec<Found>) {
    let mut origins: std::collections::BTreeMap<Arc<str>, Vec<(Segment, Found)>> = std::collections::BTreeMap::new();
    for one in found {
        origins.entry(one.origin.clone()).or_default().push((one.segment, one));
    }
    let (mut kept, mut covered) = (Vec::new(), Vec::new());
    for (origin, segments) in origins {
        let (seen, hidden) = visible(segments);
        kept.push((origin, seen.into_iter().map(|(_, one)| one).collect()));
        covered.extend(hidden.into_iter().map(|(_, one)| one));
    }
    (kept, covered)
}
