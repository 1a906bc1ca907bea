//! The record contract (design §2): each header, each fault, and that what the writing
//! side writes the reading side reads.
#![allow(clippy::unwrap_used, reason = "tests")]

use k2p_core::compress::Encoding;
use k2p_core::envelope::{
    Envelope, EnvelopeOut, MAX_KEY_BYTES, Op, OriginKey, Part, ProducerId, RawRecord, headers, open, origin_labels,
};
use k2p_core::labels::Labels;
use k2p_core::reason::{RecordReason, Refusal};
use proptest::prelude::*;

fn labels(text: &str) -> Labels {
    Labels::parse(text).unwrap()
}

fn read(headers: &[(&str, &str)]) -> Result<(i64, Option<ProducerId>, Option<Part>), Refusal> {
    let raw: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    let record =
        RawRecord { key: Some(b"a=\"b\""), value: Some(b"x 1\n"), headers: &raw, timestamp: Some(7), offset: 3 };
    let Envelope { dump_time, producer, part, .. } = open(&record)?;
    Ok((dump_time, producer, part))
}

#[test]
fn keys() {
    for (key, expected) in [
        (r#"job="a",cluster="b""#, OriginKey::Labels(labels(r#"cluster="b",job="a""#))),
        ("10.0.0.7:4040", OriginKey::Opaque("10.0.0.7:4040".into())),
        ("", OriginKey::Opaque(String::new())),
        (r#"a="b",a="c""#, OriginKey::Opaque(r#"a="b",a="c""#.into())),
        (r#"a="""#, OriginKey::Opaque(r#"a="""#.into())),
        (r#"__name__="x""#, OriginKey::Opaque(r#"__name__="x""#.into())),
        (r#"{"json":1}"#, OriginKey::Opaque(r#"{"json":1}"#.into())),
        ("zwei\nzeilen", OriginKey::Opaque("zwei\nzeilen".into())),
    ] {
        assert_eq!(OriginKey::read(key.as_bytes()).unwrap(), expected, "{key}");
    }
    let opaque = OriginKey::read(b"\x00\x00\x00\x01\xffab\xe4").unwrap();
    assert_eq!(opaque, OriginKey::Opaque("\0\0\0\u{1}\\xffab\\xe4".into()));
    for key in [r#"le="1",job="x""#, r#"quantile="1""#] {
        let refusal = OriginKey::read(key.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason, RecordReason::BadKey, "{key}");
    }
    let long = "x".repeat(MAX_KEY_BYTES + 1);
    assert_eq!(OriginKey::read(long.as_bytes()).unwrap_err().reason, RecordReason::BadKey);
    assert!(OriginKey::read(&long.as_bytes()[1..]).is_ok());
}

#[test]
fn labels_are_trusted_in_order() {
    for (key, fixed, expected) in [
        (r#"cluster="a",job="b""#, "", r#"cluster="a",job="b""#),
        (r#"cluster="a",job="b""#, r#"cluster="z",region="eu""#, r#"cluster="z",job="b",region="eu""#),
        ("host:1", r#"region="eu""#, r#"instance="host:1",region="eu""#),
        ("host:1", r#"instance="fixed""#, r#"instance="fixed""#),
        ("he said \"hi\"", "", r#"instance="he said \"hi\"""#),
        ("", r#"region="eu""#, r#"region="eu""#),
    ] {
        let key = OriginKey::read(key.as_bytes()).unwrap();
        assert_eq!(origin_labels(&key, &labels(fixed)).canonical(), expected);
    }
}

#[test]
fn headers_are_read() {
    let id = |incarnation: &str, sequence| {
        let incarnation = incarnation.to_owned();
        Some(ProducerId { incarnation, sequence })
    };
    let part = |index, of, id: &str| Some(Part { index, of, id: id.to_owned() });
    assert_eq!(read(&[]).unwrap(), (7, None, None));
    assert_eq!(read(&[("k2p-time", "1700000000000")]).unwrap().0, 1_700_000_000_000);
    assert_eq!(read(&[("k2p-time", "0")]).unwrap().0, 0);
    assert_eq!(read(&[("K2P-Time", "1"), ("k2p-time", "2")]).unwrap().0, 2);
    assert_eq!(read(&[("k2p-id", "01HZX;0")]).unwrap().1, id("01HZX", 0));
    assert_eq!(read(&[("k2p-id", "a b;18446744073709551615")]).unwrap().1, id("a b", u64::MAX));
    assert_eq!(read(&[("k2p-part", "1/1;x")]).unwrap().2, part(1, 1, "x"));
    assert_eq!(read(&[("k2p-part", "2/10000;x;y")]).unwrap().2, part(2, 10_000, "x;y"));
    assert_eq!(read(&[("something", "else")]).unwrap(), (7, None, None));
}

#[test]
fn faults_are_named() {
    for (name, value, reason) in [
        ("k2p-time", "", "bad_header"),
        ("k2p-time", "soon", "bad_header"),
        ("k2p-time", "-1", "bad_header"),
        ("k2p-time", "+1", "bad_header"),
        ("k2p-time", "1.5", "bad_header"),
        ("k2p-time", "1700000000000000", "bad_header"),
        ("k2p-time", "99999999999999999999", "bad_header"),
        ("k2p-id", "", "bad_header"),
        ("k2p-id", "a", "bad_header"),
        ("k2p-id", ";1", "bad_header"),
        ("k2p-id", "a;", "bad_header"),
        ("k2p-id", "a;-1", "bad_header"),
        ("k2p-id", "a;x", "bad_header"),
        ("k2p-part", "", "bad_header"),
        ("k2p-part", "1", "bad_header"),
        ("k2p-part", "1/2", "bad_header"),
        ("k2p-part", "1/2;", "bad_header"),
        ("k2p-part", "0/2;x", "bad_header"),
        ("k2p-part", "3/2;x", "bad_header"),
        ("k2p-part", "1/10001;x", "bad_header"),
        ("k2p-part", "1/99999999999;x", "bad_header"),
        ("k2p-part", "a/b;x", "bad_header"),
        ("k2p-part", "1/2/3;x", "bad_header"),
        ("content-encoding", "br", "bad_encoding"),
        ("content-encoding", "gzip,zstd", "bad_encoding"),
    ] {
        let refusal = read(&[(name, value)]).unwrap_err();
        assert_eq!(refusal.reason.as_str(), reason, "{name}: {value}");
        assert!(refusal.detail.contains(name), "{refusal}");
    }
    let long = "x".repeat(10_000);
    let refusal = read(&[("k2p-time", &long)]).unwrap_err();
    assert!(refusal.detail.len() < 200, "{refusal}");
}

#[test]
fn values() {
    let bytes: &[u8] = b"\xff";
    for (value, with_part, expected) in [
        (None, false, Ok(Op::Delete)),
        (Some(b"".as_slice()), false, Ok(Op::Delete)),
        (Some(bytes), false, Ok(Op::Dump)),
        (Some(bytes), true, Ok(Op::Dump)),
        (Some(b"".as_slice()), true, Err(RecordReason::BadHeader)),
    ] {
        let part: [(&str, &[u8]); 1] = [("k2p-part", b"1/2;x")];
        let record = RawRecord {
            value,
            headers: if with_part { &part } else { &[] },
            timestamp: Some(1),
            ..RawRecord::default()
        };
        let op = open(&record).map(|e| e.op).map_err(|r| r.reason);
        assert_eq!(op, expected, "{value:?}");
    }
    let timeless = open(&RawRecord::default()).unwrap_err();
    assert_eq!(timeless.reason, RecordReason::BadHeader);
    let header: [(&str, &[u8]); 1] = [("content-type", b"\xff")];
    let record = RawRecord { headers: &header, timestamp: Some(1), ..RawRecord::default() };
    assert_eq!(open(&record).unwrap_err().reason, RecordReason::BadHeader);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-z_.ä ]{1,6}", "\\PC{0,8}|[\\\\\"\n,=]{1,4}", 1..5)
        .prop_map(|map| Labels::from_pairs(map.into_iter().filter(|(n, _)| n != "le")).unwrap())
        .prop_filter("a key", |l| !l.is_empty())
}

fn any_encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Identity), Just(Encoding::Gzip), Just(Encoding::Zstd), Just(Encoding::Snappy)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        origin in any_labels(),
        content_type in proptest::option::of("[a-z]{1,8}/[a-z]{1,8}(; version=1)?"),
        encoding in any_encoding(),
        dump_time in 0i64..253_402_300_799_999,
        producer in proptest::option::of(("[a-zA-Z0-9 -]{1,20}", any::<u64>())),
        part in proptest::option::of((1u32..50, 0u32..50, "\\PC{1,20}")),
        body in proptest::collection::vec(any::<u8>(), 1..50),
    ) {
        let out = EnvelopeOut {
            content_type: content_type.as_deref(),
            encoding,
            dump_time,
            producer: producer.map(|(incarnation, sequence)| ProducerId { incarnation, sequence }),
            part: part.map(|(index, more, id)| Part { index, of: index + more, id }),
        };
        let owned = headers(&out);
        let raw: Vec<(&str, &[u8])> = owned.iter().map(|(n, v)| (*n, v.as_slice())).collect();
        let record = RawRecord {
            key: Some(origin.canonical().as_bytes()),
            value: Some(&body),
            headers: &raw,
            timestamp: None,
            offset: 42,
        };
        let expected = Envelope {
            origin: OriginKey::Labels(origin.clone()),
            op: Op::Dump,
            content_type: out.content_type,
            encoding,
            dump_time,
            producer: out.producer.clone(),
            part: out.part.clone(),
            body: &body,
            offset: 42,
        };
        prop_assert_eq!(open(&record).unwrap(), expected);
    }

    #[test]
    fn any_record_is_opened_or_refused(
        key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        name in prop_oneof![Just("k2p-time"), Just("k2p-id"), Just("k2p-part"), Just("content-type"), Just("content-encoding")],
        header in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let headers: [(&str, &[u8]); 1] = [(name, &header)];
        let record = RawRecord { key: key.as_deref(), value: value.as_deref(), headers: &headers, timestamp: Some(1), offset: 0 };
        if let Ok(envelope) = open(&record) {
            let fixed = Labels::default();
            let labels = origin_labels(&envelope.origin, &fixed);
            prop_assert_eq!(Labels::parse(labels.canonical()).unwrap(), labels);
        }
    }

    #[test]
    fn any_text_is_a_label_set_or_an_error(text in "\\PC{0,40}|[ab\"=,\\\\n\t ]{0,20}") {
        if let Ok(labels) = Labels::parse(&text) {
            let again = Labels::parse(labels.canonical()).unwrap();
            prop_assert_eq!(again.canonical(), labels.canonical());
        }
    }
}
