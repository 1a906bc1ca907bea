//! Clients that push without a pause, each its own groups, and send again what was not
//! acknowledged.
use crate::checker::Sending;
use crate::faults::record::Recorder;
use crate::support::http;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Of each push.
pub(crate) const SERIES: u32 = 3;
/// Between two pushes of a client.
const PAUSE: Duration = Duration::from_millis(30);

/// Clients under way.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<(u32, u64)>>>,
}

impl Clients {
    /// `count` of them push to `address`, each two groups: `instance` is the origin.
    pub(crate) fn start(count: u32, address: &str, recorder: &Arc<Recorder>) -> Clients {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..count).map(|client| {
            let (stop, recorder, address) = (stop.clone(), recorder.clone(), address.to_owned());
            thread::spawn(move || work([2 * client, 2 * client + 1], &address, &recorder, &stop))
        });
        Clients { threads: threads.collect(), stop }
    }

    /// Ends them after what they have under way; the last acknowledged push of each origin.
    pub(crate) fn end(self) -> BTreeMap<u32, u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a client does not panic")).collect()
    }
}

fn work(origins: [u32; 2], address: &str, recorder: &Recorder, stop: &AtomicBool) -> Vec<(u32, u64)> {
    let mut seq = 0;
    while !stop.load(Ordering::SeqCst) {
        seq += 1;
        for origin in origins {
            let begun = recorder.now();
            let method = if seq % 2 == 0 { "POST" } else { "PUT" };
            while !push(address, method, origin, seq) {
                thread::sleep(PAUSE);
            }
            let (acked, partition, offset, promised) = (recorder.now(), 0, 0, false);
            recorder.history().sent.push(Sending { origin, seq, begun, acked, partition, offset, promised });
        }
        thread::sleep(PAUSE);
    }
    origins.map(|origin| (origin, seq)).to_vec()
}

/// Whether it was acknowledged.
fn push(address: &str, method: &str, origin: u32, seq: u64) -> bool {
    let body: String = (0..SERIES).map(|part| format!("seq{{part=\"{part}\"}} {seq}\n")).collect();
    let url = format!("http://{address}/metrics/job/push/instance/{origin}");
    let id = format!("client-{origin};{seq}");
    let answer = http::request(method, &url, &[("k2p-id", &id)], body.as_bytes());
    match answer.map(|answer| (answer.status, answer.text())) {
        Ok((200, _)) => true,
        Ok((400..=499, why)) => panic!("origin {origin}, {seq}: {why}"),
        _ => false,
    }
}
