use super::*;
use crate::http::{BoxBody, full, service, stream, text};
use crate::metrics::RuntimeMetrics;
use bytes::Bytes;
use hyper::StatusCode;
use tokio::task::JoinHandle;

/// A running server on a port of the system's choice.
struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    metrics: HttpMetrics,
    done: JoinHandle<()>,
}

async fn start(limits: HttpLimits, service: Service) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let metrics = RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap().http;
    let done = tokio::spawn(serve(listener, service, limits, shutdown.clone(), metrics.clone()));
    Running { address, shutdown, metrics, done }
}

fn hello() -> Service {
    service(|_| async { text(StatusCode::OK, "text/plain", "hello") })
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.unwrap()
}

/// Sends `request` and reads until the connection is closed.
async fn exchange(running: &Running, request: &str) -> String {
    let mut stream = connect(running).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_close(&mut stream).await
}

async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end too.
    drop(stream.read_to_end(&mut all).await);
    String::from_utf8(all).unwrap()
}

/// Reads until `text` has been seen.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let mut buffer = [0_u8; 4096];
    while !all.contains(text) {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "closed after {all:?}");
        all.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    all
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the condition never held");
}

const GET: &str = "GET /x?y HTTP/1.1\r\nhost: a\r\n\r\n";
const GET_CLOSE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_is_answered_and_the_connection_kept() {
    let echo = service(|request: Request<Incoming>| async move {
        let peer = request.extensions().get::<Peer>().map(|p| p.0.ip().to_string());
        full_ok(format!("{} from {}", request.uri(), peer.unwrap()))
    });
    let running = start(HttpLimits::default(), echo).await;
    let mut stream = connect(&running).await;
    for _ in 0..2 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "from 127.0.0.1").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("/x?y from 127.0.0.1"), "{answer}");
        assert!(answer.contains("content-length: 19\r\n"), "{answer}");
    }
    assert_eq!(running.metrics.connections.get(), 1);
    assert_eq!(running.metrics.capacity.get(), 1024);
    drop(stream);
    until(|| running.metrics.connections.get() == 0).await;
}

fn full_ok(body: String) -> Response<BoxBody> {
    Response::new(full(body))
}

#[tokio::test]
async fn beyond_the_bound_a_client_is_told_why_and_let_in_later() {
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let running = start(limits, hello()).await;
    let mut first = connect(&running).await;
    first.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut first, "hello").await;
    let refused = exchange(&running, GET_CLOSE).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    let (_, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(refused.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["status"], 503);
    assert_eq!(running.metrics.refused.get(), 1);
    drop(first);
    until(|| running.metrics.connections.get() == 0).await;
    assert!(exchange(&running, GET_CLOSE).await.ends_with("hello"));
}

#[tokio::test]
async fn a_head_that_does_not_come_costs_the_connection() {
    let limits = HttpLimits { header_timeout: Duration::from_millis(30), ..HttpLimits::default() };
    let running = start(limits, hello()).await;
    // Without a first byte it is closed, and nothing has failed.
    assert_eq!(exchange(&running, "").await, "");
    assert_eq!(exchange(&running, "GET / HT").await, "");
    until(|| failures(&running, "header_timeout") == 1).await;
    // A slow head on a kept connection, too.
    let mut stream = connect(&running).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut stream, "hello").await;
    stream.write_all(b"GET").await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
    until(|| failures(&running, "header_timeout") == 2).await;
}

fn failures(running: &Running, reason: &str) -> u64 {
    running.metrics.failed.with_label_values(&[reason]).get()
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_complaint() {
    let limits = HttpLimits { idle_timeout: Duration::from_millis(30), ..HttpLimits::default() };
    let running = start(limits, hello()).await;
    let answer = exchange(&running, GET).await;
    assert!(answer.ends_with("hello"), "{answer}");
    until(|| running.metrics.connections.get() == 0).await;
    for reason in ["header_timeout", "write_timeout", "disconnected", "bad_request"] {
        assert_eq!(failures(&running, reason), 0, "{reason}");
    }
}

#[tokio::test]
async fn a_service_may_take_longer_than_the_patience_for_heads() {
    let limits = HttpLimits {
        header_timeout: Duration::from_millis(20),
        idle_timeout: Duration::from_millis(20),
        ..HttpLimits::default()
    };
    let slow = service(|_| async {
        tokio::time::sleep(Duration::from_millis(120)).await;
        full_ok("late".to_owned())
    });
    let running = start(limits, slow).await;
    assert!(exchange(&running, GET_CLOSE).await.ends_with("late"));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let limits = HttpLimits { write_timeout: Duration::from_millis(50), ..HttpLimits::default() };
    let endless = service(|_| async {
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let piece = Bytes::from(vec![b'x'; 1 << 20]);
            while tx.send(piece.clone()).await.is_ok() {}
        });
        Response::new(stream(rx))
    });
    let running = start(limits, endless).await;
    let mut stalled = connect(&running).await;
    stalled.write_all(GET.as_bytes()).await.unwrap();
    until(|| failures(&running, "write_timeout") == 1).await;
    until(|| running.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn nonsense_and_huge_heads_are_refused() {
    let limits = HttpLimits { header_bytes: 8192, ..HttpLimits::default() };
    let running = start(limits, hello()).await;
    let nonsense = exchange(&running, "NONSENSE\r\n\r\n").await;
    assert!(nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");
    let huge = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let huge = exchange(&running, &huge).await;
    assert!(huge.is_empty() || huge.starts_with("HTTP/1.1 431 "), "{huge}");
    until(|| failures(&running, "bad_request") >= 1).await;
    assert!(exchange(&running, GET_CLOSE).await.ends_with("hello"));
}

#[tokio::test]
async fn a_panic_costs_one_connection() {
    let running = start(
        HttpLimits::default(),
        service(|request: Request<Incoming>| async move {
            assert!(request.uri().path() != "/panic", "asked for");
            full_ok("fine".to_owned())
        }),
    )
    .await;
    assert_eq!(exchange(&running, "GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    until(|| failures(&running, "panic") == 1).await;
    assert!(exchange(&running, GET_CLOSE).await.ends_with("fine"));
}

#[tokio::test]
async fn a_shutdown_waits_for_the_response_under_way_and_closes_idle_ones() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let gated = service(move |_| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            full_ok("at last".to_owned())
        }
    });
    let running = start(HttpLimits::default(), gated).await;
    let mut idle = connect(&running).await;
    let mut busy = connect(&running).await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    until(|| running.metrics.connections.get() == 2).await;
    // Let the request reach its service before the end begins.
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.shutdown.trigger();
    assert_eq!(read_to_close(&mut idle).await, "");
    assert!(!running.done.is_finished());
    release.send(true).unwrap();
    assert!(read_to_close(&mut busy).await.ends_with("at last"));
    running.done.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    assert_eq!(running.metrics.connections.get(), 0);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_its_grace() {
    let limits = HttpLimits { grace: Duration::from_millis(30), ..HttpLimits::default() };
    let running = start(limits, service(|_| std::future::pending())).await;
    let mut stuck = connect(&running).await;
    stuck.write_all(GET.as_bytes()).await.unwrap();
    until(|| running.metrics.connections.get() == 1).await;
    running.shutdown.trigger();
    running.done.await.unwrap();
    assert_eq!(read_to_close(&mut stuck).await, "");
}

#[tokio::test]
async fn a_body_that_breaks_breaks_the_connection() {
    let broken = service(|_| async {
        let (tx, rx) = tokio::sync::mpsc::channel(2);
        tx.send(Ok(Bytes::from("half"))).await.unwrap();
        tx.send(Err("the rest is gone".into())).await.unwrap();
        Response::new(crate::http::try_stream(rx))
    });
    let running = start(HttpLimits::default(), broken).await;
    let answer = exchange(&running, GET).await;
    assert!(!answer.ends_with("0\r\n\r\n"), "the chunked body must not look whole: {answer}");
    until(|| failures(&running, "body") == 1).await;
}

/// Reads a little, again and again: never nothing for long, and never enough.
#[tokio::test]
async fn a_client_that_dribbles_is_cut_off_and_an_honest_slow_scrape_is_not() {
    let limits = HttpLimits { write_timeout: Duration::from_secs(1), write_pace: 1 << 30, ..HttpLimits::default() };
    let endless = service(|request: Request<Incoming>| async move {
        let slow = request.uri().path() == "/slow";
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            if slow {
                // Made slowly, read at once: the time is ours.
                for _ in 0..12 {
                    tokio::time::sleep(Duration::from_millis(120)).await;
                    drop(tx.send(Bytes::from_static(b"piece")).await);
                }
                return;
            }
            while tx.send(Bytes::from(vec![b'x'; 1 << 20])).await.is_ok() {}
        });
        Response::new(stream(rx))
    });
    let running = start(limits, endless).await;
    let honest = exchange(&running, "GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(honest.matches("piece").count(), 12, "{honest}");
    assert_eq!(failures(&running, "slow_reader"), 0);

    let mut dribbling = connect(&running).await;
    dribbling.write_all(GET.as_bytes()).await.unwrap();
    let read = async {
        let mut some = vec![0; 64 << 10];
        while dribbling.read(&mut some).await.is_ok_and(|n| n > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("it is cut off");
    assert_eq!(failures(&running, "slow_reader"), 1);
}

#[tokio::test]
async fn one_client_has_only_its_share_of_the_places() {
    let limits = HttpLimits { connections: 3, connections_per_client: 2, ..HttpLimits::default() };
    let running = start(limits, hello()).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&running).await;
        stream.write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut stream, "hello").await;
        kept.push(stream);
    }
    assert!(exchange(&running, GET_CLOSE).await.starts_with("HTTP/1.1 503 "));
    // Another address of this machine.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(running.address).await.unwrap();
    other.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    assert!(read_to_close(&mut other).await.ends_with("hello"));
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let running = start(HttpLimits::default(), hello()).await;
    let head = |count: usize| format!("GET / HTTP/1.1\r\nconnection: close\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    assert!(exchange(&running, &head(100)).await.starts_with("HTTP/1.1 200 "));
    assert!(exchange(&running, &head(101)).await.starts_with("HTTP/1.1 431 "));
}
