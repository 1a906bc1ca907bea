//! The parameters of lists: `offset` and `limit`, and other numbers and names. An error is
//! one sentence for the client.
use k2p_runtime::http::Query;

/// A part of a list, by its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// So many are left out before it.
    pub(super) offset: usize,
    /// At most so many are in it.
    pub(super) limit: usize,
}

impl Slice {
    /// Reads `offset` (0 if it is not given) and `limit` (`default` if it is not given).
    pub(super) fn of(query: &Query, default: usize, max_offset: usize, max_limit: usize) -> Result<Slice, String> {
        let offset = number(query, "offset", 0, 0, max_offset)?;
        Ok(Slice { offset, limit: number(query, "limit", default, 1, max_limit)? })
    }
}

/// A parameter that says something: forms send empty ones.
pub(super) fn given<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query.get(name).filter(|text| !text.is_empty())
}

/// A number between two bounds; `default` if it is not given or empty.
pub(super) fn number(query: &Query, name: &str, default: usize, min: usize, max: usize) -> Result<usize, String> {
    let Some(text) = given(query, name) else {
        return Ok(default);
    };
    // Digits only: "+1" is no number that anybody means.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(n) if digits && (min..=max).contains(&n) => Ok(n),
        _ => Err(format!("The parameter {name} must be a number from {min} to {max}.")),
    }
}

/// One of these names; `None` if it is not given or empty.
pub(super) fn one_of<'n>(query: &Query, name: &str, names: &[&'n str]) -> Result<Option<&'n str>, String> {
    let Some(text) = given(query, name) else {
        return Ok(None);
    };
    let found = names.iter().find(|n| **n == text).copied();
    found.map(Some).ok_or_else(|| format!("The parameter {name} must be one of: {}.", names.join(", ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        let of = |query: &str| number(&Query::parse(query).unwrap(), "limit", 10, 1, 100);
        assert_eq!(of(""), Ok(10));
        assert_eq!(of("limit="), Ok(10));
        assert_eq!(of("limit=1"), Ok(1));
        assert_eq!(of("limit=100"), Ok(100));
        for wrong in ["0", "101", "-1", "%2B1", "1.5", "x", "99999999999999999999"] {
            let said = of(&format!("limit={wrong}")).unwrap_err();
            assert_eq!(said, "The parameter limit must be a number from 1 to 100.", "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_a_list() {
        let of = |query: &str| one_of(&Query::parse(query).unwrap(), "up", &["true", "false"]);
        assert_eq!(of("up=true"), Ok(Some("true")));
        assert_eq!(of("up="), Ok(None));
        assert!(of("up=yes").unwrap_err().contains("true, false"));
    }
}
