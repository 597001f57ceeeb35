//! What the tests of both directions between the eras have in common.

use crate::web::{Asked, Web, text};
use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc};

pub(crate) const MODERN: &str = "2026-07-28";
const SOON: Duration = Duration::from_secs(10);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("it took too long")
}

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

pub(crate) async fn json_of(response: Response<Incoming>) -> Value {
    parsed(&text(response).await)
}

/// A request without a handshake, with the headers that belong to it.
pub(crate) async fn modern(web: &Web, id: u64, method: &str, params: Value) -> Response<Incoming> {
    modern_as(web, "ann", &json!({ "elicitation": {}, "sampling": {}, "roots": {} }), id, method, params)
        .await
}

/// The same by somebody, who can do something.
pub(crate) async fn modern_as(
    web: &Web,
    principal: &str,
    capabilities: &Value,
    id: u64,
    method: &str,
    mut params: Value,
) -> Response<Incoming> {
    let meta = params.as_object_mut().unwrap().entry("_meta").or_insert_with(|| json!({}));
    meta["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "c", "version": "1" });
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).unwrap_or("").to_owned();
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    let mut headers =
        vec![("mcp-protocol-version", MODERN), ("mcp-method", method), ("x-test-principal", principal)];
    if matches!(method, "tools/call" | "prompts/get" | "resources/read") {
        headers.push(("mcp-name", &name));
    }
    web.post_with(&headers, body).await
}

/// A server with a handshake, which keeps house by itself and hands on what the tests are about.
pub(crate) struct Legacy {
    pub(crate) web: Arc<Web>,
    pub(crate) requests: Mutex<mpsc::Receiver<Asked>>,
    /// Notifications and answers.
    pub(crate) told: Mutex<mpsc::Receiver<Value>>,
    /// Its own streams, as they are opened.
    pub(crate) streams: Mutex<mpsc::Receiver<mpsc::Sender<Bytes>>>,
    /// How often each message of the house came.
    pub(crate) counts: Arc<Mutex<HashMap<String, u32>>>,
}

impl Legacy {
    pub(crate) fn new(web: Web) -> Self {
        let web = Arc::new(web);
        let (requests_in, requests) = mpsc::channel(64);
        let (told_in, told) = mpsc::channel(64);
        let (streams_in, streams) = mpsc::channel(64);
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let (server, counted) = (Arc::clone(&web), Arc::clone(&counts));
        tokio::spawn(async move {
            loop {
                let asked = server.asked().await;
                if asked.method == http::Method::GET {
                    streams_in.send(asked.stream()).await.unwrap();
                    continue;
                }
                let name = if asked.method == http::Method::DELETE {
                    "DELETE".to_owned()
                } else {
                    parsed(asked.text())["method"].as_str().unwrap_or("answer").to_owned()
                };
                let count = {
                    let mut counts = counted.lock().await;
                    let count = counts.entry(name.clone()).or_insert(0);
                    *count += 1;
                    *count
                };
                let message = if name == "DELETE" { Value::Null } else { parsed(asked.text()) };
                let id = message["id"].clone();
                match &*name {
                    "initialize" => {
                        let result = json!({
                            "protocolVersion": "2025-06-18",
                            "capabilities": {
                                "tools": { "listChanged": true },
                                "resources": { "subscribe": true, "listChanged": true },
                                "logging": {},
                                "tasks": { "list": {} },
                            },
                            "serverInfo": { "name": "old", "version": "1.10" },
                            "instructions": "be kind",
                        });
                        let session = format!("s-{count}");
                        let headers = [("content-type", "application/json"), ("mcp-session-id", &*session)];
                        asked.answer(
                            200,
                            &headers,
                            json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string(),
                        );
                    }
                    "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                        asked.json(json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string());
                    }
                    "tools/list" if server.tools.lock().unwrap().as_str() != "by hand" => {
                        let tools = parsed(&server.tools.lock().unwrap());
                        asked.json(
                            json!({ "jsonrpc": "2.0", "id": id, "result": { "tools": tools } }).to_string(),
                        );
                    }
                    "DELETE" | "notifications/initialized" => asked.answer(202, &[], ""),
                    name if name == "answer" || name.starts_with("notifications/") => {
                        asked.answer(202, &[], "");
                        told_in.send(message).await.unwrap();
                    }
                    _ => requests_in.send(asked).await.unwrap(),
                }
            }
        });
        Self {
            web,
            requests: Mutex::new(requests),
            told: Mutex::new(told),
            streams: Mutex::new(streams),
            counts,
        }
    }

    /// The next request that is not of the house.
    pub(crate) async fn request(&self) -> Asked {
        soon(self.requests.lock().await.recv()).await.unwrap()
    }

    pub(crate) async fn told(&self) -> Value {
        soon(self.told.lock().await.recv()).await.unwrap()
    }

    pub(crate) async fn stream(&self) -> mpsc::Sender<Bytes> {
        soon(self.streams.lock().await.recv()).await.unwrap()
    }

    pub(crate) async fn count(&self, method: &str) -> u32 {
        self.counts.lock().await.get(method).copied().unwrap_or(0)
    }
}

pub(crate) fn event(message: &Value) -> Bytes {
    format!("event: message\ndata: {message}\n\n").into()
}
