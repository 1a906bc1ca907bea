//! Identifiers that a target writes into its metric names: a variable of the shape.
//!
//! A Spark driver calls each of its metrics by its application's id
//! (`metrics_app_20240101120000_0001_driver_jobs_Value`). A shape holds [`PLACEHOLDER`]
//! where the id of its dump stood, so that every driver of one version has the same.
//!
//! **Why one dump with another id means the same.** The placeholder is put into the body
//! before it is parsed, so blocks are those of the body with one name for another. With
//! any other id in its place, names are the same or different exactly as before: each
//! name holds the placeholder at most once and between bounds that no id reaches across,
//! and no name holds anything else that looks like an id ([`is_clear`]), so that no id
//! can make two of them one. Ids elsewhere (labels, HELP) are text like other text.
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use memchr::memmem;

use crate::codec::ParseOptions;
use crate::model::Parsed;

/// Stands for the id. A piece of a legacy name that no part of itself ends with, and no
/// id by [`find`].
pub(super) const PLACEHOLDER: &str = "K2pVarId";
/// The most bytes of an id.
pub(super) const LONGEST: usize = 38;

/// Where the first id in a legacy metric name is, dashes already underscores:
/// `local-<ms>` (local mode), `app-<second>-<number>` (standalone), `spark-<UUID>`
/// (Kubernetes), `application_<ms>_<number>` (YARN).
pub(super) fn find(name: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let rest = &name[at..];
        if let Some(length) = id(rest) {
            return Some(at..at + length);
        }
        at += memchr::memchr2(b'_', b':', rest)? + 1;
    }
}

/// The length of the id that a text begins with; letters or digits must not follow.
fn id(text: &[u8]) -> Option<usize> {
    let run = |from: usize, most: usize, is: fn(&u8) -> bool| {
        text.get(from..).map_or(0, |rest| rest.iter().take(most).take_while(|b| is(b)).count())
    };
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let (start, number) = match text {
        [b'l', b'o', b'c', b'a', b'l', b'_', ..] => (6 + 13, false),
        [b'a', b'p', b'p', b'_', ..] => (4 + 14, true),
        [b's', b'p', b'a', b'r', b'k', b'_', ..] => (6 + 32, false),
        _ if text.starts_with(b"application_") => (12 + 13, true),
        _ => return None,
    };
    let prefix = memchr::memchr(b'_', text)? + 1;
    let is: fn(&u8) -> bool = if text[0] == b's' { hex } else { u8::is_ascii_digit };
    if run(prefix, start - prefix, is) < start - prefix {
        return None;
    }
    let mut end = start;
    if number {
        let digits = run(start + 1, 9, u8::is_ascii_digit);
        if text.get(start) != Some(&b'_') || digits < 4 {
            return None;
        }
        end += 1 + digits;
    }
    (!text.get(end).is_some_and(u8::is_ascii_alphanumeric)).then_some(end)
}

/// The id in the name on a body's first line, which is the variable of its shape.
pub(super) fn of_body(body: &[u8]) -> Option<Range<usize>> {
    let line = &body[..memchr::memchr(b'\n', body)?];
    let start = if METADATA.iter().any(|m| line.starts_with(m.as_bytes())) { METADATA[0].len() } else { 0 };
    let name = &line[start..];
    let length = name.iter().position(|b| !is_name(*b)).unwrap_or(name.len());
    let found = find(&name[..length])?;
    Some(start + found.start..start + found.end)
}

const METADATA: [&str; 3] = ["# HELP ", "# TYPE ", "# UNIT "];

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

/// The body with the placeholder for the id in each metric name. `None`: the placeholder
/// is in the body already.
pub(super) fn substituted(body: &[u8], id: &str) -> Option<Vec<u8>> {
    if memmem::find(body, PLACEHOLDER.as_bytes()).is_some() {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut from = 0;
    for at in memmem::find_iter(body, id).filter(|at| is_in_name(body, *at, at + id.len())) {
        out.extend_from_slice(&body[from..at]);
        out.extend_from_slice(PLACEHOLDER.as_bytes());
        from = at + id.len();
    }
    out.extend_from_slice(&body[from..]);
    Some(out)
}

/// Whether a piece of a body stands alone in the metric name of a line.
fn is_in_name(body: &[u8], at: usize, end: usize) -> bool {
    let before = body[..at].iter().rev().take_while(|b| is_name(**b)).count();
    let start = at - before;
    let bounded =
        (before == 0 || matches!(body[at - 1], b'_' | b':')) && !body.get(end).is_some_and(u8::is_ascii_alphanumeric);
    let at_line = |start: usize| start == 0 || body[start - 1] == b'\n';
    let metadata = |m: &&str| body[..start].ends_with(m.as_bytes()) && at_line(start - m.len());
    bounded && (at_line(start) || METADATA.iter().any(metadata))
}

/// What a body with placeholders is parsed by: its names may be longer than it shows.
pub(super) fn options(options: &ParseOptions, id: &str) -> ParseOptions {
    let longer = if id.is_empty() { 0 } else { LONGEST };
    ParseOptions { max_label_value: options.max_label_value.saturating_sub(longer), ..*options }
}

/// Whether every name of a dump holds the placeholder at most once, and no id.
pub(super) fn is_clear(parsed: &Parsed<'_>) -> bool {
    let finder = memmem::Finder::new(PLACEHOLDER);
    let clear = |name: &str| {
        let mut places = finder.find_iter(name.as_bytes());
        (places.next().is_none() || places.next().is_none()) && find(name.as_bytes()).is_none()
    };
    parsed.families.iter().all(|family| {
        let others = family.samples.iter().filter(|s| s.name != family.name);
        clear(&family.name) && others.map(|s| s.name.as_ref()).all(clear)
    })
}

/// A name, the id apart; without one all of it is in the head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) head: &'a str,
    pub(crate) id: &'a str,
    pub(crate) tail: &'a str,
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Name<'a> {
        Name { head: text, id: "", tail: "" }
    }
}

impl<'a> Name<'a> {
    /// A name that a block holds, the placeholder at that place of it if anywhere.
    pub(super) fn new(kept: &'a str, hole: Option<usize>, id: &'a str) -> Name<'a> {
        match hole {
            None => Name::from(kept),
            Some(hole) => Name { head: &kept[..hole], id, tail: &kept[hole + PLACEHOLDER.len()..] },
        }
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        self.head.bytes().chain(self.id.bytes()).chain(self.tail.bytes())
    }

    /// The order of the names as they are written.
    pub(super) fn order(self, other: Name<'_>) -> Ordering {
        match (self.id, other.id) {
            ("", "") => self.head.cmp(other.head),
            (one, same) if one == same && self.head == other.head => self.tail.cmp(other.tail),
            _ => self.bytes().cmp(other.bytes()),
        }
    }

    pub(crate) fn len(self) -> usize {
        self.head.len() + self.id.len() + self.tail.len()
    }

    pub(crate) fn equals(self, name: &str) -> bool {
        match self.id {
            "" => self.head == name,
            _ => self.order(Name::from(name)).is_eq(),
        }
    }

    pub(crate) fn text(self) -> Cow<'a, str> {
        match self.id {
            "" => Cow::Borrowed(self.head),
            _ => Cow::Owned([self.head, self.id, self.tail].concat()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ids_in_names() {
        for (name, id) in [
            ("metrics_local_1795218838759_driver_jobs", Some("local_1795218838759")),
            ("local_1795218838759", Some("local_1795218838759")),
            ("metrics_app_20261120235950_0001_driver", Some("app_20261120235950_0001")),
            ("metrics_app_20261120235950_10000_0_jvm", Some("app_20261120235950_10000")),
            ("metrics_application_1700000000000_0001_driver", Some("application_1700000000000_0001")),
            ("metrics_spark_0123456789abcdef0123456789abcdef_driver", Some("spark_0123456789abcdef0123456789abcdef")),
            ("a:local_1795218838759:b", Some("local_1795218838759")),
            // Too short, too long, run together with something else.
            ("metrics_local_179521883875_driver", None),
            ("metrics_local_17952188387590_driver", None),
            ("metrics_local_1795218838759x", None),
            ("xlocal_1795218838759", None),
            ("metrics_app_20261120235950_001_driver", None),
            ("metrics_app_20261120235950_0123456789_driver", None),
            ("metrics_app_20261120235950", None),
            ("metrics_application_nightly_etl_1795219190533_cores", None),
            ("metrics_application_1700000000000_x", None),
            ("metrics_spark_0123456789ABCDEF0123456789abcdef", None),
            ("app_", None),
            ("", None),
            (PLACEHOLDER, None),
        ] {
            let found = find(name.as_bytes()).map(|r| &name[r]);
            assert_eq!(found, id, "{name}");
            assert!(id.is_none_or(|id| id.len() <= LONGEST));
        }
    }

    #[test]
    fn the_variable_of_a_body() {
        for (body, id) in [
            ("m_local_1795218838759_x 1\n", Some("local_1795218838759")),
            ("# TYPE m_local_1795218838759_x gauge\n", Some("local_1795218838759")),
            ("# HELP m_local_1795218838759_x Text.\n", Some("local_1795218838759")),
            ("# HELP m Text of local_1795218838759\nm_local_1795218838759 1\n", None),
            ("m{app=\"local_1795218838759\"} 1\n", None),
            ("# local_1795218838759\n", None),
            ("m_local_1795218838759_x 1", None),
            ("\n", None),
        ] {
            assert_eq!(of_body(body.as_bytes()).map(|r| &body[r]), id, "{body}");
        }
    }

    #[test]
    fn only_names_are_substituted() {
        const ID: &str = "local_1795218838759";
        for (body, expected) in [
            ("m_ID_x{a=\"ID\"} 1\n", "m_PH_x{a=\"ID\"} 1\n"),
            ("# HELP ID_x The ID.\n# TYPE ID_x gauge\nID_x 1\n", "# HELP PH_x The ID.\n# TYPE PH_x gauge\nPH_x 1\n"),
            ("# UNIT m_ID s\n# about ID\n", "# UNIT m_PH s\n# about ID\n"),
            ("m_ID_ID 1\n", "m_PH_PH 1\n"),
            ("m_ID9 1\nmID 1\nm_ID:r 1\n", "m_ID9 1\nmID 1\nm_PH:r 1\n"),
            (" m_ID 1\n{\"m_ID\"} 1\n#  TYPE m_ID gauge\n", " m_ID 1\n{\"m_ID\"} 1\n#  TYPE m_ID gauge\n"),
        ] {
            let real = |text: &str| text.replace("ID", ID).replace("PH", PLACEHOLDER);
            let out = substituted(real(body).as_bytes(), ID).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), real(expected));
        }
        assert_eq!(substituted(PLACEHOLDER.as_bytes(), ID), None);
    }

    #[test]
    fn names_in_pieces_are_in_the_order_of_their_texts() {
        let texts = ["", "a", "a_", "a_K2pVarId", "a_K2pVarId_b", "a_K2pVarId_c", "a_l", "a_local_2", "b_K2pVarId"];
        for id in ["local_1", "local_20", "app_9"] {
            let real = |text: &str| text.replace(PLACEHOLDER, id);
            for a in texts {
                for b in texts {
                    let (x, y) = (Name::new(a, a.find(PLACEHOLDER), id), Name::new(b, b.find(PLACEHOLDER), id));
                    assert_eq!(x.order(y), real(a).cmp(&real(b)), "{a} {b} {id}");
                    assert_eq!((x.text(), x.equals(&real(b))), (real(a).into(), real(a) == real(b)));
                }
            }
        }
    }
}
