//! Pipes that break in the middle of a line, on either side of a stdio proxy.

use crate::setup::call;
use crate::told::decision;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Desk, House, Link, Route, Till, lines_of_work};
use serde_json::json;

/// Stacks that break at once.
const AT_ONCE: usize = 6;
/// Bytes between two cuts; the end of a line is cut at each.
const EVERY: usize = 5;
const END: usize = 8;

fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let end = length.saturating_sub(END);
    (0..end).step_by(EVERY).chain(end..=length)
}

fn house(desk: &Desk, till: &Till, agent: &str) -> Result<House> {
    let mut house = House::new()?;
    house.set_env("HOLDPOINT_LOG", "error");
    desk.employ(&mut house, agent)?;
    house.configure(&json!({
        "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
        "servers": { "till": { "command": till.command() } },
        "hold": { "patience": "20s" },
    }))?;
    Ok(house)
}

fn runs(till: &Till, order: &str) -> Result<usize> {
    Ok(till.runs()?.iter().filter(|run| run["arguments"]["order_id"] == *order).count())
}

/// The tool's answer ends somewhere: it ran, and unless all of the answer came, nobody knows how that went.
#[test]
fn the_tools_answer() -> Result<()> {
    let desk = Desk::open(&json!([]))?;
    let answer = json!({
        "jsonrpc": "2.0", "id": 0,
        "result": { "content": [{ "type": "text", "text": "did w0-000" }], "isError": false },
    });
    let length = answer.to_string().len();
    let stack = |worker: usize| {
        let till = Till::new()?;
        let house = house(&desk, &till, &format!("w{worker}"))?;
        Ok((till, house, worker))
    };
    // The proxy's ids are longer than ours: some bytes more.
    lines_of_work(AT_ONCE, cuts(length + 2 * END), stack, |(till, house, worker), bytes| {
        let order = format!("w{worker}-{bytes:03}");
        let arguments = json!({ "order_id": order, "review": "approve", "harm": bytes.to_string() });
        let params = call("job", "gated", &arguments);
        let mut link = Link::open(house, Route::Stdio)?;
        let told = link.call("a", &params).with_context(|| format!("{bytes} bytes"))?;
        drop(link);
        ensure!(runs(till, &order)? == 1, "{bytes} bytes: it ran {} times", runs(till, &order)?);
        if decision(&told).is_null() {
            ensure!(told["content"] == json!([{ "type": "text", "text": format!("did {order}") }]), "{told}");
            return Ok(());
        }
        ensure!(decision(&told)["status"] == "outcome_unknown", "{bytes} bytes: {told}");
        let mut link = Link::open(house, Route::Stdio)?;
        let again = link.call("b", &params)?;
        ensure!(decision(&again) == decision(&told), "{bytes} bytes: {again}");
        ensure!(runs(till, &order)? == 1, "{bytes} bytes: it ran again");
        link.close()
    })
}

/// The client's line ends somewhere, and then its pipe: what is no whole message is nothing, and for whoever has gone
/// nothing runs.
#[test]
fn the_clients_call() -> Result<()> {
    let desk = Desk::open(&json!([]))?;
    let line = |order: &str| {
        let params = call("job", "gated", &json!({ "order_id": order, "review": "approve" }));
        format!("{}\n", json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }))
    };
    let stack = |worker: usize| {
        let till = Till::new()?;
        let house = house(&desk, &till, &format!("w{worker}"))?;
        Ok((till, house, worker))
    };
    let length = line("w0-000").len();
    lines_of_work(AT_ONCE, cuts(length), stack, |(till, house, worker), bytes| {
        let order = format!("w{worker}-{bytes:03}");
        let line = line(&order);
        let mut pipe = house.pipe(&house.proxy("till"))?;
        pipe.initialize("2025-11-25")?;
        pipe.write(&line.as_bytes()[..bytes.min(line.len())])?;
        ensure!(pipe.close()?.success(), "{bytes} bytes: it did not end well");
        let (runs, approvals) = (runs(till, &order)?, desk.approvals(&order)?);
        ensure!(runs <= approvals, "{bytes} bytes: {runs} runs for {approvals} approvals");
        // Without its last byte but the line end it is no message.
        ensure!(bytes + 1 >= line.len() || desk.threads(&order).is_empty(), "{bytes} bytes were asked about");
        Ok(())
    })
}
