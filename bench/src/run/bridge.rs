//! The bridge: a verdict that rules give at once, beside the same question to Gate itself; and questions that wait for a
//! person while their callers ask again and again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::click::Reviewer;
use super::gate::{sample, unused};
use super::held::approve_all;
use super::ours::{Action, Setup};
use super::{Plan, role};
use crate::load::Sample;
use crate::load::http::Question;
use crate::load::questions::Order;
use crate::process::{Client, Server, memory_kib};

/// Numbers of questions in flight.
pub(crate) const LEVELS: [u64; 3] = [1, 16, 64];
/// Questions that wait for a person at once.
pub(crate) const HELD: u64 = 2_000;
/// How long their callers let themselves be held before they ask again.
const WAIT_S: u64 = 10;
const HOLDING_MAX: Duration = Duration::from_mins(2);
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Until what a burst of questions left to do is done, and each was asked again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// By level, one pair per round: Gate asked itself, and through the bridge.
pub(crate) type Verdicts = BTreeMap<u64, Vec<(Sample, Sample)>>;

/// Takes every sample of what rules allow.
pub(crate) fn verdicts(plan: &Plan, ours: &Path) -> Result<Verdicts> {
    let setup = Setup::new(ours, &unused(), Action::Gate, None, true)?;
    let gate = setup.serve()?;
    let bridge = setup.bridge(&gate)?;
    let url = url_of(&bridge)?;
    let mut measured = Verdicts::new();
    for round in 1..=plan.rounds {
        for level in LEVELS {
            let key = Some(gate.key.clone());
            let bare = sample(plan, &gate.url, Question::Decision, level, gate.server.pid(), key)?;
            let through = sample(plan, url, Question::Verdict, level, bridge.pid(), None)?;
            eprintln!(
                "round {round}, {level:>3} in flight, Gate {:>6.0} verdicts/s, through the bridge {:>6.0}",
                bare.calls_per_s, through.calls_per_s
            );
            measured.entry(level).or_default().push((bare, through));
        }
    }
    Ok(measured)
}

/// What questions that wait cost the bridge.
pub(crate) struct Held {
    pub(crate) kib_per_question: f64,
    /// Memory at the end ÷ memory once all were held and each had been asked again.
    pub(crate) growth: f64,
    /// Memory of the process in MiB, every now and then.
    pub(crate) seen: Vec<f64>,
    pub(crate) watched: Duration,
    /// How often any of them was asked again meanwhile.
    pub(crate) again: u64,
    /// Those that were approved, and then answered with a yes.
    pub(crate) allowed: u64,
}

/// Holds, watches, approves.
pub(crate) fn held(plan: &Plan, ours: &Path) -> Result<Held> {
    let setup = Setup::new(ours, &unused(), Action::Gate, None, false)?;
    let gate = setup.serve()?;
    let bridge = setup.bridge(&gate)?;
    let before_kib = memory_kib(bridge.pid(), "VmRSS")?;
    let mut crowd = Crowd::start(url_of(&bridge)?)?;
    let reviewer = Reviewer::of(&setup)?;
    let threads = reviewer.threads_of(HELD, HOLDING_MAX)?;
    crowd.listen(SETTLED_AFTER)?;
    let mib = || Ok::<_, anyhow::Error>(memory_kib(bridge.pid(), "VmRSS")? / 1024);
    let held_kib = memory_kib(bridge.pid(), "VmRSS")?;
    let mut seen = Vec::new();
    let start = Instant::now();
    while start.elapsed() < plan.watch {
        crowd.listen(SEEN_EVERY)?;
        seen.push(as_f64(mib()?));
        eprintln!("{HELD} questions held, asked again {} times: {} MiB", crowd.again, mib()?);
    }
    let watched_kib = memory_kib(bridge.pid(), "VmRSS")?;
    approve_all(&reviewer, &threads)?;
    crowd.answers()?;
    Ok(Held {
        kib_per_question: as_f64(held_kib.saturating_sub(before_kib)) / as_f64(HELD),
        growth: as_f64(watched_kib) / as_f64(held_kib),
        seen,
        watched: start.elapsed(),
        again: crowd.again,
        allowed: crowd.allowed,
    })
}

fn url_of(bridge: &Server) -> Result<&str> {
    bridge.ready().get("bridge_url").and_then(Value::as_str).context("a ready line without `bridge_url`")
}

#[expect(clippy::cast_precision_loss, reason = "memory of one process")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The process with all the callers.
struct Crowd {
    client: Client,
    again: u64,
    allowed: u64,
}

impl Crowd {
    fn start(url: &str) -> Result<Self> {
        let order = Order { url: url.to_owned(), count: HELD, wait_s: WAIT_S };
        let mut command = role(&["hold-bridge", &serde_json::to_string(&order)?])?;
        Ok(Self { client: Client::start(&mut command)?, again: 0, allowed: 0 })
    }

    /// For so long; nobody may be answered meanwhile.
    fn listen(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            match self.client.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.hear(&line)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => bail!("the callers gave up"),
            }
        }
        if self.allowed > 0 {
            bail!("{} questions were answered that nobody decided", self.allowed);
        }
        Ok(())
    }

    /// Until all are answered.
    fn answers(&mut self) -> Result<()> {
        while self.allowed < HELD {
            let line = self.client.lines.recv_timeout(ANSWER_MAX);
            let line = line.with_context(|| format!("{} were answered, and no other", self.allowed))?;
            self.hear(&line)?;
        }
        Ok(())
    }

    fn hear(&mut self, line: &str) -> Result<()> {
        let line: Value = serde_json::from_str(line).context("not JSON")?;
        match (line.get("again").and_then(Value::as_u64), line.get("word").and_then(Value::as_str)) {
            (Some(again), _) => self.again = again,
            (None, Some("allow")) => self.allowed += 1,
            (None, _) => bail!("an approved question was answered {line}"),
        }
        Ok(())
    }
}
