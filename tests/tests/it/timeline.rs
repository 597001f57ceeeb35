//! What reviewers see of a call after they decided, on the thread of their decision.

use crate::setup::{Setup, call, text, until};
use crate::told::{decision, ran};
use anyhow::Result;
use holdpoint_e2e::Route;
use serde_json::{Value, json};

const SECRET: &str = "4242-4242-4242-4242";

fn setup(route: Route) -> Result<Setup> {
    let payload = json!({
        "order_id": { "at": "/order_id" },
        "review": { "at": "/review" },
        "card": { "at": "/echo", "secret": true, "optional": true },
    });
    Setup::new(route, &json!([{ "name": "gated", "action": "gate", "payload": payload }]))
}

/// What an event says beside its sentence.
fn payload(event: &Value) -> &Value {
    event.pointer("/entry/payload").or_else(|| event.pointer("/entry/event/payload")).unwrap_or(&Value::Null)
}

fn contains(folder: &std::path::Path, secret: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

fn told(route: Route) -> Result<()> {
    let setup = setup(route)?;
    let mut link = setup.link()?;

    let arguments = json!({ "order_id": "good", "review": "approve", "echo": SECRET, "takes_ms": 30 });
    ran(&link.call("a", &call("job", "gated", &arguments))?, SECRET)?;
    let thread = setup.desk.threads("good").remove(0);
    setup.event(&thread, "tool.requested")?;
    let event = setup.event(&thread, "tool.completed")?;
    let details = payload(&event);
    assert!(details["duration_ms"].as_u64().is_some_and(|millis| (30..20_000).contains(&millis)), "{event}");
    let excerpt = text(&details["result_excerpt"]);
    assert!(excerpt.contains("did good with [redacted]"), "{event}");
    assert_eq!(details["receipt"]["grounds"], "approved", "{event}");

    // The tool said it aloud; nobody else hears it.
    let page = setup.desk.admin.page(&format!("/threads/{thread}"))?;
    assert!(!page.contains(SECRET) && page.contains("[redacted]"), "{page}");
    assert!(!setup.desk.admin.thread(&thread)?.to_string().contains(SECRET));
    assert_eq!(contains(&setup.desk.data(), SECRET)?, [] as [String; 0]);
    assert_eq!(contains(&setup.house.data().join("audit"), SECRET)?, [] as [String; 0]);

    let fails = json!({ "order_id": "bad", "review": "approve", "fails": true });
    let end = link.call("b", &call("job", "gated", &fails))?;
    assert_eq!(
        (&end["isError"], decision(&end)),
        (&json!(true), &Value::Null),
        "the tool's own words: {end}"
    );
    setup.event(&setup.desk.threads("bad").remove(0), "tool.failed")?;

    let thread = setup.hold(
        &mut link,
        "c",
        &call("job", "gated", &json!({ "order_id": "late", "review": "later" })),
    )?;
    link.cancel("c")?;
    until("it is withdrawn", || Ok(setup.house.holds()?.is_empty()))?;
    setup.event(text(&thread["thread_id"]), "tool.withdrawn")?;
    setup.approve(&thread)?;
    setup.event(text(&thread["thread_id"]), "tool.too_late")?;
    let shown = setup.house.run(&["audit", "show", text(&thread["thread_id"])])?.success()?;
    assert!(shown.contains("approved after it was withdrawn: nothing ran"), "{shown}");

    let lost = json!({ "order_id": "lost", "review": "approve", "harm": "lose" });
    let end = link.call("d", &call("job", "gated", &lost))?;
    assert_eq!(decision(&end)["status"], "outcome_unknown", "{end}");
    setup.event(&setup.desk.threads("lost").remove(0), "tool.outcome_unknown")?;

    assert_eq!(setup.till.runs()?.len(), 3, "what was withdrawn did not run");
    Ok(())
}

#[test]
fn over_stdio() -> Result<()> {
    told(Route::Stdio)
}

#[test]
fn over_http() -> Result<()> {
    told(Route::Http)
}

/// An approval that comes after a restart is too late all the same.
#[test]
fn too_late_after_a_restart() -> Result<()> {
    let setup = setup(Route::Stdio)?;
    let mut link = setup.link()?;
    let thread =
        setup.hold(&mut link, "a", &call("job", "gated", &json!({ "order_id": "1", "review": "later" })))?;
    link.cancel("a")?;
    until("it is withdrawn", || Ok(setup.house.holds()?.is_empty()))?;
    link.close()?;
    let link = setup.link()?;
    setup.approve(&thread)?;
    setup.event(text(&thread["thread_id"]), "tool.too_late")?;
    assert_eq!(setup.till.runs()?, [] as [Value; 0]);
    link.close()
}
