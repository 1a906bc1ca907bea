//! TLS, client certificates and passwords: a real Prometheus of either generation, the
//! bridges among themselves, reloads under traffic, and secrets that stay secret.
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::parts::Generation;
use crate::support::pki::Pki;
use crate::support::poll::{AtEnd, eventually, eventually_ok};
use crate::support::process::{self, Service};
use crate::support::prometheus::Prometheus;
use crate::support::skip::require;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
/// Of the group whose bridges ask each other: more keys than one bridge can have by chance.
const PARTITIONS: i32 = 4;
const KEYS: usize = 16;
const MTLS: &str = "tls_server_config: {cert_file: server.pem, key_file: server.key, \
                    client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}\n";

/// Asks by the program's own client: whether the answer is good, and its body or why not.
fn ask(url: &str, http_config: &str) -> (bool, String) {
    let output = process::run(&["check", "health", url, "--http.config.file", http_config], b"");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn https(bridge: &Service, path: &str) -> String {
    format!("https://{}{path}", bridge.listen())
}

fn prometheus_scrapes(generation: Generation) {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let pki = Pki::new();
    let hash = bcrypt::hash("sesame", 5).unwrap();
    let mtls = pki.write("mtls.yml", MTLS);
    let users = pki.write(
        "users.yml",
        &format!(
            "tls_server_config: {{cert_file: server.pem, key_file: server.key}}\nbasic_auth_users: {{prom: {hash}}}\n"
        ),
    );
    let topic = unique("tls");
    kafka.create_topic(&topic, 1, &[]);
    let start = |file: &str| Service::bridge(kafka, &unique("tls"), &topic, &["--web.config.file", file]);
    let (by_certificate, by_password) = (start(&mtls), start(&users));
    let job = |name: &str, bridge: &Service, rest: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  metrics_path: /metrics/self\n  \
             static_configs: [{{targets: ['{}']}}]\n  {rest}\n",
            bridge.listen()
        )
    };
    let password = |text: &str| format!("basic_auth: {{username: prom, password: {text}}}\n  {}", pki.tls_config(None));
    let config = [
        "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n".to_owned(),
        job("good", &by_certificate, &pki.tls_config(Some("good"))),
        job("expired", &by_certificate, &pki.tls_config(Some("expired"))),
        job("foreign", &by_certificate, &pki.tls_config(Some("foreign"))),
        job("missing", &by_certificate, &pki.tls_config(None)),
        job("password", &by_password, &password("sesame")),
        job("wrong", &by_password, &password("open")),
    ]
    .concat();
    let Some(prometheus) = require(Prometheus::start(generation, &config)) else { return };
    for job in ["good", "password"] {
        prometheus.wait_query(&format!("up{{job='{job}'}} == 1"), LONG);
    }
    for job in ["expired", "foreign", "missing", "wrong"] {
        prometheus.wait_query(&format!("up{{job='{job}'}} == 0"), LONG);
    }
    for said in [
        "the client's certificate has expired",
        "the client's certificate was signed by no CA of client_ca_file",
        "the client showed no certificate",
    ] {
        eventually(said, LONG, || by_certificate.process().stderr().contains(said).then_some(()));
    }
    let refused =
        prometheus.wait_query("kafka2prom_tls_handshakes_failed_total{job='good',reason='expired'} > 0", LONG);
    assert_eq!(refused.len(), 1);
    reload_under_traffic(&pki, &by_certificate, &prometheus);
    assert_eq!(prometheus.query("max_over_time(up{job=~'expired|foreign|missing|wrong'}[1h]) > 0"), Vec::new());
}

/// The certificate is replaced while new connections are made all the time.
fn reload_under_traffic(pki: &Pki, bridge: &Service, prometheus: &Prometheus) {
    let show = pki.write("good.yml", &pki.tls_config(Some("good")));
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _end = AtEnd(&over);
        let traffic = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let (good, text) = ask(&https(bridge, "/-/healthy"), &show);
                assert!(good, "a request failed while the certificate was replaced: {text}");
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        for round in 1..=2 {
            let before = asked.load(Ordering::SeqCst);
            pki.renew();
            let reloads = format!("kafka2prom_web_config_reloads_total{{job='good',result='ok'}} >= {round}");
            prometheus.wait_query(&reloads, LONG);
            let more = || (asked.load(Ordering::SeqCst) > before + 3 || traffic.is_finished()).then_some(());
            eventually("there is traffic", LONG, more);
        }
    });
    let worst = prometheus.query("min_over_time(up{job='good'}[1h])");
    let first = prometheus.query("count_over_time(up{job='good'}[1h])");
    assert_eq!(worst[0].points[0].1, 1.0, "a scrape failed: {first:?}");
    // 2998-01-01 is what the new one says.
    let expiry = prometheus.query("kafka2prom_tls_certificate_expiry_timestamp_seconds{job='good'}");
    assert!(expiry[0].points[0].1 > 3.2e10, "{expiry:?}");
}

#[test]
fn prometheus_of_bookworm_scrapes_by_certificate_and_by_password() {
    prometheus_scrapes(Generation::Bookworm);
}

#[test]
fn prometheus_of_sid_scrapes_by_certificate_and_by_password() {
    prometheus_scrapes(Generation::Sid);
}

/// A whole group with mTLS: whatever bridge is asked, the owner answers, and discovery says
/// https.
#[test]
fn bridges_with_certificates_answer_for_each_other() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let pki = Pki::new();
    let (topic, group) = (unique("peers"), unique("peers"));
    kafka.create_topic(&topic, PARTITIONS, &[]);
    let mtls = pki.write("web.yml", MTLS);
    let file = pki.write(
        "bridge.yaml",
        &format!(
            "kafka: {{brokers: '{}', group: {group}}}\ntopics: [{{name: {topic}}}]\n\
             web: {{listen_address: '127.0.0.1:0', config_file: '{mtls}', external_address: 'bridge:9527', peer_http: {{{}}}}}\n",
            kafka.bootstrap(),
            pki.tls_config(Some("good"))
        ),
    );
    let checked = process::run(&["check", "config", &file], b"");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let start = || Service::start("bridge", &["serve", "--config.file", &file]).unwrap();
    let bridges = [start(), start()];
    let show = pki.write("good.yml", &pki.tls_config(Some("good")));
    for n in 0..KEYS {
        kafka.produce(&topic, &[Record::new(&format!("job=\"p{n}\""), format!("shown {n}\n"))]);
    }
    let all = |bridge: &Service| -> Result<String, String> {
        let mut text = String::new();
        for partition in 0..PARTITIONS {
            let (good, body) = ask(&https(bridge, &format!("/partitions/{topic}/{partition}/metrics")), &show);
            if !good {
                return Err(body);
            }
            text.push_str(&body);
        }
        let whole = (0..KEYS).all(|n| text.contains(&format!("shown{{job=\"p{n}\"}} {n}\n")));
        if whole { Ok(text) } else { Err(text) }
    };
    eventually_ok("both share the partitions and show all of them", LONG, || {
        for bridge in &bridges {
            let (_, own) = ask(&https(bridge, "/metrics?origin=%7Bjob%3D~%22p.*%22%7D"), &show);
            if (0..KEYS).all(|n| own.contains(&format!("\"p{n}\""))) {
                return Err(format!("one has all: {own}"));
            }
            all(bridge)?;
        }
        Ok(())
    });
    let (good, targets) = ask(&https(&bridges[1], "/sd?by=origin"), &show);
    assert!(good && targets.matches("\"__scheme__\":\"https\"").count() == KEYS, "{targets}");
    let without = pki.write("without.yml", &pki.tls_config(None));
    let (good, said) = ask(&https(&bridges[0], "/-/healthy"), &without);
    assert!(!good && said.contains("does not answer"), "{said}");
}

/// Whatever is planted as a secret comes out nowhere.
#[test]
fn secrets_are_in_no_log_no_page_and_no_error() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let pki = Pki::new();
    let topic = unique("secrets");
    kafka.create_topic(&topic, 1, &[]);
    let hash = bcrypt::hash("planted-login", 4).unwrap();
    let web = pki.write("users.yml", &format!("basic_auth_users: {{alice: {hash}}}\n"));
    let file = pki.write(
        "bridge.yaml",
        &format!(
            "kafka: {{brokers: '{}', group: {topic}, properties: {{sasl.username: u, sasl.password: planted-kafka}}}}\n\
             topics: [{{name: {topic}}}]\nweb: {{listen_address: '127.0.0.1:0', config_file: '{web}', peer_token: planted-peer, \
             peer_http: {{basic_auth: {{username: b, password: planted-basic}}}}}}\n",
            kafka.bootstrap()
        ),
    );
    let bridge = Service::start("bridge", &["serve", "--config.file", &file, "--log.level", "debug"]).unwrap();
    let key = std::fs::read_to_string(pki.path("server.key")).unwrap();
    let key_line = key.lines().nth(1).unwrap().to_owned();
    // Of `alice:planted-login`, `alice:planted-wrong`.
    let (right, wrong) = ("YWxpY2U6cGxhbnRlZC1sb2dpbg==", "YWxpY2U6cGxhbnRlZC13cm9uZw==");
    let mut seen = String::new();
    for login in [right, wrong] {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/metrics/self"),
            ("GET", "/api/v1/status"),
            ("GET", "/api/v1/origins"),
            ("GET", "/api/v1/partitions"),
            ("GET", "/api/v1/explain?origin=a"),
            ("GET", "/sd"),
            ("GET", "/internal/v1/origins"),
            ("POST", "/-/reload"),
            ("GET", "/nowhere"),
        ] {
            let header = format!("Basic {login}");
            let headers = [("authorization", header.as_str()), ("x-kafka2prom-peer-token", "planted-guess")];
            let answer = http::request(method, &bridge.url(path), &headers, b"").unwrap();
            assert_eq!(answer.status == 401, login == wrong, "{path}: {}", answer.text());
            seen.push_str(&format!("{:?}{}", answer.headers, answer.text()));
        }
    }
    // Broken configurations with secrets in them, checked and reloaded.
    let broken = format!(
        "tls_server_config:\n  cert: nothing\n  key: |\n    {}\nbasic_auth_users: {{alice: planted-plain}}\nx: 1\n",
        key.replace('\n', "\n    ")
    );
    let broken = pki.write("users.yml", &broken);
    for arguments in [["check", "web-config", &broken], ["check", "config", &file]] {
        let output = process::run(&arguments, b"");
        assert_eq!(output.status.code(), Some(2));
        seen.push_str(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
    let authorization = [("authorization", "Basic YWxpY2U6cGxhbnRlZC1sb2dpbg==")];
    let answer = http::request("POST", &bridge.url("/-/reload"), &authorization, b"").unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    seen.push_str(&answer.text());
    bridge.stop();
    seen.push_str(&bridge.process().stderr());
    let audited = seen.lines().any(|line| line.contains("asked by HTTP") && line.contains("alice at 127.0.0.1"));
    assert!(audited, "who asked for the reload is not in the log");
    assert!(seen.contains("no bcrypt hash") && seen.len() > 10_000, "{seen}");
    for secret in [
        "planted-login",
        "planted-wrong",
        "planted-kafka",
        "planted-peer",
        "planted-basic",
        "planted-guess",
        "planted-plain",
        right,
        wrong,
        &hash,
        &key_line,
    ] {
        let at = seen.find(secret);
        assert!(at.is_none(), "{secret} in: …{}", &seen[at.unwrap().saturating_sub(200)..at.unwrap()]);
    }
}

/// Nothing said: loopback. Everybody let in: told loudly. Somebody asked for: not.
#[test]
fn an_open_door_is_on_loopback_or_told_loudly() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let pki = Pki::new();
    let topic = unique("open");
    kafka.create_topic(&topic, 1, &[]);
    const LOUD: &str = "EVERYBODY WHO REACHES THIS ADDRESS";
    let start = |extra: &[&str]| {
        let brokers = kafka.bootstrap();
        let first = ["serve", "--kafka.brokers", &brokers, "--kafka.group", &topic, "--kafka.topic", &topic];
        Service::start("bridge", &[&first[..], extra].concat()).unwrap()
    };
    let open = start(&["--web.listen-address", ":0"]);
    let log = open.process().stderr();
    assert_eq!(log.matches(LOUD).count(), 1, "{log}");
    assert!(log.contains("--web.config.file"), "{log}");
    assert!(!start(&["--web.listen-address", "127.0.0.1:0"]).process().stderr().contains(LOUD));
    let web = pki.write("web.yml", MTLS);
    assert!(!start(&["--web.listen-address", ":0", "--web.config.file", &web]).process().stderr().contains(LOUD));
}
