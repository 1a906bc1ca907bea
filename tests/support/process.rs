//! The built binary as a process.
use super::http::{self, Answer};
use super::kafka::Kafka;
use super::supervise::{Signal, Supervised};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{io::Write, thread};

const READY: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(30);

/// The binary that cargo built for this test run.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kafka2prom"))
}

/// A command of the binary, without what the developer's environment would
/// change.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Runs the binary to its end with `stdin`, for commands that answer and leave.
pub fn run(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("stdin is piped");
    thread::scope(|scope| {
        scope.spawn(move || {
            // It may leave without reading everything.
            let _ = input.write_all(stdin);
        });
        child.wait_with_output().expect("it can be waited for")
    })
}

/// A long-lived process of the binary that has said that it is ready.
#[derive(Debug)]
pub struct Service {
    process: Supervised,
    listen: String,
}

impl Service {
    /// Starts the binary and waits for its line with `msg=ready listen=HOST:PORT`.
    ///
    /// # Errors
    /// Where it ends, or is not ready in a minute: its log.
    pub fn start(name: &str, arguments: &[&str]) -> Result<Service, String> {
        Service::launch(name, &command(arguments))
    }

    /// [`Service::start`] of a command that the caller made.
    ///
    /// # Errors
    /// The same.
    pub fn launch(name: &str, command: &Command) -> Result<Service, String> {
        let process = Supervised::start(name, command, None);
        let listen = process.wait_log(READY, listen_address)?;
        Ok(Service { process, listen })
    }

    /// `kafka2prom serve` of a group on a topic, on a free port. `extra` are
    /// further flags.
    ///
    /// # Panics
    /// Where it does not become ready.
    pub fn bridge(kafka: &Kafka, group: &str, topic: &str, extra: &[&str]) -> Service {
        Service::bridge_at(&kafka.bootstrap(), group, topic, extra)
    }

    /// [`Service::bridge`] with other brokers' addresses, such as
    /// [`Kafka::chaos_bootstrap`].
    ///
    /// # Panics
    /// Where it does not become ready.
    pub fn bridge_at(brokers: &str, group: &str, topic: &str, extra: &[&str]) -> Service {
        let mut arguments = vec!["serve", "--kafka.brokers", brokers, "--kafka.group", group];
        arguments.extend(["--kafka.topic", topic, "--web.listen-address", "127.0.0.1:0"]);
        arguments.extend(extra);
        Service::start("bridge", &arguments).unwrap_or_else(|e| panic!("the bridge does not start: {e}"))
    }

    /// Where it listens: `HOST:PORT`.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    /// GET, with any status. An error where it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        http::get(&self.url(path), &[])
    }

    /// The process, for signals and logs.
    pub fn process(&self) -> &Supervised {
        &self.process
    }

    /// SIGTERM, and its exit code.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub fn stop(&self) -> i32 {
        self.process.signal(Signal::Term);
        self.process.wait_exit(END)
    }
}

/// The address in the line of the log (logfmt, JSON likewise) that says ready.
fn listen_address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("msg=ready ") || line.contains(r#""msg":"ready""#))?;
    let after = line.split_once("listen=").or_else(|| line.split_once(r#""listen":"#))?.1;
    let address: &str = after.trim_start_matches('"').split([' ', '"', ',']).next()?;
    address.contains(':').then(|| address.to_owned())
}
