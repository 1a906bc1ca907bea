//! The record contract (design §2): what agent and bridge share, and nothing else.
//!
//! Reading ([`open`]) and writing ([`headers`], [`Labels::canonical`] for the key) live
//! side by side, so that one test can hold them together.
//!
//! Header names are compared case-insensitively; of a header given several times the
//! last one counts (Kafka's `lastHeader`). Headers that this contract does not name
//! are left alone.
use crate::compress::Encoding;
use crate::labels::Labels;
use crate::model::UnixMs;
use crate::reason::{RecordReason, Refusal};

/// The dump's content type, as in a scrape response.
pub const CONTENT_TYPE: &str = "content-type";
/// The body's compression.
pub const CONTENT_ENCODING: &str = "content-encoding";
/// Unix milliseconds at which the dump was taken.
pub const TIME: &str = "k2p-time";
/// `incarnation;sequence` of the producer.
pub const ID: &str = "k2p-id";
/// `i/n;id` of a part.
pub const PART: &str = "k2p-part";

/// The longest key that is read, in bytes.
pub const MAX_KEY_BYTES: usize = 8 * 1024;
/// The most parts that a dump may be cut into.
pub const MAX_PARTS: u32 = 10_000;
/// The longest incarnation or part id, in bytes.
const MAX_ID_BYTES: usize = 128;
/// 9999-12-31T23:59:59.999Z: what lies beyond is no time but a mistake of unit.
const MAX_TIME: UnixMs = 253_402_300_799_999;

/// A record as Kafka delivered it, borrowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawRecord<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Name and value of each header.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The record's own timestamp.
    pub timestamp: Option<UnixMs>,
    /// Its offset.
    pub offset: i64,
}

/// Whose dump it is, as the key says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OriginKey {
    /// The key is a label set.
    Labels(Labels),
    /// Any other key, as text: bytes that are not UTF-8 as `\xff`. Empty: no key.
    Opaque(String),
}

impl OriginKey {
    /// Reads a key.
    ///
    /// # Errors
    /// `bad_key`: longer than [`MAX_KEY_BYTES`]; or labels that only a sample may have
    /// (`le`, `quantile`: injected into a bucket they would rename its bound).
    pub fn read(key: &[u8]) -> Result<OriginKey, Refusal> {
        if key.len() > MAX_KEY_BYTES {
            let detail =
                format!("the key has {} bytes, at most {MAX_KEY_BYTES} are read: use a label set as key", key.len());
            return Err(Refusal::new(RecordReason::BadKey, detail));
        }
        let Ok(text) = std::str::from_utf8(key) else {
            return Ok(OriginKey::Opaque(readable(key)));
        };
        let labels = match Labels::parse(text) {
            Ok(labels) if !labels.is_empty() => labels,
            _ => return Ok(OriginKey::Opaque(text.to_owned())),
        };
        for name in ["le", "quantile"] {
            if labels.get(name).is_some() {
                let detail = format!(
                    "the key has the label {name:?}, which belongs to samples only: leave it out of the origin's labels"
                );
                return Err(Refusal::new(RecordReason::BadKey, detail));
            }
        }
        Ok(OriginKey::Labels(labels))
    }
}

/// Invalid UTF-8 made readable without two keys becoming one for lack of care.
fn readable(key: &[u8]) -> String {
    let mut out = String::with_capacity(key.len() + 8);
    for chunk in key.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// The labels that an origin's samples get: topic configuration first, then the key
/// (design §2). A key that is no label set becomes `instance`, unless the topic fixes
/// that label itself.
pub fn origin_labels(key: &OriginKey, topic_fixed: &Labels) -> Labels {
    match key {
        OriginKey::Labels(labels) => labels.with(topic_fixed),
        OriginKey::Opaque(text) => {
            let instance = Labels::from_pairs([("instance", text.as_str())]).unwrap_or_default();
            instance.with(topic_fixed)
        }
    }
}

/// What the record asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The body is a dump, or a part of one.
    Dump,
    /// The value is empty: the origin is to vanish.
    Delete,
}

/// Who produced a record: a window over these drops what was applied already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProducerId {
    /// One life of a producer, any text without `;`, at most 128 bytes.
    pub incarnation: String,
    /// Grows by one with each record of that life.
    pub sequence: u64,
}

/// Which part of a dump a record holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// 1-based.
    pub index: u32,
    /// How many there are, at most [`MAX_PARTS`].
    pub of: u32,
    /// What the parts of one dump share, at most 128 bytes.
    pub id: String,
}

/// A record, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Whose it is.
    pub origin: OriginKey,
    /// What it asks for.
    pub op: Op,
    /// The header `content-type`.
    pub content_type: Option<&'a str>,
    /// The header `content-encoding`.
    pub encoding: Encoding,
    /// When the dump was taken: `k2p-time`, else the record's timestamp.
    pub dump_time: UnixMs,
    /// The header `k2p-id`.
    pub producer: Option<ProducerId>,
    /// The header `k2p-part`.
    pub part: Option<Part>,
    /// The value, still compressed.
    pub body: &'a [u8],
    /// The record's offset.
    pub offset: i64,
}

/// Reads a record by the contract.
///
/// # Errors
/// `bad_key`, `bad_header`, `bad_encoding`; the detail names the header and what it
/// should have been.
pub fn open<'a>(record: &RawRecord<'a>) -> Result<Envelope<'a>, Refusal> {
    open_as(record, OriginKey::read(record.key.unwrap_or_default())?)
}

/// As [`open`], of an origin that is known already.
///
/// # Errors
/// As [`open`], but for the key.
pub(crate) fn open_as<'a>(record: &RawRecord<'a>, origin: OriginKey) -> Result<Envelope<'a>, Refusal> {
    let body = record.value.unwrap_or_default();
    let content_type = header(record, CONTENT_TYPE)?.filter(|t| !t.trim().is_empty());
    let encoding = match header(record, CONTENT_ENCODING)? {
        None => Encoding::Identity,
        Some(text) => Encoding::from_header(text).ok_or_else(|| {
            let detail =
                format!("{CONTENT_ENCODING} is {:?}: gzip, zstd, snappy or no such header is read", excerpt(text));
            Refusal::new(RecordReason::BadEncoding, detail)
        })?,
    };
    let dump_time = dump_time(record)?;
    let producer = match header(record, ID)? {
        None => None,
        Some(text) => Some(producer_id(text)?),
    };
    let part = match header(record, PART)? {
        None => None,
        Some(text) => Some(read_part(text)?),
    };
    if body.is_empty() && part.is_some() {
        let detail = format!("{PART} on an empty value: a part must hold something");
        return Err(Refusal::new(RecordReason::BadHeader, detail));
    }
    let op = if body.is_empty() { Op::Delete } else { Op::Dump };
    Ok(Envelope { origin, op, content_type, encoding, dump_time, producer, part, body, offset: record.offset })
}

fn header<'a>(record: &RawRecord<'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut all = record.headers.iter().rev();
    let Some((_, value)) = all.find(|(n, _)| n.eq_ignore_ascii_case(name)) else {
        return Ok(None);
    };
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(bad(name, "(not UTF-8)", "text")),
    }
}

fn bad(name: &str, text: &str, expected: &str) -> Refusal {
    let detail = format!("{name} is {:?}: expected {expected}", excerpt(text));
    Refusal::new(RecordReason::BadHeader, detail)
}

/// Headers are a stranger's text: what is quoted of them is bounded.
fn excerpt(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn dump_time(record: &RawRecord<'_>) -> Result<UnixMs, Refusal> {
    let Some(text) = header(record, TIME)? else {
        return record.timestamp.ok_or_else(|| {
            let detail = format!("neither the header {TIME} nor a record timestamp: set one");
            Refusal::new(RecordReason::BadHeader, detail)
        });
    };
    digits(text)
        .and_then(|ms| UnixMs::try_from(ms).ok())
        .filter(|ms| *ms <= MAX_TIME)
        .ok_or_else(|| bad(TIME, text, "Unix milliseconds, as in 1700000000000"))
}

/// Plain decimal digits: no sign, no blank.
fn digits(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn producer_id(text: &str) -> Result<ProducerId, Refusal> {
    let expected = "incarnation;sequence, as in 01HZX;42";
    let (incarnation, sequence) = text.split_once(';').ok_or_else(|| bad(ID, text, expected))?;
    let sequence = digits(sequence).ok_or_else(|| bad(ID, text, expected))?;
    if incarnation.is_empty() || incarnation.len() > MAX_ID_BYTES {
        return Err(bad(ID, text, expected));
    }
    Ok(ProducerId { incarnation: incarnation.to_owned(), sequence })
}

fn read_part(text: &str) -> Result<Part, Refusal> {
    let fault = || bad(PART, text, "i/n;id with 1 <= i <= n <= 10000, as in 2/3;7f");
    let (place, id) = text.split_once(';').ok_or_else(fault)?;
    let (index, of) = place.split_once('/').ok_or_else(fault)?;
    let number = |t: &str| digits(t).and_then(|n| u32::try_from(n).ok());
    let (index, of) = (number(index), number(of));
    let (Some(index), Some(of)) = (index, of) else {
        return Err(fault());
    };
    if index == 0 || index > of || of > MAX_PARTS || id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(fault());
    }
    Ok(Part { index, of, id: id.to_owned() })
}

/// What a producer says about the body that it sends. The key is
/// [`Labels::canonical`]; an empty value deletes the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeOut<'a> {
    /// As in the scrape response; `None` leaves it to the bridge.
    pub content_type: Option<&'a str>,
    /// How the body is compressed.
    pub encoding: Encoding,
    /// When the dump was taken.
    pub dump_time: UnixMs,
    /// The producer's id of this record.
    pub producer: Option<ProducerId>,
    /// Which part this is, if the dump was cut.
    pub part: Option<Part>,
}

/// The headers of a record, as [`open`] reads them.
pub fn headers(out: &EnvelopeOut<'_>) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::with_capacity(5);
    if let Some(content_type) = out.content_type {
        all.push((CONTENT_TYPE, content_type.as_bytes().to_vec()));
    }
    if out.encoding != Encoding::Identity {
        all.push((CONTENT_ENCODING, out.encoding.as_str().as_bytes().to_vec()));
    }
    all.push((TIME, out.dump_time.to_string().into_bytes()));
    if let Some(id) = &out.producer {
        let text = format!("{};{}", id.incarnation, id.sequence);
        all.push((ID, text.into_bytes()));
    }
    if let Some(part) = &out.part {
        let text = format!("{}/{};{}", part.index, part.of, part.id);
        all.push((PART, text.into_bytes()));
    }
    all
}
