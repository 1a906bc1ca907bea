//! The body of a push: what it holds, checked before it is produced and read again, by the
//! same code, when it is replayed.
//!
//! Read as the Pushgateway reads it: protobuf where the content type says so, else text,
//! whatever it says (`curl` says that it sends a form). OpenMetrics is read as such where
//! the content type names it. The limits are constants, not configuration: what a record
//! means must not depend on the bridge that reads it.
use std::collections::HashSet;

use k2p_core::codec::{Format, ParseOptions, parse_strict};
use k2p_core::compress::{DecompressError, Encoding, decompress_measured};
use k2p_core::model::{Family, MetricType, Parsed, Rejection, SampleReason};
use k2p_core::reason::{RecordReason, Refusal};

use crate::family::{PushedFamily, STAMPS};
use crate::key::GroupingKey;
use crate::protobuf;

/// A body's bytes, decompressed, and those of its samples once their labels are in place.
pub const MAX_PLAIN: usize = 64 << 20;

/// A body as it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Body<'a> {
    /// The header `content-type`.
    pub content_type: Option<&'a str>,
    /// How it is compressed.
    pub encoding: Encoding,
    /// It.
    pub bytes: &'a [u8],
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not compressed as its header says.
    #[error("{0}")]
    Encoding(DecompressError),
    /// It is no exposition.
    #[error("text format parsing error in line {}: {}", .0.line, .0.detail)]
    Syntax(Rejection),
    /// It is no delimited protobuf.
    #[error("the body is no sequence of delimited io.prometheus.client.MetricFamily: {0}")]
    Protobuf(&'static str),
    /// It, or its samples with their labels in place, has more bytes than [`MAX_PLAIN`].
    #[error("the body has more than {MAX_PLAIN} bytes, decompressed and labelled: push less at once")]
    TooLarge,
    /// A sample with a timestamp.
    #[error(
        "pushed metrics are invalid or inconsistent with existing metrics: pushed metrics must not have timestamps ({0} has one)"
    )]
    Timestamp(String),
    /// Two samples that are one series.
    #[error(
        "pushed metrics are invalid or inconsistent with existing metrics: collected metric {0} was collected before with the same name and label values"
    )]
    Duplicate(String),
    /// Two families that claim the same name.
    #[error(
        "pushed metrics are invalid or inconsistent with existing metrics: collected metric named {name:?} collides with previously collected {kind} named {base:?}"
    )]
    Collision {
        /// The family in the way.
        name: String,
        /// `histogram` or `summary`.
        kind: &'static str,
        /// Its name.
        base: String,
    },
}

impl BodyError {
    /// Whether the Pushgateway notes it in `push_failure_time_seconds`: what it can read
    /// and does not take.
    pub fn is_recorded(&self) -> bool {
        matches!(self, BodyError::Timestamp(_) | BodyError::Duplicate(_) | BodyError::Collision { .. })
    }

    /// Whether there is too much of it.
    pub fn is_too_large(&self) -> bool {
        matches!(self, BodyError::TooLarge)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        let reason = match &error {
            BodyError::Encoding(error) => return error.clone().into(),
            BodyError::TooLarge => RecordReason::TooLarge,
            _ => RecordReason::NotADump,
        };
        Refusal::new(reason, error.to_string())
    }
}

/// The families of a body, sorted by name, with the labels that they have in the group:
/// without the key's, and with an empty `instance` where neither says one. Families without
/// a sample, and those that the Pushgateway makes itself, are left out.
///
/// # Errors
/// [`BodyError`]: nothing of it is taken.
pub fn read(key: &GroupingKey, body: &Body<'_>) -> Result<Vec<PushedFamily>, BodyError> {
    let plain = decompress_measured(body.encoding, body.bytes, MAX_PLAIN).map_err(|error| match error {
        DecompressError::TooLarge { .. } => BodyError::TooLarge,
        other => BodyError::Encoding(other),
    })?;
    let options = ParseOptions::default();
    match kind(body.content_type) {
        Kind::Protobuf => {
            let text = protobuf::to_text(&plain)?;
            let mut parsed = parse_strict(Format::Text, text.text.as_bytes(), &options).map_err(fault)?;
            text.hand_over(&mut parsed);
            families(key, &parsed)
        }
        Kind::Text => families(key, &parse_strict(Format::Text, &plain, &options).map_err(fault)?),
        Kind::OpenMetrics => families(key, &parse_strict(Format::OpenMetrics, &plain, &options).map_err(fault)?),
    }
}

/// A series that is there twice is a fault of the body, not of its text.
fn fault(rejection: Rejection) -> BodyError {
    match rejection.reason {
        SampleReason::DuplicateSeries => BodyError::Duplicate(format!("(line {})", rejection.line)),
        _ => BodyError::Syntax(rejection),
    }
}

enum Kind {
    Text,
    OpenMetrics,
    Protobuf,
}

fn kind(content_type: Option<&str>) -> Kind {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let said = |name: &str, value: &str, part: &str| {
        part.split_once('=')
            .is_some_and(|(n, v)| n.trim().eq_ignore_ascii_case(name) && v.trim().trim_matches('"') == value)
    };
    match media.as_str() {
        "application/openmetrics-text" => Kind::OpenMetrics,
        "application/vnd.google.protobuf" => {
            let all: Vec<&str> = parts.collect();
            let delimited = all.iter().any(|part| said("encoding", "delimited", part));
            let families = all.iter().any(|part| said("proto", "io.prometheus.client.MetricFamily", part));
            if delimited && families { Kind::Protobuf } else { Kind::Text }
        }
        _ => Kind::Text,
    }
}

fn families(key: &GroupingKey, parsed: &Parsed<'_>) -> Result<Vec<PushedFamily>, BodyError> {
    let timed = parsed.families.iter().flat_map(|f| &f.samples).find(|sample| sample.timestamp.is_some());
    if let Some(sample) = timed {
        return Err(BodyError::Timestamp(sample.name.to_string()));
    }
    let own = |family: &&Family<'_>| !family.samples.is_empty() && !STAMPS.iter().any(|(name, _)| *name == family.name);
    let taken: Vec<&Family<'_>> = parsed.families.iter().filter(own).collect();
    collisions(&taken)?;
    let mut room = MAX_PLAIN;
    let mut families = Vec::with_capacity(taken.len());
    for family in taken {
        families.push(PushedFamily::of(family, key, &mut room)?);
    }
    families.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(families)
}

/// A histogram `a` claims `a_bucket`, `a_count` and `a_sum`, a summary the latter two (as
/// client_golang's registry has it).
fn collisions(families: &[&Family<'_>]) -> Result<(), BodyError> {
    let names: HashSet<&str> = families.iter().map(|f| &*f.name).collect();
    for family in families {
        let (kind, suffixes): (_, &[&str]) = match family.kind {
            MetricType::Histogram => ("histogram", &["_bucket", "_count", "_sum"]),
            MetricType::Summary => ("summary", &["_count", "_sum"]),
            _ => continue,
        };
        for suffix in suffixes {
            let name = format!("{}{suffix}", family.name);
            if names.contains(name.as_str()) {
                return Err(BodyError::Collision { name, kind, base: family.name.to_string() });
            }
        }
    }
    Ok(())
}
