//! The rules, compiled.
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::keys::SecretKeys;
use super::{BUILT_IN, MAX_PATTERNS, MaskConfig, MaskError, card};

/// Bounds the compiled size of one expression.
const REGEX_BYTES: usize = 1 << 20;

/// The built-in expressions: rule, expression. Group 1 is what is replaced, if there is one.
const PATTERNS: [(&str, &str); 16] = [
    ("email", r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}"),
    ("jwt", r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"),
    ("bearer", r"(?i-u:\bbearer)\s+([A-Za-z0-9._~+/=-]{8,})"),
    ("bearer", r#"(?i-u:authorization)["':=\s]{1,6}(?i-u:basic)\s+([A-Za-z0-9+/=_-]{4,})"#),
    ("token", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"),
    ("token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{30,}"),
    ("token", r"dapi[0-9a-f]{32}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{16,}"),
    ("token", r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    ("connection", r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'<>]*:([^\s"'<>]+)@"#),
    ("aws", r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("aws", r"(?i-u:X-Amz-(?:Signature|Security-Token|Credential))=([^&\s]+)"),
    ("azure", r#"(?i-u:\b(?:AccountKey|SharedAccessKey|SharedAccessSignature|sig))=([^;&\s"']{8,})"#),
    ("azure", r"[A-Za-z0-9+/]{86}=="),
    ("gcp", r"AIza[0-9A-Za-z_-]{35}"),
    ("gcp", r"ya29\.[0-9A-Za-z_-]{20,}"),
    ("gcp", r"GOCSPX-[0-9A-Za-z_-]{20,}"),
];

#[derive(Debug)]
struct Finder {
    rule: usize,
    regex: Regex,
}

/// What is looked for. A rule is its place in `names`.
#[derive(Debug)]
pub(super) struct Rules {
    names: Vec<String>,
    keys: SecretKeys,
    key_rule: usize,
    card_rule: Option<usize>,
    finders: Vec<Finder>,
}

/// A place where a rule found something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) at: Range<usize>,
    pub(super) rule: usize,
}

impl Rules {
    pub(super) fn new(config: &MaskConfig) -> Result<Rules, MaskError> {
        if config.patterns.len() > MAX_PATTERNS {
            return Err(MaskError::TooManyPatterns(config.patterns.len()));
        }
        if let Some(unknown) = config.disable.iter().find(|name| !BUILT_IN.contains(&name.as_str())) {
            return Err(MaskError::UnknownRule(unknown.clone()));
        }
        let applies = |name: &str| config.defaults && !config.disable.iter().any(|d| d == name);
        // `key` is always there: configured keys count under it.
        let built_in = BUILT_IN.iter().filter(|name| **name == "key" || applies(name));
        let mut names: Vec<String> = built_in.map(|name| (*name).to_owned()).collect();
        let keys = SecretKeys::new(applies("key"), &config.keys, &config.allow_keys).map_err(MaskError::ShortKey)?;
        let mut finders = Vec::new();
        for (name, pattern) in PATTERNS {
            if let Some(rule) = names.iter().position(|n| n == name) {
                finders.push(Finder { rule, regex: compile(name, pattern)? });
            }
        }
        for pattern in &config.patterns {
            if !is_name(&pattern.name) || names.contains(&pattern.name) || BUILT_IN.contains(&pattern.name.as_str()) {
                return Err(MaskError::BadName(pattern.name.clone()));
            }
            finders.push(Finder { rule: names.len(), regex: compile(&pattern.name, &pattern.regex)? });
            names.push(pattern.name.clone());
        }
        let card_rule = names.iter().position(|n| n == "card");
        Ok(Rules { names, keys, key_rule: 0, card_rule, finders })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn name(&self, rule: usize) -> &str {
        &self.names[rule]
    }

    pub(super) fn keys(&self) -> &SecretKeys {
        &self.keys
    }

    pub(super) fn key_rule(&self) -> usize {
        self.key_rule
    }

    pub(super) fn card_rule(&self) -> Option<usize> {
        self.card_rule
    }

    /// Everything but keys in a text, unordered.
    pub(super) fn find(&self, text: &str, hits: &mut Vec<Hit>) {
        for finder in &self.finders {
            for captures in finder.regex.captures_iter(text) {
                if let Some(found) = captures.get(1).or_else(|| captures.get(0)).filter(|m| !m.is_empty()) {
                    hits.push(Hit { at: found.range(), rule: finder.rule });
                }
            }
        }
        if let Some(rule) = self.card_rule {
            card::find(text, &mut |at| hits.push(Hit { at, rule }));
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn compile(name: &str, pattern: &str) -> Result<Regex, MaskError> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES)
        .build()
        .map_err(|error| MaskError::BadPattern { name: name.to_owned(), why: error.to_string() })
}
