//! Untrusted text, made safe to look at.
//!
//! A reviewer decides on what they see. So what has no shape of its own, reorders its neighbours or moves the cursor
//! is shown as an escape: control and format characters (bidi, zero-width, tags), fillers, private use. Nothing is
//! taken out.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Write};

use askama::filters::HtmlSafe;

/// Text for a terminal or a log: escapes as `\u{202e}`, also for line breaks.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) || character == '\n' || character == '\t' {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Text that is HTML already. Made here only, so that nothing else gets onto a page unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Html(String);

impl Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// One line of text for a page: HTML-escaped, every hidden character as a marked escape, line breaks too.
pub(crate) fn line(text: &str) -> Html {
    let mut html = String::with_capacity(text.len());
    text.chars().for_each(|character| push_html(&mut html, character));
    Html(html)
}

/// One line of our own words, with what stands between backticks as code.
pub(crate) fn with_code(text: &str) -> Html {
    if text.matches('`').count() % 2 == 1 {
        return line(text);
    }
    let mut html = String::with_capacity(text.len() + 32);
    for (index, part) in text.split('`').enumerate() {
        let (before, after) = if index % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        html.push_str(before);
        part.chars().for_each(|character| push_html(&mut html, character));
        html.push_str(after);
    }
    Html(html)
}

/// Text of several lines for a page. Line breaks and tabs stay.
pub(crate) fn block(text: &str) -> Html {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => html.push(character),
            other => push_html(&mut html, other),
        }
    }
    Html(html)
}

fn push_html(html: &mut String, character: char) {
    match character {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' => html.push_str("&quot;"),
        '\'' => html.push_str("&#39;"),
        '\n' | '\t' => push_escape(html, character),
        hidden if is_hidden(hidden) => push_escape(html, hidden),
        plain => html.push(plain),
    }
}

fn push_escape(html: &mut String, character: char) {
    let title = name(character).unwrap_or("hidden character");
    html.push_str(r#"<span class="esc" title=""#);
    html.push_str(title);
    html.push_str(r#"">U+"#);
    // Writing into a string cannot fail.
    let _ = write!(html, "{:04X}", u32::from(character));
    html.push_str("</span>");
}

fn name(character: char) -> Option<&'static str> {
    Some(match character {
        '\n' => "line break",
        '\r' => "carriage return",
        '\t' => "tab",
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => "control character",
        '\u{ad}' => "soft hyphen",
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => "zero-width character",
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "changes the direction of text"
        }
        '\u{e0000}'..='\u{e007f}' => "invisible tag character",
        _ => return None,
    })
}

/// Whether a character is shown as an escape. Line breaks and tabs are decided by who asks.
fn is_hidden(character: char) -> bool {
    matches!(character,
        // Controls, but for the two that blocks keep.
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Format characters of the basic plane: soft hyphen, Arabic marks, zero-width, bidi, interlinear.
        | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        // Letters and signs that draw nothing.
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
        // Variation selectors can carry whole messages.
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
        // Tags, and format characters of other planes.
        | '\u{e0000}'..='\u{e0fff}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        // Private use: a font may draw anything.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'
    ) || is_noncharacter(character)
}

fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}
