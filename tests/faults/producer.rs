//! Origins that send one growing value.
use super::record::Recorder;
use crate::checker::Sending;
use crate::support::kafka_clients::{Producer, Record};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a line of [`pad`] in an answer, which has the origin's labels.
const PAD_LINE: usize = 65;
/// Between two rounds of dumps.
const ROUND: Duration = Duration::from_millis(150);

/// What is sent in each round.
#[derive(Debug, Clone, Copy)]
pub struct Dumps {
    /// One dump each.
    pub origins: u32,
    /// In each dump, all of one value.
    pub series: u32,
}

/// What others tell the producer.
#[derive(Default)]
pub struct Orders {
    /// Sends the last value again and again: nothing is new any more.
    pub hold: AtomicBool,
    /// Origins below this number are silent.
    pub silent_below: AtomicU32,
    /// Sends nothing.
    pub pause: AtomicBool,
    /// Nothing is under way either.
    paused: AtomicBool,
    /// Seconds by which the producer's clock is ahead.
    pub clock: AtomicI64,
    /// Of what is sent from now on nothing is promised when it is committed.
    pub unpromised: AtomicBool,
    stop: AtomicBool,
    /// Takes the place of the producer: one that knows of more partitions.
    pub next: Mutex<Option<Producer>>,
    /// The last round was acknowledged under `hold`.
    holding: AtomicBool,
}

impl Orders {
    pub fn holding(&self) -> bool {
        self.holding.load(Ordering::SeqCst)
    }

    pub fn paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }
}

/// A thread that sends until it is dropped.
pub struct Sender {
    pub orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    pub fn start(producer: Producer, topic: &str, made_of: Dumps, recorder: &Arc<Recorder>) -> Sender {
        let orders = Arc::new(Orders::default());
        let (told, recorder, topic) = (Arc::clone(&orders), Arc::clone(recorder), topic.to_owned());
        let thread = thread::spawn(move || send(producer, &topic, made_of, &recorder, &told));
        Sender { orders, thread: Some(thread) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Its panic is the test's; while one unwinds already, once is enough.
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the producer failed");
        }
    }
}

fn send(mut producer: Producer, topic: &str, made_of: Dumps, recorder: &Recorder, orders: &Orders) {
    let mut seq = 0;
    while !orders.stop.load(Ordering::SeqCst) {
        thread::sleep(ROUND);
        let pause = orders.pause.load(Ordering::SeqCst);
        orders.paused.store(pause, Ordering::SeqCst);
        if pause {
            continue;
        }
        if let Some(next) = orders.next.lock().expect("nobody panics while holding it").take() {
            producer = next;
        }
        let hold = orders.hold.load(Ordering::SeqCst);
        seq += u64::from(!hold || seq == 0);
        let living: Vec<u32> = (orders.silent_below.load(Ordering::SeqCst)..made_of.origins).collect();
        let clock = orders.clock.load(Ordering::SeqCst);
        let records: Vec<Record> = living.iter().map(|origin| dump(*origin, seq, made_of.series, clock)).collect();
        let begun = recorder.now();
        let places = producer.send(topic, &records);
        let acked = recorder.now();
        let promised = !orders.unpromised.load(Ordering::SeqCst);
        let sent = living.iter().zip(places);
        let sent = sent.map(|(&origin, (partition, offset))| Sending {
            origin,
            seq,
            begun,
            acked,
            partition,
            offset,
            promised,
        });
        recorder.history().sent.extend(sent);
        orders.holding.store(hold, Ordering::SeqCst);
    }
}

/// Series of one value: a mix of two dumps would show. A clock that is right is not
/// written down: the record's own time counts.
fn dump(origin: u32, seq: u64, series: u32, clock: i64) -> Record {
    let key = format!(r#"cluster="acme",instance="{origin}",job="seq""#);
    let mut body = "# TYPE seq gauge\n".to_owned();
    for n in 0..series {
        writeln!(body, "seq{{of=\"{n}\"}} {seq}").expect("strings can be written");
    }
    let record = Record::new(&key, body).header("content-type", "text/plain; version=0.0.4");
    if clock == 0 {
        return record;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis();
    let now = i64::try_from(now).expect("milliseconds of this century") + clock * 1000;
    record.header("k2p-time", now.to_string())
}

/// Origins that are sent once, each of about this many bytes: they make answers large.
pub fn pad(producer: &Producer, topic: &str, partitions: i32, bytes: usize) {
    for n in 0..partitions {
        let mut body = "# TYPE pad gauge\n".to_owned();
        for series in 0..bytes / PAD_LINE {
            writeln!(body, "pad{{of=\"{series:08}\"}} 1").expect("strings can be written");
        }
        let key = format!(r#"cluster="acme",instance="pad-{n}",job="pad""#);
        producer.send(topic, &[Record::new(&key, body).on_partition(n)]);
    }
}
