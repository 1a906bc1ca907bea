//! Passing a request on to the bridge that holds what it asks for: one hop, streaming.
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    VARY,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use k2p_runtime::http::{BoxBody, empty, problem};

use super::deadline::Deadline;
use super::peers::PeerError;
use super::render::Passed;
use super::scrape::Hold;
use super::{Exposer, RouteMode};

/// What a client's request and an owner's answer say that the other one must know.
/// Nothing else crosses: not the client's credentials, not the owner's connection.
const ASKED: [HeaderName; 2] = [ACCEPT, ACCEPT_ENCODING];
const ANSWERED: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, VARY];

/// How passing on went.
pub(super) enum Forwarded {
    /// This is the answer.
    Answer(Response<BoxBody>),
    /// Nobody answers for it at the moment, and why; it may be tried again.
    Moving(String, Hold),
}

/// Passes a request on to `peer`, or the client, as `web.route` says.
pub(super) async fn forward(
    exposer: &Exposer,
    parts: &Parts,
    peer: &str,
    deadline: Deadline,
    hold: Hold,
) -> Forwarded {
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let url = match exposer.peers.url(peer, path) {
        Ok(url) => url,
        Err(error) => {
            exposer.peers.count(Some(&error));
            return Forwarded::Moving(error.to_string(), hold);
        }
    };
    if exposer.config.route == RouteMode::Redirect {
        return Forwarded::Answer(redirect(&url));
    }
    match ask(exposer, parts, peer, &url, deadline).await {
        Ok(response) => {
            exposer.peers.count(None);
            Forwarded::Answer(pass_on(exposer, response, hold))
        }
        Err(error) => {
            exposer.peers.count(Some(&error));
            Forwarded::Moving(error.to_string(), hold)
        }
    }
}

async fn ask(
    exposer: &Exposer,
    parts: &Parts,
    peer: &str,
    url: &str,
    deadline: Deadline,
) -> Result<Response<BoxBody>, PeerError> {
    let mut request = Request::new(empty());
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = exposer.peers.headers(deadline.left());
    *request.uri_mut() = url.parse().map_err(|_| PeerError::NotAllowed(peer.to_owned()))?;
    for name in ASKED {
        for value in parts.headers.get_all(&name) {
            request.headers_mut().append(&name, value.clone());
        }
    }
    let sent = exposer.peers.client.send(request, deadline.left()).await;
    let response = sent.map_err(|e| PeerError::Unreachable(peer.to_owned(), e.reason()))?;
    match response.status() {
        StatusCode::OK | StatusCode::GONE => Ok(response),
        status => Err(PeerError::Status(peer.to_owned(), status.as_u16())),
    }
}

fn pass_on(exposer: &Exposer, from: Response<BoxBody>, hold: Hold) -> Response<BoxBody> {
    let (parts, body) = from.into_parts();
    let mut response = Response::new(Passed::body(body, exposer.config.send_timeout, hold));
    *response.status_mut() = parts.status;
    for name in ANSWERED {
        for value in parts.headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

fn redirect(url: &str) -> Response<BoxBody> {
    let status = StatusCode::TEMPORARY_REDIRECT;
    let mut response = problem(status, "Elsewhere", "Another bridge holds this.", None);
    if let Ok(location) = HeaderValue::from_str(url) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
