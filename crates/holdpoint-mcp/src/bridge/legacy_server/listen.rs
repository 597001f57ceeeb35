//! `subscriptions/listen`, from the server's own stream.

use super::{Request, Session, translate};
use crate::{
    bridge::wire::{self, Said},
    protocol::SUBSCRIPTION_KEY,
    reply,
    upstream::UpstreamBody,
};
use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// One listener hears of so many resources.
const URIS_MAX: usize = 256;
/// The server has so long to open its own stream before the client is told that it listens.
const OPEN_MAX: Duration = Duration::from_secs(2);

/// What a client listens for.
struct Listening {
    session: Arc<Session>,
    number: u64,
    id_raw: String,
    kinds: Vec<&'static str>,
    uris: Vec<String>,
}

impl Session {
    /// Listens for the client until it closes the stream.
    pub(super) fn listen(self: &Arc<Self>, request: &Request<'_>) -> Response<UpstreamBody> {
        let (out, response) = wire::stream();
        let wanted = request.params.and_then(|params| wire::raw_in(params, "notifications"));
        let wanted: Value = wanted.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let number = self.number();
        let heard = self.listener(number);
        let listening = Listening {
            session: Arc::clone(self),
            number,
            id_raw: request.id_raw.to_owned(),
            kinds: Vec::new(),
            uris: Vec::new(),
        };
        tokio::spawn(async move {
            let mut listening = listening;
            tokio::select! {
                () = listening.run(&wanted, heard, &out) => {}
                () = out.closed() => {}
            }
            listening.end().await;
        });
        response
    }
}

impl Listening {
    async fn run(&mut self, wanted: &Value, mut heard: mpsc::Receiver<String>, out: &mpsc::Sender<Bytes>) {
        let mut opened = self.session.hears.subscribe();
        drop(tokio::time::timeout(OPEN_MAX, opened.wait_for(|open| *open)).await);
        let accepted = self.accept(wanted).await;
        let acknowledged = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{SUBSCRIPTION_KEY}":{}}},"notifications":{accepted}}}}}"#,
            self.id_raw
        );
        if out.send(wire::event_of(&acknowledged)).await.is_err() {
            return;
        }
        let over = self.session.over.clone();
        loop {
            let text = tokio::select! {
                () = over.cancelled() => break,
                text = heard.recv() => text,
            };
            let Some(text) = text else {
                break;
            };
            if self.wants(&text)
                && let Some(message) = translate::subscribed(&text, &self.id_raw)
                && out.send(wire::event_of(&message)).await.is_err()
            {
                return;
            }
        }
        let result = format!(
            r#""result":{{"resultType":"complete","_meta":{{"{SUBSCRIPTION_KEY}":{}}}}}"#,
            self.id_raw
        );
        let ended = reply::answer(&self.id_raw, result.as_bytes());
        let _client_may_be_gone = out.send(crate::http::event(&ended)).await;
    }

    /// Subscribes at the server; the part of the filter that it has taken.
    async fn accept(&mut self, wanted: &Value) -> Value {
        let mut accepted = Map::new();
        for (name, kind, method) in [
            ("toolsListChanged", "tools", "notifications/tools/list_changed"),
            ("promptsListChanged", "prompts", "notifications/prompts/list_changed"),
            ("resourcesListChanged", "resources", "notifications/resources/list_changed"),
        ] {
            let offered = wire::is_capable(&self.session.introduction.capabilities, &[kind, "listChanged"]);
            if offered && wanted.get(name) == Some(&Value::Bool(true)) {
                self.kinds.push(method);
                accepted.insert(name.into(), true.into());
            }
        }
        let subscribes =
            wire::is_capable(&self.session.introduction.capabilities, &["resources", "subscribe"]);
        let uris = wanted.get("resourceSubscriptions").and_then(Value::as_array).into_iter().flatten();
        let uris: Vec<String> = uris.filter_map(Value::as_str).take(URIS_MAX).map(str::to_owned).collect();
        for uri in uris.into_iter().filter(|_| subscribes) {
            if self.session.subscribe(&uri).await {
                self.uris.push(uri);
            }
        }
        if !self.uris.is_empty() {
            accepted.insert("resourceSubscriptions".into(), self.uris.clone().into());
        }
        Value::Object(accepted)
    }

    fn wants(&self, text: &str) -> bool {
        let Ok(Said::Notification { method, params }) = Said::read(text) else {
            return false;
        };
        if method != "notifications/resources/updated" {
            return self.kinds.contains(&&*method);
        }
        let uri = params.and_then(|params| wire::text_in(params, "uri"));
        // A server may speak of a part of what was subscribed to.
        uri.is_some_and(|uri| self.uris.iter().any(|own| uri.starts_with(own.as_str())))
    }

    async fn end(self) {
        self.session.end_listener(self.number);
        for uri in &self.uris {
            self.session.unsubscribe(uri).await;
        }
    }
}

impl Session {
    /// Subscribes, where nobody else has; `false`: the server refuses.
    async fn subscribe(&self, uri: &str) -> bool {
        let mut uris = self.uris.lock().await;
        if let Some(count) = uris.get_mut(uri) {
            *count = count.saturating_add(1);
            return true;
        }
        let taken = self.ask_about("resources/subscribe", uri).await;
        if taken {
            uris.insert(uri.to_owned(), 1);
        }
        taken
    }

    async fn unsubscribe(&self, uri: &str) {
        let mut uris = self.uris.lock().await;
        let Some(count) = uris.get_mut(uri) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            uris.remove(uri);
            let _session_may_be_over = self.ask_about("resources/unsubscribe", uri).await;
        }
    }
}
