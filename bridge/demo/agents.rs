//! The agents of the demo: one per cluster, as it would be in the customer's network.
use std::time::Duration;

use k2p_agent::{Config, RawConfig};

use super::fleet::Fleet;

/// The demo is for people who watch: values move every two seconds.
const INTERVAL: Duration = Duration::from_secs(2);
/// Ctrl-C ends the demo within 2 s, whether or not its Kafka still answers.
const FLUSH: Duration = Duration::from_secs(1);

/// One configuration per cluster of the fleet, with `cluster` as a label of all its
/// origins and no listener of its own.
///
/// # Errors
/// When `brokers` are none; one line for each fault.
pub(crate) fn agents(fleet: &Fleet, brokers: &str, topic: &str) -> Result<Vec<Config>, Vec<String>> {
    let mut clusters: Vec<(&str, Vec<String>)> = Vec::new();
    for target in &fleet.targets {
        let labels: Vec<String> = target.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let scrape = format!("{};{}", target.url, labels.join(","));
        match clusters.iter_mut().find(|(name, _)| *name == target.cluster) {
            Some((_, scrapes)) => scrapes.push(scrape),
            None => clusters.push((target.cluster, vec![scrape])),
        }
    }
    let configs = clusters.into_iter().map(|(cluster, scrapes)| agent(cluster, scrapes, brokers, topic));
    configs.collect()
}

/// The agent for the user's own exporters (`demo --scrape URL`); `None` without any.
///
/// # Errors
/// When a URL or a label is none; one line for each fault.
pub(crate) fn own_agent(urls: &[String], brokers: &str, topic: &str) -> Result<Option<Config>, Vec<String>> {
    if urls.is_empty() {
        return Ok(None);
    }
    agent("yours", urls.to_vec(), brokers, topic).map(Some)
}

fn agent(cluster: &str, scrape: Vec<String>, brokers: &str, topic: &str) -> Result<Config, Vec<String>> {
    let mut config = Config::validate(RawConfig {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        labels: vec![format!("cluster={cluster}")],
        scrape,
        interval: INTERVAL,
        timeout: Some(Duration::from_secs(1)),
        ..RawConfig::default()
    })?;
    config.flush_timeout = FLUSH;
    Ok(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::fleet::DemoTarget;
    use super::*;

    #[test]
    fn one_agent_per_cluster_whose_origins_carry_its_name() {
        let target = |cluster, port: u16, instance| DemoTarget {
            cluster,
            url: format!("http://127.0.0.1:{port}/metrics"),
            labels: vec![("job", "j"), ("instance", instance)],
            what: "",
        };
        let targets = vec![target("a", 1, "x:1"), target("a", 2, "y:1"), target("b", 3, "x:1")];
        let configs = agents(&Fleet { targets }, "127.0.0.1:9092", "t").unwrap();
        let keys = |c: &Config| c.targets.iter().map(|t| t.origin.canonical().to_owned()).collect::<Vec<_>>();
        let all: Vec<_> = configs.iter().map(keys).collect();
        let a = ["cluster=\"a\",instance=\"x:1\",job=\"j\"", "cluster=\"a\",instance=\"y:1\",job=\"j\""];
        assert_eq!(all, [a.map(str::to_owned).to_vec(), vec![a[0].replace("=\"a\"", "=\"b\"")]]);
        assert_eq!(configs[0].topic, "t");
    }

    #[test]
    fn the_users_own_exporters_are_checked() {
        assert!(own_agent(&[], "127.0.0.1:9092", "t").unwrap().is_none());
        let own = own_agent(&["http://127.0.0.1:9100".to_owned()], "127.0.0.1:9092", "t").unwrap().unwrap();
        assert_eq!(own.targets[0].origin.get("cluster"), Some("yours"));
        assert!(own_agent(&["127.0.0.1:9100".to_owned()], "127.0.0.1:9092", "t").is_err());
    }
}
