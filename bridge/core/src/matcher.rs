//! `?origin=`: which origins, in Prometheus' series selector syntax.
//!
//! `{cluster="acme",job=~"spark.*"}`; the braces may be left out. `=`, `!=`, `=~`, `!~`;
//! a label that an origin lacks is the empty text, regular expressions are anchored at
//! both ends and a dot matches a newline, as in Prometheus. Values stand between `"`,
//! `'` or backticks (these without escapes).
use regex::{Regex, RegexBuilder};

use crate::labels::{Labels, is_legacy_label_name};

/// The longest selector that is read, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 4 * 1024;
/// The most bytes that one compiled expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Why a selector was refused; the text is fit for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// Against the grammar. The column counts bytes from 1.
    #[error("column {column}: {what}")]
    Syntax {
        /// Where.
        column: usize,
        /// What was expected.
        what: &'static str,
    },
    /// A regular expression that does not compile, or is too large.
    #[error("the expression for {label} is refused: {detail}")]
    Regex {
        /// Whose expression.
        label: String,
        /// The library's words.
        detail: String,
    },
    /// Longer than [`MAX_SELECTOR_BYTES`].
    #[error("the selector has more than {MAX_SELECTOR_BYTES} bytes")]
    TooLong,
}

/// A compiled selector over an origin's labels.
#[derive(Debug, Clone)]
pub struct Matcher {
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    label: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Matcher {
    /// Reads a selector; an empty one matches every origin.
    ///
    /// # Errors
    /// [`MatcherError`] says where and what.
    pub fn parse(text: &str) -> Result<Matcher, MatcherError> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(MatcherError::TooLong);
        }
        let mut reader = Reader { text, at: 0 };
        let braces = reader.take("{");
        let mut conditions = Vec::new();
        loop {
            if (braces && reader.take("}")) || reader.ended() {
                break;
            }
            conditions.push(reader.condition()?);
            if reader.take(",") {
                continue;
            }
            if braces && !reader.take("}") {
                return Err(reader.fault("expected `,` or `}`"));
            }
            break;
        }
        if braces && !text[..reader.at].trim_end().ends_with('}') {
            return Err(reader.fault("expected `}`"));
        }
        match reader.ended() {
            true => Ok(Matcher { conditions }),
            false => Err(reader.fault("expected the end")),
        }
    }

    /// Whether all conditions hold.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.conditions.iter().all(|condition| {
            let value = labels.get(&condition.label).unwrap_or("");
            match &condition.test {
                Test::Equal(text) => value == text,
                Test::NotEqual(text) => value != text,
                Test::Matches(regex) => regex.is_match(value),
                Test::MatchesNot(regex) => !regex.is_match(value),
            }
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, what: &'static str) -> MatcherError {
        MatcherError::Syntax { column: self.at + 1, what }
    }

    fn rest(&mut self) -> &str {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        &self.text[self.at..]
    }

    fn ended(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn condition(&mut self) -> Result<Condition, MatcherError> {
        let label = self.label()?;
        // `=~` before `=`: the longer operator first.
        let operators = ["=~", "!~", "!=", "="];
        let Some(operator) = operators.into_iter().find(|op| self.take(op)) else {
            return Err(self.fault("expected one of = != =~ !~"));
        };
        let value = self.quoted()?;
        let test = match operator {
            "=" => Test::Equal(value),
            "!=" => Test::NotEqual(value),
            "=~" => Test::Matches(compile(&label, &value)?),
            _ => Test::MatchesNot(compile(&label, &value)?),
        };
        Ok(Condition { label, test })
    }

    fn label(&mut self) -> Result<String, MatcherError> {
        if matches!(self.rest().as_bytes().first(), Some(b'"' | b'\'' | b'`')) {
            return self.quoted();
        }
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        if !is_legacy_label_name(&name) {
            return Err(self.fault("expected a label name"));
        }
        self.at += end;
        Ok(name)
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let rest = self.rest();
        let mut chars = rest.char_indices();
        let quote = match chars.next() {
            Some((_, quote @ ('"' | '\'' | '`'))) => quote,
            _ => return Err(self.fault("expected a quoted text")),
        };
        let mut value = String::new();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                self.at += i + 1;
                return Ok(value);
            }
            if c != '\\' || quote == '`' {
                value.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, c @ ('\\' | '"' | '\''))) => value.push(c),
                _ => return Err(self.fault("a backslash sequence that is not known in this text")),
            }
        }
        Err(self.fault("a quoted text without its end"))
    }
}

fn compile(label: &str, pattern: &str) -> Result<Regex, MatcherError> {
    RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|e| MatcherError::Regex { label: label.to_owned(), detail: e.to_string() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn selects_as_prometheus_does() {
        let labels = Labels::parse(r#"cluster="acme",job="spark driver",n="a\nb""#).unwrap();
        for (expected, selector) in [
            (true, ""),
            (true, "{}"),
            (true, " { } "),
            (true, r#"{cluster="acme"}"#),
            (true, r#"cluster="acme""#),
            (true, r#"{cluster="acme",}"#),
            (true, r#"{ cluster = 'acme' , job =~ `spark.*` }"#),
            (false, r#"{cluster="acm"}"#),
            (false, r#"{cluster=~"acm"}"#),
            (true, r#"{cluster=~"acm|acme"}"#),
            (true, r#"{cluster!~"acm"}"#),
            (false, r#"{cluster!="acme"}"#),
            (true, r#"{absent=""}"#),
            (true, r#"{absent!="x"}"#),
            (false, r#"{absent=~".+"}"#),
            (true, r#"{n="a\nb"}"#),
            (true, r#"{n=~"a.b"}"#),
            (true, r#"{"cluster"="acme"}"#),
            (false, r#"{cluster="acme",job="other"}"#),
        ] {
            let matcher = Matcher::parse(selector).unwrap();
            assert_eq!(matcher.matches(&labels), expected, "{selector}");
        }
    }

    #[test]
    fn refuses_with_the_place() {
        for (selector, message) in [
            ("{", "column 2: expected `}`"),
            ("{a=\"b\"", "column 7: expected `,` or `}`"),
            ("{a=\"b\"} x", "column 9: expected the end"),
            ("{a}", "column 3: expected one of = != =~ !~"),
            ("{a=b}", "column 4: expected a quoted text"),
            ("{a=\"b}", "column 4: a quoted text without its end"),
            ("{a=\"\\q\"}", "column 4: a backslash sequence that is not known in this text"),
            ("{1a=\"b\"}", "column 2: expected a label name"),
            ("a=\"b\" c=\"d\"", "column 7: expected the end"),
        ] {
            assert_eq!(Matcher::parse(selector).unwrap_err().to_string(), message);
        }
        for selector in [r#"{a=~"("}"#, r#"{a=~"(?:x{1000}){1000}"}"#] {
            let error = Matcher::parse(selector).unwrap_err();
            assert!(matches!(error, MatcherError::Regex { .. }), "{error}");
        }
        assert_eq!(Matcher::parse(&"x".repeat(5000)).unwrap_err(), MatcherError::TooLong);
    }
}
