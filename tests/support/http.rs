//! Asking the processes under test, as a scraper or a person would.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Larger answers are a test's mistake.
const MAX_BODY: u64 = 512 << 20;

/// An answer, as it came: not decompressed, redirects not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case; of repeated headers the last.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// GET with headers. An error where nobody answers (any status is an answer).
pub fn get(url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
    request("GET", url, headers, b"")
}

/// Any method, with a body.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(TIMEOUT))
        // A connection per request: a kept one hides a server's restart.
        .max_idle_connections(0)
        .proxy(None)
        .allow_non_standard_methods(true)
        .build();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).map_err(|e| e.to_string())?;
    let mut answer = ureq::Agent::new_with_config(config).run(request).map_err(|e| format!("{url}: {e}"))?;
    let body = answer.body_mut().with_config().limit(MAX_BODY).read_to_vec().map_err(|e| format!("{url}: {e}"))?;
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
    Ok(Answer { status: answer.status().as_u16(), headers: headers.collect(), body })
}

/// Asks like [`get`] over plain HTTP/1.1, but reads the answer byte by byte with
/// `pause` after each, until `bytes` were read or it ends. Gives what was read,
/// head included.
pub fn get_slowly(host_port: &str, path: &str, pause: Duration, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(host_port)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host_port}\r\nConnection: close\r\n\r\n")?;
    let mut read = Vec::new();
    let mut byte = [0];
    while read.len() < bytes && stream.read(&mut byte)? == 1 {
        read.push(byte[0]);
        thread::sleep(pause);
    }
    Ok(read)
}
