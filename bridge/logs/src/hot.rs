//! Hot jobs: blocks of lines in memory, as many bytes as configured, the job that was not
//! asked for longest goes first.
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::metrics::LogMetrics;

/// Which block of which file; a generation never has two contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockKey {
    pub(crate) generation: u64,
    pub(crate) start: u64,
}

#[derive(Debug, Default)]
struct HotJob {
    blocks: BTreeMap<BlockKey, Arc<[u8]>>,
    bytes: usize,
}

#[derive(Debug)]
struct Inner {
    jobs: LruCache<String, HotJob>,
    bytes: usize,
}

/// The memory, shared by all readers of a process.
#[derive(Debug)]
pub(crate) struct Hot {
    inner: Mutex<Inner>,
    capacity: usize,
    metrics: LogMetrics,
}

impl Hot {
    pub(crate) fn new(capacity: usize, metrics: LogMetrics) -> Hot {
        metrics.hot_capacity.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        let inner = Mutex::new(Inner { jobs: LruCache::unbounded(), bytes: 0 });
        Hot { inner, capacity, metrics }
    }

    /// A block, read with `load` where it is not here.
    pub(crate) fn block(
        &self,
        job: &str,
        key: BlockKey,
        load: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Arc<[u8]>> {
        {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(block) = inner.jobs.get(job).and_then(|hot| hot.blocks.get(&key)) {
                self.metrics.hot_hits.inc();
                return Ok(Arc::clone(block));
            }
        }
        self.metrics.hot_misses.inc();
        // Nobody waits for a disk that is slow for another job.
        let block: Arc<[u8]> = load()?.into();
        if block.len() <= self.capacity {
            self.keep(job, key, &block);
        }
        Ok(block)
    }

    fn keep(&self, job: &str, key: BlockKey, block: &Arc<[u8]>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let hot = inner.jobs.get_or_insert_mut(job.to_owned(), HotJob::default);
        if hot.blocks.insert(key, Arc::clone(block)).is_none() {
            hot.bytes += block.len();
            inner.bytes += block.len();
        }
        while inner.bytes > self.capacity {
            let alone = inner.jobs.len() == 1;
            let Some((_, oldest)) = inner.jobs.peek_lru() else { break };
            if alone && oldest.blocks.len() > 1 {
                inner.shrink(key);
            } else if let Some((_, gone)) = inner.jobs.pop_lru() {
                inner.bytes -= gone.bytes;
            }
        }
        self.metrics.hot_bytes.set(i64::try_from(inner.bytes).unwrap_or(i64::MAX));
    }
}

impl Inner {
    /// The only job is larger than the memory: its first block but `spared` goes.
    fn shrink(&mut self, spared: BlockKey) {
        let Some((_, hot)) = self.jobs.iter_mut().next() else { return };
        let Some(victim) = hot.blocks.keys().copied().find(|key| *key != spared) else { return };
        if let Some(block) = hot.blocks.remove(&victim) {
            hot.bytes -= block.len();
            self.bytes -= block.len();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use prometheus::Registry;

    #[test]
    fn the_job_not_asked_for_longest_goes_first() {
        let metrics = LogMetrics::new(&Registry::new()).unwrap();
        let hot = Hot::new(300, metrics.clone());
        let get = |job: &str, start: u64| {
            let before = metrics.hot_hits.get();
            hot.block(job, BlockKey { generation: 1, start }, || Ok(vec![0; 100])).unwrap();
            metrics.hot_hits.get() > before
        };
        assert!(!get("a", 0) && !get("b", 0) && !get("c", 0));
        assert!(get("a", 0), "all three fit");
        assert!(!get("d", 0));
        assert!(get("a", 0) && !get("b", 0), "b was not asked for longest");
        for start in 0..9 {
            get("big", start);
        }
        assert_eq!(metrics.hot_bytes.get(), 300);
        assert!(get("big", 8));
        hot.block("big", BlockKey { generation: 2, start: 0 }, || Ok(vec![0; 301])).unwrap();
        assert_eq!(metrics.hot_bytes.get(), 300, "what is larger than all is not kept");
    }
}
