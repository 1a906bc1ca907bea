//! `kafka2prom check config|web-config|kafka|health|templates`
mod templates;

use std::path::Path;
use std::time::Duration;

use hyper::HeaderMap;
use k2p_runtime::config::Reader;
use k2p_runtime::http::client::HttpClient;
use k2p_runtime::http::web::WebConfig;
use k2p_server::check::{self, Verdict};
use k2p_server::config::Flags;

use super::{Done, Failure, agent, http_client, kafka_config, process, serve};
use crate::cli::{CheckCommand, CheckKafkaArgs, HttpArgs};

/// What supervises a process asks it every few seconds.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(4);
/// An answer is a line or two.
const HEALTH_BYTES: usize = 1 << 16;

pub(crate) fn run(command: &CheckCommand) -> Done {
    match command {
        CheckCommand::Config { file } => {
            let what = if is_agents(file) { check_agents(file) } else { check_bridges(file) };
            println!("{}: ok, {}", file.display(), what.map_err(Failure::Usage)?);
            Ok(())
        }
        CheckCommand::Kafka(args) => kafka(args),
        CheckCommand::WebConfig { file } => {
            let config = WebConfig::load(file).map_err(Failure::Usage)?;
            println!("{}: ok, {}", file.display(), config.summary());
            Ok(())
        }
        CheckCommand::Health { url, http } => health(url, http),
        CheckCommand::Templates(args) => templates::run(args),
    }
}

fn health(url: &str, http: &HttpArgs) -> Done {
    let config = http_client(http)?;
    let answer = process::tokio_runtime()?.block_on(async {
        let client = HttpClient::new(&config).map_err(Failure::failed)?;
        let asked = client.get(url, HeaderMap::new(), HEALTH_TIMEOUT, HEALTH_BYTES).await;
        asked.map_err(|e| Failure::failed(format_args!("{url} does not answer: {e}")))
    })?;
    println!("{}", String::from_utf8_lossy(&answer.body).trim_end());
    if answer.status.is_success() { Ok(()) } else { Err(Failure::Silent) }
}

/// Whether a file is an agent's: it says what is to be shipped, and not what is consumed.
fn is_agents(file: &Path) -> bool {
    let reader = Reader::new(k2p_runtime::config::load(file));
    let root = reader.root();
    root.has("agent") && !root.has("topics")
}

fn check_bridges(file: &Path) -> Result<String, Vec<String>> {
    let config = serve::load(Some(file), &Flags::default())?;
    check_web(config.web.config_file.as_deref())?;
    let names: Vec<&str> = config.topics.iter().map(|t| &*t.name).collect();
    Ok(format!("a bridge that consumes {}", names.join(", ")))
}

/// The web configuration that a file names.
fn check_web(file: Option<&Path>) -> Result<(), Vec<String>> {
    file.map_or(Ok(()), |file| WebConfig::load(file).map(|_| ()))
}

fn check_agents(file: &Path) -> Result<String, Vec<String>> {
    let config = agent::load_file(file)?;
    check_web(config.web_config.as_deref())?;
    Ok(format!("an agent; targets: {}, files: {}", config.targets.len(), config.files.len()))
}

fn kafka(args: &CheckKafkaArgs) -> Done {
    let config = kafka_config(&args.kafka, Some(&args.group))?;
    let findings = check::run(&config, &args.topic, |finding| {
        println!("{:<8} {}\n         {}", finding.verdict.as_str(), finding.assumption, finding.found);
    });
    if findings.iter().all(|f| f.verdict == Verdict::Holds) {
        println!("Everything that the promise rests on was seen to hold here.");
        return Ok(());
    }
    println!("The promise was not shown to hold on this cluster: see what is not ok above.");
    Err(Failure::Silent)
}
