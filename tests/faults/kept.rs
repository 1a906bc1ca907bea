//! A client that keeps its connection and asks again as Prometheus' (Go's `net/http`): a
//! request that got no byte of an answer on a connection that had served another one is sent
//! once more on a new connection; anything else that goes wrong is a failed scrape.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two scrapes of one client.
const PAUSE: Duration = Duration::from_millis(150);
/// What a scrape may take, as its header says.
const PATIENCE: Duration = Duration::from_secs(4);

/// Clients that scrape, one for each path, until they are told to end.
pub struct Kept {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Kept {
    /// `address` is `HOST:PORT`.
    pub fn start(address: &str, paths: &[String]) -> Kept {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |path: &String| {
            let (address, path, stop) = (address.to_owned(), path.clone(), stop.clone());
            thread::spawn(move || scrape(&address, &path, &stop))
        };
        let clients = paths.iter().map(client).collect();
        Kept { stop, clients }
    }

    /// What failed, of all clients.
    pub fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.drain(..).flat_map(|client| client.join().expect("no client panics")).collect()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn scrape(address: &str, path: &str, stop: &AtomicBool) -> Vec<String> {
    let (mut kept, mut failed) = (None, Vec::new());
    while !stop.load(Ordering::SeqCst) {
        match ask(&mut kept, address, path) {
            Ok(200) => {}
            Ok(status) => failed.push(format!("{path}: {status}")),
            Err(error) => failed.push(format!("{path}: {error}")),
        }
        thread::sleep(PAUSE);
    }
    failed
}

/// The status. The connection is kept where the server keeps it.
fn ask(kept: &mut Option<BufReader<TcpStream>>, address: &str, path: &str) -> io::Result<u16> {
    if let Some(mut stream) = kept.take()
        && begin(&mut stream, address, path).is_ok()
    {
        return finish(kept, stream);
    }
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    begin(&mut stream, address, path)?;
    finish(kept, stream)
}

/// Up to the first byte of the answer.
fn begin(stream: &mut BufReader<TcpStream>, address: &str, path: &str) -> io::Result<()> {
    let seconds = PATIENCE.as_secs();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nX-Prometheus-Scrape-Timeout-Seconds: {seconds}\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes())?;
    if stream.fill_buf()?.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
    }
    Ok(())
}

fn finish(kept: &mut Option<BufReader<TcpStream>>, mut stream: BufReader<TcpStream>) -> io::Result<u16> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let status = line(&mut stream)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| broken("no status"))?;
    let (mut length, mut close) = (None, false);
    loop {
        let header = line(&mut stream)?.to_ascii_lowercase();
        match header.split_once(": ") {
            _ if header.is_empty() => break,
            Some(("content-length", value)) => length = value.parse::<u64>().ok(),
            Some(("connection", "close")) => close = true,
            _ => {}
        }
    }
    match length {
        Some(length) => skip(&mut stream, length)?,
        None => loop {
            let size = line(&mut stream)?;
            let size = u64::from_str_radix(&size, 16).map_err(|_| broken("no chunk"))?;
            skip(&mut stream, size)?;
            line(&mut stream)?;
            if size == 0 {
                break;
            }
        },
    }
    if !close {
        *kept = Some(stream);
    }
    Ok(status)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within the answer"));
    }
    Ok(line.trim_end().to_owned())
}

fn skip(stream: &mut BufReader<TcpStream>, length: u64) -> io::Result<()> {
    if io::copy(&mut stream.take(length), &mut io::sink())? < length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within the body"));
    }
    Ok(())
}
