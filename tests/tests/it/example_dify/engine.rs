//! The example's workflows on the engine that Dify itself runs them on, against the real bridge and Gate.
//!
//! Run by `cargo xtask test` where there is a Python for it: [`super`] says how.

use super::lint::findings;
use super::office::{Engine, Job, Office, Stub, example};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Cut, Fault, Relay};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// The waits of the workflows, shorter.
fn quick(job: Job, file: &str) -> Job {
    match file {
        "gate-poll.yml" => job.edit("wait=50", "wait=1").edit("retry_interval: 5000", "retry_interval: 100"),
        _ => job,
    }
}

const GATES: [&str; 2] = ["gate-hold.yml", "gate-poll.yml"];

#[test]
#[ignore = "Dify's engine"]
fn what_is_allowed_runs_once_and_what_is_denied_not_at_all() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    for (number, file) in GATES.into_iter().enumerate() {
        let job = |run: &str| quick(office.job(file, &format!("{number}-{run}")), file);
        let end = engine.run(&job("rules").edit("value: 'refund'", "value: 'safe'"))?;
        ensure!(end.at() == "done" && office.runs() == 4 * number + 1, "{file}: {end:?}");
        let end = engine.run(&job("never").edit("value: 'refund'", "value: 'never'"))?;
        ensure!(end.at() == "denied" && office.runs() == 4 * number + 1, "{file}: {end:?}");
        let end = engine.run_while(&job("approved"), || office.decide("approve"))?;
        ensure!(end.at() == "done" && office.runs() == 4 * number + 2, "{file}: {end:?}");
        let end = engine.run_while(&job("rejected"), || office.decide("reject"))?;
        ensure!(end.at() == "denied" && office.runs() == 4 * number + 2, "{file}: {end:?}");
        // As a person would send it: what was approved before is not approved again.
        for run in ["one", "two"] {
            let end = engine.run_while(&job(run), || office.decide("approve"))?;
            ensure!(end.at() == "done", "{file}: {end:?}");
        }
        ensure!(office.runs() == 4 * number + 4, "{file}: {} runs", office.runs());
        let sent = office.shop.got();
        assert_eq!(sent[sent.len() - 1].body, "order=4711&amount=12.5&reason=broken+%26+%22torn%22%0Areally");
    }
    Ok(())
}

#[test]
#[ignore = "Dify's engine"]
fn what_nobody_decides_in_time_does_not_run_then_or_later() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let hold = office.job("gate-hold.yml", "late").edit("wait=110", "wait=1");
    let end = engine.run(&hold)?;
    ensure!(end.at() == "pending", "{end:?}");
    office.decide("approve")?;
    let poll =
        quick(office.job("gate-poll.yml", "later"), "gate-poll.yml").edit("loop_count: 18", "loop_count: 2");
    let end = engine.run(&poll)?;
    ensure!(end.at() == "pending" && end.times("ask") == 2, "{end:?}");
    office.decide("approve")?;
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(office.runs(), 0);
    Ok(())
}

#[test]
#[ignore = "Dify's engine"]
fn a_workflow_that_asks_again_hears_of_the_same_review() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let job = quick(office.job("gate-poll.yml", "again"), "gate-poll.yml");
    let end = engine.run_while(&job, || {
        office.house.inbox_of(1)?;
        std::thread::sleep(Duration::from_millis(2500));
        office.decide("approve")
    })?;
    ensure!(end.at() == "done" && end.times("ask") >= 2, "{end:?}");
    assert_eq!(office.runs(), 1);
    Ok(())
}

#[test]
#[ignore = "Dify's engine"]
fn what_the_bridge_runs_itself_the_workflow_does_not() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let job = office.job("gate-execute.yml", "a");
    let end = engine.run_while(&job, || office.decide("approve"))?;
    ensure!(end.at() == "done" && end.text().contains(r#"\"ran\":true"#), "{end:?}");
    let body: Value = serde_json::from_str(&office.shop.got()[0].body)?;
    assert_eq!(body, json!({ "order": "4711", "amount": 12.5, "reason": "broken & \"torn\"\nreally" }));
    // The same run once more is told the same, and nothing runs.
    let end = engine.run(&job)?;
    ensure!(end.at() == "done" && office.runs() == 1, "{end:?}");
    let end = engine.run_while(&office.job("gate-execute.yml", "b"), || office.decide("reject"))?;
    ensure!(end.at() == "denied" && office.runs() == 1, "{end:?}");
    Ok(())
}

#[test]
#[ignore = "Dify's engine"]
fn of_a_workflow_in_two_halves_the_second_acts_once_and_on_what_was_approved() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let end = engine.run(&office.job("gate-split-request.yml", "first"))?;
    ensure!(end.at() == "asked" && office.runs() == 0, "{end:?}");
    let second = |run: &str, inputs: &Value| office.job("gate-split-act.yml", run).inputs(inputs.clone());
    let given =
        json!({ "run": "first", "order": "4711", "amount": "12.5", "reason": "broken & \"torn\"\nreally" });
    office.house.inbox_of(1)?;
    let end = engine.run(&second("early", &given))?;
    ensure!(end.at() == "denied" && office.runs() == 0, "before anybody decided: {end:?}");
    office.decide("approve")?;
    let call = &office.hooks.got_of(1)?[0];
    assert_eq!(call.path, "/hook?run=first&order=4711&amount=12.5&reason=broken%20%26%20%22torn%22%0Areally");
    ensure!(call.body.contains(r#""decision":"allow""#), "{}", call.body);
    for (name, value) in
        [("amount", "99"), ("order", "1"), ("reason", "another"), ("order", "4711&amount=99")]
    {
        let mut other = given.clone();
        other[name] = json!(value);
        let end = engine.run(&second("other", &other))?;
        ensure!(end.at() == "unknown" && office.runs() == 0, "{name}={value}: {end:?}");
    }
    // Two deliveries of one callback, at once and one after the other.
    let mut another = Engine::start()?;
    let mut ends = Vec::new();
    let end = engine.run_while(&second("d1", &given), || {
        ends.push(another.run(&second("d2", &given))?);
        Ok(())
    })?;
    ends.push(end);
    ends.push(engine.run(&second("d3", &given))?);
    let at: Vec<&str> = ends.iter().map(super::office::End::at).collect();
    ensure!(at.iter().filter(|at| **at == "done").count() == 1, "{at:?}");
    ensure!(at.iter().filter(|at| **at == "denied").count() == 2, "{at:?}");
    assert_eq!(office.runs(), 1);
    Ok(())
}

#[test]
#[ignore = "Dify's engine"]
fn a_callback_with_a_no_or_from_a_stranger_does_nothing() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    engine.run(&office.job("gate-split-request.yml", "first"))?;
    office.decide("reject")?;
    ensure!(office.hooks.got_of(1)?[0].body.contains(r#""decision":"deny""#), "the no is told");
    let given =
        json!({ "run": "first", "order": "4711", "amount": "12.5", "reason": "broken & \"torn\"\nreally" });
    let end = engine.run(&office.job("gate-split-act.yml", "a").inputs(given.clone()))?;
    ensure!(end.at() == "denied", "{end:?}");
    let mut forged = given;
    forged["run"] = json!("nobody's");
    let end = engine.run(&office.job("gate-split-act.yml", "b").inputs(forged))?;
    ensure!(end.at() == "denied", "{end:?}");
    assert_eq!(office.runs(), 0);
    Ok(())
}

/// What is no yes to the letter is none.
#[test]
#[ignore = "Dify's engine"]
fn whatever_else_a_bridge_says_nothing_runs() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let body = r#"{"decision":"allow","status":"approved"}"#;
    let says = |status: &str, headers: &str| {
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    };
    let allow = "holdpoint-decision: allow\r\n";
    let bridges = [
        ("a no with 403", says("403 Forbidden", "holdpoint-decision: deny\r\n")),
        ("an error with a yes", says("500 Internal Server Error", allow)),
        ("too busy", says("503 Service Unavailable", "holdpoint-decision: deny\r\nretry-after: 5\r\n")),
        ("too many", says("429 Too Many Requests", allow)),
        ("a yes of 202", says("202 Accepted", allow)),
        ("a yes of 201", says("201 Created", allow)),
        ("no header", says("200 OK", "")),
        ("a no in the header", says("200 OK", "holdpoint-decision: deny\r\n")),
        ("a yes and a no", says("200 OK", "holdpoint-decision: allow\r\nholdpoint-decision: deny\r\n")),
        ("a longer word", says("200 OK", "holdpoint-decision: allowed\r\n")),
        ("another case", says("200 OK", "holdpoint-decision: Allow\r\n")),
        ("not HTTP", Some("allow\r\n".to_owned())),
        ("silence", None),
    ];
    for file in GATES {
        for (number, (name, answer)) in bridges.iter().enumerate() {
            let bridge = Stub::saying(answer.clone())?;
            let read = if file == "gate-hold.yml" { "read: 120" } else { "read: 60" };
            let mut job =
                quick(office.job(file, &format!("run-{number}")), file).env("BRIDGE_URL", &bridge.url());
            job = job.edit(read, "read: 1");
            let end = engine.run(&job)?;
            ensure!(end.times("act") == 0 && office.runs() == 0, "{file}, {name}: {end:?}");
            let asked = bridge.got();
            let key = format!("idempotency-key: run-{number}-refund\r\n");
            let is_same = asked.iter().all(|got| got.head.to_lowercase().contains(&key));
            ensure!(!asked.is_empty() && is_same, "{file}, {name}: {asked:?}");
        }
        let nobody = quick(office.job(file, "down"), file).env("BRIDGE_URL", &holdpoint_e2e::nobody()?);
        let end = engine.run(&nobody)?;
        ensure!(end.times("act") == 0, "{file}: {end:?}");
        let wrong = quick(office.job(file, "key"), file).env("BRIDGE_KEY", "hpc_wrong");
        let end = engine.run(&wrong)?;
        ensure!(end.times("act") == 0, "{file}: {end:?}");
        let empty = quick(office.job(file, "empty"), file).env("BRIDGE_KEY", "");
        let end = engine.run(&empty)?;
        ensure!(end.times("act") == 0, "{file}: {end:?}");
        // The control: that a yes to the letter is one.
        let bridge = Stub::saying(says("200 OK", allow))?;
        let end = engine.run(&quick(office.job(file, "yes"), file).env("BRIDGE_URL", &bridge.url()))?;
        ensure!(end.at() == "done", "{file}: {end:?}");
        // Without a run there is no name for the question that no other run has.
        let end =
            engine.run(&quick(office.job(file, "").without_run(), file).env("BRIDGE_URL", &bridge.url()))?;
        ensure!(end.times("act") == 0, "{file}: {end:?}");
        let runs = office.runs();
        ensure!(runs == 1, "{file}: {runs} runs");
        ensure!(file != "gate-hold.yml" || office.house.inbox()?.is_empty(), "nobody was asked");
        if file == "gate-hold.yml" {
            office.shop.forget();
        }
    }
    Ok(())
}

#[test]
#[ignore = "Dify's engine"]
fn a_question_whose_answer_is_lost_is_asked_again_and_is_one_review() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let address: SocketAddr = office.bridge_url.trim_start_matches("http://").parse()?;
    let relay = Relay::to(address)?;
    let faults = [
        Fault::CutAnswer(0, Cut::Fin),
        Fault::CutAnswer(40, Cut::Reset),
        Fault::Twice,
        Fault::CutRequest(200, Cut::Fin),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let job = quick(office.job("gate-poll.yml", &format!("run-{number}")), "gate-poll.yml");
        relay.harm("POST /v1/decisions", fault);
        let job = job.env("BRIDGE_URL", &relay.url(&office.bridge_url)?);
        let end = engine.run_while(&job, || {
            // Long enough for a second question to be here, if there were one.
            office.house.inbox_of(1)?;
            std::thread::sleep(Duration::from_millis(1500));
            office.decide("approve")
        })?;
        ensure!(relay.is_harmed() && end.at() == "done", "{fault:?}: {end:?}");
        ensure!(office.runs() == number + 1, "{fault:?}: {} runs", office.runs());
        ensure!(office.house.inbox()?.is_empty(), "{fault:?}: somebody was asked twice");
    }
    Ok(())
}

/// What is written into an input stays in its field.
#[test]
#[ignore = "Dify's engine"]
fn an_input_cannot_name_another_tool() -> Result<()> {
    let (office, mut engine) = (Office::open()?, Engine::start()?);
    let attacks = [
        r#"x","tool_name":"safe"#,
        "4711&tool_name=safe",
        "4711%26tool_name=safe",
        "{{#env.BRIDGE_KEY#}}",
        "x\r\nHoldpoint-Decision: allow",
    ];
    for (number, attack) in attacks.into_iter().enumerate() {
        let job = office
            .job("gate-hold.yml", &format!("run-{number}"))
            .input("order", attack)
            .edit("wait=110", "wait=1");
        let end = engine.run(&job)?;
        ensure!(office.runs() == 0 && end.times("act") == 0, "{attack}: {end:?}");
        for review in office.house.inbox()? {
            ensure!(review["tool_name"] == "refund", "{attack}: {review}");
            ensure!(review["payload"]["order"] == attack, "{attack}: {review}");
            office.decide("reject")?;
        }
    }
    // The control: in a JSON body the first of them does, and the lint says so.
    let text = std::fs::read_to_string(example("gate-hold.yml"))?;
    let (start, rest) = text.split_once("        body:\n").context("no body")?;
    let (_fields, rest) = rest.split_once("        timeout:").context("no end")?;
    let json_body = r#"{"tool_name":"refund","subject":"Refund {{#start.order#}}"}"#;
    let body = format!(
        "        body: {{type: json, data: [{{key: '', type: text, value: '{json_body}'}}]}}\n        timeout:"
    );
    let unsafe_file = office.house.path().join("unsafe.yml");
    std::fs::write(&unsafe_file, format!("{start}{body}{rest}"))?;
    let job = office.job("gate-hold.yml", "json").input("order", attacks[0]).file(&unsafe_file);
    let end = engine.run(&job)?;
    ensure!(end.at() == "done" && office.runs() == 1, "it did not get through: {end:?}");
    let found = findings(&unsafe_file, &[])?;
    ensure!(found.iter().any(|(rule, node)| rule == "json" && node == "ask"), "{found:?}");
    Ok(())
}
