//! What a child writes to its standard error, in our log.

use super::link::LOG_TARGET;
use crate::{
    outcome::excerpt_of,
    stdio::{Line, Lines},
};
use holdpoint_core::ServerName;
use tokio::io::AsyncRead;

/// A longer line is not kept.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Of each line, so much is shown.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Until the child closes it.
pub(super) async fn log(server: ServerName, errors: impl AsyncRead + Unpin) {
    let mut lines = Lines::new(errors, LINE_BYTES_MAX);
    loop {
        let more = lines.fill().await.unwrap_or(false);
        while let Some(line) = lines.next() {
            match line {
                Line::Whole(line) => {
                    let line = String::from_utf8_lossy(line.trim_ascii_end());
                    if !line.is_empty() {
                        let line = excerpt_of(&line, SHOWN_CHARS_MAX);
                        tracing::info!(target: LOG_TARGET, %server, "{line}");
                    }
                }
                Line::TooLong(_) => {
                    tracing::info!(target: LOG_TARGET, %server, "(a line of more than {LINE_BYTES_MAX} bytes)");
                }
            }
        }
        if !more {
            return;
        }
    }
}
