//! Progress while a call is held, and of the tool afterwards: what the client sees of one token only ever rises.

use crate::message::{IdKey, Object, replaced, text_of};
use holdpoint_core::{Hold, Onlooker};
use serde_json::Value;
use std::{collections::HashMap, fmt, time::Duration};
use tokio::sync::watch;

/// Some clients give up on a stream that is silent for longer.
pub(crate) const TICK: Duration = Duration::from_secs(15);
/// So small that what the tool says later is hardly ever below it.
const STEP: f64 = 1e-6;
/// Clients show about this much.
const TEXT_CHARS_MAX: usize = 200;

/// The last value of each token that we told anything about.
#[derive(Debug, Default)]
pub(crate) struct Rising(HashMap<IdKey, f64>);

impl Rising {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One step further: the notification to send.
    pub(crate) fn step(&mut self, token_raw: &str, text: &str) -> Option<Vec<u8>> {
        let last = self.0.entry(IdKey::read(token_raw)?).or_default();
        *last += STEP;
        let params =
            format!(r#"{{"progressToken":{token_raw},"progress":{last},"message":{}}}"#, Value::from(text));
        Some(
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)
                .into_bytes(),
        )
    }

    pub(crate) fn forget(&mut self, token_raw: &str) {
        if let Some(token) = IdKey::read(token_raw) {
            self.0.remove(&token);
        }
    }

    /// The tool's own progress, moved up where it is not above what was told before. `None`: pass it as it is.
    pub(crate) fn rebase(&mut self, message: &str) -> Option<Vec<u8>> {
        let object = Object::read_leniently(message).ok()?;
        if object.get("method").and_then(text_of)? != "notifications/progress" {
            return None;
        }
        let params = Object::read_leniently(object.get("params")?.get()).ok()?;
        let last = self.0.get_mut(&IdKey::read(params.get("progressToken")?.get())?)?;
        let progress = params.get("progress")?;
        let value: f64 = progress.get().parse().ok()?;
        if value > *last {
            *last = value;
            return None;
        }
        *last += STEP;
        replaced(message, progress.get(), &last.to_string()).map(String::into_bytes)
    }
}

/// Hears from the kernel what a call waits for.
pub(crate) struct Sight {
    text: watch::Sender<Option<String>>,
    at_once: OnHold,
}

/// What is done as soon as a call is held.
pub(crate) type OnHold = Box<dyn Fn(&Hold) + Send + Sync>;

impl Sight {
    pub(crate) fn pair(at_once: OnHold) -> (Self, watch::Receiver<Option<String>>) {
        let (text, receiver) = watch::channel(None);
        (Self { text, at_once }, receiver)
    }
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sight").field(&self.text).finish()
    }
}

impl Onlooker for Sight {
    fn waits_for(&self, hold: &Hold) {
        let shown = what_it_waits_for(hold).chars().take(TEXT_CHARS_MAX).collect();
        self.text.send_replace(Some(shown));
        (self.at_once)(hold);
    }
}

/// What a held call waits for, in words.
pub(crate) fn what_it_waits_for(hold: &Hold) -> String {
    let text = match &hold.review_url {
        Some(url) => format!("Waiting for approval: {url}"),
        None => format!("Waiting for a person to approve this call (review {})", hold.thread),
    };
    // Words of Gate, on somebody's terminal.
    text.chars().filter(|character| !character.is_control()).collect()
}

/// Resolves with the text once the call waits for a person, and again when it waits for another answer.
pub(crate) async fn waits(seen: &mut watch::Receiver<Option<String>>) -> String {
    loop {
        if seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(text) = seen.borrow_and_update().clone() {
            return text;
        }
    }
}
