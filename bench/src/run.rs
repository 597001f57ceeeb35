//! The measuring role: starts everything else, takes samples in rounds, prints the ratios.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{machine_ticks, own_ticks};
use measured::Route;
use record::Log;
use verdicts::Verdicts;

mod bridge;
mod click;
mod gate;
mod held;
mod measured;
mod ours;
mod peers;
mod proxies;
mod record;
mod report;
mod sessions;
mod subjects;
mod verdicts;

const USAGE: &str = "\
usage: cargo xtask bench [ARGUMENTS]

  --quick       one short round, without what is held at once: 3 minutes at most
  --peers       other proxies as well; installs them below `target/bench/peers`
  --rounds N    how often everything is measured; figures are medians (3)
  --seconds S   length of one sample (1)
  --only PART   may be given several times; everything else is left out:
                http-http, http-stdio, stdio-stdio, stdio-http, sessions, gate, click, bridge, held
  --watch S     how long the bridge's memory is watched while callers ask again (60)
  --floor       direct and bare relay only, without Holdpoint
  --verbose     show what peers over stdio write to standard error

Samples go to `target/bench/samples.jsonl`, the report to `target/bench/report.md`.
";

/// Rounds in which peers take part: they are slow to start, and too far away for a second to matter.
pub(crate) const PEER_ROUNDS: u64 = 1;

/// How much to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    rounds: u64,
    window: Duration,
    /// How long questions that wait are watched.
    watch: Duration,
    quick: bool,
    verbose: bool,
    only: Vec<Part>,
    /// The command under test; `None` measures the floor alone.
    ours: Option<PathBuf>,
    /// Where other proxies are installed, if they are to be measured.
    peers: Option<PathBuf>,
    /// Where the results go.
    results: PathBuf,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Route(Route),
    Sessions,
    Gate,
    Click,
    Bridge,
    Held,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut plan = Self {
            rounds: 3,
            window: Duration::from_secs(1),
            watch: Duration::from_mins(1),
            quick: arguments.iter().any(|argument| argument == "--quick"),
            verbose: false,
            only: Vec::new(),
            ours: None,
            peers: None,
            results: PathBuf::from("target/bench"),
        };
        if plan.quick {
            (plan.rounds, plan.window) = (1, Duration::from_millis(400));
        }
        let mut floor = false;
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--floor" => {
                    floor = true;
                    continue;
                }
                "--verbose" => {
                    plan.verbose = true;
                    continue;
                }
                "--quick" => continue,
                _ => {}
            }
            let value = arguments.next().with_context(|| format!("`{argument}`?\n\n{USAGE}"))?;
            match argument.as_str() {
                "--ours" => plan.ours = Some(PathBuf::from(value)),
                "--peers-in" => plan.peers = Some(PathBuf::from(value)),
                "--results" => plan.results = PathBuf::from(value),
                "--rounds" => plan.rounds = value.parse().context("--rounds N")?,
                "--seconds" => plan.window = Duration::try_from_secs_f64(value.parse()?)?,
                "--watch" => plan.watch = Duration::from_secs(value.parse().context("--watch S")?),
                "--only" => plan.only.push(Part::named(value)?),
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
        self.only.is_empty() && !(self.quick && part == Part::Held) || self.only.contains(&part)
    }
}

impl Part {
    fn named(name: &str) -> Result<Self> {
        let route = Route::ALL.into_iter().find(|route| route.key() == name);
        match (route, name) {
            (Some(route), _) => Ok(Self::Route(route)),
            (None, "sessions") => Ok(Self::Sessions),
            (None, "gate") => Ok(Self::Gate),
            (None, "bridge") => Ok(Self::Bridge),
            (None, "click") => Ok(Self::Click),
            (None, "held") => Ok(Self::Held),
            (None, _) => bail!("unknown part `{name}`\n\n{USAGE}"),
        }
    }
}

/// `run --ours PATH [ARGUMENTS]`
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let plan = Plan::parse(arguments)?;
    let mut log = Log::create(&plan.results)?;
    let mut verdicts = Verdicts::default();
    let (busy, all) = machine_ticks()?;
    let own = own_ticks()?;
    measure(&plan, &mut log, &mut verdicts)?;
    let (busy_after, all_after) = machine_ticks()?;
    let others = (busy_after - busy).saturating_sub(own_ticks()? - own);
    if plan.ours.is_some() {
        log.say(&verdicts.table())?;
    }
    log.say(&report::machine(others, all_after - all))?;
    eprintln!("\nsamples and report: {}", log.folder().display());
    Ok(())
}

fn measure(plan: &Plan, log: &mut Log, verdicts: &mut Verdicts) -> Result<()> {
    log.say("# What a gate in the path costs")?;
    for route in Route::ALL {
        if plan.has(Part::Route(route)) {
            let measured = proxies::measure(route, plan, log)?;
            log.say(&report::route(route, &measured, verdicts))?;
        }
    }
    if plan.has(Part::Sessions) {
        let crowded = sessions::measure(plan, log)?;
        log.say(&report::sessions(&crowded))?;
    }
    if plan.has(Part::Gate) {
        log.say(&report::gate(&gate::measure(plan)?, verdicts))?;
    }
    let Some(ours) = &plan.ours else { return Ok(()) };
    if plan.has(Part::Click) {
        log.say(&report::click(&click::measure(ours)?, verdicts))?;
    }
    if plan.has(Part::Bridge) {
        log.say(&report::bridge(&bridge::verdicts(plan, ours)?, verdicts))?;
        if !plan.quick {
            log.say(&report::questions(&bridge::held(plan, ours)?, verdicts))?;
        }
    }
    if plan.has(Part::Held) {
        log.say(&report::held(&held::measure(ours)?, &held::measure_stdio(ours)?, verdicts))?;
    }
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
