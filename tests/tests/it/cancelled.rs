//! A call that its client withdrew never runs, whatever a reviewer says later.

use crate::told::{CLIENTS, house_at, house_of, ran, refund, refunded};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Ledger};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Waits until the journal has forgotten the withdrawn call: from then on nobody waits for its review.
fn until_no_holds(house: &House) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !house.holds()?.is_empty() {
        anyhow::ensure!(Instant::now() < deadline, "still held: {:?}", house.holds()?);
    }
    Ok(())
}

fn never_runs(client: &mut Client, house: &House, ledger: &Ledger) -> Result<()> {
    let before = ledger.runs()?;
    let thread = client.hold("a", "refund", &refund("withdrawn", 500))?;
    client.cancel("a")?;
    let end = client.end_of("a")?;
    assert_eq!((&end["event"], &end["kind"]), (&json!("error"), &json!("cancelled")), "{end}");
    until_no_holds(house)?;
    house.approve(&thread, "too late")?;

    // Another call goes its whole way through the same proxy: had the first one been let go, it would have run by now.
    let good = client.hold("b", "refund", &refund("good", 40))?;
    assert_ne!(good, thread);
    house.approve(&good, "")?;
    ran(&client.end_of("b")?, "refunded 40 for good")?;
    assert_eq!(ledger.runs()?, [before, vec![refunded("good", 40)]].concat());

    // The same call later is another proposal: the approval of the withdrawn one is not for it.
    let again = client.hold("c", "refund", &refund("withdrawn", 500))?;
    assert_ne!(again, thread);
    house.reject(&again, "still no")?;
    client.end_of("c")?;
    assert!(!ledger.runs()?.contains(&refunded("withdrawn", 500)));
    Ok(())
}

#[test]
fn over_stdio() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        let _gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;
        never_runs(&mut client, &house, &ledger).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
        assert_eq!(ledger.runs()?, [refunded("good", 40)], "{sdk:?} {era}");
    }
    Ok(())
}

#[test]
fn over_http() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let tool_server = ledger.serve()?;
        let house = house_at(tool_server.url())?;
        let up = house.up()?;
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        never_runs(&mut client, &house, &ledger).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
        assert!(up.stop()?.success());
        assert_eq!(ledger.runs()?, [refunded("good", 40)], "{sdk:?} {era}");
    }
    Ok(())
}

/// The client gives up by its own clock: nothing runs while nobody asks again.
#[test]
fn a_client_that_ran_out_of_time() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        let _gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;
        client.send(&json!({
            "do": "call", "id": "a", "tool": "refund", "arguments": refund("1", 500), "timeout_ms": 1000,
        }))?;
        let end = client.end_of("a")?;
        assert_eq!(
            (&end["event"], &end["kind"]),
            (&json!("error"), &json!("timeout")),
            "{sdk:?} {era}: {end}"
        );
        // Held or withdrawn: in neither case does a later approval run it while nobody asks again.
        let threads = house.inbox_of(1)?;
        house.approve(threads[0]["thread_id"].as_str().unwrap_or_default(), "")?;
        client.close()?;
        assert_eq!(ledger.runs()?, [] as [Value; 0], "{sdk:?} {era}");
    }
    Ok(())
}
