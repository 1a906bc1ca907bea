//! What happens where a body's label meets an origin's (design §2).
//!
//! Without `honor_labels` the origin's label wins and the body's is kept as
//! `exported_<name>`, prefixed again while that name is taken, shortest names first,
//! exactly as Prometheus does it for a direct scrape; an *empty* body label is no
//! label and vanishes. With `honor_labels` the body's wins, even if it is empty, and
//! the origin's is not injected into that sample; a label that the topic fixes wins
//! in either case.
use std::borrow::Cow;
use std::collections::HashMap;

use super::pairs::{Pair, identity, pairs};
use crate::labels::Labels;

/// Resolves the samples of one dump against its origin.
pub(super) struct Collider<'o> {
    names: Vec<&'o str>,
    canonical: &'o str,
    honored: Vec<bool>,
    /// Texts to inject; the first one is the origin's labels whole.
    variants: Vec<Box<str>>,
    known: HashMap<Vec<usize>, u32>,
}

/// One sample's labels after the meeting.
pub(super) struct Met<'t> {
    /// The body's labels, renamed where necessary.
    pub(super) labels: Cow<'t, str>,
    /// Index of the text to inject.
    pub(super) injected: u32,
    /// Whether anything met.
    pub(super) collided: bool,
    /// Whether a label's name is beyond the legacy grammar.
    pub(super) quoted: bool,
}

impl<'o> Collider<'o> {
    pub(super) fn new(origin: &'o Labels, honor_labels: bool, fixed: &Labels) -> Collider<'o> {
        let names: Vec<&str> = origin.iter().map(|(name, _)| name).collect();
        let honored = names.iter().map(|name| honor_labels && fixed.get(name).is_none()).collect();
        Collider {
            names,
            canonical: origin.canonical(),
            honored,
            variants: vec![origin.canonical().into()],
            known: HashMap::new(),
        }
    }

    /// The texts that samples refer to by index.
    pub(super) fn into_variants(self) -> Vec<Box<str>> {
        self.variants
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| *n == name)
    }

    pub(super) fn meet<'t>(&mut self, labels: &'t str) -> Met<'t> {
        let (mut collided, mut quoted) = (false, false);
        for pair in pairs(labels) {
            quoted |= pair.quoted();
            collided |= self.place(&pair.name()).is_some();
        }
        if !collided {
            return Met { labels: Cow::Borrowed(labels), injected: 0, collided, quoted };
        }
        let body: Vec<Pair<'_>> = pairs(labels).collect();
        let mut left_out = Vec::new();
        let mut kept: Vec<Option<Cow<'_, str>>> = Vec::with_capacity(body.len());
        let mut renamed: Vec<usize> = Vec::new();
        for (i, pair) in body.iter().enumerate() {
            match self.place(&pair.name()) {
                None => kept.push(Some(Cow::Borrowed(pair.text))),
                Some(at) if self.honored[at] => {
                    left_out.push(at);
                    kept.push(Some(Cow::Borrowed(pair.text)));
                }
                Some(_) => {
                    kept.push(None);
                    if !pair.raw_value.is_empty() {
                        renamed.push(i);
                    }
                }
            }
        }
        self.rename(&body, &mut kept, renamed);
        let text: Vec<Cow<'_, str>> = kept.into_iter().flatten().collect();
        Met { labels: Cow::Owned(text.join(",")), injected: self.variant(left_out), collided, quoted }
    }

    /// Gives each label of `renamed` the first free `exported_…` name.
    fn rename<'t>(&self, body: &[Pair<'t>], kept: &mut [Option<Cow<'t, str>>], mut renamed: Vec<usize>) {
        renamed.sort_by_key(|i| body[*i].name().len());
        let mut given: Vec<String> = Vec::new();
        for i in renamed {
            let mut name = format!("exported_{}", body[i].name());
            let mut prefix = String::from("exported_");
            loop {
                let in_body = body.iter().position(|p| p.name() == name);
                let taken = in_body.is_some_and(|at| !body[at].raw_value.is_empty());
                if !taken && self.place(&name).is_none() && !given.contains(&name) {
                    // An empty label of that name is no label: this one takes its place.
                    if let Some(at) = in_body {
                        kept[at] = None;
                    }
                    break;
                }
                name.insert_str(0, "exported_");
                prefix.push_str("exported_");
            }
            kept[i] = Some(Cow::Owned(match body[i].text.strip_prefix('"') {
                Some(rest) => format!("\"{prefix}{rest}"),
                None => format!("{prefix}{}", body[i].text),
            }));
            given.push(name);
        }
    }

    /// The index of the origin's labels without those at `left_out`.
    fn variant(&mut self, mut left_out: Vec<usize>) -> u32 {
        if left_out.is_empty() {
            return 0;
        }
        left_out.sort_unstable();
        if let Some(known) = self.known.get(&left_out) {
            return *known;
        }
        let text: Vec<&str> =
            pairs(self.canonical).enumerate().filter(|(i, _)| !left_out.contains(i)).map(|(_, p)| p.text).collect();
        // At most one variant per sample, so that a u32 holds them all.
        let index = u32::try_from(self.variants.len()).unwrap_or(u32::MAX);
        self.variants.push(text.join(",").into_boxed_str());
        self.known.insert(left_out, index);
        index
    }

    /// What makes a sample the same series as another one of this dump.
    pub(super) fn identity(&self, name: &str, met: &Met<'_>) -> Box<str> {
        let injected = &self.variants[met.injected as usize];
        identity(name, &[injected, &met.labels], None)
    }
}
