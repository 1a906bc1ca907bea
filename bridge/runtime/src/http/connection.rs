//! One connection's clock: a stream that ends itself when its peer is too slow.
//!
//! A connection is *reading a head*, *busy* with requests, or *idle* between two. Each
//! state has its own patience, and so has a write that the peer does not take. How long an
//! answer may wait for its reader is a rule of its own ([`Activity::overdue`]).
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{BoxBody, BoxError, HttpLimits};

/// An answer is handed on in pieces of this size, so that its reader's pace shows, and
/// HTTP/2 holds no more than this of each answer. Small enough to be taken within the
/// patience at the least pace.
const PIECE: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for the rest of a request's head.
    Head,
    /// Requests are being answered: the service has its own deadlines.
    Busy,
    /// Between two requests.
    Idle,
}

/// What a connection is doing, shared between its stream and its requests.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// HTTP/2: bytes between two requests may belong to neither.
    multiplexed: bool,
    /// The requests that are answered, by number.
    turns: HashMap<u64, Reading>,
    next: u64,
    /// The reading task, if it waits without a timer because of a request.
    reader: Option<Waker>,
}

/// How the reader of one answer does.
#[derive(Debug, Default)]
struct Reading {
    taken: u64,
    /// How long it was waited for so far …
    waited: Duration,
    /// … and since when it is waited for now.
    waiting: Option<Instant>,
}

impl Activity {
    /// A fresh connection owes its first head.
    pub(super) fn new() -> Self {
        let state = State {
            phase: Phase::Head,
            since: Instant::now(),
            multiplexed: false,
            turns: HashMap::new(),
            next: 0,
            reader: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is HTTP/2 that is spoken.
    pub(super) fn multiplex(&self) {
        self.lock().multiplexed = true;
    }

    /// A request's head has arrived.
    pub(super) fn begin_request(&self) -> Turn {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.turns.insert(number, Reading::default());
        state.set(Phase::Busy);
        Turn { activity: self.clone(), number }
    }

    /// Whether an answer has waited for its reader for longer than `patience` at once, or in
    /// all for longer than that and the time that what was taken is worth at `pace` bytes a
    /// second. The time in which the answer
    /// was made does not count: an honest reader of a slow scrape is never overdue.
    pub(super) fn overdue(&self, patience: Duration, pace: u32) -> bool {
        let (state, now) = (self.lock(), Instant::now());
        state.turns.values().any(|reading| {
            let waiting = reading.waiting.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            // Whole seconds of u64 bytes: exact enough for a patience.
            let worth = Duration::from_secs(reading.taken / u64::from(pace.max(1)));
            waiting > patience || reading.waited + waiting > patience + worth
        })
    }
}

impl State {
    fn set(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A request under way, from its head to the end of its answer, whichever way that comes.
pub(super) struct Turn {
    activity: Activity,
    number: u64,
}

impl Turn {
    /// Ties the end of the request to the end of its response's body.
    pub(super) fn track(self, body: BoxBody) -> TrackedBody {
        TrackedBody { body, rest: Bytes::new(), turn: self }
    }

    /// The reader asks for more.
    fn asked(&self) {
        if let Some(reading) = self.activity.lock().turns.get_mut(&self.number) {
            let since = reading.waiting.take();
            reading.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
        }
    }

    /// It was given so many bytes.
    fn gave(&self, bytes: usize) {
        if let Some(reading) = self.activity.lock().turns.get_mut(&self.number) {
            reading.taken += bytes as u64;
            reading.waiting = Some(Instant::now());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.turns.remove(&self.number);
        if state.turns.is_empty() {
            state.set(Phase::Idle);
        }
    }
}

/// A response body whose end makes its connection idle.
pub(super) struct TrackedBody {
    body: BoxBody,
    /// What is left of a piece that was too large to be given at once.
    rest: Bytes,
    turn: Turn,
}

impl TrackedBody {
    fn give(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.turn.gave(piece.len());
        Frame::data(piece)
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.turn.asked();
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.give())));
        }
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else { return Poll::Pending };
        let Some(Ok(frame)) = next else { return Poll::Ready(next) };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.give()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// A timer that is made when it is first needed.
#[derive(Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// Whether `at` has passed; if not, the task is woken then.
    fn poll_passed(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

/// A stream with the patience of [`HttpLimits`].
pub(super) struct TimedStream<S> {
    stream: S,
    activity: Activity,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    read_deadline: Deadline,
    write_deadline: Deadline,
    /// Since when the peer has taken nothing, while something waits to be written.
    stalled_since: Option<Instant>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, activity: Activity, limits: &HttpLimits) -> Self {
        Self {
            stream,
            activity,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
            stalled_since: None,
        }
    }

    /// Lets a write that got through, or does not, move the stall clock.
    fn watch<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled_since = None;
            return result;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        if self.write_deadline.poll_passed(since + self.write_timeout, cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "write timeout")));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let mut state = this.activity.lock();
        let (phase, since) = (state.phase, state.since);
        if result.is_ready() {
            if phase == Phase::Idle && !state.multiplexed && buf.filled().len() > before {
                state.phase = Phase::Head;
                state.since = Instant::now();
            }
            return result;
        }
        let patience = match phase {
            Phase::Busy => {
                // The end of the request wakes the task, to wait with a timer from then on.
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Phase::Head => this.header_timeout,
            Phase::Idle => this.idle_timeout,
        };
        drop(state);
        if !this.read_deadline.poll_passed(since + patience, cx) {
            return Poll::Pending;
        }
        if phase == Phase::Idle {
            // The end of the stream: an idle connection is closed without a complaint.
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "header timeout")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(result, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
