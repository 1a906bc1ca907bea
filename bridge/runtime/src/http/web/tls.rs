//! `tls_server_config`: read and validated, and made into what rustls serves with.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k2p_config::Section;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::der;
use super::names::{self, CURVES, SUITES, Version};
use super::verify::{ClientAuth, Verifier};
use crate::http::pem;

/// The section, validated.
#[derive(Debug)]
pub(crate) struct Tls {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pub(crate) client_auth: ClientAuth,
    client_ca: Vec<CertificateDer<'static>>,
    allowed: Vec<String>,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// In the order of preference; none: rustls' own.
    suites: Vec<SupportedCipherSuite>,
    prefer_server: bool,
    curves: Vec<&'static dyn SupportedKxGroup>,
}

/// Reads the section. `Some(None)`: TLS is not asked for; `None`: a fault was noted.
pub(crate) fn read(section: &Section<'_>, dir: &Path, files: &mut Vec<PathBuf>) -> Option<Option<Tls>> {
    let certificate = pem::source(section, Some("cert"), "cert_file", dir);
    let key = pem::source(section, Some("key"), "key_file", dir);
    let client_ca = pem::source(section, Some("client_ca"), "client_ca_file", dir);
    // An empty name is none.
    let auth = section.string("client_auth_type").filter(|name| !name.is_empty());
    let client_auth = auth.as_ref().and_then(|_| section.choice("client_auth_type", &ClientAuth::NAMES));
    let versions = versions(section);
    let suites = suites(section);
    let prefer_server = section.bool("prefer_server_cipher_suites").unwrap_or(true);
    let curves = curves(section);
    let allowed = section.string_list("client_allowed_sans").unwrap_or_default();

    let named = ["cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file"];
    if auth.is_none() && !named.iter().any(|key| section.string(key).is_some_and(|text| !text.is_empty())) {
        return Some(None);
    }
    for pem in [&certificate, &key, &client_ca] {
        files.extend(pem.as_ref().and_then(|pem| pem.file.clone()));
    }
    for (found, inline, file) in [(certificate.is_some(), "cert", "cert_file"), (key.is_some(), "key", "key_file")] {
        let unreadable = section.string(file).is_some_and(|path| !path.is_empty());
        if !found && !unreadable {
            section.error(file, &format!("neither {inline} nor {file} says anything"), "TLS needs one of the two");
        }
    }
    let client_auth = if auth.is_some() { client_auth? } else { ClientAuth::default() };
    let client_ca = match client_ca {
        Some(pem) => pem.certificates(section)?,
        None => Vec::new(),
    };
    let consistent = client_rules(section, client_auth, !client_ca.is_empty(), &allowed);
    let certificates = certificate.and_then(|pem| pem.certificates(section));
    let key = key.and_then(|pem| pem.private_key(section));
    let tls = Tls {
        certificates: certificates?,
        key: key?,
        client_auth,
        client_ca,
        allowed,
        versions: versions?,
        suites: suites?,
        prefer_server,
        curves: curves?,
    };
    // What only shows when it is put together, such as a key of another certificate.
    match tls.server(false) {
        Ok(_) if consistent => Some(Some(tls)),
        Ok(_) => None,
        Err(error) => {
            let remedy = "give the certificate's own key, and a CA certificate that is whole";
            section.error("key_file", &format!("certificate and key cannot be used: {error}"), remedy);
            None
        }
    }
}

fn client_rules(section: &Section<'_>, auth: ClientAuth, ca: bool, allowed: &[String]) -> bool {
    let before = if ca && auth == ClientAuth::NoClientCert {
        let remedy = "write client_auth_type: RequireAndVerifyClientCert, or remove the CA";
        section.error(
            "client_ca_file",
            "a CA is configured, but no client_auth_type that asks for certificates",
            remedy,
        );
        false
    } else if !ca && auth == ClientAuth::RequireAndVerifyClientCert {
        let remedy = "name the CA of your clients: the system's roots would let half the world in";
        section.error("client_auth_type", "certificates are to be verified, but there is no client_ca_file", remedy);
        false
    } else {
        true
    };
    if !allowed.is_empty() && !auth.verifies() {
        let message = "names in certificates that nobody verifies prove nothing";
        section.error("client_allowed_sans", message, "write client_auth_type: RequireAndVerifyClientCert");
        return false;
    }
    before
}

fn versions(section: &Section<'_>) -> Option<Vec<&'static SupportedProtocolVersion>> {
    let read = |key: &str, default: Version| match section.has(key) {
        true => section.parsed(key, "a version of TLS", "write TLS12 or TLS13", names::version),
        false => Some(default),
    };
    let (least, most) = (read("min_version", Version::Tls12)?, read("max_version", Version::Tls13)?);
    if least > most {
        section.error("max_version", "no version lies between min_version and this", "raise it, or lower min_version");
        return None;
    }
    let all = [(Version::Tls12, &version::TLS12), (Version::Tls13, &version::TLS13)];
    Some(all.into_iter().filter(|(v, _)| (least..=most).contains(v)).map(|(_, version)| version).collect())
}

/// As in Go, the list is about TLS 1.2 alone: the suites of 1.3 are always offered.
fn suites(section: &Section<'_>) -> Option<Vec<SupportedCipherSuite>> {
    let mut suites = Vec::new();
    let mut valid = true;
    for name in section.string_list("cipher_suites").unwrap_or_default() {
        match SUITES.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => suites.push(*suite),
            None => {
                let (message, remedy) = names::no_suite(&name);
                section.error("cipher_suites", &message, &remedy);
                valid = false;
            }
        }
    }
    valid.then_some(suites)
}

fn curves(section: &Section<'_>) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    let mut curves = Vec::new();
    let mut valid = true;
    for name in section.string_list("curve_preferences").unwrap_or_default() {
        match CURVES.iter().find(|(known, _)| *known == name) {
            Some((_, group)) => curves.push(*group),
            None => {
                let (message, remedy) = names::no_curve(&name);
                section.error("curve_preferences", &message, &remedy);
                valid = false;
            }
        }
    }
    valid.then_some(curves)
}

impl Tls {
    pub(crate) fn authenticates(&self) -> bool {
        self.client_auth == ClientAuth::RequireAndVerifyClientCert
    }

    /// Until when the served certificate is valid, in seconds since 1970.
    pub(crate) fn expires(&self) -> Option<i64> {
        self.certificates.first().and_then(|c| der::validity(c)).map(|(_, until)| until)
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            let newest = |suite: &SupportedCipherSuite| suite.tls13().is_some();
            let always: Vec<_> = provider.cipher_suites.iter().copied().filter(newest).collect();
            provider.cipher_suites = always;
            provider.cipher_suites.extend(self.suites.iter().copied().filter(|suite| !newest(suite)));
        }
        if !self.curves.is_empty() {
            provider.kx_groups.clone_from(&self.curves);
        }
        Arc::new(provider)
    }

    /// What rustls serves with.
    pub(crate) fn server(&self, http2: bool) -> Result<ServerConfig, String> {
        let provider = self.provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(|e| e.to_string())?;
        let builder = match self.client_auth {
            ClientAuth::NoClientCert => builder.with_no_client_auth(),
            auth => {
                let verifier = Verifier::new(auth, self.client_ca.clone(), self.allowed.clone(), &provider)?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let mut server =
            builder.with_single_cert(self.certificates.clone(), self.key.clone_key()).map_err(|e| e.to_string())?;
        server.ignore_client_order = self.prefer_server;
        if self.client_auth != ClientAuth::NoClientCert {
            // A resumed session would carry a certificate in that has expired meanwhile.
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        server.alpn_protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
        server.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(server)
    }
}
