//! A reviewer asks for changes, and the agent proposes something else in the same thread.

use crate::setup::{Setup, call, text};
use crate::told::{decision, ran, refused, text as told_text};
use anyhow::{Context as _, Result};
use holdpoint_e2e::Route;
use serde_json::{Value, json};

fn refund(order: &str, amount: u32) -> Value {
    json!({ "order_id": order, "amount": amount, "review": "by hand" })
}

fn proposes_anew(route: Route) -> Result<()> {
    let setup = Setup::new(route, &json!([{ "name": "gated", "action": "gate" }]))?;
    let mut link = setup.link()?;

    let thread = setup.hold(&mut link, "a", &call("job", "gated", &refund("1", 500)))?;
    let id = text(&thread["thread_id"]);
    setup.desk.admin.ask_for_changes(&thread, "at most 40, please")?;
    let end = link.answer("a")?;
    refused(&end, "changes_requested")?;
    assert!(told_text(&end).contains("at most 40, please"), "{end}");
    assert_eq!(decision(&end)["message"], "at most 40, please");
    assert_eq!(decision(&end)["thread_id"], id);

    // The agent's next call of the tool in this job is another version of the same review.
    link.start("b", &call("job", "gated", &refund("1", 40)))?;
    setup.is_held(id)?;
    let page = setup.desk.admin.page(&format!("/threads/{id}"))?;
    for part in ["version 2", "500", "40", "at most 40, please"] {
        assert!(page.contains(part), "no `{part}` on the page:\n{page}");
    }
    assert_eq!(setup.desk.threads("1"), [id]);
    assert_eq!(setup.till.runs()?, [] as [Value; 0]);
    setup.desk.admin.approve(id)?;
    ran(&link.answer("b")?, "did 1")?;
    assert_eq!(setup.till.runs()?, [json!({ "tool": "gated", "arguments": refund("1", 40) })]);
    assert_eq!(setup.desk.threads("1"), [id]);

    // That review is over: the same proposal is a new one.
    let again = setup.hold(&mut link, "c", &call("job", "gated", &refund("1", 40)))?;
    assert_ne!(text(&again["thread_id"]), id);
    setup.desk.admin.reject(text(&again["thread_id"]), "once is enough")?;
    refused(&link.answer("c")?, "rejected")?;
    assert_eq!(setup.till.runs()?.len(), 1);
    link.close()
}

#[test]
fn over_stdio() -> Result<()> {
    proposes_anew(Route::Stdio)
}

#[test]
fn over_http() -> Result<()> {
    proposes_anew(Route::Http)
}

/// The second proposal is no better.
#[test]
fn the_second_proposal_is_rejected() -> Result<()> {
    let setup = Setup::new(Route::Stdio, &json!([{ "name": "gated", "action": "gate" }]))?;
    let mut link = setup.link()?;
    let thread = setup.hold(&mut link, "a", &call("job", "gated", &refund("1", 500)))?;
    setup.desk.admin.ask_for_changes(&thread, "less")?;
    refused(&link.answer("a")?, "changes_requested")?;
    link.start("b", &call("job", "gated", &refund("1", 499)))?;
    setup.is_held(text(&thread["thread_id"]))?;
    setup.desk.admin.reject(text(&thread["thread_id"]), "not like this")?;
    let end = link.answer("b")?;
    refused(&end, "rejected")?;
    assert_eq!(decision(&end)["thread_id"], thread["thread_id"]);
    assert_eq!(setup.till.runs()?, [] as [Value; 0]);
    link.close()
}

/// Somebody else's job has its own reviews: the words were not for it.
#[test]
fn another_job_is_another_review() -> Result<()> {
    let setup = Setup::new(Route::Stdio, &json!([{ "name": "gated", "action": "gate" }]))?;
    let mut link = setup.link()?;
    let thread = setup.hold(&mut link, "a", &call("job", "gated", &refund("1", 500)))?;
    setup.desk.admin.ask_for_changes(&thread, "less")?;
    refused(&link.answer("a")?, "changes_requested")?;
    let other = setup.hold(&mut link, "b", &call("other job", "gated", &refund("1", 40)))?;
    assert_ne!(other["thread_id"], thread["thread_id"]);
    setup.approve(&other)?;
    ran(&link.answer("b")?, "did 1")?;
    assert_eq!(setup.till.runs()?.len(), 1);
    link.close()
}

/// A reviewer who has the first version before them cannot approve the second one by it.
#[test]
fn a_click_on_the_old_version_approves_nothing() -> Result<()> {
    let setup = Setup::new(Route::Stdio, &json!([{ "name": "gated", "action": "gate" }]))?;
    let mut link = setup.link()?;
    let first = setup.hold(&mut link, "a", &call("job", "gated", &refund("1", 500)))?;
    setup.desk.admin.ask_for_changes(&first, "less")?;
    refused(&link.answer("a")?, "changes_requested")?;
    link.start("b", &call("job", "gated", &refund("1", 40)))?;
    setup.is_held(text(&first["thread_id"]))?;
    let stale =
        setup.desk.admin.ask_for_changes(&first, "even less").err().context("a stale form was taken")?;
    assert!(stale.to_string().contains("409"), "{stale}");
    assert_eq!(setup.till.runs()?, [] as [Value; 0]);
    setup.desk.admin.approve(text(&first["thread_id"]))?;
    ran(&link.answer("b")?, "did 1")?;
    assert_eq!(setup.till.runs()?.len(), 1);
    link.close()
}
