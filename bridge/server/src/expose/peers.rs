//! Talking to the other bridges of the group: who may be asked, and how.
//!
//! Addresses come from markers that anybody with access to the group's offsets can
//! write, so an address is used only if it matches `web.peers`; the shared token,
//! if there is one, is sent to nobody else.
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use k2p_runtime::http::client::HttpClient;
use prometheus::IntCounterVec;
use serde::de::DeserializeOwned;

/// Marks a request that a bridge passed on: it is answered here or not at all.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-kafka2prom-hop");
/// Milliseconds that the one who asks will still wait.
pub(crate) const DEADLINE: HeaderName = HeaderName::from_static("x-kafka2prom-deadline-ms");
/// The token that bridges share.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-kafka2prom-peer-token");

/// What a peer's list may weigh: 20,000 origins are about 10 MB.
const MAX_ANSWER: usize = 128 << 20;

/// Why a peer gave no usable answer; its text is for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the address {0} of a peer is not allowed by web.peers")]
    NotAllowed(String),
    #[error("the peer {0} did not answer ({1})")]
    Unreachable(String, &'static str),
    #[error("the peer {0} answered {1}")]
    Status(String, u16),
    #[error("the peer {0} answered something else than the peer API")]
    Malformed(String),
}

impl PeerError {
    fn result(&self) -> &'static str {
        match self {
            PeerError::NotAllowed(_) => "not_allowed",
            PeerError::Unreachable(..) => "unreachable",
            PeerError::Status(..) => "status",
            PeerError::Malformed(_) => "malformed",
        }
    }
}

/// The results that `peer_requests_total` knows.
pub(crate) const RESULTS: [&str; 5] = ["ok", "not_allowed", "unreachable", "status", "malformed"];

/// The client side of the peer API.
pub(crate) struct Peers {
    pub(crate) client: HttpClient,
    pub(crate) allowed: Vec<String>,
    pub(crate) token: Option<String>,
    /// `http` or `https`
    pub(crate) scheme: &'static str,
    pub(crate) requests: IntCounterVec,
}

impl Peers {
    /// Whether `web.peers` lets this address be asked.
    pub(crate) fn allows(&self, address: &str) -> bool {
        well_formed(address) && self.allowed.iter().any(|p| address_matches(p, address))
    }

    /// Whether a request carries the shared token, or none is configured.
    pub(crate) fn authentic(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let sent = headers.get(TOKEN).map_or(&b""[..], HeaderValue::as_bytes);
        same_in_constant_time(token.as_bytes(), sent)
    }

    /// The headers of a request to a peer that will be waited for at most `patience`.
    pub(crate) fn headers(&self, patience: Duration) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOP, HeaderValue::from_static("1"));
        let left = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        headers.insert(DEADLINE, HeaderValue::from(left));
        if let Some(Ok(token)) = self.token.as_deref().map(HeaderValue::from_str) {
            headers.insert(TOKEN, token);
        }
        headers
    }

    /// Asks one peer for a JSON document.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        peer: &str,
        path: &str,
        patience: Duration,
    ) -> Result<T, PeerError> {
        let answer = self.fetch(peer, path, patience).await;
        self.count(answer.as_ref().err());
        answer
    }

    async fn fetch<T: DeserializeOwned>(&self, peer: &str, path: &str, patience: Duration) -> Result<T, PeerError> {
        let url = self.url(peer, path)?;
        let headers = self.headers(patience);
        let fetched = self.client.get(&url, headers, patience, MAX_ANSWER).await;
        let fetched = fetched.map_err(|e| PeerError::Unreachable(peer.to_owned(), e.reason()))?;
        if !fetched.status.is_success() {
            return Err(PeerError::Status(peer.to_owned(), fetched.status.as_u16()));
        }
        serde_json::from_slice(&fetched.body).map_err(|_| PeerError::Malformed(peer.to_owned()))
    }

    /// The address of a path on a peer, if the peer may be asked.
    pub(crate) fn url(&self, peer: &str, path: &str) -> Result<String, PeerError> {
        if !self.allows(peer) {
            return Err(PeerError::NotAllowed(peer.to_owned()));
        }
        Ok(format!("{}://{peer}{path}", self.scheme))
    }

    /// Counts a request to a peer.
    pub(crate) fn count(&self, error: Option<&PeerError>) {
        let result = error.map_or("ok", PeerError::result);
        self.requests.with_label_values(&[result]).inc();
    }
}

/// `host:port` or `[v6]:port`, nothing that could turn into a path, a user or a query.
fn well_formed(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host_byte = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let bare = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)) && !v6.is_empty(),
        None => !host.is_empty() && host.bytes().all(host_byte),
    };
    bare && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// A pattern with a port is compared with the whole address, else with the host.
fn address_matches(pattern: &str, address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    glob(pattern, address) || glob(pattern, host)
}

/// `*` stands for any characters, everything else for itself, case ignored.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn same_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_host_or_address() {
        let yes = |p: &str, a: &str| assert!(address_matches(p, a), "{p} {a}");
        let no = |p: &str, a: &str| assert!(!address_matches(p, a), "{p} {a}");
        yes("*", "a:1");
        yes("*.bridge", "pod-0.bridge:9527");
        yes("*.bridge", "POD-0.Bridge:9527");
        yes("pod-*.bridge", "pod-0.bridge:1");
        yes("127.0.0.1", "127.0.0.1:4000");
        yes("127.0.0.1:40*", "127.0.0.1:4000");
        yes("*a*a", "aXa:1");
        no("*.bridge", "pod-0.bridge.evil:9527");
        no("*.bridge", "bridge:9527");
        no("pod", "pod-0:1");
        no("127.0.0.1:9", "127.0.0.1:90");
        no("*a*a", "a:1");
        no("", "a:1");
    }

    #[test]
    fn only_host_and_port_is_an_address() {
        for good in ["a:1", "pod-0.bridge:9527", "10.0.0.1:80", "[::1]:80"] {
            assert!(well_formed(good), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:b", "a:99999", "u@a:1", "a/b:1", "a?x:1", "a b:1"] {
            assert!(!well_formed(bad), "{bad}");
        }
        assert!(!well_formed("[]:1") && !well_formed("[a/b]:1") && !well_formed("a#:1"));
        assert!(!well_formed("a:+1"));
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same_in_constant_time(b"abc", b"abc"));
        assert!(!same_in_constant_time(b"abc", b"abd"));
        assert!(!same_in_constant_time(b"abc", b"ab"));
        assert!(!same_in_constant_time(b"abc", b""));
    }
}
