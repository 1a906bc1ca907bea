//! Response bodies and whole responses of the usual kinds.
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

use super::{BoxBody, BoxError};

/// The content security policy of what is no page: nothing may be loaded from it.
pub const CSP_API: &str = "default-src 'none'; frame-ancestors 'none'";

/// The content security policy of a page: only this server's own files, no inline code.
pub const CSP_PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// No body.
pub fn empty() -> BoxBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// One piece, with its length known.
pub fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Pieces as they come; the body ends when the sender is dropped. The channel's capacity
/// is the bound of what waits for a slow reader, and a send that fails says that the
/// reader is gone.
pub fn stream(rx: Receiver<Bytes>) -> BoxBody {
    Pieces { rx, wrap: Ok }.boxed_unsync()
}

/// As [`stream`], but the sender can end the body with an error: the connection is then
/// broken off, so that the reader does not take what it has for the whole.
pub fn try_stream(rx: Receiver<Result<Bytes, BoxError>>) -> BoxBody {
    Pieces { rx, wrap: |piece| piece }.boxed_unsync()
}

struct Pieces<T> {
    rx: Receiver<T>,
    wrap: fn(T) -> Result<Bytes, BoxError>,
}

impl<T> Body for Pieces<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let wrap = self.wrap;
        self.rx.poll_recv(cx).map(|piece| piece.map(|piece| wrap(piece).map(Frame::data)))
    }
}

/// A whole response with its content type.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<BoxBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A whole response as JSON. A value that cannot be serialised (a map with keys that are
/// no strings) becomes a 500.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<BoxBody> {
    match serde_json::to_vec(value) {
        Ok(body) => text(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "a response could not be serialised");
            let remedy = "This is a defect of the server; its log has the details.";
            problem(StatusCode::INTERNAL_SERVER_ERROR, "response not serialisable", remedy, None)
        }
    }
}

/// An error as `application/problem+json` (RFC 9457). `title` names the kind, `detail`
/// says the cause and the remedy to a client; `retry_after` is rounded up to seconds.
pub fn problem(status: StatusCode, title: &str, detail: &str, retry_after: Option<Duration>) -> Response<BoxBody> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = text(status, "application/problem+json", body.to_string());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(after) = retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds the headers that keep a browser from doing more with a response than showing
/// it. A page (`text/html`) gets [`CSP_PAGE`], all else [`CSP_API`], unless a policy is
/// set already.
pub fn security_headers(headers: &mut HeaderMap) {
    let page = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let policy = if page { CSP_PAGE } else { CSP_API };
    headers.entry("content-security-policy").or_insert(HeaderValue::from_static(policy));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    async fn collect(body: BoxBody) -> Result<String, String> {
        let whole = body.collect().await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(whole.to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn bodies_carry_what_they_are_given() {
        assert_eq!(collect(empty()).await.unwrap(), "");
        assert_eq!(collect(full("abc")).await.unwrap(), "abc");
        assert_eq!(full("abc").size_hint().exact(), Some(3));
        let (tx, rx) = tokio::sync::mpsc::channel(4);
        tx.send(Bytes::from("ab")).await.unwrap();
        tx.send(Bytes::from("c")).await.unwrap();
        drop(tx);
        assert_eq!(collect(stream(rx)).await.unwrap(), "abc");
        let (tx, rx) = tokio::sync::mpsc::channel::<Result<Bytes, BoxError>>(4);
        tx.send(Ok(Bytes::from("ab"))).await.unwrap();
        tx.send(Err("the owner went away".into())).await.unwrap();
        assert_eq!(collect(try_stream(rx)).await.unwrap_err(), "the owner went away");
    }

    #[tokio::test]
    async fn a_problem_names_cause_and_time_to_wait() {
        let wait = Some(Duration::from_millis(1001));
        let response = problem(StatusCode::SERVICE_UNAVAILABLE, "moving", "Wait \"2 s\".", wait);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        let body = collect(response.into_body()).await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["status"], 503);
        assert_eq!(json["title"], "moving");
        assert_eq!(json["detail"], "Wait \"2 s\".");
    }

    #[tokio::test]
    async fn json_is_written_or_answered_as_a_defect() {
        let response = json(StatusCode::OK, &[1, 2]);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(collect(response.into_body()).await.unwrap(), "[1,2]");
        let odd = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert_eq!(json(StatusCode::OK, &odd).status(), 500);
    }

    #[test]
    fn pages_and_data_get_different_policies() {
        let policy = |content_type: &'static str| {
            let mut response = text(StatusCode::OK, content_type, "");
            security_headers(response.headers_mut());
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            assert_eq!(response.headers()["referrer-policy"], "no-referrer");
            response.headers()["content-security-policy"].to_str().unwrap().to_owned()
        };
        assert_eq!(policy("text/html; charset=utf-8"), CSP_PAGE);
        assert_eq!(policy("application/json"), CSP_API);
        let mut headers = HeaderMap::new();
        headers.insert("content-security-policy", HeaderValue::from_static("own"));
        security_headers(&mut headers);
        assert_eq!(headers["content-security-policy"], "own");
    }
}
