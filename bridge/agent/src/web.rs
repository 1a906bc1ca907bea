//! The agent's own little listener: its metrics, and whether it lives.
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use k2p_runtime::http::{self, BoxBody, Service};
use prometheus::{Registry, TextEncoder};

const TEXT: &str = "text/plain; charset=utf-8";

/// The routes.
pub(crate) fn service(registry: Registry) -> Service {
    http::service(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &registry);
        async move { response }
    })
}

fn answer(method: &Method, path: &str, registry: &Registry) -> Response<BoxBody> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return http::problem(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD", path, None);
    }
    match path {
        "/-/healthy" | "/-/ready" => http::text(StatusCode::OK, TEXT, "The agent is running.\n"),
        "/metrics" => match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(text) => http::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Err(error) => http::problem(StatusCode::INTERNAL_SERVER_ERROR, "No metrics", &error.to_string(), None),
        },
        _ => {
            http::problem(StatusCode::NOT_FOUND, "Not found", "The agent has /metrics, /-/healthy and /-/ready.", None)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let registry = Registry::new();
        let cases = [
            (Method::GET, "/-/healthy", 200),
            (Method::GET, "/-/ready", 200),
            (Method::GET, "/metrics", 200),
            (Method::HEAD, "/metrics", 200),
            (Method::GET, "/", 404),
            (Method::POST, "/metrics", 405),
        ];
        for (method, path, status) in cases {
            assert_eq!(answer(&method, path, &registry).status(), status, "{method} {path}");
        }
    }
}
