//! Writing runs: what the store has already is left out, what is new becomes a segment.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use futures_util::StreamExt;
use lru::LruCache;

use super::buffer::{Key, Run};
use super::segment::{Position, pack};
use super::{AT_ONCE, Objects, by_origin, object_name};
use crate::metrics::Refused;
use crate::store::{Appended, StoreConfig};

/// Keys whose end in the store is remembered; others are looked up again.
const TAILS: usize = 20_000;

/// How far the store has a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tail {
    last: Option<Position>,
    /// Bytes of lines, for the quota.
    bytes: u64,
}

/// See the module's documentation.
pub(crate) struct Flush {
    objects: Objects,
    config: StoreConfig,
    tails: LruCache<Key, Tail>,
}

/// What became of the runs of one key.
struct Written {
    key: Key,
    tail: Option<Tail>,
    tally: Appended,
    /// Those that are not in the store.
    left: Vec<usize>,
    error: Option<String>,
}

impl Flush {
    pub(crate) fn new(objects: Objects, config: StoreConfig) -> Flush {
        Flush { objects, config, tails: LruCache::unbounded() }
    }

    /// Looks these partitions up again.
    pub(crate) fn forget(&mut self, origins: &BTreeSet<Arc<str>>) {
        if origins.is_empty() {
            return;
        }
        let gone: Vec<Key> =
            self.tails.iter().map(|(key, _)| key).filter(|key| origins.contains(&key.origin)).cloned().collect();
        for key in gone {
            self.tails.pop(&key);
        }
    }

    /// Writes runs, those of a key in their order. The numbers of those that are not written,
    /// and why not.
    pub(crate) fn write(&mut self, runs: &[(Key, Run)]) -> (Appended, BTreeSet<usize>, Option<String>) {
        let mut keys: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        for (i, (key, _)) in runs.iter().enumerate() {
            keys.entry(key).or_default().push(i);
        }
        let (objects, config) = (&self.objects, &self.config);
        let mut asked = Vec::new();
        for (key, numbers) in keys {
            let tail = self.tails.get(key).copied();
            asked.push(write_key(objects, config, key, tail, numbers, runs));
        }
        let all = async { Ok(futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await) };
        let written: io::Result<Vec<Written>> = objects.wait(all);
        let (mut tally, mut left, mut error) = (Appended::default(), BTreeSet::new(), None);
        for one in written.unwrap_or_default() {
            tally.add(&one.tally);
            left.extend(one.left);
            error = one.error.or(error);
            match one.tail {
                Some(tail) => drop(self.tails.push(one.key, tail)),
                None => drop(self.tails.pop(&one.key)),
            }
        }
        while self.tails.len() > TAILS {
            self.tails.pop_lru();
        }
        (tally, left, error)
    }
}

async fn write_key(
    objects: &Objects,
    config: &StoreConfig,
    key: &Key,
    known: Option<Tail>,
    numbers: Vec<usize>,
    runs: &[(Key, Run)],
) -> Written {
    let mut written =
        Written { key: key.clone(), tail: known, tally: Appended::default(), left: Vec::new(), error: None };
    for (i, number) in numbers.iter().enumerate() {
        if let Err(error) = write_run(objects, config, key, &runs[*number].1, &mut written).await {
            // What is there must be looked at before anything else is written.
            written.tail = None;
            written.left = numbers[i..].to_vec();
            written.error = Some(error.to_string());
            break;
        }
    }
    written
}

async fn write_run(
    objects: &Objects,
    config: &StoreConfig,
    key: &Key,
    run: &Run,
    written: &mut Written,
) -> io::Result<()> {
    let name = object_name(&key.job).ok_or(io::ErrorKind::InvalidInput)?;
    let below = objects.job(&key.day, &name).join(&*key.origin);
    let mut tail = match written.tail {
        Some(tail) => tail,
        None => look_up(objects, &below).await?,
    };
    let room = config.day_bytes(&key.job).saturating_sub(tail.bytes);
    let fitted = run.fit(tail.last, room);
    if let Some(segment) = fitted.segment {
        objects.create(&below.join(segment.name()), pack(&key.job, &fitted.lines)?).await?;
        tail = Tail { last: Some(segment.last), bytes: tail.bytes + segment.bytes };
        written.tally.written += segment.entries;
        written.tally.bytes += segment.bytes;
        written.tally.refuse(Refused::Quota, segment.cut);
    }
    written.tally.duplicates += fitted.duplicates;
    written.tail = Some(tail);
    Ok(())
}

async fn look_up(objects: &Objects, below: &object_store::path::Path) -> io::Result<Tail> {
    let (kept, _) = by_origin(objects.segments(below).await?);
    let segments = kept.iter().flat_map(|(_, found)| found);
    Ok(segments.fold(Tail::default(), |tail, found| Tail {
        last: tail.last.max(Some(found.segment.last)),
        bytes: tail.bytes + found.segment.bytes,
    }))
}
