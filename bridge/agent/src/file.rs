//! Picks up dump files: a service writes its registry to a file every thirty seconds,
//! the agent ships each version once.
//!
//! Two ways of writing are understood. By rename: the file is whole whenever it can be
//! seen. In place: a version counts as whole when it did not change for one poll and
//! ends as a dump ends (a line end; `# EOF` if the version before it had one).
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use k2p_core::model::UnixMs;

use crate::cut;

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    device: u64,
    inode: u64,
    size: u64,
    seconds: i64,
    nanos: i64,
}

impl Version {
    fn of(meta: &std::fs::Metadata) -> Version {
        Version {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            seconds: meta.mtime(),
            nanos: meta.mtime_nsec(),
        }
    }

    /// When the file was last written: the time of its dump.
    pub(crate) fn modified(&self) -> UnixMs {
        self.seconds * 1000 + self.nanos / 1_000_000
    }
}

/// What was seen of a file, poll after poll. Pure: versions come in.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Option<Version>,
    handled: Option<Version>,
    /// The last dump that was picked up ended with `# EOF`.
    open_metrics: bool,
}

impl Watch {
    /// Whether this version is new and has been stable since the last poll.
    pub(crate) fn is_due(&mut self, now: Version) -> bool {
        let stable = self.seen == Some(now);
        self.seen = Some(now);
        stable && self.handled != Some(now)
    }

    /// The file is not there: the next one must be stable anew.
    pub(crate) fn gone(&mut self) {
        self.seen = None;
    }

    /// Looked at for good, shipped or refused: only a change brings it back.
    pub(crate) fn handled(&mut self, version: Version) {
        self.handled = Some(version);
    }
}

/// The results of reading a version.
pub(crate) const RESULTS: [&str; 6] = ["ok", "missing", "not_a_file", "too_large", "unfinished", "error"];

/// Why a version is not shipped: the `result` of `file_reads_total`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("it is not there; waiting for it")]
    Missing,
    #[error("it is no regular file")]
    NotAFile,
    #[error("it has {size} bytes, {limit} are allowed (limits.dump_bytes)")]
    TooLarge { size: u64, limit: u64 },
    #[error(
        "it does not end as a dump ends: the writer was interrupted, or leaves out the last line end{}",
        if *eof { " or `# EOF`" } else { "" }
    )]
    Unfinished { eof: bool },
    #[error("it changed while it was read")]
    Changed,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl FileError {
    pub(crate) fn result(&self) -> &'static str {
        match self {
            FileError::Missing => "missing",
            FileError::NotAFile => "not_a_file",
            FileError::TooLarge { .. } => "too_large",
            FileError::Unfinished { .. } => "unfinished",
            FileError::Changed => "changed",
            FileError::Io(_) => "error",
        }
    }
}

/// The version that is there now.
pub(crate) fn look(path: &Path) -> Result<Version, FileError> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(FileError::NotAFile),
        Ok(meta) => Ok(Version::of(&meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FileError::Missing),
        Err(e) => Err(e.into()),
    }
}

/// Reads `version` of the file, whole. A version that is refused for good is marked
/// as handled in `watch`; one that changed meanwhile is left for the next poll.
pub(crate) fn read(path: &Path, version: Version, watch: &mut Watch, limit: u64) -> Result<Vec<u8>, FileError> {
    if version.size > limit {
        watch.handled(version);
        let size = version.size;
        return Err(FileError::TooLarge { size, limit });
    }
    let mut file = File::open(path)?;
    let mut body = Vec::with_capacity(version.size as usize + 1);
    file.by_ref().take(version.size + 1).read_to_end(&mut body)?;
    if Version::of(&file.metadata()?) != version || body.len() as u64 != version.size {
        return Err(FileError::Changed);
    }
    watch.handled(version);
    let eof = cut::ends_with_eof(&body);
    if !eof && (watch.open_metrics || body.last() != Some(&b'\n')) {
        // Should the writer have changed to plain text, the next version is taken.
        let eof = std::mem::take(&mut watch.open_metrics);
        return Err(FileError::Unfinished { eof });
    }
    watch.open_metrics = eof;
    Ok(body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn version(n: u64) -> Version {
        Version { device: 1, inode: 1, size: n, seconds: 10, nanos: 5_999_999 }
    }

    #[test]
    fn a_version_is_due_once_and_only_when_stable() {
        let mut watch = Watch::default();
        let polls = [
            (None, false),
            (Some(1), false), // just appeared
            (Some(2), false), // still growing
            (Some(2), true),
            (Some(2), false), // handled
            (None, false),    // gone
            (Some(2), false), // the same again
            (Some(2), false),
            (Some(3), false),
            (Some(3), true),
        ];
        for (i, (seen, due)) in polls.into_iter().enumerate() {
            let Some(now) = seen.map(version) else {
                watch.gone();
                continue;
            };
            assert_eq!(watch.is_due(now), due, "poll {i}");
            if due {
                watch.handled(now);
            }
        }
        assert_eq!(version(1).modified(), 10_005);
    }

    #[test]
    fn only_a_whole_dump_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.prom");
        let mut watch = Watch::default();
        let cases = [
            ("a 1\n", "ok"),
            ("a 1", "unfinished"),
            ("", "unfinished"),
            ("a 1\nb 2\nc 3\nd 4\n", "too_large"),
            ("a 2\n# EOF", "ok"),
            ("a 2\n", "unfinished"), // OpenMetrics before: cut off
            ("a 3\n", "ok"),
            ("a 2\n# EOF\n", "ok"),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).unwrap();
            let now = look(&path).unwrap();
            let got = read(&path, now, &mut watch, 13);
            let result = got.as_ref().map_or_else(FileError::result, |_| "ok");
            assert_eq!(result, expected, "{text:?}");
        }
    }

    #[test]
    fn another_version_than_the_one_seen_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.prom");
        std::fs::write(&path, "a 1\n").unwrap();
        let now = look(&path).unwrap();
        std::fs::write(&path, "a 1\nb 1\n").unwrap();
        let mut watch = Watch::default();
        let got = read(&path, now, &mut watch, 100).unwrap_err();
        assert_eq!(got.result(), "changed");
        assert!(!watch.is_due(look(&path).unwrap()));
        assert!(watch.is_due(look(&path).unwrap()), "it is tried again");
    }

    #[test]
    fn what_is_no_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).unwrap_err().result(), "not_a_file");
        assert_eq!(look(&dir.path().join("none")).unwrap_err().result(), "missing");
    }
}
