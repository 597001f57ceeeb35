//! A reviewer in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::lines::Lines;
use crate::{here, node};

/// The button to press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    /// Let it run.
    Approve,
    /// Do not.
    Reject,
}

/// What the page showed.
#[derive(Debug)]
pub struct Review {
    /// The thread's page before the click, as text.
    pub before: String,
    /// The same after the click.
    pub after: String,
    /// Errors that the page wrote to the console: there should be none.
    pub console: Vec<String>,
    /// Inbox, thread, and thread after the click.
    pub screenshots: Vec<PathBuf>,
}

impl Review {
    /// Signs in with the one-time link, opens the thread, writes the note and clicks.
    pub fn of(
        sign_in_url: &str,
        thread: Option<&str>,
        note: &str,
        click: Click,
        screenshots: &Path,
    ) -> Result<Self> {
        let work = json!({
            "sign_in_url": sign_in_url,
            "thread": thread,
            "note": note,
            "click": match click { Click::Approve => "Approve", Click::Reject => "Reject" },
            "screenshots": screenshots,
        });
        let mut command = Command::new(node());
        command.arg(here().join("node/browser.mjs")).arg(work.to_string());
        let mut lines = Lines::start(&mut command)?;
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut review = Self {
            before: String::new(),
            after: String::new(),
            console: Vec::new(),
            screenshots: Vec::new(),
        };
        loop {
            let event = lines.next(deadline)?;
            if let Some(path) = event["screenshot"].as_str() {
                review.screenshots.push(PathBuf::from(path));
            }
            match event["event"].as_str() {
                Some("opened") => review.before = text(&event),
                Some("clicked") => review.after = text(&event),
                Some("console") => review.console.push(event["message"].to_string()),
                Some("error") => bail!("the browser: {event}"),
                Some("closed") => return Ok(review),
                _ => {}
            }
        }
    }
}

fn text(event: &Value) -> String {
    event["text"].as_str().unwrap_or_default().to_owned()
}
