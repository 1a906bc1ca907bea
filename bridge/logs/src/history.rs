//! Jobs whose ids begin alike, the newest day first: how what happened long ago is found
//! without reading everything before it.
use std::io::{self, ErrorKind};

use crate::entry::Head;
use crate::files::job::{Paths, names};
use crate::name::{RUNS, file_name, job_of};
use crate::objects;
use crate::read::{LogReader, Place, TRIES, days, open};

/// The job under which the reports of a pipeline's runs are kept.
pub fn runs_of(pipeline: &str) -> String {
    format!("{RUNS}{pipeline}")
}

/// Reports of runs have line numbers from here on, which no line of a record has: what a job
/// of the same id says is none.
pub const FIRST_REPORT: u32 = 1 << 30;

/// A stored line, as it lies in the store.
#[derive(Debug, Clone, Copy)]
pub struct StoredLine<'a> {
    /// Unix nanoseconds.
    pub at: i64,
    /// `topic/partition/offset/line`.
    pub source: &'a str,
    /// The JSON object, without newline.
    pub line: &'a [u8],
}

impl<'a> StoredLine<'a> {
    /// Topic and partition of a report of a run; `None` for any other line.
    pub fn reported(&self) -> Option<(&'a str, i32)> {
        let mut parts = self.source.rsplitn(4, '/');
        let (line, _, partition, topic) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let line: u32 = line.parse().ok()?;
        (line >= FIRST_REPORT).then_some((topic, partition.parse().ok()?))
    }

    /// Whether these bytes stand in it.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        memchr::memmem::find(self.line, bytes).is_some()
    }
}

impl LogReader {
    /// The UTC dates with entries, the newest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn newest_days(&self) -> io::Result<Vec<String>> {
        match &self.place {
            Place::Dir(dir) => {
                let days = days(dir)?.into_iter().rev();
                Ok(days.filter_map(|(_, path)| Some(path.file_name()?.to_str()?.to_owned())).collect())
            }
            Place::Objects(objects) => objects::read::newest_days(objects),
        }
    }

    /// The pipelines with reports of runs on `day`, by the names of their files.
    ///
    /// # Errors
    /// What the system says.
    pub fn reported_on(&self, day: &str) -> io::Result<Vec<String>> {
        let day = match &self.place {
            Place::Dir(dir) => dir.join(day),
            Place::Objects(objects) => return objects::read::reported_on(objects, day),
        };
        let names = match names(&day) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut found = Vec::new();
        for name in names {
            // The id of a hashed name stands in its index.
            let job = match job_of(&name) {
                Some(job) => Some(job),
                None if name.starts_with('~') => open(&Paths::new(&day, &name))?.map(|opened| opened.index.job),
                None => None,
            };
            found.extend(job.as_deref().and_then(|job| job.strip_prefix(RUNS)).map(str::to_owned));
        }
        Ok(found)
    }

    /// Hands over every line of a job's day, in the order of arrival; the bytes that were read.
    ///
    /// # Errors
    /// What the system says; lines before it were handed over.
    pub fn lines_on(&self, job: &str, day: &str, each: &mut dyn FnMut(StoredLine<'_>)) -> io::Result<u64> {
        let Some(name) = file_name(job) else { return Ok(0) };
        let paths = match &self.place {
            Place::Dir(dir) => Paths::new(&dir.join(day), &name),
            Place::Objects(objects) => return objects::read::lines_on(objects, &self.hot, job, day, each),
        };
        let (mut next, mut attempt) = (0, 1);
        loop {
            match self.lines_from(job, &paths, &mut next, each) {
                Ok(()) => return Ok(next),
                // It changed its form (packed, unpacked) between two steps of ours.
                Err(_) if attempt < TRIES => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves `next` on with each block: blocks begin where they began, in either form.
    fn lines_from(
        &self,
        job: &str,
        paths: &Paths,
        next: &mut u64,
        each: &mut dyn FnMut(StoredLine<'_>),
    ) -> io::Result<()> {
        let Some(opened) = open(paths)? else { return Ok(()) };
        for (i, block) in opened.blocks.iter().enumerate() {
            let end = opened.blocks.get(i + 1).map_or(opened.index.state.len, |next| next.start);
            if end <= *next {
                continue;
            }
            let bytes = self.block(job, &opened, i, end)?;
            let seen = usize::try_from(next.saturating_sub(block.start)).unwrap_or(usize::MAX).min(bytes.len());
            for line in bytes[seen..].split_inclusive(|b| *b == b'\n') {
                // Lines without an index may end in one that is not whole.
                let Some(line) = line.strip_suffix(b"\n") else { continue };
                let head = Head::parse(line);
                head.into_iter().for_each(|head| each(StoredLine { at: head.at, source: head.source, line }));
            }
            *next = end;
        }
        Ok(())
    }
}
