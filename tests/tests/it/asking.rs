//! A tool that asks its user in the middle of an approved run: the client answers, and the run goes on without another review.

use crate::told::{STATELESS, ran};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::fixture::{self, FixtureServer};
use holdpoint_e2e::{Client, House, Route, Sdk};
use serde_json::{Value, json};
use std::path::Path;

/// Asks for a name, then for a color.
const TOOL: &str = "test_input_required_result_multi_round";

/// `server`: its entry in the configuration; its record is in `runs`.
fn goes_on(server: &Value, runs: &Path, route: Route, mode: &str) -> Result<()> {
    let mut house = House::new()?;
    house.configure(&json!({ "servers": { "asks": server }, "hold": { "mode": mode, "leg": "1s" } }))?;
    let before = fixture::ran(runs)?.len();
    let (_gate, mut target) = match route {
        Route::Http => {
            let up = house.up()?;
            let url = up.mcp_url("asks")?.to_owned();
            (up, json!({ "http": url, "era": STATELESS }))
        }
        Route::Stdio => (house.serve()?, house.target(&house.proxy("asks"), STATELESS)),
    };
    target["answers"] = json!({ "elicitation": { "name": "Ann", "color": "red" } });
    let mut client = Client::connect(Sdk::TypeScript2, &target)?;
    client.send(&json!({ "do": "call", "id": "a", "tool": TOOL, "arguments": {}, "timeout_ms": 60_000 }))?;
    let open = house.inbox_of(1)?;
    let thread = open[0]["thread_id"].as_str().context("no review")?.to_owned();
    assert_eq!(fixture::ran(runs)?.len(), before, "not approved");
    house.approve(&thread, "fine")?;
    for key in ["name", "color"] {
        let asked = client.wait_for("the tool's question", |event| {
            event["event"] == "elicitation" && event["params"]["mode"] != "url"
        })?;
        ensure!(
            asked["params"]["requestedSchema"]["properties"][key].is_object(),
            "not for `{key}`: {asked}"
        );
    }
    ran(&client.end_of("a")?, "Both.")?;
    assert_eq!(fixture::ran(runs)?.get(before..).unwrap_or_default(), [TOOL; 3]);
    assert_eq!(house.inbox()?, [] as [Value; 0], "nobody is asked anew");
    client.close()
}

#[test]
fn of_a_server_over_http() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FixtureServer::start(folder.path(), &[])?;
    let runs = folder.path().join("fixture-runs.jsonl");
    for (route, mode) in [(Route::Http, "legs"), (Route::Http, "hold"), (Route::Stdio, "legs")] {
        goes_on(&json!({ "url": server.url }), &runs, route, mode)
            .with_context(|| format!("{route:?} {mode}"))?;
    }
    Ok(())
}

#[test]
fn of_a_server_that_is_a_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runs = folder.path().join("fixture-runs.jsonl");
    let server = json!({ "command": fixture::over_stdio(&runs) });
    for (route, mode) in [(Route::Http, "legs"), (Route::Stdio, "legs"), (Route::Stdio, "hold")] {
        goes_on(&server, &runs, route, mode).with_context(|| format!("{route:?} {mode}"))?;
    }
    Ok(())
}
