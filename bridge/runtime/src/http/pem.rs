//! Certificates and keys, in a configuration file or in files that it names.
use std::io::Read;
use std::path::{Path, PathBuf};

use k2p_config::Section;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The largest file of certificates, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A PEM text and the key of the section that it stands under.
pub(crate) struct Pem {
    pub(crate) key: &'static str,
    bytes: Vec<u8>,
    /// Where it was read, to see it change.
    pub(crate) file: Option<PathBuf>,
}

/// What stands under `inline`, or in the file that stands under `file` (relative to `dir`).
/// Faults are noted in the section.
pub(crate) fn source(
    section: &Section<'_>,
    inline: Option<&'static str>,
    file: &'static str,
    dir: &Path,
) -> Option<Pem> {
    let text = inline.and_then(|key| section.string(key)).filter(|text| !text.trim().is_empty());
    let path = section.string(file).filter(|path| !path.is_empty());
    if let (Some(_), Some(_), Some(inline)) = (&text, &path, inline) {
        section.error(file, &format!("stands beside {inline}"), "keep one of them");
        return None;
    }
    if let (Some(text), Some(key)) = (text, inline) {
        return Some(Pem { key, bytes: text.into_bytes(), file: None });
    }
    let path = dir.join(path?);
    match read(&path) {
        Ok(bytes) => Some(Pem { key: file, bytes, file: Some(path) }),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            section.error(file, &message, "correct the path (it is relative to this file), or the file's rights");
            None
        }
    }
}

/// Reads a small file.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}

impl Pem {
    /// All certificates, at least one.
    pub(crate) fn certificates(&self, section: &Section<'_>) -> Option<Vec<CertificateDer<'static>>> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match all {
            Ok(all) if !all.is_empty() => return Some(all),
            Ok(_) => section.error(self.key, "no certificate in PEM in it", "give one that begins -----BEGIN"),
            Err(error) => section.error(self.key, &format!("no PEM: {error}"), "give certificates in PEM"),
        }
        None
    }

    /// The first private key. What is wrong with it is told without its text.
    pub(crate) fn private_key(&self, section: &Section<'_>) -> Option<PrivateKeyDer<'static>> {
        let key = PrivateKeyDer::from_pem_slice(&self.bytes);
        if key.is_err() {
            section.error(
                self.key,
                "no private key in PEM in it (an encrypted one cannot be used)",
                "give an unencrypted key in PKCS #8, PKCS #1 or SEC 1",
            );
        }
        key.ok()
    }
}
