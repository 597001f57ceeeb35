//! Our Gate's decisions against a bare server that only inserts.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use super::measured::LEVELS;
use super::ours::{Action, Gate, Setup};
use super::proxies::{load, window_ms};
use super::{Plan, folder, role};
use crate::load::http::{Order, Question};
use crate::load::{Sample, Shape};
use crate::process::Server;

/// By level, one pair per round: the bare insert, and ours if it was measured.
pub(crate) type Measured = BTreeMap<u64, Vec<(Sample, Option<Sample>)>>;

/// Takes every sample.
pub(crate) fn measure(plan: &Plan) -> Result<Measured> {
    let data = folder()?;
    let path = data.path().display().to_string();
    let bare = Server::start(&mut role(&["bare-gate", &path])?)?;
    let ours = plan.ours.as_deref().map(Ours::start).transpose()?;
    let mut measured = Measured::new();
    for round in 1..=plan.rounds {
        for level in LEVELS {
            let floor = sample(plan, bare.url()?, Question::Decision, level, bare.pid(), None)?;
            let held = ours
                .as_ref()
                .map(|ours| {
                    let Gate { server, url, key } = &ours.gate;
                    sample(plan, url, Question::Decision, level, server.pid(), Some(key.clone()))
                })
                .transpose()?;
            eprintln!(
                "round {round}, {level:>3} in flight, bare insert {:>8.0} decisions/s",
                floor.calls_per_s
            );
            measured.entry(level).or_default().push((floor, held));
        }
    }
    Ok(measured)
}

/// One sample of verdicts.
pub(crate) fn sample(
    plan: &Plan,
    url: &str,
    question: Question,
    in_flight: u64,
    pid: u32,
    key: Option<String>,
) -> Result<Sample> {
    let order = Order {
        url: url.to_owned(),
        question,
        tool: "echo".to_owned(),
        shape: Shape::ordinary(in_flight),
        window_ms: window_ms(plan),
        key,
        pid: Some(pid),
    };
    load("load-http", &serde_json::to_string(&order)?, plan)
}

struct Ours {
    gate: Gate,
    _setup: Setup,
}

impl Ours {
    fn start(program: &std::path::Path) -> Result<Self> {
        let setup = Setup::new(program, &unused(), Action::Gate, None, true)?;
        Ok(Self { gate: setup.serve()?, _setup: setup })
    }
}

/// The server of a configuration whose tools nobody calls.
pub(crate) fn unused() -> serde_json::Value {
    json!({ "url": "http://127.0.0.1:9/mcp" })
}
