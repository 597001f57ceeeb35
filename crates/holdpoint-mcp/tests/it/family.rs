//! A server with children on pipes in memory behind the proxy, and a client that says exactly what it is told to.

use crate::house::{House, TOOLS};
use bytes::Bytes;
use holdpoint_core::TaskId;
use holdpoint_mcp::{
    ChildLimits, Launch, Launched, ServerAddress,
    http::{HttpOptions, HttpProxy, ProxyBody},
};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines},
    sync::mpsc,
};

const PIPE_BYTES: usize = 64 << 10;

#[derive(Debug)]
struct Births {
    born: mpsc::Sender<Child>,
    fail: AtomicBool,
}

impl Launch for Births {
    fn launch(&self) -> io::Result<Launched> {
        if self.fail.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (input, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (out, output) = tokio::io::duplex(PIPE_BYTES);
        let _family_is_gone = self.born.try_send(Child {
            heard: BufReader::new(theirs).lines(),
            out,
            lists: 0,
            tools: TOOLS.into(),
        });
        Ok(Launched::at_pipes(input, output))
    }
}

/// A child, as the test plays it. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Child {
    heard: Lines<BufReader<DuplexStream>>,
    out: DuplexStream,
    /// How often it was asked for its tools.
    pub(crate) lists: usize,
    /// What it says then.
    pub(crate) tools: String,
}

impl Child {
    /// The next line, lists of its tools apart; `None`: its input was closed.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let line = self.heard.next_line().await.unwrap()?;
            match own_list_id(&line) {
                Some(id) => {
                    self.lists += 1;
                    let tools = self.tools.replace('\n', " ");
                    self.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{tools}}}}}"#)).await;
                }
                None => return Some(line),
            }
        }
    }

    pub(crate) async fn heard(&mut self) -> String {
        self.next().await.expect("another line")
    }

    pub(crate) async fn say(&mut self, line: &str) {
        self.out.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
}

pub(crate) fn id_of(line: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    message["id"].to_string()
}

fn own_list_id(line: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let id = message.get("id")?.as_str()?;
    // Of a child of many clients our own requests have other ids as well; those of the tests say that they are theirs.
    let is_ours = id.starts_with("holdpoint-") || message["params"]["_meta"]["test"].is_null();
    (message["method"] == "tools/list" && is_ours).then(|| message["id"].to_string())
}

pub(crate) struct Family {
    pub(crate) house: House,
    pub(crate) proxy: HttpProxy,
    births: Arc<Births>,
    born: tokio::sync::Mutex<mpsc::Receiver<Child>>,
}

impl Family {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ChildLimits)) -> Self {
        let house = House::new();
        let (sender, born) = mpsc::channel(64);
        let births = Arc::new(Births { born: sender, fail: AtomicBool::new(false) });
        let mut limits = ChildLimits::default();
        change(&mut limits);
        let server = ServerAddress::Command { launch: Arc::clone(&births) as _, limits };
        let options = HttpOptions::new(house.guard.clone(), server, TaskId::new("process"));
        let proxy = HttpProxy::new(options).unwrap();
        Self { house, proxy, births, born: tokio::sync::Mutex::new(born) }
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.births.fail.store(fails, Ordering::Relaxed);
    }

    /// The child that was started next.
    pub(crate) async fn child(&self) -> Child {
        self.born.lock().await.recv().await.unwrap()
    }

    pub(crate) async fn is_childless(&self) -> bool {
        self.born.lock().await.try_recv().is_err()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<ProxyBody> {
        let mut request = Request::builder().method(method).uri("http://localhost/servers/files/mcp");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.proxy.serve(request.body(Full::new(body.into())).unwrap(), House::caller()).await
    }

    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<ProxyBody> {
        let usual = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        self.send(Method::POST, &[&usual, headers].concat(), body).await
    }

    /// A message of a session.
    pub(crate) async fn within(&self, session: &str, body: impl Into<Bytes>) -> Response<ProxyBody> {
        self.post(&[("mcp-session-id", session)], body).await
    }

    /// A request of the stateless era.
    pub(crate) async fn ask(&self, id: &str, method: &str, params: &str) -> Response<ProxyBody> {
        self.post(
            &[("mcp-method", method), ("mcp-protocol-version", "2026-07-28")],
            stateless(id, method, params),
        )
        .await
    }

    /// A session and its child.
    pub(crate) async fn session(&self) -> (String, Child) {
        let (answer, child) = tokio::join!(self.post(&[], INITIALIZE), async {
            let mut child = self.child().await;
            assert_eq!(child.heard().await, INITIALIZE);
            child.say(INITIALIZED).await;
            child
        });
        assert_eq!(answer.status(), 200);
        let id = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        assert_eq!(text(answer).await, INITIALIZED);
        (id, child)
    }
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
pub(crate) const INITIALIZED: &str =
    r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;

pub(crate) const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;

/// `params` are further members, each followed by a comma.
pub(crate) fn stateless(id: &str, method: &str, params: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}"_meta":{{"test":1,{META}}}}}}}"#
    )
}

pub(crate) async fn text(response: Response<ProxyBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// A stream, event by event.
pub(crate) struct Stream(ProxyBody);

impl Stream {
    pub(crate) fn new(response: Response<ProxyBody>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body())
    }

    /// The next message; `None`: the stream ended, well or badly.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let frame = self.0.frame().await?.ok()?;
            let text = String::from_utf8(frame.into_data().unwrap().into()).unwrap();
            if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
                return Some(data.to_owned());
            }
            assert!(text.starts_with(':'), "{text}");
        }
    }

    pub(crate) async fn message(&mut self) -> String {
        self.next().await.expect("another message")
    }
}
