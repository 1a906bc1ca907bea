//! The story that the dashboards tell in their test: two bridges, dumps of two clusters, an
//! agent, pipelines, an Alertmanager, all of it real; then trouble of every kind.
use crate::support::alertmanager::{Alertmanager, Timings};
use crate::support::bridge;
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::parts::{self, Generation};
use crate::support::process::Service;
use crate::support::prometheus::Prometheus;
use crate::support::receiver::Receiver;
use crate::support::repo::root;
use crate::support::skip::Missing;
use crate::support::supervise::{Signal, new_dir};
use crate::support::target::Target;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs of `orders` that succeed on the good day, and that fail afterwards.
pub(crate) const SUCCEEDED: u64 = 20;
pub(crate) const FAILED: u64 = 4;
/// (days ago, succeeded, failed): what Prometheus knows of `orders` from before.
pub(crate) const PAST: [(u64, u64, u64); 3] = [(30, 2, 0), (7, 10, 1), (1, 16, 1)];
const CLUSTERS: [(&str, &str); 4] = [("acme", "a-1"), ("acme", "a-2"), ("globex", "g-1"), ("globex", "g-2")];
const DAY: u64 = 86400;

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What goes on all the time.
#[derive(Default)]
struct Going {
    stop: AtomicBool,
    /// Origins (places in [`CLUSTERS`]) that are silent.
    silent: Mutex<Vec<usize>>,
    /// Errors among 10 log events of `orders`.
    errors: AtomicU64,
}

pub(crate) struct Story {
    kafka: &'static Kafka,
    pub(crate) metrics: String,
    pub(crate) events: String,
    pub(crate) fragile: String,
    pub(crate) bridges: Vec<Service>,
    pub(crate) agent: Service,
    pub(crate) alertmanager: Alertmanager,
    pub(crate) receiver: Receiver,
    _target: Target,
    going: &'static Going,
}

impl Drop for Story {
    fn drop(&mut self) {
        self.going.stop.store(true, Ordering::SeqCst);
    }
}

impl Story {
    /// Starts everything but Prometheus.
    pub(crate) fn start(kafka: &'static Kafka) -> Result<Story, Missing> {
        let receiver = Receiver::start();
        let pace = Timings { group_interval: "2s", repeat_interval: "4h" };
        let alertmanager = Alertmanager::start(Generation::Sid, &receiver, pace)?;
        let (metrics, events, fragile) = (unique("metrics"), unique("events"), unique("fragile"));
        let (state, letters, pushes) = (unique("state"), unique("letters"), unique("pushes"));
        kafka.create_topic(&metrics, 4, &[]);
        for topic in [&events, &fragile, &pushes] {
            kafka.create_topic(topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
        }
        kafka.create_topic(&state, 2, &[("cleanup.policy", "compact")]);
        kafka.create_topic(&letters, 1, &[]);
        let rest = format!(
            "topics: [{{name: {metrics}, staleness: 6s, limits: {{cache_bytes: 1GiB}}}}, {{name: {events}, kind: events}}, \
             {{name: {fragile}, kind: events}}, {{name: {pushes}, kind: push}}]\n\
             state: {{topic: {state}, deadletter: {letters}, snapshot_records: 100, snapshot_interval: 1h}}\n\
             templates: {{dir: '{}'}}\nruns: {{lost_after: 20s}}\nlogs: {{url: 'objects://{}'}}\n",
            root().join("templates").display(),
            new_dir("logstore").display(),
        );
        let group = unique("bridges");
        // Nobody listens there: what is dropped is counted.
        let otel = ["--otel.endpoint", "http://127.0.0.1:9"];
        let bridges = (0..2).map(|_| bridge::configured(kafka, &group, "", &rest, &otel)).collect();
        let target = Target::start("# TYPE requests_total counter\nrequests_total 1\n");
        let file = new_dir("agent").join("shop.prom");
        write_dump(&file, 0);
        let agent = start_agent(kafka, &metrics, &target, &file);
        let going: &'static Going = Box::leak(Box::default());
        let story =
            Story { kafka, metrics, events, fragile, bridges, agent, alertmanager, receiver, _target: target, going };
        story.go_on(file);
        Ok(story)
    }

    /// Dumps and log events, until the end.
    fn go_on(&self, file: PathBuf) {
        let (going, producer) = (self.going, self.kafka.producer("zstd"));
        let (metrics, events, fragile) = (self.metrics.clone(), self.events.clone(), self.fragile.clone());
        thread::spawn(move || {
            let mut round = 0;
            // Spoken of again and again, or it would be lost.
            let open = run_event(
                "open",
                "orders",
                &format!("\"status\":\"RUNNING\",\"start_ts\":{},\"sla_target_ms\":3600000", now()),
            );
            while !going.stop.load(Ordering::SeqCst) {
                round += 1;
                let silent = going.silent.lock().unwrap().clone();
                let speaking = CLUSTERS.iter().enumerate().filter(|(i, _)| !silent.contains(i));
                let dumps: Vec<Record> =
                    speaking.map(|(_, (cluster, instance))| dump(cluster, instance, round)).collect();
                producer.send(&metrics, &dumps);
                write_dump(&file, round);
                let lines = log_events(going.errors.load(Ordering::SeqCst), round);
                producer.send(&events, &[Record::new("orders", lines), Record::new("orders", open.as_bytes())]);
                let line = format!("{{\"timestamp\":{},\"pipeline_id\":\"fragile\",\"level\":\"INFO\"}}", now());
                producer.send(&fragile, &[Record::new("fragile", line)]);
                thread::sleep(Duration::from_millis(500));
            }
        });
    }

    /// Produces run events.
    fn run(&self, id: &str, pipeline: &str, more: &str) {
        self.kafka.produce(&self.events, &[Record::new(pipeline, run_event(id, pipeline, more))]);
    }

    fn whole_run(&self, id: &str, pipeline: &str, status: &str) {
        let begun = now() - 60;
        self.run(id, pipeline, &format!("\"status\":\"RUNNING\",\"start_ts\":{begun},\"sla_target_ms\":3600000"));
        self.run(id, pipeline, &format!("\"status\":\"{status}\",\"end_ts\":{}", now()));
    }

    /// Runs that succeed, and what they read and write.
    pub(crate) fn good_day(&self) {
        for i in 0..SUCCEEDED {
            self.whole_run(&format!("good-{i}"), "orders", "SUCCEEDED");
        }
        for operation in ["read", "write"] {
            let line = format!(
                "{{\"timestamp\":{},\"pipeline_id\":\"orders\",\"run_id\":\"good-1\",\"operation\":\"{operation}\",\
                 \"dataset\":\"silver.orders\",\"rows\":10}}",
                now()
            );
            self.kafka.produce(&self.events, &[Record::new("orders", line)]);
        }
    }

    /// Posts lines, good and bad; pushes a group; reads a job's log; is no HTTP client.
    pub(crate) fn talk_to(&self, bridge: &Service) {
        let line = format!("{{\"timestamp\":{},\"pipeline_id\":\"posted\",\"level\":\"INFO\"}}\n", now());
        let headers = [("content-type", "application/x-ndjson")];
        let body = format!("{line}nonsense\n");
        let answer = http::request("POST", &bridge.url("/api/v1/events"), &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = b"backup_rows 1\n";
        let answer = http::request("PUT", &bridge.url("/metrics/job/backup"), &[], body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let _ = bridge.get("/api/v1/jobs/orders/logs").unwrap();
        let mut nonsense = TcpStream::connect(bridge.listen()).unwrap();
        nonsense.write_all(b"this is no HTTP\r\n\r\n").unwrap();
    }

    /// Failures, a missed SLA, a spike of errors, a silent origin, garbage, a bridge killed, and
    /// a partition that its next owner cannot replay.
    pub(crate) fn trouble(&mut self) {
        for i in 0..FAILED {
            self.whole_run(&format!("bad-{i}"), "orders", "FAILED");
        }
        let missed = format!("\"status\":\"RUNNING\",\"start_ts\":{},\"sla_target_ms\":1000", now() - 5);
        self.run("late", "slow", &missed);
        self.going.errors.store(9, Ordering::SeqCst);
        self.going.silent.lock().unwrap().push(0);
        let uuid = "123e4567-e89b-12d3-a456-426614174000";
        let reduced = format!(
            "{{\"timestamp\":{},\"pipeline_id\":\"orders\",\"run_id\":\"r\",\"operation\":\"read\",\"dataset\":\"{uuid}\"}}",
            now()
        );
        self.kafka.produce(&self.events, &[Record::new("orders", reduced), Record::new("orders", "nonsense")]);
        let garbage = Record::new("cluster=\"acme\",instance=\"a-2\",job=\"node\"", "\u{0}\u{1} no dump at all {{{");
        self.kafka.produce(&self.metrics, &[garbage]);
        let holds = |bridge: &Service| {
            bridge.own("kafka2prom_partition_state", &[("topic", &self.fragile), ("state", "live")]) == 1.0
        };
        let owner = self.bridges.iter().position(holds).expect("an owner of the fragile partition");
        let end = self.kafka.watermarks(&self.fragile, 0).1;
        self.kafka.delete_records(&self.fragile, 0, end);
        let killed = self.bridges.remove(owner);
        killed.process().signal(Signal::Kill);
        killed.process().wait_exit(Duration::from_secs(30));
    }

    /// Prometheus with the shipped rules, evaluated every second, and the past.
    pub(crate) fn prometheus(&self, generation: Generation) -> Result<Prometheus, Missing> {
        let promtool = parts::prometheus_tool(generation, "promtool")?;
        let past = past(&promtool);
        let targets: Vec<&str> = self.bridges.iter().map(Service::listen).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}/*.yml']\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
             scrape_configs:\n\
             - {{job_name: kafka2prom, honor_labels: true, static_configs: [{{targets: {targets:?}}}]}}\n\
             - {{job_name: agents, static_configs: [{{targets: ['{}']}}]}}\n\
             - {{job_name: alertmanager, static_configs: [{{targets: ['{alertmanager}']}}]}}\n",
            fast_rules().display(),
            self.agent.listen(),
            alertmanager = self.alertmanager.listen(),
        );
        Prometheus::start_with(generation, &config, &|data| copy_dir(&past, data))
    }
}

fn run_event(id: &str, pipeline: &str, more: &str) -> String {
    format!("{{\"run_id\":\"{id}\",\"pipeline_id\":\"{pipeline}\",\"trigger_type\":\"schedule\",{more}}}")
}

fn start_agent(kafka: &Kafka, topic: &str, target: &Target, file: &Path) -> Service {
    let (brokers, scrape) = (kafka.bootstrap(), format!("http://{}/metrics;job=shop", target.address()));
    let file = format!("{};instance=host-1", file.display());
    let arguments = [
        &["agent", "--kafka.brokers", &brokers, "--kafka.topic", topic, "--scrape", &scrape, "--file", &file][..],
        &[
            "--label",
            "cluster=acme",
            "--interval",
            "500ms",
            "--timeout",
            "400ms",
            "--web.listen-address",
            "127.0.0.1:0",
        ],
    ];
    Service::start("agent", &arguments.concat()).unwrap_or_else(|e| panic!("the agent does not start: {e}"))
}

/// As a service should: a new file, renamed over the old one. One that stays is stale.
fn write_dump(file: &Path, round: u64) {
    let new = file.with_extension("new");
    fs::write(&new, format!("orders_open {round}\n")).unwrap();
    fs::rename(new, file).unwrap();
}

fn dump(cluster: &str, instance: &str, round: u64) -> Record {
    let key = format!("cluster=\"{cluster}\",instance=\"{instance}\",job=\"node\"");
    let body = format!("# TYPE work_total counter\nwork_total {round}\nload 0.5\n");
    let taken = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Record::new(&key, body).header("k2p-time", taken.to_string())
}

/// Ten log events of `orders`, one of them with all that a pipeline may report.
fn log_events(errors: u64, round: u64) -> String {
    let mut lines = String::new();
    for i in 0..9 {
        let more = if i < errors {
            r#""level":"ERROR","component":"reader","error":{"type":"java.io.IOException","message":"gone"}"#
        } else {
            r#""level":"INFO","message":"password=hunter2 for a.b@example.com""#
        };
        writeln!(lines, "{{\"timestamp\":{},\"pipeline_id\":\"orders\",\"run_id\":\"open\",{more}}}", now()).unwrap();
    }
    writeln!(
        lines,
        "{{\"timestamp\":{},\"pipeline_id\":\"orders\",\"step\":\"load\",\"component\":\"sink\",\"level\":\"INFO\",\
         \"metrics\":{{\"rows_read\":20,\"rows_written\":10,\"duration_ms\":{},\"es_bulk_result\":\"{bulk}\",\
         \"es_bulk_duration_ms\":40,\"consumer_lag\":12,\"log_buffer_utilization\":0.3,\"log_buffer_flushes\":1,\
         \"log_buffer_dropped\":1,\"log_buffer_drop_reason\":\"overflow\"}},\"tags\":{{\"owner\":\"sales\"}}}}",
        now(),
        1000 + round % 10,
        bulk = if errors > 0 { "rejected" } else { "success" },
    )
    .unwrap();
    lines
}

/// The shipped rules, evaluated every second instead of every minute.
pub(crate) fn fast_rules() -> PathBuf {
    let to = new_dir("rules");
    for entry in fs::read_dir(root().join("alerts/rules")).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        let fast: String = text
            .lines()
            .map(
                |line| {
                    if line.starts_with("    interval: ") { "    interval: 1s\n".into() } else { format!("{line}\n") }
                },
            )
            .collect();
        fs::write(to.join(entry.file_name()), fast).unwrap();
    }
    to
}

/// Blocks with the past of `orders`, made by promtool.
fn past(promtool: &Path) -> PathBuf {
    let dir = new_dir("past");
    let mut text = String::from("# TYPE pipeline:pipeline_runs:max gauge\n");
    for (status, value) in [("SUCCEEDED", 1_usize), ("FAILED", 2)] {
        for past in PAST {
            let counted = [past.0, past.1, past.2][value];
            let middle = now() - past.0 * DAY;
            for at in (middle - 600..middle + 1800).step_by(30) {
                writeln!(
                    text,
                    "pipeline:pipeline_runs:max{{pipeline_id=\"orders\",status=\"{status}\",trigger_type=\"schedule\"}} {counted} {at}"
                )
                .unwrap();
            }
        }
    }
    text.push_str("# EOF\n");
    let (input, data) = (dir.join("past.om"), dir.join("data"));
    fs::write(&input, text).unwrap();
    let mut command = Command::new(promtool);
    command.args(["tsdb", "create-blocks-from", "openmetrics"]).args([&input, &data]);
    let output = command.output().expect("promtool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    data
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
