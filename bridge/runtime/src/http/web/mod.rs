//! `--web.config.file`: TLS, client certificates, passwords, headers and a rate of requests,
//! in the format of Prometheus' exporter-toolkit.
//!
//! Raw text is read with places (`config`, `tls`), validated as a whole, and made into what
//! requests and handshakes read without a lock (`live`). A changed file takes its place
//! within about a second; a broken one is told and leaves all as it was.
mod config;
pub(crate) mod der;
mod live;
pub(crate) mod names;
mod tls;
mod users;
mod verify;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

pub use config::WebConfig;
pub use live::Web;
pub use verify::ClientAuth;
pub(crate) use verify::NotAllowed;

use super::{BoxBody, Service, User, problem, security_headers};
use crate::metrics::HttpMetrics;
use users::Login;

/// Headers of one request, at most: hyper's own bound for HTTP/1, which HTTP/2 has not.
pub(super) const MAX_HEADERS: usize = 100;

/// Answers a request, or says why not. Every answer gets the headers that it must have.
pub(super) async fn answer(
    web: Option<&Web>,
    service: &Service,
    metrics: &HttpMetrics,
    mut request: Request<Incoming>,
) -> Response<BoxBody> {
    let refused = if request.headers().len() > MAX_HEADERS {
        Some(too_many_headers())
    } else {
        match web {
            Some(web) => refuse(web, &mut request).await,
            None => None,
        }
    };
    let mut response = match refused {
        Some((reason, response)) => {
            metrics.requests_refused.with_label_values(&[reason]).inc();
            response
        }
        None => service(request).await,
    };
    security_headers(response.headers_mut());
    for (name, value) in web.iter().flat_map(|web| web.live.load().headers.clone()) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The reasons of `http_requests_refused_total`.
pub(crate) const REFUSALS: [&str; 5] = ["headers", "rate", "client_rate", "unauthorized", "busy"];

type Refused = (&'static str, Response<BoxBody>);

fn too_many_headers() -> Refused {
    let detail = format!("More than {MAX_HEADERS} headers. Send fewer.");
    ("headers", problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many headers", &detail, None))
}

async fn refuse(web: &Web, request: &mut Request<Incoming>) -> Option<Refused> {
    let live = web.live.load_full();
    if let Some(Err(wait)) = live.limiter.as_ref().map(|limiter| limiter.take(Instant::now())) {
        let detail = "More requests than rate_limit of the web configuration allows. Send fewer.";
        return Some(("rate", problem(StatusCode::TOO_MANY_REQUESTS, "Too many requests", detail, Some(wait))));
    }
    if live.users.is_empty() {
        return None;
    }
    match web.logins.check(&live.users, request.headers().get(AUTHORIZATION)).await {
        Login::Known => {
            let name = request.headers().get(AUTHORIZATION).and_then(users::credentials).map(|(name, _)| name);
            if let Some(name) = name {
                request.extensions_mut().insert(User(name.into()));
            }
            None
        }
        Login::Refused => {
            let detail = "User and password are asked for, and these are none that may come in.";
            let mut response = problem(StatusCode::UNAUTHORIZED, "Unauthorized", detail, None);
            let challenge = HeaderValue::from_static("Basic realm=\"kafka2prom\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            Some(("unauthorized", response))
        }
        Login::Busy => {
            let detail = "Too many passwords are being checked. Send the request again.";
            let wait = Some(std::time::Duration::from_secs(1));
            Some(("busy", problem(StatusCode::SERVICE_UNAVAILABLE, "Too many logins", detail, wait)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
