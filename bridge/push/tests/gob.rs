//! A real Pushgateway's persistence file → groups.
#![allow(clippy::unwrap_used, reason = "tests")]
use k2p_push::body::{Body, read as read_body};
use k2p_push::gob::read;

/// Written by Debian's prometheus-pushgateway 1.5.1: a gauge with two series, then by POST one of
/// each type under base64 labels, then a push that was refused.
const FILE: &[u8] = include_bytes!("pushgateway-1.5.1.store");

#[test]
fn every_group_of_a_real_file_is_read() {
    let groups = read(FILE).unwrap();
    let keys: Vec<&str> = groups.iter().map(|g| g.key.canonical()).collect();
    assert_eq!(keys, [r#"instance="i",job="a/b",x="""#, r#"job="failed""#, r#"job="one""#]);
    let [all, failed, one] = groups.as_slice() else { panic!() };
    // It was made on 2026-11-21 at 20:29.
    assert_eq!(all.pushed.unwrap() / 60_000, 1_795_292_940_000 / 60_000);
    assert!(all.pushed < failed.failed && all.failed.is_none() && failed.pushed.is_none());
    let series = |group: &k2p_push::gob::Stored| -> Vec<String> {
        let body = Body { bytes: group.body.as_bytes(), ..Body::default() };
        let families = read_body(&group.key, &body).unwrap();
        let line = |s: k2p_push::PushedSample<'_>| format!("{}{{{}}} {}", s.name, s.labels, s.value);
        families.iter().flat_map(|f| f.samples().map(line).collect::<Vec<_>>()).collect()
    };
    assert_eq!(series(one), [r#"g{instance="",l="a\"b"} 1.5"#, r#"g{instance=""} 2"#]);
    let expected = [
        r#"c{x=""} 1e30"#,
        r#"h_bucket{le="0.5",x=""} 1"#,
        r#"h_bucket{le="+Inf",x=""} 2"#,
        r#"h_sum{x=""} 3"#,
        r#"h_count{x=""} 2"#,
        r#"s{quantile="0.5",x=""} NaN"#,
        r#"s_sum{x=""} 1"#,
        r#"s_count{x=""} 7"#,
        r#"u{x=""} -4"#,
    ];
    assert_eq!(series(all), expected);
    assert!(one.body.starts_with("# HELP g some help\n# TYPE g gauge\n"), "{}", one.body);
    assert!(failed.body.is_empty());
}

#[test]
fn damage_is_refused() {
    for cut in 0..FILE.len() {
        assert!(read(&FILE[..cut]).is_err(), "cut at {cut}");
    }
    for text in ["", "nonsense", "K2PU", "{}", "# TYPE a gauge\na 1\n"] {
        assert!(read(text.as_bytes()).unwrap_err().to_string().contains("--persistence.file"), "{text}");
    }
    // Never a panic, whatever byte is wrong.
    for at in 0..FILE.len() {
        let mut bad = FILE.to_vec();
        bad[at] ^= 0x55;
        let _either = read(&bad);
    }
}
