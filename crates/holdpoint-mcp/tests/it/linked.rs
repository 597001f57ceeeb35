//! A client on a pipe, a server on a socket, and the relay between them.

use crate::{
    house::{House, TOOLS},
    web::{Asked, serve_tools, server_at},
};
use holdpoint_core::TaskId;
use holdpoint_mcp::{
    Era, ServerAddress,
    stdio::{ExitReason, StdioError, StdioOptions, run_at},
};
use http::Method;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, duplex},
    sync::mpsc,
    task::JoinHandle,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const REVISION: &str = "2025-11-25";

pub(crate) struct Linked {
    pub(crate) house: House,
    client: Option<DuplexStream>,
    heard: Lines<BufReader<DuplexStream>>,
    asked: mpsc::Receiver<Asked>,
    /// What the server says of its tools to us.
    pub(crate) tools: Arc<Mutex<String>>,
    pub(crate) relay: JoinHandle<Result<ExitReason, StdioError>>,
}

impl Linked {
    pub(crate) async fn new() -> Self {
        Self::with(House::new(), |_, _| {}).await
    }

    pub(crate) async fn with(
        house: House,
        change: impl FnOnce(&mut StdioOptions, &mut ServerAddress),
    ) -> Self {
        let tools = Arc::new(Mutex::new(TOOLS.to_owned()));
        let (sender, asked) = mpsc::channel(2_000);
        let address = serve_tools(Arc::clone(&tools), sender).await;
        let mut server = server_at(&format!("http://{address}/mcp"));
        let mut options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("process"));
        change(&mut options, &mut server);
        let (client, client_in) = duplex(1 << 20);
        let (client_out, from_relay) = duplex(1 << 20);
        let relay = tokio::spawn(run_at(options, server, Era::Auto, client_in, client_out));
        let heard = BufReader::new(from_relay).lines();
        Self { house, client: Some(client), heard, asked, tools, relay }
    }

    /// After the handshake, with a session where `session` names one; the server has no stream of its own.
    pub(crate) async fn in_session(session: Option<&str>) -> Self {
        let mut linked = Self::new().await;
        linked.initialize(session).await;
        linked
    }

    pub(crate) async fn initialize(&mut self, session: Option<&str>) {
        let ask = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{REVISION}"}}}}"#
        );
        self.say(&ask).await;
        let asked = self.asked().await;
        assert_eq!(asked.text(), ask);
        assert!(!asked.headers.contains_key("mcp-session-id"));
        let answer = format!(r#"{{"jsonrpc":"2.0","id":0,"result":{{"protocolVersion":"{REVISION}"}}}}"#);
        let json = ("content-type", "application/json");
        match session {
            Some(session) => asked.answer(200, &[json, ("mcp-session-id", session)], answer.clone()),
            None => asked.json(answer.clone()),
        }
        assert_eq!(self.heard().await, answer);
        self.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        self.asked().await.answer(202, &[], "");
        let listening = self.asked().await;
        assert_eq!((&listening.method, listening.text()), (&Method::GET, ""));
        listening.answer(405, &[], "");
    }

    /// The client says a line.
    pub(crate) async fn say(&mut self, line: &str) {
        self.client.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line that the client gets.
    pub(crate) async fn heard(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.heard.next_line()).await.expect("a line in time");
        line.unwrap().expect("the relay ended")
    }

    /// The next request that the server gets, lists of its tools apart.
    pub(crate) async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(PATIENCE, self.asked.recv()).await;
        asked.expect("a request in time").expect("the server is up")
    }

    /// Nothing reached the server since the last look: what is sent now is what it sees next.
    pub(crate) async fn server_saw_nothing(&mut self) {
        let ping = r#"{"jsonrpc":"2.0","id":"probe","method":"ping"}"#;
        self.say(ping).await;
        let asked = self.asked().await;
        assert_eq!(asked.text(), ping);
        let answer = r#"{"jsonrpc":"2.0","id":"probe","result":{}}"#;
        asked.json(answer);
        assert_eq!(self.heard().await, answer);
    }

    pub(crate) fn close_client(&mut self) {
        self.client = None;
    }

    /// How the relay ended, and that it said nothing more.
    pub(crate) async fn ended(mut self) -> ExitReason {
        let ended = tokio::time::timeout(PATIENCE, &mut self.relay).await.expect("an end in time");
        assert_eq!(self.heard.next_line().await.unwrap(), None);
        ended.unwrap().unwrap()
    }
}
