//! Numbers for people.

/// `412 B`, `3.4 kB`, `1.2 MB`: decimal, three digits at most.
pub(super) fn bytes(n: u64) -> String {
    scaled(n as f64, &["B", "kB", "MB", "GB", "TB"], " ")
}

/// `999`, `12.3k`, `1.20M`.
pub(super) fn count(n: u64) -> String {
    if n < 10_000 {
        return n.to_string();
    }
    scaled(n as f64, &["", "k", "M", "G", "T"], "")
}

fn scaled(mut value: f64, units: &[&str], gap: &str) -> String {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match (unit, value) {
        (0, _) => 0,
        (_, v) if v < 9.995 => 2,
        (_, v) if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{gap}{}", units[unit])
}

/// `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`; a time in the future is `0.0 s`.
pub(super) fn duration(ms: i64) -> String {
    let seconds = ms.max(0) as f64 / 1000.0;
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s if s < 7_170.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_000.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// Seconds, of a span or of the time since.
pub(super) fn span(seconds: Option<f64>) -> String {
    seconds.map_or("–".to_owned(), |s| duration((s * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.00 kB");
        assert_eq!(bytes(12_345), "12.3 kB");
        assert_eq!(bytes(999_949), "1.00 MB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(bytes(u64::MAX), "18446744 TB");
    }

    #[test]
    fn counts_stay_exact_while_short() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(count(1_200_000), "1.20M");
    }

    #[test]
    fn durations_lose_what_nobody_needs() {
        assert_eq!(duration(-5), "0.0 s");
        assert_eq!(duration(420), "0.4 s");
        assert_eq!(duration(12_300), "12 s");
        assert_eq!(duration(119_600), "2 min");
        assert_eq!(duration(3 * 3_600_000), "3 h");
        assert_eq!(duration(7 * 86_400_000), "7 d");
    }
}
