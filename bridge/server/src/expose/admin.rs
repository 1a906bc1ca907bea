//! What changes the bridge or its data by HTTP: only with `--web.enable-admin-api`, and
//! audited.
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_core::envelope;
use k2p_runtime::http::{BoxBody, Peer, Query, User, json};
use schemars::JsonSchema;
use serde::Serialize;

use super::explain::canonical;
use super::list::OriginInfo;
use super::{Exposer, origin, respond};
use crate::append::{Append, Appender, Place};
use crate::live::Policy;

/// How long Kafka has to acknowledge.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes origins: a record with their key and no value (design §2).
pub struct Eraser(pub(crate) Appender);

#[derive(Serialize, JsonSchema)]
pub(super) struct Switched<'a> {
    topic: &'a str,
    policy: Policy,
    before: Policy,
}

/// What was written to remove an origin.
#[derive(Serialize, JsonSchema)]
pub(super) struct Forgotten<'a> {
    /// The origin's key in canonical form.
    origin: &'a str,
    /// One for each partition that had it.
    records: Vec<Written>,
}

/// A record that Kafka has acknowledged.
#[derive(Serialize, JsonSchema)]
struct Written {
    topic: String,
    partition: i32,
    offset: i64,
}

/// Refuses where the admin API is off.
pub(super) fn allowed(exposer: &Exposer) -> Result<(), Box<Response<BoxBody>>> {
    if exposer.config.admin_api {
        return Ok(());
    }
    let detail = "The admin API is off. Start the bridge with --web.enable-admin-api to allow it.";
    Err(Box::new(respond::forbidden(detail)))
}

/// Who asks, for the log: the address, and the user where there are any.
pub(super) fn client(parts: &Parts) -> Option<String> {
    let Peer(address) = parts.extensions.get::<Peer>()?;
    Some(match parts.extensions.get::<User>() {
        Some(User(name)) => format!("{name} at {address}"),
        None => address.to_string(),
    })
}

/// `PUT /api/v1/admin/policy?topic=&policy=`.
pub(super) fn policy(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    if let Err(refused) = allowed(exposer) {
        return *refused;
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
    tracing::warn!(
        topic,
        policy = policy.as_str(),
        before = before.as_str(),
        client = client(parts),
        "policy switched by the admin API"
    );
    json(StatusCode::OK, &Switched { topic, policy, before })
}

/// `DELETE /api/v1/origins/{key}`: answered when Kafka has acknowledged the record that
/// removes it. An origin that sends again is back.
pub(super) async fn forget(exposer: &Exposer, parts: &Parts, key: &str) -> Response<BoxBody> {
    if let Err(refused) = allowed(exposer) {
        return *refused;
    }
    let Some(eraser) = &exposer.state.eraser else {
        return respond::unavailable("No producer", "This bridge has no producer for records that remove origins.");
    };
    let key = canonical(key);
    let patience = exposer.deadline(parts).left();
    let origin::Looked { holders, unseen } = origin::look(exposer, &key, patience).await;
    if let Some(why) = unseen {
        return origin::moving(&key, &why);
    }
    if holders.is_empty() {
        return origin::unknown(&key);
    }
    let mut records = Vec::new();
    for (held, _) in &holders {
        match eraser.erase(held, (exposer.state.clocks.wall)()).await {
            Ok(place) => {
                let Place { partition, offset } = place;
                records.push(Written { topic: held.topic.clone(), partition, offset });
            }
            Err(why) => {
                let detail = format!("The record that removes it is not known to be in Kafka: {why}. Ask again.");
                return respond::unavailable("Not acknowledged", &detail);
            }
        }
    }
    tracing::warn!(origin = key, records = records.len(), client = client(parts), "origin removed by the admin API");
    json(StatusCode::OK, &Forgotten { origin: &key, records })
}

impl Eraser {
    async fn erase(&self, origin: &OriginInfo, now: i64) -> Result<Place, String> {
        let time = now.to_string();
        let append = Append {
            topic: &origin.topic,
            partition: Some(origin.partition),
            key: Some(origin.record_key.as_ref().unwrap_or(&origin.key).as_bytes()),
            value: None,
            headers: &[(envelope::TIME, time.as_bytes())],
        };
        let under_way = self.0.hand_over(&append).map_err(|error| error.to_string())?;
        under_way.acknowledged_within(PATIENCE).await
    }
}
