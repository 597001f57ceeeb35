//! HTTP to stdio: a child for each session, answers told apart by their ids. Nothing is looked at but method and id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, oneshot};

use super::stdio::{QUEUE_MAX, start, write};
use super::{Gate, gate};
use crate::answer::Message;
use crate::serve::serve as serve_http;

const SESSION: &str = "mcp-session-id";

/// `relay-http-stdio [--gate URL] -- COMMAND ARGUMENTS…`
pub(crate) async fn serve(arguments: &[String]) -> Result<()> {
    let at = arguments.iter().position(|argument| argument == "--").context("-- COMMAND")?;
    let (ours, command) = arguments.split_at(at);
    let relay = Arc::new(Relay {
        command: command.iter().skip(1).cloned().collect(),
        gate: gate(ours)?,
        sessions: Mutex::default(),
        next: AtomicU64::new(1),
    });
    serve_http("/mcp", move |request| {
        let relay = Arc::clone(&relay);
        async move {
            relay.forward(request).await.unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                empty(StatusCode::BAD_GATEWAY)
            })
        }
    })
    .await
}

struct Relay {
    command: Vec<String>,
    gate: Option<Gate>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    next: AtomicU64,
}

struct Session {
    _child: Child,
    lines: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
}

/// By the text of the request's id.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Vec<u8>>>>>;

#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

impl Relay {
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let name = head.headers.get(SESSION).and_then(|name| name.to_str().ok());
        if head.method == Method::DELETE {
            let gone = name.and_then(|name| self.sessions().remove(name));
            return Ok(empty(if gone.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND }));
        }
        if head.method != Method::POST {
            return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        let body = body.collect().await.context("cannot read the call")?.to_bytes();
        let message: Message<'_> = serde_json::from_slice(&body).context("not JSON-RPC")?;
        let opened = (message.method == "initialize").then(|| self.open()).transpose()?;
        let session = match (&opened, name) {
            (Some((_, session)), _) => Arc::clone(session),
            (None, Some(name)) => match self.sessions().get(name) {
                Some(session) => Arc::clone(session),
                None => return Ok(empty(StatusCode::NOT_FOUND)),
            },
            (None, None) => return Ok(empty(StatusCode::BAD_REQUEST)),
        };
        if let Some(gate) = &self.gate
            && !gate.permits(&body).await?
        {
            return Ok(empty(StatusCode::FORBIDDEN));
        }
        let answer = session.ask(message.id.map(RawValue::get), &body).await?;
        let Some(answer) = answer else { return Ok(empty(StatusCode::ACCEPTED)) };
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, _)) = opened {
            response.headers_mut().insert(SESSION, HeaderValue::from_str(&name)?);
        }
        Ok(response)
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<(String, Arc<Session>)> {
        let name = format!("session-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let session = Arc::new(Session::start(&self.command)?);
        self.sessions().insert(name.clone(), Arc::clone(&session));
        Ok((name, session))
    }
}

impl Session {
    fn start(command: &[String]) -> Result<Self> {
        let (child, tool_in, tool_out) = start(command)?;
        let (lines, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write(tool_in, receiver));
        let waiting = Waiting::default();
        tokio::spawn(hand_out(tool_out, Arc::clone(&waiting)));
        Ok(Self { _child: child, lines, waiting })
    }

    /// The answer to a request; a notification has none.
    async fn ask(&self, id: Option<&str>, body: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::with_capacity(body.len() + 1);
        line.extend_from_slice(body);
        line.push(b'\n');
        let answer = id.map(|id| {
            let (sender, answer) = oneshot::channel();
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.insert(id.to_owned(), sender);
            answer
        });
        self.lines.send(line).await.context("the tool is gone")?;
        let Some(answer) = answer else { return Ok(None) };
        Ok(Some(answer.await.context("the tool is gone")?))
    }
}

/// Every line of the child goes to whoever waits for its id.
async fn hand_out(tool: ChildStdout, waiting: Waiting) -> Result<()> {
    let mut reader = BufReader::new(tool);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await.context("cannot read")? == 0 {
            bail!("the tool is gone");
        }
        line.pop();
        let answered: Answered<'_> = serde_json::from_slice(&line).context("not JSON-RPC")?;
        let Some(id) = answered.id else { continue };
        let asked = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id.get());
        if let Some(asked) = asked {
            // A client that left wants no answer.
            let _gone = asked.send(line);
        }
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
