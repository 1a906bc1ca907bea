//! The reader's side: one for the service and the command line.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::entry::{Head, Level, parse_day};
use crate::files::index::{Block, Index, Span, State, read_blocks, read_up_to};
use crate::files::job::{Paths, names};
use crate::files::upkeep;
use crate::hot::{BlockKey, Hot};
use crate::kept::{Kept, kept};
use crate::metrics::LogMetrics;
use crate::name::{file_name, job_of};
use crate::objects::{Objects, read};
use crate::points::Points;
pub(crate) use crate::store::DAY_NANOS;

/// The most entries of one page.
pub const MAX_LIMIT: usize = 10_000;

/// A page ends after this many bytes of entries.
const PAGE_BYTES: usize = 8 << 20;

/// A page ends after looking through this much, with a cursor to go on from.
pub(crate) const SCAN_BYTES: u64 = 64 << 20;

/// How often a file that changes its form (packed, unpacked) is tried again.
pub(crate) const TRIES: usize = 5;

/// What a reader may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadConfig {
    /// Bytes of hot jobs kept in memory.
    pub hot_bytes: usize,
}

impl Default for ReadConfig {
    fn default() -> Self {
        ReadConfig { hot_bytes: 64 << 20 }
    }
}

/// What is asked of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Nothing before this time, Unix nanoseconds ([`crate::parse_time`] reads both spellings).
    pub since: Option<i64>,
    /// This level and graver ones; [`Level::None`] is everything.
    pub level: Level,
    /// Entries of a page, at most [`MAX_LIMIT`].
    pub limit: usize,
    /// Where the page before ended ([`Page::cursor`]).
    pub cursor: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Query { since: None, level: Level::None, limit: 1000, cursor: None }
    }
}

/// An entry as it is kept: its JSON object, with `k2p_at`, `k2p_level`, `k2p_source` first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Unix nanoseconds.
    pub at: i64,
    /// For the filter.
    pub level: Level,
    /// `topic/partition/offset/line`.
    pub source: String,
    /// The JSON object, without newline.
    pub line: String,
    /// A cursor to go on behind it.
    pub after: String,
}

impl Serialize for StoredEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<serde_json::Value>(&self.line) {
            Ok(value) => value.serialize(serializer),
            Err(_) => self.line.serialize(serializer),
        }
    }
}

/// A part of a job's log, in the order of its days and, within a day, of arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Page {
    /// At most as many as asked for.
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub entries: Vec<StoredEntry>,
    /// To go on from: also at the end, for what will come.
    pub cursor: String,
    /// Whether there is more now.
    pub has_more: bool,
    /// Entries of the days looked at that the quota cut.
    pub cut: u64,
}

/// A job in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Job {
    /// Its id.
    pub job_run_id: String,
    /// The UTC dates with entries, ascending.
    pub days: Vec<String>,
    /// Entries kept.
    pub entries: u64,
    /// Entries that the quota cut.
    pub cut: u64,
    /// Bytes of its lines.
    pub bytes: u64,
    /// Bytes on disk, index included.
    pub stored_bytes: u64,
    /// Time of its first entry, Unix nanoseconds.
    pub first_at: i64,
    /// Time of its last entry, Unix nanoseconds.
    pub last_at: i64,
}

impl Job {
    /// A job of which nothing was looked at yet, by its file's name: a hashed one has no id.
    pub(crate) fn empty(name: &str) -> Job {
        Job {
            job_run_id: job_of(name).unwrap_or_default(),
            days: Vec::new(),
            entries: 0,
            cut: 0,
            bytes: 0,
            stored_bytes: 0,
            first_at: i64::MAX,
            last_at: i64::MIN,
        }
    }
}

/// A part of the list of jobs, by the names of their files ([`crate::file_name`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Jobs {
    /// At most as many as asked for.
    pub jobs: Vec<Job>,
    /// The last file's name, to go on from.
    pub cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// Reads a store. Takes no lock; clones share the hot jobs.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(crate) place: Place,
    pub(crate) hot: Arc<Hot>,
    metrics: LogMetrics,
}

/// Where the entries lie.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Dir(PathBuf),
    Objects(Objects),
}

/// An index with its blocks, the open one last.
pub(crate) struct Opened {
    pub(crate) index: Index,
    pub(crate) blocks: Vec<Block>,
    lines: File,
}

/// What a page takes in.
pub(crate) struct Collector<'q> {
    pub(crate) query: &'q Query,
    limit: usize,
    pub(crate) page: Page,
    bytes: usize,
    pub(crate) scanned: u64,
}

impl LogReader {
    /// A reader of a directory, which need not exist yet.
    pub fn open(dir: &Path, config: ReadConfig, metrics: LogMetrics) -> LogReader {
        let hot = Arc::new(Hot::new(config.hot_bytes, metrics.clone()));
        LogReader { place: Place::Dir(dir.to_owned()), hot, metrics }
    }

    /// A reader of an object store. It waits for answers: not to be used on a thread of the
    /// store's runtime.
    pub fn open_objects(objects: Objects, config: ReadConfig, metrics: LogMetrics) -> LogReader {
        let hot = Arc::new(Hot::new(config.hot_bytes, metrics.clone()));
        LogReader { place: Place::Objects(objects), hot, metrics }
    }

    /// A page of a job's log; empty for a job that is not there.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` for a cursor that is none, or an id that cannot be.
    pub fn read(&self, job: &str, query: &Query) -> io::Result<Page> {
        let _timer = self.metrics.read_seconds.start_timer();
        let name = file_name(job).ok_or_else(|| invalid("a job's id has 1 to 900 bytes"))?;
        let page = Page { entries: Vec::new(), cursor: String::new(), has_more: false, cut: 0 };
        let limit = query.limit.clamp(1, MAX_LIMIT);
        let mut collector = Collector { query, limit, page, bytes: 0, scanned: 0 };
        match &self.place {
            Place::Dir(dir) => self.read_files(dir, job, &name, &mut collector)?,
            Place::Objects(objects) => read::read(objects, &self.hot, job, query.cursor.as_deref(), &mut collector)?,
        }
        if collector.page.cursor.is_empty() {
            collector.page.cursor = query.cursor.clone().unwrap_or_else(|| "0000-01-01.0".to_owned());
        }
        Ok(collector.page)
    }

    fn read_files(&self, dir: &Path, job: &str, name: &str, collector: &mut Collector<'_>) -> io::Result<()> {
        let query = collector.query;
        let from = query.cursor.as_deref().map(parse_cursor).transpose()?;
        let since_day = query.since.map(|since| since.div_euclid(DAY_NANOS));
        for (day, path) in days(dir)? {
            let start = match &from {
                Some((from, _)) if day < *from => continue,
                Some((from, offset)) if day == *from => *offset,
                _ => 0,
            };
            if since_day.is_some_and(|since| day < since) {
                continue;
            }
            let label = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if self.read_day(job, name, &path, &label, start, collector)? {
                break;
            }
        }
        Ok(())
    }

    /// One day's file; true when the page is full.
    fn read_day(
        &self,
        job: &str,
        name: &str,
        day: &Path,
        label: &str,
        start: u64,
        into: &mut Collector<'_>,
    ) -> io::Result<bool> {
        for attempt in 1.. {
            let entries = into.page.entries.len();
            let result = match open(&Paths::new(day, name)) {
                Ok(Some(opened)) => self.read_file(job, &opened, label, start, into),
                Ok(None) => return Ok(false),
                Err(error) => Err(error),
            };
            match result {
                Ok(full) => return Ok(full),
                // It changed its form between two steps of ours.
                Err(_) if attempt < TRIES => into.page.entries.truncate(entries),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn read_file(
        &self,
        job: &str,
        opened: &Opened,
        label: &str,
        start: u64,
        into: &mut Collector<'_>,
    ) -> io::Result<bool> {
        let state = &opened.index.state;
        let first = opened.blocks.partition_point(|block| block.start <= start).saturating_sub(1);
        for (i, block) in opened.blocks.iter().enumerate().skip(first) {
            let end = opened.blocks.get(i + 1).map_or(state.len, |next| next.start);
            if !into.may_have(&block.span) {
                continue;
            }
            if into.scanned > SCAN_BYTES {
                into.page.has_more = true;
                into.page.cursor = format!("{label}.{}", block.start.max(start));
                return Ok(true);
            }
            into.scanned += end - block.start;
            let bytes = self.block(job, opened, i, end)?;
            if let Some(next) = into.take(&bytes, label, block.start, start) {
                into.page.has_more = true;
                into.page.cursor = format!("{label}.{next}");
                return Ok(true);
            }
        }
        into.page.cut += state.cut;
        into.page.cursor = format!("{label}.{}", state.len.max(start));
        Ok(false)
    }

    /// The lines of a block.
    pub(crate) fn block(&self, job: &str, opened: &Opened, i: usize, end: u64) -> io::Result<Arc<[u8]>> {
        let (block, state) = (&opened.blocks[i], &opened.index.state);
        let length = usize::try_from(end - block.start).map_err(|_| invalid("a block is too large"))?;
        let load = || {
            if !state.compressed {
                return read_exactly(&opened.lines, length, block.start);
            }
            let stored_end = opened.blocks.get(i + 1).map_or(state.stored_len, |next| next.stored);
            let stored = usize::try_from(stored_end.saturating_sub(block.stored)).unwrap_or(0);
            let frame = read_exactly(&opened.lines, stored, block.stored)?;
            zstd::bulk::decompress(&frame, length)
        };
        if i as u64 >= state.blocks {
            // The open block grows.
            return load().map(Arc::from);
        }
        self.hot.block(job, BlockKey { generation: opened.index.generation, start: block.start }, load)
    }

    /// The jobs of the store, by the names of their files. `after` is the cursor of the page
    /// before.
    ///
    /// # Errors
    /// What the system says.
    pub fn jobs(&self, after: Option<&str>, limit: usize) -> io::Result<Jobs> {
        let limit = limit.clamp(1, MAX_LIMIT);
        match &self.place {
            Place::Dir(dir) => jobs_of_files(dir, after, limit),
            Place::Objects(objects) => read::jobs(objects, after, limit),
        }
    }

    /// Which offsets a directory has of each partition; empty of what all bridges share.
    ///
    /// # Errors
    /// What the system says.
    pub fn kept(&self) -> io::Result<Kept> {
        match &self.place {
            Place::Dir(dir) => kept(dir),
            Place::Objects(_) => Ok(Kept::default()),
        }
    }

    /// The metric points of a job (job log entries with `content.metric`): the last one of
    /// each series.
    ///
    /// # Errors
    /// What the system says.
    pub fn points(&self, job: &str) -> io::Result<Points> {
        let mut collected = Points::default();
        let mut query = Query { limit: MAX_LIMIT, ..Query::default() };
        loop {
            let page = self.read(job, &query)?;
            for entry in &page.entries {
                collected.add(entry.at, &entry.line);
            }
            if !page.has_more {
                return Ok(collected);
            }
            query.cursor = Some(page.cursor);
        }
    }
}

impl Collector<'_> {
    /// Takes what is asked for from a block's lines; where the first line begins that the page
    /// has no room for.
    fn take(&mut self, bytes: &[u8], label: &str, block_start: u64, from: u64) -> Option<u64> {
        let mut at = usize::try_from(from.saturating_sub(block_start)).unwrap_or(0).min(bytes.len());
        while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + length];
            if let Some(mut entry) = self.wanted(line) {
                if self.is_full() {
                    return Some(block_start + at as u64);
                }
                self.bytes += line.len();
                entry.after = format!("{label}.{}", block_start + (at + length + 1) as u64);
                self.page.entries.push(entry);
            }
            at += length + 1;
        }
        None
    }

    fn wanted(&self, line: &[u8]) -> Option<StoredEntry> {
        let head = Head::parse(line)?;
        self.asks(&head).then(|| StoredEntry {
            at: head.at,
            level: head.level,
            source: head.source.to_owned(),
            line: String::from_utf8_lossy(line).into_owned(),
            after: String::new(),
        })
    }

    /// Whether an entry is asked for.
    pub(crate) fn asks(&self, head: &Head<'_>) -> bool {
        self.query.since.is_none_or(|since| head.at >= since) && head.level >= self.query.level
    }

    /// Whether one among these times and levels may be.
    pub(crate) fn may_have(&self, span: &Span) -> bool {
        self.query.since.is_none_or(|since| span.max_at >= since) && span.levels & self.query.level.at_least() != 0
    }

    /// Whether there is no room for one more.
    pub(crate) fn is_full(&self) -> bool {
        self.page.entries.len() == self.limit || self.bytes >= PAGE_BYTES
    }

    /// Takes a stored line that is asked for.
    pub(crate) fn put(&mut self, line: &[u8], after: String) {
        let Some(entry) = self.wanted(line) else { return };
        self.bytes += line.len();
        self.page.entries.push(StoredEntry { after, ..entry });
    }
}

pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what.to_owned())
}

/// `YYYY-MM-DD.OFFSET`.
fn parse_cursor(cursor: &str) -> io::Result<(i64, u64)> {
    let parsed = cursor.split_once('.').and_then(|(day, offset)| Some((parse_day(day)?, offset.parse().ok()?)));
    parsed.ok_or_else(|| invalid("this is no cursor of a page; begin without one"))
}

fn read_exactly(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = read_up_to(file, &mut bytes, offset)?;
    if read < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// `None` where there is nothing of the job.
pub(crate) fn open(paths: &Paths) -> io::Result<Option<Opened>> {
    let index_file = match File::open(&paths.index) {
        Err(error) if error.kind() == ErrorKind::NotFound => return open_bare(paths),
        file => file?,
    };
    // Its writer died while it made it: no line is known to be good yet.
    let Some(index) = Index::read(&index_file)? else { return Ok(None) };
    let state = &index.state;
    let lines = File::open(if state.compressed { &paths.packed } else { &paths.lines })?;
    let mut blocks = read_blocks(&index_file, 0, state.blocks)?;
    if blocks.len() as u64 != state.blocks {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if state.open_start < state.len {
        blocks.push(Block { start: state.open_start, stored: 0, span: state.open });
    }
    Ok(Some(Opened { index, blocks, lines }))
}

/// Lines without an index (copied from elsewhere): one block.
fn open_bare(paths: &Paths) -> io::Result<Option<Opened>> {
    let lines = match File::open(&paths.lines) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let span = Span { min_at: i64::MIN, max_at: i64::MAX, levels: u64::MAX };
    let state = State { len: lines.metadata()?.len(), span, ..State::default() };
    let blocks = vec![Block { start: 0, stored: 0, span }];
    Ok(Some(Opened { index: Index { generation: 0, job: String::new(), state }, blocks, lines }))
}

fn jobs_of_files(dir: &Path, after: Option<&str>, limit: usize) -> io::Result<Jobs> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (_, path) in days(dir)? {
        let names = match names(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            names => names?,
        };
        for name in names {
            if after.is_none_or(|after| name.as_str() > after) {
                found.entry(name).or_default().push(path.clone());
            }
        }
    }
    let mut jobs = Jobs { jobs: Vec::new(), cursor: None, has_more: false };
    for (name, days) in found {
        if jobs.jobs.len() == limit {
            jobs.has_more = true;
            break;
        }
        jobs.jobs.extend(job(&name, &days)?);
        jobs.cursor = Some(name);
    }
    Ok(jobs)
}

/// The days of a tree, ascending; none where it is not there.
pub(crate) fn days(dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    match upkeep::days(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        days => days,
    }
}

fn job(name: &str, days: &[PathBuf]) -> io::Result<Option<Job>> {
    let mut job = Job::empty(name);
    for day in days {
        let paths = Paths::new(day, name);
        // Retention may take it while it is listed.
        let Ok(file) = File::open(&paths.index) else { continue };
        let Some(index) = Index::read(&file)? else { continue };
        let state = index.state;
        if job.job_run_id.is_empty() {
            job.job_run_id = index.job;
        }
        job.days.extend(day.file_name().and_then(|n| n.to_str()).map(str::to_owned));
        job.entries += state.entries;
        job.cut += state.cut;
        job.bytes += state.len;
        job.stored_bytes += if state.compressed { state.stored_len } else { state.len } + file.metadata()?.len();
        job.first_at = job.first_at.min(state.span.min_at);
        job.last_at = job.last_at.max(state.span.max_at);
    }
    Ok((!job.days.is_empty()).then_some(job))
}
