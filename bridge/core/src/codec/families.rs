//! The families of one dump: which one a metadata line or a sample belongs to, and
//! what it is called (text-format names, see [`crate::model`]).
use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::model::{Family, MetricType, Sample};

use super::Format;

/// A metadata line's content.
pub(super) enum Meta<'a> {
    Help(Cow<'a, str>),
    Type(MetricType),
    Unit(&'a str),
}

/// What a sample is within its family, as far as a rule looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    /// `_bucket` of a histogram or gauge histogram.
    Bucket,
    /// The bare name of a summary.
    Quantile,
    /// The bare name of a histogram or gauge histogram.
    Bare,
}

struct State<'a> {
    /// As metadata lines call it: in OpenMetrics without `_total` and `_info`.
    declared: Cow<'a, str>,
    typed: bool,
    sampled: bool,
}

type Index<'a> = HashMap<Cow<'a, str>, u32, RandomState>;

pub(super) struct Families<'a> {
    format: Format,
    strict: bool,
    pub(super) all: Vec<Family<'a>>,
    states: Vec<State<'a>>,
    /// By the name in metadata lines; OpenMetrics only.
    declared: Index<'a>,
    /// By text-format name.
    named: Index<'a>,
    /// The last metadata line's name and family: the next line mostly has it, too.
    recent: Option<(Cow<'a, str>, u32)>,
    /// Samples of one name follow each other.
    last: Option<(Cow<'a, str>, u32, Role)>,
}

impl<'a> Families<'a> {
    pub(super) fn new(format: Format, strict: bool) -> Families<'a> {
        Families {
            format,
            strict,
            all: Vec::new(),
            states: Vec::new(),
            declared: Index::default(),
            named: Index::default(),
            recent: None,
            last: None,
        }
    }

    /// Whether repeated metadata is a fault of its own: OpenMetrics allows each line once.
    fn once(&self) -> bool {
        self.strict && self.format == Format::OpenMetrics
    }

    /// Takes a metadata line; the index of its family, or what is wrong with it.
    pub(super) fn meta(&mut self, name: Cow<'a, str>, meta: Meta<'a>) -> Result<u32, &'static str> {
        self.last = None;
        let known = self.find_declared(&name)?;
        if let Some(at) = known {
            self.check(at, &meta)?;
        }
        if let Meta::Unit(unit) = meta
            && !unit.is_empty()
            && !name.strip_suffix(unit).is_some_and(|n| n.ends_with('_'))
        {
            return Err("a UNIT that is no suffix of the family's name");
        }
        if let (None, Meta::Type(kind)) = (known, &meta)
            && let Some(renamed) = self.text_name(&name, *kind)
            && self.named.contains_key(renamed.as_str())
        {
            return Err(CLASH);
        }
        let at = match known {
            Some(at) => at,
            None => self.declare(name.clone()),
        };
        self.recent = Some((name, at));
        let family = &mut self.all[at as usize];
        match meta {
            Meta::Help(text) => family.help = Some(text),
            Meta::Unit("") => {}
            Meta::Unit(unit) => family.unit = Some(Cow::Borrowed(unit)),
            Meta::Type(kind) => self.set_kind(at, kind),
        }
        Ok(at)
    }

    fn find_declared(&self, name: &str) -> Result<Option<u32>, &'static str> {
        let declared = self.declared_as(name);
        if self.format == Format::Text || declared.is_some() {
            return Ok(declared);
        }
        match self.named.get(name) {
            Some(at) if self.states[*at as usize].sampled => Err(LATE),
            Some(_) => Err(CLASH),
            None => Ok(None),
        }
    }

    /// The family that metadata lines call so.
    fn declared_as(&self, name: &str) -> Option<u32> {
        if let Some((recent, at)) = &self.recent
            && recent == name
        {
            return Some(*at);
        }
        let index = match self.format {
            Format::Text => &self.named,
            Format::OpenMetrics => &self.declared,
        };
        index.get(name).copied()
    }

    /// Whether a line contradicts what is known of its family, or comes too late.
    fn check(&self, at: u32, meta: &Meta<'a>) -> Result<(), &'static str> {
        let (family, state) = (&self.all[at as usize], &self.states[at as usize]);
        let repeated = match meta {
            Meta::Help(text) => family.help.as_ref().map(|known| known == text),
            Meta::Unit(unit) => family.unit.as_ref().map(|known| known == unit),
            Meta::Type(kind) => state.typed.then_some(family.kind == *kind),
        };
        match repeated {
            Some(false) => {
                return Err("a metadata line that contradicts an earlier one of its family");
            }
            Some(true) if self.once() => return Err("a metadata line that its family has already"),
            Some(true) => return Ok(()),
            None => {}
        }
        let matters = matches!(meta, Meta::Type(_)) || self.format == Format::OpenMetrics;
        if state.sampled && matters {
            return Err(LATE);
        }
        if let Meta::Type(kind) = meta
            && let Some(renamed) = self.text_name(&state.declared, *kind)
            && self.named.contains_key(renamed.as_str())
        {
            return Err(CLASH);
        }
        Ok(())
    }

    /// The name that a type changes a family's to.
    fn text_name(&self, declared: &str, kind: MetricType) -> Option<String> {
        let suffix = match (self.format, kind) {
            (Format::OpenMetrics, MetricType::Counter) => "_total",
            (Format::OpenMetrics, MetricType::Info) => "_info",
            _ => return None,
        };
        (!declared.ends_with(suffix)).then(|| format!("{declared}{suffix}"))
    }

    fn set_kind(&mut self, at: u32, kind: MetricType) {
        let (family, state) = (&mut self.all[at as usize], &mut self.states[at as usize]);
        if state.typed {
            return;
        }
        family.kind = kind;
        state.typed = true;
        let declared = state.declared.clone();
        if let Some(name) = self.text_name(&declared, kind) {
            self.named.remove(&declared);
            let name: Cow<'a, str> = Cow::Owned(name);
            self.named.insert(name.clone(), at);
            self.all[at as usize].name = name;
        }
    }

    fn declare(&mut self, name: Cow<'a, str>) -> u32 {
        if self.format == Format::OpenMetrics {
            self.declared.insert(name.clone(), self.all.len() as u32);
        }
        self.add(name)
    }

    fn add(&mut self, name: Cow<'a, str>) -> u32 {
        let at = self.all.len() as u32;
        self.named.insert(name.clone(), at);
        self.states.push(State { declared: name.clone(), typed: false, sampled: false });
        self.all.push(Family { name, kind: MetricType::Unknown, help: None, unit: None, samples: Vec::new() });
        at
    }

    /// The family of a sample, made if there is none, and the sample's role in it.
    pub(super) fn of_sample(&mut self, sample: &Sample<'a>) -> (u32, Role) {
        let name = &sample.name;
        if let Some((last, at, role)) = &self.last
            && last == name
        {
            return (*at, *role);
        }
        let (at, role) = self.resolve(sample);
        self.last = Some((name.clone(), at, role));
        (at, role)
    }

    pub(super) fn mark_sampled(&mut self, at: u32) {
        self.states[at as usize].sampled = true;
    }

    fn resolve(&mut self, sample: &Sample<'a>) -> (u32, Role) {
        let name = &sample.name;
        if let Some(found) = self.exact(name) {
            return found;
        }
        for (suffix, role) in SUFFIXES {
            let Some(base) = name.strip_suffix(suffix) else {
                continue;
            };
            if let Some(at) = self.declared_as(base)
                && self.takes(self.all[at as usize].kind, suffix)
            {
                return (at, role);
            }
        }
        // In text that is what it was not declared as.
        if self.format == Format::OpenMetrics
            && let Some(at) = self.named.get(name)
        {
            return (*at, Role::Plain);
        }
        (self.add(name.clone()), Role::Plain)
    }

    fn exact(&self, name: &str) -> Option<(u32, Role)> {
        let at = self.declared_as(name)?;
        let family = &self.all[at as usize];
        match family.kind {
            MetricType::Summary => Some((at, Role::Quantile)),
            MetricType::Histogram | MetricType::GaugeHistogram => Some((at, Role::Bare)),
            // OpenMetrics: `a` is no sample of the counter a, but `a_total` is one of a
            // counter declared as `a_total`, as some writers do it.
            MetricType::Counter | MetricType::Info if family.name != name => None,
            _ => Some((at, Role::Plain)),
        }
    }

    fn takes(&self, kind: MetricType, suffix: &str) -> bool {
        let openmetrics = self.format == Format::OpenMetrics;
        match kind {
            MetricType::Counter => openmetrics && matches!(suffix, "_total" | "_created"),
            MetricType::Info => openmetrics && suffix == "_info",
            MetricType::Histogram => {
                matches!(suffix, "_bucket" | "_count" | "_sum") || openmetrics && suffix == "_created"
            }
            MetricType::Summary => matches!(suffix, "_count" | "_sum") || openmetrics && suffix == "_created",
            // expfmt's text form has `_count` and `_sum`; to OpenMetrics those are
            // families of their own.
            MetricType::GaugeHistogram => {
                matches!(suffix, "_bucket" | "_gcount" | "_gsum") || !openmetrics && matches!(suffix, "_count" | "_sum")
            }
            MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => false,
        }
    }
}

const LATE: &str = "metadata behind samples of its family";
const CLASH: &str = "a family whose name is that of another one's samples";

const SUFFIXES: [(&str, Role); 8] = [
    ("_bucket", Role::Bucket),
    ("_count", Role::Plain),
    ("_sum", Role::Plain),
    ("_total", Role::Plain),
    ("_created", Role::Plain),
    ("_gcount", Role::Plain),
    ("_gsum", Role::Plain),
    ("_info", Role::Plain),
];
