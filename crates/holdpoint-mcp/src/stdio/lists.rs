//! Lists of tools on a pipe that are changed for the client.

use super::session::{Expect, Session, lock};
use crate::{
    compat,
    message::{IdKey, Object, Single},
};
use serde_json::value::RawValue;

impl Session {
    /// Expects the list that a message asks for, where what the client gets is changed.
    pub(super) fn expect_lists(&self, message: &Single<'_>) {
        for id in self.options.guard.rewritten_lists(std::slice::from_ref(message)) {
            lock(&self.expected).answers.insert(id, Expect::Tools);
        }
    }

    /// What the client gets of the server's answer to `id`; `None`: what the server says.
    pub(super) fn listed(id: &RawValue, line: &[u8]) -> Option<String> {
        let asked = IdKey::read(id.get())?;
        compat::readable(std::str::from_utf8(line).ok()?, &[asked])
    }

    /// Tells the client a batch in which lists are changed; `false`: there are none.
    pub(super) fn lists_in_batch(&self, text: &str) -> bool {
        let Ok(messages) = serde_json::from_str::<Vec<&RawValue>>(text) else {
            return false;
        };
        let ids = messages.iter().filter_map(|message| {
            let id = Object::read_leniently(message.get()).ok()?.get("id")?;
            IdKey::read(id.get())
        });
        let mut expected = lock(&self.expected);
        let asked: Vec<IdKey> =
            ids.filter(|id| matches!(expected.answers.get(id), Some(Expect::Tools))).collect();
        for id in &asked {
            expected.answers.remove(id);
        }
        drop(expected);
        let Some(changed) = compat::readable(text, &asked) else {
            return false;
        };
        self.to_client.push(changed.as_bytes());
        true
    }
}
