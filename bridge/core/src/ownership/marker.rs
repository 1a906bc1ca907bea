//! The marker of a partition: the metadata of its committed offset.
use std::sync::Arc;

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
/// a `C` is followed by what was left, as in `C1500`.
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
            self.partitions,
            field(&self.topic_id),
            field(&self.snapshot),
            field(&self.peer),
        )
    }

    /// Reads a marker; `None` for anything that this version did not write.
    pub fn decode(text: &[u8]) -> Option<Marker> {
        let mut f = std::str::from_utf8(text).ok()?.split(';');
        if f.next()? != VERSION {
            return None;
        }
        let kind = match f.next()? {
            "H" => MarkerKind::Held,
            "R" => MarkerKind::Released,
            "R-" => MarkerKind::ReleasedNoPosition,
            other => MarkerKind::Claimed { left: other.strip_prefix('C')?.parse().ok()? },
        };
        let marker = Marker {
            kind,
            claim: f.next()?.parse().ok()?,
            incarnation: u64::from_str_radix(f.next()?, 16).ok()?,
            seq: f.next()?.parse().ok()?,
            sent: f.next()?.parse().ok()?,
            generation: f.next()?.parse().ok()?,
            low_water: f.next()?.parse().ok()?,
            partitions: f.next()?.parse().ok()?,
            topic_id: f.next()?.into(),
            snapshot: f.next()?.into(),
            peer: f.next()?.into(),
        };
        if f.next().is_some() { None } else { Some(marker) }
    }
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
            topic_id: "t-id".into(),
            snapshot: "".into(),
            peer: "pod-0.bridge:9527".into(),
        }
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
