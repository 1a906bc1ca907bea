//! Samples into a Prometheus by remote write 1.0: a protobuf message, snappy.
use super::world::Line;
use crate::support::http;

/// Series of one request.
const SERIES: usize = 5_000;

/// Writes to one Prometheus.
pub(crate) struct Writer {
    url: String,
}

impl Writer {
    /// `base`: `http://HOST:PORT`.
    pub(crate) fn new(base: &str) -> Writer {
        Writer { url: format!("{base}/api/v1/write") }
    }

    /// Writes a sample of each series at each of the times (Unix seconds, ascending).
    ///
    /// # Panics
    /// Where Prometheus refuses them.
    pub(crate) fn samples<'a>(&self, lines: impl Iterator<Item = &'a Line>, times: &[u64]) -> usize {
        let (mut request, mut series, mut count) = (Vec::new(), 0, 0);
        for line in lines {
            let message = one(line, times);
            field(&mut request, 1, &message);
            series += 1;
            count += times.len();
            if series == SERIES {
                self.send(&request);
                request.clear();
                series = 0;
            }
        }
        self.send(&request);
        count
    }

    fn send(&self, request: &[u8]) {
        if request.is_empty() {
            return;
        }
        let body = snap::raw::Encoder::new().compress_vec(request).unwrap();
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        let answer = http::request("POST", &self.url, &headers, &body).unwrap();
        assert!(answer.status / 100 == 2, "{}", answer.text());
    }
}

/// A `TimeSeries`.
fn one(line: &Line, times: &[u64]) -> Vec<u8> {
    let mut message = line.labels.clone();
    for at in times {
        let mut sample = vec![0x09];
        sample.extend_from_slice(&line.value(*at).to_le_bytes());
        sample.push(0x10);
        varint(&mut sample, at * 1000);
        field(&mut message, 2, &sample);
    }
    message
}

/// Appends a length-delimited field.
pub(crate) fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
