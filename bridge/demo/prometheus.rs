//! The demo's Prometheus (`--prometheus`): the person's own program, with the rules and the
//! scrape configuration that ship with this one.
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hyper::HeaderMap;
use k2p_runtime::http::client::{ClientConfig, HttpClient};
use tokio::process::{Child, Command};

use crate::commands::Failure;

const CONFIG: &str = include_str!("../../deploy/prometheus/prometheus.yml");
const RULES: [(&str, &str); 8] = [
    ("backlog.yml", include_str!("../../alerts/rules/backlog.yml")),
    ("bridge.yml", include_str!("../../alerts/rules/bridge.yml")),
    ("delivery.yml", include_str!("../../alerts/rules/delivery.yml")),
    ("origins.yml", include_str!("../../alerts/rules/origins.yml")),
    ("pipelines-recording.yml", include_str!("../../alerts/rules/pipelines-recording.yml")),
    ("pipelines.yml", include_str!("../../alerts/rules/pipelines.yml")),
    ("run-budget.yml", include_str!("../../alerts/rules/run-budget.yml")),
    ("thresholds.yml", include_str!("../../alerts/rules/thresholds.yml")),
];
/// Where the links of the rules lead until someone says otherwise (`rules/thresholds.yml`).
const EXAMPLE_BRIDGE: &str = "https://kafka2prom.example.com";

/// How long it may take until it is ready.
const STARTS: Duration = Duration::from_secs(30);
/// Its data are thrown away, so it is killed; that takes no time.
const ENDS: Duration = Duration::from_secs(1);
const PORT: u16 = 9090;

/// The program (`$@`) ends when the pipe on the standard input does: with this process, however
/// that ended.
const UNTIL_STDIN_ENDS: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
{ read -r _ <&3; kill -9 "$pid"; } 2>/dev/null &
watcher=$!
exec 3<&-
wait "$pid"; code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"#;

/// A running Prometheus.
pub(crate) struct Prometheus {
    /// `http://127.0.0.1:PORT/`
    pub(crate) url: String,
    child: Child,
    /// Configuration, rules, data, log.
    _directory: tempfile::TempDir,
}

/// The program that `--prometheus` means; `None` without the flag.
///
/// # Errors
/// Where there is none, with what to do.
pub(crate) fn find(
    asked: Option<&Option<PathBuf>>,
    path: Option<std::ffi::OsString>,
) -> Result<Option<PathBuf>, Failure> {
    let Some(told) = asked else { return Ok(None) };
    if let Some(program) = told {
        if program.is_file() {
            return Ok(Some(program.clone()));
        }
        let what =
            format!("--prometheus {}: there is no such program; give the path of Prometheus itself", program.display());
        return Err(Failure::Usage(vec![what]));
    }
    let directories: Vec<PathBuf> = path.map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let found = directories.iter().map(|directory| directory.join("prometheus")).find(|program| program.is_file());
    let what = "--prometheus: the shell finds no prometheus; install it, or give its path: --prometheus PATH";
    found.map(Some).ok_or_else(|| Failure::Usage(vec![what.to_owned()]))
}

impl Prometheus {
    /// Starts `program` and waits until it is ready. `bridges` are `HOST:PORT`; the last one is
    /// asked for the targets and leads to every partition.
    pub(crate) async fn start(program: &Path, bridges: &[String]) -> Result<Prometheus, Failure> {
        let directory = tempfile::tempdir().map_err(Failure::failed)?;
        let listen = format!("127.0.0.1:{}", free_port(PORT)?);
        write(directory.path(), bridges, &listen).map_err(Failure::failed)?;
        let mut child = command(program, directory.path(), &listen)
            .map_err(Failure::failed)?
            .spawn()
            .map_err(|e| Failure::failed(format_args!("{} cannot be started: {e}", program.display())))?;
        let url = format!("http://{listen}/");
        if let Err(why) = ready(&url, &mut child).await {
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(5)..].join("\n");
            return Err(Failure::failed(format_args!("{} {why}; its log ends:\n{end}", program.display())));
        }
        Ok(Prometheus { url, child, _directory: directory })
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(ENDS, self.child.wait()).await.is_err() {
            let _gone = self.child.kill().await;
        }
    }
}

fn command(program: &Path, directory: &Path, listen: &str) -> std::io::Result<Command> {
    let log = std::fs::File::create(directory.join("log"))?;
    let mut command = Command::new("sh");
    command
        .args(["-c", UNTIL_STDIN_ENDS, "prometheus"])
        .arg(program)
        .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C at the terminal is the demo's: it ends its children in order.
        .process_group(0);
    Ok(command)
}

/// The configuration and the rules, as they lie beside each other in a deployment.
fn write(directory: &Path, bridges: &[String], listen: &str) -> std::io::Result<()> {
    let rules = directory.join("rules");
    std::fs::create_dir(&rules)?;
    let last = bridges.last().map_or("", String::as_str);
    for (name, text) in RULES {
        std::fs::write(rules.join(name), text.replace(EXAMPLE_BRIDGE, &format!("http://{last}")))?;
    }
    std::fs::write(directory.join("prometheus.yml"), config(CONFIG, bridges, listen))
}

/// The shipped configuration with the demo's addresses and pace, and without the
/// Alertmanager that the demo does not have.
fn config(shipped: &str, bridges: &[String], listen: &str) -> String {
    let last = bridges.last().map_or("", String::as_str);
    let mut kept = true;
    let mut out = String::new();
    for line in shipped.lines() {
        // A section or a scrape job begins.
        if line.starts_with(|c: char| c.is_ascii_lowercase()) || line.starts_with("  - job_name:") {
            kept = !line.contains("alert");
        }
        if kept {
            out.push_str(line);
            out.push('\n');
        }
    }
    let quoted: Vec<String> = bridges.iter().map(|bridge| format!("{bridge:?}")).collect();
    out.replace("\"bridge-a:9527\", \"bridge-b:9527\"", &quoted.join(", "))
        .replace("bridge:9527", last)
        .replace("localhost:9090", listen)
        .replace("scrape_interval: 15s", "scrape_interval: 5s")
        .replace("scrape_timeout: 10s", "scrape_timeout: 5s")
        .replace("evaluation_interval: 15s", "evaluation_interval: 5s")
}

async fn ready(url: &str, child: &mut Child) -> Result<(), String> {
    let client = HttpClient::new(&ClientConfig::default()).map_err(|e| e.to_string())?;
    let deadline = tokio::time::Instant::now() + STARTS;
    while tokio::time::Instant::now() < deadline {
        let asked = client.get(&format!("{url}-/ready"), HeaderMap::new(), Duration::from_secs(1), 1 << 16).await;
        if asked.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("ended ({status})"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("was not ready within {} s", STARTS.as_secs()))
}

/// The port if nobody has it, else one that was free a moment ago: its number must be known
/// before its owner starts.
pub(crate) fn free_port(wished: u16) -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", wished)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(Failure::failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A rule file that is missing here would be missing in the demo only.
    #[test]
    fn every_rule_file_is_in_the_program() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/rules");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".yml"))
            .collect();
        files.sort();
        assert_eq!(files, RULES.map(|(name, _)| name));
        let links = RULES.iter().filter(|(_, text)| text.contains(EXAMPLE_BRIDGE)).count();
        assert_eq!(links, 1, "one place says where the links lead");
    }

    #[test]
    fn the_configuration_is_the_shipped_one_with_other_addresses() {
        let text = config(CONFIG, &["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()], "127.0.0.1:3");
        for part in [
            "  scrape_interval: 5s\n  scrape_timeout: 5s\n  evaluation_interval: 5s\n",
            "  - rules/*.yml\n",
            "      - targets: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n",
            "      - url: http://127.0.0.1:2/sd?by=partition\n",
            "      - targets: [\"127.0.0.1:3\"]\n",
        ] {
            assert_eq!(text.matches(part).count(), 1, "{part:?} in\n{text}");
        }
        for part in ["alertmanager:", "bridge-", "bridge:", "localhost"] {
            assert!(!text.contains(part), "{part:?} in\n{text}");
        }
        assert_eq!(text.matches("job_name").count(), CONFIG.matches("job_name").count() - 1);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let said = |asked: Option<&Option<PathBuf>>, path: &str| match find(asked, Some(path.into())) {
            Ok(found) => Ok(found),
            Err(Failure::Usage(faults)) => Err(faults.join("\n")),
            Err(other) => panic!("{other:?}"),
        };
        let directory = tempfile::tempdir().unwrap();
        let (empty, program) = (directory.path().to_str().unwrap(), directory.path().join("prometheus"));
        assert_eq!(said(None, ""), Ok(None));
        assert!(said(Some(&None), empty).unwrap_err().contains("the shell finds no prometheus; install it"));
        assert!(said(Some(&Some(program.clone())), empty).unwrap_err().contains("there is no such program"));
        assert!(said(Some(&Some(directory.path().to_path_buf())), empty).is_err());
        std::fs::write(&program, "").unwrap();
        assert_eq!(said(Some(&None), empty), Ok(Some(program.clone())));
        assert_eq!(said(Some(&Some(program.clone())), ""), Ok(Some(program)));
    }
}
