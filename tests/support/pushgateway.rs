//! A real Pushgateway of either generation, and protobuf bodies for it.
use super::http;
use super::parts::{self, Generation};
use super::poll;
use super::skip::Missing;
use super::supervise::{Supervised, free_port};
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
const ATTEMPTS: usize = 3;

/// A running Pushgateway with its admin API.
#[derive(Debug)]
pub struct Pushgateway {
    address: String,
    process: Supervised,
}

impl Pushgateway {
    /// Starts it with more flags.
    ///
    /// # Panics
    /// Where it does not start, with its log.
    pub fn start(generation: Generation, flags: &[&str]) -> Result<Pushgateway, Missing> {
        let program = parts::prometheus_tool(generation, "prometheus-pushgateway")?;
        if !Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Err(Missing::Part(format!("{} does not run here", program.display())));
        }
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let address = format!("127.0.0.1:{}", free_port());
            let mut command = Command::new(&program);
            command.args(["--web.listen-address", &address, "--web.enable-admin-api"]).args(flags);
            let process = Supervised::start("pushgateway", &command, None);
            let pushgateway = Pushgateway { address, process };
            match poll::within(START, || pushgateway.is_up()) {
                Ok(()) => return Ok(pushgateway),
                Err(why) => last = why,
            }
        }
        panic!("the Pushgateway {generation:?} does not start: {last}")
    }

    fn is_up(&self) -> Result<(), String> {
        match http::get(&self.url("/-/ready"), &[]) {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(why) => Err(format!("{why}: {}", self.process.log_tail())),
        }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its process.
    pub fn process(&self) -> &Supervised {
        &self.process
    }
}

/// Bytes with their length before them.
pub fn delimited(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, message.len() as u64);
    out.extend_from_slice(message);
    out
}

/// A field of bytes: text or a message.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3 | 2);
    out.extend(delimited(bytes));
    out
}

/// A field of a whole number.
pub fn whole(number: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3);
    varint(&mut out, value);
    out
}

/// A field of a double.
pub fn double(number: u64, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3 | 1);
    out.extend(value.to_le_bytes());
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}
