//! Several proxies, one journal, the same call to each at the same moment.

use crate::setup::{call, until};
use crate::told::decision;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Desk, House, HttpClient, Link, Route, Till, lines_of_work};
use holdpoint_testkit::PostgresDatabase;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Barrier, Mutex, PoisonError},
};

/// Pairs of identical calls.
const PAIRS_ON_POSTGRES: usize = 500;
const PAIRS_ON_SQLITE: usize = 100;
/// Pairs that are under way at once.
const AT_ONCE: usize = 8;
/// The same call again, of a caller that was told to.
const CALLS_MAX: u32 = 20;

/// How often what was told.
type Told = Mutex<BTreeMap<String, usize>>;

fn house(desk: &Desk, server: &Value, agent: &str) -> Result<House> {
    let mut house = House::new()?;
    house.set_env("HOLDPOINT_LOG", "error");
    desk.employ(&mut house, agent)?;
    house.configure(&json!({
        "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
        "servers": { "till": server },
        "hold": { "patience": "30s" },
    }))?;
    Ok(house)
}

fn on_postgres(house: &mut House, database: &PostgresDatabase, server: &Value) -> Result<()> {
    house.set_env("HOLDPOINT_JOURNAL_URL", &database.url());
    house.configure(&json!({
        "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
        "servers": { "till": server },
        "journal": { "url": "${HOLDPOINT_JOURNAL_URL}" },
        "hold": { "patience": "30s" },
    }))
}

/// One caller: until it has the answer of a run, or is told that there was one.
fn caller(told: &Told, mut ask: impl FnMut(u32) -> Result<Value>) -> Result<()> {
    for number in 0..CALLS_MAX {
        let answer = ask(number)?;
        let status = decision(&answer)["status"].as_str().unwrap_or("the answer").to_owned();
        *told.lock().unwrap_or_else(PoisonError::into_inner).entry(status.clone()).or_default() += 1;
        match status.as_str() {
            "the answer" => {
                ensure!(answer["isError"] != json!(true), "not the tool's: {answer}");
                return Ok(());
            }
            // The other one ran it, and has its answer.
            "already_done" => return Ok(()),
            // Truthful: the other one asked, or spent the approval, or is at it.
            "pending" | "unavailable" | "token_invalid" => {}
            _ => anyhow::bail!("not to be told here: {answer}"),
        }
    }
    anyhow::bail!("asked {CALLS_MAX} times without an answer")
}

fn answered(told: &Told) -> usize {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.get("the answer").copied().unwrap_or_default()
}

fn count(till: &Till, order: &str) -> Result<usize> {
    Ok(till.runs()?.iter().filter(|run| run["arguments"]["order_id"] == *order).count())
}

fn once(desk: &Desk, till: &Till, order: &str) -> Result<()> {
    let (runs, approvals) = (count(till, order)?, desk.approvals(order)?);
    ensure!(runs >= 1 && runs <= approvals, "{order}: {runs} runs for {approvals} approvals");
    Ok(())
}

#[test]
fn two_proxies_on_one_postgres() -> Result<()> {
    let (desk, till, database) = (Desk::open(&json!([]))?, Till::new()?, PostgresDatabase::create());
    let till_at = till.serve()?;
    let server = json!({ "url": till_at.url() });
    let mut one = house(&desk, &server, "replicated")?;
    on_postgres(&mut one, &database, &server)?;
    // The same agent with another data folder; only the journal is shared.
    let mut other = House::new()?;
    for (name, value) in one.environment() {
        if name.starts_with("STACKSONA") || name == "HOLDPOINT_LOG" {
            other.set_env(&name, &value);
        }
    }
    on_postgres(&mut other, &database, &server)?;
    let first = one.up()?;
    let proxies = [first, other.up()?];
    let urls = [proxies[0].mcp_url("till")?.to_owned(), proxies[1].mcp_url("till")?.to_owned()];
    let told = Told::default();
    let single = Mutex::new(0_usize);
    lines_of_work(
        AT_ONCE,
        0..PAIRS_ON_POSTGRES,
        |_| Ok([HttpClient::connect(&urls[0])?, HttpClient::connect(&urls[1])?]),
        |clients, pair| {
            let order = format!("pair-{pair}");
            let params =
                call(&order, "gated", &json!({ "order_id": order, "review": "approve", "takes_ms": 5 }));
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                let calls = clients.each_ref().map(|client| {
                    scope.spawn(|| {
                        start.wait();
                        caller(&told, |number| {
                            let answer = client.call(&format!("{order}-{number}"), &params)?;
                            Ok(answer["result"].clone())
                        })
                    })
                });
                calls.into_iter().try_for_each(|call| call.join().map_err(|_| anyhow::anyhow!("panicked"))?)
            })
            .with_context(|| order.clone())?;
            once(&desk, &till, &order)?;
            if desk.threads(&order).len() == 1 && count(&till, &order)? == 1 {
                *single.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
            Ok(())
        },
    )?;
    let single = single.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(answered(&told) >= PAIRS_ON_POSTGRES, "fewer answers than pairs: {:?}", told.lock());
    println!("{single} of {PAIRS_ON_POSTGRES} pairs: one thread, one run; told: {:?}", told.lock());
    // Who comes after the other one's answer was delivered sends a new call, which is asked about on its own.
    ensure!(single * 10 >= PAIRS_ON_POSTGRES * 9, "only {single} pairs met");
    Ok(())
}

/// Whoever holds the call dies; the other one, which joined it, finishes it.
#[test]
fn the_survivor_finishes() -> Result<()> {
    let (desk, till, database) = (Desk::open(&json!([]))?, Till::new()?, PostgresDatabase::create());
    let till_at = till.serve()?;
    let server = json!({ "url": till_at.url() });
    let mut one = house(&desk, &server, "replicated")?;
    on_postgres(&mut one, &database, &server)?;
    let mut other = House::new()?;
    for (name, value) in one.environment() {
        if name.starts_with("STACKSONA") {
            other.set_env(&name, &value);
        }
    }
    on_postgres(&mut other, &database, &server)?;
    let mut first = Link::open(&one, Route::Http)?;
    let mut second = Link::open(&other, Route::Http)?;
    let params = call("job", "gated", &json!({ "order_id": "1", "review": "later" }));
    first.start("a", &params)?;
    let thread = desk.thread("1", 1)?;
    let listed = ["holds", "list", "--json", "--config", &one.config().display().to_string()];
    until("it is held", || Ok(one.run(&listed)?.json()?.as_array().is_some_and(|holds| holds.len() == 1)))?;
    second.start("b", &params)?;
    let Link::Http(up, ..) = first else { anyhow::bail!("not over HTTP") };
    up.kill_9()?;
    desk.admin.approve(thread["thread_id"].as_str().unwrap_or_default())?;
    let answer = second.answer("b")?;
    ensure!(decision(&answer).is_null(), "not the tool's: {answer}");
    assert_eq!((count(&till, "1")?, desk.threads("1").len()), (1, 1));
    second.close()
}

#[test]
fn two_proxies_on_one_data_folder() -> Result<()> {
    let (desk, till) = (Desk::open(&json!([]))?, Till::new()?);
    let house = house(&desk, &json!({ "command": till.command() }), "shared")?;
    let mut links = [Link::open(&house, Route::Stdio)?, Link::open(&house, Route::Stdio)?];
    let told = Told::default();
    for pair in 0..PAIRS_ON_SQLITE {
        let order = format!("pair-{pair}");
        let params = call(&order, "gated", &json!({ "order_id": order, "review": "approve" }));
        for link in &mut links {
            link.start(&format!("{order}-0"), &params)?;
        }
        for link in &mut links {
            caller(&told, |number| match number {
                0 => link.answer(&format!("{order}-0")),
                _ => link.call(&format!("{order}-{number}"), &params),
            })
            .with_context(|| order.clone())?;
        }
        once(&desk, &till, &order)?;
    }
    ensure!(answered(&told) >= PAIRS_ON_SQLITE, "fewer answers than pairs: {:?}", told.lock());
    println!("told: {:?}", told.lock());
    links.into_iter().try_for_each(Link::close)?;
    house.run(&["audit", "verify"])?.success().map(drop)
}
