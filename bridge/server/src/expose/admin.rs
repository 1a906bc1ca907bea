//! What changes the bridge by HTTP: only with `--web.enable-admin-api`, and audited.
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_runtime::http::{BoxBody, Peer, Query, json};
use serde::Serialize;

use super::{Exposer, respond};
use crate::live::Policy;

#[derive(Serialize)]
struct Switched<'a> {
    topic: &'a str,
    policy: Policy,
    before: Policy,
}

/// `PUT /api/v1/admin/policy?topic=&policy=`.
pub(super) fn policy(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    if !exposer.config.admin_api {
        return respond::forbidden(
            "The admin API is off. Start the bridge with --web.enable-admin-api to allow it.",
        );
    }
    let topic = query.get("topic").unwrap_or_default();
    let Some(policy) = query.get("policy").and_then(Policy::parse) else {
        let names = Policy::ALL.map(Policy::as_str).join(", ");
        return respond::bad_request(&format!("The parameter policy must be one of: {names}."));
    };
    let Some(before) = exposer.state.live.switch_policy(topic, policy) else {
        let detail = "The parameter topic must name a topic that this bridge consumes.";
        return respond::missing("topic", detail);
    };
    let client = parts.extensions.get::<Peer>().map(|p| p.0.to_string());
    tracing::warn!(
        topic,
        policy = policy.as_str(),
        before = before.as_str(),
        client,
        "policy switched by the admin API"
    );
    json(StatusCode::OK, &Switched { topic, policy, before })
}
