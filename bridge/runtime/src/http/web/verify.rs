//! Who may come in by a certificate: Go's five modes on rustls.
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::der;

/// `client_auth_type`, by Go's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// No certificate is asked for.
    #[default]
    NoClientCert,
    /// One is asked for and not looked at.
    RequestClientCert,
    /// There must be one; nobody looks whose it is.
    RequireAnyClientCert,
    /// One that is shown must be good.
    VerifyClientCertIfGiven,
    /// There must be a good one: the only mode that keeps anybody out.
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    /// By name; `RequireClientCert` is an old name of exporter-toolkit's.
    pub(crate) const NAMES: [(&'static str, ClientAuth); 6] = [
        ("NoClientCert", ClientAuth::NoClientCert),
        ("RequestClientCert", ClientAuth::RequestClientCert),
        ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
        ("RequireClientCert", ClientAuth::RequireAnyClientCert),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
    ];

    /// Whether a certificate is checked against the CA.
    pub(crate) fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert)
    }

    fn requires(self) -> bool {
        matches!(self, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert)
    }
}

/// A good certificate of somebody who is not on the list.
#[derive(Debug)]
pub(crate) struct NotAllowed(String);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of its alternative names is in client_allowed_sans; it has {}", self.0)
    }
}

impl std::error::Error for NotAllowed {}

/// The names that a log line tells, at most.
const TOLD: usize = 8;

#[derive(Debug)]
pub(crate) struct Verifier {
    auth: ClientAuth,
    provider: Arc<CryptoProvider>,
    /// `None`: no CA is configured.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// The CA file's certificates: one of them may be the client's own.
    pinned: Vec<CertificateDer<'static>>,
    /// Empty: whoever is verified.
    allowed: Vec<String>,
}

impl Verifier {
    pub(crate) fn new(
        auth: ClientAuth,
        pinned: Vec<CertificateDer<'static>>,
        allowed: Vec<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &pinned {
            roots.add(certificate.clone()).map_err(|e| e.to_string())?;
        }
        let chain = match roots.is_empty() {
            true => None,
            false => Some(chain(roots, provider).map_err(|e| e.to_string())?),
        };
        Ok(Verifier { auth, provider: provider.clone(), chain, pinned, allowed })
    }

    /// A self-signed certificate that stands itself in the CA file, as Go takes it. Webpki
    /// lets none sign for itself that says it is a CA, and `openssl req -x509` says so.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.pinned.iter().any(|pinned| **pinned == **certificate) {
            return Ok(false);
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match der::validity(certificate) {
            Some((from, _)) if now < from => Err(CertificateError::NotValidYet.into()),
            Some((_, until)) if now > until => Err(CertificateError::Expired.into()),
            Some(_) => Ok(true),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn check_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.allowed.is_empty() {
            return Ok(());
        }
        let names = der::alternative_names(certificate);
        if names.iter().any(|name| self.allowed.contains(name)) {
            return Ok(());
        }
        let told: Vec<&str> = names.iter().take(TOLD).map(String::as_str).collect();
        let told = if told.is_empty() { "none".to_owned() } else { format!("{told:?}") };
        Err(CertificateError::Other(OtherError(Arc::new(NotAllowed(told)))).into())
    }
}

fn chain(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth.requires()
    }

    /// None: a client that is told the CAs keeps a certificate of another to itself, and the
    /// log could not say that it was signed by the wrong one.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.auth.verifies() {
            return Ok(ClientCertVerified::assertion());
        }
        if !self.is_pinned(certificate, now)? {
            let Some(chain) = &self.chain else { return Err(CertificateError::UnknownIssuer.into()) };
            chain.verify_client_cert(certificate, intermediates, now)?;
        }
        self.check_names(certificate)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
