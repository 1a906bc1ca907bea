//! Certificates for tests: an authority of one's own, and what it signed.
use super::supervise::new_dir;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use std::fs;
use std::path::PathBuf;

/// A directory with `ca.pem` and, by name, certificates and keys (`NAME.pem`, `NAME.key`).
pub struct Pki {
    dir: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Pki {
    /// With `server` (127.0.0.1) and the clients `good`, `expired` and `foreign` (another
    /// authority's).
    pub fn new() -> Pki {
        let pki = Pki { dir: new_dir("pki"), ca: authority("kafka2prom tests") };
        fs::write(pki.dir.join("ca.pem"), pki.ca.as_ref().pem()).unwrap();
        for name in ["server", "good"] {
            pki.issue(name, &pki.ca, |_| ());
        }
        pki.issue("expired", &pki.ca, |params| params.not_after = date_time_ymd(2020, 1, 1));
        pki.issue("foreign", &authority("somebody else"), |_| ());
        pki
    }

    /// Issues another certificate of the server's, in the place of the first.
    pub fn renew(&self) {
        self.issue("server", &self.ca, |params| params.not_after = date_time_ymd(2998, 1, 1));
    }

    fn issue(&self, name: &str, ca: &CertifiedIssuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        fs::write(self.dir.join(format!("{name}.pem")), params.signed_by(&key, ca).unwrap().pem()).unwrap();
        fs::write(self.dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// The path of a file of the directory, as text.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file beside the certificates, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.dir.join(name), text).unwrap();
        self.path(name)
    }

    /// `tls_config` that trusts the authority and shows that certificate.
    pub fn tls_config(&self, shown: Option<&str>) -> String {
        let own = shown.map(|name| {
            format!(
                ", cert_file: '{}', key_file: '{}'",
                self.path(&format!("{name}.pem")),
                self.path(&format!("{name}.key"))
            )
        });
        format!("tls_config: {{ca_file: '{}'{}}}", self.path("ca.pem"), own.unwrap_or_default())
    }
}
