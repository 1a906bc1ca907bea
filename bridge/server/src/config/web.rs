//! The section `web`: where the bridge listens, who may come, and how it asks the others.
use std::path::{Path, PathBuf};

use k2p_runtime::config::{Section, parse_host_port, parse_listen_address};
use k2p_runtime::http::Secret;
use k2p_runtime::http::client::ClientAuthentication;
use k2p_runtime::http::ratelimit::Rate;

use super::Flags;
use crate::expose::RouteMode;

/// The HTTP side's part.
#[derive(Debug, Clone)]
pub struct Web {
    /// `HOST:PORT`, port 0: the system chooses; `None`: see [`Web::listen_address`].
    pub listen: Option<String>,
    /// TLS, client certificates, passwords: a file in exporter-toolkit's format.
    pub config_file: Option<PathBuf>,
    /// Where other bridges reach this one; `None`: derived from the bound address.
    pub advertise: Option<String>,
    /// Where Prometheus reaches all bridges as one.
    pub external: Option<String>,
    /// How it is spoken there; `None`: as here.
    pub external_scheme: Option<Scheme>,
    /// Proxy or redirect.
    pub route: RouteMode,
    /// Patterns of advertised addresses that may be asked.
    pub peers: Vec<String>,
    /// The token that the bridges share.
    pub peer_token: Option<Secret>,
    /// How they speak; `None`: as this one does.
    pub peer_scheme: Option<Scheme>,
    /// Whom this bridge trusts among them, and how it shows itself.
    pub peer_http: ClientAuthentication,
    /// Admin calls are allowed.
    pub admin_api: bool,
    /// Scrapes under way at once; more get 503.
    pub max_scrapes: usize,
    /// Connections at once, in all.
    pub connections: usize,
    /// Of these, for one client.
    pub connections_per_client: usize,
    /// What one client may push; `None`: as much as it likes.
    pub push_rate: Option<Rate>,
}

/// Plain or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    const NAMES: [(&'static str, Scheme); 2] = [("http", Scheme::Http), ("https", Scheme::Https)];

    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Where `serve` listens if nothing is said and everybody who reaches it may come in.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9527";
/// The same where a password or a certificate is asked for.
pub const DEFAULT_LISTEN_GUARDED: &str = ":9527";

impl Web {
    /// Where to listen: as said, else on loopback, unless whoever comes is asked who he is.
    pub fn listen_address(&self, guarded: bool) -> &str {
        let default = if guarded { DEFAULT_LISTEN_GUARDED } else { DEFAULT_LISTEN };
        self.listen.as_deref().unwrap_or(default)
    }
}

pub(super) fn read(section: &Section<'_>, flags: &Flags, errors: &mut Vec<String>) -> Option<Web> {
    let remedy = "write HOST:PORT, or :PORT for every address";
    let in_file =
        section.parsed("listen_address", "an address", remedy, |t| parse_listen_address(t).map_err(|e| e.to_string()));
    let listen = match &flags.listen {
        Some(text) => {
            parse_listen_address(text).map_err(|e| errors.push(format!("--web.listen-address {text}: {e}"))).ok()
        }
        None => in_file,
    };
    let in_file = section.string("config_file").filter(|path| !path.is_empty()).map(PathBuf::from);
    let advertise = address(section, "advertise_address", "--web.advertise-address", flags.advertise.as_ref(), errors);
    let external = address(section, "external_address", "--web.external-address", flags.external.as_ref(), errors);
    let (external, external_scheme) = external.map_or((None, None), |(address, scheme)| (Some(address), scheme));
    let routes = [("proxy", RouteMode::Proxy), ("redirect", RouteMode::Redirect)];
    let mut route = section.choice("route", &routes).unwrap_or_default();
    if let Some(text) = &flags.route {
        match routes.iter().find(|(name, _)| name == text) {
            Some((_, mode)) => route = *mode,
            None => errors.push(format!("--web.route {text}: no such way; write proxy or redirect")),
        }
    }
    let count = |key: &str, default: usize| {
        section.integer(key, 1..=100_000).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let connections = count("max_connections", 1024);
    Some(Web {
        listen,
        config_file: flags.web_config.clone().or(in_file),
        advertise: advertise.map(|(address, _)| address),
        external,
        external_scheme,
        route,
        peers: section.string_list("peers").unwrap_or_else(|| vec!["*".to_owned()]),
        peer_token: section.string("peer_token").map(Secret::new),
        peer_scheme: section.choice("peer_scheme", &Scheme::NAMES),
        peer_http: ClientAuthentication::read(&section.section("peer_http"), Path::new("")).unwrap_or_default(),
        admin_api: section.bool("enable_admin_api").unwrap_or(false) || flags.admin_api,
        max_scrapes: count("max_scrapes", 256),
        connections,
        connections_per_client: count("max_connections_per_client", connections.div_ceil(2)),
        push_rate: push_rate(&section.section("push_rate")),
    })
}

fn push_rate(section: &Section<'_>) -> Option<Rate> {
    let per_second = section.float("per_second", 0.0..=1e6).unwrap_or(1000.0);
    let burst = section.integer("burst", 1..=10_000_000).unwrap_or(10_000);
    // At most ten millions: exact.
    (per_second > 0.0).then_some(Rate { per_second, burst: burst as f64 })
}

/// An address, with its scheme where one is said; only the external one may say one.
fn address(
    section: &Section<'_>,
    key: &str,
    flag: &str,
    given: Option<&String>,
    errors: &mut Vec<String>,
) -> Option<(String, Option<Scheme>)> {
    let remedy = "write HOST:PORT";
    let check = |text: &str| {
        let with = |(name, scheme)| Some((text.strip_prefix(name)?.strip_prefix("://")?, Some(scheme)));
        let said = Scheme::NAMES.into_iter().find_map(with).filter(|_| key == "external_address");
        let (address, scheme) = said.unwrap_or((text, None));
        parse_host_port(address).map(|_| (address.to_owned(), scheme)).map_err(|e| e.to_string())
    };
    let in_file = section.parsed(key, "an address", remedy, check);
    let Some(text) = given else { return in_file };
    match check(text) {
        Ok(address) => Some(address),
        Err(error) => {
            errors.push(format!("{flag} {text}: {error}"));
            None
        }
    }
}
