//! The annotated reference: what it shows as a default is the default.
use k2p_logs::mask::{MaskCounts, Maskers};
use k2p_runtime::config::{Document, Reader};

use super::*;

const REFERENCE: &str = include_str!("../../../../deploy/bridge.yaml");
const LEAST: &str = "kafka: {brokers: \"127.0.0.1:9092\"}\ntopics: [{name: k2p.metrics}]\n";

fn read_text(text: &str, flags: &Flags) -> (Option<Config>, Vec<String>) {
    let reader = Reader::new(Document::parse("bridge.yaml", text, &|_| None, &|_| Ok(String::new())));
    let mut faults = Vec::new();
    let config = read(&reader.root(), flags, &mut faults);
    faults.extend(reader.finish().err().into_iter().flat_map(|e| e.0).map(|e| e.to_string()));
    (config, faults)
}

/// Every default that stands in a comment: `# key: value`.
fn shown_default(line: &str) -> Option<String> {
    let (indent, comment) = line.split_once("# ")?;
    let (key, _) = comment.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (indent.trim().is_empty() && is_key).then(|| format!("{indent}{comment}"))
}

#[test]
fn the_annotated_defaults_are_the_defaults() {
    let lines = REFERENCE.lines();
    let uncommented: Vec<String> = lines.map(|line| shown_default(line).unwrap_or_else(|| line.to_owned())).collect();
    let shown = REFERENCE.lines().filter_map(shown_default).count();
    assert!(shown >= 20, "only {shown} defaults were found");
    let (least, faults) = read_text(LEAST, &Flags::default());
    let least = least.unwrap_or_else(|| panic!("{faults:?}"));
    for text in [REFERENCE, &uncommented.join("\n")] {
        let (config, faults) = read_text(text, &Flags::default());
        assert_eq!(faults, Vec::<String>::new(), "{text}");
        assert_eq!(format!("{:#?}", config.unwrap()), format!("{least:#?}"));
    }
}

/// A key that the reader knows and the reference does not show would be found by nobody.
#[test]
fn every_key_is_in_the_reference() {
    let sections = [
        "kafka",
        "topics",
        "limits",
        "ownership",
        "state",
        "templates",
        "runs",
        "logs",
        "web",
        "masking",
        "patterns",
        "push_rate",
        "peer_http",
        "tls_config",
        "basic_auth",
    ];
    let text = "unknown: 1\nkafka: {unknown: 1}\ntopics: [{unknown: 1, limits: {unknown: 1}}]\nmasking: {unknown: 1, patterns: [{unknown: 1}]}\n\
                ownership: {unknown: 1}\nstate: {unknown: 1}\ntemplates: {unknown: 1}\nruns: {unknown: 1}\nlogs: {unknown: 1}\nweb: {unknown: 1, push_rate: {unknown: 1}, peer_http: {unknown: 1, tls_config: {unknown: 1}, basic_auth: {unknown: 1}}}\n";
    let (_, faults) = read_text(text, &Flags::default());
    let known: Vec<&str> = faults.iter().filter_map(|f| Some(f.split_once("known here: ")?.1)).collect();
    // And the top level.
    assert_eq!(known.len(), sections.len() + 1, "{faults:#?}");
    for key in known.iter().flat_map(|keys| keys.split(", ")) {
        let mentioned = REFERENCE.lines().any(|line| {
            let line = line.trim_start_matches([' ', '-', '#']).trim_start_matches("e.g. ");
            line.starts_with(&format!("{key}:"))
        });
        assert!(mentioned, "deploy/bridge.yaml does not show {key}");
    }
}

#[test]
fn a_topics_labels_keep_off_what_belongs_to_the_sample() {
    for name in ["le", "quantile", "__name__"] {
        let text = format!("{LEAST}#\n").replace("k2p.metrics}", &format!("t, labels: {{{name}: x}}}}"));
        let (config, faults) = read_text(&text, &Flags::default());
        assert!(config.is_none() || !faults.is_empty(), "{name}");
        assert!(faults.iter().any(|f| f.contains("is reserved") && f.contains(name)), "{name}: {faults:?}");
    }
    let (config, faults) = read_text(&LEAST.replace("k2p.metrics}", "t, labels: {region: eu}}"), &Flags::default());
    assert_eq!(config.unwrap().topics[0].cache.fixed.canonical(), "region=\"eu\"", "{faults:?}");
}

#[test]
fn a_topic_of_events_has_no_settings_of_dumps() {
    let (config, faults) =
        read_text(&LEAST.replace("k2p.metrics}", "t, kind: events, labels: {a: b}}"), &Flags::default());
    assert_eq!(config.unwrap().topics[0].kind, TopicKind::Events, "{faults:?}");
    for setting in ["policy: conflate", "staleness: 90s", "limits: {origins: 3}", "honor_labels: true"] {
        let text = LEAST.replace("k2p.metrics}", &format!("t, kind: events, {setting}}}"));
        let (_, faults) = read_text(&text, &Flags::default());
        assert!(faults.iter().any(|f| f.contains("of kind metrics")), "{setting}: {faults:?}");
    }
    let flags = Flags { topics: vec!["e:events".to_owned(), "x:nonsense".to_owned()], ..Flags::default() };
    let (config, faults) = read_text(LEAST, &flags);
    assert!(config.is_none() && faults.iter().any(|f| f.contains("x:nonsense")), "{faults:?}");
}

#[test]
fn pushes_are_a_kind_with_rules_of_their_own() {
    let text = LEAST.replace("k2p.metrics}", "t, kind: push, labels: {a: b}}")
        + "push: {ttl: [{job: 'nightly_.*', ttl: 1d}, {job: x, ttl: 0}]}\n";
    let (config, faults) = read_text(&text, &Flags::default());
    let config = config.unwrap_or_else(|| panic!("{faults:?}"));
    assert_eq!(config.topics[0].kind, TopicKind::Push);
    assert_eq!(
        (config.push_ttl.decide("nightly_a", None), config.push_ttl.decide("x", None)),
        (Some(86_400_000), None)
    );
    let (_, faults) = read_text(&LEAST.replace("k2p.metrics}", "t, kind: push, masking: {}}"), &Flags::default());
    assert!(faults.iter().any(|f| f.contains("topics of kind events")), "{faults:?}");
    let flags = Flags { topics: vec!["p:push".to_owned()], ..Flags::default() };
    assert_eq!(read_text(LEAST, &flags).0.unwrap().topics[0].kind, TopicKind::Push);
}

#[test]
fn a_topic_masks_by_its_own_rules() {
    let own = "t, kind: events, masking: {disable: [email], patterns: [{name: customer, regex: 'cust-([0-9]+)'}], action: hash}}";
    let text =
        LEAST.replace("k2p.metrics}", own) + "masking: {hash_key: 0123456789abcdef, allow_keys: [token_count]}\n";
    let (config, faults) = read_text(&text, &Flags::default());
    let masking = config.unwrap_or_else(|| panic!("{faults:?}")).masking;
    assert_eq!(faults, Vec::<String>::new());
    assert!(masking.default.defaults && masking.default.allow_keys == ["token_count"]);
    let maskers = Maskers::new(&masking.default, &masking.topics, masking.key.as_ref()).unwrap();
    let masked = |topic: &str| {
        let mut counts = MaskCounts::default();
        let text = maskers.of(topic).text("a@b.de of cust-77", &mut counts).into_owned();
        let rules: Vec<String> = maskers.of(topic).counted(&counts).map(|(rule, n)| format!("{rule} {n}")).collect();
        (text, rules.join(", "))
    };
    let (text, rules) = masked("t");
    assert!(text.starts_with("a@b.de of cust-[hash:customer:") && rules == "customer 1", "{text} {rules}");
    assert_eq!(masked("another"), ("[masked:email] of cust-77".to_owned(), "email 1".to_owned()));
}

#[test]
fn masking_that_cannot_be_used_is_said_with_its_place() {
    let fault = |masking: &str, expected: &str| {
        for text in [
            format!("{LEAST}masking: {masking}\n"),
            LEAST.replace("k2p.metrics}", &format!("t, kind: events, masking: {masking}}}")),
        ] {
            let (_, faults) = read_text(&text, &Flags::default());
            assert!(faults.iter().any(|f| f.contains(expected) && f.contains("bridge.yaml:")), "{text}: {faults:#?}");
        }
    };
    fault("{action: hash}", "hash needs a key");
    fault("{action: encrypt}", "one of mask, hash");
    fault("{disable: [emails]}", "no built-in rule \"emails\"");
    fault("{patterns: [{name: a, regex: '('}]}", "correct the regular expression");
    fault("{patterns: [{name: email, regex: 'x'}]}", "no built-in rule's");
    fault("{patterns: [{name: a}]}", "regex");
    fault("{keys: [ab]}", "too short");
    let (_, faults) = read_text(&format!("{LEAST}masking: {{hash_key: short, action: hash}}\n"), &Flags::default());
    assert!(faults.len() == 1 && faults[0].contains("at least 16") && !faults[0].contains("short "), "{faults:?}");
    let (_, faults) = read_text(&LEAST.replace("k2p.metrics}", "t, masking: {}}"), &Flags::default());
    assert!(faults.iter().any(|f| f.contains("topics of kind events")), "{faults:?}");
}

#[test]
fn flags_win_over_the_file() {
    let flags = Flags {
        brokers: Some("b:1".to_owned()),
        group: Some("g".to_owned()),
        topics: vec!["other".to_owned()],
        listen: Some("127.0.0.1:0".to_owned()),
        ..Flags::default()
    };
    let (config, faults) = read_text(REFERENCE, &flags);
    let config = config.unwrap_or_else(|| panic!("{faults:?}"));
    assert_eq!((config.kafka.brokers(), config.kafka.group()), ("b:1", Some("g")));
    assert_eq!(config.topics.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["other"]);
    assert_eq!(config.web.listen.as_deref(), Some("127.0.0.1:0"));
}

fn web_of(section: &str) -> (Option<Web>, Vec<String>) {
    let (config, faults) = read_text(&format!("{LEAST}web: {{{section}}}\n"), &Flags::default());
    (config.map(|c| c.web), faults)
}

#[test]
fn nobody_from_elsewhere_comes_in_unasked_by_default() {
    let (web, faults) = web_of("");
    let web = web.unwrap_or_else(|| panic!("{faults:?}"));
    assert_eq!((web.listen_address(false), web.listen_address(true)), ("127.0.0.1:9527", ":9527"));
    let said = web_of("listen_address: ':9'").0.unwrap();
    assert_eq!((said.listen_address(false), said.listen_address(true)), ("[::]:9", "[::]:9"));
}

#[test]
fn the_external_address_may_say_its_scheme() {
    let of = |text: &str| {
        let (web, faults) = web_of(&format!("external_address: '{text}'"));
        web.filter(|_| faults.is_empty()).map(|web| (web.external.unwrap(), web.external_scheme))
    };
    let address = || "bridge:9527".to_owned();
    assert_eq!(of("bridge:9527"), Some((address(), None)));
    assert_eq!(of("https://bridge:9527"), Some((address(), Some(Scheme::Https))));
    assert_eq!(of("http://bridge:9527"), Some((address(), Some(Scheme::Http))));
    assert_eq!(of("ftp://bridge:9527"), None);
    assert!(!web_of("advertise_address: 'https://a:1'").1.is_empty(), "peers have a setting of their own");
}

#[test]
fn push_rates_and_secrets_of_the_web_section() {
    let rate =
        |text: &str| web_of(&format!("push_rate: {{{text}}}")).0.unwrap().push_rate.map(|r| (r.per_second, r.burst));
    assert_eq!(rate(""), Some((1000.0, 10_000.0)));
    assert_eq!(rate("per_second: 0.5, burst: 1"), Some((0.5, 1.0)));
    assert_eq!(rate("per_second: 0"), None);
    assert!(!web_of("push_rate: {burst: 0}").1.is_empty());
    let (web, faults) = web_of("peer_token: planted, peer_http: {basic_auth: {username: a, password: planted}}");
    assert!(faults.is_empty() && !format!("{web:?}").contains("planted"), "{web:?}");
    assert!(!web_of("peer_http: {basic_auth: {username: a}}").1.is_empty(), "a user without a password");
    assert!(!web_of("peer_http: {tls_config: {cert_file: a}}").1.is_empty(), "a certificate without a key");
    assert!(!web_of("peer_http: {tls_config: {ca_file: /nowhere}}").1.is_empty());
}

#[test]
fn logs_lie_in_a_directory_or_in_an_object_store_which_is_shared() {
    let logs = |text: &str| {
        let (config, faults) = read_text(&format!("{LEAST}logs: {text}\n"), &Flags::default());
        (config.and_then(|config| config.pipelines.logs), faults)
    };
    let (kept, faults) = logs("{url: 's3://bucket/p', options: {aws_secret_access_key: hidden}, flush: 3s}");
    let kept = kept.unwrap_or_else(|| panic!("{faults:?}"));
    let shown = format!("{kept:?}");
    assert!(kept.shared && shown.contains("aws_secret_access_key") && !shown.contains("hidden"), "{shown}");
    assert!(matches!(kept.place, LogPlace::Objects { timing, .. } if timing.flush.as_secs() == 3));
    let (kept, faults) = logs("{url: 'file:///var/logs'}");
    assert!(kept.is_some_and(|kept| !kept.shared && kept.place == LogPlace::Dir("/var/logs".into())), "{faults:?}");
    for (text, said) in [
        ("{url: 'file://relative'}", "a place of logs"),
        ("{url: 'ftp://host/dir'}", "s3://BUCKET/PREFIX"),
        ("{url: 's3://key:secret@bucket'}", "a place of logs"),
        ("{url: 'file:///var/logs', options: {a: b}}", "an object store's"),
        ("{url: 's3://bucket', flush: 1h}", "flush"),
    ] {
        let (_, faults) = logs(text);
        assert!(faults.iter().any(|fault| fault.contains(said)), "{text}: {faults:?}");
    }
}
