//! Passwords, with neither of the faults that exporter-toolkit once had: a user who does not
//! exist costs as much as one who does, and a remembered answer belongs to exactly this user,
//! this hash and this password (CVE-2022-46146: its cache could be poisoned), under a key that
//! nobody outside of this process knows.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use super::config::cost;

/// Wrong passwords that are remembered: a scraper with an old one must not cost a hash each
/// time.
const WRONG_KEPT: usize = 256;
/// Logins that may wait for their turn.
const WAITING: usize = 64;

/// The hash of a password that nobody has, without its cost.
const NOBODY: &str = "QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// What comes of a request's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// Somebody who may.
    Known,
    /// No credentials, or wrong ones.
    Refused,
    /// Too many logins wait to be checked.
    Busy,
}

type Digest = [u8; 32];

/// What was found out about credentials, and the turns to find more out.
pub(super) struct Logins {
    key: hmac::Key,
    known: Mutex<Known>,
    waiting: Semaphore,
    turns: Semaphore,
}

#[derive(Default)]
struct Known {
    /// The right one of each user: as many as there are users. Wrong ones cannot displace it.
    right: HashMap<String, Digest>,
    wrong: VecDeque<Digest>,
}

impl Logins {
    /// An error, if the system has no random numbers.
    pub(super) fn new() -> Result<Logins, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Logins {
            key: key.map_err(|_| "the system gives no random numbers".to_owned())?,
            known: Mutex::default(),
            waiting: Semaphore::new(WAITING),
            // Hashing takes a core for a tenth of a second: the others are for scrapes.
            turns: Semaphore::new((cores / 2).max(1)),
        })
    }

    /// Whether the header `Authorization` names one of `users` with the right password.
    pub(super) async fn check(&self, users: &BTreeMap<String, String>, header: Option<&HeaderValue>) -> Login {
        let Some((user, password)) = header.and_then(credentials) else { return Login::Refused };
        let hash = match users.get(&user) {
            Some(hash) => hash.clone(),
            None => self.of_nobody(users, &user),
        };
        let digest = self.digest(&[user.as_bytes(), hash.as_bytes(), &password]);
        if let Some(answer) = self.remembered(&user, &digest) {
            return answer;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Login::Busy };
        let Ok(_turn) = self.turns.acquire().await else { return Login::Busy };
        // Whoever was before may have asked the same.
        if let Some(answer) = self.remembered(&user, &digest) {
            return answer;
        }
        let exists = users.contains_key(&user);
        let hashed = tokio::task::spawn_blocking(move || bcrypt::verify(&password, &hash).unwrap_or(false));
        let right = hashed.await.unwrap_or(false) && exists;
        self.remember(user, digest, right);
        if right { Login::Known } else { Login::Refused }
    }

    /// A hash that costs as much as a user's would: whose of them follows from the name, so
    /// that users with different costs do not stand out either.
    fn of_nobody(&self, users: &BTreeMap<String, String>, user: &str) -> String {
        let costs: Vec<u32> = users.values().filter_map(|hash| cost(hash)).collect();
        let pick = usize::from(self.digest(&[user.as_bytes()])[0]);
        let cost = if costs.is_empty() { 10 } else { costs[pick % costs.len()] };
        format!("$2y${cost:02}${NOBODY}")
    }

    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn remembered(&self, user: &str, digest: &Digest) -> Option<Login> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.right.get(user) == Some(digest) {
            return Some(Login::Known);
        }
        known.wrong.contains(digest).then_some(Login::Refused)
    }

    fn remember(&self, user: String, digest: Digest, right: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if right {
            known.right.insert(user, digest);
            return;
        }
        if known.wrong.len() >= WRONG_KEPT {
            known.wrong.pop_front();
        }
        known.wrong.push_back(digest);
    }

    /// Forgets whoever is no user any more.
    pub(super) fn retain(&self, users: &BTreeMap<String, String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.right.retain(|user, _| users.contains_key(user));
    }
}

/// Name and password of `Authorization: Basic …`.
pub(super) fn credentials(header: &HeaderValue) -> Option<(String, Arc<[u8]>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let user = std::str::from_utf8(&decoded[..colon]).ok()?;
    Some((user.to_owned(), decoded[colon + 1..].into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn basic(text: &[u8]) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(text)).parse().unwrap()
    }

    fn users(all: &[(&str, &str, u32)]) -> BTreeMap<String, String> {
        all.iter().map(|(user, password, cost)| ((*user).to_owned(), bcrypt::hash(password, *cost).unwrap())).collect()
    }

    #[test]
    fn credentials_are_read_or_not() {
        let read = |text: &str| credentials(&text.parse().unwrap()).map(|(u, p)| (u, p.to_vec()));
        let is = |text: &str, user: &str, password: &[u8]| {
            assert_eq!(read(text), Some((user.to_owned(), password.to_vec())), "{text}");
        };
        is("Basic YTpi", "a", b"b");
        is("basic  YTpi ", "a", b"b");
        is("Basic YTpiOmM=", "a", b"b:c");
        is("Basic Og==", "", b"");
        is("Basic YTr/", "a", b"\xff");
        for text in ["", "Basic", "Basic ", "Basic YWI=", "Basic %", "Bearer YTpi", "YTpi", "Basic /zpi"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_comes_in_each_time() {
        let users = users(&[("alice", "sesame", 4), ("bob", "", 5)]);
        let logins = Logins::new().unwrap();
        for _ in 0..2 {
            for (text, answer) in [
                ("alice:sesame", Login::Known),
                ("bob:", Login::Known),
                ("alice:", Login::Refused),
                ("alice:sesame2", Login::Refused),
                ("bob:sesame", Login::Refused),
                ("eve:sesame", Login::Refused),
                ("eve:fakepassword", Login::Refused),
                (":", Login::Refused),
            ] {
                assert_eq!(logins.check(&users, Some(&basic(text.as_bytes()))).await, answer, "{text}");
            }
            assert_eq!(logins.check(&users, None).await, Login::Refused);
        }
    }

    /// A new hash is another question, and so is a user who is gone.
    #[tokio::test]
    async fn a_changed_password_is_changed_at_once() {
        let logins = Logins::new().unwrap();
        let header = basic(b"alice:old");
        assert_eq!(logins.check(&users(&[("alice", "old", 4)]), Some(&header)).await, Login::Known);
        let changed = users(&[("alice", "new", 4)]);
        assert_eq!(logins.check(&changed, Some(&header)).await, Login::Refused);
        assert_eq!(logins.check(&changed, Some(&basic(b"alice:new"))).await, Login::Known);
        let gone = users(&[("bob", "x", 4)]);
        assert_eq!(logins.check(&gone, Some(&basic(b"alice:new"))).await, Login::Refused);
        logins.retain(&gone);
        assert!(logins.known.lock().unwrap().right.is_empty());
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded_and_the_right_one_stays() {
        let users = users(&[("alice", "sesame", 4)]);
        let logins = Logins::new().unwrap();
        assert_eq!(logins.check(&users, Some(&basic(b"alice:sesame"))).await, Login::Known);
        for i in 0..WRONG_KEPT + 10 {
            logins.check(&users, Some(&basic(format!("alice:{i}").as_bytes()))).await;
        }
        let known = logins.known.lock().unwrap();
        assert_eq!((known.right.len(), known.wrong.len()), (1, WRONG_KEPT));
    }

    /// Whoever does not exist is hashed with a cost that exists, always the same.
    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let users = users(&[("a", "x", 4), ("b", "x", 5)]);
        let logins = Logins::new().unwrap();
        let mut costs: Vec<Option<u32>> = (0..64).map(|i| cost(&logins.of_nobody(&users, &format!("u{i}")))).collect();
        assert_eq!(logins.of_nobody(&users, "eve"), logins.of_nobody(&users, "eve"));
        costs.sort_unstable();
        costs.dedup();
        assert_eq!(costs, [Some(4), Some(5)]);
        // It is a hash that can be checked, so that it takes its time.
        assert!(!bcrypt::verify("x", &logins.of_nobody(&users, "eve")).unwrap());
    }

    #[tokio::test]
    async fn too_many_logins_at_once_are_told_to_come_back() {
        let users = users(&[("alice", "sesame", 4)]);
        let logins = Logins::new().unwrap();
        let _all = logins.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
        assert_eq!(logins.check(&users, Some(&basic(b"alice:sesame"))).await, Login::Busy);
    }
}
