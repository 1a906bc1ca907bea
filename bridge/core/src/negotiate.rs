//! What a client takes: `Accept` → exposition format, `Accept-Encoding` → compression.
//!
//! The highest `q` wins, among equals the one named first. Ranges that this bridge does
//! not write (protobuf as text, say) are passed over; if nothing fits, text 0.0.4 is the answer, as
//! the reference servers do it: a scrape that could be read is never refused for a header.
use crate::exposition::Format;

/// Compression of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// None.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The response's `Content-Encoding`; `None` for identity, which has no header.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some("gzip"),
            Coding::Zstd => Some("zstd"),
        }
    }
}

/// Longer headers are read up to here, in list members.
const MAX_MEMBERS: usize = 64;

/// One member of a list header: its value, its parameters, its weight in thousandths.
struct Range<'a> {
    value: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: u32,
}

impl<'a> Range<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let found = self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    }
}

/// The members of a list header that are wanted at all, best first.
fn ranges(header: &str) -> Vec<Range<'_>> {
    let mut all: Vec<Range<'_>> = header.split(',').take(MAX_MEMBERS).map(range).collect();
    // Stable: among equals the order of the header stays.
    all.sort_by_key(|r| std::cmp::Reverse(r.weight));
    all
}

fn range(member: &str) -> Range<'_> {
    let mut parts = member.split(';').map(str::trim);
    let value = parts.next().unwrap_or("");
    let mut parameters = Vec::new();
    let mut weight = 1000;
    for part in parts {
        let Some((name, value)) = part.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("q") {
            weight = thousandths(value);
            continue;
        }
        parameters.push((name, value));
    }
    Range { value, parameters, weight }
}

/// `0.5` → 500. What is no weight counts as none given.
fn thousandths(text: &str) -> u32 {
    match text.parse::<f32>() {
        Ok(q) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u32,
        _ => 1000,
    }
}

/// The format for an `Accept` header (several joined by `,`); `None`: no header.
pub fn format(accept: Option<&str>) -> Format {
    ranges(accept.unwrap_or("")).iter().filter(|r| r.weight > 0).find_map(written).unwrap_or(Format::Text004)
}

/// The format that a range asks for, if this bridge writes it.
fn written(range: &Range<'_>) -> Option<Format> {
    let utf8 = range.parameter("escaping").is_some_and(|e| e.eq_ignore_ascii_case("allow-utf-8"));
    let version = range.parameter("version").unwrap_or("");
    match (range.value.to_ascii_lowercase().as_str(), version) {
        ("application/openmetrics-text", "1.0.0") => Some(Format::OpenMetrics100 { utf8 }),
        ("application/openmetrics-text", "" | "0.0.1") => Some(Format::OpenMetrics001),
        ("application/vnd.google.protobuf", _) if delimited(range) => Some(Format::Protobuf { utf8 }),
        ("text/plain", "1.0.0") => Some(Format::Text100 { utf8 }),
        ("text/plain", "" | "0.0.4") | ("text/*" | "*/*", _) => Some(Format::Text004),
        _ => None,
    }
}

/// Of protobuf only one message in one encoding is written; as in the reference servers, both
/// must be named.
fn delimited(range: &Range<'_>) -> bool {
    let is = |name, wanted| range.parameter(name).is_some_and(|value: &str| value.eq_ignore_ascii_case(wanted));
    is("proto", "io.prometheus.client.MetricFamily") && is("encoding", "delimited")
}

/// The compression for an `Accept-Encoding` header. Among equals zstd comes before gzip
/// (a fraction of the CPU) and both before identity; what is given weight 0 is not used,
/// unless identity itself is refused and nothing else is left.
pub fn coding(accept_encoding: Option<&str>) -> Coding {
    let ranges = ranges(accept_encoding.unwrap_or(""));
    let weight = |names: &[&str]| {
        let named = |r: &&Range<'_>| names.iter().any(|n| r.value.eq_ignore_ascii_case(n));
        let any = |r: &&Range<'_>| r.value == "*";
        let found = ranges.iter().find(named).or_else(|| ranges.iter().find(any));
        found.map(|r| r.weight)
    };
    let zstd = weight(&["zstd"]).unwrap_or(0);
    let gzip = weight(&["gzip", "x-gzip"]).unwrap_or(0);
    // Identity is acceptable unless excluded, and preferred only where it is named.
    let named = ranges.iter().find(|r| r.value.eq_ignore_ascii_case("identity"));
    let identity = named.map_or(0, |r| r.weight);
    if zstd > 0 && zstd >= gzip && zstd >= identity {
        return Coding::Zstd;
    }
    if gzip > 0 && gzip >= identity {
        return Coding::Gzip;
    }
    Coding::Identity
}

#[cfg(test)]
mod tests {
    use super::*;

    const OM: Format = Format::OpenMetrics100 { utf8: false };
    const OM_UTF8: Format = Format::OpenMetrics100 { utf8: true };
    const PROTO: Format = Format::Protobuf { utf8: false };
    const PROTO_UTF8: Format = Format::Protobuf { utf8: true };

    #[test]
    fn formats() {
        for (expected, accept) in [
            // Prometheus 2.42
            (
                OM,
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            // Prometheus 2.42 with native histograms
            (
                PROTO,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            // Prometheus 2.53, and 3.x with metric_name_validation_scheme: legacy
            (
                OM,
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (
                OM,
                "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            // Prometheus 3.x
            (
                OM_UTF8,
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (
                PROTO,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            // Prometheus 3.x with scrape_protocols: [PrometheusProto], the newer ones
            (
                PROTO,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.2,*/*;q=0.1",
            ),
            (
                PROTO_UTF8,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,*/*;q=0.5",
            ),
            (
                PROTO,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=underscores",
            ),
            // Weights decide, whatever the order.
            (
                OM,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.4,application/openmetrics-text;version=1.0.0;q=0.5",
            ),
            (
                Format::Text004,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0,text/plain;q=0.1",
            ),
            // Protobuf that is not written: compact text, another message, unsaid.
            (
                Format::Text004,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=compact-text,*/*;q=0.1",
            ),
            (Format::Text004, "application/vnd.google.protobuf;proto=x.Other;encoding=delimited"),
            (OM, "application/vnd.google.protobuf,application/openmetrics-text;version=1.0.0;q=0.1"),
            // Prometheus 3.x with scrape_protocols: [PrometheusText1.0.0]
            (Format::Text100 { utf8: true }, "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2"),
            (Format::Text100 { utf8: false }, "text/plain;version=1.0.0"),
            (Format::OpenMetrics001, "application/openmetrics-text;version=0.0.1"),
            (Format::OpenMetrics001, "application/openmetrics-text"),
            (Format::OpenMetrics001, "application/openmetrics-text; version=0.0.1; q=0.9, text/plain; q=0.5"),
            (
                Format::OpenMetrics001,
                "application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=0.0.1;q=0.1",
            ),
            (Format::Text004, "*/*"),
            (Format::Text004, ""),
            (Format::Text004, "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
            (Format::Text004, "application/json"),
            (Format::Text004, "application/openmetrics-text;version=1.0.0;q=0,text/plain"),
            (Format::Text004, "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0"),
            (Format::Text004, ";;q=,,=,"),
            (OM, "TEXT/PLAIN;q=0.1, Application/OpenMetrics-Text; Version=\"1.0.0\""),
        ] {
            assert_eq!(format(Some(accept)), expected, "{accept}");
        }
        assert_eq!(format(None), Format::Text004);
    }

    #[test]
    fn codings() {
        for (expected, header) in [
            (Coding::Gzip, "gzip"),
            (Coding::Zstd, "deflate, gzip, br, zstd"),
            (Coding::Zstd, "zstd"),
            (Coding::Gzip, "gzip, zstd;q=0.5"),
            (Coding::Gzip, "gzip, zstd;q=0"),
            (Coding::Identity, "gzip;q=0"),
            (Coding::Identity, "identity"),
            (Coding::Identity, "identity, gzip;q=0.5"),
            (Coding::Gzip, "identity;q=0.5, gzip"),
            (Coding::Identity, "deflate, br"),
            (Coding::Identity, ""),
            (Coding::Zstd, "*"),
            (Coding::Gzip, "*, zstd;q=0"),
            (Coding::Identity, "*;q=0"),
            (Coding::Gzip, "x-gzip"),
            (Coding::Gzip, "GZIP;Q=1.0"),
        ] {
            assert_eq!(coding(Some(header)), expected, "{header}");
        }
        assert_eq!(coding(None), Coding::Identity);
    }
}
