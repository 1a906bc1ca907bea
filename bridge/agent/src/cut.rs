//! Cuts a dump that is too large for one record into parts, family by family.
//!
//! Pure line scanning, no parsing: what is wrong in a dump stays wrong in its part,
//! for the bridge to reject and count. All lines of a family end up in one part, in
//! their order, even where the dump scatters them (Spark's executor dumps do), so
//! every part is a dump of its own.
use std::collections::HashMap;
use std::ops::Range;

/// The suffixes that samples add to the name of their family in any text format.
const SUFFIXES: [&[u8]; 8] = [b"_bucket", b"_count", b"_sum", b"_total", b"_created", b"_info", b"_gcount", b"_gsum"];

/// The last line of an OpenMetrics dump.
pub(crate) const EOF_LINE: &[u8] = b"# EOF\n";

/// All lines of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    ranges: Vec<Range<usize>>,
    bytes: usize,
}

impl Piece {
    fn push(&mut self, line: Range<usize>) {
        self.bytes += line.len();
        match self.ranges.last_mut() {
            Some(last) if last.end == line.start => last.end = line.end,
            _ => self.ranges.push(line),
        }
    }
}

/// The families of a dump, in the order of their first line. `# EOF` is in none.
pub(crate) fn pieces(dump: &[u8]) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    let mut by_name: HashMap<&[u8], usize> = HashMap::new();
    let mut current: Option<usize> = None;
    for line in lines(dump) {
        let text = dump[line.clone()].trim_ascii();
        if text == EOF_LINE.trim_ascii() {
            continue;
        }
        let index = match name(text) {
            None => current.unwrap_or(0),
            Some((name, metadata)) => {
                let known = by_name.get(name).copied();
                let known = known.or_else(|| if metadata { None } else { base(&by_name, name) });
                known.unwrap_or_else(|| {
                    by_name.insert(name, all.len());
                    all.len()
                })
            }
        };
        if index >= all.len() {
            all.push(Piece::default());
        }
        all[index].push(line);
        current = Some(index);
    }
    all
}

/// Groups pieces, in order, so that a group holds about `bytes` (one piece at least).
pub(crate) fn groups(pieces: &[Piece], bytes: usize) -> Vec<&[Piece]> {
    let mut out = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (i, piece) in pieces.iter().enumerate() {
        if i > start && size + piece.bytes > bytes {
            out.push(&pieces[start..i]);
            (start, size) = (i, 0);
        }
        size += piece.bytes;
    }
    if start < pieces.len() {
        out.push(&pieces[start..]);
    }
    out
}

/// The dump that a group of pieces makes; `eof` ends it as OpenMetrics asks.
pub(crate) fn assemble(dump: &[u8], pieces: &[Piece], eof: bool) -> Vec<u8> {
    let size: usize = pieces.iter().map(|p| p.bytes).sum();
    let mut out = Vec::with_capacity(size + EOF_LINE.len() + 1);
    for range in pieces.iter().flat_map(|p| &p.ranges) {
        out.extend_from_slice(&dump[range.clone()]);
        // The dump's last line may lack its line end.
        if out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    if eof {
        out.extend_from_slice(EOF_LINE);
    }
    out
}

/// A readable name for a piece, for the log: its first line, shortened.
pub(crate) fn describe(dump: &[u8], piece: &Piece) -> String {
    let start = piece.ranges.first().map_or(0, |r| r.start);
    let end = piece.ranges.first().map_or(0, |r| r.end);
    let line = dump[start..end].split(|b| *b == b'\n').next();
    let line = line.unwrap_or_default();
    let short = &line[..line.len().min(80)];
    short.escape_ascii().to_string()
}

/// Whether the dump's last line is OpenMetrics' `# EOF`.
pub(crate) fn ends_with_eof(dump: &[u8]) -> bool {
    let body = dump.strip_suffix(b"\n").unwrap_or(dump);
    body == b"# EOF" || body.ends_with(b"\n# EOF")
}

/// Byte ranges of the lines, line ends included.
fn lines(dump: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= dump.len() {
            return None;
        }
        let end = memchr::memchr(b'\n', &dump[at..]).map_or(dump.len(), |n| at + n + 1);
        let line = at..end;
        at = end;
        Some(line)
    })
}

/// The metric name that a line is about, and whether the line is metadata; `None` for
/// blank lines and plain comments, which stay where they are.
fn name(line: &[u8]) -> Option<(&[u8], bool)> {
    let Some(comment) = line.strip_prefix(b"#") else {
        return sample_name(line).map(|n| (n, false));
    };
    let comment = comment.trim_ascii_start();
    let (word, rest) = split_blank(comment);
    if !matches!(word, b"HELP" | b"TYPE" | b"UNIT") {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let name = match rest.first() {
        Some(b'"') => quoted(rest)?,
        _ => split_blank(rest).0,
    };
    Some((name, true))
}

fn sample_name(line: &[u8]) -> Option<&[u8]> {
    if let Some(inside) = line.strip_prefix(b"{") {
        return quoted(inside.trim_ascii_start());
    }
    let end = line.iter().position(|b| *b == b'{' || b.is_ascii_whitespace()).unwrap_or(line.len());
    (end > 0).then(|| &line[..end])
}

/// The inside of a quoted string at the start of `text`, escapes as they stand.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (i, byte) in inside.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(&inside[..i]),
            _ => {}
        }
    }
    None
}

fn split_blank(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace);
    text.split_at(end.unwrap_or(text.len()))
}

/// The known family whose name a sample's name extends by a suffix.
fn base(by_name: &HashMap<&[u8], usize>, name: &[u8]) -> Option<usize> {
    let stems = SUFFIXES.iter().filter_map(|s| name.strip_suffix(*s));
    stems.filter_map(|stem| by_name.get(stem).copied()).next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(dump: &str, bytes: usize, eof: bool) -> Vec<String> {
        let pieces = pieces(dump.as_bytes());
        let groups = groups(&pieces, bytes);
        let part = |g: &&[Piece]| String::from_utf8(assemble(dump.as_bytes(), g, eof)).unwrap();
        groups.iter().map(part).collect()
    }

    #[test]
    fn each_family_is_whole_in_one_part() {
        let cases: &[(&str, bool, &[&str])] = &[
            ("", false, &[]),
            ("a 1\nb 2\n", false, &["a 1\n", "b 2\n"]),
            ("a 1\nb 2", false, &["a 1\n", "b 2\n"]),
            ("a{x=\"1\"} 1\nb 2\na{x=\"2\"} 3\n", false, &["a{x=\"1\"} 1\na{x=\"2\"} 3\n", "b 2\n"]),
            (
                "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\nh2 1\n",
                false,
                &["# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n", "h2 1\n"],
            ),
            (
                "# HELP a x\n# TYPE a gauge\na 1\n# a comment\n# HELP b y\nb 1\n",
                false,
                &["# HELP a x\n# TYPE a gauge\na 1\n# a comment\n", "# HELP b y\nb 1\n"],
            ),
            (
                "# TYPE c counter\n# UNIT c seconds\nc_total 1 # {t=\"x\"} 1\nc_created 2\n# TYPE d gauge\nd 1\n# EOF\n",
                true,
                &[
                    "# TYPE c counter\n# UNIT c seconds\nc_total 1 # {t=\"x\"} 1\nc_created 2\n# EOF\n",
                    "# TYPE d gauge\nd 1\n# EOF\n",
                ],
            ),
            (
                "# TYPE \"a b\" gauge\n{\"a b\"} 1\n{\"a b\",x=\"1\"} 2\nc 1\n",
                false,
                &["# TYPE \"a b\" gauge\n{\"a b\"} 1\n{\"a b\",x=\"1\"} 2\n", "c 1\n"],
            ),
            ("# nothing yet\na 1\n", false, &["# nothing yet\n", "a 1\n"]),
            ("{\"a\\\"b\"} 1\n{broken\n", false, &["{\"a\\\"b\"} 1\n{broken\n"]),
        ];
        for (dump, eof, expected) in cases {
            assert_eq!(&parts(dump, 1, *eof), expected, "{dump:?}");
        }
    }

    proptest! {
        /// Cutting loses no line, invents none, and keeps the order within a family.
        #[test]
        fn cutting_moves_whole_families_and_nothing_else(
            lines in prop::collection::vec((0..4_usize, 0..6_usize), 0..40),
            bytes in 1..200_usize,
        ) {
            let line = |(i, (family, form)): (usize, &(usize, usize))| match form {
                0 => format!("# HELP f{family} {i}\n"),
                1 => format!("# TYPE f{family} histogram {i}\n"),
                2 => format!("f{family}_bucket{{le=\"1\"}} {i}\n"),
                _ => format!("f{family}{{x=\"{i}\"}} 1\n"),
            };
            let all: Vec<String> = lines.iter().enumerate().map(line).collect();
            let parts = parts(&all.concat(), bytes, false);
            let family = |line: &str| {
                let at = line.find('f').unwrap();
                line[at + 1..at + 2].to_owned()
            };
            let mut seen = std::collections::BTreeMap::new();
            let mut kept: Vec<String> = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                for line in part.split_inclusive('\n') {
                    // A bucket before its family's name was seen is a family of its own.
                    let name = (family(line), line.contains("_bucket"));
                    if !name.1 {
                        prop_assert_eq!(*seen.entry(name).or_insert(i), i);
                    }
                    kept.push(line.to_owned());
                }
            }
            for f in 0..4_usize {
                let of = |all: &[String]| -> Vec<String> {
                    let plain = |l: &&String| !l.contains("_bucket") && family(l) == f.to_string();
                    all.iter().filter(plain).cloned().collect()
                };
                prop_assert_eq!(of(&kept), of(&all));
            }
            let sorted = |mut all: Vec<String>| {
                all.sort();
                all
            };
            prop_assert_eq!(sorted(kept), sorted(all));
        }
    }

    #[test]
    fn groups_fill_up_to_the_size() {
        let dump = "a 1\nb 1\nc 1\nd 1\ne 1\n";
        assert_eq!(parts(dump, 8, false), ["a 1\nb 1\n", "c 1\nd 1\n", "e 1\n"]);
        assert_eq!(parts(dump, 100, false), [dump]);
    }

    #[test]
    fn openmetrics_is_known_by_its_end() {
        let cases = [
            ("a 1\n# EOF\n", true),
            ("a 1\n# EOF", true),
            ("# EOF\n", true),
            ("a 1\n", false),
            ("a{x=\"# EOF\"} 1\n", false),
            ("", false),
            ("# EOF\na 1\n", false),
        ];
        for (dump, expected) in cases {
            assert_eq!(ends_with_eof(dump.as_bytes()), expected, "{dump:?}");
        }
    }
}
