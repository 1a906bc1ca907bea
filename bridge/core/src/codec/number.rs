//! Numbers of both text formats: sample values and timestamps.
//!
//! A value is what Prometheus' parsers accept: Go's `strconv.ParseFloat` without hex
//! floats and underscores. A plain decimal stays as it was written, digit for digit;
//! the special values have one spelling in both output formats.

/// What a value's text must be for a sample to count, and how it is written out.
/// `None`: no number, or one beyond the range of a float64.
pub(super) fn value(text: &str) -> Option<&str> {
    match decimal(text.as_bytes()) {
        Some(Decimal { exponent: false }) if text.len() < 300 => Some(text),
        // Out of range is an error in Go, not an infinity; too small is 0 in both.
        Some(_) => text.parse().ok().filter(|v: &f64| v.is_finite()).map(|_| text),
        None => special(text),
    }
}

/// The number that an accepted value stands for.
pub(super) fn as_f64(text: &str) -> Option<f64> {
    match value(text)? {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        plain => plain.parse().ok(),
    }
}

fn special(text: &str) -> Option<&'static str> {
    let is = |spelling: &str| text.eq_ignore_ascii_case(spelling);
    if is("inf") || is("+inf") || is("infinity") || is("+infinity") {
        return Some("+Inf");
    }
    if is("-inf") || is("-infinity") {
        return Some("-Inf");
    }
    if is("nan") {
        return Some("NaN");
    }
    None
}

struct Decimal {
    exponent: bool,
}

/// `[+-] digits [. digits] [(e|E) [+-] digits]`, at least one digit in the mantissa.
fn decimal(bytes: &[u8]) -> Option<Decimal> {
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(bytes, &mut at);
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        fraction = digits(bytes, &mut at);
    }
    if whole + fraction == 0 {
        return None;
    }
    if at == bytes.len() {
        return Some(Decimal { exponent: false });
    }
    if !matches!(bytes[at], b'e' | b'E') {
        return None;
    }
    at += 1;
    if matches!(bytes.get(at), Some(b'+' | b'-')) {
        at += 1;
    }
    let power = digits(bytes, &mut at);
    if power == 0 || at != bytes.len() {
        return None;
    }
    Some(Decimal { exponent: true })
}

fn digits(bytes: &[u8], at: &mut usize) -> usize {
    let start = *at;
    while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
        *at += 1;
    }
    *at - start
}

/// A timestamp of the text format: a signed count of milliseconds.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A timestamp of OpenMetrics: seconds, any finite decimal.
pub(super) struct Seconds {
    /// Milliseconds, cut towards zero; what lies beyond an i64 is its last one.
    pub(super) ms: i64,
    /// The seconds, for comparisons finer than a millisecond.
    pub(super) exact: f64,
}

/// Reads an OpenMetrics timestamp. The plain spelling is cut in decimal: 0.29 s are
/// 290 ms, which `0.29 * 1000.0` is not.
pub(super) fn seconds(text: &str) -> Option<Seconds> {
    let Decimal { exponent } = decimal(text.as_bytes())?;
    let exact: f64 = text.parse().ok().filter(|v: &f64| v.is_finite())?;
    let ms = match (exponent, plain_milliseconds(text)) {
        (false, Some(ms)) => ms,
        // `as` saturates, which is the rule above.
        _ => (exact * 1000.0) as i64,
    };
    Some(Seconds { ms, exact })
}

fn plain_milliseconds(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut ms: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    for place in 0..3 {
        let digit = fraction.as_bytes().get(place).map_or(0, |b| b - b'0');
        ms = ms.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    Some(if negative { -ms } else { ms })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_go_without_hex_and_underscores() {
        for text in [
            "0",
            "1",
            "+1",
            "-1",
            "1.",
            ".5",
            "-.5",
            "1.5",
            "1e5",
            "1E5",
            "1e+05",
            "1e-05",
            "1.e3",
            "-0",
            "0000001.2e-1",
            "1.7976931348623157e308",
            "1e-400",
            "18446744073709551616",
            "3.14e+42",
        ] {
            assert_eq!(value(text), Some(text));
        }
        for (text, written) in [
            ("inf", "+Inf"),
            ("Inf", "+Inf"),
            ("+Inf", "+Inf"),
            ("+inf", "+Inf"),
            ("INF", "+Inf"),
            ("infinity", "+Inf"),
            ("+Infinity", "+Inf"),
            ("-inf", "-Inf"),
            ("-INFINITY", "-Inf"),
            ("nan", "NaN"),
            ("NaN", "NaN"),
            ("NAN", "NaN"),
        ] {
            assert_eq!(value(text), Some(written), "{text}");
        }
        for text in [
            "", "+", "-", ".", "+.", "e5", ".e5", "1e", "1e+", "1e5.", "1.2.3", "1_2", "0x1", "0x1p-3", "0b1", "0o7",
            "1,5", " 1", "1 ", "1\t", "1\r", "--1", "+-1", "+nan", "-nan", "infinit", "true", "1e400", "-1e309", "one",
            "1f", "١",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
        let long = "9".repeat(400);
        assert_eq!(value(&long), None);
        let long = format!("0.{}", "9".repeat(400));
        assert_eq!(value(&long), Some(long.as_str()));
    }

    #[test]
    fn timestamps() {
        for (text, ms) in [
            ("0", 0),
            ("000", 0),
            ("1.1", 1100),
            ("0.29", 290),
            ("1520872607.123", 1_520_872_607_123),
            ("-1.5", -1500),
            (".5", 500),
            ("5.", 5000),
            ("1.5e3", 1_500_000),
            ("0.0009", 0),
            ("-0.0009", 0),
            ("+2", 2000),
            ("12345678901234567890.1", i64::MAX),
            ("-1e300", i64::MIN),
            ("1.99999", 1999),
        ] {
            assert_eq!(seconds(text).unwrap().ms, ms, "{text}");
        }
        for text in ["", "NaN", "Inf", "-Inf", "1_2", "1z", "0x1p-3", "1e999", "1.1.1", "."] {
            assert!(seconds(text).is_none(), "{text}");
        }
        for (text, ms) in [
            ("0", Some(0)),
            ("-2", Some(-2)),
            ("1.5", None),
            ("", None),
            ("1e3", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }
}
