//! Where we and Python's `prometheus_client` may differ.
use k2p_core::codec::Format;
use k2p_core::codec::Format::{OpenMetrics, Text};

use crate::bodies::Body;

/// Format, what the difference begins with, what else it holds, why it is none of ours.
const EXCUSES: &[(Format, &str, &str, &str)] = &[
    (Text, "only we refuse: duplicate_series", "", "Python keeps a series that is there twice"),
    (OpenMetrics, "only we refuse: duplicate_series", "", "Python does not look for a count, sum or info twice"),
    (Text, "only we refuse: metadata", "", "Python's reader of texts takes metadata in any place, the last one wins"),
    (Text, "only we refuse: structure", "", "Python's reader of texts knows no rules of types"),
    (Text, "only we refuse: name", "", "Python checks no name that stands before `{`"),
    (Text, "only we refuse: value: expected a number", "{", "Python checks no name that stands before `{`"),
    (Text, "only we refuse: timestamp", "", "Python takes any number for a timestamp"),
    (OpenMetrics, "only we refuse: timestamp", "", "Python takes any number for a timestamp"),
    (Text, "only we refuse", "\\u{d}", "Python takes a carriage return for a blank"),
    (OpenMetrics, "only we refuse", "\\u{d}", "Python takes a carriage return for a blank"),
    (OpenMetrics, "only we refuse", "\\u{9}", "Python takes a tab for a blank"),
    (
        OpenMetrics,
        "only we refuse: syntax: expected `=` after the label name",
        ":",
        "Python takes a colon in a label's name",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: a comment",
        "",
        "Python passes over comments, which the grammar does not have",
    ),
    (
        OpenMetrics,
        "only we refuse: structure: buckets that are not in the order",
        "",
        "Python looks at the order of counts only",
    ),
    (
        OpenMetrics,
        "only we refuse: structure: samples of one label set",
        "_info",
        "Python does not look for a count, sum or info twice",
    ),
    (
        OpenMetrics,
        "only they refuse: ValueError: ",
        "\"",
        "Python's reader takes no quoted name without a TYPE before it",
    ),
];

/// Why a difference is none of ours; `None`: it is one.
pub(crate) fn excuse(body: &Body, difference: &str) -> Option<&'static str> {
    let holds = |(format, begins, more, _): &&(Format, &str, &str, &str)| {
        *format == body.format
            && difference.starts_with(*begins)
            && (difference.contains(*more) || body_holds(body, begins, more))
    };
    EXCUSES.iter().find(holds).map(|(.., why)| *why)
}

/// What they refuse is told without the line.
fn body_holds(body: &Body, begins: &str, more: &str) -> bool {
    begins.starts_with("only they refuse") && body.text.contains(more)
}
