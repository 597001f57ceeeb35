//! The limits that clients come with, against a person who takes a while. README.md has what they saw as a table.
//!
//! Minutes each: `cargo xtask test --long` runs them too.

use super::scene::{Asks, Caller, Saw, Scene, call, each};
use crate::told::{LEGACY, STATELESS, refunded};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::Sdk;
use serde_json::json;
use std::time::{Duration, Instant};

/// How late each may be, on a machine that does other things as well: one of the clients is a new process for each call.
const LATE: Duration = Duration::from_secs(30);

/// What a client goes through until it has its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// One call, which takes as long as the person.
    OneCall,
    /// It is told `pending` after so long, each time.
    ToldToComeBack(Duration),
    /// It gives up after so long, each time.
    GivesUp(Duration),
}

/// Longer than a minute: a bounded hold.
const BOUNDED: Duration = Duration::from_secs(50);
/// What the TypeScript SDKs give a request.
const MINUTE: Duration = Duration::from_mins(1);

const fn client(sdk: Sdk, era: &'static str, asks: Asks, story: Story) -> (Caller, Story) {
    (Caller { sdk, era, asks }, story)
}

/// Each as its host finds it, and as its host can make it wait.
const CLIENTS: [(Caller, Story); 14] = [
    client(Sdk::TypeScript1, LEGACY, Asks::Nothing, Story::ToldToComeBack(BOUNDED)),
    client(Sdk::TypeScript1, LEGACY, Asks::ForProgress, Story::GivesUp(MINUTE)),
    client(Sdk::TypeScript1, LEGACY, Asks::ToBeKept, Story::OneCall),
    client(Sdk::TypeScript2, LEGACY, Asks::Nothing, Story::ToldToComeBack(BOUNDED)),
    client(Sdk::TypeScript2, LEGACY, Asks::ForProgress, Story::GivesUp(MINUTE)),
    client(Sdk::TypeScript2, LEGACY, Asks::ToBeKept, Story::OneCall),
    client(Sdk::TypeScript2, STATELESS, Asks::Nothing, Story::OneCall),
    client(Sdk::Python, LEGACY, Asks::Nothing, Story::ToldToComeBack(BOUNDED)),
    client(Sdk::Python, LEGACY, Asks::ForProgress, Story::OneCall),
    client(Sdk::Python, STATELESS, Asks::Nothing, Story::OneCall),
    client(Sdk::Fastmcp, LEGACY, Asks::ForProgress, Story::OneCall),
    client(Sdk::Fastmcp, STATELESS, Asks::ForProgress, Story::OneCall),
    client(Sdk::Inspector, LEGACY, Asks::Nothing, Story::ToldToComeBack(BOUNDED)),
    client(Sdk::Inspector, STATELESS, Asks::Nothing, Story::OneCall),
];

/// Calls until it has the result, as a model does that does what it is told.
fn live_through(scene: &Scene, caller: &Caller, order: &str, held: Duration) -> Result<()> {
    let (_, story) = CLIENTS.iter().find(|(known, _)| known == caller).unwrap_or(&CLIENTS[0]);
    let mut client = scene.connect(caller)?.patient(held + LATE * 2);
    let began = Instant::now();
    let saw = std::thread::scope(|threads| {
        let reviewer = threads.spawn(|| {
            let thread = scene.thread(order)?;
            std::thread::sleep(held.saturating_sub(began.elapsed()));
            ensure!(scene.runs(order)?.is_empty(), "it ran before anybody decided");
            scene.approve_thread(&thread)
        });
        let mut saw = Vec::new();
        while saw.last().is_none_or(|(_, saw)| *saw != Saw::Result) && saw.len() < 20 {
            let end = call(&mut client, caller, order, None)?;
            saw.push((began.elapsed(), end));
        }
        let approved = reviewer.join();
        ensure!(matches!(approved, Ok(Ok(()))), "not approved: {approved:?}");
        Ok(saw)
    })?;
    let told: Vec<_> = saw.iter().map(|(when, saw)| format!("{} s {saw:?}", when.as_secs())).collect();
    eprintln!("{caller:?}: {}", told.join(", "));
    check(*story, &saw, held).with_context(|| format!("not {story:?}: {told:?}"))?;
    client.close()?;
    assert_eq!(scene.runs(order)?, [refunded(order, 40)]);
    Ok(())
}

/// Whether what a client saw, and when, is the story.
fn check(story: Story, saw: &[(Duration, Saw)], held: Duration) -> Result<()> {
    let (last, before) = saw.split_last().context("it saw nothing")?;
    ensure!(
        last.1 == Saw::Result && last.0 >= held && last.0 < held + LATE,
        "not the result, or not in time"
    );
    let (every, what) = match story {
        Story::OneCall => {
            ensure!(before.is_empty(), "it had to call again");
            return Ok(());
        }
        Story::ToldToComeBack(every) => (every, Saw::Pending),
        Story::GivesUp(every) => (every, Saw::TimedOut),
    };
    ensure!(!before.is_empty() || held < every, "it did not have to call again");
    let mut began = Duration::ZERO;
    for (when, saw) in before {
        let took = when.saturating_sub(began);
        ensure!(*saw == what && took >= every && took < every + LATE, "{saw:?} after {took:?}");
        began = *when;
    }
    Ok(())
}

fn all(held: Duration) -> Result<()> {
    let scene = Scene::open(&json!({}))?;
    let callers = CLIENTS.map(|(caller, _)| caller);
    each(&callers, |caller, order| live_through(&scene, caller, order, held))
}

#[test]
#[ignore = "takes 70 seconds; `cargo xtask test --long` runs it"]
fn long_seventy_seconds() -> Result<()> {
    all(Duration::from_secs(70))
}

#[test]
#[ignore = "takes six minutes; `cargo xtask test --long` runs it"]
fn long_six_minutes() -> Result<()> {
    // A little more, so that six limits of a minute are over for certain.
    all(Duration::from_secs(375))
}
