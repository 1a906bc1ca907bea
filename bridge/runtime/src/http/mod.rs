//! HTTP plumbing: the accept loop with its limits, body and request helpers, and a
//! small client. Routing is the caller's: a [`Service`] is one async function.
mod body;
pub mod client;
mod connection;
pub(crate) mod handshake;
mod pem;
mod places;
pub mod ratelimit;
mod request;
mod secret;
mod server;
pub mod web;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};

pub use body::{CSP_API, CSP_PAGE, empty, full, json, problem, security_headers, stream, text, try_stream};
pub use request::{BODY_TIMEOUT, DecodeError, Query, ReadBodyError, decode_path_segment, read_body, scrape_timeout};
pub use secret::Secret;
pub use server::{HttpLimits, serve, serve_web};

/// Any error of a body or a connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The one body type of responses and of the client's requests.
pub type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What answers requests. It never fails: an error is a response too.
pub type Service = Arc<dyn Fn(Request<Incoming>) -> BoxFuture<Response<BoxBody>> + Send + Sync>;

/// The client's address, in the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The loud word of a listener that whoever reaches it may use.
pub fn warn_if_open(address: SocketAddr, guard: Option<&web::Web>) {
    if address.ip().to_canonical().is_loopback() || guard.is_some_and(web::Web::authenticates) {
        return;
    }
    tracing::warn!(
        listen = %address,
        "EVERYBODY WHO REACHES THIS ADDRESS MAY READ AND WRITE HERE: no password and no client certificate is asked \
         for. Name a --web.config.file with basic_auth_users or RequireAndVerifyClientCert, or listen on loopback \
         (--web.listen-address 127.0.0.1:PORT)"
    );
}

/// Who has logged in with a password, in the extensions of that request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(pub Arc<str>);

/// Makes a [`Service`] of an async function or closure.
pub fn service<F, Fut>(f: F) -> Service
where
    F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<BoxBody>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(f(request)))
}
