//! YAML text → a tree of nodes that know their place.
//!
//! Expansion happens after parsing and only inside scalars: what a variable or a file
//! holds can never become structure.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::expand::{Env, ReadFile, expand};
use super::{ConfigError, Position};

/// A node's index in its document; an alias and its anchor share one.
pub(super) type NodeId = usize;

/// How deep lists and sections may be nested.
const MAX_DEPTH: usize = 64;

#[derive(Debug)]
pub(super) enum Value {
    /// A plain or quoted scalar. `plain` is an unquoted one, whose text has a type of
    /// its own (`5` is a number, `"5"` is not).
    Scalar {
        text: String,
        plain: bool,
        origin: Origin,
    },
    List(Vec<NodeId>),
    Map(Vec<Entry>),
}

/// Where a scalar's text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the file.
    File,
    /// From `${…}`: of no type yet, and never shown.
    Expanded,
    /// `${…}` failed and was reported: every getter answers nothing, silently.
    Failed,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: NodeId,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// A parsed file: its nodes, and what was wrong with it already.
#[derive(Debug)]
pub struct Document {
    pub(super) file: Arc<str>,
    pub(super) nodes: Vec<Node>,
    pub(super) root: Option<NodeId>,
    pub(super) errors: Vec<ConfigError>,
}

impl Document {
    /// Parses `text`. `env` answers `${NAME}`, `read` answers `${file:PATH}`. What is
    /// wrong is kept and comes out of [`super::Reader::finish`].
    pub fn parse(
        file_name: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        read: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Self {
        let mut builder =
            Builder { document: Self::empty(file_name), open: Vec::new(), anchors: BTreeMap::new(), env, read };
        for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
            if let Err(stop) = event.map_err(syntax).and_then(|(e, span)| builder.event(e, span)) {
                builder.error(stop.at, stop.message, stop.remedy);
                // What was read so far would only bring errors that are none.
                builder.document.root = None;
                break;
            }
        }
        builder.document
    }

    /// A document of which nothing could be read: [`super::Reader::finish`] says why.
    pub fn unreadable(file_name: &str, error: &std::io::Error) -> Self {
        let mut document = Self::empty(file_name);
        document.errors.push(ConfigError {
            file: Arc::clone(&document.file),
            position: Position::default(),
            message: format!("cannot be read: {error}"),
            remedy: "correct the path, or make the file readable for this process".to_owned(),
        });
        document
    }

    fn empty(file_name: &str) -> Self {
        Self { file: file_name.into(), nodes: Vec::new(), root: None, errors: Vec::new() }
    }
}

/// Text for a message: at most 60 characters, control characters escaped.
pub(super) fn excerpt(text: &str) -> String {
    shorten(text, 60)
}

fn shorten(text: &str, length: usize) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == length {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
    }
    out
}

/// Why reading cannot go on.
struct Stop {
    at: Position,
    message: String,
    remedy: String,
}

fn stop(at: Position, message: &str, remedy: &str) -> Stop {
    Stop { at, message: message.to_owned(), remedy: remedy.to_owned() }
}

fn position(marker: saphyr_parser::Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn syntax(error: ScanError) -> Stop {
    Stop {
        at: position(*error.marker()),
        message: format!("not YAML: {}", shorten(error.info(), 200)),
        remedy: "correct the syntax here or just above: indentation, quotes, brackets; \
                 ${…} inside {} or [] needs quotes"
            .to_owned(),
    }
}

/// A list or a map that is not closed yet.
struct Open {
    node: NodeId,
    anchor: usize,
    /// The key that waits for its value, in a map.
    key: Option<(String, Position)>,
    seen: BTreeSet<String>,
}

struct Builder<'a> {
    document: Document,
    open: Vec<Open>,
    anchors: BTreeMap<usize, NodeId>,
    env: Env<'a>,
    read: ReadFile<'a>,
}

impl Builder<'_> {
    fn error(&mut self, position: Position, message: String, remedy: String) {
        let file = Arc::clone(&self.document.file);
        self.document.errors.push(ConfigError { file, position, message, remedy });
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = position(span.start);
        match event {
            Event::DocumentStart(_) if self.document.root.is_some() => Err(stop(
                at,
                "a second document",
                "remove the --- and all that follows it: one file is one configuration",
            )),
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), at),
            Event::SequenceStart(anchor, _) => self.start(Value::List(Vec::new()), anchor, at),
            Event::MappingStart(anchor, _) => self.start(Value::Map(Vec::new()), anchor, at),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(closed) = self.open.pop() {
                    self.remember(closed.anchor, closed.node);
                }
                Ok(())
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).copied() {
                Some(node) => self.place(node, at),
                None => Err(stop(at, "an alias of something that contains it", "write the value out")),
            },
            _ => Ok(()),
        }
    }

    fn add(&mut self, value: Value, at: Position) -> NodeId {
        self.document.nodes.push(Node { at, value });
        self.document.nodes.len() - 1
    }

    fn remember(&mut self, anchor: usize, node: NodeId) {
        if anchor > 0 {
            self.anchors.insert(anchor, node);
        }
    }

    fn start(&mut self, value: Value, anchor: usize, at: Position) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err(stop(at, "nested deeper than 64 levels", "write it flatter"));
        }
        let node = self.add(value, at);
        self.place(node, at)?;
        self.open.push(Open { node, anchor, key: None, seen: BTreeSet::new() });
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Stop> {
        if self.waits_for_key() {
            return self.key(text, at);
        }
        let text_tag = tag.is_some_and(|t| t.suffix == "str" || t.handle == "!" && t.suffix.is_empty());
        let plain = style == ScalarStyle::Plain && !text_tag;
        let (text, origin) = match expand(text, self.env, self.read) {
            Ok(None) => (text.to_owned(), Origin::File),
            Ok(Some(expanded)) => (expanded, Origin::Expanded),
            Err(error) => {
                self.error(at, error.message, error.remedy);
                (String::new(), Origin::Failed)
            }
        };
        let node = self.add(Value::Scalar { text, plain, origin }, at);
        self.remember(anchor, node);
        self.place(node, at)
    }

    /// Whether the innermost open node is a map whose next node is a key.
    fn waits_for_key(&self) -> bool {
        let Some(open) = self.open.last() else {
            return false;
        };
        open.key.is_none() && matches!(self.document.nodes[open.node].value, Value::Map(_))
    }

    fn key(&mut self, text: &str, at: Position) -> Result<(), Stop> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let duplicate = !open.seen.insert(text.to_owned());
        open.key = Some((text.to_owned(), at));
        if duplicate {
            self.error(at, format!("{} stands here a second time", excerpt(text)), "keep one of the two".to_owned());
        }
        Ok(())
    }

    /// Puts a finished or just opened node where it belongs.
    fn place(&mut self, node: NodeId, at: Position) -> Result<(), Stop> {
        if self.waits_for_key() {
            return Err(stop(at, "a key that is no plain word", "write a plain word as the key"));
        }
        let Some(open) = self.open.last_mut() else {
            self.document.root = Some(node);
            return Ok(());
        };
        match &mut self.document.nodes[open.node].value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => {
                if let Some((key, at)) = open.key.take() {
                    // The first of two equal keys counts; the second was reported.
                    if !entries.iter().any(|entry| entry.key == key) {
                        entries.push(Entry { key, at, value: node });
                    }
                }
            }
            Value::Scalar { .. } => {}
        }
        Ok(())
    }
}
