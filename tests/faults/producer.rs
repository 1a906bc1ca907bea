//! Origins that send one growing value.
use super::record::Recorder;
use crate::checker::Sending;
use crate::support::kafka_clients::{Producer, Record};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two rounds of dumps.
const ROUND: Duration = Duration::from_millis(150);

/// What others tell the producer.
#[derive(Default)]
pub struct Orders {
    /// Sends the last value again and again: nothing is new any more.
    pub hold: AtomicBool,
    /// Origins below this number are silent.
    pub silent_below: AtomicU32,
    /// Sends nothing.
    pub pause: AtomicBool,
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
}

/// A thread that sends until it is dropped.
pub struct Sender {
    pub orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    pub fn start(producer: Producer, topic: &str, origins: u32, recorder: &Arc<Recorder>) -> Sender {
        let orders = Arc::new(Orders::default());
        let (told, recorder, topic) = (Arc::clone(&orders), Arc::clone(recorder), topic.to_owned());
        let thread = thread::spawn(move || send(producer, &topic, origins, &recorder, &told));
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

fn send(mut producer: Producer, topic: &str, origins: u32, recorder: &Recorder, orders: &Orders) {
    let mut seq = 0;
    while !orders.stop.load(Ordering::SeqCst) {
        thread::sleep(ROUND);
        if orders.pause.load(Ordering::SeqCst) {
            continue;
        }
        if let Some(next) = orders.next.lock().expect("nobody panics while holding it").take() {
            producer = next;
        }
        let hold = orders.hold.load(Ordering::SeqCst);
        seq += u64::from(!hold || seq == 0);
        let living: Vec<u32> = (orders.silent_below.load(Ordering::SeqCst)..origins).collect();
        let records: Vec<Record> = living.iter().map(|origin| dump(*origin, seq)).collect();
        let begun = recorder.now();
        let places = producer.send(topic, &records);
        let acked = recorder.now();
        let sent = living.iter().zip(places);
        let sent = sent.map(|(&origin, (partition, offset))| Sending { origin, seq, begun, acked, partition, offset });
        recorder.history().sent.extend(sent);
        orders.holding.store(hold, Ordering::SeqCst);
    }
}

/// Two series of one value: a mix of two dumps would show.
fn dump(origin: u32, seq: u64) -> Record {
    let key = format!(r#"cluster="acme",instance="{origin}",job="seq""#);
    let body = format!("# TYPE seq gauge\nseq{{of=\"one\"}} {seq}\nseq{{of=\"two\"}} {seq}\n");
    Record::new(&key, body).header("content-type", "text/plain; version=0.0.4")
}
