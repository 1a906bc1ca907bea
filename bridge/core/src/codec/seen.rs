//! Which series a dump has had: no series twice, whatever the order of its labels.
//!
//! A series is known by 64 bits. Equal bits are only a suspicion: the labels are then
//! compared, so that no good sample falls to a collision.
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::fast::RandomState;

use super::scan::{Cursor, Pair};

/// Where a sample stands: family, then index in it.
pub(super) type Place = (u32, u32);

/// Takes the 64 bits as they are.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }
}

pub(super) struct Seen {
    state: RandomState,
    first: HashMap<u64, Place, BuildHasherDefault<Identity>>,
    /// Other series under bits that are taken.
    collided: Vec<(u64, Place)>,
    /// All but these bits are dropped: tests make everything collide.
    mask: u64,
}

impl Seen {
    pub(super) fn new(series: usize, mask: u64) -> Seen {
        Seen {
            state: RandomState::default(),
            first: HashMap::with_capacity_and_hasher(series, BuildHasherDefault::default()),
            collided: Vec::new(),
            mask,
        }
    }

    /// The bits of a series: those of its labels are added up, so that order does not
    /// matter; an empty value is no label.
    pub(super) fn bits(&self, name: &str, pairs: &[Pair<'_>]) -> u64 {
        let mut bits = self.state.hash_one(name);
        for pair in pairs.iter().filter(|p| !p.value.is_empty()) {
            let label = self.state.hash_one((pair.name.as_ref(), pair.value.as_ref()));
            bits = bits.wrapping_add(label);
        }
        bits & self.mask
    }

    /// Remembers a series, unless it is known: then where.
    pub(super) fn insert<'x>(
        &mut self,
        bits: u64,
        place: Place,
        is_same: impl Fn(Place) -> bool + 'x,
    ) -> Option<Place> {
        let first = *self.first.entry(bits).or_insert(place);
        if first == place {
            return None;
        }
        if is_same(first) {
            return Some(first);
        }
        let known = |entry: &&(u64, Place)| entry.0 == bits && is_same(entry.1);
        if let Some((_, other)) = self.collided.iter().find(known) {
            return Some(*other);
        }
        self.collided.push((bits, place));
        None
    }
}

/// Whether two canonical label texts are one set. Only asked when the bits agree.
pub(super) fn same_labels(kept: &str, pairs: &[Pair<'_>]) -> bool {
    let braced = format!("{{{kept}}}");
    let mut others = Vec::new();
    if Cursor::new(&braced, false).braces(&mut others).is_err() {
        return false;
    }
    sorted(&others) == sorted(pairs)
}

/// Sorted, without empty values: the same for each spelling of a set.
pub(super) fn sorted<'p>(pairs: &'p [Pair<'_>]) -> Vec<(&'p str, &'p str)> {
    let text = |t: &'p Cow<'_, str>| -> &'p str { t.as_ref() };
    let mut all: Vec<_> = pairs.iter().map(|p| (text(&p.name), text(&p.value))).collect();
    all.retain(|(_, value)| !value.is_empty());
    all.sort_unstable();
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_collision_is_no_duplicate() {
        // Everything has the bits 0.
        let mut seen = Seen::new(0, 0);
        let series = ["a", "b", "c", "b", "a", "c", "d"];
        let mut twice = Vec::new();
        for (at, name) in series.iter().enumerate() {
            let bits = seen.bits(name, &[]);
            let same = |(_, i): Place| series[i as usize] == *name;
            if let Some((_, first)) = seen.insert(bits, (0, at as u32), same) {
                twice.push((at, first));
            }
        }
        assert_eq!(twice, [(3, 1), (4, 0), (5, 2)]);
    }

    #[test]
    fn bits_are_those_of_the_set() {
        let seen = Seen::new(0, u64::MAX);
        let pair = |name: &'static str, value: &'static str| Pair { name: name.into(), value: value.into() };
        let bits = seen.bits("m", &[pair("a", "b"), pair("c", "d")]);
        assert_eq!(bits, seen.bits("m", &[pair("c", "d"), pair("a", "b"), pair("x", "")]));
        for other in [
            seen.bits("n", &[pair("a", "b"), pair("c", "d")]),
            seen.bits("m", &[pair("a", "d"), pair("c", "b")]),
            seen.bits("m", &[pair("a", "b")]),
            seen.bits("m", &[pair("ab", ""), pair("c", "d")]),
        ] {
            assert_ne!(bits, other);
        }
        assert!(same_labels(r#"a="b",x="",c="d""#, &[pair("c", "d"), pair("a", "b")]));
        assert!(!same_labels(r#"a="b""#, &[pair("c", "d"), pair("a", "b")]));
    }
}
