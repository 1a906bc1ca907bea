//! The two things of a certificate that webpki does not tell: its alternative names and
//! until when it is valid. A reader of DER that gives up at the first oddity; the bytes
//! may be anybody's.
use std::net::IpAddr;

/// Tag, content and what follows of one element with a definite length.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        (digits.iter().fold(0_usize, |n, d| (n << 8) | usize::from(*d)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

const SEQUENCE: u8 = 0x30;

/// The certificate's body from its validity on.
fn from_validity(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut body, _) = expect(certificate, SEQUENCE)?;
    if body.first() == Some(&0xa0) {
        body = element(body)?.2;
    }
    // Serial number, algorithm, issuer.
    for tag in [0x02, SEQUENCE, SEQUENCE] {
        body = expect(body, tag)?.1;
    }
    Some(body)
}

/// The seconds since 1970 between which a certificate is valid.
pub(crate) fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (validity, _) = expect(from_validity(certificate)?, SEQUENCE)?;
    let (tag, from, rest) = element(validity)?;
    let (until_tag, until, _) = element(rest)?;
    Some((time(tag, from)?, time(until_tag, until)?))
}

fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (0x17, 12) => {
            let short: i64 = text[..2].parse().ok()?;
            // RFC 5280: from 1950 to 2049.
            (if short < 50 { 2000 + short } else { 1900 + short }, &text[2..])
        }
        (0x18, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    // Days since 1970 in the civil calendar, years beginning in March.
    let years = if month > 2 { year } else { year - 1 };
    let era = years.div_euclid(400);
    let of_era = years.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

/// The alternative names of a certificate: host names, e-mail addresses, URIs and IP
/// addresses, as text.
pub(crate) fn alternative_names(certificate: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let Some(mut list) = names_extension(certificate) else { return names };
    while let Some((tag, content, rest)) = element(list) {
        let text = || std::str::from_utf8(content).ok().map(str::to_owned);
        names.extend(match tag {
            0x81 | 0x82 | 0x86 => text(),
            0x87 => address(content),
            _ => None,
        });
        list = rest;
    }
    names
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_string())
}

fn names_extension(certificate: &[u8]) -> Option<&[u8]> {
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    let mut rest = from_validity(certificate)?;
    // Validity, subject, public key.
    for _ in 0..3 {
        rest = expect(rest, SEQUENCE)?.1;
    }
    while let Some((tag, content, after)) = element(rest) {
        rest = after;
        if tag != 0xa3 {
            continue;
        }
        let (mut extensions, _) = expect(content, SEQUENCE)?;
        while let Some((extension, after)) = expect(extensions, SEQUENCE) {
            extensions = after;
            let (oid, mut value) = expect(extension, 0x06)?;
            if value.first() == Some(&0x01) {
                value = element(value)?.2;
            }
            if oid == SUBJECT_ALT_NAME {
                return Some(expect(expect(value, 0x04)?.0, SEQUENCE)?.0);
            }
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_all_kinds_are_found() {
        let der = certificate(|p| {
            p.subject_alt_names = vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::Rfc822Name("b@example".try_into().unwrap()),
                SanType::URI("spiffe://c/d".try_into().unwrap()),
                SanType::IpAddress("10.0.0.7".parse().unwrap()),
                SanType::IpAddress("fd00::1".parse().unwrap()),
            ];
        });
        assert_eq!(alternative_names(&der), ["a.example", "b@example", "spiffe://c/d", "10.0.0.7", "fd00::1"]);
        assert_eq!(alternative_names(&certificate(|_| ())), Vec::<String>::new());
    }

    #[test]
    fn the_time_of_validity_is_read_in_both_spellings() {
        let der = certificate(|p| {
            p.not_before = date_time_ymd(2024, 2, 29);
            p.not_after = date_time_ymd(2051, 3, 1);
        });
        // date -u -d 2024-02-29 +%s; date -u -d 2051-03-01 +%s
        assert_eq!(validity(&der), Some((1_709_164_800, 2_561_241_600)));
        let at = |tag, text: &str| time(tag, text.as_bytes());
        assert_eq!(at(0x17, "700101000001Z"), Some(1));
        assert_eq!(at(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(at(0x18, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(at(0x17, "7001010000Z"), None);
        assert_eq!(at(0x18, "20501301000000Z"), None);
        assert_eq!(at(0x18, "2050010100000é"), None);
    }

    #[test]
    fn broken_bytes_give_nothing_and_do_no_harm() {
        let der = certificate(|p| p.subject_alt_names = vec![SanType::DnsName("a".try_into().unwrap())]);
        for end in 0..der.len() {
            let _ = (validity(&der[..end]), alternative_names(&der[..end]));
        }
        for at in 0..der.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut broken = der.clone();
                broken[at] = value;
                let _ = (validity(&broken), alternative_names(&broken));
            }
        }
        assert_eq!(alternative_names(b"no certificate"), Vec::<String>::new());
    }
}
