//! What the demo says to the person who started it.
use std::fmt::Write;

use super::fleet::{DemoTarget, Fleet};

/// What is being started, one line per simulated process.
pub(crate) fn starting(fleet: &Fleet, kafka: &str) -> String {
    let mut out = String::from("Clusters that Prometheus cannot reach (simulated, on loopback):\n");
    let mut cluster = "";
    for target in &fleet.targets {
        let name = if target.cluster == cluster { "" } else { target.cluster };
        cluster = target.cluster;
        let _ = writeln!(out, "  {name:<14} {:<16} {}", job(target), target.what);
    }
    let _ = writeln!(out, "An agent in each of them scrapes every 2 s and ships to Kafka: {kafka}");
    out
}

fn job(target: &DemoTarget) -> &'static str {
    let found = target.labels.iter().find(|(name, _)| *name == "job");
    found.map_or("", |(_, value)| *value)
}

/// The addresses, and five things to try. `bridges` are names and base URLs
/// (`http://127.0.0.1:1234/`), `kill` says how the first one is killed.
pub(crate) fn ready(bridges: &[(String, String)], kill: &str) -> String {
    let mut out = String::new();
    for (name, url) in bridges {
        let _ = writeln!(out, "bridge {name}  {url}");
    }
    let last = bridges.last().map_or("", |(_, url)| url.as_str());
    let scrapes: Vec<String> = bridges.iter().map(|(_, url)| format!("{url}metrics")).collect();
    let _ = write!(
        out,
        "
Five things to try:
  1. Scrape, as Prometheus would: each bridge shows the partitions that it owns.
       curl -s {} | grep jobs_processed_total
     Twice: the values move. hooli-batch restarts every 75 s and counts from 0 again.
  2. Kill a bridge, and watch the other one take over its partitions without ever
     showing an older value: {kill}
  3. Look at the page: {last}
     umbrella-edge goes silent after 40 s, vanishes 15 s later, and comes back with its tunnel.
  4. Four pipelines run: one fails, one misses its SLA 20 s after each start: {last}runs
  5. Short jobs push: {last}groups. Push something of yours, to any bridge:
       echo my_metric 1 | curl --data-binary @- {last}metrics/job/mine

Ctrl-C ends it; nothing is left behind.
",
        scrapes.join(" "),
    );
    out
}

/// Where to look in the Prometheus at `url` (`http://127.0.0.1:9090/`).
pub(crate) fn watching(url: &str) -> String {
    format!(
        "
Prometheus, with the rules and the scrape configuration that ship with Kafka2Prom:
  alerts   {url}alerts
           customers_sync fails and invoices_close misses its SLA: within a minute both are there.
  a graph  {url}graph?g0.expr=sum%20by%20(cluster%2C%20result)%20(rate(jobs_processed_total%5B1m%5D))&g0.tab=0&g0.range_input=10m
  targets  {url}targets
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_stand_in_lines_of_their_own() {
        let bridges = [("a", "http://127.0.0.1:1/"), ("b", "http://127.0.0.1:2/")];
        let bridges = bridges.map(|(name, url)| (name.to_owned(), url.to_owned()));
        let text = ready(&bridges, "press k");
        assert!(text.starts_with("bridge a  http://127.0.0.1:1/\nbridge b  http://127.0.0.1:2/\n"));
        assert!(text.contains("curl -s http://127.0.0.1:1/metrics http://127.0.0.1:2/metrics"));
        assert!(text.contains("older value: press k\n"));
    }
}
