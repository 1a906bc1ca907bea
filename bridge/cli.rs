//! The command line. Flags are written in the Prometheus manner; every command's help
//! says what it does in a sentence and gives an example.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Answers Prometheus scrapes for clusters that Prometheus cannot reach: agents ship
/// whole metric dumps through Kafka, the bridge exposes them.
#[derive(Debug, Parser)]
#[command(name = "kafka2prom", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command that runs for a while logs, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and telemetry")]
pub(crate) struct LogArgs {
    /// error, warn, info, debug, trace, or a filter like `info,k2p_server=debug`.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) level: String,
    /// How log lines are written, on stderr.
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Logfmt)]
    pub(crate) format: LogFormat,
    /// Sends traces, logs and own metrics to this OTLP endpoint, e.g.
    /// `http://127.0.0.1:4318` (http) or `http://127.0.0.1:4317` (grpc).
    #[arg(long = "otel.endpoint", value_name = "URL")]
    pub(crate) otel_endpoint: Option<String>,
    /// How OTLP is spoken.
    #[arg(long = "otel.protocol", value_name = "PROTOCOL", value_enum, default_value_t = OtelProtocol::Http)]
    pub(crate) otel_protocol: OtelProtocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// `ts=… level=… msg=…`
    Logfmt,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OtelProtocol {
    /// Protobuf over HTTP.
    Http,
    /// gRPC.
    Grpc,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a bridge: consumes dumps from Kafka and answers scrapes.
    ///
    /// A broker and a topic are all that it needs, by flags or in a file. Every bridge that
    /// is started with the same group shares the partitions. It logs `msg=ready
    /// listen=HOST:PORT` when it listens; / is its status page, /metrics the scrape.
    ///
    /// Example: kafka2prom serve --kafka.brokers kafka:9092 --kafka.topic k2p.metrics
    Serve(ServeArgs),
    /// Runs an agent: scrapes targets and dump files inside a cluster, ships them to Kafka.
    ///
    /// It takes either flags or a file. Every origin has the labels of --label, those behind
    /// its source, and where these say nothing `job` and `instance` of the source.
    ///
    /// Example: kafka2prom agent --kafka.brokers kafka:9092 --label cluster=acme --scrape http://127.0.0.1:9100/metrics
    Agent(AgentArgs),
    /// Shows the whole way on this machine, with nothing installed: simulated clusters, their
    /// agents, an in-process Kafka, two bridges, a status page.
    ///
    /// It prints the addresses and five things to try. Ctrl-C ends it; nothing is left behind.
    ///
    /// Example: kafka2prom demo --scrape http://127.0.0.1:9100/metrics
    Demo(DemoArgs),
    /// Creates the topics, or checks existing ones.
    ///
    /// Example: kafka2prom topics create --kafka.brokers kafka:9092 --partitions 24 --replicas 3
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Checks a configuration or a cluster without starting anything.
    ///
    /// Example: kafka2prom check config bridge.yaml
    #[command(subcommand)]
    Check(CheckCommand),
    /// Reads one record value as the bridge would, and says what is in it.
    ///
    /// Exit code 1 if the bridge would refuse it.
    ///
    /// Example: curl -s http://127.0.0.1:9100/metrics | kafka2prom decode -
    Decode(DecodeArgs),
    /// Asks a running bridge why an origin or one of its metrics is there, or missing.
    ///
    /// Example: kafka2prom explain 'cluster="acme",job="spark"' jvm_threads
    Explain(ExplainArgs),
    /// Prints a job's log from the log store, one JSON object a line.
    ///
    /// It reads the directory itself, as a bridge does, and needs no running bridge. Each line
    /// is the event, with k2p_at (Unix nanoseconds), k2p_level and k2p_source before its own
    /// fields. Exit code 1 if the store has nothing of the job.
    ///
    /// Example: kafka2prom logs run-42 --since 2026-11-21T08:00:00Z --level warn
    Logs(LogsArgs),
    /// Takes over what a Pushgateway holds.
    ///
    /// Example: kafka2prom push import /var/lib/pushgateway/metrics --kafka.brokers kafka:9092
    #[command(subcommand)]
    Push(PushCommand),
    /// Prints the catalogue of the program's own metrics.
    ///
    /// Example: kafka2prom metrics --format json
    Metrics(MetricsArgs),
    /// Prints a shell's completion script.
    ///
    /// Example: kafka2prom completions bash > /etc/bash_completion.d/kafka2prom
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: clap_complete::Shell,
    },
}

/// How Kafka is reached; shared by the commands that need it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct KafkaArgs {
    /// Brokers to begin with.
    #[arg(long = "kafka.brokers", value_name = "HOST:PORT[,…]")]
    pub(crate) brokers: Option<String>,
    /// A property of librdkafka, e.g. `security.protocol=SASL_SSL`; repeatable.
    #[arg(long = "kafka.property", value_name = "NAME=VALUE")]
    pub(crate) properties: Vec<String>,
}

/// How a running bridge or agent is asked.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HttpArgs {
    /// Whom to trust and what to show, by the names of Prometheus' http_config: tls_config
    /// (ca_file, cert_file, key_file, server_name, …) and basic_auth.
    #[arg(long = "http.config.file", value_name = "FILE")]
    pub(crate) http_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file; flags win over what it says.
    #[arg(long = "config.file", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The consumer group that the bridges share [default: kafka2prom].
    #[arg(long = "kafka.group", value_name = "GROUP", help_heading = "Kafka")]
    pub(crate) group: Option<String>,
    /// A topic to consume; repeatable. With it the topics of the file do not count.
    #[arg(long = "kafka.topic", value_name = "NAME[:metrics|events|push]", help_heading = "Kafka")]
    pub(crate) topics: Vec<String>,
    /// Where to listen; `:PORT` is every address, port 0 lets the system choose [default:
    /// 127.0.0.1:9527, or :9527 where --web.config.file asks for passwords or certificates].
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", help_heading = "Web")]
    pub(crate) listen: Option<String>,
    /// TLS, client certificates, passwords and headers, in the format of Prometheus'
    /// exporter-toolkit; followed while the bridge runs.
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = "Web")]
    pub(crate) web_config: Option<PathBuf>,
    /// Where the other bridges reach this one [default: the listen address; this host's name
    /// where every address is listened on].
    #[arg(long = "web.advertise-address", value_name = "HOST:PORT", help_heading = "Web")]
    pub(crate) advertise: Option<String>,
    /// Where Prometheus reaches the bridges as one, e.g. a service in front of all of them;
    /// service discovery by partition (/sd?by=partition) leads there. With http:// or https://
    /// before it the targets say so.
    #[arg(long = "web.external-address", value_name = "HOST:PORT", help_heading = "Web")]
    pub(crate) external: Option<String>,
    /// How a request for a partition of another bridge is answered: proxy or redirect
    /// [default: proxy].
    #[arg(long = "web.route", value_name = "HOW", help_heading = "Web")]
    pub(crate) route: Option<String>,
    /// Allows what is under /api/v1/admin (switching a topic's policy) to whoever reaches the
    /// port.
    #[arg(long = "web.enable-admin-api", help_heading = "Web")]
    pub(crate) admin: bool,
    /// Ends in good order when its standard input ends: a child of the demo outlives nobody.
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AgentArgs {
    /// The configuration file, instead of flags: only --web.listen-address, --web.config.file
    /// and those for logs and telemetry go with it.
    #[arg(long = "config.file", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The topic to produce to [default: k2p.metrics].
    #[arg(long = "kafka.topic", value_name = "NAME", help_heading = "Kafka")]
    pub(crate) topic: Option<String>,
    /// A target to scrape, with labels of its own if need be; repeatable. Without a path it
    /// means /metrics.
    #[arg(long = "scrape", value_name = "URL[;LABEL=VALUE,…]", help_heading = "Sources")]
    pub(crate) scrape: Vec<String>,
    /// A dump file to pick up whenever it changes; repeatable.
    #[arg(long = "file", value_name = "PATH[;LABEL=VALUE,…]", help_heading = "Sources")]
    pub(crate) files: Vec<String>,
    /// A label of every origin of this agent; repeatable.
    #[arg(long = "label", value_name = "NAME=VALUE", help_heading = "Sources")]
    pub(crate) labels: Vec<String>,
    /// How often targets are scraped, e.g. 15s or 1m [default: 30s].
    #[arg(long = "interval", value_name = "DURATION", help_heading = "Sources")]
    pub(crate) interval: Option<String>,
    /// How long a scrape may take; at most the interval [default: 10s, or the interval where
    /// that is shorter].
    #[arg(long = "timeout", value_name = "DURATION", help_heading = "Sources")]
    pub(crate) timeout: Option<String>,
    /// Where the agent's own /metrics and /-/healthy are served [default: nowhere].
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", help_heading = "Web")]
    pub(crate) listen: Option<String>,
    /// TLS, client certificates, passwords and headers, in the format of Prometheus'
    /// exporter-toolkit; followed while the agent runs.
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = "Web")]
    pub(crate) web_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Uses this Kafka instead of the in-process one; creates k2p.metrics, k2p.events, k2p.push and
    /// k2p.state there if need be.
    #[arg(long, value_name = "HOST:PORT[,…]")]
    pub(crate) brokers: Option<String>,
    /// Adds a real exporter of yours, as cluster="yours"; repeatable.
    #[arg(long, value_name = "URL")]
    pub(crate) scrape: Vec<String>,
    /// Ports of the two bridges, on loopback; 0 lets the system choose, as for a port that is
    /// taken.
    #[arg(long, value_name = "PORT", num_args = 2, default_values_t = [9527, 9528])]
    pub(crate) ports: Vec<u16>,
    /// Starts this Prometheus with the shipped rules and scrape configuration, on loopback; without
    /// PATH, the one that the shell finds. It ends with the demo, and its data with it.
    #[arg(long, value_name = "PATH")]
    pub(crate) prometheus: Option<Option<PathBuf>>,
    /// Seed of the simulated clusters.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TopicsArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The topic of dumps.
    #[arg(long = "kafka.topic", value_name = "NAME", default_value = "k2p.metrics", help_heading = "Kafka")]
    pub(crate) topic: String,
    /// The topic of events (runs, logs, lineage); empty for none.
    #[arg(long, value_name = "NAME", default_value = "k2p.events")]
    pub(crate) events: String,
    /// The topic of pushes; empty for none.
    #[arg(long, value_name = "NAME", default_value = "k2p.push")]
    pub(crate) push: String,
    /// The dead-letter topic; empty for none.
    #[arg(long, value_name = "NAME", default_value = "k2p.deadletter")]
    pub(crate) deadletter: String,
    /// The topic of snapshots and catalogues; empty for none.
    #[arg(long, value_name = "NAME", default_value = "k2p.state")]
    pub(crate) state: String,
    /// Partitions of the topics of dumps, events and pushes: at least as many as bridges will ever
    /// share them. Those of events and of pushes can never get more.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) partitions: i32,
    /// Replicas of each partition; 0 takes the cluster's default.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) replicas: i32,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AcceptLossArgs {
    /// The topic of events.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The topic of snapshots.
    #[arg(long, value_name = "NAME", default_value = "k2p.state")]
    pub(crate) state: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Creates what is missing, then checks.
    Create(TopicsArgs),
    /// Checks partitions, replication, retention and clean-up of existing topics.
    Check(TopicsArgs),
    /// Goes on with a partition of events whose records are gone before a snapshot stood for
    /// them: what they would have counted is lost.
    ///
    /// Refused where nothing is missing. The bridges see it within a second.
    ///
    /// Example: kafka2prom topics accept-loss k2p.events 3 --kafka.brokers kafka:9092
    AcceptLoss(AcceptLossArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PushCommand {
    /// Puts every group of a Pushgateway's persistence file (--persistence.file) into a topic of
    /// pushes, with the times of their pushes; they stay until they are deleted.
    ///
    /// All of them or, where one could not be taken, none. A group that is in the topic already is
    /// replaced: import before clients push to the bridges. The same file again, within a day,
    /// changes nothing.
    ///
    /// Example: kafka2prom push import /var/lib/pushgateway/metrics --kafka.brokers kafka:9092
    Import(PushImportArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PushImportArgs {
    /// The file; the Pushgateway writes it when it ends, and every --persistence.interval.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The topic of pushes.
    #[arg(long = "kafka.topic", value_name = "NAME", default_value = "k2p.push", help_heading = "Kafka")]
    pub(crate) topic: String,
    /// Reads the file and prints the groups, nothing else.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckCommand {
    /// Reads a configuration file, of a bridge or an agent, and reports everything that is wrong
    /// with it, and with the web configuration that it names.
    Config {
        /// The file.
        file: PathBuf,
    },
    /// Reads a web configuration file (--web.config.file) and the certificates that it names, and
    /// reports everything that is wrong with them.
    WebConfig {
        /// The file.
        file: PathBuf,
    },
    /// Proves on a live cluster what the ownership protocol assumes.
    Kafka(CheckKafkaArgs),
    /// Asks a running bridge or agent how it is: exit code 0 if it answers well, else 1.
    ///
    /// For health checks where there is no shell and no curl, as in the container image.
    ///
    /// Example: kafka2prom check health http://127.0.0.1:9527/-/ready
    Health {
        /// What is asked.
        #[arg(default_value = "http://127.0.0.1:9527/-/healthy")]
        url: String,
        #[command(flatten)]
        http: HttpArgs,
    },
    /// Reads a directory of templates, runs their cases and prints the catalogue of metrics.
    ///
    /// A case is DIR/cases/NAME/in.jsonl, the events, and out.prom, what a scrape shows of them.
    Templates(CheckTemplatesArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckTemplatesArgs {
    /// The directory: its *.yaml files and its cases.
    pub(crate) dir: PathBuf,
    /// Rewrites the out.prom of every case that differs.
    #[arg(long)]
    pub(crate) update: bool,
    /// How the catalogue is printed.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = CatalogueFormat::Markdown)]
    pub(crate) catalogue: CatalogueFormat,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckKafkaArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The topic of dumps.
    #[arg(long = "kafka.topic", value_name = "NAME", default_value = "k2p.metrics", help_heading = "Kafka")]
    pub(crate) topic: String,
    /// A consumer group to try commits with; must not be in use.
    #[arg(long = "kafka.group", value_name = "GROUP", default_value = "kafka2prom-check", help_heading = "Kafka")]
    pub(crate) group: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DecodeArgs {
    /// The record value; `-` reads stdin.
    pub(crate) file: PathBuf,
    /// Refuses the whole at the first fault.
    #[arg(long)]
    pub(crate) strict: bool,
    /// The header content-type (default: found out from the bytes).
    #[arg(long = "content-type", value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// The header content-encoding: gzip, zstd, snappy.
    #[arg(long = "content-encoding", value_name = "ENCODING")]
    pub(crate) content_encoding: Option<String>,
    /// What is printed.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = DecodeOutput::Report)]
    pub(crate) output: DecodeOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecodeOutput {
    /// For people.
    Report,
    /// The report as JSON.
    Json,
    /// The accepted samples, as exposition lines.
    Text,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    /// The origin's key: its labels, in any order, e.g. 'cluster="acme",job="spark"'.
    pub(crate) origin: String,
    /// A metric of it.
    pub(crate) metric: Option<String>,
    /// Any bridge of the group.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9527")]
    pub(crate) bridge: String,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    /// What is printed.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = ExplainOutput::Report)]
    pub(crate) output: ExplainOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainOutput {
    /// For people.
    Report,
    /// The bridge's answer as it is.
    Json,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// The id of the job or run.
    pub(crate) job: String,
    /// Where the log store lies.
    #[arg(long = "logs.dir", value_name = "DIR", default_value = "/var/lib/kafka2prom/logs")]
    pub(crate) dir: PathBuf,
    /// An object store instead of a directory: s3://…, az://…, gs://… or objects:///…, with
    /// credentials from the environment.
    #[arg(long = "logs.url", value_name = "URL", conflicts_with = "dir")]
    pub(crate) url: Option<String>,
    /// Nothing before this: RFC 3339, or Unix time in s, ms, us or ns.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// This level and graver ones: trace, debug, info, warn, error, fatal.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<String>,
    /// At most so many entries, then an end [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Goes on with what comes, until Ctrl-C.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MetricsArgs {
    /// How it is printed.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = CatalogueFormat::Markdown)]
    pub(crate) format: CatalogueFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CatalogueFormat {
    /// A table.
    Markdown,
    /// A list of objects.
    Json,
}
