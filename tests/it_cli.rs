//! The command line as a person meets it: help, errors, exit codes. What is printed
//! stands in `tests/golden`; `K2P_UPDATE_GOLDEN=1` writes it anew, to be read in the
//! diff.
use crate::support::process;
use crate::support::repo::root;
use crate::support::supervise::new_dir;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::{env, fs};

/// Help is rendered at this width; only terminals know their own.
const COLUMNS: &str = "100";

/// Compares with a file of the repository, or writes it.
#[track_caller]
fn assert_golden(file: &str, found: &str) {
    let path = root().join(file);
    if env::var("K2P_UPDATE_GOLDEN").as_deref() == Ok("1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == found {
        return;
    }
    let differs = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    panic!(
        "{file} differs from line {} on (K2P_UPDATE_GOLDEN=1 writes it anew):\n  is:     {:?}\n  was: {:?}",
        line + 1,
        found.lines().nth(line).unwrap_or("(the end)"),
        expected.lines().nth(line).unwrap_or("(the end)"),
    );
}

fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = process::command(arguments);
    command.current_dir(dir).env("COLUMNS", COLUMNS).stdin(Stdio::null()).output().unwrap()
}

/// What a person sees: the command, what it says, its exit code.
fn transcript(dir: &Path, arguments: &[&str]) -> String {
    let output = run_in(dir, arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
    let mut out = format!("$ kafka2prom {}\n", quoted.join(" "));
    let _ = writeln!(out, "{}exit code {code}\n", with_end(&said));
    out
}

fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) { argument.to_owned() } else { format!("'{argument}'") }
}

fn with_end(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// Every command with a help text of its own.
const COMMANDS: [&[&str]; 21] = [
    &[],
    &["serve"],
    &["agent"],
    &["demo"],
    &["topics"],
    &["topics", "create"],
    &["topics", "check"],
    &["topics", "accept-loss"],
    &["check"],
    &["check", "config"],
    &["check", "health"],
    &["check", "kafka"],
    &["check", "templates"],
    &["check", "web-config"],
    &["decode"],
    &["explain"],
    &["logs"],
    &["push"],
    &["push", "import"],
    &["metrics"],
    &["completions"],
];

#[test]
fn help_is_as_it_was_read() {
    for command in COMMANDS {
        let output = run_in(root(), &[command, &["--help"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()), "{command:?}");
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(widest <= 100, "{command:?} has a line of {widest} columns");
        assert_golden(
            &format!("tests/golden/help{}.txt", command.iter().map(|c| format!("-{c}")).collect::<String>()),
            &text,
        );
    }
}

/// No command is missing in [`COMMANDS`].
#[test]
fn help_of_every_command_is_tested() {
    for command in COMMANDS {
        let text = String::from_utf8(run_in(root(), &[command, &["--help"]].concat()).stdout).unwrap();
        let listed = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        for name in names {
            let wanted = [command, &[name]].concat();
            assert!(COMMANDS.contains(&wanted.as_slice()), "no golden help for {wanted:?}");
        }
    }
}

/// Many faults in one file: everything is said at once.
const MANY_FAULTS: &str = r#"kafka:
  broker: "a:9092"
  brokers: "a:9092,b"
  properties:
    enable.auto.commit: "true"
    sesion.timeout.ms: "5000"
topics:
  - name: k2p.metrics
    polcy: conflate
    staleness: 5 minutes
    honor_labels: "yes"
    limits: {dump_bytes: 64 megs, series_per_origin: -1}
  - name: k2p.metrics
  - name: "no topic"
    kind: pushes
    labels: {le: x}
ownership: {lease: 5s, wait: 4s}
web:
  listen_address: nowhere
  route: forward
  max_scrapes: many
"#;

const CONTRADICTION: &str = "\
kafka: {brokers: \"a:9092\", properties: {session.timeout.ms: \"30000\"}}
topics: [{name: k2p.metrics}]
ownership: {lease: 20s}
";

fn files() -> PathBuf {
    let dir = new_dir("cli");
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    write("many-faults.yaml", MANY_FAULTS);
    write("lease.yaml", CONTRADICTION);
    write("no-yaml.yaml", "kafka: {brokers: \"a:9092\"\ntopics: ]\n");
    write("agent.yaml", "kafka: {brokers: nowhere}\nagent:\n  labels: {le: x}\n  scrape: [{ur: \"a:1\"}]\n");
    let key = "-----BEGIN PRIVATE KEY-----\n    c2VjcmV0\n    -----END PRIVATE KEY-----\n";
    let tls = format!("cert: nothing\n  key: |\n    {key}  cert_fil: x\n  min_version: TLS10\n  client_auth_type: x\n");
    let web =
        "http_server_config: {headers: {Server: x}}\nbasic_auth_users: {alice: sesame}\nrate_limit: {interval: 1s}\n";
    write("web.yml", &format!("tls_server_config:\n  {tls}{web}"));
    write("guarded.yaml", "kafka: {brokers: \"a:9092\"}\ntopics: [{name: k2p.metrics}]\nweb: {config_file: web.yml}\n");
    write("good-agent.yaml", "kafka: {brokers: \"a:1\"}\nagent: {scrape: [{url: \"http://a\"}]}\n");
    dir
}

fn golden_transcripts(name: &str, commands: &[&[&str]]) {
    let dir = files();
    let text: String = commands.iter().map(|arguments| transcript(&dir, arguments)).collect();
    assert_golden(&format!("tests/golden/{name}.txt"), &text);
}

#[test]
fn errors_of_serve_are_as_they_were_read() {
    let serve = |extra: &[&'static str]| [&["serve"], extra].concat();
    let with = |extra: &[&'static str]| {
        let least = ["serve", "--kafka.brokers", "127.0.0.1:9092", "--kafka.topic", "k2p.metrics"];
        [&least, extra].concat()
    };
    let commands = [
        serve(&[]),
        serve(&["--kafka.brokers", "nowhere", "--kafka.topic", "k2p.metrics"]),
        serve(&["--kafka.brokers", "a:9092,b:", "--kafka.topic", "k2p.metrics:push"]),
        with(&["--kafka.property", "sesion.timeout.ms=5000"]),
        with(&["--kafka.property", "enable.auto.commit=true", "--kafka.property", "group.instance.id=a"]),
        with(&["--kafka.property", "security.protocol"]),
        with(&["--web.listen-address", "nowhere", "--web.advertise-address", "x:0", "--web.route", "forward"]),
        with(&["--kafka.group", ""]),
        with(&["--log.level", "loud"]),
        with(&["--web.listen-adress", ":0"]),
        serve(&["--config.file", "missing.yaml"]),
        serve(&["--config.file", "no-yaml.yaml"]),
        serve(&["--config.file", "many-faults.yaml"]),
    ];
    golden_transcripts("errors-serve", &commands.each_ref().map(Vec::as_slice));
}

#[test]
fn errors_of_agent_are_as_they_were_read() {
    golden_transcripts(
        "errors-agent",
        &[
            &["agent"],
            &["agent", "--kafka.brokers", "nowhere", "--label", "9=x", "--scrape", "ftp://a", "--scrape", "a:9100"],
            &["agent", "--kafka.brokers", "a:1", "--label", "le=x", "--label", "cluster", "--scrape", "http://a"],
            &["agent", "--kafka.brokers", "a:1", "--scrape", "http://a", "--interval", "5", "--timeout", "soon"],
            &["agent", "--kafka.brokers", "a:1", "--scrape", "http://a", "--interval", "5s", "--timeout", "6s"],
            &["agent", "--kafka.brokers", "a:1", "--scrape", "http://a", "--scrape", "http://a/metrics"],
            &["agent", "--kafka.brokers", "a:1", "--scrape", "http://a", "--kafka.property", "acks=1"],
            &["agent", "--kafka.brokers", "a:1", "--file", "/", "--web.listen-address", "nowhere"],
            &["agent", "--config.file", "missing.yaml"],
            &["agent", "--config.file", "agent.yaml"],
            &["agent", "--config.file", "good-agent.yaml", "--scrape", "http://a", "--label", "a=b"],
        ],
    );
}

#[test]
fn errors_of_the_other_commands_are_as_they_were_read() {
    // No server ever listens on port 1, which only root may bind.
    golden_transcripts(
        "errors-others",
        &[
            &[],
            &["srve"],
            &["check", "config", "missing.yaml"],
            &["check", "config", "many-faults.yaml"],
            &["check", "config", "lease.yaml"],
            &["check", "config", "agent.yaml"],
            &["check", "config", "good-agent.yaml"],
            &["check", "web-config", "web.yml"],
            &["check", "web-config", "missing.yml"],
            &["check", "config", "guarded.yaml"],
            &["check", "kafka"],
            &["topics", "create"],
            &["topics", "check", "--kafka.brokers", "nowhere", "--kafka.property", "foo.bar=1"],
            &["check", "health", "http://127.0.0.1:1/-/ready"],
            &["check", "health", "--http.config.file", "missing.yml"],
            &["demo", "--ports", "1"],
            &["demo", "--prometheus", "missing/prometheus"],
            &["decode", "missing.txt"],
            &["decode", "many-faults.yaml"],
            &["explain", "job=\"a\"", "--bridge", "no bridge"],
            &["completions", "tcsh"],
        ],
    );
}

/// `check config` of many small files; what was said otherwise than expected.
struct Checks {
    dir: PathBuf,
    wrong: Vec<String>,
}

impl Checks {
    /// Every fault that is expected, and no other, each with a remedy.
    fn file(&mut self, yaml: &str, expected: &[&str]) {
        fs::write(self.dir.join("c.yaml"), yaml).unwrap();
        let output = run_in(&self.dir, &["check", "config", "c.yaml"]);
        let said = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let code = if expected.is_empty() { 0 } else { 2 };
        let found = expected.iter().all(|part| lines.iter().any(|line| line.contains(part)));
        let remedies = lines.iter().all(|line| line.contains("; ") || line.contains("name one with"));
        if output.status.code() != Some(code) || lines.len() != expected.len() || !found || !remedies {
            self.wrong.push(format!("{yaml}expected {code} and {expected:#?}, said\n{said}"));
        }
    }

    /// One thing wrong below a good head of two lines.
    fn tail(&mut self, tail: &str, expected: &str) {
        self.file(&format!("kafka: {{brokers: \"a:1\"}}\ntopics: [{{name: t}}]\n{tail}\n"), &[expected]);
    }

    fn topic(&mut self, topic: &str, expected: &str) {
        self.file(&format!("kafka: {{brokers: \"a:1\"}}\ntopics: [{{name: t, {topic}}}]\n"), &[expected]);
    }

    fn kafka(&mut self, kafka: &str, expected: &str) {
        self.file(&format!("topics: [{{name: t}}]\nkafka: {{{kafka}}}\n"), &[expected]);
    }
}

#[test]
fn configuration_errors_name_place_and_remedy() {
    let mut c = Checks { dir: new_dir("config"), wrong: Vec::new() };
    c.file("kafka: {brokers: \"a:1\"}\ntopics: [{name: t}]\n", &[]);
    c.file("", &["no broker", "no topic"]);
    c.file("kafka:\ntopics:\n", &["no broker", "no topic"]);
    c.file("- a\n", &["the file holds no keys", "no broker", "no topic"]);
    c.file("kafka: {brokers: \"a:1\"}\ntopics: []\n", &["c.yaml:2:9: topics: the list holds no topic"]);
    c.file("kafka: a\ntopics: [{name: t}]\n", &["c.yaml:1:8: kafka: expected a section, found a", "no broker"]);
    c.file(
        "topics: [{name: t}]\nkafka: {brokers: \"a:1\"}\nkafka: {}\n",
        &["c.yaml:3:1: kafka stands here a second time"],
    );
    c.file("kafka: {brokers: [}\n", &["c.yaml:1:19: not YAML"]);

    c.kafka("brokers: \"a\"", "c.yaml:2:18: kafka.brokers: entry 1 is no broker's address");
    c.kafka("brokers: \"a:1,b:99999\"", "kafka.brokers: entry 2");
    c.kafka("brokers: \"a:1\", group: \"\"", "kafka.group: no name of a consumer group");
    c.kafka("brokers: \"a:1\", grup: g", "c.yaml:2:25: kafka.grup: unknown key; did you mean group?");
    c.kafka("brokers: \"a:1\", properties: {group.id: g}", "set group instead");
    c.kafka("brokers: \"a:1\", properties: {acks: \"1\"}", "kafka.properties.acks: ");
    c.kafka("brokers: \"a:1\", properties: {sasl.pasword: x}", "did you mean sasl.password?");
    c.kafka("brokers: \"a:1\", properties: {linger.ms: soon}", "has a value that librdkafka refuses");
    c.kafka("brokers: \"a:1\", properties: {linger.ms: [1]}", "expected text, found a list");
    c.kafka("brokers: \"${K2P_NOWHERE_SET}\"", "K2P_NOWHERE_SET");
    c.kafka("brokers: \"${file:/nowhere/secret}\"", "/nowhere/secret");

    c.topic("polcy: conflate", "c.yaml:2:20: topics[0].polcy: unknown key; did you mean policy?");
    c.topic("policy: newest", "topics[0].policy: expected");
    c.topic("kind: pushes", "topics[0].kind: expected one of metrics, events, push");
    c.topic("kind: push, policy: conflate", "topics[0].policy: this belongs to topics of kind metrics");
    c.topic("format: xml", "topics[0].format: expected");
    c.topic("timestamps: now", "topics[0].timestamps: expected");
    c.topic("honor_labels: \"yes\"", "topics[0].honor_labels: expected true or false");
    c.topic("staleness: 10", "topics[0].staleness: expected a duration");
    c.topic("staleness: 100ms", "topics[0].staleness: expected a duration of at least 1s");
    c.topic("forget_after: 1.5h", "topics[0].forget_after: expected a duration");
    c.topic("labels: {le: x}", "topics[0].labels: the label \"le\" is reserved");
    c.topic("labels: {__name__: x}", "is reserved");
    c.topic("labels: [a]", "topics[0].labels: expected");
    c.topic("limits: {dump_bytes: 0}", "topics[0].limits.dump_bytes: expected a size from 1");
    c.topic("limits: {dump_bytes: 64 MiB}", "topics[0].limits.dump_bytes: expected a size");
    c.topic("limits: {series_per_origin: many}", "topics[0].limits.series_per_origin: expected a whole number");
    c.topic("limits: {origin: 1}", "did you mean origins?");
    c.file("kafka: {brokers: \"a:1\"}\ntopics: [{name: t}, {name: t}]\n", &["configured twice"]);
    c.file("kafka: {brokers: \"a:1\"}\ntopics: [{name: t}, {}]\n", &["topics[1].name is missing; add name: VALUE"]);
    c.file(
        "kafka: {brokers: \"a:1\"}\ntopics: [{name: t}, {name: \"a b\"}]\n",
        &["topics[1].name: expected a topic's name"],
    );

    c.tail("ownership: {lease: 5s}", "ownership.lease: a lease of 5s is too short for session.timeout.ms = 15s");
    c.tail("ownership: {wait: 15s}", "ownership.wait: 15s is no safe wait for a lease of 20s");
    c.tail("ownership: {lease: 2h}", "ownership.lease: expected a duration from 1s to 1h");
    c.tail("ownership: {rewind: -1s}", "ownership.rewind: expected a duration");
    c.tail("state: {dead_letter: x}", "c.yaml:3:9: state.dead_letter: unknown key; did you mean deadletter?");
    c.tail("push: {ttl: [{job: '(', ttl: 1d}]}", "push.ttl[0].job: no regular expression");
    c.tail("push: {ttl: [{job: a}]}", "push.ttl[0].ttl is missing");
    c.tail("push: {ttl: [{job: a, ttl: 1}]}", "push.ttl[0].ttl: expected a duration");
    c.tail("web: {listen_address: \"9527\"}", "web.listen_address: expected an address");
    c.tail("web: {advertise_address: \":9527\"}", "web.advertise_address: expected an address");
    c.tail("web: {route: forward}", "web.route: expected");
    c.tail("web: {max_scrapes: 0}", "web.max_scrapes: expected a whole number from 1 to 100000");
    c.tail("web: {peers: all}", "web.peers: expected");
    c.tail("webb: {}", "c.yaml:3:1: webb: unknown key; did you mean web?");
    assert!(c.wrong.is_empty(), "{}", c.wrong.join("\n"));
}

#[test]
fn the_catalogue_is_documented() {
    let output = run_in(root(), &["metrics"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    let head = "# The metrics of bridge and agent\n\n\
                Written by `kafka2prom metrics`; a test compares. Every metric of the program itself; what\n\
                the origins sent is exposed under its own names.\n\n";
    assert_golden("deploy/docs/metrics.md", &format!("{head}{table}"));
    let json = run_in(root(), &["metrics", "--format", "json"]);
    let list: Vec<serde_json::Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(list.len(), table.lines().count() - 2, "the JSON lists what the table lists");
}

/// Every completion script names every command.
#[test]
fn completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = String::from_utf8(run_in(root(), &["completions", shell]).stdout).unwrap();
        for command in COMMANDS.iter().filter_map(|c| c.first()) {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

/// What the repository ships passes its own check.
#[test]
fn the_annotated_files_pass_the_check() {
    for (file, said) in
        [("deploy/bridge.yaml", "a bridge that consumes k2p.metrics"), ("deploy/agent.yaml", "an agent")]
    {
        let output = run_in(root(), &["check", "config", file]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(said), "{text}");
    }
}
