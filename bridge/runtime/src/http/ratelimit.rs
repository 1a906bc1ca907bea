//! Token buckets: one for all, or one for each client in a bounded table. Pure: the time is
//! an argument.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Requests a second, and how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run; more than 0.
    pub per_second: f64,
    /// Requests that may come at once; at least 1.
    pub burst: f64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// Takes a token; else how long until there is one.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.fill(rate, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - self.tokens) / rate.per_second).min(3600.0)))
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * rate.per_second).min(rate.burst);
        self.filled = now;
    }
}

/// One bucket for everybody.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Limiter {
        Limiter { rate, bucket: Mutex::new(Bucket { tokens: rate.burst, filled: now }) }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.rate, now)
    }
}

/// Clients that have a bucket of their own, at most. A full bucket is forgotten: it says
/// nothing.
const CLIENTS: usize = 16 << 10;
/// Between two looks for full ones.
const SWEEP: Duration = Duration::from_secs(1);

/// A bucket for each client address.
#[derive(Debug)]
pub struct PerClient {
    rate: Rate,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    /// Shared by those for whom there is no room: a flood of addresses limits itself.
    others: Bucket,
    /// When full buckets were last looked for.
    swept: Instant,
}

impl PerClient {
    /// An empty table.
    pub fn new(rate: Rate, now: Instant) -> PerClient {
        let others = Bucket { tokens: rate.burst, filled: now };
        PerClient { rate, table: Mutex::new(Table { buckets: HashMap::new(), others, swept: now }) }
    }

    /// Takes a token of this client's.
    ///
    /// # Errors
    /// How long until it has one.
    pub fn take(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = client_of(client);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        if let Some(bucket) = table.buckets.get_mut(&client) {
            return bucket.take(self.rate, now);
        }
        // Seldom: it looks at the whole table.
        if table.buckets.len() >= CLIENTS && now.saturating_duration_since(table.swept) >= SWEEP {
            table.swept = now;
            let rate = self.rate;
            table.buckets.retain(|_, bucket| {
                bucket.fill(rate, now);
                bucket.tokens < rate.burst
            });
        }
        if table.buckets.len() >= CLIENTS {
            return table.others.take(self.rate, now);
        }
        let mut bucket = Bucket { tokens: self.rate.burst, filled: now };
        let taken = bucket.take(self.rate, now);
        table.buckets.insert(client, bucket);
        taken
    }
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 host has to itself.
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3.0 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let limiter = Limiter::new(RATE, start);
        let mut passed = 0;
        // Ten requests a second for ten seconds.
        for tick in 0..100 {
            let now = start + Duration::from_millis(100 * tick);
            passed += u32::from(limiter.take(now).is_ok());
        }
        assert_eq!(passed, 3 + 19);
        let wait = limiter.take(start + Duration::from_millis(9900)).unwrap_err();
        assert!(wait <= Duration::from_millis(500), "{wait:?}");
        assert_eq!(limiter.take(start + Duration::from_millis(9900) + wait), Ok(()));
        // A clock that goes back gives nothing.
        assert!(limiter.take(start).is_err());
    }

    #[test]
    fn clients_do_not_take_from_each_other() {
        let now = Instant::now();
        let table = PerClient::new(RATE, now);
        for _ in 0..3 {
            assert_eq!(table.take(ip("10.0.0.1"), now), Ok(()));
        }
        assert!(table.take(ip("10.0.0.1"), now).is_err());
        assert!(table.take(ip("::ffff:10.0.0.1"), now).is_err(), "the same client");
        assert_eq!(table.take(ip("10.0.0.2"), now), Ok(()));
        for host in 0..3 {
            assert_eq!(table.take(ip(&format!("fd00::{host}")), now), Ok(()));
        }
        assert!(table.take(ip("fd00::77"), now).is_err(), "one network of one host");
        assert_eq!(table.take(ip("fd00:0:0:1::77"), now), Ok(()));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_limits_itself() {
        let now = Instant::now();
        let table = PerClient::new(RATE, now);
        assert_eq!(table.take(ip("10.0.0.1"), now), Ok(()));
        let mut passed = 0;
        for n in 0..u32::try_from(CLIENTS).unwrap() + 1000 {
            passed += usize::from(table.take(IpAddr::from(n.to_be_bytes()), now).is_ok());
        }
        assert_eq!(table.table.lock().unwrap().buckets.len(), CLIENTS);
        assert_eq!(passed, CLIENTS - 1 + 3, "those without a bucket share one");
        // Whoever was there keeps what is left; once all are full again there is room.
        assert_eq!(table.take(ip("10.0.0.1"), now), Ok(()));
        let later = now + Duration::from_secs(60);
        assert_eq!(table.take(ip("192.0.2.1"), later), Ok(()));
        assert_eq!(table.table.lock().unwrap().buckets.len(), 1);
    }
}
