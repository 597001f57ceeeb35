//! A Gate with its database in a temporary folder, a clock that tests move, and calls to its router.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use holdpoint_api::ApiKey;
use holdpoint_server::{AdminToken, Clock, DecideCommand, GateServer, Options, router};
use holdpoint_store::{DecideOutcome, ThreadId, VerdictKind};
use holdpoint_store_sqlite::SqliteStore;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const HOST: &str = "127.0.0.1:7878";
pub(crate) const ADMIN: &str = "admin-token-of-at-least-32-characters";

#[derive(Debug)]
pub(crate) struct ManualClock(Mutex<Timestamp>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl ManualClock {
    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }
}

pub(crate) struct World {
    pub(crate) gate: Arc<GateServer>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
    pub(crate) shutdown: CancellationToken,
    pub(crate) store: Arc<SqliteStore>,
    _folder: TempDir,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn cookie(&self) -> String {
        let set = self.header("set-cookie").unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

/// What a call is made of, with the usual host.
pub(crate) struct Call(http::request::Builder, Body);

pub(crate) fn call(method: Method, path: &str) -> Call {
    Call(Request::builder().method(method).uri(path), Body::empty())
}

pub(crate) fn get(path: &str) -> Call {
    call(Method::GET, path)
}

pub(crate) fn post(path: &str) -> Call {
    call(Method::POST, path)
}

impl Call {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value), self.1)
    }

    pub(crate) fn key(self, key: &ApiKey) -> Self {
        self.header("authorization", &format!("Bearer {}", key.expose()))
    }

    pub(crate) fn admin(self) -> Self {
        self.header("authorization", &format!("Bearer {ADMIN}"))
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string())
    }

    pub(crate) fn form(self, body: &str) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded").bytes(body.to_owned())
    }

    pub(crate) fn bytes(self, body: impl Into<Body>) -> Self {
        Self(self.0, body.into())
    }

    pub(crate) fn request(self) -> Request<Body> {
        let mut request = self.0.body(self.1).unwrap();
        request.headers_mut().entry("host").or_insert(HOST.parse().unwrap());
        request
    }
}

pub(crate) fn refund(amount: u64) -> Value {
    json!({
        "workflow_name": "Customer Support",
        "task_label": "Refund request - Order #8821",
        "tool_name": "issue_refund",
        "subject": format!("Issue refund of ${amount} to customer cus_99"),
        "preview": "Item never arrived per carrier.",
        "risk_level": "high",
        "summary": ["Order placed 14 days ago via web", "No tracking movement after day 2"],
        "payload": {"amount": amount, "currency": "usd", "customer_id": "cus_99"},
    })
}

pub(crate) fn declaration() -> Value {
    json!({
        "agents": [{"name": "support"}, {"name": "plain", "signed_tokens": false}],
        "tools": [{
            "name": "issue_refund",
            "default_action": "allow",
            "rules": [
                {"type": "upper_limit", "parameter": "amount", "value": 250, "action": "review"},
                {"type": "upper_limit", "parameter": "amount", "value": 1000, "action": "escalate"},
                {"type": "upper_limit", "parameter": "amount", "value": 5000, "action": "reject"},
            ],
        }],
    })
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("gate.db")).await.unwrap());
        let clock = Arc::new(ManualClock(Mutex::new("2026-11-22T20:00:00Z".parse().unwrap())));
        let mut options = Options::new(format!("http://{HOST}").parse().unwrap());
        options.admin_token = Some(AdminToken::parse(ADMIN).unwrap());
        change(&mut options);
        let shutdown = CancellationToken::new();
        let gate = GateServer::open(store.clone(), clock.clone(), options, shutdown.clone()).await.unwrap();
        Self { router: router(gate.clone()), gate, clock, shutdown, store, _folder: folder }
    }

    /// A Gate with the usual declaration, and the keys of its agents `support` and `plain`.
    pub(crate) async fn declared() -> (Self, ApiKey, ApiKey) {
        let world = Self::new().await;
        let mut keys = world.apply(&declaration()).await.into_iter();
        (world, keys.next().unwrap(), keys.next().unwrap())
    }

    pub(crate) async fn apply(&self, declaration: &Value) -> Vec<ApiKey> {
        let declaration = serde_json::from_str(&declaration.to_string()).unwrap();
        let applied = self.gate.apply(&declaration, "tests").await.unwrap();
        applied.keys.into_iter().map(|new| new.key).collect()
    }

    pub(crate) async fn send(&self, call: Call) -> Reply {
        send(self.router.clone(), call).await
    }

    pub(crate) async fn ask(&self, key: &ApiKey, task: &str, body: &Value) -> Reply {
        self.send(post(&format!("/api/agent/tasks/{task}/requests")).key(key).json(body)).await
    }

    /// A thread that waits.
    pub(crate) async fn open(&self, key: &ApiKey, task: &str) -> String {
        let reply = self.ask(key, task, &refund(500)).await.json();
        assert_eq!(reply["status"], "pending_review", "{reply}");
        reply["thread_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn poll(&self, key: &ApiKey, thread: &str) -> Value {
        self.send(get(&format!("/api/agent/decisions?thread_id={thread}")).key(key)).await.json()
    }

    pub(crate) async fn decide(&self, thread: &str, kind: VerdictKind, by: &str) -> DecideOutcome {
        let note = Some(format!("{by} says so"));
        let (thread_id, by) = (ThreadId::new(thread), by.to_owned());
        self.gate.decide(DecideCommand { thread_id, revision_id: None, kind, by, note }).await.unwrap()
    }

    /// An approved thread and the token of its first poll.
    pub(crate) async fn approved(&self, key: &ApiKey, task: &str) -> (String, String) {
        let thread = self.open(key, task).await;
        assert!(matches!(self.decide(&thread, VerdictKind::Approve, "anna").await, DecideOutcome::Won(_)));
        let answer = self.poll(key, &thread).await;
        (thread, answer["approval_token"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn validate(&self, key: &ApiKey, task: &str, token: &str) -> Reply {
        let body = json!({"task_id": task, "signature": token});
        self.send(post("/api/agent/approvals/validate").key(key).json(&body)).await
    }

    /// A session's cookie.
    pub(crate) async fn sign_in(&self) -> String {
        let link = self.gate.sign_in_link(None).await.unwrap();
        let token = link.url.split_once("token=").unwrap().1.to_owned();
        let reply = self.send(post("/sign-in").form(&format!("token={token}"))).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text());
        reply.cookie()
    }

    pub(crate) async fn page(&self, cookie: &str, path: &str) -> Reply {
        self.send(get(path).cookie(cookie)).await
    }
}

pub(crate) async fn send(router: Router, call: Call) -> Reply {
    let response = router.oneshot(call.request()).await.unwrap();
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}
