//! Bodies → families, or the refusal that a client reads.
#![allow(clippy::unwrap_used, reason = "tests")]
use k2p_core::compress::{Encoding, compress};
use k2p_push::GroupingKey;
use k2p_push::body::{Body, BodyError, read};

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

fn key(path: &str) -> GroupingKey {
    GroupingKey::from_path(path).unwrap()
}

fn lines(key: &GroupingKey, body: &Body<'_>) -> Result<Vec<String>, BodyError> {
    let families = read(key, body)?;
    let samples = families.iter().flat_map(|family| {
        family.samples().map(move |s| format!("{:?} {}{{{}}} {}", family.kind(), s.name, s.labels, s.value))
    });
    Ok(samples.collect())
}

/// A text pushed to a path → its samples, without the group's labels.
fn is(path: &str, text: &str, expected: &[&str]) {
    let body = Body { bytes: text.as_bytes(), ..Body::default() };
    assert_eq!(lines(&key(path), &body).unwrap(), expected, "{path}: {text}");
}

/// Whether the Pushgateway notes it, and what it says.
fn refused(text: &str, recorded: bool, why: &str) {
    let error = read(&key("job/a"), &Body { bytes: text.as_bytes(), ..Body::default() }).unwrap_err();
    assert!(error.to_string().contains(why), "{text:?}: {error}");
    assert_eq!(error.is_recorded(), recorded, "{text:?}: {error}");
}

#[test]
fn labels_of_the_key_win_and_a_missing_instance_becomes_empty() {
    is("job/a", "some_metric 3.25\n", &[r#"Unknown some_metric{instance=""} 3.25"#]);
    is("job/a", "m{job=\"b\",x=\"1\"} 1\n", &[r#"Unknown m{x="1",instance=""} 1"#]);
    is("job/a", "m{instance=\"i\"} 1\n", &[r#"Unknown m{instance="i"} 1"#]);
    is("job/a/instance/k", "m{instance=\"i\",x=\"1\"} 1\n", &[r#"Unknown m{x="1"} 1"#]);
    is("job/a/x@base64/=", "m{x=\"1\"} 1\n", &[r#"Unknown m{x="",instance=""} 1"#]);
    is("job/a/instance@base64/=", "m{instance=\"i\"} 1\n", &[r#"Unknown m{instance=""} 1"#]);
}

#[test]
fn families_come_sorted_and_without_the_gateways_own() {
    let text = "# TYPE b counter\n# HELP b a\\nb\nb 1\n# TYPE empty gauge\na{le=\"x\"} +Inf\n\
                push_time_seconds 1\n# TYPE push_failure_time_seconds counter\npush_failure_time_seconds 2\n";
    is("job/a", text, &[r#"Unknown a{le="x",instance=""} +Inf"#, r#"Counter b{instance=""} 1"#]);
    is("job/a", "", &[]);
    is("job/a", "\n\n# a comment\n", &[]);
    is("job/a", "m 1", &[r#"Unknown m{instance=""} 1"#]);
    let histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let expected = [
        r#"Histogram h_bucket{le="+Inf",instance=""} 2"#,
        r#"Histogram h_sum{instance=""} 3"#,
        r#"Histogram h_count{instance=""} 2"#,
    ];
    is("job/a", histogram, &expected);
}

#[test]
fn what_is_no_exposition_is_refused_and_not_noted() {
    for text in ["m\n", "m x\n", "m{a=\"b\" 1\n", "m{a=\"1\",a=\"2\"} 1\n", "<html>\n", "m 1\n# TYPE m gauge\n"] {
        refused(text, false, "text format parsing error in line");
    }
    refused("# TYPE m gauge\n# TYPE m counter\nm 1\n", false, "line 2");
}

#[test]
fn what_can_be_read_and_not_taken_is_noted() {
    refused("m 1 1700000000000\n", true, "pushed metrics must not have timestamps (m has one)");
    refused("m 1\nm 2\n", true, "was collected before with the same name and label values");
    refused("m{x=\"1\",y=\"2\"} 1\nm{y=\"2\",x=\"1\"} 2\n", true, "was collected before");
    refused("m{job=\"1\"} 1\nm{job=\"2\"} 2\n", true, "was collected before");
    refused("m{job=\"1\",x=\"\"} 1\nm{job=\"2\"} 2\n", true, "was collected before");
    let histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\n";
    refused(&format!("# TYPE h_count gauge\nh_count 1\n{histogram}"), true, "\"h_count\" collides");
    // A family that is declared and has no sample is in nobody's way.
    let text = "# TYPE s summary\ns_sum 1\ns_count 2\n# TYPE s_count gauge\n";
    assert!(read(&key("job/a"), &Body { bytes: text.as_bytes(), ..Body::default() }).is_ok());
}

#[test]
fn every_encoding_and_content_type_is_read() {
    let text = b"# TYPE c counter\nc_total 1\n# EOF\n".to_vec();
    let of = |content_type: Option<&str>, encoding, bytes: &[u8]| {
        lines(&key("job/a"), &Body { content_type, encoding, bytes })
    };
    let counter = vec![r#"Counter c_total{instance=""} 1"#.to_owned()];
    let untyped = vec![r#"Unknown c_total{instance=""} 1"#.to_owned()];
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Snappy] {
        let packed = compress(encoding, &text).unwrap();
        assert_eq!(of(Some("application/openmetrics-text; version=1.0.0"), encoding, &packed).unwrap(), counter);
        assert_eq!(of(Some("text/plain"), encoding, &packed).unwrap(), untyped);
        assert!(matches!(of(None, encoding, b"c 1\n"), Err(BodyError::Encoding(_))));
    }
    // What curl says, what a library says that knows nothing, and protobuf that is not delimited.
    for content_type in ["application/x-www-form-urlencoded", "", "application/vnd.google.protobuf", "nonsense"] {
        assert_eq!(of(Some(content_type), Encoding::Identity, &text).unwrap(), untyped, "{content_type}");
    }
    let bomb = compress(Encoding::Gzip, &vec![b'\n'; 80 << 20]).unwrap();
    assert!(of(None, Encoding::Gzip, &bomb).unwrap_err().is_too_large());
}

/// A length.
fn length(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 128 {
        out.push((n & 127) as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &length(bytes.len())[..], bytes].concat()
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn label(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

fn delimited(parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [length(body.len()), body].concat()
}

fn protobuf(families: &[Vec<u8>]) -> Result<Vec<String>, BodyError> {
    let body = Body { content_type: Some(PROTOBUF), bytes: &families.concat(), ..Body::default() };
    lines(&key("job/a"), &body)
}

#[test]
fn protobuf_is_read_in_any_order_of_its_fields() {
    // handler_test.go of the Pushgateway: two untyped metrics.
    let plain = delimited(&[
        field(1, b"some_metric"),
        varint(3, 3),
        field(4, &field(5, &double(1, 3.25))),
        field(4, &[label("x", "a\"b\n"), field(5, &double(1, 42.0))].concat()),
    ]);
    let counter = delimited(&[field(4, &field(3, &double(1, 1e30))), varint(3, 0), field(2, b"h\\"), field(1, b"c")]);
    let bucket = |below, bound| field(3, &[varint(1, below), double(2, bound)].concat());
    let histogram = [varint(1, 2), double(2, 3.5), bucket(1, 0.5)].concat();
    let histogram = delimited(&[field(1, b"h"), varint(3, 4), field(4, &field(7, &histogram))]);
    let quantile = field(3, &[double(1, 0.5), double(2, f64::NAN)].concat());
    let summary = delimited(&[
        field(1, b"s"),
        varint(3, 2),
        field(4, &field(4, &[varint(1, 7), double(2, -1.0), quantile].concat())),
    ]);
    let expected = [
        r#"Counter c{instance=""} 1e30"#,
        r#"Histogram h_bucket{le="0.5",instance=""} 1"#,
        r#"Histogram h_bucket{le="+Inf",instance=""} 2"#,
        r#"Histogram h_sum{instance=""} 3.5"#,
        r#"Histogram h_count{instance=""} 2"#,
        r#"Summary s{quantile="0.5",instance=""} NaN"#,
        r#"Summary s_sum{instance=""} -1"#,
        r#"Summary s_count{instance=""} 7"#,
        r#"Unknown some_metric{instance=""} 3.25"#,
        r#"Unknown some_metric{x="a\"b\n",instance=""} 42"#,
    ];
    assert_eq!(protobuf(&[plain, counter, histogram, summary]).unwrap(), expected);
    assert_eq!(protobuf(&[]).unwrap(), Vec::<String>::new());
}

/// A histogram of these fields in the family `h`, as samples with what rides on them.
fn histogram(fields: &[Vec<u8>]) -> Result<Vec<String>, BodyError> {
    let family = delimited(&[field(1, b"h"), varint(3, 4), field(4, &field(7, &fields.concat()))]);
    let families = read(&key("job/a"), &Body { content_type: Some(PROTOBUF), bytes: &family, ..Body::default() })?;
    let samples = families.iter().flat_map(k2p_push::PushedFamily::samples);
    Ok(samples.map(|s| format!("{} {} {}", s.name, s.value, s.exemplar.unwrap_or("-"))).collect())
}

#[test]
fn a_native_histogram_rides_on_its_count() {
    let span = |offset: u8, length: u8| [varint(1, offset), varint(2, length)].concat();
    // Spans 0:2 and 1:1, deltas 1, 1, -2; below zero -2:1 with 3.
    let fields = |positive: Vec<u8>| {
        vec![
            varint(1, 8),
            double(2, 7.5),
            varint(5, 6),
            double(6, 0.5),
            varint(7, 2),
            field(9, &span(3, 1)),
            varint(10, 6),
            field(12, &span(0, 2)),
            field(12, &span(2, 1)),
            positive,
        ]
    };
    let native = "{schema:3,zero_threshold:5e-1,zero_count:2,negative_spans:[-2:1],negative_deltas:[3],\
                  positive_spans:[0:2,1:1],positive_deltas:[1,1,-2]}";
    let expected = ["h_bucket 8 -".to_owned(), "h_sum 7.5 -".to_owned(), format!("h_count 8 {native}")];
    // Number by number, as client_golang writes it, and packed, as Prometheus does.
    assert_eq!(histogram(&fields([varint(13, 2), varint(13, 2), varint(13, 3)].concat())).unwrap(), expected);
    assert_eq!(histogram(&fields(field(13, &[2, 2, 3]))).unwrap(), expected);
    // Of floats.
    let counts = [0.5f64, 1.5].map(f64::to_le_bytes).concat();
    let floats = [double(4, 2.25), double(8, 0.25), field(12, &span(0, 2)), field(14, &counts)];
    let expected = "h_count 2.25 {schema:0,zero_count_float:2.5e-1,positive_spans:[0:2],positive_counts:[5e-1,1.5e0]}";
    assert_eq!(histogram(&floats).unwrap()[2], expected);
    let one_by_one = [&floats[..3], &[double(14, 0.5), double(14, 1.5)]].concat();
    assert_eq!(histogram(&one_by_one).unwrap()[2], expected);
    // A classic one carries nothing.
    assert_eq!(histogram(&[varint(1, 2), double(2, 1.0)]).unwrap()[2], "h_count 2 -");
    for (fields, why) in [
        (vec![varint(1, 1), varint(7, 2)], "count is not that"),
        (vec![varint(1, 1), varint(5, 18), varint(7, 1)], "schema"),
        (vec![varint(1, 1), field(12, &span(0, 2)), varint(13, 2)], "as many buckets"),
        (vec![double(4, 1.0), field(12, &span(0, 1)), field(14, &[0; 7])], "ends too early"),
        (vec![[&[5 << 3][..], &[255; 9], &[1]].concat()], "more than 32 bits"),
        (vec![varint(1, 0), field(12, &[]).repeat(10_001)], "more than 10000 buckets"),
        // Told apart by their counts, which Prometheus looks at.
        (vec![double(4, 7.0), double(6, 0.5)], "no count of its kind"),
        (vec![field(12, &span(0, 1)), double(14, 1.0)], "no count of its kind"),
        (vec![varint(1, 1), double(4, 1.0), field(12, &span(0, 1)), double(14, 1.0)], "no count of its kind"),
    ] {
        let said = histogram(&fields).unwrap_err();
        assert!(matches!(said, BodyError::Protobuf(_)) && said.to_string().contains(why), "{said}");
    }
}

#[test]
fn exemplars_of_protobuf_ride_on_counters_and_buckets() {
    let exemplar = |number: u8, value: &str, more: &[Vec<u8>]| {
        let parts = [&[label("trace_id", value), double(2, 0.5)], more].concat();
        field(number, &parts.concat())
    };
    let time = |seconds: u8, nanos: u8| field(3, &[varint(1, seconds), varint(2, nanos)].concat());
    let bucket = field(3, &[varint(1, 2), double(2, 1.0), exemplar(3, "a\"b", &[time(9, 5)])].concat());
    let expected = "h_bucket 2 {trace_id=\"a\\\"b\"} 0.5 9.000000005";
    assert_eq!(histogram(&[varint(1, 2), double(2, 1.0), bucket]).unwrap()[0], expected);
    let counter = |exemplar: Vec<u8>| {
        let family =
            delimited(&[field(1, b"c"), varint(3, 0), field(4, &field(3, &[double(1, 4.0), exemplar].concat()))]);
        let body = Body { content_type: Some(PROTOBUF), bytes: &family, ..Body::default() };
        let families = read(&key("job/a"), &body).unwrap();
        families[0].samples().next().unwrap().exemplar.map(str::to_owned)
    };
    assert_eq!(counter(exemplar(2, "x", &[])).as_deref(), Some("{trace_id=\"x\"} 0.5"));
    assert_eq!(counter(vec![]), None);
    // OpenMetrics has room for 128 characters; the sample stays.
    let fits = "x".repeat(128 - "trace_id".len());
    assert!(counter(exemplar(2, &fits, &[])).is_some());
    assert_eq!(counter(exemplar(2, &format!("{fits}x"), &[])), None);
    // What would break the exposition for everybody is left out.
    assert_eq!(counter(exemplar(2, "a\0b", &[])), None);
    assert_eq!(counter(exemplar(2, "x", &[label("trace_id", "y")])), None);
    assert_eq!(counter(exemplar(2, "x", &[label("", "y")])), None);
    assert_eq!(
        counter(exemplar(2, "x", &[time(9, 5), label("ä b", "y")])).as_deref(),
        Some("{trace_id=\"x\",\"ä b\"=\"y\"} 0.5 9.000000005")
    );
}

#[test]
fn protobuf_that_is_none_is_refused() {
    let metric = field(4, &field(2, &double(1, 1.0)));
    let good = delimited(&[field(1, b"g"), varint(3, 1), metric.clone()]);
    assert_eq!(protobuf(std::slice::from_ref(&good)).unwrap(), [r#"Gauge g{instance=""} 1"#]);
    for cut in 1..good.len() {
        assert!(protobuf(&[good[..cut].to_vec()]).is_err(), "cut at {cut}");
    }
    let no_name = delimited(&[varint(3, 1), metric.clone()]);
    let no_value = delimited(&[field(1, b"g"), varint(3, 0), metric]);
    let timed = [field(2, &double(1, 1.0)), varint(6, 5)].concat();
    let timed = delimited(&[field(1, b"g"), varint(3, 1), field(4, &timed)]);
    assert!(matches!(protobuf(&[no_name]), Err(BodyError::Protobuf(_))));
    assert!(matches!(protobuf(&[no_value]), Err(BodyError::Protobuf(_))));
    assert!(matches!(protobuf(&[timed]), Err(BodyError::Timestamp(_))));
    assert!(matches!(protobuf(&[good.clone(), good]), Err(BodyError::Syntax(_) | BodyError::Duplicate(_))));
}

/// Two bytes for each metric, and the name again in each line: the text has a bound.
#[test]
fn a_small_protobuf_cannot_become_a_large_memory() {
    let name = vec![b'a'; 60_000];
    let mut family = [&[10][..], &length(name.len()), &name, &[24, 1]].concat();
    for _ in 0..100_000 {
        family.extend_from_slice(&[4 << 3 | 2, 2, 2 << 3 | 2, 0]);
    }
    let of_metrics = [length(family.len()), family].concat();
    // A metric of many empty buckets.
    let buckets = field(4, &field(7, &[3 << 3 | 2, 0].repeat(100_000)));
    let of_buckets = delimited(&[field(1, &name), varint(3, 4), buckets]);
    // Histograms of many buckets in few bytes each; each is more in JSON.
    let deltas = [&[2][..], &[0].repeat(9999)].concat();
    let span = field(12, &[varint(1, 0), [&[2 << 3][..], &length(10_000)].concat()].concat());
    let native = field(4, &field(7, &[[&[1 << 3][..], &length(10_000)].concat(), span, field(13, &deltas)].concat()));
    let of_natives = delimited(&[field(1, b"h"), varint(3, 4), native.repeat(50)]);
    for (body, why) in [(of_metrics, "bytes"), (of_buckets, "bytes"), (of_natives, "more than 400000 buckets")] {
        let error = read(&key("job/a"), &Body { content_type: Some(PROTOBUF), bytes: &body, ..Body::default() });
        assert!(error.unwrap_err().to_string().contains(why));
    }
}

#[test]
fn a_sample_has_at_most_a_thousand_labels() {
    let with = |count: usize| {
        let labels: Vec<String> = (0..count).map(|n| format!("l{n}=\"\"")).collect();
        read(&key("job/a"), &Body { bytes: format!("m{{{}}} 1\n", labels.join(",")).as_bytes(), ..Body::default() })
    };
    assert!(with(1000).is_ok());
    assert!(with(1001).unwrap_err().to_string().contains("more than 1000 labels"));
}
