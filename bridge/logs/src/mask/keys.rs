//! Which keys are secret.
use aho_corasick::AhoCorasick;

use super::MaskError;
use super::rules::automaton;

/// Secret by any part of the name.
const PARTS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "connectionstring",
    "sharedaccess",
    "accountkey",
];

/// Secret by the end of the name. Not `key` alone: records have keys.
const ENDS: [&str; 11] = [
    "authorization",
    "token",
    "pwd",
    "passcode",
    "cookie",
    "sastoken",
    "encryptionkey",
    "signingkey",
    "masterkey",
    "sessionid",
    "authkey",
];

/// Names, folded by [`fold`].
#[derive(Debug)]
pub(super) struct SecretKeys {
    parts: Vec<String>,
    ends: Vec<String>,
    /// Any of both: most keys have none, and are done with one pass.
    any: AhoCorasick,
    allowed: Vec<String>,
}

impl SecretKeys {
    /// The built-in names, if wanted, and the configured ones.
    pub(super) fn new(built_in: bool, configured: &[String], allowed: &[String]) -> Result<SecretKeys, MaskError> {
        let (mut parts, mut ends) = (Vec::new(), Vec::new());
        if built_in {
            parts.extend(PARTS.map(str::to_owned));
            ends.extend(ENDS.map(str::to_owned));
        }
        for key in configured {
            let name = fold(key);
            if name.chars().count() < 3 {
                return Err(MaskError::ShortKey(key.clone()));
            }
            let part = key.len() > 1 && key.starts_with('*') && key.ends_with('*');
            if part { &mut parts } else { &mut ends }.push(name);
        }
        let any = automaton(parts.iter().chain(&ends).map(String::as_str), false)?;
        Ok(SecretKeys { parts, ends, any, allowed: allowed.iter().map(|key| fold(key)).collect() })
    }

    pub(super) fn is_secret(&self, key: &str) -> bool {
        if key.len() < 3 || key.len() > 512 {
            return false;
        }
        let name = fold(key);
        if !self.any.is_match(&name) {
            return false;
        }
        let listed = self.ends.iter().any(|end| name.ends_with(end.as_str()))
            || self.parts.iter().any(|p| name.contains(p.as_str()));
        listed && !self.allowed.contains(&name)
    }

    /// Whether any part of a text, taken as a key, could be secret.
    pub(super) fn any_in(&self, text: &str) -> bool {
        self.any.is_match(&fold(text))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.ends.is_empty()
    }
}

/// Letters and digits in lower case, without what people put between words.
fn fold(key: &str) -> String {
    if key.is_ascii() {
        let mut name = String::with_capacity(key.len());
        for b in key.bytes().filter(u8::is_ascii_alphanumeric) {
            name.push(char::from(b.to_ascii_lowercase()));
        }
        return name;
    }
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_without_case_and_separators() {
        let keys = SecretKeys::new(true, &["badge".into(), "*iban*".into()], &["secret_count".into()]).expect("valid");
        for key in [
            "password",
            "PASSWORD",
            "db.password",
            "user_password_hash",
            "api_key",
            "API-KEY",
            "apiKey",
            "x-api-key",
            "access_token",
            "Authorization",
            "clientSecret",
            "AWS_SECRET_ACCESS_KEY",
            "Set-Cookie",
            "pwd",
            "badge",
            "my-badge",
            "ibanOfPayer",
        ] {
            assert!(keys.is_secret(key), "{key}");
        }
        for key in ["key", "run_id", "tokens_used", "token_count", "badges", "secret-count", "level", "id"] {
            assert!(!keys.is_secret(key), "{key}");
        }
        assert_eq!(SecretKeys::new(true, &["*x*".into()], &[]).map(|_| ()), Err(MaskError::ShortKey("*x*".into())));
    }
}
