//! A bridge over a Gate on a script, and a target that counts.

use bytes::Bytes;
use holdpoint_api::{ApiKey, webhook::WebhookSecret};
use holdpoint_bridge::{
    Agent, Bridge, BridgeCaller, BridgeOptions, BridgeParts, EventRefused, Events, Target,
};
use holdpoint_core::{
    Ask, CallerWords, EntryName, Gate, GateParts, HoldLimits, Owner, Plan, PlanError, Policy, PolicyRevision,
    Principal, Secrets, ServerName, Standing, StillThere, TaskId, Tokens, ToolCall,
};
use holdpoint_testkit::{ManualClock, MemoryJournal, MemoryRecorder, ScriptedApprover};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json, value::RawValue};
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const AGENT_KEY: &str = "sg_an-agents-key-for-tests";

pub(crate) fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).unwrap()
}

/// Everything is asked about but `open` and `closed`.
#[derive(Debug)]
pub(crate) struct TestPolicy;

impl Policy for TestPolicy {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let entry = EntryName::new("entry");
        match call.tool.as_str() {
            "open" => return Ok(Plan::Pass(entry)),
            "closed" => return Ok(Plan::Deny(entry)),
            _ => {}
        }
        let words = CallerWords::of(call).unwrap_or_default();
        let payload = call.arguments.raw().map_or("{}".to_owned(), ToString::to_string);
        Ok(Plan::Gate(Box::new(Ask {
            entry,
            workflow_name: words.workflow_name.unwrap_or_else(|| "House".into()),
            task_label: words.task_label.unwrap_or_else(|| "label".into()),
            tool_name: call.tool.as_str().into(),
            subject: words.subject.unwrap_or_else(|| "subject".into()),
            preview: words.preview,
            risk_level: words.risk_level,
            summary: words.summary,
            images: words.images,
            payload: RawValue::from_string(payload).unwrap(),
            tokens: Tokens::Required,
            patience: None,
            effect: None,
            secrets: Secrets::default(),
        })))
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("one")
    }
}

/// Takes events, and counts them.
#[derive(Debug, Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<(String, String)>>);

#[async_trait::async_trait]
impl Events for Heard {
    async fn post(&self, task: &TaskId, body: Bytes) -> Result<(), EventRefused> {
        let body = String::from_utf8(body.to_vec()).unwrap();
        if body.contains("refuse me") {
            return Err(EventRefused { status: Some(400) });
        }
        self.0.lock().unwrap().push((task.to_string(), body));
        Ok(())
    }
}

pub(crate) struct House {
    pub(crate) approver: Arc<ScriptedApprover>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) bridge: Bridge,
    pub(crate) callers: Arc<KnownCallers>,
    options: BridgeOptions,
}

/// Everybody is known until told otherwise.
#[derive(Debug, Default)]
pub(crate) struct KnownCallers(Mutex<Vec<Principal>>);

impl KnownCallers {
    pub(crate) fn revoke(&self, who: &str) {
        self.0.lock().unwrap().push(Principal::new(who));
    }
}

#[async_trait::async_trait]
impl Standing for KnownCallers {
    async fn is_still(&self, principal: &Principal) -> StillThere {
        if self.0.lock().unwrap().contains(principal) { StillThere::No } else { StillThere::Yes }
    }
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(BridgeOptions::default())
    }

    pub(crate) fn with(options: BridgeOptions) -> Self {
        let approver = Arc::new(ScriptedApprover::new());
        let journal = Arc::new(MemoryJournal::new());
        let clock = Arc::new(ManualClock::new());
        Self::wire("one", approver, journal, clock, Arc::default(), options)
    }

    pub(crate) fn targeting(target: Target) -> Self {
        let targets = HashMap::from([(ServerName::new("crm"), Arc::new(target))]);
        Self::with(BridgeOptions { targets, ..BridgeOptions::default() })
    }

    pub(crate) fn options(&self) -> BridgeOptions {
        self.options.clone()
    }

    /// Another process with the same journal and the same Gate.
    pub(crate) fn again(&self, owner: &str) -> Self {
        self.again_with(owner, self.options.clone())
    }

    pub(crate) fn again_with(&self, owner: &str, options: BridgeOptions) -> Self {
        let (approver, journal) = (Arc::clone(&self.approver), Arc::clone(&self.journal));
        Self::wire(owner, approver, journal, Arc::clone(&self.clock), Arc::clone(&self.heard), options)
    }

    fn wire(
        owner: &str,
        approver: Arc<ScriptedApprover>,
        journal: Arc<MemoryJournal>,
        clock: Arc<ManualClock>,
        heard: Arc<Heard>,
        options: BridgeOptions,
    ) -> Self {
        let callers = Arc::new(KnownCallers::default());
        let owner = Owner(owner.into());
        let gate = Arc::new(Gate::new(GateParts {
            policy: Arc::new(TestPolicy),
            approver: approver.clone(),
            journal: journal.clone(),
            recorder: Arc::new(MemoryRecorder::default()),
            clock: clock.clone(),
            owner: owner.clone(),
            limits: HoldLimits {
                patience: Duration::from_mins(15),
                held_max: 1_000,
                result_bytes_max: 1024 * 1024,
                result_kept: Duration::from_hours(24),
            },
        }));
        let bridge = Bridge::new(BridgeParts {
            gate: Arc::clone(&gate),
            journal: journal.clone(),
            clock: clock.clone(),
            owner,
            standing: Some(callers.clone()),
            agent: Some(Agent { key: ApiKey::foreign(AGENT_KEY).unwrap(), events: heard.clone() }),
            key: [7; 32],
            options: options.clone(),
        });
        Self { approver, journal, clock, heard, gate, bridge, callers, options }
    }

    /// The process ends.
    pub(crate) fn dies(&self, owner: &str) {
        self.gate.close();
        self.bridge.stop();
        self.journal.bury(owner);
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Said {
        self.send_as("ann", request).await
    }

    pub(crate) async fn send_as(&self, who: &str, request: Request<Full<Bytes>>) -> Said {
        let caller = BridgeCaller::standing(Principal::new(who));
        Said::of(self.bridge.serve(request, caller).await).await
    }

    /// Asks with a key, in JSON.
    pub(crate) async fn ask(&self, key: &str, query: &str, body: Value) -> Said {
        self.send(ask(key, query, &body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        self.send(request(Method::GET, path)).await
    }
}

pub(crate) fn request(method: Method, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::default()).unwrap()
}

pub(crate) fn ask(key: &str, query: &str, body: &Value) -> Request<Full<Bytes>> {
    let uri = format!("/v1/decisions?{query}");
    json_request(&uri, body).header_of("idempotency-key", key)
}

pub(crate) fn json_request(uri: &str, body: &Value) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_string()));
    let request = Request::builder().method(Method::POST).uri(uri).header("content-type", "application/json");
    request.body(body).unwrap()
}

pub(crate) trait With: Sized {
    fn header_of(self, name: &'static str, value: &str) -> Self;
}

impl With for Request<Full<Bytes>> {
    fn header_of(mut self, name: &'static str, value: &str) -> Self {
        self.headers_mut().append(name, value.parse().unwrap());
        self
    }
}

/// A response, read.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Said {
    async fn of(response: Response<Full<Bytes>>) -> Self {
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status: parts.status, headers: parts.headers, text, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, header and the two words of the body, which have to agree.
    pub(crate) fn words(&self) -> (u16, &str, &str) {
        let decision = self.body["decision"].as_str().unwrap_or_default();
        assert_eq!(self.header("holdpoint-decision"), decision, "{}", self.text);
        (self.status.as_u16(), decision, self.body["status"].as_str().unwrap_or_default())
    }

    pub(crate) fn location(&self) -> String {
        self.header("location").to_owned()
    }
}

/// What a target or receiver heard.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A real HTTP server on loopback, which answers by a script and remembers.
pub(crate) struct Stub {
    pub(crate) address: String,
    heard: watch::Sender<Vec<Arrived>>,
    script: Arc<Mutex<VecDeque<Answer>>>,
}

/// How a stub answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16, &'static str, String),
    Redirect(String),
    /// The connection breaks off.
    Nothing,
    /// No answer, ever.
    Hang,
}

impl Stub {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = watch::Sender::new(Vec::new());
        let script: Arc<Mutex<VecDeque<Answer>>> = Arc::default();
        let (hear, scripted) = (heard.clone(), Arc::clone(&script));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (hear, scripted) = (hear.clone(), Arc::clone(&scripted));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (hear, scripted) = (hear.clone(), Arc::clone(&scripted));
                    async move { answer(request, &hear, &scripted).await }
                });
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, heard, script }
    }

    pub(crate) fn then(&self, answer: Answer) {
        self.script.lock().unwrap().push_back(answer);
    }

    pub(crate) fn heard(&self) -> Vec<Arrived> {
        self.heard.borrow().clone()
    }

    pub(crate) async fn until_heard(&self, count: usize) -> Vec<Arrived> {
        let mut heard = self.heard.subscribe();
        heard.wait_for(|heard| heard.len() >= count).await.unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    heard: &watch::Sender<Vec<Arrived>>,
    script: &Mutex<VecDeque<Answer>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let arrived = Arrived { method: parts.method, uri: parts.uri.to_string(), headers: parts.headers, body };
    let next = script.lock().unwrap().pop_front();
    heard.send_modify(|heard| heard.push(arrived));
    match next {
        None => {
            let response = Response::builder().header("content-type", "application/json");
            Ok(response.body(Full::new(Bytes::from(json!({ "done": true }).to_string()))).unwrap())
        }
        Some(Answer::Status(status, kind, body)) => {
            let response = Response::builder().status(status).header("content-type", kind);
            Ok(response.body(Full::new(Bytes::from(body))).unwrap())
        }
        Some(Answer::Redirect(to)) => {
            Ok(Response::builder().status(307).header("location", to).body(Full::default()).unwrap())
        }
        Some(Answer::Nothing) => Err(std::io::Error::other("broken off")),
        Some(Answer::Hang) => {
            std::future::pending::<Infallible>().await;
            unreachable!()
        }
    }
}
