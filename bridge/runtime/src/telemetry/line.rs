//! One line per event: logfmt or JSON, with the same fields.
//!
//! Fields: `ts level target msg`, then those of the event, then those of the spans
//! around it, innermost first; an outer field never hides an inner one. Whatever a
//! value holds, it cannot end its line or begin another field: logs cannot be forged
//! from outside.
use std::fmt::{self, Write as _};
use std::io::Write as _;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

/// The longest value that is written, in bytes; the rest is cut off.
const MAX_VALUE_BYTES: usize = 8192;

/// Names that a line has already.
const TAKEN: [&str; 4] = ["ts", "level", "target", "msg"];

/// Writes events as lines.
pub(super) struct LineLayer {
    format: LogFormat,
    writer: BoxMakeWriter,
}

impl LineLayer {
    pub(super) fn new(format: LogFormat, writer: BoxMakeWriter) -> Self {
        Self { format, writer }
    }
}

/// The fields of an event or a span, in the order in which they were given.
#[derive(Debug, Default)]
struct Fields {
    message: Option<String>,
    /// The target of a line that came through the `log` crate.
    log_target: Option<String>,
    pairs: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = Some(text),
            ("log.target", Value::String(text)) => self.log_target = Some(text),
            // What the bridges to OpenTelemetry and from the `log` crate tell each other.
            (name, _) if name.starts_with("log.") || name.starts_with("otel.") => {}
            (name, value) => match self.pairs.iter_mut().find(|(known, _)| *known == name) {
                Some(pair) => pair.1 = value,
                None => self.pairs.push((name, value)),
            },
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = serde_json::Number::from_f64(value);
        self.put(field, number.map_or_else(|| value.to_string().into(), Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, shorten(value.to_owned()).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.put(field, shorten(text).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, shorten(format!("{value:?}")).into());
    }
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_VALUE_BYTES {
        let end = (0..=MAX_VALUE_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().replace(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            let Some(outer) = extensions.get::<Fields>() else {
                continue;
            };
            for (name, value) in &outer.pairs {
                if !fields.pairs.iter().any(|(known, _)| known == name) {
                    fields.pairs.push((name, value.clone()));
                }
            }
        }
        let metadata = event.metadata();
        let target = fields.log_target.take();
        let target = target.as_deref().unwrap_or(metadata.target());
        let line = line(self.format, &now(), *metadata.level(), target, fields);
        // One write per line, so that lines of different threads do not mix. There is
        // nobody to tell that standard error is closed.
        drop(self.writer.make_writer_for(metadata).write_all(line.as_bytes()));
    }
}

fn now() -> String {
    let mut text = String::new();
    // The clock's format cannot fail on a string.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn line(format: LogFormat, ts: &str, level: Level, target: &str, fields: Fields) -> String {
    let head = [
        ("ts", Value::from(ts)),
        ("level", level_name(level).into()),
        ("target", target.into()),
        ("msg", fields.message.unwrap_or_default().into()),
    ];
    let rename = |(name, value): (&'static str, Value)| match TAKEN.contains(&name) {
        true => (format!("field_{name}"), value),
        false => (name.to_owned(), value),
    };
    let head = head.map(|(name, value)| (name.to_owned(), value));
    let pairs = head.into_iter().chain(fields.pairs.into_iter().map(rename));
    match format {
        LogFormat::Logfmt => logfmt(pairs),
        LogFormat::Json => json(pairs),
    }
}

fn logfmt(pairs: impl Iterator<Item = (String, Value)>) -> String {
    let mut out = String::with_capacity(256);
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(' ');
        }
        // A field's name is written in the source, but may be any text there.
        out.extend(name.chars().map(|c| if is_bare(c) { c } else { '_' }));
        out.push('=');
        match value {
            Value::String(text) => push_value(&mut out, &text),
            other => push_value(&mut out, &other.to_string()),
        }
    }
    out.push('\n');
    out
}

fn is_bare(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '=' | '"' | '\\')
}

fn push_value(out: &mut String, text: &str) {
    if !text.is_empty() && text.chars().all(is_bare) {
        out.push_str(text);
        return;
    }
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Escapes as JSON does, and further all that moves a terminal or a reader's eye:
/// C1 controls, line and paragraph separators, direction marks, invisible ones.
fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn json(pairs: impl Iterator<Item = (String, Value)>) -> String {
    let mut out = String::with_capacity(256);
    for (name, value) in pairs {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push('"');
        push_escaped(&mut out, &name);
        out.push_str("\":");
        match value {
            Value::String(text) => {
                out.push('"');
                push_escaped(&mut out, &text);
                out.push('"');
            }
            other => out.push_str(&other.to_string()),
        }
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn render(format: LogFormat, message: &str, pairs: &[(&'static str, Value)]) -> String {
        let fields = Fields { message: Some(message.to_owned()), log_target: None, pairs: pairs.to_vec() };
        line(format, "T", Level::WARN, "k2p::x", fields)
    }

    #[test]
    fn logfmt_quotes_what_needs_it() {
        let case = |message: &str, text: &str| {
            let expected = format!("ts=T level=warn target=k2p::x msg={text}\n");
            assert_eq!(render(LogFormat::Logfmt, message, &[]), expected);
        };
        case("ready", "ready");
        case("", "\"\"");
        case("two words", "\"two words\"");
        case("a=b", "\"a=b\"");
        case("say \"x\"", "\"say \\\"x\\\"\"");
        case("back\\slash", "\"back\\\\slash\"");
        case("x\nlevel=info msg=forged", "\"x\\nlevel=info msg=forged\"");
        case("x\r\t", "\"x\\r\\t\"");
        case("\u{1b}[31mred", "\"\\u001b[31mred\"");
        case("nul\0", "\"nul\\u0000\"");
        case("\u{85}\u{9b}", "\"\\u0085\\u009b\"");
        case("a\u{2028}b", "\"a\\u2028b\"");
        case("a\u{202e}b", "\"a\\u202eb\"");
        case("z\u{200b}w", "\"z\\u200bw\"");
        case("Grüße", "\"Grüße\"");
        case("127.0.0.1:9527", "127.0.0.1:9527");
    }

    #[test]
    fn fields_follow_the_head_and_never_pose_as_it() {
        let pairs = [
            ("listen", Value::from("127.0.0.1:9527")),
            ("n", 5.into()),
            ("ok", true.into()),
            ("level", "forged".into()),
            ("odd name=", "x".into()),
        ];
        assert_eq!(
            render(LogFormat::Logfmt, "ready", &pairs),
            "ts=T level=warn target=k2p::x msg=ready listen=127.0.0.1:9527 n=5 ok=true \
             field_level=forged odd_name_=x\n"
        );
        assert_eq!(
            render(LogFormat::Json, "re\u{1b}ady", &pairs[..4]),
            "{\"ts\":\"T\",\"level\":\"warn\",\"target\":\"k2p::x\",\"msg\":\"re\\u001bady\",\
             \"listen\":\"127.0.0.1:9527\",\"n\":5,\"ok\":true,\"field_level\":\"forged\"}\n"
        );
    }

    #[test]
    fn every_json_line_parses_to_what_was_said() {
        let said = "a\"b\\c\nd\u{1b}\u{2028}\u{7f}é\u{10ffff}";
        let text = render(LogFormat::Json, said, &[("k", said.into())]);
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["msg"], said);
        assert_eq!(value["k"], said);
    }

    #[test]
    fn a_value_has_an_end() {
        let long = shorten("é".repeat(MAX_VALUE_BYTES));
        assert_eq!(long.chars().count(), MAX_VALUE_BYTES / 2 + 1);
        assert!(long.ends_with('…'));
        assert_eq!(shorten("short".to_owned()), "short");
    }

    #[test]
    fn the_time_is_rfc_3339_in_utc() {
        let now = now();
        assert!(now.starts_with("20") && now.ends_with('Z') && now.contains('T'), "{now}");
    }
}
