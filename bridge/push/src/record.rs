//! The record of a push (design §2): the key is the grouping key, the value the body as it
//! was sent, headers say the rest.
//!
//! ```text
//! k2p-op: put | post     value: the body   content-type, content-encoding, k2p-ttl, k2p-id;
//!                        of an import also k2p-pushed, k2p-failed
//! k2p-op: delete         no value
//! k2p-op: refuse         value: why, for people             k2p-ttl (of a new group)
//! k2p-op: expire         k2p-judged: the offset of the push that is too old
//! k2p-op: wipe           no key, one record for each partition
//! ```
use k2p_core::envelope::{CONTENT_ENCODING, CONTENT_TYPE, RawRecord};
use k2p_core::model::UnixMs;

/// The header that says what a record does.
pub const OP: &str = "k2p-op";
/// The header that names the offset that was judged.
pub const JUDGED: &str = "k2p-judged";
/// Milliseconds after the push at which its group goes; absent: never.
pub const TTL: &str = "k2p-ttl";

/// Of an import: when the group was pushed where it comes from, Unix ms; 0: never. An alert on a
/// job that no longer pushes must not take the import for a push.
pub const PUSHED: &str = "k2p-pushed";
/// Of an import: when a push of it was refused there, Unix ms; 0: never.
pub const FAILED: &str = "k2p-failed";

/// The longest reason that a `refuse` carries, in bytes.
pub const MAX_REASON: usize = 512;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Replaces the group.
    Put,
    /// Replaces the families of the same names.
    Post,
    /// Removes the group.
    Delete,
    /// Removes every group of the partition.
    Wipe,
    /// Removes a group that was not pushed since.
    Expire,
    /// Notes a push that was refused.
    Refuse,
}

impl Op {
    /// Every one.
    pub const ALL: [Op; 6] = [Op::Put, Op::Post, Op::Delete, Op::Wipe, Op::Expire, Op::Refuse];

    /// As the header says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::Post => "post",
            Op::Delete => "delete",
            Op::Wipe => "wipe",
            Op::Expire => "expire",
            Op::Refuse => "refuse",
        }
    }

    /// The one of that name.
    pub fn parse(text: &str) -> Option<Op> {
        Op::ALL.into_iter().find(|op| op.as_str() == text)
    }
}

/// Headers of a record.
pub type Headers = Vec<(&'static str, Vec<u8>)>;

/// The headers of a push or of what became of it; `k2p-id` is the caller's.
pub fn headers(op: Op, content_type: Option<&str>, content_encoding: Option<&str>, ttl: Option<i64>) -> Headers {
    let mut headers = vec![(OP, op.as_str().as_bytes().to_vec())];
    headers.extend(content_type.map(|text| (CONTENT_TYPE, text.as_bytes().to_vec())));
    headers.extend(content_encoding.map(|text| (CONTENT_ENCODING, text.as_bytes().to_vec())));
    headers.extend(ttl.map(|ms| (TTL, ms.to_string().into_bytes())));
    headers
}

/// The value of a `refuse`: the reason, cut to [`MAX_REASON`].
pub fn reason(text: &str) -> &[u8] {
    let mut end = text.len().min(MAX_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

/// A header's text; the last one counts, as in the rest of the record contract.
pub(crate) fn header<'a>(record: &RawRecord<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    // No text is no name that anything here knows: refused further down.
    Some(std::str::from_utf8(value).unwrap_or("(not UTF-8)"))
}

/// A header that is a number of milliseconds or an offset.
pub(crate) fn number(record: &RawRecord<'_>, name: &'static str) -> Result<Option<UnixMs>, &'static str> {
    match header(record, name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| name),
    }
}
