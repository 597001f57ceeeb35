//! Lines that break: at every byte of the exchanges that a run depends on, in both directions, on every hop.
//!
//! After each fault the same call is sent until it is answered. No run is without an approval of its own, and what is in
//! doubt is said to be.

use crate::told::decision;
use anyhow::{Context as _, Result, bail, ensure};
use holdpoint_e2e::{Cut, Desk, Fault, House, HttpClient, Relay, Server, Till, TillServer, lines_of_work};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The same call after one fault: it is asked about anew a few times at most.
const CALLS_MAX: u32 = 20;
/// Stacks of one test that break at once: most of their time is waiting.
const AT_ONCE: usize = 10;
/// Lines that are reset break in the same places as those that are closed: not every byte again.
const RESET_EVERY: usize = 9;
const REQUEST_EVERY: usize = 7;
const REQUEST_END: usize = 40;
/// What a person resolves is a process of its own: not each time.
const RESOLVED_EVERY: u32 = 8;

/// Which line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Client,
    Gate,
    Tool,
}

/// One proxy with a relay on one hop.
struct Stack {
    house: House,
    _up: Server,
    till: Till,
    _served: TillServer,
    relay: Relay,
    client: HttpClient,
    name: String,
    orders: u32,
}

impl Stack {
    fn start(desk: &Desk, hop: Hop, name: &str) -> Result<Self> {
        let (mut house, till) = (House::new()?, Till::new()?);
        let served = till.serve()?;
        house.set_env("HOLDPOINT_LOG", "error");
        desk.employ(&mut house, name)?;
        let mut tool_url = served.url();
        let mut relay = None;
        match hop {
            Hop::Client => {}
            Hop::Gate => {
                let line = Relay::to(desk.address()?)?;
                house.set_env("STACKSONA_GATE_URL", &line.url(desk.admin.url())?);
                relay = Some(line);
            }
            Hop::Tool => {
                let line = Relay::to(served.address())?;
                tool_url = line.url(&tool_url)?;
                relay = Some(line);
            }
        }
        house.configure(&json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "servers": { "till": { "url": tool_url } },
            "hold": { "patience": "10s" },
        }))?;
        let up = house.up()?;
        let mut url = up.mcp_url("till")?.to_owned();
        if hop == Hop::Client {
            let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
            let line = Relay::to(address.parse()?)?;
            url = line.url(&url)?;
            relay = Some(line);
        }
        let client = HttpClient::connect(&url)?;
        let relay = relay.context("no relay")?;
        Ok(Self { house, _up: up, till, _served: served, relay, client, name: name.to_owned(), orders: 0 })
    }

    fn params(&mut self) -> (String, Value) {
        self.orders += 1;
        let order = format!("{}-{:04}", self.name, self.orders);
        let arguments = json!({ "order_id": order, "review": "approve" });
        (order, json!({ "name": "gated", "arguments": arguments }))
    }

    /// How long the exchange with `part` and its answer are, for a call that goes well.
    fn measure(&mut self, desk: &Desk, part: &str) -> Result<(usize, usize)> {
        self.relay.measure(part);
        let (order, params) = self.params();
        self.until_answered(desk, &order, &params)?;
        self.relay.measured().context("nothing passed")
    }

    fn breaks(&mut self, desk: &Desk, part: &str, fault: Fault) -> Result<()> {
        let (order, params) = self.params();
        self.relay.harm(part, fault);
        self.until_answered(desk, &order, &params)?;
        ensure!(self.relay.is_harmed(), "no such exchange");
        Ok(())
    }

    fn runs(&self, order: &str) -> Result<usize> {
        let runs = self.till.runs()?;
        Ok(runs.iter().filter(|run| run["arguments"]["order_id"] == *order).count())
    }

    fn until_answered(&self, desk: &Desk, order: &str, params: &Value) -> Result<()> {
        let mut told = 0;
        for call in 0..CALLS_MAX {
            let Ok(message) = self.client.call(&format!("{order}-{call}"), params) else { continue };
            let runs = self.runs(order)?;
            match decision(&message["result"])["status"].as_str() {
                None if message["result"].is_object() => {
                    ensure!(message["result"]["isError"] != json!(true), "not the tool's: {message}");
                    ensure!(runs > 0, "the tool did not say this: {message}");
                    return self.holds_up(desk, order);
                }
                None => bail!("not a result: {message}"),
                Some("pending" | "unavailable" | "token_invalid") => {
                    ensure!(runs == told, "it ran, and that was not said: {message}");
                }
                Some("outcome_unknown") => {
                    ensure!(runs <= told + 1, "{runs} runs, {told} told");
                    let ran = runs > told;
                    if !self.orders.is_multiple_of(RESOLVED_EVERY) {
                        return self.stays_in_doubt(desk, order, params);
                    }
                    self.resolve(&message["result"], ran)?;
                    if ran {
                        return self.holds_up(desk, order);
                    }
                    told = runs;
                }
                Some(_) => bail!("not to be told here: {message}"),
            }
        }
        bail!("asked {CALLS_MAX} times without an answer")
    }

    /// Doubt stays, and nothing runs again.
    fn stays_in_doubt(&self, desk: &Desk, order: &str, params: &Value) -> Result<()> {
        let runs = self.runs(order)?;
        let again = self.client.call(&format!("{order}-again"), params)?;
        ensure!(decision(&again["result"])["status"] == "outcome_unknown", "no doubt any more: {again}");
        ensure!(self.runs(order)? == runs && runs <= desk.approvals(order)?, "it ran in doubt");
        Ok(())
    }

    fn resolve(&self, answer: &Value, ran: bool) -> Result<()> {
        let thread = decision(answer)["thread_id"].as_str().context("doubt about nothing")?;
        let outcome = if ran { "--ran" } else { "--did-not-run" };
        self.house.run(&["holds", "resolve", thread, outcome])?.success().map(drop)
    }

    fn holds_up(&self, desk: &Desk, order: &str) -> Result<()> {
        let (runs, approvals) = (self.runs(order)?, desk.approvals(order)?);
        ensure!(runs >= 1 && runs <= approvals, "{runs} runs for {approvals} approvals");
        Ok(())
    }
}

/// Every byte of the exchange with `part`, on one hop.
fn survives(hop: Hop, part: &str) -> Result<()> {
    let desk = Desk::open(&json!([]))?;
    let (request, answer) = Stack::start(&desk, hop, "measure")?.measure(&desk, part)?;
    ensure!(request > 100 && answer > 100, "{request} and {answer} bytes are no exchange");
    // A server answers no request that is cut before its end: of those not every byte, but of the end and of the answer.
    let whole = request.saturating_sub(REQUEST_END);
    let requests = (0..whole).step_by(REQUEST_EVERY).chain(whole..=request);
    let cut = |at: usize| if at.is_multiple_of(RESET_EVERY) { Cut::Reset } else { Cut::Fin };
    let mut faults: Vec<Fault> = requests.map(|at| Fault::CutRequest(at, cut(at))).collect();
    faults.extend((0..=answer).map(|at| Fault::CutAnswer(at, cut(at))));
    faults.extend((0..=answer).step_by(RESET_EVERY).map(|at| Fault::CutAnswer(at, Cut::Fin)));
    faults.push(Fault::Delay(Duration::from_millis(300)));
    // A line that says a call twice to the tool runs it twice: nobody on this side can know.
    if hop != Hop::Tool {
        faults.push(Fault::Twice);
    }
    let begun = Instant::now();
    let count = faults.len();
    lines_of_work(
        AT_ONCE,
        faults,
        |worker| Stack::start(&desk, hop, &format!("w{worker}")),
        |stack, fault| stack.breaks(&desk, part, fault).with_context(|| format!("{hop:?} {part} {fault:?}")),
    )?;
    println!("{count} faults in {:?}", begun.elapsed());
    Ok(())
}

#[test]
fn the_question_to_gate() -> Result<()> {
    survives(Hop::Gate, "/requests ")
}

#[test]
fn the_token_at_gate() -> Result<()> {
    survives(Hop::Gate, "/approvals/validate ")
}

#[test]
fn the_call_to_the_tool() -> Result<()> {
    survives(Hop::Tool, "\"tools/call\"")
}

#[test]
fn the_call_of_the_client() -> Result<()> {
    survives(Hop::Client, "\"tools/call\"")
}

/// Nothing is worse than no answer at all.
#[test]
fn whoever_hangs() -> Result<()> {
    let desk = Desk::open(&json!([]))?;
    let parts = ["/requests ", "/approvals/validate ", "/decisions"];
    // Each waits for somebody to give up.
    let stack = |worker: usize| Stack::start(&desk, Hop::Gate, &format!("w{worker}"));
    lines_of_work(parts.len(), parts, stack, |stack, part| {
        stack.breaks(&desk, part, Fault::Hang).context(part)
    })
}
