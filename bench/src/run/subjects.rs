//! Everything that is measured on a route, started or ready to be started.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::measured::{Path, Route, Transport};
use super::ours::{Action, Setup};
use super::peers::{self, Peer};
use super::{Plan, role, this};
use crate::process::Server;

/// One path, and how a client gets onto it.
pub(crate) struct Subject {
    pub(crate) path: Path,
    pub(crate) front: Front,
    _setup: Option<Setup>,
}

/// How a client gets onto a path.
pub(crate) enum Front {
    /// A server that runs all the time.
    Http { url: String, server: Server },
    /// Started for each sample by the load client.
    Stdio { command: Vec<String>, env: HashMap<String, String> },
    /// Started for each sample, since some do not outlive one.
    Peer { peer: Box<Peer>, upstream: String },
}

/// Subjects, and the servers behind them.
pub(crate) struct Stage {
    pub(crate) subjects: Vec<Subject>,
    _gate: Server,
    _tool: Server,
}

/// Starts what a route needs.
pub(crate) fn set_up(route: Route, plan: &Plan) -> Result<Stage> {
    let gate = Server::start(&mut role(&["stub-gate"])?)?;
    let tool = Server::start(&mut role(&["tool-http"])?)?;
    let upstream = tool.url()?.to_owned();
    let mut subjects = vec![direct(route, &upstream)?];
    for (path, gate) in [(Path::Relay, None), (Path::RelayAsked, Some(gate.url()?))] {
        subjects.push(relay(route, path, &upstream, gate)?);
    }
    if plan.ours.is_some() {
        for (path, action) in [(Path::Ours, Action::Pass), (Path::OursAsked, Action::Gate)] {
            subjects.push(ours(route, path, action, plan, &upstream, gate.url()?)?);
        }
    }
    if plan.peers.is_some() {
        for peer in peers::on(route)? {
            let path = Path::Peer { name: peer.name.clone(), kind: peer.kind };
            let front = Front::Peer { peer: Box::new(peer), upstream: upstream.clone() };
            subjects.push(Subject { path, front, _setup: None });
        }
    }
    Ok(Stage { subjects, _gate: gate, _tool: tool })
}

/// The tool as whoever starts it would reach it. What a proxy adds is told from there.
fn direct(route: Route, upstream: &str) -> Result<Subject> {
    let front = match route.upstream() {
        Transport::Stdio => Front::Stdio { command: tool_command()?, env: HashMap::new() },
        // A tool of its own, so that this one's time and memory are those of direct calls only.
        Transport::Http => {
            let server = Server::start(&mut role(&["tool-http"])?)?;
            debug_assert_ne!(server.url()?, upstream, "two servers on one port");
            Front::Http { url: server.url()?.to_owned(), server }
        }
    };
    Ok(Subject { path: Path::Direct, front, _setup: None })
}

fn relay(route: Route, path: Path, upstream: &str, gate: Option<&str>) -> Result<Subject> {
    let name = match route {
        Route::HttpToHttp => "relay-http",
        Route::HttpToStdio => "relay-http-stdio",
        Route::StdioToStdio => "relay-stdio",
        Route::StdioToHttp => "relay-stdio-http",
    };
    let mut arguments: Vec<String> =
        gate.into_iter().flat_map(|url| ["--gate".to_owned(), url.to_owned()]).collect();
    match route.upstream() {
        Transport::Http => arguments.extend(["--upstream".to_owned(), upstream.to_owned()]),
        Transport::Stdio => {
            arguments.push("--".to_owned());
            arguments.extend(tool_command()?);
        }
    }
    let front = match route.front() {
        Transport::Http => {
            let server = Server::start(role(&[name])?.args(arguments))?;
            Front::Http { url: server.url()?.to_owned(), server }
        }
        Transport::Stdio => {
            let command =
                [this()?.display().to_string(), name.to_owned()].into_iter().chain(arguments).collect();
            Front::Stdio { command, env: HashMap::new() }
        }
    };
    Ok(Subject { path, front, _setup: None })
}

fn ours(
    route: Route,
    path: Path,
    action: Action,
    plan: &Plan,
    upstream: &str,
    gate: &str,
) -> Result<Subject> {
    let program = plan.ours.as_deref().context("nothing of ours to measure")?;
    let server = match route.upstream() {
        Transport::Http => json!({ "url": upstream }),
        Transport::Stdio => json!({ "command": tool_command()? }),
    };
    let setup = Setup::new(program, &server, action, Some(gate), true)?;
    let front = match route.front() {
        Transport::Http => {
            let server = setup.up()?;
            Front::Http { url: mcp_url(server.ready())?.to_owned(), server }
        }
        Transport::Stdio => Front::Stdio { command: setup.proxy(), env: setup.env().into_iter().collect() },
    };
    Ok(Subject { path, front, _setup: Some(setup) })
}

/// The tool over stdio.
pub(crate) fn tool_command() -> Result<Vec<String>> {
    Ok(vec![this()?.display().to_string(), "tool-stdio".to_owned()])
}

/// Where `up` says that the server is.
pub(crate) fn mcp_url(ready: &Value) -> Result<&str> {
    ready
        .pointer("/servers/bench/mcp_url")
        .and_then(Value::as_str)
        .context("a ready line without the server's address")
}
