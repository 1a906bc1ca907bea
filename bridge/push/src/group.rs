//! A group, as of a moment: immutable, shared between the state and whoever reads.
use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use k2p_core::labels::Labels;
use k2p_core::model::{Family, MonoMs, Parsed, UnixMs};
use k2p_core::store::StoredDump;
use k2p_core::view::Origin;

use crate::bytes::{Cut, Reader, Writer};
use crate::family::PushedFamily;
use crate::key::GroupingKey;

/// All groups of a partition; a clone costs a reference count.
#[derive(Debug, Clone)]
pub struct GroupsView {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to apply: everything below is in here.
    pub position: i64,
    /// By canonical grouping key.
    pub groups: OrdMap<Arc<str>, Arc<Group>>,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub(crate) key: GroupingKey,
    /// By name.
    pub(crate) families: BTreeMap<Arc<str>, Arc<PushedFamily>>,
    /// The Pushgateway's own: when a push succeeded, when one failed.
    stamps: [Arc<PushedFamily>; 2],
    pub(crate) pushed: Option<UnixMs>,
    pub(crate) failed: Option<UnixMs>,
    pub(crate) failure: Option<Box<str>>,
    /// Milliseconds after `since`.
    pub(crate) ttl: Option<i64>,
    /// From when on its ttl counts: its last push, or its making where there was none.
    pub(crate) since: UnixMs,
    /// The offset of that record: what an expiry must have seen.
    pub(crate) since_offset: i64,
    /// The offset of the last record that changed anything.
    pub(crate) offset: i64,
}

impl Group {
    /// A group that was never pushed.
    pub(crate) fn new(key: &GroupingKey, at: UnixMs, offset: i64) -> Group {
        let stamp = |which| Arc::new(PushedFamily::stamp(which, None, at, key));
        Group {
            key: key.clone(),
            families: BTreeMap::new(),
            stamps: [stamp(0), stamp(1)],
            pushed: None,
            failed: None,
            failure: None,
            ttl: None,
            since: at,
            since_offset: offset,
            offset,
        }
    }

    /// Brings the two families that the group makes itself up to date.
    pub(crate) fn stamp(&mut self, at: UnixMs) {
        for (which, value) in [self.pushed, self.failed].into_iter().enumerate() {
            self.stamps[which] = Arc::new(PushedFamily::stamp(which, value, at, &self.key));
        }
    }

    /// Its grouping key: labels, canonical text, path.
    pub fn key(&self) -> &GroupingKey {
        &self.key
    }

    /// When it was last pushed with success (append time, Unix ms); `None`: never.
    pub fn pushed(&self) -> Option<UnixMs> {
        self.pushed
    }

    /// When a push of it was last refused; `None`: never.
    pub fn failed(&self) -> Option<UnixMs> {
        self.failed
    }

    /// Why that push was refused.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether its last push succeeded.
    pub fn last_push_succeeded(&self) -> bool {
        self.failed.unwrap_or(0) <= self.pushed.unwrap_or(0)
    }

    /// Milliseconds after its last push at which it goes; `None`: never.
    pub fn ttl(&self) -> Option<i64> {
        self.ttl
    }

    /// When it goes if it is not pushed before, Unix ms.
    pub fn expires(&self) -> Option<UnixMs> {
        self.ttl.map(|ttl| self.since.saturating_add(ttl))
    }

    /// The offset of the last record that changed it.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// What was pushed, sorted by name.
    pub fn families(&self) -> impl ExactSizeIterator<Item = &PushedFamily> {
        self.families.values().map(AsRef::as_ref)
    }

    /// `push_time_seconds` and `push_failure_time_seconds`, which it makes itself.
    pub fn stamps(&self) -> impl ExactSizeIterator<Item = &PushedFamily> {
        self.stamps.iter().map(AsRef::as_ref)
    }

    /// The family of that name, its own two included.
    pub fn family(&self, name: &str) -> Option<&PushedFamily> {
        let pushed = self.families.get(name).map(AsRef::as_ref);
        pushed.or_else(|| self.stamps().find(|family| family.name() == name))
    }

    /// Series that were pushed.
    pub fn series(&self) -> usize {
        self.families().map(PushedFamily::series).sum()
    }

    /// Estimated bytes of memory of what was pushed.
    pub fn bytes(&self) -> usize {
        self.families().map(PushedFamily::bytes).sum()
    }

    /// Everything that it holds in text format 1.0.0 (0.0.4 where names are legacy ones), with
    /// its labels.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for family in self.families().chain(self.stamps()) {
            family.write_text(&mut out, self.key.labels().canonical());
        }
        out
    }

    /// What a scrape reads of it. `fixed`: the labels that the topic is configured with.
    pub(crate) fn origin(&self, fixed: &Labels, now: MonoMs) -> Origin {
        let labels = self.key.labels().with(fixed);
        let families: Vec<Family<'_>> = self.families().chain(self.stamps()).map(PushedFamily::as_family).collect();
        let dump = StoredDump::build(&Parsed { families, ..Parsed::default() }, &labels, false, fixed);
        Origin {
            key: self.key.shared(),
            record_key: Arc::from(self.key.canonical().as_bytes()),
            labels,
            dump_time: self.pushed.max(self.failed).unwrap_or(self.since),
            seen: now,
            offset: self.offset,
            dump_bytes: dump.bytes() as u64,
            dump: Some(Arc::new(dump)),
            stamp: false,
            last_refusal: self.failure.as_deref().filter(|_| !self.last_push_succeeded()).map(Arc::from),
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.text(self.key.canonical());
        for time in [self.pushed, self.failed, self.ttl] {
            out.optional(time);
        }
        out.optional_text(self.failure.as_deref());
        // The stamps' own time is when anything last changed.
        for number in [self.since, self.since_offset, self.offset, self.stamps[0].pushed()] {
            out.signed(number);
        }
        out.count(self.families.len());
        for family in self.families() {
            family.save(out);
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Group, Cut> {
        let key = GroupingKey::from_record(from.text()?.as_bytes()).map_err(|_| Cut)?;
        let mut group = Group::new(&key, 0, 0);
        group.pushed = from.optional()?;
        group.failed = from.optional()?;
        group.ttl = from.optional()?;
        group.failure = from.optional_text()?.map(Box::from);
        group.since = from.signed()?;
        group.since_offset = from.signed()?;
        group.offset = from.signed()?;
        group.stamp(from.signed()?);
        for _ in 0..from.count()? {
            let family = PushedFamily::load(from)?;
            group.families.insert(family.shared_name(), Arc::new(family));
        }
        Ok(group)
    }
}
