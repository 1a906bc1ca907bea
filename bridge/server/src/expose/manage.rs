//! Management as in Prometheus: `/-/healthy`, `/-/ready`, `/-/reload`, `/-/drain`.
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_runtime::http::{BoxBody, Peer, problem, text};

use super::{Exposer, Hook, respond};

const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) fn healthy(exposer: &Exposer) -> Response<BoxBody> {
    if (exposer.state.hooks.healthy)() {
        return text(StatusCode::OK, PLAIN, "Kafka2Prom is Healthy.\n");
    }
    let detail = "The consumer thread no longer ticks; the process is about to end itself.";
    problem(StatusCode::INTERNAL_SERVER_ERROR, "Not healthy", detail, None)
}

/// Ready: the group was joined, nothing is being handed over, and every partition that
/// was assigned can be scraped.
pub(super) fn ready(exposer: &Exposer) -> Response<BoxBody> {
    match unreadiness(exposer) {
        None => text(StatusCode::OK, PLAIN, "Kafka2Prom is Ready.\n"),
        Some(detail) => respond::unavailable("Not ready", &detail),
    }
}

/// Why this bridge is not ready, `None` if it is.
pub(super) fn unreadiness(exposer: &Exposer) -> Option<String> {
    let live = &exposer.state.live;
    if live.draining() {
        return Some("The bridge is handing its partitions over.".to_owned());
    }
    if !live.joined() {
        return Some("The consumer group was not joined yet.".to_owned());
    }
    let now = (exposer.state.clocks.mono)();
    let all = live.all();
    let hidden: Vec<_> = all.iter().filter(|p| !p.may_expose(now)).collect();
    let first = hidden.first()?;
    if let Some(blocked) = hidden.iter().find_map(|p| p.replay.blocked()) {
        return Some(format!("A partition stands still: {}.", blocked.detail));
    }
    Some(format!(
        "{} of {} assigned partitions cannot be scraped yet, the first one {}/{} ({}).",
        hidden.len(),
        all.len(),
        first.topic,
        first.partition,
        first.state().as_str()
    ))
}

pub(super) async fn reload(exposer: &Exposer, parts: &Parts) -> Response<BoxBody> {
    run("reload", &exposer.state.hooks.reload, parts).await
}

pub(super) async fn drain(exposer: &Exposer, parts: &Parts) -> Response<BoxBody> {
    run("drain", &exposer.state.hooks.drain, parts).await
}

async fn run(what: &'static str, hook: &Hook, parts: &Parts) -> Response<BoxBody> {
    if from_another_site(parts) {
        return respond::forbidden("A page of another site may not manage this bridge.");
    }
    let client = parts.extensions.get::<Peer>().map(|p| p.0.to_string());
    tracing::info!(what, client, "asked by HTTP");
    // A client that hangs up must not leave the work half done.
    let done = tokio::spawn(hook()).await.unwrap_or_else(|e| Err(e.to_string()));
    match done {
        Ok(()) => text(StatusCode::OK, PLAIN, format!("{what}: done\n")),
        Err(detail) => {
            let title = format!("The {what} failed");
            problem(StatusCode::INTERNAL_SERVER_ERROR, &title, &detail, None)
        }
    }
}

/// A form on a foreign page can POST here in the name of whoever reads it. Browsers
/// say where a request comes from; other clients say nothing and pass.
pub(super) fn from_another_site(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !matches!(site, None | Some(b"same-origin" | b"none"))
}
