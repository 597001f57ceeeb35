//! Many sessions open at once.

use std::path::Path as FilePath;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::measured::{Path, Route};
use super::ours::{Action, Setup};
use super::proxies::{load, window_ms};
use super::record::Log;
use super::subjects::{mcp_url, tool_command};
use super::{Plan, role};
use crate::load::Sample;
use crate::load::Shape;
use crate::load::sessions::Order;
use crate::process::Server;

/// Over HTTP, where a session is a header.
pub(crate) const SESSIONS: u64 = 1_000;
/// Over stdio each session is a process: as many as one server of ours may have unless told otherwise.
pub(crate) const CHILDREN: u64 = 64;

/// What one path made of its sessions.
pub(crate) struct Crowded {
    pub(crate) route: Route,
    pub(crate) path: Path,
    pub(crate) sessions: u64,
    pub(crate) sample: Sample,
}

/// The relay and ours, on both routes that have sessions.
pub(crate) fn measure(plan: &Plan, log: &mut Log) -> Result<Vec<Crowded>> {
    let gate = Server::start(&mut role(&["stub-gate"])?)?;
    let tool = Server::start(&mut role(&["tool-http", "--sessions"])?)?;
    let mut all = Vec::new();
    for (route, sessions) in [(Route::HttpToHttp, SESSIONS), (Route::HttpToStdio, CHILDREN)] {
        for path in [Path::Relay, Path::Ours] {
            let Some(started) = start(route, &path, plan, tool.url()?, gate.url()?)? else { continue };
            let order = Order {
                url: started.url,
                tool: "echo".to_owned(),
                sessions,
                window_ms: window_ms(plan),
                pid: started.server.pid(),
            };
            let sample = load("load-sessions", &serde_json::to_string(&order)?, plan)
                .with_context(|| format!("{sessions} sessions, {}", path.name()))?;
            eprintln!(
                "{}, {sessions} sessions, {} {:.0} calls/s",
                route.title(),
                path.name(),
                sample.calls_per_s
            );
            let shape = Shape { payload_bytes: 0, in_flight: sessions };
            log.sample(route, &format!("{}, sessions", path.name()), 1, shape, &sample)?;
            all.push(Crowded { route, path, sessions, sample });
        }
    }
    Ok(all)
}

struct Started {
    server: Server,
    url: String,
    _setup: Option<Setup>,
}

fn start(route: Route, path: &Path, plan: &Plan, upstream: &str, gate: &str) -> Result<Option<Started>> {
    let over_http = route == Route::HttpToHttp;
    if *path == Path::Relay {
        let mut command = if over_http {
            role(&["relay-http", "--upstream", upstream])?
        } else {
            role(&["relay-http-stdio", "--"])?
        };
        if !over_http {
            command.args(tool_command()?);
        }
        let server = Server::start(&mut command)?;
        return Ok(Some(Started { url: server.url()?.to_owned(), server, _setup: None }));
    }
    let Some(ours): Option<&FilePath> = plan.ours.as_deref() else { return Ok(None) };
    let server = if over_http { json!({ "url": upstream }) } else { json!({ "command": tool_command()? }) };
    let setup = Setup::new(ours, &server, Action::Pass, Some(gate), true)?;
    let server = setup.up()?;
    Ok(Some(Started { url: mcp_url(server.ready())?.to_owned(), server, _setup: Some(setup) }))
}
