//! One story: lives that end, one that does not, and what must be true afterwards.

use super::table::{Cell, Deaths, Flow, Store};
use crate::told::decision;
use anyhow::{Context as _, Result, bail, ensure};
use holdpoint_e2e::{Desk, House, Link, Route, Till, TillServer};
use holdpoint_testkit::PostgresDatabase;
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Longer than anything takes that has nothing to wait for.
const SOON: Duration = Duration::from_secs(15);
/// Between two looks at what other processes do.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The same call in one life: it is asked about anew a few times at most.
const CALLS_MAX: u32 = 30;

/// What all stories of a test share.
pub(super) struct World {
    pub(super) desk: Desk,
    pub(super) database: PostgresDatabase,
    pub(super) orders: AtomicU32,
}

impl World {
    pub(super) fn open() -> Result<Self> {
        let desk = Desk::open(&json!([{ "name": "allowed_once", "default_action": "allow" }]))?;
        Ok(Self { desk, database: PostgresDatabase::create(), orders: AtomicU32::new(0) })
    }
}

/// How a life ended.
enum Life {
    Died,
    /// With an answer after which there is nothing left to ask.
    Answered,
}

struct Story<'a> {
    cell: &'a Cell,
    desk: &'a Desk,
    house: House,
    till: Till,
    _served: Option<TillServer>,
    order: String,
    /// Whether the agent has been asked for another proposal.
    revised: bool,
    /// Runs whose outcome was told, by an answer or by a person.
    told: usize,
    calls: u32,
}

pub(super) fn play(world: &World, cell: &Cell) -> Result<()> {
    let mut story = Story::prepare(world, cell)?;
    let deaths = match &cell.deaths {
        Deaths::At(points) => points.iter().map(|point| Some(point.as_str())).collect(),
        Deaths::ByTool(_) => vec![None],
    };
    for death in deaths {
        story.die(death).with_context(|| format!("the life that ends at {death:?}"))?;
    }
    story.live().context("the last life")?;
    story.holds_up()
}

impl<'a> Story<'a> {
    fn prepare(world: &'a World, cell: &'a Cell) -> Result<Self> {
        let order = format!("order-{}", world.orders.fetch_add(1, Ordering::SeqCst));
        let (mut house, till) = (House::new()?, Till::new()?);
        let served = (cell.route == Route::Http).then(|| till.serve()).transpose()?;
        let entry = match &served {
            Some(served) => json!({ "url": served.url() }),
            None => json!({ "command": till.command() }),
        };
        let mut config = json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "servers": { "till": entry },
            "hold": { "patience": "20s" },
        });
        if cell.store == Store::Postgres {
            config["journal"] = json!({ "url": "${HOLDPOINT_JOURNAL_URL}" });
            house.set_env("HOLDPOINT_JOURNAL_URL", &world.database.url());
        }
        house.set_env("HOLDPOINT_LOG", "error");
        house.configure(&config)?;
        let effect = "once:{{ args.order_id }}";
        house.tools(
            "till",
            &json!([
                { "name": "gated", "action": "gate" },
                { "name": "tokenless", "action": "gate", "approval": { "token": "off" } },
                { "name": "gated_once", "action": "gate", "effect": effect },
                { "name": "allowed_once", "action": "gate", "effect": effect },
                { "name": "pass_once", "action": "pass", "effect": effect },
            ]),
        )?;
        world.desk.employ(&mut house, &order)?;
        let (desk, revised) = (&world.desk, false);
        Ok(Self { cell, desk, house, till, _served: served, order, revised, told: 0, calls: 0 })
    }

    fn die(&mut self, death: Option<&str>) -> Result<()> {
        if let Some(death) = death {
            self.house.set_env("HOLDPOINT_DIE_AT", death);
        }
        let link = Link::open(&self.house, self.cell.route);
        self.house.unset_env("HOLDPOINT_DIE_AT");
        let mut link = link?;
        self.till.called_by(link.pid());
        if self.cell.flow == Flow::Withdrawn {
            self.withdraw(&mut link)?;
        } else if let Life::Answered = self.ask(&mut link)? {
            // It may still be about to die: of what comes after the answer.
        }
        ensure!(link.killed_within(SOON)?, "never passed");
        if self.cell.flow == Flow::Withdrawn {
            self.approve_too_late()?;
        }
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        let mut link = Link::open(&self.house, self.cell.route)?;
        self.till.called_by(link.pid());
        match self.ask(&mut link)? {
            Life::Answered => {}
            Life::Died => bail!("it went away"),
        }
        if self.has_effect() {
            self.is_done_for_good(&mut link)?;
        }
        link.close()
    }

    /// The answer may be handed out again until it is on record that it was delivered, and never runs again.
    fn is_done_for_good(&mut self, link: &mut Link) -> Result<()> {
        for _ in 0..CALLS_MAX {
            let again = self.call(link)?.context("it went away")?;
            ensure!(self.runs()? == 1, "it ran again: {again}");
            if decision(&again)["status"] == "already_done" {
                return Ok(());
            }
            ensure!(decision(&again).is_null(), "not `already_done`: {again}");
        }
        bail!("not `already_done`, ever")
    }

    /// The same call until there is nothing left to ask.
    fn ask(&mut self, link: &mut Link) -> Result<Life> {
        for _ in 0..CALLS_MAX {
            let Some(answer) = self.call(link)? else { return Ok(Life::Died) };
            match decision(&answer)["status"].as_str() {
                None => {
                    ensure!(answer["isError"] != json!(true), "not an answer of the tool's: {answer}");
                    self.told = self.runs()?;
                    ensure!(self.told > 0, "the tool did not say this: {answer}");
                    return Ok(Life::Answered);
                }
                Some("pending" | "busy" | "unavailable" | "token_invalid" | "mismatch" | "expired") => {}
                Some("changes_requested") => self.revised = true,
                Some("rejected") if self.cell.flow == Flow::Rejected => return Ok(Life::Answered),
                Some("already_done") if self.has_effect() => return Ok(Life::Answered),
                Some("outcome_unknown") => {
                    if self.resolve(link, &answer)? && !self.has_effect() {
                        return Ok(Life::Answered);
                    }
                }
                Some(_) => bail!("not to be told here: {answer}"),
            }
        }
        bail!("asked {CALLS_MAX} times without an answer")
    }

    fn call(&mut self, link: &mut Link) -> Result<Option<Value>> {
        self.calls += 1;
        let (id, params) = (format!("call-{}", self.calls), self.params());
        match link.call(&id, &params) {
            Ok(answer) => Ok(Some(answer)),
            Err(_) if link.killed_within(SOON)? => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn params(&self) -> Value {
        let (flow, order) = (self.cell.flow, &self.order);
        let review = match flow {
            Flow::Rejected => "reject",
            Flow::Withdrawn => "later",
            Flow::Revised if !self.revised => "changes",
            Flow::Approved
            | Flow::Tokenless
            | Flow::Revised
            | Flow::GatedOnce
            | Flow::PassedOnce
            | Flow::AllowedOnce
            | Flow::Lost => "approve",
        };
        let mut arguments = json!({ "order_id": order, "review": review });
        if let Deaths::ByTool(harm) = self.cell.deaths {
            arguments["harm"] = json!(harm);
        }
        if flow == Flow::Lost {
            arguments["harm"] = json!("lose");
        }
        json!({ "name": flow.tool(), "arguments": arguments, "_meta": { "dev.holdpoint/task": order } })
    }

    /// Doubt stays until it is resolved, as the tool server's own record says. Whether it ran.
    fn resolve(&mut self, link: &mut Link, answer: &Value) -> Result<bool> {
        let runs = self.runs()?;
        ensure!(runs <= self.told + 1, "{runs} runs before anybody was told of more than {}", self.told);
        let thread = decision(answer)["thread_id"].as_str().map(str::to_owned);
        let Some(again) = self.call(link)? else { return Ok(false) };
        ensure!(decision(&again) == decision(answer), "another answer, though nobody resolved it: {again}");
        ensure!(self.runs()? == runs, "it ran while its outcome was in doubt");
        let ran = runs > self.told;
        let outcome = if ran { "--ran" } else { "--did-not-run" };
        let config = self.house.config().display().to_string();
        let effect = format!("once:{}", self.order);
        let command = match &thread {
            Some(thread) => vec!["holds", "resolve", thread, outcome, "--config", &config],
            None => vec!["effects", "resolve", &effect, "--server", "till", outcome, "--config", &config],
        };
        self.house.run(&command)?.success()?;
        self.told = runs;
        Ok(ran)
    }

    /// Held, and withdrawn before anybody decided.
    fn withdraw(&mut self, link: &mut Link) -> Result<()> {
        let params = self.params();
        link.start("withdrawn", &params)?;
        let deadline = Instant::now() + SOON;
        while self.desk.threads(&self.order).is_empty() {
            ensure!(Instant::now() < deadline, "not asked about");
            std::thread::sleep(LOOK_EVERY);
        }
        // Who is dead already is not to be told.
        let _told = link.cancel("withdrawn");
        Ok(())
    }

    fn approve_too_late(&self) -> Result<()> {
        self.desk.approve_from_now_on(&self.order);
        let deadline = Instant::now() + SOON;
        while self.desk.approvals(&self.order)? == 0 {
            ensure!(Instant::now() < deadline, "not approved");
            std::thread::sleep(LOOK_EVERY);
        }
        ensure!(self.runs()? == 0, "it ran for nobody");
        Ok(())
    }

    fn has_effect(&self) -> bool {
        match self.cell.flow {
            Flow::GatedOnce | Flow::PassedOnce | Flow::AllowedOnce => true,
            Flow::Approved
            | Flow::Tokenless
            | Flow::Revised
            | Flow::Rejected
            | Flow::Withdrawn
            | Flow::Lost => false,
        }
    }

    fn runs(&self) -> Result<usize> {
        Ok(self.till.runs()?.len())
    }

    /// How many runs the record allows.
    fn approvals(&self) -> Result<usize> {
        match self.cell.flow {
            Flow::PassedOnce => Ok(1),
            // No thread is opened for what the rules allow: our own evidence has it.
            Flow::AllowedOnce => self.recorded("\"what\":\"allowed\""),
            Flow::Approved
            | Flow::Tokenless
            | Flow::Revised
            | Flow::GatedOnce
            | Flow::Rejected
            | Flow::Withdrawn
            | Flow::Lost => self.desk.approvals(&self.order),
        }
    }

    fn recorded(&self, part: &str) -> Result<usize> {
        let mut count = 0;
        for entry in std::fs::read_dir(self.house.data().join("audit"))? {
            let text = std::fs::read(entry?.path()).unwrap_or_default();
            count += String::from_utf8_lossy(&text).matches(part).count();
        }
        Ok(count)
    }

    fn holds_up(&self) -> Result<()> {
        let (runs, approvals) = (self.runs()?, self.approvals()?);
        ensure!(runs <= approvals, "{runs} runs for {approvals} approvals: {:?}", self.till.runs()?);
        match self.cell.flow {
            Flow::Rejected => ensure!(runs == 0, "rejected, and it ran"),
            Flow::GatedOnce | Flow::PassedOnce | Flow::AllowedOnce => {
                ensure!(runs == 1, "{runs} runs of one effect");
            }
            Flow::Revised => {
                let all = self.till.runs()?;
                ensure!(all.iter().all(|run| run["arguments"]["review"] == "approve"), "{all:?}");
                ensure!(runs >= 1, "it never ran");
            }
            Flow::Approved | Flow::Tokenless | Flow::Withdrawn | Flow::Lost => {
                ensure!(runs >= 1, "it never ran");
            }
        }
        ensure!(self.recorded("\"what\":\"dispatching\"")? >= runs, "a run is not on record");
        self.house.run(&["audit", "verify"])?.success().context("the audit log")?;
        Ok(())
    }
}
