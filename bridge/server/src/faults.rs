//! Only with the feature `faults`, which nothing ships: switches off one rule of the
//! ownership protocol, so that the fault runs can show that they would have failed.
use k2p_core::model::MonoMs;
use k2p_core::ownership::Rules;

/// Names the rule, by the name of its field in [`Rules`].
const VARIABLE: &str = "K2P_BREAK";

/// All rules but the one that the environment names.
pub(crate) fn rules() -> Rules {
    let mut rules = Rules::ALL;
    let Ok(name) = std::env::var(VARIABLE) else { return rules };
    let rule = match name.as_str() {
        "lease" => &mut rules.lease,
        "lease_from_send" => &mut rules.lease_from_send,
        "claim" => &mut rules.claim,
        "wait" => &mut rules.wait,
        "barrier" => &mut rules.barrier,
        "evict_first" => &mut rules.evict_first,
        "fresh_proof" => &mut rules.fresh_proof,
        "held_shown" => &mut rules.held_shown,
        "former_counts" => &mut rules.former_counts,
        "added_waits" => &mut rules.added_waits,
        _ => {
            tracing::error!(name, "{VARIABLE} names no rule that can be switched off");
            return rules;
        }
    };
    *rule = false;
    tracing::warn!(name, "a rule of the ownership protocol is switched off: for tests only");
    rules
}

/// The end of a lease as scrapes see it: never, without the rule.
pub(crate) fn lease_until(until: MonoMs) -> MonoMs {
    if rules_now().lease { until } else { MonoMs::MAX }
}

fn rules_now() -> &'static Rules {
    static RULES: std::sync::OnceLock<Rules> = std::sync::OnceLock::new();
    RULES.get_or_init(rules)
}
