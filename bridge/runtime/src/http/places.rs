//! Places for connections: so many in all, and of these so many for one client.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::ratelimit::client_of;

/// The places that are taken. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    all: usize,
    per_client: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    /// As many entries as there are connections, at most.
    by_client: HashMap<IpAddr, usize>,
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    client: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    pub(super) fn new(all: usize, per_client: usize) -> Places {
        Places { all, per_client, taken: Arc::default() }
    }

    /// A place for a connection from `address`, if there is one for it.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let client = client_of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.count >= self.all {
            return None;
        }
        let own = taken.by_client.entry(client).or_default();
        if *own >= self.per_client {
            return None;
        }
        *own += 1;
        taken.count += 1;
        Some(Place { client, taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.count -= 1;
        let left = taken.by_client.get_mut(&self.client).map(|own| {
            *own -= 1;
            *own
        });
        if left == Some(0) {
            taken.by_client.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_client_and_come_back() {
        let places = Places::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = places.take(a);
        let second = places.take(a);
        assert!(first.is_some() && second.is_some());
        assert!(places.take(a).is_none(), "a client's share");
        let other = places.take(b);
        assert!(other.is_some());
        assert!(places.take(b).is_none(), "all are taken");
        drop(first);
        assert!(places.take(b).is_some());
        drop((second, other));
        let taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((taken.count, taken.by_client.len()), (0, 0));
    }
}
