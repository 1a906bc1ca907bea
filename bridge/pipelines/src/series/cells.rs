//! A subject's series: found by a hash, walked in order.
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hashbrown::HashTable;

use super::cell::Cell;

/// A canonical label set and its hash.
#[derive(Debug, Clone)]
pub(super) struct LabelSet {
    pub(super) text: Arc<str>,
    pub(super) hash: u64,
}

/// A subject's cells, by metric (its place among the templates') and canonical label set.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// In no order; those of `free` hold nothing.
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Places in `slots`.
    found: HashTable<u32>,
    /// The same, in the order in which they are shown and written down.
    families: BTreeMap<u16, BTreeMap<Arc<str>, u32>>,
}

#[derive(Debug)]
struct Slot {
    at: u16,
    labels: LabelSet,
    cell: Cell,
}

impl Slot {
    fn is(&self, at: u16, labels: &LabelSet) -> bool {
        // Mostly the very text: then it need not be read.
        let same = || Arc::ptr_eq(&self.labels.text, &labels.text) || self.labels.text == labels.text;
        self.at == at && self.labels.hash == labels.hash && same()
    }

    fn hash(&self) -> u64 {
        hash(self.at, &self.labels)
    }
}

fn hash(at: u16, labels: &LabelSet) -> u64 {
    labels.hash ^ u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Cells {
    /// The cell of a label set.
    pub(super) fn get_mut(&mut self, at: u16, labels: &LabelSet) -> Option<&mut Cell> {
        let slots = &self.slots;
        let place = *self.found.find(hash(at, labels), |place| slots[*place as usize].is(at, labels))?;
        Some(&mut self.slots[place as usize].cell)
    }

    /// Puts a cell where there is none, or in the place of the one that there is.
    pub(super) fn insert(&mut self, at: u16, labels: LabelSet, cell: Cell) {
        if let Some(known) = self.get_mut(at, &labels) {
            *known = cell;
            return;
        }
        let slot = Slot { at, labels, cell };
        // As many as there are metrics and caps at most: far below 2³².
        let place = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.families.entry(at).or_default().insert(slot.labels.text.clone(), place);
        let hash = slot.hash();
        match self.slots.get_mut(place as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        let slots = &self.slots;
        self.found.insert_unique(hash, place, |place| slots[*place as usize].hash());
    }

    /// Takes a cell away; `false` if there is none.
    pub(super) fn remove(&mut self, at: u16, labels: &LabelSet) -> bool {
        let slots = &self.slots;
        let Ok(entry) = self.found.find_entry(hash(at, labels), |place| slots[*place as usize].is(at, labels)) else {
            return false;
        };
        let (place, _) = entry.remove();
        self.free.push(place);
        if let Some(family) = self.families.get_mut(&at) {
            family.remove(&labels.text);
        }
        true
    }

    /// How many label sets a metric has.
    pub(super) fn count(&self, at: u16) -> usize {
        self.families.get(&at).map_or(0, BTreeMap::len)
    }

    /// How many label sets all metrics have.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Every metric that has a label set, in order.
    pub(super) fn families(&self) -> impl Iterator<Item = (u16, Family<'_>)> {
        let some = self.families.iter().filter(|(_, family)| !family.is_empty());
        some.map(|(at, family)| (*at, Family { slots: &self.slots, family }))
    }

    /// All of them, in no order.
    pub(super) fn into_all(self) -> impl Iterator<Item = (u16, LabelSet, Cell)> {
        let gone: HashSet<u32> = self.free.into_iter().collect();
        let slots = (0..).zip(self.slots).filter(move |(place, _)| !gone.contains(place));
        slots.map(|(_, slot)| (slot.at, slot.labels, slot.cell))
    }
}

/// One metric's cells, by label set, in order.
#[derive(Clone, Copy)]
pub(super) struct Family<'a> {
    slots: &'a [Slot],
    family: &'a BTreeMap<Arc<str>, u32>,
}

impl<'a> Family<'a> {
    pub(super) fn len(self) -> usize {
        self.family.len()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, &'a Cell)> {
        self.family.iter().map(move |(labels, place)| (&**labels, &self.slots[*place as usize].cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> LabelSet {
        // One hash for all: only the text tells them apart.
        LabelSet { text: text.into(), hash: 7 }
    }

    fn shown(cells: &Cells) -> Vec<(u16, String, Cell)> {
        let all = cells.families().flat_map(|(at, family)| family.iter().map(move |(text, cell)| (at, text, cell)));
        all.map(|(at, text, cell)| (at, text.to_owned(), cell.clone())).collect()
    }

    fn number(at: u16, text: &str, value: f64) -> (u16, String, Cell) {
        (at, text.to_owned(), Cell::Number(value))
    }

    #[test]
    fn a_removed_cell_makes_room_for_another() {
        let mut cells = Cells::default();
        for (at, text, value) in [(1, "b", 1.0), (1, "a", 2.0), (0, "a", 3.0)] {
            cells.insert(at, labels(text), Cell::Number(value));
        }
        assert!(cells.remove(1, &labels("b")));
        assert!(!cells.remove(1, &labels("b")));
        assert!(cells.get_mut(1, &labels("b")).is_none());
        cells.insert(2, labels("c"), Cell::Number(4.0));
        assert_eq!((cells.slots.len(), cells.len(), cells.count(1)), (3, 3, 1));
        assert_eq!(shown(&cells), [number(0, "a", 3.0), number(1, "a", 2.0), number(2, "c", 4.0)]);
        cells.insert(2, labels("c"), Cell::Number(5.0));
        assert!(cells.remove(0, &labels("a")));
        assert_eq!(shown(&cells), [number(1, "a", 2.0), number(2, "c", 5.0)]);
        let mut moved = Cells::default();
        cells.into_all().for_each(|(at, labels, cell)| moved.insert(at, labels, cell));
        assert_eq!(shown(&moved), [number(1, "a", 2.0), number(2, "c", 5.0)]);
    }
}
