//! The marker of a partition: the metadata of its committed offset.
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Tp, remade};
use crate::model::MonoMs;

/// What a marker says about its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MarkerKind {
    /// `H`: somebody may be exposing it.
    Held,
    /// `R`: given up; the committed offset is the position of a bridge that was live.
    Released,
    /// `R-`: given up by a bridge whose wait had ended but that was not live: no wait
    /// for the successor, but its barrier is the end.
    ReleasedNoPosition,
    /// `C`: claimed by a bridge that itself still waited when it sent this and has shown
    /// nothing; of its wait so much was left then. A successor waits no longer than that,
    /// so that partitions that move on while they wait do not wait anew each time.
    Claimed {
        /// Milliseconds.
        left: MonoMs,
    },
}

/// A marker (design §1). Written as text, because it travels where only short strings
/// do: `k2p2;H;claim;incarnation;seq;sent;generation;low;partitions;topic id;snapshot;peer`;
/// a `C` is followed by what was left, as in `C1500`, the partitions by what they were
/// before, as in `8,4`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Marker {
    /// Held, released or claimed.
    pub kind: MarkerKind,
    /// The number of this ownership; one more than the last one seen.
    pub claim: u64,
    /// Incarnation of the bridge that wrote it.
    pub incarnation: u64,
    /// Sequence of the commit within the incarnation: two commits never write the
    /// same bytes, so any renewal is a change that restarts a watcher's count.
    pub seq: u64,
    /// When it was sent, by the writer's monotonic clock. Only for people: never
    /// compared with another machine's clock.
    pub sent: MonoMs,
    /// The generation (KIP-848: epoch) in which its writer was a member. A client may send
    /// a commit once more when its member is none any more, and an empty group takes it:
    /// then this tells that others may have owned the partition since.
    pub generation: i32,
    /// Where a successor begins to read (rule 7); -1 if unknown.
    pub low_water: i64,
    /// How many partitions the writer knew the topic to have (rule 10).
    pub partitions: i32,
    /// How many it had before, as far as the writer knew ([`former_counts`]).
    pub former: Arc<[i32]>,
    /// The topic's id, empty if unknown (rule 10).
    pub topic_id: Arc<str>,
    /// The newest snapshot of a replayed topic, empty if none.
    pub snapshot: Arc<str>,
    /// The writer's peer address.
    pub peer: Arc<str>,
}

const VERSION: &str = "k2p2";
/// Metadata of 4,096 bytes is refused by brokers; markers stay far below
/// (kafka.md: "stay below 1 KB").
const MAX_FIELD: usize = 255;
/// So many former counts are kept, the largest: a topic rarely grows at all.
const MAX_FORMER: usize = 8;

impl Marker {
    /// The metadata's text, below 1 KB whatever the fields hold.
    pub fn encode(&self) -> String {
        let kind = match self.kind {
            MarkerKind::Held => "H".to_owned(),
            MarkerKind::Released => "R".to_owned(),
            MarkerKind::ReleasedNoPosition => "R-".to_owned(),
            MarkerKind::Claimed { left } => format!("C{left}"),
        };
        format!(
            "{VERSION};{kind};{};{:016x};{};{};{};{};{};{};{};{}",
            self.claim,
            self.incarnation,
            self.seq,
            self.sent,
            self.generation,
            self.low_water,
            write_counts(self.partitions, &self.former),
            field(&self.topic_id),
            field(&self.snapshot),
            field(&self.peer),
        )
    }

    /// Reads a marker; `None` for anything that this version did not write.
    pub fn decode(text: &[u8]) -> Option<Marker> {
        let fields: Vec<&str> = std::str::from_utf8(text).ok()?.split(';').collect();
        let [VERSION, kind, claim, incarnation, seq, sent, generation, low_water, counts, topic_id, snapshot, peer] =
            fields[..]
        else {
            return None;
        };
        let kind = match kind {
            "H" => MarkerKind::Held,
            "R" => MarkerKind::Released,
            "R-" => MarkerKind::ReleasedNoPosition,
            other => MarkerKind::Claimed { left: other.strip_prefix('C')?.parse().ok()? },
        };
        let (partitions, former) = read_counts(counts)?;
        Some(Marker {
            kind,
            claim: claim.parse().ok()?,
            incarnation: u64::from_str_radix(incarnation, 16).ok()?,
            seq: seq.parse().ok()?,
            sent: sent.parse().ok()?,
            generation: generation.parse().ok()?,
            low_water: low_water.parse().ok()?,
            partitions,
            former,
            topic_id: topic_id.into(),
            snapshot: snapshot.into(),
            peer: peer.into(),
        })
    }
}

/// As in `8`, or `8,2,4` of a topic that had 2 and 4 partitions before.
fn write_counts(partitions: i32, former: &[i32]) -> String {
    let mut text = partitions.to_string();
    for count in former.iter().rev().take(MAX_FORMER).rev() {
        text.push(',');
        text.push_str(&count.to_string());
    }
    text
}

fn read_counts(text: &str) -> Option<(i32, Arc<[i32]>)> {
    let mut counts = text.split(',').map(|count| count.parse().ok());
    let partitions = counts.next()??;
    Some((partitions, counts.collect::<Option<_>>()?))
}

/// Rule 10: how many partitions a topic had before it had `partitions`, in rising order, as
/// the markers of its partitions tell. What a key belonged to then may lie in a log still,
/// and a producer that has not heard of the new ones may go on to write there.
pub fn former_counts<'a>(
    topic: &str,
    topic_id: &str,
    partitions: i32,
    markers: impl IntoIterator<Item = (&'a Tp, &'a Found)>,
) -> Arc<[i32]> {
    let mut counts = BTreeSet::new();
    for (tp, found) in markers {
        let Some(marker) = found.marker().filter(|_| *tp.topic == *topic) else { continue };
        if remade(&marker.topic_id, topic_id) {
            continue;
        }
        counts.extend(marker.former.iter().copied().chain([marker.partitions]));
    }
    counts.into_iter().filter(|count| (1..partitions).contains(count)).collect()
}

/// A field must not end the record early, nor make it too long for a broker.
fn field(text: &str) -> &str {
    if text.len() > MAX_FIELD || text.contains(';') { "" } else { text }
}

/// What the group's committed offset of a partition says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Found {
    /// No committed offset.
    Nothing,
    /// An offset with a marker of ours.
    Marker {
        /// The committed offset.
        offset: i64,
        /// Its metadata.
        marker: Marker,
    },
    /// An offset without metadata (an operator's reset), with metadata of an unknown
    /// version, or one that could not be read: treated as held by a stranger.
    Stranger {
        /// The committed offset; -1 if it could not be read.
        offset: i64,
        /// The metadata as it is, so that a change of it is seen.
        raw: Arc<[u8]>,
    },
}

impl Found {
    /// Reads a committed offset (-1 and below: none) and its metadata.
    pub fn read(offset: i64, metadata: &[u8]) -> Found {
        if offset < 0 {
            return Found::Nothing;
        }
        match Marker::decode(metadata) {
            Some(marker) => Found::Marker { offset, marker },
            None => Found::Stranger { offset, raw: metadata.into() },
        }
    }

    /// The marker could not be read: nothing is known, so the worst is assumed.
    pub fn unreadable() -> Found {
        Found::Stranger { offset: -1, raw: Arc::from([].as_slice()) }
    }

    /// The marker, if it is one of ours.
    pub fn marker(&self) -> Option<&Marker> {
        match self {
            Found::Marker { marker, .. } => Some(marker),
            _ => None,
        }
    }

    /// The committed offset, -1 if none is known.
    pub fn offset(&self) -> i64 {
        match self {
            Found::Nothing => -1,
            Found::Marker { offset, .. } | Found::Stranger { offset, .. } => *offset,
        }
    }

    /// See [`super::Machine::renumber`].
    #[doc(hidden)]
    pub fn renumber(&mut self, number: &mut dyn FnMut(u64, u64) -> u64) {
        if let Found::Marker { marker, .. } = self {
            marker.seq = number(marker.incarnation, marker.seq);
        }
    }

    /// True if somebody may still be exposing the partition.
    pub fn is_held(&self) -> bool {
        match self {
            Found::Nothing => false,
            Found::Marker { marker, .. } => matches!(marker.kind, MarkerKind::Held | MarkerKind::Claimed { .. }),
            Found::Stranger { .. } => true,
        }
    }

    /// How long a successor waits from the first sight of it (rule 3), if it waits.
    pub(super) fn wait(&self, whole: MonoMs) -> MonoMs {
        match self.marker().map(|m| m.kind) {
            Some(MarkerKind::Claimed { left }) => left.clamp(0, whole),
            _ => whole,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marker(kind: MarkerKind) -> Marker {
        Marker {
            kind,
            claim: 7,
            incarnation: 0xdead_beef,
            seq: 42,
            sent: 123_456,
            generation: 3,
            low_water: 17,
            partitions: 8,
            former: Arc::new([2, 4]),
            topic_id: "t-id".into(),
            snapshot: "".into(),
            peer: "pod-0.bridge:9527".into(),
        }
    }

    #[test]
    fn former_counts_are_what_the_markers_of_the_topic_tell() {
        let case = |markers: &[(&str, &str, i32, &[i32])], expected: &[i32]| {
            let told = |&(topic, id, partitions, former): &(&str, &str, i32, &[i32])| {
                let marker =
                    Marker { partitions, former: former.into(), topic_id: id.into(), ..marker(MarkerKind::Held) };
                (Tp::new(topic, 0), Found::Marker { offset: 0, marker })
            };
            let told: Vec<(Tp, Found)> = markers.iter().map(told).collect();
            let found = former_counts("t", "id", 8, told.iter().map(|(tp, found)| (tp, found)));
            assert_eq!(&*found, expected, "{markers:?}");
        };
        case(&[], &[]);
        case(&[("t", "id", 8, &[])], &[]);
        case(&[("t", "id", 4, &[])], &[4]);
        case(&[("t", "id", 8, &[4]), ("t", "id", 6, &[2])], &[2, 4, 6]);
        case(&[("t", "", 4, &[])], &[4]);
        case(&[("t", "another", 4, &[2]), ("u", "id", 5, &[3])], &[]);
        case(&[("t", "id", 16, &[0])], &[]);
        assert!(former_counts("t", "id", 8, [(&Tp::new("t", 1), &Found::unreadable())]).is_empty());
    }

    #[test]
    fn the_largest_former_counts_are_written() {
        let former: Vec<i32> = (1..=20).collect();
        let m = Marker { partitions: 64, former: former.into(), ..marker(MarkerKind::Held) };
        assert_eq!(&*Marker::decode(m.encode().as_bytes()).unwrap().former, (13..=20).collect::<Vec<_>>());
    }

    #[test]
    fn a_marker_is_read_back_as_it_was_written() {
        let claimed = MarkerKind::Claimed { left: 1500 };
        for kind in [MarkerKind::Held, MarkerKind::Released, MarkerKind::ReleasedNoPosition, claimed] {
            let m = marker(kind);
            assert_eq!(Marker::decode(m.encode().as_bytes()), Some(m));
        }
    }

    #[test]
    fn what_is_no_marker_of_ours_is_a_stranger_that_holds() {
        let texts = [
            "",
            "H",
            "R;5",
            "k2p3;H;1;0;0;0;1;0;0;;;p",
            "k2p1;H;1;0;0;0;0;0;;;p",
            "k2p2;X;1;0;0;0;1;0;0;;;p",
            "k2p2;C;1;0;0;0;1;0;0;;;p",
            "k2p2;H;1;0;0;0;1;0;0;;;p;extra",
        ];
        assert!(Marker::decode(b"k2p2;H;1;0;0;0;1;0;0;;;p").is_some());
        for text in texts {
            let found = Found::read(5, text.as_bytes());
            assert!(matches!(found, Found::Stranger { offset: 5, .. }), "{text:?} was read as {found:?}");
            assert!(found.is_held());
        }
        assert!(Found::read(5, &[0xff, 0xfe]).is_held());
        assert_eq!(Found::read(-1001, b""), Found::Nothing);
        assert!(Found::unreadable().is_held());
    }

    #[test]
    fn fields_cannot_break_out_or_outgrow_a_broker() {
        let mut m = marker(MarkerKind::Held);
        m.peer = "a;b".into();
        m.topic_id = "x".repeat(5000).into();
        m.snapshot = "s".repeat(255).into();
        let text = m.encode();
        assert!(text.len() < 1024);
        let back = Marker::decode(text.as_bytes()).unwrap();
        assert_eq!((&*back.peer, &*back.topic_id), ("", ""));
    }

    proptest! {
        #[test]
        fn any_metadata_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Found::read(1, &bytes);
        }
    }
}
