//! Timestamps as producers write them → Unix nanoseconds.
//!
//! - RFC 3339 text (`T`, `t` or a blank between date and time; a fraction of any length,
//!   cut to nanoseconds; `Z` or an offset; second 60 is the next minute's 0).
//! - A Unix number, or its digits as text: the unit is told by the size. Below 10¹¹ it
//!   is seconds, below 10¹⁴ milliseconds, below 10¹⁷ microseconds, else nanoseconds: each
//!   covers the years 1973 to 5138 (microseconds and nanoseconds alike), which no other
//!   unit does. A number with a fraction is rounded to microseconds, which is what a
//!   double holds of the present in seconds.
//!
//! Times before 1970 and beyond 2262 (2⁶³ ns) are refused.
use super::UnixNs;
use super::json::Node;

/// Reads a timestamp; `None` is none.
pub(super) fn timestamp(node: &Node<'_>) -> Option<UnixNs> {
    match node {
        Node::Whole(n) => whole(*n),
        Node::Float(n) => float(*n),
        Node::Text(text) => self::text(text),
        _ => None,
    }
}

/// A timestamp in text: RFC 3339 or a Unix number's digits.
pub(super) fn text(text: &str) -> Option<UnixNs> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return whole(text.parse().ok()?);
    }
    rfc3339(text.as_bytes())
}

const SECONDS_BELOW: u64 = 100_000_000_000;
const MILLISECONDS_BELOW: u64 = 100_000_000_000_000;
const MICROSECONDS_BELOW: u64 = 100_000_000_000_000_000;

fn whole(n: u64) -> Option<UnixNs> {
    let unit: u64 = match n {
        n if n < SECONDS_BELOW => 1_000_000_000,
        n if n < MILLISECONDS_BELOW => 1_000_000,
        n if n < MICROSECONDS_BELOW => 1_000,
        _ => 1,
    };
    UnixNs::try_from(n.checked_mul(unit)?).ok()
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "checked: microseconds below 2^63 / 1000"
)]
fn float(n: f64) -> Option<UnixNs> {
    let micros = match n {
        n if !(0.0..1e19).contains(&n) => return None,
        n if n < SECONDS_BELOW as f64 => n * 1e6,
        n if n < MILLISECONDS_BELOW as f64 => n * 1e3,
        n if n < MICROSECONDS_BELOW as f64 => n,
        n => n / 1e3,
    };
    (micros < 9.2e15).then(|| micros.round() as i64 * 1_000)
}

fn rfc3339(text: &[u8]) -> Option<UnixNs> {
    let (head, rest) = text.split_at_checked(19)?;
    let separated = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b't' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    if !separated {
        return None;
    }
    let (year, month, day) = (digits(&head[0..4])?, digits(&head[5..7])?, digits(&head[8..10])?);
    let (hour, minute, second) = (digits(&head[11..13])?, digits(&head[14..16])?, digits(&head[17..19])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(rest)?;
    let at = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    (at >= 0).then_some(at)
}

fn digits(text: &[u8]) -> Option<i64> {
    let mut n = 0;
    for b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n * 10 + i64::from(b - b'0');
    }
    Some(n)
}

/// `.123`, in nanoseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = after.iter().take_while(|b| b.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + after[..length].get(place).map_or(0, |b| i64::from(b - b'0'));
    }
    Some((nanos, &after[length..]))
}

/// `Z`, `+01:00`: seconds east of Greenwich.
fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's `days_from_civil`: years begin in March, so that the leap day is
/// the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const T: i64 = 1_700_000_000;

    #[test]
    fn text_is_rfc_3339() {
        let case = |text: &str, expected: Option<i64>| assert_eq!(super::text(text), expected, "{text}");
        case("2023-11-14T22:13:20Z", Some(T * 1_000_000_000));
        case("2023-11-14 22:13:20z", Some(T * 1_000_000_000));
        case("2023-11-14t23:13:20+01:00", Some(T * 1_000_000_000));
        case("2023-11-14T16:43:20-05:30", Some(T * 1_000_000_000));
        case("2023-11-14T22:13:20.1Z", Some(T * 1_000_000_000 + 100_000_000));
        case("2023-11-14T22:13:20.1234567899Z", Some(T * 1_000_000_000 + 123_456_789));
        case("1970-01-01T00:00:00Z", Some(0));
        case("2000-02-29T00:00:00Z", Some(951_782_400_000_000_000));
        case("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000_000));
        case("2262-04-11T23:47:16Z", Some(9_223_372_036_000_000_000));
        case("1969-12-31T23:59:59Z", None);
        case("2263-01-01T00:00:00Z", None);
        case("2023-02-29T00:00:00Z", None);
        case("1900-02-29T00:00:00Z", None);
        case("2023-13-01T00:00:00Z", None);
        case("2023-00-01T00:00:00Z", None);
        case("2023-11-31T00:00:00Z", None);
        case("2023-11-14T24:00:00Z", None);
        case("2023-11-14T22:60:00Z", None);
        case("2023-11-14T22:13:61Z", None);
        case("2023-11-14T22:13:20", None);
        case("2023-11-14T22:13:20.Z", None);
        case("2023-11-14T22:13:20+0100", None);
        case("2023-11-14T22:13:20+24:00", None);
        case("2023-11-14T22:13:20Z ", None);
        case("2023-11-14", None);
        case("2023-11-1ä22:13:20Z", None);
        case("", None);
        case("-5", None);
        case("1700000000", Some(T * 1_000_000_000));
        case("1700000000000000001", Some(T * 1_000_000_000 + 1));
        case("99999999999999999999", None);
    }

    #[test]
    fn a_numbers_unit_is_told_by_its_size() {
        let whole = |n: u64, expected: Option<i64>| assert_eq!(timestamp(&Node::Whole(n)), expected, "{n}");
        whole(0, Some(0));
        whole(1_700_000_000, Some(T * 1_000_000_000));
        whole(99_999_999_999, None);
        whole(1_700_000_000_123, Some(T * 1_000_000_000 + 123_000_000));
        whole(1_700_000_000_123_456, Some(T * 1_000_000_000 + 123_456_000));
        whole(1_700_000_000_123_456_789, Some(T * 1_000_000_000 + 123_456_789));
        whole(u64::MAX, None);
        let float = |n: f64, expected: Option<i64>| assert_eq!(timestamp(&Node::Float(n)), expected, "{n}");
        float(1_700_000_000.123, Some(T * 1_000_000_000 + 123_000_000));
        float(1_700_000_000_123.456, Some(T * 1_000_000_000 + 123_456_000));
        float(1.7e18, Some(T * 1_000_000_000));
        float(-1.5, None);
        float(1e19, None);
        assert_eq!(timestamp(&Node::Negative(-1)), None);
        assert_eq!(timestamp(&Node::Bool(true)), None);
    }
}
