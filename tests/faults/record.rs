//! The history while it is being written.
use crate::checker::{History, Micros};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// The run's clock and its history.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
}

impl Recorder {
    pub fn new() -> Recorder {
        Recorder { began: Instant::now(), history: Mutex::default() }
    }

    /// Microseconds since the run began.
    pub fn now(&self) -> Micros {
        u64::try_from(self.began.elapsed().as_micros()).expect("a run is shorter than that")
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics while holding it")
    }
}
