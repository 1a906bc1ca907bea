//! A rejected line, put into words: what, where, an excerpt, the remedy.
use crate::model::{Rejection, SampleReason};

use super::DumpError;
use super::scan::Fault;

pub(super) fn rejection(line_number: u32, line: &[u8], fault: Fault) -> Rejection {
    let column = u32::try_from(fault.at + 1).unwrap_or(u32::MAX);
    let whole_line = match fault.reason {
        SampleReason::DuplicateSeries | SampleReason::Structure => true,
        SampleReason::LabelTooLong => true,
        SampleReason::Metadata => fault.at == 0,
        _ => false,
    };
    Rejection {
        line: line_number,
        column: if whole_line { 0 } else { column },
        reason: fault.reason,
        detail: format!("{}: `{}`; {}", fault.what, excerpt(line, fault.at), remedy(fault.reason)),
    }
}

/// What a strict reader says of a limit.
pub(super) fn as_rejection(error: &DumpError, body: &[u8]) -> Rejection {
    let (line, reason) = match error {
        DumpError::Truncated => (body.split(|b| *b == b'\n').count() as u32, SampleReason::Structure),
        DumpError::TooManySeries { line, .. } => (*line, SampleReason::Structure),
        DumpError::LabelTooLong { line, .. } => (*line, SampleReason::LabelTooLong),
        DumpError::NotADump { line, .. } => (*line, SampleReason::Syntax),
    };
    Rejection { line, column: 0, reason, detail: error.to_string() }
}

const EXCERPT_BYTES: usize = 120;

/// The line around a fault, at most 120 bytes, with what no terminal or log should see
/// as it is escaped.
fn excerpt(line: &[u8], at: usize) -> String {
    let from = if line.len() <= EXCERPT_BYTES { 0 } else { at.saturating_sub(EXCERPT_BYTES / 2) };
    let mut out = String::from(if from > 0 { "…" } else { "" });
    for chunk in line[from..].utf8_chunks() {
        for c in chunk.valid().chars() {
            let escaped =
                if c.is_control() || is_invisible(c) { c.escape_unicode().to_string() } else { c.to_string() };
            if out.len() + escaped.len() > EXCERPT_BYTES - 3 {
                return out + "…";
            }
            out.push_str(&escaped);
        }
        for byte in chunk.invalid() {
            if out.len() + 4 > EXCERPT_BYTES - 3 {
                return out + "…";
            }
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Characters that turn or hide their neighbours on a screen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn remedy(reason: SampleReason) -> &'static str {
    match reason {
        SampleReason::Syntax => {
            "a sample is one line, name{label=\"value\"} value [timestamp], with \\, \" and newline escaped in values"
        }
        SampleReason::Utf8 => "write the dump in UTF-8",
        SampleReason::Name => "names match [a-zA-Z_:][a-zA-Z0-9_:]*, or are quoted within the braces",
        SampleReason::Value => "a value is a decimal number, NaN, +Inf or -Inf, ended by a blank or a plain newline",
        SampleReason::Timestamp => {
            "text has milliseconds, OpenMetrics seconds; leave it out if the scrape's time will do"
        }
        SampleReason::DuplicateLabel => "name each label once",
        SampleReason::DuplicateSeries => "write each series once, or tell them apart by a label",
        SampleReason::Metadata => "write each HELP, TYPE and UNIT once, before the samples of its family",
        SampleReason::Exemplar => {
            "an exemplar is {label=\"value\"} value [timestamp] with at most 128 characters of labels, on buckets and counters"
        }
        SampleReason::Structure => "follow the rules of the family's TYPE, or declare another one",
        SampleReason::LabelTooLong => "shorten it at the target, or raise the topic's limit",
    }
}
