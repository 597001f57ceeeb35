//! `examples/agent-that-waits`, as it stands in the repository: its agent does the right thing for every answer.

use crate::setup::{call, text, until};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Desk, House, HttpClient, Ran, Running, Till, here, nobody, python};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Command, thread::spawn};

/// The example's tool server, in its configuration.
const SHOP: &str = "{ command: [python3, shop.py, refunds.jsonl] }";
/// What its agent waits for one answer: shorter here.
const PATIENCE: &str = "patience: 10s";

fn example() -> PathBuf {
    here().join("../examples/agent-that-waits")
}

struct Shop {
    desk: Desk,
    till: Till,
    house: House,
}

impl Shop {
    /// The example's configuration, with a tool server that writes down every run.
    fn open() -> Result<Self> {
        let till = Till::new()?;
        let server = json!({ "command": till.command() });
        Self::with(till, &server)
    }

    fn with(till: Till, server: &Value) -> Result<Self> {
        let (desk, mut house) = (Desk::open(&json!([]))?, House::new()?);
        desk.employ(&mut house, "refunds")?;
        let read = |name: &str| std::fs::read_to_string(example().join("config").join(name));
        let config = read("holdpoint.yaml")?;
        ensure!(config.contains(SHOP), "the example has another tool server now");
        house.write("holdpoint.yaml", &config.replace(SHOP, &server.to_string()))?;
        let tools = read("tools/shop.yaml")?;
        ensure!(tools.contains(PATIENCE), "the example has another patience now");
        house.write("tools/shop.yaml", &tools.replace(PATIENCE, "patience: 700ms"))?;
        Ok(Self { desk, till, house })
    }

    /// Starts the agent over stdio.
    fn agent(&self, refunds: &Value) -> Result<Running> {
        self.agent_at(refunds, &self.house.proxy("shop"))
    }

    fn agent_at(&self, refunds: &Value, target: &[String]) -> Result<Running> {
        let job = self.house.path().join("job.json");
        std::fs::write(&job, json!({ "name": "job", "refunds": refunds }).to_string())?;
        let mut command = Command::new(python());
        command.arg(example().join("agent.py")).arg(job).arg("--").args(target);
        command.current_dir(self.house.path()).env_clear().envs(self.house.environment());
        Running::start(&mut command)
    }

    fn runs(&self) -> Result<Vec<Value>> {
        Ok(self.till.runs()?.into_iter().map(|run| run["arguments"].clone()).collect())
    }
}

fn ended(agent: Running, code: i32, words: &[&str]) -> Result<Ran> {
    let ran = agent.end()?;
    ensure!(ran.code == Some(code), "not {code}: {ran:?}");
    for word in words {
        ensure!(ran.stdout.contains(word), "no `{word}`: {ran:?}");
    }
    Ok(ran)
}

fn order(order: &str, amount: u32) -> Value {
    json!({ "order_id": order, "amount": amount })
}

/// Told to come back, it comes back with the same call; done once is done.
#[test]
fn pending_then_approved_then_already_done() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.agent(&json!([order("1", 500)]))?;
    let thread = shop.desk.thread("1", 1)?;
    agent.says("order 1: pending")?;
    ensure!(shop.runs()?.is_empty(), "it ran before anybody said so");
    shop.desk.admin.approve(text(&thread["thread_id"]))?;
    let ran = ended(agent, 0, &["order 1: pending, review THR-", "order 1: did 1"])?;
    ensure!(shop.desk.threads("1").len() == 1, "asked more than once: {ran:?}");
    assert_eq!(shop.runs()?, [order("1", 500)]);

    ended(shop.agent(&json!([order("1", 500)]))?, 0, &["order 1: already done"])?;
    assert_eq!(shop.runs()?, [order("1", 500)]);
    Ok(())
}

#[test]
fn changes_requested() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.agent(&json!([order("1", 500)]))?;
    let first = shop.desk.thread("1", 1)?;
    shop.desk.admin.ask_for_changes(&first, "at most 40, please")?;
    let id = text(&first["thread_id"]);
    until("another proposal", || Ok(shop.desk.admin.thread(id)?["thread"]["payload"]["amount"] == 40))?;
    shop.desk.admin.approve(id)?;
    ended(agent, 0, &["at most 40, please -> 40 instead of 500", "order 1: did 1"])?;
    assert_eq!(shop.runs()?, [order("1", 40)]);
    Ok(())
}

/// Words that it does not understand are for a person.
#[test]
fn changes_that_it_does_not_understand() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.agent(&json!([order("1", 500), order("2", 20)]))?;
    shop.desk.admin.ask_for_changes(&shop.desk.thread("1", 1)?, "be nicer")?;
    ended(agent, 3, &["a person has to look", "be nicer"])?;
    assert_eq!(shop.runs()?, [] as [Value; 0]);
    ensure!(shop.desk.threads("2").is_empty(), "it went on");
    Ok(())
}

/// No is no; the next order is another matter.
#[test]
fn rejected() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.agent(&json!([order("1", 500), order("2", 20)]))?;
    shop.desk.admin.reject(text(&shop.desk.thread("1", 1)?["thread_id"]), "ask finance")?;
    shop.desk.admin.approve(text(&shop.desk.thread("2", 1)?["thread_id"]))?;
    ended(agent, 1, &["order 1: rejected, given up: ask finance", "order 2: did 2"])?;
    ensure!(shop.desk.threads("1").len() == 1, "it asked again");
    assert_eq!(shop.runs()?, [order("2", 20)]);
    Ok(())
}

/// It may have run: nothing goes on before a person has looked.
#[test]
fn outcome_unknown() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.agent(&json!([order("lost", 500), order("2", 20)]))?;
    let thread = shop.desk.thread("lost", 1)?;
    shop.desk.admin.approve(text(&thread["thread_id"]))?;
    ended(agent, 3, &["a person has to look", text(&thread["thread_id"])])?;
    assert_eq!(shop.runs()?, [order("lost", 500)]);
    ensure!(shop.desk.threads("2").is_empty(), "it went on");
    Ok(())
}

#[test]
fn unavailable() -> Result<()> {
    let mut shop = Shop::open()?;
    shop.house.set_env("STACKSONA_GATE_URL", &nobody()?);
    ended(shop.agent(&json!([order("1", 500)]))?, 1, &["order 1: unavailable, asking again", "given up"])?;
    assert_eq!(shop.runs()?, [] as [Value; 0]);
    Ok(())
}

/// All places are taken: it comes back until there is one.
#[test]
fn busy() -> Result<()> {
    let till = Till::new()?;
    let till_at = till.serve()?;
    let shop = Shop::with(till, &json!({ "url": till_at.url() }))?;
    let config = std::fs::read_to_string(shop.house.config().join("holdpoint.yaml"))?;
    shop.house.write("holdpoint.yaml", &format!("{config}hold: {{ held_max: 1 }}\n"))?;
    let tools = std::fs::read_to_string(shop.house.config().join("tools/shop.yaml"))?;
    shop.house.write("tools/shop.yaml", &tools.replace("patience: 700ms", "patience: 40s"))?;
    let up = shop.house.up()?;
    let url = up.mcp_url("shop")?.to_owned();
    let other = HttpClient::connect(&url)?;
    let taken = spawn(move || other.call("a", &call("other job", "refund", &order("first", 1))));
    let first = shop.desk.thread("first", 1)?;
    until("it is held", || Ok(!shop.house.holds()?.is_empty()))?;

    let agent = shop.agent_at(&json!([order("1", 500)]), std::slice::from_ref(&url))?;
    agent.says("order 1: busy")?;
    shop.desk.admin.approve(text(&first["thread_id"]))?;
    let second = shop.desk.thread("1", 1)?;
    shop.desk.admin.approve(text(&second["thread_id"]))?;
    ended(agent, 0, &["order 1: busy", "order 1: did 1"])?;
    taken.join().map_err(|_| anyhow::anyhow!("panicked"))?.context("the first call")?;
    assert_eq!(shop.runs()?, [order("first", 1), order("1", 500)]);
    Ok(())
}

/// With the tool server that it brings along.
#[test]
fn with_its_own_shop() -> Result<()> {
    let shop = Shop::with(
        Till::new()?,
        &json!({ "command": [python(), example().join("shop.py"), "refunds.jsonl"] }),
    )?;
    let agent = shop.agent(&json!([order("8821", 500)]))?;
    let thread = shop.desk.thread("8821", 1)?;
    ensure!(thread["subject"] == "Refund 500 for order 8821", "{thread}");
    shop.desk.admin.approve(text(&thread["thread_id"]))?;
    ended(agent, 0, &["refunded 500 for order 8821"])?;
    let refunds = std::fs::read_to_string(shop.house.path().join("refunds.jsonl"))?;
    let lines: Vec<Value> = refunds.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(lines, [order("8821", 500)]);
    // The job that is shipped is one that the agent reads.
    let job: Value = serde_json::from_str(&std::fs::read_to_string(example().join("job.json"))?)?;
    ensure!(job["refunds"][0]["order_id"] == "8821" && job["name"].is_string(), "{job}");
    Ok(())
}
