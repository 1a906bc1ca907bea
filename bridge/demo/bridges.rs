//! The demo's bridges: processes of this very binary, so that killing one is a crash
//! and not a play.
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hyper::HeaderMap;
use k2p_runtime::http::client::{ClientConfig, HttpClient};
use k2p_runtime::shutdown::Shutdown;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::pipelines::{EVENTS, STATE};
use super::pushes::PUSHES;
use crate::commands::Failure;

/// How long a bridge may take until it listens.
const STARTS: Duration = Duration::from_secs(20);
/// Ctrl-C ends the demo within 2 s; what is not gone by then is killed.
const ENDS: Duration = Duration::from_millis(1500);

/// The mock's joins last a session less 1 s, the first one 3 s (kafka.md): the shortest
/// session in which a member outlives its own first join, and leases to match.
const MOCK_TIMERS: &str = "kafka: {properties: {session.timeout.ms: \"4000\", heartbeat.interval.ms: \"200\"}}\n\
     ownership: {lease: 7s, wait: 8s}\n";

/// Short, so that a person sees the silent cluster vanish (its tunnel is down for 40 s).
const STALENESS: &str = "15s";

/// One bridge.
pub(crate) struct Bridge {
    /// `a`, `b`.
    pub(crate) name: String,
    /// `http://HOST:PORT/`
    pub(crate) url: String,
    port: u16,
    child: Child,
}

/// Both.
pub(crate) struct Bridges {
    brokers: String,
    /// The port at which Prometheus finds all of them.
    front: Option<u16>,
    directory: tempfile::TempDir,
    all: Vec<Bridge>,
}

impl Bridges {
    /// Starts one bridge per port and waits until each listens. `front` is the port of the one
    /// that service discovery leads to.
    pub(crate) async fn start(
        brokers: &str,
        mock: bool,
        topic: &str,
        ports: &[u16],
        front: Option<u16>,
    ) -> Result<Bridges, Failure> {
        let directory = tempfile::tempdir().map_err(Failure::failed)?;
        let timers = if mock { MOCK_TIMERS } else { "" };
        // By flag the topic would have the default staleness of 90 s.
        let config = format!(
            "{timers}topics: [{{name: {topic}, staleness: {STALENESS}}}, {{name: {EVENTS}, kind: events}}, \
             {{name: {PUSHES}, kind: push}}]\n\
             state: {{topic: {STATE}, snapshot_interval: 10s}}\n"
        );
        std::fs::write(directory.path().join("bridge.yaml"), config).map_err(Failure::failed)?;
        let mut bridges = Bridges { brokers: brokers.to_owned(), front, directory, all: Vec::new() };
        for (name, port) in ["a", "b"].iter().zip(ports) {
            let bridge = bridges.spawn(name, free_or_any(*port)).await?;
            bridges.all.push(bridge);
        }
        Ok(bridges)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Bridge> {
        self.all.iter()
    }

    async fn spawn(&self, name: &str, port: u16) -> Result<Bridge, Failure> {
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let mut command = command(&program, self.directory.path(), &self.brokers, port);
        if let Some(front) = self.front {
            command.args(["--web.external-address", &format!("127.0.0.1:{front}")]);
        }
        let mut child =
            command.spawn().map_err(|e| Failure::failed(format_args!("bridge {name} cannot be started: {e}")))?;
        let stderr = child.stderr.take().ok_or_else(|| Failure::failed("a bridge without a log"))?;
        let mut lines = BufReader::new(stderr).lines();
        let listen = tokio::time::timeout(STARTS, ready(&mut lines)).await;
        let Ok(Some(address)) = listen else {
            return Err(Failure::failed(format_args!("bridge {name} did not start; run with --log.level debug")));
        };
        let shown = name.to_owned();
        tokio::spawn(async move { forward(&shown, lines).await });
        let port = address.rsplit_once(':').and_then(|(_, p)| p.parse().ok()).unwrap_or(port);
        Ok(Bridge { name: name.to_owned(), url: format!("http://{address}/"), port, child })
    }

    /// Waits until every bridge is ready, so that the first scrape shows something.
    pub(crate) async fn until_live(&self, shutdown: &Shutdown, longest: Duration) {
        let Ok(client) = HttpClient::new(&ClientConfig::default()) else { return };
        let deadline = tokio::time::Instant::now() + longest;
        while tokio::time::Instant::now() < deadline && !shutdown.is_triggered() {
            let mut live = true;
            for bridge in &self.all {
                let url = format!("{}-/ready", bridge.url);
                let answer = client.get(&url, HeaderMap::new(), Duration::from_secs(1), 1 << 16).await;
                live &= answer.is_ok_and(|a| a.status.is_success());
            }
            if live {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills the first bridge as kill -9 does.
    pub(crate) fn kill_first(&mut self) -> String {
        let Some(bridge) = self.all.first_mut() else { return String::new() };
        match bridge.child.start_kill() {
            Ok(()) => format!(
                "bridge {} is killed. Its partitions stay dark until its lease has surely ended, \
                 then the other bridge shows them.\n",
                bridge.name
            ),
            Err(_) => format!("bridge {} is not running; s and Enter starts it.\n", bridge.name),
        }
    }

    /// Starts the first bridge again, on its port.
    pub(crate) async fn start_first(&mut self) -> Result<String, Failure> {
        let Some(bridge) = self.all.first_mut() else { return Ok(String::new()) };
        if matches!(bridge.child.try_wait(), Ok(None)) {
            return Ok(format!("bridge {} is running; k and Enter kills it.\n", bridge.name));
        }
        let (name, port) = (bridge.name.clone(), bridge.port);
        let bridge = self.spawn(&name, port).await?;
        let said = format!("bridge {name}  {}\n", bridge.url);
        self.all[0] = bridge;
        Ok(said)
    }

    /// Ends all of them in order, and at once what does not end in time.
    pub(crate) async fn stop(&mut self) {
        for bridge in &self.all {
            if let Some(pid) = bridge.child.id() {
                terminate(pid);
            }
        }
        let deadline = tokio::time::Instant::now() + ENDS;
        for bridge in &mut self.all {
            if tokio::time::timeout_at(deadline, bridge.child.wait()).await.is_err() {
                let _gone = bridge.child.kill().await;
            }
        }
    }
}

fn command(program: &Path, directory: &Path, brokers: &str, port: u16) -> Command {
    let listen = format!("127.0.0.1:{port}");
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg("--config.file")
        .arg(directory.join("bridge.yaml"))
        .args(["--kafka.brokers", brokers, "--kafka.group", "demo"])
        .args(["--web.listen-address", &listen, "--web.enable-admin-api", "--end-with-stdin"])
        // Held open for as long as this process lives: a bridge does not outlive it.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself: that is what is wanted.
        let _ended = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// The port if nobody has it, else one that the system chooses.
fn free_or_any(port: u16) -> u16 {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() { port } else { 0 }
}

/// The address in the line `msg=ready listen=HOST:PORT`.
async fn ready(lines: &mut Lines<BufReader<ChildStderr>>) -> Option<String> {
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("msg=ready ") {
            let address = line.split("listen=").nth(1)?;
            return Some(address.split_whitespace().next()?.trim_matches('"').to_owned());
        }
    }
    None
}

/// What goes wrong in a bridge is shown; what goes right is on its status page.
async fn forward(name: &str, mut lines: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("level=error") {
            tracing::warn!(bridge = name, "{line}");
        }
    }
}
