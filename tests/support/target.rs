//! An exporter inside the test, and what a scrape shows.
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// An exporter in the test: shows a page, or hangs up on whoever asks.
pub struct Target {
    address: String,
    page: Arc<Mutex<Option<String>>>,
    accept: Arc<Mutex<Option<String>>>,
}

impl Target {
    /// Listens on a port that the system chooses, until the test process ends.
    pub fn start(page: &str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let page = Arc::new(Mutex::new(Some(page.to_owned())));
        let (shown, accept) = (page.clone(), Arc::new(Mutex::new(None)));
        let heard = accept.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let page = shown.lock().unwrap().clone();
                // Whoever asks may hang up first.
                let _ = page.map(|page| answer(stream, &page, &heard));
            }
        });
        Target { address, page, accept }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The header `Accept` of the last request.
    pub fn accept(&self) -> Option<String> {
        self.accept.lock().unwrap().clone()
    }

    /// From now on it shows this; `None`: it hangs up.
    pub fn show(&self, page: Option<&str>) {
        *self.page.lock().unwrap() = page.map(str::to_owned);
    }
}

fn answer(mut stream: TcpStream, page: &str, heard: &Mutex<Option<String>>) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("accept")
        {
            *heard.lock().unwrap() = Some(value.trim().to_owned());
        }
        line.clear();
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    )
}

/// Whether a page has a sample with these labels, whatever else it has, and this value.
pub fn shows(page: &str, name: &str, labels: &[&str], value: &str) -> bool {
    page.lines().any(|line| {
        let Some((series, found)) = line.rsplit_once(' ') else { return false };
        series.starts_with(&format!("{name}{{")) && found == value && labels.iter().all(|l| series.contains(l))
    })
}
