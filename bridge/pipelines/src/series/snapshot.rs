//! Series as bytes, and back: version 1.
//!
//! ```text
//! version, hash of the templates,
//! subjects: sort, value, families: place of the metric among the templates', cells: labels, value
//! ```
use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use super::bytes::{Broken, Take, put_float, put_number, put_text};
use super::cell::{Cell, Classic};
use super::cells::Cells;
use super::native::NativeHistogram;
use super::{Series, SeriesLimits};
use crate::event::Subject;
use crate::template::TemplateSet;

const VERSION: u8 = 1;

/// Why bytes are no series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// Another version of the format.
    #[error(
        "series of version {0}, this program reads version {VERSION}; use the program that wrote them, or a newer one"
    )]
    Version(u8),
    /// Other templates than those the series are of.
    #[error("series of the templates {0}: load those")]
    Templates(String),
    /// Bytes that follow no version.
    #[error("series that are cut off or damaged; use another snapshot")]
    Broken,
}

impl From<Broken> for SnapshotError {
    fn from(_: Broken) -> SnapshotError {
        SnapshotError::Broken
    }
}

impl Series {
    /// The series as bytes; equal series, equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_text(&mut out, &self.templates);
        put_number(&mut out, self.subjects.len() as u64);
        for entry in &self.subjects {
            out.push(u8::from(matches!(entry.subject, Subject::Job(_))));
            put_text(&mut out, entry.subject.value());
            put_number(&mut out, entry.cells.families().count() as u64);
            for (at, cells) in entry.cells.families() {
                put_number(&mut out, u64::from(at));
                put_number(&mut out, cells.len() as u64);
                for (labels, cell) in cells.iter() {
                    put_text(&mut out, labels);
                    put_cell(&mut out, cell);
                }
            }
        }
        out
    }

    /// The hash of the templates that encoded series are of: what [`Series::decode`] needs.
    ///
    /// # Errors
    /// Another version, or damage.
    pub fn templates_of(bytes: &[u8]) -> Result<&str, SnapshotError> {
        let mut take = Take(bytes);
        head(&mut take)
    }

    /// Series from bytes; every subject is dirty.
    ///
    /// # Errors
    /// Another version, other templates, or damage.
    pub fn decode(bytes: &[u8], templates: &TemplateSet, limits: SeriesLimits) -> Result<Series, SnapshotError> {
        let mut take = Take(bytes);
        let hash = head(&mut take)?;
        let mut series = Series::new(limits);
        if hash != templates.hash() && !hash.is_empty() {
            return Err(SnapshotError::Templates(hash.to_owned()));
        }
        if !hash.is_empty() {
            series.adopt(templates);
        }
        let mut texts = HashSet::new();
        for _ in 0..take.count()? {
            read_subject(&mut take, &mut series, &mut texts)?;
        }
        if take.0.is_empty() { Ok(series) } else { Err(SnapshotError::Broken) }
    }
}

fn head<'a>(take: &mut Take<'a>) -> Result<&'a str, SnapshotError> {
    match take.byte()? {
        VERSION => Ok(take.text()?),
        other => Err(SnapshotError::Version(other)),
    }
}

/// `texts` are the label sets so far: most subjects have the same ones.
fn read_subject(take: &mut Take<'_>, series: &mut Series, texts: &mut HashSet<Arc<str>>) -> Result<(), Broken> {
    let sort = take.byte()?;
    let value: Box<str> = take.text()?.into();
    let subject = match sort {
        0 => Subject::Pipeline(value),
        1 => Subject::Job(value),
        _ => return Err(Broken),
    };
    if series.index.contains_key(&subject) {
        return Err(Broken);
    }
    let mut cells = Cells::default();
    for _ in 0..take.count()? {
        let at = u16::try_from(take.number()?).map_err(|_| Broken)?;
        let kind = &series.metrics.get(usize::from(at)).ok_or(Broken)?.kind;
        for _ in 0..take.count()? {
            let text = shared(texts, take.text()?);
            let cell = take_cell(take)?;
            if !cell.is_of(kind) {
                return Err(Broken);
            }
            cells.insert(at, series.plans.label_set(text), cell);
        }
    }
    let place = series.insert(subject);
    series.subjects[place].cells = cells;
    series.mark(place);
    Ok(())
}

fn shared(texts: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = texts.get(text) {
        return Arc::clone(known);
    }
    let new: Arc<str> = text.into();
    texts.insert(Arc::clone(&new));
    new
}

fn put_cell(out: &mut Vec<u8>, cell: &Cell) {
    match cell {
        Cell::Number(number) => {
            out.push(0);
            put_float(out, *number);
        }
        Cell::Classic(classic) => {
            out.push(1);
            put_classic(out, classic);
        }
        Cell::Native(both) => {
            out.push(2);
            put_classic(out, &both.1);
            put_native(out, &both.0);
        }
    }
}

fn take_cell(take: &mut Take<'_>) -> Result<Cell, Broken> {
    match take.byte()? {
        0 => Ok(Cell::Number(take.float()?)),
        1 => Ok(Cell::Classic(take_classic(take)?)),
        2 => {
            let classic = take_classic(take)?;
            Ok(Cell::Native(Box::new((take_native(take)?, classic))))
        }
        _ => Err(Broken),
    }
}

fn put_classic(out: &mut Vec<u8>, classic: &Classic) {
    put_number(out, classic.counts.len() as u64);
    for count in &classic.counts {
        put_number(out, *count);
    }
    put_float(out, classic.sum);
}

fn take_classic(take: &mut Take<'_>) -> Result<Classic, Broken> {
    let length = take.count()?;
    let counts: Result<Box<[u64]>, Broken> = (0..length).map(|_| take.number()).collect();
    Ok(Classic { counts: counts?, sum: take.float()? })
}

/// No finite number is in a bucket beyond, at the finest resolution: 2^-1074 to 2^1024, each
/// power of two in 256 buckets.
const BUCKETS: std::ops::RangeInclusive<i32> = -1074 * 256..=1024 * 256;

fn put_native(out: &mut Vec<u8>, native: &NativeHistogram) {
    out.extend_from_slice(&native.schema.to_le_bytes());
    put_number(out, native.zero_count);
    put_number(out, native.buckets.len() as u64);
    for (at, count) in &native.buckets {
        out.extend_from_slice(&at.to_le_bytes());
        put_number(out, *count);
    }
    put_number(out, native.count);
    put_float(out, native.sum);
}

fn take_native(take: &mut Take<'_>) -> Result<NativeHistogram, Broken> {
    let mut native = NativeHistogram::new(i8::from_le_bytes([take.byte()?]));
    if !(-4..=8).contains(&native.schema) {
        return Err(Broken);
    }
    native.zero_count = take.number()?;
    for _ in 0..take.count()? {
        let at = i32::from_le_bytes(take.bytes(4)?.try_into().map_err(|_| Broken)?);
        if !BUCKETS.contains(&at) {
            return Err(Broken);
        }
        native.buckets.insert(at, take.number()?);
    }
    native.count = take.number()?;
    native.sum = take.float()?;
    Ok(native)
}
