//! One switch that ends the process in order, for async tasks and plain threads.
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A handle to the switch. Clones share it; once triggered it stays so.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    token: CancellationToken,
    triggered: Mutex<bool>,
    wake: Condvar,
}

impl Shutdown {
    /// A switch that nobody has triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown. Later calls change nothing.
    pub fn trigger(&self) {
        let mut triggered = self.inner.triggered.lock().unwrap_or_else(PoisonError::into_inner);
        *triggered = true;
        drop(triggered);
        self.inner.wake.notify_all();
        self.inner.token.cancel();
    }

    /// Whether the shutdown has begun.
    pub fn is_triggered(&self) -> bool {
        *self.inner.triggered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the shutdown begins; at once if it has. Cancel-safe.
    pub async fn triggered(&self) {
        self.inner.token.cancelled().await;
    }

    /// Blocks the calling thread for at most `timeout` and says whether the shutdown
    /// has begun. The interruptible sleep of plain threads; not for async code.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut triggered = self.inner.triggered.lock().unwrap_or_else(PoisonError::into_inner);
        while !*triggered {
            let left = match deadline {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            if left.is_zero() {
                return false;
            }
            triggered = match self.inner.wake.wait_timeout(triggered, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    /// Triggers on the first SIGTERM or SIGINT; a second one calls `second`, so that
    /// the binary decides how an impatient user is served. The handlers stand when
    /// this returns. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses a signal handler.
    pub fn on_signals(&self, second: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
            shutdown.trigger();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            second();
        });
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_thread_that_waits_is_woken_by_the_trigger() {
        let shutdown = Shutdown::new();
        let waiter = shutdown.clone();
        let thread = std::thread::spawn(move || waiter.wait_timeout(Duration::from_secs(600)));
        shutdown.trigger();
        assert!(thread.join().unwrap());
    }

    #[test]
    fn without_a_trigger_the_wait_ends_with_false() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.wait_timeout(Duration::from_millis(1)));
        assert!(!shutdown.wait_timeout(Duration::ZERO));
        assert!(!shutdown.is_triggered());
    }

    #[test]
    fn an_endless_wait_does_not_overflow() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        assert!(shutdown.wait_timeout(Duration::MAX));
    }

    #[tokio::test]
    async fn tasks_and_later_callers_see_the_trigger() {
        let shutdown = Shutdown::new();
        let seen = shutdown.clone();
        let task = tokio::spawn(async move { seen.triggered().await });
        shutdown.trigger();
        shutdown.trigger();
        task.await.unwrap();
        shutdown.clone().triggered().await;
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn the_first_signal_triggers_and_the_second_is_the_binarys() {
        let shutdown = Shutdown::new();
        let impatient = Arc::new(AtomicBool::new(false));
        let second = Arc::clone(&impatient);
        shutdown.on_signals(move || second.store(true, Ordering::SeqCst)).unwrap();
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::TERM).unwrap();
        shutdown.triggered().await;
        assert!(!impatient.load(Ordering::SeqCst));
        rustix::process::kill_process(me, rustix::process::Signal::INT).unwrap();
        while !impatient.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}
