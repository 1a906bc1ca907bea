//! The metrics of a partition: values, caps under attack, snapshots, changed templates.
#![allow(clippy::unwrap_used, reason = "tests")]
use k2p_core::model::{Family, Sample};
use k2p_pipelines::event::Subject;
use k2p_pipelines::fact::{Fact, FactKind, Scalar};
use k2p_pipelines::series::{Changes, Loss, Series, SeriesLimits, SnapshotError};
use k2p_pipelines::template::TemplateSet;
use proptest::prelude::*;

const TEMPLATES: &str = "metrics:
  - name: things_total
    type: counter
    help: Things.
    max_series: 5
    match: {kind: log}
    labels:
      - {name: step, field: step}
      - {name: level, field: level, values: {INFO: info}, rest: worse}
    value: {field: things}
  - {name: size_bytes, type: gauge, help: Size., match: {kind: log}, value: {field: mib, from: mebibytes}, absent: remove}
  - {name: last_timestamp_seconds, type: last_timestamp, help: Last., match: {kind: log}, value: {field: at}}
  - {name: took_seconds, type: histogram, help: Took., match: {kind: log}, value: {field: end, minus: start}, buckets: [1, 2.5]}
  - name: native_seconds
    type: native_histogram
    help: Native.
    max_series: 3
    match: {kind: log}
    labels: [{name: step, field: step}]
    value: {field: ms, from: milliseconds}
    buckets: [1]
  - {name: job_things_total, type: counter, help: Of jobs., match: {kind: job}}
";

fn templates(text: &str) -> TemplateSet {
    TemplateSet::load(&[("t.yaml".to_owned(), text.to_owned())]).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[derive(Debug, Clone)]
struct Given {
    kind: FactKind,
    subject: Subject,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Number(f64),
}

impl Fact for Given {
    fn kind(&self) -> FactKind {
        self.kind
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn field(&self, path: &str) -> Option<Scalar<'_>> {
        let found = self.fields.iter().find(|(name, _)| *name == path)?;
        Some(match &found.1 {
            Value::Text(text) => Scalar::Text(text),
            Value::Number(number) => Scalar::Number(*number),
        })
    }
}

fn pipeline(name: &str) -> Subject {
    Subject::Pipeline(name.into())
}

fn log(subject: &str, texts: &[(&'static str, &str)], numbers: &[(&'static str, f64)]) -> Given {
    let texts = texts.iter().map(|(name, text)| (*name, Value::Text((*text).to_owned())));
    let numbers = numbers.iter().map(|(name, number)| (*name, Value::Number(*number)));
    Given { kind: FactKind::Log, subject: pipeline(subject), fields: texts.chain(numbers).collect() }
}

fn series(subjects: usize) -> Series {
    Series::new(SeriesLimits { subjects, partition: 3 })
}

fn lines(families: &[Family<'_>]) -> Vec<String> {
    let samples = families.iter().flat_map(|family| &family.samples);
    let told = |sample: &Sample<'_>| {
        let native = sample.exemplar.map_or_else(String::new, |native| format!(" # {native}"));
        format!("{}{{{}}} {}{native}", sample.name, sample.labels, sample.value)
    };
    samples.map(told).collect()
}

fn shown(series: &Series, subject: &Subject) -> Vec<String> {
    lines(&series.render(subject).families())
}

fn losses(changes: &Changes) -> Vec<(Loss, u32)> {
    changes.losses().collect()
}

/// What is worked out for one fact must not be taken for another.
#[test]
fn facts_that_look_alike_are_told_apart() {
    let templates = templates(
        "metrics:
  - {name: first_total, type: counter, help: A., match: {kind: log}, labels: [{name: step, field: step, take: last_segment, default: none}]}
  - {name: second_total, type: counter, help: B., match: {kind: log, where: [{field: error, present: true}]}}
",
    );
    let mut series = series(10);
    for texts in [
        &[("step", "a.b")][..],
        &[("step", "c/b")],
        &[("step", "...")],
        &[("step", "")],
        &[],
        &[("error", "")],
        &[("step", "b"), ("error", "x")],
        &[("error", "b")],
    ] {
        series.apply(&templates, &log("p", texts, &[]));
    }
    series.apply(&templates, &log("p", &[], &[("step", 3.0)]));
    series.apply(&templates, &log("p", &[("step", "3")], &[]));
    let expected = [
        "first_total{} 1",
        "first_total{step=\"3\"} 2",
        "first_total{step=\"b\"} 3",
        "first_total{step=\"none\"} 4",
        "second_total{} 3",
    ];
    assert_eq!(shown(&series, &pipeline("p")), expected);
}

/// More sorts of facts than are remembered, and texts too long to be: nothing is lost.
#[test]
fn any_number_of_sorts_of_facts_is_counted() {
    let templates = templates(
        "metrics:
  - {name: first_total, type: counter, help: A., match: {kind: log}, labels: [{name: step, field: step, values: {x: y}, rest: z}]}
",
    );
    let mut series = series(10);
    let mut sent = 0;
    for _ in 0..2 {
        for n in 0..20_000 {
            series.apply(&templates, &log("p", &[("step", &format!("step_{n}"))], &[]));
            sent += 1;
        }
        series.apply(&templates, &log("p", &[("step", &"x".repeat(70_000))], &[]));
        series.apply(&templates, &log("p", &[("step", &"x".repeat(1_000))], &[]));
        series.apply(&templates, &log("p", &[("step", "x")], &[]));
        sent += 2;
    }
    let expected = ["first_total{step=\"y\"} 2".to_owned(), format!("first_total{{step=\"z\"}} {sent}")];
    assert_eq!(shown(&series, &pipeline("p")), expected);
}

#[test]
fn facts_have_their_effect_by_type() {
    let templates = templates(TEMPLATES);
    let mut series = series(10);
    let mut apply = |texts: &[(&'static str, &str)], numbers: &[(&'static str, f64)]| {
        losses(&series.apply(&templates, &log("p", texts, numbers)))
    };
    assert_eq!(apply(&[("step", "a"), ("level", "INFO")], &[("things", 2.0), ("mib", 1.0), ("at", 50.0)]), []);
    assert_eq!(apply(&[("step", "a"), ("level", "INFO")], &[("things", 0.5), ("mib", 2.0), ("at", 40.0)]), []);
    assert_eq!(apply(&[("level", "ERROR")], &[("things", 1.0), ("mib", 3.0), ("start", 1.0), ("end", 3.5)]), []);
    assert_eq!(apply(&[("step", "q\"\\\n")], &[("mib", -1.0), ("ms", 1500.0)]), []);
    assert_eq!(apply(&[], &[("things", -1.0), ("mib", 4.0), ("start", 5.0), ("end", 1.0)]), [(Loss::Value, 2)]);
    assert_eq!(apply(&[("things", "3")], &[("mib", f64::INFINITY)]), [(Loss::Value, 1)]);
    assert_eq!(apply(&[("things", "many")], &[("mib", 5.0)]), [(Loss::Value, 1)]);
    assert_eq!(
        shown(&series, &pipeline("p")),
        [
            "last_timestamp_seconds{} 50",
            "native_seconds_bucket{step=\"q\\\"\\\\\\n\",le=\"1.0\"} 0",
            "native_seconds_bucket{step=\"q\\\"\\\\\\n\",le=\"+Inf\"} 1",
            "native_seconds_sum{step=\"q\\\"\\\\\\n\"} 1.5",
            "native_seconds_count{step=\"q\\\"\\\\\\n\"} 1 # {schema:3,zero_threshold:2.938735877055719e-39,positive_spans:[5:1],positive_deltas:[1]}",
            "size_bytes{} 5242880",
            "things_total{} 3",
            "things_total{level=\"info\",step=\"a\"} 2.5",
            "things_total{level=\"worse\"} 1",
            "took_seconds_bucket{le=\"1.0\"} 0",
            "took_seconds_bucket{le=\"2.5\"} 1",
            "took_seconds_bucket{le=\"+Inf\"} 1",
            "took_seconds_sum{} 2.5",
            "took_seconds_count{} 1",
        ]
    );
    series.apply(&templates, &log("p", &[], &[]));
    assert!(!shown(&series, &pipeline("p")).iter().any(|line| line.starts_with("size_bytes")));
}

#[test]
fn only_what_changed_is_dirty() {
    let templates = templates(TEMPLATES);
    let mut series = series(10);
    let mut dirty = |fact: &Given| {
        series.apply(&templates, fact);
        series.dirty()
    };
    assert_eq!(dirty(&log("p", &[], &[("mib", 1.0)])), [pipeline("p")]);
    assert_eq!(dirty(&log("p", &[], &[("mib", 1.0)])), []);
    assert_eq!(dirty(&log("p", &[], &[("mib", 2.0)])), [pipeline("p")]);
    assert_eq!(dirty(&log("q", &[], &[])), []);
    assert_eq!(dirty(&log("q", &[], &[("at", 2.0)])), [pipeline("q")]);
    assert_eq!(dirty(&log("q", &[], &[("at", 1.0)])), []);
    assert_eq!(dirty(&log("p", &[], &[])), [pipeline("p")]);
}

/// A million distinct values, each in the shape of a name that nothing else refuses.
fn name(n: u32) -> String {
    let letter = |n: u32| char::from(b'g' + (n % 20) as u8);
    (0..5).map(|place| letter(n / 20u32.pow(place))).collect()
}

#[test]
fn a_million_values_of_a_label_are_a_few_series() {
    let templates = templates(TEMPLATES);
    let mut series = series(10);
    series.apply(&templates, &log("good", &[("step", "a")], &[("things", 1.0)]));
    let before = shown(&series, &pipeline("good"));
    let mut capped = 0;
    for n in 0..1_000_000 {
        let fact = log("bad", &[("step", &name(n))], &[("things", 1.0), ("ms", 1.0)]);
        capped += series.apply(&templates, &fact).count(Loss::SeriesCap);
    }
    // 5 of things_total and 3 of native_seconds have a name of their own.
    assert_eq!(capped, 2_000_000 - 5 - 3);
    let shown_bad = shown(&series, &pipeline("bad"));
    let things: Vec<&String> = shown_bad.iter().filter(|line| line.starts_with("things_total")).collect();
    assert_eq!(things.len(), 6);
    assert!(things.iter().any(|line| **line == "things_total{level=\"other\",step=\"other\"} 999995"), "{things:?}");
    assert_eq!(series.len(), 1 + 6 + 4);
    assert_eq!(shown(&series, &pipeline("good")), before);
}

#[test]
fn a_million_subjects_are_a_few() {
    let templates = templates(TEMPLATES);
    let mut series = series(100);
    let mut capped = 0;
    for n in 0..1_000_000 {
        capped += series.apply(&templates, &log(&name(n), &[], &[("things", 1.0)])).count(Loss::SubjectCap);
    }
    assert_eq!((capped, series.subjects().len()), (1_000_000 - 100, 101));
    assert_eq!(shown(&series, &pipeline("other/3")), ["things_total{} 999900"]);
    assert_eq!(shown(&series, &pipeline(&name(99))), ["things_total{} 1"]);
}

#[test]
fn a_million_identifiers_are_one_series() {
    let templates = templates(TEMPLATES);
    let shapes: [fn(u32) -> String; 7] = [
        |n| format!("{n:08x}-e89b-12d3-a456-426614174000"),
        |n| format!("task-{:016x}", u64::from(n) * 0x1_0001_0001),
        |n| format!("run {}", 10_000_000 + n),
        |n| format!("/data/{}", name(n)),
        |n| format!("dt={}", name(n)),
        |n| format!("0{n:06}ZRRFFQ69G5FAVWXYQ1"),
        |n| format!("{}{}", name(n), "z".repeat(130)),
    ];
    for shape in shapes {
        let mut series = series(10);
        let mut hidden = 0;
        for n in 0..20_000 {
            let changes = series.apply(&templates, &log("p", &[("step", &shape(n))], &[("things", 1.0)]));
            hidden += losses(&changes).iter().map(|(_, count)| count).sum::<u32>();
        }
        assert_eq!(shown(&series, &pipeline("p")), ["things_total{step=\"other\"} 20000"], "{}", shape(7));
        assert_eq!(hidden, 20_000, "{}", shape(7));
    }
}

#[test]
fn no_subject_can_pose_as_the_shared_one_nor_be_a_run() {
    let templates = templates(TEMPLATES);
    let mut series = series(10);
    let changes = series.apply(&templates, &log("other/9", &[], &[("things", 1.0)]));
    assert_eq!(losses(&changes), [(Loss::SubjectCap, 1)]);
    let mut job = |id: &str| {
        let subject = Subject::Job(id.into());
        losses(&series.apply(&templates, &Given { kind: FactKind::Job, subject, fields: vec![] }))
    };
    assert_eq!(job("123e4567-e89b-12d3-a456-426614174000"), [(Loss::Uuid, 1)]);
    assert_eq!(job("//sales:ingest"), []);
    let subjects: Vec<String> = series.subjects().map(|s| format!("{}={}", s.label(), s.value())).collect();
    assert_eq!(subjects, ["pipeline_id=other/3", "job_label=other/3", "job_label=//sales:ingest"]);
}

#[test]
fn changed_templates_keep_what_means_the_same() {
    let mut series = series(10);
    let fact = log("p", &[("step", "a")], &[("things", 1.0), ("mib", 1.0), ("at", 7.0), ("start", 1.0), ("end", 2.0)]);
    series.apply(&templates(TEMPLATES), &fact);
    series.dirty();
    let changed = TEMPLATES
        .replace("help: Things.", "help: All things.")
        .replace("max_series: 5", "max_series: 50")
        .replace("buckets: [1, 2.5]", "buckets: [1, 5]")
        .replace("last_timestamp_seconds", "newest_timestamp_seconds");
    let changes = series.apply(&templates(&changed), &log("q", &[], &[]));
    assert_eq!(changes.dropped_series, 2);
    assert_eq!(shown(&series, &pipeline("p")), ["size_bytes{} 1048576", "things_total{step=\"a\"} 1"]);
    assert_eq!(series.dirty(), [pipeline("p")]);
    assert_eq!(series.render(&pipeline("p")).families()[1].help.as_deref(), Some("All things."));
    let none = TemplateSet::load(&[]).unwrap();
    assert_eq!((series.adopt(&none), series.len()), (2, 0));
}

/// A fact with a few values that clash, overflow and are refused.
fn fact() -> impl Strategy<Value = Given> {
    let subjects = prop::sample::select(vec!["p", "q", "r", "s", "other/1", "ä\"b"]);
    let steps = prop::option::of(prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "dt=1", "x\\y", ""]));
    let numbers = prop::collection::vec(
        (prop::sample::select(vec!["things", "mib", "at", "start", "end", "ms"]), prop_oneof![-2.0..1e6, Just(0.0)]),
        0..5,
    );
    (subjects, steps, numbers, any::<bool>()).prop_map(|(subject, step, numbers, job)| {
        let texts: Vec<(&'static str, &str)> = step.map(|step| ("step", step)).into_iter().collect();
        let mut fact = log(subject, &texts, &numbers);
        if job {
            fact.kind = FactKind::Job;
            fact.subject = Subject::Job(subject.into());
        }
        fact
    })
}

proptest! {
    #[test]
    fn a_snapshot_is_the_series(facts in prop::collection::vec(fact(), 0..60), cut in any::<prop::sample::Index>()) {
        let templates = templates(TEMPLATES);
        let limits = SeriesLimits { subjects: 3, partition: 3 };
        let mut whole = Series::new(limits.clone());
        let cut = cut.index(facts.len() + 1);
        for fact in &facts[..cut] {
            whole.apply(&templates, fact);
        }
        let bytes = whole.encode();
        let mut restored = Series::decode(&bytes, &templates, limits).unwrap();
        prop_assert_eq!(restored.encode(), bytes);
        for fact in &facts[cut..] {
            prop_assert_eq!(losses(&whole.apply(&templates, fact)), losses(&restored.apply(&templates, fact)));
        }
        prop_assert_eq!(whole.encode(), restored.encode());
        for subject in whole.subjects() {
            prop_assert_eq!(shown(&whole, subject), shown(&restored, subject));
        }
        // The most that the caps allow: 3 subjects and 2 shared ones, each with 6 + 1 + 1 + 1 + 4 + 1.
        prop_assert!(whole.len() <= 5 * 14);
    }

    #[test]
    fn counters_never_go_down(facts in prop::collection::vec(fact(), 0..60)) {
        let templates = templates(TEMPLATES);
        let mut series = Series::new(SeriesLimits { subjects: 3, partition: 3 });
        let mut last: std::collections::HashMap<String, f64> = std::collections::HashMap::new();
        for fact in &facts {
            series.apply(&templates, fact);
            for subject in series.subjects() {
                for line in shown(&series, subject).iter().filter(|line| !line.starts_with("size_bytes")) {
                    let line = line.rsplit_once(" # {schema:").map_or(line.as_str(), |(line, _)| line);
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    let value: f64 = value.parse().unwrap();
                    let before = last.insert(format!("{subject:?}{name}"), value).unwrap_or(0.0);
                    prop_assert!(value >= before, "{line} after {before}");
                }
            }
        }
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read_never_more(facts in prop::collection::vec(fact(), 1..20), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let templates = templates(TEMPLATES);
        let limits = SeriesLimits { subjects: 3, partition: 3 };
        let mut series = Series::new(limits.clone());
        for fact in &facts {
            series.apply(&templates, fact);
        }
        let mut bytes = series.encode();
        let at = at.index(bytes.len());
        prop_assert!(Series::decode(&bytes[..at], &templates, limits.clone()).is_err());
        bytes[at] ^= byte | 1;
        if let Ok(read) = Series::decode(&bytes, &templates, limits) {
            for subject in read.subjects() {
                shown(&read, subject);
            }
        }
    }
}

#[test]
fn a_snapshot_of_other_templates_names_them() {
    let limits = SeriesLimits { subjects: 3, partition: 3 };
    let old = templates(TEMPLATES);
    let mut series = Series::new(limits.clone());
    series.apply(&old, &log("p", &[], &[("at", 1.0)]));
    let bytes = series.encode();
    assert_eq!(Series::templates_of(&bytes), Ok(old.hash()));
    let new = templates(&TEMPLATES.replace("Last.", "Newest."));
    let error = Series::decode(&bytes, &new, limits.clone()).unwrap_err();
    assert_eq!(error, SnapshotError::Templates(old.hash().to_owned()));
    assert_eq!(Series::decode(&[9], &new, limits.clone()).unwrap_err(), SnapshotError::Version(9));
    assert_eq!(Series::decode(&[], &new, limits.clone()).unwrap_err(), SnapshotError::Broken);
    let empty = Series::new(limits.clone()).encode();
    assert!(Series::decode(&empty, &new, limits).unwrap().is_empty());
}
