//! exporter-toolkit's own cases (`web/testdata` of its repository, by their names), and what
//! is refused here beyond them.
use std::fs;

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A directory with what the cases name, as exporter-toolkit's `testdata` has it.
struct Dir(tempfile::TempDir);

const HASH: &str = "$2y$10$2UXri9cIDdgeKjBo4Rlpx.U3ZLDV8X1IxKmsfOvhcM5oXQt/mLmXq";

impl Dir {
    fn new() -> Dir {
        let dir = tempfile::tempdir().unwrap();
        for (name, key_name) in [("server.crt", "server.key"), ("client_selfsigned.pem", "other.key")] {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            fs::write(dir.path().join(name), certificate.pem()).unwrap();
            fs::write(dir.path().join(key_name), key.serialize_pem()).unwrap();
        }
        Dir(dir)
    }

    fn load(&self, text: &str) -> Result<WebConfig, Vec<String>> {
        let path = self.0.path().join("web.yml");
        fs::write(&path, text).unwrap();
        WebConfig::load(&path)
    }

    #[track_caller]
    fn good(&self, text: &str) -> WebConfig {
        self.load(text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"))
    }

    /// Every fault names the file and the line, and the first one says this.
    #[track_caller]
    fn bad(&self, text: &str, line: u32, said: &str) {
        let faults = self.load(text).err().unwrap_or_else(|| panic!("taken: {text}"));
        let place = format!("web.yml:{line}:");
        assert!(faults.iter().any(|f| f.contains(&place) && f.contains(said)), "{text}\n{faults:#?}");
        assert!(faults.iter().all(|f| f.contains("; ")), "a fault without a remedy: {faults:#?}");
    }

    /// [`Dir::good`] of `tls_server_config` with certificate and key.
    #[track_caller]
    fn tls(&self, rest: &str) -> WebConfig {
        self.good(&format!("tls_server_config: {{cert_file: server.crt, key_file: server.key, {rest}}}"))
    }

    #[track_caller]
    fn no_tls(&self, rest: &str, said: &str) {
        self.bad(&format!("tls_server_config: {{cert_file: server.crt, key_file: server.key, {rest}}}"), 1, said);
    }
}

#[test]
fn the_toolkits_good_cases_are_taken() {
    let dir = Dir::new();
    assert!(!dir.good("").is_tls(), "web_config_empty");
    assert!(!dir.good("# nothing\n").authenticates());
    assert!(dir.tls("client_auth_type: VerifyClientCertIfGiven").is_tls());
    let verified = dir.tls("client_auth_type: RequireAndVerifyClientCert, client_ca_file: client_selfsigned.pem");
    assert!(verified.authenticates());
    assert_eq!(verified.files.len(), 4, "{:?}", verified.files);
    assert!(!dir.tls("client_auth_type: RequireAnyClientCert").authenticates(), "anybody has a certificate");
    dir.tls("client_auth_type: RequireClientCert");
    dir.tls("client_auth_type: RequestClientCert");
    dir.tls("client_auth_type: NoClientCert");
    dir.tls("client_auth_type: ''");
    dir.tls(
        "client_auth_type: RequireAndVerifyClientCert, client_ca_file: client_selfsigned.pem, \
         client_allowed_sans: [one, test3, two]",
    );
    dir.tls("max_version: TLS12, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]");
    dir.tls("min_version: TLS12, max_version: TLS12, prefer_server_cipher_suites: false");
    dir.tls("min_version: TLS13, curve_preferences: [CurveP384, X25519]");
    let all: Vec<&str> = super::super::names::SUITES.iter().map(|(name, _)| *name).collect();
    dir.tls(&format!("cipher_suites: [{}]", all.join(", ")));
    let headers = dir.good(
        "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=31536000; includeSubDomains\n    X-Content-Type-Options: nosniff\n    \
         X-XSS-Protection: 1\n    Content-Security-Policy: \"default-src 'self' *.test.example.net\"\n",
    );
    assert_eq!((headers.headers.len(), headers.http2), (5, false));
    let users = dir.good(&format!("basic_auth_users:\n  alice: {HASH}\n  bob: {}\n", HASH.replace("2y$10", "2a$18")));
    assert!(users.authenticates() && !users.is_tls() && users.users.len() == 2);
    assert_eq!(dir.good("rate_limit: {interval: 0, burst: 0}").rate, None);
    assert_eq!(dir.good("rate_limit: {interval: 1s, burst: 5}").rate, Some((Duration::from_secs(1), 5)));
}

#[test]
fn certificate_and_key_may_stand_in_the_file() {
    let dir = Dir::new();
    let indent = |name: &str| fs::read_to_string(dir.0.path().join(name)).unwrap().replace('\n', "\n    ");
    let text = |key: &str| {
        format!("tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n", indent("server.crt"), indent(key))
    };
    let config = dir.good(&text("server.key"));
    assert!(config.is_tls() && config.files.len() == 1);
    let shown = format!("{config:?}");
    let key = fs::read_to_string(dir.0.path().join("server.key")).unwrap();
    assert!(!shown.contains(key.lines().nth(1).unwrap()), "{shown}");
    // A key of another certificate, and no fault that shows it.
    let faults = dir.load(&text("other.key")).unwrap_err().join("\n");
    let other = fs::read_to_string(dir.0.path().join("other.key")).unwrap();
    assert!(faults.contains("cannot be used") && !faults.contains(other.lines().nth(1).unwrap()), "{faults}");
}

#[test]
fn the_toolkits_bad_cases_are_refused_where_they_stand() {
    let dir = Dir::new();
    let tls = |rest: &str| format!("tls_server_config:\n  {}\n", rest.replace(", ", "\n  "));
    dir.bad("hWkNKCp3fvIx3jKnsaBI\nTuEjdwNS8A2vYdFbiKqr\n", 1, "no keys");
    dir.bad(&tls("cert_filse: server.crt"), 2, "did you mean cert_file?");
    dir.bad(&tls("cert_file: '', key_file: server.key"), 2, "neither cert nor cert_file");
    dir.bad(&tls("cert: '', key_file: server.key"), 2, "neither cert nor cert_file");
    dir.bad(&tls("cert_file: server.crt, key_file: ''"), 3, "neither key nor key_file");
    dir.bad(&tls("cert_file: server.crt, key: ''"), 2, "neither key nor key_file");
    dir.bad(&tls("cert_file: '', key_file: '', client_auth_type: x"), 4, "expected one of NoClientCert");
    dir.bad(&tls("cert_file: somefile, key_file: server.key"), 2, "cannot be read");
    dir.bad(&tls("cert_file: server.crt, key_file: somefile"), 3, "cannot be read");
    dir.bad(&tls("cert_file: server.crt, key_file: server.key, client_ca_file: somefile"), 4, "cannot be read");
    dir.no_tls("client_ca_file: client_selfsigned.pem", "no client_auth_type");
    dir.no_tls("client_auth_type: RequireAndVerifyClientCert", "no client_ca_file");
    dir.no_tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: /dev/null", "no certificate in PEM");
    dir.no_tls("min_version: TLS111", "no such version");
    dir.no_tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]", "no cipher suite known here");
    dir.no_tls("curve_preferences: [CurveP257]", "no curve known here");
    dir.bad("basic_auth_users:\n  john: doe\n", 2, "no bcrypt hash");
    let header = |text: &str| format!("http_server_config:\n  headers:\n    {text}\n");
    dir.bad(&header("X-Content-Type-Options: sniff"), 3, "write nosniff");
    dir.bad(&header("X-Frame-Options: foo"), 3, "write deny or sameorigin");
    dir.bad(&header("Content-Type: foo"), 3, "cannot be configured");
    dir.bad("rate_limit: {interval: 1s, burst: 0}", 1, "every request is refused");
}

#[test]
fn what_rustls_does_not_speak_is_refused_with_the_reason() {
    let dir = Dir::new();
    for version in ["TLS10", "TLS11"] {
        dir.no_tls(&format!("min_version: {version}"), "RFC 8996");
        dir.no_tls(&format!("max_version: {version}"), "RFC 8996");
    }
    dir.no_tls("min_version: TLS13, max_version: TLS12", "no version lies between");
    dir.no_tls("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]", "is weak");
    dir.no_tls("cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]", "no forward secrecy");
    dir.no_tls("cipher_suites: [x]", "choose from TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ");
    dir.no_tls("curve_preferences: [CurveP521]", "not implemented here; choose from X25519");
}

#[test]
fn what_would_be_weaker_than_it_looks_is_refused() {
    let dir = Dir::new();
    dir.no_tls("client_auth_type: RequireAnyClientCert, client_allowed_sans: [a]", "prove nothing");
    dir.no_tls("cert: x", "stands beside cert");
    let hash = |cost: &str| format!("basic_auth_users:\n  john: {}\n", HASH.replace("$10$", cost));
    dir.bad(&hash("$19$"), 2, "a cost of 19 is not from 4 to 18");
    dir.bad(&hash("$03$"), 2, "a cost of 3");
    dir.bad(&hash("$1$"), 2, "no bcrypt hash");
    dir.bad(&format!("basic_auth_users:\n  'a:b': {HASH}\n"), 2, "no colon");
    // The hash is a secret too.
    let faults = dir.load(&hash("$19$")).unwrap_err().join("\n");
    assert!(!faults.contains("2UXri9cIDdgeKjBo4Rlpx"), "{faults}");
    dir.bad("tls_server: {}\n", 1, "unknown key");
    dir.bad("rate_limit: {interval: 1s, burst: 1, every: 2}\n", 1, "unknown key");
    assert_eq!(dir.load("a: b").unwrap_err().len(), 1);
    let missing = WebConfig::load(Path::new("/nowhere/web.yml")).unwrap_err();
    assert!(missing[0].contains("/nowhere/web.yml: cannot be read"), "{missing:?}");
}

/// The annotated file that ships is taken as it stands, and shows every key.
#[test]
fn the_annotated_file_is_taken_and_shows_every_key() {
    const SHIPPED: &str = include_str!("../../../../../../deploy/web.yml");
    let dir = Dir::new();
    let config = dir.good(SHIPPED);
    assert!(!config.is_tls() && !config.authenticates() && config.http2 && config.rate.is_none());
    let unknown = "x: 1\ntls_server_config: {x: 1}\nhttp_server_config: {x: 1}\nrate_limit: {x: 1}\n";
    let faults = dir.load(unknown).unwrap_err();
    let known: Vec<&str> = faults.iter().filter_map(|f| Some(f.split_once("known here: ")?.1)).collect();
    assert_eq!(known.len(), 4, "{faults:#?}");
    for key in known.iter().flat_map(|keys| keys.split(", ")) {
        assert!(
            SHIPPED.contains(&format!("{key}:"))
                || SHIPPED.contains(&format!("{key}, "))
                || SHIPPED.contains(&format!("{key} (")),
            "deploy/web.yml does not show {key}"
        );
    }
}
