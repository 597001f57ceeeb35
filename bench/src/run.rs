//! The measuring role: starts everything else, takes samples in rounds, prints the ratios.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{machine_ticks, own_ticks};

mod click;
mod gate;
mod held;
mod ours;
mod proxies;
mod report;

const USAGE: &str = "\
usage: cargo xtask bench [--rounds N] [--seconds S] [--only http|stdio|gate|click|held]... [--floor]

  --rounds N    how often everything is measured; figures are medians (3)
  --seconds S   length of one sample (1)
  --only PART   may be given several times; everything else is left out
  --floor       direct and bare relay only, without Holdpoint
";

/// How much to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    rounds: u64,
    window: Duration,
    only: Vec<Part>,
    /// The command under test; `None` measures the floor alone.
    ours: Option<PathBuf>,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Http,
    Stdio,
    Gate,
    Click,
    Held,
}

const PARTS: [(&str, Part); 5] = [
    ("http", Part::Http),
    ("stdio", Part::Stdio),
    ("gate", Part::Gate),
    ("click", Part::Click),
    ("held", Part::Held),
];

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut plan = Self { rounds: 3, window: Duration::from_secs(1), only: Vec::new(), ours: None };
        let mut floor = false;
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--floor" {
                floor = true;
                continue;
            }
            let value = arguments.next().with_context(|| format!("`{argument}`?\n\n{USAGE}"))?;
            match argument.as_str() {
                "--ours" => plan.ours = Some(PathBuf::from(value)),
                "--rounds" => plan.rounds = value.parse().context("--rounds N")?,
                "--seconds" => plan.window = Duration::try_from_secs_f64(value.parse()?)?,
                "--only" => plan.only.push(part(value)?),
                _ => bail!("unknown argument `{argument}`\n\n{USAGE}"),
            }
        }
        if floor {
            plan.ours = None;
        }
        plan.rounds = plan.rounds.clamp(1, 50);
        plan.window = plan.window.clamp(Duration::from_millis(100), Duration::from_secs(30));
        Ok(plan)
    }

    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn part(name: &str) -> Result<Part> {
    PARTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, part)| *part)
        .with_context(|| format!("unknown part `{name}`\n\n{USAGE}"))
}

/// `run --ours PATH [ARGUMENTS]`
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let plan = Plan::parse(arguments)?;
    let (busy, all) = machine_ticks()?;
    let own = own_ticks()?;
    for (part, route) in [(Part::Http, proxies::Route::Http), (Part::Stdio, proxies::Route::Stdio)] {
        if plan.has(part) {
            report::proxies(route, &proxies::measure(route, &plan)?);
        }
    }
    if plan.has(Part::Gate) {
        report::gate(&gate::measure(&plan)?);
    }
    if plan.has(Part::Click)
        && let Some(ours) = &plan.ours
    {
        report::click(&click::measure(ours)?);
    }
    if plan.has(Part::Held)
        && let Some(ours) = &plan.ours
    {
        report::held(&held::measure(ours)?, &held::measure_stdio(ours)?);
    }
    let (busy_after, all_after) = machine_ticks()?;
    let others = (busy_after - busy).saturating_sub(own_ticks()? - own);
    report::machine(others, all_after - all);
    Ok(())
}

/// This program in another role.
fn role(arguments: &[&str]) -> Result<std::process::Command> {
    let mut command = std::process::Command::new(this()?);
    command.args(arguments);
    Ok(command)
}

fn this() -> Result<PathBuf> {
    std::env::current_exe().context("where is this program?")
}

/// In the target folder, so that both sides of a comparison write to the same disk.
fn folder() -> Result<tempfile::TempDir> {
    let this = this()?;
    let parent = this.parent().context("a program without folder")?;
    tempfile::Builder::new().prefix("bench-").tempdir_in(parent).context("cannot make a folder")
}
