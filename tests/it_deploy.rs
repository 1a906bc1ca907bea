//! `deploy/`: Compose accepts the stack; each of its services but Grafana runs with the command,
//! environment and files that it would have in its container; what it refers to is there.
use crate::it_readme;
use crate::support::alertmanager;
use crate::support::compose::{self, Stack, strings};
use crate::support::http;
use crate::support::kafka;
use crate::support::parts::{self, Generation};
use crate::support::poll::eventually_ok;
use crate::support::process;
use crate::support::prometheus::promtool;
use crate::support::repo::{read, root};
use crate::support::skip::{Missing, require};
use crate::support::supervise::{Signal, Supervised, new_dir};
use crate::support::target::Target;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(180);
/// Bridges of the stack.
const BRIDGES: [&str; 2] = ["bridge-a", "bridge-b"];

#[test]
fn compose_accepts_the_stack_and_nothing_else() {
    let Some(config) = require(compose::config()) else { return };
    assert_eq!(config["name"], "kafka2prom");
    // What it is asked can be refused.
    let dir = new_dir("compose");
    let text = read("deploy/compose.yaml").replace("    restart: unless-stopped\n", "    restrat: unless-stopped\n");
    fs::write(dir.join("compose.yaml"), text).unwrap();
    let mut command = Command::new(parts::compose_config().unwrap());
    let output = command.env_clear().current_dir(&dir).arg("compose.yaml").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("restrat"), "{said}");
}

/// Versions, health, restarts, volumes, loopback.
#[test]
fn compose_services_follow_the_conventions() {
    let Some(config) = require(compose::config()) else { return };
    let services = config["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    let expected = [
        "agent-acme",
        "agent-globex",
        "alertmanager",
        "bridge-a",
        "bridge-b",
        "grafana",
        "kafka",
        "prometheus",
        "topics",
    ];
    assert_eq!(names, expected);
    for (name, service) in services {
        let (image, version) = service["image"].as_str().unwrap().split_once(':').unwrap();
        assert!(version.trim_start_matches('v').split('.').filter(|n| n.parse::<u32>().is_ok()).count() == 3, "{name}");
        if image == "kafka2prom" {
            assert_eq!(version, env!("CARGO_PKG_VERSION"), "{name}");
            assert_eq!(service["build"]["dockerfile"], "deploy/Dockerfile", "{name}");
        }
        let once = name == "topics";
        assert_eq!(service["restart"], if once { "no" } else { "unless-stopped" }, "{name}");
        assert_eq!(service["healthcheck"]["disable"] == true, once, "{name}");
        assert_eq!(strings(&service["healthcheck"]["test"]).len() > 1, !once, "{name} has a health check");
        let inside = strings(&service["expose"]);
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
            assert!(inside.contains(&port["target"].to_string()), "{name} exposes what it publishes");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let condition = if other == "topics" { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"], condition, "{name} waits for {other}");
        }
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount["source"].as_str().unwrap();
            if mount["type"] == "volume" {
                assert!(config["volumes"].as_object().unwrap().contains_key(source), "{name}: {source}");
                continue;
            }
            assert_eq!(mount["read_only"], true, "{name} only reads {source}");
            // Grafana's folder comes with its dashboards.
            let there = Path::new(source).exists() || (name == "grafana" && !root().join("grafana").exists());
            assert!(there, "{name}: {source}");
        }
    }
}

/// What Grafana is given says where its dashboards and its Prometheus are.
#[test]
fn compose_gives_grafana_what_its_provisioning_names() {
    let Some(config) = require(compose::config()) else { return };
    let provisioning = root().join("grafana/provisioning");
    let there = provisioning.exists().then_some(()).ok_or(Missing::Elsewhere("grafana/ is not there yet".to_owned()));
    let Some(()) = require(there) else { return };
    let mounts = config["services"]["grafana"]["volumes"].as_array().unwrap();
    let targets: Vec<&str> = mounts.iter().filter_map(|mount| mount["target"].as_str()).collect();
    for (kind, key) in [("dashboards", "path: "), ("datasources", "url: ")] {
        for entry in fs::read_dir(provisioning.join(kind)).unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap();
            let named: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix(key)).collect();
            assert!(!named.is_empty(), "{} names none", entry.path().display());
            for name in named {
                assert!(targets.contains(&name) || name == "http://prometheus:9090", "{name}: {targets:?}");
            }
        }
    }
}

/// What stands for an image here.
fn program(image: &str) -> Result<Command, Missing> {
    let tool = |name| parts::prometheus_tool(Generation::Sid, name);
    match image.split(':').next().unwrap() {
        "kafka2prom" => Ok(process::command(&[])),
        "prom/prometheus" => tool("prometheus").map(Command::new),
        "prom/alertmanager" => {
            let program = tool("prometheus-alertmanager")?;
            alertmanager::runs(&program)?;
            Ok(alertmanager::with_its_share(&program))
        }
        other => panic!("nothing stands for {other}"),
    }
}

fn start(stack: &Stack, service: &str) -> Supervised {
    let mut command = program(stack.service(service)["image"].as_str().unwrap()).unwrap();
    command.args(stack.command(service)).envs(stack.environment(service));
    Supervised::start(service, &command, None)
}

/// As the image's start script makes the broker's properties of its environment.
fn start_kafka(stack: &Stack) -> Supervised {
    let environment: BTreeMap<String, String> = stack.environment("kafka").into_iter().collect();
    let mut properties = String::new();
    for (name, value) in environment.iter().filter(|(name, _)| *name != "KAFKA_HEAP_OPTS") {
        let Some(name) = name.strip_prefix("KAFKA_") else { continue };
        let name =
            name.to_lowercase().replace("___", "-").replace("__", "\u{0}").replace('_', ".").replace('\u{0}', "_");
        properties.push_str(&format!("{name}={value}\n"));
    }
    kafka::serve(&properties, &environment["CLUSTER_ID"], &environment["KAFKA_HEAP_OPTS"]).unwrap()
}

/// Its own health check says that it is well.
fn wait_healthy(stack: &Stack, service: &str, of: &Supervised) {
    let words = stack.health(service);
    eventually_ok(&format!("{service} is healthy"), LONG, || {
        assert_eq!(of.exit_code(), None, "{service} ended\n{}", of.log_tail());
        let url = words.last().unwrap();
        if words[0] == "wget" {
            let answer = http::get(url, &[])?;
            return if answer.status == 200 { Ok(()) } else { Err(answer.text()) };
        }
        assert_eq!(words[0], "/kafka2prom");
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let output = process::run(&arguments, b"");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    });
}

fn api(base: &str, path: &str) -> Result<Value, String> {
    let answer = http::get(&format!("http://{base}{path}"), &[])?;
    if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
}

/// How many targets of each scrape job are up, if all are.
pub(crate) fn targets_up(prometheus: &str) -> Result<BTreeMap<String, usize>, String> {
    let answer = api(prometheus, "/api/v1/targets?state=active")?;
    let mut up = BTreeMap::new();
    for target in answer["data"]["activeTargets"].as_array().unwrap() {
        if target["health"] != "up" {
            return Err(format!("{}: {} {}", target["scrapeUrl"], target["health"], target["lastError"]));
        }
        *up.entry(target["scrapePool"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    Ok(up)
}

/// How many alerts and recording rules Prometheus has; an error names one that cannot be
/// evaluated, or was not yet, except in the groups whose turn comes after minutes.
pub(crate) fn rules_well(prometheus: &str) -> Result<usize, String> {
    let answer = api(prometheus, "/api/v1/rules")?;
    let mut count = 0;
    for group in answer["data"]["groups"].as_array().unwrap() {
        let slow = group["interval"].as_f64().unwrap() > 60.0;
        let rules = group["rules"].as_array().unwrap();
        count += rules.len();
        for rule in rules.iter().filter(|rule| rule["health"] != "ok") {
            if !slow || rule["health"] != "unknown" {
                return Err(format!("{}: {} {}", rule["name"], rule["health"], rule["lastError"]));
            }
        }
    }
    Ok(count)
}

/// How many rules ship.
pub(crate) fn shipped_rules() -> usize {
    let files = fs::read_dir(root().join("alerts/rules")).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|l| l.starts_with("      - alert: ") || l.starts_with("      - record: ")).count()
    };
    files.map(count).sum()
}

/// The whole stack but Grafana, from an empty Kafka to an alert in Alertmanager.
#[test]
fn the_stack_comes_up_with_its_own_commands_and_files() {
    let Some(config) = require(compose::config()) else { return };
    let Some(_) = require(parts::kafka_libs(parts::KafkaVersion::V4)) else { return };
    for image in ["prom/prometheus:", "prom/alertmanager:"] {
        let Some(_) = require(program(image)) else { return };
    }
    let stack = Stack::lay_out(&config);
    let mut running = BTreeMap::new();
    running.insert("kafka", start_kafka(&stack));
    let topics = create_topics(&stack, &running["kafka"]);
    for name in ["k2p.metrics", "k2p.events", "k2p.push", "k2p.state", "k2p.deadletter"] {
        assert!(topics.contains(name), "{topics}");
    }
    for service in ["bridge-a", "bridge-b", "agent-acme", "agent-globex", "alertmanager"] {
        running.insert(service, start(&stack, service));
    }
    for (service, process) in running.iter().filter(|(service, _)| **service != "kafka") {
        wait_healthy(&stack, service, process);
    }
    running.insert("prometheus", start(&stack, "prometheus"));
    wait_healthy(&stack, "prometheus", &running["prometheus"]);

    let started: BTreeSet<String> = running.keys().map(|name| (*name).to_owned()).collect();
    let others: Vec<String> = stack.services().into_iter().filter(|name| !started.contains(name)).collect();
    assert_eq!(others, ["grafana", "topics"], "every other service ran");
    shows_everything(&stack);
    takes_an_agent_from_outside(&stack);
    for bridge in BRIDGES {
        running[bridge].signal(Signal::Term);
        assert_eq!(running[bridge].wait_exit(LONG), 0, "{}", running[bridge].log_tail());
    }
}

/// The service `topics`, once Kafka answers: it says what it made.
fn create_topics(stack: &Stack, kafka: &Supervised) -> String {
    let words = stack.command("topics");
    let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    eventually_ok("the topics are made", LONG, || {
        assert_eq!(kafka.exit_code(), None, "Kafka ended\n{}", kafka.log_tail());
        let output = process::run(&arguments, b"");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    })
}

fn shows_everything(stack: &Stack) {
    let prometheus = stack.address("prometheus", "9090");
    // Eight partitions each of dumps, events and pushes.
    let expected = [("alertmanager", 1), ("kafka2prom", 2), ("kafka2prom-partitions", 24), ("prometheus", 1)];
    let expected: BTreeMap<String, usize> = expected.map(|(job, n)| (job.to_owned(), n)).into();
    eventually_ok("every target is up", LONG, || {
        let up = targets_up(&prometheus)?;
        if up == expected { Ok(()) } else { Err(format!("{up:?}")) }
    });
    eventually_ok("every rule is evaluated", LONG, || {
        let rules = rules_well(&prometheus)?;
        if rules == shipped_rules() { Ok(()) } else { Err(format!("{rules} rules")) }
    });
    for cluster in ["acme", "globex"] {
        let query = format!("/api/v1/query?query=kafka2prom_agent_queue_capacity_bytes%7Bcluster%3D%22{cluster}%22%7D");
        eventually_ok("Prometheus has what the agents ship", LONG, || {
            let found = api(&prometheus, &query)?;
            let first = &found["data"]["result"][0]["metric"];
            if first["job"] == "kafka2prom-agent" { Ok(()) } else { Err(found.to_string()) }
        });
    }
    let bridge = stack.address("bridge-a", "9527");
    let pushed = http::request("PUT", &format!("http://{bridge}/metrics/job/backup"), &[], b"backup_rows 7\n").unwrap();
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    eventually_ok("Prometheus has what a job pushed", LONG, || {
        let found = api(&prometheus, "/api/v1/query?query=backup_rows")?;
        let value = &found["data"]["result"][0]["value"][1];
        if value == "7" { Ok(()) } else { Err(found.to_string()) }
    });
    eventually_ok("Watchdog is in Alertmanager", LONG, || {
        let alerts = api(&stack.address("alertmanager", "9093"), "/api/v2/alerts")?;
        let names: Vec<String> =
            alerts.as_array().unwrap().iter().map(|alert| alert["labels"]["alertname"].to_string()).collect();
        if names.contains(&"\"Watchdog\"".to_owned()) { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

/// The command of deploy/README.md, with this run's addresses.
fn takes_an_agent_from_outside(stack: &Stack) {
    let target = Target::start("# TYPE node_load1 gauge\nnode_load1 0.25\n");
    let blocks = it_readme::blocks(&read("deploy/README.md")).unwrap();
    assert_eq!(blocks.keys().collect::<Vec<_>>(), ["agent", "compose"]);
    assert!(blocks["compose"].starts_with("docker compose -f deploy/compose.yaml up "));
    let kafka = stack.address("kafka", "9092");
    let addresses = [("localhost:9092", kafka.as_str()), ("127.0.0.1:9100", target.address())];
    let arguments = it_readme::arguments(&blocks["agent"], &addresses);
    let _agent = Supervised::start("agent", process::command(&[]).args(arguments), None);
    eventually_ok("Prometheus has what an agent outside ships", LONG, || {
        let query = "/api/v1/query?query=node_load1%7Bcluster%3D%22mine%22%7D";
        let found = api(&stack.address("prometheus", "9090"), query)?;
        if found["data"]["result"][0]["value"][1] == "0.25" { Ok(()) } else { Err(found.to_string()) }
    });
}

/// Both generations read the shipped configurations, with the files that they name.
#[test]
fn the_shipped_configurations_are_accepted_by_both_generations() {
    let Some(config) = require(compose::config()) else { return };
    let stack = Stack::lay_out(&config);
    let prometheus = stack.here("prometheus", "/etc/prometheus/prometheus.yml");
    let alertmanager = stack.here("alertmanager", "/etc/alertmanager/alertmanager.yml");
    for generation in Generation::ALL {
        let Some(checked) = require(promtool(generation, &["check", "config", &prometheus], b"")) else { return };
        assert_eq!(checked, Ok(()), "{generation:?}");
        let Some(amtool) = require(parts::prometheus_tool(generation, "amtool")) else { return };
        let output = Command::new(amtool).args(["check-config", &alertmanager]).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{generation:?}: {said}");
        assert!(said.contains("1 templates") || said.contains("SUCCESS"), "{said}");
    }
    fs::write(&prometheus, "scrape_config: []\n").unwrap();
    assert!(promtool(Generation::Sid, &["check", "config", &prometheus], b"").unwrap().is_err());
}
