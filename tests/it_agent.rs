//! The real agent against real Kafka: a target and a dump file come out of a bridge.
use crate::support::kafka::{Kafka, unique};
use crate::support::poll::eventually_ok;
use crate::support::process::Service;
use crate::support::skip::require;
use crate::support::supervise::new_dir;
use crate::support::target::{Target, shows};
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn wait_shown(service: &Service, path: &str, name: &str, labels: &[&str], value: &str) {
    eventually_ok(&format!("{name}{labels:?} {value} on {path}"), LONG, || {
        let page = service.get(path)?.text();
        if shows(&page, name, labels, value) { Ok(()) } else { Err(page) }
    });
}

/// As a service should: a new file, renamed over the old one.
fn write_dump(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_target_and_a_file_travel_through_the_agent() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let topic = unique("agent");
    kafka.create_topic(&topic, 2, &[]);
    let target = Target::start("# TYPE requests_total counter\nrequests_total{path=\"/\",job=\"inner\"} 1\n");
    let file = new_dir("agent").join("orders.prom");
    write_dump(&file, "orders_open 7\n");
    let brokers = kafka.bootstrap();
    let scrape = format!("http://{}/metrics;job=shop,region=us", target.address());
    let dump_file = format!("{};instance=host-1", file.display());
    let agent = Service::start(
        "agent",
        &[
            &["agent", "--kafka.brokers", &brokers, "--kafka.topic", &topic, "--scrape", &scrape][..],
            &["--file", &dump_file, "--label", "cluster=acme", "--label", "region=eu"],
            &["--interval", "500ms", "--timeout", "400ms", "--web.listen-address", "127.0.0.1:0"],
        ]
        .concat(),
    )
    .unwrap();
    let bridge = Service::bridge(kafka, &unique("bridge"), &topic, &[]);

    // The source's own label wins over the agent's, the origin's over the dump's.
    let instance = format!("instance=\"{}\"", target.address());
    let of_target = ["cluster=\"acme\"", &instance, "job=\"shop\"", "region=\"us\"", "exported_job=\"inner\""];
    let of_file = ["cluster=\"acme\"", "instance=\"host-1\"", "job=\"orders\"", "region=\"eu\""];
    wait_shown(&bridge, "/metrics", "requests_total", &of_target, "1");
    wait_shown(&bridge, "/metrics", "orders_open", &of_file, "7");

    target.show(Some("requests_total 2.50\n"));
    wait_shown(&bridge, "/metrics", "requests_total", &of_target[..4], "2.50");

    // The target goes away: counted; the file goes on.
    target.show(None);
    let source = format!("source=\"http://{}/metrics\"", target.address());
    wait_shown(&agent, "/metrics", "kafka2prom_agent_source_up", &[&source], "0");
    write_dump(&file, "orders_open 8\n");
    wait_shown(&bridge, "/metrics", "orders_open", &of_file, "8");
    let own = agent.get("/metrics").unwrap().text();
    let failed = own.lines().filter(|line| line.starts_with("kafka2prom_agent_scrapes_total{"));
    let failed: Vec<&str> = failed.filter(|line| !line.contains("result=\"ok\"") && !line.ends_with(" 0")).collect();
    assert!(!failed.is_empty(), "no failed scrape is counted: {own}");
    // Its last dump stays: it is not stale yet.
    wait_shown(&bridge, "/metrics", "requests_total", &of_target[..4], "2.50");

    // And comes back.
    target.show(Some("requests_total 3\n"));
    wait_shown(&bridge, "/metrics", "requests_total", &of_target[..4], "3");
    wait_shown(&agent, "/metrics", "kafka2prom_agent_source_up", &[&source], "1");
    assert_eq!(agent.get("/-/healthy").unwrap().status, 200);
    assert_eq!(agent.stop(), 0, "{}", agent.process().log_tail());
}

/// A broker that does not answer stops no agent: it says so, and counts what it drops.
#[test]
fn an_agent_without_its_kafka_says_so_and_goes_on() {
    let target = Target::start("up_for 1\n");
    let scrape = format!("http://{}/metrics", target.address());
    // Port 1 is nobody's.
    let arguments = ["agent", "--kafka.brokers", "127.0.0.1:1", "--scrape", &scrape, "--interval", "500ms"];
    let listen = ["--timeout", "400ms", "--web.listen-address", "127.0.0.1:0"];
    let agent = Service::start("agent", &[&arguments[..], &listen].concat()).unwrap();
    let own = |name: &str| -> Result<f64, String> {
        let page = agent.get("/metrics")?.text();
        let lines = page.lines().filter(|line| line.starts_with(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    };
    eventually_ok("two scrapes are made, their dumps wait", LONG, || {
        let (scrapes, queued) = (own("kafka2prom_agent_scrapes_total{")?, own("kafka2prom_agent_queue_bytes")?);
        if scrapes >= 2.0 && queued > 0.0 { Ok(()) } else { Err(format!("{scrapes} scrapes, {queued} bytes")) }
    });
    eventually_ok("the log says which broker is away", LONG, || {
        let log = agent.process().stderr();
        if log.contains("127.0.0.1:1") && log.contains("level=warn") { Ok(()) } else { Err(log) }
    });
    assert_eq!(agent.stop(), 0, "{}", agent.process().log_tail());
}
