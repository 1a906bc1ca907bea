//! One fault run.
use super::clock::Clock;
use super::commits::CommitWatch;
use super::producer::{Dumps, Sender, pad};
use super::record::Recorder;
pub use super::run::Run;
use super::scraper::{Scraper, SlowScrape, Target, scrape};
pub use super::setup::{Protocol, Setup};
use crate::checker::{self, Frozen, Limits, Micros};
use crate::support::kafka::{Kafka, unique};
use crate::support::poll::{eventually, eventually_ok, within};
use crate::support::process::{Service, command};
use crate::support::supervise::{Signal, new_dir};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// A partition that nobody disturbs any more is live after this and a session at the latest.
const LIVE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

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
