//! Every command of the README is run, word for word but for addresses. A block that
//! no test knows fails.
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::parts::Generation;
use crate::support::poll::eventually_ok;
use crate::support::process::{self, Service};
use crate::support::prometheus::{self, Prometheus};
use crate::support::repo::root;
use crate::support::skip::require;
use crate::support::supervise::free_port;
use crate::support::target::{Target, shows};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);

/// The blocks that the tests below run.
const KNOWN: [&str; 10] =
    ["agent", "check-config", "decode", "demo", "exists", "explain", "scrape-config", "sd-config", "serve", "topics"];

/// The fenced blocks of a text by their markers, `<!-- test: NAME -->` in the line
/// above. What has none is an error.
pub(crate) fn blocks(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let (mut above, mut open): (&str, Option<(String, String)>) = ("", None);
    for line in text.lines() {
        let fence = line.starts_with("```");
        match (&mut open, fence) {
            (Some(_), true) => {
                let (name, body) = open.take().unwrap();
                if found.insert(name.clone(), body).is_some() {
                    return Err(format!("two blocks are marked {name}"));
                }
            }
            (Some((_, body)), false) => body.extend([line, "\n"]),
            // A picture is no command.
            (None, true) if line == "```" => open = Some((format!("picture {}", found.len()), String::new())),
            (None, true) => {
                let marker = above.strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->"));
                let name = marker.ok_or_else(|| format!("a block {line} without a marker, below {above:?}"))?;
                open = Some((name.to_owned(), String::new()));
            }
            (None, false) => {}
        }
        above = line;
    }
    found.retain(|name, _| !name.starts_with("picture "));
    Ok(found)
}

fn readme() -> BTreeMap<String, String> {
    blocks(&fs::read_to_string(root().join("README.md")).unwrap()).unwrap()
}

/// The one command of a block, as words.
fn words(block: &str) -> Vec<String> {
    assert_eq!(block.lines().count(), 1, "one command a block: {block}");
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in block.trim().chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words
}

/// The arguments behind `kafka2prom` of a block, with other addresses.
pub(crate) fn arguments(block: &str, addresses: &[(&str, &str)]) -> Vec<String> {
    let words = words(block);
    assert_eq!(words[0], "kafka2prom");
    let replace = |word: &String| addresses.iter().fold(word.clone(), |word, (from, to)| word.replace(from, to));
    words[1..].iter().map(replace).collect()
}

/// What the README's first command runs, for the demo's own test.
pub(crate) fn demo_arguments() -> Vec<String> {
    let words = words(&readme()["demo"]);
    assert_eq!(words[..4], ["cargo", "run", "--release", "--"], "the built binary stands in for cargo");
    words[4..].to_vec()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn every_block_has_a_marker_that_a_test_knows() {
    assert_eq!(readme().into_keys().collect::<Vec<_>>(), KNOWN);
    let unmarked = blocks("text\n\n```sh\nrm -rf /\n```\n");
    assert!(unmarked.unwrap_err().contains("without a marker"));
    assert!(blocks("<!-- test: a -->\n```sh\na\n```\n<!-- test: a -->\n```sh\nb\n```\n").is_err());
    assert_eq!(blocks("```\npicture\n```\n"), Ok(BTreeMap::new()));
}

/// Every place that the README leads to is there.
#[test]
fn every_link_leads_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "deploy/README.md", "deploy/docs/operations.md"] {
        let file = root().join(name);
        let text = fs::read_to_string(&file).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let path = file.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(path.exists(), "{name} links to {link}");
        }
    }
}

#[test]
fn the_test_command_is_there_and_says_what_it_does() {
    let block = &readme()["exists"];
    let output = Command::new(root().join(block.trim())).arg("--help").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("--long"), "{}", said(&output));
}

#[test]
fn the_configuration_passes_the_check() {
    let arguments = arguments(&readme()["check-config"], &[]);
    let output = process::command(&borrowed(&arguments)).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn promtool_accepts_the_scrape_configurations() {
    let readme = readme();
    for generation in Generation::ALL {
        for name in ["scrape-config", "sd-config"] {
            // It reads a file, or /dev/stdin.
            let checked = prometheus::promtool(generation, &["check", "config", "/dev/stdin"], readme[name].as_bytes());
            let Some(checked) = require(checked) else { return };
            assert_eq!(checked, Ok(()), "{name}");
        }
    }
}

/// The whole of "Your own Kafka" and "When something is missing", in the README's order.
#[test]
fn the_commands_of_the_readme_lead_from_a_target_to_prometheus() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let Some(_) = require(prometheus::check_metrics(Generation::Sid, b"")) else { return };
    let readme = readme();
    let target = Target::start("# TYPE node_load1 gauge\nnode_load1 0.25\n");
    let brokers = kafka.bootstrap();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let addresses = [("127.0.0.1:9092", brokers.as_str()), ("127.0.0.1:9100", target.address())];
    let of = |name: &str| arguments(&readme[name], &addresses);

    let created = process::run(&borrowed(&[of("topics"), vec!["--replicas".into(), "1".into()]].concat()), b"");
    assert!(created.status.success(), "{}", said(&created));

    // What the README says below it: a service in front of all bridges, here of one.
    let mut serve = of("serve");
    for (flag, value) in [("--web.listen-address", &listen), ("--web.external-address", &listen)] {
        serve.extend([flag.to_owned(), value.clone()]);
    }
    let bridge = Service::start("bridge", &borrowed(&serve)).unwrap();
    let agent = Service::start("agent", &borrowed(&[of("agent"), web()].concat())).unwrap();
    let labels = ["cluster=\"acme\"", "job=\"agent\"", &format!("instance=\"{}\"", target.address())];
    eventually_ok("the bridge shows the target", LONG, || {
        let page = bridge.get("/metrics")?.text();
        if shows(&page, "node_load1", &labels, "0.25") { Ok(()) } else { Err(page) }
    });

    decodes(&readme["decode"], &target);
    let explain = [of("explain"), vec!["--bridge".into(), format!("http://{listen}")]].concat();
    let explained = process::run(&borrowed(&explain), b"");
    assert!(explained.status.success(), "{}", said(&explained));
    assert!(said(&explained).starts_with("exposed: cluster="), "{}", said(&explained));
    assert!(said(&explained).contains("node_load1{"), "{}", said(&explained));

    for name in ["scrape-config", "sd-config"] {
        let config = readme[name].replace("127.0.0.1:9527", &listen);
        let config = format!("global: {{scrape_interval: 1s}}\n{config}");
        let prometheus = require(Prometheus::start(Generation::Sid, &config)).unwrap();
        let query = format!("node_load1{{{}}} == 0.25", labels.join(","));
        assert_eq!(prometheus.wait_query(&query, LONG).len(), 1, "{name}");
    }
    assert_eq!(agent.stop(), 0, "{}", agent.process().log_tail());
    assert_eq!(bridge.stop(), 0, "{}", bridge.process().log_tail());
}

/// The agent says that it is ready where it listens.
fn web() -> Vec<String> {
    vec!["--web.listen-address".into(), "127.0.0.1:0".into()]
}

/// `curl -s URL | kafka2prom decode -`, without curl.
fn decodes(block: &str, target: &Target) {
    let (curl, decode) = block.trim().split_once(" | ").unwrap();
    let url = curl.strip_prefix("curl -s ").unwrap().replace("127.0.0.1:9100", target.address());
    let page = http::get(&url, &[]).unwrap();
    let decoded = process::run(&borrowed(&arguments(&format!("{decode}\n"), &[])), &page.body);
    assert!(decoded.status.success(), "{}", said(&decoded));
    assert!(said(&decoded).contains("node_load1"), "{}", said(&decoded));
}
