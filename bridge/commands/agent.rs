//! `kafka2prom agent`
use std::path::Path;

use k2p_agent::{Config, RawConfig};
use k2p_runtime::config::{Reader, parse_duration, parse_listen_address};

use super::process;
use super::{Done, Failure};
use crate::cli::AgentArgs;

pub(crate) fn run(args: &AgentArgs) -> Done {
    let config = load(args).map_err(Failure::Usage)?;
    let runtime = process::tokio_runtime()?;
    runtime.block_on(async {
        let process = process::begin(&args.log, "kafka2prom-agent")?;
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
        match super::name_value(property) {
            Ok((name, value)) => {
                raw.properties.insert(name, value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if let Some(text) = &args.interval {
        match parse_duration(text) {
            Ok(interval) => raw.interval = interval,
            Err(error) => faults.push(format!("--interval {text}: {error}")),
        }
    }
    if let Some(text) = &args.timeout {
        match parse_duration(text) {
            Ok(timeout) => raw.timeout = Some(timeout),
            Err(error) => faults.push(format!("--timeout {text}: {error}")),
        }
    }
    raw.listen_address = listen(args, &mut faults);
    raw.topic = args.topic.clone().unwrap_or(raw.topic);
    raw.labels.clone_from(&args.labels);
    raw.scrape.clone_from(&args.scrape);
    raw.files.clone_from(&args.files);
    if args.kafka.brokers.is_none() {
        // Everything else is still checked, so that all faults are said at once.
        "localhost:9092".clone_into(&mut raw.brokers);
    }
    match Config::validate(raw) {
        Ok(mut config) if faults.is_empty() => {
            config.web_config.clone_from(&args.web_config);
            Ok(config)
        }
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

/// `--web.listen-address`, if given.
fn listen(args: &AgentArgs, faults: &mut Vec<String>) -> Option<String> {
    let text = args.listen.as_ref()?;
    parse_listen_address(text).map_err(|error| faults.push(format!("--web.listen-address {text}: {error}"))).ok()
}

/// The flags that may not stand beside a file, as they were given.
fn beside_a_file(args: &AgentArgs) -> Vec<&'static str> {
    let all = [
        ("--kafka.brokers", args.kafka.brokers.is_some()),
        ("--kafka.property", !args.kafka.properties.is_empty()),
        ("--kafka.topic", args.topic.is_some()),
        ("--scrape", !args.scrape.is_empty()),
        ("--file", !args.files.is_empty()),
        ("--label", !args.labels.is_empty()),
        ("--interval", args.interval.is_some()),
        ("--timeout", args.timeout.is_some()),
    ];
    all.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
}

fn from_file(path: &Path, args: &AgentArgs) -> Result<Config, Vec<String>> {
    let mut faults = Vec::new();
    let mixed = beside_a_file(args);
    if !mixed.is_empty() {
        let mixed = mixed.join(" ");
        faults.push(format!("--config.file goes with no {mixed}; say it in the file instead, or give no file"));
    }
    let address = listen(args, &mut faults);
    match load_file(path) {
        Ok(mut config) if faults.is_empty() => {
            config.listen_address = address.or(config.listen_address);
            config.web_config = args.web_config.clone().or(config.web_config);
            Ok(config)
        }
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

/// An agent's file; every fault of it at once.
pub(crate) fn load_file(path: &Path) -> Result<Config, Vec<String>> {
    let reader = Reader::new(k2p_runtime::config::load(path));
    let config = if reader.is_readable() { Config::from_section(&reader.root()) } else { None };
    reader.finish().map_err(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    config.ok_or_else(|| vec![format!("{}: no agent is configured in it", path.display())])
}
