//! The audit log: written before anything runs, whole, and readable.

use crate::setup::{Setup, call, text};
use crate::told::{ran, refused};
use anyhow::Result;
use holdpoint_e2e::Route;
use serde_json::{Value, json};

fn order(order: &str) -> Value {
    call("job", "gated", &json!({ "order_id": order, "review": "approve" }))
}

fn unwritable(route: Route) -> Result<()> {
    let setup = Setup::new(route, &json!([{ "name": "gated", "action": "gate" }]))?;
    let mut link = setup.link()?;
    ran(&link.call("a", &order("1"))?, "did 1")?;

    // A file where the folder was: no user may write there, root neither.
    let (audit, aside) = (setup.house.data().join("audit"), setup.house.path().join("aside"));
    std::fs::rename(&audit, &aside)?;
    std::fs::write(&audit, "in the way")?;
    for id in ["b", "c"] {
        refused(&link.call(id, &order("2"))?, "unavailable")?;
    }
    assert_eq!(setup.till.runs()?.len(), 1, "it ran without being on record");

    std::fs::remove_file(&audit)?;
    std::fs::rename(&aside, &audit)?;
    ran(&link.call("d", &order("2"))?, "did 2")?;
    link.close()?;
    assert_eq!(setup.till.runs()?.len(), 2);
    setup.house.run(&["audit", "verify"])?.success().map(drop)
}

#[test]
fn nothing_runs_off_the_record_over_stdio() -> Result<()> {
    unwritable(Route::Stdio)
}

#[test]
fn nothing_runs_off_the_record_over_http() -> Result<()> {
    unwritable(Route::Http)
}

#[test]
fn a_flipped_bit_is_found() -> Result<()> {
    let setup = Setup::new(Route::Stdio, &json!([{ "name": "gated", "action": "gate" }]))?;
    let mut link = setup.link()?;
    for number in ["1", "2", "3"] {
        ran(&link.call(number, &order(number))?, &format!("did {number}"))?;
    }
    link.close()?;
    let thread = setup.desk.threads("2").remove(0);
    let shown = setup.house.run(&["audit", "show", &thread])?.success()?;
    for part in ["approved", "gated", &thread] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }
    assert!(!shown.contains(text(&json!(setup.desk.threads("3")[0]))), "another call's story:\n{shown}");
    let shown = setup.house.run(&["audit", "show", &thread, "--json"])?.json()?;
    assert!(shown.to_string().contains(&thread), "{shown}");

    let whole = setup.house.run(&["audit", "verify", "--json"])?;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let file = setup.house.data().join("audit/current.jsonl");
    let bytes = std::fs::read(&file)?;
    // Somewhere in every part of it.
    for part in 0..10 {
        let at = bytes.len() * part / 10 + 5;
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(&file, flipped)?;
        let ran = setup.house.run(&["audit", "verify"])?;
        let number = bytes[..at].split(|byte| *byte == b'\n').count();
        assert_eq!(ran.code, Some(1), "byte {at}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let next = number + 1;
        assert!(
            said.contains(&format!("line {number}:")) || said.contains(&format!("line {next}:")),
            "byte {at} is in line {number}: {said}"
        );
    }
    std::fs::write(&file, &bytes)?;
    assert_eq!(setup.house.run(&["audit", "verify"])?.code, Some(0));

    // Without its end it is no whole log either.
    std::fs::write(&file, &bytes[..bytes.len() - 200])?;
    assert_eq!(setup.house.run(&["audit", "verify"])?.code, Some(1));
    Ok(())
}
