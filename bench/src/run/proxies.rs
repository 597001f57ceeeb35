//! Direct, relayed and held calls, interleaved.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::ours::{Action, Setup};
use super::{Plan, role, this};
use crate::load::{Sample, http, stdio};
use crate::process::{Server, measure as run_load, memory_kib};

/// Numbers of calls in flight.
pub(crate) const LEVELS: [u64; 4] = [1, 16, 64, 256];

/// The transport on both sides of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Http,
    Stdio,
}

/// What stands between client and tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    Direct,
    Relay,
    Ours,
    RelayAsked,
    OursAsked,
}

impl Path {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "bare relay",
            Self::Ours => "holdpoint, pass",
            Self::RelayAsked => "bare relay + question",
            Self::OursAsked => "holdpoint, gated",
        }
    }
}

/// Samples of one path.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// By level, one per round.
    pub(crate) rounds: BTreeMap<u64, Vec<Sample>>,
    pub(crate) idle_kib: Vec<u64>,
    pub(crate) ready_ms: Vec<f64>,
}

pub(crate) type Measured = BTreeMap<Path, Samples>;

/// Takes every sample of a route.
pub(crate) fn measure(route: Route, plan: &Plan) -> Result<Measured> {
    match route {
        Route::Http => measure_http(plan),
        Route::Stdio => measure_stdio(plan),
    }
}

struct Endpoint {
    path: Path,
    url: String,
    server: Server,
    _setup: Option<Setup>,
}

fn measure_http(plan: &Plan) -> Result<Measured> {
    let gate = Server::start(&mut role(&["stub-gate"])?)?;
    let mut measured = Measured::new();
    let endpoints = http_endpoints(plan, gate.url()?)?;
    for endpoint in &endpoints {
        let samples = measured.entry(endpoint.path).or_default();
        samples.ready_ms.push(endpoint.server.ready_after().as_secs_f64() * 1e3);
        samples.idle_kib.push(memory_kib(endpoint.server.pid(), "VmRSS")?);
    }
    interleave(
        plan,
        &endpoints,
        &mut measured,
        |endpoint, in_flight| {
            let order = http::Order {
                url: endpoint.url.clone(),
                question: http::Question::ToolCall,
                in_flight,
                window_ms: window_ms(plan),
                key: None,
                pid: Some(endpoint.server.pid()),
            };
            load("load-http", &serde_json::to_string(&order)?, plan)
                .with_context(|| format!("{} at {in_flight} in flight", endpoint.path.name()))
        },
        |endpoint| endpoint.path,
    )?;
    Ok(measured)
}

fn http_endpoints(plan: &Plan, gate: &str) -> Result<Vec<Endpoint>> {
    let tool = Server::start(&mut role(&["tool-http"])?)?;
    let upstream = tool.url()?.to_owned();
    let mut endpoints =
        vec![Endpoint { path: Path::Direct, url: upstream.clone(), server: tool, _setup: None }];
    for (path, gate) in [(Path::Relay, None), (Path::RelayAsked, Some(gate))] {
        let mut command = role(&["relay-http", "--upstream", &upstream])?;
        command.args(gate.into_iter().flat_map(|url| ["--gate", url]));
        let server = Server::start(&mut command)?;
        endpoints.push(Endpoint { path, url: server.url()?.to_owned(), server, _setup: None });
    }
    if let Some(ours) = &plan.ours {
        for (path, action) in [(Path::Ours, Action::Pass), (Path::OursAsked, Action::Gate)] {
            let setup = Setup::new(ours, &json!({ "url": upstream }), action, Some(gate), true)?;
            let server = setup.up()?;
            let url = mcp_url(server.ready())?.to_owned();
            endpoints.push(Endpoint { path, url, server, _setup: Some(setup) });
        }
    }
    Ok(endpoints)
}

/// Where `up` says that the server is.
pub(crate) fn mcp_url(ready: &Value) -> Result<&str> {
    ready
        .pointer("/servers/bench/mcp_url")
        .and_then(Value::as_str)
        .context("a ready line without the server's address")
}

struct CommandLine {
    path: Path,
    command: Vec<String>,
    env: Vec<(String, String)>,
    _setup: Option<Setup>,
}

fn measure_stdio(plan: &Plan) -> Result<Measured> {
    let gate = Server::start(&mut role(&["stub-gate"])?)?;
    let lines = command_lines(plan, gate.url()?)?;
    let mut measured = Measured::new();
    interleave(
        plan,
        &lines,
        &mut measured,
        |line, in_flight| {
            let order = stdio::Order {
                command: line.command.clone(),
                env: line.env.iter().cloned().collect(),
                in_flight,
                window_ms: window_ms(plan),
            };
            load("load-stdio", &serde_json::to_string(&order)?, plan)
                .with_context(|| format!("{} at {in_flight} in flight", line.path.name()))
        },
        |line| line.path,
    )?;
    for samples in measured.values_mut() {
        let all = samples.rounds.values().flatten();
        samples.idle_kib = all.clone().map(|sample| sample.idle_kib).collect();
        samples.ready_ms = all.map(|sample| sample.ready_us / 1e3).collect();
    }
    Ok(measured)
}

fn command_lines(plan: &Plan, gate: &str) -> Result<Vec<CommandLine>> {
    let this = this()?.display().to_string();
    let tool = [this.clone(), "tool-stdio".to_owned()];
    let mut lines =
        vec![CommandLine { path: Path::Direct, command: tool.to_vec(), env: Vec::new(), _setup: None }];
    for (path, gate) in [(Path::Relay, None), (Path::RelayAsked, Some(gate))] {
        let mut command = vec![this.clone(), "relay-stdio".to_owned()];
        command.extend(gate.into_iter().flat_map(|url| ["--gate".to_owned(), url.to_owned()]));
        command.push("--".to_owned());
        command.extend(tool.clone());
        lines.push(CommandLine { path, command, env: Vec::new(), _setup: None });
    }
    if let Some(ours) = &plan.ours {
        for (path, action) in [(Path::Ours, Action::Pass), (Path::OursAsked, Action::Gate)] {
            let setup = Setup::new(ours, &json!({ "command": tool }), action, Some(gate), true)?;
            lines.push(CommandLine { path, command: setup.proxy(), env: setup.env(), _setup: Some(setup) });
        }
    }
    Ok(lines)
}

/// Every path at a level, then the next level, then the next round: neighbours in time are compared.
fn interleave<T>(
    plan: &Plan,
    paths: &[T],
    measured: &mut Measured,
    sample: impl Fn(&T, u64) -> Result<Sample>,
    path: impl Fn(&T) -> Path,
) -> Result<()> {
    for round in 1..=plan.rounds {
        for level in LEVELS {
            for one in paths {
                let sample = sample(one, level)?;
                eprintln!(
                    "round {round}, {level:>3} in flight, {:<22} {:>8.0} calls/s",
                    path(one).name(),
                    sample.calls_per_s
                );
                measured.entry(path(one)).or_default().rounds.entry(level).or_default().push(sample);
            }
        }
    }
    Ok(())
}

/// One load client, from start to end.
pub(crate) fn load(name: &str, order: &str, plan: &Plan) -> Result<Sample> {
    let value = run_load(&mut role(&[name, order])?, plan.window + Duration::from_secs(30))?;
    serde_json::from_value(value).context("not a sample")
}

pub(crate) fn window_ms(plan: &Plan) -> u64 {
    u64::try_from(plan.window.as_millis()).unwrap_or(u64::MAX)
}
