//! Real Apache Kafka: KRaft brokers, one JVM each.
//!
//! A JVM takes seconds to start, so one broker serves all tests of a run
//! ([`Kafka::shared`]); topics and groups have names of their own
//! ([`unique`]). Only tests that stop brokers start their own.
use super::chaos::Chaos;
use super::parts::{self, KafkaVersion};
use super::poll;
use super::skip::Missing;
use super::supervise::{Signal, Supervised, free_port, new_dir};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(40);
/// Starts that are tried with new ports, because a port can be taken meanwhile.
const ATTEMPTS: usize = 3;
const CLUSTER_ID: &str = "azJwLXRlc3RzLWsycC10ZQ";

const LOGGING: &str = "\
rootLogger.level=warn
rootLogger.appenderRef.stdout.ref=STDOUT
appender.console.type=Console
appender.console.name=STDOUT
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c %m%n
";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Of all nodes.
    pub version: KafkaVersion,
    /// Brokers, each also a controller: 1 or 3.
    pub nodes: usize,
    /// Heap of each JVM, MiB.
    pub heap_mib: usize,
    /// Broker properties, over those of [`Setup::new`]. The group minima are
    /// lowered for speed; a test whose figures are published takes Kafka's
    /// defaults: [`Setup::with_default_minima`].
    pub properties: Vec<(String, String)>,
}

impl Setup {
    /// One node, or three with the offsets topic replicated.
    pub fn new(version: KafkaVersion, nodes: usize) -> Setup {
        let mut properties: Vec<(String, String)> = [
            ("num.partitions", "8"),
            ("auto.create.topics.enable", "false"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("group.min.session.timeout.ms", "1000"),
            ("group.consumer.min.session.timeout.ms", "1000"),
            ("group.consumer.min.heartbeat.interval.ms", "200"),
            // A KIP-848 group's members cannot ask for another pace than these.
            ("group.consumer.session.timeout.ms", "2000"),
            ("group.consumer.heartbeat.interval.ms", "300"),
            ("message.max.bytes", "8388608"),
            ("replica.fetch.max.bytes", "8388608"),
            // Smaller than the default, which takes 128 MiB of every heap.
            ("log.cleaner.dedupe.buffer.size", "16777216"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let (replicas, in_sync, partitions) = if nodes == 1 { ("1", "1", "1") } else { ("3", "2", "6") };
        for (key, value) in [
            ("offsets.topic.replication.factor", replicas),
            ("offsets.topic.num.partitions", partitions),
            ("transaction.state.log.replication.factor", replicas),
            ("transaction.state.log.min.isr", in_sync),
            ("transaction.state.log.num.partitions", "1"),
        ] {
            properties.push((key.to_owned(), value.to_owned()));
        }
        Setup { version, nodes, heap_mib: if nodes == 1 { 512 } else { 256 }, properties }
    }

    /// Sets a broker property.
    pub fn with(mut self, key: &str, value: &str) -> Setup {
        self.properties.retain(|(k, _)| k != key);
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sessions and heartbeats of groups as Kafka ships them.
    pub fn with_default_minima(mut self) -> Setup {
        self.properties.retain(|(k, _)| !k.starts_with("group."));
        self
    }
}

/// A running cluster: stopped when dropped, or when the test process ends.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    chaos: Chaos,
}

/// One JVM: broker and controller.
#[derive(Debug)]
pub struct Node {
    id: usize,
    port: u16,
    dir: PathBuf,
    java: Vec<String>,
    process: Option<Supervised>,
}

impl Kafka {
    /// The broker (4.3.0) that all tests of this run share. Never stop it.
    pub fn shared() -> Result<&'static Kafka, Missing> {
        static SHARED: OnceLock<Result<Kafka, Missing>> = OnceLock::new();
        SHARED.get_or_init(|| Kafka::own(KafkaVersion::V4)).as_ref().map_err(Clone::clone)
    }

    /// A broker (3.9.1) that all tests of this run share.
    pub fn shared_v3() -> Result<&'static Kafka, Missing> {
        static SHARED: OnceLock<Result<Kafka, Missing>> = OnceLock::new();
        SHARED.get_or_init(|| Kafka::own(KafkaVersion::V3)).as_ref().map_err(Clone::clone)
    }

    /// A broker of one's own, to stop, freeze and start again.
    pub fn own(version: KafkaVersion) -> Result<Kafka, Missing> {
        Kafka::start(&Setup::new(version, 1))
    }

    /// Three nodes: leaders and coordinators can move.
    pub fn three_nodes(version: KafkaVersion) -> Result<Kafka, Missing> {
        Kafka::start(&Setup::new(version, 3))
    }

    /// Three nodes (4.3.0) that tests share one after the other: each of them leaves all
    /// three running.
    pub fn shared_three() -> Result<MutexGuard<'static, Kafka>, Missing> {
        static SHARED: OnceLock<Result<Mutex<Kafka>, Missing>> = OnceLock::new();
        let start = || Kafka::three_nodes(KafkaVersion::V4).map(Mutex::new);
        let shared = SHARED.get_or_init(start).as_ref().map_err(Clone::clone)?;
        // A test that failed while it held the cluster left it as it was.
        let mut kafka = shared.lock().unwrap_or_else(PoisonError::into_inner);
        kafka.start_missing();
        Ok(kafka)
    }

    /// The id of the active controller, as a voter wrote it down.
    pub fn controller(&self) -> Option<i32> {
        let state = |node: &Node| fs::read(node.dir.join("data/__cluster_metadata-0/quorum-state")).ok();
        let states = self.nodes.iter().filter(|node| node.process.is_some()).filter_map(state);
        let parsed = states.filter_map(|state| serde_json::from_slice::<serde_json::Value>(&state).ok());
        let newest = parsed.max_by_key(|state| state["leaderEpoch"].as_i64())?;
        i32::try_from(newest["leaderId"].as_i64()?).ok().filter(|id| *id > 0)
    }

    /// Starts the nodes that were stopped or killed, and waits for all.
    ///
    /// # Panics
    /// Where they do not come back.
    pub fn start_missing(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            node.launch();
        }
        self.wait_ready(self.nodes.len()).unwrap_or_else(|log| panic!("Kafka does not come back: {log}"));
    }

    /// Starts a cluster and waits until all its brokers are there.
    ///
    /// # Panics
    /// Where it does not start, with the end of its log.
    pub fn start(setup: &Setup) -> Result<Kafka, Missing> {
        let libs = parts::kafka_libs(setup.version)?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Kafka::try_start(setup, &libs) {
                Ok(kafka) => return Ok(kafka),
                Err(why) => last = why,
            }
        }
        panic!("Kafka {:?} does not start: {last}", setup.version)
    }

    fn try_start(setup: &Setup, libs: &Path) -> Result<Kafka, String> {
        let ports: Vec<Ports> = (0..setup.nodes).map(|_| Ports::choose()).collect();
        let chaos = Chaos::start(&ports.iter().map(|p| p.chaos).collect::<Vec<_>>());
        let voters: Vec<String> =
            ports.iter().enumerate().map(|(i, p)| format!("{}@127.0.0.1:{}", i + 1, p.controller)).collect();
        let mut nodes = Vec::new();
        for (i, ports) in ports.iter().enumerate() {
            let dir = new_dir("kafka");
            let proxy = chaos.ports()[i];
            write_configuration(&dir, i + 1, ports, proxy, &voters.join(","), setup);
            let java = java_options(libs, setup.heap_mib);
            nodes.push(Node { id: i + 1, port: ports.client, dir, java, process: None });
        }
        let formats: Vec<Supervised> = nodes.iter().map(Node::format).collect();
        for format in formats {
            let code = format.wait_exit(START);
            if code != 0 {
                return Err(format.log_tail());
            }
        }
        let mut kafka = Kafka { nodes, chaos };
        for node in &mut kafka.nodes {
            node.launch();
        }
        kafka.wait_ready(setup.nodes)?;
        Ok(kafka)
    }

    /// `host:port` of every broker, for clients.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|n| format!("127.0.0.1:{}", n.port)).collect();
        addresses.join(",")
    }

    /// The same brokers behind [`Kafka::chaos`]: a client that starts here stays
    /// behind it.
    pub fn chaos_bootstrap(&self) -> String {
        let addresses: Vec<String> = self.chaos.ports().iter().map(|p| format!("127.0.0.1:{p}")).collect();
        addresses.join(",")
    }

    /// The proxy before the brokers; faults are set by client.id.
    pub fn chaos(&self) -> &Chaos {
        &self.chaos
    }

    /// A node by its place; its id is one more.
    pub fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// A node by its id, as [`Kafka::leader`] and [`Kafka::coordinator`] give it.
    ///
    /// # Panics
    /// Where no node has it.
    pub fn node_with_id(&mut self, id: i32) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| i32::try_from(node.id) == Ok(id));
        found.expect("the cluster has this node")
    }

    /// Stops all nodes in good order, as an operator would.
    pub fn stop(&mut self) {
        for node in &mut self.nodes {
            node.stop();
        }
    }

    /// Starts all nodes again, on their ports and data, and waits for them.
    ///
    /// # Panics
    /// Where they do not come back.
    pub fn start_again(&mut self) {
        self.start_missing();
    }

    /// Waits until `brokers` of them are in the cluster's metadata and there is a
    /// controller that answers.
    pub fn wait_ready(&self, brokers: usize) -> Result<(), String> {
        let mut ended = None;
        let ready = poll::within(START, || {
            ended = self.nodes.iter().find(|n| n.process.as_ref().is_some_and(|p| p.exit_code().is_some()));
            if ended.is_some() {
                return Ok(());
            }
            self.broker_count().filter(|&n| n >= brokers).map(|_| ()).ok_or(())
        });
        match ended {
            Some(node) => Err(format!("node {} ended\n{}", node.id, node.log_tail())),
            None => ready.map_err(|()| self.nodes[0].log_tail()),
        }
    }
}

impl Node {
    fn format(&self) -> Supervised {
        let mut command = self.command();
        command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
        command.arg(self.dir.join("server.properties"));
        Supervised::start("kafka-format", &command, None)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("java");
        command.args(&self.java);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.dir.join("log4j2.properties").display()));
        // Of 3.9, which still looks for log4j 1.
        command.arg("-Dlog4j1.compatibility=true");
        command
    }

    /// Starts the JVM, on the ports and data that it had.
    pub fn launch(&mut self) {
        let mut command = self.command();
        command.arg("kafka.Kafka").arg(self.dir.join("server.properties"));
        let name = format!("kafka-{}", self.id);
        self.process = Some(Supervised::start(&name, &command, None));
    }

    /// Controlled shutdown: its leaders and coordinators move first.
    pub fn stop(&mut self) {
        let Some(process) = self.process.take() else { return };
        process.signal(Signal::Term);
        process.wait_exit(STOP);
    }

    /// Hard death.
    pub fn kill(&mut self) {
        let Some(process) = self.process.take() else { return };
        process.signal(Signal::Kill);
        process.wait_exit(STOP);
    }

    /// [`Signal::Stop`] freezes it, [`Signal::Cont`] thaws it.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the node runs").signal(signal);
    }

    /// Its id in the cluster.
    pub fn id(&self) -> usize {
        self.id
    }

    fn log_tail(&self) -> String {
        self.process.as_ref().map(Supervised::log_tail).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.take());
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A broker of the given properties alone, as a container's start script would run it: formatted,
/// then started. It is not waited for.
///
/// # Panics
/// Where its storage cannot be formatted.
pub fn serve(properties: &str, cluster_id: &str, heap: &str) -> Result<Supervised, Missing> {
    let libs = parts::kafka_libs(KafkaVersion::V4)?;
    let dir = new_dir("kafka-served");
    let file = dir.join("server.properties");
    fs::write(&file, properties).expect("the run's directory can be written");
    fs::write(dir.join("log4j2.properties"), LOGGING).expect("the run's directory can be written");
    let java = |arguments: &[&str]| {
        let mut command = Command::new("java");
        command.arg(heap).args(&java_options(&libs, 0)[1..]);
        command.arg(format!("-Dlog4j2.configurationFile={}", dir.join("log4j2.properties").display()));
        command.args(arguments).arg(&file);
        command
    };
    let format =
        Supervised::start("kafka-format", &java(&["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"]), None);
    assert_eq!(format.wait_exit(START), 0, "{}", format.log_tail());
    Ok(Supervised::start("kafka-served", &java(&["kafka.Kafka"]), None))
}

/// A name that no other test of this run has, for topics, groups and clients.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

struct Ports {
    client: u16,
    chaos: u16,
    controller: u16,
}

impl Ports {
    fn choose() -> Ports {
        Ports { client: free_port(), chaos: free_port(), controller: free_port() }
    }
}

fn java_options(libs: &Path, heap_mib: usize) -> Vec<String> {
    vec![
        format!("-Xmx{heap_mib}m"),
        "-XX:+UseSerialGC".into(),
        "-XX:TieredStopAtLevel=1".into(),
        "-cp".into(),
        format!("{}/*", libs.display()),
    ]
}

fn write_configuration(dir: &Path, id: usize, ports: &Ports, proxy: u16, voters: &str, setup: &Setup) {
    let Ports { client, chaos, controller } = ports;
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{client},CHAOS://127.0.0.1:{chaos},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{client},CHAOS://127.0.0.1:{proxy}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CHAOS:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         log.dirs={}\n",
        dir.join("data").display()
    );
    for (key, value) in &setup.properties {
        writeln!(text, "{key}={value}").expect("strings can be written");
    }
    fs::write(dir.join("server.properties"), text).expect("the run's directory can be written");
    fs::write(dir.join("log4j2.properties"), LOGGING).expect("the run's directory can be written");
}
