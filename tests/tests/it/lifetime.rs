//! Starting, ending, and one owner at a time.

use anyhow::Result;
use holdpoint_e2e::{Client, House, Ledger, Request, Sdk, only_child, until_ended};
use serde_json::{Value, json};

/// `serve`, ended in order, leaves a data folder that the next one takes over with all that is in it.
#[test]
fn a_clean_end_frees_the_data_folder() -> Result<()> {
    let mut house = House::new()?;
    let gate = house.serve()?;
    assert_eq!(gate.ready["event"], "ready");
    assert_eq!(gate.ready["inbox_url"], format!("{}/", gate.gate_url()?));
    assert!(gate.ready.get("servers").is_none(), "{}", gate.ready);
    house.run(&["agents", "create", "laptop"])?.success()?;

    let second = house.run(&["serve", "--listen", "127.0.0.1:0"])?;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("is in use by process"), "{second:?}");
    assert!(second.stderr.contains("hint: stop that process, or name another folder"), "{second:?}");
    // The first one did not notice.
    assert_eq!(Request::get(&format!("{}/health", gate.gate_url()?)).send()?.status, 200);

    assert!(gate.stop()?.success());
    assert!(!house.data().join("server.json").exists());
    let taken = house.run(&["agents", "create", "laptop"])?;
    assert_eq!(taken.code, Some(1), "the agent is still there: {taken:?}");
    let gate = house.serve()?;
    assert!(gate.stop()?.success());
    Ok(())
}

/// A process that was killed leaves nothing that has to be tidied up by hand.
#[test]
fn kill_9_frees_the_data_folder() -> Result<()> {
    let mut house = House::new()?;
    house.serve()?.kill_9()?;
    assert!(house.data().join("server.json").exists(), "it had no time to tidy up");
    assert_eq!(house.inbox()?, [] as [Value; 0]);
    assert!(house.serve()?.stop()?.success());
    Ok(())
}

/// `up` ends in order while a client is connected and a call is held.
#[test]
fn up_ends_in_order_while_a_call_is_held() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = crate::told::house_at(tool_server.url())?;
    let up = house.up()?;
    let mut client = Client::http(Sdk::TypeScript1, up.mcp_url("ledger")?)?;
    let thread = client.hold("a", "append", &json!({ "line": "x" }))?;
    assert!(up.stop()?.success());
    assert_eq!(house.inbox()?[0]["thread_id"], thread);
    assert_eq!(ledger.runs()?, [] as [Value; 0]);
    Ok(())
}

/// The proxy ends when its client closes the pipe, and on SIGTERM; its tool server ends with it.
#[test]
fn a_proxy_ends_with_its_client() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = crate::told::house_of(&ledger)?;
    let _gate = house.serve()?;
    let proxy = house.proxy("ledger");
    let mut pipe = house.pipe(&proxy)?;
    pipe.initialize("2025-11-25")?;
    assert!(pipe.close()?.success());
    let mut pipe = house.pipe(&proxy)?;
    pipe.initialize("2025-11-25")?;
    pipe.hold("a", "append", &json!({ "line": "x" }))?;
    let tool_server = only_child(pipe.pid())?;
    assert!(pipe.stop()?.success());
    until_ended(tool_server)?;
    assert_eq!(ledger.runs()?, [] as [Value; 0]);
    Ok(())
}

/// The command line works on the data while nothing runs, and through the process that runs: the same answers.
#[test]
fn the_command_line_works_either_way() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = crate::told::house_of(&ledger)?;
    let gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("ledger"))?;
    pipe.initialize("2025-11-25")?;
    let thread = pipe.hold("a", "append", &json!({ "line": "x" }))?;
    let other = pipe.hold("b", "append", &json!({ "line": "y" }))?;
    let running = house.inbox()?;
    assert!(pipe.kill_9()?.code().is_none());
    assert!(gate.stop()?.success());

    let stopped = house.inbox()?;
    let ids =
        |threads: &[Value]| threads.iter().map(|thread| thread["thread_id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&stopped), ids(&running));
    house.approve(&thread, "while nothing runs")?;
    let agent = house.run(&["agents", "create", "offline", "--json"])?.json()?;
    assert!(agent["key"].as_str().is_some_and(|key| key.starts_with("sg_")), "{agent}");
    let link = house.run(&["sign-in"])?;
    assert_eq!(link.code, Some(1), "{link:?}");
    assert!(link.stderr.contains("no Gate runs on this data folder"), "{link:?}");

    let gate = house.serve()?;
    house.approve(&other, "while it runs")?;
    let again = house.run(&["reject", &thread, "--note", "too late"])?;
    assert_eq!(again.code, Some(3), "{again:?}");
    let poll = format!("{}/api/agent/decisions?task_id=none", gate.gate_url()?);
    let key = format!("Bearer {}", agent["key"].as_str().unwrap_or_default());
    assert_eq!(Request::get(&poll).header("authorization", &key).send()?.status, 404);

    let mut pipe = house.pipe(&house.proxy("ledger"))?;
    pipe.initialize("2025-11-25")?;
    pipe.call("a", "append", &json!({ "line": "x" }))?;
    pipe.call("b", "append", &json!({ "line": "y" }))?;
    let run = |line: &str| json!({ "tool": "append", "arguments": { "line": line } });
    assert_eq!(ledger.runs()?, [run("x"), run("y")]);
    assert!(pipe.close()?.success());
    Ok(())
}
