//! An entry, and the line that it is kept as.
use std::borrow::Cow;
use std::fmt::Write;

/// How grave an entry is. The order is that of the filter: asked for `Warn`, `Error` comes
/// too. What has no level (metric points, job events) is below all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No log line, or none that says.
    #[default]
    None,
    /// `TRACE`.
    Trace,
    /// `DEBUG`.
    Debug,
    /// `INFO`.
    Info,
    /// `WARN`.
    Warn,
    /// `ERROR`.
    Error,
    /// `FATAL`.
    Fatal,
}

impl Level {
    /// From the least to the gravest.
    pub const ALL: [Level; 7] =
        [Level::None, Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

    /// As written into the store; empty for none.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::None => "",
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
        }
    }

    /// What log frameworks write (`warning`, `CRITICAL`, `Err` …); `None` where it is unknown.
    pub fn parse(text: &str) -> Option<Level> {
        let level = match text.trim().to_ascii_lowercase().as_str() {
            "" | "none" => Level::None,
            "trace" | "finest" | "finer" => Level::Trace,
            "debug" | "fine" => Level::Debug,
            "info" | "information" | "notice" | "config" => Level::Info,
            "warn" | "warning" => Level::Warn,
            "error" | "err" | "severe" => Level::Error,
            "fatal" | "critical" | "crit" | "alert" | "emergency" | "panic" => Level::Fatal,
            _ => return None,
        };
        Some(level)
    }

    /// Its bit in a block's mask.
    pub(crate) fn bit(self) -> u64 {
        1 << (self as u64)
    }

    /// The bits of this level and all graver ones.
    pub(crate) fn at_least(self) -> u64 {
        Level::ALL.iter().filter(|level| **level >= self).map(|level| level.bit()).sum()
    }
}

/// Where an entry came from: what makes it the same entry when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// The topic, with its id where it is known: `[A-Za-z0-9._~-]`, 1 to 300 bytes.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The line within the record, from 0.
    pub line: u32,
}

/// What is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The job or run that it belongs to; 1 to [`crate::MAX_ID`] bytes.
    pub job_run_id: &'a str,
    /// When it happened, Unix nanoseconds; its UTC date is where it is kept.
    pub at: i64,
    /// For the filter.
    pub level: Level,
    /// The masked JSON object; anything else is kept as the text `raw` of one.
    pub line: Cow<'a, [u8]>,
    /// Where it came from.
    pub source: Source<'a>,
}

impl Source<'_> {
    pub(crate) fn is_valid(&self) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        (1..=300).contains(&self.topic.len())
            && self.topic.bytes().all(plain)
            && self.partition >= 0
            && self.offset >= 0
    }

    /// Offset and line, in order.
    pub(crate) fn position(&self) -> (u64, u64) {
        (u64::try_from(self.offset).unwrap_or(0), u64::from(self.line))
    }
}

const AT: &str = "{\"k2p_at\":";
const LEVEL: &str = ",\"k2p_level\":\"";
const SOURCE: &str = "\",\"k2p_source\":\"";

impl Entry<'_> {
    /// Appends the stored line: the event's object with three fields before its own
    /// (`k2p_at`, `k2p_level`, `k2p_source`), and a newline.
    pub(crate) fn write_line(&self, out: &mut Vec<u8>) {
        let mut head = String::with_capacity(96);
        let s = &self.source;
        let level = self.level.as_str();
        let _infallible =
            write!(head, "{AT}{}{LEVEL}{level}{SOURCE}{}/{}/{}/{}\"", self.at, s.topic, s.partition, s.offset, s.line);
        out.extend_from_slice(head.as_bytes());
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim();
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(members) => {
                if !members.trim().is_empty() {
                    out.push(b',');
                    // A raw newline stands between tokens, if at all: a space means the same.
                    out.extend(members.bytes().map(|b| if b < 0x20 { b' ' } else { b }));
                }
            }
            None => {
                out.extend_from_slice(b",\"raw\":");
                out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// What the head of a stored line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) at: i64,
    pub(crate) level: Level,
    /// `topic/partition/offset/line`.
    pub(crate) source: &'a str,
    /// Bytes of the head, without the comma or brace behind it.
    pub(crate) length: usize,
}

impl<'a> Head<'a> {
    /// Reads a stored line (without its newline); `None` where it is none.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Head<'a>> {
        let rest = line.strip_prefix(AT.as_bytes())?;
        let comma = memchr::memchr(b',', rest)?;
        let at = std::str::from_utf8(&rest[..comma]).ok()?.parse().ok()?;
        let rest = rest[comma..].strip_prefix(LEVEL.as_bytes())?;
        let quote = memchr::memchr(b'"', rest)?;
        let level = Level::parse(std::str::from_utf8(&rest[..quote]).ok()?)?;
        let rest = rest[quote..].strip_prefix(SOURCE.as_bytes())?;
        let quote = memchr::memchr(b'"', rest)?;
        let source = std::str::from_utf8(&rest[..quote]).ok()?;
        let length = line.len() - rest.len() + quote + 1;
        line.ends_with(b"}").then_some(Head { at, level, source, length })
    }

    /// Topic and partition as written, and the position.
    pub(crate) fn origin(&self) -> Option<(&'a str, (u64, u64))> {
        let (rest, line) = self.source.rsplit_once('/')?;
        let (origin, offset) = rest.rsplit_once('/')?;
        Some((origin, (offset.parse().ok()?, line.parse().ok()?)))
    }
}

/// The identity of a partition in an index: 64 bits are enough for a handful per file.
pub(crate) fn origin_hash(topic: &str, partition: i32) -> u64 {
    let mut name = String::with_capacity(topic.len() + 8);
    let _infallible = write!(name, "{topic}/{partition}");
    fnv(name.as_bytes())
}

/// FNV-1a, 64 bits: tells a torn write from a whole one.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

const NANOS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// The UTC date of a time, `YYYY-MM-DD`.
pub fn day_of(at: i64) -> String {
    let (y, m, d) = civil(at.div_euclid(NANOS * DAY_SECONDS));
    format!("{y:04}-{m:02}-{d:02}")
}

/// RFC 3339 in UTC with nanoseconds.
pub fn rfc3339(at: i64) -> String {
    let second = at.div_euclid(NANOS).rem_euclid(DAY_SECONDS);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{}T{h:02}:{m:02}:{s:02}.{:09}Z", day_of(at), at.rem_euclid(NANOS))
}

/// Days since the epoch of a date `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let part = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let (y, m, d) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let days = days_from_civil(y, m, d);
    // What does not come back as it was is no date (31 February).
    (civil(days) == (y, m, d)).then_some(days)
}

/// Unix nanoseconds of an RFC 3339 time, or of a number: seconds, milliseconds,
/// microseconds or nanoseconds, told by its size. `None` where it is neither.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        let factor = match number.unsigned_abs() {
            0..100_000_000_000 => NANOS,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return number.checked_mul(factor);
    }
    let days = parse_day(text.get(..10)?)?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return days.checked_mul(DAY_SECONDS * NANOS);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let clock = rest.get(..8)?.as_bytes();
    let two = |at: usize| {
        let digits = [clock[at], clock[at + 1]];
        digits.iter().all(u8::is_ascii_digit).then(|| i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0'))
    };
    let (h, m, s) = (two(0)?, two(3)?, two(6)?);
    if clock[2] != b':' || clock[5] != b':' || h > 23 || m > 59 || s > 60 {
        return None;
    }
    let mut rest = rest.get(8..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let digits: String = fraction.get(..length.min(9))?.to_owned();
        nanos = format!("{digits:0<9}").parse().ok().filter(|_| length > 0)?;
        rest = &fraction[length..];
    }
    let seconds = days * DAY_SECONDS + h * 3600 + m * 60 + s - zone(rest)?;
    seconds.checked_mul(NANOS)?.checked_add(nanos)
}

/// Seconds east of UTC.
fn zone(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (h, m) = text.get(1..)?.split_once(':')?;
    let (h, m): (i64, i64) = (h.parse().ok()?, m.parse().ok()?);
    ((0..24).contains(&h) && (0..60).contains(&m)).then_some(sign * (h * 3600 + m * 60))
}

/// Year, month, day of days since the epoch (Howard Hinnant's civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = if m > 2 { m - 3 } else { m + 9 };
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 + d - 1;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T13:14:15.000000001Z", 1_795_266_855_000_000_001),
            ("2026-11-21T14:14:15.5+01:00", 1_795_266_855_500_000_000),
            ("2026-11-21 13:14:15Z", 1_795_266_855_000_000_000),
            ("2000-02-29", 951_782_400_000_000_000),
            ("1969-12-31T23:59:59Z", -1_000_000_000),
            ("1795266855", 1_795_266_855_000_000_000),
            ("1795266855123", 1_795_266_855_123_000_000),
            ("1795266855123456", 1_795_266_855_123_456_000),
            ("1795266855123456789", 1_795_266_855_123_456_789),
        ] {
            assert_eq!(parse_time(text), Some(nanos), "{text}");
            assert_eq!(parse_time(&rfc3339(nanos)), Some(nanos), "{text}");
        }
        for text in ["", "now", "2026-02-30", "2026-11-21T25:00:00Z", "2026-11-21T13:14:15", "2026-11-21T13:14:15.Z"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(day_of(1_795_266_855_000_000_000), "2026-11-21");
        assert_eq!(day_of(-1), "1969-12-31");
    }

    #[test]
    fn a_stored_line_says_what_it_is() {
        let source = Source { topic: "k2p.events", partition: 3, offset: 17, line: 2 };
        for (line, stored) in [
            (r#"{"a": "b"}"#, r#","a": "b"}"#),
            ("{}", "}"),
            ("{\n \"a\":1}\n", r#",  "a":1}"#),
            ("no \"json\"", r#","raw":"no \"json\""}"#),
        ] {
            let at = -5;
            let line = Cow::Borrowed(line.as_bytes());
            let entry = Entry { job_run_id: "j", at, level: Level::Warn, line, source };
            let mut out = Vec::new();
            entry.write_line(&mut out);
            assert_eq!(out.pop(), Some(b'\n'));
            let head = Head::parse(&out).unwrap();
            assert_eq!((head.at, head.level, head.source), (-5, Level::Warn, "k2p.events/3/17/2"));
            assert_eq!(head.origin(), Some(("k2p.events/3", (17, 2))));
            assert_eq!(std::str::from_utf8(&out[head.length..]).unwrap(), stored);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
    }

    #[test]
    fn levels_are_ordered_and_named() {
        assert_eq!(Level::parse("Warning"), Some(Level::Warn));
        assert_eq!(Level::parse("CRITICAL"), Some(Level::Fatal));
        assert_eq!(Level::parse("loud"), None);
        for level in Level::ALL {
            assert_eq!(Level::parse(level.as_str()), Some(level));
            assert_ne!(level.at_least() & level.bit(), 0);
        }
        assert_eq!(Level::Error.at_least() & Level::Warn.bit(), 0);
    }
}
