//! A topic of events with its state topic, bridges that replay it, and what the reference
//! says of the very log that they read.
use super::stream;
use crate::support::bridge;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::{Producer, Read, Record};
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::supervise::Signal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const LONG: Duration = Duration::from_secs(180);

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Value by series, `name{labels}` with the labels sorted.
pub(crate) type Samples = BTreeMap<String, f64>;

/// Offset and append time.
type Last = Option<(i64, Option<i64>)>;

/// By partition: up to which record, and what.
pub(crate) type Said = Arc<Mutex<BTreeMap<i32, (Last, Arc<str>)>>>;

#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) kafka: &'static Kafka,
    pub(crate) topic: String,
    pub(crate) state: String,
    pub(crate) group: String,
    pub(crate) partitions: i32,
    /// More of the topic's settings, each with a comma before it.
    pub(crate) of_topic: String,
    /// Of the configuration, from `runs:` on.
    pub(crate) rest: String,
    pub(crate) templates: String,
    /// What the reference said of each partition, and up to which record.
    pub(crate) said: Said,
}

impl Bed {
    pub(crate) fn new(kafka: &'static Kafka, partitions: i32) -> Bed {
        let bed = Bed {
            kafka,
            topic: unique("events"),
            state: unique("state"),
            group: unique("bridges"),
            partitions,
            of_topic: String::new(),
            rest: "runs: {lost_after: 20s}\n".to_owned(),
            templates: format!("{ROOT}/templates"),
            said: Arc::default(),
        };
        kafka.create_topic(&bed.topic, partitions, &[("message.timestamp.type", "LogAppendTime")]);
        kafka.create_topic(&bed.state, 2, &[("cleanup.policy", "compact")]);
        bed
    }

    /// A bridge that writes snapshots after `records`.
    pub(crate) fn bridge(&self, records: u32, extra: &[&str]) -> Service {
        let (properties, timers) = bridge::SHORT_TIMERS;
        let rest = format!(
            "{timers}topics: [{{name: {}, kind: events{}}}]\n\
             state: {{topic: {}, snapshot_records: {records}, snapshot_interval: 1h}}\n\
             templates: {{dir: '{}'}}\n{}",
            self.topic, self.of_topic, self.state, self.templates, self.rest
        );
        bridge::configured(self.kafka, &self.group, properties, &rest, extra)
    }

    pub(crate) fn record(&self, key: &str, value: impl Into<Vec<u8>>) -> Record {
        Record::new(key, value)
    }

    /// What the reference computes from the log as it is now: samples, and lines of runs.
    pub(crate) fn reference(&self) -> (Samples, BTreeMap<String, String>) {
        let (mut samples, mut runs) = (Samples::new(), BTreeMap::new());
        for partition in 0..self.partitions {
            for line in self.reference_of(partition).lines() {
                match line.strip_prefix("run ") {
                    Some(run) => {
                        let (name, rest) = run.match_indices(' ').nth(1).map(|(at, _)| run.split_at(at)).unwrap();
                        runs.insert(name.to_owned(), rest.trim().to_owned());
                    }
                    None if line.is_empty() => {}
                    None => {
                        let (series, value) = line.rsplit_once(' ').unwrap();
                        samples.insert(canonical(series), value.parse().unwrap());
                    }
                }
            }
        }
        (samples, runs)
    }

    /// The same log is asked of once: it takes the reference half a minute at 10⁶ events.
    fn reference_of(&self, partition: i32) -> Arc<str> {
        let log = self.kafka.read_all(&self.topic, partition);
        let last = log.last().map(|read| (read.offset, read.timestamp));
        let known = self.said.lock().unwrap().get(&partition).cloned();
        if let Some((_, said)) = known.filter(|(until, _)| *until == last) {
            return said;
        }
        let said: Arc<str> = judge(log).into();
        self.said.lock().unwrap().insert(partition, (last, said.clone()));
        said
    }

    /// Waits until the bridges together show what the reference says, each series once.
    #[track_caller]
    pub(crate) fn wait_equal(&self, bridges: &[&Service]) -> Samples {
        eventually_ok("the bridges show what the reference says", LONG, || {
            let shown = together(bridges)?;
            let (expected, _) = self.reference();
            differences(&shown, &expected).map(|()| shown)
        })
    }
}

/// What the reference says of a partition's log.
fn judge(log: Vec<Read>) -> String {
    let records = log.into_iter().map(|read| stream::Record {
        offset: read.offset,
        timestamp: read.timestamp.unwrap(),
        key: read.key,
        headers: read.headers,
        value: read.value.unwrap_or_default(),
    });
    stream::reference(ROOT, records)
}

/// `name{b="2",a="1",le="10"}` as `name{a="1",b="2",le="10"}`; `le` as a number.
pub(crate) fn canonical(series: &str) -> String {
    let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else { return format!("{series}{{}}") };
    let mut pairs: Vec<(String, String)> = labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect();
    for (label, value) in &mut pairs {
        if let (true, Ok(bound)) = (label == "le", value.parse::<f64>()) {
            *value = bound.to_string();
        }
    }
    pairs.sort();
    let text: Vec<String> = pairs.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    format!("{name}{{{}}}", text.join(","))
}

/// The samples of pipelines in an exposition.
pub(crate) fn samples(exposition: &str) -> Samples {
    let lines = exposition.lines().filter(|line| line.starts_with("pipeline_") || line.starts_with("job_"));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((canonical(series), value.parse().ok()?))
        })
        .collect()
}

/// What all bridges show; an error if two show one series, or one does not answer.
pub(crate) fn together(bridges: &[&Service]) -> Result<Samples, String> {
    let mut all = Samples::new();
    for bridge in bridges {
        let answer = bridge.get("/metrics")?;
        for (series, value) in samples(&answer.text()) {
            if all.insert(series.clone(), value).is_some() {
                return Err(format!("two bridges show {series}"));
            }
        }
    }
    Ok(all)
}

/// Sums of floats may differ in their last digits.
pub(crate) fn differences(shown: &Samples, expected: &Samples) -> Result<(), String> {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    let mut wrong: Vec<String> = expected
        .iter()
        .filter(|(series, value)| !shown.get(*series).is_some_and(|v| near(*v, **value)))
        .map(|(series, value)| format!("{series} {value}, shown: {:?}", shown.get(series)))
        .collect();
    wrong.extend(shown.keys().filter(|s| !expected.contains_key(*s)).map(|s| format!("{s} is no series")));
    if wrong.is_empty() && !shown.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(5);
    Err(format!("{count} of {} differ, {} shown: {wrong:#?}", expected.len(), shown.len()))
}

/// Sends a stream in the background, in order, some records at a time.
pub(crate) fn send(bed: &Bed, records: Vec<stream::Record>, chunk: usize, pause: Duration) -> JoinHandle<()> {
    let (producer, topic): (Producer, String) = (bed.kafka.producer("zstd"), bed.topic.clone());
    thread::spawn(move || {
        for records in records.chunks(chunk) {
            let records: Vec<Record> = records
                .iter()
                .map(|r| Record {
                    key: r.key.clone(),
                    value: Some(r.value.clone()),
                    headers: r.headers.clone(),
                    ..Record::default()
                })
                .collect();
            producer.send(&topic, &records);
            thread::sleep(pause);
        }
    })
}

/// Ends a process without warning.
pub(crate) fn kill(bridge: &Service) {
    bridge.process().signal(Signal::Kill);
    bridge.process().wait_exit(Duration::from_secs(30));
}

/// Scrapes what listens and says where a counter went back.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    urls: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<(usize, Vec<String>)>>,
}

impl Watcher {
    pub(crate) fn start() -> Watcher {
        let (stop, urls) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (mine, watched) = (stop.clone(), urls.clone());
        let thread = thread::spawn(move || {
            let (mut newest, mut scrapes, mut faults) = (Samples::new(), 0, Vec::new());
            while !mine.load(Ordering::SeqCst) {
                let urls = watched.lock().unwrap().clone();
                for url in urls {
                    let Ok(answer) = crate::support::http::get(&url, &[]) else { continue };
                    scrapes += 1;
                    for (series, value) in samples(&answer.text()) {
                        let grows = ["_total{", "_bucket{", "_count{"].iter().any(|end| series.contains(end));
                        let before = newest.insert(series.clone(), value).unwrap_or(0.0);
                        if grows && value < before {
                            faults.push(format!("{series} went from {before} to {value} at {url}"));
                        }
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
            (scrapes, faults)
        });
        Watcher { stop, urls, thread: Some(thread) }
    }

    pub(crate) fn watch(&self, bridges: &[&Service]) {
        *self.urls.lock().unwrap() = bridges.iter().map(|b| b.url("/metrics")).collect();
    }

    /// How many scrapes there were.
    pub(crate) fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let (scrapes, faults) = self.thread.take().unwrap().join().unwrap();
        assert!(faults.is_empty(), "{} counters went back: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
        scrapes
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
