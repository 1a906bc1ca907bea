//! Waiting for a condition, never for a while.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks: short beside anything that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// Sets a flag at the end of its block, however that ends: threads of a scope that wait for
/// it would else hold up a panic for ever.
pub struct AtEnd<'a>(pub &'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Asks `probe` until it gives something; panics with `what` after `timeout`.
#[track_caller]
pub fn eventually<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    match within(timeout, || probe().ok_or(())) {
        Ok(found) => found,
        Err(()) => panic!("not within {timeout:?}: {what}"),
    }
}

/// Like [`eventually`], for a probe that says what it saw instead: its last
/// complaint is part of the panic's message.
#[track_caller]
pub fn eventually_ok<T>(what: &str, timeout: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    match within(timeout, probe) {
        Ok(found) => found,
        Err(last) => panic!("not within {timeout:?}: {what}; last seen: {last}"),
    }
}

/// Asks `probe` until it succeeds or `timeout` has passed; then its last error.
/// It is asked at least once.
pub fn within<T, E>(timeout: Duration, mut probe: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(found) => return Ok(found),
            Err(e) if Instant::now() >= end => return Err(e),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
