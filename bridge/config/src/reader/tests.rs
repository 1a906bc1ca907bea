use super::*;

/// A reader of `text` with a small environment and one secret file.
fn reader(text: &str) -> Reader {
    let env = |name: &str| match name {
        "PORT" => Some("9092".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "YES" => Some("true".to_owned()),
        "EMPTY" => Some(String::new()),
        "STRUCTURE" => Some("a\nother: {x: [1, 2]}".to_owned()),
        _ => None,
    };
    let read = |path: &str| match path {
        "/run/secret" => Ok("hunter2\n".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    Reader::new(Document::parse("f.yaml", text, &env, &read))
}

/// What `read` gets out of `text`, and the errors' text.
fn run<T>(text: &str, read: impl Fn(&Section) -> T) -> (T, String) {
    let reader = reader(text);
    let value = read(&reader.root());
    let errors = match reader.finish() {
        Ok(()) => String::new(),
        Err(errors) => errors.to_string(),
    };
    assert!(!errors.contains("hunter2"), "a secret in {errors}");
    (value, errors)
}

fn ok<T: PartialEq + std::fmt::Debug>(text: &str, read: impl Fn(&Section) -> T, expected: T) {
    let (value, errors) = run(text, read);
    assert_eq!((value, errors.as_str()), (expected, ""), "{text}");
}

/// `read` finds nothing in `text`, and this is said about it.
fn no<T: PartialEq + std::fmt::Debug>(text: &str, read: impl Fn(&Section) -> Option<T>, error: &str) {
    let (value, errors) = run(text, read);
    assert_eq!((value, errors.as_str()), (None, error), "{text}");
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn policy(s: &Section) -> Option<u8> {
    s.choice("a", &[("backpressure", 1), ("conflate", 2), ("drop_oldest", 3)])
}

#[test]
fn text_is_any_scalar_as_it_is_spelled() {
    let a = |s: &Section| s.string("a");
    ok("a: x y", a, some("x y"));
    ok("a: 007", a, some("007"));
    ok("a: 1.50", a, some("1.50"));
    ok("a: true", a, some("true"));
    ok("a: no", a, some("no"));
    ok("a: \"q\\n\"", a, some("q\n"));
    ok("a: 'it''s'", a, some("it's"));
    ok("a: \"\"", a, some(""));
    ok("a: \"null\"", a, some("null"));
    ok("a: !!str null", a, some("null"));
    ok("a: |\n  two\n  lines\n", a, some("two\nlines\n"));
    ok("a: ${PORT}", a, some("9092"));
    ok("a: \"h:${PORT}\"", a, some("h:9092"));
    ok("a: ${file:/run/secret}", a, some("hunter2"));
    ok("a: ${NONE:-d}", a, some("d"));
    ok("a: $${PORT}", a, some("${PORT}"));
    ok("a: '^x$'", a, some("^x$"));
    ok("a: ${EMPTY}", a, some(""));
    ok("{a: x}", a, some("x"));
    ok("\u{feff}a: x", a, some("x"));
    ok("---\na: x\n...\n", a, some("x"));
    ok("a:", a, None);
    ok("a: null", a, None);
    ok("a: ~", a, None);
    ok("", a, None);
    ok("# only a comment\n", a, None);
    ok("---\n", a, None);
    no("a: [x]", a, "f.yaml:1:4: a: expected text, found a list; write text");
    no("a:\n  b: c", a, "f.yaml:2:3: a: expected text, found a section; write text");
}

#[test]
fn what_a_variable_holds_never_becomes_structure() {
    ok("a: ${STRUCTURE}", |s| s.string("a"), some("a\nother: {x: [1, 2]}"));
    ok("a: [\"${STRUCTURE}\"]", |s| s.string_list("a").map(|l| l.len()), Some(1));
    // A key is never expanded.
    no("${PORT}: x", |s| s.string("a"), "f.yaml:1:1: ${PORT}: unknown key; remove it; known here: a");
}

#[test]
fn booleans_are_true_or_false() {
    let a = |s: &Section| s.bool("a");
    ok("a: true", a, Some(true));
    ok("a: False", a, Some(false));
    ok("a: ${YES}", a, Some(true));
    ok("a: \"${YES}\"", a, Some(true));
    let error = |found: &str| {
        format!(
            "f.yaml:1:4: a: expected true or false, found {found}; \
             write true or false, without quotes"
        )
    };
    no("a: yes", a, &error("yes"));
    no("a: on", a, &error("on"));
    no("a: 1", a, &error("1"));
    no("a: \"true\"", a, &error("the text \"true\""));
    no("a: ${SECRET}", a, &error("something else behind ${…}"));
    no("a: [true]", a, &error("a list"));
}

#[test]
fn whole_numbers_have_a_range() {
    let a = |s: &Section| s.integer("a", 1..=65535);
    ok("a: 1", a, Some(1));
    ok("a: 65535", a, Some(65535));
    ok("a: ${PORT}", a, Some(9092));
    ok("a: '${PORT}'", a, Some(9092));
    let error = |found: &str| {
        format!(
            "f.yaml:1:4: a: expected a whole number from 1 to 65535, found {found}; \
             write digits, without quotes and unit"
        )
    };
    no("a: 0", a, &error("0"));
    no("a: 65536", a, &error("65536"));
    no("a: -1", a, &error("-1"));
    no("a: 1.0", a, &error("1.0"));
    no("a: 1e3", a, &error("1e3"));
    no("a: 0x10", a, &error("0x10"));
    no("a: 1_000", a, &error("1_000"));
    no("a: \"5\"", a, &error("the text \"5\""));
    no("a: ten", a, &error("ten"));
    no("a: 99999999999999999999", a, &error("99999999999999999999"));
    no("a: ${SECRET}", a, &error("something else behind ${…}"));
    no("a: {b: 1}", a, &error("a section"));
    let least = |s: &Section| s.integer("a", 3..=i64::MAX);
    no(
        "a: 2",
        least,
        "f.yaml:1:4: a: expected a whole number of at least 3, found 2; \
         write digits, without quotes and unit",
    );
    let any = |s: &Section| s.integer("a", i64::MIN..=i64::MAX);
    ok("a: -5", any, Some(-5));
}

#[test]
fn numbers_are_finite_and_in_range() {
    let a = |s: &Section| s.float("a", 0.0..=1.0);
    ok("a: 0.25", a, Some(0.25));
    ok("a: 1", a, Some(1.0));
    let error = |found: &str| {
        format!(
            "f.yaml:1:4: a: expected a number from 0 to 1, found {found}; \
             write a decimal number, without quotes and unit"
        )
    };
    no("a: 1.5", a, &error("1.5"));
    no("a: nan", a, &error("nan"));
    no("a: .inf", a, &error(".inf"));
    no("a: 50%", a, &error("50%"));
}

#[test]
fn sizes_and_durations_are_written_as_people_do() {
    let bytes = |s: &Section| s.bytes("a");
    ok("a: 64MiB", bytes, Some(64 << 20));
    ok("a: \"64MiB\"", bytes, Some(64 << 20));
    ok("a: 4096", bytes, Some(4096));
    no(
        "a: 64 apples",
        bytes,
        "f.yaml:1:4: a: expected a size such as 64MiB, 10GB or 4096, found 64 apples; \
         use the units B, KB, MB, GB, TB (1000) or KiB, MiB, GiB, TiB (1024)",
    );
    no(
        "a: [1]",
        bytes,
        "f.yaml:1:4: a: expected a size such as 64MiB, 10GB or 4096, found a list; \
         write it as one word",
    );
    no(
        "a: 5MiB",
        |s| s.bytes_in("a", 1..=1024),
        "f.yaml:1:4: a: expected a size from 1 to 1024 bytes, found 5MiB; \
         write a value within that range",
    );
    let duration = |s: &Section| s.duration("a");
    ok("a: 1h30m", duration, Some(Duration::from_secs(5400)));
    ok("a: 0", duration, Some(Duration::ZERO));
    no(
        "a: 15",
        duration,
        "f.yaml:1:4: a: expected a duration such as 15s, 10m, 1h30m or 30d, found 15; \
         add a unit of y, w, d, h, m, s, ms to the number",
    );
    no(
        "a: ${SECRET}",
        duration,
        "f.yaml:1:4: a: expected a duration such as 15s, 10m, 1h30m or 30d, \
         found something else behind ${…}; \
         write whole numbers, each with a unit of y, w, d, h, m, s, ms",
    );
    let short = Duration::from_secs(1)..=Duration::from_secs(90);
    no(
        "a: 2m",
        |s| s.duration_in("a", short.clone()),
        "f.yaml:1:4: a: expected a duration from 1s to 1m30s, found 2m; \
         write a value within that range",
    );
    no(
        "a: 2s",
        |s| s.duration_in("a", Duration::from_secs(5)..=Duration::MAX),
        "f.yaml:1:4: a: expected a duration of at least 5s, found 2s; \
         write a value within that range",
    );
}

#[test]
fn choices_list_what_is_allowed() {
    ok("a: conflate", policy, Some(2));
    ok("a: \"conflate\"", policy, Some(2));
    ok("b:", policy_and_b, None);
    let error = |found: &str| {
        format!(
            "f.yaml:1:4: a: expected one of backpressure, conflate, drop_oldest, \
             found {found}; write one of these names"
        )
    };
    no("a: conflat", policy, &error("conflat"));
    no("a: Conflate", policy, &error("Conflate"));
    no("a: ${SECRET}", policy, &error("something else behind ${…}"));
    no("a: []", policy, &error("a list"));
}

fn policy_and_b(s: &Section) -> Option<u8> {
    s.has("b");
    policy(s)
}

#[test]
fn lists_and_maps_of_text() {
    let list = |s: &Section| s.string_list("a").map(|l| l.join("|"));
    ok("a: [x, 1, \"\"]", list, some("x|1|"));
    ok("a:\n- x\n- ${PORT}\n", list, some("x|9092"));
    ok("a: []", list, some(""));
    ok("a:", list, None);
    no("a: x", list, "f.yaml:1:4: a: expected a list, found x; write [a, b], or one line with a dash for each");
    let (value, errors) = run("a:\n- x\n- [y]\n- {z: 1}\n-\n", list);
    assert_eq!(value, some("x"));
    assert_eq!(
        errors,
        "f.yaml:3:3: a[1]: expected text, found a list; write one value\n\
         f.yaml:4:3: a[2]: expected text, found a section; write one value\n\
         f.yaml:5:2: a[3]: expected text, found nothing; write one value"
    );
    let map = |s: &Section| s.string_map("a").map(|m| format!("{m:?}"));
    ok("a: {x.y: 1, z: '${PORT:-1}'}", |s| s.string_map("a").map(|m| m.len()), Some(2));
    ok("a:\n  x.y: 1\n  z: \"2\"\n", map, some("{\"x.y\": \"1\", \"z\": \"2\"}"));
    no(
        "a: [x]",
        map,
        "f.yaml:1:4: a: expected a section of KEY: VALUE, found a list; \
         write {a: b}, or a line for each",
    );
    let (_, errors) = run("a:\n  x: [1]\n", map);
    assert_eq!(errors, "f.yaml:2:6: a.x: expected text, found a list; write one value");
}

#[test]
fn sections_nest_and_say_where_they_are() {
    let text = "kafka: {brokers: b}\ntopics:\n- name: one\n  limits: {bytes: 1x}\n- name: two\n";
    let (names, errors) = run(text, |s| {
        assert_eq!(s.section("kafka").string("brokers"), some("b"));
        assert!(!s.section("none").present());
        assert_eq!(s.section("none").section("deeper").string("x"), None);
        let mut names = Vec::new();
        for topic in s.sections("topics") {
            names.extend(topic.string("name"));
            assert_eq!(topic.section("limits").bytes("bytes"), None);
        }
        names
    });
    assert_eq!(names, ["one", "two"]);
    assert_eq!(
        errors,
        "f.yaml:4:19: topics[0].limits.bytes: expected a size such as 64MiB, 10GB or 4096, \
         found 1x; use the units B, KB, MB, GB, TB (1000) or KiB, MiB, GiB, TiB (1024)"
    );
    let sections = |s: &Section| {
        s.sections("a");
        s.section("b");
    };
    let said = |text: &str, error: &str| assert_eq!(run(text, sections).1, error, "{text}");
    said("a: x", "f.yaml:1:4: a: expected a list of sections, found x; begin each one with a dash");
    said("a: {x: 1}", "f.yaml:1:4: a: expected a list of sections, found a section; begin each one with a dash");
    said("a: [x]", "f.yaml:1:5: a[0]: expected a section, found x; write KEY: VALUE lines behind the dash");
    said("b: x", "f.yaml:1:4: b: expected a section, found x; write KEY: VALUE lines below it");
    said(
        "b: ${SECRET}",
        "f.yaml:1:4: b: expected a section, found something else behind ${…}; write KEY: VALUE lines below it",
    );
    said("b:", "");
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    let read = |s: &Section| {
        let kafka = s.section("kafka");
        kafka.string("brokers");
        kafka.string("group");
        kafka.string_map("properties");
    };
    let said = |text: &str, error: &str| assert_eq!(run(text, read).1, error, "{text}");
    said("kafka: {broker: a}", "f.yaml:1:9: kafka.broker: unknown key; did you mean brokers?");
    said("kafka: {brokres: a}", "f.yaml:1:9: kafka.brokres: unknown key; did you mean brokers?");
    said("kafka: {Group: a}", "f.yaml:1:9: kafka.Group: unknown key; did you mean group?");
    said(
        "kafka: {zookeeper: a}",
        "f.yaml:1:9: kafka.zookeeper: unknown key; remove it; known here: brokers, group, properties",
    );
    said("Kafka: {x: a}", "f.yaml:1:1: Kafka: unknown key; did you mean kafka?");
    said("kafka: {properties: {any.thing: 1}}", "");
    said("kafka: {\"bro\\nkers\": a}", "f.yaml:1:9: kafka.bro\\nkers: unknown key; did you mean brokers?");
    let nothing = run("a: {b: 1}", |s| {
        s.section("a");
    });
    assert_eq!(nothing.1, "f.yaml:1:5: a.b: unknown key; remove it: nothing belongs here");
}

#[test]
fn a_section_that_two_places_share_knows_the_keys_of_both() {
    let text = "a: &x {p: 1, q: 2, r: 3}\nb: *x\n";
    let (_, errors) = run(text, |s| {
        s.section("a").integer("p", 0..=9);
        s.section("b").integer("q", 0..=9);
    });
    assert_eq!(errors, "f.yaml:1:20: a.r: unknown key; did you mean p?");
}

#[test]
fn what_is_missing_is_named_at_its_section() {
    let (found, errors) = run("x: 1\nkafka:\n  group: g\n  brokers:\n", |s| {
        s.has("x");
        let kafka = s.section("kafka");
        (kafka.required("brokers"), kafka.required("group"), s.required("topics"))
    });
    assert_eq!(found, (false, true, false));
    assert_eq!(
        errors,
        "f.yaml:1:1: topics is missing; add topics: VALUE\n\
         f.yaml:4:3: kafka.brokers is missing; add brokers: VALUE"
    );
}

#[test]
fn the_callers_own_errors_point_at_the_value() {
    let (_, errors) = run("o:\n  lease: 15s\n  wait: 10s\n", |s| {
        let o = s.section("o");
        if o.duration("wait") < o.duration("lease") {
            o.error("wait", "is shorter than the lease", "make it 3s longer than lease");
        }
        o.error("rewind", "is needed here", "add it");
        assert_eq!(o.path(), "o");
        assert_eq!(o.position(), Position { line: 2, column: 3 });
    });
    assert_eq!(
        errors,
        "f.yaml:2:3: o.rewind: is needed here; add it\n\
         f.yaml:3:9: o.wait: is shorter than the lease; make it 3s longer than lease"
    );
    // A property of a free map has its place, too.
    let (_, errors) = run("p:\n  acks: 1\n", |s| {
        s.string_map("p");
        s.section("p").error("acks", "is owned by the protocol", "remove it");
    });
    assert_eq!(errors, "f.yaml:2:9: p.acks: is owned by the protocol; remove it");
}

#[test]
fn a_parser_of_the_callers_own_says_why() {
    let even = |text: &str| match text.parse::<u32>() {
        Ok(n) if n % 2 == 0 => Ok(n),
        Ok(n) => Err(format!("{n} is odd")),
        Err(error) => Err(error.to_string()),
    };
    let a = |s: &Section| s.parsed("a", "an even number", "write 2, 4, …", even);
    ok("a: 4", a, Some(4));
    no("a: 3", a, "f.yaml:1:4: a: expected an even number, found 3 (3 is odd); write 2, 4, …");
    no(
        "a: ${file:/run/secret}",
        a,
        "f.yaml:1:4: a: expected an even number, found something else behind ${…}; write 2, 4, …",
    );
}

#[test]
fn what_is_no_configuration_is_refused() {
    let read = |s: &Section| {
        s.string("a");
        s.section("b");
    };
    let said = |text: &str, error: &str| {
        let (_, errors) = run(text, read);
        assert!(errors.starts_with(error), "{text:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{text:?}: {errors}");
    };
    said("a: 1\na: 2\n", "f.yaml:2:1: a stands here a second time; keep one of the two");
    said("b: {}\nb: {x: 1}\n", "f.yaml:2:1: b stands here a second time; keep one of the two");
    said("- a\n", "f.yaml:1:1: the file holds no keys; write KEY: VALUE lines");
    said("just text\n", "f.yaml:1:1: the file holds no keys; ");
    said("a: [1\n", "f.yaml:2:1: not YAML: ");
    said("a: 'x\n", "f.yaml:");
    said("a: 1\n b: 2\n", "f.yaml:2:");
    said("a: *none\n", "f.yaml:1:4: not YAML: ");
    said("a: &x [*x]\n", "f.yaml:1:8: an alias of something that contains it; ");
    said("a: 1\n---\na: 2\n", "f.yaml:2:1: a second document; ");
    said("[a]: 1\n", "f.yaml:1:1: a key that is no plain word; ");
    said("a: ${NONE}\n", "f.yaml:1:4: the environment has no variable NONE; set it, or ");
    said("a: ${file:/none}\n", "f.yaml:1:4: ${file:/none} cannot be read: ");
    said("a: x${\n", "f.yaml:1:4: ${ without its closing brace; ");
    said(&format!("a: {}1{}\n", "[".repeat(70), "]".repeat(70)), "f.yaml:1:");
}

#[test]
fn a_failed_expansion_is_reported_once_whatever_the_getter() {
    let text = "a: ${NONE}\n";
    let said = "f.yaml:1:4: the environment has no variable NONE; set it, or write ${NONE:-default}";
    no(text, |s| s.string("a"), said);
    no(text, |s| s.bool("a"), said);
    no(text, |s| s.integer("a", 0..=1), said);
    no(text, |s| s.bytes("a"), said);
    no(text, |s| s.duration("a"), said);
    no(text, policy, said);
    let list = run("a: [x, \"${NONE}\"]\n", |s| s.string_list("a"));
    assert_eq!(list.0.unwrap(), ["x"]);
    assert!(list.1.starts_with("f.yaml:1:8: the environment has no variable NONE"), "{}", list.1);
}

#[test]
fn every_error_comes_out_sorted_by_line() {
    let text = "kafka:\n  brokers: [x]\n  grup: a\nweb:\n  port: ${SECRET}\n  listen: ${NONE}\nwib: 1\n";
    let (_, errors) = run(text, |s| {
        s.section("web").integer("port", 1..=65535);
        s.section("web").string("listen");
        let kafka = s.section("kafka");
        kafka.string("group");
        kafka.string("brokers");
    });
    assert_eq!(
        errors,
        "f.yaml:2:12: kafka.brokers: expected text, found a list; write text\n\
         f.yaml:3:3: kafka.grup: unknown key; did you mean group?\n\
         f.yaml:5:9: web.port: expected a whole number from 1 to 65535, \
         found something else behind ${…}; write digits, without quotes and unit\n\
         f.yaml:6:11: the environment has no variable NONE; set it, or write ${NONE:-default}\n\
         f.yaml:7:1: wib: unknown key; did you mean web?"
    );
}
