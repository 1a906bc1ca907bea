//! The series of a large installation: 128 partitions, 4 bridges, 2,700 origins, 200 pipelines.
use super::write::{Writer, field};
use crate::contract::{self, Metric, Type};
use crate::support::skip::Missing;
use std::collections::{BTreeMap, BTreeSet};

const ORIGINS: usize = 2_700;
const BRIDGES: usize = 4;
const PIPELINES: usize = 200;
const BUCKETS: [&str; 14] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "60", "600", "+Inf"];
/// How far back rules and dashboards look at what rules record for them, and at the rest.
const RECORDED: [(&str, u64); 3] = [(":max", 7 * DAY), (":ratio_rate1h", 7 * DAY), ("", DAY)];
const SCRAPED: u64 = 6 * 3600;
const DAY: u64 = 86_400;
/// Rules are evaluated each minute.
const EVALUATION: u64 = 60;
/// The past is written in pieces of this many seconds, so that Prometheus takes it in order.
const PIECE: u64 = 1800;

/// A series: its labels as remote write encodes them, and what its values are.
pub(crate) struct Line {
    pub(crate) labels: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Grows by this much a second.
    Grows(f64),
    Is(f64),
    /// A time in seconds: now.
    Now,
}

impl Line {
    #[allow(clippy::cast_precision_loss, reason = "a time")]
    pub(crate) fn value(&self, at: u64) -> f64 {
        match self.kind {
            Kind::Grows(rate) => ((at % (400 * DAY)) as f64 * rate).floor(),
            Kind::Is(value) => value,
            Kind::Now => at as f64,
        }
    }
}

/// All series.
pub(crate) struct World {
    /// What is scraped.
    pub(crate) scraped: Vec<Line>,
    /// How many of them rules and dashboards know; the rest is what origins show.
    known: usize,
    /// What rules made of it in the past, and how far back it is kept.
    recorded: Vec<(Line, u64)>,
}

/// The name of a pipeline.
pub(crate) fn pipeline(number: usize) -> String {
    format!("pipeline-{number}")
}

type Labels = Vec<(String, String)>;

/// How many values each label has.
fn values(label: &str) -> Vec<String> {
    let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    match label {
        "pipeline_id" => (0..PIPELINES).map(pipeline).collect(),
        "step" => (0..5).map(|n| format!("step-{n}")).collect(),
        "status" => named(&["SUCCEEDED", "FAILED", "PARTIAL"]),
        "trigger_type" => named(&["schedule", "manual"]),
        "level" => named(&["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
        "direction" => named(&["read", "write"]),
        "state" => named(&["assigned", "waiting", "catching_up", "live", "draining", "fenced"]),
        "topic" => (0..4).map(|n| format!("topic-{n}")).collect(),
        "partition" => (0..32).map(|n| n.to_string()).collect(),
        "reason" | "code" => (0..8).map(|n| format!("{label}-{n}")).collect(),
        "instance" => (0..BRIDGES).map(|n| format!("bridge-{n}:9527")).collect(),
        "job" => named(&["kafka2prom"]),
        "alertname" => (0..50).map(|n| format!("Alert{n}")).collect(),
        _ => (0..3).map(|n| format!("{label}-{n}")).collect(),
    }
}

/// Every combination of the labels' values.
fn product(labels: &BTreeSet<String>) -> Vec<Labels> {
    let mut all = vec![Labels::new()];
    for label in labels {
        let values = values(label);
        all = all
            .iter()
            .flat_map(|base| values.iter().map(|v| [base.clone(), vec![(label.clone(), v.clone())]].concat()))
            .collect();
    }
    all
}

/// The labels of an origin.
fn origin(number: usize) -> Labels {
    let pairs = [
        ("cluster", format!("cluster-{}", number % 30)),
        ("instance", format!("host-{number}:9100")),
        ("job", "node".into()),
    ];
    pairs.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()
}

/// Which combinations there are: of a partition and a pipeline only their owner tells.
fn combinations(name: &str, metric: &Metric) -> Vec<Labels> {
    if name.starts_with("kafka2prom_origin_") {
        return (0..ORIGINS).map(origin).collect();
    }
    let mut labels = metric.labels.clone();
    let owned = labels.contains("partition") || labels.contains("pipeline_id");
    labels.insert("job".to_owned());
    if owned {
        labels.remove("instance");
    } else {
        labels.insert("instance".to_owned());
    }
    let mut all = product(&labels);
    for (number, labels) in all.iter_mut().enumerate().filter(|_| owned) {
        labels.push(("instance".to_owned(), format!("bridge-{}:9527", number % BRIDGES)));
    }
    all
}

/// Counters that grow only where something is wrong, by a part of their name or of a label's value.
const TROUBLE: [&str; 16] = [
    "FAILED",
    "PARTIAL",
    "ERROR",
    "FATAL",
    "missed",
    "lost",
    "exhausted",
    "dropped",
    "rejected",
    "refused",
    "late",
    "conflict",
    "fences",
    "failed",
    "errors",
    "result-2",
];
/// One pipeline in this many is in trouble; topics and bridges are well.
const TROUBLED: usize = 20;

/// Whether a counter of such a name and labels stands still in this world.
fn stands_still(name: &str, labels: &Labels) -> bool {
    let bad = |text: &str| TROUBLE.iter().any(|word| text.contains(word));
    if !bad(name) && !labels.iter().any(|(_, value)| bad(value)) {
        return false;
    }
    let number =
        labels.iter().find_map(|(name, value)| value.strip_prefix("pipeline-").filter(|_| name == "pipeline_id"));
    number.is_none_or(|number| number.parse::<usize>().unwrap() % TROUBLED != 0)
}

fn kind(name: &str, type_: Type, labels: &Labels) -> Kind {
    if type_ != Type::Gauge {
        return Kind::Grows(if stands_still(name, labels) { 0.0 } else { 0.2 });
    }
    let is = |label: &str, value: &str| labels.iter().any(|(n, v)| n == label && v == value);
    // What failed last did so long ago, where nothing is wrong.
    if name.contains("last_run_timestamp_seconds") && stands_still(name, labels) {
        return Kind::Is(1.7e9);
    }
    match name {
        _ if name.contains("timestamp_seconds") => Kind::Now,
        "up" | "kafka2prom_origin_up" | "kafka2prom_build_info" => Kind::Is(1.0),
        "kafka2prom_replay_blocked" => Kind::Is(0.0),
        "kafka2prom_partition_state" => Kind::Is(f64::from(u8::from(is("state", "live")))),
        _ => Kind::Is(0.1),
    }
}

fn line(name: &str, labels: &Labels, kind: Kind) -> Line {
    let mut all: BTreeMap<&str, &str> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    all.insert("__name__", name);
    let mut encoded = Vec::new();
    for (name, value) in all {
        let mut label = Vec::new();
        field(&mut label, 1, name.as_bytes());
        field(&mut label, 2, value.as_bytes());
        field(&mut encoded, 1, &label);
    }
    Line { labels: encoded, kind }
}

/// The lines of one label set: a histogram has many.
fn lines(name: &str, metric: &Metric, labels: &Labels, out: &mut Vec<Line>) {
    if metric.type_ != Type::Histogram {
        out.push(line(name, labels, kind(name, metric.type_, labels)));
        return;
    }
    for (number, le) in (1_u32..).zip(BUCKETS) {
        let labels = [labels.clone(), vec![("le".to_owned(), le.to_owned())]].concat();
        out.push(line(&format!("{name}_bucket"), &labels, Kind::Grows(0.01 * f64::from(number))));
    }
    let last = 0.01 * f64::from(u32::try_from(BUCKETS.len()).unwrap());
    out.push(line(&format!("{name}_sum"), labels, Kind::Grows(last)));
    out.push(line(&format!("{name}_count"), labels, Kind::Grows(last)));
}

impl World {
    /// As many series as are asked for.
    pub(crate) fn new(series: usize) -> Result<World, Missing> {
        let metrics = contract::all(&contract::alert_tables()?);
        let (mut scraped, mut recorded) = (Vec::new(), Vec::new());
        for (name, metric) in &metrics {
            if name == "ALERTS" || name.starts_with("kafka2prom:") {
                continue;
            }
            if !name.contains(':') {
                combinations(name, metric).iter().for_each(|labels| lines(name, metric, labels, &mut scraped));
                continue;
            }
            let Some(labels) = recorded_labels(name, metric) else { continue };
            let (_, kept) = RECORDED.into_iter().find(|(suffix, _)| name.ends_with(suffix)).unwrap();
            recorded.extend(
                product(&labels).iter().map(|labels| (line(name, labels, kind(name, metric.type_, labels)), kept)),
            );
        }
        let known = scraped.len();
        for number in 0..series.saturating_sub(known) {
            let mut labels = origin(number % ORIGINS);
            labels.push(("device".to_owned(), format!("dev-{}", number / ORIGINS % 10)));
            scraped.push(line(&format!("node_metric_{}_total", number / ORIGINS / 10), &labels, Kind::Grows(1.0)));
        }
        Ok(World { scraped, known, recorded })
    }

    /// Writes what has been until `end`, in the order of time. Gives the number of samples.
    pub(crate) fn write_past(&self, writer: &Writer, end: u64, scrape: u64) -> usize {
        let mut samples = 0;
        let mut from = end - 7 * DAY;
        while from < end {
            let to = (from + PIECE).min(end);
            let minutes: Vec<u64> = (from..to).filter(|at| at % EVALUATION == 0).collect();
            let kept = self.recorded.iter().filter(|(_, kept)| end - from <= *kept);
            samples += writer.samples(kept.map(|(line, _)| line), &minutes);
            if end - from <= SCRAPED {
                let scrapes: Vec<u64> = (from..to).filter(|at| at % scrape == 0).collect();
                samples += writer.samples(self.scraped[..self.known].iter(), &scrapes);
            }
            from = to;
        }
        samples
    }
}

/// The labels that a rule leaves, where its name says so; the past of the others is not written.
fn recorded_labels(name: &str, metric: &Metric) -> Option<BTreeSet<String>> {
    let mut labels = metric.labels.clone();
    labels.remove("name");
    if name.ends_with(":max") || name.ends_with(":mean1d") || name.ends_with(":mean7d") {
        labels.retain(|l| l != "instance" && l != "job" && l != "le");
        return Some(labels);
    }
    if name.contains("ratio_rate") || name.contains("pipeline_runs:rate") || name == "pipeline:seen:group" {
        labels.retain(|l| l == "pipeline_id" || l == "topic");
        return Some(labels);
    }
    None
}
