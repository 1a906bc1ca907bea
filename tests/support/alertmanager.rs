//! A real Alertmanager of either generation with the shipped configuration, whose
//! receivers are on loopback.
use super::http;
use super::parts::{self, Generation};
use super::poll;
use super::receiver::Receiver;
use super::skip::Missing;
use super::supervise::{Supervised, free_port, new_dir};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
const ATTEMPTS: usize = 3;
/// What links in messages begin with: fixed, so that messages can be compared.
pub const EXTERNAL_URL: &str = "https://alertmanager.example.com";
/// As long as PagerDuty's are.
pub const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";
/// The dead man's switch's.
pub const DEADMAN_TOKEN: &str = "deadman-token";

const DEFAULT_TEMPLATE: &str = "/usr/share/prometheus/alertmanager/default.tmpl";

/// How the shipped timings are shortened.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// `group_interval` of all routes but Watchdog's.
    pub group_interval: &'static str,
    /// `repeat_interval` of the same.
    pub repeat_interval: &'static str,
}

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    listen: String,
    process: Supervised,
}

impl Alertmanager {
    /// Starts it with the shipped configuration, in which only two URLs, the secrets'
    /// directory and the timings are others.
    ///
    /// # Panics
    /// Where it does not start, with its log.
    pub fn start(generation: Generation, receiver: &Receiver, timings: Timings) -> Result<Alertmanager, Missing> {
        let program = parts::prometheus_tool(generation, "prometheus-alertmanager")?;
        runs(&program)?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Alertmanager::try_start(&program, receiver, timings) {
                Ok(alertmanager) => return Ok(alertmanager),
                Err(why) => last = why,
            }
        }
        panic!("Alertmanager {generation:?} does not start: {last}")
    }

    fn try_start(program: &Path, receiver: &Receiver, timings: Timings) -> Result<Alertmanager, String> {
        let dir = new_dir("alertmanager");
        let config = install(&dir, receiver, timings);
        let listen = format!("127.0.0.1:{}", free_port());
        let mut command = with_its_share(program);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={listen}"));
        command.arg(format!("--web.external-url={EXTERNAL_URL}"));
        // Alone: no gossip.
        command.arg("--cluster.listen-address=");
        let process = Supervised::start("alertmanager", &command, Some(&dir));
        let alertmanager = Alertmanager { listen, process };
        let ready = poll::within(START, || {
            if alertmanager.process.exit_code().is_some() {
                return Ok(false);
            }
            let answer = http::get(&alertmanager.url("/-/ready"), &[]);
            answer.ok().filter(|a| a.status == 200).map(|_| true).ok_or(())
        });
        if ready == Ok(true) { Ok(alertmanager) } else { Err(alertmanager.process.log_tail()) }
    }

    /// `HOST:PORT`.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    /// Sends alerts as Prometheus does.
    ///
    /// # Panics
    /// Where they are refused.
    pub fn send(&self, alerts: &[Value]) {
        let body = serde_json::to_vec(alerts).expect("JSON");
        let headers = [("content-type", "application/json")];
        let answer = http::request("POST", &self.url("/api/v2/alerts"), &headers, &body).expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// All alerts that it has, with their states.
    pub fn alerts(&self) -> Vec<Value> {
        let answer = http::get(&self.url("/api/v2/alerts"), &[]).expect("it answers");
        answer.json().as_array().cloned().expect("a list")
    }

    /// Its own metrics.
    pub fn metrics(&self) -> String {
        http::get(&self.url("/metrics"), &[]).expect("it answers").text()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// Whether it finds its default templates here.
///
/// # Errors
/// Where it does not.
pub fn runs(program: &Path) -> Result<(), Missing> {
    let works = with_its_share(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let missing = || Missing::Part(format!("{DEFAULT_TEMPLATE} is missing, and unshare may not mount one"));
    works.then_some(()).ok_or_else(missing)
}

/// Debian's Alertmanager reads its default templates from one fixed place, where a
/// package that was only unpacked has none. So it sees the package's own `/usr/share`,
/// in a mount namespace of its own.
pub fn with_its_share(program: &Path) -> Command {
    if Path::new(DEFAULT_TEMPLATE).exists() {
        return Command::new(program);
    }
    let share = program.parent().and_then(Path::parent).expect("usr/bin").join("share");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", "mount --bind \"$0\" /usr/share && exec \"$@\""]);
    command.arg(share).arg(program);
    command
}

/// Writes configuration, templates and secrets into `dir`; gives the configuration's path.
fn install(dir: &Path, receiver: &Receiver, timings: Timings) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let templates = dir.join("templates/alertmanager");
    fs::create_dir_all(&templates).expect("the run's directory can be written");
    for entry in fs::read_dir(root.join("templates/alertmanager")).expect("templates are there").flatten() {
        fs::copy(entry.path(), templates.join(entry.file_name())).expect("a template can be copied");
    }
    fs::create_dir_all(dir.join("secrets")).expect("the run's directory can be written");
    let secret = |name: &str, text: &str| fs::write(dir.join("secrets").join(name), text).expect("it can be written");
    secret("pagerduty", ROUTING_KEY);
    secret("deadman", DEADMAN_TOKEN);
    for team in ["platform", "data", "pipelines"] {
        secret(&format!("slack-{team}"), &receiver.url(&format!("/slack/{team}")));
    }
    let text = fs::read_to_string(root.join("alerts/alertmanager.yml")).expect("the configuration is there");
    let mut text = text.replace(": /etc/alertmanager/secrets/", &format!(": {}/secrets/", dir.display()));
    let pace = |name: &str, value: &str| format!("  {name}: {value}\n");
    for (from, to) in [
        ("https://events.pagerduty.com/v2/enqueue".to_owned(), receiver.url("/pagerduty")),
        ("https://deadman.example.com/kafka2prom".to_owned(), receiver.url("/deadman")),
        (pace("group_wait", "30s"), pace("group_wait", "1s")),
        (pace("group_interval", "5m"), pace("group_interval", timings.group_interval)),
        (pace("repeat_interval", "4h"), pace("repeat_interval", timings.repeat_interval)),
        (pace("    group_interval", "1m"), pace("    group_interval", "1s")),
        (pace("    repeat_interval", "1m"), pace("    repeat_interval", "1s")),
    ] {
        assert_eq!(text.matches(&from).count(), 1, "{from:?} stands once in alertmanager.yml");
        text = text.replace(&from, &to);
    }
    let path = dir.join("alertmanager.yml");
    fs::write(&path, text).expect("the run's directory can be written");
    path
}
