//! Handshakes, passwords and reloads against a real listener, by real clients.
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use hyper::body::Incoming;

use super::*;
use crate::http::client::{ClientAuthentication, ClientConfig, ClientError, HttpClient, Password};
use crate::http::{HttpLimits, Secret, empty, full, serve_web, service, stream};
use crate::metrics::RuntimeMetrics;
use crate::shutdown::Shutdown;

const SECOND: Duration = Duration::from_secs(30);

/// A directory with a CA (`ca.pem`), what it signed, and what it did not.
struct Pki {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Pki {
    fn new() -> Pki {
        let pki = Pki { dir: tempfile::tempdir().unwrap(), ca: authority("ours") };
        fs::write(pki.path("ca.pem"), pki.ca.as_ref().pem()).unwrap();
        pki.issue("server", &pki.ca, |_| ());
        pki.issue("good", &pki.ca, |_| ());
        pki.issue("expired", &pki.ca, |p| p.not_after = date_time_ymd(2020, 1, 1));
        pki.issue("early", &pki.ca, |p| p.not_before = date_time_ymd(2999, 1, 1));
        pki.issue("foreign", &authority("theirs"), |_| ());
        let mut own = CertificateParams::new(vec!["own.example".to_owned()]).unwrap();
        // As `openssl req -x509` makes it.
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(pki.path("own.pem"), own.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(pki.path("own.key"), key.serialize_pem()).unwrap();
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, name: &str, ca: &CertifiedIssuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), format!("{name}.example")]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        fs::write(self.path(&format!("{name}.pem")), params.signed_by(&key, ca).unwrap().pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A client that trusts the CA and shows that certificate.
    fn client(&self, certificate: Option<&str>) -> HttpClient {
        let own = certificate.map(|n| (self.path(&format!("{n}.pem")), self.path(&format!("{n}.key"))));
        client(ClientAuthentication {
            ca_file: Some(self.path("ca.pem")),
            certificate: own,
            ..ClientAuthentication::default()
        })
    }

    /// A listener under `tls_server_config` with the server's certificate and this.
    async fn serve(&self, rest: &str) -> Running {
        let text = format!("tls_server_config: {{cert_file: server.pem, key_file: server.key, {rest}}}\n");
        Running::start(&self.path("web.yml"), &text, HttpLimits::default()).await
    }
}

fn client(authentication: ClientAuthentication) -> HttpClient {
    HttpClient::new(&ClientConfig { authentication, ..ClientConfig::default() }).unwrap()
}

struct Running {
    address: SocketAddr,
    metrics: HttpMetrics,
    web: Arc<Web>,
    shutdown: Shutdown,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Running {
    async fn start(path: &Path, text: &str, limits: HttpLimits) -> Running {
        fs::write(path, text).unwrap();
        let metrics = RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap().http;
        let web = Web::open(path, &metrics).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = service(|request: Request<Incoming>| async move {
            match request.uri().path() {
                "/endless" => {
                    let (tx, rx) = tokio::sync::mpsc::channel(1);
                    tokio::spawn(async move { while tx.send(Bytes::from(vec![b'x'; 1 << 20])).await.is_ok() {} });
                    Response::new(stream(rx))
                }
                _ => Response::new(full(format!("{:?}", request.version()))),
            }
        });
        let shutdown = Shutdown::new();
        tokio::spawn(serve_web(listener, answer, limits, Some(web.clone()), shutdown.clone(), metrics.clone()));
        Running { address, metrics, web, shutdown }
    }

    async fn get(&self, client: &HttpClient) -> Result<(StatusCode, HeaderMap), ClientError> {
        let scheme = if self.web.is_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{}/", self.address);
        client.get(&url, HeaderMap::new(), SECOND, 1 << 20).await.map(|answer| (answer.status, answer.headers))
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metrics.tls_failed.with_label_values(&[reason]).get()
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Mode, what the client shows, and why it is refused (empty: it is not).
#[tokio::test]
async fn each_mode_lets_in_whom_it_must() {
    let pki = Pki::new();
    let all = fs::read_to_string(pki.path("ca.pem")).unwrap() + &fs::read_to_string(pki.path("own.pem")).unwrap();
    fs::write(pki.path("clients.pem"), all).unwrap();
    for (mode, refusals) in [
        ("NoClientCert", ["", "", "", "", "", ""]),
        ("RequestClientCert", ["", "", "", "", "", ""]),
        ("RequireAnyClientCert", ["no_certificate", "", "", "", "", ""]),
        ("VerifyClientCertIfGiven", ["", "", "", "expired", "not_yet_valid", "unknown_ca"]),
        ("RequireAndVerifyClientCert", ["no_certificate", "", "", "expired", "not_yet_valid", "unknown_ca"]),
    ] {
        let ca = if mode == "NoClientCert" { "" } else { ", client_ca_file: clients.pem" };
        for version in ["TLS12", "TLS13"] {
            let running = pki.serve(&format!("client_auth_type: {mode}{ca}, max_version: {version}")).await;
            let shown = [None, Some("good"), Some("own"), Some("expired"), Some("early"), Some("foreign")];
            for (certificate, reason) in shown.into_iter().zip(refusals) {
                let got = running.get(&pki.client(certificate)).await;
                let case = format!("{mode} {version} {certificate:?}: {got:?}");
                if reason.is_empty() {
                    assert_eq!(got.unwrap().0, 200, "{case}");
                    continue;
                }
                assert!(got.is_err(), "{case}");
                until(&case, || running.refused(reason) == 1).await;
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_must_hold_an_allowed_name() {
    let pki = Pki::new();
    let rest = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans";
    let running = pki.serve(&format!("{rest}: [x, good.example]")).await;
    assert_eq!(running.get(&pki.client(Some("good"))).await.unwrap().0, 200);
    assert!(running.get(&pki.client(Some("server"))).await.is_err());
    until("another name is refused", || running.refused("not_allowed") == 1).await;
}

#[tokio::test]
async fn a_client_says_whom_it_trusts() {
    let pki = Pki::new();
    let running = pki.serve("min_version: TLS13").await;
    let trusting = |change: &dyn Fn(&mut ClientAuthentication)| {
        let mut a = ClientAuthentication { ca_file: Some(pki.path("ca.pem")), ..ClientAuthentication::default() };
        change(&mut a);
        client(a)
    };
    let reason =
        |got: Result<_, ClientError>| got.map(|_: (StatusCode, HeaderMap)| "ok").unwrap_or_else(|e| e.reason());
    assert_eq!(reason(running.get(&trusting(&|a| a.only_tls13 = true)).await), "ok");
    assert_eq!(reason(running.get(&trusting(&|a| a.server_name = Some("server.example".to_owned()))).await), "ok");
    assert_eq!(reason(running.get(&trusting(&|a| a.server_name = Some("x.example".to_owned()))).await), "tls");
    assert_eq!(reason(running.get(&trusting(&|a| a.ca_file = Some(pki.path("own.pem")))).await), "tls");
    let anybody = |a: &mut ClientAuthentication| {
        a.ca_file = None;
        a.insecure_skip_verify = true;
    };
    assert_eq!(reason(running.get(&trusting(&anybody)).await), "ok");
    until("the client's refusals are counted", || running.refused("refused_by_client") == 2).await;
}

#[tokio::test]
async fn plain_http_is_told_that_it_is_tls() {
    let pki = Pki::new();
    let running = pki.serve("").await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.ends_with("in the URL.\r\n"), "{said}");
    assert_eq!(running.refused("not_tls"), 1);
}

#[tokio::test]
async fn a_password_is_asked_for_and_headers_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash("sesame", 4).unwrap();
    let text = format!(
        "basic_auth_users: {{alice: {hash}}}\nhttp_server_config: {{headers: {{X-Frame-Options: sameorigin, X-XSS-Protection: 1}}}}\n"
    );
    let running = Running::start(&dir.path().join("web.yml"), &text, HttpLimits::default()).await;
    let with = |user: &str, password: Password| {
        client(ClientAuthentication { basic_auth: Some((user.to_owned(), password)), ..Default::default() })
    };
    let (status, headers) = running.get(&client(ClientAuthentication::default())).await.unwrap();
    assert_eq!(
        (status, &headers["www-authenticate"]),
        (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("Basic realm=\"kafka2prom\", charset=\"UTF-8\""))
    );
    for name in ["x-content-type-options", "content-security-policy", "x-xss-protection"] {
        assert!(headers.contains_key(name), "{name}: {headers:?}");
    }
    assert_eq!(headers["x-frame-options"], "sameorigin");
    let inline = |text: &str| Password::Inline(Secret::new(text));
    assert_eq!(running.get(&with("alice", inline("sesame"))).await.unwrap().0, 200);
    assert_eq!(running.get(&with("alice", inline("wrong"))).await.unwrap().0, 401);
    assert_eq!(running.get(&with("bob", inline("sesame"))).await.unwrap().0, 401);
    let file = dir.path().join("password");
    fs::write(&file, "sesame\n").unwrap();
    assert_eq!(running.get(&with("alice", Password::File(file))).await.unwrap().0, 200);
    assert_eq!(running.metrics.requests_refused.with_label_values(&["unauthorized"]).get(), 3);
}

#[tokio::test]
async fn a_rate_limits_all_requests() {
    let dir = tempfile::tempdir().unwrap();
    let text = "rate_limit: {interval: 1h, burst: 2}\n";
    let running = Running::start(&dir.path().join("web.yml"), text, HttpLimits::default()).await;
    let client = client(ClientAuthentication::default());
    for status in [200, 200, 429, 429] {
        let (got, headers) = running.get(&client).await.unwrap();
        assert_eq!(got, status);
        assert_eq!(headers.contains_key("retry-after"), status == 429);
    }
}

/// A changed file takes its place by itself; a broken one, or one that asks nobody any more,
/// does not.
#[tokio::test]
async fn changed_files_are_taken_and_broken_ones_are_not() {
    let pki = Pki::new();
    let rest = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem";
    let running = pki.serve(rest).await;
    assert_eq!(running.get(&pki.client(Some("good"))).await.unwrap().0, 200);
    let before = running.metrics.certificate_expiry.get();
    let reloads = |result: &str| running.metrics.web_reloads.with_label_values(&[result]).get();

    fs::write(pki.path("server.key"), "nonsense").unwrap();
    until("the broken key is told", || reloads("failed") == 1).await;
    assert_eq!(running.get(&pki.client(Some("good"))).await.unwrap().0, 200, "the former one stays");
    pki.issue("server", &pki.ca, |p| p.not_after = date_time_ymd(2998, 1, 1));
    until("the new certificate is taken", || reloads("ok") == 1).await;
    assert!(running.metrics.certificate_expiry.get() != before);
    assert_eq!(running.get(&pki.client(Some("good"))).await.unwrap().0, 200);

    for (text, said) in [
        ("", "cannot be switched"),
        ("tls_server_config: {cert_file: server.pem, key_file: server.key}", "take the authentication away"),
        ("nonsense: 1", "unknown key"),
    ] {
        fs::write(pki.path("web.yml"), text).unwrap();
        let fault = running.web.reload().unwrap_err();
        assert!(fault.contains(said), "{fault}");
        assert!(running.get(&pki.client(None)).await.is_err(), "still nobody without a certificate");
    }
}

/// A connection that speaks HTTP/2, and what asks over it.
async fn http2(pki: &Pki, running: &Running) -> hyper::client::conn::http2::SendRequest<BoxBody> {
    let mut tls = ClientAuthentication { ca_file: Some(pki.path("ca.pem")), ..Default::default() }.connector().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = "server.example".try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 16)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn ask(path: &str) -> Request<BoxBody> {
    Request::builder().uri(format!("https://server.example{path}")).body(empty()).unwrap()
}

#[tokio::test]
async fn http2_is_spoken_over_tls_where_it_may_be() {
    let pki = Pki::new();
    let running = pki.serve("").await;
    let mut sender = http2(&pki, &running).await;
    for _ in 0..3 {
        let answer = sender.send_request(ask("/")).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "HTTP/2.0");
    }
    let mut flood = ask("/");
    for n in 0..=MAX_HEADERS {
        flood.headers_mut().append("x-flood", HeaderValue::from(n));
    }
    assert_eq!(sender.send_request(flood).await.unwrap().status(), 431);
    drop(sender);
    until("the connection ends", || running.metrics.connections.get() == 0).await;

    let text = "tls_server_config: {cert_file: server.pem, key_file: server.key}\nhttp_server_config: {http2: false}\n";
    let running = Running::start(&pki.path("one.yml"), text, HttpLimits::default()).await;
    let mut tls = ClientAuthentication { ca_file: Some(pki.path("ca.pem")), ..Default::default() }.connector().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(running.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let stream = connector.connect("server.example".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

/// The patience of [`HttpLimits`] holds for HTTP/2: for readers of one stream, and between
/// two requests.
#[tokio::test]
async fn http2_readers_are_cut_when_they_stall_or_idle() {
    let pki = Pki::new();
    let limits = HttpLimits {
        write_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(100),
        ..HttpLimits::default()
    };
    let text = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n";
    let running = Running::start(&pki.path("web.yml"), text, limits).await;
    let mut sender = http2(&pki, &running).await;
    let stalled = sender.send_request(ask("/endless")).await.unwrap();
    until("the stalled one is cut", || running.metrics.failed.with_label_values(&["slow_reader"]).get() == 1).await;
    assert!(stalled.into_body().collect().await.is_err());

    let mut sender = http2(&pki, &running).await;
    let answer = sender.send_request(ask("/")).await.unwrap();
    answer.into_body().collect().await.unwrap();
    until("the idle one is closed", || running.metrics.connections.get() == 0).await;
    assert_eq!(running.metrics.failed.with_label_values(&["slow_reader"]).get(), 1);
}
