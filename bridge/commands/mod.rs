//! One module per command: reads its arguments, composes the crates, prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line's output")]

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod decode;
pub(crate) mod explain;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod push;
pub(crate) mod serve;
pub(crate) mod topics;

use std::fmt::Display;

use k2p_runtime::http::client::{ClientAuthentication, ClientConfig};
use k2p_runtime::kafka::{KafkaConfigError, Subject};

/// How a command ends when it does not end well. Exit codes as in design §5.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was checked does not hold, or could not be done: 1.
    Failed(String),
    /// The same, and everything was said already: 1.
    Silent,
    /// Usage or configuration: 2. One fault a line.
    Usage(Vec<String>),
}

impl Failure {
    /// What could not be done, and why.
    pub(crate) fn failed(what: impl Display) -> Failure {
        Failure::Failed(what.to_string())
    }

    /// Tells the person at the terminal.
    pub(crate) fn print(&self) {
        match self {
            Failure::Failed(what) => eprintln!("kafka2prom: {what}"),
            Failure::Silent => {}
            Failure::Usage(faults) => {
                for fault in faults {
                    eprintln!("kafka2prom: {fault}");
                }
            }
        }
    }
}

/// What a command returns.
pub(crate) type Done = Result<(), Failure>;

/// How a command shows itself to a bridge, and whom it trusts.
pub(crate) fn http_client(args: &crate::cli::HttpArgs) -> Result<ClientConfig, Failure> {
    let load = |path| ClientAuthentication::load(path).map_err(Failure::Usage);
    let authentication = args.http_config.as_deref().map(load).transpose()?.unwrap_or_default();
    Ok(ClientConfig { authentication, ..ClientConfig::default() })
}

/// The Kafka settings of a command that has flags only.
pub(crate) fn kafka_config(
    args: &crate::cli::KafkaArgs,
    group: Option<&str>,
) -> Result<k2p_runtime::kafka::KafkaConfig, Failure> {
    let Some(brokers) = &args.brokers else {
        return Err(Failure::Usage(vec!["no broker: name one with --kafka.brokers HOST:PORT".to_owned()]));
    };
    let mut properties = std::collections::BTreeMap::new();
    for property in &args.properties {
        let (name, value) = name_value(property).map_err(|fault| Failure::Usage(vec![fault]))?;
        properties.insert(name, value);
    }
    k2p_runtime::kafka::KafkaConfig::new(brokers, group, properties, k2p_runtime::kafka::KafkaTimings::default())
        .map_err(|faults| Failure::Usage(faults.0.iter().map(of_flag).collect()))
}

/// One `--kafka.property`.
pub(crate) fn name_value(property: &str) -> Result<(String, String), String> {
    match property.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("--kafka.property: expected NAME=VALUE, e.g. security.protocol=SSL".to_owned()),
    }
}

/// A fault of the Kafka settings, under the flag that it came from.
fn of_flag(fault: &KafkaConfigError) -> String {
    match &fault.subject {
        Subject::Property(name) => format!("--kafka.property {name}: {}; {}", fault.message, fault.remedy),
        _ => format!("--kafka.{fault}"),
    }
}
