//! `holdpoint tools`: which definitions were accepted, and what became of them.

use crate::{
    cli::{AcceptArgs, DiffArgs, InboxArgs, PinArgs, ToolsCommand},
    configuration,
    data::DataFolder,
    pins::{Change, Kind, OfNew, PinFolder, PinnedServer, Seen, compare, show},
    print::{self, Table},
    wiring::{child_command, server_address},
};
use anyhow::{Context as _, Result, bail};
use holdpoint_config::{Config, ServerSettings, printable};
use holdpoint_mcp::{Survey, survey_address, survey_command};
use serde_json::{Value, json};
use std::{collections::BTreeMap, process::ExitCode};

pub(crate) async fn run(command: ToolsCommand) -> Result<ExitCode> {
    match command {
        ToolsCommand::List(args) => list(&args),
        ToolsCommand::Pin(args) => pin(&args).await,
        ToolsCommand::Diff(args) => diff(&args).await,
        ToolsCommand::Accept(args) => accept(&args),
    }
}

/// All tools of a configured server, as it states them now.
pub(crate) async fn survey(name: &str, settings: &ServerSettings) -> Result<Survey> {
    let surveyed = match settings {
        ServerSettings::Stdio { .. } => survey_command(&child_command(name, settings)?).await,
        ServerSettings::Http { .. } => survey_address(server_address(name, settings)?).await,
    };
    let hint = "does it run, and is it an MCP server?";
    surveyed.with_context(|| format!("the tools of server `{name}` cannot be listed\n  hint: {hint}"))
}

/// Compares with what the configured servers offer; what cannot be asked does not keep the others from it.
async fn look(
    pins: &PinFolder,
    config: &Config,
    only: Option<&str>,
    of_new: OfNew,
) -> Result<(BTreeMap<String, Vec<(String, Seen)>>, Vec<anyhow::Error>)> {
    if let Some(only) = only {
        configuration::server(config, only)?;
    }
    let (mut seen, mut failed) = (BTreeMap::new(), Vec::new());
    for (name, settings) in &config.servers {
        let name = name.as_str();
        if only.is_some_and(|only| only != name) {
            continue;
        }
        match survey(name, settings).await {
            Ok(survey) => {
                for (tool, why) in &survey.unusable {
                    print::note(&format!("{name} {}: cannot be called, {why}", printable(tool)));
                }
                seen.insert(name.to_owned(), pins.look(name, &survey, of_new)?);
            }
            Err(error) => failed.push(error),
        }
    }
    Ok((seen, failed))
}

fn tell(failed: &[anyhow::Error]) {
    for error in failed {
        eprintln!("{}", crate::hints::render(error));
    }
}

fn list(args: &InboxArgs) -> Result<ExitCode> {
    let servers = PinFolder::open(&DataFolder::open(&args.data.data)?)?.servers(None)?;
    if args.json.json {
        print::json(&servers)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["SERVER", "TOOL", "ACCEPTED", "NOW"]);
    for server in &servers {
        for (name, tool) in &server.tools {
            let now = match tool.difference() {
                None => "the same",
                Some(Kind::Gone { .. }) => "gone",
                Some(Kind::Changed { .. } | Kind::New { .. }) => "changed: calls are refused",
            };
            let accepted = tool.accepted_at.strftime("%Y-%m-%d").to_string();
            table.row([server.server.clone(), name.clone(), accepted, now.to_owned()]);
        }
    }
    print::text(&table.to_string())?;
    if servers.iter().any(|server| !server.differences().is_empty()) {
        print::note("look at what changed with `holdpoint tools diff`");
    }
    Ok(ExitCode::SUCCESS)
}

async fn pin(args: &PinArgs) -> Result<ExitCode> {
    let config = configuration::load(&args.config)?;
    let pins = PinFolder::open(&DataFolder::open(&args.data.data)?)?;
    let (seen, failed) = look(&pins, &config, args.server.as_deref(), OfNew::Pinned).await?;
    let word = |seen: Seen| match seen {
        Seen::New => "new: pinned",
        Seen::Same => "the same",
        Seen::Changed => "changed: calls are refused",
        Seen::Gone => "gone",
    };
    if args.json.json {
        let rows = seen.iter().flat_map(|(server, tools)| tools.iter().map(move |tool| (server, tool)));
        let rows: Vec<Value> = rows
            .map(|(server, (tool, seen))| {
                let seen = match seen {
                    Seen::New => "new",
                    Seen::Same => "same",
                    Seen::Changed => "changed",
                    Seen::Gone => "gone",
                };
                json!({ "server": server, "tool": tool, "definition": seen })
            })
            .collect();
        print::json(&rows)?;
    } else {
        let mut table = Table::new(["SERVER", "TOOL", "DEFINITION"]);
        for (server, tools) in &seen {
            for (tool, seen) in tools {
                table.row([server.clone(), tool.clone(), word(*seen).to_owned()]);
            }
        }
        print::text(&table.to_string())?;
    }
    if seen.values().flatten().any(|(_, seen)| matches!(seen, Seen::Changed | Seen::Gone)) {
        print::note("look at what changed with `holdpoint tools diff`");
    }
    tell(&failed);
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Differences are status 1, as those of diff(1); trouble is an error.
async fn diff(args: &DiffArgs) -> Result<ExitCode> {
    let pins = PinFolder::open(&DataFolder::open(&args.data.data)?)?;
    let only = args.server.as_deref();
    let mut failed = Vec::new();
    if let Some(config) = &args.config {
        (_, failed) = look(&pins, &configuration::load(config)?, only, OfNew::Shown).await?;
    }
    let mut all = Vec::new();
    for server in pins.servers(only)? {
        let mut differences = server.differences();
        differences.retain(|(name, _)| args.tool.as_ref().is_none_or(|tool| tool == name));
        if !differences.is_empty() {
            all.push((server.server, differences));
        }
    }
    if args.json.json {
        print::json(&in_json(&all))?;
    } else if !all.is_empty() {
        print::text(&in_text(&all))?;
    }
    for (server, differences) in &all {
        // After they were printed: what nobody saw is not noted as seen.
        pins.note_shown(server, differences)?;
    }
    tell(&failed);
    if all.is_empty() && failed.is_empty() {
        print::note("every tool is as it was accepted");
        return Ok(ExitCode::SUCCESS);
    }
    if !all.is_empty() && !args.json.json {
        print::note(
            "accept one with `holdpoint tools accept --server NAME TOOL`, or what was shown with --all",
        );
    }
    Ok(ExitCode::FAILURE)
}

type Differences = [(String, Vec<(String, Kind)>)];

fn in_text(all: &Differences) -> String {
    let mut text = String::new();
    for (server, differences) in all {
        for (tool, kind) in differences {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&show(server, tool, kind));
        }
    }
    text
}

fn in_json(all: &Differences) -> Value {
    let change =
        |change: &Change<'_>| json!({ "pointer": change.pointer, "old": change.old, "new": change.new });
    let rows = all.iter().flat_map(|(server, differences)| differences.iter().map(move |row| (server, row)));
    rows.map(|(server, (tool, kind))| {
        let changes = match kind {
            Kind::Changed { old, new } => compare(old, new).iter().map(change).collect(),
            Kind::New { .. } | Kind::Gone { .. } => Vec::new(),
        };
        let (old, new) = match kind {
            Kind::New { new } => (None, Some(new)),
            Kind::Changed { old, new } => (Some(old), Some(new)),
            Kind::Gone { old } => (Some(old), None),
        };
        json!({ "server": server, "tool": tool, "difference": kind.word(), "changes": changes, "old": old, "new": new })
    })
    .collect()
}

fn accept(args: &AcceptArgs) -> Result<ExitCode> {
    let pins = PinFolder::open(&DataFolder::open(&args.data.data)?)?;
    let servers: Vec<String> = match &args.server {
        Some(server) => vec![server.clone()],
        None => pins.servers(None)?.into_iter().map(|PinnedServer { server, .. }| server).collect(),
    };
    let (mut accepted, mut not_shown) = (Vec::new(), Vec::new());
    for server in servers {
        let of_server = pins.accept(&server, args.tool.as_deref())?;
        not_shown.extend(of_server.not_shown.into_iter().map(|tool| format!("{server} {tool}")));
        if !of_server.accepted.is_empty() {
            accepted.push((server, of_server.accepted));
        }
    }
    if args.json.json {
        print::json(&in_json(&accepted))?;
    } else if !accepted.is_empty() {
        print::text(&in_text(&accepted))?;
    }
    let count: usize = accepted.iter().map(|(_, tools)| tools.len()).sum();
    print::note(&format!("{count} difference{} accepted", if count == 1 { "" } else { "s" }));
    if !not_shown.is_empty() {
        let tools = not_shown.iter().map(|tool| printable(tool)).collect::<Vec<_>>().join(", ");
        bail!(
            "not accepted, since nobody was shown what it is now: {tools}\n  hint: look with `holdpoint tools diff`, and accept \
             then"
        );
    }
    Ok(ExitCode::SUCCESS)
}
