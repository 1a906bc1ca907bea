//! A stream of events as pipelines send them: runs with steps, errors, lineage and
//! retries, some without start or end; sent twice, out of order, cut, miskeyed. The same
//! seed gives the same stream.
#![allow(dead_code, reason = "each test binary uses a part of it")]
pub(crate) mod bed;

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};

use k2p_core::envelope::RawRecord;

/// A record of the log, owned.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) value: Vec<u8>,
}

impl Record {
    /// Hands it on as Kafka would.
    pub(crate) fn lend<T>(&self, to: impl FnOnce(&RawRecord<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        to(&RawRecord {
            key: self.key.as_deref(),
            value: Some(&self.value),
            headers: &headers,
            timestamp: Some(self.timestamp),
            offset: self.offset,
        })
    }

    /// One JSON line, as `tests/reference/pipelines.py` reads it.
    pub(crate) fn to_json(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers: serde_json::Map<String, serde_json::Value> =
            self.headers.iter().map(|(n, v)| (n.clone(), text(v).into())).collect();
        let key = self.key.as_deref().map(text);
        let value: serde_json::Value = match std::str::from_utf8(&self.value) {
            Ok(text) => text.into(),
            Err(_) => self.value.clone().into(),
        };
        let line = serde_json::json!({
            "offset": self.offset, "timestamp": self.timestamp, "key": key, "headers": headers, "value": value,
        });
        line.to_string()
    }
}

/// What `tests/reference/pipelines.py` of the repository says of a partition's log.
pub(crate) fn reference(repository: &str, log: impl IntoIterator<Item = Record>) -> String {
    let mut python = Command::new("python3")
        .arg(format!("{repository}/tests/reference/pipelines.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs the reference");
    let mut input = BufWriter::new(python.stdin.take().unwrap());
    for record in log {
        writeln!(input, "{}", record.to_json()).unwrap();
    }
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Offsets grow by this, so that a test can put records in between.
pub(crate) const STRIDE: i64 = 4096;

/// Small, and the same everywhere: xorshift64*.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len() as u64) as usize]
    }
}

/// What the stream is to be like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) events: usize,
    pub(crate) pipelines: u64,
    /// Records sent again with their id, one in so many; 0: none.
    pub(crate) duplicates: u64,
    /// Lines that are none, one in so many; 0: none.
    pub(crate) malformed: u64,
}

/// The beginning of the stream, Unix seconds.
const BEGIN: i64 = 1_760_000_000;

struct Maker {
    shape: Shape,
    dice: Dice,
    now_ms: i64,
    runs: u64,
    made: usize,
    sequence: u64,
    /// Lines that wait to be sent, by pipeline.
    waiting: Vec<VecDeque<String>>,
    /// Records to be sent again after so many others.
    again: Vec<(u64, Record)>,
    log: Vec<Record>,
}

/// The stream as a log.
pub(crate) fn log(shape: &Shape) -> Vec<Record> {
    let mut maker = Maker {
        dice: Dice::new(shape.seed),
        now_ms: BEGIN * 1000,
        runs: 0,
        made: 0,
        sequence: 0,
        waiting: vec![VecDeque::new(); shape.pipelines as usize],
        again: Vec::new(),
        log: Vec::new(),
        shape: shape.clone(),
    };
    while maker.made < shape.events {
        let pipeline = maker.dice.roll(shape.pipelines);
        if maker.waiting[pipeline as usize].len() < 30 {
            maker.run(pipeline);
        }
        maker.send(pipeline);
    }
    for pipeline in 0..shape.pipelines {
        while !maker.waiting[pipeline as usize].is_empty() {
            maker.send(pipeline);
        }
    }
    maker.log
}

impl Maker {
    /// Tells a run whole; its lines are sent bit by bit.
    fn run(&mut self, pipeline: u64) {
        self.runs += 1;
        let name = format!("pipeline_{pipeline}");
        let run_id = format!("run-{}", self.runs);
        let trigger = self.dice.of(&["schedule", "manual", "api"]);
        let owner = self.dice.of(&["ann", "bob", "cem"]);
        let sla = 1000 * (20 + self.dice.roll(100));
        let retries = self.dice.roll(3);
        let mut start = self.now_ms / 1000 + self.dice.roll(5) as i64;
        let mut lines = Vec::new();
        for retry in 0..=retries {
            let head = format!(
                r#""run_id":"{run_id}","pipeline_id":"{name}","trigger_type":"{trigger}","owner":"{owner}","retry_count":{retry},"max_retries":2"#
            );
            if self.dice.one_in(2) {
                lines.push(format!(r#"{{{head},"status":"QUEUED"}}"#));
            }
            if !self.dice.one_in(10) {
                let time = self.time(start);
                lines.push(format!(
                    r#"{{{head},"status":"RUNNING","start_ts":{time},"sla_target_ms":{sla},"current_step":"extract"}}"#
                ));
            }
            let end = self.steps(&name, &run_id, owner, start, &mut lines);
            let last = retry == retries;
            if !(last && self.dice.one_in(8)) {
                let status =
                    if last { self.dice.of(&["SUCCEEDED", "SUCCEEDED", "FAILED", "PARTIAL"]) } else { "FAILED" };
                let end_time = self.time(end);
                let start_time = if self.dice.one_in(2) { format!(r#","start_ts":{start}"#) } else { String::new() };
                let line = format!(r#"{{{head},"status":"{status}","end_ts":{end_time}{start_time}}}"#);
                if self.dice.one_in(10) {
                    lines.push(line.replace(status, "PARTIAL"));
                }
                lines.push(line);
            }
            start = end + 1 + self.dice.roll(10) as i64;
        }
        // Out of order: neighbours change places.
        for _ in 0..lines.len() / 4 {
            let at = self.dice.roll(lines.len() as u64 - 1) as usize;
            lines.swap(at, at + 1);
        }
        self.waiting[pipeline as usize].extend(lines);
    }

    /// The log and lineage events of an attempt; its end, Unix seconds.
    fn steps(&mut self, name: &str, run_id: &str, owner: &str, start: i64, lines: &mut Vec<String>) -> i64 {
        let mut at = start;
        for step in ["extract", "transform", "load"] {
            let seconds = 1 + self.dice.roll(40) as i64;
            at += seconds;
            let level = self.dice.of(&["INFO", "INFO", "INFO", "WARN", "ERROR", "DEBUG"]);
            let (read, written) = (self.dice.roll(10_000), self.dice.roll(10_000));
            let error = if level == "ERROR" {
                let kind = self.dice.of(&["java.io.IOException", "TimeoutError", "org.apache.spark.SparkException"]);
                format!(r#","error":{{"type":"{kind}","message":"it failed","stack":"at line {written}"}}"#)
            } else {
                String::new()
            };
            let time = self.time(at);
            let component = self.dice.of(&["spark", "airflow", "loader"]);
            lines.push(format!(
                r#"{{"timestamp":{time},"env":"prod","pipeline_id":"{name}","run_id":"{run_id}","step":"{step}","component":"{component}","level":"{level}","message":"step {step} done","metrics":{{"rows_read":{read},"rows_written":{written},"duration_ms":{}}},"correlation_id":"c-{run_id}","tags":{{"owner":"{owner}","dataset":"sales.{step}"}}{error}}}"#,
                seconds * 1000 + self.dice.roll(1000) as i64
            ));
            if self.dice.one_in(2) {
                let time = self.time(at);
                let operation = self.dice.of(&["read", "write"]);
                lines.push(format!(
                    r#"{{"timestamp":{time},"pipeline_id":"{name}","run_id":"{run_id}","operation":"{operation}","dataset":"sales.{step}","version":"v1","partition":"ds=2026-01-01","rows":{read}}}"#
                ));
            }
        }
        at
    }

    /// A time in one of the ways that producers write it.
    fn time(&mut self, seconds: i64) -> String {
        match self.dice.roll(4) {
            0 => seconds.to_string(),
            1 => format!("{seconds}250"),
            2 => format!("{seconds}000000001"),
            _ => {
                // 2025-10-09 is day 20370 of the epoch; the stream stays near it.
                let (day, of_day) = (seconds / 86_400 - 20_370, seconds % 86_400);
                let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
                format!(r#""2025-10-{:02}T{hours:02}:{minutes:02}:{seconds:02}.5Z""#, 9 + day)
            }
        }
    }

    /// Sends some of a pipeline's lines as one record.
    fn send(&mut self, pipeline: u64) {
        let mut value = String::new();
        for _ in 0..1 + self.dice.roll(5) {
            let Some(line) = self.waiting[pipeline as usize].pop_front() else {
                break;
            };
            self.made += 1;
            value.push_str(&line);
            value.push('\n');
            if self.shape.malformed > 0 && self.dice.one_in(self.shape.malformed) {
                value.push_str(self.dice.of(&[
                    "{\"run_id\":\"cut of",
                    "[]",
                    "{\"what\":1}",
                    "",
                    "{\"status\":\"RUNNING\",\"run_id\":\"x\",\"pipeline_id\":\"someone_else\"}",
                    "{\"status\":\"RUNNING\",\"run_id\":\"x\"}",
                    "{\"level\":\"INFO\",\"timestamp\":\"yesterday\",\"pipeline_id\":\"p\"}",
                ]));
                value.push('\n');
            }
        }
        self.now_ms += self.dice.roll(400) as i64;
        self.sequence += 1;
        let record = Record {
            offset: self.log.len() as i64 * STRIDE,
            timestamp: self.now_ms,
            key: Some(format!("pipeline_{pipeline}").into_bytes()),
            headers: vec![("k2p-id".into(), format!("agent-{};{}", pipeline % 3, self.sequence).into_bytes())],
            value: value.into_bytes(),
        };
        if self.shape.duplicates > 0 && self.dice.one_in(self.shape.duplicates) {
            self.again.push((1 + self.dice.roll(50), record.clone()));
        }
        self.log.push(record);
        self.resend();
    }

    fn resend(&mut self) {
        for (wait, _) in &mut self.again {
            *wait -= 1;
        }
        let (ready, waiting) = std::mem::take(&mut self.again).into_iter().partition(|(wait, _)| *wait == 0);
        self.again = waiting;
        let ready: Vec<(u64, Record)> = ready;
        for (_, record) in ready {
            let offset = self.log.len() as i64 * STRIDE;
            self.log.push(Record { offset, timestamp: self.now_ms, ..record });
        }
    }
}
