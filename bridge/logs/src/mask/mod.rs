//! Masking: what must not be written or shown is replaced before either happens.
//!
//! Pure: bytes in, bytes out, counts beside. A line that is a JSON value is masked
//! value by value and keeps every other byte as it came (order, numbers, spaces); what
//! is no JSON is masked as plain text. A string that holds JSON again (`raw`) is read as
//! such, up to [`MAX_NESTING`] deep.
//!
//! What is found: values of secret keys (`password`, `api_key`, `Api-Key`, `apiKey` …) in
//! JSON at any depth, in `{"name": "password", "value": …}` pairs, in `key=value` and
//! `key: value` of any text; credit cards (known issuer, right length, Luhn digit, digits
//! grouped by spaces, dashes, dots or underscores, also as JSON numbers); e-mail addresses;
//! JWTs, bearer and basic credentials, tokens of known vendors; passwords in connection
//! strings; AWS, Azure and GCP keys; private keys in PEM; configured regular expressions.
//! Texts are searched as they are and after undoing URL and `\u` encoding, up to three
//! times over.
//!
//! What is **not** found: a secret cut over several fields or list items; one in base64 or
//! another encoding beyond those named (a JWT is known by its head); HTML entities; keys
//! or digits written with look-alike letters of other scripts (full-width digits are
//! known); a card inside a run of 20 or more hex digits with letters (a trace id); free
//! text that a person would understand ("the password is hunter2").
mod card;
mod json;
mod keys;
mod rules;
mod text;
mod view;

use std::borrow::Cow;
use std::collections::BTreeMap;

use ring::hmac;

use rules::Rules;

/// How deep JSON in strings in JSON is read as JSON; deeper it is text.
pub const MAX_NESTING: usize = 4;

/// What stands in place of what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `[masked:RULE]`.
    #[default]
    Mask,
    /// `[hash:RULE:HEX]`: 16 bytes of HMAC-SHA256 under the configured key, so that equal
    /// values can be recognised. Cards hash their digits, e-mail addresses in lower case.
    Hash,
}

/// A regular expression of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The rule's name: lower case letters, digits, underscores, at most 40.
    pub name: String,
    /// The expression; its first group is replaced, without a group the whole match.
    pub regex: String,
}

/// What is masked, for one topic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// Whether the built-in rules apply ([`BUILT_IN`]).
    pub defaults: bool,
    /// Built-in rules that do not apply.
    pub disable: Vec<String>,
    /// More secret keys: `name` is the end of a key, `*name*` any part of it. Case, dashes,
    /// underscores, dots and spaces do not count.
    pub keys: Vec<String>,
    /// Keys that are not secret, whatever else says so (compared whole).
    pub allow_keys: Vec<String>,
    /// More expressions.
    pub patterns: Vec<Pattern>,
    /// Mask or hash.
    pub action: Action,
}

impl Default for MaskConfig {
    fn default() -> Self {
        MaskConfig {
            defaults: true,
            disable: Vec::new(),
            keys: Vec::new(),
            allow_keys: Vec::new(),
            patterns: Vec::new(),
            action: Action::Mask,
        }
    }
}

/// The names of the built-in rules.
pub const BUILT_IN: [&str; 10] =
    ["key", "card", "email", "jwt", "bearer", "token", "connection", "aws", "azure", "gcp"];

/// The most expressions that one topic may configure.
pub const MAX_PATTERNS: usize = 64;

/// A masking configuration that cannot be used. The texts name the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A regular expression that does not compile, or is too large.
    #[error("masking pattern {name}: {why}; correct the regular expression")]
    BadPattern {
        /// The rule.
        name: String,
        /// What the compiler says.
        why: String,
    },
    /// A name that cannot be a label value, stands twice or is a built-in rule's.
    #[error("masking pattern {0:?}: a name has 1 to 40 of a-z, 0-9 and _, once, and is no built-in rule's")]
    BadName(String),
    /// `disable` names no built-in rule.
    #[error(
        "masking: there is no built-in rule {0:?}; there are key, card, email, jwt, bearer, token, connection, aws, azure, gcp"
    )]
    UnknownRule(String),
    /// More than [`MAX_PATTERNS`].
    #[error("masking: {0} patterns are too many; at most 64")]
    TooManyPatterns(usize),
    /// A key of fewer than three letters would match nearly everything.
    #[error("masking: the key {0:?} is too short; use at least three letters or digits")]
    ShortKey(String),
    /// `action: hash` without a key.
    #[error("masking: action hash needs a key; name a key file of at least 16 bytes")]
    NoKey,
    /// A key that can be guessed.
    #[error("the masking key has {0} bytes; it needs at least 16 (e.g. head -c 32 /dev/urandom | base64)")]
    ShortHashKey(usize),
}

/// The secret under which values are hashed.
#[derive(Clone)]
pub struct HashKey(hmac::Key);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl HashKey {
    /// The contents of a key file; spaces and newlines at its ends do not count.
    ///
    /// # Errors
    /// [`MaskError::ShortHashKey`] below 16 bytes.
    pub fn new(bytes: &[u8]) -> Result<HashKey, MaskError> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < 16 {
            return Err(MaskError::ShortHashKey(bytes.len()));
        }
        Ok(HashKey(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

/// How often each rule replaced something; as many counters as there are rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskCounts(Vec<u64>);

impl MaskCounts {
    fn add(&mut self, rule: usize) {
        if self.0.len() <= rule {
            self.0.resize(rule + 1, 0);
        }
        self.0[rule] += 1;
    }

    /// All rules together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The rules of one topic, compiled.
#[derive(Debug)]
pub struct Masker {
    rules: Rules,
    action: Action,
    key: Option<HashKey>,
}

impl Masker {
    /// Compiles a configuration. `key` is needed for [`Action::Hash`].
    ///
    /// # Errors
    /// See [`MaskError`].
    pub fn new(config: &MaskConfig, key: Option<HashKey>) -> Result<Masker, MaskError> {
        if config.action == Action::Hash && key.is_none() {
            return Err(MaskError::NoKey);
        }
        Ok(Masker { rules: Rules::new(config)?, action: config.action, key })
    }

    /// One line of a record: a JSON value, else plain text (invalid UTF-8 is replaced by
    /// U+FFFD then). Borrowed where nothing was found.
    pub fn line<'a>(&self, line: &'a [u8], counts: &mut MaskCounts) -> Cow<'a, [u8]> {
        let Ok(text) = std::str::from_utf8(line) else {
            let text = String::from_utf8_lossy(line);
            return Cow::Owned(self.text(&text, counts).into_owned().into_bytes());
        };
        match self.text(text, counts) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }

    /// Any text that is written or shown: an error's message, a stack, a log line of our own.
    pub fn text<'a>(&self, text: &'a str, counts: &mut MaskCounts) -> Cow<'a, str> {
        if self.rules.none_in(text) {
            return Cow::Borrowed(text);
        }
        self.nested(text, 0, counts)
    }

    /// The rules' names with their counts, for a counter by `rule`.
    pub fn counted<'a>(&'a self, counts: &'a MaskCounts) -> impl Iterator<Item = (&'a str, u64)> {
        self.rules.names().zip(counts.0.iter().copied()).filter(|(_, n)| *n > 0)
    }

    /// The names of all rules that apply: the label values that can occur.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.names()
    }

    fn nested<'a>(&self, text: &'a str, depth: usize, counts: &mut MaskCounts) -> Cow<'a, str> {
        if depth < MAX_NESTING
            && text.trim_start().starts_with(['{', '[', '"'])
            && let Some(masked) = json::mask(self, text, depth, counts)
        {
            return masked;
        }
        text::mask(self, text, counts)
    }

    /// What stands in place of `found`.
    fn replacement(&self, rule: usize, found: &str) -> String {
        let name = self.rules.name(rule);
        let (Action::Hash, Some(key)) = (self.action, &self.key) else { return format!("[masked:{name}]") };
        let canonical: String = match name {
            "card" => found.chars().filter_map(card::digit).map(char::from).collect(),
            "email" => found.to_lowercase(),
            _ => found.to_owned(),
        };
        let tag = hmac::sign(&key.0, canonical.as_bytes());
        let hex: String = tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[hash:{name}:{hex}]")
    }
}

/// Whether a text is nothing but what a masker put there.
fn is_mark(text: &str) -> bool {
    let inner = text.strip_prefix("[masked:").or_else(|| text.strip_prefix("[hash:"));
    let inner = inner.and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|rest| {
        rest.len() <= 80 && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b))
    })
}

/// The maskers of all topics: one by default, others by topic.
#[derive(Debug)]
pub struct Maskers {
    default: Masker,
    topics: BTreeMap<String, Masker>,
}

impl Maskers {
    /// Compiles the configurations; a topic's own replaces the default as a whole.
    ///
    /// # Errors
    /// See [`MaskError`].
    pub fn new(
        default: &MaskConfig,
        topics: &BTreeMap<String, MaskConfig>,
        key: Option<&HashKey>,
    ) -> Result<Maskers, MaskError> {
        let mut compiled = BTreeMap::new();
        for (topic, config) in topics {
            compiled.insert(topic.clone(), Masker::new(config, key.cloned())?);
        }
        Ok(Maskers { default: Masker::new(default, key.cloned())?, topics: compiled })
    }

    /// The masker of a topic.
    pub fn of(&self, topic: &str) -> &Masker {
        self.topics.get(topic).unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIECES: [&str; 24] = [
        "{\"a\":",
        "\"",
        ",",
        "}",
        "[",
        " ",
        "pass",
        "word",
        "_",
        "\"name\":",
        "\"value\":",
        "token",
        "=",
        ":",
        "--",
        "x y",
        "41111111",
        "4e15",
        "4.1E+15",
        "3.6e15",
        "-",
        "ä",
        "key",
        "api",
    ];

    proptest! {
        /// A text that is let through unread is one in which the long way finds nothing.
        #[test]
        fn what_is_let_through_is_clean(picks in prop::collection::vec(0..PIECES.len(), 0..14), json in any::<bool>()) {
            let masker = Masker::new(&MaskConfig::default(), None).expect("valid");
            let text: String = picks.iter().map(|pick| PIECES[*pick]).collect();
            let text = if json { format!("{{\"n\":[{}]}}", text.replace(['{', '}', '[', '"'], "")) } else { text };
            if masker.rules.none_in(&text) {
                let mut counts = MaskCounts::default();
                prop_assert_eq!(masker.nested(&text, 0, &mut counts), text.as_str());
                prop_assert_eq!(counts.total(), 0);
            }
        }
    }

    #[test]
    fn the_usual_event_is_let_through_unread() {
        let masker = Masker::new(&MaskConfig::default(), None).expect("valid");
        let none_in = |text: &str| masker.rules.none_in(text);
        assert!(none_in(
            r#"{"timestamp":"2026-11-21T12:00:00.5Z","run_id":"r-1","rows":10000,"message":"read a3e5b rows"}"#
        ));
        for text in
            ["a%40b", "a\\u0040b", "a@b.com", "x_to-ken", "4111 1111 1111 1111", r#"{"n":4.1e15}"#, "[4E15]", "1e+15"]
        {
            assert!(!none_in(text), "{text}");
        }
    }
}
