//! Expositions made by chance, the same in every run.
use std::fmt::Write;

use k2p_core::codec::Format;

/// An exposition.
pub(crate) struct Body {
    pub(crate) format: Format,
    pub(crate) text: String,
}

/// A linear congruential generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const NAMES: &[&str] =
    &["a", "http_requests", "node_cpu:rate", "x_y_z_seconds", "http.requests", "größe", "ms per call"];
const HELPS: &[&str] = &["Words.", "With \\\\ and \\n in it.", "ä ö ü", "# TYPE inside", "a  b"];
const LABELS: &[&str] = &["code", "path", "_x", "le2", "job", "with.dot", "höhe"];
const VALUES_OF_LABELS: &[&str] =
    &["200", "/api/v1", "a b", "\\\"quoted\\\"", "C:\\\\dir", "two\\nlines", "ü", "{}", ",=", "#"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2.5",
    "1e3",
    "1.25E-7",
    "+Inf",
    "-Inf",
    "NaN",
    "123456789012345678",
    "0.1",
    "1e308",
    "-0",
    "4.9e-324",
];
const POSITIVE: &[&str] = &["0", "1", "2.5", "1e3", "17", "123456789", "0.25"];

fn is_legacy(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

/// A name as it is written before `=`, and in metadata.
fn quoted(name: &str) -> String {
    if is_legacy(name) { name.to_owned() } else { format!("\"{name}\"") }
}

/// What may stand behind a value.
#[derive(Clone, Copy, PartialEq)]
enum Behind {
    Nothing,
    Timestamp,
    Exemplar,
}

struct Writer {
    chance: Chance,
    format: Format,
    out: String,
}

impl Writer {
    fn openmetrics(&self) -> bool {
        self.format == Format::OpenMetrics
    }

    fn series(&mut self, name: &str, extra: Option<(&str, &str)>, labels: &str) {
        let mut parts: Vec<String> = Vec::new();
        if !is_legacy(name) {
            parts.push(format!("\"{name}\""));
        }
        parts.extend(Some(labels.to_owned()).filter(|l| !l.is_empty()));
        // A label's name has no colon.
        let named = |label: &str| if label.contains(':') { format!("\"{label}\"") } else { quoted(label) };
        parts.extend(extra.map(|(label, value)| format!("{}=\"{value}\"", named(label))));
        let blank = |w: &mut Writer| if !w.openmetrics() && w.chance.one_in(8) { " " } else { "" };
        if is_legacy(name) {
            self.out.push_str(name);
        }
        if parts.is_empty() {
            return;
        }
        let (open, comma) = (blank(self), if !self.openmetrics() && self.chance.one_in(8) { "," } else { "" });
        let _infallible = write!(self.out, "{{{open}{}{comma}}}", parts.join(","));
    }

    /// Labels of a series, none twice.
    fn labels(&mut self, number: usize) -> String {
        let mut parts = vec![format!("n=\"{number}\"")];
        for label in LABELS {
            if self.chance.one_in(4) {
                parts.push(format!("{}=\"{}\"", quoted(label), self.chance.pick(VALUES_OF_LABELS)));
            }
        }
        parts.join(",")
    }

    /// ` value[ timestamp][ exemplar]` and the end of the line.
    fn value(&mut self, value: &str, behind: Behind) {
        let gap = if !self.openmetrics() && self.chance.one_in(8) { "  " } else { " " };
        let _infallible = write!(self.out, "{gap}{value}");
        if behind == Behind::Timestamp && self.chance.one_in(6) {
            let ms = 1_700_000_000_000 + self.chance.below(1_000_000);
            let _infallible = match self.openmetrics() {
                true => write!(self.out, " {}.{:03}", ms / 1000, ms % 1000),
                false => write!(self.out, " {ms}"),
            };
        }
        if behind == Behind::Exemplar && self.openmetrics() && self.chance.one_in(3) {
            let _infallible = write!(self.out, " # {{trace_id=\"{}\"}} 0.5", self.chance.below(1000));
        }
        self.out.push('\n');
    }

    fn metadata(&mut self, name: &str, kind: &str) {
        let shown = quoted(name);
        let _infallible = writeln!(self.out, "# TYPE {shown} {kind}");
        if self.chance.one_in(2) {
            let help = self.chance.pick(HELPS);
            let _infallible = writeln!(self.out, "# HELP {shown} {help}");
        }
    }

    fn family(&mut self, name: &str) {
        let kinds: &[&str] = match self.openmetrics() {
            true => &["counter", "gauge", "histogram", "summary", "unknown", "info", "stateset"],
            false => &["counter", "gauge", "histogram", "summary", "untyped"],
        };
        let kind = self.chance.pick(kinds);
        let named = if kind == "counter" && !self.openmetrics() { format!("{name}_total") } else { name.to_owned() };
        self.metadata(&named, kind);
        for number in 0..1 + self.chance.below(3) {
            let labels = self.labels(number);
            match kind {
                "histogram" => self.histogram(name, &labels),
                "summary" => self.summary(name, &labels),
                "counter" => {
                    self.series(&format!("{name}_total"), None, &labels);
                    let value = self.chance.pick(POSITIVE);
                    self.value(value, Behind::Exemplar);
                }
                "info" => {
                    self.series(&format!("{name}_info"), None, &labels);
                    self.value("1", Behind::Nothing);
                }
                "stateset" => {
                    for (state, value) in [("on", "1"), ("off", "0")] {
                        self.series(name, Some((name, state)), &labels);
                        self.value(value, Behind::Nothing);
                    }
                }
                _ => {
                    self.series(name, None, &labels);
                    let value = self.chance.pick(NUMBERS);
                    self.value(value, Behind::Timestamp);
                }
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str) {
        let mut count = 0;
        for bound in ["0.1", "1.0", "10.0", "+Inf"] {
            count += self.chance.below(5);
            self.series(&format!("{name}_bucket"), Some(("le", bound)), labels);
            self.value(&count.to_string(), Behind::Exemplar);
        }
        for (suffix, value) in [("_count", count.to_string()), ("_sum", format!("{}.5", count * 3))] {
            self.series(&format!("{name}{suffix}"), None, labels);
            self.out.push(' ');
            self.out.push_str(&value);
            self.out.push('\n');
        }
    }

    fn summary(&mut self, name: &str, labels: &str) {
        for quantile in ["0.5", "0.99"] {
            self.series(name, Some(("quantile", quantile)), labels);
            let value = self.chance.pick(POSITIVE);
            self.out.push(' ');
            self.out.push_str(value);
            self.out.push('\n');
        }
        for suffix in ["_count", "_sum"] {
            self.series(&format!("{name}{suffix}"), None, labels);
            self.out.push_str(" 12\n");
        }
    }
}

/// One that keeps all the rules.
pub(crate) fn valid(format: Format, seed: u64) -> Body {
    let mut writer = Writer { chance: Chance(seed * 2 + 1), format, out: String::new() };
    let first = writer.chance.below(NAMES.len());
    for i in 0..1 + writer.chance.below(4) {
        writer.family(NAMES[(first + i) % NAMES.len()]);
        if format == Format::Text && writer.chance.one_in(4) {
            writer.out.push_str(writer.chance.pick(&["\n", "# a comment\n", "#\n", "  \n"]));
        }
    }
    if format == Format::OpenMetrics {
        writer.out.push_str("# EOF\n");
    }
    Body { format, text: writer.out }
}

const SPLINTERS: &[&str] = &[
    " ",
    "\t",
    "\"",
    "\\",
    "{",
    "}",
    ",",
    "=",
    "#",
    "\n",
    "1",
    "e",
    "x",
    "_",
    "+",
    "-",
    ".",
    "NaN",
    "_total",
    "_bucket",
    "# TYPE a gauge\n",
    "# EOF\n",
    "a 1\n",
    "ü",
    "\r",
    "0x1p3",
    "1_000",
];

/// A valid one with a few faults.
pub(crate) fn damaged(format: Format, seed: u64) -> Body {
    let mut chance = Chance(seed.wrapping_mul(31) + 7);
    let mut text = valid(format, seed).text;
    for _ in 0..1 + chance.below(2) {
        damage(&mut text, &mut chance);
    }
    Body { format, text }
}

fn damage(text: &mut String, chance: &mut Chance) {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return;
    }
    let (one, other) = (chance.below(lines.len()), chance.below(lines.len()));
    match chance.below(8) {
        0 => _ = lines.remove(one),
        1 => lines.insert(other, lines[one].clone()),
        2 => lines.swap(one, other),
        _ => {
            let line = &mut lines[one];
            let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
            let at = places[chance.below(places.len())];
            if chance.one_in(3) {
                line.remove(at);
            } else {
                line.insert_str(at, chance.pick(SPLINTERS));
            }
        }
    }
    *text = lines.concat();
}
