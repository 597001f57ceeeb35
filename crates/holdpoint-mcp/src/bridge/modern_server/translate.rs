//! A modern server's answers in the words of a client with a handshake.

use crate::{
    bridge::wire::{self, RESOURCE_NOT_FOUND},
    message::{INVALID_PARAMS, Splice},
    protocol::SUBSCRIPTION_KEY,
};

/// What the server answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The end of it, as the client gets it.
    Final(String),
    /// It wants to know something first.
    InputRequired(InputRequired),
}

/// What a server has to know before it goes on.
#[derive(Debug)]
pub(super) struct InputRequired {
    pub(super) questions: Vec<Question>,
    /// Raw; to be given back as it is.
    pub(super) state: Option<String>,
}

/// One request of the server's to the client.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: String,
    pub(super) method: String,
    /// Raw.
    pub(super) params: Option<String>,
}

/// The answer to the client's request `id_raw`.
pub(super) fn answer(text: &str, id_raw: &str, method: &str) -> Answer {
    let unreadable =
        || Answer::Final(wire::failed(id_raw, method, false, "The tool server's answer cannot be read."));
    let Ok(mut message) = Splice::read_leniently(text) else {
        return unreadable();
    };
    message.set("id", id_raw.to_owned());
    let error = message.get("error").filter(|error| *error != "null").map(str::to_owned);
    if let Some(error) = error {
        message.set("error", mapped(error, method));
        return Answer::Final(message.to_string());
    }
    let Some(result) = message.get("result").map(str::to_owned) else {
        return unreadable();
    };
    let kind = wire::text_in(&result, "resultType");
    match kind.as_deref() {
        None | Some("complete") => {
            if let Ok(mut result) = Splice::read_leniently(&result) {
                result.remove(&["resultType", "ttlMs", "cacheScope"]);
                message.set("result", result.to_string());
            }
            Answer::Final(message.to_string())
        }
        Some("input_required") => input_required(&result).map_or_else(unreadable, Answer::InputRequired),
        Some(_) => {
            let problem =
                "The tool server answered in a way that this client's protocol revision has no word for.";
            Answer::Final(wire::failed(id_raw, method, false, problem))
        }
    }
}

/// A resource that is not there has a code of its own in the older revisions.
fn mapped(error: String, method: &str) -> String {
    if method != "resources/read" || wire::raw_in(&error, "code") != Some("-32602") {
        return error;
    }
    let Ok(mut splice) = Splice::read_leniently(&error) else {
        return error;
    };
    debug_assert_eq!(INVALID_PARAMS, -32602);
    splice.set("code", RESOURCE_NOT_FOUND.to_string());
    splice.to_string()
}

fn input_required(result: &str) -> Option<InputRequired> {
    let state = wire::raw_in(result, "requestState").map(str::to_owned);
    let questions = match wire::raw_in(result, "inputRequests") {
        None | Some("null") => Vec::new(),
        Some(requests) => {
            let requests: serde_json::Map<String, serde_json::Value> = serde_json::from_str(requests).ok()?;
            let keys: Vec<String> = requests.into_iter().map(|(key, _)| key).collect();
            let requests = wire::raw_in(result, "inputRequests")?;
            let read = |key: String| {
                let request = wire::raw_in(requests, &key)?;
                let params = wire::raw_in(request, "params").map(str::to_owned);
                Some(Question { method: wire::text_in(request, "method")?, params, key })
            };
            keys.into_iter().map(read).collect::<Option<_>>()?
        }
    };
    (state.is_some() || !questions.is_empty()).then_some(InputRequired { questions, state })
}

/// A notification without the id of the subscription that it came by. `None`: it is none for the client.
pub(super) fn notification(text: &str, method: &str) -> Option<String> {
    if method == "notifications/subscriptions/acknowledged" || method == "notifications/tasks" {
        return None;
    }
    let mut message = Splice::read_leniently(text).ok()?;
    let Some(params_raw) = message.get("params").map(str::to_owned) else {
        return Some(text.to_owned());
    };
    let mut params = Splice::read_leniently(&params_raw).ok()?;
    let Some(meta_raw) = params.get("_meta").map(str::to_owned) else {
        return Some(text.to_owned());
    };
    let mut meta = Splice::read_leniently(&meta_raw).ok()?;
    meta.remove(&[SUBSCRIPTION_KEY]);
    params.set_unless_empty("_meta", &meta);
    message.set_unless_empty("params", &params);
    Some(message.to_string())
}
