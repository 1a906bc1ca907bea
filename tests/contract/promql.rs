//! A reader of PromQL, as much of it as the dashboards use: which metrics an expression asks
//! for, by which labels, and inside of which functions.

/// One selector of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Use {
    pub(crate) metric: String,
    /// `{…}` as written, or nothing.
    pub(crate) matchers: String,
    /// The labels of the matchers.
    pub(crate) labels: Vec<String>,
    /// Functions and aggregations around it, the innermost last.
    pub(crate) inside: Vec<String>,
    /// The labels of `by` around it, by aggregation.
    pub(crate) by: Vec<Vec<String>>,
    pub(crate) ranged: bool,
    pub(crate) offset: bool,
}

impl Use {
    pub(crate) fn is_inside(&self, functions: &[&str]) -> bool {
        self.inside.iter().any(|f| functions.contains(&f.as_str()))
    }
}

const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];
const MATCHING: [&str; 4] = ["on", "ignoring", "group_left", "group_right"];

/// All selectors, in their order.
pub(crate) fn uses(expr: &str) -> Vec<Use> {
    let mut reader = Reader { expr, at: 0, inside: Vec::new(), found: Vec::new() };
    reader.run();
    reader.found
}

/// A parenthesis that is open: what it is the argument of, and that aggregation's `by`.
type Open = (String, Vec<String>);

struct Reader<'a> {
    expr: &'a str,
    at: usize,
    inside: Vec<Open>,
    found: Vec<Use>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.expr[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// `(a, b)` where it stands.
    fn labels(&mut self) -> Vec<String> {
        self.skip_spaces();
        let Some(inner) = self.rest().strip_prefix('(').and_then(|r| r.split_once(')')).map(|(inner, _)| inner) else {
            return Vec::new();
        };
        self.at += inner.len() + 2;
        inner.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect()
    }

    /// Up to the closing character, past quoted text.
    fn braces(&mut self, close: char) -> &'a str {
        let (rest, mut quoted, mut escaped) = (self.rest(), false, false);
        for (i, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                _ if c == close && !quoted => {
                    self.at += i + 1;
                    return &rest[..=i];
                }
                _ => {}
            }
        }
        panic!("{} is not closed by {close}", self.expr)
    }

    fn run(&mut self) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '(' => {
                    self.inside.push((String::new(), Vec::new()));
                    self.at += 1;
                }
                ')' => {
                    self.inside.pop().unwrap_or_else(|| panic!("{}: one ) too many", self.expr));
                    self.at += 1;
                }
                '[' => drop(self.braces(']')),
                '"' => self.quoted(),
                '{' => self.nameless(),
                '0'..='9' => drop(self.number()),
                _ if c.is_ascii_alphabetic() || c == '_' => self.name(),
                _ => self.at += c.len_utf8(),
            }
        }
        assert!(self.inside.is_empty(), "{}: a ( is not closed", self.expr);
    }

    fn quoted(&mut self) {
        let rest = &self.rest()[1..];
        self.at += rest.find('"').unwrap_or_else(|| panic!("{}: a text is not closed", self.expr)) + 2;
    }

    /// `{__name__=~"a|b"}`.
    fn nameless(&mut self) {
        let matchers = self.braces('}');
        let names = matchers.strip_prefix("{__name__=~\"").and_then(|rest| rest.strip_suffix("\"}"));
        let names = names.unwrap_or_else(|| panic!("{}: a selector without a name", self.expr));
        names.split('|').for_each(|name| self.selector(name));
    }

    fn number(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn name(&mut self) {
        let word = self.word();
        self.skip_spaces();
        if MATCHING.contains(&word) {
            self.labels();
            return;
        }
        if OPERATORS.contains(&word) {
            return;
        }
        if ["by", "without"].contains(&word) {
            panic!("{}: {word} without an aggregation before it", self.expr);
        }
        let mut by = Vec::new();
        for grouping in ["by", "without"] {
            let after = self.rest().strip_prefix(grouping).filter(|r| r.trim_start().starts_with('('));
            if after.is_none() {
                continue;
            }
            self.at += grouping.len();
            let labels = self.labels();
            by = if grouping == "by" { labels } else { Vec::new() };
            self.skip_spaces();
        }
        if self.rest().starts_with('(') {
            self.inside.push((word.to_owned(), by));
            self.at += 1;
            return;
        }
        self.selector(word);
    }

    fn selector(&mut self, metric: &str) {
        let matchers = if self.rest().starts_with('{') { self.braces('}') } else { "" };
        let ranged = self.rest().starts_with('[');
        if ranged {
            self.braces(']');
        }
        let offset = self.rest().trim_start().starts_with("offset ");
        if offset {
            self.skip_spaces();
            self.word();
            self.skip_spaces();
            self.number();
        }
        self.found.push(Use {
            metric: metric.to_owned(),
            matchers: matchers.to_owned(),
            labels: labels_of(matchers),
            inside: self.inside.iter().map(|(f, _)| f.clone()).filter(|f| !f.is_empty()).collect(),
            by: self.inside.iter().map(|(_, by)| by.clone()).filter(|by| !by.is_empty()).collect(),
            ranged,
            offset,
        });
    }
}

/// `{a="x",b=~"y,z"}` → a, b.
fn labels_of(matchers: &str) -> Vec<String> {
    let outside: Vec<&str> = matchers.split('"').step_by(2).collect();
    let names = outside.iter().flat_map(|part| part.split(','));
    let names = names.map(|part| part.trim_matches(|c: char| !c.is_alphanumeric() && c != '_').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}
