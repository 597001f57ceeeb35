//! Calls whose client has something in hand when the proxy is killed: the id of a task, or the state of a question. In the
//! next life that is as good as before: it tells the truth, and the tool ran once, or not at all, or nobody knows and that is
//! what is told.

use super::{play::World, table::Store};
use crate::told::decision;
use anyhow::{Context as _, Result, bail, ensure};
use holdpoint_e2e::{House, Link, Route, Till, TillServer};
use serde_json::{Value, json};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Longer than anything takes that has nothing to wait for.
const SOON: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What is asked of the proxy in one life.
const REQUESTS_MAX: u32 = 1_000;

/// What kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Approved while it waits as a task.
    Task,
    /// The same; the tool asks for input.
    TaskAsks,
    /// Waits as a task, is cancelled, and approved too late.
    TaskCancelled,
    /// Held until it is approved; the tool asks for input.
    Asks,
}

/// Who kills the proxy.
#[derive(Clone, Debug)]
enum Death {
    At(String),
    ByTool(&'static str),
}

/// One story to play.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    kind: Kind,
    route: Route,
    store: Store,
    death: Death,
}

impl Kind {
    const fn points(self) -> &'static [&'static str] {
        match self {
            Self::Task => &[
                "journal.open",
                "journal.open_ticket",
                "journal.claim",
                "journal.dispatch",
                "journal.finish",
                "journal.answer_ticket",
                "journal.deliver",
            ],
            Self::TaskAsks => {
                &["journal.answer_ticket", "journal.go_on_with_ticket", "journal.answer_ticket#2"]
            }
            Self::TaskCancelled => &["journal.end", "journal.cancel_ticket"],
            Self::Asks => &[
                "journal.open_ticket",
                "journal.answer_ticket",
                "journal.finish",
                "journal.deliver",
                "journal.go_on_with_ticket",
                "journal.answer_ticket#2",
            ],
        }
    }

    const fn asks(self) -> bool {
        match self {
            Self::TaskAsks | Self::Asks => true,
            Self::Task | Self::TaskCancelled => false,
        }
    }
}

impl Cell {
    /// Whether the server had the call, or its continuation, and nothing of an answer was on record. `went_on`: the client
    /// had sent the continuation before the proxy died: what is on record, or on its way, it may hear of before that.
    fn may_be_in_doubt(&self, went_on: bool) -> bool {
        let Death::At(at) = &self.death else { return true };
        let (point, moment) = at.split_once(':').unwrap_or((at, ""));
        // A death that comes a moment later may come at a later point: a busy machine makes moments long.
        let later = moment.starts_with('+');
        match (self.kind, point) {
            (Kind::Task, "journal.open" | "journal.open_ticket" | "journal.claim") => later,
            // Sent from here on,
            (Kind::Task, "journal.dispatch") | (Kind::TaskAsks | Kind::Asks, "journal.go_on_with_ticket") => {
                later || moment == "after"
            }
            // and on record from here on: the last leg's answer with the ticket alone.
            (Kind::Task | Kind::Asks, "journal.finish") | (Kind::TaskAsks, "journal.answer_ticket#2") => {
                later || moment == "before"
            }
            (Kind::TaskAsks, "journal.answer_ticket") | (Kind::Asks, "journal.deliver") => went_on,
            (Kind::Task | Kind::TaskAsks | Kind::TaskCancelled, _) => false,
            (Kind::Asks, _) => true,
        }
    }
}

/// All stories of one kind.
pub(super) fn cells(kind: Kind, route: Route) -> impl Iterator<Item = Cell> {
    [Store::Sqlite, Store::Postgres].into_iter().flat_map(move |store| {
        let moments: &[&str] = match store {
            Store::Sqlite => &["before", "after", "+250"],
            Store::Postgres => &["after"],
        };
        let at = kind
            .points()
            .iter()
            .flat_map(move |point| moments.iter().map(move |moment| Death::At(format!("{point}:{moment}"))));
        let harms: &[&'static str] = match kind {
            Kind::Task => &["kill_unrun", "kill_received", "kill_logged", "kill_answered"],
            Kind::TaskAsks | Kind::Asks => &["kill_received", "kill_logged"],
            Kind::TaskCancelled => &[],
        };
        let deaths = at.chain(harms.iter().map(|harm| Death::ByTool(harm)));
        deaths.map(move |death| Cell { kind, route, store, death })
    })
}

/// How a life ended.
enum Life {
    Died,
    /// With the tool's answer.
    Answered,
    /// Nobody knows what came of the run.
    Doubt,
    Cancelled,
}

/// What one request came to.
enum Heard {
    Died,
    Message(Value),
}

struct Story<'a> {
    world: &'a World,
    cell: &'a Cell,
    house: House,
    till: Till,
    _served: Option<TillServer>,
    order: String,
    /// What the client has in hand.
    task: Option<String>,
    state: Option<String>,
    /// Whether the client has answered the tool's question.
    went_on: bool,
    cancelled: Cancelled,
    requests: u32,
}

/// What the client was told of its cancellation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    NotYet,
    Acknowledged,
}

pub(super) fn play(world: &World, cell: &Cell) -> Result<()> {
    let mut story = Story::prepare(world, cell)?;
    story.die().context("the life that ends")?;
    story.live().context("the last life")
}

impl<'a> Story<'a> {
    fn prepare(world: &'a World, cell: &'a Cell) -> Result<Self> {
        let order = format!("ticket-{}", world.orders.fetch_add(1, Ordering::SeqCst));
        let (mut house, till) = (House::new()?, Till::new()?);
        let served = (cell.route == Route::Http).then(|| till.serve()).transpose()?;
        let entry = match &served {
            Some(served) => json!({ "url": served.url() }),
            None => json!({ "command": till.command() }),
        };
        let mode = if cell.kind == Kind::Asks { "hold" } else { "task" };
        let mut config = json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "servers": { "till": entry },
            "hold": { "mode": mode, "patience": "20s" },
        });
        if cell.store == Store::Postgres {
            config["journal"] = json!({ "url": "${HOLDPOINT_JOURNAL_URL}" });
            house.set_env("HOLDPOINT_JOURNAL_URL", &world.database.url());
        }
        house.set_env("HOLDPOINT_LOG", "error");
        house.configure(&config)?;
        house.tools("till", &json!([{ "name": "gated", "action": "gate" }]))?;
        world.desk.employ(&mut house, &order)?;
        let cancelled = Cancelled::NotYet;
        Ok(Self {
            world,
            cell,
            house,
            till,
            _served: served,
            order,
            task: None,
            state: None,
            went_on: false,
            cancelled,
            requests: 0,
        })
    }

    fn die(&mut self) -> Result<()> {
        if let Death::At(point) = &self.cell.death {
            self.house.set_env("HOLDPOINT_DIE_AT", point);
        }
        let link = Link::open_stateless(&self.house, self.cell.route);
        self.house.unset_env("HOLDPOINT_DIE_AT");
        let mut link = link?;
        self.till.called_by(link.pid());
        // It may still be about to die: of what comes after the answer.
        let _ended = self.go(&mut link)?;
        ensure!(link.killed_within(SOON)?, "never passed");
        if self.cell.kind == Kind::TaskCancelled {
            self.world.desk.approve_from_now_on(&self.order);
            let deadline = Instant::now() + SOON;
            while self.world.desk.approvals(&self.order)? == 0 {
                ensure!(Instant::now() < deadline, "not approved");
                std::thread::sleep(LOOK_EVERY);
            }
            ensure!(self.runs()? == 0, "it ran for nobody");
        }
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        let went_on = self.went_on;
        let mut link = Link::open_stateless(&self.house, self.cell.route)?;
        self.till.called_by(link.pid());
        let ended = self.go(&mut link)?;
        let (runs, approvals) = (self.runs()?, self.world.desk.approvals(&self.order)?);
        ensure!(runs <= approvals, "{runs} runs for {approvals} approvals");
        match ended {
            Life::Died => bail!("it went away"),
            Life::Answered if self.cell.kind == Kind::TaskCancelled => {
                ensure!(self.cancelled == Cancelled::NotYet, "cancelled for certain, and it ran");
                ensure!(runs == 1, "{runs} runs");
            }
            Life::Answered => {
                ensure!(runs == 1, "{runs} runs");
                // A question of the first process is the same question in the second.
                ensure!(self.till.asked()? == usize::from(self.cell.kind.asks()), "asked more than once");
            }
            Life::Doubt => {
                ensure!(self.cell.may_be_in_doubt(went_on), "in doubt without a reason");
                ensure!(runs <= 1, "{runs} runs");
            }
            Life::Cancelled => ensure!(runs == 0, "cancelled, and it ran"),
        }
        // Whoever asks again hears the same, and nothing runs.
        if let Some(task) = self.task.clone() {
            let one = self.about(&mut link, "tasks/get", &task, json!({}))?;
            let two = self.about(&mut link, "tasks/get", &task, json!({}))?;
            match (one, two) {
                (Heard::Message(one), Heard::Message(two)) => {
                    ensure!(one["result"] == two["result"], "{one} and then {two}");
                }
                (Heard::Died, _) | (_, Heard::Died) => bail!("it went away"),
            }
        }
        ensure!(self.runs()? == runs, "it ran again");
        link.close()?;
        self.house.run(&["audit", "verify"])?.success().context("the audit log")?;
        Ok(())
    }

    /// The client does what it can with what it has, until there is nothing left to do.
    fn go(&mut self, link: &mut Link) -> Result<Life> {
        for _ in 0..REQUESTS_MAX {
            let step = match (&self.task, &self.state) {
                (Some(task), _) => {
                    let task = task.clone();
                    self.look(link, &task)?
                }
                (None, state) => {
                    let state = state.clone();
                    self.call(link, state.as_deref())?
                }
            };
            if let Some(life) = step {
                return Ok(life);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("asked {REQUESTS_MAX} times without an end")
    }

    /// `None`: more is to be done.
    fn call(&mut self, link: &mut Link, state: Option<&str>) -> Result<Option<Life>> {
        let review = if self.cell.kind == Kind::TaskCancelled { "later" } else { "approve" };
        let mut arguments = json!({ "order_id": self.order, "review": review });
        if self.cell.kind.asks() {
            arguments["asks"] = json!(true);
        }
        if let Death::ByTool(harm) = self.cell.death {
            arguments["harm"] = json!(harm);
        }
        let capabilities = if self.cell.kind == Kind::Asks {
            json!({ "elicitation": {} })
        } else {
            json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } })
        };
        let mut params = json!({
            "name": "gated", "arguments": arguments,
            "_meta": { "dev.holdpoint/task": self.order, "io.modelcontextprotocol/clientCapabilities": capabilities },
        });
        if let Some(state) = state {
            self.went_on = true;
            params["requestState"] = json!(state);
            params["inputResponses"] = said();
        }
        let answer = match self.request(link, "tools/call", "gated", &params)? {
            Heard::Died => return Ok(Some(Life::Died)),
            Heard::Message(answer) => answer,
        };
        let result = &answer["result"];
        match result["resultType"].as_str() {
            Some("task") => {
                self.task = Some(result["taskId"].as_str().context("no id")?.to_owned());
                Ok(None)
            }
            Some("input_required") => {
                self.state = Some(result["requestState"].as_str().context("no state")?.to_owned());
                Ok(None)
            }
            Some(_) | None => self.judge(result),
        }
    }

    fn look(&mut self, link: &mut Link, task: &str) -> Result<Option<Life>> {
        if self.cell.kind == Kind::TaskCancelled && self.cancelled == Cancelled::NotYet {
            return self.cancel(link, task);
        }
        let answer = match self.about(link, "tasks/get", task, json!({}))? {
            Heard::Died => return Ok(Some(Life::Died)),
            Heard::Message(answer) => answer,
        };
        let told = &answer["result"];
        match told["status"].as_str() {
            Some("working") => Ok(None),
            Some("cancelled") => Ok(Some(Life::Cancelled)),
            Some("input_required") => {
                let said = json!({ "inputResponses": said() });
                self.went_on = true;
                match self.about(link, "tasks/update", task, said)? {
                    Heard::Died => Ok(Some(Life::Died)),
                    Heard::Message(_) => Ok(None),
                }
            }
            Some("completed") => self.judge(&told["result"]),
            _ => bail!("not to be told of a task: {answer}"),
        }
    }

    fn cancel(&mut self, link: &mut Link, task: &str) -> Result<Option<Life>> {
        let deadline = Instant::now() + SOON;
        while self.world.desk.threads(&self.order).is_empty() {
            ensure!(Instant::now() < deadline, "not asked about");
            std::thread::sleep(LOOK_EVERY);
        }
        // After the approval, in the second life, it is for the task to say what became of it.
        if self.world.desk.approvals(&self.order)? > 0 {
            self.cancelled = Cancelled::NotYet;
            return self.status(link, task);
        }
        match self.about(link, "tasks/cancel", task, json!({}))? {
            Heard::Died => Ok(Some(Life::Died)),
            Heard::Message(answer) if answer["result"].is_object() => {
                self.cancelled = Cancelled::Acknowledged;
                Ok(None)
            }
            Heard::Message(_) => Ok(None),
        }
    }

    fn status(&mut self, link: &mut Link, task: &str) -> Result<Option<Life>> {
        let answer = match self.about(link, "tasks/get", task, json!({}))? {
            Heard::Died => return Ok(Some(Life::Died)),
            Heard::Message(answer) => answer,
        };
        match answer["result"]["status"].as_str() {
            Some("working") => Ok(None),
            Some("cancelled") => Ok(Some(Life::Cancelled)),
            Some("completed") => self.judge(&answer["result"]["result"]),
            _ => bail!("not to be told of a task: {answer}"),
        }
    }

    fn judge(&mut self, result: &Value) -> Result<Option<Life>> {
        match decision(result)["status"].as_str() {
            None => {
                ensure!(
                    result["isError"] != json!(true) && result["content"].is_array(),
                    "not the tool's: {result}"
                );
                ensure!(self.runs()? > 0, "the tool did not say this: {result}");
                Ok(Some(Life::Answered))
            }
            Some("outcome_unknown") => Ok(Some(Life::Doubt)),
            Some("pending" | "busy" | "unavailable" | "token_invalid" | "mismatch" | "expired") => {
                // Nothing ran, for certain: it is asked about anew.
                (self.task, self.state) = (None, None);
                Ok(None)
            }
            Some(_) => bail!("not to be told here: {result}"),
        }
    }

    fn about(&mut self, link: &mut Link, method: &str, task: &str, more: Value) -> Result<Heard> {
        let mut params = more;
        params["taskId"] = json!(task);
        params["_meta"] = json!({ "io.modelcontextprotocol/clientCapabilities": {
            "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} },
        } });
        self.request(link, method, task, &params)
    }

    fn request(&mut self, link: &mut Link, method: &str, name: &str, params: &Value) -> Result<Heard> {
        self.requests += 1;
        match link.request(&format!("request-{}", self.requests), method, name, params) {
            Ok(answer) => Ok(Heard::Message(answer)),
            Err(_) if link.killed_within(SOON)? => Ok(Heard::Died),
            Err(error) => Err(error),
        }
    }

    fn runs(&self) -> Result<usize> {
        Ok(self.till.runs()?.len())
    }
}

fn said() -> Value {
    json!({ "sure": { "action": "accept", "content": { "sure": true } } })
}
