//! One job's file of one day, as its writers hold it.
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::index::{Block, Index, State, read_blocks, read_up_to, scan};
use crate::entry::{Entry, origin_hash};
use crate::metrics::Refused;
use crate::store::{Appended, StoreConfig};

/// Lines are read back in pieces of this size.
const PIECE: usize = 1 << 20;

/// zstd's level: the usual trade of time and size.
const ZSTD_LEVEL: i32 = 3;

/// Where the parts of one file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) lines: PathBuf,
    pub(crate) packed: PathBuf,
    pub(crate) index: PathBuf,
    pub(crate) draft: PathBuf,
}

impl Paths {
    /// `name` is what [`crate::file_name`] made of the job.
    pub(crate) fn new(day: &Path, name: &str) -> Paths {
        Paths {
            lines: day.join(format!("{name}.jsonl")),
            packed: day.join(format!("{name}.jsonl.zst")),
            index: day.join(format!("{name}.jsonl.idx")),
            draft: day.join(format!("{name}.jsonl.draft")),
        }
    }
}

/// Holds the lock of an index file; other processes wait.
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    fn new(file: &'a File) -> io::Result<Locked<'a>> {
        file.lock()?;
        Ok(Locked(file))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // The kernel lets go at the latest when the file is closed.
        let _closed = self.0.unlock();
    }
}

/// An open file. The lock is held during each call, not between calls: what another
/// process wrote meanwhile is noticed by the sequence number.
#[derive(Debug)]
pub(crate) struct JobFile {
    paths: Paths,
    index_file: File,
    lines: Option<File>,
    index: Index,
    disk: Arc<dyn Disk>,
    /// Lines were written since the last sync.
    dirty: bool,
    created: bool,
}

/// The file was removed (retention) while it was open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl JobFile {
    /// Opens or creates; repairs what a crash left.
    pub(crate) fn open(paths: Paths, job: &str, disk: Arc<dyn Disk>) -> io::Result<JobFile> {
        let index_file = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&paths.index)?;
            file.lock()?;
            // Between open and lock another process may have removed it.
            if file.metadata()?.nlink() > 0 {
                break file;
            }
        };
        let found = Index::read(&index_file)?;
        let fresh = found.is_none();
        let index =
            found.unwrap_or_else(|| Index { generation: generation(), job: job.to_owned(), state: State::default() });
        let mut file = JobFile { paths, index_file, lines: None, index, disk, dirty: false, created: fresh };
        let prepared = file.prepare(fresh);
        let unlocked = file.index_file.unlock();
        prepared.and(unlocked).map(|()| file)
    }

    /// Under the lock, after opening.
    fn prepare(&mut self, fresh: bool) -> io::Result<()> {
        if fresh {
            return self.rebuild();
        }
        // A crash came before the last step of packing or unpacking: the form that the index
        // does not speak of goes.
        let left = if self.index.state.compressed { &self.paths.lines } else { &self.paths.packed };
        if left.exists() {
            self.disk.remove(left)?;
        }
        if self.index.state.compressed {
            return Ok(());
        }
        self.open_lines()?;
        // What was not synced may be lost with the power, in any part.
        self.dirty = self.index.state.synced < self.index.state.len;
        if self.dirty && !self.is_whole()? {
            return self.rebuild();
        }
        self.settle()
    }

    fn open_lines(&mut self) -> io::Result<&File> {
        let path = &self.paths.lines;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(self.lines.insert(file))
    }

    fn lines(&self) -> io::Result<&File> {
        self.lines.as_ref().ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }

    /// Whether the lines that were not synced are there and whole.
    fn is_whole(&self) -> io::Result<bool> {
        let (known, synced) = (self.index.state.len, self.index.state.synced);
        let mut state = State { len: synced, open_start: synced, ..self.index.state.clone() };
        self.scan_lines(&mut state)?;
        Ok(state.len >= known)
    }

    /// Takes whole lines behind the known end (their writer died before it said so), cuts
    /// what is torn.
    fn settle(&mut self) -> io::Result<()> {
        let (known, found) = (self.index.state.len, self.lines()?.metadata()?.len());
        if found < known {
            return self.rebuild();
        }
        if found == known {
            return Ok(());
        }
        let mut state = self.index.state.clone();
        let from = state.blocks;
        let blocks = self.scan_lines(&mut state)?;
        self.disk.truncate(self.lines()?, state.len)?;
        self.write_blocks(from, &blocks)?;
        self.dirty = true;
        self.write_slot(state)
    }

    /// Scans the lines from the state's end on.
    fn scan_lines(&self, state: &mut State) -> io::Result<Vec<Block>> {
        let (mut blocks, mut piece) = (Vec::new(), vec![0; PIECE]);
        loop {
            let read = read_up_to(self.lines()?, &mut piece, state.len)?;
            let good = scan(state, &mut blocks, &piece[..read]);
            if good == 0 {
                // A line may be longer than a piece.
                if read < piece.len() || memchr::memchr(b'\n', &piece).is_some() {
                    return Ok(blocks);
                }
                piece.resize(piece.len() * 2, 0);
            }
        }
    }

    /// Makes the index anew from the lines.
    fn rebuild(&mut self) -> io::Result<()> {
        if !self.paths.lines.exists() && self.paths.packed.exists() {
            let bytes = zstd::decode_all(File::open(&self.paths.packed)?)?;
            self.replace_lines(&bytes)?;
        }
        self.open_lines()?;
        let mut state = State { seq: self.index.state.seq + 2, cut: self.index.state.cut, ..State::default() };
        let blocks = self.scan_lines(&mut state)?;
        self.disk.truncate(self.lines()?, state.len)?;
        self.write_blocks(0, &blocks)?;
        self.dirty = state.len > 0;
        self.index = Index { generation: generation(), job: self.index.job.clone(), state };
        let header = self.index.encode();
        self.disk.write_at(&self.index_file, &header, 0)
    }

    fn write_blocks(&self, from: u64, blocks: &[Block]) -> io::Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = blocks.iter().flat_map(Block::encode).collect();
        self.disk.write_at(&self.index_file, &bytes, Block::record_at(from))
    }

    /// Makes a state the valid one.
    fn write_slot(&mut self, mut state: State) -> io::Result<()> {
        state.seq = self.index.state.seq + 1;
        self.disk.write_at(&self.index_file, &state.encode(), state.slot_at())?;
        self.index.state = state;
        Ok(())
    }

    /// Under the lock: takes over what other processes did.
    fn refresh(&mut self) -> io::Result<Result<(), Gone>> {
        if self.index_file.metadata()?.nlink() == 0 {
            return Ok(Err(Gone));
        }
        match Index::read(&self.index_file)? {
            Some(index) if index == self.index => {}
            Some(index) => {
                let moved =
                    index.state.compressed != self.index.state.compressed || index.generation != self.index.generation;
                self.index = index;
                if moved {
                    self.lines = None;
                }
            }
            None => self.rebuild()?,
        }
        if self.index.state.compressed {
            self.lines = None;
            return Ok(Ok(()));
        }
        if self.lines.is_none() {
            self.open_lines()?;
        }
        self.settle().map(Ok)
    }

    /// Appends what is new among `entries`, which all belong to this file.
    ///
    /// The counts are of what was decided before an error; on an error nothing of this
    /// call is kept.
    pub(crate) fn append(
        &mut self,
        entries: &[&Entry<'_>],
        config: &StoreConfig,
        tally: &mut Appended,
    ) -> io::Result<Result<(), Gone>> {
        let lock = self.index_file.try_clone()?;
        let _locked = Locked::new(&lock)?;
        if let Err(gone) = self.refresh()? {
            return Ok(Err(gone));
        }
        let mut done = Appended::default();
        let quota = config.day_bytes(&self.index.job);
        let mut state = self.index.state.clone();
        let (mut lines, mut blocks) = (Vec::new(), Vec::new());
        for entry in entries {
            let before = lines.len();
            let source = &entry.source;
            let (origin, position) = (origin_hash(source.topic, source.partition), source.position());
            if state.mark(origin).is_some_and(|last| position <= last) {
                done.duplicates += 1;
                continue;
            }
            if !state.advance(origin, position) {
                done.refuse(Refused::TooManySources, 1);
                continue;
            }
            entry.write_line(&mut lines);
            let length = (lines.len() - before) as u64;
            if state.len + length > quota {
                lines.truncate(before);
                state.cut += 1;
                done.refuse(Refused::Quota, 1);
                continue;
            }
            blocks.extend(state.push(entry.at, entry.level.bit(), length));
            done.written += 1;
            done.bytes += length;
        }
        if state != self.index.state {
            self.store(state, &lines, &blocks)?;
        }
        tally.add(&done);
        Ok(Ok(()))
    }

    fn store(&mut self, mut state: State, lines: &[u8], blocks: &[Block]) -> io::Result<()> {
        if self.index.state.compressed && !lines.is_empty() {
            self.unpack()?;
            (state.compressed, state.stored_len) = (false, 0);
        }
        let (end, count) = (self.index.state.len, self.index.state.blocks);
        if !lines.is_empty() {
            self.dirty = true;
            let written = self.disk.write_at(self.lines()?, lines, end);
            let written = written.and_then(|()| self.write_blocks(count, blocks));
            if let Err(error) = written.and_then(|()| self.write_slot(state)) {
                // Best effort: what stays behind the known end is settled at the next call.
                let _cut = self.disk.truncate(self.lines()?, end);
                return Err(error);
            }
            return Ok(());
        }
        self.write_slot(state)
    }

    /// Waits until what was appended survives a loss of power.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        let lock = self.index_file.try_clone()?;
        let _locked = Locked::new(&lock)?;
        if self.refresh()?.is_err() || self.index.state.compressed {
            // Removed, or packed, which syncs.
            self.dirty = false;
            return Ok(());
        }
        let end = self.index.state.len;
        self.disk.sync(self.lines()?)?;
        if self.created {
            // The names, too.
            if let Some(day) = self.paths.lines.parent() {
                File::open(day)?.sync_all()?;
            }
            self.created = false;
        }
        self.write_slot(State { synced: end, ..self.index.state.clone() })?;
        self.dirty = false;
        Ok(())
    }

    /// Writes `bytes` as the lines' file in one step.
    fn replace_lines(&self, bytes: &[u8]) -> io::Result<()> {
        let draft = File::create(&self.paths.draft)?;
        self.disk.write_at(&draft, bytes, 0)?;
        self.disk.sync(&draft)?;
        self.disk.rename(&self.paths.draft, &self.paths.lines)
    }

    /// Back to plain lines, for an entry that comes late.
    fn unpack(&mut self) -> io::Result<()> {
        let bytes = zstd::decode_all(File::open(&self.paths.packed)?)?;
        self.replace_lines(&bytes)?;
        self.open_lines()?;
        let synced = self.index.state.len;
        let state = State { compressed: false, stored_len: 0, synced, ..self.index.state.clone() };
        self.write_slot(state)?;
        self.disk.remove(&self.paths.packed)
    }

    /// Compresses the lines, a frame per block, so that a reader needs not unpack all.
    /// Returns the bytes saved; 0 where there was nothing to do.
    pub(crate) fn pack(&mut self) -> io::Result<u64> {
        let lock = self.index_file.try_clone()?;
        let _locked = Locked::new(&lock)?;
        if self.refresh()?.is_err() || self.index.state.len == 0 {
            return Ok(0);
        }
        if self.index.state.compressed {
            return Ok(0);
        }
        let mut state = self.index.state.clone();
        let mut blocks = read_blocks(&self.index_file, 0, state.blocks)?;
        if state.open_start < state.len {
            blocks.push(state.close_block());
        }
        let draft = File::create(&self.paths.draft)?;
        let mut stored = 0;
        for i in 0..blocks.len() {
            let (start, end) = (blocks[i].start, blocks.get(i + 1).map_or(state.len, |next| next.start));
            let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
            read_up_to(self.lines()?, &mut bytes, start)?;
            let frame = zstd::bulk::compress(&bytes, ZSTD_LEVEL)?;
            self.disk.write_at(&draft, &frame, stored)?;
            blocks[i].stored = stored;
            stored += frame.len() as u64;
        }
        self.disk.sync(&draft)?;
        self.disk.rename(&self.paths.draft, &self.paths.packed)?;
        self.write_blocks(0, &blocks)?;
        (state.compressed, state.stored_len, state.synced) = (true, stored, state.len);
        let saved = state.len.saturating_sub(stored);
        self.write_slot(state)?;
        self.disk.sync(&self.index_file)?;
        self.lines = None;
        self.dirty = false;
        self.disk.remove(&self.paths.lines)?;
        Ok(saved)
    }

    /// Removes every part. The index goes last: with it goes what keeps an entry from being
    /// written again.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        let lock = self.index_file.try_clone()?;
        let _locked = Locked::new(&lock)?;
        for path in [&self.paths.lines, &self.paths.packed, &self.paths.draft, &self.paths.index] {
            match self.disk.remove(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.dirty = false;
        Ok(())
    }
}

/// A number that no other file of this name had: from the system's randomness by way of
/// the standard library's hasher keys, and a counter.
fn generation() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The names in a day's directory, without endings, each once, sorted.
pub(crate) fn names(day: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(day)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let stem = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".jsonl.zst"));
        names.extend(stem.or_else(|| name.strip_suffix(".jsonl.idx")).map(str::to_owned));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
