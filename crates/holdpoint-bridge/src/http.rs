//! The requests that a bridge answers, by path.

use crate::{
    BridgeCaller,
    ask::{Named, Told},
    asked::{Asked, Encoding, Fields, missing},
    content::{Callback, Mode, Question},
    documents,
    inner::{Inner, Row},
    key::QuestionName,
    options::DenyStatus,
    problem::Problem,
    reply::{self, About, Reply},
};
use bytes::Bytes;
use holdpoint_api::Limits;
use holdpoint_core::{OperationId, TaskId};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use url::form_urlencoded;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const BODY_BYTES_MAX: usize = Limits::DEFAULT.body_bytes;
/// For the whole of a body to arrive.
const BODY_WITHIN: Duration = Duration::from_mins(1);

/// Which of the bridge's resources a path names.
enum Resource<'p> {
    Health,
    OpenApi,
    OpenApiTools,
    Decisions,
    Decision(OperationId),
    Claim(OperationId),
    Subscriptions,
    Subscription(OperationId),
    Agent(crate::agent::AgentResource<'p>),
}

impl<'p> Resource<'p> {
    fn of(path: &'p str, has_agent: bool) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/v1/") {
            let mut segments = rest.split('/');
            let resource = match (segments.next()?, segments.next(), segments.next()) {
                ("health", None, _) => Self::Health,
                ("openapi.json", None, _) => Self::OpenApi,
                ("openapi-tools.json", None, _) => Self::OpenApiTools,
                ("decisions", None, _) => Self::Decisions,
                ("decisions", Some(id), None) => Self::Decision(OperationId::new(id)),
                ("decisions", Some(id), Some("claim")) => Self::Claim(OperationId::new(id)),
                ("subscriptions", None, _) => Self::Subscriptions,
                ("subscriptions", Some(id), None) => Self::Subscription(OperationId::new(id)),
                _ => return None,
            };
            return segments.next().is_none().then_some(resource);
        }
        has_agent.then(|| crate::agent::AgentResource::of(path)).flatten().map(Self::Agent)
    }

    const fn methods(&self) -> &'static str {
        match self {
            Self::Health | Self::OpenApi | Self::OpenApiTools => "GET",
            Self::Decision(_) => "GET, DELETE",
            Self::Subscription(_) => "DELETE",
            Self::Decisions | Self::Claim(_) | Self::Subscriptions => "POST",
            Self::Agent(resource) => resource.methods(),
        }
    }
}

/// Whether `path` is one that a bridge answers. Those of the agent API only where the bridge is an agent.
#[must_use]
pub(crate) fn serves(path: &str, has_agent: bool) -> bool {
    path.starts_with("/v1/") || (has_agent && crate::agent::AgentResource::of(path).is_some())
}

/// What may be read by anybody who reaches the bridge.
pub(crate) fn document(inner: &Inner, method: &Method, path: &str) -> Option<Reply> {
    let base = inner.parts.options.public_url.as_deref();
    let text = match Resource::of(path, false)? {
        Resource::Health => json!({ "status": "ok" }).to_string(),
        Resource::OpenApi => documents::openapi(base),
        Resource::OpenApiTools => documents::openapi_tools(base),
        _ => return None,
    };
    if method != Method::GET {
        return Some(wrong_method("GET"));
    }
    Some(reply::document(StatusCode::OK, "application/json", text))
}

pub(crate) async fn serve<B>(inner: &Arc<Inner>, request: Request<B>, caller: BridgeCaller) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let Some(resource) = Resource::of(&path, inner.parts.agent.is_some()) else {
        let detail =
            "there is nothing here; decisions are at /v1/decisions, and /v1/openapi.json says what they take";
        return Problem::new(StatusCode::NOT_FOUND, detail).into();
    };
    let method = parts.method.clone();
    let asked = Asking { inner, parts, caller };
    let replied = match (&method, resource) {
        (&Method::POST, Resource::Decisions) => match Box::pin(read(body)).await {
            Ok(body) => match asked.question(body) {
                Ok(put) => Box::pin(put.decided()).await,
                Err(problem) => Err(problem),
            },
            Err(problem) => Err(problem),
        },
        (&Method::POST, Resource::Subscriptions) => match Box::pin(read(body)).await {
            Ok(body) => Box::pin(asked.subscribe(&body)).await,
            Err(problem) => Err(problem),
        },
        (&Method::GET, Resource::Decision(id)) => Box::pin(asked.look(&id)).await,
        (&Method::DELETE, Resource::Decision(id) | Resource::Subscription(id)) => {
            Box::pin(asked.withdraw(&id)).await
        }
        (&Method::POST, Resource::Claim(id)) => Box::pin(asked.claim(&id)).await,
        (method, Resource::Agent(resource)) => {
            let body = if method == Method::POST { Box::pin(read(body)).await } else { Ok(Bytes::new()) };
            return Box::pin(crate::agent::serve(asked, resource, body)).await;
        }
        (method, resource @ (Resource::Health | Resource::OpenApi | Resource::OpenApiTools)) => {
            return document(inner, method, &path).unwrap_or_else(|| wrong_method(resource.methods()));
        }
        (_, resource) => return wrong_method(resource.methods()),
    };
    replied.unwrap_or_else(Reply::from)
}

pub(crate) fn wrong_method(allowed: &'static str) -> Reply {
    let mut reply: Reply =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("this takes {allowed}")).into();
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// One request, authenticated.
pub(crate) struct Asking<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) parts: Parts,
    pub(crate) caller: BridgeCaller,
}

impl<'a> Asking<'a> {
    /// Lets go of the request, which has been read: while it is there, so is all that its connection has read.
    pub(crate) fn read(self) -> &'a Arc<Inner> {
        self.inner
    }

    /// Reads a question, and lets go of the request.
    fn question(self, body: Bytes) -> Result<Put<'a>, Problem> {
        let (until, deny_status) = (self.until(Some(self.inner.parts.options.wait))?, self.deny_status()?);
        let asked = Asked::read(Encoding::of(&self.parts.headers)?.object(&body)?)?;
        let key = self.key()?;
        let named = self.inner.named(self.caller.principal.clone(), key.as_deref(), &asked)?;
        drop(body);
        let title = Title::of(&named);
        Ok(Put { inner: self.read(), named: Box::new(named), title, until, deny_status })
    }

    async fn look(self, id: &OperationId) -> Result<Reply, Problem> {
        let (until, deny_status) = (self.until(Some(Duration::ZERO))?, self.deny_status()?);
        let row = Box::new(self.inner.own(&self.caller.principal, id).await?);
        let title = Title::row(&row);
        let inner = self.read();
        let told = Box::pin(inner.wait(row, until, None)).await?;
        Ok(replied(inner, told, &title, deny_status))
    }

    async fn withdraw(&self, id: &OperationId) -> Result<Reply, Problem> {
        let row = Box::pin(self.inner.withdraw(&self.caller.principal, id)).await?;
        Ok(match row.answer() {
            Some(answer) if answer.status == "cancelled" => About::row(&row).answered(answer, DenyStatus::Ok),
            Some(_) | None => reply::too_late(&row, &location(self.inner, &row)),
        })
    }

    async fn claim(&self, id: &OperationId) -> Result<Reply, Problem> {
        let deny_status = self.deny_status()?;
        let key = self.key()?.ok_or_else(|| {
            Problem::bad_request("send an `Idempotency-Key` header that names who claims".to_owned())
        })?;
        let row = self.inner.own(&self.caller.principal, id).await?;
        let told = self.inner.claim(&self.caller.principal, id, &key).await?;
        Ok(replied(self.inner, told, &Title::row(&row), deny_status))
    }

    /// A webhook action of Power Platform: the answer goes to the address that the platform gives.
    async fn subscribe(&self, body: &[u8]) -> Result<Reply, Problem> {
        let Encoding::Json = Encoding::of(&self.parts.headers)? else {
            return Err(Problem::unsupported("send application/json, in UTF-8"));
        };
        let mut fields = Fields(Encoding::Json.object(body)?);
        let url = fields.text("notificationUrl")?.ok_or_else(|| missing("notificationUrl"))?;
        let question = fields.object("request")?.ok_or_else(|| missing("request"))?;
        fields.end()?;
        let mut asked = Asked::read(question)?;
        if asked.callback.replace(url.clone()).is_some() {
            return Err(Problem::bad_request(
                "a subscription has a `notificationUrl` and no `callback_url`".to_owned(),
            ));
        }
        self.inner.check(&asked)?;
        let principal = self.caller.principal.clone();
        let name = match self.key()? {
            Some(key) => QuestionName::Key(key),
            None => QuestionName::Callback(url.clone()),
        };
        let id = self.inner.key.operation(&principal, &name);
        let named = Named {
            task: Inner::task(asked.task.as_deref(), &id),
            question: Question::new(&asked),
            callback: Some(Callback { url, attempts: 0 }),
            told: true,
            id: id.clone(),
            principal,
        };
        let task = named.task.clone();
        let _pending = Box::pin(self.inner.decide(Box::new(named), self.inner.now())).await?;
        let body = json!({ "id": id.as_str(), "task_id": task.as_str() });
        let mut reply = reply::document(StatusCode::CREATED, "application/json", body.to_string());
        let location = address(self.inner, &format!("/v1/subscriptions/{id}"));
        if let Ok(location) = HeaderValue::try_from(location) {
            reply.headers_mut().insert(header::LOCATION, location);
        }
        Ok(reply)
    }

    /// The one `Idempotency-Key`.
    pub(crate) fn key(&self) -> Result<Option<String>, Problem> {
        let wrong = || {
            let detail = "`Idempotency-Key` is one header of 1 to 255 visible ASCII characters";
            Problem::bad_request(detail.to_owned())
        };
        let mut keys = self.parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => return Ok(None),
            (Some(key), None) => key.to_str().map_err(|_| wrong())?,
            (Some(_), Some(_)) => return Err(wrong()),
        };
        let is_usable = (1..=Limits::IDEMPOTENCY_KEY_BYTES).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_usable { Ok(Some(key.to_owned())) } else { Err(wrong()) }
    }

    /// Until when the caller waits: as it says, else for `default`, and never longer than the operator allows or what it
    /// presented is good for.
    pub(crate) fn until(&self, default: Option<Duration>) -> Result<Timestamp, Problem> {
        let said = match self.query()?.get("wait") {
            Some(text) => Some(
                seconds(text)
                    .ok_or_else(|| Problem::bad_request("`wait` is a number of seconds".to_owned()))?,
            ),
            None => preferred(&self.parts.headers),
        };
        let wait = said.or(default).unwrap_or_default().min(self.inner.parts.options.wait_max);
        Ok(self.inner.after(self.caller.good_for.map_or(wait, |good_for| wait.min(good_for))))
    }

    fn deny_status(&self) -> Result<DenyStatus, Problem> {
        match self.query()?.get("deny_status").map(String::as_str) {
            None => Ok(self.inner.parts.options.deny_status),
            Some("200") => Ok(DenyStatus::Ok),
            Some("403") => Ok(DenyStatus::Forbidden),
            Some(_) => Err(Problem::bad_request("`deny_status` is 200 or 403".to_owned())),
        }
    }

    /// The query, in which nothing may be twice.
    pub(crate) fn query(&self) -> Result<std::collections::HashMap<String, String>, Problem> {
        let mut query = std::collections::HashMap::new();
        let text = self.parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if query.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Problem::bad_request("the query has something twice".to_owned()));
            }
        }
        Ok(query)
    }
}

/// A question that was read.
struct Put<'a> {
    inner: &'a Arc<Inner>,
    named: Box<Named>,
    title: Title,
    until: Timestamp,
    deny_status: DenyStatus,
}

impl Put<'_> {
    async fn decided(self) -> Result<Reply, Problem> {
        let Self { inner, named, title, until, deny_status } = self;
        let told = Box::pin(inner.decide(named, until)).await?;
        Ok(replied(inner, told, &title, deny_status))
    }
}

/// What a reply says of a question whose text nobody keeps.
struct Title {
    id: OperationId,
    target: Option<String>,
    tool: String,
    task: TaskId,
}

impl Title {
    fn of(named: &Named) -> Self {
        Self::new(&named.id, &named.question, &named.task)
    }

    fn row(row: &Row) -> Self {
        Self::new(row.id(), &row.content.question, &row.operation.task)
    }

    fn new(id: &OperationId, question: &Question, task: &TaskId) -> Self {
        let target = match question.mode() {
            Mode::Check => None,
            Mode::Execute(target) => Some(target.to_owned()),
        };
        Self { id: id.clone(), target, tool: question.tool().to_owned(), task: task.clone() }
    }

    fn about(&self) -> About<'_> {
        let mode = self.target.as_deref().map_or(Mode::Check, Mode::Execute);
        About { id: &self.id, mode, tool: &self.tool, task: self.task.as_str() }
    }
}

fn replied(inner: &Inner, told: Told, title: &Title, deny_status: DenyStatus) -> Reply {
    match told {
        Told::Answered(row, answer) => About::row(&row).answered(&answer, deny_status),
        Told::AtOnce(answer) => title.about().answered(&answer, deny_status),
        Told::Pending(row) => reply::pending(&row, &location(inner, &row)),
        Told::Trouble(rejection) => title.about().trouble(&rejection),
    }
}

fn location(inner: &Inner, row: &Row) -> String {
    address(inner, &format!("/v1/decisions/{}", row.id()))
}

fn address(inner: &Inner, path: &str) -> String {
    match &inner.parts.options.public_url {
        Some(base) => format!("{base}{path}"),
        None => path.to_owned(),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok().map(Duration::from_secs)).flatten()
}

/// RFC 7240: a preference that cannot be read is none.
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';']));
    preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| seconds(value.trim().trim_matches('"')))?
    })
}

async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BODY_BYTES_MAX} bytes"));
    if body.size_hint().lower() > u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let collected = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_WITHIN, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad_request("the body broke off".to_owned())),
        Err(_elapsed) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}
