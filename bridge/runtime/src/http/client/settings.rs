//! How a client shows itself and whom it trusts, by the names of Prometheus' `http_config`:
//!
//! ```yaml
//! tls_config: {ca_file: ca.pem, cert_file: me.pem, key_file: me.key, server_name: bridge, min_version: TLS13}
//! basic_auth: {username: bridge, password_file: /run/secrets/bridge}
//! ```
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use k2p_config::{Reader, Section};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version};

use super::ClientError;
use crate::http::web::names::{self, Version};
use crate::http::{Secret, pem};

/// `tls_config` and `basic_auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientAuthentication {
    /// Certificates in PEM to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The own certificate, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must hold, in place of the URL's host.
    pub server_name: Option<String>,
    /// The server may be anybody.
    pub insecure_skip_verify: bool,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// User and password of every request.
    pub basic_auth: Option<(String, Password)>,
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// In the configuration.
    Inline(Secret),
    /// In a file of its own, whose last line break is no part of it.
    File(PathBuf),
}

impl ClientAuthentication {
    /// Reads a section; names of files are relative to `dir`. Faults are noted in it.
    pub fn read(section: &Section<'_>, dir: &Path) -> Option<ClientAuthentication> {
        let tls = section.section("tls_config");
        let path = |key: &str| tls.string(key).filter(|path| !path.is_empty()).map(|path| dir.join(path));
        let (certificate, key) = (path("cert_file"), path("key_file"));
        let parsed = tls
            .has("min_version")
            .then(|| tls.parsed("min_version", "a version of TLS", "write TLS12 or TLS13", names::version));
        let out = ClientAuthentication {
            ca_file: path("ca_file"),
            server_name: tls.string("server_name").filter(|name| !name.is_empty()),
            insecure_skip_verify: tls.bool("insecure_skip_verify").unwrap_or(false),
            only_tls13: parsed.flatten() == Some(Version::Tls13),
            basic_auth: basic_auth(&section.section("basic_auth"), dir)?,
            certificate: match (certificate, key) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                (Some(_), None) => return missing(&tls, "key_file", "cert_file"),
                (None, Some(_)) => return missing(&tls, "cert_file", "key_file"),
            },
        };
        if parsed == Some(None) {
            return None;
        }
        if let Err(error) = out.connector().and_then(|_| out.authorization()) {
            section.error("tls_config", &error.to_string(), "correct the files or their names");
            return None;
        }
        Some(out)
    }

    /// [`ClientAuthentication::read`] of a file of its own (`--http.config.file`).
    ///
    /// # Errors
    /// Everything that is wrong, one line each.
    pub fn load(path: &Path) -> Result<ClientAuthentication, Vec<String>> {
        let reader = Reader::new(crate::config::load(path));
        let read = ClientAuthentication::read(&reader.root(), path.parent().unwrap_or(Path::new("")));
        reader.finish().map_err(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        read.ok_or_else(|| vec![format!("{}: it cannot be used", path.display())])
    }

    /// The files behind it.
    pub(super) fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.ca_file.iter().map(PathBuf::as_path).collect();
        if let Some((certificate, key)) = &self.certificate {
            files.extend([certificate.as_path(), key.as_path()]);
        }
        if let Some((_, Password::File(path))) = &self.basic_auth {
            files.push(path);
        }
        files
    }

    /// The header `Authorization`, if there is one to be sent.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        let Some((user, password)) = &self.basic_auth else { return Ok(None) };
        let password = match password {
            Password::Inline(secret) => secret.expose().to_owned(),
            Password::File(path) => {
                let unreadable = |error: &dyn std::fmt::Display| {
                    ClientError::Certificates(format!("the password file {}: {error}", path.display()))
                };
                let text = String::from_utf8(pem::read(path).map_err(|e| unreadable(&e))?);
                text.map_err(|_| unreadable(&"it is no text"))?.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        let mut value = value.map_err(|_| ClientError::Certificates("a password that fits no header".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What rustls connects with.
    pub(in crate::http) fn connector(&self) -> Result<rustls::ClientConfig, ClientError> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[_] = if self.only_tls13 { &[&version::TLS13] } else { &[&version::TLS12, &version::TLS13] };
        let tls = |error: Error| ClientError::Tls(error.to_string());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(tls)?;
        let builder = match self.insecure_skip_verify {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            false => builder.with_root_certificates(self.roots()?),
        };
        let Some((certificate, key)) = &self.certificate else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&pem::read(key).map_err(|e| unreadable(key, &e))?)
            .map_err(|_| unreadable(key, &"no private key in PEM in it"))?;
        builder.with_client_auth_cert(chain, key).map_err(tls)
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut store = RootCertStore::empty();
        let Some(path) = &self.ca_file else {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // A system's store may hold certificates that are too odd to be used.
                drop(store.add(certificate));
            }
            return Ok(store);
        };
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| unreadable(path, &error))?;
        }
        Ok(store)
    }
}

fn missing(section: &Section<'_>, key: &str, beside: &str) -> Option<ClientAuthentication> {
    section.error(key, &format!("missing beside {beside}"), "a certificate goes with its key: name both files");
    None
}

/// `None` where a fault was noted.
fn basic_auth(section: &Section<'_>, dir: &Path) -> Option<Option<(String, Password)>> {
    let user = section.string("username");
    let (text, file) = (section.string("password"), section.string("password_file"));
    if !section.present() {
        return Some(None);
    }
    let Some(user) = user.filter(|user| !user.contains(':')) else {
        section.error("username", "a user is missing, or its name holds a colon", "write username: NAME");
        return None;
    };
    match (text, file) {
        (Some(text), None) => Some(Some((user, Password::Inline(Secret::new(text))))),
        (None, Some(file)) => Some(Some((user, Password::File(dir.join(file))))),
        _ => {
            section.error("password_file", "either password or password_file is needed", "write one of the two");
            None
        }
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Certificates(format!("{}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let bytes = pem::read(path).map_err(|error| unreadable(path, &error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(unreadable(path, &"no certificate in PEM in it")),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// `server_name` as rustls takes it.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, ClientError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ClientError::Tls(format!("{name:?} is no server name")))
}

/// `insecure_skip_verify`: whoever holds the key of the certificate that is shown.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
