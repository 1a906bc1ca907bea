//! Puts the demo together: Kafka, the fleet, its agents, two bridges, and the person.
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use k2p_runtime::metrics::RuntimeMetrics;
use k2p_runtime::mock::MockKafka;
use k2p_runtime::shutdown::Shutdown;
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::agents::{agents, own_agent};
use super::bridges::{Bridge, Bridges};
use super::fleet::Fleet;
use super::pipelines::{self, EVENTS, STATE};
use super::prometheus::{self as shown_by, Prometheus, free_port};
use super::pushes::{self, PUSHES};
use super::words::{ready, starting, watching};
use crate::cli::{DemoArgs, LogArgs};
use crate::commands::{Done, Failure, process};

/// The topic of the demo.
const TOPIC: &str = "k2p.metrics";
/// Enough that both bridges have some, few enough to read.
const PARTITIONS: i32 = 8;
/// Those of the events, and those of the pushes.
const EVENT_PARTITIONS: i32 = 2;
const PUSH_PARTITIONS: i32 = 2;

pub(crate) fn run(args: &DemoArgs) -> Done {
    let runtime = process::tokio_runtime()?;
    let quiet = LogArgs { level: quiet(&args.log.level), ..args.log.clone() };
    let done = runtime.block_on(async {
        let process = process::begin(&quiet, "kafka2prom-demo")?;
        let done = demo(args, &process).await;
        process.shutdown.trigger();
        done
    });
    // A reader of stdin cannot be interrupted; it must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

/// People read what the demo says; the log is for when they ask for it.
fn quiet(level: &str) -> String {
    if level == "info" { "warn".to_owned() } else { level.to_owned() }
}

async fn demo(args: &DemoArgs, process: &process::Process) -> Done {
    let program = shown_by::find(args.prometheus.as_ref(), std::env::var_os("PATH"))?;
    let mock = match &args.brokers {
        Some(_) => None,
        None => Some(
            MockKafka::start(&[(TOPIC, PARTITIONS), (EVENTS, EVENT_PARTITIONS), (PUSHES, PUSH_PARTITIONS), (STATE, 1)])
                .map_err(Failure::failed)?,
        ),
    };
    let brokers = mock.as_ref().map_or_else(|| args.brokers.clone().unwrap_or_default(), MockKafka::brokers);
    let what = if mock.is_some() { "in this process (librdkafka's mock cluster)" } else { brokers.as_str() };
    let fleet = Fleet::start(&process.shutdown, args.seed, &process.runtime.http).await.map_err(Failure::failed)?;
    say(&starting(&fleet, what));
    if args.brokers.is_some() {
        create_topic(&brokers).await?;
    }
    let mut agents_running = start_agents(args, &fleet, &brokers, &process.shutdown)?;
    say("Two bridges in one consumer group, as processes of their own …\n");
    let mut ports = args.ports.clone();
    if program.is_some() {
        // Each bridge is told where Prometheus finds the last one, before that has started.
        ports = ports.into_iter().map(free_port).collect::<Result<_, _>>()?;
    }
    let front = program.is_some().then(|| ports.last().copied()).flatten();
    let mut bridges = Bridges::start(&brokers, mock.is_some(), TOPIC, &ports, front).await?;
    bridges.until_live(&process.shutdown, Duration::from_secs(30)).await;
    let addresses: Vec<(String, String)> = bridges.all().map(|b: &Bridge| (b.name.clone(), b.url.clone())).collect();
    say(&ready(&addresses, "type k and Enter here (s and Enter starts it again), or kill -9 its process."));
    let urls: Vec<String> = addresses.iter().map(|(_, url)| url.clone()).collect();
    let prometheus = start_prometheus(program.as_deref(), &urls).await?;
    agents_running.spawn(pipelines::run(urls.clone(), args.seed, process.shutdown.clone()));
    agents_running.spawn(pushes::run(urls, process.shutdown.clone()));
    obey(&mut bridges, &process.shutdown).await?;
    process.shutdown.trigger();
    let ends = async {
        if let Some(prometheus) = prometheus {
            prometheus.stop().await;
        }
    };
    tokio::join!(bridges.stop(), ends);
    let _late =
        tokio::time::timeout(Duration::from_millis(500), async { while agents_running.join_next().await.is_some() {} })
            .await;
    say("Ended.\n");
    Ok(())
}

/// Does what the person types, until the end is typed or signalled.
async fn obey(bridges: &mut Bridges, shutdown: &Shutdown) -> Done {
    let mut keys = keys();
    loop {
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            key = keys.recv() => match key.as_deref() {
                Some("k") => say(&bridges.kill_first()),
                Some("s") => say(&bridges.start_first().await?),
                Some("q") => return Ok(()),
                Some(_) => say("k kills the first bridge, s starts it again, q or Ctrl-C ends the demo.\n"),
                // No terminal: only a signal ends it.
                None => shutdown.triggered().await,
            },
        }
    }
}

/// Prometheus, if it was asked for, and where to look.
async fn start_prometheus(program: Option<&Path>, bridges: &[String]) -> Result<Option<Prometheus>, Failure> {
    let Some(program) = program else { return Ok(None) };
    let host = |url: &String| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let addresses: Vec<String> = bridges.iter().map(host).collect();
    let prometheus = Prometheus::start(program, &addresses).await?;
    say(&watching(&prometheus.url));
    Ok(Some(prometheus))
}

/// Each agent with a registry of its own, as in a process of its own.
fn start_agents(args: &DemoArgs, fleet: &Fleet, brokers: &str, shutdown: &Shutdown) -> Result<JoinSet<()>, Failure> {
    let mut configs = agents(fleet, brokers, TOPIC).map_err(Failure::Usage)?;
    configs.extend(own_agent(&args.scrape, brokers, TOPIC).map_err(Failure::Usage)?);
    let mut running = JoinSet::new();
    for config in configs {
        let registry = Registry::new();
        let runtime = RuntimeMetrics::new(&registry, process::VERSION, process::REVISION).map_err(Failure::failed)?;
        let shutdown = shutdown.clone();
        running.spawn(async move {
            if let Err(error) = k2p_agent::run(config, shutdown, &registry, &runtime).await {
                tracing::error!(%error, "an agent did not start");
            }
        });
    }
    Ok(running)
}

/// A real Kafka may not have the topics yet.
async fn create_topic(brokers: &str) -> Done {
    use k2p_server::topics::{Purpose, TopicSpec, Topics};
    let args = crate::cli::KafkaArgs { brokers: Some(brokers.to_owned()), ..Default::default() };
    let kafka = crate::commands::kafka_config(&args, None)?;
    let wanted = [
        (TOPIC, Purpose::Metrics, PARTITIONS),
        (EVENTS, Purpose::Events, EVENT_PARTITIONS),
        (PUSHES, Purpose::Push, PUSH_PARTITIONS),
        (STATE, Purpose::State, 1),
    ];
    let specs =
        wanted.map(|(name, purpose, partitions)| TopicSpec { name: name.to_owned(), purpose, partitions, replicas: 0 });
    let topics = Topics::new(&kafka).map_err(Failure::failed)?;
    let created = topics.create(&specs).await.map_err(Failure::failed)?;
    if !created.is_empty() {
        say(&format!("Created {}.\n", created.join(", ")));
    }
    Ok(())
}

/// Lines typed by the person, trimmed; ends with the input.
fn keys() -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tx.blocking_send(line.trim().to_lowercase()).is_err() {
                return;
            }
        }
    });
    rx
}

/// Prints for the person; a closed terminal is no reason to fail.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
