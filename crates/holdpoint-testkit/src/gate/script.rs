use serde_json::Value;
use std::{fmt, sync::Arc};

/// An endpoint of the agent API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /api/agent/tasks/{taskID}/events`
    Events,
    /// `POST /api/agent/tasks/{taskID}/requests`
    Requests,
    /// `GET /api/agent/decisions`
    Decisions,
    /// `GET /api/agent/decisions/changes`
    Changes,
    /// `POST /api/agent/approvals/validate`
    Validate,
}

/// What the rules say to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// `allow`
    Allow,
    /// `reject`
    Reject,
    /// `pending_review`
    Review,
}

/// What becomes of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Somebody approves.
    Approve,
    /// Somebody refuses, with words.
    Reject(String),
    /// Nobody decided in time.
    Expire,
    /// Nobody decides yet: somebody wants another proposal. Any number of these may come before a decision.
    RequestChanges(String),
}

/// When something happens, seen from a request that is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request is there, and nothing came of it yet.
    Before,
    /// What was asked for is done and the answer is made, but not sent.
    After,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Where to; `None`: nowhere in the agent API.
    pub endpoint: Option<Endpoint>,
    /// The method.
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Recorded {
    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// How one request is answered.
#[derive(Clone, Debug)]
pub struct Script {
    /// Whether what was asked for is done all the same.
    pub(super) takes_effect: bool,
    pub(super) reply: Reply,
    /// What a reviewer does meanwhile.
    pub(super) meanwhile: Option<(Moment, String, Decision)>,
}

#[derive(Clone)]
pub(super) enum Reply {
    Honest,
    Hang,
    Close,
    Cut(usize),
    Twice,
    Edited(Edit),
    Bytes(Vec<u8>),
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
}

impl Script {
    const fn new(takes_effect: bool, reply: Reply) -> Self {
        Self { takes_effect, reply, meanwhile: None }
    }

    /// The honest answer; a long poll is not kept waiting.
    #[must_use]
    pub const fn honest() -> Self {
        Self::new(true, Reply::Honest)
    }

    /// The same, while somebody decides `thread`.
    #[must_use]
    pub fn meanwhile(mut self, moment: Moment, thread: &str, decision: Decision) -> Self {
        self.meanwhile = Some((moment, thread.to_owned(), decision));
        self
    }

    /// Nothing is done and nothing comes back, ever.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(false, Reply::Hang)
    }

    /// Nothing is done and the connection is closed without a word.
    #[must_use]
    pub fn close() -> Self {
        Self::new(false, Reply::Close)
    }

    /// The honest answer, cut after `bytes` bytes of head and body.
    #[must_use]
    pub fn cut(bytes: usize) -> Self {
        Self::new(true, Reply::Cut(bytes))
    }

    /// The honest answer, sent twice in one go.
    #[must_use]
    pub fn twice() -> Self {
        Self::new(true, Reply::Twice)
    }

    /// The honest answer with changes to its JSON.
    #[must_use]
    pub fn edited(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::new(true, Reply::Edited(Arc::new(edit)))
    }

    /// Nothing is done; these bytes come back in place of any HTTP, and the connection is closed.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(false, Reply::Bytes(bytes.into()))
    }

    /// Nothing is done; status and text come back.
    #[must_use]
    pub fn status(status: u16, body: &str) -> Self {
        Self::new(false, Reply::Answer { status, headers: Vec::new(), body: body.into() })
    }

    /// Nothing is done; 200 and this text, which may be JSON or not, come back.
    #[must_use]
    pub fn ok(body: &str) -> Self {
        Self::status(200, body)
    }

    /// Nothing is done; 200 and a JSON string of `bytes` bytes come back.
    #[must_use]
    pub fn huge(bytes: usize) -> Self {
        Self::ok(&format!("{{\"status\":\"allow\",\"message\":\"{}\"}}", "x".repeat(bytes)))
    }

    /// Nothing is done; the client is sent elsewhere.
    #[must_use]
    pub fn redirect(url: &str) -> Self {
        Self::status(307, "").with_header("location", url)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Reply::Answer { headers, .. } = &mut self.reply {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same, but what was asked for is done: a thread is opened, a token is used up.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.takes_effect = true;
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Honest => "Honest",
            Self::Hang => "Hang",
            Self::Close => "Close",
            Self::Cut(_) => "Cut",
            Self::Twice => "Twice",
            Self::Edited(_) => "Edited",
            Self::Bytes(_) => "Bytes",
            Self::Answer { .. } => "Answer",
        })
    }
}
