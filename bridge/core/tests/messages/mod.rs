//! `io.prometheus.client` as prost reads it, and what Prometheus makes of it.
use std::collections::BTreeMap;
use std::fmt::Write;

use k2p_core::labels::{escape_value, is_legacy_metric_name};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    pub(crate) metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    unit: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Value>,
    #[prost(int64, optional, tag = "6")]
    timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<Exemplar>,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
    #[prost(message, optional, tag = "4")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantile {
    #[prost(double, tag = "1")]
    rank: f64,
    #[prost(double, tag = "2")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(double, tag = "4")]
    count_float: f64,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(double, tag = "8")]
    zero_count_float: f64,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "10")]
    negative_delta: Vec<i64>,
    #[prost(double, repeated, tag = "11")]
    negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(double, repeated, tag = "14")]
    positive_count: Vec<f64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
    #[prost(double, tag = "4")]
    count_float: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Labels with `__name__`, value, timestamp.
pub(crate) type Series = (BTreeMap<String, String>, String, Option<i64>);

/// The families of a delimited body.
pub(crate) fn decode(mut bytes: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

impl MetricFamily {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn kind(&self) -> &'static str {
        ["counter", "gauge", "summary", "untyped", "histogram", "gaugehistogram"][self.kind as usize]
    }
}

/// One spelling for each number.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value == f64::INFINITY => "+Inf".to_owned(),
        value if value == f64::NEG_INFINITY => "-Inf".to_owned(),
        value if value != 0.0 && (value.abs() < 1e-9 || value.abs() > 1e15) => format!("{value:e}"),
        value => format!("{value}"),
    }
}

/// Every series, as a reader like Prometheus' makes them.
pub(crate) fn series(families: &[MetricFamily]) -> Vec<Series> {
    let mut all = expand(families);
    all.sort();
    all
}

fn expand(families: &[MetricFamily]) -> Vec<Series> {
    let mut all = Vec::new();
    for (family, metric) in families.iter().flat_map(|f| f.metric.iter().map(move |m| (f, m))) {
        let mut push = |suffix: &str, own: Option<(&str, f64)>, value: f64| {
            let mut labels = BTreeMap::from([("__name__".to_owned(), format!("{}{suffix}", family.name))]);
            // A label without a value is none.
            for pair in metric.label.iter().filter(|pair| !pair.value.is_empty()) {
                assert!(labels.insert(pair.name.clone(), pair.value.clone()).is_none(), "{metric:?}");
            }
            if let Some((name, bound)) = own {
                assert!(labels.insert(name.to_owned(), number(bound)).is_none(), "{metric:?}");
            }
            all.push((labels, number(value), metric.timestamp_ms));
        };
        match family.kind() {
            "counter" => push("", None, metric.counter.as_ref().unwrap().value),
            "gauge" => push("", None, metric.gauge.as_ref().unwrap().value),
            "untyped" => push("", None, metric.untyped.as_ref().unwrap().value),
            "summary" => {
                let summary = metric.summary.as_ref().unwrap();
                summary.quantile.iter().for_each(|q| push("", Some(("quantile", q.rank)), q.value));
                push("_sum", None, summary.sum);
                push("_count", None, summary.count as f64);
            }
            _ => {
                let histogram = metric.histogram.as_ref().unwrap();
                histogram.bucket.iter().for_each(|b| push("_bucket", Some(("le", b.bound)), b.count as f64));
                if histogram.bucket.last().is_none_or(|b| b.bound != f64::INFINITY) {
                    push("_bucket", Some(("le", f64::INFINITY)), histogram.count as f64);
                }
                push("_sum", None, histogram.sum);
                push("_count", None, histogram.count as f64);
            }
        }
    }
    all
}

/// The same families as a text dump, without what text has no place for.
pub(crate) fn to_text(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        assert!(is_legacy_metric_name(&family.name));
        if let Some(help) = &family.help {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(text, "# HELP {} {help}", family.name).unwrap();
        }
        writeln!(text, "# TYPE {} {}", family.name, family.kind()).unwrap();
        for metric in &family.metric {
            let one = MetricFamily { metric: vec![metric.clone()], ..family.clone() };
            for (mut labels, value, timestamp) in expand(&[one]) {
                let name = labels.remove("__name__").unwrap();
                let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escape_value(v))).collect();
                let timestamp = timestamp.map_or_else(String::new, |t| format!(" {t}"));
                writeln!(text, "{name}{{{}}} {value}{timestamp}", labels.join(",")).unwrap();
            }
        }
    }
    text
}

/// Families for a person's eyes, by name; labels sorted.
pub(crate) fn told(families: &[MetricFamily]) -> String {
    let mut families: Vec<_> = families.to_vec();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = String::new();
    for family in &families {
        let help = family.help.as_ref().map_or_else(String::new, |h| format!(" help={h}"));
        let unit = family.unit.as_ref().map_or_else(String::new, |u| format!(" unit={u}"));
        writeln!(out, "{} {}{unit}{help}", family.name, family.kind()).unwrap();
        let mut lines: Vec<String> = family.metric.iter().map(tell).collect();
        lines.sort();
        lines.iter().for_each(|line| writeln!(out, " {line}").unwrap());
    }
    out
}

fn tell(metric: &Metric) -> String {
    let mut out = labels(&metric.label);
    if let Some(value) = metric.gauge.as_ref().or(metric.untyped.as_ref()) {
        write!(out, " {}", number(value.value)).unwrap();
    }
    if let Some(counter) = &metric.counter {
        write!(out, " {}{}", number(counter.value), created(&counter.created)).unwrap();
        counter.exemplar.iter().for_each(|e| write!(out, " {}", exemplar(e)).unwrap());
    }
    if let Some(summary) = &metric.summary {
        write!(out, " {}/{}", summary.count, number(summary.sum)).unwrap();
        summary.quantile.iter().for_each(|q| write!(out, " {}:{}", number(q.rank), number(q.value)).unwrap());
        out.push_str(&created(&summary.created));
    }
    if let Some(histogram) = &metric.histogram {
        write!(out, " {}/{}", histogram.count as f64 + histogram.count_float, number(histogram.sum)).unwrap();
        for bucket in &histogram.bucket {
            write!(out, " {}:{}", number(bucket.bound), bucket.count as f64 + bucket.count_float).unwrap();
            bucket.exemplar.iter().for_each(|e| out.push_str(&exemplar(e)));
        }
        out.push_str(&created(&histogram.created));
        out.push_str(&native(histogram));
    }
    if let Some(ms) = metric.timestamp_ms {
        write!(out, " @{ms}").unwrap();
    }
    out
}

fn labels(pairs: &[LabelPair]) -> String {
    let mut pairs: Vec<_> = pairs.iter().map(|p| format!("{}={}", p.name, p.value)).collect();
    pairs.sort();
    format!("{{{}}}", pairs.join(","))
}

fn seconds(moment: &Timestamp) -> String {
    number(moment.seconds as f64 + f64::from(moment.nanos) / 1e9)
}

fn created(moment: &Option<Timestamp>) -> String {
    moment.as_ref().map_or_else(String::new, |m| format!(" created={}", seconds(m)))
}

fn exemplar(exemplar: &Exemplar) -> String {
    let at = exemplar.timestamp.as_ref().map_or_else(String::new, |m| format!(" @{}", seconds(m)));
    format!("#{} {}{at}", labels(&exemplar.label), number(exemplar.value))
}

fn native(histogram: &Histogram) -> String {
    let Some(schema) = histogram.schema else {
        return String::new();
    };
    let zero = histogram.zero_count as f64 + histogram.zero_count_float;
    let spans = |spans: &[Span]| {
        let spans: Vec<_> = spans.iter().map(|s| format!("{}+{}", s.offset, s.length)).collect();
        spans.join(",")
    };
    let (negative, positive) = (spans(&histogram.negative_span), spans(&histogram.positive_span));
    let mut out = format!(" schema={schema} zero={}:{zero} {negative} {positive}", number(histogram.zero_threshold));
    write!(out, " {:?} {:?}", histogram.negative_delta, histogram.positive_delta).unwrap();
    if !histogram.positive_count.is_empty() || !histogram.negative_count.is_empty() {
        write!(out, " {:?} {:?}", histogram.negative_count, histogram.positive_count).unwrap();
    }
    out
}
