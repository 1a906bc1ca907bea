//! The reader's side: a day of a job is a stream for each partition, merged by time.
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::io;
use std::sync::Arc;

use futures_util::StreamExt;

use super::segment::{Position, job_in, parse_position, position_of};
use super::{AT_ONCE, Found, Objects, by_origin, object_name, to_file};
use crate::entry::{Head, fnv, parse_day};
use crate::history::StoredLine;
use crate::hot::{BlockKey, Hot};
use crate::name::{RUNS, job_of};
use crate::read::{Collector, DAY_NANOS, Job, Jobs, SCAN_BYTES, invalid};

/// Where a page ended: in a day, by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cursor {
    day: i64,
    marks: BTreeMap<Arc<str>, Position>,
}

impl Cursor {
    /// `YYYY-MM-DD.` and `ORIGIN:OFFSET.LINE` of each partition, with commas.
    fn parse(text: &str) -> Option<Cursor> {
        let (day, rest) = text.split_once('.')?;
        let mut cursor = Cursor { day: parse_day(day)?, marks: BTreeMap::new() };
        // `0` stands at the beginning of a store without days.
        for part in rest.split(',').filter(|part| *part != "0") {
            let (origin, position) = part.rsplit_once(':')?;
            cursor.marks.insert(origin.into(), parse_position(position)?);
        }
        Some(cursor)
    }
}

/// One partition's part of a job's day.
struct Stream {
    origin: Arc<str>,
    segments: VecDeque<Found>,
    block: Option<Arc<[u8]>>,
    at: usize,
    /// Everything up to here was told, or is not asked for.
    passed: Option<Position>,
    /// What comes next: its time, where its line lies.
    next: Option<Next>,
}

#[derive(Clone, Copy)]
struct Next {
    at: i64,
    position: Position,
    start: usize,
    end: usize,
}

/// What a day's reading needs.
struct Day<'a> {
    objects: &'a Objects,
    hot: &'a Hot,
    job: &'a str,
    label: &'a str,
    streams: Vec<Stream>,
}

/// As [`crate::LogReader::read`].
pub(crate) fn read(
    objects: &Objects,
    hot: &Hot,
    job: &str,
    cursor: Option<&str>,
    into: &mut Collector<'_>,
) -> io::Result<()> {
    let name = object_name(job).ok_or_else(|| invalid("a job's id has 1 to 900 bytes"))?;
    let parse = |text| Cursor::parse(text).ok_or_else(|| invalid("this is no cursor of a page; begin without one"));
    let from = cursor.map(parse).transpose()?.unwrap_or(Cursor { day: i64::MIN, marks: BTreeMap::new() });
    let since = into.query.since.map_or(i64::MIN, |since| since.div_euclid(DAY_NANOS));
    for (day, label) in objects.wait(objects.days())? {
        if day < from.day.max(since) {
            continue;
        }
        let marks = if day == from.day { from.marks.clone() } else { BTreeMap::new() };
        let found = objects.wait(objects.segments(&objects.job(&label, &name)))?;
        if found.is_empty() {
            continue;
        }
        let cut: u64 = found.iter().map(|f| f.segment.cut).sum();
        let mut reading = Day { objects, hot, job, label: &label, streams: streams(found, &marks) };
        if reading.tell(into)? {
            into.page.has_more = true;
            into.page.cursor = reading.cursor();
            return Ok(());
        }
        into.page.cut += cut;
        into.page.cursor = reading.cursor();
    }
    Ok(())
}

fn streams(found: Vec<Found>, marks: &BTreeMap<Arc<str>, Position>) -> Vec<Stream> {
    let (origins, _) = by_origin(found);
    let stream = |(origin, segments): (Arc<str>, Vec<Found>)| {
        let passed = marks.get(&origin).copied();
        Stream { origin, segments: segments.into(), block: None, at: 0, passed, next: None }
    };
    origins.into_iter().map(stream).collect()
}

impl Day<'_> {
    /// Tells what is asked for; true when the page is full before the day's end.
    fn tell(&mut self, into: &mut Collector<'_>) -> io::Result<bool> {
        loop {
            for i in 0..self.streams.len() {
                if self.streams[i].next.is_none() && !self.advance(i, into)? {
                    return Ok(true);
                }
            }
            let first = self.streams.iter().enumerate().filter_map(|(i, s)| Some((s.next?.at, i)));
            let Some((_, i)) = first.min() else { return Ok(false) };
            if into.is_full() {
                return Ok(true);
            }
            let stream = &mut self.streams[i];
            let (Some(next), Some(block)) = (stream.next.take(), stream.block.clone()) else { return Ok(false) };
            stream.passed = Some(next.position);
            let after = self.cursor();
            into.put(&block[next.start..next.end], after);
        }
    }

    /// Looks for what comes next in a stream; false where that would read too much.
    fn advance(&mut self, i: usize, into: &mut Collector<'_>) -> io::Result<bool> {
        loop {
            let stream = &mut self.streams[i];
            stream.look(into);
            if stream.next.is_some() {
                return Ok(true);
            }
            stream.block = None;
            let Some(found) = stream.segments.pop_front() else { return Ok(true) };
            let segment = found.segment;
            let told = stream.passed.is_some_and(|passed| segment.last <= passed);
            if told || !into.may_have(&segment.span) {
                stream.passed = stream.passed.max(Some(segment.last));
                continue;
            }
            if into.scanned > SCAN_BYTES {
                stream.segments.push_front(found);
                return Ok(false);
            }
            into.scanned += segment.bytes;
            let block = load(self.objects, self.hot, self.job, &found)?;
            let stream = &mut self.streams[i];
            (stream.block, stream.at) = (Some(block), 0);
        }
    }

    fn cursor(&self) -> String {
        let mut text = format!("{}.", self.label);
        for stream in &self.streams {
            let Some((offset, line)) = stream.passed else { continue };
            let comma = if text.len() > self.label.len() + 1 { "," } else { "" };
            let _infallible = write!(text, "{comma}{}:{offset}.{line}", stream.origin);
        }
        if text.ends_with('.') { text + "0" } else { text }
    }
}

impl Stream {
    /// Goes on in the block to what is asked for.
    fn look(&mut self, into: &Collector<'_>) {
        let Some(block) = &self.block else { return };
        while let Some(length) = memchr::memchr(b'\n', &block[self.at..]) {
            let (start, end) = (self.at, self.at + length);
            self.at = end + 1;
            let Some(head) = Head::parse(&block[start..end]) else { continue };
            let Some(position) = position_of(&head).filter(|p| Some(*p) > self.passed) else { continue };
            if into.asks(&head) {
                self.next = Some(Next { at: head.at, position, start, end });
                return;
            }
            self.passed = Some(position);
        }
    }
}

fn load(objects: &Objects, hot: &Hot, job: &str, found: &Found) -> io::Result<Arc<[u8]>> {
    let key = BlockKey { generation: fnv(found.path.as_ref().as_bytes()), start: found.segment.bytes };
    hot.block(job, key, || objects.wait(objects.get(&found.path)))
}

/// As [`crate::LogReader::jobs`].
pub(crate) fn jobs(objects: &Objects, after: Option<&str>, limit: usize) -> io::Result<Jobs> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, day) in objects.wait(objects.days())? {
        for name in objects.wait(objects.names(&objects.day(&day)))? {
            let name = to_file(&name);
            if after.is_none_or(|after| name.as_str() > after) {
                found.entry(name).or_default().push(day.clone());
            }
        }
    }
    let mut jobs = Jobs { jobs: Vec::new(), cursor: None, has_more: found.len() > limit };
    let some: Vec<(String, Vec<String>)> = found.into_iter().take(limit).collect();
    jobs.cursor = some.last().map(|(name, _)| name.clone());
    let asked: Vec<_> = some.iter().map(|(name, days)| job(objects, name, days)).collect();
    let all = async { Ok(futures_util::stream::iter(asked).buffered(AT_ONCE).collect::<Vec<_>>().await) };
    for job in objects.wait(all)? {
        jobs.jobs.extend(job?);
    }
    Ok(jobs)
}

/// By the names of its segments; what two of them have is counted twice until they are packed.
async fn job(objects: &Objects, name: &str, days: &[String]) -> io::Result<Option<Job>> {
    let mut job = Job::empty(name);
    for day in days {
        let (kept, _) = by_origin(objects.segments(&objects.job(day, &super::to_object(name))).await?);
        let mut seen = false;
        for found in kept.iter().flat_map(|(_, found)| found) {
            if job.job_run_id.is_empty() {
                job.job_run_id = job_in(&objects.get(&found.path).await?).unwrap_or_default();
            }
            seen = true;
            job.entries += found.segment.entries;
            job.cut += found.segment.cut;
            job.bytes += found.segment.bytes;
            job.stored_bytes += found.stored;
            job.first_at = job.first_at.min(found.segment.span.min_at);
            job.last_at = job.last_at.max(found.segment.span.max_at);
        }
        job.days.extend(seen.then(|| day.clone()));
    }
    Ok((!job.days.is_empty()).then_some(job))
}

/// As [`crate::LogReader::newest_days`].
pub(crate) fn newest_days(objects: &Objects) -> io::Result<Vec<String>> {
    Ok(objects.wait(objects.days())?.into_iter().rev().map(|(_, day)| day).collect())
}

/// As [`crate::LogReader::reported_on`].
pub(crate) fn reported_on(objects: &Objects, day: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in objects.wait(objects.names(&objects.day(day)))? {
        let file = to_file(&name);
        let id = match job_of(&file) {
            None if file.starts_with('~') => objects.wait(id_of(objects, day, &name))?,
            id => id,
        };
        found.extend(id.as_deref().and_then(|id| id.strip_prefix(RUNS)).map(str::to_owned));
    }
    Ok(found)
}

async fn id_of(objects: &Objects, day: &str, name: &str) -> io::Result<Option<String>> {
    match objects.segments(&objects.job(day, name)).await?.first() {
        Some(found) => Ok(job_in(&objects.get(&found.path).await?)),
        None => Ok(None),
    }
}

/// As [`crate::LogReader::lines_on`].
pub(crate) fn lines_on(
    objects: &Objects,
    hot: &Hot,
    job: &str,
    day: &str,
    each: &mut dyn FnMut(StoredLine<'_>),
) -> io::Result<u64> {
    let Some(name) = object_name(job) else { return Ok(0) };
    let (origins, _) = by_origin(objects.wait(objects.segments(&objects.job(day, &name)))?);
    let mut bytes = 0;
    for (_, segments) in origins {
        let mut mark = None;
        for found in segments {
            let block = load(objects, hot, job, &found)?;
            bytes += block.len() as u64;
            for line in block.split(|b| *b == b'\n') {
                let Some(head) = Head::parse(line) else { continue };
                let position = position_of(&head);
                if position > mark {
                    mark = position;
                    each(StoredLine { at: head.at, source: head.source, line });
                }
            }
        }
    }
    Ok(bytes)
}
