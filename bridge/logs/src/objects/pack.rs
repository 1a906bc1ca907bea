//! Small segments of a closed day into one.
use std::io;

use super::segment::{Position, Segment, job_in, pack, position_of};
use super::{Found, Objects};
use crate::entry::Head;
use crate::files::index::Span;

/// A packed segment has at most so many bytes of lines, unless a single one had more.
const PACKED: u64 = 4 << 20;

/// Neighbours that fit into one segment; those that stay as they are alone.
pub(super) fn groups(segments: Vec<Found>) -> Vec<Vec<Found>> {
    let mut groups: Vec<Vec<Found>> = Vec::new();
    let mut bytes = 0;
    for found in segments {
        let fits = bytes + found.segment.bytes <= PACKED;
        bytes = if fits { bytes + found.segment.bytes } else { found.segment.bytes };
        match groups.last_mut() {
            Some(group) if fits => group.push(found),
            _ => groups.push(vec![found]),
        }
    }
    groups
}

/// Writes one segment for a group; `None` for a group of one.
pub(super) async fn pack_group(objects: &Objects, group: &[Found]) -> io::Result<Option<Found>> {
    let [first, .., last] = group else { return Ok(None) };
    let mut merged = Merged { lines: Vec::new(), mark: None, entries: 0, span: Span::EMPTY };
    let mut job = None;
    for found in group {
        let lines = objects.get(&found.path).await?;
        job = job.or_else(|| job_in(&lines));
        merged.add(&lines);
    }
    let Some(job) = job else { return Ok(None) };
    let segment = Segment {
        first: first.segment.first,
        last: last.segment.last,
        entries: merged.entries,
        cut: group.iter().map(|found| found.segment.cut).sum(),
        bytes: merged.lines.len() as u64,
        span: merged.span,
    };
    let mut path = first.path.parts();
    path.next_back();
    let path = path.collect::<object_store::path::Path>().join(segment.name());
    let object = pack(&job, &merged.lines)?;
    let stored = object.len() as u64;
    objects.create(&path, object).await?;
    Ok(Some(Found { segment, path, stored, modified: last.modified, ..first.clone() }))
}

/// Lines of overlapping segments, each once.
struct Merged {
    lines: Vec<u8>,
    mark: Option<Position>,
    entries: u64,
    span: Span,
}

impl Merged {
    fn add(&mut self, lines: &[u8]) {
        for line in lines.split(|b| *b == b'\n') {
            let Some(head) = Head::parse(line) else { continue };
            let position = position_of(&head);
            if position <= self.mark {
                continue;
            }
            self.mark = position;
            self.entries += 1;
            self.span.add(head.at, head.level.bit());
            self.lines.extend_from_slice(line);
            self.lines.push(b'\n');
        }
    }
}
