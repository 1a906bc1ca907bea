//! What the masker finds, in every disguise that is promised, and what it leaves alone.
#![allow(clippy::unwrap_used, reason = "tests")]

use k2p_logs::mask::{Action, HashKey, MaskConfig, MaskCounts, MaskError, Masker, Maskers, Pattern};
use proptest::prelude::*;

const CARD: &str = "4111111111111111";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.c2lnbmF0dXJl";

fn masker() -> Masker {
    Masker::new(&MaskConfig::default(), None).unwrap()
}

fn line(line: &str) -> (String, Vec<(String, u64)>) {
    let (masker, mut counts) = (masker(), MaskCounts::default());
    let masked = String::from_utf8(masker.line(line.as_bytes(), &mut counts).into_owned()).unwrap();
    let counted = masker.counted(&counts).map(|(rule, n)| (rule.to_owned(), n)).collect();
    (masked, counted)
}

#[track_caller]
fn gives(from: &str, expected: &str) {
    assert_eq!(line(from).0, expected, "from {from}");
}

/// `secret` must not come through, in any of these lines.
#[track_caller]
fn hides(secret: &str, lines: &[&str]) {
    for from in lines {
        let (masked, counts) = line(from);
        assert!(!masked.contains(secret), "{from}\n  gave {masked}");
        assert!(!counts.is_empty(), "{from}: not counted");
        if serde_json::from_str::<serde_json::Value>(from).is_ok_and(|value| value.is_object()) {
            serde_json::from_str::<serde_json::Value>(&masked).unwrap_or_else(|e| panic!("{from}: {masked}: {e}"));
        }
    }
}

#[test]
fn values_of_secret_keys_are_masked_at_any_depth() {
    gives(r#"{"a": 1.50, "password" : "x", "z":[ ]}"#, r#"{"a": 1.50, "password" : "[masked:key]", "z":[ ]}"#);
    gives(r#"{"password":12345}"#, r#"{"password":"[masked:key]"}"#);
    gives(
        r#"{"token":null,"pwd":"","secret":true,"credentials":{}}"#,
        r#"{"token":null,"pwd":"","secret":true,"credentials":{}}"#,
    );
    hides(
        "hunter2",
        &[
            r#"{"a":[[{"b":{"DB_PASSWORD":"hunter2"}}]]}"#,
            r#"{"Api-Key":"hunter2"}"#,
            r#"{"apiKey":["x",{"y":"hunter2"}]}"#,
            r#"{"\u0070assword":"hunter2"}"#,
            r#"{"password":"one","password":"hunter2"}"#,
            r#"{"env":[{"name":"DB_PASSWORD","value":"hunter2"}]}"#,
            r#"{"value":"hunter2","Name":"X-Api-Key"}"#,
            r#"{"raw":"{\"password\":\"hunter2\"}"}"#,
            r#"{"raw":"{\"raw\":\"{\\\"password\\\":\\\"hunter2\\\"}\"}"}"#,
            r#"{"raw":"broken {\"password\":\"hunter2\""}"#,
            r#"{"message":"password=hunter2"}"#,
            r#"{"message":"PASSWORD => 'hunter2'"}"#,
            r#"{"stack":"at x\n  db.password: hunter2\n at y"}"#,
            r#"{"message":"run --db-password hunter2 now"}"#,
            r#"{"message":"https://h/?q=1&api_key=hunter2&x=2"}"#,
            r#"{"message":"api%5Fkey%3Dhunter2"}"#,
            r#"{"message":"Authorization: Basic hunter2x"}"#,
            r#"{"message":"Cookie: a=1; b=hunter2"}"#,
            "password=hunter2",
            "{\"password\":\"hunter2\"",
            "{broken \"password\" : \"hunter2\"}",
            r"{broken \u0070assword=hunter2",
            "password: \"hunter2 and more\"",
            "password=[masked:key]hunter2",
        ],
    );
}

#[test]
fn cards_are_masked() {
    gives(&format!(r#"{{"n":{CARD}}}"#), r#"{"n":"[masked:card]"}"#);
    hides(
        "1111",
        &[
            &format!(r#"{{"message":"paid with {CARD}."}}"#),
            r#"{"m":"4111 1111 1111 1111"}"#,
            r#"{"m":"4111-1111-1111-1111"}"#,
            r#"{"m":"4111\u00201111\u00201111\u00201111"}"#,
            r#"{"m":"4111%201111%201111%201111"}"#,
            r#"{"m":"\u0034111111111111111"}"#,
            r#"{"m":[[4111111111111111]]}"#,
            r#"{"m":4.111111111111111e15}"#,
            r#"{"4111111111111111":"a key"}"#,
            "4111111111111111",
        ],
    );
}

#[test]
fn addresses_tokens_and_cloud_keys_are_masked() {
    gives(r#"{"m":"mail joe@example.com!"}"#, r#"{"m":"mail [masked:email]!"}"#);
    gives(r#"{"m":"postgres://u:p@ss@db/x"}"#, r#"{"m":"postgres://u:[masked:connection]@db/x"}"#);
    gives(&format!("token was {JWT} ok"), "token was [masked:jwt] ok");
    hides(
        "example",
        &[
            r#"{"m":"joe\u0040example.com"}"#,
            r#"{"m":"joe%40example.com"}"#,
            r#"{"m":"joe%2540example%252Ecom"}"#,
            r#"{"m":"{\"x\":\"joe\\u0040example.com\"}"}"#,
            r#"{"JOE@EXAMPLE.example":1}"#,
            r#"{"m":["a",{"b":"josé@example.com"}]}"#,
        ],
    );
    hides(
        "s3cr3t",
        &[
            "Bearer s3cr3ts3cr3t",
            "bearer\ts3cr3ts3cr3t",
            "jdbc:postgresql://h/db?user=u&password=s3cr3t",
            "Server=h;User Id=u;Pwd=s3cr3t;",
            "mongodb+srv://joe:s3cr3t@h",
            "amqp%3A%2F%2Fjoe%3As3cr3t%40h",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=s3cr3ts3cr3t==;",
            "https://a.blob.core.windows.net/c?sv=1&sig=s3cr3ts3cr3t%3D",
            "-----BEGIN RSA PRIVATE KEY-----\ns3cr3t\n-----END RSA PRIVATE KEY-----",
            r#"{"m":"-----BEGIN PRIVATE KEY-----\ns3cr3t"}"#,
        ],
    );
    let azure = format!("key {}==", "a/B+".repeat(22).get(..86).unwrap());
    let gcp = format!("AIza{}", "x".repeat(35));
    let google = format!("ya29.{}", "x".repeat(30));
    let databricks = format!("dapi{}", "0a".repeat(16));
    let github = format!("ghp_{}", "x".repeat(36));
    for (text, rule) in [
        ("AKIAIOSFODNN7EXAMPLE", "aws"),
        (azure.as_str(), "azure"),
        (gcp.as_str(), "gcp"),
        (google.as_str(), "gcp"),
        (databricks.as_str(), "token"),
        (github.as_str(), "token"),
    ] {
        let (masked, counts) = line(text);
        assert!(masked.contains(&format!("[masked:{rule}]")), "{text}: {masked}");
        assert_eq!(counts, [(rule.to_owned(), 1)], "{text}");
    }
}

/// What the events of a pipeline are made of comes through byte for byte.
#[test]
fn what_is_not_secret_stays_as_it_is() {
    for text in [
        r#"{"timestamp":1763728860000,"start_ts":4111111111111111,"run_id":"r-1","level":"INFO","z":1.0e5}"#,
        r#"{ "b":2, "a" : [1,2.50,"x"], "unicode":"\u00e4ä", "n":12345678901234567890123 }"#,
        r#"{"message":"0.4111111111111111 of 550e8400-e29b-41d4-a716-446655440000 at org.x.Y.z(Y.java:41)"}"#,
        r#"{"stack":"java.lang.Exception: boom\n\tat a.b.C$1@6d06d69c: x (C.java:5)\n\tat spark://host:7077"}"#,
        r#"{"message":"read 100% of C:\\users\\new in 5 ms: key=value, id: 7"}"#,
        "plain text, nothing in it: a=b",
        "",
        "{",
        "[]",
    ] {
        gives(text, text);
    }
}

#[test]
fn a_hash_is_keyed_and_equal_for_equal_values() {
    let config = MaskConfig { action: Action::Hash, ..MaskConfig::default() };
    assert_eq!(Masker::new(&config, None).unwrap_err(), MaskError::NoKey);
    assert_eq!(HashKey::new(b"short\n").unwrap_err(), MaskError::ShortHashKey(5));
    let with = |key: &[u8], text: &str| {
        let masker = Masker::new(&config, Some(HashKey::new(key).unwrap())).unwrap();
        masker.text(text, &mut MaskCounts::default()).into_owned()
    };
    let (one, two) = (b"0123456789abcdef\n", b"fedcba9876543210");
    let hash = with(one, "joe@example.com");
    assert!(hash.starts_with("[hash:email:") && hash.len() == "[hash:email:]".len() + 32, "{hash}");
    assert_eq!(with(one, "JOE@example.com"), hash);
    assert_eq!(with(one, "4111 1111 1111 1111"), with(one, "4111111111111111"));
    assert_ne!(with(two, "joe@example.com"), hash);
    // HMAC-SHA256("0123456789abcdef", "joe@example.com"), from Python's hmac.
    assert_eq!(hash, "[hash:email:6f7ab77d330429616882b73f647b32f9]");
}

#[test]
fn rules_are_configured_by_topic() {
    let pattern = |name: &str, regex: &str| Pattern { name: name.into(), regex: regex.into() };
    let own = MaskConfig {
        disable: vec!["email".into()],
        keys: vec!["badge".into()],
        allow_keys: vec!["page_token".into()],
        patterns: vec![pattern("customer", r"\bC-(\d{6})\b")],
        ..MaskConfig::default()
    };
    let topics = [("t".to_owned(), own)].into();
    let maskers = Maskers::new(&MaskConfig::default(), &topics, None).unwrap();
    let text = r#"{"m":"C-123456 a@b.com","my_badge":"7","pageToken":"n"}"#;
    let masked = |topic: &str| {
        let masked = maskers.of(topic).line(text.as_bytes(), &mut MaskCounts::default()).into_owned();
        String::from_utf8(masked).unwrap()
    };
    assert_eq!(masked("t"), r#"{"m":"C-[masked:customer] a@b.com","my_badge":"[masked:key]","pageToken":"n"}"#);
    assert_eq!(masked("u"), r#"{"m":"C-123456 [masked:email]","my_badge":"7","pageToken":"[masked:key]"}"#);
    let refused = |config: MaskConfig| Masker::new(&config, None).unwrap_err();
    let bad = MaskConfig { patterns: vec![pattern("x", "(")], ..MaskConfig::default() };
    assert!(matches!(refused(bad), MaskError::BadPattern { .. }));
    let bad = MaskConfig { patterns: vec![pattern("email", "x")], ..MaskConfig::default() };
    assert_eq!(refused(bad), MaskError::BadName("email".into()));
    let bad = MaskConfig { disable: vec!["mail".into()], ..MaskConfig::default() };
    assert_eq!(refused(bad), MaskError::UnknownRule("mail".into()));
    let bad = MaskConfig { keys: vec!["id".into()], ..MaskConfig::default() };
    assert_eq!(refused(bad), MaskError::ShortKey("id".into()));
    let off = MaskConfig { defaults: false, ..MaskConfig::default() };
    let off = Masker::new(&off, None).unwrap();
    assert_eq!(off.text("a@b.com password=x", &mut MaskCounts::default()), "a@b.com password=x");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        "[ -~]{0,20}",
        Just("a@b.com".to_owned()),
        Just(CARD.to_owned()),
        Just("password=x y".to_owned()),
        Just("{\"pwd\":\"x\"}".to_owned()),
        any::<String>(),
    ];
    let leaf = prop_oneof![text.prop_map(serde_json::Value::from), any::<i64>().prop_map(serde_json::Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![Just("password".to_owned()), "[a-z_]{1,8}", any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// JSON stays JSON, and what was masked is not masked again.
    #[test]
    fn masking_keeps_json_and_is_idempotent(value in json()) {
        let masker = masker();
        let text = serde_json::json!({"v": value}).to_string();
        let once = masker.line(text.as_bytes(), &mut MaskCounts::default()).into_owned();
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&once).is_ok());
        let mut counts = MaskCounts::default();
        let twice = masker.line(&once, &mut counts).into_owned();
        prop_assert_eq!(String::from_utf8(twice).unwrap(), String::from_utf8(once).unwrap());
    }

    /// Whatever stands around it, however it nests: the address does not come through.
    #[test]
    fn no_surroundings_save_an_address(before in "[ -~]{0,12}", depth in 0..4usize) {
        let mut value = serde_json::Value::from(format!("{before} joe@example.com"));
        for _ in 0..depth {
            value = serde_json::json!({"raw": value.to_string()});
        }
        let masked = masker().line(value.to_string().as_bytes(), &mut MaskCounts::default()).into_owned();
        prop_assert!(!String::from_utf8(masked).unwrap().contains("example.com"));
    }

    /// Any bytes at all: no panic.
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _masked = masker().line(&bytes, &mut MaskCounts::default());
    }
}
