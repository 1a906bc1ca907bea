//! Which families an exposition has, before a byte of it is written.
//!
//! First the sources' families are merged by name, then each gets a [`Form`]: whole,
//! with its type, or cut into one family per sample name where a type cannot be kept
//! (the rules are those of [`crate::merge`]). Outputs come out of that, by written name.
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::merged::{Form, Member, Merged};
use super::{ConflictKind, Conflicts, Sources};
use crate::exposition::{Format, escape, keyword};
use crate::model::MetricType;
use crate::store::shape::Shaped;

/// All outputs, sorted by name.
pub(crate) struct Plan<'s> {
    pub(crate) outputs: Vec<Output<'s>>,
    pub(crate) conflicts: Conflicts,
    merged: Vec<Merged<'s>>,
    groups: Vec<Group>,
}

/// Sources whose families have the same names, types and metadata, or one of no shape.
/// Families are planned once for a group, so that the plan of many origins of one kind
/// costs what one of them costs.
#[derive(Default)]
pub(super) struct Group {
    /// In the sources' order.
    pub(super) sources: Vec<u32>,
    /// One of them has no labels.
    pub(super) bare: bool,
    /// How many may have a series in common with another source.
    pub(super) suspects: usize,
}

impl Group {
    fn add(&mut self, sources: &Sources, source: usize) {
        self.sources.push(narrow(source));
        self.bare |= sources.all[source].labels.is_empty();
        self.suspects += usize::from(sources.suspects[source]);
    }
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
    /// Index into [`Plan`]'s families.
    merged: usize,
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

impl<'s> Plan<'s> {
    /// Plans an exposition of the sources in a format.
    pub(crate) fn new(sources: &'s Sources, format: Format) -> Plan<'s> {
        let mut conflicts = Conflicts::default();
        let (mut merged, groups) = merge(sources, format);
        for family in &mut merged {
            if format.is_openmetrics() {
                family.judge(sources, &groups);
            }
            family.form = family.first_form(format);
            family.report(sources, &mut conflicts);
        }
        cut_clashing(&mut merged, sources, format, &mut conflicts);
        let outputs = outputs(&merged, &groups, sources, format, &mut conflicts);
        Plan { outputs, conflicts, merged, groups }
    }

    /// Source and family of each member of a part, in the sources' order, into `out`.
    pub(crate) fn members(&self, part: &Part<'_>, out: &mut Vec<(u32, u32)>) {
        self.merged[part.merged].list(&self.groups, out);
    }

    /// An output that turned out not to keep its type, as outputs without one.
    pub(crate) fn cut<'o>(&self, output: &'o Output<'s>, sources: &'s Sources, format: Format) -> Vec<Output<'o>> {
        let mut names = BTreeMap::new();
        for part in &output.parts {
            let all = self.merged[part.merged].sample_names(sources, format);
            names.extend(all.into_iter().map(|name| (name, part.merged)));
        }
        let cut = |(name, merged): (Cow<'s, str>, usize)| Output {
            kind: MetricType::Unknown,
            help: output.help,
            unit: output.unit,
            parts: vec![Part { merged, select: Select::Only(name.clone()) }],
            compare: output.compare,
            name,
        };
        names.into_iter().map(cut).collect()
    }
}

fn merge<'s>(sources: &'s Sources, format: Format) -> (Vec<Merged<'s>>, Vec<Group>) {
    let mut merged: Vec<Merged<'s>> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut index: HashMap<Cow<'s, str>, usize, RandomState> = HashMap::default();
    let mut known: HashMap<_, usize, RandomState> = HashMap::default();
    for (s, source) in sources.all.iter().enumerate() {
        let heads = source.dump.shaped().map(Shaped::heads);
        if let Some(group) = heads.and_then(|heads| known.get(&heads)) {
            groups[*group].add(sources, s);
            continue;
        }
        let mut group = Group::default();
        group.add(sources, s);
        for (f, family) in source.dump.families().enumerate() {
            if family.is_empty() {
                continue;
            }
            let name = format.metric_name(family.name.clone());
            let member = Member { source: narrow(s), family: narrow(f), group: narrow(groups.len()) };
            match index.get(&name) {
                Some(at) => merged[*at].join(&family, member, sources, format),
                None => {
                    index.insert(name.clone(), merged.len());
                    merged.push(Merged::new(name, &family, member, format));
                }
            }
        }
        if let Some(heads) = heads {
            known.insert(heads, groups.len());
        }
        groups.push(group);
    }
    (merged, groups)
}

/// Origins and families of one bridge stay far below four thousand million.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Cuts every family of several sample names that has one of them in common with another
/// family. A family of one name needs no cutting: where it meets a part of a cut one,
/// [`join_same_names`] takes its type.
fn cut_clashing(merged: &mut [Merged<'_>], sources: &Sources, format: Format, conflicts: &mut Conflicts) {
    let mut owners: BTreeMap<String, Vec<(usize, bool)>> = BTreeMap::new();
    for (i, family) in merged.iter().enumerate() {
        for (name, counted) in family.claims(sources, format) {
            owners.entry(name).or_default().push((i, counted));
        }
    }
    if owners.is_empty() {
        return;
    }
    let mut clashing: BTreeMap<usize, Clash> = BTreeMap::new();
    let mut clash = |(cut, counted): (usize, bool), other: usize, name: &str| {
        let known = clashing.entry(cut).or_insert_with(|| Clash { name: name.to_owned(), other, counted });
        known.counted |= counted;
    };
    for (name, claimants) in &owners {
        for (i, mine) in claimants.iter().enumerate() {
            let other = if i == 0 { claimants.get(1) } else { claimants.first() };
            if let Some((other, _)) = other {
                clash(*mine, *other, name);
            }
        }
    }
    for (i, family) in merged.iter().enumerate() {
        for name in family.simple_names(sources, format) {
            for owner in owners.get(name.as_ref()).into_iter().flatten() {
                if owner.0 != i {
                    clash(*owner, i, &name);
                }
            }
        }
    }
    for (i, clash) in clashing {
        if clash.counted {
            let other = merged[clash.other].name.clone().into_owned();
            conflicts.add(ConflictKind::Name, &merged[i].name, || {
                let name = clash.name;
                format!("has the name {name} in common with {other}: written without a type")
            });
        }
        merged[i].form = Form::Cut(MetricType::Unknown);
    }
}

/// Why a family is cut.
struct Clash {
    name: String,
    other: usize,
    /// The origins disagree; not only OpenMetrics' rules.
    counted: bool,
}

fn outputs<'s>(
    merged: &[Merged<'s>],
    groups: &[Group],
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
                compare: family.compare(groups, format),
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
                    let (one, other) = (keyword(last.kind), keyword(output.kind));
                    format!("is {one} and {other}: written without a type")
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
    pub(crate) fn metric_name<'n>(self, name: Cow<'n, str>) -> Cow<'n, str> {
        match name {
            name if self.utf8() => name,
            Cow::Borrowed(name) => escape::metric_name(name),
            Cow::Owned(name) => Cow::Owned(escape::metric_name(&name).into_owned()),
        }
    }
}
