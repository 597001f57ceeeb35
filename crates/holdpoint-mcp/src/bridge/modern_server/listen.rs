//! The session's stream: what changes at the server, by one `subscriptions/listen` at a time.

use super::{ModernServer, Session, stamped, translate};
use crate::{
    bridge::{
        answer::{self, Told},
        wire::{self, Said},
    },
    http::Events,
    random,
    upstream::UpstreamBody,
};
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{HeaderMap, Method, Response};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::mpsc;

const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

impl ModernServer {
    /// Opens the stream, as long as the client reads it.
    pub(super) fn listen(
        self: &Arc<Self>,
        session: Arc<Session>,
        headers: HeaderMap,
    ) -> Response<UpstreamBody> {
        let (out, response) = wire::stream();
        let (server, over) = (Arc::clone(self), session.listen());
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = out.closed() => {}
                () = server.hear(&session, &headers, &out) => {}
            }
            if !over.is_cancelled() {
                session.heard.send_replace(None);
            }
        });
        response
    }

    async fn hear(&self, session: &Session, headers: &HeaderMap, out: &mpsc::Sender<Bytes>) {
        let mut uris = session.uris.subscribe();
        let mut again_after = AGAIN_AFTER;
        session.heard.send_replace(Some(BTreeSet::new()));
        loop {
            let wanted = uris.borrow_and_update().clone();
            let Some(filter) = filter(&session.offered, &wanted) else {
                // Nothing to listen for, yet.
                if uris.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if let Some(mut events) = self.subscribe(session, headers, &filter).await {
                tokio::select! {
                    again = pass(session, &mut events, &wanted, out) => match again {
                        Heard::Something => again_after = AGAIN_AFTER,
                        Heard::Nothing => {}
                        Heard::ClientLeft => return,
                    },
                    changed = uris.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
            }
            tokio::time::sleep(again_after).await;
            again_after = again_after.saturating_mul(2).min(AGAIN_AFTER_MAX);
        }
    }

    async fn subscribe(
        &self,
        session: &Session,
        headers: &HeaderMap,
        filter: &str,
    ) -> Option<Events<UpstreamBody>> {
        let id = format!("holdpoint-{}", random::token());
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":"{id}","method":"subscriptions/listen","params":{{"notifications":{filter}}}}}"#
        );
        let Ok(Said::Request(request)) = Said::read(&message) else {
            return None;
        };
        let outgoing = session.outgoing(&request, request.id_raw, &[]).ok()?;
        let headers = stamped(headers.clone(), &request);
        let principal: &Principal = &session.principal;
        let response = self.inner.send(principal, Method::POST, headers, outgoing.into()).await.ok()?;
        match answer::told(response).await.ok()? {
            Told::Stream(events) => Some(events),
            Told::Message(..) | Told::Foreign(..) => None,
        }
    }
}

enum Heard {
    Something,
    Nothing,
    ClientLeft,
}

async fn pass(
    session: &Session,
    events: &mut Events<UpstreamBody>,
    wanted: &BTreeSet<String>,
    out: &mpsc::Sender<Bytes>,
) -> Heard {
    let mut heard = Heard::Nothing;
    while let Ok(Some(event)) = events.next().await {
        heard = Heard::Something;
        let piece = match event.data() {
            None => Some(Bytes::from_static(wire::ALIVE)),
            Some(data) => match Said::read(&data) {
                Ok(Said::Notification { method, .. }) => {
                    if method == "notifications/subscriptions/acknowledged" {
                        session.heard.send_replace(Some(wanted.clone()));
                    }
                    translate::notification(&data, &method).map(|message| wire::event_of(&message))
                }
                Ok(Said::Request(_) | Said::Answer(_)) | Err(_) => None,
            },
        };
        if let Some(piece) = piece
            && out.send(piece).await.is_err()
        {
            return Heard::ClientLeft;
        }
    }
    heard
}

/// What to listen for; `None`: nothing.
fn filter(offered: &str, uris: &BTreeSet<String>) -> Option<String> {
    let mut filter = serde_json::Map::new();
    for (kind, name) in [
        ("tools", "toolsListChanged"),
        ("prompts", "promptsListChanged"),
        ("resources", "resourcesListChanged"),
    ] {
        if wire::is_capable(offered, &[kind, "listChanged"]) {
            filter.insert(name.into(), true.into());
        }
    }
    if !uris.is_empty() {
        filter.insert("resourceSubscriptions".into(), json!(uris));
    }
    (!filter.is_empty()).then(|| serde_json::Value::Object(filter).to_string())
}
