//! Records that were applied already: a window over `k2p-id` (design §2).
//!
//! For replayed state. An id is a producer's incarnation and a sequence, or what a client of
//! `POST /api/v1/events` or of a push chose. The window holds the last `records` ids that are not
//! older than `age_ms` of append time; it is part of the snapshot, so that a repeat
//! across a failover is still one. Beyond it a repeat counts again.
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::envelope::ProducerId;
use crate::model::UnixMs;
use foldhash::fast::RandomState;

/// Why bytes are no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DedupError {
    /// They end too early, or an entry names no incarnation.
    #[error("an entry ends too early or names no incarnation")]
    Short,
    /// An incarnation is no text.
    #[error("an incarnation is not UTF-8")]
    Utf8,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupWindow {
    /// Ids.
    pub records: usize,
    /// Milliseconds of append time.
    pub age_ms: i64,
}

impl Default for DedupWindow {
    fn default() -> DedupWindow {
        DedupWindow { records: 100_000, age_ms: 24 * 3_600_000 }
    }
}

/// The window.
#[derive(Debug, Clone)]
pub struct Dedup {
    window: DedupWindow,
    /// The sequences of each incarnation; none of them empty.
    ids: HashMap<Arc<str>, HashSet<u64, RandomState>, RandomState>,
    /// In the order of their arrival.
    order: VecDeque<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    incarnation: Arc<str>,
    sequence: u64,
    time: UnixMs,
}

impl Dedup {
    /// An empty window.
    pub fn new(window: DedupWindow) -> Dedup {
        Dedup { window, ids: HashMap::default(), order: VecDeque::new() }
    }

    /// Whether the id is in the window.
    pub fn contains(&self, id: &ProducerId) -> bool {
        self.ids.get(id.incarnation.as_str()).is_some_and(|known| known.contains(&id.sequence))
    }

    /// Remembers an id; `false` if it was in the window already. `time` is the append
    /// time of its record.
    pub fn insert(&mut self, id: &ProducerId, time: UnixMs) -> bool {
        let incarnation = match self.ids.get_key_value(id.incarnation.as_str()) {
            Some((known, _)) => known.clone(),
            None => Arc::from(id.incarnation.as_str()),
        };
        if !self.ids.entry(incarnation.clone()).or_default().insert(id.sequence) {
            return false;
        }
        self.order.push_back(Entry { incarnation, sequence: id.sequence, time });
        self.forget(time);
        true
    }

    /// Ids in the window.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget(&mut self, now: UnixMs) {
        while let Some(oldest) = self.order.front() {
            let fits = self.order.len() <= self.window.records;
            if fits && now.saturating_sub(oldest.time) <= self.window.age_ms {
                return;
            }
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            let Some(known) = self.ids.get_mut(&oldest.incarnation) else {
                continue;
            };
            known.remove(&oldest.sequence);
            if known.is_empty() {
                self.ids.remove(&oldest.incarnation);
            }
        }
    }

    /// The window's bytes for a snapshot: the incarnations by first appearance, then one
    /// entry of 20 bytes for each id.
    pub fn save(&self) -> Vec<u8> {
        let mut numbers: HashMap<&str, u32, RandomState> = HashMap::default();
        let mut texts: Vec<&str> = Vec::new();
        for entry in &self.order {
            numbers.entry(&entry.incarnation).or_insert_with(|| {
                texts.push(&entry.incarnation);
                texts.len() as u32 - 1
            });
        }
        let mut out = Vec::with_capacity(8 + texts.len() * 40 + self.order.len() * 20);
        out.extend_from_slice(&(texts.len() as u32).to_le_bytes());
        for text in texts {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&(self.order.len() as u32).to_le_bytes());
        for entry in &self.order {
            let number = numbers.get(&*entry.incarnation).copied().unwrap_or_default();
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&entry.sequence.to_le_bytes());
            out.extend_from_slice(&entry.time.to_le_bytes());
        }
        out
    }

    /// The window that was saved; a window that became smaller forgets the oldest.
    ///
    /// # Errors
    /// [`DedupError`]: the bytes are none that [`Dedup::save`] wrote.
    pub fn restore(window: DedupWindow, bytes: &[u8]) -> Result<Dedup, DedupError> {
        let mut dedup = Dedup::new(window);
        let mut rest = bytes;
        let mut texts = Vec::new();
        for _ in 0..number(&mut rest).map(u32::from_le_bytes)? {
            let length = number(&mut rest).map(u32::from_le_bytes)? as usize;
            let (text, after) = rest.split_at_checked(length).ok_or(DedupError::Short)?;
            let text = std::str::from_utf8(text).map_err(|_| DedupError::Utf8)?;
            texts.push(Arc::<str>::from(text));
            rest = after;
        }
        for _ in 0..number(&mut rest).map(u32::from_le_bytes)? {
            let at = number(&mut rest).map(u32::from_le_bytes)? as usize;
            let incarnation = texts.get(at).ok_or(DedupError::Short)?.clone();
            let sequence = number(&mut rest).map(u64::from_le_bytes)?;
            let time = number(&mut rest).map(i64::from_le_bytes)?;
            dedup.ids.entry(incarnation.clone()).or_default().insert(sequence);
            dedup.order.push_back(Entry { incarnation, sequence, time });
        }
        if let Some(newest) = dedup.order.back().map(|e| e.time) {
            dedup.forget(newest);
        }
        Ok(dedup)
    }
}

fn number<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DedupError> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(DedupError::Short)?;
    *rest = after;
    Ok(*bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn id(incarnation: &str, sequence: u64) -> ProducerId {
        ProducerId { incarnation: incarnation.into(), sequence }
    }

    fn window() -> Dedup {
        Dedup::new(DedupWindow { records: 3, age_ms: 1000 })
    }

    #[test]
    fn an_id_is_new_once_within_the_window() {
        let mut dedup = window();
        assert!(dedup.insert(&id("a", 1), 0));
        assert!(!dedup.insert(&id("a", 1), 10));
        assert!(dedup.insert(&id("b", 1), 10));
        assert!(dedup.contains(&id("a", 1)) && !dedup.contains(&id("a", 2)));
    }

    #[test]
    fn the_window_ends_by_number_and_by_append_time() {
        let mut dedup = window();
        for sequence in 1..=4 {
            assert!(dedup.insert(&id("a", sequence), 0));
        }
        assert_eq!((dedup.len(), dedup.contains(&id("a", 1)), dedup.contains(&id("a", 2))), (3, false, true));
        assert!(dedup.insert(&id("b", 1), 1000));
        assert!(dedup.contains(&id("a", 4)));
        assert!(dedup.insert(&id("b", 2), 1001));
        assert_eq!((dedup.len(), dedup.contains(&id("a", 4)), dedup.ids.len()), (2, false, 1));
        // An append time that jumps back forgets nothing.
        assert!(dedup.insert(&id("b", 3), -5000));
        assert_eq!(dedup.len(), 3);
    }

    #[test]
    fn a_snapshot_holds_all_of_it() {
        let mut dedup = window();
        for (incarnation, sequence) in [("a", 1), ("ä;", u64::MAX), ("a", 3)] {
            dedup.insert(&id(incarnation, sequence), 7);
        }
        let bytes = dedup.save();
        let mut back = Dedup::restore(dedup.window, &bytes).unwrap();
        assert_eq!(back.save(), bytes);
        assert!(!back.insert(&id("ä;", u64::MAX), 8));
        let smaller = DedupWindow { records: 1, ..dedup.window };
        assert_eq!(Dedup::restore(smaller, &bytes).unwrap().len(), 1);
        for cut in 0..bytes.len() {
            assert!(Dedup::restore(dedup.window, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
