//! What is an event, and what is refused: the cases of `templates/schemas/cases.jsonl`
//! (which `tests/it_schemas.rs` holds against the JSON Schemas), limits, protobuf, and
//! that no line is lost whatever it holds.
#![allow(clippy::unwrap_used, reason = "tests")]
use k2p_pipelines::event::{
    Event, EventFact, EventLimits, EventReason, JobContent, JobEventMessage, JobLogEntryMessage, Level, LogMessage,
    MetricPointMessage, OutputMessage, ParsedEvents, job_log_entry, parse_record,
};
use k2p_pipelines::fact::{Fact, Scalar};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

const NDJSON: Option<&str> = Some("application/x-ndjson");
const PROTOBUF: Option<&str> = Some("application/x-protobuf");
const DELIMITED: Option<&str> = Some("application/x-protobuf; encoding=delimited");

fn read(value: &[u8], content_type: Option<&str>, kind: Option<&str>, limits: &EventLimits) -> ParsedEvents {
    let mut out = ParsedEvents::default();
    parse_record(value, content_type, kind, limits, &mut out);
    out
}

fn lines(text: &str) -> ParsedEvents {
    read(text.as_bytes(), NDJSON, None, &EventLimits::default())
}

fn only(text: &str) -> Event {
    let mut parsed = lines(text);
    assert_eq!(parsed.rejections, [], "{text}");
    parsed.events.pop().unwrap().1
}

#[test]
fn every_case_of_the_schemas_is_judged_as_it_says() {
    let cases = include_str!("../../../templates/schemas/cases.jsonl");
    assert!(cases.lines().count() > 100);
    for case in cases.lines() {
        let case: Value = serde_json::from_str(case).unwrap();
        let (kind, refused) = (case["kind"].as_str().unwrap(), case["refused"].as_str().unwrap());
        let event = case["event"].to_string();
        let parsed = read(event.as_bytes(), None, Some(kind), &EventLimits::default());
        let found: Vec<&str> = parsed.rejections.iter().map(|r| r.reason.as_str()).collect();
        let expected: &[&str] = if refused.is_empty() { &[] } else { &[refused] };
        assert_eq!(found, expected, "{case}: {:?}", parsed.rejections);
        assert_eq!(parsed.events.len(), 1 - expected.len(), "{case}");
    }
}

#[test]
fn the_kind_is_told_by_the_header_else_by_the_fields() {
    let case = |line: &str, header: Option<&str>, expected: &str| {
        let parsed = read(line.as_bytes(), None, header, &EventLimits::default());
        let found = match (parsed.events.first(), parsed.rejections.first()) {
            (Some((_, event)), None) => EventFact::new(event).kind().as_str(),
            (None, Some(rejection)) => rejection.reason.as_str(),
            _ => "neither",
        };
        assert_eq!(found, expected, "{line}");
    };
    let all = r#"{"timestamp":1,"pipeline_id":"p","job_id":"j","run_id":"r","dataset":"d",
        "level":"INFO","status":"RUNNING","operation":"read","content":{"job_event":{"event_type":"e"}}}"#;
    let all = &all.replace('\n', " ");
    case(all, None, "job");
    case(&all.replace("content", "contents"), None, "lineage");
    case(&all.replace("content", "contents").replace("operation", "operations"), None, "run");
    case(&all.replace("content", "contents").replace("operation", "operations").replace("status", "stat"), None, "log");
    case(all, Some("log"), "log");
    case(all, Some("run"), "run");
    case(all, Some("lineage"), "lineage");
    case(all, Some("job"), "job");
    case(all, Some("metric"), "unknown_kind");
    case(all, Some("Log"), "unknown_kind");
    case(r#"{"timestamp":1,"pipeline_id":"p"}"#, None, "unknown_kind");
    case(r#"{"timestamp":1,"pipeline_id":"p","status":null,"level":"INFO"}"#, None, "log");
    case("{}", None, "unknown_kind");
    case("{}", Some("run"), "missing_field");
}

#[test]
fn a_refusal_names_the_field_and_never_the_value() {
    let case = |line: &str, expected: &str| {
        let parsed = lines(line);
        let found: Vec<String> = parsed.rejections.iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("line 1: {expected}")], "{line}");
    };
    case(r#"{"pipeline_id":"p","status":"FAILED"}"#, "missing_field: run_id");
    case(r#"{"run_id":"r","status":"FAILED"}"#, "missing_field: pipeline_id");
    case(r#"{"level":"INFO","pipeline_id":"p"}"#, "missing_field: timestamp");
    case(
        r#"{"level":"INFO","pipeline_id":"p","timestamp":1,"metrics":{"rows_read":"hunter2"}}"#,
        "bad_field: metrics.rows_read: expected a number, found text",
    );
    case("{\"hunter2", "syntax: column 9: EOF while parsing a string");
    case("42", "not_an_object: found a number");
    case(r#"{"level":"INFO"} {"level":"INFO"}"#, "syntax: column 18: trailing characters");
}

#[test]
fn lines_are_read_each_on_its_own() {
    let good = r#"{"timestamp":1,"pipeline_id":"p","level":"INFO"}"#;
    let text =
        format!("\n{good}\r\n  \nbroken\n{{\"run_id\":\"r\",\"pipeline_id\":\"p\",\"status\":\"FAILED\"}}\n\n{good}");
    let parsed = lines(&text);
    let numbers: Vec<u32> = parsed.events.iter().map(|(line, _)| *line).collect();
    assert_eq!((numbers, parsed.rejections.len(), parsed.rejections[0].line), (vec![2, 5, 7], 1, 4));
    let mut bytes = format!("{good}\n").into_bytes();
    bytes.extend_from_slice(b"{\"a\":\"\xff\"}\n");
    bytes.extend_from_slice(good.as_bytes());
    let parsed = read(&bytes, None, None, &EventLimits::default());
    assert_eq!((parsed.events.len(), parsed.rejections[0].reason), (2, EventReason::Utf8));
    // Details are kept of the first ones only; the count is of all.
    let parsed = lines(&"x\n".repeat(1000));
    assert_eq!(parsed.rejections.len(), 1000);
    let detailed = parsed.rejections.iter().filter(|r| !r.detail.is_empty()).count();
    assert_eq!(detailed, ParsedEvents::KEPT_DETAILS);
}

#[test]
fn limits_refuse_and_say_so() {
    let limits = EventLimits { line_bytes: 300, nesting: 4, name_bytes: 20, text_bytes: 40, unknown_fields: 3 };
    let case = |extra: &str, expected: Option<EventReason>| {
        let line = format!(r#"{{"timestamp":1,"pipeline_id":"p","level":"INFO"{extra}}}"#);
        let parsed = read(line.as_bytes(), None, None, &limits);
        assert_eq!(parsed.rejections.first().map(|r| r.reason), expected, "{line}");
    };
    let x = |n: usize| "x".repeat(n);
    case("", None);
    case(&format!(r#","message":"{}""#, x(40)), None);
    case(&format!(r#","message":"{}""#, x(41)), Some(EventReason::FieldTooLong));
    case(&format!(r#","step":"{}""#, x(20)), None);
    case(&format!(r#","step":"{}""#, x(21)), Some(EventReason::FieldTooLong));
    case(&format!(r#","error":{{"stack":"{}"}}"#, x(41)), Some(EventReason::FieldTooLong));
    case(&format!(r#","{}":1"#, x(21)), Some(EventReason::FieldTooLong));
    case(r#","a":1,"b":2,"metrics":{"c":3}"#, None);
    case(r#","a":1,"b":2,"metrics":{"c":3,"d":4}"#, Some(EventReason::TooManyFields));
    case(r#","a":[[[1]]]"#, None);
    case(r#","a":[[[[1]]]]"#, Some(EventReason::TooDeep));
    case(&format!(r#","raw":"{}""#, x(300)), Some(EventReason::LineTooLong));
    // serde_json's own bound holds where ours is larger.
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let parsed = read(deep.as_bytes(), None, None, &EventLimits { nesting: 100_000, ..EventLimits::default() });
    assert_eq!(parsed.rejections[0].reason, EventReason::TooDeep);
}

#[test]
fn unknown_fields_are_kept_and_found_by_path() {
    let event = only(concat!(
        r#"{"timestamp":1,"pipeline_id":"p","level":"loud","metrics":{"rows_read":3,"lag":7,"es.bulk":8},"#,
        r#""tags":{"team":"x"},"raw":{"a":{"b.c":1}},"flag":true,"twice":1,"twice":2,"error":{"type":"T","code":5}}"#
    ));
    let fact = EventFact::new(&event);
    let case = |path: &str, expected: Option<Scalar<'_>>| assert_eq!(fact.field(path), expected, "{path}");
    case("metrics.rows_read", Some(Scalar::Number(3.0)));
    case("metrics.lag", Some(Scalar::Number(7.0)));
    case("metrics.es.bulk", Some(Scalar::Number(8.0)));
    case("tags.team", Some(Scalar::Text("x")));
    case("raw.a.b.c", Some(Scalar::Number(1.0)));
    case("flag", Some(Scalar::Bool(true)));
    case("twice", Some(Scalar::Number(2.0)));
    case("error.type", Some(Scalar::Text("T")));
    case("error.code", Some(Scalar::Number(5.0)));
    case("level", Some(Scalar::Text("INFO")));
    case("timestamp", Some(Scalar::Number(1.0)));
    case("raw", None);
    case("raw.a", None);
    case("metrics", None);
    case("nothing", None);
    assert_eq!(lines(r#"{"timestamp":1,"pipeline_id":"p","level":"loud"}"#).unknown_levels, 1);
}

fn message(content: job_log_entry::Content) -> JobLogEntryMessage {
    JobLogEntryMessage {
        timestamp: "1795240860000000001".into(),
        job_id: "j".into(),
        job_label: "l".into(),
        job_type: String::new(),
        outputs: vec![OutputMessage { path: "o".into() }],
        sequence_number: Some(0),
        content: Some(content),
    }
}

fn log_message(level: &str) -> JobLogEntryMessage {
    let fields = [("a".to_owned(), "b".to_owned())].into();
    message(job_log_entry::Content::Log(LogMessage { level: level.into(), message: "m".into(), fields }))
}

#[test]
fn protobuf_and_json_are_one_entry() {
    let point = MetricPointMessage {
        name: "n".into(),
        value: 1.5,
        labels: [("a".into(), "b".into())].into(),
        unit: "s".into(),
    };
    let event = JobEventMessage { event_type: "e".into(), metadata: [("k".into(), "v".into())].into() };
    let head = r#"{"timestamp":1795240860000000001,"job_id":"j","job_label":"l","outputs":[{"path":"o"}],"sequence_number":0,"content":"#;
    let case = |message: JobLogEntryMessage, content: &str| {
        let parsed = read(&message.encode_to_vec(), PROTOBUF, None, &EventLimits::default());
        assert_eq!(parsed.rejections, []);
        assert_eq!(parsed.events[0].1, only(&format!("{head}{content}}}")), "{content}");
    };
    case(log_message("WARN"), r#"{"log":{"level":"WARN","message":"m","fields":{"a":"b"}}}"#);
    case(
        message(job_log_entry::Content::Metric(point)),
        r#"{"metric":{"name":"n","value":1.5,"labels":{"a":"b"},"unit":"s"}}"#,
    );
    case(message(job_log_entry::Content::JobEvent(event)), r#"{"job_event":{"event_type":"e","metadata":{"k":"v"}}}"#);
}

#[test]
fn protobuf_has_the_tags_of_the_schema_file() {
    // Written by hand after templates/schemas/job_log_entry.proto.
    let mut bytes = vec![];
    let mut text = |tag: u8, text: &str| {
        bytes.extend_from_slice(&[tag << 3 | 2, text.len() as u8]);
        bytes.extend_from_slice(text.as_bytes());
    };
    text(1, "1795240860");
    text(2, "j");
    text(3, "l");
    text(4, "t");
    text(5, "\x0a\x01o");
    text(7, "\x0a\x04WARN\x12\x01m\x1a\x06\x0a\x01a\x12\x01b");
    bytes.extend_from_slice(&[6 << 3, 9]);
    let parsed = read(&bytes, PROTOBUF, Some("job"), &EventLimits::default());
    let Event::Job(entry) = &parsed.events[0].1 else { panic!("{parsed:?}") };
    assert_eq!((entry.timestamp, &*entry.job_id, entry.sequence_number), (1_795_240_860_000_000_000, "j", Some(9)));
    assert_eq!((entry.job_label.as_deref(), entry.job_type.as_deref()), (Some("l"), Some("t")));
    assert_eq!(*entry.outputs[0], *"o");
    let JobContent::Log { level, message, fields } = &entry.content else { panic!("{entry:?}") };
    assert_eq!((*level, &**message, &fields["a"]), (Level::Warn, "m", &Value::from("b")));
}

#[test]
fn broken_protobuf_is_refused() {
    let case = |bytes: &[u8], content_type: Option<&str>, events: usize, refused: &[EventReason]| {
        let parsed = read(bytes, content_type, None, &EventLimits::default());
        let found: Vec<EventReason> = parsed.rejections.iter().map(|r| r.reason).collect();
        assert_eq!((parsed.events.len(), &*found), (events, refused), "{bytes:?}");
    };
    let good = log_message("INFO").encode_to_vec();
    let mut two = log_message("INFO").encode_length_delimited_to_vec();
    two.extend(log_message("").encode_length_delimited_to_vec());
    two.extend(log_message("ERROR").encode_length_delimited_to_vec());
    case(&good, PROTOBUF, 1, &[]);
    case(&two, DELIMITED, 2, &[EventReason::MissingField]);
    case(&two[..two.len() - 1], DELIMITED, 1, &[EventReason::MissingField, EventReason::Protobuf]);
    case(&[0xff; 11], DELIMITED, 0, &[EventReason::Protobuf]);
    case(&[0xff; 11], PROTOBUF, 0, &[EventReason::Protobuf]);
    case(&[], PROTOBUF, 0, &[EventReason::MissingField]);
    case(&[], DELIMITED, 0, &[]);
    let point = MetricPointMessage { name: "n".into(), value: f64::NAN, ..MetricPointMessage::default() };
    case(&message(job_log_entry::Content::Metric(point)).encode_to_vec(), PROTOBUF, 0, &[EventReason::BadField]);
    case(b"{}", Some("text/plain"), 0, &[EventReason::ContentType]);
    let parsed = read(&good, PROTOBUF, Some("log"), &EventLimits::default());
    assert_eq!(parsed.rejections[0].reason, EventReason::UnknownKind);
}

/// A JSON value with the keys that events have, of any type.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9 \\\\\"ä]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["INFO", "RUNNING", "read", "p", "2026-11-21T00:00:00Z"]).prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "timestamp",
        "pipeline_id",
        "run_id",
        "level",
        "status",
        "operation",
        "dataset",
        "content",
        "metrics",
        "tags",
        "error",
        "last_error",
        "log",
        "metric",
        "job_event",
        "message",
        "type",
        "name",
        "value",
        "outputs",
        "job_id",
        "x",
    ]);
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_line_is_lost_whatever_it_holds(values in prop::collection::vec(value(), 0..8), cut in any::<prop::sample::Index>(), kind in 0..5usize) {
        let mut text: String = values.iter().map(|value| format!("{value}\n")).collect();
        while !text.is_char_boundary(text.len() - cut.index(text.len() + 1)) { text.pop(); }
        text.truncate(text.len() - cut.index(text.len() + 1));
        let kind = [None, Some("log"), Some("run"), Some("lineage"), Some("job")][kind];
        let parsed = read(text.as_bytes(), None, kind, &EventLimits::default());
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        prop_assert_eq!(parsed.events.len() + parsed.rejections.len(), lines);
        for (_, event) in &parsed.events {
            prop_assert!(!event.subject().value().is_empty());
        }
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = EventLimits::default();
        let parsed = read(&bytes, NDJSON, None, &limits);
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert_eq!(parsed.events.len() + parsed.rejections.len(), lines);
        read(&bytes, PROTOBUF, None, &limits);
        read(&bytes, DELIMITED, None, &limits);
    }
}
