//! The two clocks: one to measure with, one to write into records.
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of `CLOCK_BOOTTIME`: monotonic, and it also counts the time that the
/// machine was suspended, so that a lease does not survive a sleep (design §1.1,
/// rule 1). The origin is arbitrary: never compare it with [`unix_ms`].
pub fn mono_ms() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Milliseconds since the Unix epoch by the wall clock, which may jump.
pub fn unix_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_advances_and_never_goes_back() {
        let start = mono_ms();
        let mut last = start;
        while last < start + 3 {
            let now = mono_ms();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    }

    #[test]
    fn the_wall_clock_is_in_milliseconds_of_this_century() {
        let now = unix_ms();
        assert!(now > 1_700_000_000_000, "{now}");
        assert!(now < 4_100_000_000_000, "{now}");
    }
}
