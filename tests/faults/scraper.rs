//! Scrapes of one bridge, at a steady pace whatever becomes of the bridge: requests
//! are sent to a frozen process too, and answered when it goes on.
use super::record::Recorder;
use crate::checker::{Route, Scrape, Sighting};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two scrapes of `/metrics` of one bridge.
const PAUSE: Duration = Duration::from_millis(50);
/// The same while answers are overdue.
const PAUSE_OVERDUE: Duration = Duration::from_millis(250);
/// More than this many under way: overdue.
const OVERDUE: u32 = 8;
/// Never more than this many under way.
const IN_FLIGHT: u32 = 60;
/// Each so many scrapes, one asks for a partition instead.
const PARTITION_EVERY: u32 = 5;
/// Between two bytes of a slow scrape.
const SLOW: Duration = Duration::from_secs(1);
/// A bridge that is frozen for longer is given up.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A thread that scrapes a bridge until it is dropped.
#[derive(Debug)]
pub struct Scraper {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Who is asked for what.
#[derive(Debug, Clone)]
pub struct Target {
    pub bridge: u32,
    pub listen: String,
    pub topic: String,
    pub partitions: i32,
    /// In each dump.
    pub series: u32,
    /// Answers are large: only what the checker reads is asked for.
    pub padded: bool,
}

impl Target {
    fn path(&self, partition: Option<i32>) -> String {
        match partition {
            None if self.padded => "/metrics?origin=%7Bjob%3D%22seq%22%7D".to_owned(),
            None => "/metrics".to_owned(),
            Some(partition) => format!("/partitions/{}/{partition}/metrics", self.topic),
        }
    }
}

impl Scraper {
    pub fn start(target: Target, recorder: &Arc<Recorder>) -> Scraper {
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Arc::new(AtomicBool::new(false));
        let (told, quiet, recorder) = (Arc::clone(&stop), Arc::clone(&pause), Arc::clone(recorder));
        let thread = thread::spawn(move || hammer(&Arc::new(target), &recorder, &told, &quiet));
        Scraper { stop, pause, thread: Some(thread) }
    }

    /// Asks nothing, or goes on.
    pub fn pause(&self, pause: bool) {
        self.pause.store(pause, Ordering::SeqCst);
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hammer(target: &Arc<Target>, recorder: &Arc<Recorder>, stop: &AtomicBool, pause: &AtomicBool) {
    let in_flight = Arc::new(AtomicU32::new(0));
    let mut asked = 0_u32;
    while !stop.load(Ordering::SeqCst) {
        let under_way = in_flight.load(Ordering::SeqCst);
        // Not in step with other scrapers, nor with a bridge's timers.
        let jitter = Duration::from_millis(u64::from(asked.wrapping_mul(7) % 13));
        thread::sleep(jitter + if under_way > OVERDUE { PAUSE_OVERDUE } else { PAUSE });
        if under_way >= IN_FLIGHT || pause.load(Ordering::SeqCst) {
            continue;
        }
        asked += 1;
        in_flight.fetch_add(1, Ordering::SeqCst);
        let (target, recorder, in_flight) = (Arc::clone(target), Arc::clone(recorder), Arc::clone(&in_flight));
        thread::spawn(move || {
            let partition = i32::try_from(asked / PARTITION_EVERY).unwrap_or(0) % target.partitions;
            let of = asked.is_multiple_of(PARTITION_EVERY).then_some(partition);
            // Nobody there, or gone in the middle: nothing was seen.
            let _ = scrape(&target, of, &recorder);
            in_flight.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One scrape, into the history if it was answered with 200; how many origins.
pub fn scrape(target: &Target, partition: Option<i32>, recorder: &Recorder) -> io::Result<usize> {
    let start = recorder.now();
    let mut stream = ask(target, &target.path(partition), "X-Prometheus-Scrape-Timeout-Seconds: 3")?;
    let mut answer = vec![0; 64 << 10];
    let first = stream.read(&mut answer)?;
    let head = recorder.now();
    answer.truncate(first);
    // A process that is killed cuts its answer: what came before was seen.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    check_status(&text)?;
    let shown = sightings(&text, target.series);
    let origins = shown.len();
    let route = if partition.is_none() { Route::Metrics } else { Route::Partition };
    recorder.history().scrapes.push(Scrape { bridge: target.bridge, route, start, head, shown });
    Ok(origins)
}

fn ask(target: &Target, path: &str, header: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(&target.listen)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the answer comes as it is and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n{header}\r\n\r\n", target.listen)?;
    Ok(stream)
}

fn check_status(text: &str) -> io::Result<()> {
    match text.get(9..12) {
        Some("200") => Ok(()),
        status => Err(io::Error::other(format!("status {status:?}"))),
    }
}

/// A scrape of everything that reads one byte a second until it is told to read on.
pub struct SlowScrape {
    read_on: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl SlowScrape {
    pub fn start(target: Target, recorder: &Arc<Recorder>) -> SlowScrape {
        let read_on = Arc::new(AtomicBool::new(false));
        let (told, recorder) = (Arc::clone(&read_on), Arc::clone(recorder));
        let thread = thread::spawn(move || scrape_slowly(&target, &recorder, &told));
        SlowScrape { read_on, thread }
    }

    /// Reads the rest; an error where the answer was cut.
    pub fn finish(self) -> io::Result<()> {
        self.read_on.store(true, Ordering::SeqCst);
        self.thread.join().expect("it does not panic")
    }
}

fn scrape_slowly(target: &Target, recorder: &Recorder, read_on: &AtomicBool) -> io::Result<()> {
    let start = recorder.now();
    // OpenMetrics says where it ends.
    let mut stream = ask(target, "/metrics", "Accept: application/openmetrics-text")?;
    let mut answer = vec![0];
    stream.read_exact(&mut answer)?;
    let head = recorder.now();
    while !read_on.load(Ordering::SeqCst) {
        thread::sleep(SLOW);
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    check_status(&text)?;
    if !text.ends_with("# EOF\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let shown = sightings(&text, target.series);
    recorder.history().scrapes.push(Scrape { bridge: target.bridge, route: Route::Metrics, start, head, shown });
    Ok(())
}

/// The origins of an exposition, each of `series` series. A last line that was cut does
/// not count.
fn sightings(text: &str, series: u32) -> Vec<Sighting> {
    let mut of_origin: BTreeMap<u32, Sighting> = BTreeMap::new();
    for line in text.split_inclusive('\n').filter(|line| line.starts_with("seq{") && line.ends_with('\n')) {
        let origin = line.split_once("instance=\"").and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok());
        let value = line.trim_end().rsplit_once(' ').and_then(|(_, value)| value.parse().ok());
        // What cannot be read was sent by nobody.
        let (origin, seq) = (origin.unwrap_or(u32::MAX), value.unwrap_or(u64::MAX));
        let seen = of_origin.entry(origin).or_insert(Sighting { origin, seq, whole: true, samples: 0 });
        seen.samples += 1;
        seen.whole &= seen.seq == seq && seen.samples <= series;
        seen.seq = seen.seq.min(seq);
    }
    of_origin.into_values().collect()
}
