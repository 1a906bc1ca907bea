//! What is masked before it is written or shown: `masking`, and `masking` of a topic.
use std::collections::BTreeMap;

use k2p_logs::mask::{Action, HashKey, MaskConfig, Masker, Pattern};
use k2p_runtime::config::Section;

/// The masking of all topics.
#[derive(Debug, Clone, Default)]
pub struct Masking {
    /// Of topics without one of their own.
    pub default: MaskConfig,
    /// A topic's own replaces the default as a whole.
    pub topics: BTreeMap<String, MaskConfig>,
    /// What values are hashed with; `None`: no topic hashes.
    pub key: Option<HashKey>,
}

/// The section of the root, with the key that all topics share; and whether a key stands
/// there, good or bad.
pub(super) fn root(root: &Section<'_>) -> (Masking, bool) {
    let section = root.section("masking");
    let named = section.has("hash_key");
    let text = section.string("hash_key").filter(|key| !key.is_empty());
    let key = match text.map(|key| HashKey::new(key.as_bytes())) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(error)) => {
            section.error(
                "hash_key",
                &error.to_string(),
                "name a file with a longer one: ${file:/run/secrets/masking}",
            );
            None
        }
    };
    (Masking { default: of(&section, key.as_ref(), named), topics: BTreeMap::new(), key }, named)
}

/// A topic's own; `None` where it has none.
pub(super) fn topic(section: &Section<'_>, key: Option<&HashKey>, key_named: bool) -> Option<MaskConfig> {
    section.has("masking").then(|| of(&section.section("masking"), key, key_named))
}

/// Reads the rules, and compiles them once: what cannot be used is said with its place.
fn of(section: &Section<'_>, key: Option<&HashKey>, key_named: bool) -> MaskConfig {
    let list = |name: &str| section.string_list(name).unwrap_or_default();
    let actions = [("mask", Action::Mask), ("hash", Action::Hash)];
    let config = MaskConfig {
        defaults: section.bool("defaults").unwrap_or(true),
        disable: list("disable"),
        keys: list("keys"),
        allow_keys: list("allow_keys"),
        patterns: section.sections("patterns").iter().filter_map(pattern).collect(),
        action: section.choice("action", &actions).unwrap_or_default(),
    };
    if config.action == Action::Hash && key.is_none() {
        if !key_named {
            section.error("action", "hash needs a key", "set masking.hash_key, e.g. ${file:/run/secrets/masking}");
        }
        return config;
    }
    if let Err(error) = Masker::new(&config, key.cloned()) {
        let places = ["patterns", "disable", "keys"];
        let place = places.into_iter().find(|place| section.has(place)).unwrap_or("action");
        section.error(place, &error.to_string(), "correct it, or leave it out: the built-in rules need no settings");
    }
    config
}

fn pattern(section: &Section<'_>) -> Option<Pattern> {
    let (name, regex) = (section.string("name"), section.string("regex"));
    if !section.required("name") || !section.required("regex") {
        return None;
    }
    Some(Pattern { name: name?, regex: regex? })
}
