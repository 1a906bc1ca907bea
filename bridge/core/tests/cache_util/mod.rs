//! What the tests of cache, merge and exposition share.
#![allow(dead_code, reason = "each test binary uses its part of it")]
use std::sync::Arc;

use k2p_core::cache::{Applied, CacheConfig, Now, Outcome, PartitionCache};
use k2p_core::envelope::RawRecord;
use k2p_core::exposition::{self, Format, Summary};
use k2p_core::merge::Sources;
use k2p_core::view::PartitionView;

pub(crate) const T0: i64 = 1_700_000_000_000;

pub(crate) fn now(ms: i64) -> Now {
    Now { unix: T0 + ms, mono: 5_000_000 + ms }
}

pub(crate) fn cache(config: CacheConfig) -> PartitionCache {
    let mut cache = PartitionCache::new(Arc::from("k2p.metrics"), 0, 0, config);
    cache.set_live(true);
    cache
}

/// One record with its headers, as a table writes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rec {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

impl Rec {
    pub(crate) fn new(offset: i64, key: &str, time: i64, value: &str) -> Rec {
        Rec {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            headers: vec![("k2p-time".to_owned(), (T0 + time).to_string().into())],
            offset,
            timestamp: T0 + time,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Rec {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn part(self, text: &str) -> Rec {
        self.header("k2p-part", text)
    }

    pub(crate) fn with_raw<R>(&self, take: impl FnOnce(&RawRecord<'_>) -> R) -> R {
        let headers: Vec<(&str, &[u8])> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        take(&RawRecord {
            key: Some(self.key.as_bytes()),
            value: (!self.value.is_empty()).then_some(self.value.as_slice()),
            headers: &headers,
            timestamp: Some(self.timestamp),
            offset: self.offset,
        })
    }
}

pub(crate) fn apply(cache: &mut PartitionCache, rec: &Rec, at: i64) -> Applied {
    rec.with_raw(|raw| cache.apply(raw, now(at)))
}

/// A word for an outcome.
pub(crate) fn word(applied: &Applied) -> String {
    match &applied.outcome {
        Outcome::Accepted(accepted) => format!("accepted {}", accepted.series),
        Outcome::Refused(refusal) => format!("refused {}", refusal.reason),
        Outcome::Dropped(reason) => format!("dropped {reason}"),
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::Pending => "pending".to_owned(),
    }
}

/// A view of origins given as key and dump; a dump that ends in `# EOF` is OpenMetrics.
pub(crate) fn view(config: CacheConfig, origins: &[(&str, &str)]) -> Arc<PartitionView> {
    let mut cache = cache(config);
    for (i, (key, text)) in origins.iter().enumerate() {
        let applied = apply(&mut cache, &Rec::new(i as i64, key, 0, text), 0);
        assert!(matches!(applied.outcome, Outcome::Accepted(_)), "{key}: {applied:?}");
    }
    cache.view()
}

pub(crate) fn write(views: &[Arc<PartitionView>], format: Format) -> (String, Summary) {
    let (bytes, summary) = exposition::to_bytes(&Sources::collect(None, views, None), format);
    (String::from_utf8(bytes).expect("an exposition is UTF-8"), summary)
}

/// So many times the cases that `PROPTEST_CASES` asks for (256 if it asks for none).
/// A failure prints its input; nothing is written into the tree.
pub(crate) fn cases(times: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config::default();
    proptest::test_runner::Config { cases: default.cases * times, failure_persistence: None, ..default }
}
