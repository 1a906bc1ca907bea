//! What a dump becomes while it is read: families, rejections, the account of lines.
use std::borrow::Cow;

use crate::model::{MetricType, Parsed, Rejection, Sample, SampleReason};

use super::families::{Families, Role};
use super::reject::rejection;
use super::scan::{Fault, Pair, literal};
use super::seen::{Seen, same_labels};
use super::structure::Structure;
use super::trace::Trace;
use super::{DumpError, Format, Lines, ParseOptions, number};

pub(super) use super::families::Meta;

/// Why reading ends early.
pub(super) enum Stop {
    /// The first fault, in strict mode.
    Fault(Rejection),
    /// The dump is refused whole.
    Dump(DumpError),
}

pub(super) struct Collector<'a, 'o> {
    pub(super) strict: bool,
    pub(super) lines: Lines,
    format: Format,
    options: &'o ParseOptions,
    families: Families<'a>,
    seen: Seen,
    structure: Option<Structure>,
    /// Where the lines went, if anybody asked.
    trace: Option<Trace>,
    /// Where the current line begins in the body.
    line_start: usize,
    series: usize,
    rejections: Vec<Rejection>,
    counts: [u64; SampleReason::ALL.len()],
}

impl<'a, 'o> Collector<'a, 'o> {
    pub(super) fn new(format: Format, strict: bool, body: &[u8], options: &'o ParseOptions) -> Collector<'a, 'o> {
        // A hint, bounded by the limit and by what a line costs at least; lines of real
        // dumps have 60 bytes and more.
        let series = (body.len() / 64).min(options.max_series);
        Collector {
            strict,
            lines: Lines::default(),
            format,
            options,
            families: Families::new(format, strict),
            seen: Seen::new(series, u64::MAX),
            structure: (strict && format == Format::OpenMetrics).then(Structure::default),
            trace: None,
            line_start: 0,
            series: 0,
            rejections: Vec::new(),
            counts: [0; SampleReason::ALL.len()],
        }
    }

    /// Keeps account of where each line went.
    pub(super) fn traced(self) -> Collector<'a, 'o> {
        Collector { trace: Some(Trace::default()), ..self }
    }

    fn line_number(&self) -> u32 {
        u32::try_from(self.lines.total).unwrap_or(u32::MAX)
    }

    /// Counts a rejected line, or ends it all in strict mode.
    pub(super) fn reject(&mut self, line: &[u8], fault: Fault) -> Result<(), Stop> {
        if self.strict {
            return Err(Stop::Fault(rejection(self.line_number(), line, fault)));
        }
        self.lines.rejected += 1;
        if let Some(at) = SampleReason::ALL.iter().position(|r| *r == fault.reason) {
            self.counts[at] += 1;
        }
        if self.rejections.len() < Parsed::KEPT_REJECTIONS {
            let kept = rejection(self.line_number(), line, fault);
            self.rejections.push(kept);
        }
        Ok(())
    }

    pub(super) fn meta(&mut self, line: &'a str, name: Cow<'a, str>, meta: Meta<'a>) -> Result<(), Stop> {
        let fault = |what| Fault { at: 0, reason: SampleReason::Metadata, what };
        let length = name.len();
        if length > self.options.max_label_value {
            return Err(self.too_long("metric name", length, self.options.max_label_value));
        }
        let at = match self.families.meta(name, meta) {
            Ok(at) => at,
            Err(what) => return self.reject(line.as_bytes(), fault(what)),
        };
        self.lines.metadata += 1;
        if let Some(trace) = &mut self.trace {
            trace.metadata(self.line_start, at);
        }
        if let Some(structure) = &mut self.structure
            && let Err(what) = structure.meta(at, &self.families.all)
        {
            let reason = SampleReason::Structure;
            return self.reject(line.as_bytes(), Fault { at: 0, reason, what });
        }
        Ok(())
    }

    /// Takes a sample. `value_at`: where its value begins in the line; `seconds`: its
    /// OpenMetrics timestamp as it was written.
    pub(super) fn sample(
        &mut self,
        line: &'a str,
        mut sample: Sample<'a>,
        value_at: usize,
        pairs: &[Pair<'a>],
        seconds: Option<f64>,
    ) -> Result<(), Stop> {
        self.check_lengths(&sample, pairs)?;
        let (family, role) = self.families.of_sample(&sample);
        let fault = |what| Fault { at: 0, reason: SampleReason::Structure, what };
        if let Err(what) = check_role(role, pairs) {
            return self.reject(line.as_bytes(), fault(what));
        }
        if let Some(structure) = &mut self.structure
            && let Err(what) = structure.sample(family, &self.families.all, &sample, pairs, seconds)
        {
            return self.reject(line.as_bytes(), fault(what));
        }
        if let Some(exemplar) = sample.exemplar
            && role != Role::Bucket
            && !self.is_counter_sample(family, &sample.name)
        {
            sample.exemplar = None;
            let at = line.len() - exemplar.len();
            let reason = SampleReason::Exemplar;
            let what = "an exemplar on a sample that is neither bucket nor counter; the sample stays";
            self.reject(line.as_bytes(), Fault { at, reason, what })?;
        }
        if let Some(trace) = &mut self.trace {
            let index = self.families.all[family as usize].samples.len();
            trace.sample(self.line_start, value_at, family, index);
        }
        self.place(line, family, sample, pairs)
    }

    fn is_counter_sample(&self, family: u32, name: &str) -> bool {
        let family = &self.families.all[family as usize];
        family.kind == MetricType::Counter && family.name == name
    }

    fn place(&mut self, line: &'a str, family: u32, sample: Sample<'a>, pairs: &[Pair<'a>]) -> Result<(), Stop> {
        let samples = &self.families.all[family as usize].samples;
        let place = (family, samples.len() as u32);
        let bits = self.seen.bits(&sample.name, pairs);
        let all = &self.families.all;
        let same = |(f, i): (u32, u32)| {
            let other = &all[f as usize].samples[i as usize];
            other.name == sample.name && same_labels(&other.labels, pairs)
        };
        if let Some((f, i)) = self.seen.insert(bits, place, same) {
            let known = &mut self.families.all[f as usize].samples[i as usize];
            // OpenMetrics tells points apart below a millisecond.
            let point =
                known.timestamp != sample.timestamp || self.format == Format::OpenMetrics && sample.timestamp.is_some();
            if point {
                *known = sample;
                if let Some(trace) = &mut self.trace {
                    trace.regular = false;
                }
                self.lines.samples += 1;
                return Ok(());
            }
            let reason = SampleReason::DuplicateSeries;
            let what = "the same series a second time; the first one counts";
            return self.reject(line.as_bytes(), Fault { at: 0, reason, what });
        }
        if self.series >= self.options.max_series {
            return Err(Stop::Dump(DumpError::TooManySeries {
                limit: self.options.max_series,
                line: self.line_number(),
            }));
        }
        self.series += 1;
        self.lines.samples += 1;
        self.families.mark_sampled(family);
        self.families.all[family as usize].samples.push(sample);
        Ok(())
    }

    fn check_lengths(&self, sample: &Sample<'_>, pairs: &[Pair<'_>]) -> Result<(), Stop> {
        let (names, values) = (self.options.max_label_name, self.options.max_label_value);
        if sample.name.len() > values {
            return Err(self.too_long("metric name", sample.name.len(), values));
        }
        if sample.labels.len() <= names.min(values) {
            return Ok(());
        }
        for pair in pairs {
            // Escapes only make a text longer: the exact length is worth its cost only
            // beyond the limit.
            if pair.name.len() > names {
                let quotes = if pair.name.starts_with('"') { 2 } else { 0 };
                let bytes = literal(&pair.name).len() - quotes;
                if bytes > names {
                    return Err(self.too_long("label name", bytes, names));
                }
            }
            if pair.value.len() > values {
                let bytes = literal(&pair.value).len();
                if bytes > values {
                    return Err(self.too_long("label value", bytes, values));
                }
            }
        }
        Ok(())
    }

    fn too_long(&self, what: &'static str, bytes: usize, limit: usize) -> Stop {
        Stop::Dump(DumpError::LabelTooLong { line: self.line_number(), what, bytes, limit })
    }

    pub(super) fn finish(mut self) -> Result<(Parsed<'a>, Lines, Option<Trace>), Stop> {
        if let Some(structure) = &mut self.structure
            && let Err(what) = structure.finish(&self.families.all)
        {
            let reason = SampleReason::Structure;
            self.reject(b"# EOF", Fault { at: 0, reason, what })?;
        }
        let good = self.lines.samples + self.lines.comments + self.lines.metadata;
        let eof = u64::from(self.format == Format::OpenMetrics);
        if self.lines.samples == 0
            && self.lines.rejected > good - eof.min(good)
            && let Some(first) = self.rejections.first()
        {
            return Err(Stop::Dump(DumpError::NotADump { line: first.line, first: first.detail.clone() }));
        }
        let trace = self.trace.filter(|t| t.regular && self.lines.rejected == 0);
        let counted = SampleReason::ALL.into_iter().zip(self.counts);
        let parsed = Parsed {
            families: self.families.all,
            rejections: self.rejections,
            rejected: counted.filter(|(_, n)| *n > 0).collect(),
        };
        Ok((parsed, self.lines, trace))
    }
}

/// The rules that hold in both formats and both modes: without them no exposition of
/// the family would be valid.
fn check_role(role: Role, pairs: &[Pair<'_>]) -> Result<(), &'static str> {
    let number = |name: &str| {
        let label = pairs.iter().find(|p| p.name == name);
        label.map(|p| number::as_f64(&p.value))
    };
    match role {
        Role::Plain => Ok(()),
        Role::Bare => Err("a histogram has no sample under its bare name"),
        Role::Bucket => match number("le") {
            None => Err("a bucket without the label le"),
            Some(bound) if bound.is_some_and(|b| !b.is_nan()) => Ok(()),
            Some(_) => Err("a bucket whose le is no number"),
        },
        Role::Quantile => match number("quantile") {
            Some(None) => Err("a quantile that is no number"),
            _ => Ok(()),
        },
    }
}

/// The lines of a body: as text where they are text.
pub(super) struct LineReader<'a> {
    body: &'a [u8],
    /// The body, if all of it is UTF-8: then no line needs a check of its own.
    text: Option<&'a str>,
    at: usize,
}

impl<'a> LineReader<'a> {
    pub(super) fn new(body: &'a [u8]) -> LineReader<'a> {
        LineReader { body, text: std::str::from_utf8(body).ok(), at: 0 }
    }

    /// The next line that is UTF-8; those before it that are not are rejected.
    pub(super) fn next(&mut self, out: &mut Collector<'a, '_>) -> Result<Option<&'a str>, Stop> {
        while self.at < self.body.len() {
            let start = self.at;
            let end = match memchr::memchr(b'\n', &self.body[start..]) {
                Some(length) => start + length,
                None => self.body.len(),
            };
            self.at = end + 1;
            out.line_start = start;
            out.lines.total += 1;
            if let Some(text) = self.text {
                return Ok(Some(&text[start..end]));
            }
            let line = &self.body[start..end];
            match std::str::from_utf8(line) {
                Ok(line) => return Ok(Some(line)),
                Err(error) => {
                    let fault =
                        Fault { at: error.valid_up_to(), reason: SampleReason::Utf8, what: "bytes that are not UTF-8" };
                    out.reject(line, fault)?;
                }
            }
        }
        Ok(None)
    }
}
