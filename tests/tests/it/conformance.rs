//! The public MCP conformance suite, against our fixture directly, and with Holdpoint in between: what passes without us
//! passes with us, check by check, whether calls pass or every one of them waits for a person.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use holdpoint_e2e::fixture::FixtureServer;
use holdpoint_e2e::{House, Server};
use serde_json::{Value, json};

mod held;
mod suite;

use held::{Difference, Reviewer};
use suite::{Checks, Requirements, each_apart, in_one_go};

/// What the fixture scores by itself; less would make every comparison below say less.
fn direct(set: Requirements) -> Result<Checks> {
    let folder = tempfile::tempdir()?;
    let fixture = FixtureServer::start(folder.path(), &[])?;
    let checks = in_one_go(set, &fixture.url)?;
    let (passed, failed) = checks.score();
    let scores = match set {
        Requirements::Handshake => 83,
        Requirements::Stateless => 197,
    };
    ensure!((passed, failed) == (scores, 0), "{passed} passed, {failed} failed: {:#?}", checks.failures());
    Ok(checks)
}

/// A proxy in front of a fixture of its own.
struct Proxied {
    fixture: FixtureServer,
    up: Server,
    house: House,
}

impl Proxied {
    fn http(action: &str) -> Result<Self> {
        let house = House::new()?;
        let fixture = FixtureServer::start(house.path(), &[])?;
        // The suite takes no answers in legs, and calls tools that must not become tasks with clients that take tasks.
        let config = json!({ "servers": { "fixture": { "url": fixture.url } }, "hold": { "mode": "hold" } });
        house.configure(&config)?;
        house.tools("fixture", &json!([{ "name": "*", "action": action }]))?;
        let up = house.up()?;
        Ok(Self { fixture, up, house })
    }

    fn url(&self) -> Result<&str> {
        self.up.mcp_url("fixture")
    }
}

fn passing(set: Requirements) -> Result<()> {
    let direct = direct(set)?;
    let proxied = Proxied::http("pass")?;
    let ours = in_one_go(set, proxied.url()?)?;
    ensure!(!proxied.fixture.ran()?.is_empty(), "no tool ran");
    assert_eq!(direct.differences(&ours), BTreeMap::new());
    Ok(())
}

#[test]
fn what_conforms_conforms_through_us_in_the_handshake_era() -> Result<()> {
    passing(Requirements::Handshake)
}

#[test]
fn what_conforms_conforms_through_us_in_the_stateless_era() -> Result<()> {
    passing(Requirements::Stateless)
}

/// So many proxies at once, each with a fixture, a journal and a reviewer of its own: identical calls of one principal would
/// be one call.
const PROXIES: usize = 4;

fn held(set: Requirements, expected: &[Difference]) -> Result<()> {
    let direct = direct(set)?;
    let mut proxies = Vec::new();
    for _ in 0..PROXIES {
        let next = Proxied::http("gate")?;
        let reviewer = Reviewer::at_work(&next.house)?;
        proxies.push((reviewer, next));
    }
    let urls = proxies.iter().map(|(_, proxied)| proxied.url()).collect::<Result<Vec<_>>>()?;
    let ours = each_apart(set, &urls)?;
    for (reviewer, proxied) in &proxies {
        let (runs, approvals) = (proxied.fixture.ran()?, reviewer.approvals());
        // Calls that the suite gave up before they were approved did not run.
        ensure!(!runs.is_empty() && runs.len() <= approvals, "{approvals} approvals, and {runs:?} ran");
    }
    let found = direct.differences(&ours);
    let expected: BTreeMap<_, _> = expected.iter().map(Difference::as_found).collect();
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn what_conforms_conforms_with_every_call_held_in_the_handshake_era() -> Result<()> {
    held(Requirements::Handshake, &[])
}

#[test]
fn what_conforms_conforms_with_every_call_held_in_the_stateless_era() -> Result<()> {
    held(Requirements::Stateless, held::STATELESS)
}

/// The suite can fail: nobody conforms to nothing.
#[test]
fn the_suite_fails_what_does_not_conform() -> Result<()> {
    let nobody = holdpoint_e2e::nobody()?;
    let checks = in_one_go(Requirements::Handshake, &format!("http://{nobody}/mcp"))?;
    let (passed, failed) = checks.score();
    // What was never sent breaks no schema.
    ensure!(passed < failed && failed > 20, "{passed} passed, {failed} failed");
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
