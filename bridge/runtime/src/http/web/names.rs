//! The names that Go gives to versions, cipher suites and curves of TLS, and what of them
//! rustls has. What it lacks, it lacks because it is weak: a refusal says so.
use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite as suite, kx_group as group};

/// A version that can be served or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// A name's meaning, or why it is refused.
pub(crate) fn version(name: &str) -> Result<Version, String> {
    match name {
        "TLS12" => Ok(Version::Tls12),
        "TLS13" => Ok(Version::Tls13),
        "TLS10" | "TLS11" => Err("TLS 1.0 and 1.1 are broken (RFC 8996) and not spoken here".to_owned()),
        _ => Err("no such version".to_owned()),
    }
}

/// Go's names of the suites for TLS 1.2 and 1.3 that rustls has.
pub(crate) const SUITES: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// Why a name is no suite of ours, with those that are.
pub(crate) fn no_suite(name: &str) -> (String, String) {
    let known: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
    let why = if name.contains("_CBC_") || name.contains("_RC4_") || name.contains("_3DES_") {
        "is weak (CBC, RC4 and 3DES are not spoken here)"
    } else if name.starts_with("TLS_RSA_WITH_") {
        "has no forward secrecy and is not spoken here"
    } else {
        "is no cipher suite known here"
    };
    (format!("{name:?} {why}"), format!("choose from {}", known.join(", ")))
}

/// Go's names of the groups that rustls has with ring.
pub(crate) const CURVES: [(&str, &dyn SupportedKxGroup); 3] =
    [("X25519", group::X25519), ("CurveP256", group::SECP256R1), ("CurveP384", group::SECP384R1)];

/// Why a name is no curve of ours, with those that are.
pub(crate) fn no_curve(name: &str) -> (String, String) {
    let why = if name == "CurveP521" { "is not implemented here" } else { "is no curve known here" };
    (format!("{name:?} {why}"), "choose from X25519, CurveP256, CurveP384".to_owned())
}
