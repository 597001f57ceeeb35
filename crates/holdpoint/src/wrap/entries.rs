//! One server in a client's configuration, with the places of its parts in the text.

use anyhow::{Result, ensure};
use std::ops::Range;

/// What stands for the server in a wrapped entry: everything before it is ours.
const END_OF_OURS: &str = "--";
const SUBCOMMAND: &str = "proxy";

/// The proxy that is put in front.
pub(crate) struct Proxy {
    pub(crate) program: String,
    /// Where Gate and the rules are.
    pub(crate) config: Option<String>,
}

/// A text value and where it stands, with its quotes.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) span: Range<usize>,
}

/// The `args` of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) items: Vec<Text>,
    /// With its brackets.
    pub(crate) span: Range<usize>,
}

/// A server that the client starts.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) command: Text,
    pub(crate) args: Option<Args>,
    /// The names of the variables that it gets.
    pub(crate) env: Vec<String>,
    /// What goes between `command` and an `args` of ours, such as `, "args": `.
    pub(crate) args_key: &'static str,
}

/// What an entry turned out to be.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Stdio(Entry),
    /// It is reached at a URL.
    Remote {
        name: String,
    },
    /// Something about it is not understood.
    Odd {
        name: String,
        why: &'static str,
    },
}

impl Found {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Stdio(entry) => &entry.name,
            Self::Remote { name } | Self::Odd { name, .. } => name,
        }
    }
}

/// A piece of the text and what takes its place.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
}

/// The text with all edits made.
pub(crate) fn apply(text: &str, mut edits: Vec<Edit>) -> Result<String> {
    edits.sort_by_key(|edit| edit.span.start);
    let mut edited = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        let between = text.get(at..edit.span.start);
        ensure!(between.is_some(), "two changes overlap");
        edited.push_str(between.unwrap_or_default());
        edited.push_str(&edit.text);
        at = edit.span.end;
    }
    edited.push_str(text.get(at..).unwrap_or_default());
    Ok(edited)
}

impl Entry {
    /// Whether its command is ours, as [`Self::wrapped`] writes it.
    pub(crate) fn is_wrapped(&self) -> bool {
        let program = self.command.value.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_ours = matches!(program, "holdpoint" | "holdpoint.exe");
        is_ours
            && self
                .args
                .as_ref()
                .is_some_and(|args| args.items.first().is_some_and(|item| item.value == SUBCOMMAND))
    }

    /// Puts the proxy in front. The error says why it cannot be.
    pub(crate) fn wrapped(&self, text: &str, proxy: &Proxy) -> Result<Vec<Edit>, &'static str> {
        if self.name.starts_with('-') {
            return Err("its name starts with a dash");
        }
        let Some(command) = text.get(self.command.span.clone()) else {
            return Err("its command cannot be found");
        };
        let mut ours = vec![SUBCOMMAND.to_owned()];
        if let Some(config) = &proxy.config {
            ours.extend(["--config".to_owned(), config.clone()]);
        }
        match &self.args {
            Some(_) => ours.extend(["--server".to_owned(), self.name.clone()]),
            // In one piece: says that there were no arguments before.
            None => ours.push(format!("--server={}", self.name)),
        }
        for name in &self.env {
            ours.extend(["--env".to_owned(), name.clone()]);
        }
        ours.push(END_OF_OURS.to_owned());
        let ours: Vec<String> = ours.iter().map(|part| quoted(part)).collect();
        let front = format!("{}, {command}", ours.join(", "));
        let program = Edit { span: self.command.span.clone(), text: quoted(&proxy.program) };
        let args = if let Some(args) = &self.args {
            let inside = args.span.start.saturating_add(1);
            let separator = if args.items.is_empty() { "" } else { ", " };
            Edit { span: inside..inside, text: format!("{front}{separator}") }
        } else {
            let behind = self.command.span.end;
            Edit { span: behind..behind, text: format!("{}[{front}]", self.args_key) }
        };
        Ok(vec![program, args])
    }

    /// Takes out what [`Self::wrapped`] put in. `None`: somebody changed it.
    pub(crate) fn unwrapped(&self, text: &str) -> Option<Vec<Edit>> {
        let args = self.args.as_ref()?;
        let end = args.items.iter().position(|item| item.value == END_OF_OURS)?;
        let command = args.items.get(end.checked_add(1)?)?;
        let rest = args.items.get(end.checked_add(2)?..)?;
        let original = text.get(command.span.clone())?.to_owned();
        let program = Edit { span: self.command.span.clone(), text: original };
        let had_no_args = args.items.iter().take(end).any(|item| item.value.starts_with("--server="));
        let ours = if had_no_args && rest.is_empty() {
            // Anything but what was put between the two is somebody else's.
            let between = text.get(self.command.span.end..args.span.start)?;
            if between != self.args_key {
                return None;
            }
            self.command.span.end..args.span.end
        } else {
            let mut until = command.span.end;
            if !rest.is_empty() {
                let separator = text.get(until..)?;
                until = until.checked_add(if separator.starts_with(", ") { 2 } else { 1 })?;
                if !separator.starts_with(',') {
                    return None;
                }
            }
            args.span.start.checked_add(1)?..until
        };
        Some(vec![program, Edit { span: ours, text: String::new() }])
    }
}

/// A string as JSON and TOML both write it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
