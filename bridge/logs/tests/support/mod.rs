//! Entries, trees and disks that fail, for the tests of the store.
#![allow(dead_code, reason = "each test binary takes its part")]
#![allow(unreachable_pub, reason = "the module is private to each test binary")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use k2p_logs::files::{Disk, SystemDisk};
use k2p_logs::objects::{Objects, Timing};
use k2p_logs::{Entry, Level, LogMetrics, LogReader, LogStore, ReadConfig, Source, StoreConfig};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use prometheus::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// 2026-11-21T12:00:00Z in Unix nanoseconds.
pub const NOON: i64 = 1_795_262_400_000_000_000;
pub const SECOND: i64 = 1_000_000_000;
pub const DAY: i64 = 86_400 * SECOND;

#[derive(Debug, Clone)]
pub struct Made {
    pub job: String,
    pub at: i64,
    pub level: Level,
    pub line: String,
    pub partition: i32,
    pub offset: i64,
}

impl Made {
    pub fn new(job: &str, partition: i32, offset: i64, at: i64) -> Made {
        let levels = [Level::Info, Level::Warn, Level::Error, Level::Debug, Level::None];
        let level = levels[usize::try_from(offset).unwrap() % levels.len()];
        let line = format!(r#"{{"message":"event {offset} of partition {partition}","run_id":"{job}"}}"#);
        Made { job: job.to_owned(), at, level, line, partition, offset }
    }

    pub fn entry(&self) -> Entry<'_> {
        Entry {
            job_run_id: &self.job,
            at: self.at,
            level: self.level,
            line: Cow::Borrowed(self.line.as_bytes()),
            source: self.source(),
        }
    }

    fn source(&self) -> Source<'_> {
        Source { topic: "k2p.events", partition: self.partition, offset: self.offset, line: 0 }
    }

    pub fn name(&self) -> String {
        format!("k2p.events/{}/{}/0", self.partition, self.offset)
    }
}

/// Notes a test that this machine cannot run where `tests/run` counts it.
pub fn skipped(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
    let Some(path) = std::env::var_os("K2P_SKIP_LOG") else { return };
    let mut log = File::options().create(true).append(true).open(path).unwrap();
    writeln!(log, "{name}\t{reason}").unwrap();
}

pub fn metrics() -> LogMetrics {
    LogMetrics::new(&Registry::new()).unwrap()
}

pub fn store(dir: &Path, config: StoreConfig) -> LogStore {
    LogStore::open(dir, config, metrics()).unwrap()
}

/// Every source in a tree, by file, in the order of the lines. Fails on a line that is not
/// whole.
pub fn sources(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for path in files(dir) {
        let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        let (name, bytes) = if let Some(name) = name.strip_suffix(".zst") {
            (name.to_owned(), zstd::decode_all(File::open(&path).unwrap()).unwrap())
        } else if name.ends_with(".jsonl") {
            (name, fs::read(&path).unwrap())
        } else {
            continue;
        };
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends with a torn line");
        let source = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
            value["k2p_source"].as_str().unwrap().to_owned()
        };
        let lines: Vec<String> = text.lines().map(source).collect();
        assert!(found.insert(name.clone(), lines).is_none(), "{name} is there twice");
    }
    found
}

/// Every file of a tree.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Each of `made` is in the tree once, and nothing else.
#[track_caller]
pub fn assert_each_once(dir: &Path, made: &[Made]) {
    let mut found: Vec<String> = sources(dir).into_values().flatten().collect();
    found.sort();
    let mut expected: Vec<String> = made.iter().map(Made::name).collect();
    expected.sort();
    if found != expected {
        let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
        let lost: Vec<_> = expected.iter().filter(|name| !found.contains(name)).collect();
        panic!("twice: {twice:?}, lost: {lost:?}");
    }
}

#[derive(Debug)]
enum Fault {
    /// The process dies at this call (counted down), after writing a part of it.
    Dies { calls: u64, part: usize },
    /// So many bytes fit; a file's end may always be cut.
    Full { bytes: u64 },
}

/// A disk that fails as told.
#[derive(Debug)]
pub struct FaultyDisk(Mutex<Fault>, Arc<SyncedBytes>);

/// By inode, how many bytes of a file survive a loss of power.
pub type SyncedBytes = Mutex<BTreeMap<u64, u64>>;

impl FaultyDisk {
    pub fn dies(calls: u64, part: usize, synced: &Arc<SyncedBytes>) -> FaultyDisk {
        FaultyDisk(Mutex::new(Fault::Dies { calls, part }), Arc::clone(synced))
    }

    pub fn full(bytes: u64) -> FaultyDisk {
        FaultyDisk(Mutex::new(Fault::Full { bytes }), Arc::default())
    }

    /// Makes room.
    pub fn room(&self, more: u64) {
        if let Fault::Full { bytes } = &mut *self.0.lock().unwrap() {
            *bytes += more;
        }
    }

    /// True while the process lives; the call at which it dies gets its part.
    fn call(&self, dying: impl FnOnce(usize)) -> io::Result<()> {
        match &mut *self.0.lock().unwrap() {
            Fault::Dies { calls: 0, .. } => Err(io::Error::other("dead")),
            Fault::Dies { calls, part } => {
                *calls -= 1;
                if *calls == 0 {
                    dying(*part);
                    return Err(io::Error::other("dies"));
                }
                Ok(())
            }
            Fault::Full { .. } => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut write = bytes;
        let mut full = false;
        self.call(|part| SystemDisk.write_at(file, &bytes[..part % (bytes.len() + 1)], offset).unwrap())?;
        if let Fault::Full { bytes: room } = &mut *self.0.lock().unwrap() {
            let grows = (offset + bytes.len() as u64).saturating_sub(file.metadata()?.len());
            full = grows > *room;
            if full {
                let fits = bytes.len() as u64 - grows + *room;
                write = &bytes[..usize::try_from(fits).unwrap()];
            }
            *room -= grows.min(*room);
        }
        SystemDisk.write_at(file, write, offset)?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.call(|_| {})?;
        if let Fault::Full { bytes } = &mut *self.0.lock().unwrap() {
            *bytes += file.metadata()?.len().saturating_sub(length);
        }
        SystemDisk.truncate(file, length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.call(|_| {})?;
        SystemDisk.sync(file)?;
        let metadata = file.metadata()?;
        self.1.lock().unwrap().insert(metadata.ino(), metadata.len());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|_| {})?;
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|_| {})?;
        SystemDisk.remove(path)
    }
}

/// Where a store lies: all of them must give the same answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Files,
    LocalObjects,
    MemoryObjects,
}

/// A place for a store.
pub struct Place {
    pub kind: Kind,
    pub dir: TempDir,
    pub objects: Arc<dyn ObjectStore>,
    pub runtime: Runtime,
}

impl Place {
    pub fn new(kind: Kind) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let objects: Arc<dyn ObjectStore> = match kind {
            Kind::LocalObjects => {
                Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap().with_automatic_cleanup(true))
            }
            _ => Arc::new(InMemory::new()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Place { kind, dir, objects, runtime }
    }

    /// A test at each of them.
    pub fn each(test: impl Fn(&Place)) {
        for kind in [Kind::Files, Kind::LocalObjects, Kind::MemoryObjects] {
            eprintln!("{kind:?}");
            test(&Place::new(kind));
        }
    }

    pub fn is_files(&self) -> bool {
        self.kind == Kind::Files
    }

    pub fn at(&self) -> Objects {
        Objects::new(self.objects.clone(), "a/prefix", self.runtime.handle().clone())
    }

    pub fn store(&self, config: StoreConfig) -> LogStore {
        if self.is_files() {
            return store(self.dir.path(), config);
        }
        // Nothing is written but what a sync asks for.
        let timing = Timing { flush: std::time::Duration::from_secs(3600), ..Timing::default() };
        LogStore::open_objects(self.at(), config, timing, metrics()).unwrap()
    }

    pub fn reader(&self) -> LogReader {
        if self.is_files() {
            return LogReader::open(self.dir.path(), ReadConfig::default(), metrics());
        }
        LogReader::open_objects(self.at(), ReadConfig::default(), metrics())
    }
}
