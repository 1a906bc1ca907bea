//! The groups of one partition: everything that its log's prefix says, and nothing else.
//!
//! Its clock is the append time of its records: `push_time_seconds` is when Kafka took the
//! push, the same on every bridge. What it must never depend on: the wall clock, this
//! bridge's configuration, how records are batched, when it was published or written down.
mod save;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use imbl::OrdMap;
use k2p_core::dedup::{Dedup, DedupWindow};
use k2p_core::envelope::{self, Envelope, RawRecord};
use k2p_core::labels::Labels;
use k2p_core::model::{MonoMs, UnixMs};
use k2p_core::reason::{RecordReason, Refusal};
use k2p_core::view::{Origin, PartitionView};

use crate::body::{self, Body};
use crate::group::{Group, GroupsView};
use crate::key::GroupingKey;
use crate::record::{self, FAILED, Headers, JUDGED, OP, Op, PUSHED, TTL};

pub use save::SnapshotError;

/// Groups of one partition; a new one beyond is refused.
pub const MAX_GROUPS: usize = 200_000;
/// Series of one group: posts add up.
pub const MAX_GROUP_SERIES: usize = 1_000_000;
/// A record is appended again after this, if it was not read back.
const AGAIN_MS: i64 = 10_000;

/// What a topic of pushes is configured with; none of it changes what the log says.
#[derive(Debug, Clone, Default)]
pub struct PushConfig {
    /// The topic.
    pub topic: Arc<str>,
    /// Labels that every series gets.
    pub labels: Labels,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it says.
    Applied(Op),
    /// It changes nothing at its place in the log: an expiry of what was pushed since, a
    /// deletion of what is not there.
    Void(Op),
    /// Its `k2p-id` was applied already.
    Duplicate,
    /// It stands below the position: it was applied already.
    Passed,
    /// It was refused whole.
    Refused(Refusal),
}

/// A group whose time is over: to be appended by the live owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The group.
    pub key: Arc<str>,
    /// The offset of its last push.
    pub judged: i64,
}

impl Expiry {
    /// The headers of the record that says it; its key is the group's, it has no value.
    pub fn headers(&self) -> Headers {
        let mut headers = record::headers(Op::Expire, None, None, None);
        headers.push((JUDGED, self.judged.to_string().into_bytes()));
        headers
    }
}

/// The replayed state of one partition.
#[derive(Debug, Clone)]
pub struct PushState {
    config: Arc<PushConfig>,
    partition: i32,
    /// The next offset to apply.
    position: i64,
    /// The append time of the last record.
    time: UnixMs,
    groups: OrdMap<Arc<str>, Arc<Group>>,
    dedup: Dedup,
    /// When groups go, those that do.
    expiring: BTreeSet<(UnixMs, Arc<str>)>,
    /// What changed since it was last published.
    dirty: BTreeSet<Arc<str>>,
    published: Published,
}

#[derive(Debug, Clone, Default)]
struct Published {
    origins: OrdMap<Arc<str>, Arc<Origin>>,
    series: u64,
    bytes: u64,
}

/// Offset and append time of a record.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: i64,
    time: UnixMs,
}

impl PushState {
    /// The state of an empty log.
    pub fn new(config: Arc<PushConfig>, partition: i32) -> PushState {
        PushState {
            config,
            partition,
            position: 0,
            time: 0,
            groups: OrdMap::new(),
            dedup: Dedup::new(DedupWindow::default()),
            expiring: BTreeSet::new(),
            dirty: BTreeSet::new(),
            published: Published::default(),
        }
    }

    /// Applies the next record. Records come in the order of the log; one below the
    /// position is passed over.
    pub fn apply(&mut self, record: &RawRecord<'_>) -> Outcome {
        if record.offset < self.position {
            return Outcome::Passed;
        }
        let place = Place { offset: record.offset, time: record.timestamp.unwrap_or(self.time) };
        let outcome = self.take(record, place).unwrap_or_else(Outcome::Refused);
        self.position = record.offset.saturating_add(1);
        self.time = place.time;
        outcome
    }

    fn take(&mut self, record: &RawRecord<'_>, place: Place) -> Result<Outcome, Refusal> {
        let envelope = envelope::open(record)?;
        if envelope.producer.as_ref().is_some_and(|id| self.dedup.contains(id)) {
            return Ok(Outcome::Duplicate);
        }
        let outcome = self.operate(record, &envelope, place);
        if let Some(id) = &envelope.producer {
            self.dedup.insert(id, place.time);
        }
        outcome
    }

    fn operate(&mut self, record: &RawRecord<'_>, envelope: &Envelope<'_>, place: Place) -> Result<Outcome, Refusal> {
        let said = record::header(record, OP);
        let Some(op) = said.and_then(Op::parse) else {
            let names = Op::ALL.map(Op::as_str).join(", ");
            return Err(bad_header(&format!("{OP} is none of {names}: push by HTTP, or upgrade this bridge")));
        };
        if op == Op::Wipe {
            return Ok(self.wipe());
        }
        let key = GroupingKey::from_record(record.key.unwrap_or_default())
            .map_err(|error| Refusal::new(RecordReason::BadKey, error.to_string()))?;
        let held = match op {
            Op::Put | Op::Post => {
                self.push(op, &key, record, envelope, place)?;
                true
            }
            Op::Refuse => {
                self.refuse(&key, record, envelope.body, place)?;
                true
            }
            Op::Delete => self.remove(key.canonical()),
            Op::Expire => {
                let judged = number(record, JUDGED)?.unwrap_or(-1);
                let over = |group: &Arc<Group>| {
                    group.since_offset <= judged && group.expires().is_some_and(|at| at <= place.time)
                };
                self.groups.get(key.canonical()).is_some_and(over) && self.remove(key.canonical())
            }
            Op::Wipe => false,
        };
        Ok(if held { Outcome::Applied(op) } else { Outcome::Void(op) })
    }

    fn push(
        &mut self,
        op: Op,
        key: &GroupingKey,
        record: &RawRecord<'_>,
        envelope: &Envelope<'_>,
        place: Place,
    ) -> Result<(), Refusal> {
        let ttl = number(record, TTL)?.filter(|ms| *ms > 0);
        let (pushed_there, failed_there) = (number(record, PUSHED)?, number(record, FAILED)?);
        let body = Body { content_type: envelope.content_type, encoding: envelope.encoding, bytes: envelope.body };
        let pushed = body::read(key, &body)?;
        let mut group = self.group(key, place)?;
        if op == Op::Put {
            group.families = BTreeMap::new();
        }
        for mut family in pushed {
            family.time = place.time;
            group.families.insert(family.shared_name(), Arc::new(family));
        }
        if group.series() > MAX_GROUP_SERIES {
            let detail = format!("the group would have more than {MAX_GROUP_SERIES} series: put it anew");
            return Err(Refusal::new(RecordReason::TooManySeries, detail));
        }
        let happened = |at: i64| (at > 0).then_some(at);
        group.pushed = pushed_there.map_or(Some(place.time), happened);
        if let Some(at) = failed_there {
            group.failed = happened(at);
        }
        group.ttl = ttl;
        (group.since, group.since_offset, group.offset) = (place.time, place.offset, place.offset);
        group.stamp(place.time);
        self.put(group);
        Ok(())
    }

    fn refuse(&mut self, key: &GroupingKey, record: &RawRecord<'_>, why: &[u8], place: Place) -> Result<(), Refusal> {
        let ttl = number(record, TTL)?.filter(|ms| *ms > 0);
        let known = self.groups.contains_key(key.canonical());
        let mut group = self.group(key, place)?;
        if !known {
            group.ttl = ttl;
        }
        let why = why.get(..record::MAX_REASON).unwrap_or(why);
        group.failed = Some(place.time);
        group.failure = Some(String::from_utf8_lossy(why).into());
        group.offset = place.offset;
        group.stamp(place.time);
        self.put(group);
        Ok(())
    }

    /// The group as it is, or a new one.
    fn group(&self, key: &GroupingKey, place: Place) -> Result<Group, Refusal> {
        match self.groups.get(key.canonical()) {
            Some(group) => Ok(Group::clone(group)),
            None if self.groups.len() >= MAX_GROUPS => {
                let detail = format!("the partition has {MAX_GROUPS} groups: delete some, or give them a ttl");
                Err(Refusal::new(RecordReason::TooManyOrigins, detail))
            }
            None => Ok(Group::new(key, place.time, place.offset)),
        }
    }

    fn put(&mut self, group: Group) {
        let key = group.key.shared();
        if let Some(at) = self.groups.get(&key).and_then(|before| before.expires()) {
            self.expiring.remove(&(at, key.clone()));
        }
        self.expiring.extend(group.expires().map(|at| (at, key.clone())));
        self.groups.insert(key.clone(), Arc::new(group));
        self.dirty.insert(key);
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some((key, before)) = self.groups.remove_with_key(key) else { return false };
        if let Some(at) = before.expires() {
            self.expiring.remove(&(at, key.clone()));
        }
        self.dirty.insert(key);
        true
    }

    fn wipe(&mut self) -> Outcome {
        self.dirty.extend(self.groups.keys().cloned());
        self.groups = OrdMap::new();
        self.expiring.clear();
        Outcome::Applied(Op::Wipe)
    }

    /// The groups whose time is over as of `now`, at most `most` of them. See [`Issued`].
    pub fn due(&self, now: UnixMs, most: usize) -> Vec<Expiry> {
        let over = self.expiring.iter().take_while(|(at, _)| *at <= now).take(most);
        let expiry = |key: &Arc<str>| {
            let group = self.groups.get(key)?;
            Some(Expiry { key: key.clone(), judged: group.since_offset })
        };
        over.filter_map(|(_, key)| expiry(key)).collect()
    }

    /// The view as of the position. Only groups that changed since the last call are made
    /// anew; `now` is when this bridge publishes them.
    pub fn publish(&mut self, now: MonoMs) -> Arc<PartitionView> {
        for key in std::mem::take(&mut self.dirty) {
            let before = self.published.origins.remove(&key);
            let after = self.groups.get(&key).map(|group| group.origin(&self.config.labels, now));
            if let Some((series, bytes)) = before.as_deref().map(size) {
                self.published.series -= series;
                self.published.bytes -= bytes;
            }
            if let Some(origin) = after {
                let (series, bytes) = size(&origin);
                self.published.series += series;
                self.published.bytes += bytes;
                self.published.origins.insert(key, Arc::new(origin));
            }
        }
        Arc::new(PartitionView {
            topic: self.config.topic.clone(),
            partition: self.partition,
            position: self.position,
            origins: self.published.origins.clone(),
            series: self.published.series,
            bytes: self.published.bytes,
            quarantined: 0,
        })
    }

    /// The groups as of the position, for pages and the API.
    pub fn groups(&self) -> Arc<GroupsView> {
        Arc::new(GroupsView {
            topic: self.config.topic.clone(),
            partition: self.partition,
            position: self.position,
            groups: self.groups.clone(),
        })
    }

    /// The next offset to apply.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The append time of the last record that was applied.
    pub fn time(&self) -> UnixMs {
        self.time
    }
}

fn size(origin: &Origin) -> (u64, u64) {
    origin.dump.as_ref().map_or((0, 0), |dump| (dump.series() as u64, dump.bytes() as u64))
}

fn number(record: &RawRecord<'_>, name: &'static str) -> Result<Option<i64>, Refusal> {
    record::number(record, name).map_err(|name| bad_header(&format!("{name} is no whole number")))
}

fn bad_header(detail: &str) -> Refusal {
    Refusal::new(RecordReason::BadHeader, detail.to_owned())
}

/// What was appended lately, so that an expiry is not appended again while it is on its way,
/// nor four times a second by a bridge whose clock runs ahead of the broker's. No part of the
/// replayed state.
#[derive(Debug, Default)]
pub struct Issued(HashMap<Arc<str>, (i64, UnixMs)>);

impl Issued {
    /// Those of `due` that are to be appended now; each comes again after ten seconds, for as
    /// long as it is due.
    pub fn fresh(&mut self, due: Vec<Expiry>, now: UnixMs) -> Vec<Expiry> {
        let mut next = HashMap::with_capacity(due.len());
        let mut fresh = Vec::new();
        for expiry in due {
            let lately = self.0.get(&expiry.key).filter(|(judged, at)| {
                // A clock that was set back must not silence it.
                *judged == expiry.judged && (0..AGAIN_MS).contains(&(now - at))
            });
            next.insert(expiry.key.clone(), *lately.unwrap_or(&(expiry.judged, now)));
            if lately.is_none() {
                fresh.push(expiry);
            }
        }
        self.0 = next;
        fresh
    }
}
