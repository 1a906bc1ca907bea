//! The web configuration file, in exporter-toolkit's format: read, validated, nothing live.
//!
//! What differs from exporter-toolkit is refused with the reason, never taken for something
//! weaker: `deploy/docs/security.md` has the list.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use k2p_config::{Reader, Section};

use super::tls::{self, Tls};

/// The file, validated.
#[derive(Debug)]
pub struct WebConfig {
    /// `tls_server_config`; `None`: plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// Whether HTTP/2 is offered (over TLS only).
    pub(crate) http2: bool,
    /// Headers of every answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// bcrypt hashes by user; none: no password is asked for.
    pub(crate) users: BTreeMap<String, String>,
    /// Time between two requests and how many may come at once.
    pub(crate) rate: Option<(Duration, u32)>,
    /// The file itself and those that it names.
    pub(crate) files: Vec<PathBuf>,
}

/// The highest cost of a hash: each step doubles the time; 18 is some seconds.
const MAX_COST: u32 = 18;

/// What exporter-toolkit lets be set, and to which values (none: any).
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

impl WebConfig {
    /// Reads and checks a file and the files that it names.
    ///
    /// # Errors
    /// Everything that is wrong, one line each.
    pub fn load(path: &Path) -> Result<WebConfig, Vec<String>> {
        let reader = Reader::new(crate::config::load(path));
        let dir = path.parent().unwrap_or(Path::new(""));
        let config = WebConfig::read(&reader.root(), dir);
        reader.finish().map_err(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut config = config.ok_or_else(|| vec![format!("{}: it cannot be used", path.display())])?;
        config.files.push(path.to_owned());
        Ok(config)
    }

    /// Reads the root of such a file; names of files are relative to `dir`. `None` only
    /// where a fault was noted.
    fn read(root: &Section<'_>, dir: &Path) -> Option<WebConfig> {
        let mut files = Vec::new();
        let tls = tls::read(&root.section("tls_server_config"), dir, &mut files);
        let http = root.section("http_server_config");
        let http2 = http.bool("http2").unwrap_or(true);
        let headers = headers(&http);
        let users = users(root);
        let rate = rate(&root.section("rate_limit"));
        Some(WebConfig { tls: tls?, http2, headers: headers?, users: users?, rate, files })
    }

    /// Whether nobody comes in without a password or a certificate that is checked.
    pub fn authenticates(&self) -> bool {
        !self.users.is_empty() || self.tls.as_ref().is_some_and(Tls::authenticates)
    }

    /// Whether it is TLS that is spoken.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What it says, in words.
    pub fn summary(&self) -> String {
        let tls = match &self.tls {
            None => "plain HTTP".to_owned(),
            Some(tls) => format!("TLS, client certificates: {:?}", tls.client_auth),
        };
        let users = match self.users.len() {
            0 => "no passwords".to_owned(),
            n => format!("passwords of {n} users"),
        };
        format!("{tls}; {users}")
    }
}

fn headers(http: &Section<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut out = Some(Vec::new());
    for (name, value) in http.string_map("headers").unwrap_or_default() {
        let section = http.section("headers");
        let Some((_, values)) = HEADERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
            section.error(&name, "this header cannot be configured", &format!("choose from {}", known.join(", ")));
            out = None;
            continue;
        };
        if value.is_empty() {
            continue;
        }
        if !values.is_empty() && !values.contains(&value.as_str()) {
            section.error(&name, "this value is not accepted", &format!("write {}", values.join(" or ")));
            out = None;
            continue;
        }
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) => out.iter_mut().for_each(|all| all.push((name.clone(), value.clone()))),
            _ => {
                section.error(&name, "this is no value of a header", "write one line of visible ASCII");
                out = None;
            }
        }
    }
    out
}

fn users(root: &Section<'_>) -> Option<BTreeMap<String, String>> {
    let users = root.string_map("basic_auth_users").unwrap_or_default();
    let section = root.section("basic_auth_users");
    let mut valid = true;
    for (user, hash) in &users {
        let fault = match cost(hash) {
            Some(4..=MAX_COST) => None,
            Some(cost) => Some(format!("a cost of {cost} is not from 4 to {MAX_COST}")),
            None => Some("this is no bcrypt hash".to_owned()),
        };
        if user.contains(':') || user.chars().any(char::is_control) {
            section.error(user, "a user's name holds no colon and no control character", "rename the user");
            valid = false;
        }
        if let Some(fault) = fault {
            section.error(user, &fault, "make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'");
            valid = false;
        }
    }
    valid.then_some(users)
}

/// The cost of a bcrypt hash; `None` if it is none.
pub(super) fn cost(hash: &str) -> Option<u32> {
    let mut parts = hash.strip_prefix('$')?.splitn(3, '$');
    let (version, cost, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    let known = matches!(version, "2a" | "2b" | "2x" | "2y");
    if !known || cost.len() != 2 || rest.len() != 53 || !rest.bytes().all(alphabet) {
        return None;
    }
    cost.parse().ok()
}

fn rate(section: &Section<'_>) -> Option<(Duration, u32)> {
    let interval = section.duration("interval").unwrap_or_default();
    let burst = section.integer("burst", 0..=i64::from(u32::MAX)).unwrap_or(0);
    if interval.is_zero() {
        return None;
    }
    if burst == 0 {
        section.error("burst", "with a burst of 0 every request is refused", "write at least 1");
    }
    Some((interval, u32::try_from(burst).unwrap_or(u32::MAX)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
