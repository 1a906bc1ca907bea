//! `kafka2prom logs` over a store that was written by the library.
use crate::support::poll::eventually;
use crate::support::process;
use crate::support::supervise::new_dir;
use k2p_logs::{Entry, Level, LogMetrics, LogReader, LogStore, Query, ReadConfig, Source, StoreConfig};
use std::borrow::Cow;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const NOON: i64 = 1_795_262_400_000_000_000;

fn metrics() -> LogMetrics {
    LogMetrics::new(&prometheus::Registry::new()).unwrap()
}

fn append(store: &LogStore, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        let level = if offset % 10 == 0 { Level::Error } else { Level::Info };
        let line = format!(r#"{{"message":"event {offset}"}}"#);
        let source = Source { topic: "t", partition: 0, offset, line: 0 };
        let line = Cow::Owned(line.into_bytes());
        let entry = Entry { job_run_id: "run/1", at: NOON + offset * 1_000_000_000, level, line, source };
        assert_eq!(store.append(&[entry], NOON).written, 1);
    }
}

fn logs(dir: &Path, more: &[&str]) -> (i32, Vec<String>, String) {
    let dir = dir.to_string_lossy();
    let output = process::run(&[&["logs", "run/1", "--logs.dir", &dir], more].concat(), b"");
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_command_prints_what_the_reader_finds() {
    let dir = new_dir("logs");
    let store = LogStore::open(&dir, StoreConfig::default(), metrics()).unwrap();
    append(&store, 0..12_000);
    let reader = LogReader::open(&dir, ReadConfig::default(), metrics());
    let page = reader.read("run/1", &Query { limit: 10_000, ..Query::default() }).unwrap();
    let (code, lines, _) = logs(&dir, &[]);
    assert_eq!((code, lines.len()), (0, 12_000), "more than a page");
    assert!(page.entries.iter().zip(&lines).all(|(entry, line)| entry.line == *line));
    let (_, lines, _) = logs(&dir, &["--since", "2026-11-21T12:00:30Z", "--level", "error", "--limit", "2"]);
    let messages: Vec<String> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["event 30", "event 40"]);
    let (code, lines, said) = logs(&dir, &["--level", "fatal"]);
    assert_eq!((code, lines.len()), (1, 0));
    assert!(said.contains("widen --since or --level"), "{said}");
    let (code, _, said) = logs(&dir.join("nowhere"), &[]);
    assert!(code == 1 && said.contains("name another --logs.dir or --logs.url"), "{said}");
    let (code, _, said) = logs(&dir, &["--since", "noon", "--level", "loud"]);
    assert!(code == 2 && said.contains("--since noon") && said.contains("--level loud"), "{said}");
}

#[test]
fn the_command_follows_what_comes() {
    let dir = new_dir("logs");
    let store = LogStore::open(&dir, StoreConfig::default(), metrics()).unwrap();
    let path = dir.to_string_lossy().into_owned();
    let mut command = process::command(&["logs", "run/1", "--logs.dir", &path, "--follow", "--limit", "6"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, receiver) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reading = thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| sender.send(line).unwrap()));
    for batch in [0..2, 2..4, 4..6] {
        append(&store, batch.clone());
        for offset in batch {
            let line = eventually("the line is printed", Duration::from_secs(60), || receiver.try_recv().ok());
            assert!(line.ends_with(&format!("\"message\":\"event {offset}\"}}")), "{line}");
        }
    }
    assert!(child.wait().unwrap().success(), "it ends with its limit");
    reading.join().unwrap();
}
