//! The emitters of `deploy/emitters`: Python's own tests, and log4j 2 with the jars that
//! Kafka brings.
use crate::support::parts::{self, KafkaVersion};
use crate::support::skip::{Missing, require};
use crate::support::supervise::new_dir;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

fn emitters() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/emitters")
}

#[test]
fn the_python_emitter_passes_its_tests() {
    let Some(mut python) = require(parts::python()) else { return };
    python.args(["-B", "-m", "unittest", "test_k2p_logging"]).current_dir(emitters());
    let output = python.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Ran 10 tests"), "{said}");
}

fn java(config: &str, properties: &[(&str, &str)]) -> Result<Command, Missing> {
    let libs = parts::kafka_libs(KafkaVersion::V4)?;
    let mut command = Command::new("java");
    command.arg("-cp").arg(libs.join("*"));
    command.arg(format!("-Dlog4j2.configurationFile={}", emitters().join(config).display()));
    command.args(properties.iter().map(|(name, value)| format!("-Dk2p.{name}={value}")));
    Ok(command)
}

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// A Kafka broker that cannot start is a job that fails with a stack.
#[test]
fn log4j_writes_events_of_a_job_that_fails() {
    let file = new_dir("emitters").join("events.jsonl");
    let path = file.to_string_lossy();
    let properties = [("pipeline", "orders"), ("run", "r \"1\""), ("env", "test"), ("file", &path)];
    let Some(mut command) = require(java("log4j2-k2p.properties", &properties)) else { return };
    let output = command.args(["kafka.Kafka", "/nowhere/server.properties"]).output().unwrap();
    assert!(!output.status.success());
    let events = events(&fs::read_to_string(&file).unwrap());
    let failed = events.iter().find(|event| event["error"]["type"] != "").expect("an event with an error");
    assert_eq!(failed["error"]["type"], "java.nio.file.NoSuchFileException");
    assert!(failed["error"]["stack"].as_str().unwrap().contains("\n\tat "), "{failed}");
    assert_eq!((&failed["run_id"], &failed["pipeline_id"]), (&"r \"1\"".into(), &"orders".into()));
}

/// Java compiles a single file only where a JDK is.
fn emit(config: &str, properties: &[(&str, &str)], count: &str) -> Result<Command, Missing> {
    let mut command = java(config, properties)?;
    let modules = Command::new("java").arg("--list-modules").output().unwrap();
    if !String::from_utf8_lossy(&modules.stdout).contains("jdk.compiler") {
        return Err(Missing::Elsewhere("java has no compiler here (a JRE)".into()));
    }
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emitters/Emit.java")).arg(count);
    Ok(command)
}

#[track_caller]
fn check(text: &str, output: &std::process::Output, count: usize) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let dropped = said.lines().find_map(|line| line.strip_prefix("dropped=")).expect("a count of drops");
    let events = events(text);
    assert_eq!(events.len() + dropped.parse::<usize>().unwrap(), count + 2, "each event is written or counted");
    assert_eq!((&events[0]["level"], &events[0]["message"]), (&"INFO".into(), &"plain 1".into()));
    assert_eq!(events[1]["message"], "quote \" newline \n tab \t back \\ ä \u{1}");
    assert_eq!(events[1]["step"], "load \"x\"");
    assert_eq!(events[1]["error"]["type"], "java.lang.IllegalStateException");
    assert!(events[1]["error"]["stack"].as_str().unwrap().contains("Caused by: java.lang.RuntimeException"));
}

#[test]
fn log4j_writes_every_event_to_a_file_or_counts_it() {
    let file = new_dir("emitters").join("events.jsonl");
    let path = file.to_string_lossy();
    let properties = [("pipeline", "orders"), ("run", "r"), ("file", &*path)];
    let Some(mut command) = require(emit("log4j2-k2p.properties", &properties, "50000")) else { return };
    let output = command.output().unwrap();
    check(&fs::read_to_string(&file).unwrap(), &output, 50_000);
}

#[test]
fn log4j_posts_every_event_or_counts_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/events", listener.local_addr().unwrap());
    let properties = [("pipeline", "orders"), ("run", "r"), ("url", url.as_str())];
    let Some(mut command) = require(emit("log4j2-k2p-http.properties", &properties, "20")) else { return };
    let (sender, bodies) = mpsc::channel();
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || serve(stream.unwrap(), &sender));
        }
    });
    let output = command.output().unwrap();
    let text: String = bodies.try_iter().collect();
    check(&text, &output, 20);
}

/// Answers the requests of one connection with 200.
fn serve(stream: std::net::TcpStream, bodies: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        bodies.send(String::from_utf8(body).unwrap()).unwrap();
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
}
