//! The values' grammar, from the first byte to the newline.

// Eight bytes at a time, in one word.
const ZEROS: u64 = 0x3030_3030_3030_3030;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const NIBBLES: u64 = 0xF0F0_F0F0_F0F0_F0F0;

/// The length of the number that `text` begins with, if a newline follows it and it is
/// surely one that the parser accepts as it stands. `None` is no judgement: the parser
/// has to look.
#[inline]
pub(super) fn plain(text: &[u8]) -> Option<usize> {
    if let Some(word) = text.first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let newlines = word ^ (ONES * u64::from(b'\n'));
        // The lowest bit found is exact; those above it may not be.
        let found = newlines.wrapping_sub(ONES) & !newlines & HIGH;
        if found != 0 {
            let bits = found.trailing_zeros() & !7;
            let below = (1u64 << bits) - 1;
            let digits = word & below | ZEROS & !below;
            let high = digits & NIBBLES;
            let carried = digits.wrapping_add(ONES * 6) & NIBBLES;
            if bits > 0 && high == ZEROS && carried == ZEROS {
                return Some(bits as usize / 8);
            }
        }
    }
    decimal(text)
}

/// `[+-] digits [. digits] [e [+-] digits]` and a newline. At most 40 bytes, with an
/// exponent of at most two digits: no such number is out of a float64's range.
fn decimal(text: &[u8]) -> Option<usize> {
    const LONGEST: usize = 40;
    let text = &text[..text.len().min(LONGEST)];
    let mut at = usize::from(matches!(text.first()?, b'+' | b'-'));
    let whole = digits(text, &mut at);
    let mut fraction = 0;
    if *text.get(at)? == b'.' {
        at += 1;
        fraction = digits(text, &mut at);
    }
    if whole + fraction == 0 {
        return None;
    }
    match *text.get(at)? {
        b'\n' => return Some(at),
        b'e' | b'E' => at += 1,
        _ => return None,
    }
    if matches!(*text.get(at)?, b'+' | b'-') {
        at += 1;
    }
    let power = digits(text, &mut at);
    ((1..=2).contains(&power) && *text.get(at)? == b'\n').then_some(at)
}

#[inline]
fn digits(text: &[u8], at: &mut usize) -> usize {
    let start = *at;
    // Eight at a time: most floats have sixteen digits.
    while let Some(word) = text.get(*at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let odd = (word & NIBBLES ^ ZEROS) | (word.wrapping_add(ONES * 6) & NIBBLES ^ ZEROS);
        if odd == 0 {
            *at += 8;
            continue;
        }
        // A carry only runs upwards: the lowest odd byte is exact.
        *at += odd.trailing_zeros() as usize / 8;
        return *at - start;
    }
    while text.get(*at).is_some_and(u8::is_ascii_digit) {
        *at += 1;
    }
    *at - start
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::plain;
    use crate::codec::{Format, tail};
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        for (text, length) in [
            ("0\n", Some(1)),
            ("1234567\nx", Some(7)),
            ("12345678\n", Some(8)),
            ("123456789012345678\n", Some(18)),
            ("-1.5e+05\n0", Some(8)),
            ("1.7952188e+09\n", Some(13)),
            ("+.5\n", Some(3)),
            ("5.\n", Some(2)),
            ("1e5\n", Some(3)),
            ("\n", None),
            (".\n", None),
            ("-\n", None),
            ("1", None),
            ("1 \n", None),
            ("1 2\n", None),
            ("1\r\n", None),
            ("NaN\n", None),
            ("1e\n", None),
            ("1e400\n", None),
            ("1.2.3\n", None),
            ("1_0\n", None),
            ("12:4\n", None),
            ("12/4\n", None),
            ("0x1\n", None),
        ] {
            assert_eq!(plain(text.as_bytes()), length, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        /// What is plain, the parser accepts as it stands, and nothing stands behind it.
        #[test]
        fn the_parser_agrees(text in "([-+0-9.eE]{0,24}|[-+]?[0-9]{1,20}(\\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?|[ -~]{0,12})\\n[ -~\\n]{0,10}") {
            if let Some(length) = plain(text.as_bytes()) {
                prop_assert_eq!(text.as_bytes()[length], b'\n');
                for format in [Format::Text, Format::OpenMetrics] {
                    let read = tail(format, &text[..length]).unwrap();
                    prop_assert_eq!((read.value, read.timestamp, read.exemplar), (&text[..length], None, None));
                }
            }
        }
    }
}
