//! After which silence a group goes.
//!
//! Decided by the bridge that takes the push and written into its record (`k2p-ttl`), not
//! when it is judged: replayed state must not depend on a bridge's configuration, and two
//! owners with different rules would take a group away or keep it in turns. So a changed
//! rule holds for pushes from then on; a group that is not pushed any more keeps what its
//! last push was given.
use std::time::Duration;

use k2p_config::parse_duration;
use regex::Regex;

/// The longest that can be asked for, in milliseconds: what is beyond is a mistake of unit.
const MAX_MS: u64 = 100 * 366 * 86_400_000;

/// What is configured: job patterns, the first that matches counts.
#[derive(Debug, Clone, Default)]
pub struct TtlRules(Vec<(Regex, Duration)>);

impl TtlRules {
    /// Adds a rule behind the others.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn push(&mut self, job: &str, ttl: Duration) -> Result<(), String> {
        // By itself first: `a)|(b` would be sound between the anchors, and not what it says.
        let regex = Regex::new(job).and_then(|_| Regex::new(&format!("^(?:{job})$")));
        // The lines before the last one draw where.
        let said = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().to_owned();
        let regex = regex.map_err(said)?;
        self.0.push((regex, ttl));
        Ok(())
    }

    /// The ttl of a push in milliseconds: what it asks for itself, else what the job's rule
    /// says; `None`: never. A ttl of 0 is never.
    pub fn decide(&self, job: &str, asked: Option<Duration>) -> Option<i64> {
        let ruled = || self.0.iter().find(|(regex, _)| regex.is_match(job)).map(|(_, ttl)| *ttl);
        let ttl = asked.or_else(ruled).filter(|ttl| !ttl.is_zero())?;
        i64::try_from(ttl.as_millis()).ok()
    }
}

/// Reads what a push asks for: a duration as in Prometheus' configuration; `0`: never, also
/// where a rule says otherwise.
///
/// # Errors
/// What is wrong with it, with the remedy.
pub fn asked(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text).map_err(|error| error.to_string())?;
    if ttl.as_millis() > u128::from(MAX_MS) {
        return Err("more than a hundred years: write 0 for never".to_owned());
    }
    Ok(ttl)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_push_says_it_else_the_first_rule_else_never() {
        let mut rules = TtlRules::default();
        rules.push("nightly_.*", Duration::from_secs(86_400)).unwrap();
        rules.push("nightly_x|other", Duration::from_secs(1)).unwrap();
        rules.push("keep", Duration::ZERO).unwrap();
        let hour = Some(Duration::from_secs(3600));
        let cases = [
            ("nightly_x", None, Some(86_400_000)),
            ("nightly_x", hour, Some(3_600_000)),
            ("nightly_x", Some(Duration::ZERO), None),
            ("a nightly_x", None, None),
            ("others", None, None),
            ("other", None, Some(1000)),
            ("keep", None, None),
        ];
        for (job, asked, expected) in cases {
            assert_eq!(rules.decide(job, asked), expected, "{job} {asked:?}");
        }
        assert_eq!(rules.push("(", Duration::ZERO), Err("error: unclosed group".to_owned()));
        assert!(rules.push("a)|(b", Duration::ZERO).is_err());
    }

    #[test]
    fn what_is_asked_for_is_a_duration() {
        assert_eq!(asked("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(asked("0"), Ok(Duration::ZERO));
        assert!(asked("5").unwrap_err().contains("unit"));
        assert!(asked("101y").unwrap_err().contains("hundred years"));
    }
}
