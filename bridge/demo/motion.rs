//! How simulated values move: a pure function of a seed, a name and the time, so that
//! a demo looks alive and a test of it is exact.
use std::f64::consts::TAU;

/// A moment in the life of one simulated process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Motion {
    /// What makes this process differ from others of its kind.
    pub(crate) seed: u64,
    /// Seconds since the process started.
    pub(crate) uptime: f64,
    /// The wall clock, Unix seconds.
    pub(crate) unix: f64,
}

impl Motion {
    /// What has been counted so far at about `rate` per second: an integer that never
    /// goes back while the process lives. The pace swings, but never below a tenth.
    pub(crate) fn count(&self, name: &str, rate: f64) -> f64 {
        self.amount(name, rate).floor()
    }

    /// The same without rounding to integers: seconds of CPU, say; milliseconds exact.
    pub(crate) fn amount(&self, name: &str, rate: f64) -> f64 {
        let (phase, pace) = self.phase(name);
        let swing = 0.9 * ((self.uptime * pace + phase).sin() - phase.sin()) / pace;
        (rate * (self.uptime + swing) * 1000.0).floor() / 1000.0
    }

    /// A value between two bounds, both of which it comes near now and then.
    pub(crate) fn sway(&self, name: &str, low: f64, high: f64) -> f64 {
        let (phase, pace) = self.phase(name);
        let slow = (self.uptime * pace + phase).sin();
        let fast = (self.uptime * pace * 3.7 + phase * 2.0).sin();
        low + (high - low) * (0.5 + 0.35 * slow + 0.15 * fast)
    }

    /// The same in whole steps.
    pub(crate) fn level(&self, name: &str, low: f64, high: f64) -> f64 {
        self.sway(name, low, high).round()
    }

    /// A phase in `0..2π`, and an angular speed of one swing in 20 to 90 seconds.
    fn phase(&self, name: &str) -> (f64, f64) {
        let hash = mix(name.bytes().fold(self.seed, |h, b| mix(h ^ u64::from(b))));
        let phase = (hash >> 40) as f64 / f64::from(1 << 24) * TAU;
        let period = 20.0 + (hash & 0xffff) as f64 / 65536.0 * 70.0;
        (phase, TAU / period)
    }
}

/// The finaliser of splitmix64: every bit of the input moves every bit of the output.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seed: u64, uptime: f64) -> Motion {
        let unix = 1.7e9 + uptime;
        Motion { seed, uptime, unix }
    }

    #[test]
    fn counters_start_at_zero_and_never_go_back() {
        for (name, rate) in [("a", 0.3), ("b", 17.0), ("c", 1e6)] {
            assert_eq!(at(7, 0.0).count(name, rate), 0.0);
            let mut last = 0.0;
            for tenth in 0..3000 {
                let now = at(7, f64::from(tenth) / 10.0).amount(name, rate);
                assert!(now >= last, "{name}: {now} after {last}");
                last = now;
            }
            assert!(last > rate * 150.0, "{name} reached {last}");
        }
    }

    #[test]
    fn gauges_move_between_their_bounds() {
        let all: Vec<f64> = (0..600).map(|s| at(7, f64::from(s)).sway("g", 10.0, 20.0)).collect();
        let low = all.iter().copied().fold(f64::MAX, f64::min);
        let high = all.iter().copied().fold(f64::MIN, f64::max);
        assert!((10.0..13.0).contains(&low) && high > 17.0 && high <= 20.0, "{low} {high}");
    }

    #[test]
    fn the_seed_and_the_name_make_the_difference() {
        let value = |seed, name| at(seed, 33.0).sway(name, 0.0, 1.0);
        assert_eq!(value(1, "x"), value(1, "x"));
        assert_ne!(value(1, "x"), value(2, "x"));
        assert_ne!(value(1, "x"), value(1, "y"));
    }
}
