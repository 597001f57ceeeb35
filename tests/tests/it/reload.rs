//! The configuration is edited, or the process is asked to end, while calls are held.

use crate::setup::{Setup, call, text, until};
use crate::told::{ran, refused};
use anyhow::{Result, ensure};
use holdpoint_e2e::{Kill, Link, Pipe, Route, kill};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// What a stopping process may take to tell those that wait.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

fn entry(name: &str, subject: &str) -> Value {
    json!({ "name": name, "action": "gate", "subject": subject })
}

fn held(setup: &Setup, link: &mut Link, id: &str, order: &str) -> Result<Value> {
    setup.hold(link, id, &call("job", "gated", &json!({ "order_id": order, "review": "by hand" })))
}

/// What a proxy logs goes to a file.
fn logging(setup: &Setup) -> Result<(Pipe, PathBuf)> {
    let log = setup.house.path().join("stderr");
    let script = format!("exec \"$0\" \"$@\" 2>>'{}'", log.display());
    let mut command = vec!["sh".to_owned(), "-c".to_owned(), script];
    command.extend(setup.house.proxy("till"));
    let mut pipe = setup.house.pipe(&command)?;
    pipe.initialize("2025-11-25")?;
    Ok((pipe, log))
}

fn logged(log: &PathBuf, part: &str) -> Result<()> {
    until(part, || Ok(std::fs::read_to_string(log)?.contains(part)))
}

#[test]
fn an_edit_of_something_else_changes_nothing_for_a_held_call() -> Result<()> {
    let setup = Setup::new(Route::Stdio, &json!([entry("gated", "Do it"), entry("tokenless", "Do that")]))?;
    let (pipe, log) = logging(&setup)?;
    let mut link = Link::Stdio(pipe);
    let thread = held(&setup, &mut link, "a", "1")?;
    setup.house.tools("till", &json!([entry("gated", "Do it"), entry("tokenless", "Do that now")]))?;
    logged(&log, "configuration reloaded")?;
    setup.approve(&thread)?;
    ran(&link.answer("a")?, "did 1")?;
    assert_eq!(setup.till.runs()?.len(), 1);
    link.close()
}

fn edited(route: Route) -> Result<()> {
    let setup = Setup::new(route, &json!([entry("gated", "Do it")]))?;
    let mut link = setup.link()?;
    let thread = held(&setup, &mut link, "a", "1")?;
    setup.house.tools("till", &json!([entry("gated", "Do it gently")]))?;
    // In force once a new call is asked about in the new words.
    let mut tries = 0;
    until("the new words are in force", || tries_again(&setup, &mut link, &mut tries))?;
    setup.approve(&thread)?;
    refused(&link.answer("a")?, "mismatch")?;
    assert_eq!(setup.till.runs()?, [] as [Value; 0]);
    Ok(())
}

fn tries_again(setup: &Setup, link: &mut Link, tries: &mut u32) -> Result<bool> {
    *tries += 1;
    let (id, order) = (format!("try-{tries}"), format!("try-{tries}"));
    let thread = held(setup, link, &id, &order)?;
    setup.desk.admin.reject(text(&thread["thread_id"]), "only looking")?;
    refused(&link.answer(&id)?, "rejected")?;
    Ok(thread["subject"] == "Do it gently")
}

#[test]
fn an_edit_of_its_own_entry_refuses_a_held_call_over_stdio() -> Result<()> {
    edited(Route::Stdio)
}

#[test]
fn an_edit_of_its_own_entry_refuses_a_held_call_over_http() -> Result<()> {
    edited(Route::Http)
}

#[test]
fn a_broken_edit_changes_nothing_and_says_where_it_is_broken() -> Result<()> {
    let setup = Setup::new(Route::Stdio, &json!([entry("gated", "Do it")]))?;
    let (pipe, log) = logging(&setup)?;
    let mut link = Link::Stdio(pipe);
    let thread = held(&setup, &mut link, "a", "1")?;
    setup.house.write("tools/till.yaml", "server: till\ntools:\n  - name: gated\n    action: perhaps\n")?;
    logged(&log, "the old one stays in force")?;
    logged(&log, "till.yaml:4")?;
    setup.approve(&thread)?;
    ran(&link.answer("a")?, "did 1")?;
    // Asked to look again, it says so again.
    let said = std::fs::read_to_string(&log)?.matches("stays in force").count();
    kill(link.pid(), Kill::Hup)?;
    until(
        "it is said again",
        || Ok(std::fs::read_to_string(&log)?.matches("stays in force").count() > said),
    )?;
    // Mended, it is taken.
    setup.house.write("tools/till.yaml", "server: till\ntools:\n  - name: gated\n    action: deny\n")?;
    kill(link.pid(), Kill::Hup)?;
    logged(&log, "configuration reloaded")?;
    let denied = call("job", "gated", &json!({ "order_id": "2", "review": "approve" }));
    refused(&link.call("b", &denied)?, "denied_by_config")?;
    assert_eq!(setup.till.runs()?.len(), 1);
    link.close()
}

fn stops(route: Route) -> Result<()> {
    let setup = Setup::new(route, &json!([entry("gated", "Do it")]))?;
    let mut link = setup.link()?;
    let threads = [held(&setup, &mut link, "a", "1")?, held(&setup, &mut link, "b", "2")?];
    let slow = json!({ "order_id": "slow", "review": "approve", "takes_ms": 1500 });
    link.start("slow", &call("job", "gated", &slow))?;
    until("it runs", || Ok(setup.till.runs()?.len() == 1))?;

    let asked = Instant::now();
    kill(link.pid(), Kill::Term)?;
    let told = link.answers(&["a", "b"])?;
    ensure!(asked.elapsed() < TOLD_WITHIN, "told after {:?}", asked.elapsed());
    for end in &told {
        refused(end, "pending")?;
    }
    ran(&link.answer("slow")?, "did slow")?;
    let status = match &mut link {
        Link::Stdio(pipe) => pipe.ended_within(Duration::from_secs(10))?,
        Link::Http(up, ..) => up.ended_within(Duration::from_secs(10))?,
    };
    ensure!(status.is_some_and(|status| status.success()), "ended with {status:?}");
    drop(link);

    let kept = setup.house.holds()?;
    for thread in &threads {
        ensure!(kept.iter().any(|hold| hold["thread_id"] == thread["thread_id"]), "gone: {thread}");
        setup.approve(thread)?;
    }
    let mut link = setup.link()?;
    for order in ["1", "2"] {
        let params = call("job", "gated", &json!({ "order_id": order, "review": "by hand" }));
        ran(&link.call(order, &params)?, &format!("did {order}"))?;
        assert_eq!(setup.desk.threads(order).len(), 1, "joined, not asked about again");
    }
    assert_eq!(setup.till.runs()?.len(), 3);
    link.close()
}

#[test]
fn asked_to_end_over_stdio() -> Result<()> {
    stops(Route::Stdio)
}

#[test]
fn asked_to_end_over_http() -> Result<()> {
    stops(Route::Http)
}
