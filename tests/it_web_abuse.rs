//! What a network full of bad clients does to the others: nothing much.
//!
//! Quiet and bad times take turns in one run, so that whatever else the machine does hits
//! both alike. What is compared has a floor: below it a difference is the machine's noise,
//! which a factor of two cannot tell from harm.
use crate::support::http::{self, Answer};
use crate::support::kafka::{Kafka, unique};
use crate::support::poll::{AtEnd, eventually};
use crate::support::process::{self, Service};
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

const LONG: Duration = Duration::from_secs(60);
/// In everything that bad clients send: in no label of ours, raw in no page and no log.
const EVIL: &str = "evil7<script>alert(1)</script>\u{1b}[31m";
const MARK: &str = "evil7";
/// Requests of the others in each time, and how often the times take turns.
const REQUESTS: usize = 100;
const ROUNDS: usize = 3;
const MEDIAN_FLOOR: Duration = Duration::from_millis(20);
const P99_FLOOR: Duration = Duration::from_millis(150);
const GROWTH: u64 = 64 << 20;

fn bridge(kafka: &Kafka, push_rate: &str) -> Service {
    let (dumps, events, pushes, state) = (unique("dumps"), unique("events"), unique("push"), unique("state"));
    kafka.create_topic(&dumps, 1, &[]);
    kafka.create_topic(&events, 1, &[("message.timestamp.type", "LogAppendTime")]);
    kafka.create_topic(&pushes, 1, &[("message.timestamp.type", "LogAppendTime")]);
    kafka.create_topic(&state, 1, &[("cleanup.policy", "compact")]);
    let file = new_dir("abuse").join("bridge.yaml");
    let text = format!(
        "kafka: {{brokers: '{}', group: {dumps}}}\n\
         topics: [{{name: {dumps}}}, {{name: {events}, kind: events}}, {{name: {pushes}, kind: push}}]\n\
         state: {{topic: {state}}}\nweb: {{listen_address: '127.0.0.1:0', push_rate: {push_rate}}}\n",
        kafka.bootstrap()
    );
    fs::write(&file, text).unwrap();
    let mut command = process::command(&["serve", "--config.file", file.to_str().unwrap()]);
    // As in the image: deploy/Dockerfile says why.
    command.envs([
        ("MALLOC_ARENA_MAX", "4"),
        ("MALLOC_MMAP_THRESHOLD_", "1048576"),
        ("MALLOC_TRIM_THRESHOLD_", "4194304"),
    ]);
    let bridge = Service::launch("bridge", &command).unwrap();
    eventually("the bridge is ready", LONG, || bridge.ready().ok());
    bridge
}

fn rss(bridge: &Service) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bridge.process().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().to_owned();
    line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Sends bytes as they are; the status of what comes back, `None` where nothing does.
fn raw(bridge: &Service, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(bridge.listen()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    // The answer may come, and the connection go, before all is sent.
    let _ = stream.write_all(bytes);
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
}

fn get(bridge: &Service, target: &str, headers: &str) -> Option<u16> {
    raw(bridge, format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").as_bytes())
}

fn post(bridge: &Service, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::request("POST", &bridge.url("/api/v1/events"), headers, body).unwrap()
}

fn push(bridge: &Service, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    http::request("PUT", &bridge.url(&format!("/metrics/job/{path}")), headers, body).unwrap().status
}

/// 600 KB that would be 600 MB.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    let member = encoder.finish().unwrap();
    member.repeat((600 << 10) / member.len())
}

/// A body that does not end: cut off by its size, or for its slowness.
fn endless(bridge: &Service, piece: &[u8], pause: Duration) -> Option<u16> {
    let mut stream = TcpStream::connect(bridge.listen()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(b"POST /api/v1/events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    for _ in 0..40_000 {
        stream.set_nonblocking(true).unwrap();
        let answered = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        if answered || stream.write_all(&chunk).is_err() {
            break;
        }
        thread::sleep(pause);
    }
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?[9..12].parse().ok()
}

/// One of each kind, in turn; an answer that is no proper refusal fails the test.
fn abuse(bridge: &Service, bomb: &[u8]) {
    let is = |what: &str, got: Option<u16>, allowed: &[u16]| {
        assert!(got.is_some_and(|status| allowed.contains(&status)), "{what}: {got:?}");
    };
    for target in
        ["/origins/%FF%FE/metrics", "/api/v1/runs/%FF%FE", "/api/v1/origins?cluster=%FF%FE", "/metrics?%FF=%FE"]
    {
        is(target, get(bridge, target, ""), &[400, 404]);
    }
    for target in [
        "/../../etc/passwd",
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/jobs/..%2F..%2Fetc%2Fpasswd/logs",
        "/static/..%5c..%5cetc",
        "//etc/passwd",
    ] {
        is(target, get(bridge, target, ""), &[400, 404]);
    }
    is("200 headers", get(bridge, "/", &"x: y\r\n".repeat(200)), &[431]);
    is("a megabyte of header", get(bridge, "/", &format!("x: {}\r\n", "y".repeat(1 << 20))), &[431]);
    let labels: String = (0..1_000_000).map(|n| format!("l{n}=\"v\",")).collect();
    is("10^6 labels in the path", get(bridge, &format!("/metrics?origin={{{labels}}}"), ""), &[400, 414, 431]);
    let fields: String = (0..1_000_000).map(|n| format!("\"l{n}\":1,")).collect();
    let fields = format!("{{{fields}\"level\":\"INFO\"}}\n");
    is("10^6 labels in a body", Some(post(bridge, &[], fields.as_bytes()).status), &[400, 413]);
    let exploded = post(bridge, &[("content-encoding", "gzip")], bomb);
    is("a bomb", Some(exploded.status), &[413]);
    is("a bomb, pushed", Some(push(bridge, "bomb", &[("content-encoding", "gzip")], bomb)), &[413]);
    is("10^6 labels, pushed", Some(push(bridge, "labels", &[], format!("m{{{labels}}} 1\n").as_bytes())), &[400, 413]);
    is("a push of no UTF-8", Some(push(bridge, "a/b/%FF%FE", &[], b"m 1\n")), &[400]);
    is("a pushed path", Some(push(bridge, "a/b/..%2F..%2Fetc", &[], b"m 1\n")), &[200, 400]);
    is("a body without end", endless(bridge, &[b'\n'; 64 << 10], Duration::ZERO), &[413]);
    // In every field that there is: of the request, and of an event.
    let encoded: String = EVIL.bytes().map(|b| format!("%{b:02X}")).collect();
    for path in
        ["/runs/", "/origins/", "/nowhere/", "/api/v1/runs/", "/api/v1/explain?origin=", "/?q=", "/runs?pipeline="]
    {
        let header = format!("user-agent: {MARK}<b>\r\nx-forwarded-for: {MARK}\r\nauthorization: Basic {MARK}\r\n");
        let got = get(bridge, &format!("{path}{encoded}"), &header);
        is(path, got, &[200, 400, 404]);
    }
    is("another method", raw(bridge, format!("{MARK} / HTTP/1.1\r\nhost: {MARK}\r\n\r\n").as_bytes()), &[400, 405]);
    let pushed = format!("# HELP m {EVIL}\nm{{l=\"{EVIL}\"}} 1\n");
    is("an evil push", Some(push(bridge, &format!("{encoded}/l/{encoded}"), &[], pushed.as_bytes())), &[200, 400]);
    is("an evil label", Some(push(bridge, &format!("a/{encoded}/b"), &[], b"m 1\n")), &[400]);
    let evil = serde_json::to_string(EVIL).unwrap();
    let event = format!(
        "{{\"run_id\":{evil},\"pipeline_id\":{evil},\"trigger_type\":{evil},\"status\":\"FAILED\",\"start_ts\":1732190400,\
         \"end_ts\":1732190401,\"last_error\":{evil},\"owner\":{evil},\"current_step\":{evil},\"triggered_by\":{evil}}}\n\
         {{{evil}:{evil}}}\n{EVIL}\n"
    );
    is("evil events", Some(post(bridge, &[("k2p-kind", MARK)], event.as_bytes()).status), &[200, 400]);
    is("evil events", Some(post(bridge, &[], event.as_bytes()).status), &[200, 400]);
}

/// 100 scrapes at once: answered, or told to come back.
fn stampede(bridge: &Service) {
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let answer = bridge.get("/metrics").unwrap();
                let told = answer.status == 503 && !answer.header("retry-after").is_empty();
                assert!(answer.status == 200 || told, "{}", answer.status);
            });
        }
    });
}

/// 1,000 connections from another address, each with a head that never ends.
fn loris(bridge: &Service, over: &AtomicBool, held: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = bridge.listen().parse().unwrap();
        let mut streams = Vec::new();
        for _ in 0..1000 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let Ok(stream) = socket.connect(address).await else { continue };
            let _ = stream.try_write(b"GET /metrics HTTP/1.1\r\nhost: a\r\n");
            streams.push(stream);
        }
        held.store(streams.len() as u64, Ordering::SeqCst);
        while !over.load(Ordering::SeqCst) {
            for stream in &streams {
                let _ = stream.try_write(b"x: y\r\n");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
}

/// What the others' requests take.
fn others(bridge: &Service, times: &mut Vec<Duration>, enough: &dyn Fn() -> bool) {
    let mut n = 0;
    while n < REQUESTS || !enough() {
        n += 1;
        let path = ["/metrics", "/api/v1/status", "/-/healthy", "/api/v1/partitions"][n % 4];
        let begun = Instant::now();
        let answer = bridge.get(path).unwrap();
        times.push(begun.elapsed());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        thread::sleep(Duration::from_millis(5));
    }
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * q) as usize]
}

#[test]
fn bad_clients_do_the_others_no_harm() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bridge = bridge(kafka, "{per_second: 1000}");
    let bomb = bomb();
    let (mut quiet, mut bad) = (Vec::new(), Vec::new());
    let mut grown = 0;
    let mut before = 0;
    for _ in 0..ROUNDS {
        others(&bridge, &mut quiet, &|| true);
        // As it is after its first requests.
        before = if before == 0 { rss(&bridge) } else { before };
        let (over, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let (held, cycles) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            let _end = (AtEnd(&over), AtEnd(&done));
            scope.spawn(|| loris(&bridge, &over, &held));
            eventually("a thousand connections are tried", LONG, || (held.load(Ordering::SeqCst) > 0).then_some(()));
            let attack = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    abuse(&bridge, &bomb);
                    stampede(&bridge);
                    cycles.fetch_add(1, Ordering::SeqCst);
                }
            });
            let watch = scope.spawn(|| {
                let mut highest = 0;
                while !done.load(Ordering::SeqCst) {
                    highest = rss(&bridge).max(highest);
                    thread::sleep(Duration::from_millis(5));
                }
                highest
            });
            // Every kind was there at least once; a fault of the attack is one of the test.
            others(&bridge, &mut bad, &|| cycles.load(Ordering::SeqCst) > 0 || attack.is_finished());
            over.store(true, Ordering::SeqCst);
            let attacked = attack.join();
            done.store(true, Ordering::SeqCst);
            attacked.unwrap();
            grown = watch.join().unwrap().saturating_sub(before).max(grown);
        });
    }
    let (mut q, mut b) = (quiet, bad);
    let figures: Vec<(Duration, Duration)> =
        [0.5, 0.99].map(|at| (quantile(&mut q, at), quantile(&mut b, at))).to_vec();
    eprintln!("quiet and bad times: median {:?}, p99 {:?}; grown by {} KiB", figures[0], figures[1], grown >> 10);
    for ((calm, harmed), floor) in figures.into_iter().zip([MEDIAN_FLOOR, P99_FLOOR]) {
        assert!(harmed <= 2 * calm.max(floor), "{calm:?} became {harmed:?}");
    }
    assert!(grown < GROWTH, "grown by {grown} bytes");
    nothing_of_it_is_shown(&bridge);
}

/// No label of ours, no markup in a page, no escape in the log.
fn nothing_of_it_is_shown(bridge: &Service) {
    assert!(bridge.own("kafka2prom_http_connections_refused_total", &[]) > 0.0, "one client has only its share");
    let own = bridge.get("/metrics/self").unwrap().text();
    let ours: Vec<&str> = own.lines().filter(|l| l.contains(MARK) && l.starts_with("kafka2prom_")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    for path in ["/", "/runs", "/pipelines", "/groups"] {
        let answer = bridge.get(path).unwrap();
        let page = answer.text();
        assert!(answer.header("content-security-policy").contains("script-src 'self'"), "{path}");
        assert!(!page.contains("<script>") && !page.contains('\u{1b}'), "{path}: {page}");
        assert!(!page.contains(" style=") && !page.contains("<style"), "{path} has inline style");
        assert!(!page.contains(" onclick=") && !page.contains("javascript:"), "{path} has inline script");
    }
    for path in ["/nowhere", "/api/v1/status", "/metrics/self", "/static/status.css"] {
        let answer = bridge.get(path).unwrap();
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
    }
    assert!(!bridge.process().stderr().contains('\u{1b}'), "an escape in the log");
}

/// A client that sends its body a byte at a time is told so, early.
#[test]
fn a_body_that_drips_is_given_up_and_a_client_that_pushes_too_often_is_told() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let bridge = bridge(kafka, "{per_second: 1, burst: 5}");
    assert_eq!(endless(&bridge, b"x", Duration::from_millis(200)), Some(408));
    let refused = eventually("the rate is used up", LONG, || {
        let answer = post(&bridge, &[], b"x\n");
        assert!(matches!(answer.status, 400 | 429), "{}", answer.text());
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(refused.header("retry-after"), "1");
    assert!(bridge.own("kafka2prom_http_requests_refused_total", &[("reason", "client_rate")]) >= 1.0);
    assert_eq!(bridge.get("/metrics").unwrap().status, 200, "reading is another matter");
}
