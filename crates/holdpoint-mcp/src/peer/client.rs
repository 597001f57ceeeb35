use super::http_transport::HttpTransport;
use crate::stdio::{ChildCommand, ServerProcess, StdioError};
use http::{HeaderMap, Uri};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt as _,
    model::{ClientConfig, ClientRequest, CustomRequest, Implementation, ProgressNotificationParam},
    service::{NotificationContext, RunningService},
    transport::IntoTransport,
};
use serde_json::{Map, Value, json};
use std::{fmt, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

const PAGES_MAX: usize = 1_000;
const GRACE: Duration = Duration::from_secs(5);

/// Talking to a server failed.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Its command cannot be started.
    #[error(transparent)]
    Start(#[from] StdioError),
    /// It cannot be reached at its URL.
    #[error("the server's URL cannot be used")]
    Url(#[from] crate::ServerAddressError),
    /// The handshake failed.
    #[error("the server did not complete the handshake")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A request failed.
    #[error("the server did not answer `{method}`")]
    Request {
        /// Which.
        method: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server lists more pages than anybody reads.
    #[error("the server lists too many tools")]
    TooManyTools,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOutcome {
    /// The text of the answer.
    pub text: String,
    /// Whether the answer says that the call failed.
    pub is_error: bool,
    /// What the gate says of it, if it was the gate that answered.
    pub decision: Option<Value>,
    /// The whole result.
    pub result: Value,
}

/// A client of one server.
pub struct Client {
    service: RunningService<RoleClient, Listener>,
    child: Option<ServerProcess>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("child", &self.child).finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a server and shakes hands. What it says of its progress goes to `told`.
    ///
    /// # Errors
    /// The command cannot be started, or what it starts is no MCP server.
    pub async fn over_stdio(
        command: &ChildCommand,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Self, PeerError> {
        let (child, input, output) = command.start().map_err(|source| StdioError::Start {
            program: command.program.to_string_lossy().into_owned(),
            source,
        })?;
        let service = shake_hands((output, input), told).await?;
        Ok(Self { service, child: Some(child) })
    }

    /// Shakes hands with a server at a URL, sending `headers` with every request.
    ///
    /// # Errors
    /// The URL is none, or nobody answers there.
    pub async fn over_http(
        url: Uri,
        headers: HeaderMap,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Self, PeerError> {
        let service = shake_hands(HttpTransport::new(url, headers)?, told).await?;
        Ok(Self { service, child: None })
    }

    /// Shakes hands with a server at the other end of a pipe.
    ///
    /// # Errors
    /// It does not shake hands.
    pub async fn over_pipe(
        output: impl AsyncRead + Send + Unpin + 'static,
        input: impl AsyncWrite + Send + Unpin + 'static,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Self, PeerError> {
        Ok(Self { service: shake_hands((output, input), told).await?, child: None })
    }

    /// The definitions of all tools.
    ///
    /// # Errors
    /// The server does not list them.
    pub async fn tools(&self) -> Result<Vec<Value>, PeerError> {
        let mut tools = Vec::new();
        let mut cursor = None::<String>;
        for _ in 0..PAGES_MAX {
            let params = cursor.take().map(|cursor| json!({ "cursor": cursor }));
            let mut page = self.request("tools/list", params).await?;
            if let Some(Value::Array(listed)) = page.get_mut("tools").map(Value::take) {
                tools.extend(listed);
            }
            cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(PeerError::TooManyTools)
    }

    /// Calls a tool, once.
    ///
    /// # Errors
    /// There is no result; a refusal is one.
    pub async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<CallOutcome, PeerError> {
        let params = json!({ "name": tool, "arguments": arguments });
        let result = self.request("tools/call", Some(params)).await?;
        let blocks = result.get("content").and_then(Value::as_array).into_iter().flatten();
        let texts: Vec<&str> = blocks.filter_map(|block| block.get("text")?.as_str()).collect();
        Ok(CallOutcome {
            text: texts.join("\n"),
            is_error: result.get("isError").and_then(Value::as_bool).unwrap_or(false),
            decision: result.pointer("/_meta/dev.holdpoint~1decision").cloned(),
            result,
        })
    }

    /// Says goodbye, and ends the server if it was started here.
    pub async fn close(self) {
        let _already_over = self.service.cancel().await;
        if let Some(child) = self.child {
            let _status = child.stop(GRACE, GRACE).await;
        }
    }

    /// A raw request: rmcp's own calls send again by themselves when a server asks for more.
    async fn request(&self, method: &'static str, params: Option<Value>) -> Result<Value, PeerError> {
        let request = ClientRequest::CustomRequest(CustomRequest::new(method, params));
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| PeerError::Request { method, source };
        let answer = self.service.send_request(request).await.map_err(|error| failed(Box::new(error)))?;
        serde_json::to_value(answer).map_err(|error| failed(Box::new(error)))
    }
}

async fn shake_hands<T, E, A>(
    transport: T,
    told: Option<mpsc::Sender<String>>,
) -> Result<RunningService<RoleClient, Listener>, PeerError>
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let listener = Listener { told };
    listener.serve(transport).await.map_err(|error| PeerError::Handshake(Box::new(error)))
}

/// Hears what the server says of its progress.
struct Listener {
    told: Option<mpsc::Sender<String>>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("holdpoint", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        if let (Some(told), Some(message)) = (&self.told, progress.message) {
            // Progress that nobody reads in time is old news.
            let _full = told.try_send(message);
        }
    }
}
