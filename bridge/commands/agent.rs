//! `kafka2prom agent`
use k2p_agent::{Config, RawConfig};
use k2p_runtime::config::{Document, Reader, parse_duration, parse_listen_address};

use super::process;
use super::{Done, Failure};
use crate::cli::{AgentArgs, LogArgs};

pub(crate) fn run(args: &AgentArgs, log: &LogArgs) -> Done {
    let config = load(args).map_err(Failure::Usage)?;
    let runtime = process::tokio_runtime()?;
    runtime.block_on(async {
        let process = process::begin(log, "kafka2prom-agent")?;
        let ended = k2p_agent::run(config, process.shutdown.clone(), &process.registry, &process.runtime).await;
        drop(process);
        ended.map_err(Failure::failed)
    })
}

/// From the file, or from flags; every fault at once.
fn load(args: &AgentArgs) -> Result<Config, Vec<String>> {
    if let Some(path) = &args.config {
        return from_file(path, args);
    }
    let mut faults = Vec::new();
    let mut raw = RawConfig { brokers: args.kafka.brokers.clone().unwrap_or_default(), ..RawConfig::default() };
    if args.kafka.brokers.is_none() {
        faults.push("no broker: name one with --kafka.brokers HOST:PORT".to_owned());
    }
    for property in &args.kafka.properties {
        match property.split_once('=') {
            Some((name, value)) => {
                raw.properties.insert(name.to_owned(), value.to_owned());
            }
            None => faults.push("--kafka.property: expected NAME=VALUE, e.g. security.protocol=SSL".to_owned()),
        }
    }
    if let Some(text) = &args.interval {
        match parse_duration(text) {
            Ok(interval) => raw.interval = interval,
            Err(error) => faults.push(format!("--interval {text}: {error}")),
        }
    }
    if let Some(text) = &args.listen {
        match parse_listen_address(text) {
            Ok(address) => raw.listen_address = Some(address),
            Err(error) => faults.push(format!("--web.listen-address {text}: {error}")),
        }
    }
    raw.topic = args.topic.clone().unwrap_or(raw.topic);
    raw.labels.clone_from(&args.labels);
    raw.scrape.clone_from(&args.scrape);
    raw.files.clone_from(&args.files);
    if args.kafka.brokers.is_none() {
        // Everything else is still checked, so that all faults are said at once.
        "localhost:9092".clone_into(&mut raw.brokers);
    }
    match Config::validate(raw) {
        Ok(config) if faults.is_empty() => Ok(config),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

fn from_file(path: &std::path::Path, args: &AgentArgs) -> Result<Config, Vec<String>> {
    let mixed = !args.scrape.is_empty() || !args.files.is_empty() || !args.labels.is_empty();
    if mixed || args.kafka.brokers.is_some() {
        return Err(vec![
            "--config.file: an agent takes either a file or flags; move the flags into the file".to_owned(),
        ]);
    }
    let reader = Reader::new(Document::load(path));
    let config = Config::from_section(&reader.root());
    reader.finish().map_err(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    config.ok_or_else(|| vec![format!("{}: no agent is configured in it", path.display())])
}
