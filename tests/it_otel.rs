//! Own telemetry of the real binary, received by a small OTLP/HTTP server.
use crate::support::kafka::{Kafka, unique};
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::skip::require;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Everything that came, by path.
type Received = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Answers every request with an empty message, which is OTLP's full success.
fn receiver() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let all = received.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            thread::spawn(move || {
                let mut from = BufReader::new(stream);
                while let Some((path, body)) = request(&mut from) {
                    all.lock().unwrap().entry(path).or_default().extend(body);
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
                    if from.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, received)
}

/// The next request of a connection; `None` at its end.
fn request(from: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        from.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((path, body))
}

#[test]
fn traces_logs_and_own_metrics_leave_by_otlp() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("otel");
    kafka.create_topic(&topic, 1, &[]);
    let (url, received) = receiver();
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &["--otel.endpoint", &url]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    // What is queued leaves at the end at the latest.
    assert_eq!(bridge.stop(), 0, "{}", bridge.process().log_tail());
    // Strings are written as they are in protobuf.
    for (path, texts) in [
        ("/v1/logs", ["kafka2prom", "partition is live", topic.as_str()]),
        ("/v1/traces", ["kafka2prom", "handover", "claim_ms"]),
        ("/v1/metrics", ["kafka2prom", "kafka2prom_build_info", topic.as_str()]),
    ] {
        eventually_ok(&format!("{path} got what it should"), LONG, || {
            let received = received.lock().unwrap();
            let Some(body) = received.get(path) else {
                return Err(format!("nothing came there, only to {:?}", received.keys()));
            };
            let has = |text: &&str| body.windows(text.len()).any(|window| window == text.as_bytes());
            match texts.iter().find(|text| !has(text)) {
                None => Ok(()),
                Some(text) => Err(format!("{} bytes without {text:?}", body.len())),
            }
        });
    }
}

/// An endpoint that is away costs a counter, nothing else.
#[test]
fn an_endpoint_that_is_away_costs_a_counter() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("otel");
    kafka.create_topic(&topic, 1, &[]);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &["--otel.endpoint", &format!("http://{gone}")]);
    eventually_ok("the bridge is ready", LONG, || bridge.ready());
    eventually_ok("what did not arrive is counted", LONG, || {
        let dropped = bridge.own("kafka2prom_telemetry_dropped_total", &[("signal", "logs")]);
        if dropped > 0.0 { Ok(()) } else { Err(bridge.get("/metrics/self")?.text()) }
    });
    assert_eq!(bridge.stop(), 0, "{}", bridge.process().log_tail());
}
