//! What public clients see while a call waits: which of them give up, which are kept alive, and that whoever gave up gets its
//! call, run once, by sending it again.
//!
//! Here each client's own limit is set to seconds, by its own settings; `long` has the limits that they come with.

mod long;
mod scene;

use crate::told::{LEGACY, STATELESS, refunded};
use anyhow::{Result, ensure};
use holdpoint_e2e::{Client, Sdk};
use scene::{Asks, Caller, Saw, Scene, call, each};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A limit that is over before anybody decides.
const LIMIT: u64 = 3_000;
/// More than the 15 seconds between two signs of life, so that these can keep a request alive.
const LIMIT_KEPT: u64 = 17_000;
/// One that is never reached.
const LIMIT_FAR: u64 = 20_000;
/// Nobody waits: nothing runs for so long.
const QUIET: Duration = Duration::from_millis(300);

/// Those that give up after their limit, whatever they hear of.
const GIVE_UP: [Caller; 7] = [
    Caller { sdk: Sdk::TypeScript1, era: LEGACY, asks: Asks::Nothing },
    Caller { sdk: Sdk::TypeScript1, era: LEGACY, asks: Asks::ForProgress },
    Caller { sdk: Sdk::TypeScript2, era: LEGACY, asks: Asks::Nothing },
    Caller { sdk: Sdk::TypeScript2, era: LEGACY, asks: Asks::ForProgress },
    Caller { sdk: Sdk::Python, era: LEGACY, asks: Asks::Nothing },
    Caller { sdk: Sdk::Python, era: LEGACY, asks: Asks::ForProgress },
    Caller { sdk: Sdk::Fastmcp, era: LEGACY, asks: Asks::ForProgress },
];

/// Nobody waits any more: the approval runs nothing, and the same call again gets it, once.
fn gets_it_by_asking_again(scene: &Scene, mut client: Client, caller: &Caller, order: &str) -> Result<()> {
    scene.approve(order)?;
    std::thread::sleep(QUIET);
    assert_eq!(scene.runs(order)?, [] as [Value; 0], "nobody waits");
    let saw = call(&mut client, caller, order, None)?;
    ensure!(saw == Saw::Result, "{saw:?}");
    client.close()?;
    assert_eq!(scene.runs(order)?, [refunded(order, 40)]);
    Ok(())
}

/// They give up before anybody decides, and say why. The approval then runs nothing, and the same call again gets it, once.
#[test]
fn who_gives_up_gets_it_by_asking_again() -> Result<()> {
    let scene = Scene::open(&json!({}))?;
    each(&GIVE_UP, |caller, order| {
        let mut client = scene.connect(caller)?;
        let saw = call(&mut client, caller, order, Some(LIMIT))?;
        ensure!(saw == Saw::TimedOut, "{saw:?}");
        gets_it_by_asking_again(&scene, client, caller, order)
    })
}

/// In the stateless era a client that gives up closes its stream, which withdraws the call (2026-07-28, cancellation): the
/// approval of it is nobody's, and the same call again is asked about anew.
#[test]
fn who_gives_up_without_a_session_has_withdrawn_the_call() -> Result<()> {
    const GIVE_UP: [Caller; 3] = [
        Caller { sdk: Sdk::TypeScript2, era: STATELESS, asks: Asks::Nothing },
        Caller { sdk: Sdk::Python, era: STATELESS, asks: Asks::Nothing },
        Caller { sdk: Sdk::Fastmcp, era: STATELESS, asks: Asks::ForProgress },
    ];
    let scene = Scene::open(&json!({}))?;
    each(&GIVE_UP, |caller, order| {
        let mut client = scene.connect(caller)?;
        let saw = call(&mut client, caller, order, Some(LIMIT))?;
        ensure!(saw == Saw::TimedOut, "{saw:?}");
        scene.approve(order)?;
        let saw = scene.call_approved_after(&mut client, (caller, order), None, QUIET)?;
        ensure!(saw == Saw::Result, "{saw:?}");
        client.close()?;
        assert_eq!(scene.runs(order)?, [refunded(order, 40)]);
        Ok(())
    })
}

/// A sign of life comes every 15 seconds. Clients whose hosts ask for it are kept beyond their limit by it.
#[test]
fn who_is_kept_alive_by_progress() -> Result<()> {
    const KEPT: [Caller; 2] = [
        Caller { sdk: Sdk::TypeScript1, era: LEGACY, asks: Asks::ToBeKept },
        Caller { sdk: Sdk::TypeScript2, era: LEGACY, asks: Asks::ToBeKept },
    ];
    let scene = Scene::open(&json!({}))?;
    each(&KEPT, |caller, order| {
        let mut client = scene.connect(caller)?;
        let began = Instant::now();
        let beyond = Duration::from_millis(LIMIT_KEPT + 2_000);
        let saw = scene.call_approved_after(&mut client, (caller, order), Some(LIMIT_KEPT), beyond)?;
        ensure!(saw == Saw::Result, "{saw:?}");
        ensure!(
            began.elapsed() > Duration::from_millis(LIMIT_KEPT),
            "it was not kept for longer than it waits"
        );
        client.close()?;
        assert_eq!(scene.runs(order)?, [refunded(order, 40)]);
        Ok(())
    })
}

/// A hold that is shorter than the client's limit: it is told `pending` in time, and what to do.
#[test]
fn who_is_told_to_come_back_in_time() -> Result<()> {
    const TOLD: [Caller; 4] = [
        Caller { sdk: Sdk::TypeScript1, era: LEGACY, asks: Asks::Nothing },
        Caller { sdk: Sdk::TypeScript2, era: LEGACY, asks: Asks::Nothing },
        Caller { sdk: Sdk::Python, era: LEGACY, asks: Asks::Nothing },
        Caller { sdk: Sdk::Fastmcp, era: LEGACY, asks: Asks::ForProgress },
    ];
    let scene = Scene::open(&json!({ "patience": "1s" }))?;
    each(&TOLD, |caller, order| {
        let mut client = scene.connect(caller)?;
        for _ in 0..2 {
            let saw = call(&mut client, caller, order, Some(LIMIT_FAR))?;
            ensure!(saw == Saw::Pending, "{saw:?}");
        }
        gets_it_by_asking_again(&scene, client, caller, order)
    })
}

/// Waiting in legs or as a task, each request is shorter than the limit and the call is longer.
#[test]
fn who_waits_in_pieces() -> Result<()> {
    const PIECES: [Caller; 4] = [
        Caller { sdk: Sdk::TypeScript2, era: STATELESS, asks: Asks::Nothing },
        Caller { sdk: Sdk::Python, era: STATELESS, asks: Asks::Nothing },
        Caller { sdk: Sdk::Fastmcp, era: STATELESS, asks: Asks::ForProgress },
        Caller { sdk: Sdk::Inspector, era: STATELESS, asks: Asks::Nothing },
    ];
    let scene = Scene::open(&json!({ "leg": "1s" }))?;
    each(&PIECES, |caller, order| {
        let mut client = scene.connect(caller)?;
        let began = Instant::now();
        let beyond = Duration::from_millis(LIMIT + 2_000);
        let saw = scene.call_approved_after(&mut client, (caller, order), Some(LIMIT), beyond)?;
        ensure!(saw == Saw::Result, "{saw:?}");
        ensure!(began.elapsed() > Duration::from_millis(LIMIT), "it ended early");
        client.close()?;
        assert_eq!(scene.runs(order)?, [refunded(order, 40)]);
        Ok(())
    })
}
