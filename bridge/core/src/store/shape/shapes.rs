//! The shapes that live, so that origins with the same one share it.
//!
//! Held by the one owner of a partition; looked at only when a dump is not in the shape of
//! its origin's last one. It keeps nothing alive: a shape goes with its last user.
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use foldhash::fast::RandomState;

use super::block::Block;
use super::{DumpShape, Rules, variable};

/// So many known shapes are tried for an origin without one.
const TRIED: usize = 4;

/// The shapes of one partition.
#[derive(Debug, Default)]
pub struct Shapes {
    known: Mutex<Known>,
    bytes: Arc<AtomicUsize>,
    state: RandomState,
}

#[derive(Debug, Default)]
struct Known {
    blocks: Table<Block>,
    dumps: Table<DumpShape>,
    /// By the first line, the newest last.
    first_lines: Table<DumpShape>,
}

/// What lives, by its hash.
#[derive(Debug)]
struct Table<T> {
    entries: HashMap<u64, Vec<Weak<T>>>,
    held: usize,
    /// Look for what has gone when so many are held.
    sweep_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { entries: HashMap::new(), held: 0, sweep_at: 64 }
    }
}

impl<T> Table<T> {
    fn find(&self, hash: u64, is_same: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        self.entries.get(&hash)?.iter().filter_map(Weak::upgrade).find(|known| is_same(known))
    }

    fn keep(&mut self, hash: u64, value: &Arc<T>) {
        if self.held >= self.sweep_at {
            self.sweep();
        }
        self.entries.entry(hash).or_default().push(Arc::downgrade(value));
        self.held += 1;
    }

    fn sweep(&mut self) {
        self.entries.retain(|_, all| {
            all.retain(|w| w.strong_count() > 0);
            !all.is_empty()
        });
        self.held = self.entries.values().map(Vec::len).sum();
        self.sweep_at = self.held * 2 + 64;
        self.entries.shrink_to(self.held * 2);
    }
}

impl Shapes {
    /// Bytes of memory of all shapes that live.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of blocks that live.
    pub fn blocks(&self) -> usize {
        let mut known = self.lock();
        known.blocks.sweep();
        known.blocks.held
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // A panic while it was held leaves at worst an entry less.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn hash(&self, what: impl Hash) -> u64 {
        self.state.hash_one(what)
    }

    /// The block as others know it, or this one, known from now on.
    pub(super) fn block(&self, mut block: Block) -> Arc<Block> {
        let hash = self.hash(&block.text);
        let mut known = self.lock();
        if let Some(known) = known.blocks.find(hash, |other| other.is_same(&block)) {
            return known;
        }
        self.bytes.fetch_add(block.bytes(), Ordering::Relaxed);
        block.heads = block.heads();
        block.account = Some(self.bytes.clone());
        let block = Arc::new(block);
        known.blocks.keep(hash, &block);
        block
    }

    /// The shape of a dump as others know it, or this one, known from now on.
    pub(super) fn dump(&self, mut shape: DumpShape, body: &[u8]) -> Arc<DumpShape> {
        let ids: Vec<usize> = shape.blocks.iter().map(|b| Arc::as_ptr(b) as usize).collect();
        let hash = self.hash(&ids);
        let mut known = self.lock();
        let is_same = |other: &DumpShape| {
            other.context == shape.context
                && other.tail == shape.tail
                && other.places == shape.places
                && other.blocks.len() == shape.blocks.len()
                && other.blocks.iter().zip(&shape.blocks).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if let Some(known) = known.dumps.find(hash, is_same) {
            return known;
        }
        self.bytes.fetch_add(shape.own_bytes(), Ordering::Relaxed);
        shape.account = Some(self.bytes.clone());
        let shape = Arc::new(shape);
        known.dumps.keep(hash, &shape);
        known.first_lines.keep(self.first_line(body), &shape);
        shape
    }

    fn first_line(&self, body: &[u8]) -> u64 {
        let end = match body.first() {
            Some(b'#') => memchr::memchr(b'\n', body),
            _ => memchr::memchr2(b'{', b' ', body),
        };
        let line = &body[..end.unwrap_or(0)];
        // Whatever the id is.
        let id = variable::of_body(body).filter(|id| id.end <= line.len()).unwrap_or(0..0);
        self.hash((&line[..id.start], &line[id.end..]))
    }

    /// Shapes that a body may have, the newest first.
    pub(super) fn candidates(&self, rules: &Rules<'_>, body: &[u8]) -> Vec<Arc<DumpShape>> {
        let hash = self.first_line(body);
        let known = self.lock();
        let all = known.first_lines.entries.get(&hash);
        let living = all.into_iter().flatten().rev().filter_map(Weak::upgrade);
        living.filter(|shape| shape.context.admits(rules)).take(TRIED).collect()
    }
}
