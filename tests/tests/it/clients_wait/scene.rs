//! One proxy and one tool server, and many clients on them at once, each with an order of its own.

use crate::told::{decision, house_at, ran, refund, text};
use anyhow::{Context as _, Result, bail, ensure};
use holdpoint_e2e::{Admin, Client, House, Ledger, LedgerServer, Sdk, Server};
use serde_json::{Value, json};
use std::{
    sync::Mutex,
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

/// Between two looks into the inbox.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a call takes at most until somebody is asked: the machine may be busy starting clients.
const ASKED_WITHIN: Duration = Duration::from_mins(1);

/// A client, and how its host uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) sdk: Sdk,
    pub(super) era: &'static str,
    pub(super) asks: Asks,
}

/// What a host asks of its client beside the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Nothing,
    /// To hear of progress.
    ForProgress,
    /// That progress starts its clock anew.
    ToBeKept,
}

/// How one call ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saw {
    /// The tool's result.
    Result,
    /// That nobody has decided yet.
    Pending,
    /// Nothing: it gave up.
    TimedOut,
}

pub(super) struct Scene {
    admin: Admin,
    url: String,
    ledger: Ledger,
    /// Only kept: several threads look at the scene, and the output of these is for one.
    _running: Mutex<(Server, LedgerServer)>,
    _house: House,
}

impl Scene {
    /// `hold`: as in `holdpoint.yaml`.
    pub(super) fn open(hold: &Value) -> Result<Self> {
        let ledger = Ledger::new()?;
        let tool_server = ledger.serve()?;
        let house = house_at(tool_server.url())?;
        house.tools("ledger", &json!([{ "name": "refund", "action": "gate", "hold": hold }]))?;
        let up = house.up()?;
        let (admin, url) = (Admin::of(&house)?, up.mcp_url("ledger")?.to_owned());
        Ok(Self { admin, url, ledger, _running: Mutex::new((up, tool_server)), _house: house })
    }

    pub(super) fn connect(&self, caller: &Caller) -> Result<Client> {
        Client::connect(caller.sdk, &json!({ "http": self.url, "era": caller.era }))
    }

    /// One call, and the approval so long after a person was asked. Nothing ran before.
    pub(super) fn call_approved_after(
        &self,
        client: &mut Client,
        (caller, order): (&Caller, &str),
        limit_ms: Option<u64>,
        after: Duration,
    ) -> Result<Saw> {
        std::thread::scope(|threads| {
            let reviewer = threads.spawn(|| {
                let thread = self.thread(order)?;
                std::thread::sleep(after);
                ensure!(self.runs(order)?.is_empty(), "it ran before anybody decided");
                self.admin.approve(&thread)
            });
            let saw = call(client, caller, order, limit_ms)?;
            reviewer.join().ok().context("the reviewer panicked")??;
            Ok(saw)
        })
    }

    /// The review of an order, once there is one.
    pub(super) fn thread(&self, order: &str) -> Result<String> {
        let deadline = Instant::now() + ASKED_WITHIN;
        loop {
            let open = self.admin.open()?;
            let found = open.iter().find(|thread| thread["payload"]["order_id"] == order);
            if let Some(found) = found {
                return found["thread_id"].as_str().map(str::to_owned).context("no id");
            }
            ensure!(Instant::now() < deadline, "nobody was asked about `{order}`: {open:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    pub(super) fn approve(&self, order: &str) -> Result<()> {
        self.approve_thread(&self.thread(order)?)
    }

    pub(super) fn approve_thread(&self, thread: &str) -> Result<()> {
        self.admin.approve(thread)
    }

    /// How often an order was paid back.
    pub(super) fn runs(&self, order: &str) -> Result<Vec<Value>> {
        let runs = self.ledger.runs()?;
        Ok(runs.into_iter().filter(|run| run["arguments"]["order_id"] == order).collect())
    }
}

/// Plays a scene with all callers at once; each has an order of its own.
pub(super) fn each(callers: &[Caller], play: impl Fn(&Caller, &str) -> Result<()> + Sync) -> Result<()> {
    let play = &play;
    std::thread::scope(|scope| {
        let plays: Vec<_> = callers
            .iter()
            .enumerate()
            .map(|(number, caller)| scope.spawn(move || play(caller, &format!("order-{number}-"))))
            .collect();
        let ends = plays.into_iter().map(ScopedJoinHandle::join).zip(callers);
        let mut wrong = Vec::new();
        for (end, caller) in ends {
            match end {
                Ok(Ok(())) => {}
                Ok(Err(error)) => wrong.push(format!("{caller:?}: {error:#}")),
                Err(_) => wrong.push(format!("{caller:?}: see above")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

/// One call, to its end. `limit_ms`: how long the client gives a request; `None`: as long as it does by itself.
pub(super) fn call(client: &mut Client, caller: &Caller, order: &str, limit_ms: Option<u64>) -> Result<Saw> {
    let mut call = json!({ "do": "call", "id": "a", "tool": "refund", "arguments": refund(order, 40) });
    if let Some(limit_ms) = limit_ms {
        call["timeout_ms"] = limit_ms.into();
    }
    call["progress"] = (caller.asks != Asks::Nothing).into();
    call["reset_on_progress"] = (caller.asks == Asks::ToBeKept).into();
    client.send(&call)?;
    let end = client.end_of("a")?;
    match (end["event"].as_str(), end["kind"].as_str(), decision(&end)["status"].as_str()) {
        (Some("error"), Some("timeout"), _) => Ok(Saw::TimedOut),
        (Some("result"), _, Some("pending")) => {
            ensure!(text(&end).contains("has not run"), "the model is not told: {end}");
            Ok(Saw::Pending)
        }
        (Some("result"), _, None) => {
            ran(&end, &format!("refunded 40 for {order}"))?;
            Ok(Saw::Result)
        }
        _ => bail!("another end: {end}"),
    }
}
