//! A small HTTP client: plain and TLS, every wait and every body bounded.
mod settings;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

pub use settings::{ClientAuthentication, Password};

use super::{BoxBody, BoxError, empty};

/// What a client is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long one connection may take to be made.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Whom it trusts and how it shows itself.
    pub authentication: ClientAuthentication,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            authentication: ClientAuthentication::default(),
        }
    }
}

/// Why there is no response. The texts hold no URL and no header.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none that can be asked.
    #[error("the URL {0}")]
    BadUrl(&'static str),
    /// Nothing, or not everything, within the time (all in all).
    #[error("no whole response within {0:?}")]
    Timeout(Duration),
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// A connection, but no agreement on TLS or a certificate that is not trusted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The body is longer than the limit (bytes).
    #[error("the response is longer than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or what came was no HTTP.
    #[error("the response broke off: {0}")]
    Broken(String),
    /// The certificates to trust cannot be read.
    #[error("the trusted certificates cannot be read: {0}")]
    Certificates(String),
}

impl ClientError {
    /// A bounded label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadUrl(_) => "bad_url",
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::TooLarge(_) => "too_large",
            Self::Broken(_) => "broken",
            Self::Certificates(_) => "certificates",
        }
    }

    /// Every value of [`ClientError::reason`], for metrics that exist from the start.
    pub const REASONS: [&'static str; 7] =
        ["bad_url", "timeout", "connect", "tls", "too_large", "broken", "certificates"];
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status, whatever it is.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came (still content-encoded).
    pub body: Bytes,
}

/// Between two looks whether the certificates' files have changed.
const LOOK: Duration = Duration::from_secs(1);

/// A client with its pool of connections. Clones share the pool. HTTP/1.1; redirects
/// are not followed, proxies from the environment are not used. Certificates and password
/// are read again when their files have changed.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    current: ArcSwap<Current>,
    seen: Mutex<(Instant, Vec<Option<SystemTime>>)>,
}

struct Current {
    client: Client<HttpsConnector<HttpConnector>, BoxBody>,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Current {
    fn new(config: &ClientConfig) -> Result<Current, ClientError> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(config.connect_timeout));
        http.set_nodelay(true);
        http.enforce_http(false);
        let tls = config.authentication.connector()?;
        let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        if let Some(name) = &config.authentication.server_name {
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(settings::server_name(name)?));
        }
        let connector = builder.enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(4)
            .build(connector);
        Ok(Current { client, authorization: config.authentication.authorization()? })
    }
}

impl Inner {
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let stamp = |path: &std::path::Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        self.config.authentication.files().into_iter().map(stamp).collect()
    }

    /// Whether the files were not looked at for a while; whoever is told so looks.
    fn is_due(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.1.is_empty() || seen.0.elapsed() < LOOK {
            return false;
        }
        seen.0 = Instant::now();
        true
    }

    /// Takes changed files. Blocks.
    fn look(&self) {
        let stamps = self.stamps();
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 == stamps {
            return;
        }
        match Current::new(&self.config) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                tracing::info!("the client's certificates were read again");
            }
            Err(error) => tracing::error!(%error, "the client's certificates cannot be used; the former ones stay"),
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = stamps;
    }
}

impl HttpClient {
    /// A client that trusts the system's certificates, or those of `ca_file`. On a machine
    /// without certificates only `https` fails.
    ///
    /// # Errors
    /// [`ClientError::Certificates`], if the files of its configuration cannot be used.
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let current = ArcSwap::from_pointee(Current::new(config)?);
        let inner = Inner { config: config.clone(), current, seen: Mutex::new((Instant::now(), Vec::new())) };
        let stamps = inner.stamps();
        inner.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = stamps;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends a request as it is, with the credentials that belong to it.
    async fn request(&self, mut request: Request<BoxBody>) -> Result<Response<hyper::body::Incoming>, ClientError> {
        if self.inner.is_due() {
            let inner = self.inner.clone();
            drop(tokio::task::spawn_blocking(move || inner.look()));
        }
        let current = self.inner.current.load_full();
        if let Some(value) = &current.authorization {
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| value.clone());
        }
        current.client.request(request).await.map_err(|e| classify(&e))
    }

    /// A GET whose whole response is here within `timeout` and whose body has at most
    /// `max_bytes`. Any status is a response.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(
        &self,
        url: &str,
        headers: HeaderMap,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Fetched, ClientError> {
        let mut request = Request::new(empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = parse_url(url)?;
        *request.headers_mut() = headers;
        self.fetch(request, timeout, max_bytes).await
    }

    /// As [`HttpClient::get`], for any request.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fetch(
        &self,
        request: Request<BoxBody>,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Fetched, ClientError> {
        let whole = async {
            let response = self.request(request).await?;
            let (head, body) = response.into_parts();
            let body = match Limited::new(body, max_bytes).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => {
                    return Err(ClientError::TooLarge(max_bytes));
                }
                Err(error) => return Err(ClientError::Broken(innermost(error.as_ref()))),
            };
            Ok(Fetched { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(timeout, whole).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout(timeout)),
        }
    }

    /// Sends a request and answers as soon as the response's head is here, at most
    /// `timeout` later; its body streams, without bound in time or length.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&self, request: Request<BoxBody>, timeout: Duration) -> Result<Response<BoxBody>, ClientError> {
        match tokio::time::timeout(timeout, self.request(request)).await {
            Ok(Ok(response)) => Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::Timeout(timeout)),
        }
    }
}

/// Checks a URL before anything is sent: absolute, http or https, no credentials.
///
/// # Errors
/// [`ClientError::BadUrl`].
pub fn parse_url(url: &str) -> Result<Uri, ClientError> {
    let uri: Uri = url.parse().map_err(|_| ClientError::BadUrl("follows no URL's grammar"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(ClientError::BadUrl("must begin with http:// or https://"));
    }
    let Some(authority) = uri.authority() else {
        return Err(ClientError::BadUrl("names no host"));
    };
    if authority.as_str().contains('@') {
        return Err(ClientError::BadUrl("must not hold credentials: they would end up in logs"));
    }
    if authority.host().is_empty() {
        return Err(ClientError::BadUrl("names no host"));
    }
    Ok(uri)
}

fn classify(error: &hyper_util::client::legacy::Error) -> ClientError {
    let text = innermost(error);
    if has_tls_cause(error) {
        return ClientError::Tls(text);
    }
    if error.is_connect() {
        return ClientError::Connect(text);
    }
    ClientError::Broken(text)
}

/// Whether rustls is at the bottom of an error. An I/O error hides what it wraps from
/// `source`, so that it must be opened.
fn has_tls_cause(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(cause) = current {
        if cause.is::<rustls::Error>() {
            return true;
        }
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        current = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
