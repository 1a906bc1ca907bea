//! File names of job ids, and back.
use ring::digest;

/// The longest id, in bytes.
pub const MAX_ID: usize = 900;

/// How the ids begin under which reports of runs are kept; the pipeline follows.
pub(crate) const RUNS: &str = "runs of ";

/// The longest encoded name: with the endings it stays below the usual 255.
const MAX_NAME: usize = 200;

/// A job id as part of a file's name: letters, digits, `-`, `_` and inner dots as they are, all
/// other bytes as `%XX`. What would be longer than file systems take is `~` and the SHA-256
/// of the id; its index then holds the id. `None` for an empty id or one above [`MAX_ID`].
pub fn file_name(id: &str) -> Option<String> {
    if id.is_empty() || id.len() > MAX_ID {
        return None;
    }
    let mut name = String::with_capacity(id.len() + 8);
    for (i, b) in id.bytes().enumerate() {
        if b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || (b == b'.' && i > 0) {
            name.push(char::from(b));
        } else {
            name.push_str(&format!("%{b:02X}"));
        }
    }
    if name.len() <= MAX_NAME {
        return Some(name);
    }
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Some(format!("~{hex}"))
}

/// The id of a name that [`file_name`] made; `None` for a hashed one and for strangers.
pub fn job_of(name: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(name.len()), name.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    // Only what would be written the same way: no second name for one id.
    (file_name(&id).as_deref() == Some(name)).then_some(id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_safe() {
        for (id, name) in [
            ("run-1_a.B", "run-1_a.B"),
            ("..", "%2E."),
            (".", "%2E"),
            ("a/b\\c", "a%2Fb%5Cc"),
            ("ä\n\0~%", "%C3%A4%0A%00%7E%25"),
        ] {
            assert_eq!(file_name(id).as_deref(), Some(name));
            assert_eq!(job_of(name).as_deref(), Some(id));
        }
        assert_eq!(file_name(""), None);
        assert_eq!(file_name(&"x".repeat(MAX_ID + 1)), None);
        assert_eq!(job_of("%2f"), None);
        assert_eq!(file_name(&"/".repeat(300)).unwrap().len(), 65);
    }

    proptest! {
        #[test]
        fn a_name_leads_back(id in any::<String>()) {
            if let Some(name) = file_name(&id) {
                prop_assert!(name.len() <= MAX_NAME);
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%~".contains(&b)));
                prop_assert!(!name.starts_with('.'));
                if !name.starts_with('~') {
                    prop_assert_eq!(job_of(&name), Some(id));
                }
            }
        }
    }
}
