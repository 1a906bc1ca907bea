//! One fault run.
use super::clock::Clock;
use super::producer::{Dumps, Sender, pad};
use super::record::Recorder;
use super::scraper::{Scraper, SlowScrape, Target, scrape};
use crate::checker::{self, CommitRead, Frozen, History, Hole, Limits, Micros, Report, Rule};
use crate::support::kafka::{Kafka, unique};
use crate::support::poll::{eventually, eventually_ok, within};
use crate::support::process::{Service, command};
use crate::support::supervise::{Signal, new_dir};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A partition that nobody disturbs any more is live after this and a session at the latest.
const LIVE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// The group's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Members set the session.
    Classic,
    /// KIP-848: the broker sets it ([`crate::support::kafka::Setup::new`]).
    Consumer,
}

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Of the topic, at the beginning.
    pub partitions: i32,
    /// Origins that send one growing value.
    pub origins: u32,
    /// Series of each, all of that value.
    pub series: u32,
    /// Of dumps that are there from the beginning, in each partition: answers are as large.
    pub pad_bytes: usize,
    /// `session.timeout.ms`; of a KIP-848 group the broker's, which is not set by a client.
    pub session_ms: u64,
    /// `group.protocol`.
    pub protocol: Protocol,
    /// L.
    pub lease_ms: u64,
    /// L_wait.
    pub wait_ms: u64,
    /// Of the topic; also how long a silent origin may stay.
    pub staleness_s: u64,
    /// `socket.timeout.ms`: how long a request whose answer was lost is waited for.
    pub socket_ms: u64,
    /// `fetch.message.max.bytes`.
    pub fetch_bytes: Option<u32>,
    /// `web.external_address`.
    pub external: Option<String>,
    /// Another binary.
    pub program: Option<PathBuf>,
    /// The rule that is switched off, of a binary that can.
    pub broken: Option<&'static str>,
}

impl Setup {
    /// Short timers: session 2 s, L = 4 s, L_wait = 5 s.
    pub fn short() -> Setup {
        Setup {
            partitions: 8,
            origins: 24,
            series: 2,
            pad_bytes: 0,
            session_ms: 2000,
            protocol: Protocol::Classic,
            lease_ms: 4000,
            wait_ms: 5000,
            staleness_s: 90,
            socket_ms: 60_000,
            fetch_bytes: None,
            external: None,
            program: None,
            broken: None,
        }
    }

    /// [`Setup::short`] of a KIP-848 group; its session is that of the shared broker.
    pub fn kip848() -> Setup {
        Setup { protocol: Protocol::Consumer, ..Setup::short() }
    }

    /// Timers that outlast the hard death of a coordinator: its brokers' session of 9 s,
    /// an election, and until the bridges have found the next (9 to 13 s were measured).
    pub fn patient() -> Setup {
        Setup { session_ms: 15_000, lease_ms: 20_000, wait_ms: 24_000, ..Setup::short() }
    }

    /// The defaults of design §1.
    pub fn default_timers() -> Setup {
        Setup { session_ms: 10_000, lease_ms: 15_000, wait_ms: 18_000, ..Setup::short() }
    }
}

/// A bridge of a run.
pub struct Bridge {
    /// Its number in the history.
    pub number: u32,
    /// Its client.id, for the chaos proxy.
    pub client_id: String,
    service: Service,
    target: Target,
    scraper: Scraper,
}

impl Bridge {
    /// The process.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The sum of one of its own counters over all label sets that contain `label`.
    pub fn counter(&self, name: &str, label: &str) -> f64 {
        let own = self.service.get("/metrics/self").map(|a| a.text()).unwrap_or_default();
        let lines = own.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

/// A run: everything in it ends when it is dropped.
pub struct Bed {
    name: String,
    setup: Setup,
    brokers: String,
    pub topic: String,
    pub group: String,
    pub recorder: Arc<Recorder>,
    sender: Sender,
    _commits: CommitWatch,
    dir: PathBuf,
    numbers: AtomicU32,
}

impl Bed {
    /// A topic, and a producer that sends to it.
    pub fn new(kafka: &Kafka, name: &str, setup: Setup) -> Bed {
        let topic = unique(name);
        kafka.create_topic(&topic, setup.partitions, &[]);
        let recorder = Arc::new(Recorder::new());
        if setup.pad_bytes > 0 {
            pad(&kafka.producer("none"), &topic, setup.partitions, setup.pad_bytes);
        }
        let made_of = Dumps { origins: setup.origins, series: setup.series };
        let sender = Sender::start(kafka.producer("none"), &topic, made_of, &recorder);
        let group = unique(&format!("{name}-group"));
        let brokers = kafka.bootstrap();
        let commits = CommitWatch::start(&brokers, &group, &topic, setup.partitions, &recorder);
        Bed {
            name: name.to_owned(),
            setup,
            brokers,
            topic,
            group,
            recorder,
            sender,
            _commits: commits,
            dir: new_dir(name),
            numbers: AtomicU32::new(0),
        }
    }

    /// Starts a bridge, and scrapers on it.
    pub fn bridge(&self) -> Bridge {
        self.bridge_at(&self.brokers)
    }

    /// [`Bed::bridge`] with a wall clock of its own.
    ///
    /// # Panics
    /// Where [`super::clock::library`] is not to be had.
    pub fn bridge_by(&self, clock: &Clock) -> Bridge {
        self.launch(&self.brokers, |command| clock.give(command).expect("the library was asked for before"))
    }

    /// [`Bed::bridge`] by way of other addresses: the chaos proxy's.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn bridge_at(&self, brokers: &str) -> Bridge {
        self.launch(brokers, |_| {})
    }

    fn launch(&self, brokers: &str, change: impl FnOnce(&mut Command)) -> Bridge {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let client_id = unique(&format!("{}-{number}", self.name));
        let file = self.write_config(number, brokers, &client_id);
        let mut command = self.command(&file);
        change(&mut command);
        let service = Service::launch("bridge", &command).unwrap_or_else(|e| panic!("bridge {number}: {e}"));
        let target = Target {
            bridge: number,
            listen: service.listen().to_owned(),
            topic: self.topic.clone(),
            partitions: self.setup.partitions,
            series: self.setup.series,
            padded: self.setup.pad_bytes > 0,
        };
        let scraper = Scraper::start(target.clone(), &self.recorder);
        self.note(format!("bridge {number} is started"));
        Bridge { number, client_id, service, target, scraper }
    }

    fn write_config(&self, number: u32, brokers: &str, client_id: &str) -> PathBuf {
        let Setup { session_ms, lease_ms, wait_ms, staleness_s, socket_ms, .. } = self.setup;
        let mut properties = match self.setup.protocol {
            Protocol::Classic => format!("session.timeout.ms: \"{session_ms}\""),
            Protocol::Consumer => "group.protocol: consumer".to_owned(),
        };
        if let Some(bytes) = self.setup.fetch_bytes {
            properties += &format!("\n    fetch.message.max.bytes: \"{bytes}\"");
        }
        let external = self.setup.external.as_ref().map(|a| format!(", external_address: \"{a}\"")).unwrap_or_default();
        let text = format!(
            "kafka:\n  brokers: \"{brokers}\"\n  group: \"{}\"\n  properties:\n    client.id: \"{client_id}\"\n    \
             {properties}\n    socket.timeout.ms: \"{socket_ms}\"\n\
             topics: [{{name: \"{}\", staleness: {staleness_s}s}}]\n\
             ownership: {{lease: {lease_ms}ms, wait: {wait_ms}ms}}\n\
             web: {{listen_address: \"127.0.0.1:0\"{external}}}\n",
            self.group, self.topic
        );
        let file = self.dir.join(format!("{number}.yml"));
        fs::write(&file, text).expect("the run's directory can be written");
        file
    }

    fn command(&self, file: &Path) -> Command {
        let file = file.to_str().expect("paths here are text");
        let ours = command(&["serve", "--config.file", file]);
        let Some(program) = &self.setup.program else { return ours };
        let mut command = Command::new(program);
        command.args(ours.get_args());
        if let Some(rule) = self.setup.broken {
            command.env("K2P_BREAK", rule);
        }
        command
    }

    /// From here on a partition must be shown whole or not at all.
    pub fn expect_whole(&self) {
        let now = self.recorder.now();
        self.recorder.history().whole_since = Some(now);
    }

    /// A scrape that reads one byte a second.
    pub fn scrape_slowly(&self, bridge: &Bridge) -> SlowScrape {
        SlowScrape::start(bridge.target.clone(), &self.recorder)
    }

    /// So many scrapes of each of these bridges at once; how many were answered.
    pub fn scrape_at_once(&self, bridges: &[&Bridge], count: usize) -> usize {
        let one = |bridge: &Bridge| scrape(&bridge.target, None, &self.recorder).is_ok();
        thread::scope(|scope| {
            let all = bridges.iter().flat_map(|bridge| (0..count).map(move |_| *bridge));
            let under_way: Vec<_> = all.map(|bridge| scope.spawn(move || one(bridge))).collect();
            under_way.into_iter().map(|t| t.join().expect("it does not panic")).filter(|ok| *ok).count()
        })
    }

    /// Writes a fault into the history.
    pub fn note(&self, what: String) {
        let now = self.recorder.now();
        self.recorder.history().faults.push((now, what));
    }

    /// Waits until every origin is shown by one of these bridges, and each of them
    /// shows some.
    #[track_caller]
    pub fn wait_shown(&self, bridges: &[&Bridge]) {
        let all = usize::try_from(self.setup.origins - self.silent()).expect("few origins");
        eventually_ok(&format!("{}: every origin is shown", self.name), self.live(), || {
            let of = |b: &&Bridge| scrape(&b.target, None, &self.recorder).unwrap_or(0);
            let shown: Vec<usize> = bridges.iter().map(of).collect();
            let whole = shown.iter().sum::<usize>() == all && !shown.contains(&0);
            if whole { Ok(()) } else { Err(format!("{shown:?} of {all} origins{}", logs(bridges))) }
        });
    }

    /// [`Bed::wait_shown`] of dumps that are sent from now on.
    #[track_caller]
    pub fn wait_fresh(&self, bridges: &[&Bridge]) {
        let last = self.recorder.history().sent.iter().map(|s| s.seq).max().unwrap_or(0);
        let all = usize::try_from(self.setup.origins - self.silent()).expect("few origins");
        eventually_ok(&format!("{}: every origin is shown and goes on", self.name), self.live(), || {
            let begun = self.recorder.now();
            let shown: Vec<usize> =
                bridges.iter().map(|b| scrape(&b.target, None, &self.recorder).unwrap_or(0)).collect();
            let history = self.recorder.history();
            let fresh = history.scrapes.iter().filter(|s| s.start >= begun).flat_map(|s| &s.shown);
            let fresh: BTreeSet<u32> = fresh.filter(|s| s.seq > last).map(|s| s.origin).collect();
            let whole = fresh.len() == all && shown.iter().sum::<usize>() == all && !shown.contains(&0);
            drop(history);
            if whole { Ok(()) } else { Err(format!("{shown:?}, {} fresh, of {all}{}", fresh.len(), logs(bridges))) }
        });
    }

    fn live(&self) -> Duration {
        LIVE + Duration::from_millis(self.setup.session_ms)
    }

    fn silent(&self) -> u32 {
        self.sender.orders.silent_below.load(Ordering::SeqCst)
    }

    /// Ends a bridge without warning. Its scrapers go on asking where it was.
    pub fn kill(&self, bridge: &Bridge) {
        self.note(format!("bridge {} is killed", bridge.number));
        bridge.service.process().signal(Signal::Kill);
        bridge.service.process().wait_exit(STOP);
    }

    /// Ends a bridge in good order.
    pub fn stop(&self, bridge: &Bridge) {
        self.note(format!("bridge {} is told to end", bridge.number));
        assert_eq!(bridge.service.stop(), 0, "{}", bridge.service.process().log_tail());
    }

    /// Freezes a bridge, and lets it go on after a time. It is scraped throughout; its
    /// scrapes that wait then are answered in the order in which they came.
    pub fn freeze(&self, bridge: &Bridge, time: Duration) {
        self.frozen(bridge, time, Duration::ZERO);
    }

    /// [`Bed::freeze`], scraped only at the end: the first thing that it sees
    /// when it goes on is a scrape that began when another had long taken over.
    pub fn freeze_quietly(&self, bridge: &Bridge, time: Duration) {
        let quiet = time.saturating_sub(Duration::from_millis(500));
        bridge.scraper.pause(true);
        // Those under way are answered before it stops.
        thread::sleep(Duration::from_millis(300));
        self.frozen(bridge, time, quiet);
    }

    fn frozen(&self, bridge: &Bridge, time: Duration, quiet: Duration) {
        self.note(format!("bridge {} is frozen for {time:?}, quiet for {quiet:?}", bridge.number));
        let from = self.recorder.now();
        bridge.service.process().signal(Signal::Stop);
        thread::sleep(quiet);
        bridge.scraper.pause(false);
        thread::sleep(time - quiet);
        bridge.service.process().signal(Signal::Cont);
        let to = self.recorder.now() + 1_000_000;
        self.recorder.history().frozen.push(Frozen { bridge: bridge.number, from, to });
    }

    /// Nobody scrapes a bridge any more.
    pub fn quiet(&self, bridge: &Bridge) {
        bridge.scraper.pause(true);
    }

    /// The first `count` origins send nothing any more.
    pub fn silence(&self, count: u32) {
        self.sender.orders.silent_below.store(count, Ordering::SeqCst);
        self.recorder.history().silent.extend(0..count);
    }

    /// The producer sends nothing, or goes on.
    #[track_caller]
    pub fn pause(&self, pause: bool) {
        self.note(format!("the producer pauses: {pause}"));
        self.sender.orders.pause.store(pause, Ordering::SeqCst);
        let what = format!("{}: the producer pauses: {pause}", self.name);
        eventually(&what, self.live(), || (self.sender.orders.paused() == pause).then_some(()));
    }

    /// The clock by which the producer stamps its dumps is so far ahead. One that is set
    /// back makes dumps that may be refused (design §1, rule 8).
    pub fn set_producers_clock(&self, seconds: i64) {
        self.note(format!("the producer's clock is {seconds} s ahead"));
        self.sender.orders.unpromised.store(true, Ordering::SeqCst);
        self.sender.orders.clock.store(seconds, Ordering::SeqCst);
    }

    /// Waits until no origin is shown by any of these bridges.
    #[track_caller]
    pub fn wait_dark(&self, bridges: &[&Bridge]) {
        eventually_ok(&format!("{}: nothing is shown", self.name), self.live(), || {
            let shown = |b: &&Bridge| scrape(&b.target, None, &self.recorder).unwrap_or(1);
            let shown: usize = bridges.iter().map(shown).sum();
            if shown == 0 { Ok(()) } else { Err(format!("{shown} origins{}", logs(bridges))) }
        });
    }

    /// The topic is deleted, stays away for a while, and is made again. Which of the two
    /// a committed offset belongs to cannot be told from outside: G2 is not judged in
    /// the second.
    #[track_caller]
    pub fn make_topic_again(&self, kafka: &Kafka, away: Duration) {
        self.pause(true);
        self.note(format!("the topic is deleted for {away:?}"));
        kafka.delete_topic(&self.topic);
        thread::sleep(away);
        kafka.create_topic_again(&self.topic, self.setup.partitions);
        self.note("the topic is made again".into());
        self.sender.orders.unpromised.store(true, Ordering::SeqCst);
        self.new_producer(kafka);
        self.pause(false);
    }

    /// A new producer, which knows the topic as it is now.
    pub fn new_producer(&self, kafka: &Kafka) {
        let next = kafka.producer("none");
        *self.sender.orders.next.lock().expect("nobody panics while holding it") = Some(next);
    }

    /// How many values scrapes have shown so far.
    pub fn samples(&self) -> u64 {
        self.recorder.history().scrapes.iter().flat_map(|s| &s.shown).map(|s| u64::from(s.samples)).sum()
    }

    /// Lets everything settle, looks once more at every bridge that lives, and checks.
    #[track_caller]
    pub fn finish(&self, living: &[&Bridge]) -> Run {
        self.sender.orders.hold.store(true, Ordering::SeqCst);
        let held = within(LIVE, || if self.sender.orders.holding() { Ok(()) } else { Err(()) });
        assert!(held.is_ok(), "{}: the producer cannot send", self.name);
        let last = self.recorder.history().sent.iter().map(|s| s.seq).max().unwrap_or(0);
        let settled = eventually_ok(&format!("{}: every last value is shown", self.name), self.live(), || {
            let begun = self.recorder.now();
            let all = living.iter().all(|b| scrape(&b.target, None, &self.recorder).is_ok());
            let lost = self.lost(begun, last);
            if all && lost.is_empty() { Ok(begun) } else { Err(format!("lost: {lost:?}{}", logs(living))) }
        });
        let mut history = self.recorder.history().clone();
        history.settled = Some(settled);
        let stale_after = (self.setup.staleness_s + 3) * 1_000_000;
        let report = checker::check(&history, &Limits { stale_after, ..Limits::default() });
        Run { name: self.name.clone(), history, report }
    }

    /// The origins whose last value nobody has shown since.
    fn lost(&self, since: Micros, last: u64) -> Vec<u32> {
        let history = self.recorder.history();
        let scrapes = history.scrapes.iter().filter(|s| s.start >= since);
        let shown: BTreeSet<u32> = scrapes.flat_map(|s| &s.shown).filter(|s| s.seq == last).map(|s| s.origin).collect();
        (self.silent()..self.setup.origins).filter(|origin| !shown.contains(origin)).collect()
    }
}

fn logs(bridges: &[&Bridge]) -> String {
    let log = |b: &&Bridge| format!("\n--- bridge {}\n{}", b.number, b.service.process().log_tail());
    bridges.iter().map(log).collect()
}

/// A run that has ended.
pub struct Run {
    name: String,
    pub history: History,
    pub report: Report,
}

impl Run {
    /// Fails if a rule was broken.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn assert_sound(&self) {
        self.print();
        let faults: Vec<String> = self.history.faults.iter().map(|(at, what)| format!("{at} µs: {what}")).collect();
        assert!(self.report.violations.is_empty(), "{}: {}\n{}", self.name, self.report, faults.join("\n"));
        assert!(self.report.samples > 500, "{}: only {} samples", self.name, self.report.samples);
    }

    /// Says what was seen.
    pub fn print(&self) {
        let moves = self.moves();
        let mut took: Vec<u64> = moves.iter().map(|h| h.took / 1000).collect();
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied();
        let dark = checker::longest_dark(&self.history).into_values().max().unwrap_or(0) / 1000;
        eprintln!(
            "FAULTS {}: {}; {} moves, hole p50 {:?} p99 {:?} ms; longest dark {dark} ms",
            self.name,
            self.report,
            moves.len(),
            at(50),
            at(99),
        );
    }

    /// Every move of a partition.
    pub fn moves(&self) -> Vec<Hole> {
        checker::moves(&self.history)
    }

    /// Something that a test cannot go without.
    pub fn broke(&self, rule: Rule) -> bool {
        self.report.broken().contains(&rule)
    }
}

/// Reads the group's commits as an outsider, until it is dropped.
struct CommitWatch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CommitWatch {
    fn start(brokers: &str, group: &str, topic: &str, partitions: i32, recorder: &Arc<Recorder>) -> CommitWatch {
        let stop = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group).set("log_level", "0");
        let client: BaseConsumer = config.create().expect("a client");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let (told, recorder) = (Arc::clone(&stop), Arc::clone(recorder));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(200));
                let Ok(found) = client.committed_offsets(asked.clone(), Duration::from_secs(2)) else { continue };
                let read = recorder.now();
                let commits = found.elements().into_iter().filter_map(|e| match e.offset() {
                    Offset::Offset(offset) => Some(CommitRead { read, partition: e.partition(), offset }),
                    _ => None,
                });
                recorder.history().commits.extend(commits);
            }
        });
        CommitWatch { stop, thread: Some(thread) }
    }
}

impl Drop for CommitWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
