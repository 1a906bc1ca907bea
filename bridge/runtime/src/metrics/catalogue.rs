//! All metric definitions of the process, for the documentation and its tests.
use std::collections::BTreeSet;

use prometheus::Registry;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use serde_json::{Value, json};

use super::{Kind, MetricDef};

/// The metric definitions of all parts.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(pub Vec<&'static [MetricDef]>);

/// Units that are no base units, as a word of a name, and what to use instead.
const FOREIGN_UNITS: [(&str, &str); 14] = [
    ("milliseconds", "seconds"),
    ("millis", "seconds"),
    ("ms", "seconds"),
    ("microseconds", "seconds"),
    ("nanoseconds", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("bits", "bytes"),
    ("kb", "bytes"),
    ("kilobytes", "bytes"),
    ("mb", "bytes"),
    ("megabytes", "bytes"),
    ("percent", "ratio"),
];

/// Endings that the exposition formats give a meaning.
const RESERVED_ENDINGS: [&str; 5] = ["_count", "_sum", "_bucket", "_info", "_created"];

impl Catalogue {
    /// All definitions, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &'static MetricDef> + '_ {
        self.0.iter().flat_map(|part| part.iter())
    }

    /// A Markdown table, sorted by name.
    pub fn render_markdown(&self) -> String {
        let mut defs: Vec<&MetricDef> = self.iter().collect();
        defs.sort_by_key(|def| def.name);
        let mut text = String::from("| name | type | labels | meaning |\n|---|---|---|---|\n");
        for def in defs {
            let labels: Vec<String> = def.labels.iter().map(|l| format!("`{l}`")).collect();
            text.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                def.name,
                def.kind.as_str(),
                labels.join(" "),
                def.help.replace('|', "\\|"),
            ));
        }
        text
    }

    /// A JSON list of `{name, type, help, labels}`, sorted by name.
    pub fn to_json(&self) -> Value {
        let mut defs: Vec<&MetricDef> = self.iter().collect();
        defs.sort_by_key(|def| def.name);
        let entry = |def: &MetricDef| {
            json!({
                "name": def.name,
                "type": def.kind.as_str(),
                "help": def.help,
                "labels": def.labels,
            })
        };
        Value::Array(defs.into_iter().map(entry).collect())
    }

    /// What `promtool check metrics` and the house's manner would complain about.
    pub fn lint(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        let mut problems = Vec::new();
        for def in self.iter() {
            if !names.insert(def.name) {
                problems.push(format!("{}: defined twice", def.name));
            }
            problems.extend(lint_def(def).into_iter().map(|p| format!("{}: {p}", def.name)));
        }
        problems
    }

    /// Compares with a registry in both directions: what is defined and not registered,
    /// and what shows values without being defined, or with another type, help or other
    /// labels. (A registry does not tell about a metric that has no value yet more than
    /// that its name is taken.)
    pub fn check(&self, registry: &Registry) -> Vec<String> {
        let mut problems = Vec::new();
        for def in self.iter().filter(|def| def.registered) {
            problems.extend(check_def(def, registry).map(|p| format!("{}: {p}", def.name)));
        }
        for family in registry.gather() {
            let problem = match self.iter().find(|def| def.name == family.name()) {
                None => Some("registered, but in no catalogue"),
                Some(def) => differs(def, &family),
            };
            problems.extend(problem.map(|p| format!("{}: {p}", family.name())));
        }
        problems
    }
}

fn check_def(def: &MetricDef, registry: &Registry) -> Option<String> {
    let (first, second) = match (def.probe(), def.probe()) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => return Some(format!("invalid: {error}")),
    };
    // A registry has no list of its names, but it refuses one that it has.
    match registry.register(first) {
        Err(prometheus::Error::AlreadyReg) => None,
        Err(error) => Some(format!("cannot be registered: {error}")),
        Ok(()) => {
            drop(registry.unregister(second));
            Some("in the catalogue, but not registered".to_owned())
        }
    }
}

fn differs(def: &MetricDef, family: &MetricFamily) -> Option<&'static str> {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::HISTOGRAM => Kind::Histogram,
        _ => Kind::Gauge,
    };
    if kind != def.kind {
        return Some("registered as another type");
    }
    if family.help() != def.help {
        return Some("registered with another help");
    }
    let defined: BTreeSet<&str> = def.labels.iter().copied().collect();
    let same = |metric: &Metric| metric.get_label().iter().map(LabelPair::name).collect::<BTreeSet<&str>>() == defined;
    (!family.get_metric().iter().all(same)).then_some("registered with other labels")
}

fn lint_def(def: &MetricDef) -> Vec<String> {
    let mut problems = Vec::new();
    let mut complain = |text: &str| problems.push(text.to_owned());
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if def.name.is_empty() || !def.name.chars().all(word) {
        complain("a name has lower case letters, digits and underscores");
    }
    if def.help.trim().is_empty() || def.help.contains('\n') {
        complain("help is one line of text");
    }
    if (def.kind == Kind::Counter) != def.name.ends_with("_total") {
        complain("counters, and only counters, end in _total");
    }
    let info = def.kind == Kind::Gauge && def.name.ends_with("_info");
    if !info && RESERVED_ENDINGS.iter().any(|ending| def.name.ends_with(ending)) {
        complain("the ending is reserved by the exposition formats");
    }
    for (unit, base) in FOREIGN_UNITS {
        if def.name.split('_').any(|part| part == unit) {
            problems.push(format!("unit {unit}: use {base}"));
        }
    }
    for kind in ["counter", "gauge", "histogram"] {
        if def.name.split('_').any(|part| part == kind) {
            problems.push(format!("the name contains the type {kind}"));
        }
    }
    problems.extend(lint_labels(def));
    problems.extend(lint_buckets(def));
    problems
}

fn lint_labels(def: &MetricDef) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for label in def.labels {
        let legal = label.starts_with(|c: char| c.is_ascii_lowercase())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !legal || matches!(*label, "le" | "quantile") {
            problems.push(format!("label {label} is not allowed"));
        }
        if !seen.insert(label) {
            problems.push(format!("label {label} stands twice"));
        }
    }
    problems
}

fn lint_buckets(def: &MetricDef) -> Vec<String> {
    let ascending = def.buckets.windows(2).all(|pair| pair[0] < pair[1]);
    let finite = def.buckets.iter().all(|bound| bound.is_finite());
    if def.kind == Kind::Histogram {
        if def.buckets.is_empty() || !ascending || !finite {
            return vec!["buckets are finite and ascending".to_owned()];
        }
    } else if !def.buckets.is_empty() {
        return vec!["only a histogram has buckets".to_owned()];
    }
    Vec::new()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const A: MetricDef = MetricDef::counter("kafka2prom_a_total", "Counts a | b.", &["x", "y"]);
    const B: MetricDef = MetricDef::gauge("kafka2prom_b_bytes", "Bytes of b.", &[]);
    const C: MetricDef = MetricDef::histogram("kafka2prom_c_seconds", "Time of c.", &["route"], &[0.1, 1.0]);
    const D: MetricDef = MetricDef::gauge("kafka2prom_d", "Free labels.", &[]).outside_registry();
    static DEFS: &[MetricDef] = &[C, A, B, D];

    #[test]
    fn the_documentation_is_sorted_and_escaped() {
        let catalogue = Catalogue(vec![DEFS]);
        assert_eq!(
            catalogue.render_markdown(),
            "| name | type | labels | meaning |\n|---|---|---|---|\n\
             | `kafka2prom_a_total` | counter | `x` `y` | Counts a \\| b. |\n\
             | `kafka2prom_b_bytes` | gauge |  | Bytes of b. |\n\
             | `kafka2prom_c_seconds` | histogram | `route` | Time of c. |\n\
             | `kafka2prom_d` | gauge |  | Free labels. |\n"
        );
        let json = catalogue.to_json();
        assert_eq!(json[0]["name"], "kafka2prom_a_total");
        assert_eq!(json[0]["type"], "counter");
        assert_eq!(json[0]["labels"], json!(["x", "y"]));
        assert_eq!(json.as_array().unwrap().len(), 4);
    }

    #[test]
    fn a_registry_that_holds_all_and_only_the_catalogue_passes() {
        let registry = Registry::new();
        let a = A.int_counter_vec(&registry).unwrap();
        B.int_gauge(&registry).unwrap();
        C.histogram_vec(&registry).unwrap();
        a.with_label_values(&["1", "2"]).inc();
        assert_eq!(Catalogue(vec![DEFS]).check(&registry), Vec::<String>::new());
    }

    #[test]
    fn what_differs_is_named() {
        let registry = Registry::new();
        A.int_counter_vec(&registry).unwrap();
        let other = MetricDef::gauge(B.name, B.help, &["extra"]);
        let other = other.int_gauge_vec(&registry).unwrap();
        other.with_label_values(&["x"]).set(1);
        MetricDef::counter("stray_total", "Stray.", &[]).int_counter(&registry).unwrap();
        let problems = Catalogue(vec![DEFS]).check(&registry);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("kafka2prom_c_seconds: in the catalogue, but not"));
        assert!(problems[1].starts_with("kafka2prom_b_bytes: registered with other labels"));
        assert!(problems[2].starts_with("stray_total: registered, but in no catalogue"));
        // Asking leaves nothing behind.
        C.histogram_vec(&registry).unwrap();
    }

    #[test]
    fn a_definition_is_used_as_what_it_is_and_once() {
        let registry = Registry::new();
        let error = A.int_gauge_vec(&registry).unwrap_err().to_string();
        assert!(error.contains("defined as counter, used as gauge"), "{error}");
        B.int_gauge(&registry).unwrap();
        assert!(B.gauge_f64(&registry).is_err());
        assert!(MetricDef::gauge("no-name", "x", &[]).int_gauge(&registry).is_err());
    }

    #[test]
    fn the_lint_knows_promtools_complaints() {
        let problems = |def: MetricDef| {
            let defs: &'static [MetricDef] = Box::leak(Box::new([def]));
            Catalogue(vec![defs]).lint().join("\n")
        };
        let complains = |def: MetricDef, text: &str| {
            let found = problems(def);
            assert!(found.contains(text), "{}: {found:?}", def.name);
        };
        assert_eq!(Catalogue(vec![DEFS]).lint(), Vec::<String>::new());
        assert_eq!(problems(MetricDef::gauge("k_build_info", "x", &["version"])), "");
        complains(MetricDef::counter("k_a", "x", &[]), "_total");
        complains(MetricDef::gauge("k_a_total", "x", &[]), "_total");
        complains(MetricDef::gauge("k_a", " ", &[]), "help");
        complains(MetricDef::gauge("k_a", "x\ny", &[]), "help");
        complains(MetricDef::gauge("k_A", "x", &[]), "lower case");
        complains(MetricDef::gauge("k:a", "x", &[]), "lower case");
        complains(MetricDef::gauge("k_a_ms", "x", &[]), "use seconds");
        complains(MetricDef::gauge("k_a_milliseconds", "x", &[]), "use seconds");
        complains(MetricDef::gauge("k_kilobytes", "x", &[]), "use bytes");
        complains(MetricDef::gauge("k_used_percent", "x", &[]), "use ratio");
        complains(MetricDef::gauge("k_a_count", "x", &[]), "reserved");
        complains(MetricDef::gauge("k_a_bucket", "x", &[]), "reserved");
        complains(MetricDef::histogram("k_a_info", "x", &[], &[1.0]), "reserved");
        complains(MetricDef::gauge("k_gauge", "x", &[]), "type gauge");
        complains(MetricDef::gauge("k_a", "x", &["le"]), "label le");
        complains(MetricDef::gauge("k_a", "x", &["__a"]), "label __a");
        complains(MetricDef::gauge("k_a", "x", &["a", "a"]), "twice");
        complains(MetricDef::histogram("k_a", "x", &[], &[]), "ascending");
        complains(MetricDef::histogram("k_a", "x", &[], &[2.0, 1.0]), "ascending");
        complains(MetricDef::histogram("k_a", "x", &[], &[1.0, f64::INFINITY]), "finite");
        let twice: &'static [MetricDef] = &[A, A];
        assert!(Catalogue(vec![twice]).lint()[0].contains("defined twice"));
    }
}
