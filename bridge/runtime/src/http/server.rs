//! The accept loop: bounded connections, patience for each, an orderly end.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::connection::{Activity, TimedStream, TrackedBody};
use super::handshake::{self, Handshakes};
use super::places::{Place, Places};
use super::web::{self, Web};
use super::{BoxError, Peer, Service};
use crate::metrics::HttpMetrics;
use crate::shutdown::Shutdown;

/// What the accept loop puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// From the first byte of a request (or the accept) to the end of its head.
    pub header_timeout: Duration,
    /// How long a connection may stay open between two requests. Longer than the usual
    /// scrape intervals, so that Prometheus keeps its connection.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of a response that waits for it, and how long a
    /// response may wait for it in all, besides what the next limit grants.
    pub write_timeout: Duration,
    /// Bytes that a client must take in a second to be granted that second more.
    pub write_pace: u32,
    /// The largest head of a request, in bytes; at least 8192.
    pub header_bytes: usize,
    /// Connections served at the same time; one more is answered 503 and closed.
    pub connections: usize,
    /// Of these, as many for one client (an IPv4 address, an IPv6 /64).
    pub connections_per_client: usize,
    /// Requests under way at the same time on one connection (HTTP/2).
    pub streams: u32,
    /// How long a shutdown waits for responses under way.
    pub grace: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            write_timeout: Duration::from_secs(30),
            write_pace: 1 << 10,
            header_bytes: 64 << 10,
            connections: 1024,
            connections_per_client: 512,
            streams: 32,
            grace: Duration::from_secs(5),
        }
    }
}

/// The pause after an accept that failed (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many refused connections may be told so at the same time; more are just closed.
const REFUSALS: usize = 64;
/// How long a refused client may take to read why.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\n\
    x-content-type-options: nosniff\r\n\
    content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\
    content-length: 154\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    {\"type\":\"about:blank\",\"title\":\"too many connections\",\"status\":503,\
    \"detail\":\"The connection limit is reached. Retry later, or reuse connections instead.\"}\n";

/// What a client is told that speaks plain HTTP where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    x-content-type-options: nosniff\r\n\
    content-length: 56\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks TLS: ask it with https:// in the URL.\r\n";

/// Accepts connections and serves requests until the shutdown is triggered; then no
/// connection is accepted any more, idle ones are closed, and responses under way may
/// end within [`HttpLimits::grace`]. Returns when the last one is closed.
///
/// HTTP/1.1 with keep-alive. A service that panics costs its connection.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    limits: HttpLimits,
    shutdown: Shutdown,
    metrics: HttpMetrics,
) {
    serve_web(listener, service, limits, None, shutdown, metrics).await;
}

/// [`serve`] under a web configuration, whose files are followed: TLS, passwords, headers,
/// and HTTP/2 where it is enabled.
pub async fn serve_web(
    listener: TcpListener,
    service: Service,
    limits: HttpLimits,
    web: Option<Arc<Web>>,
    shutdown: Shutdown,
    metrics: HttpMetrics,
) {
    metrics.capacity.set(i64::try_from(limits.connections).unwrap_or(i64::MAX));
    if let Some(web) = &web {
        tokio::spawn(web.clone().watch(shutdown.clone()));
    }
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let places = Places::new(limits.connections, limits.connections_per_client);
    let handshakes = Arc::new(Handshakes::new(metrics.tls_failed.clone()));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.triggered() => break,
            Some(ended) = connections.join_next() => {
                note_end(ended, &connections, &metrics);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                metrics.failed.with_label_values(&["accept"]).inc();
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.ip()) else {
            metrics.refused.inc();
            // In TLS nothing can be said before a handshake, which would be the work to save.
            let tls = web.as_ref().is_some_and(|web| web.is_tls());
            if !tls {
                refuse(stream, &refusals);
            }
            continue;
        };
        let connection = Connection {
            service: Arc::clone(&service),
            limits,
            web: web.clone(),
            handshakes: handshakes.clone(),
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
            peer,
            _place: place,
        };
        connections.spawn(connection.run(stream));
        metrics.connections.set(count(&connections));
    }
    drop(listener);
    drain(connections, limits.grace, &metrics).await;
}

fn count(connections: &JoinSet<()>) -> i64 {
    i64::try_from(connections.len()).unwrap_or(i64::MAX)
}

fn note_end(ended: Result<(), JoinError>, connections: &JoinSet<()>, metrics: &HttpMetrics) {
    metrics.connections.set(count(connections));
    if ended.is_err_and(|error| error.is_panic()) {
        metrics.failed.with_label_values(&["panic"]).inc();
        tracing::error!("answering a request panicked; its connection is closed");
    }
}

async fn drain(mut connections: JoinSet<()>, grace: Duration, metrics: &HttpMetrics) {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended, &connections, metrics);
        }
    };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        let open = connections.len();
        tracing::warn!(open, "connections are cut off: their responses took too long");
        connections.shutdown().await;
    }
    metrics.connections.set(0);
}

/// Says 503 to a client beyond the bound, without keeping the accept loop.
fn refuse(mut stream: TcpStream, refusals: &Arc<Semaphore>) {
    let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else {
        return;
    };
    tokio::spawn(async move {
        let tell = async {
            stream.write_all(REFUSAL).await?;
            stream.shutdown().await?;
            // Closing with unread input would reset the connection, and the client
            // would lose the answer.
            let mut rest = [0_u8; 1024];
            while stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        drop(tokio::time::timeout(REFUSAL_PATIENCE, tell).await);
        drop(permit);
    });
}

/// Tells a client that it speaks the wrong protocol.
async fn not_tls(mut stream: TcpStream) {
    let tell = async {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        let mut rest = [0_u8; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(tokio::time::timeout(REFUSAL_PATIENCE, tell).await);
}

/// All that one connection's task needs.
struct Connection {
    service: Service,
    limits: HttpLimits,
    web: Option<Arc<Web>>,
    handshakes: Arc<Handshakes>,
    shutdown: Shutdown,
    metrics: HttpMetrics,
    peer: SocketAddr,
    /// Given back with the connection.
    _place: Place,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Without it the last piece of a response can wait for an acknowledgement.
        drop(stream.set_nodelay(true));
        let activity = Activity::new();
        match self.web.as_ref().and_then(|web| web.acceptor()) {
            None => {
                let timed = TimedStream::new(stream, activity.clone(), &self.limits);
                self.converse(timed, activity, false).await;
            }
            Some(acceptor) => self.greet(acceptor, stream, activity).await,
        }
    }

    /// The handshake, which must be done within the time for a head.
    async fn greet(self, acceptor: TlsAcceptor, stream: TcpStream, activity: Activity) {
        let first = tokio::time::timeout(self.limits.header_timeout, handshake::first_byte(&stream)).await;
        match first {
            Ok(Some(handshake::TLS)) => {}
            Ok(Some(_)) => {
                self.handshakes.failed(self.peer, "not_tls", "the client speaks no TLS");
                return not_tls(stream).await;
            }
            // Nothing was ever sent: a check of the port.
            Ok(None) | Err(_) => return,
        }
        let timed = TimedStream::new(stream, activity.clone(), &self.limits);
        let done = tokio::select! {
            done = acceptor.accept(timed) => done,
            () = self.shutdown.triggered() => return,
        };
        match done {
            Ok(stream) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.converse(stream, activity, http2).await;
            }
            Err(error) => {
                let (reason, text) = handshake::explain(&error);
                self.handshakes.failed(self.peer, reason, &text);
            }
        }
    }

    async fn converse<S>(self, stream: S, activity: Activity, http2: bool)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if http2 {
            activity.multiplex();
        }
        let (service, web, metrics, peer) = (self.service, self.web, self.metrics.clone(), self.peer);
        let of_requests = activity.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let turn = of_requests.begin_request();
            let (service, web, metrics) = (service.clone(), web.clone(), metrics.clone());
            async move {
                let answered = web::answer(web.as_deref(), &service, &metrics, request).await;
                let response: Response<TrackedBody> = answered.map(|body| turn.track(body));
                Ok::<_, Infallible>(response)
            }
        });
        let builder = builder(&self.limits, http2);
        let connection = builder.serve_connection(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let overdue = overdue(&activity, &self.limits);
        tokio::pin!(overdue);
        let mut ending = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = self.shutdown.triggered(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = overdue.as_mut() => {
                    self.metrics.failed.with_label_values(&["slow_reader"]).inc();
                    tracing::debug!(%peer, "a response was read too slowly; its connection is closed");
                    return;
                }
            }
        };
        if let Err(error) = result {
            let reason = failure(&error);
            self.metrics.failed.with_label_values(&[reason]).inc();
            tracing::debug!(%peer, reason, error = %chain(error.as_ref()), "connection failed");
        }
    }
}

/// Resolves when an answer has waited for its reader for too long.
async fn overdue(activity: &Activity, limits: &HttpLimits) {
    let pause = (limits.write_timeout / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
    while !activity.overdue(limits.write_timeout, limits.write_pace) {
        tokio::time::sleep(pause).await;
    }
}

/// The protocol with its bounds. What HTTP/2 may hold of a request that nobody reads yet is
/// its window: 64 KiB, and 1 MiB for all of a connection.
fn builder(limits: &HttpLimits, http2: bool) -> auto::Builder<TokioExecutor> {
    let header_bytes = limits.header_bytes.max(8192);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(header_bytes).max_headers(web::MAX_HEADERS);
    builder
        .http2()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(64 << 10);
    if http2 { builder.http2_only() } else { builder.http1_only() }
}

/// The bounded `reason` of a connection that did not end well.
fn failure(error: &BoxError) -> &'static str {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    let mut hyper = None;
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::TimedOut if io.to_string() == "header timeout" => "header_timeout",
                std::io::ErrorKind::TimedOut => "write_timeout",
                _ => "disconnected",
            };
        }
        hyper = hyper.or_else(|| current.downcast_ref::<hyper::Error>());
        source = current.source();
    }
    match hyper {
        Some(error) if error.is_parse() => "bad_request",
        Some(error) if error.is_user() => "body",
        _ => "disconnected",
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
