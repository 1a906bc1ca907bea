//! Writing HTML without a template language: escaping, and the few shapes the page has.
use std::borrow::Cow;

/// Text as HTML text or as the value of a quoted attribute. Control characters but tabs
/// become visible, so that a key cannot rearrange the page.
pub(super) fn esc(text: &str) -> Cow<'_, str> {
    if !text.chars().any(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if special(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Markup, control characters, and those that turn the direction of writing.
fn special(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '&' | '<' | '>' | '"' | '\'') || (c.is_control() && c != '\t') || turns
}

/// How a badge is coloured; the text says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Busy,
    Bad,
    Quiet,
}

/// A state, in words and colour.
pub(super) fn badge(tone: Tone, text: &str) -> String {
    let class = match tone {
        Tone::Good => "good",
        Tone::Busy => "busy",
        Tone::Bad => "bad",
        Tone::Quiet => "quiet",
    };
    format!("<span class=\"badge {class}\">{}</span>", esc(text))
}

/// A cell; `label` is the column's title, shown where the table is restacked.
pub(super) fn cell(class: &str, label: &str, inner: &str) -> String {
    format!("<td class=\"{class}\" data-label=\"{}\"><div>{inner}</div></td>", esc(label))
}

/// A table in a box of its own; `rows` are `<tr>`s.
pub(super) fn table(caption: &str, columns: &[(&str, &str)], rows: &str) -> String {
    let head: String = columns
        .iter()
        .map(|(class, title)| format!("<th scope=\"col\" class=\"{class}\">{}</th>", esc(title)))
        .collect();
    format!(
        "<div class=\"scroll\"><table><caption>{}</caption><thead><tr>{head}</tr></thead>\
         <tbody>{rows}</tbody></table></div>\n",
        esc(caption)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_could_be_markup_is_escaped() {
        assert_eq!(esc("plain, été 中"), "plain, été 中");
        assert_eq!(esc("<script>"), "&lt;script&gt;");
        assert_eq!(esc("a\"b'c&d"), "a&quot;b&#39;c&amp;d");
        assert_eq!(esc("a\nb\u{202e}c\0"), "a\\u{a}b\\u{202e}c\\u{0}");
    }

    #[test]
    fn badges_escape_their_text() {
        assert_eq!(badge(Tone::Bad, "<x>"), "<span class=\"badge bad\">&lt;x&gt;</span>");
    }
}
