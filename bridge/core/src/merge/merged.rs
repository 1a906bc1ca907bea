//! The families of one name over all sources, and how they are to be written.
use std::borrow::Cow;
use std::collections::BTreeSet;

use super::plan::{Compare, Group};
use super::{ConflictKind, Conflicts, Source, Sources};
use crate::exposition::{Format, keyword};
use crate::model::MetricType;
use crate::store::FamilyRef;

/// The families of one name over all sources.
pub(crate) struct Merged<'s> {
    pub(super) name: Cow<'s, str>,
    kind: MetricType,
    /// The first source that disagreed on the type.
    type_conflict: Option<(u32, MetricType)>,
    pub(super) help: Option<&'s str>,
    /// The source that disagreed on HELP or UNIT.
    help_conflict: Option<u32>,
    pub(super) unit: Option<&'s str>,
    /// Two names that became one by escaping.
    mixed_names: bool,
    openmetrics: bool,
    utf8: bool,
    overridden: bool,
    /// Every sample has the family's name: nothing else need be looked at.
    single: bool,
    /// One of each group of sources that has it, in the sources' order.
    members: Vec<Member>,
    pub(super) form: Form,
}

/// A family that all sources of a group have: what is known of one, but for its values, is
/// known of all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The first source of the group.
    pub(super) source: u32,
    /// The family's place in its dump, and in the others'.
    pub(super) family: u32,
    pub(super) group: u32,
}

/// How a merged family is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As one family of this type.
    Whole(MetricType),
    /// Each sample name as a family of this type.
    Cut(MetricType),
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
    pub(super) fn new(name: Cow<'s, str>, family: &FamilyRef<'s>, member: Member, format: Format) -> Merged<'s> {
        Merged {
            name,
            kind: family.kind,
            type_conflict: None,
            help: family.help,
            help_conflict: None,
            unit: family.unit,
            mixed_names: false,
            openmetrics: fits(family, format),
            utf8: family.traits.utf8,
            overridden: family.traits.overridden,
            single: is_single(family),
            members: vec![member],
            form: Form::Cut(MetricType::Unknown),
        }
    }

    pub(super) fn join(&mut self, family: &FamilyRef<'s>, member: Member, sources: &'s Sources, format: Format) {
        match unify(self.kind, family.kind) {
            Some(kind) => self.kind = kind,
            None if self.type_conflict.is_none() => {
                self.type_conflict = Some((member.source, family.kind));
            }
            None => {}
        }
        let unit_differs = family.unit.is_some() && self.unit.is_some() && self.unit != family.unit;
        let help_differs = family.help.is_some() && self.help.is_some() && self.help != family.help;
        if (help_differs || unit_differs) && self.help_conflict.is_none() {
            self.help_conflict = Some(member.source);
        }
        self.help = self.help.or(family.help);
        // An empty unit is written nowhere and agrees with nobody.
        self.unit = if unit_differs { Some("") } else { self.unit.or(family.unit) };
        let first = self.members[0].family(sources);
        self.mixed_names |= first.is_some_and(|f| f.name != family.name);
        self.openmetrics = self.openmetrics && fits(family, format);
        self.utf8 |= family.traits.utf8;
        self.overridden |= family.traits.overridden;
        self.single &= is_single(family);
        self.members.push(member);
    }

    /// Looks at the other sources of each group, where their values matter.
    pub(super) fn judge(&mut self, sources: &Sources, groups: &[Group]) {
        for member in &self.members {
            for source in groups[member.group as usize].sources.iter().skip(1) {
                if !self.openmetrics {
                    return;
                }
                let family = sources.all[*source as usize].dump.family(member.family as usize);
                self.openmetrics = family.is_none_or(|f| f.fits_openmetrics());
            }
        }
    }

    /// Source and family of each of its members, in the sources' order, into `out`.
    pub(super) fn list(&self, groups: &[Group], out: &mut Vec<(u32, u32)>) {
        out.clear();
        for member in &self.members {
            let sources = &groups[member.group as usize].sources;
            out.extend(sources.iter().map(|source| (*source, member.family)));
        }
        if self.members.len() > 1 {
            out.sort_unstable();
        }
    }

    pub(super) fn first_form(&self, format: Format) -> Form {
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

    pub(super) fn report(&self, sources: &Sources, conflicts: &mut Conflicts) {
        let first = origin_name(sources, self.members[0].source);
        if let Some((other, kind)) = self.type_conflict {
            conflicts.add(ConflictKind::Type, &self.name, || {
                let other = origin_name(sources, other);
                let (mine, theirs) = (keyword(self.kind), keyword(kind));
                format!("{first} says {mine}, {other} says {theirs}: written without a type")
            });
        }
        if let Some(other) = self.help_conflict {
            conflicts.add(ConflictKind::Help, &self.name, || {
                let other = origin_name(sources, other);
                format!("HELP or UNIT of {first} and {other} differ: the first one's HELP is written")
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
    pub(super) fn sample_names(&self, sources: &'s Sources, format: Format) -> Vec<Cow<'s, str>> {
        if self.single {
            return vec![self.name.clone()];
        }
        let mut names = BTreeSet::new();
        for member in &self.members {
            let Some(family) = member.family(sources) else {
                continue;
            };
            names.extend(family.sample_names().map(|n| format.metric_name(n)));
        }
        names.into_iter().collect()
    }

    /// The name of its `_created` samples, if the text format must write them apart.
    pub(super) fn created_apart(&self, sources: &Sources, format: Format) -> Option<String> {
        if format.keeps_created() {
            return None;
        }
        self.created(sources, format)
    }

    /// The name of its `_created` samples, if it has some.
    fn created(&self, sources: &Sources, format: Format) -> Option<String> {
        let Form::Whole(kind) = self.form else {
            return None;
        };
        if self.single || kind == MetricType::Gauge {
            return None;
        }
        let created = format!("{}_created", self.base(kind));
        let has = self.members.iter().any(|member| {
            let family = member.family(sources);
            family.is_some_and(|f| f.sample_names().any(|n| format.metric_name(n) == created))
        });
        has.then_some(created)
    }

    /// The names that a family of several sample names claims for itself alone, and
    /// whether another family of that name is a conflict of origins: where only
    /// OpenMetrics claims the name, it is that format which cannot say both.
    ///
    /// In protobuf `_created` is no series, unless the type cannot be kept after all.
    pub(super) fn claims(&self, sources: &Sources, format: Format) -> Vec<(String, bool)> {
        use MetricType::{Counter, GaugeHistogram, Histogram, Info, Summary};
        let Form::Whole(kind) = self.form else {
            return Vec::new();
        };
        let (both, openmetrics): (&[&str], &[&str]) = match kind {
            Counter => (&[], &["", "_total", "_created"]),
            Histogram => (&["", "_bucket", "_sum", "_count"], &["_created"]),
            Summary => (&["", "_sum", "_count"], &["_created"]),
            GaugeHistogram => (&["", "_bucket", "_gsum", "_gcount"], &[]),
            Info => (&[], &["", "_info"]),
            _ => (&[], &[]),
        };
        let base = self.base(kind);
        let name = |suffix: &str, counted| (format!("{base}{suffix}"), counted);
        let mut all: Vec<_> = both.iter().map(|s| name(s, true)).collect();
        if format.is_openmetrics() {
            all.extend(openmetrics.iter().map(|s| name(s, false)));
        }
        if format.is_protobuf()
            && let Some(created) = self.created(sources, format)
        {
            all.push((created, false));
            if kind == Counter {
                all.push((self.name.clone().into_owned(), false));
            }
        }
        all
    }

    pub(super) fn compare(&self, groups: &[Group], format: Format) -> Compare {
        if self.utf8 && !format.utf8() {
            return Compare::Everybody;
        }
        let of = |member: &Member| &groups[member.group as usize];
        if self.members.iter().map(|m| of(m).sources.len()).sum::<usize>() < 2 {
            return Compare::Nobody;
        }
        if self.overridden || self.members.iter().any(|m| of(m).bare) {
            return Compare::Everybody;
        }
        match self.members.iter().map(|m| of(m).suspects).sum::<usize>() < 2 {
            true => Compare::Nobody,
            false => Compare::Suspects,
        }
    }
}

impl Member {
    fn family<'s>(&self, sources: &'s Sources) -> Option<FamilyRef<'s>> {
        sources.all[self.source as usize].dump.family(self.family as usize)
    }
}

/// Looks at the samples only where the answer matters.
fn fits(family: &FamilyRef<'_>, format: Format) -> bool {
    !format.is_openmetrics() || family.fits_openmetrics()
}

fn is_single(family: &FamilyRef<'_>) -> bool {
    family.sample_names().all(|name| name == family.name)
}

fn has_base(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|base| !base.is_empty())
}

pub(crate) fn origin_name(sources: &Sources, source: u32) -> &str {
    match sources.all.get(source as usize) {
        Some(Source { own: true, .. }) | None => "the bridge",
        Some(Source { key, .. }) if key.is_empty() => "an origin without labels",
        Some(Source { key, .. }) => key,
    }
}

impl<'s> Merged<'s> {
    /// The written names that it would share with a family of the same name.
    pub(super) fn simple_names(&self, sources: &'s Sources, format: Format) -> Vec<Cow<'s, str>> {
        match self.form {
            Form::Cut(_) => self.sample_names(sources, format),
            Form::Whole(_) if !self.claims(sources, format).is_empty() => {
                let created = self.created_apart(sources, format);
                created.map(Cow::Owned).into_iter().collect()
            }
            Form::Whole(_) => {
                let created = self.created_apart(sources, format);
                std::iter::once(self.name.clone()).chain(created.map(Cow::Owned)).collect()
            }
        }
    }
}

impl<'s> Merged<'s> {
    pub(super) fn written_name(&self, kind: MetricType, format: Format) -> Cow<'s, str> {
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
