//! Where a replayed partition begins (design §3): a pure function of what the state topic
//! and the log tell.
//!
//! Replayed state is a function of the log's prefix. A new owner therefore needs the
//! whole prefix, or a snapshot that stands for it; it never begins by time, and never
//! in the middle because that is where the log now begins.
use serde::{Deserialize, Serialize};

/// A complete snapshot: its manifest was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of this layout.
    pub(crate) version: u32,
    /// The next offset to apply: the snapshot stands for everything below.
    pub(crate) offset: i64,
    /// How many parts hold it.
    pub(crate) parts: u32,
    /// Bytes of all parts.
    pub(crate) bytes: u64,
    /// CRC-32 over all of them.
    pub(crate) crc: u32,
    /// Append time of the record before `offset`, if there is one: another log under the
    /// same name is told by it.
    pub(crate) last_time: Option<i64>,
    /// When it was written, Unix ms, for people.
    pub(crate) written: i64,
}

impl Manifest {
    /// The layout that this program writes.
    pub(crate) const VERSION: u32 = 1;
}

/// Where the first owner of a partition began: with that configuration (templates), which
/// is thereby the log's, whoever replays it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The first offset applied.
    pub(crate) offset: i64,
    /// What the state began with: of events, the hash of the templates.
    pub(crate) with: String,
}

/// A person accepted that records are lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// Replay goes on here.
    pub(crate) resume: i64,
    /// On top of this snapshot; `None`: of nothing.
    pub(crate) base: Option<String>,
    /// When, Unix ms, for people.
    pub(crate) time: i64,
}

/// What is known of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The complete snapshots, with their ids.
    pub(crate) snapshots: Vec<(String, Manifest)>,
    /// See [`Beginning`].
    pub(crate) beginning: Option<Beginning>,
    /// See [`Loss`].
    pub(crate) loss: Option<Loss>,
}

/// The log as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its first offset.
    pub(crate) start: i64,
    /// One past its last.
    pub(crate) end: i64,
}

/// What the group's marker says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    /// The snapshot that it names; empty: none.
    pub(crate) snapshot: String,
    /// Something of this partition was shown once, as far as anybody knows.
    pub(crate) shown: bool,
}

/// How to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// With a snapshot, and the log from its offset on.
    Snapshot(String, Manifest),
    /// With the log from `offset` on. `with`: what the first owner began with; `None`:
    /// this is the first one, and says so before anything else.
    Beginning { offset: i64, with: Option<String> },
    /// With this snapshot, and the log from `resume` on, as a person accepted.
    AfterLoss { id: String, manifest: Manifest, resume: i64 },
    /// Not at all: records are missing.
    Missing {
        /// The first offset that is needed.
        needed: i64,
        /// The log's first offset.
        start: i64,
    },
}

/// Chooses. `void` are snapshots that were tried and are none of this log, or unreadable.
pub(crate) fn choose(known: &Known, log: Extent, marked: &Marked, void: &[String]) -> Plan {
    let sound = |id: &str, m: &Manifest| m.offset <= log.end && !void.iter().any(|v| v == id);
    let usable: Vec<&(String, Manifest)> =
        known.snapshots.iter().filter(|(id, m)| sound(id, m) && m.offset >= log.start).collect();
    let named = usable.iter().find(|(id, _)| *id == marked.snapshot);
    if let Some((id, manifest)) = named.or(usable.iter().max_by_key(|(_, m)| m.offset)) {
        return Plan::Snapshot(id.clone(), manifest.clone());
    }
    if let Some(loss) = known.loss.as_ref().filter(|l| (log.start..=log.end).contains(&l.resume)) {
        let Some(base) = &loss.base else {
            // As if the log had begun there.
            let begun = known.beginning.as_ref().filter(|b| b.offset == loss.resume);
            return Plan::Beginning { offset: loss.resume, with: begun.map(|b| b.with.clone()) };
        };
        // Without its base it would be another state than the one that was accepted.
        if let Some((id, manifest)) = known.snapshots.iter().find(|(id, m)| id == base && sound(id, m)) {
            return Plan::AfterLoss { id: id.clone(), manifest: manifest.clone(), resume: loss.resume };
        }
    }
    match &known.beginning {
        Some(b) if b.offset == log.start => Plan::Beginning { offset: b.offset, with: Some(b.with.clone()) },
        // A log's start never goes back: this is another log under the same name.
        Some(b) if b.offset > log.start => Plan::Beginning { offset: log.start, with: None },
        Some(b) => Plan::Missing { needed: b.offset, start: log.start },
        None if !marked.shown || log.start == 0 => Plan::Beginning { offset: log.start, with: None },
        None => Plan::Missing { needed: 0, start: log.start },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(id: &str, offset: i64) -> (String, Manifest) {
        let manifest = Manifest { version: 1, offset, parts: 1, bytes: 1, crc: 0, last_time: None, written: 0 };
        (id.to_owned(), manifest)
    }

    fn known(snapshots: &[(&str, i64)], beginning: Option<i64>, loss: Option<(i64, Option<&str>)>) -> Known {
        Known {
            snapshots: snapshots.iter().map(|(id, offset)| snapshot(id, *offset)).collect(),
            beginning: beginning.map(|offset| Beginning { offset, with: "h".to_owned() }),
            loss: loss.map(|(resume, base)| Loss { resume, base: base.map(str::to_owned), time: 0 }),
        }
    }

    /// `snapshot ID`, `beginning AT` (+ ` new`), `loss AT on BASE`, `missing FROM-TO`.
    fn said(plan: &Plan) -> String {
        match plan {
            Plan::Snapshot(id, _) => format!("snapshot {id}"),
            Plan::Beginning { offset, with } => {
                format!("beginning {offset}{}", if with.is_some() { "" } else { " new" })
            }
            Plan::AfterLoss { id, resume, .. } => format!("loss {resume} on {id}"),
            Plan::Missing { needed, start } => format!("missing {needed}-{start}"),
        }
    }

    #[track_caller]
    fn case(known: &Known, log: (i64, i64), marked: (&str, bool), void: &[&str], expected: &str) {
        let marked = Marked { snapshot: marked.0.to_owned(), shown: marked.1 };
        let void: Vec<String> = void.iter().map(|v| (*v).to_owned()).collect();
        assert_eq!(said(&choose(known, Extent { start: log.0, end: log.1 }, &marked, &void)), expected);
    }

    const NEVER: (&str, bool) = ("", false);
    const SHOWN: (&str, bool) = ("", true);

    #[test]
    fn a_partition_that_was_never_shown_begins_at_its_logs_beginning() {
        case(&known(&[], None, None), (0, 0), NEVER, &[], "beginning 0 new");
        case(&known(&[], None, None), (70, 90), NEVER, &[], "beginning 70 new");
        case(&known(&[], Some(70), None), (70, 90), SHOWN, &[], "beginning 70");
        case(&known(&[], None, None), (0, 90), SHOWN, &[], "beginning 0 new");
    }

    #[test]
    fn a_missing_prefix_without_a_snapshot_is_no_beginning() {
        case(&known(&[], None, None), (70, 90), SHOWN, &[], "missing 0-70");
        case(&known(&[], Some(10), None), (70, 90), SHOWN, &[], "missing 10-70");
        case(&known(&[("a", 60)], Some(10), None), (70, 90), ("a", true), &[], "missing 10-70");
        case(&known(&[("a", 80)], Some(10), None), (70, 90), ("a", true), &["a"], "missing 10-70");
    }

    #[test]
    fn the_markers_snapshot_wins_and_else_the_highest_one() {
        let three = known(&[("a", 20), ("b", 40), ("c", 30)], Some(0), None);
        case(&three, (0, 90), ("c", true), &[], "snapshot c");
        case(&three, (0, 90), SHOWN, &[], "snapshot b");
        case(&three, (0, 90), ("gone", true), &[], "snapshot b");
        case(&three, (0, 90), ("c", true), &["c"], "snapshot b");
        case(&three, (35, 90), ("c", true), &[], "snapshot b");
        case(&three, (40, 40), ("c", true), &[], "snapshot b");
        case(&three, (0, 90), SHOWN, &["a", "b", "c"], "beginning 0");
    }

    #[test]
    fn snapshots_of_a_log_that_was_longer_are_void() {
        case(&known(&[("a", 50)], Some(0), None), (0, 49), ("a", true), &[], "beginning 0");
        case(&known(&[("a", 50)], Some(7), None), (0, 9), ("a", true), &[], "beginning 0 new");
    }

    #[test]
    fn an_accepted_loss_counts_until_the_log_is_cut_again() {
        case(&known(&[], Some(0), Some((70, None))), (70, 90), SHOWN, &[], "beginning 70 new");
        case(&known(&[("a", 60)], Some(0), Some((70, Some("a")))), (70, 90), SHOWN, &[], "loss 70 on a");
        case(&known(&[("a", 60)], Some(0), Some((70, Some("a")))), (71, 90), SHOWN, &[], "missing 0-71");
        case(&known(&[], Some(0), Some((70, Some("a")))), (70, 90), SHOWN, &[], "missing 0-70");
        case(&known(&[("a", 60), ("b", 75)], Some(0), Some((70, Some("a")))), (70, 90), SHOWN, &[], "snapshot b");
    }
}
