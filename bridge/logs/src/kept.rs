//! Which offsets a directory has: what a bridge with a store of its own says of itself, so
//! that nobody takes its part for the whole.
//!
//! `DIR/kept/{topic}@{partition}.json`: a range of offsets for each time that a partition was
//! begun here and did not go on where this store ended.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::objects::origin;

/// Ranges of one partition; the oldest ones go.
const MAX_RANGES: usize = 200;

/// Offsets whose entries were kept in one store, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first one.
    pub from: i64,
    /// One past the last one that is known to be here; a range that goes on may have more.
    pub to: i64,
    /// When it began, Unix nanoseconds: what came before was in the log by then.
    pub since: i64,
    /// Before it there was nothing to keep.
    pub first: bool,
}

/// By topic and partition (`topic@partition`) what one store has, or several together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept(BTreeMap<String, Vec<Range>>);

/// Offsets of a partition that none of the stores has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first one; `None`: nothing before `to`.
    pub from: Option<i64>,
    /// The first one that somebody has again; `None`: nobody has any.
    pub to: Option<i64>,
}

impl Kept {
    /// Adds what another store has.
    pub fn merge(&mut self, other: Kept) {
        for (origin, ranges) in other.0 {
            self.0.entry(origin).or_default().extend(ranges);
        }
    }

    /// The first offsets of a partition that nobody has, among those whose entries may be
    /// asked for: what was in the log before `oldest` (Unix nanoseconds) is not.
    pub fn gap(&self, topic: &str, partition: i32, oldest: i64) -> Option<Gap> {
        let mut ranges = self.0.get(&origin(topic, partition)).cloned().unwrap_or_default();
        ranges.sort_by_key(|range| range.from);
        let mut to: Option<i64> = None;
        for range in &ranges {
            let goes_on = range.first || to.is_some_and(|to| range.from <= to);
            if !goes_on && range.since > oldest {
                return Some(Gap { from: to, to: Some(range.from) });
            }
            to = to.max(Some(range.to.max(range.from)));
        }
        if to.is_none() { Some(Gap { from: None, to: None }) } else { None }
    }
}

/// The writer's side.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
    known: Mutex<BTreeMap<String, Vec<Range>>>,
}

impl Ledger {
    pub(crate) fn new(dir: &Path) -> Ledger {
        Ledger { dir: dir.join("kept"), known: Mutex::default() }
    }

    /// A partition is begun at an offset; `first`: at the beginning of its log.
    pub(crate) fn begin(&self, topic: &str, partition: i32, range: Range) -> io::Result<()> {
        self.change(topic, partition, |ranges| match ranges.last_mut() {
            Some(last) if !range.first && last.from <= range.from && range.from <= last.to => {}
            _ => ranges.push(range),
        })
    }

    /// Everything below an offset is here.
    pub(crate) fn reached(&self, topic: &str, partition: i32, offset: i64) -> io::Result<()> {
        self.change(topic, partition, |ranges| {
            if let Some(last) = ranges.last_mut() {
                last.to = last.to.max(offset);
            }
        })
    }

    fn change(&self, topic: &str, partition: i32, change: impl FnOnce(&mut Vec<Range>)) -> io::Result<()> {
        let origin = origin(topic, partition);
        let path = self.dir.join(format!("{origin}.json"));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = match known.entry(origin) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(read(&path)?),
        };
        let before = ranges.clone();
        change(ranges);
        if *ranges == before {
            return Ok(());
        }
        let surplus = ranges.len().saturating_sub(MAX_RANGES);
        ranges.drain(..surplus);
        fs::create_dir_all(&self.dir)?;
        let draft = path.with_extension("draft");
        fs::write(&draft, serde_json::to_vec(&*ranges)?)?;
        fs::rename(&draft, &path)
    }
}

/// What a directory has.
pub(crate) fn kept(dir: &Path) -> io::Result<Kept> {
    let mut kept = Kept::default();
    let files = match fs::read_dir(dir.join("kept")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(kept),
        files => files?,
    };
    for file in files {
        let path = file?.path();
        let Some(origin) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".json")) else { continue };
        kept.0.insert(origin.to_owned(), read(&path)?);
    }
    Ok(kept)
}

/// A file that is none tells nothing: what was before is not known.
fn read(path: &Path) -> io::Result<Vec<Range>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        bytes => Ok(serde_json::from_slice(&bytes?).unwrap_or_default()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn range(from: i64, to: i64, since: i64, first: bool) -> Range {
        Range { from, to, since, first }
    }

    #[test]
    fn a_gap_is_what_no_store_has_and_somebody_may_ask_for() {
        let gap = |oldest: i64, stores: &[&[Range]]| {
            let mut all = Kept::default();
            for ranges in stores {
                all.merge(Kept([(origin("t", 0), ranges.to_vec())].into()));
            }
            all.gap("t", 0, oldest).map(|gap| (gap.from, gap.to))
        };
        let (begun, later) = (range(0, 50, 100, true), range(50, 90, 200, false));
        assert_eq!(gap(0, &[]), Some((None, None)), "nobody says anything");
        assert_eq!(gap(0, &[&[begun]]), None);
        assert_eq!(gap(0, &[&[begun, later]]), None, "one store, begun twice");
        assert_eq!(gap(0, &[&[later], &[begun]]), None, "two that go on");
        assert_eq!(gap(0, &[&[range(40, 90, 200, false)], &[begun]]), None, "two that overlap");
        assert_eq!(gap(0, &[&[later]]), Some((None, Some(50))), "the first one left");
        assert_eq!(gap(0, &[&[range(51, 90, 200, false)], &[begun]]), Some((Some(50), Some(51))));
        assert_eq!(gap(200, &[&[later]]), None, "what it had is too old");
        assert_eq!(gap(199, &[&[later]]), Some((None, Some(50))));
        // The live one's end is as of its last sync: what it has beyond is its own.
        assert_eq!(gap(0, &[&[begun], &[range(50, 50, 200, false)]]), None);
    }

    #[test]
    fn a_store_knows_what_it_has_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        ledger.begin("a~b", 3, range(0, 0, 1, true)).unwrap();
        ledger.reached("a~b", 3, 70).unwrap();
        ledger.reached("a~b", 3, 60).unwrap();
        let again = Ledger::new(dir.path());
        again.begin("a~b", 3, range(40, 40, 2, false)).unwrap();
        assert_eq!(kept(dir.path()).unwrap().0["a=b@3"], [range(0, 70, 1, true)], "it goes on");
        again.begin("a~b", 3, range(90, 90, 3, false)).unwrap();
        again.reached("a~b", 3, 95).unwrap();
        let has = kept(dir.path()).unwrap();
        assert_eq!(has.0["a=b@3"], [range(0, 70, 1, true), range(90, 95, 3, false)]);
        assert_eq!(has.gap("a~b", 3, 0), Some(Gap { from: Some(70), to: Some(90) }));
        assert_eq!(kept(&dir.path().join("nowhere")).unwrap(), Kept::default());
    }
}
