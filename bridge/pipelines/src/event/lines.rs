//! A record's value → events: line by line, each on its own.
use super::json::{Node, Object, TOO_DEEP, parse};
use super::reason::{EventReason, Refusal, Rejection};
use super::{Event, EventLimits, ParsedEvents, job, lineage, log, protobuf, run};

/// Which schema a line follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Log,
    Run,
    Lineage,
    Job,
}

impl Kind {
    fn from_name(name: &str) -> Option<Kind> {
        let names = [("log", Kind::Log), ("run", Kind::Run), ("lineage", Kind::Lineage), ("job", Kind::Job)];
        names.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Told by the fields, in design §6's order.
    fn of(fields: &Object<'_>) -> Option<Kind> {
        let mut told = None;
        for (key, node) in fields {
            let (rank, kind) = match &**key {
                "content" => (0, Kind::Job),
                "operation" => (1, Kind::Lineage),
                "status" => (2, Kind::Run),
                "level" => (3, Kind::Log),
                _ => continue,
            };
            if *node != Node::Null && told.is_none_or(|(known, _)| rank < known) {
                told = Some((rank, kind));
            }
        }
        told.map(|(_, kind)| kind)
    }
}

/// How the lines of a record are written.
enum Form {
    Ndjson,
    Protobuf,
    ProtobufDelimited,
}

impl Form {
    /// No content type is NDJSON, as everywhere in design §2.
    fn of(content_type: Option<&str>) -> Option<Form> {
        let Some(text) = content_type else {
            return Some(Form::Ndjson);
        };
        let mut parts = text.split(';').map(str::trim);
        match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json" => {
                Some(Form::Ndjson)
            }
            "application/x-protobuf" | "application/protobuf"
                if parts.any(|p| p.eq_ignore_ascii_case("encoding=delimited")) =>
            {
                Some(Form::ProtobufDelimited)
            }
            "application/x-protobuf" | "application/protobuf" => Some(Form::Protobuf),
            _ => None,
        }
    }
}

/// Reads a record's value, already decompressed, into `out`.
///
/// `kind` is the header `k2p-kind`; without it each line's fields tell its kind. Blank
/// lines are none. Every other line is in `out` afterwards, as an event or as a rejection.
pub fn parse_record(
    value: &[u8],
    content_type: Option<&str>,
    kind: Option<&str>,
    limits: &EventLimits,
    out: &mut ParsedEvents,
) {
    let header = match kind.map(|name| (name, Kind::from_name(name))) {
        None => None,
        Some((_, Some(kind))) => Some(kind),
        Some((_, None)) => {
            let detail = "header k2p-kind: expected log, run, lineage or job";
            return out.refuse(1, Refusal::new(EventReason::UnknownKind, detail));
        }
    };
    match Form::of(content_type) {
        Some(Form::Ndjson) => ndjson(value, header, limits, out),
        Some(_) if header.is_some_and(|kind| kind != Kind::Job) => {
            let detail = "header k2p-kind: protobuf holds job log entries only";
            out.refuse(1, Refusal::new(EventReason::UnknownKind, detail));
        }
        Some(Form::Protobuf) => out.take(1, message(value, limits)),
        Some(Form::ProtobufDelimited) => delimited(value, limits, out),
        None => {
            let detail = "expected application/x-ndjson or application/x-protobuf";
            out.refuse(1, Refusal::new(EventReason::ContentType, detail));
        }
    }
}

/// Lines that room is made for before they are read.
const MAX_RESERVED: usize = 256;

fn ndjson(value: &[u8], header: Option<Kind>, limits: &EventLimits, out: &mut ParsedEvents) {
    // Growing by doubling would move each event once more.
    let lines = memchr::memchr_iter(b'\n', value).take(MAX_RESERVED).count() + 1;
    out.events.reserve(lines.min(MAX_RESERVED));
    let mut start = 0;
    let mut number = 0u32;
    while start < value.len() {
        let end = memchr::memchr(b'\n', &value[start..]).map_or(value.len(), |length| start + length);
        let line = value[start..end].trim_ascii();
        start = end + 1;
        number = number.saturating_add(1);
        if !line.is_empty() {
            out.take(number, self::line(line, header, limits));
        }
    }
}

/// An event, and whether its level was a known one.
type Read = Result<(Event, bool), Refusal>;

fn line(line: &[u8], header: Option<Kind>, limits: &EventLimits) -> Read {
    check_size(line, limits)?;
    let text = std::str::from_utf8(line)
        .map_err(|error| Refusal::new(EventReason::Utf8, format!("byte {} of the line", error.valid_up_to() + 1)))?;
    let fields = match parse(text, limits.nesting).map_err(syntax)? {
        Node::Object(fields) => fields,
        other => return Err(Refusal::new(EventReason::NotAnObject, format!("found {}", other.describe()))),
    };
    let Some(kind) = header.or_else(|| Kind::of(&fields)) else {
        let detail = "no header k2p-kind, and none of the fields content, operation, status and level";
        return Err(Refusal::new(EventReason::UnknownKind, detail));
    };
    match kind {
        Kind::Log => log::log(fields, limits).map(|(event, known)| (Event::Log(event), known)),
        Kind::Run => run::run(fields, limits).map(|event| (Event::Run(event), true)),
        Kind::Lineage => lineage::lineage(fields, limits).map(|event| (Event::Lineage(event), true)),
        Kind::Job => job::job(fields, limits).map(|(entry, known)| (Event::Job(entry), known)),
    }
}

fn check_size(line: &[u8], limits: &EventLimits) -> Result<(), Refusal> {
    if line.len() <= limits.line_bytes {
        return Ok(());
    }
    let detail = format!("{} bytes, at most {}", line.len(), limits.line_bytes);
    Err(Refusal::new(EventReason::LineTooLong, detail))
}

/// Says where, and never what stands there.
#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn syntax(error: serde_json::Error) -> Refusal {
    let text = error.to_string();
    let place = format!("column {}", error.column());
    // serde_json's own bound on recursion (128) has no other mark.
    if text.starts_with(TOO_DEEP) || text.starts_with("recursion limit") {
        return Refusal::new(EventReason::TooDeep, place);
    }
    let what = text.split(" at line ").next().unwrap_or_default();
    Refusal::new(EventReason::Syntax, format!("{place}: {what}"))
}

fn message(bytes: &[u8], limits: &EventLimits) -> Read {
    check_size(bytes, limits)?;
    protobuf::job(bytes, limits).map(|(entry, known)| (Event::Job(entry), known))
}

fn delimited(value: &[u8], limits: &EventLimits, out: &mut ParsedEvents) {
    let mut rest = value;
    let mut number = 0u32;
    while !rest.is_empty() {
        number = number.saturating_add(1);
        match protobuf::next_delimited(&mut rest) {
            Ok(bytes) => out.take(number, message(bytes, limits)),
            // Where the next message begins is not known.
            Err(refusal) => return out.refuse(number, refusal),
        }
    }
}

impl ParsedEvents {
    fn take(&mut self, line: u32, read: Read) {
        match read {
            Ok((event, known_level)) => {
                self.unknown_levels += u64::from(!known_level);
                self.events.push((line, event));
            }
            Err(refusal) => self.refuse(line, refusal),
        }
    }

    fn refuse(&mut self, line: u32, refusal: Refusal) {
        let detail = if self.rejections.len() < ParsedEvents::KEPT_DETAILS { refusal.detail } else { String::new() };
        self.rejections.push(Rejection { line, reason: refusal.reason, detail: detail.into() });
    }
}
