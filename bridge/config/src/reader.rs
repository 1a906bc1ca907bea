//! Typed getters over a [`Document`] that collect what is wrong.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::tree::{Entry, NodeId, Origin, Value, excerpt};
use super::value::{ValueError, format_duration, parse_bytes, parse_duration};
use super::{ConfigError, ConfigErrors, Document, Position};

/// Reads a document; every getter that meets something wrong notes it and goes on.
#[derive(Debug)]
pub struct Reader {
    document: Document,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    errors: Vec<ConfigError>,
    /// Per map that was read as a section: its path, and the keys it was asked for.
    asked: BTreeMap<NodeId, (String, BTreeSet<String>)>,
    /// Maps whose keys are the user's own.
    free: BTreeSet<NodeId>,
}

/// A mapping of the document, or a missing one: then every getter answers `None` and
/// nothing is wrong, so that defaults need no special case.
#[derive(Debug, Clone)]
pub struct Section<'r> {
    reader: &'r Reader,
    node: Option<NodeId>,
    at: Position,
    path: String,
}

impl Reader {
    /// A reader of `document`, which brings the errors of its parsing along.
    pub fn new(mut document: Document) -> Self {
        let errors = std::mem::take(&mut document.errors);
        Self { document, state: RefCell::new(State { errors, ..State::default() }) }
    }

    /// Whether there is anything to read: the file was there and is YAML. If not, only
    /// [`Reader::finish`] has something to say; what a caller would miss is not missing.
    pub fn is_readable(&self) -> bool {
        self.document.root.is_some() || self.state.borrow().errors.is_empty()
    }

    /// The top level of the file.
    pub fn root(&self) -> Section<'_> {
        let top = Position { line: 1, column: 1 };
        let mut root = Section { reader: self, node: None, at: top, path: String::new() };
        let Some(id) = self.document.root.filter(|id| !self.is_null(*id)) else {
            return root;
        };
        root.at = self.document.nodes[id].at;
        match self.document.nodes[id].value {
            Value::Map(_) => root.open(id),
            _ => self.note(root.at, "the file holds no keys", "write KEY: VALUE lines"),
        }
        root
    }

    /// Ends the reading: keys nobody asked for are errors now.
    ///
    /// # Errors
    /// Everything that was wrong, in the order of the file's lines.
    pub fn finish(self) -> Result<(), ConfigErrors> {
        self.note_unknown_keys();
        let mut errors = self.state.into_inner().errors;
        errors.sort_by_key(|error| error.position);
        errors.dedup();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }

    fn note_unknown_keys(&self) {
        let state = self.state.borrow();
        let mut unknown = Vec::new();
        for (node, (path, asked)) in &state.asked {
            if state.free.contains(node) {
                continue;
            }
            for entry in self.entries(*node) {
                if !asked.contains(&entry.key) {
                    let message = format!("{}: unknown key", join(path, &entry.key));
                    unknown.push((entry.at, message, nearest(&entry.key, asked)));
                }
            }
        }
        drop(state);
        for (at, message, remedy) in unknown {
            self.note(at, &message, &remedy);
        }
    }

    fn note(&self, position: Position, message: &str, remedy: &str) {
        let file = Arc::clone(&self.document.file);
        let (message, remedy) = (message.to_owned(), remedy.to_owned());
        let error = ConfigError { file, position, message, remedy };
        self.state.borrow_mut().errors.push(error);
    }

    fn entries(&self, node: NodeId) -> &[Entry] {
        match &self.document.nodes[node].value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    fn is_null(&self, node: NodeId) -> bool {
        match &self.document.nodes[node].value {
            Value::Scalar { text, plain: true, origin: Origin::File } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// What a node is, for a message; never a value that came from `${…}`.
    fn describe(&self, node: NodeId) -> String {
        match &self.document.nodes[node].value {
            Value::Scalar { origin: Origin::File, .. } if self.is_null(node) => "nothing".to_owned(),
            Value::Scalar { text, plain: true, origin: Origin::File } => excerpt(text),
            Value::Scalar { text, origin: Origin::File, .. } => {
                format!("the text \"{}\"", excerpt(text))
            }
            Value::Scalar { .. } => "something else behind ${…}".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a section".to_owned(),
        }
    }
}

fn join(path: &str, key: &str) -> String {
    let key = excerpt(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The remedy for an unknown key: the nearest known one, or all of them.
fn nearest(key: &str, known: &BTreeSet<String>) -> String {
    let best = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(key, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(key.chars().count()) / 4);
    if let Some((_, name)) = best {
        return format!("did you mean {name}?");
    }
    if known.is_empty() {
        return "remove it: nothing belongs here".to_owned();
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    format!("remove it; known here: {}", names.join(", "))
}

impl<'r> Section<'r> {
    /// Whether the section stands in the file.
    pub fn present(&self) -> bool {
        self.node.is_some()
    }

    /// Where it stands: `topics[0].limits`; empty at the top.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where it begins in the file (where its parent does, if it is missing).
    pub fn position(&self) -> Position {
        self.at
    }

    /// Whether `key` has a value (`key:` and `key: null` have none).
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// As [`Section::has`], and notes an error if not.
    pub fn required(&self, key: &str) -> bool {
        if self.has(key) {
            return true;
        }
        let message = format!("{} is missing", join(&self.path, key));
        self.reader.note(self.position_of(key), &message, &format!("add {key}: VALUE"));
        false
    }

    /// Notes an error of the caller's own at the value of `key`, or at the section if the
    /// key is missing. `message` is put behind the key's path; it must not contain a
    /// value that may be a secret.
    pub fn error(&self, key: &str, message: &str, remedy: &str) {
        let message = format!("{}: {message}", join(&self.path, key));
        self.reader.note(self.position_of(key), &message, remedy);
    }

    /// The mapping under `key`; a missing one if there is none.
    pub fn section(&self, key: &str) -> Section<'r> {
        let path = join(&self.path, key);
        let mut section = Section { reader: self.reader, node: None, at: self.at, path };
        let Some(id) = self.find(key) else {
            return section;
        };
        section.at = self.node_at(id);
        match self.value(id) {
            Value::Map(_) => section.open(id),
            _ => self.mismatch(id, &section.path, "a section", "write KEY: VALUE lines below it"),
        }
        section
    }

    /// The list of mappings under `key`; empty if there is none.
    pub fn sections(&self, key: &str) -> Vec<Section<'r>> {
        let path = join(&self.path, key);
        let Some(id) = self.find(key) else {
            return Vec::new();
        };
        let Value::List(items) = self.value(id) else {
            self.mismatch(id, &path, "a list of sections", "begin each one with a dash");
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Value::Map(_) = self.value(*item) else {
                self.mismatch(*item, &path, "a section", "write KEY: VALUE lines behind the dash");
                continue;
            };
            let at = self.node_at(*item);
            let mut section = Section { reader: self.reader, node: None, at, path };
            section.open(*item);
            sections.push(section);
        }
        sections
    }

    /// Any scalar as text, spelled as in the file (`007` stays `007`).
    pub fn string(&self, key: &str) -> Option<String> {
        self.parsed(key, "text", "write text", |text| Ok(text.to_owned()))
    }

    /// `true` or `false`.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", "write true or false, without quotes", |text| match text {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        })
    }

    /// A whole number within `range`.
    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let (low, high) = (range.start(), range.end());
        let expected = match (*low, *high) {
            (i64::MIN, i64::MAX) => "a whole number".to_owned(),
            (low, i64::MAX) => format!("a whole number of at least {low}"),
            (low, high) => format!("a whole number from {low} to {high}"),
        };
        let parse = |text: &str| text.parse().ok().filter(|n| range.contains(n));
        self.typed(key, &expected, "write digits, without quotes and unit", parse)
    }

    /// A finite number within `range`.
    pub fn float(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|n: &f64| n.is_finite() && range.contains(n));
        self.typed(key, &expected, "write a decimal number, without quotes and unit", parse)
    }

    /// A number of bytes ([`parse_bytes`]).
    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.bytes_in(key, 0..=u64::MAX)
    }

    /// A number of bytes within `range`.
    pub fn bytes_in(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.humane(key, parse_bytes)?;
        if range.contains(&value) {
            return Some(value);
        }
        let (low, high) = (range.start(), range.end());
        self.out_of_range(key, &format!("a size from {low} to {high} bytes"));
        None
    }

    /// A duration ([`parse_duration`]).
    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.duration_in(key, Duration::ZERO..=Duration::MAX)
    }

    /// A duration within `range`.
    pub fn duration_in(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let value = self.humane(key, parse_duration)?;
        if range.contains(&value) {
            return Some(value);
        }
        let low = format_duration(*range.start());
        let expected = match *range.end() {
            Duration::MAX => format!("a duration of at least {low}"),
            high => format!("a duration from {low} to {}", format_duration(high)),
        };
        self.out_of_range(key, &expected);
        None
    }

    /// One of a few names; answers what stands beside the name.
    pub fn choice<T: Clone>(&self, key: &str, names: &[(&str, T)]) -> Option<T> {
        let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", all.join(", "));
        self.parsed(key, &expected, "write one of these names", |text| {
            let found = names.iter().find(|(name, _)| *name == text);
            found.map(|(_, value)| value.clone()).ok_or_else(String::new)
        })
    }

    /// A list of scalars as text.
    pub fn string_list(&self, key: &str) -> Option<Vec<String>> {
        let path = join(&self.path, key);
        let id = self.find(key)?;
        let Value::List(items) = self.value(id) else {
            self.mismatch(id, &path, "a list", "write [a, b], or one line with a dash for each");
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Some(text) = self.text(*item, &format!("{path}[{index}]")) {
                out.push(text.to_owned());
            }
        }
        Some(out)
    }

    /// A mapping whose keys are the user's own, to scalars as text.
    pub fn string_map(&self, key: &str) -> Option<BTreeMap<String, String>> {
        let path = join(&self.path, key);
        let id = self.find(key)?;
        let Value::Map(entries) = self.value(id) else {
            self.mismatch(id, &path, "a section of KEY: VALUE", "write {a: b}, or a line for each");
            return None;
        };
        self.reader.state.borrow_mut().free.insert(id);
        let mut out = BTreeMap::new();
        for entry in entries {
            if let Some(text) = self.text(entry.value, &join(&path, &entry.key)) {
                out.insert(entry.key.clone(), text.to_owned());
            }
        }
        Some(out)
    }

    /// Any scalar, read by `parse`, whose error text follows the value in the message
    /// (empty: only `expected` is named). `expected` completes "expected …, found …".
    pub fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let id = self.find(key)?;
        let path = join(&self.path, key);
        let Value::Scalar { text, origin, .. } = self.value(id) else {
            self.mismatch(id, &path, expected, remedy);
            return None;
        };
        let why = match (origin, parse(text)) {
            (Origin::Failed, _) => return None,
            (_, Ok(value)) => return Some(value),
            // The parser's text may quote the value, which may be a secret.
            (Origin::Expanded, Err(_)) => String::new(),
            (Origin::File, Err(why)) => why,
        };
        let mut found = self.reader.describe(id);
        if !why.is_empty() {
            found = format!("{found} ({why})");
        }
        let message = format!("{path}: expected {expected}, found {found}");
        self.reader.note(self.node_at(id), &message, remedy);
        None
    }

    /// A scalar with a type: it must not be quoted, unless it comes from `${…}`.
    fn typed<T>(&self, key: &str, expected: &str, remedy: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let quoted = self
            .find(key)
            .is_some_and(|id| matches!(self.value(id), Value::Scalar { plain: false, origin: Origin::File, .. }));
        self.parsed(key, expected, remedy, |text| match parse(text) {
            Some(value) if !quoted => Ok(value),
            _ => Err(String::new()),
        })
    }

    fn humane<T>(&self, key: &str, parse: fn(&str) -> Result<T, ValueError>) -> Option<T> {
        let id = self.find(key)?;
        let Value::Scalar { text, origin, .. } = self.value(id) else {
            let expected = parse("").map_or_else(|error| error.expected, |_| "a value");
            self.mismatch(id, &join(&self.path, key), expected, "write it as one word");
            return None;
        };
        match parse(text) {
            _ if *origin == Origin::Failed => None,
            Ok(value) => Some(value),
            Err(error) => {
                self.mismatch(id, &join(&self.path, key), error.expected, error.remedy);
                None
            }
        }
    }

    fn out_of_range(&self, key: &str, expected: &str) {
        if let Some(id) = self.find(key) {
            self.mismatch(id, &join(&self.path, key), expected, "write a value within that range");
        }
    }

    /// A scalar of a list or a free map, as text.
    fn text(&self, id: NodeId, path: &str) -> Option<&'r str> {
        match self.value(id) {
            Value::Scalar { origin: Origin::Failed, .. } => None,
            Value::Scalar { text, .. } if !self.reader.is_null(id) => Some(text),
            _ => {
                self.mismatch(id, path, "text", "write one value");
                None
            }
        }
    }

    fn mismatch(&self, id: NodeId, path: &str, expected: &str, remedy: &str) {
        let found = self.reader.describe(id);
        let message = format!("{path}: expected {expected}, found {found}");
        self.reader.note(self.node_at(id), &message, remedy);
    }

    fn open(&mut self, id: NodeId) {
        self.node = Some(id);
        let mut state = self.reader.state.borrow_mut();
        state.asked.entry(id).or_insert_with(|| (self.path.clone(), BTreeSet::new()));
    }

    fn value(&self, id: NodeId) -> &'r Value {
        &self.reader.document.nodes[id].value
    }

    fn node_at(&self, id: NodeId) -> Position {
        self.reader.document.nodes[id].at
    }

    fn position_of(&self, key: &str) -> Position {
        let entry = self.node.and_then(|id| self.reader.entries(id).iter().find(|e| e.key == key));
        match entry {
            Some(entry) if self.reader.is_null(entry.value) => entry.at,
            Some(entry) => self.node_at(entry.value),
            None => self.at,
        }
    }

    /// The value of `key`, unless it is null; notes that the key is a known one.
    fn find(&self, key: &str) -> Option<NodeId> {
        let id = self.node?;
        let mut state = self.reader.state.borrow_mut();
        if let Some((_, asked)) = state.asked.get_mut(&id) {
            asked.insert(key.to_owned());
        }
        drop(state);
        let entry = self.reader.entries(id).iter().find(|entry| entry.key == key)?;
        (!self.reader.is_null(entry.value)).then_some(entry.value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
