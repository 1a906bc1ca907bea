//! Configuration files: YAML whose every node knows its place, read by a reader that
//! collects all errors instead of stopping at the first (design §5). Pure: variables and
//! files behind `${…}` are asked from the caller.
//!
//! ```
//! use k2p_config::{Document, Reader};
//!
//! let text = "kafka:\n  brokers: ${BROKERS}\n  grup: a\n";
//! let env = |name: &str| (name == "BROKERS").then(|| "a:9092".to_owned());
//! let no_file = |_: &str| Err(std::io::ErrorKind::NotFound.into());
//! let reader = Reader::new(Document::parse("k2p.yaml", text, &env, &no_file));
//! let kafka = reader.root().section("kafka");
//! assert_eq!(kafka.string("brokers").as_deref(), Some("a:9092"));
//! assert_eq!(kafka.string("group"), None);
//! let errors = reader.finish().expect_err("grup is no key");
//! assert_eq!(
//!     errors.to_string(),
//!     "k2p.yaml:3:3: kafka.grup: unknown key; did you mean group?"
//! );
//! ```
mod expand;
mod reader;
mod tree;
mod value;

use std::fmt;
use std::sync::Arc;

pub use reader::{Reader, Section};
pub use tree::Document;
pub use value::{ValueError, format_duration, parse_bytes, parse_duration, parse_host_port, parse_listen_address};

/// A place in a file: 1-based line and column (in characters); 0:0 is the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
}

/// One thing that is wrong: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// Where in it.
    pub position: Position,
    /// What is wrong. Never contains a value that came from `${…}`.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.position.line > 0 {
            write!(f, ":{}:{}", self.position.line, self.position.column)?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    /// One error a line: `FILE:LINE:COLUMN: message; remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
