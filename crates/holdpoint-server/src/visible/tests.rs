use proptest::prelude::*;

use super::{block, line, visible, with_code};

#[test]
fn markup_stays_text() {
    assert_eq!(line("<script>\"&'").to_string(), "&lt;script&gt;&quot;&amp;&#39;");
    assert_eq!(block("</pre>").to_string(), "&lt;/pre&gt;");
}

#[test]
fn backticks_mark_code_and_nothing_else() {
    assert_eq!(with_code("`a<b>` is above 5").to_string(), "<code>a&lt;b&gt;</code> is above 5");
    assert_eq!(with_code("odd ` one").to_string(), "odd ` one");
}

#[test]
fn what_hides_is_shown() {
    for hidden in [
        '\0',
        '\u{1b}',
        '\r',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{202e}',
        '\u{2028}',
        '\u{2066}',
        '\u{feff}',
        '\u{e0041}',
        '\u{e007f}',
        '\u{fe0f}',
        '\u{e0100}',
        '\u{3164}',
        '\u{2800}',
        '\u{e000}',
        '\u{fffe}',
        '\u{10ffff}',
    ] {
        let text = format!("a{hidden}b");
        let code = format!("U+{:04X}", u32::from(hidden));
        for shown in [line(&text).to_string(), block(&text).to_string()] {
            assert!(shown.contains(&code) && !shown.contains(hidden), "{code}: {shown}");
        }
        assert_eq!(visible(&text), format!("a{}b", hidden.escape_unicode()));
    }
    assert_eq!(line("a\nb").to_string(), r#"a<span class="esc" title="line break">U+000A</span>b"#);
    assert_eq!(block("a\n\tb").to_string(), "a\n\tb");
}

#[test]
fn ordinary_text_of_any_script_stays_as_it_is() {
    for text in ["Grüße, 東京 שלום العربية हिन्दी ไทย", "price: 5\u{a0}€", "🙂👍🏽"]
    {
        assert_eq!(line(text).to_string(), text);
        assert_eq!(visible(text), text);
    }
}

proptest! {
    /// Whatever comes, no markup and no hidden character gets through, and nothing is lost.
    #[test]
    fn nothing_gets_through_and_nothing_is_lost(text in any::<String>()) {
        let shown = line(&text).to_string();
        let bare = shown.replace(r#"<span class="esc" title=""#, "").replace("</span>", "");
        prop_assert!(!bare.contains('<') && !bare.contains('\''), "{}", shown);
        let hidden = shown.chars().any(|c| c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c));
        prop_assert!(!hidden, "{}", shown);
        let plain = text.chars().filter(|c| c.is_alphanumeric()).count();
        prop_assert!(shown.chars().filter(|c| c.is_alphanumeric()).count() >= plain.min(1));
    }
}
