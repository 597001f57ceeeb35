//! Requests of our own among the client's.

use super::session::{Expect, Session, lock};
use crate::{
    catalog::{ListError, ToolSource},
    guard::{list_request, probe_request},
    message::IdKey,
};
use async_trait::async_trait;
use holdpoint_core::Question;
use std::sync::Arc;
use tokio::sync::oneshot;

/// So many of them may be unanswered. Those that were given up are among them: their answers, should they still come, are
/// not for the client.
const UNANSWERED_MAX: usize = 256;

/// Asks the server in the name of one call.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) session: Arc<Session>,
    /// Members of `_meta` that say which revision is spoken.
    pub(super) protocol: String,
}

impl Own {
    pub(super) async fn ask(&self, request: impl FnOnce(&str) -> Vec<u8>) -> Result<String, ListError> {
        let session = &self.session;
        let id = session.own_id();
        let (asker, answer) = oneshot::channel();
        {
            let mut expected = lock(&session.expected);
            let own = expected.answers.values().filter(|expect| matches!(expect, Expect::Own(_)));
            // Looked at with the table in hand: a server that goes empties it after it is marked as gone.
            if session.server_is_gone() || own.count() >= UNANSWERED_MAX {
                return Err(ListError::Unreachable);
            }
            expected.answers.insert(IdKey::Text(id.as_str().into()), Expect::Own(asker));
        }
        session.send_own(&id, &request(&id));
        let unreachable = async {
            if session.server.flush().await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or(Err(ListError::Unreadable)),
            () = unreachable => Err(ListError::Unreachable),
        }
    }
}

#[async_trait]
impl ToolSource for Own {
    async fn page(&self, cursor: Option<&str>) -> Result<String, ListError> {
        self.ask(|id| list_request(id, cursor, &self.protocol)).await
    }

    async fn probe(&self, question: &Question) -> Result<String, ListError> {
        self.ask(|id| probe_request(id, question, &self.protocol)).await
    }
}
