//! Planned handovers while dumps flow: what the scrapes of all bridges showed, by their
//! times, must be explicable with one owner at a time and values that never go back.
use crate::support::bridge::sum;
use crate::support::http;
use crate::support::kafka::{Kafka, unique};
use crate::support::kafka_clients::Record;
use crate::support::poll::{eventually, eventually_ok};
use crate::support::process::Service;
use crate::support::skip::require;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 6;
const ORIGINS: i32 = 12;
/// Between two rounds of dumps, and between two scrapes.
const PACE: Duration = Duration::from_millis(50);

/// One scrape: which bridge, when, and `tick` by origin.
struct Scrape {
    bridge: usize,
    begun: Instant,
    ended: Instant,
    ticks: BTreeMap<String, u64>,
}

/// Dumps that flow, and watchers of every bridge.
struct Flow {
    stop: Arc<AtomicBool>,
    tick: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Scrape>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Flow {
    fn start(kafka: &'static Kafka, topic: &str) -> Flow {
        let (stop, tick) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let producer = {
            let (stop, tick, topic) = (stop.clone(), tick.clone(), topic.to_owned());
            thread::spawn(move || {
                let producer = kafka.producer("none");
                while !stop.load(Ordering::SeqCst) {
                    let number = tick.load(Ordering::SeqCst) + 1;
                    let record = |n| {
                        let key = format!("cluster=\"acme\",job=\"j{n}\"");
                        Record::new(&key, format!("tick {number}\n")).on_partition(n % PARTITIONS)
                    };
                    producer.send(&topic, &(0..ORIGINS).map(record).collect::<Vec<_>>());
                    tick.store(number, Ordering::SeqCst);
                    thread::sleep(PACE);
                }
            })
        };
        Flow { stop, tick, seen: Arc::default(), threads: vec![producer] }
    }

    fn watch(&mut self, number: usize, bridge: &Service) {
        let (stop, seen) = (self.stop.clone(), self.seen.clone());
        let url = bridge.url("/metrics?origin=%7Bcluster%3D%22acme%22%7D");
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let begun = Instant::now();
                // A bridge that has ended does not answer.
                let answer = http::get(&url, &[]).ok().filter(|answer| answer.status == 200);
                if let Some(answer) = answer {
                    let scrape = Scrape { bridge: number, begun, ended: Instant::now(), ticks: ticks(&answer.text()) };
                    seen.lock().unwrap().push(scrape);
                }
                thread::sleep(PACE);
            }
        }));
    }

    /// The number of the last round that Kafka has wholly.
    fn tick(&self) -> u64 {
        self.tick.load(Ordering::SeqCst)
    }

    fn end(mut self) -> Vec<Scrape> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn ticks(exposition: &str) -> BTreeMap<String, u64> {
    let lines = exposition.lines().filter_map(|line| line.strip_prefix("tick{")?.rsplit_once(' '));
    lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

/// Waits until the bridges together show every origin once, at a round after now.
#[track_caller]
fn wait_whole(flow: &Flow, bridges: &[&Service]) {
    let since = flow.tick();
    eventually_ok("every origin is shown, by one bridge, and goes on", LONG, || {
        let shown: Vec<_> = bridges.iter().map(|bridge| ticks(&bridge.scrape())).collect();
        let all: Vec<_> = shown.iter().flatten().collect();
        let fresh = all.iter().filter(|(_, tick)| **tick > since).count();
        let origins: BTreeSet<_> = all.iter().map(|(origin, _)| origin).collect();
        let whole = usize::try_from(ORIGINS).unwrap();
        if (fresh, all.len(), origins.len()) == (whole, whole, whole) && shown.iter().all(|ticks| !ticks.is_empty()) {
            return Ok(());
        }
        Err(format!("after round {since}: {shown:?}"))
    });
}

/// G1: no scrape that begins after another has ended shows an older value.
fn values_never_go_back(seen: &[Scrape], origin: &str) {
    let mut shown: Vec<(Instant, Instant, u64, usize)> = seen
        .iter()
        .filter_map(|scrape| Some((scrape.begun, scrape.ended, *scrape.ticks.get(origin)?, scrape.bridge)))
        .collect();
    shown.sort_by_key(|(_, ended, ..)| *ended);
    for (begun, _, tick, bridge) in &shown {
        let before = shown.iter().take_while(|(_, ended, ..)| ended <= begun);
        if let Some((_, _, newest, earlier)) = before.max_by_key(|(_, _, tick, _)| *tick) {
            assert!(newest <= tick, "{origin}: bridge {earlier} showed {newest}, then bridge {bridge} {tick}");
        }
    }
}

/// No bridge shows an origin, then another one, then the first again: partitions move
/// from bridge to bridge here, but never back, so that is two owners at a time.
fn one_owner_at_a_time(seen: &[Scrape], origin: &str) -> usize {
    let shown: Vec<&Scrape> = seen.iter().filter(|scrape| scrape.ticks.contains_key(origin)).collect();
    let mut spans: BTreeMap<usize, (Instant, Instant)> = BTreeMap::new();
    for scrape in &shown {
        let (first_ended, last_begun) = spans.entry(scrape.bridge).or_insert((scrape.ended, scrape.begun));
        *first_ended = scrape.ended.min(*first_ended);
        *last_begun = scrape.begun.max(*last_begun);
    }
    for scrape in shown {
        for (other, (first_ended, last_begun)) in spans.iter().filter(|(other, _)| **other != scrape.bridge) {
            let between = *first_ended <= scrape.begun && scrape.ended <= *last_begun;
            assert!(!between, "{origin}: bridge {} shows it between two scrapes of bridge {other}", scrape.bridge);
        }
    }
    spans.len()
}

#[test]
fn a_stop_a_start_and_a_drain_lose_no_origin_and_never_show_two_owners() {
    let Some(kafka) = require(Kafka::shared()) else { return };
    let (topic, group) = (unique("handover"), unique("bridges"));
    kafka.create_topic(&topic, PARTITIONS, &[]);
    let bridge = || Service::bridge(kafka, &group, &topic, &["--web.enable-admin-api"]);
    let (a, b) = (bridge(), bridge());
    // Whoever joined first had all of them: what it gives away now may come back to it.
    eventually("each has its half", LONG, || {
        let half = |bridge: &Service| {
            let live = [("state", "live")];
            sum(&bridge.scrape(), "kafka2prom_partition_state", &live) == Some(f64::from(PARTITIONS / 2))
        };
        (half(&a) && half(&b)).then_some(())
    });
    let mut flow = Flow::start(kafka, &topic);
    flow.watch(0, &a);
    flow.watch(1, &b);
    wait_whole(&flow, &[&a, &b]);

    assert_eq!(a.stop(), 0, "{}", a.process().log_tail());
    wait_whole(&flow, &[&b]);

    let c = bridge();
    flow.watch(2, &c);
    wait_whole(&flow, &[&b, &c]);

    let drained = b.send("POST", "/-/drain");
    assert_eq!(drained.status, 200, "{}", drained.text());
    let not_ready = b.get("/-/ready").unwrap();
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.text().contains("handing its partitions over"), "{}", not_ready.text());
    wait_whole(&flow, &[&c]);
    assert_eq!(ticks(&b.scrape()), BTreeMap::new());
    assert_eq!(b.own("kafka2prom_partition_state", &[("state", "live")]), 0.0);
    assert_eq!(b.process().exit_code(), None, "a drained bridge goes on");
    eventually("the one that is left is ready", LONG, || c.ready().ok());

    let last = flow.tick();
    let seen = flow.end();
    let origins: BTreeSet<String> = seen.iter().flat_map(|scrape| scrape.ticks.keys().cloned()).collect();
    assert_eq!(origins.len(), usize::try_from(ORIGINS).unwrap());
    let owners = origins.iter().map(|origin| {
        values_never_go_back(&seen, origin);
        one_owner_at_a_time(&seen, origin)
    });
    assert!(owners.max() >= Some(2), "nothing moved: this test saw no handover");
    eventually_ok("the last dumps are shown", LONG, || {
        let shown = ticks(&c.scrape());
        if origins.iter().all(|o| shown.get(o) >= Some(&last)) { Ok(()) } else { Err(format!("{last}: {shown:?}")) }
    });
    // Both were told by markers; nobody waited out a lease or lost its proof.
    for bridge in [&b, &c] {
        assert_eq!(bridge.own("kafka2prom_fences_total", &[]), 0.0);
    }
    let planned = sum(&c.scrape(), "kafka2prom_handover_seconds_count", &[("kind", "crash"), ("phase", "total")]);
    assert_eq!(planned.unwrap_or(0.0), 0.0, "a handover that was planned counts as a crash");
}
