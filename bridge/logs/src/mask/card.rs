//! Credit card numbers: known issuers, their lengths, the check digit of ISO/IEC 7812.
use std::ops::Range;

/// The longest number.
const MAX_DIGITS: usize = 19;

/// A run of hex digits from this length on is an identifier, if it has letters.
const ID_RUN: usize = 20;

/// The ASCII digit that a character stands for (also full-width ones).
pub(super) fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8),
        '\u{ff10}'..='\u{ff19}' => u8::try_from(u32::from(c) - 0xff10).ok().map(|d| b'0' + d),
        _ => None,
    }
}

/// Whether ASCII digits are a card number.
pub(super) fn is_card(digits: &[u8]) -> bool {
    issued(digits) && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let d = u32::from(d - b'0');
            if i % 2 == 0 { d } else { 2 * d / 10 + 2 * d % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Issuer prefixes and lengths, as published by the networks.
fn issued(digits: &[u8]) -> bool {
    let n = digits.len();
    if !(13..=MAX_DIGITS).contains(&n) {
        return false;
    }
    let head = digits[..4].iter().fold(0u32, |sum, d| sum * 10 + u32::from(d - b'0'));
    match head {
        4000..=4999 => matches!(n, 13 | 16 | 19),
        5100..=5599 | 2221..=2720 => n == 16,
        3400..=3499 | 3700..=3799 => n == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&n),
        3528..=3589 => (16..=19).contains(&n),
        6011 | 6440..=6599 | 6200..=6299 => (16..=19).contains(&n),
        _ => false,
    }
}

/// Digits that stand together, with where they stand.
struct Group {
    at: Range<usize>,
    digits: Vec<u8>,
    /// What parts it from the group before: `None` where no window may reach over.
    joint: Option<char>,
}

/// Finds the card numbers of a text.
pub(super) fn find(text: &str, found: &mut dyn FnMut(Range<usize>)) {
    if !has_thirteen(text) {
        return;
    }
    let groups = groups(text);
    let mut first = 0;
    while first < groups.len() {
        match window(text, &groups, first) {
            Some(last) => {
                found(groups[first].at.start..groups[last].at.end);
                first = last + 1;
            }
            None => first += 1,
        }
    }
}

/// Whether a text can hold a card number, also as a JSON number with an exponent.
pub(super) fn may_hold(text: &str) -> bool {
    has_thirteen(text) || has_exponent(text.as_bytes())
}

/// Digits, `e`, digits, and then no letter or quote: hex in a string seldom reads so.
fn has_exponent(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'e', b'E', bytes).any(|at| {
        if at == 0 || !(bytes[at - 1].is_ascii_digit() || bytes[at - 1] == b'.') {
            return false;
        }
        let signed = usize::from(bytes.get(at + 1) == Some(&b'+'));
        let rest = &bytes[at + 1 + signed..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let ends = rest.get(digits).is_none_or(|b| b.is_ascii_whitespace() || b",]}".contains(b));
        digits > 0 && ends
    })
}

/// Whether thirteen digits stand together, with at most one character between each; false
/// for most texts. Beyond ASCII, any byte may be part of a digit or a joint.
fn has_thirteen(text: &str) -> bool {
    let (mut digits, mut gap) = (0, 0);
    for b in text.bytes() {
        if b.is_ascii_digit() || b >= 0x80 {
            (digits, gap) = (digits + 1, 0);
            if digits >= 13 {
                return true;
            }
        } else if gap == 0 && matches!(b, b' ' | b'-' | b'.' | b'_') {
            gap = 1;
        } else {
            (digits, gap) = (0, 0);
        }
    }
    false
}

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut open = false;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let Some(d) = digit(c) else {
            open = false;
            continue;
        };
        if let (true, Some(group)) = (open, groups.last_mut()) {
            group.at.end = end;
            group.digits.push(d);
        } else {
            let joint = groups.last().and_then(|before| joint(&text[before.at.end..at]));
            groups.push(Group { at: at..end, digits: vec![d], joint });
        }
        open = true;
    }
    groups
}

fn joint(between: &str) -> Option<char> {
    let mut chars = between.chars();
    let c = chars.next()?;
    let joins = matches!(c, ' ' | '-' | '.' | '_' | '\u{a0}' | '\u{2010}'..='\u{2015}');
    (joins && chars.next().is_none()).then_some(c)
}

/// The last group of a card number that begins with the group `first`.
fn window(text: &str, groups: &[Group], first: usize) -> Option<usize> {
    if groups[first].joint == Some('.') && first > 0 && is_fraction(groups, first) {
        return None;
    }
    let (mut digits, mut dots) = (Vec::with_capacity(MAX_DIGITS), 0);
    let mut best = None;
    for (last, group) in groups.iter().enumerate().skip(first) {
        if last > first {
            match group.joint {
                None => break,
                Some('.') => dots += 1,
                Some(_) => {}
            }
        }
        digits.extend_from_slice(&group.digits);
        if digits.len() > MAX_DIGITS {
            break;
        }
        // One dot is a decimal point, not a way to group four by four.
        if dots != 1 && is_card(&digits) && !in_identifier(text, &groups[first].at, &group.at) {
            best = Some(last);
        }
    }
    best
}

/// Digits behind a decimal point: `0.5263157894736842`.
fn is_fraction(groups: &[Group], first: usize) -> bool {
    groups[first].digits.len() >= 13 && groups[first - 1].joint != Some('.')
}

/// Inside a long run of hex digits with letters: a trace id, not a card.
fn in_identifier(text: &str, first: &Range<usize>, last: &Range<usize>) -> bool {
    let hex = |c: &char| c.is_ascii_hexdigit();
    let before: usize = text[..first.start].chars().rev().take_while(hex).count();
    let after: usize = text[last.end..].chars().take_while(hex).count();
    before + after > 0 && before + after + (last.end - first.start) >= ID_RUN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let mut found = Vec::new();
        find(text, &mut |at| found.push(&text[at]));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn cards_are_found_and_other_numbers_are_not() {
        check("card 4111111111111111.", &["4111111111111111"]);
        check("4111 1111 1111 1111", &["4111 1111 1111 1111"]);
        check("4111-1111-1111-1111", &["4111-1111-1111-1111"]);
        check("4111.1111.1111.1111", &["4111.1111.1111.1111"]);
        check("order 12 4111 1111 1111 1111 99", &["4111 1111 1111 1111"]);
        check("amex 378282246310005, 3782 822463 10005", &["378282246310005", "3782 822463 10005"]);
        check("5555555555554444 6011111111111117", &["5555555555554444", "6011111111111117"]);
        check(
            "2223003122003222 3530111333300000 36227206271667",
            &["2223003122003222", "3530111333300000", "36227206271667"],
        );
        check("cc4111111111111111x", &["4111111111111111"]);
        check("\u{ff14}111111111111111", &["\u{ff14}111111111111111"]);
        check("4111111111111112", &[]);
        check("9111111111111111", &[]);
        check("0.4111111111111111", &[]);
        check("1763728860000 1763728860000000000", &[]);
        check("550e8400-e29b-41d4-a716-446655440000", &[]);
        check("a4111111111111111bcdef0123456789", &[]);
        check("41111111111111110000000000000000000000", &[]);
    }
}
