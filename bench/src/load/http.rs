//! HTTP/1.1, one kept connection per call in flight.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{
    Calls, Echo, INITIALIZE, INITIALIZED, LIST, LOST_AFTER, Sample, Shape, WARM_UP_CALLS, WARM_UP_MAX,
    Window, contains, cpu_of, id_of, memory_of, print,
};
use crate::process::Tree;

/// Names the session, in answers to `initialize` and in every request after it.
const SESSION: &str = "mcp-session-id";

/// Of an answer that was not expected.
const SHOWN_CHARS: usize = 300;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// `tools/call` to an MCP endpoint.
    ToolCall,
    /// A decision request to a Gate.
    Decision,
    /// The same question to a bridge.
    Verdict,
}

/// The order for one sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) question: Question,
    /// As the process under test calls it.
    pub(crate) tool: String,
    pub(crate) shape: Shape,
    pub(crate) window_ms: u64,
    /// Bearer token, where one is wanted.
    pub(crate) key: Option<String>,
    /// The process under test.
    pub(crate) pid: Option<u32>,
}

/// `load-http ORDER`, an order as JSON.
pub(crate) async fn main(arguments: &[String]) -> Result<()> {
    let order = arguments.first().context("load-http ORDER")?;
    let order: Order = serde_json::from_str(order).context("bad order")?;
    let tree = order.pid.map(Tree::of).transpose()?;
    let calls = Calls::new(&order.tool, order.shape.payload_bytes)?;
    let target = Arc::new(Target::new(&order.url, order.question, calls, order.key.clone())?);
    if order.question == Question::ToolCall {
        target.handshake().await?;
    }
    let idle = memory_of(tree.as_ref())?;
    let sample = measure(&order, &target).await?;
    target.leave().await;
    print(&Sample { idle, ..sample })
}

async fn measure(order: &Order, target: &Arc<Target>) -> Result<Sample> {
    let in_flight = order.shape.in_flight;
    let mut connections = Vec::new();
    for _ in 0..in_flight {
        connections.push(target.connect().await?);
    }
    let each = (WARM_UP_CALLS / in_flight).max(2);
    let until = Until { calls: each, time: Instant::now() + WARM_UP_MAX };
    let (connections, warm) = all(connections, target, until).await?;
    if warm.errors + warm.lost > 0 {
        bail!("{} wrong and {} lost calls in the warm-up", warm.errors, warm.lost);
    }

    // Helpers may have been started since.
    let tree = order.pid.map(Tree::of).transpose()?;
    let cpu = cpu_of(tree.as_ref())?;
    let start = Instant::now();
    let until = Until { calls: u64::MAX, time: start + Duration::from_millis(order.window_ms) };
    let (_connections, measured) = all(connections, target, until).await?;
    let window = Window {
        elapsed: start.elapsed(),
        cpu: cpu_of(tree.as_ref())?.saturating_sub(cpu),
        loaded: memory_of(tree.as_ref())?,
        ..measured
    };
    Ok(window.sample())
}

/// `call-http URL`: one call; prints whatever the answer is, streamed or not.
pub(crate) async fn call_once(arguments: &[String]) -> Result<()> {
    let url = arguments.first().context("call-http URL")?;
    let target = Target::of_calls(url)?;
    let mut connection = target.connect().await?;
    let (_, request) = target.next_request()?;
    let response = connection.send_request(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}

/// What is asked about the call `n`.
fn decision(n: u64) -> String {
    format!(
        r#"{{"workflow_name":"Bench","tool_name":"echo","task_label":"Echo {n}","subject":"Echo {n}","preview":"a message of ordinary length","risk_level":"low","summary":["Message {n}"],"payload":{{"message":"a message of ordinary length","n":{n},"amount":10}}}}"#
    )
}

/// Whatever comes first.
#[derive(Clone, Copy)]
pub(super) struct Until {
    pub(super) calls: u64,
    pub(super) time: Instant,
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

async fn all(
    connections: Vec<Connection>,
    target: &Arc<Target>,
    until: Until,
) -> Result<(Vec<Connection>, Window)> {
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(one(connection, Arc::clone(target), until)))
        .collect();
    let mut connections = Vec::new();
    let mut window = Window::default();
    for task in tasks {
        let (connection, part) = task.await.context("a load task failed")??;
        connections.push(connection);
        window.latencies.extend(part.latencies);
        window.errors += part.errors;
        window.stripped += part.stripped;
        window.lost += part.lost;
    }
    Ok((connections, window))
}

async fn one(mut connection: Connection, target: Arc<Target>, until: Until) -> Result<(Connection, Window)> {
    let mut window = Window::default();
    let mut calls = 0;
    while calls < until.calls && Instant::now() < until.time {
        calls += 1;
        if !target.ask_into(&mut connection, &mut window).await? {
            break;
        }
    }
    Ok((connection, window))
}

enum Answer {
    Good,
    Stripped,
    Bad(String),
}

/// A server, and what is asked of it.
pub(crate) struct Target {
    uri: Uri,
    question: Question,
    calls: Calls,
    key: Option<String>,
    session: OnceLock<String>,
    next: AtomicU64,
}

impl Target {
    pub(super) fn new(url: &str, question: Question, calls: Calls, key: Option<String>) -> Result<Self> {
        // Samples follow each other; none repeats the arguments of another.
        let first = u64::try_from(crate::process::wall_clock_ns() / 1000 % 1_000_000_000_000)?;
        let uri = url.parse().context("bad address")?;
        Ok(Self { uri, question, calls, key, session: OnceLock::new(), next: AtomicU64::new(first) })
    }

    /// For calls of tools.
    pub(crate) fn of_calls(url: &str) -> Result<Self> {
        Self::new(url, Question::ToolCall, Calls::new("echo", 0)?, None)
    }

    /// A call that is told apart by `n`.
    pub(crate) fn request_for(&self, n: u64) -> Result<Request<Full<Bytes>>> {
        self.post(&self.uri, self.calls.call(n))
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let authority = self.uri.authority().context("an address without host")?;
        let stream = TcpStream::connect(authority.as_str()).await.context("cannot connect")?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// What a client of the handshake era sends first; servers that learn their tools from it have them then.
    pub(crate) async fn handshake(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        self.handshake_on(&mut connection).await
    }

    pub(super) async fn handshake_on(&self, connection: &mut Connection) -> Result<()> {
        for message in [INITIALIZE, INITIALIZED, LIST] {
            connection.ready().await.context("the connection was closed")?;
            let response = connection.send_request(self.post(&self.uri, message.to_owned())?).await?;
            let status = response.status();
            if let Some(session) = response.headers().get(SESSION) {
                // Only the first answer names one.
                let _named = self.session.set(session.to_str().context("an odd session")?.to_owned());
            }
            let body = response.into_body().collect().await?.to_bytes();
            if !status.is_success() {
                bail!("{status} to {message}: {}", String::from_utf8_lossy(&body));
            }
            if message == LIST && !contains(&body, self.calls.tool.as_bytes()) {
                bail!("no `{}` among the tools: {}", self.calls.tool, String::from_utf8_lossy(&body));
            }
        }
        Ok(())
    }

    /// Ends the session, if there is one. A server that keeps it has only itself to blame.
    pub(super) async fn leave(&self) {
        if self.session.get().is_some()
            && let Ok(mut connection) = self.connect().await
            && let Ok(mut request) = self.post(&self.uri, String::new())
        {
            *request.method_mut() = http::Method::DELETE;
            let _ended = tokio::time::timeout(LOST_AFTER, connection.send_request(request)).await;
        }
    }

    fn next_request(&self) -> Result<(u64, Request<Full<Bytes>>)> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let request = match self.question {
            Question::ToolCall => self.post(&self.uri, self.calls.call(n)),
            Question::Decision => {
                let uri: Uri = format!("{}api/agent/tasks/task-{n}/requests", self.uri).parse()?;
                self.post(&uri, decision(n))
            }
            Question::Verdict => self.verdict(n),
        };
        Ok((n, request?))
    }

    /// The question `n` to a bridge, which holds it until somebody decides.
    pub(crate) fn verdict(&self, n: u64) -> Result<Request<Full<Bytes>>> {
        let uri: Uri = format!("{}/v1/decisions", self.uri.to_string().trim_end_matches('/')).parse()?;
        let mut request = self.post(&uri, decision(n))?;
        let key = http::HeaderValue::try_from(format!("bench-{n}")).context("an odd key")?;
        request.headers_mut().insert("idempotency-key", key);
        Ok(request)
    }

    fn post(&self, uri: &Uri, body: String) -> Result<Request<Full<Bytes>>> {
        let path = uri.path_and_query().context("an address without path")?;
        let host = uri.authority().context("an address without host")?;
        let mut request = Request::post(path.as_str())
            .header("host", host.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18");
        if let Some(session) = self.session.get() {
            request = request.header(SESSION, session);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.body(Full::new(Bytes::from(body))).context("cannot build a request")
    }

    /// One call; whether the connection is good for another.
    pub(super) async fn ask_into(&self, connection: &mut Connection, window: &mut Window) -> Result<bool> {
        let (n, request) = self.next_request()?;
        let start = Instant::now();
        match tokio::time::timeout(LOST_AFTER, self.ask(connection, n, request)).await {
            Ok(Ok(Answer::Good)) => {
                window.latencies.push(start.elapsed());
                return Ok(true);
            }
            Ok(Ok(Answer::Stripped)) => {
                window.latencies.push(start.elapsed());
                window.stripped += 1;
                return Ok(true);
            }
            Ok(Ok(Answer::Bad(what))) => {
                if window.errors == 0 {
                    eprintln!(
                        "not the expected answer: {}",
                        what.chars().take(SHOWN_CHARS).collect::<String>()
                    );
                }
                window.errors += 1;
                return Ok(true);
            }
            Ok(Err(error)) => eprintln!("lost a call: {error:#}"),
            Err(_) => eprintln!("lost a call: no answer in {LOST_AFTER:?}"),
        }
        window.lost += 1;
        Ok(false)
    }

    async fn ask(
        &self,
        connection: &mut Connection,
        n: u64,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer> {
        connection.ready().await.context("the connection was closed")?;
        let response = connection.send_request(request).await.context("no answer")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("half an answer")?.to_bytes();
        let echo = match self.question {
            Question::ToolCall if id_of(&body) == Some(n) => self.calls.echo(&body),
            Question::Decision | Question::Verdict if contains(&body, b"\"allow\"") => Echo::Whole,
            Question::ToolCall | Question::Decision | Question::Verdict => Echo::None,
        };
        Ok(match echo {
            Echo::Whole if status.is_success() => Answer::Good,
            Echo::Stripped if status.is_success() => Answer::Stripped,
            Echo::Whole | Echo::Stripped | Echo::None => {
                Answer::Bad(format!("{status} {}", String::from_utf8_lossy(&body)))
            }
        })
    }
}
