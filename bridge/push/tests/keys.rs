//! Paths and records → grouping keys.
#![allow(clippy::unwrap_used, reason = "tests")]
use k2p_push::GroupingKey;
use proptest::prelude::*;

/// What follows `/metrics/`, percent-decoded → the canonical key.
fn is(path: &str, key: &str) {
    let found = GroupingKey::from_path(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(found.canonical(), key, "{path}");
    assert_eq!(GroupingKey::from_record(key.as_bytes()), Ok(found.clone()), "{path}: as a record's key");
    assert_eq!(GroupingKey::from_path(found.path().strip_prefix("/metrics/").unwrap()), Ok(found), "{path}: its own");
}

fn refused(path: &str, why: &str) {
    let error = GroupingKey::from_path(path).unwrap_err().to_string();
    assert!(error.contains(why), "{path}: {error}");
}

#[test]
fn paths_name_groups() {
    is("job/some_job", r#"job="some_job""#);
    is("job/some_job/", r#"job="some_job""#);
    is("job/a/instance/b:1", r#"instance="b:1",job="a""#);
    is("job/a/z/1/b/2", r#"b="2",job="a",z="1""#);
    is("job/a b/x/ä\"\\", r#"job="a b",x="ä\"\\""#);
    is("job@base64/dGVzdC9qb2I=", r#"job="test/job""#);
    is("job@base64/dGVzdC9qb2I/instance@base64/dGVzdGluc3RhbmNl", r#"instance="testinstance",job="test/job""#);
    is("job/titan/name@base64/zqDPgc6_zrzOt864zrXPjc-C", r#"job="titan",name="Προμηθεύς""#);
    is("job/d/path@base64/L3Zhci90bXA", r#"job="d",path="/var/tmp""#);
    // Empty values are part of the key.
    is("job/example/first_label@base64/=/second_label/foobar", r#"first_label="",job="example",second_label="foobar""#);
    is("job/a/x@base64/====", r#"job="a",x="""#);
    is("job/a/x/", r#"job="a",x="""#);
    is("job/a/U__dotted_2e_name/b", r#"U__dotted_2e_name="b",job="a""#);
    is("job/../x/..", r#"job="..",x="..""#);
}

#[test]
fn other_paths_do_not_and_say_why() {
    for path in ["", "job", "job/", "job//", "instance/a", "job@base64/=", "jobs/a", "job@base32/a"] {
        refused(path, "job name is required");
    }
    refused("job/a/x", "odd number of components in label string \"/x\"");
    refused("job/a/x/y/z", "odd number of components");
    refused("job/a/x//y/z", "odd number of components");
    refused("job/d/path//var/tmp", "odd number of components");
    for name in ["__name__", "__x", "1a", "a-b", "ä", "a.b", ""] {
        refused(&format!("job/a/{name}/b"), if name.is_empty() { "odd number" } else { "improper label name" });
    }
    refused("job/a/le/0.5", "belongs to the samples");
    refused("job/a/quantile/0.5", "belongs to the samples");
    refused("job/a/x/1/x/2", "\"x\" is given twice");
    refused("job/a/job/b", "\"job\" is given twice");
    refused("job/a/x@base64/1/x/2", "base64");
    refused("job@base64/&", "invalid base64 encoding for label job=\"&\"");
    refused("job/a/x@base64/YQ%", "invalid base64");
    refused("job/a/x@base64/_w", "not UTF-8");
    refused(&format!("job/{}", "a".repeat(9000)), "at most 8192");
}

#[test]
fn only_a_canonical_text_is_a_records_key() {
    for key in ["", "a", "job=\"\"", "x=\"1\"", "job=\"a\",", "job=\"a\",b=\"c\"", "job=\"a\",job=\"b\"", "job=\"a\" "]
    {
        assert!(GroupingKey::from_record(key.as_bytes()).is_err(), "{key}");
    }
    assert!(GroupingKey::from_record(b"job=\"\xff\"").is_err());
    assert!(GroupingKey::from_record(b"job=\"a\\x\"").is_err());
}

proptest! {
    /// Whatever the values: the path of a key leads to it, and so does its record's key.
    #[test]
    fn a_key_is_found_again(job in ".{1,20}", values in prop::collection::btree_map("[a-d]{1,2}", ".{0,20}", 0..4)) {
        let labels = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("job", job.as_str())]);
        let key = GroupingKey::from_labels(labels).unwrap();
        prop_assert_eq!(GroupingKey::from_record(key.canonical().as_bytes()), Ok(key.clone()));
        prop_assert_eq!(GroupingKey::from_path(key.path().strip_prefix("/metrics/").unwrap()), Ok(key));
    }
}
