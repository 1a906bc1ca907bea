//! From sources to the body of a response: rendered on a blocking thread, compressed
//! as it goes, handed on in chunks through a bounded channel.
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, header};
use k2p_core::exposition::{self, Format, Summary};
use k2p_core::merge::Sources;
use k2p_core::negotiate::{self, Coding};
use k2p_runtime::http::{BoxBody, BoxError, empty};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::Exposer;
use super::deadline::Deadline;
use super::respond;
use super::scrape::Hold;

/// Chunks (of about 64 KB before compression) that wait for a slow reader.
const CHUNKS_WAITING: usize = 4;
/// Compressed bytes are handed on from this size.
const PIECE_BYTES: usize = 32 * 1024;
/// Scrapes come every few seconds and live for one: speed counts more than size.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// What makes the sources of an exposition; runs on the blocking thread.
pub(super) type Collect = Box<dyn FnOnce() -> Sources + Send>;
/// What is done with the summary of one that was written to its end.
pub(super) type Done = Box<dyn FnOnce(&Summary) + Send>;

/// Answers a scrape with an exposition. `hold` ends with its last byte.
pub(super) async fn answer(
    exposer: &Exposer,
    parts: &Parts,
    deadline: Deadline,
    hold: Hold,
    collect: Collect,
    done: Option<Done>,
) -> Response<BoxBody> {
    let format = negotiate::format(joined(&parts.headers, header::ACCEPT).as_deref());
    let accepted = joined(&parts.headers, header::ACCEPT_ENCODING);
    let encoding = negotiate::coding(accepted.as_deref());
    let mut response = Response::new(empty());
    describe(response.headers_mut(), format, encoding);
    if parts.method == Method::HEAD {
        return response;
    }
    let turn = tokio::time::timeout(deadline.left(), exposer.rendering.clone().acquire_owned());
    let Ok(Ok(turn)) = turn.await else {
        return respond::unavailable("Busy", "Too many scrapes are being answered; try again.");
    };
    let (tx, rx) = mpsc::channel(CHUNKS_WAITING);
    let whole = Arc::new(AtomicBool::new(false));
    *response.body_mut() = Rendered { rx, whole: whole.clone() }.boxed_unsync();
    let pipe = Pipe {
        tx,
        handle: Handle::current(),
        until: (Instant::now() + exposer.config.send_timeout).into(),
    };
    // Not awaited: the body is read while it is written. If it panics, `whole` stays
    // false and the reader sees the connection break.
    drop(tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let sources = collect();
        match write(&sources, format, encoding, &pipe) {
            Some(summary) => {
                whole.store(true, Ordering::Release);
                if let Some(done) = done {
                    done(&summary);
                }
            }
            None => hold.aborted(),
        }
    }));
    response
}

/// A header that may come several times, as one list.
fn joined(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn describe(headers: &mut HeaderMap, format: Format, encoding: Coding) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(name) = encoding.as_str() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
}

/// `None` if the reader went away.
fn write(sources: &Sources, format: Format, encoding: Coding, pipe: &Pipe) -> Option<Summary> {
    let mut compressor = Compressor::new(encoding).ok()?;
    let summary = exposition::write(sources, format, &mut |chunk| {
        match compressor.push(chunk) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(piece)) => pipe.send(piece),
            Err(_) => ControlFlow::Break(()),
        }
    });
    if summary.stopped {
        return None;
    }
    let last = compressor.finish().ok()?;
    (last.is_empty() || pipe.send(last).is_continue()).then_some(summary)
}

/// The writing end of a body.
struct Pipe {
    tx: mpsc::Sender<Bytes>,
    handle: Handle,
    until: tokio::time::Instant,
}

impl Pipe {
    /// Waits for the reader, but not longer than `until`.
    fn send(&self, piece: Bytes) -> ControlFlow<()> {
        let sent = self.handle.block_on(timeout_at(self.until, self.tx.send(piece)));
        match sent {
            Ok(Ok(())) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

/// The reading end. A body that ends before `whole` is set ends with an error: a text
/// exposition that was cut off would else pass for a whole one.
struct Rendered {
    rx: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
}

impl Body for Rendered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let whole = &self.whole.clone();
        self.rx.poll_recv(cx).map(|piece| match piece {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if whole.load(Ordering::Acquire) => None,
            None => Some(Err("the exposition was broken off".into())),
        })
    }
}

enum Compressor {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    fn new(encoding: Coding) -> io::Result<Compressor> {
        Ok(match encoding {
            Coding::Identity => Compressor::Identity,
            Coding::Gzip => {
                Compressor::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Coding::Zstd => {
                Compressor::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?)
            }
        })
    }

    /// Takes a chunk; gives a piece once there is enough.
    fn push(&mut self, chunk: Bytes) -> io::Result<Option<Bytes>> {
        let out = match self {
            Compressor::Identity => return Ok(Some(chunk)),
            Compressor::Gzip(gzip) => {
                gzip.write_all(&chunk)?;
                gzip.get_mut()
            }
            Compressor::Zstd(zstd) => {
                zstd.write_all(&chunk)?;
                zstd.get_mut()
            }
        };
        Ok((out.len() >= PIECE_BYTES).then(|| Bytes::from(std::mem::take(out))))
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Compressor::Identity => Vec::new(),
            Compressor::Gzip(gzip) => gzip.finish()?,
            Compressor::Zstd(zstd) => zstd.finish()?,
        }))
    }
}

/// A body that another one makes, with what must last as long as it, and an end.
pub(super) struct Passed {
    body: BoxBody,
    until: Pin<Box<tokio::time::Sleep>>,
    _hold: Hold,
}

impl Passed {
    /// Lets `body` take at most `patience`.
    pub(super) fn body(body: BoxBody, patience: Duration, hold: Hold) -> BoxBody {
        let until = Box::pin(tokio::time::sleep(patience));
        Passed { body, until, _hold: hold }.boxed_unsync()
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the owner's answer took too long".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}
