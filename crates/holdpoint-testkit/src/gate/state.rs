//! What a Gate remembers, and its honest answers.

use super::{Decision, Endpoint, Initial, Recorded, Script, ScriptedGate, feed::Feed};
use holdpoint_api::{EventBody, EventTarget, Limits, RequestBody, RevisionPayload, TaskId, paths};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
pub(super) struct State {
    pub(super) long_poll_seconds: Option<u64>,
    pub(super) poll_after_seconds: Option<u64>,
    pub(super) initial: Initial,
    pub(super) issues_tokens: bool,
    pub(super) names: Names,
    pub(super) keeps_feedback: bool,
    pub(super) feed: Feed,
    pub(super) scripts: HashMap<Endpoint, VecDeque<Script>>,
    pub(super) scripts_for_all: HashMap<Endpoint, Script>,
    pub(super) recorded: Vec<Recorded>,
    pub(super) connections: usize,
    pub(super) kept_waiting: usize,
    pub(super) threads: Vec<Thread>,
    answered: HashMap<String, (Vec<u8>, Answer)>,
    tokens: HashMap<String, Token>,
}

/// Which additive fields answers carry.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) digests: bool,
    pub(super) revisions: bool,
    pub(super) states: bool,
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) id: String,
    task: String,
    payload_digest: String,
    decision: Option<Decision>,
    /// What a reviewer wants changed.
    feedback: Option<String>,
    /// Ids of all proposals with the bytes they came in, the first one without.
    revisions: Vec<(String, Vec<u8>)>,
}

/// What an honest Gate calls the proposal that opened a thread.
const FIRST_REVISION: &str = "initial";

impl Thread {
    fn new(id: String, task: &str, payload_digest: String) -> Self {
        Self {
            id,
            task: task.to_owned(),
            payload_digest,
            decision: None,
            feedback: None,
            revisions: vec![(FIRST_REVISION.to_owned(), Vec::new())],
        }
    }

    fn is_undecided(&self) -> bool {
        self.decision.is_none() && self.feedback.is_none()
    }

    /// How often it was revised.
    pub(super) fn revised(&self) -> usize {
        self.revisions.len() - 1
    }

    fn revision(&self) -> &str {
        self.revisions.last().map_or(FIRST_REVISION, |(id, _)| id)
    }
}

#[derive(Debug)]
struct Token {
    task: String,
    thread: String,
    state: TokenState,
}

#[derive(Debug, PartialEq, Eq)]
enum TokenState {
    Good,
    Revoked,
    Used,
}

/// Status and body; a text stands for plain text, `null` for nothing.
#[derive(Clone, Debug)]
pub(super) struct Answer(pub(super) u16, pub(super) Value);

impl Default for State {
    fn default() -> Self {
        Self {
            long_poll_seconds: None,
            poll_after_seconds: None,
            initial: Initial::Review,
            issues_tokens: true,
            names: Names { digests: true, revisions: true, states: true },
            keeps_feedback: false,
            feed: Feed::default(),
            scripts: HashMap::new(),
            scripts_for_all: HashMap::new(),
            recorded: Vec::new(),
            connections: 0,
            kept_waiting: 0,
            threads: Vec::new(),
            answered: HashMap::new(),
            tokens: HashMap::new(),
        }
    }
}

impl State {
    pub(super) fn next_script(&mut self, endpoint: Option<Endpoint>) -> Option<Script> {
        let endpoint = endpoint?;
        let queued = self.scripts.get_mut(&endpoint).and_then(VecDeque::pop_front);
        queued.or_else(|| self.scripts_for_all.get(&endpoint).cloned())
    }

    /// The first decision is final.
    pub(super) fn decide(&mut self, id: &str, decision: Decision) {
        self.feed.tell(id);
        let thread = self.thread_mut(id);
        match decision {
            Decision::RequestChanges(words) if thread.decision.is_none() => thread.feedback = Some(words),
            Decision::RequestChanges(_) => {}
            Decision::Approve | Decision::Reject(_) | Decision::Expire => {
                thread.decision.get_or_insert(decision);
            }
        }
    }

    pub(super) fn thread(&self, id: &str) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.id == id)
    }

    fn thread_mut(&mut self, id: &str) -> &mut Thread {
        self.threads.iter_mut().find(|thread| thread.id == id).expect("a thread that exists")
    }

    pub(super) fn answer(&mut self, request: &Recorded) -> Answer {
        if request.header("authorization") != Some(&format!("Bearer {}", ScriptedGate::KEY)) {
            return Answer(401, json!("missing or invalid API key"));
        }
        match request.endpoint {
            Some(Endpoint::Events) => self.event(request),
            Some(Endpoint::Requests) => self.request(request),
            Some(Endpoint::Decisions) => self.decision(request),
            Some(Endpoint::Changes) => self.feed.answer(&parameters(&request.target)),
            Some(Endpoint::Validate) => self.validate(request),
            None => Answer(404, json!("not found")),
        }
    }

    fn event(&mut self, request: &Recorded) -> Answer {
        let task = task_of(&request.target);
        let event = EventBody::parse(&request.body, &Limits::DEFAULT);
        let (Ok(event), Ok(task)) = (event, TaskId::parse(&task)) else {
            return Answer(400, json!("not an event"));
        };
        match event.target(&task) {
            EventTarget::Timeline => Answer(201, Value::Null),
            EventTarget::Misdirected => Answer(400, json!("another task")),
            EventTarget::Revision { thread_id } => self.revise(&event, &task, thread_id, &request.body),
        }
    }

    fn revise(&mut self, event: &EventBody, task: &TaskId, thread: &str, body: &[u8]) -> Answer {
        let payload = event.payload.as_deref().map(|text| RevisionPayload::parse(text, &Limits::DEFAULT));
        let Some(Ok(RevisionPayload { revision })) = payload else {
            return Answer(400, json!("not a revision"));
        };
        let (initial, keeps_feedback) = (self.initial, self.keeps_feedback);
        let known = |known: &&mut Thread| known.id == thread && known.task == task.as_str();
        let Some(thread) = self.threads.iter_mut().find(known) else {
            return Answer(404, json!("no such thread"));
        };
        if let Some((_, earlier)) = thread.revisions.iter().find(|(id, _)| *id == revision.revision_id) {
            return if earlier == body { Answer(201, Value::Null) } else { Answer(400, json!("other body")) };
        }
        if thread.decision.is_some() {
            return Answer(400, json!("the thread is closed"));
        }
        thread.payload_digest = revision.payload_digest();
        thread.revisions.push((revision.revision_id, body.to_vec()));
        if !keeps_feedback {
            thread.feedback = None;
        }
        if initial == Initial::Reject {
            thread.decision = Some(Decision::Reject("a rule refuses this".to_owned()));
        }
        Answer(201, Value::Null)
    }

    fn request(&mut self, request: &Recorded) -> Answer {
        let key = request.header("idempotency-key").map(str::to_owned);
        if let Some((body, answer)) = key.as_ref().and_then(|key| self.answered.get(key)) {
            return if *body == request.body { answer.clone() } else { Answer(400, json!("other body")) };
        }
        let answer = match RequestBody::parse(&request.body, &Limits::DEFAULT) {
            Ok(body) => self.judge(&task_of(&request.target), body.payload_digest()),
            Err(error) => Answer(400, json!(error.to_string())),
        };
        if let Some(key) = key {
            self.answered.insert(key, (request.body.clone(), answer.clone()));
        }
        answer
    }

    fn judge(&mut self, task: &str, payload_digest: String) -> Answer {
        let mut fields = Map::new();
        fields.insert("task_id".to_owned(), json!(task));
        if self.names.digests {
            fields.insert("payload_digest".to_owned(), json!(payload_digest));
        }
        let status = match self.initial {
            Initial::Allow => "allow",
            Initial::Reject => {
                fields.insert("message".to_owned(), json!("a rule refuses this"));
                "reject"
            }
            Initial::Review => {
                let id = format!("THR-{:08X}", self.threads.len() + 1);
                fields.insert("thread_id".to_owned(), json!(id));
                fields.insert("recommended_poll_after_seconds".to_owned(), json!(self.poll_after_seconds));
                fields.insert("review_url".to_owned(), json!(format!("http://127.0.0.1/threads/{id}")));
                if self.names.revisions {
                    fields.insert("revision_id".to_owned(), json!(FIRST_REVISION));
                }
                self.threads.push(Thread::new(id, task, payload_digest));
                "pending_review"
            }
        };
        fields.insert("status".to_owned(), json!(status));
        Answer(200, Value::Object(fields))
    }

    /// The thread that a poll is about.
    fn polled(&self, target: &str) -> Result<&Thread, Answer> {
        let query = parameters(target);
        let thread = match (query.get("thread_id"), query.get("task_id")) {
            (Some(id), _) => self.threads.iter().find(|thread| thread.id == *id),
            (None, Some(task)) => self.threads.iter().rev().find(|thread| thread.task == *task),
            (None, None) => return Err(Answer(400, json!("thread_id or task_id is required"))),
        };
        thread.ok_or_else(|| Answer(404, json!("not found")))
    }

    /// Whether a poll may wait: it asks to, it can, and there is nothing to tell yet.
    pub(super) fn keeps_waiting(&self, request: &Recorded) -> Option<u64> {
        let query = parameters(&request.target);
        let wait = query.get("wait")?.parse::<u64>().ok()?;
        if request.endpoint == Some(Endpoint::Changes) {
            return self.feed.has_nothing(&query).then_some(wait);
        }
        let undecided = self.polled(&request.target).is_ok_and(Thread::is_undecided);
        Some(wait.min(self.long_poll_seconds?)).filter(|_| undecided)
    }

    fn decision(&mut self, request: &Recorded) -> Answer {
        let thread = match self.polled(&request.target) {
            Ok(thread) => thread,
            Err(answer) => return answer,
        };
        let mut answer = json!({ "thread_id": thread.id, "task_id": thread.task });
        let (status, state, message) = match &thread.decision {
            None | Some(Decision::RequestChanges(_)) => {
                ("pending_review", "needs_review", thread.feedback.clone().unwrap_or_default())
            }
            Some(Decision::Approve) => ("approved", "approved", "looks good".to_owned()),
            Some(Decision::Reject(words)) => ("rejected", "rejected", words.clone()),
            Some(Decision::Expire) => ("rejected", "expired", "it expired".to_owned()),
        };
        answer["status"] = json!(status);
        answer["message"] = json!(message);
        if self.names.states {
            answer["thread_state"] = json!(state);
        }
        if self.names.revisions {
            answer["revision_id"] = json!(thread.revision());
        }
        if self.names.digests {
            answer["payload_digest"] = json!(thread.payload_digest);
        }
        if status == "pending_review" {
            answer["recommended_poll_after_seconds"] = json!(self.poll_after_seconds);
        }
        if status == "approved" && self.issues_tokens {
            let (id, task) = (thread.id.clone(), thread.task.clone());
            if let Some(token) = self.mint(id, task) {
                answer["approval_token"] = json!(token);
                answer["token_expires_at"] = json!("2999-01-01T00:00:00Z");
            }
        }
        Answer(200, answer)
    }

    /// A fresh token in place of the one before; none once one was used.
    fn mint(&mut self, thread: String, task: String) -> Option<String> {
        let mut earlier: Vec<&mut Token> =
            self.tokens.values_mut().filter(|token| token.thread == thread).collect();
        if earlier.iter().any(|token| token.state == TokenState::Used) {
            return None;
        }
        for token in &mut earlier {
            token.state = TokenState::Revoked;
        }
        let text = format!("sgt_{thread}_{}", self.tokens.len() + 1);
        self.tokens.insert(text.clone(), Token { task, thread, state: TokenState::Good });
        Some(text)
    }

    fn validate(&mut self, request: &Recorded) -> Answer {
        let body = request.json();
        let token = body["signature"].as_str().and_then(|text| self.tokens.get_mut(text));
        let reason = match token.filter(|token| body["task_id"] == json!(token.task)) {
            None => "invalid",
            Some(token) => match token.state {
                TokenState::Good => {
                    token.state = TokenState::Used;
                    return Answer(200, json!({ "valid": true }));
                }
                TokenState::Revoked => "invalid",
                TokenState::Used => "used",
            },
        };
        Answer(400, json!({ "valid": false, "reason": reason }))
    }
}

pub(super) fn endpoint_of(method: &str, target: &str) -> Option<Endpoint> {
    let path = target.split('?').next().unwrap_or_default();
    let of_task = path.strip_prefix("/api/agent/tasks/").and_then(|rest| rest.split_once('/'));
    match (method, path, of_task) {
        ("POST", _, Some((_, "events"))) => Some(Endpoint::Events),
        ("POST", _, Some((_, "requests"))) => Some(Endpoint::Requests),
        ("GET", paths::DECISIONS, _) => Some(Endpoint::Decisions),
        ("GET", paths::DECISION_CHANGES, _) => Some(Endpoint::Changes),
        ("POST", paths::VALIDATE, _) => Some(Endpoint::Validate),
        _ => None,
    }
}

fn task_of(target: &str) -> String {
    let encoded = target.split('/').nth(4).unwrap_or_default();
    // Form decoding reads `+` as a blank; a path does not.
    decoded(&format!("task={}", encoded.replace('+', "%2B"))).remove("task").unwrap_or_default()
}

fn parameters(target: &str) -> HashMap<String, String> {
    decoded(target.split_once('?').map_or("", |(_, query)| query))
}

fn decoded(query: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
