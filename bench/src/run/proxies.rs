//! Direct, relayed, held and others' calls, interleaved.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::measured::{ALONE, CROWD, HUGE, JUDGED, LARGE, LEVELS, Measured, Path, Route};
use super::record::Log;
use super::subjects::{Front, Subject, set_up};
use super::{PEER_ROUNDS, Plan, role};
use crate::load::{Sample, Shape, http, stdio};
use crate::process::measure as run_load;

/// Takes every sample of a route.
pub(crate) fn measure(route: Route, plan: &Plan, log: &mut Log) -> Result<Measured> {
    let stage = set_up(route, plan)?;
    let mut measured = Measured::default();
    for round in 1..=plan.rounds {
        for shape in shapes(plan) {
            // Every path at a shape, then the next shape, then the next round: neighbours in time are compared.
            for subject in stage.subjects.iter().filter(|subject| takes_part(subject, shape, round, plan)) {
                let sample = sample(subject, shape, plan);
                say(route, round, shape, subject, &sample);
                let samples = measured.of(&subject.path);
                let sample = match (sample, &subject.path) {
                    (Ok(sample), _) => {
                        log.sample(route, subject.path.name(), round, shape, &sample)?;
                        Some(sample)
                    }
                    (Err(error), Path::Peer { .. }) => {
                        log.failure(route, subject.path.name(), round, shape, &error)?;
                        samples.failures.push(format!("{}: {error:#}", title(shape)));
                        None
                    }
                    (Err(error), _) => {
                        return Err(error.context(format!("{} at {}", subject.path.name(), title(shape))));
                    }
                };
                samples.rounds.entry(shape).or_default().push(sample);
            }
        }
    }
    Ok(measured)
}

fn shapes(plan: &Plan) -> Vec<Shape> {
    let levels = LEVELS.into_iter().map(Shape::ordinary);
    if plan.quick {
        levels.filter(|shape| shape.in_flight != 64).chain([LARGE]).collect()
    } else {
        levels.chain([LARGE, HUGE]).collect()
    }
}

/// Peers are slow to start: they are asked only for what they are compared by.
fn takes_part(subject: &Subject, shape: Shape, round: u64, plan: &Plan) -> bool {
    let compared: &[Shape] = if plan.quick { &[ALONE, JUDGED] } else { &[ALONE, JUDGED, CROWD, LARGE] };
    !matches!(subject.path, Path::Peer { .. }) || (round <= PEER_ROUNDS && compared.contains(&shape))
}

fn sample(subject: &Subject, shape: Shape, plan: &Plan) -> Result<Sample> {
    match &subject.front {
        Front::Http { url, server } => {
            let ready_us = server.ready_after().as_secs_f64() * 1e6;
            let order = http_order(url.clone(), "echo", shape, plan, server.pid());
            Ok(Sample { ready_us, ..load("load-http", &serde_json::to_string(&order)?, plan)? })
        }
        Front::Stdio { command, env } => {
            let order = stdio::Order {
                command: command.clone(),
                env: env.clone(),
                tool: "echo".to_owned(),
                shape,
                window_ms: window_ms(plan),
                folder: None,
                quiet: false,
            };
            load("load-stdio", &serde_json::to_string(&order)?, plan)
        }
        Front::Peer { peer, upstream } => {
            let installed = plan.peers.as_deref().context("no peers are installed")?;
            let prepared = peer.prepare(installed, upstream)?;
            if peer.route.starts_with("http") {
                let server = prepared.start()?;
                let ready_us = server.ready_after().as_secs_f64() * 1e6;
                let order = http_order(prepared.url.clone(), &peer.tool, shape, plan, server.pid());
                return Ok(Sample { ready_us, ..load("load-http", &serde_json::to_string(&order)?, plan)? });
            }
            let order = stdio::Order {
                command: prepared.command.clone(),
                env: prepared.env.clone(),
                tool: peer.tool.clone(),
                shape,
                window_ms: window_ms(plan),
                folder: Some(prepared.folder()),
                quiet: !plan.verbose,
            };
            load("load-stdio", &serde_json::to_string(&order)?, plan)
        }
    }
}

fn http_order(url: String, tool: &str, shape: Shape, plan: &Plan, pid: u32) -> http::Order {
    http::Order {
        url,
        question: http::Question::ToolCall,
        tool: tool.to_owned(),
        shape,
        window_ms: window_ms(plan),
        key: None,
        pid: Some(pid),
    }
}

fn say(route: Route, round: u64, shape: Shape, subject: &Subject, sample: &Result<Sample>) {
    let what = format!("{}, round {round}, {:<20} {:<42}", route.title(), title(shape), subject.path.name());
    match sample {
        Ok(sample) if sample.errors + sample.lost > 0 => {
            eprintln!(
                "{what} {:>8.0} calls/s, {} wrong, {} lost",
                sample.calls_per_s, sample.errors, sample.lost
            );
        }
        Ok(sample) => eprintln!("{what} {:>8.0} calls/s", sample.calls_per_s),
        Err(error) => eprintln!("{what} failed: {error:#}"),
    }
}

/// In words.
pub(crate) fn title(shape: Shape) -> String {
    match shape.payload_bytes {
        0 => format!("{} in flight", shape.in_flight),
        bytes => format!("{} KiB, {} in flight", bytes >> 10, shape.in_flight),
    }
}

/// One load client, from start to end.
pub(crate) fn load(name: &str, order: &str, plan: &Plan) -> Result<Sample> {
    let value = run_load(&mut role(&[name, order])?, plan.window + Duration::from_mins(1))?;
    serde_json::from_value(value).context("not a sample")
}

pub(crate) fn window_ms(plan: &Plan) -> u64 {
    u64::try_from(plan.window.as_millis()).unwrap_or(u64::MAX)
}
