//! Durations, sizes and addresses as people write them, in files and in flags.
use std::time::Duration;

use thiserror::Error;

/// A value that does not follow its grammar. The text never contains the value:
/// it may be a secret that came from `${…}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not {expected}; {remedy}")]
pub struct ValueError {
    /// What would have been accepted, with examples.
    pub expected: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

const EXPECTED_DURATION: &str = "a duration such as 15s, 10m, 1h30m or 30d";
const EXPECTED_BYTES: &str = "a size such as 64MiB, 10GB or 4096";

const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const BYTE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Splits `text` into its leading ASCII digits and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a duration in Prometheus' grammar: whole numbers with the units `y w d h m s
/// ms`, larger units first, each at most once (`1h30m`, `250ms`), or a plain `0`.
///
/// # Errors
/// Anything else, and what does not fit 64 bits of milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let error = |remedy| ValueError { expected: EXPECTED_DURATION, remedy };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(error("write a whole number and a unit of y, w, d, h, m, s, ms"));
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = digits(rest);
        if number.is_empty() || after.starts_with('.') {
            return Err(error("write whole numbers, each with a unit of y, w, d, h, m, s, ms"));
        }
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, following) = after.split_at(end);
        if unit.is_empty() {
            return Err(error("add a unit of y, w, d, h, m, s, ms to the number"));
        }
        let Some(index) = DURATION_UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(error("use the units y, w, d, h, m, s, ms"));
        };
        if index < next_unit {
            return Err(error("write each unit once, the larger one first, as in 1h30m"));
        }
        next_unit = index + 1;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(DURATION_UNITS[index].1));
        let Some(sum) = part.and_then(|ms| total.checked_add(ms)) else {
            return Err(error("write a shorter one: it does not fit 64 bits of milliseconds"));
        };
        total = sum;
        rest = following;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as [`parse_duration`] reads it; below a millisecond is cut off.
pub fn format_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in DURATION_UNITS {
        // Years and weeks read worse than days in messages.
        if matches!(unit, "y" | "w") || left < size {
            continue;
        }
        text.push_str(&format!("{}{unit}", left / size));
        left %= size;
    }
    text
}

/// Reads a number of bytes: a whole number and one of `B KB MB GB TB` (powers of 1000)
/// or `KiB MiB GiB TiB` (powers of 1024); without a unit it is bytes.
///
/// # Errors
/// Anything else, and what does not fit 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, ValueError> {
    let error = |remedy| ValueError { expected: EXPECTED_BYTES, remedy };
    let (number, unit) = digits(text);
    if number.is_empty() || unit.starts_with('.') {
        return Err(error("write a whole number and a unit such as KB, MB, GB or KiB, MiB, GiB"));
    }
    let Some((_, size)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(error("use the units B, KB, MB, GB, TB (1000) or KiB, MiB, GiB, TiB (1024)"));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*size))
        .ok_or_else(|| error("write a smaller one: it does not fit 64 bits"))
}

/// Splits `HOST:PORT`: a name, an IPv4 address or an IPv6 address in brackets, and a
/// port of 1 to 65535. The host may not be empty.
///
/// # Errors
/// Anything else.
pub fn parse_host_port(text: &str) -> Result<(&str, u16), ValueError> {
    let error = |remedy| ValueError { expected: "an address HOST:PORT", remedy };
    let (host, port) = split_port(text, error)?;
    if host.is_empty() {
        return Err(error("write a host name or an IP address before the colon"));
    }
    if port == 0 {
        return Err(error("write a port from 1 to 65535"));
    }
    Ok((host, port))
}

/// Reads a listen address in the Prometheus manner and makes it one that a socket can
/// be bound to: `:9527` is every address (`[::]:9527`), port 0 lets the system choose.
///
/// # Errors
/// Anything but `[HOST]:PORT`.
pub fn parse_listen_address(text: &str) -> Result<String, ValueError> {
    let error = |remedy| ValueError { expected: "a listen address such as 127.0.0.1:9527 or :9527", remedy };
    let (host, port) = split_port(text, error)?;
    let host = if host.is_empty() { "[::]" } else { host };
    Ok(format!("{host}:{port}"))
}

fn split_port(text: &str, error: impl Fn(&'static str) -> ValueError) -> Result<(&str, u16), ValueError> {
    if text.contains("://") {
        return Err(error("leave the scheme out: only the host and the port belong here"));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(error("add a colon and the port"));
    };
    let digits_only = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let Some(port) = port.parse::<u16>().ok().filter(|_| digits_only) else {
        return Err(error("write a port from 1 to 65535 after the colon"));
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        if inner.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(error("write an IPv6 address between the brackets"));
        }
        return Ok((host, port));
    }
    if host.contains(':') {
        return Err(error("put an IPv6 address in brackets, as in [::1]:9527"));
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !host.chars().all(valid) {
        return Err(error("a host has only letters, digits, dots, hyphens and underscores"));
    }
    Ok((host, port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_prometheus_reads_them() {
        let ok = |text: &str, ms: u64| {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        };
        ok("0", 0);
        ok("0s", 0);
        ok("1ms", 1);
        ok("250ms", 250);
        ok("15s", 15_000);
        ok("10m", 600_000);
        ok("1h30m", 5_400_000);
        ok("1h0m5s", 3_605_000);
        ok("30d", 2_592_000_000);
        ok("2w", 1_209_600_000);
        ok("1y", 31_536_000_000);
        ok("1d2h3m4s5ms", 93_784_005);
        ok("090s", 90_000);
        ok("90m", 5_400_000);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_remedy() {
        let no = |text: &str, remedy: &str| {
            let error = parse_duration(text).unwrap_err();
            assert!(error.remedy.contains(remedy), "{text}: {error}");
        };
        no("", "whole number and a unit");
        no("15", "add a unit");
        no("00", "add a unit");
        no("s", "whole numbers");
        no("1.5s", "whole numbers");
        no("-5s", "whole numbers");
        no("+5s", "whole numbers");
        no(" 5s", "whole numbers");
        no("5 s", "add a unit");
        no("5s ", "whole numbers");
        no("5sec", "use the units");
        no("5M", "use the units");
        no("5S", "use the units");
        no("5µs", "add a unit");
        no("30m1h", "larger one first");
        no("1m1m", "each unit once");
        no("1ms1s", "larger one first");
        no("1h30", "add a unit");
        no("99999999999999999999s", "shorter");
        no("18446744073709551615s", "shorter");
        no("600000000y", "shorter");
        no("infinite", "whole numbers");
        no("１s", "whole numbers");
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        let case = |ms: u64, text: &str| {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        };
        case(0, "0s");
        case(250, "250ms");
        case(15_000, "15s");
        case(5_400_000, "1h30m");
        case(2_592_000_000, "30d");
        case(93_784_005, "1d2h3m4s5ms");
        for ms in [1, 999, 1000, 60_001, 86_399_999, 86_400_000, 31_536_000_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{ms}");
        }
    }

    #[test]
    fn sizes_know_both_families_of_units() {
        let ok = |text: &str, bytes: u64| assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        ok("0", 0);
        ok("4096", 4096);
        ok("1B", 1);
        ok("1KB", 1000);
        ok("1KiB", 1024);
        ok("64MiB", 67_108_864);
        ok("10GB", 10_000_000_000);
        ok("10GiB", 10_737_418_240);
        ok("2TB", 2_000_000_000_000);
        ok("2TiB", 2_199_023_255_552);
        ok("18446744073709551615", u64::MAX);
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_remedy() {
        let no = |text: &str, remedy: &str| {
            let error = parse_bytes(text).unwrap_err();
            assert!(error.remedy.contains(remedy), "{text}: {error}");
        };
        no("", "whole number");
        no("MiB", "whole number");
        no("-1", "whole number");
        no("1.5GiB", "whole number");
        no("64 MiB", "use the units");
        no("64mib", "use the units");
        no("64M", "use the units");
        no("64k", "use the units");
        no("64Mib", "use the units");
        no("1PB", "use the units");
        no("18446744073709551616", "smaller");
        no("99999999TiB", "smaller");
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        let ok = |text: &str, host: &str, port: u16| {
            assert_eq!(parse_host_port(text), Ok((host, port)), "{text}");
        };
        ok("localhost:9092", "localhost", 9092);
        ok("10.0.0.7:1", "10.0.0.7", 1);
        ok("kafka-0.kafka_svc.prod:65535", "kafka-0.kafka_svc.prod", 65535);
        ok("[::1]:9092", "[::1]", 9092);
        let no = |text: &str, remedy: &str| {
            let error = parse_host_port(text).unwrap_err();
            assert!(error.remedy.contains(remedy), "{text}: {error}");
        };
        no("", "colon");
        no("localhost", "colon");
        no("localhost:", "port");
        no("localhost:0", "1 to 65535");
        no("localhost:65536", "port");
        no("localhost:+9", "port");
        no("localhost:http", "port");
        no(":9092", "host name");
        no("::1:9092", "brackets");
        no("[::g]:9092", "IPv6");
        no("http://a:1", "scheme");
        no("a b:1", "letters");
        no("a,b:1", "letters");
        no("user@a:1", "letters");
    }

    #[test]
    fn listen_addresses_may_leave_the_host_out() {
        let ok = |text: &str, address: &str| {
            assert_eq!(parse_listen_address(text).as_deref(), Ok(address), "{text}");
        };
        ok(":9527", "[::]:9527");
        ok(":0", "[::]:0");
        ok("127.0.0.1:0", "127.0.0.1:0");
        ok("[::1]:9527", "[::1]:9527");
        ok("localhost:9527", "localhost:9527");
        assert!(parse_listen_address("9527").is_err());
        assert!(parse_listen_address("http://:9527").is_err());
    }
}
