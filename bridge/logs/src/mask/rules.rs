//! The rules, compiled.
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::{Regex, RegexBuilder};

use super::keys::SecretKeys;
use super::{BUILT_IN, MAX_PATTERNS, MaskConfig, MaskError, card};

/// Bounds the compiled size of one expression.
const REGEX_BYTES: usize = 1 << 20;

/// A built-in expression. Group 1 is what is replaced, if there is one.
struct BuiltIn {
    rule: &'static str,
    regex: &'static str,
    /// What every match contains one of, in lower case: a text without them is not searched.
    /// A literal that is missing here lets a secret through.
    literals: &'static [&'static str],
}

const fn built_in(rule: &'static str, regex: &'static str, literals: &'static [&'static str]) -> BuiltIn {
    BuiltIn { rule, regex, literals }
}

const PATTERNS: [BuiltIn; 16] = [
    built_in("email", r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}", &["@"]),
    built_in("jwt", r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?", &["eyj"]),
    built_in("bearer", r"(?i-u:\bbearer)\s+([A-Za-z0-9._~+/=-]{8,})", &["bearer"]),
    built_in("bearer", r#"(?i-u:authorization)["':=\s]{1,6}(?i-u:basic)\s+([A-Za-z0-9+/=_-]{4,})"#, &["authorization"]),
    built_in(
        "token",
        r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"],
    ),
    built_in(
        "token",
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{30,}",
        &["xox", "k_live_", "k_test_", "hf_"],
    ),
    built_in("token", r"dapi[0-9a-f]{32}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{16,}", &["dapi", "npm_", "pypi-"]),
    built_in(
        "token",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        &["private key-----"],
    ),
    built_in("connection", r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'<>]*:([^\s"'<>]+)@"#, &["://"]),
    built_in(
        "aws",
        r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b",
        &["akia", "asia", "aroa", "aida", "abia", "acca"],
    ),
    built_in("aws", r"(?i-u:X-Amz-(?:Signature|Security-Token|Credential))=([^&\s]+)", &["x-amz-"]),
    built_in(
        "azure",
        r#"(?i-u:\b(?:AccountKey|SharedAccessKey|SharedAccessSignature|sig))=([^;&\s"']{8,})"#,
        &["accountkey=", "sharedaccess", "sig="],
    ),
    built_in("azure", r"[A-Za-z0-9+/]{86}==", &["=="]),
    built_in("gcp", r"AIza[0-9A-Za-z_-]{35}", &["aiza"]),
    built_in("gcp", r"ya29\.[0-9A-Za-z_-]{20,}", &["ya29."]),
    built_in("gcp", r"GOCSPX-[0-9A-Za-z_-]{20,}", &["gocspx-"]),
];

#[derive(Debug)]
struct Finder {
    rule: usize,
    regex: Regex,
    /// Its bit in what [`Literals::of`] answers; none for configured expressions, which search every text.
    gate: Option<u32>,
}

/// The literals of all finders, found in one pass.
#[derive(Debug)]
struct Literals {
    automaton: AhoCorasick,
    /// For each literal of the automaton the bit of its finder.
    gates: Vec<u32>,
}

impl Literals {
    fn new(of: &[(&'static str, u32)]) -> Result<Literals, MaskError> {
        let automaton = automaton(of.iter().map(|(literal, _)| *literal), true)?;
        Ok(Literals { automaton, gates: of.iter().map(|(_, gate)| *gate).collect() })
    }

    /// The finders that may find something in a text, as bits.
    fn of(&self, text: &str) -> u32 {
        self.automaton.find_overlapping_iter(text).fold(0, |bits, found| bits | self.gates[found.pattern()])
    }
}

/// Finds any of some literals in one pass.
pub(super) fn automaton<'a>(
    literals: impl Iterator<Item = &'a str>,
    ignore_case: bool,
) -> Result<AhoCorasick, MaskError> {
    AhoCorasick::builder()
        .ascii_case_insensitive(ignore_case)
        .kind(Some(AhoCorasickKind::DFA))
        .build(literals)
        .map_err(|error| MaskError::BadPattern { name: "of literals".to_owned(), why: error.to_string() })
}

/// What is looked for. A rule is its place in `names`.
#[derive(Debug)]
pub(super) struct Rules {
    names: Vec<String>,
    keys: SecretKeys,
    key_rule: usize,
    card_rule: Option<usize>,
    finders: Vec<Finder>,
    literals: Literals,
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
        let keys = SecretKeys::new(applies("key"), &config.keys, &config.allow_keys)?;
        let (mut finders, mut literals) = (Vec::new(), Vec::new());
        for BuiltIn { rule: name, regex, literals: own } in &PATTERNS {
            let Some(rule) = names.iter().position(|n| n == name) else { continue };
            let gate = 1 << finders.len();
            literals.extend(own.iter().map(|literal| (*literal, gate)));
            finders.push(Finder { rule, regex: compile(name, regex)?, gate: Some(gate) });
        }
        for pattern in &config.patterns {
            if !is_name(&pattern.name) || names.contains(&pattern.name) || BUILT_IN.contains(&pattern.name.as_str()) {
                return Err(MaskError::BadName(pattern.name.clone()));
            }
            finders.push(Finder { rule: names.len(), regex: compile(&pattern.name, &pattern.regex)?, gate: None });
            names.push(pattern.name.clone());
        }
        let card_rule = names.iter().position(|n| n == "card");
        Ok(Rules { names, keys, key_rule: 0, card_rule, finders, literals: Literals::new(&literals)? })
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

    /// Whether no rule can find anything in a text or in a part of it, said at a glance:
    /// no escapes, no literal of an expression, no name of a secret key, no thirteen digits.
    /// Configured expressions have no literals: with them, every text is read.
    pub(super) fn none_in(&self, text: &str) -> bool {
        self.finders.iter().all(|finder| finder.gate.is_some())
            && memchr::memchr2(b'%', b'\\', text.as_bytes()).is_none()
            && !self.literals.automaton.is_match(text)
            && !(self.card_rule.is_some() && card::may_hold(text))
            && !self.keys.any_in(text)
    }

    /// Everything but keys in a text, unordered.
    pub(super) fn find(&self, text: &str, hits: &mut Vec<Hit>) {
        let gates = self.literals.of(text);
        for finder in &self.finders {
            if finder.gate.is_some_and(|gate| gates & gate == 0) {
                continue;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each alternative of each expression passes the gate before it, and no other text does.
    #[test]
    fn no_gate_keeps_a_secret() {
        let rules = Rules::new(&MaskConfig::default()).expect("valid");
        let (x, hex) = ("x".repeat(40), "0a".repeat(16));
        let mut samples = vec!["a@b.de".to_owned(), "A+ä@b.c.DE".to_owned(), format!("eyJ{x}.{x}")];
        samples.extend(["bearer 12345678", "BeArEr 12345678", "authorization: basic abcd"].map(str::to_owned));
        samples.push("AUTHORIZATION=BASIC abcd".to_owned());
        for head in ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxa-", "xoxb-", "xoxe-"] {
            samples.push(format!("{head}{x}"));
        }
        for head in ["xoxo-", "xoxp-", "xoxr-", "xoxs-", "sk_live_", "rk_live_", "sk_test_", "rk_test_", "hf_"] {
            samples.push(format!("{head}{x}"));
        }
        for head in ["npm_", "pypi-", "AIza", "ya29.", "GOCSPX-", "x-amz-signature=", "X-Amz-Security-Token="] {
            samples.push(format!("{head}{x}"));
        }
        for head in ["X-Amz-Credential=", "AccountKey=", "sharedaccesskey=", "SharedAccessSignature=", "SIG="] {
            samples.push(format!("{head}{x}"));
        }
        for head in ["AKIA", "ASIA", "AROA", "AIDA", "ABIA", "ACCA"] {
            samples.push(format!("{head}0123456789ABCDEF"));
        }
        samples.extend([format!("dapi{hex}"), "s://u:p@h".to_owned(), format!("{}==", "a".repeat(86))]);
        samples.push("-----BEGIN PRIVATE KEY-----\nx".to_owned());
        samples.push("-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----".to_owned());
        for sample in &samples {
            let mut hits = Vec::new();
            rules.find(sample, &mut hits);
            assert!(!hits.is_empty(), "{sample}");
        }
        for finder in &rules.finders {
            assert!(samples.iter().any(|sample| finder.regex.is_match(sample)), "{} has no sample", finder.regex);
        }
        assert_eq!(rules.literals.of("read 5 rows of orders: ok = true"), 0);
    }
}
