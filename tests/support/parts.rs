//! Where the downloaded parts lie: told by `tests/run`, else in its cache.
use super::skip::Missing;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Kafka's version: one broker of each is tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaVersion {
    /// 4.3.0: KRaft, classic and KIP-848 groups.
    V4,
    /// 3.9.1: the last 3.x.
    V3,
}

/// Prometheus' generation, named by the Debian suite that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 2.42, Alertmanager 0.25.
    Bookworm,
    /// 3.5 or newer, Alertmanager 0.33.
    Sid,
}

impl Generation {
    /// Both.
    pub const ALL: [Generation; 2] = [Generation::Bookworm, Generation::Sid];
}

/// The directory of the broker's jars.
pub fn kafka_libs(version: KafkaVersion) -> Result<PathBuf, Missing> {
    let (variable, name) = match version {
        KafkaVersion::V4 => ("K2P_KAFKA_LIBS", "kafka-4.3.0"),
        KafkaVersion::V3 => ("K2P_KAFKA39_LIBS", "kafka-3.9.1"),
    };
    java()?;
    part(variable, &format!("{name}/libs"), name)
}

/// The `java` command runs.
pub fn java() -> Result<(), Missing> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    command_works(&FOUND, "java", "-version")
        .then_some(())
        .ok_or_else(|| Missing::Part("java is missing (apt-get install default-jre-headless)".into()))
}

/// One binary of the Prometheus packages: `prometheus`, `promtool`,
/// `prometheus-alertmanager` or `amtool`.
pub fn prometheus_tool(generation: Generation, tool: &str) -> Result<PathBuf, Missing> {
    let (variable, name) = match generation {
        Generation::Bookworm => ("K2P_PROMETHEUS_BOOKWORM", "prometheus-bookworm"),
        Generation::Sid => ("K2P_PROMETHEUS_SID", "prometheus-sid"),
    };
    part(variable, &format!("{name}/usr/bin"), name).map(|bin| bin.join(tool))
}

/// The loader of Docker Compose: `compose-config --format json FILE`.
pub fn compose_config() -> Result<PathBuf, Missing> {
    part("K2P_COMPOSE", "compose", "compose").map(|dir| dir.join("compose-config"))
}

/// A `python3` command that finds `prometheus_client`.
pub fn python() -> Result<Command, Missing> {
    python_with(&part("K2P_PYTHON_LIBS", "python", "prometheus_client")?)
}

fn python_with(libraries: &Path) -> Result<Command, Missing> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let interpreter = env::var("K2P_PYTHON").unwrap_or_else(|_| "python3".into());
    if !command_works(&FOUND, &interpreter, "--version") {
        return Err(Missing::Part("python3 is missing (apt-get install python3)".into()));
    }
    let mut command = Command::new(interpreter);
    command.env("PYTHONPATH", libraries);
    Ok(command)
}

/// A `python3` command that finds `playwright`, and what it needs to know: the browser's path
/// and that of `axe.min.js`, as `K2P_CHROMIUM` and `K2P_AXE`.
pub fn browser() -> Result<Command, Missing> {
    let dir = part("K2P_BROWSER", "browser", "the browser's driver")?;
    let found = ["chromium", "google-chrome"].iter().find_map(|name| on_path(name));
    let chromium = found.ok_or_else(|| Missing::Part("chromium is missing (apt-get install chromium)".into()))?;
    let mut command = python_with(&dir)?;
    command.env("K2P_CHROMIUM", chromium).env("K2P_AXE", dir.join("axe.min.js"));
    Ok(command)
}

/// What pushes with the clients of Go (a program) and of Java (a directory of jars).
pub fn push_clients() -> Result<(PathBuf, PathBuf), Missing> {
    java()?;
    let dir = part("K2P_PUSH_CLIENTS", "push-clients", "the clients of Go and Java")?;
    Ok((dir.join("pushclient"), dir.join("libs")))
}

/// The `schemathesis` command.
pub fn schemathesis() -> Result<Command, Missing> {
    let dir = part("K2P_SCHEMATHESIS", "schemathesis", "schemathesis")?;
    let mut command = python_with(&dir)?;
    command.args(["-c", "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"]);
    Ok(command)
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// A directory of the developers' workplace that a fresh clone has not
/// (`K2P_SHARED`, else `../shared` of the repository and its parents).
pub fn shared(name: &str) -> Result<PathBuf, Missing> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = env::var_os("K2P_SHARED").map(PathBuf::from);
    let around = repository.ancestors().skip(1).map(|dir| dir.join("shared"));
    told.into_iter()
        .chain(around)
        .map(|dir| dir.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| Missing::Elsewhere(format!("../shared/{name} is not beside the repository")))
}

fn part(variable: &str, place: &str, name: &str) -> Result<PathBuf, Missing> {
    let told = env::var_os(variable).filter(|path| !path.is_empty());
    let path = told.map_or_else(|| cache().join(place), PathBuf::from);
    if path.is_dir() {
        return Ok(path);
    }
    Err(Missing::Part(format!("{name} is not downloaded (tests/run does it)")))
}

/// The same place as `tests/fetch/lib.sh` takes.
fn cache() -> PathBuf {
    if let Some(told) = env::var_os("K2P_CACHE") {
        return PathBuf::from(told);
    }
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache");
    env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("kafka2prom")
}

fn command_works(found: &OnceLock<bool>, program: &str, argument: &str) -> bool {
    let works = || Command::new(program).arg(argument).output().is_ok_and(|o| o.status.success());
    *found.get_or_init(works)
}
