//! Where we and Python's `prometheus_client` may differ.
use k2p_core::codec::Format;
use k2p_core::codec::Format::{OpenMetrics, Text};

use crate::bodies::Body;

/// Format, what the difference begins with, what else it holds, why it is none of ours.
const EXCUSES: &[(Format, &str, &str, &str)] = &[
    (Text, "only we refuse: duplicate_series", "", "Python keeps a series that is there twice"),
    (Text, "ours", "), (", "of a series with several timestamps we show the newest point"),
    (Text, "only we refuse: metadata", "", "Python's reader of texts takes metadata in any place"),
    (Text, "only we refuse: structure", "", "Python's reader of texts knows no rules of types"),
    (Text, "only we refuse: name", "", "Python checks no name that stands before `{`"),
    (Text, "only we refuse: value: expected a number", "", "Python checks no name that stands before `{`"),
    (Text, "only we refuse: timestamp", "", "Python takes any number for a timestamp, and the last of several"),
    (
        Text,
        "only we refuse: syntax: expected the end",
        "",
        "Python takes any number for a timestamp, and the last of several",
    ),
    (Text, "only we refuse: syntax: expected a label name", ",", "Python takes a comma before the first label"),
    (Text, "only we refuse", "\\u{d}", "Python takes a carriage return for a blank"),
    (
        Text,
        "only they refuse: ValueError: Invalid labels",
        "__",
        "Python takes no label whose name begins with two underscores",
    ),
    (
        Text,
        "only they refuse: ValueError: Invalid metric type",
        "#",
        "Python reads metadata in comments that begin like it",
    ),
    (
        Text,
        "only they refuse: ValueError: metric name cannot be empty",
        "# TYPE _total",
        "Python takes `_total` off the name `_total`",
    ),
    (OpenMetrics, "only we refuse: duplicate_series", "", "Python does not look for a count, sum or info twice"),
    (
        OpenMetrics,
        "only we refuse: structure: samples of one label set",
        "_info",
        "Python does not look for a count, sum or info twice",
    ),
    (
        OpenMetrics,
        "only we refuse: structure: buckets that are not in the order",
        "",
        "Python looks at the order of counts only",
    ),
    (OpenMetrics, "only we refuse: structure: a bucket whose le is no", "_", "Python takes an underscore in a bound"),
    (OpenMetrics, "only we refuse: structure: a quantile that is no", "_", "Python takes an underscore in a bound"),
    (OpenMetrics, "only we refuse: timestamp", "", "Python takes any number for a timestamp, and the last of several"),
    (OpenMetrics, "only we refuse", "\\u{d}", "Python takes other blanks, more and fewer, where one is asked for"),
    (OpenMetrics, "only we refuse", "\\u{9}", "Python takes other blanks, more and fewer, where one is asked for"),
    (
        OpenMetrics,
        "only we refuse: metadata: expected",
        "  ",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: expected one space",
        "",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: name: expected a label name",
        " ",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: expected `\"` before the label",
        "= ",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: expected `,` or `}` after",
        " ",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: expected `=`, `,` or",
        "\" ",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: expected `=`, `,` or",
        " =",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
    (
        OpenMetrics,
        "only we refuse: syntax: expected `=` after the label name",
        " =",
        "Python takes other blanks, more and fewer, where one is asked for",
    ),
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
