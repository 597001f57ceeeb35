//! `holdpoint wrap` and `unwrap`: the proxy in front of every server that a client starts, and out of the way again.
//!
//! # Rules
//! 1. Only the text of `command` and `args` of an entry changes; comments, order and spacing stay. What is put in is put in
//!    whole, so that `unwrap` can take it out again to the byte.
//! 2. A file that cannot be understood is not touched. What is touched is copied beside itself first, and replaced at once.
//! 3. Wrapping twice changes nothing.

mod clients;
mod codex;
mod entries;
mod file;
mod jsonc;

use crate::{
    cli::{ClientName, UnwrapArgs, WrapArgs, WrapTarget},
    print,
};
use anyhow::{Context, Result, bail};
use entries::{Edit, Entry, Found, Proxy, apply};
use holdpoint_config::printable;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What a command does with one entry.
#[derive(Clone, Copy)]
enum Way<'a> {
    In(&'a Proxy),
    Out,
}

/// What happened to one server.
struct Outcome {
    name: String,
    file: PathBuf,
    /// What was done, in a word or a sentence.
    what: String,
    changed: bool,
}

pub(crate) fn wrap(args: &WrapArgs) -> Result<ExitCode> {
    let program = std::env::current_exe().context("where is this program?")?;
    let program = program.to_str().context("the path of this program is not Unicode")?.to_owned();
    let config = match &args.config {
        Some(path) => {
            crate::configuration::load_to_look(path)?;
            let path = std::path::absolute(path).context("where is the configuration?")?;
            Some(path.to_str().context("the configuration's path is not Unicode")?.to_owned())
        }
        None => None,
    };
    let proxy = Proxy { program, config };
    let outcomes = each(&args.target, Way::In(&proxy))?;
    report(&args.target, &outcomes, "wrapped")?;
    if args.config.is_none() && outcomes.iter().any(|outcome| outcome.changed) {
        print::note(
            "these proxies find Gate in STACKSONA_GATE_URL and STACKSONA_API_KEY of the client's environment; with --config \
             PATH they find it, and the rules, in a configuration",
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn unwrap(args: &UnwrapArgs) -> Result<ExitCode> {
    let outcomes = each(&args.target, Way::Out)?;
    report(&args.target, &outcomes, "unwrapped")?;
    Ok(ExitCode::SUCCESS)
}

fn each(target: &WrapTarget, way: Way<'_>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for path in files(target)? {
        outcomes.extend(one(target, &path, way)?);
    }
    for name in &target.server {
        if outcomes.iter().all(|outcome| outcome.name != *name) {
            bail!(
                "there is no server `{}` in the client's configuration\n  hint: without --server every server is taken",
                printable(name)
            );
        }
    }
    Ok(outcomes)
}

/// The file that was named, or every one of the client's that exists.
fn files(target: &WrapTarget) -> Result<Vec<PathBuf>> {
    if let Some(path) = &target.config_file {
        return Ok(vec![path.clone()]);
    }
    let places = clients::places(target.client)?;
    let found: Vec<PathBuf> = places.iter().filter(|path| path.exists()).cloned().collect();
    if found.is_empty() {
        let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "no configuration of this client was found; looked at {}\n  hint: name it with --config-file PATH",
            places.join(", ")
        );
    }
    Ok(found)
}

fn one(target: &WrapTarget, path: &Path, way: Way<'_>) -> Result<Vec<Outcome>> {
    let file = file::ClientFile::read(path)?;
    let found = match target.client {
        ClientName::Codex => codex::entries(&file.text),
        ClientName::ClaudeDesktop | ClientName::ClaudeCode | ClientName::Cursor | ClientName::Vscode => {
            jsonc::entries(&file.text, target.client)
        }
    };
    let found =
        found.with_context(|| format!("`{}` cannot be understood, and was left as it is", path.display()))?;
    let mut edits = Vec::new();
    let mut outcomes = Vec::new();
    for found in found {
        let name = found.name().to_owned();
        if !target.server.is_empty() && !target.server.contains(&name) {
            continue;
        }
        let (made, what) = decide(&file.text, &found, way);
        outcomes.push(Outcome { name, file: path.to_owned(), what, changed: !made.is_empty() });
        edits.extend(made);
    }
    if !edits.is_empty() && !target.dry_run {
        file.replace(&apply(&file.text, edits)?)?;
    }
    Ok(outcomes)
}

fn decide(text: &str, found: &Found, way: Way<'_>) -> (Vec<Edit>, String) {
    let nothing = |what: &str| (Vec::new(), what.to_owned());
    let entry = match found {
        Found::Remote { .. } => {
            return nothing(
                "left alone: it is reached at a URL; let the client connect to `holdpoint up` instead",
            );
        }
        Found::Odd { why, .. } => return nothing(&format!("left alone: {why}")),
        Found::Stdio(entry) => entry,
    };
    match way {
        Way::In(_) if entry.is_wrapped() => nothing("is behind the gate already"),
        Way::In(proxy) => match entry.wrapped(text, proxy) {
            Ok(edits) => (edits, format!("now behind the gate: {}", command_line(entry))),
            Err(why) => nothing(&format!("left alone: {why}")),
        },
        Way::Out if !entry.is_wrapped() => nothing("is not behind the gate"),
        Way::Out => match entry.unwrapped(text) {
            Some(edits) => (edits, "started by the client itself again".to_owned()),
            None => nothing(
                "left alone: what was put in was changed since; the copy beside the file has the original",
            ),
        },
    }
}

fn command_line(entry: &Entry) -> String {
    let mut parts = vec![entry.command.value.clone()];
    parts.extend(entry.args.iter().flat_map(|args| args.items.iter().map(|item| item.value.clone())));
    parts.join(" ")
}

fn report(target: &WrapTarget, outcomes: &[Outcome], done: &str) -> Result<()> {
    let changed = outcomes.iter().filter(|outcome| outcome.changed).count();
    if target.json.json {
        let servers: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                json!({
                    "server": outcome.name,
                    "file": outcome.file.display().to_string(),
                    "changed": outcome.changed,
                    "what": outcome.what,
                })
            })
            .collect();
        return print::json(&json!({ "dry_run": target.dry_run, "servers": servers }));
    }
    let mut table = print::Table::new(["SERVER", "FILE", ""]);
    for outcome in outcomes {
        table.row([outcome.name.clone(), outcome.file.display().to_string(), outcome.what.clone()]);
    }
    print::text(&table.to_string())?;
    let word = if target.dry_run { "would be" } else { "were" };
    print::note(&format!("{changed} servers {word} {done}"));
    if changed > 0 && !target.dry_run {
        print::note("restart the client to use the new configuration");
    }
    Ok(())
}
