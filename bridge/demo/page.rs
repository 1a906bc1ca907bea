//! Writes exposition as the simulated exporters do.
use std::fmt::Write;

/// The dialect that a scrape asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Dialect {
    /// The content type of an answer.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Dialect::Text => "text/plain; version=0.0.4; charset=utf-8",
            Dialect::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page of exposition that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    dialect: Dialect,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(dialect: Dialect) -> Page {
        let text = String::with_capacity(16 * 1024);
        Page { text, dialect }
    }

    /// HELP and TYPE of a family, by its name in text 0.0.4 (counters with `_total`).
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = match self.dialect {
            Dialect::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample, labels already as they are written: `a="b",c="d"`, or empty.
    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            _ => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }

    /// A sample with an exemplar, which only OpenMetrics can show.
    pub(crate) fn sample_with_exemplar(&mut self, name: &str, labels: &str, value: f64, exemplar: &str) {
        match self.dialect {
            Dialect::Text => self.sample(name, labels, value),
            Dialect::OpenMetrics => {
                let _ = writeln!(self.text, "{name}{{{labels}}} {value} # {exemplar}");
            }
        }
    }

    /// A family of one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// The page's text.
    pub(crate) fn finish(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}
