//! A client and a server on pipes, with the relay between them.

use crate::house::{House, TOOLS};
use holdpoint_core::TaskId;
use holdpoint_mcp::stdio::{ExitReason, StdioOptions, relay};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
};

pub(crate) struct Pipes {
    pub(crate) house: House,
    client: Option<DuplexStream>,
    client_lines: mpsc::UnboundedReceiver<String>,
    reading: JoinHandle<()>,
    server: Arc<tokio::sync::Mutex<Option<DuplexStream>>>,
    server_lines: mpsc::UnboundedReceiver<String>,
    /// What the server says of its tools; nothing: the test answers for it.
    pub(crate) tools: Arc<Mutex<String>>,
    /// How many bytes of a tool call the server's pipe takes before it breaks.
    pub(crate) budget: Arc<AtomicUsize>,
    pub(crate) relay: JoinHandle<ExitReason>,
}

impl Pipes {
    pub(crate) fn new() -> Self {
        Self::with(House::new(), |_| {})
    }

    pub(crate) fn with(house: House, change: impl FnOnce(&mut StdioOptions)) -> Self {
        let mut options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("process"));
        change(&mut options);
        let (client, client_in) = duplex(1 << 16);
        let (client_out, from_relay) = duplex(1 << 16);
        let (server_in, to_server) = duplex(1 << 16);
        let budget = Arc::new(AtomicUsize::new(usize::MAX));
        let server_in = Brittle { pipe: server_in, budget: Arc::clone(&budget), broken: false };
        let (server, server_out) = duplex(1 << 16);
        let relay = tokio::spawn(relay(options, (client_in, client_out), (server_out, server_in)));
        let tools = Arc::new(Mutex::new(TOOLS.replace('\n', "")));
        let server = Arc::new(tokio::sync::Mutex::new(Some(server)));
        let (for_client, client_lines) = mpsc::unbounded_channel();
        let reading = tokio::spawn(read_lines(from_relay, move |line| {
            let _test_over = for_client.send(line);
            std::future::ready(())
        }));
        let (for_server, server_lines) = mpsc::unbounded_channel();
        let (listed, answers) = (Arc::clone(&tools), Arc::clone(&server));
        tokio::spawn(read_lines(to_server, move |line| {
            let (tools, server, for_server) =
                (listed.lock().unwrap().clone(), Arc::clone(&answers), for_server.clone());
            async move {
                match own_list_id(&line).filter(|_| !tools.is_empty()) {
                    Some(id) => {
                        let answer =
                            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"tools\":{tools}}}}}\n");
                        if let Some(server) = &mut *server.lock().await {
                            server.write_all(answer.as_bytes()).await.unwrap();
                        }
                    }
                    None => drop(for_server.send(line)),
                }
            }
        }));
        Self {
            house,
            client: Some(client),
            client_lines,
            reading,
            server,
            server_lines,
            tools,
            budget,
            relay,
        }
    }

    /// The client says a line.
    pub(crate) async fn say(&mut self, line: &str) {
        self.say_raw(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn say_raw(&mut self, bytes: &[u8]) {
        self.client.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    /// The next line that the client gets.
    pub(crate) async fn heard(&mut self) -> String {
        let line = self.client_lines.recv().await.expect("the relay ended");
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// The server says a line.
    pub(crate) async fn answer(&self, line: &str) {
        self.answer_raw(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn answer_raw(&self, bytes: &[u8]) {
        self.server.lock().await.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    /// The next line that the server gets, lists of its tools apart.
    pub(crate) async fn seen(&mut self) -> String {
        let line = self.server_lines.recv().await.expect("the relay ended");
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// Nothing reached the server since the last look: what is sent now is what it sees next.
    pub(crate) async fn server_saw_nothing(&mut self) {
        let ping = r#"{"jsonrpc":"2.0","id":"probe","method":"ping"}"#;
        self.say(ping).await;
        assert_eq!(self.seen().await, ping);
    }

    /// The same for the client.
    pub(crate) async fn client_heard_nothing(&mut self) {
        let probe = r#"{"jsonrpc":"2.0","method":"notifications/probe"}"#;
        self.answer(probe).await;
        assert_eq!(self.heard().await, probe);
    }

    /// The client goes through the handshake.
    pub(crate) async fn initialize(&mut self, version: &str) {
        let ask = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}"}}}}"#
        );
        self.say(&ask).await;
        assert_eq!(self.seen().await, ask);
        let answer = format!(r#"{{"jsonrpc":"2.0","id":0,"result":{{"protocolVersion":"{version}"}}}}"#);
        self.answer(&answer).await;
        assert_eq!(self.heard().await, answer);
    }

    /// Nothing more reached the server until its input was closed.
    pub(crate) async fn server_saw_the_end(&mut self) {
        assert_eq!(self.server_lines.recv().await, None);
    }

    /// Its input is open, and nothing waits there.
    pub(crate) fn server_is_kept(&mut self) {
        assert_eq!(self.server_lines.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }

    pub(crate) fn close_client(&mut self) {
        self.client = None;
    }

    /// It reads nothing more either.
    pub(crate) async fn kill_client(&mut self) {
        self.client = None;
        self.reading.abort();
        while !self.reading.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn close_server(&mut self) {
        *self.server.lock().await = None;
    }
}

/// A pipe that breaks where the test says.
struct Brittle {
    pipe: DuplexStream,
    budget: Arc<AtomicUsize>,
    broken: bool,
}

impl AsyncWrite for Brittle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let budget = match self.budget.load(Ordering::Relaxed) {
            usize::MAX => usize::MAX,
            budget if bytes.windows(10).any(|bytes| bytes == b"tools/call") => budget,
            _ => usize::MAX,
        };
        let taken = bytes.get(..budget).filter(|_| budget < bytes.len());
        if self.broken || taken.is_some_and(<[u8]>::is_empty) {
            self.broken = true;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.broken = taken.is_some();
        Pin::new(&mut self.pipe).poll_write(context, taken.unwrap_or(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

async fn read_lines<F, W>(reader: DuplexStream, mut each: F)
where
    F: FnMut(String) -> W,
    W: Future<Output = ()>,
{
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await.unwrap() == 0 {
            return;
        }
        each(String::from_utf8(line).unwrap()).await;
    }
}

/// The id of a list that the proxy asks for itself.
fn own_list_id(line: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let id = message.get("id")?.as_str()?;
    (id.starts_with("holdpoint-") && message["method"] == "tools/list").then(|| message["id"].to_string())
}
