//! Pages that had their name pointed at this machine, and pages of other origins: no listener answers them.

use crate::told::house_at;
use anyhow::Result;
use holdpoint_e2e::{Ledger, Request, Server, nobody};
use serde_json::{Value, json};

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"append","arguments":{"line":"x"}}}"#;

fn requests(up: &Server, key: &str, admin: &str) -> Result<Vec<(&'static str, Request)>> {
    let gate = up.gate_url()?;
    let bearer = format!("Bearer {key}");
    let ask =
        json!({ "workflow_name": "w", "task_label": "l", "tool_name": "t", "subject": "s", "payload": {} });
    let post = |path: &str, body: &Value| {
        Request::post(&format!("{gate}{path}"), "application/json", body.to_string())
    };
    let form = "application/x-www-form-urlencoded";
    Ok(vec![
        ("ask", post("/api/agent/tasks/t/requests", &ask).header("authorization", &bearer)),
        (
            "poll",
            Request::get(&format!("{gate}/api/agent/decisions?task_id=t")).header("authorization", &bearer),
        ),
        (
            "validate",
            post("/api/agent/approvals/validate", &json!({ "task_id": "t", "signature": "x" }))
                .header("authorization", &bearer),
        ),
        (
            "admin",
            Request::get(&format!("{gate}/api/admin/threads"))
                .header("authorization", &format!("Bearer {admin}")),
        ),
        ("inbox", Request::get(&format!("{gate}/"))),
        ("live", Request::get(&format!("{gate}/live"))),
        ("sign-in page", Request::get(up.sign_in_url()?)),
        ("sign-in", Request::post(&format!("{gate}/sign-in"), form, "token=x")),
        ("script", Request::get(&format!("{gate}/assets/inbox.js"))),
        ("health", Request::get(&format!("{gate}/health"))),
        ("no such page", Request::get(&format!("{gate}/nothing"))),
        ("mcp call", Request::mcp(up.mcp_url("ledger")?, CALL)),
        ("mcp stream", Request::get(up.mcp_url("ledger")?).header("accept", "text/event-stream")),
        ("no such server", Request::mcp(&format!("{gate}/servers/nobody/mcp"), CALL)),
    ])
}

#[test]
fn no_listener_answers_them() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    house.tools("ledger", &json!([{ "name": "*", "action": "pass" }]))?;
    let up = house.up()?;
    let agent = house.run(&["agents", "create", "stranger", "--json"])?.json()?;
    let running: Value = serde_json::from_str(&std::fs::read_to_string(house.data().join("server.json"))?)?;
    let admin = running["admin_token"].as_str().unwrap_or_default();
    for (name, request) in requests(&up, agent["key"].as_str().unwrap_or_default(), admin)? {
        for (header, value) in [
            ("host", "evil.test"),
            ("host", "evil.test:80"),
            ("host", "127.0.0.1.evil.test"),
            ("host", "localhost@evil.test"),
            ("origin", "http://evil.test"),
            ("origin", "https://localhost.evil.test"),
            ("origin", "null"),
        ] {
            let answer = request.clone().header(header, value).send()?;
            assert_eq!(answer.status, 403, "{name}, {header}: {value}: {answer:?}");
            assert!(!answer.text.contains("sign-in link"), "{name}, {header}: {value}: {answer:?}");
        }
        let answer = request.send()?;
        // The wrong link is refused, too, but in a person's words.
        let refused_otherwise = name == "sign-in" && answer.text.contains("no sign-in link");
        assert!(answer.status != 403 || refused_otherwise, "{name} without a stranger: {answer:?}");
    }
    // The calls without a stranger went through, to a server that has sessions or has none; none of the others did.
    assert!(ledger.runs()?.len() <= 1, "{:?}", ledger.runs()?);
    // Nor did a stranger use the link up.
    assert_eq!(Request::get(up.sign_in_url()?).send()?.status, 200);
    Ok(())
}

/// The same where the configuration names another Gate, and only proxies listen here.
#[test]
fn nor_does_a_proxy_without_gate() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let mut house = house_at(tool_server.url())?;
    house.set_env("STACKSONA_GATE_URL", &nobody()?);
    house.set_env("STACKSONA_API_KEY", "sg_someone_elses_key");
    house.configure(&json!({
        "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
        "servers": { "ledger": { "url": tool_server.url() } },
    }))?;
    house.tools("ledger", &json!([{ "name": "*", "action": "pass" }]))?;
    let up = house.up()?;
    let url = up.mcp_url("ledger")?;
    for (header, value) in [("host", "evil.test"), ("origin", "http://evil.test"), ("origin", "null")] {
        let answer = Request::mcp(url, CALL).header(header, value).send()?;
        assert_eq!(answer.status, 403, "{header}: {value}: {answer:?}");
    }
    assert_eq!(ledger.runs()?, [] as [Value; 0]);
    assert_ne!(Request::mcp(url, CALL).send()?.status, 403);
    Ok(())
}

/// The name that others know us by is ours on whatever port they come to.
#[test]
fn a_public_name_with_a_port_is_no_stranger() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    house.configure(&json!({
        "servers": { "ledger": { "url": tool_server.url() } }, "callers": { "required": false },
    }))?;
    house.tools("ledger", &json!([{ "name": "*", "action": "pass" }]))?;
    let _up = house.up_with(&["--public-url", "https://holdpoint.example:8443"])?;
    let running: Value = serde_json::from_str(&std::fs::read_to_string(house.data().join("server.json"))?)?;
    let url = format!("{}/servers/ledger/mcp", running["url"].as_str().unwrap_or_default());
    for (host, is_ours) in [
        ("holdpoint.example:8443", true),
        ("holdpoint.example", true),
        ("Holdpoint.Example:443", true),
        ("holdpoint.example.evil.test:8443", false),
        ("evil.test:8443", false),
    ] {
        let answer = Request::mcp(&url, CALL).header("host", host).send()?;
        assert_eq!(answer.status != 403, is_ours, "{host}: {answer:?}");
    }
    Ok(())
}
