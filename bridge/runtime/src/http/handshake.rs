//! Handshakes that fail: why, counted by a bounded reason and told in a bounded log.
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::IntCounterVec;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::ratelimit::{Limiter, Rate};
use super::web::NotAllowed;

/// The first byte of a TLS connection.
pub(super) const TLS: u8 = 0x16;

/// The reasons of `tls_handshakes_failed_total`.
pub(crate) const REASONS: [&str; 10] = [
    "no_certificate",
    "expired",
    "not_yet_valid",
    "unknown_ca",
    "not_allowed",
    "bad_certificate",
    "refused_by_client",
    "incompatible",
    "not_tls",
    "disconnected",
];

/// The first byte that comes, left in its place; `None` where none comes.
pub(super) async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte).await {
        Ok(1) => Some(byte[0]),
        _ => None,
    }
}

/// Failed handshakes of one listener. A flood of them must not flood the log.
pub(super) struct Handshakes {
    failed: IntCounterVec,
    lines: Limiter,
    unsaid: AtomicU64,
}

impl Handshakes {
    pub(super) fn new(failed: IntCounterVec) -> Handshakes {
        let lines = Limiter::new(Rate { per_second: 1.0, burst: 20.0 }, Instant::now());
        Handshakes { failed, lines, unsaid: AtomicU64::new(0) }
    }

    pub(super) fn failed(&self, peer: SocketAddr, reason: &'static str, why: &str) {
        self.failed.with_label_values(&[reason]).inc();
        if self.lines.take(Instant::now()).is_err() {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let unsaid = self.unsaid.swap(0, Ordering::Relaxed);
        tracing::warn!(%peer, reason, why, unsaid, "a TLS handshake was refused");
    }
}

/// The bounded reason of a handshake that failed, and what it was in words.
pub(super) fn explain(error: &io::Error) -> (&'static str, String) {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return ("disconnected", format!("the client did not go on: {error}"));
    };
    let said = |reason, text: &str| (reason, text.to_owned());
    match error {
        Error::NoCertificatesPresented => said("no_certificate", "the client showed no certificate"),
        Error::InvalidCertificate(fault) => certificate(fault),
        Error::AlertReceived(alert) => refused_by_client(*alert),
        Error::PeerIncompatible(why) => {
            ("incompatible", format!("the client speaks no version or cipher suite that is allowed here: {why:?}"))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => said("not_tls", "the client speaks no TLS"),
        other => ("bad_certificate", other.to_string()),
    }
}

fn certificate(fault: &CertificateError) -> (&'static str, String) {
    let said = |reason, text: &str| (reason, text.to_owned());
    match fault {
        CertificateError::Expired => said("expired", "the client's certificate has expired"),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            ("expired", format!("the client's certificate has expired {ago} s ago"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            said("not_yet_valid", "the client's certificate is not valid yet; are the clocks right?")
        }
        CertificateError::UnknownIssuer => {
            said("unknown_ca", "the client's certificate was signed by no CA of client_ca_file")
        }
        CertificateError::Other(other) if other.0.is::<NotAllowed>() => {
            ("not_allowed", format!("the client's certificate is not allowed: {}", other.0))
        }
        other => ("bad_certificate", format!("the client's certificate cannot be used: {other:?}")),
    }
}

fn refused_by_client(alert: AlertDescription) -> (&'static str, String) {
    let hint = match alert {
        AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "; it does not trust the certificate here, see its ca_file and server_name"
        }
        AlertDescription::CertificateExpired => "; the certificate here has expired",
        _ => "",
    };
    ("refused_by_client", format!("the client broke off: {alert:?}{hint}"))
}
