//! Writes what a scrape shows: [`write()`] merges [`Sources`] and hands the exposition on
//! in chunks.
//!
//! - **Text 0.0.4 and 1.0.0.** Info and stateset become gauges, a gaugehistogram's
//!   sample names a gauge each, counters' `_created` a gauge of their own. Timestamps in
//!   milliseconds, no exemplars, no units.
//! - **OpenMetrics.** No sample is ever renamed: what cannot be said with its type is
//!   `unknown`. Timestamps in seconds, exemplars where they have a place, `# EOF`.
//! - **Protobuf**, delimited: types as in text; `_created` is a field, so are exemplars and a
//!   histogram's native form. What a message of its type cannot say is `untyped` (module
//!   `protobuf`). A family is one message and goes out when it is whole.
//! - **Names beyond the legacy grammar** are quoted if the client takes that
//!   (`escaping=allow-utf-8`), else escaped with underscores; what then coincides is
//!   written once, counted as a [`ConflictKind::Series`](crate::merge::ConflictKind).
//! - `le`, `quantile` and all values keep their text.
//!
//! A sample's own timestamp is kept, as a direct scrape would; an origin's
//! [`stamp`](crate::view::Origin::stamp) is written on samples that have none.
mod chunks;
pub(crate) mod escape;
mod line;
mod openmetrics;
mod protobuf;
mod seen;
mod text;

use std::hint::black_box;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::merge::{Compare, ConflictKind, Conflicts, Output, Part, Plan, Select, Source, Sources, origin_name};
use crate::store::StoredSample;
use crate::store::shape::{Name, ShapedFamily, Stage};
use chunks::Chunks;
use protobuf::{Message, Unfit};
use seen::Seen;

pub use chunks::CHUNK_BYTES;
pub(crate) use openmetrics::keyword;

/// An exposition format that this bridge writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4: legacy names.
    Text004,
    /// Prometheus text 1.0.0.
    Text100 {
        /// Quoted UTF-8 names (`escaping=allow-utf-8`), else underscores.
        utf8: bool,
    },
    /// OpenMetrics text 0.0.1, for clients that ask for nothing newer: legacy names.
    OpenMetrics001,
    /// OpenMetrics text 1.0.0.
    OpenMetrics100 {
        /// Quoted UTF-8 names (`escaping=allow-utf-8`), else underscores.
        utf8: bool,
    },
    /// Delimited `io.prometheus.client.MetricFamily`.
    Protobuf {
        /// UTF-8 names (`escaping=allow-utf-8`), else underscores.
        utf8: bool,
    },
}

impl Format {
    /// The response's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::Text100 { utf8: true } => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Format::Text100 { utf8: false } => "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            Format::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Format::OpenMetrics100 { utf8: true } => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Format::OpenMetrics100 { utf8: false } => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Format::Protobuf { utf8: true } => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8"
            }
            Format::Protobuf { utf8: false } => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
            }
        }
    }

    /// Whether it is OpenMetrics.
    pub fn is_openmetrics(self) -> bool {
        matches!(self, Format::OpenMetrics001 | Format::OpenMetrics100 { .. })
    }

    /// Whether it is protobuf.
    pub fn is_protobuf(self) -> bool {
        matches!(self, Format::Protobuf { .. })
    }

    /// Whether a creation time belongs to its family, rather than being a gauge of its own.
    pub(crate) fn keeps_created(self) -> bool {
        self.is_openmetrics() || self.is_protobuf()
    }

    /// Whether names beyond the legacy grammar are written as they are rather than escaped.
    pub fn utf8(self) -> bool {
        matches!(
            self,
            Format::Text100 { utf8: true } | Format::OpenMetrics100 { utf8: true } | Format::Protobuf { utf8: true }
        )
    }
}

/// What one exposition was.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Families written.
    pub families: u64,
    /// Samples written.
    pub samples: u64,
    /// What the origins disagreed on.
    pub conflicts: Conflicts,
    /// The sink broke off.
    pub stopped: bool,
}

/// Writes the sources in a format. The sink gets chunks of about [`CHUNK_BYTES`], in
/// order; when it breaks, nothing more is written. Blocks as long as the sink does, and
/// holds immutable dumps only.
pub fn write(sources: &Sources, format: Format, sink: &mut dyn FnMut(Bytes) -> ControlFlow<()>) -> Summary {
    let mut plan = Plan::new(sources, format);
    let outputs = std::mem::take(&mut plan.outputs);
    let message = format.is_protobuf().then(Message::default);
    let chunks = Chunks::new(sink);
    let mut writer = Writer { sources, plan, format, chunks, message, members: Vec::new(), families: 0, samples: 0 };
    let mut flow = outputs.iter().try_for_each(|output| writer.family(output));
    if flow.is_continue() {
        if format.is_openmetrics() {
            writer.chunks.buffer().extend_from_slice(openmetrics::END);
        }
        flow = writer.chunks.flush();
    }
    Summary {
        bytes: writer.chunks.handed_on(),
        families: writer.families,
        samples: writer.samples,
        conflicts: writer.plan.conflicts,
        stopped: flow.is_break(),
    }
}

/// What the sources disagree on, without writing them; series are not compared.
pub fn conflicts(sources: &Sources, format: Format) -> Conflicts {
    Plan::new(sources, format).conflicts
}

/// The whole exposition in one piece: for small ones, and for tests.
pub fn to_bytes(sources: &Sources, format: Format) -> (Vec<u8>, Summary) {
    let mut all = Vec::new();
    let summary = write(sources, format, &mut |chunk| {
        all.extend_from_slice(&chunk);
        ControlFlow::Continue(())
    });
    (all, summary)
}

/// The values of one family lie in as many places as there are origins. Those of the
/// origins that come so many later are read ahead.
const AHEAD: [(usize, Stage); 3] = [(18, Stage::Dump), (12, Stage::Marks), (6, Stage::Values)];

struct Writer<'s, 'k> {
    sources: &'s Sources,
    plan: Plan<'s>,
    format: Format,
    chunks: Chunks<'k>,
    /// The family at hand, of protobuf only.
    message: Option<Message>,
    /// Room for the members of the family at hand.
    members: Vec<(u32, u32)>,
    families: u64,
    samples: u64,
}

impl Writer<'_, '_> {
    fn family(&mut self, output: &Output<'_>) -> ControlFlow<()> {
        if self.message.is_some() {
            return self.message(output);
        }
        let out = self.chunks.buffer();
        match self.format.is_openmetrics() {
            true => openmetrics::push_header(out, output),
            false => text::push_header(out, output),
        }
        self.families += 1;
        self.samples(output)
    }

    /// Writes a family as protobuf. If its type cannot be kept, it comes to light only now, by
    /// its samples: each of its sample names is then a family. No other output has one of
    /// these names, since the plan has it claim them.
    fn message(&mut self, output: &Output<'_>) -> ControlFlow<()> {
        let before = (self.samples, self.plan.conflicts.mark());
        if let Some(message) = &mut self.message {
            message.begin(output);
        }
        self.samples(output)?;
        let Some(message) = &mut self.message else {
            return ControlFlow::Continue(());
        };
        match message.end() {
            Ok(()) if message.is_empty() => return ControlFlow::Continue(()),
            Ok(()) => {}
            Err(Unfit) => {
                self.samples = before.0;
                self.plan.conflicts.back_to(before.1);
                return self.plan.cut(output, self.sources, self.format).iter().try_for_each(|cut| self.message(cut));
            }
        }
        self.families += 1;
        message.push_length(self.chunks.buffer());
        for piece in message.pieces() {
            self.chunks.flush()?;
            self.chunks.hand_on(piece)?;
        }
        self.chunks.buffer().extend_from_slice(message.rest());
        self.chunks.line_done()
    }

    fn samples(&mut self, output: &Output<'_>) -> ControlFlow<()> {
        let mut seen = Seen::new(output, self.format);
        let mut members = std::mem::take(&mut self.members);
        for part in &output.parts {
            self.plan.members(part, &mut members);
            for at in 0..members.len() {
                self.read_ahead(&members, at);
                self.member(output, part, members[at], &mut seen)?;
            }
        }
        self.members = members;
        ControlFlow::Continue(())
    }

    fn read_ahead(&self, members: &[(u32, u32)], at: usize) {
        for (distance, stage) in AHEAD {
            if let Some((source, family)) = members.get(at + distance)
                && let Some(shaped) = self.sources.all[*source as usize].dump.shaped()
            {
                black_box(shaped.touch(*family as usize, stage));
            }
        }
    }

    fn member(
        &mut self,
        output: &Output<'_>,
        part: &Part<'_>,
        (source, family): (u32, u32),
        seen: &mut Seen,
    ) -> ControlFlow<()> {
        let sources = self.sources;
        let from = &sources.all[source as usize];
        let suspect = sources.suspects[source as usize];
        if self.message.is_none()
            && let Some(shaped) = template(output, family, from, suspect)
        {
            return self.copied(part, &shaped);
        }
        let Some(family) = from.dump.family(family as usize) else {
            return ControlFlow::Continue(());
        };
        let escaping = family.traits.utf8 && !self.format.utf8();
        for mut sample in family.samples() {
            sample.timestamp = sample.timestamp.or(from.stamp);
            if escaping {
                self.escaped(output, part, &sample, source, seen)?;
                continue;
            }
            if !selects(&part.select, Name::from(sample.name.as_ref())) {
                continue;
            }
            if !seen.admits(&sample, None, source, suspect) {
                self.left_out(output, source, &sample);
                continue;
            }
            self.line(output, &sample)?;
        }
        ControlFlow::Continue(())
    }

    /// Writes lines by copying: template, injected labels, value.
    fn copied(&mut self, part: &Part<'_>, family: &ShapedFamily<'_>) -> ControlFlow<()> {
        let injected = family.injected().as_bytes();
        for line in family.lines() {
            if !selects(&part.select, line.name) {
                continue;
            }
            line::push_template(self.chunks.buffer(), line.name, injected, line.rest.as_bytes(), line.value.as_bytes());
            self.samples += 1;
            self.chunks.line_done()?;
        }
        ControlFlow::Continue(())
    }

    /// A sample whose names may have to be escaped first.
    fn escaped(
        &mut self,
        output: &Output<'_>,
        part: &Part<'_>,
        sample: &StoredSample<'_>,
        source: u32,
        seen: &mut Seen,
    ) -> ControlFlow<()> {
        let name = escape::metric_name(&sample.name);
        if !selects(&part.select, Name::from(name.as_ref())) {
            return ControlFlow::Continue(());
        }
        let Some([injected, labels]) = escape::label_texts([sample.injected, sample.labels]) else {
            self.left_out(output, source, sample);
            return ControlFlow::Continue(());
        };
        let plain = StoredSample { name, injected: &injected, labels: &labels, ..*sample };
        if !seen.admits(&plain, Some(sample), source, true) {
            self.left_out(output, source, sample);
            return ControlFlow::Continue(());
        }
        self.line(output, &plain)
    }

    fn line(&mut self, output: &Output<'_>, sample: &StoredSample<'_>) -> ControlFlow<()> {
        if let Some(message) = &mut self.message {
            message.take(sample);
            self.samples += 1;
            return ControlFlow::Continue(());
        }
        let out = self.chunks.buffer();
        match self.format.is_openmetrics() {
            true => openmetrics::push_sample(out, output, sample, self.format.utf8()),
            false => text::push_sample(out, sample),
        }
        self.samples += 1;
        self.chunks.line_done()
    }

    fn left_out(&mut self, output: &Output<'_>, source: u32, sample: &StoredSample<'_>) {
        let key = origin_name(self.sources, source);
        let conflicts = &mut self.plan.conflicts;
        conflicts.add(ConflictKind::Series, &output.name, || {
            let series = format!("{}{{{}}}", sample.name, sample.labels);
            format!("{series} of {key} was written already for another series: left out")
        });
    }
}

/// The family, if its lines need no look: legacy names, nothing behind the values, no
/// other source that may have the same series.
fn template<'f>(output: &Output<'_>, family: u32, from: &'f Source, suspect: bool) -> Option<ShapedFamily<'f>> {
    let alone = match output.compare {
        Compare::Nobody => true,
        Compare::Suspects => !suspect,
        Compare::Everybody => false,
    };
    let dump = from.dump.shaped().filter(|_| alone && from.stamp.is_none())?;
    let shaped = dump.family(family as usize);
    (!shaped.is_utf8() && shaped.is_bare()).then_some(shaped)
}

fn selects(select: &Select<'_>, name: Name<'_>) -> bool {
    match select {
        Select::All => true,
        Select::Only(wanted) => name.equals(wanted),
        Select::Except(other) => !name.equals(other),
    }
}
