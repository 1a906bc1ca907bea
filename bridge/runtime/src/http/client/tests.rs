use super::*;
use crate::http::{HttpLimits, Query};
use crate::http::{Service, full, serve, service, stream};
use crate::metrics::RuntimeMetrics;
use crate::shutdown::Shutdown;
use hyper::body::Incoming;

const SECOND: Duration = Duration::from_secs(30);

async fn start(service: Service) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap().http;
    tokio::spawn(serve(listener, service, HttpLimits::default(), Shutdown::new(), metrics));
    format!("http://{address}")
}

fn client() -> HttpClient {
    HttpClient::new(&ClientConfig::default()).unwrap()
}

async fn get(url: &str, max: usize) -> Result<Fetched, ClientError> {
    client().get(url, HeaderMap::new(), SECOND, max).await
}

#[tokio::test]
async fn a_response_comes_whole_whatever_its_status() {
    let base = start(service(|request: Request<Incoming>| async move {
        let query = Query::of(&request).unwrap();
        let accept = request.headers()["accept"].to_str().unwrap().to_owned();
        let mut response = Response::new(full(format!("{accept} {:?}", query.get("q"))));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    }))
    .await;
    let mut headers = HeaderMap::new();
    headers.insert("accept", "text/plain".parse().unwrap());
    let got = client().get(&format!("{base}/?q=a"), headers, SECOND, 100).await.unwrap();
    assert_eq!(got.status, 418);
    assert_eq!(got.body, "text/plain Some(\"a\")");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let base = start(service(|_| async { Response::new(full("x".repeat(1000))) })).await;
    assert_eq!(get(&base, 1000).await.unwrap().body.len(), 1000);
    let error = get(&base, 999).await.unwrap_err();
    assert_eq!(error.reason(), "too_large");
    assert_eq!(error.to_string(), "the response is longer than 999 bytes");
}

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_is_a_timeout() {
    let base = start(service(|_| std::future::pending())).await;
    let soon = Duration::from_millis(20);
    let error = client().get(&base, HeaderMap::new(), soon, 10).await.unwrap_err();
    assert_eq!(error.reason(), "timeout");
    // A head without the rest of the body is one, too.
    let base = start(service(|_| async {
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            drop(tx.send(Bytes::from("half")).await);
            tx.closed().await;
        });
        Response::new(stream(rx))
    }))
    .await;
    let error = client().get(&base, HeaderMap::new(), soon, 10).await.unwrap_err();
    assert_eq!(error.reason(), "timeout");
}

#[tokio::test]
async fn a_stream_arrives_before_it_ends() {
    let base = start(service(|_| async {
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            drop(tx.send(Bytes::from("first")).await);
            tx.closed().await;
        });
        Response::new(stream(rx))
    }))
    .await;
    let mut request = Request::new(empty());
    *request.uri_mut() = base.parse().unwrap();
    let mut response = client().send(request, SECOND).await.unwrap();
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
}

#[tokio::test]
async fn what_is_no_target_is_named() {
    // A port that was free a moment ago and is closed again.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    assert_eq!(get(&closed, 10).await.unwrap_err().reason(), "connect");
    let plain = start(service(|_| async { Response::new(empty()) })).await;
    let error = get(&plain.replace("http:", "https:"), 10).await.unwrap_err();
    assert_eq!(error.reason(), "tls", "{error}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rude = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    });
    assert_eq!(get(&rude, 10).await.unwrap_err().reason(), "broken");
}

#[test]
fn urls_are_checked_before_anything_is_sent() {
    assert!(parse_url("http://localhost:9100/metrics?a=b").is_ok());
    assert!(parse_url("https://[::1]/").is_ok());
    let no = |url: &str, text: &str| {
        let error = parse_url(url).unwrap_err().to_string();
        assert!(error.contains(text), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    no("", "grammar");
    no("http://a b/", "grammar");
    no("/metrics", "must begin with");
    no("localhost:9100/metrics", "grammar");
    no("ftp://a/", "must begin with");
    no("http://user:hunter2@a/", "credentials");
}

#[test]
fn a_ca_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let authentication = ClientAuthentication { ca_file: Some(path.clone()), ..ClientAuthentication::default() };
    let make = || HttpClient::new(&ClientConfig { authentication: authentication.clone(), ..ClientConfig::default() });
    assert_eq!(make().unwrap_err().reason(), "certificates");
    std::fs::write(&path, "no pem\n").unwrap();
    let error = make().unwrap_err().to_string();
    assert!(error.contains("no certificate"), "{error}");
}
