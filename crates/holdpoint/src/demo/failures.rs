//! `holdpoint demo failures`: what goes wrong elsewhere, played against the real thing, with the count of real runs.
//!
//! Gate, journal, proxy and kernel are those that everybody runs; the tool server, the agent and the reviewer are
//! scripts. The count comes from the tool server's own file.

mod scenes;
mod stage;

use crate::{cli::FailuresArgs, print};
use anyhow::Result;
use serde_json::{Value, json};
use stage::Stage;
use std::{path::Path, process::ExitCode};

/// What one scene came to.
pub(crate) struct Shown {
    /// What happens.
    pub(crate) title: &'static str,
    /// What comes of it elsewhere.
    pub(crate) elsewhere: &'static str,
    /// What the agents were told here, in order.
    pub(crate) told: Vec<String>,
    /// What that means.
    pub(crate) here: &'static str,
    /// How often the tool ran.
    pub(crate) runs: usize,
    /// How often it should have.
    pub(crate) promised: usize,
}

impl Shown {
    fn is_as_promised(&self) -> bool {
        self.runs == self.promised
    }
}

pub(crate) async fn run(args: &FailuresArgs) -> Result<ExitCode> {
    let folder = super::Folder::make()?;
    let played = tokio::select! {
        played = play(args, &folder.0) => played,
        () = crate::stop::requested() => Ok(ExitCode::from(super::INTERRUPTED)),
    };
    drop(folder);
    played
}

async fn play(args: &FailuresArgs, folder: &Path) -> Result<ExitCode> {
    if !args.json.json {
        print::text(
            "What goes wrong elsewhere, with a tool that pays refunds. The count is the tool's own.\n",
        )?;
    }
    let stage = Stage::set(folder).await?;
    let mut all = Vec::new();
    for (number, play) in scenes::ALL.iter().enumerate() {
        let shown = play(&stage).await?;
        stage.clear().await?;
        if !args.json.json {
            print::text(&render(number + 1, &shown))?;
        }
        all.push(shown);
    }
    stage.strike().await?;
    let stopped = all.iter().filter(|shown| shown.is_as_promised()).count();
    if args.json.json {
        print::json(&all.iter().map(to_json).collect::<Vec<_>>())?;
    } else {
        let runs: usize = all.iter().map(|shown| shown.runs).sum();
        let too_many: usize = all.iter().map(|shown| shown.runs.saturating_sub(shown.promised)).sum();
        let scenes = all.len();
        print::text(&format!(
            "{stopped} of {scenes} stopped; {runs} refunds were paid, {too_many} too many."
        ))?;
    }
    Ok(if stopped == all.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(number: usize, shown: &Shown) -> String {
    let Shown { title, elsewhere, told, here, runs, .. } = shown;
    let mark = if shown.is_as_promised() { "" } else { "  NOT as promised" };
    let told = told.join(", then ");
    format!(
        "{number}  {title}\n   elsewhere  {elsewhere}\n   here       {here}\n   told       {told}\n   runs       {runs}{mark}\n\n",
    )
}

fn to_json(shown: &Shown) -> Value {
    json!({
        "title": shown.title,
        "elsewhere": shown.elsewhere,
        "here": shown.here,
        "told": shown.told,
        "runs": shown.runs,
        "promised_runs": shown.promised,
    })
}
