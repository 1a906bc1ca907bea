//! Values that look like an identifier: a label that had them would grow without end.
use serde::{Deserialize, Serialize};

/// What sort of identifier a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifier {
    /// Holds a UUID.
    Uuid,
    /// A word of 16 or more hexadecimal digits, or of 8 with both letters and digits.
    Hex,
    /// Holds 8 or more decimal digits in a row: an id, a time, a date.
    Number,
    /// A word of 20 or more letters and digits, at least 4 of them digits (ULID, KSUID, …).
    Token,
    /// A path or URL: begins with `/`, `./`, `~/`, holds `://`, a backslash or two slashes.
    Path,
    /// A reference to a partition: holds `=`, or a date `2026-11-21`.
    Partition,
    /// Longer than 128 bytes.
    Long,
}

/// Bytes of a label's value that is not a known one.
const MAX_LABEL_BYTES: usize = 128;

impl Identifier {
    /// What `value` looks like; `None`: a name.
    pub fn of(value: &str) -> Option<Identifier> {
        if value.len() > MAX_LABEL_BYTES {
            return Some(Identifier::Long);
        }
        let bytes = value.as_bytes();
        if !bytes.iter().any(|b| b.is_ascii_digit() || matches!(b, b'/' | b'\\' | b'=')) && longest_hex(bytes) < 16 {
            return None;
        }
        if is_path(value) {
            return Some(Identifier::Path);
        }
        if bytes.windows(36).any(is_uuid) {
            return Some(Identifier::Uuid);
        }
        if value.contains('=') || bytes.windows(10).any(is_date) {
            return Some(Identifier::Partition);
        }
        bytes.split(|b| !b.is_ascii_alphanumeric()).find_map(word)
    }

    /// What the subject of a job looks like where it is an id: a name may hold slashes,
    /// dates and the like, but neither a UUID nor a long number.
    pub fn of_job(value: &str) -> Option<Identifier> {
        let bytes = value.as_bytes();
        if value.len() > MAX_LABEL_BYTES {
            return Some(Identifier::Long);
        }
        if bytes.windows(36).any(is_uuid) {
            return Some(Identifier::Uuid);
        }
        bytes.split(|b| !b.is_ascii_alphanumeric()).find_map(word)
    }
}

fn is_path(value: &str) -> bool {
    ["/", "./", "../", "~/"].iter().any(|start| value.starts_with(start))
        || value.contains("://")
        || value.contains('\\')
        || value.matches('/').count() >= 2
}

/// 8-4-4-4-12.
fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, b)| match at {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    })
}

/// 2026-11-21 and 2026_11_21.
fn is_date(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, b)| match at {
        4 | 7 => matches!(b, b'-' | b'_'),
        _ => b.is_ascii_digit(),
    })
}

fn longest_hex(bytes: &[u8]) -> usize {
    let mut longest = 0;
    for run in bytes.split(|b| !b.is_ascii_hexdigit()) {
        longest = longest.max(run.len());
    }
    longest
}

/// A run of letters and digits.
fn word(word: &[u8]) -> Option<Identifier> {
    let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = word.iter().all(u8::is_ascii_hexdigit) && digits < word.len();
    if hex && (word.len() >= 16 || word.len() >= 8 && digits > 0) {
        return Some(Identifier::Hex);
    }
    if word.split(|b| !b.is_ascii_digit()).any(|run| run.len() >= 8) {
        return Some(Identifier::Number);
    }
    (word.len() >= 20 && digits >= 4).then_some(Identifier::Token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay() {
        let name = |value: &str| assert_eq!(Identifier::of(value), None, "{value}");
        name("");
        name("extract");
        name("load_orders_2");
        name("team/data");
        name("java.lang.NullPointerException");
        name("org.apache.spark.SparkException");
        name("S3ObjectStoreMultipartUploadException");
        name("ERROR");
        name("Größe");
        name("data-platform@acme");
        name("step 1234567");
        name("facade");
        name("2026");
        name("v1.2.3");
        name("Error in task 12");
    }

    #[test]
    fn identifiers_are_seen() {
        let case = |value: &str, expected: Identifier| assert_eq!(Identifier::of(value), Some(expected), "{value}");
        case("123e4567-e89b-12d3-a456-426614174000", Identifier::Uuid);
        case("run_123e4567-e89b-12d3-a456-426614174000_x", Identifier::Uuid);
        case("123E4567-E89B-12D3-A456-426614174000", Identifier::Uuid);
        case("da39a3ee5e6b4b0d3255bfef95601890afd80709", Identifier::Hex);
        case("a1b2c3d4", Identifier::Hex);
        case("task a1b2c3d4e5 failed", Identifier::Hex);
        case("abcdefabcdefabcd", Identifier::Hex);
        case("20261121", Identifier::Number);
        case("application_1700000000000_0042", Identifier::Number);
        case("1700000000", Identifier::Number);
        case("x12345678y", Identifier::Number);
        case("01ARZ3NDEKTSV4RRFFQ69G5FAV", Identifier::Token);
        case("/data/orders", Identifier::Path);
        case("s3://bucket", Identifier::Path);
        case("a/b/c", Identifier::Path);
        case("C:\\jobs", Identifier::Path);
        case("dt=today", Identifier::Partition);
        case("orders 2026-11-21", Identifier::Partition);
        case(&"x".repeat(129), Identifier::Long);
        case(&"1".repeat(129), Identifier::Long);
    }

    #[test]
    fn a_jobs_label_may_look_like_a_target() {
        assert_eq!(Identifier::of_job("//data/ingest:daily"), None);
        assert_eq!(Identifier::of_job("ingest-daily"), None);
        assert_eq!(Identifier::of_job("123e4567-e89b-12d3-a456-426614174000"), Some(Identifier::Uuid));
        assert_eq!(Identifier::of_job("1700000000000"), Some(Identifier::Number));
        assert_eq!(Identifier::of_job(&"x".repeat(200)), Some(Identifier::Long));
    }
}
