//! One session with the server, in the name of one principal's client.

use super::{LegacyServer, sessions::Client, translate::Introduction};
use crate::{
    bridge::{
        Inner,
        answer::{self, Told},
        wire::{self, HANDSHAKES, Said},
    },
    message::{IdKey, METHOD_NOT_FOUND},
    protocol::{LAST_WITH_SESSIONS, PROTOCOL_VERSION, SESSION_ID},
    random, reply,
    upstream::SendError,
};
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// A session that was silent for longer is asked whether it is still there, before a call is sent in it that could not be
/// sent again.
const SILENT_MAX: Duration = Duration::from_mins(1);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// So many messages wait for one request or one listener; further ones are lost to it.
const HEARD_MAX: usize = 256;
/// So many answers of ours to what the server asks are on their way at once; who asks more gets no answer.
const ANSWERS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) introduction: Introduction,
    pub(super) principal: Principal,
    pub(super) over: CancellationToken,
    /// Whether the server's own stream is open, or it has none.
    pub(super) hears: watch::Sender<bool>,
    /// How often each resource is listened for.
    pub(super) uris: tokio::sync::Mutex<HashMap<String, usize>>,
    inner: Inner,
    headers: HeaderMap,
    next: AtomicU64,
    level: tokio::sync::Mutex<Option<Box<str>>>,
    calls: Mutex<HashMap<u64, mpsc::Sender<String>>>,
    listeners: Mutex<HashMap<u64, mpsc::Sender<String>>>,
    used: Mutex<Instant>,
    answers: Arc<Semaphore>,
}

impl Session {
    /// Shakes hands. The inner error is why there is no session.
    pub(super) async fn open(
        server: &LegacyServer,
        principal: &Principal,
        client: &Client,
        headers: &HeaderMap,
    ) -> Result<Result<Arc<Self>, String>, SendError> {
        let id = format!("holdpoint-{}", random::token());
        let Client { info, capabilities } = client;
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":"{id}","method":"initialize","params":{{"protocolVersion":"{LAST_WITH_SESSIONS}","capabilities":{capabilities},"clientInfo":{info}}}}}"#
        );
        let told =
            wire::ask(&server.inner, principal, headers.clone(), &IdKey::Text(id.into()), request).await?;
        let version = told.result().and_then(|result| wire::text_in(result, "protocolVersion"));
        let version = version.and_then(|version| HANDSHAKES.into_iter().find(|known| *known == version));
        let introduction = told.result().and_then(Introduction::read);
        let (Some(version), Some(introduction)) = (version, introduction) else {
            let status = told.status.as_u16();
            return Ok(Err(format!(
                "the tool server does not open with a handshake: it answered `initialize` with HTTP status {status}"
            )));
        };
        let mut own = HeaderMap::new();
        own.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        own.extend(told.session.map(|session| (SESSION_ID, session)));
        let session = Arc::new(Self {
            introduction,
            principal: principal.clone(),
            over: CancellationToken::new(),
            hears: watch::Sender::new(false),
            uris: tokio::sync::Mutex::default(),
            inner: server.inner.clone(),
            headers: own,
            next: AtomicU64::new(1),
            level: tokio::sync::Mutex::default(),
            calls: Mutex::default(),
            listeners: Mutex::default(),
            used: Mutex::new(Instant::now()),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
        });
        session.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.into()).await?;
        tokio::spawn(hear(Arc::downgrade(&session), session.over.clone()));
        Ok(Ok(session))
    }

    /// Whether the server still knows it.
    pub(super) async fn is_alive(&self) -> bool {
        if self.over.is_cancelled() {
            return false;
        }
        let silent_for = lock(&self.used).elapsed();
        *lock(&self.used) = Instant::now();
        if silent_for <= SILENT_MAX {
            return true;
        }
        let told = self.ask("ping", None).await;
        let alive = told.is_ok_and(|told| told.status != StatusCode::NOT_FOUND);
        if !alive {
            self.over.cancel();
        }
        alive
    }

    /// A request of the bridge's own in this session.
    pub(super) async fn ask(&self, method: &str, params: Option<&str>) -> Result<answer::Whole, SendError> {
        let id = self.number();
        let params = params.map_or_else(String::new, |params| format!(r#","params":{params}"#));
        let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"{params}}}"#);
        let id = IdKey::Number(id.to_string().into());
        wire::ask(&self.inner, &self.principal, self.headers(HeaderMap::new()), &id, request).await
    }

    /// Whether the server does as it is told with a resource.
    pub(super) async fn ask_about(&self, method: &str, uri: &str) -> bool {
        let params = format!(r#"{{"uri":{}}}"#, wire::quoted(uri));
        self.ask(method, Some(&params)).await.is_ok_and(|told| told.result().is_some())
    }

    /// An answer or notification of the client's.
    pub(super) async fn post(&self, message: String) -> Result<StatusCode, SendError> {
        let headers = self.headers(HeaderMap::new());
        let sending = self.inner.send(&self.principal, Method::POST, headers, message.into());
        let told = tokio::time::timeout(wire::OWN_TIMEOUT, sending).await;
        let told =
            told.unwrap_or_else(|_| Err(SendError::new(crate::upstream::Reached::Maybe, "it took too long")));
        told.map(|response| response.status())
    }

    /// The same, without waiting for it.
    pub(super) fn post_soon(self: &Arc<Self>, message: String) {
        self.post_in(None, message);
    }

    /// The same, for an answer: a server that asks faster than it takes them must not make us keep them.
    pub(super) fn answer_soon(self: &Arc<Self>, answer: Vec<u8>) {
        if let Ok(place) = Arc::clone(&self.answers).try_acquire_owned() {
            self.post_in(Some(place), String::from_utf8(answer).unwrap_or_default());
        }
    }

    /// `place` is free again once it was sent.
    fn post_in(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>, message: String) {
        let session = Arc::clone(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _server_may_be_gone = session.post(message).await;
                drop(place);
            });
        }
    }

    /// The client's headers, with the session's.
    pub(super) fn headers(&self, client: HeaderMap) -> HeaderMap {
        let mut headers = wire::outbound(client);
        headers.extend(self.headers.clone());
        headers
    }

    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn has_id(&self) -> bool {
        self.headers.contains_key(SESSION_ID)
    }

    pub(super) fn is_idle(&self) -> bool {
        lock(&self.calls).is_empty() && lock(&self.listeners).is_empty()
    }

    /// Sets the level of log messages, where it is another one than before. A server that refuses logs as it likes.
    pub(super) async fn set_level(&self, level: &str) {
        let mut set = self.level.lock().await;
        if set.as_deref() == Some(level) {
            return;
        }
        let params = format!(r#"{{"level":{level}}}"#);
        if self.ask("logging/setLevel", Some(&params)).await.is_ok() {
            *set = Some(level.into());
        }
    }

    /// A request is under way; what the server says of it on its own stream comes here.
    pub(super) fn call(&self, number: u64) -> mpsc::Receiver<String> {
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        lock(&self.calls).insert(number, sender);
        heard
    }

    pub(super) fn end_call(&self, number: u64) {
        lock(&self.calls).remove(&number);
        *lock(&self.used) = Instant::now();
    }

    pub(super) fn listener(&self, number: u64) -> mpsc::Receiver<String> {
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        lock(&self.listeners).insert(number, sender);
        heard
    }

    pub(super) fn end_listener(&self, number: u64) {
        lock(&self.listeners).remove(&number);
    }

    /// What changed, to everybody who listens.
    pub(super) fn changed(&self, text: &str) {
        for listener in lock(&self.listeners).values() {
            let _slow_listener = listener.try_send(text.to_owned());
        }
    }

    /// Refuses a request of the server's.
    pub(super) fn refuse(self: &Arc<Self>, id_raw: &str, problem: &str) {
        self.answer_soon(reply::error(Some(id_raw), METHOD_NOT_FOUND, problem));
    }

    /// A message on the server's own stream. It does not say which request it belongs to.
    fn heard(self: &Arc<Self>, text: &str) {
        match Said::read(text) {
            Ok(Said::Request(request)) if request.method == "ping" => {
                self.answer_soon(reply::answer(request.id_raw, br#""result":{}"#));
            }
            Ok(Said::Request(request)) => {
                // Certain only where there is one request that could want to know.
                let only = match &*lock(&self.calls).values().collect::<Vec<_>>() {
                    [only] => Some((*only).clone()),
                    [] | [_, ..] => None,
                };
                if only.is_none_or(|only| only.try_send(text.to_owned()).is_err()) {
                    self.refuse(
                        request.id_raw,
                        "no single request is under way that this could be asked for",
                    );
                }
            }
            Ok(Said::Notification { method, params }) => match &*method {
                "notifications/message" => {
                    for call in lock(&self.calls).values() {
                        let _slow_call = call.try_send(text.to_owned());
                    }
                }
                "notifications/progress" => {
                    let token = params.and_then(|params| wire::raw_in(params, "progressToken"));
                    let number: Option<u64> = token.and_then(|token| token.parse().ok());
                    if let Some(call) = number.and_then(|number| lock(&self.calls).get(&number).cloned()) {
                        let _slow_call = call.try_send(text.to_owned());
                    }
                }
                _ => self.changed(text),
            },
            Ok(Said::Answer(_)) | Err(_) => {}
        }
    }
}

/// Reads the server's own stream as long as anybody has the session.
async fn hear(session: Weak<Session>, over: CancellationToken) {
    let mut again_after = AGAIN_AFTER;
    loop {
        let Some((inner, principal, headers)) = session.upgrade().map(|session| {
            let mut headers = session.headers(HeaderMap::new());
            headers.remove(header::CONTENT_TYPE);
            (session.inner.clone(), session.principal.clone(), headers)
        }) else {
            return;
        };
        let response = tokio::select! {
            () = over.cancelled() => return,
            response = inner.send(&principal, Method::GET, headers, Bytes::new()) => response,
        };
        if let Some(session) = session.upgrade() {
            session.hears.send_replace(true);
        }
        let mut events = match response {
            Ok(response) if response.status().is_client_error() => return,
            Ok(response) => match answer::told(response).await {
                Ok(Told::Stream(events)) => events,
                Ok(Told::Message(..) | Told::Foreign(..)) | Err(_) => return,
            },
            Err(_) => {
                tokio::time::sleep(again_after).await;
                again_after = again_after.saturating_mul(2).min(AGAIN_AFTER_MAX);
                continue;
            }
        };
        loop {
            let event = tokio::select! {
                () = over.cancelled() => return,
                event = events.next() => event,
            };
            let Ok(Some(event)) = event else {
                break;
            };
            again_after = AGAIN_AFTER;
            let Some(session) = session.upgrade() else {
                return;
            };
            if let Some(data) = event.data() {
                session.heard(&data);
            }
        }
        tokio::time::sleep(again_after).await;
        again_after = again_after.saturating_mul(2).min(AGAIN_AFTER_MAX);
    }
}

impl Drop for Session {
    /// Nobody has a use for it any more; the server need not keep it.
    fn drop(&mut self) {
        let ended = self.over.is_cancelled();
        self.over.cancel();
        if ended || !self.has_id() {
            return;
        }
        let (inner, principal) = (self.inner.clone(), self.principal.clone());
        let headers = self.headers(HeaderMap::new());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let ending = inner.send(&principal, Method::DELETE, headers, Bytes::new());
                let _server_may_be_gone = tokio::time::timeout(wire::OWN_TIMEOUT, ending).await;
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
