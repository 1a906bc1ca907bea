//! Which families an exposition has, before a byte of it is written.
//!
//! First the sources' families are merged by name, then each gets a [`Form`]: whole,
//! with its type, or cut into one family per sample name where a type cannot be kept
//! (the rules are those of [`crate::merge`]). Outputs come out of that, by written name.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{ConflictKind, Conflicts, Source, Sources};
use crate::exposition::{Format, escape};
use crate::model::MetricType;
use crate::store::FamilyRef;

/// All outputs, sorted by name.
pub(crate) struct Plan<'s> {
    pub(crate) outputs: Vec<Output<'s>>,
    pub(crate) conflicts: Conflicts,
    pub(crate) merged: Vec<Merged<'s>>,
}

/// A family as it will be written.
pub(crate) struct Output<'s> {
    /// The name on the HELP and TYPE lines, escaped if the format wants that.
    pub(crate) name: Cow<'s, str>,
    pub(crate) kind: MetricType,
    pub(crate) help: Option<&'s str>,
    pub(crate) unit: Option<&'s str>,
    pub(crate) parts: Vec<Part<'s>>,
    /// Whose samples must be compared with the others'.
    pub(crate) compare: Compare,
}

/// Samples of one merged family.
pub(crate) struct Part<'s> {
    /// Index into [`Plan::merged`].
    pub(crate) merged: usize,
    pub(crate) select: Select<'s>,
}

/// Which of a family's samples, by written name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Select<'s> {
    All,
    Only(Cow<'s, str>),
    Except(Cow<'s, str>),
}

/// Where the same series may come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Nobody,
    Suspects,
    Everybody,
}

/// The families of one name over all sources.
pub(crate) struct Merged<'s> {
    name: Cow<'s, str>,
    kind: MetricType,
    /// The first source that disagreed on the type.
    type_conflict: Option<(u32, MetricType)>,
    help: Option<&'s str>,
    /// The source that disagreed on HELP or UNIT.
    help_conflict: Option<u32>,
    unit: Option<&'s str>,
    /// Two names that became one by escaping.
    mixed_names: bool,
    openmetrics: bool,
    utf8: bool,
    overridden: bool,
    /// Source and family of each, in the sources' order.
    pub(crate) members: Vec<(u32, u32)>,
    form: Form,
}

/// How a merged family is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As one family of this type.
    Whole(MetricType),
    /// Each sample name as a family of this type.
    Cut(MetricType),
}

impl<'s> Plan<'s> {
    /// Plans an exposition of the sources in a format.
    pub(crate) fn new(sources: &'s Sources, format: Format) -> Plan<'s> {
        let mut conflicts = Conflicts::default();
        let mut merged = merge(sources, format);
        for family in &mut merged {
            family.form = family.first_form(format);
            family.report(sources, &mut conflicts);
        }
        cut_clashing(&mut merged, sources, format, &mut conflicts);
        let outputs = outputs(&merged, sources, format, &mut conflicts);
        Plan {
            outputs,
            conflicts,
            merged,
        }
    }
}

fn merge<'s>(sources: &'s Sources, format: Format) -> Vec<Merged<'s>> {
    let mut merged: Vec<Merged<'s>> = Vec::new();
    let mut index: HashMap<Cow<'s, str>, usize> = HashMap::new();
    for (s, source) in sources.all.iter().enumerate() {
        for (f, family) in source.dump.families().enumerate() {
            if family.is_empty() {
                continue;
            }
            let name = format.metric_name(family.name);
            let place = (narrow(s), narrow(f));
            match index.get(&name) {
                Some(at) => merged[*at].join(&family, place, sources),
                None => {
                    index.insert(name.clone(), merged.len());
                    merged.push(Merged::new(name, &family, place));
                }
            }
        }
    }
    merged
}

/// Origins and families of one bridge stay far below four thousand million.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The type that both may be written with.
fn unify(a: MetricType, b: MetricType) -> Option<MetricType> {
    use MetricType::{Gauge, Info, StateSet};
    if a == b {
        return Some(a);
    }
    let gauge = |kind| matches!(kind, Gauge | Info | StateSet);
    (gauge(a) && gauge(b)).then_some(Gauge)
}

impl<'s> Merged<'s> {
    fn new(name: Cow<'s, str>, family: &FamilyRef<'s>, place: (u32, u32)) -> Merged<'s> {
        Merged {
            name,
            kind: family.kind,
            type_conflict: None,
            help: family.help,
            help_conflict: None,
            unit: family.unit,
            mixed_names: false,
            openmetrics: family.traits.openmetrics,
            utf8: family.traits.utf8,
            overridden: family.traits.overridden,
            members: vec![place],
            form: Form::Cut(MetricType::Unknown),
        }
    }

    fn join(&mut self, family: &FamilyRef<'s>, place: (u32, u32), sources: &'s Sources) {
        match unify(self.kind, family.kind) {
            Some(kind) => self.kind = kind,
            None if self.type_conflict.is_none() => {
                self.type_conflict = Some((place.0, family.kind));
            }
            None => {}
        }
        let unit_differs = family.unit.is_some() && self.unit.is_some() && self.unit != family.unit;
        let help_differs = family.help.is_some() && self.help.is_some() && self.help != family.help;
        if (help_differs || unit_differs) && self.help_conflict.is_none() {
            self.help_conflict = Some(place.0);
        }
        self.help = self.help.or(family.help);
        // An empty unit is written nowhere and agrees with nobody.
        self.unit = if unit_differs {
            Some("")
        } else {
            self.unit.or(family.unit)
        };
        let first = sources.all[self.members[0].0 as usize]
            .dump
            .family(self.members[0].1 as usize);
        self.mixed_names |= first.is_some_and(|f| f.name != family.name);
        self.openmetrics &= family.traits.openmetrics;
        self.utf8 |= family.traits.utf8;
        self.overridden |= family.traits.overridden;
        self.members.push(place);
    }

    fn first_form(&self, format: Format) -> Form {
        use MetricType::{Counter, Gauge, GaugeHistogram, Info, StateSet, Unknown};
        if self.type_conflict.is_some() || self.mixed_names || self.kind == Unknown {
            return Form::Cut(Unknown);
        }
        if !format.is_openmetrics() {
            return match self.kind {
                Info | StateSet => Form::Whole(Gauge),
                GaugeHistogram => Form::Cut(Gauge),
                kind => Form::Whole(kind),
            };
        }
        let named = match self.kind {
            // `a_total_total`: readers differ on which of the two belongs to the name.
            Counter => has_base(&self.name, "_total") && !self.name.ends_with("_total_total"),
            Info => has_base(&self.name, "_info"),
            _ => true,
        };
        match named && (self.openmetrics || self.kind == Gauge) {
            true => Form::Whole(self.kind),
            false => Form::Cut(Unknown),
        }
    }

    fn report(&self, sources: &Sources, conflicts: &mut Conflicts) {
        let first = origin(sources, self.members[0].0);
        if let Some((other, kind)) = self.type_conflict {
            conflicts.add(ConflictKind::Type, &self.name, || {
                let other = origin(sources, other);
                format!(
                    "{first} says {:?}, {other} says {kind:?}: written without a type",
                    self.kind
                )
            });
        }
        if let Some(other) = self.help_conflict {
            conflicts.add(ConflictKind::Help, &self.name, || {
                let other = origin(sources, other);
                format!(
                    "HELP or UNIT of {first} and {other} differ: the first one's HELP is written"
                )
            });
        }
        if self.mixed_names {
            conflicts.add(ConflictKind::Name, &self.name, || {
                "several names become this one when escaped: written without a type".to_owned()
            });
        }
    }

    /// The name without the suffix that its type brings in OpenMetrics; for `_created`
    /// in either format.
    fn base(&self, kind: MetricType) -> &str {
        match kind {
            MetricType::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            MetricType::Info => self.name.strip_suffix("_info").unwrap_or(&self.name),
            _ => &self.name,
        }
    }

    /// Every distinct written sample name of the members.
    fn sample_names(&self, sources: &'s Sources, format: Format) -> BTreeSet<Cow<'s, str>> {
        let mut names = BTreeSet::new();
        for (s, f) in &self.members {
            let Some(family) = sources.all[*s as usize].dump.family(*f as usize) else {
                continue;
            };
            names.extend(family.sample_names().map(|n| format.metric_name(n)));
        }
        names
    }

    /// The name of its `_created` samples, if the text format must write them apart.
    fn created_apart(&self, sources: &Sources, format: Format) -> Option<String> {
        let Form::Whole(kind) = self.form else {
            return None;
        };
        if format.is_openmetrics() || matches!(kind, MetricType::Gauge) {
            return None;
        }
        let created = format!("{}_created", self.base(kind));
        let has = self.members.iter().any(|(s, f)| {
            let family = sources.all[*s as usize].dump.family(*f as usize);
            family.is_some_and(|f| {
                f.sample_names()
                    .any(|n| format.metric_name(n) == created.as_str())
            })
        });
        has.then_some(created)
    }

    /// The names that a family of several sample names claims for itself alone.
    fn claims(&self, format: Format) -> Vec<String> {
        use MetricType::{Counter, GaugeHistogram, Histogram, Info, Summary};
        let Form::Whole(kind) = self.form else {
            return Vec::new();
        };
        let suffixes: &[&str] = match (format.is_openmetrics(), kind) {
            (false, Histogram) => &["", "_bucket", "_sum", "_count"],
            (false, Summary) => &["", "_sum", "_count"],
            (true, Counter) => &["", "_total", "_created"],
            (true, Histogram) => &["", "_bucket", "_sum", "_count", "_created"],
            (true, Summary) => &["", "_sum", "_count", "_created"],
            (true, GaugeHistogram) => &["", "_bucket", "_gsum", "_gcount"],
            (true, Info) => &["", "_info"],
            _ => &[],
        };
        let base = self.base(kind);
        suffixes.iter().map(|s| format!("{base}{s}")).collect()
    }

    fn compare(&self, sources: &Sources, format: Format) -> Compare {
        if self.utf8 && !format.utf8() {
            return Compare::Everybody;
        }
        if self.members.len() < 2 {
            return Compare::Nobody;
        }
        let bare = |(s, _): &(u32, u32)| sources.all[*s as usize].labels.is_empty();
        if self.overridden || self.members.iter().any(bare) {
            return Compare::Everybody;
        }
        let suspects = self
            .members
            .iter()
            .filter(|(s, _)| sources.suspects[*s as usize]);
        match suspects.count() < 2 {
            true => Compare::Nobody,
            false => Compare::Suspects,
        }
    }
}

fn has_base(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|base| !base.is_empty())
}

fn origin(sources: &Sources, source: u32) -> &str {
    match sources.all.get(source as usize) {
        Some(Source { key, .. }) if !key.is_empty() => key,
        _ => "the bridge",
    }
}

/// Cuts every family that has a written name in common with one of several samples.
fn cut_clashing(
    merged: &mut [Merged<'_>],
    sources: &Sources,
    format: Format,
    conflicts: &mut Conflicts,
) {
    let mut owners: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, family) in merged.iter().enumerate() {
        for name in family.claims(format) {
            owners.entry(name).or_default().push(i);
        }
    }
    let mut clashing: BTreeMap<usize, (String, usize)> = BTreeMap::new();
    let mut clash = |name: &str, a: usize, b: usize| {
        clashing.entry(a).or_insert_with(|| (name.to_owned(), b));
        clashing.entry(b).or_insert_with(|| (name.to_owned(), a));
    };
    for (name, claimants) in &owners {
        for other in claimants.iter().skip(1) {
            clash(name, claimants[0], *other);
        }
    }
    for (i, family) in merged.iter().enumerate() {
        for name in family.simple_names(sources, format) {
            for other in owners.get(name.as_ref()).into_iter().flatten() {
                if *other != i {
                    clash(&name, i, *other);
                }
            }
        }
    }
    for (i, (sample, other)) in clashing {
        let other = merged[other].name.clone().into_owned();
        conflicts.add(ConflictKind::Name, &merged[i].name, || {
            format!("has the name {sample} in common with {other}: both written without a type")
        });
        merged[i].form = Form::Cut(MetricType::Unknown);
    }
}

impl<'s> Merged<'s> {
    /// The written names that it would share with a family of the same name.
    fn simple_names(&self, sources: &'s Sources, format: Format) -> Vec<Cow<'s, str>> {
        match self.form {
            Form::Cut(_) => self.sample_names(sources, format).into_iter().collect(),
            Form::Whole(_) if !self.claims(format).is_empty() => {
                let created = self.created_apart(sources, format);
                created.map(Cow::Owned).into_iter().collect()
            }
            Form::Whole(_) => {
                let created = self.created_apart(sources, format);
                std::iter::once(self.name.clone())
                    .chain(created.map(Cow::Owned))
                    .collect()
            }
        }
    }
}

fn outputs<'s>(
    merged: &[Merged<'s>],
    sources: &'s Sources,
    format: Format,
    conflicts: &mut Conflicts,
) -> Vec<Output<'s>> {
    let mut all: Vec<Output<'s>> = Vec::with_capacity(merged.len());
    for (i, family) in merged.iter().enumerate() {
        let mut push = |name: Cow<'s, str>, kind, select| {
            all.push(Output {
                name,
                kind,
                help: family.help,
                unit: family.unit.filter(|u| !u.is_empty()),
                parts: vec![Part { merged: i, select }],
                compare: family.compare(sources, format),
            });
        };
        match family.form {
            Form::Cut(kind) => {
                let names = family.sample_names(sources, format);
                let single = names.len() == 1;
                for name in names {
                    let select = match single {
                        true => Select::All,
                        false => Select::Only(name.clone()),
                    };
                    push(name, kind, select);
                }
            }
            Form::Whole(kind) => {
                let created = family.created_apart(sources, format);
                let select = match &created {
                    Some(name) => Select::Except(Cow::Owned(name.clone())),
                    None => Select::All,
                };
                push(family.written_name(kind, format), kind, select);
                if let Some(name) = created {
                    let select = Select::Only(Cow::Owned(name.clone()));
                    push(Cow::Owned(name), MetricType::Gauge, select);
                }
            }
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    join_same_names(all, conflicts)
}

impl<'s> Merged<'s> {
    fn written_name(&self, kind: MetricType, format: Format) -> Cow<'s, str> {
        if !format.is_openmetrics() {
            return self.name.clone();
        }
        let length = self.base(kind).len();
        match &self.name {
            Cow::Borrowed(name) => Cow::Borrowed(&name[..length]),
            Cow::Owned(name) => Cow::Owned(name[..length].to_owned()),
        }
    }
}

/// Simple families of one written name (`foo_count` of a cut histogram, `foo_count` of
/// another origin) become one.
fn join_same_names<'s>(all: Vec<Output<'s>>, conflicts: &mut Conflicts) -> Vec<Output<'s>> {
    let mut joined: Vec<Output<'s>> = Vec::with_capacity(all.len());
    for output in all {
        let Some(last) = joined.last_mut().filter(|last| last.name == output.name) else {
            joined.push(output);
            continue;
        };
        if last.kind != output.kind {
            if last.kind != MetricType::Unknown && output.kind != MetricType::Unknown {
                conflicts.add(ConflictKind::Type, &output.name, || {
                    format!(
                        "is {:?} and {:?}: written without a type",
                        last.kind, output.kind
                    )
                });
            }
            last.kind = MetricType::Unknown;
        }
        last.help = last.help.or(output.help);
        last.unit = None;
        last.compare = Compare::Everybody;
        last.parts.extend(output.parts);
    }
    joined
}

impl Format {
    /// The name as this format writes it.
    pub(crate) fn metric_name<'n>(self, name: &'n str) -> Cow<'n, str> {
        match self.utf8() {
            true => Cow::Borrowed(name),
            false => escape::metric_name(name),
        }
    }
}
