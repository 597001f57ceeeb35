//! HTTP/1.1, one kept connection per call in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{INITIALIZE, INITIALIZED, LIST, Window, call, contains, cpu_of, is_echo, print};

const WARM_UP_CALLS: u64 = 300;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// `tools/call` to an MCP endpoint.
    ToolCall,
    /// A decision request to a Gate.
    Decision,
}

/// The order for one sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) question: Question,
    pub(crate) in_flight: u64,
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
    let target = Arc::new(Target::new(&order.url, order.question, order.key.clone())?);
    if order.question == Question::ToolCall {
        target.handshake().await?;
    }
    let mut connections = Vec::new();
    for _ in 0..order.in_flight {
        connections.push(target.connect().await?);
    }
    let each = (WARM_UP_CALLS / order.in_flight).max(2);
    let (connections, warm) = all(connections, &target, Until::Calls(each)).await?;
    if warm.errors > 0 {
        bail!("{} of {} calls failed in the warm-up", warm.errors, each * order.in_flight);
    }

    let cpu = cpu_of(order.pid)?;
    let start = Instant::now();
    let until = Until::Time(start + Duration::from_millis(order.window_ms));
    let (_connections, measured) = all(connections, &target, until).await?;
    let window = Window {
        latencies: measured.latencies,
        errors: measured.errors,
        elapsed: start.elapsed(),
        cpu: cpu_of(order.pid)?.saturating_sub(cpu),
    };
    print(&window.sample(order.pid)?)
}

/// `call-http URL`: one call; prints whatever the answer is, streamed or not.
pub(crate) async fn call_once(arguments: &[String]) -> Result<()> {
    let url = arguments.first().context("call-http URL")?;
    let target = Target::new(url, Question::ToolCall, None)?;
    let mut connection = target.connect().await?;
    let response = connection.send_request(target.next_request()?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}

#[derive(Clone, Copy)]
enum Until {
    Calls(u64),
    Time(Instant),
}

#[derive(Default)]
struct Outcome {
    latencies: Vec<Duration>,
    errors: u64,
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

async fn all(
    connections: Vec<Connection>,
    target: &Arc<Target>,
    until: Until,
) -> Result<(Vec<Connection>, Outcome)> {
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(one(connection, Arc::clone(target), until)))
        .collect();
    let mut connections = Vec::new();
    let mut outcome = Outcome::default();
    for task in tasks {
        let (connection, part) = task.await.context("a load task failed")??;
        connections.push(connection);
        outcome.latencies.extend(part.latencies);
        outcome.errors += part.errors;
    }
    Ok((connections, outcome))
}

async fn one(mut connection: Connection, target: Arc<Target>, until: Until) -> Result<(Connection, Outcome)> {
    let mut outcome = Outcome::default();
    let mut calls = 0;
    loop {
        let go_on = match until {
            Until::Calls(max) => calls < max,
            Until::Time(end) => Instant::now() < end,
        };
        if !go_on {
            return Ok((connection, outcome));
        }
        calls += 1;
        let request = target.next_request()?;
        let start = Instant::now();
        match target.ask(&mut connection, request).await? {
            Answer::Good => outcome.latencies.push(start.elapsed()),
            Answer::Bad(what) => {
                if outcome.errors == 0 {
                    eprintln!("not the expected answer: {what}");
                }
                outcome.errors += 1;
            }
        }
    }
}

enum Answer {
    Good,
    Bad(String),
}

pub(crate) struct Target {
    uri: Uri,
    question: Question,
    key: Option<String>,
    next: AtomicU64,
}

impl Target {
    fn new(url: &str, question: Question, key: Option<String>) -> Result<Self> {
        // Samples follow each other; none repeats the arguments of another.
        let first = u64::try_from(crate::process::wall_clock_ns() / 1000 % 1_000_000_000_000)?;
        Ok(Self { uri: url.parse().context("bad address")?, question, key, next: AtomicU64::new(first) })
    }

    /// For calls of tools.
    pub(crate) fn of_calls(url: &str) -> Result<Self> {
        Self::new(url, Question::ToolCall, None)
    }

    /// A call that is told apart by `n`.
    pub(crate) fn request_for(&self, n: u64) -> Result<Request<Full<Bytes>>> {
        self.post(&self.uri, call(n))
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
        for message in [INITIALIZE, INITIALIZED, LIST] {
            let response = connection.send_request(self.post(&self.uri, message.to_owned())?).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            if !status.is_success() {
                bail!("{status} to {message}: {}", String::from_utf8_lossy(&body));
            }
        }
        Ok(())
    }

    fn next_request(&self) -> Result<Request<Full<Bytes>>> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        match self.question {
            Question::ToolCall => self.post(&self.uri, call(n)),
            Question::Decision => {
                let uri: Uri = format!("{}api/agent/tasks/task-{n}/requests", self.uri).parse()?;
                let body = format!(
                    r#"{{"workflow_name":"Bench","tool_name":"echo","task_label":"Echo {n}","subject":"Echo {n}","preview":"a message of ordinary length","risk_level":"low","summary":["Message {n}"],"payload":{{"message":"a message of ordinary length","n":{n},"amount":10}}}}"#
                );
                self.post(&uri, body)
            }
        }
    }

    fn post(&self, uri: &Uri, body: String) -> Result<Request<Full<Bytes>>> {
        let path = uri.path_and_query().context("an address without path")?;
        let host = uri.authority().context("an address without host")?;
        let mut request = Request::post(path.as_str())
            .header("host", host.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.body(Full::new(Bytes::from(body))).context("cannot build a request")
    }

    async fn ask(&self, connection: &mut Connection, request: Request<Full<Bytes>>) -> Result<Answer> {
        connection.ready().await.context("the connection was closed")?;
        let response = connection.send_request(request).await.context("no answer")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("half an answer")?.to_bytes();
        let expected = match self.question {
            Question::ToolCall => is_echo(&body),
            Question::Decision => contains(&body, b"\"allow\""),
        };
        Ok(if status.is_success() && expected {
            Answer::Good
        } else {
            Answer::Bad(format!("{status} {}", String::from_utf8_lossy(&body)))
        })
    }
}
