//! One accepted dump, compact and immutable.
//!
//! Nobody outside this module knows how a dump is kept. It is written once and read family
//! by family, sample by sample. There are two forms:
//!
//! - **Shaped** ([`shape`]): all that stands between the values belongs to a shape that
//!   origins share; the dump itself is its values as text. The next dump of the origin is
//!   compared with the shape, not parsed.
//! - **Plain** (module `plain`): for what is not regular.
//!
//! Both show the same: the property tests hold them side by side.
pub(crate) mod pairs;
pub mod shape;

mod collide;
mod created;
mod plain;
mod structure;

use std::borrow::Cow;

use crate::labels::Labels;
use crate::model::{MetricType, Parsed, UnixMs};
use plain::{Plain, StoredFamily};
use shape::{Shaped, ShapedFamily};

/// The most bytes of a dump that a [`StoredDump`] can hold: its spans are 32 bits, and
/// renamed labels make a text longer. A topic's limit is cut to this.
pub const MAX_DUMP_BYTES: usize = 1 << 30;

/// One accepted dump, its labels already reconciled with its origin's.
#[derive(Debug)]
pub struct StoredDump {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Plain(Plain),
    Shaped(Shaped),
}

/// What a writer wants to know of a family before it looks at its samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyTraits {
    /// A metric or label name that the legacy grammar does not hold.
    pub utf8: bool,
    /// A sample into which not all of the origin's labels are injected
    /// (`honor_labels`): another origin may have the same series.
    pub overridden: bool,
    /// The samples keep OpenMetrics' rules for the family's type; of a shaped dump only
    /// [`FamilyRef::fits_openmetrics`] knows.
    openmetrics: bool,
}

/// A family of a stored dump.
#[derive(Debug, Clone)]
pub struct FamilyRef<'a> {
    /// The text-format name (see [`crate::model`]).
    pub name: Cow<'a, str>,
    /// Its type.
    pub kind: MetricType,
    /// HELP, unescaped.
    pub help: Option<&'a str>,
    /// OpenMetrics UNIT.
    pub unit: Option<&'a str>,
    /// What holds for its samples.
    pub traits: FamilyTraits,
    form: FamilyForm<'a>,
}

#[derive(Debug, Clone, Copy)]
enum FamilyForm<'a> {
    Plain(&'a StoredFamily, &'a [Box<str>]),
    Shaped(ShapedFamily<'a>),
}

/// A sample of a stored dump. `injected` and `labels` share no name: written one after
/// the other they are the series' labels.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSample<'a> {
    /// The sample's name as text 0.0.4 writes it.
    pub name: Cow<'a, str>,
    /// The origin's labels for this sample, canonical spelling, no braces.
    pub injected: &'a str,
    /// The body's labels, canonical spelling, no braces.
    pub labels: &'a str,
    /// The value's text.
    pub value: &'a str,
    /// The sample's own timestamp.
    pub timestamp: Option<UnixMs>,
    /// OpenMetrics exemplar, the text after `# `.
    pub exemplar: Option<&'a str>,
}

impl StoredDump {
    /// Keeps a dump for an origin, in the plain form.
    ///
    /// `origin` are all labels to inject (the key's and the topic's); a label of the
    /// body that collides is renamed `exported_<name>`, unless `honor_labels`: then the
    /// body's wins, but never over a label that `fixed` (the topic's configuration)
    /// holds. Two series of the dump that thereby become one are one: the first stays,
    /// [`StoredDump::duplicates`] counts the others. The dump must not be larger than
    /// [`MAX_DUMP_BYTES`].
    pub fn build(parsed: &Parsed<'_>, origin: &Labels, honor_labels: bool, fixed: &Labels) -> StoredDump {
        StoredDump { form: Form::Plain(Plain::build(parsed, origin, honor_labels, fixed)) }
    }

    /// The families, sorted by name; no name twice.
    pub fn families(&self) -> impl ExactSizeIterator<Item = FamilyRef<'_>> {
        let count = match &self.form {
            Form::Plain(plain) => plain.families.len(),
            Form::Shaped(shaped) => shaped.families(),
        };
        (0..count).map(|i| self.at(i))
    }

    /// The family at a place of that order.
    pub fn family(&self, index: usize) -> Option<FamilyRef<'_>> {
        let count = match &self.form {
            Form::Plain(plain) => plain.families.len(),
            Form::Shaped(shaped) => shaped.families(),
        };
        (index < count).then(|| self.at(index))
    }

    fn at(&self, index: usize) -> FamilyRef<'_> {
        match &self.form {
            Form::Plain(plain) => plain_family(plain, &plain.families[index]),
            Form::Shaped(shaped) => shaped_family(shaped.family(index)),
        }
    }

    /// The family of that name.
    pub fn find(&self, name: &str) -> Option<FamilyRef<'_>> {
        let at = match &self.form {
            Form::Plain(plain) => plain.families.binary_search_by(|f| f.name.as_ref().cmp(name)).ok()?,
            Form::Shaped(shaped) => shaped.find(name)?,
        };
        self.family(at)
    }

    /// The number of samples.
    pub fn series(&self) -> usize {
        match &self.form {
            Form::Plain(plain) => plain.series,
            Form::Shaped(shaped) => shaped.series(),
        }
    }

    /// Samples left out because renaming made them the same series as an earlier one.
    pub fn duplicates(&self) -> u64 {
        match &self.form {
            Form::Plain(plain) => plain.duplicates,
            Form::Shaped(_) => 0,
        }
    }

    /// Estimated bytes of memory that are this dump's alone.
    pub fn own_bytes(&self) -> usize {
        let form = match &self.form {
            Form::Plain(plain) => plain.bytes,
            Form::Shaped(shaped) => shaped.own_bytes(),
        };
        size_of::<StoredDump>() + form
    }

    /// Estimated bytes of memory: its own, and its share of a shape that others use too.
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Plain(_) => self.own_bytes(),
            Form::Shaped(shaped) => self.own_bytes() + shaped.share_of_shape(),
        }
    }

    /// What dumps have in common that differ in values only: their shape, and the id in its
    /// names, empty where they have none. Good for comparing while both live.
    pub fn shape_id(&self) -> Option<(usize, &str)> {
        self.shaped().map(Shaped::shape_id)
    }

    pub(crate) fn shaped(&self) -> Option<&Shaped> {
        match &self.form {
            Form::Plain(_) => None,
            Form::Shaped(shaped) => Some(shaped),
        }
    }
}

impl From<Shaped> for StoredDump {
    fn from(shaped: Shaped) -> StoredDump {
        StoredDump { form: Form::Shaped(shaped) }
    }
}

fn plain_family<'a>(plain: &'a Plain, family: &'a StoredFamily) -> FamilyRef<'a> {
    FamilyRef {
        name: Cow::Borrowed(&family.name),
        kind: family.kind,
        help: family.help.as_deref(),
        unit: family.unit.as_deref(),
        traits: family.traits,
        form: FamilyForm::Plain(family, &plain.injected),
    }
}

fn shaped_family(family: ShapedFamily<'_>) -> FamilyRef<'_> {
    FamilyRef {
        name: family.name(),
        kind: family.kind(),
        help: family.help(),
        unit: family.unit(),
        traits: FamilyTraits { utf8: family.is_utf8(), overridden: false, openmetrics: false },
        form: FamilyForm::Shaped(family),
    }
}

impl<'a> FamilyRef<'a> {
    /// The samples, in the order of the dump.
    pub fn samples(&self) -> impl Iterator<Item = StoredSample<'a>> + use<'a> {
        // One of the two is empty.
        let (plain, shaped) = match self.form {
            FamilyForm::Plain(family, injected) => (Some(family.samples(injected)), None),
            FamilyForm::Shaped(family) => (None, Some(family.samples())),
        };
        plain.into_iter().flatten().chain(shaped.into_iter().flatten())
    }

    /// The distinct names of its samples, in the order of their first appearance.
    pub fn sample_names(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let (plain, shaped) = match self.form {
            FamilyForm::Plain(family, _) => (Some(family.names.iter().map(|name| Cow::Borrowed(name.as_ref()))), None),
            FamilyForm::Shaped(family) => (None, Some(family.sample_names())),
        };
        plain.into_iter().flatten().chain(shaped.into_iter().flatten())
    }

    /// Whether the samples keep OpenMetrics' rules for the family's type.
    pub fn fits_openmetrics(&self) -> bool {
        match self.form {
            FamilyForm::Plain(..) => self.traits.openmetrics,
            FamilyForm::Shaped(family) => family.fits_openmetrics(),
        }
    }

    /// The number of its samples.
    pub fn len(&self) -> usize {
        match self.form {
            FamilyForm::Plain(family, _) => family.spans.len(),
            FamilyForm::Shaped(family) => family.len(),
        }
    }

    /// Whether it has no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
