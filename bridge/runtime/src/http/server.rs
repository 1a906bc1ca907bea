//! The accept loop: bounded connections, patience for each, an orderly end.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::connection::{Activity, TimedStream, TrackedBody};
use super::{Peer, Service};
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
    /// How long a client may take nothing of a response that waits for it.
    pub write_timeout: Duration,
    /// The largest head of a request, in bytes; at least 8192.
    pub header_bytes: usize,
    /// Connections served at the same time; one more is answered 503 and closed.
    pub connections: usize,
    /// How long a shutdown waits for responses under way.
    pub grace: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            write_timeout: Duration::from_secs(30),
            header_bytes: 64 << 10,
            connections: 1024,
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
    content-length: 154\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    {\"type\":\"about:blank\",\"title\":\"too many connections\",\"status\":503,\
    \"detail\":\"The connection limit is reached. Retry later, or reuse connections instead.\"}\n";

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
    metrics.capacity.set(i64::try_from(limits.connections).unwrap_or(i64::MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
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
        if connections.len() >= limits.connections {
            metrics.refused.inc();
            refuse(stream, &refusals);
            continue;
        }
        let connection = Connection {
            service: Arc::clone(&service),
            limits,
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
            peer,
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

/// All that one connection's task needs.
struct Connection {
    service: Service,
    limits: HttpLimits,
    shutdown: Shutdown,
    metrics: HttpMetrics,
    peer: SocketAddr,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Without it the last piece of a response can wait for an acknowledgement.
        drop(stream.set_nodelay(true));
        let activity = Activity::new();
        let io = TokioIo::new(TimedStream::new(stream, activity.clone(), &self.limits));
        let (service, peer) = (self.service, self.peer);
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            activity.begin_request();
            let (response, activity) = (service(request), activity.clone());
            async move {
                let response: Response<TrackedBody> = response.await.map(|b| activity.track(b));
                Ok::<_, Infallible>(response)
            }
        });
        let connection =
            http1::Builder::new().max_buf_size(self.limits.header_bytes.max(8192)).serve_connection(io, answer);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.triggered() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        if let Err(error) = result {
            let reason = failure(&error);
            self.metrics.failed.with_label_values(&[reason]).inc();
            tracing::debug!(peer = %peer, reason, error = %chain(&error), "connection failed");
        }
    }
}

/// The bounded `reason` of a connection that did not end well.
fn failure(error: &hyper::Error) -> &'static str {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::TimedOut if io.to_string() == "header timeout" => "header_timeout",
                std::io::ErrorKind::TimedOut => "write_timeout",
                _ => "disconnected",
            };
        }
        source = current.source();
    }
    if error.is_parse() {
        "bad_request"
    } else if error.is_user() {
        "body"
    } else {
        "disconnected"
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
