//! An error that says what to do next, as its last line.

use anyhow::Result;
use std::{error::Error, fmt::Write as _};

/// Adds the hint that an error brings along.
pub(crate) trait Hinted<T, E> {
    fn hinted(self, hint: impl FnOnce(&E) -> &'static str) -> Result<T>;
}

impl<T, E: Error + Send + Sync + 'static> Hinted<T, E> for std::result::Result<T, E> {
    fn hinted(self, hint: impl FnOnce(&E) -> &'static str) -> Result<T> {
        self.map_err(|error| {
            let hint = hint(&error);
            let text = format!("{error}\n  hint: {hint}");
            match error.source() {
                // The cause is told too, but below the hint, for those who want it.
                Some(_) => anyhow::Error::new(error).context(text),
                None => anyhow::Error::msg(text),
            }
        })
    }
}

/// The whole error for a terminal: the message with its hint, then the causes.
pub(crate) fn render(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    // A list of mistakes says for each that it is one.
    if !text.starts_with("error: ") {
        text.insert_str(0, "error: ");
    }
    let mut above = error.to_string();
    for cause in error.chain().skip(1) {
        let cause_text = cause.to_string();
        if !above.starts_with(&cause_text) {
            let _infallible = write!(text, "\n  cause: {cause_text}");
        }
        above = cause_text;
    }
    text
}
