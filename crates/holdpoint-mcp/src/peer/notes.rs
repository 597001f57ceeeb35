use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

const NAME_BYTES_MAX: usize = 64;
/// One line per refund.
const REFUNDS: &str = "refunds.jsonl";

/// A small tool server over a folder: reads, writes and deletes notes, and writes refunds down. For the demo and for
/// tests; what it does can be looked at afterwards. Runs until its input ends.
///
/// # Errors
/// The handshake fails.
pub async fn serve_notes(
    folder: &Path,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> io::Result<()> {
    let server = Notes { folder: folder.to_owned() };
    let running = server.serve((input, output)).await.map_err(io::Error::other)?;
    running.waiting().await.map(drop).map_err(io::Error::other)
}

#[derive(Clone, Debug)]
struct Notes {
    folder: PathBuf,
}

/// Why a tool did nothing, for the model.
type Problem = String;

impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::default();
        info.capabilities = ServerCapabilities::builder().enable_tools().build();
        info.server_info = Implementation::new("notes", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let done = match &*request.name {
            "read_note" => self.read(&arguments).await,
            "write_note" => self.write(&arguments).await,
            "delete_note" => self.delete(&arguments).await,
            "issue_refund" => self.refund(&arguments).await,
            other => return Err(ErrorData::invalid_params(format!("unknown tool: {other}"), None)),
        };
        let result = match done {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(problem) => CallToolResult::error(vec![ContentBlock::text(problem)]),
        };
        Ok(CallToolResponse::Complete(result))
    }
}

impl Notes {
    async fn read(&self, arguments: &Map<String, Value>) -> Result<String, Problem> {
        tokio::fs::read_to_string(self.note(arguments)?)
            .await
            .map_err(|error| format!("cannot read it: {error}"))
    }

    async fn write(&self, arguments: &Map<String, Value>) -> Result<String, Problem> {
        let text = text(arguments, "text")?;
        let note = self.note(arguments)?;
        tokio::fs::write(note, text).await.map_err(|error| format!("cannot write it: {error}"))?;
        Ok("written".into())
    }

    async fn delete(&self, arguments: &Map<String, Value>) -> Result<String, Problem> {
        let note = self.note(arguments)?;
        tokio::fs::remove_file(note).await.map_err(|error| format!("cannot delete it: {error}"))?;
        Ok("deleted".into())
    }

    async fn refund(&self, arguments: &Map<String, Value>) -> Result<String, Problem> {
        let order = text(arguments, "order_id")?;
        let line = format!("{}\n", Value::Object(arguments.clone()));
        let appended = async {
            let path = self.folder.join(REFUNDS);
            let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await?;
            file.write_all(line.as_bytes()).await?;
            file.flush().await
        };
        appended.await.map_err(|error| format!("cannot write it down: {error}"))?;
        Ok(format!("refunded order {order}"))
    }

    /// Names are words, so no name leads out of the folder.
    fn note(&self, arguments: &Map<String, Value>) -> Result<PathBuf, Problem> {
        let name = text(arguments, "name")?;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_word) {
            return Err("`name` is up to 64 letters, digits, `-` and `_`".into());
        }
        Ok(self.folder.join(format!("{name}.txt")))
    }
}

fn text<'a>(arguments: &'a Map<String, Value>, key: &str) -> Result<&'a str, Problem> {
    arguments.get(key).and_then(Value::as_str).ok_or_else(|| format!("`{key}` is missing"))
}

fn tools() -> Vec<Tool> {
    let word = json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" });
    vec![
        tool("read_note", "Reads a note.", json!({ "name": word }), &["name"]),
        tool(
            "write_note",
            "Writes a note, over what was in it.",
            json!({ "name": word, "text": { "type": "string" } }),
            &["name", "text"],
        ),
        tool("delete_note", "Deletes a note for good.", json!({ "name": word }), &["name"]),
        tool(
            "issue_refund",
            "Pays money back to a customer.",
            json!({
                "order_id": { "type": "string" },
                "amount": { "type": "number", "exclusiveMinimum": 0 },
                "customer_id": { "type": "string" },
                "reason": { "type": "string" },
            }),
            &["order_id", "amount"],
        ),
    ]
}

fn tool(name: &'static str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    let schema = Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), properties),
        ("required".to_owned(), json!(required)),
        ("additionalProperties".to_owned(), json!(false)),
    ]);
    Tool::new(name, description, schema)
}
