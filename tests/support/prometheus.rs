//! A real Prometheus of either generation, and promtool.
use super::http;
use super::oracle::Series;
use super::parts::{self, Generation};
use super::poll;
use super::skip::Missing;
use super::supervise::{Supervised, free_port, new_dir};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
/// Starts that are tried with new ports, because a port can be taken meanwhile.
const ATTEMPTS: usize = 3;

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    listen: String,
    dir: PathBuf,
    process: Supervised,
}

/// One series of an answer: its labels and (Unix seconds, value) points. An
/// instant query gives one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Name (`__name__`) and labels.
    pub series: Series,
    /// In the order of time.
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts it with a configuration file's text. `@SELF@` in it becomes its own
    /// address.
    ///
    /// # Panics
    /// Where it does not start, with its log.
    pub fn start(generation: Generation, config: &str) -> Result<Prometheus, Missing> {
        Prometheus::start_with(generation, config, &|_| ())
    }

    /// The same, with features switched on (`--enable-feature`).
    ///
    /// # Panics
    /// Where it does not start, with its log.
    pub fn start_featured(generation: Generation, config: &str, features: &str) -> Result<Prometheus, Missing> {
        Prometheus::started(generation, config, features, &|_| ())
    }

    /// The same, with a past: `fill` puts blocks into its data directory, which is kept for
    /// longer than Prometheus' default of 15 days.
    ///
    /// # Panics
    /// Where it does not start, with its log.
    pub fn start_with(generation: Generation, config: &str, fill: &dyn Fn(&Path)) -> Result<Prometheus, Missing> {
        Prometheus::started(generation, config, "", fill)
    }

    fn started(
        generation: Generation,
        config: &str,
        features: &str,
        fill: &dyn Fn(&Path),
    ) -> Result<Prometheus, Missing> {
        let program = parts::prometheus_tool(generation, "prometheus")?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Prometheus::try_start(&program, config, features, fill) {
                Ok(prometheus) => return Ok(prometheus),
                Err(why) => last = why,
            }
        }
        panic!("Prometheus {generation:?} does not start: {last}")
    }

    fn try_start(program: &Path, config: &str, features: &str, fill: &dyn Fn(&Path)) -> Result<Prometheus, String> {
        let listen = format!("127.0.0.1:{}", free_port());
        let dir = new_dir("prometheus");
        let file = dir.join("prometheus.yml");
        fs::write(&file, config.replace("@SELF@", &listen)).expect("the run's directory can be written");
        fill(&dir.join("data"));
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        command.arg("--storage.tsdb.retention.time=60d");
        command.arg(format!("--web.listen-address={listen}")).arg("--web.enable-lifecycle");
        command.arg("--web.enable-remote-write-receiver");
        if !features.is_empty() {
            command.arg(format!("--enable-feature={features}"));
        }
        let process = Supervised::start("prometheus", &command, Some(&dir));
        let prometheus = Prometheus { listen, dir, process };
        let ready = poll::within(START, || {
            if prometheus.process.exit_code().is_some() {
                return Ok(false);
            }
            let answer = http::get(&prometheus.url("/-/ready"), &[]);
            answer.ok().filter(|a| a.status == 200).map(|_| true).ok_or(())
        });
        if ready == Ok(true) { Ok(prometheus) } else { Err(prometheus.process.log_tail()) }
    }

    /// A configuration that scrapes `targets` (`HOST:PORT`) as job `job` every
    /// `interval`, honouring the bridge's labels.
    pub fn scrape_config(job: &str, targets: &[&str], interval: &str) -> String {
        format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\n\
             scrape_configs:\n\
             - job_name: {job}\n  honor_labels: true\n  static_configs: [{{targets: {targets:?}}}]\n"
        )
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    /// Replaces the configuration and has it read.
    ///
    /// # Panics
    /// Where Prometheus refuses it.
    pub fn reload(&self, config: &str) {
        let text = config.replace("@SELF@", &self.listen);
        fs::write(self.dir.join("prometheus.yml"), text).expect("the run's directory can be written");
        let answer = http::request("POST", &self.url("/-/reload"), &[], b"").expect("Prometheus answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// An instant query.
    ///
    /// # Panics
    /// Where Prometheus refuses it.
    pub fn query(&self, expression: &str) -> Vec<Found> {
        self.ask("query", &[("query", expression)])
    }

    /// A range query; `start` and `end` in Unix seconds, `step` like `1s`.
    ///
    /// # Panics
    /// Where Prometheus refuses it.
    pub fn query_range(&self, expression: &str, start: f64, end: f64, step: &str) -> Vec<Found> {
        let (start, end) = (start.to_string(), end.to_string());
        self.ask("query_range", &[("query", expression), ("start", &start), ("end", &end), ("step", step)])
    }

    /// Waits until an instant query gives something.
    #[track_caller]
    pub fn wait_query(&self, expression: &str, timeout: Duration) -> Vec<Found> {
        let what = format!("Prometheus answers {expression}\n{}", self.log_tail());
        poll::eventually(&what, timeout, || Some(self.query(expression)).filter(|found| !found.is_empty()))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    fn ask(&self, kind: &str, parameters: &[(&str, &str)]) -> Vec<Found> {
        let form: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={}", percent(value))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let url = self.url(&format!("/api/v1/{kind}"));
        let answer = http::request("POST", &url, &headers, form.join("&").as_bytes()).expect("Prometheus answers");
        let json = answer.json();
        assert_eq!(json["status"], "success", "{json}");
        let data = &json["data"];
        if data["resultType"] == "scalar" {
            return vec![Found { series: Series::new(), points: vec![to_point(&data["result"])] }];
        }
        data["result"].as_array().expect("a list of series").iter().map(to_found).collect()
    }
}

fn to_found(result: &Value) -> Found {
    let labels = result["metric"].as_object().expect("a series has labels");
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let series = labels.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let points = match result["values"].as_array() {
        Some(points) => points.iter().map(to_point).collect(),
        None => vec![to_point(&result["value"])],
    };
    Found { series, points }
}

fn to_point(point: &Value) -> (f64, f64) {
    let value = point[1].as_str().and_then(|v| v.parse().ok());
    (point[0].as_f64().expect("a time"), value.expect("a value"))
}

fn percent(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Runs promtool with `stdin`: `Err` is what it complained about.
pub fn promtool(generation: Generation, arguments: &[&str], stdin: &[u8]) -> Result<Result<(), String>, Missing> {
    let program = parts::prometheus_tool(generation, "promtool")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    // It reads everything before it writes.
    let _ = child.stdin.take().expect("stdin is piped").write_all(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Err(String::from_utf8_lossy(&said).into_owned()))
}

/// `promtool check metrics` on a text exposition.
pub fn check_metrics(generation: Generation, exposition: &[u8]) -> Result<Result<(), String>, Missing> {
    promtool(generation, &["check", "metrics"], exposition)
}
