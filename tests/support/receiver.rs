//! What Alertmanager posts to: a receiver inside the test.
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Post {
    /// Path of the URL.
    pub path: String,
    /// The header `Authorization`, empty if it is not there.
    pub authorization: String,
    /// The body.
    pub json: Value,
    /// Its length in bytes.
    pub bytes: usize,
    /// The status that it was answered with.
    pub status: u16,
}

/// A server on loopback that keeps what is posted to it.
pub struct Receiver {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    posts: Vec<Post>,
    /// Path → statuses to answer with next; then 200.
    answers: BTreeMap<String, Vec<u16>>,
}

impl Receiver {
    /// Listens on a port that the system chooses, until the test process ends.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let kept = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever posts may hang up first.
                let _ = serve(stream, &kept);
            }
        });
        Receiver { address, state }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next posts to a path are answered so, those after them 200.
    pub fn answer(&self, path: &str, statuses: &[u16]) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), statuses.to_vec());
    }

    /// What was posted to a path so far.
    pub fn posts(&self, path: &str) -> Vec<Post> {
        let state = self.state.lock().unwrap();
        state.posts.iter().filter(|post| post.path == path).cloned().collect()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("").to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = keep(state, path, authorization, &body);
    // As Slack answers; what PagerDuty says in its body, Alertmanager does not read.
    write!(
        stream,
        "HTTP/1.1 {status} -\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    )
}

fn keep(state: &Mutex<State>, path: String, authorization: String, body: &[u8]) -> u16 {
    let mut state = state.lock().unwrap();
    let queued = state.answers.get_mut(&path).filter(|queue| !queue.is_empty()).map(|queue| queue.remove(0));
    let status = queued.unwrap_or(200);
    let json = serde_json::from_slice(body).unwrap_or(Value::Null);
    state.posts.push(Post { path, authorization, json, bytes: body.len(), status });
    status
}
