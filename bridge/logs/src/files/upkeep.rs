//! Retention by age and size, and the packing of closed days.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::disk::Disk;
use super::index::Index;
use super::job::{JobFile, Paths, names};
use crate::entry::parse_day;
use crate::name::RUNS;
use crate::store::{DAY_NANOS, Maintained, QUIET, StoreConfig};

struct Found {
    name: String,
    day: i64,
    modified: i64,
    bytes: u64,
    paths: Paths,
    plain: bool,
}

/// One round over a tree. Several processes may run it at once.
pub(super) fn run(
    dir: &Path,
    config: &StoreConfig,
    disk: &Arc<dyn Disk>,
    now: i64,
    done: &mut Maintained,
) -> io::Result<()> {
    let today = now.div_euclid(DAY_NANOS);
    let closed = (now - QUIET).div_euclid(DAY_NANOS);
    let oldest = (now - config.retention).div_euclid(DAY_NANOS);
    let mut kept = Vec::new();
    for found in list(dir)? {
        // A day goes when its last moment is past the retention.
        if found.day < oldest {
            remove(&found, disk)?;
            done.aged_bytes += found.bytes;
            done.removed += 1;
        } else {
            kept.push(found);
        }
    }
    for found in &mut kept {
        if config.compress && found.plain && found.day < closed {
            let saved = open(&found.paths, disk)?.pack()?;
            found.bytes = found.bytes.saturating_sub(saved);
            done.packed += 1;
        }
    }
    done.files = kept.len() as u64;
    cap_reports(&mut kept, config.reports_bytes, disk, done)?;
    let mut bytes: u64 = kept.iter().map(|found| found.bytes).sum();
    kept.sort_by_key(|found| (found.day, found.modified));
    for found in &kept {
        if bytes <= config.max_bytes {
            break;
        }
        remove(found, disk)?;
        bytes -= found.bytes;
        done.sized_bytes += found.bytes;
        done.removed += 1;
        done.files = done.files.saturating_sub(1);
    }
    done.bytes = bytes;
    remove_empty_days(dir, today)
}

/// Of one pipeline's reports the oldest days go that are above the cap; never the newest day,
/// which the quota of a day bounds.
fn cap_reports(kept: &mut Vec<Found>, cap: u64, disk: &Arc<dyn Disk>, done: &mut Maintained) -> io::Result<()> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    kept.sort_by_key(|found| std::cmp::Reverse(found.day));
    let mut left = Vec::with_capacity(kept.len());
    for found in std::mem::take(kept) {
        if !is_report(&found) {
            left.push(found);
            continue;
        }
        let sum = sums.entry(found.name.clone()).or_default();
        let newest = *sum == 0;
        *sum += found.bytes;
        if newest || *sum <= cap {
            left.push(found);
            continue;
        }
        remove(&found, disk)?;
        done.report_bytes += found.bytes;
        done.removed += 1;
        done.files = done.files.saturating_sub(1);
    }
    *kept = left;
    Ok(())
}

fn is_report(found: &Found) -> bool {
    match crate::job_of(&found.name) {
        Some(job) => job.starts_with(RUNS),
        // The id of a hashed name stands in its index.
        None => found.name.starts_with('~') && indexed_job(&found.paths).is_some_and(|job| job.starts_with(RUNS)),
    }
}

fn indexed_job(paths: &Paths) -> Option<String> {
    Index::read(&File::open(&paths.index).ok()?).ok()?.map(|index| index.job)
}

fn open(paths: &Paths, disk: &Arc<dyn Disk>) -> io::Result<JobFile> {
    // The id only matters where there is no index yet.
    let name = paths.lines.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let job = crate::job_of(name).unwrap_or_else(|| name.to_owned());
    JobFile::open(paths.clone(), &job, Arc::clone(disk))
}

fn remove(found: &Found, disk: &Arc<dyn Disk>) -> io::Result<()> {
    open(&found.paths, disk)?.remove()
}

/// The days of a tree, with their directories, ascending. What has another name is not ours.
pub(crate) fn days(dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let mut days = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let day = entry.file_name().to_str().and_then(parse_day);
        days.extend(day.map(|day| (day, entry.path())));
    }
    days.sort_unstable();
    Ok(days)
}

fn list(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for (day, path) in days(dir)? {
        let names = match names(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            names => names?,
        };
        for name in names {
            let paths = Paths::new(&path, &name);
            let (mut bytes, mut modified, mut plain) = (0, 0, false);
            for (part, is_plain) in [(&paths.lines, true), (&paths.packed, false), (&paths.index, false)] {
                let Ok(metadata) = fs::metadata(part) else { continue };
                bytes += metadata.len();
                let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                modified = modified.max(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
                plain |= is_plain;
            }
            found.push(Found { name, day, modified, bytes, paths, plain });
        }
    }
    Ok(found)
}

fn remove_empty_days(dir: &Path, today: i64) -> io::Result<()> {
    for (day, path) in days(dir)? {
        if day < today {
            // Not empty is the usual case, and a writer may be about to fill it.
            let _not_empty = fs::remove_dir(path);
        }
    }
    Ok(())
}
